//! Opening a DICOM file, tolerantly: with or without preamble and meta group, in any of the native encodings, deflated,
//! cut off or mislabelled (PS3.10 chapter 7, PS3.5 chapters 7 and A).

use std::io::{self, Cursor, Read};

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::data_set::{DataSet, tag_name};
use super::parse::{self, Encoding, Kind, Parsed};
use crate::image_io::with_stream;
use crate::study::{Problem, Source};

/// Bytes of a file, an archive member or an inflated data set that are read at most.
const MAX_BYTES: u64 = 4 << 30;
/// Bytes that a deflated data set may inflate to.
const MAX_INFLATED: u64 = 512 << 20;
/// Bytes before the pixel data that are read at most.
const MAX_HEADER: usize = 256 << 20;
/// Explicit VR Big Endian, retired yet met.
pub const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// First step of reading headers.
const FIRST_READ: usize = 64 << 10;

/// Why a file could not be used: names the file, the tag where one is to blame, and the cause.
#[derive(Debug, thiserror::Error)]
pub enum DicomError {
    /// The operating system or the archive refused.
    #[error("{file}: cannot be read: {error}")]
    Read {
        /// The file.
        file: Source,
        /// The reason given.
        #[source]
        error: io::Error,
    },
    /// No DICOM at all.
    #[error("{file}: not a DICOM file: {cause}")]
    NotDicom {
        /// The file.
        file: Source,
        /// What shows it.
        cause: String,
    },
    /// An attribute is missing, contradicts another or cannot be used.
    #[error("{file}: {}: {cause}", tag_name(*tag))]
    Attribute {
        /// The file.
        file: Source,
        /// The attribute.
        tag: Tag,
        /// What is wrong with it.
        cause: String,
    },
    /// Anything else about the content.
    #[error("{file}: {cause}")]
    Content {
        /// The file.
        file: Source,
        /// What is wrong.
        cause: String,
    },
}

impl DicomError {
    /// An [`DicomError::Attribute`].
    pub fn attribute(file: &Source, tag: Tag, cause: impl Into<String>) -> Self {
        Self::Attribute { file: file.clone(), tag, cause: cause.into() }
    }

    /// An [`DicomError::Content`].
    pub fn content(file: &Source, cause: impl Into<String>) -> Self {
        Self::Content { file: file.clone(), cause: cause.into() }
    }

    /// The same for the list of problems.
    pub fn to_problem(&self) -> Problem {
        let (file, tag, cause) = match self {
            Self::Read { file, error } => (file, None, format!("cannot be read: {error}")),
            Self::NotDicom { file, cause } => (file, None, format!("not a DICOM file: {cause}")),
            Self::Attribute { file, tag, cause } => (file, Some(tag_name(*tag)), cause.clone()),
            Self::Content { file, cause } => (file, None, cause.clone()),
        };
        Problem::error(file.clone(), tag, cause)
    }
}

/// A DICOM file that was read: its bytes and where the elements lie in them.
///
/// Takes the memory of the file itself (inflated, where it is deflated) and 32 bytes an element. The data set may be
/// incomplete: [`DicomFile::problems`] says what was odd.
#[derive(Debug)]
pub struct DicomFile {
    /// Where it came from.
    pub source: Source,
    /// Transfer Syntax UID as the file says, or the one its content shows where the file says none.
    pub transfer_syntax: String,
    /// How the elements are really written (which also is the byte order of native pixel data).
    pub encoding: Encoding,
    /// What was odd; empty for a sound file.
    pub problems: Vec<Problem>,
    bytes: Vec<u8>,
    parsed: Parsed,
    /// Bytes of the whole stream; `None` for a deflated one.
    length: Option<u64>,
}

impl DicomFile {
    /// Reads up to the pixel data, whose element is present but holds little or nothing of its value.
    ///
    /// # Errors
    /// When the file cannot be read or is not DICOM. Anything wrong further on becomes a problem.
    pub fn read_headers(source: &Source) -> Result<Self, DicomError> {
        Self::open(source, true)
    }

    /// Reads everything.
    ///
    /// # Errors
    /// As [`DicomFile::read_headers`], and for more than 4 GiB (512 MiB inflated).
    pub fn read(source: &Source) -> Result<Self, DicomError> {
        Self::open(source, false)
    }

    /// Reads everything from memory; `source` is the name in messages.
    ///
    /// # Errors
    /// As [`DicomFile::read`].
    pub fn from_bytes(bytes: &[u8], source: &Source) -> Result<Self, DicomError> {
        Self::load(&mut Cursor::new(bytes), bytes.len() as u64, source, false)
    }

    fn open(source: &Source, headers_only: bool) -> Result<Self, DicomError> {
        let body = |stream: &mut dyn Read, length| Ok(Self::load(stream, length, source, headers_only));
        with_stream(source, body)
            .unwrap_or_else(|error: io::Error| Err(DicomError::Read { file: source.clone(), error }))
    }

    /// Reads from any stream of `length` bytes (as far as known).
    pub(super) fn load(
        reader: &mut dyn Read,
        length: u64,
        source: &Source,
        headers_only: bool,
    ) -> Result<Self, DicomError> {
        let read_error = |error| DicomError::Read { file: source.clone(), error };
        let mut bytes = Vec::new();
        let complete = fill(reader, &mut bytes, FIRST_READ).map_err(read_error)?;
        let mut parsed = Parsed::default();
        let mut problems = Vec::new();
        let start = find_start(&bytes, source)?;
        let mut data_start = parse::parse_meta(&bytes, start.at, &mut parsed);
        if data_start >= bytes.len() && !complete {
            // A meta group beyond the first step: read once more, generously.
            fill(reader, &mut bytes, 16 << 20).map_err(read_error)?;
            parsed = Parsed::default();
            data_start = parse::parse_meta(&bytes, start.at, &mut parsed);
        }
        let declared = DataSet::new(&bytes, &parsed.tape, false).string(tags::TRANSFER_SYNTAX_UID).unwrap_or_default();
        let mut problem = |tag: Option<Tag>, cause: String| {
            problems.push(Problem::remark(source.clone(), tag.map(tag_name), cause));
        };
        if !start.preamble {
            problem(None, "no DICOM preamble: read by its content".into());
        }
        let rest = bytes.split_off(data_start.min(bytes.len()));
        let deflated = declared == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            && parse::sniff(&rest, 0).is_none_or(|found| found != Encoding::EXPLICIT_LITTLE);
        let (encoding, label) = settle_encoding(&declared, deflated, &rest);
        if let Some(cause) = label {
            problem(Some(tags::TRANSFER_SYNTAX_UID), cause);
        }
        let mut outcome = if deflated {
            // Some writers wrap the stream as zlib does, against PS3.5 A.5.
            let zlib = matches!(rest.first_chunk::<2>(), Some([0x78, flags]) if (0x7800 + u16::from(*flags)) % 31 == 0);
            let stream = Cursor::new(rest).chain(reader);
            if zlib {
                let mut inflater = ZlibDecoder::new(stream);
                load_data_set(&mut inflater, bytes, parsed, u64::MAX, MAX_INFLATED, encoding, headers_only)
            } else {
                let mut inflater = DeflateDecoder::new(stream);
                load_data_set(&mut inflater, bytes, parsed, u64::MAX, MAX_INFLATED, encoding, headers_only)
            }
        } else {
            let mut stream = Cursor::new(rest).chain(reader);
            load_data_set(&mut stream, bytes, parsed, length, MAX_BYTES, encoding, headers_only)
        };
        if let Some(cause) = outcome.refused.take() {
            return Err(DicomError::content(source, cause));
        }
        for doubt in &outcome.parsed.doubts {
            let tag = doubt.tag.map(tag_name);
            problems.push(if doubt.loss {
                Problem::error(source.clone(), tag, doubt.cause.clone())
            } else {
                Problem::remark(source.clone(), tag, doubt.cause.clone())
            });
        }
        let mut file = Self {
            source: source.clone(),
            transfer_syntax: declared,
            encoding,
            problems,
            bytes: outcome.bytes,
            parsed: outcome.parsed,
            length: (!deflated).then_some(length),
        };
        if file.transfer_syntax.is_empty() {
            file.transfer_syntax = file.guess_transfer_syntax().to_owned();
        }
        if !file.looks_like_dicom(start.preamble) {
            return Err(DicomError::NotDicom {
                file: source.clone(),
                cause: "no attribute in it says what it is".into(),
            });
        }
        Ok(file)
    }

    /// The data set; elements of the meta group are in it too.
    pub fn data_set(&self) -> DataSet<'_> {
        DataSet::new(&self.bytes, &self.parsed.tape, self.encoding.big_endian)
    }

    /// Bytes from the start of the pixel data to the end of the file, read or not; `None` where there are no pixel data or
    /// the length is not known (deflated).
    pub(super) fn pixel_bytes(&self) -> Option<u64> {
        let entry = self.parsed.tape.iter().rev().find(|entry| parse::is_pixel_data(entry.tag))?;
        self.length?.checked_sub(entry.start as u64)
    }

    /// Where the first fragment of encapsulated pixel data begins in the file; `None` for other files and deflated ones.
    pub(super) fn fragments_start(&self) -> Option<u64> {
        let entry = self.parsed.tape.iter().rev().find(|entry| parse::is_pixel_data(entry.tag))?;
        (entry.kind == Kind::Fragments && self.length.is_some()).then_some(entry.start as u64)
    }

    /// Frames that the offset tables of encapsulated pixel data list; `None` where there is no table, or it was not read.
    pub(super) fn listed_frames(&self) -> Option<usize> {
        let extended = self.data_set().bytes(tags::EXTENDED_OFFSET_TABLE).map_or(0, |table| table.len() / 8);
        if extended > 0 {
            return Some(extended);
        }
        let entry = self.parsed.tape.iter().rev().find(|entry| parse::is_pixel_data(entry.tag))?;
        let head = self.bytes.get(entry.start..)?.first_chunk::<8>()?;
        let [0xFE, 0xFF, 0x00, 0xE0, a, b, c, d] = *head else { return None };
        Some(u32::from_le_bytes([a, b, c, d]) as usize / 4).filter(|count| *count > 0)
    }

    /// A [`DicomError::Attribute`] about this file.
    pub fn attribute_error(&self, tag: Tag, cause: impl Into<String>) -> DicomError {
        DicomError::attribute(&self.source, tag, cause)
    }

    fn looks_like_dicom(&self, preamble: bool) -> bool {
        let set = self.data_set();
        // With the magic word four attributes are enough, whatever they are; without it one must identify the object.
        let telling = [
            tags::SOP_CLASS_UID,
            tags::SOP_INSTANCE_UID,
            tags::MODALITY,
            tags::STUDY_INSTANCE_UID,
            tags::ROWS,
            tags::MEDIA_STORAGE_SOP_CLASS_UID,
            tags::OFFSET_OF_THE_FIRST_DIRECTORY_RECORD_OF_THE_ROOT_DIRECTORY_ENTITY,
        ];
        let count = set.elements().count();
        (preamble && count >= 4) || (count >= 3 && telling.into_iter().any(|tag| set.has(tag)))
    }

    fn guess_transfer_syntax(&self) -> &'static str {
        let encapsulated = self.parsed.tape.iter().find(|e| e.tag == parse::PIXEL_DATA && e.kind == Kind::Fragments);
        if encapsulated.is_some() {
            let first = self.data_set().get(tags::PIXEL_DATA).and_then(|pixels| pixels.fragments().nth(1));
            return first.and_then(codestream_syntax).unwrap_or(uids::RLE_LOSSLESS);
        }
        match (self.encoding.explicit, self.encoding.big_endian) {
            (true, true) => EXPLICIT_VR_BIG_ENDIAN,
            (true, false) => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            _ => uids::IMPLICIT_VR_LITTLE_ENDIAN,
        }
    }
}

/// The transfer syntax that a compressed frame's own first bytes show; `None` where they are not telling (RLE).
pub fn codestream_syntax(frame: &[u8]) -> Option<&'static str> {
    match frame {
        [0xFF, 0x4F, 0xFF, 0x51, ..] => Some(uids::JPEG2000),
        [0, 0, 0, 0x0C, b'j', b'P', ..] => Some(uids::JPEG2000),
        [0xFF, 0x0A, ..] | [0, 0, 0, 0x0C, b'J', b'X', b'L', ..] => Some(uids::JPEGXL),
        [0xFF, 0xD8, ..] => {
            let mut pos = 2;
            while let Some([0xFF, marker]) = frame.get(pos..pos + 2) {
                match marker {
                    0xC0 => return Some(uids::JPEG_BASELINE8_BIT),
                    0xC1 | 0xC2 => return Some(uids::JPEG_EXTENDED12_BIT),
                    0xC3 => return Some(uids::JPEG_LOSSLESS_SV1),
                    0xF7 => return Some(uids::JPEGLS_LOSSLESS),
                    0xFF => pos += 1,
                    _ => {
                        let length =
                            frame.get(pos + 2..pos + 4).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1]));
                        pos += 2 + length.max(2);
                    }
                }
            }
            None
        }
        _ => None,
    }
}

struct Outcome {
    bytes: Vec<u8>,
    parsed: Parsed,
    refused: Option<String>,
}

/// Reads and parses the data set that `stream` gives, after the meta group already in `bytes` and `parsed`.
fn load_data_set(
    stream: &mut dyn Read,
    mut bytes: Vec<u8>,
    meta: Parsed,
    length: u64,
    limit: u64,
    encoding: Encoding,
    headers_only: bool,
) -> Outcome {
    let start = bytes.len();
    let mut target = if headers_only { start + FIRST_READ } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    if !headers_only && length < limit {
        // One allocation for an honest length; a stream that is longer grows it.
        // Not more than the system grants: the length of an archive member is a claim.
        let _ = bytes.try_reserve_exact((length as usize).saturating_sub(start).saturating_add(1));
    }
    loop {
        let filled = fill(stream, &mut bytes, target);
        let mut parsed = Parsed { tape: meta.tape.clone(), doubts: meta.doubts.clone(), need_more: false };
        let complete = *filled.as_ref().unwrap_or(&true);
        if let Err(error) = filled {
            let cause = format!("cannot be read to its end: {error}");
            parsed.doubts.push(parse::Doubt { tag: None, cause, loss: true });
        }
        let total = if complete { bytes.len() as u64 } else { length.max(bytes.len() as u64 + 1) };
        if !complete && (!headers_only || bytes.len() as u64 >= limit) {
            let refused = Some(format!("larger than {} MiB once read: refused", limit >> 20));
            return Outcome { bytes, parsed, refused };
        }
        parse::parse(&bytes, start, total, encoding, headers_only, &mut parsed);
        if !parsed.need_more {
            return Outcome { bytes, parsed, refused: None };
        }
        if bytes.len() - start > MAX_HEADER {
            let refused = Some(format!("more than {} MiB before the pixel data: refused", MAX_HEADER >> 20));
            return Outcome { bytes, parsed, refused };
        }
        target = start + (bytes.len() - start).saturating_mul(4).max(FIRST_READ);
    }
}

/// Reads until `bytes` has `target` bytes; whether the stream ended before.
fn fill(stream: &mut dyn Read, bytes: &mut Vec<u8>, target: usize) -> io::Result<bool> {
    let wanted = target.saturating_sub(bytes.len()) as u64;
    let read = stream.take(wanted).read_to_end(bytes)? as u64;
    Ok(read < wanted)
}

struct Start {
    at: usize,
    preamble: bool,
}

fn find_start(bytes: &[u8], source: &Source) -> Result<Start, DicomError> {
    if bytes.get(128..132) == Some(b"DICM") {
        return Ok(Start { at: 132, preamble: true });
    }
    if bytes.starts_with(b"DICM") {
        return Ok(Start { at: 4, preamble: true });
    }
    let refuse = |cause: &str| Err(DicomError::NotDicom { file: source.clone(), cause: cause.into() });
    if bytes.is_empty() {
        return refuse("it is empty");
    }
    // Old files (ACR-NEMA 2.0) and bare data sets begin with a low group, some after a few stray bytes or an empty preamble.
    for at in (0..=16).chain([128, 132]) {
        let Some(encoding) = parse::sniff(bytes, at) else { continue };
        let tag = parse::Reader { bytes, big_endian: encoding.big_endian }.tag(at);
        let begins = match tag {
            Some(Tag(0x0002 | 0x0004 | 0x0008 | 0x0010, element)) if at == 0 => element < 0x3000,
            Some(Tag(0x0002 | 0x0008, element)) => encoding.explicit && element < 0x0100,
            _ => false,
        };
        if begins {
            return Ok(Start { at, preamble: false });
        }
    }
    refuse("it has neither a preamble nor elements")
}

/// The encoding of the data set that begins `rest`, and a doubt where the label is wrong or absent.
fn settle_encoding(declared: &str, deflated: bool, rest: &[u8]) -> (Encoding, Option<String>) {
    let named = match declared {
        uids::IMPLICIT_VR_LITTLE_ENDIAN => Encoding::IMPLICIT_LITTLE,
        EXPLICIT_VR_BIG_ENDIAN => Encoding::EXPLICIT_BIG,
        _ => Encoding::EXPLICIT_LITTLE,
    };
    if deflated {
        return (named, None);
    }
    match parse::sniff(rest, 0) {
        Some(found) if declared.is_empty() => (found, Some("missing: taken from the content".into())),
        Some(found) if found != named => {
            let name = |e: Encoding| {
                format!(
                    "{} VR {} endian",
                    if e.explicit { "explicit" } else { "implicit" },
                    if e.big_endian { "big" } else { "little" }
                )
            };
            let cause = format!("says {declared}, but the data set is in {}: read as it is", name(found));
            (found, Some(cause))
        }
        _ => (named, None),
    }
}
