//! Pixels in memory: which images are decoded ahead of the reader, and how much decoded images and volumes may take.
//!
//! The pixels of a series are held once: as decoded images, as many as there is room for, or as the volume that planes and the network need. Beside
//! a volume a few images around the one in view are enough, since the others are decoded as fast as they are scrolled to.

use std::sync::Arc;

use bifocal_core::study::{Series, Suv};
use bifocal_core::volume::Volume;

use crate::app::App;
use crate::desk::{Layout, VolumeState};
use crate::images::FrameKey;
use crate::jobs::JobKind;
use crate::memory;
use crate::state::{Reading, State};

/// Images decoded around the one in view, to each side, before any that are farther away.
const NEAR: usize = 12;
/// In a grid of viewports.
const NEAR_IN_GRID: usize = 3;
/// What is left of the room for decoded images beside a volume: one part of so many.
const BESIDE_VOLUME: usize = 8;
/// Images around the one in view take four fifths of the room; the rest is for those that were looked at before.
const SHARE_AHEAD: (usize, usize) = (4, 5);

/// How far around the image in view everything is decoded.
#[derive(Debug, Default)]
pub struct Ahead {
    /// The image in view: series, by its address in memory, and position.
    at: Option<(usize, usize, usize)>,
    reach: usize,
}

impl State {
    /// Bytes that decoded images may take now; `analysing` says whether the network reads the series, for which its volume is built.
    fn frame_bytes(&self, analysing: bool) -> usize {
        let all = self.settings.frames_mib << 20;
        let on_desk = matches!(self.desk.volume, VolumeState::Building | VolumeState::Ready(_));
        let series = self.reading.as_ref().and_then(Reading::series);
        let analysed = series.is_some_and(|series| self.network.volume_of(&series.uid).is_some());
        if on_desk || analysed || (analysing && self.network.reads_volumes()) { all / BESIDE_VOLUME } else { all }
    }

    /// The volume that the network has read of a series: its pixels need not be held twice. None where another study has a series of the same UID.
    pub(crate) fn analysed_volume(&self, series: &Series) -> Option<&Arc<Volume>> {
        let of_this = self.network.volume_of(&series.uid).filter(|_| series.twin.is_none());
        // Planes of a PET are in SUV, which the network is not shown.
        let in_units = |volume: &&Arc<Volume>| !matches!(volume.display.suv, Some(Suv::Factor(_)));
        of_this.map(|analysis| &analysis.volume).filter(in_units)
    }
}

impl App {
    /// Each frame: takes in what was decoded, within what it may take.
    pub(crate) fn tend_images(&self) {
        let less = self.images.set_limit(self.state.frame_bytes(self.jobs.is_running(JobKind::Analysis)));
        self.images.poll();
        if less {
            memory::give_back();
        }
    }

    /// Each frame: says which images should be decoded. First those in view and their neighbours, then the rest of the series, as far as there is
    /// room.
    pub(crate) fn tend_ahead(&mut self) {
        let Some(reading) = &self.state.reading else { return };
        let in_view = reading.key_at(reading.view.position);
        let (layout, volume) = (self.state.settings.layout, &self.state.desk.volume);
        let planes = layout == Layout::Planes && matches!(volume, VolumeState::Building | VolumeState::Ready(_));
        let mut wanted: Vec<FrameKey> = in_view.iter().cloned().collect();
        if !planes {
            // What is in view everywhere comes before what may be next.
            wanted.extend(self.wanted_by_grid(NEAR_IN_GRID));
            wanted.extend(reading.around(1..=NEAR));
        }
        let mut missing = self.images.missing(wanted);
        let at = (Arc::as_ptr(&reading.study) as usize, reading.series_index, reading.view.position);
        if self.ahead.at != Some(at) {
            self.ahead = Ahead { at: Some(at), reach: NEAR };
        }
        let room = in_view.map_or(0, |key| self.images.room_for(&key)) * SHARE_AHEAD.0 / SHARE_AHEAD.1;
        let farthest = (room / 2).min(reading.frame_count());
        let grid = matches!(layout, Layout::Grid { .. });
        while missing.is_empty() && self.ahead.reach < farthest && !planes && !grid {
            let next = (self.ahead.reach + NEAR).min(farthest);
            missing = self.images.missing(reading.around(self.ahead.reach + 1..=next).collect());
            if missing.is_empty() {
                self.ahead.reach = next;
            }
            // One a frame: those near by go first, and drawing needs the processor, too.
            missing.truncate(1);
        }
        self.images.want(missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::state::fixtures;

    #[test]
    fn beside_a_volume_images_take_an_eighth() {
        let mut state = State::new(Settings { frames_mib: 400, ..Settings::default() });
        state.reading = Reading::new(Arc::new(fixtures::study("A", "CT", 5)), 0);
        assert_eq!(state.frame_bytes(false), 400 << 20);
        state.desk.volume = VolumeState::Building;
        assert_eq!(state.frame_bytes(false), 50 << 20);
        state.desk.volume = VolumeState::Failed("in colour".to_owned());
        assert_eq!(state.frame_bytes(false), 400 << 20, "there is no volume");
        assert_eq!(state.frame_bytes(true), 400 << 20, "this network reads single images");
    }
}
