//! One image with everything that a reading room expects around it. Both lenses are this widget with different overlays.

use bifocal_core::render::{self, Voi};
use bifocal_core::study::{Frame, Window};
use eframe::egui::{
    self, Align2, Color32, MouseWheelUnit, Painter, PointerButton, Pos2, Rect, Response, Sense, Shape, Stroke, Ui,
    pos2, vec2,
};
use lucide_icons::Icon;

use super::{Cx, fusion, layers, shapes, text, top_bar, widgets};
use crate::command::Command;
use crate::images::{FrameState, LoadedFrame};
use crate::keymap::{self, Action};
use crate::shape_commands::DrawCommand;
use crate::state::{Lens, LensLayout, Reading};
use crate::view::{ImagePoint, ScreenFromImage, Tool, ViewEdit, WindowChoice, corner};

/// What happened in a viewport.
pub struct Interaction {
    /// The whole pane.
    pub response: Response,
    /// From image pixels to the screen; `None` where no image could be shown.
    pub map: Option<ScreenFromImage>,
    /// The image point under the pointer.
    pub hover: Option<ImagePoint>,
    /// The image point that was clicked with the left button.
    pub clicked: Option<ImagePoint>,
    /// Whether the left button belongs to what is drawn.
    pub drawing: bool,
}

/// Draws the frame in view and takes in mouse and wheel. `paint_overlay` draws between the image and its texts. `slot` is the
/// place in a grid of viewports; without one it is a lens.
pub fn show(
    ui: &mut Ui,
    cx: &Cx<'_>,
    reading: &Reading,
    lens: Lens,
    slot: Option<usize>,
    rect: Rect,
    paint_overlay: &mut dyn FnMut(&Painter, &ScreenFromImage, &LoadedFrame),
) -> Interaction {
    let id = ui.scope_id().with(("viewport", lens, slot));
    let response = ui.interact(rect, id, Sense::click_and_drag());
    let label = match (slot, lens) {
        (Some(slot), _) => format!("Viewport {}", slot + 1),
        (None, Lens::Local) => "Local lens".to_owned(),
        (None, Lens::Global) => "Global lens".to_owned(),
    };
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &label));
    let painter = ui.painter_at(rect);
    let theme = &cx.theme;
    painter.rect_filled(rect, 0.0, theme.viewport().background);

    if response.has_focus() {
        // The arrow keys move through the images, not on to the next widget.
        let filter = egui::EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(id, filter));
        keymap::claim_keys(ui.ctx(), id);
    }

    let state = reading.key_at(reading.view.position).map(|key| (cx.images.frame(&key), key));
    let mut interaction = Interaction { response, map: None, hover: None, clicked: None, drawing: false };
    match state {
        Some((FrameState::Ready(frame), key)) => {
            let display = &frame.frame().display;
            let map = ScreenFromImage::new(&reading.view, frame.frame().shape(), display, rect);
            let voi = frame.voi(&reading.view.window, reading.view.inverted);
            let scale = map.points_per_column() * ui.ctx().pixels_per_point();
            let texture = cx.images.texture(&key, &frame, &voi, scale);
            layers::texture(&painter, texture.handle.id(), map.corners(texture.covers));
            fusion::paint_on_frame(&painter, cx, reading, &map, &frame);
            paint_overlay(&painter, &map, &frame);
            interaction.drawing = shapes::show(ui, &painter, cx, reading, lens, &frame, &map, &interaction.response);
            take_input(ui, cx, reading, lens, &frame, &frame.window_of(&voi), &map, &mut interaction);
            paint_cursors(&painter, cx, reading, lens, &map);
            if rect.width() > 220.0 && rect.height() > 200.0 {
                let value = pointed_at(reading, &interaction);
                // A lens has a bar of its own, once there is an answer.
                let bars = usize::from(slot.is_none() && reading.view.overlays && reading.analysis_in_view().is_some());
                fusion::paint_bar(&painter, cx, reading, rect, bars);
                paint_texts(&painter, cx, reading, lens, slot, &frame, &voi, &map, value);
            }
            interaction.map = Some(map);
        }
        Some((FrameState::Failed(message), _)) => failed(ui, cx, rect, &message),
        Some((FrameState::Loading, _)) => {
            let font = theme.small();
            painter.text(rect.center(), Align2::CENTER_CENTER, "Reading image …", font, theme.viewport().weak);
            scroll(ui, cx, reading, &interaction.response);
        }
        None => {}
    }
    if interaction.response.double_clicked() && !interaction.drawing {
        cx.send(Command::ToggleMaximise(lens));
    }
    if interaction.response.clicked() || interaction.response.drag_started() || interaction.response.gained_focus() {
        cx.send(Command::Activate(lens));
    }
    let focused = interaction.response.has_focus();
    if focused || (slot.is_none() && reading.active == lens && reading.layout == LensLayout::Both) {
        let own = match lens {
            Lens::Local => theme.viewport().warm,
            Lens::Global => theme.viewport().cool,
        };
        let (width, color) = if focused { (2.0, theme.palette.focus) } else { (1.0, own.gamma_multiply(0.6)) };
        let stroke = Stroke::new(width * theme.size().hairline, color);
        painter.rect_stroke(rect, 0.0, stroke, egui::StrokeKind::Inside);
    }
    interaction
}

fn failed(ui: &mut Ui, cx: &Cx<'_>, rect: Rect, message: &str) {
    let theme = &cx.theme;
    let inner = rect.shrink(theme.space().xl);
    let mut child = ui.new_child(egui::UiBuilder::new().max_rect(inner));
    child.vertical_centered(|ui| {
        ui.add_space(inner.height() / 3.0);
        ui.label(theme.icon(Icon::ImageOff, theme.viewport().warning).size(theme.space().xl));
        ui.label(egui::RichText::new("This image cannot be shown").color(theme.viewport().text));
        let cause = egui::RichText::new(message).font(theme.small()).color(theme.viewport().weak);
        ui.add(egui::Label::new(cause).wrap().selectable(true));
    });
}

#[allow(clippy::too_many_arguments)]
fn take_input(
    ui: &Ui,
    cx: &Cx<'_>,
    reading: &Reading,
    lens: Lens,
    frame: &LoadedFrame,
    window: &Window,
    map: &ScreenFromImage,
    interaction: &mut Interaction,
) {
    let response = &interaction.response;
    let hover = response.hover_pos().map(|position| map.image_point(position));
    interaction.hover = hover.filter(|point| point.pixel(frame.frame().shape()).is_some());
    let hovered_now = interaction.hover.map(|point| (lens, point));
    let hovered_before = reading.hover.filter(|(other, _)| *other == lens);
    if hovered_now != hovered_before {
        cx.send(Command::Hover(hovered_now));
    }
    let shift = ui.input(|input| input.modifiers.shift && input.pointer.delta() != egui::Vec2::ZERO);
    if let Some(point) = interaction.hover
        && shift
        && response.hovered()
        && reading.view.crosshair != Some(point)
    {
        cx.send(Command::View(ViewEdit::Crosshair(point)));
        if !reading.view.show_crosshair {
            cx.send(Command::View(ViewEdit::ToggleCrosshair));
        }
    }
    if response.clicked_by(PointerButton::Primary) && !interaction.drawing {
        interaction.clicked = response.interact_pointer_pos().map(|position| map.image_point(position));
    }
    if !interaction.drawing || !response.dragged_by(PointerButton::Primary) {
        drag(ui, cx, frame, window, response);
    }
    scroll(ui, cx, reading, response);
    let tool = |button| cursor(cx.state.tool, button);
    if response.dragged() {
        for button in [PointerButton::Primary, PointerButton::Middle, PointerButton::Secondary] {
            if response.dragged_by(button) {
                ui.ctx().set_cursor_icon(tool(button));
            }
        }
    } else if response.hovered() && ui.output(|output| output.cursor_icon) == egui::CursorIcon::Default {
        ui.ctx().set_cursor_icon(egui::CursorIcon::Crosshair);
    }
    response.context_menu(|ui| context_menu(ui, cx));
}

fn cursor(tool: Tool, button: PointerButton) -> egui::CursorIcon {
    match (button, tool) {
        (PointerButton::Middle, _) | (PointerButton::Primary, Tool::Pan) => egui::CursorIcon::Grabbing,
        (PointerButton::Secondary, _) | (PointerButton::Primary, Tool::Zoom) => egui::CursorIcon::ZoomIn,
        (_, Tool::Draw(_)) => egui::CursorIcon::Crosshair,
        (_, Tool::Scroll) => egui::CursorIcon::ResizeVertical,
        _ => egui::CursorIcon::ResizeNwSe,
    }
}

fn drag(ui: &Ui, cx: &Cx<'_>, frame: &LoadedFrame, window: &Window, response: &Response) {
    if !response.dragged() {
        return;
    }
    let delta = response.drag_delta();
    let tool = if response.dragged_by(PointerButton::Middle) {
        Tool::Pan
    } else if response.dragged_by(PointerButton::Secondary) {
        Tool::Zoom
    } else {
        cx.state.tool
    };
    match tool {
        Tool::Pan if delta != egui::Vec2::ZERO => {
            cx.send(Command::View(ViewEdit::Pan { delta, pane: response.rect.size() }));
        }
        Tool::Zoom if delta.y != 0.0 => {
            let origin = ui.input(|input| input.pointer.press_origin()).unwrap_or(response.rect.center());
            cx.send(Command::View(zoom_at((-delta.y * 0.01).exp(), response, origin)));
        }
        Tool::Window if delta != egui::Vec2::ZERO => {
            cx.send(Command::View(ViewEdit::Window(dragged_window(window, &frame.auto_window, delta))));
        }
        Tool::Scroll => {
            let id = response.id.with("scrolled");
            steps(ui, id, delta.y / 8.0, |steps| cx.send(Command::View(ViewEdit::Step(steps))));
        }
        _ => {}
    }
}

/// A window after a drag: right widens, down darkens. One step is the same share of the window's width, so that 8-bit and 16-bit
/// images feel alike.
pub fn dragged_window(window: &Window, automatic: &Window, delta: egui::Vec2) -> WindowChoice {
    let step = (window.width / 256.0).max(automatic.width / 1024.0).max(1e-6);
    let width = (window.width + f64::from(delta.x) * step).max(step.min(1.0));
    let center = window.center + f64::from(delta.y) * step;
    WindowChoice::Fixed(Window { center, width, function: window.function, name: String::new() })
}

/// Gathers parts of a step until they make whole ones.
pub fn steps(ui: &Ui, id: egui::Id, part: f32, step: impl FnOnce(i64)) {
    let gathered = ui.data(|data| data.get_temp::<f32>(id)).unwrap_or(0.0) + part;
    let whole = gathered.trunc();
    ui.data_mut(|data| data.insert_temp(id, gathered - whole));
    if whole != 0.0 {
        step(whole as i64);
    }
}

fn zoom_at(factor: f32, response: &Response, at: Pos2) -> ViewEdit {
    ViewEdit::Zoom { factor, at: at - response.rect.min, pane: response.rect.size() }
}

fn scroll(ui: &Ui, cx: &Cx<'_>, reading: &Reading, response: &Response) {
    if !response.hovered() {
        return;
    }
    let zoom = ui.input(|input| input.zoom_delta());
    let at = response.hover_pos().unwrap_or(response.rect.center());
    if let Tool::Draw(tool) = cx.state.tool
        && tool.grows()
        && zoom != 1.0
    {
        cx.send(Command::Draw(DrawCommand::Tolerance(cx.state.drawing.tolerance * f64::from(zoom))));
        return;
    }
    if zoom != 1.0 {
        cx.send(Command::View(zoom_at(zoom, response, at)));
        return;
    }
    let turned = wheel(ui);
    if turned == 0.0 {
        return;
    }
    if reading.frame_count() > 1 {
        steps(ui, response.id.with("wheel"), -turned, |steps| cx.send(Command::View(ViewEdit::Step(steps))));
    } else {
        cx.send(Command::View(zoom_at((turned * 0.12).exp(), response, at)));
    }
}

/// How far the wheel has been turned since the last frame, in notches; what zooms is left out.
pub fn wheel(ui: &Ui) -> f32 {
    ui.input(|input| {
        let wheel = input.events.iter().filter_map(|event| match event {
            egui::Event::MouseWheel { unit, delta, modifiers, .. } if !modifiers.command => Some(match unit {
                MouseWheelUnit::Line => delta.y,
                MouseWheelUnit::Page => delta.y * 10.0,
                MouseWheelUnit::Point => delta.y / 40.0,
            }),
            _ => None,
        });
        wheel.sum()
    })
}

fn context_menu(ui: &mut Ui, cx: &Cx<'_>) {
    ui.set_min_width(200.0);
    ui.menu_button("Window preset", |ui| top_bar::window_items(ui, cx));
    ui.separator();
    for action in [Action::Invert, Action::Rotate, Action::FlipHorizontal, Action::FlipVertical] {
        widgets::action_menu_item(ui, cx, action);
    }
    ui.separator();
    for action in [Action::Overlays, Action::Crosshair, Action::Maximise, Action::Cine] {
        widgets::action_menu_item(ui, cx, action);
    }
    ui.separator();
    for action in [Action::Analyse, Action::Probe, Action::KeyImage, Action::Report, Action::ExportView, Action::Tags] {
        widgets::action_menu_item(ui, cx, action);
    }
    ui.separator();
    widgets::action_menu_item(ui, cx, Action::Escape);
}

/// Crosshair, and the ghost of the pointer that is in the other lens.
fn paint_cursors(painter: &Painter, cx: &Cx<'_>, reading: &Reading, lens: Lens, map: &ScreenFromImage) {
    let colors = cx.theme.viewport();
    let hairline = cx.theme.size().hairline;
    if let Some(point) = reading.view.crosshair.filter(|_| reading.view.show_crosshair) {
        let at = map.point(point);
        let gap = cx.theme.space().s;
        let clip = painter.clip_rect();
        let stroke = Stroke::new(hairline, colors.weak);
        painter.hline(clip.left()..=at.x - gap, at.y, stroke);
        painter.hline(at.x + gap..=clip.right(), at.y, stroke);
        painter.vline(at.x, clip.top()..=at.y - gap, stroke);
        painter.vline(at.x, at.y + gap..=clip.bottom(), stroke);
    }
    if let Some((other, point)) = reading.hover
        && other != lens
    {
        let at = map.point(point);
        let color = match other {
            Lens::Local => colors.warm,
            Lens::Global => colors.cool,
        };
        for (width, color) in [(3.0, colors.halo), (hairline, color)] {
            painter.circle_stroke(at, 7.0, Stroke::new(width, color));
        }
        painter.circle_filled(at, 1.5, color);
    }
}

/// The point whose value is shown: under this pointer, or under its ghost.
fn pointed_at(reading: &Reading, interaction: &Interaction) -> Option<ImagePoint> {
    interaction.hover.or(reading.hover.map(|(_, point)| point))
}

#[allow(clippy::too_many_arguments)]
fn paint_texts(
    painter: &Painter,
    cx: &Cx<'_>,
    reading: &Reading,
    lens: Lens,
    slot: Option<usize>,
    loaded: &LoadedFrame,
    voi: &Voi,
    map: &ScreenFromImage,
    pointed: Option<ImagePoint>,
) {
    let theme = &cx.theme;
    let colors = theme.viewport();
    let margin = theme.space().m;
    let (frame, pane) = (loaded.frame(), map.pane());
    let block = |right: bool, bottom: bool, lines: Vec<(String, Color32)>| {
        let lines: Vec<_> = lines.into_iter().filter(|(line, _)| !line.is_empty()).collect();
        let step = theme.tokens.text.small + theme.space().xs;
        let mut at = corner(pane, right, bottom, margin);
        if bottom {
            at.y -= step * lines.len().saturating_sub(1) as f32;
        }
        let align = Align2([side(right), side(bottom)]);
        for (line, color) in lines {
            widgets::plated_text(painter, theme, at, align, line, theme.small(), color);
            at.y += step;
        }
    };
    let narrow = pane.width() < 420.0;
    let study = &reading.study;
    let patient = &study.patient;
    // The first lens names the patient; the second does not repeat it.
    let alone = slot.is_some() || reading.layout != LensLayout::Both;
    let first = alone || lens == Lens::Local;
    if first {
        let mut lines = vec![(text::patient_name(patient), colors.text)];
        if !narrow {
            let id = if patient.name.trim().is_empty() { String::new() } else { patient.id.clone() };
            lines.push((text::join([id, text::patient_detail(patient)]), colors.weak));
            lines.push((text::study_detail(study), colors.weak));
        }
        block(false, false, lines);
    }
    let series = reading.series();
    let mut right_top = Vec::new();
    if let Some(series) = series.filter(|_| !first || alone) {
        if !narrow {
            right_top.push((text::series_title(series), colors.text));
        }
        let number = series.number.map(|number| format!("series {number}")).unwrap_or_default();
        right_top.push((text::join([series.modality.clone(), number]), colors.weak));
    }
    if let Some(method) = &frame.display.lossy {
        let method = if method.is_empty() { String::new() } else { format!(" ({method})") };
        right_top.push((format!("lossy compression{method}"), colors.warning));
    }
    if reading.is_key_image() {
        right_top.push(("key image".to_owned(), colors.text));
    }
    block(true, false, right_top);

    let count = reading.frame_count();
    let over = fusion::value_on_frame(cx, reading, loaded, pointed);
    let mut left_bottom = vec![(text::join([readout(frame, pointed), over]), colors.text)];
    if count > 1 {
        left_bottom.push((format!("{} / {count}", reading.view.position + 1), colors.text));
    }
    left_bottom.push((place(frame), colors.weak));
    block(false, true, left_bottom);

    let percent = map.points_per_column() * painter.ctx().pixels_per_point() * 100.0;
    let mut right_bottom = Vec::new();
    // Colour images are shown as they are: no window applies.
    if !matches!(frame.pixels, bifocal_core::study::Pixels::Rgb(_)) {
        if let render::VoiMapping::Window(window) = &voi.mapping {
            right_bottom.push((window.name.clone(), colors.weak));
        }
        right_bottom.push((voi.describe(), colors.text));
    }
    right_bottom.push((format!("zoom {percent:.0} %"), colors.weak));
    block(true, true, right_bottom);

    if let Some(letters) = render::edge_letters(&frame.display, &reading.view.transform) {
        paint_letters(painter, cx, letters, pane);
    }
    let scale = reading.scale_of(&frame.display);
    if scale.is_known() {
        paint_ruler(painter, cx, scale.caveat(), f64::from(map.points_per_column()) / scale.column, pane);
    }
    paint_warnings(painter, cx, frame, pane);
}

/// What must be known before the image is trusted (that a part of it is missing), large enough not to be overlooked.
fn paint_warnings(painter: &Painter, cx: &Cx<'_>, frame: &Frame, pane: Rect) {
    let theme = &cx.theme;
    let (colors, space) = (theme.viewport(), theme.space());
    let mut bottom = pane.bottom() - 0.14 * pane.height();
    for warning in frame.display.warnings.iter().rev() {
        let galley = painter.layout(warning.clone(), theme.small(), colors.warning, 0.7 * pane.width());
        let middle = egui::pos2(pane.center().x, bottom - galley.size().y / 2.0);
        let rect = Rect::from_center_size(middle, galley.size());
        painter.rect_filled(rect.expand(space.s), space.xs, Color32::from_black_alpha(215));
        painter.galley(rect.min, galley, colors.warning);
        bottom = rect.top() - 2.0 * space.s - space.xs;
    }
}

fn side(end: bool) -> egui::Align {
    if end { egui::Align::Max } else { egui::Align::Min }
}

/// Place and value under the pointer: `x 120  y 88   −740 HU`.
fn readout(frame: &Frame, pointed: Option<ImagePoint>) -> String {
    let Some((row, column)) = pointed.and_then(|point| point.pixel(frame.shape())) else { return String::new() };
    let value = match (&frame.pixels, frame.value_at(row, column)) {
        (_, Some(value)) => format!("{} {}", text::value(value), frame.display.units).trim_end().to_owned(),
        (bifocal_core::study::Pixels::Rgb(rgb), None) => {
            let channel = |k| rgb.get([row, column, k]).copied().unwrap_or(0);
            format!("R {} G {} B {}", channel(0), channel(1), channel(2))
        }
        _ => String::new(),
    };
    format!("x {column}  y {row}   {value}")
}

/// Position along the normal and thickness, where known.
fn place(frame: &Frame) -> String {
    let position =
        frame.display.geometry.map(|plane| format!("at {:.1} mm", plane.distance_along_normal())).unwrap_or_default();
    let thickness =
        frame.display.slice_thickness_mm.map(|mm| format!("thick {}", text::length(mm))).unwrap_or_default();
    text::join([position, thickness])
}

/// Letters of the patient's directions at the edges: top, right, bottom, left.
pub fn paint_letters(painter: &Painter, cx: &Cx<'_>, [top, right, bottom, left]: [String; 4], pane: Rect) {
    let theme = &cx.theme;
    let margin = theme.space().s;
    let font = egui::FontId::proportional(theme.tokens.text.body);
    let places = [
        (left, pane.left_center() + vec2(margin, 0.0), Align2::LEFT_CENTER),
        (right, pane.right_center() - vec2(margin, 0.0), Align2::RIGHT_CENTER),
        (top, pane.center_top() + vec2(0.0, margin), Align2::CENTER_TOP),
        (bottom, pane.center_bottom() - vec2(0.0, margin), Align2::CENTER_BOTTOM),
    ];
    for (letters, at, align) in places {
        if !letters.is_empty() {
            widgets::plated_text(painter, theme, at, align, letters, font.clone(), theme.viewport().text);
        }
    }
}

/// A ruler of a round length on the right edge, for a known scale, with what must be said of that.
pub fn paint_ruler(painter: &Painter, cx: &Cx<'_>, caveat: Option<&str>, points_per_mm: f64, pane: Rect) {
    let theme = &cx.theme;
    let most = f64::from(pane.height()) * 0.3;
    let Some((length_mm, length)) = render::ruler_mm(points_per_mm, most) else { return };
    let length = length as f32;
    // A ruler of 2, 20, ... mm is cut into four parts, the others into five.
    let leading = length_mm / 10f64.powf(length_mm.log10().floor() + 1e-9);
    let ticks = if (leading - 2.0).abs() < 0.5 { 4 } else { 5 };
    let x = pane.right() - theme.space().xl - theme.space().s;
    let top = pane.center().y - length / 2.0;
    let colors = theme.viewport();
    for (width, color) in [(3.0, colors.halo), (theme.size().hairline, colors.text)] {
        let stroke = Stroke::new(width, color);
        painter.vline(x, top..=top + length, stroke);
        for tick in 0..=ticks {
            let y = top + length * tick as f32 / ticks as f32;
            let long = if tick == 0 || tick == ticks { 8.0 } else { 4.0 };
            painter.hline(x - long..=x, y, stroke);
        }
    }
    let kind = caveat.map(|caveat| format!(" {caveat}")).unwrap_or_default();
    let label = format!("{}{kind}", text::round_length(length_mm));
    let at = pos2(x, top + length + theme.space().xs);
    widgets::plated_text(painter, theme, at, Align2::RIGHT_TOP, label, theme.small(), colors.text);
}

/// Draws a polyline through (row, column) vertices with a dark rim.
pub fn contour(painter: &Painter, map: &ScreenFromImage, vertices: &[(f32, f32)], width: f32, color: Color32) {
    let points: Vec<Pos2> = vertices.iter().map(|vertex| map.row_column(*vertex)).collect();
    if points.len() < 2 {
        return;
    }
    painter.add(Shape::closed_line(points.clone(), Stroke::new(width + 2.0, Color32::from_black_alpha(140))));
    painter.add(Shape::closed_line(points, Stroke::new(width, color)));
}
