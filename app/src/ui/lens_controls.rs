//! Above and below a lens: what the map is, and how it is laid over the image.

use bifocal_core::analysis::MapKind;
use bifocal_core::explain::CamMethod;
use bifocal_core::render::Colormap;
use eframe::egui::{self, Align, Button, Layout, Rect, RichText, Slider, Ui, UiBuilder, vec2};
use lucide_icons::Icon;

use super::{Cx, findings, lens_faithfulness, lens_maps, names, text, widgets};
use crate::command::Command;
use crate::explain::ExplainCommand;
use crate::jobs::JobKind;
use crate::keymap::Action;
use crate::state::{Lens, OverlaySettings, Reading};

/// Below these widths of a lens, points, its header leaves words out: of what the lens shows and of warnings, then of the map.
const ROOM_FOR_WORDS: f32 = 420.0;
const ROOM_FOR_MAP_NAME: f32 = 300.0;

/// Title and caption of a lens, and the choice of the map it shows.
pub fn header(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens, rect: Rect) {
    let theme = &cx.theme;
    let (space, palette) = (theme.space(), theme.palette);
    ui.painter().rect_filled(rect, 0.0, palette.panel);
    ui.painter().hline(rect.x_range(), rect.bottom(), theme.line());
    let inner = rect.shrink2(vec2(space.m, space.xs));
    let mut child = ui.new_child(UiBuilder::new().max_rect(inner).layout(Layout::left_to_right(Align::Center)));
    child.set_clip_rect(rect.intersect(ui.clip_rect()));
    let ui = &mut child;
    ui.spacing_mut().item_spacing.x = space.s;
    let color = widgets::lens_color(theme, lens);
    let width = rect.width();
    ui.label(theme.icon(widgets::lens_icon(lens), color));
    let (title, what) = match lens {
        Lens::Local if cx.state.local_kind() != MapKind::LesionHead => ("Local", "class activation"),
        Lens::Local => ("Local", "lesion heat map"),
        Lens::Global => ("Global", "organ attention"),
    };
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = space.s;
        if let Some(analysis) = reading.analysis_in_view() {
            map_choice(ui, cx, reading, lens, width > ROOM_FOR_MAP_NAME);
            let flags = lens_faithfulness::warnings(cx, reading, analysis);
            if lens == Lens::Local && !flags.is_empty() {
                let count = flags.len();
                let words = match count {
                    _ if width < ROOM_FOR_WORDS => count.to_string(),
                    1 => "1 warning".to_owned(),
                    _ => format!("{count} warnings"),
                };
                let messages: Vec<String> = flags.iter().map(|flag| format!("△ {}", flag.message)).collect();
                widgets::chip(ui, theme, widgets::ChipTone::Warning, &words).on_hover_text(messages.join("\n"));
            }
        }
        ui.with_layout(Layout::top_down(Align::Min), |ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            ui.spacing_mut().interact_size.y = 0.0;
            ui.horizontal(|ui| {
                ui.add(egui::Label::new(RichText::new(title).color(color).strong()).truncate());
                if width > ROOM_FOR_WORDS {
                    ui.add(egui::Label::new(RichText::new(what).font(theme.small()).color(palette.weak)).truncate());
                }
            });
            let caption = caption(cx, reading, lens);
            widgets::caption(ui, theme, caption.clone()).on_hover_text(caption);
        });
    });
}

/// Method, layer and model of the map in view.
fn caption(cx: &Cx<'_>, reading: &Reading, lens: Lens) -> String {
    let Some(analysis) = reading.analysis_in_view() else { return "not analysed".to_owned() };
    let model = format!("{} {}", analysis.model.id, analysis.model.version);
    let settings = &reading.overlays;
    let parts = match lens {
        Lens::Local => match cx.state.local_heat(reading, analysis) {
            Some(map) => Some([map.method.clone(), map.layer.clone(), model.clone()]),
            None => Some([cx.state.local_kind().name(), "being made".to_owned(), model.clone()]),
        },
        Lens::Global if reading.probe.is_some() => {
            let layer = lens_maps::attention_map(settings, analysis).map(|map| map.layer.clone());
            Some(["rollout from the probed token".to_owned(), layer.unwrap_or_default(), model.clone()])
        }
        Lens::Global => lens_maps::attention_map(settings, analysis)
            .map(|map| [names::attention(cx.state, map), map.layer.clone(), model.clone()]),
    };
    parts.map_or(model, text::join)
}

/// Changes how maps are laid over the image.
pub(super) fn send(cx: &Cx<'_>, reading: &Reading, change: impl FnOnce(&mut OverlaySettings)) {
    let mut settings = reading.overlays.clone();
    change(&mut settings);
    if settings != reading.overlays {
        cx.send(Command::Overlays(settings));
    }
}

/// Which of the maps is shown, and in which colours.
fn map_choice(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens, named: bool) {
    let theme = &cx.theme;
    let Some(analysis) = reading.analysis_in_view() else { return };
    let settings = &reading.overlays;
    let maps: Vec<String> = match lens {
        Lens::Local => analysis.heat_maps.iter().map(|map| names::lesion(cx.state, &map.label)).collect(),
        Lens::Global => analysis.attention_maps.iter().map(|map| names::attention(cx.state, map)).collect(),
    };
    let current = match lens {
        Lens::Local => settings.heat_map,
        Lens::Global => settings.attention_map,
    };
    let name = match (lens, cx.state.local_kind()) {
        (Lens::Local, kind @ MapKind::Cam { .. }) => kind.name(),
        _ => maps.get(current).or(maps.first()).cloned().unwrap_or_default(),
    };
    let short = name.split("  ·  ").next().unwrap_or_default().to_owned();
    let chevron = theme.icon(Icon::ChevronDown, theme.palette.weak).size(theme.tokens.text.body);
    let button = if named {
        Button::new((RichText::new(short).font(theme.small()).color(theme.palette.text), chevron))
    } else {
        Button::new((theme.icon(Icon::Layers, theme.palette.weak).size(theme.tokens.text.body), chevron))
    };
    let (response, _) = egui::containers::menu::MenuButton::from_button(button).ui(ui, |ui| {
        ui.set_min_width(220.0);
        for (index, map) in maps.iter().enumerate() {
            if ui.add(Button::selectable(index == current, map.as_str())).clicked() {
                send(cx, reading, |settings| match lens {
                    Lens::Local => settings.heat_map = index,
                    Lens::Global => settings.attention_map = index,
                });
                ui.close();
            }
        }
        if lens == Lens::Local {
            ui.separator();
            kinds(ui, cx);
        }
        ui.separator();
        let (choices, chosen): (&[Colormap], Colormap) = match lens {
            Lens::Local => (&[Colormap::Ember, Colormap::Orchid, Colormap::Gray], settings.heat_colormap),
            Lens::Global => (&[Colormap::Lagoon, Colormap::Meadow, Colormap::Gray], settings.attention_colormap),
        };
        for choice in choices {
            if colormap_item(ui, cx, *choice, *choice == chosen).clicked() {
                send(cx, reading, |settings| match lens {
                    Lens::Local => settings.heat_colormap = *choice,
                    Lens::Global => settings.attention_colormap = *choice,
                });
                ui.close();
            }
        }
        ui.separator();
        match lens {
            Lens::Local => {
                let mut on = settings.finding_contours;
                if ui.checkbox(&mut on, "Contours of findings").changed() {
                    send(cx, reading, |settings| settings.finding_contours = on);
                }
                if ui.button("Threshold of the model").clicked() {
                    send(cx, reading, |settings| (settings.heat_threshold, settings.cam_threshold) = (None, None));
                    ui.close();
                }
            }
            Lens::Global => {
                let mut on = settings.organ_contours;
                if ui.checkbox(&mut on, "Contours of organs").changed() {
                    send(cx, reading, |settings| settings.organ_contours = on);
                }
                if ui.button("Threshold at an even map").clicked() {
                    send(cx, reading, |settings| settings.attention_threshold = None);
                    ui.close();
                }
            }
        }
        let mut on = cx.state.settings.test_maps;
        if ui.checkbox(&mut on, "Test how faithful maps are").changed() {
            cx.send(Command::Explain(ExplainCommand::Test(on)));
        }
    });
    let label = match lens {
        Lens::Local => "Heat map shown",
        Lens::Global => "Attention map shown",
    };
    widgets::named(response, label).on_hover_text(format!("{name}: map, colours, contours"));
}

/// The kinds of map: the lesion head, and a row of stages for each method of class activation.
fn kinds(ui: &mut Ui, cx: &Cx<'_>) {
    let chosen = cx.state.local_kind();
    let show = |ui: &mut Ui, kind: MapKind| {
        cx.send(Command::Explain(ExplainCommand::Show(kind)));
        ui.close();
    };
    if ui.add(Button::selectable(chosen == MapKind::LesionHead, "Lesion head: probability")).clicked() {
        show(ui, MapKind::LesionHead);
    }
    let kinds = cx.state.local_kinds();
    for method in CamMethod::ALL {
        ui.horizontal(|ui| {
            let (name, _) = ui.allocate_exact_size(vec2(124.0, cx.theme.size().control), egui::Sense::hover());
            let at = name.left_center() + vec2(ui.spacing().button_padding.x, 0.0);
            let words = format!("{} at stage", method.name());
            ui.painter().text(at, egui::Align2::LEFT_CENTER, words, cx.theme.body(), cx.theme.palette.text);
            for kind in &kinds {
                let MapKind::Cam { method: of, stage } = kind else { continue };
                if *of == method {
                    let response = ui.add(Button::selectable(chosen == *kind, format!(" {stage} ")));
                    if widgets::named(response, &kind.name()).clicked() {
                        show(ui, *kind);
                    }
                }
            }
        });
    }
    let mut on = cx.state.settings.explain_selection;
    if ui.checkbox(&mut on, "Of the selected finding alone").changed() {
        cx.send(Command::Explain(ExplainCommand::OfSelection(on)));
    }
}

/// A row of the menu: name and a strip of the colours.
pub(super) fn colormap_item(ui: &mut Ui, cx: &Cx<'_>, map: Colormap, chosen: bool) -> egui::Response {
    let theme = &cx.theme;
    let name = map.name();
    let response = ui.add(
        Button::selectable(chosen, format!("Colours: {name}"))
            .min_size(vec2(ui.available_width(), theme.size().control)),
    );
    let strip = Rect::from_min_max(
        egui::pos2(response.rect.right() - 80.0, response.rect.top() + theme.space().s),
        response.rect.right_bottom() - vec2(theme.space().s, theme.space().s),
    );
    let cells = 36;
    for cell in 0..cells {
        let [r, g, b] = map.color(cell as f32 / (cells - 1) as f32);
        let left = strip.left() + strip.width() * cell as f32 / cells as f32;
        let size = vec2(strip.width() / cells as f32 + 0.5, strip.height());
        let part = Rect::from_min_size(egui::pos2(left, strip.top()), size);
        ui.painter().rect_filled(part, 0.0, egui::Color32::from_rgb(r, g, b));
    }
    response
}

/// Below a lens: threshold and opacity; before the analysis, what to do.
pub fn footer(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens, rect: Rect) {
    let theme = &cx.theme;
    let space = theme.space();
    ui.painter().rect_filled(rect, 0.0, theme.palette.panel);
    ui.painter().hline(rect.x_range(), rect.top(), theme.line());
    let inner = rect.shrink2(vec2(space.m, 0.0));
    let mut child = ui.new_child(UiBuilder::new().max_rect(inner).layout(Layout::left_to_right(Align::Center)));
    child.set_clip_rect(rect.intersect(ui.clip_rect()));
    let ui = &mut child;
    ui.spacing_mut().item_spacing.x = space.s;
    match reading.analysis_in_view() {
        Some(analysis) => {
            let default = match lens {
                Lens::Local => cx.state.local_heat(reading, analysis).map_or(0.5, |map| map.threshold),
                Lens::Global => {
                    let answer = reading.probe.and_then(|point| cx.overlays.probe(analysis, point));
                    lens_maps::even(&reading.overlays, analysis, answer.as_deref())
                }
            };
            let of_cam = lens == Lens::Local && cx.state.local_kind() != MapKind::LesionHead;
            sliders(ui, cx, reading, lens, default, of_cam);
        }
        None => without_analysis(ui, cx, reading, lens),
    }
}

const THRESHOLD: &str = "Threshold";

/// Threshold and opacity of the map of a lens; `of_cam` says that it is one of class activation.
pub(super) fn sliders(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens, default_threshold: f32, of_cam: bool) {
    let theme = &cx.theme;
    let settings = &reading.overlays;
    let (threshold, opacity) = match lens {
        Lens::Local if of_cam => (settings.cam_threshold.unwrap_or(default_threshold), settings.heat_opacity),
        Lens::Local => (settings.heat_threshold.unwrap_or(default_threshold), settings.heat_opacity),
        Lens::Global => (settings.attention_threshold.unwrap_or(default_threshold), settings.attention_opacity),
    };
    let whose = match lens {
        Lens::Local => "heat map",
        Lens::Global => "attention",
    };
    // Words where there is room for them, icons where not.
    let words = ui.available_width() > 290.0;
    let fixed = if words { 196.0 } else { 122.0 };
    let width = ((ui.available_width() - fixed) / 2.0).clamp(24.0, 180.0);
    ui.spacing_mut().slider_width = width;
    if !words {
        ui.spacing_mut().item_spacing.x = theme.space().xs;
    }
    let slider = |ui: &mut Ui, name: &str, value: f32, limits: std::ops::RangeInclusive<f32>, tip: &str| {
        if words {
            widgets::caption(ui, theme, name);
        } else {
            let icon = if name == THRESHOLD { Icon::ListFilter } else { Icon::Blend };
            ui.label(theme.icon(icon, theme.palette.weak).size(theme.tokens.text.body)).on_hover_text(name);
        }
        let mut value = value;
        let response = ui.add(Slider::new(&mut value, limits).show_value(false));
        ui.label(RichText::new(format!("{value:.2}")).font(theme.mono()).color(theme.palette.text));
        let response = response.accessible_name(format!("{name} of the {whose}")).on_hover_text(tip);
        response.changed().then_some(value)
    };
    let tip = match lens {
        Lens::Local if of_cam => {
            "Below this share of the highest value the map is clear. Findings do not depend on it."
        }
        Lens::Local => {
            "Below this probability the heat map is clear, and findings that nowhere reach it are not listed. \
             Contours and sizes keep the model's own threshold."
        }
        Lens::Global => {
            "Below this share of the highest attention the map is clear; at first, below what an even map would give."
        }
    };
    if let Some(value) = slider(ui, THRESHOLD, threshold, 0.0..=0.99, tip) {
        send(cx, reading, |settings| match lens {
            Lens::Local if of_cam => settings.cam_threshold = Some(value),
            Lens::Local => settings.heat_threshold = Some(value),
            Lens::Global => settings.attention_threshold = Some(value),
        });
    }
    if let Some(value) = slider(ui, "Opacity", opacity, 0.0..=1.0, "Opacity of the map; Space hides and shows it") {
        send(cx, reading, |settings| match lens {
            Lens::Local => settings.heat_opacity = value,
            Lens::Global => settings.attention_opacity = value,
        });
    }
}

fn without_analysis(ui: &mut Ui, cx: &Cx<'_>, reading: &Reading, lens: Lens) {
    let theme = &cx.theme;
    if lens == Lens::Global {
        widgets::caption(ui, theme, "Organ attention appears here with the analysis");
        return;
    }
    if let Some(job) = cx.jobs.iter().find(|job| job.kind == JobKind::Analysis) {
        let stage = job.progress.as_ref().map_or(job.name.as_str(), |progress| progress.stage.as_str());
        ui.add(egui::Spinner::new().size(theme.tokens.text.body).color(theme.palette.warm));
        widgets::caption(ui, theme, stage);
        if !job.stopping && ui.small_button("Cancel").clicked() {
            cx.send(Command::CancelJob(JobKind::Analysis));
        }
        return;
    }
    let network = &cx.state.network;
    if let Some(problem) = &network.problem {
        ui.label(theme.icon(Icon::TriangleAlert, theme.palette.warning).size(theme.tokens.text.body));
        widgets::caption(ui, theme, problem.as_str()).on_hover_text(problem);
        return;
    }
    let failed = network.failed.as_ref().filter(|(key, _)| reading.key_at(reading.view.position).as_ref() == Some(key));
    let objections = network.objections_to(reading);
    let words = match (failed, objections) {
        (Some(_), _) => "Try again",
        (None, []) => "Analyse",
        (None, _) => findings::ANALYSE_ANYWAY,
    };
    let label = RichText::new(words).color(theme.palette.text);
    let button = Button::new((theme.icon(Icon::Sparkles, theme.palette.warm).size(theme.tokens.text.body), label));
    let response = widgets::named(ui.add(button), "Analyse this image");
    if response.on_hover_text(cx.tooltip(Action::Analyse)).clicked() {
        cx.act(Action::Analyse);
    }
    match failed {
        Some((_, message)) => widgets::caption(ui, theme, message.as_str()).on_hover_text(message),
        None => match objections.first() {
            Some(objection) => {
                let text = RichText::new(objection.as_str()).font(theme.small()).color(theme.palette.warning);
                ui.add(egui::Label::new(text).truncate()).on_hover_text(objections.join("\n"))
            }
            None if cx.state.network.reads_volumes() => {
                widgets::caption(ui, theme, "Heat maps and findings for the whole series")
            }
            None => widgets::caption(ui, theme, "Heat map and findings for this image"),
        },
    };
}
