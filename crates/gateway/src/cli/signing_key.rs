//! The key that signs the ledger's checkpoints: announced in the ledger, used beside the old one for a time, then alone.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use ledger::{entry::Body, note::NoteSigner};
use store::{Store, Submission, durable};

use super::{
    ConfigArguments,
    key_file::{fresh, write_next},
    output,
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::{self, Settings},
    serve,
};

/// For how long both keys sign at least, so that everybody who verifies has heard of the new one.
const OVERLAP_MIN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Replace the key that signs the ledger.
#[derive(Args)]
pub struct SigningKeyArguments {
    #[command(subcommand)]
    verb: SigningKeyVerb,
}

#[derive(Subcommand)]
enum SigningKeyVerb {
    /// Print the ledger's keys, past and present.
    List(ConfigArguments),
    /// Make the next key and announce it in the ledger. From then on both sign. The gateway must not be running.
    Announce(ConfigArguments),
    /// End the older key, which hands over to the newer one. The gateway must not be running.
    Retire {
        #[command(flatten)]
        config: ConfigArguments,
        /// Why.
        #[arg(long, value_enum, default_value = "scheduled")]
        reason: Reason,
    },
}

/// Why a key is retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reason {
    /// Its time is over: both have signed for 30 days.
    Scheduled,
    /// Somebody else may have it: at once. What it vouches for convinces nobody who knows that, so tell everybody the new
    /// key by another way.
    Compromised,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Compromised => "compromised",
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// What is wrong and what to do.
pub async fn run(arguments: SigningKeyArguments) -> anyhow::Result<()> {
    match arguments.verb {
        SigningKeyVerb::List(config) => list(&config::load(&config.path())?).await,
        SigningKeyVerb::Announce(config) => announce(&config::load(&config.path())?).await,
        SigningKeyVerb::Retire { config, reason } => retire(&config::load(&config.path())?, reason).await,
    }
}

async fn list(settings: &Settings) -> anyhow::Result<()> {
    for key in crate::blocks::reader(settings).await?.signing_keys().await? {
        let (seq, at_us) = key.announced;
        let since = Timestamp::from_microsecond(at_us)?;
        let until =
            key.retired.map_or_else(|| "in use".to_owned(), |(seq, _)| format!("retired by entry {seq}"));
        output::line(&format!("{}  since {since}, entry {seq}; {until}", key.public_key));
    }
    Ok(())
}

async fn announce(settings: &Settings) -> anyhow::Result<()> {
    let path = &settings.ledger.signing_key;
    let mut seeds = config::read_keys(path)?;
    anyhow::ensure!(
        seeds.len() == 1,
        "{} keys are in use already: retire the older one first, with `concordat signing-key retire`",
        seeds.len()
    );
    let store = open(settings).await?;
    seeds.push(*fresh());
    let newest = seeds.last().map(|seed| NoteSigner::from_seed(&settings.ledger.origin, seed));
    let public_key = newest.map(|signer| signer.verifier_key()).unwrap_or_default();
    // The new file is safe before the ledger needs it, and takes the old one's place after.
    let next = write_next(path, &seeds)?;
    let entry = Body::SigningKeyAnnounced { public_key: public_key.clone() };
    store.commit(Submission::of(SystemClock.now(), vec![entry])).await.context("nothing was announced")?;
    store.close().await;
    durable::put_in_place(&next, path)?;
    output::line(&format!(
        "{public_key}\nis announced, and signs beside the key before it from the next start on. Copy {} to where its backup is. Give the new key to the auditors, to the partners and to the witnesses (`--log`, beside the old one); after 30 days: `concordat signing-key retire`",
        path.display()
    ));
    Ok(())
}

async fn retire(settings: &Settings, reason: Reason) -> anyhow::Result<()> {
    let path = &settings.ledger.signing_key;
    let seeds = config::read_keys(path)?;
    let [_, staying] = seeds.as_slice() else {
        anyhow::bail!(
            "one key is in use, and it cannot go: announce the next one first, with `concordat signing-key announce`"
        );
    };
    let store = open(settings).await?;
    let keys = store.signing_keys().await?;
    let in_use: Vec<_> = keys.iter().filter(|key| key.retired.is_none()).collect();
    let [going, coming] = in_use.as_slice() else {
        anyhow::bail!("the ledger does not have two keys in use")
    };
    let since = Timestamp::from_microsecond(coming.announced.1)?;
    let now = SystemClock.now();
    anyhow::ensure!(
        reason == Reason::Compromised || now.duration_since(since) >= OVERLAP_MIN,
        "the next key was announced at {since}: both sign for 30 days, so that everybody who verifies has heard of it. If somebody else may have the old key: --reason compromised"
    );
    let handover = store.head().await?.checkpoint;
    let next = write_next(path, &[*staying])?;
    let entry = Body::SigningKeyRetired {
        public_key: going.public_key.clone(),
        reason: reason.as_str().to_owned(),
        handover,
    };
    store.commit(Submission::of(now, vec![entry])).await.context("nothing was retired")?;
    store.close().await;
    durable::put_in_place(&next, path)?;
    output::line(&format!(
        "{}\nis retired; {} holds its successor alone. Keep no copy of the old key. Witnesses need both keys until they have cosigned once more",
        going.public_key,
        path.display()
    ));
    Ok(())
}

async fn open(settings: &Settings) -> anyhow::Result<Store> {
    Ok(Store::open_alone(serve::store_settings(settings)?, SystemClock.now()).await?)
}
