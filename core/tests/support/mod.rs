//! Writes small DICOM files, sound and hostile, byte by byte.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
pub const RLE: &str = "1.2.840.10008.1.2.5";
pub const UNDEFINED: u32 = 0xFFFF_FFFF;

/// The folder of real files, or `None` with a line saying that it is absent.
pub fn real_files() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dicom");
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

/// Peak memory of this process, MiB; 0 where the system does not tell.
pub fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) / 1024
}

/// Processor time this process took, seconds: wall time on a busy machine says nothing. Wall time where the system does
/// not tell.
pub fn processor_seconds(start: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time in ticks of 10 ms are fields 14 and 15; the name before them may hold spaces.
    let ticks: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    if ticks.len() == 2 { ticks.iter().sum::<f64>() / 100.0 } else { start.elapsed().as_secs_f64() }
}

/// A data set under construction.
#[derive(Clone)]
pub struct Writer {
    pub bytes: Vec<u8>,
    explicit: bool,
    big: bool,
}

impl Writer {
    pub fn new(transfer_syntax: &str) -> Self {
        Self { bytes: Vec::new(), explicit: transfer_syntax != IMPLICIT, big: transfer_syntax == BIG_ENDIAN }
    }

    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend(if self.big { value.to_be_bytes() } else { value.to_le_bytes() });
        self
    }

    /// Tag, VR and any length.
    pub fn header(&mut self, tag: (u16, u16), vr: &str, length: u32) -> &mut Self {
        self.u16(tag.0).u16(tag.1);
        if tag.0 == 0xFFFE || !self.explicit {
            return self.u32(length);
        }
        self.bytes.extend(vr.as_bytes());
        if matches!(vr, "OB" | "OW" | "SQ" | "UN" | "UT" | "OF" | "OD") {
            self.u16(0).u32(length)
        } else {
            self.u16(length as u16)
        }
    }

    pub fn raw(&mut self, tag: (u16, u16), vr: &str, value: &[u8]) -> &mut Self {
        self.header(tag, vr, value.len() as u32);
        self.bytes.extend(value);
        self
    }

    pub fn text(&mut self, tag: (u16, u16), vr: &str, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(if vr == "UI" { 0 } else { b' ' });
        }
        self.raw(tag, vr, &bytes)
    }

    pub fn short(&mut self, tag: (u16, u16), value: u16) -> &mut Self {
        self.header(tag, "US", 2).u16(value)
    }
}

/// Preamble, meta group and data set.
pub fn file(transfer_syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let mut meta = Writer::new(EXPLICIT);
    meta.text((2, 2), "UI", "1.2.840.10008.5.1.4.1.1.2").text((2, 0x10), "UI", transfer_syntax);
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    let mut length = Writer::new(EXPLICIT);
    length.header((2, 0), "UL", 4).u32(meta.bytes.len() as u32);
    out.extend(length.bytes);
    out.extend(meta.bytes);
    if transfer_syntax == DEFLATED {
        let mut deflate = flate2::write::DeflateEncoder::new(out, flate2::Compression::fast());
        deflate.write_all(data_set).unwrap();
        return deflate.finish().unwrap();
    }
    out.extend(data_set);
    out
}

/// What a test wants to vary in a CT slice of 4 x 4 pixels.
#[derive(Clone)]
pub struct Slice<'a> {
    pub uid: &'a str,
    pub number: &'a str,
    pub name: &'a [u8],
    pub position: &'a str,
    pub orientation: &'a str,
    pub frames: &'a str,
    pub rows: u16,
    pub pixel: u8,
}

impl Default for Slice<'_> {
    fn default() -> Self {
        Self {
            uid: "1.2.3.4",
            number: "1",
            name: b"Doe^Jane^Q",
            position: "0\\0\\0",
            orientation: "1\\0\\0\\0\\1\\0",
            frames: "",
            rows: 4,
            pixel: 7,
        }
    }
}

/// The elements of a CT slice up to the pixel data.
pub fn slice_header(transfer_syntax: &str, slice: &Slice<'_>) -> Writer {
    let mut w = Writer::new(transfer_syntax);
    w.text((8, 0x16), "UI", "1.2.840.10008.5.1.4.1.1.2")
        .text((8, 0x18), "UI", slice.uid)
        .text((8, 0x20), "DA", "20260102")
        .text((8, 0x60), "CS", "CT")
        .text((8, 0x103E), "LO", "Test series");
    // A sequence with one item of known and one of undefined length.
    let mut inner = Writer::new(transfer_syntax);
    inner.text((8, 0x104), "LO", "meaning");
    let mut items = Writer::new(transfer_syntax);
    items.header((0xFFFE, 0xE000), "", inner.bytes.len() as u32).bytes.extend(&inner.bytes);
    items.header((0xFFFE, 0xE000), "", UNDEFINED).bytes.extend(&inner.bytes);
    items.header((0xFFFE, 0xE00D), "", 0);
    w.raw((8, 0x1032), "SQ", &items.bytes);
    w.raw((0x10, 0x10), "PN", slice.name)
        .text((0x10, 0x20), "LO", "ID-1")
        .text((0x20, 0x0D), "UI", "1.2.3")
        .text((0x20, 0x0E), "UI", "1.2.3.1")
        .text((0x20, 0x13), "IS", slice.number)
        .text((0x20, 0x32), "DS", slice.position)
        .text((0x20, 0x37), "DS", slice.orientation)
        .short((0x28, 2), 1)
        .text((0x28, 4), "CS", "MONOCHROME2");
    if !slice.frames.is_empty() {
        w.text((0x28, 8), "IS", slice.frames);
    }
    w.short((0x28, 0x10), slice.rows)
        .short((0x28, 0x11), 4)
        .short((0x28, 0x100), 8)
        .short((0x28, 0x101), 8)
        .short((0x28, 0x102), 7)
        .short((0x28, 0x103), 0);
    w
}

/// A whole CT slice.
pub fn slice(transfer_syntax: &str, slice: &Slice<'_>) -> Vec<u8> {
    let mut w = slice_header(transfer_syntax, slice);
    if transfer_syntax == RLE {
        w.header((0x7FE0, 0x10), "OB", UNDEFINED)
            .raw((0xFFFE, 0xE000), "", &[])
            .raw((0xFFFE, 0xE000), "", &[slice.pixel; 80])
            .header((0xFFFE, 0xE0DD), "", 0);
    } else {
        w.raw((0x7FE0, 0x10), "OW", &[slice.pixel; 16]);
    }
    file(transfer_syntax, &w.bytes)
}
