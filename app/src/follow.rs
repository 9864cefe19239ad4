//! How the other viewports of a grid follow the active one: to the same place, by the same way, with its window and zoom.

use bifocal_core::volume::{Vector, dot};

use crate::app::App;
use crate::desk::Layout;
use crate::images::{FrameKey, FrameState};
use crate::linked::{self, SlicePlane};
use crate::state::{Reading, State};
use crate::view::{ViewEdit, ViewState};

impl App {
    /// Lets the other viewports of a grid follow a change of the active one.
    pub(crate) fn follow(&mut self, before: &ViewState, edit: &ViewEdit) {
        let Layout::Grid { .. } = self.state.settings.layout else { return };
        let links = self.state.settings.links;
        let State { reading: Some(active), desk, .. } = &mut self.state else { return };
        let Some(series) = active.series() else { return };
        desk.owed.resize(desk.panes.len(), 0.0);
        let cursor = match edit {
            ViewEdit::Crosshair(point) => active
                .key_at(active.view.position)
                .and_then(|key| ready_plane(self.images.frame(&key)))
                .map(|plane| plane.patient(f64::from(point.row), f64::from(point.column))),
            _ => None,
        };
        for (other, owed) in desk.panes.iter_mut().zip(&mut desk.owed) {
            let Some(other) = other else { continue };
            if let Some(point) = cursor {
                follow_cursor(other, series.frame_of_reference.as_deref(), point, |key| {
                    ready_plane(self.images.frame(key))
                });
                continue;
            }
            if links.scroll && active.view.position != before.position {
                follow_scroll(other, owed, active, before.position);
            }
            if links.window
                && active.view.window != before.window
                && other.series().is_some_and(|theirs| theirs.modality == series.modality)
            {
                other.view.window = active.view.window.clone();
            }
            if links.zoom && active.view.transform != before.transform {
                let ratio = active.view.transform.zoom / before.transform.zoom;
                other.view.transform.zoom_about(ratio, 0.5, 0.5, (1.0, 1.0));
                if matches!(edit, ViewEdit::Reset) {
                    other.view.transform = active.view.transform;
                } else {
                    other.view.transform.pan = active.view.transform.pan;
                }
            }
        }
    }
}

fn ready_plane(state: FrameState) -> Option<SlicePlane> {
    match state {
        FrameState::Ready(frame) => SlicePlane::of(&frame),
        _ => None,
    }
}

/// Goes to the slice at a place and puts the crosshair there, where both series lie in one space.
fn follow_cursor(
    other: &mut Reading,
    frame_of_reference: Option<&str>,
    point: Vector,
    plane: impl Fn(&FrameKey) -> Option<SlicePlane>,
) {
    let Some(series) = other.series() else { return };
    if frame_of_reference.is_none() || series.frame_of_reference.as_deref() != frame_of_reference {
        return;
    }
    if let Some(position) = linked::nearest(series, other.view.position, point) {
        other.view.position = position;
    }
    // The slice gone to may not be decoded yet: its neighbour's pixels serve, they lie behind one another.
    let here = other.key_at(other.view.position).and_then(|key| plane(&key));
    if let Some(here) = here {
        let (row, column) = here.pixel(point);
        other.view.crosshair = Some(crate::view::ImagePoint { row: row as f32, column: column as f32 });
        other.view.show_crosshair = true;
    }
}

/// Scrolls to the same place in one space, by the same way in two, by as many images where positions are unknown; images of
/// another patient stay.
fn follow_scroll(other: &mut Reading, owed: &mut f64, active: &Reading, before: usize) {
    let (Some(ours), Some(theirs)) = (active.series(), other.series()) else { return };
    if other.study.patient != active.study.patient {
        return;
    }
    let count = other.frame_count();
    let now = active.view.position;
    let planes =
        (linked::plane_at(ours, before), linked::plane_at(ours, now), linked::plane_at(theirs, other.view.position));
    let (Some(from), Some(to), Some(there)) = planes else {
        let wanted = other.view.position as i64 + now as i64 - before as i64;
        other.view.position = wanted.clamp(0, count.saturating_sub(1) as i64) as usize;
        return;
    };
    let normal = there.normal();
    if dot(normal, to.normal()).abs() < 0.9 {
        // Across the scrolled direction the line shows where the slice is.
        return;
    }
    let same_space = ours.frame_of_reference.is_some() && ours.frame_of_reference == theirs.frame_of_reference;
    let target = if same_space {
        *owed = 0.0;
        to.position
    } else {
        let way = dot(normal, to.position) - dot(normal, from.position) + *owed;
        bifocal_core::volume::along(there.position, normal, way)
    };
    if let Some(position) = linked::nearest(theirs, other.view.position, target) {
        if !same_space && let Some(reached) = linked::plane_at(theirs, position) {
            // What one slice is too coarse for is carried on, so that there and back is where it began.
            let rest = dot(normal, target) - dot(normal, reached.position);
            *owed = rest.clamp(-1e3, 1e3);
        }
        other.view.position = position;
    }
}
