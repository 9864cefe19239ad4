//! The images of a report: plain, with lesion evidence, with attention.

use std::sync::Arc;

use super::content::ReportImage;
use crate::analysis::{AttentionMap, Finding, HeatMap};
use crate::annotation::{Decision, Measured, Session};
use crate::measure::Unit;
use crate::render::{
    HeatStyle, Placement, Rgba, ViewTransform, blend_heat, draw_edge_letters, draw_label, draw_ruler, heat_layer,
    organ_color, paint, pixel_size, place_contour, place_values, render_slice,
};

/// What is laid over the image.
#[derive(Clone, Copy)]
pub(super) enum Overlay<'a> {
    /// Nothing.
    Plain,
    /// A heat map, and the outlines and numbers of its findings.
    Lesion(&'a HeatMap),
    /// An attention map, and the outlines of the organs.
    Attention(&'a AttentionMap),
}

/// What the reader draws, as in the window.
const MARK: [u8; 4] = [0xC3, 0xF0, 0x73, 255];
/// Pixels of a panel for one point of paper: about 230 to the inch.
const PIXELS_PER_POINT: f32 = 3.2;

/// Width and height of a panel that fits a box, points: the shape follows the frame, its spacing and its turns.
pub(super) fn panel_size(image: &ReportImage<'_>, most_width: f32, most_height: f32) -> (f32, f32) {
    let (rows, columns) = image.frame.shape();
    let (row, column) = pixel_size(&image.frame.display);
    let (mut height, mut width) = (rows.max(1) as f32 * row as f32, columns.max(1) as f32 * column as f32);
    if image.view.quarter_turns % 2 == 1 {
        std::mem::swap(&mut width, &mut height);
    }
    let scale = (most_width / width).min(most_height / height);
    // Very long strips keep a width that can be seen.
    ((width * scale).max(24.0), (height * scale).max(24.0))
}

/// Style of a heat map: nothing below the map's own threshold.
pub(super) fn lesion_style(map: &HeatMap) -> HeatStyle {
    HeatStyle { threshold: map.threshold, ..HeatStyle::LESION }
}

/// Paints a panel of `width` by `height` points.
pub(super) fn paint_panel(
    image: &ReportImage<'_>,
    overlay: Overlay<'_>,
    session: &Session,
    (width, height): (f32, f32),
) -> Arc<Rgba> {
    let pixels = ((width * PIXELS_PER_POINT).round() as usize, (height * PIXELS_PER_POINT).round() as usize);
    let view = ViewTransform { zoom: 1.0, pan: [0.0, 0.0], ..image.view };
    let (mut canvas, placement) = render_slice(image.frame, &image.voi, &view, None, pixels);
    let line = PIXELS_PER_POINT * 0.7;
    let text = PIXELS_PER_POINT * 7.5;
    match overlay {
        Overlay::Plain => {
            draw_edge_letters(&mut canvas, image.frame, &view, text);
            draw_ruler(&mut canvas, image.frame, &placement, text * 0.85);
            draw_shapes(&mut canvas, image, session, &placement, line, text);
        }
        Overlay::Lesion(map) => {
            blend_heat(&mut canvas, &place_values(&map.values, &placement, pixels.0, pixels.1), &lesion_style(map));
            draw_findings(&mut canvas, image, map, session, &placement, line, text);
        }
        Overlay::Attention(map) => {
            let values = place_values(&map.values, &placement, pixels.0, pixels.1);
            canvas.draw_layer(&heat_layer(&values, &HeatStyle::ATTENTION));
            for organ in image.analysis.iter().flat_map(|analysis| &analysis.organ_maps) {
                let [r, g, b] = organ_color(&organ.organ);
                for contour in &organ.contours {
                    let points = place_contour(contour, &placement);
                    paint::stroke(&mut canvas, &points, true, line + 1.5, [0, 0, 0, 120]);
                    paint::stroke(&mut canvas, &points, true, line, [r, g, b, 255]);
                }
            }
        }
    }
    Arc::new(canvas)
}

/// What the reader has drawn, with its size; names are left to the table, which knows whether they may be printed.
fn draw_shapes(
    canvas: &mut Rgba,
    image: &ReportImage<'_>,
    session: &Session,
    placement: &Placement,
    line: f32,
    text: f32,
) {
    let by_hand = session.calibrations.get(image.instance).copied();
    let shapes = session.shapes_on(image.instance, image.frame_index).filter(|(_, shape)| !shape.hidden);
    for (_, shape) in shapes {
        let mut top: Option<(f32, f32)> = None;
        for outline in shape.outlines(&image.frame.display) {
            let places: Vec<(f32, f32)> = outline
                .points
                .iter()
                .map(|[row, column]| placement.screen_from_image(*row, *column))
                .map(|(x, y)| (x as f32, y as f32))
                .collect();
            if let [(x, y)] = places[..] {
                paint::marker(canvas, x, y, text * 0.3, line, MARK);
            } else {
                paint::stroke(canvas, &places, outline.closed, line + 1.5, [0, 0, 0, 120]);
                paint::stroke(canvas, &places, outline.closed, line, MARK);
            }
            top = places.into_iter().chain(top).min_by(|a, b| a.1.total_cmp(&b.1));
        }
        let measured = Measured::of(shape, image.frame, by_hand, Unit::usual(image.frame));
        if let (Some((x, y)), Some(size)) = (top, measured.caption().first()) {
            draw_label(canvas, (x + text * 0.5, y - text * 0.4), text, size);
        }
    }
}

fn draw_findings(
    canvas: &mut Rgba,
    image: &ReportImage<'_>,
    map: &HeatMap,
    session: &Session,
    placement: &Placement,
    line: f32,
    text: f32,
) {
    let Some(analysis) = image.analysis else { return };
    let here = |finding: &&Finding| finding.label == map.label && analysis.shows(finding);
    for finding in analysis.findings.iter().filter(here) {
        let (instance, frame) = analysis.home_of(finding);
        let rejected = session.review(&instance, frame, finding.id).decision == Decision::Rejected;
        let points = place_contour(&finding.contour, placement);
        let color = if rejected { [170, 170, 170, 255] } else { [255, 214, 150, 255] };
        paint::stroke(canvas, &points, true, line + 1.5, [0, 0, 0, 120]);
        paint::stroke(canvas, &points, true, line, color);
        let (x, y) = placement.screen_from_image(f64::from(finding.peak.0), f64::from(finding.peak.1));
        let (x, y) = (x as f32, y as f32);
        paint::marker(canvas, x, y, text * 0.3, line, color);
        let label = if rejected { format!("{} rejected", finding.id.0) } else { finding.id.0.to_string() };
        draw_label(canvas, (x + text * 0.5, y - text * 0.25), text, &label);
    }
}
