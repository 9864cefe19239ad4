//! `bifocal phantom` as a program.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use bifocal_core::dicom::DicomFile;
use bifocal_core::study::Source;

fn phantom(out: &Path, more: &[&str]) -> Output {
    let coarse: &[&str] = if more.contains(&"--ct-size") { &[] } else { &["--ct-size", "32"] };
    Command::new(env!("CARGO_BIN_EXE_bifocal"))
        .args(["phantom", "--seed", "4", "--dx-size", "64"])
        .args(coarse)
        .arg("--out")
        .arg(out)
        .args(more)
        .output()
        .expect("the program starts")
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for sub in ["", "ct", "dx", "truth"] {
        for entry in std::fs::read_dir(folder.join(sub)).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.strip_prefix(folder).expect("inside").display().to_string();
                found.insert(name, std::fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

#[test]
fn writes_the_same_files_each_time_and_never_over_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    for out in [&a, &b] {
        let output = phantom(out, &["--ct-slice-mm", "20"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (first, second) = (files(&a), files(&b));
    assert!(first.len() > 15 && first.contains_key("README.md") && first.contains_key("truth/truth.json"));
    assert!(first == second, "two runs differ");
    for name in first.keys().filter(|n| n.ends_with(".dcm")) {
        let file = DicomFile::read(&Source::file(a.join(name)));
        assert!(file.is_ok(), "{name}: {:?}", file.err());
    }

    std::fs::remove_file(a.join("README.md")).expect("removed");
    assert_eq!(phantom(&a, &[]).status.code(), Some(2));
    assert!(!a.join("README.md").exists(), "a refused run writes nothing");
    assert_eq!(phantom(&a, &["--ct-slice-mm", "20", "--force"]).status.code(), Some(0));
    assert!(files(&a) == second, "a repeated run differs");
}

#[test]
fn a_pet_over_the_ct_shows_a_lesion_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("p");
    let output = phantom(&out, &["--ct-slice-mm", "5", "--pet", "--ct-size", "128"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read_to_string(out.join("README.md")).expect("a readme").contains("`pet/`"));
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("truth/truth.json")).expect("the truth")).expect("JSON");
    let lesions = truth["lesions"].as_array().expect("lesions");
    let diameter = |lesion: &&serde_json::Value| lesion["axes_mm"][0].as_f64().unwrap_or(0.0);
    let solid = lesions.iter().filter(|lesion| lesion["kind"] == "solid_nodule");
    let largest = solid.max_by(|a, b| diameter(a).total_cmp(&diameter(b))).expect("a nodule");
    let center: Vec<f64> = (0..3).map(|axis| largest["center_mm"][axis].as_f64().expect("a number")).collect();
    let at = center.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    let picture = |more: &[&str]| {
        let path = folder.path().join("picture.png");
        let done = Command::new(env!("CARGO_BIN_EXE_bifocal"))
            .arg("render")
            .arg(out.join("ct"))
            .args(["--plane", "coronal", "--window", "-600,1500", "--at", &at, "--out"])
            .arg(&path)
            .args(more)
            .output()
            .expect("the program starts");
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{words}");
        (image::open(&path).expect("a picture").to_rgb8(), words)
    };
    let (plain, _) = picture(&[]);
    let pet = out.join("pet").display().to_string();
    let (fused, words) = picture(&["--over", &pet, "--opacity", "1", "--over-range", "3,7"]);
    assert!(words.contains("in SUVbw"), "{words}");
    assert!(plain.pixels().all(|p| p.0[0] == p.0[1] && p.0[1] == p.0[2]));
    // Only the lesion and what else takes up more than 3 g/mL is coloured: the middle of that, and of where the lesion lies.
    let coloured: Vec<(f64, f64)> = fused
        .enumerate_pixels()
        .filter(|(.., p)| p.0[0] > p.0[2].saturating_add(60))
        .map(|(x, y, _)| (f64::from(x), f64::from(y)))
        .collect();
    let ct: serde_json::Value = largest["ct"].clone();
    let column = ct["center_index"][2].as_f64().expect("a column");
    let near: Vec<&(f64, f64)> = coloured.iter().filter(|(x, _)| (x - column).abs() < 8.0).collect();
    assert!(near.len() > 4, "{} coloured, {} near column {column}", coloured.len(), near.len());
    let middle = near.iter().map(|(x, _)| x).sum::<f64>() / near.len() as f64;
    assert!((middle - column).abs() < 1.5, "{middle} where {column} is right");
}

#[test]
fn wrong_use_and_failure_have_their_exit_codes() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(phantom(folder.path(), &["--ct-slice-mm", "nan"]).status.code(), Some(2));
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    assert_eq!(phantom(&file.join("below"), &["--ct-slice-mm", "20"]).status.code(), Some(1));
}
