//! The table that says whether the maps of an image point at what the answer rests on.

use super::content::readable_name;
use super::flow::{Cell, Column, Flow, GRAY, MARGIN, RULE, SMALL, WIDTH};
use crate::analysis::{Explanations, MapFaithfulness, MapId};
use crate::explain::Verdict;

/// A map for people: `LayerCAM, stage 2`, with the finding that it explains.
pub fn map_name(id: &MapId) -> String {
    match id.finding {
        None => id.kind.name(),
        Some(finding) => format!("{}, finding {}", id.kind.name(), finding.0),
    }
}

/// Lays the table out; nothing where no map was tested.
pub(super) fn table(flow: &mut Flow, explanations: &Explanations) {
    let rows: Vec<Vec<Cell>> = explanations.faithfulness.iter().map(row).collect();
    if rows.is_empty() {
        return;
    }
    let together = (rows.len() as f32 * 23.0 + 80.0).min(320.0);
    flow.heading("Faithfulness of the maps", None, together);
    let columns = [
        Column { title: "Map", share: 0.24 },
        Column { title: "Deletion", share: 0.09 },
        Column { title: "Insertion", share: 0.09 },
        Column { title: "Random maps", share: 0.14 },
        Column { title: "Tenth blurred", share: 0.13 },
        Column { title: "In lungs", share: 0.10 },
        Column { title: "Verdict", share: 0.21 },
    ];
    flow.table(&columns, &rows, RULE);
    let maps = explanations.faithfulness.first().map_or(0, |map| map.result.random.maps);
    let note = format!(
        "Deletion blurs the hottest parts of the map first, insertion brings them back first; the number is the area under the \
         probability of the class. A map is better than random where its deletion is lower, or its insertion higher, than that of \
         each of {maps} random maps as smooth as it (their range is given). Tenth blurred: the probability before and after the hottest \
         tenth is blurred. In lungs: share of the map there, and in brackets the \
         lungs' share of the image. One image says little: docs/explanations.md has the numbers over many."
    );
    flow.paragraph(MARGIN, WIDTH, SMALL, GRAY, &note);
}

fn row(map: &MapFaithfulness) -> Vec<Cell> {
    let result = &map.result;
    let number = |value: f32| Cell::new(format!("{value:.2}"));
    let lungs = match (result.inside_lungs, result.lungs_area) {
        (Some(inside), Some(area)) => format!("{:.0} % ({:.0} %)", inside * 100.0, area * 100.0),
        _ => "–".to_owned(),
    };
    let random = result.random;
    let doubtful = matches!(result.verdict, Verdict::NoBetterThanRandom | Verdict::NotMeasurable);
    vec![
        Cell::bold(format!("{}, {}", map_name(&map.id), readable_name(&map.id.label).to_lowercase())),
        number(result.deletion),
        number(result.insertion),
        Cell::new(format!("{:.2} to {:.2}", random.low, random.high)),
        Cell::new(format!("{:.2} → {:.2}", result.probability, result.hottest_masked)),
        Cell::new(lungs),
        Cell { bold: doubtful, ..Cell::new(result.verdict.words()) },
    ]
}
