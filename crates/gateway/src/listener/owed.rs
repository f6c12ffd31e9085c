//! What a connection still owes to whoever is at its other end: requests that are being answered, and answers that are being taken.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

/// What one connection owes.
pub(super) struct Owed {
    began: Instant,
    /// Answers that the other side waits for, and not we for the other side.
    ours: AtomicUsize,
    /// When one of them last was made or a part of one was taken, in milliseconds since it began.
    moved_ms: AtomicU64,
}

impl Owed {
    pub(super) fn new() -> Arc<Self> {
        let (ours, moved_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { began: Instant::now(), ours, moved_ms })
    }

    /// The other side waits for us until this is dropped.
    pub(super) fn ours(self: &Arc<Self>) -> Ours {
        self.ours.fetch_add(1, Ordering::Relaxed);
        Ours(self.clone())
    }

    fn moved(&self) {
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Until it is the other side that has been waited for, and for so long.
    pub(super) async fn is_not_taken(&self, longest: Duration) {
        let asked = Instant::now();
        loop {
            let moved = self.began + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
            let over = moved.max(asked) + longest;
            if self.ours.load(Ordering::Relaxed) > 0 {
                tokio::time::sleep(longest).await;
            } else if over <= Instant::now() {
                return;
            } else {
                tokio::time::sleep_until(over).await;
            }
        }
    }
}

/// The other side waits for us.
pub(super) struct Ours(Arc<Owed>);

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.moved();
        self.0.ours.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer on its way: whether it is us who are waited for, and when a part of it was taken, is noted.
pub(super) struct Answering {
    body: Body,
    owed: Arc<Owed>,
    ours: Option<Ours>,
}

impl Answering {
    pub(super) fn new(body: Body, owed: Arc<Owed>) -> Self {
        Self { body, owed, ours: None }
    }
}

impl hyper::body::Body for Answering {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if frame.is_pending() {
            this.ours.get_or_insert_with(|| this.owed.ours());
        } else {
            this.ours = None;
            this.owed.moved();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
