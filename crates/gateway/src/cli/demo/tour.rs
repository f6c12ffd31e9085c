//! The tour: commands that work when they are pasted, with a line on what to notice. `demo --check` runs the very
//! same commands and compares.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::super::output;

/// One stop of the tour.
pub(super) struct Step {
    title: &'static str,
    notice: &'static str,
    command: String,
    expect: Expectation,
}

/// What the answer must be.
enum Expectation {
    /// JSON that this finds nothing wrong with.
    Json(fn(&Value) -> Result<(), String>),
    /// The same refusal as the step called by this title, but for identifiers.
    SameAs(&'static str),
    /// Text that contains this.
    Text(&'static str),
}

/// A request of the tour.
#[derive(Clone, Copy)]
struct Ask<'a> {
    partner: &'a str,
    purpose: &'a str,
    record: &'a str,
    path: &'a str,
}

const UNKNOWN: &str = "A number that belongs to nobody";

#[expect(clippy::too_many_lines, reason = "the tour reads from top to bottom")]
/// The tour, with commands for this program, folder and address.
pub(super) fn steps(program: &str, state: &Path, public_url: &str) -> Vec<Step> {
    let state = state.display();
    let headers = |ask: &Ask<'_>, method: &str, case: &str| {
        format!(
            "{program} token --partner {state}/{}.partner.toml --purpose {} --case {case} --record {} --method {method} --path {}",
            ask.partner, ask.purpose, ask.record, ask.path
        )
    };
    let curl = |partner: &str| format!("curl -K {state}/{partner}.curl -H @-");
    let ask = |ask: Ask<'_>, provider: &str, case: &str| {
        let (scheme, value) = ask.record.split_once('=').unwrap_or_default();
        let body = format!(
            "{{\"subject\":{{\"scheme\":\"{scheme}\",\"value\":\"{value}\"}},\"provider\":\"{provider}\",\"purpose\":\"{}\",\"case_reference\":\"{case}\"}}",
            ask.purpose
        );
        format!(
            "{} | \\\n  {} {public_url}{} \\\n  -d '{body}'",
            headers(&ask, "POST", case),
            curl(ask.partner),
            ask.path
        )
    };
    let fire = |record, purpose| Ask { partner: "fire", purpose, record, path: "/v1/disclosures" };
    let prevention = |record| ask(fire(record, "fire-prevention-targeting"), "nhs-pds", "HFSA-4417");
    let referral = || {
        ask(fire("local:trafford-council=SWR-2044", "safe-and-well-referral"), "trafford-asc", "HFSA-4420")
    };
    let objection = Ask {
        partner: "council",
        purpose: "fire-prevention-targeting",
        record: "nhs-number=9736363015",
        path: "/v1/objections",
    };
    let consent = Ask {
        partner: "council",
        purpose: "safe-and-well-referral",
        record: "local:trafford-council=SWR-2044",
        path: "/v1/consents",
    };
    let consent_body = "{\"subject\":{\"scheme\":\"local:trafford-council\",\"value\":\"SWR-2044\"},\"consent_type\":\"confidentiality-consent\",\"status\":\"given\",\"controller\":\"trafford-council\",\"recipients\":[\"gmca\"],\"purposes\":[\"safe-and-well-referral\"],\"data_categories\":[\"needs\",\"home\",\"health flags\"],\"given_by\":{\"who\":\"person\"},\"method\":\"in-person\",\"notice_version\":\"SW-2\"}";
    let withdraw = format!(
        "ID=$(sed -n 's/.*\"id\":\"\\(con_[0-9a-f]*\\)\".*/\\1/p' {state}/consent.json); \\\n{program} token --partner {state}/council.partner.toml --purpose safe-and-well-referral --case SWR-2044 --path /v1/consents/$ID/withdraw | \\\n  {} -X POST {public_url}/v1/consents/$ID/withdraw",
        curl("council")
    );
    let fhir = Ask {
        partner: "council",
        purpose: "direct-care",
        record: "nhs-number=9736363023",
        path: "/fhir/nhs-pds/Patient/9736363023",
    };
    let emergency = Ask {
        partner: "fire",
        purpose: "vital-interests",
        record: "local:trafford-council=SWR-2041",
        path: "/v1/break-glass",
    };
    let under_emergency = format!(
        "ID=$(sed -n 's/.*\"id\":\"\\(btg_[0-9a-f]*\\)\".*/\\1/p' {state}/emergency.json); \\\n{} | \\\n  {} {public_url}/v1/disclosures \\\n  -d '{{\"subject\":{{\"scheme\":\"local:trafford-council\",\"value\":\"SWR-2041\"}},\"provider\":\"trafford-asc\",\"purpose\":\"vital-interests\",\"case_reference\":\"INC-7\",\"items\":[\"person.address\",\"health.home_oxygen\"],\"break_glass\":\"'$ID'\"}}' | tee {state}/told.json",
        headers(&Ask { path: "/v1/disclosures", ..emergency }, "POST", "INC-7"),
        curl("fire")
    );
    let explained = format!(
        "ID=$(sed -n 's/.*\"decision_id\":\"\\(dec_[0-9a-f]*\\)\".*/\\1/p' {state}/told.json); \\\n{program} token --partner {state}/fire.partner.toml --purpose vital-interests --case INC-7 --method GET --path /v1/decisions/$ID/explanation | \\\n  {} {public_url}/v1/decisions/$ID/explanation",
        curl("fire")
    );
    let alerts = format!(
        "{program} token --partner {state}/council.partner.toml --purpose direct-care --case REVIEW-1 --method GET --path /v1/alerts | \\\n  {} {public_url}/v1/alerts",
        curl("council")
    );
    let config = format!("--config {state}/concordat.toml");
    vec![
        step(
            "A minimised permit",
            "The NHS holds far more. Fire gets five items: an initial for the given name, an age band for the date of birth; no NHS number, no GP.",
            prevention("nhs-number=9732110317"),
            Expectation::Json(minimised),
        ),
        step(
            "No agreement",
            "The same people, another purpose: nobody has agreed to it. The refusal says what to do, and has a receipt too.",
            ask(fire("nhs-number=9732110317", "safe-and-well-referral"), "nhs-pds", "HFSA-4418"),
            Expectation::Json(no_agreement),
        ),
        step(
            UNKNOWN,
            "A valid number that nobody has.",
            prevention("nhs-number=9990000239"),
            Expectation::Json(unavailable),
        ),
        step(
            "Somebody objects",
            "The council records a person's objection. It is in force at once.",
            format!(
                "{} | \\\n  {} {public_url}/v1/objections \\\n  -d '{{\"subject\":{{\"scheme\":\"nhs-number\",\"value\":\"9736363015\"}},\"purposes\":[\"fire-prevention-targeting\"]}}'",
                headers(&objection, "POST", "OBJ-12"),
                curl("council")
            ),
            Expectation::Json(objected),
        ),
        step(
            "Asking about the person who objected",
            "The answer is the one for a number that belongs to nobody. The true reason is in the ledger alone.",
            prevention("nhs-number=9736363015"),
            Expectation::SameAs(UNKNOWN),
        ),
        step(
            "A restricted record",
            "A social worker may know the name. Address, postcode, telephone and GP are `not_available`, as they are for anybody whose record lacks them.",
            ask(
                Ask {
                    partner: "council",
                    purpose: "direct-care",
                    record: "nhs-number=9000000025",
                    path: "/v1/disclosures",
                },
                "nhs-pds",
                "ASC-31",
            ),
            Expectation::Json(restricted),
        ),
        step(
            "Fire asks about the restricted person",
            "For fire there is no such person.",
            prevention("nhs-number=9000000025"),
            Expectation::SameAs(UNKNOWN),
        ),
        step(
            "Somebody consents",
            "The council records explicit consent to a Safe and Well referral.",
            format!(
                "{} | \\\n  {} {public_url}/v1/consents \\\n  -d '{consent_body}' | tee {state}/consent.json",
                headers(&consent, "POST", "SWR-2044"),
                curl("council")
            ),
            Expectation::Json(consented),
        ),
        step(
            "The referral is released",
            "Asked by the referral's number: fire holds no NHS numbers. `home_oxygen` is a yes or no. What the person wants is in it. Consent to the visit is another thing: get it before booking.",
            referral(),
            Expectation::Json(referred),
        ),
        step(
            "The consent is withdrawn",
            "It takes effect on the next question.",
            withdraw,
            Expectation::Json(withdrawn),
        ),
        step(
            "The next question",
            "There is no such person any more.",
            referral(),
            Expectation::SameAs(UNKNOWN),
        ),
        step(
            "A FHIR client",
            "The same for systems that speak FHIR R4: a smaller Patient, tagged SUBSETTED.",
            format!(
                "{} | \\\n  {} {public_url}{}",
                headers(&fhir, "GET", "ASC-32"),
                curl("council"),
                fhir.path
            ),
            Expectation::Json(subsetted),
        ),
        step(
            "An emergency",
            "Nobody agreed to this purpose, and a life is at risk. A practitioner declares it and says why; it ends by itself, and their privacy officers are told.",
            format!(
                "{} | \\\n  {} {public_url}/v1/break-glass \\\n  -d '{{\"subject\":{{\"scheme\":\"local:trafford-council\",\"value\":\"SWR-2041\"}},\"reason_code\":\"immediate-risk-to-life\",\"statement\":\"Smoke seen at the address; the occupant does not answer.\",\"cannot_consent\":true}}' | tee {state}/emergency.json",
                headers(&emergency, "POST", "INC-7"),
                curl("fire")
            ),
            Expectation::Json(declared),
        ),
        step(
            "Asking under the emergency",
            "Where, and whether there is oxygen: the items that the catalogue marks for emergencies, named one by one. Before the address left, the NHS was asked whether it is to be kept secret.",
            under_emergency,
            Expectation::Json(told_in_emergency),
        ),
        step(
            "Why was that?",
            "The decision in plain words. An officer of the record holder reads every rule.",
            explained,
            Expectation::Json(explains),
        ),
        step(
            "What the council's privacy officers see",
            "A reference and a due date, and nobody's name. Somebody else than the practitioner reviews it, or it escalates.",
            alerts,
            Expectation::Json(alerted),
        ),
        step(
            "Verify the ledger",
            "Everything is recomputed: leaves, tree, signature, and that no release follows a withdrawal or an objection.",
            format!("{program} audit verify {config}"),
            Expectation::Text("entries of concordat.example/demo verify"),
        ),
        step(
            "Export the ledger",
            "Names of items, never values; people by random pseudonym. Try to find a name in it.",
            format!("{program} audit export {config} --format ndjson --out {state}/ledger.ndjson"),
            Expectation::Text("manifest in"),
        ),
        step(
            "Verify the export",
            "With the file and its manifest alone: no database, no key of the gateway's.",
            format!("{program} audit verify --export {state}/ledger.ndjson"),
            Expectation::Text("entries of concordat.example/demo verify"),
        ),
    ]
}

fn step(title: &'static str, notice: &'static str, command: String, expect: Expectation) -> Step {
    Step { title, notice, command, expect }
}

/// Prints the tour.
pub(super) fn print(steps: &[Step], state: &Path) {
    output::line("Concordat demonstration. Its keys are in a folder of its own: never for real data.");
    output::line(&format!(
        "Everything listens on 127.0.0.1. Logs: {}/gateway.log. Ctrl-C stops everything.",
        state.display()
    ));
    output::line("Paste these into another terminal, in this folder:");
    for (position, step) in steps.iter().enumerate() {
        output::line(&format!("\n{}. {}\n   {}\n", position + 1, step.title, step.notice));
        output::line(&step.command);
    }
    output::line("");
}

/// Runs every command of the tour through a shell, as a reader would, and compares.
pub(super) async fn walk(steps: Vec<Step>) -> anyhow::Result<()> {
    let mut answers: Vec<(&str, Value)> = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        let ran =
            Command::new("sh").arg("-c").arg(&step.command).output().await.context("a shell is needed")?;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let failed = |what: &str| {
            format!(
                "step {} ({}): {what}\n{}\nanswer: {said}{}",
                position + 1,
                step.title,
                step.command,
                String::from_utf8_lossy(&ran.stderr)
            )
        };
        ensure!(ran.status.success(), failed("the command failed; is curl installed?"));
        match &step.expect {
            Expectation::Text(text) => ensure!(said.contains(text), failed("another answer was expected")),
            Expectation::Json(check) => {
                let answer: Value =
                    serde_json::from_str(&said).with_context(|| failed("the answer is not json"))?;
                if let Err(wrong) = check(&answer) {
                    bail!(failed(&wrong));
                }
                answers.push((step.title, answer));
            }
            Expectation::SameAs(title) => {
                let answer: Value =
                    serde_json::from_str(&said).with_context(|| failed("the answer is not json"))?;
                let other = answers.iter().find(|(earlier, _)| earlier == title).map(|(_, answer)| answer);
                ensure!(
                    other.map(without_identifiers) == Some(without_identifiers(&answer)),
                    failed("it differs from an unknown person")
                );
            }
        }
        output::line(&format!("ok {:>2}  {}", position + 1, step.title));
    }
    output::line(&format!("{} passed, 0 failed", steps.len()));
    Ok(())
}

/// Two refusals may differ in their random identifiers and in their place in the ledger, and in nothing else.
fn without_identifiers(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Value::Object(members) = &mut answer {
        members.remove("decision_id");
        if let Some(Value::Object(receipt)) = members.get_mut("receipt") {
            receipt.values_mut().for_each(|value| *value = Value::Null);
        }
    }
    answer
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn record_keys(answer: &Value) -> Vec<&str> {
    answer
        .get("record")
        .and_then(Value::as_object)
        .map(|record| record.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

fn code(answer: &Value) -> Option<&str> {
    answer.get("code").and_then(Value::as_str)
}

fn minimised(answer: &Value) -> Result<(), String> {
    let expected =
        ["person.address", "person.birth_date", "person.family_name", "person.gender", "person.given_name"];
    let mut keys = record_keys(answer);
    keys.sort_unstable();
    check(keys == expected, "other items were expected")?;
    let record = answer.get("record").cloned().unwrap_or_default();
    check(record.get("person.birth_date") == Some(&"80+".into()), "an age band was expected")?;
    check(record.pointer("/person.given_name") == Some(&"A".into()), "an initial was expected")?;
    check(!record.to_string().contains("9732110317"), "the nhs number must not be in the answer")
}

fn no_agreement(answer: &Value) -> Result<(), String> {
    check(
        code(answer) == Some("no-agreement") && answer.get("receipt").is_some(),
        "a refusal for want of an agreement was expected",
    )
}

fn unavailable(answer: &Value) -> Result<(), String> {
    check(code(answer) == Some("no-record-available"), "no record should be available")
}

fn objected(answer: &Value) -> Result<(), String> {
    check(answer.get("status") == Some(&"received".into()), "the objection should be received")
}

fn restricted(answer: &Value) -> Result<(), String> {
    let mut keys = record_keys(answer);
    keys.sort_unstable();
    let expected = ["person.birth_date", "person.death", "person.gender", "person.name", "person.nhs_number"];
    check(keys == expected, "no locating item should be in the answer")
}

fn consented(answer: &Value) -> Result<(), String> {
    check(answer.get("status") == Some(&"given".into()), "the consent should be recorded")
}

fn referred(answer: &Value) -> Result<(), String> {
    let record = answer.get("record").cloned().unwrap_or_default();
    check(record.get("health.home_oxygen") == Some(&false.into()), "a yes or no on oxygen was expected")?;
    check(record.get("referral.outcome_wanted").is_some(), "what the person wants was expected")?;
    check(
        answer.pointer("/obligations/obtain_consent_to_visit") == Some(&true.into()),
        "consent to the visit should be asked for",
    )
}

fn withdrawn(answer: &Value) -> Result<(), String> {
    check(answer.get("status") == Some(&"withdrawn".into()), "the consent should be withdrawn")
}

fn declared(answer: &Value) -> Result<(), String> {
    check(answer.get("id").is_some() && answer.get("review_due").is_some(), "an emergency was expected")
}

fn told_in_emergency(answer: &Value) -> Result<(), String> {
    let mut keys = record_keys(answer);
    keys.sort_unstable();
    check(keys == ["health.home_oxygen", "person.address"], "the two items were expected")
}

fn explains(answer: &Value) -> Result<(), String> {
    check(answer.get("result") == Some(&"permitted".into()), "an explanation was expected")
}

fn alerted(answer: &Value) -> Result<(), String> {
    let alerts = answer.get("alerts").and_then(Value::as_array);
    let used = alerts.into_iter().flatten().any(|one| one.get("rule") == Some(&"break-glass-used".into()));
    check(used, "an alert on the use of break-glass was expected")
}

fn subsetted(answer: &Value) -> Result<(), String> {
    check(answer.get("resourceType") == Some(&"Patient".into()), "a Patient was expected")?;
    check(answer.pointer("/meta/tag/0/code") == Some(&"SUBSETTED".into()), "the tag SUBSETTED was expected")
}
