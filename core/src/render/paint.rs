//! Antialiased lines and areas on an [`Rgba`], in pixel coordinates: (0, 0) is the top left corner of the first pixel.

use super::Rgba;

/// Distance from `p` to the segment from `a` to `b`.
fn distance_to_segment(p: (f32, f32), a: (f32, f32), b: (f32, f32)) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length2 = dx * dx + dy * dy;
    let t = if length2 > 0.0 { (((p.0 - a.0) * dx + (p.1 - a.1) * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
    (p.0 - a.0 - t * dx).hypot(p.1 - a.1 - t * dy)
}

/// How much of each pixel in a box a shape covers.
pub(super) struct Mask {
    x: i64,
    y: i64,
    width: usize,
    height: usize,
    coverage: Vec<f32>,
}

impl Mask {
    /// An empty mask around points, `margin` pixels wider, cut to the image; `None` where nothing is visible.
    fn around<'a>(image: &Rgba, points: impl Iterator<Item = &'a (f32, f32)>, margin: f32) -> Option<Self> {
        let (mut low, mut high) = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
        for (x, y) in points.filter(|(x, y)| x.is_finite() && y.is_finite()) {
            low = (low.0.min(*x), low.1.min(*y));
            high = (high.0.max(*x), high.1.max(*y));
        }
        let x0 = (low.0 - margin).floor().max(0.0);
        let y0 = (low.1 - margin).floor().max(0.0);
        let x1 = (high.0 + margin).ceil().min(image.width as f32);
        let y1 = (high.1 + margin).ceil().min(image.height as f32);
        if x1 <= x0 || y1 <= y0 {
            return None;
        }
        let (width, height) = ((x1 - x0) as usize, (y1 - y0) as usize);
        Some(Self { x: x0 as i64, y: y0 as i64, width, height, coverage: vec![0.0; width * height] })
    }

    /// Raises the coverage along a polyline with round ends and joins.
    fn add_stroke(&mut self, points: &[(f32, f32)], closed: bool, width: f32) {
        let half = width.max(0.0) / 2.0;
        let count = points.len();
        let segments = if closed && count > 2 { count } else { count.saturating_sub(1) };
        for index in 0..segments {
            let (a, b) = (points[index], points[(index + 1) % count]);
            if !(a.0.is_finite() && a.1.is_finite() && b.0.is_finite() && b.1.is_finite()) {
                continue;
            }
            let reach = half + 1.0;
            let column = |v: f32| ((v as f64 - self.x as f64).max(0.0) as usize).min(self.width);
            let row = |v: f32| ((v as f64 - self.y as f64).max(0.0) as usize).min(self.height);
            let (x0, x1) = (column((a.0.min(b.0) - reach).floor()), column((a.0.max(b.0) + reach).ceil()));
            let (y0, y1) = (row((a.1.min(b.1) - reach).floor()), row((a.1.max(b.1) + reach).ceil()));
            for y in y0..y1 {
                for x in x0..x1 {
                    let p = ((x as i64 + self.x) as f32 + 0.5, (y as i64 + self.y) as f32 + 0.5);
                    let inside = (half + 0.5 - distance_to_segment(p, a, b)).clamp(0.0, 1.0) * width.clamp(0.0, 1.0);
                    let cell = &mut self.coverage[y * self.width + x];
                    *cell = cell.max(inside);
                }
            }
        }
    }

    /// Raises the coverage inside closed polygons, by exact area: even-odd for crossing outlines is not needed, since
    /// glyphs and contours wind the same way around what is filled.
    fn add_fill(&mut self, polygons: &[Vec<(f32, f32)>]) {
        // Signed area to the right of each edge, then summed along rows: as font rasterisers do.
        let stride = self.width + 2;
        let mut area = vec![0.0_f32; stride * self.height];
        for polygon in polygons {
            for index in 0..polygon.len() {
                let (a, b) = (polygon[index], polygon[(index + 1) % polygon.len()]);
                if a.0.is_finite() && a.1.is_finite() && b.0.is_finite() && b.1.is_finite() {
                    let shift = |p: (f32, f32)| (p.0 - self.x as f32, p.1 - self.y as f32);
                    add_edge(&mut area, stride, self.height, shift(a), shift(b));
                }
            }
        }
        for y in 0..self.height {
            let mut sum = 0.0;
            for x in 0..self.width {
                sum += area[y * stride + x];
                let cell = &mut self.coverage[y * self.width + x];
                *cell = cell.max(sum.abs().min(1.0));
            }
        }
    }

    fn paint(&self, image: &mut Rgba, color: [u8; 4]) {
        for (index, coverage) in self.coverage.iter().enumerate() {
            if *coverage > 0.0 {
                let (x, y) = (index % self.width, index / self.width);
                image.blend((self.x as usize) + x, (self.y as usize) + y, color, *coverage);
            }
        }
    }
}

/// Adds one edge to the accumulation buffer: each crossed pixel gets the area that it adds to everything at its right.
fn add_edge(area: &mut [f32], stride: usize, height: usize, a: (f32, f32), b: (f32, f32)) {
    if a.1 == b.1 {
        return;
    }
    let (sign, top, bottom) = if a.1 < b.1 { (1.0, a, b) } else { (-1.0, b, a) };
    let slope = (bottom.0 - top.0) / (bottom.1 - top.1);
    let first = top.1.max(0.0).floor() as usize;
    let last = bottom.1.ceil().clamp(0.0, height as f32) as usize;
    let right_end = (stride - 2) as f32;
    for y in first..last {
        let y0 = top.1.max(y as f32);
        let y1 = bottom.1.min(y as f32 + 1.0);
        let dy = y1 - y0;
        if dy <= 0.0 {
            continue;
        }
        let xa = (top.0 + (y0 - top.1) * slope).clamp(0.0, right_end);
        let xb = (top.0 + (y1 - top.1) * slope).clamp(0.0, right_end);
        let (x0, x1) = (xa.min(xb), xa.max(xb));
        let row = &mut area[y * stride..(y + 1) * stride];
        let (c0, c1) = (x0.floor() as usize, x1.ceil() as usize);
        if c1 <= c0 + 1 {
            let middle = (x0 + x1) / 2.0 - c0 as f32;
            row[c0] += sign * dy * (1.0 - middle);
            row[c0 + 1] += sign * dy * middle;
        } else {
            // The edge crosses several pixels of the row: the share to the right of it grows along them.
            let per_x = dy / (x1 - x0);
            let covered = |x: f32| -> f32 {
                // Area to the right of the edge inside pixel x: integral of the height reached.
                let from = (x - x0).max(0.0);
                let to = (x + 1.0).min(x1) - x0;
                let start = x0.max(x);
                let reach = x + 1.0 - (start + (to - from) / 2.0);
                per_x * (to - from) * reach
            };
            let mut before = 0.0;
            for (c, cell) in row.iter_mut().enumerate().take(c1).skip(c0) {
                let x = c as f32;
                let entered = per_x * ((x + 1.0).min(x1) - x0.max(x)).max(0.0);
                let here = covered(x);
                // In this pixel: what it covers itself, and the rest of what the pixel before it let in.
                *cell += sign * (here + before);
                before = entered - here;
            }
            row[c1] += sign * before;
        }
    }
}

/// Draws a polyline through `points` (x, y), `width` pixels wide, with round joins and ends.
pub fn stroke(image: &mut Rgba, points: &[(f32, f32)], closed: bool, width: f32, color: [u8; 4]) {
    if let Some(mut mask) = Mask::around(image, points.iter(), width / 2.0 + 1.0) {
        mask.add_stroke(points, closed, width);
        mask.paint(image, color);
    }
}

/// Fills the area inside closed polygons of (x, y); inner polygons that wind the other way are holes.
pub fn fill(image: &mut Rgba, polygons: &[Vec<(f32, f32)>], color: [u8; 4]) {
    fill_bold(image, polygons, 0.0, color);
}

/// Fills polygons and widens them by a stroke of `width` pixels along their outline: heavier type.
pub(super) fn fill_bold(image: &mut Rgba, polygons: &[Vec<(f32, f32)>], width: f32, color: [u8; 4]) {
    if let Some(mut mask) = Mask::around(image, polygons.iter().flatten(), width / 2.0 + 1.0) {
        mask.add_fill(polygons);
        if width > 0.0 {
            for polygon in polygons {
                mask.add_stroke(polygon, true, width);
            }
        }
        mask.paint(image, color);
    }
}

/// Fills a box from (`x`, `y`), `width` by `height` pixels, with exact edges.
pub fn rectangle(image: &mut Rgba, x: f32, y: f32, width: f32, height: f32, color: [u8; 4]) {
    let (right, bottom) = (x + width, y + height);
    fill(image, &[vec![(x, y), (right, y), (right, bottom), (x, bottom)]], color);
}

/// A ring around (`x`, `y`) with a cross-hair gap: marks a point without hiding it.
pub fn marker(image: &mut Rgba, x: f32, y: f32, radius: f32, width: f32, color: [u8; 4]) {
    let ring: Vec<(f32, f32)> = (0..48)
        .map(|i| {
            let angle = i as f32 / 48.0 * std::f32::consts::TAU;
            (x + radius * angle.cos(), y + radius * angle.sin())
        })
        .collect();
    // A dark rim keeps the mark visible on bright images.
    stroke(image, &ring, true, width + 2.0, [0, 0, 0, 140]);
    stroke(image, &ring, true, width, color);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(image: &Rgba) -> f32 {
        image.pixels.iter().map(|p| f32::from(p[0]) / 255.0).sum()
    }

    fn black(width: usize, height: usize) -> Rgba {
        Rgba::new(width, height, [0, 0, 0, 255])
    }

    const WHITE: [u8; 4] = [255; 4];

    #[test]
    fn filled_areas_are_exact() {
        let mut image = black(40, 40);
        rectangle(&mut image, 3.25, 4.5, 10.0, 6.5, WHITE);
        assert!((sum(&image) - 65.0).abs() < 0.3, "{}", sum(&image));
        let mut image = black(40, 40);
        fill(&mut image, &[vec![(2.0, 3.0), (37.0, 11.0), (9.0, 33.0)]], WHITE);
        let area = 0.5 * ((37.0 - 2.0) * (33.0 - 3.0) - (9.0 - 2.0) * (11.0 - 3.0_f32)).abs();
        assert!((sum(&image) - area).abs() < 1.0, "{} for {area}", sum(&image));
        let circle: Vec<(f32, f32)> = (0..200)
            .map(|i| (i as f32 / 200.0 * std::f32::consts::TAU).sin_cos())
            .map(|(s, c)| (20.0 + 15.0 * c, 20.0 + 15.0 * s))
            .collect();
        let mut image = black(40, 40);
        fill(&mut image, &[circle], WHITE);
        assert!((sum(&image) - std::f32::consts::PI * 225.0).abs() < 1.5);
    }

    #[test]
    fn holes_stay_open_and_outsides_are_cut() {
        let mut image = black(20, 20);
        let outer = vec![(-5.0, -5.0), (25.0, -5.0), (25.0, 25.0), (-5.0, 25.0)];
        let hole = vec![(5.0, 5.0), (5.0, 15.0), (15.0, 15.0), (15.0, 5.0)];
        fill(&mut image, &[outer, hole], WHITE);
        assert!((sum(&image) - 300.0).abs() < 0.1);
        assert_eq!(image.get(10, 10), Some([0, 0, 0, 255]));
        assert_eq!(image.get(0, 19), Some(WHITE));
    }

    #[test]
    fn strokes_have_their_width() {
        let mut image = black(60, 30);
        stroke(&mut image, &[(10.0, 15.0), (50.0, 15.0)], false, 3.0, WHITE);
        // A bar of 40 x 3 and two half circles.
        let expected = 120.0 + std::f32::consts::PI * 2.25;
        assert!((sum(&image) - expected).abs() < 2.0, "{}", sum(&image));
        stroke(&mut image, &[(f32::NAN, 0.0), (1.0, f32::INFINITY), (1e30, -1e30)], true, 1.0, WHITE);
        stroke(&mut image, &[], true, 1.0, WHITE);
    }

    #[test]
    fn a_marker_leaves_its_middle() {
        let mut image = black(41, 41);
        marker(&mut image, 20.5, 20.5, 10.0, 2.0, WHITE);
        assert_eq!(image.get(20, 20), Some([0, 0, 0, 255]));
        assert_eq!(image.get(30, 20), Some(WHITE));
    }
}
