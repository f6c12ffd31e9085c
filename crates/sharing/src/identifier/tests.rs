//! Identifier rules, with the vectors the domain notes name.

use proptest::prelude::*;

use super::*;

#[test]
fn nhs_numbers_follow_modulus_eleven() {
    for valid in ["9000000009", "9000000025", "9000000033", "9111231130", "9732110317", "5900046192"] {
        assert!(valid.parse::<NhsNumber>().is_ok());
    }
    assert_eq!("9000000000".parse::<NhsNumber>(), Err(IdentifierError::NhsNumberCheckDigit));
    for shape in ["", "900000000", "90000000099", "900 000 0009", "９000000009", "900000000x"] {
        assert_eq!(shape.parse::<NhsNumber>(), Err(IdentifierError::NhsNumberShape));
    }
}

#[test]
fn nothing_personal_is_printed() {
    let number: NhsNumber = "9000000009".parse().unwrap();
    let subject = SubjectIdentifier::parse(SubjectScheme::NhsNumber, "9000000009").unwrap();
    assert!(!format!("{number:?} {subject:?}").contains("9000000009"));
    let error = "9000000000".parse::<NhsNumber>().unwrap_err();
    assert!(!error.to_string().contains("9000000000"));
}

#[test]
fn a_case_reference_cannot_carry_an_nhs_number() {
    assert!("HFSA/2026-04417".parse::<CaseReference>().is_ok());
    assert_eq!("case-9000000009".parse::<CaseReference>(), Err(IdentifierError::CaseReferenceNamesPerson));
    assert_eq!("x9000000009123".parse::<CaseReference>(), Err(IdentifierError::CaseReferenceNamesPerson));
    assert_eq!("a case".parse::<CaseReference>(), Err(IdentifierError::CaseReference));
}

#[test]
fn an_nhs_number_is_seen_whatever_stands_between_its_digits() {
    for text in [
        "9434765919",
        "943-476-5919",
        "943.476.5919",
        "943/476/5919",
        "943_476_5919",
        "9434-765919",
        "a943 476 5919b",
    ] {
        assert!(holds_nhs_number(text), "{text}");
        let reference: Result<CaseReference, _> = text.replace(' ', "|").replace('|', ".").parse();
        assert_eq!(reference, Err(IdentifierError::CaseReferenceNamesPerson), "{text}");
    }
    // Groups of a UUID may fit together by chance; the same without its shape is no UUID.
    let uuid = "aa943476-5919-4abc-8000-aaaaaaaaaaaa";
    assert!(holds_nhs_number("943476-5919-4abc-8000-aaaaaaaaaaaa"));
    assert!(!holds_nhs_number(uuid) && uuid.parse::<CaseReference>().is_ok());
    assert!(holds_nhs_number("12-943:476|5919-3"), "with others around it");
    for text in [
        "",
        "GMFRS-2041",
        "9434765918",      // the check digit does not fit
        "194347659190",    // a longer number
        "943a476b5919",    // words
        "2026-11-23/0042", // a date
    ] {
        assert!(!holds_nhs_number(text), "{text}");
    }
    // Numbers by years, one in eleven of which would fit.
    for number in 0..100 {
        let text = format!("HFSA/2026-{number:06}");
        assert!(!holds_nhs_number(&text) && text.parse::<CaseReference>().is_ok(), "{text}");
    }
}

#[test]
fn neighbours_are_the_nearest_first_and_have_check_digits() {
    let of = |text: &str| SubjectIdentifier::parse(SubjectScheme::NhsNumber, text).unwrap();
    let near = of("9000000009").neighbours(18);
    assert_eq!(near.len(), 36);
    let number = |one: &SubjectIdentifier| one.as_str().parse::<i64>().unwrap();
    let far: Vec<i64> = near.iter().map(|one| (number(one) - 9_000_000_009).abs()).collect();
    assert!(far.iter().step_by(2).is_sorted() && far.iter().skip(1).step_by(2).is_sorted(), "{far:?}");
    let local = SubjectIdentifier::parse("local:trafford-council".parse().unwrap(), "SWR-0002").unwrap();
    let local: Vec<_> = local.neighbours(2).iter().map(|one| one.as_str().to_owned()).collect();
    assert_eq!(local, ["SWR-0003", "SWR-0001", "SWR-0004", "SWR-0000"]);
}

#[test]
fn schemes_round_trip() {
    for text in ["nhs-number", "local:trafford-council"] {
        assert_eq!(text.parse::<SubjectScheme>().unwrap().to_string(), text);
    }
    assert!("uprn".parse::<SubjectScheme>().is_err());
}

proptest! {
    #[test]
    fn one_wrong_digit_is_always_noticed(prefix in 0u32..1_000_000_000, position in 0usize..10, change in 1u8..10) {
        let nine = format!("{prefix:09}");
        let whole = (0..10).map(|check| format!("{nine}{check}")).find(|text| text.parse::<NhsNumber>().is_ok());
        prop_assume!(whole.is_some());
        let mut bytes = whole.unwrap().into_bytes();
        bytes[position] = b'0' + (bytes[position] - b'0' + change) % 10;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(changed.parse::<NhsNumber>().is_err());
    }
}
