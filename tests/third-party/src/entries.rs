//! What a ledger in order could say: every kind of entry once, with its optional fields and without, then questions.

use ledger::entry::{Actor, AgreementRef, AgreementStamp, Body, ConsentShown, Decided};

/// When the ledger begins: microseconds since 1970.
pub const BEGIN_US: i64 = 1_795_000_000_000_000;

const DAY_US: i64 = 86_400_000_000;

/// An endless ledger that obeys its own rules.
pub fn bodies(public_key: &str) -> impl Iterator<Item = Body> {
    every_kind(public_key).into_iter().chain((0..).flat_map(round))
}

fn text(value: &str) -> String {
    value.to_owned()
}

fn digest(letter: char) -> String {
    letter.to_string().repeat(64)
}

fn actor() -> Actor {
    Actor {
        organisation: text("gmca"),
        service: Some(text("home-safety")),
        system: text("gmca-prevention"),
        practitioner: Some(text("P-1 \u{201c}é\u{1f600}\u{201d}")),
        role: Some(text("prevention-officer")),
        unattended_owner: None,
        certificate_sha256: digest('c'),
    }
}

fn job() -> Actor {
    let unattended_owner = Some(text("night-batch"));
    Actor { service: None, practitioner: None, role: None, unattended_owner, ..actor() }
}

fn decided(decision_id: &str, subject: &str) -> Decided {
    Decided {
        decision_id: text(decision_id),
        request_id: Some(text("0192f0c1-0000-7000-8000-000000000001")),
        by: actor(),
        provider: text("council"),
        recipient: text("gmca"),
        purpose: text("fire-prevention-targeting"),
        case_reference: text("HFSA-4417"),
        subject: text(subject),
        identifier_scheme: text("nhs-number"),
        asked: Vec::new(),
        agreement: Some(AgreementRef {
            agreement: text("gm-fire"),
            version: 2,
            flow: text("single-look-up"),
            digest: digest('a'),
        }),
        policy_revision: 1,
        permitted: vec![text("person.address:as-is"), text("person.birth_date:age-band")],
        reasons: Vec::new(),
        trace: vec![text("agreement-in-force=pass"), text("consent=n/a")],
        consents: Vec::new(),
        context_sha256: digest('d'),
        answer_only: false,
        grant: None,
        break_glass: None,
        guardrails: Vec::new(),
        list: None,
        within: Vec::new(),
    }
}

/// A question that is released and one that is refused.
/// A refusal of its own.
pub fn refusal(number: u64) -> Body {
    let [.., refused] = round(number);
    refused
}

fn round(number: u64) -> [Body; 3] {
    let decision_id = format!("dec_{number}");
    let subject = format!("sub_{}", number % 977);
    let refused = Decided {
        reasons: vec![text("purpose-not-agreed")],
        permitted: Vec::new(),
        ..decided(&format!("ref_{number}"), &subject)
    };
    [
        Body::Intent(Box::new(decided(&decision_id, &subject))),
        release(&decision_id, &subject),
        Body::Refusal(Box::new(refused)),
    ]
}

/// Somebody is asked for, comes into or leaves an office.
fn officer(action: &str, hand: &str) -> Body {
    Body::AgreementOfficerMoved {
        officer_id: text("off_1"),
        action: text(action),
        organisation: text("gmca"),
        person: text("P-9"),
        role: text("siro"),
        key: (action != "ended").then(|| text("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")),
        by: Actor { practitioner: Some(text(hand)), ..actor() },
    }
}

/// A step of something beside an agreement's course.
fn matter(revision: u64, action: &str, by: Option<Actor>) -> Body {
    Body::AgreementMatterMoved {
        agreement: text("gm-fire"),
        matter: text("mat_1"),
        about: text("dispute"),
        revision,
        version: 2,
        action: text(action),
        state: text("escalated"),
        reason: by.as_ref().map(|_| text("other")),
        text_sha256: by.as_ref().map(|_| digest('c')),
        by,
    }
}

/// A step of an agreement.
fn step(revision: u64, action: &str, by: Option<Actor>) -> Body {
    Body::AgreementMoved {
        agreement: text("gm-fire"),
        revision,
        version: 2,
        terms_sha256: digest('b'),
        action: text(action),
        state: text("draft"),
        scope: by.as_ref().map(|_| text("flow:single-look-up")),
        reason: by.as_ref().map(|_| text("other")),
        text_sha256: by.as_ref().map(|_| digest('c')),
        by,
    }
}

fn list_moved(action: &str, reason: Option<String>) -> Body {
    Body::ListMoved {
        list_id: text("lst_1"),
        action: text(action),
        chunk: 0,
        answered: 2,
        released: 1,
        reason,
    }
}

fn release(decision_id: &str, subject: &str) -> Body {
    Body::Release {
        decision_id: text(decision_id),
        subjects: vec![text(subject)],
        items: vec![text("person.birth_date:age-band")],
        record_sha256: digest('e'),
        obligations: vec![text("no-onward-sharing")],
        policy_revision: 1,
        consents: Vec::new(),
        observed: Vec::new(),
    }
}

/// Every kind of entry. `Body::kind` lists them; the test that reads this compares the two.
#[expect(clippy::too_many_lines, reason = "a list")]
fn every_kind(public_key: &str) -> Vec<Body> {
    let stamp = AgreementStamp {
        agreement: text("gm-fire"),
        version: 2,
        digest: digest('a'),
        status: text("active"),
        effective_us: BEGIN_US - DAY_US,
        ends_us: BEGIN_US + 365 * DAY_US,
    };
    let (subject, by) = (text("sub_a"), actor());
    let (from_us, until_us) = (BEGIN_US, BEGIN_US + DAY_US);
    let under_everything = Decided {
        request_id: None,
        by: job(),
        agreement: None,
        grant: Some(text("grt_1")),
        break_glass: Some(text("bgl_1")),
        guardrails: vec![text("restricted")],
        list: Some(ledger::entry::ListRef { list_id: text("lst_1"), people: 2 }),
        within: vec![text("gm-fire")],
        ..decided("dec_referred", "sub_b")
    };
    vec![
        Body::LogOpened { origin: text(crate::ORIGIN), public_key: text(public_key) },
        Body::PolicySetActivated { revision: 1, digest: digest('p'), agreements: vec![stamp] },
        Body::PolicySetRejected { digest: Some(digest('q')), code: text("unsigned") },
        Body::PolicySetRejected { digest: None, code: text("unreadable") },
        Body::Intent(Box::new(decided("dec_a", "sub_a"))),
        release("dec_a", "sub_a"),
        Body::Refusal(Box::new(decided("dec_b", "sub_b"))),
        Body::Closure {
            decision_id: text("dec_b"),
            outcome: text("not_released"),
            reasons: vec![text("no-consent")],
            observed: vec![text("restricted:nhs-pds")],
            linked: vec![text("sub_b"), text("sub_c")],
        },
        Body::Referral(Box::new(under_everything)),
        Body::ConsentRecorded {
            consent_id: text("con_1"),
            subject: subject.clone(),
            consent_type: text("explicit"),
            status: text("given"),
            controller: text("council"),
            recipients: vec![text("gmca")],
            purposes: vec![text("safe-and-well-referral")],
            expires_us: Some(until_us),
            record_sha256: digest('f'),
            shown: Some(Box::new(ConsentShown {
                agreement: AgreementRef {
                    agreement: text("safe-and-well"),
                    version: 1,
                    flow: text("referral"),
                    digest: digest('a'),
                },
                provider: text("council-records"),
                items: vec![text("needs.mobility:as-is")],
                retain_days: 365,
                onward_sharing: false,
            })),
            by: by.clone(),
        },
        Body::ConsentStatusChanged {
            consent_id: text("con_1"),
            subject: subject.clone(),
            status: text("renewed"),
            by: by.clone(),
        },
        Body::ConsentWithdrawn { consent_id: text("con_1"), subject: subject.clone(), by: by.clone() },
        Body::ObjectionRecorded {
            objection_id: text("obj_1"),
            subject: subject.clone(),
            purposes: vec![text("safe-and-well-referral")],
            recipients: Vec::new(),
            by: by.clone(),
        },
        Body::ObjectionAnswered {
            objection_id: text("obj_1"),
            subject: subject.clone(),
            outcome: text("upheld"),
            by: by.clone(),
        },
        Body::RightsRequestMoved {
            request_id: text("rrq_1"),
            subject: subject.clone(),
            right: text("complaint"),
            action: text("answered"),
            controller: text("trafford-council"),
            of: Some(text("dec_1")),
            outcome: Some(text("upheld")),
            text_sha256: Some(text("00")),
            by: by.clone(),
        },
        Body::ObjectionEnded {
            objection_id: text("obj_1"),
            subject: subject.clone(),
            outcome: text("withdrawn"),
            by: by.clone(),
        },
        Body::RelationshipRecorded {
            relationship_id: text("rel_1"),
            subject: subject.clone(),
            organisation: text("council"),
            practitioner: None,
            relationship: text("key-worker"),
            from_us,
            until_us: Some(until_us),
            by: by.clone(),
        },
        Body::RelationshipEnded { relationship_id: text("rel_1"), subject: subject.clone(), by: by.clone() },
        Body::BreakGlassDeclared {
            break_glass_id: text("bgl_2"),
            subject: subject.clone(),
            organisation: text("gmca"),
            practitioner: text("P-1"),
            purpose: text("vital-interests"),
            reason: text("unconscious"),
            cannot_consent: true,
            statement_sha256: digest('1'),
            from_us,
            until_us,
            review_due_us: until_us,
            by: by.clone(),
        },
        Body::AlertMarksRecorded {
            of: text("practitioner"),
            reference: text("P-1"),
            marks: 3,
            by: by.clone(),
        },
        Body::AlertHandled {
            alert_id: text("alr_1"),
            action: text("escalated"),
            outcome: text("none"),
            by: None,
        },
        Body::ReferralMoved {
            decision_id: text("dec_referred"),
            action: text("taken"),
            text_sha256: digest('2'),
            by: by.clone(),
        },
        Body::GrantMade {
            grant_id: text("grt_2"),
            decision_id: text("dec_referred"),
            subject: subject.clone(),
            recipient: text("gmca"),
            practitioner: text("P-1"),
            provider: text("council"),
            purpose: text("fire-prevention-targeting"),
            items: vec![text("person.address:as-is")],
            from_us,
            until_us,
            reason_sha256: digest('3'),
            by: by.clone(),
        },
        Body::GrantRevoked { grant_id: text("grt_2"), subject: subject.clone(), by: by.clone() },
        Body::OptOutsImported {
            batch: text("ndo_1"),
            purpose: text("research"),
            checked: 12,
            expires_us: until_us,
        },
        Body::HoldPlaced {
            hold_id: text("hld_1"),
            subject: Some(subject.clone()),
            reason_sha256: digest('5'),
            by: by.clone(),
        },
        Body::HoldPlaced {
            hold_id: text("hld_2"),
            subject: None,
            reason_sha256: digest('6'),
            by: by.clone(),
        },
        Body::HoldLifted { hold_id: text("hld_1"), by: by.clone() },
        Body::HoldLifted { hold_id: text("hld_2"), by: by.clone() },
        Body::ErasureAsked {
            erasure_id: text("era_1"),
            subject: subject.clone(),
            ground: text("consent-withdrawn"),
            by: by.clone(),
        },
        Body::RecordsForgotten {
            ground: text("erasure"),
            records: vec![text("con_9")],
            people: vec![text("sub_forgotten")],
            request: Some(text("era_1")),
            by: Some(by.clone()),
        },
        Body::RecordsForgotten {
            ground: text("retention"),
            records: Vec::new(),
            people: vec![text("sub_forgotten_2")],
            request: None,
            by: None,
        },
        Body::VisibilityDecided {
            of: text("dec_a"),
            visibility: text("withheld"),
            until_us: Some(until_us),
            ground: Some(text("crime")),
            by: by.clone(),
        },
        Body::VisibilityDecided {
            of: text("dec_a"),
            visibility: text("visible"),
            until_us: None,
            ground: None,
            by: by.clone(),
        },
        Body::ExportRequested {
            export_id: text("exp_1"),
            format: text("ndjson"),
            selected_by: vec![text("subject")],
            filter_sha256: digest('7'),
            subjects: vec![text("sub_a")],
            purpose: text("service-improvement"),
            case_reference: text("AUDIT-1"),
            by: by.clone(),
        },
        Body::ExportMoved {
            export_id: text("exp_1"),
            action: text("approved"),
            until: None,
            file_sha256: None,
            from_byte: None,
            by: Some(by.clone()),
        },
        Body::ExportMoved {
            export_id: text("exp_1"),
            action: text("ready"),
            until: Some(12),
            file_sha256: Some(digest('8')),
            from_byte: None,
            by: None,
        },
        Body::BlockMoved {
            action: text("archived"),
            from: 0,
            until: 256,
            range_root: digest('9'),
            manifest_sha256: digest('a'),
        },
        officer("asked", "P-1"),
        officer("registered", "P-2"),
        step(1, "drafted", Some(by.clone())),
        Body::AgreementSigned {
            agreement: text("gm-fire"),
            revision: 2,
            version: 2,
            terms_sha256: digest('b'),
            state: text("awaiting-signature"),
            role: text("siro"),
            officer_id: text("off_1"),
            signature: text("eyJhbGciOiJFZERTQSJ9..c2ln"),
            by: Actor { practitioner: Some(text("P-9")), ..by.clone() },
        },
        step(3, "overdue", None),
        officer("ended", "P-2"),
        matter(1, "opened", Some(by.clone())),
        matter(2, "escalated", None),
        Body::LoadMoved {
            load_id: text("lod_1"),
            action: text("completed"),
            source_sha256: digest('b'),
            people: 3,
            consents: 2,
            by: by.clone(),
        },
        Body::ListBegan {
            list_id: text("lst_1"),
            provider: text("nhs-pds"),
            recipient: text("gmca"),
            purpose: text("fire-prevention-targeting"),
            case_reference: text("LIST/1"),
            people: 2,
            context_sha256: digest('9'),
            by: job(),
        },
        list_moved("chunk", None),
        list_moved("stopped", Some(text("ceiling-reached"))),
        Body::LookupKeyReplaced { identifiers: 3 },
        Body::WrappingKeyReplaced { keys: 2 },
        Body::DecisionRead { of: text("dec_a"), what: text("explanation"), by: by.clone() },
        Body::SubjectRecordRead { subject, what: text("consents"), purpose: Some(text("direct-care")), by },
        Body::RequestRefused {
            code: text("context-missing"),
            route: text("/v1/disclosures"),
            system: Some(text("gmca-prevention")),
            organisation: None,
            certificate_sha256: Some(digest('4')),
            request_id: None,
        },
        Body::RequestsShed {
            reason: text("too-many-requests"),
            system: Some(text("gmca-prevention")),
            organisation: Some(text("gmca")),
            count: 41,
            from_us: 1_700_000_000_000_000,
            until_us: 1_700_000_001_000_000,
        },
        Body::AccessTokenIssued {
            token_id: text("0192f0c1-0000-4000-8000-000000000002"),
            system: text("gmca-prevention"),
            organisation: text("gmca"),
            certificate_sha256: digest('4'),
            purposes: vec![text("fire-prevention-targeting")],
            actions: vec![text("decide"), text("read")],
            expires_us: BEGIN_US + 300_000_000,
        },
        Body::HandshakeRefused { reason: text("unknown-issuer"), count: 3 },
        Body::AuditRead { what: text("export"), by_operator: text("root"), from: 0, until: 27 },
    ]
}
