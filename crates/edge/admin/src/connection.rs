//! One connection, from its first byte to its last: what it may hold, and for how long.

use crate::company::Peer;
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What is read ahead of a request: far more than its header has.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Serves one connection until it ends, is silent for `silence_max`, or is told to stop.
///
/// Told to stop, it ends at once if no request of it is known, and else after the answer that is
/// under way.
pub(crate) async fn run(
    (stream, peer): (impl AsyncRead + AsyncWrite + Unpin, Peer),
    routes: Router,
    silence_max: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let progress = Progress::default();
    let router = TowerToHyperService::new(routes);
    let asked = progress.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        asked.ask();
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let stream = Watched { stream, progress: progress.clone() };
    let connection = http1::Builder::new()
        .max_buf_size(READ_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut is_stopping = false;
    loop {
        let silent_at = progress.last() + silence_max;
        tokio::select! {
            // However it ended: there is nobody to tell.
            _ = connection.as_mut() => return,
            // Progress meanwhile gives more time.
            () = sleep_until(silent_at) => if progress.last() + silence_max <= silent_at {
                return;
            },
            _ = stop.wait_for(|stop| *stop), if !is_stopping => {
                if !progress.has_asked() {
                    return;
                }
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// When a connection last got on: a whole request came, or the peer took bytes of an answer. Bytes
/// of a request that never gets whole are no progress.
#[derive(Debug, Clone)]
struct Progress(Arc<Mutex<Steps>>);

#[derive(Debug)]
struct Steps {
    last: Instant,
    has_asked: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Steps { last: Instant::now(), has_asked: false })))
    }
}

impl Progress {
    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self) {
        *self.steps() = Steps { last: Instant::now(), has_asked: true };
    }

    fn take(&self) {
        self.steps().last = Instant::now();
    }

    fn last(&self) -> Instant {
        self.steps().last
    }

    fn has_asked(&self) -> bool {
        self.steps().has_asked
    }
}

/// A stream whose writes count as progress.
struct Watched<S> {
    stream: S,
    progress: Progress,
}

impl<S> Watched<S> {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = written {
            self.progress.take();
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
