//! Colormaps, computed from a few control points.
//!
//! Each map but gray and hot iron is a path through OKLab (Ottosson, 2020) given as lightness, chroma and hue. The path is cut into 255 steps
//! of equal length, so that equal steps in value look equal; lightness only grows, so that the order survives in gray
//! print and for colour-blind readers. Chroma is reduced where sRGB cannot show it.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::color::{Oklab, srgb_from_oklab};

/// A colormap by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colormap {
    /// Warm: violet, red, orange, pale yellow. For lesions.
    Ember,
    /// Warm: violet, magenta, rose, cream. For lesions.
    Orchid,
    /// Cool: deep blue, teal, pale green. For attention.
    Lagoon,
    /// Violet, teal, green, yellow.
    Meadow,
    /// Black, red, orange, white: the standard's Hot Iron (PS3.6 B.1.1), for PET over another series.
    HotIron,
    /// Black to white.
    Gray,
}

/// A point of a path: OKLab lightness (0 to 1), chroma, hue in degrees (it may run past 360).
type Control = (f32, f32, f32);

const EMBER: &[Control] = &[
    (0.20, 0.09, 295.0),
    (0.34, 0.15, 325.0),
    (0.48, 0.19, 375.0),
    (0.63, 0.20, 396.0),
    (0.77, 0.165, 425.0),
    (0.96, 0.10, 462.0),
];
const ORCHID: &[Control] = &[
    (0.20, 0.09, 285.0),
    (0.36, 0.16, 305.0),
    (0.52, 0.20, 345.0),
    (0.67, 0.18, 378.0),
    (0.82, 0.11, 413.0),
    (0.97, 0.05, 450.0),
];
const LAGOON: &[Control] = &[
    (0.22, 0.08, 270.0),
    (0.38, 0.11, 252.0),
    (0.55, 0.11, 222.0),
    (0.72, 0.12, 188.0),
    (0.86, 0.11, 168.0),
    (0.97, 0.06, 150.0),
];
const MEADOW: &[Control] = &[
    (0.25, 0.11, 305.0),
    (0.40, 0.11, 270.0),
    (0.55, 0.10, 215.0),
    (0.68, 0.14, 165.0),
    (0.80, 0.18, 135.0),
    (0.93, 0.18, 108.0),
];

impl Colormap {
    /// All maps, in the order of menus.
    pub const ALL: [Self; 6] = [Self::Ember, Self::Orchid, Self::Lagoon, Self::Meadow, Self::HotIron, Self::Gray];

    /// Name in menus, files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ember => "ember",
            Self::Orchid => "orchid",
            Self::Lagoon => "lagoon",
            Self::Meadow => "meadow",
            Self::HotIron => "hot-iron",
            Self::Gray => "gray",
        }
    }

    /// The 256 colours, darkest first.
    pub fn table(self) -> &'static [[u8; 3]; 256] {
        static TABLES: [OnceLock<[[u8; 3]; 256]>; 6] = [const { OnceLock::new() }; 6];
        let [ember, orchid, lagoon, meadow, hot_iron, gray] = &TABLES;
        match self {
            Self::Ember => ember.get_or_init(|| build(EMBER)),
            Self::Orchid => orchid.get_or_init(|| build(ORCHID)),
            Self::Lagoon => lagoon.get_or_init(|| build(LAGOON)),
            Self::Meadow => meadow.get_or_init(|| build(MEADOW)),
            Self::HotIron => hot_iron.get_or_init(|| std::array::from_fn(hot_iron_entry)),
            // Display values as they are: the monitor's own gray scale.
            Self::Gray => gray.get_or_init(|| std::array::from_fn(|i| [i as u8; 3])),
        }
    }

    /// Colour of `value`, 0 to 1; values outside take the nearest end.
    pub fn color(self, value: f32) -> [u8; 3] {
        let index = if value.is_nan() { 0 } else { (value.clamp(0.0, 1.0) * 255.0).round() as u8 };
        self.table()[usize::from(index)]
    }
}

impl fmt::Display for Colormap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No colormap has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no colormap {name:?}; choose one of ember, orchid, lagoon, meadow, hot-iron, gray")]
pub struct UnknownColormap {
    name: String,
}

impl FromStr for Colormap {
    type Err = UnknownColormap;

    fn from_str(name: &str) -> Result<Self, UnknownColormap> {
        let found = Self::ALL.into_iter().find(|map| map.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| UnknownColormap { name: name.to_owned() })
    }
}

/// Red rises over the first half of the table, green over the second, blue over the last quarter.
fn hot_iron_entry(index: usize) -> [u8; 3] {
    let rising = |from: usize, slope: usize| (slope * index.saturating_sub(from)).min(255) as u8;
    if index == 255 { [255; 3] } else { [rising(0, 2), rising(128, 2), rising(191, 4)] }
}

/// Samples the path densely, then takes 256 points at equal distances along it.
fn build(controls: &[Control]) -> [[u8; 3]; 256] {
    const DENSE: usize = 4096;
    let path: Vec<Oklab> = (0..=DENSE).map(|i| on_path(controls, i as f32 / DENSE as f32).into_gamut()).collect();
    let mut length = vec![0.0_f32];
    for pair in path.windows(2) {
        length.push(length.last().copied().unwrap_or(0.0) + pair[0].distance(pair[1]));
    }
    let total = length.last().copied().unwrap_or(0.0);
    std::array::from_fn(|i| {
        let wanted = total * i as f32 / 255.0;
        let index = length.partition_point(|l| *l < wanted).min(DENSE);
        srgb_from_oklab(path[index])
    })
}

/// The point at `t` (0 to 1): lightness linear in `t`, chroma and hue by monotone cubics through the control points.
fn on_path(controls: &[Control], t: f32) -> Oklab {
    let (first, last) = (controls[0], controls[controls.len() - 1]);
    let lightness = first.0 + (last.0 - first.0) * t;
    let chroma = monotone_cubic(controls, lightness, |c| c.1);
    let hue = monotone_cubic(controls, lightness, |c| c.2).to_radians();
    Oklab { l: lightness, a: chroma * hue.cos(), b: chroma * hue.sin() }
}

/// Fritsch and Carlson's interpolation (1980) with harmonic-mean slopes: smooth, and without overshoot.
fn monotone_cubic(controls: &[Control], x: f32, y_of: fn(&Control) -> f32) -> f32 {
    let last = controls.len() - 1;
    let segment = controls.partition_point(|c| c.0 <= x).clamp(1, last) - 1;
    let secant = |i: usize| (y_of(&controls[i + 1]) - y_of(&controls[i])) / (controls[i + 1].0 - controls[i].0);
    let slope = |i: usize| {
        if i == 0 {
            secant(0)
        } else if i == last {
            secant(last - 1)
        } else {
            let (before, after) = (secant(i - 1), secant(i));
            if before * after <= 0.0 { 0.0 } else { 2.0 * before * after / (before + after) }
        }
    };
    let (x0, x1) = (controls[segment].0, controls[segment + 1].0);
    let (y0, y1) = (y_of(&controls[segment]), y_of(&controls[segment + 1]));
    let h = x1 - x0;
    let s = ((x - x0) / h).clamp(0.0, 1.0);
    let (s2, s3) = (s * s, s * s * s);
    y0 * (2.0 * s3 - 3.0 * s2 + 1.0)
        + h * slope(segment) * (s3 - 2.0 * s2 + s)
        + y1 * (3.0 * s2 - 2.0 * s3)
        + h * slope(segment + 1) * (s3 - s2)
}

#[cfg(test)]
mod tests {
    use super::super::color::{cie_lightness, oklab_from_srgb};
    use super::*;

    #[test]
    fn cie_lightness_grows_over_every_map() {
        for map in Colormap::ALL {
            let lightness: Vec<f64> = map.table().iter().map(|c| cie_lightness(*c)).collect();
            for (index, pair) in lightness.windows(2).enumerate() {
                // Rounding to 8 bits costs up to half a level in each channel.
                assert!(pair[1] > pair[0] - 0.12, "{map} falls at {index}: {} to {}", pair[0], pair[1]);
            }
            for (index, pair) in lightness.windows(9).enumerate() {
                assert!(pair[8] > pair[0], "{map} stands still at {index}");
            }
            assert!(lightness[255] - lightness[0] > 60.0, "{map} spans too little lightness");
        }
    }

    #[test]
    fn equal_steps_look_equal() {
        for map in [Colormap::Ember, Colormap::Orchid, Colormap::Lagoon, Colormap::Meadow] {
            let points: Vec<_> = map.table().iter().map(|c| oklab_from_srgb(*c)).collect();
            // Over 16 entries, where 8-bit rounding averages out.
            let steps: Vec<f32> = (0..15).map(|i| points[i * 17].distance(points[(i + 1) * 17])).collect();
            let (least, most) = steps.iter().fold((f32::MAX, 0.0_f32), |(a, b), s| (a.min(*s), b.max(*s)));
            assert!(most / least < 1.25, "{map}: steps from {least} to {most}");
        }
    }

    #[test]
    fn warm_is_warm_and_cool_is_cool() {
        for value in [0.5, 0.6, 0.7, 0.8] {
            let [r, _, b] = Colormap::Ember.color(value);
            assert!(r > b, "ember at {value}");
            let [r, _, b] = Colormap::Lagoon.color(value);
            assert!(b > r, "lagoon at {value}");
        }
    }

    #[test]
    fn hot_iron_is_the_standards() {
        // Entries of PS3.6 B.1.1.
        let table = Colormap::HotIron.table();
        for (index, entry) in [
            (0, [0, 0, 0]),
            (63, [126, 0, 0]),
            (127, [254, 0, 0]),
            (128, [255, 0, 0]),
            (129, [255, 2, 0]),
            (192, [255, 128, 4]),
            (254, [255, 252, 252]),
            (255, [255, 255, 255]),
        ] {
            assert_eq!(table[index], entry, "entry {index}");
        }
    }

    #[test]
    fn values_outside_take_the_ends_and_names_are_read_back() {
        assert_eq!(Colormap::Gray.color(-1.0), [0, 0, 0]);
        assert_eq!(Colormap::Gray.color(f32::NAN), [0, 0, 0]);
        assert_eq!(Colormap::Gray.color(7.0), [255, 255, 255]);
        for map in Colormap::ALL {
            assert_eq!(map.name().parse(), Ok(map));
        }
        assert!("jet".parse::<Colormap>().is_err());
    }
}
