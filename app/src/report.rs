//! The report of the series in view: pages laid out for the preview, files written, both as jobs.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bifocal_core::analysis::{Analysis, Explanations};
use bifocal_core::annotation::{Label, Session};
use bifocal_core::model::Metadata;
use bifocal_core::render::{ViewTransform, Voi};
use bifocal_core::report::{self, ModelNotes, ReportImage, ReportInput, ReportOptions};
use bifocal_core::study::{InstanceKey, Study};
use bifocal_core::task::Task;
use eframe::egui::{ColorImage, TextureHandle, TextureOptions};

use crate::app::{App, Outcome};
use crate::images::{FrameKey, FrameState, LoadedFrame};
use crate::io::FrameSource;
use crate::jobs::{JobError, JobKind};
use crate::perform::TOO_SOON_FOR_A_PERSON;
use crate::state::{Reading, Tone};

/// Images with findings of a volume that go into a report, those of the most probable ones.
const MOST_VOLUME_IMAGES: usize = 12;
/// Width of a page in the preview, points of the screen.
pub const PAGE_WIDTH: f32 = 820.0;

/// The open report.
#[derive(Default)]
pub struct Report {
    /// Pages as they will print.
    pub pages: Vec<TextureHandle>,
    /// Where the path field points to.
    pub path: String,
    /// A file that is there already and may be replaced: the reader was told, or this report was written to it.
    replaceable: Option<PathBuf>,
    /// What the pages were laid out from.
    laid_out: Option<Basis>,
}

/// Everything that the pages depend on and that changes while the report is open.
#[derive(Debug, Clone, PartialEq)]
struct Basis {
    options: ReportOptions,
    session: Session,
    /// Instance and frame of each analysis, and how much of it was explained.
    analyses: Vec<(InstanceKey, usize, usize)>,
}

/// A report file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Pdf,
    /// For programs.
    Json,
}

impl Format {
    /// By a file's extension.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "pdf" => Some(Self::Pdf),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Json => "json",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Pdf => "report.pdf",
            Self::Json => "report.json",
        }
    }
}

/// What panels ask of the report.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportCommand {
    /// What goes in.
    Options(ReportOptions),
    /// Text of the path field.
    Path(String),
    /// Asks where to, then writes.
    Save(Format),
    /// Writes to the path field's file.
    SaveToPath,
    /// Back to the lenses.
    Close,
}

/// What a report is made from, owned, so that a job can hold it.
struct Material {
    study: Arc<Study>,
    series_index: usize,
    images: Vec<Picture>,
    session: Session,
    labels: Vec<Label>,
    model: Option<ModelNotes>,
}

struct Picture {
    instance: InstanceKey,
    frame_index: usize,
    position: usize,
    key: FrameKey,
    loaded: Option<Arc<LoadedFrame>>,
    voi: Option<Voi>,
    view: ViewTransform,
    analysis: Option<Arc<Analysis>>,
    explanations: Option<Explanations>,
}

impl Material {
    /// Reads the frames that are not in memory.
    fn complete(&mut self, task: &Task) -> Result<(), JobError> {
        let count = self.images.len() as u64;
        let mut source = FrameSource::default();
        for (done, picture) in self.images.iter_mut().enumerate() {
            task.check()?;
            task.progress("Reading images of the report", done as u64, count);
            if picture.loaded.is_none() {
                let frame = source.read(&picture.key.source, picture.key.frame).map_err(JobError::Failed)?;
                picture.loaded = Some(Arc::new(LoadedFrame::new(frame)));
            }
        }
        Ok(())
    }

    fn input(&self) -> Result<ReportInput<'_>, JobError> {
        let series = self.study.series.get(self.series_index).ok_or(JobError::Cancelled)?;
        let images = self.images.iter().filter_map(|picture| {
            let frame = picture.loaded.as_deref()?.frame();
            let analysis = picture.analysis.as_deref();
            let mut image = ReportImage::new(&picture.instance, picture.frame_index, picture.position, frame, analysis);
            image.view = picture.view;
            image.explanations = picture.explanations.as_ref();
            if let Some(voi) = &picture.voi {
                image.voi = voi.clone();
            }
            Some(image)
        });
        Ok(ReportInput {
            study: &self.study,
            series,
            images: images.collect(),
            session: &self.session,
            labels: &self.labels,
            model: self.model.clone(),
            created: SystemTime::now(),
        })
    }
}

/// What a bundle says about itself, as the report prints it.
pub fn model_notes(metadata: &Metadata) -> ModelNotes {
    // Over all images; the numbers of single sources are in the model card.
    let mut keys: Vec<_> = metadata.metrics.iter().filter(|(key, _)| key.split('.').count() == 2).collect();
    keys.sort_by_key(|(key, _)| report::performance_rank(key));
    let performance = keys.into_iter().map(|(key, m)| report::performance_line(key, m.value, (m.low, m.high), m.n));
    ModelNotes {
        intended_use: metadata.intended_use.statement.clone(),
        limits: metadata.intended_use.limits.clone(),
        performance: performance.collect(),
        data: format!("{}. Licence: {}.", metadata.data.join("; "), metadata.licence),
    }
}

impl App {
    /// Opens the report, or goes back to the lenses.
    pub(crate) fn toggle_report(&mut self) {
        if self.state.report.take().is_some() {
            self.jobs.abandon(JobKind::Preview);
            return;
        }
        if self.state.reading.is_none() {
            return;
        }
        self.text_done();
        let folder = self.state.settings.report_folder.clone().or_else(home).unwrap_or_default();
        let path = folder.join(Format::Pdf.file_name()).display().to_string();
        self.state.report = Some(Report { path, ..Report::default() });
    }

    /// Carries out what the report's panel asked for.
    pub(crate) fn report(&mut self, command: ReportCommand) {
        match command {
            ReportCommand::Options(options) => self.state.settings.report = options,
            ReportCommand::Path(path) => {
                if let Some(report) = &mut self.state.report {
                    report.path = path;
                }
            }
            ReportCommand::Save(format) => self.save_report(format, None),
            ReportCommand::SaveToPath => {
                let Some(path) = self.state.report.as_ref().map(|report| PathBuf::from(report.path.trim())) else {
                    return;
                };
                let replaceable = self.state.report.as_ref().and_then(|report| report.replaceable.as_ref());
                match Format::of(&path) {
                    Some(_) if path.exists() && replaceable != Some(&path) => {
                        let text = format!("{} is there already. Write again to replace it.", path.display());
                        if let Some(report) = &mut self.state.report {
                            report.replaceable = Some(path);
                        }
                        self.toast(Tone::Warning, text);
                    }
                    Some(format) => self.save_report(format, Some(path)),
                    None => {
                        let text = format!("{}: the name must end in .pdf or .json.", path.display());
                        self.toast(Tone::Error, text);
                    }
                }
            }
            ReportCommand::Close => {
                if self.state.report.is_some() {
                    self.toggle_report();
                }
            }
        }
    }

    /// Each frame: lays the pages out again where something in them has changed.
    pub(crate) fn tend_report(&mut self) {
        if self.state.report.is_none() {
            return;
        }
        let Some(reading) = &self.state.reading else {
            self.state.report = None;
            return;
        };
        let analyses = reading.series().map(|series| self.state.network.analyses_of(&series.uid)).unwrap_or_default();
        let explained = |analysis: &Arc<Analysis>| {
            self.state.explaining.of(analysis).map_or(0, |found| found.cams.len() + found.faithfulness.len())
        };
        let basis = Basis {
            options: self.state.settings.report.clone(),
            session: reading.document.session().clone(),
            analyses: analyses.iter().map(|a| (a.target.instance_uid.clone(), a.target.frame, explained(a))).collect(),
        };
        if self.state.report.as_ref().is_some_and(|report| report.laid_out.as_ref() == Some(&basis)) {
            return;
        }
        let Some(mut material) = self.material(&basis.session) else { return };
        let options = basis.options.clone();
        if let Some(report) = &mut self.state.report {
            report.laid_out = Some(basis);
        }
        let pixels_per_point = PAGE_WIDTH * self.ctx.pixels_per_point() / report::A4.0;
        self.jobs.start(JobKind::Preview, "Report preview", move |task| {
            material.complete(task)?;
            task.progress("Laying out the report", 0, 0);
            let pages = report::layout(&material.input()?, &options);
            let paint = |page| {
                task.check()?;
                let image = report::rasterize(page, pixels_per_point);
                Ok(ColorImage::from_rgba_unmultiplied([image.width, image.height], image.as_bytes()))
            };
            let images: Result<Vec<ColorImage>, JobError> = pages.iter().map(paint).collect();
            Ok(Outcome::ReportPages(images?))
        });
    }

    /// The pages are laid out.
    pub(crate) fn report_laid_out(&mut self, images: Vec<ColorImage>) {
        let Some(report) = &mut self.state.report else { return };
        let ctx = &self.ctx;
        report.pages =
            images.into_iter().map(|image| ctx.load_texture("page", image, TextureOptions::LINEAR)).collect();
    }

    /// A report was written; `None` where the user closed the dialog, or the platform has none.
    pub(crate) fn report_saved(&mut self, path: Option<PathBuf>) {
        match path {
            Some(path) => {
                self.state.settings.report_folder = path.parent().map(Path::to_path_buf);
                self.toast(Tone::Info, format!("Saved {}", path.display()));
                if let Some(report) = &mut self.state.report {
                    report.replaceable = Some(path);
                }
            }
            None => self.toast(Tone::Info, "Nothing was saved."),
        }
    }

    /// All that the report of the series in view is made from.
    fn material(&self, session: &Session) -> Option<Material> {
        let reading = self.state.reading.as_ref()?;
        let series = reading.series()?;
        let network = &self.state.network;
        let volume = network.volume_of(&series.uid);
        // Of a volume, the images of its findings; else whatever was analysed.
        let analyses = if volume.is_some() { Vec::new() } else { network.analyses_of(&series.uid) };
        let mut homes: BTreeSet<usize> = BTreeSet::new();
        for extent in volume.iter().flat_map(|volume| &volume.findings).filter_map(|finding| finding.extent.as_ref()) {
            if homes.len() < MOST_VOLUME_IMAGES {
                homes.insert(extent.image);
            }
        }
        let mut images = Vec::new();
        let shapes = session.shapes.values().filter(|shape| !shape.hidden);
        let drawn: HashSet<(InstanceKey, usize)> = shapes
            .map(|shape| (shape.instance.clone(), shape.frame))
            .chain(session.masks.keys().map(|mask| (mask.instance.clone(), mask.frame)))
            .collect();
        for position in 0..reading.frame_count() {
            let Some((instance, frame_index)) = reading.instance_at(position) else { continue };
            let analysis = analyses.iter().find(|analysis| {
                analysis.target.instance_uid == instance.key() && analysis.target.frame == frame_index
            });
            let key = session.key_images.contains(&(instance.key(), frame_index));
            let wanted = key || homes.contains(&position) || drawn.contains(&(instance.key(), frame_index));
            if wanted || analysis.is_some() {
                let of_volume = || {
                    // With its attention, where it was looked at for a while.
                    let kept = network.analysis_of(&instance.key(), frame_index).cloned();
                    kept.or_else(|| volume?.image(series, position).map(Arc::new))
                };
                images.push(self.picture(reading, position, analysis.cloned().or_else(of_volume))?);
            }
        }
        if images.is_empty() {
            let position = reading.view.position;
            let of_volume = volume.and_then(|volume| volume.image(series, position)).map(Arc::new);
            images.push(self.picture(reading, position, of_volume)?);
        }
        Some(Material {
            study: Arc::clone(&reading.study),
            series_index: reading.series_index,
            images,
            session: session.clone(),
            labels: self.state.drawing.all_labels(),
            model: self
                .state
                .network
                .metadata
                .as_deref()
                .map(model_notes)
                .filter(|_| volume.is_some() || !analyses.is_empty()),
        })
    }

    fn picture(&self, reading: &Reading, position: usize, analysis: Option<Arc<Analysis>>) -> Option<Picture> {
        let (instance, frame_index) = reading.instance_at(position)?;
        let key = reading.key_at(position)?;
        let loaded = match self.images.frame(&key) {
            FrameState::Ready(frame) => Some(frame),
            FrameState::Loading | FrameState::Failed(_) => None,
        };
        let voi = loaded.as_ref().map(|frame| frame.voi(&reading.view.window, reading.view.inverted));
        let (instance, view) = (instance.key(), reading.view.transform);
        let explanations = analysis.as_ref().and_then(|analysis| self.state.explaining.of(analysis)).cloned();
        Some(Picture { instance, frame_index, position, key, loaded, voi, view, analysis, explanations })
    }

    fn save_report(&mut self, format: Format, path: Option<PathBuf>) {
        self.text_done();
        let Some(session) = self.state.session().cloned() else { return };
        let Some(mut material) = self.material(&session) else { return };
        let options = self.state.settings.report.clone();
        let folder = self.state.settings.report_folder.clone();
        let in_field = self.state.report.as_ref().map(|report| PathBuf::from(report.path.trim())).unwrap_or_default();
        self.jobs.start(JobKind::Report, "Saving the report", move |task| {
            let asked = Instant::now();
            let path = match path.or_else(|| choose(format, folder)) {
                Some(path) => path,
                // Without a dialog on this desktop: where the path field points, beside what is there already.
                None if asked.elapsed() < TOO_SOON_FOR_A_PERSON && !in_field.as_os_str().is_empty() => {
                    free_name(&in_field.with_extension(format.extension()))
                }
                None => return Ok(Outcome::ReportSaved(None)),
            };
            material.complete(task)?;
            task.progress("Writing the report", 0, 0);
            let input = material.input()?;
            let bytes = match format {
                Format::Pdf => report::report_pdf(&input, &options).map_err(JobError::failed)?,
                Format::Json => {
                    serde_json::to_vec_pretty(&report::report_json(&input, &options)).map_err(JobError::failed)?
                }
            };
            task.check()?;
            write(&path, &bytes).map_err(|error| {
                JobError::Failed(format!("{}: {}. Choose another place.", path.display(), cause(&path, &error)))
            })?;
            Ok(Outcome::ReportSaved(Some(path)))
        });
    }
}

/// Asks for a file by the platform's dialog.
fn choose(format: Format, folder: Option<PathBuf>) -> Option<PathBuf> {
    let name = match format {
        Format::Pdf => "PDF",
        Format::Json => "JSON",
    };
    let mut dialog = rfd::FileDialog::new()
        .set_title("Save report")
        .set_file_name(format.file_name())
        .add_filter(name, &[format.extension()]);
    if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
        dialog = dialog.set_directory(folder);
    }
    dialog.save_file()
}

/// Writes beside the target first, so that a failure leaves no half report.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    let beside = path.with_file_name(name);
    let mut file = fs::File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Why a file could not be written, in words that say what to do where that is plain.
pub(crate) fn cause(path: &Path, error: &std::io::Error) -> String {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            format!("the folder {} does not exist", folder.display())
        }
        _ => error.to_string(),
    }
}

/// The path itself where nothing is there, else with a number: `report 2.pdf`.
pub(crate) fn free_name(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = (2..1000).map(|number| path.with_file_name(format!("{stem} {number}.{extension}")));
    std::iter::once(path.to_path_buf())
        .chain(numbered)
        .find(|path| !path.exists())
        .unwrap_or_else(|| path.to_path_buf())
}

/// Where reports go at first.
pub(crate) fn home() -> Option<PathBuf> {
    let dirs = directories::UserDirs::new()?;
    Some(dirs.document_dir().unwrap_or(dirs.home_dir()).to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_says_the_format() {
        assert_eq!(Format::of(Path::new("a/b.PDF")), Some(Format::Pdf));
        assert_eq!(Format::of(Path::new("b.json")), Some(Format::Json));
        assert_eq!(Format::of(Path::new("b.txt")), None);
        assert_eq!(Format::of(Path::new("pdf")), None);
    }

    #[test]
    fn writing_leaves_the_whole_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("report.pdf");
        write(&path, b"one").expect("writable");
        write(&path, b"two").expect("writable");
        assert_eq!(fs::read(&path).expect("readable"), b"two");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1);
        let nowhere = folder.path().join("missing/report.pdf");
        let error = write(&nowhere, b"x").expect_err("there is no such folder");
        assert!(cause(&nowhere, &error).ends_with("missing does not exist"));
    }

    #[test]
    fn a_free_name_replaces_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("report.pdf");
        assert_eq!(free_name(&path), path);
        fs::write(&path, b"one").expect("writable");
        assert_eq!(free_name(&path), folder.path().join("report 2.pdf"));
    }
}
