//! A FHIR R4 Consent and a consent record, each as the other.
//!
//! The mapping is exact: [`read()`] of what [`write()`] made is what was written, and what [`read()`] cannot keep it
//! refuses by name. `docs/fhir-consent.md` has the table.
//!
//! Source: <https://hl7.org/fhir/R4/consent.html>.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sharing::subject::{ConsentStatus, ConsentType, GivenBy, ProxyAuthority};

use super::element::{Element, Issues, Unmapped, refuse_rest};

/// The profile that every Consent here conforms to.
pub const PROFILE: &str = "https://concordat.example/fhir/StructureDefinition/sharing-consent";
/// The system of registered organisations' identifiers.
pub const ORGANISATION: &str = "https://concordat.example/fhir/Id/organisation";
/// The system of the names that the ledger has for people.
pub const PSEUDONYM: &str = "https://concordat.example/fhir/Id/pseudonym";
/// The system of a partner's own references, followed by the organisation.
pub const LOCAL: &str = "https://concordat.example/fhir/Id/local/";
/// The system of NHS numbers.
pub const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";

const EVIDENCE: &str = "https://concordat.example/fhir/Id/evidence";
const CONSENT_TYPE: &str = "https://concordat.example/fhir/CodeSystem/consent-type";
const PURPOSE: &str = "https://concordat.example/fhir/CodeSystem/purpose";
const STATUS: &str = "https://concordat.example/fhir/StructureDefinition/consent-status";
const AUTHORITY: &str = "https://concordat.example/fhir/StructureDefinition/proxy-authority";
const CAPACITY: &str = "https://concordat.example/fhir/StructureDefinition/capacity-statement";
const METHOD: &str = "https://concordat.example/fhir/StructureDefinition/consent-method";
const DATA: &str = "https://concordat.example/fhir/StructureDefinition/data-category";
const SCOPE: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
const ACT: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";
const ACTION: &str = "http://terminology.hl7.org/CodeSystem/consentaction";

/// What a consent says, in our terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Its status.
    pub status: ConsentStatus,
    /// Which of the four.
    pub consent_type: ConsentType,
    /// Whose it is: the identifier's system and value.
    pub patient: (String, String),
    /// Whose records may leave.
    pub controller: String,
    /// To whom.
    pub recipients: Vec<String>,
    /// For what.
    pub purposes: Vec<String>,
    /// The categories that the person was told of.
    pub data_categories: Vec<String>,
    /// Who gave it.
    pub given_by: GivenBy,
    /// When; none is now.
    pub given_at: Option<Timestamp>,
    /// The first instant at which it no longer holds.
    pub expires_at: Option<Timestamp>,
    /// How it was given.
    pub method: String,
    /// The notice that the person was given.
    pub notice_version: String,
    /// Where the evidence is kept.
    pub evidence_reference: Option<String>,
}

/// The element that says what a member of [`Said`] says, for differences and for errors of our own checks.
pub fn element_of(member: &str) -> &'static str {
    match member {
        "status" => "Consent.status",
        "consent_type" => "Consent.category",
        "subject" => "Consent.patient.identifier",
        "controller" => "Consent.organization",
        "recipients" | "controller and recipients" => "Consent.provision.actor",
        "purposes" => "Consent.provision.purpose",
        "data_categories" | "method" => "Consent.extension",
        "given_by" | "given_by.capacity_statement" => "Consent.performer",
        "given_at" => "Consent.dateTime",
        "expires_at" => "Consent.provision.period.end",
        "notice_version" | "notice_version, data_categories" => "Consent.policyRule.text",
        "evidence_reference" => "Consent.sourceReference",
        _ => "Consent",
    }
}

impl Said {
    /// The elements in which two consents differ, leaving status and person out.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = [
            ("consent_type", self.consent_type == other.consent_type),
            ("controller", self.controller == other.controller),
            ("recipients", self.recipients == other.recipients),
            ("purposes", self.purposes == other.purposes),
            ("data_categories", self.data_categories == other.data_categories),
            ("given_by", self.given_by == other.given_by),
            ("given_at", self.given_at == other.given_at),
            ("expires_at", self.expires_at == other.expires_at),
            ("method", self.method == other.method),
            ("notice_version", self.notice_version == other.notice_version),
            ("evidence_reference", self.evidence_reference == other.evidence_reference),
        ];
        pairs.iter().filter(|(_, same)| !same).map(|(member, _)| element_of(member)).collect()
    }
}

/// Reads a Consent.
///
/// # Errors
/// Everything in it that cannot be kept, and everything that is missing.
pub fn read(resource: &Value) -> Result<Said, Vec<Unmapped>> {
    let mut issues = Issues::default();
    let found = Element::new("Consent", resource, &mut issues).and_then(|root| said(root, &mut issues));
    issues.or(found)
}

fn said(mut root: Element<'_>, issues: &mut Issues) -> Option<Said> {
    if root.text("resourceType", issues) != Some("Consent") {
        issues.add(Unmapped::new("structure", "Consent.resourceType", "must be Consent"));
        return None;
    }
    root.take("id"); // the address says which; the handler compares them
    meta(&mut root, issues);
    root.refuse("text", "a narrative may say more than is recorded, and names people; leave it out", issues);
    root.refuse("contained", "leave it out; refer to organisations by identifier", issues);
    root.refuse("identifier", "keep your own reference in sourceReference.identifier", issues);
    root.refuse("policy", "say which notice the person was given in policyRule.text", issues);
    root.refuse("verification", "record what the person said; who checked it stays with you", issues);
    root.refuse(
        "sourceAttachment",
        "the evidence stays with you; give its reference in sourceReference",
        issues,
    );
    let status = status(&mut root, issues);
    let consent_type = consent_type(&mut root, issues);
    let patient =
        root.required_object("patient", issues).and_then(|patient| reference(patient, "Patient", issues));
    let organisation = "name the one controller whose records may leave";
    let controller = root.one("organization", organisation, issues);
    let controller = controller.and_then(|one| reference(one, "Organization", issues));
    let controller = controller.and_then(|found| organisation_of(found, "Consent.organization[0]", issues));
    let given_by = given_by(&mut root, patient.as_ref(), issues);
    let given_at = root.text("dateTime", issues).map(|text| instant(text, "Consent.dateTime", issues));
    let notice_version = notice(&mut root, issues);
    let evidence = evidence(&mut root, issues);
    let mut extensions = root.list("extension", issues);
    let method = Element::extension(&mut extensions, METHOD, "valueCode", issues);
    let data_categories = Element::extensions(&mut extensions, DATA, "valueString", issues);
    refuse_rest(extensions, issues);
    for (there, what) in [(method.is_some(), METHOD), (!data_categories.is_empty(), DATA)] {
        if !there {
            issues.add(Unmapped::new("required", "Consent.extension", format!("{what} is missing")));
        }
    }
    let provision = root.required_object("provision", issues);
    let provision = provision.map(|one| provision_of(one, consent_type, given_at.flatten(), issues));
    root.finish(issues);
    let provision = provision?;
    Some(Said {
        status: status?,
        consent_type: consent_type?,
        patient: patient?,
        controller: controller?,
        recipients: provision.recipients,
        purposes: provision.purposes,
        data_categories: data_categories.into_iter().map(str::to_owned).collect(),
        given_by: given_by?,
        given_at: given_at.flatten(),
        expires_at: provision.expires_at,
        method: method?.to_owned(),
        notice_version: notice_version?,
        evidence_reference: evidence,
    })
}

fn meta(root: &mut Element<'_>, issues: &mut Issues) {
    let Some(mut meta) = root.object("meta", issues) else { return };
    // Ours to say: a resource that was read here may come back with them.
    meta.take("versionId");
    meta.take("lastUpdated");
    let ours = Value::Array(vec![Value::String(PROFILE.to_owned())]);
    if meta.take("profile").is_some_and(|profile| *profile != ours) {
        let said = format!("the one profile is {PROFILE}");
        issues.add(Unmapped::new("not-supported", "Consent.meta.profile", said));
    }
    meta.finish(issues);
}

/// FHIR has fewer statuses than the Data Privacy Vocabulary; an extension says which is meant.
fn status(root: &mut Element<'_>, issues: &mut Issues) -> Option<ConsentStatus> {
    let code = root.required_text("status", issues);
    let mut finer = None;
    if let Some(mut beside) = root.object("_status", issues) {
        let mut extensions = beside.list("extension", issues);
        finer = Element::extension(&mut extensions, STATUS, "valueCode", issues);
        refuse_rest(extensions, issues);
        beside.finish(issues);
    }
    let found = match (code?, finer) {
        ("proposed", None | Some("requested")) => ConsentStatus::Requested,
        ("active", None | Some("given")) => ConsentStatus::Given,
        ("active", Some("renewed")) => ConsentStatus::Renewed,
        ("rejected", None | Some("refused")) => ConsentStatus::Refused,
        ("inactive", Some("withdrawn")) => ConsentStatus::Withdrawn,
        ("inactive", Some("revoked")) => ConsentStatus::Revoked,
        ("inactive", Some("expired")) => ConsentStatus::Expired,
        ("inactive", Some("unknown")) => ConsentStatus::Unknown,
        ("entered-in-error", None | Some("invalidated")) => ConsentStatus::Invalidated,
        ("inactive", None) => {
            let said = format!(
                "say in {STATUS} whether it was withdrawn (by the person) or revoked (by another party)"
            );
            issues.add(Unmapped::new("required", "Consent.status.extension", said));
            return None;
        }
        ("draft", _) => {
            let said = "what has not been said to the person is not recorded; send it when it is proposed";
            issues.add(Unmapped::new("not-supported", "Consent.status", said));
            return None;
        }
        ("proposed" | "active" | "rejected" | "inactive" | "entered-in-error", Some(_)) => {
            let said = "does not go with the status beside it";
            issues.add(Unmapped::new("code-invalid", "Consent.status.extension", said));
            return None;
        }
        _ => {
            let said = "must be proposed, active, rejected, inactive or entered-in-error";
            issues.add(Unmapped::new("code-invalid", "Consent.status", said));
            return None;
        }
    };
    Some(found)
}

/// Scope and category together say which of the four things that are called consent it is.
fn consent_type(root: &mut Element<'_>, issues: &mut Issues) -> Option<ConsentType> {
    let scope = root.required_object("scope", issues);
    let scope =
        scope.and_then(|scope| coded(scope, &[(SCOPE, "patient-privacy"), (SCOPE, "treatment")], issues));
    let mut types = Vec::new();
    let mut disclosure = None;
    for category in root.list("category", issues) {
        let path = category.path().to_owned();
        let codes = [
            (CONSENT_TYPE, "gdpr-consent"),
            (CONSENT_TYPE, "confidentiality-consent"),
            (CONSENT_TYPE, "consent-to-service"),
            (CONSENT_TYPE, "preference"),
            (ACT, "IDSCL"),
        ];
        match coded(category, &codes, issues) {
            Some("gdpr-consent") => types.push(ConsentType::GdprConsent),
            Some("confidentiality-consent") => types.push(ConsentType::ConfidentialityConsent),
            Some("consent-to-service") => types.push(ConsentType::ConsentToService),
            Some("preference") => types.push(ConsentType::Preference),
            Some(_) => disclosure = Some(path),
            None => {}
        }
    }
    let &[found] = types.as_slice() else {
        let said =
            format!("needs exactly one code of {CONSENT_TYPE}: four different things are called consent");
        issues.add(Unmapped::new("required", "Consent.category", said));
        return None;
    };
    if let Some(path) = disclosure.filter(|_| !lets_data_go(found)) {
        let said = "a preference or an agreement to a visit discloses nothing; leave IDSCL out";
        issues.add(Unmapped::new("business-rule", path, said));
    }
    if scope.is_some_and(|scope| scope != scope_of(found)) {
        let said = format!("must be {} for this category", scope_of(found));
        issues.add(Unmapped::new("business-rule", "Consent.scope", said));
    }
    Some(found)
}

fn scope_of(consent_type: ConsentType) -> &'static str {
    if consent_type == ConsentType::ConsentToService { "treatment" } else { "patient-privacy" }
}

fn lets_data_go(consent_type: ConsentType) -> bool {
    matches!(consent_type, ConsentType::GdprConsent | ConsentType::ConfidentialityConsent)
}

/// A reference by identifier to a resource of this type. Addresses and names are refused: the first would put an
/// identifier into a URL, the second is not kept.
fn reference(mut reference: Element<'_>, kind: &str, issues: &mut Issues) -> Option<(String, String)> {
    reference.refuse("reference", "refer by identifier (system and value), never by address", issues);
    reference.refuse("display", "names are not kept; leave it out", issues);
    if reference.text("type", issues).is_some_and(|found| found != kind) {
        issues.add(Unmapped::new("not-supported", reference.at("type"), format!("must be {kind}")));
    }
    let identifier = reference.required_object("identifier", issues);
    reference.finish(issues);
    let mut identifier = identifier?;
    let system = identifier.required_text("system", issues).map(str::to_owned);
    let value = identifier.required_text("value", issues).map(str::to_owned);
    identifier.finish(issues);
    Some((system?, value?))
}

fn organisation_of(found: (String, String), path: &str, issues: &mut Issues) -> Option<String> {
    if found.0 == ORGANISATION {
        return Some(found.1);
    }
    let said =
        format!("must be {ORGANISATION}, with the identifier that the organisation is registered under");
    issues.add(Unmapped::new("code-invalid", format!("{path}.identifier.system"), said));
    None
}

/// A concept with exactly one coding out of these.
fn coded<'v>(mut concept: Element<'v>, codes: &[(&str, &str)], issues: &mut Issues) -> Option<&'v str> {
    concept.refuse("text", "is not kept; the code says it", issues);
    let coding = concept.one("coding", "needs exactly one code", issues);
    concept.finish(issues);
    coding.and_then(|coding| code_of(coding, codes, issues))
}

fn code_of<'v>(mut coding: Element<'v>, codes: &[(&str, &str)], issues: &mut Issues) -> Option<&'v str> {
    let path = coding.path().to_owned();
    let (system, code) = (coding.required_text("system", issues), coding.required_text("code", issues));
    let display = coding.text("display", issues);
    coding.finish(issues);
    let (system, code) = (system?, code?);
    if !codes.contains(&(system, code)) {
        let mut known: Vec<_> = codes.iter().map(|(system, code)| format!("{system}|{code}")).collect();
        known.sort();
        let said = format!("a code that is not understood here; known: {}", known.join(", "));
        issues.add(Unmapped::new("code-invalid", path, said));
        return None;
    }
    if display.is_some_and(|display| display_of(code) != Some(display)) {
        issues.add(Unmapped::new("value", format!("{path}.display"), "is not this code's; leave it out"));
    }
    Some(code)
}

fn display_of(code: &str) -> Option<&'static str> {
    Some(match code {
        "patient-privacy" => "Privacy Consent",
        "treatment" => "Treatment",
        "IDSCL" => "information disclosure",
        "IRCP" => "information recipient",
        "disclose" => "Disclose",
        _ => return None,
    })
}

fn coding(system: &str, code: &str) -> Value {
    match display_of(code) {
        Some(display) => json!({ "system": system, "code": code, "display": display }),
        None => json!({ "system": system, "code": code }),
    }
}

/// The person, or somebody with authority to decide for them, as performer.
fn given_by(
    root: &mut Element<'_>,
    patient: Option<&(String, String)>,
    issues: &mut Issues,
) -> Option<GivenBy> {
    let said = "one person gives a consent: the patient, or one proxy";
    let mut performer = root.one("performer", said, issues)?;
    let path = performer.path().to_owned();
    let is_proxy = performer.says("type", "RelatedPerson");
    if !is_proxy {
        let found = reference(performer, "Patient", issues)?;
        if patient.is_some_and(|patient| *patient != found) {
            let said = format!("is not the patient; a proxy is of type RelatedPerson, with {AUTHORITY}");
            issues.add(Unmapped::new("business-rule", path, said));
            return None;
        }
        return Some(GivenBy::Person);
    }
    performer.take("type");
    performer.refuse("display", "names are not kept; leave it out", issues);
    performer.refuse("reference", "a proxy is told by authority, not by address", issues);
    performer.refuse("identifier", "a proxy is told by authority; keep who it was in your evidence", issues);
    let mut extensions = performer.list("extension", issues);
    let authority = Element::extension(&mut extensions, AUTHORITY, "valueCode", issues);
    let capacity = Element::extension(&mut extensions, CAPACITY, "valueString", issues);
    refuse_rest(extensions, issues);
    performer.finish(issues);
    let authority = match authority {
        Some("health-and-welfare-attorney") => Some(ProxyAuthority::HealthAndWelfareAttorney),
        Some("court-deputy") => Some(ProxyAuthority::CourtDeputy),
        Some("parental-responsibility") => Some(ProxyAuthority::ParentalResponsibility),
        _ => None,
    };
    if authority.is_none() || capacity.is_none() {
        let said = format!(
            "a proxy needs {AUTHORITY} (health-and-welfare-attorney, court-deputy or parental-responsibility; a property attorney and next of kin have none) and {CAPACITY}"
        );
        issues.add(Unmapped::new("business-rule", path, said));
    }
    Some(GivenBy::Proxy { authority: authority?, capacity_statement: capacity?.to_owned() })
}

fn notice(root: &mut Element<'_>, issues: &mut Issues) -> Option<String> {
    let mut rule = root.required_object("policyRule", issues)?;
    rule.refuse("coding", "say which version of the notice the person was given, in text", issues);
    let text = rule.required_text("text", issues).map(str::to_owned);
    rule.finish(issues);
    text
}

fn evidence(root: &mut Element<'_>, issues: &mut Issues) -> Option<String> {
    let mut source = root.object("sourceReference", issues)?;
    source.refuse("reference", "give the evidence's reference as identifier", issues);
    source.refuse("display", "give the evidence's reference as identifier", issues);
    let mut identifier = source.required_object("identifier", issues)?;
    source.finish(issues);
    if identifier.text("system", issues).is_some_and(|system| system != EVIDENCE) {
        let said = format!("must be {EVIDENCE}, or left out");
        issues.add(Unmapped::new("code-invalid", identifier.at("system"), said));
    }
    let value = identifier.required_text("value", issues).map(str::to_owned);
    identifier.finish(issues);
    value
}

struct Provision {
    recipients: Vec<String>,
    purposes: Vec<String>,
    expires_at: Option<Timestamp>,
}

fn provision_of(
    mut provision: Element<'_>,
    consent_type: Option<ConsentType>,
    given_at: Option<Timestamp>,
    issues: &mut Issues,
) -> Provision {
    if provision.text("type", issues).is_some_and(|kind| kind != "permit") {
        let said = "only permit: a refusal has the status rejected, and an objection goes to /v1/objections";
        issues.add(Unmapped::new("not-supported", provision.at("type"), said));
    }
    provision.refuse(
        "provision",
        "exceptions within a consent are not enforced here: record each on its own",
        issues,
    );
    let filter =
        "would narrow the consent, which is not enforced here: which items leave is in the agreement";
    for name in ["securityLabel", "class", "code", "dataPeriod", "data"] {
        provision.refuse(name, filter, issues);
    }
    let mut recipients = Vec::new();
    for mut actor in provision.list("actor", issues) {
        let path = actor.path().to_owned();
        if let Some(role) = actor.required_object("role", issues) {
            coded(role, &[(PARTICIPATION, "IRCP")], issues);
        }
        let found = actor.required_object("reference", issues);
        let found = found.and_then(|found| reference(found, "Organization", issues));
        recipients
            .extend(found.and_then(|found| organisation_of(found, &format!("{path}.reference"), issues)));
        actor.finish(issues);
    }
    let actions: Vec<_> = provision.list("action", issues);
    let disclosing = actions.len();
    for action in actions {
        coded(action, &[(ACTION, "disclose")], issues);
    }
    let wanted = usize::from(consent_type.is_none_or(lets_data_go));
    if consent_type.is_some() && disclosing != wanted {
        let said = if wanted == 1 {
            "must be disclose alone: without it the consent would be to everything"
        } else {
            "a preference or an agreement to a visit lets no data go; leave it out"
        };
        issues.add(Unmapped::new("business-rule", provision.at("action"), said));
    }
    let mut purposes = Vec::new();
    for purpose in provision.list("purpose", issues) {
        purposes.extend(purpose_of(purpose, issues));
    }
    for (there, name) in [(!recipients.is_empty(), "actor"), (!purposes.is_empty(), "purpose")] {
        if !there {
            let said = "is missing: a consent names its recipients and its purposes";
            issues.add(Unmapped::new("required", provision.at(name), said));
        }
    }
    let expires_at = period(&mut provision, given_at, issues);
    provision.finish(issues);
    Provision { recipients, purposes, expires_at }
}

fn purpose_of(mut purpose: Element<'_>, issues: &mut Issues) -> Option<String> {
    let (system, code) = (purpose.required_text("system", issues), purpose.required_text("code", issues));
    let path = purpose.path().to_owned();
    purpose.finish(issues);
    let known = code?.parse::<sharing::PurposeClass>().is_ok();
    if system? != PURPOSE || !known {
        let said = format!("must be a code of {PURPOSE}: codes of other systems are wider or narrower");
        issues.add(Unmapped::new("code-invalid", path, said));
        return None;
    }
    Some(code?.to_owned())
}

/// A period's end is inside it; ours is the first instant outside.
fn period(
    provision: &mut Element<'_>,
    given_at: Option<Timestamp>,
    issues: &mut Issues,
) -> Option<Timestamp> {
    let mut period = provision.object("period", issues)?;
    let (start_path, end_path) = (period.at("start"), period.at("end"));
    if let Some(start) = period.text("start", issues) {
        let start = instant(start, &start_path, issues);
        if start.is_some() && start != given_at {
            let said = "a consent holds from when it was given: make it the same as Consent.dateTime";
            issues.add(Unmapped::new("business-rule", start_path, said));
        }
    }
    let end = period.text("end", issues);
    period.finish(issues);
    let text = end?;
    let last = instant(text, &end_path, issues)?;
    let step = match fraction_digits(text) {
        0 => SignedDuration::from_secs(1),
        digits => SignedDuration::from_micros(10_i64.pow(6 - digits)),
    };
    last.checked_add(step).ok()
}

fn fraction_digits(text: &str) -> u32 {
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    u32::try_from(fraction.chars().take_while(char::is_ascii_digit).count()).unwrap_or(u32::MAX)
}

fn instant(text: &str, path: &str, issues: &mut Issues) -> Option<Timestamp> {
    let parsed = text.parse::<Timestamp>().ok().filter(|_| fraction_digits(text) <= 6);
    if parsed.is_none() {
        let said = "must be a date and time with its zone, to the microsecond at most: half a date would have to be guessed";
        issues.add(Unmapped::new("value", path, said));
    }
    parsed
}

/// The Consent that says this.
pub fn write(said: &Said, id: Option<&str>, version: Option<&str>) -> Value {
    let by_organisation =
        |id: &str| json!({ "type": "Organization", "identifier": { "system": ORGANISATION, "value": id } });
    let patient =
        json!({ "type": "Patient", "identifier": { "system": said.patient.0, "value": said.patient.1 } });
    let (status, finer) = status_of(said.status);
    let mut category = vec![json!({ "coding": [coding(CONSENT_TYPE, type_code(said.consent_type))] })];
    if lets_data_go(said.consent_type) {
        category.push(json!({ "coding": [coding(ACT, "IDSCL")] }));
    }
    let mut extension = vec![json!({ "url": METHOD, "valueCode": said.method })];
    extension.extend(said.data_categories.iter().map(|words| json!({ "url": DATA, "valueString": words })));
    let performer = match &said.given_by {
        GivenBy::Person => patient.clone(),
        GivenBy::Proxy { authority, capacity_statement } => json!({
            "extension": [
                { "url": AUTHORITY, "valueCode": authority.as_str() },
                { "url": CAPACITY, "valueString": capacity_statement },
            ],
            "type": "RelatedPerson",
        }),
    };
    let mut provision = json!({
        "actor": said.recipients.iter().map(|id| json!({
            "role": { "coding": [coding(PARTICIPATION, "IRCP")] },
            "reference": by_organisation(id),
        })).collect::<Vec<_>>(),
        "purpose": said.purposes.iter().map(|code| coding(PURPOSE, code)).collect::<Vec<_>>(),
    });
    if lets_data_go(said.consent_type) {
        insert(&mut provision, "action", json!([{ "coding": [coding(ACTION, "disclose")] }]));
    }
    let mut resource = json!({
        "resourceType": "Consent",
        "meta": { "profile": [PROFILE] },
        "extension": extension,
        "status": status,
        "scope": { "coding": [coding(SCOPE, scope_of(said.consent_type))] },
        "category": category,
        "patient": patient,
        "performer": [performer],
        "organization": [by_organisation(&said.controller)],
        "policyRule": { "text": said.notice_version },
    });
    if let Some(id) = id {
        insert(&mut resource, "id", id.into());
    }
    if let (Some(version), Some(meta)) = (version, resource.get_mut("meta")) {
        insert(meta, "versionId", version.into());
    }
    if let Some(finer) = finer {
        insert(&mut resource, "_status", json!({ "extension": [{ "url": STATUS, "valueCode": finer }] }));
    }
    if let Some(at) = said.given_at {
        insert(&mut resource, "dateTime", at.to_string().into());
    }
    if let Some(reference) = &said.evidence_reference {
        insert(
            &mut resource,
            "sourceReference",
            json!({ "identifier": { "system": EVIDENCE, "value": reference } }),
        );
    }
    if let Some(end) = said.expires_at {
        let mut period = json!({ "end": last_instant(end) });
        if let Some(start) = said.given_at {
            insert(&mut period, "start", start.to_string().into());
        }
        insert(&mut provision, "period", period);
    }
    insert(&mut resource, "provision", provision);
    resource
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

/// The last instant before `end`, in the precision that says so.
fn last_instant(end: Timestamp) -> String {
    let whole = end.as_microsecond().rem_euclid(1_000_000) == 0;
    let step = if whole { SignedDuration::from_secs(1) } else { SignedDuration::from_micros(1) };
    let last = end.checked_sub(step).unwrap_or(end);
    let format = if whole { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.6fZ" };
    last.strftime(format).to_string()
}

fn status_of(status: ConsentStatus) -> (&'static str, Option<&'static str>) {
    match status {
        ConsentStatus::Requested => ("proposed", None),
        ConsentStatus::Given => ("active", None),
        ConsentStatus::Renewed => ("active", Some("renewed")),
        ConsentStatus::Refused => ("rejected", None),
        ConsentStatus::Withdrawn => ("inactive", Some("withdrawn")),
        ConsentStatus::Revoked => ("inactive", Some("revoked")),
        ConsentStatus::Expired => ("inactive", Some("expired")),
        ConsentStatus::Unknown => ("inactive", Some("unknown")),
        ConsentStatus::Invalidated => ("entered-in-error", None),
    }
}

fn type_code(consent_type: ConsentType) -> &'static str {
    match consent_type {
        ConsentType::GdprConsent => "gdpr-consent",
        ConsentType::ConfidentialityConsent => "confidentiality-consent",
        ConsentType::ConsentToService => "consent-to-service",
        ConsentType::Preference => "preference",
    }
}

#[cfg(test)]
mod tests;
