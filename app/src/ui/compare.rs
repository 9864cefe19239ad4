//! The panel of two readers: how far they agree on each label, and case by case.

use bifocal_core::project::{Agreement, CaseAgreement, CaseState, Comparison};
use eframe::egui::{self, Align, ComboBox, Grid, Layout, RichText, Sense, Ui, UiBuilder, vec2};
use lucide_icons::Icon;

use super::side::{self, cell, lines};
use super::{Cx, text, widgets};
use crate::command::Command;
use crate::compare::{CompareCommand, Comparing};
use crate::jobs::JobKind;
use crate::keymap::Action;

/// Draws the panel.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    side::show(ui, cx, (Icon::Users, "Readers compared"), "", |ui| {
        let comparing = &cx.state.comparing;
        pair(ui, cx, comparing);
        beside(ui, cx);
        ui.add_space(cx.theme.space().s);
        if comparing.readers.len() < 2 {
            let next = "Another reader opens the project under a name of their own, on this machine or another.";
            widgets::empty(ui, &cx.theme, Icon::Users, "One reader has nobody to be compared with", next);
            return;
        }
        if comparing.pair[0] == comparing.pair[1] {
            lines(ui, cx, "Choose two readers.", cx.theme.palette.weak);
            return;
        }
        if let Some(job) = cx.jobs.iter().find(|job| job.kind == JobKind::Comparison) {
            side::progress(ui, cx, job, "Cancel the comparison");
            return;
        }
        match &comparing.result {
            None => {}
            Some(Err(cause)) => side::warning(ui, cx, cause),
            Some(Ok(comparison)) => outcome(ui, cx, comparing, comparison),
        }
    });
}

fn send(cx: &Cx<'_>, command: CompareCommand) {
    cx.send(Command::Compare(command));
}

fn pair(ui: &mut Ui, cx: &Cx<'_>, comparing: &Comparing) {
    ui.horizontal(|ui| {
        for (which, name) in ["First reader", "Second reader"].into_iter().enumerate() {
            if which == 1 {
                ui.label("and");
            }
            let chosen = &comparing.pair[which];
            let shown = if chosen.is_empty() { "nobody" } else { chosen };
            let combo = ComboBox::from_id_salt(name).selected_text(shown).width(130.0);
            let response = combo.show_ui(ui, |ui| {
                for reader in &comparing.readers {
                    if ui.selectable_label(chosen == reader, reader).clicked() && chosen != reader {
                        send(cx, CompareCommand::Reader(which, reader.clone()));
                    }
                }
            });
            widgets::named(response.response, name);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let again = widgets::icon_button(ui, &cx.theme, Icon::RefreshCw, "Compare again", false);
            if again.clicked() {
                send(cx, CompareCommand::Again);
            }
        });
    });
}

/// Whose shapes are drawn beside one's own.
fn beside(ui: &mut Ui, cx: &Cx<'_>) {
    let (theme, Some(work)) = (&cx.theme, &cx.state.work) else { return };
    let others: Vec<&String> = cx.state.comparing.readers.iter().filter(|reader| **reader != work.reader).collect();
    if others.is_empty() {
        return;
    }
    ui.horizontal(|ui| {
        ui.label("In the image, dashed");
        let chosen = work.beside.as_ref().map(|beside| &beside.reader);
        let shown = chosen.map_or("nobody", String::as_str);
        let combo = ComboBox::from_id_salt("beside").selected_text(shown).width(130.0);
        let response = combo.show_ui(ui, |ui| {
            if ui.selectable_label(chosen.is_none(), "nobody").clicked() {
                send(cx, CompareCommand::Beside(String::new()));
            }
            for reader in others {
                if ui.selectable_label(chosen == Some(reader), reader).clicked() {
                    send(cx, CompareCommand::Beside(reader.clone()));
                }
            }
        });
        widgets::named(response.response, "Reader beside");
        if let Some(beside) = &work.beside {
            let icon = if beside.shown { Icon::Eye } else { Icon::EyeOff };
            let tip = cx.tooltip(Action::OtherReader);
            if widgets::icon_button(ui, theme, icon, &tip, beside.shown).clicked() {
                send(cx, CompareCommand::Toggle);
            }
        }
    });
}

fn name_of(cx: &Cx<'_>, key: &str) -> String {
    cx.state.drawing.label_of(key).map_or_else(|| key.to_owned(), |label| label.name.clone())
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

fn outcome(ui: &mut Ui, cx: &Cx<'_>, comparing: &Comparing, comparison: &Comparison) {
    let theme = &cx.theme;
    widgets::heading(ui, theme, "By label");
    ui.add_space(theme.space().xs);
    let given = |row: &&Agreement| row.dice.is_some() || row.series[..3].iter().any(|count| *count > 0);
    let rows: Vec<&Agreement> = comparison.labels.iter().filter(given).collect();
    if rows.is_empty() {
        lines(ui, cx, "Neither has given a label yet.", theme.palette.weak);
    } else {
        table(ui, cx, comparing, &rows);
        ui.add_space(theme.space().xs);
        let both_done = rows.first().map_or(0, |row| row.series.iter().sum());
        let words = format!(
            "Dice of regions, mean over images and over series. κ: Cohen's kappa of whether a series shows the label, over the {} that both are done with.",
            if both_done == 1 { "1 series".to_owned() } else { format!("{both_done} series") }
        );
        lines(ui, cx, words, theme.palette.weak);
    }
    ui.add_space(theme.space().m);
    widgets::heading(ui, theme, "By case, least agreement first");
    ui.add_space(theme.space().xs);
    let cases = comparing.cases();
    if cases.is_empty() {
        lines(ui, cx, "Neither has drawn on a series, and none is done by both.", theme.palette.weak);
    }
    let places = cx.state.places();
    for case in cases {
        // What is out of sight only takes its room.
        let id = egui::Id::unique(("height of case", &case.series.0, case.labels.len()));
        let (top, width) = (ui.cursor().min, ui.available_width());
        if let Some(height) = ui.data(|data| data.get_temp::<f32>(id))
            && !ui.is_rect_visible(egui::Rect::from_min_size(top, vec2(width, height)))
        {
            ui.allocate_space(vec2(width, height - ui.spacing().item_spacing.y));
            continue;
        }
        row(ui, cx, comparing, case, places.get(&case.series).copied());
        let height = ui.cursor().min.y - top.y;
        ui.data_mut(|data| data.insert_temp(id, height));
    }
    side::problems(ui, cx, "Could not be taken", &comparison.problems);
}

fn table(ui: &mut Ui, cx: &Cx<'_>, comparing: &Comparing, rows: &[&Agreement]) {
    let theme = &cx.theme;
    let [first, second] = &comparing.pair;
    Grid::new("agreement").striped(true).spacing(vec2(theme.space().m, theme.space().xs)).show(ui, |ui| {
        let heads = [
            ("Label", String::new()),
            ("Dice, images", "Mean over the images on which either has drawn it".to_owned()),
            ("Dice, series", "Mean over series, of all pixels of a series together".to_owned()),
            ("κ", "Cohen's kappa; none where chance alone would make them agree".to_owned()),
            ("Both", "Series on which both say it is there".to_owned()),
            ("1st", format!("Series on which only {first} says so")),
            ("2nd", format!("Series on which only {second} says so")),
            ("None", "Series on which both say it is not".to_owned()),
        ];
        for (head, tip) in heads {
            let response = cell(ui, cx, head);
            if !tip.is_empty() {
                response.on_hover_text(tip);
            }
        }
        ui.end_row();
        for row in rows {
            let color = super::shapes::color_of(cx, Some(&row.label));
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = theme.space().xs;
                ui.label(theme.icon(Icon::Square, if theme.dark { color } else { theme.palette.weak }));
                ui.label(name_of(cx, &row.label));
            });
            let images = if row.frames == 1 { "1 image".to_owned() } else { format!("{} images", row.frames) };
            ui.label(number(row.dice)).on_hover_text(images);
            ui.label(number(row.series_dice));
            ui.label(number(row.kappa));
            for count in row.series {
                ui.label(count.to_string());
            }
            ui.end_row();
        }
    });
}

/// A case; a click opens it where the two differ most.
fn row(ui: &mut Ui, cx: &Cx<'_>, comparing: &Comparing, case: &CaseAgreement, place: Option<(usize, usize)>) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let study = place.and_then(|(study, _)| cx.state.library.studies.get(study));
    let series = place.zip(study).and_then(|((_, index), study)| study.series.get(index));
    let title = series.map_or_else(|| case.series.to_string(), text::series_title);
    let patient = study.map(|study| text::patient_name(&study.patient)).unwrap_or_default();
    let open = cx.state.reading.as_ref().and_then(|r| r.series()).is_some_and(|s| s.reading_uid() == case.series);
    let builder = UiBuilder::new().id_salt(("case", &case.series.0)).sense(Sense::click());
    let response = ui.scope_builder(builder, |ui| {
        let response = ui.response();
        widgets::card(theme, &response, open).show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.spacing_mut().item_spacing = vec2(space.s, 2.0);
            ui.spacing_mut().interact_size.y = 0.0;
            ui.horizontal(|ui| {
                ui.label(RichText::new(&patient).color(palette.text));
                widgets::caption(ui, theme, text::join([title.clone(), states(comparing, case)]));
            });
            if case.labels.is_empty() {
                widgets::caption(ui, theme, "Nothing by either");
            }
            for label in &case.labels {
                ui.horizontal(|ui| {
                    let color = super::shapes::color_of(cx, Some(&label.label));
                    let icon = theme.icon(Icon::Square, if theme.dark { color } else { palette.weak });
                    ui.label(icon.size(theme.tokens.text.small));
                    ui.label(RichText::new(name_of(cx, &label.label)).font(theme.small()).color(palette.text));
                    let words = match label.given {
                        [true, true] => label
                            .dice
                            .map_or_else(|| "both, without an outline".to_owned(), |dice| format!("Dice {dice:.2}")),
                        [true, false] => format!("only {}", comparing.pair[0]),
                        _ => format!("only {}", comparing.pair[1]),
                    };
                    let apart = label.given != [true, true];
                    let color = if apart { palette.warning } else { palette.weak };
                    ui.label(RichText::new(words).font(theme.small()).color(color));
                });
            }
        });
    });
    let response = widgets::named(response.response, &format!("Case {patient}, {title}"));
    if response.clicked() {
        response.request_focus();
        let worst = case.labels.iter().min_by(|a, b| a.dice.unwrap_or(2.0).total_cmp(&b.dice.unwrap_or(2.0)));
        let place = worst.and_then(|label| label.farthest.clone());
        send(cx, CompareCommand::Jump(case.series.clone(), place));
    }
    ui.add_space(space.xs);
}

/// How far they are, where one is not done.
fn states(comparing: &Comparing, case: &CaseAgreement) -> String {
    let behind = |which: usize| match case.states[which] {
        CaseState::Done => String::new(),
        _ => format!("{} is not done", comparing.pair[which]),
    };
    text::join([behind(0), behind(1)])
}
