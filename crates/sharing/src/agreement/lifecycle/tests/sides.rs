//! On whose side people are: who is on none takes no step, nor does whoever has left.

use super::*;

#[test]
fn whoever_mediates_takes_no_step_of_the_agreement() {
    let mediating = |of: &str, id: &str| Hand { mediates: true, ..hand(of, id) };
    let offered = after(begun(), vec![(Command::Propose, hand("nhs", "author"))]);
    let outlined = Outline { grace_days: 30, ..outline(2) };
    for command in [Command::Review, Command::Accept, Command::Counter(outlined), Command::Decline] {
        assert_eq!(refused(&offered, command, &mediating("fire", "lead")), Refusal::MediatesHere);
    }
    assert_eq!(refused(&offered, Command::Withdraw, &mediating("nhs", "lead")), Refusal::MediatesHere);
    let opened = assured(begun());
    let sign = Command::Sign(signing("fire", 1));
    assert_eq!(refused(&opened, sign.clone(), &mediating("fire", "siro")), Refusal::MediatesHere);
    let adviser = Hand { mediates: true, ..dpo("fire") };
    assert_eq!(refused(&opened, Command::Advise { favourable: true }, &adviser), Refusal::MediatesHere);
    let signed = signed_by(opened, 1, &["nhs", "fire"]);
    let ask = || Command::Ask(Pending::Activation);
    assert_eq!(refused(&signed, ask(), &mediating("nhs", "lead")), Refusal::MediatesHere);
    let asked = after(signed, vec![(ask(), hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &mediating("fire", "lead")), Refusal::MediatesHere);
    let stop = || Command::Suspend { scope: Scope::Agreement, reason: StopReason::Other };
    let running = after(asked, vec![(Command::Confirm, hand("fire", "lead"))]);
    let end = || Command::Ask(Pending::Termination { asked: None });
    for command in [stop(), end(), Command::Exit, Command::Vary(outline(2))] {
        assert_eq!(refused(&running, command, &mediating("fire", "lead")), Refusal::MediatesHere);
    }
    // A colleague takes each of them.
    let stopped = after(running, vec![(stop(), hand("fire", "lead")), (end(), hand("fire", "lead"))]);
    assert_eq!(refused(&stopped, Command::Confirm, &mediating("nhs", "lead")), Refusal::MediatesHere);
}

#[test]
fn whoever_has_declined_takes_no_further_part() {
    let agreed = vec![
        (Command::Propose, hand("nhs", "author")),
        (Command::Accept, hand("nhs", "lead")),
        (Command::Accept, hand("fire", "lead")),
        (Command::Decline, hand("council", "lead")),
        (Command::Proceed, hand("nhs", "lead")),
    ];
    let council = || hand("council", "other");
    let agreed = after(begun(), agreed);
    let open = || Command::OpenSigning { blocked: false, evaluated: false };
    for command in [Command::Assure, Command::Accept, Command::Review, Command::Counter(outline(2))] {
        assert_eq!(refused(&agreed, command, &council()), Refusal::LeftAlready);
    }
    let assured = after(agreed, vec![(Command::Assure, hand("fire", "quality"))]);
    assert_eq!(refused(&assured, open(), &council()), Refusal::LeftAlready);
    let opened = after(assured, vec![(open(), hand("nhs", "lead"))]);
    let signed = signed_by(opened, 1, &["nhs", "fire"]);
    let ask = || Command::Ask(Pending::Activation);
    assert_eq!(refused(&signed, ask(), &council()), Refusal::LeftAlready);
    let asked = after(signed, vec![(ask(), hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &council()), Refusal::LeftAlready);
    let running = after(asked, vec![(Command::Confirm, hand("fire", "lead"))]);
    let end = Command::Ask(Pending::Termination { asked: None });
    for command in [end, Command::Vary(outline(2)), Command::Exit] {
        assert_eq!(refused(&running, command, &council()), Refusal::LeftAlready);
    }
}

#[test]
fn whoever_has_left_begins_no_variation() {
    let left = after(active(&["nhs", "fire", "council"]), vec![(Command::Exit, hand("council", "lead"))]);
    assert_eq!(refused(&left, Command::Vary(outline(2)), &hand("council", "author")), Refusal::LeftAlready);
    assert_eq!(after(left, vec![(Command::Vary(outline(2)), hand("fire", "author"))]).latest, 2);
}

#[test]
fn what_a_convener_that_has_declined_proposed_is_taken_back_by_another_party() {
    let proposed = after(begun(), vec![(Command::Propose, hand("nhs", "author"))]);
    assert_eq!(refused(&proposed, Command::Withdraw, &hand("fire", "lead")), Refusal::NotYours);
    let declined = after(proposed, vec![(Command::Decline, hand("nhs", "lead"))]);
    assert_eq!(refused(&declined, Command::Withdraw, &hand("nhs", "lead")), Refusal::LeftAlready);
    assert_eq!(refused(&declined, Command::Withdraw, &hand("stranger", "lead")), Refusal::NotAParty);
    assert_eq!(after(declined.clone(), vec![(Command::Withdraw, hand("fire", "lead"))]).state(), "withdrawn");
    let nobody = [(Command::Decline, hand("fire", "lead")), (Command::Decline, hand("council", "lead"))];
    let nobody = after(declined, nobody.into());
    assert_eq!(refused(&nobody, Command::Withdraw, &hand("fire", "lead")), Refusal::NotYours);
    assert_eq!(after(nobody, vec![(Command::Withdraw, hand("nhs", "lead"))]).state(), "withdrawn");
}

#[test]
fn two_of_one_party_end_it_for_nobody_else() {
    let managed = active(&["nhs", "fire"]);
    let asked =
        after(managed, vec![(Command::Ask(Pending::Termination { asked: None }), hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, Command::Confirm, &hand("nhs", "other")), Refusal::SameParty);
    // Alone it leaves, and takes what it has asked for with it.
    let left = after(asked.clone(), vec![(Command::Exit, hand("nhs", "other"))]);
    assert_eq!((left.state(), running(&left)), ("terminated", names(&[])), "nothing can flow any more");
    assert_eq!(refused(&left, Command::Confirm, &hand("fire", "lead")), Refusal::NotInThisState);
    assert_eq!(after(asked, vec![(Command::Confirm, hand("fire", "other"))]).state(), "terminated");
}

#[test]
fn one_thing_waits_at_a_time_and_is_rejected() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let end = || Command::Ask(Pending::Termination { asked: None });
    let succeed = places::succeed("council", "merged");
    let asked = after(managed.clone(), vec![(end(), hand("nhs", "lead"))]);
    assert_eq!(refused(&asked, succeed.clone(), &hand("council", "lead")), Refusal::OtherAsked);
    assert_eq!(after(asked.clone(), vec![(end(), hand("fire", "lead"))]).state(), "active");
    // Whoever says no, or whoever asked, lets something else be asked for.
    assert_eq!(refused(&asked, Command::Reject, &hand("stranger", "lead")), Refusal::NotAParty);
    for by in ["fire", "nhs"] {
        let rejected = after(asked.clone(), vec![(Command::Reject, hand(by, "other"))]);
        assert_eq!(refused(&rejected, Command::Confirm, &hand("fire", "lead")), Refusal::NothingAsked);
        after(rejected, vec![(succeed.clone(), hand("council", "lead"))]);
    }
    // Nor are an end and a beginning asked for at once.
    let beginning = varied(managed, outline(2), &["nhs", "fire", "council"]);
    assert_eq!(refused(&beginning, end(), &hand("nhs", "lead")), Refusal::OtherAsked);
    let rejected = after(beginning, vec![(Command::Reject, hand("council", "lead"))]);
    assert_eq!(refused(&rejected, Command::Confirm, &hand("fire", "lead")), Refusal::NothingAsked);
    let ending = after(rejected, vec![(end(), hand("nhs", "lead"))]);
    assert_eq!(
        refused(&ending, Command::Ask(Pending::Activation), &hand("nhs", "lead")),
        Refusal::OtherAsked
    );
}

#[test]
fn what_somebody_switched_off_who_has_left_is_anybodys_to_switch_on() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let off = Command::Suspend { scope: Scope::Agreement, reason: StopReason::Breach };
    let off = after(managed, vec![(off, hand("council", "lead"))]);
    let on = || Command::Resume(Scope::Agreement);
    assert_eq!(refused(&off, on(), &hand("nhs", "lead")), Refusal::StopIsTheirs);
    let left = after(off, vec![(Command::Exit, hand("council", "lead"))]);
    assert_eq!(refused(&left, on(), &hand("council", "other")), Refusal::LeftAlready);
    let again = after(left, vec![(on(), hand("nhs", "lead"))]);
    assert_eq!((again.state(), running(&again)), ("active", names(&["list"])));
}

#[test]
fn a_review_is_put_off_for_a_year_or_as_long_as_was_signed() {
    let managed = active(&["nhs", "fire"]);
    let due = crate::agreement::london_day(now());
    let next = |years: i32, days: i32| Command::Reviewed {
        next_on: due.saturating_add(jiff::Span::new().years(years).days(days)),
    };
    let ends_on = managed.in_force.as_ref().unwrap().live().deal.outline.ends_on;
    assert!(due.saturating_add(jiff::Span::new().years(1).days(1)) <= ends_on, "the end is no help");
    assert_eq!(refused(&managed, next(1, 1), &hand("nhs", "lead")), Refusal::ReviewTooFar);
    after(managed, vec![(next(1, 0), hand("nhs", "lead"))]);
}

#[test]
fn advice_that_is_to_be_followed_is_followed() {
    let answered = |favourable, followed| {
        let steps = vec![
            (Command::Advise { favourable }, dpo("nhs")),
            (Command::AnswerAdvice { followed }, hand("nhs", "lead")),
        ];
        after(signed_by(assured(begun()), 1, &["nhs", "fire"]), steps)
    };
    let begin = Command::Ask(Pending::Activation);
    assert_eq!(refused(&answered(false, true), begin.clone(), &hand("nhs", "lead")), Refusal::AdviceAgainst);
    for (favourable, followed) in [(true, true), (true, false), (false, false)] {
        after(answered(favourable, followed), vec![(begin.clone(), hand("nhs", "lead"))]);
    }
}

#[test]
fn what_waits_for_whoever_leaves_waits_no_more() {
    // Of two that have signed and a third, which is to be part of what begins, the third declines.
    let asked = after(
        signed_by(assured(begun()), 1, &["nhs", "fire"]),
        vec![(Command::Ask(Pending::Activation), hand("nhs", "lead"))],
    );
    let declined = after(asked, vec![(Command::Decline, hand("council", "lead"))]);
    assert!(!declined.waits_for_activation());
    assert_eq!(refused(&declined, Command::Confirm, &hand("fire", "lead")), Refusal::NotInThisState);
    let again = vec![
        (Command::Ask(Pending::Activation), hand("nhs", "lead")),
        (Command::Confirm, hand("fire", "lead")),
    ];
    assert_eq!(after(declined, again).state(), "active");
    // A place that whoever leaves would have had to agree to, or whose it was.
    let managed = active(&["nhs", "fire", "council"]);
    let asked = after(managed, vec![(places::succeed("nhs", "merged"), hand("fire", "lead"))]);
    for leaves in ["council", "nhs"] {
        let left = after(asked.clone(), vec![(Command::Exit, hand(leaves, "other"))]);
        assert!(!left.waits_for_a_successor(), "{leaves}");
    }
}

#[test]
fn what_a_missed_review_has_switched_off_goes_on_with_the_review() {
    let managed = active(&["nhs", "fire"]);
    let late = at("2029-01-01T00:00:00Z");
    let mut passed = managed;
    while let Some((next, _)) =
        passed.pass(late.min(passed.in_force.as_ref().unwrap().next_change().unwrap_or(late)))
    {
        passed = next;
        if passed.state() == "suspended" {
            break;
        }
    }
    assert_eq!(passed.state(), "suspended");
    let on = |flow: &str| Command::Resume(Scope::Flow(flow.parse().unwrap()));
    assert_eq!(refused(&passed, on("list"), &hand("nhs", "lead")), Refusal::StoppedByReview);
    assert_eq!(refused(&passed, on("safe"), &hand("nhs", "lead")), Refusal::NoSuchStop);
}

#[test]
fn whoever_leaves_what_runs_leaves_what_is_negotiated_beside_it() {
    let managed = signed_by_late(active(&["nhs", "fire"]));
    let asked = varied(managed.clone(), outline(2), &["nhs", "fire", "council"]);
    let left = after(asked, vec![(Command::Exit, hand("council", "lead"))]);
    assert!(!left.waits_for_activation(), "it was asked for with the council in it");
    let again = vec![
        (Command::Ask(Pending::Activation), hand("nhs", "lead")),
        (Command::Confirm, hand("fire", "other")),
    ];
    let next = after(left, again);
    assert_eq!((next.state_of(2), running(&next)), ("active", names(&["list"])));
    assert!(!next.at_the_table().contains(&organisation("council")));
    // What it drafted goes with it, and another begins a version.
    let drafted = after(managed, vec![(Command::Vary(outline(2)), hand("council", "author"))]);
    let left = after(drafted, vec![(Command::Exit, hand("council", "lead"))]);
    assert!(left.shows(2, &organisation("council")) && !left.shows(2, &organisation("fire")));
    assert_eq!(after(left, vec![(Command::Vary(outline(3)), hand("fire", "author"))]).latest, 3);
}
