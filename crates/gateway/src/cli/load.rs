//! `concordat load`: people and their consents in bulk, from another system's records, or made up for measuring.
//!
//! A file is read twice: first every row is checked, and nothing is loaded while one is not in order; then it is loaded in
//! portions. What was interrupted goes on where it stopped when the same is given again.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::Args;
use ledger::entry::Actor;
use sharing::{OrganisationId, Pseudonym, SubjectIdentifier};
use store::{
    ConsentRow,
    loading::{LoadRow, LoadState, LoadedRow, Loading},
};

use super::{ConfigArguments, output};
use crate::{
    clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy},
    config, policies,
    routes::consents::{Recorder, recorded},
    serve,
};

mod file;
mod generated;

use file::Source;
use generated::Generated;

/// Rows in one transaction.
const PORTION: usize = 20_000;
/// How often it says how far it has come.
const SAID_EVERY: Duration = Duration::from_secs(2);
/// Most faults of a file that are printed.
const FAULTS_MAX: usize = 100;

/// Load people and consents.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["people", "generate", "abandon"]))]
pub struct LoadArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The organisation whose records these are. It is the controller or a recipient of every consent.
    #[arg(long)]
    organisation: OrganisationId,
    /// A file of people and their consents: `.ndjson`, a line what `POST /v1/consents` takes or its `subject` alone; or
    /// `.csv`, see docs/loading.md.
    #[arg(long)]
    people: Option<PathBuf>,
    /// Check the file, and load nothing.
    #[arg(long, requires = "people")]
    check: bool,
    /// Make up so many people, for measuring, in a database that knows no others.
    #[arg(long)]
    generate: Option<u64>,
    /// Give so many of them a consent.
    #[arg(long, requires = "generate", default_value_t = 0)]
    consents: u64,
    /// Begin with this number: people with other numbers are others.
    #[arg(long, requires = "generate", default_value_t = 0)]
    from: u64,
    /// End a load that was interrupted and that nobody goes on with. The consents that it recorded are invalidated.
    #[arg(long)]
    abandon: bool,
}

/// A person, and the consent of a row.
type Row = (SubjectIdentifier, Option<Box<ConsentRow>>);

/// Runs the verb.
///
/// # Errors
/// What is wrong, row by row, and what to do.
pub async fn run(arguments: LoadArguments) -> anyhow::Result<()> {
    let settings = config::load(&arguments.config.path())?;
    let set = policies::load(&settings.policies)?;
    anyhow::ensure!(
        set.organisation(&arguments.organisation).is_some(),
        "--organisation: no file in the policies' organisations/ defines it"
    );
    let operator = config::operator();
    let by = actor(&arguments.organisation, &operator);
    let recorder = || Recorder {
        organisation: &arguments.organisation,
        human: &operator,
        set: &set,
        at: SystemClock.now(),
        entropy: &SystemEntropy,
    };
    let what = match (&arguments.people, arguments.generate) {
        (Some(path), _) => {
            let source = Source::of(path)?;
            let checked = source.check(
                &recorder(),
                FAULTS_MAX,
                settings.limits.caller.records_about_one_per_day.get().into(),
            )?;
            for fault in &checked.faults {
                output::line(fault);
            }
            anyhow::ensure!(
                checked.faults_count == 0,
                "{} of {} rows are not in order; nothing was loaded",
                checked.faults_count,
                checked.rows
            );
            anyhow::ensure!(checked.rows > 0, "{}: no rows", path.display());
            output::line(&format!("{} rows are in order, {} with a consent", checked.rows, checked.consents));
            if arguments.check {
                return Ok(());
            }
            What::File(source, checked.rows, checked.sha256)
        }
        (None, Some(people)) => {
            let organisation = &arguments.organisation;
            What::Generated(Generated::of(&set, organisation, arguments.from, people, arguments.consents)?)
        }
        (None, None) => return abandon(&settings, &by).await,
    };
    load(&settings, &what, &by, &recorder).await
}

/// What is loaded.
enum What {
    File(Source, u64, String),
    Generated(Generated),
}

impl What {
    fn count(&self) -> u64 {
        match self {
            Self::File(_, rows, _) => *rows,
            Self::Generated(generated) => generated.people(),
        }
    }

    fn sha256(&self) -> String {
        match self {
            Self::File(_, _, sha256) => sha256.clone(),
            Self::Generated(generated) => generated.sha256(),
        }
    }

    /// The rows after the first `done`.
    fn rows<'a>(
        &'a self,
        recorder: &'a Recorder<'a>,
        done: u64,
    ) -> anyhow::Result<Box<dyn Iterator<Item = anyhow::Result<Row>> + 'a>> {
        Ok(match self {
            Self::File(source, ..) => Box::new(source.rows(recorder)?.skip(usize::try_from(done)?)),
            Self::Generated(generated) => Box::new(generated.rows(recorder, done)),
        })
    }
}

async fn load<'a>(
    settings: &config::Settings,
    what: &What,
    by: &Actor,
    recorder: &impl Fn() -> Recorder<'a>,
) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let mut loading = Loading::open(serve::store_settings(settings)?, now).await?;
    let new = LoadRow {
        id: format!("lod_{:032x}", SystemEntropy.bits()),
        source_sha256: what.sha256(),
        is_generated: matches!(what, What::Generated(_)),
        state: LoadState::Unfinished,
        rows_done: 0,
        people: 0,
        consents: 0,
        began_at: now,
        ended_at: None,
    };
    let (count, done) = (what.count(), loading.begin(new, by).await?);
    if done > 0 {
        output::line(&format!("it was interrupted after {done} rows and goes on from there"));
    }
    let mut said = Said { began: Instant::now(), last: Instant::now(), first: done, count };
    let recorder = recorder();
    let mut rows = what.rows(&recorder, done)?;
    loop {
        let portion: Vec<LoadedRow> =
            rows.by_ref().take(PORTION).map(|row| row.map(loaded)).collect::<anyhow::Result<_>>()?;
        if portion.is_empty() {
            break;
        }
        let entry = |row: &ConsentRow| recorded(row, by.clone());
        let load = loading.portion(portion, entry, SystemClock.now()).await?;
        said.progress(load.rows_done);
    }
    drop(rows);
    if let What::File(source, _, sha256) = what {
        anyhow::ensure!(
            source.sha256()? == *sha256,
            "the file was changed while it was loaded; run `concordat load --abandon`, and load it again when nobody writes to it"
        );
    }
    let load = loading.complete(SystemClock.now(), by).await?;
    loading.close().await;
    output::line(&format!(
        "{} rows loaded: {} people who were not known, {} consents, in {:.0} s; load {}",
        load.rows_done,
        load.people,
        load.consents,
        said.began.elapsed().as_secs_f64(),
        load.id
    ));
    Ok(())
}

async fn abandon(settings: &config::Settings, by: &Actor) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let mut loading = Loading::open(serve::store_settings(settings)?, now).await?;
    let (load, invalidated) = loading.abandon(now, by).await?;
    loading.close().await;
    output::line(&format!(
        "load {} is abandoned: {invalidated} consents that it had recorded are invalidated; refusals stay, and so do the {} people it named",
        load.id, load.people
    ));
    Ok(())
}

fn loaded((identifier, consent): Row) -> LoadedRow {
    LoadedRow { identifier, fresh: Pseudonym::from_random(SystemEntropy.bits()), consent }
}

/// The operator of the command answers for what it records.
fn actor(organisation: &OrganisationId, operator: &str) -> Actor {
    Actor {
        organisation: organisation.to_string(),
        service: None,
        system: "concordat-load".to_owned(),
        practitioner: None,
        role: None,
        unattended_owner: Some(operator.to_owned()),
        certificate_sha256: String::new(),
    }
}

/// How far it has come, said now and then.
struct Said {
    began: Instant,
    last: Instant,
    first: u64,
    count: u64,
}

impl Said {
    #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
    fn progress(&mut self, done: u64) {
        if self.last.elapsed() < SAID_EVERY && done < self.count {
            return;
        }
        self.last = Instant::now();
        let rate = (done - self.first) as f64 / self.began.elapsed().as_secs_f64().max(0.001);
        let left = (self.count - done) as f64 / rate.max(0.001);
        output::line(&format!(
            "{done} of {} rows ({:.1} %), {rate:.0} a second, {left:.0} s left",
            self.count,
            100.0 * done as f64 / self.count.max(1) as f64
        ));
    }
}
