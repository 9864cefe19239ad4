//! Specific Character Set (0008,0005) to Unicode, with ISO 2022 code extensions (PS3.3 C.12.1.1.2, PS3.5 chapter 6).

use encoding_rs::{self as enc, Encoding};

/// What a byte half (G0 or G1) currently means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Ascii,
    Latin1,
    /// One byte a character, upper half.
    Single(&'static Encoding),
    /// Two bytes a character.
    Jis0208,
    Jis0212,
    Korean,
    Chinese,
}

/// The character set of one data set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CharacterSet {
    /// A multi-byte encoding without escapes (UTF-8, GB18030, GBK).
    whole: Option<&'static Encoding>,
    /// The upper half at the start and after each delimiter; `None` where the file names none.
    upper: Option<Set>,
}

impl CharacterSet {
    /// From the values of Specific Character Set, as stored (ASCII).
    pub(super) fn from_terms(value: &[u8]) -> Self {
        let text = String::from_utf8_lossy(value);
        let first = text.split('\\').map(normal).next().unwrap_or_default();
        let whole = match first.as_str() {
            "ISOIR192" | "UTF8" => Some(enc::UTF_8),
            "GB18030" => Some(enc::GB18030),
            "GBK" => Some(enc::GBK),
            _ => None,
        };
        let upper = match first.strip_prefix("ISO2022IR").or_else(|| first.strip_prefix("ISOIR")) {
            Some("100") => Some(Set::Latin1),
            Some("101") => Some(Set::Single(enc::ISO_8859_2)),
            Some("109") => Some(Set::Single(enc::ISO_8859_3)),
            Some("110") => Some(Set::Single(enc::ISO_8859_4)),
            Some("144") => Some(Set::Single(enc::ISO_8859_5)),
            Some("127") => Some(Set::Single(enc::ISO_8859_6)),
            Some("126") => Some(Set::Single(enc::ISO_8859_7)),
            Some("138") => Some(Set::Single(enc::ISO_8859_8)),
            Some("148") => Some(Set::Single(enc::WINDOWS_1254)),
            Some("203") => Some(Set::Single(enc::ISO_8859_15)),
            Some("166") => Some(Set::Single(enc::WINDOWS_874)),
            Some("13") => Some(Set::Single(enc::SHIFT_JIS)),
            Some("149") => Some(Set::Korean),
            Some("58") => Some(Set::Chinese),
            _ => None,
        };
        Self { whole, upper }
    }

    /// Decodes a value of a text VR; never fails, what cannot be read becomes U+FFFD.
    pub(super) fn decode(&self, bytes: &[u8]) -> String {
        if let Some(encoding) = self.whole {
            return encoding.decode_without_bom_handling(bytes).0.into_owned();
        }
        if bytes.is_ascii() && !bytes.contains(&0x1B) {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        if self.upper.is_none() && !bytes.contains(&0x1B) {
            // No set named, yet bytes beyond ASCII: UTF-8 proves itself, else Latin-1 is the usual sin.
            return std::str::from_utf8(bytes)
                .map_or_else(|_| enc::mem::decode_latin1(bytes).into_owned(), ToOwned::to_owned);
        }
        self.decode_extended(bytes)
    }

    fn decode_extended(&self, bytes: &[u8]) -> String {
        let first = self.upper.unwrap_or(Set::Latin1);
        let (mut lower, mut upper) = (Set::Ascii, first);
        let mut out = String::with_capacity(bytes.len());
        let mut pos = 0;
        while let Some(&byte) = bytes.get(pos) {
            if byte == 0x1B
                && let Some((length, is_upper, set)) = escape(bytes.get(pos + 1..).unwrap_or(&[]))
            {
                if is_upper {
                    upper = set;
                } else {
                    lower = set;
                }
                pos += 1 + length;
                continue;
            }
            let set = if byte < 0x80 { lower } else { upper };
            let delimiter = matches!(byte, b'\\' | b'^' | b'=' | b'\r' | b'\n' | 0x0C | b'\t');
            if byte < 0x20 || (delimiter && lower == Set::Ascii) {
                if delimiter {
                    (lower, upper) = (Set::Ascii, first);
                }
                out.push(char::from(byte));
                pos += 1;
                continue;
            }
            let high = |at: usize| bytes.get(at).map_or(0, |b| b | 0x80);
            let (length, text) = match set {
                Set::Ascii | Set::Latin1 => (1, String::from(char::from(byte))),
                Set::Single(encoding) => (1, decode(encoding, &[byte])),
                Set::Jis0208 => (2, decode(enc::EUC_JP, &[high(pos), high(pos + 1)])),
                Set::Jis0212 => (2, decode(enc::EUC_JP, &[0x8F, high(pos), high(pos + 1)])),
                Set::Korean => (2, decode(enc::EUC_KR, &[high(pos), high(pos + 1)])),
                Set::Chinese => (2, decode(enc::GBK, &[high(pos), high(pos + 1)])),
            };
            out.push_str(&text);
            pos += length;
        }
        out
    }
}

fn decode(encoding: &'static Encoding, bytes: &[u8]) -> String {
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

fn normal(term: &str) -> String {
    term.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_uppercase()).collect()
}

/// An ISO 2022 escape after its ESC: bytes used, whether it sets the upper half, and the set.
fn escape(rest: &[u8]) -> Option<(usize, bool, Set)> {
    let found = match rest {
        [b'(', b'B', ..] => (2, false, Set::Ascii),
        // JIS X 0201 romaji differs from ASCII in two glyphs only.
        [b'(', b'J', ..] => (2, false, Set::Ascii),
        [b')', b'I', ..] => (2, true, Set::Single(enc::SHIFT_JIS)),
        [b'$', b'B' | b'@', ..] => (2, false, Set::Jis0208),
        [b'$', b'(', b'D', ..] => (3, false, Set::Jis0212),
        [b'$', b')', b'C', ..] => (3, true, Set::Korean),
        [b'$', b')', b'A', ..] => (3, true, Set::Chinese),
        [b'-', b'A', ..] => (2, true, Set::Latin1),
        [b'-', b'B', ..] => (2, true, Set::Single(enc::ISO_8859_2)),
        [b'-', b'C', ..] => (2, true, Set::Single(enc::ISO_8859_3)),
        [b'-', b'D', ..] => (2, true, Set::Single(enc::ISO_8859_4)),
        [b'-', b'L', ..] => (2, true, Set::Single(enc::ISO_8859_5)),
        [b'-', b'G', ..] => (2, true, Set::Single(enc::ISO_8859_6)),
        [b'-', b'F', ..] => (2, true, Set::Single(enc::ISO_8859_7)),
        [b'-', b'H', ..] => (2, true, Set::Single(enc::ISO_8859_8)),
        [b'-', b'M', ..] => (2, true, Set::Single(enc::WINDOWS_1254)),
        [b'-', b'b', ..] => (2, true, Set::Single(enc::ISO_8859_15)),
        [b'-', b'T', ..] => (2, true, Set::Single(enc::WINDOWS_874)),
        _ => return None,
    };
    Some(found)
}

/// A Person Name (PS3.5 6.2.1) for people: `Family, Given Middle`; the ideographic group where there is no other.
pub(super) fn person_name(value: &str) -> String {
    let group = value.split('=').map(one_line).find(|group| !group.replace('^', "").trim().is_empty());
    let Some(group) = group else { return String::new() };
    let mut parts = group.split('^').map(str::trim);
    let family = parts.next().unwrap_or_default().to_owned();
    let given = parts.take(2).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    match (family.is_empty(), given.is_empty()) {
        (false, false) => format!("{family}, {given}"),
        (true, false) => given,
        _ => family,
    }
}

/// `text` without control characters, and trimmed: fit for one line on a screen.
pub(super) fn one_line(text: &str) -> String {
    let bidirectional =
        |c: char| matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{200E}' | '\u{200F}');
    let clean: String = text.chars().map(|c| if c.is_control() || bidirectional(c) { ' ' } else { c }).collect();
    clean.split_whitespace().collect::<Vec<_>>().join(" ")
}
