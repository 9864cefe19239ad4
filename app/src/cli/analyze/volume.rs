//! A series as one volume.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bifocal_core::analysis::{Flag, VolumeAnalysis, analyze_volume, segmentation};
use bifocal_core::dicom::DicomFile;
use bifocal_core::dicom::pixels::FrameReader;
use bifocal_core::study::{Segmentation, Series, SourceFrame, Study};
use bifocal_core::volume::{Volume, VolumeError, Voxels};
use ndarray::Array3;
use serde_json::{Value, json};

use super::SegKind;
use super::series::{Done, Job, MOST_FRAMES, Read};
use crate::volumes::no_volume;

/// What the summary says of a volume.
pub(super) fn row(volume: &VolumeAnalysis) -> Value {
    let organs: Vec<Value> = volume
        .organs
        .iter()
        .map(|organ| json!({ "organ": organ.organ, "volume_ml": organ.volume_mm3 / 1000.0 }))
        .collect();
    json!({ "plane": volume.plane.name(), "planes": volume.planes, "organs": organs, "seconds": volume.seconds })
}

impl Job<'_> {
    /// Analyses a series as a volume; the inner error says why it makes none.
    pub(super) fn volume(&self, series: &Series) -> anyhow::Result<Result<VolumeAnalysis, Flag>> {
        let volume = match Volume::build(series, series.frame_count() / 2, self.task) {
            Ok(volume) => Arc::new(volume),
            Err(error @ (VolumeError::Unsuitable(_) | VolumeError::Grid(_))) => return Ok(Err(no_volume(&error))),
            Err(error) => return Err(error.into()),
        };
        Ok(Ok(analyze_volume(self.bundle, volume, series, self.plane, self.task)?))
    }

    /// Report and files of a volume: the images of its most probable findings, the middle one where there is none.
    pub(super) fn write_volume(
        &self,
        study: &Study,
        series: &Series,
        volume: VolumeAnalysis,
        folder: &Path,
    ) -> anyhow::Result<Done> {
        let mut homes: BTreeSet<usize> = BTreeSet::new();
        for extent in volume.findings.iter().filter_map(|finding| finding.extent.as_ref()) {
            if homes.len() < MOST_FRAMES {
                homes.insert(extent.image);
            }
        }
        if homes.is_empty() {
            homes.extend(volume.volume.places.get(volume.volume.places.len() / 2));
        }
        let mut read = Vec::new();
        for position in homes {
            let Some((instance, frame_index)) = series.frame_at(position) else { continue };
            let frame = FrameReader::open(&instance.source)?.frame(frame_index)?;
            let analysis = volume.analyze_image(self.bundle, series, position, self.task)?;
            let slab = self.bundle.metadata.config.slab.context("a bundle of slabs")?;
            let image = volume.network_image(&slab, position).context("an image of the volume")?;
            let explanations = self.explanations(&image, &analysis)?;
            read.push(Read { position, instance: instance.key(), frame_index, frame, analysis, explanations });
        }
        self.write(study, series, &read, folder)?;
        if self.maps {
            write_volumes(&volume, folder)?;
        }
        if let Some(kind) = self.seg {
            self.write_volume_masks(series, &volume, kind, &folder.join("segmentation.dcm"))?;
        }
        let images = read.into_iter().map(|read| (read.position, read.analysis)).collect();
        Ok(Done { images, volume: Some(volume) })
    }

    /// All slices of a volume in one segmentation; slices where a segment is empty are left out.
    fn write_volume_masks(
        &self,
        series: &Series,
        volume: &VolumeAnalysis,
        kind: SegKind,
        path: &Path,
    ) -> anyhow::Result<()> {
        let mut whole: Option<Segmentation> = None;
        let mut first = None;
        for place in &volume.volume.places {
            self.task.check()?;
            let Some((instance, frame)) = series.frame_at(*place) else { continue };
            let (Some(analysis), Some(display)) = (volume.image(series, *place), volume.display(*place)) else {
                continue;
            };
            let source = SourceFrame {
                sop_class_uid: instance.sop_class.clone(),
                sop_instance_uid: instance.uid.clone(),
                frame: (instance.frames > 1).then_some(frame),
            };
            first.get_or_insert(&instance.source);
            let reference = volume.volume.frame_of_reference.clone();
            let mut masks = segmentation(&analysis, &self.bundle.metadata, kind.into(), &source, &display, reference);
            masks.masks.retain(|mask| mask.values.iter().any(|v| *v > 0));
            match &mut whole {
                Some(whole) => whole.masks.append(&mut masks.masks),
                None => whole = Some(masks),
            }
        }
        let (Some(whole), Some(source)) = (whole, first) else { return Ok(()) };
        if whole.masks.is_empty() {
            eprintln!("bifocal: series {}: no organ and no lesion: no segmentation is written", series.uid);
            return Ok(());
        }
        let file = DicomFile::read_headers(source)?;
        self.write_masks(path, &whole, &file, &series.uid.0)
    }
}

/// `heatmap-<lesion>-volume.npy` and `organ-<organ>-volume.npy`: probabilities `[plane, row, column]` on the network's lattice, and `volumes.json`, which says
/// where it lies.
fn write_volumes(volume: &VolumeAnalysis, folder: &Path) -> anyhow::Result<()> {
    let lesions = volume.lesions.iter().map(|class| (format!("heatmap-{}", class.label), &class.values));
    let organs = volume.organs.iter().map(|organ| (format!("organ-{}", organ.organ), &organ.values));
    let mut lattice = Value::Null;
    for (name, values) in lesions.chain(organs) {
        let Voxels::U8(voxels) = &values.voxels else { continue };
        let [planes, rows, columns] = values.grid.shape();
        let map = Array3::from_shape_fn((planes, rows, columns), |(k, r, c)| {
            f32::from(voxels[(k * rows + r) * columns + c]) / 255.0
        });
        let file = folder.join(format!("{name}-volume.npy"));
        ndarray_npy::write_npy(&file, &map).with_context(|| file.display().to_string())?;
        let at = |voxel: [f64; 3]| values.grid.patient_from_voxel(voxel);
        let positions: Vec<[f64; 3]> = (0..planes).map(|plane| at([plane as f64, 0.0, 0.0])).collect();
        let step = |other: [f64; 3]| {
            let (from, to) = (at([0.0; 3]), at(other));
            [0, 1, 2].map(|axis| to[axis] - from[axis])
        };
        lattice = json!({
            "shape": [planes, rows, columns],
            "axes": "plane, row, column; patient coordinates in mm, LPS, of the centres of cells",
            "first_cell_of_each_plane": positions,
            "row_step": step([0.0, 1.0, 0.0]),
            "column_step": step([0.0, 0.0, 1.0]),
            "plane": volume.plane.name(),
        });
    }
    let file = folder.join("volumes.json");
    std::fs::write(&file, serde_json::to_string_pretty(&lattice)? + "\n").with_context(|| file.display().to_string())
}
