//! Scenarios that break a network or a file system: each in a network, a mount and a process namespace of its own, so that
//! nothing is left behind. Where that is not allowed it is said, and nothing has run.

use std::process::Command;

use serde_json::{Value, json};

use crate::{deployment::beside, scenarios::Length};

/// What of the system is a scenario's own.
const OWN: [&str; 9] =
    ["--net", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"];

/// The first process of the namespaces: it makes them usable, and collects whatever ends.
const FIRST: &str =
    "mount -t tmpfs none /run && mkdir /run/netns && ip link set lo up && { \"$@\"; exit $?; }";

/// Runs a scenario of [`crate::APART`] in namespaces of its own. What it counted comes back, or `skipped` with the reason.
pub async fn run(name: &'static str, length: Length) -> Value {
    tokio::task::spawn_blocking(move || in_namespaces(name, length)).await.unwrap()
}

fn in_namespaces(name: &str, length: Length) -> Value {
    let tried = Command::new("unshare").args(OWN).args(["sh", "-c", FIRST, "sh", "true"]).output();
    match tried {
        Ok(tried) if tried.status.success() => {}
        Ok(tried) => return skipped(String::from_utf8_lossy(&tried.stderr).trim()),
        Err(error) => return skipped(&error.to_string()),
    }
    let mut command = Command::new("unshare");
    command.args(OWN).args(["sh", "-c", FIRST, "sh"]).arg(beside("faults")).arg("--apart");
    if length == Length::Short {
        command.arg("--short");
    }
    let ran = command.arg(name).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_str(said.lines().last().unwrap_or_default()).unwrap()
}

fn skipped(why: &str) -> Value {
    json!({ "skipped": format!("namespaces are not allowed here: {why}") })
}
