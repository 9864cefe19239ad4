//! Huffman tables (T.81 annex C and F.2.2.3).

use super::CodecError;
use super::bits::BitReader;

const FAST: u32 = 9;

/// A table, decoded by lookup of nine bits and a search for longer codes.
pub(super) struct Huffman {
    /// `length << 8 | symbol` for codes of up to nine bits, 0 for longer ones.
    fast: Vec<u16>,
    /// Exclusive upper end of the codes of each length, left-aligned to 16 bits.
    limit: [u32; 17],
    /// What to add to a code of each length to get the index of its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, CodecError> {
        let mut fast = vec![0; 1 << FAST];
        let (mut limit, mut offset) = ([0; 17], [0; 17]);
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = u32::from(counts[length as usize - 1]);
            if code + count > 1 << length {
                return Err(CodecError::new("a JPEG Huffman table has more codes than fit"));
            }
            offset[length as usize] = index as i32 - code as i32;
            for _ in 0..count {
                let symbol = symbols.get(index).copied().ok_or_else(|| CodecError::truncated("JPEG"))?;
                if length <= FAST {
                    let first = (code << (FAST - length)) as usize;
                    fast[first..first + (1 << (FAST - length))].fill((length as u16) << 8 | u16::from(symbol));
                }
                code += 1;
                index += 1;
            }
            limit[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(Self { fast, limit, offset, symbols: symbols.to_vec() })
    }

    /// The next symbol.
    #[inline]
    pub(super) fn decode(&self, reader: &mut BitReader<'_>) -> Result<u8, CodecError> {
        let window = reader.peek16();
        let entry = self.fast[window >> (16 - FAST)];
        if entry != 0 {
            reader.consume(u32::from(entry >> 8));
            return Ok(entry as u8);
        }
        for length in FAST + 1..=16 {
            if (window as u32) < self.limit[length as usize] {
                reader.consume(length);
                let index = (window >> (16 - length)) as i32 + self.offset[length as usize];
                if let Some(&symbol) = usize::try_from(index).ok().and_then(|index| self.symbols.get(index)) {
                    return Ok(symbol);
                }
                break;
            }
        }
        reader.check()?;
        Err(CodecError::new("a code in the JPEG codestream is in no Huffman table"))
    }
}
