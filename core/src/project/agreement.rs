//! Two readers side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{CaseState, Project, ProjectError, visit};
use crate::measure::Runs;
use crate::study::{InstanceKey, SeriesUid, StudyIndex};
use crate::task::Task;

/// How far two readers agree on one label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// The label.
    pub label: String,
    /// Mean Dice coefficient over frames on which either has drawn it (Dice, 1945); `None` where neither has.
    pub dice: Option<f64>,
    /// Those frames.
    pub frames: usize,
    /// Mean over series of the Dice coefficient of all pixels of a series together.
    pub series_dice: Option<f64>,
    /// Cohen's kappa (Cohen, 1960) of whether a series shows it, over series that both are done with; `None` where chance alone would
    /// make them agree.
    pub kappa: Option<f64>,
    /// Those series: both say yes, only the first, only the second, both say no.
    pub series: [usize; 4],
}

/// How far two readers agree on one series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseAgreement {
    /// The series.
    pub series: SeriesUid,
    /// How far each is.
    pub states: [CaseState; 2],
    /// Labels that either has given.
    pub labels: Vec<LabelAgreement>,
}

/// How far two readers agree on one label of one series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelAgreement {
    /// The label.
    pub label: String,
    /// Who has given it.
    pub given: [bool; 2],
    /// Dice coefficient of all pixels of the series together; `None` where nothing with an outline has it.
    pub dice: Option<f64>,
    /// The frame on which they differ by the most pixels.
    pub farthest: Option<(InstanceKey, usize)>,
}

/// Two readers compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// Every label of the project.
    pub labels: Vec<Agreement>,
    /// Every series that either has drawn on, or that both are done with, in the order of studies.
    pub cases: Vec<CaseAgreement>,
    /// What could not be taken.
    pub problems: Vec<String>,
}

/// Pixels of both readers on one frame.
type Regions = BTreeMap<(InstanceKey, usize), [Runs; 2]>;

/// What both gave on one series, by label.
#[derive(Default)]
struct Given {
    regions: BTreeMap<String, Regions>,
    labels: [BTreeSet<String>; 2],
}

/// Compares two readers, label by label and series by series. Images are read one at a time.
pub fn compare(
    project: &Project,
    readers: [&str; 2],
    index: &StudyIndex,
    task: &Task,
) -> Result<Comparison, ProjectError> {
    let mut all: BTreeMap<SeriesUid, Given> = BTreeMap::new();
    let mut problems: Vec<String> = Vec::new();
    for (reader, name) in readers.into_iter().enumerate() {
        let take = &mut |frame: super::AnnotatedFrame<'_>| {
            let given = all.entry(frame.series.reading_uid()).or_default();
            for (label, runs) in frame.regions() {
                given.labels[reader].insert(label.clone());
                let place = (frame.instance.key(), frame.frame);
                given.regions.entry(label).or_default().entry(place).or_default()[reader] = runs;
            }
            // A point or a length with a label says that it is there, though not where it ends.
            given.labels[reader].extend(frame.shapes.iter().filter_map(|shape| shape.label.clone()));
            Ok(())
        };
        for problem in visit(project, name, index, 0, &|_| true, task, take)? {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    let lists = [project.work_list(readers[0])?, project.work_list(readers[1])?];
    let state = |reader: usize, series: &SeriesUid| lists[reader].get(series).map_or(CaseState::New, |case| case.state);
    let cases = cases(index, &all, &state);
    let labels = project.labels().labels.iter().map(|label| agreement(&label.key, &all, &cases)).collect();
    Ok(Comparison { labels, cases, problems })
}

fn cases(
    index: &StudyIndex,
    all: &BTreeMap<SeriesUid, Given>,
    state: &dyn Fn(usize, &SeriesUid) -> CaseState,
) -> Vec<CaseAgreement> {
    let nothing = Given::default();
    let mut cases = Vec::new();
    for series in index.studies.iter().flat_map(|study| &study.series).filter(|series| series.frame_count() > 0) {
        let uid = series.reading_uid();
        let states = [state(0, &uid), state(1, &uid)];
        let given = all.get(&uid).unwrap_or(&nothing);
        let labels: Vec<LabelAgreement> = given.labels[0]
            .union(&given.labels[1])
            .map(|label| {
                let regions = given.regions.get(label);
                LabelAgreement {
                    label: label.clone(),
                    given: [given.labels[0].contains(label), given.labels[1].contains(label)],
                    dice: regions.and_then(|regions| dice(regions.values())),
                    farthest: regions.and_then(farthest),
                }
            })
            .collect();
        if !labels.is_empty() || states == [CaseState::Done; 2] {
            cases.push(CaseAgreement { series: uid, states, labels });
        }
    }
    cases
}

fn agreement(label: &str, all: &BTreeMap<SeriesUid, Given>, cases: &[CaseAgreement]) -> Agreement {
    let regions = all.values().filter_map(|given| given.regions.get(label));
    let by_frame: Vec<f64> = regions.flat_map(Regions::values).filter_map(|both| dice([both])).collect();
    let of = |case: &CaseAgreement| case.labels.iter().find(|other| other.label == label).cloned();
    let by_series: Vec<f64> = cases.iter().filter_map(|case| of(case)?.dice).collect();
    let mut series = [0usize; 4];
    for case in cases.iter().filter(|case| case.states == [CaseState::Done; 2]) {
        series[match of(case).map_or([false; 2], |label| label.given) {
            [true, true] => 0,
            [true, false] => 1,
            [false, true] => 2,
            [false, false] => 3,
        }] += 1;
    }
    let mean = |values: &[f64]| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
    Agreement {
        label: label.to_owned(),
        dice: mean(&by_frame),
        frames: by_frame.len(),
        series_dice: mean(&by_series),
        kappa: kappa(series),
        series,
    }
}

/// Of all pixels together; `None` where there are none.
fn dice<'r>(frames: impl IntoIterator<Item = &'r [Runs; 2]>) -> Option<f64> {
    let (both, sum) = frames
        .into_iter()
        .fold((0, 0), |(both, sum), [a, b]| (both + a.intersection(b).count(), sum + a.count() + b.count()));
    (sum > 0).then(|| 2.0 * both as f64 / sum as f64)
}

fn farthest(regions: &Regions) -> Option<(InstanceKey, usize)> {
    let apart = |[a, b]: &[Runs; 2]| a.count() + b.count() - 2 * a.intersection(b).count();
    // Of equal ones the first.
    let most = regions.iter().rev().max_by_key(|(_, both)| apart(both))?;
    Some(most.0.clone())
}

/// Cohen's kappa of a table: both yes, only the first, only the second, both no.
pub(super) fn kappa(table: [usize; 4]) -> Option<f64> {
    let [both, first, second, neither] = table.map(|count| count as f64);
    let total = both + first + second + neither;
    let observed = (both + neither) / total;
    let yes = (both + first) / total * ((both + second) / total);
    let no = (second + neither) / total * ((first + neither) / total);
    let chance = yes + no;
    (total > 0.0 && chance < 1.0 - 1e-12).then(|| (observed - chance) / (1.0 - chance))
}
