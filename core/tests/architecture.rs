//! The rooms of the library may depend on each other only along the edges of this table, and each outside library
//! stays in the rooms that own it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Room -> rooms that it may name.
const EDGES: &[(&str, &[&str])] = &[
    ("task", &[]),
    ("study", &[]),
    // For bytes of files and archive members, and for images beside DICOM files in one folder.
    ("dicom", &["study", "task", "image_io"]),
    ("image_io", &["study", "task"]),
    // Slices are decoded straight into the volume; what was painted on them is made of runs of pixels.
    ("volume", &["study", "task", "dicom", "measure"]),
    ("render", &["study", "analysis"]),
    ("measure", &["study"]),
    ("segment", &["study", "measure"]),
    ("nn", &[]),
    ("model", &["nn", "task", "study"]),
    ("explain", &["nn", "model", "task"]),
    ("analysis", &["study", "task", "model", "explain", "nn", "segment", "volume"]),
    ("annotation", &["study", "analysis", "measure"]),
    ("project", &["study", "task", "dicom", "annotation", "measure", "render", "dataset", "volume"]),
    ("dataset", &["study", "task", "image_io"]),
    // Rendering is for the picture of the curves beside the checkpoints.
    ("train", &["nn", "model", "dataset", "task", "study", "analysis", "evaluate", "render"]),
    (
        "evaluate",
        &["dataset", "task", "model", "explain", "analysis", "render", "image_io", "study", "nn", "phantom", "volume"],
    ),
    // A project on one side, training and measuring on the other: they do not know each other.
    (
        "tune",
        &["project", "annotation", "study", "task", "dataset", "model", "analysis", "train", "evaluate", "volume"],
    ),
    ("experiment", &["train", "evaluate", "model", "dataset", "task"]),
    ("bench", &["model", "nn", "train", "task"]),
    // Slabs are written as a data set.
    ("phantom", &["study", "task", "dataset"]),
    ("report", &["study", "analysis", "explain", "annotation", "measure", "render", "task"]),
];

/// Library (as written in a path) -> rooms that may use it.
const OWNERS: &[(&str, &[&str])] = &[
    ("candle_core", &["nn", "model", "explain", "train", "analysis", "bench", "experiment"]),
    ("candle_nn", &["nn", "model", "explain", "train"]),
    ("dicom_object", &["dicom"]),
    ("dicom_core", &["dicom"]),
    ("dicom_dictionary_std", &["dicom"]),
    ("krilla", &["report"]),
    ("nifti", &["project"]),
    ("egui", &[]),
    ("eframe", &[]),
];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let entries = fs::read_dir(path).expect("a room's folder is readable");
    entries
        .flat_map(|entry| sources(&entry.expect("a room's entry is readable").path()))
        .filter(|p| p.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// Code of a file without line comments, so that documentation may name any room.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source file is readable");
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// Rooms named as `crate::room` or in `use crate::{room, ...}`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let mut depth = 0;
            let mut start = true;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => start = true,
                    c if c.is_alphanumeric() || c == '_' => {
                        if start && depth == 0 {
                            word.push(c);
                        }
                        continue;
                    }
                    c if c.is_whitespace() => continue,
                    _ => start = false,
                }
                if !word.is_empty() {
                    named.insert(std::mem::take(&mut word));
                    start = c == ',';
                }
            }
            if !word.is_empty() {
                named.insert(word);
            }
        } else {
            named.insert(part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    named
}

fn room_path(room: &str) -> PathBuf {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folder = src.join(room);
    if folder.is_dir() { folder } else { src.join(format!("{room}.rs")) }
}

#[test]
fn every_room_is_in_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(src).expect("src is readable") {
        let path = entry.expect("an entry of src is readable").path();
        let room = path.file_stem().and_then(|s| s.to_str()).expect("room names are UTF-8").to_owned();
        assert!(room == "lib" || EDGES.iter().any(|(name, _)| *name == room), "{room} is not in the table of edges");
    }
}

#[test]
fn rooms_depend_only_along_the_table() {
    let rooms: BTreeSet<&str> = EDGES.iter().map(|(room, _)| *room).collect();
    for (room, allowed) in EDGES {
        for file in sources(&room_path(room)) {
            for named in rooms_named(&code(&file)) {
                if rooms.contains(named.as_str()) && named != *room {
                    assert!(
                        allowed.contains(&named.as_str()),
                        "{} names {named}; {room} may name {allowed:?}",
                        file.display()
                    );
                }
            }
        }
    }
}

#[test]
fn libraries_stay_with_their_owners() {
    for (room, _) in EDGES {
        for file in sources(&room_path(room)) {
            let code = code(&file);
            for (library, owners) in OWNERS {
                let used = code.contains(&format!("{library}::"));
                assert!(
                    !used || owners.contains(room),
                    "{} uses {library}, which belongs to {owners:?}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_reader_of_edges_sees_groups() {
    let named = rooms_named("use crate::{study::{Frame, Series}, task};\ncrate::nn::conv();");
    assert_eq!(named.into_iter().collect::<Vec<_>>(), ["nn", "study", "task"]);
}
