//! What a viewport shows of a series: slice, window, zoom, pan, rotation. Shared by both lenses, so that they are linked.
//!
//! This is view state, not document state: it is not undoable.

use bifocal_core::render::{Placement, Preset, ViewTransform};
use bifocal_core::study::{DisplayAttributes, Window};
use eframe::egui::{Pos2, Rect, Vec2, pos2, vec2};

use crate::drawing::DrawTool;

/// A place on the image, pixels: the centre of the first pixel is (0, 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImagePoint {
    /// Down.
    pub row: f32,
    /// To the right.
    pub column: f32,
}

impl ImagePoint {
    /// The pixel that holds the point, if it lies on an image of that shape.
    pub fn pixel(&self, (rows, columns): (usize, usize)) -> Option<(usize, usize)> {
        let (row, column) = (self.row.round(), self.column.round());
        let inside = row >= 0.0 && column >= 0.0 && row < rows as f32 && column < columns as f32;
        inside.then_some((row as usize, column as usize))
    }
}

/// Which window is used.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum WindowChoice {
    /// What the file asks for, frame by frame; automatic where it asks for nothing.
    #[default]
    FromFile,
    /// The second, third, ... window of the file.
    FileWindow(usize),
    /// From the values of the frame.
    Auto,
    /// A preset, or dragged by hand.
    Fixed(Window),
}

/// Digit key of the first fixed preset; the others follow.
pub const FIRST_PRESET_DIGIT: u8 = 3;

impl WindowChoice {
    /// The choice behind a digit key, for values in `units`.
    pub fn preset(digit: u8, units: &str) -> Option<Self> {
        match digit {
            0 => Some(Self::Auto),
            1 => Some(Self::FromFile),
            2 => Some(Self::FileWindow(1)),
            _ => {
                let index = digit.checked_sub(FIRST_PRESET_DIGIT)?;
                Preset::of_units(units).get(usize::from(index)).map(|preset| Self::Fixed(preset.window()))
            }
        }
    }
}

/// What the left mouse button does on an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tool {
    /// Right widens, up brightens.
    #[default]
    Window,
    /// Up enlarges.
    Zoom,
    /// Moves the image.
    Pan,
    /// Down goes on through the series.
    Scroll,
    /// Measures, annotates or paints.
    Draw(DrawTool),
}

/// A series playing by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cine {
    /// Frames a second.
    pub frames_per_second: f32,
    /// Time of the last step, seconds since the window opened.
    pub last_step: f64,
}

/// The view that both lenses share.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewState {
    /// Scroll position in the series, from 0.
    pub position: usize,
    /// Window in use.
    pub window: WindowChoice,
    /// Zoom, pan, quarter turns and flips.
    pub transform: ViewTransform,
    /// Black and white exchanged.
    pub inverted: bool,
    /// Whether heat maps, contours and attention are drawn.
    pub overlays: bool,
    /// Where the linked crosshair stands.
    pub crosshair: Option<ImagePoint>,
    /// Whether a crosshair is drawn.
    pub show_crosshair: bool,
    /// Playing, or not.
    pub cine: Option<Cine>,
}

impl Default for ViewState {
    fn default() -> Self {
        Self {
            position: 0,
            window: WindowChoice::default(),
            transform: ViewTransform::default(),
            inverted: false,
            overlays: true,
            crosshair: None,
            show_crosshair: false,
            cine: None,
        }
    }
}

/// One change of a view, sent by viewports and keys.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewEdit {
    /// Goes to a position, from 0.
    Position(usize),
    /// Goes on by so many images, not beyond the ends.
    Step(i64),
    /// Uses another window.
    Window(WindowChoice),
    /// Multiplies the zoom, holding what lies at a point of the pane in its place.
    Zoom {
        /// Above 1 enlarges.
        factor: f32,
        /// The point, from the pane's top left corner.
        at: Vec2,
        /// Size of the pane.
        pane: Vec2,
    },
    /// Moves the image by so many points.
    Pan {
        /// To the right and down.
        delta: Vec2,
        /// Size of the pane.
        pane: Vec2,
    },
    /// Sets zoom, pan, turns and flips at once.
    Transform(ViewTransform),
    /// A quarter turn clockwise.
    Rotate,
    /// Mirrors left and right as seen.
    FlipHorizontal,
    /// Mirrors top and bottom as seen.
    FlipVertical,
    /// Exchanges black and white.
    Invert,
    /// Shows or hides overlays.
    ToggleOverlays,
    /// Shows or hides the crosshair.
    ToggleCrosshair,
    /// Moves the crosshair.
    Crosshair(ImagePoint),
    /// Starts or stops playing.
    ToggleCine,
    /// Sets the speed of playing.
    CineSpeed(f32),
    /// Everything but the position back to its default.
    Reset,
}

impl ViewState {
    /// Applies a change to the view of a series of `frames` images; `now` in seconds.
    pub fn apply(&mut self, edit: ViewEdit, frames: usize, now: f64) {
        let last = frames.saturating_sub(1);
        match edit {
            ViewEdit::Position(position) => self.position = position.min(last),
            ViewEdit::Step(step) => {
                let wanted = self.position as i64 + step;
                self.position = wanted.clamp(0, last as i64) as usize;
            }
            ViewEdit::Window(window) => self.window = window,
            ViewEdit::Zoom { factor, at, pane } => {
                let size = (f64::from(pane.x), f64::from(pane.y));
                self.transform.zoom_about(f64::from(factor), f64::from(at.x), f64::from(at.y), size);
            }
            ViewEdit::Pan { delta, pane } => {
                let size = (f64::from(pane.x), f64::from(pane.y));
                self.transform.pan_by(f64::from(delta.x), f64::from(delta.y), size);
            }
            ViewEdit::Transform(transform) => self.transform = transform,
            ViewEdit::Rotate => self.transform.rotate_clockwise(),
            ViewEdit::FlipHorizontal => self.transform.flip_horizontal(),
            ViewEdit::FlipVertical => self.transform.flip_vertical(),
            ViewEdit::Invert => self.inverted = !self.inverted,
            ViewEdit::ToggleOverlays => self.overlays = !self.overlays,
            ViewEdit::ToggleCrosshair => self.show_crosshair = !self.show_crosshair,
            ViewEdit::Crosshair(point) => self.crosshair = Some(point),
            ViewEdit::ToggleCine => {
                self.cine = match self.cine {
                    None if frames > 1 => Some(Cine { frames_per_second: 12.0, last_step: now }),
                    _ => None,
                }
            }
            ViewEdit::CineSpeed(speed) => {
                if let Some(cine) = &mut self.cine {
                    cine.frames_per_second = speed.clamp(1.0, 60.0);
                }
            }
            ViewEdit::Reset => {
                *self = Self { position: self.position, overlays: self.overlays, ..Self::default() };
            }
        }
    }

    /// Moves a playing series on to where it should be at `now`; returns the seconds until its next image.
    pub fn play(&mut self, frames: usize, now: f64) -> Option<f64> {
        let cine = self.cine.as_mut()?;
        if frames < 2 {
            self.cine = None;
            return None;
        }
        let interval = 1.0 / f64::from(cine.frames_per_second);
        let steps = ((now - cine.last_step) / interval).floor();
        if steps >= 1.0 {
            // After a pause (a hidden window) go on from here instead of catching up.
            let steps = if steps > 4.0 { 1.0 } else { steps };
            self.position = (self.position + steps as usize) % frames;
            cine.last_step = if steps > 4.0 { now } else { cine.last_step + steps * interval };
            if now - cine.last_step > interval {
                cine.last_step = now;
            }
        }
        Some((cine.last_step + interval - now).max(0.001))
    }
}

/// The map from image pixels to points of the window, for one pane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScreenFromImage {
    placement: Placement,
    pane: Rect,
}

impl ScreenFromImage {
    /// The map for an image of `shape` (rows, columns) in `pane`.
    pub fn new(view: &ViewState, shape: (usize, usize), display: &DisplayAttributes, pane: Rect) -> Self {
        let size = (f64::from(pane.width()), f64::from(pane.height()));
        Self { placement: Placement::of_frame(&view.transform, shape, display, size), pane }
    }

    /// Where an image point is drawn.
    pub fn point(&self, point: ImagePoint) -> Pos2 {
        self.row_column((point.row, point.column))
    }

    /// Where a (row, column) pair is drawn.
    pub fn row_column(&self, (row, column): (f32, f32)) -> Pos2 {
        self.at(self.placement.screen_from_image(f64::from(row), f64::from(column)))
    }

    /// The image point under a screen position.
    pub fn image_point(&self, position: Pos2) -> ImagePoint {
        let from_corner = position - self.pane.min;
        let (row, column) = self.placement.image_from_screen(f64::from(from_corner.x), f64::from(from_corner.y));
        ImagePoint { row: row as f32, column: column as f32 }
    }

    /// Corners of an image of `shape` (rows, columns): top left, top right, bottom right, bottom left of the image.
    pub fn corners(&self, shape: (usize, usize)) -> [Pos2; 4] {
        self.placement.corners(shape).map(|corner| self.at(corner))
    }

    /// Screen points per column.
    pub fn points_per_column(&self) -> f32 {
        self.placement.points_per_column() as f32
    }

    /// Screen points per millimetre, where the spacing is known (else per column).
    pub fn points_per_mm(&self) -> f64 {
        self.placement.scale()
    }

    /// The pane.
    pub fn pane(&self) -> Rect {
        self.pane
    }

    fn at(&self, (x, y): (f64, f64)) -> Pos2 {
        self.pane.min + vec2(x as f32, y as f32)
    }
}

/// The pane's corner that is `margin` inside, by horizontal and vertical side.
pub fn corner(pane: Rect, right: bool, bottom: bool, margin: f32) -> Pos2 {
    pos2(
        if right { pane.right() - margin } else { pane.left() + margin },
        if bottom { pane.bottom() - margin } else { pane.top() + margin },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_relative_to_the_pane() {
        let pane = Rect::from_min_size(pos2(10.0, 20.0), vec2(400.0, 300.0));
        let map = ScreenFromImage::new(&ViewState::default(), (100, 100), &DisplayAttributes::default(), pane);
        let [a, _, c, _] = map.corners((100, 100));
        assert!((a - pos2(60.0, 20.0)).length() < 1e-3, "{a:?}");
        assert!((c - pos2(360.0, 320.0)).length() < 1e-3, "{c:?}");
        let point = ImagePoint { row: 12.0, column: 41.0 };
        let back = map.image_point(map.point(point));
        assert!((back.row - point.row).abs() < 1e-3 && (back.column - point.column).abs() < 1e-3);
    }

    #[test]
    fn zoom_holds_what_is_under_the_pointer() {
        let pane = Rect::from_min_size(pos2(0.0, 0.0), vec2(400.0, 300.0));
        let under = |view: &ViewState| {
            ScreenFromImage::new(view, (90, 70), &DisplayAttributes::default(), pane).image_point(pos2(120.0, 80.0))
        };
        let mut view = ViewState::default();
        let before = under(&view);
        view.apply(ViewEdit::Zoom { factor: 3.0, at: vec2(120.0, 80.0), pane: pane.size() }, 1, 0.0);
        let after = under(&view);
        assert!((after.row - before.row).abs() < 1e-2 && (after.column - before.column).abs() < 1e-2);
    }

    #[test]
    fn pixels_end_at_the_edge() {
        let at = |row, column| ImagePoint { row, column }.pixel((10, 20));
        assert_eq!(at(-0.4, 19.4), Some((0, 19)));
        assert_eq!(at(9.6, 0.0), None);
        assert_eq!(at(f32::NAN, 0.0), None);
    }

    #[test]
    fn steps_stop_at_the_ends() {
        let mut view = ViewState::default();
        view.apply(ViewEdit::Step(-3), 5, 0.0);
        assert_eq!(view.position, 0);
        view.apply(ViewEdit::Step(10), 5, 0.0);
        assert_eq!(view.position, 4);
        view.apply(ViewEdit::Step(1), 0, 0.0);
        assert_eq!(view.position, 0);
    }

    #[test]
    fn cine_keeps_time_and_goes_round() {
        let mut view = ViewState { position: 3, ..ViewState::default() };
        view.apply(ViewEdit::ToggleCine, 4, 10.0);
        view.apply(ViewEdit::CineSpeed(10.0), 4, 10.0);
        assert!(view.play(4, 10.05).is_some_and(|wait| (wait - 0.05).abs() < 1e-6));
        assert_eq!(view.position, 3);
        view.play(4, 10.11);
        assert_eq!(view.position, 0);
        view.apply(ViewEdit::ToggleCine, 4, 11.0);
        assert_eq!(view.play(4, 12.0), None);
    }

    #[test]
    fn presets_are_those_of_the_reading_room() {
        let Some(WindowChoice::Fixed(lung)) = WindowChoice::preset(7, "HU") else { panic!("no lung preset") };
        assert_eq!((lung.center, lung.width), (-500.0, 1500.0));
        assert_eq!(WindowChoice::preset(0, ""), Some(WindowChoice::Auto));
        assert_eq!(WindowChoice::preset(7, ""), None, "what is air on one scanner is fat on the other");
        assert_eq!(WindowChoice::preset(9, "HU"), None);
    }
}
