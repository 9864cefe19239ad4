//! One decoded frame and what is needed to show it.

use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use super::{LookupTable, ModalityTransform, PixelSpacing, PlaneGeometry, VoiFunction, Window};

/// One decoded frame: stored values and how to show them.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Stored values.
    pub pixels: Pixels,
    /// How to show them.
    pub display: DisplayAttributes,
}

/// Pixels of one frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Pixels {
    /// One sample a pixel, before any lookup.
    Gray(GrayPixels),
    /// Colour as RGB, `[row, column, channel]`, 8 bits: palettes looked up, YBR converted, 16-bit colour scaled down.
    Rgb(Array3<u8>),
}

/// Stored values `[row, column]`, high bits cleared or sign-extended, before the modality transform.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum GrayPixels {
    U8(Array2<u8>),
    I8(Array2<i8>),
    U16(Array2<u16>),
    I16(Array2<i16>),
    U32(Array2<u32>),
    I32(Array2<i32>),
    F32(Array2<f32>),
    F64(Array2<f64>),
}

/// Evaluates `$body` with `$array` bound to the typed array inside a [`GrayPixels`].
#[macro_export]
macro_rules! with_gray {
    ($pixels:expr, $array:ident => $body:expr) => {
        match $pixels {
            $crate::study::GrayPixels::U8($array) => $body,
            $crate::study::GrayPixels::I8($array) => $body,
            $crate::study::GrayPixels::U16($array) => $body,
            $crate::study::GrayPixels::I16($array) => $body,
            $crate::study::GrayPixels::U32($array) => $body,
            $crate::study::GrayPixels::I32($array) => $body,
            $crate::study::GrayPixels::F32($array) => $body,
            $crate::study::GrayPixels::F64($array) => $body,
        }
    };
}

/// What the viewport, the network and the report need to know beside the stored values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DisplayAttributes {
    /// Stored values to the modality's units.
    pub modality: ModalityTransform,
    /// Unit after the modality transform, as shown to people: `HU`, or empty.
    pub units: String,
    /// For PET: from the modality's units to standardised uptake by body weight, or why that cannot be had.
    pub suv: Option<Suv>,
    /// Windows from the file, in its order.
    pub windows: Vec<Window>,
    /// First item of the VOI LUT Sequence (0028,3010): input in the modality's units.
    pub voi_lut: Option<LookupTable>,
    /// MONOCHROME1, or a Presentation LUT Shape of INVERSE: the lowest value is white.
    pub inverted: bool,
    /// Stored values that are padding, not image (0028,0120 and 0028,0121), inclusive.
    pub padding: Option<(f64, f64)>,
    /// Pixel spacing, where the file tells.
    pub spacing: Option<PixelSpacing>,
    /// Where the frame lies in the patient.
    pub geometry: Option<PlaneGeometry>,
    /// Patient Orientation (0020,0020), where there is no geometry: directions of row and column as letters.
    pub patient_orientation: Option<[String; 2]>,
    /// Slice Thickness (0018,0050), mm.
    pub slice_thickness_mm: Option<f64>,
    /// Compressed with loss at some time (0028,2110): compression method or empty string.
    pub lossy: Option<String>,
    /// Bits Stored (0028,0101).
    pub bits_stored: u16,
    /// What the reader must know before trusting the image, one sentence each, shown beside it: that it is incomplete, or
    /// that the file holds another number of frames than it says.
    pub warnings: Vec<String>,
}

/// Standardised uptake value by body weight (SUVbw), g/mL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suv {
    /// What a value in the modality's units is multiplied by.
    Factor(f64),
    /// What the file lacks, for people.
    Unknown(String),
}

impl Suv {
    /// Unit of values that have been multiplied by the factor, as shown to people.
    pub const UNITS: &str = "SUVbw";
}

impl Default for DisplayAttributes {
    fn default() -> Self {
        Self {
            modality: ModalityTransform::IDENTITY,
            units: String::new(),
            suv: None,
            windows: Vec::new(),
            voi_lut: None,
            inverted: false,
            padding: None,
            spacing: None,
            geometry: None,
            patient_orientation: None,
            slice_thickness_mm: None,
            lossy: None,
            bits_stored: 8,
            warnings: Vec::new(),
        }
    }
}

impl DisplayAttributes {
    /// Takes to the unit that readers expect: SUV by body weight for PET where the file allows it, else the modality's own. Returns what values
    /// in the modality's units are multiplied by.
    pub(crate) fn take_usual_units(&mut self) -> f64 {
        let Some(Suv::Factor(factor)) = self.suv else { return 1.0 };
        let ModalityTransform::Rescale { slope, intercept } = &mut self.modality else { return 1.0 };
        (*slope, *intercept) = (*slope * factor, *intercept * factor);
        self.units = Suv::UNITS.to_owned();
        self.suv = Some(Suv::Factor(1.0));
        self.voi_lut = None;
        for window in &mut self.windows {
            // The usual function counts by whole units, of which SUV has few.
            let (center, width) = (window.center * factor, window.width * factor);
            *window = Window { center, width, function: VoiFunction::LinearExact, ..window.clone() };
        }
        factor
    }
}

impl Frame {
    /// The same pixels in the unit that readers expect: SUV by body weight for PET where the file allows it, else the modality's own.
    #[must_use]
    pub fn in_usual_units(mut self) -> Self {
        self.display.take_usual_units();
        self
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        match &self.pixels {
            Pixels::Gray(gray) => with_gray!(gray, array => array.dim()),
            Pixels::Rgb(array) => (array.dim().0, array.dim().1),
        }
    }

    /// The value at (`row`, `column`) in the modality's units; `None` for colour and outside.
    pub fn value_at(&self, row: usize, column: usize) -> Option<f64> {
        match &self.pixels {
            Pixels::Gray(gray) => {
                with_gray!(gray, array => array.get((row, column)).map(|v| self.display.modality.apply(f64::from(*v))))
            }
            Pixels::Rgb(_) => None,
        }
    }

    /// All values in the modality's units, `[row, column]`; luminance (Rec. 601, 0 to 255) for colour.
    pub fn values(&self) -> Array2<f32> {
        match &self.pixels {
            Pixels::Gray(gray) => {
                with_gray!(gray, array => array.mapv(|v| self.display.modality.apply(f64::from(v)) as f32))
            }
            Pixels::Rgb(rgb) => {
                let (rows, columns, _) = rgb.dim();
                Array2::from_shape_fn((rows, columns), |(r, c)| {
                    0.299 * f32::from(rgb[[r, c, 0]])
                        + 0.587 * f32::from(rgb[[r, c, 1]])
                        + 0.114 * f32::from(rgb[[r, c, 2]])
                })
            }
        }
    }
}
