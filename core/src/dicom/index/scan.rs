//! Files under the paths given.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::study::{Problem, Source};
use crate::task::{Cancelled, Task};

/// Whether a file is the operating system's own and not worth a word.
pub(super) fn is_litter(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    matches!(name.as_str(), ".ds_store" | "thumbs.db" | "desktop.ini") || name.starts_with("._")
}

/// All regular files under `paths`, sorted, each once: `seen` holds the canonical paths, which also ends loops of links.
pub(super) fn files(
    paths: &[PathBuf],
    seen: &mut HashSet<PathBuf>,
    problems: &mut Vec<Problem>,
    task: &Task,
) -> Result<Vec<PathBuf>, Cancelled> {
    let mut files = Vec::new();
    // Last in, first out, so the first path given is on top.
    let mut open: Vec<PathBuf> = paths.iter().rev().cloned().collect();
    while let Some(path) = open.pop() {
        task.check()?;
        let canonical = match fs::canonicalize(&path) {
            Ok(canonical) => canonical,
            Err(error) => {
                let cause = format!("cannot be read: {error}");
                problems.push(Problem::error(Source::file(path), None, cause));
                continue;
            }
        };
        if !seen.insert(canonical) {
            continue;
        }
        if !path.is_dir() {
            if path.is_file() && !is_litter(&path) {
                files.push(path);
                if files.len().is_multiple_of(256) {
                    task.progress("Looking for files", files.len() as u64, 0);
                }
            }
            continue;
        }
        match fs::read_dir(&path) {
            Ok(entries) => {
                let mut inside: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
                inside.sort_by(|a, b| b.cmp(a));
                open.extend(inside);
            }
            Err(error) => {
                let cause = format!("the folder cannot be read: {error}");
                problems.push(Problem::error(Source::file(path), None, cause));
            }
        }
    }
    Ok(files)
}
