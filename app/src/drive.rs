//! A reader's hand for measuring: the window is driven by keys and pointer as a person would, and the time from frame to frame is taken.
//!
//! Nothing of what it draws is kept: it runs on a window without settings and sessions.

use std::time::{Duration, Instant};

use eframe::egui::{self, Event, Key, Modifiers, PointerButton, Pos2, Vec2, pos2, vec2};

use crate::app::App;
use crate::fusion::FusedVolume;

/// What is done, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Until the first image is shown.
    Open,
    /// One image on with every frame.
    Scroll,
    /// Window and level by a drag.
    Window,
    /// One stroke of the brush.
    Brush,
    /// Planes, where the series makes a volume, and the crosshair dragged through them.
    Planes,
    /// The same with another series laid over, where one lies in the space of the first.
    Fusion,
    /// Nothing more.
    Done,
}

/// What the phases are called, and how many frames each takes.
const PHASES: [(Phase, &str, usize); 5] = [
    (Phase::Scroll, "scroll, one image a frame", 240),
    (Phase::Window, "window and level by a drag", 150),
    (Phase::Brush, "a stroke of the brush", 200),
    (Phase::Planes, "crosshair through three planes", 150),
    (Phase::Fusion, "the same, a series laid over", 150),
];

/// Frames that are let pass before a phase is timed: the tool is taken, what is loaded settles.
const LEAD: usize = 20;
/// A volume that is not there after so long is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Drives a window and times it.
#[derive(Debug)]
pub struct Drive {
    phase: Phase,
    /// Frames of the phase so far, those of the lead first.
    frame: usize,
    started: Instant,
    last: Option<Instant>,
    waiting_since: Option<Instant>,
    indexed: Option<Duration>,
    first_image: Option<Duration>,
    results: Vec<PhaseTimes>,
    intervals: Vec<f64>,
    ready: usize,
}

/// Times of one phase.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseTimes {
    /// What was done.
    pub name: &'static str,
    /// Milliseconds from frame to frame.
    pub intervals: Vec<f64>,
    /// Frames in which the image in view was there.
    pub ready: usize,
}

impl PhaseTimes {
    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.intervals.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(index).copied().unwrap_or(0.0)
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let total: f64 = self.intervals.iter().sum();
        let rate = if total > 0.0 { 1000.0 * self.intervals.len() as f64 / total } else { 0.0 };
        let ready = 100.0 * self.ready as f64 / self.intervals.len().max(1) as f64;
        format!(
            "{:<32} {rate:>5.0} frames/s; from frame to frame median {:.1} ms, 95th percentile {:.1}, longest {:.1}; image there in {ready:.0} %",
            self.name,
            self.at(0.5),
            self.at(0.95),
            self.at(1.0)
        )
    }
}

impl Drive {
    /// From now on.
    pub fn new(started: Instant) -> Self {
        Self {
            phase: Phase::Open,
            frame: 0,
            started,
            last: None,
            waiting_since: None,
            indexed: None,
            first_image: None,
            results: Vec::new(),
            intervals: Vec::new(),
            ready: 0,
        }
    }

    /// What was measured, a line each.
    pub fn summary(&self) -> String {
        let ms =
            |time: Option<Duration>| time.map_or("never".to_owned(), |t| format!("{:.0} ms", t.as_secs_f64() * 1e3));
        let after = self.first_image.zip(self.indexed).map(|(image, index)| image.saturating_sub(index));
        let mut lines = vec![format!("index after {}, first image {} later", ms(self.indexed), ms(after))];
        lines.extend(self.results.iter().map(PhaseTimes::summary));
        lines.join("\n")
    }

    /// The input of a frame of the phase.
    fn input(&self, pane: egui::Rect) -> Vec<Event> {
        let key = |key: Key, modifiers: Modifiers| {
            [true, false].map(|pressed| Event::Key { key, physical_key: None, pressed, repeat: false, modifiers })
        };
        let button = |pos: Pos2, pressed: bool| Event::PointerButton {
            pos,
            button: PointerButton::Primary,
            pressed,
            modifiers: Modifiers::NONE,
        };
        let (frame, lead) = (self.frame, LEAD);
        let frames = PHASES.iter().find(|(phase, ..)| *phase == self.phase).map_or(0, |(.., frames)| *frames);
        // Once around the middle of a viewport, wider and wider.
        let turn = |step: usize| {
            let angle = step as f32 * 0.11;
            pane.center() + Vec2::angled(angle) * (0.05 + 0.25 * step as f32 / frames.max(1) as f32) * pane.height()
        };
        let drag = |tool: Option<(Key, Modifiers)>| {
            let mut events = Vec::new();
            if frame == 2
                && let Some((tool, modifiers)) = tool
            {
                events.extend(key(tool, modifiers));
            }
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
        match self.phase {
            Phase::Open | Phase::Done => Vec::new(),
            Phase::Scroll => key(Key::ArrowDown, Modifiers::NONE).into(),
            Phase::Window => drag(Some((Key::W, Modifiers::NONE))),
            Phase::Brush => {
                let mut events = drag(Some((Key::U, Modifiers::NONE)));
                if frame == lead + frames + 1 {
                    events.extend(key(Key::Z, Modifiers::COMMAND));
                }
                events
            }
            Phase::Planes => drag(Some((Key::V, Modifiers::NONE))),
            Phase::Fusion => drag(Some((Key::T, Modifiers::SHIFT))),
        }
    }
}

impl App {
    /// Drives the window from now on; what was measured is printed when it closes.
    pub fn drive(&mut self, started: Instant) {
        self.driven = Some(Drive::new(started));
    }

    /// Before a frame: gives it the input that is due.
    pub(crate) fn drive_input(&mut self, input: &mut egui::RawInput) {
        let Some(drive) = &self.driven else { return };
        let screen = input.screen_rect.unwrap_or(egui::Rect::from_min_size(Pos2::ZERO, vec2(1920.0, 1080.0)));
        // The middle of the left viewport: between the list of studies and the panel of findings.
        let pane = egui::Rect::from_min_max(
            pos2(screen.width() * 0.2, 90.0),
            pos2(screen.width() * 0.45, screen.height() - 90.0),
        );
        input.events.extend(drive.input(pane));
    }

    /// After a frame: takes its time, and goes on to what is next.
    pub(crate) fn drive_on(&mut self, image_shown: bool) {
        let volume =
            !matches!(self.state.desk.volume, crate::desk::VolumeState::Building | crate::desk::VolumeState::None);
        if self.driven.is_none() {
            return;
        }
        let possible = self.state.fusion_candidates().iter().any(|candidate| candidate.obstacle.is_none());
        let fused = self.state.fusion.as_ref().map(|fusion| matches!(fusion.volume, FusedVolume::Ready(_)));
        let Some(drive) = &mut self.driven else { return };
        self.ctx.request_repaint();
        let now = Instant::now();
        let interval = drive.last.map(|last| (now - last).as_secs_f64() * 1e3);
        drive.last = Some(now);
        if drive.phase == Phase::Open {
            if self.state.reading.is_some() {
                drive.indexed.get_or_insert(now - drive.started);
            }
            if !image_shown {
                return;
            }
            drive.first_image = Some(now - drive.started);
            (drive.phase, drive.frame) = (Phase::Scroll, 0);
            return;
        }
        let Some((index, (_, name, frames))) = PHASES.iter().enumerate().find(|(_, (phase, ..))| *phase == drive.phase)
        else {
            return;
        };
        // The planes are not timed before there is a volume to cut, and one to lay over it.
        let waits = match drive.phase {
            Phase::Planes => !volume,
            Phase::Fusion => fused == Some(false),
            _ => false,
        };
        if drive.frame == LEAD - 2 && waits {
            let since = *drive.waiting_since.get_or_insert(now);
            if now - since < LONGEST_WAIT {
                return;
            }
        }
        if (LEAD..LEAD + frames).contains(&drive.frame) {
            drive.intervals.extend(interval);
            drive.ready += usize::from(image_shown);
        }
        drive.frame += 1;
        if drive.frame > LEAD + frames + 4 {
            let intervals = std::mem::take(&mut drive.intervals);
            drive.results.push(PhaseTimes { name, intervals, ready: std::mem::take(&mut drive.ready) });
            drive.frame = 0;
            drive.phase = PHASES.get(index + 1).map_or(Phase::Done, |(phase, ..)| *phase);
            if drive.phase == Phase::Fusion && !possible {
                drive.phase = Phase::Done;
            }
            if drive.phase == Phase::Done {
                self.ctx.send_viewport_cmd(egui::ViewportCommand::Close);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up() {
        let times = PhaseTimes { name: "scroll", intervals: (1..=100).map(f64::from).collect(), ready: 50 };
        let line = times.summary();
        assert!(
            line.contains("   20 frames/s") && line.contains("longest 100.0") && line.contains("in 50 %"),
            "{line}"
        );
        let drive = Drive::new(Instant::now());
        assert!(drive.summary().contains("never"));
    }

    #[test]
    fn a_stroke_is_pressed_moved_and_let_go_and_taken_back() {
        let mut drive = Drive::new(Instant::now());
        drive.phase = Phase::Brush;
        let pane = egui::Rect::from_min_max(pos2(0.0, 0.0), pos2(400.0, 400.0));
        let mut pressed = Vec::new();
        let mut undone = false;
        for frame in 0..LEAD + 210 {
            drive.frame = frame;
            for event in drive.input(pane) {
                match event {
                    Event::PointerButton { pressed: down, .. } => pressed.push(down),
                    Event::PointerMoved(at) => assert!(pane.contains(at), "{at:?}"),
                    Event::Key { key: Key::Z, .. } => undone = true,
                    _ => {}
                }
            }
        }
        assert_eq!((pressed, undone), (vec![true, false], true));
    }
}
