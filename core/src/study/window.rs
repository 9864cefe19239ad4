//! From stored values to display values: modality transform, window, lookup table (PS3.3 C.11).

use serde::{Deserialize, Serialize};

/// Modality LUT module: stored values to the modality's units (PS3.3 C.11.1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ModalityTransform {
    /// `slope * stored + intercept`.
    Rescale {
        /// Rescale Slope (0028,1053).
        slope: f64,
        /// Rescale Intercept (0028,1052).
        intercept: f64,
    },
    /// Modality LUT Sequence (0028,3000).
    Table(LookupTable),
}

impl ModalityTransform {
    /// The identity.
    pub const IDENTITY: Self = Self::Rescale { slope: 1.0, intercept: 0.0 };

    /// The value in the modality's units (HU for CT).
    pub fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => slope * stored + intercept,
            Self::Table(table) => table.lookup(stored),
        }
    }
}

/// A lookup table over whole numbers; inputs outside take the first or last entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LookupTable {
    /// The input that the first entry stands for.
    pub first: f64,
    /// Bits per entry: entries are in `0 ..= 2^bits - 1`.
    pub bits: u16,
    /// The entries; never empty.
    pub entries: Vec<u16>,
}

impl LookupTable {
    /// The entry for `input`.
    pub fn lookup(&self, input: f64) -> f64 {
        let last = self.entries.len().saturating_sub(1);
        let index = (input - self.first).round().clamp(0.0, last as f64) as usize;
        f64::from(self.entries.get(index).copied().unwrap_or(0))
    }
}

/// VOI LUT Function (0028,1056), PS3.3 C.11.2.1.2 and C.11.2.1.3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoiFunction {
    /// The default, with its half-pixel offsets.
    #[default]
    Linear,
    /// Without the offsets.
    LinearExact,
    /// A logistic curve.
    Sigmoid,
}

/// A window, in the modality's units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Window Center (0028,1050).
    pub center: f64,
    /// Window Width (0028,1051); positive (at least 1 for [`VoiFunction::Linear`]).
    pub width: f64,
    /// How values between the ends are mapped.
    pub function: VoiFunction,
    /// Window Center & Width Explanation (0028,1055), or the preset's name; may be empty.
    pub name: String,
}

impl Window {
    /// A linear window without a name.
    pub fn linear(center: f64, width: f64) -> Self {
        Self { center, width, function: VoiFunction::Linear, name: String::new() }
    }

    /// Display value, 0 (black) to 1 (white), of `value` in the modality's units. Finite for every input.
    pub fn apply(&self, value: f64) -> f32 {
        let y = match self.function {
            VoiFunction::Linear => {
                let width = self.width.max(1.0);
                if width <= 1.0 {
                    // Width 1 is a step in the standard's formula.
                    if value > self.center - 0.5 { 1.0 } else { 0.0 }
                } else {
                    (value - (self.center - 0.5)) / (width - 1.0) + 0.5
                }
            }
            VoiFunction::LinearExact => (value - self.center) / self.width.max(1e-9) + 0.5,
            VoiFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (value - self.center) / self.width.max(1e-9)).exp()),
        };
        if y.is_nan() { 0.0 } else { y.clamp(0.0, 1.0) as f32 }
    }
}
