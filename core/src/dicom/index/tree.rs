//! From single instances to studies and series in reading order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use sha2::{Digest, Sha256};

use super::header::Found;
use crate::dicom::data_set::tag_name;
use crate::image_io::with_stream;
use crate::study::{
    InstanceUid, Problem, Series, SeriesUid, Severity, Slice, Source, Study, StudyIndex, StudyUid, order_slices,
};

/// Frames of one instance that are put in another order than the stored one.
const MAX_ORDERED: usize = 1_000_000;

/// Builds the tree; studies newest first, series by number, problems by file.
pub(super) fn build(mut found: Vec<Found>, mut problems: Vec<Problem>) -> StudyIndex {
    found.sort_by(|a, b| a.instance.source.cmp(&b.instance.source));
    let found = tell_apart(found, &mut problems);
    let mut studies: BTreeMap<StudyUid, (Study, BTreeMap<SeriesUid, Vec<Found>>)> = BTreeMap::new();
    for one in found {
        let (study, series) =
            studies.entry(one.study.uid.clone()).or_insert_with(|| (one.study.clone(), BTreeMap::new()));
        if !one.study.patient.id.is_empty() && !study.patient.id.is_empty() && one.study.patient.id != study.patient.id
        {
            let cause = "another patient than the other files of this study: check which is right";
            let source = one.instance.source.clone();
            problems.push(Problem::error(source, Some(tag_name(tags::PATIENT_ID)), cause));
        }
        complete_study(study, &one.study);
        series.entry(one.series.uid.clone()).or_default().push(one);
    }
    let mut studies: Vec<Study> = studies
        .into_values()
        .map(|(mut study, series)| {
            study.series = series.into_values().filter_map(|members| build_series(members, &mut problems)).collect();
            let key = |s: &Series| (s.number.unwrap_or(i64::MAX), s.modality.clone(), s.description.clone());
            study.series.sort_by_cached_key(key);
            study
        })
        .collect();
    tell_series_apart(&mut studies, &mut problems);
    studies
        .sort_by(|a, b| (&b.date, &b.time).cmp(&(&a.date, &a.time)).then_with(|| a.patient.name.cmp(&b.patient.name)));
    problems.sort_by(|a, b| a.source.cmp(&b.source));
    let (problems, remarks) = problems.into_iter().partition(|problem| problem.severity == Severity::Error);
    StudyIndex { studies, problems, remarks }
}

fn remark(source: &Source, tag: Tag, cause: String, kind: &str) -> Problem {
    Problem::remark(source.clone(), Some(tag_name(tag)), cause).of_kind(kind)
}

fn fill(field: &mut String, other: &str) {
    if field.is_empty() {
        other.clone_into(field);
    }
}

fn complete_study(study: &mut Study, other: &Study) {
    fill(&mut study.patient.name, &other.patient.name);
    fill(&mut study.patient.id, &other.patient.id);
    fill(&mut study.patient.birth_date, &other.patient.birth_date);
    fill(&mut study.patient.sex, &other.patient.sex);
    fill(&mut study.patient.age, &other.patient.age);
    fill(&mut study.date, &other.date);
    fill(&mut study.time, &other.time);
    fill(&mut study.description, &other.description);
    fill(&mut study.accession_number, &other.accession_number);
}

fn complete_series(series: &mut Series, other: &Series) {
    fill(&mut series.modality, &other.modality);
    fill(&mut series.description, &other.description);
    fill(&mut series.body_part, &other.body_part);
    fill(&mut series.view_position, &other.view_position);
    fill(&mut series.laterality, &other.laterality);
    fill(&mut series.manufacturer, &other.manufacturer);
    fill(&mut series.institution, &other.institution);
    series.number = series.number.or(other.number);
    if series.frame_of_reference.is_none() {
        series.frame_of_reference.clone_from(&other.frame_of_reference);
    }
}

fn build_series(members: Vec<Found>, problems: &mut Vec<Problem>) -> Option<Series> {
    let mut members = members;
    let mut series = members.first()?.series.clone();
    let mut references = BTreeSet::new();
    for one in &members {
        complete_series(&mut series, &one.series);
        references.extend(one.series.frame_of_reference.clone());
    }
    if references.len() > 1
        && let Some(first) = members.first()
    {
        let cause = format!("{} frames of reference in one series: positions may not be comparable", references.len());
        let kind = "several in one series: positions may not be comparable";
        problems.push(remark(&first.instance.source, tags::FRAME_OF_REFERENCE_UID, cause, kind));
    }
    let positions_expected = matches!(series.modality.as_str(), "CT" | "MR" | "PT");
    for one in &mut members {
        if one.frames.len() > 1 {
            let order = order_slices(&one.frames, false).indices;
            let first = order.first().copied().unwrap_or(0);
            one.instance.geometry = one.frames.get(first).and_then(|slice| slice.geometry);
            // Frames beyond the functional groups keep their place at the end.
            let known = one.frames.len();
            let order: Vec<usize> = order.into_iter().chain(known..one.instance.frames.min(MAX_ORDERED)).collect();
            if order.len() < MAX_ORDERED && order.iter().enumerate().any(|(place, frame)| place != *frame) {
                one.instance.frame_order = order;
            }
        }
    }
    // Objects without an image come last and say nothing about the slices.
    let (images, others): (Vec<Found>, Vec<Found>) = members.into_iter().partition(|one| one.instance.frames > 0);
    let slices: Vec<Slice> = images
        .iter()
        .map(|one| Slice {
            geometry: one.instance.geometry,
            keys: match &one.frames[..] {
                [only] => only.keys.clone(),
                _ => vec![0, 0, one.instance.number.unwrap_or(i64::MAX)],
            },
            size: (one.instance.rows, one.instance.columns),
        })
        .collect();
    let order = order_slices(&slices, positions_expected);
    series.notes = if images.iter().any(|one| one.frames.len() > 1) {
        let all: Vec<Slice> = images.iter().flat_map(|one| one.frames.iter().cloned()).collect();
        order_slices(&all, positions_expected).notes
    } else {
        order.notes
    };
    if series.modality == "SEG" {
        // Segments share positions and skip slices by design.
        series.notes.clear();
    }
    let mut images: Vec<Option<Found>> = images.into_iter().map(Some).collect();
    let in_order = order.indices.iter().filter_map(|index| images.get_mut(*index).and_then(Option::take));
    series.instances = in_order.map(|one| one.instance).collect();
    let mut others: Vec<_> = others.into_iter().map(|one| one.instance).collect();
    others.sort_by_key(|instance| instance.number.unwrap_or(i64::MAX));
    series.instances.extend(others);
    Some(series)
}

/// Drops identical copies of one instance; of different files that claim the same SOP Instance UID, anywhere in the index,
/// keeps all, gives each a key of its own, and says so.
fn tell_apart(mut found: Vec<Found>, problems: &mut Vec<Problem>) -> Vec<Found> {
    let mut by_uid: HashMap<InstanceUid, Vec<usize>> = HashMap::new();
    for (index, one) in found.iter().enumerate() {
        by_uid.entry(one.instance.uid.clone()).or_default().push(index);
    }
    let mut dropped = BTreeSet::new();
    for twins in by_uid.into_values().filter(|twins| twins.len() > 1) {
        // Content hash and index of the files that are kept, in the order of their names.
        let mut kept: Vec<(String, usize)> = Vec::new();
        for index in twins {
            let Some(one) = found.get(index) else { continue };
            let source = &one.instance.source;
            let hash = content_hash(source).unwrap_or_else(|_| Sha256::digest(source.to_string()).to_vec());
            let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            if kept.iter().any(|(other, _)| *other == hash) {
                dropped.insert(index);
            } else {
                kept.push((hash, index));
            }
        }
        let [(_, first), others @ ..] = &kept[..] else { continue };
        let Some(first) = found.get(*first).map(|one| one.instance.source.clone()) else { continue };
        if others.is_empty() {
            continue;
        }
        for (_, index) in others {
            let Some(one) = found.get(*index) else { continue };
            let cause =
                format!("the same as in {first}, but the content differs: both are kept, with reviews of their own");
            let kind = "the same in files of differing content: all are kept, with reviews of their own";
            problems.push(remark(&one.instance.source, tags::SOP_INSTANCE_UID, cause, kind));
        }
        for (hash, index) in kept {
            if let Some(one) = found.get_mut(index) {
                one.instance.twin = Some(hash);
            }
        }
    }
    found.into_iter().enumerate().filter(|(index, _)| !dropped.contains(index)).map(|(_, one)| one).collect()
}

/// Marks series whose UID another study uses too, so that a reading of one is not taken for one of the other.
fn tell_series_apart(studies: &mut [Study], problems: &mut Vec<Problem>) {
    let mut uses: HashMap<SeriesUid, usize> = HashMap::new();
    for series in studies.iter().flat_map(|study| &study.series) {
        *uses.entry(series.uid.clone()).or_default() += 1;
    }
    for study in studies {
        let study_uid = study.uid.0.clone();
        for series in study.series.iter_mut().filter(|series| uses.get(&series.uid).is_some_and(|n| *n > 1)) {
            let hash = Sha256::digest(study_uid.as_bytes());
            series.twin = Some(hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect());
            if let Some(first) = series.instances.first() {
                let cause = "another study has a series of the same UID: each is kept apart";
                problems.push(remark(&first.source, tags::SERIES_INSTANCE_UID, cause.into(), cause));
            }
        }
    }
}

fn content_hash(source: &Source) -> io::Result<Vec<u8>> {
    with_stream(source, |stream: &mut dyn Read, _| {
        let mut hash = Sha256::new();
        let mut block = vec![0; 64 << 10];
        let mut left: u64 = 4 << 30;
        loop {
            let read = stream.read(&mut block)?;
            if read == 0 || left == 0 {
                return Ok(hash.finalize().to_vec());
            }
            left = left.saturating_sub(read as u64);
            hash.update(block.get(..read).unwrap_or(&[]));
        }
    })
}
