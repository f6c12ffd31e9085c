//! What whoever watches the gateway sees: counts and times, and nobody.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use acceptance::{World, unused_port};
use gateway::telemetry;

/// The value of a series, by the beginning of its line.
fn value(exposed: &str, series: &str) -> Option<u64> {
    let line = exposed.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn exposed(world: &World) -> String {
    world.app.metrics.exposed().unwrap()
}

/// A few of everything: told, refused about the agreement and about the person, unknown, failing, unreadable.
async fn some_of_everything(world: &World) {
    world.send(world.prevention("9732110317")).await;
    world.send(world.prevention("9732110317")).await;
    world.send(world.objection("9732110317")).await;
    world.send(world.prevention("9732110317")).await; // now it is about the person
    world.send(world.prevention(upstreams::UNKNOWN_NHS_NUMBER)).await;
    world.send(world.prevention("9990000077")).await; // the record holder fails
    let mut other_purpose = world.prevention("9732110317");
    "direct-care".clone_into(&mut other_purpose.purpose);
    world.send(other_purpose).await;
    let mut planted = world.prevention("9732110317");
    planted.text = Some(format!("{{\"{PLANTED}\":\"{PLANTED}\"}}"));
    planted.request_id = Some(PLANTED.to_owned());
    world.send(planted).await;
    let mut planted =
        world.bare("fire", "GET", &format!("/fhir/nhs-pds/Patient/{PLANTED}?name={PLANTED}"), "direct-care");
    planted.record = None;
    world.send(planted).await;
    let mut planted = world.bare("fire", "DELETE", &format!("/{PLANTED}"), "direct-care");
    planted.spoil_context = Some(|claims| claims["requested_record"] = PLANTED.into());
    world.send(planted).await;
    let client = world.client("fire");
    for name in
        ["baggage", "tracestate", "traceparent", "user-agent", "x-correlation-id", "referer", "forwarded"]
    {
        let url = format!("{}/v1/disclosures", world.settings.public_url);
        let sent = client.post(url).header(name, format!("subject={PLANTED}")).body(PLANTED);
        sent.send().await.unwrap();
    }
}

/// A person's number that is planted in every place in which a caller can put something.
const PLANTED: &str = "9434765919";

#[tokio::test]
async fn what_happens_is_counted_by_route_outcome_and_reason() {
    let world = World::new().await;
    some_of_everything(&world).await;
    let exposed = exposed(&world);
    let at_least = |series: &str, least: u64| {
        let found = value(&exposed, series);
        assert!(found.is_some_and(|found| found >= least), "{series}: {found:?}\n{exposed}");
    };
    at_least(
        "concordat_requests_total{method=\"POST\",outcome=\"answered\",problem=\"none\",route=\"/v1/disclosures\"}",
        2,
    );
    at_least(
        "concordat_requests_total{method=\"POST\",outcome=\"refused\",problem=\"no-record-available\",route=\"/v1/disclosures\"}",
        2,
    );
    at_least(
        "concordat_requests_total{method=\"POST\",outcome=\"failed\",problem=\"provider-unavailable\",route=\"/v1/disclosures\"}",
        1,
    );
    at_least(
        "concordat_decisions_total{outcome=\"permit\",purpose=\"fire-prevention-targeting\",reason=\"none\"}",
        4,
    );
    at_least(
        "concordat_decisions_total{outcome=\"deny\",purpose=\"fire-prevention-targeting\",reason=\"about-the-person\"}",
        1,
    );
    for stage in ["authenticate", "look-up", "decide", "intent", "fetch", "minimise", "release"] {
        at_least(&format!("concordat_stage_duration_seconds_count{{stage=\"{stage}\"}}"), 1);
    }
    at_least("concordat_ledger_batch_submissions_count", 5);
    at_least("concordat_ledger_commit_duration_seconds_count{outcome=\"committed\"}", 5);
    at_least("concordat_ledger_entries", 8);
    assert_eq!(value(&exposed, "concordat_ledger_entries"), u64::try_from(world.entries().await.len()).ok());
    at_least("concordat_ledger_writable", 1);
    at_least("concordat_signing_key_age_seconds", 0);
    at_least("concordat_places{pool=\"questions\"}", 256);
    assert_eq!(value(&exposed, "concordat_places_in_use{pool=\"questions\"}"), Some(0));
    // A decoy is asked for in the person's place, and counts as a question.
    at_least("concordat_provider_answers_total{outcome=\"subject-unknown\",provider=\"nhs-pds\"}", 2);
    at_least("concordat_provider_answers_total{outcome=\"provider-error\",provider=\"nhs-pds\"}", 1);
    assert_eq!(value(&exposed, "concordat_provider_breaker{provider=\"nhs-pds\"}"), Some(0));
    for (of, name) in [
        ("server-certificate", "tls"),
        ("client-authority", "tls"),
        ("provider-certificate", "nhs-pds"),
        ("agreement", "gm-fire-prevention-over-65s"),
        ("dpia", "gm-fire-prevention-over-65s"),
        ("agreement-review", "gm-fire-prevention-over-65s"),
    ] {
        at_least(&format!("concordat_expiry_seconds{{expires=\"{of}\",name=\"{name}\"}}"), 1);
    }
}

#[tokio::test]
async fn nobody_is_in_the_metrics() {
    let world = World::new().await;
    some_of_everything(&world).await;
    let exposed = exposed(&world);
    let mut personal = acceptance::personal_values();
    personal.extend([PLANTED.to_owned(), "9732110317".to_owned(), upstreams::UNKNOWN_NHS_NUMBER.to_owned()]);
    personal
        .extend(world.entries().await.iter().filter_map(|entry| entry.body.decision_id().map(str::to_owned)));
    for value in personal {
        assert!(!exposed.contains(&value), "{value} is in the metrics");
    }
    // Why a person may not be told of is not to be seen from a count either.
    for reason in ["objection", "consent", "restricted", "deceased", "opt-out"] {
        let told = exposed.lines().find(|line| line.contains("reason=") && line.contains(reason));
        assert_eq!(told, None);
    }
}

#[tokio::test]
async fn without_metrics_there_is_nothing_to_fetch() {
    let world = World::with_settings(|settings| settings.telemetry.metrics = false).await;
    assert_eq!(world.send(world.prevention("9732110317")).await.status, 200);
    assert_eq!(world.app.metrics.exposed(), None);
}

/// A collector, a process of its own, that writes down what it was sent.
struct Collector {
    child: Child,
    log: PathBuf,
    port: u16,
}

impl Collector {
    async fn start(folder: &Path) -> Self {
        let (port, grpc) = (unused_port(), unused_port());
        let log = folder.join("collector.log");
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(agent())
            .args([
                "start",
                "--exporter",
                "blackhole",
                "--debug-log",
                "traces",
                "--debug-log",
                "metrics",
                "--debug-log-verbosity",
                "detailed",
            ])
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{port}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .env("ROTEL_BATCH_TIMEOUT", "100ms")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let collector = Self { child, log, port };
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return collector;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the collector does not listen: {}", collector.said());
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// All that was said, once these words are among it and it says nothing more for a second: what was sent
    /// last may be written down last.
    async fn has_said(&self, words: &[&str]) -> String {
        let deadline = Instant::now() + Duration::from_mins(1);
        let mut before = String::new();
        loop {
            let said = self.said();
            let missing = words.iter().find(|word| !said.contains(**word));
            if missing.is_none() && said == before {
                return said;
            }
            assert!(Instant::now() < deadline, "{missing:?} did not arrive:\n{said}");
            before = said;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Where `./test` puts it.
fn agent() -> PathBuf {
    let found =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/third-party/rotel/rotel/rotel-agent");
    assert!(found.exists(), "run ./test once: it installs the collector");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_receives_spans_and_metrics_and_nobody_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let collector = Collector::start(folder.path()).await;
    let at = |what: &str| Some(format!("http://127.0.0.1:{}/v1/{what}", collector.port));
    let log = folder.path().join("gateway.log");
    let settings = gateway::config::TelemetrySettings {
        otlp_endpoint: at("traces"),
        otlp_metrics_endpoint: at("metrics"),
        log_filter: Some("debug".to_owned()),
        ..gateway::config::TelemetrySettings::default()
    };
    let sending = telemetry::start_to_file(&settings, std::fs::File::create(&log).unwrap()).unwrap();
    let world = World::with_settings(|of| of.telemetry = settings.clone()).await;
    some_of_everything(&world).await;
    let client = world.client("fire");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let linked = client.get(format!("{}/healthz", world.settings.public_url)).header("traceparent", parent);
    linked.send().await.unwrap();
    // A caller's words in a span of ours, as if somebody had written them there.
    tracing::info_span!(target: "gateway::planted", "planted", subject = PLANTED, route = PLANTED, status = 9_434_765_919_i64)
        .in_scope(|| tracing::error!(target: "gateway::planted", error = PLANTED, "{PLANTED}"));
    let mut personal = acceptance::personal_values();
    personal.extend(["9732110317".to_owned(), upstreams::UNKNOWN_NHS_NUMBER.to_owned()]);
    // Stopping sends what is left.
    drop(world.stop().await);
    tokio::task::spawn_blocking(move || drop(sending)).await.unwrap();
    // Linked, and not continued: the caller's trace is in no span as its own.
    let linked = "-> Trace ID: 0af7651916cd43dd8448eb211c80319c";
    let said = collector
        .has_said(&[
            "authenticate",
            "look-up",
            "minimise",
            "release",
            "/v1/disclosures",
            "concordat_requests",
            "concordat_stage_duration_seconds",
            linked,
        ])
        .await;
    personal.push(PLANTED.to_owned());
    for value in personal {
        assert!(!said.contains(&value), "{value} reached the collector");
    }
    assert!(!said.contains("Trace ID       : 0af7651916cd43dd8448eb211c80319c"), "{said}");
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains(PLANTED) && !line.contains("gateway::planted")).collect();
    assert!(lines.is_empty(), "{lines:?}");
}
