//! `concordat`: see `concordat --help`.

use clap::Parser as _;
use gateway::cli::{Arguments, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    run(Arguments::parse()).await
}
