//! A whole training run on a small simulated data set: it learns, it resumes as if it had not stopped, and its result is a bundle.

#![allow(clippy::unwrap_used)]

#[path = "support/spots.rs"]
mod spots;

use std::path::Path;
use std::sync::{Arc, Mutex};

use bifocal_core::model::Bundle;
use bifocal_core::model::Device;
use bifocal_core::task::Task;
use bifocal_core::train::{TrainError, best_or_last, dry_run, finish, train};
use spots::{config, write_dataset};

fn losses(run: &Path, split: &str) -> Vec<f64> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["split"] == split).map(|line| line["organ_loss"].as_f64().unwrap()).collect()
}

/// Step and split of each line.
fn log(run: &Path) -> Vec<(u64, String)> {
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|line| (line["step"].as_u64().unwrap(), line["split"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_run_learns_resumes_and_becomes_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    write_dataset(folder.path());
    let config = config(folder.path());

    let whole = folder.path().join("whole");
    let weights = train(&config, &whole, &Device::Cpu, &Task::new()).unwrap();
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
    assert!(matches!(train(&config, &parted, &Device::Cpu, &task), Err(TrainError::Cancelled(_))));
    let resumed = train(&config, &parted, &Device::Cpu, &Task::new()).unwrap();
    for (name, tensor) in &weights {
        let values = |t: &candle_core::Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(tensor), values(&resumed[name]), "{name}");
    }

    assert_eq!(log(&whole), log(&parted), "nothing is logged twice");
    assert!(image::open(parted.join("curves.png")).unwrap().width() > 600);

    // Another configuration does not mix into the folder.
    let mut other = config.clone();
    other.seed = 4;
    assert!(matches!(train(&other, &parted, &Device::Cpu, &Task::new()), Err(TrainError::Config(_))));

    let models = folder.path().join("models");
    let metadata = finish(&config, &weights, &models.join("spots"), &Device::Cpu, "2026-01-01", &Task::new()).unwrap();
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
    train(&again, &first, &Device::Cpu, &Task::new()).unwrap();
    let (start, end) = (losses(&first, "validation")[0], *validation.last().unwrap());
    assert!((start - end).abs() < 0.1, "{start} after one step from {end}");
    // A detector joins it with random weights, beside what the other heads have learned.
    let mut boxes = again.clone();
    let detection = bifocal_core::model::DetectionConfig {
        channels: 8,
        hidden: 16,
        first_stage: 1,
        anchor_sizes: vec![8.0, 16.0, 32.0],
        ..Default::default()
    };
    boxes.model.detection = Some(detection);
    boxes.stages[0].steps = 20;
    let run = folder.path().join("boxes");
    let weights = train(&boxes, &run, &Device::Cpu, &Task::new()).unwrap();
    assert!((losses(&run, "validation")[0] - end).abs() < 0.2);
    let metadata = finish(&boxes, &weights, &models.join("boxes"), &Device::Cpu, "2026-01-01", &Task::new()).unwrap();
    for key in ["froc_boxes.spot", "ap50_boxes.spot", "froc_map_boxes.spot", "ap50_map_boxes.spot"] {
        assert!(metadata.metrics.contains_key(key), "{key}: {:?}", metadata.metrics.keys());
    }
    assert!(metadata.lesions[0].box_threshold.is_some());
    let bundle = Bundle::load(&models.join("boxes"), candle_core::Device::Cpu, "CPU".into()).unwrap();
    let image = ndarray::Array2::from_shape_fn((80, 60), |(r, c)| (r * c % 97) as f32);
    let found = bifocal_core::analysis::infer(&bundle, &bifocal_core::model::NetworkImage::gray(image.view()), false)
        .unwrap()
        .boxes
        .unwrap();
    assert!(found.iter().all(|b| b.bounds.x2 <= 60.0 && b.bounds.y2 <= 80.0 && b.class == 0), "{found:?}");
    // With patience the stage ends once nothing is gained: at that rate nothing ever is.
    again.stages[0] =
        bifocal_core::train::StageConfig { steps: 12, rate: 1e-12, patience: 2, ..again.stages[0].clone() };
    again.validate_every = 2;
    let patient = folder.path().join("patient");
    train(&again, &patient, &Device::Cpu, &Task::new()).unwrap();
    let last = log(&patient).last().unwrap().0;
    assert!((4..12).contains(&last), "{last}: it went on");
    again.data.validation_patients = vec!["p3".into(), "p4".into()];
    let plan = dry_run(&again, 0, &Task::new()).unwrap();
    assert_eq!(plan.images, (10, 2), "patients by name");
    again.model.head_channels = 24;
    let error = train(&again, &folder.path().join("other"), &Device::Cpu, &Task::new()).unwrap_err().to_string();
    assert!(error.contains("start_from"), "{error}");
}

#[test]
fn further_losses_accumulation_and_layer_decay_leave_a_plain_network() {
    let folder = tempfile::tempdir().unwrap();
    write_dataset(folder.path());
    let mut config = config(folder.path());
    config.losses = bifocal_core::train::LossConfig { focal: 2.0, deep_supervision: 0.3 };
    config.accumulate = 2;
    config.batch = 2;
    config.stages.iter_mut().for_each(|stage| stage.layer_decay = 0.75);
    let run = folder.path().join("run");
    let weights = train(&config, &run, &Device::Cpu, &Task::new()).unwrap();
    let validation = losses(&run, "validation");
    assert!(validation.last().unwrap() < &1.1, "{validation:?}: 1.4 is what an untrained network says");
    assert!(weights.keys().all(|name| !name.starts_with("auxiliary.")));
    let checkpoint = candle_core::safetensors::load(run.join("checkpoint.safetensors"), &candle_core::Device::Cpu);
    assert!(checkpoint.unwrap().keys().any(|name| name.contains("auxiliary.organ.weight")), "a run goes on with them");
    let out = folder.path().join("bundle");
    finish(&config, &weights, &out, &Device::Cpu, "2026-01-01", &Task::new()).unwrap();
    Bundle::load(&out, candle_core::Device::Cpu, "CPU".into()).unwrap();

    // Values that are computed again change nothing but the rounding of sums.
    config.recompute = true;
    let again = folder.path().join("again");
    train(&config, &again, &Device::Cpu, &Task::new()).unwrap();
    let (kept, again) = (losses(&run, "train")[0], losses(&again, "train")[0]);
    assert!((kept - again).abs() < 1e-3 * kept, "{kept} {again}");

    config.stages[0].layer_decay = 1.5;
    assert!(config.validate().unwrap_err().contains("layer_decay"));
    config.accumulate = 0;
    assert!(config.validate().unwrap_err().contains("accumulate"));
}
