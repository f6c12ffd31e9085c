//! What a process uses: memory, descriptors, threads.

use std::fs;

use serde::Serialize;

/// What a process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Memory that is resident.
    pub memory_kib: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// What a process uses now; `None` when there is none.
    pub fn of(process: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
        Some(Self {
            memory_kib: number("VmRSS:")?,
            descriptors: u64::try_from(descriptors).ok()?,
            threads: number("Threads:")?,
        })
    }

    /// The larger of each.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        Self {
            memory_kib: self.memory_kib.max(other.memory_kib),
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
        }
    }

    /// Whether it is at most a tenth more than another.
    pub fn is_within_a_tenth_of(self, other: Self) -> bool {
        let within = |this: u64, that: u64| this <= that + that / 10;
        within(self.memory_kib, other.memory_kib)
            && within(self.descriptors, other.descriptors)
            && within(self.threads, other.threads)
    }
}
