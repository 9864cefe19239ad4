//! Pictures of planes: cut coarsely at once while things move, finely on a thread when they rest.

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bifocal_core::render::{self, Voi};
use bifocal_core::study::Frame;
use bifocal_core::volume::{Orientation, Plane, Projection, Slab, Vector, Volume, dot};
use eframe::egui::{self, ColorImage, TextureHandle, TextureOptions};
use ndarray::{Array2, Axis, concatenate};

/// What a picture shows.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The volume.
    pub volume: Arc<Volume>,
    /// How the plane is turned.
    pub orientation: Orientation,
    /// A point of it.
    pub through: Vector,
    /// Where its pixels are centred.
    pub anchor: Vector,
    /// Thickness and projection.
    pub slab: Slab,
    /// What is laid over it, sampled at its place: the highest value in a slab.
    pub over: Vec<Over>,
}

/// A volume that is laid over a plane.
#[derive(Debug, Clone)]
pub struct Over {
    /// Its voxels.
    pub volume: Arc<Volume>,
    /// Whether only contours are drawn of it, for which whole voxels are fine enough.
    pub outline: bool,
}

impl Over {
    /// Its pixels over a plane.
    fn plane(&self, plane: &Plane) -> Plane {
        let voxel = plane.orientation.spacing_mm(&self.volume.grid);
        if self.outline { plane.coarsened(voxel) } else { self.volume.plane_over(plane) }
    }
}

impl Wanted {
    /// Whether both show the same.
    fn same(&self, other: &Self) -> bool {
        let height = |wanted: &Self| dot(wanted.through, wanted.orientation.normal());
        let lattice =
            |wanted: &Self| [dot(wanted.anchor, wanted.orientation.row), dot(wanted.anchor, wanted.orientation.column)];
        Arc::ptr_eq(&self.volume, &other.volume)
            && self.orientation == other.orientation
            && self.slab == other.slab
            && self.over.len() == other.over.len()
            && self.over.iter().zip(&other.over).all(|(a, b)| Arc::ptr_eq(&a.volume, &b.volume))
            && (height(self) - height(other)).abs() < 1e-9
            && lattice(self).iter().zip(lattice(other)).all(|(a, b)| (a - b).abs() < 1e-6)
    }

    /// The plane in full resolution; `None` where it misses the volume.
    fn plane(&self, coarser: f64) -> Option<Plane> {
        let spacing = self.orientation.spacing_mm(&self.volume.grid) * coarser;
        let Self { volume, orientation, through, anchor, slab, .. } = self;
        Plane::across(&volume.grid, *orientation, *through, *anchor, slab.thickness_mm, spacing)
    }

    /// Samples that the plane and what is laid over it take at a coarseness.
    fn samples(&self, plane: &Plane, coarser: f64) -> f64 {
        let over = self.over.iter().map(|over| samples(&over.volume, &over.plane(plane), self.slab, coarser));
        samples(&self.volume, plane, self.slab, coarser) + over.sum::<f64>()
    }

    /// What is laid over the plane; `sample` takes the values.
    fn laid<E>(
        &self,
        plane: &Plane,
        mut sample: impl FnMut(&Volume, &Plane, Slab) -> Result<Array2<f32>, E>,
    ) -> Result<Vec<Laid>, E> {
        let slab = Slab { projection: Projection::Mip, ..self.slab };
        let lay = |over: &Over| {
            let plane = over.plane(plane);
            Ok(Laid { plane, values: Arc::new(sample(&over.volume, &plane, slab)?) })
        };
        self.over.iter().map(lay).collect()
    }
}

/// Samples that a plane takes at a coarseness.
fn samples(volume: &Volume, plane: &Plane, slab: Slab, coarser: f64) -> f64 {
    let steps = slab.thickness_mm / volume.grid.step_mm(plane.orientation.normal()) / coarser + 1.0;
    plane.rows as f64 * plane.columns as f64 * steps
}

/// What is laid over a plane.
#[derive(Clone)]
pub struct Laid {
    /// Where its pixels lie.
    pub plane: Plane,
    /// Its values, `[row, column]`, in the units of its volume; NaN where that has none.
    pub values: Arc<Array2<f32>>,
}

/// Pixels and values of a plane, and what is laid over it.
#[derive(Clone)]
struct Content {
    plane: Plane,
    frame: Arc<Frame>,
    over: Vec<Laid>,
}

/// A picture of a plane.
pub struct Cut {
    /// Where its pixels lie.
    pub plane: Plane,
    /// Its values.
    pub frame: Arc<Frame>,
    /// The picture.
    pub texture: TextureHandle,
    /// What is laid over it, in the order of [`Wanted::over`].
    pub over: Vec<Laid>,
    /// Whether it is as fine as the volume.
    pub fine: bool,
}

struct Cached {
    wanted: Wanted,
    /// `None` where the plane misses the volume.
    content: Option<Content>,
    fine: bool,
    /// When it was cut coarsely and nothing finer has been asked for.
    rests_since: Option<Instant>,
    texture: Option<(Voi, TextureHandle)>,
}

struct Request {
    slot: usize,
    generation: u64,
    wanted: Wanted,
}

struct Refined {
    slot: usize,
    generation: u64,
    content: Option<Content>,
}

#[derive(Default)]
struct Inner {
    slots: Vec<Option<Cached>>,
    /// Time of one sample on this machine, all cores together, nanoseconds.
    nanoseconds: f64,
    /// For each slot the frame in which it was cut last.
    cut_in: [u64; SLOTS],
}

impl Inner {
    /// Milliseconds that cutting a slot may take in a frame: what moves in this frame, or did in the last one, shares the budget.
    fn budget(&mut self, slot: usize, frame: u64) -> f64 {
        self.cut_in[slot] = frame;
        let moving = self.cut_in.iter().filter(|cut| **cut + 1 >= frame).count();
        BUDGET / moving as f64
    }
}

/// The store of pictures, one a pane.
pub struct Reformatter {
    ctx: egui::Context,
    inner: RefCell<Inner>,
    requests: Sender<Request>,
    results: Receiver<Refined>,
    /// For each slot what was asked for last: anything else is not worth finishing.
    current: Arc<[AtomicU64; SLOTS]>,
}

/// Panes that can show planes at once.
pub const SLOTS: usize = 3;
/// Milliseconds that cutting planes may take of a frame, all panes together.
const BUDGET: f64 = 8.0;
/// How long a plane must rest before it is cut finely.
const REST: Duration = Duration::from_millis(90);
/// Samples that the thread takes before it looks whether they are still wanted.
const BAND: f64 = 400_000.0;

impl Reformatter {
    /// No pictures yet.
    pub fn new(ctx: egui::Context) -> Self {
        let (requests, inbox) = channel();
        let (outbox, results) = channel();
        let current: Arc<[AtomicU64; SLOTS]> = Arc::default();
        let (shared, repaint) = (Arc::clone(&current), ctx.clone());
        let spawned = std::thread::Builder::new()
            .name("reformat".to_owned())
            .spawn(move || refine_loop(&inbox, &outbox, &shared, &repaint));
        if let Err(error) = spawned {
            tracing::error!("no thread for planes: {error}");
        }
        Self { ctx, inner: RefCell::new(Inner { nanoseconds: 8.0, ..Inner::default() }), requests, results, current }
    }

    /// The picture for a pane, through a curve; coarse for a moment where the fine one would take too long. `None` where the
    /// plane misses the volume.
    pub fn cut(&self, slot: usize, wanted: &Wanted, voi: &Voi) -> Option<Cut> {
        let slot = slot.min(SLOTS - 1);
        let inner = &mut *self.inner.borrow_mut();
        inner.slots.resize_with(SLOTS, || None);
        self.take_in(inner);
        let known = inner.slots[slot].as_ref().is_some_and(|cached| cached.wanted.same(wanted));
        if !known {
            self.current[slot].fetch_add(1, Ordering::Relaxed);
            let texture = inner.slots[slot].take().and_then(|cached| cached.texture);
            let budget = inner.budget(slot, self.ctx.cumulative_frame_nr());
            let mut cached = cut_at_once(wanted, budget, &mut inner.nanoseconds);
            cached.texture = texture.map(|(_, handle)| (Voi { inverted: !voi.inverted, ..voi.clone() }, handle));
            inner.slots[slot] = Some(cached);
        }
        let cached = inner.slots[slot].as_mut()?;
        if let Some(since) = cached.rests_since {
            match REST.checked_sub(since.elapsed()) {
                Some(left) if !left.is_zero() => self.ctx.request_repaint_after(left),
                _ => {
                    cached.rests_since = None;
                    let generation = self.current[slot].load(Ordering::Relaxed);
                    // Without the thread the coarse picture stays.
                    let _ = self.requests.send(Request { slot, generation, wanted: cached.wanted.clone() });
                }
            }
        }
        let Content { plane, frame, over } = cached.content.as_ref()?;
        if cached.texture.as_ref().is_none_or(|(shown, _)| shown != voi) {
            let image = render::gray_image(frame, voi);
            let image = ColorImage::from_rgba_unmultiplied([image.width, image.height], image.as_bytes());
            match &mut cached.texture {
                Some((shown, handle)) => {
                    *shown = voi.clone();
                    handle.set(image, TextureOptions::LINEAR);
                }
                None => {
                    let handle = self.ctx.load_texture("plane", image, TextureOptions::LINEAR);
                    cached.texture = Some((voi.clone(), handle));
                }
            }
        }
        let (_, texture) = cached.texture.as_ref()?;
        let (frame, over) = (Arc::clone(frame), over.clone());
        Some(Cut { plane: *plane, frame, texture: texture.clone(), over, fine: cached.fine })
    }

    fn take_in(&self, inner: &mut Inner) {
        while let Ok(refined) = self.results.try_recv() {
            if self.current[refined.slot].load(Ordering::Relaxed) != refined.generation {
                continue;
            }
            if let Some(cached) = inner.slots.get_mut(refined.slot).and_then(Option::as_mut) {
                cached.content = refined.content;
                cached.fine = true;
                if let Some((shown, _)) = &mut cached.texture {
                    // Marks the texture as out of date.
                    shown.inverted = !shown.inverted;
                }
            }
        }
    }

    /// Forgets all pictures, and with them the volume.
    pub fn forget(&self) {
        for current in self.current.iter() {
            current.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.borrow_mut().slots.clear();
    }
}

/// Cuts a plane as finely as `budget` milliseconds allow.
fn cut_at_once(wanted: &Wanted, budget: f64, nanoseconds: &mut f64) -> Cached {
    let most = budget * 1e6 / *nanoseconds;
    let mut coarser = 1.0;
    let mut plane = wanted.plane(coarser);
    while let Some(found) = &plane
        && wanted.samples(found, coarser) > most
        && coarser < 6.0
    {
        coarser *= 1.35;
        plane = wanted.plane(coarser);
    }
    let content = plane.map(|plane| {
        let started = Instant::now();
        let sample = |volume: &Volume, plane: &Plane, slab| Ok(volume.sample_coarsely(plane, slab, coarser));
        let Ok(values): Result<_, Infallible> = sample(&wanted.volume, &plane, wanted.slab);
        let Ok(over) = wanted.laid(&plane, sample);
        let took = started.elapsed().as_nanos() as f64 / wanted.samples(&plane, coarser).max(1.0);
        // A single hiccup of the machine must not make all that follows coarse.
        *nanoseconds = (0.8 * *nanoseconds + 0.2 * took.min(4.0 * *nanoseconds)).clamp(1.0, 200.0);
        Content { plane, frame: Arc::new(wanted.volume.frame_of(&plane, wanted.slab, values)), over }
    });
    let fine = coarser == 1.0;
    Cached { wanted: wanted.clone(), content, fine, rests_since: (!fine).then(Instant::now), texture: None }
}

fn refine_loop(inbox: &Receiver<Request>, outbox: &Sender<Refined>, current: &[AtomicU64; SLOTS], ctx: &egui::Context) {
    while let Ok(Request { slot, generation, wanted }) = inbox.recv() {
        let still_wanted = || current[slot].load(Ordering::Relaxed) == generation;
        let Some(content) = refined(&wanted, still_wanted) else { continue };
        if outbox.send(Refined { slot, generation, content }).is_err() {
            return;
        }
        ctx.request_repaint();
    }
}

/// A plane in full resolution, or that it misses the volume; the outer `None` where it is not wanted any more.
fn refined(wanted: &Wanted, still_wanted: impl Fn() -> bool) -> Option<Option<Content>> {
    let Some(plane) = wanted.plane(1.0) else { return Some(None) };
    let sample = |volume: &Volume, plane: &Plane, slab| in_bands(volume, plane, slab, &still_wanted).ok_or(());
    let values = sample(&wanted.volume, &plane, wanted.slab).ok()?;
    let over = wanted.laid(&plane, sample).ok()?;
    Some(Some(Content { plane, frame: Arc::new(wanted.volume.frame_of(&plane, wanted.slab, values)), over }))
}

/// Samples a plane some rows at a time; `None` where it is not wanted any more.
fn in_bands(volume: &Volume, plane: &Plane, slab: Slab, still_wanted: impl Fn() -> bool) -> Option<Array2<f32>> {
    let per_row = samples(volume, plane, slab, 1.0) / plane.rows.max(1) as f64;
    let rows = (BAND / per_row.max(1.0)).clamp(1.0, 4096.0) as usize;
    let mut bands = Vec::new();
    let mut row = 0;
    while row < plane.rows {
        if !still_wanted() {
            return None;
        }
        let count = rows.min(plane.rows - row);
        let band = Plane { origin: plane.patient_from_pixel(row as f64, 0.0), rows: count, ..*plane };
        bands.push(volume.sample(&band, slab));
        row += count;
    }
    let views: Vec<_> = bands.iter().map(|band| band.view()).collect();
    concatenate(Axis(0), &views).ok()
}

#[cfg(test)]
mod tests {
    use bifocal_core::study::{DisplayAttributes, Window};
    use bifocal_core::volume::{Grid, PlaneKind, Projection, Voxels};

    use super::*;

    fn wanted(thickness_mm: f64) -> Wanted {
        let positions: Vec<Vector> = (0..60).map(|k| [0.0, 0.0, f64::from(k)]).collect();
        let grid = Grid::new(&positions, (64, 64), [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]).expect("a lattice");
        let voxels = (0..60 * 64 * 64).map(|v| (v % 251) as u8).collect();
        let volume = Volume {
            grid,
            voxels: Voxels::U8(voxels),
            places: Vec::new(),
            rescale: (1.0, 0.0),
            frame_of_reference: None,
            display: DisplayAttributes::default(),
            notes: Vec::new(),
        };
        let orientation = PlaneKind::Coronal.orientation(&volume.grid).rotated([0.0, 0.0, 1.0], 0.3);
        let through = volume.grid.center();
        let slab = Slab { thickness_mm, projection: Projection::Mip };
        Wanted { volume: Arc::new(volume), orientation, through, anchor: through, slab, over: Vec::new() }
    }

    #[test]
    fn what_moves_shares_the_time_of_a_frame() {
        let mut inner = Inner::default();
        assert_eq!(
            [inner.budget(0, 10), inner.budget(1, 10), inner.budget(2, 10)],
            [BUDGET, BUDGET / 2.0, BUDGET / 3.0]
        );
        assert_eq!(inner.budget(0, 11), BUDGET / 3.0, "the others moved a frame ago");
        assert_eq!(inner.budget(1, 20), BUDGET);
    }

    #[test]
    fn bands_are_the_whole_plane() {
        let wanted = wanted(12.0);
        let plane = wanted.plane(1.0).expect("it cuts");
        let whole = wanted.volume.sample(&plane, wanted.slab);
        let banded = in_bands(&wanted.volume, &plane, wanted.slab, || true).expect("it is wanted");
        assert_eq!(whole.dim(), banded.dim());
        let same = |a: &f32, b: &f32| (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-2;
        assert!(whole.iter().zip(&banded).all(|(a, b)| same(a, b)));
        assert!(in_bands(&wanted.volume, &plane, wanted.slab, || false).is_none());
    }

    #[test]
    fn what_is_laid_over_is_sampled_where_the_plane_is() {
        let store = Reformatter::new(egui::Context::default());
        let voi = Voi::window(Window::linear(100.0, 200.0));
        let mut both = wanted(0.0);
        // Voxels of 10, 8 and 6 mm, shifted, whose value is 2 x - y + 0.5 z.
        let positions: Vec<Vector> = (0..7).map(|k| [-6.0, -9.0, 10.0 * f64::from(k) - 4.0]).collect();
        let grid = Grid::new(&positions, (11, 13), [0.0, 8.0, 0.0], [6.0, 0.0, 0.0]).expect("a lattice");
        let value = |[x, y, z]: Vector| 2.0 * x - y + 0.5 * z;
        let voxels = (0..7 * 11 * 13)
            .map(|i| value(grid.patient_from_voxel([i / (11 * 13), i / 13 % 11, i % 13].map(|v| v as f64))) as f32)
            .collect();
        let base = (*both.volume).clone();
        let volume = Arc::new(Volume { grid, voxels: Voxels::F32(voxels), ..base });
        both.over = [false, true].map(|outline| Over { volume: Arc::clone(&volume), outline }).into();
        let cut = store.cut(0, &both, &voi).expect("it cuts");
        let [laid, outline] = &cut.over[..] else { panic!("two are laid over") };
        assert!(outline.plane.rows < laid.plane.rows);
        let seen = laid.values.indexed_iter().filter(|((row, column), found)| {
            let place = laid.plane.patient_from_pixel(*row as f64, *column as f64);
            let inside = volume.grid.voxel_from_patient(place);
            let within = inside.iter().zip([6.0, 10.0, 12.0]).all(|(v, last)| (0.0..=last).contains(v));
            assert!(!within || (f64::from(**found) - value(place)).abs() < 1e-2, "{place:?}: {found}");
            within
        });
        assert!(seen.count() > 100);
        // It covers all of the plane below, with fewer pixels.
        let last = laid.plane.patient_from_pixel(laid.plane.rows as f64 - 0.5, laid.plane.columns as f64 - 0.5);
        let edge = cut.plane.patient_from_pixel(cut.plane.rows as f64 - 0.5, cut.plane.columns as f64 - 0.5);
        let beyond = |direction| dot(last, direction) - dot(edge, direction) > -1e-9;
        assert!(beyond(cut.plane.orientation.row) && beyond(cut.plane.orientation.column));
        assert!(laid.plane.rows < cut.plane.rows);
        both.over.clear();
        assert!(store.cut(0, &both, &voi).expect("it cuts").over.is_empty(), "taken off, it is cut again");
    }

    #[test]
    fn what_takes_too_long_is_coarse_first_and_fine_when_it_rests() {
        let ctx = egui::Context::default();
        let store = Reformatter::new(ctx);
        let voi = Voi::window(Window::linear(100.0, 200.0));
        let thick = wanted(40.0);
        // As on a machine on which a sample takes 200 nanoseconds.
        store.inner.borrow_mut().nanoseconds = 200.0;
        let cut = store.cut(1, &thick, &voi).expect("it cuts");
        assert!(!cut.fine);
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end && !store.cut(1, &thick, &voi).expect("it cuts").fine {
            std::thread::sleep(Duration::from_millis(10));
        }
        let fine = store.cut(1, &thick, &voi).expect("it cuts");
        assert!(fine.fine);
        assert!(fine.plane.rows > cut.plane.rows);
        let mut away = thick.clone();
        away.through = [0.0, 1e5, 0.0];
        assert!(store.cut(1, &away, &voi).is_none());
    }
}
