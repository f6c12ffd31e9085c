//! `concordat demo`: everything on one machine, on loopback, with keys made for it and fictional people.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};
use tokio_util::sync::CancellationToken;

use super::output;
use crate::{config, serve, stop, telemetry};

pub mod history;
pub mod keys;
mod negotiation;
mod provider;
mod tour;

/// Run the demonstration.
#[derive(Args)]
pub struct DemoArguments {
    /// Where its keys and its database are kept. It is made if it is not there, and can be deleted at any time.
    #[arg(long, default_value = "concordat-demo")]
    state: PathBuf,
    /// The policies.
    #[arg(long, default_value = "policies")]
    policies: PathBuf,
    /// The gateway's port. The three record holders use the next three, the console and its sign-in service the two after them.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Walk the tour, fail on any difference, and stop.
    #[arg(long)]
    check: bool,
    /// Begin with an empty ledger, without months of invented activity.
    #[arg(long)]
    no_history: bool,
}

/// Run one simulated record holder.
#[derive(Args)]
pub struct SimulateArguments {
    /// `nhs`, `council` or `fire`.
    kind: upstreams::Kind,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
    #[arg(long)]
    client_ca: PathBuf,
}

/// Runs a simulated record holder until its parent is gone.
///
/// # Errors
/// When its certificates or port cannot be used.
pub async fn simulate(arguments: SimulateArguments) -> anyhow::Result<()> {
    let SimulateArguments { kind, port, certificate, key, client_ca } = arguments;
    upstreams::run(kind, port, upstreams::TlsFiles { certificate, key, client_ca }).await
}

/// Runs the demonstration.
///
/// # Errors
/// What is in the way and what to do about it.
pub async fn run(arguments: DemoArguments) -> anyhow::Result<()> {
    ensure!(
        arguments.policies.join("agreements").is_dir(),
        "there are no policies in {}: run the demonstration from the project's folder, or say where they are with --policies",
        arguments.policies.display()
    );
    let ports = keys::Ports::from(arguments.port);
    let mut listener = free(ports.gateway).await?;
    for port in [ports.nhs, ports.council, ports.fire] {
        drop(free(port).await?);
    }
    let (console_port, provider_port) = (ports.fire.saturating_add(1), ports.fire.saturating_add(2));
    drop(free(console_port).await?);
    let provider_listener = free(provider_port).await?;
    let config_path = keys::prepare(&arguments.state, &arguments.policies, ports)?;
    let key = keys::add_console(&arguments.state, &config_path, console_port, provider_port)?;
    let settings = config::load(&config_path)?;
    let log = log_file(&arguments.state)?;
    let _telemetry = telemetry::start_to_file(&settings.telemetry, log)?;
    let mut simulators = Vec::new();
    for (kind, port) in [("nhs", ports.nhs), ("council", ports.council), ("fire", ports.fire)] {
        simulators.push(start_simulator(&arguments.state, kind, port).await?);
    }
    let is_new = settings.ledger.database.file().is_some_and(|file| !file.exists());
    if is_new && !arguments.check && !arguments.no_history {
        output::line("Writing three months of invented activity, once.");
        history::write(listener, &settings, &arguments.state).await?;
        listener = free(ports.gateway).await?;
    }
    let app = serve::app(&settings).await?;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (settings, shutdown) = (settings.clone(), shutdown.clone());
        async move { serve::serve_on(listener, &settings, app, shutdown).await }
    });
    let providing = tokio::spawn({
        let (settings, shutdown) = (settings.clone(), shutdown.clone());
        async move { provider::serve(provider_listener, &settings, key, shutdown).await }
    });
    let steps = tour::steps(&program(), &arguments.state, &settings.public_url);
    let outcome = if arguments.check {
        tour::walk(steps).await
    } else {
        tour::print(&steps, &arguments.state);
        output::line(&format!(
            "The console is at https://localhost:{console_port}. Choose there who you are; its certificate is the demonstration's own."
        ));
        stop::stop_signal().await;
        output::line("stopping");
        Ok(())
    };
    shutdown.cancel();
    serving.await??;
    providing.await??;
    for mut simulator in simulators {
        // It may have ended by itself.
        let _ = simulator.kill().await;
    }
    outcome
}

/// The program as it was called, so that the printed commands work when they are pasted.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.contains('/') {
        return called;
    }
    std::env::current_exe().map_or(called, |path| path.display().to_string())
}

async fn free(port: u16) -> anyhow::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.with_context(|| {
        format!(
            "{}; the demonstration uses six ports in a row, so `--port {}` may do",
            serve::in_use(port),
            u32::from(port) + 100
        )
    })
}

fn log_file(state: &Path) -> anyhow::Result<std::fs::File> {
    let path = state.join("gateway.log");
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| path.display().to_string())
}

async fn start_simulator(state: &Path, kind: &str, port: u16) -> anyhow::Result<Child> {
    let file = |name: String| state.join(name);
    let mut child = Command::new(std::env::current_exe()?)
        .args(["simulate", kind, "--port", &port.to_string()])
        .arg("--certificate")
        .arg(file(format!("{kind}-server.pem")))
        .arg("--key")
        .arg(file(format!("{kind}-server.key")))
        .arg("--client-ca")
        .arg(file("ca.pem".to_owned()))
        .stdin(Stdio::piped()) // it ends when this does
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().context("a simulator has no output")?;
    let mut lines = BufReader::new(stdout).lines();
    match tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await {
        Ok(Ok(Some(line))) if line.starts_with("ready") => Ok(child),
        _ => bail!("the simulated record holder `{kind}` did not start on port {port}"),
    }
}
