//! Tolerant element reader: bytes of a data set to a flat tape of entries (PS3.5 chapter 7).
//!
//! Nothing here recurses and no value is copied: an entry holds the byte range of its value, and a container holds the
//! index after its last descendant. So a hostile file can neither overflow the stack nor take much more than its own size.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry, VirtualVr};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

/// Elements a file may hold; a 32-byte entry each.
const MAX_ENTRIES: usize = 4_000_000;
/// Levels of sequences that are kept; deeper ones are read over.
const MAX_DEPTH: usize = 64;
/// Levels that are followed at all.
const MAX_OPEN: usize = 1_000_000;
const UNDEFINED: u32 = 0xFFFF_FFFF;

pub(super) const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
pub(super) const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub(super) const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);

/// Whether `tag` is Pixel Data, Float Pixel Data or Double Float Pixel Data.
pub(super) fn is_pixel_data(tag: Tag) -> bool {
    tag.0 == 0x7FE0 && matches!(tag.1, 0x0008..=0x0010)
}

/// How elements are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Value representations are written.
    pub explicit: bool,
    /// Numbers are big endian.
    pub big_endian: bool,
}

impl Encoding {
    pub(super) const EXPLICIT_LITTLE: Self = Self { explicit: true, big_endian: false };
    pub(super) const IMPLICIT_LITTLE: Self = Self { explicit: false, big_endian: false };
    pub(super) const EXPLICIT_BIG: Self = Self { explicit: true, big_endian: true };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    Sequence,
    Fragments,
    Item,
}

/// One element, item or fragment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub tag: Tag,
    pub vr: VR,
    pub kind: Kind,
    /// Index of the entry after this one and all that it contains.
    pub next: u32,
    /// Value bytes.
    pub start: usize,
    pub end: usize,
}

/// Something odd that was met while reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    pub tag: Option<Tag>,
    pub cause: String,
    /// Something of the file was not read.
    pub loss: bool,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub tape: Vec<Entry>,
    pub doubts: Vec<Doubt>,
    /// An element runs on past `bytes`, and the file has more.
    pub need_more: bool,
}

struct Open {
    end: usize,
    defined: bool,
    sequence: bool,
    explicit: bool,
    entry: Option<usize>,
    tag: Tag,
}

struct Header {
    tag: Tag,
    vr: VR,
    /// Written as UN, or not written.
    unknown: bool,
    length: u32,
    size: usize,
    explicit: bool,
}

/// Bytes with a byte order.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub big_endian: bool,
}

impl Reader<'_> {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    pub(super) fn u16(&self, at: usize) -> Option<u16> {
        let bytes = self.array(at)?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    pub(super) fn u32(&self, at: usize) -> Option<u32> {
        let bytes = self.array(at)?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    pub(super) fn tag(&self, at: usize) -> Option<Tag> {
        Some(Tag(self.u16(at)?, self.u16(at + 2)?))
    }

    /// The VR written at `at`, if it is one of the standard's.
    fn vr(&self, at: usize) -> Option<VR> {
        VR::from_binary(self.array(at)?)
    }

    fn letters(&self, at: usize) -> bool {
        self.array::<2>(at).is_some_and(|[a, b]| a.is_ascii_uppercase() && b.is_ascii_uppercase())
    }
}

/// The VR that the dictionary gives, `UN` where it does not know the tag.
pub(super) fn dictionary_vr(tag: Tag) -> VR {
    if tag.1 == 0 {
        return VR::UL;
    }
    if tag.0 % 2 == 1 {
        return if (0x0010..=0x00FF).contains(&tag.1) { VR::LO } else { VR::UN };
    }
    match StandardDataDictionary.by_tag(tag).map(|entry| entry.vr()) {
        Some(VirtualVr::Exact(vr)) => vr,
        Some(VirtualVr::Xs) => VR::US,
        Some(VirtualVr::Ox | VirtualVr::Px | VirtualVr::Lt) => VR::OW,
        _ => VR::UN,
    }
}

fn has_long_length(vr: VR) -> bool {
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

/// Guesses the encoding from the first element at `at`; `None` where the bytes look like no element.
pub(super) fn sniff(bytes: &[u8], at: usize) -> Option<Encoding> {
    let little = Reader { bytes, big_endian: false }.tag(at)?;
    let big = Reader { bytes, big_endian: true }.tag(at)?;
    // A data set begins with a low group, so the smaller reading is the right one.
    let big_endian = big.0 < little.0;
    let tag = if big_endian { big } else { little };
    if tag.0 > 0x7FE0 || tag.0 == 0 {
        return None;
    }
    let reader = Reader { bytes, big_endian };
    if reader.vr(at + 4).is_some() {
        return Some(Encoding { explicit: true, big_endian });
    }
    let length = reader.u32(at + 4)?;
    (length == UNDEFINED || length as usize <= bytes.len() - at - 8).then_some(Encoding { explicit: false, big_endian })
}

/// Reads one element header at `at`; `None` where `limit` cuts it off.
fn header(reader: Reader<'_>, at: usize, limit: usize, explicit: bool) -> Option<Header> {
    if limit.checked_sub(at)? < 8 {
        return None;
    }
    let tag = reader.tag(at)?;
    if tag.0 == 0xFFFE {
        return Some(Header { tag, vr: VR::UN, unknown: true, length: reader.u32(at + 4)?, size: 8, explicit });
    }
    if explicit && reader.letters(at + 4) {
        let vr = reader.vr(at + 4);
        // An unknown VR is long where its reserved bytes are zero and the long length fits (PS3.5 6.2, extensibility).
        let long = vr.map_or_else(
            || {
                reader.u16(at + 6) == Some(0)
                    && reader.u32(at + 8).is_some_and(|n| n as usize <= limit.saturating_sub(at + 12))
            },
            has_long_length,
        );
        let unknown = vr.is_none_or(|vr| vr == VR::UN);
        let resolved = match vr {
            Some(vr) if vr != VR::UN => vr,
            _ => dictionary_vr(tag),
        };
        if long {
            if limit - at < 12 {
                return None;
            }
            let length = reader.u32(at + 8)?;
            // UN of undefined length is a sequence in implicit VR whatever the dictionary says (PS3.5 6.2.2).
            let vr = if unknown && length == UNDEFINED && tag != PIXEL_DATA { VR::SQ } else { resolved };
            return Some(Header { tag, vr, unknown, length, size: 12, explicit });
        }
        let length = u32::from(reader.u16(at + 6)?);
        return Some(Header { tag, vr: resolved, unknown, length, size: 8, explicit });
    }
    let length = reader.u32(at + 4)?;
    let mut vr = dictionary_vr(tag);
    if length == UNDEFINED && tag != PIXEL_DATA {
        vr = VR::SQ;
    }
    Some(Header { tag, vr, unknown: false, length, size: 8, explicit: false })
}

/// Whether the first element of an item at `at` has its VR written, against what the container says.
fn item_explicit(reader: Reader<'_>, at: usize, end: usize, default: bool) -> bool {
    if end.saturating_sub(at) < 8 || reader.tag(at).is_none_or(|tag| tag.0 == 0xFFFE) {
        return default;
    }
    if default {
        reader.letters(at + 4)
    } else {
        // Read as implicit, two letters make a length of 16,000 at least.
        reader.vr(at + 4).is_some() && reader.u32(at + 4).is_some_and(|n| n as usize > end - at - 8)
    }
}

/// Reads the meta group (0002,eeee), explicit little endian, from `at`; returns where it ends.
///
/// The group's own length is not trusted: files are met where it is wrong or absent.
pub(super) fn parse_meta(bytes: &[u8], at: usize, parsed: &mut Parsed) -> usize {
    let reader = Reader { bytes, big_endian: false };
    let mut pos = at;
    let mut group_end = None;
    while reader.u16(pos) == Some(2) {
        let Some(header) = header(reader, pos, bytes.len(), true) else { break };
        let start = pos + header.size;
        let end = start.saturating_add(header.length as usize);
        if end > bytes.len() {
            parsed.doubts.push(Doubt {
                tag: Some(header.tag),
                cause: "runs past the end of the file".into(),
                loss: true,
            });
            return bytes.len();
        }
        if header.tag.1 == 0 {
            group_end = reader.u32(start).map(|length| end.saturating_add(length as usize));
        }
        push(parsed, Entry { tag: header.tag, vr: header.vr, kind: Kind::Value, next: 0, start, end });
        pos = end;
    }
    // Bytes that are no element after the group: its length says where the data set begins.
    if let Some(end) = group_end.filter(|end| *end > pos && *end < bytes.len())
        && sniff(bytes, pos).is_none()
        && sniff(bytes, end).is_some()
    {
        pos = end;
    }
    pos
}

fn push(parsed: &mut Parsed, mut entry: Entry) -> usize {
    let index = parsed.tape.len();
    entry.next = index as u32 + 1;
    parsed.tape.push(entry);
    index
}

fn close(parsed: &mut Parsed, open: &Open, pos: usize) {
    let next = parsed.tape.len() as u32;
    if let Some(entry) = open.entry.and_then(|index| parsed.tape.get_mut(index)) {
        entry.next = next;
        entry.end = pos;
    }
}

/// Notes something odd.
fn doubt(parsed: &mut Parsed, tag: Option<Tag>, cause: &str) {
    note(parsed, Doubt { tag, cause: cause.to_owned(), loss: false });
}

/// Notes that something of the file is not read.
fn loss(parsed: &mut Parsed, tag: Option<Tag>, cause: &str) {
    note(parsed, Doubt { tag, cause: cause.to_owned(), loss: true });
}

fn note(parsed: &mut Parsed, doubt: Doubt) {
    // One line a cause is enough for the reader.
    if parsed.doubts.len() < 16 && !parsed.doubts.iter().any(|d| d.cause == doubt.cause) {
        parsed.doubts.push(doubt);
    }
}

/// Reads the data set at `at` onto `parsed`.
///
/// `total` is the length of the whole stream, of which `bytes` may be the beginning only. With `headers_only` reading
/// stops at the pixel data, whose entry then holds what of the value is in `bytes`.
pub(super) fn parse(bytes: &[u8], at: usize, total: u64, encoding: Encoding, headers_only: bool, parsed: &mut Parsed) {
    let reader = Reader { bytes, big_endian: encoding.big_endian };
    let partial = (bytes.len() as u64) < total;
    let mut stack: Vec<Open> = Vec::new();
    let mut pos = at;
    loop {
        while let Some(top) = stack.last() {
            if pos < top.end {
                break;
            }
            if !top.defined && pos >= bytes.len() {
                if partial {
                    parsed.need_more = true;
                    return;
                }
                loss(parsed, Some(top.tag), "the file ends inside this sequence");
            }
            if let Some(open) = stack.pop() {
                close(parsed, &open, pos);
            }
        }
        let (limit, explicit, in_sequence) =
            stack.last().map_or((bytes.len(), encoding.explicit, false), |top| (top.end, top.explicit, top.sequence));
        if pos >= bytes.len() {
            parsed.need_more = partial && stack.is_empty();
            return;
        }
        if parsed.tape.len() >= MAX_ENTRIES {
            loss(parsed, None, "more than 4 million elements: the rest of the file is not read");
            break;
        }
        let Some(head) = header(reader, pos, limit, explicit) else {
            if limit == bytes.len() && partial {
                parsed.need_more = true;
                return;
            }
            let rest = bytes.get(pos..limit).unwrap_or(&[]);
            if rest.iter().any(|b| *b != 0) {
                let tag = stack.last().map(|top| top.tag);
                loss(parsed, tag, "the file breaks off inside an element header");
            }
            pos = limit;
            if stack.is_empty() {
                return;
            }
            continue;
        };
        let start = pos + head.size;
        match head.tag {
            ITEM if in_sequence => {
                if stack.len() >= MAX_OPEN {
                    loss(parsed, None, "sequences nested a million levels deep: the rest of the file is not read");
                    break;
                }
                let defined = head.length != UNDEFINED;
                let mut end = limit;
                if defined {
                    end = start.saturating_add(head.length as usize);
                    if end > limit {
                        if limit == bytes.len() && partial {
                            parsed.need_more = true;
                            return;
                        }
                        let tag = stack.last().map(|top| top.tag);
                        doubt(parsed, tag, "an item is longer than what holds it");
                        end = limit;
                    }
                }
                let entry = (stack.len() < 2 * MAX_DEPTH).then(|| {
                    push(parsed, Entry { tag: ITEM, vr: VR::UN, kind: Kind::Item, next: 0, start, end: start })
                });
                let explicit = item_explicit(reader, start, end, explicit);
                let tag = stack.last().map_or(ITEM, |top| top.tag);
                stack.push(Open { end, defined, sequence: false, explicit, entry, tag });
                pos = start;
            }
            ITEM => {
                doubt(parsed, None, "an item outside a sequence is skipped");
                pos = start;
            }
            ITEM_END => {
                pos = start;
                if stack.last().is_some_and(|top| !top.sequence && !top.defined)
                    && let Some(open) = stack.pop()
                {
                    close(parsed, &open, pos - 8);
                }
            }
            SEQUENCE_END => {
                pos = start;
                if stack.last().is_some_and(|top| !top.sequence && !top.defined)
                    && let Some(open) = stack.pop()
                {
                    close(parsed, &open, pos - 8);
                }
                if stack.last().is_some_and(|top| top.sequence && !top.defined)
                    && let Some(open) = stack.pop()
                {
                    close(parsed, &open, pos - 8);
                }
            }
            _ if in_sequence => {
                // Not an item: a sequence of undefined length without its delimiter, or rubbish of known length.
                if let Some(open) = stack.last() {
                    let (tag, defined, end) = (open.tag, open.defined, open.end);
                    doubt(parsed, Some(tag), "something other than an item stands in this sequence");
                    if defined {
                        pos = end;
                    } else if let Some(open) = stack.pop() {
                        close(parsed, &open, pos);
                    }
                }
            }
            tag => {
                let top_level = stack.is_empty();
                if top_level && tag == Tag(0, 0) && bytes.get(pos..).is_some_and(|rest| rest.iter().all(|b| *b == 0)) {
                    return;
                }
                if top_level && headers_only && (is_pixel_data(tag) || tag > PIXEL_DATA) {
                    if is_pixel_data(tag) {
                        let fragments = head.length == UNDEFINED;
                        let declared = start.saturating_add(head.length as usize);
                        if !fragments && declared as u64 > total {
                            loss(parsed, Some(tag), "the file ends before the pixel data does");
                        }
                        let end = if fragments { start } else { declared.min(bytes.len()) };
                        let kind = if fragments { Kind::Fragments } else { Kind::Value };
                        push(parsed, Entry { tag, vr: head.vr, kind, next: 0, start: start.min(bytes.len()), end });
                    }
                    return;
                }
                let kept = stack.len() < 2 * MAX_DEPTH;
                if !kept {
                    doubt(
                        parsed,
                        stack.first().map(|open| open.tag),
                        "sequences nested deeper than 64 levels are not read",
                    );
                }
                if head.length == UNDEFINED && (tag == PIXEL_DATA || head.vr != VR::SQ) {
                    match fragments(reader, start, limit, partial, tag, head.vr, kept, parsed) {
                        Some(end) => pos = end,
                        None => return,
                    }
                    continue;
                }
                let defined = head.length != UNDEFINED;
                let mut end = if defined { start.saturating_add(head.length as usize) } else { limit };
                if end > limit {
                    if limit == bytes.len() {
                        if partial {
                            parsed.need_more = true;
                            return;
                        }
                        if head.vr != VR::SQ {
                            if is_pixel_data(tag) {
                                loss(parsed, Some(tag), "the file ends before the pixel data does");
                                push(
                                    parsed,
                                    Entry {
                                        tag,
                                        vr: head.vr,
                                        kind: Kind::Value,
                                        next: 0,
                                        start: start.min(limit),
                                        end: limit,
                                    },
                                );
                            } else {
                                loss(
                                    parsed,
                                    Some(tag),
                                    "its length runs past the end of the file: nothing after it is read",
                                );
                            }
                            break;
                        }
                        loss(parsed, Some(tag), "its length runs past the end of the file");
                    } else {
                        doubt(parsed, Some(tag), "it is longer than the item that holds it");
                    }
                    end = limit;
                }
                if head.vr == VR::SQ {
                    let entry = kept.then(|| {
                        push(parsed, Entry { tag, vr: VR::SQ, kind: Kind::Sequence, next: 0, start, end: start })
                    });
                    let explicit = head.explicit && !head.unknown;
                    stack.push(Open { end, defined, sequence: true, explicit, entry, tag });
                    pos = start;
                } else {
                    if kept {
                        push(
                            parsed,
                            Entry { tag, vr: head.vr, kind: Kind::Value, next: 0, start: start.min(end), end },
                        );
                    }
                    pos = end;
                }
            }
        }
    }
    while let Some(open) = stack.pop() {
        close(parsed, &open, pos.min(bytes.len()));
    }
}

/// Reads encapsulated fragments (PS3.5 A.4) from `at`; returns where they end, `None` where more bytes are needed.
#[allow(clippy::too_many_arguments)]
fn fragments(
    reader: Reader<'_>,
    at: usize,
    limit: usize,
    partial: bool,
    tag: Tag,
    vr: VR,
    kept: bool,
    parsed: &mut Parsed,
) -> Option<usize> {
    let entry = kept.then(|| push(parsed, Entry { tag, vr, kind: Kind::Fragments, next: 0, start: at, end: at }));
    let whole = limit == reader.bytes.len();
    let mut pos = at;
    let end = loop {
        if limit.saturating_sub(pos) < 8 {
            if whole && partial {
                parsed.need_more = true;
                return None;
            }
            if pos == limit {
                // All there is was read: frames that are missing are told where frames are counted.
                doubt(parsed, Some(tag), "the fragments have no end mark");
            } else {
                loss(parsed, Some(tag), "the file ends inside the fragments");
            }
            break limit;
        }
        let found = reader.tag(pos);
        if found == Some(SEQUENCE_END) {
            break pos + 8;
        }
        if found != Some(ITEM) {
            // A fragment of odd length whose padding byte is missing from the length.
            if matches!(reader.tag(pos + 1), Some(ITEM | SEQUENCE_END)) {
                pos += 1;
                continue;
            }
            loss(parsed, Some(tag), "something other than a fragment stands between the fragments");
            break pos;
        }
        let start = pos + 8;
        let mut end = start.saturating_add(reader.u32(pos + 4).unwrap_or(0) as usize);
        if end > limit {
            if whole && partial {
                parsed.need_more = true;
                return None;
            }
            loss(parsed, Some(tag), "the last fragment is cut off");
            end = limit;
        }
        if parsed.tape.len() >= MAX_ENTRIES {
            loss(parsed, Some(tag), "more than 4 million fragments: the rest of the file is not read");
            break limit;
        }
        if kept {
            push(parsed, Entry { tag: ITEM, vr, kind: Kind::Item, next: 0, start, end });
        }
        pos = end;
    };
    let next = parsed.tape.len() as u32;
    if let Some(entry) = entry.and_then(|index| parsed.tape.get_mut(index)) {
        entry.next = next;
        entry.end = pos;
    }
    // After rubbish nothing can be trusted: end the data set there.
    if end == pos && pos < limit { Some(limit) } else { Some(end) }
}
