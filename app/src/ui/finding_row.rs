//! One finding in the list: number, class, probability, place, size, decision, comment.

use std::sync::Arc;

use bifocal_core::analysis::{Analysis, Finding};
use bifocal_core::annotation::{Decision, ShapeKind};
use eframe::egui::{self, Align, Align2, Layout, Margin, RichText, Sense, Ui, UiBuilder, vec2};
use lucide_icons::Icon;

use super::{Cx, findings, names, text, widgets};
use crate::command::Command;
use crate::keymap::Action;
use crate::reader::ReadCommand;
use crate::shape_commands::DrawCommand;
use crate::state::Reading;
use crate::view::ImagePoint;

/// Draws the row; a click or Enter jumps to the finding, Enter once more goes to its comment.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, analysis: &Arc<Analysis>, finding: &Finding) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let review = cx.state.review_of(analysis, finding);
    let selected = reading.selected == Some(finding.id);
    let name = names::lesion(cx.state, &finding.label);
    let builder = UiBuilder::new().id_salt(("finding", finding.id)).sense(Sense::click());
    let row = ui.scope_builder(builder, |ui| {
        let response = ui.response();
        widgets::card(theme, &response, selected).inner_margin(Margin::same(space.s as i8)).show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.spacing_mut().item_spacing = vec2(space.s, space.xs);
            first_line(ui, cx, finding, &name, review.decision);
            ui.horizontal(|ui| {
                ui.spacing_mut().interact_size.y = 0.0;
                findings::probability(ui, cx, finding.probability, None, review.decision != Decision::Rejected);
                widgets::caption(ui, theme, names::calibration(finding.calibration));
            });
            let detail = text::join([names::place(cx.state, finding), names::size(finding)]);
            widgets::caption(ui, theme, detail.clone()).on_hover_text(detail);
            if let Some(whole) = names::in_volume(finding) {
                widgets::caption(ui, theme, whole.clone()).on_hover_text(whole);
            }
            if selected {
                comment(ui, cx, finding, &review.comment);
                keys(ui, cx, finding);
                take_over(ui, cx, finding);
            } else if !review.comment.trim().is_empty() {
                let comment = RichText::new(review.comment.trim()).font(theme.small()).color(palette.text);
                ui.add(egui::Label::new(comment).truncate());
            }
        });
    });
    let label = format!("Finding {}, {name}, {:.2}", finding.id.0, finding.probability);
    let response = widgets::named(row.response, &label);
    if response.clicked() {
        response.request_focus();
        if selected && ui.input(|input| input.key_pressed(egui::Key::Enter)) {
            cx.act(Action::CommentFinding);
        } else {
            cx.read(ReadCommand::Jump(finding.id));
        }
    }
    ui.add_space(space.xs);
}

fn first_line(ui: &mut Ui, cx: &Cx<'_>, finding: &Finding, name: &str, decision: Decision) {
    let theme = &cx.theme;
    let palette = theme.palette;
    let rejected = decision == Decision::Rejected;
    ui.horizontal(|ui| {
        let side = theme.size().icon + 2.0;
        let (rect, _) = ui.allocate_exact_size(vec2(side, side), Sense::hover());
        let color = if rejected { palette.faint } else { palette.warm };
        ui.painter().circle_filled(rect.center(), side / 2.0, color);
        let number = finding.id.0.to_string();
        ui.painter().text(rect.center(), Align2::CENTER_CENTER, number, theme.small(), palette.window);
        let mut title = RichText::new(name).color(if rejected { palette.faint } else { palette.text });
        if rejected {
            title = title.strikethrough();
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = theme.space().xs;
            for (icon, verb, key, wanted) in
                [(Icon::X, "Reject", "R", Decision::Rejected), (Icon::Check, "Accept", "A", Decision::Accepted)]
            {
                let on = decision == wanted;
                let label = if on { format!("Take back: {verb}") } else { verb.to_owned() };
                let label = format!("{label} finding {}  ({key})", finding.id.0);
                if widgets::icon_button(ui, theme, icon, &label, on).clicked() {
                    cx.read(ReadCommand::Decide(finding.id, wanted));
                }
            }
            let word = match decision {
                Decision::Open => None,
                Decision::Accepted => Some(("accepted", palette.success)),
                Decision::Rejected => Some(("rejected", palette.weak)),
            };
            if let Some((word, color)) = word {
                ui.label(RichText::new(word).font(theme.small()).color(color));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(egui::Label::new(title).truncate());
            });
        });
    });
}

fn comment(ui: &mut Ui, cx: &Cx<'_>, finding: &Finding, comment: &str) {
    let mut comment = comment.to_owned();
    let hint = cx.state.settings.keys.with_text("Comment", Action::CommentFinding);
    let field = egui::TextEdit::singleline(&mut comment).hint_text(hint).desired_width(f32::INFINITY);
    let response = ui.add(field).accessible_name(format!("Comment on finding {}", finding.id.0));
    if cx.state.reader.focus_comment {
        response.request_focus();
        cx.read(ReadCommand::CommentFocused);
    }
    if response.changed() {
        cx.read(ReadCommand::Comment(finding.id, comment));
    }
    if response.lost_focus() {
        cx.read(ReadCommand::TextDone);
    }
}

/// What can be done with the selected finding.
fn keys(ui: &mut Ui, cx: &Cx<'_>, finding: &Finding) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = theme.space().xs;
        ui.spacing_mut().interact_size.y = 0.0;
        for (key, what) in [("A", "accept"), ("R", "reject"), ("N", "next"), ("Esc", "let go")] {
            widgets::key_cap(ui, theme, key);
            widgets::caption(ui, theme, what);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let label = format!("Probe finding {}", finding.id.0);
            if widgets::icon_button(ui, theme, Icon::Target, &label, false).clicked() {
                let (row, column) = finding.peak;
                cx.read(ReadCommand::Probe(ImagePoint { row, column }));
            }
        });
    });
}

/// Makes an annotation of the finding, to be corrected by hand.
fn take_over(ui: &mut Ui, cx: &Cx<'_>, finding: &Finding) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        ui.spacing_mut().interact_size.y = 0.0;
        widgets::caption(ui, theme, "Take over to correct");
        for (icon, kind, what) in
            [(Icon::Pentagon, ShapeKind::Polygon, "Contour"), (Icon::Square, ShapeKind::Rectangle, "Box")]
        {
            let icon = theme.icon(icon, theme.palette.weak).size(theme.tokens.text.body);
            let words = RichText::new(what).font(theme.small()).color(theme.palette.text);
            let name = format!("Take over finding {} as {}", finding.id.0, what.to_lowercase());
            if widgets::named(ui.add(egui::Button::new((icon, words))), &name).clicked() {
                cx.send(Command::Draw(DrawCommand::TakeOver(finding.id, kind)));
            }
        }
    });
}
