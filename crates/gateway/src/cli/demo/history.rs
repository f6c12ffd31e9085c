//! Three months of invented activity, so that the console has something to show. It is made as it would have come about: partners
//! ask over TLS with their certificates and signed contexts, by a clock that goes through those months.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Value, json};
use sharing::agreement::{london_day, london_midnight};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    super::token::{Partner, RequestOf, headers_at},
    negotiation::{self, Parties},
};
use crate::{
    clock::{Clock, SystemClock, SystemEntropy},
    config::{self, Settings},
    serve,
};

mod wishes;
mod work;

/// How far back it goes.
pub const DAYS: i64 = 84;

/// A clock that is put where the story is.
struct StoryClock(AtomicI64);

impl Clock for StoryClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }

    fn skew_max(&self) -> Option<SignedDuration> {
        None
    }
}

/// The same numbers every time: nobody needs these to be secret.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

/// Somebody who asks.
pub(super) struct Asker<'a> {
    name: &'static str,
    partner: Partner,
    client: reqwest::Client,
    state: &'a Path,
    clock: Arc<StoryClock>,
}

impl<'a> Asker<'a> {
    fn new(name: &'static str, state: &'a Path, clock: Arc<StoryClock>) -> anyhow::Result<Self> {
        let file = |of: &str| config::read(&state.join(of));
        let partner: Partner = toml::from_str(&file(&format!("{name}.partner.toml"))?)?;
        let identity = format!("{}\n{}", file(&format!("{name}.pem"))?, file(&format!("{name}.key"))?);
        let client = outbound::client(&partner.public_url)?
            .tls_certs_only([reqwest::Certificate::from_pem(file("ca.pem")?.as_bytes())?])
            .identity(reqwest::Identity::from_pem(identity.as_bytes())?)
            .build()?;
        Ok(Self { name, partner, client, state, clock })
    }

    async fn send(
        &self,
        (path, purpose, case): (&str, &str, &str),
        record: Option<(&str, &str)>,
        body: Value,
    ) -> anyhow::Result<Value> {
        let practitioner = &self.partner.practitioner;
        let request = RequestOf { method: "POST", path, purpose, case, record, list: None, practitioner };
        let (_, answer) = self.asked(&request, (Some(body), None)).await?;
        Ok(answer)
    }

    /// Something that somebody does with an agreement. It has to be possible.
    pub(super) async fn act(
        &self,
        person: &str,
        (path, revision): (&str, Option<i64>),
        body: Value,
    ) -> anyhow::Result<Value> {
        let body = (!body.is_null()).then_some(body);
        let request = self.of_agreements("POST", path, person);
        let (done, answer) = self.asked(&request, (body, revision)).await?;
        anyhow::ensure!(done, "the story goes wrong at {path}: {answer}");
        Ok(answer)
    }

    /// What somebody reads of an agreement.
    pub(super) async fn read(&self, person: &str, path: &str) -> anyhow::Result<Value> {
        let (done, answer) = self.asked(&self.of_agreements("GET", path, person), (None, None)).await?;
        anyhow::ensure!(done, "the story goes wrong at {path}: {answer}");
        Ok(answer)
    }

    fn of_agreements<'b>(&'b self, method: &'b str, path: &'b str, practitioner: &'b str) -> RequestOf<'b> {
        let purpose = self.partner.purposes.first().map_or("service-improvement", String::as_str);
        RequestOf { method, path, purpose, case: "ISA-7", record: None, list: None, practitioner }
    }

    async fn asked(
        &self,
        request: &RequestOf<'_>,
        (body, revision): (Option<Value>, Option<i64>),
    ) -> anyhow::Result<(bool, Value)> {
        let now = self.clock.now().as_second();
        let (access, context) = headers_at(now, &self.partner, self.state, request, None)?;
        let url = format!("{}{}", self.partner.public_url, request.path);
        let mut sent = self.client.request(request.method.parse()?, url);
        sent = sent.header("Authorization", format!("Bearer {access}")).header("Sharing-Context", context);
        if let Some(body) = body {
            sent = sent.header("Content-Type", "application/json").body(body.to_string());
        }
        if let Some(revision) = revision {
            sent = sent.header("If-Match", format!("\"{revision}\""));
        }
        let answer = sent.send().await.with_context(|| format!("the story's question of `{}`", self.name))?;
        let done = answer.status().is_success();
        Ok((done, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
    }

    /// A question about somebody. Whatever the answer is belongs to the story.
    async fn ask(
        &self,
        provider: &str,
        purpose: &str,
        (scheme, value): (&str, &str),
        more: Value,
    ) -> anyhow::Result<Value> {
        let case = format!("CASE-{}", self.clock.now().as_second() % 10_000);
        let mut body = json!({
            "subject": { "scheme": scheme, "value": value },
            "provider": provider,
            "purpose": purpose,
            "case_reference": case,
        });
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        self.send(("/v1/disclosures", purpose, &case), Some((scheme, value)), body).await
    }
}

/// Somebody's number. Most whom somebody asks about are old, as the agreements mean them; some are not, some have died, the
/// records of a few are restricted, and a few numbers are mistaken.
fn number(dice: &mut Dice) -> String {
    let kind = match dice.below(100) {
        0..=74 => "9995",
        75..=84 => "9993",
        85..=90 => "9992",
        91..=93 => "9991",
        _ => "9990",
    };
    loop {
        let digits = format!("{kind}{:05}", 10_000 + dice.below(80_000));
        let weighted = digits.chars().filter_map(|digit| digit.to_digit(10)).zip((2..=10).rev());
        let sum: u32 = weighted.map(|(digit, weight)| digit * weight).sum();
        match 11 - sum % 11 {
            10 => {}
            11 => return format!("{digits}0"),
            check => return format!("{digits}{check}"),
        }
    }
}

/// Writes the story into a database to which nothing has been written since it begins.
///
/// # Errors
/// When something does not go as it is told.
pub async fn write(listener: TcpListener, settings: &Settings, state: &Path) -> anyhow::Result<()> {
    let end = SystemClock.now();
    let begin = london_midnight(london_day(end.checked_sub(SignedDuration::from_hours(DAYS * 24))?));
    let clock = Arc::new(StoryClock(AtomicI64::new(begin.as_microsecond())));
    // The console is for when it is over.
    let settings = Settings { console: None, ..settings.clone() };
    let app = serve::build(&settings, clock.clone(), Arc::new(SystemEntropy)).await?;
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move { serve::serve_on(listener, &settings, app, stop).await }
    });
    let told = tell(state, &clock, begin).await;
    stop.cancel();
    serving.await??;
    told
}

async fn tell(state: &Path, clock: &Arc<StoryClock>, begin: Timestamp) -> anyhow::Result<()> {
    let asker = |name| Asker::new(name, state, clock.clone());
    let (fire, council, nhs) = (asker("fire")?, asker("council")?, asker("nhs")?);
    let auditors = asker("auditor")?;
    let mut dice = Dice(2_026);
    for day in 0..DAYS {
        let today = london_day(begin).checked_add(day.days())?;
        let (at, weekday) = (london_midnight(today), today.weekday().to_monday_zero_offset());
        let busy = if weekday < 5 { 8 + dice.below(6) } else { dice.below(3) };
        let mut minutes = 8 * 60;
        // A day begins with its morning, also where nobody asks for anything on it.
        let morning = at.checked_add(SignedDuration::from_mins(minutes))?;
        clock.0.store(morning.as_microsecond(), Ordering::SeqCst);
        for _ in 0..busy {
            minutes += 5 + i64::try_from(dice.below(45)).unwrap_or(5);
            let now = at.checked_add(SignedDuration::from_mins(minutes))?;
            clock.0.store(now.as_microsecond(), Ordering::SeqCst);
            one(&mut dice, (&fire, &council, &nhs)).await?;
        }
        let parties = Parties { fire: &fire, council: &council, nhs: &nhs };
        negotiation::day(parties, day, state).await?;
        // The last of them is still to be reviewed, for which there are three days, whatever time it is.
        if matches!(day, 20 | 55 | 82) {
            emergency(&fire).await?;
        }
        if matches!(day, 40 | 80 | 82) {
            one_off(&fire, clock).await?;
        }
        wishes::on(day, &council, &nhs, &fire).await?;
        let reviewing = [(&council, "TRF-PO-2"), (&nhs, "NHS-PO-1"), (&fire, "GMFRS-REV-1")];
        work::on(day, reviewing, (&council, "TRF-CG-1")).await?;
        if day == DAYS - 1 {
            // Whatever day of the week it was: what is approved then can still be fetched.
            let evening = at.checked_add(SignedDuration::from_hours(17))?.as_microsecond();
            clock.0.fetch_max(evening, Ordering::SeqCst);
            work::exports(&auditors).await;
        }
    }
    Ok(())
}

/// One thing that happens.
async fn one(
    dice: &mut Dice,
    (fire, council, nhs): (&Asker<'_>, &Asker<'_>, &Asker<'_>),
) -> anyhow::Result<()> {
    let roll = dice.below(26);
    let somebody = number(dice);
    let nhs_number = ("nhs-number", somebody.as_str());
    match roll {
        0..=10 => {
            fire.ask("nhs-pds", "fire-prevention-targeting", nhs_number, json!({})).await?;
        }
        11 => {
            // Now and then about a resident of the demonstration.
            let resident = ("nhs-number", "9732110317");
            let about = if dice.below(5) == 0 { resident } else { nhs_number };
            fire.ask("nhs-pds", "fire-prevention-targeting", about, json!({})).await?;
        }
        12..=15 => {
            council.ask("nhs-pds", "direct-care", nhs_number, json!({})).await?;
        }
        16 | 20..=24 => {
            // Nobody agreed to this.
            fire.ask("nhs-pds", "safe-and-well-referral", nhs_number, json!({})).await?;
        }
        17 => {
            let referred = ("local:trafford-council", "SWR-2044");
            fire.ask("trafford-asc", "safe-and-well-referral", referred, json!({})).await?;
        }
        18 => {
            nhs.ask("trafford-asc", "safeguarding-adult", ("local:trafford-council", "SWR-2042"), json!({}))
                .await?;
        }
        _ => {
            council.ask("gmfrs-prevention", "fire-return-referral", nhs_number, json!({})).await?;
        }
    }
    Ok(())
}

async fn emergency(fire: &Asker<'_>) -> anyhow::Result<()> {
    let person = ("local:trafford-council", "SWR-2041");
    let body = json!({
        "subject": { "scheme": person.0, "value": person.1 },
        "reason_code": "immediate-risk-to-life",
        "statement": "Smoke is reported, nobody answers the door, and a lifeline alarm was raised.",
        "cannot_consent": true,
    });
    let declared = fire.send(("/v1/break-glass", "vital-interests", "INC-7"), Some(person), body).await?;
    let more = json!({ "items": ["person.name", "health.home_oxygen"], "break_glass": declared.get("id") });
    fire.ask("trafford-asc", "vital-interests", person, more).await.map(drop)
}

async fn one_off(fire: &Asker<'_>, clock: &StoryClock) -> anyhow::Result<()> {
    let person = ("local:trafford-council", "SWR-2041");
    let items = json!({ "items": ["person.address", "health.home_oxygen"] });
    let referred = fire.ask("trafford-asc", "safeguarding-adult", person, items).await?;
    let Some(id) = referred.get("decision_id").and_then(Value::as_str) else { return Ok(()) };
    let form = json!({
        "position": "Prevention team leader",
        "purpose_in_words": "A safeguarding concern after a home visit: signs of neglect.",
        "items_in_words": "The address and the oxygen flag, to visit safely with the social worker.",
        "harm_if_not_shared": "The person may be left without heating and oxygen in a house full of paper.",
        "retention_and_deletion": "Kept with the safeguarding case for 28 days, then deleted.",
        "needed_by": clock.now().checked_add(SignedDuration::from_hours(72))?.to_string(),
        "contact": "prevention@gmfrs.example.org",
    });
    let path = format!("/v1/referrals/{id}/request");
    fire.send((&path, "safeguarding-adult", "SG-12"), None, form).await.map(drop)
}
