//! The panel of fine-tuning: which cases, how it goes, and what came of it.

use bifocal_core::evaluate::{Interval, Verdict, metric_name};
use bifocal_core::project::CaseState;
use bifocal_core::train::Curves;
use bifocal_core::tune::{Choice, Plan, Side, Tuned};
use eframe::egui::{self, Button, ComboBox, Grid, Label, RichText, Slider, TextEdit, Ui, vec2};
use lucide_icons::Icon;

use super::side::{self, cell, lines, warning};
use super::{Cx, curves, names, widgets, work_list};
use crate::command::Command;
use crate::jobs::{Job, JobKind};
use crate::tuning::{HOLD_OUT, STEPS, TuneCommand, Tuning};

/// Draws the panel on the right.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let from = cx.state.model.as_ref().map(|model| format!("from {model}")).unwrap_or_default();
    side::show(ui, cx, (Icon::GraduationCap, "Fine-tuning"), &from, |ui| {
        let tuning = &cx.state.tuning;
        let running = cx.jobs.iter().find(|job| job.kind == JobKind::Tuning);
        match (running, &tuning.result) {
            (Some(job), _) => progress(ui, cx, job),
            (None, Some(Ok(tuned))) => outcome(ui, cx, tuned),
            (None, Some(Err(message))) => failure(ui, cx, message),
            (None, None) => choose(ui, cx, tuning),
        }
    });
}

fn send(cx: &Cx<'_>, command: TuneCommand) {
    cx.send(Command::Tune(command));
}

fn choose(ui: &mut Ui, cx: &Cx<'_>, tuning: &Tuning) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    if let Some(problem) = &cx.state.network.problem {
        widgets::empty(ui, theme, Icon::PackageX, "No model to start from", "");
        lines(ui, cx, problem, palette.weak);
        return;
    }
    let mut choice = tuning.choice.clone();
    cases(ui, cx, tuning, &mut choice);
    ui.add_space(space.m);
    labels(ui, cx, tuning, &mut choice);
    ui.add_space(space.m);
    let mut percent = (choice.hold_out * 100.0).round() as u32;
    Grid::new("fine-tuning numbers").num_columns(2).spacing(vec2(space.m, space.s)).show(ui, |ui| {
        ui.label("Held out");
        let slider = ui.add(Slider::new(&mut percent, HOLD_OUT).suffix(" %")).accessible_name("Held-out share");
        if slider.on_hover_text("Share of patients that old and new model are compared on").changed() {
            choice.hold_out = f64::from(percent) / 100.0;
        }
        ui.end_row();
        ui.label("Steps");
        let mut steps = tuning.steps;
        let slider = ui.add(Slider::new(&mut steps, STEPS).logarithmic(true)).accessible_name("Steps");
        if slider.on_hover_text("At most; it ends early where nothing is gained").changed() {
            send(cx, TuneCommand::Steps(steps));
        }
        ui.end_row();
        ui.label("Name");
        let mut name = tuning.name.clone();
        let field = TextEdit::singleline(&mut name).desired_width(180.0);
        if ui.add(field).accessible_name("Name of the new model").changed() {
            send(cx, TuneCommand::Name(name));
        }
        ui.end_row();
    });
    if choice != tuning.choice {
        send(cx, TuneCommand::Choice(choice));
    }
    ui.add_space(space.m);
    match &tuning.plan {
        None => {
            ui.add(egui::Spinner::new().size(space.l).color(palette.weak));
        }
        Some(Err(message)) => {
            warning(ui, cx, message);
        }
        Some(Ok(plan)) => split(ui, cx, plan),
    }
    for problem in &tuning.problems {
        lines(ui, cx, problem, palette.warning);
    }
    ui.add_space(space.m);
    let ready = matches!(tuning.plan, Some(Ok(_))) && tuning.is_named();
    if side::main_button(ui, cx, Icon::Play, "Start", "Start fine-tuning", ready) {
        send(cx, TuneCommand::Start);
    }
    if !tuning.is_named() {
        lines(ui, cx, "The name takes letters, digits, - and _.", palette.warning);
    }
    lines(ui, cx, "You can go on reading; one core is left to the window. Images are only read.", palette.weak);
}

/// Which cases, by how far the reader is.
fn cases(ui: &mut Ui, cx: &Cx<'_>, tuning: &Tuning, choice: &mut Choice) {
    let theme = &cx.theme;
    widgets::heading(ui, theme, "Cases");
    let candidates = tuning.candidates.as_deref().unwrap_or_default();
    let flagged = |flag: bool| candidates.iter().filter(move |candidate| candidate.flagged == flag);
    ui.horizontal_wrapped(|ui| {
        for (state, word) in work_list::STATES.into_iter().rev() {
            let count = candidates.iter().filter(|candidate| candidate.state == state).count();
            let mut on = choice.states.contains(&state);
            let tip = match state {
                CaseState::Done => "What is not drawn on them is not there: they teach both ways",
                _ => "They teach only what is drawn on them",
            };
            if ui.checkbox(&mut on, format!("{word} ({count})")).on_hover_text(tip).changed() {
                if on {
                    choice.states.insert(state);
                } else {
                    choice.states.remove(&state);
                }
            }
        }
        let aside = flagged(true).count();
        if aside > 0 {
            ui.checkbox(&mut choice.flagged, format!("Set aside, too ({aside})"));
        }
    });
}

/// Which label stands for which class.
fn labels(ui: &mut Ui, cx: &Cx<'_>, tuning: &Tuning, choice: &mut Choice) {
    const NONE: &str = "left out";
    let theme = &cx.theme;
    let (Some(work), Some(metadata)) = (&cx.state.work, &cx.state.network.metadata) else { return };
    let classes: Vec<&str> = (metadata.lesions.iter().map(|class| class.name.as_str()))
        .chain(metadata.organs.iter().map(|class| class.name.as_str()))
        .collect();
    let display = |class: &str| {
        let lesion = metadata.lesions.iter().find(|lesion| lesion.name == class).map(|lesion| &lesion.display);
        let organ = || metadata.organs.iter().find(|organ| organ.name == class).map(|organ| &organ.display);
        lesion.or_else(organ).cloned().unwrap_or_else(|| class.to_owned())
    };
    widgets::heading(ui, theme, "Labels");
    let on = |key: &str| tuning.candidates.iter().flatten().filter(|candidate| candidate.labels.contains(key)).count();
    Grid::new("fine-tuning labels").num_columns(3).spacing(vec2(theme.space().m, theme.space().xs)).show(ui, |ui| {
        // Labels that nobody has given would only fill the panel.
        for label in work.project.labels().labels.iter() {
            let (count, mapped) = (on(&label.key), choice.labels.get(&label.key).cloned());
            if count == 0 && mapped.is_none() {
                continue;
            }
            ui.label(&label.name);
            cell(ui, cx, format!("on {count} series"));
            let shown = mapped.as_deref().map_or_else(|| NONE.to_owned(), display);
            let response =
                ComboBox::from_id_salt(("class of", &label.key)).selected_text(shown).width(150.0).show_ui(ui, |ui| {
                    if ui.selectable_label(mapped.is_none(), NONE).clicked() {
                        choice.labels.remove(&label.key);
                    }
                    for class in &classes {
                        if ui.selectable_label(mapped.as_deref() == Some(class), display(class)).clicked() {
                            choice.labels.insert(label.key.clone(), (*class).to_owned());
                        }
                    }
                });
            widgets::named(response.response, &format!("Class of {}", label.name));
            ui.end_row();
        }
    });
}

/// How the patients are split, and what is left out.
fn split(ui: &mut Ui, cx: &Cx<'_>, plan: &Plan) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    widgets::heading(ui, theme, "Split by patient");
    let classes: Vec<&String> = plan.training.classes.keys().collect();
    Grid::new("fine-tuning split").striped(true).spacing(vec2(space.l, space.xs)).show(ui, |ui| {
        for title in ["", "Patients", "Series"] {
            cell(ui, cx, title);
        }
        for class in &classes {
            let name = names::lesion(cx.state, class);
            cell(ui, cx, format!("{name}: with / without"));
        }
        ui.end_row();
        let mut row = |title: &str, tip: &str, side: &Side| {
            ui.label(title).on_hover_text(tip);
            ui.label(side.patients.len().to_string());
            ui.label(side.series.len().to_string());
            for class in &classes {
                let counts = side.classes.get(*class).copied().unwrap_or_default();
                ui.label(format!("{} / {}", counts.with, counts.without));
            }
            ui.end_row();
        };
        row("Training", "Learned from", &plan.training);
        row("Validation", "Their loss says when to stop", &plan.validation);
        row("Held out", "Old and new are compared on them; never learned from", &plan.held_out);
    });
    ui.add_space(space.xs);
    for (reason, count) in &plan.left_out {
        lines(ui, cx, format!("{count} series left out: {reason}"), palette.weak);
    }
    if !plan.unused_labels.is_empty() {
        let unused: Vec<&str> = plan.unused_labels.iter().map(String::as_str).collect();
        lines(ui, cx, format!("Labels that stand for no class: {}", unused.join(", ")), palette.weak);
    }
    for message in &plan.warnings {
        warning(ui, cx, message);
    }
}

fn progress(ui: &mut Ui, cx: &Cx<'_>, job: &Job) {
    side::progress(ui, cx, job, "Cancel fine-tuning");
    ui.add_space(cx.theme.space().m);
    let palette = cx.theme.palette;
    curves::show(ui, cx, &Curves::of(&cx.state.tuning.reports()));
    lines(
        ui,
        cx,
        "You can go on reading. Step 0 is the model as it was; the weights with the lowest validation loss are kept.",
        palette.weak,
    );
}

fn failure(ui: &mut Ui, cx: &Cx<'_>, message: &str) {
    widgets::empty(ui, &cx.theme, Icon::TriangleAlert, "Fine-tuning failed", "The cause:");
    lines(ui, cx, message, cx.theme.palette.text);
    ui.add_space(cx.theme.space().m);
    if ui.button("Back to the cases").clicked() {
        send(cx, TuneCommand::Again);
    }
}

fn outcome(ui: &mut Ui, cx: &Cx<'_>, tuned: &Tuned) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let new = format!("{} {}", tuned.metadata.id, tuned.metadata.version);
    widgets::heading(ui, theme, &format!("{new} beside {}", tuned.parent));
    let (done, best) = tuned.steps;
    let steps = match best {
        0 => format!(
            "In {done} steps the validation loss never fell below the parent's: the new model holds the old weights."
        ),
        best => format!("{done} steps; weights of step {best}, where the validation loss was the lowest."),
    };
    lines(ui, cx, steps, palette.weak);
    ui.add_space(space.s);
    theme.card_frame().show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.add(Label::new(RichText::new(tuned.comparison.sentence()).color(palette.text)).wrap());
    });
    ui.add_space(space.s);
    table(ui, cx, tuned);
    ui.add_space(space.s);
    let held = &tuned.comparison;
    lines(
        ui,
        cx,
        format!("{} images of {} held-out patients; 95 % intervals, differences paired.", held.images, held.patients),
        palette.weak,
    );
    for problem in &tuned.problems {
        lines(ui, cx, problem, palette.warning);
    }
    ui.add_space(space.m);
    decide(ui, cx, &new, tuned);
    ui.add_space(space.m);
    curves::show(ui, cx, &Curves::of(&cx.state.tuning.reports()));
    lines(ui, cx, format!("Page, card and weights: {}", tuned.folder.display()), palette.weak);
}

fn decide(ui: &mut Ui, cx: &Cx<'_>, new: &str, tuned: &Tuned) {
    let theme = &cx.theme;
    let palette = theme.palette;
    match cx.state.tuning.decided {
        Some(used) => {
            let words =
                if used { format!("{new} is used from now on.") } else { format!("{} stays in use.", tuned.parent) };
            ui.horizontal(|ui| {
                ui.label(theme.icon(Icon::CircleCheck, palette.success).size(theme.tokens.text.title));
                ui.add(Label::new(RichText::new(words).color(palette.text)).wrap());
            });
            lines(ui, cx, "Preferences, Model, changes that at any time.", palette.weak);
            ui.add_space(theme.space().s);
            if ui.button("Fine-tune again").clicked() {
                send(cx, TuneCommand::Again);
            }
        }
        None => {
            ui.horizontal(|ui| {
                let size = vec2((ui.available_width() - theme.space().s) / 2.0, theme.size().control);
                if ui.add(Button::new("Use new bundle").min_size(size)).clicked() {
                    send(cx, TuneCommand::UseNew);
                }
                if ui.add(Button::new("Keep the old").min_size(size)).clicked() {
                    send(cx, TuneCommand::KeepOld);
                }
            });
        }
    }
}

fn table(ui: &mut Ui, cx: &Cx<'_>, tuned: &Tuned) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let interval = |i: &Interval| format!("{:.2} ({:.2}–{:.2})", i.value, i.low, i.high);
    let small = |text: String, color| Label::new(RichText::new(text).font(theme.small()).color(color));
    let mut class = "";
    Grid::new("fine-tuning comparison").striped(true).spacing(vec2(space.m, space.xs)).show(ui, |ui| {
        for title in ["", "Old", "New", "Difference"] {
            cell(ui, cx, title);
        }
        ui.end_row();
        for row in &tuned.comparison.rows {
            if row.class != class {
                class = &row.class;
                ui.label(RichText::new(names::lesion(cx.state, class)).strong());
                ui.end_row();
            }
            let name = metric_name(&row.metric);
            let (short, low) = match name.split_once(" (") {
                Some((short, _)) => (short.to_owned(), true),
                None => (name.clone(), false),
            };
            let tip = if low { "Lower is better" } else { "Higher is better" };
            ui.horizontal(|ui| {
                ui.spacing_mut().interact_size.y = 0.0;
                ui.add(small(short, palette.text)).on_hover_text(tip);
                if low {
                    ui.label(theme.icon(Icon::ArrowDown, palette.weak).size(theme.tokens.text.small))
                        .on_hover_text(tip);
                }
            });
            ui.add(small(interval(&row.before), palette.weak));
            ui.add(small(interval(&row.after), palette.weak));
            let d = &row.difference;
            let (color, word) = match row.verdict {
                Verdict::Better => (palette.success, "better"),
                Verdict::Worse => (palette.danger, "worse"),
                Verdict::Undecided => (palette.weak, "within the interval"),
                Verdict::TooFew => (palette.weak, "too few patients to say"),
            };
            let text = format!("{:+.2} ({:+.2} to {:+.2})", d.value, d.low, d.high);
            ui.add(small(text, color)).on_hover_text(word);
            ui.end_row();
        }
    });
}
