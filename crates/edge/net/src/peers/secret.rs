//! The secret that the brokers of a cluster share, and keys derived from it.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What every broker of a cluster knows and nobody else. Debug does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret; none if `bytes` is empty, which proves nothing.
    #[must_use]
    pub fn new(bytes: impl AsRef<[u8]>) -> Option<Self> {
        let bytes = bytes.as_ref();
        (!bytes.is_empty()).then(|| Self(bytes.into()))
    }

    /// A key for one purpose: HMAC-SHA256 of the purpose's name under the secret. A key that leaks
    /// tells nothing of the secret's other keys.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        sign(&self.0, &[purpose.as_bytes()])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// HMAC-SHA256 (RFC 2104) of `parts`, one behind the other.
pub(super) fn sign(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

/// Whether `tag` is what [`sign`] makes of the same; takes the same time wherever they differ.
pub(super) fn verify(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    mac(key, parts).verify_slice(tag).is_ok()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn signs_as_the_rfc_says() {
        let tag = sign(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let hex: String = tag.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(verify(b"Jefe", &[b"what do ya want for nothing?"], &tag));
        assert!(!verify(b"Jefe", &[b"what do ya want for nothing!"], &tag));
        assert!(!verify(b"Jefe", &[b"what do ya want for nothing?"], &tag[..31]));
        assert!(!verify(b"jefe", &[b"what do ya want for nothing?"], &tag));
    }

    #[test]
    fn a_secret_keeps_itself() {
        let secret = Secret::new("open sesame").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(...)");
        assert_ne!(secret.derive("one"), secret.derive("another"));
        assert!(Secret::new("").is_none());
    }
}
