//! JPEG-LS (ITU-T T.87): lossless and near-lossless, one or more components, all three interleave modes.
//!
//! Written here because the crates at hand read single components only. Names of variables are T.87's.

use super::stored::from_codestream;
use super::{CodecError, FrameFormat, Incomplete, StoredFrame};

/// Order of the run-length codes (T.87 A.2.1).
const J: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Parameters that an LSE segment may change (T.87 C.2.4.1.1); 0 means the default.
#[derive(Debug, Clone, Copy, Default)]
struct Preset {
    maxval: i32,
    t1: i32,
    t2: i32,
    t3: i32,
    reset: i32,
}

/// Decodes one frame. Where the last scan ends early, its whole rows are decoded, and the frame is [`Incomplete`].
pub(super) fn decode(bytes: &[u8], format: &FrameFormat) -> Result<StoredFrame, CodecError> {
    let mut at = bytes
        .windows(2)
        .take(64)
        .position(|pair| pair == [0xFF, 0xD8])
        .ok_or_else(|| CodecError::new("the frame does not begin with a JPEG start-of-image marker"))?
        + 2;
    let mut preset = Preset::default();
    let mut precision = 0u32;
    let mut ids: Vec<u8> = Vec::new();
    let mut samples: Vec<u16> = Vec::new();
    let mut done: Vec<u8> = Vec::new();
    let mut incomplete = None;
    while ids.is_empty() || done.len() < ids.len() {
        let marker = next_marker(bytes, &mut at).ok_or_else(|| CodecError::truncated("JPEG-LS"))?;
        if marker == 0xD9 {
            return Err(CodecError::truncated("JPEG-LS"));
        }
        let length = be16(bytes, at)?;
        let segment =
            bytes.get(at + 2..at + length).filter(|_| length >= 2).ok_or_else(|| CodecError::truncated("JPEG-LS"))?;
        at += length;
        match marker {
            0xF7 => {
                let count = usize::from(*segment.get(5).ok_or_else(|| CodecError::truncated("JPEG-LS"))?);
                precision = u32::from(segment[0]);
                if !ids.is_empty() || !(2..=16).contains(&precision) {
                    return Err(CodecError::new(format!(
                        "JPEG-LS frame header: precision of {precision} bits, or a second header"
                    )));
                }
                format.check_codestream(be16(segment, 1)?, be16(segment, 3)?, count, precision)?;
                for &[id, sampling, _] in segment[6..].as_chunks::<3>().0.iter().take(count) {
                    if sampling != 0x11 {
                        return Err(CodecError::new("JPEG-LS with subsampled components is not decoded here"));
                    }
                    ids.push(id);
                }
                if ids.len() != count {
                    return Err(CodecError::truncated("JPEG-LS"));
                }
            }
            0xF8 => match segment.first() {
                Some(1) => {
                    let value = |index: usize| be16(segment, 1 + 2 * index).map(|v| v as i32);
                    preset =
                        Preset { maxval: value(0)?, t1: value(1)?, t2: value(2)?, t3: value(3)?, reset: value(4)? };
                }
                _ => return Err(CodecError::new("JPEG-LS mapping tables and oversize images are not decoded here")),
            },
            0xDD if segment.iter().any(|&b| b != 0) => {
                return Err(CodecError::new("JPEG-LS with restart intervals is not decoded here"));
            }
            0xE8 if segment.starts_with(b"mrfx") && segment.get(4).is_some_and(|&kind| kind != 0) => {
                return Err(CodecError::new("JPEG-LS with a vendor's colour transform is not decoded here"));
            }
            0xC0..=0xC3 => return Err(CodecError::new("the codestream is JPEG, not JPEG-LS")),
            0xDA => {
                if ids.is_empty() {
                    return Err(CodecError::new("the JPEG-LS codestream has a scan before its frame header"));
                }
                if samples.is_empty() {
                    samples = vec![0; format.sample_count()];
                }
                let scan = Scan::read(segment, &ids, &done)?;
                let coder = Coder::new(precision, scan.near, &preset)?;
                let mut decoder = ScanDecoder { coder, bits: Bits::new(bytes, at) };
                let mut rows = 0;
                if let Err(error) = decoder.decode(&scan, format, &mut samples, &mut rows) {
                    // What is wrong behind the end is wrong because of the end.
                    let cut = decoder.bits.touched_end();
                    if !cut || rows == 0 || done.len() + scan.components.len() < ids.len() {
                        return Err(if cut { CodecError::truncated("JPEG-LS") } else { error });
                    }
                    let cause = CodecError::truncated("JPEG-LS").cause;
                    incomplete = Some(Incomplete { from_pixel: rows * format.columns, cause });
                }
                at = decoder.bits.position();
                done.extend(scan.components.iter().map(|&index| ids[index]));
            }
            _ => {}
        }
    }
    let whole = from_codestream(samples.into_iter().map(i32::from), precision, false, format, &format.photometric)?;
    Ok(StoredFrame { incomplete, ..whole })
}

fn be16(bytes: &[u8], at: usize) -> Result<usize, CodecError> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(usize::from(high) << 8 | usize::from(low)),
        _ => Err(CodecError::truncated("JPEG-LS")),
    }
}

fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        match *bytes.get(*at..*at + 2)? {
            // Inside entropy-coded data the byte behind FF has its high bit clear.
            [0xFF, marker @ 0x80..=0xFE] => {
                *at += 2;
                return Some(marker);
            }
            _ => *at += 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interleave {
    None,
    Line,
    Sample,
}

struct Scan {
    /// Indices of the components, in scan order.
    components: Vec<usize>,
    near: i32,
    interleave: Interleave,
}

impl Scan {
    fn read(segment: &[u8], ids: &[u8], done: &[u8]) -> Result<Self, CodecError> {
        let count = usize::from(*segment.first().ok_or_else(|| CodecError::truncated("JPEG-LS"))?);
        let pairs = segment.get(1..1 + 2 * count).ok_or_else(|| CodecError::truncated("JPEG-LS"))?;
        let mut components = Vec::new();
        for &[id, table] in pairs.as_chunks::<2>().0 {
            let index = ids.iter().position(|&other| other == id);
            match index {
                Some(index) if !components.contains(&index) && !done.contains(&id) => components.push(index),
                _ => return Err(CodecError::new("JPEG-LS scan header: a component is unknown or repeated")),
            }
            if table != 0 {
                return Err(CodecError::new("JPEG-LS mapping tables and oversize images are not decoded here"));
            }
        }
        let &[near, interleave, point] = segment
            .get(1 + 2 * count..)
            .and_then(|rest| rest.first_chunk::<3>())
            .ok_or_else(|| CodecError::truncated("JPEG-LS"))?;
        let interleave = match (interleave, count) {
            (_, 1) => Interleave::None,
            (1, 2..) => Interleave::Line,
            (2, 2..) => Interleave::Sample,
            _ => return Err(CodecError::new("JPEG-LS scan header: the interleave mode is not valid")),
        };
        if point != 0 {
            return Err(CodecError::new("JPEG-LS with a point transform is not decoded here"));
        }
        Ok(Self { components, near: i32::from(near), interleave })
    }
}

/// Bits with a zero stuffed behind each byte FF (T.87 A.1, annex C).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    window: u64,
    available: u32,
    after_ff: bool,
    invented: u64,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, window: 0, available: 0, after_ff: false, invented: 0 }
    }

    fn position(&self) -> usize {
        // The reader is at most eight bytes ahead, and never behind a marker; step back over a lone FF.
        self.at.saturating_sub(usize::from(self.after_ff))
    }

    fn fill(&mut self) {
        while self.available <= 56 {
            let byte = self.bytes.get(self.at).copied();
            let (value, count) = match byte {
                Some(byte) if self.after_ff && byte >= 0x80 => (None, 8), // a marker
                Some(byte) if self.after_ff => (Some(byte), 7),
                Some(byte) => (Some(byte), 8),
                None => (None, 8),
            };
            match value {
                Some(byte) => {
                    self.at += 1;
                    self.after_ff = byte == 0xFF;
                    self.window |= (u64::from(byte) << (64 - count)) >> self.available;
                }
                None => self.invented += 8,
            }
            self.available += count;
        }
    }

    /// `count` bits, at most 32.
    fn bits(&mut self, count: u32) -> u32 {
        if count == 0 {
            return 0;
        }
        if self.available < count {
            self.fill();
        }
        let value = (self.window >> (64 - count)) as u32;
        self.window <<= count;
        self.available -= count;
        value
    }

    /// Number of zeros before a one, which is consumed too; at most `limit` (then nothing more is consumed).
    fn zeros(&mut self, limit: u32) -> u32 {
        let mut total = 0;
        loop {
            if self.available < 32 {
                self.fill();
            }
            let run = self.window.leading_zeros().min(32);
            if total + run > limit {
                return limit + 1;
            }
            total += run;
            if run < 32 {
                self.bits(run + 1);
                return total;
            }
            self.bits(32);
        }
    }

    /// Whether bits behind the end were looked at.
    fn touched_end(&self) -> bool {
        self.invented > 0
    }

    /// Whether no bit behind the end was used.
    fn is_strict(&self) -> bool {
        self.invented <= u64::from(self.available)
    }

    fn check(&self) -> Result<(), CodecError> {
        // The last byte of a scan may be an FF whose stuffed bit was not needed: one byte of grace.
        if self.invented > u64::from(self.available) + 8 { Err(CodecError::truncated("JPEG-LS")) } else { Ok(()) }
    }
}

/// Adaptive state and constants of one scan.
struct Coder {
    near: i32,
    maxval: i32,
    range: i32,
    qbpp: u32,
    limit: u32,
    reset: i32,
    t: [i32; 3],
    /// A, B, C, N by context (T.87 A.2): 365 regular ones.
    regular: Vec<[i32; 4]>,
    /// A, N, Nn of the two run interruption contexts.
    run: [[i32; 3]; 2],
}

impl Coder {
    fn new(precision: u32, near: i32, preset: &Preset) -> Result<Self, CodecError> {
        let top = (1i32 << precision) - 1;
        let maxval = if preset.maxval == 0 { top } else { preset.maxval };
        if maxval > top || near > 255.min(maxval / 2) {
            return Err(CodecError::new(format!("JPEG-LS parameters are not valid: MAXVAL {maxval}, NEAR {near}")));
        }
        let clamp = |value: i32, low: i32| if value > maxval || value < low { low } else { value };
        let defaults = if maxval >= 128 {
            let factor = (maxval.min(4095) + 128) / 256;
            let t1 = clamp(factor + 2 + 3 * near, near + 1);
            let t2 = clamp(factor * 4 + 3 + 5 * near, t1);
            [t1, t2, clamp(factor * 17 + 4 + 7 * near, t2)]
        } else {
            let factor = 256 / (maxval + 1);
            let t1 = clamp((3 / factor + 3 * near).max(2), near + 1);
            let t2 = clamp((7 / factor + 5 * near).max(3), t1);
            [t1, t2, clamp((21 / factor + 7 * near).max(4), t2)]
        };
        let pick = |value: i32, default: i32| if value == 0 { default } else { value };
        let t = [pick(preset.t1, defaults[0]), pick(preset.t2, defaults[1]), pick(preset.t3, defaults[2])];
        let reset = pick(preset.reset, 64);
        if !(3..=maxval.max(255)).contains(&reset) || t[0] < near + 1 || t[1] < t[0] || t[2] < t[1] || t[2] > maxval {
            return Err(CodecError::new(format!("JPEG-LS parameters are not valid: thresholds {t:?}, RESET {reset}")));
        }
        let range = (maxval + 2 * near) / (2 * near + 1) + 1;
        let qbpp = ceil_log2(range);
        let bpp = ceil_log2(maxval + 1).max(2);
        let a = ((range + 32) / 64).max(2);
        Ok(Self {
            near,
            maxval,
            range,
            qbpp,
            limit: 2 * (bpp + bpp.max(8)),
            reset,
            t,
            regular: vec![[a, 0, 0, 1]; 365],
            run: [[a, 1, 0]; 2],
        })
    }

    fn quantize(&self, gradient: i32) -> i32 {
        let size = gradient.abs();
        let level = if size <= self.near {
            0
        } else if size < self.t[0] {
            1
        } else if size < self.t[1] {
            2
        } else if size < self.t[2] {
            3
        } else {
            4
        };
        if gradient < 0 { -level } else { level }
    }

    /// A sample from its prediction and error, modulo the range (T.87 A.4.4 and A.4.5).
    fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut value = prediction + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.maxval + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.maxval)
    }
}

fn ceil_log2(value: i32) -> u32 {
    32 - (value - 1).max(0).leading_zeros()
}

struct ScanDecoder<'a> {
    coder: Coder,
    bits: Bits<'a>,
}

/// Two lines of one component, with one sample before and one behind (T.87 A.2.1).
struct Lines {
    previous: Vec<i32>,
    current: Vec<i32>,
    run_index: usize,
}

impl Lines {
    fn new(width: usize) -> Self {
        Self { previous: vec![0; width + 2], current: vec![0; width + 2], run_index: 0 }
    }

    fn begin(&mut self, width: usize) {
        self.previous[width + 1] = self.previous[width];
        self.current[0] = self.previous[1];
    }

    fn end(&mut self) {
        std::mem::swap(&mut self.previous, &mut self.current);
    }

    /// Ra, Rb, Rc, Rd of the sample at `x` (from 1).
    fn neighbours(&self, x: usize) -> [i32; 4] {
        [self.current[x - 1], self.previous[x], self.previous[x - 1], self.previous[x + 1]]
    }
}

impl ScanDecoder<'_> {
    /// Decodes a scan into `samples`; `rows` counts the whole rows.
    fn decode(
        &mut self,
        scan: &Scan,
        format: &FrameFormat,
        samples: &mut [u16],
        rows: &mut usize,
    ) -> Result<(), CodecError> {
        let (width, step) = (format.columns, format.samples);
        let mut lines: Vec<Lines> = scan.components.iter().map(|_| Lines::new(width)).collect();
        for row in 0..format.rows {
            match scan.interleave {
                Interleave::Sample => self.sample_line(&mut lines, width)?,
                _ => {
                    for line in &mut lines {
                        line.begin(width);
                        self.line(line, width)?;
                    }
                }
            }
            self.bits.check()?;
            let out = &mut samples[row * width * step..(row + 1) * width * step];
            for (line, &component) in lines.iter_mut().zip(&scan.components) {
                for (target, &value) in out.iter_mut().skip(component).step_by(step).zip(&line.current[1..]) {
                    *target = value as u16;
                }
                line.end();
            }
            if self.bits.is_strict() {
                *rows = row + 1;
            }
        }
        Ok(())
    }

    /// One line of one component.
    fn line(&mut self, lines: &mut Lines, width: usize) -> Result<(), CodecError> {
        let mut x = 1;
        while x <= width {
            let neighbours = lines.neighbours(x);
            if let Some((context, sign)) = self.context(neighbours) {
                lines.current[x] = self.regular(neighbours, context, sign)?;
                x += 1;
                continue;
            }
            let ra = neighbours[0];
            let run = self.run_length(&mut lines.run_index, width + 1 - x);
            lines.current[x..x + run].fill(ra);
            x += run;
            if x <= width {
                let rb = lines.previous[x];
                let near = (ra - rb).abs() <= self.coder.near;
                let (prediction, sign) = if near { (ra, 1) } else { (rb, if ra > rb { -1 } else { 1 }) };
                let error = self.interruption(usize::from(near), lines.run_index)?;
                lines.current[x] = self.coder.reconstruct(prediction, sign * error);
                lines.run_index = lines.run_index.saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// One line of all components, sample by sample.
    fn sample_line(&mut self, lines: &mut [Lines], width: usize) -> Result<(), CodecError> {
        for line in lines.iter_mut() {
            line.begin(width);
        }
        let mut x = 1;
        while x <= width {
            let run = lines.iter().all(|line| self.context(line.neighbours(x)).is_none());
            if !run {
                for line in lines.iter_mut() {
                    let neighbours = line.neighbours(x);
                    // A flat component among others takes the zero context of the regular mode.
                    let (context, sign) = self.context(neighbours).unwrap_or((0, 1));
                    line.current[x] = self.regular(neighbours, context, sign)?;
                }
                x += 1;
                continue;
            }
            let Some(first) = lines.first_mut() else { break };
            let run = self.run_length(&mut first.run_index, width + 1 - x);
            let index = first.run_index;
            for line in lines.iter_mut() {
                let ra = line.current[x - 1];
                line.current[x..x + run].fill(ra);
            }
            x += run;
            if x <= width {
                for line in lines.iter_mut() {
                    let (ra, rb) = (line.current[x - 1], line.previous[x]);
                    let error = self.interruption(0, index)?;
                    line.current[x] = self.coder.reconstruct(rb, if ra > rb { -error } else { error });
                }
                if let Some(first) = lines.first_mut() {
                    first.run_index = index.saturating_sub(1);
                }
                x += 1;
            }
        }
        Ok(())
    }

    /// Context number and sign; `None` for run mode.
    fn context(&self, [ra, rb, rc, rd]: [i32; 4]) -> Option<(usize, i32)> {
        let q = [rd - rb, rb - rc, rc - ra].map(|gradient| self.coder.quantize(gradient));
        let number = 81 * q[0] + 9 * q[1] + q[2];
        if number == 0 { None } else { Some((number.unsigned_abs() as usize, number.signum())) }
    }

    /// Regular mode (T.87 A.4 to A.6).
    fn regular(&mut self, [ra, rb, rc, _]: [i32; 4], context: usize, sign: i32) -> Result<i32, CodecError> {
        let (low, high) = (ra.min(rb), ra.max(rb));
        let median = if rc >= high {
            low
        } else if rc <= low {
            high
        } else {
            ra + rb - rc
        };
        let [a, b, c, n] = self.coder.regular[context];
        let prediction = (median + sign * c).clamp(0, self.coder.maxval);
        let k = golomb_order(a, n);
        let mapped = self.golomb(k, self.coder.limit)?;
        let mut error = if mapped & 1 == 0 { mapped >> 1 } else { -((mapped + 1) >> 1) };
        if self.coder.near == 0 && k == 0 && 2 * b <= -n {
            error = -(error + 1);
        }
        let step = 2 * self.coder.near + 1;
        // A damaged stream with a large RESET could overflow the sums.
        let (mut a, mut b, mut c, mut n) = (a.saturating_add(error.abs()), b.saturating_add(error * step), c, n);
        if n == self.coder.reset {
            (a, b, n) = (a >> 1, b >> 1, n >> 1);
        }
        n += 1;
        if b <= -n {
            b = (b + n).max(1 - n);
            c = (c - 1).max(-128);
        } else if b > 0 {
            b = (b - n).min(0);
            c = (c + 1).min(127);
        }
        self.coder.regular[context] = [a, b, c, n];
        Ok(self.coder.reconstruct(prediction, sign * error))
    }

    /// Samples in a run, at most `rest` (T.87 A.7.1).
    fn run_length(&mut self, index: &mut usize, rest: usize) -> usize {
        let mut run = 0;
        while self.bits.bits(1) == 1 {
            let full = 1usize << J[*index];
            let count = full.min(rest - run);
            run += count;
            if count == full {
                *index = (*index + 1).min(31);
            }
            if run == rest {
                return run;
            }
        }
        // The remainder is below 2^J; a damaged stream may still point behind the line.
        (run + self.bits.bits(J[*index]) as usize).min(rest)
    }

    /// Error of the sample that ends a run (T.87 A.7.2).
    fn interruption(&mut self, kind: usize, run_index: usize) -> Result<i32, CodecError> {
        let [a, n, nn] = self.coder.run[kind];
        let k = golomb_order(if kind == 0 { a } else { a.saturating_add(n >> 1) }, n);
        let mapped = self.golomb(k, self.coder.limit - J[run_index.min(31)] - 1)?;
        let code = mapped + kind as i32;
        let odd = code & 1 == 1;
        let size = (code + i32::from(odd)) / 2;
        let error = if (k != 0 || 2 * nn >= n) == odd { -size } else { size };
        let (mut a, mut n, mut nn) = (a.saturating_add((mapped + 1 - kind as i32) >> 1), n, nn);
        if error < 0 {
            nn += 1;
        }
        if n == self.coder.reset {
            (a, n, nn) = (a >> 1, n >> 1, nn >> 1);
        }
        self.coder.run[kind] = [a, n + 1, nn];
        Ok(error)
    }

    /// Limited-length Golomb code (T.87 A.5.3).
    fn golomb(&mut self, k: u32, limit: u32) -> Result<i32, CodecError> {
        let longest = limit.saturating_sub(self.coder.qbpp + 1);
        let zeros = self.bits.zeros(longest);
        if zeros > longest {
            self.bits.check()?;
            return Err(CodecError::new("JPEG-LS: a code is longer than the limit"));
        }
        let value = if zeros < longest {
            (zeros << k).saturating_add(self.bits.bits(k))
        } else {
            self.bits.bits(self.coder.qbpp) + 1
        };
        // At most 2^16 in a valid stream; what is more would only overflow the statistics.
        if value > 1 << 17 {
            return Err(CodecError::new("JPEG-LS: an error value is too large"));
        }
        Ok(value as i32)
    }
}

/// Smallest k with `n << k >= a`.
fn golomb_order(a: i32, n: i32) -> u32 {
    let mut k = 0;
    while k < 24 && i64::from(n) << k < i64::from(a) {
        k += 1;
    }
    k
}

#[cfg(test)]
mod tests;
