//! A whole deployment of real processes, load with clients that keep an account of everything they received, faults, and a
//! checker of another make that reads both the account and the ledger (`check.py`).
//!
//! The short form of each scenario is a test; `cargo run -p faults -- --long` is the long one, and prints the table of
//! `docs/reliability.md`. What needs a network or a file system that can be broken runs in namespaces of its own (`apart`).

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a harness fails by panicking, and says what it saw"
)]

pub mod apart;
pub mod crowds;
pub mod deployment;
pub mod held;
pub mod load;
pub mod overload;
pub mod proxy;
pub mod scenarios;
pub mod usage;

pub use deployment::{Deployment, Store};
pub use scenarios::{ALL, APART, LONG, Length, Scenario, WITH_PREVIOUS};

static PREVIOUS: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();

/// Says which program an earlier release had.
pub fn upgrade_from(program: std::path::PathBuf) {
    PREVIOUS.get_or_init(|| program);
}

/// The program of an earlier release, if it is there.
pub fn previous() -> Option<&'static std::path::Path> {
    PREVIOUS.get().map(std::path::PathBuf::as_path)
}
