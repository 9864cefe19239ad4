//! Values inside a region.

use serde::Serialize;

use super::Runs;
use crate::study::{Frame, Pixels, Suv};
use crate::with_gray;

/// Unit that values are given in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The modality's own: HU for CT, what the file says elsewhere.
    #[default]
    Modality,
    /// Standardised uptake by body weight, g/mL.
    Suv,
}

impl Unit {
    /// What multiplies the modality's values, and the unit's name; `None` where the frame cannot give it.
    pub fn of(self, frame: &Frame) -> Option<(f64, String)> {
        match self {
            Self::Modality => Some((1.0, frame.display.units.clone())),
            Self::Suv => match &frame.display.suv {
                Some(Suv::Factor(factor)) => Some((*factor, Suv::UNITS.to_owned())),
                _ => None,
            },
        }
    }

    /// The unit that readers expect of a frame: SUV for PET where the file allows it.
    pub fn usual(frame: &Frame) -> Self {
        if matches!(frame.display.suv, Some(Suv::Factor(_))) { Self::Suv } else { Self::Modality }
    }
}

/// How often values fall into equal bins.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// Lower end of the first bin.
    pub from: f64,
    /// Width of a bin; positive.
    pub width: f64,
    /// Number of values in each bin; the upper end belongs to the last.
    pub counts: Vec<u64>,
}

/// What the values inside a region are like.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistics {
    /// Pixels counted.
    pub count: u64,
    /// Pixels of the region that are padding, not counted.
    pub padding: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the values themselves (divided by their number).
    pub sd: f64,
    /// Lowest value.
    pub min: f64,
    /// Median; between the two middle values where their number is even.
    pub median: f64,
    /// Highest value.
    pub max: f64,
    /// Unit, as shown to people; may be empty.
    pub units: String,
    /// Histogram over at most 64 bins.
    pub histogram: Histogram,
}

/// Why there are no statistics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatisticsError {
    /// Colour has no single value.
    #[error("colour image: no values to count")]
    Color,
    /// Nothing to count.
    #[error("the region holds no pixel")]
    Empty,
    /// All padding, or not a number.
    #[error("the region holds padding only")]
    NoValues,
    /// The unit cannot be had.
    #[error("no SUV: {0}")]
    NoSuv(String),
}

const MOST_BINS: usize = 64;

/// Statistics of the pixels of `region` in a frame.
///
/// # Errors
/// For colour images, empty regions, and SUV where the file does not allow it.
pub fn statistics(frame: &Frame, region: &Runs, unit: Unit) -> Result<Statistics, StatisticsError> {
    let Pixels::Gray(gray) = &frame.pixels else { return Err(StatisticsError::Color) };
    let Some((factor, units)) = unit.of(frame) else {
        let reason = match &frame.display.suv {
            Some(Suv::Unknown(reason)) => reason.clone(),
            _ => "not a PET image".to_owned(),
        };
        return Err(StatisticsError::NoSuv(reason));
    };
    let (_, columns) = frame.shape();
    let padding = frame.display.padding;
    let mut padded = 0;
    let mut values: Vec<f64> = Vec::with_capacity(region.count().min(1 << 26) as usize);
    with_gray!(gray, array => {
        for pixel in region.pixels() {
            let place = (pixel as usize / columns.max(1), pixel as usize % columns.max(1));
            let Some(stored) = array.get(place) else { continue };
            let stored = f64::from(*stored);
            if padding.is_some_and(|(low, high)| (low..=high).contains(&stored)) {
                padded += 1;
            } else {
                let value = frame.display.modality.apply(stored) * factor;
                if value.is_finite() {
                    values.push(value);
                }
            }
        }
    });
    if values.is_empty() {
        return Err(if padded > 0 { StatisticsError::NoValues } else { StatisticsError::Empty });
    }
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64;
    let (min, max) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let histogram = histogram(&values, min, max);
    let median = median(&mut values);
    Ok(Statistics {
        count: count as u64,
        padding: padded,
        mean,
        sd: variance.sqrt(),
        min,
        median,
        max,
        units,
        histogram,
    })
}

/// The middle value, or between the two middle ones; the order of `values` is lost.
fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, middle, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    let middle = *middle;
    match below.iter().copied().reduce(f64::max) {
        Some(lower) if even => (lower + middle) / 2.0,
        _ => middle,
    }
}

fn histogram(values: &[f64], min: f64, max: f64) -> Histogram {
    let whole = values.iter().all(|value| value.fract() == 0.0);
    // Whole numbers get bins of whole width, so that no bin holds more of them than its neighbours.
    let (from, width, bins) = if whole {
        let span = max - min + 1.0;
        let width = (span / MOST_BINS as f64).ceil().max(1.0);
        (min - 0.5, width, (span / width).ceil() as usize)
    } else {
        let width = (max - min) / MOST_BINS as f64;
        if width > 0.0 { (min, width, MOST_BINS) } else { (min - 0.5, 1.0, 1) }
    };
    let mut counts = vec![0; bins.clamp(1, MOST_BINS)];
    let last = counts.len() - 1;
    for value in values {
        let bin = (((value - from) / width) as usize).min(last);
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    Histogram { from, width, counts }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::study::{DisplayAttributes, GrayPixels, ModalityTransform};

    fn frame() -> Frame {
        let modality = ModalityTransform::Rescale { slope: 2.0, intercept: -10.0 };
        let display = DisplayAttributes { modality, units: "HU".into(), ..DisplayAttributes::default() };
        let pixels = Pixels::Gray(GrayPixels::I16(Array2::from_shape_fn((3, 4), |(r, c)| (r * 4 + c) as i16)));
        Frame { pixels, display }
    }

    #[test]
    fn by_hand() {
        // Stored 1, 2, 5, 6 are -8, -6, 0, 2 HU: mean -3, squares 25 + 9 + 9 + 25 = 68.
        let s = statistics(&frame(), &Runs::new(vec![(1, 2), (5, 2)]), Unit::Modality).expect("statistics");
        assert_eq!((s.count, s.mean, s.min, s.median, s.max, s.units.as_str()), (4, -3.0, -8.0, -3.0, 2.0, "HU"));
        assert!((s.sd - 17.0_f64.sqrt()).abs() < 1e-12, "{}", s.sd);
        assert_eq!(s.histogram.counts.iter().sum::<u64>(), 4);
        assert_eq!((s.histogram.from, s.histogram.width), (-8.5, 1.0));
    }

    #[test]
    fn padding_is_not_counted() {
        let mut frame = frame();
        frame.display.padding = Some((0.0, 1.0));
        let s = statistics(&frame, &Runs::new(vec![(0, 4)]), Unit::Modality).expect("statistics");
        assert_eq!((s.count, s.padding, s.mean), (2, 2, -5.0));
        let only = statistics(&frame, &Runs::new(vec![(0, 2)]), Unit::Modality);
        assert_eq!(only, Err(StatisticsError::NoValues));
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        assert_eq!(statistics(&frame(), &Runs::default(), Unit::Modality), Err(StatisticsError::Empty));
        assert_eq!(statistics(&frame(), &Runs::new(vec![(90, 9)]), Unit::Modality), Err(StatisticsError::Empty));
        let suv = statistics(&frame(), &Runs::new(vec![(0, 2)]), Unit::Suv);
        assert!(matches!(suv, Err(StatisticsError::NoSuv(_))), "{suv:?}");
        let rgb = Frame { pixels: Pixels::Rgb(ndarray::Array3::zeros((2, 2, 3))), ..frame() };
        assert_eq!(statistics(&rgb, &Runs::new(vec![(0, 2)]), Unit::Modality), Err(StatisticsError::Color));
    }

    #[test]
    fn uptake_is_scaled() {
        let mut frame = frame();
        frame.display.suv = Some(Suv::Factor(0.25));
        assert_eq!(Unit::usual(&frame), Unit::Suv);
        let s = statistics(&frame, &Runs::new(vec![(6, 2)]), Unit::Suv).expect("statistics");
        assert_eq!((s.mean, s.units.as_str()), (0.75, "SUVbw"));
    }

    #[test]
    fn histograms_lose_no_value() {
        let values: Vec<f64> = (0..1000).map(|n| f64::from(n) * 0.37).collect();
        let h = histogram(&values, 0.0, 999.0 * 0.37);
        assert_eq!((h.counts.len(), h.counts.iter().sum::<u64>()), (64, 1000));
        let whole: Vec<f64> = (0..1000).map(f64::from).collect();
        let h = histogram(&whole, 0.0, 999.0);
        assert_eq!(h.width, 16.0);
        assert!(h.counts.iter().take(62).all(|count| *count == 16), "{h:?}");
        assert_eq!(histogram(&[2.5], 2.5, 2.5).counts, [1]);
    }
}
