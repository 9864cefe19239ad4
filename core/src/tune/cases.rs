//! Choosing cases and splitting their patients; no image is read for it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::TuneError;
use super::labels::{Labels, classes, labels_of};
use crate::dataset::hold_out;
use crate::evaluate::LEAST_PATIENTS;
use crate::model::Metadata;
use crate::project::{CaseState, Project, ReadSeries, read_series};
use crate::study::{SeriesUid, StudyIndex};

/// Share of the patients that are not held out whose loss says when to stop.
const VALIDATION: f64 = 0.2;
/// With fewer training patients than this a warning is given.
const FEW_PATIENTS: usize = 20;

/// A series that a reader may have read.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The series, as work lists name it.
    pub series: SeriesUid,
    /// Pseudonym of its patient.
    pub patient: String,
    /// Its modality.
    pub modality: String,
    /// How far the reader is.
    pub state: CaseState,
    /// Set aside.
    pub flagged: bool,
    /// Labels of regions on it.
    pub labels: BTreeSet<String>,
    /// Labels of what has no outline: points, lengths.
    pub unplaced: BTreeSet<String>,
}

impl Candidate {
    /// Whether it shows a class with these labels; `None` where nobody has said. Only what is done says that something is absent.
    fn shows(&self, labels: &[String]) -> Option<bool> {
        let any = |set: &BTreeSet<String>| labels.iter().any(|label| set.contains(label));
        if any(&self.labels) {
            return Some(true);
        }
        (self.state == CaseState::Done && !labels.is_empty() && !any(&self.unplaced)).then_some(false)
    }
}

/// All series of a project as one reader has read them, and what was wrong with session files.
pub fn candidates(
    project: &Project,
    reader: &str,
    index: &StudyIndex,
) -> Result<(Vec<Candidate>, Vec<String>), TuneError> {
    let (read, problems) = read_series(project, reader, index)?;
    let candidate = |read: ReadSeries<'_>| Candidate {
        series: read.series.reading_uid(),
        patient: project.patient(read.study),
        modality: read.series.modality.clone(),
        state: read.case.state,
        flagged: read.case.flagged,
        labels: read.labels,
        unplaced: read.unplaced,
    };
    Ok((read.into_iter().map(candidate).collect(), problems))
}

/// Which cases, and how they are split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// How far the reader must be.
    pub states: BTreeSet<CaseState>,
    /// Also what is set aside.
    pub flagged: bool,
    /// Which labels stand for which classes.
    pub labels: Labels,
    /// Share of patients that are held out, above 0 and below 1.
    pub hold_out: f64,
    /// Seed of the split.
    pub seed: u64,
}

impl Choice {
    /// Finished cases, a quarter of the patients held out.
    pub fn new(labels: Labels) -> Self {
        Self { states: BTreeSet::from([CaseState::Done]), flagged: false, labels, hold_out: 0.25, seed: 1 }
    }
}

/// Series that show a class, and that are known not to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// That show it.
    pub with: usize,
    /// That are known not to.
    pub without: usize,
}

/// One side of the split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Pseudonyms of its patients.
    pub patients: BTreeSet<String>,
    /// Their chosen series.
    pub series: BTreeSet<SeriesUid>,
    /// By class of the bundle that has a label.
    pub classes: BTreeMap<String, Counts>,
}

/// The chosen cases, split by patient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Learned from.
    pub training: Side,
    /// Says when to stop.
    pub validation: Side,
    /// Compared on.
    pub held_out: Side,
    /// Why series were left out, and how many.
    pub left_out: BTreeMap<String, usize>,
    /// Labels that were given and that fit no class.
    pub unused_labels: BTreeSet<String>,
    /// What the reader should know before.
    pub warnings: Vec<String>,
}

/// Chooses cases for the bundle and splits their patients; the same for the same cases and seed. Patients that show a class are split apart from
/// those that do not, so that both kinds are on every side where there are enough.
///
/// # Errors
/// Where the cases cannot teach the bundle, with their numbers.
pub fn plan(candidates: &[Candidate], choice: &Choice, metadata: &Metadata) -> Result<Plan, TuneError> {
    let classes = classes(metadata);
    let cases = |text: String| Err(TuneError::Cases(text));
    if !(choice.hold_out > 0.0 && choice.hold_out < 1.0) {
        return cases(format!("the held-out share must lie between 0 and 1, without both; it is {}", choice.hold_out));
    }
    if let Some((label, class)) =
        choice.labels.iter().find(|(_, of)| classes.iter().all(|class| class.name != of.as_str()))
    {
        let names: Vec<&str> = classes.iter().map(|class| class.name).collect();
        return cases(format!("label {label}: {} has no class {class}; it has {}", metadata.id, names.join(", ")));
    }
    let labels: BTreeMap<&str, Vec<String>> = classes
        .iter()
        .map(|class| (class.name, labels_of(&choice.labels, class.name)))
        .filter(|(_, labels)| !labels.is_empty())
        .collect();
    if labels.is_empty() {
        let known: Vec<&str> = classes.iter().map(|class| class.display).collect();
        return cases(format!(
            "no label of the project fits a class of {} ({}): say which stands for which",
            metadata.id,
            known.join(", ")
        ));
    }
    let mut left_out: BTreeMap<String, usize> = BTreeMap::new();
    let mut chosen: Vec<&Candidate> = Vec::new();
    let made_for = &metadata.intended_use.modalities;
    for candidate in candidates {
        let fits = made_for.is_empty() || made_for.iter().any(|m| m.eq_ignore_ascii_case(candidate.modality.trim()));
        let reason = if !choice.states.contains(&candidate.state) {
            "not as far as was asked for".to_owned()
        } else if candidate.flagged && !choice.flagged {
            "set aside".to_owned()
        } else if !fits {
            format!("{}: {} is made for {}", candidate.modality, metadata.id, made_for.join(", "))
        } else if labels.values().all(|labels| candidate.shows(labels).is_none()) {
            "nothing on it says whether a class is there".to_owned()
        } else {
            chosen.push(candidate);
            continue;
        };
        *left_out.entry(reason).or_default() += 1;
    }
    let reasons = || left_out.iter().map(|(reason, n)| format!("{n} {reason}")).collect::<Vec<_>>().join("; ");
    if chosen.is_empty() {
        return cases(format!("none of {} series can be used: {}", candidates.len(), reasons()));
    }
    // A patient belongs to the lesions that any of their series shows.
    let mut patients: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for candidate in &chosen {
        let shown = classes.iter().filter(|class| class.is_lesion).map(|class| class.name);
        let shown = shown.filter(|class| labels.get(class).is_some_and(|l| candidate.shows(l) == Some(true)));
        patients.entry(candidate.patient.clone()).or_default().extend(shown);
    }
    let strata = |of: &dyn Fn(&String) -> bool| -> BTreeMap<String, String> {
        let inside = patients.iter().filter(|(patient, _)| of(patient));
        inside.map(|(patient, shown)| (patient.clone(), Vec::from_iter(shown.iter().copied()).join(" "))).collect()
    };
    let held_out = hold_out(&strata(&|_| true), choice.hold_out, choice.seed);
    let validation = hold_out(&strata(&|patient| !held_out.contains(patient)), VALIDATION, choice.seed);
    let side = |of: &dyn Fn(&String) -> bool| {
        let mut side = Side::default();
        side.classes.extend(labels.keys().map(|class| ((*class).to_owned(), Counts::default())));
        for candidate in chosen.iter().filter(|candidate| of(&candidate.patient)) {
            side.patients.insert(candidate.patient.clone());
            side.series.insert(candidate.series.clone());
            for (class, labels) in &labels {
                let counts = side.classes.entry((*class).to_owned()).or_default();
                match candidate.shows(labels) {
                    Some(true) => counts.with += 1,
                    Some(false) => counts.without += 1,
                    None => {}
                }
            }
        }
        side
    };
    let mut plan = Plan {
        training: side(&|patient| !held_out.contains(patient) && !validation.contains(patient)),
        validation: side(&|patient| validation.contains(patient)),
        held_out: side(&|patient| held_out.contains(patient)),
        left_out: left_out.clone(),
        unused_labels: chosen
            .iter()
            .flat_map(|candidate| &candidate.labels)
            .filter(|label| !choice.labels.contains_key(*label))
            .cloned()
            .collect(),
        warnings: Vec::new(),
    };
    if held_out.is_empty() || validation.is_empty() {
        return cases(format!(
            "{} {} with {} {} cannot be split three ways, into training, validation and held-out patients: at least three \
             that are alike in what they show are needed{}",
            patients.len(),
            if patients.len() == 1 { "patient" } else { "patients" },
            chosen.len(),
            if chosen.len() == 1 { "case" } else { "cases" },
            if left_out.is_empty() { String::new() } else { format!(" (left out: {})", reasons()) },
        ));
    }
    if plan.training.classes.values().all(|counts| counts.with == 0) {
        let counts: Vec<String> =
            plan.training.classes.iter().map(|(class, n)| format!("{class}: {} without", n.without)).collect();
        return cases(format!(
            "no training case shows a class of the bundle ({}): nothing could be learned",
            counts.join(", ")
        ));
    }
    plan.warnings = warnings(&plan, metadata);
    Ok(plan)
}

fn warnings(plan: &Plan, metadata: &Metadata) -> Vec<String> {
    let mut warnings = Vec::new();
    for class in classes(metadata).iter().filter(|class| class.is_lesion) {
        let Some(training) = plan.training.classes.get(class.name) else { continue };
        if training.with == 0 || training.without == 0 {
            let Counts { with, without } = training;
            warnings.push(format!(
                "{}: {with} training cases show it, {without} do not: with one kind alone it is unlearned rather than learned",
                class.display
            ));
        }
        let held = plan.held_out.classes.get(class.name).copied().unwrap_or_default();
        if held.with == 0 || held.without == 0 {
            warnings.push(format!(
                "{}: {} held-out cases show it, {} do not: AUROC needs both",
                class.display, held.with, held.without
            ));
        }
    }
    let (training, held_out) = (plan.training.patients.len(), plan.held_out.patients.len());
    if training < FEW_PATIENTS {
        warnings.push(format!("{training} training patients are few: expect the bundle to learn them by heart"));
    }
    if held_out < LEAST_PATIENTS {
        warnings.push(format!(
            "{held_out} held-out patients: below {LEAST_PATIENTS} no difference between the bundles is judged"
        ));
    }
    warnings
}
