//! The writer's promises: all or nothing, re-checked inside the transaction, one order, nothing lost on the way.

use jiff::Timestamp;
use ledger::entry::{Actor, Body, Entry};
use sharing::{
    ConsentId, Pseudonym, SubjectIdentifier, SubjectScheme,
    subject::{ConsentRecord, ConsentStatus, ConsentType},
};
use zeroize::Zeroizing;

use crate::{
    AgreementRow, Change, CommitError, ConsentRow, LookupKey, Recheck, ReplayGuard, Settings, Store,
    Submission, WrappingKeys, scratch,
};

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

async fn open(folder: &std::path::Path) -> Store {
    let settings = Settings {
        database: scratch::database(folder).await,
        checkpoint_copy: folder.join("checkpoint.txt"),
        origin: "ledger.example/store".to_owned(),
        signing_seeds: Zeroizing::new(vec![[5; 32]]),
        archived: None,
        lookup_key: LookupKey::new([6; 32]),
        wrapping_keys: WrappingKeys::new(vec![[8; 32]]),
        skew_max: None,
        queue_max: 1_024,
        readers_max: 2,
    };
    Store::open(settings, now()).await.unwrap()
}

fn actor() -> Actor {
    Actor {
        organisation: "trafford-council".to_owned(),
        service: None,
        system: "case".to_owned(),
        practitioner: Some("SW-1".to_owned()),
        role: None,
        unattended_owner: None,
        certificate_sha256: "00".to_owned(),
    }
}

fn read_of(name: &Pseudonym) -> Body {
    Body::SubjectRecordRead {
        subject: name.to_string(),
        what: "consent".to_owned(),
        purpose: None,
        by: actor(),
    }
}

fn withdrawal(number: u128) -> Change {
    Change::ChangeConsent {
        id: ConsentId::from_random(number),
        status: ConsentStatus::Withdrawn,
        ended_at: Some(now()),
        expires_at: None,
        reason: None,
    }
}

fn consent(number: u128, name: &Pseudonym) -> ConsentRow {
    ConsentRow {
        record: ConsentRecord {
            id: ConsentId::from_random(number),
            consent_type: ConsentType::ConfidentialityConsent,
            status: ConsentStatus::Given,
            controller: "trafford-council".parse().unwrap(),
            recipients: vec!["gmca".parse().unwrap()],
            purposes: vec![sharing::PurposeClass::SafeAndWellReferral],
            given_by: sharing::subject::GivenBy::Person,
            recorded_at: now(),
            given_at: now(),
            expires_at: None,
            ended_at: None,
            shown: None,
        },
        subject: name.clone(),
        recorded_by: "trafford-council".parse().unwrap(),
        withdrawn_at: None,
        details: "{}".to_owned(),
        status_reason: None,
    }
}

fn submission(entry: Body, changes: Vec<Change>) -> Submission {
    let mut submission = Submission::of(now(), vec![entry]);
    submission.changes = changes;
    submission
}

/// A person, an agreement in force, and a consent.
async fn a_person(store: &Store) -> Pseudonym {
    let identifier = SubjectIdentifier::parse(SubjectScheme::NhsNumber, "9732110317").unwrap();
    let resolved = store.resolve(&identifier, Pseudonym::from_random(1)).await.unwrap();
    let name = resolved.pseudonym.clone();
    store.commit(submission(read_of(&name), vec![Change::KnowSubject(resolved)])).await.unwrap();
    let row = AgreementRow {
        agreement: "a".parse().unwrap(),
        version: 1,
        digest: "d".to_owned(),
        status: "active".to_owned(),
    };
    let activate = Change::ActivatePolicies {
        revision: 1,
        digest: "p".to_owned(),
        agreements: vec![row],
        files: "[]".to_owned(),
    };
    store.commit(submission(read_of(&name), vec![activate])).await.unwrap();
    name
}

fn resting_on(names: Vec<(Pseudonym, i64)>, digest: &str, name: &Pseudonym) -> Submission {
    let mut submission = submission(read_of(name), Vec::new());
    submission.recheck = Some(Recheck {
        names,
        agreement: Some(("a".parse().unwrap(), digest.to_owned())),
        ..Recheck::default()
    });
    submission
}

#[tokio::test]
async fn what_changed_since_it_was_read_is_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let name = a_person(&store).await;
    let read = store.subject_state(std::slice::from_ref(&name)).await.unwrap();
    store.commit(resting_on(read.names.clone(), "d", &name)).await.unwrap();
    assert_eq!(store.commit(resting_on(read.names.clone(), "other", &name)).await, Err(CommitError::Changed));
    let size = store.head().await.unwrap().size;
    // A consent is recorded, then withdrawn: each makes what was read before worthless.
    let recorded = Change::RecordConsent(Box::new(consent(7, &name)));
    store.commit(submission(read_of(&name), vec![recorded])).await.unwrap();
    assert_eq!(store.commit(resting_on(read.names, "d", &name)).await, Err(CommitError::Changed));
    let read = store.subject_state(std::slice::from_ref(&name)).await.unwrap();
    assert_eq!(read.consents.len(), 1);
    store.commit(submission(read_of(&name), vec![withdrawal(7)])).await.unwrap();
    assert_eq!(store.commit(resting_on(read.names, "d", &name)).await, Err(CommitError::Changed));
    assert_eq!(store.head().await.unwrap().size, size + 2, "nothing of what was refused was written");
}

#[tokio::test]
async fn a_suspended_agreement_stops_what_rests_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let name = a_person(&store).await;
    let names = store.subject_state(std::slice::from_ref(&name)).await.unwrap().names;
    let row = AgreementRow {
        agreement: "a".parse().unwrap(),
        version: 1,
        digest: "d".to_owned(),
        status: "suspended".to_owned(),
    };
    let suspend = |revision| Change::ActivatePolicies {
        revision,
        digest: "p".to_owned(),
        agreements: vec![row.clone()],
        files: "[]".to_owned(),
    };
    assert!(
        store.commit(submission(read_of(&name), vec![suspend(3)])).await.is_err(),
        "revisions follow each other"
    );
    store.commit(submission(read_of(&name), vec![suspend(2)])).await.unwrap();
    assert_eq!(store.commit(resting_on(names, "d", &name)).await, Err(CommitError::Changed));
}

#[tokio::test]
async fn a_context_is_used_up_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let once = || {
        let mut submission = submission(read_of(&Pseudonym::from_random(1)), Vec::new());
        let expires = now() + jiff::SignedDuration::from_mins(5);
        submission.replay = Some(ReplayGuard { issuer: "i".to_owned(), jti: "j".to_owned(), expires });
        submission
    };
    store.commit(once()).await.unwrap();
    assert_eq!(store.commit(once()).await, Err(CommitError::Replayed));
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.commit(once()).await, Err(CommitError::Replayed));
}

#[tokio::test]
async fn an_open_question_ends_once_and_a_crash_closes_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let name = Pseudonym::from_random(1);
    let open_intent = |id: &str| Change::OpenIntent(id.to_owned());
    store.commit(submission(read_of(&name), vec![open_intent("dec_1"), open_intent("dec_2")])).await.unwrap();
    let close = || submission(read_of(&name), vec![Change::CloseIntent("dec_1".to_owned())]);
    store.commit(close()).await.unwrap();
    assert_eq!(store.commit(close()).await, Err(CommitError::NotOpen));
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    if store.is_shared() {
        // Another process may be the one that died, or may not have: it is watched first.
        let (mut watch, begun) = (crate::Watch::default(), std::time::Instant::now());
        for (after, closed) in [(0, 0), (14, 0), (15, 1), (16, 0)] {
            let seen = begun + std::time::Duration::from_secs(after);
            assert_eq!(store.close_for_silent(&mut watch, seen, now()).await.unwrap(), closed, "{after} s");
        }
        assert!(watch.leads());
    } else {
        assert_eq!(store.closed_at_start(), 1);
    }
    let last = store.leaves(store.head().await.unwrap().size - 1, 1).await.unwrap();
    let Body::Closure { decision_id, outcome, .. } = Entry::decode(&last[0].bytes).unwrap().body else {
        panic!("a closure")
    };
    assert_eq!((decision_id.as_str(), outcome.as_str()), ("dec_2", "indeterminate"));
}

#[tokio::test]
async fn many_at_once_share_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let waiting: Vec<_> = (0..500_u128)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                store.commit(submission(read_of(&Pseudonym::from_random(number)), Vec::new())).await
            })
        })
        .collect();
    let mut places = Vec::new();
    for one in waiting {
        places.push(one.await.unwrap().unwrap().entries[0].0);
    }
    places.sort_unstable();
    assert_eq!(places, (1..=500).collect::<Vec<u64>>(), "dense, and each its own");
    let head = store.head().await.unwrap();
    let mut frontier = ledger::tree::Frontier::empty();
    for leaf in store.leaves(0, 1_000).await.unwrap() {
        frontier.push(ledger::tree::leaf_hash(&leaf.bytes));
    }
    assert_eq!((head.size, head.root), (501, frontier.root()));
}

#[tokio::test]
async fn what_is_too_large_for_an_entry_stops_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let name = a_person(&store).await;
    let large = Body::AuditRead {
        what: "x".repeat(ledger::entry::LEAF_BYTES_MAX),
        by_operator: "nobody".to_owned(),
        from: 0,
        until: 1,
    };
    let (first, refused, last) = tokio::join!(
        store.commit(submission(read_of(&name), Vec::new())),
        store.commit(submission(large.clone(), Vec::new())),
        store.commit(submission(read_of(&name), Vec::new())),
    );
    assert!(first.is_ok() && last.is_ok());
    assert_eq!(refused, Err(CommitError::TooLarge));
    assert!(!store.commit_unattended(submission(large, Vec::new())));
}

#[tokio::test]
async fn no_identifier_is_in_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    a_person(&store).await;
    store.close().await;
    // What is in a server's files is the same rows.
    let Some(file) = scratch::database(folder.path()).await.file().map(std::path::Path::to_owned) else {
        return;
    };
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend(std::fs::read(file.with_extension("db-wal")).unwrap_or_default());
    assert!(!bytes.windows(10).any(|window| window == b"9732110317"));
}

#[tokio::test]
async fn without_its_checkpoint_copy_a_database_does_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    a_person(&store).await;
    store.close().await;
    drop(store);
    std::fs::remove_file(folder.path().join("checkpoint.txt")).unwrap();
    let settings = Settings {
        database: scratch::database(folder.path()).await,
        checkpoint_copy: folder.path().join("checkpoint.txt"),
        origin: "ledger.example/store".to_owned(),
        signing_seeds: Zeroizing::new(vec![[5; 32]]),
        archived: None,
        lookup_key: LookupKey::new([6; 32]),
        wrapping_keys: WrappingKeys::new(vec![[8; 32]]),
        skew_max: None,
        queue_max: 16,
        readers_max: 1,
    };
    let said = Store::open(settings, now()).await.unwrap_err().to_string();
    assert!(said.contains("the copy of the last checkpoint"), "{said}");
}

mod batches;
mod files;
mod kept;
mod trail;
