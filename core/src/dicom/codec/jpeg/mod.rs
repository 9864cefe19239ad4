//! JPEG (ITU-T T.81) with Huffman coding: baseline, extended with 8 and 12 bits, progressive, and lossless.
//!
//! Written here because DICOM needs the component values as coded, without colour transform, and 12 bits.
//! The inverse DCT and the chroma filter give the very values that the Independent JPEG Group's library gives.

mod bits;
mod dct;
mod huffman;
mod lossless;
mod progressive;
mod upsample;

use super::stored::from_codestream;
use super::{CodecError, FrameFormat, Incomplete, StoredFrame};
use bits::BitReader;
use huffman::Huffman;

/// Position in natural order of each coefficient in zigzag order (T.81 figure 5).
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// One component of the frame.
#[derive(Debug, Clone, Default)]
struct Component {
    id: u8,
    /// Sampling factors.
    h: usize,
    v: usize,
    quantization: usize,
    /// Quantization table in natural order, as it stood at the component's first scan.
    table: Option<[u16; 64]>,
    /// Size in samples.
    width: usize,
    height: usize,
    /// Size in blocks, padded to whole MCUs.
    blocks_across: usize,
    blocks_down: usize,
    /// DCT coefficients in natural order, 64 for each block.
    coefficients: Vec<i16>,
}

/// Frame header (T.81 B.2.2).
#[derive(Debug, Clone, Default)]
struct FrameHeader {
    process: Process,
    precision: u32,
    width: usize,
    height: usize,
    h_max: usize,
    v_max: usize,
    components: Vec<Component>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Process {
    #[default]
    Sequential,
    Progressive,
    Lossless,
}

/// Scan header (T.81 B.2.3): components as (index, DC table, AC table), and the four parameters.
#[derive(Debug)]
struct Scan {
    components: Vec<(usize, usize, usize)>,
    /// Start of spectral selection, or the predictor.
    start: usize,
    end: usize,
    high: u32,
    /// Successive approximation low, or the point transform.
    low: u32,
}

/// What is collected between markers.
#[derive(Default)]
struct Decoder {
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: usize,
    frame: Option<FrameHeader>,
    /// Colour transform of an Adobe segment (0 none, 1 YCbCr).
    adobe: Option<u8>,
    jfif: bool,
    /// Lossless samples, by pixel.
    samples: Vec<u16>,
    scans: usize,
    /// Components of lossless scans.
    components_done: usize,
    /// Rows that are whole where a scan ends early.
    whole_rows: Option<usize>,
}

/// Decodes one frame to the component values as coded. Where the last scan ends early, what it holds is decoded, and the
/// frame is [`Incomplete`].
pub(super) fn decode(bytes: &[u8], format: &FrameFormat, lossless_syntax: bool) -> Result<StoredFrame, CodecError> {
    let mut decoder = Decoder::default();
    decoder.read(bytes, format)?;
    let photometric = decoder.photometric(format, lossless_syntax);
    let Some(mut frame) = decoder.frame.take() else {
        return Err(CodecError::new("the JPEG codestream has no frame header"));
    };
    if decoder.scans == 0 {
        return Err(CodecError::truncated("JPEG"));
    }
    let samples = if frame.process == Process::Lossless {
        if decoder.components_done < frame.components.len() {
            return Err(CodecError::truncated("JPEG"));
        }
        decoder.samples
    } else {
        dct::reconstruct(&mut frame)?
    };
    let whole = from_codestream(samples.into_iter().map(i32::from), frame.precision, false, format, &photometric)?;
    let cause = || CodecError::truncated("JPEG").cause;
    let incomplete = decoder
        .whole_rows
        .map(|rows| Incomplete { from_pixel: rows.min(format.rows) * format.columns, cause: cause() });
    Ok(StoredFrame { incomplete, ..whole })
}

fn be16(bytes: &[u8], at: usize) -> Result<usize, CodecError> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(usize::from(high) << 8 | usize::from(low)),
        _ => Err(CodecError::truncated("JPEG")),
    }
}

impl Decoder {
    /// Walks the markers and decodes every scan.
    fn read(&mut self, bytes: &[u8], format: &FrameFormat) -> Result<(), CodecError> {
        let start = bytes
            .windows(2)
            .take(64)
            .position(|pair| pair == [0xFF, 0xD8])
            .ok_or_else(|| CodecError::new("the frame does not begin with a JPEG start-of-image marker"))?;
        let mut at = start + 2;
        loop {
            let Some(marker) = next_marker(bytes, &mut at) else {
                // Some writers leave out the end marker; whether a scan is complete is checked in the scan. Only in a
                // progressive stream more scans may be missing.
                if self.has_all_components() {
                    self.whole_rows = Some(format.rows);
                }
                return if self.scans > 0 { Ok(()) } else { Err(CodecError::truncated("JPEG")) };
            };
            if marker == 0xD9 {
                return Ok(());
            }
            if matches!(marker, 0x01 | 0xD0..=0xD8) {
                continue;
            }
            let length = be16(bytes, at).unwrap_or(0);
            let Some(segment) = bytes.get(at + 2..at + length).filter(|_| length >= 2) else {
                if self.has_all_components() {
                    self.whole_rows = Some(format.rows);
                    return Ok(());
                }
                return Err(CodecError::truncated("JPEG"));
            };
            at += length;
            match marker {
                0xC0..=0xC3 => self.read_frame_header(marker, segment, format)?,
                0xC4 => self.read_huffman(segment)?,
                0xC5..=0xCF => {
                    return Err(CodecError::new(format!(
                        "JPEG process SOF{} (hierarchical or arithmetic) is not decoded here",
                        marker - 0xC0
                    )));
                }
                0xDA => {
                    let scan = self.read_scan_header(segment)?;
                    let first = self.scans == 0;
                    at = match self.decode_scan(bytes, at, &scan) {
                        Ok(end) => end,
                        Err((error, rows)) if error.truncated => {
                            // Later scans refine what the earlier ones gave everywhere.
                            let refines = !first && self.has_all_components();
                            let rows = if refines { format.rows } else { rows };
                            if rows == 0 {
                                return Err(error);
                            }
                            self.whole_rows = Some(rows);
                            self.scans += 1;
                            return Ok(());
                        }
                        Err((error, _)) => return Err(error),
                    };
                    self.scans += 1;
                    // Far more scans than any progression script: only a hostile stream repeats them.
                    if self.scans > 256 {
                        return Err(CodecError::new("the JPEG codestream has more than 256 scans"));
                    }
                }
                0xDB => self.read_quantization(segment)?,
                0xDD => self.restart_interval = be16(segment, 0)?,
                0xE0 => self.jfif |= segment.starts_with(b"JFIF\0"),
                0xEE if segment.starts_with(b"Adobe") => self.adobe = segment.get(11).copied(),
                _ => {}
            }
        }
    }

    fn read_frame_header(&mut self, marker: u8, segment: &[u8], format: &FrameFormat) -> Result<(), CodecError> {
        if self.frame.is_some() {
            return Err(CodecError::new("the JPEG codestream has two frame headers"));
        }
        let process = match marker {
            0xC2 => Process::Progressive,
            0xC3 => Process::Lossless,
            _ => Process::Sequential,
        };
        let (&precision, &count) = segment.first().zip(segment.get(5)).ok_or_else(|| CodecError::truncated("JPEG"))?;
        let precision = u32::from(precision);
        let valid =
            if process == Process::Lossless { (2..=16).contains(&precision) } else { matches!(precision, 8 | 12) };
        if !valid {
            return Err(CodecError::new(format!("JPEG frame header: precision of {precision} bits")));
        }
        // A height of 0 is defined by a DNL marker after the first scan; the header knows it already.
        let height = Some(be16(segment, 1)?).filter(|&h| h > 0).unwrap_or(format.rows);
        let width = be16(segment, 3)?;
        format.check_codestream(height, width, usize::from(count), precision)?;
        let mut frame = FrameHeader { process, precision, width, height, h_max: 1, v_max: 1, components: Vec::new() };
        for &[id, sampling, quantization] in segment[6..].as_chunks::<3>().0.iter().take(usize::from(count)) {
            let (h, v) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(CodecError::new(format!("JPEG frame header: sampling factors {h} x {v}")));
            }
            frame.components.push(Component {
                id,
                h,
                v,
                quantization: usize::from(quantization),
                ..Default::default()
            });
        }
        if frame.components.len() != usize::from(count) {
            return Err(CodecError::truncated("JPEG"));
        }
        // One component is never interleaved: its factors mean nothing (T.81 A.2.2).
        if let [only] = frame.components.as_mut_slice() {
            (only.h, only.v) = (1, 1);
        }
        frame.h_max = frame.components.iter().map(|c| c.h).max().unwrap_or(1);
        frame.v_max = frame.components.iter().map(|c| c.v).max().unwrap_or(1);
        let mcus_across = width.div_ceil(8 * frame.h_max);
        let mcus_down = height.div_ceil(8 * frame.v_max);
        for component in &mut frame.components {
            component.width = (width * component.h).div_ceil(frame.h_max);
            component.height = (height * component.v).div_ceil(frame.v_max);
            component.blocks_across = mcus_across * component.h;
            component.blocks_down = mcus_down * component.v;
        }
        if process == Process::Lossless && frame.components.iter().any(|c| (c.h, c.v) != (frame.h_max, frame.v_max)) {
            return Err(CodecError::new("lossless JPEG with subsampled components is not decoded here"));
        }
        self.frame = Some(frame);
        Ok(())
    }

    fn read_huffman(&mut self, mut segment: &[u8]) -> Result<(), CodecError> {
        while let Some((&class, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk().ok_or_else(|| CodecError::truncated("JPEG"))?;
            let total: usize = counts.iter().map(|&n| usize::from(n)).sum();
            let values = rest.get(16..16 + total).ok_or_else(|| CodecError::truncated("JPEG"))?;
            let table = Huffman::new(counts, values)?;
            let slot = usize::from(class & 15);
            let tables = if class >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(slot).ok_or_else(|| CodecError::new(format!("JPEG Huffman table number {slot}")))? =
                Some(table);
            segment = &rest[16 + total..];
        }
        Ok(())
    }

    fn read_quantization(&mut self, mut segment: &[u8]) -> Result<(), CodecError> {
        while let Some((&class, rest)) = segment.split_first() {
            let wide = class >> 4 != 0;
            let bytes = if wide { 128 } else { 64 };
            let values = rest.get(..bytes).ok_or_else(|| CodecError::truncated("JPEG"))?;
            let mut table = [0; 64];
            for (index, &natural) in ZIGZAG.iter().enumerate() {
                table[usize::from(natural)] = if wide {
                    u16::from_be_bytes([values[2 * index], values[2 * index + 1]])
                } else {
                    u16::from(values[index])
                };
            }
            let slot = usize::from(class & 15);
            *self
                .quantization
                .get_mut(slot)
                .ok_or_else(|| CodecError::new(format!("JPEG quantization table number {slot}")))? = Some(table);
            segment = &rest[bytes..];
        }
        Ok(())
    }

    fn read_scan_header(&self, segment: &[u8]) -> Result<Scan, CodecError> {
        let frame = self
            .frame
            .as_ref()
            .ok_or_else(|| CodecError::new("the JPEG codestream has a scan before its frame header"))?;
        let count = usize::from(*segment.first().ok_or_else(|| CodecError::truncated("JPEG"))?);
        let pairs = segment.get(1..1 + 2 * count).ok_or_else(|| CodecError::truncated("JPEG"))?;
        let mut components: Vec<(usize, usize, usize)> = Vec::with_capacity(count);
        for &[id, tables] in pairs.as_chunks::<2>().0 {
            let index = frame
                .components
                .iter()
                .position(|c| c.id == id)
                .filter(|index| components.iter().all(|(other, ..)| other != index))
                .ok_or_else(|| CodecError::new(format!("JPEG scan header: component {id} is unknown or repeated")))?;
            components.push((index, usize::from(tables >> 4) & 3, usize::from(tables & 3)));
        }
        let &[start, end, approximation] = segment
            .get(1 + 2 * count..)
            .and_then(|rest| rest.first_chunk::<3>())
            .ok_or_else(|| CodecError::truncated("JPEG"))?;
        if components.is_empty() {
            return Err(CodecError::new("JPEG scan header: no components"));
        }
        Ok(Scan {
            components,
            start: usize::from(start),
            end: usize::from(end),
            high: u32::from(approximation >> 4),
            low: u32::from(approximation & 15),
        })
    }

    /// Whether every component has a first scan behind it (progressive process).
    fn has_all_components(&self) -> bool {
        self.frame.as_ref().is_some_and(|frame| {
            frame.process == Process::Progressive && frame.components.iter().all(|c| !c.coefficients.is_empty())
        })
    }

    /// Decodes one scan; returns where it ends, or what went wrong and the rows before.
    fn decode_scan(&mut self, bytes: &[u8], at: usize, scan: &Scan) -> Result<usize, (CodecError, usize)> {
        let mut reader = BitReader::new(bytes, at);
        let mut rows = 0;
        match self.decode_scan_rows(bytes, &mut reader, scan, &mut rows) {
            Ok(()) => Ok(reader.position()),
            // Whatever is wrong behind the end is wrong because of the end.
            Err(_) if reader.touched_end() => Err((CodecError::truncated("JPEG"), rows)),
            Err(error) => Err((error, rows)),
        }
    }

    /// Decodes one scan, counting in `rows` those that are whole.
    fn decode_scan_rows(
        &mut self,
        bytes: &[u8],
        reader: &mut BitReader<'_>,
        scan: &Scan,
        rows: &mut usize,
    ) -> Result<(), CodecError> {
        let Some(frame) = self.frame.as_mut() else { return Err(CodecError::truncated("JPEG")) };
        if frame.process == Process::Lossless {
            self.components_done += scan.components.len();
            if self.samples.is_empty() {
                // Each sample takes at least one bit.
                if bytes.len().saturating_mul(8) < frame.width * frame.height {
                    return Err(CodecError::truncated("JPEG"));
                }
                self.samples = vec![0; frame.width * frame.height * frame.components.len()];
            }
            return lossless::decode_scan(
                reader,
                frame,
                scan,
                &self.dc,
                self.restart_interval,
                &mut self.samples,
                rows,
            );
        }
        for &(index, ..) in &scan.components {
            let component = &mut frame.components[index];
            if component.table.is_none() {
                component.table = self.quantization.get(component.quantization).copied().flatten();
            }
            if component.coefficients.is_empty() {
                let blocks = component.blocks_across * component.blocks_down;
                // Even in one end-of-band run of the longest kind a block of a first scan takes part of a byte.
                if bytes.len().saturating_mul(32_768) < blocks {
                    return Err(CodecError::truncated("JPEG"));
                }
                component.coefficients = vec![0; blocks * 64];
            }
        }
        progressive::decode_scan(reader, frame, scan, &self.dc, &self.ac, self.restart_interval, rows)
    }

    /// Colour space of the component values.
    fn photometric(&self, format: &FrameFormat, lossless_syntax: bool) -> String {
        let Some(frame) = self.frame.as_ref().filter(|frame| frame.components.len() == 3) else {
            return format.photometric.clone();
        };
        if lossless_syntax || frame.process == Process::Lossless {
            return format.photometric.clone();
        }
        let ids: Vec<u8> = frame.components.iter().map(|c| c.id).collect();
        let says_ybr = format.photometric.starts_with("YBR");
        let subsampled = frame.components.iter().any(|c| (c.h, c.v) != (frame.h_max, frame.v_max));
        let is_rgb = match self.adobe {
            Some(0) => true,
            Some(_) => false,
            None if ids == *b"RGB" => true,
            // Nobody subsamples green and blue; JFIF is YCbCr by definition.
            None if self.jfif || subsampled => false,
            None => !says_ybr,
        };
        match (is_rgb, says_ybr) {
            (true, _) => "RGB".to_owned(),
            (false, true) => format.photometric.clone(),
            (false, false) => "YBR_FULL".to_owned(),
        }
    }
}

/// Moves `at` behind the next marker and returns it.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let found = bytes.get(*at..)?.iter().position(|&b| b == 0xFF)?;
        *at += found + 1;
        while *bytes.get(*at)? == 0xFF {
            *at += 1;
        }
        let marker = *bytes.get(*at)?;
        *at += 1;
        if marker != 0 {
            return Some(marker);
        }
    }
}

#[cfg(test)]
mod tests;
