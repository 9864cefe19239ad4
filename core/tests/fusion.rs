//! One series over another: places and values against those worked out by hand.

use std::path::Path;

use bifocal_core::dicom::pixels::read_frame;
use bifocal_core::dicom::{ImageContext, Injection, PetSlice, index_paths, uid_from_name, write_pet};
use bifocal_core::phantom::{LesionKind, Options, simulate_ct_alone, simulate_pet};
use bifocal_core::render::{HeatStyle, Preset, Voi, gray_image};
use bifocal_core::study::{
    DisplayAttributes, Frame, GrayPixels, PixelSpacing, Pixels, PlaneGeometry, Series, SpacingKind, Suv,
};
use bifocal_core::task::Task;
use bifocal_core::volume::{Grid, Orientation, Plane, Projection, Slab, Vector, Volume, Voxels};

/// Three directions at right angles, aligned with nothing.
const U: Vector = [0.8, 0.36, -0.48];
const V: Vector = [-0.6, 0.48, -0.64];
const W: Vector = [0.0, 0.8, 0.6];

fn along(a: Vector, b: Vector, s: f64) -> Vector {
    [a[0] + b[0] * s, a[1] + b[1] * s, a[2] + b[2] * s]
}

fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// A value that no direction is favoured in.
fn voxel(k: usize, r: usize, c: usize) -> f32 {
    ((k * 7919 + r * 104_729 + c * 1_299_709) % 1009) as f32
}

const SHAPE: [usize; 3] = [11, 12, 13];
const ORIGIN: Vector = [-30.0, 14.0, 220.0];
const STEP: Vector = [5.0, 4.5, 4.0];

/// Coarse voxels on an oblique lattice: slices along W, rows along V, columns along U.
fn oblique() -> Volume {
    let [slices, rows, columns] = SHAPE;
    let positions: Vec<Vector> = (0..slices).map(|k| along(ORIGIN, W, STEP[0] * k as f64)).collect();
    let grid =
        Grid::new(&positions, (rows, columns), V.map(|x| x * STEP[1]), U.map(|x| x * STEP[2])).expect("a lattice");
    let voxels =
        (0..slices * rows * columns).map(|i| voxel(i / (rows * columns), i / columns % rows, i % columns)).collect();
    Volume {
        grid,
        voxels: Voxels::F32(voxels),
        places: Vec::new(),
        rescale: (0.5, -20.0),
        frame_of_reference: Some("1.2.3".to_owned()),
        display: DisplayAttributes::default(),
        notes: Vec::new(),
    }
}

/// Trilinear interpolation by its definition; `None` beyond the middles of the outermost voxels.
fn trilinear(point: Vector) -> Option<f64> {
    let offset = along(point, ORIGIN, -1.0);
    let at = [dot(offset, W) / STEP[0], dot(offset, V) / STEP[1], dot(offset, U) / STEP[2]];
    let inside = at.iter().zip(SHAPE).all(|(v, n)| (0.0..=(n - 1) as f64).contains(v));
    inside.then(|| {
        let mut sum = 0.0;
        for corner in 0..8 {
            let mut weight = 1.0;
            let index: [usize; 3] = std::array::from_fn(|axis| {
                let low = (at[axis] as usize).min(SHAPE[axis] - 2);
                let above = at[axis] - low as f64;
                let upper = corner >> axis & 1;
                weight *= if upper == 1 { above } else { 1.0 - above };
                low + upper
            });
            sum += weight * f64::from(voxel(index[0], index[1], index[2]));
        }
        0.5 * sum - 20.0
    })
}

/// Holds what is laid over a plane to the definition; how many places were compared.
fn compare(over: &Volume, plane: &Plane) -> usize {
    let laid = over.plane_over(plane);
    let values = over.sample(&laid, Slab::default());
    let mut compared = 0;
    for ((row, column), found) in values.indexed_iter() {
        if let Some(wanted) = trilinear(laid.patient_from_pixel(row as f64, column as f64)) {
            compared += 1;
            assert!((f64::from(*found) - wanted).abs() < 0.02, "at {row}, {column}: {found} where {wanted} is right");
        }
    }
    compared
}

#[test]
fn an_oblique_series_over_planes_and_frames_of_another() {
    let over = oblique();
    let middle = over.grid.center();
    // Planes of a patient, and one that is turned against both lattices.
    let orientations = [
        Orientation { row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] },
        Orientation { row: [1.0, 0.0, 0.0], column: [0.0, 0.0, -1.0] },
        Orientation { row: [0.0, 0.6, 0.8], column: [0.8, 0.36, -0.27] }.rotated([0.0, 0.6, 0.8], 0.5),
    ];
    for orientation in orientations {
        let origin = along(along(middle, orientation.row, -40.0), orientation.column, -40.0);
        let plane = Plane { origin, orientation, spacing_mm: 0.7, rows: 115, columns: 115 };
        assert!(over.plane_over(&plane).rows < plane.rows, "half a voxel of the coarse series is enough");
        let compared = compare(&over, &plane);
        assert!(compared > 150, "{compared}");
    }
    // A frame whose pixels are twice as high as wide.
    let geometry = PlaneGeometry {
        position: along(along(middle, [1.0, 0.0, 0.0], -30.0), [0.0, 1.0, 0.0], -30.0),
        row_direction: [1.0, 0.0, 0.0],
        column_direction: [0.0, 1.0, 0.0],
    };
    let spacing = PixelSpacing { row_mm: 2.0, column_mm: 1.0, kind: SpacingKind::Patient };
    let display =
        DisplayAttributes { geometry: Some(geometry), spacing: Some(spacing), ..DisplayAttributes::default() };
    let plane = Plane::of_frame(&display, (30, 60)).expect("a plane");
    assert!(compare(&over, &plane) > 100);
}

#[test]
fn the_hottest_voxel_in_a_slab_is_laid_over_its_middle() {
    let mut over = oblique();
    let hot = [6, 5, 4];
    let mut voxels = vec![0.0_f32; SHAPE.iter().product()];
    voxels[(hot[0] * SHAPE[1] + hot[1]) * SHAPE[2] + hot[2]] = 100.0;
    over.voxels = Voxels::F32(voxels);
    let at = along(along(along(ORIGIN, W, 6.0 * STEP[0]), V, 5.0 * STEP[1]), U, 4.0 * STEP[2]);
    let orientation = Orientation { row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] };
    // 12 mm below the voxel: in a slab of 30 mm, not in the plane.
    let origin = along(along(along(at, [1.0, 0.0, 0.0], -40.0), [0.0, 1.0, 0.0], -30.0), [0.0, 0.0, 1.0], -12.0);
    let plane = over.plane_over(&Plane { origin, orientation, spacing_mm: 0.5, rows: 140, columns: 160 });
    let peak = |thickness_mm| {
        let values = over.sample(&plane, Slab { thickness_mm, projection: Projection::Mip });
        let peak = values.indexed_iter().filter(|(_, v)| v.is_finite()).max_by(|a, b| a.1.total_cmp(b.1));
        peak.map(|((row, column), value)| (plane.patient_from_pixel(row as f64, column as f64), *value))
            .expect("values")
    };
    assert!(peak(0.0).1 < -19.0);
    let (place, value) = peak(30.0);
    assert!((place[0] - at[0]).abs() < 2.5 && (place[1] - at[1]).abs() < 2.5, "{place:?} {at:?}");
    // Samples lie up to a voxel apart along the slab: the peak of 30 is met in part.
    assert!(value > -12.0, "{value}");
}

/// Writes the PET of a simulated patient and reads it again, beside what is known of it.
fn simulated(folder: &Path) -> (Series, Vector, Injection) {
    let options = Options { ct_size: 128, ct_slice_mm: 4.0, ..Options::new(11) };
    let (lesions, ct) = simulate_ct_alone(options, &Task::new()).expect("simulated");
    let pet = simulate_pet(&lesions, &ct, 11, &Task::new()).expect("simulated");
    let solid = lesions.iter().filter(|lesion| lesion.kind == LesionKind::SolidNodule);
    let largest = solid.max_by(|a, b| a.axes_mm[0].total_cmp(&b.axes_mm[0])).expect("a solid nodule");
    let injection = Injection { weight_kg: 80.0, dose_bq: 3e8, time: "113000".to_owned() };
    // By the definition: activity over what was injected, decayed for 90 minutes, a gram.
    let decayed = 3e8 * (-(90.0 * 60.0) / 6586.2 * std::f64::consts::LN_2).exp();
    let context = ImageContext {
        patient_name: "Phantom".into(),
        study_uid: uid_from_name("fusion study"),
        series_uid: uid_from_name("fusion pet"),
        date: "20260112".into(),
        time: "130000".into(),
        ..ImageContext::default()
    };
    for (index, suv) in pet.suv.outer_iter().enumerate() {
        let [x, y, z] = pet.origin_mm;
        let activity = suv.mapv(|suv| f64::from(suv) * decayed / 80_000.0);
        let slice = PetSlice {
            sop_instance_uid: uid_from_name(&format!("fusion pet {index}")),
            number: index as u16 + 1,
            slices: pet.suv.dim().0 as u16,
            activity: activity.view(),
            geometry: PlaneGeometry {
                position: [x, y, z + pet.spacing_mm[0] * index as f64],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [pet.spacing_mm[1], pet.spacing_mm[2]],
            thickness_mm: pet.spacing_mm[0],
            frame_of_reference_uid: uid_from_name("fusion space"),
            patient_position: "HFS".into(),
            injection: injection.clone(),
        };
        write_pet(&folder.join(format!("{index:03}.dcm")), &context, &slice).expect("written");
    }
    let index = index_paths(&[folder.to_path_buf()], &Task::new()).expect("indexed");
    assert!(index.problems.is_empty() && index.remarks.is_empty(), "{:?} {:?}", index.problems, index.remarks);
    let series = index.studies[0].series[0].clone();
    (series, largest.center_mm.map(f64::from), injection)
}

#[test]
fn a_pet_reads_back_in_suv_where_its_lesion_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let (series, lesion, injection) = simulated(folder.path());
    assert_eq!(
        (series.modality.as_str(), series.frame_of_reference.clone()),
        ("PT", Some(uid_from_name("fusion space")))
    );
    let raw = Volume::build(&series, 0, &Task::new()).expect("a volume");
    assert_eq!(raw.display.units, "Bq/mL");
    let at = raw.nearest_value(lesion).expect("inside");
    let volume = raw.in_usual_units();
    assert_eq!(volume.display.units, Suv::UNITS);
    let suv = volume.nearest_value(lesion).expect("inside");
    assert!((suv - at / injection.activity_of_suv_1(5400.0)).abs() < 1e-3 * suv, "{suv}");
    // Painted with 7 g/mL, a little less after the blur; the lung around has 0.5.
    assert!((5.0..=8.0).contains(&suv), "{suv}");
    // The hottest place on the plane through it is the lesion, to within a voxel.
    let orientation = Orientation { row: [1.0, 0.0, 0.0], column: [0.0, 1.0, 0.0] };
    let origin = along(along(lesion, [1.0, 0.0, 0.0], -40.0), [0.0, 1.0, 0.0], -40.0);
    let plane = volume.plane_over(&Plane { origin, orientation, spacing_mm: 1.0, rows: 80, columns: 80 });
    let values = volume.sample(&plane, Slab::default());
    let weight = |v: &f32| if v.is_finite() && *v > 3.0 { f64::from(*v) } else { 0.0 };
    let sum: f64 = values.iter().map(weight).sum();
    let mut middle = [0.0; 3];
    for ((row, column), v) in values.indexed_iter() {
        middle = along(middle, plane.patient_from_pixel(row as f64, column as f64), weight(v) / sum);
    }
    assert!((middle[0] - lesion[0]).hypot(middle[1] - lesion[1]) < 3.0, "{middle:?} {lesion:?}");
    let reformatted = volume.reformat(&plane, Slab::default());
    assert_eq!(HeatStyle::fusion(&reformatted).range, [0.0, 7.0]);
    // Shown in SUV: the lesion is white from none to five, on planes and on the image itself.
    let (instance, frame) = series.frame_at(series.frame_count() / 2).expect("an image");
    let image = read_frame(&instance.source, frame).expect("decoded").in_usual_units();
    let whitest = |frame: &Frame| {
        let shown = gray_image(frame, &Voi::window(Preset::of_units(&frame.display.units)[0].window()));
        shown.pixels.iter().map(|pixel| pixel[0]).max()
    };
    assert_eq!(whitest(&reformatted), Some(255));
    assert!(whitest(&image) > Some(40), "{:?}", whitest(&image));
    let Pixels::Gray(GrayPixels::U16(stored)) = &image.pixels else { panic!("16 bits") };
    let (at, most) = stored.indexed_iter().max_by_key(|(_, v)| **v).expect("pixels");
    let plane = Plane::of_frame(&image.display, image.shape()).expect("it has a place");
    let place = plane.patient_from_pixel(at.0 as f64, at.1 as f64);
    let of_volume = volume.nearest_value(place).expect("inside");
    let of_image = image.display.modality.apply(f64::from(*most));
    assert!((of_volume - of_image).abs() < 2e-3 * of_image, "{of_volume} on planes, {of_image} on the image");
}

#[test]
fn spaces_are_told_apart_with_a_reason() {
    let series = |space: Option<&str>| Series { frame_of_reference: space.map(str::to_owned), ..Series::default() };
    assert_eq!(series(Some("1.2")).in_space_of(&series(Some("1.2"))), Ok(()));
    let reason = |a, b| series(a).in_space_of(&series(b)).expect_err("not one space");
    assert!(reason(Some("1.2"), Some("1.3")).contains("another frame of reference"));
    assert!(reason(None, Some("1.3")).contains("Its files"));
    assert!(reason(Some("1.2"), None).contains("in view"));
    // Nothing known of either is no agreement.
    assert!(reason(None, None).contains("Its files"));
}
