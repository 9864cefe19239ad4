//! Which bytes of encapsulated pixel data are which frame (PS3.5 A.4).

use std::borrow::Cow;

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
    /// frames are told apart by their first bytes (an image begins with `FF D8`, `FF 4F FF 51`, ...).
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
        let starts = self.starts_by_table(frames).or_else(|| self.starts_by_content(frames))?;
        let start = *starts.get(frame)?;
        let end = starts.get(frame + 1).copied().unwrap_or(self.fragments.len());
        self.join(start..end)
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

    /// Fragment index at which each frame starts, by the first bytes of fragments.
    fn starts_by_content(&self, frames: usize) -> Option<Vec<usize>> {
        let begins = |fragment: &&[u8]| {
            matches!(
                fragment,
                [0xFF, 0xD8, 0xFF, ..]
                    | [0xFF, 0x4F, 0xFF, 0x51, ..]
                    | [0xFF, 0x0A, ..]
                    | [0, 0, 0, 0x0C, b'j' | b'J', ..]
            )
        };
        let starts: Vec<usize> =
            self.fragments.iter().enumerate().filter(|(_, f)| begins(f)).map(|(index, _)| index).collect();
        (starts.len() == frames).then_some(starts)
    }

    fn join(&self, range: std::ops::Range<usize>) -> Option<Cow<'a, [u8]>> {
        match self.fragments.get(range)? {
            [] => None,
            [one] => Some(Cow::Borrowed(one)),
            many => Some(Cow::Owned(many.concat())),
        }
    }
}
