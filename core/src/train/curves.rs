//! Loss curves of a run, as numbers and as a picture.

use super::log::{LogSplit, Report};
use crate::render::{Rgba, Weight, draw_text, paint, text_width};

/// (steps, loss).
type Line = Vec<(usize, f32)>;

/// Loss against steps, for training and for validation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Curves {
    /// Lesions, maps and image-level classes together: training, validation.
    pub lesions: [Line; 2],
    /// Organs: training, validation.
    pub organs: [Line; 2],
    /// A detector's boxes: training, validation.
    pub boxes: [Line; 2],
}

impl Curves {
    /// The curves of a log. Losses that are 0 throughout, since nothing of their kind is annotated, have no curve.
    pub fn of(reports: &[Report]) -> Self {
        let line = |split: LogSplit, loss: fn(&Report) -> f32| {
            let of_split = reports.iter().filter(|report| report.split == split);
            let line: Line = of_split.map(|report| (report.step, loss(report))).collect();
            if line.iter().any(|(_, loss)| *loss != 0.0) { line } else { Line::new() }
        };
        let both = |loss| [line(LogSplit::Train, loss), line(LogSplit::Validation, loss)];
        Self {
            lesions: both(|report| report.lesion_loss + report.class_loss),
            organs: both(|report| report.organ_loss),
            boxes: both(|report| report.proposal_loss + report.region_loss),
        }
    }

    /// What is plotted: a name, then training and validation; kinds without a curve are left out.
    pub fn plots(&self) -> Vec<(&'static str, &[Line; 2])> {
        let kinds = [("Lesions", &self.lesions), ("Organs", &self.organs), ("Boxes", &self.boxes)];
        kinds.into_iter().filter(|(_, lines)| lines.iter().any(|line| !line.is_empty())).collect()
    }

    /// The curves on white, one plot a kind, side by side.
    pub(super) fn picture(&self) -> Rgba {
        const WIDTH: usize = 640;
        const HEIGHT: usize = 400;
        let plots = self.plots();
        let mut image = Rgba::new(WIDTH * plots.len().max(1), HEIGHT, [255; 4]);
        for (index, (name, lines)) in plots.into_iter().enumerate() {
            let size = (WIDTH as f32, HEIGHT as f32);
            draw_plot(&mut image, (index * WIDTH) as f32, size, name, lines);
        }
        image
    }
}

/// Round values from `low` to `high`, three to seven of them, both ends inside: ticks of an axis.
pub fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = (high - low).max(1e-9);
    let magnitude = 10f64.powf((span / 4.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * magnitude).find(|step| span / step <= 5.01);
    let step = step.unwrap_or(10.0 * magnitude);
    let (first, last) = ((low / step + 1e-9).floor() as i64, (high / step - 1e-9).ceil() as i64);
    (first..=last.max(first + 1)).map(|index| index as f64 * step).collect()
}

const INK: [u8; 4] = [0x30, 0x36, 0x3d, 255];
const GRID: [u8; 4] = [0xe2, 0xe5, 0xe9, 255];
const TRAINING: [u8; 4] = [0x8a, 0x94, 0xa0, 255];
const VALIDATION: [u8; 4] = [0x1f, 0x6f, 0xb5, 255];

fn draw_plot(image: &mut Rgba, left: f32, (width, height): (f32, f32), name: &str, lines: &[Line; 2]) {
    let (x0, x1, y0, y1) = (left + 64.0, left + width - 24.0, 56.0, height - 52.0);
    let all = || lines.iter().flatten().filter(|(_, loss)| loss.is_finite());
    let most = all().map(|(step, _)| *step).max().unwrap_or(1).max(1);
    let highest = all().map(|(_, loss)| *loss).fold(0.0f32, f32::max).max(1e-3);
    let across = ticks(0.0, most as f64);
    let up = ticks(0.0, f64::from(highest));
    let (right, top) = (across.last().copied().unwrap_or(1.0), up.last().copied().unwrap_or(1.0));
    let column = |step: f64| x0 + (step / right) as f32 * (x1 - x0);
    let row = |loss: f64| y1 - (loss / top) as f32 * (y1 - y0);
    let decimals = if top < 0.5 { 2 } else { 1 };
    for value in up {
        paint::stroke(image, &[(x0, row(value)), (x1, row(value))], false, 1.0, GRID);
        let text = format!("{value:.decimals$}");
        draw_text(image, (x0 - 8.0 - text_width(&text, 13.0), row(value) + 4.5), 13.0, Weight::Regular, INK, &text);
    }
    for value in across {
        let text = format!("{value:.0}");
        let at = (column(value) - text_width(&text, 13.0) / 2.0, y1 + 20.0);
        draw_text(image, at, 13.0, Weight::Regular, INK, &text);
    }
    draw_text(image, (x0, 30.0), 16.0, Weight::Bold, INK, &format!("{name}: loss"));
    draw_text(image, ((x0 + x1) / 2.0 - 16.0, height - 12.0), 13.0, Weight::Regular, INK, "steps");
    let mut legend = x1;
    for (line, color, word) in [(&lines[1], VALIDATION, "validation"), (&lines[0], TRAINING, "training")] {
        legend -= text_width(word, 13.0);
        draw_text(image, (legend, 30.0), 13.0, Weight::Regular, color, word);
        legend -= 16.0;
        let points: Vec<(f32, f32)> = line
            .iter()
            .filter(|(_, loss)| loss.is_finite())
            .map(|(step, loss)| (column(*step as f64), row(f64::from(*loss))))
            .collect();
        paint::stroke(image, &points, false, 2.0, color);
        for (x, y) in points {
            paint::rectangle(image, x - 2.0, y - 2.0, 4.0, 4.0, color);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_both_ends() {
        assert_eq!(ticks(0.0, 20.0), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(ticks(0.0, 7.3), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(ticks(0.0, 1.0).len(), 6);
        assert_eq!(ticks(0.0, 1e-3).len(), 6);
    }

    #[test]
    fn kinds_that_nobody_annotated_are_left_out_and_lines_are_drawn_in_their_colours() {
        let report = |step, split, lesion_loss| Report { step, split, lesion_loss, ..Report::default() };
        let reports = [
            report(0, LogSplit::Validation, 1.0),
            report(10, LogSplit::Train, 0.8),
            report(10, LogSplit::Validation, 0.5),
            report(20, LogSplit::Train, f32::NAN),
        ];
        let curves = Curves::of(&reports);
        assert_eq!(curves.plots().len(), 1);
        assert_eq!(curves.lesions[1], [(0, 1.0), (10, 0.5)]);
        let picture = curves.picture();
        assert_eq!((picture.width, picture.height), (640, 400));
        for color in [TRAINING, VALIDATION] {
            assert!(picture.pixels.contains(&color), "{color:?}");
        }
        assert_eq!(Curves::default().picture().width, 640);
    }
}
