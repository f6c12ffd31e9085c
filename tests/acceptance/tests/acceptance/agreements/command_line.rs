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

#[tokio::test]
async fn a_course_is_taken_from_the_command_line_to_its_end() {
    let world = deployment().await;
    offices(&world).await;
    let writes = ("nhs", "author");
    let [nhs, nhs_other, nhs_dpo] = ["lead", "other", "dpo"].map(|person| ("nhs", person));
    let [fire, fire_other, fire_dpo] = ["lead", "other", "dpo"].map(|person| ("fire", person));
    let at = |name: &str| world.folder.path().join(name).display().to_string();
    let mut whole = terms();
    whole["id"] = json!("pilot");
    std::fs::write(at("terms.json"), whole.to_string()).unwrap();
    done(&world, writes, &["new", &at("terms.json")]).await;
    let take =
        async |who, step: &str, text: &str| state(&done(&world, who, &[step, "pilot", "--text", text]).await);
    refused(&world, writes, &["propose", "pilot"], "--text").await;
    refused(&world, writes, &["propose", "pilot", "--text", " "], "say why").await;
    assert_eq!(take(writes, "propose", "Crews have to know whom they visit.").await, "proposed");
    take(fire, "review", "Our information governance lead reads it.").await;
    // What is said of a clause, and answered.
    let about = ["--version", "1", "--clause", "/flows/0/obligations/retain_days"];
    let on_clause =
        ["comment", "make", "pilot", "--text", "Thirty days?", "--owner", "nhs-england", "--blocking"];
    let made =
        done(&world, fire, &[on_clause.as_slice(), &about, &["--due-on", "2030-01-31"]].concat()).await;
    let comment = serde_json::from_str::<Value>(&made).unwrap()["id"].as_str().unwrap().to_owned();
    done(&world, nhs, &["comment", "reply", "pilot", &comment, "--text", "A fortnight would do."]).await;
    // Other terms: read, changed, sent.
    let draft = at("second.json");
    done(&world, fire, &["terms", "pilot", "--version", "1", "--out", &draft]).await;
    let mut second: Value = serde_json::from_str(&std::fs::read_to_string(&draft).unwrap()).unwrap();
    second["flows"][0]["obligations"]["retain_days"] = json!(14);
    std::fs::write(&draft, second.to_string()).unwrap();
    let counter = ["counter", "pilot", &draft, "--reason", "retention-too-long", "--text", "A fortnight."];
    refused(&world, fire_other, &[counter.as_slice(), &["--revision", "1"]].concat(), "answered 412").await;
    assert_eq!(state(&done(&world, fire_other, &counter).await), "counter-proposed");
    done(&world, fire, &["comment", "resolve", "pilot", &comment, "--text", "Version 2 has it."]).await;
    let listed = done(&world, nhs, &["comment", "list", "pilot"]).await;
    assert!(listed.contains("\"resolved\"") && listed.contains("A fortnight would do."), "{listed}");
    take(nhs, "accept", "It is what we need.").await;
    assert_eq!(take(fire, "accept", "It is what we can give.").await, "agreed-in-principle");
    for (advises, answers) in [(nhs_dpo, nhs), (fire_dpo, fire)] {
        let advise = ["advise", "pilot", "--favourable", "true", "--text", "Proportionate."];
        done(&world, advises, &advise).await;
        let answer = ["answer-advice", "pilot", "--followed", "true", "--text", "As advised."];
        done(&world, answers, &answer).await;
    }
    assert!(done(&world, nhs, &["list"]).await.contains("\"agreed-in-principle\""));
    let checks = done(&world, nhs, &["checks", "pilot", "--version", "2"]).await;
    assert!(checks.contains("at-risk"), "{checks}");
    let impact = done(&world, nhs, &["impact", "pilot", "--version", "2"]).await;
    assert!(impact.contains("\"in_force\""), "{impact}");
    take(nhs, "assure", "Bases, notices and the assessment were looked at.").await;
    assert_eq!(take(fire, "open-signing", "Everybody has agreed.").await, "awaiting-signature");
    for (partner, person, role) in [
        ("nhs", "siro", "siro"),
        ("nhs", "guardian", "caldicott-guardian"),
        ("nhs", "assets", "iao"),
        ("fire", "siro", "siro"),
    ] {
        let key = key_file(&world, partner, person).display().to_string();
        let sign = ["sign", "pilot", "--version", "2", "--role", role, "--key", &key];
        done(&world, (partner, person), &sign).await;
    }
    take(nhs, "activate", "Everybody has signed.").await;
    refused(&world, nhs, &["confirm", "pilot", "--text", "Myself."], "answered 403").await;
    assert_eq!(take(fire, "confirm", "Every signature is there.").await, "active");
    // A dispute, with a mediator of neither.
    let with = ["--with", "nhs-england", "--reason", "unclear", "--text", "It comes too late."];
    let opening = ["dispute", "begin", "pilot", "--version", "2", "--clause", "/flows/0"];
    let begun = done(&world, fire, &[opening.as_slice(), &with].concat()).await;
    let dispute = serde_json::from_str::<Value>(&begun).unwrap()["id"].as_str().unwrap().to_owned();
    let argue = async |who, step: &str, more: &[&str]| {
        done(&world, who, &[&["dispute", "take", "pilot", &dispute, step], more].concat()).await
    };
    let mediates = ("council", "mediator");
    argue(mediates, "mediate", &["--text", "I know both of you."]).await;
    let outcome = ["--outcome", "practice-changes", "--text", "It is sent by noon."];
    let unsaid = ["dispute", "take", "pilot", &dispute, "settle", "--text", "It is sent by noon."];
    refused(&world, mediates, &unsaid, "--outcome").await;
    argue(mediates, "settle", &outcome).await;
    argue(nhs, "accept-outcome", &["--text", "We can do that."]).await;
    assert_eq!(state(&argue(fire, "accept-outcome", &[]).await), "resolved");
    let listed = done(&world, nhs, &["dispute", "list", "pilot"]).await;
    assert!(listed.contains("We can do that."), "{listed}");
    done(&world, nhs, &["dispute", "precedents"]).await;
    // It lives, and ends.
    let reviewed = ["reviewed", "pilot", "--next-on", "2027-09-30", "--text", "It works."];
    assert_eq!(state(&done(&world, nhs, &reviewed).await), "active");
    done(&world, nhs, &["usage", "pilot"]).await;
    let mut third = second;
    third["title"] = json!("Adults at risk of fire");
    std::fs::write(&draft, third.to_string()).unwrap();
    let vary = ["vary", "pilot", &draft, "--reason", "unclear", "--text", "Whom it is about."];
    done(&world, fire_other, &vary).await;
    take(fire_other, "withdraw", "Not now.").await;
    third["id"] = json!("another");
    std::fs::write(&draft, third.to_string()).unwrap();
    refused(&world, fire_other, &vary, "terms of \"another\", not of pilot").await;
    take(nhs, "terminate", "Another service does it now.").await;
    assert_eq!(take(fire, "confirm", "So it does.").await, "terminated");
    let steps = done(&world, nhs_other, &["steps", "pilot"]).await;
    let steps: Value = serde_json::from_str(&steps).unwrap();
    for step in steps["steps"].as_array().unwrap() {
        // Every step says why, but a signature, whose terms do, and the beginning of a draft.
        let is_silent = ["drafted", "signed"].contains(&step["action"].as_str().unwrap());
        assert!(is_silent || step["text"].as_str().is_some_and(|text| !text.is_empty()), "{step}");
    }
    world.verify().await;
}
