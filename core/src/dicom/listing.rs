//! All elements of a file, one row each, for people who want to see what is in it.

use dicom_core::VR;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use serde::Serialize;

use super::codec::TransferSyntax;
use super::data_set::{DataSet, Element};
use super::file::DicomFile;
use super::sop_class::sop_class_name;
use super::text::one_line;

/// One element, or the head of an item of a sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagRow {
    /// Sequences that it lies in.
    pub depth: usize,
    /// `(0010,0010)`; empty for the head of an item.
    pub tag: String,
    /// Keyword of the dictionary; `private` or `unknown` where it has none, `item 1 of 3` for the head of an item.
    pub name: String,
    /// Value representation; empty for the head of an item.
    pub vr: String,
    /// The value on one line, shortened where it is long; what UIDs stand for behind them. Of binary data, how much there is.
    pub value: String,
}

/// Characters of a value that are shown.
const LONGEST_VALUE: usize = 400;
/// Numbers of a value that are shown.
const MOST_NUMBERS: usize = 32;
/// Rows of a file: broken files claim millions of items.
const MOST_ROWS: usize = 200_000;

impl TagRow {
    /// Whether tag, name or value contain all words of `search`, whatever their case.
    pub fn contains(&self, search: &str) -> bool {
        let text = format!("{} {} {} {}", self.tag, self.name, self.vr, self.value).to_lowercase();
        // Tags are also searched as they are written without punctuation: 00100010.
        let digits: String = self.tag.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
        search.to_lowercase().split_whitespace().all(|word| text.contains(word) || digits.contains(word))
    }
}

/// The elements of `file` in its order, items of sequences below them; at most 200,000.
pub fn tag_rows(file: &DicomFile) -> Vec<TagRow> {
    let mut rows = Vec::new();
    list(file.data_set(), 0, &mut rows);
    rows
}

fn list(set: DataSet<'_>, depth: usize, rows: &mut Vec<TagRow>) {
    for element in set.elements() {
        if rows.len() >= MOST_ROWS {
            return;
        }
        let tag = element.tag();
        rows.push(TagRow {
            depth,
            tag: format!("({:04X},{:04X})", tag.0, tag.1),
            name: name(set, element),
            vr: element.vr().to_string().to_owned(),
            value: value(element),
        });
        if element.is_sequence() {
            let count = element.items().count();
            for (index, item) in element.items().enumerate() {
                let name = format!("item {} of {count}", index + 1);
                let empty = String::new;
                rows.push(TagRow { depth: depth + 1, tag: empty(), name, vr: empty(), value: empty() });
                list(item, depth + 1, rows);
            }
        }
    }
}

fn name(set: DataSet<'_>, element: Element<'_>) -> String {
    let tag = element.tag();
    if tag.0 % 2 == 1 {
        // The block that a private element belongs to is reserved by its creator (PS3.5 7.8.1).
        let block = dicom_core::Tag(tag.0, tag.1 >> 8);
        let creator = if tag.1 >= 0x1000 { set.line(block) } else { String::new() };
        return if creator.is_empty() { "private".to_owned() } else { format!("private, {creator}") };
    }
    StandardDataDictionary.by_tag(tag).map_or("unknown", |entry| entry.alias()).to_owned()
}

fn value(element: Element<'_>) -> String {
    if element.is_sequence() {
        return match element.items().count() {
            1 => "1 item".to_owned(),
            count => format!("{count} items"),
        };
    }
    if element.is_encapsulated() {
        // The offset table is a fragment, too.
        let fragments: Vec<usize> = element.fragments().map(<[u8]>::len).collect();
        let bytes: usize = fragments.iter().sum();
        return format!("{} fragments, {}", fragments.len().saturating_sub(1), size(bytes));
    }
    let bytes = element.bytes();
    match element.vr() {
        VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV | VR::UN if bytes.len() > 64 => size(bytes.len()),
        VR::OB | VR::UN => match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().all(|c| !c.is_control() || c == '\0') => shortened(&one_line(text)),
            _ => bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" "),
        },
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD | VR::AT | VR::OW | VR::OF | VR::OD => {
            let values = if element.vr() == VR::OW {
                element.ints().iter().map(i64::to_string).collect()
            } else {
                element.strings()
            };
            let more =
                if values.len() > MOST_NUMBERS { format!(" … {} values", values.len()) } else { String::new() };
            format!("{}{more}", values.into_iter().take(MOST_NUMBERS).collect::<Vec<_>>().join("\\"))
        }
        VR::UI => {
            let uids: Vec<String> = element.strings().iter().map(|uid| named_uid(element, uid)).collect();
            shortened(&uids.join("\\"))
        }
        _ => shortened(&one_line(&element.text())),
    }
}

/// A UID with what it stands for, where that is known.
fn named_uid(element: Element<'_>, uid: &str) -> String {
    let syntax = (element.tag() == tags::TRANSFER_SYNTAX_UID).then(|| TransferSyntax::find(uid)).flatten();
    let name = match syntax {
        Some(syntax) => syntax.name,
        None => sop_class_name(uid),
    };
    if name == uid || uid.is_empty() { uid.to_owned() } else { format!("{uid} ({name})") }
}

fn shortened(text: &str) -> String {
    let mut letters = text.chars();
    let kept: String = letters.by_ref().take(LONGEST_VALUE).collect();
    if letters.next().is_some() { format!("{kept}…") } else { kept }
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{DataSetBuilder, Tag, tags};
    use crate::study::Source;

    #[test]
    fn elements_are_listed_with_their_items_and_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.dcm");
        let mut file = DataSetBuilder::new("1.2.840.10008.5.1.4.1.1.2", "1.2.3");
        file.text(tags::PATIENT_NAME, "Doe^Jane").unsigned(tags::ROWS, &[512]);
        file.decimals(tags::PIXEL_SPACING, &[0.5, 0.25]);
        let mut item = DataSetBuilder::item();
        item.text(tags::REFERENCED_SOP_INSTANCE_UID, "1.2.4");
        file.sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![item]);
        file.text(Tag(0x0009, 0x0010), "ACME").text(Tag(0x0009, 0x1001), "secret");
        file.text(tags::IMAGE_COMMENTS, &"long ".repeat(200));
        file.pixels8(vec![7; 3000]);
        file.save(&path).expect("written");
        let rows = tag_rows(&DicomFile::read(&Source::file(&path)).expect("read"));
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
        assert_eq!(row("PatientName").value, "Doe^Jane");
        assert_eq!((row("Rows").value.as_str(), row("Rows").vr.as_str()), ("512", "US"));
        assert!(row("SOPClassUID").value.ends_with("(CT Image)"));
        assert!(row("TransferSyntaxUID").value.contains("Explicit VR Little Endian"), "{rows:?}");
        assert_eq!(row("ReferencedImageSequence").value, "1 item");
        let nested = row("ReferencedSOPInstanceUID");
        assert_eq!((nested.depth, nested.value.as_str()), (1, "1.2.4"));
        assert_eq!(row("item 1 of 1").depth, 1);
        assert_eq!(row("private, ACME").value, "secret");
        assert_eq!(row("PixelData").value, "2.9 KiB");
        assert!(row("ImageComments").value.ends_with('…'));
        let found = |search: &str| rows.iter().filter(|row| row.contains(search)).count();
        assert_eq!((found("patient jane"), found("00100010"), found("(0010,0010)"), found("nothing")), (1, 1, 1, 0));
        assert_eq!(found(""), rows.len());
    }
}
