//! Colour spaces: sRGB (IEC 61966-2-1), OKLab (Ottosson, 2020), CIE lightness.

/// A colour in OKLab.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Oklab {
    /// Lightness, 0 to 1.
    pub l: f32,
    /// Green to red.
    pub a: f32,
    /// Blue to yellow.
    pub b: f32,
}

impl Oklab {
    /// From lightness (0 to 1), chroma and hue in degrees.
    pub fn from_lch(l: f32, chroma: f32, hue_degrees: f32) -> Self {
        let hue = hue_degrees.to_radians();
        Self { l, a: chroma * hue.cos(), b: chroma * hue.sin() }
    }

    /// Euclidean distance.
    pub fn distance(self, other: Self) -> f32 {
        ((self.l - other.l).powi(2) + (self.a - other.a).powi(2) + (self.b - other.b).powi(2)).sqrt()
    }

    /// The same lightness and hue with the largest chroma, up to its own, that sRGB can show.
    pub fn into_gamut(self) -> Self {
        let scaled = |s: f32| Self { l: self.l, a: self.a * s, b: self.b * s };
        if in_gamut(self) {
            return self;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..20 {
            let middle = (low + high) / 2.0;
            if in_gamut(scaled(middle)) { low = middle } else { high = middle }
        }
        scaled(low)
    }
}

fn in_gamut(color: Oklab) -> bool {
    linear_from_oklab(color).iter().all(|c| (-1e-4..=1.0001).contains(c))
}

fn linear_from_oklab(Oklab { l, a, b }: Oklab) -> [f32; 3] {
    let l_ = (l + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m_ = (l - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s_ = (l - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    [
        4.076_741_7 * l_ - 3.307_711_6 * m_ + 0.230_969_94 * s_,
        -1.268_438 * l_ + 2.609_757_4 * m_ - 0.341_319_4 * s_,
        -0.004_196_086_3 * l_ - 0.703_418_6 * m_ + 1.707_614_7 * s_,
    ]
}

/// The nearest 8-bit sRGB colour; channels outside are cut.
pub fn srgb_from_oklab(color: Oklab) -> [u8; 3] {
    linear_from_oklab(color).map(|c| {
        let c = c.clamp(0.0, 1.0);
        let encoded = if c <= 0.003_130_8 { 12.92 * c } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 };
        (encoded * 255.0).round() as u8
    })
}

fn linear_from_srgb(channel: u8) -> f64 {
    let c = f64::from(channel) / 255.0;
    if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
}

/// An 8-bit sRGB colour in OKLab.
pub fn oklab_from_srgb(color: [u8; 3]) -> Oklab {
    let [r, g, b] = color.map(|c| linear_from_srgb(c) as f32);
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    Oklab {
        l: 0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        a: 1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        b: 0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    }
}

/// Relative luminance, 0 to 1 (Rec. 709 primaries).
pub fn luminance(color: [u8; 3]) -> f64 {
    let [r, g, b] = color.map(linear_from_srgb);
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// CIE L*, 0 to 100.
pub fn cie_lightness(color: [u8; 3]) -> f64 {
    let y = luminance(color);
    if y > 216.0 / 24389.0 { 116.0 * y.cbrt() - 16.0 } else { y * 24389.0 / 27.0 }
}

/// Marks what belongs to the local branch: lesions.
pub const WARM: [u8; 3] = [0xF0, 0x8A, 0x24];
/// Marks what belongs to the global branch: organs and attention.
pub const COOL: [u8; 3] = [0x2A, 0xA7, 0xA5];

/// The fixed colour of an organ's contours: cool hues for the organs of the bundles at hand, and for others a hue from
/// their name.
pub fn organ_color(organ: &str) -> [u8; 3] {
    let hue = match organ {
        "left_lung" => 195.0,
        "right_lung" => 235.0,
        "cardiomediastinum" | "heart" => 320.0,
        "left_clavicle" | "right_clavicle" => 140.0,
        _ => {
            // FNV-1a, spread over blue-green to violet: warm hues are the lesions'.
            let hash = organ.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
            140.0 + (hash % 180) as f32
        }
    };
    srgb_from_oklab(Oklab::from_lch(0.80, 0.12, hue).into_gamut())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oklab_of_known_colours() {
        // Reference values from Ottosson's page, given there to three digits.
        let white = oklab_from_srgb([255, 255, 255]);
        assert!((white.l - 1.0).abs() < 1e-3 && white.a.abs() < 1e-3 && white.b.abs() < 1e-3);
        let red = oklab_from_srgb([255, 0, 0]);
        assert!((red.l - 0.628).abs() < 1e-3 && (red.a - 0.225).abs() < 1e-3 && (red.b - 0.126).abs() < 1e-3);
    }

    #[test]
    fn oklab_round_trip() {
        for color in [[0, 0, 0], [255, 255, 255], [12, 200, 99], [240, 3, 180], WARM, COOL] {
            assert_eq!(srgb_from_oklab(oklab_from_srgb(color)), color);
        }
    }

    #[test]
    fn lightness_of_known_grays() {
        assert!((cie_lightness([255, 255, 255]) - 100.0).abs() < 1e-3);
        assert!((cie_lightness([119, 119, 119]) - 50.03).abs() < 0.05);
        assert_eq!(cie_lightness([0, 0, 0]), 0.0);
    }

    #[test]
    fn chroma_is_reduced_until_srgb_shows_it() {
        let color = Oklab::from_lch(0.6, 0.5, 150.0).into_gamut();
        assert!(in_gamut(color));
        assert!((color.l - 0.6).abs() < 1e-6);
        assert!(color.a.hypot(color.b) > 0.1);
    }

    #[test]
    fn organs_differ() {
        let names = ["left_lung", "right_lung", "cardiomediastinum", "liver"];
        for (i, a) in names.iter().enumerate() {
            for b in &names[i + 1..] {
                assert_ne!(organ_color(a), organ_color(b));
            }
        }
    }
}
