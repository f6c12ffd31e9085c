//! Steps of agreements: none is missing, and what takes two people took two.

use super::*;

fn hand(organisation: &str, person: &str) -> Actor {
    Actor { organisation: organisation.to_owned(), practitioner: Some(person.to_owned()), ..actor() }
}

fn step(revision: u64, action: &str, by: impl Into<Option<Actor>>) -> Body {
    Body::AgreementMoved {
        agreement: "pilot".to_owned(),
        revision,
        version: 1,
        terms_sha256: "00".to_owned(),
        action: action.to_owned(),
        state: "active".to_owned(),
        scope: Some("agreement".to_owned()),
        reason: None,
        text_sha256: None,
        by: by.into(),
    }
}

fn officer(action: &str, by: Actor) -> Body {
    Body::AgreementOfficerMoved {
        officer_id: "off_1".to_owned(),
        action: action.to_owned(),
        organisation: "gmca".to_owned(),
        person: "S-1".to_owned(),
        role: "siro".to_owned(),
        key: Some("k".to_owned()),
        by,
    }
}

fn signed(revision: u64, by: Actor) -> Body {
    Body::AgreementSigned {
        agreement: "pilot".to_owned(),
        revision,
        version: 1,
        terms_sha256: "00".to_owned(),
        state: "awaiting-signature".to_owned(),
        role: "siro".to_owned(),
        officer_id: "off_1".to_owned(),
        signature: "a..b".to_owned(),
        by,
    }
}

fn matter(revision: u64, action: &str, by: impl Into<Option<Actor>>) -> Body {
    Body::AgreementMatterMoved {
        agreement: "pilot".to_owned(),
        matter: "mat_1".to_owned(),
        about: "dispute".to_owned(),
        revision,
        version: 1,
        action: action.to_owned(),
        state: "open".to_owned(),
        reason: None,
        text_sha256: None,
        by: by.into(),
    }
}

const ONE_HAND: &str = "agreement-one-hand";

fn one() -> Actor {
    hand("gmca", "P-1")
}

fn two() -> Actor {
    hand("gmca", "P-2")
}

fn theirs() -> Actor {
    hand("council", "P-3")
}

#[test]
fn no_step_is_left_out() {
    let gap = (Some(3), "agreement-revision");
    assert_eq!(fault_of(vec![step(1, "drafted", one()), step(3, "proposed", one())]), gap);
    assert_eq!(fault_of(vec![step(1, "drafted", one()), step(1, "proposed", one())]), gap);
    assert_eq!(fault_of(vec![step(2, "drafted", one())]), (Some(2), "agreement-revision"));
}

#[test]
fn what_takes_two_people_took_two() {
    for asked in ["activation-asked", "termination-asked", "succession-asked"] {
        let with = |by| vec![step(1, asked, one()), step(2, "confirmed", by)];
        assert_eq!(fault_of(with(one())), (Some(3), ONE_HAND), "{asked}");
    }
    assert_eq!(fault_of(vec![step(1, "confirmed", two())]), (Some(2), ONE_HAND), "nobody asked");
    let twice =
        vec![step(1, "activation-asked", one()), step(2, "confirmed", two()), step(3, "confirmed", two())];
    assert_eq!(fault_of(twice), (Some(4), ONE_HAND), "what was asked for is confirmed once");
    for by in [one(), theirs()] {
        let switched = vec![step(1, "suspended", one()), step(2, "resumed", by)];
        assert_eq!(fault_of(switched), (Some(3), ONE_HAND));
    }
    assert_eq!(fault_of(vec![officer("asked", one()), officer("registered", one())]), (Some(3), ONE_HAND));
    assert_eq!(fault_of(vec![officer("registered", one())]), (Some(2), ONE_HAND));
}

#[test]
fn a_precedent_is_published_by_two_organisations() {
    let opened = || matter(1, "opened", one());
    let alone = vec![opened(), matter(2, "publication-agreed", one()), matter(3, "published", two())];
    assert_eq!(fault_of(alone), (Some(4), ONE_HAND));
    assert_eq!(
        fault_of(vec![opened(), matter(3, "escalated", None)]),
        (Some(3), "agreement-matter-revision")
    );
}

#[test]
fn whoever_signs_is_in_office() {
    let in_office = || vec![officer("asked", one()), officer("registered", two())];
    let fault = |index| (Some(index), "agreement-signatory");
    assert_eq!(fault_of(vec![signed(1, hand("gmca", "S-1"))]), fault(2));
    let mut another = in_office();
    another.push(signed(1, two()));
    assert_eq!(fault_of(another), fault(4));
    let mut left = in_office();
    left.extend([officer("ended", one()), signed(1, hand("gmca", "S-1"))]);
    assert_eq!(fault_of(left), fault(5));
}

#[test]
fn a_course_in_order_verifies() {
    let mut bodies = vec![opened(), policies(1, "active", 2 * DAY_US)];
    bodies.extend([
        officer("asked", one()),
        officer("registered", two()),
        step(1, "drafted", one()),
        signed(2, hand("gmca", "S-1")),
        step(3, "activation-asked", one()),
        step(4, "confirmed", theirs()),
        step(5, "suspended", one()),
        step(6, "suspended", theirs()),
        matter(1, "opened", one()),
        matter(2, "escalated", None),
        matter(3, "publication-agreed", one()),
        matter(4, "published", theirs()),
        step(7, "resumed", two()),
        step(8, "review-due", None),
    ]);
    let leaves = leaves(bodies);
    let verified = verified(&leaves, &checkpoint(&leaves));
    assert!(verified.is_ok(), "{verified:?}");
}

fn fits(bodies: Vec<Body>) {
    let leaves = leaves([vec![opened(), policies(1, "active", 2 * DAY_US)], bodies].concat());
    let verified = verified(&leaves, &checkpoint(&leaves));
    assert!(verified.is_ok(), "{verified:?}");
}

#[test]
fn what_waits_and_was_rejected_is_confirmed_by_nobody() {
    let asked = || vec![step(1, "termination-asked", one()), step(2, "rejected", theirs())];
    fits(asked());
    let confirmed = [asked(), vec![step(3, "confirmed", theirs())]].concat();
    assert_eq!(fault_of(confirmed), (Some(4), ONE_HAND));
}

#[test]
fn what_was_switched_off_is_its_successors_to_switch_on_and_anybodys_when_they_have_left() {
    let off = || vec![step(1, "suspended", one())];
    // A person of the successor may have the name that a person of the other had.
    let on = |revision| step(revision, "resumed", hand("merged", "P-1"));
    assert_eq!(fault_of([off(), vec![on(2)]].concat()), (Some(3), ONE_HAND));
    let mut asked = step(2, "succession-asked", theirs());
    if let Body::AgreementMoved { scope, .. } = &mut asked {
        *scope = Some("succession:gmca:merged".to_owned());
    }
    let taken = vec![
        asked,
        step(3, "succession-agreed", hand("merged", "P-9")),
        step(4, "confirmed", hand("nhs", "P-5")),
    ];
    fits([off(), taken, vec![on(5)]].concat());
    fits([off(), vec![step(2, "exited", two()), step(3, "resumed", theirs())]].concat());
}
