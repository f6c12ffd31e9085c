//! What people keep for themselves in the console.

use jiff::SignedDuration;

use super::{now, open};
use crate::KeptRow;

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
