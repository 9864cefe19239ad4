//! Which bytes of encapsulated pixel data are which frame (PS3.5 A.4).

use std::borrow::Cow;
use std::io::{self, Read, Seek, SeekFrom};

use dicom_dictionary_std::tags;

use super::data_set::Element;
use super::file::{DicomError, DicomFile};

/// Pixel data as the file holds it.
#[derive(Debug)]
pub enum PixelData<'a> {
    /// Native samples of all frames, in the byte order of [`DicomFile::encoding`].
    Native(Element<'a>),
    /// Compressed frames.
    Encapsulated(Encapsulated<'a>),
}

/// Encapsulated pixel data: fragments and the tables that say which belong to which frame.
#[derive(Debug)]
pub struct Encapsulated<'a> {
    /// The fragments after the Basic Offset Table.
    pub fragments: Vec<&'a [u8]>,
    /// Basic Offset Table: where frames begin, from the first byte after the table; may be empty.
    pub basic_offsets: Vec<u64>,
    /// Extended Offset Table (7FE0,0001) with its lengths (7FE0,0002); may be empty.
    pub extended_offsets: Vec<(u64, u64)>,
}

/// Bytes at the end of a file in which the end mark of the pixel data is looked for first.
const TAIL: u64 = 4096;
/// Fragments that are stepped over at most.
const MAX_STEPS: usize = 1_000_000;

/// What is wrong with the end of encapsulated pixel data that begin at `start` of a file of `length` bytes, without reading
/// them: the text, and whether something is missing for certain. `None` where they are closed properly.
///
/// # Errors
/// Where the file cannot be read.
pub(super) fn unfinished(
    file: &mut (impl Read + Seek),
    start: u64,
    length: u64,
) -> io::Result<Option<(&'static str, bool)>> {
    const END: [u8; 8] = [0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(TAIL))))?;
    file.take(TAIL).read_to_end(&mut tail)?;
    if tail.windows(END.len()).any(|window| window == END) {
        return Ok(None);
    }
    // Perhaps more follows behind the pixel data: step from fragment to fragment.
    let mut at = start;
    for _ in 0..MAX_STEPS {
        if at == length {
            return Ok(Some(("the fragments have no end mark", false)));
        }
        let mut head = [0; 8];
        file.seek(SeekFrom::Start(at))?;
        if length < at || length - at < 8 || file.read_exact(&mut head).is_err() {
            return Ok(Some(("the file ends inside the fragments", true)));
        }
        match head {
            [0xFE, 0xFF, 0x00, 0xE0, a, b, c, d] => at += 8 + u64::from(u32::from_le_bytes([a, b, c, d])),
            [0xFE, 0xFF, 0xDD, 0xE0, ..] => return Ok(None),
            _ => return Ok(Some(("something other than a fragment stands between the fragments", true))),
        }
        if at > length {
            return Ok(Some(("the last fragment is cut off", true)));
        }
    }
    Ok(None)
}

impl DicomFile {
    /// The pixel data: (7FE0,0010), else float (7FE0,0008) or double (7FE0,0009).
    ///
    /// # Errors
    /// When the file has none.
    pub fn pixel_data(&self) -> Result<PixelData<'_>, DicomError> {
        let set = self.data_set();
        let element = [tags::PIXEL_DATA, tags::FLOAT_PIXEL_DATA, tags::DOUBLE_FLOAT_PIXEL_DATA]
            .into_iter()
            .find_map(|tag| set.get(tag))
            .ok_or_else(|| self.attribute_error(tags::PIXEL_DATA, "absent: the object holds no image"))?;
        if !element.is_encapsulated() {
            return Ok(PixelData::Native(element));
        }
        let mut fragments = element.fragments();
        let basic_offsets = fragments.next().map(Element::table_u32).unwrap_or_default();
        let table = |tag| {
            let bytes: &[u8] = set.bytes(tag).unwrap_or(&[]);
            bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect::<Vec<_>>()
        };
        let extended_offsets =
            table(tags::EXTENDED_OFFSET_TABLE).into_iter().zip(table(tags::EXTENDED_OFFSET_TABLE_LENGTHS)).collect();
        Ok(PixelData::Encapsulated(Encapsulated { fragments: fragments.collect(), basic_offsets, extended_offsets }))
    }
}

impl<'a> Encapsulated<'a> {
    /// The compressed bytes of `frame` (from 0) of `frames`; `None` where no such frame can be told apart.
    ///
    /// Tables that go backwards, overlap or leave the stream are not believed; then one fragment a frame is assumed, or
    /// frames are told apart by their first bytes (an image begins with `FF D8`, `FF 4F FF 51`, ...). Where the stream holds
    /// fewer frames than `frames`, the first ones are found.
    pub fn frame(&self, frame: usize, frames: usize) -> Option<Cow<'a, [u8]>> {
        if frame >= frames.max(1) {
            return None;
        }
        if frames <= 1 {
            return self.join(0..self.fragments.len());
        }
        if self.fragments.len() == frames {
            return self.fragments.get(frame).map(|bytes| Cow::Borrowed(*bytes));
        }
        let starts = self.starts(frames)?;
        let start = *starts.get(frame)?;
        let end = starts.get(frame + 1).copied().unwrap_or(self.fragments.len());
        self.join(start..end)
    }

    /// How many frames can be told apart, where `frames` are expected; `None` where nothing tells them apart.
    pub fn held_frames(&self, frames: usize) -> Option<usize> {
        if frames > 1 {
            if self.fragments.len() == frames {
                return Some(frames);
            }
            return self.starts(frames).map(|starts| starts.len());
        }
        // One frame may be in many fragments; more than one beginning of an image means more than one frame.
        let begun = self.begun();
        Some(if self.fragments.is_empty() { 0 } else { begun.len().max(1) })
    }

    /// Fragment index at which each frame starts; fewer or more of them than `frames` only where nothing fits `frames`.
    fn starts(&self, frames: usize) -> Option<Vec<usize>> {
        if let Some(starts) = self.starts_by_table(frames) {
            return Some(starts);
        }
        let begun = self.begun();
        if begun.len() == frames || (begun.first() == Some(&0) && begun.len() > 1) {
            return Some(begun);
        }
        // Cut off: the table knows where frames begin that are no longer there, or each fragment is a frame, as RLE has it.
        self.starts_by_cut_table(frames)
            .or_else(|| {
                (self.fragments.len() < frames && begun.is_empty()).then(|| (0..self.fragments.len()).collect())
            })
            .or_else(|| (begun.first() == Some(&0)).then_some(begun))
    }

    /// Fragment indices of the first frames, by a table of `frames` offsets whose last ones lie behind the end.
    fn starts_by_cut_table(&self, frames: usize) -> Option<Vec<usize>> {
        let extended: Vec<u64> = self.extended_offsets.iter().map(|(offset, _)| *offset).collect();
        [&extended, &self.basic_offsets].into_iter().find_map(|table| {
            if table.len() != frames || table.first() != Some(&0) || !table.is_sorted() {
                return None;
            }
            let mut offset = 0_u64;
            let mut starts = Vec::new();
            for (index, fragment) in self.fragments.iter().enumerate() {
                if table.get(starts.len()) == Some(&offset) {
                    starts.push(index);
                }
                offset += 8 + fragment.len() as u64;
            }
            table.get(starts.len()).is_some_and(|next| *next >= offset).then_some(starts)
        })
    }

    /// Fragment index at which each frame starts, by the offset tables.
    fn starts_by_table(&self, frames: usize) -> Option<Vec<usize>> {
        let extended: Vec<u64> = self.extended_offsets.iter().map(|(offset, _)| *offset).collect();
        [&extended, &self.basic_offsets].into_iter().find_map(|table| {
            if table.len() != frames || table.first() != Some(&0) {
                return None;
            }
            let mut starts = Vec::with_capacity(frames);
            let mut wanted = table.iter().copied().peekable();
            let mut offset = 0_u64;
            for (index, fragment) in self.fragments.iter().enumerate() {
                if wanted.peek() == Some(&offset) {
                    starts.push(index);
                    wanted.next();
                }
                offset += 8 + fragment.len() as u64;
            }
            (starts.len() == frames).then_some(starts)
        })
    }

    /// Indices of fragments that begin as an image does.
    fn begun(&self) -> Vec<usize> {
        let begins = |fragment: &&[u8]| {
            matches!(
                fragment,
                [0xFF, 0xD8, 0xFF, ..]
                    | [0xFF, 0x4F, 0xFF, 0x51, ..]
                    | [0xFF, 0x0A, ..]
                    | [0, 0, 0, 0x0C, b'j' | b'J', ..]
            )
        };
        self.fragments.iter().enumerate().filter(|(_, f)| begins(f)).map(|(index, _)| index).collect()
    }

    fn join(&self, range: std::ops::Range<usize>) -> Option<Cow<'a, [u8]>> {
        match self.fragments.get(range)? {
            [] => None,
            [one] => Some(Cow::Borrowed(one)),
            many => Some(Cow::Owned(many.concat())),
        }
    }
}
