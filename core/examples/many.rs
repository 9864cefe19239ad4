//! Writes large archives to measure with: `cargo run --release --example many -- FOLDER STUDIES SLICES SIZE`.
//!
//! One simulated thorax is written as STUDIES patients' CTs of SLICES slices of SIZE x SIZE, interpolated between the simulated ones. The files
//! differ in what an index reads of them; the patients do not.

use std::path::PathBuf;

use bifocal_core::dicom::{CtSlice, ImageContext, uid_from_name, write_ct};
use bifocal_core::phantom::{Options, simulate_ct_alone};
use bifocal_core::study::{PlaneGeometry, Window};
use bifocal_core::task::Task;
use ndarray::{Array2, Axis, Zip};

/// Height of the simulated thorax, mm.
const HEIGHT_MM: f64 = 300.0;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, studies, slices, size] = &arguments[..] else { return Err("give FOLDER STUDIES SLICES SIZE".into()) };
    let folder = PathBuf::from(folder);
    let (studies, slices, size): (usize, usize, usize) = (studies.parse()?, slices.parse()?, size.parse()?);
    let slice_mm = HEIGHT_MM / slices as f64;
    let options = Options { ct_size: size, ct_slice_mm: slice_mm.clamp(1.0, 5.0) as f32, ..Options::new(30) };
    let (_, ct) = simulate_ct_alone(options, &Task::new())?;
    for study in 1..=studies {
        let name = |what: &str| uid_from_name(&format!("bifocal many {studies} {slices} {size} {study} {what}"));
        let context = ImageContext {
            patient_name: format!("Simulated^Number {study:05}"),
            patient_id: format!("MANY-{study:05}"),
            study_uid: name("study"),
            study_description: "SIMULATED CT thorax".to_owned(),
            accession_number: format!("SIM{study:05}"),
            series_uid: name("series"),
            series_number: 1,
            series_description: format!("SIMULATED thorax {slice_mm:.2} mm"),
            date: format!("20{:02}{:02}{:02}", 10 + study % 15, 1 + study % 12, 1 + study % 28),
            time: "091500".to_owned(),
            body_part: "CHEST".to_owned(),
            manufacturer: "Bifocal".to_owned(),
            phantom: true,
            ..ImageContext::default()
        };
        let inside = folder.join(format!("{study:05}"));
        std::fs::create_dir_all(&inside)?;
        for index in 0..slices {
            let simulated = ct.hu.dim().0 - 1;
            let place = (index as f64 * slice_mm / ct.spacing_mm[0]).min(simulated as f64);
            let (below, beyond) = (place as usize, place.fract());
            let mut hu: Array2<i16> = ct.hu.index_axis(Axis(0), below).to_owned();
            Zip::from(&mut hu).and(ct.hu.index_axis(Axis(0), (below + 1).min(simulated))).for_each(|hu, above| {
                *hu = (f64::from(*hu) + beyond * f64::from(*above - *hu)).round() as i16;
            });
            let [x, y, z] = ct.origin_mm;
            let [_, row_mm, column_mm] = ct.spacing_mm;
            let slice = CtSlice {
                sop_instance_uid: name(&index.to_string()),
                number: (slices - index) as u32,
                hu: hu.view(),
                geometry: PlaneGeometry {
                    position: [x, y, z + slice_mm * index as f64],
                    row_direction: [1.0, 0.0, 0.0],
                    column_direction: [0.0, 1.0, 0.0],
                },
                spacing_mm: [row_mm, column_mm],
                thickness_mm: slice_mm,
                field_mm: column_mm * size as f64,
                frame_of_reference_uid: name("space"),
                kvp: 120.0,
                patient_position: "HFS".to_owned(),
                contrast: String::new(),
                windows: vec![Window::linear(-600.0, 1500.0), Window::linear(50.0, 400.0)],
            };
            write_ct(&inside.join(format!("{index:05}.dcm")), &context, &slice)?;
        }
    }
    Ok(())
}
