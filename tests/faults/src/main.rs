//! The long form: `cargo build --release --workspace && target/release/faults [--short] [--previous PROGRAM]
//! [WORD-OF-A-NAME …]` prints a line for each scenario, and how many of them ran. `--previous` is the program of an earlier
//! release, which is upgraded from and gone back to.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use faults::{ALL, APART, LONG, Length, WITH_PREVIOUS, upgrade_from};

#[tokio::main]
async fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut has = |word: &str| {
        let found = words.iter().position(|one| one == word);
        found.map(|place| words.remove(place)).is_some()
    };
    let length = if has("--short") { Length::Short } else { Length::Long };
    let is_apart = has("--apart");
    if let Some(place) = words.iter().position(|word| word == "--previous") {
        words.remove(place);
        upgrade_from(words.remove(place).into());
    }
    let named = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    if is_apart {
        for scenario in APART.iter().filter(|scenario| named(scenario.name)) {
            println!("{}", (scenario.run)(length).await);
        }
        return;
    }
    let previous = if faults::previous().is_some() { WITH_PREVIOUS } else { &[] };
    let (mut ran, mut skipped) = (0, 0);
    let long = if length == Length::Long { LONG } else { &[] };
    for scenario in ALL.iter().chain(long).chain(previous).filter(|scenario| named(scenario.name)) {
        let begun = std::time::Instant::now();
        let counts = (scenario.run)(length).await;
        *(if counts.get("skipped").is_some() { &mut skipped } else { &mut ran }) += 1;
        println!("| {} | {} | {counts} | {} s |", scenario.id, scenario.name, begun.elapsed().as_secs());
    }
    println!("{ran} scenarios ran, {skipped} were skipped");
}
