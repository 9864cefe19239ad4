//! One line at the bottom: what runs, how far it is, how to stop it; and what the application is not.

use eframe::egui::{self, Align, Frame, Layout, Margin, Panel, RichText, vec2};
use lucide_icons::Icon;

use super::{Cx, text, widgets};
use crate::command::Command;
use crate::jobs::JobKind;

/// Shown wherever results of the network are.
pub const RESEARCH_USE: &str = "Research use only, not a medical device";

/// Draws the bar.
pub fn show(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let space = theme.space();
    let frame =
        Frame::new().fill(theme.palette.panel).inner_margin(Margin::symmetric(space.m as i8, 0)).stroke(theme.line());
    Panel::bottom("status bar")
        .exact_size(theme.size().status_bar)
        .resizable(false)
        .show_separator_line(false)
        .frame(frame)
        .show(ui, |ui| {
            ui.horizontal_centered(|ui| {
                ui.spacing_mut().item_spacing.x = space.s;
                let jobs: Vec<_> = cx.jobs.iter().filter(|job| job.kind != JobKind::Dialog).collect();
                for job in &jobs {
                    job_line(ui, cx, job);
                }
                if jobs.is_empty() {
                    idle(ui, cx);
                }
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    widgets::caption(ui, theme, RESEARCH_USE);
                    ui.label(theme.icon(Icon::FlaskConical, theme.palette.faint).size(theme.tokens.text.body));
                    ui.separator();
                    widgets::caption(ui, theme, &cx.state.device);
                    ui.label(theme.icon(Icon::Cpu, theme.palette.faint).size(theme.tokens.text.body));
                });
            });
        });
}

fn job_line(ui: &mut egui::Ui, cx: &Cx<'_>, job: &crate::jobs::Job) {
    let theme = &cx.theme;
    let seconds = job.started.elapsed().as_secs();
    let stage = job.progress.as_ref().map_or(job.name.as_str(), |progress| progress.stage.as_str());
    ui.add(egui::Spinner::new().size(theme.tokens.text.body).color(theme.palette.weak));
    ui.label(RichText::new(stage).font(theme.small()).color(theme.palette.text));
    if let Some(progress) = &job.progress
        && let Some(fraction) = progress.fraction()
    {
        widgets::bar(ui, theme, fraction, theme.palette.text, vec2(120.0, 4.0));
        widgets::caption(ui, theme, format!("{} / {}", progress.done, progress.total));
    }
    if seconds > 0 {
        widgets::caption(ui, theme, format!("{seconds} s"));
    }
    if job.stopping {
        widgets::caption(ui, theme, "stopping");
    } else if widgets::icon_button(ui, theme, Icon::X, "Cancel", false).clicked() {
        cx.send(Command::CancelJob(job.kind));
    }
}

fn idle(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let library = &cx.state.library;
    if library.paths.is_empty() {
        widgets::caption(ui, theme, "Ready");
        return;
    }
    let series = library.listing.series(&library.studies);
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let problems = match library.problems.len() {
        0 => String::new(),
        n => count(n, "problem", "problems"),
    };
    let line =
        text::join([count(library.studies.len(), "study", "studies"), count(series, "series", "series"), problems]);
    widgets::caption(ui, theme, line);
}
