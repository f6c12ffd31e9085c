//! What is said of an agreement: comments on clauses, and disputes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::Date;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{CallerArguments, Gateway, path, print, read, terms_for};

/// Something about a clause.
#[derive(Subcommand)]
pub(super) enum CommentVerb {
    /// List the comments, with what was said to each.
    List {
        #[command(flatten)]
        caller: CallerArguments,
        /// Of which agreement.
        id: String,
    },
    /// Comment on a clause.
    Make {
        #[command(flatten)]
        caller: CallerArguments,
        /// On which agreement.
        id: String,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        said: Said,
        /// Why, as a code: see `concordat agreement counter --help`.
        #[arg(long)]
        reason: Option<String>,
        /// The organisation that has to answer.
        #[arg(long)]
        owner: Option<String>,
        /// The person of it, where that is known.
        #[arg(long, requires = "owner")]
        owner_person: Option<String>,
        /// By when, as `2026-12-18`.
        #[arg(long)]
        due_on: Option<Date>,
        /// Signing waits until it is resolved.
        #[arg(long, requires = "owner")]
        blocking: bool,
    },
    /// Answer one.
    Reply {
        #[command(flatten)]
        of: OfComment,
        #[command(flatten)]
        said: Said,
    },
    /// Be content with the answer to yours.
    Resolve {
        #[command(flatten)]
        of: OfComment,
        /// Why, in words.
        #[arg(long)]
        text: String,
    },
    /// Take one up again.
    Reopen {
        #[command(flatten)]
        of: OfComment,
        /// Why, in words.
        #[arg(long)]
        text: String,
    },
}

/// A comment that there is.
#[derive(Args)]
pub(super) struct OfComment {
    #[command(flatten)]
    caller: CallerArguments,
    /// Of which agreement.
    id: String,
    /// Which.
    comment: String,
}

/// What parties do not agree about.
#[derive(Subcommand)]
pub(super) enum DisputeVerb {
    /// List the disputes, with what was said in each.
    List {
        #[command(flatten)]
        caller: CallerArguments,
        /// Of which agreement.
        id: String,
    },
    /// Begin one. It stops nothing.
    Begin {
        #[command(flatten)]
        caller: CallerArguments,
        /// Of which agreement.
        id: String,
        #[command(flatten)]
        about: About,
        #[command(flatten)]
        said: Said,
        /// A party that it is with. Once for each.
        #[arg(long, required = true)]
        with: Vec<String>,
        /// Why, as a code: see `concordat agreement counter --help`.
        #[arg(long)]
        reason: String,
    },
    /// Take a step of one.
    Take {
        #[command(flatten)]
        caller: CallerArguments,
        /// Of which agreement.
        id: String,
        /// Which.
        dispute: String,
        /// What to do.
        step: DisputeStep,
        /// What to say, or why. `release-mediator`, `escalate`, `settle`, `withdraw`, `comment`, `propose-terms` and `confirm-text` need it.
        #[arg(long)]
        text: Option<String>,
        /// For `settle`: `terms-stand`, `terms-change`, `practice-changes` or `part-ways`.
        #[arg(long, required_if_eq("step", "settle"))]
        outcome: Option<String>,
        /// For `propose-terms`: the whole terms, TOML or JSON.
        #[arg(long, required_if_eq("step", "propose-terms"))]
        terms: Option<PathBuf>,
    },
    /// List what was published of disputes, without a name in it.
    Precedents {
        #[command(flatten)]
        caller: CallerArguments,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum DisputeStep {
    /// Say something.
    Comment,
    /// Put terms on the table. They bind nobody.
    ProposeTerms,
    /// Offer to mediate.
    Mediate,
    /// Agree to a mediator who is of a party's organisation.
    AcceptMediator,
    /// Go on without whoever mediates, or offers to.
    ReleaseMediator,
    /// Take it to the next level.
    Escalate,
    /// Put an outcome on the table.
    Settle,
    /// Agree to it.
    AcceptOutcome,
    /// Take it back.
    Withdraw,
    /// Confirm the text that is to be published.
    ConfirmText,
    /// Agree to publish it.
    Publish,
}

/// What it is about.
#[derive(Args)]
pub(super) struct About {
    /// The version.
    #[arg(long)]
    version: u32,
    /// Where in its terms: a JSON pointer (RFC 6901), as `/flows/0/items/1`. Without it, the whole.
    #[arg(long, default_value = "")]
    clause: String,
}

/// What is said.
#[derive(Args)]
pub(super) struct Said {
    /// What to say.
    #[arg(long)]
    text: String,
    /// What you want in its place.
    #[arg(long)]
    position: Option<String>,
    /// What is behind it: what you need.
    #[arg(long)]
    interest: Option<String>,
}

impl Said {
    fn members(self) -> Map<String, Value> {
        members([("text", Some(self.text)), ("position", self.position), ("interest", self.interest)])
    }
}

/// Those that there are.
fn members<const N: usize>(named: [(&str, Option<String>); N]) -> Map<String, Value> {
    named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

impl About {
    fn add_to(self, body: &mut Map<String, Value>) {
        body.insert("version".to_owned(), self.version.into());
        body.insert("clause".to_owned(), self.clause.into());
    }
}

impl CommentVerb {
    /// Does it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { caller, id } => read(&caller, &path(&id, "/comments")).await,
            Self::Make { caller, id, about, said, reason, owner, owner_person, due_on, blocking } => {
                let mut body = said.members();
                about.add_to(&mut body);
                body.extend(members([("reason", reason), ("due_on", due_on.map(|day| day.to_string()))]));
                let owner = owner.map(|owner| {
                    Value::Object(members([("organisation", Some(owner)), ("person", owner_person)]))
                });
                body.extend(owner.map(|owner| ("owner".to_owned(), owner)));
                body.insert("blocking".to_owned(), blocking.into());
                send(&caller, &path(&id, "/comments"), body, None).await
            }
            Self::Reply { of, said } => of.step("reply", said.members()).await,
            Self::Resolve { of, text } => of.step("resolve", members([("text", Some(text))])).await,
            Self::Reopen { of, text } => of.step("reopen", members([("text", Some(text))])).await,
        }
    }
}

impl OfComment {
    async fn step(&self, name: &str, mut body: Map<String, Value>) -> anyhow::Result<()> {
        body.insert("step".to_owned(), name.into());
        let path = path(&self.id, &format!("/comments/{}/steps", self.comment));
        send(&self.caller, &path, body, None).await
    }
}

impl DisputeVerb {
    /// Does it.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List { caller, id } => read(&caller, &path(&id, "/disputes")).await,
            Self::Begin { caller, id, about, said, with, reason } => {
                let mut body = said.members();
                about.add_to(&mut body);
                body.insert("with".to_owned(), json!(with));
                body.insert("reason".to_owned(), reason.into());
                send(&caller, &path(&id, "/disputes"), body, None).await
            }
            Self::Take { caller, id, dispute, step, text, outcome, terms } => {
                let name = step.to_possible_value().map(|value| value.get_name().to_owned());
                let mut body = members([("step", name), ("text", text), ("outcome", outcome)]);
                if let Some(file) = terms {
                    body.insert("terms".to_owned(), terms_for(&id, &file)?);
                }
                let place = path(&id, &format!("/disputes/{dispute}"));
                let shown = Gateway::of(&caller)?.send(Method::GET, &place, None, None).await?;
                send(&caller, &format!("{place}/steps"), body, shown.tag).await
            }
            Self::Precedents { caller } => read(&caller, "/v1/agreements/precedents").await,
        }
    }
}

async fn send(
    caller: &CallerArguments,
    path: &str,
    body: Map<String, Value>,
    tag: Option<String>,
) -> anyhow::Result<()> {
    print(&Gateway::of(caller)?.send(Method::POST, path, Some(Value::Object(body)), tag).await?)
}
