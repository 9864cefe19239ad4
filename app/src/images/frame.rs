//! A decoded frame with what showing it takes, and copies of half, quarter, ... size: a large radiograph shown small is windowed and sent to the
//! graphics card at about the size it is shown in, without aliasing.

use std::sync::Arc;

use bifocal_core::render::{self, Voi, VoiMapping};
use bifocal_core::study::{Frame, GrayPixels, Pixels, Window};
use ndarray::{Array2, Array3};

use crate::view::WindowChoice;

/// A decoded frame, ready to be shown at any size.
#[derive(Debug)]
pub struct LoadedFrame {
    /// The frame itself; of a large one also copies of half the size of the one before.
    levels: Vec<Arc<Frame>>,
    /// A window from the frame's own values.
    pub auto_window: Window,
    /// What the file asks for, else automatic.
    from_file: Voi,
    /// Bytes of all copies.
    pub(super) bytes: usize,
}

/// Copies of frames with longer sides than this are kept, pixels: those of smaller frames (slices) are made where they are shown, in a
/// millisecond, so that a series takes no more memory than its pixels.
const COPIES_FROM: usize = 1024;
/// Frames are not halved below this, pixels.
const LEAST_SIDE: usize = 128;

impl LoadedFrame {
    /// Prepares a decoded frame.
    pub fn new(frame: Frame) -> Self {
        let auto_window = render::automatic_window(&frame);
        let from_file = Voi::of_frame(&frame);
        let mut levels = vec![Arc::new(frame)];
        while let Some(last) = levels.last() {
            let (rows, columns) = last.shape();
            if rows.max(columns) <= COPIES_FROM || rows.min(columns) < 2 * LEAST_SIDE {
                break;
            }
            let half = half_size(last);
            levels.push(Arc::new(half));
        }
        let bytes = levels.iter().map(|level| frame_bytes(level)).sum();
        Self { levels, auto_window, from_file, bytes }
    }

    /// The frame in full size.
    pub fn frame(&self) -> &Frame {
        &self.levels[0]
    }

    /// The curve that a choice means for this frame.
    pub fn voi(&self, choice: &WindowChoice, inverted: bool) -> Voi {
        let windows = &self.frame().display.windows;
        let mut voi = match choice {
            WindowChoice::FromFile => self.from_file.clone(),
            WindowChoice::FileWindow(n) => match windows.get(*n).filter(|window| window.width > 0.0) {
                Some(window) => Voi::window(window.clone()),
                None => self.from_file.clone(),
            },
            WindowChoice::Auto => Voi::window(self.auto_window.clone()),
            WindowChoice::Fixed(window) => Voi::window(window.clone()),
        };
        voi.inverted = inverted;
        voi
    }

    /// The window of a curve; for a lookup table, the one that a drag starts from.
    pub fn window_of(&self, voi: &Voi) -> Window {
        match &voi.mapping {
            VoiMapping::Window(window) => window.clone(),
            VoiMapping::Lut(_) => self.auto_window.clone(),
        }
    }

    /// How often the frame is halved to be drawn where one image pixel covers `scale` physical pixels, no side longer than `max_side`.
    pub(super) fn level_for(&self, scale: f32, max_side: usize) -> usize {
        let (mut level, mut level_scale) = (0, scale);
        let (mut rows, mut columns) = self.frame().shape();
        while rows.min(columns) >= 2 * LEAST_SIDE {
            // A little softer than the screen at worst, never coarser than half its pixels.
            let too_fine = level_scale < 0.6;
            if !too_fine && rows.max(columns) <= max_side {
                break;
            }
            (rows, columns) = (rows / 2, columns / 2);
            level += 1;
            level_scale *= 2.0;
        }
        level
    }

    /// The frame, halved so often.
    pub fn halved(&self, level: usize) -> Arc<Frame> {
        let kept = level.min(self.levels.len() - 1);
        let mut frame = Arc::clone(&self.levels[kept]);
        for _ in kept..level {
            frame = Arc::new(half_size(&frame));
        }
        frame
    }

    /// The smallest copy that is kept, and how often the frame was halved for it.
    pub fn smallest(&self) -> (&Frame, usize) {
        let last = self.levels.len() - 1;
        (&self.levels[last], last)
    }
}

fn frame_bytes(frame: &Frame) -> usize {
    let (rows, columns) = frame.shape();
    let sample = match &frame.pixels {
        Pixels::Rgb(_) => 3,
        Pixels::Gray(GrayPixels::U8(_) | GrayPixels::I8(_)) => 1,
        Pixels::Gray(GrayPixels::U16(_) | GrayPixels::I16(_)) => 2,
        Pixels::Gray(GrayPixels::F64(_)) => 8,
        Pixels::Gray(_) => 4,
    };
    rows * columns * sample
}

/// Means of two by two values; padding stays padding where it fills most of the four.
pub(super) fn half_size(frame: &Frame) -> Frame {
    let (rows, columns) = frame.shape();
    let (half_rows, half_columns) = (rows / 2, columns / 2);
    let pixels = match &frame.pixels {
        Pixels::Rgb(rgb) => Pixels::Rgb(Array3::from_shape_fn((half_rows, half_columns, 3), |(r, c, k)| {
            let sum: u16 = [(0, 0), (0, 1), (1, 0), (1, 1)]
                .iter()
                .map(|(dr, dc)| u16::from(rgb[[2 * r + dr, 2 * c + dc, k]]))
                .sum();
            (sum / 4) as u8
        })),
        Pixels::Gray(gray) => {
            let padding = frame.display.padding;
            macro_rules! half {
                ($kind:ident, $array:expr, $sample:ty) => {
                    GrayPixels::$kind(Array2::from_shape_fn((half_rows, half_columns), |(r, c)| {
                        let four = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dr, dc)| $array[[2 * r + dr, 2 * c + dc]]);
                        let is_padding =
                            |v: &$sample| padding.is_some_and(|(low, high)| (low..=high).contains(&f64::from(*v)));
                        let padded = four.iter().filter(|v| is_padding(v)).count();
                        if padded >= 2 {
                            return four.iter().copied().find(is_padding).unwrap_or(four[0]);
                        }
                        let sum: f64 = four.iter().filter(|v| !is_padding(v)).map(|v| f64::from(*v)).sum();
                        let mean = sum / (4 - padded) as f64;
                        if stringify!($kind).starts_with('F') { mean as $sample } else { mean.round() as $sample }
                    }))
                };
            }
            Pixels::Gray(match gray {
                GrayPixels::U8(a) => half!(U8, a, u8),
                GrayPixels::I8(a) => half!(I8, a, i8),
                GrayPixels::U16(a) => half!(U16, a, u16),
                GrayPixels::I16(a) => half!(I16, a, i16),
                GrayPixels::U32(a) => half!(U32, a, u32),
                GrayPixels::I32(a) => half!(I32, a, i32),
                GrayPixels::F32(a) => half!(F32, a, f32),
                GrayPixels::F64(a) => half!(F64, a, f64),
            })
        }
    };
    Frame { pixels, display: frame.display.clone() }
}

#[cfg(test)]
mod tests {
    use bifocal_core::study::DisplayAttributes;

    use super::*;

    fn frame(rows: usize, columns: usize, f: impl Fn(usize, usize) -> u16) -> Frame {
        let array = Array2::from_shape_fn((rows, columns), |(r, c)| f(r, c));
        Frame { pixels: Pixels::Gray(GrayPixels::U16(array)), display: DisplayAttributes::default() }
    }

    #[test]
    fn halves_keep_the_mean_and_the_padding() {
        let mut full = frame(4, 4, |r, c| if c < 2 { 1000 } else { (r * 4) as u16 });
        full.display.padding = Some((1000.0, 1000.0));
        let half = half_size(&full);
        assert_eq!(half.value_at(0, 0), Some(1000.0));
        assert_eq!(half.value_at(0, 1), Some(2.0));
        assert_eq!(half.value_at(1, 1), Some(10.0));
    }

    #[test]
    fn levels_suit_the_screen_and_the_texture_limit() {
        let loaded = LoadedFrame::new(frame(1024, 1024, |r, c| (r + c) as u16));
        assert_eq!(loaded.level_for(1.0, 16384), 0);
        assert_eq!(loaded.level_for(0.5, 16384), 1);
        assert_eq!(loaded.level_for(8.0, 512), 1);
        assert_eq!(loaded.level_for(0.01, 16384), 3);
    }

    #[test]
    fn copies_of_large_frames_are_kept_and_those_of_slices_are_made() {
        let slice = LoadedFrame::new(frame(512, 512, |r, c| (r + c) as u16));
        assert_eq!((slice.levels.len(), slice.bytes), (1, 2 * 512 * 512), "no more memory than its pixels");
        let large = LoadedFrame::new(frame(2048, 1500, |r, c| (r + c) as u16));
        assert_eq!(large.levels.len(), 2);
        for (loaded, level, shape) in [(&slice, 2, (128, 128)), (&large, 1, (1024, 750)), (&large, 2, (512, 375))] {
            let halved = loaded.halved(level);
            assert_eq!(halved.shape(), shape);
            assert!((halved.value_at(9, 7).unwrap_or(0.0) - f64::from(16 << level)).abs() < f64::from(2 << level));
        }
        assert_eq!(large.smallest().1, 1);
    }

    #[test]
    fn empty_and_flat_frames_do_no_harm() {
        let flat = LoadedFrame::new(frame(3, 5, |_, _| 7));
        assert!(flat.auto_window.width > 0.0);
        let empty = LoadedFrame::new(frame(0, 0, |_, _| 0));
        assert_eq!(empty.levels.len(), 1);
    }
}
