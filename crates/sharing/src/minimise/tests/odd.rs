//! Records that are not as they should be: a mark that cannot be read, a record that means something else than it says.

use super::*;
use crate::restriction::Marking;

/// What is before the first `from`, and what is after the first `to` from there on.
fn around<'a>(text: &'a str, from: &str, to: &str) -> (&'a str, &'a str) {
    let (before, rest) = text.split_once(from).unwrap();
    (before, rest.split_once(to).unwrap().1)
}

/// The record with something else in the place of its marks.
fn marked(security: &str) -> String {
    let (before, after) = around(SANDERSON, "\"security\"", "]");
    format!("{before}{security}{after}")
}

#[test]
fn whatever_is_in_the_place_of_a_mark_and_is_not_unrestricted_to_the_letter_hides_where_somebody_is() {
    let open = [r#"[{"code":"U"}]"#, r#"{"code":"U"}"#, r#"[{"code":"U"},{"system":"x","code":"U"}]"#];
    for security in open {
        let record = minimised(true, "9732110317", &marked(&format!("\"security\": {security}"))).unwrap();
        assert!(record.as_json().contains("Tomika"), "{security}");
    }
    let marks = ["R", "V", "REDACTED", "r", "u", "R ", " U", "U ", "S", "restricted", "unrestricted", ""];
    let codes = marks.map(|code| format!(r#"[{{"code":"{code}"}}]"#));
    let shapes = [
        r#"[{"code":{"value":"R"}}]"#,
        r#"[{"code":{"value":"U"}}]"#,
        r#"["R"]"#,
        r#"["U"]"#,
        r#""R""#,
        r#""U""#,
        r#"[{"code":true}]"#,
        r#"[{"code":false}]"#,
        r#"[{"code":1}]"#,
        r#"[{"code":[]}]"#,
        r#"[{"code":["R"]}]"#,
        r#"[{"code":["U","R"]}]"#,
        r#"[{"code":[["U"]]}]"#,
        r#"[{"coding":[{"code":"R"}]}]"#,
        r#"[{"coding":[{"code":"U"}]}]"#,
        r#"[{"display":"restricted"}]"#,
        r#"[{"code":"U"},{"display":"restricted"}]"#,
        r#"[{"code":"U"},null]"#,
        r#"[{"code":"U"},{"code":"R"}]"#,
        r#"[{"code":"U"},"R"]"#,
        r#"[[{"code":"U"}]]"#,
        "[]",
        "[{}]",
        "{}",
        "null",
        "true",
        "0",
    ];
    let all = codes.into_iter().chain(shapes.map(str::to_owned));
    let mut bodies: Vec<_> = all.map(|security| marked(&format!("\"security\": {security}"))).collect();
    bodies.push(marked("\"profile\": []"));
    for meta in ["null", "\"U\"", "[]", "{}", "7"] {
        bodies.push(SANDERSON.replacen("\"meta\"", &format!("\"meta\": {meta}, \"was\""), 1));
    }
    bodies.push(SANDERSON.replacen("\"meta\"", "\"Meta\"", 1));
    for body in bodies {
        let fire = minimised(true, "9732110317", &body).unwrap_err();
        assert!(fire == "[Restricted]" || fire == "[RestrictionUnconfirmed]", "{fire}: {body}");
        let council = minimised(false, "9732110317", &body).unwrap();
        let texts = format!("{}{}", council.as_json(), council.as_fhir_patient().unwrap());
        assert!(
            texts.contains("Sanderson") && !texts.contains("Tomika") && !texts.contains("ZY5T"),
            "{body}"
        );
    }
}

#[test]
fn a_mark_on_the_bundle_counts_for_the_record_in_it() {
    let bundle = |meta: &str| {
        format!(
            r#"{{"resourceType":"Bundle","type":"searchset",{meta}"entry":[{{"resource":{SANDERSON}}}]}}"#
        )
    };
    assert!(minimised(true, "9732110317", &bundle("")).is_ok(), "a Bundle need not say anything");
    assert!(minimised(true, "9732110317", &bundle(r#""meta":{"security":[{"code":"U"}]},"#)).is_ok());
    for meta in [r#"{"security":[{"code":"R"}]}"#, r#"{"security":["R"]}"#, r#"{"security":[]}"#, "7"] {
        assert!(minimised(true, "9732110317", &bundle(&format!("\"meta\":{meta},"))).is_err(), "{meta}");
    }
}

#[test]
fn a_record_without_a_mark_to_read_is_not_known_to_be_restricted() {
    let policies = policies();
    let question = question(false, "9732110317");
    let permit = permit(&policies, &question);
    let provider = policies.provider(&question.provider).unwrap();
    let facts = |security: &str| {
        let examined = permit.examine(provider, marked(security).as_bytes()).unwrap();
        (examined.facts().restricted, examined.facts().unconfirmed)
    };
    assert_eq!(facts("\"security\": [{\"code\":\"U\"}]"), (false, false));
    assert_eq!(facts("\"security\": [{\"code\":\"r\"}]"), (true, false));
    // Nothing is learned of the person, so that a fault of the source is over when it is mended.
    assert_eq!(facts("\"security\": []"), (false, true));
}

#[test]
fn an_entry_that_may_be_the_person_refuses_the_whole_bundle() {
    let refused = |entries: &str| {
        let bundle = format!(r#"{{"resourceType":"Bundle","type":"searchset","entry":[{entries}]}}"#);
        minimised(true, "9732110317", &bundle).err().unwrap_or_default()
    };
    let own = format!(r#"{{"resource":{SANDERSON}}}"#);
    assert_eq!(refused(&own), "");
    assert_eq!(refused(&format!(r#"{own},{{"resource":{SMITH}}}"#)), "", "somebody else is no matter");
    let outcome = r#"{"resource":{"resourceType":"OperationOutcome"},"search":{"mode":"outcome"}}"#;
    assert_eq!(refused(&format!("{outcome},{own}")), "");
    let restricted = r#""meta":{"security":[{"code":"R"}]}"#;
    let nhs = "https://fhir.nhs.uk/Id/nhs-number";
    let others = [
        format!(
            r#"{{"resource":{{"resourceType":"Patient","id":"9732110317",{restricted},"identifier":[{{"system":"{nhs}","value":"bad"}}]}}}}"#
        ),
        format!(
            r#"{{"resource":{{"resourceType":"Patient","id":"bad",{restricted},"identifier":[{{"system":"{nhs}","value":"9732110317"}}]}}}}"#
        ),
        format!(
            r#"{{"resource":{{"resourceType":"Patient","id":["9732110317","9733162043"],{restricted}}}}}"#
        ),
        format!(r#"{{"resource":{{"resourceType":"Patient","id":9732110317,{restricted}}}}}"#),
        format!(r#"{{"resource":{{"resourceType":"Patient",{restricted}}}}}"#),
        format!(r#"{{"resource":{{"id":"9732110317",{restricted}}}}}"#),
        format!(r#"{{"resource":[{{"resourceType":"Patient","id":"9732110317",{restricted}}}]}}"#),
        format!(r#"{{"resource":{{"resourceType":"Bundle","type":"searchset","entry":[{own}]}}}}"#),
        format!(
            r#"{{"resource":{{"resourceType":"Basic","contained":[{{"resourceType":"Patient","id":"9732110317",{restricted}}}]}}}}"#
        ),
        own.clone(),
        "{}".to_owned(),
        "null".to_owned(),
        format!("[{own}]"),
    ];
    for other in others {
        for entries in [format!("{own},{other}"), format!("{other},{own}")] {
            assert!(["SubjectMismatch", "Unexpected"].contains(&refused(&entries).as_str()), "{other}");
        }
    }
}

#[test]
fn what_changes_the_meaning_of_a_record_refuses_it_whole() {
    let with = |members: &str| SANDERSON.replacen('{', &format!("{{{members},"), 1);
    let refused = |body: &str| minimised(true, "9732110317", body).err().unwrap_or_default();
    let harmless = [
        r#""active":true"#,
        r#""active":null"#,
        r#""link":[{"type":"seealso"},{"type":"replaces"}]"#,
        r#""implicitRules":null"#,
        r#""contact":[{"modifierExtension":[{"url":"x"}]}]"#,
    ];
    for members in harmless {
        assert_eq!(refused(&with(members)), "", "{members}");
    }
    let telling = [
        r#""implicitRules":"https://example.org/rules""#,
        r#""implicitRules":"""#,
        r#""modifierExtension":[{"url":"https://example.org/not-this-person","valueBoolean":true}]"#,
        r#""modifierExtension":[]"#,
        r#""modifierExtension":"x""#,
        r#""active":false"#,
        r#""active":"false""#,
        r#""active":0"#,
        r#""link":[{"type":"replaced-by","other":{"reference":"Patient/9000000009"}}]"#,
        r#""link":[{"type":"seealso"},{"type":"refer"}]"#,
        r#""link":[{"other":{"reference":"Patient/9000000009"}}]"#,
        r#""link":["replaced-by"]"#,
        r#""link":{"type":"replaced-by"}"#,
        r#""link":"replaced-by""#,
    ];
    for members in telling {
        assert_eq!(refused(&with(members)), "SubjectMismatch", "{members}");
    }
    let modifier = r#""modifierExtension":[{"url":"https://example.org/not-in-use","valueBoolean":true}]"#;
    for inside in ["\"name\": [", "\"address\": [", "\"identifier\": [", "\"security\": ["] {
        let (before, after) = around(SANDERSON, inside, "{");
        let body = format!("{before}{inside}{{{modifier},{after}");
        assert_eq!(refused(&body), "SubjectMismatch", "{inside}");
    }
}

#[test]
fn a_bundle_is_what_a_search_found() {
    let refused = |kind: &str, beside: &str| {
        let body =
            format!(r#"{{"resourceType":"Bundle",{kind}"entry":[{{"resource":{SANDERSON}{beside}}}]}}"#);
        minimised(true, "9732110317", &body).err().unwrap_or_default()
    };
    let searchset = r#""type":"searchset","#;
    for beside in ["", r#","search":{"score":0.75}"#, r#","search":{"mode":"match"}"#, r#","search":null"#] {
        assert_eq!(refused(searchset, beside), "", "{beside}");
    }
    for kind in ["", r#""type":null,"#, r#""type":["searchset"],"#] {
        assert_eq!(refused(kind, ""), "Unexpected", "{kind}");
    }
    for kind in ["history", "collection", "batch-response", "document", "Searchset"] {
        assert_eq!(refused(&format!(r#""type":"{kind}","#), ""), "Unexpected", "{kind}");
    }
    for search in [r#"{"mode":"include"}"#, r#"{"mode":"outcome"}"#, r#"{"mode":["match"]}"#, r#""match""#] {
        assert_eq!(refused(searchset, &format!(r#","search":{search}"#)), "Unexpected", "{search}");
    }
    for done in [r#","request":{"method":"DELETE"}"#, r#","response":{"status":"410"}"#, r#","request":[]"#] {
        assert_eq!(refused(searchset, done), "SubjectMismatch", "{done}");
    }
}

#[test]
fn the_records_of_the_sandbox_are_taken_alone_and_as_it_finds_them() {
    let records: &[(&str, &str)] = &[
        ("9732110317", SANDERSON),
        ("9000000009", SMITH),
        ("9000000025", RESTRICTED),
        (
            "9000000009",
            include_str!("../../../../../tests/upstreams/records/pds/searches/PatientSearch.json"),
        ),
        (
            "9000000025",
            include_str!("../../../../../tests/upstreams/records/pds/searches/Sensitive_PatientSearch.json"),
        ),
        (
            "9000000033",
            include_str!("../../../../../tests/upstreams/records/pds/searches/Minimal_PatientSearch.json"),
        ),
        (
            "9736363015",
            include_str!("../../../../../tests/upstreams/records/pds/patients/patient_9736363015.json"),
        ),
    ];
    let policies = policies();
    for (number, body) in records {
        let question = question(false, number);
        let permit = permit(&policies, &question);
        let provider = policies.provider(&question.provider).unwrap();
        let examined = permit.examine(provider, body.as_bytes()).unwrap();
        assert_eq!(examined.facts().restricted, *number == "9000000025", "{number}");
        assert!(!examined.facts().unconfirmed, "{number}");
    }
}

#[test]
fn a_councils_flags_that_cannot_be_read_hide_where_somebody_is() {
    let body = |flags: &str| format!(r#"{{"nhs_number":"9732110317","flags":{flags}}}"#);
    let policies = policies();
    let mut question = question(false, "9732110317");
    question.recipient = "nhs-england".parse().unwrap();
    question.role = "clinician".to_owned();
    question.provider = "trafford-asc".parse().unwrap();
    let permit = permit(&policies, &question);
    let provider = policies.provider(&question.provider).unwrap();
    let own = |flags: &str| permit.examine(provider, body(flags).as_bytes()).unwrap().own_marking();
    for flags in ["{}", "null", r#"{"address_withheld":false}"#, r#"{"address_withheld":null}"#] {
        assert_eq!(own(flags), Marking::Clear, "{flags}");
    }
    for flags in
        [r#"{"address_withheld":true}"#, r#"{"address_withheld":"false"}"#, r#"{"address_withheld":0}"#]
    {
        assert_eq!(own(flags), Marking::Restricted, "{flags}");
    }
    for flags in [r#"["address_withheld"]"#, r#""address_withheld""#, r#"{"address_withheld":[]}"#, "[]", "1"]
    {
        assert_eq!(own(flags), Marking::Unconfirmed, "{flags}");
    }
}

#[test]
fn a_catalogue_that_lists_marks_says_what_to_write_in_their_place() {
    let mut files = crate::decide::tests::policy_files();
    let file = files.iter_mut().find(|file| file.path == "catalogue/nhs-pds.toml").unwrap();
    file.text = file.text.replacen("unless = [\"U\"], required = true", "equals = [\"R\", \"V\"]", 1);
    let problems = PolicySet::load(&files).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("unless = [\"U\"]"), "{}", problems[0].message);
}

#[test]
fn a_period_that_cannot_be_read_is_not_in_force_and_what_is_old_or_over_does_not_leave() {
    let address = |period: &str| {
        let body = SANDERSON.replacen("\"start\": \"2024-05-01\"", "\"x\": 1", 1);
        let (before, after) = around(&body, "\"period\": {", "}");
        let body = format!("{before}{period}{after}");
        minimised(true, "9732110317", &body).unwrap().as_json().contains("Tomika")
    };
    let in_force = [
        "\"period\": null",
        "\"period\": {}",
        "\"period\": {\"start\":\"2024\"}",
        "\"period\": {\"start\":\"2024-05-01T00:00:00+00:00\",\"end\":\"2026-11-23\"}",
        "\"period\": {\"_start\":null}",
    ];
    for period in in_force {
        assert!(address(period), "{period}");
    }
    let not_in_force = [
        "\"period\": \"ended 2000\"",
        "\"period\": []",
        "\"period\": [{\"end\":\"2000-01-01\"}]",
        "\"period\": [{\"start\":\"2000-01-01\"}]",
        "\"period\": {\"_end\":{\"extension\":[]}}",
        "\"period\": {\"end\":{}}",
        "\"period\": {\"end\":null}",
        "\"period\": {\"end\":\"some time\"}",
        "\"period\": {\"start\":\"2024-05-01Tsome time\"}",
        "\"period\": false",
    ];
    for period in not_in_force {
        assert!(!address(period), "{period}");
    }
    let told = |members: &str| {
        let body = SANDERSON.replacen('{', &format!("{{{members},"), 1);
        minimised(false, "9732110317", &body).unwrap().as_json().to_owned()
    };
    let phone =
        |more: &str| told(&format!(r#""telecom":[{{"system":"phone","value":"0161 496 0999"{more}}}]"#));
    assert!(phone("").contains("0999") && phone(r#","use":"home""#).contains("0999"));
    assert!(!phone(r#","use":"old""#).contains("0999"));
    assert!(!phone(r#","period":{"end":"2000-01-01"}"#).contains("0999"));
    let practice =
        |more: &str| told(&format!(r#""generalPractitioner":[{{"identifier":{{"value":"Y99999"{more}}}}}]"#));
    assert!(practice("").contains("Y99999"));
    assert!(!practice(r#","period":{"start":"2000","end":"2001"}"#).contains("Y99999"));
    assert!(!practice(r#","use":"old""#).contains("Y99999"));
}

#[test]
fn a_list_in_a_list_and_a_value_that_is_no_persons_does_not_leave() {
    let told = |gender: &str| {
        let body = SANDERSON.replacen("\"gender\": \"male\"", &format!("\"gender\": {gender}"), 1);
        let record = minimised(true, "9732110317", &body).unwrap();
        (record.as_json().contains("gender"), record.as_fhir_patient().unwrap().contains("gender"))
    };
    let odd = [r#"[["CANARY1"],["CANARY2"]]"#, "{}", "1e999999999", "1e16", "123456789012345678"];
    for gender in odd {
        assert_eq!(told(gender), (false, false), "{gender}");
    }
    let longest = format!("\"{}\"", "x".repeat(4_000));
    for gender in ["\"male\"", "1e15", "-0.12345678901234567", r#""two\nlines""#, "true", &longest] {
        assert_eq!(told(gender), (true, true), "{gender}");
    }
    // What people would not see is shown to be there, and nobody goes without the rest.
    let shown = |gender: &str| {
        let body = SANDERSON.replacen("\"gender\": \"male\"", &format!("\"gender\": {gender}"), 1);
        let record = minimised(true, "9732110317", &body).unwrap();
        let told = json(record.as_json()).member("person.gender").and_then(Json::as_str).map(str::to_owned);
        let fhir = json(record.as_fhir_patient().unwrap());
        assert_eq!(fhir.member("gender").and_then(Json::as_str).map(str::to_owned), told);
        told.unwrap()
    };
    for (gender, told) in [
        (r#""a\u0000b""#, "a\u{fffd}b"),
        (r#""\u202eb""#, "\u{fffd}b"),
        (r#""O\u0092Brien""#, "O\u{fffd}Brien"),
        (r#""Back door\u000bKey safe""#, "Back door\u{fffd}Key safe"),
    ] {
        assert_eq!(shown(gender), told, "{gender}");
    }
    let long = shown(&format!("\"{}\"", "é".repeat(4_001)));
    assert_eq!((long.chars().count(), long.ends_with("é […]")), (4_004, true));
}
