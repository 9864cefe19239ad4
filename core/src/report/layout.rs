//! A report as pages: sections in reading order, warm for the local branch, cool for the global one.

use std::sync::Arc;

use super::content::{
    RESEARCH_USE_ONLY, ReportImage, ReportInput, ReportOptions, location, patient_facts, readable_name, size,
};
use super::faithfulness;
use super::flow::{BODY, Cell, Column, Flow, GRAY, INK, MARGIN, RULE, SMALL, WIDTH, line_height};
use super::measurements;
use super::page::{Item, Page};
use super::panel::{Overlay, lesion_style, paint_panel, panel_size};
use super::time::Civil;
use crate::analysis::{Analysis, AttentionMap, AttentionMethod, Calibration, Explanations, Prediction};
use crate::annotation::Decision;
use crate::render::{COOL, HeatStyle, WARM, Weight, color_bar, date, organ_color, text_width, wrap};

/// At most so many images are shown; more would hide the report.
const MOST_IMAGES: usize = 12;
/// Width of an image on the page; two stand side by side, each with a colour bar.
const PANEL_WIDTH: f32 = 217.0;
const PANEL_HEIGHT: f32 = 212.0;
/// Lines of a panel's caption that are printed.
const MOST_CAPTION_LINES: usize = 6;
/// Distance from the left edge of a panel to that of the next.
const PANEL_STEP: f32 = WIDTH / 2.0 + 3.0;

/// Lays a report out on A4 pages.
pub fn layout(input: &ReportInput<'_>, options: &ReportOptions) -> Vec<Page> {
    let mut flow = Flow::new();
    title(&mut flow, input);
    if options.patient {
        flow.facts(&patient_facts(input, options.identifiers));
    }
    if !options.identifiers {
        let text =
            "Identifiers are left out. Text burned into an image and the reader's own words are shown as they are.";
        flow.space(5.0);
        flow.paragraph(MARGIN, WIDTH, SMALL, GRAY, text);
    }
    if options.flags {
        flags(&mut flow, input);
    }
    if options.impression {
        impression(&mut flow, input);
    }
    if options.predictions {
        predictions(&mut flow, input);
    }
    if options.findings {
        findings(&mut flow, input, options);
    }
    if options.measurements {
        measurements::table(&mut flow, input);
    }
    images(&mut flow, input, options);
    method(&mut flow, input, options);
    let created = Civil::from_system(input.created).readable();
    let who = header_text(input, options);
    flow.finish(|number, count, items| furniture(items, &who, &created, number, count))
}

/// Patient and study as they stand on top of every page, so that a lost sheet can be told.
fn header_text(input: &ReportInput<'_>, options: &ReportOptions) -> String {
    if !options.identifiers || !options.patient {
        return "Identifiers left out".to_owned();
    }
    let patient = &input.study.patient;
    let parts = [patient.name.clone(), patient.id.clone(), date(&input.study.date)];
    let whole = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ·  ");
    // One line, cut where a name is longer than the page is wide.
    let lines = wrap(&whole, 8.0, WIDTH - 130.0);
    match lines.as_slice() {
        [first, _, ..] => format!("{first} …"),
        [first] => first.clone(),
        [] => String::new(),
    }
}

fn furniture(items: &mut Vec<Item>, who: &str, created: &str, number: usize, count: usize) {
    let text = |x, baseline, size, weight, color, text: &str| Item::Text {
        x,
        baseline,
        size,
        weight,
        color,
        text: text.to_owned(),
    };
    let right = |label: &str, size| MARGIN + WIDTH - text_width(label, size);
    items.push(text(MARGIN, 40.0, 11.0, Weight::Bold, INK, "Bifocal"));
    items.push(Item::Rect { x: MARGIN, y: 45.5, width: 24.0, height: 2.0, radius: 0.0, color: WARM });
    items.push(Item::Rect { x: MARGIN + 24.0, y: 45.5, width: 24.0, height: 2.0, radius: 0.0, color: COOL });
    items.push(text(right(who, 8.0), 40.0, 8.0, Weight::Regular, INK, who));
    let y = super::page::A4.1 - 42.0;
    items.push(Item::Line { from: (MARGIN, y), to: (MARGIN + WIDTH, y), width: 0.5, color: RULE });
    items.push(text(MARGIN, y + 13.0, 8.0, Weight::Bold, INK, RESEARCH_USE_ONLY));
    let middle = MARGIN + (WIDTH - text_width(created, 8.0)) / 2.0 + 30.0;
    items.push(text(middle, y + 13.0, 8.0, Weight::Regular, GRAY, created));
    let page = format!("Page {number} of {count}");
    items.push(text(right(&page, 8.0), y + 13.0, 8.0, Weight::Regular, GRAY, &page));
}

fn title(flow: &mut Flow, input: &ReportInput<'_>) {
    let y = flow.y();
    flow.text_at(MARGIN, y + 17.0, 18.0, Weight::Bold, INK, "Image analysis report");
    let state = if input.images.iter().any(|image| image.analysis.is_some()) {
        "Made by a neural network; findings are suggestions until a reader accepts them."
    } else {
        "Key images and impression; nothing was analysed."
    };
    flow.text_at(MARGIN, y + 31.0, BODY, Weight::Regular, GRAY, state);
    flow.advance(42.0);
}

fn flags(flow: &mut Flow, input: &ReportInput<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    flow.space(8.0);
    let notes = input.series.notes.iter().map(ToString::to_string).collect::<Vec<_>>();
    for image in &input.images {
        let answer = image.analysis.iter().flat_map(|analysis| &analysis.flags);
        let maps = image.explanations.iter().flat_map(|explanations| &explanations.faithfulness);
        for flag in answer.chain(maps.flat_map(|map| &map.warnings)) {
            if !seen.contains(&flag.message.as_str()) {
                seen.push(&flag.message);
                flow.note(WARM, "! Warning", &flag.message);
            }
        }
    }
    if !notes.is_empty() {
        flow.note(RULE, "About the series", &notes.join("; "));
    }
}

fn impression(flow: &mut Flow, input: &ReportInput<'_>) {
    flow.heading("Impression", None, 20.0);
    let text = input.session.impression.trim();
    if text.is_empty() {
        flow.paragraph(MARGIN, WIDTH, BODY, GRAY, "The reader has not written an impression.");
    } else {
        flow.paragraph(MARGIN, WIDTH, 10.0, INK, text);
    }
}

/// The highest probability of each class over all images, in the bundle's order.
pub(super) fn highest_predictions(input: &ReportInput<'_>) -> Vec<Prediction> {
    let mut highest: Vec<Prediction> = Vec::new();
    for prediction in input.images.iter().filter_map(|image| image.analysis).flat_map(|analysis| &analysis.predictions)
    {
        match highest.iter_mut().find(|known| known.label == prediction.label) {
            Some(known) if known.probability >= prediction.probability => {}
            Some(known) => *known = prediction.clone(),
            None => highest.push(prediction.clone()),
        }
    }
    highest
}

fn calibration(state: Calibration) -> &'static str {
    match state {
        Calibration::Calibrated => "calibrated",
        Calibration::Uncalibrated => "not calibrated",
    }
}

fn predictions(flow: &mut Flow, input: &ReportInput<'_>) {
    let rows: Vec<Vec<Cell>> = highest_predictions(input)
        .iter()
        .map(|prediction| {
            let positive = prediction.probability >= prediction.threshold;
            vec![
                Cell::bold(readable_name(&prediction.label)),
                Cell {
                    bar: Some((prediction.probability, WARM)),
                    ..Cell::bold(format!("{:.2}", prediction.probability))
                },
                Cell::new(calibration(prediction.calibration)),
                Cell::new(format!("{:.2}", prediction.threshold)),
                Cell { bold: positive, ..Cell::new(if positive { "Above threshold" } else { "Below threshold" }) },
            ]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let title = if input.images.len() > 1 { "Whole image (highest over all images)" } else { "Whole image" };
    flow.heading(title, None, 46.0);
    let columns = [
        Column { title: "Class", share: 0.30 },
        Column { title: "Probability", share: 0.20 },
        Column { title: "Calibration", share: 0.18 },
        Column { title: "Threshold", share: 0.12 },
        Column { title: "State", share: 0.20 },
    ];
    flow.table(&columns, &rows, RULE);
}

fn findings(flow: &mut Flow, input: &ReportInput<'_>, options: &ReportOptions) {
    if input.model_identity().is_none() {
        return;
    }
    flow.heading("Findings", Some(("LOCAL", WARM)), 46.0);
    let all = input.findings(options);
    if all.is_empty() {
        let text = "The network marks no finding above its threshold. This does not exclude disease.";
        flow.paragraph(MARGIN, WIDTH, BODY, INK, text);
        return;
    }
    let one_image = input.images.len() == 1;
    let rows: Vec<Vec<Cell>> = all
        .iter()
        .map(|(image, finding, review)| {
            let rejected = review.decision == Decision::Rejected;
            let struck = |text: String| Cell { struck: rejected, ..Cell::new(text) };
            let decision = match review.decision {
                Decision::Open => "Not reviewed",
                Decision::Accepted => "Accepted",
                Decision::Rejected => "Rejected",
            };
            vec![
                Cell::bold(if one_image {
                    finding.id.0.to_string()
                } else {
                    format!("{} / {}", image.position + 1, finding.id.0)
                }),
                Cell { bold: true, ..struck(readable_name(&finding.label)) },
                Cell {
                    bar: Some((finding.probability, if rejected { GRAY } else { WARM })),
                    ..Cell::new(format!("{:.2} {}", finding.probability, calibration(finding.calibration)))
                },
                struck(location(finding)),
                struck(size(finding)),
                Cell {
                    bold: review.decision != Decision::Open,
                    gray: review.decision == Decision::Open,
                    ..Cell::new(decision)
                },
                Cell::new(review.comment.trim()),
            ]
        })
        .collect();
    let columns = [
        Column { title: if one_image { "No." } else { "Image / no." }, share: 0.095 },
        Column { title: "Finding", share: 0.14 },
        Column { title: "Probability", share: 0.155 },
        Column { title: "Location", share: 0.165 },
        Column { title: "Size", share: 0.155 },
        Column { title: "Reader", share: 0.12 },
        Column { title: "Comment", share: 0.17 },
    ];
    flow.table(&columns, &rows, WARM);
}

/// A panel with its caption.
struct Panel<'a> {
    overlay: Overlay<'a>,
    chip: Option<(&'static str, [u8; 3])>,
    title: String,
    caption: String,
    bar: Option<HeatStyle>,
}

fn images(flow: &mut Flow, input: &ReportInput<'_>, options: &ReportOptions) {
    if !options.key_images && !options.overlays && !options.attention {
        return;
    }
    let shown = input.shown_images();
    for image in shown.iter().take(MOST_IMAGES) {
        let key = if input.is_key(image) { "Key image" } else { "Image" };
        let mut panels = Vec::new();
        if options.key_images {
            panels.push(Panel {
                overlay: Overlay::Plain,
                chip: None,
                title: "Without overlay".to_owned(),
                caption: [image.frame.display.warnings.join(". "), image.voi.describe()]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(". "),
                bar: None,
            });
        }
        if let Some(analysis) = image.analysis {
            if options.overlays {
                panels.extend(lesion_panels(analysis));
                panels.extend(cam_panels(analysis, image.explanations));
            }
            if options.attention {
                panels.extend(attention_maps(analysis).into_iter().map(|map| attention_panel(analysis, map)));
            }
        }
        if panels.is_empty() {
            continue;
        }
        let below = panels.chunks(2).next().map_or(0.0, below_panels);
        let size = fitting_size(flow, image, below);
        let heading = format!("{key} {} of {}", image.position + 1, input.series.frame_count());
        flow.heading(&heading, None, size.1 + below);
        for pair in panels.chunks(2) {
            panel_row(flow, input, image, pair, size);
        }
        if let (Some(analysis), true) = (image.analysis, options.attention) {
            organs(flow, analysis);
        }
        if let (Some(explanations), true) = (image.explanations, options.overlays) {
            faithfulness::table(flow, explanations);
        }
    }
    if shown.len() > MOST_IMAGES {
        let text = format!("{} more images are not shown; all findings are in the table.", shown.len() - MOST_IMAGES);
        flow.space(6.0);
        flow.paragraph(MARGIN, WIDTH, BODY, GRAY, &text);
    }
}

/// Size of an image's panels: smaller than usual where that lets the first row, with the `below` points under its images, stand
/// on the page at hand.
fn fitting_size(flow: &Flow, image: &ReportImage<'_>, below: f32) -> (f32, f32) {
    let full = panel_size(image, PANEL_WIDTH, PANEL_HEIGHT);
    let left = flow.left() - below - 36.0;
    if left < full.1 && left >= (0.85 * full.1).max(120.0) { panel_size(image, PANEL_WIDTH, left) } else { full }
}

/// Heat maps with findings; the first one where none has any.
fn lesion_panels(analysis: &Analysis) -> Vec<Panel<'_>> {
    let has_finding =
        |label: &str| analysis.findings.iter().any(|finding| finding.label == label && analysis.shows(finding));
    let mut maps: Vec<_> = analysis.heat_maps.iter().filter(|map| has_finding(&map.label)).take(3).collect();
    if maps.is_empty() {
        maps.extend(analysis.heat_maps.first());
    }
    maps.into_iter()
        .map(|map| Panel {
            overlay: Overlay::Lesion(map),
            chip: Some(("LOCAL", WARM)),
            title: format!("{}, evidence", readable_name(&map.label)),
            caption: format!(
                "{}; layer {}; {} {}. Colour: probability; clear below {:.2}.",
                readable_name(&map.method),
                map.layer,
                analysis.model.id,
                analysis.model.version,
                map.threshold
            ),
            bar: Some(lesion_style(map)),
        })
        .collect()
}

/// Class activation maps that were asked for.
fn cam_panels<'a>(analysis: &Analysis, explanations: Option<&'a Explanations>) -> Vec<Panel<'a>> {
    let cams = explanations.into_iter().flat_map(|explanations| &explanations.cams);
    cams.take(4)
        .map(|cam| Panel {
            overlay: Overlay::Lesion(&cam.heat),
            chip: Some(("LOCAL", WARM)),
            title: format!("{}, {}", faithfulness::map_name(&cam.id), readable_name(&cam.id.label).to_lowercase()),
            caption: format!(
                "{}; {}; {} {}. Colour: share of the highest value; clear below {:.2}.",
                cam.heat.method, cam.heat.layer, analysis.model.id, analysis.model.version, cam.heat.threshold
            ),
            bar: Some(lesion_style(&cam.heat)),
        })
        .collect()
}

/// Rollout, and the relevance for the most probable class.
fn attention_maps(analysis: &Analysis) -> Vec<&AttentionMap> {
    let top = analysis.predictions.iter().max_by(|a, b| a.probability.total_cmp(&b.probability));
    let rollout = analysis.attention_maps.iter().find(|map| map.method == AttentionMethod::AttentionRollout);
    let relevance = |wanted: Option<&str>| {
        let mut maps = analysis.attention_maps.iter().filter(|map| map.method == AttentionMethod::GradientRelevance);
        maps.find(|map| wanted.is_none() || map.label.as_deref() == wanted)
    };
    let relevance = relevance(top.map(|prediction| prediction.label.as_str())).or_else(|| relevance(None));
    rollout.into_iter().chain(relevance).collect()
}

fn method_name(map: &AttentionMap) -> String {
    match (map.method, &map.label) {
        (AttentionMethod::AttentionRollout, _) => "Attention rollout".to_owned(),
        (AttentionMethod::GradientRelevance, Some(label)) => format!("Relevance for {}", label.replace('_', " ")),
        (AttentionMethod::GradientRelevance, None) => "Relevance".to_owned(),
    }
}

fn attention_panel<'a>(analysis: &Analysis, map: &'a AttentionMap) -> Panel<'a> {
    let method = match map.method {
        AttentionMethod::AttentionRollout => "Attention rollout (class-agnostic)",
        AttentionMethod::GradientRelevance => "Gradient-weighted relevance",
    };
    Panel {
        overlay: Overlay::Attention(map),
        chip: Some(("GLOBAL", COOL)),
        title: method_name(map),
        caption: format!(
            "{method}; {}; {} {}. Colour: share of the highest value.",
            map.layer, analysis.model.id, analysis.model.version
        ),
        bar: Some(HeatStyle::ATTENTION),
    }
}

/// The caption of a panel, line by line.
fn caption_lines(panel: &Panel<'_>) -> Vec<String> {
    wrap(&panel.caption, SMALL, PANEL_WIDTH + 20.0)
}

/// Height of title and captions under a row of panels.
fn below_panels(panels: &[Panel<'_>]) -> f32 {
    let lines = panels.iter().map(|panel| caption_lines(panel).len()).max().unwrap_or(0).min(MOST_CAPTION_LINES);
    20.0 + lines as f32 * line_height(SMALL) + 8.0
}

fn panel_row(
    flow: &mut Flow,
    input: &ReportInput<'_>,
    image: &ReportImage<'_>,
    panels: &[Panel<'_>],
    (width, height): (f32, f32),
) {
    let captions: Vec<Vec<String>> = panels.iter().map(caption_lines).collect();
    let row_height = height + below_panels(panels);
    flow.need(row_height);
    let y = flow.y();
    for (index, (panel, caption)) in panels.iter().zip(&captions).enumerate() {
        let x = MARGIN + index as f32 * PANEL_STEP;
        let picture = paint_panel(image, panel.overlay, input.session, (width, height));
        flow.push(Item::Image { x, y, width, height, image: picture });
        if let Some(style) = &panel.bar {
            bar(flow, (x + width + 5.0, y), height, style);
        }
        let baseline = y + height + 12.0;
        let mut title_x = x;
        if let Some((text, color)) = panel.chip {
            title_x += flow.chip(x, baseline - 8.0, text, color) + 5.0;
        }
        let title = wrap(&panel.title, BODY, PANEL_WIDTH + 20.0 - (title_x - x)).into_iter().next().unwrap_or_default();
        flow.text_at(title_x, baseline, BODY, Weight::Bold, INK, title);
        for (n, line) in caption.iter().take(MOST_CAPTION_LINES).enumerate() {
            let baseline = baseline + (n + 1) as f32 * line_height(SMALL);
            flow.text_at(x, baseline, SMALL, Weight::Regular, GRAY, line.clone());
        }
    }
    flow.advance(row_height);
}

/// A colour bar with its ends and its threshold.
fn bar(flow: &mut Flow, (x, y): (f32, f32), height: f32, style: &HeatStyle) {
    let height = height.min(150.0);
    flow.push(Item::Image { x, y, width: 7.0, height, image: Arc::new(color_bar(8, 256, style)) });
    let mut label = |value: f32, text: String| {
        let baseline = y + height * (1.0 - value) + 2.2;
        flow.text_at(x + 9.0, baseline.clamp(y + 5.5, y + height), 6.0, Weight::Regular, GRAY, text);
    };
    label(1.0, "1".to_owned());
    label(0.0, "0".to_owned());
    if (0.1..=0.9).contains(&style.threshold) {
        label(style.threshold, format!("{:.2}", style.threshold));
    }
}

fn organs(flow: &mut Flow, analysis: &Analysis) {
    let maps = attention_maps(analysis);
    let Some(first) = maps.first() else { return };
    let rows: Vec<Vec<Cell>> = first
        .organs
        .iter()
        .map(|organ| {
            let mut row =
                vec![Cell { swatch: Some(organ_color(&organ.organ)), ..Cell::bold(readable_name(&organ.organ)) }];
            for map in &maps {
                match map.organs.iter().find(|other| other.organ == organ.organ) {
                    Some(value) => {
                        row.push(Cell {
                            bar: Some((value.share, COOL)),
                            ..Cell::new(format!("{:.0} %", value.share * 100.0))
                        });
                        row.push(Cell::new(format!("× {:.2}", value.enrichment)));
                    }
                    None => row.extend([Cell::new("–"), Cell::new("–")]),
                }
            }
            row
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    // The whole table with its note on one page where it is short.
    let together = (rows.len() as f32 * 23.0 + 60.0).min(320.0);
    flow.heading("Attention by organ", Some(("GLOBAL", COOL)), together);
    let columns = [
        Column { title: "Organ", share: 0.28 },
        Column { title: if maps.len() > 1 { "Share, rollout" } else { "Share" }, share: 0.22 },
        Column { title: "Enrichment", share: 0.14 },
        Column { title: "Share, relevance", share: 0.22 },
        Column { title: "Enrichment", share: 0.14 },
    ];
    flow.table(&columns[..(1 + 2 * maps.len()).min(columns.len())], &rows, COOL);
    let note = "Share: part of the attention that falls on the organ; organs overlap, so shares need not add up. Enrichment: \
                share divided by the organ's part of the area; 1 is what an even map would give. Attention shows where the \
                transformer looks; it is no evidence of where a lesion is.";
    flow.paragraph(MARGIN, WIDTH, SMALL, GRAY, note);
}

fn method(flow: &mut Flow, input: &ReportInput<'_>, options: &ReportOptions) {
    let Some(model) = input.model_identity() else { return };
    flow.heading("Method", None, 60.0);
    let seconds: f64 = input.images.iter().filter_map(|image| image.analysis).map(|analysis| analysis.seconds).sum();
    let analysed = input.images.iter().filter(|image| image.analysis.is_some()).count();
    flow.facts(&[
        ("Model", format!("{} {}", model.id, model.version)),
        (
            "Device, time",
            format!("{}, {seconds:.1} s for {analysed} image{}", model.device, if analysed == 1 { "" } else { "s" }),
        ),
        ("Weights SHA-256", model.weights_sha256.clone()),
        ("Software", format!("Bifocal {}", env!("CARGO_PKG_VERSION"))),
    ]);
    flow.space(6.0);
    let Some(notes) = input.model.as_ref().filter(|_| options.limits) else { return };
    let mut block = |title: &str, text: &str| {
        if text.trim().is_empty() {
            return;
        }
        flow.need(3.0 * line_height(BODY));
        flow.text_at(MARGIN, flow.y() + BODY, BODY, Weight::Bold, INK, title);
        flow.advance(line_height(BODY));
        flow.paragraph(MARGIN, WIDTH, BODY, INK, text);
        flow.space(4.0);
    };
    block("Intended use", &notes.intended_use);
    block("Limits", &notes.limits.join("\n"));
    block("Performance on validation patients", &notes.performance.join("\n"));
    block("Data", &notes.data);
}
