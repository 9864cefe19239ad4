//! Findings in the reader's hands: jumping, deciding, commenting. Every change is an [`Edit`] of the reading's document, so that it
//! can be undone, and is on the disk before the next frame is drawn.

use bifocal_core::analysis::{Analysis, Finding, FindingId};
use bifocal_core::annotation::{Decision, Edit, Review, Session, Shape, ShapeId};
use bifocal_core::render::Placement;
use bifocal_core::study::InstanceKey;

use crate::app::App;
use crate::desk::VolumeState;
use crate::images::FrameState;
use crate::keymap::Action;
use crate::planes::PlaneEdit;
use crate::state::{State, Tone};
use crate::view::{ImagePoint, ViewEdit};

/// What panels ask for while reading.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadCommand {
    /// Selects a finding and centres both lenses on it.
    Jump(FindingId),
    /// Accepts, rejects or reopens a finding.
    Decide(FindingId, Decision),
    /// Text of a finding's comment while it is typed.
    Comment(FindingId, String),
    /// The field of the comment has taken the keyboard.
    CommentFocused,
    /// Text of the impression while it is typed.
    Impression(String),
    /// Name of a shape while it is typed.
    ShapeName(ShapeId, String),
    /// Note on a shape while it is typed.
    ShapeText(ShapeId, String),
    /// The text field was left.
    TextDone,
    /// Shows a frame of the series.
    GoTo(InstanceKey, usize),
    /// Starts the attention probe at a place.
    Probe(ImagePoint),
}

/// What is being typed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Comment(InstanceKey, usize, FindingId),
    Impression,
    ShapeName(ShapeId),
    ShapeText(ShapeId),
}

#[derive(Debug)]
struct Draft {
    field: Field,
    text: String,
    changed: f64,
}

/// The text that is being typed into the notes of the series in view.
#[derive(Debug, Default)]
pub struct Reader {
    draft: Option<Draft>,
    /// A finding to be centred on as soon as its image, at this place of the series, is decoded.
    pub arriving: Option<(FindingId, usize)>,
    /// Put the keyboard into the comment of the selected finding in the next frame.
    pub focus_comment: bool,
}

/// After so many seconds without a key, typed text becomes an edit: what a kill can cost at most.
const TYPING_PAUSE: f64 = 0.8;

impl State {
    /// What the reader has added to the series in view, without what is being typed.
    pub fn session(&self) -> Option<&Session> {
        self.reading.as_ref().map(|reading| reading.document.session())
    }

    /// A finding's review, with the comment as it is typed.
    pub fn review(&self, instance: &InstanceKey, frame: usize, finding: FindingId) -> Review {
        let mut review = self.session().map(|session| session.review(instance, frame, finding)).unwrap_or_default();
        if let Some(Draft { field: Field::Comment(i, f, id), text, .. }) = &self.reader.draft
            && (i, *f, *id) == (instance, frame, finding)
        {
            review.comment.clone_from(text);
        }
        review
    }

    /// Whether a finding is listed and drawn: it reaches the threshold that the reader has set on the heat map, or was decided on.
    pub fn is_listed(&self, analysis: &Analysis, finding: &Finding) -> bool {
        let threshold = self.reading.as_ref().and_then(|reading| reading.overlays.heat_threshold);
        threshold.is_none_or(|threshold| finding.probability >= threshold)
            || self.review_of(analysis, finding).decision != Decision::Open
    }

    /// A finding's review: of a volume's, as it is kept with the image of its peak.
    pub fn review_of(&self, analysis: &Analysis, finding: &Finding) -> Review {
        let (instance, frame) = analysis.home_of(finding);
        self.review(&instance, frame, finding.id)
    }

    /// The impression, as it is typed.
    pub fn impression(&self) -> String {
        match &self.reader.draft {
            Some(Draft { field: Field::Impression, text, .. }) => text.clone(),
            _ => self.session().map(|session| session.impression.clone()).unwrap_or_default(),
        }
    }

    /// The name of a shape, as it is typed.
    pub fn shape_name(&self, id: ShapeId, shape: &Shape) -> String {
        self.typed(&Field::ShapeName(id)).unwrap_or(&shape.name).to_owned()
    }

    /// The note on a shape, as it is typed.
    pub fn shape_text(&self, id: ShapeId, shape: &Shape) -> String {
        self.typed(&Field::ShapeText(id)).unwrap_or(&shape.text).to_owned()
    }

    fn typed(&self, field: &Field) -> Option<&str> {
        self.reader.draft.as_ref().filter(|draft| draft.field == *field).map(|draft| draft.text.as_str())
    }

    /// Makes an edit of what was typed.
    fn take_draft(&mut self) -> Option<Edit> {
        let Draft { field, text, .. } = self.reader.draft.take()?;
        Some(match field {
            Field::Comment(instance, frame, finding) => {
                let review = Review { comment: text, ..self.review(&instance, frame, finding) };
                Edit::SetReview { instance, frame, finding, review }
            }
            Field::Impression => Edit::SetImpression { text },
            Field::ShapeName(id) | Field::ShapeText(id) => {
                let mut shape = self.session()?.shapes.get(&id)?.clone();
                let place = if matches!(field, Field::ShapeName(_)) { &mut shape.name } else { &mut shape.text };
                *place = text;
                Edit::SetShape { id, shape: Some(Box::new(shape)) }
            }
        })
    }
}

impl App {
    /// Each frame: text that was not typed on for a while becomes an edit.
    pub(crate) fn tend_notes(&mut self) {
        let Some(draft) = &self.state.reader.draft else { return };
        let wait = draft.changed + TYPING_PAUSE - self.now;
        if wait <= 0.0 {
            self.text_done();
        } else {
            self.ctx.request_repaint_after(std::time::Duration::from_secs_f64(wait));
        }
    }

    pub(crate) fn text_done(&mut self) {
        if let Some(edit) = self.state.take_draft() {
            self.edit_document(|document| document.apply(edit));
        }
    }

    fn write(&mut self, field: Field, text: String) {
        if self.state.reader.draft.as_ref().is_some_and(|draft| draft.field != field) {
            self.text_done();
        }
        self.state.reader.draft = Some(Draft { field, text, changed: self.now });
    }

    /// Instance and frame that a finding of the analysis in view is kept with.
    fn home_of(&self, id: FindingId) -> Option<(InstanceKey, usize)> {
        let analysis = self.state.reading.as_ref()?.analysis_in_view()?;
        let finding = analysis.findings.iter().find(|finding| finding.id == id)?;
        Some(analysis.home_of(finding))
    }

    /// Carries out what a panel asked for.
    pub(crate) fn read(&mut self, command: ReadCommand) {
        match command {
            ReadCommand::Jump(finding) => self.jump(finding),
            ReadCommand::Decide(finding, decision) => self.decide(finding, decision),
            ReadCommand::Comment(finding, text) => {
                if let Some((instance, frame)) = self.home_of(finding) {
                    self.write(Field::Comment(instance, frame, finding), text);
                }
            }
            ReadCommand::CommentFocused => self.state.reader.focus_comment = false,
            ReadCommand::Impression(text) => self.write(Field::Impression, text),
            ReadCommand::ShapeName(id, text) => self.write(Field::ShapeName(id), text),
            ReadCommand::ShapeText(id, text) => self.write(Field::ShapeText(id), text),
            ReadCommand::TextDone => self.text_done(),
            ReadCommand::GoTo(instance, frame) => self.go_to(&instance, frame),
            ReadCommand::Probe(point) => {
                if let Some(reading) = &mut self.state.reading {
                    reading.probing = true;
                    reading.probe = Some(point);
                }
            }
        }
    }

    /// Carries out an action of the key map that is about findings.
    pub(crate) fn act_on_analysis(&mut self, action: Action) {
        match action {
            Action::Analyse => self.analyse(),
            Action::Report => self.toggle_report(),
            Action::NextFinding => self.step_finding(1),
            Action::PreviousFinding => self.step_finding(-1),
            Action::AcceptFinding => self.decide_selected(Decision::Accepted),
            Action::RejectFinding => self.decide_selected(Decision::Rejected),
            Action::CommentFinding => self.comment_selected(),
            _ => {}
        }
    }

    fn decide(&mut self, finding: FindingId, decision: Decision) {
        self.text_done();
        let Some((instance, frame)) = self.home_of(finding) else { return };
        let before = self.state.review(&instance, frame, finding);
        // Asking twice takes the decision back.
        let decision = if before.decision == decision { Decision::Open } else { decision };
        let edit = Edit::SetReview { instance, frame, finding, review: Review { decision, ..before } };
        self.edit_document(|document| document.apply(edit));
    }

    fn decide_selected(&mut self, decision: Decision) {
        match self.state.reading.as_ref().and_then(|reading| reading.selected) {
            Some(finding) => self.decide(finding, decision),
            None => self.toast(Tone::Info, "No finding is selected: N goes to the next one."),
        }
    }

    fn comment_selected(&mut self) {
        if self.state.reading.as_ref().is_some_and(|reading| reading.selected.is_some()) {
            self.state.settings.findings_open = true;
            self.state.reader.focus_comment = true;
        } else {
            self.toast(Tone::Info, "No finding is selected: N goes to the next one.");
        }
    }

    pub(crate) fn go_to(&mut self, instance: &InstanceKey, frame: usize) {
        let Some(reading) = &mut self.state.reading else { return };
        if let Some(position) = reading.position_of(instance, frame) {
            reading.view.apply(ViewEdit::Position(position), reading.frame_count(), self.now);
        }
    }

    fn step_finding(&mut self, step: isize) {
        let Some(reading) = &self.state.reading else { return };
        let Some(analysis) = reading.analysis_in_view() else {
            let text = self.state.settings.keys.with_text("This image is not analysed yet", Action::Analyse);
            self.toast(Tone::Info, text);
            return;
        };
        let listed = analysis.findings.iter().filter(|finding| self.state.is_listed(analysis, finding));
        let ids: Vec<FindingId> = listed.map(|finding| finding.id).collect();
        if ids.is_empty() {
            let none = analysis.findings.is_empty();
            let text = if none {
                "There are no findings on this image."
            } else {
                "No finding reaches the threshold that is set."
            };
            self.toast(Tone::Info, text);
            return;
        }
        let current = reading.selected.and_then(|selected| ids.iter().position(|id| *id == selected));
        let next = match current {
            Some(index) => (index as isize + step).rem_euclid(ids.len() as isize) as usize,
            None if step > 0 => 0,
            None => ids.len() - 1,
        };
        self.jump(ids[next]);
    }

    /// Each frame: centres on the finding whose image has been decoded by now.
    pub(crate) fn tend_arrival(&mut self) {
        let Some((id, position)) = self.state.reader.arriving else { return };
        let Some(reading) = &self.state.reading else { return };
        // Gone elsewhere in the meantime: it is left at that.
        let still = reading.selected == Some(id) && reading.view.position == position;
        match reading.key_at(position).filter(|_| still).map(|key| self.images.frame(&key)) {
            Some(FrameState::Loading) => {}
            Some(FrameState::Ready(_)) => {
                self.state.reader.arriving = None;
                self.jump(id);
            }
            _ => self.state.reader.arriving = None,
        }
    }

    /// Centres both lenses on a finding, enlarged so that it takes a good part of the pane.
    fn jump(&mut self, id: FindingId) {
        let pane = self.overlays.pane.get();
        let Some(reading) = &mut self.state.reading else { return };
        let Some(analysis) = reading.analysis_in_view().cloned() else { return };
        let Some(finding) = analysis.findings.iter().find(|finding| finding.id == id) else { return };
        // A finding of a volume is looked at where it is most probable.
        let place = finding.extent.as_ref().map(|extent| extent.image);
        let [top, left, bottom, right] = finding.bounding_box;
        let shape = (analysis.target.rows, analysis.target.columns);
        let middle = ((top + bottom) as f64 / 2.0, (left + right) as f64 / 2.0);
        let extent = bottom.saturating_sub(top).max(right.saturating_sub(left)).max(1) as f64;
        let wanted = (0.4 * shape.0.min(shape.1) as f64 / extent).clamp(1.0, MOST_JUMP_ZOOM);
        reading.selected = Some(id);
        let frames = reading.frame_count();
        if let Some(place) = place {
            reading.view.apply(ViewEdit::Position(place), frames, self.now);
        }
        let peak = finding.extent.as_ref().map(|extent| extent.peak_mm);
        let label = finding.label.clone();
        if let (Some(peak), VolumeState::Ready(planes)) = (peak, &mut self.state.desk.volume) {
            planes.apply(PlaneEdit::Crosshair(peak));
        }
        // The map that the finding was made from comes into the local lens.
        if let Some(map) = analysis.heat_maps.iter().position(|map| map.label == label) {
            reading.overlays.heat_map = map;
        }
        let Some(key) = reading.key_at(reading.view.position) else { return };
        let FrameState::Ready(frame) = self.images.frame(&key) else {
            self.state.reader.arriving = Some((id, reading.view.position));
            return;
        };
        self.state.reader.arriving = None;
        let viewport = (f64::from(pane.x), f64::from(pane.y));
        let mut transform = reading.view.transform;
        transform.zoom = transform.zoom.max(wanted);
        transform.pan = [0.0, 0.0];
        let placement = Placement::of_frame(&transform, shape, &frame.frame().display, viewport);
        let (x, y) = placement.screen_from_image(middle.0, middle.1);
        transform.pan_by(viewport.0 / 2.0 - x, viewport.1 / 2.0 - y, viewport);
        reading.view.apply(ViewEdit::Transform(transform), frames, self.now);
    }
}

/// Jumping to a small finding enlarges no further than this.
const MOST_JUMP_ZOOM: f64 = 2.0;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::settings::Settings;
    use crate::state::{Reading, fixtures};

    fn state() -> State {
        let mut state = State::new(Settings::default());
        state.reading = Reading::new(Arc::new(fixtures::study("A", "DX", 1)), 0);
        state
    }

    #[test]
    fn what_is_typed_is_shown_and_becomes_one_edit() {
        let mut state = state();
        let instance = InstanceKey("1.2.0".into());
        let field = Field::Comment(instance.clone(), 0, FindingId(1));
        state.reader.draft = Some(Draft { field, text: "apical".into(), changed: 0.0 });
        let comment = |state: &State, id| state.review(&instance, 0, FindingId(id)).comment;
        assert_eq!((comment(&state, 1).as_str(), comment(&state, 2).as_str()), ("apical", ""));
        let edit = state.take_draft().expect("there is a draft");
        assert_eq!(comment(&state, 1), "", "not a part of the document yet");
        let document = &mut state.reading.as_mut().expect("a reading").document;
        assert!(document.apply(edit).expect("memory is writable"));
        assert_eq!(comment(&state, 1), "apical");
    }

    #[test]
    fn the_impression_is_shown_as_it_is_typed() {
        let mut state = state();
        assert_eq!(state.impression(), "");
        state.reader.draft = Some(Draft { field: Field::Impression, text: "No effusion".into(), changed: 0.0 });
        assert_eq!(state.impression(), "No effusion");
        assert_eq!(state.take_draft(), Some(Edit::SetImpression { text: "No effusion".into() }));
        assert_eq!(state.take_draft(), None);
    }

    #[test]
    fn r_rejects_only_while_a_finding_is_selected() {
        let mut state = state();
        state.screen = crate::state::Screen::Reading;
        assert_eq!(state.meant(Action::Rotate), Action::Rotate);
        state.reading.as_mut().expect("a reading").selected = Some(FindingId(1));
        assert_eq!(state.meant(Action::Rotate), Action::RejectFinding);
        assert_eq!(state.meant(Action::Invert), Action::Invert);
    }
}
