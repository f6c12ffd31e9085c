//! A version of an agreement with everything that shows who signed it: terms, signatures, keys and the ledger's proofs, in
//! one file that verifies offline.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ledger::{
    canonical::to_canonical_json,
    entry::{Body, Entry},
    note::NoteVerifier,
    proof::TlogProof,
    trail::{Field, Term},
    tree::hexadecimal,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sharing::AgreementId;
use store::trail::TrailQuery;

use super::signature::{self, Statement};
use crate::app::App;

/// The file's own name for its format.
pub const FORMAT: &str = "concordat-agreement-bundle/1";

/// Most steps of one agreement that are looked through, and most entries about the offices of its signatories.
const ENTRIES_MAX: u32 = 2_000;

/// A version with its signatures.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`FORMAT`].
    pub format: String,
    /// The agreement.
    pub agreement: String,
    /// The version.
    pub version: u32,
    /// The terms, as canonical JSON: the bytes that were signed.
    pub terms: String,
    /// The signatures.
    pub signatures: Vec<BundledSignature>,
    /// Entries of the ledger about it, each with its proof, the oldest first.
    pub entries: Vec<BundledEntry>,
}

/// A signature, with the key that it is checked with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledSignature {
    /// The office in which it was made.
    pub officer_id: String,
    /// The public key, as a JWK.
    pub jwk: String,
    /// The detached JWS.
    pub signature: String,
}

/// An entry of the ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledEntry {
    /// The leaf, in base64.
    pub leaf: String,
    /// Its C2SP tlog-proof.
    pub proof: String,
}

/// What a bundle shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The agreement.
    pub agreement: String,
    /// The version.
    pub version: u32,
    /// SHA-256 of its terms.
    pub terms_sha256: String,
    /// Who signed, by organisation, person and role.
    pub signed: Vec<(String, String, String)>,
    /// Whether two people put this version in force.
    pub put_in_force: bool,
    /// How the agreement stood after the newest of its steps that is in the file. What whoever made the file left out at its end is
    /// not in it.
    pub state: String,
    /// What was done since it was put in force: switched off and on, left, reviewed, ended, places taken.
    pub since: Vec<String>,
    /// The size of the ledger at the newest checkpoint that proves an entry.
    pub ledger_size: u64,
}

/// Makes a bundle.
///
/// # Errors
/// When something of it cannot be read.
pub async fn make(app: &App, id: &AgreementId, version: u32) -> anyhow::Result<Option<Bundle>> {
    let Some(terms) = app.store.terms(id, version).await? else { return Ok(None) };
    let (mut signatures, mut held) = (Vec::new(), Vec::new());
    for row in app.store.signatures(id, version).await? {
        let officer = app.store.officer(&row.officer_id).await?.context("an office is not kept")?;
        let jwk = officer.jwk.context("an office without a key has signed")?;
        held.push(row.officer_id.clone());
        signatures.push(BundledSignature { officer_id: row.officer_id, jwk, signature: row.signature });
    }
    let agreement = id.to_string();
    Ok(Some(Bundle {
        format: FORMAT.to_owned(),
        agreement,
        version,
        terms: terms.terms,
        signatures,
        entries: entries(app, id, version, &held).await?,
    }))
}

/// The steps of this version, and how its signatories came into office and left it, the oldest first. What the same people
/// signed elsewhere is not for whoever reads this, nor are the steps of other versions.
async fn entries(
    app: &App,
    id: &AgreementId,
    version: u32,
    offices: &[String],
) -> anyhow::Result<Vec<BundledEntry>> {
    app.trail.catch_up(&app.store).await?;
    let of_kind = |kind| vec![Term::new(Field::Kind, kind)];
    let own = vec![Term::new(Field::Agreement, id.as_str())];
    let held: Vec<_> = offices.iter().map(|office| Term::new(Field::Reference, office)).collect();
    let mut places = BTreeSet::new();
    // Each of these for itself, so that none of them is pushed out by many of another.
    let searches = [
        vec![own.clone(), of_kind("agreement_moved")],
        vec![own, of_kind("agreement_signed")],
        vec![held, of_kind("agreement_officer_moved")],
    ];
    for all_of in searches {
        if all_of.iter().all(|group| !group.is_empty()) {
            let query = TrailQuery { all_of, ..TrailQuery::default() };
            places.extend(app.trail.find(&query, ENTRIES_MAX).await?);
        }
    }
    let mut entries = Vec::new();
    for seq in places {
        let leaf = app.store.leaves(seq, 1).await?.into_iter().next().context("an entry is gone")?;
        let is_shown = match Entry::decode(&leaf.bytes)?.body {
            Body::AgreementMoved { agreement, version: of, .. }
            | Body::AgreementSigned { agreement, version: of, .. } => {
                (agreement.as_str(), of) == (id.as_str(), version)
            }
            Body::AgreementOfficerMoved { officer_id, action, .. } => {
                offices.contains(&officer_id) && action != "asked"
            }
            _ => false,
        };
        if is_shown {
            let proof = app.store.proof(seq).await?.context("an entry has no proof")?;
            entries.push(BundledEntry { leaf: BASE64.encode(leaf.bytes), proof: proof.to_text() });
        }
    }
    Ok(entries)
}

/// Checks a bundle against the ledger's keys, which the reader has from elsewhere.
///
/// What nobody has signed yet verifies, with nobody in `signed`: whoever shows it says so.
///
/// # Errors
/// What does not hold.
pub fn verify(bundle: &Bundle, keys: &[NoteVerifier]) -> anyhow::Result<Shown> {
    anyhow::ensure!(bundle.format == FORMAT, "not a bundle of this format: {FORMAT}");
    let terms: Value = serde_json::from_str(&bundle.terms).context("the terms are not json")?;
    let canonical = to_canonical_json(&terms).context("the terms have no canonical form")?;
    anyhow::ensure!(canonical == bundle.terms.as_bytes(), "the terms are not in their canonical form");
    let names = (terms.get("id").and_then(Value::as_str), terms.get("version").and_then(Value::as_u64));
    let expected = (Some(bundle.agreement.as_str()), Some(u64::from(bundle.version)));
    anyhow::ensure!(names == expected, "the terms are of another agreement or version than the bundle says");
    let terms_sha256 = hexadecimal(&Sha256::digest(&canonical));
    let (entries, ledger_size) = proved(bundle, keys)?;
    each_once(bundle, &entries)?;
    let (mut signed, mut keys_of) = (Vec::new(), BTreeMap::new());
    for one in &bundle.signatures {
        let (by, key) = signature_holds(bundle, one, &terms_sha256, &entries)?;
        let (organisation, person, _) = &by;
        let (first_organisation, first) =
            keys_of.entry(key).or_insert_with(|| (organisation.clone(), person.clone()));
        anyhow::ensure!(
            (&*first_organisation, &*first) == (organisation, person),
            "one key has signed for {first} of {first_organisation} and for {person} of {organisation}: a signature is one person's"
        );
        signed.push(by);
    }
    let begun_at = begun_at(&entries, bundle, &terms_sha256);
    let put_in_force = begun_at.is_some();
    anyhow::ensure!(
        !put_in_force || both_ends(&terms, &signed),
        "it was put in force, and the bundle does not show that both ends of any of its flows have signed: signatures are missing; export it again"
    );
    let state = entries.iter().rev().find_map(|entry| match &entry.body {
        Body::AgreementMoved { state, .. } | Body::AgreementSigned { state, .. } => Some(state.clone()),
        _ => None,
    });
    let since = entries.iter().filter(|entry| begun_at.is_some_and(|begun_at| entry.seq > begun_at));
    let since = since.filter_map(|entry| match &entry.body {
        Body::AgreementMoved { action, scope, by, .. } => {
            let scope = scope.as_ref().map(|scope| format!(" {scope}")).unwrap_or_default();
            let by = by.as_ref().map(|by| format!(" by {}", by.organisation)).unwrap_or_default();
            Some(format!("{action}{scope}{by}"))
        }
        _ => None,
    });
    Ok(Shown {
        since: since.collect(),
        put_in_force,
        state: state.unwrap_or_default(),
        agreement: bundle.agreement.clone(),
        version: bundle.version,
        terms_sha256,
        signed,
        ledger_size,
    })
}

/// That the bundle has each signature which its entries record, once: none was taken out, none is there twice.
fn each_once(bundle: &Bundle, entries: &[Entry]) -> anyhow::Result<()> {
    let mut seen = BTreeSet::new();
    for one in &bundle.signatures {
        let is_new = seen.insert((one.officer_id.as_str(), one.signature.as_str()));
        anyhow::ensure!(is_new, "the bundle has the signature of {} more than once", one.officer_id);
    }
    let mut recorded = BTreeSet::new();
    for entry in entries {
        let Body::AgreementSigned { agreement, version, officer_id, signature, role, by, .. } = &entry.body
        else {
            continue;
        };
        if (agreement, *version) != (&bundle.agreement, bundle.version) {
            continue;
        }
        let one = (officer_id.as_str(), signature.as_str());
        anyhow::ensure!(
            seen.contains(&one),
            "a signature is missing: the ledger has one for {} as {role} (office {officer_id}), and the bundle has not; export it again",
            by.organisation
        );
        anyhow::ensure!(recorded.insert(one), "the ledger has the signature of {officer_id} more than once");
    }
    Ok(())
}

/// Whether the recipient of some flow has signed, and another party: whose records they are is in the catalogue, not in the terms.
fn both_ends(terms: &Value, signed: &[(String, String, String)]) -> bool {
    let has_signed = |name: Option<&str>| signed.iter().any(|(of, ..)| Some(of.as_str()) == name);
    let listed = |name: &str| terms.get(name).and_then(Value::as_array).into_iter().flatten();
    let parties = listed("parties").map(|party| party.get("organisation").and_then(Value::as_str));
    let have_signed: BTreeSet<_> = parties.filter(|party| has_signed(*party)).collect();
    let mut recipients = listed("flows").map(|flow| flow.get("recipient").and_then(Value::as_str));
    have_signed.len() > 1 && recipients.any(|recipient| have_signed.contains(&recipient))
}

/// The entries, each shown to be in the ledger at its place.
fn proved(bundle: &Bundle, keys: &[NoteVerifier]) -> anyhow::Result<(Vec<Entry>, u64)> {
    let (mut entries, mut size) = (Vec::<Entry>::new(), 0);
    for (place, bundled) in bundle.entries.iter().enumerate() {
        let leaf = BASE64.decode(&bundled.leaf).with_context(|| format!("entry {place} is not base64"))?;
        let proof = TlogProof::parse(&bundled.proof)?;
        let witnessed = proof
            .verify(&leaf, keys, &[])
            .with_context(|| format!("entry {place} is not shown to be in the ledger"))?;
        let entry = Entry::decode(&leaf)?;
        anyhow::ensure!(entry.seq == proof.index, "entry {place} is at another place than it says");
        anyhow::ensure!(
            entries.last().is_none_or(|last| last.seq < entry.seq),
            "the entries are not in order"
        );
        size = size.max(witnessed.checkpoint.size);
        entries.push(entry);
    }
    Ok((entries, size))
}

/// That a signature is by the registered key of somebody in office, over these terms, and in the ledger. Gives who signed, and the
/// thumbprint of the key, of which there is one however the bundle spells the key.
fn signature_holds(
    bundle: &Bundle,
    one: &BundledSignature,
    terms_sha256: &str,
    entries: &[Entry],
) -> anyhow::Result<((String, String, String), String)> {
    let office = &one.officer_id;
    let said = signature::statement(&one.signature)?;
    let mut in_office: Option<(&str, &str, &str, &str)> = None;
    let mut since_s = 0;
    let mut recorded = None;
    for entry in entries {
        match &entry.body {
            Body::AgreementOfficerMoved { officer_id, action, organisation, person, role, key, .. }
                if officer_id == office =>
            {
                let key = key.as_deref().unwrap_or_default();
                in_office = (action == "registered").then_some((organisation, person, role, key));
                since_s = entry.at_us.div_euclid(1_000_000);
            }
            Body::AgreementSigned {
                officer_id,
                signature,
                agreement,
                version,
                terms_sha256: of,
                role,
                by,
                ..
            } if officer_id == office && *signature == one.signature => {
                let is_this =
                    (agreement, *version, of.as_str()) == (&bundle.agreement, bundle.version, terms_sha256);
                anyhow::ensure!(is_this, "the ledger has the signature of {office} over other terms");
                let hand = (by.organisation.as_str(), by.practitioner.as_deref().unwrap_or_default());
                recorded = in_office
                    .filter(|(organisation, person, of, _)| hand == (*organisation, *person) && role == of);
                anyhow::ensure!(recorded.is_some(), "whoever signed as {office} was not in that office then");
                let until_s = entry.at_us.div_euclid(1_000_000);
                anyhow::ensure!(
                    (since_s - signature::SKEW_S..=until_s + signature::SKEW_S).contains(&said.signed_at),
                    "the signature of {office} says that it was made before the office was registered, or after the ledger had it"
                );
            }
            _ => {}
        }
    }
    let (organisation, person, role, key) =
        recorded.with_context(|| format!("the ledger has no signature of {office} over these terms"))?;
    let expected = Statement {
        agreement: bundle.agreement.clone(),
        version: bundle.version,
        terms_sha256: terms_sha256.to_owned(),
        organisation: organisation.to_owned(),
        signatory: person.to_owned(),
        role: role.to_owned(),
        signed_at: said.signed_at,
    };
    signature::verify(&one.signature, &bundle.terms, (&one.jwk, key), &expected)
        .with_context(|| format!("the signature of {office}"))?;
    Ok(((organisation.to_owned(), person.to_owned(), role.to_owned()), key.to_owned()))
}

/// The place of the entry with which these terms were put in force: one person asked for it and another confirmed it.
fn begun_at(entries: &[Entry], bundle: &Bundle, terms_sha256: &str) -> Option<u64> {
    let mut asked = None;
    let begins = |entry: &&Entry| {
        let Body::AgreementMoved { agreement, version, terms_sha256: of, action, by: Some(by), .. } =
            &entry.body
        else {
            return false;
        };
        if (agreement, *version, of.as_str()) != (&bundle.agreement, bundle.version, terms_sha256) {
            return false;
        }
        let person = (by.organisation.clone(), by.practitioner.clone());
        match action.as_str() {
            "activation-asked" => asked = Some(person),
            "rejected" => asked = None,
            "confirmed" => return asked.as_ref().is_some_and(|asked| *asked != person),
            _ => {}
        }
        false
    };
    entries.iter().find(begins).map(|entry| entry.seq)
}
