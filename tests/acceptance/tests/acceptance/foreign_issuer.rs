//! An authorization server that is not ours, as a process: what it issues is taken, and its keys change under us.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use acceptance::{Answer, World, answer};
use gateway::{
    caller::{IssuerSettings, keys::KeySource},
    clock::{Clock as _, SystemClock},
    mint::MintingKey,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::token_endpoint::{claims, details};

struct Issuer {
    process: Child,
    said: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
    name: String,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.process.wait(); // it ends when its input does
    }
}

impl Issuer {
    fn start(folder: &Path) -> Self {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let modules = here.join("../../target/issuer/node_modules");
        assert!(modules.exists(), "install it first, as ./test does");
        let mut process = Command::new("node")
            .arg(here.join("issuer/issuer.mjs"))
            .arg(modules)
            .arg(folder)
            .args(["https://gateway.concordat.example", "gmca-prevention", "fire"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (said, input) = (BufReader::new(process.stdout.take().unwrap()), process.stdin.take());
        let mut issuer = Self { process, said, input, name: String::new() };
        let port = issuer.hear("ready");
        issuer.name = format!("https://localhost:{port}");
        issuer
    }

    /// What it says after this word; it also writes notices of its own.
    fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
            line.clear();
        }
        panic!("the issuer ended");
    }

    fn tell(&mut self, what: &str) {
        writeln!(self.input.as_mut().unwrap(), "{what}").unwrap();
        self.hear("changed");
    }

    /// A token of its issuing, bound to the fire service's certificate.
    async fn token(&self, world: &World) -> String {
        let mut claims = claims(world);
        let now = SystemClock.now().as_second();
        (claims["aud"], claims["iat"], claims["exp"]) = (json!(self.name), json!(now), json!(now + 60));
        let pem = std::fs::read_to_string(world.folder.path().join("fire-token.key")).unwrap();
        let assertion = MintingKey::from_pem(&pem, "token-1").unwrap().sign("JWT", &claims).unwrap();
        let details = details("fire-prevention-targeting", &["read"]).to_string();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &assertion),
            ("authorization_details", &details),
        ];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let sent = world.client("fire").post(format!("{}/token", self.name));
        let sent = sent.header("Content-Type", "application/x-www-form-urlencoded").body(body);
        let got = answer(sent.send().await.unwrap()).await;
        got.body["access_token"].as_str().unwrap_or_else(|| panic!("{got:?}")).to_owned()
    }
}

async fn ask(world: &World, token: &str) -> Answer {
    let request = world.prevention("9732110317");
    let (_, context) = world.headers(&request);
    world.send_with(&request, Some(token), Some(&context)).await
}

/// Taken: whether the agreement still lasts on the day of the test is another question.
async fn is_taken(world: &World, token: &str) -> bool {
    let answer = ask(world, token).await;
    let was_decided = ["intent", "release", "refusal", "closure"].contains(&world.last_kinds(1).await[0]);
    assert_eq!(was_decided, answer.status != 401, "{answer:?}");
    was_decided
}

#[tokio::test]
async fn a_token_of_another_make_is_taken_and_its_keys_may_change() {
    let mut issuer = None;
    let world = World::with_settings(|settings| {
        let folder = settings.tls.certificate.parent().unwrap();
        let started = Issuer::start(folder);
        settings.issuers.push(IssuerSettings {
            issuer: started.name.clone(),
            algorithms: vec!["ES256".to_owned()],
            keys: KeySource::Url {
                address: format!("{}/jwks", started.name),
                trusted: folder.join("ca.pem"),
            },
            token_lifetime_max_s: 900,
        });
        let fire = settings.systems.iter_mut().find(|system| system.client_id == "gmca-prevention").unwrap();
        fire.issuer.clone_from(&started.name);
        issuer = Some(started);
    })
    .await;
    let mut issuer = issuer.unwrap();
    world.clock.be_like(&SystemClock);
    let first = issuer.token(&world).await;
    assert!(is_taken(&world, &first).await);
    // The issuer that was registered before is not this system's any more, and the token is no other system's.
    let request = world.prevention("9732110317");
    let (of_another_issuer, context) = world.headers(&request);
    let refused = world.send_with(&request, Some(&of_another_issuer), Some(&context)).await;
    assert_eq!(refused.code(), "access-token-issuer");
    let mut stolen = world.prevention("9732110317");
    (stolen.certificate_of, stolen.tokens_of) = ("council", "council");
    let (_, context) = world.headers(&stolen);
    let refused = world.send_with(&stolen, Some(&first), Some(&context)).await;
    assert_eq!(refused.code(), "access-token-issuer");
    // It signs with a new key and still publishes the old one; then the old one goes.
    issuer.tell("overlap");
    let second = issuer.token(&world).await;
    assert!(is_taken(&world, &second).await, "the new key is fetched");
    assert!(is_taken(&world, &first).await);
    issuer.tell("replace");
    world.clock.advance_s(61);
    let third = issuer.token(&world).await;
    assert!(is_taken(&world, &third).await);
    for gone in [&first, &second] {
        assert_eq!(ask(&world, gone).await.code(), "access-token-key");
    }
    // Its tokens are what they should be: another audience or no binding is not.
    let mut claims: Value = jsonwebtoken::dangerous::insecure_decode(&third).unwrap().claims;
    claims.as_object_mut().unwrap().remove("cnf");
    let own = MintingKey::from_pem(&crate::signing::p256(), "issuer-1").unwrap();
    assert_eq!(ask(&world, &own.sign("at+jwt", &claims).unwrap()).await.code(), "access-token-key");
    // A key that it takes back stops counting without anybody who names another.
    issuer.tell("replace");
    for _ in 0..3 {
        assert!(is_taken(&world, &third).await, "no question makes the keys be read");
    }
    let stop = CancellationToken::new();
    let keeping = gateway::serve::keep_keys(world.app.clone(), Duration::from_millis(50), stop.clone());
    let keeping = tokio::spawn(keeping);
    let given_up = Instant::now() + Duration::from_secs(20);
    while is_taken(&world, &third).await {
        assert!(Instant::now() < given_up, "the keys are read beside the requests");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ask(&world, &third).await.code(), "access-token-key");
    stop.cancel();
    keeping.await.unwrap();
    // How long ago that was is told, of whoever has its tokens from an address and of nobody else.
    let registry = world.app.authenticator.registry.load_full();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before: Vec<_> = registry.key_ages().into_values().collect();
    assert!(before.len() == 1 && before[0] >= Duration::from_millis(100), "{before:?}");
    registry.refresh().await;
    assert!(registry.key_ages().into_values().all(|age| age < before[0]));
    drop(issuer);
    tokio::time::sleep(Duration::from_millis(100)).await;
    registry.refresh().await;
    assert!(
        registry.key_ages().into_values().all(|age| age >= Duration::from_millis(100)),
        "nothing was read"
    );
    world.verify().await;
}
