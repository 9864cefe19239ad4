//! `bifocal inspect`: key attributes of one DICOM file, and the hash of a decoded frame.

use std::path::PathBuf;
use std::process::ExitCode;

use bifocal_core::dicom::pixels::PixelReader;
use bifocal_core::dicom::{DataSet, DicomFile, Tag, tags};
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
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let source = Source { file: args.file, member: args.member };
    // The message already holds the reason that the operating system gave.
    let file = DicomFile::read(&source).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut facts = attributes(&file);
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
        for (name, value) in &facts {
            let text = match value {
                Value::Null => "-".into(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            println!("{name:24} {text}");
        }
    }
    outcome.map_err(|error| anyhow::anyhow!("{error}"))?;
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
