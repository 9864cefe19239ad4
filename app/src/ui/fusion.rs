//! The series that is laid over: its menu, its strip of controls, its picture on images and planes.

use std::sync::Arc;

use bifocal_core::render::Colormap;
use bifocal_core::study::Series;
use bifocal_core::volume::{Plane, Vector, Volume};
use eframe::egui::{
    self, Align, Button, DragValue, Layout, Painter, Rect, RichText, Slider, Ui, containers::menu, vec2,
};
use lucide_icons::Icon;

use super::layers::{self, ColorBar};
use super::{Cx, lens_controls, text, widgets};
use crate::command::Command;
use crate::fusion::{FusedVolume, Fusion, FusionCommand};
use crate::images::LoadedFrame;
use crate::jobs::JobKind;
use crate::keymap::Action;
use crate::state::Reading;
use crate::view::{ImagePoint, ScreenFromImage};

fn send(cx: &Cx<'_>, command: FusionCommand) {
    cx.send(Command::Fusion(command));
}

fn title(series: &Series) -> String {
    text::join([series.modality.clone(), text::series_title(series)])
}

/// The button of the bar above the images, with the patient's other series.
pub fn menu(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let side = theme.size().control;
    let color = if cx.state.fusion.is_some() { theme.palette.text } else { theme.palette.weak };
    let chevron = theme.icon(Icon::ChevronDown, theme.palette.weak).size(theme.tokens.text.body);
    let button = Button::new((theme.icon(Icon::Blend, color), chevron)).min_size(vec2(side, side));
    let (response, _) = menu::MenuButton::from_button(button).ui(ui, |ui| {
        ui.set_min_width(260.0);
        ui.set_max_width(340.0);
        widgets::caption(ui, theme, "Lay over the series in view");
        let keys = RichText::new(cx.key(Action::LayOver)).font(theme.small()).color(theme.palette.faint);
        let nothing = Button::selectable(cx.state.fusion.is_none(), "Nothing").shortcut_text(keys);
        if ui.add(nothing).clicked() {
            send(cx, FusionCommand::Remove);
            ui.close();
        }
        let candidates = cx.state.fusion_candidates();
        if candidates.is_empty() {
            widgets::caption(ui, theme, "The patient has no other series with images here.");
        }
        let laid = cx.state.fusion.as_ref().and_then(Fusion::series).map(Series::reading_uid);
        for candidate in candidates {
            let study = cx.state.library.studies.get(candidate.study);
            let Some(series) = study.and_then(|study| study.series.get(candidate.series)) else { continue };
            let chosen = laid.as_ref() == Some(&series.reading_uid());
            let row = Button::selectable(chosen, title(series)).truncate();
            let response = ui.add_enabled(candidate.obstacle.is_none(), row);
            if let Some(obstacle) = candidate.obstacle {
                let why = RichText::new(obstacle).font(theme.small()).color(theme.palette.weak);
                ui.add(egui::Label::new(why).wrap());
            } else if response.clicked() {
                send(cx, FusionCommand::Lay { study: candidate.study, series: candidate.series });
                ui.close();
            }
        }
    });
    widgets::named(response, "Lay a series over").on_hover_text("Lay another series over: PET over CT");
}

/// Opacity, range and colours of what is laid over; says what stands in the way.
pub fn strip(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, fusion: &Fusion, rect: Rect) {
    let theme = &cx.theme;
    let ui = &mut widgets::strip(ui, theme, rect);
    if widgets::icon_button(ui, theme, Icon::X, "Take the series off", false).clicked() {
        send(cx, FusionCommand::Remove);
    }
    let obstacle = reading.series().and_then(|base| fusion.obstacle(base));
    let words = match (&fusion.volume, obstacle) {
        (_, Some(obstacle)) => Some((format!("Not laid over this series. {obstacle}"), true)),
        (FusedVolume::Failed(cause), None) => Some((format!("Cannot be laid over: {cause}."), true)),
        (FusedVolume::Building, None) => Some(("Building the volume to lay over".to_owned(), false)),
        (FusedVolume::Ready(_), None) => None,
    };
    if let (FusedVolume::Ready(volume), None) = (&fusion.volume, &words) {
        controls(ui, cx, fusion, volume);
    }
    if matches!(fusion.volume, FusedVolume::Building) && ui.small_button("Cancel").clicked() {
        cx.send(Command::CancelJob(JobKind::Fusion));
    }
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.label(theme.icon(Icon::Blend, theme.palette.weak));
        let name = fusion.series().map(title).unwrap_or_default();
        let (_, without_suv) = fusion.units();
        let (words, warns) = match (words, without_suv) {
            (Some((words, warns)), _) => (words, warns),
            (None, Some(reason)) => (format!("No SUV: {reason}"), true),
            (None, None) => (String::new(), false),
        };
        let color = if warns { theme.palette.warning } else { theme.palette.weak };
        let name = RichText::new(name).font(theme.small()).color(theme.palette.text);
        let full = format!("{}  {words}", name.text());
        // The words matter more than the name where there is no room for both.
        if ui.available_width() > 220.0 || !warns {
            ui.add(egui::Label::new(name).truncate()).on_hover_text(&full);
        }
        ui.add(egui::Label::new(RichText::new(words).font(theme.small()).color(color)).truncate()).on_hover_text(full);
    });
}

/// From right to left: colours, range, opacity.
fn controls(ui: &mut Ui, cx: &Cx<'_>, fusion: &Fusion, volume: &Volume) {
    let theme = &cx.theme;
    let style = fusion.style;
    let chevron = theme.icon(Icon::Palette, theme.palette.weak).size(theme.tokens.text.body);
    let (response, _) = menu::MenuButton::from_button(Button::new(chevron)).ui(ui, |ui| {
        ui.set_min_width(220.0);
        for map in [Colormap::HotIron, Colormap::Ember, Colormap::Lagoon, Colormap::Meadow, Colormap::Gray] {
            if lens_controls::colormap_item(ui, cx, map, map == style.colormap).clicked() {
                send(cx, FusionCommand::Style(bifocal_core::render::HeatStyle { colormap: map, ..style }));
                ui.close();
            }
        }
    });
    widgets::named(response, "Colours of the series laid over").on_hover_text("Colours");
    let mut range = style.range;
    let speed = f64::from(range[1] - range[0]) / 200.0;
    let decimals = if range[1] - range[0] < 100.0 { 1 } else { 0 };
    let mut field = |ui: &mut Ui, end: usize, name: &str| {
        let value = DragValue::new(&mut range[end]).speed(speed).max_decimals(decimals);
        ui.add(value).accessible_name(name).on_hover_text(name).changed()
    };
    widgets::caption(ui, theme, &volume.display.units);
    let upper = field(ui, 1, "Value with the last colour");
    widgets::caption(ui, theme, "to");
    let lower = field(ui, 0, "Value with the first colour, clear below");
    if upper || lower {
        // The end that is dragged stops short of the other.
        let least = 0.01 * (style.range[1] - style.range[0]);
        let range =
            if upper { [range[0], range[1].max(range[0] + least)] } else { [range[0].min(range[1] - least), range[1]] };
        send(cx, FusionCommand::Style(style.between(range)));
    }
    let narrow = ui.available_width() < 380.0;
    ui.label(RichText::new(format!("{:.2}", style.opacity)).font(theme.mono()).color(theme.palette.text));
    let mut opacity = style.opacity;
    ui.spacing_mut().slider_width = if narrow { 64.0 } else { 120.0 };
    let slider = ui.add(Slider::new(&mut opacity, 0.0..=1.0).show_value(false));
    let keys = [Action::OverlayFainter, Action::OverlayStronger, Action::Overlays].map(|action| cx.tooltip(action));
    let tip = keys.join("\n");
    if slider.accessible_name("Opacity of the series laid over").on_hover_text(tip).changed() {
        send(cx, FusionCommand::Style(bifocal_core::render::HeatStyle { opacity, ..style }));
    }
    if !narrow {
        widgets::caption(ui, theme, "Opacity");
    }
    if !volume.notes.is_empty() {
        let notes = volume.notes.join("  ·  ");
        ui.label(theme.icon(Icon::Info, theme.palette.weak).size(theme.tokens.text.body)).on_hover_text(notes);
    }
}

/// Draws what is laid over a frame.
pub fn paint_on_frame(painter: &Painter, cx: &Cx<'_>, reading: &Reading, map: &ScreenFromImage, frame: &LoadedFrame) {
    let Some((volume, style)) = shown_over(cx, reading) else { return };
    let shape = frame.frame().shape();
    let Some(plane) = Plane::of_frame(&frame.frame().display, shape) else { return };
    let laid = volume.plane_over(&plane);
    let values = cx.overlays.sampled(volume, &laid);
    let layer = cx.overlays.layer(&values, style);
    // Blocks of the frame's own pixels.
    let block = (laid.spacing_mm / plane.spacing_mm) as f32;
    let (bottom, right) = (layer.covers.0 as f32 * block - 0.5, layer.covers.1 as f32 * block - 0.5);
    let corners = [(-0.5, -0.5), (-0.5, right), (bottom, right), (bottom, -0.5)].map(|corner| map.row_column(corner));
    let image = Rect::from_points(&map.corners(shape));
    layers::layer(&painter.with_clip_rect(image.intersect(painter.clip_rect())), &layer, corners);
}

/// Draws what its colours mean; `place` bars are to the left.
pub fn paint_bar(painter: &Painter, cx: &Cx<'_>, reading: &Reading, pane: Rect, place: usize) {
    let Some(fusion) = cx.state.fusion.as_ref().filter(|_| shown_over(cx, reading).is_some()) else { return };
    let modality = fusion.series().map(|series| series.modality.clone()).unwrap_or_default();
    let (units, without_suv) = fusion.units();
    let title = text::join([modality, units, without_suv.map(|_| "no SUV".to_owned()).unwrap_or_default()]);
    let [low, high] = fusion.style.range;
    let ticks = [low, 0.5 * (low + high), high];
    ColorBar { style: &fusion.style, title: &title, ticks: &ticks, mark: None, place }.paint(painter, cx, pane);
}

/// What is laid over the series that is read, where it is shown.
pub fn shown_over<'a>(
    cx: &'a Cx<'_>,
    reading: &Reading,
) -> Option<(&'a Arc<Volume>, &'a bifocal_core::render::HeatStyle)> {
    cx.state.fused_over(reading.series()?).filter(|_| reading.view.overlays)
}

/// The value laid over a patient position, with its unit; empty where there is none.
pub fn value_at(cx: &Cx<'_>, reading: &Reading, point: Vector) -> String {
    let Some((volume, _)) = shown_over(cx, reading) else { return String::new() };
    let value = volume.nearest_value(point);
    value
        .map(|value| format!("{} {}", text::value(value), volume.display.units).trim_end().to_owned())
        .unwrap_or_default()
}

/// The value laid over a pixel of a frame.
pub fn value_on_frame(cx: &Cx<'_>, reading: &Reading, frame: &LoadedFrame, point: Option<ImagePoint>) -> String {
    let (Some(point), Some(plane)) = (point, Plane::of_frame(&frame.frame().display, frame.frame().shape())) else {
        return String::new();
    };
    value_at(cx, reading, plane.patient_from_pixel(f64::from(point.row), f64::from(point.column)))
}
