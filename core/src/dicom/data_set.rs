//! Typed access to a data set that was read: strings, numbers, sequences, pixel data.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};

use super::parse::{Entry, Kind, Reader};
use super::text::{self, CharacterSet};

/// A tag for people: `(0010,0010) PatientName`.
pub fn tag_name(tag: Tag) -> String {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) => format!("({:04X},{:04X}) {}", tag.0, tag.1, entry.alias()),
        None => format!("({:04X},{:04X})", tag.0, tag.1),
    }
}

/// A data set or an item of a sequence, borrowed from its [`DicomFile`](super::DicomFile).
///
/// Getters give `None` (or an empty list) both where an element is absent and where its value is of no use; the first
/// element wins where a tag is repeated. Elements of the meta group are found in the file's own data set.
#[derive(Debug, Clone, Copy)]
pub struct DataSet<'a> {
    bytes: &'a [u8],
    tape: &'a [Entry],
    big_endian: bool,
    first: usize,
    end: usize,
    charset: CharacterSet,
}

/// One element of a [`DataSet`].
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    set: DataSet<'a>,
    entry: &'a Entry,
    index: usize,
}

impl<'a> DataSet<'a> {
    pub(super) fn new(bytes: &'a [u8], tape: &'a [Entry], big_endian: bool) -> Self {
        let set = Self { bytes, tape, big_endian, first: 0, end: tape.len(), charset: CharacterSet::default() };
        set.with_own_charset()
    }

    fn with_own_charset(mut self) -> Self {
        if let Some(element) = self.get(tags::SPECIFIC_CHARACTER_SET) {
            self.charset = CharacterSet::from_terms(element.bytes());
        }
        self
    }

    /// The elements in the file's order.
    pub fn elements(self) -> impl Iterator<Item = Element<'a>> {
        let mut index = self.first;
        std::iter::from_fn(move || {
            let entry = self.tape.get(index).filter(|_| index < self.end)?;
            let element = Element { set: self, entry, index };
            index = (entry.next as usize).max(index + 1);
            Some(element)
        })
    }

    /// The element with this tag.
    pub fn get(self, tag: Tag) -> Option<Element<'a>> {
        self.elements().find(|element| element.entry.tag == tag)
    }

    /// Whether the element is there, even if empty.
    pub fn has(self, tag: Tag) -> bool {
        self.get(tag).is_some()
    }

    /// All values as text, decoded by the Specific Character Set, trimmed; an absent or empty element gives none.
    pub fn strings(self, tag: Tag) -> Vec<String> {
        self.get(tag).map(Element::strings).unwrap_or_default()
    }

    /// The first value as text, decoded and trimmed; `None` where absent or empty.
    pub fn string(self, tag: Tag) -> Option<String> {
        self.get(tag).and_then(|element| element.strings().into_iter().next()).filter(|text| !text.is_empty())
    }

    /// All values as one line for people: control characters removed; may be empty.
    pub fn line(self, tag: Tag) -> String {
        self.get(tag).map(|element| text::one_line(&element.text())).unwrap_or_default()
    }

    /// The first value of a Person Name for people, `Family, Given`; may be empty.
    pub fn person_name(self, tag: Tag) -> String {
        self.get(tag)
            .map(|element| text::person_name(element.text().split('\\').next().unwrap_or_default()))
            .unwrap_or_default()
    }

    /// All values as whole numbers; values that are none are left out. See [`Element::ints`].
    pub fn ints(self, tag: Tag) -> Vec<i64> {
        self.get(tag).map(Element::ints).unwrap_or_default()
    }

    /// The first value as a whole number.
    pub fn int(self, tag: Tag) -> Option<i64> {
        self.get(tag).and_then(|element| element.ints().first().copied())
    }

    /// All values as numbers, NaN for each that is none, so that the places keep their meaning.
    pub fn floats(self, tag: Tag) -> Vec<f64> {
        self.get(tag).map(Element::floats).unwrap_or_default()
    }

    /// The first value as a finite number.
    pub fn float(self, tag: Tag) -> Option<f64> {
        self.get(tag).and_then(|element| element.floats().first().copied()).filter(|value| value.is_finite())
    }

    /// All values as numbers if there are exactly `N`, and all finite.
    pub fn vector<const N: usize>(self, tag: Tag) -> Option<[f64; N]> {
        let values: [f64; N] = self.floats(tag).try_into().ok()?;
        values.iter().all(|value| value.is_finite()).then_some(values)
    }

    /// The value's bytes in the file's byte order; empty for a sequence.
    pub fn bytes(self, tag: Tag) -> Option<&'a [u8]> {
        self.get(tag).map(Element::bytes)
    }

    /// The value as 16-bit words in the machine's byte order (LUT data, overlays).
    pub fn words(self, tag: Tag) -> Option<Vec<u16>> {
        self.get(tag).map(Element::words)
    }

    /// The items of a sequence; none where it is absent.
    pub fn items(self, tag: Tag) -> impl Iterator<Item = DataSet<'a>> {
        self.get(tag).into_iter().flat_map(Element::items)
    }

    /// The first item of a sequence.
    pub fn item(self, tag: Tag) -> Option<DataSet<'a>> {
        self.items(tag).next()
    }
}

impl<'a> Element<'a> {
    /// The tag.
    pub fn tag(self) -> Tag {
        self.entry.tag
    }

    /// The value representation: as written, or from the dictionary where none was.
    pub fn vr(self) -> VR {
        self.entry.vr
    }

    /// Whether this is a sequence of items.
    pub fn is_sequence(self) -> bool {
        self.entry.kind == Kind::Sequence
    }

    /// Whether the value is encapsulated in fragments.
    pub fn is_encapsulated(self) -> bool {
        self.entry.kind == Kind::Fragments
    }

    /// The value's bytes in the file's byte order; empty for a sequence and for fragments.
    pub fn bytes(self) -> &'a [u8] {
        match self.entry.kind {
            Kind::Value => self.set.bytes.get(self.entry.start..self.entry.end).unwrap_or(&[]),
            _ => &[],
        }
    }

    /// Items of a sequence; none for anything else.
    pub fn items(self) -> impl Iterator<Item = DataSet<'a>> {
        self.children(Kind::Sequence).map(move |(index, entry)| {
            DataSet { first: index + 1, end: (entry.next as usize).min(self.set.tape.len()), ..self.set }
                .with_own_charset()
        })
    }

    /// Fragments of an encapsulated value, the offset table first; none for anything else.
    pub fn fragments(self) -> impl Iterator<Item = &'a [u8]> {
        self.children(Kind::Fragments).map(move |(_, entry)| self.set.bytes.get(entry.start..entry.end).unwrap_or(&[]))
    }

    fn children(self, kind: Kind) -> impl Iterator<Item = (usize, &'a Entry)> {
        let end = if self.entry.kind == kind { self.entry.next as usize } else { 0 };
        let tape = self.set.tape;
        let mut index = self.index + 1;
        std::iter::from_fn(move || {
            let entry = tape.get(index).filter(|_| index < end)?;
            let found = (index, entry);
            index = (entry.next as usize).max(index + 1);
            Some(found)
        })
        .filter(|(_, entry)| entry.kind == Kind::Item)
    }

    /// The whole value decoded, without trailing padding; control characters are kept.
    pub fn text(self) -> String {
        let bytes = self.bytes();
        let end = bytes.iter().rposition(|b| !matches!(b, 0 | b' ')).map_or(0, |last| last + 1);
        let bytes = bytes.get(..end).unwrap_or(&[]);
        match self.entry.vr {
            VR::LO | VR::LT | VR::PN | VR::SH | VR::ST | VR::UC | VR::UT | VR::UN => self.set.charset.decode(bytes),
            _ => CharacterSet::default().decode(bytes),
        }
    }

    /// All values as text, trimmed.
    pub fn strings(self) -> Vec<String> {
        let trim = |text: &str| text.trim_matches([' ', '\0', '\n', '\r', '\t']).to_owned();
        match self.entry.vr {
            // Numbers in binary, as text.
            VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV => self.ints().iter().map(i64::to_string).collect(),
            VR::FL | VR::FD | VR::OF | VR::OD => self.floats().iter().map(f64::to_string).collect(),
            VR::AT => self.ints().iter().map(|n| format!("{n:08X}")).collect(),
            VR::LT | VR::ST | VR::UT | VR::UR => {
                vec![trim(&self.text())].into_iter().filter(|t| !t.is_empty()).collect()
            }
            _ => {
                let text = self.text();
                if text.is_empty() { Vec::new() } else { text.split('\\').map(trim).collect() }
            }
        }
    }

    /// All values as whole numbers: binary by their VR, text parsed (`"12"`, `"12.0"`); what is no number is left out.
    /// `US` where the file does not tell `US or SS`; take [`Element::signed_ints`] where Pixel Representation says so.
    pub fn ints(self) -> Vec<i64> {
        let bytes = self.bytes();
        match self.entry.vr {
            VR::US | VR::OW => self.words().into_iter().map(i64::from).collect(),
            VR::SS => self.words().into_iter().map(|word| i64::from(word as i16)).collect(),
            VR::UL | VR::OL => self.numbers(|b: [u8; 4]| i64::from(u32::from_le_bytes(b))),
            VR::SL => self.numbers(|b: [u8; 4]| i64::from(i32::from_le_bytes(b))),
            VR::UV | VR::OV => self.numbers(|b: [u8; 8]| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX)),
            VR::SV => self.numbers(i64::from_le_bytes),
            VR::AT => {
                let words = self.words();
                words.as_chunks::<2>().0.iter().map(|[g, e]| (i64::from(*g) << 16) | i64::from(*e)).collect()
            }
            VR::FL | VR::FD | VR::OF | VR::OD => {
                self.floats().into_iter().filter(|v| v.is_finite()).map(|v| v as i64).collect()
            }
            VR::OB => bytes.iter().map(|b| i64::from(*b)).collect(),
            _ => self.strings().iter().filter_map(|text| parse_int(text)).collect(),
        }
    }

    /// Like [`Element::ints`], with 16-bit values read as signed (`US or SS` in implicit VR).
    pub fn signed_ints(self) -> Vec<i64> {
        match self.entry.vr {
            VR::US | VR::SS | VR::OW => self.words().into_iter().map(|word| i64::from(word as i16)).collect(),
            _ => self.ints(),
        }
    }

    /// All values as numbers, NaN for each that is none.
    pub fn floats(self) -> Vec<f64> {
        match self.entry.vr {
            VR::FL | VR::OF => self.numbers(|b: [u8; 4]| f64::from(f32::from_le_bytes(b))),
            VR::FD | VR::OD => self.numbers(f64::from_le_bytes),
            VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::OW | VR::OL | VR::OB => {
                self.ints().into_iter().map(|n| n as f64).collect()
            }
            _ => self.strings().iter().map(|text| parse_float(text)).collect(),
        }
    }

    /// The value as 16-bit words in the machine's byte order; an odd last byte is dropped.
    pub fn words(self) -> Vec<u16> {
        self.numbers(u16::from_le_bytes)
    }

    fn numbers<const N: usize, T>(self, convert: impl Fn([u8; N]) -> T) -> Vec<T> {
        let (chunks, _) = self.bytes().as_chunks::<N>();
        chunks
            .iter()
            .map(|chunk| {
                let mut chunk = *chunk;
                // The meta group is little endian in every file.
                if self.set.big_endian && self.entry.tag.0 != 2 {
                    chunk.reverse();
                }
                convert(chunk)
            })
            .collect()
    }

    /// Reads a 32-bit table that is little endian whatever the data set is (offset tables).
    pub(super) fn table_u32(bytes: &[u8]) -> Vec<u64> {
        let reader = Reader { bytes, big_endian: false };
        (0..bytes.len() / 4).filter_map(|i| reader.u32(i * 4)).map(u64::from).collect()
    }
}

fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(value) = text.parse::<i64>() {
        return Some(value);
    }
    let value = parse_float(text);
    (value.is_finite() && value.abs() < 9e15).then_some(value as i64)
}

/// A decimal string; a comma for the point is met in the wild.
fn parse_float(text: &str) -> f64 {
    let text = text.trim();
    text.parse().or_else(|_| text.replace(',', ".").parse()).unwrap_or(f64::NAN)
}
