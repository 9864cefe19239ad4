//! Who changed what and when, over all readers of a project.
//!
//! What was drawn is told by the journals. What else a reader did stands in `readings/<reader>/deeds.jsonl`, one line each.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Case, Project, ProjectError};
use crate::annotation::{Event, now, read_history};
use crate::study::{SeriesUid, StudyUid};
use crate::task::Task;

/// Something that a reader did beside drawing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case")]
pub enum Deed {
    /// Went on with a case, set it aside or noted something.
    Case {
        /// The series.
        series: SeriesUid,
        /// As it was.
        from: Case,
        /// As it is.
        to: Case,
    },
    /// Added images.
    Added {
        /// Files and folders.
        paths: Vec<PathBuf>,
    },
    /// Took a study out.
    Removed {
        /// The study.
        study: StudyUid,
    },
    /// Put a study back.
    PutBack {
        /// The study.
        study: StudyUid,
    },
    /// Changed the project's labels.
    Labels,
    /// Had another name before.
    Renamed {
        /// That name.
        from: String,
    },
    /// Brought annotations of another program.
    Imported {
        /// The file.
        file: PathBuf,
        /// How many.
        annotations: usize,
    },
    /// Wrote annotations for other programs.
    Exported {
        /// In words: `COCO`.
        format: String,
        /// Where.
        folder: PathBuf,
    },
}

/// What an entry tells of.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// A step of a reading.
    Step(Event),
    /// Something else.
    Deed(Deed),
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Milliseconds since 1970, UTC; `None` where no time was kept.
    pub at: Option<u64>,
    /// Who.
    pub reader: String,
    /// On which series; `None` for what belongs to the whole project.
    pub series: Option<SeriesUid>,
    /// What.
    pub told: Told,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at: u64,
    #[serde(flatten)]
    deed: Deed,
}

impl Project {
    /// Writes down what a reader did.
    pub fn record(&self, reader: &str, deed: &Deed) -> Result<(), ProjectError> {
        let folder = self.readings(reader)?;
        fs::create_dir_all(&folder).map_err(ProjectError::file(&folder))?;
        let file = folder.join("deeds.jsonl");
        let line = Line { at: now(), deed: deed.clone() };
        let text = serde_json::to_string(&line).map_err(|error| ProjectError::content(&file, error))? + "\n";
        let write = || OpenOptions::new().create(true).append(true).open(&file)?.write_all(text.as_bytes());
        write().map_err(ProjectError::file(&file))
    }

    fn deeds(&self, reader: &str, problems: &mut Vec<String>) -> Result<Vec<Line>, ProjectError> {
        let file = self.readings(reader)?.join("deeds.jsonl");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ProjectError::file(&file)(error)),
        };
        let read = |(number, line): (usize, &str)| match serde_json::from_str(line) {
            Ok(line) => Some(line),
            Err(error) => {
                problems.push(format!("{}, line {}: {error}", file.display(), number + 1));
                None
            }
        };
        Ok(text.lines().enumerate().filter_map(read).collect())
    }
}

/// Everything that all readers did, the latest first; what has no time comes last. And what could not be read.
pub fn history(project: &Project, task: &Task) -> Result<(Vec<Entry>, Vec<String>), ProjectError> {
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    let readers = project.readers()?;
    for (number, reader) in readers.iter().enumerate() {
        task.check()?;
        task.progress("Reading journals", number as u64, readers.len() as u64);
        let (events, damaged) = read_history(&project.readings(reader)?)?;
        problems.extend(damaged);
        let entry = |at, series, told| Entry { at, reader: reader.clone(), series, told };
        entries.extend(events.into_iter().map(|(series, event)| entry(event.at, Some(series), Told::Step(event))));
        for line in project.deeds(reader, &mut problems)? {
            let series = match &line.deed {
                Deed::Case { series, .. } => Some(series.clone()),
                _ => None,
            };
            entries.push(entry(Some(line.at), series, Told::Deed(line.deed)));
        }
    }
    // Stable, so that steps of one moment stay in their order.
    entries.reverse();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.at));
    Ok((entries, problems))
}
