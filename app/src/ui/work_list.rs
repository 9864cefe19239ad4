//! The work list above the list of studies, where a project is open: whose it is, how much is done, and how far the open series is.

use bifocal_core::project::CaseState;
use eframe::egui::{self, Ui};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::jobs::JobKind;
use crate::tuning::TuneCommand;
use crate::work::WorkCommand;

/// States with their words.
pub(super) const STATES: [(CaseState, &str); 3] =
    [(CaseState::New, "New"), (CaseState::InProgress, "In progress"), (CaseState::Done, "Done")];

/// Draws it; nothing where no project is open.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let Some(work) = &cx.state.work else { return };
    let theme = &cx.theme;
    let (done, all) = work.done_of(&cx.state.library.studies);
    ui.strong(work.project.name());
    widgets::caption(ui, theme, format!("{}  ·  {done} of {all} series done", work.reader));
    let series = cx.state.reading.as_ref().and_then(|reading| reading.series());
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = theme.space().xs;
        ui.add_enabled_ui(series.is_some(), |ui| {
            let case = series.map(|series| work.case(&series.reading_uid())).unwrap_or_default();
            for (state, word) in STATES {
                let button = ui.add(egui::Button::selectable(case.state == state, word));
                if button.on_hover_text("How far this series is").clicked() && case.state != state {
                    cx.send(Command::Work(WorkCommand::State(state)));
                }
            }
            let label = if case.flagged { "Set aside: take back" } else { "Set aside, to be looked at again" };
            if widgets::icon_button(ui, theme, Icon::Flag, label, case.flagged).clicked() {
                cx.send(Command::Work(WorkCommand::Flag(!case.flagged)));
            }
        });
        if widgets::icon_button(ui, theme, Icon::SkipForward, "Next series that is not done", false).clicked() {
            cx.send(Command::Work(WorkCommand::Next));
        }
    });
    let open = cx.state.tuning.open;
    let words = if cx.jobs.iter().any(|job| job.kind == JobKind::Tuning) { "Fine-tuning runs" } else { "Fine-tune…" };
    let icon = theme.icon(Icon::GraduationCap, theme.palette.weak);
    let button = ui.add(egui::Button::new((icon, words)).selected(open));
    let button = widgets::named(button, "Fine-tune");
    if button.on_hover_text("Teach the model these cases, and compare it with the one before").clicked() {
        cx.send(Command::Tune(if open { TuneCommand::Close } else { TuneCommand::Open }));
    }
    ui.add_space(theme.space().s);
}

/// The mark of a series in the list of studies: its word, and whether it is set aside.
pub fn mark(cx: &Cx<'_>, series: &bifocal_core::study::Series) -> Option<String> {
    let case = cx.state.work.as_ref()?.case(&series.reading_uid());
    let word = STATES.iter().find(|(state, _)| *state == case.state).map_or("", |(_, word)| word);
    Some(if case.flagged { format!("{word}, set aside") } else { word.to_owned() })
}
