//! Callers with another secret. What cannot be read is dropped by the library without a word on the
//! side that is called; here it is tried beforehand, so that both sides know.

use super::{GossipSettings, stream};
use crate::key::gossip_key;
use serf::types::SecretKey;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is said, and how often a message is tried that nobody here may be able to read: a
/// stranger cannot have more work done than that.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// What comes before what is sealed.
const NONCE_BYTES: usize = 12;

/// Tells of callers that do not have the secret.
#[derive(Debug)]
pub(crate) struct Strangers {
    keys: Vec<SecretKey>,
    has_secret: bool,
    told: Mutex<Option<Instant>>,
}

impl Strangers {
    pub(super) fn new(settings: &GossipSettings) -> Self {
        let accepted = settings.secret_accepted.as_ref().map(Some);
        let secrets = std::iter::once(settings.secret.as_ref()).chain(accepted);
        Self {
            keys: secrets.map(|secret| SecretKey::Aes256(gossip_key(secret))).collect(),
            has_secret: settings.secret.is_some(),
            told: Mutex::new(None),
        }
    }

    /// Looks at a message that came over a connection: the nonce, and what is sealed. Whether the
    /// caller was told of.
    pub(super) fn look(&self, from: SocketAddr, message: &[u8]) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_told = told.is_some_and(|at| at.elapsed() < TOLD_EVERY);
        if is_told || self.can_read(message) {
            return false;
        }
        *told = Some(Instant::now());
        if self.has_secret {
            tracing::warn!(%from, "who gossips here has another cluster.secret than this broker, or none");
        } else {
            tracing::warn!(%from, "who gossips here has a cluster.secret, and this broker has none");
        }
        true
    }

    fn can_read(&self, message: &[u8]) -> bool {
        let Some((nonce, sealed)) = message.split_at_checked(NONCE_BYTES) else { return false };
        let opens = |key| stream::SEAL.decrypt(key, nonce, b"", &mut sealed.to_vec()).is_ok();
        self.keys.iter().any(opens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jocko_config::{HostPort, Secret};
    use serf::types::EncryptionAlgorithm;

    fn settings(secret: Option<&str>, accepted: Option<&str>) -> GossipSettings {
        GossipSettings {
            listen: HostPort { host: "127.0.0.1".to_owned(), port: 0 },
            advertise: None,
            join: Vec::new(),
            secret: secret.map(Secret::new),
            secret_accepted: accepted.map(Secret::new),
        }
    }

    fn sealed(secret: Option<&str>) -> Vec<u8> {
        let key = SecretKey::Aes256(gossip_key(secret.map(Secret::new).as_ref()));
        let nonce = EncryptionAlgorithm::random_nonce();
        let mut body = b"a message".to_vec();
        stream::SEAL.encrypt(key, nonce, b"", &mut body).expect("seals");
        [&nonce[..], &body].concat()
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_another_secret_is_told_of_once_a_minute() {
        let from = SocketAddr::from(([10, 0, 0, 7], 4_321));
        let (ours, next) = (Some("the secret of the tests"), Some("the next one of them"));
        let strangers = Strangers::new(&settings(ours, next));
        assert!(!strangers.look(from, &sealed(ours)));
        assert!(!strangers.look(from, &sealed(next)));
        assert!(strangers.look(from, &sealed(None)));
        assert!(!strangers.look(from, &sealed(None)), "it was told a moment ago");
        tokio::time::advance(TOLD_EVERY).await;
        assert!(!strangers.look(from, &sealed(ours)));
        assert!(strangers.look(from, &sealed(Some("another one of tests"))));
        let open = Strangers::new(&settings(None, None));
        assert!(!open.look(from, &sealed(None)));
        assert!(open.look(from, b"short"));
    }
}
