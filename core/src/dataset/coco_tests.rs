use std::path::PathBuf;

use super::*;

fn load(json: &str) -> Result<CocoDataset, DatasetError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("coco.json");
    std::fs::write(&path, json).expect("written");
    CocoDataset::load(&path)
}

const HEAD: &str = r#""categories":[{"id":1,"name":"opacity"},{"id":2,"name":"lung"}],"images":[
    {"id":7,"file_name":"a.png","width":4,"height":3},
    {"id":8,"file_name":"b.png","width":4,"height":3,"patient_id":"x","annotated_category_ids":[2],"source":"s","view":null}]"#;

fn with(annotation: &str) -> String {
    format!("{{{HEAD},\"annotations\":[{annotation}]}}")
}

#[test]
fn plain_coco_counts_for_everything() {
    let data = load(&with("")).expect("valid");
    assert_eq!(data.categories, ["opacity", "lung"]);
    assert_eq!(data.images[0].patient_id, "image 7");
    assert_eq!(data.images[0].annotated.len(), 2);
    assert!(data.images[0].file.is_absolute() && data.images[0].file.ends_with("a.png"));
    assert_eq!(data.images[1].annotated.iter().collect::<Vec<_>>(), ["lung"]);
    assert_eq!((data.images[1].patient_id.as_str(), data.images[1].source.as_str()), ("x", "s"));
    assert_eq!(data.position(8), Some(1));
}

#[test]
fn all_forms_of_annotation_draw_the_same_block() {
    // Rows 1 and 2, columns 1 and 2 of a 3 x 4 image.
    let forms = [
        r#"{"id":1,"image_id":7,"category_id":1,"bbox":[1,1,2,2]}"#,
        r#"{"id":1,"image_id":7,"category_id":1,"bbox":[1,1,2,2],"segmentation":[[1,1,3,1,3,3,1,3]]}"#,
        r#"{"id":1,"image_id":7,"category_id":1,"kind":"mask","segmentation":{"size":[3,4],"counts":[4,2,1,2,3]}}"#,
        r#"{"id":1,"image_id":7,"category_id":1,"segmentation":{"size":[3,4],"counts":"42102"}}"#,
    ];
    let expected = ndarray::array![[0u8, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0]];
    for form in forms {
        let data = load(&with(form)).unwrap_or_else(|error| panic!("{form}: {error}"));
        let shape = &data.images[0].shapes[0];
        assert_eq!(shape.category, "opacity");
        assert_eq!(shape.geometry.to_mask(3, 4), expected, "{form}");
        for ((row, column), value) in expected.indexed_iter() {
            assert_eq!(shape.geometry.contains(row as f32, column as f32), *value == 1, "{form} at {row}, {column}");
        }
    }
}

#[test]
fn concave_polygons_keep_their_notch() {
    // A U: the middle column is open from above.
    let ring = vec![(0.0, 0.0), (1.0, 0.0), (1.0, 2.0), (2.0, 2.0), (2.0, 0.0), (3.0, 0.0), (3.0, 3.0), (0.0, 3.0)];
    let mask = Geometry::Polygon(vec![ring]).to_mask(3, 3);
    assert_eq!(mask, ndarray::array![[1u8, 0, 1], [1, 0, 1], [1, 1, 1]]);
}

#[test]
fn boxes_beyond_the_image_are_cut() {
    let shape = Geometry::Box { x: -5.0, y: 1.5, width: 6.6, height: 100.0 };
    assert_eq!(shape.to_mask(3, 3), ndarray::array![[0u8, 0, 0], [1, 1, 0], [1, 1, 0]]);
    let far = Geometry::Box { x: 50.0, y: 50.0, width: 2.0, height: 2.0 };
    assert_eq!(far.to_mask(3, 3).sum(), 0);
}

#[test]
fn errors_name_file_item_and_field() {
    let cases = [
        (with(r#"{"id":5,"image_id":9,"category_id":1,"bbox":[1,1,2,2]}"#), "annotation 5 of image 9, field image_id"),
        (with(r#"{"id":5,"image_id":7,"category_id":3,"bbox":[1,1,2,2]}"#), "field category_id"),
        (with(r#"{"id":5,"image_id":7,"category_id":1}"#), "field bbox"),
        (with(r#"{"id":5,"image_id":7,"category_id":1,"bbox":[1,1,-2,2]}"#), "field bbox"),
        (with(r#"{"id":5,"image_id":7,"category_id":1,"kind":"mask","bbox":[1,1,2,2]}"#), "field segmentation"),
        (with(r#"{"id":5,"image_id":7,"category_id":1,"kind":"cube","bbox":[1,1,2,2]}"#), "field kind"),
        (with(r#"{"id":5,"image_id":7,"category_id":1,"segmentation":{"size":[4,3],"counts":"42102"}}"#), "4 x 3"),
        (with(r#"{"id":5,"image_id":7,"category_id":1,"segmentation":{"size":[3,4],"counts":"4"}}"#), "cover 4"),
        (
            with(r#"{"id":5,"image_id":7,"category_id":1,"segmentation":{"size":[3,4],"counts":[4294967295]}}"#),
            "segmentation.counts",
        ),
        (with(r#"{"id":5,"image_id":7,"category_id":1,"segmentation":[[1,2,3]]}"#), "field segmentation"),
        (HEAD_WITH_SIZE.replace("SIZE", "0"), "image 7, field width"),
        (HEAD_WITH_SIZE.replace("SIZE", "99999999999"), "image 7, field width"),
        ("{".to_owned(), "not a COCO file"),
        (HEAD_WITH_SIZE.replace("SIZE", "-3"), "not a COCO file"),
    ];
    for (json, expected) in cases {
        let error = load(&json).expect_err(expected).to_string();
        assert!(error.contains(expected) && error.contains("coco.json"), "{error} lacks {expected}");
    }
}

const HEAD_WITH_SIZE: &str =
    r#"{"categories":[],"images":[{"id":7,"file_name":"a.png","width":SIZE,"height":3}],"annotations":[]}"#;

fn chest_xrays() -> Option<CocoDataset> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/chest-xray/coco.json");
    if !path.exists() {
        println!("skipped: no chest radiographs at {}", path.display());
        return None;
    }
    Some(CocoDataset::load(&path).expect("the chest radiographs load"))
}

#[test]
fn chest_radiographs_match_their_description() {
    let Some(data) = chest_xrays() else { return };
    let patients: BTreeSet<&str> = data.images.iter().map(|image| image.patient_id.as_str()).collect();
    assert_eq!((data.images.len(), patients.len()), (1002, 659));
    let of = |source: &str| data.images.iter().filter(|image| image.source == source).count();
    assert_eq!((of("nih"), of("covid-seg"), of("covid-lungs")), (786, 44, 172));
    let read = |text: &str| data.images.iter().filter(|i| i.radiologist_read.as_deref() == Some(text)).count();
    assert_eq!(
        (read("Lung Opacity"), read("No Lung Opacity / Not Normal"), read("Normal")),
        (100, 105, 56),
        "readings of RSNA"
    );
    let boxes = data.images.iter().flat_map(|i| &i.shapes).filter(|s| s.category == "lung_opacity").count();
    assert_eq!(boxes, 161);
    let opacity = crate::dataset::ClassMap {
        class: "lung_opacity".into(),
        any_of: vec![vec!["lung_opacity".into()], vec!["ground_glass_opacity".into(), "consolidation".into()]],
    };
    let labels: Vec<bool> = data.images.iter().filter_map(|image| opacity.label(image)).collect();
    assert_eq!((labels.len(), labels.iter().filter(|l| **l).count()), (261 + 44, 100 + 44));
}

#[test]
fn masks_of_chest_radiographs_have_the_area_that_the_file_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/chest-xray/coco.json");
    let Some(data) = chest_xrays() else { return };
    let text = std::fs::read_to_string(path).expect("readable");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut areas: HashMap<u64, Vec<usize>> = HashMap::new();
    for annotation in json["annotations"].as_array().expect("annotations") {
        if annotation["kind"] == "mask" {
            let area = annotation["area"].as_f64().expect("an area") as usize;
            areas.entry(annotation["image_id"].as_u64().expect("an id")).or_default().push(area);
        }
    }
    let mut compared = 0;
    for image in &data.images {
        let own: Vec<usize> = image
            .shapes
            .iter()
            .filter_map(|shape| match &shape.geometry {
                Geometry::Mask(rle) => Some(rle.area()),
                _ => None,
            })
            .collect();
        assert_eq!(own, areas.remove(&image.id).unwrap_or_default(), "image {}", image.id);
        compared += own.len();
    }
    assert_eq!(compared, 404);
}

#[test]
fn an_image_folder_may_lie_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("coco.json");
    std::fs::write(&path, with("")).expect("written");
    let data = CocoDataset::load_with_images(&path, Path::new("/elsewhere")).expect("valid");
    assert!(data.images[0].file.ends_with(PathBuf::from("elsewhere/a.png")));
}
