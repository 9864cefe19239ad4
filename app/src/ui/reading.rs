//! The middle of the reading screen: the lenses, and the line below them that moves through the series.

use eframe::egui::{self, Align, CentralPanel, Frame, Key, Rect, RichText, Sense, Slider, Ui, UiBuilder, pos2, vec2};
use lucide_icons::Icon;

use super::{Cx, fusion, grid, lenses, planes, widgets};
use crate::command::Command;
use crate::desk::Layout;
use crate::keymap::Action;
use crate::state::Reading;
use crate::view::ViewEdit;

/// Draws the middle; returns whether an image was shown.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) -> bool {
    let theme = &cx.theme;
    let mut shown = false;
    CentralPanel::default().frame(Frame::new().fill(theme.viewport().background)).show(ui, |ui| {
        let rect = ui.available_rect_before_wrap();
        let Some(reading) = &cx.state.reading else {
            match grid::shape(cx.state.settings.layout) {
                // An empty viewport is the active one.
                Some(shape) if cx.state.desk.panes.iter().any(Option::is_some) => {
                    shown = grid::show(ui, cx, shape, rect);
                }
                _ => nothing(ui, cx),
            }
            ui.allocate_rect(rect, Sense::hover());
            return;
        };
        let layout = cx.state.settings.layout;
        // Planes are moved by hand, wheel and keys: they have no place in the series.
        let has_line = reading.frame_count() > 1 && cx.state.planes_in_front().is_none();
        let line = if has_line { theme.size().lens_header } else { 0.0 };
        let strip = if cx.state.fusion.is_some() { theme.size().lens_header } else { 0.0 };
        let images = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - line - strip));
        cx.overlays.area.set(images);
        shown = match (layout, grid::shape(layout)) {
            (_, Some(shape)) => grid::show(ui, cx, shape, images),
            (Layout::Planes, _) => planes::show(ui, cx, reading, images),
            _ => lenses::show(ui, cx, reading, images),
        };
        if let Some(fused) = &cx.state.fusion {
            let below = Rect::from_min_size(images.left_bottom(), vec2(rect.width(), strip));
            fusion::strip(ui, cx, reading, fused, below);
        }
        if line > 0.0 {
            let below = Rect::from_min_max(pos2(rect.left(), images.bottom() + strip), rect.max);
            series_line(ui, cx, reading, below);
        }
        ui.allocate_rect(rect, Sense::hover());
    });
    shown
}

fn nothing(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let reading_headers = !cx.jobs.is_empty();
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.3);
        let icon = if reading_headers { Icon::FolderSearch } else { Icon::ImageOff };
        ui.label(theme.icon(icon, theme.viewport().weak).size(theme.space().xl));
        ui.add_space(theme.space().s);
        let (title, next) = if reading_headers {
            ("Reading headers", "The status bar says how far it is, and stops it.")
        } else if cx.state.library.problems.is_empty() {
            ("No image to show", "Nothing was found there. Drop files here, or open a folder.")
        } else {
            ("No image to show", "The list on the left says which files were refused, and why.")
        };
        ui.label(RichText::new(title).size(theme.tokens.text.title).color(theme.viewport().text));
        ui.label(RichText::new(next).color(theme.viewport().weak));
        ui.add_space(theme.space().l);
        if !reading_headers && ui.button("Open folder").clicked() {
            cx.act(Action::OpenFolder);
        }
    });
}

fn series_line(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, rect: Rect) {
    let theme = &cx.theme;
    let space = theme.space();
    ui.painter().rect_filled(rect, 0.0, theme.palette.panel);
    ui.painter().hline(rect.x_range(), rect.top(), theme.line());
    let inner = rect.shrink2(vec2(space.m, 0.0));
    let mut child = ui.new_child(UiBuilder::new().max_rect(inner).layout(egui::Layout::left_to_right(Align::Center)));
    let ui = &mut child;
    ui.spacing_mut().item_spacing.x = space.s;
    let playing = reading.view.cine;
    let icon = if playing.is_some() { Icon::Pause } else { Icon::Play };
    let tooltip = cx.tooltip(Action::Cine);
    if widgets::icon_button(ui, theme, icon, &tooltip, playing.is_some()).clicked() {
        cx.act(Action::Cine);
    }
    if let Some(cine) = playing {
        let mut speed = cine.frames_per_second;
        let field = egui::DragValue::new(&mut speed).range(1.0..=60.0).speed(0.25).suffix(" /s").max_decimals(0);
        if ui.add(field).accessible_name("Images a second").changed() {
            cx.send(Command::View(ViewEdit::CineSpeed(speed)));
        }
    }
    let count = reading.frame_count();
    let digits = count.to_string().len();
    let label = format!("{:>digits$} / {count}", reading.view.position + 1);
    ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
        ui.label(RichText::new(label).font(theme.mono()).color(theme.palette.text));
        let mut position = reading.view.position;
        ui.spacing_mut().slider_width = ui.available_width() - space.s;
        let slider = Slider::new(&mut position, 0..=count.saturating_sub(1)).show_value(false);
        let response = ui.add(slider).accessible_name("Image of the series");
        if response.changed() {
            cx.send(Command::View(ViewEdit::Position(position)));
        }
        // The arrow keys belong to the images, not to the slider.
        if response.has_focus() && !ui.input(|input| input.key_down(Key::Tab)) {
            response.surrender_focus();
        }
    });
}
