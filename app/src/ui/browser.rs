//! The list of studies on the left: patient, study, series with thumbnails; search, order, problems.

use bifocal_core::study::Series;
use eframe::egui::{
    self, Align2, CornerRadius, Frame, Margin, Panel, Rect, RichText, ScrollArea, Sense, TextEdit, Ui, pos2, vec2,
};
use lucide_icons::Icon;

use super::widgets::ChipTone;
use super::{Cx, start, text, widgets, work_list};
use crate::command::Command;
use crate::desk::DraggedSeries;
use crate::images::FrameKey;
use crate::keymap::Action;
use crate::listing::{Head, Listed};
use crate::project::ProjectCommand;
use crate::state::{Reading, SortBy};
use crate::work::Filter;

/// Rows of the list of problems.
const PROBLEMS_SHOWN: usize = 500;

/// Draws the panel.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let frame = Frame::new().fill(theme.palette.panel).stroke(theme.line());
    Panel::left("browser")
        .default_size(theme.size().browser)
        .size_range(200.0..=440.0)
        .show_separator_line(false)
        .frame(frame)
        .show(ui, |ui| {
            let space = theme.space();
            Frame::new().inner_margin(Margin::same(space.m as i8)).show(ui, |ui| {
                work_list::show(ui, cx);
                search_and_sort(ui, cx);
            });
            let shown = cx.state.listed();
            if !cx.state.library.problems.is_empty() || !cx.state.library.remarks.is_empty() {
                problems(ui, cx);
            }
            ScrollArea::vertical().auto_shrink(false).show_viewport(ui, |ui, sight| {
                if shown.is_empty() {
                    nothing(ui, cx);
                } else {
                    studies(ui, cx, &shown, sight);
                }
            });
        });
}

/// Heights of the heads of studies as they were drawn last, by [`Head::kind`], points; 0 for those that were not drawn yet.
#[derive(Debug, Clone, Copy, Default)]
struct HeadHeights([f32; Head::KINDS]);

/// What a head takes that was not drawn yet, points.
const LIKELY_HEAD: f32 = 60.0;
/// Beyond the edges studies are drawn all the same, points: Tab goes on to what is just out of sight.
const BEYOND_SIGHT: f32 = 80.0;

/// Draws the studies that are in sight. The others only take their room, so that tens of thousands of them cost no more than a screenful.
fn studies(ui: &mut Ui, cx: &Cx<'_>, shown: &[Listed], sight: Rect) {
    let theme = &cx.theme;
    let id = egui::Id::unique("heights of heads");
    let before: HeadHeights = ui.data(|data| data.get_temp(id)).unwrap_or_default();
    let mut heights = before;
    let origin = ui.max_rect().min;
    let width = ui.available_width();
    let row = row_height(cx) + ui.spacing().item_spacing.y;
    let wanted = cx.state.reading.as_ref().filter(|reading| out_of_sight(ui, reading));
    let mut y = 0.0;
    for item in shown {
        let head = before.0[item.head.kind()];
        let head = if head > 0.0 { head } else { LIKELY_HEAD };
        let height = head + item.series.len() as f32 * row + theme.space().xs;
        let place = Rect::from_min_size(origin + vec2(0.0, y), vec2(width, height));
        if y + height > sight.top() - BEYOND_SIGHT && y < sight.bottom() + BEYOND_SIGHT {
            let layout = egui::Layout::top_down(egui::Align::Min);
            let mut ui = ui.new_child(egui::UiBuilder::new().id_salt(item.study).max_rect(place).layout(layout));
            heights.0[item.head.kind()] = study(&mut ui, cx, item);
        } else if wanted.is_some_and(|reading| {
            cx.state.library.studies.get(item.study).is_some_and(|study| study.uid == reading.study.uid)
        }) {
            // Its rows are drawn in the next frame, and scroll on to the one that is meant.
            ui.scroll_to_rect(place, None);
            ui.ctx().request_repaint();
        }
        y += height;
    }
    ui.allocate_rect(Rect::from_min_size(origin, vec2(width, y + theme.space().l)), Sense::hover());
    if heights.0 != before.0 {
        ui.data_mut(|data| data.insert_temp(id, heights));
        ui.ctx().request_repaint();
    }
}

fn nothing(ui: &mut Ui, cx: &Cx<'_>) {
    let (title, next) = if cx.state.library.studies.is_empty() {
        ("No study is open", cx.state.settings.keys.with_text("Drop files here, or open a folder", Action::OpenFolder))
    } else {
        match cx.state.work.as_ref().map(|work| work.filter) {
            Some(filter) if filter != Filter::All => {
                ("No series is listed", "Search and filter leave none: “All” lists every series.".to_owned())
            }
            _ => ("No study matches", "Search for name, id, date or description.".to_owned()),
        }
    };
    widgets::empty(ui, &cx.theme, Icon::FolderSearch, title, &next);
}

fn search_and_sort(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let mut search = cx.state.browser.search.clone();
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = theme.space().xs;
        let control = theme.size().control;
        let buttons = if search.is_empty() { 1.0 } else { 2.0 };
        let field = TextEdit::singleline(&mut search)
            .hint_text("Search")
            .prefix(theme.icon(Icon::Search, theme.palette.faint).size(theme.tokens.text.body))
            .desired_width(ui.available_width() - buttons * (control + theme.space().xs) - 3.0 * theme.space().s)
            .min_size(vec2(0.0, theme.size().control))
            .align(egui::Align2::LEFT_CENTER);
        let response = ui.add(field).accessible_name("Search studies");
        if response.changed() {
            cx.send(Command::Search(search.clone()));
        }
        if cx.state.browser.focus_search {
            response.request_focus();
            cx.send(Command::SearchFocused);
        }
        // Esc has taken the keyboard from the field by now.
        let escaped = response.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Escape));
        if !search.is_empty()
            && (escaped || widgets::icon_button(ui, theme, Icon::X, "Clear the search  (Esc)", false).clicked())
        {
            cx.send(Command::Search(String::new()));
        }
        let icon = theme.icon(Icon::ArrowDownWideNarrow, theme.palette.weak);
        let button = egui::Button::new(icon).min_size(vec2(control, control)).frame_when_inactive(false);
        let (response, _) = egui::containers::menu::MenuButton::from_button(button).ui(ui, |ui| {
            for (sort, label) in SortBy::ALL {
                if ui.add(egui::Button::selectable(cx.state.browser.sort == sort, label)).clicked() {
                    cx.send(Command::Sort(sort));
                    ui.close();
                }
            }
        });
        widgets::named(response, "Order of studies").on_hover_text("Order of studies");
    });
}

/// The series that the list was last scrolled to.
fn scrolled_to() -> egui::Id {
    egui::Id::unique("series that the list was scrolled to")
}

/// Whether the list has not been scrolled to the series that is read.
fn out_of_sight(ui: &Ui, reading: &Reading) -> bool {
    let now = (reading.study.uid.0.clone(), reading.series_index);
    ui.data(|data| data.get_temp::<(String, usize)>(scrolled_to())) != Some(now)
}

/// Draws a study; returns the height of its head.
fn study(ui: &mut Ui, cx: &Cx<'_>, item: &Listed) -> f32 {
    let theme = &cx.theme;
    let space = theme.space();
    let index = item.study;
    let top = ui.cursor().min.y;
    let Some(study) = cx.state.library.studies.get(index) else { return 0.0 };
    let margin = Margin { left: space.m as i8, right: space.m as i8, top: space.s as i8, bottom: space.xs as i8 };
    Frame::new().inner_margin(margin).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.set_width(ui.available_width());
        if item.head.named {
            let name = RichText::new(text::patient_name(&study.patient)).color(theme.palette.text);
            ui.add(egui::Label::new(name).truncate());
        }
        if item.head.named && item.head.patient {
            widgets::caption(ui, theme, text::patient_detail(&study.patient));
        }
        if item.head.study {
            widgets::caption(ui, theme, text::study_detail(study)).on_hover_text(study.description.clone());
        }
    });
    let height = ui.cursor().min.y - top;
    for series_index in &item.series {
        if let Some(series) = study.series.get(*series_index) {
            series_row(ui, cx, index, *series_index, series);
        }
    }
    height
}

/// Height of a row of the list, points.
fn row_height(cx: &Cx<'_>) -> f32 {
    cx.theme.size().thumbnail + 2.0 * cx.theme.space().xs
}

fn series_row(ui: &mut Ui, cx: &Cx<'_>, study: usize, index: usize, series: &Series) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let open = cx.state.reading.as_ref().is_some_and(|reading| {
        reading.series_index == index
            && cx.state.library.studies.get(study).is_some_and(|entry| entry.uid == reading.study.uid)
    });
    let side = theme.size().thumbnail;
    let height = row_height(cx);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::click_and_drag());
    let title = text::series_title(series);
    if series.frame_count() > 0 {
        response.dnd_set_drag_payload(DraggedSeries { study, series: index });
    }
    if response.dragged()
        && let Some(at) = ui.ctx().pointer_interact_pos()
    {
        ui.ctx().set_cursor_icon(egui::CursorIcon::Grabbing);
        let layer = egui::LayerId::new(egui::Order::Tooltip, egui::Id::unique("dragged series"));
        let painter = ui.ctx().layer_painter(layer);
        let at = at + vec2(space.m, space.m);
        widgets::plated_text(&painter, theme, at, Align2::LEFT_TOP, &title, theme.body(), theme.viewport().text);
    }
    if open
        && let Some(reading) = &cx.state.reading
        && out_of_sight(ui, reading)
    {
        ui.scroll_to_rect(rect, None);
        ui.data_mut(|data| data.insert_temp(scrolled_to(), (reading.study.uid.0.clone(), index)));
    }
    if ui.is_rect_visible(rect) {
        let row = rect.shrink2(vec2(space.s, 0.0));
        if open || response.hovered() || response.has_focus() {
            let fill = if open { palette.active } else { palette.hover };
            ui.painter().rect_filled(row, CornerRadius::same(theme.tokens.radius.m), fill);
        }
        if response.has_focus() {
            let ring = egui::Stroke::new(theme.size().hairline, palette.focus);
            ui.painter().rect_stroke(row, CornerRadius::same(theme.tokens.radius.m), ring, egui::StrokeKind::Inside);
        }
        if open {
            // The open series is marked by a bar too, not by its shade alone.
            let bar = Rect::from_min_size(row.left_top() + vec2(0.0, space.s), vec2(2.0, height - 2.0 * space.s));
            ui.painter().rect_filled(bar, CornerRadius::same(1), palette.text);
        }
        let picture = Rect::from_min_size(row.min + vec2(space.s, space.xs), vec2(side, side));
        let middle = series.frame_count() / 2;
        let key = series.frame_at(middle).map(|(instance, frame)| FrameKey { source: instance.source.clone(), frame });
        start::thumbnail(ui, cx, key, picture);
        let left = picture.right() + space.m;
        let clip = Rect::from_min_max(pos2(left, rect.top()), pos2(row.right() - space.s, rect.bottom()));
        let painter = ui.painter().with_clip_rect(clip.intersect(ui.clip_rect()));
        let lines = if series.notes.is_empty() { 2.0 } else { 3.0 };
        let line = theme.tokens.text.small + space.xs;
        let mut y = picture.center().y - line * (lines - 1.0) / 2.0;
        let color = if series.frame_count() > 0 { palette.text } else { palette.faint };
        painter.text(pos2(left, y), Align2::LEFT_CENTER, &title, theme.body(), color);
        y += line;
        let work = work_list::mark(cx, series).unwrap_or_default();
        let detail = text::join([work, series.modality.clone(), text::series_size(series)]);
        painter.text(pos2(left, y), Align2::LEFT_CENTER, detail, theme.small(), palette.weak);
        if let Some(note) = series.notes.first() {
            y += line;
            let sign = theme.icon_font(theme.tokens.text.small);
            let icon = char::from(Icon::TriangleAlert);
            let drawn = painter.text(pos2(left, y), Align2::LEFT_CENTER, icon, sign, palette.warning);
            let more = if series.notes.len() > 1 { format!(" +{}", series.notes.len() - 1) } else { String::new() };
            let at = pos2(drawn.right() + space.xs, y);
            painter.text(at, Align2::LEFT_CENTER, format!("{note}{more}"), theme.small(), palette.warning);
        }
    }
    let notes: Vec<String> = series.notes.iter().map(ToString::to_string).collect();
    let mut hover = text::join([title.clone(), series.modality.clone(), text::series_size(series)]);
    if let Some(work) = &cx.state.work {
        let note = work.case(&series.reading_uid()).note;
        if !note.is_empty() {
            hover.push_str(&format!("\n“{note}”"));
        }
    }
    for note in &notes {
        hover.push_str("\n△ ");
        hover.push_str(note);
    }
    let response = widgets::named(response, &format!("Series {title}"));
    if cx.state.work.is_some() {
        response.context_menu(|ui| {
            if let Some(entry) = cx.state.library.studies.get(study)
                && ui.button("Take the study out of the project").clicked()
            {
                cx.send(Command::Project(ProjectCommand::LeaveOut(entry.uid.clone(), true)));
                ui.close();
            }
        });
    }
    if response.on_hover_text(hover).clicked() {
        cx.send(Command::ShowSeries { study, series: index });
    }
}

fn problems(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let problems = &cx.state.library.problems;
    let remarks: usize = cx.state.library.remarks.iter().map(|kind| kind.count).sum();
    let open = cx.state.browser.problems_open;
    Frame::new().inner_margin(Margin::symmetric(space.m as i8, 0)).show(ui, |ui| {
        let chevron = if open { Icon::ChevronDown } else { Icon::ChevronRight };
        // Files that cannot be used come first; mere remarks raise no alarm.
        let (icon, words) = if problems.is_empty() {
            (theme.icon(Icon::Info, palette.weak), count(remarks, "remark", "remarks"))
        } else {
            (theme.icon(Icon::TriangleAlert, palette.warning), count(problems.len(), "problem", "problems"))
        };
        let button = egui::Button::new((
            icon,
            RichText::new(&words).color(palette.text),
            egui::Atom::grow(),
            theme.icon(chevron, palette.weak),
        ))
        .min_size(vec2(ui.available_width(), theme.size().control));
        let hover = if problems.is_empty() {
            "Oddities of files that were read all the same"
        } else {
            "Files that cannot be used, or only in part"
        };
        if widgets::named(ui.add(button), &words).on_hover_text(hover).clicked() {
            cx.send(Command::ToggleProblems);
        }
        if open {
            ui.add_space(space.xs);
            let height = (ui.available_height() * 0.5).max(120.0);
            ScrollArea::vertical().id_salt("problems").max_height(height).auto_shrink([false, true]).show(ui, |ui| {
                for problem in problems.iter().take(PROBLEMS_SHOWN) {
                    problem_row(ui, cx, problem);
                }
                if problems.len() > PROBLEMS_SHOWN {
                    let more = problems.len() - PROBLEMS_SHOWN;
                    widgets::caption(ui, theme, format!("and {more} more: bifocal index lists them all"));
                }
                if remarks > 0 {
                    let title = RichText::new(count(remarks, "remark", "remarks")).font(theme.small());
                    egui::CollapsingHeader::new(title)
                        .id_salt("remarks")
                        .default_open(problems.is_empty())
                        .show(ui, |ui| remark_rows(ui, cx));
                }
            });
        }
        ui.add_space(space.xs);
    });
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn remark_rows(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    for kind in &cx.state.library.remarks {
        let text =
            RichText::new(format!("{} × {}", kind.count, kind.text)).font(theme.small()).color(theme.palette.weak);
        let row = ui.add(egui::Label::new(text).wrap());
        row.on_hover_text(format!("First: {}", kind.first));
        ui.add_space(theme.space().xs);
    }
}

fn problem_row(ui: &mut Ui, cx: &Cx<'_>, problem: &bifocal_core::study::Problem) {
    let theme = &cx.theme;
    let name = problem.source.member.clone().unwrap_or_else(|| {
        problem.source.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    });
    let row = ui.vertical(|ui| {
        ui.spacing_mut().item_spacing.y = 2.0;
        ui.add(egui::Label::new(RichText::new(name).font(theme.small()).color(theme.palette.text)).truncate());
        if let Some(tag) = &problem.tag {
            widgets::chip(ui, theme, ChipTone::Plain, tag);
        }
        let cause = RichText::new(&problem.cause).font(theme.small()).color(theme.palette.weak);
        ui.add(egui::Label::new(cause).wrap());
        ui.add_space(theme.space().xs);
    });
    row.response.on_hover_text(problem.source.to_string());
}
