//! Points and signed distance functions: negative inside, millimetres, exact or close to it near the surface.

use std::ops::{Add, Mul, Sub};

/// A point or direction in the patient coordinate system: LPS (x to the left, y to the back, z to the head), mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Vec3 {
    pub x: f32,
    pub y: f32,
    pub z: f32,
}

/// Short for a [`Vec3`].
pub(super) const fn v(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Add for Vec3 {
    type Output = Self;
    fn add(self, o: Self) -> Self {
        v(self.x + o.x, self.y + o.y, self.z + o.z)
    }
}

impl Sub for Vec3 {
    type Output = Self;
    fn sub(self, o: Self) -> Self {
        v(self.x - o.x, self.y - o.y, self.z - o.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;
    fn mul(self, k: f32) -> Self {
        v(self.x * k, self.y * k, self.z * k)
    }
}

impl Vec3 {
    pub fn dot(self, o: Self) -> f32 {
        self.x * o.x + self.y * o.y + self.z * o.z
    }

    pub fn cross(self, o: Self) -> Self {
        v(self.y * o.z - self.z * o.y, self.z * o.x - self.x * o.z, self.x * o.y - self.y * o.x)
    }

    pub fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    /// The unit vector; the zero vector stays zero.
    pub fn unit(self) -> Self {
        self * (1.0 / self.length().max(1e-9))
    }

    pub fn lerp(self, o: Self, t: f32) -> Self {
        self + (o - self) * t
    }

    /// Each coordinate times its factor.
    pub fn scale(self, o: Self) -> Self {
        v(self.x * o.x, self.y * o.y, self.z * o.z)
    }

    /// The mirror image on the other side of the median plane where `side` is -1.
    pub fn on_side(self, side: f32) -> Self {
        v(self.x * side, self.y, self.z)
    }
}

/// An axis-parallel box, mm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub low: Vec3,
    pub high: Vec3,
}

impl Bounds {
    /// The box around two points, grown by `margin`.
    pub fn around(a: Vec3, b: Vec3, margin: f32) -> Self {
        Self {
            low: v(a.x.min(b.x) - margin, a.y.min(b.y) - margin, a.z.min(b.z) - margin),
            high: v(a.x.max(b.x) + margin, a.y.max(b.y) + margin, a.z.max(b.z) + margin),
        }
    }
}

/// A solid.
pub(super) trait Shape: Send + Sync {
    /// A box that holds the solid.
    fn bounds(&self) -> Bounds;
    /// Signed distance to the surface, mm.
    fn distance(&self, p: Vec3) -> f32;
}

/// A cone with round ends: two radii joined by straight lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cone {
    pub a: Vec3,
    pub b: Vec3,
    pub ra: f32,
    pub rb: f32,
}

impl Shape for Cone {
    fn bounds(&self) -> Bounds {
        Bounds::around(self.a, self.b, self.ra.max(self.rb))
    }

    fn distance(&self, p: Vec3) -> f32 {
        let ab = self.b - self.a;
        let ap = p - self.a;
        let t = (ap.dot(ab) / ab.dot(ab).max(1e-9)).clamp(0.0, 1.0);
        (ap - ab * t).length() - (self.ra + (self.rb - self.ra) * t)
    }
}

/// A chain of cones through `points`, the radius given at each.
pub(super) fn tube(points: &[(Vec3, f32)]) -> Vec<Cone> {
    points.windows(2).map(|w| Cone { a: w[0].0, b: w[1].0, ra: w[0].1, rb: w[1].1 }).collect()
}

/// A Catmull-Rom curve through `points` (with their radii), `steps` pieces between neighbours.
pub(super) fn smooth(points: &[(Vec3, f32)], steps: usize) -> Vec<(Vec3, f32)> {
    let n = points.len();
    let mut curve = Vec::with_capacity(n * steps + 1);
    for i in 0..n.saturating_sub(1) {
        let at = |k: usize| points[k.min(n - 1)];
        let (p0, p1, p2, p3) = (at(i.saturating_sub(1)), at(i), at(i + 1), at(i + 2));
        for s in 0..steps {
            let t = s as f32 / steps as f32;
            let (t2, t3) = (t * t, t * t * t);
            let [a, b, c, d] = [
                -0.5 * t3 + t2 - 0.5 * t,
                1.5 * t3 - 2.5 * t2 + 1.0,
                -1.5 * t3 + 2.0 * t2 + 0.5 * t,
                0.5 * t3 - 0.5 * t2,
            ];
            curve.push((p0.0 * a + p1.0 * b + p2.0 * c + p3.0 * d, p1.1 + (p2.1 - p1.1) * t));
        }
    }
    curve.extend(points.last().copied());
    curve
}

/// An ellipsoid with its own axes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ellipsoid {
    pub center: Vec3,
    /// Unit vectors.
    pub axes: [Vec3; 3],
    /// Half lengths along the axes, mm.
    pub semi: [f32; 3],
}

impl Ellipsoid {
    /// With axes along x, y and z.
    pub fn upright(center: Vec3, semi: Vec3) -> Self {
        Self { center, axes: [v(1.0, 0.0, 0.0), v(0.0, 1.0, 0.0), v(0.0, 0.0, 1.0)], semi: [semi.x, semi.y, semi.z] }
    }

    /// The long axis along `direction`, the other two half lengths equal to `across`.
    pub fn along(center: Vec3, direction: Vec3, length: f32, across: f32) -> Self {
        let a = direction.unit();
        let b = a.cross(v(0.0, 0.0, 1.0)).unit();
        Self { center, axes: [a, b, a.cross(b)], semi: [length, across, across] }
    }

    /// Grown by `margin` on all sides.
    pub fn grown(mut self, margin: f32) -> Self {
        self.semi = self.semi.map(|s| (s + margin).max(0.5));
        self
    }

    /// Position in units of the half lengths.
    pub fn local(&self, p: Vec3) -> Vec3 {
        let d = p - self.center;
        v(d.dot(self.axes[0]) / self.semi[0], d.dot(self.axes[1]) / self.semi[1], d.dot(self.axes[2]) / self.semi[2])
    }
}

impl Shape for Ellipsoid {
    fn bounds(&self) -> Bounds {
        let extent =
            |pick: fn(Vec3) -> f32| (0..3).map(|i| (pick(self.axes[i]) * self.semi[i]).powi(2)).sum::<f32>().sqrt();
        let e = v(extent(|a| a.x), extent(|a| a.y), extent(|a| a.z));
        Bounds { low: self.center - e, high: self.center + e }
    }

    fn distance(&self, p: Vec3) -> f32 {
        let l = self.local(p);
        let k0 = l.length();
        let k1 = v(l.x / self.semi[0], l.y / self.semi[1], l.z / self.semi[2]).length();
        if k1 < 1e-9 { -self.semi[0].min(self.semi[1]).min(self.semi[2]) } else { k0 * (k0 - 1.0) / k1 }
    }
}

/// One piece of a rib or of another flat bone: an elliptic section swept along a line, the section's frame turning with it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blade {
    pub a: Vec3,
    pub b: Vec3,
    /// Unit directions of the section's thin axis at both ends.
    pub thin: [Vec3; 2],
    /// Half thickness at both ends, mm.
    pub half_thickness: [f32; 2],
    /// Half height at both ends, mm.
    pub half_height: [f32; 2],
}

impl Shape for Blade {
    fn bounds(&self) -> Bounds {
        let r = self.half_height[0].max(self.half_height[1]).max(self.half_thickness[0]).max(self.half_thickness[1]);
        Bounds::around(self.a, self.b, r)
    }

    fn distance(&self, p: Vec3) -> f32 {
        let ab = self.b - self.a;
        let ap = p - self.a;
        let t = (ap.dot(ab) / ab.dot(ab).max(1e-9)).clamp(0.0, 1.0);
        let d = ap - ab * t;
        let thickness = self.half_thickness[0] + (self.half_thickness[1] - self.half_thickness[0]) * t;
        let height = self.half_height[0] + (self.half_height[1] - self.half_height[0]) * t;
        let n = self.thin[0].lerp(self.thin[1], t).unit();
        let across = d.dot(n);
        let along = (d - n * across).length();
        let (qa, qh) = (across / thickness, along / height);
        let k0 = (qa * qa + qh * qh).sqrt();
        let k1 = ((qa / thickness).powi(2) + (qh / height).powi(2)).sqrt();
        if k1 < 1e-9 { -thickness.min(height) } else { k0 * (k0 - 1.0) / k1 }
    }
}

/// A vertebral body: an elliptic drum with a waist and rounded rims.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drum {
    pub center: Vec3,
    /// Half width, half depth, half height, mm.
    pub half: Vec3,
    /// How much narrower the middle is than the rims, 0 to 1.
    pub waist: f32,
}

impl Shape for Drum {
    fn bounds(&self) -> Bounds {
        Bounds { low: self.center - self.half, high: self.center + self.half }
    }

    fn distance(&self, p: Vec3) -> f32 {
        let d = p - self.center;
        let u = d.z / self.half.z;
        let narrow = 1.0 - self.waist * (1.0 - u * u).max(0.0);
        let (a, b) = (self.half.x * narrow, self.half.y * narrow);
        let rho = ((d.x / a).powi(2) + (d.y / b).powi(2)).sqrt();
        let round = 2.0;
        let side = (rho - 1.0) * a.min(b) + round;
        let end = d.z.abs() - self.half.z + round;
        let outside = (side.max(0.0).powi(2) + end.max(0.0).powi(2)).sqrt();
        outside + side.max(end).min(0.0) - round
    }
}

/// A flat triangle with thickness: the blade of the scapula.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plate {
    pub corners: [Vec3; 3],
    /// Half thickness, mm.
    pub half_thickness: f32,
    /// How far the middle stands off the corners' plane, along its normal, mm.
    pub bulge: f32,
}

impl Shape for Plate {
    fn bounds(&self) -> Bounds {
        let [a, b, c] = self.corners;
        let margin = self.half_thickness + self.bulge.abs();
        let ab = Bounds::around(a, b, margin);
        let bc = Bounds::around(b, c, margin);
        Bounds {
            low: v(ab.low.x.min(bc.low.x), ab.low.y.min(bc.low.y), ab.low.z.min(bc.low.z)),
            high: v(ab.high.x.max(bc.high.x), ab.high.y.max(bc.high.y), ab.high.z.max(bc.high.z)),
        }
    }

    fn distance(&self, p: Vec3) -> f32 {
        let [a, b, c] = self.corners;
        let n = (b - a).cross(c - a).unit();
        // Distance to the three edges within the plane, positive outside.
        let edge = |s: Vec3, e: Vec3| {
            let out = (e - s).cross(n).unit();
            (p - s).dot(out)
        };
        let inside = edge(a, b).max(edge(b, c)).max(edge(c, a));
        let depth = (-inside / 25.0).clamp(0.0, 1.0);
        let off = (p - a).dot(n) - self.bulge * depth * (2.0 - depth);
        inside.max(off.abs() - self.half_thickness)
    }
}

/// Union with a fillet of about `k` mm (polynomial smooth minimum).
pub(super) fn smooth_min(a: f32, b: f32, k: f32) -> f32 {
    let h = (k - (a - b).abs()).max(0.0) / k;
    a.min(b) - h * h * k * 0.25
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(super) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A bell of height 1 around `center`.
pub(super) fn bell(x: f32, center: f32, width: f32) -> f32 {
    let u = (x - center) / width;
    (-u * u).exp()
}

/// A smooth curve through knots, sampled once and looked up linearly.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    start: f32,
    samples: Vec<f32>,
}

impl Profile {
    /// Through `(position, value)` knots with growing positions.
    pub fn new(knots: &[(f32, f32)]) -> Self {
        let first = knots.first().map_or(0.0, |k| k.0);
        let last = knots.last().map_or(0.0, |k| k.0);
        let samples = (0..=(last - first).ceil() as usize).map(|i| Self::cubic(knots, first + i as f32)).collect();
        Self { start: first, samples }
    }

    /// Monotone cubic (Fritsch and Carlson 1980) at `x`: no overshoot between knots.
    fn cubic(knots: &[(f32, f32)], x: f32) -> f32 {
        let Some(i) = knots.windows(2).position(|w| x <= w[1].0) else {
            return knots.last().map_or(0.0, |k| k.1);
        };
        let slope = |k: usize| (knots[k + 1].1 - knots[k].1) / (knots[k + 1].0 - knots[k].0);
        let tangent = |k: usize| {
            if k == 0 {
                slope(0)
            } else if k == knots.len() - 1 {
                slope(k - 1)
            } else {
                let (a, b) = (slope(k - 1), slope(k));
                if a * b <= 0.0 { 0.0 } else { 2.0 * a * b / (a + b) }
            }
        };
        let (x0, y0) = knots[i];
        let (x1, y1) = knots[i + 1];
        let h = x1 - x0;
        let t = ((x - x0) / h).clamp(0.0, 1.0);
        let (t2, t3) = (t * t, t * t * t);
        y0 * (2.0 * t3 - 3.0 * t2 + 1.0)
            + h * tangent(i) * (t3 - 2.0 * t2 + t)
            + y1 * (3.0 * t2 - 2.0 * t3)
            + h * tangent(i + 1) * (t3 - t2)
    }

    /// The value at `x`; the ends' values outside.
    pub fn at(&self, x: f32) -> f32 {
        let last = self.samples.len() - 1;
        let u = (x - self.start).clamp(0.0, last as f32);
        let i = (u as usize).min(last.saturating_sub(1));
        let (a, b) = (self.samples[i], self.samples[(i + 1).min(last)]);
        a + (b - a) * (u - i as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_zero_on_the_surface_and_negative_inside() {
        let cone = Cone { a: v(0.0, 0.0, 0.0), b: v(10.0, 0.0, 0.0), ra: 2.0, rb: 4.0 };
        assert!((cone.distance(v(5.0, 3.0, 0.0))).abs() < 1e-5);
        assert!(cone.distance(v(5.0, 0.0, 1.0)) < -1.0);
        let ellipsoid = Ellipsoid::along(v(1.0, 2.0, 3.0), v(1.0, 1.0, 0.0), 20.0, 10.0);
        let tip = ellipsoid.center + ellipsoid.axes[0] * 20.0;
        assert!(ellipsoid.distance(tip).abs() < 1e-3);
        assert!((ellipsoid.distance(tip + ellipsoid.axes[0]) - 1.0).abs() < 0.1);
        let drum = Drum { center: v(0.0, 0.0, 0.0), half: v(15.0, 12.0, 10.0), waist: 0.1 };
        assert!(drum.distance(v(0.0, 0.0, 10.0)).abs() < 1e-4);
        assert!(drum.distance(v(0.0, 0.0, 12.0)) > 1.9);
        let n = v(0.0, 1.0, 0.0);
        let blade = Blade {
            a: v(0.0, 0.0, 0.0),
            b: v(20.0, 0.0, 0.0),
            thin: [n, n],
            half_thickness: [3.0; 2],
            half_height: [7.0; 2],
        };
        assert!(blade.distance(v(10.0, 3.0, 0.0)).abs() < 1e-4);
        assert!(blade.distance(v(10.0, 0.0, 7.0)).abs() < 1e-4);
    }

    #[test]
    fn a_profile_passes_its_knots_and_does_not_overshoot() {
        let profile = Profile::new(&[(-10.0, 5.0), (0.0, 5.0), (10.0, 20.0), (30.0, 0.0)]);
        for (x, y) in [(-10.0, 5.0), (0.0, 5.0), (10.0, 20.0), (30.0, 0.0), (99.0, 0.0), (-99.0, 5.0)] {
            assert!((profile.at(x) - y).abs() < 1e-4, "{x}");
        }
        assert!((0..400).all(|i| (0.0..=20.001).contains(&profile.at(-10.0 + i as f32 * 0.1))));
    }
}
