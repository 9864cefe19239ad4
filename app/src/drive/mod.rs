//! A reader's hand for measuring: the window is driven by keys and pointer as a person would, and the time from frame to frame is taken.
//!
//! Nothing of what it draws is kept: it runs on a window without settings and sessions.

mod phases;
mod times;

use std::time::{Duration, Instant};

use bifocal_core::volume::Vector;
use eframe::egui::{self, Pos2, vec2};

use crate::app::App;
use crate::desk::VolumeState;
use crate::fusion::{FusedVolume, FusionCommand};
use crate::jobs::JobKind;
use crate::memory;
use phases::{LEAD, PHASES, Phase, Places};
pub use times::{Memory, PhaseTimes};

/// A volume that is not there after so long is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Nor an analysis.
const LONGEST_ANALYSIS: Duration = Duration::from_secs(1200);
/// With more series than these the list of studies is measured.
const LONG_LIST: usize = 20;
const MIB: f64 = (1 << 20) as f64;

/// Drives a window and times it.
#[derive(Debug)]
pub struct Drive {
    phase: Phase,
    /// Frames of the phase so far, those of the lead first.
    frame: usize,
    started: Instant,
    /// Whether the series is analysed at the end, and its maps measured.
    analyses: bool,
    last: Option<Instant>,
    waiting_since: Option<Instant>,
    /// When what the phase needs was asked for.
    asked: Option<Instant>,
    indexed: Option<Duration>,
    first_image: Option<Duration>,
    /// What was in view in the frame before: the position in the series, and where planes cross.
    in_view: Option<(usize, Option<Vector>)>,
    current: PhaseTimes,
    results: Vec<PhaseTimes>,
    memory: Memory,
    /// What the search is asked for.
    typed: String,
    /// Whether scrolling has come to the last image and goes back.
    back: bool,
}

impl Drive {
    /// From now on; `analyses` says whether the series is analysed, which takes a while, and its maps are measured too.
    pub fn new(started: Instant, analyses: bool) -> Self {
        Self {
            phase: Phase::Open,
            frame: 0,
            started,
            analyses,
            last: None,
            waiting_since: None,
            asked: None,
            indexed: None,
            first_image: None,
            in_view: None,
            current: PhaseTimes::default(),
            results: Vec::new(),
            memory: Memory::default(),
            typed: String::new(),
            back: false,
        }
    }

    /// What was measured, a line each.
    pub fn summary(&self) -> String {
        let ms =
            |time: Option<Duration>| time.map_or("never".to_owned(), |t| format!("{:.0} ms", t.as_secs_f64() * 1e3));
        let after = self.first_image.zip(self.indexed).map(|(image, index)| image.saturating_sub(index));
        let mut lines = vec![format!("index after {}, first image {} later", ms(self.indexed), ms(after))];
        lines.extend(self.results.iter().map(PhaseTimes::summary));
        lines.push(Memory { peak: memory::peak_mib(), ..self.memory }.summary());
        lines.join("\n")
    }
}

impl App {
    /// Drives the window from now on; what was measured is printed when it closes.
    pub fn drive(&mut self, started: Instant, analyses: bool) {
        self.driven = Some(Drive::new(started, analyses));
    }

    /// Before a frame: gives it the input that is due.
    pub(crate) fn drive_input(&mut self, input: &mut egui::RawInput) {
        let Some(drive) = &self.driven else { return };
        let screen = input.screen_rect.unwrap_or(egui::Rect::from_min_size(Pos2::ZERO, vec2(1920.0, 1080.0)));
        input.events.extend(phases::input(drive.phase, drive.frame, Places::of(screen), &drive.typed, drive.back));
    }

    /// After a frame: takes its time, and goes on to what is next.
    pub(crate) fn drive_on(&mut self, image_shown: bool) {
        let Some(mut drive) = self.driven.take() else { return };
        self.drive_frame(&mut drive, image_shown);
        self.driven = Some(drive);
    }

    fn drive_frame(&mut self, drive: &mut Drive, image_shown: bool) {
        self.ctx.request_repaint();
        let now = Instant::now();
        let interval = drive.last.map(|last| (now - last).as_secs_f64() * 1e3);
        drive.last = Some(now);
        if drive.phase == Phase::Open {
            if drive.memory.program.is_none() {
                drive.memory.program = memory::resident_mib();
            }
            if self.state.reading.is_some() {
                drive.indexed.get_or_insert(now - drive.started);
            }
            if image_shown {
                drive.first_image = Some(now - drive.started);
                self.drive_next(drive);
            }
            return;
        }
        let Some(&(_, name, frames)) = PHASES.iter().find(|(phase, ..)| *phase == drive.phase) else { return };
        if drive.frame == 2 {
            drive.asked.get_or_insert(now);
        }
        // The planes are not timed before there is a volume to cut, and one to lay over it.
        let waits = self.drive_waits(drive.phase);
        if let (Some(false), Some(asked), None) = (waits, drive.asked, drive.current.prepared) {
            drive.current.prepared = Some(now - asked);
        }
        if drive.frame == LEAD - 2 && waits == Some(true) {
            let since = *drive.waiting_since.get_or_insert(now);
            let longest = if drive.phase == Phase::Maps { LONGEST_ANALYSIS } else { LONGEST_WAIT };
            if now - since < longest {
                return;
            }
        }
        let crosshair = self.state.planes_in_front().map(|planes| planes.crosshair);
        let in_view = self.state.reading.as_ref().map(|reading| (reading.view.position, crosshair));
        let another = in_view != drive.in_view;
        if let Some(reading) = &self.state.reading {
            let last = reading.frame_count().saturating_sub(1);
            drive.back = reading.view.position == last || (drive.back && reading.view.position > 0);
        }
        drive.in_view = in_view;
        if (LEAD..LEAD + frames).contains(&drive.frame)
            && let Some(interval) = interval
        {
            drive.current.frame(interval, image_shown, another);
        }
        drive.frame += 1;
        if drive.frame > LEAD + frames + 4 {
            let mut times = std::mem::take(&mut drive.current);
            (times.name, times.memory_mib) = (name, memory::resident_mib());
            drive.results.push(times);
            self.drive_next(drive);
        }
    }

    /// Whether what a phase needs is still being made; `None` where it needs nothing.
    fn drive_waits(&mut self, phase: Phase) -> Option<bool> {
        match phase {
            Phase::Planes => Some(matches!(self.state.desk.volume, VolumeState::Building | VolumeState::None)),
            Phase::Fusion => self.state.fusion.as_ref().map(|fusion| matches!(fusion.volume, FusedVolume::Building)),
            Phase::Maps => {
                let reading = self.state.reading.as_ref()?;
                let network = &self.state.network;
                let analysed = network.volume_of(&reading.series()?.uid).is_some();
                let doubted = !network.objections_to(reading).is_empty();
                if !analysed && doubted && !self.jobs.is_running(JobKind::Analysis) {
                    // The reader who has been told asks again.
                    self.analyse();
                }
                Some(!analysed)
            }
            _ => None,
        }
    }

    fn drive_next(&mut self, drive: &mut Drive) {
        let before = PHASES.iter().position(|(phase, ..)| *phase == drive.phase);
        let rest = PHASES.iter().skip(before.map_or(0, |index| index + 1));
        let next = rest.map(|(phase, ..)| *phase).find(|phase| self.drive_can(*phase, drive.analyses));
        drive.phase = next.unwrap_or(Phase::Done);
        drive.frame = 0;
        (drive.asked, drive.waiting_since) = (None, None);
        match drive.phase {
            Phase::Search => {
                let last = self.state.library.studies.last();
                drive.typed = last.map(|study| study.patient.name.to_lowercase()).unwrap_or_default();
            }
            Phase::Maps => self.fusion(FusionCommand::Remove),
            Phase::Done => {
                let stored = |instance: &bifocal_core::study::Instance| {
                    2.0 * (instance.rows * instance.columns * instance.frames) as f64 / MIB
                };
                let series = self.state.reading.as_ref().and_then(|reading| reading.series());
                drive.memory.stored = series.map_or(0.0, |series| series.instances.iter().map(stored).sum());
                drive.memory.frames = self.images.bytes() as f64 / MIB;
                drive.memory.volume = self.state.desk.planes().map_or(0.0, |planes| planes.volume.bytes() as f64 / MIB);
                self.ctx.send_viewport_cmd(egui::ViewportCommand::Close);
            }
            _ => {}
        }
    }

    fn drive_can(&self, phase: Phase, analyses: bool) -> bool {
        let images = self.state.reading.as_ref().map_or(0, |reading| reading.frame_count());
        let with_volume = self.state.desk.planes().is_some();
        match phase {
            Phase::Ends | Phase::Cine => images > 1,
            Phase::List | Phase::Search => self.state.library.listing.series(&self.state.library.studies) > LONG_LIST,
            Phase::Fusion => self.state.fusion_candidates().iter().any(|candidate| candidate.obstacle.is_none()),
            Phase::Maps => analyses && with_volume && self.state.network.reads_volumes(),
            Phase::Analysed => {
                let series = self.state.reading.as_ref().and_then(|reading| reading.series());
                analyses && series.is_some_and(|series| self.state.network.volume_of(&series.uid).is_some())
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_said() {
        assert!(Drive::new(Instant::now(), false).summary().contains("never"));
    }
}
