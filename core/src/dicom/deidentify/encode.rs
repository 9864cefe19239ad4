//! Elements to bytes, in the encoding of the original, so that values are copied as they are (PS3.5 7.1, A.4; PS3.10 7.1).

use dicom_core::{Tag, VR};

use crate::dicom::Encoding;
use crate::dicom::parse::{ITEM, ITEM_END, SEQUENCE_END};
use crate::dicom::write::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
use crate::dicom::{tags, uids};

/// A data set that grows.
pub(super) struct Output {
    pub(super) bytes: Vec<u8>,
    encoding: Encoding,
}

impl Output {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { bytes: Vec::new(), encoding }
    }

    fn u16(&mut self, value: u16) {
        self.bytes.extend(if self.encoding.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(if self.encoding.big_endian { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn tag(&mut self, tag: Tag) {
        self.u16(tag.0);
        self.u16(tag.1);
    }

    /// Tag, VR and length.
    fn header(&mut self, tag: Tag, vr: VR, length: u32) {
        self.tag(tag);
        if !self.encoding.explicit {
            return self.u32(length);
        }
        let short = u16::try_from(length).ok().filter(|_| !long_form(vr));
        // A value too long for the short form is written as UN (PS3.5 6.2.2).
        let name = if short.is_none() && !long_form(vr) { VR::UN } else { vr };
        self.bytes.extend(name.to_string().as_bytes());
        match short {
            Some(length) => self.u16(length),
            None => {
                self.u16(0);
                self.u32(length);
            }
        }
    }

    /// An element with its value's bytes, padded to an even length.
    pub(super) fn element(&mut self, tag: Tag, vr: VR, value: &[u8]) {
        let Ok(length) = u32::try_from(value.len() + value.len() % 2) else { return };
        self.header(tag, vr, length);
        self.bytes.extend(value);
        if value.len() % 2 == 1 {
            self.bytes.push(if matches!(vr, VR::UI | VR::OB | VR::UN) { 0 } else { b' ' });
        }
    }

    /// A sequence of items, each a data set in bytes; lengths undefined.
    pub(super) fn sequence(&mut self, tag: Tag, items: Vec<Vec<u8>>) {
        self.header(tag, VR::SQ, u32::MAX);
        for item in items {
            self.delimiter(ITEM, u32::MAX);
            self.bytes.extend(item);
            self.delimiter(ITEM_END, 0);
        }
        self.delimiter(SEQUENCE_END, 0);
    }

    /// Encapsulated pixel data, the offset table first.
    pub(super) fn fragments<'a>(&mut self, tag: Tag, fragments: impl Iterator<Item = &'a [u8]>) {
        self.header(tag, VR::OB, u32::MAX);
        for fragment in fragments {
            let Ok(length) = u32::try_from(fragment.len() + fragment.len() % 2) else { continue };
            self.delimiter(ITEM, length);
            self.bytes.extend(fragment);
            self.bytes.resize(self.bytes.len() + fragment.len() % 2, 0);
        }
        self.delimiter(SEQUENCE_END, 0);
    }

    fn delimiter(&mut self, tag: Tag, length: u32) {
        self.tag(tag);
        self.u32(length);
    }
}

fn long_form(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB
            | VR::OD
            | VR::OF
            | VR::OL
            | VR::OV
            | VR::OW
            | VR::SQ
            | VR::SV
            | VR::UC
            | VR::UN
            | VR::UR
            | VR::UT
            | VR::UV
    )
}

/// A Part 10 file around a data set.
pub(super) fn file(class: &str, instance: &str, transfer_syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let mut meta = Output::new(Encoding::EXPLICIT_LITTLE);
    meta.element(Tag(2, 0x0001), VR::OB, &[0, 1]);
    meta.element(tags::MEDIA_STORAGE_SOP_CLASS_UID, VR::UI, class.as_bytes());
    meta.element(tags::MEDIA_STORAGE_SOP_INSTANCE_UID, VR::UI, instance.as_bytes());
    let syntax = if transfer_syntax.is_empty() { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { transfer_syntax };
    meta.element(tags::TRANSFER_SYNTAX_UID, VR::UI, syntax.as_bytes());
    meta.element(tags::IMPLEMENTATION_CLASS_UID, VR::UI, IMPLEMENTATION_CLASS_UID.as_bytes());
    meta.element(tags::IMPLEMENTATION_VERSION_NAME, VR::SH, IMPLEMENTATION_VERSION_NAME.as_bytes());
    let mut out = Output::new(Encoding::EXPLICIT_LITTLE);
    out.bytes.resize(128, 0);
    out.bytes.extend(b"DICM");
    out.element(Tag(2, 0), VR::UL, &(meta.bytes.len() as u32).to_le_bytes());
    out.bytes.extend(meta.bytes);
    out.bytes.extend(data_set);
    out.bytes
}
