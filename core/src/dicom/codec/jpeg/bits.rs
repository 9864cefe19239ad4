//! Bits of entropy-coded segments, with stuffing and restart markers (T.81 B.1.1.5, F.2.2.5).

use super::CodecError;

/// Reads bits from the high end; zeros follow the end of the segment, and are counted.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, left-aligned.
    window: u64,
    available: u32,
    /// Bits that were made up behind the end of the segment.
    invented: u64,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, window: 0, available: 0, invented: 0 }
    }

    /// Where the next marker is looked for.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether the end was reached, or bits behind it were looked at.
    pub(super) fn touched_end(&self) -> bool {
        self.invented > 0 || self.at + 1 >= self.bytes.len()
    }

    fn fill(&mut self) {
        while self.available <= 56 {
            let byte = match self.bytes.get(self.at) {
                Some(0xFF) => match self.bytes.get(self.at + 1) {
                    Some(0) => {
                        self.at += 2;
                        Some(0xFF)
                    }
                    Some(0xFF) => {
                        self.at += 1;
                        continue;
                    }
                    _ => None,
                },
                Some(&byte) => {
                    self.at += 1;
                    Some(byte)
                }
                None => None,
            };
            match byte {
                Some(byte) => self.window |= u64::from(byte) << (56 - self.available),
                None => self.invented += 8,
            }
            self.available += 8;
        }
    }

    /// The next 16 bits, not consumed.
    pub(super) fn peek16(&mut self) -> usize {
        if self.available < 16 {
            self.fill();
        }
        (self.window >> 48) as usize
    }

    /// Consumes `count` bits (at most 16), peeked before.
    pub(super) fn consume(&mut self, count: u32) {
        self.window <<= count;
        self.available = self.available.saturating_sub(count);
    }

    /// The next `count` bits (at most 16).
    pub(super) fn bits(&mut self, count: u32) -> i32 {
        if count == 0 {
            return 0;
        }
        let value = self.peek16() >> (16 - count);
        self.consume(count);
        value as i32
    }

    /// `count` bits as a difference or coefficient (T.81 F.2.2.1, EXTEND).
    pub(super) fn extend(&mut self, count: u32) -> i32 {
        if count == 0 {
            return 0;
        }
        let value = self.bits(count);
        if value < 1 << (count - 1) { value - (1 << count) + 1 } else { value }
    }

    /// Error once bits behind the end were consumed: the segment is cut.
    pub(super) fn check(&self) -> Result<(), CodecError> {
        if self.invented > u64::from(self.available) { Err(CodecError::truncated("JPEG")) } else { Ok(()) }
    }

    /// Drops the rest of the byte and steps over the restart marker.
    pub(super) fn restart(&mut self) -> Result<(), CodecError> {
        self.check()?;
        (self.window, self.available, self.invented) = (0, 0, 0);
        while let Some(pair) = self.bytes.get(self.at..self.at + 2) {
            match *pair {
                [0xFF, 0xD0..=0xD7] => {
                    self.at += 2;
                    return Ok(());
                }
                [0xFF, 0 | 0xFF] => self.at += 1,
                [0xFF, _] => break,
                _ => self.at += 1,
            }
        }
        Err(CodecError::new("a JPEG restart marker is missing"))
    }
}
