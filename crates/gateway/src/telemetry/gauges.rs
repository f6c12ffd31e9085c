//! What is looked at when it is asked for: queues, places, record holders, the ledger, and how long keys, certificates and
//! agreements still hold.

use std::sync::{Arc, Weak};

use connectors::{breaker::BreakerState, upstream::OUTCOMES};
use jiff::Timestamp;
use opentelemetry::{KeyValue, metrics::Meter};
use sharing::agreement::{Agreement, Confidentiality, LondonDay, Status, london_midnight};

use super::attribute::AttributeKey;
use crate::app::App;

/// Something that ends: what it is, its name, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// `server-certificate`, `client-authority`, `revocation-list`, `provider-certificate`, `provider-authority`,
    /// `agreement`, `agreement-review`, `dpia` or `section-251`.
    pub of: &'static str,
    /// Its name in settings or policies.
    pub name: String,
    /// The instant from which it does not hold.
    pub at: Timestamp,
}

/// Begins to show these of a gateway, for as long as it lives.
pub fn show(app: &Arc<App>) {
    let Some(meter) = app.metrics.meter() else { return };
    let app = Arc::downgrade(app);
    show_ledger(meter, &app);
    show_keys(meter, &app);
    show_places(meter, &app);
    show_providers(meter, &app);
    gauge(meter, &app, "concordat_expiry_seconds", "seconds until it does not hold any more", |app, show| {
        let now = app.clock.now();
        for expiry in app.expiries().iter().chain(&of_policies(app)) {
            let of = [AttributeKey::Expires.with_word(expiry.of), AttributeKey::Name.with(&expiry.name)];
            show(expiry.at.duration_since(now).as_secs(), &of);
        }
    });
}

fn show_ledger(meter: &Meter, app: &Weak<App>) {
    gauge(meter, app, "concordat_ledger_entries", "entries of the ledger", |app, show| {
        show(i64::try_from(app.store.entries()).unwrap_or(i64::MAX), &[]);
    });
    gauge(meter, app, "concordat_ledger_queue", "submissions that wait for the writer", |app, show| {
        show(whole(app.store.queued()), &[]);
    });
    gauge(meter, app, "concordat_ledger_writable", "1 while the ledger can be written", |app, show| {
        show(i64::from(app.store.is_writable()), &[]);
    });
    gauge(
        meter,
        app,
        "concordat_witnessed_age_seconds",
        "since enough witnesses saw the ledger",
        |app, show| {
            if let Some(witnessing) = &app.witnessing {
                show(witnessing.age(app.clock.now()).as_secs(), &[]);
            }
        },
    );
    gauge(meter, app, "concordat_clock_steady", "1 while the clock can be believed", |app, show| {
        show(i64::from(app.is_clock_steady()), &[]);
    });
    gauge(meter, app, "concordat_draining", "1 while the process is about to stop", |app, show| {
        show(i64::from(app.is_draining()), &[]);
    });
    gauge(meter, app, "concordat_leads", "1 on the replica that looks after what one has to", |app, show| {
        show(i64::from(app.leads()), &[]);
    });
    gauge(meter, app, "concordat_policy_revision", "of the policies in force", |app, show| {
        show(app.policies().revision, &[]);
    });
}

/// Keys have no end of their own: how long they have been what they are.
fn show_keys(meter: &Meter, app: &Weak<App>) {
    let what = "since the newest key that signs the ledger's checkpoints was announced";
    gauge(meter, app, "concordat_signing_key_age_seconds", what, |app, show| {
        show(app.clock.now().duration_since(app.store.signing_since()).as_secs(), &[]);
    });
    let what = "since the keys of whoever issues a system's tokens were read from their address";
    gauge(meter, app, "concordat_token_keys_age_seconds", what, |app, show| {
        for (system, age) in app.authenticator.registry.load().key_ages() {
            let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            show(age, &[AttributeKey::System.with(system.as_str())]);
        }
    });
}

fn show_places(meter: &Meter, app: &Weak<App>) {
    gauge(meter, app, "concordat_places_in_use", "requests that are worked on", |app, show| {
        for (pool, in_use, _) in app.places_in_use() {
            show(whole(in_use), &[AttributeKey::Pool.with_word(pool)]);
        }
    });
    gauge(meter, app, "concordat_places", "requests that can be worked on at once", |app, show| {
        for (pool, _, all) in app.places_in_use() {
            show(whole(all), &[AttributeKey::Pool.with_word(pool)]);
        }
    });
}

fn show_providers(meter: &Meter, app: &Weak<App>) {
    gauge(meter, app, "concordat_provider_in_flight", "questions on their way", |app, show| {
        for (provider, seen) in app.connectors.load().seen() {
            show(whole(seen.in_flight), &[AttributeKey::Provider.with(provider.as_str())]);
        }
    });
    gauge(
        meter,
        app,
        "concordat_provider_in_flight_max",
        "questions that may be on their way",
        |app, show| {
            for (provider, seen) in app.connectors.load().seen() {
                show(whole(seen.in_flight_max), &[AttributeKey::Provider.with(provider.as_str())]);
            }
        },
    );
    gauge(meter, app, "concordat_provider_breaker", "0 closed, 1 probing, 2 open", |app, show| {
        for (provider, seen) in app.connectors.load().seen() {
            let state = match seen.breaker {
                BreakerState::Closed => 0,
                BreakerState::Probing => 1,
                BreakerState::Open => 2,
            };
            show(state, &[AttributeKey::Provider.with(provider.as_str())]);
        }
    });
    let app = app.clone();
    let name = "concordat_provider_answers";
    let what = "how record holders answer, decoys included";
    let answers = meter.u64_observable_counter(name).with_description(what).with_callback(move |observer| {
        let Some(app) = app.upgrade() else { return };
        for (provider, seen) in app.connectors.load().seen() {
            for (outcome, count) in OUTCOMES.into_iter().zip(seen.answers) {
                let provider = AttributeKey::Provider.with(provider.as_str());
                observer.observe(count, &[provider, AttributeKey::Outcome.with_word(outcome)]);
            }
        }
    });
    let _ = answers.build();
}

/// What policies say that ends.
fn of_policies(app: &App) -> Vec<Expiry> {
    let set = app.policies().set;
    let mut all = Vec::new();
    let active = |agreement: &&Agreement| *agreement.status.get_ref() == Status::Active;
    for agreement in set.agreements().filter(active) {
        let name = agreement.id().as_str();
        let mut add =
            |of, name: String, day: LondonDay| all.push(Expiry { of, name, at: london_midnight(day) });
        add("agreement", name.to_owned(), agreement.ends_on);
        add("agreement-review", name.to_owned(), agreement.review_on);
        add("dpia", name.to_owned(), agreement.dpia.current_until);
        for flow in &agreement.flows {
            if let Confidentiality::Section251 { expires_on, .. } = &flow.confidentiality {
                add("section-251", format!("{name}/{}", flow.id.get_ref()), *expires_on);
            }
        }
    }
    all
}

fn gauge(
    meter: &Meter,
    app: &Weak<App>,
    name: &'static str,
    what: &'static str,
    look: impl Fn(&Arc<App>, &dyn Fn(i64, &[KeyValue])) + Send + Sync + 'static,
) {
    let app = app.clone();
    let looked = meter.i64_observable_gauge(name).with_description(what).with_callback(move |observer| {
        if let Some(app) = app.upgrade() {
            look(&app, &|value, of| observer.observe(value, of));
        }
    });
    // It lives as long as its provider.
    let _ = looked.build();
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
