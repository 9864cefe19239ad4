//! Files of labels, beside the settings: `labels.json`, and further sets in the folder `labels`.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use bifocal_core::annotation::{Label, Taxonomy};

use crate::drawing::Drawing;

/// The first set.
pub const FILE: &str = "labels.json";
/// Where further ones are.
pub const FOLDER: &str = "labels";

/// A set of labels on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSet {
    /// Its file, seen from the folder of settings.
    pub file: String,
    /// Its labels.
    pub labels: Taxonomy,
}

/// Reads the labels; writes the built-in ones where there is no file yet.
///
/// # Errors
/// Says which file is wrong, and what about it; the labels that were in use stay.
pub fn load(path: &Path) -> Result<Taxonomy, String> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let own = Taxonomy::default();
            // Without a place to write they are still there to be used.
            if let Err(error) = save(path, &own) {
                tracing::warn!("the file of labels could not be written: {error}");
            }
            Ok(own)
        }
        _ => read(path).map_err(|error| format!("{error}. The labels in use stay as they are.")),
    }
}

/// Reads a file of labels.
///
/// # Errors
/// Says which file is wrong, and what about it.
pub fn read(path: &Path) -> Result<Taxonomy, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Taxonomy::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Writes a file of labels beside the old one first, so that a crash leaves one of the two whole.
///
/// # Errors
/// Where the folder cannot be made or written.
pub fn save(path: &Path, labels: &Taxonomy) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let text = serde_json::to_string_pretty(labels).map_err(io::Error::other)?;
    let beside = path.with_extension("json.new");
    fs::write(&beside, text + "\n")?;
    fs::rename(&beside, path)
}

/// All sets in the folder of settings, the first one first; files that cannot be read are left out.
pub fn sets(folder: &Path) -> Vec<LabelSet> {
    let mut files: Vec<String> = fs::read_dir(folder.join(FOLDER))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".json"))
        .map(|name| format!("{FOLDER}/{name}"))
        .collect();
    files.sort();
    files.insert(0, FILE.to_owned());
    let of = |file: String| read(&folder.join(&file)).map(|labels| LabelSet { file, labels });
    files.into_iter().filter_map(|file| of(file).inspect_err(|error| tracing::warn!("{error}")).ok()).collect()
}

/// A file for a new set of that name.
pub fn free_file(folder: &Path, name: &str) -> String {
    let letters = |c: char| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let base: String = name.trim().chars().map(letters).take(40).collect();
    let base = if base.trim_matches('-').is_empty() { "labels".to_owned() } else { base };
    let mut files =
        (1..).map(|n| if n == 1 { format!("{FOLDER}/{base}.json") } else { format!("{FOLDER}/{base}-{n}.json") });
    files.find(|file| !folder.join(file).exists()).unwrap_or_default()
}

/// Whether a name in the settings can be that of a set: nothing outside of their folder is written.
pub fn is_sound(file: &str) -> bool {
    let path = PathBuf::from(file);
    file == FILE
        || (path.starts_with(FOLDER)
            && path.extension().is_some_and(|extension| extension == "json")
            && path.components().all(|part| matches!(part, Component::Normal(_))))
}

impl Drawing {
    /// The label with that key: of the set in use, else of another one, since what was drawn keeps its label when sets change.
    pub fn label_of(&self, key: &str) -> Option<&Label> {
        self.taxonomy.label(key).or_else(|| self.sets.iter().find_map(|set| set.labels.label(key)))
    }

    /// All labels that a shape can have, those of the set in use first.
    pub fn all_labels(&self) -> Vec<Label> {
        let mut all = self.taxonomy.labels.clone();
        for label in self.sets.iter().flat_map(|set| &set.labels.labels) {
            if all.iter().all(|other| other.key != label.key) {
                all.push(label.clone());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_made_edited_and_read() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("home").join(FILE);
        let own = load(&path).expect("built-in labels");
        assert!(path.exists());
        let text = fs::read_to_string(&path).expect("readable").replace("\"Nodule\"", "\"Knoten\"");
        fs::write(&path, text).expect("writable");
        let edited = load(&path).expect("edited labels");
        assert_eq!(
            (edited.labels.len(), edited.label("nodule").map(|l| l.name.as_str())),
            (own.labels.len(), Some("Knoten"))
        );
        fs::write(&path, "{").expect("writable");
        let error = load(&path).expect_err("damaged");
        assert!(error.contains(FILE) && error.contains("stay"), "{error}");
    }

    #[test]
    fn sets_are_found_and_named_and_broken_ones_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        load(&folder.path().join(FILE)).expect("made");
        let mut brain = Taxonomy { name: "Brain / MR".to_owned(), labels: Vec::new() };
        brain.labels.push(brain.new_label("Infarct"));
        let file = free_file(folder.path(), &brain.name);
        assert_eq!(file, "labels/brain---mr.json");
        save(&folder.path().join(&file), &brain).expect("written");
        assert_eq!(free_file(folder.path(), &brain.name), "labels/brain---mr-2.json");
        fs::write(folder.path().join("labels/broken.json"), "{").expect("written");
        let found: Vec<String> = sets(folder.path()).into_iter().map(|set| set.file).collect();
        assert_eq!(found, [FILE.to_owned(), file]);
    }

    #[test]
    fn a_set_lies_in_the_folder_of_settings() {
        assert!(is_sound(FILE) && is_sound("labels/brain.json"));
        for file in ["", "/etc/x.json", "labels/../../x.json", "other.json", "labels/x.txt", "labels"] {
            assert!(!is_sound(file), "{file}");
        }
    }
}
