//! The index for searching, held against the entries themselves.

use std::collections::{BTreeSet, HashMap};

use jiff::SignedDuration;
use ledger::{
    entry::{Body, Decided, Entry},
    trail::{Field, Sight, Term, sight, terms},
    tree::{hexadecimal, leaf_hash},
};

use super::{actor, now, open, submission};
use crate::{
    Change, Store, StoredLeaf, Submission, Written,
    trail::{TrailIndex, TrailQuery},
};

/// Entries of two practitioners and three decisions, a second apart, two at a time.
async fn written(store: &Store) -> Vec<Entry> {
    for number in 0..30_i64 {
        let read = |of: i64| {
            let mut by = actor();
            by.practitioner = Some(format!("P-{}", of % 2));
            if of % 5 == 0 {
                by.organisation = "gmca".to_owned();
            }
            Body::DecisionRead { of: format!("dec_{}", of % 3), what: "explanation".to_owned(), by }
        };
        let at = now().checked_add(SignedDuration::from_secs(number)).unwrap();
        let both = vec![read(2 * number), read(2 * number + 1)];
        store.commit(Submission { at, entries: both, ..submission(read(0), Vec::new()) }).await.unwrap();
    }
    let leaves = store.leaves(0, 1_000).await.unwrap();
    leaves.iter().map(|leaf| Entry::decode(&leaf.bytes).unwrap()).collect()
}

fn expected(entries: &[Entry], query: &TrailQuery) -> Vec<u64> {
    let is_asked_for = |entry: &&Entry| {
        let of_it = terms(entry, None);
        query.all_of.iter().all(|group| group.iter().any(|term| of_it.contains(term)))
            && query.from_us.is_none_or(|from| entry.at_us >= from)
            && query.until_us.is_none_or(|until| entry.at_us < until)
            && query.before.is_none_or(|before| entry.seq < before)
            && query
                .seen_by
                .as_ref()
                .is_none_or(|mine| sight(entry, None).is_some_and(|of| mine.contains(&of)))
    };
    entries.iter().rev().filter(is_asked_for).map(|entry| entry.seq).collect()
}

/// Waits until the writer is done with what it has answered: it holds in memory what was written after it has answered.
async fn settled(store: &Store) {
    let mut nothing = submission(closure(0), vec![Change::EvaluatedUntil(0)]);
    nothing.entries.clear();
    store.commit(nothing).await.unwrap();
}

/// Every entry from a place on, as whoever follows the ledger comes by them.
async fn followed(store: &Store, mut next: u64, limit: u32) -> Vec<Written> {
    let mut all = Vec::new();
    loop {
        let entries = store.entries_from(next, limit).await.unwrap();
        let Some(last) = entries.last() else { return all };
        next = last.entry.seq + 1;
        all.extend(entries);
    }
}

#[tokio::test]
async fn what_is_followed_is_what_the_ledger_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let entries = written(&store).await;
    let as_stored = |leaves: &[StoredLeaf]| -> Vec<_> {
        let stored = |leaf: &StoredLeaf| (Entry::decode(&leaf.bytes).unwrap(), leaf_hash(&leaf.bytes));
        leaves.iter().map(stored).collect()
    };
    let told = |written: &[Written]| -> Vec<_> {
        written.iter().map(|written| ((*written.entry).clone(), written.hash)).collect()
    };
    let stored = as_stored(&store.leaves(0, 1_000).await.unwrap());
    assert_eq!(stored.len(), entries.len());
    for limit in [1, 7, 1_000] {
        assert_eq!(told(&followed(&store, 0, limit).await), stored);
        assert_eq!(told(&followed(&store, 20, limit).await), stored[20..]);
    }
    settled(&store).await;
    assert_eq!(store.recent.from(0, 1_000).len(), stored.len(), "what was written here is held in memory");
    // Another start holds none of these, and then what it writes.
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.recent.from(0, 1_000), []);
    assert_eq!(told(&followed(&store, 0, 7).await), stored);
    written(&store).await;
    let before = stored.len();
    let stored = as_stored(&store.leaves(0, 1_000).await.unwrap());
    assert_eq!(told(&followed(&store, 0, 7).await), stored);
    settled(&store).await;
    assert_eq!(store.recent.from(u64::try_from(before).unwrap(), 1_000).len(), stored.len() - before);
}

fn intent(number: u64) -> Body {
    Body::Intent(Box::new(Decided {
        decision_id: format!("dec_{number}"),
        request_id: None,
        by: actor(),
        provider: "nhs-pds".to_owned(),
        recipient: "gmca".to_owned(),
        purpose: "fire-prevention-targeting".to_owned(),
        case_reference: format!("C-{number}"),
        subject: "sub_1".to_owned(),
        identifier_scheme: "nhs-number".to_owned(),
        asked: Vec::new(),
        agreement: None,
        policy_revision: 1,
        permitted: Vec::new(),
        reasons: Vec::new(),
        trace: Vec::new(),
        consents: Vec::new(),
        context_sha256: "00".to_owned(),
        answer_only: false,
        grant: None,
        break_glass: None,
        guardrails: Vec::new(),
        list: None,
        within: Vec::new(),
    }))
}

fn closure(number: u64) -> Body {
    let (decision_id, outcome) = (format!("dec_{number}"), "abandoned".to_owned());
    Body::Closure { decision_id, outcome, reasons: Vec::new(), observed: Vec::new(), linked: Vec::new() }
}

#[tokio::test]
async fn what_decided_a_question_is_the_same_from_memory_and_from_the_database() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for number in 0..6 {
        store.commit(submission(intent(number), Vec::new())).await.unwrap();
    }
    for number in 0..5 {
        store.commit(submission(closure(number), Vec::new())).await.unwrap();
    }
    let ends = |store: Store| async move {
        let entries = followed(&store, 0, 1_000).await;
        let ends: Vec<_> = entries.into_iter().filter(|one| one.entry.body.kind() == "closure").collect();
        assert_eq!(ends.len(), 5);
        // Two that follow the third, and one that nothing decided.
        let mut some = vec![ends[2].clone(), ends[4].clone(), ends[2].clone()];
        let mut lost = (*ends[0].entry).clone();
        lost.body = closure(77);
        some.push(Written { entry: lost.into(), hash: [0; 32] });
        (some.clone(), store.deciding(&some).await.unwrap())
    };
    let (mut wanted, known) = (BTreeSet::from(["dec_2", "dec_5", "dec_77"]), &mut HashMap::new());
    store.recent.deciding(u64::MAX, &mut wanted, known);
    assert_eq!((wanted.len(), known.len()), (1, 2), "they are found in memory");
    let (mut early, none) = (BTreeSet::from(["dec_2"]), &mut HashMap::new());
    store.recent.deciding(3, &mut early, none);
    assert!(none.is_empty(), "an entry before it, or it, cannot follow it");
    store.recent.deciding(4, &mut early, none);
    assert!(early.is_empty() && none.contains_key("dec_2"));
    let from_memory = ends(store.clone()).await;
    assert_eq!(
        from_memory.1.keys().collect::<BTreeSet<_>>(),
        BTreeSet::from([&"dec_2".to_owned(), &"dec_4".to_owned()])
    );
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(store.recent.from(0, 1_000), []);
    assert_eq!(ends(store).await, from_memory);
}

/// The index's file, opened by somebody else.
async fn beside(file: &std::path::Path) -> sqlx::SqlitePool {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).create_if_missing(true);
    sqlx::SqlitePool::connect_with(options).await.unwrap()
}

fn term(field: Field, value: &str) -> Vec<Term> {
    vec![Term::new(field, value)]
}

fn writer(organisation: &str) -> Sight {
    Sight::Writer(organisation.to_owned())
}

/// Everything that the index finds is what there is, also so many at a time, of so many that are looked at.
async fn is_found(index: &TrailIndex, entries: &[Entry], limit: u32, scanned_max: u64) {
    // A place in the middle, and one at the border of a block.
    let middle = entries.len() as u64 / 2;
    let border = (entries.len() as u64).saturating_sub(900) / 1_024 * 1_024;
    let second = |number: i64| Some(now().as_microsecond() + number * 1_000_000);
    let searches = [
        vec![],
        vec![term(Field::Kind, "decision_read")],
        vec![term(Field::Kind, "decision_read"), term(Field::Practitioner, "P-1")],
        vec![term(Field::Practitioner, "P-1"), term(Field::Reference, "dec_2")],
        vec![
            [term(Field::Reference, "dec_0"), term(Field::Reference, "dec_1")].concat(),
            term(Field::Practitioner, "P-0"),
        ],
        vec![term(Field::Practitioner, "P-1"), term(Field::Practitioner, "P-0")],
    ];
    let officers = [
        None,
        Some(vec![Sight::Holder("nhs-pds".to_owned()), writer("gmca")]),
        Some(vec![writer("gmca"), writer("trafford-council")]),
        Some(vec![writer("nobody-here")]),
        Some(vec![]),
    ];
    let both = searches.iter().flat_map(|all_of| officers.iter().map(move |seen_by| (all_of, seen_by)));
    for (all_of, seen_by) in both {
        for (from_us, until_us, before) in [
            (None, None, None),
            (second(10), None, None),
            (None, second(10), Some(30)),
            (second(5), second(20), None),
            (second(100), None, None),
            (second(33), second(35), None),
            (second(31), second(37), Some(middle)),
            (None, None, Some(border)),
            (None, None, Some(border + 1)),
        ] {
            let (all_of, seen_by) = (all_of.clone(), seen_by.clone());
            let query = TrailQuery { all_of, from_us, until_us, before, seen_by };
            let wanted = expected(entries, &query);
            assert_eq!(index.find(&query, 10_000).await.unwrap(), wanted, "{query:?}");
            let (mut found, mut going_on) = (Vec::new(), query.clone());
            for _ in 0..100 {
                let places = index.look_at(&going_on, limit, scanned_max).await.unwrap();
                let last = places.found.last().copied();
                found.extend(places.found.iter().copied());
                let Some(next) = places.stopped_at.or(last) else { break };
                going_on.before = Some(next);
            }
            assert_eq!(found, wanted, "a little at a time: {query:?}");
            let once: BTreeSet<_> = found.iter().collect();
            assert_eq!(once.len(), found.len(), "nothing twice");
        }
    }
}

/// Of one commit there is one time, and a block begins anywhere in it.
#[tokio::test]
async fn it_finds_what_there_is_in_many_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    written(&store).await;
    let index = TrailIndex::open(&folder.path().join("trail")).await.unwrap();
    for second in 30..38 {
        let read = |number: usize| {
            // Some are in every place of a block, some in a few of it, and some in a few blocks.
            let is_odd = number % 97 == 5;
            let practitioner = Some(format!("P-{}", if is_odd { 1 } else { 2 * (number % 2) }));
            let by = ledger::entry::Actor { practitioner, ..actor() };
            // And each third has a name that no other has: more of them at a time than go into one statement.
            let of = match number % 3 {
                1 if !is_odd => format!("dec_{second}-{number}"),
                _ => format!("dec_{}", if second % 3 == 0 && is_odd { 2 } else { 7 }),
            };
            Body::DecisionRead { of, what: "explanation".to_owned(), by }
        };
        let at = now().checked_add(SignedDuration::from_secs(second)).unwrap();
        let many =
            Submission { at, entries: (0..700).map(read).collect(), ..submission(read(0), Vec::new()) };
        store.commit(many).await.unwrap();
        if second % 2 == 0 {
            index.catch_up(&store).await.unwrap();
        }
    }
    index.catch_up(&store).await.unwrap();
    let leaves = store.leaves(0, 10_000).await.unwrap();
    let entries: Vec<_> = leaves.iter().map(|leaf| Entry::decode(&leaf.bytes).unwrap()).collect();
    assert!(entries.len() > 5_000);
    is_found(&index, &entries, 500, 700).await;
    for (second, number) in [(30, 1), (33, 601), (37, 697)] {
        let reference = term(Field::Reference, &format!("dec_{second}-{number}"));
        let query = TrailQuery { all_of: vec![reference], ..TrailQuery::default() };
        let wanted = expected(&entries, &query);
        assert_eq!((wanted.len(), index.find(&query, 10).await.unwrap()), (1, wanted));
    }
    // Of what most entries have, a look ends with the blocks that it may look at, and says where.
    let rare = vec![term(Field::Kind, "decision_read"), term(Field::Practitioner, "P-1")];
    let query = TrailQuery { all_of: rare, ..TrailQuery::default() };
    let all = expected(&entries, &query);
    let look = index.look_at(&query, 10_000, 1).await.unwrap();
    let stopped_at = look.stopped_at.unwrap();
    assert!(!look.found.is_empty() && look.found.len() < all.len());
    assert_eq!(look.found, all.into_iter().filter(|place| *place >= stopped_at).collect::<Vec<_>>());
}

#[tokio::test]
async fn it_finds_what_there_is_however_little_it_looks_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let entries = written(&store).await;
    let index = TrailIndex::open(&folder.path().join("trail")).await.unwrap();
    index.catch_up(&store).await.unwrap();
    is_found(&index, &entries, 4, 7).await;
    // What is others' to see is not passed over: of what these officers see, one look has the end.
    let seen_by = Some(vec![writer("gmca")]);
    let of_them = TrailQuery {
        all_of: vec![term(Field::Kind, "decision_read")],
        seen_by: seen_by.clone(),
        ..TrailQuery::default()
    };
    let places = index.look_at(&of_them, 100, 1).await.unwrap();
    assert_eq!((places.found.len(), places.stopped_at), (expected(&entries, &of_them).len(), None));
    // And a person, a case or a decision is looked for in both.
    let of_one =
        TrailQuery { all_of: vec![term(Field::Reference, "dec_0")], seen_by, ..TrailQuery::default() };
    assert!(!expected(&entries, &of_one).is_empty());
    assert_eq!(index.find(&of_one, 100).await.unwrap(), expected(&entries, &of_one));
}

#[tokio::test]
async fn an_index_of_an_earlier_form_is_made_again_and_its_program_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let entries = written(&store).await;
    for (form, taken_in) in [(2, "known"), (3, "taken_in_3")] {
        let file = folder.path().join(format!("trail-{form}"));
        let earlier = beside(&file).await;
        let made = format!(
            "PRAGMA user_version = {form}; CREATE TABLE {taken_in} (id BIGINT PRIMARY KEY, size BIGINT NOT NULL, last TEXT NOT NULL);
            CREATE TABLE posting (name BIGINT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (name, seq)) WITHOUT ROWID;
            CREATE TABLE written (seq BIGINT PRIMARY KEY, at_us BIGINT NOT NULL); CREATE INDEX written_by_time ON written (at_us);
            INSERT INTO {taken_in} VALUES (1, 7, 'x'); INSERT INTO posting VALUES (1, 1); INSERT INTO written VALUES (0, 1);"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&earlier).await.unwrap();
        let index = TrailIndex::open(&file).await.unwrap();
        index.catch_up(&store).await.unwrap();
        let query = TrailQuery { seen_by: Some(vec![writer("gmca")]), ..TrailQuery::default() };
        assert_eq!(index.find(&query, 1_000).await.unwrap(), expected(&entries, &query));
        let taken = format!("SELECT size FROM {taken_in} WHERE id = 1");
        let taken = sqlx::query(sqlx::AssertSqlSafe(taken)).fetch_optional(&earlier).await;
        assert!(taken.unwrap_err().to_string().contains("no such table"), "an earlier program stops here");
    }
}

#[tokio::test]
async fn an_index_that_has_what_the_ledger_lost_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let entries = written(&store).await;
    let file = folder.path().join("trail");
    let index = TrailIndex::open(&file).await.unwrap();
    let size = index.catch_up(&store).await.unwrap();
    store.close().await;
    drop(store);
    // As after the database was put back: the index has one more, and this process remembers having written it.
    let store = open(folder.path()).await;
    let lost = Entry { seq: size, body: closure(0), ..entries.last().unwrap().clone() };
    let hash = leaf_hash(&lost.encode().unwrap());
    store.recent.push([(Written { entry: lost.into(), hash }, 100)]);
    assert_eq!(store.recent.from(size, 1).len(), 1);
    let beside = beside(&file).await;
    sqlx::query("UPDATE taken_in_4 SET size = size + 1, last = $1")
        .bind(hexadecimal(&hash))
        .execute(&beside)
        .await
        .unwrap();
    index.catch_up(&store).await.unwrap();
    let has: i64 = sqlx::query_scalar("SELECT size FROM taken_in_4").fetch_one(&beside).await.unwrap();
    assert_eq!(u64::try_from(has).unwrap(), size);
}

/// Whoever takes entries in, and whoever searches, finds what is no block: it is made again.
#[tokio::test]
async fn an_index_that_is_damaged_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let entries = written(&store).await;
    let file = folder.path().join("trail");
    let index = TrailIndex::open(&file).await.unwrap();
    index.catch_up(&store).await.unwrap();
    let beside = beside(&file).await;
    let query = TrailQuery { all_of: vec![term(Field::Kind, "decision_read")], ..TrailQuery::default() };
    let damage = || sqlx::query("UPDATE posting SET places = x'ff'").execute(&beside);

    damage().await.unwrap();
    let said = index.find(&query, 100).await.unwrap_err().to_string();
    assert!(said.contains("is made again"), "{said}");
    index.wanted().await;
    index.caught_up(&store).await.unwrap().unwrap();
    assert_eq!(index.find(&query, 100).await.unwrap(), expected(&entries, &query));

    damage().await.unwrap();
    let more = written(&store).await;
    index.catch_up(&store).await.unwrap();
    assert_eq!(index.find(&query, 1_000).await.unwrap(), expected(&more, &query));
}

#[tokio::test]
async fn an_index_says_when_it_is_far_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let index = TrailIndex::open(&folder.path().join("trail")).await.unwrap();
    index.catch_up(&store).await.unwrap();
    let many = |count| Submission { entries: vec![closure(0); count], ..submission(closure(0), Vec::new()) };
    store.commit(many(199)).await.unwrap();
    assert!(!index.is_far_behind(&store));
    store.commit(many(1)).await.unwrap();
    assert!(index.is_far_behind(&store));
    index.catch_up(&store).await.unwrap();
    assert!(!index.is_far_behind(&store));
}

/// A writer that has stopped for good does not know what the ledger is.
#[tokio::test]
async fn a_writer_that_has_stopped_remembers_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let Some(file) = store.database.file().map(std::path::Path::to_owned) else { return };
    written(&store).await;
    settled(&store).await;
    assert_ne!(store.recent.from(0, 1_000), []);
    std::fs::rename(&file, file.with_extension("away")).unwrap();
    std::fs::copy(file.with_extension("away"), &file).unwrap();
    store.commit(submission(closure(0), Vec::new())).await.unwrap_err();
    let given_up = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while store.is_writable() {
        assert!(std::time::Instant::now() < given_up);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(store.recent.from(0, 1_000), []);
}

#[tokio::test]
async fn nobody_waits_for_an_index_that_has_far_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let file = folder.path().join("trail");
    let index = TrailIndex::open(&file).await.unwrap();
    let read = || Body::DecisionRead { of: "dec_0".to_owned(), what: "explanation".to_owned(), by: actor() };
    let many = || Submission { entries: vec![read(); 1_000], ..submission(read(), Vec::new()) };
    for _ in 0..4 {
        store.commit(many()).await.unwrap();
    }
    let size = store.head().await.unwrap().size;
    assert_eq!(index.caught_up(&store).await.unwrap(), Ok(size), "so much is waited for");
    for _ in 0..11 {
        store.commit(many()).await.unwrap();
    }
    let behind = index.caught_up(&store).await.unwrap().unwrap_err();
    assert_eq!((behind.taken, behind.size), (size, size + 11_000));
    assert!(behind.ready_in_s.is_some_and(|seconds| seconds > 0), "as fast as the last time: {behind:?}");
    index.wanted().await;
    index.catch_up(&store).await.unwrap();
    assert_eq!(index.caught_up(&store).await.unwrap(), Ok(size + 11_000));
    let query =
        TrailQuery { all_of: vec![vec![Term::new(Field::Reference, "dec_0")]], ..TrailQuery::default() };
    assert_eq!(
        index.find(&query, 20_000).await.unwrap().len(),
        15_000,
        "all of it, whatever was taken in together"
    );
    // Another ledger's says nothing of how far it is with this one.
    let other = tempfile::tempdir().unwrap();
    let other = open(other.path()).await;
    for _ in 0..11 {
        other.commit(many()).await.unwrap();
    }
    assert_eq!(index.caught_up(&other).await.unwrap().unwrap_err().taken, 0);
}

/// What one program knows of the index by heart does not hold any more where another has begun it anew, or has gone on with it.
#[tokio::test]
async fn two_programs_take_entries_in_by_turns() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [here, there] = &folders;
    let (store, other) = (open(here.path()).await, open(there.path()).await);
    let file = here.path().join("trail");
    let programs = [TrailIndex::open(&file).await.unwrap(), TrailIndex::open(&file).await.unwrap()];
    let read = |practitioner: String| {
        let by = ledger::entry::Actor { practitioner: Some(practitioner), ..actor() };
        Body::DecisionRead { of: "dec_0".to_owned(), what: "explanation".to_owned(), by }
    };
    for turn in 0..12_usize {
        // In another order each time, so that names get other numbers where they are numbered anew.
        let of = if turn % 5 == 4 { &other } else { &store };
        for number in 0..3 {
            let practitioner = format!("P-{}", (turn + number) % 4);
            of.commit(submission(read(practitioner), Vec::new())).await.unwrap();
        }
        let size = of.head().await.unwrap().size;
        assert_eq!(programs[turn % 2].catch_up(of).await.unwrap(), size);
        let leaves = of.leaves(0, 1_000).await.unwrap();
        let entries: Vec<_> = leaves.iter().map(|leaf| Entry::decode(&leaf.bytes).unwrap()).collect();
        let practitioners = (0..4).map(|number| Term::new(Field::Practitioner, format!("P-{number}")));
        for term in practitioners.chain([Term::new(Field::Kind, "decision_read")]) {
            let query = TrailQuery { all_of: vec![vec![term]], ..TrailQuery::default() };
            for program in &programs {
                let found = program.find(&query, 1_000).await.unwrap();
                assert_eq!(found, expected(&entries, &query), "turn {turn}: {query:?}");
            }
        }
    }
}
