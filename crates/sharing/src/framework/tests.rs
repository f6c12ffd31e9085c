//! What a framework's file may say, and whom it carries when.

use super::*;
use crate::decide::tests::policy_files;

const ACCORD: &str = "frameworks/gm-information-sharing-accord.toml";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn after(find: &str, replace: &str) -> Result<PolicySet, Vec<PolicyProblem>> {
    let mut files = policy_files();
    let file = files.iter_mut().find(|file| file.path == ACCORD).unwrap();
    assert!(file.text.contains(find), "{find}");
    file.text = file.text.replacen(find, replace, 1);
    PolicySet::load(&files)
}

#[test]
fn it_stands_where_its_days_say() {
    let set = after("id", "id").unwrap();
    let accord = set.frameworks().next().unwrap();
    for (day, standing) in [
        ("2024-03-31T22:59:59Z", "not-yet"),
        ("2024-03-31T23:00:00Z", "in-force"),
        ("2028-03-31T22:59:59Z", "in-force"),
        ("2028-03-31T23:00:00Z", "review-overdue"),
        ("2030-03-31T22:59:59Z", "review-overdue"),
        ("2030-03-31T23:00:00Z", "ended"),
    ] {
        assert_eq!(accord.standing(at(day)).as_str(), standing, "{day}");
    }
    let open = after("ends_on = \"2030-04-01\"\n", "").unwrap();
    assert_eq!(
        open.frameworks().next().unwrap().standing(at("2099-01-01T00:00:00Z")).as_str(),
        "review-overdue"
    );
}

#[test]
fn a_member_is_one_from_the_day_of_joining_to_that_of_leaving() {
    let nhs = "nhs-england".parse().unwrap();
    let joined = |set: &PolicySet, day: &str| set.frameworks().next().unwrap().has_joined(&nhs, at(day));
    let set =
        after("joined_on = \"2024-06-01\"", "joined_on = \"2024-06-01\"\nleft_on = \"2026-01-01\"").unwrap();
    assert!(!joined(&set, "2024-05-31T22:59:59Z") && joined(&set, "2024-05-31T23:00:00Z"));
    assert!(joined(&set, "2025-12-31T23:59:59Z") && !joined(&set, "2026-01-01T00:00:00Z"));
    let again = "joined_on = \"2024-06-01\"\nleft_on = \"2026-01-01\"\n\n[[members]]\norganisation = \"nhs-england\"\njoined_on = \"2026-06-01\"";
    let set = after("joined_on = \"2024-06-01\"", again).unwrap();
    assert!(!joined(&set, "2026-05-01T00:00:00Z") && joined(&set, "2026-07-01T00:00:00Z"));
}

#[test]
fn an_agreement_means_it_by_its_id_or_its_title_and_nothing_else() {
    let mut files = policy_files();
    for file in files.iter_mut().filter(|file| file.path.starts_with("agreements/")) {
        let by_id = file.text.contains("gm-fire-return-referral");
        let name = if by_id {
            "gm-information-sharing-accord"
        } else {
            "greater manchester information sharing accord"
        };
        file.text = file.text.replacen("Greater Manchester Information Sharing Accord", name, 1);
    }
    let set = PolicySet::load(&files).unwrap();
    for agreement in set.agreements() {
        let found = gap(&set, agreement, [], at("2026-11-23T12:00:00Z"));
        let by_id = agreement.id().as_str() == "gm-fire-return-referral";
        assert_eq!(found, (!by_id).then_some(Gap::Unknown), "{}", agreement.id());
    }
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_where() {
    for (find, replace, said) in [
        ("title = \"Greater Manchester Information Sharing Accord\"", "title = \" \"", "needs a `title`"),
        ("effective_on = \"2024-04-01\"", "effective_on = \"2031-04-01\"", "`effective_on` must be before"),
        ("review_on = \"2028-04-01\"", "review_on = \"2031-04-01\"", "`review_on` must lie between"),
        ("organisation = \"gmca\"", "organisation = \"nobody\"", "defines `nobody`"),
        ("organisation = \"gmca\"", "organisation = \"nhs-england\"", "a member already"),
        (
            "joined_on = \"2024-06-01\"",
            "joined_on = \"2024-06-01\"\nleft_on = \"2024-06-01\"",
            "before `left_on`",
        ),
        ("title", "status = \"active\"\ntitle", "unknown field `status`"),
    ] {
        let problems = after(find, replace).unwrap_err();
        assert!(
            problems
                .iter()
                .any(|problem| problem.path == ACCORD && problem.line > 0 && problem.message.contains(said)),
            "{said}: {problems:?}"
        );
    }
    let mut files = policy_files();
    let mut copy = files.iter().find(|file| file.path == ACCORD).unwrap().clone();
    copy.path = "frameworks/another.toml".to_owned();
    copy.text = copy.text.replacen("id = \"gm-information-sharing-accord\"", "id = \"another\"", 1);
    files.push(copy);
    let problems = PolicySet::load(&files).unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("another framework")), "{problems:?}");
}
