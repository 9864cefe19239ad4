//! Which labels of a project stand for which classes of a bundle.

use std::collections::BTreeMap;

use crate::annotation::Taxonomy;
use crate::dataset::ClassMap;
use crate::model::Metadata;
use crate::study::CodedConcept;

/// Key of a label -> class of the bundle. Labels that are not in it teach nothing.
pub type Labels = BTreeMap<String, String>;

/// The labels that fit a class by key, by name or by coded concept.
pub fn suggest(taxonomy: &Taxonomy, metadata: &Metadata) -> Labels {
    let plain = |text: &str| text.trim().to_lowercase().replace([' ', '-'], "_");
    let classes = classes(metadata);
    let fitting = taxonomy.labels.iter().filter_map(|label| {
        let named = |name: &str| [&label.key, &label.name].into_iter().any(|own| plain(own) == plain(name));
        let coded = |concept: Option<&CodedConcept>| {
            concept.zip(label.concept.as_ref()).is_some_and(|(a, b)| (&a.value, &a.scheme) == (&b.value, &b.scheme))
        };
        let by_name = classes.iter().find(|class| named(class.name) || named(class.display));
        let class = by_name.or_else(|| classes.iter().find(|class| coded(class.concept)))?;
        Some((label.key.clone(), class.name.to_owned()))
    });
    fitting.collect()
}

/// A class of a bundle, lesion or organ.
pub(super) struct Class<'a> {
    pub(super) name: &'a str,
    pub(super) display: &'a str,
    pub(super) concept: Option<&'a CodedConcept>,
    pub(super) is_lesion: bool,
}

/// Lesions, then organs.
pub(super) fn classes(metadata: &Metadata) -> Vec<Class<'_>> {
    let lesions = metadata.lesions.iter().map(|class| Class {
        name: &class.name,
        display: &class.display,
        concept: class.concept.as_ref(),
        is_lesion: true,
    });
    let organs = metadata.organs.iter().map(|class| Class {
        name: &class.name,
        display: &class.display,
        concept: class.concept.as_ref(),
        is_lesion: false,
    });
    lesions.chain(organs).collect()
}

/// Labels of a class.
pub(super) fn labels_of(labels: &Labels, class: &str) -> Vec<String> {
    labels.iter().filter(|(_, of)| of.as_str() == class).map(|(label, _)| label.clone()).collect()
}

/// The class as the labels of a project that stand for it: each alone says that it is there, since an image is annotated for all of them
/// or shows the ones that it is annotated for.
pub(super) fn class_map(labels: &Labels, class: &str) -> ClassMap {
    ClassMap {
        class: class.to_owned(),
        any_of: labels_of(labels, class).into_iter().map(|label| vec![label]).collect(),
    }
}
