//! Scans of DCT coefficients: sequential (T.81 annex F) and progressive (annex G).

use super::bits::BitReader;
use super::huffman::Huffman;
use super::{CodecError, Component, FrameHeader, Process, Scan, ZIGZAG};

type Tables = [Option<Huffman>; 4];

/// State that a restart marker resets.
#[derive(Default)]
struct State {
    /// DC prediction by component index.
    dc: [i32; 4],
    /// Blocks left in an end-of-band run.
    run: u32,
}

/// What one block of a scan does.
enum Step<'a> {
    Sequential(&'a Huffman, &'a Huffman),
    DcFirst(&'a Huffman),
    DcRefine,
    AcFirst(&'a Huffman),
    AcRefine(&'a Huffman),
}

/// Decodes one scan into the coefficients of its components; `rows` counts the rows of the image that are whole.
pub(super) fn decode_scan(
    reader: &mut BitReader<'_>,
    frame: &mut FrameHeader,
    scan: &Scan,
    dc: &Tables,
    ac: &Tables,
    restart_interval: usize,
    rows: &mut usize,
) -> Result<(), CodecError> {
    let progressive = frame.process == Process::Progressive;
    if progressive {
        let band = if scan.start == 0 { scan.end == 0 } else { scan.start <= scan.end && scan.end < 64 };
        if !band || scan.low > 13 || (scan.start > 0 && scan.components.len() > 1) {
            return Err(CodecError::new("progressive JPEG: a scan header is not valid"));
        }
    }
    let missing = || CodecError::new("JPEG: a Huffman table is missing");
    let mut steps = Vec::with_capacity(scan.components.len());
    for &(index, dc_slot, ac_slot) in &scan.components {
        let dc_table = || dc[dc_slot].as_ref().ok_or_else(missing);
        let ac_table = || ac[ac_slot].as_ref().ok_or_else(missing);
        let step = match (progressive, scan.start, scan.high) {
            (false, ..) => Step::Sequential(dc_table()?, ac_table()?),
            (true, 0, 0) => Step::DcFirst(dc_table()?),
            (true, 0, _) => Step::DcRefine,
            (true, _, 0) => Step::AcFirst(ac_table()?),
            (true, ..) => Step::AcRefine(ac_table()?),
        };
        steps.push((index, step));
    }
    let mut state = State::default();
    let mut until_restart = restart_interval;
    let mut restart = |reader: &mut BitReader<'_>, state: &mut State| {
        if restart_interval > 0 && until_restart == 0 {
            reader.restart()?;
            *state = State::default();
            until_restart = restart_interval;
        }
        until_restart = until_restart.wrapping_sub(1);
        Ok::<(), CodecError>(())
    };
    if let [(index, step)] = steps.as_slice() {
        // One component: blocks row by row, without those that only pad an MCU (A.2.2).
        let only = frame.components.len() == 1;
        let component = &mut frame.components[*index];
        let (across, down) = (component.width.div_ceil(8), component.height.div_ceil(8));
        for row in 0..down {
            for column in 0..across {
                restart(reader, &mut state)?;
                decode_block(reader, component, *index, row, column, step, scan, &mut state)?;
            }
            reader.check()?;
            *rows = if only { (row + 1) * 8 } else { 0 };
        }
        return Ok(());
    }
    let (mcus_across, mcus_down) = (frame.width.div_ceil(8 * frame.h_max), frame.height.div_ceil(8 * frame.v_max));
    for mcu_row in 0..mcus_down {
        for mcu_column in 0..mcus_across {
            restart(reader, &mut state)?;
            for (index, step) in &steps {
                let component = &mut frame.components[*index];
                for y in 0..component.v {
                    for x in 0..component.h {
                        let (row, column) = (mcu_row * component.v + y, mcu_column * component.h + x);
                        decode_block(reader, component, *index, row, column, step, scan, &mut state)?;
                    }
                }
            }
        }
        reader.check()?;
        // The last row of enlarged chroma looks at the row below it.
        let whole = (mcu_row + 1) * 8 * frame.v_max - (frame.v_max - 1);
        *rows = if steps.len() == frame.components.len() { whole } else { 0 };
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)] // the inner step of both loops above
fn decode_block(
    reader: &mut BitReader<'_>,
    component: &mut Component,
    index: usize,
    row: usize,
    column: usize,
    step: &Step<'_>,
    scan: &Scan,
    state: &mut State,
) -> Result<(), CodecError> {
    let at = (row * component.blocks_across + column) * 64;
    let Some(block) =
        component.coefficients.get_mut(at..at + 64).and_then(|block| <&mut [i16; 64]>::try_from(block).ok())
    else {
        return Err(CodecError::new("JPEG: a block lies outside the image"));
    };
    match step {
        Step::Sequential(dc, ac) => {
            let length = dc.decode(reader)?;
            block[0] = predict(reader, length, &mut state.dc[index])? as i16;
            let mut k = 1;
            while k < 64 {
                let symbol = ac.decode(reader)?;
                let (run, length) = (usize::from(symbol >> 4), u32::from(symbol & 15));
                if length == 0 {
                    if run < 15 {
                        break;
                    }
                    k += 16;
                    continue;
                }
                k += run;
                let value = reader.extend(length);
                let Some(&natural) = ZIGZAG.get(k) else { break };
                block[usize::from(natural)] = value as i16;
                k += 1;
            }
        }
        Step::DcFirst(dc) => {
            let length = dc.decode(reader)?;
            block[0] = (predict(reader, length, &mut state.dc[index])? << scan.low) as i16;
        }
        Step::DcRefine => {
            if reader.bits(1) == 1 {
                block[0] |= 1 << scan.low;
            }
        }
        Step::AcFirst(ac) => {
            if state.run > 0 {
                state.run -= 1;
                return Ok(());
            }
            let mut k = scan.start;
            while k <= scan.end {
                let symbol = ac.decode(reader)?;
                let (run, length) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                if length == 0 {
                    if run < 15 {
                        state.run = (1 << run) - 1 + reader.bits(run) as u32;
                        break;
                    }
                    k += 16;
                    continue;
                }
                k += run as usize;
                let value = reader.extend(length) << scan.low;
                let Some(&natural) = ZIGZAG.get(k) else { break };
                block[usize::from(natural)] = value as i16;
                k += 1;
            }
        }
        Step::AcRefine(ac) => refine(reader, block, ac, scan, state)?,
    }
    Ok(())
}

fn predict(reader: &mut BitReader<'_>, length: u8, prediction: &mut i32) -> Result<i32, CodecError> {
    if length > 16 {
        return Err(CodecError::new("JPEG: a DC difference of more than 16 bits"));
    }
    *prediction = prediction.wrapping_add(reader.extend(u32::from(length)));
    Ok(*prediction)
}

/// Refinement of AC coefficients by one bit (T.81 G.1.2.3).
fn refine(
    reader: &mut BitReader<'_>,
    block: &mut [i16; 64],
    ac: &Huffman,
    scan: &Scan,
    state: &mut State,
) -> Result<(), CodecError> {
    let bit = 1i16 << scan.low;
    let correct = |reader: &mut BitReader<'_>, value: &mut i16| {
        if reader.bits(1) == 1 && *value & bit == 0 {
            *value = if *value > 0 { value.wrapping_add(bit) } else { value.wrapping_sub(bit) };
        }
    };
    let mut k = scan.start;
    if state.run == 0 {
        while k <= scan.end {
            let symbol = ac.decode(reader)?;
            let (mut run, length) = (u32::from(symbol >> 4), symbol & 15);
            let mut new_value = 0;
            if length == 0 {
                if run < 15 {
                    state.run = (1 << run) + reader.bits(run) as u32;
                    break;
                }
            } else {
                new_value = if reader.bits(1) == 1 { bit } else { -bit };
            }
            // Skip `run` zeros; every nonzero coefficient on the way takes a correction bit.
            while k <= scan.end {
                let value = &mut block[usize::from(ZIGZAG[k])];
                if *value != 0 {
                    correct(reader, value);
                } else if run == 0 {
                    if new_value != 0 {
                        *value = new_value;
                    }
                    k += 1;
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
        }
    }
    if state.run > 0 {
        for &natural in &ZIGZAG[k..=scan.end] {
            let value = &mut block[usize::from(natural)];
            if *value != 0 {
                correct(reader, value);
            }
        }
        state.run -= 1;
    }
    Ok(())
}
