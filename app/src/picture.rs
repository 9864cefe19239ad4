//! The view as a picture: what the viewports show, copied or written as PNG, overlays included.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bifocal_core::render::Rgba;
use eframe::egui::ColorImage;

use crate::app::{App, Outcome};
use crate::jobs::{JobError, JobKind};
use crate::perform::TOO_SOON_FOR_A_PERSON;
use crate::report::{cause, free_name, home, write};
use crate::state::{Screen, Tone};

/// What becomes of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Copy,
    Export,
}

/// A picture of the whole window, once it has been taken.
pub(crate) type Pictured = Arc<Mutex<Option<(Purpose, Arc<ColorImage>)>>>;

/// Name of the file at first.
const FILE_NAME: &str = "view.png";

impl App {
    /// Asks for a picture of the next frame, to be copied, or else to be written.
    pub(crate) fn picture_view(&mut self, copy: bool) {
        let shown = self.state.screen == Screen::Reading && self.state.report.is_none() && self.first_image_shown();
        if !shown {
            self.toast(Tone::Info, "There is no image in view.");
            return;
        }
        // What lies over the viewports is no part of the view.
        self.state.keys = None;
        self.state.toasts.retain(|toast| toast.tone == Tone::Error);
        let purpose = if copy { Purpose::Copy } else { Purpose::Export };
        let (pictured, ctx) = (Arc::clone(&self.pictured), self.ctx.clone());
        self.ctx.request_screenshot(move |image| {
            *pictured.lock().unwrap_or_else(PoisonError::into_inner) = Some((purpose, image));
            ctx.request_repaint();
        });
    }

    /// Each frame: takes up the picture that was asked for.
    pub(crate) fn tend_picture(&mut self) {
        let found = self.pictured.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((purpose, image)) = found else { return };
        let view = image.region(&self.overlays.area.get(), Some(self.ctx.pixels_per_point()));
        let named = self.state.reading.as_ref().is_some_and(|reading| reading.view.overlays);
        let warning = if named { " It shows the patient's name; Space hides the corner texts." } else { "" };
        match purpose {
            Purpose::Copy => {
                self.ctx.copy_image(view);
                self.toast(Tone::Info, format!("The view is copied.{warning}"));
            }
            Purpose::Export => self.export_view(view),
        }
    }

    fn export_view(&mut self, view: ColorImage) {
        let folder = self.state.settings.report_folder.clone().or_else(home);
        self.jobs.start(JobKind::Report, "Saving the view", move |task| {
            let asked = Instant::now();
            let path = match choose(folder.as_deref()) {
                Some(path) => path.with_extension("png"),
                // Without a dialog on this desktop: beside what is there already.
                None if asked.elapsed() < TOO_SOON_FOR_A_PERSON => {
                    free_name(&folder.unwrap_or_default().join(FILE_NAME))
                }
                None => return Ok(Outcome::ReportSaved(None)),
            };
            task.check()?;
            let pixels = view.pixels.iter().map(|pixel| pixel.to_array()).collect();
            let picture = Rgba { width: view.width(), height: view.height(), pixels };
            let png = picture.to_png().map_err(JobError::failed)?;
            write(&path, &png)
                .map_err(|error| JobError::Failed(format!("{}: {}", path.display(), cause(&path, &error))))?;
            Ok(Outcome::ReportSaved(Some(path)))
        });
    }
}

fn choose(folder: Option<&Path>) -> Option<PathBuf> {
    let mut dialog =
        rfd::FileDialog::new().set_title("Save the view").set_file_name(FILE_NAME).add_filter("PNG", &["png"]);
    if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
        dialog = dialog.set_directory(folder);
    }
    dialog.save_file()
}
