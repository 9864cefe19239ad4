//! What the reader has painted on slices, on the planes that cut them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use bifocal_core::measure::Runs;
use bifocal_core::render::{Colormap, HeatStyle};
use bifocal_core::study::InstanceKey;
use bifocal_core::volume::Volume;
use eframe::egui::Painter;

use super::planes::PlaneMap;
use super::shapes::{INSIDE, color_of};
use super::{Cx, layers, lens_maps};
use crate::planes::Planes;
use crate::reformat::{Laid, Over};
use crate::state::Reading;

/// White where something was painted, clear elsewhere: takes the colour of the label that it is drawn in.
const STENCIL: HeatStyle =
    HeatStyle { colormap: Colormap::Gray, range: [0.0, 0.5], threshold: 0.5, opacity: 1.0, ramp: 0.0 };

/// Painted regions as volumes, remembered until they or the volume below them change.
#[derive(Default)]
pub struct PaintedVolumes(RefCell<Option<Known>>);

struct Known {
    /// Whose lattice they lie on; not kept alive.
    base: Weak<Volume>,
    /// Slices of it by instance and frame.
    slices: HashMap<InstanceKey, Vec<(usize, usize)>>,
    labels: BTreeMap<String, Painted>,
}

struct Painted {
    slices: Vec<(usize, Runs)>,
    /// `None` where nothing lies on slices of the volume.
    volume: Option<Arc<Volume>>,
}

impl PaintedVolumes {
    /// The volumes of what was painted on the images of the series that is read, by label.
    fn of(&self, reading: &Reading, base: &Arc<Volume>) -> Vec<(String, Arc<Volume>)> {
        let kept = &mut *self.0.borrow_mut();
        let of_base = |known: &Known| std::ptr::eq(known.base.as_ptr(), Arc::as_ptr(base));
        let mut known = kept.take().filter(of_base).unwrap_or_else(|| Known::new(reading, base));
        let mut painted: BTreeMap<&str, Vec<(usize, &Runs)>> = BTreeMap::new();
        for (key, pixels) in &reading.document.session().masks {
            let frames = known.slices.get(&key.instance).into_iter().flatten();
            let slices = frames.filter(|(frame, _)| *frame == key.frame).map(|(_, slice)| (*slice, pixels));
            painted.entry(&key.label).or_default().extend(slices);
        }
        known.labels = update(known.labels, painted, base);
        let labels = known.labels.iter();
        let volumes = labels.filter_map(|(label, painted)| Some((label.clone(), painted.volume.clone()?))).collect();
        *kept = Some(known);
        volumes
    }
}

impl Known {
    fn new(reading: &Reading, base: &Arc<Volume>) -> Self {
        let mut slices: HashMap<InstanceKey, Vec<(usize, usize)>> = HashMap::new();
        for (slice, place) in base.places.iter().enumerate() {
            if let Some((instance, frame)) = reading.instance_at(*place) {
                slices.entry(instance.key()).or_default().push((frame, slice));
            }
        }
        Self { base: Arc::downgrade(base), slices, labels: BTreeMap::new() }
    }
}

/// What is known, made anew where it was painted on since.
fn update(
    mut known: BTreeMap<String, Painted>,
    painted: BTreeMap<&str, Vec<(usize, &Runs)>>,
    base: &Volume,
) -> BTreeMap<String, Painted> {
    let one = |(label, slices): (&str, Vec<(usize, &Runs)>)| {
        let same = |before: &Painted| {
            let both = before.slices.iter().zip(&slices);
            before.slices.len() == slices.len() && both.into_iter().all(|((a, p), (b, q))| a == b && p == *q)
        };
        let painted = known.remove(label).filter(same).unwrap_or_else(|| Painted {
            volume: base.of_painted(&slices).map(Arc::new),
            slices: slices.iter().map(|(slice, pixels)| (*slice, (*pixels).clone())).collect(),
        });
        (label.to_owned(), painted)
    };
    painted.into_iter().map(one).collect()
}

/// What planes show of what was painted.
pub struct PlaneMasks(Vec<(String, Arc<Volume>)>);

/// The painted regions that are shown; none where overlays are hidden.
pub fn shown(cx: &Cx<'_>, reading: &Reading, planes: &Planes) -> PlaneMasks {
    PlaneMasks(if reading.view.overlays { cx.overlays.painted.of(reading, &planes.volume) } else { Vec::new() })
}

impl PlaneMasks {
    /// The volumes that are cut, in the order that [`PlaneMasks::paint`] takes them in.
    pub fn over(&self) -> impl Iterator<Item = Over> {
        self.0.iter().map(|(_, volume)| Over { volume: Arc::clone(volume), outline: true })
    }

    /// What was cut beside them, and what was cut out of them.
    pub fn split<'a>(&self, laid: &'a [Laid]) -> (&'a [Laid], &'a [Laid]) {
        laid.split_at(laid.len().saturating_sub(self.0.len()))
    }

    /// Draws what was cut out of them.
    pub fn paint(&self, painter: &Painter, cx: &Cx<'_>, map: &PlaneMap, laid: &[Laid]) {
        for ((label, _), laid) in self.0.iter().zip(laid) {
            let color = color_of(cx, Some(label));
            layers::tinted(painter, cx, map, laid, &STENCIL, color.gamma_multiply(INSIDE));
            for line in map.contours(cx, laid, 0.5) {
                lens_maps::closed(painter, cx, line, cx.theme.size().hairline, color);
            }
        }
    }
}
