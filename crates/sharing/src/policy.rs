//! A set of policies: organisations, catalogue and agreements, checked as a whole or refused as a whole.
//!
//! This module reads text, not files: whoever calls it has read the folder. A set with any problem is never
//! used, so that a broken file cannot quietly switch a rule off.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use toml::Spanned;

use jiff::Timestamp;

use crate::{
    access::AccessPolicies,
    agreement::{Agreement, Confidentiality, DataFlow},
    alerting::AlertRules,
    catalogue::{Catalogue, Category, Provider},
    framework::Framework,
    guardrail::Guardrails,
    identifier::{AgreementId, OrganisationId, ProviderId},
    purpose::PurposeClass,
    retention::Retention,
    seen::is_web_link,
};

mod ready;

/// What is said of a link that leads elsewhere than to the web: the public register has it on its page.
pub(crate) const NOT_A_LINK: &str = "`{}` is an address that begins with https:// or http://; correct it";

/// Where agreements are that are managed over the API. No folder of the operator's has this name.
pub const MANAGED: &str = "managed/";

/// The path of an agreement that is managed over the API.
pub fn managed_path(id: &str) -> String {
    format!("{MANAGED}{id}.toml")
}

use ready::Index;
pub(crate) use ready::{ItemBits, Names, ReadyFlow, ReadyHolder, Registered};

/// An organisation that takes part, as its file is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organisation {
    /// Its name in agreements and requests.
    pub id: Spanned<OrganisationId>,
    /// Its name, for people.
    pub name: String,
    /// What it is.
    pub kind: OrganisationKind,
    /// Its ODS code, where it has one.
    #[serde(default)]
    pub ods_code: Option<String>,
    /// Its GSS code (E31… for fire services), where it has one.
    #[serde(default)]
    pub gss_code: Option<String>,
    /// The purposes for which it may ask. Fire is not registered for direct care, whatever a caller claims.
    pub purposes: Vec<PurposeClass>,
    /// Its information governance lead's contact.
    pub contact: String,
    /// How its security is assured.
    #[serde(default)]
    pub assurances: Vec<Assurance>,
}

/// An assurance of an organisation's security.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assurance {
    /// Which.
    pub scheme: AssuranceScheme,
    /// Where it can be looked up.
    pub link: String,
    /// First day on which it holds no more.
    pub expires_on: crate::agreement::LondonDay,
}

/// Who assures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AssuranceScheme {
    /// NHS Data Security and Protection Toolkit.
    Dspt,
    /// ISO/IEC 27001.
    #[serde(rename = "iso-27001")]
    Iso27001,
    /// Cyber Essentials Plus.
    CyberEssentialsPlus,
}

impl AssuranceScheme {
    /// The scheme as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dspt => "dspt",
            Self::Iso27001 => "iso-27001",
            Self::CyberEssentialsPlus => "cyber-essentials-plus",
        }
    }
}

/// What an organisation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrganisationKind {
    /// An NHS body.
    Nhs,
    /// A local authority.
    Council,
    /// A fire and rescue authority.
    Fire,
}

impl OrganisationKind {
    /// The kind in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nhs => "NHS body",
            Self::Council => "council",
            Self::Fire => "fire service",
        }
    }
}

/// A policy file as it was read.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct PolicyFile {
    /// The path below the policies folder, with forward slashes.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// What is wrong with a policy file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyProblem {
    /// The path below the policies folder.
    pub path: String,
    /// The line, from 1; 0 where no line is to blame.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Policies in force: whole, consistent and immutable.
#[derive(Debug, Clone)]
pub struct PolicySet {
    organisations: BTreeMap<OrganisationId, Organisation>,
    catalogue: Catalogue,
    /// In order of their files.
    frameworks: Vec<Framework>,
    /// In order of their names, each with the digest of its file.
    agreements: Vec<(Agreement, String)>,
    index: Index,
    digest: String,
    files: std::sync::Arc<[PolicyFile]>,
    guardrails: Guardrails,
    access: AccessPolicies,
    retention: Option<Retention>,
    alerts: AlertRules,
}

impl PolicySet {
    /// Reads and checks a set of files: `organisations/*.toml`, `catalogue/*.toml`, `frameworks/*.toml`, `agreements/*.toml`,
    /// `managed/*.toml` (agreements that are managed over the API, as the database writes them), `retention.toml`.
    /// An agreement has one source: the same name in both folders is a problem.
    /// Other files are left alone.
    ///
    /// # Errors
    /// Every [`PolicyProblem`] found, in order of file and line.
    pub fn load(files: &[PolicyFile]) -> Result<Self, Vec<PolicyProblem>> {
        let mut problems = Vec::new();
        let organisations = read::<Organisation>(files, "organisations/", &mut problems);
        let providers = read::<Provider>(files, "catalogue/", &mut problems);
        let frameworks = read::<Framework>(files, "frameworks/", &mut problems);
        let mut agreements = read::<Agreement>(files, "agreements/", &mut problems);
        agreements.extend(read::<Agreement>(files, MANAGED, &mut problems));
        if !problems.is_empty() {
            return Err(sorted(problems));
        }
        let kept: std::sync::Arc<[_]> = files.iter().filter(|file| !is_case(file)).cloned().collect();
        let mut set = Self {
            organisations: BTreeMap::new(),
            catalogue: Catalogue::new(),
            frameworks: Vec::new(),
            agreements: Vec::new(),
            index: Index::default(),
            digest: digest_of(kept.iter()),
            files: kept,
            guardrails: Guardrails::none(),
            access: AccessPolicies::default(),
            retention: None,
            alerts: AlertRules::default(),
        };
        for (file, schedule) in read::<Retention>(files, "retention", &mut problems) {
            problems.extend(schedule.problems().into_iter().map(|text| file.problem(0, text)));
            set.retention = Some(schedule);
        }
        for (file, organisation) in organisations {
            let (id, offset) = (organisation.id.get_ref().clone(), organisation.id.span().start);
            let odd = organisation.assurances.iter().find(|assurance| !is_web_link(&assurance.link));
            problems.extend(odd.map(|_| file.problem(offset, NOT_A_LINK.replace("{}", "assurances.link"))));
            if set.organisations.insert(id.clone(), organisation).is_some() {
                problems
                    .push(file.problem(offset, format!("organisation `{id}` is defined twice; remove one")));
            }
        }
        for (file, provider) in providers {
            problems.extend(provider.problems().into_iter().map(|(offset, text)| file.problem(offset, text)));
            problems.extend(set.unknown_organisation(file, &provider.provider.organisation));
            let (id, offset) = (provider.id().clone(), provider.provider.id.span().start);
            provider.places(); // now, not while somebody waits for an answer
            if set.catalogue.insert(id.clone(), provider).is_some() {
                problems
                    .push(file.problem(offset, format!("record holder `{id}` is defined twice; remove one")));
            }
        }
        for (file, framework) in frameworks {
            problems.extend(framework.problems(file));
            let members = framework.members.iter().map(|member| &member.organisation);
            problems.extend(members.filter_map(|member| set.unknown_organisation(file, member)));
            let is_taken = |name: &str| set.frameworks.iter().any(|known| known.is_meant_by(name));
            if is_taken(framework.id().as_str()) || is_taken(&framework.title) {
                let message =
                    format!("there is another framework `{}`, or of its title; rename one", framework.id());
                problems.push(file.problem(framework.id.span().start, message));
            }
            set.frameworks.push(framework);
        }
        problems.extend(set.restriction_check_problems(files));
        let mut in_order = BTreeMap::new();
        for (file, agreement) in agreements {
            problems.extend(set.agreement_problems(file, &agreement));
            let (id, offset) = (agreement.id().clone(), agreement.id.span().start);
            let digest = hexadecimal(&Sha256::digest(file.text.as_bytes()));
            if in_order.insert(id.clone(), (agreement, digest)).is_some() {
                problems.push(file.problem(offset, format!("agreement `{id}` is defined twice; remove one")));
            }
        }
        set.agreements = in_order.into_values().collect();
        set.index = Index::of(&set);
        if set.catalogue.is_empty() || set.agreements.is_empty() || set.organisations.is_empty() {
            let message =
                "a policy set needs at least one file each in organisations/, catalogue/ and agreements/";
            problems.push(PolicyProblem { path: ".".to_owned(), line: 0, message: message.to_owned() });
        }
        match Guardrails::load(files) {
            Ok(guardrails) => set.guardrails = guardrails,
            Err(found) => problems.extend(found),
        }
        match AccessPolicies::load(files) {
            Ok(access) => set.access = access,
            Err(found) => problems.extend(found),
        }
        match AlertRules::load(files) {
            Ok(alerts) => set.alerts = alerts,
            Err(found) => problems.extend(found),
        }
        if problems.is_empty() { Ok(set) } else { Err(sorted(problems)) }
    }

    /// What may only forbid.
    pub fn guardrails(&self) -> &Guardrails {
        &self.guardrails
    }

    /// How long what has ended is kept; without it nothing is forgotten.
    pub fn retention(&self) -> Option<&Retention> {
        self.retention.as_ref()
    }

    /// What decides about things that are not people's records.
    pub fn access(&self) -> &AccessPolicies {
        &self.access
    }

    /// What raises an alert.
    pub fn alerts(&self) -> &AlertRules {
        &self.alerts
    }

    /// The flows that an agreement in force gives this organisation for a purpose and a role. That a flow is
    /// listed does not say that a question under it would be permitted.
    pub fn may_ask<'a>(
        &'a self,
        recipient: &'a OrganisationId,
        purpose: PurposeClass,
        role: &'a str,
        at: Timestamp,
    ) -> impl Iterator<Item = (&'a Agreement, &'a DataFlow)> {
        let in_force = self
            .agreements()
            .filter(move |agreement| agreement.effective_from() <= at && at < agreement.effective_until());
        in_force.flat_map(|agreement| agreement.flows.iter().map(move |flow| (agreement, flow))).filter(
            move |(agreement, flow)| {
                let holder = self.provider(flow.provider.get_ref());
                agreement.is_switched_on(flow)
                    && flow.recipient.get_ref() == recipient
                    && flow.purpose == purpose
                    && flow.roles.iter().any(|listed| listed == role)
                    && agreement.is_signed_by(recipient, at)
                    && holder.is_some_and(|holder| agreement.is_signed_by(holder.organisation(), at))
            },
        )
    }

    /// SHA-256 over every file's path and content, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The set as if every agreement that `current` does not have in just this version were signed for by all its
    /// parties and in force from the beginning, with its impact assessment accepted. For looking at what a
    /// proposal would change (shadow mode), and for nothing else: what it permits has no authority.
    #[must_use]
    pub fn in_shadow(mut self, current: &Self) -> Self {
        for (agreement, digest) in &mut self.agreements {
            if current.agreement_digest(agreement.id()) == digest {
                continue;
            }
            agreement.assume_in_force();
        }
        self.index = Index::of(&self);
        self
    }

    /// The files it was read from, without the cases, so that it can be read again later.
    pub fn files(&self) -> &[PolicyFile] {
        &self.files
    }

    /// The organisation of this name.
    pub fn organisation(&self, id: &OrganisationId) -> Option<&Organisation> {
        self.organisations.get(id)
    }

    /// Every organisation.
    pub fn organisations(&self) -> impl Iterator<Item = &Organisation> {
        self.organisations.values()
    }

    /// The record holder of this name.
    pub fn provider(&self, id: &ProviderId) -> Option<&Provider> {
        self.catalogue.get(id)
    }

    /// Every record holder.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.catalogue.values()
    }

    /// Every framework, whatever its standing.
    pub fn frameworks(&self) -> impl Iterator<Item = &Framework> {
        self.frameworks.iter()
    }

    /// The framework that an agreement is made under, by its id or its title.
    pub fn framework_of(&self, agreement: &Agreement) -> Option<&Framework> {
        self.frameworks.iter().find(|framework| framework.is_meant_by(&agreement.framework))
    }

    /// Every agreement, whatever its status.
    pub fn agreements(&self) -> impl Iterator<Item = &Agreement> {
        self.agreements.iter().map(|(agreement, _)| agreement)
    }

    /// SHA-256 of the agreement's file, in hexadecimal; empty for an agreement that is not in the set.
    pub fn agreement_digest(&self, id: &AgreementId) -> &str {
        let found = self.index.agreements.get(id).and_then(|position| self.agreements.get(*position));
        found.map_or("", |(_, digest)| digest)
    }

    /// The flows for this directed pair and purpose, whatever their agreement's status.
    pub fn flows(
        &self,
        provider: &ProviderId,
        recipient: &OrganisationId,
        purpose: PurposeClass,
    ) -> Vec<(&Agreement, &DataFlow)> {
        let flows = self.holder(provider).into_iter().flat_map(|holder| holder.flows(recipient, purpose));
        flows.filter_map(|flow| flow.written(self)).collect()
    }

    /// What was worked out about this record holder when the set was loaded.
    pub(crate) fn holder(&self, provider: &ProviderId) -> Option<&ReadyHolder> {
        self.index.holders.get(provider)
    }

    /// Whoever is asked about restriction must know marks, and be asked by an identifier that the records have.
    fn restriction_check_problems(&self, files: &[PolicyFile]) -> Vec<PolicyProblem> {
        let mut problems = Vec::new();
        for provider in self.catalogue.values() {
            let Some(named) = &provider.subject.restriction_check else { continue };
            let asked = self.catalogue.get(named.get_ref()).filter(|asked| asked.id() != provider.id());
            let message = match asked {
                None => "`restriction_check` must name another record holder of the catalogue",
                Some(asked) if asked.subject.restricted.is_empty() => {
                    "`restriction_check` names a record holder whose file has no signs of restriction"
                }
                Some(asked) if asked.subject.restriction_check.is_some() => {
                    "`restriction_check` names a record holder that asks another itself"
                }
                Some(asked)
                    if !provider
                        .subject
                        .identifiers
                        .iter()
                        .any(|place| asked.lookup(&place.scheme).is_some()) =>
                {
                    "`restriction_check` names a record holder that knows none of this one's identifiers"
                }
                Some(_) => continue,
            };
            let spelled = format!("id = \"{}\"", provider.id());
            let of =
                files.iter().find(|file| file.path.starts_with("catalogue/") && file.text.contains(&spelled));
            problems.extend(of.map(|file| file.problem(named.span().start, message.to_owned())));
        }
        problems
    }

    /// What decisions ask about this organisation.
    pub(crate) fn registered(&self, id: &OrganisationId) -> Option<&Registered> {
        self.index.organisations.get(id)
    }

    fn unknown_organisation(&self, file: &PolicyFile, id: &Spanned<OrganisationId>) -> Option<PolicyProblem> {
        let missing = !self.organisations.contains_key(id.get_ref());
        missing.then(|| {
            let message =
                format!("no file in organisations/ defines `{}`; add one or correct the name", id.get_ref());
            file.problem(id.span().start, message)
        })
    }

    fn agreement_problems(&self, file: &PolicyFile, agreement: &Agreement) -> Vec<PolicyProblem> {
        let mut problems = Vec::new();
        let at_id = agreement.id.span().start;
        if agreement.effective_on >= agreement.ends_on {
            problems.push(file.problem(at_id, "`effective_on` must be before `ends_on`".to_owned()));
        }
        if agreement.review_on < agreement.effective_on || agreement.review_on > agreement.ends_on {
            let message = "`review_on` must lie between `effective_on` and `ends_on`";
            problems.push(file.problem(at_id, message.to_owned()));
        }
        if let Some(said) = agreement.pilot_problem() {
            problems.push(file.problem(at_id, said.to_owned()));
        }
        for (position, party) in agreement.parties.iter().enumerate() {
            let name = party.organisation.get_ref();
            if agreement.parties.iter().take(position).any(|earlier| earlier.organisation.get_ref() == name) {
                let message = format!("`{name}` is a party twice; write it once, in the role that it has");
                problems.push(file.problem(party.organisation.span().start, message));
            }
            problems.extend(self.unknown_organisation(file, &party.organisation));
        }
        for (position, flow) in agreement.flows.iter().enumerate() {
            if agreement.flows.iter().take(position).any(|earlier| earlier.id.get_ref() == flow.id.get_ref())
            {
                let message = format!("flow `{}` is defined twice; rename one", flow.id.get_ref());
                problems.push(file.problem(flow.id.span().start, message));
            }
            problems.extend(self.flow_problems(file, agreement, flow));
        }
        problems
    }

    fn flow_problems(&self, file: &PolicyFile, agreement: &Agreement, flow: &DataFlow) -> Vec<PolicyProblem> {
        let mut problems = Vec::new();
        let at_flow = flow.id.span().start;
        let Some(provider) = self.catalogue.get(flow.provider.get_ref()) else {
            let message = format!(
                "no file in catalogue/ defines `{}`; add one or correct the name",
                flow.provider.get_ref()
            );
            return vec![file.problem(flow.provider.span().start, message)];
        };
        problems.extend(self.unknown_organisation(file, &flow.recipient));
        for (organisation, offset) in [
            (provider.organisation(), flow.provider.span().start),
            (flow.recipient.get_ref(), flow.recipient.span().start),
        ] {
            if !agreement.parties.iter().any(|party| party.organisation.get_ref() == organisation) {
                let message = format!(
                    "`{organisation}` is at one end of this flow but is not a party; add it to [[parties]]"
                );
                problems.push(file.problem(offset, message));
            }
        }
        if let Some(scheme) = flow.identifiers.iter().find(|scheme| provider.lookup(scheme).is_none()) {
            let message = format!(
                "`{}` cannot be asked by `{scheme}`; its catalogue file has no such lookup",
                provider.id()
            );
            problems.push(file.problem(at_flow, message));
        }
        if flow.items.is_empty() || flow.identifiers.is_empty() || flow.roles.is_empty() {
            let message = "a flow needs at least one of each of `items`, `identifiers` and `roles`";
            problems.push(file.problem(at_flow, message.to_owned()));
        }
        for listed in &flow.items {
            let offset = listed.item.span().start;
            let id = listed.item.get_ref();
            let Some(item) = provider.item(id) else {
                let message = format!(
                    "`{}` has no item `{id}` in its catalogue file; correct the name or add the item",
                    provider.id()
                );
                problems.push(file.problem(offset, message));
                continue;
            };
            if !item.forms.contains(&listed.form) {
                let forms: Vec<_> = item.forms.iter().map(|form| form.as_str()).collect();
                let message = format!(
                    "item `{id}` cannot leave as `{}`; its catalogue file allows {}",
                    listed.form,
                    forms.join(", ")
                );
                problems.push(file.problem(offset, message));
            }
            if listed.justification.trim().is_empty() {
                let message =
                    format!("item `{id}` has no justification; say why the purpose needs it, or remove it");
                problems.push(file.problem(offset, message));
            }
            if flow.items.iter().filter(|other| other.item.get_ref() == id).count() > 1 {
                problems.push(
                    file.problem(offset, format!("item `{id}` is listed twice in one flow; keep one form")),
                );
            }
            if item.category == Category::Special
                && [&flow.provider_basis, &flow.recipient_basis].iter().any(|basis| basis.article_9.is_none())
            {
                let message =
                    format!("item `{id}` is special category data; both parties need an `article_9` basis");
                problems.push(file.problem(offset, message));
            }
            if item.confidential && flow.confidentiality == Confidentiality::NotConfidential {
                let message = format!(
                    "item `{id}` is held in confidence; `confidentiality` must say how the duty is met"
                );
                problems.push(file.problem(offset, message));
            }
        }
        problems
    }
}

/// Cases say what the policies are expected to do, and are none of them.
fn is_case(file: &PolicyFile) -> bool {
    file.path.starts_with("cases/") || file.path.starts_with("alert-cases/")
}

impl PolicyFile {
    pub(crate) fn problem(&self, offset_bytes: usize, message: String) -> PolicyProblem {
        let before = self.text.get(..offset_bytes).unwrap_or("");
        PolicyProblem { path: self.path.clone(), line: before.matches('\n').count() + 1, message }
    }
}

pub(crate) fn read<'a, T: DeserializeOwned>(
    files: &'a [PolicyFile],
    folder: &str,
    problems: &mut Vec<PolicyProblem>,
) -> Vec<(&'a PolicyFile, T)> {
    let mut read = Vec::new();
    let is_toml = |file: &&PolicyFile| {
        file.path.starts_with(folder)
            && std::path::Path::new(&file.path).extension().is_some_and(|extension| extension == "toml")
    };
    for file in files.iter().filter(is_toml) {
        match toml::from_str::<T>(&file.text) {
            Ok(value) => read.push((file, value)),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                problems.push(file.problem(offset, error.message().trim().replace('\n', " ")));
            }
        }
    }
    read
}

fn sorted(mut problems: Vec<PolicyProblem>) -> Vec<PolicyProblem> {
    problems.sort_by(|one, other| (&one.path, one.line).cmp(&(&other.path, other.line)));
    problems.dedup();
    problems
}

/// SHA-256 over every file's path and content, in hexadecimal.
pub fn digest_of<'a>(files: impl IntoIterator<Item = &'a PolicyFile>) -> String {
    let ordered: BTreeMap<&str, &str> =
        files.into_iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let mut hasher = Sha256::new();
    for (path, text) in ordered {
        for part in [path, text] {
            hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hexadecimal(&hasher.finalize())
}

/// Lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    const_hex::encode(bytes)
}
