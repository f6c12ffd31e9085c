//! A decision in words: for the practitioner who asked, and in full for an information governance officer.
//!
//! It reads what the ledger keeps (codes of rules and reasons), so that a decision of years ago can be explained.
//! What a practitioner reads says nothing about the person that the answer itself did not say.

use std::str::FromStr;

use crate::{
    decide::{Reason, Rule},
    policy::PolicySet,
    purpose::PurposeClass,
};

/// What the ledger says of a decision.
#[derive(Debug, Clone)]
pub struct Recorded<'a> {
    /// The organisation that asked.
    pub recipient: &'a str,
    /// The record holder.
    pub provider: &'a str,
    /// For what.
    pub purpose: &'a str,
    /// The agreement and its version, where one was found.
    pub agreement: Option<(&'a str, u32)>,
    /// The grant it rests on.
    pub grant: Option<&'a str>,
    /// The emergency it was asked under.
    pub break_glass: Option<&'a str>,
    /// Every rule, as `rule=outcome`.
    pub trace: &'a [String],
    /// The reasons of the first decision.
    pub reasons: &'a [String],
    /// How it ended.
    pub end: End<'a>,
    /// Where names are; without it, codes stand for them.
    pub names: Option<&'a PolicySet>,
}

/// How a decision ended.
#[derive(Debug, Clone)]
pub enum End<'a> {
    /// Nothing further is recorded: a refusal or referral, or a question that is still open.
    None,
    /// A record was released.
    Released {
        /// The items, as `item:form`.
        items: &'a [String],
    },
    /// It was permitted, and nothing was to be released.
    AnswerOnly,
    /// It ended without a release.
    NotReleased {
        /// How.
        outcome: &'a str,
        /// Why.
        reasons: &'a [String],
    },
}

/// A rule that was looked at, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInWords {
    /// Its name.
    pub rule: String,
    /// `pass`, `fail`, `n/a` or `overridden`.
    pub outcome: String,
    /// What it asks, as a sentence.
    pub sentence: &'static str,
}

/// What a decision came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Result {
    /// A record was released, or would have been.
    Permitted,
    /// It was refused because of the agreement.
    Refused,
    /// No record was available. Whether somebody of this identifier is known is not said.
    NotAvailable,
    /// A person has to decide it.
    Referred,
    /// The record holder did not answer, or its answer was not used.
    NoAnswer,
    /// It has not ended yet.
    Open,
}

impl Result {
    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permitted => "permitted",
            Self::Refused => "refused",
            Self::NotAvailable => "no-record-available",
            Self::Referred => "referred",
            Self::NoAnswer => "no-answer",
            Self::Open => "open",
        }
    }
}

/// Whom an explanation is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Asker,
    Other,
}

impl Recorded<'_> {
    /// What it came to, as the caller was told. `referred` says that the first decision left it to a person.
    pub fn result(&self, referred: bool) -> Result {
        match &self.end {
            End::Released { .. } | End::AnswerOnly => Result::Permitted,
            End::None if referred => Result::Referred,
            End::None if self.reasons.is_empty() => Result::Open,
            End::None => Result::Refused,
            End::NotReleased { outcome, .. } if *outcome != "not_released" => Result::NoAnswer,
            End::NotReleased { reasons, .. } => {
                if about_agreement(reasons).next().is_some() {
                    Result::Refused
                } else {
                    Result::NotAvailable
                }
            }
        }
    }

    /// For the practitioner who asked: what happened and what to do next.
    pub fn to_practitioner(&self, referred: bool) -> Vec<String> {
        self.told(referred, Reader::Asker)
    }

    /// For whoever did not ask themselves: a colleague of theirs, an officer, an auditor. It says no more than the practitioner
    /// was told.
    pub fn to_others(&self, referred: bool) -> Vec<String> {
        self.told(referred, Reader::Other)
    }

    fn told(&self, referred: bool, reader: Reader) -> Vec<String> {
        let asker =
            self.names.map_or_else(|| self.recipient.to_owned(), |set| organisation(set, self.recipient));
        let holder =
            self.names.map_or_else(|| self.provider.to_owned(), |set| record_holder(set, self.provider));
        let mut words = vec![format!("{asker} asked {holder} for a record, for {}.", purpose(self.purpose))];
        match self.result(referred) {
            Result::Permitted => {
                words.push(self.authority_in_words(reader));
                if let End::Released { items } = &self.end {
                    let items = self.names.map_or_else(
                        || items.join(", "),
                        |set| {
                            let named = items.iter().map(|item| released_item(set, self.provider, item));
                            named.collect::<Vec<_>>().join("; ")
                        },
                    );
                    words.push(format!("What was released: {items}."));
                }
            }
            Result::Refused => {
                let reasons: &[String] = match &self.end {
                    End::NotReleased { reasons, .. } => reasons,
                    _ => self.reasons,
                };
                words.push("It was refused, whoever the person is.".to_owned());
                words.extend(about_agreement(reasons).map(|reason| match reader {
                    Reader::Asker => capitalised(reason.advice()),
                    Reader::Other => reason.sentence().to_owned(),
                }));
            }
            Result::NotAvailable if reader == Reader::Other => {
                words.push("No record could be released for this identifier and purpose.".to_owned());
                words.push(
                    "Whoever asked was told what is told when nobody of that identifier is known, too: their answer says nothing about the person."
                        .to_owned(),
                );
            }
            Result::NotAvailable => {
                words.push("No record could be released for this identifier and purpose.".to_owned());
                words.push(
                    "You get this answer when nobody of that identifier is known, and also whenever a record may not be told. It says nothing about the person."
                        .to_owned(),
                );
                words.push(format!(
                    "Check the identifier against your source. If you still need it, ask for a one-off disclosure; if somebody is in danger, {}.",
                    "declare break-glass where your purpose allows it, or ring the record holder"
                ));
            }
            Result::Referred if reader == Reader::Other => words.push(
                "No agreement covers this, but a one-off disclosure may be lawful. Whoever asked can say why they need it, and a named person of the record holder decides."
                    .to_owned(),
            ),
            Result::NoAnswer if reader == Reader::Other => words.push(
                "The record holder did not answer, or its answer could not be used. Nothing was released.".to_owned(),
            ),
            Result::Referred => words.push(
                "No agreement covers this, but a one-off disclosure may be lawful. Say why you need it, and a named person of the record holder decides."
                    .to_owned(),
            ),
            Result::NoAnswer => words.push(
                "The record holder did not answer, or its answer could not be used. Nothing was released; try again, or contact the record holder."
                    .to_owned(),
            ),
            Result::Open => words.push("It has not ended yet.".to_owned()),
        }
        words
    }

    /// For an officer: every rule that was looked at.
    pub fn to_officer(&self) -> Vec<RuleInWords> {
        let lines = self.trace.iter().filter_map(|step| step.split_once('='));
        lines
            .map(|(rule, outcome)| RuleInWords {
                rule: rule.to_owned(),
                outcome: outcome.to_owned(),
                sentence: rule.parse::<Rule>().map_or("A rule of another version.", Rule::sentence),
            })
            .collect()
    }

    /// For an officer: every reason, of both decisions.
    pub fn reasons_to_officer(&self) -> Vec<(String, &'static str)> {
        let after: &[String] = match &self.end {
            End::NotReleased { reasons, .. } => reasons,
            End::None | End::Released { .. } | End::AnswerOnly => &[],
        };
        let mut told: Vec<(String, &'static str)> = Vec::new();
        for code in self.reasons.iter().chain(after) {
            if !told.iter().any(|(known, _)| known == code) {
                let sentence = code.parse::<Reason>().map_or("See docs/ledger.md.", Reason::sentence);
                told.push((code.clone(), sentence));
            }
        }
        told
    }

    fn authority_in_words(&self, reader: Reader) -> String {
        let emergency = match (self.break_glass, reader) {
            (None, _) => "",
            (Some(_), Reader::Asker) => " You declared an emergency, which will be reviewed.",
            (Some(_), Reader::Other) => {
                " Whoever asked had declared an emergency, which is reviewed by somebody else."
            }
        };
        match (self.agreement, self.grant) {
            (Some((agreement, version)), _) => {
                let title = self.names.and_then(|set| agreement_title(set, agreement));
                let called =
                    title.map_or_else(|| agreement.to_owned(), |title| format!("“{title}” ({agreement})"));
                format!("It was allowed by agreement {called}, version {version}.{emergency}")
            }
            (None, Some(grant)) => {
                format!("A named person of the record holder allowed this one disclosure ({grant}).")
            }
            (None, None) => format!("No agreement covers it.{emergency}"),
        }
    }
}

/// An organisation's name; its code where nothing defines it any more.
pub fn organisation(set: &PolicySet, id: &str) -> String {
    let known = id.parse().ok().and_then(|id| set.organisation(&id));
    known.map_or_else(|| id.to_owned(), |known| known.name.clone())
}

/// A record holder's name; its code where nothing defines it any more.
pub fn record_holder(set: &PolicySet, id: &str) -> String {
    let known = id.parse().ok().and_then(|id| set.provider(&id));
    known.map_or_else(|| id.to_owned(), |known| known.provider.name.clone())
}

/// An item's title at a record holder, or at any that has it; its code where none has.
pub fn item(set: &PolicySet, provider: &str, item: &str) -> String {
    let Ok(id) = item.parse() else { return item.to_owned() };
    let of_holder = provider.parse().ok().and_then(|holder| set.provider(&holder)?.item(&id));
    let known = of_holder.or_else(|| set.providers().find_map(|holder| holder.item(&id)));
    known.map_or_else(|| item.to_owned(), |known| known.title.clone())
}

/// An item with its form, as `item:form`, in words. What left may be less than the item's name says.
pub fn released_item(set: &PolicySet, provider: &str, released: &str) -> String {
    let (id, form) = released.split_once(':').unwrap_or((released, "as-is"));
    let title = item(set, provider, id);
    match form {
        "as-is" => title,
        "yes-no" => format!("{title} (only yes or no)"),
        other => format!("{title} (only as {})", other.replace('-', " ")),
    }
}

/// An agreement's title, where it is in the set.
pub fn agreement_title(set: &PolicySet, id: &str) -> Option<String> {
    set.agreements().find(|known| known.id().as_str() == id).map(|known| known.title.clone())
}

/// The reasons among these that are about the agreement: what a caller may be told. Without one, a question that was not answered was
/// answered as if nobody were known.
pub fn about_agreement(codes: &[String]) -> impl Iterator<Item = Reason> + '_ {
    codes.iter().filter_map(|code| code.parse::<Reason>().ok()).filter(|reason| !reason.depends_on_person())
}

/// What a purpose is, in words for everybody: what comes after "for".
pub fn purpose(code: &str) -> String {
    code.parse::<PurposeClass>().map_or_else(|_| code.replace('-', " "), |purpose| purpose.title().to_owned())
}

fn capitalised(sentence: &str) -> String {
    let mut characters = sentence.chars();
    let first = characters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", characters.as_str())
}

/// A code that this version does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown code")]
pub struct UnknownCode;

impl FromStr for Reason {
    type Err = UnknownCode;

    fn from_str(code: &str) -> std::result::Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == code).ok_or(UnknownCode)
    }
}

impl FromStr for Rule {
    type Err = UnknownCode;

    fn from_str(code: &str) -> std::result::Result<Self, UnknownCode> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == code).ok_or(UnknownCode)
    }
}

impl Rule {
    /// What the rule asks.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Purpose => {
                "The organisation is registered for the purpose, and the purpose may release a person's record."
            }
            Self::Agreement => {
                "A data flow covers this organisation asking this record holder for this purpose."
            }
            Self::Status => "The agreement is active.",
            Self::Dates => "The agreement has begun and has not ended.",
            Self::Signatures => "Both ends of the flow have been signed for by somebody who may approve.",
            Self::Dpia => "The impact assessment is accepted and current.",
            Self::Identifier => "The flow allows asking by this kind of identifier.",
            Self::Role => "The flow allows the practitioner's role to ask.",
            Self::List => "The flow allows lists of so many people.",
            Self::Items => "Something that was asked for is agreed.",
            Self::LegalBasis => {
                "Both parties' legal bases are complete, and fit the purpose and the category of every item asked for; the duty of confidentiality is met."
            }
            Self::Deceased => "The person is alive, where the purpose leads to contact.",
            Self::Restricted => {
                "The record is not restricted, or something can be told that does not locate the person."
            }
            Self::Objection => "No objection or dissent of the person stops the purpose.",
            Self::Consent => "The person's consent holds, where consent decides.",
            Self::Cohort => "The person is one of those whom the flow is about.",
            Self::Relationship => {
                "The practitioner has a relationship with the person that the flow accepts."
            }
            Self::OptOut => {
                "The national data opt-out was checked and leaves the person in, where it applies."
            }
            Self::Exception => "The grant or emergency that was relied on holds.",
            Self::Guardrail => "No local guardrail forbids it.",
        }
    }
}

impl Reason {
    /// What was wrong, for an officer.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::PurposeNotRegistered => "The organisation is not registered for the purpose.",
            Self::PurposeAggregateOnly => "The purpose releases aggregates only.",
            Self::NoAgreement => "No data flow covers this organisation, record holder and purpose.",
            Self::AgreementNotActive => "The agreement is a draft, suspended or terminated.",
            Self::AgreementNotYetEffective => "The agreement had not begun.",
            Self::AgreementEnded => "The agreement had ended.",
            Self::AgreementNotSigned => "One end of the flow had not been signed for.",
            Self::DpiaNotCurrent => "The impact assessment was open or out of date.",
            Self::IdentifierNotAllowed => "The flow does not allow this kind of identifier.",
            Self::RoleNotAllowed => "The flow does not allow this role.",
            Self::ListNotAllowed => "The flow is for single look-ups, or for shorter lists.",
            Self::ItemsNotAgreed => "Nothing that was asked for is agreed.",
            Self::LegalBasisIncomplete => "A legal basis was missing for an item asked for.",
            Self::PolicyChanged => "The agreement changed between the question and the release.",
            Self::Deceased => "The person has died and the purpose leads to contact.",
            Self::Restricted => "The record is restricted. The asker must not learn so.",
            Self::RestrictionUnconfirmed => {
                "Whoever is asked whether the record is restricted could not say: the record has no identifier known there, or a wrong one. Mend the record."
            }
            Self::Objection => "An objection or dissent of the person stands.",
            Self::ConsentAbsent => "Consent decides and none is held.",
            Self::ConsentEnded => {
                "Consent decides and what was held has been withdrawn, refused about the same time or later, or has run out."
            }
            Self::ConsentForOther => {
                "Consent decides, and what the person was shown when they said yes does not cover this: it is of another flow, of fewer items, or kept for longer or passed on further than they were told."
            }
            Self::OutOfCohort => "The person is not one of those whom the flow is about.",
            Self::BasisNotForPurpose => "A recorded legal basis does not fit the purpose.",
            Self::Section251Expired => "The section 251 support had expired.",
            Self::SocialCareExcluded => "Social care data was asked for under support that leaves it out.",
            Self::NoRelationship => "No relationship with the person is recorded that the flow accepts.",
            Self::BreakGlassNotHeld => {
                "The emergency named was not this practitioner's, was for another purpose, or had run out."
            }
            Self::BreakGlassNotForPurpose => "The purpose knows no break-glass.",
            Self::GuardrailForbids => "A local guardrail forbids it, whoever the person is.",
            Self::ExceptionEnded => "The grant or emergency had ended.",
            Self::OptedOut => {
                "The person has opted out, and the opt-out applies. This must not be shown to the asker."
            }
            Self::OptOutNotChecked => {
                "The opt-out applies and no check in force covers the person: import one."
            }
            Self::GuardrailForbidsPerson => "A local guardrail forbids it for this person.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded<'a>(reasons: &'a [String], end: End<'a>) -> Recorded<'a> {
        Recorded {
            recipient: "gmca",
            provider: "nhs-pds",
            purpose: "fire-prevention-targeting",
            agreement: Some(("a", 2)),
            grant: None,
            break_glass: None,
            trace: &[],
            reasons,
            end,
            names: None,
        }
    }

    #[test]
    fn a_practitioner_reads_the_same_for_every_refusal_about_a_person() {
        let unknown = ["subject-unknown".to_owned()];
        let not_known = recorded(&[], End::NotReleased { outcome: "not_released", reasons: &unknown });
        for reason in Reason::ALL.into_iter().filter(|reason| reason.depends_on_person()) {
            let codes = [reason.as_str().to_owned()];
            let refused = recorded(&codes, End::NotReleased { outcome: "not_released", reasons: &codes });
            assert_eq!(
                refused.to_practitioner(false),
                not_known.to_practitioner(false),
                "{}",
                reason.as_str()
            );
            assert_eq!(refused.to_others(false), not_known.to_others(false), "{}", reason.as_str());
        }
    }

    #[test]
    fn whoever_did_not_ask_is_not_spoken_to_as_if_they_had() {
        let items = ["person.name:as-is".to_owned()];
        let codes = ["no-agreement".to_owned()];
        let unknown = ["subject-unknown".to_owned()];
        for end in [
            End::Released { items: &items },
            End::NotReleased { outcome: "not_released", reasons: &codes },
            End::NotReleased { outcome: "not_released", reasons: &unknown },
            End::NotReleased { outcome: "upstream_failed", reasons: &[] },
            End::None,
        ] {
            let emergency = Recorded { break_glass: Some("bg_1"), ..recorded(&codes, end) };
            for referred in [false, true] {
                let said = emergency.to_others(referred).join(" ").to_lowercase();
                assert!(
                    !said.split(|letter: char| !letter.is_alphabetic()).any(|word| word.starts_with("you")),
                    "{said}"
                );
            }
        }
        let released =
            Recorded { break_glass: Some("bg_1"), ..recorded(&[], End::Released { items: &items }) };
        assert!(released.to_practitioner(false).join(" ").contains("You declared an emergency"));
    }

    #[test]
    fn every_rule_and_reason_reads_back() {
        for rule in Rule::ALL {
            assert_eq!(rule.as_str().parse(), Ok(rule));
            assert!(rule.sentence().ends_with('.'));
        }
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert!(reason.sentence().ends_with('.'));
        }
    }
}
