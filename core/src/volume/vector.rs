//! Vectors in patient space, mm.

/// A point or a direction: LPS (x to the patient's left, y to the back, z to the head), mm.
pub type Vector = [f64; 3];

/// Scalar product.
pub fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// Vector product.
pub fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `a + b * scale`.
pub fn along(a: Vector, b: Vector, scale: f64) -> Vector {
    [a[0] + b[0] * scale, a[1] + b[1] * scale, a[2] + b[2] * scale]
}

/// `a - b`.
pub fn minus(a: Vector, b: Vector) -> Vector {
    along(a, b, -1.0)
}

/// Euclidean length.
pub fn length(a: Vector) -> f64 {
    dot(a, a).sqrt()
}

/// The vector of length 1 in the same direction; `None` for the zero vector and for what is no number.
pub fn unit(a: Vector) -> Option<Vector> {
    let length = length(a);
    (length.is_finite() && length > 1e-12).then(|| a.map(|x| x / length))
}

/// `v` turned about the unit vector `axis` by `radians`, by the right hand (Rodrigues).
pub fn rotate(v: Vector, axis: Vector, radians: f64) -> Vector {
    let (sin, cos) = radians.sin_cos();
    let turned = along(v.map(|x| x * cos), cross(axis, v), sin);
    along(turned, axis, dot(axis, v) * (1.0 - cos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_right_hand() {
        let turned = rotate([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], 90_f64.to_radians());
        assert!(length(minus(turned, [0.0, 1.0, 0.0])) < 1e-12);
        let v = [1.0, 2.0, 3.0];
        let axis = unit([1.0, -1.0, 0.5]).expect("a direction");
        let back = rotate(rotate(v, axis, 0.7), axis, -0.7);
        assert!(length(minus(back, v)) < 1e-12);
        assert!((length(rotate(v, axis, 2.0)) - length(v)).abs() < 1e-12);
        assert_eq!(unit([0.0; 3]), None);
        assert_eq!(unit([f64::NAN, 0.0, 0.0]), None);
    }
}
