//! Text with the built-in fonts: which glyphs, how wide, and drawn on an [`Rgba`].
//!
//! Ubuntu Light first; what it lacks comes from Hack, then from the platform's own fonts (read when first needed), then
//! a question mark. Characters follow each other from left to right: scripts that need shaping or run from right to
//! left come out in single forms, in the order they are stored.

use std::ops::Range;
use std::sync::OnceLock;

use skrifa::charmap::Charmap;
use skrifa::metrics::GlyphMetrics;
use skrifa::outline::{DrawSettings, OutlinePen};
use skrifa::prelude::{FontRef, LocationRef, MetadataProvider, Size};

use super::{Rgba, paint, system_fonts};

/// A font that glyphs come from.
pub struct Face {
    /// The font file.
    pub bytes: &'static [u8],
    /// Which font of a collection.
    pub index: u32,
    font: FontRef<'static>,
    charmap: Charmap<'static>,
    metrics: GlyphMetrics<'static>,
    units_per_em: f32,
}

impl Face {
    /// Reads a font; `None` where the bytes are none.
    pub(super) fn new(bytes: &'static [u8], index: u32) -> Option<Self> {
        let font = FontRef::from_index(bytes, index).ok()?;
        let units_per_em = f32::from(font.metrics(Size::unscaled(), LocationRef::default()).units_per_em);
        let (charmap, metrics) = (font.charmap(), font.glyph_metrics(Size::unscaled(), LocationRef::default()));
        (units_per_em > 0.0).then_some(Self { bytes, index, font, charmap, metrics, units_per_em })
    }

    /// The glyph of a character.
    pub(super) fn glyph(&self, character: char) -> Option<u32> {
        self.charmap.map(character).map(|id| id.to_u32()).filter(|id| *id != 0)
    }

    /// How far a glyph moves the pen, em.
    fn advance(&self, glyph: u32) -> f32 {
        self.metrics.advance_width(glyph.into()).unwrap_or(0.0) / self.units_per_em
    }

    /// Outline of a glyph as closed polygons in em, y down from the baseline.
    fn outline(&self, glyph: u32) -> Vec<Vec<(f32, f32)>> {
        let mut pen = Flattener { scale: 1.0 / self.units_per_em, polygons: Vec::new(), at: (0.0, 0.0) };
        if let Some(outline) = self.font.outline_glyphs().get(glyph.into()) {
            // A glyph that fails to draw leaves its place empty.
            let _ = outline.draw(DrawSettings::unhinted(Size::unscaled(), LocationRef::default()), &mut pen);
        }
        pen.polygons.retain(|polygon| polygon.len() > 2);
        pen.polygons
    }
}

/// Turns curves into short lines.
struct Flattener {
    scale: f32,
    polygons: Vec<Vec<(f32, f32)>>,
    at: (f32, f32),
}

impl Flattener {
    fn push(&mut self, x: f32, y: f32) {
        self.at = (x, y);
        if let Some(polygon) = self.polygons.last_mut() {
            polygon.push((x * self.scale, -y * self.scale));
        }
    }
}

impl OutlinePen for Flattener {
    fn move_to(&mut self, x: f32, y: f32) {
        self.polygons.push(Vec::new());
        self.push(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.push(x, y);
    }

    fn quad_to(&mut self, cx: f32, cy: f32, x: f32, y: f32) {
        let (x0, y0) = self.at;
        for i in 1..=6 {
            let t = i as f32 / 6.0;
            let u = 1.0 - t;
            self.push(u * u * x0 + 2.0 * u * t * cx + t * t * x, u * u * y0 + 2.0 * u * t * cy + t * t * y);
        }
    }

    fn curve_to(&mut self, ax: f32, ay: f32, bx: f32, by: f32, x: f32, y: f32) {
        let (x0, y0) = self.at;
        for i in 1..=8 {
            let t = i as f32 / 8.0;
            let u = 1.0 - t;
            let (c0, c1, c2, c3) = (u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t);
            self.push(c0 * x0 + c1 * ax + c2 * bx + c3 * x, c0 * y0 + c1 * ay + c2 * by + c3 * y);
        }
    }

    fn close(&mut self) {}
}

/// How heavy text is. The built-in font is light: weight is added along the outlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weight {
    /// For text.
    #[default]
    Regular,
    /// For headings and names.
    Bold,
}

impl Weight {
    /// Width of the line along the outlines, em.
    pub fn outline_em(self) -> f32 {
        match self {
            Self::Regular => 0.012,
            Self::Bold => 0.048,
        }
    }
}

/// The built-in fonts, first choice first; never empty unless the fonts are damaged.
pub fn faces() -> &'static [Face] {
    static FACES: OnceLock<Vec<Face>> = OnceLock::new();
    FACES.get_or_init(|| {
        let built_in = [epaint_default_fonts::UBUNTU_LIGHT, epaint_default_fonts::HACK_REGULAR];
        built_in.into_iter().filter_map(|bytes| Face::new(bytes, 0)).collect()
    })
}

/// A glyph in its place.
#[derive(Clone, Copy)]
pub struct Glyph {
    /// The font.
    pub face: &'static Face,
    /// Glyph index in the font.
    pub id: u32,
    /// How far it moves the pen, em.
    pub advance: f32,
    /// Bytes of the text that it stands for: from.
    pub start: usize,
    /// Bytes of the text that it stands for: to.
    pub end: usize,
}

impl Glyph {
    /// Bytes of the text that it stands for.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// The glyphs of a line of text. Control characters are left out; a character without a glyph becomes `?`.
pub fn glyphs(text: &str) -> Vec<Glyph> {
    let built_in = faces();
    let find = |character: char| {
        let own = built_in.iter().find_map(|face| face.glyph(character).map(|id| (face, id)));
        own.or_else(|| system_fonts::glyph(character))
            .or_else(|| built_in.iter().find_map(|face| face.glyph('?').map(|id| (face, id))))
    };
    text.char_indices()
        .filter(|(_, character)| !character.is_control())
        .filter_map(|(start, character)| {
            let (face, id) = find(character)?;
            Some(Glyph { face, id, advance: face.advance(id), start, end: start + character.len_utf8() })
        })
        .collect()
}

/// Width of a line of text at `size` (the em, in any unit).
pub fn text_width(text: &str, size: f32) -> f32 {
    glyphs(text).iter().map(|glyph| glyph.advance).sum::<f32>() * size
}

/// Draws a line of text with its baseline at `y`, starting at `x`; `size` is the em in pixels. Returns its width.
pub fn draw_text(image: &mut Rgba, at: (f32, f32), size: f32, weight: Weight, color: [u8; 4], text: &str) -> f32 {
    draw_outlined(image, at, size, weight.outline_em(), color, text)
}

/// Draws text widened by a line of `outline_em` along its outlines.
pub(super) fn draw_outlined(
    image: &mut Rgba,
    (x, y): (f32, f32),
    size: f32,
    outline_em: f32,
    color: [u8; 4],
    text: &str,
) -> f32 {
    let mut pen = x;
    for glyph in glyphs(text) {
        let outline: Vec<Vec<(f32, f32)>> = glyph
            .face
            .outline(glyph.id)
            .into_iter()
            .map(|polygon| polygon.into_iter().map(|(gx, gy)| (pen + gx * size, y + gy * size)).collect())
            .collect();
        paint::fill_bold(image, &outline, outline_em * size, color);
        pen += glyph.advance * size;
    }
    pen - x
}

/// Breaks text into lines no wider than `width` at `size`: at spaces, inside words only where a word is too wide, and at
/// line breaks of the text. At least one line.
pub fn wrap(text: &str, size: f32, width: f32) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut line_width = 0.0;
        for word in paragraph.split_whitespace() {
            let word_width = text_width(word, size);
            let space = if line.is_empty() { 0.0 } else { text_width(" ", size) };
            if line_width + space + word_width <= width {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
                line_width += space + word_width;
                continue;
            }
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            line_width = 0.0;
            for character in word.chars() {
                let step = text_width(character.encode_utf8(&mut [0; 4]), size);
                if line_width + step > width && !line.is_empty() {
                    lines.push(std::mem::take(&mut line));
                    line_width = 0.0;
                }
                line.push(character);
                line_width += step;
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_wide_as_its_glyphs() {
        let one = text_width("n", 20.0);
        assert!(one > 5.0 && one < 15.0, "{one}");
        assert!((text_width("nnnn", 20.0) - 4.0 * one).abs() < 1e-3);
        assert_eq!(text_width("", 20.0), 0.0);
    }

    #[test]
    fn names_of_several_scripts_have_glyphs() {
        for text in ["Müller, Zoë", "Иванов Пётр", "Παπαδόπουλος", "Wałęsa ßþøåž", "0.87 × 42 mm · ≥ →"]
        {
            let question = glyphs("?")[0].id;
            for glyph in glyphs(text) {
                assert!(glyph.id != question, "{text} at {}", glyph.start);
            }
        }
        // Nothing has this private character: it is named by a question mark, not dropped.
        assert_eq!(glyphs("\u{10FFFD}")[0].id, glyphs("?")[0].id);
        assert_eq!(glyphs("a\tb\u{0}c\n").len(), 3);
    }

    #[test]
    fn drawn_text_leaves_ink_where_it_should() {
        let mut image = Rgba::new(100, 30, [0, 0, 0, 255]);
        let width = draw_text(&mut image, (10.0, 22.0), 20.0, Weight::Regular, [255; 4], "HH");
        let ink = |image: &Rgba, x0: usize, x1: usize| {
            (0..30)
                .flat_map(|y| (x0..x1).map(move |x| (x, y)))
                .filter(|(x, y)| image.get(*x, *y).is_some_and(|p| p[0] > 60))
                .count()
        };
        assert!(ink(&image, 10, 10 + width as usize) > 40);
        assert_eq!(ink(&image, 0, 9), 0);
        assert_eq!(ink(&image, 12 + width as usize, 100), 0);
        let mut bold = Rgba::new(100, 30, [0, 0, 0, 255]);
        draw_text(&mut bold, (10.0, 22.0), 20.0, Weight::Bold, [255; 4], "HH");
        assert!(ink(&bold, 0, 100) > ink(&image, 0, 100));
    }

    #[test]
    fn long_text_wraps_and_nothing_is_lost() {
        let text = "The quick brown fox\njumps over Donaudampfschifffahrtsgesellschaftskapitaen and more";
        let lines = wrap(text, 10.0, 90.0);
        assert!(lines.len() > 4);
        for line in &lines {
            assert!(text_width(line, 10.0) <= 90.0, "{line}");
        }
        let kept: String = lines.concat().chars().filter(|c| !c.is_whitespace()).collect();
        let all: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        assert_eq!(kept, all);
        assert_eq!(wrap("", 10.0, 50.0), [""]);
        assert_eq!(wrap("a\n\nb", 10.0, 50.0), ["a", "", "b"]);
        assert_eq!(wrap("ab", 10.0, 0.0), ["a", "b"]);
    }
}
