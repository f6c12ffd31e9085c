//! Text as bytes, several at a time: where a string's plain run ends, where blanks end, what tells names apart quickly.

use wide::u8x16;

use crate::json::{JsonError, JsonFault};

const BLANKS: u64 = 0x0101_0101_0101_0101 * b' ' as u64;
const QUOTE: u8x16 = u8x16::new([b'"'; 16]);
const BACKSLASH: u8x16 = u8x16::new([b'\\'; 16]);
const LAST_CONTROL: u8x16 = u8x16::new([0x1f; 16]);
const DELETE: u8x16 = u8x16::new([0x7f; 16]);

/// The whole document as text.
pub(super) fn as_text(document: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(document)
        .map_err(|error| JsonError { fault: JsonFault::Unicode, offset_bytes: error.valid_up_to() })
}

/// Characters that stand for themselves, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Where it ends: at a quote, a backslash or a control character, or at the end of the document.
    pub(super) end: usize,
    /// Whether all of it is ASCII that is seen: none is a delete, and none is beyond.
    pub(super) is_clear: bool,
}

/// The run that begins here. Most are short.
#[inline]
pub(super) fn run(document: &[u8], from: usize) -> Run {
    match look(document, from) {
        Some((0, unclear)) => run_on(document, from + 16, unclear == 0),
        Some((marks, unclear)) => ends(from, marks, unclear, true),
        None => run_on(document, from, true),
    }
}

/// Which of the next sixteen bytes end a run, and which are not clear, a bit for each; `None` where there are fewer.
#[inline]
fn look(document: &[u8], at: usize) -> Option<(u32, u32)> {
    let bytes = u8x16::new(*document.get(at..)?.first_chunk()?);
    let is_control = bytes.simd_eq(bytes.min(LAST_CONTROL));
    let marks = bytes.simd_eq(QUOTE) | bytes.simd_eq(BACKSLASH) | is_control;
    let unclear = bytes.simd_eq(bytes.max(DELETE));
    Some((marks.to_bitmask(), unclear.to_bitmask()))
}

/// A run that ends among these bytes.
#[inline]
fn ends(at: usize, marks: u32, unclear: u32, is_clear: bool) -> Run {
    let before = marks & marks.wrapping_neg();
    Run {
        end: at + marks.trailing_zeros() as usize,
        is_clear: is_clear && unclear & before.wrapping_sub(1) == 0,
    }
}

#[inline(never)]
fn run_on(document: &[u8], from: usize, was_clear: bool) -> Run {
    let (mut at, mut is_clear) = (from, was_clear);
    while let Some((marks, unclear)) = look(document, at) {
        if marks != 0 {
            return ends(at, marks, unclear, is_clear);
        }
        is_clear &= unclear == 0;
        at += 16;
    }
    while let Some(byte) = document.get(at).filter(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)) {
        is_clear &= *byte < 0x7f;
        at += 1;
    }
    Run { end: at, is_clear }
}

/// Where blanks end.
#[inline]
pub(super) fn after_blanks(document: &[u8], from: usize) -> usize {
    match document.get(from) {
        Some(b' ' | b'\t' | b'\n' | b'\r') => after_more_blanks(document, from + 1),
        _ => from,
    }
}

fn after_more_blanks(document: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        while word(document, at) == Some(BLANKS) {
            at += 8;
        }
        match document.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r') => at += 1,
            _ => return at,
        }
    }
}

#[inline]
fn word(document: &[u8], at: usize) -> Option<u64> {
    document.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk))
}

/// What tells names apart: the first and the last eight bytes, and how many there are. It is all of a name of up to sixteen
/// bytes; longer names may be made to share it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    first: u64,
    last: u64,
    length: usize,
}

impl Print {
    /// Of the bytes `[start, end)`.
    #[inline]
    pub(super) fn of(document: &[u8], start: usize, end: usize) -> Self {
        let length = end.saturating_sub(start);
        if length >= 8 {
            let first = word(document, start).unwrap_or(0);
            return Self { first, last: word(document, end - 8).unwrap_or(0), length };
        }
        let first = word(document, start).unwrap_or_else(|| last_word(document, start));
        Self { first: first & !(u64::MAX << (8 * length)), last: 0, length }
    }

    /// Of a name.
    pub(super) fn of_text(name: &str) -> Self {
        Self::of(name.as_bytes(), 0, name.len())
    }

    /// Whether names with this print are the same name.
    #[inline]
    pub(super) fn is_whole(self) -> bool {
        self.length <= 16
    }

    /// The bit of one of 64 classes of names.
    #[inline]
    pub(super) fn class(self) -> u64 {
        let mixed = self.first ^ self.last.rotate_left(29) ^ self.length as u64;
        1 << (mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 58)
    }
}

/// A word that the document ends in.
fn last_word(document: &[u8], start: usize) -> u64 {
    let rest = document.get(start..).unwrap_or(&[]);
    rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

/// What a string stands for. It has been read once, so its escapes are whole; what is not would be left out.
pub(super) fn unescaped(written: &str) -> String {
    let mut out = String::with_capacity(written.len());
    let mut rest = written;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut letters = escape.chars();
        let letter = letters.next();
        rest = letters.as_str();
        out.extend(match letter {
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('u') => {
                let (character, after) = unicode(rest);
                rest = after;
                character
            }
            other => other,
        });
    }
    out.push_str(rest);
    out
}

/// The character of four digits, or of two times four with `\u` between them, and what comes after.
fn unicode(rest: &str) -> (Option<char>, &str) {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let after = rest.get(4..).unwrap_or("");
    let Some(first) = unit(rest) else { return (None, after) };
    if let (0xD800..0xDC00, Some(second)) = (first, after.strip_prefix("\\u").and_then(unit)) {
        let code = 0x1_0000 + ((first - 0xD800) << 10) + (second.wrapping_sub(0xDC00) & 0x3FF);
        return (char::from_u32(code), after.get(6..).unwrap_or(""));
    }
    (char::from_u32(first), after)
}
