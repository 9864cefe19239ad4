//! Nodules and patchy opacities: where they lie, how they look, and what is known about them.

use serde::{Deserialize, Serialize};

use super::geometry::{Bounds, Shape, Vec3, smoothstep, v};
use super::organs::sample;
use super::paint::{Blend, Object, Paint};
use super::random::{Stream, fractal};
use super::thorax::Thorax;

/// Kind of a simulated lesion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LesionKind {
    /// Nodule of soft tissue.
    SolidNodule,
    /// Ground-glass nodule with a solid core.
    PartSolidNodule,
    /// Ground-glass nodule.
    GroundGlassNodule,
    /// Airspace filled: patchy, with air bronchograms.
    Consolidation,
    /// Patchy haze through which vessels stay visible.
    GroundGlassOpacity,
}

impl LesionKind {
    /// Whether it is one of the nodules.
    pub fn is_nodule(self) -> bool {
        matches!(self, Self::SolidNodule | Self::PartSolidNodule | Self::GroundGlassNodule)
    }
}

/// What is known about one lesion before anything is sampled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lesion {
    /// Number in the label maps, from 1.
    pub id: u8,
    /// What it is.
    pub kind: LesionKind,
    /// Lobe by the fissures' planes: `RUL`, `RML`, `RLL`, `LUL`, `LLL`.
    pub lobe: String,
    /// Centre in the patient (LPS), mm.
    pub center_mm: [f32; 3],
    /// Diameter along x, y and z before the edge is made irregular, mm.
    pub axes_mm: [f32; 3],
    /// Diameter of the solid core, mm; 0 where there is none.
    pub core_mm: f32,
    /// HU that it is painted with (of the haze for part-solid nodules; the densest for patchy opacities).
    pub hu: f32,
    /// HU of the solid core.
    pub core_hu: f32,
}

impl Lesion {
    fn center(&self) -> Vec3 {
        v(self.center_mm[0], self.center_mm[1], self.center_mm[2])
    }
}

/// An ellipsoid with an irregular edge.
#[derive(Clone)]
struct Blob {
    center: Vec3,
    semi: Vec3,
    /// Irregularity of the edge against the radius.
    rough: f32,
    cell_mm: f32,
    seed: u32,
}

impl Blob {
    /// 0 in the middle, 1 on the irregular edge.
    fn radius(&self, p: Vec3) -> f32 {
        let d = p - self.center;
        let q = v(d.x / self.semi.x, d.y / self.semi.y, d.z / self.semi.z).length();
        q + self.rough * fractal(p, self.cell_mm, 3, self.seed)
    }
}

impl Shape for Blob {
    fn bounds(&self) -> Bounds {
        let e = self.semi * (1.0 + self.rough);
        Bounds { low: self.center - e, high: self.center + e }
    }

    fn distance(&self, p: Vec3) -> f32 {
        (self.radius(p) - 1.0) * self.semi.x.min(self.semi.y).min(self.semi.z)
    }
}

/// Chooses the lesions of `seed`: two patchy opacities that a radiograph shows, four nodules, and those that are asked for besides.
pub(super) fn choose(thorax: &Thorax, seed: u64, extra_nodules: usize) -> Vec<Lesion> {
    use LesionKind::{Consolidation, GroundGlassNodule, GroundGlassOpacity, PartSolidNodule, SolidNodule};
    let mut r = Stream::new(seed, "lesions");
    let first = if r.chance(0.5) { -1.0 } else { 1.0 };
    let plan = [
        (Consolidation, first, r.range(56.0, 70.0)),
        (GroundGlassOpacity, -first, r.range(50.0, 62.0)),
        (SolidNodule, -first, r.range(17.0, 23.0)),
        (SolidNodule, first, r.range(7.0, 10.0)),
        (PartSolidNodule, first, r.range(14.0, 19.0)),
        (GroundGlassNodule, -first, r.range(9.0, 13.0)),
    ];
    // A stream of their own: the six are the same however many there are besides.
    let mut more = Stream::new(seed, "extra nodules");
    let extra = (0..extra_nodules).map(|_| {
        let kind = match more.range(0.0, 1.0) {
            share if share < 0.6 => SolidNodule,
            share if share < 0.8 => PartSolidNodule,
            _ => GroundGlassNodule,
        };
        let side = if more.chance(0.5) { -1.0 } else { 1.0 };
        (kind, side, 5.0 * (26.0_f32 / 5.0).powf(more.range(0.0, 1.0)))
    });
    let usual = plan.len();
    let mut lesions: Vec<Lesion> = Vec::new();
    for (index, (kind, side, diameter)) in plan.into_iter().chain(extra).enumerate() {
        let large = !kind.is_nodule();
        // Patchy opacities lie where heart and domes do not hide them in a frontal view.
        let margin = if large { diameter * 0.24 } else { diameter * 0.5 + 5.0 };
        let candidates = sample(thorax, side, 160, margin, &mut r);
        let fits = |p: &&Vec3| {
            let apart = lesions.iter().all(|l| {
                let gap = l.center() - **p;
                // Apart in the projection too, so that each can be told from the others.
                v(gap.x, gap.y * 0.2, gap.z).length() > 0.5 * (l.axes_mm[0] + diameter) + 8.0
            });
            let seen = match kind {
                Consolidation => (-45.0..15.0).contains(&p.z) && p.x.abs() > 70.0 && p.x.abs() < 105.0,
                GroundGlassOpacity => (0.0..65.0).contains(&p.z) && p.x.abs() > 62.0 && p.x.abs() < 98.0,
                SolidNodule if index < usual => (-40.0..95.0).contains(&p.z) && p.x.abs() > 52.0,
                _ => p.z > -70.0,
            };
            apart && seen
        };
        let Some(&center) = candidates.iter().find(fits) else { continue };
        let (hu, core_hu, core_mm) = match kind {
            SolidNodule => (r.range(30.0, 55.0), 0.0, 0.0),
            PartSolidNodule => (r.range(-620.0, -560.0), r.range(10.0, 40.0), diameter * r.range(0.4, 0.55)),
            GroundGlassNodule => (r.range(-640.0, -580.0), 0.0, 0.0),
            Consolidation => (r.range(15.0, 35.0), 0.0, 0.0),
            GroundGlassOpacity => (r.range(-480.0, -420.0), 0.0, 0.0),
        };
        let stretch = |r: &mut Stream| if large { r.range(0.85, 1.15) } else { r.range(0.93, 1.07) };
        let depth = if kind == GroundGlassOpacity { 1.45 } else { 1.0 };
        lesions.push(Lesion {
            id: index as u8 + 1,
            kind,
            lobe: thorax.lobe(center).to_owned(),
            center_mm: [center.x, center.y, center.z],
            axes_mm: [diameter * stretch(&mut r), diameter * depth * stretch(&mut r), diameter * stretch(&mut r)],
            core_mm,
            hu,
            core_hu,
        });
    }
    lesions
}

/// The painted object of a lesion.
pub(super) fn object(lesion: &Lesion, seed: u64) -> Object {
    let patchy = !lesion.kind.is_nodule();
    let salt = (seed as u32).wrapping_add(u32::from(lesion.id) * 977);
    let semi = v(lesion.axes_mm[0], lesion.axes_mm[1], lesion.axes_mm[2]) * 0.5;
    let blob = Blob {
        center: lesion.center(),
        semi,
        rough: if patchy { 0.55 } else { 0.10 },
        cell_mm: if patchy { 24.0 } else { semi.x * 0.9 },
        seed: salt,
    };
    let shape = blob.clone();
    let Lesion { hu, core_hu, core_mm, kind, .. } = lesion.clone();
    let scale = semi.x.min(semi.y).min(semi.z);
    let paint = Paint::Field(Box::new(move |p: Vec3, _, before: f32| {
        let q = shape.radius(p);
        if patchy {
            // Denser towards the middle, fraying at the edge, mottled inside.
            let share = smoothstep(1.14, 0.70, q);
            let mottle = fractal(p, 9.0, 2, salt ^ 5);
            let fill = match kind {
                LesionKind::Consolidation => 0.92 + 0.25 * mottle,
                _ => 0.85 + 0.35 * mottle,
            };
            let share = share * fill.clamp(0.0, 1.0);
            return (share > 0.0).then(|| before + (hu - before).max(0.0) * share);
        }
        let edge = |d: f32, soft: f32| (0.5 - d / soft).clamp(0.0, 1.0);
        let soft = if kind == LesionKind::SolidNodule { 1.0 } else { 1.8 };
        let mut value = before + (hu - before).max(0.0) * edge((q - 1.0) * scale, soft);
        if core_mm > 0.0 {
            let core = (p - shape.center).length() - 0.5 * core_mm * (1.0 + 0.15 * fractal(p, 5.0, 2, salt ^ 9));
            value += (core_hu - value) * edge(core, 1.2);
        }
        (value > before).then_some(value)
    }));
    let mut object = Object::of([blob], paint);
    object.reach = if patchy { semi.x * 0.3 } else { 2.0 };
    object.in_lung = true;
    object.blend = Blend::Denser;
    object.lesion = Some(lesion.id);
    object
}
