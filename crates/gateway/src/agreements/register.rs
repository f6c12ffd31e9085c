//! The public register: which agreements are in force, between whom, for what, under which law, and how much they are used.
//!
//! It is for anybody, so it names no person, says nothing that was written freely between the parties, and gives counts
//! of quarters that are over, under disclosure control. Source: ICO data sharing code of practice (accountability); Freedom
//! of Information Act 2000 s19.

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;
use sharing::{
    Agreement, OrganisationId, PolicySet,
    agreement::{SignatoryRole, Status, lifecycle},
    catalogue::Category,
    explain,
    framework::Framework,
};
use store::{StepRow, StoreError, TermsRow, UseCount};
use utoipa::ToSchema;

use super::{
    document,
    usage::{self, QuarterBody},
};
use crate::app::App;

/// The register.
#[derive(Template, Serialize, ToSchema)]
#[template(path = "register.html")]
pub struct Register {
    /// The day that it was made.
    as_of: String,
    /// How counts are shown.
    counts: &'static str,
    /// What they are made under.
    frameworks: Vec<RegisteredFramework>,
    /// Agreements in force, by name.
    agreements: Vec<Registered>,
}

/// A framework: an accord or memorandum that organisations join.
#[derive(Serialize, ToSchema)]
pub struct RegisteredFramework {
    /// Its name.
    id: String,
    /// Its title.
    title: String,
    /// `not-yet`, `in-force`, `review-overdue` or `ended`.
    standing: &'static str,
    /// First day.
    effective_on: String,
    /// The next review.
    review_on: String,
    /// First day after the last, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_on: Option<String>,
    /// Where it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// Who is a member now.
    members: Vec<String>,
}

/// An agreement in force.
#[derive(Serialize, ToSchema)]
pub struct Registered {
    /// Its name.
    id: String,
    /// Its title.
    title: String,
    /// The version in force.
    version: u32,
    /// `active` or `suspended`.
    status: &'static str,
    /// The accord that its parties joined.
    framework: String,
    /// Where that stands: `in-force`, `review-overdue`, `not-yet`, `ended`, or `not-registered`.
    framework_standing: &'static str,
    /// Parties that have not joined it, or have left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    framework_not_joined: Vec<String>,
    /// First day.
    effective_on: String,
    /// First day after the last.
    ends_on: String,
    /// The next review.
    review_on: String,
    /// The impact assessment.
    assessment: Assessment,
    /// Its parties.
    parties: Vec<RegisteredParty>,
    /// What moves between them.
    flows: Vec<RegisteredFlow>,
    /// Its versions, and why each was written; for agreements that are managed here.
    versions: Vec<RegisteredVersion>,
    /// Each quarter that is over.
    usage: Vec<QuarterBody>,
}

/// An impact assessment (UK GDPR Art 35).
#[derive(Serialize, ToSchema)]
pub struct Assessment {
    /// Its reference.
    reference: String,
    /// Where it is published.
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    /// First day on which it is not current any more.
    current_until: String,
}

/// A party.
#[derive(Serialize, ToSchema)]
pub struct RegisteredParty {
    /// Its name.
    name: String,
    /// What it is.
    kind: &'static str,
    /// Where it tells people.
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_notice: Option<String>,
    /// The roles in which somebody signed. Nobody did for one that took a place as it was signed.
    signed_as: Vec<&'static str>,
    /// Whose places it has taken, as after a merger: signatures, advice and privacy notice are theirs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_place_of: Vec<String>,
    /// Who has taken its place: it takes part no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    place_taken_by: Option<String>,
    /// How its security is assured, as by the Data Security and Protection Toolkit.
    assurances: Vec<RegisteredAssurance>,
}

/// An assurance.
#[derive(Serialize, ToSchema)]
pub struct RegisteredAssurance {
    /// `dspt`, `iso-27001` or `cyber-essentials`.
    scheme: &'static str,
    /// Where it can be looked up.
    link: String,
    /// First day on which it holds no more.
    expires_on: String,
    /// Whether it holds.
    current: bool,
}

/// What moves.
#[derive(Serialize, ToSchema)]
pub struct RegisteredFlow {
    /// Its name.
    id: String,
    /// Whose records.
    from: String,
    /// To whom.
    to: String,
    /// For what.
    purpose: String,
    /// Kinds of items: `ordinary`, `special`, `offence`.
    categories: Vec<&'static str>,
    /// What is shared.
    items: Vec<String>,
    /// The provider's legal basis.
    provider_basis: String,
    /// The recipient's.
    recipient_basis: String,
    /// How confidentiality is met.
    confidentiality: String,
    /// How long it is kept, in days.
    retain_days: u16,
}

/// A version.
#[derive(Serialize, ToSchema)]
pub struct RegisteredVersion {
    /// Which.
    version: i64,
    /// The day it was written.
    written_on: String,
    /// What it came of: `drafted`, `counter-proposed`, `variation-begun`.
    came_of: String,
    /// Why, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The same in words. What the parties wrote beside it is theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
}

/// What the code of a reason for other terms says.
fn why(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "not-necessary" => "the purpose can be met without it",
        "less-would-do" => "less data would do",
        "not-enough" => "the purpose cannot be met with so little",
        "no-lawful-basis" => "the law does not carry it",
        "retention-too-long" => "it is kept too long",
        "risk-to-people" => "it could harm somebody",
        "not-practicable" => "it cannot be done",
        "unclear" => "it can be misunderstood",
        "review-found" => "the review, or the evaluation of a pilot, asks for it",
        "changed" => "the law, the purpose or the parties have changed",
        "renewal" => "it would end, and goes on",
        "other" => "another reason",
        _ => return None,
    })
}

/// Makes the register.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn register(app: &App) -> Result<Register, StoreError> {
    let set = app.policies().set;
    let counts = usage::counted(app, None).await?;
    let today = sharing::agreement::london_day(app.clock.now());
    let mut agreements = Vec::new();
    for agreement in set.agreements().filter(|agreement| is_in_force(agreement, app.clock.now())) {
        let mut versions = app.store.all_terms(agreement.id()).await?;
        let (mut successors, mut signatories) = (BTreeMap::new(), None);
        if let Some(row) = app.store.managed(agreement.id()).await? {
            let managed = super::read(&row).map_err(|error| StoreError::Ledger(error.to_string()))?;
            successors = managed.successors();
            signatories = managed.in_force.as_ref().map(|in_force| in_force.live().deal.parties.clone());
            // What was drafted and never offered is its authors'.
            versions.retain(|terms| {
                managed.drafted_by(u32::try_from(terms.version).unwrap_or_default()).is_none()
            });
        }
        let steps = if versions.is_empty() { Vec::new() } else { app.store.writings(agreement.id()).await? };
        let versions = versions_of(agreement, &versions, &steps);
        let parties = parties((&set, agreement), today, (&successors, signatories.as_ref()));
        agreements.push(registered(&set, agreement, app.clock.now(), (parties, versions, &counts)));
    }
    agreements.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let counts = "counts of quarters that are over; under 8 as *, others rounded to 5";
    let frameworks = set.frameworks().map(|framework| of_framework(&set, framework, app.clock.now()));
    Ok(Register { as_of: today.to_string(), counts, frameworks: frameworks.collect(), agreements })
}

/// Whether it is for the register: signed, begun and not over. What is switched off for now is in it.
pub fn is_in_force(agreement: &Agreement, at: jiff::Timestamp) -> bool {
    matches!(agreement.status.get_ref(), Status::Active | Status::Suspended)
        && sharing::agreement::london_midnight(agreement.effective_on.day()) <= at
        && at < sharing::agreement::london_midnight(agreement.ends_on.day())
}

fn registered(
    set: &PolicySet,
    agreement: &Agreement,
    at: jiff::Timestamp,
    (parties, versions, counts): (Vec<RegisteredParty>, Vec<RegisteredVersion>, &[UseCount]),
) -> Registered {
    let id = agreement.id().to_string();
    let framework = set.framework_of(agreement);
    let parties_of = agreement.parties.iter().map(|party| party.organisation.get_ref());
    let missing = framework.map(|framework| framework.not_joined(parties_of, at)).unwrap_or_default();
    Registered {
        title: agreement.title.clone(),
        version: agreement.version,
        status: agreement.status.get_ref().as_str(),
        framework: framework.map_or_else(|| agreement.framework.clone(), |framework| framework.title.clone()),
        framework_standing: framework.map_or("not-registered", |framework| framework.standing(at).as_str()),
        framework_not_joined: missing
            .iter()
            .map(|party| explain::organisation(set, party.as_str()))
            .collect(),
        effective_on: agreement.effective_on.to_string(),
        ends_on: agreement.ends_on.to_string(),
        review_on: agreement.review_on.to_string(),
        assessment: Assessment {
            reference: agreement.dpia.reference.clone(),
            link: agreement.dpia.link.clone(),
            current_until: agreement.dpia.current_until.to_string(),
        },
        parties,
        flows: flows(set, agreement),
        versions,
        usage: usage::quarters(&counts.iter().filter(|count| count.agreement == id).collect::<Vec<_>>()),
        id,
    }
}

fn of_framework(set: &PolicySet, framework: &Framework, at: jiff::Timestamp) -> RegisteredFramework {
    let members = framework.members.iter().map(|member| member.organisation.get_ref());
    let mut members: Vec<_> = members
        .filter(|member| framework.has_joined(member, at))
        .map(|member| explain::organisation(set, member.as_str()))
        .collect();
    members.dedup();
    RegisteredFramework {
        id: framework.id().to_string(),
        title: framework.title.clone(),
        standing: framework.standing(at).as_str(),
        effective_on: framework.effective_on.to_string(),
        review_on: framework.review_on.to_string(),
        ends_on: framework.ends_on.map(|ends_on| ends_on.to_string()),
        link: framework.link.clone(),
        members,
    }
}

fn parties(
    (set, agreement): (&PolicySet, &Agreement),
    today: jiff::civil::Date,
    (successors, signatories): (
        &BTreeMap<OrganisationId, OrganisationId>,
        Option<&BTreeMap<OrganisationId, lifecycle::Party>>,
    ),
) -> Vec<RegisteredParty> {
    let name = |of: &OrganisationId| explain::organisation(set, of.as_str());
    let parties = agreement.parties.iter().map(|party| {
        let of = party.organisation.get_ref();
        let in_place_of = successors.iter().filter(|(_, by)| *by == of).map(|(old, _)| name(old)).collect();
        let is_signatory = signatories.is_none_or(|signatories| signatories.contains_key(of));
        let organisation = set.organisation(party.organisation.get_ref());
        let own = party.signatures.iter().filter(|_| is_signatory);
        let mut signed_as: Vec<_> = own.map(|signature| signature.role).collect();
        signed_as.sort_unstable();
        signed_as.dedup();
        let assurances = organisation.into_iter().flat_map(|known| &known.assurances).map(|assurance| {
            RegisteredAssurance {
                scheme: assurance.scheme.as_str(),
                link: assurance.link.clone(),
                expires_on: assurance.expires_on.to_string(),
                current: today < assurance.expires_on.day(),
            }
        });
        RegisteredParty {
            name: explain::organisation(set, party.organisation.get_ref().as_str()),
            kind: organisation.map_or("not registered", |known| known.kind.as_str()),
            privacy_notice: party.privacy_notice.clone(),
            signed_as: signed_as.into_iter().map(SignatoryRole::as_str).collect(),
            in_place_of,
            place_taken_by: successors.get(of).map(name),
            assurances: assurances.collect(),
        }
    });
    parties.collect()
}

fn flows(set: &PolicySet, agreement: &Agreement) -> Vec<RegisteredFlow> {
    let flows = agreement.flows.iter().map(|flow| {
        let provider = set.provider(flow.provider.get_ref());
        let items = flow.items.iter().filter_map(|listed| provider?.item(listed.item.get_ref()));
        let mut categories: Vec<_> = items.map(|item| item.category).collect();
        categories.sort_unstable();
        categories.dedup();
        let line = document::flow_line(set, flow);
        RegisteredFlow {
            id: line.id,
            from: line.from,
            to: line.to,
            purpose: line.purpose,
            categories: categories.into_iter().map(Category::as_str).collect(),
            items: line.items.into_iter().map(|item| format!("{} ({})", item.title, item.form)).collect(),
            provider_basis: line.provider_basis,
            recipient_basis: line.recipient_basis,
            confidentiality: line.confidentiality,
            retain_days: line.retain_days,
        }
    });
    flows.collect()
}

/// The versions up to the one in force: what is still negotiated is the parties' own.
fn versions_of(agreement: &Agreement, terms: &[TermsRow], steps: &[StepRow]) -> Vec<RegisteredVersion> {
    let until = i64::from(agreement.version);
    let versions = terms.iter().filter(|row| row.version <= until).map(|row| {
        let step = steps.iter().find(|step| step.version == row.version);
        let at = jiff::Timestamp::from_microsecond(row.written_us).unwrap_or_default();
        RegisteredVersion {
            version: row.version,
            written_on: sharing::agreement::london_day(at).to_string(),
            came_of: step.map_or_else(|| "written".to_owned(), |step| step.action.clone()),
            reason: step.and_then(|step| step.reason.clone()),
            why: step.and_then(|step| why(step.reason.as_deref()?)),
        }
    });
    versions.collect()
}

impl RegisteredParty {
    /// Each as `Trafford Council: dspt until 2027-06-30 (https://…)`.
    fn assurances_in_lines(&self) -> impl Iterator<Item = String> + '_ {
        self.assurances.iter().map(|assurance| {
            let until = if assurance.current { "until" } else { "expired on" };
            format!(
                "{}: {} {until} {} ({})",
                self.name, assurance.scheme, assurance.expires_on, assurance.link
            )
        })
    }
}

impl RegisteredVersion {
    /// As `2: variation-begun 2027-02-01, less-would-do: less data would do`.
    fn in_a_line(&self) -> String {
        let why = self.why.map(|why| format!(": {why}")).unwrap_or_default();
        let reason = self.reason.as_ref().map(|reason| format!(", {reason}{why}")).unwrap_or_default();
        format!("{}: {} {}{reason}", self.version, self.came_of, self.written_on)
    }
}

impl Register {
    /// The register as a table, one flow a line.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn csv(&self) -> Result<String, csv::Error> {
        let mut lines = vec![
            [
                "agreement",
                "title",
                "version",
                "status",
                "effective_on",
                "ends_on",
                "review_on",
                "assessment",
                "assessment_current_until",
                "flow",
                "from",
                "to",
                "purpose",
                "categories",
                "items",
                "provider_basis",
                "recipient_basis",
                "confidentiality",
                "retain_days",
                "usage",
                "versions",
                "framework",
                "framework_standing",
                "assessment_link",
                "assurances",
                "notices",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for agreement in &self.agreements {
            let usage = agreement.usage.iter().map(|quarter| {
                format!("{}: {} questions, {} releases", quarter.quarter, quarter.questions, quarter.releases)
            });
            let usage = usage.collect::<Vec<_>>().join("; ");
            let versions = agreement.versions.iter().map(RegisteredVersion::in_a_line);
            let versions = versions.collect::<Vec<_>>().join("; ");
            let link = agreement.assessment.link.clone().unwrap_or_default();
            let assurances = agreement.parties.iter().flat_map(RegisteredParty::assurances_in_lines);
            let assurances = assurances.collect::<Vec<_>>().join("; ");
            let notices = agreement.parties.iter().filter_map(|party| {
                party.privacy_notice.as_ref().map(|notice| format!("{}: {notice}", party.name))
            });
            let notices = notices.collect::<Vec<_>>().join("; ");
            for flow in &agreement.flows {
                lines.push(vec![
                    agreement.id.clone(),
                    agreement.title.clone(),
                    agreement.version.to_string(),
                    agreement.status.to_owned(),
                    agreement.effective_on.clone(),
                    agreement.ends_on.clone(),
                    agreement.review_on.clone(),
                    agreement.assessment.reference.clone(),
                    agreement.assessment.current_until.clone(),
                    flow.id.clone(),
                    flow.from.clone(),
                    flow.to.clone(),
                    flow.purpose.clone(),
                    flow.categories.join(" "),
                    flow.items.join("; "),
                    flow.provider_basis.clone(),
                    flow.recipient_basis.clone(),
                    flow.confidentiality.clone(),
                    flow.retain_days.to_string(),
                    usage.clone(),
                    versions.clone(),
                    agreement.framework.clone(),
                    agreement.framework_standing.to_owned(),
                    link.clone(),
                    assurances.clone(),
                    notices.clone(),
                ]);
            }
        }
        table(&lines)
    }
}

/// A table that spreadsheets open: what they would take for a formula is text.
///
/// # Errors
/// When it cannot be written.
pub fn table(lines: &[Vec<String>]) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for line in lines {
        writer.write_record(line.iter().map(|cell| {
            let is_formula = cell.starts_with([
                '=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
            ]);
            if is_formula { format!("'{cell}") } else { cell.clone() }
        }))?;
    }
    let bytes =
        writer.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))?;
    String::from_utf8(bytes).map_err(|error| csv::Error::from(std::io::Error::other(error)))
}
