//! `concordat`: see `concordat --help`.

use std::process::ExitCode;

/// What takes memory and gives it back, for what is written in C too (ADR 34).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    gateway::cli::main()
}
