//! What a network is shown of annotated frames, as pictures to train on.

use ndarray::{Array3, Axis};

use crate::analysis::{network_values, slab_image};
use crate::model::{ModelConfig, NetworkImage, SlabInput};
use crate::project::{AnnotatedFrame, ProjectError};
use crate::study::SeriesUid;
use crate::task::Task;
use crate::volume::{Plane, Volume, VolumeError};

/// The pictures of a network; keeps the volume of the series that it was asked about last.
pub(super) struct NetworkPictures<'t> {
    slab: Option<SlabInput>,
    volume: Option<(SeriesUid, Volume)>,
    task: &'t Task,
}

impl<'t> NetworkPictures<'t> {
    pub(super) fn new(config: &ModelConfig, task: &'t Task) -> Self {
        Self { slab: config.slab, volume: None, task }
    }

    /// What the network is given of a frame, `[channel, row, column]` in the frame's size: the window shows it no other values. The inner error is
    /// why a frame cannot be shown to a network of slabs, once for its series.
    pub(super) fn of(&mut self, frame: &AnnotatedFrame<'_>) -> Result<Result<Array3<u8>, String>, ProjectError> {
        let image = match self.slab {
            None => NetworkImage::gray(network_values(&frame.image).view()),
            Some(slab) => match self.slab_of(frame, &slab) {
                Ok(image) => image,
                Err(VolumeError::Cancelled(cancelled)) => return Err(cancelled.into()),
                Err(error) => {
                    return Ok(Err(format!(
                        "series {}: no volume, so nothing for a network of slabs: {error}",
                        frame.series.uid
                    )));
                }
            },
        };
        let picture = image.channels().mapv(|v| (v * 255.0).round() as u8);
        let (rows, columns) = frame.image.shape();
        Ok(if picture.len_of(Axis(1)) == rows && picture.len_of(Axis(2)) == columns {
            Ok(picture)
        } else {
            Err(format!("series {}: its images differ in size", frame.series.uid))
        })
    }

    fn slab_of(&mut self, frame: &AnnotatedFrame<'_>, slab: &SlabInput) -> Result<NetworkImage, VolumeError> {
        let uid = frame.series.reading_uid();
        let known = self.volume.take().filter(|(of, volume)| *of == uid && volume.slice_at(frame.position).is_some());
        let (_, volume) = match known {
            Some(known) => self.volume.insert(known),
            // Of several stacks the one that the frame belongs to.
            None => self.volume.insert((uid, Volume::build(frame.series, frame.position, &self.task.quietly())?)),
        };
        let slice = volume.slice_at(frame.position).unwrap_or(0);
        Ok(slab_image(volume, &Plane::of_slice(&volume.grid, slice), slab))
    }
}
