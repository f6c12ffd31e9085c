//! A strict JSON reader and writer for records that strangers send.
//!
//! Stricter than RFC 8259 asks: duplicate keys, lone surrogates, a byte order mark, and anything over the
//! [`Limits`] are refused. Numbers are kept as the text they came in, so a clinical decimal leaves as it
//! arrived. Errors give a byte offset and never a value.

use std::{collections::HashSet, fmt};

mod parse;
mod write;

pub use parse::parse;
pub(crate) use write::string as write_string;

/// Bounds on a document; reaching one refuses the whole document.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest document, in bytes.
    pub bytes_max: usize,
    /// Deepest nesting of arrays and objects.
    pub depth_max: usize,
    /// Most values (scalars, arrays and objects together) in the document.
    pub values_max: usize,
}

impl Default for Limits {
    /// 1 MiB, 32 levels, 100,000 values.
    fn default() -> Self {
        Self { bytes_max: 1 << 20, depth_max: 32, values_max: 100_000 }
    }
}

/// A JSON value. `Debug` prints its shape and never its content.
#[derive(Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, in the order it was written; keys are unique.
    Object(Vec<(String, Json)>),
}

/// Why a document was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub fault: JsonFault,
    /// Offset of the byte at which it was noticed.
    pub offset_bytes: usize,
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON.
    #[error("not valid json")]
    Syntax,
    /// Not UTF-8, or an escaped lone surrogate.
    #[error("text that is not valid unicode")]
    Unicode,
    /// An object has the same key twice.
    #[error("the same key twice in one object")]
    DuplicateKey,
    /// Deeper than the limit.
    #[error("nested too deeply")]
    TooDeep,
    /// Larger than the limit.
    #[error("too large")]
    TooLarge,
}

impl fmt::Display for JsonError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (byte {})", self.fault, self.offset_bytes)
    }
}

impl std::error::Error for JsonError {}

impl Json {
    /// The member of an object with this key.
    pub fn member(&self, key: &str) -> Option<&Json> {
        match self {
            Self::Object(members) => members.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether the value is neither an array nor an object.
    pub fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Makes a string value.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// Makes an object from pairs; the caller promises distinct keys.
    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Self {
        let unique: HashSet<&str> = members.iter().map(|(key, _)| *key).collect();
        debug_assert_eq!(unique.len(), N, "distinct keys");
        Self::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// Compact JSON text.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        write::value(self, &mut out);
        out
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => formatter.write_str("null"),
            Self::Bool(_) => formatter.write_str("bool"),
            Self::Number(_) => formatter.write_str("number"),
            Self::String(_) => formatter.write_str("string"),
            Self::Array(items) => write!(formatter, "array({})", items.len()),
            Self::Object(members) => write!(formatter, "object({})", members.len()),
        }
    }
}

#[cfg(test)]
mod tests;
