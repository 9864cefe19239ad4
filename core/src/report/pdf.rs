//! Pages to PDF, with the fonts that are used embedded as subsets.

use std::collections::HashMap;
use std::sync::Arc;

use krilla::color::rgb;
use krilla::geom::{Path, PathBuilder, Point, Size, Transform};
use krilla::image::Image;
use krilla::metadata::{DateTime, Metadata};
use krilla::num::NormalizedF32;
use krilla::page::PageSettings;
use krilla::paint::{Fill, Paint, Stroke};
use krilla::surface::Surface;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use krilla::{Data, Document};

use super::page::{Item, Page, rounded};
use super::time::Civil;
use crate::render::{Face, Glyph, Rgba, glyphs};

/// Why no PDF came out.
#[derive(Debug, thiserror::Error)]
pub enum PdfError {
    /// An image could not be embedded.
    #[error("the report's image cannot be embedded: {0}")]
    Image(String),
    /// The writer refused.
    #[error("the PDF cannot be written: {0}")]
    Write(String),
}

/// What the file says about itself; nothing in it names a patient.
pub(super) struct About<'a> {
    pub title: &'a str,
    pub created: Civil,
}

type FontKey = (usize, u32);

/// Writes pages as a PDF file.
pub(super) fn write(pages: &[Page], about: &About<'_>) -> Result<Vec<u8>, PdfError> {
    let mut document = Document::new();
    let created = DateTime::new(about.created.year.clamp(1, 9999) as u16)
        .month(about.created.month)
        .day(about.created.day)
        .hour(about.created.hour)
        .minute(about.created.minute)
        .second(about.created.second);
    document.set_metadata(
        Metadata::new()
            .title(about.title.to_owned())
            .creator(format!("Bifocal {}", env!("CARGO_PKG_VERSION")))
            .language("en".to_owned())
            .creation_date(created),
    );
    let mut fonts = HashMap::new();
    let mut images: HashMap<usize, Image> = HashMap::new();
    for page in pages {
        let settings = PageSettings::from_wh(page.width, page.height)
            .ok_or_else(|| PdfError::Write(format!("a page of {} by {} points", page.width, page.height)))?;
        let mut pdf_page = document.start_page_with(settings);
        let mut surface = pdf_page.surface();
        for item in &page.items {
            draw(&mut surface, item, &mut fonts, &mut images)?;
        }
        surface.finish();
        pdf_page.finish();
    }
    document.finish().map_err(|error| PdfError::Write(error.to_string()))
}

fn paint([r, g, b]: [u8; 3]) -> Paint {
    rgb::Color::new(r, g, b).into()
}

fn fill(color: [u8; 3]) -> Option<Fill> {
    Some(Fill { paint: paint(color), opacity: NormalizedF32::ONE, ..Fill::default() })
}

fn stroke(color: [u8; 3], width: f32) -> Option<Stroke> {
    Some(Stroke { paint: paint(color), width, ..Stroke::default() })
}

fn polygon(points: &[(f32, f32)], closed: bool) -> Option<Path> {
    let mut builder = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    builder.move_to(first.0, first.1);
    for (x, y) in rest {
        builder.line_to(*x, *y);
    }
    if closed {
        builder.close();
    }
    builder.finish()
}

fn draw(
    surface: &mut Surface<'_>,
    item: &Item,
    fonts: &mut HashMap<FontKey, Option<Font>>,
    images: &mut HashMap<usize, Image>,
) -> Result<(), PdfError> {
    match item {
        Item::Text { x, baseline, size, weight, color, text } => {
            surface.set_fill(fill(*color));
            surface.set_stroke(stroke(*color, weight.outline_em() * size));
            draw_text(surface, (*x, *baseline), *size, text, fonts);
        }
        Item::Line { from, to, width, color } => {
            surface.set_fill(None);
            surface.set_stroke(stroke(*color, *width));
            if let Some(path) = polygon(&[*from, *to], false) {
                surface.draw_path(&path);
            }
        }
        Item::Rect { x, y, width, height, radius, color } => {
            surface.set_stroke(None);
            surface.set_fill(fill(*color));
            if let Some(path) = polygon(&rounded(*x, *y, *width, *height, *radius), true) {
                surface.draw_path(&path);
            }
        }
        Item::Image { x, y, width, height, image } => {
            let Some(size) = Size::from_wh(*width, *height) else { return Ok(()) };
            // The same pixels on several pages are stored once.
            let key = Arc::as_ptr(image) as usize;
            let embedded = match images.get(&key) {
                Some(embedded) => embedded.clone(),
                None => images.entry(key).or_insert(embed(image)?).clone(),
            };
            surface.push_transform(&Transform::from_translate(*x, *y));
            surface.draw_image(embedded, size);
            surface.pop();
        }
    }
    Ok(())
}

fn embed(image: &Rgba) -> Result<Image, PdfError> {
    let png = image.to_png().map_err(|error| PdfError::Image(error.to_string()))?;
    Image::from_png(Data::from(png), true).map_err(PdfError::Image)
}

/// Draws a line of text, one run for each font that it needs.
fn draw_text(
    surface: &mut Surface<'_>,
    (x, baseline): (f32, f32),
    size: f32,
    text: &str,
    fonts: &mut HashMap<FontKey, Option<Font>>,
) {
    let key = |face: &'static Face| (face.bytes.as_ptr() as usize, face.index);
    let all = glyphs(text);
    let mut pen = x;
    for run in all.chunk_by(|a, b| key(a.face) == key(b.face)) {
        let advance: f32 = run.iter().map(|glyph| glyph.advance).sum();
        let face = run[0].face;
        let font = fonts.entry(key(face)).or_insert_with(|| Font::new(Data::from(face.bytes), face.index));
        if let Some(font) = font {
            let glyph = |g: &Glyph| KrillaGlyph::new(GlyphId::new(g.id), g.advance, 0.0, 0.0, 0.0, g.range(), None);
            let placed: Vec<KrillaGlyph> = run.iter().map(glyph).collect();
            surface.draw_glyphs(Point::from_xy(pen, baseline), &placed, font.clone(), text, size, false);
        }
        pen += advance * size;
    }
}
