//! A step as a caller asks for it, and the command that it becomes.

use axum::http::HeaderValue;
use jiff::civil::Date;

use super::{
    AgreementId, App, Command, Deserialize, ManagedRow, Pending, Problem, Refused, Scope, Signing, StepError,
    StopReason, TEXT_MAX, Terms, ToSchema, Value, Wanted, agreements, comments::all_seen, signatory_role,
    signature,
};
use crate::{
    agreements::{signature::Statement, usage},
    routes::described::StopScope,
};

/// A step of an agreement.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "step", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StepRequest {
    /// Write the draft again.
    Revise {
        /// The terms.
        #[schema(value_type = Object)]
        terms: Value,
    },
    /// Begin a new version of what is in force. What is in force goes on until the new one takes its place.
    Vary {
        /// The terms.
        #[schema(value_type = Object)]
        terms: Value,
        /// Why. The public register shows it.
        reason: CounterReason,
        /// In words.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Put the draft to the parties.
    Propose {
        /// What it is for, in words.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Answer with other terms.
    Counter {
        /// The terms.
        #[schema(value_type = Object)]
        terms: Value,
        /// Why.
        reason: CounterReason,
        /// In words.
        #[serde(default)]
        #[schema(required)]
        text: String,
        /// What is behind it: what you need these terms for, as "crews must not walk in on oxygen".
        #[serde(default)]
        interest: Option<String>,
    },
    /// Say that your organisation looks at it.
    Review {
        /// Who looks at it and for what, in words.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Agree in principle, for your organisation.
    Accept {
        /// Why, in words: what was looked at before.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Leave the negotiation, for your organisation.
    Decline {
        /// Why, in words.
        text: String,
    },
    /// Go on with the parties that have agreed.
    Proceed {
        /// Why, in words.
        text: String,
    },
    /// Advise, as your organisation's data protection officer.
    Advise {
        /// Whether to go on.
        favourable: bool,
        /// The advice.
        text: String,
    },
    /// Say whether your data protection officer's advice is followed.
    AnswerAdvice {
        /// Whether it is.
        followed: bool,
        /// Why, in words.
        text: String,
    },
    /// Find it in order.
    Assure {
        /// What was looked at, in words.
        text: String,
    },
    /// Ask the parties to sign.
    OpenSigning {
        /// Why now, in words.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Sign.
    Sign {
        /// The detached JWS over the canonical terms (docs/agreements.md).
        signature: String,
    },
    /// Ask for it to be put in force. A second person confirms it.
    Activate {
        /// Why now, in words.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Ask for it to be ended. A second person confirms it.
    Terminate {
        /// Why, in words.
        text: String,
    },
    /// Ask for an organisation to take another's place, as after a merger. Another party confirms it.
    Succeed {
        /// Whose place.
        of: String,
        /// Who takes it.
        by: String,
        /// Why, in words.
        text: String,
    },
    /// Confirm what another person asked for.
    Confirm {
        /// Why, in words: what was looked at before.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Say no to what another person asked for, or take your own asking back: it waits no more.
    Reject {
        /// Why, in words.
        #[serde(default)]
        #[schema(required)]
        text: String,
    },
    /// Take the proposal back.
    Withdraw {
        /// Why, in words.
        text: String,
    },
    /// Switch it off, at once: all of it, a party or a flow. It takes effect on the next request everywhere.
    Suspend {
        /// `"agreement"`, `{"party": "…"}` or `{"flow": "…"}`.
        #[schema(value_type = StopScope)]
        scope: Scope,
        /// Why.
        #[schema(value_type = String, example = "breach")]
        reason: StopReason,
        /// In words.
        text: String,
    },
    /// Switch it on again: another person of the organisation that switched it off.
    Resume {
        /// As it was switched off.
        #[schema(value_type = StopScope)]
        scope: Scope,
        /// Why, in words.
        text: String,
    },
    /// Leave the agreement, for your organisation. Its flows stop at once.
    Exit {
        /// Why, in words.
        text: String,
    },
    /// Record that the parties have reviewed it.
    Reviewed {
        /// When they do so again.
        #[schema(value_type = String, example = "2028-04-01")]
        next_on: Date,
        /// What they found, in words.
        text: String,
    },
}

/// Why other terms are proposed.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CounterReason {
    /// The purpose can be met without it.
    NotNecessary,
    /// Less data would do.
    LessWouldDo,
    /// The purpose cannot be met with so little.
    NotEnough,
    /// The law does not carry it.
    NoLawfulBasis,
    /// It is kept too long.
    RetentionTooLong,
    /// It could harm somebody.
    RiskToPeople,
    /// It cannot be done.
    NotPracticable,
    /// It can be misunderstood.
    Unclear,
    /// The review, or a pilot's evaluation, asks for it.
    ReviewFound,
    /// The law, the purpose or the parties have changed.
    Changed,
    /// It would end, and goes on.
    Renewal,
    /// Another reason.
    Other,
}

impl CounterReason {
    /// The reason's code.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NotNecessary => "not-necessary",
            Self::LessWouldDo => "less-would-do",
            Self::NotEnough => "not-enough",
            Self::NoLawfulBasis => "no-lawful-basis",
            Self::RetentionTooLong => "retention-too-long",
            Self::RiskToPeople => "risk-to-people",
            Self::NotPracticable => "not-practicable",
            Self::Unclear => "unclear",
            Self::ReviewFound => "review-found",
            Self::Changed => "changed",
            Self::Renewal => "renewal",
            Self::Other => "other",
        }
    }
}

impl StepRequest {
    /// The revision that the step is made to, where it has to say it.
    pub(super) fn read_at(&self, if_match: Option<&HeaderValue>) -> Result<Option<i64>, Problem> {
        let free = matches!(self, Self::Suspend { .. } | Self::Sign { .. } | Self::Advise { .. });
        revision(if_match, free)
    }

    fn said(&self) -> (Option<String>, Option<&str>) {
        match self {
            Self::Counter { reason, text, .. } | Self::Vary { reason, text, .. } => {
                (Some(reason.as_str().to_owned()), Some(text))
            }
            Self::Suspend { reason, text, .. } => (Some(reason.as_str().to_owned()), Some(text)),
            Self::Propose { text }
            | Self::Review { text }
            | Self::Accept { text }
            | Self::OpenSigning { text }
            | Self::Decline { text }
            | Self::Proceed { text }
            | Self::Assure { text }
            | Self::Activate { text }
            | Self::Confirm { text }
            | Self::Reject { text }
            | Self::Terminate { text }
            | Self::Succeed { text, .. }
            | Self::Withdraw { text }
            | Self::Resume { text, .. }
            | Self::Exit { text }
            | Self::Reviewed { text, .. } => (None, Some(text)),
            Self::Advise { favourable, text } => {
                let word = if *favourable { "favourable" } else { "unfavourable" };
                (Some(word.to_owned()), Some(text))
            }
            Self::AnswerAdvice { followed, text } => {
                let word = if *followed { "followed" } else { "not-followed" };
                (Some(word.to_owned()), Some(text))
            }
            // A draft is its authors' own, and a signature says why in the terms that it is over.
            Self::Revise { .. } | Self::Sign { .. } => (None, None),
        }
    }

    /// The command, with everything that goes with it.
    pub(super) async fn complete<'a>(
        self,
        app: &App,
        (id, row): (&AgreementId, &ManagedRow),
        mut wanted: Wanted<'a>,
    ) -> Result<Wanted<'a>, Refused> {
        let invalid = |what: &str| Refused::Problem(Problem::InvalidRequest(what.to_owned()));
        let (reason, text) = self.said();
        if text.is_some_and(|text| text.trim().is_empty() || text.chars().count() > TEXT_MAX) {
            return Err(invalid("text: say why, in 1 to 2000 characters, and without naming anybody's case"));
        }
        text.map_or(Ok(()), |text| all_seen("text", text)).map_err(Refused::Problem)?;
        (wanted.reason, wanted.written) = (reason, text.map(str::to_owned));
        if let Self::Counter { interest: Some(interest), .. } = &self {
            if interest.trim().is_empty() || interest.chars().count() > TEXT_MAX {
                return Err(invalid("interest: what the terms are needed for, in 1 to 2000 characters"));
            }
            all_seen("interest", interest).map_err(Refused::Problem)?;
            wanted.interest = Some(interest.clone());
        }
        wanted.command = Some(match self {
            Self::Revise { terms } => {
                let (command, terms) = self::terms(app, (id, row), terms, Written::Revised)?;
                wanted.terms = Some(terms);
                command
            }
            Self::Vary { terms, .. } => {
                let (command, terms) = self::terms(app, (id, row), terms, Written::Varied)?;
                wanted.terms = Some(terms);
                command
            }
            Self::Counter { terms, .. } => {
                let (command, terms) = self::terms(app, (id, row), terms, Written::Countered)?;
                wanted.terms = Some(terms);
                command
            }
            Self::Propose { .. } => Command::Propose,
            Self::Review { .. } => Command::Review,
            Self::Accept { .. } => Command::Accept,
            Self::Decline { .. } => Command::Decline,
            Self::Proceed { .. } => Command::Proceed,
            Self::Advise { favourable, .. } => Command::Advise { favourable },
            Self::AnswerAdvice { followed, .. } => Command::AnswerAdvice { followed },
            Self::Assure { .. } => Command::Assure,
            Self::OpenSigning { .. } => Command::OpenSigning { blocked: false, evaluated: false }, // looked at when it is taken
            Self::Sign { signature } => return sign(app, id, wanted, signature).await,
            Self::Activate { .. } => Command::Ask(Pending::Activation),
            Self::Terminate { .. } => Command::Ask(Pending::Termination { asked: None }),
            Self::Succeed { of, by, .. } => {
                let of = of.parse().map_err(|_| invalid("of: not an organisation"))?;
                let by: sharing::OrganisationId =
                    by.parse().map_err(|_| invalid("by: not an organisation"))?;
                if app.policies().set.organisation(&by).is_none() {
                    return Err(invalid("by: not a registered organisation"));
                }
                Command::Ask(Pending::succession(of, by))
            }
            Self::Confirm { .. } => Command::Confirm,
            Self::Reject { .. } => Command::Reject,
            Self::Withdraw { .. } => Command::Withdraw,
            Self::Suspend { scope, reason, .. } => {
                if reason == StopReason::ReviewMissed {
                    return Err(invalid("reason: time alone suspends for a missed review"));
                }
                Command::Suspend { scope, reason }
            }
            Self::Resume { scope, .. } => Command::Resume(scope),
            Self::Exit { .. } => Command::Exit,
            Self::Reviewed { next_on, .. } => {
                if sharing::agreement::london_midnight(next_on) <= app.clock.now() {
                    return Err(Refused::Step(StepError::Refused(
                        sharing::agreement::lifecycle::Refusal::ReviewNotAhead,
                    )));
                }
                wanted.looked_at = usage::looked_at(app, id).await?;
                Command::Reviewed { next_on }
            }
        });
        Ok(wanted)
    }
}

/// The revision that a step is made to. A free one does without.
pub(super) fn revision(if_match: Option<&HeaderValue>, free: bool) -> Result<Option<i64>, Problem> {
    let Some(sent) = if_match else { return if free { Ok(None) } else { Err(Problem::VersionMissing) } };
    let tag = sent.to_str().ok().and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
    let revision = tag.and_then(|tag| tag.parse().ok().filter(|revision: &i64| revision.to_string() == tag));
    revision.map(Some).ok_or(Problem::VersionMismatch)
}

/// How terms are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Revised,
    Varied,
    Countered,
}

fn terms(
    app: &App,
    (id, row): (&AgreementId, &ManagedRow),
    offered: Value,
    how: Written,
) -> Result<(Command, Terms), Refused> {
    let managed = agreements::read(row)?;
    let version = match how {
        Written::Revised => managed.latest,
        Written::Varied | Written::Countered => managed.latest + 1,
    };
    let invalid = |error: sharing::agreement::terms::TermsError| {
        Refused::Problem(Problem::InvalidRequest(error.to_string()))
    };
    let terms = Terms::offered(id, version, offered).map_err(invalid)?;
    let outline = agreements::outline(&app.policies().set, &terms)?;
    if how == Written::Countered {
        let same = agreements::canonical(&terms.as_version(managed.latest))?.1;
        if managed.outline().is_some_and(|outline| outline.terms_sha256 == same) {
            return Err(Refused::Step(StepError::Refused(sharing::agreement::lifecycle::Refusal::SameTerms)));
        }
    }
    let command = match how {
        Written::Revised => Command::Revise(outline),
        Written::Varied => Command::Vary(outline),
        Written::Countered => Command::Counter(outline),
    };
    Ok((command, terms))
}

/// Signing: the signature is checked against the office that the person holds, and over the terms that are kept.
async fn sign<'a>(
    app: &App,
    id: &AgreementId,
    mut wanted: Wanted<'a>,
    detached: String,
) -> Result<Wanted<'a>, Refused> {
    use sharing::agreement::lifecycle::Refusal as Not;
    let invalid = |what: String| Refused::Problem(Problem::InvalidRequest(what));
    let said = signature::statement(&detached).map_err(|fault| invalid(format!("signature: {fault}")))?;
    let hand = wanted.hand.ok_or(Refused::Step(StepError::Unavailable))?;
    let offices = app.store.offices(&hand.person.organisation, &hand.person.id).await?;
    // Whoever has left the office signs nothing, whatever their key still can.
    let office = offices.into_iter().find(|office| office.role == said.role);
    let office = office.ok_or(Refused::Problem(Problem::NotAllowed(
        "you hold no such office for your organisation; have it registered at /v1/agreement-officers",
    )))?;
    let (Some(jwk), Some(key_id)) = (&office.jwk, &office.key_id) else {
        let unsigned = Problem::NotAllowed(
            "this office signs no agreements; a SIRO, a Caldicott Guardian or an information asset owner does",
        );
        return Err(match office.role.as_str() {
            "dpo" => Refused::Step(StepError::Refused(Not::DpoApproves)),
            _ => Refused::Problem(unsigned),
        });
    };
    if let Some(fault) = signature::shared_key(app, &office).await? {
        return Err(Refused::Problem(Problem::WrongState(fault)));
    }
    let row = app.store.terms(id, said.version).await?;
    let row = row.ok_or(Refused::Step(StepError::Refused(Not::OtherVersion)))?;
    let expected = Statement {
        agreement: id.to_string(),
        version: said.version,
        terms_sha256: row.terms_sha256.clone(),
        organisation: hand.person.organisation.to_string(),
        signatory: hand.person.id.clone(),
        role: office.role.clone(),
        signed_at: said.signed_at,
    };
    signature::verify(&detached, &row.terms, (jwk, key_id), &expected)
        .map_err(|fault| invalid(format!("signature: {fault}")))?;
    let now = app.clock.now();
    let at = jiff::Timestamp::from_second(said.signed_at)
        .map_err(|_| invalid("signature: `signed_at` is not a time".to_owned()))?;
    let age_s = now.as_second() - at.as_second();
    if !(-signature::SKEW_S..=7 * 86_400).contains(&age_s) {
        return Err(invalid(
            "signature: `signed_at` is in the future or more than a week ago; sign again".to_owned(),
        ));
    }
    // What was signed in an office that is over is not signed in the one that came after it.
    let since_s = office.registered_us.unwrap_or(i64::MAX).div_euclid(1_000_000);
    if said.signed_at < since_s - signature::SKEW_S {
        return Err(invalid(
            "signature: `signed_at` is before your office was registered; sign again".to_owned(),
        ));
    }
    let role = signatory_role(&office.role)?;
    wanted.command = Some(Command::Sign(Signing {
        version: said.version,
        terms_sha256: row.terms_sha256,
        role,
        person: hand.person.clone(),
        name: office.name,
        at: at.min(now),
    }));
    wanted.signature = Some((detached, office.id));
    Ok(wanted)
}
