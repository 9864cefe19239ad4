//! The file of labels, beside the settings, for people to edit.

use std::fs;
use std::path::Path;

use bifocal_core::annotation::Taxonomy;

/// Its name.
pub const FILE: &str = "labels.json";

/// Reads the labels; writes the built-in ones where there is no file yet.
///
/// # Errors
/// Says which file is wrong, and what about it; the labels that were in use stay.
pub fn load(path: &Path) -> Result<Taxonomy, String> {
    match fs::read_to_string(path) {
        Ok(text) => Taxonomy::parse(&text)
            .map_err(|error| format!("{}: {error}. The labels in use stay as they are.", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let own = Taxonomy::default();
            // Without a place to write they are still there to be used.
            let written = serde_json::to_string_pretty(&own).map_err(std::io::Error::other).and_then(|text| {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(path, text + "\n")
            });
            if let Err(error) = written {
                tracing::warn!("the file of labels could not be written: {error}");
            }
            Ok(own)
        }
        Err(error) => Err(format!("{}: {error}. The built-in labels are used.", path.display())),
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
}
