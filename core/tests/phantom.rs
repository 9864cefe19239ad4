//! The phantom's truth against its voxels and pixels.

use bifocal_core::phantom::{LesionKind, ORGANS, Options, Phantom, simulate};
use bifocal_core::task::Task;

fn small(seed: u64) -> Phantom {
    let options = Options { ct_size: 160, ct_slice_mm: 4.0, radiograph_size: 256, ..Options::new(seed) };
    simulate(options, &Task::new()).expect("nobody cancels")
}

#[test]
fn the_same_seed_gives_the_same_patient() {
    let options = |seed| Options { ct_size: 48, ct_slice_mm: 12.0, radiograph_size: 96, ..Options::new(seed) };
    let run = |seed| simulate(options(seed), &Task::new()).expect("nobody cancels");
    let (a, b, c) = (run(5), run(5), run(6));
    assert_eq!(a.ct.hu, b.ct.hu);
    assert_eq!(a.radiograph.pixels, b.radiograph.pixels);
    assert_eq!(a.truth(), b.truth());
    assert_ne!(a.ct.hu, c.ct.hu);
    assert_ne!(a.radiograph.pixels, c.radiograph.pixels);
}

#[test]
fn cancelling_stops_the_work() {
    let task = Task::new();
    task.cancel();
    assert!(simulate(Options::new(1), &task).is_err());
}

#[test]
fn truth_agrees_with_voxels_and_pixels() {
    for seed in [3, 7] {
        let phantom = small(seed);
        let truth = phantom.truth();
        organs(&phantom);
        assert!(truth.lesions.len() >= 5, "seed {seed}: only {} lesions found a place", truth.lesions.len());
        for lesion in &truth.lesions {
            let what = format!("seed {seed}, lesion {} ({:?})", lesion.lesion.id, lesion.lesion.kind);
            let ct = lesion.ct.as_ref().unwrap_or_else(|| panic!("{what} is not in the CT"));
            // In the middle of each lesion the CT shows what was designed.
            let [z, y, x] = ct.center_index.map(|i| i.round() as usize);
            let middle = f64::from(phantom.ct.hu[[z, y, x]]);
            let design = f64::from(if lesion.lesion.core_mm > 0.0 { lesion.lesion.core_hu } else { lesion.lesion.hu });
            let size = f64::from(lesion.lesion.axes_mm.iter().product::<f32>().cbrt());
            if lesion.lesion.kind == LesionKind::SolidNodule && size > 12.0 {
                assert!((middle - design).abs() < 60.0, "{what}: {middle} HU, designed {design}");
            }
            assert!(ct.mean_hu > -780.0, "{what}: {} HU is not denser than lung", ct.mean_hu);
            assert!(
                (ct.equivalent_diameter_mm / size - 1.0).abs() < 0.25,
                "{what}: {} mm, designed {size}",
                ct.equivalent_diameter_mm
            );
            let inside = phantom.ct.lesions.indexed_iter().filter(|(_, l)| **l == lesion.lesion.id);
            assert!(inside.clone().all(|(at, _)| matches!(phantom.ct.organs[at], 1 | 2)), "{what} leaves the lung");
            projection(&phantom, lesion, inside.map(|(at, _)| at).collect(), &what);
        }
    }
}

/// The voxels of the CT, projected by the published matrix, fall into the lesion's box.
fn projection(
    phantom: &Phantom,
    lesion: &bifocal_core::phantom::LesionTruth,
    voxels: Vec<(usize, usize, usize)>,
    what: &str,
) {
    let shadow = lesion.radiograph.as_ref().unwrap_or_else(|| panic!("{what} is not in the radiograph"));
    let [left, top, width, height] = shadow.r#box.map(|v| v as f64);
    let ct = &phantom.ct;
    let margin = 2.0;
    let inside = voxels
        .iter()
        .filter(|(z, y, x)| {
            let p = [
                ct.origin_mm[0] + ct.spacing_mm[2] * *x as f64,
                ct.origin_mm[1] + ct.spacing_mm[1] * *y as f64,
                ct.origin_mm[2] + ct.spacing_mm[0] * *z as f64,
                1.0,
            ];
            let [column, row, w] =
                phantom.radiograph.projection.map(|m| m.iter().zip(p).map(|(a, b)| a * b).sum::<f64>());
            let (column, row) = (column / w, row / w);
            (left - margin..left + width + margin).contains(&column)
                && (top - margin..top + height + margin).contains(&row)
        })
        .count();
    assert!(inside as f64 >= 0.95 * voxels.len() as f64, "{what}: {inside} of {} voxels in the box", voxels.len());
    let [x, y] = shadow.center.map(f64::from);
    assert!((left..left + width).contains(&x) && (top..top + height).contains(&y), "{what}: centre outside the box");
}

fn organs(phantom: &Phantom) {
    let ct = &phantom.ct;
    let mut mean = [0.0_f64; 3];
    let mut count = [0.0_f64; 3];
    let mut middle = [0.0_f64; 3];
    for ((z, y, x), organ) in ct.organs.indexed_iter().filter(|(_, o)| **o > 0) {
        let o = usize::from(*organ) - 1;
        mean[o] += f64::from(ct.hu[[z, y, x]]);
        middle[o] += ct.origin_mm[0] + ct.spacing_mm[2] * x as f64;
        count[o] += 1.0;
    }
    let voxel_ml = ct.spacing_mm.iter().product::<f64>() / 1000.0;
    for (o, name) in ORGANS.iter().enumerate() {
        let (hu, ml, x) = (mean[o] / count[o], count[o] * voxel_ml, middle[o] / count[o]);
        let (hu_range, ml_range) = if o < 2 { (-880.0..-650.0, 1500.0..4000.0) } else { (-50.0..200.0, 700.0..2200.0) };
        assert!(hu_range.contains(&hu) && ml_range.contains(&ml), "{name}: {hu} HU, {ml} mL");
        assert!([x > 40.0, x < -40.0, x.abs() < 30.0][o], "{name} lies at x = {x}");
    }
    // In the radiograph lung is dark, the heart is bright, and left is on the right.
    let mean_under = |o: usize| {
        let mask = phantom.radiograph_organ_mask(o);
        let others = phantom.radiograph_organ_mask(2);
        let (mut sum, mut n) = (0.0, 0.0);
        for ((at, set), value) in mask.indexed_iter().zip(&phantom.radiograph.pixels) {
            if *set > 0 && (o == 2 || others[at] == 0) {
                sum += f64::from(*value);
                n += 1.0;
            }
        }
        sum / n
    };
    let [left, right, heart] = [0, 1, 2].map(mean_under);
    assert!(heart > left + 500.0 && heart > right + 500.0, "left {left}, right {right}, heart {heart}");
    let columns = |o: usize| {
        let mask = phantom.radiograph_organ_mask(o);
        let (mut sum, mut n) = (0.0, 0.0);
        for ((_, column), _) in mask.indexed_iter().filter(|(_, set)| **set > 0) {
            sum += column as f64;
            n += 1.0;
        }
        sum / n
    };
    assert!(columns(0) > columns(1) + 60.0);
}

#[test]
fn truth_files_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { ct_size: 40, ct_slice_mm: 15.0, radiograph_size: 96, ..Options::new(2) };
    let phantom = simulate(options, &Task::new()).expect("nobody cancels");
    let truth = phantom.write_truth(folder.path()).expect("it is written");
    let text = std::fs::read_to_string(folder.path().join("truth.json")).expect("truth.json");
    let back: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(back["simulated"], true);
    assert_eq!(back["lesions"].as_array().map(Vec::len), Some(truth.lesions.len()));
    for (file, names, size) in [
        (&truth.ct.masks, vec!["organs.npy", "lesions.npy"], 40 * 40),
        (&truth.radiograph.masks, vec!["left_lung.npy", "cardiomediastinum.npy", "lesion_1.npy"], 96 * 96),
    ] {
        let archive = std::fs::File::open(folder.path().join(file)).expect("masks");
        let mut archive = zip::ZipArchive::new(archive).expect("npz");
        for name in names {
            assert!(archive.by_name(name).is_ok_and(|f| f.size() > size), "{file}: {name}");
        }
    }
}
