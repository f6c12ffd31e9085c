//! What the console's pages say is true, and nothing that people write there is lost. `browser/honest.mjs` has the journeys.

use acceptance::World;
use gateway::serve;

use super::{asked_for_more, deployment, fill, run};

/// A flow that needs two consents: under the duty of confidentiality for one item, and under UK GDPR for all. It has the record
/// holder, the recipient and the purpose of another that asks.
async fn asked_for_both(world: &World) {
    asked_for_more(world).await;
    let agreements = world.folder.path().join("policies/agreements");
    let other = std::fs::read_to_string(agreements.join("gmca-warm-homes.toml")).unwrap();
    let both = other.replace("gmca-warm-homes", "gmca-both").replace("\"6(1)(e)\"", "\"6(1)(a)\"");
    std::fs::write(agreements.join("gmca-both.toml"), both).unwrap();
    let revision = world.app.policies().revision;
    serve::reload_policies(&world.app, &world.settings.policies, gateway::policies::Put::InAnyCase).await;
    assert_eq!(world.app.policies().revision, revision + 1, "it is in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_say_what_is_so_and_lose_no_words() {
    let (world, started) = deployment().await;
    let facts = fill(&world).await;
    asked_for_both(&world).await;
    run(&world, started, "honest.mjs", &facts).await;
    let entries = world.entries().await;
    let objected = entries.iter().filter(|entry| entry.body.kind() == "objection_recorded").count();
    assert_eq!(objected, 2, "one form objects once");
    let checks: std::collections::BTreeSet<_> = entries
        .iter()
        .filter_map(|entry| match &entry.body {
            ledger::entry::Body::SubjectRecordRead { what, .. } => what.strip_prefix("subject access, "),
            _ => None,
        })
        .collect();
    assert_eq!(checks.into_iter().collect::<Vec<_>>(), ["nhs-login-p9"], "as the provider said");
    world.verify().await;
}
