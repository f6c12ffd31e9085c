//! Why a step is not taken, and what to do.

/// Why a step is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.advice())]
#[expect(missing_docs, reason = "each is described by its advice below")]
pub enum Refusal {
    NotInThisState,
    NotInForce,
    AlreadyNegotiated,
    NotAParty,
    NotYours,
    NoAuthority,
    DpoApproves,
    NotTheDpo,
    AuthorApproves,
    SamePerson,
    SameParty,
    OtherVersion,
    AlreadySigned,
    LeftAlready,
    NobodyHasAgreed,
    NoPairSigned,
    ProviderNotController,
    AdviceMissing,
    AdviceUnanswered,
    NoticeMissing,
    AssessmentOpen,
    BreachContactMissing,
    WouldCutAParty,
    PlaceNotSigned,
    SuccessorSiro,
    NothingAsked,
    NoSuchFlow,
    NoSuchStop,
    StoppedByReview,
    StopIsTheirs,
    ReviewNotAhead,
    SameTerms,
    CommentsOpen,
    EvaluationMissing,
    OwnerNotAParty,
    MediatorIsAParty,
    NotTheMediator,
    NoMediator,
    MediatorReleased,
    MediatesHere,
    NothingOffered,
    LevelDecides,
    TopLevel,
    TextNotConfirmed,
    FrameworkUnknown,
    FrameworkNotInForce,
    FrameworkNotJoined,
    SignsTwice,
    NotTheRecipient,
    NamesPredecessor,
    AdviceAgainst,
    OtherAsked,
    ReviewTooFar,
    BeginsLater,
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody else has to do it.
    Person,
    /// It is not the time for it.
    State,
}

impl Refusal {
    /// Its stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotInForce => "not-in-force",
            Self::NotInThisState => "not-in-this-state",
            Self::AlreadyNegotiated => "already-negotiated",
            Self::NotAParty => "not-a-party",
            Self::NotYours => "not-yours",
            Self::NoAuthority => "no-authority",
            Self::DpoApproves => "dpo-approves",
            Self::NotTheDpo => "not-the-dpo",
            Self::AuthorApproves => "author-approves",
            Self::SamePerson => "same-person",
            Self::SameParty => "same-party",
            Self::OtherVersion => "other-version",
            Self::AlreadySigned => "already-signed",
            Self::LeftAlready => "left-already",
            Self::NobodyHasAgreed => "nobody-has-agreed",
            Self::NoPairSigned => "no-pair-signed",
            Self::ProviderNotController => "provider-not-controller",
            Self::AdviceMissing => "advice-missing",
            Self::AdviceUnanswered => "advice-unanswered",
            Self::NoticeMissing => "notice-missing",
            Self::AssessmentOpen => "assessment-open",
            Self::BreachContactMissing => "breach-contact-missing",
            Self::WouldCutAParty => "would-cut-a-party",
            Self::PlaceNotSigned => "place-not-signed",
            Self::SuccessorSiro => "successor-siro",
            Self::NothingAsked => "nothing-asked",
            Self::NoSuchFlow => "no-such-flow",
            Self::NoSuchStop => "no-such-stop",
            Self::StoppedByReview => "stopped-by-review",
            Self::StopIsTheirs => "stop-is-theirs",
            Self::ReviewNotAhead => "review-not-ahead",
            Self::SameTerms => "same-terms",
            Self::CommentsOpen => "comments-open",
            Self::EvaluationMissing => "evaluation-missing",
            Self::OwnerNotAParty => "owner-not-a-party",
            Self::MediatorIsAParty => "mediator-is-a-party",
            Self::NotTheMediator => "not-the-mediator",
            Self::NoMediator => "no-mediator",
            Self::MediatorReleased => "mediator-released",
            Self::MediatesHere => "mediates-here",
            Self::NothingOffered => "nothing-offered",
            Self::LevelDecides => "level-decides",
            Self::TopLevel => "top-level",
            Self::TextNotConfirmed => "text-not-confirmed",
            Self::FrameworkUnknown => "framework-unknown",
            Self::FrameworkNotInForce => "framework-not-in-force",
            Self::FrameworkNotJoined => "framework-not-joined",
            Self::SignsTwice => "signs-twice",
            Self::NotTheRecipient => "not-the-recipient",
            Self::NamesPredecessor => "names-predecessor",
            Self::AdviceAgainst => "advice-against",
            Self::OtherAsked => "other-asked",
            Self::BeginsLater => "begins-later",
            Self::ReviewTooFar => "review-too-far",
        }
    }

    /// Whether another person could do it, or another time.
    pub fn kind(self) -> Kind {
        match self {
            Self::NotAParty
            | Self::NotYours
            | Self::NoAuthority
            | Self::DpoApproves
            | Self::NotTheDpo
            | Self::AuthorApproves
            | Self::SamePerson
            | Self::SameParty
            | Self::MediatorIsAParty
            | Self::NotTheMediator
            | Self::MediatorReleased
            | Self::MediatesHere
            | Self::LevelDecides
            | Self::SignsTwice
            | Self::NotTheRecipient
            | Self::SuccessorSiro
            | Self::StopIsTheirs => Kind::Person,
            _ => Kind::State,
        }
    }

    /// What it is and what to do.
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn advice(self) -> &'static str {
        match self {
            Self::NotInThisState => {
                "the agreement is not in a state for this step; read it, and docs/agreements.md for the steps"
            }
            Self::NotInForce => {
                "it is not in force: of waiting for it `harm` can be reported, and nothing else yet"
            }
            Self::AlreadyNegotiated => {
                "a next version is drafted or negotiated already, and `drafted_by` or `negotiated` says by whom; counter it, or have it withdrawn"
            }
            Self::NotAParty => "your organisation is not a party to it",
            Self::NotYours => "another party has to take this step",
            Self::NoAuthority => "your system is not registered for this step of an agreement",
            Self::DpoApproves => "a data protection officer advises and approves nothing; ask an approver",
            Self::NotTheDpo => "only a registered data protection officer of a party advises as one",
            Self::AuthorApproves => "whoever wrote the terms does not approve or sign them; ask a colleague",
            Self::SamePerson => "a second person has to confirm it",
            Self::SameParty => {
                "an approver of another party confirms it: for a successor its SIRO, and approvers of whoever gives records to its place, and of whose place it is if that gives records or has anybody in office; a party leaves alone with `exit`"
            }
            Self::OtherVersion => {
                "these are not the terms that are offered now; read the newest version and sign that"
            }
            Self::AlreadySigned => "somebody has signed in this role for your organisation",
            Self::LeftAlready => {
                "your organisation has declined or left, or another has taken its place; it takes no further part, and the others go on"
            }
            Self::NobodyHasAgreed => "both ends of one flow at least have to have agreed",
            Self::NoPairSigned => {
                "both ends of one flow at least have to have signed in every role that they need"
            }
            Self::ProviderNotController => {
                "whoever provides data has to be its controller; name the controller as the party, or correct its role"
            }
            Self::AdviceMissing => {
                "each party that has signed needs its data protection officer's advice on record"
            }
            Self::AdviceUnanswered => "say for each advice whether it is followed, and why if not",
            Self::NoticeMissing => "each party that has signed needs a `privacy_notice` in the terms",
            Self::AssessmentOpen => {
                "the impact assessment has to be concluded with the residual risk accepted"
            }
            Self::BreachContactMissing => "the terms have to say whom to tell of a breach",
            Self::WouldCutAParty => {
                "a party whose flows run has not signed the new version; its flows would stop without a word: wait for it, or have it leave"
            }
            Self::PlaceNotSigned => {
                "whoever would have several places in it has to have signed in each; have the signatures that are missing first"
            }
            Self::SuccessorSiro => {
                "for whoever takes the place its registered SIRO agrees, as one would sign: register one, and have them confirm it"
            }
            Self::NothingAsked => "nothing waits for a second person",
            Self::NoSuchFlow => "the agreement has no such flow or party",
            Self::NoSuchStop => "that is not switched off",
            Self::StoppedByReview => {
                "a review that was missed has switched it off; hold it and record it with `reviewed`, and it goes on"
            }
            Self::StopIsTheirs => {
                "whoever switched it off is of another organisation, and that one switches it on"
            }
            Self::ReviewNotAhead => {
                "the next review has to be after today, after the day that is set now, and no later than the end"
            }
            Self::SameTerms => "the terms are the same; there is nothing to counter",
            Self::CommentsOpen => {
                "a comment that signing has to wait for is not resolved; the version's `checks` list it"
            }
            Self::EvaluationMissing => {
                "a pilot becomes permanent once its evaluation is on record; add it at `records` with kind `evaluation`"
            }
            Self::OwnerNotAParty => {
                "whoever is to answer has to be a party that has not left; name one of them"
            }
            Self::MediatorIsAParty => "a mediator decides nothing in a dispute; ask another person",
            Self::NotTheMediator => "only the mediator of this dispute does this",
            Self::NoMediator => "nobody mediates it, or offers to",
            Self::MediatorReleased => "a party goes on without you; another mediator may offer",
            Self::MediatesHere => {
                "you mediate an open dispute of this agreement and take no other step in it; ask a colleague, or wait until the dispute is resolved"
            }
            Self::NothingOffered => "no outcome is on the table; one is offered with `settle`",
            Self::LevelDecides => {
                "the level that it is with settles it: for `governance-leads` a registered governance lead who did not begin it, or such an approver where there is none; a Caldicott Guardian or SIRO for `dpo-and-caldicott`; a SIRO for `siros`; for `boards` whoever is registered for the board, or else the SIRO; ask one of your organisation"
            }
            Self::TopLevel => "it is with the boards already; there is no further level",
            Self::FrameworkUnknown => {
                "no framework is registered by the name that the terms have; have the operator register it in `frameworks/`, or name a registered one in a counter-proposal: `GET /v1/frameworks` lists them"
            }
            Self::FrameworkNotInForce => {
                "the framework has not begun, or is over; have it renewed, or name another in a counter-proposal"
            }
            Self::FrameworkNotJoined => {
                "a party that has signed has not joined the framework, or has left it; have it join, and the operator record it: `GET /v1/frameworks` lists who has"
            }
            Self::NamesPredecessor => {
                "its terms name an organisation whose place another has taken; counter them with the successor in its place, or withdraw them"
            }
            Self::AdviceAgainst => {
                "a data protection officer advises not to go on, and that is to be followed: counter the terms or withdraw them; or answer the advice anew, and say why it is not followed"
            }
            Self::OtherAsked => {
                "something else waits for a second person, as `waits_for_confirmation` says: confirm it or reject it first"
            }
            Self::BeginsLater => {
                "what is in force would end before this begins, and nothing would be shared meanwhile; ask for it on its first day"
            }
            Self::ReviewTooFar => {
                "the next review is at most a year off, or as long as the first one was from the start, as it was signed; choose an earlier day"
            }
            Self::SignsTwice => {
                "you have signed for your organisation in another role; a second person signs in this one"
            }
            Self::NotTheRecipient => {
                "whoever receives the items says which of them it uses; ask the recipient of this flow"
            }
            Self::TextNotConfirmed => {
                "somebody neutral has to read the text first, so that it names nobody: `confirm-text`, by a mediator of no party"
            }
        }
    }
}
