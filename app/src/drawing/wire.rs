//! The live wire: an outline that keeps to edges between the places that are clicked.

use bifocal_core::measure::Pixel;
use bifocal_core::segment::LiveWire;

use super::{Canvas, Draft, DrawTool};

/// How far around a clicked place edges are followed, pixels.
const REACH: usize = 160;

/// What a draft of the live wire knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Wire {
    ways: Option<LiveWire>,
    /// From the last clicked place to the pointer.
    pub(super) trail: Vec<Pixel>,
    /// How many points there were when each place was clicked.
    anchors: Vec<usize>,
}

impl PartialEq for Wire {
    /// The ways follow from the points.
    fn eq(&self, other: &Self) -> bool {
        self.trail == other.trail && self.anchors == other.anchors
    }
}

impl Draft {
    pub(super) fn is_wire(&self) -> bool {
        self.tool == DrawTool::LiveWire
    }

    /// A place is clicked: what leads to it is part of the outline, and the next piece begins there.
    pub(super) fn anchor(&mut self, at: Pixel, on: &Canvas<'_>) {
        self.wire.anchors.push(self.placed.len());
        match &self.wire.ways {
            Some(ways) => self.placed.extend(ways.path_to(at)),
            None => self.placed.push(at),
        }
        self.begin_wire(on);
    }

    /// Ways from the last point on.
    pub(super) fn begin_wire(&mut self, on: &Canvas<'_>) {
        self.wire.trail.clear();
        self.wire.ways =
            self.placed.last().and_then(|last| LiveWire::new(on.frame.values().view(), *last, REACH, &self.placed));
    }

    pub(super) fn follow(&mut self, at: Pixel) {
        if let Some(ways) = &self.wire.ways {
            self.wire.trail = ways.path_to(at);
        }
    }

    /// Leads the outline back to its beginning.
    pub(super) fn close_wire(&mut self) {
        if let (Some(ways), Some(first)) = (&self.wire.ways, self.placed.first()) {
            let back = ways.path_to(*first);
            self.placed.extend(back);
            // The first point is there already.
            self.placed.pop();
        }
    }

    /// Takes the last piece away; false where only the first place is left.
    pub(super) fn unwind(&mut self) -> bool {
        let Some(points) = self.wire.anchors.pop() else { return false };
        self.placed.truncate(points);
        // The ways of the place before are found again with the next click; until then the line is straight.
        (self.wire.ways, self.wire.trail) = (None, Vec::new());
        true
    }
}
