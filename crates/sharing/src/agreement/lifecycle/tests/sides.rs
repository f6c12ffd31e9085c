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
