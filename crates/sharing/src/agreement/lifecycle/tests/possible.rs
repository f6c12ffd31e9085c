//! What is offered to somebody is what they can do.

use super::*;

fn steps(managed: &Managed, hand: &Hand) -> Vec<&'static str> {
    let mut now = managed.possible(hand, super::now(), Known::default()).now;
    now.sort_unstable();
    now
}

fn not_yet(managed: &Managed, hand: &Hand, known: Known) -> Vec<(&'static str, Refusal)> {
    managed.possible(hand, super::now(), known).not_yet
}

#[test]
fn each_is_offered_what_is_theirs_to_do_now() {
    let draft = begun();
    assert_eq!(steps(&draft, &hand("nhs", "author")), ["propose", "withdraw"]);
    assert_eq!(steps(&draft, &hand("fire", "lead")), [""; 0]);
    let offered = after(draft, vec![(Command::Propose, hand("nhs", "author"))]);
    assert_eq!(steps(&offered, &hand("fire", "lead")), ["accept", "decline", "review"]);
    // Whoever wrote it does not agree to it, and is told so.
    assert_eq!(steps(&offered, &hand("nhs", "author")), ["decline", "withdraw"]);
    let told = not_yet(&offered, &hand("nhs", "author"), Known::default());
    assert!(told.contains(&("accept", Refusal::AuthorApproves)), "{told:?}");
    assert_eq!(steps(&offered, &dpo("fire")), ["advise", "review"]);
    let accepted = after(offered, vec![(Command::Accept, hand("fire", "lead"))]);
    assert_eq!(steps(&accepted, &hand("fire", "other")), ["decline"], "they have agreed already");
    let mediator = Hand { may: vec![Authority::Mediate], ..hand("nhs", "mediator") };
    assert_eq!(accepted.possible(&mediator, now(), Known::default()), Possible::default());
    assert_eq!(steps(&accepted, &Hand { mediates: true, ..hand("council", "lead") }), [""; 0]);
}

#[test]
fn what_something_waits_for_is_told() {
    let steps_to = vec![
        (Command::Propose, hand("nhs", "author")),
        (Command::Accept, hand("nhs", "lead")),
        (Command::Accept, hand("fire", "lead")),
        (Command::Accept, hand("council", "lead")),
        (Command::Assure, hand("fire", "quality")),
    ];
    let assured = after(begun(), steps_to);
    let lead = hand("nhs", "lead");
    assert!(steps(&assured, &lead).contains(&"open-signing"));
    let blocked = Known { blocked: true, evaluated: false };
    assert_eq!(not_yet(&assured, &lead, blocked), [("open-signing", Refusal::CommentsOpen)]);
    assert!(!assured.possible(&lead, now(), blocked).now.contains(&"open-signing"));
    let signed = signed_by(super::assured(begun()), 1, &["nhs"]);
    assert!(not_yet(&signed, &lead, Known::default()).contains(&("activate", Refusal::NoPairSigned)));
    let signed = signed_by(super::assured(begun()), 1, &["nhs", "fire"]);
    assert!(steps(&signed, &lead).contains(&"activate"));
    let asked = after(signed, vec![(Command::Ask(Pending::Activation), lead.clone())]);
    assert_eq!(not_yet(&asked, &lead, Known::default()), [("confirm", Refusal::SamePerson)]);
    assert!(steps(&asked, &lead).contains(&"reject"), "their own asking can be taken back");
    assert!(steps(&asked, &hand("fire", "lead")).contains(&"confirm"));
    assert!(!steps(&asked, &hand("fire", "lead")).contains(&"activate"), "it was asked for");
    assert!(!asked.possible(&hand("fire", "lead"), now(), blocked).now.contains(&"confirm"));
}

#[test]
fn what_runs_is_switched_off_and_on_reviewed_and_left() {
    let running = active(&["nhs", "fire"]);
    let lead = hand("fire", "lead");
    assert_eq!(steps(&running, &lead), ["exit", "reviewed", "suspend", "terminate"]);
    let stop = Command::Suspend { scope: Scope::Agreement, reason: StopReason::Breach };
    let off = after(running, vec![(stop, lead.clone())]);
    assert!(!steps(&off, &lead).contains(&"resume"));
    assert_eq!(not_yet(&off, &lead, Known::default()), [("resume", Refusal::SamePerson)]);
    assert!(steps(&off, &hand("fire", "other")).contains(&"resume"));
    assert_eq!(not_yet(&off, &hand("nhs", "lead"), Known::default()), [("resume", Refusal::StopIsTheirs)]);
    let left = after(off, vec![(Command::Exit, hand("nhs", "lead"))]);
    assert_eq!(steps(&left, &lead), [""; 0], "it is over: nothing flows between the ones who are left");
}

proptest! {
    /// Whatever is offered can be taken, and what is not cannot.
    #[test]
    fn what_is_offered_is_what_can_be_done(course in prop::collection::vec((0_usize..14, 0_usize..4), 0..14)) {
        let hands = [hand("nhs", "lead"), hand("fire", "lead"), dpo("nhs"), hand("council", "other")];
        let command = |step: usize| match step {
            0 => Command::Propose,
            1 => Command::Review,
            2 => Command::Accept,
            3 => Command::Decline,
            4 => Command::Proceed,
            5 => Command::Assure,
            6 => Command::OpenSigning { blocked: false, evaluated: false },
            7 => Command::Ask(Pending::Activation),
            8 => Command::Confirm,
            9 => Command::Reject,
            10 => Command::Withdraw,
            11 => Command::Exit,
            12 => Command::Ask(Pending::Termination { asked: None }),
            _ => Command::Advise { favourable: true },
        };
        let names = [
            "propose", "review", "accept", "decline", "proceed", "assure", "open-signing", "activate", "confirm", "reject", "withdraw",
            "exit", "terminate", "advise",
        ];
        for begun in [begun(), active(&["nhs", "fire"])] {
            let mut managed = begun;
            for (step, who) in &course {
                let (who, step) = (&hands[*who], *step);
                let offered = managed.possible(who, now(), Known::default());
                match managed.clone().apply(command(step), who, now()) {
                    Ok(next) => {
                        // What was asked for already, or is as it would be, is not offered again.
                        let changes = next != managed && !managed.waits_for_activation() && !managed.waits_for_an_end();
                        prop_assert!(!changes || offered.now.contains(&names[step]), "{} {:?}", names[step], offered);
                        managed = next;
                    }
                    Err(_) => prop_assert!(!offered.now.contains(&names[step]), "{} {:?}", names[step], offered),
                }
            }
        }
    }
}
