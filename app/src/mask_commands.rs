//! Changes of painted regions as a whole: holes, rims, other labels, other slices. Each is one step of undo.

use bifocal_core::annotation::{Edit, MaskKey, Session};
use bifocal_core::measure::{PixelScale, Runs};
use bifocal_core::segment::{fill_holes, interpolate, smooth};
use bifocal_core::study::{Instance, InstanceKey};

use crate::app::App;
use crate::images::FrameState;
use crate::keymap::Action;
use crate::proposal::{Proposal, together};
use crate::state::{Reading, Tone};
use crate::view::ViewEdit;

/// What is done to the region of the label in hand on the image in view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskCommand {
    /// Fills what it encloses.
    FillHoles,
    /// Makes its rim smoother.
    Smooth,
    /// Adds it to the next image, or the one before, and goes there.
    Copy(i64),
    /// Offers regions for the empty slices between painted ones.
    Interpolate,
    /// Combines it with another label's; `None` takes the only other one on the image.
    Combine(Combination, Option<String>),
}

/// How a region is combined with another label's, which stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// What is in either.
    Union,
    /// What is not in the other.
    Subtract,
    /// What is in both.
    Intersect,
}

impl Combination {
    /// All, with the action that asks for each.
    pub const ALL: [(Self, Action); 3] = [
        (Self::Union, Action::MaskUnion),
        (Self::Subtract, Action::MaskSubtract),
        (Self::Intersect, Action::MaskIntersect),
    ];

    fn of(self, region: &Runs, other: &Runs) -> Runs {
        match self {
            Self::Union => region.union(other),
            Self::Subtract => region.difference(other),
            Self::Intersect => region.intersection(other),
        }
    }
}

/// The command behind an action.
pub fn command_of(action: Action) -> Option<MaskCommand> {
    let combined = Combination::ALL.into_iter().find(|(_, asked)| *asked == action);
    Some(match action {
        Action::FillHoles => MaskCommand::FillHoles,
        Action::SmoothMask => MaskCommand::Smooth,
        Action::CopyToNext => MaskCommand::Copy(1),
        Action::CopyToPrevious => MaskCommand::Copy(-1),
        Action::Interpolate => MaskCommand::Interpolate,
        _ => MaskCommand::Combine(combined?.0, None),
    })
}

/// Standard deviation of the Gaussian that smooths, in pixels of the shorter side.
const SMOOTHING: f64 = 1.5;

/// The edit that makes `after` of a region; `None` where it is that already.
fn replaced(mask: MaskKey, before: &Runs, after: &Runs) -> Option<Edit> {
    let (add, remove) = (after.difference(before), before.difference(after));
    (!add.is_empty() || !remove.is_empty()).then_some(Edit::Paint { mask, add, remove })
}

/// Frames that lie in one stack with the one at `position`, in reading order: place in the series, instance, frame, depth (mm where
/// known, else counted).
fn stack(reading: &Reading, position: usize) -> Vec<(InstanceKey, usize, f64)> {
    let Some(series) = reading.series() else { return Vec::new() };
    let depth = |instance: &Instance, place: usize| match instance.geometry.filter(|_| instance.frames == 1) {
        Some(plane) => plane.distance_along_normal(),
        None => place as f64,
    };
    let frames: Vec<(&Instance, usize, f64)> = (series.instances.iter())
        .flat_map(|instance| {
            let order = |n: usize| instance.frame_order.get(n).copied().unwrap_or(n);
            (0..instance.frames).map(move |n| (instance, order(n)))
        })
        .enumerate()
        .map(|(place, (instance, frame))| (instance, frame, depth(instance, place)))
        .collect();
    let follows = |a: usize, b: usize| match (frames.get(a), frames.get(b)) {
        (Some((a, _, low)), Some((b, _, high))) => {
            let normal = |instance: &Instance| instance.geometry.map(|plane| plane.normal());
            let parallel = match (normal(a), normal(b)) {
                (Some(a), Some(b)) => a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() > 0.999,
                (None, None) => true,
                _ => false,
            };
            parallel && (a.rows, a.columns) == (b.rows, b.columns) && high > low
        }
        _ => false,
    };
    let mut first = position.min(frames.len().saturating_sub(1));
    while first > 0 && follows(first - 1, first) {
        first -= 1;
    }
    let mut end = position + 1;
    while follows(end - 1, end) {
        end += 1;
    }
    let members = frames.into_iter().take(end).skip(first);
    members.map(|(instance, frame, depth)| (instance.key(), frame, depth)).collect()
}

/// Regions for the empty slices of a stack between those that `label` is painted on.
fn between(
    stack: &[(InstanceKey, usize, f64)],
    label: &str,
    session: &Session,
    shape: (usize, usize),
    scale: PixelScale,
) -> Vec<(MaskKey, Runs)> {
    let key = |(instance, frame, _): &(InstanceKey, usize, f64)| MaskKey {
        instance: instance.clone(),
        frame: *frame,
        label: label.to_owned(),
    };
    let slices: Vec<(f64, Option<&Runs>)> =
        stack.iter().map(|member| (member.2, session.masks.get(&key(member)))).collect();
    let made = interpolate(&slices, shape, (scale.row, scale.column));
    made.into_iter().filter_map(|(index, runs)| Some((key(stack.get(index)?), runs))).collect()
}

impl App {
    /// Carries a command out.
    pub(crate) fn change_mask(&mut self, command: MaskCommand) {
        self.text_done();
        if let Err(why_not) = self.try_mask(command) {
            self.toast(Tone::Info, why_not);
        }
    }

    fn label_name(&self, key: &str) -> String {
        self.state.drawing.label_of(key).map_or_else(|| key.to_owned(), |label| label.name.clone())
    }

    /// The error says why there is nothing to do.
    fn try_mask(&mut self, command: MaskCommand) -> Result<(), String> {
        let Some(reading) = &self.state.reading else { return Ok(()) };
        let position = reading.view.position;
        let Some((instance, frame)) = reading.instance_at(position) else { return Ok(()) };
        let (instance, shape) = (instance.key(), (instance.rows, instance.columns));
        let Some(key) = reading.key_at(position) else { return Ok(()) };
        let FrameState::Ready(loaded) = self.images.frame(&key) else {
            return Err("The image is not read yet.".to_owned());
        };
        let scale = reading.scale_of(&loaded.frame().display);
        let session = reading.document.session();
        let here: Vec<(&str, &Runs)> = session.masks_on(&instance, frame).collect();
        let wanted = self.state.drawing.label_or_first().unwrap_or_default();
        // Without a choice, the only label there is on the image is meant.
        let label = match (self.state.drawing.label.is_none(), here.as_slice()) {
            (true, [(only, _)]) => (*only).to_owned(),
            _ => wanted.to_owned(),
        };
        if command == MaskCommand::Interpolate {
            let masks = between(&stack(reading, position), &label, session, shape, scale);
            if masks.is_empty() {
                return Err(format!(
                    "Nothing to interpolate: paint {} on two slices with empty ones between them.",
                    self.label_name(&label)
                ));
            }
            let slices = if masks.len() == 1 { "slice" } else { "slices" };
            let title = format!("Interpolated, {} {slices}", masks.len());
            self.state.drawing.offer(Proposal { title, masks });
            return Ok(());
        }
        let mask = MaskKey { instance: instance.clone(), frame, label };
        let Some(before) = session.masks.get(&mask).cloned() else {
            return Err(format!("Nothing of {} is painted on this image.", self.label_name(&mask.label)));
        };
        let (edit, nothing) = match command {
            MaskCommand::FillHoles => {
                (replaced(mask, &before, &before.union(&fill_holes(&before, shape))), "There are no holes in it.")
            }
            MaskCommand::Smooth => {
                let side = scale.row.min(scale.column) * SMOOTHING;
                let after = smooth(&before, shape, (side / scale.row, side / scale.column));
                (replaced(mask, &before, &after), "It is as smooth as its pixels allow.")
            }
            MaskCommand::Copy(step) => {
                let to = position.checked_add_signed(step as isize).and_then(|to| reading.instance_at(to));
                let Some((to, frame)) = to else { return Err("There is no image beyond this one.".to_owned()) };
                if (to.rows, to.columns) != shape {
                    return Err("The other image has another size.".to_owned());
                }
                let mask = MaskKey { instance: to.key(), frame, ..mask };
                let there = session.masks.get(&mask).cloned().unwrap_or_default();
                let edit = replaced(mask, &there, &there.union(&before));
                self.perform(crate::command::Command::View(ViewEdit::Step(step)));
                (edit, "It is painted there already.")
            }
            MaskCommand::Combine(how, other) => {
                let other = match other {
                    Some(other) => other,
                    None => {
                        let mut others = here.iter().map(|(label, _)| *label).filter(|label| *label != mask.label);
                        match (others.next(), others.next()) {
                            (Some(only), None) => only.to_owned(),
                            (None, _) => return Err("No other label is painted on this image.".to_owned()),
                            _ => return Err("Several labels are painted here: choose one in the menu of masks.".into()),
                        }
                    }
                };
                let with = here.iter().find(|(label, _)| *label == other).map(|(_, runs)| (*runs).clone());
                let after = how.of(&before, &with.unwrap_or_default());
                (replaced(mask, &before, &after), "That changes nothing.")
            }
            MaskCommand::Interpolate => (None, ""),
        };
        match together(edit.into_iter().collect()) {
            Some(edit) => {
                self.edit_document(|document| document.apply(edit));
                Ok(())
            }
            None => Err(nothing.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bifocal_core::study::PlaneGeometry;

    use super::*;
    use crate::state::fixtures;

    #[test]
    fn a_stack_ends_where_depth_turns_back_or_size_changes() {
        let mut study = fixtures::study("A", "MR", 9);
        for (n, instance) in study.series[0].instances.iter_mut().enumerate() {
            // Two phases of four slices each, then a slice of another size.
            let z = [0.0, 2.0, 4.0, 9.0][n % 4];
            instance.geometry = Some(PlaneGeometry {
                position: [0.0, 0.0, z],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            });
        }
        study.series[0].instances[8].rows = 20;
        let reading = Reading::new(Arc::new(study), 0).expect("has images");
        let depths = |position| stack(&reading, position).iter().map(|member| member.2).collect::<Vec<_>>();
        assert_eq!(depths(2), [0.0, 2.0, 4.0, 9.0]);
        assert_eq!(depths(4), [0.0, 2.0, 4.0, 9.0]);
        assert_eq!(stack(&reading, 5)[0].0.0, "1.2.4", "the second phase");
        assert_eq!(depths(8), [0.0]);
        let plain = Reading::new(Arc::new(fixtures::study("B", "OT", 3)), 0).expect("has images");
        assert_eq!(stack(&plain, 1).len(), 3, "without positions by number");
    }

    #[test]
    fn combinations_are_those_of_sets() {
        let (a, b) = (Runs::new(vec![(0, 6)]), Runs::new(vec![(4, 6)]));
        let of = |how: Combination| how.of(&a, &b).as_slice().to_vec();
        assert_eq!(of(Combination::Union), [(0, 10)]);
        assert_eq!(of(Combination::Subtract), [(0, 4)]);
        assert_eq!(of(Combination::Intersect), [(4, 2)]);
        let mask = MaskKey { instance: InstanceKey("1".into()), frame: 0, label: "nodule".into() };
        assert_eq!(replaced(mask, &a, &a), None);
    }
}
