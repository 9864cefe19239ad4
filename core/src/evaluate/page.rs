//! `metrics.json` and a page that needs nothing but a browser.

use std::fmt::Write;
use std::path::Path;

use super::bootstrap::Interval;
use super::metrics::FROC_RATES;
use super::plot::{Axis, Plot, escape};
use super::run::{EvaluateError, Evaluation, LesionCurves, OrganScores};

/// Writes `metrics.json` (each key with `value`, `low`, `high`, `n`) and `index.html` into `folder`, which is made where it is
/// missing. `title` names the model, `subtitle` the data.
pub fn write(evaluation: &Evaluation, title: &str, subtitle: &str, folder: &Path) -> Result<(), EvaluateError> {
    let failed = |path: &Path, message: String| EvaluateError::Write { path: path.into(), message };
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error.to_string()))?;
    let metrics = folder.join("metrics.json");
    let json =
        serde_json::to_string_pretty(&evaluation.metrics).map_err(|error| failed(&metrics, error.to_string()))?;
    std::fs::write(&metrics, json + "\n").map_err(|error| failed(&metrics, error.to_string()))?;
    let page = folder.join("index.html");
    std::fs::write(&page, html(evaluation, title, subtitle)).map_err(|error| failed(&page, error.to_string()))
}

fn html(evaluation: &Evaluation, title: &str, subtitle: &str) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><main><header><h1>{title}</h1><p class=sub>{subtitle}</p>\
         <p>{} images of {} patients. 95 % intervals by bootstrap over patients. Research use only.</p></header>",
        evaluation.images,
        evaluation.patients,
        title = escape(title),
        subtitle = escape(subtitle),
    );
    if !evaluation.failures.is_empty() {
        let _ = write!(
            page,
            "<details class=warn open><summary>{} images could not be analysed and count nowhere</summary><ul>",
            evaluation.failures.len()
        );
        for failure in &evaluation.failures {
            let _ = write!(page, "<li>image {}: {}</li>", failure.image_id, escape(&failure.message));
        }
        page.push_str("</ul></details>");
    }
    page.push_str("<h2>Metrics</h2>");
    page.push_str(&table(evaluation));
    for lesion in &evaluation.lesions {
        let (positives, negatives) = lesion.positives_negatives;
        let _ = write!(
            page,
            "<h2>{}</h2><p>{positives} images with, {negatives} without.</p><div class=plots>{}{}{}</div>",
            escape(&readable(&lesion.class)),
            roc_plot(lesion, evaluation.metrics.get(&format!("auroc.{}", lesion.class))),
            froc_plot(lesion, evaluation.metrics.get(&format!("froc.{}", lesion.class))),
            reliability_plot(lesion, evaluation.metrics.get(&format!("ece.{}", lesion.class)))
        );
    }
    if evaluation.organs.iter().any(|organ| !organ.dice.is_empty()) {
        page.push_str("<h2>Organs</h2><div class=plots>");
        for organ in evaluation.organs.iter().filter(|organ| !organ.dice.is_empty()) {
            page.push_str(&dice_plot(organ));
        }
        page.push_str("</div>");
    }
    page.push_str(&worst(evaluation));
    page.push_str(METHOD);
    page.push_str("</main></html>");
    page
}

pub(super) fn readable(name: &str) -> String {
    let mut text = name.replace('_', " ");
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

fn table(evaluation: &Evaluation) -> String {
    let mut rows = String::from(
        "<table><tr><th>Metric<th>Of<th>Source<th class=n>Value<th class=n>95 % interval<th><th class=n>n",
    );
    for (key, interval) in &evaluation.metrics {
        let mut parts = key.splitn(3, '.');
        let (metric, class) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let source = parts.next();
        let place = |v: f64| 120.0 * v.clamp(0.0, 1.0);
        let _ = write!(
            rows,
            "<tr{}><td>{}<td>{}<td>{}<td class=n>{:.3}<td class=n>{:.3} – {:.3}<td><svg class=bar viewBox=\"0 0 120 10\">\
             <rect class=track x=0 y=4 width=120 height=2 /><rect class=range x={:.1} y=3 width={:.1} height=4 rx=2 />\
             <circle class=at cx={:.1} cy=5 r=3.2 /></svg><td class=n>{}",
            if source.is_some() { " class=part" } else { "" },
            escape(&metric_name(metric)),
            escape(&readable(class)),
            source.map_or_else(|| "all".to_owned(), escape),
            interval.value,
            interval.low,
            interval.high,
            place(interval.low),
            (place(interval.high) - place(interval.low)).max(1.0),
            place(interval.value),
            interval.n
        );
    }
    rows.push_str("</table>");
    rows
}

/// A metric's name for people, by its key (`auroc`).
pub fn metric_name(key: &str) -> String {
    match key {
        "ap50_boxes" => "AP50 of the detector's boxes",
        "ap50_map_boxes" => "AP50 of boxes around the map's findings",
        "auroc" => "AUROC",
        "average_precision" => "Average precision",
        "brier" => "Brier score (lower is better)",
        "dice" => "Dice",
        "ece" => "Expected calibration error (lower is better)",
        "froc" => "FROC, mean sensitivity",
        "froc_boxes" => "FROC of the detector's boxes",
        "froc_map_boxes" => "FROC of boxes around the map's findings",
        "pointing" => "Pointing game",
        "sensitivity_at_90_specificity" => "Sensitivity at 90 % specificity",
        other => return readable(other),
    }
    .to_owned()
}

fn with_interval(name: &str, interval: Option<&Interval>) -> String {
    interval.map_or_else(
        || format!("{name}: not defined"),
        |i| format!("{name} {:.3} ({:.3} – {:.3})", i.value, i.low, i.high),
    )
}

fn roc_plot(lesion: &LesionCurves, interval: Option<&Interval>) -> String {
    let mut plot = Plot::new("ROC", Axis::share("False positive rate"), Axis::share("Sensitivity"));
    plot.line(&[(0.0, 0.0), (1.0, 1.0)], "chance");
    plot.band(&lesion.roc_band);
    plot.line(&lesion.roc, "curve");
    plot.note(&with_interval("AUROC", interval));
    figure(plot)
}

fn froc_plot(lesion: &LesionCurves, interval: Option<&Interval>) -> String {
    let ticks =
        FROC_RATES.iter().map(|rate| (*rate, if *rate < 1.0 { format!("1/{}", 1.0 / rate) } else { rate.to_string() }));
    let x =
        Axis { label: "False positives an image".into(), from: 1.0 / 16.0, to: 8.0, log: true, ticks: ticks.collect() };
    let mut plot = Plot::new("FROC", x, Axis::share("Sensitivity over lesions"));
    plot.band(&lesion.froc_band);
    let mut curve = lesion.froc.clone();
    if let Some(last) = curve.last().copied() {
        curve.push((8.0, last.1));
    }
    plot.line(&curve, "curve");
    plot.note(&with_interval("FROC", interval));
    let to_the_edge = |curve: &[(f64, f64)]| {
        let last = curve.last().map(|last| (8.0, last.1));
        curve.iter().copied().chain(last).collect::<Vec<_>>()
    };
    if let Some(boxes) = &lesion.box_froc {
        plot.line(&to_the_edge(&lesion.map_box_froc), "curve thin");
        plot.line(&to_the_edge(boxes), "curve boxes");
        plot.note("orange: the detector's boxes; thin: boxes around the map's findings");
    }
    figure(plot)
}

fn reliability_plot(lesion: &LesionCurves, interval: Option<&Interval>) -> String {
    let mut plot = Plot::new("Reliability", Axis::share("Predicted probability"), Axis::share("Share of positives"));
    plot.line(&[(0.0, 0.0), (1.0, 1.0)], "chance");
    let most = lesion.reliability.iter().map(|bin| bin.count).max().unwrap_or(1);
    for bin in &lesion.reliability {
        let (low, high) = wilson(bin.observed, bin.count);
        plot.line(&[(bin.predicted, low), (bin.predicted, high)], "whisker");
    }
    let points: Vec<(f64, f64)> = lesion.reliability.iter().map(|bin| (bin.predicted, bin.observed)).collect();
    plot.line(&points, "curve thin");
    for bin in &lesion.reliability {
        let radius = 2.5 + 4.0 * (bin.count as f64 / most as f64).sqrt();
        plot.dot((bin.predicted, bin.observed), radius, "dot", &format!("{} images", bin.count));
    }
    plot.note(&with_interval("ECE", interval));
    figure(plot)
}

/// Wilson's 95 % interval of a share (Wilson, JASA 22, 1927).
fn wilson(share: f64, count: usize) -> (f64, f64) {
    let (n, z) = (count.max(1) as f64, 1.96f64);
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    (centre - half, centre + half)
}

fn dice_plot(organ: &OrganScores) -> String {
    let lowest = organ.dice.first().copied().unwrap_or(0.0);
    let from = if lowest >= 0.8 {
        0.8
    } else if lowest >= 0.5 {
        0.5
    } else {
        0.0
    };
    let step = if from > 0.6 { 0.05 } else { 0.1 };
    let y = Axis { label: String::new(), from: 0.0, to: 1.0, log: false, ticks: Vec::new() };
    let title = format!("{}, {} images", readable(&organ.organ), organ.dice.len());
    let mut plot = Plot::with_height(&title, Axis::linear("Dice", from, 1.0, step), y, 180.0);
    let at =
        |share: f64| organ.dice.get((share * (organ.dice.len() - 1) as f64).round() as usize).copied().unwrap_or(0.0);
    plot.rectangle((at(0.25), 0.12), (at(0.75), 0.88), "quartiles");
    for (index, value) in organ.dice.iter().enumerate() {
        // Golden-ratio steps spread the dots evenly without chance.
        let height = 0.2 + 0.6 * (index as f64 * 0.618_034).fract();
        plot.dot((*value, height), 2.6, "dot faint", &format!("{value:.3}"));
    }
    plot.line(&[(at(0.5), 0.06), (at(0.5), 0.94)], "median");
    plot.note(&format!("median {:.3}", at(0.5)));
    figure(plot)
}

fn figure(plot: Plot) -> String {
    format!("<figure>{}</figure>", plot.finish())
}

fn worst(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    let mut class = None;
    for case in &evaluation.worst {
        if class != Some(&case.class) {
            if class.is_some() {
                text.push_str("</div>");
            }
            let _ = write!(
                text,
                "<h2>Worst cases: {}</h2><p class=key><span class=truth>truth, left</span><span class=answer>network, right\
                 </span></p><div class=cases>",
                escape(&readable(&case.class))
            );
            class = Some(&case.class);
        }
        let _ = write!(
            text,
            "<figure><img alt=\"Truth and answer for image {id}\" src=\"data:image/jpeg;base64,{}\"><figcaption>{} \
             <span>image {id}, {}</span></figcaption></figure>",
            base64(&case.picture),
            escape(&case.summary),
            escape(&case.source),
            id = case.image_id,
        );
    }
    if class.is_some() {
        text.push_str("</div>");
    }
    text
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = (group >> (18 - 6 * position) & 0x3f) as usize;
            text.push(if position <= chunk.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

const METHOD: &str = "<h2>How it was measured</h2><ul class=method>\
<li>An image counts for a class only if it is annotated for it. Sources differ in kind and in case mix: read the rows of one source \
before the pooled ones.</li>\
<li>Dice is taken on each image where the organ is drawn, at probability 0.5, and averaged.</li>\
<li>AUROC: Hanley and McNeil, 1982; ties count one half. Average precision: step rule.</li>\
<li>Pointing game: share of images with a lesion whose heat map peaks inside a true box or mask, without tolerance.</li>\
<li>FROC as in LUNA16: mean sensitivity over lesions at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives an image; a finding hits \
the lesion whose box or mask holds its peak; a mask's connected regions are separate lesions. A box hits the lesion that holds its centre.</li>\
<li>AP50 as COCO has it: a box hits a lesion whose box it overlaps by half of their union or more, each lesion once; precision is \
averaged over recalls 0, 0.01 to 1. Boxes of a map are those around its regions above the threshold of a finding: what is below \
it cannot be found, while a detector's boxes are ranked down to a score of nearly 0.</li>\
<li>Calibration error over ten bins of equal width (Guo et al., 2017); whiskers are Wilson intervals, dots grow with the number of \
images.</li>\
<li>Worst cases of a lesion are those with the largest difference between probability and truth.</li></ul>";

pub(super) const STYLE: &str = "\
:root{color-scheme:dark}*{box-sizing:border-box}\
body{margin:0;background:#101316;color:#d5dbe0;font:15px/1.5 system-ui,sans-serif}\
main{max-width:1240px;margin:0 auto;padding:32px 24px 64px}\
h1{font-size:26px;font-weight:600;margin:0}h2{font-size:18px;font-weight:600;margin:40px 0 8px;color:#eef2f5}\
.sub{color:#8d979f;margin:4px 0 12px}p{margin:6px 0}\
.warn{border-left:3px solid #e0a458;background:#1b1a16;padding:8px 14px;margin:16px 0}\
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}\
th{color:#8d979f;font-weight:500;text-align:left}td,th{padding:5px 12px 5px 0;border-bottom:1px solid #20262b}\
.n{text-align:right}.part td{color:#98a2aa}.part td:first-child{padding-left:16px}\
.bar{width:120px;height:10px;display:block}.track{fill:#262d33}.range{fill:#39708f}.at{fill:#8fd0f5}\
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(360px,1fr));gap:16px}\
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(380px,1fr));gap:14px}\
figure{margin:0;background:#161b1f;border:1px solid #20262b;border-radius:8px;padding:10px;overflow:hidden}\
svg{display:block;width:100%}figure img{display:block;width:100%;height:240px;object-fit:contain;background:#000;border-radius:4px}\
figcaption{padding:8px 2px 0;font-variant-numeric:tabular-nums}figcaption span{color:#8d979f;float:right}\
.grid{stroke:#242b31;stroke-width:1}.tick{fill:#8d979f;font:11px system-ui,sans-serif}\
.label{fill:#a8b2ba;font:12px system-ui,sans-serif}.title{fill:#eef2f5;font:600 13px system-ui,sans-serif}\
.note{fill:#d5dbe0;font:12px system-ui,sans-serif}\
.curve{fill:none;stroke:#6fbdf0;stroke-width:2;stroke-linejoin:round}.thin{stroke-width:1.2;opacity:.6}.boxes{stroke:#e6a04a}\
.band{fill:#6fbdf0;opacity:.16}.chance{stroke:#5a646c;stroke-width:1;stroke-dasharray:4 4;fill:none}\
.whisker{stroke:#6fbdf0;stroke-width:1.2;opacity:.7}.dot{fill:#8fd0f5}.faint{opacity:.55}\
.quartiles{fill:#6fbdf0;opacity:.14}.median{stroke:#f2a84e;stroke-width:2}\
.key span{margin-right:18px}.truth{color:#5fd0c5}.answer{color:#f2a84e}.method{color:#a8b2ba;padding-left:18px}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{Failure, WorstCase};
    use std::collections::BTreeMap;

    #[test]
    fn base64_of_the_standard() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn wilson_stays_within_bounds() {
        let (low, high) = wilson(1.0, 5);
        assert!((low - 0.5655).abs() < 1e-3 && high <= 1.0 + 1e-9);
    }

    #[test]
    fn the_page_is_whole_and_safe() {
        let interval = Interval { value: 0.9, low: 0.8, high: 0.95, n: 12 };
        let evaluation = Evaluation {
            metrics: BTreeMap::from([("dice.left_lung".to_owned(), interval), ("auroc.x.a<b".to_owned(), interval)]),
            images: 12,
            patients: 11,
            lesions: Vec::new(),
            organs: vec![OrganScores { organ: "left_lung".into(), dice: vec![0.7, 0.9, 0.95] }],
            worst: vec![WorstCase {
                class: "left_lung".into(),
                image_id: 3,
                source: "<b>".into(),
                summary: "Dice 0.700".into(),
                picture: vec![1, 2, 3],
            }],
            failures: vec![Failure { image_id: 9, message: "no <file>".into() }],
        };
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("a/b");
        write(&evaluation, "Model", "Data", &out).expect("written");
        let page = std::fs::read_to_string(out.join("index.html")).expect("a page");
        assert!(!page.contains("<b>") && !page.contains("<file>") && page.contains("AQID"));
        assert!(!page.contains("src=\"http") && !page.contains("href="), "self-contained");
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(out.join("metrics.json")).expect("metrics")).expect("JSON");
        assert_eq!(json["dice.left_lung"], serde_json::json!({"value": 0.9, "low": 0.8, "high": 0.95, "n": 12}));
    }
}
