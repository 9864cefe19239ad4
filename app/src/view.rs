//! What a viewport shows of a series: slice, window, zoom, pan, rotation. Shared by both lenses, so that they are linked.
//!
//! This is view state, not document state: it is not undoable.

use bifocal_core::study::{Frame, PixelSpacing, Window};
use eframe::egui::{Pos2, Rect, Vec2, pos2, vec2};

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

/// A window preset on a digit.
pub struct Preset {
    /// The digit.
    pub digit: u8,
    /// Its name.
    pub name: &'static str,
    /// Width and centre, Hounsfield units.
    pub width_center: (f64, f64),
}

/// Presets with fixed values (digits 0 to 2 come from the image).
pub const PRESETS: &[Preset] = &[
    Preset { digit: 3, name: "Brain", width_center: (110.0, 35.0) },
    Preset { digit: 4, name: "Abdomen", width_center: (320.0, 50.0) },
    Preset { digit: 5, name: "Mediastinum", width_center: (400.0, 80.0) },
    Preset { digit: 6, name: "Bone", width_center: (2000.0, 350.0) },
    Preset { digit: 7, name: "Lung", width_center: (1500.0, -500.0) },
];

impl WindowChoice {
    /// The choice behind a digit key.
    pub fn preset(digit: u8) -> Option<Self> {
        match digit {
            0 => Some(Self::Auto),
            1 => Some(Self::FromFile),
            2 => Some(Self::FileWindow(1)),
            _ => PRESETS.iter().find(|preset| preset.digit == digit).map(|preset| {
                let (width, center) = preset.width_center;
                Self::Fixed(Window { name: preset.name.to_owned(), ..Window::linear(center, width) })
            }),
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
    /// Enlargement; 1 fits the image into its pane.
    pub zoom: f32,
    /// Where the middle of the pane lies, image pixels (right, down) from the middle of the image.
    pub pan: Vec2,
    /// Quarter turns clockwise, 0 to 3.
    pub quarter_turns: u8,
    /// Mirrored left and right, after the rotation.
    pub flip_horizontal: bool,
    /// Mirrored top and bottom, after the rotation.
    pub flip_vertical: bool,
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
            zoom: 1.0,
            pan: Vec2::ZERO,
            quarter_turns: 0,
            flip_horizontal: false,
            flip_vertical: false,
            inverted: false,
            overlays: true,
            crosshair: None,
            show_crosshair: false,
            cine: None,
        }
    }
}

/// Least and greatest enlargement.
const ZOOM_RANGE: (f32, f32) = (0.1, 64.0);

/// One change of a view, sent by viewports and keys.
#[derive(Debug, Clone, PartialEq)]
pub enum ViewEdit {
    /// Goes to a position, from 0.
    Position(usize),
    /// Goes on by so many images, not beyond the ends.
    Step(i64),
    /// Uses another window.
    Window(WindowChoice),
    /// Multiplies the zoom, holding an image point (pixels from the middle of the image) in its place.
    Zoom {
        /// Above 1 enlarges.
        factor: f32,
        /// The point that stays where it is.
        anchor: Vec2,
    },
    /// Moves the middle of the pane by image pixels.
    Pan(Vec2),
    /// Sets the middle of the pane on an image point (pixels from the middle of the image).
    Center(Vec2),
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
            ViewEdit::Zoom { factor, anchor } => {
                let before = self.zoom;
                self.zoom = (before * factor).clamp(ZOOM_RANGE.0, ZOOM_RANGE.1);
                self.pan += (anchor - self.pan) * (1.0 - before / self.zoom);
            }
            ViewEdit::Pan(delta) => self.pan += delta,
            ViewEdit::Center(place) => self.pan = place,
            ViewEdit::Rotate => self.quarter_turns = (self.quarter_turns + 1) % 4,
            ViewEdit::FlipHorizontal => self.flip_horizontal = !self.flip_horizontal,
            ViewEdit::FlipVertical => self.flip_vertical = !self.flip_vertical,
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
    /// Screen vector of one column.
    column_axis: Vec2,
    /// Screen vector of one row.
    row_axis: Vec2,
    /// Screen position of the centre of the first pixel.
    origin: Pos2,
}

impl ScreenFromImage {
    /// The map for an image of `shape` (rows, columns) in `pane`, with pixels as tall and wide as `spacing` says.
    pub fn new(view: &ViewState, shape: (usize, usize), spacing: Option<PixelSpacing>, pane: Rect) -> Self {
        let (rows, columns) = (shape.0.max(1) as f32, shape.1.max(1) as f32);
        let (height, width) = pixel_aspect(spacing);
        let (mut full_width, mut full_height) = (columns * width, rows * height);
        if view.quarter_turns % 2 == 1 {
            std::mem::swap(&mut full_width, &mut full_height);
        }
        let fit = (pane.width() / full_width).min(pane.height() / full_height).max(1e-6);
        let scale = fit * view.zoom;
        let turn = |v: Vec2| {
            let mut v = v;
            for _ in 0..view.quarter_turns % 4 {
                v = vec2(-v.y, v.x);
            }
            vec2(if view.flip_horizontal { -v.x } else { v.x }, if view.flip_vertical { -v.y } else { v.y })
        };
        let column_axis = turn(vec2(width * scale, 0.0));
        let row_axis = turn(vec2(0.0, height * scale));
        let middle = vec2((columns - 1.0) / 2.0, (rows - 1.0) / 2.0) + view.pan;
        let origin = pane.center() - column_axis * middle.x - row_axis * middle.y;
        Self { column_axis, row_axis, origin }
    }

    /// Where an image point is drawn.
    pub fn point(&self, point: ImagePoint) -> Pos2 {
        self.origin + self.column_axis * point.column + self.row_axis * point.row
    }

    /// Where a (row, column) pair is drawn.
    pub fn row_column(&self, (row, column): (f32, f32)) -> Pos2 {
        self.point(ImagePoint { row, column })
    }

    /// The image point under a screen position.
    pub fn image_point(&self, position: Pos2) -> ImagePoint {
        let d = self.image_vector(position - self.origin);
        ImagePoint { row: d.y, column: d.x }
    }

    /// A screen vector in image pixels: (columns, rows).
    pub fn image_vector(&self, v: Vec2) -> Vec2 {
        // The axes are at right angles and parallel to the screen's, so each is undone by itself.
        vec2(v.dot(self.column_axis) / self.column_axis.length_sq(), v.dot(self.row_axis) / self.row_axis.length_sq())
    }

    /// Corners of an image of `shape` (rows, columns): top left, top right, bottom right, bottom left of the image.
    pub fn corners(&self, (rows, columns): (usize, usize)) -> [Pos2; 4] {
        let (bottom, right) = (rows as f32 - 0.5, columns as f32 - 0.5);
        [(-0.5, -0.5), (-0.5, right), (bottom, right), (bottom, -0.5)].map(|corner| self.row_column(corner))
    }

    /// Screen points per column and per row.
    pub fn points_per_pixel(&self) -> Vec2 {
        vec2(self.column_axis.length(), self.row_axis.length())
    }

    /// The image direction (columns, rows) that points to the right of the screen, and the one that points down.
    pub fn screen_directions(&self) -> [(f64, f64); 2] {
        [vec2(1.0, 0.0), vec2(0.0, 1.0)].map(|direction| {
            let v = self.image_vector(direction);
            let v = v / v.length().max(1e-9);
            (f64::from(v.x).round(), f64::from(v.y).round())
        })
    }
}

/// Height and width of a pixel on the screen, the smaller one 1.
fn pixel_aspect(spacing: Option<PixelSpacing>) -> (f32, f32) {
    let Some(spacing) = spacing else { return (1.0, 1.0) };
    let ratio = (spacing.row_mm / spacing.column_mm) as f32;
    if !ratio.is_finite() || !(0.05..=20.0).contains(&ratio) {
        return (1.0, 1.0);
    }
    if ratio >= 1.0 { (ratio, 1.0) } else { (1.0, 1.0 / ratio) }
}

/// Pixels from the middle of a frame to `point`: what [`ViewEdit::Zoom`] and [`ViewEdit::Center`] take.
pub fn from_middle(point: ImagePoint, frame: &Frame) -> Vec2 {
    let (rows, columns) = frame.shape();
    vec2(point.column - (columns as f32 - 1.0) / 2.0, point.row - (rows as f32 - 1.0) / 2.0)
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
    use bifocal_core::study::SpacingKind;

    use super::*;

    fn pane() -> Rect {
        Rect::from_min_size(pos2(10.0, 20.0), vec2(400.0, 300.0))
    }

    #[test]
    fn fits_and_centres() {
        let map = ScreenFromImage::new(&ViewState::default(), (100, 100), None, pane());
        let [a, _, c, _] = map.corners((100, 100));
        assert!((a.to_vec2() - vec2(60.0, 20.0)).length() < 1e-3, "{a:?}");
        assert!((c.to_vec2() - vec2(360.0, 320.0)).length() < 1e-3, "{c:?}");
    }

    #[test]
    fn screen_and_image_are_inverse() {
        let spacing = Some(PixelSpacing { row_mm: 2.0, column_mm: 0.7, kind: SpacingKind::Patient });
        for turns in 0..4 {
            for flips in 0..4 {
                let view = ViewState {
                    zoom: 2.5,
                    pan: vec2(7.0, -3.0),
                    quarter_turns: turns,
                    flip_horizontal: flips & 1 == 1,
                    flip_vertical: flips & 2 == 2,
                    ..ViewState::default()
                };
                let map = ScreenFromImage::new(&view, (80, 60), spacing, pane());
                let point = ImagePoint { row: 12.0, column: 41.0 };
                let back = map.image_point(map.point(point));
                assert!((back.row - point.row).abs() < 1e-2 && (back.column - point.column).abs() < 1e-2);
            }
        }
    }

    #[test]
    fn zoom_holds_its_anchor() {
        let mut view = ViewState { pan: vec2(5.0, 5.0), ..ViewState::default() };
        let anchor = vec2(20.0, -10.0);
        let place = |view: &ViewState| (anchor - view.pan) * view.zoom;
        let before = place(&view);
        view.apply(ViewEdit::Zoom { factor: 3.0, anchor }, 1, 0.0);
        assert!((place(&view) - before).length() < 1e-3);
    }

    #[test]
    fn rotation_turns_the_top_to_the_right() {
        let view = ViewState { quarter_turns: 1, ..ViewState::default() };
        let map = ScreenFromImage::new(&view, (100, 100), None, pane());
        let top = map.row_column((-0.5, 49.5));
        assert!(top.x > pane().center().x + 100.0, "{top:?}");
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
        let Some(WindowChoice::Fixed(lung)) = WindowChoice::preset(7) else { panic!("no lung preset") };
        assert_eq!((lung.center, lung.width), (-500.0, 1500.0));
        assert_eq!(WindowChoice::preset(0), Some(WindowChoice::Auto));
        assert_eq!(WindowChoice::preset(9), None);
    }
}
