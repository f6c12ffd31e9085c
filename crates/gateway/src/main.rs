//! `concordat`: see `concordat --help`.

use std::process::ExitCode;

use clap::Parser as _;
use gateway::cli::{Arguments, report, run};

/// Requests make and drop many small things on several threads (docs/benchmarks.md has what it saves).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}
