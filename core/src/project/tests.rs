use std::path::Path;

use ndarray::Array2;

use super::agreement::kappa;
use super::*;
use crate::annotation::{Edit, MaskKey, Shape, ShapeId, ShapeKind, Store};
use crate::dicom::pixels::FrameReader;
use crate::dicom::{CtSlice, ImageContext, index_paths, uid_from_name, write_ct};
use crate::measure::Runs;
use crate::study::{PlaneGeometry, Source, StudyIndex, Window};
use crate::task::Task;

const ROWS: usize = 40;
const COLUMNS: usize = 50;

/// Three CT slices of 0.7 by 0.8 mm pixels.
fn images(folder: &Path) -> StudyIndex {
    std::fs::create_dir_all(folder).expect("a folder");
    for slice in 0..3usize {
        let hu = Array2::from_shape_fn((ROWS, COLUMNS), |(r, c)| (r * 10 + c) as i16);
        let context = ImageContext {
            patient_id: "4711".into(),
            patient_name: "Doe^Jane".into(),
            study_uid: uid_from_name("study"),
            series_uid: uid_from_name("series"),
            ..ImageContext::default()
        };
        let image = CtSlice {
            sop_instance_uid: uid_from_name(&format!("ct {slice}")),
            number: slice as u32,
            hu: hu.view(),
            geometry: PlaneGeometry {
                position: [-20.0, 5.5, 3.0 * slice as f64],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [0.7, 0.8],
            thickness_mm: 3.0,
            field_mm: 40.0,
            frame_of_reference_uid: uid_from_name("frame of reference"),
            kvp: 120.0,
            patient_position: "HFS".into(),
            contrast: String::new(),
            windows: vec![Window::linear(200.0, 500.0)],
        };
        write_ct(&folder.join(format!("ct{slice}.dcm")), &context, &image).expect("written");
    }
    index_paths(&[folder.to_path_buf()], &Task::new()).expect("indexed")
}

/// What one reader draws: a polygon and an ellipse, a box, a length, and a painted spot.
pub(super) fn draw(project: &Project, reader: &str, index: &StudyIndex) {
    let series = &index.studies[0].series[0];
    let mut store = Store::open(&project.readings(reader).expect("a name"), &series.reading_uid(), "").expect("opens");
    let mut id = 0;
    let mut add = |slice: usize, kind, label: &str, points: &[(f64, f64)]| {
        let instance = &series.instances[slice];
        let display = FrameReader::open(&instance.source).and_then(|r| r.frame(0)).expect("decodes").display;
        let mut shape = Shape::new(kind, instance.key(), 0, points, &display);
        shape.label = (!label.is_empty()).then(|| label.to_owned());
        id += 1;
        store.apply(Edit::SetShape { id: ShapeId(id), shape: Some(Box::new(shape)) }).expect("kept");
    };
    add(0, ShapeKind::Polygon, "nodule", &[(5.2, 5.1), (5.4, 20.3), (17.7, 12.2)]);
    add(0, ShapeKind::Ellipse, "mass", &[(30.0, 20.0), (30.0, 40.0), (25.0, 30.0), (35.0, 30.0)]);
    add(1, ShapeKind::Rectangle, "nodule", &[(9.5, 19.5), (9.5, 29.5), (24.5, 29.5), (24.5, 19.5)]);
    add(1, ShapeKind::Length, "", &[(10.0, 10.0), (10.0, 20.0)]);
    let mask = MaskKey { instance: series.instances[2].key(), frame: 0, label: "effusion".into() };
    let spot = Runs::new(vec![(100, 7), (150, 5), (1999, 1)]);
    store.apply(Edit::Paint { mask, add: spot, remove: Runs::default() }).expect("kept");
}

pub(super) fn project(folder: &Path) -> Project {
    Project::create(folder, "Test", vec!["../images".into()], Taxonomy::default()).expect("made")
}

pub(super) fn done(project: &Project, reader: &str, index: &StudyIndex) {
    let case = Case { state: CaseState::Done, ..Case::default() };
    project.set_case(reader, &index.studies[0].series[0].reading_uid(), case).expect("kept");
}

#[test]
fn contours_of_a_structure_set_are_painted_on_their_images_holes_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let mut project = project(&folder.path().join("project"));
    // Rows are 0.7 mm, columns 0.8 mm; first pixel at (-20, 5.5).
    let square = |z: f64, [top, left, bottom, right]: [f64; 4]| {
        let at = |row: f64, column: f64| [-20.0 + 0.8 * column, 5.5 + 0.7 * row, z];
        [at(top, left), at(top, right), at(bottom, right), at(bottom, left)].concat()
    };
    let [first, second, other] = ["ct 0", "ct 1", "ct 9"].map(uid_from_name);
    let contours: [(&str, &[f64]); 5] = [
        (&first, &square(0.0, [9.5, 9.5, 19.5, 29.5])),
        (&first, &square(0.0, [11.5, 14.5, 15.5, 20.5])),
        (&second, &square(3.0, [0.5, 0.5, 3.5, 4.5])),
        (&other, &square(0.0, [0.5, 0.5, 3.5, 4.5])),
        (&second, &square(8.0, [0.5, 0.5, 3.5, 4.5])),
    ];
    let file = folder.path().join("rt.dcm");
    crate::dicom::structure_set::tests::write(&file, &contours);
    let imported =
        import_structure_set(&mut project, "ben", &index, &Source::file(&file), &Task::new()).expect("imported");
    assert_eq!((imported.frames, imported.annotations), (2, 2), "{imported:?}");
    assert_eq!(imported.problems.len(), 2, "{imported:?}");
    assert!(imported.problems.iter().any(|p| p.contains("5.0 mm beside")), "{imported:?}");
    assert!(imported.problems.iter().any(|p| p.contains("is not in the project")));
    let drawn = collect(&project, "ben", &index, 0, &Task::new()).expect("gathered");
    let areas: Vec<u64> = drawn.frames.iter().flat_map(|f| f.regions().into_values().map(|r| r.count())).collect();
    assert_eq!(areas, [10 * 20 - 4 * 6, 3 * 4]);
}

#[test]
fn a_segmentation_and_a_coco_file_bring_the_same_pixels_to_another_reader() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let mut project = project(&folder.path().join("project"));
    draw(&project, "anna", &index);
    done(&project, "anna", &index);
    let task = Task::new();
    let drawn = collect(&project, "anna", &index, 0, &task).expect("gathered");
    assert!(drawn.problems.is_empty(), "{:?}", drawn.problems);
    assert_eq!(drawn.frames.len(), 3);
    assert!(drawn.frames.iter().all(|frame| frame.complete));

    let out = folder.path().join("seg");
    let (written, problems) =
        export_segmentations(&project, "anna", &drawn.frames, &out, ("20260101", "120000")).expect("written");
    assert_eq!((written, problems.len()), (1, 0), "one series, one object");
    let imported = import_segmentation(&mut project, "ben", &index, &Source::file(out.join("001-ct.dcm")), &task)
        .expect("imported");
    assert_eq!((imported.frames, imported.annotations, imported.new_labels.len()), (3, 4, 0), "{imported:?}");

    let out = folder.path().join("coco");
    assert_eq!(export_coco(&project, &drawn.frames, &out).expect("written"), (3, 4), "a length has no place in COCO");
    let imported = import_coco(&mut project, "cleo", &index, &out.join("coco.json"), &task).expect("imported");
    assert_eq!((imported.frames, imported.annotations), (3, 4), "{imported:?}");

    // COCO has no ellipse: the polygon in its place may differ by a pixel here and there along the rim.
    for (other, least) in [("ben", 1.0), ("cleo", 0.95)] {
        done(&project, other, &index);
        let compared = compare(&project, ["anna", other], &index, &task).expect("compared");
        let [case] = compared.cases.as_slice() else { panic!("one series: {:?}", compared.cases) };
        assert_eq!((case.states, case.labels.len()), ([CaseState::Done; 2], 3));
        assert!(case.labels.iter().all(|label| label.given == [true; 2] && label.farthest.is_some()), "{case:?}");
        let rows = compared.labels;
        let of = |key: &str| rows.iter().find(|row| row.label == key).expect(key).clone();
        for (label, frames) in [("nodule", 2), ("mass", 1), ("effusion", 1)] {
            let row = of(label);
            assert_eq!((row.frames, row.series), (frames, [1, 0, 0, 0]), "{other} {label}");
            assert!(row.dice.is_some_and(|dice| dice >= least), "{other} {label}: {:?}", row.dice);
        }
        assert_eq!((of("fracture").dice, of("fracture").series), (None, [0, 0, 0, 1]));
    }
    // The file trains: the reader is done, so that what is not drawn counts as absent.
    let coco = crate::dataset::CocoDataset::load(&out.join("coco.json")).expect("COCO");
    assert_eq!(coco.images[0].annotated.len(), Taxonomy::default().labels.len());
    assert_eq!(coco.images[0].patient_id, project.pseudonym("4711"));
    let text = std::fs::read_to_string(out.join("coco.json")).expect("text");
    assert!(!text.contains("Doe") && !text.contains("4711"));
}

/// Label map of three slices: what was drawn comes back to the pixel, also with its axes in another order.
#[test]
fn a_label_map_brings_the_same_pixels_to_another_reader() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let mut project = project(&folder.path().join("project"));
    draw(&project, "anna", &index);
    let task = Task::new();
    let drawn = collect(&project, "anna", &index, 0, &task).expect("gathered");
    let out = folder.path().join("maps");
    let (written, problems) = export_label_maps(&project, &drawn.frames, &out, &task).expect("written");
    assert_eq!((written, problems.len()), (1, 0), "{problems:?}");
    let file = out.join("001-ct.nii.gz");
    let regions = |project: &Project, reader: &str| {
        let drawn = collect(project, reader, &index, 0, &task).expect("gathered");
        drawn.frames.iter().map(|frame| (frame.instance.key(), frame.regions())).collect::<Vec<_>>()
    };
    let imported = import_label_map(&mut project, "ben", &index, &file, &task).expect("imported");
    assert_eq!((imported.frames, imported.annotations, imported.new_labels.len()), (3, 4, 0), "{imported:?}");
    assert_eq!(regions(&project, "ben"), regions(&project, "anna"));

    // Without the file beside it: found by where it lies; numbers are names then.
    use nifti::{IntoNdArray, NiftiObject, ReaderOptions, writer::WriterOptions};
    let object = ReaderOptions::new().read_file(&file).expect("reads");
    let header = object.header().clone();
    let values = object.into_volume().into_ndarray::<u16>().expect("numbers");
    assert_eq!(values.shape(), [COLUMNS, ROWS, 3]);
    // Columns of 0.8, rows of 0.7, slices of 3 mm; left and back are negative in NIfTI.
    assert_eq!(
        (header.qform_code, header.sform_code),
        (0, 1),
        "a quaternion that says something else would win in ITK"
    );
    assert_eq!((header.srow_x, header.srow_y), ([-0.8, 0.0, 0.0, 20.0], [0.0, -0.7, 0.0, -5.5]));
    assert_eq!((header.srow_z, header.pixdim[1..4].to_vec()), ([0.0, 0.0, 3.0, 0.0], vec![0.8, 0.7, 3.0]));
    let other = folder.path().join("turned.nii");
    let turned = values.permuted_axes(ndarray::IxDyn(&[2, 0, 1])).as_standard_layout().into_owned();
    let turned = turned.slice_axis(ndarray::Axis(1), ndarray::Slice::new(0, None, -1)).to_owned();
    let turn = |row: [f32; 4]| [row[2], -row[0], row[1], row[3] + row[0] * (COLUMNS - 1) as f32];
    let mut header = header;
    (header.srow_x, header.srow_y, header.srow_z) = (turn(header.srow_x), turn(header.srow_y), turn(header.srow_z));
    WriterOptions::new(&other).reference_header(&header).write_nifti(&turned).expect("written");
    let imported = import_label_map(&mut project, "cleo", &index, &other, &task).expect("imported");
    assert_eq!((imported.annotations, imported.new_labels.len()), (4, 3), "{imported:?}");
    let pixels = |reader: &str| {
        let all = regions(&project, reader).into_iter();
        all.map(|(key, regions)| (key, regions.into_values().collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    let sorted = |mut all: Vec<(crate::study::InstanceKey, Vec<Runs>)>| {
        all.iter_mut().for_each(|(_, runs)| runs.sort_by_key(|runs| format!("{runs:?}")));
        all
    };
    assert_eq!(sorted(pixels("cleo")), sorted(pixels("anna")));

    // Half a pixel beside it, it lies on no image.
    header.srow_x[3] += 0.4;
    WriterOptions::new(&other).reference_header(&header).write_nifti(&turned).expect("written");
    let error = import_label_map(&mut project, "cleo", &index, &other, &task).expect_err("refused").to_string();
    assert!(error.contains("turned.nii") && error.contains("no series"), "{error}");
    std::fs::write(&other, b"no map").expect("written");
    assert!(import_label_map(&mut project, "cleo", &index, &other, &task).is_err());
}

/// A map of one image, in a place in the patient or in none, is laid by its affine: turned by another program, it comes back as it was; moved, it is refused.
#[test]
fn a_turned_map_of_one_image_is_turned_back() {
    use nifti::{IntoNdArray, NiftiObject, ReaderOptions, writer::WriterOptions};
    let folder = tempfile::tempdir().expect("a folder");
    images(&folder.path().join("ct"));
    let picture = folder.path().join("picture.png");
    image::GrayImage::from_fn(40, 40, |x, y| image::Luma([(x * 3 + y) as u8])).save(&picture).expect("written");
    for (number, source) in [folder.path().join("ct/ct1.dcm"), picture].into_iter().enumerate() {
        let index = index_paths(&[source], &Task::new()).expect("indexed");
        let mut project = project(&folder.path().join(format!("project {number}")));
        let series = &index.studies[0].series[0];
        let readings = project.readings("anna").expect("a name");
        let mut store = Store::open(&readings, &series.reading_uid(), "").expect("opens");
        let mask = MaskKey { instance: series.instances[0].key(), frame: 0, label: "nodule".into() };
        let add = Runs::new(vec![(100, 7), (150, 5), (1000, 3)]);
        store.apply(Edit::Paint { mask, add, remove: Runs::default() }).expect("kept");
        drop(store);
        let task = Task::new();
        let drawn = collect(&project, "anna", &index, 0, &task).expect("gathered");
        let out = folder.path().join(format!("maps {number}"));
        assert_eq!(export_label_maps(&project, &drawn.frames, &out, &task).expect("written"), (1, Vec::new()));
        let file = std::fs::read_dir(&out).expect("listed").filter_map(Result::ok).map(|entry| entry.path());
        let file = file.into_iter().find(|path| path.extension().is_some_and(|e| e == "gz")).expect("a map");
        let mut come_back = |reader: &str| {
            import_label_map(&mut project, reader, &index, &file, &task).map_err(|error| error.to_string())?;
            Ok::<_, String>(collect(&project, reader, &index, 0, &task).expect("gathered").frames[0].regions())
        };
        assert_eq!(come_back("ben").expect("imported"), drawn.frames[0].regions());

        let object = ReaderOptions::new().read_file(&file).expect("reads");
        let mut header = object.header().clone();
        let mut values = object.into_volume().into_ndarray::<u16>().expect("numbers");
        let write = |header: &nifti::NiftiHeader, values: &ndarray::ArrayD<u16>| {
            WriterOptions::new(&file).reference_header(header).write_nifti(values).expect("written");
        };
        // The first axis the other way round.
        let last = (values.shape()[0] - 1) as f32;
        values.invert_axis(ndarray::Axis(0));
        let values = values.as_standard_layout().into_owned();
        for row in [&mut header.srow_x, &mut header.srow_y, &mut header.srow_z] {
            row[3] += row[0] * last;
            row[0] = -row[0];
        }
        write(&header, &values);
        assert_eq!(come_back("cleo").expect("imported"), drawn.frames[0].regions());
        header.srow_y[3] += 0.3;
        write(&header, &values);
        assert!(come_back("dora").expect_err("moved").contains("does not lie on the pixels"));
        header.sform_code = 0;
        write(&header, &values);
        assert!(come_back("dora").expect_err("lies nowhere").contains("where it lies"));
    }
}

/// Where labels overlap, nothing is lost.
#[test]
fn overlapping_labels_take_two_maps() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let mut project = project(&folder.path().join("project"));
    let series = &index.studies[0].series[0];
    let mut store = Store::open(&project.readings("anna").expect("a name"), &series.reading_uid(), "").expect("opens");
    for (label, runs) in [("effusion", vec![(100, 7)]), ("nodule", vec![(104, 9)])] {
        let mask = MaskKey { instance: series.instances[1].key(), frame: 0, label: label.into() };
        store.apply(Edit::Paint { mask, add: Runs::new(runs), remove: Runs::default() }).expect("kept");
    }
    drop(store);
    let task = Task::new();
    let out = folder.path().join("maps");
    let drawn = collect(&project, "anna", &index, 0, &task).expect("gathered");
    assert_eq!(export_label_maps(&project, &drawn.frames, &out, &task).expect("written"), (2, Vec::new()));
    for name in ["001-ct.nii.gz", "001-ct-2.nii.gz"] {
        import_label_map(&mut project, "ben", &index, &out.join(name), &task).expect("imported");
    }
    let again = collect(&project, "ben", &index, 0, &task).expect("gathered");
    assert_eq!(again.frames[0].regions(), drawn.frames[0].regions());
}

#[test]
fn boxes_and_measurements_leave_with_the_right_numbers() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let project = project(&folder.path().join("project"));
    draw(&project, "anna", &index);
    let drawn = collect(&project, "anna", &index, 0, &Task::new()).expect("gathered");
    assert_eq!(export_yolo(&project, &drawn.frames, &folder.path().join("yolo")).expect("written"), (3, 4));
    let text = std::fs::read_to_string(folder.path().join("yolo/labels/000002-ct.txt")).expect("the second image");
    // Rows 10 to 24 and columns 20 to 29 of 40 by 50: centre (17.5, 25), 15 by 10.
    assert_eq!(text.trim(), "1 0.500000 0.437500 0.200000 0.375000");

    export_table(&project, &drawn.frames, folder.path()).expect("written");
    let table = std::fs::read_to_string(folder.path().join("measurements.csv")).expect("a table");
    let of = |kind: &str, quantity: &str| -> f64 {
        let line =
            table.lines().find(|line| line.contains(&format!(",{kind},")) && line.contains(&format!(",{quantity},")));
        let cells: Vec<&str> = line.unwrap_or_else(|| panic!("{kind} {quantity} in\n{table}")).split(',').collect();
        cells[10].parse().expect("a number")
    };
    assert!((of("Length", "length") - 8.0).abs() < 1e-4, "ten columns of 0.8 mm");
    assert!((of("Box", "area") - 15.0 * 0.7 * 10.0 * 0.8).abs() < 1e-3);
    assert_eq!(of("Box", "pixels"), 150.0);
    // Values are row * 10 + column.
    assert!((of("Box", "mean") - (17.0 * 10.0 + 24.5)).abs() < 1e-6);
    assert!(!table.contains("4711") && table.contains(&project.pseudonym("4711")));
}

#[test]
fn work_lists_are_kept_by_reader_and_wrong_names_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let place = folder.path().join("project");
    let project = project(&place);
    assert!(Project::create(&place, "again", Vec::new(), Taxonomy::default()).is_err());
    done(&project, "anna", &index);
    let again = Project::open(&place).expect("opens");
    assert_eq!(again, project);
    assert_eq!(again.readers().expect("listed"), ["anna"]);
    assert_eq!(again.work_list("anna").expect("a list").len(), 1);
    assert!(again.work_list("ben").expect("a list").is_empty());
    for wrong in ["", "..", "a/b", "a b", &"x".repeat(65)] {
        assert!(matches!(again.readings(wrong), Err(ProjectError::Reader(_))), "{wrong}");
    }
    std::fs::write(place.join("project.json"), "{}").expect("written");
    let error = Project::open(&place).expect_err("no project").to_string();
    assert!(error.contains("project.json"), "{error}");
}

#[test]
fn a_damaged_journal_and_absent_images_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let project = project(&folder.path().join("project"));
    draw(&project, "anna", &index);
    std::fs::write(project.readings("anna").expect("a name").join("torn.session.jsonl"), "{\"li").expect("written");
    let drawn = collect(&project, "anna", &index, 0, &Task::new()).expect("gathered");
    assert_eq!((drawn.frames.len(), drawn.problems.len()), (3, 1));
    assert!(drawn.problems[0].contains("torn"), "{:?}", drawn.problems);
    let nothing = StudyIndex::default();
    let drawn = collect(&project, "anna", &nothing, 0, &Task::new()).expect("gathered");
    assert!(drawn.frames.is_empty() && drawn.problems.iter().any(|problem| problem.contains("not among the sources")));
}

#[test]
fn the_session_that_was_changed_last_counts_and_takes_what_is_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = images(&folder.path().join("images"));
    let mut project = project(&folder.path().join("project"));
    draw(&project, "anna", &index);
    let series = &index.studies[0].series[0];
    let place = project.readings("anna").expect("a name");
    std::thread::sleep(std::time::Duration::from_millis(20));
    let mut other = Store::open(&place, &series.reading_uid(), "other weights").expect("opens");
    // What was drawn is carried over into the next session; here the polygon is taken away.
    other.apply(Edit::SetShape { id: ShapeId(1), shape: None }).expect("kept");
    drop(other);
    let task = Task::new();
    let drawn = collect(&project, "anna", &index, 0, &task).expect("gathered");
    assert_eq!((drawn.frames.len(), drawn.frames[0].shapes.len()), (3, 1), "{:?}", drawn.problems);
    assert!(matches!(drawn.problems.as_slice(), [one] if one.contains("the latest is taken")), "{:?}", drawn.problems);

    let out = folder.path().join("coco");
    export_coco(&project, &drawn.frames, &out).expect("written");
    import_coco(&mut project, "anna", &index, &out.join("coco.json"), &task).expect("imported");
    let again = collect(&project, "anna", &index, 0, &task).expect("gathered");
    assert_eq!(again.frames[0].shapes.len(), 2, "the polygon in the ellipse's place has joined it");
    assert_eq!(
        again.frames[2].regions(),
        drawn.frames[2].regions(),
        "the same pixels painted once more change nothing"
    );
}

#[test]
fn kappa_is_cohens() {
    // Cohen's own kind of example: 20 both, 5 and 10 alone, 15 neither: observed 0.7, chance 0.5.
    assert!((kappa([20, 5, 10, 15]).expect("defined") - 0.4).abs() < 1e-12);
    assert_eq!(kappa([5, 0, 0, 5]), Some(1.0));
    assert_eq!(kappa([7, 0, 0, 0]), None, "chance alone makes them agree");
    assert_eq!(kappa([0, 0, 0, 0]), None);
}
