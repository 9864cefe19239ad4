//! `bifocal analyze` as a user runs it: what is written, exit codes, and no identifiers where none are wanted.
#![allow(clippy::unwrap_used)]

#[path = "support/scan.rs"]
mod scan;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bifocal_core::study::Source;
use serde_json::Value;

fn analyze(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bifocal")).arg("analyze").args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The simulated radiograph.
fn radiograph() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/dx");
    files(&folder).into_iter().find(|path| path.extension().is_some_and(|extension| extension == "dcm")).unwrap()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn one_file_gives_a_report_and_a_bad_neighbour_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir_all(&input).unwrap();
    fs::copy(radiograph(), input.join("good.dcm")).unwrap();
    fs::write(input.join("bad.dcm"), [&[0; 128][..], b"DICM, and nothing else"].concat()).unwrap();
    let output = analyze(&[text(&input), "--out", text(&out), "--maps"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary = json(&out.join("summary.json"));
    assert_eq!((&summary["analysed"], &summary["failed"]), (&1.into(), &0.into()));
    assert!(summary["problems"][0]["source"]["file"].as_str().unwrap().ends_with("bad.dcm"));
    let series = &summary["series"][0];
    let folder = out.join(series["folder"].as_str().unwrap());
    for name in
        ["report.pdf", "report.json", "overlay.png", "heatmap-lung_opacity.npy", "organ-left_lung.npy", "attention.npy"]
    {
        assert!(folder.join(name).is_file(), "{name}");
    }
    let report = json(&folder.join("report.json"));
    assert!(report["sources"][0]["file"].as_str().unwrap().ends_with("good.dcm"));
    let performance = report["model"]["notes"]["performance"].as_array().unwrap();
    assert!(!performance.is_empty());
    // Words, no keys.
    assert!(performance.iter().all(|line| !line.as_str().unwrap().contains('_')), "{performance:?}");
    assert!(performance.iter().any(|line| line.as_str().unwrap().contains("95 % interval")), "{performance:?}");
}

#[test]
fn a_segmentation_names_its_source_and_holds_what_the_maps_say() {
    use bifocal_core::dicom::{DicomFile, read_segmentation, tags};
    use bifocal_core::study::Source;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let source = radiograph();
    let output = analyze(&[text(&source), "--out", text(&out), "--seg", "fractional", "--maps"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let written = files(&out);
    let find = |name: &str| written.iter().find(|path| path.ends_with(name)).unwrap();
    let segmentation = read_segmentation(&Source::file(find("segmentation.dcm"))).unwrap();
    let labels: Vec<&str> = segmentation.segments.iter().map(|segment| segment.label.as_str()).collect();
    assert_eq!(labels, ["Left lung", "Right lung", "Cardiomediastinum", "Lung opacity"]);
    let uid = DicomFile::read_headers(&Source::file(&source)).unwrap().data_set().line(tags::SOP_INSTANCE_UID);
    for mask in &segmentation.masks {
        assert_eq!(mask.source.as_ref().unwrap().sop_instance_uid.0, uid);
    }
    // 255 steps of the same probabilities.
    let map: ndarray::Array2<f32> = ndarray_npy::read_npy(find("organ-right_lung.npy")).unwrap();
    let mask = &segmentation.masks[1].values;
    assert!(map.iter().zip(mask).all(|(p, v)| (p - f32::from(*v) / 255.0).abs() < 0.5 / 254.0));

    let refused = analyze(&[text(&source), "--out", text(&out), "--seg", "--no-identifiers"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn without_identifiers_nothing_that_is_written_holds_one() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("Doe Jane secret"), folder.path().join("out"));
    fs::create_dir_all(&input).unwrap();
    let source = radiograph();
    fs::copy(&source, input.join("Doe-Jane.dcm")).unwrap();
    // Its twin with other pixels, a directory that names absent files, and a broken one: their problems name files.
    let mut twin = fs::read(&source).unwrap();
    let last = twin.len() - 9;
    twin[last] ^= 1;
    fs::write(input.join("Doe-Twin.dcm"), &twin).unwrap();
    fs::write(input.join("Doe-Cut.dcm"), &twin[..twin.len() / 400]).unwrap();
    let output = analyze(&[text(&input), "--out", text(&out), "--no-identifiers"]);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    let index = Command::new(env!("CARGO_BIN_EXE_bifocal")).args(["index", text(&source), "--json"]).output().unwrap();
    let tree: Value = serde_json::from_slice(&index.stdout).unwrap();
    let study = &tree["studies"][0];
    let mut secrets: Vec<String> = vec!["Doe".into(), "secret".into()];
    for value in [
        &study["patient"]["name"],
        &study["patient"]["id"],
        &study["uid"],
        &study["description"],
        &study["series"][0]["uid"],
        &study["series"][0]["description"],
        &study["series"][0]["institution"],
        &study["series"][0]["instances"][0]["uid"],
    ] {
        secrets.extend(value.as_str().map(str::to_owned).filter(|text| text.len() > 3));
    }
    assert!(secrets.len() > 5, "{secrets:?}");
    for path in files(&out) {
        let name = path.strip_prefix(&out).unwrap().to_string_lossy().into_owned();
        let content = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        for secret in &secrets {
            assert!(!content.contains(secret.as_str()), "{name} holds {secret}");
            assert!(!name.contains(secret.as_str()), "the name {name} holds {secret}");
        }
    }
}

#[test]
fn pictures_are_analysed_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chest.png");
    image::GrayImage::from_fn(300, 260, |x, y| image::Luma([((x * y) / 310) as u8])).save(&path).unwrap();
    let out = folder.path().join("out");
    let output = analyze(&[text(&path), "--out", text(&out)]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let summary = json(&out.join("summary.json"));
    let row = &summary["series"][0];
    assert_eq!(row["status"], "analysed");
    assert!(out.join(row["folder"].as_str().unwrap()).join("report.pdf").is_file());
}

#[test]
fn failures_and_wrong_use_have_codes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let (empty, bad) = (folder.path().join("empty"), folder.path().join("bad"));
    fs::create_dir_all(&empty).unwrap();
    fs::create_dir_all(&bad).unwrap();
    // An image that cannot be decoded: named, and not the whole run's end.
    let mut bytes = fs::read(radiograph()).unwrap();
    let at = bytes.windows(8).position(|w| w == *b"\x28\0\0\x01US\x02\0").unwrap();
    bytes[at + 8] = 12;
    fs::write(bad.join("odd.dcm"), bytes).unwrap();
    let failed = analyze(&[text(&bad), "--out", text(&out)]);
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("odd.dcm") && said.contains("(0028,0100)"), "{said}");
    let row = &json(&out.join("summary.json"))["series"][0];
    assert!(row["status"] == "failed" && row["error"].as_str().unwrap().contains("BitsAllocated"), "{row}");

    let nothing = analyze(&[text(&empty), "--out", text(&out)]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no image"), "{nothing:?}");

    // A place where nothing can be written is told before anything is analysed.
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let unwritable = analyze(&[text(&radiograph()), "--out", text(&file.join("out"))]);
    assert_eq!(unwritable.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unwritable.stderr).contains("cannot be written"), "{unwritable:?}");

    let absent = text(&folder.path().join("absent")).to_owned();
    for wrong in [
        &[absent.as_str(), "--out", text(&out)][..],
        &[text(&empty)],
        &["--out", text(&out)],
        &[text(&empty), "--out", text(&out), "--device", "abacus"],
        &[text(&empty), "--out", text(&out), "--without", "everything"],
        &[text(&empty), "--out", text(&out), "--threads", "many"],
        &[text(&empty), "--out", text(&out), "--model", "no such bundle"],
    ] {
        let output = analyze(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn maps_are_made_and_tested_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let source = radiograph();
    let output = analyze(&[text(&source), "--out", text(&out), "--maps", "--explain", "grad-cam,layer-cam:2"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let written = files(&out);
    for name in ["cam-grad-cam-3-lung_opacity.npy", "cam-layer-cam-2-lung_opacity.npy"] {
        assert!(written.iter().any(|path| path.ends_with(name)), "{name}");
    }
    let report = json(written.iter().find(|path| path.ends_with("report.json")).unwrap());
    let explanations = &report["images"][0]["explanations"];
    assert_eq!(explanations["class_activation_maps"].as_array().unwrap().len(), 2);
    let tested = explanations["faithfulness"].as_array().unwrap();
    assert_eq!(tested.len(), 5, "lesion head, two class activation maps, rollout, relevance");
    for map in tested {
        let number = |key: &str| map[key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&number("deletion")) && (0.0..=1.0).contains(&number("insertion")), "{map}");
        assert!(
            map["random"]["low"].as_f64() <= map["random"]["high"].as_f64() && map["random"]["maps"] == 20,
            "{map}"
        );
    }
    for (wish, cause) in [("score-cam", "none of grad-cam"), ("grad-cam:9", "no stage 9")] {
        let output = analyze(&[text(&source), "--out", text(&out), "--explain", wish]);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(cause));
    }
}

#[test]
fn a_ct_is_analysed_as_a_volume_by_the_bundle_made_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) = (folder.path().join("ct"), folder.path().join("out"));
    std::fs::create_dir(&input).unwrap();
    scan::write(&input);
    let output = analyze(&[text(&input), "--out", text(&out), "--maps", "--seg"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let series = &json(&out.join("summary.json"))["series"][0];
    assert_eq!((&series["model"], &series["volume"]["planes"]), (&"chest-ct-demo".into(), &50.into()));
    let organs = series["volume"]["organs"].as_array().unwrap();
    assert!(organs.iter().all(|organ| organ["volume_ml"].as_f64().unwrap() > 300.0), "{organs:?}");
    let findings = series["findings"].as_array().unwrap();
    assert!(!findings.is_empty(), "two large opacities are in every phantom");
    let extent = &findings[0]["extent"];
    let (first, last) = (extent["images"][0].as_u64().unwrap(), extent["images"][1].as_u64().unwrap());
    assert!(first < last && (first..=last).contains(&extent["image"].as_u64().unwrap()), "{extent}");
    let folder = out.join(series["folder"].as_str().unwrap());
    let lattice = json(&folder.join("volumes.json"));
    assert_eq!(lattice["shape"], serde_json::json!([50, 128, 128]));
    for file in ["report.pdf", "overlay.png", "heatmap-nodule-volume.npy", "organ-left_lung-volume.npy"] {
        assert!(folder.join(file).metadata().unwrap().len() > 1000, "{file}");
    }
    let report = json(&folder.join("report.json"));
    let images = report["images"].as_array().unwrap();
    let ids: Vec<u64> = images
        .iter()
        .flat_map(|image| image["findings"].as_array().unwrap())
        .map(|finding| finding["id"].as_u64().unwrap())
        .collect();
    let once: std::collections::BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(once.len(), ids.len(), "each finding is listed once, with the image of its peak");
    assert!(once.len() == findings.len() || images.len() == 16, "all of them, as far as images are shown");
    let flags = series["flags"].as_array().unwrap();
    assert!(flags.iter().any(|flag| flag["code"] == "coarse_voxels"), "6 mm: {flags:?}");
    let masks = bifocal_core::dicom::read_segmentation(&Source::file(folder.join("segmentation.dcm"))).unwrap();
    assert_eq!(masks.segments.len(), 5);
    assert!(masks.masks.len() > 60, "organs on most slices: {}", masks.masks.len());

    let coronal = out.join("coronal");
    let output = analyze(&[text(&input), "--out", text(&coronal), "--plane", "coronal"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json(&coronal.join("summary.json"))["series"][0]["volume"]["plane"], "coronal");
}
