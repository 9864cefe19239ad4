use std::path::Path;

use super::*;
use crate::dataset::UnionTarget;

/// Four 8 x 8 images of three patients: a box in image 1, organs in images 1 and 2, nothing annotated on image 4.
const COCO: &str = r#"{"categories":[{"id":1,"name":"opacity"},{"id":2,"name":"left"},{"id":3,"name":"right"},{"id":4,"name":"both"}],
"images":[
 {"id":1,"file_name":"1.png","width":8,"height":8,"patient_id":"a","source":"s","annotated_category_ids":[1,2,3]},
 {"id":2,"file_name":"2.png","width":8,"height":8,"patient_id":"b","source":"t","annotated_category_ids":[1,4]},
 {"id":3,"file_name":"3.png","width":8,"height":8,"patient_id":"b","source":"t","annotated_category_ids":[1,2]},
 {"id":4,"file_name":"4.png","width":8,"height":8,"patient_id":"c","source":"t","annotated_category_ids":[]}],
"annotations":[
 {"id":1,"image_id":1,"category_id":1,"bbox":[0,0,2,2]},
 {"id":2,"image_id":1,"category_id":2,"segmentation":[[0,0,4,0,4,8,0,8]]},
 {"id":3,"image_id":1,"category_id":3,"segmentation":[[4,0,8,0,8,8,4,8]]},
 {"id":4,"image_id":2,"category_id":4,"segmentation":[[0,0,8,0,8,4,0,4]]}]}"#;

fn dataset(folder: &Path) -> CocoDataset {
    for id in 1..=4u8 {
        image::GrayImage::from_pixel(8, 8, image::Luma([id])).save(folder.join(format!("{id}.png"))).expect("written");
    }
    std::fs::write(folder.join("coco.json"), COCO).expect("written");
    CocoDataset::load(&folder.join("coco.json")).expect("valid")
}

fn classes() -> Classes {
    Classes {
        lesions: vec![ClassMap::same("opacity")],
        organs: vec![ClassMap::same("left"), ClassMap::same("right")],
        unions: vec![UnionTarget {
            target: ClassMap {
                class: "both".into(),
                any_of: vec![vec!["both".into()], vec!["left".into(), "right".into()]],
            },
            classes: vec!["left".into(), "right".into()],
        }],
    }
}

/// Knows the left organ, calls everything left of the middle right, and finds the opacity in image 1 only.
struct Half;

impl Predictor for Half {
    fn predict(&self, frame: &Frame) -> Result<ImagePrediction, String> {
        let id = frame.value_at(0, 0).ok_or("no pixels")?;
        let left = Array2::from_shape_fn((8, 8), |(_, c)| if c < 4 { 0.9 } else { 0.1 });
        let heat_map = Array2::from_shape_fn((8, 8), |at| if at == (1, 1) { 0.8 } else { 0.1 });
        let lesion = LesionPrediction {
            label: "opacity".into(),
            probability: if id == 1.0 { 0.8 } else { 0.2 },
            heat_map,
            findings: vec![(1.0, 1.0, 0.8), (6.0, 6.0, 0.3)],
            map_boxes: vec![(BoundingBox::new(0.0, 0.0, 2.0, 2.0), 0.8)],
            boxes: (id == 1.0).then(|| {
                // One that fits, one too large whose centre is on the lesion, one elsewhere.
                let bounds = [[0.0, 0.0, 2.0, 3.0], [0.0, 0.0, 3.0, 3.0], [4.0, 4.0, 8.0, 8.0]];
                let bounds = bounds.map(|b| BoundingBox::new(b[0], b[1], b[2], b[3]));
                bounds.into_iter().zip([0.9, 0.6, 0.7]).collect()
            }),
        };
        Ok(ImagePrediction {
            lesions: vec![lesion],
            organs: vec![("left".into(), left.clone()), ("right".into(), left)],
        })
    }
}

fn run(predictor: &dyn Predictor, indices: &[usize]) -> Result<Evaluation, EvaluateError> {
    let folder = tempfile::tempdir().expect("a folder");
    let data = dataset(folder.path());
    let options = EvaluateOptions { resamples: 50, ..EvaluateOptions::default() };
    evaluate(&data, indices, &classes(), predictor, &options, &Task::new())
}

#[test]
fn images_count_only_where_they_are_annotated() {
    let evaluation = run(&Half, &[0, 1, 2, 3]).expect("measured");
    let metric = |key: &str| evaluation.metrics.get(key).map(|m| (m.value, m.n));
    assert_eq!((evaluation.images, evaluation.patients), (4, 3));
    assert_eq!(metric("auroc.opacity"), Some((1.0, 3)));
    assert_eq!(metric("pointing.opacity"), Some((1.0, 1)));
    // Three images, one lesion. Scores 0.8: one hit and two alarms (images 2, 3); 0.3: three more alarms. Curve (0, 0), (2/3, 1):
    // 1/8, 1/4, 1/2 read 3/16, 3/8, 3/4, the others 1.
    let froc = metric("froc.opacity").expect("defined");
    assert!((froc.0 - (0.1875 + 0.375 + 0.75 + 4.0) / 7.0).abs() < 1e-9, "{froc:?}");
    assert_eq!(froc.1, 3);
    // Boxes of the map: a hit, and then, at the same score, two alarms on the images without lesion.
    assert_eq!(metric("ap50_map_boxes.opacity"), Some((1.0, 3)));
    assert!((metric("froc_map_boxes.opacity").expect("defined").0 - froc.0).abs() < 1e-9, "centres are the peaks");
    // Boxes of the detector, on image 1 alone: the best fits, the others come after the last lesion is found.
    assert_eq!(metric("ap50_boxes.opacity"), Some((1.0, 1)));
    assert_eq!(metric("froc_boxes.opacity"), Some((1.0, 1)));
    // The left organ is annotated on image 3 but not drawn there.
    assert_eq!(metric("dice.left"), Some((1.0, 1)));
    assert_eq!(metric("dice.right"), Some((0.0, 1)));
    // Union: half of image 1 (Dice 2/3), a quarter shared on image 2 (Dice 1/2).
    let (both, n) = metric("dice.both").expect("defined");
    assert!((both - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-9 && n == 2, "{both}");
    assert!((metric("dice.both.s").expect("by source").0 - 2.0 / 3.0).abs() < 1e-9);
    assert_eq!(metric("auroc.opacity.t"), None, "no positives in source t");
    assert_eq!(evaluation.worst.iter().filter(|w| w.class == "opacity").count(), 3);
    assert!(evaluation.worst.iter().all(|w| !w.picture.is_empty()));
}

#[test]
fn failures_are_named_and_count_nowhere() {
    struct Fails;
    impl Predictor for Fails {
        fn predict(&self, frame: &Frame) -> Result<ImagePrediction, String> {
            if frame.value_at(0, 0) == Some(1.0) { Err("too dark".into()) } else { Half.predict(frame) }
        }
    }
    let evaluation = run(&Fails, &[0, 1, 2]).expect("measured");
    assert_eq!(evaluation.failures, [Failure { image_id: 1, message: "too dark".into() }]);
    assert_eq!(evaluation.images, 2);
    assert!(!evaluation.metrics.contains_key("auroc.opacity"));
    let error = run(&Fails, &[0]).expect_err("nothing is left").to_string();
    assert!(error.contains("too dark"), "{error}");
}

#[test]
fn answers_of_the_wrong_size_or_range_are_refused() {
    struct Odd(f32, usize);
    impl Predictor for Odd {
        fn predict(&self, frame: &Frame) -> Result<ImagePrediction, String> {
            let mut prediction = Half.predict(frame)?;
            for lesion in &mut prediction.lesions {
                lesion.probability = self.0;
                lesion.heat_map = Array2::zeros((self.1, 8));
            }
            Ok(prediction)
        }
    }
    assert!(run(&Odd(0.5, 8), &[0]).is_ok());
    assert!(run(&Odd(f32::NAN, 8), &[0]).is_err());
    assert!(run(&Odd(0.5, 7), &[0]).is_err());
}

#[test]
fn cancelling_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = dataset(folder.path());
    let task = Task::new();
    task.cancel();
    let result = evaluate(&data, &[0], &classes(), &Half, &EvaluateOptions::default(), &task);
    assert!(matches!(result, Err(EvaluateError::Cancelled(_))));
}

#[test]
fn classes_are_found_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut data = dataset(folder.path());
    data.categories = ["lung_opacity", "ground_glass_opacity", "consolidation", "left_lung", "right_lung", "lungs"]
        .map(str::to_owned)
        .to_vec();
    let organs = ["left_lung", "right_lung", "spleen"].map(str::to_owned);
    let found = Classes::by_name(&data, &["lung_opacity".to_owned()], &organs);
    assert_eq!(found.lesions[0].any_of.len(), 2);
    assert_eq!(found.organs.iter().map(|o| o.class.as_str()).collect::<Vec<_>>(), ["left_lung", "right_lung"]);
    assert_eq!(
        found.unions[0].target.any_of,
        [vec!["lungs".to_owned()], vec!["left_lung".into(), "right_lung".into()]]
    );
    assert!(Classes::by_name(&data, &[], &["left_lung".to_owned()]).unions.is_empty());
}

#[test]
fn average_precision_of_boxes_is_that_of_pycocotools() {
    #[derive(serde::Deserialize)]
    struct Reference {
        cases: Vec<Case>,
    }
    type Found = ([f32; 4], f32);
    #[derive(serde::Deserialize)]
    struct Case {
        truth: Vec<Vec<[f32; 4]>>,
        found: Vec<Vec<Found>>,
        ap50: f64,
    }
    let text = include_str!("../../tests/reference/average_precision.json");
    let reference: Reference = serde_json::from_str(text).expect("numbers");
    let bounds = |[x, y, w, h]: [f32; 4]| BoundingBox::new(x, y, x + w, y + h);
    for (index, case) in reference.cases.iter().enumerate() {
        let image = |(truth, found): (&Vec<[f32; 4]>, &Vec<Found>)| {
            let lesion = |of: &[f32; 4]| {
                let [x, y, w, h] = of.map(|v| v as usize);
                let inside = |(r, c): (usize, usize)| u8::from((y..y + h).contains(&r) && (x..x + w).contains(&c));
                TrueLesion { mask: Array2::from_shape_fn((100, 100), inside), area: w * h }
            };
            let truth: Vec<TrueLesion> = truth.iter().map(lesion).collect();
            let found: Vec<(BoundingBox, f32)> = found.iter().map(|(of, score)| (bounds(*of), *score)).collect();
            measure_boxes(&found, &truth).by_overlap
        };
        let images: Vec<FrocImage> = case.truth.iter().zip(&case.found).map(image).collect();
        let ours = box_average_precision(&images.iter().collect::<Vec<_>>()).expect("there are lesions");
        assert!((ours - case.ap50).abs() < 1e-6, "case {index}: {ours}, pycocotools {}", case.ap50);
    }
}
