//! A synthetic reading through layout, PDF and JSON.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ndarray::Array2;
use serde_json::Value;

use super::*;
use crate::analysis::contour::contours;
use crate::analysis::{
    Analysis, AttentionMap, AttentionMethod, Calibration, CamMap, Explanations, Finding, FindingId, Flag, HeatMap,
    MapFaithfulness, MapId, MapKind, ModelIdentity, OrganAttention, OrganMap, Prediction, SizeMm, Target,
    TokenAttention, Zone,
};
use crate::annotation::{
    Certainty, Decision, Edit, Label, MaskKey, Review, Session, Shape, ShapeId, ShapeKind, Taxonomy,
};
use crate::explain::{CamMethod, Faithfulness, RandomRange, Verdict};
use crate::measure::Runs;
use crate::study::{
    DisplayAttributes, Frame, GrayPixels, Instance, InstanceKey, InstanceUid, Patient, PixelSpacing, Pixels, Series,
    SeriesUid, Source, SpacingKind, Study, StudyUid,
};

const ROWS: usize = 300;
const COLUMNS: usize = 260;

fn gauss(r: usize, c: usize, center: (f32, f32), sigma: (f32, f32)) -> f32 {
    let (dr, dc) = ((r as f32 - center.0) / sigma.0, (c as f32 - center.1) / sigma.1);
    (-0.5 * (dr * dr + dc * dc)).exp()
}

/// Something like a chest: two dark lungs in a bright body.
fn frame() -> Frame {
    let pixels = Array2::from_shape_fn((ROWS, COLUMNS), |(r, c)| {
        let body = if gauss(r, c, (160.0, 130.0), (130.0, 110.0)) > 0.35 { 2400.0 } else { 100.0 };
        let lungs = gauss(r, c, (140.0, 75.0), (70.0, 30.0)) + gauss(r, c, (140.0, 185.0), (70.0, 30.0));
        let ribs = ((r as f32 + (c as f32 - 130.0).abs() * 0.4) / 9.0).sin() * 120.0;
        (body - 1500.0 * lungs.min(1.0) + ribs).max(0.0) as u16
    });
    let spacing = PixelSpacing { row_mm: 1.0, column_mm: 1.0, kind: SpacingKind::Detector };
    Frame {
        pixels: Pixels::Gray(GrayPixels::U16(pixels)),
        display: DisplayAttributes {
            spacing: Some(spacing),
            patient_orientation: Some(["L".to_owned(), "F".to_owned()]),
            bits_stored: 12,
            ..DisplayAttributes::default()
        },
    }
}

fn organ(name: &str, center: (f32, f32)) -> OrganMap {
    let values = Array2::from_shape_fn((ROWS, COLUMNS), |(r, c)| gauss(r, c, center, (70.0, 30.0)));
    OrganMap { organ: name.to_owned(), contours: contours(&values, 0.5), values: Arc::new(values) }
}

fn analysis(sources: Vec<Source>) -> Analysis {
    let heat = Array2::from_shape_fn((ROWS, COLUMNS), |(r, c)| {
        0.93 * gauss(r, c, (190.0, 70.0), (22.0, 16.0)) + 0.7 * gauss(r, c, (90.0, 190.0), (12.0, 12.0))
    });
    let finding = |id, probability, peak: (f32, f32), organ: &str, zone, contour| Finding {
        id: FindingId(id),
        label: "lung_opacity".to_owned(),
        probability,
        calibration: Calibration::Calibrated,
        organ: Some(organ.to_owned()),
        zone: Some(zone),
        peak,
        centroid: peak,
        bounding_box: [170, 55, 210, 85],
        area_px: 900,
        size_mm: Some(SizeMm { longest_mm: 42.4, perpendicular_mm: 27.6, kind: SpacingKind::Detector }),
        contour,
        extent: None,
    };
    let outlines = contours(&heat, 0.5);
    let attention = |method, label: Option<&str>, center| {
        let values = Array2::from_shape_fn((ROWS, COLUMNS), |(r, c)| gauss(r, c, center, (60.0, 50.0)));
        let organs = ["right_lung", "left_lung", "cardiomediastinum"]
            .iter()
            .zip([(0.46, 1.62), (0.21, 0.88), (0.18, 0.97)])
            .map(|(organ, (share, enrichment))| OrganAttention { organ: (*organ).to_owned(), share, enrichment })
            .collect();
        AttentionMap {
            method,
            label: label.map(str::to_owned),
            tokens: Arc::new(Array2::from_elem((8, 8), 1.0 / 64.0)),
            values: Arc::new(values),
            layer: "blocks 0 to 3".to_owned(),
            organs,
        }
    };
    let prediction = |label: &str, probability| Prediction {
        label: label.to_owned(),
        probability,
        calibration: Calibration::Calibrated,
        threshold: 0.41,
    };
    Analysis {
        place: None,
        model: ModelIdentity {
            id: "chest-opacity".to_owned(),
            version: "1.0".to_owned(),
            weights_sha256: "9f2c51d0".repeat(8),
            device: "CPU".to_owned(),
        },
        target: Target {
            series_uid: SeriesUid("1.2.840.99.2".to_owned()),
            instance_uid: InstanceKey("1.2.840.99.3".to_owned()),
            frame: 0,
            sources,
            rows: ROWS,
            columns: COLUMNS,
        },
        predictions: vec![prediction("lung_opacity", 0.93), prediction("consolidation", 0.22)],
        findings: vec![
            finding(1, 0.93, (190.0, 70.0), "right_lung", Zone::Lower, outlines.last().cloned().unwrap_or_default()),
            finding(2, 0.70, (90.0, 190.0), "left_lung", Zone::Upper, outlines.first().cloned().unwrap_or_default()),
        ],
        heat_maps: vec![HeatMap {
            label: "lung_opacity".to_owned(),
            values: Arc::new(heat),
            threshold: 0.5,
            method: "lesion head, sigmoid".to_owned(),
            layer: "decoder.2".to_owned(),
        }],
        organ_maps: vec![
            organ("right_lung", (140.0, 75.0)),
            organ("left_lung", (140.0, 185.0)),
            organ("cardiomediastinum", (180.0, 135.0)),
        ],
        attention_maps: vec![
            attention(AttentionMethod::AttentionRollout, None, (150.0, 130.0)),
            attention(AttentionMethod::GradientRelevance, Some("lung_opacity"), (180.0, 80.0)),
        ],
        token_attention: TokenAttention {
            grid: (1, 1),
            matrix: Arc::new(Array2::from_elem((1, 1), 1.0)),
            organ_coverage: Arc::new(Array2::zeros((3, 1))),
            field: [0.0, 0.0, ROWS as f32, COLUMNS as f32],
        },
        flags: vec![Flag {
            code: "view_not_intended".to_owned(),
            message: "The view position is not given; the model was trained on frontal radiographs.".to_owned(),
        }],
        seconds: 1.84,
    }
}

/// Everything that a report borrows from.
struct Reading {
    study: Study,
    session: Session,
    frame: Frame,
    analysis: Analysis,
    labels: Vec<Label>,
}

const SECRETS: [&str; 9] = [
    "Müller",
    "PAT-0815",
    "19611203",
    "1961",
    "ACC-4711",
    "St. Example Hospital",
    "mueller_anna",
    "1.2.840.99",
    "20251103",
];

fn reading() -> Reading {
    let source = Source::file("/data/mueller_anna/PAT-0815.dcm");
    let instance = Instance {
        uid: InstanceUid("1.2.840.99.3".to_owned()),
        twin: None,
        sop_class: String::new(),
        source: source.clone(),
        number: Some(1),
        transfer_syntax: String::new(),
        rows: ROWS,
        columns: COLUMNS,
        frames: 1,
        frame_order: Vec::new(),
        geometry: None,
    };
    let series = Series {
        uid: SeriesUid("1.2.840.99.2".to_owned()),
        twin: None,
        modality: "DX".to_owned(),
        number: Some(1),
        description: "Thorax Müller".to_owned(),
        body_part: "CHEST".to_owned(),
        view_position: "PA".to_owned(),
        laterality: String::new(),
        manufacturer: "Example".to_owned(),
        institution: "St. Example Hospital".to_owned(),
        frame_of_reference: None,
        instances: vec![instance],
        notes: Vec::new(),
    };
    let study = Study {
        uid: StudyUid("1.2.840.99.1".to_owned()),
        patient: Patient {
            name: "Müller-Łukaszewicz, Анна Παπαδοπούλου 山田".to_owned(),
            id: "PAT-0815".to_owned(),
            birth_date: "19611203".to_owned(),
            sex: "F".to_owned(),
            age: "064Y".to_owned(),
        },
        date: "20251103".to_owned(),
        time: "093011".to_owned(),
        description: "Chest radiograph, Müller".to_owned(),
        accession_number: "ACC-4711".to_owned(),
        series: vec![series],
    };
    let mut session = Session::new(SeriesUid("1.2.840.99.2".to_owned()), "9f2c51d0".repeat(8));
    let review = |finding, decision, comment: &str| Edit::SetReview {
        instance: InstanceKey("1.2.840.99.3".to_owned()),
        frame: 0,
        finding: FindingId(finding),
        review: Review { decision, comment: comment.to_owned() },
    };
    session.apply(review(1, Decision::Accepted, "Fits the clinical picture of a right lower lobe pneumonia."));
    session.apply(review(2, Decision::Rejected, "Crossing ribs."));
    session.apply(Edit::SetImpression {
        text: "Right lower zone opacity, most likely pneumonia. No effusion. Follow-up in six weeks.".to_owned(),
    });
    session.apply(Edit::SetKeyImage { instance: InstanceKey("1.2.840.99.3".to_owned()), frame: 0, key: true });
    Reading { study, session, frame: frame(), analysis: analysis(vec![source]), labels: Taxonomy::default().labels }
}

impl Reading {
    fn input(&self) -> ReportInput<'_> {
        let series = &self.study.series[0];
        ReportInput {
            study: &self.study,
            series,
            images: vec![ReportImage::new(&self.analysis.target.instance_uid, 0, 0, &self.frame, Some(&self.analysis))],
            session: &self.session,
            labels: &self.labels,
            model: Some(ModelNotes {
                intended_use: "Frontal chest radiographs of adults, for research on opacity detection.".to_owned(),
                limits: vec!["Lateral views, children and CT were never seen in training.".to_owned()],
                performance: vec!["AUROC lung opacity 0.86 (0.80 to 0.91), 151 patients.".to_owned()],
                data: "CC BY-NC-SA 4.0.".to_owned(),
            }),
            created: UNIX_EPOCH + Duration::from_secs(1_795_540_000),
        }
    }
}

fn text_of(pages: &[Page]) -> String {
    let text = |item: &Item| if let Item::Text { text, .. } = item { Some(text.clone()) } else { None };
    pages.iter().flat_map(|page| page.items.iter().filter_map(text)).collect::<Vec<_>>().join("\n")
}

/// Nothing leaves the page, and no two texts lie on each other.
fn check_pages(pages: &[Page]) {
    for (number, page) in pages.iter().enumerate() {
        let texts: Vec<(&Item, [f32; 4])> = page
            .items
            .iter()
            .filter(|i| matches!(i, Item::Text { .. } | Item::Image { .. }))
            .map(|i| (i, i.bounds()))
            .collect();
        for (item, [left, top, right, bottom]) in &texts {
            assert!(
                *left >= 0.0 && *top >= 0.0 && *right <= page.width - 20.0 && *bottom <= page.height,
                "page {}: {item:?} leaves the page",
                number + 1
            );
        }
        for (index, (a, x)) in texts.iter().enumerate() {
            for (b, y) in &texts[index + 1..] {
                let apart = x[2] <= y[0] + 0.5 || y[2] <= x[0] + 0.5 || x[3] <= y[1] + 0.8 || y[3] <= x[1] + 0.8;
                let empty = |i: &Item| matches!(i, Item::Text { text, .. } if text.is_empty());
                assert!(apart || empty(a) || empty(b), "page {}: {a:?} lies on {b:?}", number + 1);
            }
        }
        let all = text_of(std::slice::from_ref(page));
        assert!(all.contains(RESEARCH_USE_ONLY) && all.contains(&format!("Page {} of {}", number + 1, pages.len())));
    }
}

#[test]
fn a_full_report_holds_everything_and_nothing_overlaps() {
    let reading = reading();
    let pages = layout(&reading.input(), &ReportOptions::default());
    check_pages(&pages);
    let text = text_of(&pages);
    for wanted in [
        "Müller-Łukaszewicz,",
        "ACC-4711",
        "Right lower zone opacity",
        "Lung opacity",
        "0.93 calibrated",
        "Right lung, lower",
        "Accepted",
        "Rejected",
        "Crossing ribs.",
        "× 1.62",
        "chest-opacity 1.0",
        "Attention rollout",
        "Relevance for lung opacity",
        "decoder.2",
        "Frontal chest radiographs",
        "view position is not given",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    assert!(pages.iter().flat_map(|p| &p.items).filter(|i| matches!(i, Item::Image { .. })).count() >= 4);
    // What the reader rejected is struck through: lines beside the text.
    let json = report_json(&reading.input(), &ReportOptions::default());
    assert_eq!(json["images"][0]["findings"][1]["review"]["decision"], "rejected");
}

#[test]
fn measurements_are_in_the_table_and_in_the_json() {
    let mut reading = reading();
    let instance = InstanceKey("1.2.840.99.3".to_owned());
    let display = reading.frame.display.clone();
    let draw = |kind, points: &[(f64, f64)]| Shape::new(kind, instance.clone(), 0, points, &display);
    let line = Shape {
        label: Some("nodule".to_owned()),
        certainty: Certainty::Probable,
        text: "new since 2024".to_owned(),
        ..draw(ShapeKind::Length, &[(10.0, 10.0), (40.0, 50.0)])
    };
    let hidden = Shape { hidden: true, ..draw(ShapeKind::Angle, &[(0.0, 9.0), (0.0, 0.0), (9.0, 0.0)]) };
    let square = draw(ShapeKind::Rectangle, &[(1.5, 1.5), (1.5, 5.5), (5.5, 5.5), (5.5, 1.5)]);
    for (id, shape) in [line, hidden, square].into_iter().enumerate() {
        reading.session.apply(Edit::SetShape { id: ShapeId(id as u64 + 1), shape: Some(Box::new(shape)) });
    }
    let mask = MaskKey { instance: instance.clone(), frame: 0, label: "effusion".to_owned() };
    reading.session.apply(Edit::Paint { mask, add: Runs::new(vec![(100, 40)]), remove: Runs::default() });
    let pages = layout(&reading.input(), &ReportOptions::default());
    check_pages(&pages);
    let text = text_of(&pages);
    for wanted in
        ["Measurements and annotations", "length 50.0 mm", "Nodule", "at detector", "Painted", "Pleural effusion"]
    {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    assert!(text.contains("Imager spacing"), "what the caveat means is explained");
    let json = report_json(&reading.input(), &ReportOptions::default());
    let image = &json["images"][0];
    let shapes = image["measurements"].as_array().expect("a list");
    assert_eq!(shapes.len(), 2, "hidden shapes stay out");
    assert_eq!(shapes[0]["kind"], "length");
    assert_eq!((&shapes[0]["sizes"][0]["value"], &shapes[0]["scale"]), (&50.0.into(), &"projected".into()));
    assert_eq!(shapes[0]["concept"]["value"], "27925004");
    assert_eq!((&shapes[1]["values"]["region"], &shapes[1]["values"]["count"]), (&serde_json::Value::Null, &16.into()));
    assert_eq!((&image["painted"][0]["pixels"], &image["painted"][0]["area_mm2"]), (&40.into(), &40.0.into()));
    let none = report_json(&reading.input(), &ReportOptions { measurements: false, ..ReportOptions::default() });
    assert!(none["images"][0]["measurements"].is_null());
}

#[test]
fn the_image_shows_what_the_reader_has_drawn() {
    let mut reading = reading();
    let marked = |reading: &Reading| {
        let input = reading.input();
        let panel =
            super::panel::paint_panel(&input.images[0], super::panel::Overlay::Plain, &reading.session, (200.0, 200.0));
        panel.pixels.iter().filter(|pixel| pixel[..3] == [0xC3, 0xF0, 0x73]).count()
    };
    assert_eq!(marked(&reading), 0);
    let instance = InstanceKey("1.2.840.99.3".to_owned());
    let corners = [(10.0, 10.0), (10.0, 40.0), (30.0, 40.0), (30.0, 10.0)];
    let mut shape = Shape::new(ShapeKind::Rectangle, instance, 0, &corners, &reading.frame.display);
    reading.session.apply(Edit::SetShape { id: ShapeId(1), shape: Some(Box::new(shape.clone())) });
    assert!(marked(&reading) > 100, "{}", marked(&reading));
    shape.hidden = true;
    reading.session.apply(Edit::SetShape { id: ShapeId(1), shape: Some(Box::new(shape)) });
    assert_eq!(marked(&reading), 0, "what is hidden is not shown here either");
}

#[test]
fn the_pdf_is_written_with_all_pages() {
    let reading = reading();
    let input = reading.input();
    let pages = layout(&input, &ReportOptions::default());
    let pdf = report_pdf(&input, &ReportOptions::default()).expect("the PDF is written");
    assert!(pdf.starts_with(b"%PDF-"));
    let text = String::from_utf8_lossy(&pdf);
    assert!(text.contains(&format!("/Count {}", pages.len())), "{} pages", pages.len());
    if let Some(path) = std::env::var_os("BIFOCAL_REPORT_OUT") {
        std::fs::write(path, &pdf).expect("the sample is written");
    }
}

#[test]
fn no_identifiers_means_none() {
    let mut reading = reading();
    reading.session.apply(Edit::SetImpression { text: "Opacity.".to_owned() });
    let input = reading.input();
    let options = ReportOptions { identifiers: false, ..ReportOptions::default() };
    let pages = layout(&input, &options);
    check_pages(&pages);
    let json = report_json(&input, &options).to_string();
    let pdf = report_pdf(&input, &options).expect("the PDF is written");
    let pdf = String::from_utf8_lossy(&pdf);
    for secret in SECRETS {
        assert!(!text_of(&pages).contains(secret), "{secret} on a page");
        assert!(!json.contains(secret), "{secret} in the JSON");
        assert!(!pdf.contains(secret), "{secret} in the PDF");
    }
    let with = report_json(&input, &ReportOptions::default()).to_string();
    for secret in SECRETS {
        assert!(with.contains(secret), "the test would not see {secret}");
    }
}

#[test]
fn json_keeps_its_keys_whatever_is_left_out() {
    let reading = reading();
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    let full = report_json(&reading.input(), &ReportOptions::default());
    let nothing = ReportOptions {
        identifiers: false,
        patient: false,
        flags: false,
        impression: false,
        predictions: false,
        findings: false,
        rejected: false,
        measurements: false,
        key_images: false,
        overlays: false,
        attention: false,
        limits: false,
    };
    let bare = report_json(&reading.input(), &nothing);
    assert_eq!(keys(&full), keys(&bare));
    assert_eq!(keys(&full["images"][0]), keys(&bare["images"][0]));
    assert_eq!(bare["impression"], Value::Null);
    assert_eq!(full["schema"], REPORT_SCHEMA);
    assert_eq!(full["sources"][0]["file"], "/data/mueller_anna/PAT-0815.dcm");
    assert_eq!(full["images"][0]["sources"][0], 0);
    assert_eq!(full["model"]["weights_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(full["images"][0]["key_image"], true);
    let pages = layout(&reading.input(), &nothing);
    check_pages(&pages);
    assert!(!text_of(&pages).contains("Crossing"));
    let without_rejected = ReportOptions { rejected: false, ..ReportOptions::default() };
    assert_eq!(
        report_json(&reading.input(), &without_rejected)["images"][0]["findings"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn long_texts_and_many_findings_run_over_pages() {
    let mut reading = reading();
    let long = "Donaudampfschifffahrtsgesellschaft and a comment that goes on. ".repeat(120);
    reading.study.patient.name = "Wolfeschlegelsteinhausenbergerdorff".repeat(8);
    reading.study.description = "Radiograph ".repeat(60);
    reading.analysis.flags.push(Flag { code: "long".to_owned(), message: long.clone() });
    reading.session.apply(Edit::SetImpression { text: long.clone() });
    let first = reading.analysis.findings[0].clone();
    for id in 3..60 {
        reading.analysis.findings.push(Finding { id: FindingId(id), ..first.clone() });
    }
    let instance = InstanceKey("1.2.840.99.3".to_owned());
    reading.session.apply(Edit::SetReview {
        instance,
        frame: 0,
        finding: FindingId(7),
        review: Review { decision: Decision::Accepted, comment: long },
    });
    let pages = layout(&reading.input(), &ReportOptions::default());
    assert!(pages.len() > 6);
    check_pages(&pages);
    report_pdf(&reading.input(), &ReportOptions::default()).expect("the PDF is written");
}

#[test]
fn a_report_without_analysis_shows_the_key_image() {
    let reading = reading();
    let mut input = reading.input();
    input.images[0].analysis = None;
    input.model = None;
    let pages = layout(&input, &ReportOptions::default());
    check_pages(&pages);
    let text = text_of(&pages);
    assert!(text.contains("nothing was analysed") && text.contains("Key image 1 of 1") && !text.contains("Findings"));
    let json = report_json(&input, &ReportOptions::default());
    assert_eq!(json["model"], Value::Null);
    assert_eq!(json["sources"][0]["file"], "/data/mueller_anna/PAT-0815.dcm");
    input.images.clear();
    check_pages(&layout(&input, &ReportOptions::default()));
}

#[test]
fn strange_frames_do_not_break_the_layout() {
    let reading = reading();
    for shape in [(1, 4000), (4000, 1), (1, 1), (0, 0)] {
        let strange =
            Frame { pixels: Pixels::Gray(GrayPixels::U8(Array2::zeros(shape))), display: DisplayAttributes::default() };
        let mut input = reading.input();
        input.images[0] = ReportImage::new(input.images[0].instance, 0, 0, &strange, Some(&reading.analysis));
        let pages = layout(&input, &ReportOptions::default());
        check_pages(&pages);
        report_pdf(&input, &ReportOptions::default()).expect("the PDF is written");
    }
}

#[test]
fn the_preview_is_the_page() {
    let reading = reading();
    let pages = layout(&reading.input(), &ReportOptions::default());
    let preview = rasterize(&pages[0], 1.0);
    assert_eq!((preview.width, preview.height), (595, 842));
    let dark = preview.pixels.iter().filter(|p| p[0] < 128).count();
    assert!(dark > 1000, "there is ink on the page");
}

#[test]
fn the_heading_of_an_image_stays_with_it() {
    let mut reading = reading();
    let options = ReportOptions { attention: false, ..ReportOptions::default() };
    for lines in 4..22 {
        let text = "One more line.\n".repeat(lines);
        reading.session.apply(Edit::SetImpression { text });
        let pages = layout(&reading.input(), &options);
        let heading = |item: &Item| matches!(item, Item::Text { text, .. } if text.contains("mage 1 of 1"));
        let page = pages.iter().find(|page| page.items.iter().any(heading)).expect("the image has a heading");
        let top = page.items.iter().find(|item| heading(item)).map(|item| item.bounds()[1]).expect("a heading");
        let below = page.items.iter().any(|item| matches!(item, Item::Image { .. }) && item.bounds()[1] > top);
        assert!(below, "with {lines} lines of impression the heading stands alone at the foot of its page");
    }
}

/// A class activation map and two tests of maps.
fn explanations(analysis: &Analysis) -> Explanations {
    let cam = MapId::of(MapKind::Cam { method: CamMethod::LayerCam, stage: 2 }, "lung_opacity");
    let heat = HeatMap {
        method: "LayerCAM of the image as a whole, share of its highest value".to_owned(),
        layer: "ResNet stage 2 (32 × 32)".to_owned(),
        ..analysis.heat_maps[0].clone()
    };
    let result = |verdict| Faithfulness {
        probability: 0.93,
        blurred: 0.2,
        deletion: 0.41,
        insertion: 0.77,
        random: RandomRange { mean: 0.55, low: 0.44, high: 0.7, maps: 20 },
        hottest_masked: 0.91,
        random_masked: 0.88,
        inside_lungs: Some(0.84),
        lungs_area: Some(0.31),
        agreement: Some(-0.12),
        verdict,
    };
    let test = |id: &MapId, verdict| {
        let result = result(verdict);
        let warnings = result.warnings(true).into_iter();
        let warnings = warnings.map(|(code, message)| Flag { code: code.to_owned(), message }).collect();
        MapFaithfulness { id: id.clone(), result, warnings }
    };
    Explanations {
        cams: vec![CamMap { id: cam.clone(), heat, highest: 1.7 }],
        faithfulness: vec![
            test(&MapId::of(MapKind::LesionHead, "lung_opacity"), Verdict::Faithful),
            test(&cam, Verdict::NoBetterThanRandom),
        ],
    }
}

#[test]
fn explanations_stand_in_the_report_with_their_warnings() {
    let reading = reading();
    let explanations = explanations(&reading.analysis);
    let mut input = reading.input();
    input.images[0].explanations = Some(&explanations);
    let pages = layout(&input, &ReportOptions::default());
    check_pages(&pages);
    // Lines are broken anywhere.
    let text = text_of(&pages).replace('\n', " ");
    for wanted in [
        "Faithfulness of the maps",
        "LayerCAM, stage 2, lung opacity",
        "ResNet stage 2 (32 × 32)",
        "0.44 to 0.70",
        "84 % (31 %)",
        "no better than random maps (deletion 0.41",
        "hardly moves the probability",
        "local and global evidence disagree",
    ] {
        assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
    }
    let json = report_json(&input, &ReportOptions::default());
    let found = &json["images"][0]["explanations"];
    assert_eq!(found["faithfulness"][1]["verdict"], "no_better_than_random");
    assert_eq!(found["faithfulness"][1]["id"]["kind"]["cam"]["method"], "layer_cam");
    assert_eq!(found["faithfulness"][1]["warnings"][0]["code"], "map_no_better_than_random");
    assert_eq!(found["class_activation_maps"][0]["layer"], "ResNet stage 2 (32 × 32)");
    assert!(report_json(&reading.input(), &ReportOptions::default())["images"][0]["explanations"].is_null());
}
