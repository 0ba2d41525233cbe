//! The key of gossip, from the secret of the cluster.

use hmac::{Hmac, KeyInit, Mac};
use jocko_config::Secret;
use sha2::Sha256;

/// What sets this use of the secret apart from every other.
const PURPOSE: &[u8] = b"jocko gossip key 1";

/// The AES-256 key of gossip: HMAC-SHA256 of the purpose under the secret, as in the second half of
/// HKDF (RFC 5869). Secrets are long and random, so nothing slows guessing down.
///
/// Without a secret the key is one that everybody can know: it keeps garbage out, which then is
/// dropped before anything looks inside, and nobody else. Brokers without one meet on loopback
/// only.
pub(crate) fn gossip_key(secret: Option<&Secret>) -> [u8; 32] {
    let secret = secret.map_or(&b""[..], Secret::expose);
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(secret).expect("HMAC takes keys of every length");
    mac.update(PURPOSE);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_secrets_own_and_stays_the_same() {
        let one = Secret::new("a secret of the tests");
        let other = Secret::new("a secret of the Tests");
        let (key, none) = (gossip_key(Some(&one)), gossip_key(None));
        assert_eq!(key, gossip_key(Some(&one)));
        assert_ne!(key, gossip_key(Some(&other)));
        assert_ne!(key, none);
        // A release that derives another key cannot gossip with this one.
        let hex: String = key.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "45acdbf0");
    }
}
