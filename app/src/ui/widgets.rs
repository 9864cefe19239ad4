//! Small parts that panels share.

use eframe::egui::{
    self, Align, Align2, Button, Color32, CornerRadius, FontId, Layout, Pos2, Rect, Response, RichText, Sense, Stroke,
    Ui, UiBuilder, vec2,
};
use lucide_icons::Icon;

use super::Cx;
use crate::keymap::{self, Action};
use crate::state::Lens;
use crate::theme::Theme;

/// The warm or the cool colour of a lens, for panels.
pub fn lens_color(theme: &Theme, lens: Lens) -> Color32 {
    match lens {
        Lens::Local => theme.palette.warm,
        Lens::Global => theme.palette.cool,
    }
}

/// The sign of a lens: its shape differs too, so that colour is not needed to tell them apart.
pub fn lens_icon(lens: Lens) -> Icon {
    match lens {
        Lens::Local => Icon::ScanSearch,
        Lens::Global => Icon::Orbit,
    }
}

/// A square button with an icon. `label` names it for tooltips and screen readers.
pub fn icon_button(ui: &mut Ui, theme: &Theme, icon: Icon, label: &str, selected: bool) -> Response {
    let color = if !ui.is_enabled() {
        theme.palette.faint
    } else if selected {
        theme.palette.text
    } else {
        theme.palette.weak
    };
    let size = theme.size().control;
    let button = Button::new(theme.icon(icon, color))
        .min_size(vec2(size, size))
        .selected(selected)
        .frame_when_inactive(selected)
        .corner_radius(CornerRadius::same(theme.tokens.radius.s));
    let name = label.split("  (").next().unwrap_or(label).to_owned();
    let response = ui.scope(|ui| {
        ui.spacing_mut().button_padding = vec2(theme.space().xs, theme.space().xs);
        ui.add(button)
    });
    named(response.inner, &name).on_hover_text(label)
}

/// A button with the icon, tooltip and key of an action; sends it when clicked.
pub fn action_button(ui: &mut Ui, cx: &Cx<'_>, action: Action, selected: bool) -> Response {
    let icon = keymap::entry(action).and_then(|entry| entry.icon).unwrap_or(Icon::Circle);
    let response = icon_button(ui, &cx.theme, icon, &cx.tooltip(action), selected);
    if response.clicked() {
        cx.act(action);
    }
    response
}

/// A row of a menu with label and key; sends the action when clicked.
pub fn action_menu_item(ui: &mut Ui, cx: &Cx<'_>, action: Action) {
    let Some(entry) = keymap::entry(action) else { return };
    let keys = RichText::new(cx.key(action)).font(cx.theme.small()).color(cx.theme.palette.faint);
    if ui.add(Button::new(entry.label).shortcut_text(keys)).clicked() {
        cx.act(action);
        ui.close();
    }
}

/// Gives an interactive part a name for screen readers and tests.
pub fn named(response: Response, name: &str) -> Response {
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, name));
    response
}

/// How a chip is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChipTone {
    /// A fact.
    Plain,
    /// Something to look at; carries a triangle.
    Warning,
    /// Belongs to the local lens.
    Warm,
    /// Belongs to the global lens.
    Cool,
}

/// A short fact in a rounded box.
pub fn chip(ui: &mut Ui, theme: &Theme, tone: ChipTone, text: &str) -> Response {
    let palette = theme.palette;
    let (fill, color, icon) = match tone {
        ChipTone::Plain => (palette.raised, palette.weak, None),
        ChipTone::Warning => (palette.raised, palette.warning, Some(Icon::TriangleAlert)),
        ChipTone::Warm => (palette.warm_fill, palette.warm, None),
        ChipTone::Cool => (palette.cool_fill, palette.cool, None),
    };
    let frame = egui::Frame::new()
        .fill(fill)
        .stroke(if tone == ChipTone::Plain { theme.line() } else { Stroke::NONE })
        .corner_radius(CornerRadius::same(theme.tokens.radius.s))
        .inner_margin(egui::Margin::symmetric(theme.space().xs as i8 + 1, 1));
    frame
        .show(ui, |ui| {
            ui.spacing_mut().item_spacing.x = theme.space().xs;
            ui.horizontal(|ui| {
                ui.spacing_mut().interact_size.y = 0.0;
                if let Some(icon) = icon {
                    ui.label(theme.icon(icon, color).size(theme.tokens.text.small));
                }
                ui.add(egui::Label::new(RichText::new(text).font(theme.small()).color(color)).truncate());
            });
        })
        .response
}

/// Heading of a part of a panel.
pub fn heading(ui: &mut Ui, theme: &Theme, text: &str) -> Response {
    ui.label(RichText::new(text).size(theme.tokens.text.body).strong().color(theme.palette.text))
}

/// Small secondary text, cut where it does not fit.
pub fn caption(ui: &mut Ui, theme: &Theme, text: impl Into<String>) -> Response {
    ui.add(egui::Label::new(RichText::new(text).font(theme.small()).color(theme.palette.weak)).truncate())
}

/// What to do where there is nothing to show: icon, a line, and what comes next.
pub fn empty(ui: &mut Ui, theme: &Theme, icon: Icon, title: &str, next: &str) {
    ui.vertical_centered(|ui| {
        ui.add_space(theme.space().xl);
        ui.label(theme.icon(icon, theme.palette.faint).size(theme.space().xl));
        ui.add_space(theme.space().xs);
        ui.label(RichText::new(title).color(theme.palette.text));
        ui.label(RichText::new(next).font(theme.small()).color(theme.palette.weak));
        ui.add_space(theme.space().l);
    });
}

/// A key cap: `Ctrl+Z`.
pub fn key_cap(ui: &mut Ui, theme: &Theme, text: &str) {
    egui::Frame::new()
        .fill(theme.palette.window)
        .stroke(theme.line())
        .corner_radius(CornerRadius::same(theme.tokens.radius.s))
        .inner_margin(egui::Margin::symmetric(theme.space().xs as i8 + 1, 0))
        .show(ui, |ui| ui.label(RichText::new(text).font(theme.mono()).color(theme.palette.text)));
}

/// Over white, what is left of it is dark enough for every colour that is written on images (a test of the theme says so).
pub const PLATE_OPACITY: f32 = 0.75;
const PLATE_MARGIN: f32 = 3.0;

/// Text on a dark, clear plate, readable on any image, bright bone included. Returns the box that it covers.
pub fn plated_text(
    painter: &egui::Painter,
    theme: &Theme,
    position: Pos2,
    align: Align2,
    text: impl ToString,
    font: FontId,
    color: Color32,
) -> Rect {
    let halo = theme.viewport().halo;
    let galley = painter.layout_no_wrap(text.to_string(), font, color);
    let rect = align.anchor_size(position, galley.size());
    let plate = rect.expand2(vec2(PLATE_MARGIN, 0.0));
    painter.rect_filled(plate, CornerRadius::same(theme.tokens.radius.s), halo.gamma_multiply(PLATE_OPACITY));
    painter.galley(rect.min, galley, color);
    rect
}

/// The mark of the application: a near lens and a far lens, overlapping.
pub fn mark(ui: &mut Ui, theme: &Theme, height: f32) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(height * 1.5, height), Sense::hover());
    let radius = height * 0.42;
    let width = (height / 12.0).max(1.5);
    let (near, far) = (rect.center() - vec2(height * 0.27, 0.0), rect.center() + vec2(height * 0.27, 0.0));
    let painter = ui.painter();
    painter.circle_stroke(far, radius, Stroke::new(width, theme.palette.cool));
    painter.circle_stroke(near, radius, Stroke::new(width, theme.palette.warm));
    response
}

/// A thin bar that shows a share from 0 to 1.
pub fn bar(ui: &mut Ui, theme: &Theme, share: f32, color: Color32, size: egui::Vec2) -> Response {
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let radius = CornerRadius::same((size.y / 2.0) as u8);
    ui.painter().rect_filled(rect, radius, theme.palette.active);
    let mut filled = rect;
    filled.set_width(rect.width() * share.clamp(0.0, 1.0));
    ui.painter().rect_filled(filled, radius, color);
    response
}

/// A strip of controls below images, filled from the right.
pub fn strip(ui: &mut Ui, theme: &Theme, rect: Rect) -> Ui {
    let space = theme.space();
    ui.painter().rect_filled(rect, 0.0, theme.palette.panel);
    ui.painter().hline(rect.x_range(), rect.top(), theme.line());
    let inner = rect.shrink2(vec2(space.m, 0.0));
    let mut strip = ui.new_child(UiBuilder::new().max_rect(inner).layout(Layout::right_to_left(Align::Center)));
    strip.set_clip_rect(rect.intersect(ui.clip_rect()));
    strip.spacing_mut().item_spacing.x = space.s;
    strip
}

/// The frame of a row of a list that can be chosen: how it is filled and outlined as `response`, which is of the whole row, stands.
pub fn card(theme: &Theme, response: &Response, chosen: bool) -> egui::Frame {
    let (palette, space) = (theme.palette, theme.space());
    let touched = response.hovered() || response.has_focus();
    let fill = match (chosen, touched) {
        (true, _) => palette.active,
        (_, true) => palette.hover,
        _ => palette.raised,
    };
    let border = if response.has_focus() { Stroke::new(theme.size().hairline, palette.focus) } else { theme.line() };
    let radius = CornerRadius::same(theme.tokens.radius.m);
    egui::Frame::new()
        .fill(fill)
        .stroke(border)
        .corner_radius(radius)
        .inner_margin(egui::Margin::symmetric(space.s as i8, space.xs as i8))
}
