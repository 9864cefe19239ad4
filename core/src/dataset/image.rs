//! Gray pixels of a data set's images, decoded once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use image::{ImageReader, Limits};
use ndarray::{Array2, Array3};

use super::coco::{DatasetError, ImageRecord};

/// Reads an image as 8-bit gray `[row, column]`; colour becomes luminance, 16 bits are scaled to 8. Files that claim more
/// than 16,384 pixels a side or need more than 1 GiB are refused.
pub fn load_gray(path: &Path) -> Result<Array2<u8>, String> {
    let gray = decode(path)?.into_luma8();
    let (columns, rows) = (gray.width() as usize, gray.height() as usize);
    Array2::from_shape_vec((rows, columns), gray.into_raw()).map_err(|error| error.to_string())
}

/// Reads an image as 8-bit colours `[row, column, channel]`, as a slab of three slices is kept; a gray one gives three equal channels.
/// Refused as by [`load_gray`].
pub fn load_colours(path: &Path) -> Result<Array3<u8>, String> {
    let colours = decode(path)?.into_rgb8();
    let (columns, rows) = (colours.width() as usize, colours.height() as usize);
    Array3::from_shape_vec((rows, columns, 3), colours.into_raw()).map_err(|error| error.to_string())
}

fn decode(path: &Path) -> Result<image::DynamicImage, String> {
    let mut reader =
        ImageReader::open(path).and_then(ImageReader::with_guessed_format).map_err(|error| error.to_string())?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(16_384);
    limits.max_image_height = Some(16_384);
    limits.max_alloc = Some(1 << 30);
    reader.limits(limits);
    reader.decode().map_err(|error| error.to_string())
}

/// Decoded images, kept up to a limit of memory. Shared by threads.
#[derive(Debug)]
pub struct ImageStore {
    limit_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    images: HashMap<u64, Arc<Array2<u8>>>,
}

impl ImageStore {
    /// A store that keeps the first `limit_bytes` bytes of pixels that it decodes: every image is used once an epoch, so
    /// replacing kept ones would gain nothing.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, kept: Mutex::default() }
    }

    /// Pixels of the image; refused where their size is not the record's, since annotations would not fit.
    pub fn get(&self, record: &ImageRecord) -> Result<Arc<Array2<u8>>, DatasetError> {
        if let Some(image) = self.kept.lock().ok().and_then(|kept| kept.images.get(&record.id).cloned()) {
            return Ok(image);
        }
        let image = load_gray(&record.file).map_err(|message| failed(record, message))?;
        let (rows, columns) = image.dim();
        check_size(record, rows, columns)?;
        let image = Arc::new(image);
        if let Ok(mut kept) = self.kept.lock()
            && kept.bytes + rows * columns <= self.limit_bytes
            && kept.images.insert(record.id, Arc::clone(&image)).is_none()
        {
            kept.bytes += rows * columns;
        }
        Ok(image)
    }

    /// Colours of the image, `[row, column, channel]`; never kept.
    pub fn colours(&self, record: &ImageRecord) -> Result<Array3<u8>, DatasetError> {
        let image = load_colours(&record.file).map_err(|message| failed(record, message))?;
        let (rows, columns, _) = image.dim();
        check_size(record, rows, columns)?;
        Ok(image)
    }
}

fn failed(record: &ImageRecord, message: String) -> DatasetError {
    DatasetError::Image { id: record.id, path: record.file.clone(), message }
}

fn check_size(record: &ImageRecord, rows: usize, columns: usize) -> Result<(), DatasetError> {
    if (rows, columns) == (record.height, record.width) {
        return Ok(());
    }
    let message = format!("{rows} x {columns} pixels, the data set says {} x {}", record.height, record.width);
    Err(failed(record, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn record(file: &Path, width: usize, height: usize) -> ImageRecord {
        ImageRecord {
            id: 3,
            file: file.to_path_buf(),
            width,
            height,
            patient_id: "p".into(),
            source: String::new(),
            view: None,
            radiologist_read: None,
            annotated: BTreeSet::new(),
            shapes: Vec::new(),
        }
    }

    #[test]
    fn keeps_within_the_limit_and_checks_the_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.png");
        image::GrayImage::from_fn(3, 2, |x, y| image::Luma([(10 * y + x) as u8])).save(&file).expect("written");
        let store = ImageStore::new(6);
        let first = store.get(&record(&file, 3, 2)).expect("read");
        assert_eq!(*first, ndarray::array![[0u8, 1, 2], [10, 11, 12]]);
        assert!(Arc::ptr_eq(&first, &store.get(&record(&file, 3, 2)).expect("kept")));
        let small = ImageStore::new(5);
        let again = small.get(&record(&file, 3, 2)).expect("read");
        assert!(!Arc::ptr_eq(&again, &small.get(&record(&file, 3, 2)).expect("read again")));
        let error = ImageStore::new(0).get(&record(&file, 2, 3)).expect_err("sizes differ").to_string();
        assert!(error.contains("image 3") && error.contains("2 x 3") && error.contains("3 x 2"), "{error}");
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.png");
        std::fs::write(&file, b"\x89PNG\r\n\x1a\nnot really").expect("written");
        let error = ImageStore::new(0).get(&record(&file, 2, 3)).expect_err("damaged").to_string();
        assert!(error.contains("b.png"), "{error}");
    }
}
