//! Which studies and series the list on the left shows, and in which order. Stepping through series follows the same order.
//!
//! Archives hold tens of thousands of studies: what is searched in is put together once, and the list is worked out anew only where what it
//! depends on has changed.

use std::cell::RefCell;
use std::rc::Rc;
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
    /// What stands above its series.
    pub head: Head,
}

/// The lines above the series of a study: heads of the same lines are of the same height.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The patient's name: studies of one patient in a row stand under one name.
    pub named: bool,
    /// Sex and age, below the name.
    pub patient: bool,
    /// Date and description of the study.
    pub study: bool,
}

impl Head {
    /// How many there are.
    pub const KINDS: usize = 8;

    /// Which of them it is.
    pub fn kind(self) -> usize {
        usize::from(self.named) | usize::from(self.named && self.patient) << 1 | usize::from(self.study) << 2
    }
}

/// The list, remembered.
#[derive(Debug, Default)]
pub struct Listing(RefCell<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// The studies that all of this is of, by their place in memory and their number.
    of: (usize, usize),
    series: usize,
    heads: Vec<Head>,
    /// Words of each study, and of each of its series; empty until something is searched.
    words: Vec<(String, Vec<String>)>,
    asked: Option<(String, SortBy)>,
    list: Rc<Vec<Listed>>,
}

impl Listing {
    /// The studies with a series that contains all words of `search`, in itself or in its study; without the series that do not.
    pub fn list(&self, studies: &[Arc<Study>], search: &str, sort: SortBy) -> Rc<Vec<Listed>> {
        let inner = &mut *self.0.borrow_mut();
        inner.keep_up(studies);
        let known = inner.asked.as_ref().is_some_and(|(asked, by)| asked == search && *by == sort);
        if !known {
            inner.list = Rc::new(inner.listed(studies, search, sort));
            inner.asked = Some((search.to_owned(), sort));
        }
        Rc::clone(&inner.list)
    }

    /// Number of series of all studies.
    pub fn series(&self, studies: &[Arc<Study>]) -> usize {
        let inner = &mut *self.0.borrow_mut();
        inner.keep_up(studies);
        inner.series
    }
}

impl Inner {
    /// Forgets what is of other studies.
    fn keep_up(&mut self, studies: &[Arc<Study>]) {
        let of = (studies.as_ptr() as usize, studies.len());
        if self.of != of {
            let series = studies.iter().map(|study| study.series.len()).sum();
            let head = |study: &Arc<Study>| Head {
                named: true,
                patient: !text::patient_detail(&study.patient).is_empty(),
                study: !text::study_detail(study).is_empty(),
            };
            *self = Self { of, series, heads: studies.iter().map(head).collect(), ..Self::default() };
        }
    }

    fn listed(&mut self, studies: &[Arc<Study>], search: &str, sort: SortBy) -> Vec<Listed> {
        let words: Vec<String> = search.split_whitespace().map(str::to_lowercase).collect();
        if !words.is_empty() && self.words.is_empty() {
            let of_series = |study: &Arc<Study>| study.series.iter().map(series_words).collect();
            self.words = studies.iter().map(|study| (study_words(study), of_series(study))).collect();
        }
        let listed = |study: usize, series: Vec<usize>| {
            let head = self.heads.get(study).copied().unwrap_or_default();
            Listed { study, series, head }
        };
        let matching = |(study, entry): (usize, &Arc<Study>)| {
            let Some((of_study, of_series)) = self.words.get(study).filter(|_| !words.is_empty()) else {
                return Some(listed(study, (0..entry.series.len()).collect()));
            };
            let missing: Vec<&String> = words.iter().filter(|word| !of_study.contains(*word)).collect();
            let matches = |index: &usize| missing.iter().all(|word| of_series[*index].contains(*word));
            let series: Vec<usize> = (0..of_series.len()).filter(matches).collect();
            (missing.is_empty() || !series.is_empty()).then(|| listed(study, series))
        };
        let mut list: Vec<Listed> = studies.iter().enumerate().filter_map(matching).collect();
        match sort {
            SortBy::Date => {}
            SortBy::Patient => {
                list.sort_by_cached_key(|item| text::patient_name(&studies[item.study].patient).to_lowercase());
            }
            SortBy::Modality => list.sort_by_cached_key(|item| {
                let series = &studies[item.study].series;
                item.series.first().and_then(|index| series.get(*index)).map(|series| series.modality.clone())
            }),
        }
        name_heads(&mut list, studies);
        list
    }
}

/// Sets which studies stand under a name of their own.
pub fn name_heads(list: &mut [Listed], studies: &[Arc<Study>]) {
    let mut before = None;
    for item in list {
        let patient = studies.get(item.study).map(|study| &study.patient);
        item.head.named = before.is_none() || before != patient;
        before = patient;
    }
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
        Listing::default().list(studies, search, sort).iter().map(|item| item.study).collect()
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
        let listing = Listing::default();
        let series =
            |search: &str| listing.list(&studies, search, SortBy::Date).first().map(|item| item.series.clone());
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

    #[test]
    fn the_list_is_remembered_until_something_changes() {
        let mut studies = vec![Arc::new(fixtures::study("Berg, Anna", "CT", 2))];
        studies.push(Arc::new(fixtures::study("Berg, Anna", "DX", 1)));
        let listing = Listing::default();
        let first = listing.list(&studies, "", SortBy::Date);
        let named: Vec<bool> = first.iter().map(|item| item.head.named).collect();
        assert_eq!(named, [true, false], "one name for both");
        assert!(Rc::ptr_eq(&first, &listing.list(&studies, "", SortBy::Date)));
        assert_eq!(listing.list(&studies, "dx", SortBy::Date).len(), 1);
        assert_eq!(listing.list(&studies, "", SortBy::Modality).len(), 2);
        studies.push(Arc::new(fixtures::study("Adler, Ben", "DX", 1)));
        assert_eq!(listing.list(&studies, "", SortBy::Modality).len(), 3);
        assert_eq!((listing.series(&studies), listing.series(&studies[..1])), (3, 1));
    }
}
