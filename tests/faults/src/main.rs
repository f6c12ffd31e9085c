//! The long form: `cargo build --release --workspace && target/release/faults [--short] [WORD-OF-A-NAME …]` prints a
//! line for each scenario.

#![expect(clippy::print_stdout, reason = "it prints a table")]

use faults::{ALL, Length};

#[tokio::main]
async fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let length =
        if words.first().is_some_and(|word| word == "--short") { Length::Short } else { Length::Long };
    words.retain(|word| word != "--short");
    for scenario in ALL {
        if words.is_empty() || words.iter().any(|word| scenario.name.contains(word.as_str())) {
            let counts = (scenario.run)(length).await;
            println!("| {} | {} | {counts} |", scenario.id, scenario.name);
        }
    }
}
