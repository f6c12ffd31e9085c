//! A connection of HTTP/2 that has begun as one does. HTTP/2 has no bound on how long its beginning may take; here it is what a head has.

use std::{
    io::{Error, IoSlice, Result},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    time::timeout,
};

/// How many bytes every client begins with. Source: RFC 9113 §3.4.
const PREFACE_BYTES: usize = 24;

/// A connection of which the beginning has been read already, and is read once more from here.
pub(super) struct Begun<S> {
    preface: [u8; PREFACE_BYTES],
    given: usize,
    stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Begun<S> {
    /// Waits for the beginning; `None` where it does not come in time, or is over before.
    pub(super) async fn read(mut stream: S, longest: Duration) -> Option<Self> {
        let mut preface = [0; PREFACE_BYTES];
        timeout(longest, stream.read_exact(&mut preface)).await.ok()?.ok()?;
        Some(Self { preface, given: 0, stream })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let ahead = self.preface.get(self.given..).unwrap_or(&[]);
        if ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let count = ahead.len().min(into.remaining());
        into.put_slice(ahead.get(..count).unwrap_or(&[]));
        self.given += count;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::result::Result<usize, Error>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
