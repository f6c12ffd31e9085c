//! Which steps somebody can take now. Each is tried: what is said here is what taking it would say.

use jiff::{Span, Timestamp};

use super::{Authority, Command, Hand, InForce, Managed, Pending, Refusal, Scope, StopReason};
use crate::agreement::london_day;

/// What a step is tried with that is known elsewhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Whether a comment that signing has to wait for is not resolved.
    pub blocked: bool,
    /// Whether the evaluation of the version in force is on record, where that is a pilot.
    pub evaluated: bool,
}

/// The steps that somebody can take, and those whose time it is not yet, by the names that the API has for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Possible {
    /// What can be done now.
    pub now: Vec<&'static str>,
    /// What cannot, and what it waits for.
    pub not_yet: Vec<(&'static str, Refusal)>,
}

impl Managed {
    /// Which steps this hand can take now, of those that need neither terms nor a signature. What depends on the terms themselves, such
    /// as whether their framework has been joined, is looked at when a step is taken.
    pub fn possible(&self, hand: &Hand, at: Timestamp, known: Known) -> Possible {
        let mut possible = Possible::default();
        if hand.may.iter().all(|authority| *authority == Authority::Mediate) && hand.offices.is_empty() {
            return possible;
        }
        for (step, commands) in self.candidates(at, known) {
            let begins = match commands.first() {
                Some(Command::Ask(pending)) => *pending == Pending::Activation,
                Some(Command::Confirm) => self.waits_for_activation(),
                _ => false,
            };
            let mut refused = None;
            let is_possible = commands.into_iter().any(|command| {
                match self.clone().apply(command, hand, at) {
                    Ok(_) if begins && known.blocked => refused = Some(Refusal::CommentsOpen),
                    // What would change nothing has been done.
                    Ok(after) => return after != *self,
                    Err(refusal) => refused = Some(refusal),
                }
                false
            });
            if is_possible {
                possible.now.push(step);
            } else if let Some(refusal) = refused.filter(|refusal| waits_for_something(step, *refusal)) {
                possible.not_yet.push((step, refusal));
            }
        }
        possible
    }

    /// Each step with what it could be taken with: one of these has to be possible.
    fn candidates(&self, at: Timestamp, known: Known) -> Vec<(&'static str, Vec<Command>)> {
        let Known { blocked, evaluated } = known;
        let live = self.in_force.as_ref().map(InForce::live);
        let today = london_day(at);
        let after = |span: Span| today.checked_add(span).unwrap_or(today);
        let reviews = live.into_iter().flat_map(|live| {
            let outline = &live.deal.outline;
            let signed = after(Span::new().days(outline.review_days.unwrap_or_default()));
            [outline.ends_on, after(Span::new().years(1)), signed]
        });
        let reviews = reviews.filter(|next_on| *next_on > today);
        let reviewed = reviews.map(|next_on| Command::Reviewed { next_on }).collect();
        let mut scopes = vec![Scope::Agreement];
        scopes.extend(live.iter().flat_map(|live| {
            let flows = &live.deal.outline.flows;
            flows.iter().map(|flow| Scope::Flow(flow.id.clone()))
        }));
        let suspend = |scope| Command::Suspend { scope, reason: StopReason::Other };
        let stopped = live.iter().flat_map(|live| live.stops.iter().map(|stop| stop.scope.clone()));
        let mut all = vec![
            ("review", vec![Command::Review]),
            ("accept", vec![Command::Accept]),
            ("decline", vec![Command::Decline]),
            ("propose", vec![Command::Propose]),
            ("proceed", vec![Command::Proceed]),
            ("withdraw", vec![Command::Withdraw]),
            ("advise", vec![Command::Advise { favourable: true }]),
            ("answer-advice", vec![Command::AnswerAdvice { followed: false }]),
            ("assure", vec![Command::Assure]),
            ("open-signing", vec![Command::OpenSigning { blocked, evaluated }]),
            ("suspend", scopes.into_iter().map(suspend).collect()),
            ("resume", stopped.map(Command::Resume).collect()),
            ("reviewed", reviewed),
            ("exit", vec![Command::Exit]),
        ];
        // What was asked for is not asked for again.
        if !self.waits_for_activation() {
            all.push(("activate", vec![Command::Ask(Pending::Activation)]));
        }
        if live.is_some() && !self.waits_for_an_end() {
            all.push(("terminate", vec![Command::Ask(Pending::Termination { asked: None })]));
        }
        if self.waits_for_activation() || self.waits_for_an_end() {
            all.extend([("confirm", vec![Command::Confirm]), ("reject", vec![Command::Reject])]);
        }
        all
    }
}

/// Whether a step that is refused for this may be possible later, or once something else is done: not where it is nobody's of this
/// organisation, or of another time altogether.
fn waits_for_something(step: &str, refusal: Refusal) -> bool {
    // Where nothing was advised there is nothing to answer.
    step != "answer-advice"
        && matches!(
            refusal,
            Refusal::SamePerson
                | Refusal::SameParty
                | Refusal::AuthorApproves
                | Refusal::NobodyHasAgreed
                | Refusal::NoPairSigned
                | Refusal::ProviderNotController
                | Refusal::AdviceMissing
                | Refusal::AdviceUnanswered
                | Refusal::AdviceAgainst
                | Refusal::NoticeMissing
                | Refusal::AssessmentOpen
                | Refusal::BreachContactMissing
                | Refusal::WouldCutAParty
                | Refusal::PlaceNotSigned
                | Refusal::SuccessorSiro
                | Refusal::StoppedByReview
                | Refusal::StopIsTheirs
                | Refusal::CommentsOpen
                | Refusal::EvaluationMissing
                | Refusal::NamesPredecessor
                | Refusal::OtherAsked
        )
}
