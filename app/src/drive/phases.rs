//! What the hand does, phase by phase and frame by frame.

use eframe::egui::{
    Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, PointerButton, Pos2, Rect, TouchPhase, Vec2, pos2, vec2,
};

/// What is done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until the first image is shown.
    Open,
    /// One image on with every frame.
    Scroll,
    /// To the last image, to the first, and so on.
    Ends,
    /// Played.
    Cine,
    /// Window and level by a drag.
    Window,
    /// One stroke of the brush.
    Brush,
    /// The wheel over the list of studies, where that is long.
    List,
    /// Words typed into its search, and taken out again.
    Search,
    /// Planes, where the series makes a volume, and the crosshair led through them.
    Planes,
    /// The same with another series laid over, where one lies in the space of the first.
    Fusion,
    /// The same with the network's maps laid over, where the series is analysed.
    Maps,
    /// Scrolling through the images with maps.
    Analysed,
    /// Nothing more.
    Done,
}

/// What the phases are called, and how many frames each takes.
pub(super) const PHASES: [(Phase, &str, usize); 11] = [
    (Phase::Scroll, "scroll, one image a frame", 240),
    (Phase::Ends, "to the last image and the first", 120),
    (Phase::Cine, "played as cine", 120),
    (Phase::Window, "window and level by a drag", 150),
    (Phase::Brush, "a stroke of the brush", 200),
    (Phase::List, "the list of studies scrolled", 200),
    (Phase::Search, "typed into the search", 160),
    (Phase::Planes, "crosshair through three planes", 150),
    (Phase::Fusion, "the same, a series laid over", 150),
    (Phase::Maps, "the same, the network's maps over it", 150),
    (Phase::Analysed, "scroll, with the network's maps", 240),
];

/// Frames that are let pass before a phase is timed: the tool is taken, what is loaded settles.
pub(super) const LEAD: usize = 20;
/// Frames between two jumps from end to end.
const JUMP: usize = 20;

/// Where the hand works.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// The middle of a viewport: between the list of studies and the panel of findings.
    pub pane: Rect,
    /// A point of the list of studies.
    pub list: Pos2,
}

impl Places {
    /// In a window of that size.
    pub fn of(screen: Rect) -> Self {
        let pane =
            Rect::from_min_max(pos2(screen.width() * 0.2, 90.0), pos2(screen.width() * 0.45, screen.height() - 90.0));
        Self { pane, list: pos2(100.0, screen.height() * 0.7) }
    }
}

fn key(key: Key, modifiers: Modifiers) -> [Event; 2] {
    [true, false].map(|pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers })
}

fn button(pos: Pos2, pressed: bool) -> Event {
    Event::PointerButton { pos, button: PointerButton::Primary, pressed, modifiers: Modifiers::NONE }
}

/// The input of a frame of a phase; `typed` is what the search is asked for, `back` says whether scrolling goes back from the last image.
pub(super) fn input(phase: Phase, frame: usize, places: Places, typed: &str, back: bool) -> Vec<Event> {
    let step = || key(if back { Key::ArrowUp } else { Key::ArrowDown }, Modifiers::NONE).into();
    let lead = LEAD;
    let frames = PHASES.iter().find(|(other, ..)| *other == phase).map_or(0, |(.., frames)| *frames);
    let press = |at: usize, pressed: Key, modifiers: Modifiers| {
        if frame == at { key(pressed, modifiers).into() } else { Vec::new() }
    };
    let pane = places.pane;
    // Once around the middle of a viewport, wider and wider.
    let turn = |step: usize| {
        let angle = step as f32 * 0.11;
        pane.center() + Vec2::angled(angle) * (0.05 + 0.25 * step as f32 / frames.max(1) as f32) * pane.height()
    };
    let drag = |mut events: Vec<Event>| {
        if frame + 1 >= lead {
            events.push(Event::PointerMoved(turn((frame + 1).saturating_sub(lead))));
        }
        if frame == lead {
            events.push(button(turn(0), true));
        } else if frame == lead + frames {
            events.push(button(turn(frames), false));
        }
        events
    };
    // The crosshair goes along with the pointer while Shift is down.
    let lead_crosshair = |mut events: Vec<Event>| {
        if frame + 1 >= lead {
            let down = (lead..lead + frames).contains(&frame);
            events.push(Event::ModifiersChanged(if down { Modifiers::SHIFT } else { Modifiers::NONE }));
            events.push(Event::PointerMoved(turn((frame + 1).saturating_sub(lead))));
        }
        events
    };
    match phase {
        Phase::Open | Phase::Done => Vec::new(),
        Phase::Scroll => step(),
        Phase::Ends if frame >= lead && (frame - lead).is_multiple_of(JUMP) => {
            let last = ((frame - lead) / JUMP).is_multiple_of(2);
            key(if last { Key::End } else { Key::Home }, Modifiers::NONE).into()
        }
        Phase::Ends => Vec::new(),
        Phase::Cine if frame == 2 || frame == lead + frames + 1 => key(Key::C, Modifiers::NONE).into(),
        Phase::Cine => Vec::new(),
        Phase::Window => drag(press(2, Key::W, Modifiers::NONE)),
        Phase::Brush => {
            let mut events = drag(press(2, Key::U, Modifiers::NONE));
            events.extend(press(lead + frames + 1, Key::Z, Modifiers::COMMAND));
            events
        }
        Phase::List => {
            let mut events = vec![Event::PointerMoved(places.list)];
            if frame >= lead {
                // Down, and in the second half up again.
                let lines = if frame < lead + frames / 2 { -20.0 } else { 20.0 };
                events.push(Event::MouseWheel {
                    unit: MouseWheelUnit::Line,
                    delta: vec2(0.0, lines),
                    phase: TouchPhase::Move,
                    source: MouseWheelSource::Wheel,
                    modifiers: Modifiers::NONE,
                });
            }
            events
        }
        Phase::Search => {
            let mut events = press(2, Key::F, Modifiers::COMMAND);
            events.extend(press(lead + frames + 1, Key::Escape, Modifiers::NONE));
            let letters: Vec<char> = typed.chars().collect();
            if (lead..lead + frames).contains(&frame) && !letters.is_empty() {
                let place = (frame - lead) % (2 * letters.len());
                match letters.get(place) {
                    Some(letter) => events.push(Event::Text(letter.to_string())),
                    None => events.extend(key(Key::Backspace, Modifiers::NONE)),
                }
            }
            events
        }
        Phase::Planes => lead_crosshair(press(2, Key::V, Modifiers::NONE)),
        Phase::Fusion => lead_crosshair(press(2, Key::T, Modifiers::SHIFT)),
        Phase::Maps => lead_crosshair(press(2, Key::Enter, Modifiers::COMMAND)),
        Phase::Analysed if frame == 2 => key(Key::V, Modifiers::NONE).into(),
        Phase::Analysed => step(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stroke_is_pressed_moved_and_let_go_and_taken_back() {
        let places = Places::of(Rect::from_min_max(Pos2::ZERO, pos2(1920.0, 1080.0)));
        let mut pressed = Vec::new();
        let mut undone = false;
        for frame in 0..LEAD + 210 {
            for event in input(Phase::Brush, frame, places, "", false) {
                match event {
                    Event::PointerButton { pressed: down, .. } => pressed.push(down),
                    Event::PointerMoved(at) => assert!(places.pane.expand(60.0).contains(at), "{at:?}"),
                    Event::Key { key: Key::Z, .. } => undone = true,
                    _ => {}
                }
            }
        }
        assert_eq!((pressed, undone), (vec![true, false], true));
    }

    #[test]
    fn what_is_typed_is_taken_out_again() {
        let places = Places::of(Rect::from_min_max(Pos2::ZERO, pos2(1920.0, 1080.0)));
        let mut text = String::new();
        for frame in 0..LEAD + 170 {
            for event in input(Phase::Search, frame, places, "anna", false) {
                match event {
                    Event::Text(letter) => text += &letter,
                    Event::Key { key: Key::Backspace, pressed: true, .. } => drop(text.pop()),
                    _ => {}
                }
            }
        }
        assert_eq!(text, "");
    }
}
