//! Images of two dark fields in a bright body; every second one has a bright spot.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use bifocal_core::annotation::{Edit, Label, Shape, ShapeId, ShapeKind, Store, Taxonomy};
use bifocal_core::dicom::{index_paths, pixels::FrameReader};
use bifocal_core::model::Device;
use bifocal_core::project::{Case, CaseState, Project};
use bifocal_core::study::StudyIndex;
use bifocal_core::task::Task;
use bifocal_core::train::{TrainConfig, finish, train};

/// Where the spot of image `id` is: row, column.
pub fn spot(id: u32) -> (u32, u32) {
    (20 + id % 3 * 8, if id.is_multiple_of(4) { 18 } else { 46 })
}

/// Image `id`, 64 x 64; even ones have a spot of 9 x 9 pixels.
pub fn picture(id: u32) -> image::GrayImage {
    let (spot, ill) = (spot(id), id.is_multiple_of(2));
    image::GrayImage::from_fn(64, 64, |x, y| {
        let lung = (12..52).contains(&y) && ((8..28).contains(&x) || (36..56).contains(&x));
        let near = x.abs_diff(spot.1) <= 4 && y.abs_diff(spot.0) <= 4;
        let texture = (x * 7 + y * 13 + id * 29) % 23;
        image::Luma([(if ill && near {
            190
        } else if lung {
            60
        } else {
            150
        }) + texture as u8])
    })
}

/// Twelve 64 x 64 images of twelve patients: two dark fields in a bright body; every second image has a bright spot in one.
pub fn write_dataset(folder: &Path) {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for id in 0..12u32 {
        let (spot, ill) = (spot(id), id.is_multiple_of(2));
        let picture = picture(id);
        picture.save(folder.join(format!("{id}.png"))).unwrap();
        images.push(format!(
            r#"{{"id":{id},"file_name":"{id}.png","width":64,"height":64,"patient_id":"p{id}","source":"s","annotated_category_ids":[1,2,3]}}"#
        ));
        let mut add = |category: u32, shape: String| {
            let number = annotations.len();
            annotations.push(format!(r#"{{"id":{number},"image_id":{id},"category_id":{category},{shape}}}"#));
        };
        if ill {
            add(1, format!(r#""bbox":[{},{},9,9]"#, spot.1 - 4, spot.0 - 4));
        }
        add(2, r#""segmentation":[[36,12,56,12,56,52,36,52]]"#.into());
        add(3, r#""segmentation":[[8,12,28,12,28,52,8,52]]"#.into());
    }
    let categories = r#"[{"id":1,"name":"spot"},{"id":2,"name":"left"},{"id":3,"name":"right"}]"#;
    let text = format!(
        r#"{{"categories":{categories},"images":[{}],"annotations":[{}]}}"#,
        images.join(","),
        annotations.join(",")
    );
    std::fs::write(folder.join("coco.json"), text).unwrap();
}

pub fn config(folder: &Path) -> TrainConfig {
    let text = format!(
        r#"
seed = 3
batch = 4
weight_decay = 0.01
ema_decay = 0.9
clip_norm = 2.0
[data]
coco = "{}"
validation_fraction = 0.25
split_seed = 1
lesions = [{{ class = "spot", any_of = [["spot"]] }}]
organs = [{{ class = "left", any_of = [["left"]] }}, {{ class = "right", any_of = [["right"]] }}]
mirrored = [["left", "right"]]
[model]
input_size = 64
head_channels = 16
lesions = ["spot"]
organs = ["left", "right"]
resnet = {{ channels = [16, 16], blocks = [1, 1], norm_groups = 8 }}
transformer = {{ dimension = 16, depth = 1, heads = 2, mlp_ratio = 2, grid = [4, 4] }}
[augmentation]
mirror = 0.2
[[stages]]
name = "first"
steps = 30
rate = 1e-2
bypass_transformer = true
sampling = {{ organs = 1.0 }}
[[stages]]
name = "second"
steps = 20
rate = 5e-3
dropout = 0.2
pseudo_organ_weight = 0.3
sampling = {{ organs = 0.5, positive = 0.3, negative = 0.2 }}
[bundle]
id = "spots"
name = "Spots"
version = "1.0.0"
display = ["Spot", "Left", "Right"]
false_positive_rate = 0.2
licence = "none"
data = ["simulated"]
intended_use = {{ statement = "a test", modalities = ["OT"], body_parts = [], views = [], limits = [] }}
"#,
        folder.join("coco.json").display()
    );
    toml::from_str(&text).unwrap()
}

/// Patients of [`project`].
pub const PATIENTS: u32 = 20;

/// A bundle that has seen other images of the kind, hardly trained.
pub fn parent(folder: &Path) -> PathBuf {
    let data = folder.join("parent-data");
    std::fs::create_dir_all(&data).unwrap();
    write_dataset(&data);
    let mut config = config(&data);
    config.stages.truncate(1);
    config.stages[0].steps = 10;
    config.bundle.concepts.insert("spot".into(), bifocal_core::study::CodedConcept::new("52988006", "SCT", "Lesion"));
    let weights = train(&config, &folder.join("parent-run"), &Device::Cpu, &Task::new()).unwrap();
    let bundle = folder.join("spots");
    finish(&config, &weights, &bundle, &Device::Cpu, "2026-01-01", &Task::new()).unwrap();
    bundle
}

/// A folder for each patient with one picture; even ones show a spot, which the reader has boxed under a label that fits by its code. All are done
/// but the last, which is begun.
pub fn project(folder: &Path) -> (Project, StudyIndex) {
    let images = folder.join("images");
    for id in 0..PATIENTS {
        let place = images.join(format!("patient{id:02}"));
        std::fs::create_dir_all(&place).unwrap();
        // Other numbers than the parent's images have, and of the same oddness.
        picture(id + 100).save(place.join("image.png")).unwrap();
    }
    let index = index_paths(&[images], &Task::new()).unwrap();
    let mut labels = Taxonomy::default();
    labels.labels.truncate(2);
    labels.labels.push(Label { key: "artefact".into(), concept: None, digit: None, ..labels.labels[1].clone() });
    let project = Project::create(&folder.join("project"), "Spots", vec!["../images".into()], labels).unwrap();
    for study in &index.studies {
        let series = &study.series[0];
        let source = &series.instances[0].source;
        let id: u32 = source.file.parent().unwrap().file_name().unwrap().to_str().unwrap()[7..].parse().unwrap();
        let state = if id == PATIENTS - 1 { CaseState::InProgress } else { CaseState::Done };
        project.set_case("anna", &series.reading_uid(), Case { state, ..Case::default() }).unwrap();
        let display = FrameReader::open(source).unwrap().frame(0).unwrap().display;
        let draw = |kind, corners: &[(f64, f64)]| Shape::new(kind, series.instances[0].key(), 0, corners, &display);
        let mut store = Store::open(&project.readings("anna").unwrap(), &series.reading_uid(), "").unwrap();
        let mut add =
            |id, shape| store.apply(Edit::SetShape { id: ShapeId(id), shape: Some(Box::new(shape)) }).unwrap();
        // A measurement without label says nothing about any class.
        add(1, draw(ShapeKind::Length, &[(2.0, 2.0), (2.0, 9.0)]));
        if id.is_multiple_of(2) {
            let (row, column) = spot(id + 100);
            let (top, left) = (f64::from(row) - 4.5, f64::from(column) - 4.5);
            let corners = [(top, left), (top, left + 9.0), (top + 9.0, left + 9.0), (top + 9.0, left)];
            let mut shape = draw(ShapeKind::Rectangle, &corners);
            shape.label = Some("lesion".into());
            add(2, shape);
        }
    }
    (project, index)
}
