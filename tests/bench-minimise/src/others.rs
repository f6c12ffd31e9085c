//! The same places taken out of the same document with other readers: parse, walk, write what is kept.
//!
//! They are treated kindly: none is made to refuse the same name twice or deep nesting, to find whom the record is about,
//! or to say which items were there.

use std::io::Write as _;

use serde_json::Value;
use sharing::{Provider, catalogue::DataItem, selector::Step};
use simd_json::prelude::{TypedScalarValue as _, ValueAsScalar as _};
use sonic_rs::{JsonContainerTrait as _, JsonValueTrait as _};

/// A value of some reader's.
pub trait Tree: Copy {
    /// The member of an object with this name.
    fn member(self, name: &str) -> Option<Self>;
    /// Shows each element of an array, or the value itself.
    fn elements(self, show: &mut dyn FnMut(Self));
    /// Whether it is this text.
    fn is_text(self, text: &str) -> bool;
    /// Writes a scalar; nothing of anything else.
    fn write(self, out: &mut Vec<u8>) -> bool;
    /// Whether it is an array.
    fn is_list(self) -> bool;
}

/// Every item as one object, keyed by its name.
pub fn cut(provider: &Provider, root: impl Tree) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    for item in &provider.items {
        let before = out.len();
        let _ = write!(out, "{}\"{}\":", if before == 0 { "{" } else { "," }, item.id.get_ref());
        let start = out.len();
        walk(root, item.select.steps(), &mut |place| take(item, place, start, &mut out));
        if out.len() == start {
            out.truncate(before);
        } else if item.many {
            out.push(b']');
        }
    }
    out.push(b'}');
    out
}

fn take<T: Tree>(item: &DataItem, place: T, start: usize, out: &mut Vec<u8>) {
    let end = out.len();
    if end > start && !item.many {
        return;
    }
    if item.many {
        out.push(if end == start { b'[' } else { b',' });
    }
    let value = out.len();
    if item.fields.is_empty() {
        plain(place, out);
    } else {
        for field in &item.fields {
            let Some(member) = place.member(field) else { continue };
            let before = out.len();
            let _ = write!(out, "{}\"{field}\":", if before == value { '{' } else { ',' });
            if !plain(member, out) {
                out.truncate(before);
            }
        }
        if out.len() > value {
            out.push(b'}');
        }
    }
    if out.len() == value {
        out.truncate(end);
    }
}

fn plain<T: Tree>(value: T, out: &mut Vec<u8>) -> bool {
    if !value.is_list() {
        return value.write(out);
    }
    let start = out.len();
    value.elements(&mut |element| {
        out.push(if out.len() == start { b'[' } else { b',' });
        element.write(out);
    });
    out.push(b']');
    true
}

fn walk<T: Tree>(from: T, steps: &[Step], found: &mut dyn FnMut(T)) {
    let Some((step, rest)) = steps.split_first() else { return found(from) };
    let Some(member) = from.member(&step.key) else { return };
    member.elements(&mut |place| {
        let admits =
            |(name, text): &(String, String)| place.member(name).is_some_and(|one| one.is_text(text));
        if step.filters.iter().all(admits) {
            walk(place, rest, found);
        }
    });
}

impl Tree for &Value {
    fn member(self, name: &str) -> Option<Self> {
        self.get(name)
    }

    fn elements(self, show: &mut dyn FnMut(Self)) {
        match self {
            Value::Array(elements) => elements.iter().for_each(show),
            other => show(other),
        }
    }

    fn is_text(self, text: &str) -> bool {
        self.as_str() == Some(text)
    }

    fn write(self, out: &mut Vec<u8>) -> bool {
        !(self.is_object() || self.is_array()) && serde_json::to_writer(out, self).is_ok()
    }

    fn is_list(self) -> bool {
        self.is_array()
    }
}

impl Tree for &sonic_rs::Value {
    fn member(self, name: &str) -> Option<Self> {
        self.get(name)
    }

    fn elements(self, show: &mut dyn FnMut(Self)) {
        match self.as_array() {
            Some(elements) => elements.iter().for_each(show),
            None => show(self),
        }
    }

    fn is_text(self, text: &str) -> bool {
        self.as_str() == Some(text)
    }

    fn write(self, out: &mut Vec<u8>) -> bool {
        !(self.is_object() || self.is_array()) && sonic_rs::to_writer(out, self).is_ok()
    }

    fn is_list(self) -> bool {
        self.is_array()
    }
}

impl Tree for simd_json::tape::Value<'_, '_> {
    fn member(self, name: &str) -> Option<Self> {
        self.as_object()?.get(name)
    }

    fn elements(self, show: &mut dyn FnMut(Self)) {
        match self.as_array() {
            Some(elements) => elements.iter().for_each(show),
            None => show(self),
        }
    }

    fn is_text(self, text: &str) -> bool {
        self.as_str() == Some(text)
    }

    fn write(self, out: &mut Vec<u8>) -> bool {
        if let Some(text) = self.as_str() {
            serde_json::to_writer(out, text).is_ok()
        } else if let Some(number) = self.as_i64() {
            write!(out, "{number}").is_ok()
        } else if let Some(number) = self.as_f64() {
            serde_json::to_writer(out, &number).is_ok()
        } else if let Some(answer) = self.as_bool() {
            write!(out, "{answer}").is_ok()
        } else {
            self.is_null() && write!(out, "null").is_ok()
        }
    }

    fn is_list(self) -> bool {
        self.as_array().is_some()
    }
}
