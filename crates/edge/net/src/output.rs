//! Replies on their way out: runs of bytes and file ranges, in order.
//!
//! Bytes of several replies leave in one `writev`. A small file range that is in memory is copied
//! behind its header; a large one goes by `sendfile`, checked to be resident first, because
//! `sendfile` would wait for the device and with it every connection of the reactor. Cold ranges
//! are read by a worker. Where `sendfile` is missing, files are read in chunks like other bytes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::future::{FutureExt, LocalBoxFuture};
use jocko_disk::{DiskFault, FileRef};

use crate::metrics::{self, CloseReason};
use crate::ports::Stream;
use crate::reactor::Reactor;
use crate::service::{Piece, Reply};

/// File ranges up to this are copied when they are in memory: below it `sendfile` gains nothing.
const COPY_BYTES_MAX: usize = 64 * 1024;
/// How much of a file is checked, warmed and sent at a time.
const SEND_BYTES: usize = 1024 * 1024;
/// How much of a file is read at a time where it passes through this process.
const CHUNK_BYTES: usize = 128 * 1024;
/// Pieces per `writev`.
const SLICES_MAX: usize = 32;
/// What one connection may write before others of its reactor get their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// Why writing ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteFault {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Disk(#[from] DiskFault),
    #[error("{path} ends {missing} bytes before the end of the reply")]
    Short { path: String, missing: usize },
    #[error("reading a cold range of {path} failed in the worker")]
    Worker { path: String },
}

impl WriteFault {
    pub(crate) fn reason(&self) -> CloseReason {
        match self {
            Self::Socket(_) => CloseReason::Broken,
            Self::Disk(_) | Self::Short { .. } | Self::Worker { .. } => CloseReason::File,
        }
    }
}

/// What stopped a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Everything is out.
    Done,
    /// The peer takes no more for now.
    Blocked,
    /// A worker reads.
    Loading,
    /// There is more, but it is others' turn.
    Turn,
}

/// Replies to be written, in order.
#[derive(Default)]
pub(crate) struct Output {
    queue: VecDeque<Item>,
    /// Bytes of replies held in memory.
    bytes: usize,
    loading: Option<LocalBoxFuture<'static, Result<Loaded, WriteFault>>>,
}

enum Item {
    Bytes(Bytes),
    File(Range),
}

struct Range {
    file: FileRef,
    position: u64,
    len: usize,
    /// Bytes from `position` on that are in memory, as far as we know.
    resident: usize,
}

enum Loaded {
    /// The next bytes of the range.
    Bytes(Bytes),
    /// That many bytes of the range are in the page cache now.
    Resident(usize),
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of replies held in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a reply.
    pub(crate) fn push(&mut self, reply: Reply) {
        for piece in reply.first.into_iter().chain(reply.rest) {
            match piece {
                Piece::Bytes(bytes) if bytes.is_empty() => {}
                Piece::Bytes(bytes) => self.push_bytes(bytes),
                Piece::File { len: 0, .. } => {}
                Piece::File { file, position, len } => match read_small(&file, position, len) {
                    Some(bytes) => self.push_bytes(bytes),
                    None => {
                        self.queue.push_back(Item::File(Range { file, position, len, resident: 0 }))
                    }
                },
            }
        }
    }

    fn push_bytes(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.queue.push_back(Item::Bytes(bytes));
    }

    /// Writes as much as the peer takes; how many bytes went out, and what stopped it.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut dyn Stream,
        reactor: &Reactor,
    ) -> Result<(usize, Flush), WriteFault> {
        let mut written = 0;
        loop {
            if written >= TURN_BYTES {
                return Ok((written, Flush::Turn));
            }
            if let Some(loading) = &mut self.loading {
                let Poll::Ready(loaded) = loading.poll_unpin(cx) else {
                    return Ok((written, Flush::Loading));
                };
                self.loading = None;
                self.loaded(loaded?);
            }
            let step = match self.queue.front_mut() {
                None => return Ok((written, Flush::Done)),
                Some(Item::Bytes(_)) => self.write_bytes(cx, stream),
                Some(Item::File(range)) if range.len == 0 => {
                    self.queue.pop_front();
                    continue;
                }
                Some(Item::File(range)) => {
                    let by_file = stream.sends_files() && range.file.descriptor().is_some();
                    if by_file && range.resident > 0 {
                        send_range(cx, stream, range, reactor)
                    } else {
                        self.load_next(by_file, reactor)?;
                        continue;
                    }
                }
            };
            match step {
                Poll::Ready(sent) => written += sent?,
                Poll::Pending => return Ok((written, Flush::Blocked)),
            }
        }
    }

    fn loaded(&mut self, loaded: Loaded) {
        let Some(Item::File(range)) = self.queue.front_mut() else {
            unreachable!("a range stays in front while it is loaded");
        };
        match loaded {
            Loaded::Resident(len) => range.resident = len,
            Loaded::Bytes(bytes) => {
                range.advance(bytes.len());
                self.bytes += bytes.len();
                self.queue.push_front(Item::Bytes(bytes));
            }
        }
    }

    /// Makes the beginning of the range in front ready to be sent, with a worker if it is cold.
    fn load_next(&mut self, by_file: bool, reactor: &Reactor) -> Result<(), WriteFault> {
        let Some(Item::File(range)) = self.queue.front_mut() else {
            unreachable!("called for a range in front");
        };
        let (file, position) = (Arc::clone(&range.file), range.position);
        if by_file {
            let len = range.len.min(SEND_BYTES);
            if looks_resident(&file, position, len)? {
                range.resident = len;
                return Ok(());
            }
            metrics::add(&reactor.counters().cold_reads, 1);
            let path = file.path().display().to_string();
            let warmed = reactor.run_blocking(move || warm(&file, position, len));
            self.loading = Some(Box::pin(async move {
                match warmed.await {
                    Some(done) => done.map(|()| Loaded::Resident(len)),
                    None => Err(WriteFault::Worker { path }),
                }
            }));
            return Ok(());
        }
        let len = range.len.min(CHUNK_BYTES);
        let mut chunk = vec![0; len];
        if let Some(got) = file.read_resident_at(&mut chunk, position)?
            && got > 0
        {
            chunk.truncate(got);
            self.loaded(Loaded::Bytes(chunk.into()));
            return Ok(());
        }
        metrics::add(&reactor.counters().cold_reads, 1);
        let path = file.path().display().to_string();
        let read = reactor.run_blocking(move || read(&file, position, chunk));
        self.loading = Some(Box::pin(async move {
            match read.await {
                Some(done) => done.map(Loaded::Bytes),
                None => Err(WriteFault::Worker { path }),
            }
        }));
        Ok(())
    }

    fn write_bytes(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut dyn Stream,
    ) -> Poll<Result<usize, WriteFault>> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let mut file_follows = false;
        for (item, slice) in self.queue.iter().zip(&mut slices) {
            match item {
                Item::Bytes(bytes) => *slice = IoSlice::new(bytes),
                Item::File(_) => {
                    file_follows = true;
                    break;
                }
            }
            count += 1;
        }
        let slices = &slices[..count];
        let sent = match slices {
            // A header in front of a file: one packet with the file's first bytes.
            [header] if file_follows && stream.sends_files() => {
                ready!(stream.poll_write_more(cx, header))?
            }
            [one] => ready!(Pin::new(stream).poll_write(cx, one))?,
            many => ready!(Pin::new(stream).poll_write_vectored(cx, many))?,
        };
        if sent == 0 {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
        }
        self.advance(sent);
        Poll::Ready(Ok(sent))
    }

    fn advance(&mut self, sent: usize) {
        self.bytes -= sent;
        let mut left = sent;
        while left > 0 {
            let Some(Item::Bytes(bytes)) = self.queue.front_mut() else {
                unreachable!("a socket took no more bytes than it was given");
            };
            if left < bytes.len() {
                bytes.advance(left);
                return;
            }
            left -= bytes.len();
            self.queue.pop_front();
        }
    }
}

impl Range {
    fn advance(&mut self, bytes: usize) {
        self.position = self.position.saturating_add(bytes as u64);
        self.len -= bytes;
        self.resident = self.resident.saturating_sub(bytes);
    }

    fn short(&self) -> WriteFault {
        WriteFault::Short { path: self.file.path().display().to_string(), missing: self.len }
    }
}

fn send_range(
    cx: &mut Context<'_>,
    stream: &mut dyn Stream,
    range: &mut Range,
    reactor: &Reactor,
) -> Poll<Result<usize, WriteFault>> {
    let Some(descriptor) = range.file.descriptor() else {
        return Poll::Ready(Err(range.short()));
    };
    let len = range.resident.min(range.len);
    let sent = ready!(stream.poll_send_file(cx, descriptor, range.position, len))?;
    if sent == 0 {
        return Poll::Ready(Err(range.short()));
    }
    range.advance(sent);
    metrics::add(&reactor.counters().bytes_sent_by_file, sent);
    Poll::Ready(Ok(sent))
}

/// A small range, if all of it is in memory. Faults are left for the sending to find.
fn read_small(file: &FileRef, position: u64, len: usize) -> Option<Bytes> {
    if len > COPY_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; len];
    let got = file.read_resident_at(&mut bytes, position).ok()??;
    (got == len).then(|| bytes.into())
}

/// Whether the first and the last byte of a range are in memory: a sample, but what lies between
/// was read or written with them, and a wrong guess costs one wait for the device.
fn looks_resident(file: &FileRef, position: u64, len: usize) -> Result<bool, DiskFault> {
    let mut byte = [0];
    let last = position.saturating_add(len as u64).saturating_sub(1);
    for at in [position, last] {
        if !matches!(file.read_resident_at(&mut byte, at)?, Some(1)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads a range to bring it into the page cache.
fn warm(file: &FileRef, position: u64, len: usize) -> Result<(), WriteFault> {
    let mut buffer = vec![0; CHUNK_BYTES.min(len)];
    let mut done = 0;
    while done < len {
        let wanted = buffer.len().min(len - done);
        let at = position.saturating_add(done as u64);
        let got = file.read_at(&mut buffer[..wanted], at)?;
        if got == 0 {
            return Err(WriteFault::Short {
                path: file.path().display().to_string(),
                missing: len - done,
            });
        }
        done += got;
    }
    Ok(())
}

/// Reads the beginning of a range, at least one byte of it.
fn read(file: &FileRef, position: u64, mut chunk: Vec<u8>) -> Result<Bytes, WriteFault> {
    let got = file.read_at(&mut chunk, position)?;
    if got == 0 {
        return Err(WriteFault::Short {
            path: file.path().display().to_string(),
            missing: chunk.len(),
        });
    }
    chunk.truncate(got);
    Ok(chunk.into())
}
