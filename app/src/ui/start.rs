//! The start screen: three ways to open something, and what was opened before.

use eframe::egui::{
    self, Align, Align2, CentralPanel, CornerRadius, Frame, Key, Layout, Margin, Rect, RichText, ScrollArea, Sense,
    TextEdit, Ui, pos2, vec2,
};
use lucide_icons::Icon;

use super::{Cx, text, widgets};
use crate::command::Command;
use crate::images::{FrameKey, Thumbnail};
use crate::keymap::{self, Action};
use crate::project::{ProjectCommand, typed_path};
use crate::settings::Recent;

/// Width of the middle column, points.
const COLUMN: f32 = 784.0;

/// Draws the screen.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let space = theme.space();
    CentralPanel::default().frame(Frame::new().fill(theme.palette.window)).show(ui, |ui| {
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
            let width = COLUMN.min(ui.available_width() - 2.0 * space.xl);
            let side = (ui.available_width() - width) / 2.0;
            let top = ((ui.available_height() - 560.0) / 3.0).max(space.xl);
            ui.add_space(top);
            ui.horizontal_top(|ui| {
                ui.add_space(side);
                ui.vertical(|ui| {
                    ui.set_width(width);
                    title(ui, cx);
                    ui.add_space(space.xl);
                    actions(ui, cx);
                    ui.add_space(space.m);
                    path_field(ui, cx);
                    ui.add_space(space.m);
                    projects(ui, cx);
                    ui.add_space(space.xl);
                    recents(ui, cx);
                    ui.add_space(space.xl);
                    model_line(ui, cx);
                    ui.add_space(space.xl);
                });
            });
        });
    });
}

fn title(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        widgets::mark(ui, theme, theme.tokens.text.hero);
        ui.add_space(theme.space().s);
        ui.label(RichText::new("Bifocal").size(theme.tokens.text.hero).color(theme.palette.text));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            widgets::action_button(ui, cx, Action::ShowKeys, false);
            super::top_bar::preferences(ui, cx);
            if !cx.state.library.paths.is_empty() {
                let back = RichText::new("Back to reading").color(theme.palette.text);
                if ui.button(back).on_hover_text(cx.tooltip(Action::Home)).clicked() {
                    cx.act(Action::Home);
                }
            }
        });
    });
    ui.add_space(theme.space().s);
    let line = "Two lenses on one image: where a lesion may be, and which organs the network looks at.";
    ui.label(RichText::new(line).size(theme.tokens.text.title).color(theme.palette.weak));
}

fn actions(ui: &mut Ui, cx: &Cx<'_>) {
    let gap = cx.theme.space().m;
    let width = (ui.available_width() - 2.0 * gap) / 3.0;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = gap;
        let entries = [
            (Action::OpenFolder, "DICOM studies, with all sub-folders"),
            (Action::OpenFiles, "DICOM, ZIP, DICOMDIR, PNG or JPEG"),
            (Action::OpenSample, "A simulated thorax with known truth"),
        ];
        for (index, (action, detail)) in entries.into_iter().enumerate() {
            big_action(ui, cx, action, detail, width, index == 0);
        }
    });
}

fn big_action(ui: &mut Ui, cx: &Cx<'_>, action: Action, detail: &str, width: f32, primary: bool) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let Some(entry) = keymap::entry(action) else { return };
    let (rect, response) = ui.allocate_exact_size(vec2(width, theme.size().card), Sense::click());
    let response = widgets::named(response, entry.label);
    let hovered = response.hovered() || response.has_focus();
    let (fill, text, weak) = if primary {
        (palette.primary, palette.on_primary, palette.on_primary)
    } else if hovered {
        (palette.hover, palette.text, palette.weak)
    } else {
        (palette.raised, palette.text, palette.weak)
    };
    let stroke = if hovered { egui::Stroke::new(theme.size().hairline, palette.focus) } else { theme.line() };
    let radius = CornerRadius::same(theme.tokens.radius.l);
    ui.painter().rect(rect, radius, fill, stroke, egui::StrokeKind::Inside);
    let inner = rect.shrink(space.l);
    let painter = ui.painter();
    let icon = entry.icon.unwrap_or(Icon::Folder);
    painter.text(inner.left_top(), Align2::LEFT_TOP, char::from(icon), theme.icon_font(space.xl), text);
    let keys = cx.key(action);
    painter.text(inner.right_top() + vec2(0.0, space.xs), Align2::RIGHT_TOP, keys, theme.small(), weak);
    let title = egui::FontId::proportional(theme.tokens.text.title);
    let line = pos2(inner.left(), inner.bottom() - theme.tokens.text.small - space.s);
    painter.text(line, Align2::LEFT_BOTTOM, entry.label, title, text);
    painter.text(inner.left_bottom(), Align2::LEFT_BOTTOM, detail, theme.small(), weak);
    if response.on_hover_cursor(egui::CursorIcon::PointingHand).clicked() {
        cx.act(action);
    }
}

/// Many studies, several readers.
fn projects(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        for (action, icon) in [(Action::NewProject, Icon::FolderPlus), (Action::OpenProject, Icon::FolderKanban)] {
            let Some(entry) = keymap::entry(action) else { continue };
            let button = egui::Button::new((theme.icon(icon, theme.palette.weak), entry.label));
            let button = ui.add(button.min_size(vec2(0.0, theme.size().control)));
            if widgets::named(button, entry.label).on_hover_text(cx.tooltip(action)).clicked() {
                cx.act(action);
            }
        }
        widgets::caption(ui, theme, "Many studies, several readers: work list, comparison, history, export");
    });
}

fn path_field(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let mut path = cx.state.path_field.clone();
    ui.horizontal(|ui| {
        let button = 72.0;
        let field = TextEdit::singleline(&mut path)
            .hint_text("Drop files anywhere, or type the path of a file or folder")
            .desired_width(ui.available_width() - button - theme.space().s)
            .min_size(vec2(0.0, theme.size().control))
            .margin(Margin::symmetric(theme.space().s as i8, theme.space().xs as i8))
            .align(egui::Align2::LEFT_CENTER);
        let response = ui.add(field).accessible_name("Path of a file or folder");
        if response.changed() {
            cx.send(Command::PathField(path.clone()));
        }
        let entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let open = egui::Button::new("Open").min_size(vec2(button, theme.size().control));
        let clicked = ui.add_enabled(!path.trim().is_empty(), open).clicked();
        if (entered || clicked) && !path.trim().is_empty() {
            cx.send(Command::Open(vec![typed_path(&path)]));
        }
    });
}

fn recents(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let space = theme.space();
    widgets::heading(ui, theme, "Recent");
    ui.add_space(space.xs);
    if cx.state.settings.recents.is_empty() {
        widgets::caption(ui, theme, "What you open will be listed here.");
        return;
    }
    let columns = 3;
    let width = (ui.available_width() - (columns - 1) as f32 * space.m) / columns as f32;
    let entries: Vec<(usize, &Recent)> = cx.state.settings.recents.iter().enumerate().take(6).collect();
    for row in entries.chunks(columns) {
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = space.m;
            for (index, recent) in row {
                recent_card(ui, cx, *index, recent, width);
            }
        });
        ui.add_space(space.s);
    }
}

fn recent_card(ui: &mut Ui, cx: &Cx<'_>, index: usize, recent: &Recent, width: f32) {
    let theme = &cx.theme;
    let (palette, space) = (theme.palette, theme.space());
    let side = theme.size().thumbnail;
    let (rect, response) = ui.allocate_exact_size(vec2(width, side + 2.0 * space.s), Sense::click());
    let response = widgets::named(response, &format!("Recent: {}", recent.title));
    let hovered = response.hovered() || response.has_focus();
    let fill = if hovered { palette.hover } else { palette.raised };
    let radius = CornerRadius::same(theme.tokens.radius.m);
    ui.painter().rect(rect, radius, fill, theme.line(), egui::StrokeKind::Inside);
    let picture = Rect::from_min_size(rect.min + vec2(space.s, space.s), vec2(side, side));
    let key = recent.thumbnail.clone().map(|source| FrameKey { source, frame: recent.thumbnail_frame });
    thumbnail(ui, cx, key, picture);
    let left = picture.right() + space.m;
    let clip = Rect::from_min_max(pos2(left, rect.top()), rect.right_bottom() - vec2(space.s, 0.0));
    let painter = ui.painter().with_clip_rect(clip.intersect(ui.clip_rect()));
    let exists = recent.paths.iter().all(|path| path.exists());
    let title_color = if exists { palette.text } else { palette.faint };
    painter.text(pos2(left, picture.top() + 2.0), Align2::LEFT_TOP, &recent.title, theme.body(), title_color);
    let detail = if exists { recent.detail.clone() } else { "no longer there".to_owned() };
    painter.text(pos2(left, picture.center().y + 2.0), Align2::LEFT_CENTER, detail, theme.small(), palette.weak);
    let place = recent.paths.first().map(|path| path.display().to_string()).unwrap_or_default();
    let names = recent.paths.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let names = names.take(4).collect::<Vec<_>>().join(", ");
    let bottom = pos2(left, picture.bottom());
    painter.text(bottom, Align2::LEFT_BOTTOM, names, theme.small(), palette.faint);
    response.context_menu(|ui| {
        if ui.button("Take out of the list").clicked() {
            cx.send(Command::ForgetRecent(index));
            ui.close();
        }
    });
    if response.on_hover_text(place).clicked() {
        let project = recent.reader.clone().zip(recent.paths.first().cloned());
        cx.send(match project {
            Some((reader, folder)) => Command::Project(ProjectCommand::TakeUp(folder, reader)),
            None => Command::Open(recent.paths.clone()),
        });
    }
}

/// A thumbnail on black, or a sign that there is none.
pub fn thumbnail(ui: &Ui, cx: &Cx<'_>, key: Option<FrameKey>, rect: Rect) {
    let theme = &cx.theme;
    let radius = CornerRadius::same(theme.tokens.radius.s);
    ui.painter().rect_filled(rect, radius, theme.viewport().background);
    let sign = |icon: Icon| {
        let font = theme.icon_font(theme.size().icon);
        ui.painter().text(rect.center(), Align2::CENTER_CENTER, char::from(icon), font, theme.viewport().weak);
    };
    match key.map(|key| cx.images.thumbnail(&key)) {
        Some(Thumbnail::Ready(texture)) => {
            let size = texture.size_vec2();
            let scale = (rect.width() / size.x).min(rect.height() / size.y);
            let inside = Rect::from_center_size(rect.center(), size * scale);
            let uv = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
            ui.painter().image(texture.id(), inside, uv, egui::Color32::WHITE);
        }
        Some(Thumbnail::Loading) => {}
        Some(Thumbnail::Failed) => sign(Icon::ImageOff),
        None => sign(Icon::FileText),
    }
}

fn model_line(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let model = cx.state.model.clone().unwrap_or_else(|| "no bundle found".to_owned());
    let line = text::join([format!("Model: {model}"), format!("Device: {}", cx.state.device)]);
    widgets::caption(ui, theme, line);
    widgets::caption(ui, theme, super::status_bar::RESEARCH_USE);
}
