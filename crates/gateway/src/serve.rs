//! From settings to a running gateway.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use connectors::{
    Connectors, Route,
    notify::{self, MailSecurity, MailServer, Mailer, Webhook},
};
use ledger::entry::Body;
use outbound::Reach;
use sha2::{Digest as _, Sha256};
use sharing::{PolicySet, SubjectIdentifier};
use store::{Store, Submission, trail::TrailIndex};
use tokio::{
    net::TcpListener,
    signal::unix::SignalKind,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{
    agreements,
    alerts::{
        self,
        deliver::{Channels, Notifier},
    },
    app::{App, Parts},
    audit_reads,
    authorization_server::AuthorizationServer,
    blocks::{self, Archiving},
    caller::{Authenticator, Registry, registry::CONSOLE},
    caller_use::HoneyRecord,
    clock::{Clock, Entropy, SystemClock, SystemEntropy},
    config::{self, Settings, SmtpSecurity, SmtpSettings, TlsSettings},
    dataspace::Dataspace,
    desk,
    exporting::asked::{self, Exports},
    listener::{self, HandshakeRefusal},
    opt_outs,
    policies::{self, PoliciesError, Put},
    replicas, retention, routes, shed, stop,
    telemetry::{expiries, gauges, metrics::Metrics},
    tls,
    witnessed::{self, Witnessing},
};

/// How often the index for searching is caught up: often enough that nobody who searches has much to wait for.
const TRAIL_EVERY: Duration = Duration::from_secs(10);
/// How often it is caught up where much is written: while it is still in memory.
const TRAIL_OFTEN: Duration = Duration::from_secs(1);
/// How often issuers' keys are read again.
const KEYS_EVERY: Duration = Duration::from_mins(5);

/// Brings everything up that requests need.
///
/// # Errors
/// What is wrong and what to do, before anything listens.
pub async fn app(settings: &Settings) -> anyhow::Result<Arc<App>> {
    build(settings, Arc::new(SystemClock), Arc::new(SystemEntropy)).await
}

/// As [`app`], with a given clock and source of randomness.
///
/// # Errors
/// What is wrong and what to do.
pub async fn build(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> anyhow::Result<Arc<App>> {
    let set = policies::load(&settings.policies)?;
    are_defined(settings, &set)?;
    let registry = ArcSwap::from_pointee(registry(settings).await?);
    anyhow::ensure!(clock.is_steady(), "the clock was set while the gateway came up; start it again");
    let store = store::Settings { skew_max: clock.skew_max(), ..store_settings(settings)? };
    let store = Store::open(store, clock.now()).await?;
    if store.closed_at_start() > 0 {
        tracing::warn!(count = store.closed_at_start(), "questions that a crash had left open were closed");
    }
    if let Some(shared) = store.now().await?
        && !clock.is_near(shared)
    {
        anyhow::bail!(
            "this machine's clock shows {} and the database's {shared}: set it right (NTP), then start again",
            clock.now()
        );
    }
    let read = set.digest().to_owned();
    let in_force = policies::begin(&store, set, clock.as_ref()).await?;
    let folder = policies::Folder::new(read, &in_force.set);
    let authenticator = Authenticator {
        registry,
        audience: settings.audience.clone(),
        public_url: settings.public_url.trim_end_matches('/').to_owned(),
    };
    let limits = settings.limits.requests();
    let trail = TrailIndex::open(&trail_file(&settings.ledger.beside())).await?;
    let connectors = connectors(settings)?;
    let witnessing = settings.ledger.witnessing.as_ref();
    let witnessing = witnessing
        .map(|witnessing| Witnessing::new(witnessing, &settings.ledger.beside(), &store, clock.now()))
        .transpose()?;
    let notifier = notifier(settings, &in_force.set)?;
    let dataspace = settings.dataspace.as_ref().map(|dataspace| Dataspace::new(dataspace, &in_force.set));
    let dataspace = dataspace.transpose()?;
    let archived = blocks::source(settings)?;
    let exports = Exports::new((settings.ledger.database.clone(), settings.ledger.beside()), archived);
    let archiving = settings.ledger.blocks.as_ref();
    let archiving =
        archiving.map(|blocks| anyhow::Ok(Archiving::new(blocks, blocks::open(blocks)?))).transpose()?;
    let honey_records = honey_records(settings)?;
    let parts = Parts {
        store,
        trail,
        connectors,
        authenticator,
        clock,
        entropy,
        limits,
        witnessing,
        notifier,
        dataspace,
        exports,
        archiving,
        metrics: Metrics::new(&settings.telemetry).context("settings: [telemetry]")?,
        expiries: expiries::of_files(settings),
        honey_records,
        folder,
    };
    let app = Arc::new(App::new(parts, in_force));
    if let Some(shared) = app.store.now().await? {
        app.compare_clock(shared);
    }
    gauges::show(&app);
    let counting = Arc::downgrade(&app);
    app.store.observe(move |batch| {
        if let Some(app) = counting.upgrade() {
            app.metrics.committed(batch);
        }
    });
    Ok(app)
}

/// Whether everything that the settings name is in the policies.
fn are_defined(settings: &Settings, set: &PolicySet) -> anyhow::Result<()> {
    for provider in settings.providers.keys() {
        anyhow::ensure!(
            set.provider(provider).is_some(),
            "settings: [providers.{provider}] has no file in the policies' catalogue/; add one or remove the section"
        );
    }
    for system in &settings.systems {
        anyhow::ensure!(
            system.id != *CONSOLE,
            "settings: no system is called `console`: the ledger has that name for people who are signed in"
        );
        anyhow::ensure!(
            set.organisation(&system.organisation).is_some(),
            "settings: system `{}` belongs to `{}`, which no file in the policies' organisations/ defines",
            system.id,
            system.organisation
        );
    }
    Ok(())
}

/// What a start looks at before it opens the database or listens.
///
/// # Errors
/// What is wrong and what to do.
pub async fn check(settings: &Settings) -> anyhow::Result<()> {
    let set = policies::load(&settings.policies)?;
    are_defined(settings, &set)?;
    registry(settings).await?;
    store_settings(settings)?;
    connectors(settings)?;
    notifier(settings, &set)?;
    settings.dataspace.as_ref().map(|dataspace| Dataspace::new(dataspace, &set)).transpose()?;
    honey_records(settings)?;
    server_tls(&settings.tls)?;
    settings.console.as_ref().map(|console| desk::check(&set, console)).transpose()?;
    Ok(())
}

fn honey_records(settings: &Settings) -> anyhow::Result<Vec<SubjectIdentifier>> {
    let read = settings.alerts.honey_records.iter().map(HoneyRecord::identifier);
    read.collect::<Result<_, _>>().context("settings: [alerts] honey_records")
}

/// Where the database is, and the keys it is used with.
///
/// # Errors
/// When a key file cannot be used.
pub fn store_settings(settings: &Settings) -> anyhow::Result<store::Settings> {
    let ledger = &settings.ledger;
    Ok(store::Settings {
        database: ledger.database.clone(),
        checkpoint_copy: ledger.checkpoint_copy.clone(),
        origin: ledger.origin.clone(),
        signing_seeds: config::read_keys(&ledger.signing_key)?,
        lookup_key: store::LookupKey::chain(config::read_keys(&ledger.lookup_key)?.to_vec()),
        wrapping_keys: store::WrappingKeys::new(config::read_keys(&ledger.wrapping_key)?.to_vec()),
        archived: blocks::source(settings)?,
        skew_max: SystemClock.skew_max(),
        queue_max: 4_096,
        readers_max: 4,
    })
}

/// The index for searching, beside the database. It can be deleted while nothing runs, and is made again.
fn trail_file(database: &Path) -> std::path::PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".trail");
    name.into()
}

/// The registrations, and what issues tokens here if anything does.
///
/// # Errors
/// Which registration or key cannot be used, and why.
pub async fn registry(settings: &Settings) -> anyhow::Result<Registry> {
    let own = settings.authorization_server.as_ref().map(|own| {
        let texts = own.signing_keys.iter().map(|path| config::read(path).map(Zeroizing::new));
        let texts = texts.collect::<Result<Vec<_>, config::ConfigError>>()?;
        let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
        let names = (settings.public_url.as_str(), settings.audience.as_str());
        anyhow::Ok(AuthorizationServer::new(&texts, own.token_lifetime_s, names)?)
    });
    Ok(Registry::load(settings.systems.clone(), settings.issuers.clone(), own.transpose()?).await?)
}

fn connectors(settings: &Settings) -> anyhow::Result<Connectors> {
    let mut all = std::collections::BTreeMap::new();
    for (id, provider) in &settings.providers {
        let (certificate, key) = (config::read(&provider.certificate)?, config::read(&provider.key)?);
        let route = Route {
            base_url: provider.base_url.clone(),
            trusted_pem: config::read(&provider.trusted)?,
            identity_pem: format!("{certificate}\n{key}"),
            timeout: Duration::from_millis(provider.timeout_ms),
            body_bytes_max: provider.body_bytes_max,
            in_flight_max: provider.in_flight_max,
            reach: if provider.loopback { Reach::Here } else { Reach::Elsewhere },
        };
        all.insert(id.clone(), route);
    }
    Ok(Connectors::new(all)?)
}

/// How people are told of alerts.
///
/// # Errors
/// Which setting cannot be used, and why.
pub fn notifier(settings: &Settings, set: &PolicySet) -> anyhow::Result<Notifier> {
    let mut channels = std::collections::BTreeMap::new();
    for (id, tell) in &settings.alerts.organisations {
        let section = || format!("settings: [alerts.organisations.{id}]");
        anyhow::ensure!(set.organisation(id).is_some(), "{}: no policy file defines it", section());
        let mails = !tell.email.is_empty() || !tell.escalation_email.is_empty();
        anyhow::ensure!(
            !mails || settings.alerts.smtp.is_some(),
            "{}: e-mail needs [alerts.smtp]",
            section()
        );
        let boxes = |of: &[String]| of.iter().map(|one| notify::mailbox(one)).collect::<Result<Vec<_>, _>>();
        let webhook = tell.webhook.as_ref().map(|webhook| {
            let (secret, trusted) = (config::read(&webhook.secret)?, config::read(&webhook.trusted)?);
            anyhow::Ok(Webhook::new(&webhook.url, &secret, &trusted)?)
        });
        let of = Channels {
            webhook: webhook.transpose().with_context(section)?,
            mail: boxes(&tell.email).with_context(section)?,
            escalation: boxes(&tell.escalation_email).with_context(section)?,
        };
        channels.insert(id.clone(), of);
    }
    let mailer = settings.alerts.smtp.as_ref().map(mailer).transpose().context("settings: [alerts.smtp]")?;
    let public_url = settings.public_url.trim_end_matches('/').to_owned();
    Ok(Notifier { channels, mailer, public_url })
}

fn mailer(smtp: &SmtpSettings) -> anyhow::Result<Mailer> {
    let trusted = smtp.trusted.as_deref().map(config::read).transpose()?.unwrap_or_default();
    let password = smtp.password.as_deref().map(config::read).transpose()?.map(Zeroizing::new);
    let login = match (&smtp.user, &password) {
        (Some(user), Some(password)) => Some((user.as_str(), password.trim())),
        (None, None) => None,
        _ => anyhow::bail!("`user` and `password` come together"),
    };
    let security = match smtp.security {
        SmtpSecurity::StartTls => MailSecurity::StartTls,
        SmtpSecurity::Tls => MailSecurity::Tls,
        SmtpSecurity::Loopback => MailSecurity::Loopback,
    };
    let (host, port, from) = (smtp.host.as_str(), smtp.port, smtp.from.as_str());
    Ok(Mailer::new(&MailServer { host, port, security, trusted_pem: &trusted, login, from })?)
}

/// Serves until told to stop, then lets requests finish.
///
/// # Errors
/// When an address or a certificate cannot be used.
pub async fn serve(settings: &Settings, app: Arc<App>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let (partners, probes) = config::passed_sockets().context("the sockets passed by the service manager")?;
    let listener = match partners {
        Some(listener) => listener,
        None => TcpListener::bind(settings.listen).await.with_context(|| in_use(settings.listen.port()))?,
    };
    let probes = match (probes, settings.probe_listen) {
        (Some(listener), _) => Some(listener),
        (None, Some(address)) => {
            Some(TcpListener::bind(address).await.with_context(|| in_use(address.port()))?)
        }
        (None, None) => None,
    };
    serve_with(listener, probes, settings, app, shutdown).await
}

/// As [`serve`], on a socket that is bound already.
///
/// # Errors
/// When a certificate cannot be used.
pub async fn serve_on(
    listener: TcpListener,
    settings: &Settings,
    app: Arc<App>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    serve_with(listener, None, settings, app, shutdown).await
}

async fn serve_with(
    listener: TcpListener,
    probes: Option<TcpListener>,
    settings: &Settings,
    app: Arc<App>,
    told: CancellationToken,
) -> anyhow::Result<()> {
    // What goes on beside the requests goes on until the last of them has its answer.
    let shutdown = CancellationToken::new();
    let config = server_tls(&settings.tls)?;
    let console = match &settings.console {
        None => None,
        Some(console) => {
            let listener = TcpListener::bind(console.listen).await;
            let listener = listener.with_context(|| in_use(console.listen.port()))?;
            Some((listener, desk::pages(&app, console)?, console.clone()))
        }
    };
    let (replacing, current) = watch::channel(config);
    let (refusals, heard) = mpsc::channel(1_024);
    // A flood that outruns the recorder is a flood all the same: its entries say so.
    let counted = app.clone();
    let refused = move |reason: HandshakeRefusal| {
        counted.metrics.handshake_refused(reason.as_str());
        let _ = refusals.try_send(reason);
    };
    let recorder = tokio::spawn(record_refused_handshakes(app.clone(), heard));
    let reloader = tokio::spawn(reload_on_hangup(app.clone(), settings.clone(), replacing, shutdown.clone()));
    let watcher = tokio::spawn(alerts::watch(app.clone(), shutdown.clone()));
    let evaluator = tokio::spawn(alerts::evaluate::follow(app.clone(), shutdown.clone()));
    let messenger = tokio::spawn(alerts::deliver::follow(app.clone(), shutdown.clone()));
    let exporter = tokio::spawn(asked::follow(app.clone(), shutdown.clone()));
    let archiver = tokio::spawn(blocks::follow(app.clone(), shutdown.clone()));
    let importer = tokio::spawn(opt_outs::watch(
        app.clone(),
        opt_outs::folder(&settings.ledger.beside()),
        shutdown.clone(),
    ));
    let forgetter = tokio::spawn(retention::watch(app.clone(), shutdown.clone()));
    let reads = audit_reads::folder(&settings.ledger.beside());
    let reads = tokio::spawn(audit_reads::watch(app.clone(), reads, shutdown.clone()));
    let shedding = tokio::spawn(shed::follow(app.clone(), shutdown.clone()));
    let courses = tokio::spawn(agreements::watch::follow(app.clone(), shutdown.clone()));
    let replica = tokio::spawn(replicas::follow(app.clone(), shutdown.clone()));
    let trying = tokio::spawn(replicas::try_commits(app.clone(), shutdown.clone()));
    let keys = tokio::spawn(keep_keys(app.clone(), KEYS_EVERY, shutdown.clone()));
    let witnesses = tokio::spawn(witnessed::watch(app.clone(), shutdown.clone()));
    let indexer = tokio::spawn(keep_trail(app.clone(), shutdown.clone()));
    let limits = settings.limits.connections();
    let probes = probes.map(|listener| {
        let pages = routes::probes(app.clone());
        tokio::spawn(listener::serve_plain(listener, pages, limits, shutdown.clone()))
    });
    tracing::info!(address = %listener.local_addr()?, "serving");
    let router = routes::router(app.clone());
    let closing = CancellationToken::new();
    tokio::spawn(stop::drain(
        app.clone(),
        told,
        closing.clone(),
        Duration::from_secs(settings.limits.drain_notice_s),
    ));
    let console = console
        .map(|(listener, pages, of)| tokio::spawn(desk::serve(listener, pages, of, limits, closing.clone())));
    stop::tell_manager(sd_notify::NotifyState::Ready);
    listener::serve(listener, current, router, limits, refused, closing).await;
    if let Some(console) = console {
        console.await??;
    }
    shutdown.cancel();
    shedding.await?;
    recorder.await?;
    reloader.await?;
    watcher.await?;
    evaluator.await?;
    messenger.await?;
    exporter.await?;
    archiver.await?;
    importer.await?;
    forgetter.await?;
    reads.await?;
    witnesses.await?;
    keys.await?;
    indexer.await?;
    replica.await?;
    trying.await?;
    courses.await?;
    if let Some(probes) = probes {
        probes.await?;
    }
    app.store.close().await;
    let stopped = app.clone();
    // It sends what is left, and waits for the collector.
    tokio::task::spawn_blocking(move || stopped.metrics.shut_down()).await?;
    Ok(())
}

/// Reads issuers' keys again now and then, so that no request has to wait for them and none that was taken back counts.
pub async fn keep_keys(app: Arc<App>, period: Duration, stop: CancellationToken) {
    let mut every = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => app.authenticator.registry.load_full().refresh().await,
        }
    }
}

/// Catches the trail's index up now and then, so that a search after a long time does not have it all to do, and when somebody was
/// told that it is behind.
async fn keep_trail(app: Arc<App>, stop: CancellationToken) {
    let mut every = tokio::time::interval(TRAIL_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut often = tokio::time::interval(TRAIL_OFTEN);
    often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut has_failed = false;
    loop {
        let is_due = tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => true,
            () = app.trail.wanted() => true,
            _ = often.tick() => false,
        };
        // What failed is not tried, and said, every second.
        if !is_due && (has_failed || !app.trail.is_far_behind(&app.store)) {
            continue;
        }
        // After a load it has much to do, page by page: whoever stops does not wait for it.
        tokio::select! {
            () = stop.cancelled() => return,
            caught = app.trail.catch_up(&app.store) => {
                has_failed = caught.is_err();
                if let Err(error) = caught {
                    tracing::error!(%error, "the trail's index could not be caught up");
                }
            }
        }
    }
}

/// What to do about a port that is taken.
pub fn in_use(port: u16) -> String {
    format!(
        "port {port} on 127.0.0.1 cannot be used: stop the program that is using it, or choose another port"
    )
}

/// A digest over the files that TLS goes by.
fn tls_files(settings: &TlsSettings) -> std::io::Result<[u8; 32]> {
    let files = [&settings.certificate, &settings.key, &settings.client_ca];
    let mut digest = Sha256::new();
    for file in files.into_iter().chain(&settings.revocation_lists) {
        let text = zeroize::Zeroizing::new(std::fs::read(file)?);
        digest.update(u64::try_from(text.len()).unwrap_or_default().to_be_bytes());
        digest.update(&*text);
    }
    Ok(digest.finalize().into())
}

fn server_tls(settings: &TlsSettings) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let read_lists = settings.revocation_lists.iter().map(|path| config::read(path));
    let lists = read_lists.collect::<Result<Vec<_>, _>>()?;
    let (certificate, key) = (config::read(&settings.certificate)?, config::read(&settings.key)?);
    Ok(tls::server_config(&certificate, &key, &config::read(&settings.client_ca)?, &lists)?)
}

/// Refused handshakes reach the ledger: the first of a kind at once, more of the same second by second, so that
/// a flood is recorded and is not a flood of entries.
async fn record_refused_handshakes(app: Arc<App>, mut heard: mpsc::Receiver<HandshakeRefusal>) {
    let mut waiting = Vec::new();
    while heard.recv_many(&mut waiting, 1_024).await > 0 {
        let mut counts = std::collections::BTreeMap::<&'static str, u32>::new();
        for reason in waiting.drain(..) {
            *counts.entry(reason.as_str()).or_default() += 1;
        }
        let entries = counts
            .into_iter()
            .map(|(reason, count)| Body::HandshakeRefused { reason: reason.to_owned(), count });
        let submission = Submission::of(app.clock.now(), entries.collect());
        if app.store.commit(submission).await.is_err() {
            tracing::error!("refused handshakes could not be recorded");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// SIGHUP: policies, certificates and partners' keys are read again. What is not in order changes nothing. SIGUSR1: this folder's
/// policies are put in force, whatever was put in force elsewhere.
async fn reload_on_hangup(
    app: Arc<App>,
    settings: Settings,
    tls: watch::Sender<Arc<rustls::ServerConfig>>,
    shutdown: CancellationToken,
) {
    let signal = |kind| tokio::signal::unix::signal(kind).ok();
    let (hangups, asked) = (signal(SignalKind::hangup()), signal(SignalKind::user_defined1()));
    let (Some(mut hangups), Some(mut asked)) = (hangups, asked) else { return };
    let mut shown = tls_files(&settings.tls).ok();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(()) = asked.recv() => {
                reload_policies(&app, &settings.policies, Put::InAnyCase).await;
                continue;
            }
            Some(()) = hangups.recv() => {}
        }
        reload_policies(&app, &settings.policies, Put::IfChanged).await;
        // Connections end with the settings that they were made with: not where nothing changed.
        let files = tls_files(&settings.tls).ok();
        match server_tls(&settings.tls) {
            Ok(_) if files.is_some() && files == shown => {}
            Ok(config) => {
                tls.send_replace(config);
                shown = files;
            }
            Err(error) => tracing::error!(%error, "the certificates stay as they were"),
        }
        match registry(&settings).await {
            Ok(registry) => app.authenticator.registry.store(Arc::new(registry)),
            Err(error) => tracing::error!(%error, "the partners' keys stay as they were"),
        }
        app.set_expiries(expiries::of_files(&settings));
        match connectors(&settings) {
            Ok(connectors) => {
                let connectors = connectors.in_place_of(&app.connectors.load());
                app.connectors.store(Arc::new(connectors));
            }
            Err(error) => tracing::error!(%error, "what record holders are shown stays as it was"),
        }
    }
}

/// Reads the policies again. A folder that is not in order changes nothing; either way the ledger says so.
pub async fn reload_policies(app: &App, folder: &Path, put: Put) {
    match policies::reload(app, folder, put).await {
        Ok(true) => tracing::info!(revision = app.policies().revision, "policies in force"),
        Ok(false) => {
            tracing::warn!(
                revision = app.policies().revision,
                "the policies in force stay: this folder is not what they were made from, and was not changed; SIGUSR1 puts it in force all the same"
            );
        }
        Err(error) => {
            tracing::error!(%error, "the policies stay as they were");
            let code = match error {
                PoliciesError::Behind(_) => "policies-behind",
                PoliciesError::Overtaken => "policies-overtaken",
                _ => "policies-not-in-order",
            };
            let entry = Body::PolicySetRejected { digest: None, code: code.to_owned() };
            let submission = Submission::of(app.clock.now(), vec![entry]);
            if app.store.commit(submission).await.is_err() {
                tracing::error!("the refused policies could not be recorded");
            }
        }
    }
}
