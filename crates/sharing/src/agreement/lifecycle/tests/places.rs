//! Organisations in the place of others.

use super::*;

pub(super) fn succeed(of: &str, by: &str) -> Command {
    Command::Ask(Pending::succession(organisation(of), organisation(by)))
}

/// Somebody who answers for their organisation's information risk.
fn siro(of: &str) -> Hand {
    Hand { offices: vec![SignatoryRole::Siro], ..hand(of, "second") }
}

/// Everybody agrees who has to.
pub(super) fn agreed(managed: Managed) -> Managed {
    ["nhs", "fire", "council", "merged", "other"].into_iter().fold(managed, |managed, of| {
        let confirmed = managed.clone().apply(Command::Confirm, &siro(of), now());
        if managed.waits_for_a_successor() { confirmed.unwrap_or(managed) } else { managed }
    })
}

/// `by` takes the place of `of`: a party asks, and all agree who have to.
fn succeeded(managed: Managed, of: &str, by: &str, asks: &str) -> Managed {
    let managed = agreed(after(managed, vec![(succeed(of, by), hand(asks, "lead"))]));
    assert!(!managed.waits_for_a_successor());
    managed
}

#[test]
fn a_successor_talks_signs_late_and_begins_a_variation() {
    let merged = succeeded(active(&["nhs", "fire"]), "council", "merged", "nhs");
    assert!(merged.at_the_table().contains(&organisation("merged")));
    assert!(!merged.at_the_table().contains(&organisation("council")));
    // It signs what the council has still to sign, with advice to it, and nobody else does.
    let late = Command::Sign(signing("merged", 1));
    assert_eq!(refused(&merged, late.clone(), &hand("merged", "siro")), Refusal::AdviceMissing);
    let of_old = Command::Sign(signing("council", 1));
    assert_eq!(refused(&merged, of_old, &hand("council", "siro")), Refusal::LeftAlready);
    let signed = signed_by(merged, 1, &["merged"]);
    assert_eq!(running(&signed), names(&["list", "care", "safe"]));
    assert_eq!(refused(&signed, late, &hand("merged", "siro")), Refusal::AlreadySigned);
    assert_eq!(refused(&signed, Command::Exit, &hand("council", "lead")), Refusal::LeftAlready);
    // The next version names it.
    let mut next = outline(2);
    let place = next.parties.remove(&organisation("council")).unwrap();
    next.parties.insert(organisation("merged"), place);
    for flow in &mut next.flows {
        for end in [&mut flow.provider, &mut flow.recipient] {
            if end.as_str() == "council" {
                *end = organisation("merged");
            }
        }
    }
    let varied = after(signed, vec![(Command::Vary(next), hand("merged", "analyst"))]);
    assert_eq!((varied.state_of(2), varied.convener.as_str()), ("draft", "merged"));
}

#[test]
fn a_party_takes_the_place_of_another_that_has_signed_as_it_has() {
    let late = active(&["nhs", "fire"]);
    assert_eq!(refused(&late, succeed("council", "fire"), &hand("fire", "lead")), Refusal::PlaceNotSigned);
    let merged = succeeded(signed_by_late(late), "council", "fire", "nhs");
    assert_eq!(running(&merged), names(&["list", "care", "safe"]));
    assert!(!merged.at_the_table().contains(&organisation("council")));
    // It acts in both places: switches off a flow of either, and leaves in both.
    let stop = |flow: &str| Command::Suspend {
        scope: Scope::Flow(flow.parse().unwrap()),
        reason: StopReason::DataQuality,
    };
    let off = after(
        merged.clone(),
        vec![(stop("safe"), hand("fire", "lead")), (stop("list"), hand("fire", "lead"))],
    );
    assert_eq!(running(&off), names(&["care"]));
    let party = Command::Suspend { scope: Scope::Party(organisation("fire")), reason: StopReason::Security };
    assert_eq!(running(&after(merged.clone(), vec![(party, hand("nhs", "lead"))])), names(&[]));
    assert_eq!(running(&after(merged.clone(), vec![(Command::Exit, hand("fire", "lead"))])), names(&[]));
    // Two people of it are one party still, whichever place they speak of.
    let end = Command::Ask(Pending::Termination { asked: None });
    let asked = after(merged, vec![(end, hand("fire", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("fire", "other")), Refusal::SameParty);
}

#[test]
fn what_both_ends_of_are_one_now_is_nobodys_to_share() {
    let merged = succeeded(active(&["nhs", "fire", "council"]), "fire", "nhs", "council");
    assert_eq!(running(&merged), names(&["care", "safe"]));
}

#[test]
fn places_go_on_with_whoever_takes_them() {
    let both = succeeded(active(&["nhs", "fire", "council"]), "council", "fire", "nhs");
    let all = succeeded(both, "fire", "merged", "nhs");
    let standing = all.in_force.as_ref().unwrap().standing();
    let merged = organisation("merged");
    let expected =
        BTreeMap::from([(organisation("council"), merged.clone()), (organisation("fire"), merged)]);
    assert_eq!(standing.successors, expected);
    assert_eq!(running(&all), names(&["list", "care", "safe"]));
    assert_eq!(refused(&all, Command::Exit, &hand("fire", "lead")), Refusal::LeftAlready);
    assert_eq!(refused(&all, succeed("council", "police"), &hand("nhs", "lead")), Refusal::NoSuchFlow);
    assert_eq!(refused(&all, succeed("nhs", "nhs"), &hand("nhs", "lead")), Refusal::NoSuchFlow);
    assert_eq!(running(&after(all, vec![(Command::Exit, hand("merged", "lead"))])), names(&[]));
}

#[test]
fn what_was_switched_off_by_whose_place_was_taken_is_switched_on_by_its_successor() {
    let scope = Scope::Flow("safe".parse().unwrap());
    let stop = Command::Suspend { scope: scope.clone(), reason: StopReason::Breach };
    let off = after(active(&["nhs", "fire", "council"]), vec![(stop, hand("council", "lead"))]);
    let merged = succeeded(off, "council", "merged", "nhs");
    assert_eq!(refused(&merged, Command::Resume(scope.clone()), &hand("nhs", "lead")), Refusal::StopIsTheirs);
    let on = after(merged, vec![(Command::Resume(scope), hand("merged", "lead"))]);
    assert_eq!(running(&on), names(&["list", "care", "safe"]));
}

/// The second version, with another organisation in the council's place.
fn with_in_its_place(by: &str) -> Outline {
    let mut next = outline(2);
    let place = next.parties.remove(&organisation("council")).unwrap();
    next.parties.insert(organisation(by), place);
    for flow in &mut next.flows {
        for end in [&mut flow.provider, &mut flow.recipient] {
            if end.as_str() == "council" {
                *end = organisation(by);
            }
        }
    }
    next
}

#[test]
fn a_variation_that_names_whose_place_was_taken_is_countered_with_the_successor() {
    let all = ["nhs", "fire", "council"];
    let steps = vec![
        (Command::Vary(outline(2)), hand("nhs", "analyst")),
        (Command::Propose, hand("nhs", "analyst")),
        (Command::Accept, hand("council", "lead")),
    ];
    let merged = succeeded(after(active(&all), steps), "council", "merged", "nhs");
    let stale = Refusal::NamesPredecessor;
    for (command, of) in [
        (Command::Accept, "nhs"),
        (Command::Proceed, "fire"),
        (Command::Decline, "council"),
        (Command::Review, "merged"),
    ] {
        assert_eq!(refused(&merged, command, &hand(of, "lead")), stale, "{of}");
    }
    let counter = || Command::Counter(Outline { version: 3, ..with_in_its_place("merged") });
    assert_eq!(refused(&merged, counter(), &hand("council", "analyst")), Refusal::LeftAlready);
    assert_eq!(refused(&merged, counter(), &hand("police", "analyst")), Refusal::NotAParty);
    // The successor offers them itself, though they did not name it before; and they go on.
    let countered = after(merged.clone(), vec![(counter(), hand("merged", "analyst"))]);
    let deal = countered.next.as_ref().unwrap().deal();
    assert_eq!(deal.parties[&organisation("merged")].state(), "reviewing");
    let accepted = ["nhs", "fire", "merged"].map(|of| (Command::Accept, hand(of, "lead")));
    assert_eq!(after(countered, accepted.into()).next.unwrap().state(), "agreed-in-principle");
    assert_eq!(after(merged, vec![(Command::Withdraw, hand("nhs", "lead"))]).next, None);
}

#[test]
fn what_is_signed_is_not_put_in_force_once_a_place_in_it_was_taken() {
    let all = ["nhs", "fire", "council"];
    let varied = after(active(&all), vec![(Command::Vary(outline(2)), hand("nhs", "author"))]);
    let asked = after(
        signed_by(assured(varied), 2, &all),
        vec![(Command::Ask(Pending::Activation), hand("nhs", "lead"))],
    );
    assert_eq!(
        after(asked.clone(), vec![(Command::Confirm, hand("fire", "lead"))])
            .in_force
            .unwrap()
            .live()
            .deal
            .outline
            .version,
        2
    );
    // The succession was asked for before, and is confirmed after the activation was asked for.
    let mut merged = asked;
    if let Some(InForce::Active(live)) = &mut merged.in_force {
        live.succeed(organisation("council"), organisation("merged"));
    }
    assert_eq!(refused(&merged, Command::Confirm, &hand("fire", "lead")), Refusal::NamesPredecessor);
}

#[test]
fn whoever_has_the_conveners_place_takes_its_draft_back() {
    let drafted = after(
        active(&["nhs", "fire", "council"]),
        vec![(Command::Vary(outline(2)), hand("council", "analyst"))],
    );
    assert_eq!(drafted.drafter_of_next(), Some(&organisation("council")));
    let merged = succeeded(drafted, "council", "merged", "nhs");
    assert_eq!(refused(&merged, Command::Propose, &hand("council", "analyst")), Refusal::NamesPredecessor);
    assert_eq!(refused(&merged, Command::Withdraw, &hand("nhs", "lead")), Refusal::NotYours);
    let back = after(merged, vec![(Command::Withdraw, hand("merged", "lead"))]);
    assert_eq!((back.next.is_none(), back.drafter_of_next()), (true, None));
}

#[test]
fn what_a_step_begins_is_whoever_has_signed_by_then_and_had_not_before() {
    let both = BTreeSet::from(["nhs", "fire"].map(organisation));
    let signed = signed_by(assured(begun()), 1, &["nhs", "fire"]);
    let asked = after(signed.clone(), vec![(Command::Ask(Pending::Activation), hand("nhs", "lead"))]);
    assert_eq!(asked.begun_by(&signed), Some((1, both.clone())));
    let active = after(asked.clone(), vec![(Command::Confirm, hand("fire", "lead"))]);
    assert_eq!(active.begun_by(&asked), Some((1, both)));
    let stop = Command::Suspend { scope: Scope::Agreement, reason: StopReason::Breach };
    let off = after(active.clone(), vec![(stop, hand("nhs", "lead"))]);
    let on = after(off.clone(), vec![(Command::Resume(Scope::Agreement), hand("nhs", "other"))]);
    assert_eq!((off.begun_by(&active), on.begun_by(&off)), (None, None), "what runs goes on");
    // Whoever signs later begins with the last signature, and nobody else with them.
    let advised = after(
        active,
        vec![
            (Command::Advise { favourable: true }, dpo("council")),
            (Command::AnswerAdvice { followed: true }, hand("council", "lead")),
        ],
    );
    let late = after(advised.clone(), vec![(Command::Sign(signing("council", 1)), hand("council", "siro"))]);
    assert_eq!(late.begun_by(&advised), Some((1, BTreeSet::from([organisation("council")]))));
}

#[test]
fn nobody_takes_the_place_of_whoever_gives_records_without_them() {
    let managed = active(&["nhs", "fire", "council"]);
    let asked = after(managed, vec![(succeed("nhs", "merged"), hand("fire", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("merged", "lead")), Refusal::SuccessorSiro);
    let two = after(asked, vec![(Command::Confirm, siro("merged"))]);
    // The council gives records to the NHS as well.
    let two = after(two, vec![(Command::Confirm, hand("council", "lead"))]);
    assert!(two.waits_for_a_successor() && two.successors().is_empty());
    let stop = Command::Suspend { scope: Scope::Agreement, reason: StopReason::Breach };
    after(two.clone(), vec![(stop, hand("nhs", "lead"))]);
    let three = after(two, vec![(Command::Confirm, hand("nhs", "lead"))]);
    assert_eq!(three.successors(), BTreeMap::from([(organisation("nhs"), organisation("merged"))]));
}

#[test]
fn whoever_is_there_to_speak_for_a_place_does() {
    let ask = |in_office| {
        let mut pending = Pending::succession(organisation("fire"), organisation("merged"));
        if let Pending::Succession { of_in_office, .. } = &mut pending {
            *of_in_office = in_office;
        }
        let asked = after(active(&["nhs", "fire"]), vec![(Command::Ask(pending), hand("nhs", "lead"))]);
        after(asked, vec![(Command::Confirm, siro("merged"))])
    };
    // A recipient that gives no records: nobody is left of it, or somebody is in office.
    assert!(!ask(false).waits_for_a_successor(), "nobody is left to ask");
    let waits = ask(true);
    assert!(waits.waits_for_a_successor(), "it is there, and was not asked");
    let agreed = after(waits, vec![(Command::Confirm, hand("fire", "lead"))]);
    assert_eq!(agreed.successors().len(), 1);
    // A party that takes another's place asks for it by whom it will; its SIRO still has to say yes.
    let three = signed_by_late(active(&["nhs", "fire"]));
    let asked = after(three.clone(), vec![(succeed("council", "fire"), hand("fire", "lead"))]);
    let others = vec![(Command::Confirm, hand("nhs", "other")), (Command::Confirm, hand("council", "other"))];
    let asked = after(asked, others.clone());
    assert!(asked.waits_for_a_successor());
    assert!(!after(asked, vec![(Command::Confirm, siro("fire"))]).waits_for_a_successor());
    // Or it is the SIRO who asks.
    let asked = after(three, vec![(succeed("council", "fire"), siro("fire"))]);
    assert!(!after(asked, others).waits_for_a_successor());
}
