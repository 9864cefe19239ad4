//! What a lens draws over its image: the map, contours with their labels, the colour bar, the value under the cursor.

use std::sync::Arc;

use bifocal_core::analysis::{Analysis, AttentionMap, Finding, HeatMap, MapKind};
use bifocal_core::annotation::Decision;
use bifocal_core::render::{self, HeatStyle};
use eframe::egui::{Align2, Color32, FontId, Painter, Pos2, Rect, Shape, Stroke, pos2, vec2};

use super::layers::{self, ColorBar, SHARES};
use super::{Cx, names, widgets};
use crate::overlays::LayerTexture;
use crate::probe::{self, Answer};
use crate::state::{Lens, OverlaySettings, Reading};
use crate::view::ScreenFromImage;

/// The lesion head's map of the class that is shown.
pub fn head_map<'a>(settings: &OverlaySettings, analysis: &'a Analysis) -> Option<&'a HeatMap> {
    analysis.heat_maps.get(settings.heat_map).or(analysis.heat_maps.first())
}

/// The attention map that is shown.
pub fn attention_map<'a>(settings: &OverlaySettings, analysis: &'a Analysis) -> Option<&'a AttentionMap> {
    analysis.attention_maps.get(settings.attention_map).or(analysis.attention_maps.first())
}

/// How the heat map is drawn.
pub fn heat_style(settings: &OverlaySettings, default_threshold: f32, kind: MapKind) -> HeatStyle {
    let threshold = if kind == MapKind::LesionHead { settings.heat_threshold } else { settings.cam_threshold };
    HeatStyle {
        colormap: settings.heat_colormap,
        threshold: threshold.unwrap_or(default_threshold),
        opacity: settings.heat_opacity,
        ..HeatStyle::LESION
    }
}

/// What a map that is the same everywhere would show, as a share of this map's highest value.
pub fn even_level(map: &AttentionMap) -> f32 {
    let highest = map.tokens.iter().copied().fold(0.0, f32::max);
    let level = 1.0 / (map.tokens.len().max(1) as f32 * highest.max(f32::MIN_POSITIVE));
    if level.is_finite() { level.min(0.95) } else { 0.0 }
}

/// The even level of what the global lens shows: of the probed token, else of the map.
pub fn even(settings: &OverlaySettings, analysis: &Analysis, answer: Option<&Answer>) -> f32 {
    match (answer, attention_map(settings, analysis)) {
        (Some(answer), _) => answer.even.min(0.95),
        (None, Some(map)) => even_level(map),
        (None, None) => 0.0,
    }
}

/// How attention is drawn: clear below the threshold, else below the level of an even map.
pub fn attention_style(settings: &OverlaySettings, even: f32) -> HeatStyle {
    let threshold = settings.attention_threshold.unwrap_or(even);
    HeatStyle {
        colormap: settings.attention_colormap,
        threshold,
        opacity: settings.attention_opacity,
        ramp: HeatStyle::ATTENTION.ramp * (1.0 - threshold),
        ..HeatStyle::ATTENTION
    }
}

/// The fixed colour of an organ.
pub fn organ_color(organ: &str) -> Color32 {
    let [r, g, b] = render::organ_color(organ);
    Color32::from_rgb(r, g, b)
}

/// Draws everything that belongs to a lens.
pub fn paint(
    painter: &Painter,
    cx: &Cx<'_>,
    reading: &Reading,
    lens: Lens,
    map: &ScreenFromImage,
    analysis: &Arc<Analysis>,
    answer: Option<&Answer>,
) {
    let settings = &reading.overlays;
    let shape = (analysis.target.rows, analysis.target.columns);
    match lens {
        Lens::Local => {
            let kind = cx.state.local_kind();
            let heat = cx.state.local_heat(reading, analysis);
            let style = heat.map(|heat| heat_style(settings, heat.threshold, kind));
            if let (Some(heat), Some(style)) = (heat, &style) {
                let layer = cx.overlays.layer(&heat.values, style);
                paint_layer(painter, map, &layer, whole(&layer), shape);
            }
            if settings.finding_contours {
                let listed = analysis.findings.iter().filter(|finding| cx.state.is_listed(analysis, finding));
                for finding in listed.filter(|finding| analysis.shows(finding)) {
                    paint_finding(painter, cx, reading, map, analysis, finding);
                }
            }
            let (Some(heat), Some(style)) = (heat, style) else { return };
            let (title, word) = match kind {
                // A detector's findings are its boxes, not regions of the map.
                MapKind::LesionHead if cx.state.network.finds_boxes() => ("lesion probability", "clear below"),
                MapKind::LesionHead => ("lesion probability", "finding"),
                _ => ("evidence (1 = highest)", "clear below"),
            };
            let mark = if kind == MapKind::LesionHead { heat.threshold } else { style.threshold };
            let mark = Some((mark, word, cx.theme.viewport().warm));
            ColorBar { style: &style, title, ticks: &SHARES, mark, place: 0 }.paint(painter, cx, map.pane());
        }
        Lens::Global => {
            let even = even(settings, analysis, answer);
            let style = attention_style(settings, even);
            match (answer, attention_map(settings, analysis)) {
                (Some(answer), _) => {
                    let layer = cx.overlays.layer(&answer.values, &style);
                    let [top, left, height, width] = answer.field;
                    paint_layer(painter, map, &layer, [top, left, top + height, left + width], shape);
                }
                (None, Some(attention)) => {
                    let layer = cx.overlays.layer(&attention.values, &style);
                    paint_layer(painter, map, &layer, whole(&layer), shape);
                }
                (None, None) => {}
            }
            if settings.organ_contours {
                for organ in &analysis.organ_maps {
                    let lines = organ.contours.iter().map(|contour| points(map, contour));
                    paint_organ(painter, cx, &organ.organ, lines);
                }
            }
            let selected = analysis.findings.iter().find(|f| Some(f.id) == reading.selected && analysis.shows(f));
            if let Some(finding) = selected {
                let color = cx.theme.viewport().warm;
                dashed(painter, cx, &points(map, &finding.contour), color);
            }
            let title =
                if answer.is_some() { "attention of the token (1 = highest)" } else { "attention (1 = highest)" };
            let mark = Some((even, "even map", cx.theme.viewport().cool));
            ColorBar { style: &style, title, ticks: &SHARES, mark, place: 0 }.paint(painter, cx, map.pane());
        }
    }
}

/// The area that a layer of the frame's own size covers.
fn whole(layer: &LayerTexture) -> [f32; 4] {
    [-0.5, -0.5, layer.covers.0 as f32 - 0.5, layer.covers.1 as f32 - 0.5]
}

/// Draws a texture over an area (first row, first column, last row, last column) of an image of `shape`, cut at its edges.
fn paint_layer(
    painter: &Painter,
    map: &ScreenFromImage,
    layer: &LayerTexture,
    [top, left, bottom, right]: [f32; 4],
    shape: (usize, usize),
) {
    let corners = [(top, left), (top, right), (bottom, right), (bottom, left)].map(|corner| map.row_column(corner));
    let image = Rect::from_points(&map.corners(shape));
    layers::layer(&painter.with_clip_rect(image.intersect(painter.clip_rect())), layer, corners);
}

/// A contour's vertices on the screen.
fn points(map: &ScreenFromImage, contour: &[(f32, f32)]) -> Vec<Pos2> {
    thinned(contour.iter().map(|vertex| map.row_column(*vertex)))
}

/// Vertices without those that are too close to the one before to matter.
pub fn thinned(vertices: impl Iterator<Item = Pos2>) -> Vec<Pos2> {
    let mut points: Vec<Pos2> = Vec::with_capacity(vertices.size_hint().0.min(1024));
    for point in vertices {
        if points.last().is_none_or(|last| (point - *last).length_sq() > 1.5) {
            points.push(point);
        }
    }
    points
}

/// Draws a closed line with a dark rim.
pub fn closed(painter: &Painter, cx: &Cx<'_>, points: Vec<Pos2>, width: f32, color: Color32) {
    if points.len() < 3 {
        return;
    }
    let halo = cx.theme.viewport().halo.gamma_multiply(0.55);
    painter.add(Shape::closed_line(points.clone(), Stroke::new(width + 2.0, halo)));
    painter.add(Shape::closed_line(points, Stroke::new(width, color)));
}

fn dashed(painter: &Painter, cx: &Cx<'_>, points: &[Pos2], color: Color32) {
    if points.len() < 3 {
        return;
    }
    let mut line = points.to_vec();
    line.extend(points.first());
    let dash = cx.theme.space().xs;
    painter.extend(Shape::dashed_line(&line, Stroke::new(cx.theme.size().hairline, color), dash, dash));
}

fn paint_finding(
    painter: &Painter,
    cx: &Cx<'_>,
    reading: &Reading,
    map: &ScreenFromImage,
    analysis: &Analysis,
    finding: &Finding,
) {
    let theme = &cx.theme;
    let colors = theme.viewport();
    let review = cx.state.review_of(analysis, finding);
    let rejected = review.decision == Decision::Rejected;
    let selected = reading.selected == Some(finding.id);
    let line = points(map, &finding.contour);
    // A rejected finding keeps its place: dashed and gray.
    let color = if rejected { colors.weak } else { colors.warm };
    if rejected {
        dashed(painter, cx, &line, color);
    } else {
        closed(painter, cx, line.clone(), if selected { 2.5 } else { 1.5 }, color);
    }
    let at = line
        .iter()
        .copied()
        .min_by(|a, b| (a.y - a.x * 0.2).total_cmp(&(b.y - b.x * 0.2)))
        .unwrap_or_else(|| map.row_column(finding.peak));
    let at = at + vec2(theme.space().s, -theme.space().s);
    number(painter, cx, at, finding.id.0, color, selected, rejected);
}

/// A finding's number in a round badge; struck through where the finding is rejected.
pub fn number(painter: &Painter, cx: &Cx<'_>, at: Pos2, number: u32, color: Color32, selected: bool, rejected: bool) {
    let theme = &cx.theme;
    let halo = theme.viewport().halo;
    let radius = theme.tokens.text.small * 0.8;
    painter.circle_filled(at, radius + 1.5, halo);
    if selected {
        painter.circle_stroke(at, radius + 3.0, Stroke::new(theme.size().hairline, color));
    }
    painter.circle_filled(at, radius, color);
    painter.text(at, Align2::CENTER_CENTER, number, FontId::proportional(theme.tokens.text.small), halo);
    if rejected {
        painter.hline(at.x - radius..=at.x + radius, at.y, Stroke::new(1.5, halo));
    }
}

/// Draws the outlines of an organ, and its name on the largest.
pub fn paint_organ(painter: &Painter, cx: &Cx<'_>, organ: &str, lines: impl IntoIterator<Item = Vec<Pos2>>) {
    let theme = &cx.theme;
    let color = organ_color(organ);
    let mut largest: Option<Rect> = None;
    for line in lines {
        let bounds = Rect::from_points(&line);
        if largest.is_none_or(|other| bounds.area() > other.area()) && line.len() > 2 {
            largest = Some(bounds);
        }
        closed(painter, cx, line, 1.5 * theme.size().hairline, color);
    }
    let Some(bounds) = largest else { return };
    // Below the upper edge: lungs are labelled at their apex, the mediastinum at its neck.
    let clear_of_letters = painter.clip_rect().top() + theme.space().xxl;
    let at = pos2(bounds.center().x, (bounds.top() + bounds.height() * 0.12).max(clear_of_letters));
    let name = names::organ(cx.state, organ);
    // A name that is wider than its organ would cover those of its neighbours.
    let width = painter.layout_no_wrap(name.clone(), theme.small(), color).size().x;
    if painter.clip_rect().contains(at) && width < bounds.width() + theme.space().m {
        widgets::plated_text(painter, theme, at, Align2::CENTER_CENTER, name, theme.small(), color);
    }
}

/// The map's value beside the cursor and beside its ghost in the other lens.
#[allow(clippy::too_many_arguments)]
pub fn paint_value(
    painter: &Painter,
    cx: &Cx<'_>,
    reading: &Reading,
    lens: Lens,
    map: &ScreenFromImage,
    analysis: &Arc<Analysis>,
    answer: Option<&Answer>,
    shape: (usize, usize),
) {
    let Some((_, point)) = reading.hover.filter(|_| reading.view.overlays) else { return };
    let Some(pixel) = point.pixel(shape) else { return };
    let theme = &cx.theme;
    let (text, color) = match lens {
        Lens::Local => {
            let value = cx.state.local_heat(reading, analysis).and_then(|heat| heat.values.get(pixel));
            let Some(value) = value else { return };
            let sign = if cx.state.local_kind() == MapKind::LesionHead { "p " } else { "" };
            (format!("{sign}{value:.2}"), theme.viewport().warm)
        }
        Lens::Global => {
            let value = match answer {
                Some(answer) => probe::value_at(answer, point),
                None => attention_map(&reading.overlays, analysis).and_then(|m| m.values.get(pixel)).copied(),
            };
            let Some(value) = value else { return };
            let organs: Vec<String> = analysis
                .organ_maps
                .iter()
                .filter(|organ| organ.values.get(pixel).is_some_and(|p| *p >= 0.5))
                .map(|organ| names::organ(cx.state, &organ.organ))
                .collect();
            let mut text = format!("{value:.2}");
            if !organs.is_empty() {
                text = format!("{text}  {}", organs.join(", "));
            }
            (text, theme.viewport().cool)
        }
    };
    let at = map.point(point) + vec2(theme.space().m, -theme.space().m);
    let right = at.x + theme.space().xxl * 3.0 > map.pane().right();
    let align = if right { Align2::RIGHT_BOTTOM } else { Align2::LEFT_BOTTOM };
    let at = if right { at - vec2(2.0 * theme.space().m, 0.0) } else { at };
    widgets::plated_text(painter, theme, at, align, text, theme.small(), color);
}
