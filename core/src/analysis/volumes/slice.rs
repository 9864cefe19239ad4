//! One image of a volume's series.

use std::sync::Arc;

use ndarray::Array2;

use super::VolumeAnalysis;
use super::run::{on_plane, slab_image};
use crate::analysis::findings::{Organs, Reduced, finding, reduce, regions, traced};
use crate::analysis::run::{AnalysisError, analyze};
use crate::analysis::types::{Analysis, Finding, HeatMap, OrganMap, Target, TokenAttention};
use crate::model::{Bundle, NetworkImage, SlabInput};
use crate::study::{DisplayAttributes, Frame, GrayPixels, PixelSpacing, Pixels, PlaneGeometry, Series, SpacingKind};
use crate::task::Task;
use crate::volume::{Plane, Vector, dot, length, minus, unit};

impl VolumeAnalysis {
    /// The image at a place of the reading order of `series`: maps and findings, without attention, which [`Self::analyze_image`] adds. About
    /// 20 ms. `None` where the image is not of the volume.
    pub fn image(&self, series: &Series, place: usize) -> Option<Analysis> {
        let plane = self.plane_at(place)?;
        let target = self.target(series, place, &plane)?;
        let heat_maps: Vec<HeatMap> = self
            .lesions
            .iter()
            .map(|class| HeatMap {
                label: class.label.clone(),
                values: Arc::new(on_plane(&class.values, &plane)),
                threshold: class.threshold,
                method: self.lesion_words.0.clone(),
                layer: self.lesion_words.1.clone(),
            })
            .collect();
        let organ_maps: Vec<OrganMap> = self.organ_maps(&plane);
        let findings = self.findings_on(place, &plane, &heat_maps, &organ_maps);
        Some(Analysis {
            model: self.model.clone(),
            target,
            place: Some(place),
            predictions: self.predictions.clone(),
            findings,
            heat_maps,
            organ_maps,
            attention_maps: Vec::new(),
            token_attention: TokenAttention::default(),
            flags: self.flags.clone(),
            seconds: self.seconds,
        })
    }

    /// The image at a place of the reading order, asked about once more for its attention. About a fifth of a second on two cores.
    ///
    /// # Errors
    /// As [`analyze`]; where the image is not of the volume, too.
    pub fn analyze_image(
        &self,
        bundle: &Bundle,
        series: &Series,
        place: usize,
        task: &Task,
    ) -> Result<Analysis, AnalysisError> {
        let unknown = || AnalysisError::Unknown(format!("image {} in the volume", place + 1));
        let slab = bundle.metadata.config.slab.ok_or_else(unknown)?;
        let plane = self.plane_at(place).ok_or_else(unknown)?;
        let target = self.target(series, place, &plane).ok_or_else(unknown)?;
        let image = self.network_image(&slab, place).ok_or_else(unknown)?;
        let display = DisplayAttributes { warnings: Vec::new(), ..self.display(place).ok_or_else(unknown)? };
        let frame = Frame { pixels: Pixels::Gray(GrayPixels::F32(Array2::zeros((0, 0)))), display };
        let single = analyze(bundle, &image, &frame, series, target, task)?;
        let merged = self.image(series, place).ok_or_else(unknown)?;
        Ok(Analysis { attention_maps: single.attention_maps, token_attention: single.token_attention, ..merged })
    }

    /// What the network is shown for the image at a place of the reading order: the slab around it.
    pub fn network_image(&self, slab: &SlabInput, place: usize) -> Option<NetworkImage> {
        Some(slab_image(&self.volume, &self.plane_at(place)?, slab))
    }

    /// Where the image at a place of the reading order lies, and how it is shown.
    pub fn display(&self, place: usize) -> Option<DisplayAttributes> {
        let plane = self.plane_at(place)?;
        let geometry = plane.geometry();
        let column_direction = unit(geometry.column_direction).unwrap_or(geometry.column_direction);
        Some(DisplayAttributes {
            geometry: Some(PlaneGeometry { column_direction, ..geometry }),
            spacing: Some(pixel_spacing(&plane)),
            ..self.volume.display.clone()
        })
    }

    fn plane_at(&self, place: usize) -> Option<Plane> {
        Some(Plane::of_slice(&self.volume.grid, self.volume.slice_at(place)?))
    }

    fn target(&self, series: &Series, place: usize, plane: &Plane) -> Option<Target> {
        let (instance, frame) = series.frame_at(place)?;
        Some(Target {
            series_uid: series.uid.clone(),
            instance_uid: instance.key(),
            frame,
            sources: vec![instance.source.clone()],
            rows: plane.rows,
            columns: plane.columns,
        })
    }

    fn organ_maps(&self, plane: &Plane) -> Vec<OrganMap> {
        let map = |organ: &super::OrganVolume| {
            let values = on_plane(&organ.values, plane);
            let contours = traced(&reduce(values.view()), 0.5).into_iter().filter(|contour| contour.len() >= 8);
            OrganMap { organ: organ.organ.clone(), contours: contours.collect(), values: Arc::new(values) }
        };
        self.organs.iter().map(map).collect()
    }

    /// All findings of the volume; those that reach the image as they are on it.
    fn findings_on(&self, place: usize, plane: &Plane, heat: &[HeatMap], organs: &[OrganMap]) -> Vec<Finding> {
        let reduced: Vec<Reduced> = organs.iter().map(|organ| reduce(organ.values.view())).collect();
        let names: Vec<String> = organs.iter().map(|organ| organ.organ.clone()).collect();
        let organs = Organs { names: &names, maps: &reduced };
        let found = self.findings.iter().zip(&self.tracks);
        found
            .map(|(of_volume, track)| {
                let reaches = of_volume.extent.as_ref().is_some_and(|extent| {
                    let [first, last] = extent.images;
                    (first..=last).contains(&place)
                });
                let map = heat.iter().find(|map| map.label == of_volume.label).filter(|_| reaches);
                map.and_then(|map| on_image(of_volume, track, plane, map, &organs)).unwrap_or_else(|| of_volume.clone())
            })
            .collect()
    }

    /// Fills in what findings are on the images of their peaks.
    pub(super) fn place_findings(&mut self) {
        for index in 0..self.findings.len() {
            let finding = &self.findings[index];
            let Some(extent) = &finding.extent else { continue };
            let Some(plane) = self.plane_at(extent.image) else { continue };
            let Some(lesion) = self.lesions.iter().find(|class| class.label == finding.label) else { continue };
            let map = HeatMap {
                label: lesion.label.clone(),
                values: Arc::new(on_plane(&lesion.values, &plane)),
                threshold: lesion.threshold,
                method: String::new(),
                layer: String::new(),
            };
            let organs = Organs { names: &[], maps: &[] };
            if let Some(placed) = on_image(finding, &self.tracks[index], &plane, &map, &organs) {
                self.findings[index] = placed;
            }
        }
    }
}

/// A finding of a volume as the region of the map of an image that its track goes through; `None` where there is none.
fn on_image(
    of_volume: &Finding,
    track: &[Vector],
    plane: &Plane,
    map: &HeatMap,
    organs: &Organs<'_>,
) -> Option<Finding> {
    let heat = reduce(map.values.view());
    let (row, column) = nearest_on(track, plane)?;
    let (row, column) = (row / heat.step as f64, column / heat.step as f64);
    let away = |at: &(usize, usize)| (at.0 as f64 - row).hypot(at.1 as f64 - column);
    let found = regions(&heat.values, map.threshold);
    let distance = |region: &Vec<(usize, usize)>| region.iter().map(away).fold(f64::INFINITY, f64::min);
    let region = found.into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
    // A region further away than this is another one's: the piece ends just before this image.
    const FURTHEST_MM: f64 = 10.0;
    if distance(&region) * heat.step as f64 * plane.spacing_mm > FURTHEST_MM {
        return None;
    }
    let on = finding(&of_volume.label, &heat, map.threshold, &region, organs, Some(pixel_spacing(plane)));
    Some(Finding {
        id: of_volume.id,
        probability: of_volume.probability,
        calibration: of_volume.calibration,
        organ: of_volume.organ.clone(),
        zone: of_volume.zone,
        extent: of_volume.extent.clone(),
        ..on
    })
}

/// Pixels of a slice need not be square ([`Plane::of_slice`]).
fn pixel_spacing(plane: &Plane) -> PixelSpacing {
    let row_mm = length(plane.orientation.column) * plane.spacing_mm;
    PixelSpacing { row_mm, column_mm: plane.spacing_mm, kind: SpacingKind::Patient }
}

/// Row and column of the point of a track that is nearest to a plane.
fn nearest_on(track: &[Vector], plane: &Plane) -> Option<(f64, f64)> {
    let normal = unit(plane.orientation.normal())?;
    let height = |point: &&Vector| dot(minus(**point, plane.origin), normal).abs();
    let point = track.iter().min_by(|a, b| height(a).total_cmp(&height(b)))?;
    let offset = minus(*point, plane.origin);
    let step = |direction: Vector| {
        let square = dot(direction, direction);
        dot(offset, direction) / (square * plane.spacing_mm)
    };
    Some((step(plane.orientation.column), step(plane.orientation.row)))
}
