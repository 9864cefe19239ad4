//! Decoded frames, textures and thumbnails: background decoding with prefetch, and memory limits.

mod frame;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bifocal_core::render::{self, Rgba, Voi, VoiMapping};
use bifocal_core::study::Source;
use eframe::egui::{self, ColorImage, TextureHandle, TextureOptions};

use crate::io::FrameSource;
use crate::view::WindowChoice;
pub use frame::LoadedFrame;
use frame::half_size;

/// Names one frame of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FrameKey {
    /// The file.
    pub source: Source,
    /// The frame in it, from 0.
    pub frame: usize,
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
    /// Thumbnails that are not on the graphics card yet.
    arrived: VecDeque<(FrameKey, Option<ColorImage>)>,
}

/// All images of the window. Panels only ask; decoding happens on two threads of its own.
pub struct Images {
    ctx: egui::Context,
    shared: Arc<Shared>,
    results: Receiver<Decoded>,
    inner: RefCell<Inner>,
    byte_limit: Cell<usize>,
}

/// Textures that are kept: the two lenses share one, the rest make scrolling back and dragging smooth.
const TEXTURES_KEPT: usize = 12;
/// Longest side of a thumbnail, pixels.
const THUMBNAIL_SIDE: usize = 128;
/// Thumbnails that are kept.
const THUMBNAILS_KEPT: usize = 600;
/// Thumbnails that go to the graphics card in one frame.
const THUMBNAILS_A_FRAME: usize = 12;
/// Thumbnails that wait to be decoded: those asked for longest ago are let go, their rows have been scrolled out of sight.
const THUMBNAILS_WAITING: usize = 60;
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
        Self { ctx, shared, results, inner: RefCell::default(), byte_limit: Cell::new(byte_limit) }
    }

    /// How many bytes of decoded frames are kept from now on; returns whether these are fewer than before.
    pub fn set_limit(&self, byte_limit: usize) -> bool {
        self.byte_limit.replace(byte_limit) > byte_limit
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
                Decoded::Thumbnail(key, image) => inner.arrived.push_back((key, image)),
            }
        }
        // A few a frame: a list that is scrolled fast asks for many.
        for _ in 0..THUMBNAILS_A_FRAME {
            let Some((key, image)) = inner.arrived.pop_front() else { break };
            let thumbnail = match image {
                Some(image) => Thumbnail::Ready(self.ctx.load_texture("thumbnail", image, TextureOptions::LINEAR)),
                None => Thumbnail::Failed,
            };
            inner.clock += 1;
            inner.thumbnails.insert(key, (thumbnail, inner.clock));
        }
        inner.forget_thumbnails();
        if !inner.arrived.is_empty() {
            self.ctx.request_repaint();
        }
        inner.forget_frames(self.byte_limit.get());
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

    /// Those of the frames that are not decoded; the others count as used.
    pub fn missing(&self, mut keys: Vec<FrameKey>) -> Vec<FrameKey> {
        let inner = &mut *self.inner.borrow_mut();
        inner.clock += 1;
        keys.retain(|key| match inner.frames.get_mut(key) {
            Some(Slot::Ready(_, used)) => {
                *used = inner.clock;
                false
            }
            Some(Slot::Failed(_)) => false,
            None => true,
        });
        keys
    }

    /// How many frames like one that is decoded are kept; 0 where it is not.
    pub fn room_for(&self, key: &FrameKey) -> usize {
        match self.inner.borrow().frames.get(key) {
            Some(Slot::Ready(frame, _)) => self.byte_limit.get() / frame.bytes.max(1),
            _ => 0,
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
        // Halving an odd size leaves the last row out.
        let (rows, columns) = frame.frame().shape();
        let covers = ((rows >> level) << level, (columns >> level) << level);
        let inner = &mut *self.inner.borrow_mut();
        inner.clock += 1;
        let clock = inner.clock;
        if let Some((texture, used)) = inner.textures.get_mut(&key) {
            *used = clock;
            return FrameTexture { handle: texture.clone(), covers };
        }
        let image = color_image(&render::gray_image(&frame.halved(level), voi));
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
        let mut queue = self.shared.queue();
        queue.thumbnails.push(key.clone());
        if queue.thumbnails.len() > THUMBNAILS_WAITING {
            let let_go = queue.thumbnails.remove(0);
            inner.thumbnails.remove(&let_go);
        }
        drop(queue);
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
    let mut level = frame.halved(level);
    while level.shape().0.max(level.shape().1) > THUMBNAIL_SIDE && level.shape().0.min(level.shape().1) > 1 {
        level = Arc::new(half_size(&level));
    }
    color_image(&render::gray_image(&level, &frame.voi(&WindowChoice::FromFile, false)))
}

#[cfg(test)]
mod tests {
    use bifocal_core::study::{DisplayAttributes, Frame, GrayPixels, Pixels};
    use ndarray::Array2;

    use super::*;

    fn frame(rows: usize, columns: usize, f: impl Fn(usize, usize) -> u16) -> Frame {
        let array = Array2::from_shape_fn((rows, columns), |(r, c)| f(r, c));
        Frame { pixels: Pixels::Gray(GrayPixels::U16(array)), display: DisplayAttributes::default() }
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
