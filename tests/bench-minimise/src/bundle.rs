//! A Bundle of some 50 KB about one person, as a record holder may answer it: identifiers, codings, references, narrative
//! and notes, without blanks between them.

use std::fmt::Write as _;

/// A Bundle of one Patient and this many visits, each with findings.
pub fn bundle(visits: usize) -> String {
    let mut text = format!(
        "{{\"resourceType\":\"Bundle\",\"id\":\"b7f3c2d4-5a1e-4c1b-9f7a-0d2e6c1a9b11\",\"type\":\"searchset\",\"total\":{},\
         \"link\":[{{\"relation\":\"self\",\"url\":\"https://records.example.org/Patient/$everything\"}}],\"entry\":[",
        1 + visits * 3
    );
    text.push_str(PATIENT);
    for visit in 0..visits {
        encounter(visit, &mut text);
        for finding in 0..2 {
            observation(visit, finding, &mut text);
        }
    }
    text.push_str("]}");
    text
}

const PATIENT: &str = concat!(
    r#"{"fullUrl":"https://records.example.org/Patient/9732110317","resource":{"resourceType":"Patient","id":"9732110317","#,
    r#""meta":{"versionId":"5","security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"U"}]},"#,
    r#""identifier":[{"system":"https://fhir.nhs.uk/Id/nhs-number","value":"9732110317","extension":[{"url":"https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-NHSNumberVerificationStatus","valueCodeableConcept":{"coding":[{"code":"01"}]}}]}],"#,
    r#""name":[{"id":"1","use":"usual","period":{"start":"2020-01-01"},"given":["Adrian"],"family":"Sanderson","prefix":["Mr"]}],"#,
    r#""gender":"male","birthDate":"1936-06-21","address":[{"use":"home","line":["3984 Tomika Greens"],"postalCode":"ZY5T 2PX"}]},"search":{"mode":"match"}}"#,
);

const REASONS: [&str; 4] = [
    "Fell in the kitchen in the night; found by a neighbour in the morning",
    "Review of the package of care after discharge",
    "Said to be \"all right\", but the heating is off and there is little food",
    "Asked for somebody to look at the smoke alarms; café owner below worried too",
];

const NOTES: [&str; 4] = [
    "Walks with a frame indoors. The hall is full of boxes, so that the way to the front door is narrow; agreed to move them with the help of a cousin. The back door is the way in at night, and the key is with the warden on the ground floor of the next block.",
    "Uses emollient creams and smokes in bed. Told of the danger; wants a visit from the fire service.\nPrefers mornings, after the first of the four care visits of the day, which is at half past eight; asks that nobody is sent alone.",
    "No change since the last visit. Medicines are taken as they should be, and the pendant alarm is worn. Weight is steady, sleep is better than in the summer, and the daughter has been to stay for a week; the next review is in three months.",
    "Hearing is worse: does not hear the alarm in the bedroom. A strobe and a vibrating pad were offered and accepted – to be fitted by the end of the month. Until then a neighbour has agreed to knock if an alarm goes off in the night.",
];

fn encounter(visit: usize, text: &mut String) {
    let (day, reason) = (1 + visit % 28, escaped(REASONS[visit % 4]));
    let _ = write!(
        text,
        ",{{\"fullUrl\":\"https://records.example.org/Encounter/enc-{visit:04}\",\"resource\":{{\"resourceType\":\"Encounter\",\
         \"id\":\"enc-{visit:04}\",\"meta\":{{\"versionId\":\"2\",\"lastUpdated\":\"2026-10-{day:02}T09:14:07.123+00:00\"}},\
         \"text\":{{\"status\":\"generated\",\"div\":\"<div xmlns=\\\"http://www.w3.org/1999/xhtml\\\">Visit {visit}</div>\"}},\
         \"status\":\"finished\",\"class\":{{\"system\":\"http://terminology.hl7.org/CodeSystem/v3-ActCode\",\"code\":\"HH\",\"display\":\"home health\"}},\
         \"subject\":{{\"reference\":\"Patient/9732110317\"}},\"participant\":[{{\"individual\":{{\"reference\":\"Practitioner/p-{}\",\"display\":\"Priya Nair\"}}}}],\
         \"period\":{{\"start\":\"2026-10-{day:02}T08:30:00+01:00\",\"end\":\"2026-10-{day:02}T09:05:00+01:00\"}},\
         \"reasonCode\":[{{\"text\":\"{reason}\"}}]}},\"search\":{{\"mode\":\"include\"}}}}",
        visit % 5
    );
}

fn observation(visit: usize, finding: usize, text: &mut String) {
    let (day, note) = (1 + visit % 28, escaped(NOTES[(visit + finding) % 4]));
    let (code, display, unit) = if finding == 0 {
        ("165816005", "Mobility finding", "{score}")
    } else {
        ("8480-6", "Systolic blood pressure", "mmHg")
    };
    let _ = write!(
        text,
        ",{{\"fullUrl\":\"https://records.example.org/Observation/obs-{visit:04}-{finding}\",\"resource\":{{\"resourceType\":\"Observation\",\
         \"id\":\"obs-{visit:04}-{finding}\",\"meta\":{{\"versionId\":\"1\",\"lastUpdated\":\"2026-10-{day:02}T09:14:07.123+00:00\"}},\
         \"status\":\"final\",\"category\":[{{\"coding\":[{{\"system\":\"http://terminology.hl7.org/CodeSystem/observation-category\",\"code\":\"exam\",\"display\":\"Exam\"}}]}}],\
         \"code\":{{\"coding\":[{{\"system\":\"http://snomed.info/sct\",\"code\":\"{code}\",\"display\":\"{display}\"}}]}},\
         \"subject\":{{\"reference\":\"Patient/9732110317\"}},\"encounter\":{{\"reference\":\"Encounter/enc-{visit:04}\"}},\
         \"effectiveDateTime\":\"2026-10-{day:02}T08:45:00+01:00\",\"performer\":[{{\"reference\":\"Practitioner/p-1\"}}],\
         \"valueQuantity\":{{\"value\":{}.{},\"unit\":\"{unit}\",\"system\":\"http://unitsofmeasure.org\",\"code\":\"{unit}\"}},\
         \"note\":[{{\"text\":\"{note}\",\"time\":\"2026-10-{day:02}T08:50:00+01:00\"}}]}},\"search\":{{\"mode\":\"include\"}}}}",
        100 + visit,
        visit % 10
    );
}

fn escaped(text: &str) -> String {
    text.replace('"', "\\\"").replace('\n', "\\n")
}
