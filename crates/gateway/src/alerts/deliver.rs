//! Telling people: of alerts by a signed webhook and an e-mail, of steps of agreements and of what is beside their courses by the
//! webhook, for each organisation that wants them. What is said to a peer's connector goes the same way (`dataspace`).
//!
//! A message holds the alert's name, the rule, how much it matters, by when it is due and where to read more. It
//! identifies nobody: no pseudonym, no practitioner, no identifier, no case, no decision. Messages wait in the
//! database and are tried for three days; what is given up stays visible and can be put back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use connectors::notify::{self, Mailbox, Mailer, NotifyFault, Webhook};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sharing::OrganisationId;
use store::{AlertRow, Change, DeliveryRow, MatterRow, MatterStepRow, StepRow, StoreError, Submission};
use tokio::task::JoinSet;

use crate::{agreements::watch::level_of, app::App, dataspace};

/// How long after each failure a message is tried again. After the last it is given up.
const WAITS: [SignedDuration; 9] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(14),
    SignedDuration::from_hours(20),
    SignedDuration::from_hours(24),
];

/// Most messages in one round.
const ROUND: u32 = 200;

/// How an organisation is told.
#[derive(Debug, Default)]
pub struct Channels {
    /// Its receiver of webhooks.
    pub webhook: Option<Webhook>,
    /// Where its privacy officers read mail.
    pub mail: Vec<Mailbox>,
    /// Who is told when nobody has looked in time, besides.
    pub escalation: Vec<Mailbox>,
}

/// How everybody is told.
#[derive(Debug, Default)]
pub struct Notifier {
    /// Each organisation's channels.
    pub channels: BTreeMap<OrganisationId, Channels>,
    /// The mail server.
    pub mailer: Option<Mailer>,
    /// The gateway's own address, without a slash at its end.
    pub public_url: String,
}

/// Delivers what is due, each organisation's messages beside the others'. Returns how many were taken.
///
/// # Errors
/// [`StoreError`] when the database fails; nothing is lost by it, and a message may be sent twice under one id.
pub async fn deliver_due(app: &Arc<App>) -> Result<usize, StoreError> {
    let _one_at_a_time = app.delivering.lock().await;
    let due = app.store.due_deliveries(app.clock.now(), ROUND).await?;
    let mut by_organisation = BTreeMap::<String, Vec<DeliveryRow>>::new();
    for row in due {
        by_organisation.entry(row.organisation.clone()).or_default().push(row);
    }
    let mut working = JoinSet::new();
    for rows in by_organisation.into_values() {
        working.spawn(deliver_all(app.clone(), rows));
    }
    let mut taken = 0;
    while let Some(done) = working.join_next().await {
        taken += done.map_err(|error| StoreError::Ledger(error.to_string()))??;
    }
    Ok(taken)
}

async fn deliver_all(app: Arc<App>, rows: Vec<DeliveryRow>) -> Result<usize, StoreError> {
    let mut taken = 0;
    let mut failed: Vec<String> = Vec::new();
    for mut row in rows {
        // A receiver that has just failed is not asked again in the same round.
        if failed.contains(&row.channel) {
            continue;
        }
        let Some(message) = Message::of(&app, &row).await? else { continue };
        let sent = send(&app, &message, &row).await;
        let at = app.clock.now();
        row.attempts += 1;
        match sent {
            Sent::Off => "off".clone_into(&mut row.state),
            Sent::Taken => {
                "delivered".clone_into(&mut row.state);
                row.fault = None;
                taken += 1;
            }
            Sent::Failed(fault) => {
                failed.push(row.channel.clone());
                put_off(&mut row, fault, at);
            }
        }
        let mut submission = Submission::of(at, Vec::new());
        submission.changes.push(Change::MoveDelivery(Box::new(row)));
        app.store.commit(submission).await.map_err(|error| StoreError::Ledger(error.to_string()))?;
    }
    Ok(taken)
}

/// What a message is about.
enum Message {
    Alert(Box<AlertRow>),
    Step(Box<StepRow>),
    Matter(Box<MatterRow>, Box<MatterStepRow>),
}

impl Message {
    async fn of(app: &App, row: &DeliveryRow) -> Result<Option<Self>, StoreError> {
        if row.about == "alert" {
            return Ok(app.store.alert(&row.subject).await?.map(|alert| Self::Alert(Box::new(alert))));
        }
        let revision = row.event.parse().unwrap_or_default();
        if row.about == "matter" {
            let matter = app.store.matter(&row.subject).await?;
            let step = app.store.matter_step(&row.subject, revision).await?;
            return Ok(matter.zip(step).map(|(row, step)| Self::Matter(Box::new(row), Box::new(step))));
        }
        Ok(app.store.step(&row.subject, revision).await?.map(|step| Self::Step(Box::new(step))))
    }

    /// One name for a message, however often it is tried: the receiver can tell a second one.
    fn id(&self, event: &str) -> String {
        let subject = match self {
            Self::Alert(alert) => &alert.id,
            Self::Step(step) => &step.agreement,
            Self::Matter(matter, _) => &matter.id,
        };
        format!("msg_{}_{event}", subject.replace('_', "-"))
    }
}

fn put_off(row: &mut DeliveryRow, fault: NotifyFault, at: Timestamp) {
    row.fault = Some(fault.as_str().to_owned());
    let wait = usize::try_from(row.attempts - 1).ok().and_then(|tries| WAITS.get(tries));
    match wait.filter(|_| fault != NotifyFault::Gone) {
        Some(wait) => row.next_us = at.checked_add(*wait).unwrap_or(at).as_microsecond(),
        None => "dead".clone_into(&mut row.state),
    }
    tracing::warn!(
        about = row.about,
        subject = row.subject,
        channel = row.channel,
        attempts = row.attempts,
        state = row.state,
        fault = fault.as_str(),
        "a message could not be delivered"
    );
}

enum Sent {
    Taken,
    Off,
    Failed(NotifyFault),
}

async fn send(app: &App, message: &Message, row: &DeliveryRow) -> Sent {
    if let (Message::Matter(matter, step), "dataspace") = (message, row.channel.as_str()) {
        return match dataspace::send(app, matter, step.revision).await {
            Ok(Ok(true)) => Sent::Taken,
            Ok(Ok(false)) => Sent::Off,
            Ok(Err(fault)) => Sent::Failed(fault),
            Err(error) => {
                tracing::error!(%error, "a message to a peer cannot be made");
                Sent::Failed(NotifyFault::Unreachable)
            }
        };
    }
    let notifier = &app.notifier;
    let Ok(organisation) = row.organisation.parse::<OrganisationId>() else { return Sent::Off };
    // Somebody in office is written to, whether or not their organisation has channels.
    let none = Channels::default();
    let channels = notifier.channels.get(&organisation).unwrap_or(&none);
    let (id, at_s) = (message.id(&row.event), app.clock.now().as_second());
    let outcome = match (message, row.channel.as_str(), &channels.webhook, &notifier.mailer) {
        (_, "webhook", Some(webhook), _) => {
            let said = match message {
                Message::Alert(alert) => payload(notifier, alert, &row.event),
                Message::Step(step) => step_payload(notifier, step),
                Message::Matter(matter, step) => matter_payload(notifier, matter, step),
            };
            webhook.send(&id, at_s, said).await
        }
        (Message::Alert(alert), "email", _, Some(mailer)) => {
            let mut to = channels.mail.clone();
            if row.event == "escalated" || is_for_the_top(&alert.rule) {
                to.extend(channels.escalation.iter().cloned());
            }
            match addresses(app, &organisation, &alert.rule).await {
                Ok(officers) => to.extend(officers),
                Err(error) => {
                    tracing::error!(%error, "who is to be told of a dispute cannot be read; it is tried again");
                    return Sent::Failed(NotifyFault::Unreachable);
                }
            }
            if to.is_empty() {
                return Sent::Off;
            }
            let (subject, text) = letter(app, alert, &row.event);
            mailer.send(&to, &id, &subject, text).await
        }
        _ => return Sent::Off,
    };
    outcome.map_or_else(Sent::Failed, |()| Sent::Taken)
}

/// Where the people are written to who hold the offices of the level that a dispute has come to.
async fn addresses(app: &App, of: &OrganisationId, rule: &str) -> Result<Vec<Mailbox>, StoreError> {
    let Some(level) = level_of(rule) else { return Ok(Vec::new()) };
    let offices = app.store.offices_of(of).await?;
    let told = offices.iter().filter(|office| level.told().iter().any(|role| role.as_str() == office.role));
    Ok(told.filter_map(|office| notify::mailbox(office.address.as_deref()?).ok()).collect())
}

/// Whether it is for those at the top: a dispute that is with the SIROs or the boards.
fn is_for_the_top(rule: &str) -> bool {
    let rules = [
        "agreement-dispute-escalated-siros",
        "agreement-dispute-escalated-boards",
        "agreement-dispute-boards-overdue",
    ];
    rules.contains(&rule)
}

fn time(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map(|at| at.to_string()).unwrap_or_default()
}

/// What a webhook says.
fn payload(notifier: &Notifier, alert: &AlertRow, event: &str) -> String {
    let escalated = alert.escalated_us.filter(|_| event == "escalated");
    json!({
        "type": format!("alert.{event}"),
        "timestamp": time(escalated.unwrap_or(alert.raised_us)),
        "data": {
            "alert": alert.id,
            "rule": alert.rule,
            "severity": alert.severity,
            "review_due": time(alert.due_us),
            "url": format!("{}/v1/alerts/{}", notifier.public_url, alert.id),
        },
    })
    .to_string()
}

/// What a webhook says of a step: who wrote what is for those who read it.
fn step_payload(notifier: &Notifier, step: &StepRow) -> String {
    json!({
        "type": "agreement.moved",
        "timestamp": time(step.at_us),
        "data": {
            "agreement": step.agreement,
            "revision": step.revision,
            "version": step.version,
            "action": step.action,
            "state": step.state,
            "url": format!("{}/v1/agreements/{}", notifier.public_url, step.agreement),
        },
    })
    .to_string()
}

/// What a webhook says of what is beside an agreement's course.
fn matter_payload(notifier: &Notifier, matter: &MatterRow, step: &MatterStepRow) -> String {
    let places = match matter.about.as_str() {
        "comment" => "comments",
        "dispute" => "disputes",
        _ => "negotiations",
    };
    json!({
        "type": format!("agreement.{}.moved", matter.about),
        "timestamp": time(step.at_us),
        "data": {
            "agreement": matter.agreement,
            matter.about.as_str(): matter.id,
            "revision": step.revision,
            "version": matter.version,
            "action": step.action,
            "url": format!("{}/v1/agreements/{}/{places}", notifier.public_url, matter.agreement),
        },
    })
    .to_string()
}

/// What an e-mail says.
fn letter(app: &App, alert: &AlertRow, event: &str) -> (String, String) {
    let set = app.policies().set;
    let officer = set.alerts().named(&alert.rule).map_or("", |rule| rule.officer.as_str());
    let what = if event == "escalated" { "overdue" } else { "new" };
    let subject = format!("Concordat: {what} alert {} ({}, {})", alert.id, alert.rule, alert.severity);
    let text = format!(
        "{officer}\n\nAlert:       {}\nRule:        {}\nSeverity:    {}\nReview due:  {}\n\n{}/v1/alerts/{}\n\n\
         This message names nobody. Read the alert in the system you review with.\n",
        alert.id,
        alert.rule,
        alert.severity,
        time(alert.due_us),
        app.notifier.public_url,
        alert.id
    );
    (subject, text)
}

/// Delivers every second until the token is cancelled.
pub async fn follow(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        if !app.leads() {
            continue;
        }
        if let Err(error) = dataspace::pass(&app).await {
            tracing::error!(%error, "negotiations with peers could not be worked on");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = deliver_due(&app) => {
                if let Err(error) = done {
                    tracing::error!(%error, "messages could not be worked on");
                }
            }
        }
    }
}
