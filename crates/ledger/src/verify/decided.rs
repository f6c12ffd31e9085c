//! Which decisions were made and ended, however many they are: none twice, and none ended that was never made.
//!
//! What was told last is kept in memory, and written to scratch space in sorted runs when it is much; the runs are merged
//! at the end, so that memory does not grow with the ledger.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, Read, Seek, SeekFrom, Write},
};

use sha2::{Digest, Sha256};

/// How many are kept in memory: 8 MiB.
const KEPT: usize = if cfg!(test) { 1 << 10 } else { 1 << 18 };
/// How many of one run are read at a time: 13 KiB.
const READ: usize = 512;
const EVENT_BYTES: usize = 25;

/// Space for what does not fit into memory: a temporary file.
pub trait Scratch: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Scratch for T {}

/// Makes scratch space, once, when it is needed.
pub type MakeScratch = Box<dyn FnOnce() -> io::Result<Box<dyn Scratch>> + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// It was decided, and may be ended yet.
    Made,
    /// It was decided and has ended; the place is the decision's.
    MadeAndEnded,
    /// It was ended.
    Ended,
}

/// In the order that they are looked at: by decision, then by place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    /// The beginning of SHA-256 of the decision's identifier.
    decision: [u8; 16],
    index: u64,
    what: What,
}

#[derive(Default)]
pub(super) struct Told {
    recent: Vec<Event>,
    runs: Vec<Run>,
    scratch: Space,
}

#[derive(Default)]
enum Space {
    /// There is none: everything stays in memory.
    #[default]
    None,
    Unmade(MakeScratch),
    Made(Box<dyn Scratch>),
}

enum Run {
    InMemory(std::vec::IntoIter<Event>),
    /// Where it goes on and how many are left in the scratch space, and what was read of it.
    Written {
        at: u64,
        left: usize,
        read: std::vec::IntoIter<Event>,
    },
}

/// An entry that does not follow the rules: its place, a code, what is wrong.
pub(super) type Broken = (u64, &'static str, &'static str);

impl Told {
    pub(super) fn with_scratch(&mut self, make: MakeScratch) {
        self.scratch = Space::Unmade(make);
    }

    pub(super) fn tell(&mut self, decision_id: &str, index: u64, what: What) {
        let digest: [u8; 32] = Sha256::digest(decision_id).into();
        let mut decision = [0; 16];
        decision.iter_mut().zip(digest).for_each(|(one, other)| *one = other);
        self.recent.push(Event { decision, index, what });
        if self.recent.len() == KEPT {
            self.put_by();
        }
    }

    /// The first entry that decides what was decided before, or ends what is not open.
    pub(super) fn settle(mut self) -> io::Result<Option<Broken>> {
        self.recent.sort_unstable();
        let mut runs = self.runs;
        runs.push(Run::InMemory(self.recent.into_iter()));
        let mut scratch = match self.scratch {
            Space::Made(scratch) => Some(scratch),
            Space::None | Space::Unmade(_) => None,
        };
        let mut next = BinaryHeap::with_capacity(runs.len());
        for (place, run) in runs.iter_mut().enumerate() {
            next.extend(run.next(&mut scratch)?.map(|event| Reverse((event, place))));
        }
        let mut first: Option<Broken> = None;
        let mut last: Option<Event> = None;
        while let Some(Reverse((event, place))) = next.pop() {
            if let Some(run) = runs.get_mut(place) {
                next.extend(run.next(&mut scratch)?.map(|event| Reverse((event, place))));
            }
            let before = last.filter(|last| last.decision == event.decision).map(|last| last.what);
            last = Some(event);
            let broken = match (before, event.what) {
                (None, What::Made | What::MadeAndEnded) | (Some(What::Made), What::Ended) => continue,
                (None, What::Ended) => ("closure-without-decision", "it ends a decision that was never made"),
                (Some(What::MadeAndEnded | What::Ended), What::Ended) => {
                    ("ended-twice", "it ends a decision that has ended already")
                }
                (Some(_), What::Made | What::MadeAndEnded) => {
                    ("decided-twice", "it decides a question that was decided already")
                }
            };
            if first.is_none_or(|(index, ..)| event.index < index) {
                first = Some((event.index, broken.0, broken.1));
            }
        }
        Ok(first)
    }

    /// Writes a sorted run. What cannot be written stays in memory.
    fn put_by(&mut self) {
        self.recent.sort_unstable();
        let recent = std::mem::take(&mut self.recent);
        let scratch = match std::mem::take(&mut self.scratch) {
            Space::None => None,
            Space::Made(scratch) => Some(scratch),
            Space::Unmade(make) => make().ok(),
        };
        let written = scratch.and_then(|mut scratch| {
            let at = scratch.seek(SeekFrom::End(0)).ok()?;
            let bytes: Vec<u8> = recent.iter().flat_map(Event::bytes).collect();
            scratch.write_all(&bytes).and_then(|()| scratch.flush()).ok()?;
            self.scratch = Space::Made(scratch);
            Some(Run::Written { at, left: recent.len(), read: Vec::new().into_iter() })
        });
        match written {
            Some(run) => {
                self.runs.push(run);
                self.recent = Vec::with_capacity(KEPT);
            }
            None => self.runs.push(Run::InMemory(recent.into_iter())),
        }
    }
}

impl Run {
    fn next(&mut self, scratch: &mut Option<Box<dyn Scratch>>) -> io::Result<Option<Event>> {
        match self {
            Self::InMemory(events) => Ok(events.next()),
            Self::Written { at, left, read } => {
                if let Some(event) = read.next() {
                    return Ok(Some(event));
                }
                let Some(scratch) = scratch.as_mut().filter(|_| *left > 0) else { return Ok(None) };
                let count = READ.min(*left);
                let mut bytes = vec![0; count * EVENT_BYTES];
                scratch.seek(SeekFrom::Start(*at))?;
                scratch.read_exact(&mut bytes)?;
                *at += bytes.len() as u64;
                *left -= count;
                let events = bytes.chunks_exact(EVENT_BYTES).map(Event::read).collect::<Option<Vec<_>>>();
                *read = events.ok_or(io::ErrorKind::InvalidData)?.into_iter();
                Ok(read.next())
            }
        }
    }
}

impl Event {
    fn bytes(&self) -> [u8; EVENT_BYTES] {
        let mut bytes = [0; EVENT_BYTES];
        let all = self.decision.into_iter().chain(self.index.to_be_bytes()).chain([self.what as u8]);
        bytes.iter_mut().zip(all).for_each(|(one, other)| *one = other);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (decision, rest) = bytes.split_first_chunk()?;
        let (index, what) = rest.split_first_chunk()?;
        let what = match what {
            [0] => What::Made,
            [1] => What::MadeAndEnded,
            [2] => What::Ended,
            _ => return None,
        };
        Some(Self { decision: *decision, index: u64::from_be_bytes(*index), what })
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, sync::mpsc};

    use super::*;

    /// More than fits into memory three times over, with what `extra` says at the end.
    fn settled(extra: &[(&str, What)], scratch: Option<MakeScratch>) -> io::Result<Option<Broken>> {
        let mut told = Told::default();
        if let Some(make) = scratch {
            told.with_scratch(make);
        }
        let many = KEPT as u64 * 3 + 5;
        for index in 0..many {
            told.tell(
                &format!("dec_{index}"),
                index,
                if index % 2 == 0 { What::Made } else { What::MadeAndEnded },
            );
        }
        for ((decision, what), index) in extra.iter().zip(many..) {
            told.tell(decision, index, *what);
        }
        told.settle()
    }

    fn in_memory() -> MakeScratch {
        Box::new(|| Ok(Box::new(Cursor::new(Vec::new()))))
    }

    #[test]
    fn what_was_told_long_ago_is_known() {
        let many = KEPT as u64 * 3 + 5;
        for scratch in [true, false] {
            let code = |extra: &[(&str, What)]| {
                let broken = settled(extra, scratch.then(in_memory)).unwrap();
                broken.map(|(index, code, _)| (index - many, code))
            };
            assert_eq!(code(&[]), None);
            assert_eq!(code(&[("dec_4", What::Ended), ("dec_1000", What::Ended)]), None);
            assert_eq!(code(&[("dec_4", What::Ended), ("dec_4", What::Ended)]), Some((1, "ended-twice")));
            assert_eq!(code(&[("dec_5", What::Ended)]), Some((0, "ended-twice")));
            assert_eq!(code(&[("dec_5", What::Made)]), Some((0, "decided-twice")));
            assert_eq!(code(&[("dec_4", What::MadeAndEnded)]), Some((0, "decided-twice")));
            let first = [("dec_x", What::Made), ("dec_y", What::Ended), ("dec_1", What::Made)];
            assert_eq!(code(&first), Some((1, "closure-without-decision")), "the first of two");
        }
    }

    /// Takes everything and loses it.
    struct Lost(u64, mpsc::Sender<u64>);

    impl Read for Lost {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }

    impl Write for Lost {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            let _ = self.1.send(self.0);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Lost {
        fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
            Ok(self.0)
        }
    }

    #[test]
    fn scratch_space_that_fails_is_done_without_or_told() {
        let none: MakeScratch = Box::new(|| Err(io::ErrorKind::PermissionDenied.into()));
        let broken = settled(&[("dec_5", What::Made)], Some(none)).unwrap();
        assert_eq!(broken.map(|(_, code, _)| code), Some("decided-twice"));
        let full: MakeScratch = Box::new(|| Ok(Box::new(Cursor::new(vec![0_u8; 100].into_boxed_slice()))));
        let broken = settled(&[("dec_5", What::Made)], Some(full)).unwrap();
        assert_eq!(broken.map(|(_, code, _)| code), Some("decided-twice"));

        let (written, told) = mpsc::channel();
        let error = settled(&[], Some(Box::new(|| Ok(Box::new(Lost(0, written)))))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(told.iter().last(), Some((KEPT * 3 * EVENT_BYTES) as u64), "it was used");
    }
}
