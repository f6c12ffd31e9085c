//! What becomes of a database file and its log beside the program.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    time::Duration,
};

use super::{a_person, open, read_of, submission};
use crate::{CommitError, scratch};

/// What stands where the log begins, and is none.
fn blank(log: &std::path::Path, bytes: usize) {
    OpenOptions::new().write(true).open(log).unwrap().write_all_at(&vec![0; bytes], 0).unwrap();
}

#[tokio::test]
async fn a_log_that_a_power_failure_left_blank_begins_anew_and_one_in_use_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    if scratch::database(folder.path()).await.is_shared() {
        return; // the log is the server's
    }
    let name = a_person(&store).await;
    assert!(store.scrub().await.unwrap());
    // The power fails when the log was just emptied: all is in the database, and the log is as long as it was and nothing is in it.
    let after = tempfile::tempdir().unwrap();
    for file in ["checkpoint.txt", "concordat.db"] {
        fs::copy(folder.path().join(file), after.path().join(file)).unwrap();
    }
    let log = after.path().join("concordat.db-wal");
    fs::write(&log, [0; 8_272]).unwrap();
    let store = open(after.path()).await;
    let committed = store.commit(submission(read_of(&name), Vec::new())).await.unwrap();
    assert_eq!(committed.size, 4, "the ledger's opening, two entries, and this one");
    assert!(fs::metadata(&log).unwrap().len() > 8_272 / 4, "the change is in the log");

    // Emptied by the program itself it is in order.
    assert!(store.scrub().await.unwrap());
    assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    store.commit(submission(read_of(&name), Vec::new())).await.unwrap();
    // By somebody else it is not.
    blank(&log, 4);
    let refused = store.commit(submission(read_of(&name), Vec::new())).await;
    assert!(matches!(refused, Err(CommitError::Unavailable)), "{refused:?}");
    let stopped = async {
        while store.is_writable() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), stopped).await.expect("the writer has stopped");
}
