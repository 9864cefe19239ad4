//! A page as drawing primitives: what is printed and what the screen previews are painted from the same list.

use std::sync::Arc;

use crate::render::{Placement, Rgba, ViewTransform, Weight, draw_text, paint, place_image};

/// Width and height of A4, points (1/72 inch).
pub const A4: (f32, f32) = (595.28, 841.89);

/// One page, its origin in the top left corner, y down, all lengths in points.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// What is on it, painted in this order.
    pub items: Vec<Item>,
}

/// A drawing primitive. Colours are sRGB.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// One line of text.
    Text {
        /// Left end.
        x: f32,
        /// Baseline.
        baseline: f32,
        /// Em.
        size: f32,
        /// Regular or bold.
        weight: Weight,
        /// Colour.
        color: [u8; 3],
        /// What it says.
        text: String,
    },
    /// A straight line.
    Line {
        /// From (x, y).
        from: (f32, f32),
        /// To (x, y).
        to: (f32, f32),
        /// Width.
        width: f32,
        /// Colour.
        color: [u8; 3],
    },
    /// A box, with rounded corners where `radius` is positive.
    Rect {
        /// Left.
        x: f32,
        /// Top.
        y: f32,
        /// Width.
        width: f32,
        /// Height.
        height: f32,
        /// Radius of the corners.
        radius: f32,
        /// Colour.
        color: [u8; 3],
    },
    /// A picture, stretched into a box.
    Image {
        /// Left.
        x: f32,
        /// Top.
        y: f32,
        /// Width.
        width: f32,
        /// Height.
        height: f32,
        /// Its pixels; opaque.
        image: Arc<Rgba>,
    },
}

impl Item {
    /// The box that the item fills: left, top, right, bottom.
    pub fn bounds(&self) -> [f32; 4] {
        match self {
            Self::Text { x, baseline, size, text, .. } => {
                [*x, baseline - 0.78 * size, x + crate::render::text_width(text, *size), baseline + 0.22 * size]
            }
            Self::Line { from, to, .. } => [from.0.min(to.0), from.1.min(to.1), from.0.max(to.0), from.1.max(to.1)],
            Self::Rect { x, y, width, height, .. } | Self::Image { x, y, width, height, .. } => {
                [*x, *y, x + width, y + height]
            }
        }
    }
}

/// Corners of a box with rounded corners, clockwise.
pub(super) fn rounded(x: f32, y: f32, width: f32, height: f32, radius: f32) -> Vec<(f32, f32)> {
    let radius = radius.min(width / 2.0).min(height / 2.0).max(0.0);
    if radius <= 0.0 {
        return vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height)];
    }
    let centers = [
        (x + width - radius, y + radius, -90.0_f32),
        (x + width - radius, y + height - radius, 0.0),
        (x + radius, y + height - radius, 90.0),
        (x + radius, y + radius, 180.0),
    ];
    let arc = |(cx, cy, start): (f32, f32, f32)| {
        (0..=6).map(move |i| {
            let angle = (start + 15.0 * i as f32).to_radians();
            (cx + radius * angle.cos(), cy + radius * angle.sin())
        })
    };
    centers.into_iter().flat_map(arc).collect()
}

/// Paints a page on white, `pixels_per_point` pixels for a point: the preview on the screen.
pub fn rasterize(page: &Page, pixels_per_point: f32) -> Rgba {
    let s = if pixels_per_point.is_finite() { pixels_per_point.clamp(0.05, 12.0) } else { 1.0 };
    let (width, height) = ((page.width * s).round() as usize, (page.height * s).round() as usize);
    let mut canvas = Rgba::new(width, height, [255; 4]);
    for item in &page.items {
        match item {
            Item::Text { x, baseline, size, weight, color: [r, g, b], text } => {
                draw_text(&mut canvas, (x * s, baseline * s), size * s, *weight, [*r, *g, *b, 255], text);
            }
            Item::Line { from, to, width, color: [r, g, b] } => {
                let points = [(from.0 * s, from.1 * s), (to.0 * s, to.1 * s)];
                paint::stroke(&mut canvas, &points, false, width * s, [*r, *g, *b, 255]);
            }
            Item::Rect { x, y, width, height, radius, color: [r, g, b] } => {
                let corners = rounded(x * s, y * s, width * s, height * s, radius * s);
                paint::fill(&mut canvas, &[corners], [*r, *g, *b, 255]);
            }
            Item::Image { x, y, width, height, image } => {
                let (w, h) = ((width * s).round().max(1.0), (height * s).round().max(1.0));
                let pixel = (f64::from(h) / image.height.max(1) as f64, f64::from(w) / image.width.max(1) as f64);
                let shape = (image.height, image.width);
                let placement = Placement::new(&ViewTransform::default(), shape, pixel, (w.into(), h.into()));
                let scaled = place_image(image, &placement, w as usize, h as usize);
                canvas.draw(&scaled, (x * s).round() as i64, (y * s).round() as i64);
            }
        }
    }
    canvas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_painted_to_scale() {
        let image = Arc::new(Rgba::new(4, 4, [0, 0, 255, 255]));
        let page = Page {
            width: 100.0,
            height: 50.0,
            items: vec![
                Item::Rect { x: 10.0, y: 10.0, width: 20.0, height: 20.0, radius: 0.0, color: [255, 0, 0] },
                Item::Image { x: 50.0, y: 10.0, width: 20.0, height: 20.0, image },
                Item::Line { from: (0.0, 40.0), to: (100.0, 40.0), width: 2.0, color: [0, 128, 0] },
            ],
        };
        let canvas = rasterize(&page, 2.0);
        assert_eq!((canvas.width, canvas.height), (200, 100));
        assert_eq!(canvas.get(40, 40), Some([255, 0, 0, 255]));
        assert_eq!(canvas.get(120, 40), Some([0, 0, 255, 255]));
        assert_eq!(canvas.get(100, 80), Some([0, 128, 0, 255]));
        assert_eq!(canvas.get(90, 40), Some([255; 4]));
        assert_eq!(rasterize(&page, f32::NAN).width, 100);
    }

    #[test]
    fn rounded_corners_stay_in_their_box() {
        for (x, y) in rounded(5.0, 6.0, 30.0, 8.0, 20.0) {
            assert!((4.999..=35.001).contains(&x) && (5.999..=14.001).contains(&y));
        }
    }
}
