//! The attention probe: where does one token look? Pure functions over [`TokenAttention`].
//!
//! The token itself is left out: through the residual connections rollout always gives a token much of its own weight, which
//! says nothing about where else it looks.

use std::sync::Arc;

use bifocal_core::analysis::{OrganAttention, TokenAttention};
use ndarray::Array2;

use crate::view::ImagePoint;

/// A place that the probed token attends to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Centre of the attended token on the image.
    pub to: ImagePoint,
    /// Share of the probed token's attention to all others, 0 to 1.
    pub share: f32,
    /// Share relative to the strongest link, 0 to 1.
    pub weight: f32,
}

/// What the probe answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Row and column of the probed token.
    pub token: (usize, usize),
    /// Its centre on the image.
    pub from: ImagePoint,
    /// Its area: first row, first column, last row, last column, image pixels.
    pub area: [f32; 4],
    /// Attention over the field of the token grid, `[row, column]`, smooth, largest value 1.
    pub values: Arc<Array2<f32>>,
    /// Value of a map that is the same everywhere, on the scale of `values`.
    pub even: f32,
    /// The field on the image: first row, first column, rows, columns.
    pub field: [f32; 4],
    /// The most attended places, the strongest first.
    pub links: Vec<Link>,
    /// Share and enrichment by organ, in the bundle's order.
    pub organs: Vec<OrganAttention>,
}

/// Places that are linked to the probe by lines.
const LINKS: usize = 6;
/// Links weaker than this share of the strongest are left out.
const WEAKEST_LINK: f32 = 0.15;
/// Values for each token along each side in [`Answer::values`].
const UPSAMPLING: usize = 16;

/// Where the token under `point` looks; `None` outside the token grid, or where the answer holds no attention.
pub fn ask(attention: &TokenAttention, organs: &[String], point: ImagePoint) -> Option<Answer> {
    let (rows, columns) = attention.grid;
    let [top, left, height, width] = attention.field;
    let count = rows * columns;
    if count < 2 || attention.matrix.dim() != (count, count) || height <= 0.0 || width <= 0.0 {
        return None;
    }
    let place = |from: f32, start: f32, length: f32, cells: usize| {
        let cell = ((from - start) / length * cells as f32).floor();
        (cell >= 0.0 && cell < cells as f32).then_some(cell as usize)
    };
    let row = place(point.row, top, height, rows)?;
    let column = place(point.column, left, width, columns)?;
    let own = row * columns + column;
    let mut weights: Vec<f32> =
        attention.matrix.row(own).iter().map(|w| if w.is_finite() { w.max(0.0) } else { 0.0 }).collect();
    if let Some(weight) = weights.get_mut(own) {
        *weight = 0.0;
    }
    let total: f32 = weights.iter().sum();
    if total <= 0.0 {
        return None;
    }
    weights.iter_mut().for_each(|weight| *weight /= total);
    let strongest = weights.iter().copied().fold(0.0, f32::max);
    let (cell_height, cell_width) = (height / rows as f32, width / columns as f32);
    let center = |token: usize| ImagePoint {
        row: top + ((token / columns) as f32 + 0.5) * cell_height,
        column: left + ((token % columns) as f32 + 0.5) * cell_width,
    };
    Some(Answer {
        token: (row, column),
        from: center(own),
        area: [
            top + row as f32 * cell_height,
            left + column as f32 * cell_width,
            top + (row + 1) as f32 * cell_height,
            left + (column + 1) as f32 * cell_width,
        ],
        even: (1.0 / (count as f32 * strongest)).min(1.0),
        values: Arc::new(smooth(&weights, (rows, columns))),
        field: attention.field,
        links: links(&weights, (rows, columns), strongest, center),
        organs: by_organ(&weights, attention, organs),
    })
}

/// The strongest tokens, neighbours of a chosen one left out so that a broad peak is one place.
fn links(
    weights: &[f32],
    (rows, columns): (usize, usize),
    strongest: f32,
    center: impl Fn(usize) -> ImagePoint,
) -> Vec<Link> {
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| weights[*b].total_cmp(&weights[*a]));
    let apart = (rows.min(columns) / 10).max(1);
    let mut chosen: Vec<usize> = Vec::new();
    for token in order {
        if chosen.len() == LINKS || weights[token] < strongest * WEAKEST_LINK {
            break;
        }
        let far = |other: &usize| {
            (other / columns).abs_diff(token / columns) > apart || (other % columns).abs_diff(token % columns) > apart
        };
        if chosen.iter().all(far) {
            chosen.push(token);
        }
    }
    chosen
        .into_iter()
        .map(|token| Link { to: center(token), share: weights[token], weight: weights[token] / strongest })
        .collect()
}

fn by_organ(weights: &[f32], attention: &TokenAttention, organs: &[String]) -> Vec<OrganAttention> {
    let count = weights.len() as f32;
    let rows = attention.organ_coverage.rows().into_iter();
    let shares = organs.iter().zip(rows).map(|(organ, coverage)| {
        let share: f32 = coverage.iter().zip(weights).map(|(c, w)| c * w).sum();
        let area = coverage.sum() / count;
        OrganAttention { organ: organ.clone(), share, enrichment: if area > 0.0 { share / area } else { 0.0 } }
    });
    shares.collect()
}

/// Token weights as a smooth map, [`UPSAMPLING`] values a token, by a cubic B-spline: no ringing, no block edges.
fn smooth(weights: &[f32], (rows, columns): (usize, usize)) -> Array2<f32> {
    let taps = |cells: usize| -> Vec<[(usize, f32); 4]> {
        (0..cells * UPSAMPLING)
            .map(|index| {
                let at = (index as f32 + 0.5) / UPSAMPLING as f32 - 0.5;
                let first = at.floor();
                let t = at - first;
                let spline = [
                    (1.0 - t).powi(3) / 6.0,
                    (3.0 * t.powi(3) - 6.0 * t * t + 4.0) / 6.0,
                    (-3.0 * t.powi(3) + 3.0 * t * t + 3.0 * t + 1.0) / 6.0,
                    t.powi(3) / 6.0,
                ];
                std::array::from_fn(|k| {
                    let cell = (first as i64 + k as i64 - 1).clamp(0, cells as i64 - 1) as usize;
                    (cell, spline[k])
                })
            })
            .collect()
    };
    let (by_row, by_column) = (taps(rows), taps(columns));
    let wide = Array2::from_shape_fn((rows, by_column.len()), |(r, c)| {
        by_column[c].iter().map(|(cell, w)| w * weights.get(r * columns + cell).copied().unwrap_or(0.0)).sum::<f32>()
    });
    let mut map = Array2::from_shape_fn((by_row.len(), by_column.len()), |(r, c)| {
        by_row[r].iter().map(|(cell, w)| w * wide[[*cell, c]]).sum::<f32>()
    });
    let largest = map.iter().copied().fold(0.0, f32::max);
    if largest > 0.0 {
        map.mapv_inplace(|v| v / largest);
    }
    map
}

/// The value of an [`Answer`] at an image point, 0 to 1; `None` outside its field.
pub fn value_at(answer: &Answer, point: ImagePoint) -> Option<f32> {
    let [top, left, height, width] = answer.field;
    let (rows, columns) = answer.values.dim();
    let row = ((point.row - top) / height * rows as f32).floor();
    let column = ((point.column - left) / width * columns as f32).floor();
    if row < 0.0 || column < 0.0 {
        return None;
    }
    answer.values.get((row as usize, column as usize)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 10 × 10 grid over a 200 × 100 frame; every token attends to itself and to `target`.
    fn attention(target: usize) -> TokenAttention {
        let matrix = Array2::from_shape_fn((100, 100), |(from, to)| {
            if from == to {
                0.6
            } else if to == target {
                0.3
            } else {
                0.1 / 98.0
            }
        });
        // The organ covers the upper half.
        let coverage = Array2::from_shape_fn((1, 100), |(_, token)| if token < 50 { 1.0 } else { 0.0 });
        TokenAttention {
            grid: (10, 10),
            matrix: Arc::new(matrix),
            organ_coverage: Arc::new(coverage),
            field: [-0.5, -0.5, 200.0, 100.0],
        }
    }

    #[test]
    fn the_strongest_link_leads_to_the_target() {
        let answer = ask(&attention(23), &["upper".into()], ImagePoint { row: 150.0, column: 50.0 });
        let answer = answer.expect("the point is on the grid");
        assert_eq!(answer.token, (7, 5));
        assert_eq!(answer.from, ImagePoint { row: 149.5, column: 54.5 });
        assert_eq!(answer.links[0].to, ImagePoint { row: 49.5, column: 34.5 });
        assert!((answer.links[0].share - 0.75).abs() < 1e-3 && answer.links[0].weight == 1.0);
        assert_eq!(answer.links.len(), 1, "weak places are not linked");
    }

    #[test]
    fn organs_get_their_share_without_the_token_itself() {
        let answer = ask(&attention(23), &["upper".into()], ImagePoint { row: 150.0, column: 50.0 });
        let organ = &answer.expect("on the grid").organs[0];
        // 0.3 + 49 of 98 small weights, of the 0.4 that is left without the token itself.
        let expected = (0.3 + 49.0 * 0.1 / 98.0) / 0.4;
        assert!((organ.share - expected).abs() < 1e-3, "{}", organ.share);
        assert!((organ.enrichment - expected / 0.5).abs() < 1e-3);
    }

    #[test]
    fn the_map_peaks_where_the_token_looks_and_fades_elsewhere() {
        let answer = ask(&attention(23), &[], ImagePoint { row: 150.0, column: 50.0 }).expect("on the grid");
        let at = |row, column| value_at(&answer, ImagePoint { row, column }).expect("in the field");
        assert!(at(49.5, 34.5) > 0.99);
        assert!(at(150.0, 54.5) < 0.05, "the token itself is left out");
        assert_eq!(value_at(&answer, ImagePoint { row: 250.0, column: 5.0 }), None);
    }

    #[test]
    fn outside_and_empty_give_nothing() {
        assert!(ask(&attention(1), &[], ImagePoint { row: -3.0, column: 5.0 }).is_none());
        assert!(ask(&attention(1), &[], ImagePoint { row: 5.0, column: 100.0 }).is_none());
        let mut empty = attention(1);
        empty.matrix = Arc::new(Array2::zeros((100, 100)));
        assert!(ask(&empty, &[], ImagePoint { row: 5.0, column: 5.0 }).is_none());
        empty.matrix = Arc::new(Array2::zeros((3, 3)));
        assert!(ask(&empty, &[], ImagePoint { row: 5.0, column: 5.0 }).is_none());
    }
}
