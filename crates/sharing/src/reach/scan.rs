//! The pass over a document: recursive descent over bytes, bounded in depth, size and number of values.
//!
//! It refuses what [`crate::json::parse`] refuses, at the same byte and for the same reason; `tests` hold one against
//! the other. `?` on an `Option` leaves with the fault noted in the scanner, so that offsets stay in registers.

use super::{
    Automaton, Kind, Node,
    automaton::Goal,
    bytes::{Run, after_blanks, run, unescaped},
    keys::{Key, Keys},
};
use crate::json::{JsonError, JsonFault, Limits};

/// Every value that the automaton is led to, in the order of the document.
pub(super) fn scan(automaton: &Automaton, text: &str, limits: &Limits) -> Result<Vec<Node>, JsonError> {
    let mut scanner = Scanner {
        text,
        document: text.as_bytes(),
        automaton,
        nodes: Vec::with_capacity(text.len() / 32),
        keys: Keys::of(text.as_bytes()),
        values_left: limits.values_max,
        fault: JsonError { fault: JsonFault::Syntax, offset_bytes: 0 },
    };
    match scanner.whole(limits.depth_max) {
        Some(()) => Ok(scanner.nodes),
        None => Err(scanner.fault),
    }
}

struct Scanner<'a> {
    text: &'a str,
    document: &'a [u8],
    automaton: &'a Automaton,
    nodes: Vec<Node>,
    keys: Keys<'a>,
    values_left: usize,
    fault: JsonError,
}

/// A string between its quotes, `[start, end)`; the byte after the closing quote is `end + 1`.
struct Quoted {
    start: usize,
    end: usize,
    kind: Kind,
}

impl Scanner<'_> {
    #[cold]
    fn refuse<T>(&mut self, fault: JsonFault, offset_bytes: usize) -> Option<T> {
        self.fault = JsonError { fault, offset_bytes };
        None
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.document.get(at).copied()
    }

    fn whole(&mut self, depth_max: usize) -> Option<()> {
        let at = after_blanks(self.document, 0);
        let at = self.value(at, depth_max, Goal::DOCUMENT)?;
        let at = after_blanks(self.document, at);
        if at < self.document.len() { self.refuse(JsonFault::Syntax, at) } else { Some(()) }
    }

    /// Reads the value that begins here; where it ends. A scalar is read where it is, without a call.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "most values are scalars, and a call costs as much as most of them"
    )]
    fn value(&mut self, at: usize, depth_left: usize, goal: Goal) -> Option<usize> {
        let Some(values_left) = self.values_left.checked_sub(1) else {
            return self.refuse(JsonFault::TooLarge, at);
        };
        self.values_left = values_left;
        let (kind, end) = match self.byte(at) {
            Some(b'"') => {
                let Quoted { end, kind, .. } = self.string(at)?;
                (kind, end + 1)
            }
            Some(b'{') => return self.object(at, depth_left, goal),
            Some(b'[') => return self.array(at, depth_left, goal),
            Some(b'-' | b'0'..=b'9') => (Kind::Number, self.number(at)?),
            Some(b't') => (Kind::True, self.literal(at, b"true")?),
            Some(b'f') => (Kind::False, self.literal(at, b"false")?),
            Some(b'n') => (Kind::Null, self.literal(at, b"null")?),
            _ => return self.refuse(JsonFault::Syntax, at),
        };
        if goal.is_sought() {
            let after = narrow(self.nodes.len() + 1);
            self.nodes.push(Node { start: narrow(at), end: narrow(end), after, key: goal.key, kind });
        }
        Some(end)
    }

    #[inline(never)]
    fn object(&mut self, start: usize, depth_left: usize, goal: Goal) -> Option<usize> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return self.refuse(JsonFault::TooDeep, start);
        };
        let node = if goal.is_sought() { self.note(Kind::Object, start, goal) } else { 0 };
        let mut at = after_blanks(self.document, start + 1);
        if self.byte(at) == Some(b'}') {
            at += 1;
        } else {
            let mut seen = self.keys.open();
            loop {
                let name = self.string(at)?;
                let stands_for = (!name.kind.is_as_written()).then(|| self.unescaped(&name));
                let key = match &stands_for {
                    None => Key::plain(self.document, name.start, name.end),
                    Some(text) => Key::escaped(name.start, name.end, text),
                };
                if !self.keys.is_new(&mut seen, &key) {
                    return self.refuse(JsonFault::DuplicateKey, name.end + 1);
                }
                at = after_blanks(self.document, name.end + 1);
                if self.byte(at) != Some(b':') {
                    return self.refuse(JsonFault::Syntax, at);
                }
                at = after_blanks(self.document, at + 1);
                let onward = self.automaton.onward(goal, &key, self.document);
                at = after_blanks(self.document, self.value(at, depth_left, onward)?);
                match self.byte(at) {
                    Some(b',') => at = after_blanks(self.document, at + 1),
                    Some(b'}') => break,
                    _ => return self.refuse(JsonFault::Syntax, at),
                }
            }
            at += 1;
            self.keys.close(&seen);
        }
        if goal.is_sought() {
            self.ended(node, at);
        }
        Some(at)
    }

    #[inline(never)]
    fn array(&mut self, start: usize, depth_left: usize, goal: Goal) -> Option<usize> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return self.refuse(JsonFault::TooDeep, start);
        };
        let node = if goal.is_sought() { self.note(Kind::Array, start, goal) } else { 0 };
        let mut at = after_blanks(self.document, start + 1);
        if self.byte(at) == Some(b']') {
            at += 1;
        } else {
            loop {
                at = after_blanks(self.document, self.value(at, depth_left, goal.element())?);
                match self.byte(at) {
                    Some(b',') => at = after_blanks(self.document, at + 1),
                    Some(b']') => break,
                    _ => return self.refuse(JsonFault::Syntax, at),
                }
            }
            at += 1;
        }
        if goal.is_sought() {
            self.ended(node, at);
        }
        Some(at)
    }

    /// Notes that a value begins here; [`Self::ended`] says where it ends.
    #[inline]
    fn note(&mut self, kind: Kind, at: usize, goal: Goal) -> usize {
        let index = self.nodes.len();
        self.nodes.push(Node { start: narrow(at), end: 0, after: 0, key: goal.key, kind });
        index
    }

    #[inline]
    fn ended(&mut self, node: usize, at: usize) {
        let after = narrow(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(node) {
            (node.end, node.after) = (narrow(at), after);
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a call costs as much as most strings")]
    fn string(&mut self, at: usize) -> Option<Quoted> {
        if self.byte(at) != Some(b'"') {
            return self.refuse(JsonFault::Syntax, at);
        }
        let start = at + 1;
        let Run { end, is_clear } = run(self.document, start);
        if self.byte(end) == Some(b'"') {
            let kind = if is_clear { Kind::Clear } else { Kind::Plain };
            return Some(Quoted { start, end, kind });
        }
        self.rest_of_string(start, end)
    }

    /// A string that is not over at the end of its first run.
    #[inline(never)]
    fn rest_of_string(&mut self, start: usize, first_end: usize) -> Option<Quoted> {
        let (mut from, mut end) = (start, first_end);
        let mut kind = Kind::Escaped;
        loop {
            match self.byte(end) {
                Some(b'"') => return Some(Quoted { start, end, kind }),
                Some(b'\\') => {
                    from = self.escape(end + 1)?;
                    if matches!(self.byte(end + 1), Some(b'/' | b'b' | b'f' | b'u')) {
                        kind = Kind::OddlyEscaped;
                    }
                }
                Some(_) => return self.refuse(JsonFault::Syntax, end),
                None => return self.refuse(JsonFault::Syntax, from),
            }
            end = run(self.document, from).end;
        }
    }

    /// Checks what follows a backslash; where it ends.
    fn escape(&mut self, at: usize) -> Option<usize> {
        match self.byte(at) {
            None => self.refuse(JsonFault::Syntax, at),
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Some(at + 1),
            Some(b'u') => self.unicode_escape(at + 1),
            Some(_) => self.refuse(JsonFault::Syntax, at + 1),
        }
    }

    fn unicode_escape(&mut self, at: usize) -> Option<usize> {
        let (first, after) = (self.four_digits(at)?, at + 4);
        match first {
            0xDC00..0xE000 => self.refuse(JsonFault::Unicode, after),
            0xD800..0xDC00 => {
                if self.document.get(after..after + 2) != Some(br"\u") {
                    return self.refuse(JsonFault::Unicode, after);
                }
                match self.four_digits(after + 2)? {
                    0xDC00..0xE000 => Some(after + 6),
                    _ => self.refuse(JsonFault::Unicode, after + 6),
                }
            }
            _ => Some(after),
        }
    }

    fn four_digits(&mut self, at: usize) -> Option<u32> {
        let digits = self.document.get(at..at + 4).unwrap_or(&[]);
        let code = digits.iter().try_fold(0, |code, byte| Some(code * 16 + char::from(*byte).to_digit(16)?));
        match code {
            Some(code) if digits.len() == 4 => Some(code),
            _ => self.refuse(JsonFault::Syntax, at),
        }
    }

    fn unescaped(&self, name: &Quoted) -> String {
        unescaped(self.text.get(name.start..name.end).unwrap_or(""))
    }

    fn literal(&mut self, at: usize, word: &[u8]) -> Option<usize> {
        let end = at + word.len();
        if self.document.get(at..end) == Some(word) { Some(end) } else { self.refuse(JsonFault::Syntax, at) }
    }

    fn number(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        if self.byte(at) == Some(b'-') {
            at += 1;
        }
        at = if self.byte(at) == Some(b'0') { at + 1 } else { self.digits(at)? };
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        if matches!(self.byte(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(self.byte(at), Some(b'+' | b'-')) {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Some(at)
    }

    /// One digit or more; where they end.
    fn digits(&mut self, start: usize) -> Option<usize> {
        let mut at = start;
        while matches!(self.byte(at), Some(b'0'..=b'9')) {
            at += 1;
        }
        if at == start { self.refuse(JsonFault::Syntax, at) } else { Some(at) }
    }
}

/// Offsets fit: a document of more bytes is not read.
#[inline]
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
