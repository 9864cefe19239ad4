//! Training and validation patients.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::coco::{CocoDataset, ImageRecord};

/// Indices into [`CocoDataset::images`], in ascending order; no patient is on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Images to learn from.
    pub train: Vec<usize>,
    /// Images of other patients, to measure on.
    pub validation: Vec<usize>,
}

/// Splits by patient: within each stratum (source and radiologist's reading) the patients with the smallest hash of seed and id
/// go to validation, as many as `validation_fraction` (0 to 1) of the stratum asks for, rounded.
///
/// The order of images does not matter, and where data is added only patients near the quantile change sides.
pub fn split_by_patient(dataset: &CocoDataset, validation_fraction: f64, seed: u64) -> Split {
    let mut patients: BTreeMap<&str, Vec<&ImageRecord>> = BTreeMap::new();
    for image in &dataset.images {
        patients.entry(&image.patient_id).or_default().push(image);
    }
    type Ranked<'a> = Vec<([u8; 32], &'a str)>;
    let mut strata: BTreeMap<(&str, &str), Ranked<'_>> = BTreeMap::new();
    for (patient, images) in &patients {
        // A patient with several images belongs where the annotated ones are: those decide what is measured.
        let first = images.iter().min_by_key(|image| {
            (image.annotated.is_empty(), image.radiologist_read.as_deref().unwrap_or(""), image.id)
        });
        let stratum =
            first.map_or(("", ""), |image| (image.source.as_str(), image.radiologist_read.as_deref().unwrap_or("")));
        strata.entry(stratum).or_default().push((patient_hash(patient, seed), patient));
    }
    let fraction = if validation_fraction.is_finite() { validation_fraction.clamp(0.0, 1.0) } else { 0.0 };
    let mut held_out: BTreeSet<&str> = BTreeSet::new();
    for members in strata.values_mut() {
        members.sort_unstable();
        let count = (members.len() as f64 * fraction).round() as usize;
        held_out.extend(members.iter().take(count).map(|(_, patient)| *patient));
    }
    let (validation, train) =
        (0..dataset.images.len()).partition(|index| held_out.contains(dataset.images[*index].patient_id.as_str()));
    Split { train, validation }
}

/// The patients to hold out of `patients`, each with its stratum: of each stratum of two patients or more the share `fraction` with the smallest
/// hash of seed and id, rounded, but at least one and never all.
pub fn hold_out(patients: &BTreeMap<String, String>, fraction: f64, seed: u64) -> BTreeSet<String> {
    let mut strata: BTreeMap<&str, Vec<([u8; 32], &str)>> = BTreeMap::new();
    for (patient, stratum) in patients {
        strata.entry(stratum).or_default().push((patient_hash(patient, seed), patient));
    }
    let mut held_out = BTreeSet::new();
    for members in strata.values_mut().filter(|members| members.len() > 1) {
        members.sort_unstable();
        let count = ((members.len() as f64 * fraction).round() as usize).clamp(1, members.len() - 1);
        held_out.extend(members.iter().take(count).map(|(_, patient)| (*patient).to_owned()));
    }
    held_out
}

fn patient_hash(patient: &str, seed: u64) -> [u8; 32] {
    Sha256::new().chain_update(seed.to_le_bytes()).chain_update(patient.as_bytes()).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn dataset(patients: usize) -> CocoDataset {
        let images = (0..patients * 2)
            .map(|index| ImageRecord {
                id: index as u64,
                file: PathBuf::new(),
                width: 1,
                height: 1,
                patient_id: format!("p{}", index / 2),
                source: if index / 2 % 5 == 0 { "b".into() } else { "a".into() },
                view: None,
                radiologist_read: None,
                annotated: BTreeSet::new(),
                shapes: Vec::new(),
            })
            .collect();
        CocoDataset { categories: Vec::new(), images }
    }

    #[test]
    fn keeps_patients_together_and_strata_even() {
        let data = dataset(100);
        let split = split_by_patient(&data, 0.15, 7);
        assert_eq!(split.train.len() + split.validation.len(), 200);
        assert_eq!(split.validation.len(), 2 * (3 + 12));
        let patient = |index: &usize| data.images[*index].patient_id.clone();
        let held: BTreeSet<String> = split.validation.iter().map(patient).collect();
        assert!(split.train.iter().all(|index| !held.contains(&patient(index))));
        assert_eq!(split, split_by_patient(&data, 0.15, 7));
        assert_ne!(split, split_by_patient(&data, 0.15, 8));
    }

    #[test]
    fn adding_patients_moves_few() {
        let before = split_by_patient(&dataset(200), 0.2, 1);
        let after = split_by_patient(&dataset(220), 0.2, 1);
        let old: BTreeSet<usize> = before.validation.iter().copied().collect();
        let new: BTreeSet<usize> = after.validation.iter().copied().filter(|i| *i < 400).collect();
        assert!(old.symmetric_difference(&new).count() <= 16, "{}", old.symmetric_difference(&new).count());
    }

    #[test]
    fn every_stratum_is_held_out_from_and_keeps_some() {
        let strata = [("ill", 2), ("well", 8), ("rare", 1)];
        let patients: BTreeMap<String, String> = strata
            .iter()
            .flat_map(|(stratum, count)| (0..*count).map(move |n| (format!("{stratum}{n}"), (*stratum).to_owned())))
            .collect();
        for (fraction, expected) in [(0.25, [1, 2, 0]), (0.01, [1, 1, 0]), (0.99, [1, 7, 0])] {
            let held = hold_out(&patients, fraction, 5);
            let of = |stratum: &str| held.iter().filter(|patient| patient.starts_with(stratum)).count();
            assert_eq!(strata.map(|(stratum, _)| of(stratum)), expected, "{fraction}");
            assert_eq!(held, hold_out(&patients, fraction, 5));
        }
        assert_ne!(hold_out(&patients, 0.25, 5), hold_out(&patients, 0.25, 6));
    }

    #[test]
    fn odd_fractions_are_harmless() {
        for (fraction, expected) in [(0.0, 0), (1.0, 20), (-3.0, 0), (f64::NAN, 0), (9.0, 20)] {
            assert_eq!(split_by_patient(&dataset(10), fraction, 0).validation.len(), expected);
        }
    }
}
