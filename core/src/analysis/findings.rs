//! From a heat map to findings.

use ndarray::{Array2, ArrayView2};

use super::contour::contours;
use super::types::{Calibration, Finding, FindingId, SizeMm, Zone};
use crate::model::{Detection, ModelConfig};
use crate::nn::BoundingBox;
use crate::study::PixelSpacing;

/// What of a heat map becomes findings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// Probability from which on.
    pub threshold: f32,
    /// Share of the image below which regions are noise.
    pub smallest_share: f32,
}

impl Cut {
    /// At `threshold`, for maps of a network of `config`.
    pub fn new(config: &ModelConfig, threshold: f32) -> Self {
        // Three quarters of a cell of the lesion map at an input of 256 pixels.
        Self { threshold, smallest_share: if config.fine_lesions { 0.00018 } else { 0.0008 } }
    }
}

/// Side, in pixels, that maps are reduced to before regions are traced.
const TRACE_SIDE: usize = 512;
/// Findings reported for one class.
const MOST_FINDINGS: usize = 20;

/// A map reduced for tracing, and how many image pixels one of its pixels is.
pub(super) struct Reduced {
    pub(super) values: Array2<f32>,
    pub(super) step: usize,
}

/// Every `step`-th pixel, so that the longer side is at most 512: maps come from grids far coarser than that.
pub(super) fn reduce(map: ArrayView2<'_, f32>) -> Reduced {
    let step = map.nrows().max(map.ncols()).div_ceil(TRACE_SIDE).max(1);
    Reduced { values: map.slice(ndarray::s![..;step, ..;step]).to_owned(), step }
}

/// Contours of a reduced map in image coordinates.
pub(super) fn traced(reduced: &Reduced, level: f32) -> Vec<Vec<(f32, f32)>> {
    let step = reduced.step as f32;
    let scale = |contour: Vec<(f32, f32)>| contour.into_iter().map(|(row, col)| (row * step, col * step)).collect();
    contours(&reduced.values, level).into_iter().map(scale).collect()
}

/// Connected regions (4-neighbours) at or above `threshold`: pixel lists.
pub(super) fn regions(values: &Array2<f32>, threshold: f32) -> Vec<Vec<(usize, usize)>> {
    let (rows, cols) = values.dim();
    let mut seen = Array2::from_elem((rows, cols), false);
    let mut regions = Vec::new();
    for start in ndarray::indices((rows, cols)) {
        if seen[start] || values[start] < threshold {
            continue;
        }
        seen[start] = true;
        let (mut region, mut open) = (Vec::new(), vec![start]);
        while let Some((row, col)) = open.pop() {
            region.push((row, col));
            let neighbours = [(row.wrapping_sub(1), col), (row + 1, col), (row, col.wrapping_sub(1)), (row, col + 1)];
            for at in neighbours {
                if at.0 < rows && at.1 < cols && !seen[at] && values[at] >= threshold {
                    seen[at] = true;
                    open.push(at);
                }
            }
        }
        regions.push(region);
    }
    regions
}

/// Local maxima of a heat map of at least `lowest`, highest first, none within `radius` pixels of a higher one:
/// (row, column, value). These are the candidates that a FROC counts.
pub fn peaks(map: ArrayView2<'_, f32>, radius: f32, lowest: f32) -> Vec<(f32, f32, f32)> {
    let reduced = reduce(map);
    let (rows, cols) = reduced.values.dim();
    let step = reduced.step as f32;
    let mut candidates: Vec<(f32, f32, f32)> = Vec::new();
    for ((row, col), value) in reduced.values.indexed_iter() {
        let around =
            ndarray::s![row.saturating_sub(1)..(row + 2).min(rows), col.saturating_sub(1)..(col + 2).min(cols)];
        if *value >= lowest && reduced.values.slice(around).iter().all(|other| other <= value) {
            candidates.push((row as f32 * step, col as f32 * step, *value));
        }
    }
    candidates.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut kept: Vec<(f32, f32, f32)> = Vec::new();
    for candidate in candidates {
        if kept.len() < MOST_FINDINGS
            && kept.iter().all(|other| (other.0 - candidate.0).hypot(other.1 - candidate.1) > radius)
        {
            kept.push(candidate);
        }
    }
    kept
}

/// Share of the image that the largest region at or above `threshold` covers, 0 to 1.
pub fn largest_region(map: ArrayView2<'_, f32>, threshold: f32) -> f32 {
    let reduced = reduce(map);
    let largest = regions(&reduced.values, threshold).iter().map(Vec::len).max().unwrap_or(0);
    largest as f32 / reduced.values.len().max(1) as f32
}

/// Organs with their maps, reduced as the heat map is.
pub(super) struct Organs<'a> {
    pub(super) names: &'a [String],
    pub(super) maps: &'a [Reduced],
}

/// Regions of a reduced map that are large enough for findings.
pub(super) fn finding_regions(map: &Array2<f32>, cut: Cut) -> Vec<Vec<(usize, usize)>> {
    let smallest = (cut.smallest_share * map.len() as f32).max(1.0) as usize;
    regions(map, cut.threshold).into_iter().filter(|region| region.len() >= smallest).collect()
}

/// Boxes around the regions of a heat map that are findings, in pixels of the image, with the highest value of each.
pub fn region_boxes(map: ArrayView2<'_, f32>, cut: Cut) -> Vec<(BoundingBox, f32)> {
    let reduced = reduce(map);
    let step = reduced.step as f32;
    let around = |region: Vec<(usize, usize)>| {
        let mut bounds = BoundingBox::new(f32::INFINITY, f32::INFINITY, 0.0, 0.0);
        let mut highest = 0.0f32;
        for (row, column) in region {
            bounds.x1 = bounds.x1.min(column as f32 * step);
            bounds.y1 = bounds.y1.min(row as f32 * step);
            bounds.x2 = bounds.x2.max((column + 1) as f32 * step);
            bounds.y2 = bounds.y2.max((row + 1) as f32 * step);
            highest = highest.max(reduced.values[[row, column]]);
        }
        (bounds.clipped(map.ncols() as f32, map.nrows() as f32), highest)
    };
    finding_regions(&reduced.values, cut).into_iter().map(around).collect()
}

/// A detector's box as a finding; `step` is that of the organ maps. The id is given by the caller.
pub(super) fn boxed_finding(
    label: &str,
    found: &Detection,
    step: usize,
    organs: &Organs<'_>,
    spacing: Option<PixelSpacing>,
) -> Finding {
    let BoundingBox { x1, y1, x2, y2 } = found.bounds;
    // First and last pixel whose centre is inside; a thin box has one all the same.
    let pixels = |from: f32, to: f32| {
        let first = (from - 0.5).ceil().max(0.0) as usize;
        (first, ((to - 0.5).ceil().max(0.0) as usize).saturating_sub(1).max(first))
    };
    let ((top, bottom), (left, right)) = (pixels(y1, y2), pixels(x1, x2));
    let region: Vec<(usize, usize)> = (top / step..=bottom / step)
        .flat_map(|row| (left / step..=right / step).map(move |column| (row, column)))
        .collect();
    let (x, y) = found.bounds.centre();
    let centre = (y - 0.5, x - 0.5);
    let (organ, zone) = locate(&region, centre.0 / step as f32, organs);
    let (upper, lower, left_edge, right_edge) = (y1 - 0.5, y2 - 0.5, x1 - 0.5, x2 - 0.5);
    let sides = spacing.map(|s| {
        let (tall, wide) = (found.bounds.height() * s.row_mm as f32, found.bounds.width() * s.column_mm as f32);
        SizeMm { longest_mm: tall.max(wide), perpendicular_mm: tall.min(wide), kind: s.kind }
    });
    Finding {
        id: FindingId(0),
        label: label.to_owned(),
        probability: found.score,
        calibration: Calibration::Uncalibrated,
        organ,
        zone,
        peak: centre,
        centroid: centre,
        bounding_box: [top, left, bottom, right],
        area_px: (bottom + 1 - top) * (right + 1 - left),
        size_mm: sides,
        contour: vec![(upper, left_edge), (upper, right_edge), (lower, right_edge), (lower, left_edge)],
        extent: None,
    }
}

/// Findings of one heat map, most probable first; ids are given by the caller.
pub(super) fn findings(
    label: &str,
    heat: &Reduced,
    cut: Cut,
    organs: &Organs<'_>,
    spacing: Option<PixelSpacing>,
) -> Vec<Finding> {
    let mut found: Vec<Finding> = finding_regions(&heat.values, cut)
        .into_iter()
        .map(|region| finding(label, heat, cut.threshold, &region, organs, spacing))
        .collect();
    found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    found.truncate(MOST_FINDINGS);
    found
}

pub(super) fn finding(
    label: &str,
    heat: &Reduced,
    threshold: f32,
    region: &[(usize, usize)],
    organs: &Organs<'_>,
    spacing: Option<PixelSpacing>,
) -> Finding {
    let step = heat.step as f32;
    let mut peak = (0, 0);
    let mut sums = (0.0f64, 0.0f64, 0.0f64);
    let mut bounds = [usize::MAX, usize::MAX, 0, 0];
    let mut alone = Array2::zeros(heat.values.dim());
    for &(row, col) in region {
        let value = heat.values[[row, col]];
        alone[[row, col]] = value;
        if value > heat.values[[peak.0, peak.1]] || sums.2 == 0.0 {
            peak = (row, col);
        }
        sums =
            (sums.0 + f64::from(value) * row as f64, sums.1 + f64::from(value) * col as f64, sums.2 + f64::from(value));
        bounds = [bounds[0].min(row), bounds[1].min(col), bounds[2].max(row), bounds[3].max(col)];
    }
    let contour = traced(&Reduced { values: alone, step: heat.step }, threshold)
        .into_iter()
        .max_by_key(Vec::len)
        .unwrap_or_default();
    let centroid = ((sums.0 / sums.2.max(1e-12)) as f32, (sums.1 / sums.2.max(1e-12)) as f32);
    let (organ, zone) = locate(region, centroid.0, organs);
    let last = |index: usize| index * heat.step + heat.step - 1;
    Finding {
        id: FindingId(0),
        label: label.to_owned(),
        probability: heat.values[[peak.0, peak.1]],
        calibration: Calibration::Uncalibrated,
        organ,
        zone,
        peak: (peak.0 as f32 * step, peak.1 as f32 * step),
        centroid: (centroid.0 * step, centroid.1 * step),
        bounding_box: [bounds[0] * heat.step, bounds[1] * heat.step, last(bounds[2]), last(bounds[3])],
        area_px: region.len() * heat.step * heat.step,
        size_mm: spacing.and_then(|spacing| size(&contour, spacing)),
        contour,
        extent: None,
    }
}

/// Organ that covers most of the region, if it covers a fifth of it, and the third of its height.
fn locate(region: &[(usize, usize)], row: f32, organs: &Organs<'_>) -> (Option<String>, Option<Zone>) {
    let inside = |map: &Reduced| region.iter().filter(|at| map.values.get(**at).is_some_and(|v| *v >= 0.5)).count();
    let best =
        organs.names.iter().zip(organs.maps).map(|(name, map)| (inside(map), name, map)).max_by_key(|(n, ..)| *n);
    let Some((_, name, map)) = best.filter(|(count, ..)| *count * 5 >= region.len() && *count > 0) else {
        return (None, None);
    };
    let rows: Vec<usize> = map
        .values
        .outer_iter()
        .enumerate()
        .filter(|(_, line)| line.iter().any(|v| *v >= 0.5))
        .map(|(row, _)| row)
        .collect();
    let zone = match (rows.first(), rows.last()) {
        (Some(top), Some(bottom)) if name.contains("lung") => {
            let place = (row - *top as f32) / (bottom - top + 1) as f32;
            Some(if place < 1.0 / 3.0 {
                Zone::Upper
            } else if place < 2.0 / 3.0 {
                Zone::Middle
            } else {
                Zone::Lower
            })
        }
        _ => None,
    };
    (Some(name.clone()), zone)
}

/// Longest diameter of a contour, and the extent at right angles to it.
fn size(contour: &[(f32, f32)], spacing: PixelSpacing) -> Option<SizeMm> {
    let step = (contour.len() / 256).max(1);
    let points: Vec<(f32, f32)> = contour
        .iter()
        .step_by(step)
        .map(|(row, col)| (row * spacing.row_mm as f32, col * spacing.column_mm as f32))
        .collect();
    let mut longest = (0.0f32, (0.0f32, 0.0f32));
    for (index, a) in points.iter().enumerate() {
        for b in &points[index + 1..] {
            let d = (b.0 - a.0, b.1 - a.1);
            let length = d.0.hypot(d.1);
            if length > longest.0 {
                longest = (length, (d.0 / length, d.1 / length));
            }
        }
    }
    let (longest_mm, along) = longest;
    let across = points.iter().map(|p| p.1 * along.0 - p.0 * along.1);
    let (low, high) = across.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let size = SizeMm { longest_mm, perpendicular_mm: high - low, kind: spacing.kind };
    (longest_mm > 0.0 && size.perpendicular_mm.is_finite()).then_some(size)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{Cut, Organs, boxed_finding, findings, reduce, region_boxes};

    const HALF: Cut = Cut { threshold: 0.5, smallest_share: 0.0008 };
    use crate::analysis::Zone;
    use crate::model::Detection;
    use crate::nn::BoundingBox;
    use crate::study::{PixelSpacing, SpacingKind};

    fn blob(rows: usize, cols: usize, centre: (f32, f32), radii: (f32, f32)) -> Array2<f32> {
        Array2::from_shape_fn((rows, cols), |(r, c)| {
            let d = ((r as f32 - centre.0) / radii.0).powi(2) + ((c as f32 - centre.1) / radii.1).powi(2);
            (1.0 - 0.5 * d).clamp(0.0, 1.0)
        })
    }

    #[test]
    fn a_blob_is_one_finding_with_place_and_size() {
        let heat = blob(300, 200, (220.0, 60.0), (20.0, 10.0));
        let lung =
            Array2::from_shape_fn((300, 200), |(r, c)| if (30..270).contains(&r) && c < 100 { 1.0 } else { 0.0 });
        let names = ["right_lung".to_owned(), "left_lung".to_owned()];
        let maps = [reduce(lung.view()), reduce(Array2::zeros((300, 200)).view())];
        let spacing = PixelSpacing { row_mm: 0.5, column_mm: 2.0, kind: SpacingKind::Detector };
        let found =
            findings("opacity", &reduce(heat.view()), HALF, &Organs { names: &names, maps: &maps }, Some(spacing));
        assert_eq!(found.len(), 1);
        let finding = &found[0];
        assert_eq!(finding.organ.as_deref(), Some("right_lung"));
        assert_eq!(finding.zone, Some(Zone::Lower));
        assert_eq!(finding.peak, (220.0, 60.0));
        assert!((finding.centroid.0 - 220.0).abs() < 0.5 && (finding.centroid.1 - 60.0).abs() < 0.5);
        let size = finding.size_mm.unwrap();
        // Radii 20 rows of 0.5 mm and 10 columns of 2 mm: 20 mm by 40 mm.
        assert!((size.longest_mm - 40.0).abs() < 1.0, "{size:?}");
        assert!((size.perpendicular_mm - 20.0).abs() < 1.5, "{size:?}");
    }

    #[test]
    fn a_box_is_a_finding_with_place_and_size() {
        let lung =
            Array2::from_shape_fn((300, 200), |(r, c)| if (30..270).contains(&r) && c < 100 { 1.0 } else { 0.0 });
        let (names, maps) = (["right_lung".to_owned()], [reduce(lung.view())]);
        let spacing = PixelSpacing { row_mm: 0.5, column_mm: 2.0, kind: SpacingKind::Detector };
        let detection = Detection { bounds: BoundingBox::new(50.0, 40.0, 70.0, 80.0), class: 0, score: 0.7 };
        let finding = boxed_finding("opacity", &detection, 1, &Organs { names: &names, maps: &maps }, Some(spacing));
        assert_eq!((finding.organ.as_deref(), finding.zone), (Some("right_lung"), Some(Zone::Upper)));
        assert_eq!((finding.bounding_box, finding.area_px), ([40, 50, 79, 69], 800));
        assert_eq!((finding.peak, finding.probability), ((59.5, 59.5), 0.7));
        let size = finding.size_mm.unwrap();
        assert_eq!((size.longest_mm, size.perpendicular_mm), (40.0, 20.0));
        assert_eq!(finding.contour[0], (39.5, 49.5));
    }

    #[test]
    fn regions_have_boxes() {
        let heat = blob(1500, 1200, (500.0, 300.0), (90.0, 60.0));
        let [(bounds, score)] = region_boxes(heat.view(), HALF)[..] else { panic!("one region") };
        assert!((bounds.x1 - 240.0).abs() < 4.0 && (bounds.y2 - 591.0).abs() < 4.0, "{bounds:?}");
        assert!(score > 0.99);
        assert!(region_boxes(Array2::zeros((9, 9)).view(), HALF).is_empty());
    }

    #[test]
    fn large_maps_are_reduced_and_noise_is_dropped() {
        let mut heat = blob(1500, 1200, (500.0, 300.0), (90.0, 90.0));
        heat[[1200, 900]] = 1.0;
        let reduced = reduce(heat.view());
        assert_eq!(reduced.step, 3);
        let found = findings("opacity", &reduced, HALF, &Organs { names: &[], maps: &[] }, None);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].organ.clone(), found[0].size_mm), (None, None));
        assert!((found[0].area_px as f32 / (std::f32::consts::PI * 90.0 * 90.0) - 1.0).abs() < 0.05);
    }
}
