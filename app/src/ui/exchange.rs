//! The panels of export and import: what is chosen, how it goes, what came of it.

use std::path::Path;

use bifocal_core::project::{ExportFormat, Exported, Imported};
use eframe::egui::{DragValue, Grid, RichText, Slider, TextEdit, Ui, vec2};
use lucide_icons::Icon;

use super::side::{self, cell, lines};
use super::{Cx, text, widgets};
use crate::command::Command;
use crate::exchange::{Exchange, ExchangeCommand, ExportForm};
use crate::jobs::JobKind;
use crate::project::{ProjectCommand, Purpose};

/// Shares that may be chosen, percent.
const SHARE: std::ops::RangeInclusive<u32> = 0..=45;

fn send(cx: &Cx<'_>, command: ExchangeCommand) {
    cx.send(Command::Exchange(command));
}

/// Draws the panel of export.
pub fn show_export(ui: &mut Ui, cx: &Cx<'_>) {
    side::show(ui, cx, (Icon::Upload, "Export"), "originals are only read", |ui| {
        let exchange = &cx.state.exchange;
        if let Some(job) = cx.jobs.iter().find(|job| job.kind == JobKind::Export) {
            side::progress(ui, cx, job, "Cancel the export");
            lines(ui, cx, "You can go on reading.", cx.theme.palette.weak);
            return;
        }
        match &exchange.exported {
            Some(Ok(exported)) => written(ui, cx, exchange, exported),
            refused => {
                choose(ui, cx, exchange);
                if let Some(Err(cause)) = refused {
                    ui.add_space(cx.theme.space().s);
                    side::warning(ui, cx, cause);
                }
            }
        }
    });
}

fn choose(ui: &mut Ui, cx: &Cx<'_>, exchange: &Exchange) {
    let theme = &cx.theme;
    let space = theme.space();
    let mut form = exchange.form.clone();
    widgets::heading(ui, theme, "Format");
    ui.horizontal_wrapped(|ui| {
        for (format, name) in ExportFormat::ALL {
            ui.selectable_value(&mut form.format, format, name);
        }
    });
    let what = match form.format {
        ExportFormat::Coco => {
            "Pictures, with polygons, boxes and run lengths in coco.json. What is done and empty is written too, as negatives."
        }
        ExportFormat::Seg => "A DICOM segmentation of each series, for archives and viewers.",
        ExportFormat::Nifti => "A label map of each series, with a JSON file that says what its numbers mean.",
        ExportFormat::Csv => "Every measurement, one number a line, with its unit and what is known of the spacing.",
        ExportFormat::Yolo => {
            "Pictures and boxes, one text file a picture. What is done and empty is written too, as negatives."
        }
    };
    lines(ui, cx, what, theme.palette.weak);
    ui.add_space(space.m);
    widgets::heading(ui, theme, "Which");
    ui.horizontal_wrapped(|ui| {
        for reader in &exchange.readers {
            let mut on = form.readers.contains(reader);
            if ui.checkbox(&mut on, reader).on_hover_text("Whose annotations are written").changed() {
                if on {
                    form.readers.insert(reader.clone());
                } else {
                    form.readers.remove(reader);
                }
            }
        }
    });
    if form.readers.len() > 1 {
        lines(ui, cx, "Each reader's go into a folder of their own.", theme.palette.weak);
    }
    ui.checkbox(&mut form.only_done, "Only series that the reader is done with");
    ui.checkbox(&mut form.flagged, "Also those that are set aside");
    ui.add_space(space.m);
    split(ui, cx, exchange, &mut form);
    ui.add_space(space.m);
    widgets::heading(ui, theme, "Identifiers");
    ui.checkbox(&mut form.deidentify, "Without identifiers");
    lines(ui, cx, identifiers(&form), theme.palette.weak);
    ui.add_space(space.m);
    widgets::heading(ui, theme, "Folder");
    path_field(ui, cx, ("Folder of the export", Purpose::Export), &mut form.folder);
    if form != exchange.form {
        send(cx, ExchangeCommand::Form(Box::new(form.clone())));
    }
    ui.add_space(space.m);
    let ready = !form.readers.is_empty() && !form.folder.trim().is_empty() && !matches!(exchange.sides, Some(Err(_)));
    if side::main_button(ui, cx, Icon::Upload, "Export", "Start the export", ready) {
        send(cx, ExchangeCommand::Export);
    }
}

/// What of patients and readers leaves.
fn identifiers(form: &ExportForm) -> &'static str {
    match (form.deidentify, form.format) {
        (false, ExportFormat::Seg) => "Segmentations name the patient: they belong beside the images.",
        (false, _) => "Patients have pseudonyms; images keep their UIDs, so that the files can be imported again.",
        (true, ExportFormat::Seg | ExportFormat::Nifti) => {
            "UIDs are replaced, readers' names left out; copies of the images without identifiers are laid beside (PS3.15 basic profile). Text in the pixels stays: look at the warnings."
        }
        (true, _) => {
            "UIDs are replaced, readers' names and free text left out. Text in the pixels stays: look at the warnings."
        }
    }
}

fn split(ui: &mut Ui, cx: &Cx<'_>, exchange: &Exchange, form: &mut ExportForm) {
    let theme = &cx.theme;
    widgets::heading(ui, theme, "Split by patient");
    ui.checkbox(&mut form.split, "Into train, validation and test");
    if !form.split {
        return;
    }
    Grid::new("split of the export").num_columns(2).spacing(vec2(theme.space().m, theme.space().s)).show(ui, |ui| {
        for (index, name) in ["Validation", "Test"].into_iter().enumerate() {
            ui.label(name);
            let slider = Slider::new(&mut form.percent[index], SHARE).suffix(" %");
            ui.add(slider).accessible_name(format!("Share for {}", name.to_lowercase()));
            ui.end_row();
        }
        ui.label("Seed");
        ui.add(DragValue::new(&mut form.seed)).accessible_name("Seed of the split");
        ui.end_row();
    });
    match &exchange.sides {
        Some(Ok([train, validation, test])) => {
            let words = format!(
                "Patients of the project: {train} train, {validation} validation, {test} test. The same seed splits them in the same way."
            );
            lines(ui, cx, words, theme.palette.weak);
        }
        Some(Err(cause)) => side::warning(ui, cx, cause),
        None => {}
    }
}

/// A path that is typed, chosen or dropped.
fn path_field(ui: &mut Ui, cx: &Cx<'_>, (name, purpose): (&str, Purpose), path: &mut String) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        let button = 84.0;
        let field = TextEdit::singleline(path)
            .desired_width(ui.available_width() - button - 3.0 * theme.space().s)
            .min_size(vec2(0.0, theme.size().control));
        ui.add(field).accessible_name(name);
        if widgets::named(ui.button("Choose…"), &format!("Choose: {name}")).clicked() {
            cx.send(Command::Project(ProjectCommand::Choose(purpose)));
        }
    });
}

fn place(ui: &mut Ui, cx: &Cx<'_>, folder: &Path) {
    let text = folder.display().to_string();
    ui.horizontal_top(|ui| {
        if widgets::icon_button(ui, &cx.theme, Icon::Copy, &format!("Copy the path {text}"), false).clicked() {
            ui.ctx().copy_text(text.clone());
        }
        lines(ui, cx, text, cx.theme.palette.text);
    });
}

fn written(ui: &mut Ui, cx: &Cx<'_>, exchange: &Exchange, exported: &Exported) {
    let theme = &cx.theme;
    let palette = theme.palette;
    let format = exchange.form.format.name();
    if exported.parts.is_empty() {
        let next = "None of the chosen series has something that can be written.";
        widgets::empty(ui, theme, Icon::PackageOpen, "Nothing was exported", next);
    } else {
        ui.horizontal(|ui| {
            ui.label(theme.icon(Icon::CircleCheck, palette.success).size(theme.tokens.text.title));
            ui.label(RichText::new(format!("{format} was written")).color(palette.text));
        });
        let root = crate::project::typed_path(&exchange.form.folder);
        place(ui, cx, &root);
        ui.add_space(theme.space().s);
        Grid::new("what was exported").striped(true).spacing(vec2(theme.space().m, theme.space().xs)).show(ui, |ui| {
            for head in ["Reader", "Folder", "Patients", "Written"] {
                cell(ui, cx, head);
            }
            ui.end_row();
            for part in &exported.parts {
                ui.label(&part.reader);
                let inside = part.folder.strip_prefix(&root).map(|inside| inside.display().to_string());
                let inside = inside.ok().filter(|inside| !inside.is_empty());
                ui.label(inside.unwrap_or_else(|| "–".to_owned()));
                ui.label(part.patients.to_string());
                ui.label(&part.written).on_hover_text(part.folder.display().to_string());
                ui.end_row();
            }
        });
    }
    side::problems(ui, cx, "Left out, or to look at", &exported.problems);
    ui.add_space(theme.space().m);
    if ui.button("Export again").clicked() {
        send(cx, ExchangeCommand::Again);
    }
}

/// Draws the panel of import.
pub fn show_import(ui: &mut Ui, cx: &Cx<'_>) {
    side::show(ui, cx, (Icon::Download, "Import"), "", |ui| {
        let theme = &cx.theme;
        let exchange = &cx.state.exchange;
        let reader = cx.state.work.as_ref().map(|work| work.reader.clone()).unwrap_or_default();
        if let Some(job) = cx.jobs.iter().find(|job| job.kind == JobKind::Import) {
            side::progress(ui, cx, job, "Cancel the import");
            lines(ui, cx, "Drawing waits until it is done: both write into your readings.", theme.palette.weak);
            return;
        }
        widgets::heading(ui, theme, "File");
        let mut file = exchange.file.clone();
        path_field(ui, cx, ("File of the import", Purpose::Import), &mut file);
        if file != exchange.file {
            send(cx, ExchangeCommand::File(file.clone()));
        }
        let words = format!(
            "COCO (.json), DICOM segmentations and RT Structure Sets, NIfTI label maps (.nii, .nii.gz). What they hold is drawn into the readings of {reader}, one step of undo a series."
        );
        lines(ui, cx, words, theme.palette.weak);
        ui.add_space(theme.space().m);
        let ready = !file.trim().is_empty();
        if side::main_button(ui, cx, Icon::Download, "Import", "Start the import", ready) {
            send(cx, ExchangeCommand::Import);
        }
        ui.add_space(theme.space().m);
        match &exchange.imported {
            None => {}
            Some((_, Err(cause))) => side::warning(ui, cx, cause),
            Some((file, Ok(imported))) => brought(ui, cx, file, imported),
        }
    });
}

fn brought(ui: &mut Ui, cx: &Cx<'_>, file: &Path, imported: &Imported) {
    let theme = &cx.theme;
    let palette = theme.palette;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (icon, color) = match imported.annotations {
        0 => (Icon::PackageOpen, palette.warning),
        _ => (Icon::CircleCheck, palette.success),
    };
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let annotations = count(imported.annotations, "annotation", "annotations");
    let words = format!("{annotations} on {} from {name}", count(imported.frames, "image", "images"));
    ui.horizontal(|ui| {
        ui.label(theme.icon(icon, color).size(theme.tokens.text.title));
        ui.add(eframe::egui::Label::new(RichText::new(text::sentence(&words)).color(palette.text)).wrap());
    });
    if !imported.new_labels.is_empty() {
        lines(ui, cx, format!("New labels: {}", imported.new_labels.join(", ")), palette.weak);
    }
    side::problems(ui, cx, "Left out", &imported.problems);
}
