//! How far a long piece of work has come, for people.

use std::io::{IsTerminal as _, Write as _, stderr};

/// One line on standard error that says how far it is, where that is a terminal.
pub struct Progress {
    shown: bool,
    percent: Option<u64>,
}

impl Progress {
    /// Shown unless it is to be quiet.
    pub fn new(quiet: bool) -> Self {
        Self { shown: !quiet && stderr().is_terminal(), percent: None }
    }

    /// Says that so many of so many are done, `entries` or whatever they are.
    pub fn show(&mut self, done: u64, all: u64, what: &str) {
        let percent = (done.saturating_mul(100) / all.max(1)).min(100);
        if !self.shown || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let filled = usize::try_from(percent / 4).unwrap_or(0);
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(25_usize.saturating_sub(filled)));
        // A terminal that went away is no reason to stop.
        let _ = write!(stderr(), "\r[{bar}] {percent:>3}%  {done} of {all} {what}");
    }

    /// Takes the line away.
    pub fn clear(&self) {
        if self.percent.is_some() {
            let _ = write!(stderr(), "\r{:70}\r", "");
        }
    }
}
