//! Metrics as pure functions. `None` means that the metric is not defined for the data (no positives, for one).

use ndarray::{Array2, ArrayView2};

/// False positives an image at which FROC sensitivity is read (LUNA16; Setio et al., Medical Image Analysis 42, 2017).
pub const FROC_RATES: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];

/// Dice coefficient, 0 to 1, of two masks (inside from 0.5 on): 2|A∩B| / (|A| + |B|); 1 where both are empty.
/// `None` where their sizes differ. Source: Dice, Ecology 26, 1945.
pub fn dice(prediction: ArrayView2<'_, f32>, truth: ArrayView2<'_, u8>) -> Option<f64> {
    if prediction.dim() != truth.dim() {
        return None;
    }
    let (mut both, mut sum) = (0u64, 0u64);
    for (p, t) in prediction.iter().zip(&truth) {
        let (p, t) = (u64::from(*p >= 0.5), u64::from(*t != 0));
        both += p & t;
        sum += p + t;
    }
    Some(if sum == 0 { 1.0 } else { 2.0 * both as f64 / sum as f64 })
}

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counting one half.
/// Source: Hanley and McNeil, Radiology 143, 1982. `None` without positives, without negatives, or with NaN.
pub fn auroc(scores: &[(f64, bool)]) -> Option<f64> {
    let curve = roc_curve(scores)?;
    // Trapezoids over groups of tied scores give ties their half.
    Some(curve.windows(2).map(|w| (w[1].0 - w[0].0) * (w[1].1 + w[0].1) / 2.0).sum())
}

/// ROC curve: (false positive rate, sensitivity) from (0, 0) to (1, 1), one point a distinct score.
pub fn roc_curve(scores: &[(f64, bool)]) -> Option<Vec<(f64, f64)>> {
    let positives = scores.iter().filter(|(_, label)| *label).count();
    let negatives = scores.len() - positives;
    if positives == 0 || negatives == 0 || scores.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let mut curve = vec![(0.0, 0.0)];
    let (mut hits, mut alarms) = (0usize, 0usize);
    for group in tied_groups(scores) {
        let positive = group.iter().filter(|(_, label)| *label).count();
        hits += positive;
        alarms += group.len() - positive;
        curve.push((alarms as f64 / negatives as f64, hits as f64 / positives as f64));
    }
    Some(curve)
}

/// Average precision: the sum over distinct scores of (growth in recall) × precision. Source: the step rule of scikit-learn's
/// `average_precision_score`. `None` without positives, without
/// negatives (it would be 1 whatever the scores), or with NaN.
pub fn average_precision(scores: &[(f64, bool)]) -> Option<f64> {
    let positives = scores.iter().filter(|(_, label)| *label).count();
    if positives == 0 || positives == scores.len() || scores.iter().any(|(score, _)| score.is_nan()) {
        return None;
    }
    let (mut hits, mut seen, mut sum) = (0usize, 0usize, 0.0);
    for group in tied_groups(scores) {
        let positive = group.iter().filter(|(_, label)| *label).count();
        hits += positive;
        seen += group.len();
        sum += positive as f64 / positives as f64 * hits as f64 / seen as f64;
    }
    Some(sum)
}

/// Highest sensitivity at a specificity of at least `specificity` (0 to 1).
pub fn sensitivity_at_specificity(scores: &[(f64, bool)], specificity: f64) -> Option<f64> {
    let curve = roc_curve(scores)?;
    curve.iter().filter(|(alarm, _)| 1.0 - alarm >= specificity - 1e-12).map(|(_, hit)| *hit).max_by(f64::total_cmp)
}

fn tied_groups(scores: &[(f64, bool)]) -> Vec<Vec<(f64, bool)>> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    sorted.chunk_by(|a, b| a.0 == b.0).map(<[(f64, bool)]>::to_vec).collect()
}

/// Where the heat map is highest: (row, column), the first in reading order among equals; `None` where it is empty or the same
/// everywhere, which points nowhere. NaN never wins.
pub fn heat_map_peak(heat_map: ArrayView2<'_, f32>) -> Option<(usize, usize)> {
    let mut peak: Option<((usize, usize), f32)> = None;
    let mut lowest = f32::INFINITY;
    for (at, value) in heat_map.indexed_iter() {
        lowest = lowest.min(*value);
        if peak.is_none_or(|(_, best)| *value > best) && !value.is_nan() {
            peak = Some((at, *value));
        }
    }
    peak.filter(|(_, best)| *best > lowest).map(|(at, _)| at)
}

/// Whether the heat map's peak lies inside the truth. Source: pointing game, Zhang et al., IJCV 126, 2018, without their tolerance
/// of 15 pixels.
pub fn pointing_game(heat_map: ArrayView2<'_, f32>, truth: ArrayView2<'_, u8>) -> bool {
    heat_map_peak(heat_map).and_then(|at| truth.get(at)).is_some_and(|t| *t != 0)
}

/// A suspected lesion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Larger is more suspect.
    pub score: f64,
    /// Index of the true lesion that it hits; `None` for a false positive.
    pub lesion: Option<usize>,
}

/// What FROC needs of one image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FrocImage {
    /// Number of true lesions.
    pub lesions: usize,
    /// Suspected ones. Of several on one lesion the highest counts; the others are no false positives.
    pub candidates: Vec<Candidate>,
}

/// FROC curve: (false positives an image, sensitivity over lesions), from (0, 0), one point a distinct score.
/// Source: LUNA16's evaluation (Setio et al., 2017). `None` without images or without lesions.
pub fn froc_curve(images: &[&FrocImage]) -> Option<Vec<(f64, f64)>> {
    let lesions: usize = images.iter().map(|image| image.lesions).sum();
    if lesions == 0 {
        return None;
    }
    let mut marks: Vec<(f64, bool)> = Vec::new();
    for image in images {
        let mut best = vec![f64::NEG_INFINITY; image.lesions];
        for candidate in image.candidates.iter().filter(|c| !c.score.is_nan()) {
            match candidate.lesion.and_then(|lesion| best.get_mut(lesion)) {
                Some(best) => *best = best.max(candidate.score),
                None => marks.push((candidate.score, false)),
            }
        }
        marks.extend(best.into_iter().filter(|score| *score > f64::NEG_INFINITY).map(|score| (score, true)));
    }
    let (mut hits, mut alarms) = (0usize, 0usize);
    let mut curve = vec![(0.0, 0.0)];
    for group in tied_groups(&marks) {
        let positive = group.iter().filter(|(_, hit)| *hit).count();
        hits += positive;
        alarms += group.len() - positive;
        curve.push((alarms as f64 / images.len() as f64, hits as f64 / lesions as f64));
    }
    Some(curve)
}

/// LUNA16's score: mean sensitivity at [`FROC_RATES`], 0 to 1, linear between points of the curve and flat beyond its end.
pub fn froc_score(images: &[&FrocImage]) -> Option<f64> {
    let curve = froc_curve(images)?;
    Some(FROC_RATES.iter().map(|rate| interpolate_curve(&curve, *rate)).sum::<f64>() / FROC_RATES.len() as f64)
}

/// COCO's average precision of boxes: precision, made to fall with recall, read at recalls 0, 0.01 to 1 and averaged. A candidate without a
/// lesion is a false positive; a lesion has one candidate at most. Source: pycocotools 2.0, `COCOeval`. `None` without lesions.
pub fn box_average_precision(images: &[&FrocImage]) -> Option<f64> {
    let lesions: usize = images.iter().map(|image| image.lesions).sum();
    if lesions == 0 {
        return None;
    }
    let candidates = images.iter().flat_map(|image| &image.candidates).filter(|c| !c.score.is_nan());
    let mut marks: Vec<(f64, bool)> = candidates.map(|c| (c.score, c.lesion.is_some())).collect();
    marks.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut hits = 0usize;
    let mut curve: Vec<(f64, f64)> = Vec::with_capacity(marks.len());
    for (index, (_, hit)) in marks.iter().enumerate() {
        hits += usize::from(*hit);
        curve.push((hits as f64 / lesions as f64, hits as f64 / (index + 1) as f64));
    }
    let mut best = 0.0f64;
    for point in curve.iter_mut().rev() {
        best = best.max(point.1);
        point.1 = best;
    }
    let at = |recall: f64| curve.get(curve.partition_point(|point| point.0 < recall)).map_or(0.0, |point| point.1);
    Some((0..=100).map(|step| at(f64::from(step) / 100.0)).sum::<f64>() / 101.0)
}

/// Value of a curve with ascending x at `x`: linear between points, flat outside; of several points at one x the last.
pub fn interpolate_curve(curve: &[(f64, f64)], x: f64) -> f64 {
    let after = curve.partition_point(|point| point.0 <= x);
    match (after.checked_sub(1).and_then(|index| curve.get(index)), curve.get(after)) {
        (Some(a), Some(b)) => a.1 + (x - a.0) / (b.0 - a.0) * (b.1 - a.1),
        (Some(point), None) | (None, Some(point)) => point.1,
        (None, None) => 0.0,
    }
}

/// Brier score: mean squared difference of probability and outcome, 0 is best. Source: Brier, Monthly Weather Review 78, 1950.
pub fn brier(scores: &[(f64, bool)]) -> Option<f64> {
    let sum: f64 = scores.iter().map(|(p, label)| (p - f64::from(u8::from(*label))).powi(2)).sum();
    (!scores.is_empty()).then(|| sum / scores.len() as f64)
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Mean predicted probability.
    pub predicted: f64,
    /// Share of positives.
    pub observed: f64,
    /// Images in it, at least 1.
    pub count: usize,
}

/// Bins of equal width over 0 to 1; empty ones are left out.
pub fn reliability_bins(scores: &[(f64, bool)], bins: usize) -> Vec<ReliabilityBin> {
    let bins = bins.max(1);
    let mut sums = vec![(0.0, 0usize, 0usize); bins];
    for (p, label) in scores.iter().filter(|(p, _)| !p.is_nan()) {
        let bin = &mut sums[((p.clamp(0.0, 1.0) * bins as f64) as usize).min(bins - 1)];
        bin.0 += p;
        bin.1 += usize::from(*label);
        bin.2 += 1;
    }
    sums.into_iter()
        .filter(|(_, _, count)| *count > 0)
        .map(|(sum, positives, count)| ReliabilityBin {
            predicted: sum / count as f64,
            observed: positives as f64 / count as f64,
            count,
        })
        .collect()
}

/// Expected calibration error over ten bins of equal width, 0 is best. Source: Guo et al., ICML 2017.
pub fn expected_calibration_error(scores: &[(f64, bool)]) -> Option<f64> {
    let bins = reliability_bins(scores, 10);
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let sum: f64 = bins.iter().map(|bin| bin.count as f64 * (bin.predicted - bin.observed).abs()).sum();
    (total > 0).then(|| sum / total as f64)
}

/// A mask, 0 or 1, of where a probability map reaches `threshold`.
pub(super) fn binary(map: ArrayView2<'_, f32>, threshold: f32) -> Array2<u8> {
    map.mapv(|v| u8::from(v >= threshold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-9)
    }

    #[test]
    fn dice_by_hand() {
        let prediction = array![[0.9f32, 0.5], [0.4, 0.0]];
        assert!(close(dice(prediction.view(), array![[1u8, 0], [1, 0]].view()), 0.5));
        assert!(close(dice(prediction.view(), array![[1u8, 1], [0, 0]].view()), 1.0));
        assert!(close(dice(prediction.view(), array![[0u8, 0], [0, 1]].view()), 0.0));
        assert!(close(dice(Array2::zeros((2, 2)).view(), Array2::zeros((2, 2)).view()), 1.0));
        assert_eq!(dice(prediction.view(), Array2::zeros((3, 2)).view()), None);
        let broken = array![[f32::NAN, 1.0]];
        assert!(close(dice(broken.view(), array![[1u8, 1]].view()), 2.0 / 3.0));
    }

    #[test]
    fn auroc_by_hand() {
        // Four pairs: 0.8 > 0.6, 0.8 > 0.1, 0.4 < 0.6, 0.4 > 0.1: three of four.
        let scores = [(0.8, true), (0.4, true), (0.6, false), (0.1, false)];
        assert!(close(auroc(&scores), 0.75));
        assert!(close(auroc(&[(0.5, true), (0.5, false)]), 0.5));
        // One tie of two pairs: (1/2 + 1) / 2.
        assert!(close(auroc(&[(0.5, true), (0.5, false), (0.2, false)]), 0.75));
        assert!(close(auroc(&[(0.1, true), (0.9, false)]), 0.0));
        assert_eq!(auroc(&[(0.1, true)]), None);
        assert_eq!(auroc(&[]), None);
        assert_eq!(auroc(&[(f64::NAN, true), (0.2, false)]), None);
    }

    #[test]
    fn average_precision_by_hand() {
        // Recall grows at ranks 1 and 3: 1/2 · 1 + 1/2 · 2/3.
        let scores = [(0.9, true), (0.8, false), (0.7, true), (0.1, false)];
        assert!(close(average_precision(&scores), 0.5 + 1.0 / 3.0));
        assert!(close(average_precision(&[(0.5, true), (0.5, false)]), 0.5));
        assert_eq!(average_precision(&[(0.5, false)]), None);
        assert_eq!(average_precision(&[(0.5, true)]), None);
    }

    #[test]
    fn sensitivity_by_hand() {
        let scores = [(0.9, true), (0.8, false), (0.7, true), (0.6, false), (0.1, true)];
        assert!(close(sensitivity_at_specificity(&scores, 1.0), 1.0 / 3.0));
        assert!(close(sensitivity_at_specificity(&scores, 0.5), 2.0 / 3.0));
        assert!(close(sensitivity_at_specificity(&scores, 0.0), 1.0));
    }

    #[test]
    fn pointing_needs_a_point() {
        let truth = array![[0u8, 1], [0, 0]];
        assert!(pointing_game(array![[0.1f32, 0.9], [0.3, 0.2]].view(), truth.view()));
        assert!(!pointing_game(array![[0.1f32, 0.2], [0.3, 0.2]].view(), truth.view()));
        assert!(!pointing_game(array![[0.5f32, 0.5], [0.5, 0.5]].view(), truth.view()), "a flat map points nowhere");
        assert!(pointing_game(array![[f32::NAN, 0.2], [0.1, 0.1]].view(), truth.view()));
        assert_eq!(heat_map_peak(Array2::<f32>::zeros((0, 0)).view()), None);
    }

    #[test]
    fn froc_by_hand() {
        let hit = |score, lesion| Candidate { score, lesion: Some(lesion) };
        let miss = |score| Candidate { score, lesion: None };
        let images = [
            FrocImage { lesions: 2, candidates: vec![hit(0.9, 0), hit(0.3, 0), miss(0.8), hit(0.2, 1)] },
            FrocImage { lesions: 0, candidates: vec![miss(0.5)] },
        ];
        let images: Vec<&FrocImage> = images.iter().collect();
        let curve = froc_curve(&images).expect("there are lesions");
        assert_eq!(curve, [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (1.0, 0.5), (1.0, 1.0)]);
        // 1/8, 1/4, 1/2 read 0.5; 1, 2, 4, 8 read 1.
        assert!(close(froc_score(&images), (3.0 * 0.5 + 4.0) / 7.0));
        assert_eq!(froc_score(&[&FrocImage::default()]), None);
        let silent = FrocImage { lesions: 1, candidates: Vec::new() };
        assert!(close(froc_score(&[&silent]), 0.0));
        let odd = FrocImage { lesions: 1, candidates: vec![hit(f64::NAN, 0), hit(0.4, 7)] };
        assert!(close(froc_score(&[&odd]), 0.0), "NaN and lesions that do not exist are no hits");
    }

    #[test]
    fn box_average_precision_by_hand() {
        let mark = |score, hit: bool| Candidate { score, lesion: hit.then_some(0) };
        let images = [
            FrocImage { lesions: 1, candidates: vec![mark(0.9, true), mark(0.3, false)] },
            FrocImage { lesions: 1, candidates: vec![mark(0.8, false), mark(0.5, true)] },
        ];
        let images: Vec<&FrocImage> = images.iter().collect();
        // Precision 1 up to recall 0.5 (51 of 101 readings), then 2/3.
        assert!(close(box_average_precision(&images), (51.0 + 50.0 * 2.0 / 3.0) / 101.0));
        let silent = FrocImage { lesions: 1, candidates: Vec::new() };
        assert!(close(box_average_precision(&[&silent]), 0.0));
        assert_eq!(box_average_precision(&[&FrocImage::default()]), None);
    }

    #[test]
    fn calibration_by_hand() {
        let scores = [(0.95, true), (0.95, false), (0.05, false), (0.05, false)];
        assert!(close(brier(&scores), (0.0025 + 0.9025 + 0.0025 + 0.0025) / 4.0));
        assert!(close(expected_calibration_error(&scores), 0.5 * 0.45 + 0.5 * 0.05));
        let bins = reliability_bins(&scores, 10);
        assert_eq!((bins.len(), bins[1].count), (2, 2));
        assert!((bins[1].observed - 0.5).abs() < 1e-12);
        assert_eq!(expected_calibration_error(&[]), None);
        assert_eq!(brier(&[]), None);
        assert_eq!(reliability_bins(&[(1.0, true), (f64::NAN, true)], 10).len(), 1);
    }

    proptest! {
        #[test]
        fn auroc_counts_pairs(scores in proptest::collection::vec((0u8..6, any::<bool>()), 2..40)) {
            let scores: Vec<(f64, bool)> = scores.into_iter().map(|(s, l)| (f64::from(s), l)).collect();
            let (mut wins, mut pairs) = (0.0, 0.0);
            for p in scores.iter().filter(|s| s.1) {
                for n in scores.iter().filter(|s| !s.1) {
                    pairs += 1.0;
                    wins += if p.0 > n.0 { 1.0 } else if p.0 == n.0 { 0.5 } else { 0.0 };
                }
            }
            match auroc(&scores) {
                Some(value) => prop_assert!((value - wins / pairs).abs() < 1e-9),
                None => prop_assert!(pairs == 0.0),
            }
        }
    }
}
