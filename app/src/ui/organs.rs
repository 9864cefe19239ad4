//! The organ table: where attention falls, as a share and against an even map.

use std::sync::Arc;

use bifocal_core::analysis::{Analysis, OrganAttention};
use eframe::egui::{self, Align, Align2, CornerRadius, Layout, Rect, RichText, Sense, Ui, vec2};
use lucide_icons::Icon;

use super::{Cx, lens_maps, names, widgets};
use crate::state::Reading;

/// What both columns mean.
const EXPLANATION: &str = "Share: how much of the attention falls on the organ. A large organ wins on share alone.\n\
    Enrichment: the share divided by the organ's share of the area; ×1 is what an even map would give.\n\
    Organs overlap, so shares need not add up to 100 %.\n\n\
    Attention says where the transformer takes its evidence from. It is no evidence of where a lesion is.";

/// Draws the table for the attention map in view, or for the probed token.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, analysis: &Arc<Analysis>) {
    let theme = &cx.theme;
    let palette = theme.palette;
    let answer = reading.probe.and_then(|point| cx.overlays.probe(analysis, point));
    let (organs, title) = match (&answer, lens_maps::attention_map(&reading.overlays, analysis)) {
        (Some(answer), _) => (answer.organs.clone(), "from the probed token".to_owned()),
        (None, Some(map)) => (map.organs.clone(), names::attention(cx.state, map)),
        (None, None) => {
            if analysis.place.is_some() {
                widgets::heading(ui, theme, "Organs");
                widgets::caption(ui, theme, "Attention is read where you rest on an image.");
            }
            return;
        }
    };
    ui.horizontal(|ui| {
        widgets::heading(ui, theme, "Organs");
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let sign = ui.label(theme.icon(Icon::Info, palette.weak).size(theme.tokens.text.body));
            widgets::named(sign, "About the organ table").on_hover_text(EXPLANATION);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(egui::Label::new(RichText::new(title).font(theme.small()).color(palette.cool)).truncate());
            });
        });
    });
    if organs.is_empty() {
        widgets::caption(ui, theme, "This model names no organs.");
        return;
    }
    let organs = sorted(organs);
    let columns = Columns::new(ui, cx);
    let (head, _) = ui.allocate_exact_size(vec2(ui.available_width(), theme.tokens.text.body), Sense::hover());
    for (x, text) in [(columns.share, "share"), (columns.enrichment, "enrichment")] {
        let at = egui::pos2(head.left() + x, head.center().y);
        ui.painter().text(at, Align2::RIGHT_CENTER, text, theme.small(), palette.faint);
    }
    for organ in &organs {
        row(ui, cx, &columns, organ);
    }
}

/// Volumes of the organs, where the series was analysed as a whole.
pub fn volumes(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, analysis: &Analysis) {
    let theme = &cx.theme;
    let series = reading.series().filter(|_| analysis.place.is_some());
    let Some(volume) = series.and_then(|series| cx.state.network.volume_of(&series.uid)) else { return };
    if volume.organs.is_empty() {
        return;
    }
    ui.add_space(theme.space().m);
    widgets::heading(ui, theme, "Volumes");
    for organ in &volume.organs {
        let name = names::organ(cx.state, &organ.organ);
        let millilitres = organ.volume_mm3 / 1000.0;
        let row = ui.horizontal(|ui| {
            ui.spacing_mut().interact_size.y = 0.0;
            ui.label(RichText::new(&name).font(theme.body()).color(theme.palette.text));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let text = RichText::new(format!("{millilitres:.0} mL")).font(theme.mono());
                ui.label(text.color(theme.palette.text));
            });
        });
        row.response.on_hover_text("Largest connected piece from a probability of one half on, contents included");
    }
}

/// The highest share first.
fn sorted(mut organs: Vec<OrganAttention>) -> Vec<OrganAttention> {
    organs.sort_by(|a, b| b.share.total_cmp(&a.share));
    organs
}

/// Right edges of the columns, from the left edge of the table.
struct Columns {
    share: f32,
    enrichment: f32,
}

impl Columns {
    fn new(ui: &Ui, cx: &Cx<'_>) -> Self {
        let width = ui.available_width();
        Self { share: width - 5.0 * cx.theme.space().l, enrichment: width }
    }
}

fn row(ui: &mut Ui, cx: &Cx<'_>, columns: &Columns, organ: &OrganAttention) {
    let theme = &cx.theme;
    let palette = theme.palette;
    let height = theme.size().control;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    let name = names::organ(cx.state, &organ.organ);
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let y = rect.center().y - 2.0;
    let dot = egui::pos2(rect.left() + theme.space().xs, y);
    painter.circle_filled(dot, theme.space().xs, lens_maps::organ_color(&organ.organ));
    let left = rect.left() + theme.space().l;
    painter.text(egui::pos2(left, y), Align2::LEFT_CENTER, &name, theme.body(), palette.text);
    let share = format!("{:.0} %", organ.share * 100.0);
    let enrichment = format!("×{:.2}", organ.enrichment);
    painter.text(egui::pos2(rect.left() + columns.share, y), Align2::RIGHT_CENTER, &share, theme.mono(), palette.text);
    // Above an even map in cool, below it weak; the number says the same.
    let color = if organ.enrichment >= 1.0 { palette.cool } else { palette.weak };
    let at = egui::pos2(rect.left() + columns.enrichment, y);
    painter.text(at, Align2::RIGHT_CENTER, &enrichment, theme.mono(), color);
    let track =
        Rect::from_min_max(egui::pos2(left, rect.bottom() - 5.0), egui::pos2(rect.right(), rect.bottom() - 3.0));
    painter.rect_filled(track, CornerRadius::same(1), palette.active);
    let mut filled = track;
    filled.set_width(track.width() * organ.share.clamp(0.0, 1.0));
    painter.rect_filled(filled, CornerRadius::same(1), palette.cool);
    let label = format!("{name}: share {share}, enrichment {enrichment}");
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &label));
    response.on_hover_text(EXPLANATION);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_share_comes_first() {
        let organ = |name: &str, share| OrganAttention { organ: name.into(), share, enrichment: 1.0 };
        let names: Vec<String> =
            sorted(vec![organ("a", 0.1), organ("b", 0.6), organ("c", 0.3)]).into_iter().map(|o| o.organ).collect();
        assert_eq!(names, ["b", "c", "a"]);
    }
}
