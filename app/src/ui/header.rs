//! The viewer of headers: an object in words, or all elements of a file with a search.

use eframe::egui::{
    self, Align, Button, Frame, Id, Label, Layout, Margin, Modal, RichText, ScrollArea, Sense, TextEdit, Ui, vec2,
};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::header::{Content, Header, HeaderCommand, Read, Tab};

/// Draws the viewer.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, header: &Header) {
    let theme = &cx.theme;
    let space = theme.space();
    let frame = Frame::popup(ui.style()).inner_margin(Margin::same(space.l as i8));
    let modal = Modal::new(Id::unique("header")).frame(frame).backdrop_color(theme.palette.scrim);
    let send = |command: HeaderCommand| cx.send(Command::Header(command));
    let modal = modal.show(ui.ctx(), |ui| {
        let available = ui.ctx().content_rect().size();
        ui.set_width((available.x - 2.0 * space.xxl).min(1100.0));
        ui.set_height((available.y - 3.0 * space.xxl).min(900.0));
        head(ui, cx, header);
        ui.add_space(space.s);
        match &header.content {
            Content::Loading => {
                ui.vertical_centered(|ui| {
                    ui.add_space(space.xxl);
                    ui.add(egui::Spinner::new().size(space.xl).color(theme.palette.weak));
                });
            }
            Content::Failed(message) => {
                widgets::empty(ui, theme, Icon::FileX, "This file has no header to show", message);
            }
            Content::Ready(read) if header.tab == Tab::Object => object(ui, cx, read),
            Content::Ready(read) => tags(ui, cx, header, read),
        }
    });
    if modal.should_close() {
        send(HeaderCommand::Close);
    }
}

fn head(ui: &mut Ui, cx: &Cx<'_>, header: &Header) {
    let theme = &cx.theme;
    let send = |command: HeaderCommand| cx.send(Command::Header(command));
    let title = match &header.content {
        Content::Ready(read) => read.object.kind.clone(),
        _ => "Header".to_owned(),
    };
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).size(theme.tokens.text.display));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, theme, Icon::X, "Close  (Esc)", false).clicked() {
                send(HeaderCommand::Close);
            }
            for (tab, label) in [(Tab::Tags, "Tags"), (Tab::Object, "Object")] {
                if ui.selectable_label(header.tab == tab, label).clicked() {
                    send(HeaderCommand::Tab(tab));
                }
            }
            if header.sources.len() > 1 {
                ui.add_enabled_ui(header.index + 1 < header.sources.len(), |ui| {
                    if widgets::icon_button(ui, theme, Icon::ChevronRight, "Next file", false).clicked() {
                        send(HeaderCommand::File(header.index + 1));
                    }
                });
                widgets::caption(ui, theme, format!("{} of {}", header.index + 1, header.sources.len()));
                ui.add_enabled_ui(header.index > 0, |ui| {
                    if widgets::icon_button(ui, theme, Icon::ChevronLeft, "File before", false).clicked() {
                        send(HeaderCommand::File(header.index.saturating_sub(1)));
                    }
                });
            }
        });
    });
    if let Some(source) = header.sources.get(header.index) {
        let path = RichText::new(source.to_string()).font(theme.small()).color(theme.palette.weak);
        ui.add(Label::new(path).truncate().selectable(true));
    }
}

fn object(ui: &mut Ui, cx: &Cx<'_>, read: &Read) {
    let theme = &cx.theme;
    let space = theme.space();
    let weak = |text: &str| RichText::new(text).font(theme.small()).color(theme.palette.weak);
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        let reason = match read.object.reason.as_str() {
            "" => "An image: it is shown in the viewports.",
            reason => reason,
        };
        ui.add(Label::new(RichText::new(reason).color(theme.palette.text)).wrap());
        ui.add_space(space.m);
        for (name, value) in &read.object.facts {
            ui.horizontal_top(|ui| {
                ui.allocate_ui(vec2(8.0 * space.l, theme.tokens.text.body), |ui| {
                    ui.set_min_width(8.0 * space.l);
                    ui.label(weak(name));
                });
                ui.add(Label::new(value).wrap().selectable(true));
            });
        }
        if !read.references.is_empty() {
            ui.add_space(space.m);
            widgets::heading(ui, theme, "Refers to");
            for reference in &read.references {
                ui.horizontal(|ui| {
                    if let Some((study, series)) = reference.place {
                        let button = Button::new((theme.icon(Icon::ArrowRight, theme.palette.weak), &reference.title));
                        if widgets::named(ui.add(button), &format!("Open {}", reference.title)).clicked() {
                            cx.send(Command::Header(HeaderCommand::Close));
                            cx.send(Command::ShowSeries { study, series });
                        }
                    } else {
                        ui.add(Label::new(&reference.title).selectable(true));
                    }
                    ui.label(weak(&reference.detail));
                });
            }
        }
        if !read.object.text.is_empty() {
            ui.add_space(space.m);
            widgets::heading(ui, theme, "Content");
            for line in &read.object.text {
                let level = (line.len() - line.trim_start().len()) / 2;
                ui.horizontal_top(|ui| {
                    ui.add_space(level as f32 * space.l);
                    ui.add(Label::new(line.trim_start()).wrap().selectable(true));
                });
            }
        }
    });
}

fn tags(ui: &mut Ui, cx: &Cx<'_>, header: &Header, read: &Read) {
    let theme = &cx.theme;
    let space = theme.space();
    let rows: Vec<&bifocal_core::dicom::TagRow> = read.rows.iter().filter(|row| row.contains(&header.search)).collect();
    let mut search = header.search.clone();
    ui.horizontal(|ui| {
        let field = TextEdit::singleline(&mut search).hint_text("Search: keyword, tag or value").desired_width(320.0);
        let response = ui.add(field).accessible_name("Search tags");
        if header.focus_search {
            response.request_focus();
            cx.send(Command::Header(HeaderCommand::SearchFocused));
        }
        if response.changed() {
            cx.send(Command::Header(HeaderCommand::Search(search)));
        }
        widgets::caption(ui, theme, format!("{} of {} elements", rows.len(), read.rows.len()));
    });
    ui.add_space(space.xs);
    if rows.is_empty() {
        widgets::empty(ui, theme, Icon::SearchX, "No element contains these words", "");
        return;
    }
    let line = theme.tokens.text.body + space.xs;
    ui.spacing_mut().item_spacing.y = 0.0;
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, line, rows.len(), |ui, range| {
        for row in range.filter_map(|index| rows.get(index)) {
            let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), line), Sense::click());
            if response.hovered() {
                ui.painter().rect_filled(rect, 2.0, theme.palette.hover);
            }
            let mut at = rect.left() + row.depth as f32 * space.m;
            let mut write = |text: &str, width: f32, font: egui::FontId, color: egui::Color32| {
                let clip = egui::Rect::from_min_max(
                    egui::pos2(at, rect.top()),
                    egui::pos2((at + width - space.s).min(rect.right()), rect.bottom()),
                );
                let painter = ui.painter().with_clip_rect(clip.intersect(ui.clip_rect()));
                painter.text(clip.left_center(), egui::Align2::LEFT_CENTER, text, font, color);
                at += width;
            };
            let indent = row.depth as f32 * space.m;
            write(&row.tag, 96.0, theme.mono(), theme.palette.faint);
            write(&row.name, (280.0 - indent).max(120.0), theme.body(), theme.palette.weak);
            write(&row.vr, 32.0, theme.mono(), theme.palette.faint);
            write(&row.value, rect.width(), theme.body(), theme.palette.text);
            let whole = format!("{} {} {}\n{}", row.tag, row.name, row.vr, row.value);
            let label = format!("{} {}: {}", row.tag, row.name, row.value);
            response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &label));
            response.on_hover_text(whole).context_menu(|ui| {
                for (label, text) in [("Copy value", &row.value), ("Copy tag", &row.tag)] {
                    if ui.button(label).clicked() {
                        ui.ctx().copy_text(text.clone());
                        ui.close();
                    }
                }
            });
        }
    });
}
