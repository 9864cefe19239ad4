//! Draws a sheet to judge augmentation and simulated opacities by eye:
//! `cargo run --release -p bifocal-core --example augmented -- coco.json sheet.png [seed]`.
//!
//! One row an image: plain, augmented, with a simulated opacity, with its outline, with distractors.

use std::path::Path;

use bifocal_core::dataset::{
    Augmentation, ClassMap, CocoDataset, Draw, ImageStore, OpacityOptions, image_rng, simulate_distractors,
    simulate_opacity,
};
use ndarray::{Array2, s};

const SIDE: usize = 320;
const ROWS: usize = 6;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, coco, sheet_path, rest @ ..] = arguments.as_slice() else {
        return Err("usage: augmented coco.json sheet.png [seed]".into());
    };
    let seed: u64 = rest.first().map_or(Ok(1), |text| text.parse())?;
    let dataset = CocoDataset::load(Path::new(coco))?;
    let lungs = ClassMap {
        class: "lungs".into(),
        any_of: vec![vec!["lungs".into()], vec!["left_lung".into(), "right_lung".into()]],
    };
    let store = ImageStore::new(1 << 28);
    let annotated: Vec<_> = dataset.images.iter().filter(|image| lungs.is_annotated(image)).collect();
    let mut sheet = Array2::<f32>::zeros((ROWS * SIDE, 5 * SIDE));
    for row in 0..ROWS {
        let Some(record) = annotated.get((seed as usize * 31 + row * 17) % annotated.len().max(1)) else { break };
        let image = store.get(record)?;
        let Some(lung) = lungs.mask(record) else { continue };
        let mut rng = image_rng(seed, 0, record.id);
        let plain = Draw::plain(record.height, record.width, SIDE);
        let (film, mask) = (plain.image(image.view()), plain.mask(lung.view()));
        let draw = Augmentation::default().draw(record.height, record.width, SIDE, &mut rng);
        let augmented = draw.image(image.view());
        let mut panels = vec![film.clone(), augmented];
        if let Some(simulated) = simulate_opacity(film.view(), mask.view(), &OpacityOptions::default(), &mut rng) {
            let mut outlined = simulated.image.clone();
            for ((r, c), value) in outlined.indexed_iter_mut() {
                let here = simulated.mask[[r, c]];
                let edge = [(1, 0), (0, 1)]
                    .iter()
                    .any(|(dr, dc)| simulated.mask.get((r + dr, c + dc)).is_some_and(|next| *next != here));
                if edge {
                    *value = 1.0;
                }
            }
            panels.extend([simulated.image, outlined]);
        }
        let mut distracted = film;
        simulate_distractors(&mut distracted, &mut rng);
        panels.push(distracted);
        for (column, panel) in panels.iter().enumerate() {
            let (top, left) = (row * SIDE, column * SIDE);
            sheet.slice_mut(s![top..top + SIDE, left..left + SIDE]).assign(panel);
        }
    }
    let bytes = sheet.iter().map(|v| (v * 255.0).round() as u8).collect();
    let (rows, columns) = sheet.dim();
    let picture = image::GrayImage::from_raw(columns as u32, rows as u32, bytes).ok_or("the sheet has no pixels")?;
    picture.save(sheet_path)?;
    Ok(())
}
