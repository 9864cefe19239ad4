//! Masks that are shown before they are taken: what grows from a click, and what is interpolated. Enter takes them, Esc drops them.

use bifocal_core::annotation::{Edit, MaskKey, Session};
use bifocal_core::measure::{Pixel, Runs};
use bifocal_core::render::automatic_window;
use bifocal_core::segment::flood;
use bifocal_core::study::Frame;
use ndarray::Array2;

use crate::drawing::SLACK_POINTS;

/// Masks on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// What they are, in words: `Region grow, ± 35 HU`.
    pub title: String,
    /// Regions, and the pixels that they would gain.
    pub masks: Vec<(MaskKey, Runs)>,
}

impl Proposal {
    /// The edit that takes it: one step of undo; `None` where it adds nothing.
    pub fn accepted(self, session: &Session) -> Option<Edit> {
        let new = |(mask, pixels): (MaskKey, Runs)| {
            let add = session.masks.get(&mask).map_or_else(|| pixels.clone(), |before| pixels.difference(before));
            (!add.is_empty()).then_some(Edit::Paint { mask, add, remove: Runs::default() })
        };
        together(self.masks.into_iter().filter_map(new).collect())
    }

    /// What it would add to a region.
    pub fn pixels(&self, mask: &MaskKey) -> Option<&Runs> {
        self.masks.iter().find(|(key, _)| key == mask).map(|(_, pixels)| pixels)
    }
}

/// Several edits as one step of undo.
pub fn together(mut edits: Vec<Edit>) -> Option<Edit> {
    if edits.len() > 1 { Some(Edit::All { edits }) } else { edits.pop() }
}

/// How far from the clicked value a region grows, as a share of the frame's window: smallest, largest.
pub const TOLERANCE: (f64, f64) = (0.002, 1.0);
/// The tolerance that tools begin with.
pub const USUAL_TOLERANCE: f64 = 0.1;
/// Points of the screen that the pointer is dragged for e times the tolerance.
const DRAG: f64 = 120.0;

/// A region growing from a pixel over values like its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    mask: MaskKey,
    values: Array2<f32>,
    units: String,
    seed: (usize, usize),
    value: f64,
    /// Width of the frame's window.
    span: f64,
    pressed_at: Pixel,
    slack: f64,
    tolerance_at_press: f64,
    /// Whether the button is still down.
    pub down: bool,
}

impl Growth {
    /// From the pixel under `at`; `None` outside the frame and where it has no value. `slack` is how far the pointer may go and still
    /// count as standing, pixels of the image.
    pub fn new(mask: MaskKey, frame: &Frame, at: Pixel, tolerance: f64, slack: f64) -> Option<Self> {
        let values = frame.values();
        let (row, column) = (at.0.round(), at.1.round());
        let (rows, columns) = values.dim();
        if row < 0.0 || column < 0.0 || row >= rows as f64 || column >= columns as f64 {
            return None;
        }
        let seed = (row as usize, column as usize);
        // The middle of nine values: a click on a speck of noise means what lies around it.
        let around = ndarray::s![
            seed.0.saturating_sub(1)..(seed.0 + 2).min(rows),
            seed.1.saturating_sub(1)..(seed.1 + 2).min(columns)
        ];
        let mut near: Vec<f32> = values.slice(around).iter().copied().filter(|v| v.is_finite()).collect();
        near.sort_by(f32::total_cmp);
        let value = f64::from(*near.get(near.len() / 2)?);
        let span = automatic_window(frame).width;
        let units = frame.display.units.clone();
        let (pressed_at, tolerance_at_press) = (at, tolerance);
        Some(Self { mask, values, units, seed, value, span, pressed_at, slack, tolerance_at_press, down: true })
    }

    /// The tolerance when the pointer has been dragged to a place: wider to the right, narrower to the left.
    pub fn dragged(&self, to: Pixel) -> f64 {
        let across = to.1 - self.pressed_at.1;
        let beyond = across.signum() * (across.abs() - self.slack).max(0.0);
        self.tolerance_at_press * (beyond / self.slack.max(1e-9) * f64::from(SLACK_POINTS) / DRAG).exp()
    }

    /// What it reaches.
    pub fn proposal(&self, tolerance: f64) -> Proposal {
        let reach = tolerance * self.span;
        let pixels = flood(self.values.view(), self.seed, ((self.value - reach) as f32, (self.value + reach) as f32));
        let digits = if reach >= 10.0 { 0 } else { 2 };
        let title = format!("Region grow, {:.digits$} ± {reach:.digits$} {}", self.value, self.units);
        Proposal { title: title.trim_end().to_owned(), masks: vec![(self.mask.clone(), pixels)] }
    }
}
