//! An answer made of smooth blobs, for tests of the window.

use std::sync::Arc;

use bifocal_core::analysis::{
    Analysis, AttentionMap, AttentionMethod, Calibration, Finding, FindingId, Flag, HeatMap, ModelIdentity,
    OrganAttention, OrganMap, Prediction, SizeMm, Target, TokenAttention, Zone, contour::contours,
};
use bifocal_core::study::{InstanceKey, SeriesUid, SpacingKind};
use ndarray::Array2;

/// A bell of height 1 around (row, column), as a share of the frame's size.
fn bell(rows: usize, columns: usize, center: (f32, f32), spread: f32) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(r, c)| {
        let (dr, dc) = (r as f32 / rows as f32 - center.0, c as f32 / columns as f32 - center.1);
        (-(dr * dr + dc * dc) / (2.0 * spread * spread)).exp()
    })
}

/// An analysis of instance `1.2.0`, frame 0, with two findings, three organs and two attention maps.
pub fn analysis(rows: usize, columns: usize) -> Analysis {
    let organs = ["left_lung", "right_lung", "cardiomediastinum"];
    let centers = [(0.5, 0.72), (0.5, 0.28), (0.6, 0.52)];
    let first = bell(rows, columns, (0.62, 0.27), 0.07) * 0.9;
    let second = bell(rows, columns, (0.35, 0.74), 0.05) * 0.7;
    let heat = &first + &second;
    let finding = |id: u32, map: &Array2<f32>, center: (f32, f32), organ: &str, zone: Zone| {
        let peak = (center.0 * rows as f32, center.1 * columns as f32);
        Finding {
            id: FindingId(id),
            label: "lung_opacity".into(),
            probability: map.iter().copied().fold(0.0, f32::max),
            calibration: Calibration::Calibrated,
            organ: Some(organ.into()),
            zone: Some(zone),
            peak,
            centroid: peak,
            bounding_box: [0, 0, rows - 1, columns - 1],
            area_px: map.iter().filter(|v| **v >= 0.5).count(),
            size_mm: (id == 1).then_some(SizeMm {
                longest_mm: 42.0,
                perpendicular_mm: 31.0,
                kind: SpacingKind::Detector,
            }),
            contour: contours(map, 0.5).into_iter().next().unwrap_or_default(),
            extent: None,
        }
    };
    let organ_maps: Vec<OrganMap> = organs
        .iter()
        .zip(centers)
        .map(|(organ, center)| {
            let values = bell(rows, columns, center, 0.12);
            OrganMap { organ: (*organ).into(), contours: contours(&values, 0.5), values: Arc::new(values) }
        })
        .collect();
    let shares = [(0.2, 1.1), (0.5, 2.4), (0.1, 0.6)];
    let organ_attention: Vec<OrganAttention> = organs
        .iter()
        .zip(shares)
        .map(|(organ, (share, enrichment))| OrganAttention { organ: (*organ).into(), share, enrichment })
        .collect();
    let attention = |method, label: Option<&str>| {
        let tokens = bell(8, 8, (0.6, 0.3), 0.2);
        AttentionMap {
            method,
            label: label.map(str::to_owned),
            tokens: Arc::new(&tokens / tokens.sum()),
            values: Arc::new(bell(rows, columns, (0.6, 0.3), 0.2)),
            layer: "transformer layers 1 to 4".into(),
            organs: organ_attention.clone(),
        }
    };
    let matrix = Array2::from_shape_fn((64, 64), |(from, to)| {
        let away = ((from / 8).abs_diff(to / 8) + (from % 8).abs_diff(to % 8)) as f32;
        (-(away - 4.0).abs()).exp()
    });
    let sums = matrix.sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1));
    let coverage = Array2::from_shape_fn((3, 64), |(organ, token)| {
        let (row, column) = (token / 8, token % 8);
        let center = centers[organ];
        let near = (row as f32 / 8.0 - center.0).abs() < 0.3 && (column as f32 / 8.0 - center.1).abs() < 0.2;
        f32::from(u8::from(near))
    });
    Analysis {
        model: ModelIdentity {
            id: "chest-opacity".into(),
            version: "1.0".into(),
            weights_sha256: "a".repeat(64),
            device: "CPU".into(),
        },
        target: Target {
            series_uid: SeriesUid("1.2.A".into()),
            instance_uid: InstanceKey("1.2.0".into()),
            frame: 0,
            sources: Vec::new(),
            rows,
            columns,
        },
        place: None,
        predictions: vec![Prediction {
            label: "lung_opacity".into(),
            probability: 0.91,
            calibration: Calibration::Calibrated,
            threshold: 0.42,
        }],
        findings: vec![
            finding(1, &first, (0.62, 0.27), "right_lung", Zone::Lower),
            finding(2, &second, (0.35, 0.74), "left_lung", Zone::Upper),
        ],
        heat_maps: vec![HeatMap {
            label: "lung_opacity".into(),
            values: Arc::new(heat),
            threshold: 0.5,
            method: "lesion head, sigmoid".into(),
            layer: "ResNet stage 2".into(),
        }],
        organ_maps,
        attention_maps: vec![
            attention(AttentionMethod::AttentionRollout, None),
            attention(AttentionMethod::GradientRelevance, Some("lung_opacity")),
        ],
        token_attention: TokenAttention {
            grid: (8, 8),
            matrix: Arc::new(matrix / sums),
            organ_coverage: Arc::new(coverage),
            field: [-0.5, -0.5, rows as f32, columns as f32],
        },
        flags: vec![Flag { code: "branches_disagree".into(), message: "local and global evidence disagree".into() }],
        seconds: 1.2,
    }
}
