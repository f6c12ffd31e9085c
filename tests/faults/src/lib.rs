//! A whole deployment of real processes, load with clients that keep an account of everything they received, faults, and a
//! checker of another make that reads both the account and the ledger (`check.py`).
//!
//! The short form of each scenario is a test; `cargo run -p faults -- --long` is the long one, and prints the table of
//! `docs/reliability.md`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a harness fails by panicking, and says what it saw"
)]

pub mod deployment;
pub mod load;
pub mod overload;
pub mod proxy;
pub mod scenarios;

pub use deployment::{Deployment, Store};
pub use scenarios::{ALL, Length, Scenario};
