//! The log of a run: a line of JSON for each report, kept in step with the checkpoint.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::batch_loss::BatchLoss;
use super::curves::Curves;
use super::detection::DetectionLoss;
use super::run::TrainError;

/// What a report was measured on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSplit {
    /// Batches of training images, augmented.
    #[default]
    Train,
    /// Whole images of validation patients.
    Validation,
}

/// A line of `log.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Steps that were done.
    pub step: usize,
    /// Stage.
    pub stage: String,
    /// What it was measured on.
    pub split: LogSplit,
    /// Mean losses since the last line: organ maps, lesion maps, image-level classes.
    pub organ_loss: f32,
    /// See `organ_loss`.
    pub lesion_loss: f32,
    /// See `organ_loss`.
    pub class_loss: f32,
    /// A detector's losses: of its anchors and of its regions.
    #[serde(default)]
    pub proposal_loss: f32,
    /// See `proposal_loss`.
    #[serde(default)]
    pub region_loss: f32,
    /// Norm of the last gradient, before clipping.
    pub gradient_norm: f64,
    /// Images a second.
    pub images_per_second: f64,
}

impl Report {
    /// The sum that is minimised.
    pub fn loss(&self) -> f32 {
        self.organ_loss + self.lesion_loss + self.class_loss + self.proposal_loss + self.region_loss
    }

    pub(super) fn add(&mut self, maps: &BatchLoss, detection: Option<&DetectionLoss>) {
        self.organ_loss += maps.organ;
        self.lesion_loss += maps.lesion;
        self.class_loss += maps.class;
        self.proposal_loss += detection.map_or(0.0, |loss| loss.proposal);
        self.region_loss += detection.map_or(0.0, |loss| loss.region);
    }

    pub(super) fn divide(&mut self, count: f32) {
        for sum in [
            &mut self.organ_loss,
            &mut self.lesion_loss,
            &mut self.class_loss,
            &mut self.proposal_loss,
            &mut self.region_loss,
        ] {
            *sum /= count;
        }
    }
}

/// `log.jsonl` of a run.
pub(super) struct Log<'a> {
    folder: PathBuf,
    lines: Vec<Report>,
    watch: &'a dyn Fn(&Report),
}

impl<'a> Log<'a> {
    /// Opens the log of the run in `folder` that goes on after `done` steps: later lines, which a run that was killed has left behind
    /// and which come again, are dropped, and so is a line that was torn.
    pub(super) fn open(folder: &Path, done: usize, watch: &'a dyn Fn(&Report)) -> Result<Self, TrainError> {
        let file = folder.join("log.jsonl");
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(TrainError::File { file, source }),
        };
        let parsed = text.lines().filter_map(|line| serde_json::from_str::<Report>(line).ok());
        let lines: Vec<Report> = parsed.filter(|report| report.step <= done).collect();
        let log = Self { folder: folder.to_path_buf(), lines, watch };
        let kept: String = log.lines.iter().map(line).collect::<Result<_, _>>()?;
        fs::write(&file, kept).map_err(|source| TrainError::File { file, source })?;
        log.lines.iter().for_each(watch);
        Ok(log)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn write(&mut self, report: Report) -> Result<(), TrainError> {
        let file = self.folder.join("log.jsonl");
        let text = line(&report)?;
        let append = || fs::OpenOptions::new().append(true).open(&file)?.write_all(text.as_bytes());
        append().map_err(|source| TrainError::File { file: file.clone(), source })?;
        (self.watch)(&report);
        self.lines.push(report);
        Ok(())
    }

    /// Validations since the one with the lowest loss, among those of a stage that began after `start` steps.
    pub(super) fn validations_without_gain(&self, start: usize) -> usize {
        let of_stage = |report: &&Report| report.split == LogSplit::Validation && report.step >= start;
        let losses: Vec<f32> = self.lines.iter().filter(of_stage).map(Report::loss).collect();
        let best = losses.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(index, _)| index);
        losses.len().saturating_sub(best + 1)
    }

    /// Draws `curves.png` anew.
    pub(super) fn draw_curves(&self) -> Result<(), TrainError> {
        let file = self.folder.join("curves.png");
        let png = Curves::of(&self.lines).picture().to_png().map_err(|error| TrainError::Other(error.to_string()))?;
        fs::write(&file, png).map_err(|source| TrainError::File { file, source })
    }
}

fn line(report: &Report) -> Result<String, TrainError> {
    serde_json::to_string(report).map(|text| text + "\n").map_err(|error| TrainError::Other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn report(step: usize, split: LogSplit, loss: f32) -> Report {
        Report { step, split, lesion_loss: loss, ..Report::default() }
    }

    #[test]
    fn a_resumed_log_forgets_what_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 0, &|_| {}).unwrap();
        for step in [2, 4, 6] {
            log.write(report(step, LogSplit::Train, 1.0)).unwrap();
        }
        let file = folder.path().join("log.jsonl");
        let torn = fs::read_to_string(&file).unwrap() + "{\"step\":7,\"sta";
        fs::write(&file, torn).unwrap();
        let seen = RefCell::new(Vec::new());
        let watch = |report: &Report| seen.borrow_mut().push(report.step);
        let mut log = Log::open(folder.path(), 4, &watch).unwrap();
        log.write(report(6, LogSplit::Train, 0.5)).unwrap();
        assert_eq!(*seen.borrow(), [2, 4, 6]);
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 3);
    }

    #[test]
    fn patience_counts_from_the_best_of_the_stage() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 0, &|_| {}).unwrap();
        assert_eq!(log.validations_without_gain(0), 0);
        for (step, loss) in [(0, 0.1), (10, 1.0), (20, 0.8), (30, 0.9), (40, 0.8)] {
            log.write(report(step, LogSplit::Validation, loss)).unwrap();
            log.write(report(step, LogSplit::Train, 0.0)).unwrap();
        }
        assert_eq!(log.validations_without_gain(10), 2, "the best is at 20, and an equal one is no gain");
        assert_eq!(log.validations_without_gain(0), 4);
    }
}
