//! `concordat alerts try`: what changed rules would have raised over the past, beside those in force. Nothing is
//! raised by it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;
use ledger::entry::Entry;
use sharing::{
    PolicySet,
    alerting::{AlertRules, Event, Quiet, Watch},
    policy::PolicyFile,
};
use store::Archive;

use super::{output, policy::Period};
use crate::{
    alerts::evaluate::{BEFORE_WINDOW, events, told},
    clock::{Clock as _, SystemClock},
    config, policies,
};

/// Work on the rules of alerts.
#[derive(Args)]
pub struct AlertsArguments {
    #[command(subcommand)]
    verb: AlertsVerb,
}

#[derive(Subcommand)]
enum AlertsVerb {
    /// Hold the ledger's past against changed rules, and say how many alerts there would have been.
    Try {
        /// The changed rules: a file like those in the policies' alerts/.
        #[arg(long)]
        rules: PathBuf,
        /// Over which time, such as `30d`.
        #[arg(long, default_value = "30d")]
        over: Period,
        /// The gateway's settings; else `CONCORDAT_CONFIG`, else `/etc/concordat/concordat.toml`.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs the verb.
///
/// # Errors
/// What cannot be read.
pub async fn run(arguments: AlertsArguments) -> anyhow::Result<()> {
    let AlertsVerb::Try { rules, over, config, json } = arguments.verb;
    let settings = config::load(&config.unwrap_or_else(config::default_path))?;
    let set = policies::load(&settings.policies)?;
    let proposed = read(&rules)?;
    let archive = crate::blocks::reader(&settings).await?;
    let now = SystemClock.now();
    let from = now.checked_sub(over.duration())?;
    let in_force = tried(&archive, &set, set.alerts(), (from, now)).await?;
    let proposed_counts = tried(&archive, &set, &proposed, (from, now)).await?;
    let mut both: BTreeMap<&(String, String), (u64, u64)> = BTreeMap::new();
    for (key, count) in &in_force {
        both.entry(key).or_default().0 = *count;
    }
    for (key, count) in &proposed_counts {
        both.entry(key).or_default().1 = *count;
    }
    if json {
        let rows = both.iter().map(|((rule, organisation), (one, other))| {
            serde_json::json!({ "rule": rule, "organisation": organisation, "in_force": one, "proposed": other })
        });
        let answer = serde_json::json!({ "from": from, "until": now, "alerts": rows.collect::<Vec<_>>() });
        output::line(&serde_json::to_string_pretty(&answer)?);
        return Ok(());
    }
    output::line(&format!(
        "{:<28} {:<24} {:>10} {:>10}",
        "rule", "organisation told", "in force", "proposed"
    ));
    for ((rule, organisation), (one, other)) in both {
        output::line(&format!("{rule:<28} {organisation:<24} {one:>10} {other:>10}"));
    }
    let beyond = proposed.all().filter(|rule| !rule.watches.kind().is_in_the_ledger() && rule.enabled);
    let beyond: Vec<_> = beyond.map(|rule| rule.id.as_str()).collect();
    output::line(&format!(
        "\nnot tried, because the ledger does not hold what they compare or they are raised with a request: {}",
        beyond.join(", ")
    ));
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<AlertRules> {
    let text = config::read(path)?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let files = [PolicyFile { path: format!("alerts/{}", name.trim_end_matches(".toml")) + ".toml", text }];
    AlertRules::load(&files).map_err(|problems| policies::PoliciesError::Problems(problems).into())
}

/// How many alerts each rule would have raised with each organisation, in `[from, until)`.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn tried(
    archive: &Archive,
    set: &PolicySet,
    rules: &AlertRules,
    (from, until): (Timestamp, Timestamp),
) -> anyhow::Result<BTreeMap<(String, String), u64>> {
    let (mut watch, mut quiet) = (Watch::new(rules), Quiet::default());
    let mut counts = BTreeMap::new();
    let back = from.checked_sub(rules.longest_window() + BEFORE_WINDOW).unwrap_or(Timestamp::MIN);
    let mut next = archive.first_since(back).await?;
    loop {
        let leaves = archive.leaves(next, 1_000).await?;
        let Some(last) = leaves.last() else { return Ok(counts) };
        for leaf in &leaves {
            for event in events(&Entry::decode(&leaf.bytes).context("the ledger")?) {
                if event.at >= until {
                    return Ok(counts);
                }
                count(set, &mut watch, &mut quiet, &event, from, &mut counts);
            }
        }
        next = last.seq + 1;
    }
}

fn count(
    set: &PolicySet,
    watch: &mut Watch,
    quiet: &mut Quiet,
    event: &Event,
    from: Timestamp,
    counts: &mut BTreeMap<(String, String), u64>,
) {
    for candidate in watch.see(event) {
        if quiet.raises(&candidate) && candidate.at >= from {
            for organisation in told(set, &candidate) {
                *counts.entry((candidate.rule.clone(), organisation.to_string())).or_default() += 1;
            }
        }
    }
}
