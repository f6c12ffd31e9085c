//! What the databases make of the statements that every question runs, with many people; and what a start checks of the ledger
//! without reading it all.

use ledger::entry::{Actor, Body};
use sharing::{
    Pseudonym, SubjectIdentifier, SubjectScheme,
    subject::{ConsentRecord, ConsentStatus, ConsentType, GivenBy},
};
use sqlx::Row as _;
use zeroize::Zeroizing;

use crate::{
    ConsentRow, LookupKey, Settings, Store, WrappingKeys,
    database::Access,
    loading::{LoadRow, LoadState, LoadedRow, Loading},
    reader::HELD,
    scratch, subjects,
};

const PEOPLE: u32 = 20_000;
/// Every fifth has a consent.
const WITH_CONSENT: u32 = 5;

fn now() -> jiff::Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

async fn settings(folder: &std::path::Path) -> Settings {
    Settings {
        database: scratch::database(folder).await,
        checkpoint_copy: folder.join("checkpoint.txt"),
        origin: "ledger.example/plans".to_owned(),
        signing_seeds: Zeroizing::new(vec![[5; 32]]),
        archived: None,
        lookup_key: LookupKey::new([6; 32]),
        wrapping_keys: WrappingKeys::new(vec![[8; 32]]),
        skew_max: None,
        queue_max: 16,
        readers_max: 2,
    }
}

fn actor() -> Actor {
    Actor {
        organisation: "trafford-council".to_owned(),
        service: None,
        system: "load".to_owned(),
        practitioner: None,
        role: None,
        unattended_owner: Some("operator".to_owned()),
        certificate_sha256: String::new(),
    }
}

fn name(number: u32) -> Pseudonym {
    Pseudonym::from_random(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn row(number: u32) -> LoadedRow {
    let scheme = SubjectScheme::Local("trafford-council".parse().unwrap());
    let consent = number.is_multiple_of(WITH_CONSENT).then(|| {
        let record = ConsentRecord {
            id: sharing::ConsentId::from_random(u128::from(number)),
            consent_type: ConsentType::ConfidentialityConsent,
            status: ConsentStatus::Given,
            controller: "trafford-council".parse().unwrap(),
            recipients: vec!["gmca".parse().unwrap()],
            purposes: vec![sharing::PurposeClass::SafeAndWellReferral],
            given_by: GivenBy::Person,
            recorded_at: now(),
            given_at: now(),
            expires_at: None,
            ended_at: None,
            shown: None,
        };
        let row = ConsentRow {
            record,
            subject: name(0),
            recorded_by: "trafford-council".parse().unwrap(),
            withdrawn_at: None,
            details: "{}".to_owned(),
            status_reason: None,
        };
        Box::new(row)
    });
    let identifier = SubjectIdentifier::parse(scheme, &format!("A-{number}")).unwrap();
    LoadedRow { identifier, fresh: name(number), consent }
}

fn entry(row: &ConsentRow) -> Body {
    Body::ConsentRecorded {
        consent_id: row.record.id.to_string(),
        subject: row.subject.to_string(),
        consent_type: "confidentiality-consent".to_owned(),
        status: "given".to_owned(),
        controller: "trafford-council".to_owned(),
        recipients: vec!["gmca".to_owned()],
        purposes: vec!["safe-and-well-referral".to_owned()],
        expires_us: None,
        record_sha256: "00".to_owned(),
        shown: None,
        by: actor(),
    }
}

async fn loaded(folder: &std::path::Path, people: u32) {
    let mut loading = Loading::open(settings(folder).await, now()).await.unwrap();
    let new = LoadRow {
        id: "lod_1".to_owned(),
        source_sha256: "11".to_owned(),
        is_generated: true,
        state: LoadState::Unfinished,
        rows_done: 0,
        people: 0,
        consents: 0,
        began_at: now(),
        ended_at: None,
    };
    assert_eq!(loading.begin(new, &actor()).await.unwrap(), 0);
    loading.portion((0..people).map(row).collect(), entry, now()).await.unwrap();
    let load = loading.complete(now(), &actor()).await.unwrap();
    assert_eq!((load.people, load.consents), (u64::from(people), u64::from(people / WITH_CONSENT)));
    loading.close().await;
}

#[tokio::test]
async fn no_question_reads_a_table_of_people_whole() {
    let folder = tempfile::tempdir().unwrap();
    loaded(folder.path(), PEOPLE).await;
    let database = scratch::database(folder.path()).await;
    let pool = database.connect(Access::LookUp, 1).await.unwrap();
    let explain = if database.is_shared() { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
    let one = serde_json::to_string(&[name(77)]).unwrap();
    let hashes = serde_json::to_string(&["00".repeat(32)]).unwrap();
    let whole = |plan: &[String]| {
        let tables = [
            "subject",
            "asked_about",
            "everybody",
            "subject_identifier",
            "consent",
            "objection",
            "subject_fact",
            "alert_mark",
            "opt_out_checked",
        ];
        plan.iter().any(|step| {
            tables.iter().any(|table| {
                step.contains(&format!("Seq Scan on {table}")) || step.starts_with(&format!("SCAN {table}"))
            })
        })
    };
    let plan_of = async |statement: &str, lists: &[&String]| -> Vec<String> {
        let sql = sqlx::AssertSqlSafe(format!("{explain} {statement}"));
        let mut asked = sqlx::query(sql);
        for list in lists {
            asked = asked.bind((*list).clone());
        }
        let rows = asked.fetch_all(&pool).await.unwrap();
        let column = if database.is_shared() { 0 } else { 3 };
        rows.iter().map(|row| row.get::<String, _>(column)).collect()
    };
    let held = [&hashes, &one, &hashes, &one, &one, &hashes];
    for (statement, lists) in [
        (HELD, held.as_slice()),
        (subjects::NAMES, &[&one]),
        (subjects::CONSENTS, &[&one]),
        (database.names_by_hash(), &[&hashes]),
    ] {
        let plan = plan_of(statement, lists).await;
        assert!(!whole(&plan), "{statement}\n{}", plan.join("\n"));
    }
    // One that has to is noticed.
    let plan = plan_of("SELECT revision FROM subject WHERE 'x' || pseudonym = $1", &[&one]).await;
    assert!(whole(&plan), "{}", plan.join("\n"));
}

#[tokio::test]
async fn a_start_finds_what_is_missing_or_changed_among_the_newest_entries() {
    let folder = tempfile::tempdir().unwrap();
    loaded(folder.path(), 3_000).await;
    let refused = async || {
        let opened = Store::open(settings(folder.path()).await, now()).await;
        opened.map(drop).map_err(|error| error.to_string())
    };
    let database = scratch::database(folder.path()).await;
    let edit = async |statement: &'static str| assert_eq!(scratch::edit(&database, statement).await, 1);
    edit("UPDATE ledger_entry SET seq = -300 WHERE seq = 300").await;
    assert!(refused().await.unwrap_err().contains("they are not all there"));
    edit("UPDATE ledger_entry SET seq = 300 WHERE seq = -300").await;
    edit("UPDATE ledger_entry SET leaf = CAST('{}' AS BLOB) WHERE seq = 300").await;
    assert!(refused().await.unwrap_err().contains("entry 300 is not the one that the tree has"));
}
