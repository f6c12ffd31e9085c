//! The command line. Each verb is a file here.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::{config, serve, stop, telemetry};

pub mod agreement;
pub mod alerts;
pub mod audit;
pub mod backup;
pub mod decision;
#[cfg(feature = "demo")]
pub mod demo;
mod key_file;
pub mod load;
pub mod migrate;
pub mod ndo;
mod output;
pub mod policy;
pub mod privacy;
pub mod receipt;
mod remote;
pub mod signing_key;
mod spreadsheet;
pub mod token;
pub mod witness;

use output::report;

/// Consent-aware disclosure of personal records between public services.
#[derive(Parser)]
#[command(name = "concordat", version)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the gateway.
    Serve(ConfigArguments),
    /// Check the settings, keys and policies, and say what is wrong.
    CheckConfig(ConfigArguments),
    /// Run a self-contained demonstration on loopback, with keys of its own and fictional people.
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
    /// Run a simulated record holder. The demonstration starts three.
    #[cfg(feature = "demo")]
    #[command(hide = true)]
    Simulate(demo::SimulateArguments),
    /// Check, test and print the policies.
    Policy(policy::PolicyArguments),
    /// Begin, show, compare, propose, sign, switch off and verify agreements.
    Agreement(agreement::AgreementArguments),
    /// Try out changed rules of alerts over the past.
    Alerts(alerts::AlertsArguments),
    /// Verify and export the ledger.
    Audit(audit::AuditArguments),
    /// Copy the database while the gateway runs, and check the copy.
    Backup(backup::BackupArguments),
    /// Prove what a restored database still has.
    Restore(backup::RestoreArguments),
    /// Load people and their consents in bulk, from another system's records. No gateway may be running.
    Load(load::LoadArguments),
    /// Bring the database's schema up to date, or say whether it is.
    Migrate(migrate::MigrateArguments),
    /// Check the receipts that a partner keeps.
    Receipt(receipt::ReceiptArguments),
    /// The key that signs the ledger, and its successor.
    SigningKey(signing_key::SigningKeyArguments),
    /// Cosign other organisations' ledgers.
    Witness(witness::WitnessArguments),
    /// Decide a recorded question again.
    Decision(decision::DecisionArguments),
    /// What is due to be forgotten, and keys that are replaced.
    Privacy(privacy::PrivacyArguments),
    /// Take in the answers of a national data opt-out check.
    Ndo(ndo::NdoArguments),
    /// Mint the headers of one request, for the demonstration and for trying things out.
    Token(token::TokenArguments),
    /// Print the OpenAPI document.
    Openapi,
}

#[derive(clap::Args)]
struct ConfigArguments {
    /// The settings; else `CONCORDAT_CONFIG`, else `/etc/concordat/concordat.toml`.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl ConfigArguments {
    fn path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(config::default_path)
    }
}

/// The program: reads its arguments, does what they say, and says what went wrong.
///
/// It waits here for the last future, so that all of them are compiled once, with this crate: a program or a test that polled
/// them itself would compile them again.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = match &runtime {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => Err(anyhow::anyhow!("no threads can be started: {error}")),
    };
    // Before the runtime ends, which waits for what still runs.
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Runs the program.
///
/// # Errors
/// What went wrong and what to do.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.verb {
        Verb::Serve(arguments) => {
            let settings = config::load(&arguments.path())?;
            let _telemetry = telemetry::start(&settings.telemetry)?;
            let app = serve::app(&settings).await?;
            let shutdown = CancellationToken::new();
            tokio::spawn(stop::follow_signals(shutdown.clone()));
            serve::serve(&settings, app, shutdown).await
        }
        Verb::CheckConfig(arguments) => check_config(&arguments.path()).await,
        #[cfg(feature = "demo")]
        Verb::Demo(arguments) => demo::run(arguments).await,
        #[cfg(feature = "demo")]
        Verb::Simulate(arguments) => demo::simulate(arguments).await,
        Verb::Policy(arguments) => policy::run(&arguments).await,
        Verb::Decision(arguments) => decision::run(arguments).await,
        Verb::Ndo(arguments) => ndo::run(&arguments),
        Verb::Privacy(arguments) => privacy::run(arguments).await,
        Verb::Agreement(arguments) => agreement::run(arguments).await,
        Verb::Alerts(arguments) => alerts::run(arguments).await,
        Verb::Audit(arguments) => audit::run(arguments).await,
        Verb::Backup(arguments) => backup::run(arguments).await,
        Verb::Restore(arguments) => backup::restore(arguments).await,
        Verb::Load(arguments) => load::run(arguments).await,
        Verb::Migrate(arguments) => migrate::run(&arguments).await,
        Verb::Receipt(arguments) => receipt::run(arguments).await,
        Verb::SigningKey(arguments) => signing_key::run(arguments).await,
        Verb::Witness(arguments) => witness::run(arguments).await,
        Verb::Token(arguments) => token::run(&arguments),
        Verb::Openapi => {
            output::line(&crate::routes::openapi().to_pretty_json()?);
            Ok(())
        }
    }
}

async fn check_config(path: &std::path::Path) -> anyhow::Result<()> {
    let settings = config::load(path)?;
    serve::check(&settings).await?;
    output::line("the settings, keys and policies are in order");
    Ok(())
}
