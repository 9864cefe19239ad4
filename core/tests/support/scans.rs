//! Small scans with a bright ball in every second one, as a project that a reader is done with, and a bundle of slabs for them.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use bifocal_core::annotation::{Edit, Shape, ShapeId, ShapeKind, Store, Taxonomy};
use bifocal_core::dicom::{CtSlice, ImageContext, index_paths, pixels::FrameReader, uid_from_name, write_ct};
use bifocal_core::model::{Device, SlabInput};
use bifocal_core::project::{Case, CaseState, Project};
use bifocal_core::study::{PlaneGeometry, StudyIndex};
use bifocal_core::task::Task;
use bifocal_core::train::{finish, train};
use ndarray::Array2;

use crate::spots;

/// Slices of a scan and their distance, mm.
pub const SLICES: usize = 40;
pub const SLICE_MM: f64 = 2.0;
/// Slices that show the ball.
pub const BALL: std::ops::Range<usize> = 17..22;
/// The window of the slabs.
pub const WINDOW: [f32; 2] = [-1000.0, 400.0];
pub const PATIENTS: usize = 10;

/// HU of a slice: brighter from the feet to the head, so that slices tell their place.
pub fn hu(patient: usize, slice: usize) -> Array2<i16> {
    Array2::from_shape_fn((64, 64), |(row, column)| {
        let (down, across, up) = (row as f64 - 20.0, column as f64 - 40.0, (slice as f64 - 19.0) * 2.0);
        let in_ball = patient.is_multiple_of(2) && down * down + across * across + up * up < 25.0;
        let texture = ((row * 7 + column * 13 + patient * 29) % 23) as i16;
        if in_ball { 300 } else { -900 + 12 * slice as i16 + texture }
    })
}

/// A bundle of slabs that has hardly been trained.
pub fn parent(folder: &Path) -> PathBuf {
    let data = folder.join("parent-data");
    std::fs::create_dir_all(&data).unwrap();
    spots::write_dataset(&data);
    let mut config = spots::config(&data);
    config.model.slab = Some(SlabInput { window: WINDOW, spacing_mm: SLICE_MM as f32 });
    config.stages.truncate(1);
    config.stages[0].steps = 6;
    config.bundle.id = "slabs".into();
    config.bundle.intended_use.modalities = vec!["CT".into()];
    config.bundle.concepts.insert("spot".into(), bifocal_core::study::CodedConcept::new("52988006", "SCT", "Lesion"));
    let weights = train(&config, &folder.join("parent-run"), &Device::Cpu, &Task::new()).unwrap();
    let bundle = folder.join("slabs");
    finish(&config, &weights, &bundle, &Device::Cpu, "2026-01-01", &Task::new()).unwrap();
    bundle
}

fn write(folder: &Path, patient: usize) {
    std::fs::create_dir_all(folder).unwrap();
    let context = ImageContext {
        patient_name: format!("Scan{patient}"),
        patient_id: format!("scan{patient}"),
        study_uid: uid_from_name(&format!("scan study {patient}")),
        series_uid: uid_from_name(&format!("scan series {patient}")),
        ..ImageContext::default()
    };
    for index in 0..SLICES {
        let values = hu(patient, index);
        let slice = CtSlice {
            sop_instance_uid: uid_from_name(&format!("scan {patient} {index}")),
            number: index as u32 + 1,
            hu: values.view(),
            geometry: PlaneGeometry {
                position: [0.0, 0.0, SLICE_MM * index as f64],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [1.0, 1.0],
            thickness_mm: SLICE_MM,
            field_mm: 64.0,
            frame_of_reference_uid: uid_from_name(&format!("scan frame {patient}")),
            kvp: 120.0,
            patient_position: "HFS".into(),
            contrast: String::new(),
            windows: Vec::new(),
        };
        write_ct(&folder.join(format!("{index:03}.dcm")), &context, &slice).unwrap();
    }
}

/// A project of scans, all done; the slices of the balls are boxed.
pub fn project(folder: &Path) -> (Project, StudyIndex) {
    let images = folder.join("images");
    for patient in 0..PATIENTS {
        write(&images.join(format!("{patient}")), patient);
    }
    let index = index_paths(&[images], &Task::new()).unwrap();
    let mut labels = Taxonomy::default();
    labels.labels.truncate(1);
    let project = Project::create(&folder.join("project"), "Scans", vec!["../images".into()], labels).unwrap();
    for study in &index.studies {
        let series = &study.series[0];
        let state = CaseState::Done;
        project.set_case("anna", &series.reading_uid(), Case { state, ..Case::default() }).unwrap();
        let patient: usize = study.patient.id["scan".len()..].parse().unwrap();
        let mut store = Store::open(&project.readings("anna").unwrap(), &series.reading_uid(), "").unwrap();
        for slice in BALL.filter(|_| patient.is_multiple_of(2)) {
            let (instance, _) = series.frame_at(slice).unwrap();
            let display = FrameReader::open(&instance.source).unwrap().frame(0).unwrap().display;
            let corners = [(15.0, 35.0), (15.0, 45.0), (25.0, 45.0), (25.0, 35.0)];
            let mut shape = Shape::new(ShapeKind::Rectangle, instance.key(), 0, &corners, &display);
            shape.label = Some("lesion".into());
            let id = ShapeId(slice as u64);
            store.apply(Edit::SetShape { id, shape: Some(Box::new(shape)) }).unwrap();
        }
    }
    (project, index)
}
