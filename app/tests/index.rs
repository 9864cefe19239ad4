//! `bifocal index` as a user runs it: output and exit codes.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn index(arguments: &[&Path], json: bool) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifocal"));
    command.arg("index").args(arguments);
    if json {
        command.arg("--json");
    }
    command.output().unwrap()
}

#[test]
fn a_folder_with_a_picture_and_text_gives_a_tree_and_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    image::GrayImage::new(7, 5).save(folder.path().join("chest.png")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no image").unwrap();
    let output = index(&[folder.path()], true);
    assert_eq!(output.status.code(), Some(0));
    let tree: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let instance = &tree["studies"][0]["series"][0]["instances"][0];
    assert_eq!((&instance["rows"], &instance["columns"], &instance["frames"]), (&5.into(), &7.into(), &1.into()));
    assert!(tree["problems"][0]["source"]["file"].as_str().unwrap().ends_with("notes.txt"));
    let text = String::from_utf8(index(&[folder.path()], false).stdout).unwrap();
    assert!(text.contains("chest.png") && text.contains("1 problem, 0 remarks"), "{text}");
}

#[test]
fn nothing_to_open_is_a_failure_and_an_absent_path_wrong_use() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no image").unwrap();
    assert_eq!(index(&[folder.path()], false).status.code(), Some(1));
    let absent = index(&[&folder.path().join("absent")], false);
    assert_eq!(absent.status.code(), Some(2));
    assert!(String::from_utf8(absent.stderr).unwrap().contains("absent"));
    assert_eq!(index(&[], false).status.code(), Some(2));
}
