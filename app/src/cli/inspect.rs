//! `bifocal inspect`: key attributes of one DICOM file, and the hash of a decoded frame.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bifocal_core::dicom::pixels::PixelReader;
use bifocal_core::dicom::{DataSet, DicomFile, ObjectSummary, Tag, describe_object, tag_rows, tags};
use bifocal_core::study::{DisplayAttributes, ModalityTransform, Source};
use serde_json::{Map, Value, json};

/// Arguments of `bifocal inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The DICOM file.
    file: PathBuf,
    /// The file's name inside a ZIP archive.
    #[arg(long, value_name = "NAME")]
    member: Option<String>,
    /// The frame to decode, from 0.
    #[arg(long, default_value_t = 0)]
    frame: usize,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
    /// Prints all elements of the file instead, those of sequences indented.
    #[arg(long, conflicts_with = "frame")]
    tags: bool,
    /// With --tags, only rows that contain all these words: a keyword, a tag, a part of a value.
    #[arg(long, value_name = "WORDS", requires = "tags")]
    find: Option<String>,
    /// Writes the document that the object wraps (PDF, CDA, STL) to a file that is not there yet.
    #[arg(long, value_name = "OUT", conflicts_with_all = ["tags", "frame"])]
    document: Option<PathBuf>,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = Source { file: args.file, member: args.member };
    // The message already holds the reason that the operating system gave.
    let file = DicomFile::read(&source).map_err(|error| anyhow::anyhow!("{error}"))?;
    if args.tags {
        return print_tags(&file, args.find.as_deref().unwrap_or_default(), args.json);
    }
    if let Some(out) = &args.document {
        return write_document(&file, out);
    }
    let mut facts = attributes(&file);
    let object = describe_object(&file);
    if object.is_without_image() && !file.data_set().has(tags::PIXEL_DATA) {
        return print_object(facts, &object, args.json);
    }
    // What was read of the header is worth printing even where the pixels cannot be decoded.
    let outcome = PixelReader::new(file).and_then(|reader| {
        let stored = reader.stored(args.frame)?;
        facts.extend(described(&reader, args.frame));
        facts.insert("frame".into(), json!(args.frame));
        facts.insert("photometric_decoded".into(), json!(stored.photometric));
        facts.insert("dtype".into(), json!(stored.dtype()));
        let (min, max) = stored.min_max().map_or((None, None), |(min, max)| (Some(min), Some(max)));
        facts.insert("stored_min".into(), number(min));
        facts.insert("stored_max".into(), number(max));
        facts.insert("sha256".into(), json!(stored.sha256()));
        let incomplete = stored.incomplete.as_ref().map(|part| part.describe(stored.rows, stored.columns));
        facts.insert("incomplete".into(), json!(incomplete));
        Ok(())
    });
    if let Err(error) = &outcome {
        facts.insert("error".into(), json!(error.to_string()));
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&Value::Object(facts))?);
    } else {
        print_facts(&facts);
    }
    outcome.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn print_facts(facts: &Map<String, Value>) {
    for (name, value) in facts {
        let text = match value {
            Value::Null => "-".into(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        println!("{name:24} {text}");
    }
}

/// All elements of a file that contain the words of `find`.
fn print_tags(file: &DicomFile, find: &str, json: bool) -> anyhow::Result<ExitCode> {
    let rows = tag_rows(file).into_iter().filter(|row| row.contains(find));
    if json {
        println!("{}", serde_json::to_string_pretty(&rows.collect::<Vec<_>>())?);
        return Ok(ExitCode::SUCCESS);
    }
    for row in rows {
        let name = format!("{}{} {}", "  ".repeat(row.depth), row.tag, row.name);
        println!("{name:52} {:2} {}", row.vr, row.value);
    }
    Ok(ExitCode::SUCCESS)
}

/// An object without an image: what it is, why it is not shown, what it holds and refers to.
fn print_object(mut facts: Map<String, Value>, object: &ObjectSummary, json: bool) -> anyhow::Result<ExitCode> {
    facts.insert("object".into(), json!(object));
    if json {
        println!("{}", serde_json::to_string_pretty(&Value::Object(facts))?);
        return Ok(ExitCode::SUCCESS);
    }
    facts.remove("object");
    facts.retain(|_, value| !value.is_null());
    print_facts(&facts);
    println!("\n{}: {}", object.kind, object.reason);
    for (name, value) in &object.facts {
        println!("{name:24} {value}");
    }
    if !object.text.is_empty() {
        println!("\n{}", object.text.join("\n"));
    }
    for reference in &object.references {
        let series = reference.series_uid.as_deref().map_or_else(String::new, |uid| format!(" of series {uid}"));
        let count = reference.instances.len();
        println!("\nrefers to {count} instance{}{series}", if count == 1 { "" } else { "s" });
    }
    Ok(ExitCode::SUCCESS)
}

/// The document that an object wraps, as it is; nothing is replaced.
fn write_document(file: &DicomFile, out: &Path) -> anyhow::Result<ExitCode> {
    let set = file.data_set();
    let Some(document) = set.bytes(tags::ENCAPSULATED_DOCUMENT).filter(|bytes| !bytes.is_empty()) else {
        return Err(file.attribute_error(tags::ENCAPSULATED_DOCUMENT, "absent: it wraps no document").into());
    };
    // An odd document is padded; its length is told beside it (PS3.3 C.24.2).
    let length = set.int(tags::ENCAPSULATED_DOCUMENT_LENGTH).and_then(|length| usize::try_from(length).ok());
    let document = document.get(..length.unwrap_or(document.len())).unwrap_or(document);
    let mut target =
        File::options().write(true).create_new(true).open(out).with_context(|| out.display().to_string())?;
    target.write_all(document).with_context(|| out.display().to_string())?;
    println!("{}: {}", out.display(), set.line(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT));
    Ok(ExitCode::SUCCESS)
}

/// Whole numbers without a fraction.
fn number(value: Option<f64>) -> Value {
    match value {
        Some(value) if value.fract() == 0.0 && value.abs() < 9e15 => json!(value as i64),
        Some(value) => json!(value),
        None => Value::Null,
    }
}

/// What the header says, as it is written there; absent attributes are null.
fn attributes(file: &DicomFile) -> Map<String, Value> {
    let set = file.data_set();
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    add("file", json!(file.source.to_string()));
    for (name, tag) in [
        ("patient_id", tags::PATIENT_ID),
        ("study_instance_uid", tags::STUDY_INSTANCE_UID),
        ("series_instance_uid", tags::SERIES_INSTANCE_UID),
        ("sop_instance_uid", tags::SOP_INSTANCE_UID),
        ("sop_class_uid", tags::SOP_CLASS_UID),
        ("modality", tags::MODALITY),
    ] {
        add(name, json!(set.string(tag)));
    }
    let syntax = bifocal_core::dicom::codec::TransferSyntax::find(&file.transfer_syntax);
    add("transfer_syntax_uid", json!(file.transfer_syntax));
    add("transfer_syntax_name", json!(syntax.map(|syntax| syntax.name)));
    for (name, tag) in [
        ("rows", tags::ROWS),
        ("columns", tags::COLUMNS),
        ("frames", tags::NUMBER_OF_FRAMES),
        ("samples_per_pixel", tags::SAMPLES_PER_PIXEL),
        ("bits_allocated", tags::BITS_ALLOCATED),
        ("bits_stored", tags::BITS_STORED),
        ("high_bit", tags::HIGH_BIT),
        ("pixel_representation", tags::PIXEL_REPRESENTATION),
        ("planar_configuration", tags::PLANAR_CONFIGURATION),
    ] {
        add(name, json!(set.int(tag)));
    }
    add("photometric", json!(set.string(tags::PHOTOMETRIC_INTERPRETATION)));
    add("pixel_spacing", numbers(set, tags::PIXEL_SPACING));
    add("imager_pixel_spacing", numbers(set, tags::IMAGER_PIXEL_SPACING));
    add("lossy_image_compression", json!(set.string(tags::LOSSY_IMAGE_COMPRESSION)));
    add("problems", json!(file.problems.iter().map(ToString::to_string).collect::<Vec<_>>()));
    facts
}

fn numbers(set: DataSet<'_>, tag: Tag) -> Value {
    let values: Vec<Value> = set.floats(tag).into_iter().map(|value| number(Some(value))).collect();
    if values.is_empty() { Value::Null } else { Value::Array(values) }
}

/// What applies to the frame after functional groups and defaults.
fn described(reader: &PixelReader, frame: usize) -> Map<String, Value> {
    let display = reader.display(frame);
    let DisplayAttributes { modality, units, windows, voi_lut, inverted, padding, .. } = &display;
    let (slope, intercept) = match modality {
        ModalityTransform::Rescale { slope, intercept } => (number(Some(*slope)), number(Some(*intercept))),
        ModalityTransform::Table(_) => (Value::Null, Value::Null),
    };
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    add("frames", json!(reader.frames()));
    add("rescale_slope", slope);
    add("rescale_intercept", intercept);
    add("modality_lut", json!(matches!(modality, ModalityTransform::Table(_))));
    add("units", json!(units));
    add("windows", json!(windows));
    add("voi_lut", json!(voi_lut.is_some()));
    add("inverted", json!(inverted));
    add("padding", json!(padding));
    add("spacing", json!(display.spacing));
    add("geometry", json!(display.geometry));
    add("patient_orientation", json!(display.patient_orientation));
    add("slice_thickness_mm", json!(display.slice_thickness_mm));
    add("lossy", json!(display.lossy.is_some()));
    add("warnings", json!(display.warnings));
    facts
}
