//! The seam to the library's readers: everything the window reads from disk goes through here.

use std::path::{Path, PathBuf};

use bifocal_core::study::{
    DisplayAttributes, Frame, GrayPixels, Instance, InstanceUid, Patient, Pixels, Problem, Series, SeriesUid, Source,
    Study, StudyIndex, StudyUid,
};
use bifocal_core::task::{Cancelled, Task};

/// Finds the studies under `paths`.
///
/// # Errors
/// Only when cancelled: files that cannot be read are in the index's list of problems.
pub fn index(paths: &[PathBuf], task: &Task) -> Result<StudyIndex, Cancelled> {
    let mut index = StudyIndex::default();
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files);
    }
    for (done, path) in files.iter().enumerate() {
        task.check()?;
        task.progress("Reading headers", done as u64, files.len() as u64);
        match image::image_dimensions(path) {
            Ok((columns, rows)) => index.studies.push(picture(path, rows as usize, columns as usize)),
            Err(error) => {
                index.problems.push(Problem { source: Source::file(path), tag: None, cause: error.to_string() })
            }
        }
    }
    Ok(index)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if let Ok(entries) = std::fs::read_dir(path) {
        let mut inside: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        inside.iter().for_each(|path| collect(path, files));
    } else {
        files.push(path.to_path_buf());
    }
}

fn picture(path: &Path, rows: usize, columns: usize) -> Study {
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let instance = Instance {
        uid: InstanceUid(format!("2.25.{name}")),
        sop_class: String::new(),
        source: Source::file(path),
        number: None,
        transfer_syntax: String::new(),
        rows,
        columns,
        frames: 1,
        frame_order: Vec::new(),
        geometry: None,
    };
    let series = Series {
        uid: SeriesUid(format!("2.25.{name}")),
        modality: "OT".into(),
        number: None,
        description: String::new(),
        body_part: String::new(),
        view_position: String::new(),
        laterality: String::new(),
        manufacturer: String::new(),
        institution: String::new(),
        frame_of_reference: None,
        instances: vec![instance],
        notes: Vec::new(),
    };
    Study {
        uid: StudyUid(format!("2.25.{name}")),
        patient: Patient { name: name.clone(), ..Patient::default() },
        date: String::new(),
        time: String::new(),
        description: name,
        accession_number: String::new(),
        series: vec![series],
    }
}

/// Reads frames, keeping what it can of the file it read last.
#[derive(Default)]
pub struct FrameSource {}

impl FrameSource {
    /// Decodes one frame of `source`.
    ///
    /// # Errors
    /// One sentence that names the file and the cause.
    pub fn read(&mut self, source: &Source, _frame: usize) -> Result<Frame, String> {
        let picture = image::open(&source.file).map_err(|error| format!("{source}: {error}"))?.into_luma8();
        let (width, height) = picture.dimensions();
        let array = ndarray::Array2::from_shape_vec((height as usize, width as usize), picture.into_raw())
            .map_err(|error| format!("{source}: {error}"))?;
        Ok(Frame { pixels: Pixels::Gray(GrayPixels::U8(array)), display: DisplayAttributes::default() })
    }
}

/// The folder of the sample study: beside the working directory, else near the program, else where it was built.
pub fn sample_folder() -> Option<PathBuf> {
    let name = Path::new("sample-data");
    let mut places = vec![PathBuf::from(".")];
    if let Ok(program) = std::env::current_exe() {
        places.extend(program.ancestors().skip(1).take(4).map(Path::to_path_buf));
        places.extend(program.ancestors().nth(2).map(|prefix| prefix.join("share/bifocal")));
    }
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    places.into_iter().map(|place| place.join(name)).find(|folder| folder.is_dir())
}
