//! From stored values to gray: modality transform, then window or lookup table, then inversion (PS3.3 C.11, PS3.4 N.2).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Rgba;
use crate::study::{DisplayAttributes, Frame, GrayPixels, LookupTable, Pixels, Suv, VoiFunction, Window};
use crate::with_gray;

/// How values in the modality's units become gray.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Voi {
    /// The curve.
    pub mapping: VoiMapping,
    /// Inverted by the user, on top of what the file says (MONOCHROME1).
    pub inverted: bool,
}

/// The curve of a [`Voi`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiMapping {
    /// A window (PS3.3 C.11.2.1.2 and C.11.2.1.3).
    Window(Window),
    /// A VOI lookup table (PS3.3 C.11.2.1.1).
    Lut(LookupTable),
}

/// A window that readers know by name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// Window width, in the unit that it is for.
    pub width: f64,
    /// Window centre.
    pub center: f64,
}

const CT: [Preset; 5] = [
    Preset { name: "Brain", width: 110.0, center: 35.0 },
    Preset { name: "Abdomen", width: 320.0, center: 50.0 },
    Preset { name: "Mediastinum", width: 400.0, center: 80.0 },
    Preset { name: "Bone", width: 2000.0, center: 350.0 },
    Preset { name: "Lung", width: 1500.0, center: -500.0 },
];

/// From none to so much uptake, as PET is read.
const PET: [Preset; 5] = [
    Preset { name: "SUV 0 to 5", width: 5.0, center: 2.5 },
    Preset { name: "SUV 0 to 7", width: 7.0, center: 3.5 },
    Preset { name: "SUV 0 to 10", width: 10.0, center: 5.0 },
    Preset { name: "SUV 0 to 15", width: 15.0, center: 7.5 },
    Preset { name: "SUV 0 to 20", width: 20.0, center: 10.0 },
];

impl Preset {
    /// The windows on the keys 3 to 7 for values in `units`: of CT for HU, of PET for SUV, none for others, whose values mean nothing from one
    /// scanner to the next.
    pub fn of_units(units: &str) -> &'static [Self] {
        match units {
            "HU" => &CT,
            Suv::UNITS => &PET,
            _ => &[],
        }
    }

    /// The window.
    pub fn window(&self) -> Window {
        // The usual function counts by whole units: narrow windows need the exact one.
        let function = if self.width < 100.0 { VoiFunction::LinearExact } else { VoiFunction::Linear };
        Window { name: self.name.to_owned(), function, ..Window::linear(self.center, self.width) }
    }
}

impl Voi {
    /// A window, not inverted by the user.
    pub fn window(window: Window) -> Self {
        Self { mapping: VoiMapping::Window(window), inverted: false }
    }

    /// How the frame is shown at first: the first usable window of the file, else its VOI lookup table, else
    /// [`automatic_window`].
    pub fn of_frame(frame: &Frame) -> Self {
        let from_file = frame.display.windows.iter().find(|window| is_usable(window));
        match (from_file, &frame.display.voi_lut) {
            (Some(window), _) => Self::window(window.clone()),
            (None, Some(lut)) => Self { mapping: VoiMapping::Lut(lut.clone()), inverted: false },
            (None, None) => Self::window(automatic_window(frame)),
        }
    }

    /// Display value, 0 to 1, of `value` in the modality's units, before any inversion.
    pub fn apply(&self, value: f64) -> f32 {
        match &self.mapping {
            VoiMapping::Window(window) => window.apply(value),
            VoiMapping::Lut(lut) => {
                if value.is_nan() {
                    return 0.0;
                }
                let top = f64::from((1_u32 << lut.bits.clamp(1, 16)) - 1);
                (lut.lookup(value) / top).clamp(0.0, 1.0) as f32
            }
        }
    }

    /// Window width and centre as shown in the corner: `W 1500 L -500`; the name of a lookup table.
    pub fn describe(&self) -> String {
        match &self.mapping {
            VoiMapping::Window(window) => {
                let digits = match window.width.abs() {
                    width if width < 10.0 => 2,
                    width if width < 40.0 => 1,
                    _ => 0,
                };
                format!("W {:.digits$} L {:.digits$}", window.width, window.center)
            }
            VoiMapping::Lut(_) => "VOI LUT".to_owned(),
        }
    }
}

fn is_usable(window: &Window) -> bool {
    window.center.is_finite() && window.width.is_finite() && window.width > 0.0
}

/// Window from the 0.5th to the 99.5th percentile of the values that are not padding, in the modality's units.
///
/// It is [`VoiFunction::LinearExact`], so that narrow ranges (maps from 0 to 1) work. Colour frames give 0 to 255.
pub fn automatic_window(frame: &Frame) -> Window {
    let (low, high) = match &frame.pixels {
        Pixels::Gray(gray) => percentiles(gray, &frame.display, 0.005, 0.995),
        Pixels::Rgb(_) => (0.0, 255.0),
    };
    let width = if high > low { high - low } else { 1.0 };
    Window { center: low + (high - low) / 2.0, width, function: VoiFunction::LinearExact, name: "Automatic".to_owned() }
}

/// Values in the modality's units below which the shares `low` and `high` of all image (not padding) pixels lie.
#[allow(clippy::useless_conversion)] // One arm of the macro is f64 already.
fn percentiles(gray: &GrayPixels, display: &DisplayAttributes, low: f64, high: f64) -> (f64, f64) {
    // (value, pixels with it), by value.
    let mut counted: Vec<(f64, u64)> = match gray {
        GrayPixels::U8(a) => histogram(a.view(), display),
        GrayPixels::I8(a) => histogram(a.view(), display),
        GrayPixels::U16(a) => histogram(a.view(), display),
        GrayPixels::I16(a) => histogram(a.view(), display),
        _ => with_gray!(gray, array => {
            // A sample of about a million is as good as all.
            let step = (array.len() / 1_000_000).max(1);
            array.iter().step_by(step)
                .map(|v| f64::from(*v))
                .filter(|v| !is_padding(*v, display))
                .map(|v| (display.modality.apply(v), 1))
                .filter(|(v, _)| v.is_finite())
                .collect()
        }),
    };
    counted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: u64 = counted.iter().map(|(_, count)| count).sum();
    let at = |share: f64| {
        let wanted = (share * total.saturating_sub(1) as f64).round() as u64;
        let mut seen = 0;
        for (value, count) in &counted {
            seen += count;
            if seen > wanted {
                return *value;
            }
        }
        0.0
    };
    (at(low), at(high))
}

fn is_padding(stored: f64, display: &DisplayAttributes) -> bool {
    display.padding.is_some_and(|(low, high)| stored >= low && stored <= high)
}

/// Stored values of at most 16 bits: all of them fit a table.
trait Short: Copy + Ord + Send + Sync + Into<i32> + Into<f64> {
    /// The smallest value of the type.
    const LOWEST: i32;
    /// How many values the type has.
    const COUNT: usize;
}

impl Short for u8 {
    const LOWEST: i32 = 0;
    const COUNT: usize = 1 << 8;
}
impl Short for i8 {
    const LOWEST: i32 = i8::MIN as i32;
    const COUNT: usize = 1 << 8;
}
impl Short for u16 {
    const LOWEST: i32 = 0;
    const COUNT: usize = 1 << 16;
}
impl Short for i16 {
    const LOWEST: i32 = i16::MIN as i32;
    const COUNT: usize = 1 << 16;
}

fn slot<T: Short>(value: T) -> usize {
    (Into::<i32>::into(value) - T::LOWEST) as usize
}

fn histogram<T: Short>(values: ArrayView2<'_, T>, display: &DisplayAttributes) -> Vec<(f64, u64)> {
    let mut counts = vec![0_u64; T::COUNT];
    for value in values {
        if let Some(count) = counts.get_mut(slot(*value)) {
            *count += 1;
        }
    }
    counts
        .into_iter()
        .enumerate()
        .filter(|(_, count)| *count > 0)
        .map(|(index, count)| (f64::from(T::LOWEST + index as i32), count))
        .filter(|(stored, _)| !is_padding(*stored, display))
        .map(|(stored, count)| (display.modality.apply(stored), count))
        .filter(|(value, _)| value.is_finite())
        .collect()
}

/// The frame as it is shown: gray through `voi` (padding black in either polarity), colour as it is.
///
/// One output pixel a stored pixel; the shape of the pixels (spacing) is the viewport's matter.
pub fn gray_image(frame: &Frame, voi: &Voi) -> Rgba {
    let (height, width) = frame.shape();
    let pixels = match &frame.pixels {
        Pixels::Gray(gray) => {
            gray_levels(gray, &frame.display, voi).into_par_iter().map(|level| [level, level, level, 255]).collect()
        }
        Pixels::Rgb(rgb) => {
            let flip = if voi.inverted { 255 } else { 0 };
            let contiguous = rgb.as_standard_layout();
            let samples = contiguous.as_slice().unwrap_or(&[]);
            samples.par_chunks_exact(3).map(|p| [p[0] ^ flip, p[1] ^ flip, p[2] ^ flip, 255]).collect()
        }
    };
    Rgba { width, height, pixels }
}

/// Gray levels in row-major order.
#[allow(clippy::useless_conversion)] // One arm of the macro is f64 already.
fn gray_levels(gray: &GrayPixels, display: &DisplayAttributes, voi: &Voi) -> Vec<u8> {
    let inverted = display.inverted != voi.inverted;
    let level = |stored: f64| -> u8 {
        if stored.is_nan() || is_padding(stored, display) {
            return 0;
        }
        // Rounded: levels are not negative.
        let level = (voi.apply(display.modality.apply(stored)) * 255.0 + 0.5) as u8;
        if inverted { 255 - level } else { level }
    };
    match gray {
        GrayPixels::U8(a) => by_table(a, &level),
        GrayPixels::I8(a) => by_table(a, &level),
        GrayPixels::U16(a) => by_table(a, &level),
        GrayPixels::I16(a) => by_table(a, &level),
        _ => with_gray!(gray, array => {
            let contiguous = array.as_standard_layout();
            contiguous.as_slice().unwrap_or(&[]).par_iter().map(|v| level(f64::from(*v))).collect()
        }),
    }
}

/// Works out the level of each stored value that occurs once, then looks it up.
fn by_table<T: Short>(array: &Array2<T>, level: &(impl Fn(f64) -> u8 + Sync)) -> Vec<u8> {
    let contiguous = array.as_standard_layout();
    let values = contiguous.as_slice().unwrap_or(&[]);
    let Some((low, high)) = values.par_iter().map(|v| (*v, *v)).reduce_with(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
        return Vec::new();
    };
    let first: i32 = low.into();
    let table: Vec<u8> = (first..=high.into()).into_par_iter().map(|stored| level(f64::from(stored))).collect();
    values
        .par_iter()
        .with_min_len(1 << 14)
        .map(|v| table.get((Into::<i32>::into(*v) - first) as usize).copied().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};
    use proptest::prelude::*;

    use super::*;
    use crate::study::ModalityTransform;

    fn frame(pixels: GrayPixels, display: DisplayAttributes) -> Frame {
        Frame { pixels: Pixels::Gray(pixels), display }
    }

    fn levels(frame: &Frame, voi: &Voi) -> Vec<u8> {
        gray_image(frame, voi).pixels.iter().map(|p| p[0]).collect()
    }

    /// PS3.3 C.11.2.1.2.1, the pseudo-code, with output 0 to 255.
    fn standard_linear(x: f64, c: f64, w: f64) -> f64 {
        if x <= c - 0.5 - (w - 1.0) / 2.0 {
            0.0
        } else if x > c - 0.5 + (w - 1.0) / 2.0 {
            255.0
        } else {
            ((x - (c - 0.5)) / (w - 1.0) + 0.5) * 255.0
        }
    }

    #[test]
    fn linear_window_is_the_standards_formula() {
        // The standard's own examples: c=2048 w=4096, c=2048 w=1, c=0 w=100, c=0 w=1.
        for (center, width) in [(2048.0, 4096.0), (2048.0, 1.0), (0.0, 100.0), (0.0, 1.0), (-500.0, 1500.0)] {
            let stored = Array2::from_shape_fn((64, 100), |(r, c)| (r * 100 + c) as i16 - 2200);
            let shown = levels(
                &frame(GrayPixels::I16(stored.clone()), DisplayAttributes::default()),
                &Voi::window(Window::linear(center, width)),
            );
            for (stored, level) in stored.iter().zip(shown) {
                let expected = standard_linear(f64::from(*stored), center, width);
                assert!((f64::from(level) - expected).abs() <= 0.5 + 1e-4, "{stored} in {width}/{center}");
            }
        }
    }

    #[test]
    fn the_ends_of_a_full_window_are_black_and_white() {
        let voi = Voi::window(Window::linear(2048.0, 4096.0));
        assert_eq!(voi.apply(0.0), 0.0);
        assert_eq!(voi.apply(4095.0), 1.0);
        assert!((voi.apply(2047.5) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn linear_exact_and_sigmoid_follow_the_standard() {
        let exact = Voi::window(Window { function: VoiFunction::LinearExact, ..Window::linear(0.0, 100.0) });
        assert_eq!(exact.apply(-50.0), 0.0);
        assert_eq!(exact.apply(0.0), 0.5);
        assert_eq!(exact.apply(25.0), 0.75);
        assert_eq!(exact.apply(50.0), 1.0);
        let sigmoid = Voi::window(Window { function: VoiFunction::Sigmoid, ..Window::linear(40.0, 200.0) });
        assert_eq!(sigmoid.apply(40.0), 0.5);
        let expected = 1.0 / (1.0 + (-4.0_f64 * 50.0 / 200.0).exp());
        assert!((f64::from(sigmoid.apply(90.0)) - expected).abs() < 1e-6);
    }

    #[test]
    fn modality_transform_comes_before_the_window() {
        let display = DisplayAttributes {
            modality: ModalityTransform::Rescale { slope: 2.0, intercept: -1024.0 },
            ..DisplayAttributes::default()
        };
        let shown = levels(
            &frame(GrayPixels::U16(array![[462, 487, 512, 537, 562]]), display),
            &Voi::window(Window { function: VoiFunction::LinearExact, ..Window::linear(0.0, 200.0) }),
        );
        assert_eq!(shown, [0, 64, 128, 191, 255]);
    }

    #[test]
    fn inversion_by_file_and_by_user_cancel() {
        let display = DisplayAttributes { inverted: true, ..DisplayAttributes::default() };
        let inverted = frame(GrayPixels::U8(array![[0, 100, 255]]), display);
        let mut voi = Voi::window(Window { function: VoiFunction::LinearExact, ..Window::linear(127.5, 255.0) });
        assert_eq!(levels(&inverted, &voi), [255, 155, 0]);
        voi.inverted = true;
        assert_eq!(levels(&inverted, &voi), [0, 100, 255]);
    }

    #[test]
    fn padding_is_black_in_both_polarities_and_not_counted() {
        let display =
            DisplayAttributes { padding: Some((-2000.0, -1990.0)), inverted: true, ..DisplayAttributes::default() };
        let mut values = Array2::from_elem((10, 10), -2000_i16);
        for (index, value) in values.iter_mut().take(50).enumerate() {
            *value = index as i16;
        }
        let frame = frame(GrayPixels::I16(values), display);
        let window = automatic_window(&frame);
        assert_eq!((window.center, window.width), (24.5, 49.0), "ranks 0 and 49 of 0 to 49");
        let shown = levels(&frame, &Voi::window(window));
        assert_eq!(shown[99], 0);
        assert_eq!(shown[0], 255);
    }

    #[test]
    fn lookup_table_scales_by_its_bits() {
        let lut = LookupTable { first: 10.0, bits: 12, entries: vec![0, 1365, 2730, 4095] };
        let voi = Voi { mapping: VoiMapping::Lut(lut.clone()), inverted: false };
        let shown =
            levels(&frame(GrayPixels::U8(array![[0, 10, 11, 12, 13, 200]]), DisplayAttributes::default()), &voi);
        assert_eq!(shown, [0, 0, 85, 170, 255, 255]);
        let display = DisplayAttributes { voi_lut: Some(lut.clone()), ..DisplayAttributes::default() };
        assert_eq!(Voi::of_frame(&frame(GrayPixels::U8(array![[0]]), display)).mapping, VoiMapping::Lut(lut));
    }

    #[test]
    fn unusable_windows_of_a_file_are_skipped() {
        let display = DisplayAttributes {
            windows: vec![Window::linear(40.0, 0.0), Window::linear(f64::NAN, 1.0), Window::linear(50.0, 350.0)],
            units: "HU".to_owned(),
            ..DisplayAttributes::default()
        };
        let frame = frame(GrayPixels::U8(array![[0]]), display);
        assert_eq!(Voi::of_frame(&frame), Voi::window(Window::linear(50.0, 350.0)));
    }

    #[test]
    fn presets_go_with_the_unit() {
        let names = |units| Preset::of_units(units).iter().map(|preset| preset.name).collect::<Vec<_>>();
        assert_eq!(names("HU"), ["Brain", "Abdomen", "Mediastinum", "Bone", "Lung"]);
        assert_eq!(names(Suv::UNITS).first(), Some(&"SUV 0 to 5"));
        assert!(names("Bq/mL").is_empty() && names("").is_empty());
        let of = |units, at: usize| Voi::window(Preset::of_units(units)[at].window());
        assert_eq!(
            (of("HU", 4).describe(), of(Suv::UNITS, 3).describe()),
            ("W 1500 L -500".into(), "W 15.0 L 7.5".into())
        );
        // Exact: half of the uptake is half way to white.
        assert_eq!(of(Suv::UNITS, 0).apply(2.5), 0.5);
    }

    #[test]
    fn floats_with_holes_are_shown() {
        let values = array![[f32::NAN, 0.0], [0.5, f32::INFINITY]];
        let frame = frame(GrayPixels::F32(values), DisplayAttributes::default());
        let window = automatic_window(&frame);
        assert!(window.center.is_finite() && window.width > 0.0);
        let shown = levels(&frame, &Voi::window(window));
        assert_eq!((shown[0], shown[1], shown[3]), (0, 0, 255));
        assert_eq!(frame.shape(), (2, 2));
    }

    #[test]
    fn colour_passes_through_and_empty_frames_are_empty() {
        let rgb = Array3::from_shape_fn((2, 3, 3), |(r, c, k)| (r * 100 + c * 10 + k) as u8);
        let colour = Frame { pixels: Pixels::Rgb(rgb), display: DisplayAttributes::default() };
        let image = gray_image(&colour, &Voi::of_frame(&colour));
        assert_eq!((image.width, image.height, image.pixels[5]), (3, 2, [120, 121, 122, 255]));
        let empty = frame(GrayPixels::U16(Array2::zeros((0, 0))), DisplayAttributes::default());
        assert!(gray_image(&empty, &Voi::of_frame(&empty)).pixels.is_empty());
    }

    proptest! {
        #[test]
        fn every_window_and_value_gives_a_level(
            center in proptest::num::f64::ANY, width in proptest::num::f64::ANY, value in proptest::num::f64::ANY,
            function in 0..3,
        ) {
            let function = [VoiFunction::Linear, VoiFunction::LinearExact, VoiFunction::Sigmoid][function as usize];
            let voi = Voi::window(Window { center, width, function, name: String::new() });
            let y = voi.apply(value);
            prop_assert!((0.0..=1.0).contains(&y));
        }

        #[test]
        fn table_and_formula_agree(values in proptest::collection::vec(any::<i16>(), 1..200), center in -1000.0..1000.0, width in 1.0..4000.0) {
            let voi = Voi::window(Window::linear(center, width));
            let shape = (1, values.len());
            let short = frame(GrayPixels::I16(Array2::from_shape_vec(shape, values.clone()).expect("the shape fits")), DisplayAttributes::default());
            let long = frame(GrayPixels::F64(Array2::from_shape_fn(shape, |(_, c)| f64::from(values[c]))), DisplayAttributes::default());
            prop_assert_eq!(levels(&short, &voi), levels(&long, &voi));
        }
    }
}
