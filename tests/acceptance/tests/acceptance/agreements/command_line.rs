//! `concordat agreement …` against a running gateway, as a partner's people use it, and a signature that is made without one.

use super::*;

/// Runs a verb. The program's clock is the machine's: the gateway's shows the same.
async fn ran(world: &World, arguments: &[&str]) -> std::process::Output {
    world.clock.be_like(&gateway::clock::SystemClock);
    let mut command = tokio::process::Command::new(acceptance::program());
    command.arg("agreement").args(arguments).output().await.unwrap()
}

/// The same over the network, for this person of this partner.
async fn asked(world: &World, (partner, person): (&str, &str), arguments: &[&str]) -> (bool, String) {
    let at = |name: &str| world.folder.path().join(name).display().to_string();
    let (file, trusted) = (at(&format!("{partner}.partner.toml")), at("ca.pem"));
    let who = ["--partner", &file, "--trusted", &trusted, "--case", "ISA-7", "--practitioner", person];
    let ran = ran(world, &[arguments, who.as_slice()].concat()).await;
    let said = if ran.status.success() { ran.stdout } else { ran.stderr };
    (ran.status.success(), String::from_utf8(said).unwrap())
}

async fn done(world: &World, who: (&str, &str), arguments: &[&str]) -> String {
    let (done, said) = asked(world, who, arguments).await;
    assert!(done, "{arguments:?}: {said}");
    said
}

async fn refused(world: &World, who: (&str, &str), arguments: &[&str], why: &str) {
    let (done, said) = asked(world, who, arguments).await;
    assert!(!done && said.contains(why), "{arguments:?}: {said}");
}

fn state(said: &str) -> String {
    let shown: Value = serde_json::from_str(said).unwrap();
    shown["state"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_agreement_is_begun_shown_and_proposed_from_the_command_line() {
    let world = World::new().await;
    let mut whole = terms();
    whole["id"] = json!("pilot");
    let file = world.folder.path().join("terms.json");
    std::fs::write(&file, whole.to_string()).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(state(&done(&world, ("nhs", "author"), &["new", file]).await), "draft");
    refused(&world, ("nhs", "author"), &["new", file], "there is an agreement of this name").await;
    let listed = ran(&world, &["templates"]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("hospital-discharge"), "{listed}");
    refused(&world, ("fire", "lead"), &["show", "pilot"], "answered 404").await;
    assert_eq!(state(&done(&world, ("nhs", "lead"), &["show", "pilot"]).await), "draft");
    let propose = ["propose", "pilot", "--text", "Crews have to know whom they visit."];
    assert_eq!(state(&done(&world, ("nhs", "author"), &propose).await), "proposed");
    assert_eq!(state(&done(&world, ("fire", "lead"), &["show", "pilot"]).await), "proposed");
    refused(&world, ("nhs", "author"), &propose, "answered 409").await;
    // Another version, and what differs.
    let mut second = terms();
    second["flows"][0]["obligations"]["retain_days"] = json!(14);
    let counter =
        json!({ "step": "counter", "terms": second, "reason": "retention-too-long", "text": "Two weeks." });
    taken(&world, "fire", other, counter).await;
    let differs = done(&world, ("fire", "lead"), &["diff", "pilot", "--from", "1", "--to", "2"]).await;
    assert!(
        differs.contains("narrows  flows[at-risk].obligations.retain_days: 30 -> 14")
            && differs.ends_with("1 differences\n"),
        "{differs}"
    );
    let waiting = done(&world, ("fire", "lead"), &["deliveries"]).await;
    assert!(serde_json::from_str::<Value>(&waiting).unwrap()["deliveries"].is_array(), "{waiting}");
    world.verify().await;
}

#[tokio::test]
async fn it_is_signed_with_and_without_a_network_exported_verified_and_switched_off() {
    let world = to_be_signed().await;
    world.clock.be_like(&gateway::clock::SystemClock);
    let (nhs, fire) = (("nhs", "siro"), ("fire", "siro"));
    for partner in ["nhs", "fire"] {
        let advice = json!({ "step": "advise", "favourable": true, "text": "Proportionate." });
        taken(&world, partner, dpo, advice).await;
        let answer = json!({ "step": "answer-advice", "followed": true, "text": "As advised." });
        taken(&world, partner, lead, answer).await;
    }
    let key = |partner: &str, person: &str| key_file(&world, partner, person).display().to_string();
    let (nhs_key, fire_key) = (key("nhs", "siro"), key("fire", "siro"));
    let public = ran(&world, &["public-key", &nhs_key]).await;
    let public: Value = serde_json::from_slice(&public.stdout).unwrap();
    assert_eq!(public, signature::public_key(&super::key(&world, "nhs", "siro")).unwrap());
    assert!(public.get("d").is_none(), "the private part stays here");
    let sign = ["sign", "pilot", "--version", "1", "--role", "siro", "--key", nhs_key.as_str()];
    refused(&world, ("nhs", "lead"), &sign, "answered 4").await;
    done(&world, nhs, &sign).await;
    // Without a network: over the bytes as they were downloaded, and no others.
    let path = "/v1/agreements/pilot/versions/1";
    let terms = world.send(by(world.bare("fire", "GET", path, PURPOSE), lead)).await;
    let digest = terms.headers["etag"].trim_matches('"').to_owned();
    let download = world.folder.path().join("pilot-1.json");
    let detached = async |text: &str, sha256: &str| {
        std::fs::write(&download, text).unwrap();
        let who = ["--organisation", "gmca", "--person", "siro", "--role", "siro", "--key", &fire_key];
        let arguments = ["sign-file", download.to_str().unwrap(), "--sha256", sha256];
        ran(&world, &[arguments.as_slice(), who.as_slice()].concat()).await
    };
    for (text, sha256, why) in [
        (terms.text.replace("\"retain_days\":30", "\"retain_days\":31"), digest.clone(), "other terms"),
        (format!("{} ", terms.text), digest.clone(), "download them again"),
        (terms.text.clone(), "0".repeat(64), "other terms"),
        (
            "{}".to_owned(),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned(),
            "no `id`",
        ),
    ] {
        let ran = detached(&text, &sha256).await;
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(!ran.status.success() && ran.stdout.is_empty() && said.contains(why), "{why}: {said}");
    }
    let made = detached(&terms.text, &digest).await;
    assert!(made.status.success(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    let handed_in = json!({ "step": "sign", "signature": made.trim() });
    let signed = world.send(step(&world, "fire", siro, handed_in)).await;
    assert_eq!(signed.status, StatusCode::OK, "{signed:?}");
    for (person, role) in [("guardian", "caldicott-guardian"), ("assets", "iao")] {
        let sign = ["sign", "pilot", "--version", "1", "--role", role, "--key", &key("nhs", person)];
        done(&world, ("nhs", person), &sign).await;
    }
    put_in_force(&world).await;
    // Out, and checked without a network.
    let bundle = world.folder.path().join("pilot.bundle.json").display().to_string();
    done(&world, fire, &["export", "pilot", "--version", "1", "--out", &bundle]).await;
    let ledger_key = world.app.store.verifiers()[0].to_string();
    let verified = ran(&world, &["verify", "--key", &ledger_key, &bundle]).await;
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success() && said.contains("signed for gmca by siro as siro"), "{said}");
    assert!(said.contains("put in force by two people"), "{said}");
    // Off by one, on by another of the same organisation.
    let off = ["suspend", "pilot", "--flow", "at-risk", "--reason", "breach", "--text", "A laptop is lost."];
    done(&world, ("fire", "lead"), &off).await;
    let on = ["resume", "pilot", "--flow", "at-risk", "--text", "It was found."];
    refused(&world, ("fire", "lead"), &on, "answered 403").await;
    assert_eq!(state(&done(&world, ("fire", "other"), &on).await), "active");
    world.verify().await;
}
