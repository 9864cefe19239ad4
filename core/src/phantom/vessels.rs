//! Trees that fill the lungs: arteries, veins, airways.
//!
//! Volume-filling branching after Tawhai, Pullan and Hunter (Ann Biomed Eng 2000; 28:793): a cloud of end points in the lung is
//! halved again and again, and each branch grows from its parent's end towards the middle of its half. Radii follow
//! Murray's law with an exponent of 2.6.

use super::geometry::{Cone, Vec3, v};
use super::random::Stream;

/// How a tree grows.
pub(super) struct Growth {
    /// Radius of a branch that feeds one end point, mm.
    pub tip_radius: f32,
    /// Largest radius, mm.
    pub root_radius: f32,
    /// How far a branch goes on the way to the middle of its points.
    pub stride: f32,
}

/// Grows a tree from `root` (with first direction `towards`) to all `points`.
pub(super) fn grow(root: Vec3, towards: Vec3, points: Vec<Vec3>, growth: &Growth, random: &mut Stream) -> Vec<Cone> {
    let mut cones = Vec::with_capacity(points.len() * 4);
    let mut stack = vec![(root, towards.unit(), points)];
    while let Some((start, direction, points)) = stack.pop() {
        let n = points.len();
        if n == 0 {
            continue;
        }
        let radius = (growth.tip_radius * (n as f32).powf(1.0 / 2.6)).min(growth.root_radius);
        let center = points.iter().fold(v(0.0, 0.0, 0.0), |s, p| s + *p) * (1.0 / n as f32);
        let way = center - start;
        // A branch does not turn back: its direction keeps part of its parent's.
        let turned = (way.unit() + direction * 0.35).unit();
        let length = way.length() * if n == 1 { 0.9 } else { growth.stride };
        if length < 0.4 {
            continue;
        }
        let end = start + turned * length;
        let taper = (growth.tip_radius * ((n as f32) * 0.6).powf(1.0 / 2.6)).min(growth.root_radius);
        bend(&mut cones, start, end, radius, taper, random);
        if n > 1 {
            let axis = widest_axis(&points, center, turned);
            let cut = random.range(-0.15, 0.15);
            let spread = points.iter().map(|p| (*p - center).dot(axis).abs()).sum::<f32>() / n as f32;
            let (a, b): (Vec<_>, Vec<_>) = points.into_iter().partition(|p| (*p - center).dot(axis) < cut * spread);
            stack.push((end, turned, a));
            stack.push((end, turned, b));
        }
    }
    cones
}

/// A slightly bowed branch.
fn bend(cones: &mut Vec<Cone>, a: Vec3, b: Vec3, ra: f32, rb: f32, random: &mut Stream) {
    let length = (b - a).length();
    let bow = v(random.normal(), random.normal(), random.normal()) * (length * 0.045);
    let pieces = if length > 12.0 { 4 } else { 2 };
    let at = |t: f32| a.lerp(b, t) + bow * (4.0 * t * (1.0 - t));
    for i in 0..pieces {
        let (s, e) = (i as f32 / pieces as f32, (i + 1) as f32 / pieces as f32);
        cones.push(Cone { a: at(s), b: at(e), ra: ra + (rb - ra) * s, rb: ra + (rb - ra) * e });
    }
}

/// The direction across `along` in which the points spread most (power iteration on their covariance).
fn widest_axis(points: &[Vec3], center: Vec3, along: Vec3) -> Vec3 {
    // At most a few hundred points tell the direction well enough.
    let step = points.len().div_ceil(300);
    let mut axis = v(0.3, 0.5, 0.8);
    for _ in 0..6 {
        let mut next = v(0.0, 0.0, 0.0);
        for p in points.iter().step_by(step) {
            let d = *p - center;
            let d = d - along * d.dot(along);
            next = next + d * d.dot(axis);
        }
        if next.length() < 1e-6 {
            break;
        }
        axis = next.unit();
    }
    axis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_comes_near_all_its_points_and_tapers() {
        let mut random = Stream::new(3, "test");
        let points: Vec<Vec3> = (0..400)
            .map(|_| v(random.range(10.0, 90.0), random.range(-60.0, 60.0), random.range(-80.0, 80.0)))
            .collect();
        let growth = Growth { tip_radius: 0.4, root_radius: 6.0, stride: 0.4 };
        let cones = grow(v(0.0, 0.0, 0.0), v(1.0, 0.0, 0.0), points.clone(), &growth, &mut random);
        let near = points.iter().filter(|p| cones.iter().any(|c| (c.b - **p).length() < 6.0)).count();
        assert!(near > 380, "{near} of 400 points reached");
        assert!(cones[0].ra > 2.5 && cones.iter().all(|c| c.rb <= c.ra + 1e-4));
    }
}
