//! Who changed what and when, in words.

use bifocal_core::annotation::{Act, Change, Decision, Taxonomy, What};
use bifocal_core::project::{Case, CaseState, Deed, Told};

use crate::ui::text;

/// What an entry tells of: `Drew ellipse, Nodule`.
pub fn sentence(labels: &Taxonomy, told: &Told) -> String {
    match told {
        Told::Deed(deed) => deed_in_words(deed),
        Told::Step(step) => {
            let first = step.changes.first().map(|change| change_in_words(labels, change)).unwrap_or_default();
            let more = match step.changes.len() {
                0 | 1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            match step.act {
                Act::Done => text::sentence(&format!("{first}{more}")),
                Act::Undone => format!("Undo: {first}{more}"),
                Act::Redone => format!("Redo: {first}{more}"),
            }
        }
    }
}

fn change_in_words(labels: &Taxonomy, change: &Change) -> String {
    let name = |key: &str| labels.label(key).map_or_else(|| key.to_owned(), |label| label.name.clone());
    let of = change.label.as_deref().map(name);
    let label = of.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let kind = |kind: bifocal_core::annotation::ShapeKind| kind.name().to_lowercase();
    match &change.what {
        What::Drawn(shape) => format!("drew {}{label}", kind(*shape)),
        What::Changed(shape) => format!("changed {}{label}", kind(*shape)),
        What::Deleted(shape) => format!("deleted {}{label}", kind(*shape)),
        What::Relabelled(shape, before) => {
            let word = |label: Option<String>| label.unwrap_or_else(|| "no label".to_owned());
            format!("{}: {} instead of {}", kind(*shape), word(of), word(before.as_deref().map(name)))
        }
        What::Painted { added, removed: 0 } => format!("painted {}, {added} px", of.unwrap_or_default()),
        What::Painted { added: 0, removed } => format!("erased {removed} px of {}", of.unwrap_or_default()),
        What::Painted { added, removed } => {
            format!("painted {}, {added} px more and {removed} less", of.unwrap_or_default())
        }
        What::Reviewed(Decision::Accepted) => "accepted a finding".to_owned(),
        What::Reviewed(Decision::Rejected) => "rejected a finding".to_owned(),
        What::Reviewed(Decision::Open) => "left a finding open".to_owned(),
        What::KeyImage(true) => "picked a key image".to_owned(),
        What::KeyImage(false) => "took a key image out".to_owned(),
        What::Impression => "wrote the impression".to_owned(),
        What::Calibrated(true) => "calibrated the image".to_owned(),
        What::Calibrated(false) => "took the calibration back".to_owned(),
    }
}

fn deed_in_words(deed: &Deed) -> String {
    match deed {
        Deed::Case { from, to, .. } => case_in_words(from, to),
        Deed::Added { paths } => {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("Added {}", names.join(", "))
        }
        Deed::Removed { study } => format!("Took study {study} out"),
        Deed::PutBack { study } => format!("Put study {study} back"),
        Deed::Labels => "Changed the labels of the project".to_owned(),
        Deed::Renamed { from } => format!("Was called {from} before"),
        Deed::Imported { file, annotations } => {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            format!("Imported {annotations} annotations from {name}")
        }
        Deed::Exported { format, folder } => format!("Exported {format} to {}", folder.display()),
    }
}

fn case_in_words(from: &Case, to: &Case) -> String {
    let state = match to.state {
        CaseState::New => "Set back to new",
        CaseState::InProgress => "In progress",
        CaseState::Done => "Done",
    };
    let mut parts = Vec::new();
    if from.state != to.state {
        parts.push(state.to_owned());
    }
    if from.flagged != to.flagged {
        parts.push(if to.flagged { "Set aside" } else { "No longer set aside" }.to_owned());
    }
    if from.note != to.note {
        parts.push(if to.note.is_empty() { "Note deleted".to_owned() } else { format!("Note: {}", to.note) });
    }
    parts.join(", ")
}
