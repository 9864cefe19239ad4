//! A scan to analyse.

use std::path::Path;

use bifocal_core::dicom::{CtSlice, ImageContext, uid_from_name, write_ct};
use bifocal_core::phantom::{Options, simulate_ct_alone};
use bifocal_core::study::PlaneGeometry;
use bifocal_core::task::Task;

/// A coarse simulated CT.
pub fn write(folder: &Path) {
    let options = Options { ct_size: 96, ct_slice_mm: 6.0, ..Options::new(77) };
    let (_, ct) = simulate_ct_alone(options, &Task::new()).expect("simulated");
    let context = ImageContext {
        patient_name: "Phantom".into(),
        study_uid: uid_from_name("volume study"),
        series_uid: uid_from_name("volume series"),
        series_description: "Coarse".into(),
        body_part: "CHEST".into(),
        ..ImageContext::default()
    };
    let [slice_mm, row_mm, column_mm] = ct.spacing_mm;
    for (index, hu) in ct.hu.outer_iter().enumerate() {
        let [x, y, z] = ct.origin_mm;
        let slice = CtSlice {
            sop_instance_uid: uid_from_name(&format!("volume {index}")),
            number: index as u32 + 1,
            hu,
            geometry: PlaneGeometry {
                position: [x, y, z + slice_mm * index as f64],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [row_mm, column_mm],
            thickness_mm: slice_mm,
            field_mm: column_mm * 96.0,
            frame_of_reference_uid: uid_from_name("volume frame of reference"),
            kvp: 120.0,
            patient_position: "HFS".into(),
            contrast: String::new(),
            windows: Vec::new(),
        };
        write_ct(&folder.join(format!("{index:03}.dcm")), &context, &slice).expect("written");
    }
}
