//! Objects without an image, or that are more than one: what they are, what they hold, and what they refer to.

use std::collections::BTreeMap;

use dicom_dictionary_std::tags;
use serde::Serialize;

use super::data_set::DataSet;
use super::file::DicomFile;
use super::sop_class::sop_class_name;

/// An object in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ObjectSummary {
    /// Name of its SOP class.
    pub kind: String,
    /// Why it is not shown as an image, and what can be done with it; empty for images.
    pub reason: String,
    /// What it holds, a name and a value each.
    pub facts: Vec<(String, String)>,
    /// Its text, a line each, indented by two blanks a level: the content of a structured report.
    pub text: Vec<String>,
    /// What it refers to.
    pub references: Vec<Reference>,
}

impl ObjectSummary {
    /// Whether it is a kind of object that is without an image of its own; `false` where an image is missing that should be there.
    pub fn is_without_image(&self) -> bool {
        !self.reason.is_empty() && self.reason != NO_PIXEL_DATA
    }
}

const NO_PIXEL_DATA: &str = "It holds no pixel data.";

/// Instances that an object refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// Series Instance UID, where the object names it.
    pub series_uid: Option<String>,
    /// SOP Instance UIDs, each once.
    pub instances: Vec<String>,
}

/// Lines of text that are kept.
const MOST_LINES: usize = 2_000;
/// Levels of a content tree that are followed.
const DEEPEST: usize = 24;

/// Says what `file` is. Nothing in it is required: what is absent is left out.
pub fn describe_object(file: &DicomFile) -> ObjectSummary {
    let set = file.data_set();
    let class = match set.line(tags::SOP_CLASS_UID) {
        class if class.is_empty() => set.line(tags::MEDIA_STORAGE_SOP_CLASS_UID),
        class => class,
    };
    let kind = sop_class_name(&class).to_owned();
    let mut summary =
        ObjectSummary { reason: reason(&kind, set), kind, facts: Vec::new(), text: Vec::new(), references: Vec::new() };
    let fact = |facts: &mut Vec<(String, String)>, name: &str, value: String| {
        if !value.is_empty() {
            facts.push((name.to_owned(), value));
        }
    };
    let facts = &mut summary.facts;
    fact(facts, "Title", set.line(tags::DOCUMENT_TITLE));
    fact(facts, "Label", first_of(set, &[tags::CONTENT_LABEL, tags::STRUCTURE_SET_LABEL, tags::RT_PLAN_LABEL]));
    fact(facts, "Description", set.line(tags::CONTENT_DESCRIPTION));
    fact(facts, "Creator", set.person_name(tags::CONTENT_CREATOR_NAME));
    fact(facts, "Completion", set.line(tags::COMPLETION_FLAG));
    fact(facts, "Verification", set.line(tags::VERIFICATION_FLAG));
    fact(facts, "Media type", set.line(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT));
    if let Some(document) = set.bytes(tags::ENCAPSULATED_DOCUMENT) {
        fact(facts, "Size", format!("{:.0} KiB", document.len() as f64 / 1024.0));
    }
    for segment in set.items(tags::SEGMENT_SEQUENCE) {
        let number = segment.int(tags::SEGMENT_NUMBER).unwrap_or(0);
        fact(facts, &format!("Segment {number}"), segment.line(tags::SEGMENT_LABEL));
    }
    for region in set.items(tags::STRUCTURE_SET_ROI_SEQUENCE) {
        let number = region.int(tags::ROI_NUMBER);
        let drawn = set.items(tags::ROI_CONTOUR_SEQUENCE).find(|item| item.int(tags::REFERENCED_ROI_NUMBER) == number);
        let contours = drawn.map_or(0, |item| item.items(tags::CONTOUR_SEQUENCE).count());
        let name = region.line(tags::ROI_NAME);
        fact(facts, &format!("Region {}", number.unwrap_or(0)), format!("{name}, {contours} contours"));
    }
    for layer in set.items(tags::GRAPHIC_LAYER_SEQUENCE) {
        fact(facts, "Graphic layer", layer.line(tags::GRAPHIC_LAYER));
    }
    for beam in set.items(tags::BEAM_SEQUENCE) {
        fact(facts, "Beam", first_of(beam, &[tags::BEAM_NAME, tags::BEAM_DESCRIPTION, tags::BEAM_NUMBER]));
    }
    for group in set.items(tags::WAVEFORM_SEQUENCE) {
        let channels = group.int(tags::NUMBER_OF_WAVEFORM_CHANNELS).unwrap_or(0);
        let samples = group.int(tags::NUMBER_OF_WAVEFORM_SAMPLES).unwrap_or(0);
        let rate = group.float(tags::SAMPLING_FREQUENCY).unwrap_or(0.0);
        fact(facts, "Waveform", format!("{channels} channels, {samples} samples at {rate} Hz"));
    }
    if set.has(tags::CONTENT_SEQUENCE) || set.has(tags::VALUE_TYPE) {
        content(set, 0, &mut summary.text);
    }
    summary.references = references(set);
    summary
}

fn first_of(set: DataSet<'_>, of: &[dicom_core::Tag]) -> String {
    of.iter().map(|tag| set.line(*tag)).find(|text| !text.is_empty()).unwrap_or_default()
}

fn reason(kind: &str, set: DataSet<'_>) -> String {
    let text = match kind {
        "RT Structure Set" => {
            "It holds contours, not pixels: `bifocal import` paints them on the images they were drawn on."
        }
        "Segmentation" | "Label Map Segmentation" => {
            "Its frames are masks of other images: `bifocal import` paints them on those."
        }
        "Parametric Map" => "Its frames are measured or computed values, shown as an image of its own.",
        "Key Object Selection" => "It picks out images of others: they are named below.",
        "Encapsulated PDF" | "Encapsulated CDA" | "Encapsulated STL" => {
            "It wraps a document, which Bifocal does not show: `bifocal inspect FILE --document OUT` writes it to a file."
        }
        _ if kind.ends_with(" SR") => "It is a report: its text is below.",
        _ if kind.contains("Presentation State") => {
            "It says how other images should be shown. Bifocal does not apply it: they are shown as they were stored."
        }
        _ if kind.contains("Waveform") => "It holds signals over time, which Bifocal does not draw.",
        _ if kind.contains("Registration") || kind.contains("Fiducials") => {
            "It says how series lie to each other. Bifocal does not apply it: series are linked by their frame of reference."
        }
        _ if kind.starts_with("RT ") && !set.has(tags::PIXEL_DATA) => {
            "It plans or records treatment: there is nothing to draw."
        }
        "Color Palette" => "It holds a table of colours, which Bifocal does not use: its own are even to the eye.",
        "Raw Data" => "Its content is the maker's own.",
        _ if set.has(tags::PIXEL_DATA) || set.has(tags::FLOAT_PIXEL_DATA) => "",
        _ => NO_PIXEL_DATA,
    };
    text.to_owned()
}

/// The tree of a structured report, a line a content item (PS3.3 C.17.3).
fn content(item: DataSet<'_>, level: usize, text: &mut Vec<String>) {
    if level > DEEPEST || text.len() >= MOST_LINES {
        return;
    }
    let name =
        item.item(tags::CONCEPT_NAME_CODE_SEQUENCE).map(|code| code.line(tags::CODE_MEANING)).unwrap_or_default();
    let value = match item.line(tags::VALUE_TYPE).as_str() {
        "TEXT" => item.line(tags::TEXT_VALUE),
        "CODE" => code(item, tags::CONCEPT_CODE_SEQUENCE),
        "NUM" => item
            .item(tags::MEASURED_VALUE_SEQUENCE)
            .map(|measured| {
                let unit = measured
                    .item(tags::MEASUREMENT_UNITS_CODE_SEQUENCE)
                    .map(|unit| first_of(unit, &[tags::CODE_VALUE, tags::CODE_MEANING]));
                [measured.line(tags::NUMERIC_VALUE), unit.unwrap_or_default()].join(" ").trim().to_owned()
            })
            .unwrap_or_default(),
        "DATE" => item.line(tags::DATE),
        "TIME" => item.line(tags::TIME),
        "DATETIME" => item.line(tags::DATE_TIME),
        "PNAME" => item.person_name(tags::PERSON_NAME),
        "UIDREF" => item.line(tags::UID),
        "IMAGE" | "COMPOSITE" | "WAVEFORM" => "(reference)".to_owned(),
        "SCOORD" | "SCOORD3D" | "TCOORD" => format!("({})", item.line(tags::GRAPHIC_TYPE).to_lowercase()),
        _ => String::new(),
    };
    let line = match (name.is_empty(), value.is_empty()) {
        (false, false) => format!("{name}: {value}"),
        (false, true) => name,
        (true, _) => value,
    };
    if !line.is_empty() {
        text.push(format!("{}{line}", "  ".repeat(level)));
    }
    for child in item.items(tags::CONTENT_SEQUENCE) {
        content(child, level + 1, text);
    }
}

fn code(item: DataSet<'_>, tag: dicom_core::Tag) -> String {
    item.item(tag).map(|code| code.line(tags::CODE_MEANING)).unwrap_or_default()
}

/// All instances that are named anywhere in the object, by series where that is named above them.
fn references(set: DataSet<'_>) -> Vec<Reference> {
    let mut found: BTreeMap<Option<String>, Vec<String>> = BTreeMap::new();
    gather(set, None, 0, &mut found);
    // Named under its series in one place and without it in another: once is enough.
    let with_series: std::collections::BTreeSet<String> =
        found.iter().filter(|(series, _)| series.is_some()).flat_map(|(_, instances)| instances.clone()).collect();
    if let Some(loose) = found.get_mut(&None) {
        loose.retain(|instance| !with_series.contains(instance));
    }
    let reference = |(series_uid, mut instances): (Option<String>, Vec<String>)| {
        instances.sort();
        instances.dedup();
        Reference { series_uid, instances }
    };
    found.into_iter().map(reference).filter(|reference| !reference.instances.is_empty()).collect()
}

fn gather(set: DataSet<'_>, series: Option<&str>, level: usize, found: &mut BTreeMap<Option<String>, Vec<String>>) {
    if level > DEEPEST {
        return;
    }
    // The object's own series is no reference.
    let own = if level > 0 { set.string(tags::SERIES_INSTANCE_UID) } else { None };
    let series = own.as_deref().or(series);
    if let Some(instance) = set.string(tags::REFERENCED_SOP_INSTANCE_UID).filter(|_| level > 0) {
        found.entry(series.map(str::to_owned)).or_default().push(instance);
    }
    for element in set.elements().filter(|element| element.is_sequence()) {
        for item in element.items() {
            gather(item, series, level + 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::DataSetBuilder;
    use crate::study::Source;

    fn summary(file: DataSetBuilder) -> ObjectSummary {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.dcm");
        file.save(&path).expect("written");
        describe_object(&DicomFile::read(&Source::file(&path)).expect("read"))
    }

    fn named(meaning: &str) -> DataSetBuilder {
        let mut code = DataSetBuilder::item();
        code.text(tags::CODE_MEANING, meaning);
        code
    }

    #[test]
    fn a_report_is_read_as_an_indented_text() {
        let mut unit = DataSetBuilder::item();
        unit.text(tags::CODE_VALUE, "mm");
        let mut measured = DataSetBuilder::item();
        measured.text(tags::NUMERIC_VALUE, "12.5").sequence(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, vec![unit]);
        let mut size = DataSetBuilder::item();
        size.text(tags::VALUE_TYPE, "NUM").sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![named("Diameter")]);
        size.sequence(tags::MEASURED_VALUE_SEQUENCE, vec![measured]);
        let mut finding = DataSetBuilder::item();
        finding.text(tags::VALUE_TYPE, "TEXT").text(tags::TEXT_VALUE, "Nodule");
        finding.sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![named("Finding")]);
        finding.sequence(tags::CONTENT_SEQUENCE, vec![size]);
        let mut report = DataSetBuilder::new("1.2.840.10008.5.1.4.1.1.88.33", "1.2.3");
        report.text(tags::VALUE_TYPE, "CONTAINER").text(tags::COMPLETION_FLAG, "COMPLETE");
        report.sequence(tags::CONCEPT_NAME_CODE_SEQUENCE, vec![named("CT report")]);
        report.sequence(tags::CONTENT_SEQUENCE, vec![finding]);
        let summary = summary(report);
        assert_eq!(summary.kind, "Comprehensive SR");
        assert_eq!(summary.text, ["CT report", "  Finding: Nodule", "    Diameter: 12.5 mm"]);
        assert!(summary.reason.contains("report") && summary.facts[0].1 == "COMPLETE");
    }

    #[test]
    fn references_are_gathered_by_series() {
        let instance = |uid: &str| {
            let mut item = DataSetBuilder::item();
            item.text(tags::REFERENCED_SOP_INSTANCE_UID, uid);
            item
        };
        let mut series = DataSetBuilder::item();
        series.text(tags::SERIES_INSTANCE_UID, "1.5");
        series.sequence(tags::REFERENCED_SOP_SEQUENCE, vec![instance("1.5.2"), instance("1.5.1"), instance("1.5.1")]);
        let mut study = DataSetBuilder::item();
        study.sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
        let mut selection = DataSetBuilder::new("1.2.840.10008.5.1.4.1.1.88.59", "1.2.3");
        selection.text(tags::SERIES_INSTANCE_UID, "1.9");
        selection.sequence(tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE, vec![study]);
        selection.sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![instance("1.5.2"), instance("1.7.7")]);
        let summary = summary(selection);
        assert_eq!(summary.kind, "Key Object Selection");
        let loose = Reference { series_uid: None, instances: vec!["1.7.7".into()] };
        let named = Reference { series_uid: Some("1.5".into()), instances: vec!["1.5.1".into(), "1.5.2".into()] };
        assert_eq!(summary.references, [loose, named]);
    }

    #[test]
    fn what_cannot_be_shown_says_why() {
        let mut pdf = DataSetBuilder::new("1.2.840.10008.5.1.4.1.1.104.1", "1.2.3");
        pdf.text(tags::DOCUMENT_TITLE, "Letter");
        let described = summary(pdf);
        assert!(described.reason.contains("document") && described.facts == [("Title".into(), "Letter".into())]);
        let unknown = summary(DataSetBuilder::new("1.2.3.4", "1.2.3"));
        assert_eq!((unknown.kind.as_str(), unknown.reason.as_str()), ("1.2.3.4", "It holds no pixel data."));
    }
}
