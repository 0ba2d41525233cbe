//! Why a call has no answer.

use std::fmt;

use bytes::Bytes;

/// The longest words that travel with a refusal, in bytes.
pub(super) const WORDS_BYTES_MAX: usize = 512;

/// Why a call was not answered. What the variants tell apart is whether the peer may have acted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There is no connection, so the call was never sent.
    #[error("not connected: {0}")]
    NotConnected(String),
    /// The peer does not want to talk, or must not be talked to: another secret, cluster or
    /// version. The call was never sent, and more haste does not mend it.
    #[error("{0}")]
    Unwelcome(String),
    /// The peer has read the call and refuses it.
    #[error("refused: {0}")]
    Refused(PeerRefusal),
    /// No answer came in time; the peer may have acted.
    #[error("no answer in time")]
    TimedOut,
    /// The connection broke behind the call; the peer may have acted.
    #[error("connection broken: {0}")]
    Broken(String),
    /// The body is larger than a frame may be; the call was never sent.
    #[error("a body of {bytes} bytes, above the limit of {bytes_max}")]
    TooLarge {
        /// The body's size.
        bytes: usize,
        /// The limit, [`PeerSettings::frame_bytes_max`](super::PeerSettings::frame_bytes_max).
        bytes_max: usize,
    },
}

impl PeerError {
    /// Whether the peer surely has not acted on the call.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::NotConnected(_) | Self::Unwelcome(_) | Self::TooLarge { .. })
    }
}

/// A service's no to a call: a number for programs and words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRefusal {
    /// What the service means by it; numbers from [`PeerRefusal::BUSY`] up are this module's.
    pub code: u16,
    /// Why, for people. What is longer than 512 bytes is cut.
    pub words: String,
}

impl PeerRefusal {
    /// The peer handles as many calls of this connection as it may.
    pub const BUSY: u16 = 0xff00;
    /// The answer is larger than a frame may be.
    pub const ANSWER_TOO_LARGE: u16 = 0xff01;
    /// The peer is stopping.
    pub const STOPPING: u16 = 0xff02;

    /// A refusal.
    #[must_use]
    pub fn new(code: u16, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(clip(&self.words).as_bytes())
    }

    pub(super) fn from_bytes(code: u16, bytes: &[u8]) -> Self {
        Self { code, words: legible(bytes) }
    }
}

impl fmt::Display for PeerRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// As much of `words` as travels.
pub(super) fn clip(words: &str) -> &str {
    words.get(..words.floor_char_boundary(WORDS_BYTES_MAX)).unwrap_or_default()
}

/// A stranger's words, fit for a log line: bounded, and without anything that is not text.
pub(super) fn legible(bytes: &[u8]) -> String {
    let bytes = bytes.get(..WORDS_BYTES_MAX).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bounded_and_legible() {
        let long = "ä".repeat(400);
        let refusal = PeerRefusal::new(3, long);
        let bytes = refusal.to_bytes();
        assert_eq!(bytes.len(), 512);
        assert_eq!(PeerRefusal::from_bytes(3, &bytes).words, "ä".repeat(256));
        assert_eq!(legible(b"line\nnext\x1b[31m \xff"), "line\u{fffd}next\u{fffd}[31m \u{fffd}");
        assert!(legible(&[b'a'; 10_000]).len() <= 512);
    }
}
