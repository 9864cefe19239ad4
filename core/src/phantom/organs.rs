//! Heart, great vessels, airways, the trees of the lungs, stomach and bowel gas.

use super::geometry::{Cone, Ellipsoid, Shape, Vec3, smooth, tube, v};
use super::paint::{Blend, Object, Paint};
use super::random::{Stream, noise};
use super::thorax::{CARDIOMEDIASTINUM, LEFT_LUNG, RIGHT_LUNG, Scan, Thorax};
use super::vessels::{Growth, grow};

/// The middle of the heart, about which it grows and shrinks with the habitus.
const HEART: Vec3 = v(12.0, -30.0, -42.0);

struct Heart {
    /// Outer shape of the left ventricle, its cavity, right ventricle, atria, left appendage.
    left_ventricle: Ellipsoid,
    left_cavity: Ellipsoid,
    right_ventricle: Ellipsoid,
    right_atrium: Ellipsoid,
    left_atrium: Ellipsoid,
    appendage: Ellipsoid,
}

/// Long vessels and tubes of the mediastinum: points with radii.
struct Great {
    aorta: Vec<Cone>,
    pulmonary: Vec<Cone>,
    cava: Vec<Cone>,
    arch_branches: Vec<Cone>,
    trachea: Vec<Cone>,
    esophagus: Vec<Cone>,
}

/// Everything soft that is painted over the tissue, in painting order.
pub(super) struct Organs {
    heart: Heart,
    great: Great,
    seed: u64,
}

fn heart(thorax: &Thorax) -> Heart {
    let k = thorax.habitus.heart;
    // The heart rests on the diaphragm.
    let lift = (thorax.habitus.right_dome_mm + 64.0) * 0.6;
    let place = |p: Vec3| HEART + (p - HEART) * k + v(0.0, 0.0, lift);
    let axis = v(0.74, -0.45, -0.48);
    Heart {
        left_ventricle: Ellipsoid::along(place(v(41.0, -36.0, -51.0)), axis, 55.0 * k, 37.0 * k),
        left_cavity: Ellipsoid::along(place(v(38.0, -34.0, -49.0)), axis, 42.0 * k, 22.0 * k),
        right_ventricle: Ellipsoid {
            semi: [52.0 * k, 25.0 * k, 33.0 * k],
            ..Ellipsoid::along(place(v(12.0, -57.0, -50.0)), v(0.85, -0.12, -0.5), 1.0, 1.0)
        },
        right_atrium: Ellipsoid::upright(place(v(-19.0, -24.0, -37.0)), v(25.0, 28.0, 36.0) * k),
        left_atrium: Ellipsoid::upright(place(v(5.0, 14.0, -17.0)), v(36.0, 20.0, 25.0) * k),
        appendage: Ellipsoid::along(place(v(38.0, -14.0, -4.0)), v(0.5, -0.6, 0.6), 19.0 * k, 12.0 * k),
    }
}

fn great(thorax: &Thorax) -> Great {
    let age = ((thorax.habitus.age as f32 - 35.0) / 45.0).clamp(0.0, 1.0);
    // The aorta widens and unfolds with age.
    let a = 1.0 + 0.16 * age;
    let u = 5.0 * age;
    let curve = |points: &[(f32, f32, f32, f32)]| {
        let knots: Vec<(Vec3, f32)> = points.iter().map(|&(x, y, z, r)| (v(x, y, z), r)).collect();
        tube(&smooth(&knots, 6))
    };
    let mut pulmonary = curve(&[
        (12.0, -46.0, -14.0, 13.5),
        (20.0, -38.0, 4.0, 14.0),
        (27.0, -22.0, 17.0, 13.0),
        (37.0, 2.0, 23.0, 11.0),
        (50.0, 16.0, 16.0, 9.5),
    ]);
    pulmonary.extend(curve(&[
        (24.0, -22.0, 13.0, 11.5),
        (4.0, -8.0, 8.0, 11.0),
        (-26.0, 0.0, 5.0, 10.5),
        (-44.0, 8.0, -3.0, 9.0),
    ]));
    pulmonary.extend(curve(&[(-26.0, 0.0, 6.0, 7.0), (-40.0, 2.0, 20.0, 6.0)]));
    let mut cava = curve(&[(-27.0, -22.0, 74.0, 8.5), (-27.0, -20.0, 40.0, 9.0), (-24.0, -20.0, -8.0, 9.5)]);
    cava.extend(curve(&[(-22.0, -12.0, -62.0, 11.5), (-23.0, 0.0, -95.0, 12.0), (-22.0, 10.0, -210.0, 11.5)]));
    cava.extend(curve(&[(-27.0, -22.0, 72.0, 8.0), (-38.0, -22.0, 92.0, 7.0), (-34.0, -10.0, 125.0, 6.5)]));
    cava.extend(curve(&[
        (-25.0, -26.0, 72.0, 7.5),
        (6.0, -36.0, 82.0, 7.0),
        (38.0, -24.0, 96.0, 6.5),
        (36.0, -8.0, 125.0, 6.0),
    ]));
    let mut arch_branches = curve(&[
        (-6.0, -16.0, 62.0, 6.5),
        (-20.0, -8.0, 92.0, 6.0),
        (-26.0, 0.0, 118.0, 5.0),
        (-26.0, 2.0, 200.0, 4.0),
    ]);
    arch_branches.extend(curve(&[(8.0, -2.0, 66.0, 4.2), (17.0, 4.0, 100.0, 4.0), (25.0, 4.0, 200.0, 3.8)]));
    arch_branches.extend(curve(&[
        (18.0, 12.0, 64.0, 5.0),
        (29.0, 20.0, 98.0, 4.8),
        (44.0, 14.0, 114.0, 4.6),
        (80.0, -8.0, 106.0, 4.4),
    ]));
    let mut trachea = curve(&[
        (0.0, 2.0, 210.0, 9.4),
        (0.0, 12.0, 130.0, 9.6),
        (-1.0, 18.0, 90.0, 9.6),
        (-4.0, 22.0, 60.0, 9.4),
        (-2.0, 26.0, 38.0, 9.0),
    ]);
    trachea.extend(curve(&[
        (-2.0, 26.0, 40.0, 7.4),
        (-20.0, 24.0, 20.0, 6.8),
        (-34.0, 22.0, 4.0, 6.0),
        (-42.0, 24.0, -14.0, 4.8),
    ]));
    trachea.extend(curve(&[(-24.0, 24.0, 16.0, 4.6), (-42.0, 22.0, 20.0, 4.0)]));
    trachea.extend(curve(&[
        (-2.0, 26.0, 40.0, 6.8),
        (16.0, 28.0, 24.0, 6.2),
        (38.0, 26.0, 8.0, 5.6),
        (48.0, 28.0, -8.0, 4.5),
    ]));
    Great {
        aorta: curve(&[
            (12.0, -28.0, -14.0, 14.5 * a),
            (-8.0 - u, -32.0, 12.0, 15.0 * a),
            (-13.0 - u, -28.0, 42.0, 14.5 * a),
            (-2.0, -14.0, 61.0 + u * 0.6, 13.5 * a),
            (15.0, 8.0, 65.0 + u, 13.0 * a),
            (28.0 + u * 0.5, 30.0, 55.0 + u * 0.6, 13.0 * a),
            (30.0 + u, 45.0, 28.0, 12.0 * a),
            (26.0 + u, 48.0, -40.0, 11.5 * a),
            (19.0, 44.0, -100.0, 11.0 * a),
            (8.0, 26.0, -160.0, 10.0 * a),
            (4.0, 8.0, -215.0, 9.5 * a),
        ]),
        pulmonary,
        cava,
        arch_branches,
        trachea,
        esophagus: curve(&[
            (1.0, 26.0, 210.0, 6.0),
            (3.0, 36.0, 100.0, 6.5),
            (6.0, 40.0, 40.0, 7.0),
            (8.0, 36.0, -20.0, 7.0),
            (18.0, 26.0, -78.0, 8.0),
            (32.0, 6.0, -108.0, 8.0),
        ]),
    }
}

impl Organs {
    /// Places the organs and gives `thorax` their outline against the lungs.
    pub fn new(thorax: &mut Thorax, seed: u64) -> Self {
        let heart = heart(thorax);
        let great = great(thorax);
        for e in
            [&heart.left_ventricle, &heart.right_ventricle, &heart.right_atrium, &heart.left_atrium, &heart.appendage]
        {
            thorax.envelope_ellipsoids.push(e.grown(2.5));
        }
        let mut wrap = |cones: &[Cone], every: usize, margin: f32, keep: fn(&Cone) -> bool| {
            // A coarser chain is enough for the outline.
            let kept: Vec<&Cone> = cones.iter().filter(|c| keep(c)).collect();
            for pair in kept.chunks(every) {
                if let (Some(first), Some(last)) = (pair.first(), pair.last()) {
                    thorax.envelope_cones.push(Cone {
                        a: first.a,
                        b: last.b,
                        ra: first.ra + margin,
                        rb: last.rb + margin,
                    });
                }
            }
        };
        let window = Ellipsoid::upright(v(20.0, 8.0, 38.0), v(16.0, 24.0, 20.0));
        thorax.envelope_ellipsoids.push(window);
        wrap(&great.aorta, 3, 1.5, |c| c.a.z > -120.0);
        wrap(&great.pulmonary, 3, 1.5, |_| true);
        wrap(&great.cava, 6, 2.0, |c| c.a.z > -20.0 && c.b.z < 90.0);
        wrap(&great.trachea, 6, 3.0, |c| c.a.z < 115.0 && c.a.x.abs() < 30.0);
        wrap(&great.arch_branches, 6, 3.0, |c| c.b.z < 110.0 && c.b.x < 42.0);
        Self { heart, great, seed }
    }

    /// Airways and vessels inside the lungs; `count` scales the number of end points.
    pub fn lung_trees(&self, thorax: &Thorax) -> Vec<Object> {
        let mut objects = Vec::new();
        let blood = if thorax.scan == Scan::Ct { 150.0 } else { 48.0 };
        let mut walls: Vec<Cone> = Vec::new();
        let mut lumens: Vec<Cone> = Vec::new();
        let mut vessels: Vec<Cone> = Vec::new();
        for side in [-1.0_f32, 1.0] {
            let left = side > 0.0;
            let name = if left { "left" } else { "right" };
            let mut r = Stream::new(self.seed, &format!("airways {name}"));
            let (carina_end, bronchus_dir) = if left {
                (v(48.0, 28.0, -8.0), v(0.4, 0.1, -0.9))
            } else {
                (v(-42.0, 24.0, -14.0), v(-0.4, 0.1, -0.9))
            };
            let airway = Growth { tip_radius: 0.62, root_radius: 4.2, stride: 0.42 };
            let (lower, upper) = split(sample(thorax, side, 230, 8.0, &mut r), if left { 8.0 } else { 4.0 });
            let hilum_up = if left { v(40.0, 26.0, 8.0) } else { v(-42.0, 22.0, 20.0) };
            for tree in [
                grow(carina_end, bronchus_dir, lower, &airway, &mut r),
                grow(hilum_up, v(side * 0.6, -0.2, 0.7), upper, &airway, &mut r),
            ] {
                for cone in tree {
                    let wall = 0.55 + 0.12 * cone.ra;
                    walls.push(Cone { ra: cone.ra + wall, rb: cone.rb + wall, ..cone });
                    lumens.push(cone);
                }
            }
            let mut r = Stream::new(self.seed, &format!("arteries {name}"));
            let artery = Growth { tip_radius: 0.36, root_radius: 8.0, stride: 0.36 };
            let (lower, upper) = split(sample(thorax, side, 5200, 2.5, &mut r), if left { 12.0 } else { 10.0 });
            let (low_root, high_root) = if left {
                (v(50.0, 16.0, 16.0), v(46.0, 8.0, 24.0))
            } else {
                (v(-44.0, 8.0, -3.0), v(-40.0, 2.0, 20.0))
            };
            vessels.extend(grow(low_root, v(side * 0.3, 0.2, -0.9), lower, &artery, &mut r));
            vessels.extend(grow(high_root, v(side * 0.5, 0.0, 0.8), upper, &artery, &mut r));
            let mut r = Stream::new(self.seed, &format!("veins {name}"));
            let vein = Growth { tip_radius: 0.36, root_radius: 6.0, stride: 0.45 };
            let (lower, upper) = split(sample(thorax, side, 3600, 2.5, &mut r), -18.0);
            let (low_root, high_root) = if left {
                (v(36.0, 16.0, -22.0), v(38.0, -6.0, -4.0))
            } else {
                (v(-28.0, 16.0, -26.0), v(-32.0, -6.0, -8.0))
            };
            vessels.extend(grow(low_root, v(side, 0.2, -0.5), lower, &vein, &mut r));
            vessels.extend(grow(high_root, v(side * 0.9, -0.2, 0.5), upper, &vein, &mut r));
        }
        let mut wall = Object::of(walls, Paint::Solid(-20.0));
        (wall.in_lung, wall.blend) = (true, Blend::Denser);
        let mut lumen = Object::of(lumens, Paint::Solid(-980.0));
        lumen.in_lung = true;
        // Small vessels do not fill a voxel: their share of it is what counts.
        let (large, small): (Vec<Cone>, Vec<Cone>) = vessels.into_iter().partition(|c| c.ra > 0.6);
        let mut large = Object::of(large, Paint::Solid(blood));
        (large.in_lung, large.blend) = (true, Blend::Denser);
        let mut small = Object::of(small, Paint::Solid(blood * 0.5 - 250.0));
        (small.in_lung, small.blend) = (true, Blend::Denser);
        objects.extend([small, large, wall, lumen]);
        objects
    }

    /// Heart, great vessels, windpipe.
    pub fn mediastinum(&self, thorax: &Thorax) -> Vec<Object> {
        let ct = thorax.scan == Scan::Ct;
        let blood = |contrast: f32| if ct { contrast } else { 46.0 };
        let h = &self.heart;
        let g = &self.great;
        let muscle = if ct { 98.0 } else { 50.0 };
        let trunk = |cones: &[Cone]| -> Vec<Cone> { cones.to_vec() };
        let grown = |cones: &[Cone], mm: f32| -> Vec<Cone> {
            cones.iter().map(|c| Cone { ra: c.ra + mm, rb: c.rb + mm, ..*c }).collect()
        };
        let label = |object: Object| object.organ(CARDIOMEDIASTINUM);
        // Lower ends of aorta and cava lie in the abdomen, upper ends in the neck: not part of the organ.
        let chest = |c: &&Cone| c.a.z > -80.0 && c.b.z < 92.0;
        let other = |c: &&Cone| !chest(c);
        let part = |cones: &[Cone], inside: bool| -> Vec<Cone> {
            if inside {
                cones.iter().filter(chest).copied().collect()
            } else {
                cones.iter().filter(other).copied().collect()
            }
        };
        let mut objects = vec![
            label(Object::of(part(&g.esophagus, true), Paint::Solid(38.0))),
            Object::of(part(&g.esophagus, false), Paint::Solid(38.0)),
            // Fat on the heart, then muscle, then the cavities.
            label(Object::of(
                [h.left_ventricle.grown(2.5), h.right_ventricle.grown(2.5), h.right_atrium.grown(2.0)],
                Paint::Solid(-55.0),
            )),
            label(Object::of([h.left_ventricle], Paint::Solid(muscle))),
            label(Object::of([h.right_ventricle], Paint::Shell { shell: muscle, inside: blood(148.0), mm: 4.0 })),
            label(Object::of([h.left_cavity], Paint::Solid(blood(162.0)))),
            label(Object::of(
                [h.right_atrium, h.left_atrium, h.appendage],
                Paint::Shell { shell: muscle, inside: blood(155.0), mm: 2.0 },
            )),
            label(Object::of(part(&g.cava, true), Paint::Solid(blood(160.0)))),
            Object::of(part(&g.cava, false), Paint::Solid(blood(140.0))),
            label(Object::of(trunk(&g.pulmonary), Paint::Solid(blood(170.0)))),
            label(Object::of(part(&g.arch_branches, true), Paint::Solid(blood(168.0)))),
            Object::of(part(&g.arch_branches, false), Paint::Solid(blood(168.0))),
            label(Object::of(
                part(&grown(&g.aorta, 0.8), true),
                Paint::Shell { shell: 60.0, inside: blood(168.0), mm: 0.8 },
            )),
            Object::of(part(&g.aorta, false), Paint::Solid(blood(160.0))),
        ];
        objects.push(label(Object::of(part(&grown(&g.trachea, 1.4), true), Paint::Solid(45.0))));
        objects.push(Object::of(part(&grown(&g.trachea, 1.4), false), Paint::Solid(60.0)));
        objects.push(Object::of(trunk(&g.trachea), Paint::Solid(-985.0)));
        objects
    }

    /// Gas under the left dome: the stomach's bubble, with a level in the standing patient, and the bowel's.
    pub fn abdominal_gas(&self, thorax: &Thorax) -> Vec<Object> {
        let mut r = Stream::new(self.seed, "gas");
        let top = thorax.diaphragm(62.0, -8.0);
        let standing = thorax.scan == Scan::Radiograph;
        let size = v(r.range(24.0, 34.0), r.range(26.0, 32.0), r.range(17.0, 24.0));
        let center = v(r.range(56.0, 70.0), -8.0, top - 11.0 - size.z);
        let stomach = Ellipsoid::upright(center + v(-6.0, 0.0, -14.0), size + v(12.0, 10.0, 18.0));
        let bubble = Ellipsoid::upright(center, size);
        let seed = self.seed as u32;
        let level = center.z - size.z * r.range(0.1, 0.5);
        let front = center.y - size.y * 0.2;
        let gas = Paint::Field(Box::new(move |p, d, before| {
            let d = d + 6.0 * noise(p, 26.0, seed ^ 71);
            let above = if standing { p.z - level } else { front - p.y };
            let share = (0.5 - d).clamp(0.0, 1.0) * (0.5 + above).clamp(0.0, 1.0);
            (share > 0.0).then(|| before + (-990.0 - before) * share)
        }));
        let mut objects =
            vec![Object::of([stomach], Paint::Shell { shell: 55.0, inside: 22.0, mm: 3.5 }), Object::of([bubble], gas)];
        // Splenic flexure: a few rounded pockets.
        let mut pockets: Vec<Box<dyn Shape>> = Vec::new();
        let mut at = v(r.range(92.0, 104.0), -22.0, top - r.range(52.0, 62.0));
        for _ in 0..5 {
            let s = r.range(9.0, 15.0);
            let next = at + v(r.range(-17.0, -6.0), r.range(-6.0, 6.0), r.range(-16.0, 2.0));
            pockets.push(Box::new(Cone { a: at, b: next, ra: s, rb: s * r.range(0.6, 1.1) }));
            at = next;
        }
        let gas_pockets = Paint::Field(Box::new(move |p, d, before| {
            let d = d + 6.0 * noise(p, 11.0, seed ^ 72) + 2.0;
            let share = (0.5 - d * 0.4).clamp(0.0, 0.8);
            (share > 0.0).then(|| before + (-990.0 - before) * share)
        }));
        objects.push(Object::new(pockets, gas_pockets));
        objects
    }
}

/// Random points at least `margin` mm inside one lung.
pub(super) fn sample(thorax: &Thorax, side: f32, count: usize, margin: f32, random: &mut Stream) -> Vec<Vec3> {
    let wanted = if side > 0.0 { LEFT_LUNG } else { RIGHT_LUNG };
    let mut points = Vec::with_capacity(count);
    // The lungs fill about a third of this box; the bound keeps the loop finite for any habitus.
    for _ in 0..count * 60 {
        if points.len() == count {
            break;
        }
        let p = v(side * random.range(5.0, 150.0), random.range(-100.0, 105.0), random.range(-150.0, 132.0));
        let (d, organ) = thorax.lung(p);
        if d < -margin && organ == wanted {
            points.push(p);
        }
    }
    points
}

fn split(points: Vec<Vec3>, height: f32) -> (Vec<Vec3>, Vec<Vec3>) {
    points.into_iter().partition(|p| p.z < height + 0.3 * p.y)
}
