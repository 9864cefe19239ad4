//! Which studies and series the list on the left shows, and in which order. Stepping through series follows the same order.

use std::sync::Arc;

use bifocal_core::study::{Series, Study};

use crate::state::SortBy;
use crate::ui::text;

/// A study of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Index of the study.
    pub study: usize,
    /// Indices of its series that match, in order.
    pub series: Vec<usize>,
}

/// The studies with a series that contains all words of `search`, in itself or in its study; without the series that do not.
pub fn listed(studies: &[Arc<Study>], search: &str, sort: SortBy) -> Vec<Listed> {
    let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
    let mut list: Vec<Listed> = studies
        .iter()
        .enumerate()
        .filter_map(|(study, entry)| {
            let of_study = study_words(entry);
            let missing: Vec<&String> = words.iter().filter(|word| !of_study.contains(*word)).collect();
            let matches = |series: &Series| {
                let of_series = series_words(series);
                missing.iter().all(|word| of_series.contains(*word))
            };
            let series: Vec<usize> = if missing.is_empty() {
                (0..entry.series.len()).collect()
            } else {
                (0..entry.series.len()).filter(|index| entry.series.get(*index).is_some_and(matches)).collect()
            };
            (missing.is_empty() || !series.is_empty()).then_some(Listed { study, series })
        })
        .collect();
    match sort {
        SortBy::Date => {}
        SortBy::Patient => list.sort_by_key(|item| text::patient_name(&studies[item.study].patient).to_lowercase()),
        SortBy::Modality => {
            list.sort_by_key(|item| {
                let series = &studies[item.study].series;
                item.series.first().and_then(|index| series.get(*index)).map(|series| series.modality.clone())
            });
        }
    }
    list
}

fn study_words(study: &Study) -> String {
    let parts = [
        study.patient.name.as_str(),
        &study.patient.id,
        &study.date,
        &text::date(&study.date),
        &study.description,
        &study.accession_number,
    ];
    parts.join(" ").to_lowercase()
}

fn series_words(series: &Series) -> String {
    let parts = [&series.modality, &series.description, &series.body_part, &text::series_title(series)];
    parts.map(String::as_str).join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures;

    fn indices(studies: &[Arc<Study>], search: &str, sort: SortBy) -> Vec<usize> {
        listed(studies, search, sort).into_iter().map(|item| item.study).collect()
    }

    #[test]
    fn search_finds_all_words_anywhere() {
        let studies =
            [Arc::new(fixtures::study("Berg, Anna", "CT", 2)), Arc::new(fixtures::study("Adler, Ben", "DX", 1))];
        assert_eq!(indices(&studies, "", SortBy::Date), [0, 1]);
        assert_eq!(indices(&studies, "anna ct", SortBy::Date), [0]);
        assert_eq!(indices(&studies, "anna dx", SortBy::Date), [] as [usize; 0]);
        assert_eq!(indices(&studies, "2026-01", SortBy::Patient), [1, 0]);
        assert_eq!(indices(&studies, "id-adler", SortBy::Modality), [1]);
    }

    #[test]
    fn only_series_that_match_are_left_of_a_study() {
        let mut study = fixtures::study("Berg, Anna", "CT", 2);
        let mut other = study.series[0].clone();
        other.description = "Scout".into();
        study.series.push(other);
        let studies = [Arc::new(study)];
        let series = |search: &str| listed(&studies, search, SortBy::Date).into_iter().next().map(|item| item.series);
        assert_eq!(series(""), Some(vec![0, 1]));
        assert_eq!(series("anna"), Some(vec![0, 1]));
        assert_eq!(series("anna scout"), Some(vec![1]));
        assert_eq!(series("thorax"), Some(vec![0]));
        assert_eq!(series("knee"), None);
    }

    #[test]
    fn a_study_without_series_is_found_by_its_own_words() {
        let mut study = fixtures::study("Berg, Anna", "CT", 2);
        study.series.clear();
        assert_eq!(indices(&[Arc::new(study.clone())], "berg", SortBy::Modality), [0]);
        assert!(indices(&[Arc::new(study)], "ct", SortBy::Date).is_empty());
    }
}
