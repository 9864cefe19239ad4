//! Drawing on images: what the pointer does while a drawing tool is in hand, or on a shape that is there. Knows no window: places
//! are (row, column) on the frame, and the result of a gesture is one [`Edit`].

mod drafts;
mod offers;
mod strokes;
mod wire;

use bifocal_core::annotation::{Edit, MaskKey, Session, Shape, ShapeId, ShapeKind, Taxonomy, with_point_moved};
use bifocal_core::measure::{Pixel, PixelScale, Runs};
use bifocal_core::study::{Frame, InstanceKey};

use crate::labels::LabelSet;
use crate::proposal::{Growth, Proposal, USUAL_TOLERANCE};
use crate::smart::Clicks;
use crate::state::Tone;

/// What is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DrawTool {
    /// Draws shapes of a kind.
    Shape(ShapeKind),
    /// Draws the line that an image is calibrated by.
    Calibrate,
    /// Paints a label.
    Brush,
    /// Takes paint away.
    Eraser,
    /// Grows a region from a pixel over values like its own.
    Grow,
    /// Draws an outline that keeps to edges between clicked places.
    LiveWire,
    /// Follows the tissue under clicks and scribbles.
    Smart,
}

impl DrawTool {
    /// How many places are clicked; `None` where the reader says when it is enough.
    fn places(self) -> Option<usize> {
        match self {
            Self::Shape(ShapeKind::Point | ShapeKind::Text) => Some(1),
            Self::Shape(ShapeKind::Angle) => Some(3),
            Self::Shape(ShapeKind::Cobb) => Some(4),
            Self::Shape(ShapeKind::Polygon | ShapeKind::Freehand)
            | Self::LiveWire
            | Self::Brush
            | Self::Eraser
            | Self::Grow
            | Self::Smart => None,
            Self::Shape(_) | Self::Calibrate => Some(2),
        }
    }

    /// Whether it paints pixels.
    pub fn paints(self) -> bool {
        matches!(self, Self::Brush | Self::Eraser)
    }

    /// Whether it makes regions out of clicks.
    pub fn grows(self) -> bool {
        matches!(self, Self::Grow | Self::Smart)
    }
}

/// The frame that is drawn on.
#[derive(Clone, Copy)]
pub struct Canvas<'a> {
    /// Its instance.
    pub instance: &'a InstanceKey,
    /// Which frame of it, from 0.
    pub frame_index: usize,
    /// Its pixels.
    pub frame: &'a Frame,
    /// What is drawn already.
    pub session: &'a Session,
}

impl Canvas<'_> {
    /// What a pixel measures.
    pub fn scale(&self) -> PixelScale {
        PixelScale::of(&self.frame.display, self.session.calibrations.get(self.instance).copied())
    }
}

/// A part of a shape under the pointer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// One of its points.
    Point(usize),
    /// Its line; the edge after the point of that number.
    Line(usize),
    /// Its caption, which lies at this place.
    Caption(Pixel),
}

/// A shape under the pointer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Which one.
    pub id: ShapeId,
    /// Which part of it.
    pub part: Part,
}

/// What the pointer does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pointer {
    /// The left button goes down.
    Press {
        /// Where.
        at: Pixel,
        /// How far the pointer may go and still count as standing, pixels of the image.
        slack: f64,
        /// What is there.
        hit: Option<Hit>,
        /// Ctrl is held: puts vertices in and takes them out.
        ctrl: bool,
    },
    /// The pointer moves, with or without the button.
    Move(Pixel),
    /// The left button comes up.
    Release(Pixel),
    /// A double click, or Enter: that is all of the outline.
    Close,
}

/// A shape being drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    tool: DrawTool,
    instance: InstanceKey,
    frame: usize,
    placed: Vec<Pixel>,
    cursor: Pixel,
    pressed_at: Pixel,
    slack: f64,
    down: bool,
    /// The press under way has placed a point of its own.
    fresh: bool,
    wire: wire::Wire,
}

/// A shape being moved or bent.
#[derive(Debug, Clone, PartialEq)]
struct Grab {
    hit: Hit,
    start: Pixel,
    slack: f64,
    /// Its points before.
    before: Vec<Pixel>,
    /// Its points, or its caption's place, now.
    now: Vec<Pixel>,
    caption: Option<Pixel>,
    moved: bool,
}

/// A stroke of the brush.
#[derive(Debug, Clone, PartialEq)]
pub struct Stroke {
    /// What is painted.
    pub mask: MaskKey,
    /// Whether paint is taken away.
    pub erase: bool,
    /// Pixels so far.
    pub pixels: Runs,
    last: Pixel,
    /// Whether the button is still down.
    down: bool,
}

/// The brush.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrushSettings {
    /// Radius, mm; pixels where the spacing is unknown.
    pub radius: f64,
    /// Only pixels with values in this range are painted, in the modality's units.
    pub range: Option<(f64, f64)>,
}

impl Default for BrushSettings {
    fn default() -> Self {
        Self { radius: 5.0, range: None }
    }
}

/// Smallest and largest radius of the brush, mm.
pub const BRUSH_RADIUS: (f64, f64) = (0.1, 100.0);

/// What is typed at a place of the image.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What for.
    pub purpose: Purpose,
    /// The text so far.
    pub text: String,
    /// Where, on the frame.
    pub at: Pixel,
    /// The instance.
    pub instance: InstanceKey,
    /// The frame.
    pub frame: usize,
    /// The field has had the keyboard.
    pub focused: bool,
}

/// What a typed text is for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// Words of a new text shape.
    Text,
    /// The true length of a line, to calibrate by.
    Calibrate(Pixel, Pixel),
}

/// What is in hand: tools, and gestures under way.
#[derive(Debug)]
pub struct Drawing {
    /// A shape being drawn.
    pub draft: Option<Draft>,
    grab: Option<Grab>,
    /// A stroke being painted.
    pub stroke: Option<Stroke>,
    /// The shape that is selected.
    pub selected: Option<ShapeId>,
    /// A text being typed on the image.
    pub entry: Option<Entry>,
    /// Masks that wait for the reader's word.
    pub proposal: Option<Proposal>,
    growth: Option<Growth>,
    /// Strokes of the smart tool.
    pub clicks: Option<Clicks>,
    /// How far from the clicked value a region grows, as a share of the frame's window.
    pub tolerance: f64,
    /// The brush.
    pub brush: BrushSettings,
    /// Label that new shapes and paint are given.
    pub label: Option<String>,
    /// The labels in use.
    pub taxonomy: Taxonomy,
    /// All sets of labels on disk.
    pub sets: Vec<LabelSet>,
    /// Something to tell the reader.
    pub message: Option<(Tone, String)>,
}

impl Default for Drawing {
    fn default() -> Self {
        Self {
            draft: None,
            grab: None,
            stroke: None,
            selected: None,
            entry: None,
            proposal: None,
            growth: None,
            clicks: None,
            tolerance: USUAL_TOLERANCE,
            brush: BrushSettings::default(),
            label: None,
            taxonomy: Taxonomy::default(),
            sets: Vec::new(),
            message: None,
        }
    }
}

/// Points of the screen that count as standing: what [`Pointer::Press::slack`] is given in pixels of the image.
pub const SLACK_POINTS: f32 = 4.0;

fn apart(a: Pixel, b: Pixel) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

impl Drawing {
    /// Takes in what the pointer does; the edit that a finished gesture makes.
    pub fn pointer(&mut self, event: Pointer, tool: Option<DrawTool>, on: &Canvas<'_>) -> Option<Edit> {
        match event {
            Pointer::Press { at, slack, hit, ctrl } => self.press(at, slack, hit, ctrl, tool, on),
            Pointer::Move(at) => {
                self.moved(at, on);
                None
            }
            Pointer::Release(at) => {
                self.moved(at, on);
                self.release(at, on)
            }
            Pointer::Close => self.close(on),
        }
    }

    fn press(
        &mut self,
        at: Pixel,
        slack: f64,
        hit: Option<Hit>,
        ctrl: bool,
        tool: Option<DrawTool>,
        on: &Canvas<'_>,
    ) -> Option<Edit> {
        self.grab = None;
        self.stroke = None;
        if let Some(hit) = hit.filter(|_| self.draft.is_none()) {
            return self.take_hold(hit, at, slack, ctrl, on);
        }
        let tool = tool?;
        if tool == DrawTool::Grow {
            self.drop_offer();
            let label = self.label_or_first()?.to_owned();
            let mask = MaskKey { instance: on.instance.clone(), frame: on.frame_index, label };
            self.growth = Growth::new(mask, on.frame, at, self.tolerance, slack);
            self.grow();
            return None;
        }
        if tool == DrawTool::Smart {
            let label = self.label_or_first()?.to_owned();
            let mask = MaskKey { instance: on.instance.clone(), frame: on.frame_index, label };
            let mut clicks = self.clicks.take().filter(|clicks| *clicks.mask() == mask).unwrap_or_else(|| {
                self.drop_offer();
                Clicks::new(mask)
            });
            clicks.press(at, ctrl);
            self.clicks = Some(clicks);
            return None;
        }
        if tool.paints() {
            let label = self.label_or_first()?.to_owned();
            let mask = MaskKey { instance: on.instance.clone(), frame: on.frame_index, label };
            let erase = tool == DrawTool::Eraser;
            self.stroke = Some(Stroke { mask, erase, pixels: Runs::default(), last: at, down: true });
            self.paint_to(at, on);
            return None;
        }
        let same =
            |draft: &Draft| draft.tool == tool && draft.instance == *on.instance && draft.frame == on.frame_index;
        match self.draft.as_mut().filter(|draft| same(draft)) {
            Some(draft) => {
                draft.fresh = tool == DrawTool::Shape(ShapeKind::Cobb) && draft.placed.len() == 2;
                if draft.fresh {
                    draft.placed.push(at);
                }
                (draft.cursor, draft.pressed_at, draft.slack, draft.down) = (at, at, slack, true);
            }
            None => {
                self.selected = None;
                self.draft = Some(Draft {
                    tool,
                    instance: on.instance.clone(),
                    frame: on.frame_index,
                    placed: vec![at],
                    cursor: at,
                    pressed_at: at,
                    slack,
                    down: true,
                    fresh: true,
                    wire: wire::Wire::default(),
                });
                if let Some(draft) = self.draft.as_mut().filter(|draft| draft.is_wire()) {
                    draft.begin_wire(on);
                }
            }
        }
        None
    }

    fn take_hold(&mut self, hit: Hit, at: Pixel, slack: f64, ctrl: bool, on: &Canvas<'_>) -> Option<Edit> {
        let shape = on.session.shapes.get(&hit.id)?;
        self.selected = Some(hit.id);
        let mut before = shape.pixels(&on.frame.display);
        let mut hit = hit;
        if ctrl && matches!(shape.kind, ShapeKind::Polygon | ShapeKind::Freehand) {
            match hit.part {
                Part::Point(index) if before.len() > 3 && index < before.len() => {
                    before.remove(index);
                    return Some(set(hit.id, shape, &before, on));
                }
                Part::Line(edge) => {
                    let place = (edge + 1).min(before.len());
                    before.insert(place, at);
                    hit.part = Part::Point(place);
                    self.grab =
                        Some(Grab { hit, start: at, slack, now: before.clone(), before, caption: None, moved: true });
                    return None;
                }
                _ => {}
            }
        }
        self.grab = Some(Grab { hit, start: at, slack, now: before.clone(), before, caption: None, moved: false });
        None
    }

    fn moved(&mut self, at: Pixel, on: &Canvas<'_>) {
        if let Some(clicks) = &mut self.clicks {
            clicks.go_on(at);
        }
        if let Some(growth) = self.growth.as_ref().filter(|growth| growth.down) {
            self.set_tolerance(growth.dragged(at));
        }
        if self.stroke.as_ref().is_some_and(|stroke| stroke.down) {
            self.paint_to(at, on);
        }
        if let Some(grab) = &mut self.grab
            && let Some(shape) = on.session.shapes.get(&grab.hit.id)
        {
            grab.moved |= apart(at, grab.start) > grab.slack;
            let step = (at.0 - grab.start.0, at.1 - grab.start.1);
            match grab.hit.part {
                Part::Caption(place) => grab.caption = Some((place.0 + step.0, place.1 + step.1)),
                Part::Line(_) => grab.now = grab.before.iter().map(|p| (p.0 + step.0, p.1 + step.1)).collect(),
                Part::Point(index) => {
                    grab.now = with_point_moved(shape.kind, &grab.before, index, at, on.scale());
                }
            }
        }
        if let Some(draft) = &mut self.draft {
            draft.cursor = at;
            if draft.is_wire() {
                draft.follow(at);
            }
            let freehand = draft.tool == DrawTool::Shape(ShapeKind::Freehand);
            if freehand && draft.down && draft.placed.last().is_none_or(|last| apart(*last, at) > draft.slack / 4.0) {
                draft.placed.push(at);
            }
        }
    }

    fn release(&mut self, at: Pixel, on: &Canvas<'_>) -> Option<Edit> {
        if let Some(growth) = &mut self.growth {
            growth.down = false;
        }
        if let Some(clicks) = &mut self.clicks {
            clicks.release();
        }
        if let Some(stroke) = self.stroke.take() {
            return strokes::edit_of(stroke, on);
        }
        if let Some(grab) = self.grab.take() {
            let shape = on.session.shapes.get(&grab.hit.id).filter(|_| grab.moved)?;
            return Some(match grab.caption {
                Some(place) => {
                    let caption_at = Some((round(place.0), round(place.1)));
                    Edit::SetShape { id: grab.hit.id, shape: Some(Box::new(Shape { caption_at, ..shape.clone() })) }
                }
                None => set(grab.hit.id, shape, &grab.now, on),
            });
        }
        let draft = self.draft.as_mut().filter(|draft| draft.down)?;
        draft.down = false;
        let moved = apart(at, draft.pressed_at) > draft.slack;
        let whole = match (draft.tool, draft.tool.places()) {
            (DrawTool::Shape(ShapeKind::Freehand), _) => true,
            (_, Some(1)) => {
                draft.placed = vec![at];
                true
            }
            (_, places) => {
                let closes = places.is_none()
                    && draft.placed.len() >= 3
                    && draft.placed.first().is_some_and(|first| apart(*first, at) <= 2.0 * draft.slack);
                match (closes, draft.is_wire()) {
                    (true, true) => draft.close_wire(),
                    (false, true) if !draft.fresh || moved => draft.anchor(at, on),
                    (false, false) if !draft.fresh || moved => draft.placed.push(at),
                    _ => {}
                }
                closes || places.is_some_and(|places| draft.placed.len() >= places)
            }
        };
        draft.fresh = false;
        if whole { self.finish(on) } else { None }
    }

    /// Key of the label that paint is given: the chosen one, else the first.
    pub fn label_or_first(&self) -> Option<&str> {
        self.label.as_deref().or_else(|| self.taxonomy.labels.first().map(|label| label.key.as_str()))
    }

    /// Lets go of a gesture under way, or of what is on offer; false where there is neither.
    pub fn cancel(&mut self) -> bool {
        let gesture = self.draft.is_some() || self.grab.is_some() || self.stroke.is_some() || self.entry.is_some();
        (self.draft, self.grab, self.stroke, self.entry) = (None, None, None, None);
        self.drop_offer() || gesture
    }

    /// Takes back the last vertex of a polygon that is being drawn, the last stroke of the smart tool, or what is on offer; false where there is neither.
    pub fn take_back(&mut self) -> bool {
        if let Some(clicks) = &mut self.clicks {
            if !clicks.take_back() {
                self.drop_offer();
            }
            return true;
        }
        let Some(draft) = &mut self.draft else { return self.drop_offer() };
        if draft.is_wire() {
            if !draft.unwind() {
                self.draft = None;
            }
            return true;
        }
        draft.placed.pop();
        if draft.placed.is_empty() {
            self.draft = None;
        }
        true
    }

    /// Whether the pointer belongs to a gesture under way.
    pub fn is_busy(&self) -> bool {
        self.draft.is_some() || self.grab.is_some() || self.stroke.is_some() || self.grows()
    }

    /// Whether the left button is down in a gesture of this room.
    pub fn is_down(&self) -> bool {
        self.grab.is_some()
            || self.stroke.is_some()
            || self.grows()
            || self.draft.as_ref().is_some_and(|draft| draft.down)
    }

    fn grows(&self) -> bool {
        self.growth.as_ref().is_some_and(|growth| growth.down) || self.clicks.as_ref().is_some_and(|clicks| clicks.down)
    }

    /// A shape as it is to be shown while it is moved or bent.
    pub fn shown(&self, id: ShapeId, shape: &Shape, on: &Canvas<'_>) -> Shape {
        let mut shown = shape.clone();
        if let Some(grab) = self.grab.as_ref().filter(|grab| grab.hit.id == id && grab.moved) {
            match grab.caption {
                Some(place) => shown.caption_at = Some(place),
                None => shown.set_pixels(&grab.now, &on.frame.display),
            }
        }
        shown
    }
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn set(id: ShapeId, shape: &Shape, points: &[Pixel], on: &Canvas<'_>) -> Edit {
    let mut changed = shape.clone();
    changed.set_pixels(points, &on.frame.display);
    Edit::SetShape { id, shape: Some(Box::new(changed)) }
}

#[cfg(test)]
mod tests;
