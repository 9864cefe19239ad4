//! The two lenses: the same image twice, one linked view, each with its own evidence laid over it.

use bifocal_core::analysis::{Analysis, Finding, FindingId};
use eframe::egui::{Rect, Ui, pos2, vec2};

use super::{Cx, lens_controls, lens_faithfulness, lens_maps, probe, viewport};
use crate::command::Command;
use crate::reader::ReadCommand;
use crate::state::{Lens, LensLayout, Reading};
use crate::view::{ImagePoint, ScreenFromImage};

/// Draws the lenses into `rect`; returns whether an image was shown.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, rect: Rect) -> bool {
    match reading.layout {
        LensLayout::Only(lens) => pane(ui, cx, reading, lens, rect),
        LensLayout::Both => {
            let gap = cx.theme.size().hairline;
            // Of one size to the point, so that both show the image at one scale.
            let half = ((rect.width() - gap) / 2.0).floor();
            let left = Rect::from_min_size(rect.min, vec2(half, rect.height()));
            let right = Rect::from_min_max(pos2(rect.right() - half, rect.top()), rect.max);
            let between = Rect::from_min_max(left.right_top(), right.left_bottom());
            ui.painter().rect_filled(between, 0.0, cx.theme.palette.line);
            let first = pane(ui, cx, reading, Lens::Local, left);
            let second = pane(ui, cx, reading, Lens::Global, right);
            first || second
        }
    }
}

fn pane(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens, rect: Rect) -> bool {
    let size = cx.theme.size();
    let header = Rect::from_min_size(rect.min, vec2(rect.width(), size.lens_title));
    let footer = Rect::from_min_max(pos2(rect.left(), rect.bottom() - size.lens_header), rect.max);
    // Kept free before there is anything to say: images do not move when an answer comes.
    let line = Rect::from_min_max(pos2(rect.left(), footer.top() - cx.theme.space().xl), footer.right_top());
    let image = Rect::from_min_max(header.left_bottom(), line.right_top());
    cx.overlays.pane.set(image.size());
    let analysis = reading.analysis_in_view();
    let answer = analysis.zip(reading.probe).and_then(|(analysis, point)| cx.overlays.probe(analysis, point));
    let answer = answer.as_deref();
    lens_controls::header(ui, cx, reading, lens, header);
    let interaction = viewport::show(ui, cx, reading, lens, None, image, &mut |painter, map, frame| {
        if let Some(analysis) = analysis {
            if reading.view.overlays {
                lens_maps::paint(painter, cx, reading, lens, map, analysis, answer);
            }
            if let Some(answer) = answer {
                probe::paint(painter, cx, lens, map, answer);
            }
            lens_maps::paint_value(painter, cx, reading, lens, map, analysis, answer, frame.frame().shape());
        }
    });
    if let (Some(point), Some(analysis), Some(map)) = (interaction.clicked, analysis, &interaction.map) {
        clicked(ui, cx, reading, analysis, map, point);
    }
    if reading.probing {
        probe::hint(ui, cx, lens, image, answer.is_some(), analysis.is_some());
    }
    lens_faithfulness::show(ui, cx, reading, lens, line);
    lens_controls::footer(ui, cx, reading, lens, footer);
    interaction.map.is_some()
}

/// A click puts the probe down in probe mode or with Alt, and selects a finding otherwise.
fn clicked(ui: &Ui, cx: &Cx<'_>, reading: &Reading, analysis: &Analysis, map: &ScreenFromImage, point: ImagePoint) {
    if reading.probing || ui.input(|input| input.modifiers.alt) {
        if point.pixel((analysis.target.rows, analysis.target.columns)).is_some() {
            cx.read(ReadCommand::Probe(point));
        }
    } else if reading.view.overlays {
        let hit = finding_at(analysis, map, point, |f| analysis.shows(f) && cx.state.is_listed(analysis, f));
        if hit != reading.selected {
            cx.send(Command::Select(hit));
        }
    }
}

/// The finding whose contour encloses a point, the smallest where several do.
fn finding_at(
    analysis: &Analysis,
    map: &ScreenFromImage,
    point: ImagePoint,
    listed: impl Fn(&Finding) -> bool,
) -> Option<FindingId> {
    // A few points of slack, so that a small contour can be hit.
    let slack = 4.0 / map.points_per_column().max(1e-3);
    let inside = analysis.findings.iter().filter(|finding| listed(finding)).filter(|finding| {
        let [top, left, bottom, right] = finding.bounding_box.map(|v| v as f32);
        let in_box = (top - slack..=bottom + slack).contains(&point.row)
            && (left - slack..=right + slack).contains(&point.column);
        in_box && (encloses(&finding.contour, point) || bottom - top < 3.0 * slack)
    });
    inside.min_by_key(|finding| finding.area_px).map(|finding| finding.id)
}

/// Whether a closed line of (row, column) vertices goes around a point: the even-odd rule.
fn encloses(contour: &[(f32, f32)], point: ImagePoint) -> bool {
    let mut inside = false;
    for (index, a) in contour.iter().enumerate() {
        let b = contour.get(index + 1).or(contour.first()).unwrap_or(a);
        if (a.0 > point.row) != (b.0 > point.row) {
            let crossing = (b.1 - a.1) * (point.row - a.0) / (b.0 - a.0) + a.1;
            inside ^= point.column < crossing;
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contour_encloses_what_is_inside() {
        let square = [(1.0, 1.0), (1.0, 9.0), (9.0, 9.0), (9.0, 1.0)];
        assert!(encloses(&square, ImagePoint { row: 5.0, column: 2.0 }));
        assert!(!encloses(&square, ImagePoint { row: 5.0, column: 9.5 }));
        assert!(!encloses(&square, ImagePoint { row: 0.5, column: 5.0 }));
        assert!(!encloses(&[], ImagePoint { row: 0.0, column: 0.0 }));
    }
}
