//! The panel of the history: who changed what and when; a click leads there.

use bifocal_core::project::{Entry, Told};
use eframe::egui::{self, Align2, CornerRadius, Sense, TextEdit, Ui, pos2, vec2};
use lucide_icons::Icon;

use super::side;
use super::{Cx, text, widgets};
use crate::command::Command;
use crate::history::{HistoryCommand, sentence};

/// Rows of the list.
const SHOWN: usize = 2000;

/// Draws the panel.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    side::show(ui, cx, (Icon::History, "History"), "times in UTC", |ui| {
        let theme = &cx.theme;
        let history = &cx.state.history;
        let series = cx.state.reading.as_ref().and_then(|reading| reading.series());
        ui.horizontal(|ui| {
            for (whole, words) in [(false, "This series"), (true, "Whole project")] {
                let button = ui.add(egui::Button::selectable(history.whole == whole, words));
                if button.clicked() && history.whole != whole {
                    send(cx, HistoryCommand::Whole(whole));
                }
            }
        });
        let mut search = history.search.clone();
        let field =
            TextEdit::singleline(&mut search).hint_text("Reader, label, what was done").desired_width(f32::INFINITY);
        if ui.add(field).accessible_name("Search the history").changed() {
            send(cx, HistoryCommand::Search(search));
        }
        ui.add_space(theme.space().s);
        let entries = match &history.entries {
            None => {
                ui.add(egui::Spinner::new().size(theme.space().l).color(theme.palette.weak));
                return;
            }
            Some(Err(cause)) => {
                side::warning(ui, cx, cause);
                return;
            }
            Some(Ok(_)) => {
                let labels = &cx.state.drawing.taxonomy;
                history.listed(series.map(|series| series.reading_uid()).as_ref(), labels)
            }
        };
        side::problems(ui, cx, "Could not be read", &history.problems);
        if entries.is_empty() {
            let (title, next) = match (history.search.trim().is_empty(), history.whole) {
                (false, _) => ("Nothing matches", "Search for a reader, a label or what was done."),
                (true, false) => {
                    ("Nothing was done on this series yet", "What is drawn, decided and noted stands here.")
                }
                (true, true) => ("Nothing was done yet", "What readers draw, decide and note stands here."),
            };
            widgets::empty(ui, theme, Icon::History, title, next);
            return;
        }
        for entry in entries.iter().take(SHOWN) {
            row(ui, cx, entry);
        }
        if entries.len() > SHOWN {
            let words =
                format!("and {} older ones: search, or bifocal project history lists all", entries.len() - SHOWN);
            widgets::caption(ui, theme, words);
        }
    });
}

fn send(cx: &Cx<'_>, command: HistoryCommand) {
    cx.send(Command::History(command));
}

fn row(ui: &mut Ui, cx: &Cx<'_>, entry: &Entry) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let height = theme.tokens.text.body + theme.tokens.text.small + 2.0 * space.s;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::click());
    // A long history costs no more than what is in sight of it.
    if !ui.is_rect_visible(rect) {
        return;
    }
    let words = sentence(&cx.state.drawing.taxonomy, &entry.told);
    let place = entry.series.as_ref().and_then(|uid| cx.state.place_of(uid));
    let first = match &entry.told {
        Told::Step(step) => step.changes.first(),
        Told::Deed(_) => None,
    };
    let leads = place.is_some();
    let hovered = leads && (response.hovered() || response.has_focus());
    if hovered {
        ui.painter().rect_filled(rect, CornerRadius::same(theme.tokens.radius.m), palette.hover);
    }
    if response.has_focus() {
        let ring = egui::Stroke::new(theme.size().hairline, palette.focus);
        let radius = CornerRadius::same(theme.tokens.radius.m);
        ui.painter().rect_stroke(rect, radius, ring, egui::StrokeKind::Inside);
    }
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let left = rect.left() + space.s;
    let color = first.and_then(|change| change.label.as_deref()).map(|label| super::shapes::color_of(cx, Some(label)));
    let bar = egui::Rect::from_min_size(rect.left_top() + vec2(0.0, space.xs), vec2(2.0, height - 2.0 * space.xs));
    ui.painter().rect_filled(bar, CornerRadius::same(1), color.unwrap_or(palette.line));
    let top = pos2(left, rect.top() + space.xs);
    painter.text(top, Align2::LEFT_TOP, &words, theme.body(), palette.text);
    let study = place.and_then(|(study, _)| cx.state.library.studies.get(study));
    let series = place.zip(study).and_then(|((_, index), study)| study.series.get(index));
    let where_to = if cx.state.history.whole {
        let patient = study.map(|study| text::patient_name(&study.patient)).unwrap_or_default();
        text::join([patient, series.map(text::series_title).unwrap_or_default()])
    } else {
        String::new()
    };
    let at = first.and_then(|change| change.instance.clone().map(|instance| (instance, change.frame)));
    let image = at.as_ref().zip(series).filter(|_| response.hovered()).and_then(|((instance, frame), series)| {
        let found = (0..series.frame_count()).find(|position| {
            series.frame_at(*position).is_some_and(|(other, f)| other.key() == *instance && f == *frame)
        });
        found.filter(|_| series.frame_count() > 1).map(|position| format!("image {}", position + 1))
    });
    let below = pos2(left, rect.bottom() - space.xs);
    let detail = text::join([text::moment(entry.at), entry.reader.clone(), where_to, image.unwrap_or_default()]);
    painter.text(below, Align2::LEFT_BOTTOM, detail, theme.small(), palette.weak);
    let response = widgets::named(response, &format!("{}: {words}", entry.reader));
    let tip = if leads { words } else { format!("{words}\nIts images are not among those of the project.") };
    let tip = if entry.series.is_none() { tip.lines().next().unwrap_or_default().to_owned() } else { tip };
    if response.on_hover_text(tip).clicked()
        && let (Some(series), true) = (&entry.series, leads)
    {
        let shape = first.and_then(|change| change.shape);
        let own = cx.state.work.as_ref().is_some_and(|work| work.reader == entry.reader);
        send(cx, HistoryCommand::Jump(series.clone(), at, shape.filter(|_| own)));
    }
}
