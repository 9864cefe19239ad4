//! What is measured of a phase, and of memory.

use std::time::Duration;

/// Times of one phase.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PhaseTimes {
    /// What was done.
    pub name: &'static str,
    /// Milliseconds from frame to frame.
    pub intervals: Vec<f64>,
    /// Frames in which the image in view was there.
    pub ready: usize,
    /// Times that another image came into view.
    pub images: usize,
    /// The longest time that the image in view was not there, milliseconds.
    pub longest_without: f64,
    /// Milliseconds since the image in view was there last.
    without: f64,
    /// How long what the phase needs took to be there: planes, an analysis.
    pub prepared: Option<Duration>,
    /// Memory at its end, MiB.
    pub memory_mib: Option<f64>,
}

impl PhaseTimes {
    /// Takes in a frame.
    pub fn frame(&mut self, interval: f64, shown: bool, another: bool) {
        self.intervals.push(interval);
        self.ready += usize::from(shown);
        self.images += usize::from(another);
        self.without = if shown { 0.0 } else { self.without + interval };
        self.longest_without = self.longest_without.max(self.without);
    }

    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.intervals.clone();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
        sorted.get(index).copied().unwrap_or(0.0)
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let total: f64 = self.intervals.iter().sum();
        let per_second = |count: usize| if total > 0.0 { 1000.0 * count as f64 / total } else { 0.0 };
        let ready = 100.0 * self.ready as f64 / self.intervals.len().max(1) as f64;
        let mut line = format!(
            "{:<36} {:>4.0} frames/s; from frame to frame median {:.1} ms, 95th percentile {:.1}, longest {:.1}; image there in {ready:.0} %",
            self.name,
            per_second(self.intervals.len()),
            self.at(0.5),
            self.at(0.95),
            self.at(1.0)
        );
        if self.longest_without > 0.0 {
            line += &format!(", gone for {:.0} ms at most", self.longest_without);
        }
        if self.images > 1 {
            line += &format!("; {:.0} images/s", per_second(self.images));
        }
        if let Some(prepared) = self.prepared {
            line += &format!("; there after {:.1} s", prepared.as_secs_f64());
        }
        if let Some(mib) = self.memory_mib {
            line += &format!("; {mib:.0} MiB");
        }
        line
    }
}

/// What was held in memory, MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Memory {
    /// The program with its window, before anything was read.
    pub program: Option<f64>,
    /// The most that was taken.
    pub peak: Option<f64>,
    /// Pixels of the series that were read, as stored (16 bits where the index does not tell).
    pub stored: f64,
    /// Decoded frames at the end, a cache with a limit.
    pub frames: f64,
    /// The volume of the planes at the end.
    pub volume: f64,
}

impl Memory {
    /// One line for people.
    pub fn summary(&self) -> String {
        let Self { stored, frames, volume, .. } = *self;
        let (Some(program), Some(peak)) = (self.program, self.peak) else {
            return format!("pixels as stored {stored:.0} MiB; this system does not tell what memory is taken");
        };
        let times = |mib: f64| if stored > 0.0 { mib / stored } else { 0.0 };
        let (all, without_cache) = (times(peak - program), times(peak - program - frames));
        format!(
            "memory at most {peak:.0} MiB, {program:.0} of it the program before the index; at the end {frames:.0} MiB of images in their cache, \
             {volume:.0} of volume. Pixels as stored {stored:.0} MiB: above the program {all:.2} times that, {without_cache:.2} without the cache"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up() {
        let mut times = PhaseTimes { name: "scroll", ..PhaseTimes::default() };
        for ms in 1..=100 {
            times.frame(f64::from(ms), ms <= 50 || ms > 60, ms % 2 == 0);
        }
        let line = times.summary();
        assert!(line.contains("  20 frames/s") && line.contains("longest 100.0") && line.contains("in 90 %"), "{line}");
        assert!(line.contains("gone for 555 ms") && line.contains("10 images/s"), "{line}");
    }

    #[test]
    fn memory_is_told_against_what_is_stored() {
        let memory = Memory { program: Some(90.0), peak: Some(390.0), stored: 250.0, frames: 25.0, volume: 250.0 };
        assert!(memory.summary().contains("1.20 times that, 1.10 without"), "{}", memory.summary());
        assert!(Memory::default().summary().contains("does not tell"));
    }
}
