//! What stands between a gateway and its database, and can fail: a TCP proxy on loopback.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    time::{Duration, sleep},
};

/// How the proxy behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Takes no connection.
    Refuse,
    /// Passes nothing on in either direction, and closes nothing.
    Hole,
    /// Passes what the gateway says on, and no answer.
    Deaf,
    /// Breaks a connection off when the gateway says COMMIT, before the database hears it.
    CutBeforeCommit,
    /// Breaks a connection off when the gateway says COMMIT, after the database has heard it.
    CutAfterCommit,
}

const MODES: [Mode; 6] =
    [Mode::Pass, Mode::Refuse, Mode::Hole, Mode::Deaf, Mode::CutBeforeCommit, Mode::CutAfterCommit];

/// A proxy that runs until the program ends.
#[derive(Clone)]
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    target: Arc<Mutex<(String, u16)>>,
    mode: Arc<AtomicU8>,
    cuts: Arc<AtomicU64>,
    epoch: watch::Sender<u64>,
}

impl Proxy {
    /// Starts one in front of a port.
    pub async fn before(target: u16) -> Self {
        Self::before_host("127.0.0.1", target).await
    }

    /// Starts one in front of a port of another host.
    pub async fn before_host(host: &str, target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            target: Arc::new(Mutex::new((host.to_owned(), target))),
            mode: Arc::new(AtomicU8::new(0)),
            cuts: Arc::default(),
            epoch: watch::Sender::new(0),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                let proxy = accepting.clone();
                tokio::spawn(async move {
                    if proxy.mode() != Mode::Refuse {
                        proxy.connection(client).await;
                    }
                });
            }
        });
        proxy
    }

    /// Behaves otherwise from now on, also for the connections that are there.
    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
        if mode == Mode::Refuse {
            self.cut();
        }
    }

    /// Sends new connections elsewhere, and ends those that are there.
    pub fn point_at(&self, target: u16) {
        self.target.lock().unwrap().1 = target;
        self.cut();
    }

    /// Ends the connections that are there.
    pub fn cut(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// How many connections were broken off at a COMMIT.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }

    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Ordering::SeqCst))]
    }

    async fn connection(&self, client: TcpStream) {
        let mut epoch = self.epoch.subscribe();
        epoch.mark_unchanged();
        let target = self.target.lock().unwrap().clone();
        let Ok(server) = TcpStream::connect((target.0.as_str(), target.1)).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::select! {
            () = self.forward(from_client, to_server, true) => {}
            () = self.forward(from_server, to_client, false) => {}
            _ = epoch.changed() => {}
        }
    }

    async fn forward(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_request: bool) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(count @ 1..) = from.read(&mut buffer).await else { return };
            while self.mode() == Mode::Hole || (self.mode() == Mode::Deaf && !is_request) {
                sleep(Duration::from_millis(20)).await;
            }
            let commits = is_request && buffer[..count].windows(6).any(|bytes| bytes == b"COMMIT");
            if commits && self.mode() == Mode::CutBeforeCommit {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            if commits && self.mode() == Mode::CutAfterCommit {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
    }
}
