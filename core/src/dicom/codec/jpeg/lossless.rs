//! Lossless process (T.81 annex H): all seven predictors, point transform, 2 to 16 bits.

use super::bits::BitReader;
use super::huffman::Huffman;
use super::{CodecError, FrameHeader, Scan};

/// Decodes one scan into `samples`, `[row, column, component]`; `rows` counts the whole rows.
pub(super) fn decode_scan(
    reader: &mut BitReader<'_>,
    frame: &FrameHeader,
    scan: &Scan,
    tables: &[Option<Huffman>; 4],
    restart_interval: usize,
    samples: &mut [u16],
    rows: &mut usize,
) -> Result<(), CodecError> {
    let predictor = scan.start;
    if !(1..=7).contains(&predictor) {
        return Err(CodecError::new(format!("lossless JPEG with predictor {predictor}")));
    }
    if scan.low >= frame.precision {
        return Err(CodecError::new(format!("lossless JPEG with a point transform of {} bits", scan.low)));
    }
    let mut decoders = Vec::with_capacity(scan.components.len());
    for &(index, dc, _) in &scan.components {
        let table = tables.get(dc).and_then(Option::as_ref);
        decoders.push((index, table.ok_or_else(|| CodecError::new("lossless JPEG: a Huffman table is missing"))?));
    }
    let (width, step) = (frame.width, frame.components.len());
    let initial = 1i32 << (frame.precision - scan.low - 1);
    // Before the point transform, which is undone at the end: one row back is all that prediction needs.
    let mut previous = vec![0u16; width * step];
    let mut current = vec![0u16; width * step];
    let mut until_restart = restart_interval;
    let mut first_row = true;
    for row in 0..frame.height {
        let mut first_in_row = true;
        for column in 0..width {
            if restart_interval > 0 && until_restart == 0 {
                reader.restart()?;
                until_restart = restart_interval;
                // Prediction starts anew (H.1.1); intervals are whole rows in a valid stream.
                (first_row, first_in_row) = (true, true);
            }
            until_restart = until_restart.wrapping_sub(1);
            for &(component, table) in &decoders {
                let at = column * step + component;
                let prediction = if first_in_row {
                    if first_row { initial } else { i32::from(previous[at]) }
                } else {
                    let a = i32::from(current[at - step]);
                    if first_row {
                        a
                    } else {
                        let (b, c) = (i32::from(previous[at]), i32::from(previous[at - step]));
                        match predictor {
                            1 => a,
                            2 => b,
                            3 => c,
                            4 => a + b - c,
                            5 => a + ((b - c) >> 1),
                            6 => b + ((a - c) >> 1),
                            _ => (a + b) >> 1,
                        }
                    }
                };
                let difference = match table.decode(reader)? {
                    16 => 32_768,
                    length @ 0..=15 => reader.extend(u32::from(length)),
                    _ => return Err(CodecError::new("lossless JPEG: a difference of more than 16 bits")),
                };
                current[at] = (prediction + difference) as u16;
            }
            first_in_row = false;
        }
        reader.check()?;
        let out = &mut samples[row * width * step..(row + 1) * width * step];
        for &(component, _) in &decoders {
            for column in 0..width {
                let at = column * step + component;
                out[at] = current[at] << scan.low;
            }
        }
        std::mem::swap(&mut previous, &mut current);
        first_row = false;
        // A component of its own scan is whole where the others are missing: such a frame has no whole rows.
        *rows = if scan.components.len() == step { row + 1 } else { 0 };
    }
    Ok(())
}
