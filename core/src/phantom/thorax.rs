//! The body as continuous functions of position: who is simulated, the cage, the diaphragm, the skin, and which tissue
//! lies between them. Bones, vessels and lesions are painted over it.
//!
//! Measures follow adult anatomy in full inspiration: lungs 25 cm high, inner width 28 cm, right dome higher than the left.

use serde::{Deserialize, Serialize};

use super::geometry::{Bounds, Cone, Ellipsoid, Profile, Shape, Vec3, bell, smooth_min, smoothstep, v};
use super::random::{Stream, fractal, noise};

/// Which examination the tissue is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// CT with contrast medium, arms raised.
    Ct,
    /// Radiograph of the standing patient, arms down, no contrast medium.
    Radiograph,
}

/// Sex of the simulated patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Sex {
    Female,
    Male,
}

/// What makes one simulated patient different from another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Habitus {
    /// Sex.
    pub sex: Sex,
    /// Age in years.
    pub age: u32,
    /// Width of the cage against the standard body.
    pub width: f32,
    /// Depth of the cage against the standard body.
    pub depth: f32,
    /// Fat under the skin, mm.
    pub fat_mm: f32,
    /// Thickness of the muscles against the standard body.
    pub muscle: f32,
    /// Size of the heart against the standard body.
    pub heart: f32,
    /// Highest point of the right dome of the diaphragm, mm above the body's origin (middle of T7).
    pub right_dome_mm: f32,
    /// How much lower the left dome is, mm.
    pub left_dome_lower_mm: f32,
    /// Sideways bow of the spine, mm.
    pub scoliosis_mm: f32,
    /// Turn of the patient about the long axis in front of the detector, degrees.
    pub rotation_degrees: f32,
    /// Mineral content of the bones against the standard body.
    pub bone: f32,
}

impl Habitus {
    /// The patient that belongs to `seed`.
    pub fn from_seed(seed: u64) -> Self {
        let mut r = Stream::new(seed, "habitus");
        let sex = if r.chance(0.5) { Sex::Male } else { Sex::Female };
        let small = if sex == Sex::Female { 0.95 } else { 1.0 };
        Self {
            sex,
            age: r.range(35.0, 80.0) as u32,
            width: small * r.range(0.97, 1.04),
            depth: small * r.range(0.95, 1.07),
            fat_mm: r.range(7.0, 17.0),
            muscle: small * r.range(0.9, 1.1),
            heart: small * r.range(0.95, 1.1),
            right_dome_mm: r.range(-70.0, -58.0),
            left_dome_lower_mm: r.range(8.0, 16.0),
            scoliosis_mm: r.range(-3.5, 3.5),
            rotation_degrees: r.range(-2.0, 2.0),
            bone: r.range(0.88, 1.08),
        }
    }
}

/// Label bits of a voxel: the organ, and above [`LESION_SHIFT`] the lesion's number (from 1).
pub(super) const LEFT_LUNG: u8 = 1;
pub(super) const RIGHT_LUNG: u8 = 2;
pub(super) const CARDIOMEDIASTINUM: u8 = 3;
pub(super) const ORGAN_MASK: u8 = 0b11;
pub(super) const LESION_SHIFT: u8 = 2;

/// What is at a point before bones, vessels and lesions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tissue {
    pub hu: f32,
    pub organ: u8,
}

/// Heights of the middles of the vertebrae C5 to L3, mm.
pub(super) const VERTEBRAE: [f32; 18] = [
    165.0, 150.0, 134.0, 117.0, 99.0, 80.0, 61.0, 41.0, 20.0, -2.0, -24.0, -47.0, -70.0, -94.0, -119.0, -145.0, -172.0,
    -200.0,
];
/// Index of T1 in [`VERTEBRAE`].
pub(super) const T1: usize = 3;

/// How much smaller the radius measure is than an ellipse's where `sin² cos²` of the angle is `product`: the section of
/// the cage is a little fuller at its corners, as a superellipse with exponent 2.3.
fn fullness(product: f32) -> f32 {
    1.0 - 0.1768 * product
}

/// The continuous body.
pub(super) struct Thorax {
    pub habitus: Habitus,
    pub scan: Scan,
    seed: u32,
    half_width: Profile,
    half_depth: Profile,
    center_y: Profile,
    spine_y: Profile,
    mediastinum: Profile,
    /// Soft outline of heart and great vessels against the lungs.
    pub envelope_cones: Vec<Cone>,
    pub envelope_ellipsoids: Vec<Ellipsoid>,
}

impl Thorax {
    pub fn new(seed: u64, habitus: Habitus, scan: Scan) -> Self {
        Self {
            habitus,
            scan,
            seed: seed as u32 ^ (seed >> 32) as u32,
            half_width: Profile::new(&[
                (-230.0, 138.0),
                (-130.0, 142.0),
                (-80.0, 140.0),
                (-30.0, 134.0),
                (20.0, 125.0),
                (50.0, 115.0),
                (75.0, 104.0),
                (95.0, 91.0),
                (110.0, 77.0),
                (120.0, 64.0),
                (127.0, 51.0),
                (131.0, 41.0),
                (138.0, 28.0),
                (160.0, 20.0),
            ]),
            half_depth: Profile::new(&[
                (-230.0, 94.0),
                (-120.0, 96.0),
                (-50.0, 92.0),
                (0.0, 87.0),
                (40.0, 79.0),
                (80.0, 62.0),
                (105.0, 48.0),
                (120.0, 36.0),
                (130.0, 25.0),
                (160.0, 20.0),
            ]),
            center_y: Profile::new(&[
                (-230.0, -6.0),
                (-120.0, -5.0),
                (-60.0, -2.0),
                (0.0, 0.0),
                (40.0, 5.0),
                (80.0, 14.0),
                (128.0, 22.0),
                (170.0, 22.0),
            ]),
            spine_y: Profile::new(&[
                (-230.0, 24.0),
                (-180.0, 28.0),
                (-120.0, 40.0),
                (-60.0, 55.0),
                (0.0, 59.0),
                (40.0, 55.0),
                (80.0, 46.0),
                (118.0, 36.0),
                (170.0, 26.0),
            ]),
            mediastinum: Profile::new(&[
                (-200.0, 9.0),
                (10.0, 9.0),
                (40.0, 12.0),
                (80.0, 16.0),
                (100.0, 18.0),
                (112.0, 21.5),
                (120.0, 26.0),
                (126.0, 32.0),
                (131.0, 42.0),
            ]),
            envelope_cones: Vec::new(),
            envelope_ellipsoids: Vec::new(),
        }
    }

    /// Middle of the spine (of the vertebral bodies) at height `z`.
    pub fn spine(&self, z: f32) -> Vec3 {
        let bow = self.habitus.scoliosis_mm * (z / 75.0).sin();
        v(bow, self.spine_y.at(z) * self.habitus.depth, z)
    }

    /// Height by which the cage's section is chosen: the ribs' rings slope down to the front.
    fn ring_height(&self, y: f32, z: f32) -> f32 {
        z + 0.27 * (self.center_y.at(z) - y)
    }

    /// Half width, half depth and centre of the cage's inside in the ring at `ring`.
    fn ring(&self, ring: f32) -> (f32, f32, f32) {
        (
            self.half_width.at(ring) * self.habitus.width,
            self.half_depth.at(ring) * self.habitus.depth,
            self.center_y.at(ring),
        )
    }

    /// Signed distance to the inner surface of the cage, mm; and the place around it, front (-1) to back (+1).
    pub fn cage(&self, p: Vec3) -> (f32, f32) {
        let (a, b, c) = self.ring(self.ring_height(p.y, p.z));
        let (qx, qy) = (p.x / a, (p.y - c) / b);
        let ellipse = qx * qx + qy * qy;
        let rho = ellipse.sqrt() * fullness(qx * qx * qy * qy / (ellipse * ellipse).max(1e-9));
        let radius = (p.x * p.x + (p.y - c).powi(2)).sqrt();
        let d = if rho < 1e-4 { -a.min(b) } else { radius * (1.0 - 1.0 / rho) };
        (d, qy / rho.max(1e-4))
    }

    /// The point on the cage `offset` mm outside its inner surface, at `angle` (radians from the back's midline) on
    /// `side` (+1 left) and height `z`; and the outward direction there.
    pub fn on_cage(&self, angle: f32, side: f32, z: f32, offset: f32) -> (Vec3, Vec3) {
        let (s, c) = (angle.sin(), angle.cos());
        let mut y = 0.0;
        let mut point = v(0.0, 0.0, z);
        for _ in 0..5 {
            let (a, b, cy) = self.ring(self.ring_height(y, z));
            let k = 1.0 / fullness(s * s * c * c);
            point = v((a + offset) * s.abs() * k, cy + (b + offset) * c * k, z);
            y = point.y;
        }
        let (a, b, cy) = self.ring(self.ring_height(y, z));
        let out = v(point.x / (a * a), (point.y - cy) / (b * b), 0.0).unit();
        (point.on_side(side), out.on_side(side))
    }

    /// Height of the diaphragm at (`x`, `y`), mm.
    pub fn diaphragm(&self, x: f32, y: f32) -> f32 {
        let w = self.habitus.width;
        let dome = |side: f32, top: f32| {
            let dx = side * x - 68.0 * w;
            let dy = y + 4.0;
            let (qx, qy) = (dx / if dx > 0.0 { 73.0 * w } else { 92.0 * w }, dy / if dy > 0.0 { 94.0 } else { 88.0 });
            let q2 = qx * qx + qy * qy;
            let share = if q2 > 1e-6 { qx * qx / q2 } else { 0.5 };
            let fall_x = if dx > 0.0 { 56.0 } else { 15.0 };
            let fall_y = if dy > 0.0 { 74.0 } else { 26.0 };
            let fall = fall_x * share + fall_y * (1.0 - share);
            let q = q2.sqrt();
            let lobulation = 1.6 * noise(v(x, y, side * 50.0), 55.0, self.seed ^ 7);
            top + lobulation - fall * (1.0 - (1.0 - q2.min(1.0)).sqrt()) - (q - 1.0).max(0.0) * 40.0
        };
        let right = dome(-1.0, self.habitus.right_dome_mm);
        let left = dome(1.0, self.habitus.right_dome_mm - self.habitus.left_dome_lower_mm);
        -smooth_min(-right, -left, 14.0)
    }

    /// Signed distance to the mediastinum's outline against the lungs, mm.
    pub fn envelope(&self, p: Vec3) -> f32 {
        let spine = self.spine(p.z);
        let slab = self.mediastinum.at(self.ring_height(p.y, p.z));
        // In front the two lungs nearly touch; behind they reach around the vertebrae.
        let front = smoothstep(-45.0, -70.0, p.y) * smoothstep(70.0, 30.0, p.z);
        let mut d = (p.x - spine.x * 0.5).abs() - (slab - (slab - 5.0) * front);
        let half = 15.0 + (117.0 - p.z) * 0.035;
        let vertebra = ((p.x - spine.x).powi(2) + ((p.y - spine.y - 6.0) * 0.75).powi(2)).sqrt() - half - 4.5;
        d = smooth_min(d, vertebra, 12.0);
        for ellipsoid in &self.envelope_ellipsoids {
            d = smooth_min(d, ellipsoid.distance(p), 11.0);
        }
        for cone in &self.envelope_cones {
            d = smooth_min(d, cone.distance(p), 8.0);
        }
        d
    }

    /// Signed distance to the lungs' surface, mm, and the lung's label. Far from the surface it is only a bound.
    pub fn lung(&self, p: Vec3) -> (f32, u8) {
        self.lung_in_cage(p, self.cage(p).0)
    }

    fn lung_in_cage(&self, p: Vec3, cage: f32) -> (f32, u8) {
        let organ = if p.x > 0.0 { LEFT_LUNG } else { RIGHT_LUNG };
        if cage > 3.0 {
            return (cage, organ);
        }
        // The dome is steep at its rim: a factor turns the height into about a distance.
        let below = (self.diaphragm(p.x, p.y) - p.z) * 0.75;
        let d = cage.max(below);
        if d > 3.0 || p.x.abs() > 125.0 {
            return (d, organ);
        }
        let outline = self.envelope(p);
        let round = 3.0;
        let (u, w) = (d + round, round - outline);
        ((u.max(0.0).powi(2) + w.max(0.0).powi(2)).sqrt() + u.max(w).min(0.0) - round, organ)
    }

    /// The lobe at a point of a lung, after the fissures' planes: `RUL`, `RML`, `RLL`, `LUL`, `LLL`.
    pub fn lobe(&self, p: Vec3) -> &'static str {
        let behind = self.oblique_fissure(p) > 0.0;
        match (p.x > 0.0, behind) {
            (true, true) => "LLL",
            (true, false) => "LUL",
            (false, true) => "RLL",
            (false, false) if self.horizontal_fissure(p) < 0.0 => "RML",
            (false, false) => "RUL",
        }
    }

    /// Distance from the oblique fissure, positive behind and below it (lower lobe).
    pub fn oblique_fissure(&self, p: Vec3) -> f32 {
        let wave = 5.0 * noise(p, 60.0, self.seed ^ 21);
        // From T4 at the back to the diaphragm in front.
        let n = if p.x > 0.0 { v(0.10, 0.66, -0.74) } else { v(-0.10, 0.62, -0.78) };
        (p - v(0.0, -8.0, -18.0)).dot(n.unit()) + wave - 0.0008 * p.x * p.x + 4.0
    }

    /// Distance from the horizontal fissure of the right lung, positive above it.
    pub fn horizontal_fissure(&self, p: Vec3) -> f32 {
        p.z - (2.0 + 0.06 * (p.x + 60.0)) + 7.0 * noise(p, 48.0, self.seed ^ 22)
    }

    /// Thickness of muscle on the cage, and of fat over it, mm.
    fn wall(&self, p: Vec3, back: f32) -> (f32, f32) {
        let h = &self.habitus;
        let x = p.x.abs();
        let front = (-back).max(0.0);
        let erector = 21.0 * bell(x, 14.0, 62.0) * smoothstep(0.35, 0.95, back);
        let trapezius = 12.0 * smoothstep(0.2, 0.8, back) * smoothstep(-60.0, 60.0, p.z);
        let pectoral = 10.0 * bell(p.z, 48.0, 75.0) * bell(x, 86.0, 60.0) * smoothstep(0.2, 0.7, front);
        let side = 9.0 * smoothstep(0.6, 0.1, back.abs()) * bell(p.z, 40.0, 110.0);
        let muscle = 11.0 + h.muscle * (erector + trapezius + pectoral + side);
        let fat = h.fat_mm * (1.0 + 0.45 * smoothstep(40.0, -120.0, p.z)) * (0.75 + 0.25 * (1.0 - front));
        (muscle, fat)
    }

    /// Signed distance to the skin, mm, with the cage's distance and the fat's thickness.
    fn skin(&self, p: Vec3) -> (f32, f32, f32, f32) {
        let h = &self.habitus;
        let (cage, back) = self.cage(p);
        let (muscle, fat) = self.wall(p, back);
        let trunk = cage - muscle - fat;
        let q = v(p.x.abs(), p.y, p.z);
        let bulk = h.fat_mm * 0.8 + 4.0 * h.muscle;
        let neck =
            Cone { a: v(0.0, 22.0, 100.0), b: v(0.0, 12.0, 250.0), ra: 54.0 + bulk * 0.5, rb: 50.0 + bulk * 0.5 };
        let mut d = smooth_min(trunk, neck.distance(p), 18.0);
        let mut arm_muscle = 0.0_f32;
        match self.scan {
            Scan::Radiograph => {
                let shoulder = Cone {
                    a: v(30.0, 28.0, 92.0),
                    b: v(150.0 * h.width, 16.0, 58.0),
                    ra: 43.0 + bulk,
                    rb: 46.0 + bulk,
                };
                // Folds in front of and behind the armpit.
                let pectoral = Cone {
                    a: v(124.0 * h.width, -34.0, 30.0),
                    b: v(178.0 * h.width, 0.0, 44.0),
                    ra: 8.0 + bulk * 0.6,
                    rb: 28.0 + bulk,
                };
                let latissimus = Cone {
                    a: v(132.0 * h.width, 30.0, -24.0),
                    b: v(176.0 * h.width, 14.0, 44.0),
                    ra: 8.0 + bulk * 0.6,
                    rb: 30.0 + bulk,
                };
                // Deeper than high.
                let q = v(q.x, 16.0 + (q.y - 16.0) * 0.76, q.z);
                d = smooth_min(d, pectoral.distance(q), 22.0);
                d = smooth_min(d, latissimus.distance(q), 22.0);
                let arm = Cone {
                    a: v(180.0 * h.width, 12.0, 56.0),
                    b: v(238.0 * h.width, 6.0, -210.0),
                    ra: 34.0 + bulk,
                    rb: 28.0 + bulk,
                };
                d = smooth_min(d, shoulder.distance(q), 25.0);
                d = smooth_min(d, arm.distance(q), 22.0);
            }
            Scan::Ct => {
                let shoulder = Cone {
                    a: v(25.0, 26.0, 110.0),
                    b: v(140.0 * h.width, 18.0, 118.0),
                    ra: 30.0 + bulk,
                    rb: 34.0 + bulk,
                };
                let arm = Cone {
                    a: v(135.0 * h.width, 16.0, 110.0),
                    b: v(160.0 * h.width, 4.0, 290.0),
                    ra: 34.0 + bulk,
                    rb: 30.0 + bulk,
                };
                d = smooth_min(d, shoulder.distance(q), 25.0);
                d = smooth_min(d, arm.distance(q), 22.0);
            }
        }
        if h.sex == Sex::Female {
            let size = 36.0 + h.fat_mm * 0.9;
            let front = -(self.half_depth.at(0.0) * h.depth + 26.0);
            let sag = if self.scan == Scan::Radiograph { -14.0 } else { 6.0 };
            let center = v(80.0 * h.width, front + 8.0, -58.0 + sag);
            // A drop: thin and long above, round below.
            let tall = if q.z > center.z { 2.6 } else { 1.15 };
            let breast = Ellipsoid::upright(center, v(size * 1.4, size * 0.72, size * tall));
            // Above, it sinks into the wall, so that it has no upper edge.
            let sink = 24.0 * smoothstep(-10.0, 85.0, q.z - center.z);
            let b = breast.distance(v(q.x, q.y - sink, q.z));
            if b < d {
                arm_muscle = -1.0;
            }
            d = smooth_min(d, b, 18.0);
        }
        (d, cage, if arm_muscle < 0.0 { -1.0 } else { fat }, muscle)
    }

    /// A box around the trunk at the level of the lungs, without the arms, mm.
    pub fn extent(&self) -> Bounds {
        let mut extent = Bounds { low: v(0.0, 0.0, -150.0), high: v(0.0, 0.0, 40.0) };
        let mut z = extent.low.z;
        while z <= extent.high.z {
            for y in (-200..=200).step_by(2) {
                for x in (0..=230).step_by(2) {
                    let p = v(x as f32, y as f32, z);
                    let (cage, back) = self.cage(p);
                    let (muscle, fat) = self.wall(p, back);
                    let trunk = cage - muscle - fat < 0.0;
                    let skin = x < 120 && self.skin(p).0 < 0.0;
                    if trunk || skin {
                        extent.high.x = extent.high.x.max(p.x);
                        extent.high.y = extent.high.y.max(p.y);
                        extent.low.y = extent.low.y.min(p.y);
                    }
                }
            }
            z += 10.0;
        }
        extent.low.x = -extent.high.x;
        extent
    }

    /// y of the middle of a couch that the back rests on (see [`super::ct::table`] for its curve), mm.
    pub fn table_height(&self) -> f32 {
        let mut top = 0.0_f32;
        for z in (-160..=140).step_by(10) {
            for x in (0..=180).step_by(4) {
                for y in (0..=200).step_by(2) {
                    let p = v(x as f32, y as f32, z as f32);
                    if self.skin(p).0 < 0.0 {
                        top = top.max(p.y + 0.0011 * p.x * p.x);
                    }
                }
            }
        }
        top + 1.0
    }

    /// The tissue at `p`; borders are blended over `blend_mm`.
    pub fn tissue(&self, p: Vec3, blend_mm: f32) -> Tissue {
        let (skin, cage, fat, muscle) = self.skin(p);
        if skin > blend_mm {
            return Tissue { hu: -1000.0, organ: 0 };
        }
        let cover = |d: f32| (0.5 - d / blend_mm).clamp(0.0, 1.0);
        let mut tissue = if cage > blend_mm * 0.5 {
            Tissue { hu: self.wall_hu(p, skin, cage, fat, muscle), organ: 0 }
        } else {
            self.inside(p, cage, blend_mm)
        };
        let inside = cover(skin);
        if inside < 1.0 {
            tissue.hu = -1000.0 + (tissue.hu + 1000.0) * inside;
        }
        tissue
    }

    /// Chest wall, neck and arms: skin, fat, muscle with planes of fat between.
    fn wall_hu(&self, p: Vec3, skin: f32, cage: f32, fat: f32, muscle: f32) -> f32 {
        if skin > -1.8 {
            return 20.0;
        }
        let fibres = fractal(p, 26.0, 2, self.seed ^ 31);
        let fat_hu = -102.0 + 8.0 * fibres;
        let muscle_hu = 54.0 + 7.0 * fibres;
        if cage < 8.0 {
            return muscle_hu;
        }
        // The breast: fat with strands of gland.
        if fat < 0.0 && cage > muscle {
            let gland = smoothstep(0.05, 0.4, fractal(p, 20.0, 3, self.seed ^ 33)) * smoothstep(-6.0, -16.0, skin);
            return fat_hu + (35.0 - fat_hu) * gland * 0.75;
        }
        let depth = -skin - fat.max(0.0);
        // A wavy plane of fat between the intercostal and the outer muscles, and a second one further out.
        let plane = |at: f32, thick: f32, n: u32| {
            let d = (cage - at - 2.5 * noise(p, 34.0, self.seed ^ n)).abs();
            smoothstep(thick + 0.8, thick, d)
        };
        let inner = plane(11.0, 1.0, 35).max(plane(20.0, 1.3, 36) * 0.9);
        let strands = smoothstep(0.35, 0.55, fractal(p.scale(v(1.0, 1.0, 0.5)), 22.0, 2, self.seed ^ 37));
        let share = smoothstep(-0.8, 0.8, depth) * (1.0 - inner) * (1.0 - 0.8 * strands);
        fat_hu + (muscle_hu - fat_hu) * share
    }

    /// Lungs, mediastinum and abdomen.
    fn inside(&self, p: Vec3, cage: f32, blend_mm: f32) -> Tissue {
        let dome = self.diaphragm(p.x, p.y);
        if p.z < dome - 6.0 {
            return Tissue { hu: self.abdomen_hu(p, dome), organ: 0 };
        }
        let (d, organ) = self.lung_in_cage(p, cage);
        let solid = if p.z < dome {
            50.0
        } else if self.envelope(p) < 1.5 {
            // Mediastinal fat with small vessels and nodes.
            -75.0 + 90.0 * smoothstep(0.2, 0.5, fractal(p, 14.0, 2, self.seed ^ 41))
        } else {
            50.0
        };
        let air = (0.5 - d / blend_mm).clamp(0.0, 1.0);
        let hu = if air > 0.0 { solid + (self.parenchyma_hu(p) - solid) * air } else { solid };
        let label = if air > 0.5 {
            organ
        } else if p.z > dome && p.z < 90.0 && cage < -4.0 && p.y < self.spine(p.z).y - 12.0 {
            CARDIOMEDIASTINUM
        } else {
            0
        };
        Tissue { hu, organ: label }
    }

    /// Aerated lung without the vessels that are painted into it.
    pub fn parenchyma_hu(&self, p: Vec3) -> f32 {
        let texture = 16.0 * fractal(p, 24.0, 2, self.seed ^ 51) + 13.0 * fractal(p, 4.5, 2, self.seed ^ 52);
        let gravity = match self.scan {
            Scan::Ct => p.y * 0.32,
            Scan::Radiograph => -p.z * 0.16,
        };
        let mut hu = -874.0 + texture + gravity;
        let oblique = smoothstep(0.9, 0.3, self.oblique_fissure(p).abs());
        let horizontal = if p.x < 0.0 && self.oblique_fissure(p) < 0.0 {
            smoothstep(0.8, 0.25, self.horizontal_fissure(p).abs())
        } else {
            0.0
        };
        hu += 150.0 * oblique.max(horizontal);
        hu
    }

    fn abdomen_hu(&self, p: Vec3, dome: f32) -> f32 {
        let contrast = if self.scan == Scan::Ct { 1.0 } else { 0.0 };
        let grain = 6.0 * fractal(p, 9.0, 2, self.seed ^ 61);
        let liver_edge = 22.0 + 18.0 * noise(v(0.0, p.y, p.z), 60.0, self.seed ^ 62) + (p.z - dome) * 0.35 - p.y * 0.4;
        if p.x < liver_edge {
            return 58.0 + 45.0 * contrast + grain;
        }
        let spleen = Ellipsoid::along(v(98.0 * self.habitus.width, 40.0, -118.0), v(0.35, -0.5, -0.6), 52.0, 30.0);
        if spleen.distance(p) < 0.0 {
            return 50.0 + 60.0 * contrast + grain;
        }
        let fat = smoothstep(0.12, 0.4, fractal(p, 40.0, 2, self.seed ^ 63));
        (42.0 + 18.0 * contrast) * (1.0 - fat) - 60.0 * fat + grain
    }
}
