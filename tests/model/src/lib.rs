//! What a release rests on, over several gateways and one ledger, as a model whose every interleaving is explored.
//!
//! A question is asked at one gateway each. What is held about the person and the agreement is read, an INTENT is committed, the
//! record is fetched, all is read again, and the RELEASE is committed in a transaction that compares the revisions with those
//! that were read. A commit is atomic; whether it happened may be unknown to who asked for it, who then looks at the ledger. A
//! gateway may die at any step, and be held up for any time, while others close what it left open. A withdrawal and a suspension
//! come at any moment, and are acknowledged at any moment after they are in the ledger. The server may be lost once, and the standby
//! that it waited for takes over: what was committed and not yet acknowledged may be there or not.
//!
//! [`Protocol`] can be weakened, to show that each part is needed.

use stateright::{Model, Property};

/// How many questions.
pub const QUESTIONS: usize = 2;

/// What is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ground {
    /// A person's consent is withdrawn.
    Consent,
    /// The agreement is suspended.
    Agreement,
}

const GROUNDS: [Ground; 2] = [Ground::Consent, Ground::Agreement];

/// An entry of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A question was permitted.
    Intent(usize),
    /// Its record was released.
    Release(usize),
    /// It ended otherwise.
    Closure(usize),
    /// Something was taken back.
    TakenBack(Ground),
}

/// What stands, and how often it changed: one of each ground.
pub type Revisions = [bool; 2];

/// How far a question has come, as its gateway knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Not asked yet.
    Waiting,
    /// Asked.
    Asked,
    /// Permitted by what was read.
    Permitted,
    /// Its INTENT is in the ledger.
    Open,
    /// The record is here, and what was read again permits it.
    Confirmed(Revisions),
    /// Whether its RELEASE was committed is not known.
    Unsure,
    /// Its RELEASE is in the ledger.
    Released,
    /// The client has the record.
    Answered,
    /// The client was refused.
    Refused,
    /// The gateway is no more.
    Dead,
}

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The ledger.
    pub ledger: Vec<Entry>,
    /// Which grounds were taken back; the projection that is written with the ledger.
    pub taken_back: Revisions,
    /// Which of them were acknowledged.
    pub acknowledged: Revisions,
    /// Which questions are open; the projection.
    pub open: [bool; QUESTIONS],
    /// How far each question has come.
    pub stages: [Stage; QUESTIONS],
    /// Whether something was acknowledged as taken back before a question was asked.
    pub too_late: [bool; QUESTIONS],
    /// How many of the entries the standby has.
    pub at_standby: usize,
    /// Whether the standby has taken over.
    pub is_taken_over: bool,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A client asks.
    Ask(usize),
    /// What is held is read, and decided by.
    Decide(usize),
    /// The INTENT is committed.
    CommitIntent(usize),
    /// The record has come, all is read again and decided by.
    Confirm(usize),
    /// The RELEASE is committed, or refused by what it is compared with.
    CommitRelease(usize),
    /// The same, and the gateway does not hear of it.
    CommitReleaseUnheard(usize),
    /// The RELEASE is not committed, and the gateway does not hear of it.
    FailToCommitUnheard(usize),
    /// The gateway looks at the ledger.
    LookUp(usize),
    /// The answer goes out.
    Answer(usize),
    /// The gateway dies.
    Die(usize),
    /// Others close what a gateway left open, or seems to have.
    CloseForSilent(usize),
    /// Something is taken back.
    TakeBack(Ground),
    /// Whoever took it back hears that it was.
    Acknowledge(Ground),
    /// The standby has all that is committed.
    Replicate,
    /// The server is lost, and the standby takes over.
    TakeOver,
}

/// The protocol, whole or weakened.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each part is there or is left out")]
pub struct Protocol {
    /// What is held is read for each question, rather than remembered from before.
    pub reads_each: bool,
    /// The transaction of a RELEASE compares the revisions.
    pub rechecks: bool,
    /// It commits only while the question is open.
    pub ends_once: bool,
    /// The answer waits for the commit.
    pub waits_for_commit: bool,
    /// A commit of which nothing is known is looked up, rather than believed.
    pub looks_up: bool,
    /// What is found is committed after, and with it at the standby, before it is acknowledged.
    pub commits_after: bool,
}

impl Protocol {
    /// As it is.
    pub const WHOLE: Self = Self {
        reads_each: true,
        rechecks: true,
        ends_once: true,
        waits_for_commit: true,
        looks_up: true,
        commits_after: true,
    };

    fn release(self, moment: &mut Moment, question: usize, read: Revisions) -> Option<bool> {
        if self.rechecks && read != moment.taken_back {
            return Some(false); // it is decided again
        }
        if self.ends_once && !is_open(moment, question) {
            return None;
        }
        moment.ledger.push(Entry::Release(question));
        set(&mut moment.open, question, false);
        Some(true)
    }
}

fn ground(one: Ground) -> usize {
    match one {
        Ground::Consent => 0,
        Ground::Agreement => 1,
    }
}

/// The projections, from the entries that there are.
fn project(moment: &mut Moment) {
    for one in GROUNDS {
        let is_taken_back = moment.ledger.contains(&Entry::TakenBack(one));
        set(&mut moment.taken_back, ground(one), is_taken_back);
    }
    for question in 0..QUESTIONS {
        let has = |entry| moment.ledger.contains(&entry);
        let is_open =
            has(Entry::Intent(question)) && !has(Entry::Release(question)) && !has(Entry::Closure(question));
        set(&mut moment.open, question, is_open);
    }
}

fn is_open(moment: &Moment, question: usize) -> bool {
    moment.open.get(question).copied().unwrap_or(false)
}

fn set<const N: usize>(all: &mut [bool; N], at: usize, to: bool) {
    if let Some(one) = all.get_mut(at) {
        *one = to;
    }
}

impl Model for Protocol {
    type State = Moment;
    type Action = Action;

    fn init_states(&self) -> Vec<Moment> {
        vec![Moment {
            ledger: Vec::new(),
            taken_back: [false; 2],
            acknowledged: [false; 2],
            open: [false; QUESTIONS],
            stages: [Stage::Waiting; QUESTIONS],
            too_late: [false; QUESTIONS],
            at_standby: 0,
            is_taken_over: false,
        }]
    }

    fn actions(&self, moment: &Moment, actions: &mut Vec<Action>) {
        for (question, stage) in moment.stages.iter().enumerate() {
            match stage {
                Stage::Waiting => actions.push(Action::Ask(question)),
                Stage::Asked => actions.push(Action::Decide(question)),
                Stage::Permitted => actions.push(Action::CommitIntent(question)),
                Stage::Open => actions.push(Action::Confirm(question)),
                Stage::Confirmed(_) => actions.extend([
                    Action::CommitRelease(question),
                    Action::CommitReleaseUnheard(question),
                    Action::FailToCommitUnheard(question),
                ]),
                Stage::Unsure => actions.push(Action::LookUp(question)),
                Stage::Released => actions.push(Action::Answer(question)),
                Stage::Answered | Stage::Refused | Stage::Dead => {}
            }
            if !matches!(stage, Stage::Waiting | Stage::Answered | Stage::Refused | Stage::Dead) {
                actions.push(Action::Die(question));
            }
            if is_open(moment, question) {
                actions.push(Action::CloseForSilent(question));
            }
        }
        let is_at_standby = |entry| moment.ledger.iter().take(moment.at_standby).any(|one| *one == entry);
        for one in GROUNDS {
            match (moment.taken_back.get(ground(one)), moment.acknowledged.get(ground(one))) {
                (Some(false), Some(false)) => actions.push(Action::TakeBack(one)),
                (Some(true), Some(false)) if is_at_standby(Entry::TakenBack(one)) => {
                    actions.push(Action::Acknowledge(one));
                }
                _ => {}
            }
        }
        if !moment.is_taken_over {
            actions.push(Action::TakeOver);
        }
        if moment.at_standby < moment.ledger.len() {
            actions.push(Action::Replicate);
        }
    }

    fn next_state(&self, last: &Moment, action: Action) -> Option<Moment> {
        let mut next = last.clone();
        let permits = !(self.reads_each && last.taken_back.contains(&true));
        let mut step = |question: usize, stage: Stage| {
            if let Some(one) = next.stages.get_mut(question) {
                *one = stage;
            }
        };
        match action {
            Action::Ask(question) => {
                step(question, Stage::Asked);
                set(&mut next.too_late, question, last.acknowledged.contains(&true));
            }
            Action::Decide(question) => {
                step(question, if permits { Stage::Permitted } else { Stage::Refused });
            }
            Action::CommitIntent(question) => {
                step(question, Stage::Open);
                next.ledger.push(Entry::Intent(question));
                next.at_standby = next.ledger.len();
                set(&mut next.open, question, true);
            }
            Action::Confirm(question) if permits => {
                let confirmed =
                    if self.waits_for_commit { Stage::Confirmed(last.taken_back) } else { Stage::Released };
                step(question, confirmed);
            }
            Action::Confirm(question) => {
                step(question, Stage::Refused);
                if is_open(last, question) {
                    next.ledger.push(Entry::Closure(question));
                    set(&mut next.open, question, false);
                }
            }
            Action::CommitRelease(question) | Action::CommitReleaseUnheard(question) => {
                let Some(Stage::Confirmed(read)) = last.stages.get(question).copied() else { return None };
                let is_heard = action == Action::CommitRelease(question);
                let stage = match self.release(&mut next, question, read) {
                    _ if !is_heard => Stage::Unsure,
                    Some(true) => Stage::Released,
                    Some(false) => Stage::Open,
                    None => Stage::Refused,
                };
                if let Some(one) = next.stages.get_mut(question) {
                    *one = stage;
                }
                if is_heard {
                    next.at_standby = next.ledger.len();
                }
            }
            Action::FailToCommitUnheard(question) => step(question, Stage::Unsure),
            Action::LookUp(question) => {
                let is_there = !self.looks_up || last.ledger.contains(&Entry::Release(question));
                step(question, if is_there { Stage::Released } else { Stage::Refused });
                if self.commits_after {
                    next.at_standby = next.ledger.len();
                }
            }
            Action::Answer(question) => step(question, Stage::Answered),
            Action::Die(question) => step(question, Stage::Dead),
            Action::CloseForSilent(question) => {
                next.ledger.push(Entry::Closure(question));
                set(&mut next.open, question, false);
            }
            Action::TakeBack(one) => {
                next.ledger.push(Entry::TakenBack(one));
                set(&mut next.taken_back, ground(one), true);
            }
            Action::Acknowledge(one) => set(&mut next.acknowledged, ground(one), true),
            Action::Replicate => next.at_standby = next.ledger.len(),
            Action::TakeOver => {
                next.ledger.truncate(last.at_standby);
                next.is_taken_over = true;
                project(&mut next);
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RECORDED, |_, moment: &Moment| {
                answered(moment).all(|question| moment.ledger.contains(&Entry::Release(question)))
            }),
            Property::always(KEPT, |_, moment: &Moment| {
                GROUNDS.into_iter().all(|one| {
                    moment.acknowledged.get(ground(one)) == Some(&false)
                        || moment.ledger.contains(&Entry::TakenBack(one))
                })
            }),
            Property::always(TAKEN_BACK, |_, moment: &Moment| {
                answered(moment).all(|question| moment.too_late.get(question) == Some(&false))
            }),
            Property::always(ORDERED, |_, moment: &Moment| {
                let mut entries = moment.ledger.iter();
                entries.by_ref().find(|entry| matches!(entry, Entry::TakenBack(_)));
                !entries.any(|entry| matches!(entry, Entry::Release(_)))
            }),
            Property::always(ONCE, |_, moment: &Moment| {
                (0..QUESTIONS).all(|question| {
                    let ends =
                        |entry: &&Entry| [Entry::Release(question), Entry::Closure(question)].contains(entry);
                    moment.ledger.iter().filter(ends).count() <= 1
                })
            }),
            Property::sometimes("both are answered", |_, moment: &Moment| {
                answered(moment).count() == QUESTIONS
            }),
            Property::sometimes(
                "one is released, and the other refused for what was taken back",
                |_, moment: &Moment| {
                    answered(moment).count() == 1
                        && moment.stages.contains(&Stage::Refused)
                        && moment.taken_back.contains(&true)
                },
            ),
        ]
    }
}

/// Whoever has a record, its release is in the ledger.
pub const RECORDED: &str = "what was received was recorded as released";
/// What somebody was told is taken back, is in the ledger.
pub const KEPT: &str = "what was acknowledged as taken back is in the ledger";
/// Nobody has a record for a question that was asked after something was acknowledged as taken back.
pub const TAKEN_BACK: &str = "what was acknowledged as taken back stops whatever is asked afterwards";
/// No release follows what it would need.
pub const ORDERED: &str = "no release follows a withdrawal or a suspension in the ledger";
/// A question ends once.
pub const ONCE: &str = "every question has one end";

fn answered(moment: &Moment) -> impl Iterator<Item = usize> {
    moment
        .stages
        .iter()
        .enumerate()
        .filter(|(_, stage)| **stage == Stage::Answered)
        .map(|(question, _)| question)
}
