//! A grid of viewports, each with its own series. Commands of a viewport are carried out on it, active or not.

use eframe::egui::{self, Align2, Painter, Rect, Sense, Stroke, StrokeKind, Ui, vec2};

use super::{Cx, viewport, widgets};
use crate::command::{Command, Queue};
use crate::desk::{DeskCommand, DraggedSeries, Layout};
use crate::images::{FrameState, LoadedFrame};
use crate::linked::SlicePlane;
use crate::state::{Lens, Reading};
use crate::view::ScreenFromImage;

/// Draws the viewports into `rect`; returns whether an image was shown.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, (rows, columns): (usize, usize), rect: Rect) -> bool {
    let desk = &cx.state.desk;
    if desk.maximised {
        return pane(ui, cx, desk.active, rect);
    }
    let gap = cx.theme.size().hairline;
    ui.painter().rect_filled(rect, 0.0, cx.theme.palette.line);
    let size = vec2(
        ((rect.width() - gap * (columns - 1) as f32) / columns as f32).floor(),
        ((rect.height() - gap * (rows - 1) as f32) / rows as f32).floor(),
    );
    let mut shown = false;
    for row in 0..rows {
        for column in 0..columns {
            let at = rect.min + vec2(column as f32 * (size.x + gap), row as f32 * (size.y + gap));
            // What rounding leaves goes to the last ones.
            let max = egui::pos2(
                if column + 1 == columns { rect.right() } else { at.x + size.x },
                if row + 1 == rows { rect.bottom() } else { at.y + size.y },
            );
            shown |= pane(ui, cx, row * columns + column, Rect::from_min_max(at, max));
        }
    }
    shown
}

fn reading_of<'a>(cx: &'a Cx<'_>, index: usize) -> Option<&'a Reading> {
    if index == cx.state.desk.active {
        return cx.state.reading.as_ref();
    }
    cx.state.desk.panes.get(index).and_then(Option::as_ref)
}

fn pane(ui: &mut Ui, cx: &Cx<'_>, index: usize, rect: Rect) -> bool {
    let theme = &cx.theme;
    let active = cx.state.desk.active == index;
    let mut shown = false;
    let response = match reading_of(cx, index) {
        None => empty(ui, cx, index, rect),
        Some(reading) => {
            let queue = Queue::default();
            let own = Cx { queue: &queue, ..*cx };
            let line = (!active && cx.state.settings.links.lines).then(|| active_plane(cx)).flatten();
            let interaction =
                viewport::show(ui, &own, reading, Lens::Local, Some(index), rect, &mut |painter, map, frame| {
                    if let Some((active, frame_of_reference)) = &line {
                        let same = reading.series().is_some_and(|s| s.frame_of_reference == *frame_of_reference);
                        if same && frame_of_reference.is_some() {
                            reference_line(painter, cx, active, map, frame);
                        }
                    }
                });
            for command in queue.drain() {
                match command {
                    Command::ToggleMaximise(_) => cx.send(Command::Desk(DeskCommand::Maximise(index))),
                    Command::Activate(_) => cx.send(Command::Desk(DeskCommand::Activate(index))),
                    command if active => cx.send(command),
                    command => cx.send(Command::Desk(DeskCommand::In(index, Box::new(command)))),
                }
            }
            shown = interaction.map.is_some();
            interaction.response
        }
    };
    if active && cx.state.settings.layout.viewports() > 1 && !cx.state.desk.maximised {
        let stroke = Stroke::new(2.0 * theme.size().hairline, theme.palette.focus);
        ui.painter().rect_stroke(rect, 0.0, stroke, StrokeKind::Inside);
    }
    drop_target(ui, cx, index, rect, &response);
    shown
}

/// Takes a series that is dragged over the viewport.
fn drop_target(ui: &Ui, cx: &Cx<'_>, pane: usize, rect: Rect, response: &egui::Response) {
    if response.dnd_hover_payload::<DraggedSeries>().is_some() {
        let theme = &cx.theme;
        let painter = ui.painter_at(rect);
        painter.rect_filled(rect, 0.0, theme.palette.focus.gamma_multiply(0.15));
        painter.rect_stroke(rect, 0.0, Stroke::new(3.0, theme.palette.focus), StrokeKind::Inside);
    }
    if let Some(dragged) = response.dnd_release_payload::<DraggedSeries>() {
        let DraggedSeries { study, series } = *dragged;
        cx.send(Command::Desk(DeskCommand::Show { pane, study, series }));
    }
}

fn empty(ui: &mut Ui, cx: &Cx<'_>, index: usize, rect: Rect) -> egui::Response {
    let theme = &cx.theme;
    let response = ui.interact(rect, ui.scope_id().with(("empty viewport", index)), Sense::click());
    let response = widgets::named(response, &format!("Viewport {}, empty", index + 1));
    let painter = ui.painter_at(rect);
    painter.rect_filled(rect, 0.0, theme.viewport().background);
    let text = if cx.state.desk.active == index { "Choose a series, or drag one here" } else { "Drag a series here" };
    painter.text(rect.center(), Align2::CENTER_CENTER, text, theme.small(), theme.viewport().weak);
    if response.clicked() {
        cx.send(Command::Desk(DeskCommand::Activate(index)));
    }
    response
}

/// Where the active viewport's slice lies, and in which space.
fn active_plane(cx: &Cx<'_>) -> Option<(SlicePlane, Option<String>)> {
    let reading = cx.state.reading.as_ref()?;
    let key = reading.key_at(reading.view.position)?;
    let FrameState::Ready(frame) = cx.images.frame(&key) else { return None };
    Some((SlicePlane::of(&frame)?, reading.series()?.frame_of_reference.clone()))
}

fn reference_line(painter: &Painter, cx: &Cx<'_>, active: &SlicePlane, map: &ScreenFromImage, frame: &LoadedFrame) {
    let Some(here) = SlicePlane::of(frame) else { return };
    let Some(ends) = active.crossing(&here) else { return };
    let ends = ends.map(|(row, column)| map.row_column((row as f32, column as f32)));
    let colors = cx.theme.viewport();
    for (width, color) in [(3.0, colors.halo), (1.0, colors.reference)] {
        painter.line_segment(ends, Stroke::new(width, color));
    }
}

/// Rows and columns of the layout, where it is a grid.
pub fn shape(layout: Layout) -> Option<(usize, usize)> {
    match layout {
        Layout::Grid { rows, columns } => Some((usize::from(rows), usize::from(columns))),
        _ => None,
    }
}
