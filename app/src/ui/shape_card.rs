//! Everything about the shape that is selected: name, label, note, numbers, histogram or profile.

use bifocal_core::annotation::{Certainty, Measured, Shape, ShapeId, Values, readable_value};
use bifocal_core::measure::{Histogram, PixelScale, Profile, Statistics};
use eframe::egui::{
    self, Align2, Atom, Button, Color32, ComboBox, CornerRadius, Grid, Pos2, Rect, RichText, Sense, Shape as Drawn,
    Stroke, StrokeKind, TextEdit, Ui, pos2, vec2,
};
use lucide_icons::Icon;

use super::{Cx, annotations, shapes, widgets};
use crate::reader::ReadCommand;
use crate::state::Reading;

const PLOT_HEIGHT: f32 = 76.0;

/// Draws the card into its row.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, _reading: &Reading, id: ShapeId, shape: &Shape, measured: Option<&Measured>) {
    let theme = &cx.theme;
    ui.add_space(theme.space().xs);
    ui.spacing_mut().interact_size.y = theme.size().control;
    fields(ui, cx, id, shape);
    let Some(measured) = measured else {
        widgets::caption(ui, theme, "Show its image to measure it");
        return;
    };
    if let Some(kind) = measured.scale
        && let Some(explanation) = (PixelScale { row: 1.0, column: 1.0, kind }).explanation()
    {
        note(ui, cx, explanation);
    }
    ui.spacing_mut().interact_size.y = 0.0;
    numbers(ui, cx, id, measured);
    match &measured.values {
        Some(Ok(Values::Region(statistics))) => histogram(ui, cx, shape, statistics),
        Some(Ok(Values::Line(profile))) => line_profile(ui, cx, shape, profile, measured),
        Some(Err(reason)) => note(ui, cx, reason),
        _ => {}
    }
}

fn note(ui: &mut Ui, cx: &Cx<'_>, words: &str) {
    let theme = &cx.theme;
    ui.horizontal_top(|ui| {
        ui.spacing_mut().interact_size.y = 0.0;
        ui.label(theme.icon(Icon::TriangleAlert, theme.palette.warning).size(theme.tokens.text.body));
        let words = RichText::new(words).font(theme.small()).color(theme.palette.text);
        ui.add(egui::Label::new(words).wrap());
    });
}

fn fields(ui: &mut Ui, cx: &Cx<'_>, id: ShapeId, shape: &Shape) {
    let theme = &cx.theme;
    let width = ui.available_width();
    let mut name = cx.state.shape_name(id, shape);
    let hint = RichText::new(shape.kind.name()).color(theme.palette.faint);
    let field = ui.add(TextEdit::singleline(&mut name).hint_text(hint).desired_width(width));
    let field = field.accessible_name("Name of the shape");
    if field.changed() {
        cx.read(ReadCommand::ShapeName(id, name));
    }
    let mut words = cx.state.shape_text(id, shape);
    let note = ui.add(TextEdit::singleline(&mut words).hint_text("Note").desired_width(width));
    let note = note.accessible_name("Note on the shape");
    if note.changed() {
        cx.read(ReadCommand::ShapeText(id, words));
    }
    if field.lost_focus() || note.lost_focus() {
        cx.read(ReadCommand::TextDone);
    }
    ui.horizontal(|ui| {
        let half = (width - theme.space().s) / 2.0;
        label_menu(ui, cx, "Label of the shape", shape.label.as_deref(), half, |label| {
            annotations::change(cx, id, shape, |shape| shape.label = label);
        });
        let word = Certainty::ALL.iter().find(|(c, _)| *c == shape.certainty).map_or("", |(_, word)| word);
        let certainty = ComboBox::from_id_salt(("certainty", id)).width(half).selected_text(small(cx, word)).truncate();
        let response = certainty.show_ui(ui, |ui| {
            for (certainty, word) in Certainty::ALL {
                if ui.add(Button::selectable(certainty == shape.certainty, word)).clicked() {
                    annotations::change(cx, id, shape, |shape| shape.certainty = certainty);
                }
            }
        });
        widgets::named(response.response, "Certainty");
    });
}

fn small(cx: &Cx<'_>, text: &str) -> RichText {
    RichText::new(text).font(cx.theme.small()).color(cx.theme.palette.text)
}

/// A menu of all labels, none among them.
pub fn label_menu(
    ui: &mut Ui,
    cx: &Cx<'_>,
    name: &str,
    chosen: Option<&str>,
    width: f32,
    mut choose: impl FnMut(Option<String>),
) {
    let word = match chosen {
        None => "no label".to_owned(),
        Some(key) => cx.state.drawing.label_of(key).map_or(key.to_owned(), |label| label.name.clone()),
    };
    let combo = ComboBox::from_id_salt(name.to_owned()).width(width).selected_text(small(cx, &word)).truncate();
    let response = combo.show_ui(ui, |ui| label_items(ui, cx, chosen, &mut choose));
    widgets::named(response.response, name);
}

/// Rows of a menu with all labels.
pub fn label_items(ui: &mut Ui, cx: &Cx<'_>, chosen: Option<&str>, choose: &mut dyn FnMut(Option<String>)) {
    let theme = &cx.theme;
    if ui.add(Button::selectable(chosen.is_none(), "no label")).clicked() {
        choose(None);
    }
    for label in &cx.state.drawing.taxonomy.labels {
        let [r, g, b] = label.rgb();
        let digit = label.digit.map(|digit| digit.to_string()).unwrap_or_default();
        let (radius, line) = (CornerRadius::same(theme.tokens.radius.s), theme.line());
        let dot = Atom::paint(egui::Vec2::splat(theme.tokens.text.small), move |ui, args| {
            ui.painter().rect(args.rect, radius, Color32::from_rgb(r, g, b), line, StrokeKind::Inside);
        });
        let keys = RichText::new(digit).font(theme.small()).color(theme.palette.faint);
        let name = RichText::new(&label.name).color(theme.palette.text);
        let button = Button::selectable(chosen == Some(label.key.as_str()), (dot, name)).shortcut_text(keys);
        let response = widgets::named(ui.add(button), &label.name);
        let response = match &label.concept {
            Some(concept) => {
                response.on_hover_text(format!("{} {}, {}", concept.scheme, concept.value, concept.meaning))
            }
            None => response,
        };
        if response.clicked() {
            choose(Some(label.key.clone()));
        }
    }
}

/// Sizes and statistics, two columns of pairs.
fn numbers(ui: &mut Ui, cx: &Cx<'_>, id: ShapeId, measured: &Measured) {
    let mut pairs: Vec<(String, String)> =
        measured.sizes.iter().map(|size| (size.quantity.to_owned(), size.readable())).collect();
    match &measured.values {
        Some(Ok(Values::Region(s))) => {
            let value = |value: f64| format!("{} {}", readable_value(value), s.units).trim_end().to_owned();
            for (name, number) in [("mean", s.mean), ("SD", s.sd), ("min", s.min), ("median", s.median), ("max", s.max)]
            {
                pairs.push((name.to_owned(), value(number)));
            }
            pairs.push(("pixels".to_owned(), s.count.to_string()));
            if s.padding > 0 {
                pairs.push(("padding".to_owned(), format!("{} px left out", s.padding)));
            }
        }
        Some(Ok(Values::Point(value))) => pairs.push(("value".to_owned(), value.readable())),
        _ => {}
    }
    let theme = &cx.theme;
    Grid::new(("numbers", id)).num_columns(4).spacing(vec2(theme.space().s, 2.0)).show(ui, |ui| {
        for two in pairs.chunks(2) {
            for (name, number) in two {
                ui.label(RichText::new(name).font(theme.small()).color(theme.palette.weak));
                let label = ui.label(RichText::new(number).font(theme.small()).color(theme.palette.text));
                label.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, format!("{name} {number}")));
            }
            ui.end_row();
        }
    });
}

/// Room for a plot with its ends written below.
fn plot(ui: &mut Ui, cx: &Cx<'_>, name: &str, ends: [String; 2], high: String) -> (Rect, egui::Response) {
    let theme = &cx.theme;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), PLOT_HEIGHT), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, name));
    let line = theme.tokens.text.small + 2.0;
    let inner = Rect::from_min_max(rect.min + vec2(0.0, 2.0), rect.max - vec2(0.0, line));
    let painter = ui.painter();
    painter.rect_filled(inner, 0.0, theme.palette.window);
    let text = |at: Pos2, align: Align2, words: String| {
        painter.text(at, align, words, theme.small(), theme.palette.weak);
    };
    let [low_end, high_end] = ends;
    text(rect.left_bottom(), Align2::LEFT_BOTTOM, low_end);
    text(rect.right_bottom(), Align2::RIGHT_BOTTOM, high_end);
    text(inner.right_top() + vec2(-2.0, 1.0), Align2::RIGHT_TOP, high);
    (inner, response)
}

fn histogram(ui: &mut Ui, cx: &Cx<'_>, shape: &Shape, statistics: &Statistics) {
    let Histogram { from, width, counts } = &statistics.histogram;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let with = |value: f64| format!("{} {}", readable_value(value), statistics.units).trim_end().to_owned();
    let ends = [with(statistics.min), with(statistics.max)];
    let (rect, response) = plot(ui, cx, "Histogram", ends, format!("{most} px"));
    let color = shapes::color_of(cx, shape.label.as_deref());
    let color = if cx.theme.dark { color } else { cx.theme.palette.weak };
    let step = rect.width() / counts.len().max(1) as f32;
    for (index, count) in counts.iter().enumerate() {
        let height = rect.height() * (*count as f32 / most as f32);
        let left = rect.left() + step * index as f32;
        let bar =
            Rect::from_min_max(pos2(left, rect.bottom() - height), pos2(left + (step - 0.5).max(0.5), rect.bottom()));
        ui.painter().rect_filled(bar, 0.0, color);
    }
    if let Some(at) = response.hover_pos() {
        let bin = ((at.x - rect.left()) / step).max(0.0) as usize;
        if let Some(count) = counts.get(bin) {
            let low = from + width * bin as f64;
            let words = format!("{} to {}: {count} px", readable_value(low), with(low + width));
            response.on_hover_text_at_pointer(words);
        }
    }
}

fn line_profile(ui: &mut Ui, cx: &Cx<'_>, shape: &Shape, profile: &Profile, measured: &Measured) {
    let known: Vec<f64> = profile.values.iter().flatten().copied().collect();
    let low = known.iter().copied().fold(f64::INFINITY, f64::min);
    let high = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let Some(length) = profile.positions.last().copied().filter(|_| low <= high) else { return };
    let with = |value: f64| format!("{} {}", readable_value(value), profile.units).trim_end().to_owned();
    let unit = measured.sizes.first().map_or("px", |size| size.unit.as_str());
    let (rect, response) = plot(ui, cx, "Line profile", [with(low), format!("{length:.1} {unit}")], with(high));
    let inner = rect.shrink2(vec2(1.0, 3.0));
    let span = (high - low).max(1e-9);
    let at = |position: f64, value: f64| {
        let x = inner.left() + inner.width() * (position / length.max(1e-9)) as f32;
        pos2(x, inner.bottom() - inner.height() * ((value - low) / span) as f32)
    };
    let color = shapes::color_of(cx, shape.label.as_deref());
    let color = if cx.theme.dark { color } else { cx.theme.palette.weak };
    // Where the line leaves the frame there is a gap.
    let mut part: Vec<Pos2> = Vec::new();
    let stroke = Stroke::new(1.2, color);
    for (position, value) in profile.positions.iter().zip(&profile.values) {
        match value {
            Some(value) => part.push(at(*position, *value)),
            None => {
                ui.painter().add(Drawn::line(std::mem::take(&mut part), stroke));
            }
        }
    }
    ui.painter().add(Drawn::line(part, stroke));
    if let Some(pointer) = response.hover_pos() {
        let share = f64::from(((pointer.x - inner.left()) / inner.width().max(1.0)).clamp(0.0, 1.0));
        let index = (share * (profile.values.len().saturating_sub(1)) as f64).round() as usize;
        if let (Some(position), Some(Some(value))) = (profile.positions.get(index), profile.values.get(index)) {
            ui.painter().circle_filled(at(*position, *value), 3.0, cx.theme.palette.text);
            response.on_hover_text_at_pointer(format!("{position:.1} {unit}: {}", with(*value)));
        }
    }
}
