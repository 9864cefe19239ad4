//! The work list above the list of studies, where a project is open: whose it is, how much is done, how far the open series is, what is listed, and
//! the panels of the project.

use bifocal_core::project::CaseState;
use bifocal_core::study::Series;
use eframe::egui::{self, Align, Button, Id, Layout, RichText, TextEdit, Ui, vec2};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::jobs::JobKind;
use crate::keymap::Action;
use crate::project::{ProjectCommand, ProjectPanel};
use crate::work::{Filter, Work, WorkCommand};

/// States with their words.
pub(super) const STATES: [(CaseState, &str); 3] =
    [(CaseState::New, "New"), (CaseState::InProgress, "In progress"), (CaseState::Done, "Done")];

/// Draws it; nothing where no project is open.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let Some(work) = &cx.state.work else { return };
    let space = cx.theme.space();
    ui.spacing_mut().item_spacing.y = space.xs;
    let counts = work.counts(&cx.state.library.studies);
    head(ui, cx, work, counts);
    case(ui, cx, work);
    filters(ui, cx, work, counts);
    panels(ui, cx);
    ui.add_space(space.xs);
}

fn send(cx: &Cx<'_>, command: WorkCommand) {
    cx.send(Command::Work(command));
}

/// How many series each filter shows.
type Counts = [usize; Filter::ALL.len()];

fn head(ui: &mut Ui, cx: &Cx<'_>, work: &Work, counts: Counts) {
    let theme = &cx.theme;
    let [all, _, _, done, _] = counts;
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 0.0;
            if widgets::icon_button(ui, theme, Icon::Settings, "Project: name, reader, images", false).clicked() {
                cx.send(Command::Project(ProjectCommand::Own));
            }
            let step = |ui: &mut Ui, icon, label: &str, action| {
                let tip = cx.state.settings.keys.with_text(label, action);
                if widgets::icon_button(ui, theme, icon, &tip, false).clicked() {
                    cx.act(action);
                }
            };
            let (next, previous) = match work.filter {
                Filter::All => ("Next series that is not done", "Previous series that is not done"),
                _ => ("Next series of the filter", "Previous series of the filter"),
            };
            step(ui, Icon::SkipForward, next, Action::NextCase);
            step(ui, Icon::SkipBack, previous, Action::PreviousCase);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let name = RichText::new(work.project.name()).strong().color(theme.palette.text);
                ui.add(egui::Label::new(name).truncate());
            });
        });
    });
    widgets::caption(ui, theme, format!("{}  ·  {done} of {all} series done", work.reader));
}

/// How far the open series is, and what is noted about it.
fn case(ui: &mut Ui, cx: &Cx<'_>, work: &Work) {
    let theme = &cx.theme;
    let series = cx.state.reading.as_ref().and_then(|reading| reading.series());
    let case = series.map(|series| work.case(&series.reading_uid())).unwrap_or_default();
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = theme.space().xs;
        ui.add_enabled_ui(series.is_some(), |ui| {
            for (state, word) in STATES {
                let button = ui.add(Button::selectable(case.state == state, word));
                let tip = match state {
                    CaseState::Done => {
                        format!("How far this series is. {}", cx.tooltip(Action::CaseDone))
                    }
                    _ => "How far this series is".to_owned(),
                };
                if button.on_hover_text(tip).clicked() && case.state != state {
                    send(cx, WorkCommand::State(state));
                }
            }
            let label = if case.flagged { "Set aside: take back" } else { "Set aside, to be looked at again" };
            let tip = cx.state.settings.keys.with_text(label, Action::CaseFlag);
            if widgets::icon_button(ui, theme, Icon::Flag, &tip, case.flagged).clicked() {
                send(cx, WorkCommand::Flag(!case.flagged));
            }
        });
    });
    let Some(series) = series else { return };
    // Kept when it is finished, not with every letter: the history would tell of each.
    let uid = series.reading_uid();
    let id = Id::unique(("note of", &uid.0));
    let mut note = ui.data(|data| data.get_temp::<String>(id)).unwrap_or_else(|| case.note.clone());
    let hint = RichText::new("Note").color(theme.palette.faint);
    let field = TextEdit::singleline(&mut note).hint_text(hint).desired_width(f32::INFINITY);
    let response = ui.add(field).accessible_name("Note on the series");
    if response.changed() {
        ui.data_mut(|data| data.insert_temp(id, note.clone()));
    }
    if response.lost_focus() {
        ui.data_mut(|data| data.remove::<String>(id));
        if note.trim() != case.note {
            send(cx, WorkCommand::Note(note));
        }
    }
}

/// Which series are listed.
fn filters(ui: &mut Ui, cx: &Cx<'_>, work: &Work, counts: Counts) {
    let theme = &cx.theme;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(theme.space().xs, theme.space().xs);
        ui.spacing_mut().button_padding.x = theme.space().xs;
        for (filter, count) in Filter::ALL.into_iter().zip(counts) {
            let word = match filter {
                Filter::All => "All",
                Filter::Flagged => "Set aside",
                Filter::State(of) => STATES.iter().find(|(state, _)| *state == of).map_or("", |(_, word)| word),
            };
            let on = work.filter == filter;
            let color = if on { theme.palette.text } else { theme.palette.weak };
            let words = |text: String| RichText::new(text).font(theme.small()).color(color);
            let button = match filter {
                Filter::Flagged => {
                    let flag = theme.icon(Icon::Flag, color).size(theme.tokens.text.small);
                    ui.add(Button::selectable(on, (flag, words(count.to_string()))))
                }
                _ => ui.add(Button::selectable(on, words(format!("{word} {count}")))),
            };
            let name = format!("List: {}", word.to_lowercase());
            if widgets::named(button, &name).on_hover_text(format!("Which series are listed below: {word}")).clicked() {
                send(cx, WorkCommand::Filter(if on { Filter::All } else { filter }));
            }
        }
    });
}

/// What else can be done with the project.
fn panels(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let tuning =
        if cx.jobs.iter().any(|job| job.kind == JobKind::Tuning) { "Fine-tuning runs" } else { "Fine-tune…" };
    let entries = [
        (ProjectPanel::Comparison, Icon::Users, "Compare", "Compare readers", Action::CompareReaders),
        (ProjectPanel::History, Icon::History, "History", "Who changed what and when", Action::History),
        (ProjectPanel::Export, Icon::Upload, "Export", "Write annotations for other programs", Action::ExportProject),
        (ProjectPanel::Import, Icon::Download, "Import", "Bring annotations of other programs", Action::ImportProject),
        (
            ProjectPanel::Tuning,
            Icon::GraduationCap,
            tuning,
            "Teach the model these cases, and compare it with the one before",
            Action::FineTune,
        ),
    ];
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(theme.space().xs, theme.space().xs);
        ui.spacing_mut().button_padding.x = theme.space().xs;
        for (panel, icon, words, tip, action) in entries {
            let icon = theme.icon(icon, theme.palette.weak).size(theme.tokens.text.body);
            let label = RichText::new(words).font(theme.small());
            let button = ui.add(Button::new((icon, label)).selected(cx.state.panel == Some(panel)));
            let name = match panel {
                ProjectPanel::Tuning => "Fine-tune",
                ProjectPanel::Comparison => "Compare readers",
                _ => words,
            };
            let tip = cx.state.settings.keys.with_text(tip, action);
            if widgets::named(button, name).on_hover_text(tip).clicked() {
                cx.send(Command::Project(ProjectCommand::Panel(panel)));
            }
        }
    });
}

/// The mark of a series in the list of studies: its word, and whether it is set aside.
pub fn mark(cx: &Cx<'_>, series: &Series) -> Option<String> {
    let case = cx.state.work.as_ref()?.case(&series.reading_uid());
    let word = STATES.iter().find(|(state, _)| *state == case.state).map_or("", |(_, word)| word);
    Some(if case.flagged { format!("{word}, set aside") } else { word.to_owned() })
}
