//! `concordat migrate`: the database's schema, before a gateway is started with it.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use store::migrating::{self, Standing};

use super::{ConfigArguments, output};
use crate::config;

/// Bring the schema up to date.
#[derive(Args)]
pub struct MigrateArguments {
    #[command(subcommand)]
    verb: Option<MigrateVerb>,
    #[command(flatten)]
    config: ConfigArguments,
}

#[derive(Subcommand)]
enum MigrateVerb {
    /// Print every migration and whether the database has it. Changes nothing, also while a gateway runs.
    Status(ConfigArguments),
}

/// Runs the verb.
///
/// # Errors
/// What is not in order.
pub async fn run(arguments: &MigrateArguments) -> anyhow::Result<()> {
    let config = match &arguments.verb {
        Some(MigrateVerb::Status(config)) => config,
        None => &arguments.config,
    };
    let settings = config::load(&config.path())?;
    let database = &settings.ledger.database;
    anyhow::ensure!(
        database.file().is_none_or(std::path::Path::exists),
        "{database}: there is no database yet; the gateway makes it at its first start"
    );
    if arguments.verb.is_none() {
        let applied = migrating::migrate(database).await.with_context(|| database.to_string())?;
        output::line(&match applied {
            0 => "the schema was up to date".to_owned(),
            1 => "1 migration applied".to_owned(),
            _ => format!("{applied} migrations applied"),
        });
        return Ok(());
    }
    let migrations = migrating::status(database).await.with_context(|| database.to_string())?;
    for one in &migrations {
        let beside = match one.runs_beside {
            beside if beside < one.version => format!(" (beside programs from {beside:04} on)"),
            _ => String::new(),
        };
        output::line(&format!("{:04}  {}  {}{beside}", one.version, one.standing.as_str(), one.name));
    }
    let missing = migrations.iter().filter(|one| one.standing == Standing::Missing).count();
    anyhow::ensure!(
        migrations.iter().all(|one| one.allows_this_program),
        "a newer program has used this database: start that one, or restore a backup from before it"
    );
    if let Some(fault) = migrations.iter().find_map(|one| one.standing.fault(one.version)) {
        anyhow::bail!(fault);
    }
    anyhow::ensure!(
        missing == 0,
        "{missing} migrations are missing: `concordat migrate`, or the next start, applies them"
    );
    Ok(())
}
