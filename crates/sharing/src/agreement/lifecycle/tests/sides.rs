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
    assert_eq!((left.state(), running(&left)), ("active", names(&[])));
    assert_eq!(refused(&left, Command::Confirm, &hand("fire", "lead")), Refusal::NothingAsked);
    assert_eq!(after(asked, vec![(Command::Confirm, hand("fire", "other"))]).state(), "terminated");
}
