//! The names of the objects that are open, so that the same name twice in one is noticed.
//!
//! All of them are in one list, which is used again from object to object. A bit for each of 64 classes of names tells
//! nearly always that a name is new. An object with many names, or with one that has escapes, gets an ordered set: a
//! list would let a sender make us compare every name with every other.

use std::{borrow::Cow, collections::BTreeSet};

use super::bytes::Print;

/// Most names of an object that are compared one by one.
const LISTED_MAX: usize = 64;

/// The names of every open object.
pub(super) struct Keys<'a> {
    document: &'a [u8],
    listed: Vec<Listed>,
    sets: Vec<BTreeSet<Cow<'a, [u8]>>>,
}

#[derive(Clone, Copy)]
struct Listed {
    print: Print,
    start: u32,
    end: u32,
}

/// The names of one object.
pub(super) struct Seen {
    from: usize,
    classes: u64,
    has_set: bool,
}

/// A name as it is written, without its quotes: `[start, end)`.
#[derive(Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) print: Print,
    /// What it stands for, where it has escapes.
    pub(super) unescaped: Option<&'a str>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(document: &'a [u8]) -> Self {
        Self { document, listed: Vec::with_capacity(LISTED_MAX), sets: Vec::new() }
    }

    #[inline]
    pub(super) fn open(&self) -> Seen {
        Seen { from: self.listed.len(), classes: 0, has_set: false }
    }

    #[inline]
    pub(super) fn close(&mut self, seen: &Seen) {
        self.listed.truncate(seen.from);
        if seen.has_set {
            self.sets.pop();
        }
    }

    /// Notes a name; whether the object did not have it yet.
    #[inline]
    pub(super) fn is_new(&mut self, seen: &mut Seen, key: &Key<'_>) -> bool {
        let count = self.listed.len() - seen.from;
        if seen.has_set || key.unescaped.is_some() || count >= LISTED_MAX {
            return self.is_new_in_set(seen, key);
        }
        let class = key.print.class();
        if seen.classes & class != 0 && self.is_listed(seen, key) {
            return false;
        }
        seen.classes |= class;
        let (start, end) = (narrow(key.start), narrow(key.end));
        self.listed.push(Listed { print: key.print, start, end });
        true
    }

    fn is_listed(&self, seen: &Seen, key: &Key<'_>) -> bool {
        let listed = self.listed.get(seen.from..).unwrap_or(&[]);
        let written = self.written(key.start, key.end);
        listed.iter().any(|one| {
            one.print == key.print
                && (key.print.is_whole() || self.written(one.start as usize, one.end as usize) == written)
        })
    }

    #[cold]
    fn is_new_in_set(&mut self, seen: &mut Seen, key: &Key<'_>) -> bool {
        if !seen.has_set {
            seen.has_set = true;
            let listed = self.listed.get(seen.from..).unwrap_or(&[]);
            let names = listed.iter().map(|one| self.written(one.start as usize, one.end as usize).into());
            self.sets.push(names.collect());
        }
        let name = match key.unescaped {
            Some(text) => Cow::Owned(text.as_bytes().to_vec()),
            None => self.written(key.start, key.end).into(),
        };
        self.sets.last_mut().is_some_and(|names| names.insert(name))
    }

    fn written(&self, start: usize, end: usize) -> &'a [u8] {
        self.document.get(start..end).unwrap_or(&[])
    }
}

impl<'a> Key<'a> {
    /// Of a name that is written as it is read.
    #[inline]
    pub(super) fn plain(document: &[u8], start: usize, end: usize) -> Self {
        Self { start, end, print: Print::of(document, start, end), unescaped: None }
    }

    /// Of a name with escapes.
    pub(super) fn escaped(start: usize, end: usize, stands_for: &'a str) -> Self {
        Self { start, end, print: Print::of_text(stands_for), unescaped: Some(stands_for) }
    }

    /// What it stands for.
    #[inline]
    pub(super) fn text<'b>(&self, document: &'b [u8]) -> &'b [u8]
    where
        'a: 'b,
    {
        match self.unescaped {
            Some(text) => text.as_bytes(),
            None => document.get(self.start..self.end).unwrap_or(&[]),
        }
    }
}

/// Offsets fit: a document of more bytes is not read.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
