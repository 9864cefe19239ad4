//! Projects by the command line: studies come and go, exports are split and name no one, the history tells who did what.

use std::path::Path;
use std::process::{Command, Output};

fn bifocal(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bifocal")).args(args).output().expect("runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Series and study of each picture, as `project list` and `index` print them.
fn series(project: &str) -> Vec<String> {
    let list = bifocal(&["project", "list", project, "--reader", "anna", "--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let rows = rows.as_array().expect("a list").iter();
    rows.map(|row| row["series"].as_str().expect("a UID").to_owned()).collect()
}

fn study(folder: &Path) -> String {
    let index = bifocal(&["index", &folder.display().to_string(), "--json"]);
    let index: serde_json::Value = serde_json::from_slice(&index.stdout).expect("JSON");
    index["studies"][0]["uid"].as_str().expect("a UID").to_owned()
}

#[test]
fn a_project_goes_from_images_to_a_split_export() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    for patient in 0..4u8 {
        let own = folder.path().join(format!("images/{patient}"));
        std::fs::create_dir_all(&own).expect("a folder");
        image::GrayImage::from_fn(24, 16, |x, _| image::Luma([x as u8 + patient]))
            .save(own.join("a.png"))
            .expect("saved");
    }
    let (project, images) = (place("project"), place("images"));
    let first = place("images/0");
    let made = bifocal(&["project", "create", &project, "--name", "Four", "--source", &first]);
    assert!(made.status.success(), "{}", text(&made));
    let added = bifocal(&["project", "add", &project, "--reader", "anna", &images]);
    assert!(added.status.success() && text(&added).contains("1 added"), "{}", text(&added));
    assert_eq!(series(&project).len(), 4);
    let taken = study(&folder.path().join("images/3"));
    assert!(bifocal(&["project", "remove", &project, "--reader", "anna", &taken]).status.success());
    assert_eq!(series(&project).len(), 3);
    assert!(bifocal(&["project", "remove", &project, "--reader", "anna", &taken, "--back"]).status.success());
    for series in series(&project) {
        let set = ["project", "set", &project, "--reader", "anna", "--series", &series, "--state", "done"];
        assert!(bifocal(&set).status.success());
    }
    let out = place("out");
    let export = ["export", &project, "--reader", "anna", "--format", "yolo", "--out", &out, "--only-done"];
    let split = ["--split", "0.25,0.25", "--seed", "3", "--deidentify"];
    let written = bifocal(&[&export[..], &split[..]].concat());
    let words = text(&written);
    // Exit code 1: there is something to look at.
    assert_eq!(written.status.code(), Some(1), "{words}");
    assert!(words.contains("burned into the pixels"), "{words}");
    for (side, images) in [("train", 2), ("validation", 1), ("test", 1)] {
        let pictures = std::fs::read_dir(folder.path().join("out").join(side).join("images")).expect("listed");
        assert_eq!(pictures.count(), images, "{side}: {words}");
    }
    let among = place("images/out");
    let refused = bifocal(&["export", &project, "--reader", "anna", "--format", "csv", "--out", &among]);
    assert!(!refused.status.success() && text(&refused).contains("among the images"), "{}", text(&refused));
    let history = bifocal(&["project", "history", &project]);
    let lines = text(&history);
    assert!(history.status.success(), "{lines}");
    assert_eq!(lines.lines().filter(|line| line.contains("anna") && line.contains("Done")).count(), 4, "{lines}");
    assert!(lines.contains(&format!("Took study {taken} out")) && lines.contains("Added "), "{lines}");
}
