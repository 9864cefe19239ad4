//! `card.md`: what a fine-tuned bundle is, for people.

use std::fmt::Write;

use super::cases::{Plan, Side};
use crate::evaluate::{Comparison, metric_name};
use crate::model::{FineTuning, Metadata};

/// The card of a fine-tuned bundle.
pub(super) fn card(metadata: &Metadata, origin: &FineTuning, plan: &Plan, comparison: &Comparison) -> String {
    let mut text = format!("# {} {}\n\n{}\n\n", metadata.name, metadata.version, metadata.intended_use.statement);
    let FineTuning { parent, parent_version, parent_sha256, project, reader, seed, best_step, .. } = origin;
    let _ = write!(
        text,
        "Made on {} from **{parent} {parent_version}** (weights {}) on the project **{project}**, as read by **{reader}**; seed {seed}, \
         weights of step {best_step}. Research use only.\n\n## Cases\n\n| | patients | series | with / without |\n|---|---|---|---|\n",
        metadata.created,
        parent_sha256.get(..12).unwrap_or(parent_sha256),
    );
    for (name, side) in [("training", &plan.training), ("validation", &plan.validation), ("held out", &plan.held_out)] {
        let _ = writeln!(text, "| {name} | {} | {} | {} |", side.patients.len(), side.series.len(), counts(side));
    }
    text.push('\n');
    for (class, labels) in &origin.labels {
        let _ = writeln!(text, "- {class}: label{} {}", if labels.len() == 1 { "" } else { "s" }, labels.join(", "));
    }
    for (reason, number) in &plan.left_out {
        let _ = writeln!(text, "- left out: {number} series, {reason}");
    }
    if !plan.unused_labels.is_empty() {
        let unused: Vec<&str> = plan.unused_labels.iter().map(String::as_str).collect();
        let _ = writeln!(text, "- labels that stand for no class: {}", unused.join(", "));
    }
    let _ = write!(
        text,
        "\nPatients are listed by pseudonym in `metadata.json`.\n\n## Old and new\n\n{}\n\n",
        comparison.sentence()
    );
    text.push_str("| metric | of | old | new | difference |\n|---|---|---|---|---|\n");
    for row in &comparison.rows {
        let i = |i: &crate::evaluate::Interval| format!("{:.3} ({:.3} to {:.3})", i.value, i.low, i.high);
        let name = metric_name(&row.metric);
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} |",
            row.class,
            i(&row.before),
            i(&row.after),
            i(&row.difference)
        );
    }
    text.push_str("\n## Limits\n\n");
    for limit in &metadata.intended_use.limits {
        let _ = writeln!(text, "- {limit}");
    }
    text.push_str("\n## Data and licence\n\n");
    for data in &metadata.data {
        let _ = writeln!(text, "- {data}");
    }
    let _ = write!(text, "\n{}\n", metadata.licence);
    text
}

fn counts(side: &Side) -> String {
    let of = |(class, n): (&String, &super::Counts)| format!("{class} {} / {}", n.with, n.without);
    side.classes.iter().map(of).collect::<Vec<_>>().join(", ")
}
