//! Whether what is to be said is small enough, before it has a place.

use std::io;

use super::{Body, LEAF_BYTES_MAX};

/// Place, time, version, blind and their names take no more, whatever they are.
const AROUND: usize = 176;

struct Counted(usize);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Body {
    /// Whether an entry that says this can be written, wherever and whenever. Its canonical form is as long as what is counted here.
    pub fn fits(&self) -> bool {
        let mut counted = Counted(0);
        serde_json::to_writer(&mut counted, self).is_ok() && counted.0 <= LEAF_BYTES_MAX - AROUND
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Blind, Entry};

    #[test]
    fn what_fits_is_written_wherever_it_comes_to_stand() {
        // Characters of one to six bytes as JSON has them.
        for unit in ["o", "é", "\u{1F600}", "\n", "\u{1}", "\""] {
            let long = (1..=LEAF_BYTES_MAX).rev().step_by(7).map(|length| Body::LogOpened {
                origin: unit.repeat(length.min(LEAF_BYTES_MAX / unit.len())),
                public_key: String::new(),
            });
            let mut seen = [false; 2];
            for body in long.take(2_400) {
                let fits = body.fits();
                seen[usize::from(fits)] = true;
                let entry = Entry {
                    v: 1,
                    seq: u64::from(u32::MAX),
                    at_us: 1 << 52,
                    blind: Some(Blind::new([255; 16])),
                    body,
                };
                assert!(!fits || entry.encode().is_ok(), "{unit:?}");
            }
            assert_eq!(seen, [true, true], "{unit:?}");
        }
    }
}
