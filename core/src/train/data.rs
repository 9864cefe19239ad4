//! Images with their targets, and batches of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2, Axis};
use rand::RngExt;
use rayon::prelude::*;

use super::config::{SamplingConfig, TrainConfig};
use super::detection::{BoxTarget, BoxTargets};
use crate::dataset::{
    ClassMap, CocoDataset, DatasetError, Draw, Geometry, ImageRecord, ImageStore, image_rng, lung_on_lung,
    simulate_distractors, simulate_opacity, transplant,
};
use crate::evaluate::{separate_lesions, true_lesions};
use crate::model::{INPUT_MEAN, INPUT_SCALE, stretch};
use crate::nn::BoundingBox;
use crate::study::{Affine, letterbox};
use crate::task::Task;

/// A training image, decoded, with its annotations as masks in its size.
pub(super) struct Item {
    pub(super) id: u64,
    /// `[channel, row, column]`: stretched, or the slices of a slab through its window.
    pub(super) channels: Arc<Array3<u8>>,
    lesions: Vec<Option<LesionTarget>>,
    /// Boxes of the lesions with their classes, for a detector.
    boxes: Vec<(usize, BoundingBox)>,
    organs: Vec<Option<Array2<u8>>>,
    unions: Vec<Option<Array2<u8>>>,
    /// Whether its read is one of `normal_reads`.
    pub(super) normal: bool,
    pub(super) unlabelled: bool,
    /// Organ probabilities, 0 to 255, on the letterboxed grid of the organ head; from the network itself.
    pub(super) pseudo: Option<Vec<Array2<u8>>>,
}

struct LesionTarget {
    positive: bool,
    mask: Array2<u8>,
    /// 1 where the annotation is silent: the corners of boxes.
    unknown: Option<Array2<u8>>,
}

impl Item {
    /// Rows and columns.
    pub(super) fn dim(&self) -> (usize, usize) {
        let (_, rows, columns) = self.channels.dim();
        (rows, columns)
    }

    /// The image, or the middle slice.
    fn picture(&self) -> ArrayView2<'_, u8> {
        self.channels.index_axis(Axis(0), self.channels.dim().0 / 2)
    }

    /// What `draw` makes of each channel: 0 to 1, without photometric changes.
    fn warped(&self, draw: &Draw) -> Array3<f32> {
        let mut warped = Array3::zeros((self.channels.dim().0, draw.size, draw.size));
        for (channel, mut target) in self.channels.outer_iter().zip(warped.outer_iter_mut()) {
            target.assign(&draw.warp(channel, 0.0));
        }
        warped.mapv_inplace(|v| v / 255.0);
        warped
    }

    pub(super) fn has_organs(&self) -> bool {
        self.organs.iter().chain(&self.unions).any(Option::is_some)
    }

    pub(super) fn lesion_label(&self, class: usize) -> Option<bool> {
        self.lesions.get(class).and_then(|target| target.as_ref()).map(|target| target.positive)
    }

    pub(super) fn has_lesion_labels(&self) -> bool {
        self.lesions.iter().any(Option::is_some)
    }

    fn new(record: &ImageRecord, store: &ImageStore, config: &TrainConfig) -> Result<Self, DatasetError> {
        let channels = if config.model.slab.is_some() {
            store.colours(record)?.permuted_axes([2, 0, 1]).as_standard_layout().to_owned()
        } else {
            let stretched = stretch(store.get(record)?.mapv(f32::from).view());
            stretched.mapv(|v| (v * 255.0).round() as u8).insert_axis(Axis(0))
        };
        let data = &config.data;
        let reads = |list: &[String]| record.radiologist_read.as_ref().is_some_and(|read| list.contains(read));
        Ok(Self {
            id: record.id,
            channels: Arc::new(channels),
            lesions: data.lesions.iter().map(|map| lesion_target(map, record)).collect(),
            boxes: if config.model.detection.is_some() { boxes(&data.lesions, record) } else { Vec::new() },
            organs: data.organs.iter().map(|map| organ_mask(map, record)).collect(),
            unions: data.unions.iter().map(|union| organ_mask(&union.target, record)).collect(),
            normal: reads(&data.normal_reads),
            unlabelled: reads(&data.unlabelled_reads),
            pseudo: None,
        })
    }
}

/// Everyone has the organ: where none is drawn, on an image that counts as annotated for it, the annotator left it out.
fn organ_mask(map: &ClassMap, record: &ImageRecord) -> Option<Array2<u8>> {
    map.mask(record).filter(|mask| mask.iter().any(|v| *v > 0))
}

/// Masks teach as drawn; a box by its inscribed ellipse, its corners being unknown.
fn lesion_target(map: &ClassMap, record: &ImageRecord) -> Option<LesionTarget> {
    let positive = map.label(record)?;
    let mut mask = Array2::zeros((record.height, record.width));
    let mut unknown: Option<Array2<u8>> = None;
    for shape in map.shapes(record) {
        let Geometry::Box { x, y, width, height } = shape.geometry else {
            shape.geometry.draw_on(&mut mask);
            continue;
        };
        shape.geometry.draw_on(unknown.get_or_insert_with(|| Array2::zeros(mask.dim())));
        let (cx, cy) = (x + width / 2.0, y + height / 2.0);
        let inside = |row: usize, column: usize| {
            let (dx, dy) = ((column as f32 + 0.5 - cx) / (width / 2.0), (row as f32 + 0.5 - cy) / (height / 2.0));
            dx * dx + dy * dy <= 1.0
        };
        let rows = (y.max(0.0) as usize)..((y + height).ceil().max(0.0) as usize).min(record.height);
        for row in rows {
            for column in (x.max(0.0) as usize)..((x + width).ceil().max(0.0) as usize).min(record.width) {
                if inside(row, column) {
                    mask[[row, column]] = 1;
                }
            }
        }
    }
    if let Some(unknown) = &mut unknown {
        unknown.zip_mut_with(&mask, |unknown, mask| *unknown &= 1 - mask);
    }
    Some(LesionTarget { positive, mask, unknown })
}

fn boxes(classes: &[ClassMap], record: &ImageRecord) -> Vec<(usize, BoundingBox)> {
    let of_class = |(class, map): (usize, &ClassMap)| -> Vec<(usize, BoundingBox)> {
        true_lesions(map, record).iter().map(|lesion| (class, lesion.bounds())).collect()
    };
    classes.iter().enumerate().filter(|(_, map)| map.is_annotated(record)).flat_map(of_class).collect()
}

/// Decodes all images of `indices`.
pub(super) fn load_items(
    dataset: &CocoDataset,
    indices: &[usize],
    config: &TrainConfig,
    task: &Task,
) -> Result<Vec<Item>, DatasetError> {
    let store = ImageStore::new(0);
    let done = std::sync::atomic::AtomicU64::new(0);
    indices
        .par_iter()
        .filter_map(|index| dataset.images.get(*index))
        .map(|record| {
            let item = Item::new(record, &store, config);
            let count = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            task.progress("Decoding images", count, indices.len() as u64);
            item
        })
        .collect()
}

/// One target map of a batch's image, with weight.
pub(super) struct MapTarget {
    pub(super) target: Vec<f32>,
    pub(super) known: Option<Vec<f32>>,
    pub(super) weight: f32,
}

/// Targets of one image of a batch.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) lesions: Vec<Option<MapTarget>>,
    pub(super) organs: Vec<Option<MapTarget>>,
    pub(super) unions: Vec<Option<MapTarget>>,
    /// (target 0 to 1, weight) by lesion class.
    pub(super) classes: Vec<Option<(f32, f32)>>,
    /// For a detector.
    pub(super) boxes: Option<BoxTargets>,
}

/// A batch: input (batch, channel, side, side) and the targets of each image.
pub(super) struct Batch {
    pub(super) input: Tensor,
    pub(super) targets: Vec<Targets>,
}

/// Items of one kind, and their share of a batch.
pub(super) struct Pool {
    pub(super) name: &'static str,
    pub(super) share: f64,
    pub(super) items: Vec<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Annotated,
    Normal,
}

/// The pools that `sampling` names and that are not empty.
pub(super) fn pools(items: &[Item], sampling: &SamplingConfig) -> Vec<Pool> {
    let by = |test: &dyn Fn(&Item) -> bool| -> Vec<usize> {
        items.iter().enumerate().filter(|(_, item)| test(item)).map(|(index, _)| index).collect()
    };
    let any = |item: &Item, label: bool| (0..item.lesions.len()).any(|class| item.lesion_label(class) == Some(label));
    let pools = [
        ("organs", sampling.organs, by(&Item::has_organs), Kind::Annotated),
        ("positive", sampling.positive, by(&|item| any(item, true)), Kind::Annotated),
        ("negative", sampling.negative, by(&|item| any(item, false)), Kind::Annotated),
        ("normal", sampling.normal, by(&|item| item.normal), Kind::Normal),
        ("unlabelled", sampling.unlabelled, by(&|item| item.unlabelled && item.pseudo.is_some()), Kind::Annotated),
    ];
    let usable = pools.into_iter().filter(|(_, share, items, _)| *share > 0.0 && !items.is_empty());
    usable.map(|(name, share, items, kind)| Pool { name, share, items, kind }).collect()
}

/// Draws the batch of `step`; the same for the same seed.
pub(super) fn draw_batch(
    items: &[Item],
    pools: &[Pool],
    config: &TrainConfig,
    pseudo_weight: f32,
    step: u64,
) -> candle_core::Result<Batch> {
    let total: f64 = pools.iter().map(|pool| pool.share).sum();
    let mut rng = image_rng(config.seed, step, u64::MAX);
    // Stratified: the shares are met in every batch as nearly as its size allows.
    let start: f64 = rng.random();
    let picks: Vec<(usize, Kind)> = (0..config.batch)
        .filter_map(|slot| {
            let mut at = (slot as f64 + start) / config.batch as f64 * total;
            let pool = pools.iter().find(|pool| {
                at -= pool.share;
                at <= 0.0
            });
            let pool = pool.or(pools.last())?;
            Some((pool.items[rng.random_range(0..pool.items.len())], pool.kind))
        })
        .collect();
    let images: Vec<(Array3<f32>, Targets)> = picks
        .par_iter()
        .enumerate()
        .map(|(slot, (index, kind))| {
            let item = &items[*index];
            let mut rng = image_rng(config.seed, step, item.id.wrapping_mul(64).wrapping_add(slot as u64));
            draw_image(items, item, *kind, config, pseudo_weight, &mut rng)
        })
        .collect();
    batch_of(images, config)
}

fn batch_of(images: Vec<(Array3<f32>, Targets)>, config: &TrainConfig) -> candle_core::Result<Batch> {
    let (side, channels) = (config.model.input_size, config.model.input_channels());
    let mut values = Vec::with_capacity(images.len() * channels * side * side);
    let mut targets = Vec::with_capacity(images.len());
    for (image, target) in images {
        values.extend(image.iter().map(|v| (v - INPUT_MEAN) * INPUT_SCALE));
        targets.push(target);
    }
    let input = Tensor::from_vec(values, (targets.len(), channels, side, side), &Device::Cpu)?;
    Ok(Batch { input, targets })
}

fn draw_image(
    items: &[Item],
    item: &Item,
    kind: Kind,
    config: &TrainConfig,
    pseudo_weight: f32,
    rng: &mut rand_chacha::ChaCha8Rng,
) -> (Array3<f32>, Targets) {
    let side = config.model.input_size;
    let (rows, columns) = item.dim();
    let draw = config.augmentation.draw(rows, columns, side, rng);
    let annotated = item.has_lesion_labels();
    let organs: BTreeMap<usize, Array2<f32>> = organ_maps(item, config, &draw);
    // A lesion is simulated on the plain image, so that augmentation treats it as the rest.
    let lungs = || organs.values().take(2).fold(Array2::<f32>::zeros((side, side)), |sum, map| sum + map);
    let mut image = item.warped(&draw);
    let mut added = None;
    // What is simulated is a projection: a slab gets nothing.
    let flat = image.dim().0 == 1;
    let free_of_lesions = kind == Kind::Normal || item.lesion_label(0) == Some(false);
    if flat && free_of_lesions && organs.len() >= 2 {
        let lungs = lungs().mapv(|v| v.min(1.0));
        if lungs.sum() > 0.02 * (side * side) as f32 {
            let image = &mut image.index_axis_mut(Axis(0), 0);
            added = add_lesion(image, lungs.view(), items, kind, config, rng);
        }
    }
    if flat && rng.random::<f32>() < 0.3 {
        let mut whole = image.index_axis(Axis(0), 0).to_owned();
        simulate_distractors(&mut whole, rng);
        image.index_axis_mut(Axis(0), 0).assign(&whole);
    }
    for mut channel in image.outer_iter_mut() {
        let changed = draw.photometric.apply(channel.to_owned());
        channel.assign(&changed);
    }
    let visible = |mut map: Array2<f32>| {
        draw.photometric.collimate(&mut map, 0.0);
        map
    };

    let mut targets = Targets::default();
    let lesion_side = side / config.model.lesion_stride();
    for (class, lesion) in item.lesions.iter().enumerate() {
        let (map, label) = match (lesion, &added) {
            (_, Some(added)) if class == 0 => {
                let mask = visible(added.mask.clone());
                let label = (mask.sum() > 0.001 * (side * side) as f32).then_some((1.0, 0.7));
                let known = added
                    .unknown
                    .as_ref()
                    .map(|unknown| pool(unknown.view(), lesion_side).into_iter().map(|v| 1.0 - v.min(1.0)).collect());
                (Some(MapTarget { target: pool(mask.view(), lesion_side), known, weight: 0.7 }), label)
            }
            (Some(lesion), _) => lesion_targets(lesion, &draw, lesion_side),
            (None, None) if kind == Kind::Normal && !annotated && config.data.weak_weight > 0.0 => {
                let empty = vec![0.0; lesion_side * lesion_side];
                let weight = config.data.weak_weight;
                (Some(MapTarget { target: empty, known: None, weight }), Some((0.03, weight)))
            }
            _ => (None, None),
        };
        targets.lesions.push(map);
        targets.classes.push(label);
    }

    if config.model.detection.is_some() {
        let mut boxes = box_targets(item, &draw);
        if let Some(added) = &added {
            let mask = visible(added.mask.clone()).mapv(|v| u8::from(v >= 0.5));
            let target = |bounds| BoxTarget { bounds, class: 0, visible: true };
            boxes.boxes.extend(separate_lesions(mask).iter().map(|lesion| target(lesion.bounds())));
            boxes.weight = 0.7;
            // What else the image shows is not known, but of this class nothing.
            boxes.annotated.iter_mut().take(1).for_each(|annotated| *annotated = true);
        } else if kind == Kind::Normal && !annotated {
            boxes.weight = config.data.weak_weight;
            boxes.annotated.fill(true);
        }
        targets.boxes = Some(boxes);
    }

    let organ_side = side / 4;
    for class in 0..item.organs.len() {
        let own = item.organs.get(class).is_some_and(Option::is_some);
        let weight = if own { 1.0 } else { pseudo_weight };
        let map = organs.get(&class).filter(|_| weight > 0.0);
        targets.organs.push(map.map(|map| {
            let target = pool(visible(map.clone()).view(), organ_side);
            MapTarget { target, known: None, weight }
        }));
    }
    for union in &item.unions {
        targets.unions.push(union.as_ref().map(|mask| {
            let target = pool(draw.mask(mask.view()).view(), organ_side);
            MapTarget { target, known: None, weight: 1.0 }
        }));
    }
    (image, targets)
}

/// A lesion that an image did not have.
struct AddedLesion {
    /// 0 to 1, in the size of the output.
    mask: Array2<f32>,
    unknown: Option<Array2<f32>>,
}

/// Tries of finding a donor that fits.
const DONOR_TRIES: usize = 4;

/// Gives half of the normal images, and a quarter of those annotated as free of lesions, a lesion of the first class: simulated, or taken
/// from an annotated image. Some of the others get a region of another normal image instead, which changes nothing in what they show.
fn add_lesion(
    image: &mut ArrayViewMut2<'_, f32>,
    lungs: ArrayView2<'_, f32>,
    items: &[Item],
    kind: Kind,
    config: &TrainConfig,
    rng: &mut rand_chacha::ChaCha8Rng,
) -> Option<AddedLesion> {
    let normal = kind == Kind::Normal;
    let transplanted = config.opacities.transplanted;
    let with_lesion = if normal {
        0.5
    } else if transplanted > 0.0 {
        0.25
    } else {
        0.0
    };
    if rng.random::<f32>() >= with_lesion {
        if rng.random::<f32>() < 0.6 * transplanted {
            transplant_from(image, lungs, items, config, true, rng);
        }
        return None;
    }
    if (!normal || rng.random::<f32>() < transplanted)
        && let Some(added) = transplant_from(image, lungs, items, config, false, rng)
    {
        return Some(added);
    }
    let simulated = normal.then(|| simulate_opacity(image.view(), lungs, &config.opacities, rng)).flatten()?;
    image.assign(&simulated.image);
    Some(AddedLesion { mask: simulated.mask, unknown: None })
}

/// Lays the lesions of a random annotated image over `image`; with `healthy`, what another image shows in their place.
fn transplant_from(
    image: &mut ArrayViewMut2<'_, f32>,
    lungs: ArrayView2<'_, f32>,
    items: &[Item],
    config: &TrainConfig,
    healthy: bool,
    rng: &mut rand_chacha::ChaCha8Rng,
) -> Option<AddedLesion> {
    let side = config.model.input_size;
    let mut random = |test: &dyn Fn(&Item) -> bool| {
        (0..200).map(|_| &items[rng.random_range(0..items.len())]).find(|item| test(item))
    };
    let candidates: Vec<(&Item, &Item)> = (0..DONOR_TRIES)
        .filter_map(|_| {
            let lesion = random(&|item| item.lesion_label(0) == Some(true))?;
            let shown = if healthy { random(&|item| item.normal)? } else { lesion };
            Some((lesion, shown))
        })
        .collect();
    candidates.into_iter().find_map(|(lesion, shown)| {
        let aligned = |item: &Item, rng: &mut rand_chacha::ChaCha8Rng| {
            let mut draw = Draw::plain(item.dim().0, item.dim().1, side);
            let lung = |draw: &Draw| {
                let maps = organ_maps(item, config, draw);
                maps.values()
                    .take(2)
                    .fold(Array2::<f32>::zeros((side, side)), |sum, map| sum + map)
                    .mapv(|v| v.min(1.0))
            };
            let map = lung_on_lung(lungs, lung(&draw).view(), rng)?;
            draw.input_from_output = map.then(&draw.input_from_output);
            let lung = lung(&draw);
            Some((draw, lung))
        };
        let target = lesion.lesions.first()?.as_ref()?;
        let (draw, _) = aligned(lesion, rng)?;
        let mask = draw.warp(target.mask.view(), 0.0);
        let unknown = target.unknown.as_ref().map(|unknown| draw.warp(unknown.view(), 0.0));
        let (draw, lung) = aligned(shown, rng)?;
        let donor = draw.warp(shown.picture(), 0.0).mapv(|v| v / 255.0);
        let feather = 0.012 + 0.03 * rng.random::<f32>();
        let (changed, alpha) = transplant(image.view(), lungs, donor.view(), lung.view(), mask.view(), feather)?;
        image.assign(&changed);
        Some(AddedLesion { mask: mask * alpha.mapv(|v| f32::from(u8::from(v > 0.5))), unknown })
    })
}

/// Map and label of an annotated lesion class. A lesion that augmentation has pushed out of sight leaves the label unknown.
fn lesion_targets(lesion: &LesionTarget, draw: &Draw, side: usize) -> (Option<MapTarget>, Option<(f32, f32)>) {
    let mask = draw.mask(lesion.mask.view());
    let unknown = lesion.unknown.as_ref().map(|unknown| draw.mask(unknown.view()));
    let before = lesion.mask.iter().map(|v| f32::from(*v)).sum::<f32>();
    let after = mask.sum() * draw.input_from_output.area_factor();
    let label = if !lesion.positive {
        Some((0.03, 1.0))
    } else if after > 0.4 * before {
        Some((0.97, 1.0))
    } else {
        None
    };
    let known = unknown.map(|unknown| pool(unknown.view(), side).into_iter().map(|v| 1.0 - v).collect());
    (Some(MapTarget { target: pool(mask.view(), side), known, weight: 1.0 }), label)
}

/// Less than this share of a lesion's box in sight is neither a lesion nor none.
const LEAST_IN_SIGHT: f32 = 0.4;

/// Boxes of an image's own lesions where augmentation puts them.
fn box_targets(item: &Item, draw: &Draw) -> BoxTargets {
    let annotated = item.lesions.iter().map(Option::is_some).collect();
    let output_from_input = draw.input_from_output.inverse().unwrap_or(Affine::IDENTITY);
    let [top, left, bottom, right] = draw.photometric.visible();
    let target = |(class, bounds): &(usize, BoundingBox)| {
        let whole = moved(bounds, &output_from_input);
        let seen = BoundingBox {
            x1: whole.x1.max(left),
            y1: whole.y1.max(top),
            x2: whole.x2.min(right),
            y2: whole.y2.min(bottom),
        };
        let visible = seen.area() >= LEAST_IN_SIGHT * whole.area();
        (seen.width() > 0.0 && seen.height() > 0.0).then_some(BoxTarget { bounds: seen, class: *class, visible })
    };
    BoxTargets { boxes: item.boxes.iter().filter_map(target).collect(), annotated, weight: 1.0 }
}

/// The box around what `map` makes of a box's inscribed ellipse: its corners are mostly empty, and turning them would widen it.
fn moved(bounds: &BoundingBox, map: &Affine) -> BoundingBox {
    // Boxes count from pixel edges, maps from pixel centres.
    let (x, y) = bounds.centre();
    let (row, column) = map.apply((y - 0.5, x - 0.5));
    let [[rr, rc], [cr, cc]] = map.linear;
    let (tall, wide) = (bounds.height() / 2.0, bounds.width() / 2.0);
    let (tall, wide) = ((rr * tall).hypot(rc * wide), (cr * tall).hypot(cc * wide));
    BoundingBox::new(column + 0.5 - wide, row + 0.5 - tall, column + 0.5 + wide, row + 0.5 + tall)
}

/// Warped organ maps of an image, annotated or pseudo, classes exchanged where the image is mirrored; before collimation.
fn organ_maps(item: &Item, config: &TrainConfig, draw: &Draw) -> BTreeMap<usize, Array2<f32>> {
    let (rows, columns) = item.dim();
    let class_after = |class: usize| {
        if !draw.mirrored {
            return class;
        }
        let name = &config.model.organs[class];
        let partner = config.data.mirrored.iter().find_map(|[a, b]| match name {
            name if name == a => Some(b),
            name if name == b => Some(a),
            _ => None,
        });
        partner.and_then(|name| config.model.organs.iter().position(|organ| organ == name)).unwrap_or(class)
    };
    let mut maps = BTreeMap::new();
    for class in 0..item.organs.len() {
        let map = match (&item.organs[class], &item.pseudo) {
            (Some(mask), _) => Some(draw.warp(mask.view(), 0.0)),
            (None, Some(pseudo)) => pseudo.get(class).map(|pseudo| {
                // The pseudo map lies on the letterboxed square: output -> image -> square.
                let square = pseudo.nrows();
                let square_from_image = letterbox(rows, columns, square).inverse();
                let mut draw = draw.clone();
                if let Some(square_from_image) = square_from_image {
                    draw.input_from_output = draw.input_from_output.then(&square_from_image);
                }
                draw.warp(pseudo.view(), 0.0).mapv(|v| v / 255.0)
            }),
            (None, None) => None,
        };
        if let Some(map) = map {
            maps.insert(class_after(class), map);
        }
    }
    maps
}

/// Mean over square cells: coverage on a coarser grid of `side`².
fn pool(map: ArrayView2<'_, f32>, side: usize) -> Vec<f32> {
    let cell = (map.nrows() / side).max(1);
    let scale = 1.0 / (cell * cell) as f32;
    let mut pooled = vec![0.0; side * side];
    for (row, line) in map.outer_iter().enumerate().take(side * cell) {
        let pooled = &mut pooled[row / cell * side..(row / cell + 1) * side];
        for (column, value) in line.iter().enumerate().take(side * cell) {
            pooled[column / cell] += value * scale;
        }
    }
    pooled
}

/// The whole image of an item without augmentation, as inference sees it, with all its own annotations.
pub(super) fn plain_batch(items: &[&Item], config: &TrainConfig) -> candle_core::Result<Batch> {
    batch_of(items.par_iter().map(|item| plain_image(item, config)).collect(), config)
}

fn plain_image(item: &Item, config: &TrainConfig) -> (Array3<f32>, Targets) {
    let side = config.model.input_size;
    let (rows, columns) = item.dim();
    let draw = Draw::plain(rows, columns, side);
    let image = item.warped(&draw);
    let mut targets = Targets::default();
    for lesion in &item.lesions {
        let (map, label) = lesion
            .as_ref()
            .map_or((None, None), |lesion| lesion_targets(lesion, &draw, side / config.model.lesion_stride()));
        targets.lesions.push(map);
        targets.classes.push(label);
    }
    targets.boxes = config.model.detection.as_ref().map(|_| box_targets(item, &draw));
    let map = |mask: &Option<Array2<u8>>| {
        let target = mask.as_ref().map(|mask| pool(draw.warp(mask.view(), 0.0).view(), side / 4));
        target.map(|target| MapTarget { target, known: None, weight: 1.0 })
    };
    targets.organs = item.organs.iter().map(map).collect();
    targets.unions = item.unions.iter().map(map).collect();
    (image, targets)
}

#[cfg(test)]
mod tests {
    use super::moved;
    use crate::nn::BoundingBox;
    use crate::study::{Affine, letterbox};

    #[test]
    fn boxes_go_where_pixels_go() {
        let bounds = BoundingBox::new(10.0, 20.0, 30.0, 24.0);
        let near = |a: BoundingBox, b: BoundingBox| {
            for (a, b) in [(a.x1, b.x1), (a.y1, b.y1), (a.x2, b.x2), (a.y2, b.y2)] {
                assert!((a - b).abs() < 1e-3, "{a} {b}");
            }
        };
        // 100 x 200 in a square of 50: a quarter of the size, and 12.5 rows of black above.
        let square = letterbox(100, 200, 50).inverse().expect("invertible");
        near(moved(&bounds, &square), BoundingBox::new(2.5, 17.5, 7.5, 18.5));
        // A mirror image of 64 columns.
        let mirror = Affine { linear: [[1.0, 0.0], [0.0, -1.0]], offset: [0.0, 63.0] };
        near(moved(&bounds, &mirror), BoundingBox::new(34.0, 20.0, 54.0, 24.0));
        // A quarter turn about the middle (20, 22) of the box.
        let turned = Affine::rotation(90.0).about((21.5, 19.5));
        near(moved(&bounds, &turned), BoundingBox::new(18.0, 12.0, 22.0, 32.0));
    }
}
