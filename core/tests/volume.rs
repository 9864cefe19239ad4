//! Volumes of real series against values computed with pydicom, NumPy and SimpleITK (`core/tests/reference/volume.py`), and of small
//! series that are odd on purpose.

mod support;

use std::path::Path;

use bifocal_core::dicom::index_paths;
use bifocal_core::study::Series;
use bifocal_core::task::Task;
use bifocal_core::volume::{Orientation, Plane, PlaneKind, Projection, Slab, Volume, VolumeError, Voxels};
use support::{EXPLICIT, Slice};

/// The largest series of a folder.
fn series(folder: &Path) -> Series {
    let index = index_paths(&[folder.to_path_buf()], &Task::new()).expect("it is not cancelled");
    let all = index.studies.into_iter().flat_map(|study| study.series);
    all.max_by_key(Series::frame_count).expect("the folder holds a series")
}

fn vector(value: &serde_json::Value) -> [f64; 3] {
    std::array::from_fn(|axis| value[axis].as_f64().expect("a number"))
}

#[test]
fn planes_of_tilted_and_decubitus_series_agree_with_simpleitk() {
    let Some(root) = support::real_files() else { return };
    let text = include_str!("reference/volume.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(text).expect("the reference is JSON");
    let mut volumes: Vec<(String, Volume)> = Vec::new();
    let (mut compared, mut worst) = (0, 0.0_f64);
    for case in &cases {
        let folder = case["folder"].as_str().expect("a folder");
        if !volumes.iter().any(|(name, _)| name == folder) {
            let volume = Volume::build(&series(&root.join(folder)), 0, &Task::new()).expect("a volume");
            volumes.push((folder.to_owned(), volume));
        }
        let (_, volume) = volumes.iter().find(|(name, _)| name == folder).expect("it was just built");
        let size = case["size"].as_u64().expect("a size") as usize;
        let plane = Plane {
            origin: vector(&case["origin"]),
            orientation: Orientation { row: vector(&case["row"]), column: vector(&case["column"]) },
            spacing_mm: case["spacing"].as_f64().expect("a spacing"),
            rows: size,
            columns: size,
        };
        let projection = case["projection"].as_str().expect("a name").parse::<Projection>().expect("a projection");
        let slab = Slab { thickness_mm: case["thickness"].as_f64().expect("a thickness"), projection };
        for (index, found) in volume.sample(&plane, slab).iter().enumerate() {
            let what = format!("{folder}, {}, {slab:?}, pixel {index}", case["plane"]);
            match case["values"][index].as_f64() {
                None => assert!(found.is_nan(), "{what}: {found} outside"),
                Some(expected) => {
                    compared += 1;
                    let off = (f64::from(*found) - expected).abs();
                    worst = worst.max(off);
                    assert!(off < 0.05, "{what}: {found}, expected {expected}");
                }
            }
        }
    }
    println!("{compared} values, the worst {worst:.4} off");
    assert!(compared > 4_000, "{compared}");
}

#[test]
fn what_was_found_of_real_series_is_said() {
    let Some(root) = support::real_files() else { return };
    let tilted = series(&root.join("neurolabusc+dcm_qa_ct"));
    let volume = Volume::build(&tilted, 0, &Task::new()).expect("a volume");
    assert_eq!(volume.grid.shape(), [28, 512, 512]);
    assert!((volume.grid.tilt_degrees() - 18.5).abs() < 0.1, "{}", volume.grid.tilt_degrees());
    assert!(volume.notes.iter().any(|note| note.contains("gantry tilt 18.5")), "{:?}", volume.notes);
    assert!(volume.notes.iter().any(|note| note == "slices 1.1 to 7.0 mm apart"), "{:?}", volume.notes);
    assert!(matches!(volume.voxels, Voxels::I16(_)));
    assert_eq!(volume.display.units, "HU");
    // One object of 64 frames.
    let enhanced = series(&root.join("neurolabusc+dcm_qa_enh/In/Philips"));
    let volume = Volume::build(&enhanced, 0, &Task::new()).expect("a volume");
    assert_eq!(volume.grid.shape(), [32, 64, 64]);
    // Four time points of 25 slices each.
    let times = series(&root.join("neurolabusc+dcm_qa_agfa"));
    let volumes: Vec<Volume> =
        [0, 99].map(|at| Volume::build(&times, at, &Task::new()).expect("a volume")).into_iter().collect();
    assert_eq!(volumes[0].grid, volumes[1].grid);
    assert_ne!(volumes[0].voxels, volumes[1].voxels);
    assert!(volumes[1].notes.iter().any(|note| note.starts_with("stack 4 of 4")), "{:?}", volumes[1].notes);
}

fn folder_of(slices: &[Slice<'_>]) -> (tempfile::TempDir, Series) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (index, slice) in slices.iter().enumerate() {
        let uid = format!("1.2.3.4.{index}");
        let mut w = support::slice_header(EXPLICIT, &Slice { uid: &uid, ..slice.clone() });
        w.text((0x28, 0x30), "DS", "0.5\\0.5").raw((0x7FE0, 0x10), "OW", &[slice.pixel; 16]);
        std::fs::write(folder.path().join(format!("{index}.dcm")), support::file(EXPLICIT, &w.bytes)).expect("written");
    }
    let series = series(folder.path());
    (folder, series)
}

fn at(position: &str, pixel: u8) -> Slice<'_> {
    Slice { position, pixel, ..Slice::default() }
}

#[test]
fn a_small_series_is_sorted_and_cut() {
    let slices = [at("0\\0\\4", 50), at("0\\0\\0", 10), at("0\\0\\2", 30)];
    let (_folder, series) = folder_of(&slices);
    let volume = Volume::build(&series, 0, &Task::new()).expect("a volume");
    assert_eq!(volume.notes, Vec::<String>::new());
    let orientation = PlaneKind::Coronal.orientation(&volume.grid);
    let corner = volume.grid.patient_from_voxel([0.0; 3]);
    let plane = Plane::across(&volume.grid, orientation, corner, corner, 0.0, 1.0).expect("it cuts");
    let values = volume.sample(&plane, Slab::default());
    // Head up: from 5 mm, clamped to the last slice, down to -1 mm.
    let column: Vec<f32> = values.column(0).to_vec();
    assert_eq!(column, [50.0, 50.0, 40.0, 30.0, 20.0, 10.0, 10.0]);
}

#[test]
fn unsuitable_series_say_why() {
    let why = |slices: &[Slice<'_>]| {
        let (_folder, series) = folder_of(slices);
        Volume::build(&series, 0, &Task::new()).expect_err("no volume").to_string()
    };
    assert!(why(&[at("0\\0\\0", 1)]).contains("single image"));
    assert!(why(&[at("0\\0\\0", 1), at("0\\0\\1", 1)]).contains("needs three"));
    assert!(why(&[at("", 1), at("", 1), at("", 1)]).contains("no position"));
    let turned = |orientation| Slice { orientation, ..Slice::default() };
    let localizer = [turned("1\\0\\0\\0\\1\\0"), turned("1\\0\\0\\0\\0\\-1"), turned("0\\1\\0\\0\\0\\-1")];
    assert!(why(&localizer).contains("different directions"));
    assert!(why(&[at("0\\0\\0", 1), at("9\\0\\1", 1), at("0\\0\\2", 1)]).contains("one line"));
}

#[test]
fn scouts_are_left_out_and_cut_files_are_named() {
    let scout = Slice { orientation: "1\\0\\0\\0\\0\\-1", ..at("0\\0\\9", 9) };
    let (folder, series) = folder_of(&[at("0\\0\\0", 1), scout, at("0\\0\\1", 2), at("0\\0\\2", 3)]);
    let volume = Volume::build(&series, 0, &Task::new()).expect("a volume");
    assert_eq!(volume.grid.shape(), [3, 4, 4]);
    assert!(volume.notes[0].starts_with("1 image left out"), "{:?}", volume.notes);
    std::fs::write(folder.path().join("2.dcm"), b"gone").expect("written");
    let error = Volume::build(&series, 0, &Task::new()).expect_err("a slice is gone");
    assert!(matches!(error, VolumeError::Unreadable(_)) && error.to_string().contains("2.dcm"), "{error}");
    let task = Task::new();
    task.cancel();
    assert!(matches!(Volume::build(&series, 0, &task), Err(VolumeError::Cancelled(_))));
}

#[test]
fn building_takes_little_more_memory_than_the_voxels() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (side, count) = (512_u16, 200_i32);
    let pixels = vec![0x11_u8; usize::from(side) * usize::from(side) * 2];
    for index in 0..count {
        let (uid, position) = (format!("1.2.9.{index}"), format!("0\\0\\{index}"));
        let mut w = support::Writer::new(EXPLICIT);
        w.text((8, 0x16), "UI", "1.2.840.10008.5.1.4.1.1.2")
            .text((8, 0x18), "UI", &uid)
            .text((8, 0x60), "CS", "CT")
            .text((0x20, 0x0D), "UI", "1.2.3")
            .text((0x20, 0x0E), "UI", "1.2.3.1")
            .text((0x20, 0x32), "DS", &position)
            .text((0x20, 0x37), "DS", "1\\0\\0\\0\\1\\0")
            .short((0x28, 2), 1)
            .text((0x28, 4), "CS", "MONOCHROME2")
            .short((0x28, 0x10), side)
            .short((0x28, 0x11), side)
            .text((0x28, 0x30), "DS", "0.5\\0.5")
            .short((0x28, 0x100), 16)
            .short((0x28, 0x101), 16)
            .short((0x28, 0x102), 15)
            .short((0x28, 0x103), 1)
            .raw((0x7FE0, 0x10), "OW", &pixels);
        std::fs::write(folder.path().join(format!("{index}.dcm")), support::file(EXPLICIT, &w.bytes)).expect("written");
    }
    let series = series(folder.path());
    let before = support::peak_mib();
    let volume = Volume::build(&series, 0, &Task::new()).expect("a volume");
    let grown = support::peak_mib() - before;
    let stored = volume.bytes() >> 20;
    println!("{stored} MiB of voxels, {grown} MiB more at the peak");
    assert!(before == 0 || grown * 10 <= stored * 13, "{grown} MiB for {stored} MiB");
}
