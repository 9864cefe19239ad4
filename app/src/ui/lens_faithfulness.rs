//! The line below a lens that says whether its map points at what the answer rests on.

use std::sync::Arc;

use bifocal_core::analysis::{Analysis, Flag, MapFaithfulness, MapId};
use bifocal_core::explain::Verdict;
use eframe::egui::{self, Align, Layout, Rect, RichText, Ui, UiBuilder, vec2};
use lucide_icons::Icon;

use super::{Cx, text, widgets};
use crate::command::Command;
use crate::explain::{ExplainCommand, Step};
use crate::jobs::JobKind;
use crate::state::{Lens, Reading};

/// Below these widths of a lens, points, numbers are written short, or left to the tooltip.
const ROOM_FOR_WORDS: f32 = 600.0;
const ROOM_FOR_NUMBERS: f32 = 380.0;

/// What speaks against the answer and against the maps in the lenses, each once.
pub fn warnings<'a>(cx: &'a Cx<'_>, reading: &Reading, analysis: &'a Arc<Analysis>) -> Vec<&'a Flag> {
    let of_maps = [Lens::Local, Lens::Global].map(|lens| cx.state.faithfulness(lens, reading, analysis));
    let of_maps = of_maps.into_iter().flatten().flat_map(|found| &found.warnings);
    let mut warnings: Vec<&Flag> = Vec::new();
    for flag in analysis.flags.iter().chain(of_maps) {
        if !warnings.contains(&flag) {
            warnings.push(flag);
        }
    }
    warnings
}

/// Draws the line.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens, rect: Rect) {
    let theme = &cx.theme;
    ui.painter().rect_filled(rect, 0.0, theme.palette.panel);
    ui.painter().hline(rect.x_range(), rect.top(), theme.line());
    let inner = rect.shrink2(vec2(theme.space().m, 0.0));
    let mut child = ui.new_child(UiBuilder::new().max_rect(inner).layout(Layout::left_to_right(Align::Center)));
    child.set_clip_rect(rect.intersect(ui.clip_rect()));
    let ui = &mut child;
    ui.spacing_mut().item_spacing.x = theme.space().s;
    ui.spacing_mut().interact_size.y = 0.0;
    let map =
        reading.analysis_in_view().and_then(|analysis| Some((analysis, cx.state.map_in(lens, reading, analysis)?)));
    let Some((analysis, id)) = map else {
        widgets::caption(ui, theme, "Faithfulness: tested after the analysis");
        return;
    };
    if lens == Lens::Global && reading.probe.is_some() {
        widgets::caption(ui, theme, "Faithfulness is tested for whole maps, not for the probe");
        return;
    }
    match cx.state.faithfulness(lens, reading, analysis) {
        Some(found) => tested(ui, cx, found, rect.width()),
        None => untested(ui, cx, analysis, id),
    }
}

fn tested(ui: &mut Ui, cx: &Cx<'_>, found: &MapFaithfulness, width: f32) {
    let theme = &cx.theme;
    let palette = theme.palette;
    let result = &found.result;
    let doubtful = !found.warnings.is_empty();
    let (icon, color) = match result.verdict {
        _ if doubtful => (Icon::TriangleAlert, palette.warning),
        Verdict::Faithful => (Icon::ShieldCheck, palette.text),
        Verdict::Partly => (Icon::Shield, palette.text),
        Verdict::NoBetterThanRandom | Verdict::NotMeasurable => (Icon::ShieldQuestionMark, palette.weak),
    };
    let sign = ui.label(theme.icon(icon, color).size(theme.tokens.text.body));
    let verdict = RichText::new(text::sentence(result.verdict.words())).font(theme.small()).color(color);
    let words = ui.add(egui::Label::new(verdict).truncate());
    let mut line = vec![
        format!("deletion {:.2}", result.deletion),
        format!("insertion {:.2}", result.insertion),
        format!("random {:.2} to {:.2}", result.random.low, result.random.high),
    ];
    line.extend(result.inside_lungs.map(|inside| format!("{:.0} % in lungs", inside * 100.0)));
    let label = format!("Faithfulness of {}: {}, {}", found.id.kind.name(), result.verdict.words(), line.join(", "));
    words.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &label));
    let tip = explanation(found);
    sign.on_hover_text(&tip);
    words.on_hover_text(&tip);
    let random = result.random;
    let short =
        format!("del {:.2}  ins {:.2}  random {:.2}–{:.2}", result.deletion, result.insertion, random.low, random.high);
    if width > ROOM_FOR_WORDS {
        widgets::caption(ui, theme, line.join("  ·  ")).on_hover_text(tip);
    } else if width > ROOM_FOR_NUMBERS && result.verdict != Verdict::NotMeasurable {
        widgets::caption(ui, theme, short).on_hover_text(tip);
    }
}

/// All numbers with what they mean.
fn explanation(found: &MapFaithfulness) -> String {
    let result = &found.result;
    let random = result.random;
    let mut lines: Vec<String> = found.warnings.iter().map(|flag| format!("△ {}", flag.message)).collect();
    lines.extend([
        format!("Probability {:.2}; {:.2} with the whole image blurred.", result.probability, result.blurred),
        format!("Deletion {:.2}: area under the probability while the hottest parts are blurred first. Low is good.", result.deletion),
        format!("Insertion {:.2}: the hottest parts come back first. High is good.", result.insertion),
        format!(
            "{} random maps as smooth as this one: mean {:.2}, {:.2} to {:.2}. A map is better than random outside that range.",
            random.maps, random.mean, random.low, random.high
        ),
        format!(
            "Hottest tenth blurred: {:.2}; random tenths: {:.2} on average.",
            result.hottest_masked, result.random_masked
        ),
    ]);
    if let (Some(inside), Some(area)) = (result.inside_lungs, result.lungs_area) {
        let (inside, area) = (inside * 100.0, area * 100.0);
        lines.push(format!("{inside:.0} % of the map lies in the lungs, which are {area:.0} % of the image."));
    }
    if let Some(agreement) = result.agreement {
        let other = if found.id.kind.is_local() { "the transformer's relevance" } else { "the lesion head" };
        lines.push(format!("Rank correlation with {other}: {agreement:.2}."));
    }
    lines.join("\n")
}

fn untested(ui: &mut Ui, cx: &Cx<'_>, analysis: &Arc<Analysis>, id: MapId) {
    let theme = &cx.theme;
    let button = |ui: &mut Ui, words: &str, command: ExplainCommand| {
        if ui.add(egui::Button::new(RichText::new(words).font(theme.small())).small()).clicked() {
            cx.send(Command::Explain(command));
        }
    };
    let explaining = &cx.state.explaining;
    let steps = [Step::Cam(id.clone()), Step::Test(id)];
    if let Some(reason) = steps.iter().find_map(|step| explaining.reason(analysis, step)) {
        button(ui, "Try again", ExplainCommand::Again);
        widgets::caption(ui, theme, format!("Faithfulness: {reason}")).on_hover_text(reason);
    } else if !cx.state.settings.test_maps {
        button(ui, "Test", ExplainCommand::Test(true));
        widgets::caption(ui, theme, "Faithfulness is not tested");
    } else if let Some(job) = cx.jobs.iter().find(|job| job.kind == JobKind::Explanation) {
        ui.add(egui::Spinner::new().size(theme.tokens.text.small).color(theme.palette.weak));
        let stage = job.progress.as_ref().map_or(job.name.as_str(), |progress| progress.stage.as_str());
        widgets::caption(ui, theme, stage);
        if let Some(fraction) = job.progress.as_ref().and_then(|progress| progress.fraction()) {
            widgets::bar(ui, theme, fraction, theme.palette.weak, vec2(80.0, 3.0));
        }
        if !job.stopping && ui.small_button("Cancel").clicked() {
            cx.send(Command::CancelJob(JobKind::Explanation));
        }
    } else {
        widgets::caption(ui, theme, "Faithfulness: not tested yet");
    }
}
