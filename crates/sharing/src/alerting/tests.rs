use super::*;
use crate::policy::{PolicyFile, PolicySet};

fn file(text: &str) -> PolicyFile {
    PolicyFile { path: "alerts/rules.toml".to_owned(), text: text.to_owned() }
}

fn shipped(folder: &str) -> Vec<PolicyFile> {
    let base = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies").join(folder);
    let files = std::fs::read_dir(base).unwrap().map(|entry| entry.unwrap().path());
    let read = files.map(|path| PolicyFile {
        path: format!("{folder}/{}", path.file_name().unwrap().to_string_lossy()),
        text: std::fs::read_to_string(path).unwrap(),
    });
    read.collect()
}

const REPEAT: &str = r#"[[rules]]
id = "repeat-look-ups"
watches = "repeat-look-ups"
severity = "medium"
tell = ["asker"]
review_within_hours = 72
officer = "The same person was looked up again and again."
at_least = 3
within_hours = 1
"#;

#[test]
fn the_shipped_scenarios_hold_and_fail_when_a_threshold_is_moved() {
    let mut files = shipped("alerts");
    files.extend(shipped("alert-cases"));
    let results = run_scenarios(&files);
    let failed: Vec<_> = results.iter().filter(|result| result.outcome.is_err()).collect();
    assert!(failed.is_empty() && results.len() >= 20, "{failed:#?} of {}", results.len());
    // Each kind that counts is in some scenario: with its rule switched off, scenarios fail.
    for kind in
        ["repeat-look-ups", "volume", "out-of-hours", "placeholder-case", "enumeration", "purpose-shopping"]
    {
        let off = files.iter().map(|file| {
            let watches = format!("watches = \"{kind}\"");
            PolicyFile {
                path: file.path.clone(),
                text: file.text.replace(&watches, &format!("{watches}\nenabled = false")),
            }
        });
        let failed =
            run_scenarios(&off.collect::<Vec<_>>()).iter().filter(|one| one.outcome.is_err()).count();
        assert!(failed > 0, "{kind}");
    }
}

#[test]
fn what_is_always_alerted_is_so_without_any_file_and_cannot_be_switched_off() {
    let rules = AlertRules::load(&[]).unwrap();
    assert_eq!(rules.all().count(), Kind::ALWAYS.len());
    assert_eq!(rules, AlertRules::default());
    for spoilt in [
        "enabled = false",
        "exempt = [{ role = \"unattended\", reason = \"because it is a job\", until = \"2030-01-01\" }]",
    ] {
        let text = format!(
            "[[rules]]\nid = \"r\"\nwatches = \"restricted-attempt\"\nseverity = \"high\"\ntell = [\"holder\"]\nreview_within_hours = 4\nofficer = \"Somebody asked for a restricted record.\"\n{spoilt}\n"
        );
        let said = AlertRules::load(&[file(&text)]).unwrap_err();
        assert!(said[0].message.contains("always alerted"), "{said:?}");
        let rules = AlertRules::load(&[file(&text.replace(spoilt, ""))]).unwrap();
        assert_eq!(rules.of(Kind::RestrictedAttempt).unwrap().review_within, SignedDuration::from_hours(4));
        assert_eq!(rules.all().count(), Kind::ALWAYS.len());
    }
}

#[test]
fn a_rule_that_is_not_in_order_is_named_with_its_line() {
    for (find, replace, line, said) in [
        ("at_least = 3", "at_most = 3", 8, "unknown field `at_most`"),
        ("at_least = 3", "", 2, "`at_least` is from how many on"),
        ("at_least = 3", "at_least = 1", 2, "`at_least` is from how many on"),
        (
            "at_least = 3",
            "at_least = 3\npatterns = [\"x\"]",
            2,
            "`patterns` means nothing to `repeat-look-ups`",
        ),
        ("within_hours = 1", "within_hours = 745", 2, "`within_hours` is 1 to 744"),
        ("within_hours = 1", "within_hours = 0", 2, "`within_hours` is 1 to 744"),
        ("watches = \"repeat-look-ups\"", "watches = \"repeats\"", 3, "unknown variant"),
        ("tell = [\"asker\"]", "tell = []", 2, "`tell` lists"),
        ("tell = [\"asker\"]", "tell = [\"asker\", \"asker\"]", 2, "`tell` lists"),
        (
            "officer = \"The same person was looked up again and again.\"",
            "officer = \"short\"",
            2,
            "`officer` says",
        ),
        ("review_within_hours = 72", "review_within_hours = 0", 2, "`review_within_hours` is"),
        (
            "within_hours = 1",
            "within_hours = 1\nexempt = [{ reason = \"because it is so\", until = \"2027-01-01\" }]",
            2,
            "an exemption names",
        ),
        (
            "within_hours = 1",
            "within_hours = 1\nexempt = [{ role = \"x\", reason = \"x\", until = \"2027-01-01\" }]",
            2,
            "an exemption says",
        ),
        (
            "within_hours = 1",
            "within_hours = 1\nexempt = [{ role = \"x\", reason = \"because it is so\", until = \"soon\" }]",
            2,
            "an exemption's `until`",
        ),
        (
            "within_hours = 1",
            "within_hours = 1\nexempt = [{ practitioner = \"x\", reason = \"because it is so\", until = \"2027-01-01\" }]",
            10,
            "unknown field `practitioner`",
        ),
        ("id = \"repeat-look-ups\"", "id = \"Repeat\"", 2, "`id` is"),
    ] {
        assert!(REPEAT.contains(find), "{find}");
        let problems = AlertRules::load(&[file(&REPEAT.replace(find, replace))]).unwrap_err();
        assert!(
            problems[0].message.contains(said) && (problems[0].line == line || line == 10),
            "{replace}: {problems:?}"
        );
    }
    let twice = AlertRules::load(&[file(&format!("{REPEAT}{REPEAT}"))]).unwrap_err();
    assert!(twice[0].message.contains("defined twice") && twice[0].line == 11, "{twice:?}");
    // Who asked is never told by an alert what the answer kept from them.
    let restricted = "[[rules]]\nid = \"r\"\nwatches = \"restricted-attempt\"\nseverity = \"high\"\ntell = [\"holder\", \"asker\"]\nreview_within_hours = 4\nofficer = \"Somebody asked for a restricted record.\"\n";
    let said = AlertRules::load(&[file(restricted)]).unwrap_err();
    assert!(said[0].message.contains("not for who asked"), "{said:?}");
}

#[test]
fn rules_are_part_of_the_policy_set_and_its_digest() {
    let mut files = Vec::new();
    for folder in ["organisations", "catalogue", "agreements", "guardrails", "alerts", "alert-cases"] {
        files.extend(shipped(folder));
    }
    let set = PolicySet::load(&files).unwrap();
    assert!(set.alerts().named("repeat-look-ups").is_some());
    assert!(set.files().iter().any(|file| file.path.starts_with("alerts/")), "kept for deciding again");
    assert!(!set.files().iter().any(|file| file.path.starts_with("alert-cases/")));
    let rules = files.iter_mut().find(|file| file.path.starts_with("alerts/")).unwrap();
    rules.text.push_str("\n# another word\n");
    assert_ne!(PolicySet::load(&files).unwrap().digest(), set.digest());
    files.iter_mut().find(|file| file.path.starts_with("alerts/")).unwrap().text.push_str("x = 1\n");
    let problems = PolicySet::load(&files).unwrap_err();
    assert!(problems[0].path.starts_with("alerts/") && problems[0].line > 1, "{problems:?}");
}

fn question(decision: u64, subject: &str, at: &str) -> [Event; 2] {
    let human = Human {
        organisation: "o".to_owned(),
        service: None,
        system: "s".to_owned(),
        id: "p".to_owned(),
        role: "r".to_owned(),
    };
    let question = Question {
        decision: decision.to_string(),
        human,
        provider: "nhs-pds".to_owned(),
        purpose: "direct-care".to_owned(),
        case_reference: "A-1".to_owned(),
        subject: subject.to_owned(),
    };
    let at: Timestamp = at.parse().unwrap();
    let (decision, names) = (question.decision.clone(), vec![subject.to_owned()]);
    let answered = What::Answered { decision, answer: Answer::Told, names };
    [Event { at, what: What::Asked(question) }, Event { at, what: answered }]
}

#[test]
fn a_watch_begun_anew_a_window_back_says_the_same() {
    let rules = AlertRules::load(&[file(REPEAT)]).unwrap();
    let times = (0..300_u64).map(|number| {
        let minutes = number * 7 + number % 5;
        let at = format!("2026-11-23T{:02}:{:02}:00Z", minutes / 60 % 24, minutes % 60);
        let day = 23 + minutes / 1_440;
        at.replace("-23T", &format!("-{day:02}T"))
    });
    let events: Vec<Event> = times
        .enumerate()
        .flat_map(|(number, at)| question(number as u64, &format!("p{}", number % 3), &at))
        .collect();
    let mut whole = Watch::new(&rules);
    let said: Vec<Vec<Candidate>> = events.iter().map(|event| whole.see(event)).collect();
    assert!(said.iter().any(|said| !said.is_empty()) && said.iter().any(Vec::is_empty));
    for begin in [50, 200, 400] {
        let back = events[begin].at.checked_sub(rules.longest_window()).unwrap();
        let mut anew = Watch::new(&rules);
        for (event, expected) in events.iter().zip(&said) {
            if event.at <= back {
                continue;
            }
            let again = anew.see(event);
            if event.at >= events[begin].at {
                assert_eq!(again, *expected);
            }
        }
    }
}

#[test]
fn memory_is_bounded_and_what_was_forgotten_for_it_is_counted() {
    let rules = AlertRules::load(&[file(REPEAT)]).unwrap();
    let mut watch = Watch::with_room(&rules, 100);
    for number in 0..1_000 {
        for event in question(number, &format!("p{number}"), "2026-11-23T12:00:00Z") {
            assert!(watch.see(&event).is_empty());
        }
    }
    assert_eq!(watch.forgotten(), 900);
}

#[test]
fn what_a_caller_saw_says_no_more_than_what_they_saw() {
    let reasons = |codes: &[&str]| codes.iter().map(|&code| code.to_owned()).collect::<Vec<_>>();
    for about_person in ["subject-unknown", "restricted", "objection", "consent-absent", "deceased"] {
        assert_eq!(saw("not_released", &reasons(&[about_person])), Answer::NoRecord, "{about_person}");
    }
    assert_eq!(saw("not_released", &reasons(&["policy-changed", "restricted"])), Answer::Refused);
    assert_eq!(saw("not_released", &reasons(&["ceiling-reached"])), Answer::Other);
    assert_eq!(saw("provider_fault", &reasons(&["provider-busy"])), Answer::Other);
    assert_eq!(saw("decision_only", &[]), Answer::Told);
    assert_eq!(saw("not_released", &[]), Answer::Other);
}
