//! `concordat`: see `concordat --help`.

use std::process::ExitCode;

use clap::Parser as _;
use gateway::cli::{Arguments, report, run};

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
