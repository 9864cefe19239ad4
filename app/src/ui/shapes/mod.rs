//! What the reader has drawn, on an image: painted regions, shapes with handles, captions with leader lines, and the pointer on them.

mod beside;
mod captions;
mod entry;
mod hit;
mod masks;
mod offer;
mod paint;

pub use beside::{DASH, GAP};
pub use masks::{INSIDE, MaskTextures};

use bifocal_core::annotation::{Measured, Shape, ShapeId};
use bifocal_core::measure::{Pixel, Unit};
use eframe::egui::{Color32, Painter, PointerButton, Pos2, Response, Ui};

use super::Cx;
use crate::command::Command;
use crate::drawing::{Canvas, DrawTool, Pointer, SLACK_POINTS};
use crate::images::LoadedFrame;
use crate::shape_commands::DrawCommand;
use crate::state::{Lens, LensLayout, Reading};
use crate::view::{ImagePoint, ScreenFromImage, Tool};

/// How far from a line or handle the pointer still takes hold of it, points of the screen.
const REACH: f32 = 7.0;

/// A shape with everything that is shown of it.
struct Shown {
    /// `None` while it is being drawn.
    id: Option<ShapeId>,
    shape: Shape,
    points: Vec<Pos2>,
    lines: Vec<String>,
    color: Color32,
    selected: bool,
}

/// Draws what is drawn on the frame in view and takes in the left button where it belongs to it; returns whether it did.
#[allow(clippy::too_many_arguments)]
pub fn show(
    ui: &Ui,
    painter: &Painter,
    cx: &Cx<'_>,
    reading: &Reading,
    lens: Lens,
    loaded: &LoadedFrame,
    map: &ScreenFromImage,
    response: &Response,
) -> bool {
    let Some((instance, frame_index)) = reading.instance_at(reading.view.position) else { return false };
    let instance = instance.key();
    let session = reading.document.session();
    let on = Canvas { instance: &instance, frame_index, frame: loaded.frame(), session };
    // With a drawing tool in hand what is drawn is always seen.
    let visible = reading.view.overlays || matches!(cx.state.tool, Tool::Draw(_));
    // Viewports beside the active one show what is drawn on them; a press makes them the active one first.
    let active = cx.state.reading.as_ref().is_some_and(|active| std::ptr::eq(active, reading));
    let shown = if visible { shown(cx, &on, map, active) } else { Vec::new() };
    if visible {
        masks::paint(painter, cx, &on, map);
    }
    let placed = captions::place(painter, cx, reading, loaded, map, &shown);
    let taken = if active { input(ui, cx, map, response, &shown, &placed) } else { in_hand(cx).is_some() };
    for item in &shown {
        paint::shape(painter, cx, map, item);
    }
    if visible {
        beside::paint(painter, cx, reading, &on, map);
    }
    captions::paint(painter, cx, &shown, &placed);
    if let Tool::Draw(tool) = cx.state.tool
        && tool.paints()
        && response.hovered()
        && let Some(at) = response.hover_pos()
    {
        paint::brush(painter, cx, &on, map, at, tool == DrawTool::Eraser);
    }
    if active && (reading.active == lens || reading.layout != LensLayout::Both) {
        entry::show(ui, cx, &on, map);
        offer::show(ui, painter, cx, &on, map);
    }
    taken
}

/// Where a (row, column) place is on the screen.
fn on_screen(map: &ScreenFromImage, (row, column): Pixel) -> Pos2 {
    map.row_column((row as f32, column as f32))
}

fn pixel(point: ImagePoint) -> Pixel {
    (f64::from(point.row), f64::from(point.column))
}

/// The colour that a label has on images; the one of marks without a label.
pub fn color_of(cx: &Cx<'_>, label: Option<&str>) -> Color32 {
    let label = label.and_then(|key| cx.state.drawing.label_of(key));
    label.map_or(cx.theme.viewport().mark, |label| {
        let [r, g, b] = label.rgb();
        Color32::from_rgb(r, g, b)
    })
}

fn shown(cx: &Cx<'_>, on: &Canvas<'_>, map: &ScreenFromImage, active: bool) -> Vec<Shown> {
    let drawing = &cx.state.drawing;
    let unit = Unit::usual(on.frame);
    let by_hand = on.session.calibrations.get(on.instance).copied();
    let make = |id: Option<ShapeId>, shape: Shape, measured: &Measured, selected: bool| Shown {
        id,
        points: shape.pixels(&on.frame.display).iter().map(|at| on_screen(map, *at)).collect(),
        lines: lines(cx, &shape, measured),
        color: color_of(cx, shape.label.as_deref()),
        selected,
        shape,
    };
    let mut all: Vec<Shown> = on
        .session
        .shapes_on(on.instance, on.frame_index)
        .filter(|(_, shape)| !shape.hidden)
        .map(|(id, shape)| {
            let shape = if active { drawing.shown(id, shape, on) } else { shape.clone() };
            let measured = cx.overlays.measured.of(Some(id), &shape, on.frame, by_hand, unit);
            make(Some(id), shape, &measured, active && drawing.selected == Some(id))
        })
        .collect();
    if let Some(shape) = drawing.preview(on).filter(|_| active) {
        let measured = cx.overlays.measured.of(None, &shape, on.frame, by_hand, unit);
        let mut item = make(None, shape, &measured, true);
        if !item.shape.is_whole() {
            item.lines.clear();
        }
        all.push(item);
    }
    all
}

/// The caption of a shape: its name and label where it has some, then what it measures.
fn lines(cx: &Cx<'_>, shape: &Shape, measured: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    let label = shape
        .label
        .as_deref()
        .map(|key| cx.state.drawing.label_of(key).map_or(key.to_owned(), |label| label.name.clone()));
    let name = (!shape.name.trim().is_empty()).then(|| shape.name.trim().to_owned());
    let head: Vec<String> = [name, label].into_iter().flatten().collect();
    if !head.is_empty() {
        lines.push(head.join(" · "));
    }
    if !shape.text.trim().is_empty() {
        lines.push(shape.text.trim().to_owned());
    }
    lines.extend(measured.caption());
    lines
}

fn in_hand(cx: &Cx<'_>) -> Option<DrawTool> {
    match cx.state.tool {
        Tool::Draw(tool) => Some(tool),
        _ => None,
    }
}

/// Sends what the left button does; returns whether it belongs to drawing.
fn input(
    ui: &Ui,
    cx: &Cx<'_>,
    map: &ScreenFromImage,
    response: &Response,
    shown: &[Shown],
    placed: &captions::Placed,
) -> bool {
    let drawing = &cx.state.drawing;
    let tool = in_hand(cx);
    let send = |pointer: Pointer| cx.send(Command::Draw(DrawCommand::Pointer(pointer)));
    let slack = f64::from(SLACK_POINTS / map.points_per_column().max(1e-3));
    let (pressed, released, moved, ctrl) = ui.input(|input| {
        let pointer = &input.pointer;
        (
            pointer.button_pressed(PointerButton::Primary),
            pointer.button_released(PointerButton::Primary),
            pointer.delta() != eframe::egui::Vec2::ZERO,
            input.modifiers.command,
        )
    });
    let here = response.contains_pointer();
    let Some(position) = ui.input(|input| input.pointer.interact_pos()) else { return tool.is_some() };
    let at = pixel(map.image_point(position));
    let hit = if here && !drawing.is_busy() { hit::find(map, position, shown, placed) } else { None };
    // With a tool in hand only the selected shape is taken hold of, so that one can be drawn upon another.
    let hit =
        hit.filter(|hit| tool.is_none_or(|tool| !tool.paints() && !tool.grows() && drawing.selected == Some(hit.id)));
    let mut taken = tool.is_some() || drawing.is_down();
    if here && let Some(hit) = hit {
        ui.ctx().set_cursor_icon(hit::cursor(hit.part));
    }
    if here && pressed && (tool.is_some() || hit.is_some()) && cx.state.drawing.entry.is_none() {
        send(Pointer::Press { at, slack, hit, ctrl });
        taken = true;
    }
    // The pane under the pointer leads a gesture that is under way.
    if drawing.is_busy() && here && moved && !pressed && !released {
        send(Pointer::Move(at));
    }
    let ours = here || (drawing.is_down() && response.is_pointer_button_down_on());
    if released && (drawing.is_down() || pressed) && ours {
        send(Pointer::Release(at));
        taken = true;
    }
    if response.double_clicked() && tool.is_some() {
        send(Pointer::Close);
    }
    if !taken && response.clicked() && hit.is_none() && drawing.selected.is_some() {
        cx.send(Command::Draw(DrawCommand::Select(None)));
    }
    taken
}
