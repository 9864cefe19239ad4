//! The seam to the library's readers: everything the window reads from disk goes through here.

use std::path::{Path, PathBuf};

use bifocal_core::dicom::pixels::FrameReader;
use bifocal_core::study::{Frame, Source, StudyIndex};
use bifocal_core::task::{Cancelled, Task};

/// Finds the studies under `paths`: files, folders, ZIP archives, DICOMDIR, PNG and JPEG.
///
/// # Errors
/// Only when cancelled: files that cannot be read are in the index's list of problems.
pub fn index(paths: &[PathBuf], task: &Task) -> Result<StudyIndex, Cancelled> {
    bifocal_core::dicom::index_paths(paths, task)
}

/// Reads frames, keeping the file that it read last open: the next frame of a multi-frame file is decoded at once.
#[derive(Default)]
pub struct FrameSource {
    last: Option<(Source, FrameReader)>,
}

impl FrameSource {
    /// Decodes one frame of `source`, in the unit that readers expect (PET as SUV where the file allows it).
    ///
    /// # Errors
    /// One sentence that names the file and the cause.
    pub fn read(&mut self, source: &Source, frame: usize) -> Result<Frame, String> {
        if let Some((_, reader)) = self.last.as_ref().filter(|(last, _)| last == source) {
            return reader.frame(frame).map(Frame::in_usual_units).map_err(|error| error.to_string());
        }
        self.last = None;
        let reader = FrameReader::open(source).map_err(|error| error.to_string())?;
        let decoded = reader.frame(frame).map(Frame::in_usual_units).map_err(|error| error.to_string());
        if reader.frames() > 1 {
            self.last = Some((source.clone(), reader));
        }
        decoded
    }
}

/// The sample study: the folders with images in it (its truth files are none), or nothing where there is no sample.
///
/// It is looked for beside the working directory, else near the program, else where it was built.
pub fn sample_paths() -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(".")];
    if let Ok(program) = std::env::current_exe() {
        places.extend(program.ancestors().skip(1).take(4).map(Path::to_path_buf));
        places.extend(program.ancestors().nth(2).map(|prefix| prefix.join("share/bifocal")));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let Some(folder) = places.into_iter().map(|place| place.join("sample-data")).find(|folder| folder.is_dir()) else {
        return Vec::new();
    };
    let images: Vec<PathBuf> =
        ["dx", "ct"].iter().map(|name| folder.join(name)).filter(|folder| folder.is_dir()).collect();
    if images.is_empty() { vec![folder] } else { images }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_file_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("broken.dcm");
        std::fs::write(&file, b"no image at all").expect("writable");
        let error = FrameSource::default().read(&Source::file(&file), 0).expect_err("it holds nothing");
        assert!(error.contains("broken.dcm"), "{error}");
    }
}
