//! Deciding again what was decided before: as things were then, as they are now, or as a proposal would have it.
//!
//! It reads the archive alone and releases nothing. A record's own facts are not kept, so the first decision of a
//! question is what is decided again; what the record led to is read from the ledger.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::Timestamp;
use ledger::entry::{Body, Decided, Entry};
use serde::Serialize;
use sharing::{
    Decision, PolicySet, Pseudonym, Question, SubjectIdentifier, SubjectScheme, SubjectState,
    decide::{Asked, decide},
    explain::about_agreement,
    policy::{MANAGED, PolicyFile},
    subject::OptOut,
};
use store::{Archive, StoredLeaf};

use crate::caller::Named;

/// A decision, as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// `permit`, `deny` or `refer`.
    pub decision: &'static str,
    /// The reasons.
    pub reasons: Vec<String>,
    /// The items permitted, as `item:form`.
    pub items: Vec<String>,
    /// The agreement, grant or emergency that it rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
}

/// A question that the ledger records.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Its place in the ledger.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// What was decided, with what it rests on.
    pub decided: Decided,
    /// How it was decided.
    pub outcome: Outcome,
}

impl Recorded {
    /// Reads a leaf; `None` when it decides no question.
    pub fn read(leaf: &StoredLeaf) -> Option<Self> {
        let entry = Entry::decode(&leaf.bytes).ok()?;
        let (decision, decided) = match entry.body {
            Body::Intent(decided) => ("permit", *decided),
            Body::Refusal(decided) => ("deny", *decided),
            Body::Referral(decided) => ("refer", *decided),
            _ => return None,
        };
        let reference = decided.agreement.as_ref();
        let by_agreement = reference
            .map(|reference| format!("{}/{} v{}", reference.agreement, reference.flow, reference.version));
        let permitted = decision == "permit";
        let outcome = Outcome {
            decision,
            reasons: decided.reasons.clone(),
            items: decided.permitted.clone(),
            under: by_agreement
                .or_else(|| decided.grant.clone())
                .or_else(|| decided.break_glass.clone())
                .filter(|_| permitted),
        };
        Some(Self { seq: entry.seq, at: Timestamp::from_microsecond(entry.at_us).ok()?, decided, outcome })
    }

    /// The question, as far as the ledger keeps it. The person is a stand-in of the same kind of identifier: who
    /// it was bears on a decision through what was held about them alone.
    fn question(&self) -> anyhow::Result<Question> {
        let decided = &self.decided;
        let scheme: SubjectScheme = decided.identifier_scheme.parse()?;
        let stand_in = match &scheme {
            SubjectScheme::NhsNumber => "9000000009",
            SubjectScheme::Local(_) => "REPLAY",
        };
        let items: Result<Vec<_>, _> = decided.asked.iter().map(|item| item.parse()).collect();
        let within: Result<Vec<_>, _> = decided.within.iter().map(|agreement| agreement.parse()).collect();
        let within = within?;
        Ok(Question {
            recipient: decided.recipient.parse()?,
            role: match &decided.by.unattended_owner {
                Some(_) => Named::UNATTENDED.to_owned(),
                None => decided.by.role.clone().unwrap_or_default(),
            },
            practitioner: decided.by.practitioner.clone(),
            break_glass: decided.break_glass.as_ref().map(|id| id.parse()).transpose()?,
            provider: decided.provider.parse()?,
            purpose: decided.purpose.parse()?,
            subject: SubjectIdentifier::parse(scheme, stand_in)?,
            asked: if decided.asked.is_empty() { Asked::AllAgreed } else { Asked::Items(items?) },
            list_people: decided.list.as_ref().map(|list| list.people),
            agreements: (!within.is_empty()).then_some(within),
        })
    }

    /// What the opt-out check had said. Checks are not kept, but what followed from one is.
    fn opt_out(&self) -> OptOut {
        if self.decided.trace.iter().any(|step| step == "opt-out=pass") {
            OptOut::Clear
        } else if self.decided.reasons.iter().any(|reason| reason == "opted-out") {
            OptOut::OptedOut
        } else {
            OptOut::NotChecked
        }
    }

    async fn state(&self, archive: &Archive, as_of: Timestamp) -> anyhow::Result<SubjectState> {
        let name: Pseudonym = self.decided.subject.parse()?;
        let mut state = archive.subject_state_as_of(&[name], as_of).await?;
        state.opt_out = self.opt_out();
        Ok(state)
    }
}

fn outcome(decision: &Decision) -> Outcome {
    let codes =
        |reasons: &[sharing::Reason]| reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
    match decision {
        Decision::Permit(permit) => Outcome {
            decision: "permit",
            reasons: Vec::new(),
            items: permit.items().iter().map(ToString::to_string).collect(),
            under: Some(match permit.authority() {
                sharing::decide::Authority::Agreement(reference) => {
                    format!("{}/{} v{}", reference.agreement, reference.flow, reference.version)
                }
                sharing::decide::Authority::Grant(id) => id.to_string(),
                sharing::decide::Authority::Emergency(id) => id.to_string(),
            }),
        },
        Decision::Deny(denial) => {
            Outcome { decision: "deny", reasons: codes(&denial.reasons), items: Vec::new(), under: None }
        }
        Decision::Refer(referral) => {
            Outcome { decision: "refer", reasons: codes(&referral.reasons), items: Vec::new(), under: None }
        }
    }
}

/// A policy set out of the archive.
///
/// # Errors
/// When it was not kept, or this version cannot read it.
pub async fn policies_of(archive: &Archive, revision: i64) -> anyhow::Result<PolicySet> {
    let text = archive.policy_files(revision).await?.with_context(|| {
        format!("the files of policy set {revision} were not kept; it came into force before they were")
    })?;
    let files: Vec<PolicyFile> = serde_json::from_str(&text).context("the archive's policy files")?;
    PolicySet::load(&files).map_err(|problems| {
        let said: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("policy set {revision} cannot be read by this version: {}", said.join("; "))
    })
}

/// A proposed folder as a whole policy set: with the agreements that are managed over the API, as they are in force.
///
/// # Errors
/// When nothing is in force, or the proposal is not in order.
pub async fn proposed(archive: &Archive, mut files: Vec<PolicyFile>) -> anyhow::Result<PolicySet> {
    let current = archive.policy_revision().await?.context("no policy set is in force")?;
    let in_force = policies_of(archive, current).await?;
    files.extend(in_force.files().iter().filter(|file| file.path.starts_with(MANAGED)).cloned());
    Ok(PolicySet::load(&files).map_err(crate::policies::PoliciesError::Problems)?)
}

/// A question decided three times: as recorded, again as things were, and now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// The decision.
    pub decision_id: String,
    /// When it was made.
    pub at: String,
    /// The policy set it was made under.
    pub policy_revision: u64,
    /// As the ledger records it.
    pub recorded: Outcome,
    /// Decided again with the policies and what was held then.
    pub again: Outcome,
    /// How it ended, as the ledger records it.
    pub ended: String,
    /// Decided with today's policies and what is held today.
    pub today: Outcome,
    /// Why today's answer differs; empty where it does not.
    pub differences: Vec<String>,
}

impl Replay {
    /// Whether deciding again gave what the ledger records.
    pub fn agrees(&self) -> bool {
        self.recorded.decision == self.again.decision
            && self.recorded.reasons == self.again.reasons
            && self.recorded.items == self.again.items
    }
}

/// Decides a recorded question again.
///
/// # Errors
/// When there is no such decision, or it cannot be decided again.
pub async fn replay(archive: &Archive, decision_id: &str, now: Timestamp) -> anyhow::Result<Replay> {
    let leaves = archive.decision(decision_id).await?;
    let recorded = leaves
        .iter()
        .find_map(Recorded::read)
        .context("the ledger has no decision of this name; check the id in the receipt")?;
    let question = recorded.question()?;
    let then = policies_of(archive, i64::try_from(recorded.decided.policy_revision)?).await?;
    let held_then = recorded.state(archive, recorded.at).await?;
    let current = archive.policy_revision().await?.context("no policy set is in force")?;
    let now_set = policies_of(archive, current).await?;
    let held_now = recorded.state(archive, now).await?;
    let again = decide(&question, &then, &held_then, recorded.at);
    let today = decide(&question, &now_set, &held_now, now);
    let differences = differences(&question, (&then, &held_then, recorded.at), (&now_set, &held_now, now));
    let ended = leaves.iter().rev().find_map(|leaf| match Entry::decode(&leaf.bytes).ok()?.body {
        Body::Release { items, .. } => Some(format!("released {}", items.join(", "))),
        Body::Closure { outcome, reasons, .. } => {
            Some(format!("{outcome} {}", reasons.join(", ")).trim().to_owned())
        }
        _ => None,
    });
    Ok(Replay {
        decision_id: decision_id.to_owned(),
        at: recorded.at.to_string(),
        policy_revision: recorded.decided.policy_revision,
        recorded: recorded.outcome.clone(),
        again: outcome(&again),
        ended: ended.unwrap_or_else(|| "without a further entry".to_owned()),
        today: outcome(&today),
        differences,
    })
}

type Setting<'a> = (&'a PolicySet, &'a SubjectState, Timestamp);

/// Changes one thing at a time from then to now, and says which of them change the answer.
fn differences(question: &Question, then: Setting<'_>, now: Setting<'_>) -> Vec<String> {
    let before = outcome(&decide(question, then.0, then.1, then.2));
    let after = outcome(&decide(question, now.0, now.1, now.2));
    if before == after {
        return Vec::new();
    }
    let one_at_a_time = [
        ("the policies have changed", (now.0, then.1, then.2)),
        ("what is held about the person has changed", (then.0, now.1, then.2)),
        ("time has passed: dates, consents or exceptions have begun or ended", (then.0, then.1, now.2)),
    ];
    let mut told: Vec<_> = one_at_a_time
        .into_iter()
        .filter(|(_, setting)| outcome(&decide(question, setting.0, setting.1, setting.2)) != before)
        .map(|(why, _)| why.to_owned())
        .collect();
    if told.is_empty() {
        told.push("several things have changed together".to_owned());
    }
    told
}

/// What a proposal would have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Simulation {
    /// From when.
    pub from: String,
    /// Until when.
    pub until: String,
    /// Questions decided again.
    pub questions: u64,
    /// Questions that cannot be decided again, such as ones about a record holder that is no more.
    pub not_replayable: u64,
    /// Decisions with the policies in force: `permit`, `deny`, `refer`; for the parties `no_record`, too.
    pub in_force: BTreeMap<&'static str, u64>,
    /// Decisions under the proposal.
    pub proposed: BTreeMap<&'static str, u64>,
    /// Each kind of change.
    pub changes: Vec<ChangeOf>,
    /// How often each item would be permitted: with the policies in force, and under the proposal.
    pub items: BTreeMap<String, (u64, u64)>,
}

/// A change in how some questions are decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeOf {
    /// The organisation that asks.
    pub recipient: String,
    /// The record holder.
    pub provider: String,
    /// For what.
    pub purpose: String,
    /// How it is decided with the policies in force.
    pub from: String,
    /// How it would be.
    pub to: String,
    /// How many questions.
    pub questions: u64,
    /// About how many people.
    pub people: u64,
    /// The decisions, at most 20 of them.
    pub examples: Vec<String>,
}

/// Decides past questions again under the policies in force and under a proposal, as things were held then.
///
/// # Errors
/// When the archive cannot be read.
pub async fn simulate(
    archive: &Archive,
    proposed: &PolicySet,
    period: (Timestamp, Timestamp),
) -> anyhow::Result<Simulation> {
    let all: (usize, &(dyn Fn(&Decided) -> bool + Sync)) = (usize::MAX, &|_| true);
    let simulated = simulate_some(archive, proposed, period, all, For::Operators).await;
    simulated.map(|(simulation, _)| simulation)
}

/// Whom counts are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Whoever runs the gateway: as it is decided.
    Operators,
    /// The parties, who asked: as it was told, so that what they were not told is not in the counts. A question that gave no
    /// record is decided for a stand-in about whom nothing is held; where it was, or would be, answered as if nobody were known, it
    /// counts as `no_record`.
    Parties,
}

/// How a question ended, as far as whoever asked was told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Answered,
    /// Refused because of the agreement, or left to a person.
    ByAgreement,
    /// No record was available, or the record holder gave no answer.
    Nothing,
}

impl Told {
    async fn of(archive: &Archive, recorded: &Recorded) -> anyhow::Result<Self> {
        let mut told = match recorded.outcome.decision {
            "refer" => Self::ByAgreement,
            _ if about_agreement(&recorded.outcome.reasons).next().is_some() => Self::ByAgreement,
            _ => Self::Nothing,
        };
        for leaf in archive.decision(&recorded.decided.decision_id).await? {
            match Entry::decode(&leaf.bytes)?.body {
                Body::Release { .. } => told = Self::Answered,
                Body::Closure { outcome, .. } if outcome == "decision_only" => told = Self::Answered,
                Body::Closure { reasons, .. } if about_agreement(&reasons).next().is_some() => {
                    told = Self::ByAgreement;
                }
                _ => {}
            }
        }
        Ok(told)
    }

    /// What a decision counts as.
    fn counted(self, outcome: &Outcome) -> &'static str {
        match outcome.decision {
            "permit" if self == Self::Nothing => NO_RECORD,
            "deny" if about_agreement(&outcome.reasons).next().is_none() => NO_RECORD,
            decision => decision,
        }
    }
}

/// Somebody about whom nothing is held, for whom the same people have allowed and declared the same.
fn stand_in(state: SubjectState) -> SubjectState {
    SubjectState {
        relationships: state.relationships,
        grants: state.grants,
        emergencies: state.emergencies,
        opt_out: OptOut::Clear,
        ..SubjectState::default()
    }
}

/// What is counted where a question is answered as if nobody were known.
pub const NO_RECORD: &str = "no_record";

/// As [`simulate`], of the newest questions of a kind, at most so many. Says whether there were more.
///
/// # Errors
/// When the archive cannot be read.
pub async fn simulate_some(
    archive: &Archive,
    proposed: &PolicySet,
    (from, until): (Timestamp, Timestamp),
    (most, wanted): (usize, &(dyn Fn(&Decided) -> bool + Sync)),
    whom: For,
) -> anyhow::Result<(Simulation, bool)> {
    let current = archive.policy_revision().await?.context("no policy set is in force")?;
    let in_force = policies_of(archive, current).await?;
    let proposed = proposed.clone().in_shadow(&in_force);
    let mut simulation =
        Simulation { from: from.to_string(), until: until.to_string(), ..Simulation::default() };
    let mut changes: BTreeMap<[String; 5], (u64, BTreeSet<String>, Vec<String>)> = BTreeMap::new();
    let leaves = archive.questions(from, until).await?;
    let questions = leaves.iter().rev().filter_map(Recorded::read).filter(|known| wanted(&known.decided));
    let mut questions: Vec<_> = questions.take(most.saturating_add(1)).collect();
    let truncated = questions.len() > most;
    questions.truncate(most);
    for recorded in questions.into_iter().rev() {
        let Ok(question) = recorded.question() else {
            simulation.not_replayable += 1;
            continue;
        };
        let mut state = recorded.state(archive, recorded.at).await?;
        let told = match whom {
            For::Operators => None,
            For::Parties => Some(Told::of(archive, &recorded).await?),
        };
        if told.is_some_and(|told| told != Told::Answered) {
            state = stand_in(state);
        }
        let one = outcome(&decide(&question, &in_force, &state, recorded.at));
        let other = outcome(&decide(&question, &proposed, &state, recorded.at));
        let counted = |one: &Outcome| told.map_or(one.decision, |told| told.counted(one));
        simulation.questions += 1;
        *simulation.in_force.entry(counted(&one)).or_default() += 1;
        *simulation.proposed.entry(counted(&other)).or_default() += 1;
        if counted(&one) == "permit" {
            for item in &one.items {
                simulation.items.entry(item.clone()).or_default().0 += 1;
            }
        }
        if counted(&other) == "permit" {
            for item in &other.items {
                simulation.items.entry(item.clone()).or_default().1 += 1;
            }
        }
        if (one.decision, &one.reasons, &one.items) == (other.decision, &other.reasons, &other.items) {
            continue;
        }
        let decided = recorded.decided;
        let key = [decided.recipient, decided.provider, decided.purpose, in_words(&one), in_words(&other)];
        let change = changes.entry(key).or_default();
        change.0 += 1;
        change.1.insert(decided.subject);
        if change.2.len() < 20 {
            change.2.push(decided.decision_id);
        }
    }
    simulation.changes = changes
        .into_iter()
        .map(|([recipient, provider, purpose, from, to], (questions, people, examples))| ChangeOf {
            recipient,
            provider,
            purpose,
            from,
            to,
            questions,
            people: people.len() as u64,
            examples,
        })
        .collect();
    Ok((simulation, truncated))
}

fn in_words(outcome: &Outcome) -> String {
    match outcome.decision {
        "permit" => format!("permit {}", outcome.items.join(", ")),
        decision => format!("{decision} ({})", outcome.reasons.join(", ")),
    }
}

/// How often flows and items were used.
///
/// # Errors
/// When the archive cannot be read.
pub async fn usage(
    archive: &Archive,
    from: Timestamp,
    until: Timestamp,
) -> anyhow::Result<sharing::lint::Usage> {
    let mut usage = sharing::lint::Usage {
        days: u32::try_from(until.duration_since(from).as_hours() / 24).unwrap_or(u32::MAX),
        ..sharing::lint::Usage::default()
    };
    for leaf in archive.questions(from, until).await? {
        let Some(recorded) = Recorded::read(&leaf) else { continue };
        let Some(reference) = &recorded.decided.agreement else { continue };
        let flow = format!("{}/{}", reference.agreement, reference.flow);
        for leaf in archive.decision(&recorded.decided.decision_id).await? {
            let Some(Body::Release { items, .. }) = Entry::decode(&leaf.bytes).ok().map(|entry| entry.body)
            else {
                continue;
            };
            *usage.releases.entry(flow.clone()).or_default() += 1;
            for item in items {
                *usage.items.entry((flow.clone(), item)).or_default() += 1;
            }
        }
    }
    Ok(usage)
}
