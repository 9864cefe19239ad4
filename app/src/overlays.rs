//! Heat maps and attention on the graphics card: made once for each map and each change of how it is shown, not each frame.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

use crate::measured::MeasuredShapes;
use crate::ui::plane_masks::PaintedVolumes;
use crate::ui::shapes::MaskTextures;
use bifocal_core::analysis::Analysis;
use bifocal_core::analysis::contour::contours;
use bifocal_core::render::{self, HeatStyle};
use bifocal_core::volume::{Plane, Slab, Volume};
use eframe::egui::{self, ColorImage, Rect, TextureHandle, TextureOptions, Vec2};
use ndarray::Array2;

use crate::probe::{self, Answer};
use crate::view::ImagePoint;

/// A map on the graphics card.
pub struct LayerTexture {
    /// The texture.
    pub handle: TextureHandle,
    /// Rows and columns of the map's own grid that it covers; a little more than the map where its size was reduced.
    pub covers: (usize, usize),
    /// The part of the texture, 0 to 1, outside of which it is clear; of no size where all of it is.
    pub seen: Rect,
}

struct Layer {
    /// Kept, so that its address names it.
    values: Arc<Array2<f32>>,
    reduced: Arc<Array2<f32>>,
    step: usize,
    style: HeatStyle,
    texture: TextureHandle,
    seen: Rect,
    used: u64,
}

/// A volume as it is laid over a plane. The volume itself is not kept alive.
struct Sampled {
    volume: Weak<Volume>,
    plane: Plane,
    values: Arc<Array2<f32>>,
}

/// Contours of values at a level. The values themselves are not kept alive.
struct Traced {
    values: Weak<Array2<f32>>,
    level: f32,
    contours: Contours,
}

/// Closed lines of (row, column) vertices.
type Contours = Arc<Vec<Vec<(f32, f32)>>>;

struct Bar {
    style: HeatStyle,
    texture: TextureHandle,
}

#[derive(Default)]
struct Inner {
    layers: Vec<Layer>,
    bars: Vec<Bar>,
    /// The one that was used last is at the end.
    sampled: Vec<Sampled>,
    traced: Vec<Traced>,
    probe: Option<(Arc<Analysis>, ImagePoint, Option<Arc<Answer>>)>,
    clock: u64,
}

/// The store of overlays.
pub struct Overlays {
    ctx: egui::Context,
    inner: RefCell<Inner>,
    /// Size of a lens in the last frame: what jumping to a finding centres in.
    pub pane: Cell<Vec2>,
    /// Where the viewports were in the last frame.
    pub area: Cell<Rect>,
    /// Painted regions on the graphics card.
    pub masks: MaskTextures,
    /// Painted regions as volumes.
    pub painted: PaintedVolumes,
    /// What shapes measure.
    pub measured: MeasuredShapes,
}

/// Longest side of an overlay's texture. Maps are smooth: more shows nothing more.
const LONGEST_SIDE: usize = 1024;
/// One a viewport of the largest grid and those of the lenses; in three planes what is laid over, and each label.
const LAYERS_KEPT: usize = 32;
const BARS_KEPT: usize = 4;

impl Overlays {
    /// An empty store.
    pub fn new(ctx: egui::Context) -> Self {
        Self {
            ctx,
            inner: RefCell::default(),
            pane: Cell::new(Vec2::splat(512.0)),
            area: Cell::new(Rect::NOTHING),
            masks: MaskTextures::default(),
            painted: PaintedVolumes::default(),
            measured: MeasuredShapes::default(),
        }
    }

    /// The texture of a map in a style.
    pub fn layer(&self, values: &Arc<Array2<f32>>, style: &HeatStyle) -> LayerTexture {
        let inner = &mut *self.inner.borrow_mut();
        inner.clock += 1;
        let clock = inner.clock;
        if let Some(layer) = inner.layers.iter_mut().find(|layer| Arc::ptr_eq(&layer.values, values)) {
            layer.used = clock;
            if layer.style != *style {
                layer.style = *style;
                let image = render::heat_layer(&layer.reduced, style);
                layer.seen = seen(&image);
                layer.texture.set(color_image(&image), TextureOptions::LINEAR);
            }
            return layer.handed_out();
        }
        let (reduced, step) = reduce(values);
        let image = render::heat_layer(&reduced, style);
        let seen = seen(&image);
        let texture = self.ctx.load_texture("overlay", color_image(&image), TextureOptions::LINEAR);
        let layer = Layer { values: Arc::clone(values), reduced, step, style: *style, texture, seen, used: clock };
        let handed_out = layer.handed_out();
        inner.layers.push(layer);
        if inner.layers.len() > LAYERS_KEPT {
            let oldest = inner.layers.iter().enumerate().min_by_key(|(_, layer)| layer.used).map(|(index, _)| index);
            inner.layers.remove(oldest.unwrap_or(0));
        }
        handed_out
    }

    /// The values of a volume on a plane, remembered.
    pub fn sampled(&self, volume: &Arc<Volume>, plane: &Plane) -> Arc<Array2<f32>> {
        let kept = &mut self.inner.borrow_mut().sampled;
        kept.retain(|sampled| sampled.volume.strong_count() > 0);
        let known = kept.iter().position(|s| s.plane == *plane && std::ptr::eq(s.volume.as_ptr(), Arc::as_ptr(volume)));
        let sampled = match known {
            Some(index) => kept.remove(index),
            None => Sampled {
                volume: Arc::downgrade(volume),
                plane: *plane,
                values: Arc::new(volume.sample(plane, Slab::default())),
            },
        };
        let values = Arc::clone(&sampled.values);
        kept.push(sampled);
        if kept.len() > LAYERS_KEPT {
            kept.remove(0);
        }
        values
    }

    /// Contours of values at a level (see [`contours`]), remembered.
    pub fn contours(&self, values: &Arc<Array2<f32>>, level: f32) -> Contours {
        let kept = &mut self.inner.borrow_mut().traced;
        let same = |t: &&Traced| t.level == level && std::ptr::eq(t.values.as_ptr(), Arc::as_ptr(values));
        if let Some(traced) = kept.iter().find(same) {
            return Arc::clone(&traced.contours);
        }
        kept.retain(|traced| traced.values.strong_count() > 0);
        let contours = Arc::new(contours(values, level));
        kept.push(Traced { values: Arc::downgrade(values), level, contours: Arc::clone(&contours) });
        contours
    }

    /// How a map was last drawn, if it was.
    #[cfg(test)]
    pub fn style_of(&self, values: &Arc<Array2<f32>>) -> Option<HeatStyle> {
        self.inner.borrow().layers.iter().find(|layer| Arc::ptr_eq(&layer.values, values)).map(|layer| layer.style)
    }

    /// A vertical colour bar, the highest value on top.
    pub fn bar(&self, style: &HeatStyle) -> TextureHandle {
        let inner = &mut *self.inner.borrow_mut();
        if let Some(bar) = inner.bars.iter().find(|bar| bar.style == *style) {
            return bar.texture.clone();
        }
        let image = color_image(&render::color_bar(1, 256, style));
        let texture = self.ctx.load_texture("colour bar", image, TextureOptions::LINEAR);
        inner.bars.push(Bar { style: *style, texture: texture.clone() });
        if inner.bars.len() > BARS_KEPT {
            inner.bars.remove(0);
        }
        texture
    }

    /// What the attention probe answers at `point`.
    pub fn probe(&self, analysis: &Arc<Analysis>, point: ImagePoint) -> Option<Arc<Answer>> {
        let inner = &mut *self.inner.borrow_mut();
        if let Some((of, at, answer)) = &inner.probe
            && Arc::ptr_eq(of, analysis)
            && *at == point
        {
            return answer.clone();
        }
        let organs: Vec<String> = analysis.organ_maps.iter().map(|map| map.organ.clone()).collect();
        let answer = probe::ask(&analysis.token_attention, &organs, point).map(Arc::new);
        inner.probe = Some((Arc::clone(analysis), point, answer.clone()));
        answer
    }
}

impl Layer {
    fn handed_out(&self) -> LayerTexture {
        let (rows, columns) = self.reduced.dim();
        LayerTexture { handle: self.texture.clone(), covers: (rows * self.step, columns * self.step), seen: self.seen }
    }
}

fn color_image(image: &render::Rgba) -> ColorImage {
    ColorImage::from_rgba_unmultiplied([image.width, image.height], image.as_bytes())
}

/// The part of an image, 0 to 1, that holds all its pixels that are not clear, with a pixel around them for the interpolation.
fn seen(image: &render::Rgba) -> Rect {
    let (mut top, mut left, mut bottom, mut right) = (usize::MAX, usize::MAX, 0, 0);
    for (row, line) in image.pixels.chunks_exact(image.width.max(1)).enumerate() {
        let opaque = |pixel: &[u8; 4]| pixel[3] > 0;
        if let (Some(first), Some(last)) = (line.iter().position(opaque), line.iter().rposition(opaque)) {
            (top, bottom) = (top.min(row), row + 1);
            (left, right) = (left.min(first), right.max(last + 1));
        }
    }
    if top == usize::MAX {
        return Rect::NOTHING;
    }
    let share = |pixel: usize, count: usize| pixel as f32 / count as f32;
    let (width, height) = (image.width, image.height);
    Rect::from_min_max(
        egui::pos2(share(left.saturating_sub(1), width), share(top.saturating_sub(1), height)),
        egui::pos2(share((right + 1).min(width), width), share((bottom + 1).min(height), height)),
    )
}

/// Means over blocks of `step` × `step` values, so that neither side is longer than [`LONGEST_SIDE`].
fn reduce(values: &Arc<Array2<f32>>) -> (Arc<Array2<f32>>, usize) {
    let (rows, columns) = values.dim();
    let step = rows.max(columns).div_ceil(LONGEST_SIDE).max(1);
    if step == 1 {
        return (Arc::clone(values), 1);
    }
    let reduced = Array2::from_shape_fn((rows.div_ceil(step), columns.div_ceil(step)), |(row, column)| {
        let (last_row, last_column) = (((row + 1) * step).min(rows), ((column + 1) * step).min(columns));
        let block = values.slice(ndarray::s![row * step..last_row, column * step..last_column]);
        block.mean().unwrap_or(0.0)
    });
    (Arc::new(reduced), step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_maps_are_reduced_and_cover_the_same_area() {
        let values = Arc::new(Array2::from_shape_fn((2500, 1000), |(r, _)| r as f32));
        let (reduced, step) = reduce(&values);
        assert_eq!((step, reduced.dim()), (3, (834, 334)));
        assert_eq!(reduced[[0, 0]], 1.0);
        assert_eq!(reduced[[833, 0]], 2499.0);
    }

    #[test]
    fn only_the_part_of_a_map_that_is_seen_is_drawn() {
        let overlays = Overlays::new(egui::Context::default());
        let map =
            Arc::new(Array2::from_shape_fn((10, 20), |(r, c)| if r == 4 && (8..=11).contains(&c) { 0.9 } else { 0.0 }));
        let seen = overlays.layer(&map, &HeatStyle::LESION).seen;
        assert_eq!(seen, Rect::from_min_max(egui::pos2(0.35, 0.3), egui::pos2(0.65, 0.6)));
        let higher = HeatStyle { threshold: 0.95, ..HeatStyle::LESION };
        assert!(!overlays.layer(&map, &higher).seen.is_positive(), "all of it is clear");
    }

    #[test]
    fn textures_are_made_once_for_each_style() {
        let ctx = egui::Context::default();
        let overlays = Overlays::new(ctx);
        let map = Arc::new(Array2::from_elem((8, 8), 0.7));
        let first = overlays.layer(&map, &HeatStyle::LESION).handle.id();
        assert_eq!(overlays.layer(&map, &HeatStyle::LESION).handle.id(), first);
        let fainter = HeatStyle { opacity: 0.2, ..HeatStyle::LESION };
        assert_eq!(overlays.layer(&map, &fainter).handle.id(), first, "the same texture, with other contents");
        for _ in 0..LAYERS_KEPT + 4 {
            overlays.layer(&Arc::new(Array2::zeros((8, 8))), &HeatStyle::ATTENTION);
        }
        assert_eq!(overlays.inner.borrow().layers.len(), LAYERS_KEPT);
    }
}
