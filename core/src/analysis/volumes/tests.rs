//! What a merged volume must do.

use std::sync::Arc;

use candle_core::Device;

use super::run::{Answers, lattice, merge, planes};
use super::*;
use crate::analysis::{Zone, analyze_volume, slab_image};
use crate::model::{
    Bundle, Familiarity, IntendedUse, LesionClass, Metadata, ModelConfig, Network, OrganClass, ResNetConfig, SlabInput,
    TransformerConfig,
};
use crate::study::{DisplayAttributes, Instance, InstanceUid, Series, Source};
use crate::task::Task;
use crate::volume::{Grid, Plane, Voxels, length, minus};

fn config() -> ModelConfig {
    ModelConfig {
        slab: Some(SlabInput { window: [-1000.0, 400.0], spacing_mm: 5.0 }),
        fine_lesions: true,
        lesions: vec!["nodule".into()],
        organs: vec!["left_lung".into()],
        resnet: ResNetConfig { channels: vec![8, 16], blocks: vec![1, 1], norm_groups: 4, ..ResNetConfig::default() },
        transformer: TransformerConfig::new(16, 2, 2, 2, [4, 4]),
        head_channels: 8,
        input_size: 64,
        ..ModelConfig::preset("serial-r50-vit-base").expect("a preset")
    }
}

fn bundle() -> Bundle {
    let config = ModelConfig { colour: None, classes: Vec::new(), ..config() };
    let metadata = Metadata {
        id: "slabs".into(),
        name: "Slabs".into(),
        version: "1".into(),
        created: String::new(),
        intended_use: IntendedUse {
            statement: String::new(),
            modalities: vec!["CT".into()],
            body_parts: Vec::new(),
            views: Vec::new(),
            limits: Vec::new(),
        },
        lesions: vec![LesionClass {
            name: "nodule".into(),
            display: "Nodule".into(),
            threshold: 0.5,
            map_threshold: 0.5,
            box_threshold: None,
            calibration: None,
            concept: None,
        }],
        organs: vec![OrganClass { name: "left_lung".into(), display: "Left lung".into(), concept: None }],
        average_mirror_image: true,
        config: config.clone(),
        familiarity: Familiarity::default(),
        data: Vec::new(),
        licence: String::new(),
        recipe: String::new(),
        seed: 0,
        validation: (0.0, 0),
        metrics: Default::default(),
        weights_sha256: "x".into(),
        fine_tuning: None,
    };
    let network = Network::random(&config, 3, &Device::Cpu).expect("a network");
    Bundle { metadata, network, device: Device::Cpu, device_name: "CPU".into() }
}

/// 24 slices of 48 x 64 pixels, 2.5 mm apart, from the head to the feet in reading order as scanners number them; the value tells where.
fn scan() -> (Series, Arc<Volume>) {
    const SLICES: usize = 24;
    let positions: Vec<Vector> = (0..SLICES).map(|k| [-64.0, -48.0, 2.5 * k as f64]).collect();
    let grid = Grid::new(&positions, (48, 64), [0.0, 2.0, 0.0], [2.0, 0.0, 0.0]).expect("a lattice");
    let value = |i: usize| {
        let (k, r, c) = (i / (48 * 64), i / 64 % 48, i % 64);
        -1000 + 40 * k as i16 + 5 * (r % 7) as i16 + (300 * usize::from(r.abs_diff(20) + c.abs_diff(30) < 9)) as i16
    };
    let instances = (0..SLICES)
        .map(|n| Instance {
            uid: InstanceUid(format!("1.2.{n}")),
            source: Source::file(format!("{n}.dcm")),
            frames: 1,
            rows: 48,
            columns: 64,
            twin: None,
            sop_class: String::new(),
            number: None,
            transfer_syntax: String::new(),
            frame_order: Vec::new(),
            geometry: None,
        })
        .collect();
    let series = Series { uid: SeriesUid("1.2".into()), modality: "CT".into(), instances, ..Series::default() };
    let volume = Volume {
        grid,
        voxels: Voxels::I16((0..SLICES * 48 * 64).map(value).collect()),
        places: (0..SLICES).rev().collect(),
        rescale: (1.0, 0.0),
        frame_of_reference: None,
        display: DisplayAttributes::default(),
        notes: vec!["uneven".into()],
    };
    (series, Arc::new(volume))
}

#[test]
fn a_slab_begins_at_the_feet_and_ends_with_the_volume() {
    let (_, volume) = scan();
    let slab = SlabInput { window: [-1000.0, 0.0], spacing_mm: 5.0 };
    let at = |image: &crate::model::NetworkImage, channel: usize| {
        let input = image.input(64);
        (input.values[[channel, 14, 10]] / crate::model::INPUT_SCALE + crate::model::INPUT_MEAN) * 1000.0
    };
    let image = slab_image(&volume, &Plane::of_slice(&volume.grid, 10), &slab);
    let [below, here, above] = [0, 1, 2].map(|channel| at(&image, channel));
    // 40 HU a slice, two slices away.
    assert!((here - below - 80.0).abs() < 0.1 && (above - here - 80.0).abs() < 0.1, "{below} {here} {above}");
    // The same from a plane that is seen from the head.
    let plane = Plane::of_slice(&volume.grid, 10);
    let row = plane.orientation.row.map(|x| -x);
    let turned = Plane {
        orientation: crate::volume::Orientation { row, ..plane.orientation },
        origin: plane.patient_from_pixel(0.0, 63.0),
        ..plane
    };
    let image = slab_image(&volume, &turned, &slab);
    assert!((at(&image, 2) - at(&image, 0) - 160.0).abs() < 0.2);
    let last = slab_image(&volume, &Plane::of_slice(&volume.grid, 23), &slab);
    assert!((at(&last, 2) - at(&last, 1)).abs() < 1.0 && (at(&last, 1) - at(&last, 0) - 80.0).abs() < 1.0);
}

#[test]
fn planes_fill_the_volume_and_the_lattice_lies_over_them() {
    let (_, volume) = scan();
    let slab = SlabInput { window: [-1000.0, 0.0], spacing_mm: 5.0 };
    assert_eq!(planes(&volume, PlaneKind::Acquired, slab).len(), 24);
    let thick = SlabInput { spacing_mm: 12.0, ..slab };
    assert_eq!(planes(&volume, PlaneKind::Acquired, thick).len(), 12, "thin slices are not all asked about");
    for (kind, count) in [(PlaneKind::Coronal, 19), (PlaneKind::Sagittal, 25), (PlaneKind::Axial, 12)] {
        let planes = planes(&volume, kind, slab);
        assert_eq!(planes.len(), count, "{kind:?}");
        let grid = lattice(&planes, 64).expect("a lattice");
        assert_eq!(grid.shape(), [count, 32, 32]);
        // The middle of the square is the middle of the plane.
        let (first, middle) = (&planes[0], [0.0, 15.5, 15.5]);
        let centre = first.patient_from_pixel((first.rows as f64 - 1.0) / 2.0, (first.columns as f64 - 1.0) / 2.0);
        assert!(length(minus(grid.patient_from_voxel(middle), centre)) < 1e-3, "{kind:?}");
    }
}

/// Answers with a ball of nodule and a block of lung, on the lattice of the acquired slices.
fn answers(lattice: &Grid, ball: (Vector, f64)) -> Answers {
    let [slices, rows, columns] = lattice.shape();
    let all = (0..slices * rows * columns)
        .map(|i| lattice.patient_from_voxel([i / (rows * columns), i / columns % rows, i % columns].map(|x| x as f64)));
    let places: Vec<Vector> = all.collect();
    let nodule = |p: &Vector| {
        let away = length(minus(*p, ball.0)) / ball.1;
        // Half at the edge, and a second, tiny one that is noise.
        let noise = if length(minus(*p, [50.0, 40.0, 5.0])) < 1.5 { 200.0 } else { 0.0 };
        ((1.5 - away).clamp(0.0, 1.0) * 250.0).max(noise) as u8
    };
    let lung = |p: &Vector| u8::from((-50.0..40.0).contains(&p[0]) && (5.0..55.0).contains(&p[2])) * 255;
    Answers {
        lesions: vec![places.iter().map(nodule).collect()],
        organs: vec![places.iter().map(lung).collect()],
        logits: vec![1.0],
        side: rows,
    }
}

#[test]
fn a_nodule_is_one_finding_with_place_and_size_on_each_image_it_reaches() {
    let (series, volume) = scan();
    let bundle = bundle();
    let slab = bundle.metadata.config.slab.expect("slabs");
    let planes = planes(&volume, PlaneKind::Acquired, slab);
    let grid = lattice(&planes, 64).expect("a lattice");
    let ball = ([-10.0, 6.0, 45.0], 10.0);
    let task = Task::new();
    let found = merge(&bundle, Arc::clone(&volume), &series, PlaneKind::Acquired, &grid, answers(&grid, ball), &task)
        .expect("merged");
    assert_eq!(found.findings.len(), 1, "noise is no finding");
    let finding = &found.findings[0];
    let extent = finding.extent.as_ref().expect("a volume");
    let truth = 4.0 / 3.0 * std::f64::consts::PI * 1000.0;
    assert!((f64::from(extent.volume_mm3) / truth - 1.0).abs() < 0.15, "{extent:?} of {truth}");
    assert!((extent.longest_mm - 20.0).abs() < 4.0, "{extent:?}");
    assert!(length(minus(extent.peak_mm, ball.0)) < 5.0);
    // 45 mm is slice 18 from the feet, image 5 from the head; three slices to either side.
    assert!(extent.image.abs_diff(5) <= 2 && extent.images == [2, 8], "{extent:?}");
    assert_eq!(extent.instance.0, format!("1.2.{}", extent.image));
    assert_eq!((finding.organ.as_deref(), finding.zone), (Some("left_lung"), Some(Zone::Upper)));
    let size = finding.size_mm.expect("measured on its image");
    assert!((size.longest_mm - 20.0).abs() < 4.0, "{size:?}");
    // Pixels of 2 mm from (-64, -48).
    assert!((finding.centroid.0 - 27.0).abs() < 1.0 && (finding.centroid.1 - 27.0).abs() < 1.0, "{finding:?}");
    assert_eq!(found.predictions[0].calibration, crate::analysis::Calibration::Uncalibrated);

    let edge = found.image(&series, 2).expect("an image of the volume");
    let away = found.image(&series, 20).expect("an image of the volume");
    assert!(edge.shows(&edge.findings[0]) && !away.shows(&away.findings[0]));
    assert_eq!(edge.findings[0].extent, finding.extent);
    assert!(edge.findings[0].area_px < finding.area_px, "smaller at its edge");
    assert_eq!(edge.home_of(&edge.findings[0]), (extent.instance.clone(), 0));
    assert_eq!(away.findings[0], *finding, "as on the image of its peak");
    assert_eq!(edge.heat_maps[0].values.dim(), (48, 64));
    assert!(away.heat_maps[0].values.iter().all(|v| *v < 0.5));
    assert!(found.image(&series, 24).is_none());
    assert!(found.bytes() == 2 * 24 * 32 * 32);
}

#[test]
fn the_merged_volume_says_what_the_network_says_of_a_slice() {
    let (series, volume) = scan();
    let bundle = bundle();
    let task = Task::new();
    let found = analyze_volume(&bundle, volume, &series, PlaneKind::Acquired, &task).expect("analysed");
    assert_eq!((found.planes, found.lesions.len(), found.organs.len()), (24, 1, 1));
    assert!(found.flags.iter().any(|flag| flag.code == "doubtful_volume"));
    let slab = bundle.metadata.config.slab.expect("slabs");
    let plane = Plane::of_slice(&found.volume.grid, 11);
    let alone = crate::analysis::infer(&bundle, &slab_image(&found.volume, &plane, &slab), false).expect("an answer");
    let merged = found.image(&series, 12).expect("an image");
    let differ = |a: &ndarray::Array2<f32>, b: &ndarray::Array2<f32>| {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    let heat = differ(&alone.lesion_maps[0], &merged.heat_maps[0].values);
    assert!(heat < 0.02, "{heat}");
    let whole = found.analyze_image(&bundle, &series, 12, &task).expect("asked again");
    assert_eq!(whole.heat_maps, merged.heat_maps);
    assert_eq!(whole.attention_maps.len(), 2);
    let total: f32 = whole.attention_maps[0].tokens.sum();
    assert!((total - 1.0).abs() < 1e-4 && whole.token_attention.grid == (4, 4));
    let coronal = analyze_volume(&bundle, Arc::clone(&found.volume), &series, PlaneKind::Coronal, &task);
    assert_eq!(coronal.expect("analysed").planes, 19);
}

#[test]
fn a_bundle_of_single_images_refuses_a_volume() {
    let (series, volume) = scan();
    let mut bundle = bundle();
    bundle.metadata.config.slab = None;
    let refused = analyze_volume(&bundle, volume, &series, PlaneKind::Acquired, &Task::new());
    assert!(refused.expect_err("refused").to_string().contains("single images"));
}
