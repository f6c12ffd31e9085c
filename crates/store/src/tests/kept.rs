//! What people keep for themselves in the console.

use jiff::SignedDuration;

use super::{now, open};
use crate::{KeptRow, database::Access, scratch};

fn row(person: &str, name: &str) -> KeptRow {
    KeptRow {
        organisation: "gmca".to_owned(),
        person: person.to_owned(),
        kind: "search".to_owned(),
        name: name.to_owned(),
        content: "{}".to_owned(),
        kept_us: now().as_microsecond(),
    }
}

#[tokio::test]
async fn everybody_keeps_their_own_and_not_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let (one, other) = (row("P-1", "Releases"), row("P-2", "Releases"));
    assert!(store.keep(&one).await.unwrap() && store.keep(&other).await.unwrap());
    let changed = KeptRow { content: "{\"kind\":\"release\"}".to_owned(), ..one.clone() };
    assert!(store.keep(&changed).await.unwrap(), "in place of what had the name");
    assert_eq!(store.kept(("gmca", "P-1"), "search").await.unwrap(), [changed]);
    assert_eq!(store.kept(("gmca", "P-2"), "search").await.unwrap(), std::slice::from_ref(&other));
    assert!(
        store.kept(("nhs-england", "P-1"), "search").await.unwrap().is_empty(),
        "of another organisation"
    );
    assert!(store.kept(("gmca", "P-1"), "terms").await.unwrap().is_empty(), "of another kind");
    store.forget_kept(("gmca", "P-1"), ("search", "Releases")).await.unwrap();
    assert!(store.kept(("gmca", "P-1"), "search").await.unwrap().is_empty());
    assert_eq!(store.kept(("gmca", "P-2"), "search").await.unwrap(), [other]);
    for number in 0..100 {
        assert!(store.keep(&row("P-1", &format!("search {number}"))).await.unwrap(), "{number}");
    }
    assert!(!store.keep(&row("P-1", "one more")).await.unwrap());
    assert!(store.keep(&row("P-1", "search 7")).await.unwrap(), "one that is there can be changed");
    let later = now().checked_add(SignedDuration::from_hours(1)).unwrap();
    assert_eq!(store.forget_kept_before("search", now()).await.unwrap(), 0, "half-open");
    assert_eq!(store.forget_kept_before("terms", later).await.unwrap(), 0);
    assert_eq!(store.forget_kept_before("search", later).await.unwrap(), 101);
}

/// A copy of the database says nothing of what people wrote, and a row that somebody moves is nobody's.
#[tokio::test]
async fn what_is_kept_is_sealed_for_whoever_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let words = "nobody answers the door at number 9";
    let mine = KeptRow { content: format!("\"{words}\""), ..row("P-1", "Releases") };
    assert!(store.keep(&mine).await.unwrap());
    let pool = scratch::database(folder.path()).await.connect(Access::Write, 1).await.unwrap();
    let stored: String =
        sqlx::query_scalar("SELECT content FROM console_kept").fetch_one(&pool).await.unwrap();
    assert!(stored.starts_with("sealed1:") && !stored.contains("door"), "{stored}");
    // Moved to another person, under another name, or changed by a letter, it opens for nobody.
    let moved = "UPDATE console_kept SET person = $1, name = $2, content = $3";
    let last = stored.chars().last().unwrap();
    let changed = format!("{}{}", stored.trim_end_matches(last), if last == 'A' { 'B' } else { 'A' });
    for (person, name, content, opens) in [
        ("P-2", "Releases", &stored, false),
        ("P-1", "Refusals", &stored, false),
        ("P-1", "Releases", &changed, false),
        ("P-1", "Releases", &stored, true),
    ] {
        sqlx::query(moved).bind(person).bind(name).bind(content).execute(&pool).await.unwrap();
        let kept = store.kept(("gmca", person), "search").await.unwrap();
        assert_eq!(kept, if opens { vec![mine.clone()] } else { Vec::new() }, "{person} {name}");
    }
    // What was kept before anything was sealed is read as it is.
    sqlx::query(moved).bind("P-1").bind("Releases").bind("{}").execute(&pool).await.unwrap();
    assert_eq!(store.kept(("gmca", "P-1"), "search").await.unwrap(), [row("P-1", "Releases")]);
}
