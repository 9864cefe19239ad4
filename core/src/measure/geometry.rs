//! Lengths, angles and areas of points in millimetres.

/// A point, mm: in the patient (LPS), or in the plane of an image (along a row, down a column, 0).
pub type Point = [f64; 3];

fn minus(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: Point, b: Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn norm(a: Point) -> f64 {
    dot(a, a).sqrt()
}

/// Distance, mm.
pub fn distance(a: Point, b: Point) -> f64 {
    norm(minus(a, b))
}

/// Length of the line through all points, mm; back to the first where `closed`.
pub fn path_length(points: &[Point], closed: bool) -> f64 {
    let open: f64 = points.windows(2).map(|pair| distance(pair[0], pair[1])).sum();
    let back = match (points.first(), points.last()) {
        (Some(first), Some(last)) if closed => distance(*first, *last),
        _ => 0.0,
    };
    open + back
}

/// Angle between two directions, 0 to 180 degrees. By the arc tangent: the arc cosine loses digits near 0 and 180.
fn between(u: Point, v: Point) -> Option<f64> {
    let (length_u, length_v) = (norm(u), norm(v));
    (length_u > 0.0 && length_v > 0.0).then(|| norm(cross(u, v)).atan2(dot(u, v)).to_degrees())
}

/// Angle at `vertex` between the arms to `a` and `b`, 0 to 180 degrees; `None` where an arm has no length.
pub fn angle_degrees(a: Point, vertex: Point, b: Point) -> Option<f64> {
    between(minus(a, vertex), minus(b, vertex))
}

/// Angle between two lines whatever way they were drawn, 0 to 90 degrees (Cobb); `None` where a line has no length.
pub fn cobb_degrees(first: [Point; 2], second: [Point; 2]) -> Option<f64> {
    let angle = between(minus(first[1], first[0]), minus(second[1], second[0]))?;
    Some(if angle > 90.0 { 180.0 - angle } else { angle })
}

/// Area inside a plane closed line, mm²: half the length of the sum of cross products (Newell), in any orientation. Parts that
/// are gone around the other way are subtracted.
pub fn polygon_area(points: &[Point]) -> f64 {
    let Some(origin) = points.first() else { return 0.0 };
    let mut sum = [0.0; 3];
    for pair in points.windows(2) {
        // About the first point, so that a plane far from the origin loses no digits.
        let part = cross(minus(pair[0], *origin), minus(pair[1], *origin));
        for (total, value) in sum.iter_mut().zip(part) {
            *total += value;
        }
    }
    norm(sum) / 2.0
}

/// Mean of the points; the origin where there are none.
pub fn centre(points: &[Point]) -> Point {
    let count = points.len().max(1) as f64;
    let mut sum = [0.0; 3];
    for point in points {
        for (total, value) in sum.iter_mut().zip(point) {
            *total += value / count;
        }
    }
    sum
}

/// Area of an ellipse from the ends of two conjugate diameters, mm². For axes this is π·a·b.
pub fn ellipse_area(ends: [Point; 4]) -> f64 {
    let u = minus(ends[1], ends[0]);
    let v = minus(ends[3], ends[2]);
    std::f64::consts::PI * norm(cross(u, v)) / 4.0
}

/// Perimeter of an ellipse from the ends of its axes, mm, by Ramanujan's second approximation.
pub fn ellipse_perimeter(ends: [Point; 4]) -> f64 {
    let (a, b) = (distance(ends[0], ends[1]) / 2.0, distance(ends[2], ends[3]) / 2.0);
    if a + b <= 0.0 {
        return 0.0;
    }
    let h = ((a - b) / (a + b)).powi(2);
    std::f64::consts::PI * (a + b) * (1.0 + 3.0 * h / (10.0 + (4.0 - 3.0 * h).sqrt()))
}

/// The ends of a line through the middle of `a` and `b`, at right angles to it in the plane of an image and `share` of its
/// length: what a bidirectional measurement begins with.
pub fn axis_across(a: Point, b: Point, share: f64) -> [Point; 2] {
    let middle = centre(&[a, b]);
    let along = minus(b, a);
    let across = [along[1] * share / 2.0, -along[0] * share / 2.0, 0.0];
    [
        [middle[0] - across[0], middle[1] - across[1], middle[2]],
        [middle[0] + across[0], middle[1] + across[1], middle[2]],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn lengths() {
        near(distance([1.0, 2.0, 3.0], [4.0, 6.0, 15.0]), 13.0);
        let square = [[0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 4.0, 0.0]];
        near(path_length(&square, false), 7.0);
        near(path_length(&square, true), 12.0);
        near(path_length(&[], true), 0.0);
    }

    #[test]
    fn angles() {
        let o = [0.0; 3];
        near(angle_degrees([1.0, 0.0, 0.0], o, [0.0, 0.0, 5.0]).expect("an angle"), 90.0);
        near(angle_degrees([1.0, 0.0, 0.0], o, [-2.0, 0.0, 0.0]).expect("an angle"), 180.0);
        near(angle_degrees([1.0, 0.0, 0.0], o, [1.0, 3.0_f64.sqrt(), 0.0]).expect("an angle"), 60.0);
        assert_eq!(angle_degrees(o, o, [1.0, 0.0, 0.0]), None);
        // Near zero, where the arc cosine would give 0.
        let tiny = angle_degrees([1.0, 0.0, 0.0], o, [1.0, 1e-9, 0.0]).expect("an angle");
        assert!((tiny.to_radians() - 1e-9).abs() < 1e-15, "{tiny}");
    }

    #[test]
    fn cobb_does_not_depend_on_the_way_of_drawing() {
        let flat = [[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]];
        let steep = [[0.0, 30.0, 0.0], [10.0, 30.0 + 10.0 * 35.0_f64.to_radians().tan(), 0.0]];
        near(cobb_degrees(flat, steep).expect("an angle"), 35.0);
        near(cobb_degrees(flat, [steep[1], steep[0]]).expect("an angle"), 35.0);
        assert_eq!(cobb_degrees(flat, [steep[0], steep[0]]), None);
    }

    #[test]
    fn areas() {
        // 3 by 4 in a plane turned out of every axis, far from the origin.
        let (u, v) = ([0.6, 0.8, 0.0], [-0.48, 0.36, 0.8]);
        let at =
            |x: f64, y: f64| [1000.0 + u[0] * x + v[0] * y, -500.0 + u[1] * x + v[1] * y, 80.0 + u[2] * x + v[2] * y];
        near(polygon_area(&[at(0.0, 0.0), at(3.0, 0.0), at(3.0, 4.0), at(0.0, 4.0)]), 12.0);
        near(polygon_area(&[at(0.0, 0.0), at(3.0, 0.0), at(0.0, 4.0)]), 6.0);
        near(polygon_area(&[at(0.0, 0.0), at(3.0, 0.0)]), 0.0);
        near(ellipse_area([at(-3.0, 0.0), at(3.0, 0.0), at(0.0, -2.0), at(0.0, 2.0)]), 6.0 * std::f64::consts::PI);
        near(ellipse_perimeter([at(-2.0, 0.0), at(2.0, 0.0), at(0.0, -2.0), at(0.0, 2.0)]), 4.0 * std::f64::consts::PI);
        // Complete elliptic integral for a = 3, b = 2.
        let perimeter = ellipse_perimeter([at(-3.0, 0.0), at(3.0, 0.0), at(0.0, -2.0), at(0.0, 2.0)]);
        assert!((perimeter - 15.865_439_589_3).abs() < 1e-6, "{perimeter}");
    }

    #[test]
    fn the_short_axis_stands_across_the_long_one() {
        let (a, b) = ([2.0, 1.0, 0.0], [8.0, 9.0, 0.0]);
        let [c, d] = axis_across(a, b, 0.5);
        near(distance(c, d), 5.0);
        near(dot(minus(b, a), minus(d, c)), 0.0);
        assert_eq!(centre(&[c, d]), centre(&[a, b]));
    }
}
