//! A connection in memory: a pipe each way, and what a socket's kernel knows beside its bytes.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::ports::net::Stream;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct MemoryStream {
    pipe: DuplexStream,
    incoming: Arc<Lane>,
    outgoing: Arc<Lane>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Lane(Mutex<LaneState>);

#[derive(Debug, Default)]
struct LaneState {
    /// Bytes written and not read.
    unread: usize,
    /// The writing end sends no more.
    ended: bool,
    /// Who wants to know when it does.
    watcher: Option<Waker>,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        let watcher = {
            let mut lane = self.lock();
            lane.ended = true;
            lane.watcher.take()
        };
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }
}

impl MemoryStream {
    /// Both ends of a new connection that holds `buffer_bytes` per direction.
    pub(super) fn pair(buffer_bytes: usize) -> (Self, Self) {
        let (near, far) = tokio::io::duplex(buffer_bytes);
        let (there, back) = (Arc::<Lane>::default(), Arc::<Lane>::default());
        let near = Self { pipe: near, incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
        (near, Self { pipe: far, incoming: there, outgoing: back })
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.outgoing.end();
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Locked meanwhile, so that the count and the pipe never disagree.
        let mut lane = this.incoming.lock();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.pipe).poll_read(cx, buf);
        lane.unread -= buf.filled().len() - before;
        read
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut lane = this.outgoing.lock();
        let written = Pin::new(&mut this.pipe).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            lane.unread += count;
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().pipe).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.pipe).poll_shutdown(cx);
        if shut.is_ready() {
            this.outgoing.end();
        }
        shut
    }
}

impl Stream for MemoryStream {
    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut lane = self.incoming.lock();
        if lane.ended {
            return Poll::Ready(Ok(lane.unread));
        }
        lane.watcher = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn hang_up(stream: &mut MemoryStream) -> io::Result<usize> {
        std::future::poll_fn(|cx| stream.poll_hang_up(cx)).await
    }

    #[tokio::test]
    async fn a_hang_up_shows_behind_unread_bytes() {
        for leave in [true, false] {
            let (mut near, mut far) = MemoryStream::pair(100);
            near.write_all(&[7; 50]).await.unwrap();
            let noticed = std::future::poll_fn(|cx| Poll::Ready(far.poll_hang_up(cx).is_ready()));
            assert!(!noticed.await);
            if leave {
                drop(near);
            } else {
                near.shutdown().await.unwrap();
            }
            assert_eq!(hang_up(&mut far).await.unwrap(), 50);
            let mut some = [0; 20];
            far.read_exact(&mut some).await.unwrap();
            assert_eq!(hang_up(&mut far).await.unwrap(), 30);
            assert_eq!(far.read_to_end(&mut Vec::new()).await.unwrap(), 30);
        }
    }

    #[tokio::test]
    async fn whoever_watches_is_woken() {
        let (near, mut far) = MemoryStream::pair(100);
        let watch = tokio::spawn(async move { hang_up(&mut far).await });
        tokio::task::yield_now().await;
        drop(near);
        assert_eq!(watch.await.unwrap().unwrap(), 0);
    }
}
