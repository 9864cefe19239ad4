//! What is known about a phantom, measured on its voxels and pixels, and the files that hold it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayD};
use ndarray_npy::WriteNpyExt;
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;

use super::{Habitus, Lesion, ORGANS, Phantom};

/// A ray counts as passing an organ from this path on, mm: thinner rims are not seen in a radiograph.
const ORGAN_PATH_MM: f32 = 12.0;
/// A ray counts as passing a lesion from this share of the lesion's longest path on.
const LESION_SHARE: f32 = 0.15;

/// Why truth files could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct TruthError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub cause: String,
}

/// Everything in `truth.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// Always true.
    pub simulated: bool,
    /// What made it.
    pub generator: String,
    /// The seed.
    pub seed: u64,
    /// The patient.
    pub habitus: Habitus,
    /// The CT series.
    pub ct: CtTruth,
    /// The radiograph.
    pub radiograph: RadiographTruth,
    /// Lesions with their sizes.
    pub lesions: Vec<LesionTruth>,
}

/// The CT series' grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CtTruth {
    /// Slices, rows, columns; slices from feet to head.
    pub shape: [usize; 3],
    /// Distance of slices, rows, columns, mm.
    pub spacing_mm: [f64; 3],
    /// Centre of the first voxel in the patient (LPS), mm.
    pub origin_mm: [f64; 3],
    /// Volume of each organ, mL.
    pub organ_volumes_ml: Vec<(String, f64)>,
    /// File with the masks.
    pub masks: String,
}

/// The radiograph's grid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RadiographTruth {
    /// Rows, columns.
    pub shape: [usize; 2],
    /// Pixel distance on the detector, mm.
    pub pixel_mm: f64,
    /// `(x, y, z, 1)` in the patient (LPS, mm) to `(column * w, row * w, w)`, pixels from 0.
    pub projection: [[f64; 4]; 3],
    /// Path through an organ from which its mask is set, mm.
    pub organ_path_mm: f32,
    /// Share of a lesion's longest path from which its mask is set.
    pub lesion_path_share: f32,
    /// File with the masks: one array for each organ, by its name, and for each lesion (`lesion_1`, ...).
    pub masks: String,
}

/// One lesion: as designed, as sampled in the CT, as projected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LesionTruth {
    /// As designed.
    #[serde(flatten)]
    pub lesion: Lesion,
    /// In the CT; absent where no voxel holds it.
    pub ct: Option<CtLesion>,
    /// In the radiograph; absent where it is not in the exposed field.
    pub radiograph: Option<RadiographLesion>,
}

/// A lesion's voxels in the CT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CtLesion {
    /// Number of voxels.
    pub voxels: usize,
    /// Volume, mL.
    pub volume_ml: f64,
    /// Diameter of a ball of this volume, mm.
    pub equivalent_diameter_mm: f64,
    /// Mean of its voxels, HU.
    pub mean_hu: f64,
    /// Slice, row and column of its centre of mass.
    pub center_index: [f64; 3],
    /// First and last slice (from 0, from the feet).
    pub slices: [usize; 2],
}

/// A lesion's shadow in the radiograph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RadiographLesion {
    /// Column and row onto which the centre is projected.
    pub center: [f32; 2],
    /// Column, row, width, height of the box around the mask, pixels.
    pub r#box: [usize; 4],
    /// Pixels of the mask.
    pub pixels: usize,
    /// Longest path through it, mm.
    pub longest_path_mm: f32,
    /// Whether a reader can be expected to see it: patchy opacities, and solid nodules from 15 mm.
    pub expected_visible: bool,
}

impl Phantom {
    /// The mask of organ `index` of [`ORGANS`] in the radiograph.
    pub fn radiograph_organ_mask(&self, index: usize) -> Array2<u8> {
        match self.radiograph.organs.get(index) {
            Some(path) => path.mapv(|mm| u8::from(mm >= ORGAN_PATH_MM)),
            None => Array2::zeros(self.radiograph.pixels.dim()),
        }
    }

    /// The mask of lesion `index` of [`Phantom::lesions`] in the radiograph.
    pub fn radiograph_lesion_mask(&self, index: usize) -> Array2<u8> {
        let Some(path) = self.radiograph.lesions.get(index) else {
            return Array2::zeros(self.radiograph.pixels.dim());
        };
        let longest = path.iter().copied().fold(0.0, f32::max);
        path.mapv(|mm| u8::from(mm > 0.0 && mm >= longest * LESION_SHARE))
    }

    /// Measures the truth on voxels and pixels.
    pub fn truth(&self) -> Truth {
        let ct = &self.ct;
        let voxel_ml = ct.spacing_mm.iter().product::<f64>() / 1000.0;
        let volume =
            |organ: usize| ct.organs.iter().filter(|l| usize::from(**l) == organ + 1).count() as f64 * voxel_ml;
        Truth {
            simulated: true,
            generator: format!("bifocal phantom {}", env!("CARGO_PKG_VERSION")),
            seed: self.options.seed,
            habitus: self.habitus.clone(),
            ct: CtTruth {
                shape: [ct.hu.dim().0, ct.hu.dim().1, ct.hu.dim().2],
                spacing_mm: ct.spacing_mm,
                origin_mm: ct.origin_mm,
                organ_volumes_ml: ORGANS
                    .iter()
                    .enumerate()
                    .map(|(i, n)| ((*n).to_owned(), volume(i).round()))
                    .collect(),
                masks: "ct-masks.npz".to_owned(),
            },
            radiograph: RadiographTruth {
                shape: [self.radiograph.pixels.dim().0, self.radiograph.pixels.dim().1],
                pixel_mm: self.radiograph.pixel_mm,
                projection: self.radiograph.projection,
                organ_path_mm: ORGAN_PATH_MM,
                lesion_path_share: LESION_SHARE,
                masks: "dx-masks.npz".to_owned(),
            },
            lesions: (0..self.lesions.len()).map(|i| self.lesion_truth(i, voxel_ml)).collect(),
        }
    }

    fn lesion_truth(&self, index: usize, voxel_ml: f64) -> LesionTruth {
        let lesion = self.lesions[index].clone();
        let (mut voxels, mut hu, mut sum, mut slices) = (0_usize, 0.0, [0.0; 3], [usize::MAX, 0]);
        for ((z, y, x), label) in self.ct.lesions.indexed_iter() {
            if *label == lesion.id {
                voxels += 1;
                hu += f64::from(self.ct.hu[[z, y, x]]);
                for (s, i) in sum.iter_mut().zip([z, y, x]) {
                    *s += i as f64;
                }
                slices = [slices[0].min(z), slices[1].max(z)];
            }
        }
        let n = voxels as f64;
        let volume_ml = n * voxel_ml;
        let ct = (voxels > 0).then(|| CtLesion {
            voxels,
            volume_ml: round(volume_ml, 3),
            equivalent_diameter_mm: round((volume_ml * 6000.0 / std::f64::consts::PI).cbrt(), 2),
            mean_hu: round(hu / n, 1),
            center_index: sum.map(|s| round(s / n, 2)),
            slices,
        });
        LesionTruth { radiograph: self.shadow(index, &lesion), lesion, ct }
    }

    fn shadow(&self, index: usize, lesion: &Lesion) -> Option<RadiographLesion> {
        let mask = self.radiograph_lesion_mask(index);
        let (mut low, mut high, mut pixels) = ([usize::MAX; 2], [0; 2], 0);
        for ((row, column), _) in mask.indexed_iter().filter(|(_, set)| **set > 0) {
            low = [low[0].min(row), low[1].min(column)];
            high = [high[0].max(row), high[1].max(column)];
            pixels += 1;
        }
        let center = self.radiograph.lesion_centers.get(index)?;
        let path = self.radiograph.lesions.get(index)?;
        (pixels > 0).then(|| RadiographLesion {
            center: [center[1], center[0]],
            r#box: [low[1], low[0], high[1] - low[1] + 1, high[0] - low[0] + 1],
            pixels,
            longest_path_mm: path.iter().copied().fold(0.0, f32::max),
            expected_visible: match lesion.kind {
                super::LesionKind::SolidNodule => lesion.axes_mm[0] >= 15.0,
                kind => !kind.is_nodule(),
            },
        })
    }

    /// Writes `truth.json`, the CT's masks (`ct-masks.npz`: `organs` and `lesions`, `[slice, row, column]`) and the
    /// radiograph's masks (`dx-masks.npz`, `[row, column]`, 0 or 1) into `folder`, which must exist.
    pub fn write_truth(&self, folder: &Path) -> Result<Truth, TruthError> {
        let truth = self.truth();
        let path = folder.join("truth.json");
        let json = serde_json::to_string_pretty(&truth).map_err(|e| error(&path, e))?;
        fs::write(&path, json + "\n").map_err(|e| error(&path, e))?;
        let ct = [("organs".to_owned(), &self.ct.organs), ("lesions".to_owned(), &self.ct.lesions)];
        write_npz(&folder.join(&truth.ct.masks), ct.map(|(name, labels)| (name, labels.clone().into_dyn())))?;
        let organs = ORGANS.iter().enumerate().map(|(i, name)| ((*name).to_owned(), self.radiograph_organ_mask(i)));
        let lesions = self.lesions.iter().enumerate();
        let lesions = lesions.map(|(i, lesion)| (format!("lesion_{}", lesion.id), self.radiograph_lesion_mask(i)));
        let masks = organs.chain(lesions).map(|(name, mask)| (name, mask.into_dyn()));
        write_npz(&folder.join(&truth.radiograph.masks), masks)?;
        Ok(truth)
    }
}

fn round(value: f64, digits: i32) -> f64 {
    let k = 10_f64.powi(digits);
    (value * k).round() / k
}

fn error(path: &Path, cause: impl std::fmt::Display) -> TruthError {
    TruthError { path: path.to_path_buf(), cause: cause.to_string() }
}

/// A `.npz` archive as NumPy reads it; the time stamps are fixed, so that equal arrays give equal bytes.
fn write_npz(path: &Path, arrays: impl IntoIterator<Item = (String, ArrayD<u8>)>) -> Result<(), TruthError> {
    let file = fs::File::create(path).map_err(|e| error(path, e))?;
    let mut archive = zip::ZipWriter::new(std::io::BufWriter::new(file));
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default());
    for (name, array) in arrays {
        let mut bytes = Vec::new();
        array.write_npy(&mut bytes).map_err(|e| error(path, e))?;
        archive.start_file(format!("{name}.npy"), options).map_err(|e| error(path, e))?;
        archive.write_all(&bytes).map_err(|e| error(path, e))?;
    }
    let mut inner = archive.finish().map_err(|e| error(path, e))?;
    inner.flush().map_err(|e| error(path, e))
}
