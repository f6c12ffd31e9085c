//! A refusal about a person cannot be told from "no such person" by how long it takes.
//!
//! Times are compared as distributions, never with a bound. Each kind of refusal is asked for many times, in random
//! order with everything it is compared with, over one connection. A Mann–Whitney U test says whether the two sets of
//! times differ, and its effect size by how much: the chance that a refusal takes longer than "no such person", one
//! half where the two are alike. A kind that differs in one round is measured afresh, up to [`ROUNDS`] times, and is
//! found out only if it differs in all.
//!
//! False alarms: the band of effect sizes lies 3.5 standard errors from one half at [`SAMPLES`], so that two equal
//! distributions fail a round with a chance of about 1 in 2,000, and three rounds in a row never; a machine that is
//! busy for a while disturbs neighbours in the random order alike. What can be missed: an effect inside the band, which
//! is a shift of about a third of a standard deviation. Every round therefore also shows that the same statistic finds a
//! refusal that is answered at once; and a record holder that needs 20 ms longer for a record than for none is found
//! where answers are not held until fixed times, and is not where they are.

use std::{collections::BTreeMap, time::Instant};

use acceptance::{Answer, Partners, Request, World, answer};
use reqwest::StatusCode;
use upstreams::nhs::Crowd;

/// Questions of each kind in a round.
const SAMPLES: usize = 200;
/// Independent rounds before a kind of refusal is found out.
const ROUNDS: usize = 3;
/// Chance of a false alarm in one comparison of one round.
const P_MAX: f64 = 0.001;
/// Effect sizes that are small enough to be no help to anybody.
const EFFECTS: std::ops::RangeInclusive<f64> = 0.4..=0.6;

/// One kind of question, with the person asked for each time.
struct Kind {
    name: &'static str,
    question: fn(&Partners, &str) -> Request,
    people: Box<dyn Iterator<Item = String>>,
}

impl Kind {
    fn of(
        name: &'static str,
        question: fn(&Partners, &str) -> Request,
        people: impl Iterator<Item = String> + 'static,
    ) -> Self {
        Self { name, question, people: Box::new(people) }
    }

    fn again(name: &'static str, question: fn(&Partners, &str) -> Request, person: &'static str) -> Self {
        Self::of(name, question, std::iter::repeat(person.to_owned()))
    }
}

#[tokio::test]
async fn a_refusal_takes_as_long_as_nobody_the_second_time() {
    let world = held().await;
    assert_eq!(world.send(world.objection("9736363015")).await.status, StatusCode::CREATED);
    compare(
        &world,
        Kind::again("nobody", Partners::prevention, "9990000239"),
        vec![
            // Decided beforehand: a decoy is asked for.
            Kind::again("objected", Partners::prevention, "9736363015"),
            Kind::again("restricted and dead", Partners::prevention, "9000000025"),
            Kind::again("dead", Partners::prevention, "9000000009"),
            // Read each time, and a whole record.
            Kind::again("young", Partners::prevention, "5900046192"),
        ],
        // Answered at once: it is about the agreement.
        Kind::again("another purpose", other_purpose, "9990000239"),
    )
    .await;
}

#[tokio::test]
async fn a_refusal_takes_as_long_as_nobody_the_first_time() {
    let world = held().await;
    compare(
        &world,
        Kind::of("nobody", Partners::prevention, Crowd::Nobody.numbers()),
        vec![
            Kind::of("restricted", Partners::prevention, Crowd::Restricted.numbers()),
            Kind::of("dead", Partners::prevention, Crowd::Dead.numbers()),
            Kind::of("young", Partners::prevention, Crowd::Young.numbers()),
        ],
        Kind::of("another purpose", other_purpose, Crowd::Nobody.numbers()),
    )
    .await;
}

#[tokio::test]
async fn a_missing_consent_takes_as_long_as_nobody() {
    let world = held().await;
    for reference in ["SWR-9000", "SWR-2044"] {
        assert_eq!(world.send(world.consent(reference)).await.status, StatusCode::CREATED);
    }
    let mut refused = world.consent("SWR-2044");
    refused.body.as_mut().unwrap()["status"] = "refused".into();
    assert_eq!(world.send(refused).await.status, StatusCode::CREATED);
    compare(
        &world,
        Kind::again("nobody", Partners::referral, "SWR-9000"),
        vec![
            Kind::again("no consent", Partners::referral, "SWR-2043"),
            Kind::again("consent taken back", Partners::referral, "SWR-2044"),
            Kind::again("nobody without consent", Partners::referral, "SWR-9001"),
        ],
        Kind::again(
            "another purpose",
            |world, reference| {
                world.question(
                    "fire",
                    "trafford-asc",
                    "fire-prevention-targeting",
                    ("local:trafford-council", reference),
                )
            },
            "SWR-9000",
        ),
    )
    .await;
}

/// A decoy cannot help where a record holder itself takes longer for a record than for none.
#[tokio::test]
async fn a_record_holder_that_takes_longer_for_a_record_is_not_heard() {
    let kinds = || {
        let nobody = Kind::of("nobody", Partners::prevention, Crowd::Nobody.numbers());
        let fetched = Kind::of("fetched", Partners::prevention, Crowd::Fetched.numbers());
        (nobody, vec![fetched], Kind::of("another purpose", other_purpose, Crowd::Nobody.numbers()))
    };
    let (nobody, fetched, at_once) = kinds();
    compare(&held_longer().await, nobody, fetched, at_once).await;
    // Nor where several times fall between, once it is known how long its records take.
    let (nobody, fetched, at_once) = kinds();
    compare(&guessing(5).await, nobody, fetched, at_once).await;
    let at_once_world = guessing(0).await;
    let (nobody, fetched, at_once) = kinds();
    let told = differences(&at_once_world, nobody, fetched, at_once).await;
    assert!(told.contains_key("fetched"), "without fixed times it is heard: {told:?}");
}

/// A world in which nobody is stopped for guessing, since thousands of guesses are compared.
async fn guessing(no_record_step_ms: u64) -> World {
    World::with_settings(|settings| {
        settings.limits.no_record_step_ms = no_record_step_ms;
        let caller = &mut settings.limits.caller;
        caller.subjects_per_practitioner_per_day = u32::MAX;
        caller.subjects_per_system_per_day = u32::MAX;
        caller.no_record_at_least = u32::MAX;
        caller.no_record_per_system_at_least = u32::MAX;
        caller.run_at_least = u32::MAX;
        caller.run_per_system_at_least = u32::MAX;
    })
    .await
}

/// Answers wait for times that are far apart beside how long anything takes on a machine that is busy with other tests.
async fn held() -> World {
    guessing(50).await
}

async fn held_longer() -> World {
    guessing(100).await
}

fn other_purpose(world: &Partners, number: &str) -> Request {
    world.question("fire", "nhs-pds", "safe-and-well-referral", ("nhs-number", number))
}

/// Finds no difference between `nobody` and any of `kinds`, and one between `nobody` and `at_once`.
async fn compare(world: &World, nobody: Kind, kinds: Vec<Kind>, at_once: Kind) {
    let found = differences(world, nobody, kinds, at_once).await;
    assert!(found.is_empty(), "told from nobody by time, in each of {ROUNDS} rounds: {found:.4?}");
}

/// Those of `kinds` that differ from `nobody` in each of [`ROUNDS`] rounds. `at_once` differs in all.
async fn differences(
    world: &World,
    mut nobody: Kind,
    mut kinds: Vec<Kind>,
    at_once: Kind,
) -> BTreeMap<&'static str, Verdict> {
    let client = world.client("fire");
    let mut random = Random(1);
    let control = at_once.name;
    kinds.push(at_once);
    let mut found = BTreeMap::new();
    for _ in 0..ROUNDS {
        let times = measure(world, &client, &mut nobody, &mut kinds, &mut random).await;
        let verdicts: BTreeMap<_, _> = kinds
            .iter()
            .map(|kind| (kind.name, mann_whitney(&times[kind.name], &times[nobody.name])))
            .collect();
        assert!(verdicts[control].differs(), "`{control}` was not found: {:?}", verdicts[control]);
        kinds.retain(|kind| verdicts[kind.name].differs());
        found =
            verdicts.into_iter().filter(|(name, verdict)| *name != control && verdict.differs()).collect();
        if found.is_empty() {
            break;
        }
    }
    found
}

/// Asks [`SAMPLES`] questions of each kind in random order, and returns the seconds that each took.
async fn measure(
    world: &World,
    client: &reqwest::Client,
    nobody: &mut Kind,
    kinds: &mut [Kind],
    random: &mut Random,
) -> BTreeMap<&'static str, Vec<f64>> {
    let mut all: Vec<&mut Kind> = std::iter::once(nobody).chain(kinds.iter_mut()).collect();
    let warm_up = (0..all.len()).cycle().take(all.len() * 10);
    let order = random.shuffled((0..all.len()).cycle().take(all.len() * SAMPLES).collect());
    let mut times: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut like_nobody = None;
    for (number, which) in warm_up.chain(order).enumerate() {
        let kind = &mut *all[which];
        let person = kind.people.next().unwrap();
        let (seconds, answer) = ask(world, client, &(kind.question)(world, &person)).await;
        if answer.status == StatusCode::FORBIDDEN {
            assert_eq!(answer.code(), "no-agreement", "{}", kind.name);
        } else {
            let like_nobody = like_nobody.get_or_insert_with(|| told(&answer));
            assert_eq!(told(&answer), *like_nobody, "{}", kind.name);
        }
        if number >= all.len() * 10 {
            times.entry(all[which].name).or_default().push(seconds);
        }
    }
    times
}

/// Everything that a caller sees of an answer, but for what is random or counts up.
fn told(answer: &Answer) -> (impl PartialEq + std::fmt::Debug + use<>, usize) {
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    let length: usize = answer.headers["content-length"].parse().unwrap();
    (answer.shape(), length - answer.body["receipt"].to_string().len())
}

/// From the first byte of the question to the last of the answer. Signing it is not counted.
async fn ask(world: &World, client: &reqwest::Client, request: &Request) -> (f64, Answer) {
    let (access, context) = world.headers(request);
    let sent = client
        .request(request.method.parse().unwrap(), format!("{}{}", world.settings.public_url, request.path))
        .bearer_auth(access)
        .header("Sharing-Context", context)
        .json(request.body.as_ref().unwrap())
        .build()
        .unwrap();
    let start = Instant::now();
    let answered = answer(client.execute(sent).await.unwrap()).await;
    (start.elapsed().as_secs_f64(), answered)
}

/// What a comparison of two sets of times came to.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// The chance of a difference as large as this one between two equal distributions.
    p: f64,
    /// The chance that one of the first takes longer than one of the second, ties counted half.
    effect: f64,
}

impl Verdict {
    fn differs(self) -> bool {
        self.p < P_MAX && !EFFECTS.contains(&self.effect)
    }
}

/// The two-sided Mann–Whitney U test, by the normal approximation.
///
/// Source: H. B. Mann and D. R. Whitney, Annals of Mathematical Statistics 18 (1947), 50–60. Ties, which whole
/// nanoseconds hardly have, count half and are not corrected for in the variance: that errs towards "alike".
#[expect(clippy::cast_precision_loss, reason = "a few hundred times")]
fn mann_whitney(first: &[f64], second: &[f64]) -> Verdict {
    let mut sorted = second.to_vec();
    sorted.sort_by(f64::total_cmp);
    let beaten = first.iter().map(|time| {
        let below = sorted.partition_point(|other| other < time);
        let not_above = sorted.partition_point(|other| other <= time);
        (below + not_above) as f64 / 2.0
    });
    let (n, m) = (first.len() as f64, second.len() as f64);
    let effect = beaten.sum::<f64>() / (n * m);
    let standard_error = ((n + m + 1.0) / (12.0 * n * m)).sqrt();
    Verdict { p: two_sided((effect - 0.5) / standard_error), effect }
}

/// The chance that a standard normal variable lies further from 0 than `z`.
///
/// Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17 (error below 7.5e-8).
fn two_sided(z: f64) -> f64 {
    let t = 1.0 / 0.231_641_9_f64.mul_add(z.abs(), 1.0);
    let coefficients = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let series = coefficients.into_iter().fold(0.0, |sum: f64, coefficient| sum.mul_add(t, coefficient)) * t;
    2.0 * series * (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}

/// SplitMix64, so that the order is random and the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn shuffled<T>(&mut self, list: Vec<T>) -> Vec<T> {
        let mut keyed: Vec<_> = list.into_iter().map(|item| (self.next(), item)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        keyed.into_iter().map(|(_, item)| item).collect()
    }
}

#[test]
fn the_statistic_agrees_with_published_values() {
    for (z, p) in [(0.0, 1.0), (1.959_964, 0.05), (3.290_527, 0.001), (-3.290_527, 0.001)] {
        assert!((two_sided(z) - p).abs() < 1e-6, "{z}");
    }
    // Aesop's race: six tortoises and six hares, U = 11 and 25.
    let (tortoises, hares) = ([1.0, 7.0, 8.0, 9.0, 10.0, 11.0], [2.0, 3.0, 4.0, 5.0, 6.0, 12.0]);
    assert!((mann_whitney(&hares, &tortoises).effect * 36.0 - 11.0).abs() < 1e-9);
    assert!((mann_whitney(&tortoises, &hares).effect * 36.0 - 25.0).abs() < 1e-9);
    let ties = mann_whitney(&[1.0; 400], &[1.0; 400]);
    assert!((ties.effect - 0.5).abs() < 1e-9 && !ties.differs());
}
