//! The runner itself: a case that is wrong must fail, and say how.

use super::*;
use crate::decide::tests::policy_files;

const CASE: &str = r#"
[[case]]
name = "the minimised profile"
why = "demographics only"
at = "2026-11-23T12:00:00Z"
recipient = "gmca"
role = "prevention-officer"
provider = "nhs-pds"
purpose = "fire-prevention-targeting"
identifier = "nhs-number"
asked = ["person.gender"]
expect = "permit"
items = ["person.gender:as-is"]
"#;

fn outcome(text: &str) -> Result<(), String> {
    let mut files = policy_files();
    files.retain(|file| !file.path.starts_with("cases/"));
    files.push(PolicyFile { path: "cases/one.toml".to_owned(), text: text.to_owned() });
    let [result] = run(&files).try_into().unwrap();
    assert_eq!(result.file, "cases/one.toml");
    result.outcome
}

#[test]
fn a_wrong_expectation_fails_and_says_what_was_decided() {
    assert_eq!(outcome(CASE), Ok(()));
    let changed = |find: &str, replace: &str| {
        let text = CASE.replace(find, replace);
        assert_ne!(text, CASE);
        outcome(&text).unwrap_err()
    };
    assert_eq!(
        changed("expect = \"permit\"", "expect = \"deny\""),
        "expected Deny [] because demographics only; decided Permit []"
    );
    assert_eq!(
        changed("prevention-officer", "clerk"),
        r#"expected Permit [] because demographics only; decided Deny ["role-not-allowed"]"#
    );
    assert_eq!(
        changed(":as-is", ":initial"),
        r#"expected items ["person.gender:initial"] because demographics only; permitted ["person.gender:as-is"]"#
    );
    assert_eq!(
        changed("items = [\"person.gender:as-is\"]", ""),
        r#"expected items [] because demographics only; permitted ["person.gender:as-is"]"#
    );
    assert_eq!(
        changed(
            "identifier = ",
            "edits = [{ path = \"agreements/x.toml\", find = \"a\", replace = \"b\" }]\nidentifier = "
        ),
        "an edit names no policy file"
    );
    assert_eq!(
        changed(
            "identifier = ",
            "edits = [{ path = \"organisations/gmca.toml\", find = \"no such text\", replace = \"b\" }]\nidentifier = "
        ),
        "an edit finds nothing to replace in organisations/gmca.toml"
    );
    assert_eq!(
        changed(
            "identifier = ",
            "edits = [{ path = \"organisations/gmca.toml\", find = \"kind\", replace = \"sort\" }]\nidentifier = "
        ),
        "organisations/gmca.toml:4: unknown field `sort`, expected one of `id`, `name`, `kind`, `ods_code`, `gss_code`, `purposes`, `contact`, `assurances`"
    );
    assert!(changed("why = \"demographics only\"", "").contains("missing field `why`"));
    assert!(changed("asked", "asks").contains("unknown field `asks`"));
}

#[test]
fn the_matrix_changes_when_a_policy_does() {
    let matrix_of = |find: &str, replace: &str| {
        let mut files = policy_files();
        let file =
            files.iter_mut().find(|file| file.path == "agreements/gm-fire-prevention-over-65s.toml").unwrap();
        assert!(file.text.contains(find), "{find}");
        file.text = file.text.replace(find, replace);
        matrix(&PolicySet::load(&files).unwrap(), MATRIX_AT.parse().unwrap())
    };
    let now = matrix_of("", "");
    assert_eq!(now, matrix_of("", ""), "the same text each time");
    let suspended = matrix_of("status = \"active\"", "status = \"suspended\"");
    assert!(suspended.contains("person.address [L]             no   agreement-not-active (else as-is)"));
    let birth_year = matrix_of("form = \"age-band\"", "form = \"year\"");
    assert!(birth_year.contains("person.birth_date              yes  year"));
    let wider = matrix_of("\"person.gender\"", "\"person.postcode\"");
    assert!(wider.contains("person.postcode [L]            yes  as-is"));
    assert_ne!(now, wider);
}
