//! What is due to be forgotten, and keys that are replaced.

use anyhow::Context as _;
use clap::Subcommand;
use ledger::entry::Body;
use store::{Change, Store, Submission, durable, privacy::Scope};

use super::{
    ConfigArguments,
    key_file::{fresh, write_next},
    output,
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::{self, Settings},
    opt_outs, policies, retention, serve,
};

/// Forgetting and keys.
#[derive(clap::Args)]
pub struct PrivacyArguments {
    #[command(subcommand)]
    verb: PrivacyVerb,
}

#[derive(Subcommand)]
enum PrivacyVerb {
    /// Print what the retention schedule lets go now. The gateway forgets it by the hour.
    Due(ConfigArguments),
    /// Replace the key by which people are looked up. The gateway must not be running.
    ReplaceLookupKey(ConfigArguments),
    /// Replace the key that wraps people's keys. The gateway must not be running.
    ReplaceWrappingKey(ConfigArguments),
}

/// Runs the verb.
///
/// # Errors
/// What is wrong and what to do.
pub async fn run(arguments: PrivacyArguments) -> anyhow::Result<()> {
    match arguments.verb {
        PrivacyVerb::Due(arguments) => due(&config::load(&arguments.path())?).await,
        PrivacyVerb::ReplaceLookupKey(arguments) => replace_lookup(&config::load(&arguments.path())?).await,
        PrivacyVerb::ReplaceWrappingKey(arguments) => {
            replace_wrapping(&config::load(&arguments.path())?).await
        }
    }
}

async fn due(settings: &Settings) -> anyhow::Result<()> {
    let set = policies::load(&settings.policies)?;
    let Some(schedule) = set.retention() else {
        output::line("the policies have no retention.toml, so nothing is ever forgotten");
        return Ok(());
    };
    let archive = crate::blocks::reader(settings).await?;
    let cutoffs = retention::cutoffs(schedule, &SystemClock);
    let what = archive.forgettable(&cutoffs, &Scope::default()).await?;
    let counts = [
        what.consents.len(),
        what.objections.len() + what.rights.len(),
        what.exceptions.len(),
        what.referrals.len(),
        what.alerts.len(),
        what.people.len(),
    ];
    for ((name, keep), count) in schedule.all().into_iter().zip(counts) {
        let more = if count >= usize::try_from(store::privacy::FORGET_MAX)? { " or more" } else { "" };
        output::line(&format!("{name}: {count}{more} kept {} years or longer ({})", keep.years, keep.why));
    }
    Ok(())
}

async fn replace_lookup(settings: &Settings) -> anyhow::Result<()> {
    let path = &settings.ledger.lookup_key;
    let batches = opt_outs::waiting(&opt_outs::folder(&settings.ledger.beside()))?;
    if let Some(batch) = batches.first() {
        anyhow::bail!(
            "a national data opt-out check waits that was hashed with the key of now ({}): start the gateway until it is taken in, or delete the file and import the check again afterwards; nothing was replaced",
            batch.display()
        );
    }
    let mut keys = config::read_keys(path)?;
    let store = open(settings).await?;
    let key = fresh();
    let identifiers = store.identifiers().await?;
    keys.push(*key);
    // The new file is safe before the database needs it, and takes the old one's place after.
    let next = write_next(path, &keys)?;
    let mut submission = Submission::of(SystemClock.now(), vec![Body::LookupKeyReplaced { identifiers }]);
    submission.changes.push(Change::ReplaceLookupKey(store.next_lookup_key(*key)));
    store.commit(submission).await.context("nothing was replaced")?;
    let overwritten = store.scrub().await?;
    store.close().await;
    durable::put_in_place(&next, path)?;
    output::line(&format!(
        "{identifiers} identifiers are looked up by a new key; {} holds it on top of those before. Copy the file to where its backup is",
        path.display()
    ));
    say(overwritten);
    Ok(())
}

async fn replace_wrapping(settings: &Settings) -> anyhow::Result<()> {
    let path = &settings.ledger.wrapping_key;
    let mut keys = config::read_keys(path)?;
    let key = fresh();
    keys.push(*key);
    // Both keys are in the file while people's keys move from one to the other.
    durable::put_in_place(&write_next(path, &keys)?, path)?;
    let store = open(settings).await?;
    let count = store.keys_to_rewrap().await?;
    let mut submission = Submission::of(SystemClock.now(), vec![Body::WrappingKeyReplaced { keys: count }]);
    submission.changes.push(Change::RewrapKeys);
    store.commit(submission).await.context("the old key and the new one are both in use")?;
    let overwritten = store.scrub().await?;
    store.close().await;
    durable::put_in_place(&write_next(path, &[*key])?, path)?;
    output::line(&format!(
        "{count} people's keys are wrapped with a new key; {} holds it alone. Backups of the database from before need the old one",
        path.display()
    ));
    say(overwritten);
    Ok(())
}

/// Whoever reads the database file holds up its log.
fn say(overwritten: bool) {
    if !overwritten {
        output::line(
            "what was replaced is in the database's log until whoever reads it has ended: start the gateway then",
        );
    }
}

async fn open(settings: &Settings) -> anyhow::Result<Store> {
    Ok(Store::open_alone(serve::store_settings(settings)?, SystemClock.now()).await?)
}
