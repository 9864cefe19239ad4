use bifocal_core::annotation::{Document, Points, Session};
use bifocal_core::study::{DisplayAttributes, GrayPixels, PixelSpacing, Pixels, SeriesUid, SpacingKind};
use ndarray::Array2;

use super::drafts::millimetres;
use super::*;

struct Desk {
    drawing: Drawing,
    document: Document,
    frame: Frame,
    instance: InstanceKey,
}

impl Desk {
    fn new(spacing: Option<SpacingKind>) -> Self {
        let spacing = spacing.map(|kind| PixelSpacing { row_mm: 0.5, column_mm: 0.5, kind });
        let pixels = Pixels::Gray(GrayPixels::I16(Array2::from_shape_fn((100, 100), |(_, c)| c as i16)));
        let frame = Frame { pixels, display: DisplayAttributes { spacing, ..DisplayAttributes::default() } };
        let session = Session::new(SeriesUid("1".into()), String::new());
        let (document, instance) = (Document::new(session), InstanceKey("1.2".into()));
        Self { drawing: Drawing::default(), document, frame, instance }
    }

    fn send(&mut self, tool: Option<DrawTool>, event: Pointer) -> bool {
        let session = self.document.session().clone();
        let on = Canvas { instance: &self.instance, frame_index: 0, frame: &self.frame, session: &session };
        let edit = self.drawing.pointer(event, tool, &on);
        edit.is_some_and(|edit| self.document.apply(edit))
    }

    fn press(&mut self, tool: DrawTool, at: Pixel) {
        self.send(Some(tool), Pointer::Press { at, slack: 1.0, hit: None, ctrl: false });
    }

    fn drag(&mut self, tool: DrawTool, from: Pixel, to: Pixel) -> bool {
        self.press(tool, from);
        self.send(Some(tool), Pointer::Move(((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0)));
        self.send(Some(tool), Pointer::Release(to))
    }

    fn click(&mut self, tool: DrawTool, at: Pixel) -> bool {
        self.press(tool, at);
        self.send(Some(tool), Pointer::Release(at))
    }

    fn grab(&mut self, hit: Hit, from: Pixel, to: Pixel, ctrl: bool) -> bool {
        let pressed = self.send(None, Pointer::Press { at: from, slack: 1.0, hit: Some(hit), ctrl });
        self.send(None, Pointer::Move(to));
        self.send(None, Pointer::Release(to)) || pressed
    }

    fn shapes(&self) -> Vec<Shape> {
        self.document.session().shapes.values().cloned().collect()
    }

    fn points(&self, index: usize) -> Vec<Pixel> {
        self.shapes()[index].pixels(&self.frame.display)
    }

    fn entry(&mut self, text: &str) -> bool {
        let session = self.document.session().clone();
        let on = Canvas { instance: &self.instance, frame_index: 0, frame: &self.frame, session: &session };
        self.drawing.entry.as_mut().expect("a field").text = text.to_owned();
        let edit = self.drawing.entry_done(&on);
        edit.is_some_and(|edit| self.document.apply(edit))
    }
}

/// Draws one shape of a kind as a reader would; each gesture is one step of undo.
fn draw(desk: &mut Desk, kind: ShapeKind) {
    let tool = DrawTool::Shape(kind);
    let made = match kind {
        ShapeKind::Point => desk.click(tool, (20.0, 30.0)),
        ShapeKind::Text => {
            desk.click(tool, (20.0, 30.0));
            desk.entry("old granuloma")
        }
        ShapeKind::Angle => {
            assert!(!desk.drag(tool, (10.0, 10.0), (30.0, 10.0)));
            desk.click(tool, (30.0, 40.0))
        }
        ShapeKind::Cobb => {
            assert!(!desk.drag(tool, (10.0, 10.0), (10.0, 40.0)));
            desk.drag(tool, (50.0, 10.0), (60.0, 40.0))
        }
        ShapeKind::Polygon => {
            for at in [(10.0, 10.0), (10.0, 40.0), (40.0, 40.0)] {
                assert!(!desk.click(tool, at));
            }
            desk.click(tool, (10.5, 10.5))
        }
        ShapeKind::Freehand => {
            desk.press(tool, (50.0, 20.0));
            for step in 1..64 {
                let turn = f64::from(step) / 10.0;
                desk.send(Some(tool), Pointer::Move((50.0 - 20.0 * turn.sin(), 40.0 - 20.0 * turn.cos())));
            }
            desk.send(Some(tool), Pointer::Release((50.0, 20.5)))
        }
        _ => desk.drag(tool, (10.0, 10.0), (40.0, 50.0)),
    };
    assert!(made, "{kind:?} was drawn");
}

#[test]
fn every_tool_makes_one_step_that_is_undone_and_redone() {
    for kind in ShapeKind::ALL {
        let mut desk = Desk::new(Some(SpacingKind::Patient));
        let before = desk.document.session().clone();
        draw(&mut desk, kind);
        let after = desk.document.session().clone();
        assert_eq!(desk.shapes().len(), 1, "{kind:?}");
        assert!(desk.shapes()[0].is_whole(), "{kind:?}");
        assert!(desk.document.undo());
        assert_eq!(desk.document.session(), &before, "{kind:?}");
        assert!(!desk.document.can_undo(), "{kind:?} is one step");
        assert!(desk.document.redo());
        assert_eq!(desk.document.session(), &after, "{kind:?}");
        // Moved, undone.
        let at = desk.points(0)[0];
        let hit = Hit { id: desk.drawing.selected.expect("selected"), part: Part::Line(0) };
        assert!(desk.grab(hit, at, (at.0 + 5.0, at.1 + 3.0), false));
        assert!((desk.points(0)[0].0 - at.0 - 5.0).abs() < 1e-5, "{kind:?} has moved");
        assert!(desk.document.undo());
        assert_eq!(desk.document.session(), &after, "{kind:?}");
    }
}

#[test]
fn clicking_twice_draws_like_dragging() {
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    let tool = DrawTool::Shape(ShapeKind::Length);
    assert!(!desk.click(tool, (10.0, 10.0)));
    assert!(desk.drawing.draft.is_some());
    assert!(desk.click(tool, (10.0, 60.0)));
    assert_eq!(desk.points(0), [(10.0, 10.0), (10.0, 60.0)]);
    assert!(desk.drawing.draft.is_none());
}

#[test]
fn nothing_is_made_of_nothing_and_escape_lets_go() {
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    desk.click(DrawTool::Shape(ShapeKind::Rectangle), (10.0, 10.0));
    desk.click(DrawTool::Shape(ShapeKind::Rectangle), (10.0, 10.0));
    assert!(desk.shapes().is_empty());
    desk.click(DrawTool::Shape(ShapeKind::Polygon), (10.0, 10.0));
    assert!(desk.drawing.cancel() && !desk.drawing.cancel());
    desk.press(DrawTool::Brush, (10.0, 10.0));
    assert!(desk.drawing.cancel());
    desk.send(Some(DrawTool::Brush), Pointer::Release((10.0, 10.0)));
    assert!(desk.document.session().masks.is_empty() && !desk.document.can_undo());
}

#[test]
fn vertices_are_put_in_moved_and_taken_out() {
    let mut desk = Desk::new(None);
    draw(&mut desk, ShapeKind::Polygon);
    assert!(desk.drawing.message.take().is_some_and(|(_, text)| text.contains("no pixel spacing")));
    let id = desk.drawing.selected.expect("selected");
    assert!(desk.grab(Hit { id, part: Part::Line(2) }, (25.0, 25.0), (30.0, 15.0), true));
    assert_eq!(desk.points(0), [(10.0, 10.0), (10.0, 40.0), (40.0, 40.0), (30.0, 15.0)]);
    assert!(desk.grab(Hit { id, part: Part::Point(1) }, (10.0, 40.0), (12.0, 44.0), false));
    assert_eq!(desk.points(0)[1], (12.0, 44.0));
    assert!(desk.grab(Hit { id, part: Part::Point(0) }, (10.0, 10.0), (10.0, 10.0), true));
    assert_eq!(desk.points(0).len(), 3);
    assert!(!desk.grab(Hit { id, part: Part::Point(0) }, (12.0, 44.0), (12.0, 44.0), true), "three are the least");
    for _ in 0..4 {
        assert!(desk.document.undo());
    }
    assert!(desk.shapes().is_empty());
}

#[test]
fn a_caption_stays_where_it_was_put() {
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    draw(&mut desk, ShapeKind::Length);
    let id = desk.drawing.selected.expect("selected");
    assert!(desk.grab(Hit { id, part: Part::Caption((50.0, 60.0)) }, (51.0, 61.0), (71.0, 11.0), false));
    assert_eq!(desk.shapes()[0].caption_at, Some((70.0, 10.0)));
    assert_eq!(desk.points(0), [(10.0, 10.0), (40.0, 50.0)], "the line itself has not moved");
}

#[test]
fn a_line_calibrates_what_the_file_does_not_know() {
    let mut desk = Desk::new(None);
    desk.drag(DrawTool::Calibrate, (10.0, 10.0), (10.0, 60.0));
    assert!(!desk.entry("abc"));
    assert!(desk.drawing.message.take().is_some());
    desk.drag(DrawTool::Calibrate, (10.0, 10.0), (10.0, 60.0));
    assert!(desk.entry("2,5 cm"));
    let spacing = desk.document.session().calibrations.get(&desk.instance).copied().expect("calibrated");
    assert_eq!((spacing.row_mm, spacing.column_mm), (0.5, 0.5));
    assert!(desk.document.undo() && desk.document.session().calibrations.is_empty());
    let mut known = Desk::new(Some(SpacingKind::Patient));
    known.drag(DrawTool::Calibrate, (10.0, 10.0), (10.0, 60.0));
    assert!(known.drawing.entry.is_none());
    assert!(known.drawing.message.take().is_some_and(|(_, text)| text.contains("only make that wrong")));
}

#[test]
fn strokes_paint_erase_and_keep_to_the_range() {
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    desk.drawing.brush = BrushSettings { radius: 3.0, range: Some((20.0, 29.0)) };
    assert!(desk.drag(DrawTool::Brush, (50.0, 10.0), (50.0, 60.0)));
    let mask = desk.document.session().masks.values().next().cloned().expect("painted");
    assert!(mask.pixels().all(|pixel| (20..30).contains(&(pixel % 100))), "only values in the range");
    // 6 mm are 12 pixels up and down of 0.5 mm: 13 rows of 10 columns.
    assert_eq!(mask.count(), 130);
    assert!(!desk.drag(DrawTool::Brush, (50.0, 10.0), (50.0, 60.0)), "the same again is no step");
    desk.drawing.brush.radius = 1.0;
    assert!(desk.drag(DrawTool::Eraser, (50.0, 25.0), (50.0, 25.0)));
    let less = desk.document.session().masks.values().next().cloned().expect("painted");
    assert!(less.count() < 130 && !less.contains(50 * 100 + 25));
    assert!(desk.document.undo());
    assert_eq!(desk.document.session().masks.values().next(), Some(&mask));
    assert!(desk.document.undo() && desk.document.session().masks.is_empty());
}

#[test]
fn a_large_brush_on_a_large_radiograph_keeps_thirty_frames_a_second() {
    let mut desk = Desk::new(Some(SpacingKind::Detector));
    let pixels = Array2::from_shape_fn((3000, 3000), |(r, c)| ((r * 31 + c * 17) % 4096) as i16);
    desk.frame.pixels = Pixels::Gray(GrayPixels::I16(pixels));
    // 25 mm of 0.5 mm: a disc of 100 pixels across, over values that keep every other pixel out.
    desk.drawing.brush = BrushSettings { radius: 25.0, range: Some((0.0, 2047.0)) };
    let session = desk.document.session().clone();
    let on = Canvas { instance: &desk.instance, frame_index: 0, frame: &desk.frame, session: &session };
    let tool = Some(DrawTool::Brush);
    desk.drawing.pointer(Pointer::Press { at: (200.0, 200.0), slack: 1.0, hit: None, ctrl: false }, tool, &on);
    let start = std::time::Instant::now();
    let steps = 100;
    for step in 0..steps {
        let along = f64::from(step) * 20.0;
        desk.drawing.pointer(Pointer::Move((200.0 + along, 300.0 + along)), tool, &on);
    }
    let each = start.elapsed().as_secs_f64() / f64::from(steps);
    println!("{:.2} ms a step of the brush", each * 1e3);
    assert!(desk.drawing.stroke.as_ref().is_some_and(|stroke| stroke.pixels.count() > 100_000));
    assert!(each < 1.0 / 30.0, "{each} s a step");
}

#[test]
fn points_are_in_the_patient_where_the_frame_is() {
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    desk.frame.display.geometry = Some(bifocal_core::study::PlaneGeometry {
        position: [1.0, 2.0, 3.0],
        row_direction: [1.0, 0.0, 0.0],
        column_direction: [0.0, 0.0, -1.0],
    });
    draw(&mut desk, ShapeKind::Length);
    let expected = vec![[6.0, 2.0, -2.0], [26.0, 2.0, -17.0]];
    assert_eq!(desk.shapes()[0].points, Points::Patient(expected));
}

#[test]
fn lengths_are_typed_as_people_write_them() {
    for (text, mm) in [("25", Some(25.0)), (" 25 mm", Some(25.0)), ("2,5cm", Some(25.0)), ("-3", None), ("x", None)] {
        assert_eq!(millimetres(text), mm, "{text}");
    }
}

#[test]
fn a_region_grows_wider_by_dragging_and_is_one_step_once_taken() {
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    let tool = Some(DrawTool::Grow);
    desk.press(DrawTool::Grow, (50.0, 50.0));
    let width = |desk: &Desk| desk.drawing.proposal.as_ref().expect("an offer").masks[0].1.count() / 100;
    let narrow = width(&desk);
    // Values are the columns: the offer is a band of whole columns around the one that was clicked.
    assert!(narrow > 3 && narrow < 60, "{narrow}");
    desk.send(tool, Pointer::Move((50.0, 80.0)));
    assert!(width(&desk) > narrow, "dragged to the right");
    desk.send(tool, Pointer::Move((50.0, 20.0)));
    assert!(width(&desk) < narrow, "dragged to the left");
    assert!(!desk.send(tool, Pointer::Release((50.0, 20.0))));
    assert!(desk.document.session().masks.is_empty() && !desk.document.can_undo(), "only on offer");
    let offered = desk.drawing.proposal.as_ref().expect("an offer").masks[0].1.clone();
    let edit = desk.drawing.take_offer(desk.document.session()).expect("something new");
    assert!(desk.document.apply(edit));
    assert_eq!(desk.document.session().masks.values().next(), Some(&offered));
    assert!(desk.document.undo() && !desk.document.can_undo() && desk.document.session().masks.is_empty());
    // Esc and undo drop what is on offer.
    for drop in [Drawing::cancel, Drawing::take_back] {
        desk.click(DrawTool::Grow, (50.0, 50.0));
        assert!(drop(&mut desk.drawing) && desk.drawing.proposal.is_none());
    }
    desk.click(DrawTool::Grow, (-5.0, 50.0));
    assert!(desk.drawing.proposal.is_none(), "nothing grows outside the image");
}

#[test]
fn strokes_of_the_smart_tool_are_gathered_taken_back_and_dropped() {
    use bifocal_core::segment::LocalFeatures;
    use bifocal_core::study::letterbox;
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    // Two tissues: columns below 50, and the others.
    let left = |column: usize| (column as f32 + 0.5) * 100.0 / 16.0 < 50.0;
    let stage = ndarray::Array3::from_shape_fn((2, 16, 16), |(k, _, c)| f32::from(u8::from((k == 0) == left(c))));
    let guide = Array2::from_shape_fn((64, 64), |(_, c)| f32::from(u8::from(c >= 32)));
    let features = LocalFeatures::new(&[stage], guide, &letterbox(100, 100, 64), (100, 100)).expect("features");
    let offer = |desk: &mut Desk| {
        desk.drawing.offer_clicks(&features);
        desk.drawing.proposal.as_ref().map_or(0, |offer| offer.masks[0].1.count())
    };
    let tool = DrawTool::Smart;
    assert!(!desk.click(tool, (50.0, 20.0)));
    let one = offer(&mut desk);
    assert!((4500..5500).contains(&one), "{one}");
    // A scribble over the other tissue adds it; a negative one takes it away again.
    assert!(!desk.drag(tool, (30.0, 80.0), (60.0, 85.0)));
    assert!(offer(&mut desk) > 9000);
    desk.send(Some(tool), Pointer::Press { at: (50.0, 80.0), slack: 1.0, hit: None, ctrl: true });
    desk.send(Some(tool), Pointer::Release((50.0, 80.0)));
    assert!(offer(&mut desk) < 6000);
    assert!(desk.drawing.take_back());
    assert!(offer(&mut desk) > 9000);
    assert!(desk.drawing.take_back());
    assert_eq!(offer(&mut desk), one);
    let edit = desk.drawing.take_offer(desk.document.session()).expect("something new");
    assert!(desk.document.apply(edit) && desk.document.undo() && !desk.document.can_undo());
    desk.click(tool, (50.0, 20.0));
    assert!(desk.drawing.take_back(), "the only stroke");
    assert!(desk.drawing.proposal.is_none() && !desk.drawing.take_back());
}

#[test]
fn the_live_wire_keeps_to_the_rim_and_its_pieces_are_taken_back() {
    let mut desk = Desk::new(Some(SpacingKind::Patient));
    let inside = |(r, c): (usize, usize)| i16::from((r as f64 - 50.0).hypot(c as f64 - 50.0) < 30.0) * 400;
    desk.frame.pixels = Pixels::Gray(GrayPixels::I16(Array2::from_shape_fn((100, 100), inside)));
    let tool = DrawTool::LiveWire;
    assert!(!desk.click(tool, (20.0, 50.0)));
    desk.send(Some(tool), Pointer::Move((50.0, 80.0)));
    let preview = |desk: &Desk| {
        let session = desk.document.session().clone();
        let on = Canvas { instance: &desk.instance, frame_index: 0, frame: &desk.frame, session: &session };
        desk.drawing.preview(&on).map(|shape| shape.pixels(&desk.frame.display))
    };
    let trail = preview(&desk).expect("a preview");
    assert!(trail.len() > 6, "around the rim, not through the disc: {}", trail.len());
    assert!(trail.iter().all(|p| ((p.0 - 50.0).hypot(p.1 - 50.0) - 30.0).abs() < 3.0), "{trail:?}");
    // A wrong place, taken back.
    assert!(!desk.click(tool, (50.0, 50.0)));
    assert!(desk.drawing.take_back());
    for at in [(50.0, 80.0), (80.0, 50.0), (50.0, 20.0)] {
        desk.send(Some(tool), Pointer::Move(at));
        assert!(!desk.click(tool, at));
    }
    assert!(desk.send(Some(tool), Pointer::Close));
    let points = desk.points(0);
    assert_eq!(desk.shapes()[0].kind, ShapeKind::Freehand);
    let pairs = points.iter().zip(points.iter().cycle().skip(1));
    let area = pairs.map(|(a, b)| a.0 * b.1 - b.0 * a.1).sum::<f64>().abs() / 2.0;
    // One piece is straight, that after the one taken back: a quarter of the disc less its triangle is missing.
    let disc = std::f64::consts::PI * 900.0;
    assert!(area > 0.86 * disc && area < 1.02 * disc, "{area} of {disc}");
    assert!(desk.document.undo() && desk.shapes().is_empty(), "one step");
}
