//! The bar on the left of the images: tools that measure, annotate and paint, and the label that new things are given.

use eframe::egui::{self, Button, Frame, Margin, Panel, RichText, ScrollArea, Slider, Ui, vec2};
use lucide_icons::Icon;

use super::{Cx, shape_card, shapes, widgets};
use crate::command::Command;
use crate::drawing::{BRUSH_RADIUS, BrushSettings};
use crate::images::FrameState;
use crate::keymap::{self, Action};
use crate::label_editor::LabelCommand;
use crate::mask_commands::{Combination, MaskCommand};
use crate::proposal::TOLERANCE;
use crate::shape_commands::{DrawCommand, tool_of};
use crate::view::Tool;

const TOOLS: &[&[Action]] = &[
    &[Action::ToolLength, Action::ToolBidirectional, Action::ToolAngle, Action::ToolCobb],
    &[Action::ToolEllipse, Action::ToolBox, Action::ToolPolygon, Action::ToolFreehand, Action::ToolLiveWire],
    &[Action::ToolPoint, Action::ToolArrow, Action::ToolText],
    &[Action::ToolBrush, Action::ToolEraser, Action::ToolGrow, Action::ToolSmart],
    &[Action::FillHoles, Action::SmoothMask, Action::CopyToNext, Action::Interpolate],
    &[Action::ToolCalibrate],
];

/// Draws the bar.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    if cx.state.reading.is_none() {
        return;
    }
    let theme = &cx.theme;
    let margin = Margin::symmetric(theme.space().xs as i8, theme.space().s as i8);
    let frame = Frame::new().fill(theme.palette.panel).inner_margin(margin).stroke(theme.line());
    Panel::left("drawing tools")
        .exact_size(theme.size().control + 2.0 * theme.space().xs)
        .resizable(false)
        .show_separator_line(false)
        .frame(frame)
        .show(ui, |ui| {
            ScrollArea::vertical().scroll_bar_visibility(egui::scroll_area::ScrollBarVisibility::AlwaysHidden).show(
                ui,
                |ui| {
                    ui.spacing_mut().item_spacing = vec2(0.0, 2.0);
                    for (index, group) in TOOLS.iter().enumerate() {
                        if index > 0 {
                            line(ui, cx);
                        }
                        for action in *group {
                            let selected = tool_of(*action).is_some_and(|tool| cx.state.tool == Tool::Draw(tool));
                            widgets::action_button(ui, cx, *action, selected);
                        }
                    }
                    combine(ui, cx);
                    line(ui, cx);
                    label(ui, cx);
                    if matches!(cx.state.tool, Tool::Draw(tool) if tool.paints()) {
                        brush(ui, cx);
                    }
                    if matches!(cx.state.tool, Tool::Draw(tool) if tool.grows()) {
                        tolerance(ui, cx);
                    }
                },
            );
        });
}

fn line(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let (rect, _) = ui.allocate_exact_size(vec2(theme.size().control, theme.space().s), egui::Sense::hover());
    ui.painter().hline(rect.x_range().shrink(theme.space().xs), rect.center().y, theme.line());
}

/// Combining the label in hand with others that are painted on the image.
fn combine(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let side = theme.size().control;
    ui.spacing_mut().button_padding = vec2(theme.space().xs, theme.space().xs);
    let button = Button::new(theme.icon(Icon::SquaresUnite, theme.palette.weak)).min_size(vec2(side, side));
    let menu = egui::containers::menu::MenuButton::from_button(button.frame_when_inactive(false));
    let (response, _) = menu.ui(ui, |ui| {
        ui.spacing_mut().button_padding = vec2(theme.space().s, theme.space().xs);
        ui.set_min_width(260.0);
        let drawing = &cx.state.drawing;
        let name = |key: &str| drawing.label_of(key).map_or_else(|| key.to_owned(), |label| label.name.clone());
        let own = drawing.label_or_first().unwrap_or_default();
        widgets::caption(ui, theme, format!("Mask of {} on this image", name(own)));
        let others: Vec<&str> = (cx.state.reading.as_ref())
            .and_then(|reading| {
                let (instance, frame) = reading.instance_at(reading.view.position)?;
                let key = instance.key();
                let masks = reading.document.session().masks.keys();
                let here = masks.filter(|mask| mask.instance == key && mask.frame == frame && mask.label != own);
                Some(here.map(|mask| mask.label.as_str()).collect())
            })
            .unwrap_or_default();
        if others.is_empty() {
            widgets::caption(ui, theme, "No other label is painted here.");
        }
        for (how, action) in Combination::ALL {
            match others.as_slice() {
                [] | [_] => widgets::action_menu_item(ui, cx, action),
                _ => {
                    let words = keymap::entry(action).map_or("", |entry| entry.label);
                    ui.menu_button(words, |ui| {
                        for other in &others {
                            if ui.button(name(other)).clicked() {
                                let command = MaskCommand::Combine(how, Some((*other).to_owned()));
                                cx.send(Command::Draw(DrawCommand::Mask(command)));
                                ui.close();
                            }
                        }
                    });
                }
            }
        }
        ui.separator();
        widgets::action_menu_item(ui, cx, Action::CopyToPrevious);
    });
    widgets::named(response, "Combine masks").on_hover_text("Combine with another label's mask");
}

/// The label that new shapes and paint are given.
fn label(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let side = theme.size().control;
    let drawing = &cx.state.drawing;
    let chosen = drawing.label.as_deref();
    let name = chosen.and_then(|key| drawing.label_of(key)).map_or("no label", |label| label.name.as_str());
    let color = if chosen.is_some() && theme.dark { shapes::color_of(cx, chosen) } else { theme.palette.weak };
    let button =
        Button::new(theme.icon(Icon::Tag, color)).min_size(vec2(side, side)).frame_when_inactive(chosen.is_some());
    ui.spacing_mut().button_padding = vec2(theme.space().xs, theme.space().xs);
    let menu = egui::containers::menu::MenuButton::from_button(button);
    let (response, _) = menu.ui(ui, |ui| {
        ui.spacing_mut().button_padding = vec2(theme.space().s, theme.space().xs);
        ui.set_min_width(220.0);
        widgets::caption(ui, theme, format!("Label of what is drawn next  ·  {}", drawing.taxonomy.name));
        shape_card::label_items(ui, cx, chosen, &mut |label| {
            cx.send(Command::Draw(DrawCommand::Label(label)));
        });
        if drawing.sets.len() > 1 {
            ui.separator();
            widgets::caption(ui, theme, "Set of labels");
            for set in &drawing.sets {
                let used = set.file == cx.state.settings.labels;
                if ui.radio(used, &set.labels.name).clicked() && !used {
                    cx.send(Command::Labels(LabelCommand::Use(set.file.clone())));
                }
            }
        }
        ui.separator();
        if ui.button("Edit labels…").clicked() {
            cx.send(Command::Labels(LabelCommand::Open));
            ui.close();
        }
        let again = Button::new(RichText::new("Read the file of labels again").font(theme.small()));
        let tip = "For labels that were changed by another program; the file lies beside the settings";
        if ui.add_enabled(cx.state.work.is_none(), again).on_hover_text(tip).clicked() {
            cx.send(Command::Draw(DrawCommand::ReloadLabels));
        }
    });
    widgets::named(response, "Label of new shapes").on_hover_text(format!("Label of what is drawn next: {name}"));
}

/// Size of the brush, and which values it paints.
fn brush(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let side = theme.size().control;
    let brush = cx.state.drawing.brush;
    let words = RichText::new(format!("{:.1}", brush.radius)).font(theme.small()).color(theme.palette.text);
    let button = Button::new(words).min_size(vec2(side, side)).frame_when_inactive(true);
    let config =
        egui::containers::menu::MenuConfig::new().close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    let menu = egui::containers::menu::MenuButton::from_button(button).config(config);
    let (response, _) = menu.ui(ui, |ui| {
        ui.set_min_width(230.0);
        let send = |brush: BrushSettings| cx.send(Command::Draw(DrawCommand::Brush(brush)));
        widgets::caption(ui, theme, "Radius of the brush, mm (pixels without spacing)");
        let mut radius = brush.radius;
        let slider = Slider::new(&mut radius, BRUSH_RADIUS.0..=BRUSH_RADIUS.1).logarithmic(true).max_decimals(1);
        if ui.add(slider).accessible_name("Radius of the brush").changed() {
            send(BrushSettings { radius, ..brush });
        }
        let mut limited = brush.range.is_some();
        if ui.checkbox(&mut limited, "Only values in a range").changed() {
            send(BrushSettings { range: limited.then(|| window_range(cx)), ..brush });
        }
        if let Some((low, high)) = brush.range {
            ui.horizontal(|ui| {
                let (mut low, mut high) = (low, high);
                let first = ui.add(egui::DragValue::new(&mut low)).accessible_name("Lowest value painted");
                ui.label("to");
                let second = ui.add(egui::DragValue::new(&mut high)).accessible_name("Highest value painted");
                if first.changed() || second.changed() {
                    send(BrushSettings { range: Some((low.min(high), high.max(low))), ..brush });
                }
            });
        }
    });
    let range = brush.range.map(|(low, high)| format!(", values {low:.0} to {high:.0}")).unwrap_or_default();
    let keys = step_keys(cx);
    let tip = format!("Brush of {:.1} mm radius{range}{keys}", brush.radius);
    widgets::named(response, "Brush settings").on_hover_text(tip);
}

/// The keys that make the brush or the tolerance smaller and larger.
fn step_keys(cx: &Cx<'_>) -> String {
    let keys: Vec<String> = [Action::BrushSmaller, Action::BrushLarger]
        .map(|action| cx.key(action))
        .into_iter()
        .filter(|key| !key.is_empty())
        .collect();
    if keys.is_empty() { String::new() } else { format!("  ({})", keys.join(" and ")) }
}

/// How far regions grow.
fn tolerance(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let side = theme.size().control;
    let tolerance = cx.state.drawing.tolerance;
    let percent = |share: f64| format!("{:.0}", 100.0 * share);
    let words = RichText::new(percent(tolerance)).font(theme.small()).color(theme.palette.text);
    let button = Button::new(words).min_size(vec2(side, side)).frame_when_inactive(true);
    let config =
        egui::containers::menu::MenuConfig::new().close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    let menu = egui::containers::menu::MenuButton::from_button(button).config(config);
    let (response, _) = menu.ui(ui, |ui| {
        ui.set_min_width(230.0);
        widgets::caption(ui, theme, "Tolerance, per cent of the image's range of values");
        let mut share = tolerance;
        let slider = Slider::new(&mut share, TOLERANCE.0..=TOLERANCE.1).logarithmic(true).max_decimals(3);
        if ui.add(slider).accessible_name("Tolerance").changed() {
            cx.send(Command::Draw(DrawCommand::Tolerance(share)));
        }
    });
    let tip =
        format!("How far from the clicked value a region grows; Ctrl+wheel or a drag change it too{}", step_keys(cx));
    widgets::named(response, "Tolerance of growing").on_hover_text(tip);
}

/// The values that the window in use shows between black and white: what a range begins with.
fn window_range(cx: &Cx<'_>) -> (f64, f64) {
    let reading = cx.state.reading.as_ref();
    let key = reading.and_then(|reading| reading.key_at(reading.view.position));
    match (reading, key.map(|key| cx.images.frame(&key))) {
        (Some(reading), Some(FrameState::Ready(loaded))) => {
            let window = loaded.window_of(&loaded.voi(&reading.view.window, false));
            ((window.center - window.width / 2.0).round(), (window.center + window.width / 2.0).round())
        }
        _ => (0.0, 1.0),
    }
}
