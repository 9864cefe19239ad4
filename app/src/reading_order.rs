//! Where the images of a series are in its reading order, found without going through all of them.

use std::cell::OnceCell;
use std::collections::HashMap;

use bifocal_core::study::{Instance, InstanceKey, Series};

/// The reading order of a series.
#[derive(Debug)]
pub struct ReadingOrder {
    /// Position of the first image of each instance, and at the end the number of images.
    firsts: Vec<usize>,
    /// Instances by their keys, made when first asked for.
    by_key: OnceCell<HashMap<InstanceKey, usize>>,
}

impl ReadingOrder {
    /// Of a series.
    pub fn of(series: &Series) -> Self {
        let mut count = 0;
        let mut firsts = vec![0];
        firsts.extend(series.instances.iter().map(|instance| {
            count += instance.frames;
            count
        }));
        Self { firsts, by_key: OnceCell::new() }
    }

    /// Number of images.
    pub fn count(&self) -> usize {
        self.firsts.last().copied().unwrap_or(0)
    }

    /// Instance and frame at a position, as [`Series::frame_at`] gives them for the same series.
    pub fn at<'a>(&self, series: &'a Series, position: usize) -> Option<(&'a Instance, usize)> {
        let index = self.firsts.partition_point(|first| *first <= position).checked_sub(1)?;
        let instance = series.instances.get(index)?;
        let place = position - self.firsts[index];
        Some((instance, instance.frame_order.get(place).copied().unwrap_or(place)))
    }

    /// The position of a frame of an instance of the same series.
    pub fn position_of(&self, series: &Series, instance: &InstanceKey, frame: usize) -> Option<usize> {
        let keys = || series.instances.iter().enumerate().map(|(index, instance)| (instance.key(), index)).collect();
        let index = *self.by_key.get_or_init(keys).get(instance)?;
        let instance = series.instances.get(index)?;
        let place = if instance.frame_order.is_empty() {
            Some(frame)
        } else {
            instance.frame_order.iter().position(|stored| *stored == frame)
        };
        place.filter(|place| *place < instance.frames).map(|place| self.firsts[index] + place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::fixtures;

    #[test]
    fn images_are_found_as_by_going_through_the_series() {
        let mut series = fixtures::study("A", "CT", 7).series.remove(0);
        series.instances[1].frames = 4;
        series.instances[1].frame_order = vec![2, 0, 3, 1];
        series.instances[3].frames = 0;
        series.instances[6].frames = 0;
        let order = ReadingOrder::of(&series);
        assert_eq!(order.count(), series.frame_count());
        for position in 0..order.count() + 3 {
            let found = order.at(&series, position);
            assert_eq!(found, series.frame_at(position), "{position}");
            if let Some((instance, frame)) = found {
                assert_eq!(order.position_of(&series, &instance.key(), frame), Some(position));
            }
        }
        assert_eq!(order.position_of(&series, &series.instances[0].key(), 1), None);
        assert_eq!(order.position_of(&series, &series.instances[3].key(), 0), None);
        assert_eq!(order.position_of(&series, &InstanceKey("9".into()), 0), None);
    }
}
