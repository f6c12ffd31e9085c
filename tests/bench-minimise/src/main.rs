//! How fast a record holder's answer is read, checked and cut down, beside other JSON readers in the same run.
//!
//! Ours is what a request goes through: [`sharing::Permit::examine`] and [`sharing::decide::ConfirmedPermit::minimise`],
//! to the text that leaves. Every contestant has the same bytes, a round at a time, so that whatever else the machine does
//! falls on all of them; what is measured is this thread's CPU time. Before the clock runs, each of those that cut down is
//! held against ours: it must have taken out the same.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures in a table"
)]

use std::{collections::BTreeMap, hint::black_box, path::Path};

use jiff::Timestamp;
use serde::de::IgnoredAny;
use sharing::{
    PolicySet, Provider, PurposeClass, Question, SubjectIdentifier, SubjectScheme, SubjectState, Writing,
    decide::{Asked, ConfirmedPermit, Decision, Permit, decide},
    policy::PolicyFile,
};
use struson::reader::{JsonReader as _, JsonStreamReader};

mod bundle;
mod others;

/// Samples of each contestant.
const ROUNDS: usize = 15;
/// Bytes read in a sample: enough for a clock that ticks every few milliseconds to be right within a hundredth.
const SAMPLE_BYTES: usize = 256 << 20;
const NOW: &str = "2026-11-23T12:00:00Z";

/// A document, and what may be told of it.
struct Task {
    name: &'static str,
    provider: Provider,
    permit: Permit,
    confirmed: ConfirmedPermit,
    document: Vec<u8>,
    at: Timestamp,
}

/// Somebody who reads the document.
struct Contestant<'a> {
    name: &'static str,
    read: Box<dyn FnMut() -> usize + 'a>,
}

fn main() -> anyhow::Result<()> {
    let policies = PolicySet::load(&files()?).map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    let whole = bundle::bundle(18).into_bytes();
    let patient = root().join("tests/upstreams/records/pds/patients/patient_9732110317.json");
    let tasks = [
        Task::of("Bundle", &policies, ("nhs-england", "clinician", "bundle-holder"), whole)?,
        Task::of(
            "Patient",
            &policies,
            ("trafford-council", "social-worker", "nhs-pds"),
            std::fs::read(patient)?,
        )?,
    ];
    // With a document's name and another, only those take part who have it in theirs: for a profile.
    let mut names = std::env::args().skip(1);
    let (document, only) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    for task in tasks.iter().filter(|task| task.name.contains(&document)) {
        task.check()?;
        measure(task, &only);
    }
    Ok(())
}

fn measure(task: &Task, only: &str) {
    let mut contestants = task.contestants();
    contestants.retain(|contestant| contestant.name.contains(only));
    let calls = SAMPLE_BYTES / task.document.len();
    let mut times: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for round in 0..=ROUNDS {
        for (place, contestant) in contestants.iter_mut().enumerate() {
            let before = cpu_seconds();
            for _ in 0..calls {
                black_box((contestant.read)());
            }
            let seconds = cpu_seconds() - before;
            if round > 0 {
                times.entry(place).or_default().push(seconds);
            }
        }
    }
    let megabytes = (calls * task.document.len()) as f64 / 1e6;
    let (left, kept) = (task.document.len(), task.ours().len());
    println!("\n{}: {left} bytes, {kept} leave ({:.0} %)\n", task.name, 100.0 * kept as f64 / left as f64);
    println!("| | MB/s (median) | MB/s (best) | time against ours | allocations |\n|---|---|---|---|---|");
    let ours = quantile(&times[&0], 0.5);
    for (place, contestant) in contestants.iter_mut().enumerate() {
        let (median, best) = (quantile(&times[&place], 0.5), quantile(&times[&place], 0.0));
        let allocated = allocation_counter::measure(|| {
            black_box((contestant.read)());
        });
        println!(
            "| {} | {:.0} | {:.0} | {:.2}× | {} |",
            contestant.name,
            megabytes / median,
            megabytes / best,
            median / ours,
            allocated.count_total
        );
    }
}

impl<'a> Contestant<'a> {
    fn of(name: &'static str, read: impl FnMut() -> usize + 'a) -> Self {
        Self { name, read: Box::new(read) }
    }
}

impl Task {
    fn of(
        name: &'static str,
        policies: &PolicySet,
        (recipient, role, provider): (&str, &str, &str),
        document: Vec<u8>,
    ) -> anyhow::Result<Self> {
        let question = Question {
            recipient: recipient.parse()?,
            role: role.to_owned(),
            practitioner: Some("practitioner-1".to_owned()),
            break_glass: None,
            provider: provider.parse()?,
            purpose: PurposeClass::DirectCare,
            subject: SubjectIdentifier::parse(SubjectScheme::NhsNumber, "9732110317")?,
            asked: Asked::AllAgreed,
            list_people: None,
            agreements: None,
        };
        let (state, at) = (SubjectState::default(), NOW.parse()?);
        let Decision::Permit(permit) = decide(&question, policies, &state, at) else {
            anyhow::bail!("{name}: not permitted")
        };
        let provider = policies.provider(&question.provider).expect("a record holder").clone();
        let examined = permit.examine(&provider, &document)?;
        let confirmed = permit.confirm(&question, policies, &state, &examined, at);
        let confirmed = confirmed.map_err(|denial| anyhow::anyhow!("{name}: {:?}", denial.reasons))?;
        Ok(Self { name, provider, permit, confirmed, document, at })
    }

    fn ours(&self) -> String {
        let examined = self.permit.examine(&self.provider, black_box(&self.document)).expect("a record");
        self.confirmed.minimise(&self.provider, &examined, self.at, Writing::Items).as_json().to_owned()
    }

    /// The others take out what ours does, where all of it leaves as it is.
    fn check(&self) -> anyhow::Result<()> {
        if self.confirmed.permit().items().iter().any(|item| item.form != sharing::catalogue::Form::AsIs) {
            return Ok(());
        }
        let ours: serde_json::Value = serde_json::from_str(&self.ours())?;
        let value: serde_json::Value = serde_json::from_slice(&self.document)?;
        let sonic: sonic_rs::Value = sonic_rs::from_slice(&self.document)?;
        let mut copy = self.document.clone();
        let tape = simd_json::to_tape(&mut copy)?;
        let others = [
            others::cut(&self.provider, &value),
            others::cut(&self.provider, &sonic),
            others::cut(&self.provider, tape.as_value()),
        ];
        for other in others {
            anyhow::ensure!(ours == serde_json::from_slice::<serde_json::Value>(&other)?, "{}", self.name);
        }
        Ok(())
    }

    fn contestants(&self) -> Vec<Contestant<'_>> {
        let (document, provider) = (self.document.as_slice(), &self.provider);
        let mut copies = (document.to_vec(), document.to_vec());
        let mut buffers = (simd_json::Buffers::new(document.len()), simd_json::Buffers::new(document.len()));
        vec![
            Contestant::of("`examine` and `minimise`", move || {
                let examined = self.permit.examine(provider, black_box(document)).expect("a record");
                self.confirmed.minimise(provider, &examined, self.at, Writing::Items).as_json().len()
            }),
            Contestant::of("`examine` alone", move || {
                let examined = self.permit.examine(provider, black_box(document)).expect("a record");
                examined.facts().identifiers.len()
            }),
            Contestant::of("`serde_json::Value`, cut down", move || {
                let value: serde_json::Value = serde_json::from_slice(black_box(document)).expect("json");
                others::cut(provider, &value).len()
            }),
            Contestant::of("sonic-rs value, cut down", move || {
                let value: sonic_rs::Value = sonic_rs::from_slice(black_box(document)).expect("json");
                others::cut(provider, &value).len()
            }),
            Contestant::of("simd-json tape, cut down", move || {
                copies.0.clear();
                copies.0.extend_from_slice(black_box(document));
                let tape = simd_json::to_tape_with_buffers(&mut copies.0, &mut buffers.0).expect("json");
                others::cut(provider, tape.as_value()).len()
            }),
            Contestant::of("simd-json tape, parsed only", move || {
                copies.1.clear();
                copies.1.extend_from_slice(black_box(document));
                simd_json::to_tape_with_buffers(&mut copies.1, &mut buffers.1).expect("json").0.len()
            }),
            Contestant::of("serde `IgnoredAny`, parsed only", move || {
                let ignored: IgnoredAny = serde_json::from_slice(black_box(document)).expect("json");
                size_of_val(&ignored)
            }),
            Contestant::of("struson, skipped over only", move || {
                let mut reader = JsonStreamReader::new(black_box(document));
                reader.skip_value().expect("json");
                usize::from(reader.consume_trailing_whitespace().is_ok())
            }),
        ]
    }
}

/// CPU time of this thread. Source: Linux, Documentation/scheduler/sched-stats.rst.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux machine");
    let nanoseconds = text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok());
    nanoseconds.expect("a number") / 1e9
}

fn quantile(samples: &[f64], quantile: f64) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[((samples.len() - 1) as f64 * quantile) as usize]
}

/// The project's own policies, and those of the Bundle.
fn files() -> anyhow::Result<Vec<PolicyFile>> {
    let mut files = vec![
        PolicyFile {
            path: "catalogue/bundle-holder.toml".to_owned(),
            text: include_str!("../policies/holder.toml").to_owned(),
        },
        PolicyFile {
            path: "agreements/bundle.toml".to_owned(),
            text: include_str!("../policies/agreement.toml").to_owned(),
        },
    ];
    for folder in ["agreements", "catalogue", "organisations"] {
        for entry in std::fs::read_dir(root().join("policies").join(folder))? {
            let path = entry?.path();
            let name = path.file_name().expect("a name").to_string_lossy();
            files
                .push(PolicyFile { path: format!("{folder}/{name}"), text: std::fs::read_to_string(&path)? });
        }
    }
    Ok(files)
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
