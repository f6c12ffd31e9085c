//! The record holder: answers made beforehand, over the TLS that every record holder here has. It does next to
//! nothing, because it shares the machine with what is measured.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::Context as _;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use gateway::{
    listener::{self, Limits},
    tls,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use upstreams::nhs::{self, Crowd};

/// Where it answers.
pub(crate) const BASE_PATH: &str = "/personal-demographics/FHIR/R4/Patient/";
/// Whose record the others' are made from.
const PATIENT: &str = "9732110317";
/// How many people there are with a Patient of 2 KB.
const PEOPLE: usize = 500;
/// How far apart their numbers are. Nobody's questions are about people whose numbers follow one another: whoever goes through a
/// register is looked at more closely.
const APART: usize = 181;
/// How many telephones make a Bundle of 50 KB, and how many other ways to be reached.
const TELEPHONES: usize = 400;
const OTHERS: usize = 100;

/// The people of Patients of 2 KB, and the person of a Bundle of 50 KB.
pub(crate) fn people() -> anyhow::Result<(Vec<String>, String)> {
    let mut numbers = Crowd::Nobody.numbers();
    let bundled = numbers.next().context("there is no such number")?;
    Ok((numbers.step_by(APART).take(PEOPLE).collect(), bundled))
}

/// The record of one of them.
fn patient(number: &str) -> anyhow::Result<String> {
    let record = nhs::patient(PATIENT).context("there is no such patient")?;
    Ok(record.to_string().replace(PATIENT, number))
}

/// A searchset with one Patient in it, most of which are telephones.
fn bundle(number: &str) -> anyhow::Result<Value> {
    let mut patient: Value = serde_json::from_str(&patient(number)?)?;
    let reached = (0..TELEPHONES + OTHERS).map(|serial| {
        let system = if serial % 5 == 0 { "email" } else { "phone" };
        json!({ "id": format!("T{serial:05}"), "period": { "start": "2020-01-01" }, "system": system, "use": "home", "value": format!("01632 {serial:06}") })
    });
    let members = patient.as_object_mut().context("a patient is an object")?;
    members.insert("telecom".to_owned(), reached.collect());
    Ok(
        json!({ "resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [{ "fullUrl": format!("https://localhost/Patient/{number}"), "resource": patient, "search": { "score": 1 } }] }),
    )
}

pub(crate) async fn run(folder: &Path, listen: u16) -> anyhow::Result<()> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).with_context(|| name.to_owned());
    let config =
        tls::server_config(&read("nhs-server.pem")?, &read("nhs-server.key")?, &read("ca.pem")?, &[])?;
    let (people, bundled) = people()?;
    let mut answers = HashMap::from([(bundled.clone(), Bytes::from(bundle(&bundled)?.to_string()))]);
    for number in people {
        answers.insert(number.clone(), patient(&number)?.into());
    }
    let app = Router::new().fallback(answer).with_state(Arc::new(answers));
    let listener = TcpListener::bind(("127.0.0.1", listen)).await?;
    let tls = tokio::sync::watch::channel(config).1;
    listener::serve(listener, tls, app, Limits::default(), |_| {}, CancellationToken::new()).await;
    Ok(())
}

async fn answer(State(answers): State<Arc<HashMap<String, Bytes>>>, request: Request) -> Response {
    let number = request.uri().path().strip_prefix(BASE_PATH).unwrap_or_default();
    let Some(body) = answers.get(number) else { return StatusCode::NOT_FOUND.into_response() };
    ([(header::CONTENT_TYPE, "application/fhir+json")], Body::from(body.clone())).into_response()
}
