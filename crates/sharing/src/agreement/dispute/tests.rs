use std::collections::BTreeMap;

use jiff::ToSpan as _;
use serde_json::json;

use super::{
    Level::{Boards, DpoAndCaldicott, GovernanceLeads, Siros},
    *,
};

fn hand(organisation: &str, person: &str, may: &[Authority]) -> Hand {
    let person = Person { organisation: organisation.parse().unwrap(), id: person.to_owned() };
    Hand { person, may: may.to_vec(), offices: Vec::new(), filled: Vec::new(), mediates: false }
}

fn nhs() -> Hand {
    hand("nhs", "lead", &[Authority::Approve, Authority::Draft])
}

fn fire() -> Hand {
    hand("fire", "lead", &[Authority::Approve])
}

fn council() -> Hand {
    hand("council", "mediator", &[Authority::Mediate, Authority::Approve])
}

fn names(all: &[&str]) -> BTreeSet<OrganisationId> {
    all.iter().map(|name| name.parse().unwrap()).collect()
}

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn begun() -> Dispute {
    let clause = Clause::of("", &json!({})).unwrap();
    let open = Open::begin((1, clause), names(&["fire"]), &names(&["nhs", "fire", "police"]), &nhs(), AT);
    Dispute::Open(open.unwrap())
}

fn after(dispute: Dispute, steps: &[(Command, Hand)]) -> Result<(Dispute, &'static str), Refusal> {
    steps
        .iter()
        .try_fold((dispute, ""), |(dispute, _), (command, hand)| dispute.apply(command.clone(), hand, AT))
}

#[test]
fn it_ends_when_each_organisation_agrees_and_no_other_way() {
    let settle = (Command::Settle(Outcome::PracticeChanges), nhs());
    let (offered, _) = after(begun(), std::slice::from_ref(&settle)).unwrap();
    assert_eq!(offered.state(), "open");
    let stranger = hand("police", "lead", &[Authority::Approve]);
    assert_eq!(
        after(offered.clone(), &[(Command::AcceptOutcome, stranger)]).unwrap_err(),
        Refusal::NotAParty
    );
    let (again, _) = after(offered.clone(), &[(Command::AcceptOutcome, nhs())]).unwrap();
    assert_eq!(again.state(), "open", "one organisation is not two");
    let (ended, name) = after(offered, &[(Command::AcceptOutcome, fire())]).unwrap();
    assert_eq!((ended.state(), name), ("resolved", "resolved"));
    for command in [Command::Comment, Command::Escalate, settle.0, Command::Mediate, Command::Withdraw] {
        assert_eq!(after(ended.clone(), &[(command, nhs())]).unwrap_err(), Refusal::NotInThisState);
    }
    // Somebody neutral has read what is published, and whoever agreed to another text agrees anew.
    assert_eq!(after(ended.clone(), &[(Command::Publish, fire())]).unwrap_err(), Refusal::TextNotConfirmed);
    let confirm = || Command::ConfirmText("It is kept for a fortnight.".to_owned());
    assert_eq!(after(ended.clone(), &[(confirm(), fire())]).unwrap_err(), Refusal::NoAuthority);
    let of_a_party = hand("police", "mediator", &[Authority::Mediate]);
    assert_eq!(after(ended.clone(), &[(confirm(), of_a_party)]).unwrap_err(), Refusal::MediatorIsAParty);
    let (ended, name) = after(ended, &[(confirm(), council())]).unwrap();
    assert_eq!(name, "text-confirmed");
    let again = [(Command::Publish, fire()), (confirm(), council()), (Command::Publish, nhs())];
    assert_eq!(after(ended.clone(), &again).unwrap().1, "publication-agreed");
    let (one, name) = after(ended, &[(Command::Publish, fire())]).unwrap();
    assert_eq!(name, "publication-agreed");
    assert_eq!(after(one.clone(), &[(Command::Publish, fire())]).unwrap_err(), Refusal::NotInThisState);
    let (published, name) = after(one, &[(Command::Publish, nhs())]).unwrap();
    assert_eq!(name, "published");
    assert_eq!(after(published, &[(confirm(), council())]).unwrap_err(), Refusal::NotInThisState);
}

#[test]
fn a_mediator_speaks_and_decides_nothing() {
    assert_eq!(after(begun(), &[(Command::Comment, council())]).unwrap_err(), Refusal::NotAParty);
    let (mediated, _) = after(begun(), &[(Command::Mediate, council())]).unwrap();
    assert_eq!(mediated.state(), "mediating");
    let says = [
        (Command::Comment, council()),
        (Command::ProposeTerms, council()),
        (Command::Settle(Outcome::TermsChange), council()),
    ];
    let (offered, _) = after(mediated, &says).unwrap();
    for command in [Command::AcceptOutcome, Command::Escalate, Command::Withdraw] {
        assert_eq!(after(offered.clone(), &[(command, council())]).unwrap_err(), Refusal::MediatorIsAParty);
    }
    let (one, _) = after(offered, &[(Command::AcceptOutcome, nhs())]).unwrap();
    assert_eq!(one.state(), "mediating", "a mediator's offer is nobody's yes");
    assert_eq!(after(one, &[(Command::AcceptOutcome, fire())]).unwrap().0.state(), "resolved");
}

#[test]
fn whoever_mediates_does_so_until_it_is_resolved() {
    let (mediated, _) = after(begun(), &[(Command::Mediate, council())]).unwrap();
    assert!(!begun().is_mediated_by(&council().person) && !mediated.is_mediated_by(&nhs().person));
    assert!(mediated.is_mediated_by(&council().person));
    let (taken_further, _) = after(mediated.clone(), &[(Command::Escalate, nhs())]).unwrap();
    assert!(taken_further.is_mediated_by(&council().person));
    let (over, _) = after(mediated, &[(Command::Withdraw, nhs())]).unwrap();
    assert!(!over.is_mediated_by(&council().person));
    // Nor are they anybody's in another dispute of the same agreement.
    let own = Hand { mediates: true, ..fire() };
    for command in [Command::Comment, Command::Settle(Outcome::TermsStand), Command::Escalate] {
        assert_eq!(after(begun(), &[(command, own.clone())]).unwrap_err(), Refusal::MediatesHere);
    }
}

#[test]
fn a_mediator_of_a_partys_own_needs_each_party() {
    let theirs = hand("police", "m", &[Authority::Mediate]);
    let (offered, name) = after(begun(), &[(Command::Mediate, theirs.clone())]).unwrap();
    assert_eq!((offered.state(), name), ("open", "mediator-offered"));
    let (one, _) = after(offered, &[(Command::AcceptMediator, nhs())]).unwrap();
    assert_eq!(after(one.clone(), &[(Command::Comment, theirs.clone())]).unwrap_err(), Refusal::NotAParty);
    let (both, _) = after(one, &[(Command::AcceptMediator, fire())]).unwrap();
    assert_eq!(both.state(), "mediating");
    assert!(after(both, &[(Command::Comment, theirs)]).is_ok());
    // Not even one of the two that argue, who would agree to themselves.
    let own = hand("fire", "m", &[Authority::Mediate, Authority::Approve]);
    let (offered, _) = after(begun(), &[(Command::Mediate, own.clone())]).unwrap();
    assert_eq!(after(offered, &[(Command::AcceptMediator, own)]).unwrap_err(), Refusal::SamePerson);
}

#[test]
fn time_takes_it_up_level_by_level_and_ends_nothing() {
    let (mut dispute, mut at, mut seen) = (begun(), AT, Vec::new());
    assert!(dispute.pass(at).is_none());
    while let Some(due) = dispute.case().due {
        at = due;
        assert!(dispute.pass(at - 1.second()).is_none());
        let (after, name) = dispute.pass(at).unwrap();
        seen.push((name, after.case().level));
        dispute = after;
    }
    let expected = [
        ("escalated", GovernanceLeads),
        ("escalated", DpoAndCaldicott),
        ("escalated", Siros),
        ("escalated", Boards),
        ("boards-overdue", Boards),
    ];
    assert_eq!(seen, expected);
    assert_eq!((dispute.state(), dispute.pass(at + 9000.hours())), ("escalated", None));
    assert_eq!(after(dispute.clone(), &[(Command::Escalate, fire())]).unwrap_err(), Refusal::TopLevel);
    assert_eq!(after(dispute, &[(Command::Withdraw, fire())]).unwrap_err(), Refusal::NotYours);
}

#[test]
fn it_is_with_another_party() {
    let clause = || Clause::of("", &json!({})).unwrap();
    let parties = names(&["nhs", "fire"]);
    for with in [names(&[]), names(&["nhs"]), names(&["police"])] {
        assert_eq!(Open::begin((1, clause()), with, &parties, &nhs(), AT).unwrap_err(), Refusal::NotAParty);
    }
    let stranger = Open::begin((1, clause()), names(&["fire"]), &parties, &council(), AT);
    assert_eq!(stranger.unwrap_err(), Refusal::NotAParty);
}

fn officer(organisation: &str, office: SignatoryRole) -> Hand {
    Hand {
        offices: vec![office],
        ..hand(organisation, office.as_str(), &[Authority::Approve, Authority::Sign])
    }
}

/// The dispute, taken so many levels up.
fn taken_further(levels: usize) -> Dispute {
    after(begun(), &vec![(Command::Escalate, fire()); levels]).unwrap().0
}

#[test]
fn each_level_settles_what_is_with_it() {
    use SignatoryRole::{Board, CaldicottGuardian, Dpo, GovernanceLead, Iao, Siro};
    let settle = || Command::Settle(Outcome::TermsStand);
    let tried = |dispute: &Dispute, hand: Hand| after(dispute.clone(), &[(settle(), hand)]).map(|_| ());
    // An approver settles for practitioners; for the leads one who did not begin it.
    assert_eq!(tried(&begun(), nhs()), Ok(()));
    let leads = taken_further(1);
    assert_eq!(tried(&leads, nhs()), Err(Refusal::LevelDecides));
    assert_eq!(tried(&leads, hand("nhs", "other", &[Authority::Approve])), Ok(()));
    // From here on an office does, and no approver without.
    for (levels, settles) in [(2, vec![CaldicottGuardian, Siro]), (3, vec![Siro]), (4, vec![Siro])] {
        let dispute = taken_further(levels);
        assert_eq!(tried(&dispute, fire()), Err(Refusal::LevelDecides));
        for office in [Siro, CaldicottGuardian, Iao] {
            let expected = if settles.contains(&office) { Ok(()) } else { Err(Refusal::LevelDecides) };
            assert_eq!(tried(&dispute, officer("nhs", office)), expected, "{levels}: {office:?}");
            assert_eq!(tried(&dispute, officer("police", office)), Err(Refusal::NotAParty));
        }
        let bare = Hand { may: vec![Authority::Draft], ..officer("nhs", Siro) };
        assert_eq!(tried(&dispute, bare), Err(Refusal::NoAuthority));
        assert_eq!(tried(&dispute, officer("nhs", Dpo)).is_ok(), levels == 2, "they offer at their level");
    }
    // Where somebody is registered for the level, nobody stands in for them.
    for (levels, office, stands_in) in
        [(1, GovernanceLead, hand("nhs", "other", &[Authority::Approve])), (4, Board, officer("nhs", Siro))]
    {
        let dispute = taken_further(levels);
        assert_eq!(tried(&dispute, stands_in.clone()), Ok(()));
        let filled = Hand { filled: vec![office], ..stands_in };
        assert_eq!(tried(&dispute, filled), Err(Refusal::LevelDecides), "{office:?}");
        assert_eq!(tried(&dispute, Hand { filled: vec![office], ..officer("nhs", office) }), Ok(()));
        let began = Hand { filled: vec![office], person: nhs().person, ..officer("nhs", office) };
        assert_eq!(tried(&dispute, began).is_ok(), levels == 4, "the lead is not whoever began it");
        let elsewhere = Hand { filled: vec![Siro], ..officer("nhs", office) };
        assert_eq!(
            tried(&dispute, elsewhere).is_ok(),
            levels == 1,
            "who holds the office of no level is an approver"
        );
    }
    // A data protection officer's offer is nobody's yes, and they agree to none.
    let (offered, _) = after(taken_further(2), &[(settle(), officer("nhs", Dpo))]).unwrap();
    let agree = |by| (Command::AcceptOutcome, by);
    assert_eq!(after(offered.clone(), &[agree(officer("nhs", Dpo))]).unwrap_err(), Refusal::DpoApproves);
    let (one, _) = after(offered, &[agree(officer("fire", Siro))]).unwrap();
    assert_eq!(one.state(), "escalated");
    assert_eq!(after(one, &[agree(officer("nhs", CaldicottGuardian))]).unwrap().0.state(), "resolved");
}

#[test]
fn what_one_level_agreed_to_the_next_agrees_to_anew() {
    let offered = [(Command::Settle(Outcome::TermsStand), nhs()), (Command::Escalate, nhs())];
    let (leads, _) = after(begun(), &offered).unwrap();
    let (one, _) = after(leads, &[(Command::AcceptOutcome, fire())]).unwrap();
    assert_eq!(one.state(), "escalated", "the practitioners' word is not their leads'");
    let other = hand("nhs", "other", &[Authority::Approve]);
    assert_eq!(after(one, &[(Command::AcceptOutcome, other)]).unwrap().0.state(), "resolved");
}

#[test]
fn a_dispute_goes_on_between_those_who_have_the_places_now() {
    let merged = BTreeMap::from([("nhs".parse().unwrap(), "merged".parse().unwrap())]);
    let offered = after(begun(), &[(Command::Settle(Outcome::TermsStand), nhs())]).unwrap().0;
    let now = offered.clone().succeeded(&merged);
    assert_eq!(now.case().between, names(&["merged", "fire"]));
    assert_eq!(now.case().parties, names(&["merged", "fire", "police"]));
    assert_eq!(after(now.clone(), &[(Command::Comment, nhs())]).unwrap_err(), Refusal::NotAParty);
    let successor = || hand("merged", "lead", &[Authority::Approve]);
    assert!(after(now.clone(), &[(Command::Comment, successor())]).is_ok());
    // What its predecessor agreed to stands.
    assert_eq!(after(now.clone(), &[(Command::AcceptOutcome, fire())]).unwrap().0.state(), "resolved");
    assert_eq!(now.clone().succeeded(&merged), now, "once is as good as twice");
    // It takes back what that one began, and mediates nothing any more.
    assert_eq!(after(now, &[(Command::Withdraw, successor())]).unwrap().0.state(), "resolved");
    let mediated = after(begun(), &[(Command::Mediate, council())]).unwrap().0;
    let by_council = BTreeMap::from([("nhs".parse().unwrap(), "council".parse().unwrap())]);
    assert_eq!(mediated.clone().succeeded(&merged).case().mediator, mediated.case().mediator);
    assert_eq!(mediated.succeeded(&by_council).case().mediator, None);
}

#[test]
fn a_mediator_goes_when_one_party_says_so_and_another_comes() {
    let (mediated, _) = after(begun(), &[(Command::Mediate, council())]).unwrap();
    let stranger = hand("police", "lead", &[Authority::Approve]);
    let released = |hand: Hand| after(mediated.clone(), &[(Command::ReleaseMediator, hand)]);
    assert_eq!(released(stranger).unwrap_err(), Refusal::NotAParty);
    let (open, name) = released(fire()).unwrap();
    assert_eq!(
        (open.state(), name, open.is_mediated_by(&council().person)),
        ("open", "mediator-released", false)
    );
    assert_eq!(after(open.clone(), &[(Command::Mediate, council())]).unwrap_err(), Refusal::MediatorReleased);
    assert_eq!(after(open.clone(), &[(Command::ReleaseMediator, nhs())]).unwrap_err(), Refusal::NoMediator);
    let another = hand("ombudsman", "m", &[Authority::Mediate]);
    assert_eq!(after(open, &[(Command::Mediate, another)]).unwrap().0.state(), "mediating");
    // Whoever steps down may come back.
    let (down, _) = released(council()).unwrap();
    assert_eq!(after(down, &[(Command::Mediate, council())]).unwrap().0.state(), "mediating");
    // With what they had put on the table.
    let (settled, _) = after(mediated.clone(), &[(Command::Settle(Outcome::TermsStand), council())]).unwrap();
    let (gone, _) = after(settled, &[(Command::ReleaseMediator, fire())]).unwrap();
    assert_eq!(after(gone, &[(Command::AcceptOutcome, nhs())]).unwrap_err(), Refusal::NothingOffered);
    // At a further level it stays there.
    let (up, _) = after(begun(), &[(Command::Escalate, nhs()), (Command::Mediate, council())]).unwrap();
    assert_eq!(after(up, &[(Command::ReleaseMediator, nhs())]).unwrap().0.state(), "escalated");
    // An offer that a party does not take does not keep others away.
    let own = hand("police", "m", &[Authority::Mediate]);
    let steps = [(Command::Mediate, own), (Command::ReleaseMediator, fire()), (Command::Mediate, council())];
    assert_eq!(after(begun(), &steps).unwrap().0.state(), "mediating");
}

#[test]
fn whoever_becomes_a_party_is_neutral_no_more() {
    let now = ["nhs", "fire", "council"].map(|name| name.parse().unwrap()).into();
    // One that has come in since waits for each party, as a party's own does.
    let (offered, name) = after(begun().among(&now), &[(Command::Mediate, council())]).unwrap();
    assert_eq!((offered.state(), name), ("open", "mediator-offered"));
    // And one that comes in while its person mediates, mediates no more.
    let (mediated, _) = after(begun(), &[(Command::Mediate, council())]).unwrap();
    let among = mediated.among(&now);
    assert_eq!((among.state(), among.is_mediated_by(&council().person)), ("open", false));
}
