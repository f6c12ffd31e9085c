//! An agreement as a caller sees it.

use sharing::agreement::lifecycle::{Deal, InForce, Live, Party, Pending, Possible, Stop};
use store::TermsRow;

use super::{Managed, ManagedRow, Receipt, Scope, Serialize, ToSchema, comments::CommentBody, time};
use crate::routes::described::StopScope;

/// An agreement.
#[derive(Serialize, ToSchema)]
pub struct ManagedBody {
    /// Its name.
    id: String,
    /// What it is called in the newest of its terms that you see.
    title: String,
    /// How many steps it has taken. Send it as `If-Match`, in quotes.
    revision: i64,
    /// `draft`, `proposed`, `counter-proposed`, `agreed-in-principle`, `quality-assured`, `awaiting-signature`, `active`,
    /// `review-due`, `overdue`, `suspended`, `expired`, `terminated` or `withdrawn`: that of what is in force, while anything is.
    state: String,
    /// The organisation that convenes its parties.
    convener: String,
    /// What is negotiated.
    #[serde(skip_serializing_if = "Option::is_none")]
    negotiated: Option<VersionBody>,
    /// What is in force, or was last.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force: Option<VersionBody>,
    /// The organisation that drafts a next version. What it writes is its own until it is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    drafted_by: Option<String>,
    /// What is switched off.
    stops: Vec<StopBody>,
    /// What waits for a second person: `activation`, `termination` or `succession`.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for_confirmation: Option<&'static str>,
    /// Every version, the oldest first.
    versions: Vec<VersionLine>,
    /// Comments that wait for an answer, with who has to give it. Signing is not opened while one of them is `blocking`.
    unresolved_comments: Vec<CommentBody>,
    /// When it took its last step.
    moved_at: String,
    /// Which steps the caller's person can take now, where one agreement is asked for: of those that need neither terms nor a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    possible: Option<Vec<&'static str>>,
    /// Which of them wait for something that can be done, where one agreement is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_yet: Option<Vec<NotYetBody>>,
    /// Where the step is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// A step that waits for something.
#[derive(Serialize, ToSchema)]
pub struct NotYetBody {
    /// Which.
    step: &'static str,
    /// Why it would be refused, as its `code` would say.
    #[schema(example = "comments-open")]
    code: &'static str,
    /// The same, and what to do.
    advice: &'static str,
}

/// Agreements.
#[derive(Serialize, ToSchema)]
pub struct ManagedListBody {
    /// At most 500, by name.
    pub(super) agreements: Vec<ManagedBody>,
}

/// A version, and where its parties stand.
#[derive(Serialize, ToSchema)]
pub struct VersionBody {
    /// Which.
    version: u32,
    /// SHA-256 of its terms as canonical JSON.
    terms_sha256: String,
    /// Its own state.
    state: &'static str,
    /// When the parties look at it again.
    review_on: String,
    /// Its parties.
    parties: Vec<PartyBody>,
}

/// A party.
#[derive(Serialize, ToSchema)]
pub struct PartyBody {
    /// Which.
    organisation: String,
    /// `invited`, `reviewing`, `signed`, `declined` or `exited`.
    state: &'static str,
    /// The roles in which somebody has to sign for it.
    needs: Vec<&'static str>,
    /// The roles in which somebody has.
    signed: Vec<&'static str>,
    /// What its data protection officer advised: `favourable` or `unfavourable`, with `followed` or `not-followed` behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// The organisation that has taken its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    succeeded_by: Option<String>,
}

/// Something that is switched off.
#[derive(Serialize, ToSchema)]
pub struct StopBody {
    /// `"agreement"`, `{"party": "…"}` or `{"flow": "…"}`.
    #[schema(value_type = StopScope)]
    scope: Scope,
    /// Why.
    reason: &'static str,
    /// The organisation that switched it off; none where time did.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

impl StopBody {
    /// What is switched off of this.
    pub fn all(live: &Live) -> Vec<Self> {
        let stop = |stop: &Stop| Self {
            scope: stop.scope.clone(),
            reason: stop.reason.as_str(),
            by: stop.by.as_ref().map(|act| act.by.organisation.to_string()),
        };
        live.stops.iter().map(stop).collect()
    }
}

/// A version, in a line.
#[derive(Serialize, ToSchema)]
pub struct VersionLine {
    /// Which.
    version: i64,
    /// SHA-256 of its terms.
    terms_sha256: String,
    /// The organisation that wrote it.
    organisation: String,
    /// When.
    written_at: String,
    /// `countered`, `varied` or `withdrawn`, where it is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    fate: Option<sharing::agreement::lifecycle::Fate>,
}

impl ManagedBody {
    pub(super) fn of(
        row: &ManagedRow,
        managed: &Managed,
        drafted_by: Option<String>,
        (terms, unresolved_comments): (&[TermsRow], Vec<CommentBody>),
        receipt: Option<Receipt>,
    ) -> Self {
        let live = managed.in_force.as_ref().map(InForce::live);
        let in_force = managed.in_force.as_ref().map(|in_force| {
            let live = in_force.live();
            VersionBody { state: in_force.state(), ..version(&live.deal, Some(live)) }
        });
        let negotiated = managed
            .next
            .as_ref()
            .map(|next| VersionBody { state: next.state(), ..version(next.deal(), None) });
        let pending = live.and_then(|live| live.pending.as_ref()).map(|pending| match pending {
            Pending::Activation => "activation",
            Pending::Termination { .. } => "termination",
            Pending::Succession { .. } => "succession",
        });
        let versions = terms.iter().map(|row| VersionLine {
            version: row.version,
            terms_sha256: row.terms_sha256.clone(),
            organisation: row.organisation.clone(),
            written_at: time(row.written_us),
            fate: managed
                .past
                .iter()
                .find(|past| i64::from(past.version) == row.version)
                .map(|past| past.fate),
        });
        Self {
            title: terms.last().and_then(title).unwrap_or_else(|| row.id.clone()),
            id: row.id.clone(),
            revision: row.revision,
            state: managed.state().to_owned(),
            convener: managed.convener.to_string(),
            negotiated,
            in_force,
            drafted_by,
            stops: live.map(StopBody::all).unwrap_or_default(),
            waits_for_confirmation: if managed.waits_for_activation() { Some("activation") } else { pending },
            versions: versions.collect(),
            unresolved_comments,
            moved_at: time(row.moved_us),
            possible: None,
            not_yet: None,
            receipt,
        }
    }

    /// With what the caller's person can do.
    pub(super) fn offering(mut self, possible: Possible) -> Self {
        let not_yet = possible.not_yet.into_iter().map(|(step, refusal)| NotYetBody {
            step,
            code: refusal.as_str(),
            advice: refusal.advice(),
        });
        (self.possible, self.not_yet) = (Some(possible.now), Some(not_yet.collect()));
        self
    }
}

fn title(row: &TermsRow) -> Option<String> {
    let terms: serde_json::Value = serde_json::from_str(&row.terms).ok()?;
    terms.get("title")?.as_str().map(str::to_owned)
}

fn version(deal: &Deal, live: Option<&Live>) -> VersionBody {
    let outline = &deal.outline;
    let parties = deal.parties.iter().map(|(organisation, party)| {
        let needs = outline.parties.get(organisation).map(|party| party.roles.clone()).unwrap_or_default();
        PartyBody {
            organisation: organisation.to_string(),
            state: party.state(),
            needs: needs.into_iter().map(sharing::agreement::SignatoryRole::as_str).collect(),
            signed: party.signatures().iter().map(|signing| signing.role.as_str()).collect(),
            advice: advice(party),
            succeeded_by: live.and_then(|live| live.successors.get(organisation)).map(ToString::to_string),
        }
    });
    VersionBody {
        version: outline.version,
        terms_sha256: outline.terms_sha256.clone(),
        state: "",
        review_on: live.map_or(outline.review_on, |live| live.review_on).to_string(),
        parties: parties.collect(),
    }
}

fn advice(party: &Party) -> Option<String> {
    let advice = party.advice()?;
    let said = if advice.favourable { "favourable" } else { "unfavourable" };
    let answered = match advice.answered {
        None => "",
        Some((_, true)) => " followed",
        Some((_, false)) => " not-followed",
    };
    Some(format!("{said}{answered}"))
}
