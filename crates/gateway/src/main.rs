//! `concordat`: see `concordat --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gateway::cli::main()
}
