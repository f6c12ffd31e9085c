//! What is published: the OpenAPI document, the example settings, the health of the process.

use acceptance::{World, answer};
use reqwest::StatusCode;

/// Every operation in the document, tried without tokens. A new route is in the document or it does not exist.
#[tokio::test]
async fn nothing_in_the_document_works_without_authentication() {
    let world = World::new().await;
    let client = world.client("fire");
    let document =
        answer(client.get(format!("{}/openapi.json", world.settings.public_url)).send().await.unwrap()).await;
    assert!(document.body["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document.body["paths"].as_object().unwrap();
    assert!(paths.len() >= 11, "{paths:?}");
    let open = [
        "/.well-known/audit/checkpoint",
        "/.well-known/audit/proof/{index}",
        "/.well-known/audit/consistency/{size}",
        "/.well-known/audit/handovers",
        "/.well-known/authzen-configuration",
        "/fhir/metadata",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-protected-resource",
        "/oauth2/jwks.json",
        "/healthz",
        "/readyz",
        "/register",
        "/register.json",
        "/register.csv",
    ];
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            let concrete = path
                .replace("{provider}", "nhs-pds")
                .replace("{id}", "con_00000000000000000000000000000000")
                .replace("{version}", "1")
                .replace("{index}", "0")
                .replace("{size}", "1");
            // The others: a path is plain letters.
            let concrete = concrete.replace(['{', '}'], "");
            let url = format!("{}{concrete}", world.settings.public_url);
            let sent = client.request(method.to_uppercase().parse().unwrap(), url).send().await.unwrap();
            let expected = match path.as_str() {
                // Open as the others; nobody is asked to witness here, and this is no part of a dataspace.
                "/.well-known/audit/checkpoint/witnessed" | "/.well-known/dspace-version" => {
                    StatusCode::NOT_FOUND
                }
                // It says who it is in its body, and there is none.
                "/oauth2/token" => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                path if open.contains(&path) => StatusCode::OK,
                _ => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(sent.status(), expected, "{method} {path}");
        }
    }
}

#[test]
fn the_document_in_the_project_is_the_one_that_is_served() {
    let committed = include_str!("../../../../docs/openapi.json");
    let current = gateway::routes::openapi().to_pretty_json().unwrap();
    assert!(committed.trim() == current.trim(), "run `concordat openapi > docs/openapi.json`");
}

#[test]
fn the_example_settings_are_settings() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/concordat.example.toml");
    let settings = gateway::config::load(&path).unwrap();
    assert_eq!(settings.systems.len(), 1);
    let text = std::fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let misspelt = folder.path().join("concordat.toml");
    std::fs::write(&misspelt, text.replace("requests_max", "request_max")).unwrap();
    let said = gateway::config::load(&misspelt).unwrap_err().to_string();
    assert!(said.contains("concordat.toml:") && said.contains("request_max"), "{said}");
}

#[tokio::test]
async fn readiness_says_what_it_checked() {
    let world = World::new().await;
    let url = format!("{}/readyz", world.settings.public_url);
    let ready = answer(world.client("fire").get(&url).send().await.unwrap()).await;
    assert_eq!((ready.status, &ready.body["status"]), (StatusCode::OK, &"ok".into()));
    world.app.store.close().await;
    let failing = answer(world.client("fire").get(&url).send().await.unwrap()).await;
    assert_eq!(failing.status, StatusCode::SERVICE_UNAVAILABLE);
    // And nothing is asked or released when the ledger cannot be written.
    let asked_before = world.asked["nhs"].asked().len();
    let refused = world.send(world.prevention("9732110317")).await;
    assert!(refused.status.is_server_error(), "{refused:?}");
    assert_eq!(world.asked["nhs"].asked().len(), asked_before);
}
