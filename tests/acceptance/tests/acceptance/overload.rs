//! When there are more requests than places.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use acceptance::World;
use futures_util::future::join_all;
use gateway::admission::PartnerLimits;
use ledger::entry::Body;

#[tokio::test]
async fn a_withdrawal_is_taken_while_no_question_is() {
    let world = World::with_settings(|settings| settings.limits.requests_max = 1).await;
    let given = world.send(world.consent("FAULT-PAUSING")).await;
    let path = format!("/v1/consents/{}/withdraw", given.body["id"].as_str().unwrap());
    let asked = world.asked["council"].asked().len();
    let meanwhile = async {
        while world.asked["council"].asked().len() == asked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let question = world.send(world.prevention("9732110317")).await;
        let withdrawal = world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
        (question, withdrawal)
    };
    let (first, (second, withdrawal)) = tokio::join!(world.send(world.referral("FAULT-PAUSING")), meanwhile);
    assert_eq!((second.status.as_u16(), second.code()), (503, "overloaded"), "{second:?}");
    assert_eq!(withdrawal.status, 200, "{withdrawal:?}");
    assert_eq!((first.status.as_u16(), first.code()), (404, "no-record-available"), "it counted at once");
    world.verify().await;
}

/// What was turned away, by reason and system, as the ledger has it.
async fn shed(world: &World) -> Vec<(String, Option<String>, u64)> {
    gateway::shed::record(&world.app).await;
    let entries = world.entries().await;
    let shed = entries.iter().filter_map(|entry| match &entry.body {
        Body::RequestsShed { reason, system, count, .. } => Some((reason.clone(), system.clone(), *count)),
        _ => None,
    });
    shed.collect()
}

#[tokio::test]
async fn one_systems_flood_is_turned_away_at_once_recorded_in_one_entry_and_takes_nobody_elses_places() {
    let world = World::with_settings(|settings| settings.limits.partner.requests_max = 2).await;
    world.send(world.consent("FAULT-PAUSING")).await;
    let before = world.entries().await.len();
    let flood: Vec<_> = (0..40).map(|_| world.send(world.referral("FAULT-PAUSING"))).collect();
    let calm = async {
        while world.asked["council"].asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let question = world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9732110317"));
        world.send(question).await
    };
    let (answers, calm) = tokio::join!(join_all(flood), calm);
    assert_eq!(calm.status, 200, "{calm:?}");
    let turned_away: Vec<_> = answers.iter().filter(|answer| answer.code() == "too-many-at-once").collect();
    assert!(turned_away.len() >= 30, "{}", turned_away.len());
    for answer in &turned_away {
        assert_eq!(answer.status, 429);
        assert_eq!(answer.headers["retry-after"], "1");
    }
    let shed = shed(&world).await;
    let counted: u64 = shed.iter().map(|(_, _, count)| count).sum();
    assert_eq!(counted, u64::try_from(turned_away.len()).unwrap(), "none is missing: {shed:?}");
    assert!(
        shed.iter().all(|(reason, system, _)| reason == "too-many-at-once"
            && system.as_deref() == Some("gmca-prevention"))
    );
    assert!(world.entries().await.len() - before < 40, "a flood of requests is no flood of entries");
    world.verify().await;
}

/// Whoever goes on is told after half a second, and is counted whether they wait for that or not; nobody else waits.
#[tokio::test]
async fn a_flood_is_turned_away_more_slowly_and_counted_all_the_same() {
    const HELD: Duration = Duration::from_millis(500);
    let world = World::with_settings(|settings| {
        let fire = settings.systems.iter_mut().find(|system| system.client_id == "gmca-prevention");
        fire.unwrap().limits = Some(PartnerLimits { requests_max: 96, requests_per_minute: 1, burst: 1 });
    })
    .await;
    let url = format!("{}/v1/disclosures", world.settings.public_url);
    let (answered, is_over, began) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    let turned_away = |answer: reqwest::Response| {
        // The first of all is let in, and says nothing of itself.
        assert!([429, 401].contains(&answer.status().as_u16()), "{answer:?}");
        answered.fetch_add(u64::from(answer.status() == 429), Ordering::Relaxed);
    };
    let flood = join_all((0..12).map(|_| async {
        let (client, mut longest) = (world.client("fire"), Duration::ZERO);
        while !is_over.load(Ordering::Relaxed) {
            let sent = Instant::now();
            turned_away(client.post(&url).send().await.unwrap());
            longest = longest.max(sent.elapsed());
        }
        longest
    }));
    let meanwhile = async {
        let question = world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9732110317"));
        let others = (world.send(question).await, world.send(world.objection("9732110317")).await);
        // Some who do not wait.
        let (client, mut broken_off) = (world.client("fire"), 0);
        turned_away(client.post(&url).send().await.unwrap());
        while broken_off < 3 && began.elapsed() < Duration::from_secs(40) {
            match tokio::time::timeout(HELD / 2, client.post(&url).send()).await {
                Ok(answer) => turned_away(answer.unwrap()),
                Err(_) => broken_off += 1,
            }
        }
        is_over.store(true, Ordering::Relaxed);
        (others, broken_off)
    };
    let (longest, ((question, objection), broken_off)) = tokio::join!(flood, meanwhile);
    assert_eq!(broken_off, 3, "nobody was kept waiting");
    assert!(longest.into_iter().any(|longest| longest >= HELD));
    assert_eq!(
        (question.status.as_u16(), objection.status.as_u16()),
        (200, 201),
        "{question:?} {objection:?}"
    );
    // The gateway writes what it counted, too: what it has in hand comes a moment later.
    let (answered, mut counted) = (answered.load(Ordering::Relaxed), 0);
    while counted <= answered && began.elapsed() < Duration::from_mins(1) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        counted = shed(&world).await.iter().map(|(_, _, count)| count).sum();
    }
    assert!(counted > answered, "{counted} are counted of {answered}, and {broken_off} who broke off");
    world.verify().await;
}

#[tokio::test]
async fn a_rate_is_told_kept_and_recorded_and_does_not_hold_back_withdrawals() {
    let world = World::with_settings(|settings| {
        settings.limits.partner.requests_per_minute = 1;
        settings.limits.partner.burst = 3;
    })
    .await;
    // Consents are not counted: a person's no is one, too.
    let given = world.send(world.consent("SWR-2041")).await;
    let ask = async || {
        let question = world.question("council", "nhs-pds", "direct-care", ("nhs-number", "9732110317"));
        world.send(question).await
    };
    let first = ask().await;
    assert_eq!(
        (first.status.as_u16(), first.headers["ratelimit"].as_str()),
        (200, "\"requests\";r=2"),
        "{first:?}"
    );
    assert_eq!(first.headers["ratelimit-policy"], "\"requests\";q=3;w=180");
    for _ in 0..2 {
        assert_eq!(ask().await.status, 200);
    }
    let refused = ask().await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "too-many-requests"));
    let wait: u32 = refused.headers["retry-after"].parse().unwrap();
    assert!((1..=60).contains(&wait) && refused.headers["ratelimit"].starts_with("\"requests\";r=0;t="));
    let path = format!("/v1/consents/{}/withdraw", given.body["id"].as_str().unwrap());
    let withdrawal = world.send(world.bare("council", "POST", &path, "safe-and-well-referral")).await;
    assert_eq!(withdrawal.status, 200, "{withdrawal:?}");
    let mut refusal = world.consent("SWR-2041");
    refusal.body.as_mut().unwrap()["status"] = "refused".into();
    assert_eq!(world.send(refusal).await.status, 201, "whoever says no is heard");
    assert_eq!(
        world.send(world.prevention("9736363015")).await.status,
        200,
        "another system has its own rate"
    );
    let reasons: Vec<_> = shed(&world).await.into_iter().map(|(reason, ..)| reason).collect();
    assert_eq!(reasons, ["too-many-requests"]);
}

#[tokio::test]
async fn withdrawals_are_all_taken_while_everything_else_is_turned_away() {
    let world = World::with_settings(|settings| settings.limits.requests_max = 1).await;
    let mut withdrawals = Vec::new();
    for number in 0..40 {
        let given = world.send(world.consent(&format!("SWR-9{number:03}"))).await;
        let path = format!("/v1/consents/{}/withdraw", given.body["id"].as_str().unwrap());
        withdrawals.push(world.bare("council", "POST", &path, "safe-and-well-referral"));
    }
    world.send(world.consent("FAULT-PAUSING")).await;
    let flood: Vec<_> = (0..60).map(|_| world.send(world.referral("FAULT-PAUSING"))).collect();
    let (answers, withdrawn) =
        tokio::join!(join_all(flood), join_all(withdrawals.into_iter().map(|request| world.send(request))));
    let taken = withdrawn.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(taken, 40, "every one is taken, more at once than there are places for them");
    assert!(answers.iter().filter(|answer| answer.code() == "overloaded").count() >= 30);
    world.verify().await;
}

#[tokio::test]
async fn a_record_holder_that_fails_rests_and_nobody_elses_questions_do() {
    let world = World::new().await;
    for _ in 0..10 {
        let failed = world.send(world.prevention("9990000077")).await;
        assert_eq!(failed.code(), "provider-unavailable");
    }
    let asked = world.asked["nhs"].asked().len();
    // Whoever it is: somebody there is, nobody, somebody about whom nothing may be told (a decoy would be asked for).
    world.send(world.objection("9736363015")).await;
    for number in ["9732110317", "9990000166", "9736363015"] {
        let resting = world.send(world.prevention(number)).await;
        assert_eq!(
            (resting.status.as_u16(), resting.code()),
            (502, "provider-unavailable"),
            "{number}: {resting:?}"
        );
    }
    assert_eq!(world.asked["nhs"].asked().len(), asked, "it is left alone");
    world.send(world.referral("SWR-2041")).await;
    assert_eq!(world.asked["council"].asked().len(), 1, "another record holder is asked");
    let reasons = world.entries().await;
    let resting =
        |body: &Body| matches!(body, Body::Closure { reasons, .. } if reasons == &["provider-resting"]);
    assert!(reasons.iter().any(|entry| resting(&entry.body)));
    world.verify().await;
}

#[tokio::test]
async fn a_slow_record_holder_takes_its_own_places_alone() {
    let world = World::with_settings(|settings| {
        settings.providers.values_mut().for_each(|provider| provider.in_flight_max = 2);
    })
    .await;
    world.send(world.consent("FAULT-PAUSING")).await;
    let slow: Vec<_> = (0..12).map(|_| world.send(world.referral("FAULT-PAUSING"))).collect();
    let other = async {
        while world.asked["council"].asked().len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world.send(world.prevention("9732110317")).await
    };
    let (slow, other) = tokio::join!(join_all(slow), other);
    assert_eq!(other.status, 200, "{other:?}");
    assert!(world.asked["council"].asked().len() <= 12 - 6, "most were not asked at all");
    assert!(slow.iter().filter(|answer| answer.code() == "provider-unavailable").count() >= 6);
    world.verify().await;
}

#[tokio::test]
async fn what_cannot_be_answered_in_time_is_not_begun() {
    // Less than a commit takes.
    let world = World::with_settings(|settings| settings.limits.request_deadline_ms = 1).await;
    let answer = world.send(world.prevention("9732110317")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (504, "took-too-long"), "{answer:?}");
    assert!(world.asked["nhs"].asked().is_empty());
    let entries = world.entries().await;
    assert!(!entries.iter().any(|entry| entry.body.kind() == "intent"), "nothing was opened");
    // Of what was to be recorded nobody is told that it was not.
    let mut answer = world.send(world.objection("9732110317")).await;
    for _ in 0..50 {
        // A quiet machine may take less than a millisecond.
        if answer.status == 201 {
            answer = world.send(world.objection("9732110317")).await;
        }
    }
    assert_eq!((answer.status.as_u16(), answer.code()), (504, "may-be-recorded"), "{answer:?}");
    assert!(!answer.body.to_string().contains("nothing was"), "{answer:?}");
}

#[tokio::test]
async fn a_record_holder_is_given_what_is_left_of_the_time() {
    let world = World::with_settings(|settings| {
        settings.limits.request_deadline_ms = 1_500;
        settings.providers.values_mut().for_each(|provider| provider.timeout_ms = 60_000);
    })
    .await;
    // It answers after a minute. Where committing takes longer than what is kept for it, as it does now and then on a disk that
    // others use, the answer is that it took too long.
    let mut answer = world.send(world.prevention("9990000018")).await;
    for _ in 0..2 {
        if answer.code() == "took-too-long" {
            answer = world.send(world.prevention("9990000018")).await;
        }
    }
    assert_eq!((answer.status.as_u16(), answer.code()), (502, "provider-unavailable"), "{answer:?}");
    let last = world.last_kinds(1).await;
    assert_eq!(last, ["closure"], "in time to say so");
    world.verify().await;
}

#[tokio::test]
async fn that_no_record_is_available_is_said_in_time() {
    // Its time is later than anybody waits.
    let world = World::with_settings(|settings| {
        settings.limits.request_deadline_ms = 1_500;
        settings.limits.no_record_step_ms = 2_000;
    })
    .await;
    let answer = world.send(world.prevention("9990000239")).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "no-record-available"), "{answer:?}");
    world.verify().await;
}
