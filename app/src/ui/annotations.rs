//! The list of what was drawn and painted in the series, and the card of the shape that is selected.

use bifocal_core::annotation::{Edit, MaskKey, Measured, Shape, ShapeId, ShapeKind};
use bifocal_core::measure::{PixelScale, Runs, Unit};
use bifocal_core::study::{InstanceKey, Suv};
use eframe::egui::{self, Align, Layout, RichText, Sense, Ui, UiBuilder, vec2};
use lucide_icons::Icon;

use super::{Cx, shape_card, shapes, text, widgets};
use crate::command::Command;
use crate::images::FrameState;
use crate::reader::ReadCommand;
use crate::shape_commands::DrawCommand;
use crate::state::Reading;

/// Draws the list.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let theme = &cx.theme;
    let session = reading.document.session();
    ui.horizontal(|ui| {
        widgets::heading(ui, theme, "Measurements");
        let count = session.shapes.len() + session.masks.len();
        if count > 0 {
            widgets::caption(ui, theme, count.to_string());
        }
    });
    ui.add_space(theme.space().xs);
    if session.shapes.is_empty() && session.masks.is_empty() {
        let text = RichText::new("Nothing drawn yet: the bar on the left measures, annotates and paints.");
        ui.add(egui::Label::new(text.font(theme.small()).color(theme.palette.weak)).wrap());
        calibration(ui, cx, reading);
        ui.add_space(theme.space().m);
        return;
    }
    let at = |instance: &InstanceKey, frame: usize| reading.position_of(instance, frame);
    let mut rows: Vec<(Option<usize>, ShapeId, &Shape)> =
        session.shapes.iter().map(|(id, shape)| (at(&shape.instance, shape.frame), *id, shape)).collect();
    rows.sort_by_key(|(position, id, _)| (position.unwrap_or(usize::MAX), *id));
    for (position, id, shape) in rows {
        row(ui, cx, reading, position, id, shape);
    }
    let mut masks: Vec<(Option<usize>, &MaskKey, &Runs)> =
        session.masks.iter().map(|(key, pixels)| (at(&key.instance, key.frame), key, pixels)).collect();
    masks.sort_by_key(|(position, key, _)| (position.unwrap_or(usize::MAX), *key));
    for (position, key, pixels) in masks {
        painted(ui, cx, reading, position, key, pixels);
    }
    calibration(ui, cx, reading);
    ui.add_space(theme.space().m);
}

/// The icon of a kind of shape.
pub fn icon_of(kind: ShapeKind) -> Icon {
    match kind {
        ShapeKind::Length => Icon::Ruler,
        ShapeKind::Angle => Icon::Angle,
        ShapeKind::Cobb => Icon::Tangent,
        ShapeKind::Bidirectional => Icon::Diameter,
        ShapeKind::Ellipse => Icon::Circle,
        ShapeKind::Rectangle => Icon::Square,
        ShapeKind::Polygon => Icon::Pentagon,
        ShapeKind::Freehand => Icon::Lasso,
        ShapeKind::Point => Icon::LocateFixed,
        ShapeKind::Arrow => Icon::MoveUpLeft,
        ShapeKind::Text => Icon::Type,
    }
}

/// What a shape measures, as far as it is known without reading its file again.
fn measured(
    cx: &Cx<'_>,
    reading: &Reading,
    position: Option<usize>,
    id: ShapeId,
    shape: &Shape,
) -> Option<std::sync::Arc<Measured>> {
    let by_hand = reading.document.session().calibrations.get(&shape.instance).copied();
    let loaded = position.filter(|position| *position == reading.view.position).and_then(|p| reading.key_at(p));
    if let Some(key) = loaded
        && let FrameState::Ready(loaded) = cx.images.frame(&key)
    {
        let frame = loaded.frame();
        return Some(cx.overlays.measured.of(Some(id), shape, frame, by_hand, Unit::usual(frame)));
    }
    cx.overlays.measured.known(id, shape, by_hand)
}

fn row(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, position: Option<usize>, id: ShapeId, shape: &Shape) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let selected = cx.state.drawing.selected == Some(id);
    let measured = measured(cx, reading, position, id, shape);
    let values = measured.as_ref().map(|measured| measured.caption().join(", ")).unwrap_or_default();
    let title = title(cx, shape);
    let builder = UiBuilder::new().id_salt(("shape", id)).sense(Sense::click());
    let response = ui.scope_builder(builder, |ui| {
        let response = ui.response();
        widgets::card(theme, &response, selected).show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.spacing_mut().item_spacing = vec2(space.s, 2.0);
            ui.spacing_mut().interact_size.y = 0.0;
            ui.horizontal(|ui| {
                ui.set_min_height(theme.size().control);
                let color = shapes::color_of(cx, shape.label.as_deref());
                let color = if theme.dark { color } else { palette.weak };
                ui.label(theme.icon(icon_of(shape.kind), if shape.hidden { palette.faint } else { color }));
                buttons(ui, cx, id, shape, &title);
            });
            let image = position.map_or_else(|| "another file".to_owned(), |at| format!("image {}", at + 1));
            let image = if reading.frame_count() > 1 { image } else { String::new() };
            let origin = if shape.origin.is_some() { "from the model".to_owned() } else { String::new() };
            widgets::caption(ui, theme, text::join([values.clone(), image, origin, shape.certainty.word().to_owned()]));
            if selected {
                shape_card::show(ui, cx, reading, id, shape, measured.as_deref());
            }
        });
    });
    let label = if values.is_empty() { title } else { format!("{title}: {values}") };
    let response = widgets::named(response.response, &label);
    // What was just selected on the image comes into view, once.
    let known = egui::Id::unique("shape that the list has shown");
    let before = ui.data(|data| data.get_temp::<Option<ShapeId>>(known)).flatten();
    if selected && before != Some(id) {
        response.scroll_to_me(None);
        ui.data_mut(|data| data.insert_temp(known, Some(id)));
    }
    if response.clicked() {
        response.request_focus();
        cx.send(Command::Draw(DrawCommand::Jump(id)));
    }
    ui.add_space(space.xs);
}

/// `Length 3`, its own name, or its label, with what was written on it.
pub fn title(cx: &Cx<'_>, shape: &Shape) -> String {
    let label = shape.label.as_deref().and_then(|key| cx.state.drawing.label_of(key));
    let name = match (shape.name.trim(), label) {
        ("", Some(label)) => label.name.clone(),
        ("", None) => shape.kind.name().to_owned(),
        (name, Some(label)) => format!("{name} · {}", label.name),
        (name, None) => name.to_owned(),
    };
    if shape.kind == ShapeKind::Text && !shape.text.is_empty() { format!("{name} “{}”", shape.text) } else { name }
}

fn buttons(ui: &mut Ui, cx: &Cx<'_>, id: ShapeId, shape: &Shape, title: &str) {
    let theme = &cx.theme;
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        if widgets::icon_button(ui, theme, Icon::Trash2, &format!("Delete {title}"), false).clicked() {
            cx.send(Command::Draw(DrawCommand::Delete(id)));
        }
        let (icon, verb) = if shape.hidden { (Icon::EyeOff, "Show") } else { (Icon::Eye, "Hide") };
        if widgets::icon_button(ui, theme, icon, &format!("{verb} {title}"), false).clicked() {
            let changed = Shape { hidden: !shape.hidden, ..shape.clone() };
            cx.send(Command::Draw(DrawCommand::Set(id, Box::new(changed))));
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            let color = if shape.hidden { theme.palette.faint } else { theme.palette.text };
            ui.add(egui::Label::new(RichText::new(title).color(color)).truncate());
        });
    });
}

/// A painted region: label, area, image.
fn painted(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, position: Option<usize>, key: &MaskKey, pixels: &Runs) {
    let theme = &cx.theme;
    let label = cx.state.drawing.label_of(&key.label).map_or(key.label.as_str(), |label| label.name.as_str());
    let frame = position.and_then(|position| reading.key_at(position)).map(|key| cx.images.frame(&key));
    let area = match frame {
        Some(FrameState::Ready(loaded)) => {
            let by_hand = reading.document.session().calibrations.get(&key.instance).copied();
            let scale = PixelScale::of(&loaded.frame().display, by_hand);
            area_in_words(pixels, scale)
        }
        _ => format!("{} px", pixels.count()),
    };
    let name = format!("{label}, painted");
    ui.horizontal(|ui| {
        let color = shapes::color_of(cx, Some(&key.label));
        ui.label(theme.icon(Icon::Brush, if theme.dark { color } else { theme.palette.weak }));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, theme, Icon::Trash2, &format!("Delete {name}"), false).clicked() {
                cx.send(Command::Draw(DrawCommand::Erase(key.clone())));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let image = position.map(|at| format!("image {}", at + 1)).filter(|_| reading.frame_count() > 1);
                let words = text::join([name.clone(), area, image.unwrap_or_default()]);
                let button = egui::Button::new(RichText::new(words).font(theme.small())).frame_when_inactive(false);
                let response = widgets::named(ui.add(button.truncate()), &name);
                if response.clicked() {
                    cx.read(ReadCommand::GoTo(key.instance.clone(), key.frame));
                }
            });
        });
    });
}

/// An area as people read it, with what must be said of its scale.
pub(super) fn area_in_words(pixels: &Runs, scale: PixelScale) -> String {
    let square = pixels.count() as f64 * scale.row * scale.column;
    let caveat = scale.caveat().map(|caveat| format!(" {caveat}")).unwrap_or_default();
    if !scale.is_known() {
        format!("{} px{caveat}", pixels.count())
    } else if square >= 1000.0 {
        format!("{:.2} cm²{caveat}", square / 100.0)
    } else {
        format!("{square:.1} mm²{caveat}")
    }
}

/// What the image in view was calibrated to, and why there is no uptake.
fn calibration(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let theme = &cx.theme;
    let Some((instance, _)) = reading.instance_at(reading.view.position) else { return };
    let instance = instance.key();
    if let Some(spacing) = reading.document.session().calibrations.get(&instance) {
        ui.horizontal(|ui| {
            ui.label(theme.icon(Icon::Scaling, theme.palette.weak));
            let words = format!("Calibrated by hand: {:.4} × {:.4} mm a pixel", spacing.row_mm, spacing.column_mm);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if widgets::icon_button(ui, theme, Icon::X, "Take the calibration back", false).clicked() {
                    cx.send(Command::Draw(DrawCommand::Uncalibrate(instance)));
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| widgets::caption(ui, theme, words));
            });
        });
    }
    let suv = reading.key_at(reading.view.position).and_then(|key| match cx.images.frame(&key) {
        FrameState::Ready(loaded) => loaded.frame().display.suv.clone(),
        _ => None,
    });
    if let Some(Suv::Unknown(reason)) = suv {
        widgets::caption(ui, theme, format!("No SUV: {reason}"));
    }
}

/// Sends a changed copy of a shape as one edit.
pub fn change(cx: &Cx<'_>, id: ShapeId, shape: &Shape, change: impl FnOnce(&mut Shape)) {
    let mut changed = shape.clone();
    change(&mut changed);
    if changed != *shape {
        cx.send(Command::Edit(Edit::SetShape { id, shape: Some(Box::new(changed)) }));
    }
}
