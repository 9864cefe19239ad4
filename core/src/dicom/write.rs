//! Writing DICOM files: a data set to build up, unique identifiers, the file around it (PS3.10).
//!
//! Everything that writes an object builds a [`DataSetBuilder`] and calls [`DataSetBuilder::save`]; what is particular to one
//! kind of object is in a file of its own (`write_ct.rs`, `write_dx.rs`).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Length, Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use sha2::{Digest, Sha256};

/// Names the program that wrote a file, (0002,0012).
pub(super) const IMPLEMENTATION_CLASS_UID: &str = "2.25.223446412786411437340216013542397814073";
/// (0002,0013), at most 16 characters.
pub(super) const IMPLEMENTATION_VERSION_NAME: &str = concat!("BIFOCAL_", env!("CARGO_PKG_VERSION"));
const _: () = assert!(IMPLEMENTATION_VERSION_NAME.len() <= 16);

/// Why a DICOM file could not be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{path}: {cause}")]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What went wrong.
    pub cause: String,
}

impl WriteError {
    pub(super) fn new(path: &Path, cause: impl std::fmt::Display) -> Self {
        Self { path: path.to_path_buf(), cause: cause.to_string() }
    }
}

/// A unique identifier that follows from `name`: a UUID of version 8 from its SHA-256, below `2.25.` (PS3.5 B.2).
///
/// The same name always gives the same identifier, so that what is made from a seed or from given inputs is reproducible.
pub fn uid_from_name(name: &str) -> String {
    let hash = Sha256::digest(name.as_bytes());
    let mut number = hash.iter().take(16).fold(0_u128, |n, byte| n << 8 | u128::from(*byte));
    number = number & !(0xf << 76) | 8 << 76;
    number = number & !(0b11 << 62) | 0b10 << 62;
    format!("2.25.{number}")
}

/// A decimal string of at most 16 characters (PS3.5, DS), as exact as fits; 0 for what is not finite.
pub fn decimal_string(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let plain = format!("{value}");
    if plain.len() <= 16 {
        return plain;
    }
    (0..=14)
        .rev()
        .map(|digits| format!("{value:.digits$}"))
        .chain((0..=9).rev().map(|digits| format!("{value:.digits$e}")))
        .find(|text| {
            text.len() <= 16 && text.parse::<f64>().is_ok_and(|back| (back - value).abs() <= value.abs() * 1e-6)
        })
        .unwrap_or_else(|| format!("{value:.8e}"))
}

/// A coded concept: code, coding scheme, meaning (PS3.3 8.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code<'a> {
    /// Code Value.
    pub value: &'a str,
    /// Coding Scheme Designator: `SCT`, `DCM`, `UCUM`, ...
    pub scheme: &'a str,
    /// Code Meaning.
    pub meaning: &'a str,
}

/// A data set under construction. Value representations come from the standard's dictionary; elements may be put in any order.
#[derive(Debug, Clone)]
pub struct DataSetBuilder {
    object: InMemDicomObject,
}

impl DataSetBuilder {
    /// A data set in UTF-8 with its class and identifier.
    pub fn new(sop_class: &str, sop_instance: &str) -> Self {
        let mut data = Self::item();
        data.text(tags::SPECIFIC_CHARACTER_SET, "ISO_IR 192")
            .text(tags::SOP_CLASS_UID, sop_class)
            .text(tags::SOP_INSTANCE_UID, sop_instance);
        data
    }

    /// An empty item of a sequence.
    pub fn item() -> Self {
        Self { object: InMemDicomObject::new_empty() }
    }

    fn put(&mut self, tag: Tag, value: PrimitiveValue) -> &mut Self {
        self.object.put(DataElement::new(tag, vr_of(tag), value));
        self
    }

    /// Text of any kind: identifiers, codes, names, dates, numbers written as text.
    pub fn text(&mut self, tag: Tag, value: &str) -> &mut Self {
        self.put(tag, if value.is_empty() { PrimitiveValue::Empty } else { PrimitiveValue::from(value) })
    }

    /// Text with several values.
    pub fn texts(&mut self, tag: Tag, values: &[&str]) -> &mut Self {
        if values.is_empty() {
            return self.empty(tag);
        }
        self.put(tag, PrimitiveValue::Strs(values.iter().map(|v| (*v).to_owned()).collect()))
    }

    /// Decimal strings.
    pub fn decimals(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        self.put(tag, PrimitiveValue::Strs(values.iter().map(|v| decimal_string(*v)).collect()))
    }

    /// Integer strings.
    pub fn integers(&mut self, tag: Tag, values: &[i64]) -> &mut Self {
        self.put(tag, PrimitiveValue::Strs(values.iter().map(i64::to_string).collect()))
    }

    /// Unsigned 16-bit numbers (US).
    pub fn unsigned(&mut self, tag: Tag, values: &[u16]) -> &mut Self {
        self.put(tag, PrimitiveValue::U16(values.iter().copied().collect()))
    }

    /// Signed 16-bit numbers (SS).
    pub fn signed(&mut self, tag: Tag, values: &[i16]) -> &mut Self {
        self.put(tag, PrimitiveValue::I16(values.iter().copied().collect()))
    }

    /// Unsigned 32-bit numbers (UL).
    pub fn longs(&mut self, tag: Tag, values: &[u32]) -> &mut Self {
        self.put(tag, PrimitiveValue::U32(values.iter().copied().collect()))
    }

    /// The tag of another attribute (AT).
    pub fn tag(&mut self, tag: Tag, value: Tag) -> &mut Self {
        self.put(tag, PrimitiveValue::Tags([value].into_iter().collect()))
    }

    /// 32-bit floating point numbers (FL).
    pub fn floats(&mut self, tag: Tag, values: &[f32]) -> &mut Self {
        self.put(tag, PrimitiveValue::F32(values.iter().copied().collect()))
    }

    /// An element that is there without a value (type 2).
    pub fn empty(&mut self, tag: Tag) -> &mut Self {
        if vr_of(tag) == VR::SQ { self.sequence(tag, Vec::new()) } else { self.put(tag, PrimitiveValue::Empty) }
    }

    /// A sequence of items.
    pub fn sequence(&mut self, tag: Tag, items: Vec<DataSetBuilder>) -> &mut Self {
        let items: Vec<InMemDicomObject> = items.into_iter().map(|item| item.object).collect();
        self.object.put(DataElement::new(tag, VR::SQ, DataSetSequence::new(items, Length::UNDEFINED)));
        self
    }

    /// A sequence of one coded concept.
    pub fn code(&mut self, tag: Tag, code: Code<'_>) -> &mut Self {
        let mut item = Self::item();
        item.text(tags::CODE_VALUE, code.value)
            .text(tags::CODING_SCHEME_DESIGNATOR, code.scheme)
            .text(tags::CODE_MEANING, code.meaning);
        self.sequence(tag, vec![item])
    }

    /// Pixel Data of 16-bit words, uncompressed.
    pub fn pixels16(&mut self, words: Vec<u16>) -> &mut Self {
        self.object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())));
        self
    }

    /// Pixel Data of bytes, uncompressed; padded to an even length.
    pub fn pixels8(&mut self, mut bytes: Vec<u8>) -> &mut Self {
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        self.object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U8(bytes.into())));
        self
    }

    /// Copies all elements of `other`, which win over those that are here.
    pub fn extend(&mut self, other: &DataSetBuilder) -> &mut Self {
        for element in other.object.iter() {
            self.object.put(element.clone());
        }
        self
    }

    /// Writes a Part 10 file, Explicit VR Little Endian, replacing what is there. The same data set gives the same bytes.
    pub fn save(self, path: &Path) -> Result<(), WriteError> {
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
            .implementation_version_name(IMPLEMENTATION_VERSION_NAME);
        let object = self.object.with_meta(meta).map_err(|e| WriteError::new(path, e))?;
        let file = File::create(path).map_err(|e| WriteError::new(path, e))?;
        let mut file = BufWriter::new(file);
        object.write_all(&mut file).map_err(|e| WriteError::new(path, e))?;
        file.flush().map_err(|e| WriteError::new(path, e))
    }
}

/// The value representation of the standard's dictionary; UN for private and unknown elements.
fn vr_of(tag: Tag) -> VR {
    StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_follow_from_the_name_and_are_valid() {
        let a = uid_from_name("a");
        assert_eq!(a, uid_from_name("a"));
        assert_ne!(a, uid_from_name("b"));
        for uid in [a, uid_from_name("b"), uid_from_name("")] {
            assert!(uid.len() <= 64 && uid.starts_with("2.25.") && !uid.starts_with("2.25.0"), "{uid}");
            let number: u128 = uid["2.25.".len()..].parse().expect("a number");
            assert_eq!((number >> 76 & 0xf, number >> 62 & 0b11), (8, 0b10));
        }
    }

    #[test]
    fn decimal_strings_fit_and_come_back() {
        for value in [0.0, -1.0, 0.279_947_916_666_666_7, -123_456.789_012_345, 1e-9 / 3.0, 1e20 / 7.0, -2.0 / 3.0] {
            let text = decimal_string(value);
            assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().expect("a number");
            assert!((back - value).abs() <= value.abs() * 1e-6, "{value} became {text}");
        }
        assert_eq!(decimal_string(f64::NAN), "0");
    }

    #[test]
    fn a_saved_file_reads_back_and_is_the_same_each_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |name: &str| {
            let mut data = DataSetBuilder::new(uids::SECONDARY_CAPTURE_IMAGE_STORAGE, &uid_from_name("x"));
            data.text(tags::PATIENT_NAME, "Müller^Jürgen")
                .empty(tags::REQUEST_ATTRIBUTES_SEQUENCE)
                .code(tags::VIEW_CODE_SEQUENCE, Code { value: "1", scheme: "99T", meaning: "one" })
                .unsigned(tags::ROWS, &[3])
                .pixels8(vec![1, 2, 3]);
            let path = folder.path().join(name);
            data.save(&path).expect("it is written");
            path
        };
        let (a, b) = (make("a.dcm"), make("b.dcm"));
        assert_eq!(std::fs::read(&a).expect("a"), std::fs::read(&b).expect("b"));
        let object = dicom_object::open_file(&a).expect("it opens");
        assert_eq!(object.element(tags::PATIENT_NAME).expect("name").to_str().expect("text"), "Müller^Jürgen");
        assert_eq!(object.element(tags::ROWS).expect("rows").to_int::<u16>().expect("number"), 3);
        assert_eq!(object.element(tags::PIXEL_DATA).expect("pixels").to_bytes().expect("bytes").as_ref(), [1, 2, 3, 0]);
        assert_eq!(object.meta().implementation_version_name(), Some(IMPLEMENTATION_VERSION_NAME));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let path = Path::new("no/such/folder/x.dcm");
        let data = DataSetBuilder::new(uids::SECONDARY_CAPTURE_IMAGE_STORAGE, "2.25.1");
        assert!(data.save(path).expect_err("it must fail").to_string().contains("no/such/folder"));
    }
}
