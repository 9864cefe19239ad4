//! Painted regions as textures of about the size that they are shown in.

use std::cell::RefCell;
use std::collections::HashMap;

use bifocal_core::annotation::MaskKey;
use bifocal_core::measure::Runs;
use eframe::egui::{self, Color32, ColorImage, Mesh, Painter, Shape, TextureHandle, TextureOptions, pos2};

use crate::drawing::Canvas;
use crate::ui::Cx;
use crate::view::ScreenFromImage;

/// Share of the colour inside a region, and on its rim.
pub const INSIDE: f32 = 0.38;
const RIM: f32 = 0.9;
/// Share of the colour inside a region that is on offer.
const OFFERED: f32 = 0.25;

/// Textures of painted regions, by region and place on the screen.
#[derive(Default)]
pub struct MaskTextures(RefCell<HashMap<Place, (Basis, TextureHandle)>>);

/// A region, the corner of the pane that shows it, and whether it is only on offer.
type Place = (MaskKey, [u32; 2], bool);

/// What a texture was made from.
#[derive(PartialEq)]
struct Basis {
    pixels: Runs,
    part: Part,
    /// Colours inside and on the rim.
    colors: [Color32; 2],
}

/// The part of a frame that is shown: first row, first column, last row, last column (inclusive), and every how many pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    bounds: [usize; 4],
    step: usize,
}

impl Part {
    fn size(&self) -> [usize; 2] {
        let [top, left, bottom, right] = self.bounds;
        [(right - left) / self.step + 1, (bottom - top) / self.step + 1]
    }
}

/// Draws all painted regions of a frame.
pub(super) fn paint(painter: &Painter, cx: &Cx<'_>, on: &Canvas<'_>, map: &ScreenFromImage) {
    let drawing = &cx.state.drawing;
    let here = |key: &MaskKey| key.instance == *on.instance && key.frame == on.frame_index;
    let nothing = Runs::default();
    let stroke = drawing.stroke.as_ref().map(|stroke| &stroke.mask).filter(|mask| here(mask));
    let fresh = stroke.filter(|mask| !on.session.masks.contains_key(*mask)).map(|mask| (mask, &nothing));
    for (key, pixels) in on.session.masks.iter().filter(|(key, _)| here(key)).chain(fresh) {
        let pixels = drawing.painted(key, pixels);
        let color = super::color_of(cx, Some(&key.label));
        region(painter, cx, on, map, key, pixels, [INSIDE, RIM].map(|alpha| color.gamma_multiply(alpha)), false);
    }
    // On offer: a rim in the colour of marks, which no label has.
    for (key, pixels) in drawing.proposal.iter().flat_map(|proposal| &proposal.masks).filter(|(key, _)| here(key)) {
        let inside = super::color_of(cx, Some(&key.label)).gamma_multiply(OFFERED);
        region(painter, cx, on, map, key, pixels.clone(), [inside, cx.theme.viewport().text], true);
    }
}

#[allow(clippy::too_many_arguments)]
fn region(
    painter: &Painter,
    cx: &Cx<'_>,
    on: &Canvas<'_>,
    map: &ScreenFromImage,
    key: &MaskKey,
    pixels: Runs,
    colors: [Color32; 2],
    offered: bool,
) {
    let (rows, columns) = on.frame.shape();
    let Some(bounds) = pixels.bounds(columns) else { return };
    let Some(part) = visible(map, painter.ctx().pixels_per_point(), bounds, (rows, columns)) else { return };
    let pane = map.pane().min;
    let name = (key.clone(), [pane.x.to_bits(), pane.y.to_bits()], offered);
    let basis = Basis { pixels, part, colors };
    let textures = &cx.overlays.masks;
    let mut kept = textures.0.borrow_mut();
    if kept.len() > 64 {
        kept.clear();
    }
    if kept.get(&name).is_none_or(|(before, _)| *before != basis) {
        let image = raster(&basis.pixels, columns, part, colors);
        let options = TextureOptions { magnification: egui::TextureFilter::Nearest, ..TextureOptions::LINEAR };
        match kept.get_mut(&name) {
            Some((before, texture)) => {
                texture.set(image, options);
                *before = basis;
            }
            None => {
                let texture = painter.ctx().load_texture("painted region", image, options);
                kept.insert(name.clone(), (basis, texture));
            }
        }
    }
    let Some((_, texture)) = kept.get(&name) else { return };
    let [top, left, ..] = part.bounds;
    let [width, height] = part.size();
    let (first_row, first_column) = (top as f32 - 0.5, left as f32 - 0.5);
    let (last_row, last_column) = (first_row + (height * part.step) as f32, first_column + (width * part.step) as f32);
    let corners = [
        ((first_row, first_column), pos2(0.0, 0.0)),
        ((first_row, last_column), pos2(1.0, 0.0)),
        ((last_row, last_column), pos2(1.0, 1.0)),
        ((last_row, first_column), pos2(0.0, 1.0)),
    ];
    let mut mesh = Mesh::with_texture(texture.id());
    for (place, uv) in corners {
        mesh.vertices.push(egui::epaint::Vertex { pos: map.row_column(place), uv, color: Color32::WHITE });
    }
    mesh.add_triangle(0, 1, 2);
    mesh.add_triangle(0, 2, 3);
    painter.add(Shape::mesh(mesh));
}

/// What of a region lies in the pane, and how coarse it may be drawn.
fn visible(
    map: &ScreenFromImage,
    pixels_per_point: f32,
    [top, left, bottom, right]: [usize; 4],
    (rows, columns): (usize, usize),
) -> Option<Part> {
    let pane = map.pane();
    let corners =
        [pane.left_top(), pane.right_top(), pane.left_bottom(), pane.right_bottom()].map(|p| map.image_point(p));
    let range = |values: [f32; 4], count: usize, low: usize, high: usize| {
        let least = values.iter().copied().fold(f32::INFINITY, f32::min).floor().max(0.0) as usize;
        let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max).ceil();
        let most = if most < 0.0 { return None } else { (most as usize).min(count.saturating_sub(1)) };
        let (from, to) = (least.max(low), most.min(high));
        (from <= to).then_some((from, to))
    };
    let (top, bottom) = range(corners.map(|p| p.row), rows, top, bottom)?;
    let (left, right) = range(corners.map(|p| p.column), columns, left, right)?;
    let step = (1.0 / (map.points_per_column() * pixels_per_point).max(1e-3)).floor().clamp(1.0, 64.0) as usize;
    // On whole steps, so that the raster does not swim while the image is moved.
    let (top, left) = (top / step * step, left / step * step);
    Some(Part { bounds: [top, left, bottom, right], step })
}

fn raster(pixels: &Runs, columns: usize, part: Part, [fill, rim]: [Color32; 2]) -> ColorImage {
    let [width, height] = part.size();
    let [top, left, bottom, right] = part.bounds;
    let mut set = vec![false; width * height];
    for (first, count) in pixels.as_slice() {
        let (mut at, end) = (*first as usize, (*first + *count) as usize);
        while at < end {
            let (row, column) = (at / columns, at % columns);
            let last = (column + end - at - 1).min(columns - 1);
            at += last - column + 1;
            if row < top || row > bottom || !(row - top).is_multiple_of(part.step) || last < left || column > right {
                continue;
            }
            let line = (row - top) / part.step * width;
            let (from, to) = (column.max(left) - left, last.min(right) - left);
            let (from, to) = (from.div_ceil(part.step), to / part.step);
            if let Some(cells) = set.get_mut(line + from..line + to + 1) {
                cells.fill(true);
            }
        }
    }
    let inside = |x: isize, y: isize| {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return false };
        x < width && y < height && set.get(y * width + x).copied().unwrap_or(false)
    };
    let pixels = (0..width * height)
        .map(|n| {
            let (x, y) = ((n % width) as isize, (n / width) as isize);
            if !set.get(n).copied().unwrap_or(false) {
                Color32::TRANSPARENT
            } else if [(1, 0), (-1, 0), (0, 1), (0, -1)].iter().all(|(dx, dy)| inside(x + dx, y + dy)) {
                fill
            } else {
                rim
            }
        })
        .collect();
    ColorImage::new([width, height], pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_drawn_where_it_is() {
        // Columns 2 to 6 of rows 1 to 5 in a frame of 10 columns.
        let pixels = Runs::new((1..6).map(|row| (row * 10 + 2, 5)).collect());
        let part = Part { bounds: [1, 2, 5, 6], step: 1 };
        let colors = [Color32::RED, Color32::BLUE];
        let image = raster(&pixels, 10, part, colors);
        assert_eq!(image.size, [5, 5]);
        assert!(image.pixels.iter().all(|p| *p != Color32::TRANSPARENT));
        assert_eq!(image.pixels[2 * 5 + 2], Color32::RED);
        assert_eq!(image.pixels[0], Color32::BLUE);
        let wider = Part { bounds: [0, 0, 9, 9], step: 2 };
        let image = raster(&pixels, 10, wider, colors);
        let set: Vec<usize> = (0..25).filter(|n| image.pixels[*n] != Color32::TRANSPARENT).collect();
        assert_eq!(set, [6, 7, 8, 11, 12, 13], "rows 2 and 4, columns 2, 4 and 6");
        let wrapped = Runs::new(vec![(8, 4)]);
        let image = raster(&wrapped, 10, Part { bounds: [0, 0, 1, 9], step: 1 }, colors);
        let set: Vec<usize> = (0..20).filter(|n| image.pixels[*n] != Color32::TRANSPARENT).collect();
        assert_eq!(set, [8, 9, 10, 11]);
    }
}
