//! One click on each mask of a COCO data set, at its deepest point: how well the mask comes back by growing over intensities, and by the
//! smart tool. Patients that the bundle was trained on and held-out ones are told apart by its own recipe.
//!
//!     cargo run --release -p bifocal-core --example smart -- ../shared/data/chest-xray/coco.json left_lung right_lung lungs

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use bifocal_core::analysis::local_features;
use bifocal_core::dataset::{CocoDataset, load_gray, split_by_patient};
use bifocal_core::measure::Runs;
use bifocal_core::model::{Bundle, DeviceChoice, find_bundle, open_device};
use bifocal_core::segment::{Strokes, connected, fill_holes, flood, signed_distance};
use ndarray::Array2;

/// Share of the range of intensities; the best of 0.04 to 0.3 on the training patients' lungs.
const TOLERANCE: f32 = 0.2;
/// As the window begins with.
const LIKENESS: f32 = 0.08;
/// Smaller pieces are specks of the annotation, pixels.
const SMALLEST: u64 = 200;

fn dice(a: &Runs, b: &Runs) -> f64 {
    2.0 * a.intersection(b).count() as f64 / (a.count() + b.count()).max(1) as f64
}

/// The connected pieces of a mask, its specks left out.
fn pieces(mask: &Array2<u8>) -> Vec<Runs> {
    let mut rest = mask.clone();
    let mut found = Vec::new();
    let columns = mask.ncols();
    while let Some((seed, _)) = rest.indexed_iter().find(|(_, v)| **v != 0) {
        let piece = connected(seed, mask.dim(), |row, column| mask[[row, column]] != 0);
        for pixel in piece.pixels() {
            rest[[pixel as usize / columns, pixel as usize % columns]] = 0;
        }
        found.push(piece);
    }
    found.retain(|piece| piece.count() >= SMALLEST);
    found
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("which coco.json?")?;
    if !Path::new(&file).exists() {
        println!("skipped: {file} is not there");
        return Ok(());
    }
    let categories: Vec<String> = arguments.collect();
    let dataset = CocoDataset::load(Path::new(&file))?;
    let (device, name, _) = open_device(DeviceChoice::Cpu);
    let bundle = Bundle::load(&find_bundle("chest-opacity")?, device, name)?;
    // As in the bundle's train.toml.
    let held_out = split_by_patient(&dataset, 0.15, 1).validation;
    let mut scores: BTreeMap<(String, bool), Vec<[f64; 2]>> = BTreeMap::new();
    let (mut features_ms, mut click_ms) = (Vec::new(), Vec::new());
    for (index, record) in dataset.images.iter().enumerate() {
        let shapes: Vec<_> = record.shapes.iter().filter(|shape| categories.contains(&shape.category)).collect();
        if shapes.is_empty() {
            continue;
        }
        let image = load_gray(&record.file)?.mapv(f32::from);
        let start = Instant::now();
        let Some(features) = local_features(&bundle, &bifocal_core::model::NetworkImage::gray(image.view()))? else {
            return Err("no local stages".into());
        };
        features_ms.push(start.elapsed().as_secs_f64() * 1e3);
        let stretched = bifocal_core::model::stretch(image.view());
        for shape in shapes {
            for truth in pieces(&shape.geometry.to_mask(image.nrows(), image.ncols())) {
                let inside = signed_distance(truth.to_mask(image.dim()).view(), (1.0, 1.0));
                let deepest = inside.indexed_iter().min_by(|a, b| a.1.total_cmp(b.1)).map_or((0, 0), |(at, _)| at);
                let value = stretched[deepest];
                let range = (value - TOLERANCE, value + TOLERANCE);
                let grown = fill_holes(&flood(stretched.view(), deepest, range), image.dim());
                let start = Instant::now();
                let click = vec![vec![(deepest.0 as f64, deepest.1 as f64)]];
                let smart = features.mask(&Strokes { positive: click, negative: Vec::new() }, LIKENESS);
                click_ms.push(start.elapsed().as_secs_f64() * 1e3);
                let key = (shape.category.clone(), held_out.contains(&index));
                scores.entry(key).or_default().push([dice(&grown, &truth), dice(&smart, &truth)]);
            }
        }
    }
    println!("{:<22} {:>9} {:>6} {:>12} {:>12}", "category", "patients", "masks", "region grow", "smart tool");
    for ((category, held_out), rows) in &scores {
        let mean = |at: usize| rows.iter().map(|row| row[at]).sum::<f64>() / rows.len() as f64;
        let side = if *held_out { "held out" } else { "training" };
        println!("{category:<22} {side:>9} {:>6} {:>12.3} {:>12.3}", rows.len(), mean(0), mean(1));
    }
    for (what, mut times) in [("features", features_ms), ("a click", click_ms)] {
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get((share * (times.len().max(1) - 1) as f64) as usize).copied().unwrap_or(0.0);
        println!("{what}: median {:.0} ms, 95 % below {:.0} ms", at(0.5), at(0.95));
    }
    Ok(())
}
