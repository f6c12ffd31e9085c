//! What one party drafts beside what is in force is its own until it is offered.

use super::*;

fn varying() -> Managed {
    after(active(&["nhs", "fire"]), vec![(Command::Vary(outline(2)), hand("fire", "analyst"))])
}

#[test]
fn a_draft_of_a_variation_is_its_authors() {
    let (nhs, fire) = (organisation("nhs"), organisation("fire"));
    let drafted = varying();
    assert_eq!(drafted.drafted_by(2), Some(&fire));
    assert!(drafted.shows(2, &fire) && !drafted.shows(2, &nhs) && drafted.shows(1, &nhs));
    let seen = drafted.seen_by(&nhs);
    assert_eq!((seen.next, seen.convener, seen.past), (None, nhs.clone(), Vec::new()));
    assert_eq!(drafted.seen_by(&fire), drafted);
    let offered = after(drafted, vec![(Command::Propose, hand("fire", "analyst"))]);
    assert!(offered.shows(2, &nhs));
    assert_eq!(offered.seen_by(&nhs), offered);
    let back = after(offered, vec![(Command::Withdraw, hand("fire", "lead"))]);
    assert!(back.shows(2, &nhs), "it was offered");
}

#[test]
fn a_draft_that_was_taken_back_stays_its_authors() {
    let (nhs, fire) = (organisation("nhs"), organisation("fire"));
    let back = after(varying(), vec![(Command::Withdraw, hand("fire", "lead"))]);
    assert_eq!((back.convener.clone(), back.state_of(2)), (nhs.clone(), "withdrawn"));
    assert!(back.shows(2, &fire) && !back.shows(2, &nhs));
    assert!(back.seen_by(&nhs).past.is_empty() && back.seen_by(&fire).past.len() == 1);
    // What ended shows its end, and not what is drafted in its place.
    let end = Command::Ask(Pending::Termination { asked: None });
    let ended = vec![(end, hand("nhs", "lead")), (Command::Confirm, hand("fire", "lead"))];
    let ended = after(varying(), ended);
    assert_eq!((ended.state(), ended.seen_by(&nhs).state()), ("draft", "terminated"));
}

#[test]
fn a_course_of_before_this_was_kept_is_read_and_written_as_it_was() {
    let kept = serde_json::to_value(active(&["nhs", "fire"])).unwrap();
    assert!(kept.get("convened_before").is_none());
    let mut countered = after(begun(), vec![(Command::Propose, hand("nhs", "author"))]);
    countered = after(countered, vec![(Command::Counter(outline(2)), hand("fire", "analyst"))]);
    let kept = serde_json::to_value(&countered).unwrap();
    assert!(kept["past"][0].get("drafted_by").is_none());
    assert_eq!(serde_json::from_value::<Managed>(kept).unwrap(), countered);
}
