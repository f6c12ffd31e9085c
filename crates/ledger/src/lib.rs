//! The audit ledger: a transparency log that anyone holding it can verify without trusting its keeper.
//!
//! Leaves ([`entry`]), the tree over them ([`tree`]), signed checkpoints ([`checkpoint`], [`note`]), tiles
//! ([`tile`]), proof files ([`proof`]), what a witness answers ([`witness`]), the verifier ([`verify`]) and export
//! formats ([`export`]). No I/O of its own, no clock, no randomness, and no
//! dependency on anything that serves.

pub mod canonical;
pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod note;
pub mod people;
pub mod proof;
pub mod tile;
pub mod trail;
pub mod tree;
pub mod verify;
pub mod witness;
