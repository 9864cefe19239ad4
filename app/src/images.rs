//! Decoded frames, textures and thumbnails: background decoding with prefetch, and memory limits.
//!
//! A frame is kept with copies of half, quarter, ... size, so that a large radiograph shown small is windowed and sent to the
//! graphics card at about the size it is shown in, without aliasing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bifocal_core::render::{self, Rgba, Voi, VoiMapping};
use bifocal_core::study::{Frame, GrayPixels, Pixels, Source, Window};
use eframe::egui::{self, ColorImage, TextureHandle, TextureOptions};
use ndarray::{Array2, Array3};

use crate::io::FrameSource;
use crate::view::WindowChoice;

/// Names one frame of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FrameKey {
    /// The file.
    pub source: Source,
    /// The frame in it, from 0.
    pub frame: usize,
}

/// A decoded frame, ready to be shown at any size.
#[derive(Debug)]
pub struct LoadedFrame {
    /// The frame itself, then copies of half the size of the one before.
    pub levels: Vec<Arc<Frame>>,
    /// A window from the frame's own values.
    pub auto_window: Window,
    /// What the file asks for, else automatic.
    from_file: Voi,
    bytes: usize,
}

impl LoadedFrame {
    /// Prepares a decoded frame.
    pub fn new(frame: Frame) -> Self {
        let auto_window = render::automatic_window(&frame);
        let from_file = Voi::of_frame(&frame);
        let mut levels = vec![Arc::new(frame)];
        while let Some(last) = levels.last() {
            let (rows, columns) = last.shape();
            if rows.min(columns) < 256 {
                break;
            }
            let half = half_size(last);
            levels.push(Arc::new(half));
        }
        let bytes = levels.iter().map(|level| frame_bytes(level)).sum();
        Self { levels, auto_window, from_file, bytes }
    }

    /// The frame in full size.
    pub fn frame(&self) -> &Frame {
        &self.levels[0]
    }

    /// The curve that a choice means for this frame.
    pub fn voi(&self, choice: &WindowChoice, inverted: bool) -> Voi {
        let windows = &self.frame().display.windows;
        let mut voi = match choice {
            WindowChoice::FromFile => self.from_file.clone(),
            WindowChoice::FileWindow(n) => match windows.get(*n).filter(|window| window.width > 0.0) {
                Some(window) => Voi::window(window.clone()),
                None => self.from_file.clone(),
            },
            WindowChoice::Auto => Voi::window(self.auto_window.clone()),
            WindowChoice::Fixed(window) => Voi::window(window.clone()),
        };
        voi.inverted = inverted;
        voi
    }

    /// The window of a curve; for a lookup table, the one that a drag starts from.
    pub fn window_of(&self, voi: &Voi) -> Window {
        match &voi.mapping {
            VoiMapping::Window(window) => window.clone(),
            VoiMapping::Lut(_) => self.auto_window.clone(),
        }
    }

    /// The level to draw where one image pixel covers `scale` physical pixels, none larger than `max_side`.
    fn level_for(&self, scale: f32, max_side: usize) -> usize {
        let mut level = 0;
        let mut level_scale = scale;
        while level + 1 < self.levels.len() {
            let (rows, columns) = self.levels[level].shape();
            // A little softer than the screen at worst, never coarser than half its pixels.
            let too_fine = level_scale < 0.6;
            if !too_fine && rows.max(columns) <= max_side {
                break;
            }
            level += 1;
            level_scale *= 2.0;
        }
        level
    }
}

fn frame_bytes(frame: &Frame) -> usize {
    let (rows, columns) = frame.shape();
    let sample = match &frame.pixels {
        Pixels::Rgb(_) => 3,
        Pixels::Gray(GrayPixels::U8(_) | GrayPixels::I8(_)) => 1,
        Pixels::Gray(GrayPixels::U16(_) | GrayPixels::I16(_)) => 2,
        Pixels::Gray(GrayPixels::F64(_)) => 8,
        Pixels::Gray(_) => 4,
    };
    rows * columns * sample
}

/// Means of two by two values; padding stays padding where it fills most of the four.
fn half_size(frame: &Frame) -> Frame {
    let (rows, columns) = frame.shape();
    let (half_rows, half_columns) = (rows / 2, columns / 2);
    let pixels = match &frame.pixels {
        Pixels::Rgb(rgb) => Pixels::Rgb(Array3::from_shape_fn((half_rows, half_columns, 3), |(r, c, k)| {
            let sum: u16 = [(0, 0), (0, 1), (1, 0), (1, 1)]
                .iter()
                .map(|(dr, dc)| u16::from(rgb[[2 * r + dr, 2 * c + dc, k]]))
                .sum();
            (sum / 4) as u8
        })),
        Pixels::Gray(gray) => {
            let padding = frame.display.padding;
            macro_rules! half {
                ($kind:ident, $array:expr, $sample:ty) => {
                    GrayPixels::$kind(Array2::from_shape_fn((half_rows, half_columns), |(r, c)| {
                        let four = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(dr, dc)| $array[[2 * r + dr, 2 * c + dc]]);
                        let is_padding =
                            |v: &$sample| padding.is_some_and(|(low, high)| (low..=high).contains(&f64::from(*v)));
                        let padded = four.iter().filter(|v| is_padding(v)).count();
                        if padded >= 2 {
                            return four.iter().copied().find(is_padding).unwrap_or(four[0]);
                        }
                        let sum: f64 = four.iter().filter(|v| !is_padding(v)).map(|v| f64::from(*v)).sum();
                        let mean = sum / (4 - padded) as f64;
                        if stringify!($kind).starts_with('F') { mean as $sample } else { mean.round() as $sample }
                    }))
                };
            }
            Pixels::Gray(match gray {
                GrayPixels::U8(a) => half!(U8, a, u8),
                GrayPixels::I8(a) => half!(I8, a, i8),
                GrayPixels::U16(a) => half!(U16, a, u16),
                GrayPixels::I16(a) => half!(I16, a, i16),
                GrayPixels::U32(a) => half!(U32, a, u32),
                GrayPixels::I32(a) => half!(I32, a, i32),
                GrayPixels::F32(a) => half!(F32, a, f32),
                GrayPixels::F64(a) => half!(F64, a, f64),
            })
        }
    };
    Frame { pixels, display: frame.display.clone() }
}

/// What is known of a frame.
#[derive(Debug, Clone)]
pub enum FrameState {
    /// Asked for, not here yet.
    Loading,
    /// Decoded.
    Ready(Arc<LoadedFrame>),
    /// It cannot be decoded: which file and why.
    Failed(Arc<str>),
}

enum Slot {
    Ready(Arc<LoadedFrame>, u64),
    Failed(Arc<str>),
}

/// What is known of a thumbnail.
#[derive(Clone)]
pub enum Thumbnail {
    /// Asked for, not here yet.
    Loading,
    /// Ready to be drawn.
    Ready(TextureHandle),
    /// The frame cannot be decoded.
    Failed,
}

/// A frame on the graphics card.
pub struct FrameTexture {
    /// The texture.
    pub handle: TextureHandle,
    /// Rows and columns of the full frame that it covers (halving an odd size leaves the last one out).
    pub covers: (usize, usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct TextureKey {
    frame: FrameKey,
    level: usize,
    voi: VoiKey,
    inverted: bool,
}

/// A curve as something that can be compared: the lookup table is the frame's own, so its place is enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum VoiKey {
    Window([u64; 2], u8),
    Lut,
}

impl VoiKey {
    fn new(voi: &Voi) -> Self {
        match &voi.mapping {
            VoiMapping::Window(window) => {
                Self::Window([window.center.to_bits(), window.width.to_bits()], window.function as u8)
            }
            VoiMapping::Lut(_) => Self::Lut,
        }
    }
}

fn color_image(image: &Rgba) -> ColorImage {
    ColorImage::from_rgba_unmultiplied([image.width, image.height], image.as_bytes())
}

#[derive(Default)]
struct Queue {
    /// Frames in the order they are wanted.
    wanted: Vec<FrameKey>,
    thumbnails: Vec<FrameKey>,
    busy: Vec<FrameKey>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Panics inside decoders are caught before they can hold the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Decoded {
    Frame(FrameKey, Result<LoadedFrame, String>),
    Thumbnail(FrameKey, Option<ColorImage>),
}

#[derive(Default)]
struct Inner {
    frames: HashMap<FrameKey, Slot>,
    bytes: usize,
    clock: u64,
    textures: HashMap<TextureKey, (TextureHandle, u64)>,
    thumbnails: HashMap<FrameKey, (Thumbnail, u64)>,
}

/// All images of the window. Panels only ask; decoding happens on two threads of its own.
pub struct Images {
    ctx: egui::Context,
    shared: Arc<Shared>,
    results: Receiver<Decoded>,
    inner: RefCell<Inner>,
    byte_limit: usize,
}

/// Textures that are kept: the two lenses share one, the rest make scrolling back and dragging smooth.
const TEXTURES_KEPT: usize = 12;
/// Longest side of a thumbnail, pixels.
const THUMBNAIL_SIDE: usize = 128;
/// Thumbnails that are kept.
const THUMBNAILS_KEPT: usize = 600;
const DECODING_THREADS: usize = 2;

impl Images {
    /// No images yet; at most `byte_limit` bytes of decoded frames are kept.
    pub fn new(ctx: egui::Context, byte_limit: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, results) = channel();
        for number in 0..DECODING_THREADS {
            let (shared, sender, ctx) = (Arc::clone(&shared), sender.clone(), ctx.clone());
            let spawned = std::thread::Builder::new()
                .name(format!("decode {number}"))
                .spawn(move || decode_loop(&shared, &sender, &ctx));
            if let Err(error) = spawned {
                tracing::error!("no decoding thread: {error}");
            }
        }
        Self { ctx, shared, results, inner: RefCell::default(), byte_limit }
    }

    /// Takes in what was decoded since the last frame.
    pub fn poll(&self) {
        let inner = &mut *self.inner.borrow_mut();
        while let Ok(decoded) = self.results.try_recv() {
            match decoded {
                Decoded::Frame(key, Ok(frame)) => {
                    inner.clock += 1;
                    inner.bytes += frame.bytes;
                    inner.frames.insert(key, Slot::Ready(Arc::new(frame), inner.clock));
                }
                Decoded::Frame(key, Err(message)) => {
                    inner.frames.insert(key, Slot::Failed(message.into()));
                }
                Decoded::Thumbnail(key, image) => {
                    let thumbnail = match image {
                        Some(image) => {
                            Thumbnail::Ready(self.ctx.load_texture("thumbnail", image, TextureOptions::LINEAR))
                        }
                        None => Thumbnail::Failed,
                    };
                    inner.clock += 1;
                    inner.thumbnails.insert(key, (thumbnail, inner.clock));
                    inner.forget_thumbnails();
                }
            }
        }
        inner.forget_frames(self.byte_limit);
    }

    /// Says which frames are wanted, the most urgent first, in place of what was wanted before.
    pub fn want(&self, keys: Vec<FrameKey>) {
        let inner = self.inner.borrow();
        let missing: Vec<_> = keys.into_iter().filter(|key| !inner.frames.contains_key(key)).collect();
        let mut queue = self.shared.queue();
        let wanted: Vec<_> = missing.into_iter().filter(|key| !queue.busy.contains(key)).collect();
        if wanted != queue.wanted {
            queue.wanted = wanted;
            self.shared.changed.notify_all();
        }
    }

    /// What is known of a frame.
    pub fn frame(&self, key: &FrameKey) -> FrameState {
        let inner = &mut *self.inner.borrow_mut();
        inner.clock += 1;
        match inner.frames.get_mut(key) {
            Some(Slot::Ready(frame, used)) => {
                *used = inner.clock;
                FrameState::Ready(Arc::clone(frame))
            }
            Some(Slot::Failed(message)) => FrameState::Failed(Arc::clone(message)),
            None => FrameState::Loading,
        }
    }

    /// Unit of a frame's values; empty where there is none, and before it is decoded.
    pub fn units(&self, key: Option<&FrameKey>) -> String {
        match key.map(|key| self.frame(key)) {
            Some(FrameState::Ready(frame)) => frame.frame().display.units.clone(),
            _ => String::new(),
        }
    }

    /// The texture of a frame through a curve, at the size that suits `scale` physical pixels an image pixel.
    pub fn texture(&self, key: &FrameKey, frame: &LoadedFrame, voi: &Voi, scale: f32) -> FrameTexture {
        let max_side = self.ctx.input(|input| input.max_texture_side);
        let level = frame.level_for(scale, max_side);
        let key = TextureKey { frame: key.clone(), level, voi: VoiKey::new(voi), inverted: voi.inverted };
        let factor = 1 << level;
        let level = &frame.levels[level];
        let (rows, columns) = level.shape();
        let covers = (rows * factor, columns * factor);
        let inner = &mut *self.inner.borrow_mut();
        inner.clock += 1;
        let clock = inner.clock;
        if let Some((texture, used)) = inner.textures.get_mut(&key) {
            *used = clock;
            return FrameTexture { handle: texture.clone(), covers };
        }
        let image = color_image(&render::gray_image(level, voi));
        let texture = self.ctx.load_texture("frame", image, TextureOptions::LINEAR);
        inner.textures.insert(key, (texture.clone(), clock));
        inner.forget_textures();
        FrameTexture { handle: texture, covers }
    }

    /// The thumbnail of a frame; asks for it where it is not there yet.
    pub fn thumbnail(&self, key: &FrameKey) -> Thumbnail {
        let inner = &mut *self.inner.borrow_mut();
        inner.clock += 1;
        if let Some((thumbnail, used)) = inner.thumbnails.get_mut(key) {
            *used = inner.clock;
            return thumbnail.clone();
        }
        inner.thumbnails.insert(key.clone(), (Thumbnail::Loading, inner.clock));
        self.shared.queue().thumbnails.push(key.clone());
        self.shared.changed.notify_one();
        Thumbnail::Loading
    }

    /// Forgets everything: the files behind the keys may have changed.
    pub fn forget_all(&self) {
        let mut queue = self.shared.queue();
        queue.wanted.clear();
        queue.thumbnails.clear();
        drop(queue);
        let clock = self.inner.borrow().clock;
        *self.inner.borrow_mut() = Inner { clock, ..Inner::default() };
    }

    /// Bytes of decoded frames in memory.
    pub fn bytes(&self) -> usize {
        self.inner.borrow().bytes
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Inner {
    fn forget_frames(&mut self, byte_limit: usize) {
        while self.bytes > byte_limit {
            let oldest = self.frames.iter().filter_map(|(key, slot)| match slot {
                Slot::Ready(frame, used) => Some((*used, key, frame.bytes)),
                Slot::Failed(_) => None,
            });
            // The frame in view was used last; it stays even where it alone is over the limit.
            if self.frames.len() < 2 {
                return;
            }
            let Some((key, bytes)) = oldest.min_by_key(|(used, ..)| *used).map(|(_, key, bytes)| (key.clone(), bytes))
            else {
                return;
            };
            self.frames.remove(&key);
            self.bytes -= bytes;
        }
    }

    fn forget_thumbnails(&mut self) {
        while self.thumbnails.len() > THUMBNAILS_KEPT {
            let oldest = self.thumbnails.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.thumbnails.remove(&oldest);
        }
    }

    fn forget_textures(&mut self) {
        while self.textures.len() > TEXTURES_KEPT {
            let oldest = self.textures.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            self.textures.remove(&oldest);
        }
    }
}

fn decode_loop(shared: &Shared, results: &Sender<Decoded>, ctx: &egui::Context) {
    let mut source = FrameSource::default();
    loop {
        let (key, thumbnail) = {
            let mut queue = shared.queue();
            loop {
                if queue.closed {
                    return;
                }
                if !queue.wanted.is_empty() {
                    let key = queue.wanted.remove(0);
                    queue.busy.push(key.clone());
                    break (key, false);
                }
                // The latest first: it is what the reader has just scrolled to.
                if let Some(key) = queue.thumbnails.pop() {
                    break (key, true);
                }
                queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let decoded = catch_unwind(AssertUnwindSafe(|| source.read(&key.source, key.frame).map(LoadedFrame::new)))
            .unwrap_or_else(|_| {
                source = FrameSource::default();
                Err(format!("{}: internal error while decoding; other images stay usable", key.source))
            });
        let message = if thumbnail {
            Decoded::Thumbnail(key.clone(), decoded.ok().map(|frame| thumbnail_image(&frame)))
        } else {
            Decoded::Frame(key.clone(), decoded)
        };
        let sent = results.send(message);
        shared.queue().busy.retain(|busy| *busy != key);
        if sent.is_err() {
            return;
        }
        ctx.request_repaint();
    }
}

fn thumbnail_image(frame: &LoadedFrame) -> ColorImage {
    let (rows, columns) = frame.frame().shape();
    let level = frame.level_for(THUMBNAIL_SIDE as f32 / rows.max(columns).max(1) as f32, usize::MAX);
    let mut level = Arc::clone(&frame.levels[level]);
    while level.shape().0.max(level.shape().1) > THUMBNAIL_SIDE && level.shape().0.min(level.shape().1) > 1 {
        level = Arc::new(half_size(&level));
    }
    color_image(&render::gray_image(&level, &frame.voi(&WindowChoice::FromFile, false)))
}

#[cfg(test)]
mod tests {
    use bifocal_core::study::DisplayAttributes;

    use super::*;

    fn frame(rows: usize, columns: usize, f: impl Fn(usize, usize) -> u16) -> Frame {
        let array = Array2::from_shape_fn((rows, columns), |(r, c)| f(r, c));
        Frame { pixels: Pixels::Gray(GrayPixels::U16(array)), display: DisplayAttributes::default() }
    }

    #[test]
    fn halves_keep_the_mean_and_the_padding() {
        let mut full = frame(4, 4, |r, c| if c < 2 { 1000 } else { (r * 4) as u16 });
        full.display.padding = Some((1000.0, 1000.0));
        let half = half_size(&full);
        assert_eq!(half.value_at(0, 0), Some(1000.0));
        assert_eq!(half.value_at(0, 1), Some(2.0));
        assert_eq!(half.value_at(1, 1), Some(10.0));
    }

    #[test]
    fn levels_suit_the_screen_and_the_texture_limit() {
        let loaded = LoadedFrame::new(frame(1024, 1024, |r, c| (r + c) as u16));
        assert_eq!(loaded.level_for(1.0, 16384), 0);
        assert_eq!(loaded.level_for(0.5, 16384), 1);
        assert_eq!(loaded.level_for(8.0, 512), 1);
        assert!(loaded.levels.len() >= 3);
    }

    #[test]
    fn thumbnails_are_small_whatever_the_shape() {
        for (rows, columns) in [(1024, 900), (40, 1500), (255, 255), (1, 700), (0, 0)] {
            let image = thumbnail_image(&LoadedFrame::new(frame(rows, columns, |r, c| (r + c) as u16)));
            let [width, height] = image.size;
            assert!(width.max(height) <= THUMBNAIL_SIDE || height <= 1, "{rows} x {columns}: {width} x {height}");
        }
    }

    #[test]
    fn empty_and_flat_frames_do_no_harm() {
        let flat = LoadedFrame::new(frame(3, 5, |_, _| 7));
        assert!(flat.auto_window.width > 0.0);
        let empty = LoadedFrame::new(frame(0, 0, |_, _| 0));
        assert_eq!(empty.levels.len(), 1);
    }

    #[test]
    fn old_frames_are_forgotten_first() {
        let mut inner = Inner::default();
        for number in 0..4u64 {
            let loaded = LoadedFrame::new(frame(10, 10, |_, _| 0));
            inner.bytes += loaded.bytes;
            let key = FrameKey { source: Source::file("x"), frame: number as usize };
            inner.frames.insert(key, Slot::Ready(Arc::new(loaded), number));
        }
        inner.forget_frames(450);
        assert_eq!(inner.bytes, 400);
        assert!(!inner.frames.contains_key(&FrameKey { source: Source::file("x"), frame: 0 }));
        assert!(inner.frames.contains_key(&FrameKey { source: Source::file("x"), frame: 3 }));
    }
}
