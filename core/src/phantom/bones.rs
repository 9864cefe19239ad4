//! The skeleton: spine, ribs with their cartilage, sternum, clavicles, scapulae, humeri.

use super::geometry::{Blade, Cone, Drum, Ellipsoid, Plate, Shape, Vec3, smooth, smoothstep, tube, v};
use super::paint::{Object, Paint};
use super::random::Stream;
use super::thorax::{Scan, T1, Thorax, VERTEBRAE};

const SIDES: [f32; 2] = [-1.0, 1.0];

/// All bones, in painting order.
pub(super) fn skeleton(thorax: &Thorax, seed: u64) -> Vec<Object> {
    let mut objects = Vec::new();
    let mut random = Stream::new(seed, "bones");
    objects.extend(ribs(thorax, &mut random));
    objects.push(sternum(thorax));
    objects.extend(spine(thorax, &mut random));
    objects.extend(shoulder_girdle(thorax, &mut random));
    objects
}

fn bone(thorax: &Thorax, parts: Vec<Box<dyn Shape>>, shell: f32, inside: f32, mm: f32) -> Object {
    let b = thorax.habitus.bone;
    Object::new(parts, Paint::Shell { shell: shell * b, inside: inside * b, mm })
}

/// How far each rib comes down from its head to the front's midline (it ends before that), mm.
const RIB_FALL: [f32; 12] = [48.0, 78.0, 100.0, 116.0, 128.0, 138.0, 146.0, 150.0, 152.0, 148.0, 128.0, 105.0];
/// Where each rib's bone ends: share of the way from the back's to the front's midline.
const RIB_END: [f32; 12] = [0.84, 0.87, 0.87, 0.86, 0.85, 0.83, 0.79, 0.73, 0.66, 0.59, 0.45, 0.32];

fn ribs(thorax: &Thorax, random: &mut Stream) -> Vec<Object> {
    let mut objects = Vec::new();
    for (rib, &rib_fall) in RIB_FALL.iter().enumerate() {
        for side in SIDES {
            let jitter = random.range(-1.2, 1.2);
            let fall = rib_fall * random.range(0.97, 1.03);
            let (bone_line, cartilage) = rib_line(thorax, rib, side, fall, jitter);
            let n = bone_line.len();
            let section = |i: usize| {
                let t = i as f32 / (n - 1) as f32;
                let size = match rib {
                    0 => 1.12,
                    1 => 0.92,
                    10 | 11 => 0.82,
                    _ => 1.0,
                };
                // Slender at the neck, broader and thinner towards the cartilage; the tip of floating ribs tapers.
                let tip = if rib >= 10 { 1.0 - 0.5 * (t - 0.7).max(0.0) / 0.3 } else { 1.0 };
                let height = (5.2 + 1.5 * (t / 0.15).min(1.0) + 1.0 * t) * size * tip;
                let thickness = (4.3 - 1.1 * t) * size * tip;
                (thickness, height)
            };
            let blades: Vec<Box<dyn Shape>> = (0..n - 1)
                .map(|i| {
                    let (a, b) = (section(i), section(i + 1));
                    Box::new(Blade {
                        a: bone_line[i].0,
                        b: bone_line[i + 1].0,
                        thin: [bone_line[i].1, bone_line[i + 1].1],
                        half_thickness: [a.0, b.0],
                        half_height: [a.1, b.1],
                    }) as Box<dyn Shape>
                })
                .collect();
            // Cartilage first, so that the bone's cup closes over it.
            if cartilage.len() > 1 {
                let pieces = cartilage.windows(2).map(|w| Blade {
                    a: w[0].0,
                    b: w[1].0,
                    thin: [w[0].1, w[1].1],
                    half_thickness: [3.4; 2],
                    half_height: [6.0; 2],
                });
                objects.push(Object::of(pieces.collect::<Vec<_>>(), Paint::Solid(92.0)));
            }
            objects.push(bone(thorax, blades, 1250.0, 270.0, 1.4));
        }
    }
    objects
}

type Line = Vec<(Vec3, Vec3)>;

/// Middle line and outward direction of a rib, and of its cartilage.
fn rib_line(thorax: &Thorax, rib: usize, side: f32, fall: f32, jitter: f32) -> (Line, Line) {
    let head_z = VERTEBRAE[T1 + rib] + 9.0;
    let spine = thorax.spine(head_z);
    let body = 10.0 + 0.6 * rib as f32;
    let half = 13.6 + 0.65 * rib as f32;
    let height =
        |u: f32| head_z + 3.0 * (1.0 - u) + jitter * u - fall * (0.4 * u.powf(1.5) + 0.6 * smoothstep(0.08, 0.92, u));
    let mut line: Line = Vec::new();
    let back = v(0.0, 1.0, 0.0);
    let neck = [
        (v(half - 1.0, spine.y + body - 3.0, head_z), back),
        (v(half + 9.0, spine.y + body + 9.0, head_z + 1.5), v(-0.5, 0.85, 0.0)),
    ];
    for (p, n) in neck {
        line.push((v(spine.x * 0.7, 0.0, 0.0) + p.on_side(side), n.on_side(side).unit()));
    }
    let steps = 54;
    let end = RIB_END[rib];
    let start = 0.14;
    let mut cartilage: Line = Vec::new();
    let at = |u: f32| {
        let (p, n) = thorax.on_cage(u * std::f32::consts::PI, side, height(u), 5.0);
        (p + v(spine.x * 0.5 * (1.0 - u), 0.0, 0.0), n)
    };
    for i in 0..=steps {
        line.push(at(start + (end - start) * i as f32 / steps as f32));
    }
    // Cartilage of ribs 1 to 10 rises again to the sternum or to its neighbour above.
    if rib < 10 {
        let (from, out) = at(end);
        let goal_z = match rib {
            0 => 72.0,
            1 => 45.0,
            r => 45.0 - 17.0 * (r.min(6) as f32 - 1.0),
        };
        let goal_x = if rib < 7 { 20.0 } else { 28.0 + 9.0 * (rib as f32 - 6.0) };
        let (front, _) = thorax.on_cage(std::f32::consts::PI * 0.96, side, goal_z, 5.0);
        let goal = v(goal_x * side, front.y, if rib < 7 { goal_z } else { from.z + 12.0 });
        let middle = from.lerp(goal, 0.45) + v(0.0, 0.0, -7.0);
        let curve = smooth(&[(from, 0.0), (middle, 0.0), (goal, 0.0)], 6);
        cartilage.extend(curve.into_iter().map(|(p, _)| (p, out.lerp(v(0.0, -1.0, 0.0), 0.5).unit())));
    }
    (line, cartilage)
}

fn sternum(thorax: &Thorax) -> Object {
    let front = |z: f32, x: f32| {
        let (p, _) = thorax.on_cage(std::f32::consts::PI, 1.0, z, 6.0);
        v(x, p.y, z)
    };
    let mut parts: Vec<Box<dyn Shape>> = Vec::new();
    let thin = [v(0.0, -1.0, 0.0); 2];
    let rows: [(f32, f32, f32); 7] = [
        (74.0, 22.0, 5.5),
        (62.0, 24.0, 6.0),
        (40.0, 15.0, 5.0),
        (34.0, 15.0, 4.8),
        (0.0, 17.0, 5.0),
        (-38.0, 18.0, 5.0),
        (-58.0, 8.0, 4.0),
    ];
    for pair in rows.windows(2) {
        let ((za, wa, ta), (zb, wb, tb)) = (pair[0], pair[1]);
        parts.push(Box::new(Blade {
            a: front(za, 0.0),
            b: front(zb, 0.0),
            thin,
            half_thickness: [ta, tb],
            half_height: [wa, wb],
        }));
    }
    bone(thorax, parts, 620.0, 130.0, 1.0)
}

fn spine(thorax: &Thorax, random: &mut Stream) -> Vec<Object> {
    let mut objects = Vec::new();
    for (i, &z) in VERTEBRAE.iter().enumerate() {
        let level = i as f32 - T1 as f32;
        let next = VERTEBRAE.get(i + 1).copied().unwrap_or(z - 28.0);
        let above = if i > 0 { VERTEBRAE[i - 1] } else { z + 15.0 };
        let gap = 3.6 + 0.12 * level.max(0.0);
        let half = v(
            if level < 0.0 { 13.0 } else { 13.6 + 0.65 * level },
            10.0 + 0.6 * level.max(0.0),
            ((above - next) * 0.25 - gap * 0.5).max(5.0),
        );
        let c = thorax.spine(z);
        // Disc between this body and the next.
        let disc_z = (z + next) * 0.5;
        let disc = Drum { center: thorax.spine(disc_z), half: v(half.x, half.y, gap * 0.5 + 0.6), waist: 0.0 };
        objects.push(Object::of([disc], Paint::Solid(85.0)));
        let body = Drum { center: c, half, waist: 0.09 };
        objects.push(bone(thorax, vec![Box::new(body)], 620.0, random.range(150.0, 185.0), 1.0));
        objects.push(arch(thorax, c, half, level, random));
    }
    objects
}

/// Pedicles, laminae, processes and the joints of one vertebra.
fn arch(thorax: &Thorax, c: Vec3, half: Vec3, level: f32, random: &mut Stream) -> Object {
    let mut parts: Vec<Box<dyn Shape>> = Vec::new();
    let back = half.y;
    let lean = random.range(-1.5, 1.5);
    for side in SIDES {
        let at = |x: f32, y: f32, z: f32| c + v(x, y, z).on_side(side);
        let pedicle = half.x * 0.68;
        let joint = at(pedicle + 2.0, back + 11.0, half.z * 0.4);
        for dz in [-1.6, 0.0, 1.6, 3.2] {
            parts.push(Box::new(Cone {
                a: at(pedicle, back - 3.0, half.z * 0.3 + dz),
                b: at(pedicle + 1.0, back + 9.0, half.z * 0.3 + dz),
                ra: 3.1,
                rb: 3.1,
            }));
        }
        // Lamina, upper and lower facet, transverse process.
        parts.push(Box::new(Cone { a: joint, b: at(1.0, back + 19.0, -half.z * 0.5), ra: 4.6, rb: 3.6 }));
        parts.push(Box::new(Cone { a: joint, b: at(pedicle + 1.5, back + 13.0, half.z + 3.0), ra: 4.2, rb: 3.0 }));
        parts.push(Box::new(Cone { a: joint, b: at(pedicle, back + 14.0, -half.z - 3.0), ra: 4.2, rb: 3.0 }));
        let reach = if level < 0.0 { 24.0 } else { 33.0 - 0.9 * level };
        parts.push(Box::new(Cone { a: joint, b: at(reach, back + 18.0, half.z * 0.4 + 2.0), ra: 4.2, rb: 5.0 }));
    }
    let fall = if level < 0.0 { 12.0 } else { 14.0 + 10.0 * (-((level - 6.0) / 4.0).powi(2)).exp() };
    let root = c + v(0.0, back + 18.0, -half.z * 0.5);
    let tip = c + v(lean, back + 42.0, -half.z * 0.5 - fall);
    parts.push(Box::new(Blade {
        a: root,
        b: tip,
        thin: [v(1.0, 0.0, 0.0); 2],
        half_thickness: [3.4, 3.6],
        half_height: [7.0, 4.6],
    }));
    bone(thorax, parts, 620.0, 190.0, 1.1)
}

fn shoulder_girdle(thorax: &Thorax, random: &mut Stream) -> Vec<Object> {
    let w = thorax.habitus.width;
    let mut objects = Vec::new();
    for side in SIDES {
        let lift = random.range(-4.0, 4.0);
        let raised = thorax.scan == Scan::Ct;
        let s = |x: f32, y: f32, z: f32| v(x * w, y, z).on_side(side);
        let (front, _) = thorax.on_cage(std::f32::consts::PI * 0.97, side, 80.0, 8.0);
        let tip_z = if raised { 122.0 } else { 104.0 + lift };
        // Clavicle: S-shaped, forward convex near the sternum, backward convex near the shoulder.
        let clavicle = smooth(
            &[
                (s(19.0, front.y + 2.0, 80.0), 8.6),
                (s(36.0, front.y - 1.0, 84.0 + lift * 0.2), 6.9),
                (s(68.0, front.y + 12.0, 91.0 + lift * 0.5), 5.6),
                (s(105.0, front.y + 42.0, 101.0 + lift * 0.8), 5.3),
                (s(136.0, 2.0, tip_z + 2.0), 6.0),
                (s(152.0, 6.0, tip_z), 5.6),
            ],
            8,
        );
        objects.push(bone(thorax, boxed(tube(&clavicle)), 1400.0, 340.0, 1.9));

        // Scapula: blade, borders, spine with acromion, coracoid, socket.
        let up = if raised { 18.0 } else { 0.0 };
        let superior = s(98.0, 82.0, 96.0 + up + lift);
        let inferior = if raised { s(140.0, 70.0, 0.0) } else { s(133.0, 72.0, -32.0 + lift) };
        let socket = s(158.0, 20.0, 70.0 + up + lift);
        let plate = Plate { corners: [superior, inferior, socket], half_thickness: 1.6, bulge: 4.0 * side };
        objects.push(bone(thorax, vec![Box::new(plate)], 950.0, 500.0, 0.8));
        let medial =
            smooth(&[(superior, 2.6), (superior.lerp(inferior, 0.4) + s(-7.0, 3.0, 0.0), 2.2), (inferior, 3.6)], 6);
        let lateral = smooth(
            &[
                (inferior, 3.8),
                (inferior.lerp(socket, 0.5) + s(-3.0, 0.0, 0.0), 4.2),
                (socket + s(-6.0, 2.0, -8.0), 5.2),
            ],
            6,
        );
        let mut borders = boxed(tube(&medial));
        borders.extend(boxed(tube(&lateral)));
        borders.extend(boxed(tube(&[(superior, 2.4), (superior.lerp(socket, 0.75) + s(0.0, 0.0, 3.0), 2.6)])));
        borders.push(Box::new(Ellipsoid::upright(socket, v(7.0, 11.0, 17.0))));
        borders.extend(boxed(tube(&smooth(
            &[
                (socket + s(-8.0, -2.0, 10.0), 5.5),
                (socket + s(-12.0, -22.0, 17.0), 5.0),
                (socket + s(2.0, -34.0, 8.0), 3.4),
            ],
            5,
        ))));
        let root = superior.lerp(inferior, 0.28);
        let acromion = smooth(
            &[
                (root, 2.6),
                (root.lerp(socket, 0.5) + s(0.0, 22.0, 12.0), 3.6),
                (socket + s(8.0, 22.0, 29.0), 4.6),
                (s(165.0, 6.0, tip_z - 3.0), 4.2),
            ],
            6,
        );
        borders.extend(boxed(tube(&acromion)));
        objects.push(bone(thorax, borders, 1050.0, 340.0, 1.4));
        objects.push(humerus(thorax, socket, side, raised));
    }
    objects
}

fn humerus(thorax: &Thorax, socket: Vec3, side: f32, raised: bool) -> Object {
    let head = socket + v(27.0, -4.0, if raised { 10.0 } else { 2.0 }).on_side(side);
    let elbow = if raised { v(160.0, 4.0, 300.0) } else { v(246.0 * thorax.habitus.width, 4.0, -220.0) }.on_side(side);
    let along = (elbow - head).unit();
    let mut parts: Vec<Box<dyn Shape>> = vec![
        Box::new(Ellipsoid::upright(head, v(23.0, 23.0, 23.0))),
        // Greater tubercle.
        Box::new(Ellipsoid::upright(head + v(14.0, -3.0, -2.0).on_side(side), v(13.0, 14.0, 17.0))),
    ];
    let start = head + along * 18.0 + v(5.0, 0.0, 0.0).on_side(side);
    parts.extend(boxed(tube(&[
        (start, 17.0),
        (start + along * 28.0, 12.5),
        (start + along * 90.0, 11.5),
        (elbow, 12.0),
    ])));
    let b = thorax.habitus.bone;
    // Thin cortex at the head, thick at the shaft.
    let shaft_from = start;
    let paint = Paint::Field(Box::new(move |p, d, before| {
        let down = (p - shaft_from).dot(along);
        let cortex = 1.3 + 3.3 * (down / 70.0).clamp(0.0, 1.0);
        let marrow = 300.0 - 270.0 * (down / 80.0).clamp(0.0, 1.0);
        let cover = (0.5 - d).clamp(0.0, 1.0);
        let inner = (0.5 - d - cortex).clamp(0.0, 1.0);
        let hu = (1150.0 + (marrow - 1150.0) * inner) * b;
        (cover > 0.0).then_some(before + (hu - before) * cover)
    }));
    Object::new(parts, paint)
}

fn boxed<S: Shape + 'static>(parts: Vec<S>) -> Vec<Box<dyn Shape>> {
    parts.into_iter().map(|p| Box::new(p) as Box<dyn Shape>).collect()
}
