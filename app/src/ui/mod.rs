//! The panels. Each reads [`Cx`] and queues commands; none changes state by itself.

mod annotations;
mod browser;
mod compare;
mod curves;
mod drop_hint;
mod exchange;
mod finding_row;
mod findings;
mod fusion;
mod grid;
mod header;
mod history;
mod keys;
mod labels;
mod layers;
mod layout_menu;
mod lens_controls;
mod lens_faithfulness;
pub(crate) mod lens_maps;
mod lenses;
mod names;
mod organs;
mod palette;
mod plane_lines;
mod plane_maps;
pub mod plane_masks;
mod plane_shapes;
mod planes;
mod probe;
mod project;
mod reading;
mod report_panel;
mod shape_card;
pub mod shapes;
mod side;
mod start;
mod status_bar;
pub mod text;
mod toasts;
mod top_bar;
mod tuning;
pub mod viewport;
pub mod widgets;
mod work_list;

use eframe::egui;

use crate::command::{Command, Queue};
use crate::images::Images;
use crate::jobs::Job;
use crate::keymap::Action;
use crate::overlays::Overlays;
use crate::project::ProjectPanel;
use crate::reader::ReadCommand;
use crate::reformat::Reformatter;
use crate::state::{Screen, State};
use crate::theme::Theme;

/// What panels draw from.
pub struct Cx<'a> {
    /// What is shown.
    pub state: &'a State,
    /// Running jobs.
    pub jobs: &'a [Job],
    /// Decoded frames, textures, thumbnails.
    pub images: &'a Images,
    /// Maps on the graphics card.
    pub overlays: &'a Overlays,
    /// Pictures of planes.
    pub reformatter: &'a Reformatter,
    /// How it looks.
    pub theme: Theme,
    /// Where commands go.
    pub queue: &'a Queue,
}

impl Cx<'_> {
    /// Queues a command.
    pub fn send(&self, command: Command) {
        self.queue.push(command);
    }

    /// Label and key of an action, as tooltips show them: `Invert  (I)`.
    pub fn tooltip(&self, action: Action) -> String {
        self.state.settings.keys.tooltip(action)
    }

    /// The key of an action; empty where it has none.
    pub fn key(&self, action: Action) -> String {
        self.state.settings.keys.text(action)
    }

    /// Queues something about findings, maps and notes.
    pub fn read(&self, command: ReadCommand) {
        self.queue.push(Command::Read(command));
    }

    /// Queues an action of the key map.
    pub fn act(&self, action: Action) {
        self.queue.push(Command::Do(action));
    }
}

/// A lesion class in the bundle's words.
pub(crate) fn names_of_class(state: &State, class: &str) -> String {
    names::lesion(state, class)
}

/// What a frame has shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Drawn {
    /// A decoded image.
    pub image: bool,
}

/// Draws the whole window.
pub fn show(ui: &mut egui::Ui, cx: &Cx<'_>) -> Drawn {
    let mut drawn = Drawn::default();
    status_bar::show(ui, cx);
    match cx.state.screen {
        Screen::Start => start::show(ui, cx),
        Screen::Reading => {
            top_bar::show(ui, cx);
            let (browser_shown, findings_shown) = cx.state.panels_shown(ui.ctx().content_rect().width());
            if browser_shown {
                browser::show(ui, cx);
            }
            if let Some(report) = &cx.state.report {
                report_panel::show(ui, cx, report);
            } else {
                match cx.state.panel {
                    None => {}
                    Some(ProjectPanel::Tuning) => tuning::show(ui, cx),
                    Some(ProjectPanel::Comparison) => compare::show(ui, cx),
                    Some(ProjectPanel::History) => history::show(ui, cx),
                    Some(ProjectPanel::Export) => exchange::show_export(ui, cx),
                    Some(ProjectPanel::Import) => exchange::show_import(ui, cx),
                }
                if findings_shown {
                    findings::show(ui, cx);
                }
                palette::show(ui, cx);
                drawn.image = reading::show(ui, cx);
            }
        }
    }
    toasts::show(ui, cx);
    if let Some(dialog) = &cx.state.project {
        project::show(ui, cx, dialog);
    }
    if let Some(editor) = &cx.state.labels {
        labels::show(ui, cx, editor);
    }
    if let Some(editor) = &cx.state.keys {
        keys::show(ui, cx, editor);
    }
    if let Some(open) = &cx.state.header {
        header::show(ui, cx, open);
    }
    drop_hint::show(ui, cx);
    drawn
}
