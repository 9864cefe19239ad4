//! The panel on the right: warnings, image-level answers, findings, organs, impression, key images, model.

use bifocal_core::analysis::{Analysis, Prediction};
use bifocal_core::annotation::{Decision, Edit};
use eframe::egui::{
    self, Align, Button, CornerRadius, Frame, Layout, Margin, Panel, RichText, Sense, Stroke, Ui, vec2,
};
use lucide_icons::Icon;

use super::{Cx, finding_row, lens_faithfulness, names, organs, text, widgets};
use crate::command::Command;
use crate::jobs::JobKind;
use crate::keymap::Action;
use crate::reader::ReadCommand;
use crate::state::Reading;

/// Draws the panel.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let frame: Frame = theme.panel_frame().inner_margin(Margin::ZERO).stroke(theme.line());
    Panel::right("findings")
        .default_size(theme.size().findings)
        .size_range(260.0..=520.0)
        .show_separator_line(false)
        .frame(frame)
        .show(ui, |ui| {
            let Some(reading) = &cx.state.reading else { return };
            head(ui, cx, reading);
            egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                Frame::new().inner_margin(Margin::symmetric(theme.space().m as i8, theme.space().s as i8)).show(
                    ui,
                    |ui| {
                        match reading.analysis_in_view() {
                            Some(analysis) => answers(ui, cx, reading, analysis),
                            None => without_analysis(ui, cx, reading),
                        }
                        super::annotations::show(ui, cx, reading);
                        notes(ui, cx, reading);
                        model(ui, cx, reading);
                    },
                );
            });
        });
}

/// Title and what can be taken back.
fn head(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let theme = &cx.theme;
    let margin = Margin::symmetric(theme.space().m as i8, theme.space().xs as i8);
    let frame = Frame::new().fill(theme.palette.panel).inner_margin(margin).stroke(theme.line());
    Panel::top("findings head")
        .exact_size(theme.size().lens_title)
        .resizable(false)
        .show_separator_line(false)
        .frame(frame)
        .show(ui, |ui| {
            ui.horizontal_centered(|ui| {
                widgets::heading(ui, theme, "Findings");
                if let Some(analysis) = reading.analysis_in_view() {
                    widgets::caption(ui, theme, review_state(cx, analysis));
                }
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    ui.spacing_mut().item_spacing.x = theme.space().xs;
                    let document = reading.document.document();
                    ui.add_enabled_ui(document.can_redo(), |ui| {
                        widgets::action_button(ui, cx, Action::Redo, false);
                    });
                    ui.add_enabled_ui(document.can_undo(), |ui| {
                        widgets::action_button(ui, cx, Action::Undo, false);
                    });
                    widgets::action_button(ui, cx, Action::KeyImage, reading.is_key_image());
                });
            });
        });
}

/// `2 of 3 reviewed`.
fn review_state(cx: &Cx<'_>, analysis: &Analysis) -> String {
    let reviewed = analysis
        .findings
        .iter()
        .filter(|finding| cx.state.review_of(analysis, finding).decision != Decision::Open)
        .count();
    match analysis.findings.len() {
        0 => String::new(),
        all => format!("{reviewed} of {all} reviewed"),
    }
}

fn without_analysis(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let theme = &cx.theme;
    let network = &cx.state.network;
    if let Some(job) = cx.jobs.iter().find(|job| job.kind == JobKind::Analysis) {
        ui.vertical_centered(|ui| {
            ui.add_space(theme.space().xl);
            ui.add(egui::Spinner::new().size(theme.space().xl).color(theme.palette.warm));
            ui.add_space(theme.space().xs);
            ui.label(RichText::new("Analysing").color(theme.palette.text));
            let stage = job.progress.as_ref().map_or("", |progress| progress.stage.as_str());
            let next = format!("{stage} · go on reading, nothing moves when it is done");
            ui.label(RichText::new(next).font(theme.small()).color(theme.palette.weak));
            ui.add_space(theme.space().s);
            if job.stopping {
                widgets::caption(ui, theme, "stopping");
            } else if ui.button("Cancel analysis").clicked() {
                cx.send(Command::CancelJob(JobKind::Analysis));
            }
            ui.add_space(theme.space().l);
        });
        return;
    }
    if let Some(problem) = &network.problem {
        widgets::empty(ui, theme, Icon::PackageX, "No model to ask", "Images can be read and measured all the same");
        wrapped(ui, cx, problem);
        return;
    }
    let key = reading.key_at(reading.view.position);
    let objections = network.objections_to(reading);
    match network.failed.as_ref().filter(|(failed, _)| key.as_ref() == Some(failed)) {
        Some((_, message)) => {
            widgets::empty(ui, theme, Icon::TriangleAlert, "This image could not be analysed", "The cause:");
            wrapped(ui, cx, message);
        }
        None if !objections.is_empty() => {
            widgets::empty(
                ui,
                theme,
                Icon::TriangleAlert,
                "Not what the model was made for",
                "Its answer may mean nothing",
            );
            for objection in objections {
                warning(ui, cx, objection);
            }
            if let Some(metadata) = &network.metadata {
                wrapped(ui, cx, &metadata.intended_use.statement);
            }
        }
        None => {
            let modality = reading.series().map(|series| series.modality.as_str()).unwrap_or_default();
            let intended = network.is_intended_for(modality);
            let next = if intended { "Ask the model for findings" } else { "The model was made for other images" };
            widgets::empty(ui, theme, Icon::ScanSearch, "Not analysed yet", next);
            if !intended && let Some(metadata) = &network.metadata {
                wrapped(ui, cx, &metadata.intended_use.statement);
            }
        }
    }
    ui.vertical_centered(|ui| {
        let keys = RichText::new(cx.key(Action::Analyse)).font(theme.small()).color(theme.palette.faint);
        let words = if objections.is_empty() { "Analyse" } else { ANALYSE_ANYWAY };
        let label = RichText::new(words).color(theme.palette.text);
        let button = Button::new((theme.icon(Icon::Sparkles, theme.palette.warm), label, keys));
        if widgets::named(ui.add(button), words).on_hover_text(cx.tooltip(Action::Analyse)).clicked() {
            cx.act(Action::Analyse);
        }
    });
    ui.add_space(theme.space().l);
}

/// Asks in spite of what speaks against it.
pub const ANALYSE_ANYWAY: &str = "Analyse all the same";

/// Small text over several lines.
fn wrapped(ui: &mut Ui, cx: &Cx<'_>, text: &str) {
    let text = RichText::new(text).font(cx.theme.small()).color(cx.theme.palette.weak);
    ui.add(egui::Label::new(text).wrap().selectable(true));
    ui.add_space(cx.theme.space().s);
}

fn answers(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, analysis: &std::sync::Arc<Analysis>) {
    let theme = &cx.theme;
    for flag in lens_faithfulness::warnings(cx, reading, analysis) {
        warning(ui, cx, &flag.message);
    }
    for answer in &analysis.predictions {
        prediction(ui, cx, analysis, answer);
    }
    ui.add_space(theme.space().xs);
    if analysis.findings.is_empty() {
        let what = analysis.heat_maps.first().map_or(0.5, |map| map.threshold);
        let next = format!("No region reaches the threshold of {what:.2}. The heat map shows what is below it.");
        widgets::empty(ui, theme, Icon::CircleCheck, "No findings", "");
        wrapped(ui, cx, &next);
    }
    for finding in analysis.findings.iter().filter(|finding| cx.state.is_listed(analysis, finding)) {
        finding_row::show(ui, cx, reading, analysis, finding);
    }
    below_threshold(ui, cx, reading, analysis);
    ui.add_space(theme.space().m);
    organs::show(ui, cx, reading, analysis);
    organs::volumes(ui, cx, reading, analysis);
    ui.add_space(theme.space().l);
}

/// How many findings the threshold of the heat map keeps out of the list, and the way back.
fn below_threshold(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, analysis: &Analysis) {
    let theme = &cx.theme;
    let hidden = analysis.findings.iter().filter(|finding| !cx.state.is_listed(analysis, finding)).count();
    let Some(threshold) = reading.overlays.heat_threshold.filter(|_| hidden > 0) else { return };
    ui.horizontal(|ui| {
        let words = if hidden == 1 { "1 finding".to_owned() } else { format!("{hidden} findings") };
        widgets::caption(ui, theme, format!("{words} below {threshold:.2} not listed")).on_hover_text(
            "The report holds all findings that you have not rejected, whatever the threshold of the map",
        );
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if ui.add(Button::new(RichText::new("Show all").font(theme.small()))).clicked() {
                let overlays = crate::state::OverlaySettings { heat_threshold: None, ..reading.overlays.clone() };
                cx.send(Command::Overlays(overlays));
            }
        });
    });
}

/// What must be known before the answer is believed.
fn warning(ui: &mut Ui, cx: &Cx<'_>, message: &str) {
    let theme = &cx.theme;
    Frame::new()
        .fill(theme.palette.raised)
        .stroke(Stroke::new(theme.size().hairline, theme.palette.warning.gamma_multiply(0.5)))
        .corner_radius(CornerRadius::same(theme.tokens.radius.s))
        .inner_margin(Margin::symmetric(theme.space().s as i8, theme.space().xs as i8))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.horizontal_top(|ui| {
                ui.spacing_mut().interact_size.y = 0.0;
                ui.label(theme.icon(Icon::TriangleAlert, theme.palette.warning).size(theme.tokens.text.body));
                let text = RichText::new(text::sentence(message)).font(theme.small()).color(theme.palette.text);
                ui.add(egui::Label::new(text).wrap());
            });
        });
    ui.add_space(theme.space().xs);
}

/// The answer for the whole image, against the threshold of the bundle.
fn prediction(ui: &mut Ui, cx: &Cx<'_>, analysis: &Analysis, answer: &Prediction) {
    let theme = &cx.theme;
    let palette = theme.palette;
    let positive = answer.probability >= answer.threshold;
    let name = names::lesion(cx.state, &answer.label);
    let calibration = names::calibration_of(analysis, answer.calibration);
    let row = ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = theme.space().xs;
        ui.horizontal(|ui| {
            ui.spacing_mut().interact_size.y = 0.0;
            let what = if analysis.place.is_some() { "highest of all images" } else { "whole image" };
            ui.label(RichText::new(format!("{name}, {what}")).font(theme.small()).color(palette.weak));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let word = if positive { "positive" } else { "negative" };
                let color = if positive { palette.warm } else { palette.weak };
                ui.label(RichText::new(word).font(theme.small()).color(color));
            });
        });
        ui.horizontal(|ui| {
            ui.spacing_mut().interact_size.y = 0.0;
            probability(ui, cx, answer.probability, Some(answer.threshold), positive);
            widgets::caption(ui, theme, calibration);
        });
    });
    let tip = format!(
        "{name}: probability {:.3} for {}, {}. Called positive from {:.3} on (the mark on the bar).",
        answer.probability,
        if analysis.place.is_some() { "the image of the series where it is highest" } else { "the image as a whole" },
        calibration,
        answer.threshold
    );
    row.response.interact(Sense::hover()).on_hover_text(tip);
    ui.add_space(theme.space().s);
}

/// A warm bar with its value, and a mark where `threshold` lies.
pub fn probability(ui: &mut Ui, cx: &Cx<'_>, value: f32, threshold: Option<f32>, strong: bool) {
    let theme = &cx.theme;
    let width = (ui.available_width() - 118.0).clamp(60.0, 180.0);
    let color = if strong { theme.palette.warm } else { theme.palette.faint };
    let bar = widgets::bar(ui, theme, value, color, vec2(width, theme.space().xs + 2.0));
    if let Some(threshold) = threshold {
        let x = bar.rect.left() + bar.rect.width() * threshold.clamp(0.0, 1.0);
        let y = bar.rect.expand2(vec2(0.0, 3.0)).y_range();
        ui.painter().vline(x, y, Stroke::new(1.5, theme.palette.text));
    }
    ui.label(RichText::new(format!("{value:.2}")).font(theme.mono()).color(theme.palette.text));
}

/// Impression and key images: there with or without an analysis.
pub fn notes(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let theme = &cx.theme;
    widgets::heading(ui, theme, "Impression");
    ui.add_space(theme.space().xs);
    let mut impression = cx.state.impression();
    let field = egui::TextEdit::multiline(&mut impression)
        .hint_text("Written into the report")
        .desired_rows(3)
        .desired_width(f32::INFINITY);
    let response = ui.add(field).accessible_name("Impression");
    if response.changed() {
        cx.read(ReadCommand::Impression(impression.clone()));
    }
    if response.lost_focus() {
        cx.read(ReadCommand::TextDone);
    }
    if impression.trim().is_empty()
        && let Some(analysis) = reading.analysis_in_view()
    {
        let button = Button::new(RichText::new("Draft from the findings").font(theme.small()));
        if ui.add(button).on_hover_text("Writes one line a finding that is not rejected; edit it as you like").clicked()
        {
            cx.read(ReadCommand::Impression(draft(cx, analysis)));
            cx.read(ReadCommand::TextDone);
        }
    }
    ui.add_space(theme.space().m);
    key_images(ui, cx, reading);
}

/// A first version of the impression.
fn draft(cx: &Cx<'_>, analysis: &Analysis) -> String {
    let mut lines = Vec::new();
    for finding in &analysis.findings {
        let review = cx.state.review_of(analysis, finding);
        if review.decision == Decision::Rejected {
            continue;
        }
        let decision = if review.decision == Decision::Accepted { "" } else { ", not reviewed" };
        let mut line = format!(
            "{}: {}, {} (model {:.2}{decision}).",
            names::lesion(cx.state, &finding.label),
            names::place(cx.state, finding),
            names::size(finding),
            finding.probability,
        );
        let comment = review.comment.trim();
        if !comment.is_empty() {
            line.push(' ');
            line.push_str(comment);
        }
        lines.push(line);
    }
    if lines.is_empty() {
        for answer in &analysis.predictions {
            lines.push(format!("No {} marked.", names::lesion(cx.state, &answer.label).to_lowercase()));
        }
    }
    lines.join("\n")
}

fn key_images(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let theme = &cx.theme;
    let Some(session) = cx.state.session() else { return };
    ui.horizontal(|ui| {
        widgets::heading(ui, theme, "Key images");
        widgets::caption(ui, theme, "K");
    });
    if session.key_images.is_empty() {
        wrapped(ui, cx, "None picked: the report shows the analysed image.");
        return;
    }
    for (instance, frame) in &session.key_images {
        let position = reading.position_of(instance, *frame);
        ui.horizontal(|ui| {
            let name = position.map_or_else(|| "Image of another file".to_owned(), |at| format!("Image {}", at + 1));
            let star = theme.icon(Icon::Star, theme.palette.weak).size(theme.tokens.text.body);
            if ui.add(Button::new((star, RichText::new(&name))).frame_when_inactive(false)).clicked() {
                cx.read(ReadCommand::GoTo(instance.clone(), *frame));
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if widgets::icon_button(ui, theme, Icon::X, &format!("Remove {name}"), false).clicked() {
                    let edit = Edit::SetKeyImage { instance: instance.clone(), frame: *frame, key: false };
                    cx.send(Command::Edit(edit));
                }
            });
        });
    }
    ui.add_space(theme.space().s);
}

/// Which network answered, what it is for, and what it cannot do.
fn model(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading) {
    let theme = &cx.theme;
    let Some(metadata) = &cx.state.network.metadata else { return };
    ui.add_space(theme.space().s);
    ui.separator();
    ui.add_space(theme.space().xs);
    let hash: String = metadata.weights_sha256.chars().take(12).collect();
    let title = text::join([format!("{} {}", metadata.id, metadata.version), cx.state.device.clone()]);
    let seconds = reading.analysis_in_view().map(|analysis| format!("{:.1} s", analysis.seconds)).unwrap_or_default();
    let mut tip = format!("{}\n\nWeights SHA-256 {}", metadata.intended_use.statement, metadata.weights_sha256);
    for limit in &metadata.intended_use.limits {
        tip.push_str("\n· ");
        tip.push_str(limit);
    }
    let block = ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        widgets::caption(ui, theme, title);
        widgets::caption(ui, theme, text::join([format!("weights {hash}"), seconds]));
        wrapped(ui, cx, &metadata.intended_use.statement);
    });
    block.response.interact(Sense::hover()).on_hover_text(tip);
}
