//! What the catalogue's selectors reach in a record holder's answer, found in one pass over its bytes.
//!
//! [`Automaton`] is every place of one record holder's file, compiled when the file is loaded. [`Reached::read`] goes
//! over the document once: all of it is checked as strictly as [`crate::json::parse`] does, but only what some place
//! leads to is noted, as ranges of the text in one list. No tree is made, and nothing is allocated for a member.
//! [`crate::minimise`] then works on [`Place`]s, which can name nothing that no selector leads to.

use std::borrow::Cow;

use crate::json::{JsonError, JsonFault, Limits, write_string};

mod automaton;
mod bytes;
mod keys;
mod plan;
mod scan;

pub(crate) use automaton::{
    Automaton, FhirNames, KeyId, Path, Period, ReachedItem, ReachedMark, ReachedSign, Step,
};
pub(crate) use plan::{Finds, Plan};

/// A document that was read, with the places in it that were reached. `Debug` prints none of it.
pub(crate) struct Reached {
    text: Box<str>,
    nodes: Vec<Node>,
}

/// What was reached: a value, whose own reached members or elements follow it in the list.
#[derive(Clone, Copy)]
struct Node {
    /// The bytes that it was written as, `[start, end)`.
    start: u32,
    end: u32,
    /// Where the list goes on after its members or elements.
    after: u32,
    /// The member's name; none for an element, or for the document itself.
    key: KeyId,
    kind: Kind,
}

/// What kind of value a place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    False,
    True,
    Number,
    /// A string that was written as it is read, of ASCII that is seen.
    Clear,
    /// Any other string that was written as it is read.
    Plain,
    /// A string with escapes in it, each written as we write it.
    Escaped,
    /// A string with escapes that we write otherwise.
    OddlyEscaped,
    Array,
    Object,
}

impl Kind {
    /// Whether it is a string that was written as it is read.
    #[inline]
    pub(crate) fn is_as_written(self) -> bool {
        matches!(self, Self::Clear | Self::Plain)
    }
}

/// A value that was reached.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    reached: &'a Reached,
    index: u32,
    node: Node,
}

impl Reached {
    /// Reads a whole document.
    ///
    /// # Errors
    /// The same as [`crate::json::parse`]: the document is refused whole.
    pub(crate) fn read(automaton: &Automaton, document: &[u8], limits: &Limits) -> Result<Self, JsonError> {
        // Offsets are kept in 32 bits.
        let bytes_max = limits.bytes_max.min(u32::MAX as usize);
        if document.len() > bytes_max {
            return Err(JsonError { fault: JsonFault::TooLarge, offset_bytes: limits.bytes_max });
        }
        let text = bytes::as_text(document)?;
        let nodes = scan::scan(automaton, text, limits)?;
        Ok(Self { text: text.into(), nodes })
    }

    /// How long the document is, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.text.len()
    }

    /// Whether a member of one of these names was reached that says anything.
    pub(crate) fn has_any(&self, names: &[KeyId]) -> bool {
        self.nodes.iter().any(|node| names.contains(&node.key) && node.kind != Kind::Null)
    }

    /// The value at this place of the list.
    pub(crate) fn place(&self, index: u32) -> Option<Place<'_>> {
        let node = *self.nodes.get(index as usize)?;
        Some(Place { reached: self, index, node })
    }
}

/// How a scalar is written: as it was, or in place of that this text.
pub(crate) enum Leaving {
    AsWritten,
    As(String),
}

impl<'a> Place<'a> {
    /// Where it is in the list: no two values of a document share one.
    pub(crate) fn index(self) -> u32 {
        self.index
    }

    pub(crate) fn kind(self) -> Kind {
        self.node.kind
    }

    /// The name under which it is a member of what it is in.
    pub(crate) fn key(self) -> KeyId {
        self.node.key
    }

    /// Neither an array nor an object.
    pub(crate) fn is_scalar(self) -> bool {
        !matches!(self.node.kind, Kind::Array | Kind::Object)
    }

    /// The members of an object that were reached, or the elements of an array, all of which are.
    pub(crate) fn children(self) -> Places<'a> {
        Places { reached: self.reached, next: self.index.saturating_add(1), end: self.node.after }
    }

    /// The elements of an array, or the value itself.
    pub(crate) fn elements(self) -> Places<'a> {
        match self.node.kind {
            Kind::Array => self.children(),
            _ => Places { reached: self.reached, next: self.index, end: self.node.after },
        }
    }

    /// The member of an object with this name.
    pub(crate) fn member(self, key: KeyId) -> Option<Place<'a>> {
        match self.node.kind {
            Kind::Object if key.is_known() => self.children().find(|child| child.node.key == key),
            _ => None,
        }
    }

    /// As [`Self::member`], where it says anything.
    pub(crate) fn said(self, key: KeyId) -> Option<Place<'a>> {
        self.member(key).filter(|member| member.kind() != Kind::Null)
    }

    /// The text of a string.
    pub(crate) fn as_text(self) -> Option<Cow<'a, str>> {
        match self.node.kind {
            Kind::Clear | Kind::Plain => Some(Cow::Borrowed(self.inside())),
            Kind::Escaped | Kind::OddlyEscaped => Some(Cow::Owned(bytes::unescaped(self.inside()))),
            _ => None,
        }
    }

    /// Whether it is the string with this text.
    pub(crate) fn is_text(self, text: &str) -> bool {
        match self.node.kind {
            Kind::Clear | Kind::Plain => self.inside() == text,
            Kind::Escaped | Kind::OddlyEscaped => bytes::unescaped(self.inside()) == text,
            _ => false,
        }
    }

    /// A number, as it was written.
    pub(crate) fn number(self) -> Option<&'a str> {
        (self.node.kind == Kind::Number).then(|| self.written())
    }

    /// Writes a scalar that may leave, or an array of such that is not empty; anything else is not written. An object here
    /// was not expected, so it stays; `null` says nothing by itself.
    pub(crate) fn write_plain(self, leaves: impl Fn(Place<'a>) -> Option<Leaving>, out: &mut String) -> bool {
        match self.node.kind {
            Kind::Null | Kind::Object => false,
            Kind::Array => {
                let start = out.len();
                for element in self.children() {
                    let leaving = element.is_scalar().then(|| leaves(element)).flatten();
                    let Some(leaving) = leaving else {
                        out.truncate(start);
                        return false;
                    };
                    out.push(if out.len() == start { '[' } else { ',' });
                    element.write_leaving(&leaving, out);
                }
                let is_empty = out.len() == start;
                if !is_empty {
                    out.push(']');
                }
                !is_empty
            }
            _ => {
                let leaving = leaves(self);
                leaving.iter().for_each(|leaving| self.write_leaving(leaving, out));
                leaving.is_some()
            }
        }
    }

    fn write_leaving(self, leaving: &Leaving, out: &mut String) {
        match leaving {
            Leaving::AsWritten => self.write_scalar(out),
            Leaving::As(text) => write_string(text, out),
        }
    }

    /// Writes a scalar as [`crate::json::Json::to_text`] does; of anything else, nothing.
    pub(crate) fn write_scalar(self, out: &mut String) {
        match self.node.kind {
            Kind::Array | Kind::Object => {}
            Kind::OddlyEscaped => write_string(&bytes::unescaped(self.inside()), out),
            _ => out.push_str(self.written()),
        }
    }

    /// As it was written.
    fn written(self) -> &'a str {
        self.reached.text.get(self.node.start as usize..self.node.end as usize).unwrap_or("")
    }

    /// A string without its quotes, with the escapes that it has.
    pub(crate) fn inside(self) -> &'a str {
        let (start, end) = (self.node.start as usize, self.node.end as usize);
        self.reached.text.get(start.saturating_add(1)..end.saturating_sub(1)).unwrap_or("")
    }
}

/// Places side by side.
pub(crate) struct Places<'a> {
    reached: &'a Reached,
    next: u32,
    end: u32,
}

impl<'a> Iterator for Places<'a> {
    type Item = Place<'a>;

    fn next(&mut self) -> Option<Place<'a>> {
        if self.next >= self.end {
            return None;
        }
        let place = self.reached.place(self.next)?;
        self.next = place.node.after;
        Some(place)
    }
}

#[cfg(test)]
mod tests;
