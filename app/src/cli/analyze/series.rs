//! A series, image by image, and the files of its folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use bifocal_core::analysis::{
    Analysis, Explanations, Flag, PROBABILITIES, Target, VolumeAnalysis, analyze, network_image, segmentation,
};
use bifocal_core::annotation::Session;
use bifocal_core::dicom::pixels::FrameReader;
use bifocal_core::dicom::{DicomError, DicomFile, SegmentationContext, tags, uid_from_name, write_segmentation};
use bifocal_core::model::{Bundle, NetworkImage};
use bifocal_core::render::{HeatStyle, Voi, blend_heat, draw_contours, gray_image, organ_color};
use bifocal_core::report::{ReportImage, ReportInput, ReportOptions, dicom_date_time, report_json, report_pdf};
use bifocal_core::study::{
    Frame, InstanceKey, InstanceUid, Segmentation, SegmentationKind, Series, SourceFrame, Study,
};
use bifocal_core::task::Task;
use bifocal_core::volume::PlaneKind;

use super::SegKind;
use crate::cli::explain::{self, CamChoice};
use crate::report::model_notes;

/// Images of one series that go into its report.
pub(super) const MOST_FRAMES: usize = 16;

impl From<SegKind> for SegmentationKind {
    fn from(kind: SegKind) -> Self {
        match kind {
            SegKind::Binary => Self::Binary,
            SegKind::Fractional => PROBABILITIES,
        }
    }
}

/// What is to be done with each series.
pub(super) struct Job<'a> {
    pub(super) bundle: &'a Arc<Bundle>,
    pub(super) options: &'a ReportOptions,
    pub(super) maps: bool,
    pub(super) explain: Option<&'a [CamChoice]>,
    pub(super) seg: Option<SegKind>,
    pub(super) plane: PlaneKind,
    pub(super) task: &'a Task,
}

/// What was made of a series.
pub(super) struct Done {
    /// Images with their places in the reading order.
    pub(super) images: Vec<(usize, Analysis)>,
    /// The volume, where it was analysed as one.
    pub(super) volume: Option<VolumeAnalysis>,
}

/// An image that goes into the report.
pub(super) struct Read {
    pub(super) position: usize,
    pub(super) instance: InstanceKey,
    pub(super) frame_index: usize,
    pub(super) frame: Frame,
    pub(super) analysis: Analysis,
    pub(super) explanations: Option<Explanations>,
}

impl Job<'_> {
    /// Analyses the frames of a series and writes its folder. A series that the bundle was not made for gives its middle image
    /// alone: enough to see the warning.
    pub(super) fn series(&self, study: &Study, series: &Series, warned: bool, folder: &Path) -> anyhow::Result<Done> {
        let count = series.frame_count();
        let mut doubt = None;
        if self.bundle.metadata.config.slab.is_some() && !warned {
            match self.volume(series)? {
                Ok(volume) => return self.write_volume(study, series, volume, folder),
                Err(no_volume) => doubt = Some(no_volume),
            }
        }
        if self.bundle.metadata.config.slab.is_some() && warned && count > 1 {
            let message = format!("one image of {count} was asked about, as if its neighbours were like it");
            doubt = Some(Flag { code: "one_of_many".to_owned(), message });
        }
        let alone = warned || doubt.is_some();
        let positions: Vec<usize> = if alone { vec![count / 2] } else { (0..count.min(MOST_FRAMES)).collect() };
        let mut read: Vec<Read> = Vec::new();
        for position in positions {
            let Some((instance, frame_index)) = series.frame_at(position) else { continue };
            let frame = FrameReader::open(&instance.source)?.frame(frame_index)?;
            let (rows, columns) = frame.shape();
            let target = Target {
                series_uid: series.uid.clone(),
                instance_uid: instance.key(),
                frame: frame_index,
                sources: vec![instance.source.clone()],
                rows,
                columns,
            };
            let image = network_image(&self.bundle.metadata.config, &frame);
            let mut analysis = analyze(self.bundle, &image, &frame, series, target, self.task)?;
            analysis.flags.extend(doubt.clone());
            let explanations = self.explanations(&image, &analysis)?;
            read.push(Read { position, instance: instance.key(), frame_index, frame, analysis, explanations });
        }
        self.write(study, series, &read, folder)?;
        if let Some(kind) = self.seg {
            for (number, Read { frame, analysis, .. }) in read.iter().enumerate() {
                let path = folder.join(format!("segmentation{}.dcm", suffix(number)));
                self.write_segmentation(&path, frame, analysis, kind)?;
            }
        }
        Ok(Done { images: read.into_iter().map(|read| (read.position, read.analysis)).collect(), volume: None })
    }

    pub(super) fn explanations(
        &self,
        image: &NetworkImage,
        analysis: &Analysis,
    ) -> anyhow::Result<Option<Explanations>> {
        let make = |choices| explain::explanations(self.bundle, image, analysis, choices, self.task);
        self.explain.map(make).transpose()
    }

    /// Report, overlays and maps of the images of a series.
    pub(super) fn write(&self, study: &Study, series: &Series, read: &[Read], folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut session = Session::new(series.reading_uid(), self.bundle.metadata.weights_sha256.clone());
        session.key_images = read.iter().map(|read| (read.instance.clone(), read.frame_index)).collect();
        let images = read
            .iter()
            .map(|read| ReportImage {
                explanations: read.explanations.as_ref(),
                ..ReportImage::new(&read.instance, read.frame_index, read.position, &read.frame, Some(&read.analysis))
            })
            .collect();
        let model = Some(model_notes(&self.bundle.metadata));
        let input =
            ReportInput { study, series, images, session: &session, labels: &[], model, created: SystemTime::now() };
        let json = serde_json::to_string_pretty(&report_json(&input, self.options))? + "\n";
        write(&folder.join("report.json"), json.as_bytes())?;
        write(&folder.join("report.pdf"), &report_pdf(&input, self.options)?)?;
        for (number, read) in read.iter().enumerate() {
            let suffix = suffix(number);
            write(&folder.join(format!("overlay{suffix}.png")), &overlay(&read.frame, &read.analysis).to_png()?)?;
            if self.maps {
                write_maps(folder, &suffix, &read.analysis)?;
                if let Some(explanations) = &read.explanations {
                    explain::write_maps(folder, &suffix, explanations)?;
                }
            }
        }
        Ok(())
    }
}

/// The first image has the plain names; others of the same series are numbered.
fn suffix(number: usize) -> String {
    if number == 0 { String::new() } else { format!("-{}", number + 1) }
}

impl Job<'_> {
    /// One object an image. A picture has no patient and no identifiers to refer to: it gets none, which is said.
    fn write_segmentation(&self, path: &Path, frame: &Frame, analysis: &Analysis, kind: SegKind) -> anyhow::Result<()> {
        let Some(source) = analysis.target.sources.first() else { return Ok(()) };
        let file = match DicomFile::read_headers(source) {
            Ok(file) => file,
            Err(DicomError::NotDicom { .. }) => {
                eprintln!("bifocal: {source}: not a DICOM file, so that a DICOM segmentation has nothing to refer to");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let set = file.data_set();
        let instance = set.line(tags::SOP_INSTANCE_UID);
        let multi_frame = set.int(tags::NUMBER_OF_FRAMES).is_some_and(|frames| frames > 1);
        let source_frame = SourceFrame {
            sop_class_uid: set.line(tags::SOP_CLASS_UID),
            sop_instance_uid: InstanceUid(instance.clone()),
            frame: multi_frame.then_some(analysis.target.frame),
        };
        let kind = kind.into();
        let metadata = &self.bundle.metadata;
        let frame_of_reference = set.string(tags::FRAME_OF_REFERENCE_UID);
        let masks = segmentation(analysis, metadata, kind, &source_frame, &frame.display, frame_of_reference);
        self.write_masks(path, &masks, &file, &format!("{instance} {}", analysis.target.frame))
    }

    /// Masks as a DICOM segmentation of what `file` is an instance of; `of` names the image or the series.
    pub(super) fn write_masks(
        &self,
        path: &Path,
        masks: &Segmentation,
        file: &DicomFile,
        of: &str,
    ) -> anyhow::Result<()> {
        let metadata = &self.bundle.metadata;
        let (date, time) = dicom_date_time(SystemTime::now());
        let seed = format!("{of} {} {:?} {date}{time}", metadata.weights_sha256, masks.kind);
        let context = SegmentationContext {
            series_uid: uid_from_name(&format!("{seed} series")),
            sop_instance_uid: uid_from_name(&seed),
            series_number: 9001,
            series_description: format!("{} {}, research use only", metadata.name, metadata.version),
            content_label: "AI_SEGMENTATION".into(),
            creator: String::new(),
            date,
            time,
            software_version: env!("CARGO_PKG_VERSION").into(),
            algorithm_version: metadata.version.clone(),
        };
        Ok(write_segmentation(path, masks, file, &context)?)
    }
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(file, bytes).with_context(|| file.display().to_string())
}

/// The image with its heat maps, the contours of its findings and of its organs.
fn overlay(frame: &Frame, analysis: &Analysis) -> bifocal_core::render::Rgba {
    let mut image = gray_image(frame, &Voi::of_frame(frame));
    let width = (image.width.max(image.height) as f32 / 500.0).max(1.0);
    for map in &analysis.heat_maps {
        blend_heat(&mut image, &map.values, &HeatStyle { threshold: map.threshold, ..HeatStyle::LESION });
    }
    for organ in &analysis.organ_maps {
        draw_contours(&mut image, &organ.contours, 1.0, width, organ_color(&organ.organ));
    }
    let contours: Vec<Vec<(f32, f32)>> =
        analysis.findings.iter().filter(|f| analysis.shows(f)).map(|f| f.contour.clone()).collect();
    draw_contours(&mut image, &contours, 1.0, width, bifocal_core::render::WARM);
    image
}

fn write_maps(folder: &Path, suffix: &str, analysis: &Analysis) -> anyhow::Result<()> {
    let save = |name: String, values: &ndarray::Array2<f32>| -> anyhow::Result<()> {
        let file = folder.join(format!("{name}{suffix}.npy"));
        ndarray_npy::write_npy(&file, values).with_context(|| file.display().to_string())
    };
    for map in &analysis.heat_maps {
        save(format!("heatmap-{}", map.label), &map.values)?;
    }
    for organ in &analysis.organ_maps {
        save(format!("organ-{}", organ.organ), &organ.values)?;
    }
    if let Some(rollout) = analysis.attention_maps.first() {
        save("attention".into(), &rollout.values)?;
    }
    for map in analysis.attention_maps.iter().skip(1) {
        save(format!("attention-{}", map.label.as_deref().unwrap_or("class")), &map.values)?;
    }
    Ok(())
}
