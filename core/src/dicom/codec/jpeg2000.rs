//! JPEG 2000 (ITU-T T.800) and HTJ2K (T.814) by `openjp2`, with the headers checked here first.

use super::stored::from_codestream;
use super::{CodecError, FrameFormat, Incomplete, StoredFrame};

/// Most samples: the decoder needs several times their size in memory.
const MAX_SAMPLES: usize = 1 << 26;

/// Most precincts of one tile, code-blocks of the image, and places in the decoder's list of packets seen.
const MAX_PRECINCTS: usize = 1 << 20;
const MAX_CODE_BLOCKS: usize = 1 << 22;
const MAX_PACKETS: usize = 1 << 26;

/// What the main header says (T.800 A.5 and A.6).
struct MainHeader {
    rows: usize,
    columns: usize,
    tile_rows: usize,
    tile_columns: usize,
    tiles: usize,
    components: usize,
    precision: u32,
    signed: bool,
}

/// Decodes one frame. JP2 boxes around the codestream, which DICOM forbids and some writers leave, are ignored.
pub(super) fn decode(bytes: &[u8], format: &FrameFormat) -> Result<StoredFrame, CodecError> {
    let start = bytes
        .windows(4)
        .take(1 << 16)
        .position(|window| window == [0xFF, 0x4F, 0xFF, 0x51])
        .ok_or_else(|| CodecError::new("the frame holds no JPEG 2000 codestream"))?;
    let codestream = &bytes[start..];
    let header = MainHeader::read(codestream)?;
    format.check_codestream(header.rows, header.columns, header.components, header.precision)?;
    if format.sample_count() > MAX_SAMPLES {
        return Err(CodecError::new(format!("JPEG 2000 frames of more than {MAX_SAMPLES} samples are not decoded")));
    }
    header.check_coding(codestream)?;
    let read = |bytes: &[u8], strict| {
        jpeg2k::Image::from_bytes_with(bytes, jpeg2k::DecodeParameters::new().strict(strict))
            .map_err(|error| CodecError::new(format!("the JPEG 2000 codestream is damaged: {error}")))
    };
    let mut incomplete = None;
    let image = match read(codestream, true) {
        Ok(image) => image,
        // The end mark is missing: the stream was cut, and what came before gives a coarser image or a part of one.
        Err(_) if !codestream[codestream.len().saturating_sub(16)..].windows(2).any(|pair| pair == [0xFF, 0xD9]) => {
            let cause = CodecError::truncated("JPEG 2000").cause;
            incomplete = Some(Incomplete { from_pixel: format.pixels(), cause });
            read(&mended(codestream).ok_or_else(|| CodecError::truncated("JPEG 2000"))?, false)?
        }
        Err(error) => return Err(error),
    };
    let components = image.components();
    if components.len() != header.components {
        return Err(CodecError::new(
            "the JPEG 2000 decoder gave another number of components than the codestream says",
        ));
    }
    let pixels = format.pixels();
    let mut planes = Vec::with_capacity(components.len());
    for component in components {
        if (component.width() as usize, component.height() as usize) != (format.columns, format.rows) {
            return Err(CodecError::new("JPEG 2000 with subsampled components is not decoded here"));
        }
        planes.push(component.data().get(..pixels).ok_or_else(|| CodecError::truncated("JPEG 2000"))?);
    }
    // The codestream's own component transform is undone: what comes out is RGB.
    let photometric = match format.photometric.as_str() {
        "YBR_RCT" | "YBR_ICT" => "RGB",
        other => other,
    };
    let whole = match planes.as_slice() {
        [only] => from_codestream(only.iter().copied(), header.precision, header.signed, format, photometric),
        planes => {
            let count = planes.len();
            let samples = (0..pixels * count).map(|at| planes[at % count][at / count]);
            from_codestream(samples, header.precision, header.signed, format, photometric)
        }
    }?;
    Ok(StoredFrame { incomplete, ..whole })
}

/// A codestream that was cut off, made whole in form: the last tile-part is as long as what is left of it, and an end mark
/// follows. `None` where no tile-part has begun.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let be16 = |at: usize| bytes.get(at..at + 2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
    let (mut at, mut part, mut begun) = (2, None, false);
    let mut out = bytes.to_vec();
    while let Some(marker) = be16(at) {
        match (marker, part) {
            (0xFF93, Some((start, length))) => {
                begun = true;
                let end = start + length;
                if length == 0 || end > bytes.len() {
                    let left = u32::try_from(bytes.len() - start).ok()?;
                    out.get_mut(start + 6..start + 10)?.copy_from_slice(&left.to_be_bytes());
                    part = None;
                    break;
                }
                // Never backwards: a part that ends before its data begin is no part.
                at = Some(end).filter(|end| *end > at)?;
                part = None;
            }
            (0xFF93 | 0xFFD9, _) => break,
            _ => {
                if marker == 0xFF90
                    && let Some(word) = bytes.get(at + 6..at + 10).and_then(|word| word.first_chunk::<4>())
                {
                    part = Some((at, u32::from_be_bytes(*word) as usize));
                }
                at += 2 + be16(at + 2)?.max(2);
            }
        }
    }
    // A tile-part of which only the header is there goes.
    if let Some((start, _)) = part {
        out.truncate(start);
    }
    out.extend([0xFF, 0xD9]);
    begun.then_some(out)
}

impl MainHeader {
    fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let word = |at: usize| -> Result<usize, CodecError> {
            bytes
                .get(at..at + 4)
                .and_then(|word| word.first_chunk::<4>())
                .map(|&word| u32::from_be_bytes(word) as usize)
                .ok_or_else(|| CodecError::truncated("JPEG 2000"))
        };
        // SOC (2), SIZ (2), Lsiz (2), Rsiz (2), then eight 32-bit words.
        let [x, y, x0, y0, tile_x, tile_y, tile_x0, tile_y0] =
            [word(8)?, word(12)?, word(16)?, word(20)?, word(24)?, word(28)?, word(32)?, word(36)?];
        let components = word(38)? & 0xFFFF;
        let first = *bytes.get(42).ok_or_else(|| CodecError::truncated("JPEG 2000"))?;
        let table = bytes.get(42..42 + 3 * components.min(4)).ok_or_else(|| CodecError::truncated("JPEG 2000"))?;
        if table.as_chunks::<3>().0.iter().any(|c| c[0] != first || c[1] != 1 || c[2] != 1) {
            return Err(CodecError::new("JPEG 2000 components of differing depth or sampling are not decoded here"));
        }
        if x <= x0 || y <= y0 || tile_x == 0 || tile_y == 0 || tile_x0 > x0 || tile_y0 > y0 {
            return Err(CodecError::new("the JPEG 2000 image or tile size is not valid"));
        }
        let tiles = (x - tile_x0).div_ceil(tile_x).saturating_mul((y - tile_y0).div_ceil(tile_y));
        // A tile-part takes 14 bytes at least.
        if tiles > 65_535 || tiles.saturating_mul(14) > bytes.len() {
            return Err(CodecError::new(format!(
                "the JPEG 2000 codestream of {} bytes names {tiles} tiles",
                bytes.len()
            )));
        }
        Ok(Self {
            rows: y - y0,
            columns: x - x0,
            tile_rows: tile_y.min(y),
            tile_columns: tile_x.min(x),
            tiles,
            components,
            precision: u32::from(first & 0x7F) + 1,
            signed: first & 0x80 != 0,
        })
    }
}

impl MainHeader {
    /// Checks every COD and COC segment, of the main header and of the tile-parts: a few bytes there can ask for
    /// gigabytes of precincts, code-blocks and layers.
    fn check_coding(&self, bytes: &[u8]) -> Result<(), CodecError> {
        let be16 = |at: usize| bytes.get(at..at + 2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
        let mut at = 2;
        let mut part_end = None;
        let mut layers = 1;
        while let Some(marker) = be16(at) {
            match marker {
                // SOD: the data of a tile-part, whose end its SOT has named.
                0xFF93 => match part_end.take() {
                    Some(end) if end > at => at = end,
                    _ => return Ok(()),
                },
                0xFFD9 => return Ok(()),
                _ => {
                    let Some(segment) = be16(at + 2).and_then(|length| bytes.get(at + 4..at + 2 + length)) else {
                        return Err(CodecError::truncated("JPEG 2000"));
                    };
                    match (marker, segment) {
                        (0xFF90, [_, _, a, b, c, d, ..]) => {
                            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                            part_end = (length > 0).then(|| at.saturating_add(length));
                        }
                        (0xFF52, [style, _, high, low, _, parameters @ ..]) => {
                            layers = usize::from(*high) << 8 | usize::from(*low);
                            self.check_style(*style, parameters, layers, bytes.len())?;
                        }
                        (0xFF53, [_, style, parameters @ ..]) => {
                            self.check_style(*style, parameters, layers, bytes.len())?;
                        }
                        _ => {}
                    }
                    at += 4 + segment.len();
                }
            }
        }
        Ok(())
    }

    /// Decomposition levels, code-block and precinct sizes (T.800 A.6.1, tables A.15 and A.20).
    fn check_style(&self, style: u8, parameters: &[u8], layers: usize, length: usize) -> Result<(), CodecError> {
        let [levels, block_width, block_height, _, _, precincts @ ..] = parameters else {
            return Err(CodecError::truncated("JPEG 2000"));
        };
        let levels = usize::from(*levels);
        if levels > 32 || *block_width > 8 || *block_height > 8 {
            return Err(CodecError::new("the JPEG 2000 coding style is not valid"));
        }
        let per_block = 1usize << (block_width + block_height + 4);
        let blocks = (self.rows * self.columns).div_ceil(per_block).saturating_mul(self.components);
        let (mut in_tile, mut most) = (0usize, 0usize);
        for level in 0..=levels {
            let size = if style & 1 == 1 { precincts.get(level).copied().unwrap_or(0xFF) } else { 0xFF };
            let scale = 1usize << (levels - level);
            let across = self.tile_columns.div_ceil(scale).div_ceil(1 << (size & 15));
            let down = self.tile_rows.div_ceil(scale).div_ceil(1 << (size >> 4));
            in_tile = in_tile.saturating_add(across.saturating_mul(down));
            most = most.max(across.saturating_mul(down));
        }
        let in_tile = in_tile.saturating_mul(self.components);
        let packets = most.saturating_mul(self.components).saturating_mul(levels + 1).saturating_mul(layers.max(1));
        // A packet takes a byte at least; a little more than fits is allowed for streams that were cut to a rate.
        let fitting = length.saturating_add(1 << 16);
        if in_tile > MAX_PRECINCTS.min(fitting)
            || in_tile.saturating_mul(self.tiles) > fitting.saturating_mul(8)
            || blocks > MAX_CODE_BLOCKS
            || packets > MAX_PACKETS
        {
            return Err(CodecError::new(format!(
                "the JPEG 2000 codestream of {length} bytes asks for {in_tile} precincts a tile, {blocks} code-blocks \
                 and {layers} layers"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::gray;
    use super::*;

    fn siz(columns: u32, rows: u32, tile: u32) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        for word in [columns, rows, 0, 0, tile, tile, 0, 0] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend([0, 1, 7, 1, 1]);
        bytes
    }

    #[test]
    fn coding_styles_that_ask_for_gigabytes_are_refused() {
        let style = |layers: u16, block: u8, precinct: Option<u8>| {
            let mut bytes = siz(8000, 8000, 8000);
            let mut cod = vec![u8::from(precinct.is_some()), 0];
            cod.extend(layers.to_be_bytes());
            cod.extend([0, 5, block, block, 0, 1]);
            cod.extend(precinct.map(|size| [size; 6]).into_iter().flatten());
            bytes.extend([0xFF, 0x52, 0, cod.len() as u8 + 2]);
            bytes.extend(cod);
            let header = MainHeader::read(&bytes).expect("the sizes are fine");
            header.check_coding(&bytes)
        };
        assert!(style(1, 4, None).is_ok());
        assert!(style(20, 4, Some(0x88)).is_ok());
        assert!(style(1, 4, Some(0)).is_err(), "a precinct for each pixel");
        assert!(style(1, 0, None).is_ok(), "small code-blocks alone are within the limit");
        assert!(style(65_535, 4, Some(0x66)).is_err(), "layers times precincts");
    }

    #[test]
    fn sizes_and_tiles_are_checked_before_decoding() {
        let error = decode(&siz(100, 40, 100), &gray(50, 100, 8)).expect_err("another size");
        assert!(error.to_string().contains("40 rows x 100 columns"), "{error}");
        let error = decode(&siz(4000, 4000, 1), &gray(4000, 4000, 8)).expect_err("a tile for each pixel");
        assert!(error.cause.contains("16000000 tiles"), "{error}");
        assert!(decode(&[0xFF, 0x4F, 0xFF, 0x51, 0, 41], &gray(5, 5, 8)).is_err());
    }
}
