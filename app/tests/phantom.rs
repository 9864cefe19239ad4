//! `bifocal phantom` as a program.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use bifocal_core::dicom::DicomFile;
use bifocal_core::study::Source;

fn phantom(out: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bifocal"))
        .args(["phantom", "--seed", "4", "--ct-size", "32", "--dx-size", "64", "--out"])
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
fn wrong_use_and_failure_have_their_exit_codes() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(phantom(folder.path(), &["--ct-slice-mm", "nan"]).status.code(), Some(2));
    let file = folder.path().join("file");
    std::fs::write(&file, "x").expect("written");
    assert_eq!(phantom(&file.join("below"), &["--ct-slice-mm", "20"]).status.code(), Some(1));
}
