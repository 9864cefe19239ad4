//! Classes of a model as groups of a data set's categories.

use std::collections::BTreeSet;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::coco::{Geometry, ImageRecord, Shape};

/// One class of a model and the categories that it gathers.
///
/// An image is annotated for the class if it is annotated for **all** categories of **any** one group: `[["lung_opacity"],
/// ["ground_glass_opacity", "consolidation"]]` takes images that were read for opacities as such, and images on which both kinds
/// were drawn, but not images on which only one kind was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassMap {
    /// Name of the class (`lung_opacity`).
    pub class: String,
    /// Groups of categories.
    pub any_of: Vec<Vec<String>>,
}

impl ClassMap {
    /// A class with the name and the meaning of one category.
    pub fn same(class: &str) -> Self {
        Self { class: class.to_owned(), any_of: vec![vec![class.to_owned()]] }
    }

    /// All categories that it gathers.
    pub fn categories(&self) -> BTreeSet<&str> {
        self.any_of.iter().flatten().map(String::as_str).collect()
    }

    /// Whether the image counts for the class, as positive or as negative.
    pub fn is_annotated(&self, image: &ImageRecord) -> bool {
        self.any_of.iter().any(|group| !group.is_empty() && group.iter().all(|name| image.annotated.contains(name)))
    }

    /// Shapes of the class on the image.
    pub fn shapes<'a>(&'a self, image: &'a ImageRecord) -> impl Iterator<Item = &'a Shape> {
        image.shapes.iter().filter(|shape| self.any_of.iter().flatten().any(|name| *name == shape.category))
    }

    /// Whether the image shows the class; `None` where it is not annotated for it.
    pub fn label(&self, image: &ImageRecord) -> Option<bool> {
        self.is_annotated(image).then(|| self.shapes(image).next().is_some())
    }

    /// Union of all shapes, `[row, column]`, 0 or 1 in the size of the image; `None` where the image is not annotated for the
    /// class. A box is filled whole: see [`ClassMap::has_boxes`].
    pub fn mask(&self, image: &ImageRecord) -> Option<Array2<u8>> {
        if !self.is_annotated(image) {
            return None;
        }
        let mut mask = Array2::zeros((image.height, image.width));
        for shape in self.shapes(image) {
            shape.geometry.draw_on(&mut mask);
        }
        Some(mask)
    }

    /// Whether any shape of the class is only a box: its mask then holds more than the object.
    pub fn has_boxes(&self, image: &ImageRecord) -> bool {
        self.shapes(image).any(|shape| matches!(shape.geometry, Geometry::Box { .. }))
    }

    /// Union of the boxes alone, `[row, column]`, 0 or 1.
    pub fn box_mask(&self, image: &ImageRecord) -> Array2<u8> {
        let mut mask = Array2::zeros((image.height, image.width));
        for shape in self.shapes(image).filter(|shape| matches!(shape.geometry, Geometry::Box { .. })) {
            shape.geometry.draw_on(&mut mask);
        }
        mask
    }
}

/// A constraint on the union of several classes: both lungs drawn as one mask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnionTarget {
    /// Where the union is annotated.
    pub target: ClassMap,
    /// Classes of the model whose union it is (`left_lung`, `right_lung`).
    pub classes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn image(annotated: &[&str], shapes: &[(&str, f32)]) -> ImageRecord {
        ImageRecord {
            id: 1,
            file: PathBuf::new(),
            width: 4,
            height: 4,
            patient_id: "p".into(),
            source: String::new(),
            view: None,
            radiologist_read: None,
            annotated: annotated.iter().map(|s| (*s).to_owned()).collect(),
            shapes: shapes
                .iter()
                .map(|(category, x)| Shape {
                    category: (*category).to_owned(),
                    geometry: Geometry::Box { x: *x, y: 0.0, width: 1.0, height: 1.0 },
                })
                .collect(),
        }
    }

    fn opacity() -> ClassMap {
        ClassMap {
            class: "lung_opacity".into(),
            any_of: vec![vec!["lung_opacity".into()], vec!["ground_glass".into(), "consolidation".into()]],
        }
    }

    #[test]
    fn a_group_counts_only_when_complete() {
        assert_eq!(opacity().label(&image(&["lung_opacity"], &[])), Some(false));
        assert_eq!(opacity().label(&image(&["ground_glass"], &[("ground_glass", 0.0)])), None);
        let both = image(&["ground_glass", "consolidation"], &[("consolidation", 0.0), ("ground_glass", 2.0)]);
        assert_eq!(opacity().label(&both), Some(true));
        let mask = opacity().mask(&both).expect("annotated");
        assert_eq!(mask.row(0).to_vec(), [1, 0, 1, 0]);
        assert!(opacity().has_boxes(&both));
        assert_eq!(ClassMap { class: "x".into(), any_of: vec![vec![]] }.label(&both), None);
    }
}
