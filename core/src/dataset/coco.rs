//! COCO object-detection files, plain or with the fields that medical sets need.
//!
//! Read beside standard COCO (<https://cocodataset.org/#format-data>): in an image `patient_id`, `source`, `view`,
//! `radiologist_read` and `annotated_category_ids`; in an annotation `kind` (`box` or `mask`). Without
//! `annotated_category_ids` every category counts for every image; without `patient_id` every image is its own patient.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde::Deserialize;

use super::rle::{Rle, RleError};

/// Longest side that an image may claim, pixels.
const LONGEST_SIDE: usize = 16_384;

/// Why a data set or one of its images cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// The file is not COCO.
    #[error("{path}: not a COCO file: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Cause, with line and column.
        source: serde_json::Error,
    },
    /// An image record or an annotation is wrong.
    #[error("{path}: {item}, field {field}: {message}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// `image 7` or `annotation 12 of image 7`.
        item: String,
        /// Name of the field in the file.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The pixels of an image cannot be read.
    #[error("image {id}: {path}: {message}")]
    Image {
        /// Id in the COCO file.
        id: u64,
        /// The image's file.
        path: PathBuf,
        /// Cause.
        message: String,
    },
}

/// A data set: images in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct CocoDataset {
    /// Names of all categories, in the order of the file.
    pub categories: Vec<String>,
    /// The images.
    pub images: Vec<ImageRecord>,
}

/// One image and what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// Id in the file.
    pub id: u64,
    /// Where the pixels are: absolute if the COCO file's path was.
    pub file: PathBuf,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Splits keep a patient's images together.
    pub patient_id: String,
    /// Where the image comes from; may be empty.
    pub source: String,
    /// `PA`, `AP Supine`, ...
    pub view: Option<String>,
    /// What a radiologist said about the whole image.
    pub radiologist_read: Option<String>,
    /// Categories for which the image counts, as positive or as negative.
    pub annotated: BTreeSet<String>,
    /// All annotations.
    pub shapes: Vec<Shape>,
}

/// One annotation.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Name of the category.
    pub category: String,
    /// Where it is.
    pub geometry: Geometry,
}

/// Place of an annotation. Coordinates are COCO's: pixel (0, 0) covers the square from (0, 0) to (1, 1).
#[derive(Debug, Clone, PartialEq)]
pub enum Geometry {
    /// A box: left edge, upper edge, width and height.
    #[allow(missing_docs)]
    Box { x: f32, y: f32, width: f32, height: f32 },
    /// A mask in the size of the image.
    Mask(Rle),
    /// One or more polygons of (x, y) vertices; inside one is inside.
    Polygon(Vec<Vec<(f32, f32)>>),
}

#[derive(Deserialize)]
struct File {
    images: Vec<FileImage>,
    #[serde(default)]
    annotations: Vec<FileAnnotation>,
    categories: Vec<FileCategory>,
}

#[derive(Deserialize)]
struct FileCategory {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct FileImage {
    id: u64,
    file_name: String,
    width: usize,
    height: usize,
    patient_id: Option<serde_json::Value>,
    source: Option<String>,
    view: Option<String>,
    radiologist_read: Option<String>,
    annotated_category_ids: Option<Vec<u64>>,
}

#[derive(Deserialize)]
struct FileAnnotation {
    id: u64,
    image_id: u64,
    category_id: u64,
    bbox: Option<[f32; 4]>,
    segmentation: Option<FileSegmentation>,
    kind: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FileSegmentation {
    Polygons(Vec<Vec<f32>>),
    Compressed { size: [usize; 2], counts: String },
    Runs { size: [usize; 2], counts: Vec<u32> },
}

impl CocoDataset {
    /// Reads a COCO file; images lie relative to its folder.
    pub fn load(path: &Path) -> Result<Self, DatasetError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::load_with_images(path, folder)
    }

    /// Reads a COCO file whose images lie in `folder`.
    pub fn load_with_images(path: &Path, folder: &Path) -> Result<Self, DatasetError> {
        let bytes = std::fs::read(path).map_err(|source| DatasetError::Read { path: path.into(), source })?;
        let file: File =
            serde_json::from_slice(&bytes).map_err(|source| DatasetError::Json { path: path.into(), source })?;
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_path_buf());
        build(file, path, &folder)
    }

    /// Index of the image with this id.
    pub fn position(&self, id: u64) -> Option<usize> {
        self.images.iter().position(|image| image.id == id)
    }
}

fn build(file: File, path: &Path, folder: &Path) -> Result<CocoDataset, DatasetError> {
    let invalid = |item: String, field: &'static str, message: String| DatasetError::Invalid {
        path: path.into(),
        item,
        field,
        message,
    };
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    for category in &file.categories {
        if names.insert(category.id, category.name.clone()).is_some() {
            return Err(invalid(format!("category {}", category.id), "id", "it is given twice".into()));
        }
    }
    let mut positions: HashMap<u64, usize> = HashMap::new();
    let mut images = Vec::with_capacity(file.images.len());
    for image in file.images {
        let item = format!("image {}", image.id);
        if positions.insert(image.id, images.len()).is_some() {
            return Err(invalid(item, "id", "it is given twice".into()));
        }
        for (field, value) in [("width", image.width), ("height", image.height)] {
            if !(1..=LONGEST_SIDE).contains(&value) {
                return Err(invalid(item, field, format!("{value} is not between 1 and {LONGEST_SIDE}")));
            }
        }
        let annotated = match image.annotated_category_ids {
            None => names.values().cloned().collect(),
            Some(ids) => {
                let mut annotated = BTreeSet::new();
                for id in ids {
                    let name = names.get(&id).ok_or_else(|| {
                        invalid(item.clone(), "annotated_category_ids", format!("category {id} does not exist"))
                    })?;
                    annotated.insert(name.clone());
                }
                annotated
            }
        };
        let patient_id = match image.patient_id {
            Some(serde_json::Value::String(text)) if !text.is_empty() => text,
            Some(serde_json::Value::Number(number)) => number.to_string(),
            None | Some(serde_json::Value::Null) => format!("image {}", image.id),
            Some(_) => return Err(invalid(item, "patient_id", "it is neither text nor a number".into())),
        };
        images.push(ImageRecord {
            id: image.id,
            file: folder.join(&image.file_name),
            width: image.width,
            height: image.height,
            patient_id,
            source: image.source.unwrap_or_default(),
            view: image.view,
            radiologist_read: image.radiologist_read,
            annotated,
            shapes: Vec::new(),
        });
    }
    for annotation in file.annotations {
        let item = format!("annotation {} of image {}", annotation.id, annotation.image_id);
        let Some(image) = positions.get(&annotation.image_id).and_then(|index| images.get_mut(*index)) else {
            return Err(invalid(item, "image_id", "no such image".into()));
        };
        let Some(category) = names.get(&annotation.category_id) else {
            return Err(invalid(item, "category_id", format!("category {} does not exist", annotation.category_id)));
        };
        let geometry = geometry(annotation, image).map_err(|(field, message)| invalid(item, field, message))?;
        image.shapes.push(Shape { category: category.clone(), geometry });
    }
    Ok(CocoDataset { categories: file.categories.into_iter().map(|c| c.name).collect(), images })
}

fn geometry(annotation: FileAnnotation, image: &ImageRecord) -> Result<Geometry, (&'static str, String)> {
    let wants_box = match annotation.kind.as_deref() {
        None => annotation.segmentation.as_ref().is_none_or(FileSegmentation::is_empty),
        Some("box") => true,
        Some("mask") => false,
        Some(other) => return Err(("kind", format!("{other:?} is neither box nor mask"))),
    };
    if wants_box {
        let [x, y, width, height] = annotation.bbox.ok_or(("bbox", "it is missing".to_owned()))?;
        if ![x, y, width, height].iter().all(|v| v.is_finite()) || width <= 0.0 || height <= 0.0 {
            return Err(("bbox", format!("[{x}, {y}, {width}, {height}] is not a box")));
        }
        return Ok(Geometry::Box { x, y, width, height });
    }
    let checked = |size: [usize; 2], rle: Result<Rle, RleError>| {
        if size != [image.height, image.width] {
            return Err((
                "segmentation.size",
                format!("{} x {} differs from the image's {} x {}", size[0], size[1], image.height, image.width),
            ));
        }
        rle.map(Geometry::Mask).map_err(|error| ("segmentation.counts", error.to_string()))
    };
    match annotation.segmentation {
        None => Err(("segmentation", "it is missing".to_owned())),
        Some(FileSegmentation::Compressed { size, counts }) => checked(size, Rle::parse(size[0], size[1], &counts)),
        Some(FileSegmentation::Runs { size, counts }) => checked(size, Rle::new(size[0], size[1], counts)),
        Some(FileSegmentation::Polygons(rings)) => {
            let mut polygons = Vec::with_capacity(rings.len());
            for ring in rings {
                if ring.len() < 6 || ring.len() % 2 != 0 || !ring.iter().all(|v| v.is_finite()) {
                    return Err(("segmentation", "a polygon needs three finite vertices or more".to_owned()));
                }
                polygons.push(ring.chunks_exact(2).map(|p| (p[0], p[1])).collect());
            }
            Ok(Geometry::Polygon(polygons))
        }
    }
}

impl FileSegmentation {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Polygons(rings) if rings.is_empty())
    }
}

impl Geometry {
    /// The mask `[row, column]`, 0 or 1: pixels whose centre is inside.
    pub fn to_mask(&self, rows: usize, columns: usize) -> Array2<u8> {
        let mut mask = Array2::zeros((rows, columns));
        self.draw_on(&mut mask);
        mask
    }

    /// Sets the pixels inside to 1.
    pub fn draw_on(&self, mask: &mut Array2<u8>) {
        let (rows, columns) = mask.dim();
        match self {
            Self::Box { x, y, width, height } => {
                let (first_row, last_row) = centres_between(*y, y + height, rows);
                let (first_column, last_column) = centres_between(*x, x + width, columns);
                mask.slice_mut(ndarray::s![first_row..last_row, first_column..last_column]).fill(1);
            }
            Self::Mask(rle) => {
                let own = rle.to_mask();
                // Sizes were compared when the file was read; a caller's own mask may differ, hence the overlap.
                let (r, c) = (rows.min(own.nrows()), columns.min(own.ncols()));
                mask.slice_mut(ndarray::s![..r, ..c]).zip_mut_with(&own.slice(ndarray::s![..r, ..c]), |m, v| *m |= *v);
            }
            Self::Polygon(polygons) => {
                for polygon in polygons {
                    fill_polygon(polygon, mask);
                }
            }
        }
    }

    /// Whether the point (row, column), pixel centres at integers, is inside.
    pub fn contains(&self, row: f32, column: f32) -> bool {
        let (px, py) = (column + 0.5, row + 0.5);
        match self {
            Self::Box { x, y, width, height } => px >= *x && px < x + width && py >= *y && py < y + height,
            Self::Mask(rle) => px >= 0.0 && py >= 0.0 && rle.contains(py as usize, px as usize),
            Self::Polygon(polygons) => polygons.iter().any(|polygon| {
                let crossings = crossings(polygon, py);
                crossings.iter().filter(|x| **x <= px).count() % 2 == 1
            }),
        }
    }
}

/// Range of pixels whose centre lies in `from..to` (COCO coordinates), within the image.
fn centres_between(from: f32, to: f32, length: usize) -> (usize, usize) {
    let first = ((from - 0.5).ceil().max(0.0) as usize).min(length);
    let last = ((to - 0.5).ceil().max(0.0) as usize).min(length);
    (first, last.max(first))
}

/// Where the polygon's edges cross the horizontal line at `y`, in ascending order.
fn crossings(polygon: &[(f32, f32)], y: f32) -> Vec<f32> {
    let mut crossings: Vec<f32> = polygon
        .iter()
        .zip(polygon.iter().cycle().skip(1))
        .filter(|((_, y0), (_, y1))| (*y0 <= y) != (*y1 <= y))
        .map(|((x0, y0), (x1, y1))| x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        .collect();
    crossings.sort_by(f32::total_cmp);
    crossings
}

fn fill_polygon(polygon: &[(f32, f32)], mask: &mut Array2<u8>) {
    let columns = mask.ncols();
    for (row, mut line) in mask.rows_mut().into_iter().enumerate() {
        for pair in crossings(polygon, row as f32 + 0.5).chunks_exact(2) {
            let (first, last) = centres_between(pair[0], pair[1], columns);
            line.slice_mut(ndarray::s![first..last]).fill(1);
        }
    }
}

#[cfg(test)]
#[path = "coco_tests.rs"]
mod tests;
