//! The report: the pages as they will print, and beside them what goes in.

use bifocal_core::report::ReportOptions;
use eframe::egui::{
    self, Align, Button, CentralPanel, CornerRadius, Frame, Image, Key, Layout, Margin, Panel, RichText, ScrollArea,
    Sense, TextEdit, Ui, vec2,
};
use lucide_icons::Icon;

use super::{Cx, findings, status_bar, widgets};
use crate::command::Command;
use crate::jobs::JobKind;
use crate::keymap::Action;
use crate::report::{Format, PAGE_WIDTH, Report, ReportCommand};

/// Draws the fields on the right and the pages in the middle.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, report: &Report) {
    let theme = &cx.theme;
    Panel::right("report fields")
        .default_size(theme.size().findings)
        .size_range(280.0..=520.0)
        .show_separator_line(false)
        .frame(theme.panel_frame().inner_margin(Margin::ZERO).stroke(theme.line()))
        .show(ui, |ui| {
            save(ui, cx, report);
            ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                Frame::new().inner_margin(Margin::same(theme.space().m as i8)).show(ui, |ui| fields(ui, cx));
            });
        });
    CentralPanel::default().frame(Frame::new().fill(theme.palette.window)).show(ui, |ui| pages(ui, cx, report));
}

/// The size of the pages is settled by then.
const FRAMES_AT_THE_TOP: u32 = 3;

fn pages(ui: &mut Ui, cx: &Cx<'_>, report: &Report) {
    let theme = &cx.theme;
    let running = cx.jobs.iter().any(|job| job.kind == JobKind::Preview);
    let shown = egui::Id::unique("frames that the pages were shown in");
    if report.pages.is_empty() {
        ui.data_mut(|data| data.insert_temp(shown, 0_u32));
        ui.vertical_centered(|ui| {
            ui.add_space(ui.available_height() * 0.4);
            if running {
                ui.add(egui::Spinner::new().size(theme.space().xl).color(theme.palette.weak));
                ui.label(RichText::new("Laying out the report").color(theme.palette.text));
            } else {
                ui.label(RichText::new("The report could not be laid out").color(theme.palette.text));
                widgets::caption(ui, theme, "The message says why; close it and open the report again");
            }
        });
        return;
    }
    let width = (ui.available_width() - 2.0 * theme.space().xl).clamp(120.0, PAGE_WIDTH);
    let frames = ui.data(|data| data.get_temp::<u32>(shown)).unwrap_or(0);
    let mut area = ScrollArea::vertical().id_salt("report pages").auto_shrink(false);
    if frames < FRAMES_AT_THE_TOP {
        // A report opens at its first line, wherever the one before was left.
        area = area.vertical_scroll_offset(0.0);
        ui.data_mut(|data| data.insert_temp(shown, frames + 1));
    }
    area.show(ui, |ui| {
        ui.vertical_centered(|ui| {
            ui.add_space(theme.space().l);
            let count = report.pages.len();
            for (index, page) in report.pages.iter().enumerate() {
                let size = page.size_vec2();
                let shown = vec2(width, width * size.y / size.x.max(1.0));
                let (rect, response) = ui.allocate_exact_size(shown, Sense::hover());
                ui.painter().add(ui.visuals().popup_shadow.as_shape(rect, CornerRadius::ZERO));
                Image::from_texture((page.id(), shown)).paint_at(ui, rect);
                let label = format!("Page {} of {count}", index + 1);
                response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &label));
                ui.add_space(theme.space().s);
                widgets::caption(ui, theme, format!("{} / {count}", index + 1));
                ui.add_space(theme.space().l);
            }
        });
    });
}

/// Title, and the ways out.
fn save(ui: &mut Ui, cx: &Cx<'_>, report: &Report) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let frame = Frame::new().fill(palette.panel).inner_margin(Margin::same(space.m as i8)).stroke(theme.line());
    Panel::top("report save").resizable(false).show_separator_line(false).frame(frame).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = space.s;
        ui.horizontal(|ui| {
            ui.label(theme.icon(Icon::FileText, palette.weak));
            ui.label(RichText::new("Report").size(theme.tokens.text.title).color(palette.text));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if widgets::icon_button(ui, theme, Icon::X, "Back to the lenses  (Esc)", false).clicked() {
                    cx.send(Command::Report(ReportCommand::Close));
                }
            });
        });
        let busy = cx.jobs.iter().any(|job| job.kind == JobKind::Report);
        ui.add_enabled_ui(!busy, |ui| {
            let half = (ui.available_width() - space.s) / 2.0;
            ui.horizontal(|ui| {
                let primary = Button::new((
                    theme.icon(Icon::FileDown, palette.on_primary).size(theme.tokens.text.title),
                    RichText::new("Save PDF").color(palette.on_primary),
                ))
                .fill(palette.primary)
                .min_size(vec2(half, theme.size().control));
                if widgets::named(ui.add(primary), "Save PDF")
                    .on_hover_text("Asks where to; without a file dialog, to the path below")
                    .clicked()
                {
                    cx.send(Command::Report(ReportCommand::Save(Format::Pdf)));
                }
                let second = Button::new((
                    theme.icon(Icon::Braces, palette.weak).size(theme.tokens.text.title),
                    RichText::new("Save JSON").color(palette.text),
                ))
                .min_size(vec2(half, theme.size().control));
                if widgets::named(ui.add(second), "Save JSON").on_hover_text("The same content for programs").clicked()
                {
                    cx.send(Command::Report(ReportCommand::Save(Format::Json)));
                }
            });
            ui.horizontal(|ui| {
                let mut path = report.path.clone();
                let width = ui.available_width() - theme.space().xxl - space.l;
                let field = TextEdit::singleline(&mut path).hint_text("report.pdf").desired_width(width);
                let response = ui.add(field).accessible_name("Path of the report");
                if response.changed() {
                    cx.send(Command::Report(ReportCommand::Path(path)));
                }
                let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
                let write = widgets::named(ui.button("Write"), "Write to this path");
                if write.on_hover_text("Writes to this path, .pdf or .json, without a dialog").clicked() || entered {
                    cx.send(Command::Report(ReportCommand::SaveToPath));
                }
            });
        });
    });
}

/// One switch: its words, its explanation, and its place in the options.
type Switch = (&'static str, &'static str, fn(&mut ReportOptions) -> &mut bool);

const WHAT: &[Switch] = &[
    ("Patient and study", "Name, date, series", |o| &mut o.patient),
    ("Warnings", "About the input and the answer", |o| &mut o.flags),
    ("Impression", "Your own words", |o| &mut o.impression),
    ("Image-level answers", "Probability of each class for the whole image", |o| &mut o.predictions),
    ("Findings", "Table with place, size and your decision", |o| &mut o.findings),
    ("Rejected findings", "Struck through; without it they are left out", |o| &mut o.rejected),
    ("Measurements", "Table of what was measured, annotated and painted", |o| &mut o.measurements),
    ("Key images", "Without overlay; those picked by K, else those with findings", |o| &mut o.key_images),
    ("Key images with overlay", "Heat map and contours", |o| &mut o.overlays),
    ("Attention and organs", "Attention map and organ table", |o| &mut o.attention),
    ("Model and its limits", "Intended use, performance, what it cannot do", |o| &mut o.limits),
];

fn fields(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let space = theme.space();
    let before = &cx.state.settings.report;
    let mut options = before.clone();
    widgets::heading(ui, theme, "Identifiers");
    let mut without = !options.identifiers;
    let tip = "Leaves out names, numbers, dates, institution and file names, and replaces UIDs";
    if ui.checkbox(&mut without, "Leave identifiers out").on_hover_text(tip).changed() {
        options.identifiers = !without;
    }
    if without {
        widgets::caption(ui, theme, "Burned-in text in images is not looked for");
    }
    ui.add_space(space.m);
    widgets::heading(ui, theme, "What goes in");
    for (label, tip, part) in WHAT {
        ui.checkbox(part(&mut options), *label).on_hover_text(*tip);
    }
    if options != *before {
        cx.send(Command::Report(ReportCommand::Options(options)));
    }
    ui.add_space(space.m);
    if let Some(reading) = &cx.state.reading {
        findings::notes(ui, cx, reading);
    }
    ui.add_space(space.m);
    let keys = [(cx.key(Action::Report), "opens and closes"), ("Esc".to_owned(), "back to the lenses")];
    for (key, what) in keys {
        ui.horizontal(|ui| {
            widgets::key_cap(ui, theme, &key);
            widgets::caption(ui, theme, what);
        });
    }
    ui.add_space(space.s);
    widgets::caption(ui, theme, status_bar::RESEARCH_USE);
}
