//! Lookup tables as DICOM stores them (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::super::{DataSet, Element};
use crate::study::LookupTable;

/// LUT Descriptor: how many entries, for which first input, of how many bits.
pub(super) struct Descriptor {
    pub(super) count: usize,
    pub(super) first: i64,
    pub(super) bits: u16,
}

impl Descriptor {
    /// `signed` is what `US or SS` means where the file does not write it.
    pub(super) fn read(set: DataSet<'_>, tag: Tag, signed: bool) -> Option<Self> {
        let element = set.get(tag)?;
        let words = match element.vr() {
            VR::US | VR::SS | VR::OW | VR::UN => element.words(),
            _ => element.ints().into_iter().map(|value| value as u16).collect(),
        };
        let &[count, first, bits, ..] = words.as_slice() else { return None };
        // The count is never negative, whatever the representation; 0 stands for 2^16.
        let count = if count == 0 { 1 << 16 } else { usize::from(count) };
        let first = if element.vr() == VR::SS || signed { i64::from(first as i16) } else { i64::from(first) };
        Some(Self { count, first, bits: bits.clamp(1, 16) })
    }

    /// The entries of an element: 16-bit words, or bytes where two 8-bit entries share a word.
    pub(super) fn entries(&self, data: Element<'_>) -> Vec<u16> {
        let length = data.bytes().len();
        let packed = data.vr() == VR::OB || (self.bits <= 8 && length < 2 * self.count && length >= self.count);
        let mut entries = if packed { bytes(data) } else { data.words() };
        entries.truncate(self.count);
        entries
    }

    /// Codes of a segmented table: bytes or words, by the width of the entries.
    pub(super) fn segments(&self, data: Element<'_>) -> Vec<u16> {
        if self.bits <= 8 { bytes(data) } else { data.words() }
    }
}

fn bytes(data: Element<'_>) -> Vec<u16> {
    data.bytes().iter().map(|&byte| u16::from(byte)).collect()
}

/// One item of a Modality or VOI LUT Sequence; `None` where it is not usable.
pub(super) fn read(item: DataSet<'_>, signed: bool) -> Option<LookupTable> {
    let descriptor = Descriptor::read(item, tags::LUT_DESCRIPTOR, signed)?;
    let entries = descriptor.entries(item.get(tags::LUT_DATA)?);
    let highest = entries.iter().copied().max()?;
    // Descriptors that name too few bits would make the table overflow white.
    let bits = descriptor.bits.max((16 - highest.leading_zeros()) as u16);
    Some(LookupTable { first: descriptor.first as f64, bits, entries })
}
