//! Taking many submissions or look-ups together comes to the same as taking them one after the other.

use futures_util::future::join_all;
use jiff::SignedDuration;
use ledger::entry::Entry;
use sharing::{PurposeClass, subject::OptOut};

use super::*;
use crate::{
    AlertRow, AnswerUse, CallerLimits, CallerUse, Committed, GuessLimits, Held, LookUp, MarkRow, MarksWanted,
    Neighbours, OptOutBatch, OptOutCheck, OptOutHash, Resolved, StoreError,
};

/// Numbers that look random, the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A question's counts: few callers, days and people, so that budgets are reached and numbers follow each other.
fn using(numbers: &mut Numbers, position: u64) -> CallerUse {
    let hash = |person: u64| vec![u8::try_from(person).unwrap(); 32];
    let person = 11 + numbers.below(14);
    let near = move |far: u64| (1..=far).flat_map(|far| [hash(person + far), hash(person - far)]).collect();
    let practitioner = numbers.below(5);
    CallerUse {
        practitioner: format!("practitioner\no\np{practitioner}"),
        system: format!("system\ns{}", practitioner % 2),
        day: format!("2026-11-{}", 22 + position / 60),
        hour: format!("2026-11-22T{}", 10 + position / 40),
        person: hash(person),
        neighbours: Neighbours::new(near(3), move || near(5)),
        limits: CallerLimits {
            subjects_per_practitioner: (practitioner > 0).then_some(4),
            subjects_per_system: (practitioner > 0).then_some(7),
            guessing: (!position.is_multiple_of(7)).then_some(GuessLimits {
                no_record_at_least: 2,
                no_record_percent: 60,
                no_record_per_system_at_least: 6,
            }),
            run_at_least: (practitioner == 1).then_some(3),
            run_per_system_at_least: (practitioner != 2).then_some(5),
        },
        scan: vec![alert(position)],
    }
}

fn alert(position: u64) -> AlertRow {
    AlertRow {
        id: format!("alert{position}"),
        rule: "sequence-scan".to_owned(),
        organisation: "o".to_owned(),
        reference: format!("dec{position}"),
        state: "open".to_owned(),
        raised_us: now().as_microsecond(),
        due_us: now().as_microsecond(),
        escalated_us: None,
        handled_by: None,
        handled_us: None,
        outcome: None,
        note: None,
        severity: "high".to_owned(),
        about_organisation: None,
        about_human: None,
        series: None,
        cause_us: None,
    }
}

/// How a question of one of them ended.
fn answered(numbers: &mut Numbers, position: u64) -> Change {
    let practitioner = numbers.below(5);
    Change::CountAnswer(AnswerUse {
        practitioner: format!("practitioner\no\np{practitioner}"),
        system: (!position.is_multiple_of(5)).then(|| format!("system\ns{}", practitioner % 2)),
        hour: format!("2026-11-22T{}", 10 + position / 40),
        is_no_record: numbers.below(3) > 0,
    })
}

/// What submissions are made of: few people, contexts and questions, so that many of them are in each other's way.
fn submissions(seed: u64, name: &Pseudonym) -> Vec<Submission> {
    let mut numbers = Numbers(seed);
    let mut opened = 0;
    let mut revision = 0;
    let mut of = |position: u64| {
        let at = now() + SignedDuration::from_mins(i64::try_from(position * 30).unwrap());
        let mut submission = Submission::of(at, vec![read_of(name)]);
        if numbers.below(2) == 0 {
            let jti = format!("j{}", numbers.below(12));
            let expires = at + SignedDuration::from_hours(30 * 24);
            submission.replay = Some(ReplayGuard { issuer: "i".to_owned(), jti, expires });
        }
        if numbers.below(3) == 0 {
            let lookup_hash = vec![u8::try_from(numbers.below(6)).unwrap(); 32];
            let pseudonym = Pseudonym::from_random(100 + u128::from(numbers.below(8)));
            submission.changes.push(Change::KnowSubject(Resolved { pseudonym, known: false, lookup_hash }));
        }
        if numbers.below(2) == 0 {
            submission.changes.push(Change::OpenIntent(format!("dec_{opened}")));
            opened += 1;
        }
        if numbers.below(2) == 0 {
            submission.changes.push(Change::CloseIntent(format!("dec_{}", numbers.below(opened + 1))));
        }
        if numbers.below(2) == 0 {
            let digest = if numbers.below(5) == 0 { "other" } else { "d" };
            let agreement = Some(("a".parse().unwrap(), digest.to_owned()));
            let names = vec![(name.clone(), revision - i64::try_from(numbers.below(2)).unwrap())];
            submission.recheck = Some(Recheck { names, agreement, ..Recheck::default() });
        }
        if numbers.below(3) > 0 {
            submission.using = Some(Box::new(using(&mut numbers, position)));
        }
        if numbers.below(2) == 0 {
            submission.changes.push(answered(&mut numbers, position));
        }
        if numbers.below(8) == 0 {
            // What is not taken together, and changes what the next rest on.
            revision += 1;
            let row = consent(u128::from(position), name);
            return super::submission(read_of(name), vec![Change::RecordConsent(Box::new(row))]);
        }
        submission
    };
    (0..120).map(&mut of).collect()
}

/// Everything that submissions change.
async fn tables(store: &Store) -> Vec<String> {
    let statements = [
        "SELECT pseudonym || ' ' || person_group || ' ' || revision || ' ' || seen_us FROM subject ORDER BY 1",
        "SELECT pseudonym || ' ' || count(*) FROM subject_identifier GROUP BY pseudonym ORDER BY 1",
        "SELECT decision_id || ' ' || at_us FROM open_intent ORDER BY 1",
        "SELECT issuer || ' ' || jti || ' ' || expires_us FROM used_context ORDER BY 1",
        "SELECT id || ' ' || subject FROM consent ORDER BY 1",
        "SELECT caller || ' ' || day || ' ' || run || ' ' || count(*) FROM subject_use
            GROUP BY caller, day, run ORDER BY 1",
        "SELECT caller || ' ' || day || ' ' || subjects FROM caller_use ORDER BY 1",
        "SELECT caller || ' ' || hour || ' ' || answered || ' ' || no_record || ' ' || scans FROM answer_use
            ORDER BY 1",
        "SELECT id || ' ' || reference FROM alert ORDER BY 1",
    ];
    let mut found = Vec::new();
    for statement in statements {
        found.push(statement.to_owned());
        let rows: Vec<String> = sqlx::query_scalar(statement).fetch_all(&store.readers).await.unwrap();
        found.extend(rows);
    }
    found
}

fn places(committed: &Committed) -> Vec<u64> {
    committed.entries.iter().map(|(seq, _)| *seq).collect()
}

/// The whole ledger, but for what is random in it.
async fn said(store: &Store) -> Vec<Entry> {
    let leaves = store.leaves(0, 10_000).await.unwrap();
    let entries = leaves.iter().map(|leaf| Entry::decode(&leaf.bytes).unwrap());
    entries.map(|entry| Entry { blind: None, ..entry }).collect()
}

#[tokio::test]
async fn submissions_taken_together_come_to_what_they_come_to_one_by_one() {
    let (mut throttled, mut over_budget) = (0, 0);
    for seed in 1..=12 {
        let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, many) = (open(one.path()).await, open(many.path()).await);
        let name = a_person(&one).await;
        assert_eq!(a_person(&many).await, name);
        let mut alone = Vec::new();
        for submission in submissions(seed, &name) {
            alone.push(one.commit(submission).await.map(|committed| places(&committed)));
        }
        let batches = many.figures().writes.size.counts().count;
        let waiting = submissions(seed, &name).into_iter().map(|submission| many.commit(submission));
        let together = join_all(waiting).await;
        let together: Vec<_> =
            together.into_iter().map(|outcome| outcome.map(|committed| places(&committed))).collect();
        assert!(many.figures().writes.size.counts().count < batches + 5, "they were taken together");
        assert_eq!(together, alone, "seed {seed}");
        let refused = |why| alone.iter().filter(|outcome| **outcome == Err(why)).count();
        for why in [CommitError::Changed, CommitError::Replayed, CommitError::NotOpen] {
            assert!(refused(why) > 1, "{why}");
        }
        throttled += refused(CommitError::Throttled);
        over_budget += refused(CommitError::BudgetReached);
        assert!(alone.iter().filter(|outcome| outcome.is_ok()).count() > 10);
        assert_eq!(tables(&many).await, tables(&one).await, "seed {seed}");
        assert_eq!(said(&many).await, said(&one).await);
    }
    assert!(throttled > 6 && over_budget > 6, "{throttled} {over_budget}");
}

fn identifier(number: &str) -> SubjectIdentifier {
    SubjectIdentifier::parse(SubjectScheme::NhsNumber, number).unwrap()
}

fn asked(number: &str, fresh: u128) -> LookUp {
    LookUp {
        identifiers: vec![identifier(number)],
        fresh: Pseudonym::from_random(fresh),
        checked_as: vec![identifier(number)],
        purpose: PurposeClass::SafeAndWellReferral,
        marks: None,
        at: now(),
    }
}

const KNOWN: &str = "9732110317";
const UNKNOWN: &str = "9990000166";

async fn ask_both(store: &Store) -> (Result<Held, StoreError>, Result<Held, StoreError>) {
    let both = join_all([asked(KNOWN, 50), asked(UNKNOWN, 51)].map(|one| store.look_up(one))).await;
    let mut both = both.into_iter();
    (both.next().unwrap(), both.next().unwrap())
}

#[tokio::test]
async fn look_ups_taken_together_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let name = a_person(&store).await;
    let recorded = Change::RecordConsent(Box::new(consent(7, &name)));
    store.commit(submission(read_of(&name), vec![recorded])).await.unwrap();
    let (known, unknown) = ask_both(&store).await;
    let (known, unknown) = (known.unwrap(), unknown.unwrap());
    let state = store.subject_state(std::slice::from_ref(&name)).await.unwrap();
    assert_eq!((known.resolved[0].known, &known.resolved[0].pseudonym), (true, &name));
    assert_eq!((known.state.names, known.state.consents), (state.names, state.consents));
    assert_eq!(
        (unknown.resolved[0].known, unknown.resolved[0].pseudonym.clone()),
        (false, Pseudonym::from_random(51))
    );
    assert!(unknown.state.names.is_empty() && unknown.state.consents.is_empty());
    // A name that stands for an identifier that nobody has used before brings what is held under it.
    let mut other = asked(UNKNOWN, 1);
    other.fresh = name;
    let held = store.look_up(other).await.unwrap();
    assert_eq!(held.state.consents.len(), 1);
}

#[tokio::test]
async fn a_withdrawal_counts_for_every_look_up_that_begins_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let name = a_person(&store).await;
    let recorded = Change::RecordConsent(Box::new(consent(7, &name)));
    store.commit(submission(read_of(&name), vec![recorded])).await.unwrap();
    // Others keep the reader busy all the while.
    let busy = (0..100_u128).map(|number| store.look_up(asked(UNKNOWN, 1_000 + number)));
    let withdrawn = async {
        store.commit(submission(read_of(&name), vec![withdrawal(7)])).await.unwrap();
        store.look_up(asked(KNOWN, 50)).await.unwrap().state.consents[0].status
    };
    let (_, status) = futures_util::future::join(join_all(busy), withdrawn).await;
    assert_eq!(status, ConsentStatus::Withdrawn);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_fails_its_own_person_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let name = a_person(&store).await;
    let recorded = Change::RecordConsent(Box::new(consent(7, &name)));
    store.commit(submission(read_of(&name), vec![recorded])).await.unwrap();
    sqlx::query("UPDATE consent SET status = 'unheard-of'").execute(&store.writing).await.unwrap();
    let (known, unknown) = ask_both(&store).await;
    assert!(matches!(known, Err(StoreError::CorruptRow { table: "consent", .. })));
    assert!(unknown.is_ok());
}

#[tokio::test]
async fn marks_and_opt_outs_are_each_askers_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let mark = |id: &str, practitioner: &str, hash: u8, until_us| MarkRow {
        id: id.to_owned(),
        kind: "surname".to_owned(),
        organisation: "gmca".to_owned(),
        practitioner: practitioner.to_owned(),
        hash: vec![hash; 32],
        recorded_us: 0,
        until_us,
    };
    let rows = [mark("m1", "P-1", 1, None), mark("m2", "P-2", 2, None), mark("m3", "P-1", 3, Some(5))];
    let changes = rows.into_iter().map(|row| Change::AddMark(Box::new(row))).collect();
    store.commit(submission(read_of(&Pseudonym::from_random(1)), changes)).await.unwrap();
    let key = LookupKey::new([6; 32]);
    let purpose = PurposeClass::PlanningCommissioning;
    let hash = key.opt_out_hash(purpose, &KNOWN.parse().unwrap());
    let check =
        OptOutCheck { id: "o1".to_owned(), purpose, expires_at: now() + SignedDuration::from_hours(1) };
    let others = (0..2_000_u32).map(|other| (OptOutHash(other.to_be_bytes().to_vec()), false));
    let batch = OptOutBatch { check: check.clone(), checked: others.chain([(hash.clone(), true)]).collect() };
    let first = OptOutBatch { check, checked: vec![(hash, true)] };
    let held = submission(read_of(&Pseudonym::from_random(1)), vec![Change::HoldOptOuts(Box::new(first))]);
    store.commit(held).await.unwrap();
    let partly = store.look_up(LookUp { purpose, ..asked(KNOWN, 50) }).await.unwrap();
    assert_eq!(partly.state.opt_out, OptOut::NotChecked, "one of which a part is there does not count yet");
    let import = || store.import_opt_outs(batch.clone(), read_of(&Pseudonym::from_random(1)), now);
    import().await.unwrap();
    assert!(matches!(import().await, Err(CommitError::Changed)), "it is taken in once");
    let wanting = |practitioner: &str, hashes: Vec<Vec<u8>>| {
        let (organisation, practitioner) = ("gmca".to_owned(), practitioner.to_owned());
        LookUp { marks: Some(MarksWanted { organisation, practitioner, hashes }), ..asked(KNOWN, 50) }
    };
    let mut later = LookUp { purpose, ..wanting("P-2", vec![vec![1; 32]]) };
    later.at = now() + SignedDuration::from_hours(1);
    let during = LookUp { purpose, ..asked(KNOWN, 50) };
    let asked = [wanting("P-1", Vec::new()), later, during, wanting("P-3", vec![vec![3; 32]])];
    let held = join_all(asked.map(|one| store.look_up(one))).await;
    let held: Vec<_> = held.into_iter().map(Result::unwrap).collect();
    let marks = |of: usize| held[of].marks.iter().map(|mark| mark.id.as_str()).collect::<Vec<_>>();
    assert_eq!(marks(0), ["m1"], "their own that are in force");
    assert_eq!(
        {
            let mut both = marks(1);
            both.sort_unstable();
            both
        },
        ["m1", "m2"]
    );
    assert!(marks(2).is_empty() && marks(3).is_empty(), "a mark that has ended is none");
    let opt_outs: Vec<_> = held.iter().map(|held| held.state.opt_out).collect();
    let expected = [OptOut::NotChecked, OptOut::NotChecked, OptOut::OptedOut, OptOut::NotChecked];
    assert_eq!(opt_outs, expected, "for the purpose that it was made for, until it expires");
}
