//! The bar above the lenses: what is read, the tools, and what can be asked of the network.

use bifocal_core::render::Preset;
use eframe::egui::{self, Align, Frame, Margin, Panel, RichText, Sense};
use lucide_icons::Icon;

use super::{Cx, fusion, layout_menu, text, widgets};
use crate::command::Command;
use crate::desk::Layout;
use crate::keymap::{self, Action};
use crate::settings;
use crate::state::{LensLayout, ROOM_FOR_BOTH_PANELS};
use crate::view::{FIRST_PRESET_DIGIT, Tool, WindowChoice};

/// Width of the buttons for invert, rotate, flip, ..., points.
const VIEW_BUTTONS: f32 = 250.0;
/// Width of the buttons at the right end, with and without words, points.
const ASK_WORDS: f32 = 300.0;
const ASK_ICONS: f32 = 216.0;

/// Draws the bar.
pub fn show(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let space = theme.space();
    let frame =
        Frame::new().fill(theme.palette.panel).inner_margin(Margin::symmetric(space.m as i8, 0)).stroke(theme.line());
    Panel::top("top bar")
        .exact_size(theme.size().top_bar)
        .resizable(false)
        .show_separator_line(false)
        .frame(frame)
        .show(ui, |ui| {
            ui.horizontal_centered(|ui| {
                ui.spacing_mut().item_spacing.x = space.xs;
                let (browser_shown, findings_shown) = cx.state.panels_shown(ui.ctx().content_rect().width());
                home(ui, cx);
                ui.add_space(space.s);
                // With the report open there is nothing to point a tool at.
                let lenses = cx.state.reading.is_some() && cx.state.report.is_none();
                if lenses || ui.ctx().content_rect().width() >= ROOM_FOR_BOTH_PANELS {
                    widgets::action_button(ui, cx, Action::ToggleBrowser, browser_shown);
                }
                if lenses {
                    divider(ui, cx);
                    tools(ui, cx);
                    divider(ui, cx);
                    window_menu(ui, cx);
                    layout_menu::show(ui, cx);
                    fusion::menu(ui, cx);
                    // What does not fit is still on its key and in the image's menu.
                    if ui.available_width() > VIEW_BUTTONS + ASK_ICONS {
                        view_buttons(ui, cx);
                    }
                }
                ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
                    ui.spacing_mut().item_spacing.x = space.xs;
                    if lenses {
                        widgets::action_button(ui, cx, Action::ToggleFindings, findings_shown);
                    }
                    widgets::action_button(ui, cx, Action::ShowKeys, cx.state.keys.is_some());
                    preferences(ui, cx);
                    if cx.state.reading.is_some() {
                        divider(ui, cx);
                        ask(ui, cx);
                    }
                });
            });
        });
}

fn home(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let mark = widgets::mark(ui, theme, theme.tokens.text.display);
    let response = widgets::named(mark.interact(Sense::click()), "Start screen");
    if response.on_hover_text(cx.tooltip(Action::Home)).clicked() {
        cx.act(Action::Home);
    }
}

/// The menu of what is remembered: theme, scale, analysis on opening, device.
pub fn preferences(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let side = theme.size().control;
    let icon = theme.icon(Icon::Settings2, theme.palette.weak);
    let button = egui::Button::new(icon).min_size(egui::vec2(side, side)).frame_when_inactive(false);
    let config =
        egui::containers::menu::MenuConfig::new().close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    let button = egui::containers::menu::MenuButton::from_button(button).config(config);
    let (response, _) = button.ui(ui, |ui| {
        ui.set_min_width(232.0);
        ui.set_max_width(280.0);
        let settings = &cx.state.settings;
        widgets::action_menu_item(ui, cx, Action::ToggleTheme);
        let mut analyse = settings.analyse_on_open;
        if ui.checkbox(&mut analyse, "Analyse radiographs on opening").changed() {
            cx.send(Command::AnalyseOnOpen(analyse));
        }
        ui.separator();
        ui.horizontal(|ui| {
            ui.label("Size");
            ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
                let scale = settings.ui_scale;
                for (icon, label, step) in
                    [(Icon::Plus, "Larger  (Ctrl+Plus)", 0.1), (Icon::Minus, "Smaller  (Ctrl+Minus)", -0.1)]
                {
                    if widgets::icon_button(ui, theme, icon, label, false).clicked() {
                        cx.send(Command::UiScale(((scale + step) * 10.0).round() / 10.0));
                    }
                }
                ui.label(RichText::new(format!("{:.0} %", scale * 100.0)).font(theme.mono()));
            });
        });
        threads(ui, cx);
        let tip = "Decoded images that are kept; an eighth of it beside the volume of the series";
        memory(ui, cx, "Memory for images", tip, settings.frames_mib, Command::FrameMemory);
        let tip = "Volumes of analysed series that are kept while another series is in view";
        memory(ui, cx, "Memory for volumes", tip, settings.volumes_mib, Command::VolumeMemory);
        ui.separator();
        widgets::caption(ui, theme, "Model");
        for (wish, title) in &cx.state.bundles {
            let chosen = &settings.model;
            let used = if chosen.is_empty() || wish.is_empty() {
                chosen == wish
            } else {
                cx.state.network.folder().is_some_and(|folder| folder.ends_with(wish))
            };
            if ui
                .radio(used, title)
                .on_hover_text(if wish.is_empty() {
                    "Each series is read by a model that was made for it"
                } else {
                    wish
                })
                .clicked()
                && !used
            {
                cx.send(Command::Model(wish.clone()));
            }
        }
        ui.separator();
        widgets::caption(ui, theme, "Device of the network");
        for (device, label) in [("auto", "Automatic"), ("cpu", "Processor"), ("cuda", "CUDA"), ("metal", "Metal")] {
            if ui.radio(settings.device == device, label).clicked() {
                cx.send(Command::Device(device.to_owned()));
            }
        }
    });
    widgets::named(response, "Preferences").on_hover_text("Preferences");
}

/// How many threads compute, from the next start on.
fn threads(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let (theme, threads, cores) = (&cx.theme, cx.state.settings.threads, settings::cores());
    let automatic = settings::automatic_threads();
    ui.horizontal(|ui| {
        ui.label("Threads").on_hover_text(format!(
            "Threads that compute; automatic is {automatic} of {cores} on this machine. Takes effect at the next start."
        ));
        ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
            let more = if threads == 0 { 1 } else { threads + 1 };
            for (icon, label, wish, possible) in [
                (Icon::Plus, "More threads", more, threads < cores),
                (Icon::Minus, "Fewer threads", threads.saturating_sub(1), threads > 0),
            ] {
                let button = |ui: &mut egui::Ui| widgets::icon_button(ui, theme, icon, label, false).clicked();
                if ui.add_enabled_ui(possible, button).inner {
                    cx.send(Command::Threads(wish));
                }
            }
            let text = if threads == 0 { "automatic".to_owned() } else { threads.to_string() };
            ui.label(RichText::new(text).font(theme.mono()));
        });
    });
}

/// How much memory something may take, doubled and halved.
fn memory(ui: &mut egui::Ui, cx: &Cx<'_>, name: &str, tip: &str, mib: usize, command: fn(usize) -> Command) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        ui.label(name).on_hover_text(tip);
        ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
            for (icon, what, wish) in [(Icon::Plus, "more", 2 * mib), (Icon::Minus, "less", mib / 2)] {
                let label = format!("{name}: {what}");
                let button = |ui: &mut egui::Ui| widgets::icon_button(ui, theme, icon, &label, false).clicked();
                if ui.add_enabled_ui(settings::MEMORY_MIB.contains(&wish), button).inner {
                    cx.send(command(wish));
                }
            }
            ui.label(RichText::new(format!("{mib} MiB")).font(theme.mono()));
        });
    });
}

fn divider(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let (rect, _) = ui.allocate_exact_size(egui::vec2(theme.space().l, theme.size().control), Sense::hover());
    ui.painter().vline(rect.center().x, rect.y_range().shrink(theme.space().xs), theme.line());
}

fn tools(ui: &mut egui::Ui, cx: &Cx<'_>) {
    for (action, tool) in [
        (Action::ToolWindow, Tool::Window),
        (Action::ToolZoom, Tool::Zoom),
        (Action::ToolPan, Tool::Pan),
        (Action::ToolScroll, Tool::Scroll),
    ] {
        widgets::action_button(ui, cx, action, cx.state.tool == tool);
    }
}

fn window_menu(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let Some(reading) = &cx.state.reading else { return };
    let theme = &cx.theme;
    let name = match &reading.view.window {
        WindowChoice::FromFile => "From file".to_owned(),
        WindowChoice::FileWindow(n) => format!("File {}", n + 1),
        WindowChoice::Auto => "Auto".to_owned(),
        WindowChoice::Fixed(window) if !window.name.is_empty() => window.name.clone(),
        WindowChoice::Fixed(_) => "By hand".to_owned(),
    };
    let label = RichText::new(name).color(theme.palette.text);
    let chevron = theme.icon(Icon::ChevronDown, theme.palette.weak).size(theme.tokens.text.body);
    let button = egui::Button::new((label, chevron)).min_size(egui::vec2(108.0, theme.size().control));
    let (response, _) = egui::containers::menu::MenuButton::from_button(button).ui(ui, |ui| {
        ui.set_min_width(180.0);
        window_items(ui, cx);
    });
    widgets::named(response, "Window preset").on_hover_text("Window preset");
}

/// Rows of a menu with all window presets.
pub fn window_items(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let small = |text: String| RichText::new(text).font(cx.theme.small()).color(cx.theme.palette.faint);
    let item = |ui: &mut egui::Ui, digit: u8, label: String| {
        if ui.add(egui::Button::new(label).shortcut_text(small(cx.key(Action::Preset(digit))))).clicked() {
            cx.act(Action::Preset(digit));
            ui.close();
        }
    };
    item(ui, 0, "Auto".to_owned());
    item(ui, 1, "First of the file".to_owned());
    item(ui, 2, "Second of the file".to_owned());
    let key = cx.state.reading.as_ref().and_then(|reading| reading.key_at(reading.view.position));
    let presets = Preset::of_units(&cx.images.units(key.as_ref()));
    if !presets.is_empty() {
        ui.separator();
    }
    for (digit, preset) in (FIRST_PRESET_DIGIT..).zip(presets) {
        item(ui, digit, format!("{}   {} / {}", preset.name, preset.width, preset.center));
    }
}

fn view_buttons(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let Some(reading) = &cx.state.reading else { return };
    let view = &reading.view;
    widgets::action_button(ui, cx, Action::Invert, view.inverted);
    // Planes lie as the patient does.
    let planes = cx.state.planes_in_front();
    ui.add_enabled_ui(planes.is_none(), |ui| {
        widgets::action_button(ui, cx, Action::Rotate, view.transform.quarter_turns > 0);
        widgets::action_button(ui, cx, Action::FlipHorizontal, view.transform.mirrored);
        widgets::action_button(ui, cx, Action::FlipVertical, false);
    });
    widgets::action_button(ui, cx, Action::Crosshair, planes.map_or(view.show_crosshair, |planes| planes.lines));
    widgets::action_button(ui, cx, Action::Overlays, view.overlays);
    let maximised = match (planes, cx.state.settings.layout) {
        (Some(planes), _) => planes.maximised,
        (None, Layout::Grid { .. }) => cx.state.desk.maximised,
        (None, _) => reading.layout != LensLayout::Both,
    };
    widgets::action_button(ui, cx, Action::Maximise, maximised);
    widgets::action_button(ui, cx, Action::Escape, false);
}

/// Drawn from right to left.
fn ask(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let Some(reading) = &cx.state.reading else { return };
    let theme = &cx.theme;
    let report = cx.state.report.is_some();
    if !report && ui.available_width() < ASK_WORDS {
        widgets::action_button(ui, cx, Action::Report, false);
        widgets::action_button(ui, cx, Action::Probe, reading.probing);
        widgets::action_button(ui, cx, Action::Analyse, false);
        return;
    }
    let button = |ui: &mut egui::Ui, action: Action, selected: bool| {
        let Some(entry) = keymap::entry(action) else { return };
        let icon = theme.icon(entry.icon.unwrap_or(Icon::Circle), theme.palette.weak);
        let label = RichText::new(match action {
            Action::Probe => "Probe",
            _ => entry.label,
        });
        let response = ui.add(egui::Button::new((icon, label.color(theme.palette.text))).selected(selected));
        if widgets::named(response, entry.label).on_hover_text(cx.tooltip(action)).clicked() {
            cx.act(action);
        }
    };
    button(ui, Action::Report, report);
    if !report {
        button(ui, Action::Probe, reading.probing);
        button(ui, Action::Analyse, false);
    }
    let who = text::join([text::patient_name(&reading.study.patient), text::date(&reading.study.date)]);
    let font = theme.small();
    let width = ui.painter().layout_no_wrap(who.clone(), font, theme.palette.weak).size().x + theme.space().l;
    if ui.available_width() > width {
        ui.add_space(theme.space().s);
        widgets::caption(ui, theme, who);
    }
}
