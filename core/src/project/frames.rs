//! What readers drew, gathered by frame.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use super::{Case, CaseState, Project, ProjectError};
use crate::annotation::{Session, Shape, read_sessions};
use crate::dicom::pixels::FrameReader;
use crate::measure::{Runs, Spacing};
use crate::study::{Frame, Instance, InstanceKey, Problem, Series, SeriesUid, Study, StudyIndex};
use crate::task::Task;

/// So many frames without anything are gathered of a finished series at most: negatives teach, a thousand empty slices do not.
pub const MOST_EMPTY: usize = 16;

/// One frame with what one reader drew on it.
#[derive(Debug, Clone)]
pub struct AnnotatedFrame<'a> {
    /// Its study.
    pub study: &'a Study,
    /// Its series.
    pub series: &'a Series,
    /// Its instance.
    pub instance: &'a Instance,
    /// The frame, from 0.
    pub frame: usize,
    /// Its place in the reading order of the series, from 0.
    pub position: usize,
    /// The image.
    pub image: Frame,
    /// The reader is done with the series: labels that are not here are known to be absent.
    pub complete: bool,
    /// What was drawn, hidden shapes too.
    pub shapes: Vec<Shape>,
    /// What was painted, by label.
    pub painted: BTreeMap<String, Runs>,
    /// Spacing by the reader's hand.
    pub calibration: Option<Spacing>,
}

impl AnnotatedFrame<'_> {
    /// Pixels of each label: what was painted, and what shapes with that label go around.
    pub fn regions(&self) -> BTreeMap<String, Runs> {
        let mut regions = self.painted.clone();
        for shape in &self.shapes {
            if let Some(label) = shape.label.as_ref().filter(|_| shape.kind.is_region()) {
                let region = shape.region(&self.image.display, self.image.shape());
                let sum = regions.entry(label.clone()).or_default();
                *sum = sum.union(&region);
            }
        }
        regions.retain(|_, runs| !runs.is_empty());
        regions
    }
}

/// What [`collect`] found.
#[derive(Debug)]
pub struct Collected<'a> {
    /// Frames in the order of studies, series and slices.
    pub frames: Vec<AnnotatedFrame<'a>>,
    /// What could not be taken: sessions of series that are absent, images that cannot be read, damaged journals.
    pub problems: Vec<String>,
}

/// Gathers what `reader` drew. Of series that the reader is done with, frames without anything are gathered too, at most `most_empty` of each, spread
/// evenly.
pub fn collect<'a>(
    project: &Project,
    reader: &str,
    index: &'a StudyIndex,
    most_empty: usize,
    task: &Task,
) -> Result<Collected<'a>, ProjectError> {
    let mut frames = Vec::new();
    let take = &mut |frame| {
        frames.push(frame);
        Ok(())
    };
    let problems = visit(project, reader, index, most_empty, &|_| true, task, take)?;
    Ok(Collected { frames, problems })
}

/// As [`collect`], but gives the frames of the series that are `wanted` one by one to `take`, so that only one of them need be in memory;
/// returns what could not be taken.
pub fn visit<'a>(
    project: &Project,
    reader: &str,
    index: &'a StudyIndex,
    most_empty: usize,
    wanted: &dyn Fn(&Series) -> bool,
    task: &Task,
    take: &mut dyn FnMut(AnnotatedFrame<'a>) -> Result<(), ProjectError>,
) -> Result<Vec<String>, ProjectError> {
    let folder = project.readings(reader)?;
    let (sessions, mut problems) = sessions_of(&folder)?;
    let work_list = project.work_list(reader)?;
    let all: Vec<(&Study, &Series)> =
        index.studies.iter().flat_map(|study| study.series.iter().map(move |series| (study, series))).collect();
    let known: BTreeSet<_> = all.iter().map(|(_, series)| series.reading_uid()).collect();
    for session in sessions.values().filter(|session| !known.contains(&session.series_uid)) {
        if !session.shapes.is_empty() || !session.masks.is_empty() {
            problems.push(format!("series {} was read, but its images are not among the sources", session.series_uid));
        }
    }
    for (number, (study, series)) in all.iter().enumerate() {
        task.check()?;
        task.progress("Gathering", number as u64, all.len() as u64);
        if !wanted(series) {
            continue;
        }
        let session = sessions.get(&series.reading_uid());
        let complete = work_list.get(&series.reading_uid()).is_some_and(|case| case.state == CaseState::Done);
        // Every so many frames one may be empty, from the middle of the first such stretch on.
        let stretch = if complete { series.frame_count().div_ceil(most_empty.max(1)) } else { 0 };
        let mut open: Option<(InstanceKey, FrameReader)> = None;
        for position in 0..series.frame_count() {
            task.check()?;
            let Some((instance, frame)) = series.frame_at(position) else { continue };
            let key = instance.key();
            let mut shapes = Vec::new();
            let mut painted: BTreeMap<String, Runs> = BTreeMap::new();
            let mut calibration = None;
            if let Some(session) = session {
                let here = |other: &InstanceKey, at: usize| *other == key && at == frame;
                shapes.extend(session.shapes.values().filter(|shape| here(&shape.instance, shape.frame)).cloned());
                for (mask, runs) in session.masks.iter().filter(|(mask, _)| here(&mask.instance, mask.frame)) {
                    let sum = painted.entry(mask.label.clone()).or_default();
                    *sum = sum.union(runs);
                }
                calibration = calibration.or(session.calibrations.get(&key).copied());
            }
            painted.retain(|_, runs| !runs.is_empty());
            let may_be_empty = most_empty > 0 && stretch > 0 && position % stretch == stretch / 2;
            if shapes.is_empty() && painted.is_empty() && !may_be_empty {
                continue;
            }
            if open.as_ref().is_none_or(|(at, _)| *at != key) {
                open = match FrameReader::open(&instance.source) {
                    Ok(reader) => Some((key.clone(), reader)),
                    Err(error) => {
                        problems.push(error.to_string());
                        continue;
                    }
                };
            }
            let image = match open.as_ref().map(|(_, reader)| reader.frame(frame)) {
                Some(Ok(image)) => image,
                Some(Err(error)) => {
                    problems.push(error.to_string());
                    continue;
                }
                None => continue,
            };
            let read = AnnotatedFrame {
                study,
                series,
                instance,
                frame,
                position,
                image,
                complete,
                shapes,
                painted,
                calibration,
            };
            take(read)?;
        }
    }
    let absent = index.problems.iter().map(Problem::to_string);
    problems.extend(absent);
    Ok(problems)
}

/// A series, how far a reader is with it, and which labels the reader gave on it; no image is read for that.
#[derive(Debug, Clone)]
pub struct ReadSeries<'a> {
    /// Its study.
    pub study: &'a Study,
    /// The series.
    pub series: &'a Series,
    /// How far the reader is.
    pub case: Case,
    /// Labels of regions that are drawn or painted.
    pub labels: BTreeSet<String>,
    /// Labels of points, lengths and the like, which say that something is there, but not where it ends.
    pub unplaced: BTreeSet<String>,
}

/// All series with images, in the order of studies, and what was wrong with session files.
pub fn read_series<'a>(
    project: &Project,
    reader: &str,
    index: &'a StudyIndex,
) -> Result<(Vec<ReadSeries<'a>>, Vec<String>), ProjectError> {
    let (sessions, problems) = sessions_of(&project.readings(reader)?)?;
    let work_list = project.work_list(reader)?;
    let all = index.studies.iter().flat_map(|study| study.series.iter().map(move |series| (study, series)));
    let of = |(study, series): (&'a Study, &'a Series)| {
        let mut read = ReadSeries {
            study,
            series,
            case: work_list.get(&series.reading_uid()).cloned().unwrap_or_default(),
            labels: BTreeSet::new(),
            unplaced: BTreeSet::new(),
        };
        if let Some(session) = sessions.get(&series.reading_uid()) {
            for shape in session.shapes.values().filter(|shape| shape.is_whole()) {
                let set = if shape.kind.is_region() { &mut read.labels } else { &mut read.unplaced };
                set.extend(shape.label.clone());
            }
            let painted = session.masks.iter().filter(|(_, runs)| !runs.is_empty());
            read.labels.extend(painted.map(|(mask, _)| mask.label.clone()));
        }
        read
    };
    Ok((all.filter(|(_, series)| series.frame_count() > 0).map(of).collect(), problems))
}

type BySeries = HashMap<SeriesUid, Session>;

/// A reader's sessions by series, and what was wrong with the files. A series has a session for each bundle that it was read with, and what was
/// drawn is carried over into the next: the one that was changed last is what the reader stands by.
pub(super) fn sessions_of(folder: &Path) -> Result<(BySeries, Vec<String>), ProjectError> {
    let (sessions, mut problems) = read_sessions(folder)?;
    let mut by_series = BySeries::new();
    for session in sessions {
        let (series, shapes) = (session.series_uid.clone(), session.shapes.clone());
        if let Some(before) = by_series.insert(series.clone(), session)
            && before.shapes.iter().any(|(id, shape)| shapes.get(id) != Some(shape))
        {
            problems.push(format!("series {series} has an older session that holds other shapes: the latest is taken"));
        }
    }
    Ok((by_series, problems))
}
