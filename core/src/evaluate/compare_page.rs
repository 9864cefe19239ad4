//! `comparison.json` and a page that needs nothing but a browser.

use std::fmt::Write;
use std::path::Path;

use super::bootstrap::Interval;
use super::compare::{Comparison, ComparisonRow, Verdict};
use super::page::{STYLE, metric_name, readable};
use super::plot::escape;
use super::run::EvaluateError;

/// Writes `comparison.json` and `comparison.html` into `folder`, which is made where it is missing. `title` names the two, `notes` are
/// paragraphs on data and training; `curves` is a picture beside the page, where there is one.
pub fn write_comparison(
    comparison: &Comparison,
    title: &str,
    notes: &[String],
    curves: Option<&str>,
    folder: &Path,
) -> Result<(), EvaluateError> {
    let failed = |path: &Path, message: String| EvaluateError::Write { path: path.into(), message };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error.to_string()))?;
    let file = folder.join("comparison.json");
    let json = serde_json::to_string_pretty(comparison).map_err(|error| failed(&file, error.to_string()))?;
    std::fs::write(&file, json + "\n").map_err(|error| failed(&file, error.to_string()))?;
    let page = folder.join("comparison.html");
    std::fs::write(&page, html(comparison, title, notes, curves)).map_err(|error| failed(&page, error.to_string()))
}

fn html(comparison: &Comparison, title: &str, notes: &[String], curves: Option<&str>) -> String {
    let title = escape(title);
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><main><header><h1>{title}</h1>\
         <p class=sub>{} images of {} held-out patients. Research use only.</p></header><p class=warn>{}</p>",
        comparison.images,
        comparison.patients,
        escape(&comparison.sentence()),
    );
    for note in notes {
        let _ = write!(page, "<p>{}</p>", escape(note));
    }
    page.push_str(
        "<h2>Metrics</h2><table><tr><th>Metric<th>Of<th class=n>Old<th class=n>New<th class=n>Difference<th>\
         <th>Verdict<th class=n>Patients",
    );
    comparison.rows.iter().for_each(|row| table_row(&mut page, row));
    page.push_str("</table>");
    if let Some(curves) = curves {
        let _ = write!(
            page,
            "<h2>Loss while training</h2><figure><img alt=\"Loss curves\" src=\"{}\"></figure>",
            escape(curves)
        );
    }
    if !comparison.failures.is_empty() {
        page.push_str("<h2>Images that count for neither</h2><ul>");
        for (image, message) in &comparison.failures {
            let _ = write!(page, "<li>image {image}: {}</li>", escape(message));
        }
        page.push_str("</ul>");
    }
    page.push_str(METHOD);
    page.push_str("</main></html>");
    page
}

fn table_row(page: &mut String, row: &ComparisonRow) {
    let interval = |i: &Interval| format!("{:.3} ({:.3} – {:.3})", i.value, i.low, i.high);
    let place = |v: f64| 60.0 + 60.0 * v.clamp(-1.0, 1.0);
    let d = &row.difference;
    let verdict = match row.verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Undecided => "not decided",
        Verdict::TooFew => "too few patients",
    };
    let _ = write!(
        page,
        "<tr><td>{}<td>{}<td class=n>{}<td class=n>{}<td class=n>{:+.3} ({:+.3} to {:+.3})<td>\
         <svg class=bar viewBox=\"0 0 120 10\"><rect class=track x=0 y=4 width=120 height=2 /><rect class=track x=59.5 y=0 width=1 \
         height=10 /><rect class=range x={:.1} y=3 width={:.1} height=4 rx=2 /><circle class=at cx={:.1} cy=5 r=3.2 /></svg>\
         <td>{verdict}<td class=n>{}",
        escape(&metric_name(&row.metric)),
        escape(&readable(&row.class)),
        interval(&row.before),
        interval(&row.after),
        d.value,
        d.low,
        d.high,
        place(d.low),
        (place(d.high) - place(d.low)).max(1.0),
        place(d.value),
        row.patients,
    );
}

const METHOD: &str = "<h2>How it was compared</h2><ul class=method>\
<li>Patients were held out before training; none of them was learned from, nor used to choose when to stop.</li>\
<li>Intervals are 95 %, by bootstrap over patients; those of the differences are paired: each draw takes the same patients for both \
bundles.</li>\
<li>A verdict is given where the interval of the difference leaves out 0 and there are ten patients or more. With many metrics some \
differ by chance.</li>\
<li>The truth is one reader's: a bundle tuned on this reader's cases is measured on this reader's cases.</li></ul>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_safe() {
        let interval = |value: f64| Interval { value, low: value - 0.1, high: value + 0.1, n: 20 };
        let row = ComparisonRow {
            metric: "auroc".into(),
            class: "a<b".into(),
            before: interval(0.7),
            after: interval(0.9),
            difference: interval(0.2),
            patients: 20,
            verdict: Verdict::Better,
        };
        let failures = vec![(3, "too <dark>".to_owned())];
        let comparison = Comparison { images: 20, patients: 20, rows: vec![row], failures };
        let folder = tempfile::tempdir().expect("a folder");
        write_comparison(&comparison, "Old & new", &["A <note>".into()], Some("curves.png"), folder.path())
            .expect("written");
        let page = std::fs::read_to_string(folder.path().join("comparison.html")).expect("a page");
        for text in
            ["Old &amp; new", "A &lt;note&gt;", "A&lt;b", "+0.200 (+0.100 to +0.300)", "too &lt;dark&gt;", "curves.png"]
        {
            assert!(page.contains(text), "{text}");
        }
        let json = std::fs::read_to_string(folder.path().join("comparison.json")).expect("JSON");
        assert_eq!(serde_json::from_str::<Comparison>(&json).expect("reads back"), comparison);
    }
}
