//! Carries out what is asked of shapes, painted regions and labels. Every change is one [`Edit`] of the reading's document.

use bifocal_core::annotation::{Edit, MaskKey, Origin, Shape, ShapeId, ShapeKind, Taxonomy};
use bifocal_core::measure::{Pixel, simplify};
use bifocal_core::study::InstanceKey;

use crate::app::App;
use crate::drawing::{BRUSH_RADIUS, BrushSettings, Canvas, DrawTool, Drawing, Pointer};
use crate::images::FrameState;
use crate::keymap::Action;
use crate::labels;
use crate::mask_commands::{MaskCommand, command_of};
use crate::reader::ReadCommand;
use crate::state::{State, Tone};
use crate::view::Tool;

/// What panels and viewports ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum DrawCommand {
    /// The pointer on the image.
    Pointer(Pointer),
    /// Selects a shape, or none.
    Select(Option<ShapeId>),
    /// Shows the image that a shape is on, and selects it.
    Jump(ShapeId),
    /// Replaces a shape.
    Set(ShapeId, Box<Shape>),
    /// Takes a shape away.
    Delete(ShapeId),
    /// Takes a painted region away.
    Erase(MaskKey),
    /// Text of the field on the image, as it is typed.
    Entry(String),
    /// The field on the image is filled in.
    EntryDone,
    /// The field on the image is left.
    EntryCancelled,
    /// Label that new shapes and paint are given.
    Label(Option<String>),
    /// The brush.
    Brush(BrushSettings),
    /// How far regions grow, as a share of the frame's window.
    Tolerance(f64),
    /// Something about painted regions as a whole.
    Mask(MaskCommand),
    /// Makes a shape of a finding: its contour, or the box around it.
    TakeOver(bifocal_core::analysis::FindingId, ShapeKind),
    /// Goes back to the file's own spacing.
    Uncalibrate(InstanceKey),
    /// Reads the file of labels again.
    ReloadLabels,
}

/// The drawing tool behind an action.
pub fn tool_of(action: Action) -> Option<DrawTool> {
    Some(match action {
        Action::ToolLength => DrawTool::Shape(ShapeKind::Length),
        Action::ToolAngle => DrawTool::Shape(ShapeKind::Angle),
        Action::ToolCobb => DrawTool::Shape(ShapeKind::Cobb),
        Action::ToolBidirectional => DrawTool::Shape(ShapeKind::Bidirectional),
        Action::ToolEllipse => DrawTool::Shape(ShapeKind::Ellipse),
        Action::ToolBox => DrawTool::Shape(ShapeKind::Rectangle),
        Action::ToolPolygon => DrawTool::Shape(ShapeKind::Polygon),
        Action::ToolFreehand => DrawTool::Shape(ShapeKind::Freehand),
        Action::ToolPoint => DrawTool::Shape(ShapeKind::Point),
        Action::ToolArrow => DrawTool::Shape(ShapeKind::Arrow),
        Action::ToolText => DrawTool::Shape(ShapeKind::Text),
        Action::ToolCalibrate => DrawTool::Calibrate,
        Action::ToolBrush => DrawTool::Brush,
        Action::ToolEraser => DrawTool::Eraser,
        Action::ToolGrow => DrawTool::Grow,
        Action::ToolLiveWire => DrawTool::LiveWire,
        Action::ToolSmart => DrawTool::Smart,
        _ => return None,
    })
}

/// How much larger or smaller a step makes the brush.
const BRUSH_STEP: f64 = 1.25;

impl State {
    /// What a key means while something is drawn or selected.
    pub(crate) fn meant_in_drawing(&self, action: Action) -> Action {
        let Some(reading) = &self.reading else { return action };
        let paints = matches!(self.tool, Tool::Draw(tool) if tool.paints() || tool.grows());
        match action {
            Action::ToolAngle if reading.selected.is_some() => Action::AcceptFinding,
            Action::RejectFinding if reading.selected.is_none() && self.drawing.selected.is_some() => {
                Action::DeleteShape
            }
            Action::CommentFinding if self.drawing.draft.is_some() || self.drawing.proposal.is_some() => {
                Action::TakeOffer
            }
            Action::ToggleBrowser if paints => Action::BrushSmaller,
            Action::ToggleFindings if paints => Action::BrushLarger,
            action => action,
        }
    }
}

impl App {
    /// Carries a command out.
    pub(crate) fn draw(&mut self, command: DrawCommand) {
        match command {
            DrawCommand::Pointer(event) => {
                if matches!(event, Pointer::Press { .. }) {
                    self.text_done();
                }
                let tool = match self.state.tool {
                    Tool::Draw(tool) => Some(tool),
                    _ => None,
                };
                self.on_canvas(|drawing, on| drawing.pointer(event, tool, on));
            }
            DrawCommand::Select(id) => {
                self.text_done();
                self.select_shape(id);
            }
            DrawCommand::Jump(id) => {
                self.text_done();
                let place = self.shape(id).map(|shape| (shape.instance.clone(), shape.frame));
                if let Some((instance, frame)) = place {
                    self.read(ReadCommand::GoTo(instance, frame));
                    self.select_shape(Some(id));
                }
            }
            DrawCommand::Set(id, shape) => {
                self.text_done();
                self.edit_document(|document| document.apply(Edit::SetShape { id, shape: Some(shape) }));
            }
            DrawCommand::Delete(id) => {
                self.text_done();
                self.edit_document(|document| document.apply(Edit::SetShape { id, shape: None }));
                if self.state.drawing.selected == Some(id) {
                    self.state.drawing.selected = None;
                }
            }
            DrawCommand::Erase(mask) => {
                let Some(remove) = self.state.session().and_then(|session| session.masks.get(&mask).cloned()) else {
                    return;
                };
                let add = bifocal_core::measure::Runs::default();
                self.edit_document(|document| document.apply(Edit::Paint { mask, add, remove }));
            }
            DrawCommand::Entry(text) => {
                if let Some(entry) = &mut self.state.drawing.entry {
                    entry.text = text;
                    entry.focused = true;
                }
            }
            DrawCommand::EntryDone => self.on_canvas(|drawing, on| drawing.entry_done(on)),
            DrawCommand::EntryCancelled => self.state.drawing.entry = None,
            DrawCommand::Label(label) => self.state.drawing.label = label,
            DrawCommand::Brush(mut brush) => {
                brush.radius = brush.radius.clamp(BRUSH_RADIUS.0, BRUSH_RADIUS.1);
                self.state.drawing.brush = brush;
            }
            DrawCommand::Tolerance(tolerance) => self.state.drawing.set_tolerance(tolerance),
            DrawCommand::Mask(command) => self.change_mask(command),
            DrawCommand::TakeOver(finding, kind) => self.take_over(finding, kind),
            DrawCommand::Uncalibrate(instance) => {
                self.edit_document(|document| document.apply(Edit::Calibrate { instance, spacing: None }));
            }
            DrawCommand::ReloadLabels => self.load_labels(true),
        }
    }

    /// Carries out an action of the key map that is about drawing.
    pub(crate) fn act_on_shapes(&mut self, action: Action) {
        if let Some(tool) = tool_of(action) {
            let tool = Tool::Draw(tool);
            // Asking for the tool in hand puts it away.
            self.state.drawing.cancel();
            self.state.drawing.selected = None;
            self.state.tool = if self.state.tool == tool { Tool::Window } else { tool };
            return;
        }
        if let Some(command) = command_of(action) {
            self.change_mask(command);
            return;
        }
        let brush = self.state.drawing.brush;
        let tolerance = self.state.drawing.tolerance;
        let grows = matches!(self.state.tool, Tool::Draw(tool) if tool.grows());
        match action {
            Action::TakeOffer if self.state.drawing.draft.is_some() => self.draw(DrawCommand::Pointer(Pointer::Close)),
            Action::TakeOffer => {
                self.text_done();
                let State { reading, drawing, .. } = &mut self.state;
                let edit = reading.as_ref().and_then(|reading| drawing.take_offer(reading.document.session()));
                if let Some(edit) = edit {
                    self.edit_document(|document| document.apply(edit));
                }
            }
            Action::BrushSmaller if grows => self.draw(DrawCommand::Tolerance(tolerance / BRUSH_STEP)),
            Action::BrushLarger if grows => self.draw(DrawCommand::Tolerance(tolerance * BRUSH_STEP)),
            Action::DeleteShape => {
                if let Some(id) = self.state.drawing.selected {
                    self.draw(DrawCommand::Delete(id));
                }
            }
            Action::BrushSmaller => {
                self.draw(DrawCommand::Brush(BrushSettings { radius: brush.radius / BRUSH_STEP, ..brush }));
            }
            Action::BrushLarger => {
                self.draw(DrawCommand::Brush(BrushSettings { radius: brush.radius * BRUSH_STEP, ..brush }));
            }
            _ => {}
        }
    }

    /// Leaves what is being drawn, then the selection, then the tool; false where there is none of them.
    pub(crate) fn leave_drawing(&mut self) -> bool {
        let drawing = &mut self.state.drawing;
        if drawing.cancel() {
            return true;
        }
        if drawing.selected.take().is_some() {
            return true;
        }
        if matches!(self.state.tool, Tool::Draw(_)) {
            self.state.tool = Tool::Window;
            return true;
        }
        false
    }

    /// Nothing is in hand on another series.
    pub(crate) fn put_drawing_down(&mut self) {
        self.state.drawing.cancel();
        self.state.drawing.selected = None;
    }

    /// Reads the labels beside the settings; the built-in ones are written there where there are none yet.
    pub(crate) fn load_labels(&mut self, asked: bool) {
        let Some(folder) = self.settings_folder() else { return };
        let settings = &mut self.state.settings;
        if settings.labels != labels::FILE
            && !(labels::is_sound(&settings.labels) && folder.join(&settings.labels).exists())
        {
            let text = format!("The set of labels {} is not there any more: the first one is used.", settings.labels);
            settings.labels = labels::FILE.to_owned();
            self.toast(Tone::Warning, text);
        }
        let path = folder.join(&self.state.settings.labels);
        match labels::load(&path) {
            Ok(taxonomy) => {
                if asked {
                    let text = format!("{} labels read from {}.", taxonomy.labels.len(), path.display());
                    self.toast(Tone::Info, text);
                }
                self.take_labels(taxonomy);
            }
            Err(message) => self.toast(Tone::Error, message),
        }
    }

    /// Takes labels into use.
    pub(crate) fn take_labels(&mut self, taxonomy: Taxonomy) {
        let sets = match (&self.state.work, self.settings_folder()) {
            (None, Some(folder)) => labels::sets(&folder),
            _ => Vec::new(),
        };
        let drawing = &mut self.state.drawing;
        drawing.label = drawing.label.take().filter(|key| taxonomy.label(key).is_some());
        (drawing.taxonomy, drawing.sets) = (taxonomy, sets);
    }

    fn shape(&self, id: ShapeId) -> Option<&Shape> {
        self.state.session()?.shapes.get(&id)
    }

    fn select_shape(&mut self, id: Option<ShapeId>) {
        self.state.drawing.selected = id;
        if id.is_some()
            && let Some(reading) = &mut self.state.reading
        {
            reading.selected = None;
        }
    }

    /// Does something with the frame in view, and keeps the edit that comes of it.
    fn on_canvas(&mut self, act: impl FnOnce(&mut Drawing, &Canvas<'_>) -> Option<Edit>) {
        let State { reading, drawing, .. } = &mut self.state;
        let Some(reading) = reading.as_mut() else { return };
        let position = reading.view.position;
        let Some((instance, frame_index)) = reading.instance_at(position) else { return };
        let instance = instance.key();
        let Some(key) = reading.key_at(position) else { return };
        let FrameState::Ready(loaded) = self.images.frame(&key) else { return };
        let session = reading.document.session();
        let on = Canvas { instance: &instance, frame_index, frame: loaded.frame(), session };
        let edit = act(drawing, &on);
        if drawing.selected.is_some() {
            reading.selected = None;
        }
        if let Some(edit) = edit {
            self.edit_document(|document| document.apply(edit));
        }
        if let Some((tone, text)) = self.state.drawing.message.take() {
            self.toast(tone, text);
        }
    }

    /// Makes a shape of the network's finding, to be corrected by hand.
    fn take_over(&mut self, id: bifocal_core::analysis::FindingId, kind: ShapeKind) {
        let Some(reading) = &self.state.reading else { return };
        let Some(analysis) = reading.analysis_in_view() else { return };
        let Some(finding) = analysis.findings.iter().find(|finding| finding.id == id) else { return };
        if !analysis.shows(finding) {
            self.toast(
                Tone::Info,
                "The finding does not reach this image: go to its own first, by a click on its row.",
            );
            return;
        }
        let points: Vec<Pixel> = match kind {
            ShapeKind::Rectangle => {
                let [top, left, bottom, right] = finding.bounding_box.map(|v| v as f64);
                let (top, left, bottom, right) = (top - 0.5, left - 0.5, bottom + 0.5, right + 0.5);
                vec![(top, left), (top, right), (bottom, right), (bottom, left)]
            }
            _ => {
                let mut contour: Vec<Pixel> =
                    finding.contour.iter().map(|(r, c)| (f64::from(*r), f64::from(*c))).collect();
                if contour.len() > 1 && contour.first() == contour.last() {
                    contour.pop();
                }
                // Vertices few enough to correct by hand, the line within a two hundredth of the region's extent.
                simplify(&contour, (extent(&contour) / 200.0).max(0.15))
            }
        };
        let origin =
            Origin { weights_sha256: self.state.weights_sha256.clone(), finding: id, class: finding.label.clone() };
        let known = self.state.drawing.taxonomy.label(&finding.label).map(|label| label.key.clone());
        let name = format!("AI finding {}", id.0);
        let text = if known.is_none() { crate::ui::names_of_class(&self.state, &finding.label) } else { String::new() };
        let mut made = None;
        self.on_canvas(|drawing, on| {
            let mut shape = Shape::new(kind, on.instance.clone(), on.frame_index, &points, &on.frame.display);
            if !shape.is_whole() {
                return None;
            }
            (shape.name, shape.text, shape.label, shape.origin) = (name, text, known, Some(origin));
            let id = on.session.free_shape_id();
            drawing.selected = Some(id);
            made = Some(id);
            Some(Edit::SetShape { id, shape: Some(Box::new(shape)) })
        });
        if made.is_some() {
            self.toast(Tone::Info, "Taken over: drag its points to correct it, Ctrl+click adds or removes one.");
        }
    }
}

/// The longer side of the box around some points.
fn extent(points: &[Pixel]) -> f64 {
    let side = |axis: fn(&Pixel) -> f64| {
        let (low, high) =
            points.iter().map(axis).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        (high - low).max(0.0)
    };
    side(|p| p.0).max(side(|p| p.1))
}
