//! The TCP half of gossip, with bounds.
//!
//! The library reads the length of an encrypted message, makes room for it, reads it and only then
//! looks whether the sender knows the key: four bytes from a stranger would claim 4 GiB. Here a
//! claim beyond [`MESSAGE_BYTES_MAX`] ends the connection before any room is made, and only so
//! many strangers are listened to at a time.

use super::strangers::Strangers;
use memberlist_core::proto::{ProtoReader, ProtoWriter};
use serf::net::stream_layer::{Listener, PromisedStream, StreamLayer};
use serf::tokio::TokioRuntime;
use serf::transport::Connection;
use serf::types::EncryptionAlgorithm;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The largest message: a thousand members with full tags take less.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Connections from others that are served at a time; each is over within seconds.
const STRANGERS_MAX: usize = 64;

/// The tag of an encrypted message; algorithm and length follow.
const ENCRYPTED: u8 = 15;

/// How messages are sealed: AES-GCM, and no padding.
pub(super) const SEAL: EncryptionAlgorithm = EncryptionAlgorithm::NoPadding;

/// Whether a packet says that it is sealed as ours are.
pub(super) fn is_sealed_as_ours(packet: &[u8]) -> bool {
    matches!(packet, [ENCRYPTED, algorithm, ..] if *algorithm == SEAL.as_u8())
}

/// Makes bounded streams.
pub(crate) struct BoundedTcp {
    room: Arc<Semaphore>,
    strangers: Arc<Strangers>,
}

impl StreamLayer for BoundedTcp {
    type Runtime = TokioRuntime;
    type Listener = BoundedListener;
    type Stream = BoundedStream;
    type Options = Arc<Strangers>;

    async fn new(strangers: Arc<Strangers>) -> io::Result<Self> {
        Ok(Self { room: Arc::new(Semaphore::new(STRANGERS_MAX)), strangers })
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<BoundedStream> {
        BoundedStream::new(TcpStream::connect(address).await?, None)
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<BoundedListener> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (room, strangers) = (Arc::clone(&self.room), Arc::clone(&self.strangers));
        Ok(BoundedListener { listener, address, room, strangers })
    }

    fn is_secure() -> bool {
        false
    }
}

pub(crate) struct BoundedListener {
    listener: TcpListener,
    address: SocketAddr,
    room: Arc<Semaphore>,
    strangers: Arc<Strangers>,
}

impl Listener for BoundedListener {
    type Stream = BoundedStream;

    async fn accept(&self) -> io::Result<(BoundedStream, SocketAddr)> {
        loop {
            let (stream, from) = self.listener.accept().await?;
            // One too many is let go at once: waiting would keep brokers out behind strangers.
            let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { continue };
            let strangers = Arc::clone(&self.strangers);
            let caller = Caller { from, strangers, _permit: permit };
            if let Ok(stream) = BoundedStream::new(stream, Some(caller)) {
                return Ok((stream, from));
            }
        }
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }

    async fn shutdown(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Who has called.
struct Caller {
    from: SocketAddr,
    strangers: Arc<Strangers>,
    _permit: OwnedSemaphorePermit,
}

pub(crate) struct BoundedStream {
    reader: BoundedReader<OwnedReadHalf>,
    writer: BoundedWriter,
    local: SocketAddr,
    peer: SocketAddr,
}

impl BoundedStream {
    fn new(stream: TcpStream, caller: Option<Caller>) -> io::Result<Self> {
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        let (reader, writer) = stream.into_split();
        let reader =
            BoundedReader { inner: reader, peeked: Vec::new(), is_sealed_next: false, caller };
        Ok(Self { reader, writer: BoundedWriter(writer), local, peer })
    }
}

impl PromisedStream for BoundedStream {
    type Instant = tokio::time::Instant;

    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl Connection for BoundedStream {
    type Reader = BoundedReader<OwnedReadHalf>;
    type Writer = BoundedWriter;

    fn split(self) -> (Self::Reader, Self::Writer) {
        (self.reader, self.writer)
    }

    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        ProtoReader::read(&mut self.reader, buffer).await
    }

    async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        ProtoReader::read_exact(&mut self.reader, buffer).await
    }

    async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        ProtoReader::peek(&mut self.reader, buffer).await
    }

    async fn peek_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        ProtoReader::peek_exact(&mut self.reader, buffer).await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        ProtoWriter::write_all(&mut self.writer, payload).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        ProtoWriter::flush(&mut self.writer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        ProtoWriter::close(&mut self.writer).await
    }
}

/// Reads ahead a little, and believes no length beyond the bound.
pub(crate) struct BoundedReader<R> {
    inner: R,
    /// What was read ahead; never more than a header or a label.
    peeked: Vec<u8>,
    /// Whether a header was read, so that what it told of comes next.
    is_sealed_next: bool,
    /// Nothing where this broker has called.
    caller: Option<Caller>,
}

/// The most that is read ahead.
const PEEK_BYTES_MAX: usize = 512;

impl<R: AsyncRead + Unpin> BoundedReader<R> {
    /// Reads ahead once; nothing at the end of the stream.
    async fn read_ahead(&mut self, wanted: usize) -> io::Result<usize> {
        if wanted > PEEK_BYTES_MAX {
            return Err(too_much(wanted));
        }
        let mut ahead = [0; PEEK_BYTES_MAX];
        let missing = wanted.saturating_sub(self.peeked.len());
        let into = ahead.get_mut(..missing).unwrap_or_default();
        let read = self.inner.read(into).await?;
        self.peeked.extend_from_slice(ahead.get(..read).unwrap_or_default());
        Ok(read)
    }

    /// Copies what was read ahead, without taking it.
    fn copy(&self, buffer: &mut [u8]) -> usize {
        let copied = self.peeked.iter().zip(buffer.iter_mut());
        copied.map(|(from, to)| *to = *from).count()
    }
}

impl<R: AsyncRead + Send + Sync + Unpin> ProtoReader for BoundedReader<R> {
    async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.peeked.is_empty() {
            return self.inner.read(buffer).await;
        }
        let copied = self.copy(buffer);
        self.peeked.drain(..copied);
        Ok(copied)
    }

    async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        if buffer.len() > MESSAGE_BYTES_MAX + 64 {
            return Err(too_much(buffer.len()));
        }
        let copied = self.copy(buffer);
        self.peeked.drain(..copied);
        self.inner.read_exact(buffer.get_mut(copied..).unwrap_or_default()).await?;
        if std::mem::take(&mut self.is_sealed_next) {
            if let Some(caller) = &self.caller {
                caller.strangers.look(caller.from, buffer);
            }
            return Ok(());
        }
        self.is_sealed_next = refuse_odd(buffer)?;
        Ok(())
    }

    async fn peek(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.peeked.len() < buffer.len() {
            self.read_ahead(buffer.len()).await?;
        }
        Ok(self.copy(buffer))
    }

    async fn peek_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        while self.peeked.len() < buffer.len() {
            if self.read_ahead(buffer.len()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.copy(buffer);
        Ok(())
    }
}

/// Refuses the header of a message that claims to be too long or is not sealed as ours are. Nothing else
/// that is read by itself has its length and its tag; what comes after a header is as long as the header
/// said. Whether it is a header.
fn refuse_odd(header: &[u8]) -> io::Result<bool> {
    let &[ENCRYPTED, _, a, b, c, d] = header else { return Ok(false) };
    if !is_sealed_as_ours(header) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message is sealed in another way",
        ));
    }
    let claimed = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if claimed > MESSAGE_BYTES_MAX { Err(too_much(claimed)) } else { Ok(true) }
}

fn too_much(bytes: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message claims {bytes} bytes"))
}

pub(crate) struct BoundedWriter(OwnedWriteHalf);

impl ProtoWriter for BoundedWriter {
    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    async fn write_all(&mut self, payload: &[u8]) -> io::Result<()> {
        AsyncWriteExt::write_all(&mut self.0, payload).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        AsyncWriteExt::flush(&mut self.0).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> BoundedReader<&[u8]> {
        BoundedReader { inner: bytes, peeked: Vec::new(), is_sealed_next: false, caller: None }
    }

    #[tokio::test]
    async fn what_is_peeked_is_read_again() {
        let mut reader = reader(b"abcdefgh");
        let (mut two, mut three) = ([0; 2], [0; 3]);
        reader.peek_exact(&mut three).await.expect("there");
        assert_eq!(&three, b"abc");
        assert_eq!(reader.peek(&mut two).await.expect("there"), 2);
        assert_eq!(ProtoReader::read(&mut reader, &mut two).await.expect("there"), 2);
        assert_eq!(&two, b"ab");
        let mut five = [0; 5];
        ProtoReader::read_exact(&mut reader, &mut five).await.expect("there");
        assert_eq!(&five, b"cdefg");
        let end = reader.peek_exact(&mut two).await.expect_err("one byte is left");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(reader.peek(&mut two).await.expect("the last"), 1);
        let end = ProtoReader::read_exact(&mut reader, &mut two).await.expect_err("no more");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn claims_are_not_believed() {
        let mut header = [0; 6];
        let (ours, padded) = (SEAL.as_u8(), EncryptionAlgorithm::Pkcs7.as_u8());
        let claim = [ENCRYPTED, ours, 0xff, 0xff, 0xff, 0xff, 0];
        let mut stream = reader(&claim);
        stream.peek_exact(&mut header[..1]).await.expect("there");
        let error = ProtoReader::read_exact(&mut stream, &mut header).await.expect_err("too long");
        assert!(error.to_string().contains("claims 4294967295 bytes"), "{error}");
        let odd = [ENCRYPTED, padded, 0, 0, 0, 9];
        let mut padded = reader(&odd);
        let error = ProtoReader::read_exact(&mut padded, &mut header).await.expect_err("padded");
        assert!(error.to_string().contains("another way"), "{error}");
        let fits = [ENCRYPTED, ours, 0, 0x10, 0, 0];
        let mut fitting = reader(&fits);
        ProtoReader::read_exact(&mut fitting, &mut header).await.expect("a megabyte passes");
        let mut much = vec![0; MESSAGE_BYTES_MAX + 65];
        assert!(ProtoReader::read_exact(&mut reader(&[]), &mut much).await.is_err());
        assert!(reader(&[]).peek(&mut much).await.is_err());
    }
}
