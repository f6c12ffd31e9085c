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
use bytes::Bytes;
use hyper::{
    Response,
    body::{Body as Answer, Frame, SizeHint},
};
use tokio::time::Instant;

use super::Limits;

/// Largest part of an answer that is handed on at once, in bytes: whoever takes a large answer slowly is seen to take it.
const PART_BYTES_MAX: usize = 16 * 1024;

/// What one connection owes.
pub(super) struct Owed {
    began: Instant,
    /// Requests that come so long after it began are nothing that it is kept for, in milliseconds.
    owes_until_ms: u64,
    /// Answers that the other side waits for, and not we for the other side.
    ours: AtomicUsize,
    /// When one of them last was made or a part of one was taken, in milliseconds since it began.
    moved_ms: AtomicU64,
}

impl Owed {
    /// Of a connection that begins now: it is kept for what is asked until it is old and had the time for draining, or for its last
    /// request.
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let more = limits.drain_timeout.max(limits.last_request_wait);
        let oldest = limits.connection_max_age.saturating_add(more);
        let (ours, moved_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        let owes_until_ms = u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX);
        Arc::new(Self { began: Instant::now(), owes_until_ms, ours, moved_ms })
    }

    /// Answers a request, and keeps account of it.
    pub(super) async fn answer<E>(
        self: Arc<Self>,
        answer: impl Future<Output = Result<Response<Body>, E>>,
    ) -> Result<Response<Answering>, E> {
        let owed = (self.now_ms() <= self.owes_until_ms).then_some(self);
        let ours = owed.as_ref().map(Ours::of);
        let answer = answer.await;
        drop(ours);
        answer.map(|answer| answer.map(|body| Answering { body, rest: Bytes::new(), owed, ours: None }))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moved(&self) {
        self.moved_ms.fetch_max(self.now_ms(), Ordering::Release);
    }

    /// Until it is the other side that has been waited for, and for so long.
    pub(super) async fn is_not_taken(&self, longest: Duration) {
        let asked = Instant::now();
        loop {
            // In this order: what ends in between has moved.
            let is_ours = self.ours.load(Ordering::Acquire) > 0;
            let moved = self.began + Duration::from_millis(self.moved_ms.load(Ordering::Acquire));
            let over = moved.max(asked) + longest;
            if is_ours {
                tokio::time::sleep(longest).await;
            } else if over <= Instant::now() {
                return;
            } else {
                tokio::time::sleep_until(over).await;
            }
        }
    }
}

/// The other side waits for us, until this is dropped.
struct Ours(Arc<Owed>);

impl Ours {
    fn of(owed: &Arc<Owed>) -> Self {
        owed.ours.fetch_add(1, Ordering::Relaxed);
        Self(owed.clone())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.0.moved();
        self.0.ours.fetch_sub(1, Ordering::Release);
    }
}

/// An answer on its way: whether it is us who are waited for, and when a part of it was taken, is noted.
pub(super) struct Answering {
    body: Body,
    /// What of a part has not been handed on yet.
    rest: Bytes,
    /// Of whom account is kept.
    owed: Option<Arc<Owed>>,
    ours: Option<Ours>,
}

impl Answer for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let mut frame = None;
        if this.rest.is_empty() {
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Pending => {
                    if this.ours.is_none() {
                        this.ours = this.owed.as_ref().map(Ours::of);
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(next))) => match next.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => frame = Some(Ok(other)),
                },
                Poll::Ready(Some(Err(error))) => frame = Some(Err(error)),
                Poll::Ready(None) => {
                    this.ours = None;
                    return Poll::Ready(None);
                }
            }
        }
        this.ours = None;
        this.owed.iter().for_each(|owed| owed.moved());
        let mut part = || Frame::data(this.rest.split_to(this.rest.len().min(PART_BYTES_MAX)));
        Poll::Ready(Some(frame.unwrap_or_else(|| Ok(part()))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (of_rest, of_body) = (u64::try_from(self.rest.len()).unwrap_or(u64::MAX), self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower().saturating_add(of_rest));
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper.saturating_add(of_rest));
        }
        hint
    }
}
