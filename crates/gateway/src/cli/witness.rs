//! `concordat witness begin|serve`: cosigns other organisations' ledgers, so that nobody's can be rewritten unseen.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ledger::note::Cosigner;

use super::output;
use crate::{
    clock::SystemClock,
    config, stop,
    witness::{Witness, routes},
};

/// Be a witness.
#[derive(Args)]
pub struct WitnessArguments {
    #[command(subcommand)]
    verb: WitnessVerb,
}

#[derive(Subcommand)]
enum WitnessVerb {
    /// Begin a witness: write its empty state. Once in its life.
    Begin(Identity),
    /// Answer C2SP tlog-witness over HTTP, behind whatever ends TLS.
    Serve {
        #[command(flatten)]
        identity: Identity,
        /// A ledger's key, `name+hash+key`; may be repeated, for several ledgers and for the next key of one.
        #[arg(long, required = true)]
        log: Vec<String>,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:8480")]
        listen: SocketAddr,
    },
}

#[derive(Args)]
struct Identity {
    /// The witness's name, such as `witness.example.org/ledgers`.
    #[arg(long)]
    name: String,
    /// Its signing key: 64 hexadecimal digits in a file, and no other key's.
    #[arg(long)]
    key: PathBuf,
    /// Its state. A witness that loses it must be given up.
    #[arg(long)]
    state: PathBuf,
}

impl Identity {
    fn cosigner(&self) -> anyhow::Result<Cosigner> {
        Ok(Cosigner::from_seed(&self.name, &*config::read_key(&self.key)?))
    }
}

/// Runs the verb.
///
/// # Errors
/// What went wrong.
pub async fn run(arguments: WitnessArguments) -> anyhow::Result<()> {
    match arguments.verb {
        WitnessVerb::Begin(identity) => {
            let cosigner = identity.cosigner()?;
            Witness::begin(&identity.state, &cosigner)?;
            output::line(&cosigner.verifier_key());
            Ok(())
        }
        WitnessVerb::Serve { identity, log, listen } => {
            let witness = Witness::open(&identity.state, identity.cosigner()?, &log, Arc::new(SystemClock))?;
            output::line(&format!("witness {} on {listen}", witness.verifier_key()));
            let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| listen.to_string())?;
            let served = axum::serve(listener, routes(Arc::new(witness)));
            Ok(served.with_graceful_shutdown(stop::stop_signal()).await?)
        }
    }
}
