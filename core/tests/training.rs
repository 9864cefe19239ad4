//! A whole training run on a small simulated data set: it learns, it resumes as if it had not stopped, and its result is a bundle.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use bifocal_core::model::Bundle;
use bifocal_core::task::Task;
use bifocal_core::train::{TrainConfig, TrainError, best_or_last, dry_run, finish, train};

/// Twelve 64 x 64 images of twelve patients: two dark fields in a bright body; every second image has a bright spot in one.
fn write_dataset(folder: &Path) {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for id in 0..12u32 {
        let spot = (20 + id % 3 * 8, if id % 4 == 0 { 18 } else { 46 });
        let ill = id % 2 == 0;
        let picture = image::GrayImage::from_fn(64, 64, |x, y| {
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
        });
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

fn config(folder: &Path) -> TrainConfig {
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

fn losses(run: &Path, split: &str) -> Vec<f64> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["split"] == split).map(|line| line["organ_loss"].as_f64().unwrap()).collect()
}

#[test]
fn a_run_learns_resumes_and_becomes_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    write_dataset(folder.path());
    let config = config(folder.path());

    let whole = folder.path().join("whole");
    let weights = train(&config, &whole, &Task::new()).unwrap();
    let validation = losses(&whole, "validation");
    assert!(validation.last().unwrap() < &1.0, "{validation:?}: 1.4 is what an untrained network says");
    assert_eq!(weights.len(), best_or_last(&whole).unwrap().len());

    // Stopped in the middle of the second stage, then resumed: the same weights, number for number.
    let parted = folder.path().join("parted");
    let handle: Arc<Mutex<Option<Task>>> = Arc::default();
    let seen = handle.clone();
    let task = Task::with_listener(move |progress| {
        if progress.stage == "Stage second"
            && progress.done == 7
            && let Some(task) = seen.lock().unwrap().as_ref()
        {
            task.cancel();
        }
    });
    *handle.lock().unwrap() = Some(task.clone());
    assert!(matches!(train(&config, &parted, &task), Err(TrainError::Cancelled(_))));
    let resumed = train(&config, &parted, &Task::new()).unwrap();
    for (name, tensor) in &weights {
        let values = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(tensor), values(&resumed[name]), "{name}");
    }

    // Another configuration does not mix into the folder.
    let mut other = config.clone();
    other.seed = 4;
    assert!(matches!(train(&other, &parted, &Task::new()), Err(TrainError::Config(_))));

    let models = folder.path().join("models");
    let metadata = finish(&config, &weights, &models.join("spots"), "2026-01-01", &Task::new()).unwrap();
    assert!(metadata.metrics.contains_key("dice.left"), "{:?}", metadata.metrics.keys());
    let bundle = Bundle::load(&models.join("spots"), candle_core::Device::Cpu, "CPU".into()).unwrap();
    assert_eq!(bundle.metadata.weights_sha256, metadata.weights_sha256);

    // A run that starts from the bundle starts where it stood.
    let mut again = config.clone();
    again.start_from = Some(models.join("spots"));
    again.opacities.transplanted = 0.5;
    again.stages[1].steps = 1;
    again.stages.remove(0);
    let plan = dry_run(&again, 0, &Task::new()).unwrap();
    assert_eq!(plan.sheet.dim(), (2 * 68, 2 * 68, 3), "four images of 64 with gaps of 4");
    assert!(plan.sheet.iter().any(|v| *v > 0));
    assert_eq!(plan.stages.len(), 1);
    assert!(plan.stages[0].pools.iter().all(|(_, share, count)| *share > 0.0 && *count > 0));
    let first = folder.path().join("again");
    train(&again, &first, &Task::new()).unwrap();
    let (start, end) = (losses(&first, "validation")[0], *validation.last().unwrap());
    assert!((start - end).abs() < 0.1, "{start} after one step from {end}");
    again.model.head_channels = 24;
    let error = train(&again, &folder.path().join("other"), &Task::new()).unwrap_err().to_string();
    assert!(error.contains("start_from"), "{error}");
}
