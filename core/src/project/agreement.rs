//! Two readers side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{CaseState, Project, ProjectError, collect};
use crate::measure::Runs;
use crate::study::StudyIndex;
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
    /// Cohen's kappa (Cohen, 1960) of whether a series shows it, over series that both are done with; `None` where chance alone would
    /// make them agree.
    pub kappa: Option<f64>,
    /// Those series: both say yes, only the first, only the second, both say no.
    pub series: [usize; 4],
}

/// Compares two readers, label by label.
pub fn agreement(
    project: &Project,
    readers: [&str; 2],
    index: &StudyIndex,
    task: &Task,
) -> Result<Vec<Agreement>, ProjectError> {
    let gathered = [collect(project, readers[0], index, 0, task)?, collect(project, readers[1], index, 0, task)?];
    let lists = [project.work_list(readers[0])?, project.work_list(readers[1])?];
    let both_done: BTreeSet<_> = lists[0]
        .iter()
        .filter(|(_, case)| case.state == CaseState::Done)
        .map(|(series, _)| series)
        .filter(|series| lists[1].get(*series).is_some_and(|case| case.state == CaseState::Done))
        .collect();
    type Place = (crate::study::InstanceKey, usize, String);
    let mut regions: BTreeMap<Place, [Runs; 2]> = BTreeMap::new();
    let mut shown: [BTreeSet<(crate::study::SeriesUid, String)>; 2] = [BTreeSet::new(), BTreeSet::new()];
    for (reader, collected) in gathered.iter().enumerate() {
        for frame in &collected.frames {
            for (label, runs) in frame.regions() {
                shown[reader].insert((frame.series.reading_uid(), label.clone()));
                regions.entry((frame.instance.key(), frame.frame, label)).or_default()[reader] = runs;
            }
            // A point or a length with a label says that it is there, though not where it ends.
            for label in frame.shapes.iter().filter_map(|shape| shape.label.clone()) {
                shown[reader].insert((frame.series.reading_uid(), label));
            }
        }
    }
    let rows = project.labels().labels.iter().map(|label| {
        let dice: Vec<f64> = regions
            .iter()
            .filter(|((.., other), _)| *other == label.key)
            .map(|(_, [a, b])| 2.0 * a.intersection(b).count() as f64 / (a.count() + b.count()).max(1) as f64)
            .collect();
        let mut series = [0usize; 4];
        for uid in &both_done {
            let key = ((*uid).clone(), label.key.clone());
            series[match (shown[0].contains(&key), shown[1].contains(&key)) {
                (true, true) => 0,
                (true, false) => 1,
                (false, true) => 2,
                (false, false) => 3,
            }] += 1;
        }
        Agreement {
            label: label.key.clone(),
            dice: (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64),
            frames: dice.len(),
            kappa: kappa(series),
            series,
        }
    });
    Ok(rows.collect())
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
