//! The table of steps, held against random courses; and each control with the case in which it refuses.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, civil::Date};
use proptest::prelude::*;

use super::{outline::PartyOutline, *};
use crate::{agreement::SignatoryRole, agreement::Status, identifier::FlowId, purpose::PurposeClass};

mod drafts;
mod places;
mod possible;
mod sides;

fn organisation(name: &str) -> OrganisationId {
    name.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-23T12:00:00Z")
}

fn hand(of: &str, id: &str) -> Hand {
    Hand {
        person: Person { organisation: organisation(of), id: id.to_owned() },
        may: vec![Authority::Draft, Authority::Approve, Authority::Sign],
        offices: Vec::new(),
        filled: Vec::new(),
        mediates: false,
    }
}

fn dpo(of: &str) -> Hand {
    Hand { offices: vec![SignatoryRole::Dpo], ..hand(of, "dpo") }
}

fn flow(id: &str, provider: &str, recipient: &str, purpose: PurposeClass) -> FlowOutline {
    FlowOutline {
        id: id.parse().unwrap(),
        provider: organisation(provider),
        recipient: organisation(recipient),
        purpose,
    }
}

/// The NHS gives to the fire service and to the council; the council gives to the NHS to safeguard.
fn outline(version: u32) -> Outline {
    let party = || PartyOutline { roles: vec![SignatoryRole::Siro], controls: true, has_notice: true };
    Outline {
        review_days: None,
        version,
        terms_sha256: format!("digest-{version}"),
        parties: ["nhs", "fire", "council"].map(|name| (organisation(name), party())).into(),
        flows: vec![
            flow("list", "nhs", "fire", PurposeClass::FirePreventionTargeting),
            flow("care", "nhs", "council", PurposeClass::ServiceImprovement),
            flow("safe", "council", "nhs", PurposeClass::SafeguardingAdult),
        ],
        ends_on: "2029-01-01".parse().unwrap(),
        review_on: "2027-06-01".parse().unwrap(),
        dpia_accepted: true,
        has_breach_contact: true,
        grace_days: 60,
        is_pilot: false,
    }
}

fn begun() -> Managed {
    Managed::begin("pilot".parse().unwrap(), outline(1), &hand("nhs", "author")).unwrap()
}

fn signing(of: &str, version: u32) -> Signing {
    Signing {
        version,
        terms_sha256: format!("digest-{version}"),
        role: SignatoryRole::Siro,
        person: Person { organisation: organisation(of), id: "siro".to_owned() },
        name: "A. Name".to_owned(),
        at: now(),
    }
}

/// Takes steps, each of which has to be possible.
fn after(managed: Managed, steps: Vec<(Command, Hand)>) -> Managed {
    steps.into_iter().fold(managed, |managed, (command, hand)| {
        let (name, state) = (command.as_str(), managed.state());
        managed.apply(command, &hand, now()).unwrap_or_else(|refusal| panic!("{name} in {state}: {refusal}"))
    })
}

fn refused(managed: &Managed, command: Command, hand: &Hand) -> Refusal {
    managed.clone().apply(command, hand, now()).unwrap_err()
}

fn assured(managed: Managed) -> Managed {
    let steps = vec![
        (Command::Propose, hand("nhs", "author")),
        (Command::Accept, hand("nhs", "lead")),
        (Command::Accept, hand("fire", "lead")),
        (Command::Accept, hand("council", "lead")),
        (Command::Assure, hand("fire", "quality")),
        (Command::OpenSigning { blocked: false, evaluated: false }, hand("nhs", "lead")),
    ];
    after(managed, steps)
}

fn signed_by(managed: Managed, version: u32, parties: &[&str]) -> Managed {
    parties.iter().fold(managed, |managed, party| {
        let steps = vec![
            (Command::Advise { favourable: true }, dpo(party)),
            (Command::AnswerAdvice { followed: true }, hand(party, "lead")),
            (Command::Sign(signing(party, version)), hand(party, "siro")),
        ];
        after(managed, steps)
    })
}

fn active(parties: &[&str]) -> Managed {
    let managed = signed_by(assured(begun()), 1, parties);
    let steps = vec![
        (Command::Ask(Pending::Activation), hand("nhs", "lead")),
        (Command::Confirm, hand("fire", "lead")),
    ];
    after(managed, steps)
}

fn running(managed: &Managed) -> BTreeSet<String> {
    let in_force = managed.in_force.as_ref().unwrap();
    let standing = in_force.standing();
    let signed = |organisation: &OrganisationId| standing.signatures.contains_key(organisation);
    let flows = in_force.live().deal.outline.flows.iter();
    let on = flows.filter(|flow| {
        standing.status == Status::Active
            && !standing.suspended.contains(&flow.id)
            && signed(&flow.provider)
            && signed(&flow.recipient)
    });
    on.map(|flow| flow.id.to_string()).collect()
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn pairs_begin_as_their_signatures_arrive() {
    let managed = active(&["nhs", "fire"]);
    assert_eq!((managed.state(), running(&managed)), ("active", names(&["list"])));
    // The council signs months later: its flows begin, and nobody else has to do anything.
    let managed = signed_by_late(managed);
    assert_eq!(running(&managed), names(&["list", "care", "safe"]));
}

fn signed_by_late(managed: Managed) -> Managed {
    signed_by(managed, 1, &["council"])
}

#[test]
fn whoever_signs_late_has_to_have_what_the_others_had() {
    let managed = active(&["nhs", "fire"]);
    let sign = || Command::Sign(signing("council", 1));
    let siro = hand("council", "siro");
    assert_eq!(refused(&managed, sign(), &siro), Refusal::AdviceMissing);
    let advised = after(managed, vec![(Command::Advise { favourable: false }, dpo("council"))]);
    assert_eq!(refused(&advised, sign(), &siro), Refusal::AdviceUnanswered);
    assert_eq!(refused(&advised, Command::Advise { favourable: true }, &dpo("nhs")), Refusal::NotInThisState);
    let answered = after(advised, vec![(Command::AnswerAdvice { followed: false }, hand("council", "lead"))]);
    assert_eq!(running(&answered), names(&["list"]));
    assert_eq!(running(&after(answered, vec![(sign(), siro.clone())])), names(&["list", "care", "safe"]));
    let mut without = outline(1);
    without.parties.get_mut(&organisation("council")).unwrap().has_notice = false;
    let begun = Managed::begin("pilot".parse().unwrap(), without, &hand("nhs", "author")).unwrap();
    let managed = signed_by(assured(begun), 1, &["nhs", "fire"]);
    let in_force = vec![
        (Command::Ask(Pending::Activation), hand("nhs", "lead")),
        (Command::Confirm, hand("fire", "lead")),
        (Command::Advise { favourable: true }, dpo("council")),
        (Command::AnswerAdvice { followed: true }, hand("council", "lead")),
    ];
    assert_eq!(refused(&after(managed, in_force), sign(), &siro), Refusal::NoticeMissing);
}

/// The second version, with these terms, signed by these and asked to be put in force.
fn varied(managed: Managed, outline: Outline, signed: &[&str]) -> Managed {
    let accepting: Vec<_> = outline.parties.keys().map(ToString::to_string).collect();
    let mut steps =
        vec![(Command::Vary(outline), hand("fire", "analyst")), (Command::Propose, hand("fire", "analyst"))];
    steps.extend(accepting.iter().map(|party| (Command::Accept, hand(party, "lead"))));
    steps.extend([
        (Command::Assure, hand("fire", "quality")),
        (Command::OpenSigning { blocked: false, evaluated: false }, hand("nhs", "lead")),
    ]);
    let two = signed_by(after(managed, steps), 2, signed);
    after(two, vec![(Command::Ask(Pending::Activation), hand("nhs", "lead"))])
}

#[test]
fn what_is_switched_off_stays_off_in_the_version_after_it() {
    let all = ["nhs", "fire", "council"];
    let confirm = || vec![(Command::Confirm, hand("fire", "lead"))];
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let stop = |scope| Command::Suspend { scope, reason: StopReason::Breach };
    let list = || Scope::Flow("list".parse().unwrap());
    let off = after(managed.clone(), vec![(stop(list()), hand("fire", "lead"))]);
    let new = after(varied(off, outline(2), &all), confirm());
    assert_eq!((new.state(), running(&new)), ("active", names(&["care", "safe"])));
    assert_eq!(refused(&new, Command::Resume(list()), &hand("nhs", "lead")), Refusal::StopIsTheirs);
    let on = after(new, vec![(Command::Resume(list()), hand("fire", "other"))]);
    assert_eq!(running(&on), names(&["list", "care", "safe"]));
    // The whole of it, while its successor is negotiated.
    let asked = varied(managed.clone(), outline(2), &all);
    let off = after(asked, vec![(stop(Scope::Agreement), hand("council", "lead"))]);
    let new = after(off, confirm());
    assert_eq!((new.state(), running(&new)), ("suspended", names(&[])));
    let on = after(new, vec![(Command::Resume(Scope::Agreement), hand("council", "other"))]);
    assert_eq!((on.state(), running(&on)), ("active", names(&["list", "care", "safe"])));
    // A flow that the new terms do not have cannot be switched on again.
    let off = after(managed, vec![(stop(list()), hand("fire", "lead"))]);
    let mut without = outline(2);
    without.flows.retain(|flow| flow.id.as_str() != "list");
    let new = after(varied(off, without, &all), confirm());
    assert_eq!(refused(&new, Command::Resume(list()), &hand("fire", "other")), Refusal::NoSuchStop);
}

#[test]
fn a_variation_without_a_party_waits_until_it_has_left() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let mut without = outline(2);
    without.parties.remove(&organisation("council"));
    without.flows.retain(|flow| !flow.touches(&organisation("council")));
    let asked = varied(managed.clone(), without, &["nhs", "fire"]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("fire", "lead")), Refusal::WouldCutAParty);
    let left = after(asked, vec![(Command::Exit, hand("council", "lead"))]);
    assert_eq!(running(&after(left, vec![(Command::Confirm, hand("fire", "lead"))])), names(&["list"]));
    // Nor is a party cut off that wants to go on as it is.
    let asked = varied(managed, outline(2), &["nhs", "fire"]);
    let declined = after(asked, vec![(Command::Decline, hand("council", "lead"))]);
    let asked = after(declined, vec![(Command::Ask(Pending::Activation), hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("fire", "lead")), Refusal::WouldCutAParty);
}

#[test]
fn what_was_in_force_is_told_as_it_ended_once_a_later_version_is() {
    let end = vec![
        (Command::Ask(Pending::Termination { asked: None }), hand("nhs", "lead")),
        (Command::Confirm, hand("fire", "lead")),
    ];
    let over = after(active(&["nhs", "fire"]), end);
    assert_eq!(over.state_of(1), "terminated");
    let again = varied(over, outline(2), &["nhs", "fire"]);
    let again = after(again, vec![(Command::Confirm, hand("fire", "lead"))]);
    assert_eq!((again.state_of(1), again.state_of(2)), ("terminated", "active"));
}

#[test]
fn each_version_has_a_state_of_its_own() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let two = after(managed.clone(), vec![(Command::Vary(outline(2)), hand("fire", "analyst"))]);
    assert_eq!((two.state_of(1), two.state_of(2), two.state()), ("active", "draft", "active"));
    let asked = varied(managed, outline(2), &["nhs", "fire", "council"]);
    assert_eq!((asked.state_of(1), asked.state_of(2)), ("active", "awaiting-signature"));
    let new = after(asked, vec![(Command::Confirm, hand("fire", "lead"))]);
    assert_eq!((new.state_of(1), new.state_of(2)), ("varied", "active"));
}

#[test]
fn two_people_put_it_in_force_and_none_of_them_wrote_it() {
    let managed = signed_by(assured(begun()), 1, &["nhs", "fire"]);
    let ask = || Command::Ask(Pending::Activation);
    assert_eq!(refused(&managed, Command::Confirm, &hand("fire", "lead")), Refusal::NotInThisState);
    assert_eq!(refused(&managed, ask(), &hand("nhs", "author")), Refusal::AuthorApproves);
    assert_eq!(refused(&managed, ask(), &dpo("nhs")), Refusal::DpoApproves);
    let asked = after(managed, vec![(ask(), hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("nhs", "lead")), Refusal::SamePerson);
    assert_eq!(refused(&asked, Command::Confirm, &hand("nhs", "author")), Refusal::AuthorApproves);
    assert_eq!(after(asked, vec![(Command::Confirm, hand("nhs", "other"))]).state(), "active");
}

type Lacking = fn(&mut Outline);

fn nhs(outline: &mut Outline) -> &mut PartyOutline {
    outline.parties.get_mut(&organisation("nhs")).unwrap()
}

#[test]
fn what_has_to_be_there_before_it_is_in_force() {
    let ask = || Command::Ask(Pending::Activation);
    let one_end = signed_by(assured(begun()), 1, &["nhs"]);
    assert_eq!(refused(&one_end, ask(), &hand("nhs", "lead")), Refusal::NoPairSigned);
    let sign = |party| (Command::Sign(signing(party, 1)), hand(party, "siro"));
    let unadvised = after(assured(begun()), vec![sign("nhs"), sign("fire")]);
    assert_eq!(refused(&unadvised, ask(), &hand("nhs", "lead")), Refusal::AdviceMissing);
    let advised = vec![
        (Command::Advise { favourable: false }, dpo("nhs")),
        (Command::Advise { favourable: true }, dpo("fire")),
    ];
    let unanswered = after(unadvised, advised);
    assert_eq!(refused(&unanswered, ask(), &hand("nhs", "lead")), Refusal::AdviceUnanswered);
    // Advice against it, which is not followed: that is for the approver to answer for.
    let answered = vec![
        (Command::AnswerAdvice { followed: false }, hand("nhs", "lead")),
        (Command::AnswerAdvice { followed: true }, hand("fire", "lead")),
    ];
    assert!(after(unanswered, answered).apply(ask(), &hand("nhs", "lead"), now()).is_ok());
    let edits: [(Lacking, Refusal); 4] = [
        (|outline| nhs(outline).controls = false, Refusal::ProviderNotController),
        (|outline| nhs(outline).has_notice = false, Refusal::NoticeMissing),
        (|outline| outline.dpia_accepted = false, Refusal::AssessmentOpen),
        (|outline| outline.has_breach_contact = false, Refusal::BreachContactMissing),
    ];
    for (edit, refusal) in edits {
        let mut lacking = outline(1);
        edit(&mut lacking);
        let begun = Managed::begin("pilot".parse().unwrap(), lacking, &hand("nhs", "author")).unwrap();
        let managed = signed_by(assured(begun), 1, &["nhs", "fire"]);
        assert_eq!(refused(&managed, ask(), &hand("nhs", "lead")), refusal);
    }
}

#[test]
fn whoever_may_not_does_not() {
    let draft = begun();
    assert_eq!(refused(&draft, Command::Propose, &hand("fire", "lead")), Refusal::NotYours);
    let proposed = after(draft, vec![(Command::Propose, hand("nhs", "author"))]);
    assert_eq!(refused(&proposed, Command::Accept, &hand("nhs", "author")), Refusal::AuthorApproves);
    assert_eq!(refused(&proposed, Command::Accept, &dpo("fire")), Refusal::DpoApproves);
    assert_eq!(refused(&proposed, Command::Accept, &hand("stranger", "lead")), Refusal::NotAParty);
    assert_eq!(
        refused(&proposed, Command::Advise { favourable: true }, &hand("fire", "lead")),
        Refusal::NotTheDpo
    );
    assert_eq!(refused(&proposed, Command::Withdraw, &hand("fire", "lead")), Refusal::NotYours);
    let mediator = Hand { may: vec![Authority::Mediate], ..hand("fire", "mediator") };
    for command in [Command::Accept, Command::Counter(outline(2)), Command::Proceed, Command::Decline] {
        assert_eq!(refused(&proposed, command, &mediator), Refusal::NoAuthority);
    }
    let signing_is_open = assured(begun());
    assert_eq!(refused(&signing_is_open, Command::Sign(signing("fire", 1)), &mediator), Refusal::NoAuthority);
    assert_eq!(
        refused(&signing_is_open, Command::Sign(signing("nhs", 1)), &hand("nhs", "author")),
        Refusal::AuthorApproves
    );
    let of_another = Command::Sign(signing("nhs", 1));
    assert_eq!(refused(&signing_is_open, of_another, &hand("fire", "siro")), Refusal::NotYours);
    let as_dpo = Signing { role: SignatoryRole::Dpo, ..signing("fire", 1) };
    assert_eq!(refused(&signing_is_open, Command::Sign(as_dpo), &hand("fire", "siro")), Refusal::DpoApproves);
}

#[test]
fn a_signature_is_over_the_terms_that_are_offered() {
    let open = assured(begun());
    let older = Command::Sign(signing("fire", 0));
    assert_eq!(refused(&open, older, &hand("fire", "siro")), Refusal::OtherVersion);
    let moved = Signing { terms_sha256: "other".to_owned(), ..signing("fire", 1) };
    assert_eq!(refused(&open, Command::Sign(moved), &hand("fire", "siro")), Refusal::OtherVersion);
    let signed = after(open, vec![(Command::Sign(signing("fire", 1)), hand("fire", "siro"))]);
    let again = Command::Sign(signing("fire", 1));
    assert_eq!(refused(&signed, again, &hand("fire", "siro")), Refusal::AlreadySigned);
}

#[test]
fn a_counter_proposal_is_a_version_and_nobody_has_agreed_to_it() {
    let proposed = after(
        begun(),
        vec![(Command::Propose, hand("nhs", "author")), (Command::Accept, hand("nhs", "lead"))],
    );
    let countered = after(proposed, vec![(Command::Counter(outline(2)), hand("fire", "analyst"))]);
    assert_eq!((countered.state(), countered.latest), ("counter-proposed", 2));
    assert_eq!(countered.past[0].fate, Fate::Countered);
    let everybody = vec![(Command::Accept, hand("fire", "lead")), (Command::Accept, hand("council", "lead"))];
    let waiting = after(countered, everybody);
    assert_eq!(waiting.state(), "counter-proposed", "the nhs agreed to other terms");
    // Whoever wrote any of it agrees to none of it.
    assert_eq!(refused(&waiting, Command::Accept, &hand("nhs", "author")), Refusal::AuthorApproves);
    let agreed = after(waiting, vec![(Command::Accept, hand("nhs", "lead"))]);
    assert_eq!(agreed.state(), "agreed-in-principle");
    // A party that declines keeps nobody waiting, and those who agreed can go on without the slow.
    let proposed = after(
        begun(),
        vec![(Command::Propose, hand("nhs", "author")), (Command::Accept, hand("nhs", "lead"))],
    );
    assert_eq!(refused(&proposed, Command::Proceed, &hand("nhs", "lead")), Refusal::NobodyHasAgreed);
    let two = after(
        proposed,
        vec![(Command::Accept, hand("fire", "lead")), (Command::Decline, hand("council", "lead"))],
    );
    assert_eq!(refused(&two, Command::Review, &hand("council", "lead")), Refusal::LeftAlready);
    assert_eq!(after(two, vec![(Command::Proceed, hand("nhs", "lead"))]).state(), "agreed-in-principle");
}

#[test]
fn anybody_can_switch_off_and_a_second_person_switches_on() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let stop = |scope| Command::Suspend { scope, reason: StopReason::Breach };
    let list: FlowId = "list".parse().unwrap();
    assert_eq!(
        refused(&managed, stop(Scope::Flow(list.clone())), &hand("council", "lead")),
        Refusal::NotYours
    );
    let no_such = stop(Scope::Flow("none".parse().unwrap()));
    assert_eq!(refused(&managed, no_such, &hand("nhs", "lead")), Refusal::NoSuchFlow);
    let one = after(managed.clone(), vec![(stop(Scope::Flow(list.clone())), hand("fire", "lead"))]);
    assert_eq!((one.state(), running(&one)), ("active", names(&["care", "safe"])));
    let on = Command::Resume(Scope::Flow(list));
    assert_eq!(refused(&one, on.clone(), &hand("fire", "lead")), Refusal::SamePerson);
    assert_eq!(refused(&one, on.clone(), &hand("nhs", "lead")), Refusal::StopIsTheirs);
    assert_eq!(running(&after(one, vec![(on, hand("fire", "other"))])), names(&["list", "care", "safe"]));
    let party =
        after(managed.clone(), vec![(stop(Scope::Party(organisation("council"))), hand("nhs", "lead"))]);
    assert_eq!(running(&party), names(&["list"]));
    let whole = after(managed, vec![(stop(Scope::Agreement), hand("council", "lead"))]);
    assert_eq!((whole.state(), running(&whole)), ("suspended", names(&[])));
    let on = Command::Resume(Scope::Agreement);
    let on = after(whole, vec![(on, hand("council", "other"))]);
    assert_eq!((on.state(), running(&on)), ("active", names(&["list", "care", "safe"])));
}

#[test]
fn a_party_leaves_and_another_takes_the_place_of_one() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let left = after(managed.clone(), vec![(Command::Exit, hand("council", "lead"))]);
    assert_eq!((left.state(), running(&left)), ("active", names(&["list"])));
    assert_eq!(refused(&left, Command::Exit, &hand("council", "lead")), Refusal::LeftAlready);
    let succeed = || places::succeed("council", "merged");
    assert_eq!(refused(&managed, succeed(), &hand("merged", "lead")), Refusal::NotAParty);
    let asked = after(managed, vec![(succeed(), hand("fire", "lead"))]);
    assert!(asked.members().contains(&organisation("merged")), "whoever is to take a place is asked");
    assert_eq!(refused(&asked, Command::Confirm, &hand("fire", "other")), Refusal::SameParty);
    assert_eq!(refused(&asked, Command::Confirm, &hand("stranger", "lead")), Refusal::NotAParty);
    let merged = places::agreed(asked);
    let standing = merged.in_force.as_ref().unwrap().standing();
    assert_eq!(standing.successors, BTreeMap::from([(organisation("council"), organisation("merged"))]));
    assert_eq!(running(&merged), names(&["list", "care", "safe"]));
    assert!(merged.members().contains(&organisation("merged")));
    // From now on it acts as the one whose place it has.
    let left = after(merged, vec![(Command::Exit, hand("merged", "lead"))]);
    assert_eq!(running(&left), names(&["list"]));
}

#[test]
fn a_variation_takes_the_place_of_what_runs_and_cuts_nobody() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let varied = after(managed, vec![(Command::Vary(outline(2)), hand("fire", "analyst"))]);
    assert_eq!((varied.state(), varied.latest), ("active", 2), "what is in force goes on");
    assert_eq!(
        refused(&varied, Command::Vary(outline(3)), &hand("nhs", "author")),
        Refusal::AlreadyNegotiated
    );
    let steps = vec![
        (Command::Propose, hand("fire", "analyst")),
        (Command::Accept, hand("nhs", "lead")),
        (Command::Accept, hand("fire", "lead")),
        (Command::Accept, hand("council", "lead")),
        (Command::Assure, hand("fire", "quality")),
        (Command::OpenSigning { blocked: false, evaluated: false }, hand("nhs", "lead")),
    ];
    let two = signed_by(after(varied, steps), 2, &["nhs", "fire"]);
    let asked = after(two, vec![(Command::Ask(Pending::Activation), hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("fire", "lead")), Refusal::WouldCutAParty);
    let all = signed_by(asked, 2, &["council"]);
    let new = after(all, vec![(Command::Confirm, hand("fire", "lead"))]);
    assert_eq!(new.in_force.as_ref().unwrap().live().deal.outline.version, 2);
    assert_eq!(new.past.last().unwrap().fate, Fate::Varied);
    assert_eq!(running(&new), names(&["list", "care", "safe"]));
}

#[test]
fn signing_waits_for_comments_and_for_the_evaluation_of_a_pilot() {
    let open = |blocked, evaluated| Command::OpenSigning { blocked, evaluated };
    let found_in_order = |managed: Managed, by: &str| {
        let steps = vec![
            (Command::Propose, hand("nhs", by)),
            (Command::Accept, hand("nhs", "lead")),
            (Command::Accept, hand("fire", "lead")),
            (Command::Accept, hand("council", "lead")),
            (Command::Assure, hand("fire", "quality")),
        ];
        after(managed, steps)
    };
    let pilot = Outline { is_pilot: true, ..outline(1) };
    let begun = Managed::begin("pilot".parse().unwrap(), pilot, &hand("nhs", "author")).unwrap();
    let ready = found_in_order(begun, "author");
    assert_eq!(refused(&ready, open(true, true), &hand("nhs", "lead")), Refusal::CommentsOpen);
    let opened = after(ready, vec![(open(false, false), hand("nhs", "lead"))]);
    let steps = vec![
        (Command::Ask(Pending::Activation), hand("nhs", "lead")),
        (Command::Confirm, hand("fire", "lead")),
    ];
    let running = after(signed_by(opened, 1, &["nhs", "fire", "council"]), steps);
    // Another pilot in its place needs none; what is permanent does.
    let again = Outline { is_pilot: true, ..outline(2) };
    let again = after(running.clone(), vec![(Command::Vary(again), hand("nhs", "author"))]);
    assert_eq!(
        after(found_in_order(again, "author"), vec![(open(false, false), hand("nhs", "lead"))]).latest,
        2
    );
    let permanent = after(running, vec![(Command::Vary(outline(2)), hand("nhs", "author"))]);
    let ready = found_in_order(permanent, "author");
    assert_eq!(refused(&ready, open(false, false), &hand("nhs", "lead")), Refusal::EvaluationMissing);
    assert_eq!(after(ready, vec![(open(false, true), hand("nhs", "lead"))]).latest, 2);
}

#[test]
fn time_warns_and_never_cuts_a_safeguarding_route() {
    let passed = |managed: &Managed, until: &str| {
        let (mut managed, mut steps) = (managed.clone(), Vec::new());
        while let Some((after, step)) = managed.pass(at(until)) {
            managed = after;
            steps.push(step);
        }
        (managed, steps)
    };
    let managed = signed_by_late(active(&["nhs", "fire"]));
    assert!(passed(&managed, "2027-02-28T12:00:00Z").1.is_empty());
    assert_eq!(passed(&managed, "2027-03-01T00:00:00Z").1, ["review-due"], "three months before");
    assert_eq!(passed(&managed, "2027-05-31T23:00:00Z").1, ["review-due", "overdue"], "midnight in london");
    let (overdue, _) = passed(&managed, "2027-07-30T12:00:00Z");
    assert_eq!(running(&overdue), names(&["list", "care", "safe"]), "late, and in use");
    let (late, steps) = passed(&managed, "2027-07-31T00:00:00Z");
    assert_eq!(steps, ["review-due", "overdue", "suspended"]);
    assert_eq!(running(&late), names(&["safe"]), "what somebody's safety may depend on goes on");
    // The review brings back what its absence had switched off.
    let next_on: Date = "2027-11-01".parse().unwrap();
    let reviewed = |next_on| Command::Reviewed { next_on };
    let early = reviewed("2027-06-01".parse().unwrap());
    assert_eq!(refused(&late, early, &hand("nhs", "lead")), Refusal::ReviewNotAhead);
    let beyond = reviewed("2029-06-01".parse().unwrap());
    assert_eq!(refused(&late, beyond, &hand("nhs", "lead")), Refusal::ReviewNotAhead);
    let held = after(late, vec![(reviewed(next_on), hand("nhs", "lead"))]);
    assert_eq!((held.state(), running(&held)), ("active", names(&["list", "care", "safe"])));
    assert_eq!(passed(&held, "2027-08-02T12:00:00Z").1, ["review-due"]);
    let (ended, _) = passed(&held, "2029-01-01T00:00:00Z");
    assert_eq!((ended.state(), running(&ended)), ("expired", names(&[])));
    assert_eq!(refused(&ended, Command::Exit, &hand("nhs", "lead")), Refusal::NotInThisState);
}

#[test]
fn ending_it_takes_two() {
    let managed = active(&["nhs", "fire"]);
    let ask = Command::Ask(Pending::Termination { asked: None });
    let asked = after(managed, vec![(ask, hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("nhs", "lead")), Refusal::SamePerson);
    let ended = after(asked, vec![(Command::Confirm, hand("fire", "lead"))]);
    assert_eq!((ended.state(), running(&ended)), ("terminated", names(&[])));
}

/// The table of `docs/agreements.md`: from each state, the steps that may be possible and the states they lead to.
const TABLE: &[(&str, &str, &[&str])] = &[
    ("draft", "revised", &["draft"]),
    ("draft", "proposed", &["proposed"]),
    ("draft", "withdrawn", &["withdrawn"]),
    ("proposed", "counter-proposed", &["counter-proposed"]),
    ("proposed", "accepted", &["proposed", "agreed-in-principle"]),
    ("proposed", "agreed-in-principle", &["agreed-in-principle"]),
    ("proposed", "withdrawn", &["withdrawn"]),
    ("counter-proposed", "counter-proposed", &["counter-proposed"]),
    ("counter-proposed", "accepted", &["counter-proposed", "agreed-in-principle"]),
    ("counter-proposed", "agreed-in-principle", &["agreed-in-principle"]),
    ("counter-proposed", "withdrawn", &["withdrawn"]),
    ("agreed-in-principle", "counter-proposed", &["counter-proposed"]),
    ("agreed-in-principle", "accepted", &["agreed-in-principle"]),
    ("agreed-in-principle", "quality-assured", &["quality-assured"]),
    ("agreed-in-principle", "withdrawn", &["withdrawn"]),
    ("quality-assured", "signing-opened", &["awaiting-signature"]),
    ("quality-assured", "withdrawn", &["withdrawn"]),
    ("awaiting-signature", "signed", &["awaiting-signature"]),
    ("awaiting-signature", "activation-asked", &["awaiting-signature"]),
    ("awaiting-signature", "confirmed", &["active"]),
    ("awaiting-signature", "rejected", &["awaiting-signature"]),
    ("awaiting-signature", "withdrawn", &["withdrawn"]),
];

/// What can be said at every stage that is offered, and what is done to what runs.
fn is_in_the_table(from: &str, action: &str, to: &str) -> bool {
    let offered =
        ["proposed", "counter-proposed", "agreed-in-principle", "quality-assured", "awaiting-signature"];
    let said = ["review-begun", "declined", "advised", "advice-answered"];
    if offered.contains(&from) && said.contains(&action) {
        return from == to;
    }
    let runs = ["active", "review-due", "overdue", "suspended"];
    if runs.contains(&from) {
        return match action {
            "suspended" => to == "suspended" || to == from,
            "resumed" | "reviewed" => to == "active" || to == from,
            "confirmed" => ["terminated", "active", from].contains(&to),
            "exited" => to == "terminated" || to == from,
            _ => from == to,
        };
    }
    // What is over is begun anew by a variation, and nothing else.
    if ["expired", "terminated", "withdrawn"].contains(&from) {
        return action == "variation-begun" && to == "draft";
    }
    TABLE.iter().any(|(state, step, leads)| *state == from && *step == action && leads.contains(&to))
}

fn command() -> impl Strategy<Value = (Command, Hand)> {
    let of = prop::sample::select(vec!["nhs", "fire", "council", "stranger"]);
    let id = prop::sample::select(vec!["author", "lead", "other", "siro", "dpo"]);
    (0_u8..21, of, id, 1_u32..4, any::<bool>()).prop_map(|(which, of, id, version, flag)| {
        let scope = if flag { Scope::Agreement } else { Scope::Flow("list".parse().unwrap()) };
        let command = match which {
            0 => Command::Revise(outline(version)),
            1 => Command::Propose,
            2 => Command::Counter(outline(version)),
            3 => Command::Review,
            4..=6 => Command::Accept,
            7 => Command::Decline,
            8 => Command::Proceed,
            9 => Command::Advise { favourable: flag },
            10 => Command::AnswerAdvice { followed: flag },
            11 => Command::Assure,
            12 => Command::OpenSigning { blocked: false, evaluated: false },
            13 => Command::Sign(signing(of, version)),
            14 => Command::Ask(if flag { Pending::Activation } else { Pending::Termination { asked: None } }),
            15 => Command::Confirm,
            16 => Command::Withdraw,
            17 => Command::Suspend { scope, reason: StopReason::Other },
            18 => Command::Resume(scope),
            19 => Command::Exit,
            _ => Command::Vary(outline(version)),
        };
        (command, if id == "dpo" { dpo(of) } else { hand(of, id) })
    })
}

proptest! {
    /// From wherever a course is, a step that is taken is one of the table, and what is refused changes nothing.
    #[test]
    fn no_course_leaves_the_table(
        begin in 0_usize..4,
        steps in prop::collection::vec((command(), 0_i64..40), 1..60),
    ) {
        let mut managed = match begin {
            0 => begun(),
            1 => assured(begun()),
            2 => signed_by(assured(begun()), 1, &["nhs", "fire"]),
            _ => active(&["nhs", "fire"]),
        };
        let mut time = now();
        for ((command, hand), days) in steps {
            let (from, action, negotiated) =
                (managed.state(), command.as_str(), managed.next.as_ref().map(Negotiation::state));
            let is_dpo = hand.holds(SignatoryRole::Dpo);
            let is_author =
                managed.next.as_ref().is_some_and(|next| next.deal().authors.contains(&hand.person));
            time = time.checked_add(SignedDuration::from_hours(24 * days)).unwrap();
            if let Ok(after) = managed.clone().apply(command, &hand, time) {
                // While something is in force, what is negotiated beside it has its own state.
                let to = after.state();
                let beside = after.next.as_ref().map(Negotiation::state);
                // What ends makes way for what is negotiated beside it, as it is.
                let has_ended = ["confirmed", "exited"].contains(&action) && after.in_force.as_ref().is_some_and(|ended| !ended.is_running());
                let makes_way = has_ended && negotiated.is_some() && negotiated == beside && beside == Some(to);
                let by_table = makes_way || is_in_the_table(from, action, to)
                    || negotiated.is_some_and(|negotiated| is_in_the_table(negotiated, action, beside.unwrap_or("withdrawn")));
                prop_assert!(by_table, "{action}: {from} to {to}, {negotiated:?} to {beside:?}");
                if is_dpo {
                    prop_assert!(!["accepted", "quality-assured", "confirmed", "signed", "suspended"].contains(&action));
                }
                if is_author && managed.in_force.is_none() {
                    prop_assert!(!["accepted", "quality-assured", "confirmed", "signed"].contains(&action));
                }
                managed = after;
            }
            while let Some((after, _)) = managed.pass(time) {
                managed = after;
            }
            // What is kept is read back as it was.
            let kept = serde_json::to_string(&managed).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Managed>(&kept).unwrap(), &managed);
        }
    }
}
