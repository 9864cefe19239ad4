//! What the panels of a project on the right have in common: frame and head, text over several lines, warnings, progress with a way to stop it.

use eframe::egui::{self, Align, Button, Frame, Label, Layout, Margin, Panel, RichText, ScrollArea, Ui, vec2};
use lucide_icons::Icon;

use super::{Cx, status_bar, text, widgets};
use crate::command::Command;
use crate::jobs::Job;
use crate::project::ProjectCommand;

/// Draws a panel with a head that closes it; `content` scrolls.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, (icon, title): (Icon, &str), detail: &str, content: impl FnOnce(&mut Ui)) {
    let theme = &cx.theme;
    Panel::right("panel of the project")
        .default_size(440.0)
        .size_range(380.0..=640.0)
        .show_separator_line(false)
        .frame(theme.panel_frame().inner_margin(Margin::ZERO).stroke(theme.line()))
        .show(ui, |ui| {
            head(ui, cx, icon, title, detail);
            ScrollArea::vertical().id_salt(title).auto_shrink(false).show(ui, |ui| {
                Frame::new().inner_margin(Margin::same(theme.space().m as i8)).show(ui, |ui| {
                    content(ui);
                    ui.add_space(theme.space().m);
                    widgets::caption(ui, theme, status_bar::RESEARCH_USE);
                });
            });
        });
}

fn head(ui: &mut Ui, cx: &Cx<'_>, icon: Icon, title: &str, detail: &str) {
    let theme = &cx.theme;
    let frame =
        Frame::new().fill(theme.palette.panel).inner_margin(Margin::same(theme.space().m as i8)).stroke(theme.line());
    Panel::top("head of the project's panel").resizable(false).show_separator_line(false).frame(frame).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.label(theme.icon(icon, theme.palette.weak));
            ui.label(RichText::new(title).size(theme.tokens.text.title).color(theme.palette.text));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let label = format!("Close {}  (Esc)", title.to_lowercase());
                if widgets::icon_button(ui, theme, Icon::X, &label, false).clicked() {
                    cx.send(Command::Project(ProjectCommand::HidePanel));
                }
                if !detail.is_empty() {
                    widgets::caption(ui, theme, detail);
                }
            });
        });
    });
}

/// Text over several lines.
pub fn lines(ui: &mut Ui, cx: &Cx<'_>, text: impl Into<String>, color: egui::Color32) {
    ui.add(Label::new(RichText::new(text).font(cx.theme.small()).color(color)).wrap().selectable(true));
}

/// A cell of a table, as wide as its words.
pub fn cell(ui: &mut Ui, cx: &Cx<'_>, text: impl Into<String>) -> egui::Response {
    ui.add(Label::new(RichText::new(text).font(cx.theme.small()).color(cx.theme.palette.weak)).extend())
}

/// Something to look at.
pub fn warning(ui: &mut Ui, cx: &Cx<'_>, text: &str) {
    ui.horizontal_top(|ui| {
        ui.spacing_mut().interact_size.y = 0.0;
        ui.label(cx.theme.icon(Icon::TriangleAlert, cx.theme.palette.warning).size(cx.theme.tokens.text.body));
        lines(ui, cx, text::sentence(text), cx.theme.palette.warning);
    });
}

/// What could not be taken, one line each, the first ones.
pub fn problems(ui: &mut Ui, cx: &Cx<'_>, title: &str, problems: &[String]) {
    const SHOWN: usize = 40;
    if problems.is_empty() {
        return;
    }
    ui.add_space(cx.theme.space().s);
    widgets::heading(ui, &cx.theme, title);
    for problem in problems.iter().take(SHOWN) {
        warning(ui, cx, problem);
    }
    if problems.len() > SHOWN {
        lines(ui, cx, format!("and {} more", problems.len() - SHOWN), cx.theme.palette.weak);
    }
}

/// The one main action of a panel, with its icon.
pub fn main_button(ui: &mut Ui, cx: &Cx<'_>, icon: Icon, words: &str, name: &str, ready: bool) -> bool {
    let theme = &cx.theme;
    let palette = theme.palette;
    let color = if ready { palette.on_primary } else { palette.faint };
    let fill = if ready { palette.primary } else { palette.raised };
    let icon = theme.icon(icon, color).size(theme.tokens.text.title);
    let button = Button::new((icon, RichText::new(words).color(color))).fill(fill);
    let button = button.min_size(vec2(140.0, theme.size().control));
    let response = ui.add_enabled_ui(ready, |ui| widgets::named(ui.add(button), name)).inner;
    response.clicked()
}

/// How far a job is, and how to stop it.
pub fn progress(ui: &mut Ui, cx: &Cx<'_>, job: &Job, cancel: &str) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let stage = job.progress.as_ref().map_or("Beginning", |progress| progress.stage.as_str());
    let stage = stage.strip_prefix("Stage ").map_or_else(|| stage.to_owned(), text::sentence);
    ui.horizontal(|ui| {
        ui.add(egui::Spinner::new().size(theme.tokens.text.body).color(palette.weak));
        ui.label(RichText::new(stage).color(palette.text));
        if let Some(progress) = job.progress.as_ref().filter(|progress| progress.total > 0) {
            widgets::caption(ui, theme, format!("{} of {}", progress.done, progress.total));
        }
    });
    let share = job.progress.as_ref().and_then(|progress| progress.fraction()).unwrap_or(0.0);
    widgets::bar(ui, theme, share, palette.text, vec2(ui.available_width(), space.xs));
    ui.add_space(space.xs);
    ui.horizontal(|ui| {
        widgets::caption(ui, theme, format!("{} s", job.started.elapsed().as_secs()));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if job.stopping {
                widgets::caption(ui, theme, "stopping");
            } else if ui.button(cancel).clicked() {
                cx.send(Command::CancelJob(job.kind));
            }
        });
    });
}
