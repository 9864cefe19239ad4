//! A simulated thorax with known truth: a CT series, a projection radiograph and, on request, a PET series of the same invented patient.
//!
//! Everything follows from a seed. The anatomy is continuous (`thorax`, `bones`, `organs`, `vessels`, `lesion`), so that
//! the CT and the radiograph sample the same patient, each on its own grid and in its own position: CT with raised arms and
//! contrast medium, the radiograph standing with lowered arms. Nothing in it comes from a real patient.
//!
//! What it does not model: breathing and heart motion, beam hardening in the CT, scatter by Monte Carlo, disease other
//! than the lesions named in [`Truth`].

mod bones;
mod ct;
mod filter;
mod geometry;
mod lesion;
mod organs;
mod paint;
mod pet;
mod radiograph;
mod random;
mod slabs;
mod thorax;
mod truth;
mod vessels;

use ndarray::{Array2, Array3};

use crate::task::{Cancelled, Task};

pub use lesion::{Lesion, LesionKind};
pub use pet::{Pet, simulate_pet};
pub use radiograph::{DETECTOR_MM, SOURCE_TO_DETECTOR_MM};
pub use slabs::{SlabError, SlabSet, write_slab_set};
pub use thorax::{Habitus, Scan, Sex};
pub use truth::{CtLesion, CtTruth, LesionTruth, RadiographLesion, RadiographTruth, Truth, TruthError};

use geometry::v;
use organs::Organs;
use paint::{Grid, Object, Painted};
use radiograph::Beam;
use thorax::{CARDIOMEDIASTINUM, LEFT_LUNG, LESION_SHIFT, ORGAN_MASK, RIGHT_LUNG, Thorax};

/// Names of the organs with masks, in the order of [`Radiograph::organs`] and of the labels from 1.
pub const ORGANS: [&str; 3] = ["left_lung", "right_lung", "cardiomediastinum"];

/// What to simulate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Chooses patient, lesions and noise.
    pub seed: u64,
    /// Rows and columns of a CT slice, at least 16.
    pub ct_size: usize,
    /// Distance and thickness of the CT slices, mm, at least 0.5.
    pub ct_slice_mm: f32,
    /// Rows and columns of the radiograph, at least 64.
    pub radiograph_size: usize,
    /// Nodules of 5 to 26 mm besides the usual lesions, at most 40; as many as find a place.
    pub extra_nodules: usize,
}

impl Options {
    /// Full quality for `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, ct_size: 288, ct_slice_mm: 2.5, radiograph_size: 1536, extra_nodules: 0 }
    }

    fn limited(mut self) -> Self {
        self.ct_size = self.ct_size.clamp(16, 1024);
        self.ct_slice_mm = if self.ct_slice_mm.is_finite() { self.ct_slice_mm.clamp(0.5, 20.0) } else { 2.5 };
        self.radiograph_size = self.radiograph_size.clamp(64, 4096);
        self.extra_nodules = self.extra_nodules.min(40);
        self
    }
}

/// The simulated CT series.
#[derive(Debug, Clone)]
pub struct Ct {
    /// HU, `[slice, row, column]`, -1024 to 3071; slices from feet to head, rows from front to back, columns to the left.
    pub hu: Array3<i16>,
    /// Organ numbers (see [`ORGANS`], from 1; 0 elsewhere), same shape.
    pub organs: Array3<u8>,
    /// Lesion numbers (from 1; 0 elsewhere), same shape.
    pub lesions: Array3<u8>,
    /// Centre of the first voxel in the patient (LPS), mm.
    pub origin_mm: [f64; 3],
    /// Distance of slices, rows and columns, mm.
    pub spacing_mm: [f64; 3],
}

/// The simulated radiograph.
#[derive(Debug, Clone)]
pub struct Radiograph {
    /// 12-bit values for presentation, `[row, column]`, MONOCHROME2; columns to the patient's left.
    pub pixels: Array2<u16>,
    /// Pixel distance on the detector, mm.
    pub pixel_mm: f64,
    /// Path through each of [`ORGANS`], mm, same shape.
    pub organs: [Array2<f32>; 3],
    /// Path through each lesion, mm, in the order of [`Phantom::lesions`].
    pub lesions: Vec<Array2<f32>>,
    /// Exposed rectangle: first row, first column, rows, columns.
    pub field: [usize; 4],
    /// Source to the middle of the patient, mm.
    pub source_to_patient_mm: f64,
    /// `(x, y, z, 1)` in the patient (LPS, mm) to `(column * w, row * w, w)`.
    pub projection: [[f64; 4]; 3],
    /// Row and column onto which each lesion's centre is projected.
    pub lesion_centers: Vec<[f32; 2]>,
}

/// One simulated patient with both examinations.
#[derive(Debug, Clone)]
pub struct Phantom {
    /// What was asked for.
    pub options: Options,
    /// Who it is.
    pub habitus: Habitus,
    /// What is in the lungs.
    pub lesions: Vec<Lesion>,
    /// The CT series.
    pub ct: Ct,
    /// The radiograph.
    pub radiograph: Radiograph,
}

/// Simulates patient, CT and radiograph. Takes about 60 MB for each million CT pixels a slice and 400 MB for the radiograph.
pub fn simulate(options: Options, task: &Task) -> Result<Phantom, Cancelled> {
    let options = options.limited();
    let habitus = Habitus::from_seed(options.seed);
    let (lesions, radiograph) = simulate_radiograph(options, &habitus, task)?;
    let ct = simulate_ct(options, &habitus, &lesions, task)?;
    Ok(Phantom { options, habitus, lesions, ct, radiograph })
}

/// Simulates a patient's CT alone, with the lesions in it.
pub fn simulate_ct_alone(options: Options, task: &Task) -> Result<(Vec<Lesion>, Ct), Cancelled> {
    let options = options.limited();
    let habitus = Habitus::from_seed(options.seed);
    // Lesions are placed where the radiograph shows them.
    let (thorax, _) = body(options.seed, &habitus, Scan::Radiograph);
    let lesions = lesion::choose(&thorax, options.seed, options.extra_nodules);
    let ct = simulate_ct(options, &habitus, &lesions, task)?;
    Ok((lesions, ct))
}

/// The body of one examination: continuous tissue and what is painted over it.
fn body(seed: u64, habitus: &Habitus, scan: Scan) -> (Thorax, Organs) {
    let mut thorax = Thorax::new(seed, habitus.clone(), scan);
    let organs = Organs::new(&mut thorax, seed);
    (thorax, organs)
}

fn objects(thorax: &Thorax, organs: &Organs, lesions: &[Lesion], seed: u64) -> Vec<Object> {
    let mut objects: Vec<Object> = lesions.iter().map(|l| lesion::object(l, seed)).collect();
    objects.extend(organs.lung_trees(thorax));
    objects.extend(organs.abdominal_gas(thorax));
    objects.extend(bones::skeleton(thorax, seed));
    objects.extend(organs.mediastinum(thorax));
    objects
}

fn simulate_radiograph(
    options: Options,
    habitus: &Habitus,
    task: &Task,
) -> Result<(Vec<Lesion>, Radiograph), Cancelled> {
    let seed = options.seed;
    let (thorax, organs) = body(seed, habitus, Scan::Radiograph);
    let lesions = lesion::choose(&thorax, seed, options.extra_nodules);
    let extent = thorax.extent();
    let rotation = habitus.rotation_degrees.to_radians();
    let beam = Beam { size: options.radiograph_size, rotation, height: -18.0, detector_y: extent.low.y - 25.0 };
    // Fine across the beam; along it, where everything is summed, coarser voxels do.
    let fine = (DETECTOR_MM as f32 / options.radiograph_size as f32 * 1.9).max(0.58);
    let deep = fine * 2.0;
    let (low, high) = (v(-212.0, extent.low.y - 6.0, -232.0), v(212.0, extent.high.y + 6.0, 196.0));
    let count = |span: f32, step: f32| (span / step).ceil() as usize + 1;
    let grid = Grid {
        size: [count(high.x - low.x, fine), count(high.y - low.y, deep), count(high.z - low.z, fine)],
        origin: low,
        spacing: v(fine, deep, fine),
    };
    let painted =
        paint::paint(&thorax, &objects(&thorax, &organs, &lesions, seed), &grid, task, "Building the patient")?;
    let paths = radiograph::project(&painted, &grid, &beam, lesions.len(), task)?;
    drop(painted);
    task.check()?;
    let (pixels, field) = radiograph::develop(&paths, &beam, seed);
    let lesion_centers = lesions
        .iter()
        .map(|l| {
            let (row, column) = beam.project(v(l.center_mm[0], l.center_mm[1], l.center_mm[2]));
            [row, column]
        })
        .collect();
    let radiograph = Radiograph {
        pixels,
        pixel_mm: DETECTOR_MM / options.radiograph_size as f64,
        organs: paths.organs,
        lesions: paths.lesions,
        field,
        projection: beam.matrix(),
        source_to_patient_mm: SOURCE_TO_DETECTOR_MM + f64::from(beam.detector_y),
        lesion_centers,
    };
    Ok((lesions, radiograph))
}

fn simulate_ct(options: Options, habitus: &Habitus, lesions: &[Lesion], task: &Task) -> Result<Ct, Cancelled> {
    let seed = options.seed;
    let (thorax, organs) = body(seed, habitus, Scan::Ct);
    let extent = thorax.extent();
    let field = ((extent.high.x - extent.low.x + 14.0) / 10.0).ceil() * 10.0;
    let pixel = field / options.ct_size as f32;
    let (bottom, top) = (-160.0, 140.0);
    let middle_y = (extent.low.y + extent.high.y) * 0.5 + 8.0;
    let half = (options.ct_size as f32 - 1.0) * 0.5 * pixel;
    let grid = Grid {
        size: [options.ct_size, options.ct_size, ((top - bottom) / options.ct_slice_mm) as usize],
        origin: v(-half, middle_y - half, bottom),
        spacing: v(pixel, pixel, options.ct_slice_mm),
    };
    let mut objects = objects(&thorax, &organs, lesions, seed);
    objects.insert(0, ct::table(thorax.table_height()));
    let Painted { hu, label } = ct::scan(&thorax, &objects, &grid, seed, task)?;
    Ok(Ct {
        hu,
        organs: label.mapv(|l| l & ORGAN_MASK),
        lesions: label.mapv(|l| l >> LESION_SHIFT),
        origin_mm: [grid.origin.x, grid.origin.y, grid.origin.z].map(f64::from),
        spacing_mm: [options.ct_slice_mm, pixel, pixel].map(f64::from),
    })
}

// The numbers in the files follow the names.
const _: () = assert!(LEFT_LUNG == 1 && RIGHT_LUNG == 2 && CARDIOMEDIASTINUM == 3);
