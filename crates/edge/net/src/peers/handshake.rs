//! How two brokers meet: who they are, and the proof that both know the secret.
//!
//! Four messages in lockstep (hello, challenge, proof, welcome), any of which may be a refusal
//! in words instead. The caller proves first: whoever merely connects gets nothing to guess the
//! secret with. The layout is in docs/internals/peers.md.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Duration, timeout};

use super::error::{clip, legible};
use super::frame::{Decoder, Encoder, Seal};
use super::secret::{Secret, sign, verify};
use super::settings::{Lane, PeerIdentity, PeerSettings};
use super::wire::{Wire, foreign_cluster, put_identity, take_identity};
use crate::ports::BoxStream;

/// What a connection between brokers begins with. Read as the size of a Kafka request it is
/// negative, so a Kafka port closes at once; and no Kafka, TLS or HTTP client begins like this.
pub(super) const MAGIC: [u8; 8] = *b"\x8ajocko\r\n";
/// The version of handshake and frames that this build speaks.
pub(super) const VERSION: u16 = 1;
/// Magic, version, length of what follows.
const PREAMBLE_BYTES: usize = 12;
/// The largest message of a handshake.
pub(super) const MESSAGE_BYTES_MAX: usize = 1024;
const NONCE_BYTES: usize = 32;
/// How long a peer may take to read why it was refused.
const LINGER: Duration = Duration::from_millis(500);

/// What a handshake message is: the first byte behind the preamble.
mod message {
    pub(super) const HELLO: u8 = 1;
    pub(super) const CHALLENGE: u8 = 2;
    pub(super) const PROOF: u8 = 3;
    pub(super) const WELCOME: u8 = 4;
    /// Words follow; the same in every version, so that any two can say why they do not talk.
    pub(super) const REFUSAL: u8 = 5;
}

/// Why two did not come together.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The connection broke or closed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// These bytes come from no broker.
    #[error("not a broker of this kind")]
    Stranger,
    /// A broker that breaks the rules of its own version.
    #[error("a broken handshake: {0}")]
    Malformed(&'static str),
    /// One of both does not want to; in words.
    #[error("{0}")]
    Unwelcome(String),
}

type HandshakeResult<T> = Result<T, HandshakeError>;

/// One message as sent, preamble included.
struct Message {
    bytes: BytesMut,
}

impl Message {
    fn new(kind: u8) -> Self {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_slice(&MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u16(0);
        bytes.put_u8(kind);
        Self { bytes }
    }

    fn refusal(words: &str) -> Self {
        let mut message = Self::new(message::REFUSAL);
        message.bytes.put_slice(clip(words).as_bytes());
        message
    }

    async fn send(mut self, stream: &mut BoxStream) -> io::Result<BytesMut> {
        let length = self.bytes.len().saturating_sub(PREAMBLE_BYTES);
        let length = u16::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
        if let Some(mut field) = self.bytes.get_mut(PREAMBLE_BYTES - 2..PREAMBLE_BYTES) {
            field.put_u16(length);
        }
        stream.write_all(&self.bytes).await?;
        stream.flush().await?;
        Ok(self.bytes)
    }
}

/// Reads one message; returns it whole, its version and its kind.
async fn receive(stream: &mut BoxStream) -> HandshakeResult<(Vec<u8>, u16, u8)> {
    let mut bytes = vec![0; PREAMBLE_BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let read = stream.read(rest).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += read;
        // A stranger is known by its first byte; what it says further is not waited for.
        if bytes.iter().take(filled).zip(&MAGIC).any(|(found, wanted)| found != wanted) {
            return Err(HandshakeError::Stranger);
        }
    }
    let mut fields = bytes.get(MAGIC.len()..).unwrap_or_default();
    let (version, length) = (fields.get_u16(), usize::from(fields.get_u16()));
    if length == 0 || length > MESSAGE_BYTES_MAX - PREAMBLE_BYTES {
        return Err(HandshakeError::Malformed("its length"));
    }
    bytes.resize(PREAMBLE_BYTES + length, 0);
    stream.read_exact(bytes.get_mut(PREAMBLE_BYTES..).unwrap_or_default()).await?;
    let kind = bytes.get(PREAMBLE_BYTES).copied().unwrap_or_default();
    Ok((bytes, version, kind))
}

/// Reads a message of this version and kind; a refusal becomes an error.
async fn expect(stream: &mut BoxStream, wanted: u8) -> HandshakeResult<Vec<u8>> {
    let (bytes, version, kind) = receive(stream).await?;
    if kind == message::REFUSAL {
        return Err(HandshakeError::Unwelcome(legible(fields(&bytes))));
    }
    if version != VERSION {
        return Err(HandshakeError::Unwelcome(other_version(version)));
    }
    if kind != wanted {
        return Err(HandshakeError::Malformed("another message was due"));
    }
    Ok(bytes)
}

/// What follows preamble and kind.
fn fields(message: &[u8]) -> &[u8] {
    message.get(PREAMBLE_BYTES + 1..).unwrap_or_default()
}

fn other_version(theirs: u16) -> String {
    format!(
        "the peer speaks version {theirs} of the cluster protocol, this broker version {VERSION}: \
         run releases that share a version"
    )
}

/// What hello and challenge both say.
struct Introduction {
    has_secret: bool,
    identity: PeerIdentity,
}

fn introduce(out: &mut BytesMut, settings: &PeerSettings, own: &PeerIdentity) -> io::Result<()> {
    out.put_u8(u8::from(settings.secret.is_some()));
    out.put_slice(&settings.chance.nonce()?);
    put_identity(out, own);
    Ok(())
}

/// Bytes behind an introduction belong to later releases; the proofs cover them all the same.
fn read_introduction(mut bytes: &[u8]) -> HandshakeResult<Introduction> {
    const SHORT: HandshakeError = HandshakeError::Malformed("an introduction too short or odd");
    let (has_secret, rest) = bytes.split_first().ok_or(SHORT)?;
    // The nonce needs no look: it counts as part of the transcript.
    let (_nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(SHORT)?;
    bytes = rest;
    let identity = take_identity(&mut bytes).ok_or(SHORT)?;
    match has_secret {
        0 | 1 => Ok(Introduction { has_secret: *has_secret == 1, identity }),
        _ => Err(SHORT),
    }
}

/// Everything said so far, and what follows from it and the secret.
struct Transcript {
    hello: Vec<u8>,
    challenge: Vec<u8>,
    key: Option<[u8; 32]>,
    /// Of the second secret, which a caller may speak with instead.
    accepted: Option<[u8; 32]>,
}

impl Transcript {
    fn new(settings: &PeerSettings, hello: Vec<u8>, challenge: Vec<u8>) -> Self {
        let key = |secret: &Option<Secret>| secret.as_ref().map(|it| it.derive("jocko peers 1"));
        let (key, accepted) = (key(&settings.secret), key(&settings.secret_accepted));
        Self { hello, challenge, key, accepted }
    }

    /// The server's side of rotation: whoever proves the second secret is answered by it, too, so
    /// that a conversation has one key.
    fn admits(&mut self, purpose: &str, proof: &[u8]) -> bool {
        if self.is_proven(purpose, proof) {
            return true;
        }
        // Without a first secret there is no second one.
        if self.key.is_none() || self.accepted.is_none() {
            return false;
        }
        std::mem::swap(&mut self.key, &mut self.accepted);
        self.is_proven(purpose, proof)
    }

    fn parts<'a>(&'a self, purpose: &'a str) -> [&'a [u8]; 4] {
        // Messages carry their lengths and purposes no zero, so no two lists of parts read alike.
        [purpose.as_bytes(), &[0], &self.hello, &self.challenge]
    }

    fn put_proof(&self, purpose: &str, out: &mut BytesMut) {
        if let Some(key) = &self.key {
            out.put_slice(&sign(key, &self.parts(purpose)));
        }
    }

    fn is_proven(&self, purpose: &str, proof: &[u8]) -> bool {
        match &self.key {
            Some(key) => verify(key, &self.parts(purpose), proof),
            None => proof.is_empty(),
        }
    }

    fn seal(&self, purpose: &str) -> Option<Seal> {
        self.key.map(|key| Seal::new(sign(&key, &self.parts(purpose))))
    }
}

const CALLER_PROOF: &str = "caller's proof";
const SERVER_PROOF: &str = "server's proof";
const CALLER_KEY: &str = "caller to server";
const SERVER_KEY: &str = "server to caller";

/// The caller's side: says who it is and learns whom it has reached.
pub(super) async fn call(
    mut stream: BoxStream,
    lane: Lane,
    settings: &PeerSettings,
) -> HandshakeResult<Wire> {
    let told = settings.identity.changes();
    let own = settings.identity.get();
    let mut hello = Message::new(message::HELLO);
    hello.bytes.put_u8(match lane {
        Lane::Control => 1,
        Lane::Data => 2,
    });
    introduce(&mut hello.bytes, settings, &own)?;
    let hello = hello.send(&mut stream).await?;

    let challenge = expect(&mut stream, message::CHALLENGE).await?;
    let peer = read_introduction(fields(&challenge))?;
    // A server with honest words has refused by now; one that talks on is not believed.
    check_meeting(settings, &own, &peer).map_err(HandshakeError::Unwelcome)?;
    let transcript = Transcript::new(settings, hello.to_vec(), challenge);
    let mut proof = Message::new(message::PROOF);
    transcript.put_proof(CALLER_PROOF, &mut proof.bytes);
    proof.send(&mut stream).await?;

    let welcome = expect(&mut stream, message::WELCOME).await?;
    if !transcript.is_proven(SERVER_PROOF, fields(&welcome)) {
        return Err(HandshakeError::Unwelcome(other_secret(&own, &peer.identity)));
    }
    let decoder = Decoder::new(transcript.seal(SERVER_KEY), settings.frame_bytes_max);
    let encoder = Encoder::new(transcript.seal(CALLER_KEY));
    let identity = settings.identity.clone();
    Ok(Wire::new(stream, (decoder, encoder), peer.identity, identity, told))
}

/// The server's side: lets a caller in, or says why not.
pub(super) async fn answer(
    mut stream: BoxStream,
    settings: &PeerSettings,
) -> HandshakeResult<Wire> {
    let told = settings.identity.changes();
    let own = settings.identity.get();
    let (hello, version, kind) = receive(&mut stream).await?;
    if version != VERSION {
        return refuse(&mut stream, other_version(version)).await;
    }
    if kind != message::HELLO {
        return Err(HandshakeError::Malformed("a hello was due"));
    }
    let Some((_lane, introduction)) = fields(&hello).split_first() else {
        return Err(HandshakeError::Malformed("an empty hello"));
    };
    let peer = read_introduction(introduction)?;
    if let Err(words) = check_meeting(settings, &own, &peer) {
        return refuse(&mut stream, words).await;
    }
    let mut challenge = Message::new(message::CHALLENGE);
    introduce(&mut challenge.bytes, settings, &own)?;
    let challenge = challenge.send(&mut stream).await?;

    let mut transcript = Transcript::new(settings, hello, challenge.to_vec());
    let proof = expect(&mut stream, message::PROOF).await?;
    if !transcript.admits(CALLER_PROOF, fields(&proof)) {
        return refuse(&mut stream, other_secret(&own, &peer.identity)).await;
    }
    let mut welcome = Message::new(message::WELCOME);
    transcript.put_proof(SERVER_PROOF, &mut welcome.bytes);
    welcome.send(&mut stream).await?;
    let decoder = Decoder::new(transcript.seal(CALLER_KEY), settings.frame_bytes_max);
    let encoder = Encoder::new(transcript.seal(SERVER_KEY));
    let identity = settings.identity.clone();
    Ok(Wire::new(stream, (decoder, encoder), peer.identity, identity, told))
}

/// Whether both may go on, before anything is proven.
fn check_meeting(
    settings: &PeerSettings,
    own: &PeerIdentity,
    peer: &Introduction,
) -> Result<(), String> {
    let node = peer.identity.node;
    match (settings.secret.is_some(), peer.has_secret) {
        (true, false) => Err(format!(
            "node {} has a cluster.secret and node {node} has none: set the same cluster.secret \
             on both",
            own.node
        )),
        (false, true) => Err(format!(
            "node {node} has a cluster.secret and node {} has none: set the same cluster.secret \
             on both",
            own.node
        )),
        _ if !own.may_talk_to(&peer.identity) => Err(foreign_cluster(own, &peer.identity)),
        _ => Ok(()),
    }
}

fn other_secret(own: &PeerIdentity, peer: &PeerIdentity) -> String {
    format!(
        "nodes {} and {} have different cluster.secrets: set the same one on both",
        own.node, peer.node
    )
}

/// Refuses in words.
async fn refuse<T>(stream: &mut BoxStream, words: String) -> HandshakeResult<T> {
    refuse_words(stream, &words).await?;
    Err(HandshakeError::Unwelcome(words))
}

/// Says why not, and stays for a moment: a close on unread input would destroy the words.
pub(super) async fn refuse_words(stream: &mut BoxStream, words: &str) -> io::Result<()> {
    Message::refusal(words).send(stream).await?;
    stream.shutdown().await?;
    // Whether the peer has read them or is just slow, it has been told.
    let _ = timeout(LINGER, read_off(stream)).await;
    Ok(())
}

/// Reads until the peer leaves, or has sent more than a message.
async fn read_off(stream: &mut BoxStream) -> io::Result<()> {
    let mut rest = [0; MESSAGE_BYTES_MAX];
    let mut left = MESSAGE_BYTES_MAX;
    while let Some(space) = rest.get_mut(..left).filter(|space| !space.is_empty()) {
        match stream.read(space).await? {
            0 => break,
            read => left -= read,
        }
    }
    Ok(())
}
