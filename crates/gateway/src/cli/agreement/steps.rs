//! The steps of an agreement, one verb each.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::civil::Date;
use reqwest::Method;
use serde_json::{Value, json};

use super::{CallerArguments, Gateway, path, print, terms_for};

/// A step that is taken of an agreement.
#[derive(Subcommand)]
pub(super) enum StepVerb {
    /// Put a draft to its parties.
    Propose(StepArguments),
    /// Answer with other terms.
    Counter {
        #[command(flatten)]
        step: StepArguments,
        #[command(flatten)]
        other: OtherTerms,
        /// What you need these terms for, as "crews must not walk in on oxygen".
        #[arg(long)]
        interest: Option<String>,
    },
    /// Begin a new version of what is in force, which goes on until the new one takes its place.
    Vary {
        #[command(flatten)]
        step: StepArguments,
        #[command(flatten)]
        other: OtherTerms,
    },
    /// Say that your organisation looks at it.
    Review(StepArguments),
    /// Agree in principle, for your organisation.
    Accept(StepArguments),
    /// Leave the negotiation, for your organisation.
    Decline(StepArguments),
    /// Go on with the parties that have agreed.
    Proceed(StepArguments),
    /// Advise, as your organisation's data protection officer.
    Advise {
        #[command(flatten)]
        step: StepArguments,
        /// Whether to go on.
        #[arg(long, action = clap::ArgAction::Set)]
        favourable: bool,
    },
    /// Say whether your data protection officer's advice is followed.
    AnswerAdvice {
        #[command(flatten)]
        step: StepArguments,
        /// Whether it is.
        #[arg(long, action = clap::ArgAction::Set)]
        followed: bool,
    },
    /// Find it in order.
    Assure(StepArguments),
    /// Ask the parties to sign.
    OpenSigning(StepArguments),
    /// Ask for it to be put in force. A second person confirms it.
    Activate(StepArguments),
    /// Confirm what another person asked for: putting in force, an end, a successor.
    Confirm(StepArguments),
    /// Say no to what another person asked for, or take your own asking back.
    Reject(StepArguments),
    /// Take the proposal back.
    Withdraw(StepArguments),
    /// Switch off an agreement, a party or a flow, at once.
    Suspend {
        #[command(flatten)]
        step: StepArguments,
        #[command(flatten)]
        scope: ScopeArguments,
        /// `breach`, `lawful-basis`, `data-quality`, `obligations-not-kept`, `regulator`, `security` or `other`.
        #[arg(long)]
        reason: String,
    },
    /// Switch on again what a colleague switched off.
    Resume {
        #[command(flatten)]
        step: StepArguments,
        #[command(flatten)]
        scope: ScopeArguments,
    },
    /// Record that the parties have reviewed it.
    Reviewed {
        #[command(flatten)]
        step: StepArguments,
        /// When they do so again, as `2028-04-01`.
        #[arg(long)]
        next_on: Date,
    },
    /// Leave the agreement, for your organisation. Its flows stop at once.
    Exit(StepArguments),
    /// Ask for an organisation to take another's place, as after a merger. Another party confirms it.
    Succeed {
        #[command(flatten)]
        step: StepArguments,
        /// Whose place.
        #[arg(long)]
        of: String,
        /// Who takes it.
        #[arg(long)]
        by: String,
    },
    /// Ask for it to be ended. A second person confirms it.
    Terminate(StepArguments),
}

/// What every step has.
#[derive(Args)]
pub(super) struct StepArguments {
    #[command(flatten)]
    caller: CallerArguments,
    /// Which.
    id: String,
    /// Why, in words, which the other parties read.
    #[arg(long)]
    text: String,
    /// The `revision` that you have read: the step is refused when somebody has taken another since. Without it, it is made to
    /// whatever the agreement is now.
    #[arg(long)]
    revision: Option<i64>,
}

/// Terms beside those that there are.
#[derive(Args)]
pub(super) struct OtherTerms {
    /// The whole terms, TOML or JSON, as `concordat agreement terms` writes them.
    terms: PathBuf,
    /// `not-necessary`, `less-would-do`, `not-enough`, `no-lawful-basis`, `retention-too-long`, `risk-to-people`,
    /// `not-practicable`, `unclear`, `review-found`, `changed`, `renewal` or `other`.
    #[arg(long)]
    reason: String,
}

/// How much.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(super) struct ScopeArguments {
    /// All of it.
    #[arg(long)]
    all: bool,
    /// A party's flows.
    #[arg(long)]
    party: Option<String>,
    /// One flow.
    #[arg(long)]
    flow: Option<String>,
}

impl ScopeArguments {
    fn scope(&self) -> Value {
        match (&self.party, &self.flow) {
            (Some(party), _) => json!({ "party": party }),
            (_, Some(flow)) => json!({ "flow": flow }),
            (None, None) => json!("agreement"),
        }
    }
}

impl StepVerb {
    /// Takes the step.
    pub(super) async fn take(self) -> anyhow::Result<()> {
        // These are not held up by what somebody else does meanwhile.
        let is_free = matches!(self, Self::Suspend { .. } | Self::Advise { .. });
        let (step, mut body) = self.read()?;
        if let Some(members) = body.as_object_mut() {
            members.insert("text".to_owned(), step.text.into());
        }
        let gateway = Gateway::of(&step.caller)?;
        let tag = match step.revision {
            Some(revision) => Some(format!("\"{revision}\"")),
            None if is_free => None,
            None => gateway.send(Method::GET, &path(&step.id, ""), None, None).await?.tag,
        };
        print(&gateway.send(Method::POST, &path(&step.id, "/steps"), Some(body), tag).await?)
    }

    /// What every step has, and the rest of its body.
    fn read(self) -> anyhow::Result<(StepArguments, Value)> {
        let plain = |step: StepArguments, name: &str| Ok((step, json!({ "step": name })));
        match self {
            Self::Propose(step) => plain(step, "propose"),
            Self::Counter { step, other, interest } => {
                let terms = terms_for(&step.id, &other.terms)?;
                let mut body = json!({ "step": "counter", "terms": terms, "reason": other.reason });
                if let (Some(interest), Some(members)) = (interest, body.as_object_mut()) {
                    members.insert("interest".to_owned(), interest.into());
                }
                Ok((step, body))
            }
            Self::Vary { step, other } => {
                let terms = terms_for(&step.id, &other.terms)?;
                Ok((step, json!({ "step": "vary", "terms": terms, "reason": other.reason })))
            }
            Self::Review(step) => plain(step, "review"),
            Self::Accept(step) => plain(step, "accept"),
            Self::Decline(step) => plain(step, "decline"),
            Self::Proceed(step) => plain(step, "proceed"),
            Self::Advise { step, favourable } => {
                Ok((step, json!({ "step": "advise", "favourable": favourable })))
            }
            Self::AnswerAdvice { step, followed } => {
                Ok((step, json!({ "step": "answer-advice", "followed": followed })))
            }
            Self::Assure(step) => plain(step, "assure"),
            Self::OpenSigning(step) => plain(step, "open-signing"),
            Self::Activate(step) => plain(step, "activate"),
            Self::Confirm(step) => plain(step, "confirm"),
            Self::Reject(step) => plain(step, "reject"),
            Self::Withdraw(step) => plain(step, "withdraw"),
            Self::Suspend { step, scope, reason } => {
                Ok((step, json!({ "step": "suspend", "scope": scope.scope(), "reason": reason })))
            }
            Self::Resume { step, scope } => Ok((step, json!({ "step": "resume", "scope": scope.scope() }))),
            Self::Reviewed { step, next_on } => Ok((step, json!({ "step": "reviewed", "next_on": next_on }))),
            Self::Exit(step) => plain(step, "exit"),
            Self::Succeed { step, of, by } => Ok((step, json!({ "step": "succeed", "of": of, "by": by }))),
            Self::Terminate(step) => plain(step, "terminate"),
        }
    }
}
