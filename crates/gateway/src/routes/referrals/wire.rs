//! What requests for one-off disclosures and decisions about them look like.
//!
//! The forms' fields are those of the ICO Data Sharing Code of Practice (2021), request and decision forms.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sharing::agreement::{Confidentiality, LawfulBasis};
use store::{ReferralMessage, ReferralRow};
use utoipa::ToSchema;

use crate::{
    kept,
    routes::{agreements::StopBody, alerts::time},
};

/// The request form. Do not name the person in it: the decision it belongs to does.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestForm {
    /// Your position.
    pub(super) position: String,
    /// Why it is needed, and for what exactly.
    pub(super) purpose_in_words: String,
    /// Why each item is needed, and why no less would do.
    pub(super) items_in_words: String,
    /// What is likely to happen if it is not shared.
    pub(super) harm_if_not_shared: String,
    /// How it will be kept, for how long, and how it is deleted.
    pub(super) retention_and_deletion: String,
    /// By when it is needed: an RFC 3339 time.
    pub(super) needed_by: String,
    /// How to reach you.
    pub(super) contact: String,
}

/// A question to the requester, or an answer to one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageRequest {
    /// What you ask or answer, in 3 to 4,000 characters.
    pub(super) text: String,
}

/// The decision form.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DecisionForm {
    /// Allow a one-off disclosure.
    Grant {
        /// What may leave, each as `item:form`; all of it must have been asked for.
        items: Vec<String>,
        /// The record holder's lawful basis, with the members `article_6`, `article_9`, `schedule_1`,
        /// `article_10` of an agreement.
        #[schema(value_type = Object)]
        lawful_basis: LawfulBasis,
        /// How the common-law duty of confidentiality is met, as in an agreement.
        #[schema(value_type = Object)]
        confidentiality: Confidentiality,
        /// For how long it can be used, in minutes: at most seven days.
        minutes: u32,
        /// Days after which the requester deletes it.
        retain_days: u16,
        /// Why, weighing the benefit against the harm.
        reason: String,
    },
    /// Refuse.
    Refuse {
        /// Why.
        reason: String,
    },
}

/// A request for a one-off disclosure.
#[derive(Serialize, ToSchema)]
pub struct ReferralBody {
    /// The decision that it follows, which is its name.
    pub(super) decision_id: String,
    /// The organisation that asks.
    pub(super) recipient: String,
    /// The practitioner who asks.
    pub(super) practitioner: String,
    /// The record holder.
    pub(super) provider: String,
    /// For what.
    pub(super) purpose: String,
    /// The items asked for; none is everything that would be agreed.
    pub(super) asked: Vec<String>,
    /// `waiting-for-form`, `requested`, `taken`, `question-asked`, `granted`, `refused` or `revoked`.
    pub(super) state: String,
    /// When it was opened.
    pub(super) opened_at: String,
    /// By when it should be decided.
    pub(super) due: String,
    /// Whether that time has passed.
    pub(super) overdue: bool,
    /// The named person who took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) taken_by: Option<String>,
    /// Agreements that would cover it and are not in force now, as where one is switched off after a breach: whoever decides knows it. In a
    /// list it is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) not_in_force: Vec<NotInForceBody>,
    /// What the requester wrote.
    #[schema(value_type = Object)]
    pub(super) form: serde_json::Value,
    /// What was decided and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub(super) outcome: Option<serde_json::Value>,
    /// What was asked and answered about it.
    pub(super) messages: Vec<MessageBody>,
}

/// An agreement that is not in force now.
#[derive(Serialize, ToSchema)]
pub struct NotInForceBody {
    /// Which.
    pub(super) agreement: String,
    /// Its flow.
    pub(super) flow: String,
    /// What is switched off of it, why and by whom, where it is managed over the API.
    pub(super) stops: Vec<StopBody>,
}

/// A question or an answer.
#[derive(Serialize, ToSchema)]
pub struct MessageBody {
    /// The organisation of whoever wrote it.
    pub(super) organisation: String,
    /// Who wrote it.
    pub(super) author: String,
    /// When.
    pub(super) at: String,
    /// What.
    pub(super) text: String,
}

/// What waits.
#[derive(Serialize, ToSchema)]
pub struct ReferralsBody {
    /// At most 200, those due first at the top.
    pub(super) referrals: Vec<ReferralBody>,
}

pub(super) fn body(row: &ReferralRow, messages: &[ReferralMessage], now: Timestamp) -> ReferralBody {
    let decided = matches!(row.state.as_str(), "granted" | "refused" | "revoked");
    ReferralBody {
        decision_id: row.decision_id.clone(),
        recipient: row.recipient.clone(),
        practitioner: row.practitioner.clone(),
        provider: row.provider.clone(),
        purpose: row.purpose.clone(),
        asked: serde_json::from_str(&row.asked).unwrap_or_default(),
        state: row.state.clone(),
        opened_at: time(row.opened_us),
        due: time(row.due_us),
        overdue: !decided && row.due_us <= now.as_microsecond(),
        taken_by: row.taken_by.clone(),
        not_in_force: Vec::new(),
        form: kept::members(&row.form),
        outcome: row.outcome.as_deref().map(kept::members),
        messages: messages
            .iter()
            .map(|message| MessageBody {
                organisation: message.organisation.clone(),
                author: message.author.clone(),
                at: time(message.at_us),
                text: kept::words(&message.text),
            })
            .collect(),
    }
}
