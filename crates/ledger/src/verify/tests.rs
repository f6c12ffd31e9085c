//! A believable ledger, and every way of tampering with it that the verifier must notice.

use super::*;
use crate::{
    entry::{Actor, AgreementRef, AgreementStamp, Blind, ConsentShown, Decided},
    note::NoteSigner,
};

mod courses;
mod exports;
mod keys;

const DAY_US: i64 = 86_400_000_000;

fn signer() -> NoteSigner {
    NoteSigner::from_seed("ledger.example/test", &[3; 32])
}

fn actor() -> Actor {
    Actor {
        organisation: "gmca".to_owned(),
        service: None,
        system: "gmca-prevention".to_owned(),
        practitioner: Some("P-1".to_owned()),
        role: Some("prevention-officer".to_owned()),
        unattended_owner: None,
        certificate_sha256: "00".to_owned(),
    }
}

fn decided(decision: &str, subject: &str) -> Box<Decided> {
    Box::new(Decided {
        decision_id: decision.to_owned(),
        request_id: None,
        by: actor(),
        provider: "council".to_owned(),
        recipient: "gmca".to_owned(),
        purpose: "safe-and-well-referral".to_owned(),
        case_reference: "C-1".to_owned(),
        subject: subject.to_owned(),
        identifier_scheme: "nhs-number".to_owned(),
        asked: Vec::new(),
        agreement: Some(AgreementRef {
            agreement: "a".to_owned(),
            version: 1,
            flow: "f".to_owned(),
            digest: "d1".to_owned(),
        }),
        policy_revision: 1,
        permitted: vec!["needs.mobility:as-is".to_owned(), "health.home_oxygen:yes-no".to_owned()],
        reasons: Vec::new(),
        trace: Vec::new(),
        consents: vec!["con_1".to_owned()],
        context_sha256: "00".to_owned(),
        answer_only: false,
        grant: None,
        break_glass: None,
        guardrails: Vec::new(),
        list: None,
        within: Vec::new(),
    })
}

fn policies(revision: u64, status: &str, ends_us: i64) -> Body {
    let stamp = AgreementStamp {
        agreement: "a".to_owned(),
        version: 1,
        digest: "d1".to_owned(),
        status: status.to_owned(),
        effective_us: 0,
        ends_us,
    };
    Body::PolicySetActivated { revision, digest: "p".to_owned(), agreements: vec![stamp] }
}

fn release(decision: &str, subject: &str) -> Body {
    Body::Release {
        decision_id: decision.to_owned(),
        subjects: vec![subject.to_owned()],
        items: vec!["needs.mobility:as-is".to_owned()],
        record_sha256: "00".to_owned(),
        obligations: Vec::new(),
        policy_revision: 1,
        consents: vec!["con_1".to_owned()],
        observed: Vec::new(),
    }
}

fn closure(decision: &str, linked: Vec<String>) -> Body {
    let (decision_id, outcome) = (decision.to_owned(), "not_released".to_owned());
    Body::Closure { decision_id, outcome, reasons: Vec::new(), observed: Vec::new(), linked }
}

fn opened() -> Body {
    Body::LogOpened { origin: "ledger.example/test".to_owned(), public_key: signer().verifier_key() }
}

fn withdrawal() -> Body {
    Body::ConsentWithdrawn { consent_id: "con_1".to_owned(), subject: "s1".to_owned(), by: actor() }
}

fn objection(subject: &str) -> Body {
    Body::ObjectionRecorded {
        objection_id: "obj_1".to_owned(),
        subject: subject.to_owned(),
        purposes: Vec::new(),
        recipients: Vec::new(),
        by: actor(),
    }
}

fn leaves(bodies: Vec<Body>) -> Vec<Vec<u8>> {
    let entries = bodies.into_iter().enumerate();
    entries
        .map(|(seq, body)| {
            Entry {
                v: 1,
                seq: seq as u64,
                at_us: DAY_US + i64::try_from(seq).unwrap(),
                blind: Some(Blind::new([u8::try_from(seq % 256).unwrap(); 16])),
                body,
            }
            .encode()
            .unwrap()
        })
        .collect()
}

fn checkpoint(leaves: &[Vec<u8>]) -> String {
    let mut frontier = Frontier::empty();
    leaves.iter().for_each(|leaf| drop(frontier.push(leaf_hash(leaf))));
    Checkpoint { origin: "ledger.example/test".to_owned(), size: frontier.size(), root: frontier.root() }
        .sign(&signer())
}

fn verified(leaves: &[Vec<u8>], checkpoint: &str) -> Result<Report, Fault> {
    let mut verifier = Verifier::new(&signer().verifier_key())?;
    leaves.iter().try_for_each(|leaf| verifier.entry(leaf))?;
    verifier.finish(checkpoint)
}

/// Builds and signs a ledger with these entries behind its opening and first policies.
fn fault_of(bodies: Vec<Body>) -> (Option<u64>, &'static str) {
    let all = [vec![opened(), policies(1, "active", 2 * DAY_US)], bodies].concat();
    let leaves = leaves(all);
    let fault = verified(&leaves, &checkpoint(&leaves)).expect_err("a fault");
    (fault.index, fault.code)
}

fn good() -> Vec<Body> {
    let mut bodies = vec![opened(), policies(1, "active", 2 * DAY_US)];
    for round in 0..12 {
        let decision = format!("dec_{round}");
        bodies.push(Body::Intent(decided(&decision, "s1")));
        bodies.push(release(&decision, "s1"));
        bodies.push(Body::Refusal(decided(&format!("ref_{round}"), "s2")));
    }
    bodies.push(Body::Intent(decided("dec_open", "s1")));
    bodies.push(withdrawal());
    bodies
}

#[test]
fn a_ledger_in_order_verifies() {
    let leaves = leaves(good());
    let report = verified(&leaves, &checkpoint(&leaves)).unwrap();
    assert_eq!((report.entries, report.kinds["release"], report.clock_steps_back), (40, 12, 0));
    assert_eq!(report.open_intents, ["dec_open"]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let leaves = leaves(good());
    let signed = checkpoint(&leaves);
    for index in 0..leaves.len() {
        for at in (0..leaves[index].len()).step_by(7) {
            let mut changed = leaves.clone();
            changed[index][at] ^= 1;
            assert!(verified(&changed, &signed).is_err(), "entry {index}, byte {at}");
        }
    }
}

#[test]
fn removal_swap_and_truncation_are_noticed() {
    let whole = leaves(good());
    let signed = checkpoint(&whole);
    let mut removed = whole.clone();
    removed.remove(5);
    assert_eq!(verified(&removed, &signed).unwrap_err().index, Some(5));
    let mut swapped = whole.clone();
    swapped.swap(7, 9);
    let fault = verified(&swapped, &signed).unwrap_err();
    assert_eq!((fault.index, fault.code), (Some(7), "sequence"));
    let cut = &whole[..30];
    assert_eq!(verified(cut, &signed).unwrap_err().code, "size");
    // A keeper who signs again over the shorter ledger is caught by anyone who kept an older checkpoint.
    let mut verifier = Verifier::new(&signer().verifier_key()).unwrap();
    verifier.expect_checkpoint(&signed, "a partner's receipt").unwrap();
    cut.iter().for_each(|leaf| verifier.entry(leaf).unwrap());
    assert_eq!(verifier.finish(&checkpoint(cut)).unwrap_err().code, "truncated");
}

#[test]
fn a_rewritten_ledger_contradicts_older_checkpoints() {
    let whole = leaves(good());
    let kept = checkpoint(&whole[..20]);
    let mut rewritten = good();
    rewritten[4] = Body::Refusal(decided("another", "s9"));
    let rewritten = leaves(rewritten);
    assert!(verified(&rewritten, &checkpoint(&rewritten)).is_ok(), "it is consistent with itself");
    let mut verifier = Verifier::new(&signer().verifier_key()).unwrap();
    verifier.expect_checkpoint(&kept, "a partner's receipt").unwrap();
    let fault = rewritten.iter().try_for_each(|leaf| verifier.entry(leaf)).unwrap_err();
    assert_eq!((fault.index, fault.code), (Some(19), "prefix"));
}

#[test]
fn the_wrong_key_is_noticed() {
    let whole = leaves(good());
    let other = NoteSigner::from_seed("ledger.example/test", &[4; 32]);
    let mut verifier = Verifier::new(&other.verifier_key()).unwrap();
    whole.iter().for_each(|leaf| verifier.entry(leaf).unwrap());
    let by_other =
        Checkpoint::open(&checkpoint(&whole), &NoteVerifier::parse(&signer().verifier_key()).unwrap());
    let fault = verifier.finish(&by_other.unwrap().sign(&other)).unwrap_err();
    assert_eq!((fault.index, fault.code), (Some(0), "opening-key"));
}

#[test]
fn order_rules_hold() {
    let intent = || Body::Intent(decided("d", "s1"));
    assert_eq!(fault_of(vec![release("d", "s1")]), (Some(2), "release-without-intent"));
    let refusal = Body::Refusal(decided("d", "s1"));
    assert_eq!(fault_of(vec![refusal, release("d", "s1")]), (Some(3), "release-without-intent"));
    assert_eq!(
        fault_of(vec![intent(), release("d", "s1"), release("d", "s1")]),
        (Some(4), "release-without-intent")
    );
    assert_eq!(
        fault_of(vec![intent(), withdrawal(), release("d", "s1")]),
        (Some(4), "release-after-withdrawal")
    );
    assert_eq!(
        fault_of(vec![intent(), objection("s1"), release("d", "s1")]),
        (Some(4), "release-after-objection")
    );
    let mut named_twice = release("d", "s1");
    if let Body::Release { subjects, .. } = &mut named_twice {
        subjects.push("s7".to_owned());
    }
    assert_eq!(fault_of(vec![objection("s7"), intent(), named_twice]), (Some(4), "release-after-objection"));
    let seen = closure("e", vec!["s7".to_owned(), "s1".to_owned()]);
    let through_link =
        vec![objection("s7"), Body::Refusal(decided("e", "s1")), seen, intent(), release("d", "s1")];
    assert_eq!(fault_of(through_link), (Some(6), "release-after-objection"));
    let suspended = policies(2, "suspended", 2 * DAY_US);
    assert_eq!(fault_of(vec![intent(), suspended, release("d", "s1")]), (Some(4), "agreement-suspended"));
    let ended = policies(2, "active", DAY_US);
    assert_eq!(fault_of(vec![intent(), ended, release("d", "s1")]), (Some(4), "agreement-ended"));
    assert_eq!(fault_of(vec![intent(), release("d", "s2")]), (Some(3), "release-of-another"));
    assert_eq!(fault_of(vec![intent(), intent()]), (Some(3), "decided-twice"));
    assert_eq!(fault_of(vec![closure("d", Vec::new())]), (Some(2), "closure-without-decision"));
    let closed = || vec![intent(), closure("d", Vec::new())];
    assert_eq!(fault_of([closed(), vec![closure("d", Vec::new())]].concat()), (Some(4), "ended-twice"));
    assert_eq!(fault_of([closed(), vec![intent()]].concat()), (Some(4), "decided-twice"));
    let and_more = [closed(), vec![intent(), release("e", "s1")]].concat();
    assert_eq!(fault_of(and_more), (Some(4), "decided-twice"), "the first of two");
}

#[test]
fn a_release_cannot_be_wider_than_its_intent() {
    let mut wider = release("d", "s1");
    if let Body::Release { items, .. } = &mut wider {
        items.push("person.address:as-is".to_owned());
    }
    assert_eq!(fault_of(vec![Body::Intent(decided("d", "s1")), wider]), (Some(3), "release-widened"));
    let finer = Body::Release {
        decision_id: "d".to_owned(),
        subjects: vec!["s1".to_owned()],
        items: vec!["health.home_oxygen:as-is".to_owned()],
        record_sha256: "00".to_owned(),
        obligations: Vec::new(),
        policy_revision: 1,
        consents: Vec::new(),
        observed: Vec::new(),
    };
    assert_eq!(fault_of(vec![Body::Intent(decided("d", "s1")), finer]), (Some(3), "release-widened"));
}

#[test]
fn an_ended_objection_stops_nothing() {
    let ended = Body::ObjectionEnded {
        objection_id: "obj_1".to_owned(),
        subject: "s1".to_owned(),
        outcome: "withdrawn".to_owned(),
        by: actor(),
    };
    let bodies = vec![
        opened(),
        policies(1, "active", 2 * DAY_US),
        objection("s1"),
        ended,
        Body::Intent(decided("d", "s1")),
        release("d", "s1"),
    ];
    let leaves = leaves(bodies);
    assert!(verified(&leaves, &checkpoint(&leaves)).is_ok());
}

#[test]
fn what_protects_or_is_held_is_not_forgotten() {
    let forgotten = |records: &[&str], people: &[&str]| Body::RecordsForgotten {
        ground: "retention".to_owned(),
        records: records.iter().map(|&name| name.to_owned()).collect(),
        people: people.iter().map(|&name| name.to_owned()).collect(),
        request: None,
        by: None,
    };
    let hold = |subject: Option<&str>| Body::HoldPlaced {
        hold_id: "hld_1".to_owned(),
        subject: subject.map(str::to_owned),
        reason_sha256: "00".to_owned(),
        by: actor(),
    };
    let lifted = || Body::HoldLifted { hold_id: "hld_1".to_owned(), by: actor() };
    let in_force = (Some(3), "forgotten-in-force");
    let request = |action: &str| Body::RightsRequestMoved {
        request_id: "rrq_1".to_owned(),
        subject: "s1".to_owned(),
        right: "complaint".to_owned(),
        action: action.to_owned(),
        controller: "council".to_owned(),
        of: None,
        outcome: None,
        text_sha256: None,
        by: actor(),
    };
    let open = vec![request("received"), request("acknowledged"), forgotten(&["rrq_1"], &[])];
    assert_eq!(fault_of(open).1, "forgotten-in-force");
    let answered = vec![opened(), request("received"), request("answered"), forgotten(&["rrq_1"], &[])];
    let leaves_of_it = leaves(answered);
    assert!(verified(&leaves_of_it, &checkpoint(&leaves_of_it)).is_ok());
    assert_eq!(fault_of(vec![objection("s1"), forgotten(&["obj_1"], &[])]), in_force);
    assert_eq!(fault_of(vec![objection("s1"), forgotten(&[], &["s1"])]), in_force);
    let under_hold = (Some(3), "forgotten-under-hold");
    assert_eq!(fault_of(vec![hold(None), forgotten(&["con_1"], &[])]), under_hold);
    assert_eq!(fault_of(vec![hold(Some("s1")), forgotten(&[], &["s1"])]), under_hold);
    let seen = closure("e", vec!["s7".to_owned(), "s1".to_owned()]);
    let linked = vec![Body::Refusal(decided("e", "s1")), seen, hold(Some("s7")), forgotten(&[], &["s1"])];
    assert_eq!(fault_of(linked), (Some(5), "forgotten-under-hold"));
    let in_order = vec![
        opened(),
        policies(1, "active", 2 * DAY_US),
        hold(None),
        lifted(),
        objection("s2"),
        hold(Some("s2")),
        forgotten(&["con_1"], &["s1"]),
    ];
    let leaves = leaves(in_order);
    assert!(verified(&leaves, &checkpoint(&leaves)).is_ok());
}

#[test]
fn a_release_rests_on_what_was_agreed_to() {
    let agreement = |flow: &str| AgreementRef {
        agreement: "a".to_owned(),
        version: 1,
        flow: flow.to_owned(),
        digest: "d0".to_owned(),
    };
    let said = |shown: Option<ConsentShown>| Body::ConsentRecorded {
        consent_id: "con_1".to_owned(),
        subject: "s1".to_owned(),
        consent_type: "confidentiality-consent".to_owned(),
        status: "given".to_owned(),
        controller: "council".to_owned(),
        recipients: vec!["gmca".to_owned()],
        purposes: vec!["safe-and-well-referral".to_owned()],
        expires_us: None,
        record_sha256: "00".to_owned(),
        shown: shown.map(Box::new),
        by: actor(),
    };
    let shown = |items: &[&str]| ConsentShown {
        agreement: agreement("f"),
        provider: decided("d", "s1").provider,
        items: items.iter().map(|item| (*item).to_owned()).collect(),
        retain_days: 30,
        onward_sharing: false,
    };
    let asked = |purpose: &str| {
        let mut decided = decided("d", "s1");
        purpose.clone_into(&mut decided.purpose);
        Body::Intent(decided)
    };
    let always = "safe-and-well-referral";
    let verifies = |bodies: Vec<Body>| {
        let leaves = leaves([vec![opened(), policies(1, "active", 2 * DAY_US)], bodies].concat());
        verified(&leaves, &checkpoint(&leaves)).map(drop)
    };
    let mobility = shown(&["needs.mobility:as-is", "person.name:as-is"]);
    assert!(verifies(vec![said(Some(mobility.clone())), asked(always), release("d", "s1")]).is_ok());
    assert!(
        verifies(vec![said(None), asked(always), release("d", "s1")]).is_ok(),
        "nothing says what was shown"
    );
    let beyond = (Some(4), "release-beyond-consent");
    let other = said(Some(shown(&["person.name:as-is"])));
    assert_eq!(fault_of(vec![other.clone(), asked(always), release("d", "s1")]), beyond);
    // Which items of other purposes need a yes is in the catalogue alone.
    assert!(verifies(vec![other, asked("direct-care"), release("d", "s1")]).is_ok());
    for wrong in [
        ConsentShown { agreement: agreement("g"), ..mobility.clone() },
        ConsentShown { provider: "another".to_owned(), ..mobility },
    ] {
        assert_eq!(fault_of(vec![said(Some(wrong)), asked("direct-care"), release("d", "s1")]), beyond);
    }
}
