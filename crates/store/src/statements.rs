//! Every statement that is written out in this crate is one that both databases understand.

use std::collections::BTreeSet;

use sqlx::{Connection as _, Executor as _, SqlSafeStr as _};

use crate::{database::Access, migrating, scratch};

/// The statements of a source file: its string literals that begin as one does.
fn statements(source: &str, found: &mut BTreeSet<String>) {
    let mut rest = source;
    while let Some((_, literal)) = rest.split_once('"') {
        let mut text = String::new();
        let mut characters = literal.char_indices();
        let mut end = literal.len();
        while let Some((place, character)) = characters.next() {
            match character {
                '"' => {
                    end = place;
                    break;
                }
                '\\' => text.extend(characters.next().map(|(_, character)| character)),
                _ => text.push(character),
            }
        }
        let is_statement = ["SELECT ", "WITH ", "INSERT INTO ", "UPDATE ", "DELETE FROM "]
            .iter()
            .any(|verb| text.trim_start().starts_with(verb));
        let text = placed(text);
        if is_statement && !text.contains('{') {
            found.insert(text);
        }
        rest = literal.get(end + 1..).unwrap_or_default();
    }
}

/// A statement of many rows, with one: a place for each column that it names.
fn placed(text: String) -> String {
    let Some((before, after)) = text.split_once("VALUES {places}") else { return text };
    let named = before.trim_end_matches('(');
    let columns = named.rsplit_once('(').map_or(0, |(_, columns)| columns.split(',').count());
    let places: Vec<_> = (1..=columns).map(|place| format!("${place}")).collect();
    format!("{before}VALUES ({}){after}", places.join(", "))
}

fn all(folder: &std::path::Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            all(&path, found);
        } else if ![
            "trail.rs",
            "search.rs",
            "tally.rs",
            "statements.rs",
            "scratch.rs",
            "database.rs",
            "migrating.rs",
            "parts.rs",
            "tests.rs",
            "plans.rs",
        ]
        .contains(&name.as_str())
        {
            // A line comment may hold a quote of its own.
            let text = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            statements(&lines.join("\n"), found);
        }
    }
}

#[tokio::test]
async fn every_statement_is_prepared() {
    let mut found = BTreeSet::new();
    all(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 100, "{} statements", found.len());
    let many = "INSERT INTO open_intent (decision_id, at_us, replica) VALUES ($1, $2, $3)";
    assert!(found.contains(many), "those of many rows are among them");
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    database.connect(Access::Write, 1).await.unwrap().close().await;
    let pool = database.connect(Access::Migrate, 1).await.unwrap();
    migrating::run(&database, &pool).await.unwrap();
    let mut connection = sqlx::AnyConnection::connect(&scratch::url(&database)).await.unwrap();
    // Only while the key of look-ups is replaced.
    connection
        .execute("CREATE TABLE subject_identifier_next AS SELECT * FROM subject_identifier")
        .await
        .unwrap();
    let mut refused = Vec::new();
    // It is a file's alone.
    found.retain(|statement| !database.is_shared() || !statement.starts_with("WITH asked (caller, day"));
    for statement in found {
        if let Err(error) = connection.prepare(sqlx::AssertSqlSafe(statement.clone()).into_sql_str()).await {
            refused.push(format!("{statement}\n  {error}"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    // Nothing else would be noticed.
    assert!(connection.prepare("SELECT nothing FROM subject".into_sql_str()).await.is_err());
}
