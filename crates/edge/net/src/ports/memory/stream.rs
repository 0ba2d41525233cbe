//! One end of a connection in memory.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{Connection, Found};
use super::{Fabric, MemoryNet, Passing};
use crate::ports::net::Stream;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct MemoryStream {
    net: MemoryNet,
    connection: u64,
    /// 0 at the dialler, 1 at the acceptor.
    side: usize,
    own: SocketAddr,
    /// Wakes the reader when bytes arrive that are under way.
    timer: Option<Pin<Box<Sleep>>>,
}

impl MemoryStream {
    pub(super) fn new(net: MemoryNet, connection: u64, side: usize, own: SocketAddr) -> Self {
        Self { net, connection, side, own, timer: None }
    }

    /// Works on the connection, which is there as long as one of its ends is.
    fn on<T>(&self, act: impl FnOnce(&mut Fabric, &mut Connection) -> T) -> io::Result<T> {
        let mut fabric = self.net.lock();
        let connection = fabric.connections.remove(&self.connection);
        let mut connection = connection.ok_or(io::ErrorKind::NotConnected)?;
        let done = act(&mut fabric, &mut connection);
        fabric.connections.insert(self.connection, connection);
        Ok(done)
    }

    /// Whether the own way out and the way in are cut.
    fn cuts(&self, fabric: &Fabric, connection: &Connection) -> [bool; 2] {
        let [there, back] = fabric.cuts_of(connection.ends);
        if self.side == 0 { [there, back] } else { [back, there] }
    }

    /// Waits for `at`; pending, unless it has come already.
    fn poll_until(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        timer.as_mut().poll(cx)
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        let side = self.side;
        // An error says that the connection has gone already.
        let was_last = self.on(|fabric, connection| {
            let [is_cut, _] = self.cuts(fabric, connection);
            connection.drop_side(side, is_cut, &mut fabric.weather)
        });
        if was_last.unwrap_or(false) {
            self.net.lock().connections.remove(&self.connection);
        }
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        // A stream that is always ready must let others run now and then, as sockets do.
        let turn = ready!(poll_proceed(cx));
        loop {
            let found = this.on(|fabric, connection| {
                // What is read is acknowledged on the own way out.
                let [is_ack_cut, _] = this.cuts(fabric, connection);
                connection.read(this.side, buf, is_ack_cut, cx.waker())
            })??;
            match found {
                Found::Bytes(_) | Found::End => {
                    turn.made_progress();
                    return Poll::Ready(Ok(()));
                }
                Found::NothingUntil(at) => {
                    if this.poll_until(at, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let turn = ready!(poll_proceed(cx));
        let written = self.on(|fabric, connection| {
            let cuts = self.cuts(fabric, connection);
            let Fabric { weather, tap, .. } = fabric;
            let written = connection.write(self.side, bytes, cuts, weather, cx.waker());
            if let (Ok(Some(count)), Some(tap)) = (&written, tap) {
                let [from, to] = [connection.ends[self.side], connection.ends[1 - self.side]];
                tap(Passing { from, to, bytes: bytes.get(..*count).unwrap_or_default() });
            }
            written
        })??;
        let Some(count) = written else { return Poll::Pending };
        turn.made_progress();
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.on(|fabric, connection| {
            let [is_cut, _] = self.cuts(fabric, connection);
            connection.shut(self.side, is_cut, &mut fabric.weather);
        })?;
        Poll::Ready(Ok(()))
    }
}

impl Stream for MemoryStream {
    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            let side = self.side;
            let found = self.on(|_, connection| connection.hang_up(side, cx.waker()))??;
            match found {
                Found::Bytes(unread) => return Poll::Ready(Ok(unread)),
                Found::End => return Poll::Ready(Ok(0)),
                Found::NothingUntil(at) => {
                    if self.poll_until(at, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn local_address(&self) -> Option<SocketAddr> {
        Some(self.own)
    }
}
