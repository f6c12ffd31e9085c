//! More questions than can be worked on. What can be done is known exactly: each question is about somebody whose record takes a
//! second, so that a gateway with so many places does as many in a second, whatever machine it is on.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use acceptance::Partners;
use gateway::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::{
    deployment::{Deployment, Replica, Store},
    load::{Account, Ports, open_loop, withdraw_each},
    scenarios::Length,
};

/// Places, and so the most questions that can be answered in a second.
const PLACES: u64 = 20;
/// The fire service, about somebody whose record takes a second.
const ASKING: (&str, &str) = ("fire", "9990000204");

/// Five times as many questions as can be answered: as many are answered as before, at least in 85 of 100 cases; the others are
/// turned away and are in the ledger; and every withdrawal is taken.
pub async fn five_times(length: Length) -> Value {
    let seconds = match length {
        Length::Short => 6,
        Length::Long => 60,
    };
    let settings = |_, replica: &mut Replica| {
        replica.append_settings(&format!("[limits]\nrequests_max = {PLACES}\n"));
    };
    let deployment = Deployment::start(Store::File, 1, settings).await;
    let account = Arc::new(Account::new(&deployment.folder().join("account.jsonl")));
    let ports: Ports = Arc::new(Mutex::new(vec![deployment.replicas[0].port]));
    let load = (&deployment.partners, &account, &ports);
    let consents = given(&deployment.partners, deployment.replicas[0].port, 4 * seconds).await;
    let calm = open_loop(load, ASKING, (PLACES, seconds)).await;
    let (flood, withdrawn) =
        tokio::join!(open_loop(load, ASKING, (5 * PLACES, seconds)), withdraw_each(load, &consents));
    let (peak, kept) = (calm.records(), flood.records());
    let (calm, flood) = (calm.statuses, flood.statuses);
    assert!(kept * 100 >= peak * 85, "{kept} of {peak} were answered in a flood: {calm:?} {flood:?}");
    assert_eq!(withdrawn, consents.len(), "a withdrawal was turned away");
    let turned_away = flood.get(&503).copied().unwrap_or(0);
    assert_eq!(
        kept + turned_away,
        5 * PLACES * seconds,
        "answered or turned away, and nothing else: {flood:?}"
    );
    // The last counts are written within a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let counts = deployment.check().await;
    let recorded = shed(&deployment);
    let all = turned_away + calm.get(&503).copied().unwrap_or(0);
    assert_eq!(recorded, all, "the ledger has as many as were turned away");
    json!({
        "answered before": peak, "answered in the flood": kept, "turned away": turned_away, "withdrawals": withdrawn,
        "seconds": seconds, "checked": counts,
    })
}

/// Consents that stand, of people whom nobody asks about.
async fn given(partners: &Partners, port: u16, count: u64) -> Vec<(String, String)> {
    let client = partners.client("council");
    let mut consents = Vec::new();
    for number in 0..count {
        let person = format!("SWR-8{number:03}");
        let mut request = partners.consent(&person);
        request.body.as_mut().unwrap()["given_at"] = SystemClock.now().to_string().into();
        let answer = partners.send_to(&client, port, &request).await.unwrap();
        assert_eq!(answer.status, 201, "{answer:?}");
        consents.push((person, answer.body["id"].as_str().unwrap().to_owned()));
    }
    consents
}

/// How many the exported ledger says were turned away.
fn shed(deployment: &Deployment) -> u64 {
    let export = std::fs::read_to_string(deployment.folder().join("ledger.ndjson")).unwrap();
    let entries = export.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    entries
        .filter(|entry| entry["kind"] == "requests_shed")
        .map(|entry| entry["count"].as_u64().unwrap())
        .sum()
}
