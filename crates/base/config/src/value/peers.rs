//! What brokers must know to meet each other: whom to ask, how many to expect, what they share.

use super::{HostPort, SettingValue};
use std::fmt;
use std::net::Ipv6Addr;

/// Another broker to ask for the cluster: a host, and a port where it is not the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinAddress {
    /// A name or an address, without brackets.
    pub host: String,
    /// As written; `None` where nothing was.
    pub port: Option<u16>,
}

impl JoinAddress {
    fn parse(text: &str) -> Option<Self> {
        if text.parse::<Ipv6Addr>().is_ok() {
            return Some(Self { host: text.to_owned(), port: None });
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let (address, has_port) = match bare {
            Some(_) => (HostPort::parse(&format!("{text}:1"))?, false),
            None if text.contains(':') => (HostPort::parse(text)?, true),
            None => (HostPort::parse(&format!("{text}:1"))?, false),
        };
        if address.host.is_empty() || address.port == 0 {
            return None;
        }
        Some(Self { host: address.host, port: has_port.then_some(address.port) })
    }

    /// The address, with the port that is usual where none was written.
    #[must_use]
    pub fn with_port(&self, usual: u16) -> HostPort {
        HostPort { host: self.host.clone(), port: self.port.unwrap_or(usual) }
    }
}

impl fmt::Display for JoinAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => HostPort { host: self.host.clone(), port }.fmt(f),
            None => f.write_str(&self.host),
        }
    }
}

/// Other brokers to ask for the cluster; none for a broker that begins one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinAddresses(Vec<JoinAddress>);

/// More names than any cluster has brokers: each is asked again and again.
const JOIN_ADDRESSES_MAX: usize = 64;

impl JoinAddresses {
    /// The addresses in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &JoinAddress> {
        self.0.iter()
    }

    /// Whether nobody is to be asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl SettingValue for JoinAddresses {
    const EXPECTED: &'static str =
        "hosts like node1 or node1:9094, separated by commas (64 at most), or nothing";

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text == "none" {
            return Some(Self::default());
        }
        let all: Option<Vec<_>> =
            text.split(',').map(|one| JoinAddress::parse(one.trim())).collect();
        all.filter(|all| all.len() <= JOIN_ADDRESSES_MAX).map(Self)
    }

    fn render(&self) -> String {
        self.0.iter().map(JoinAddress::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Something only the brokers of a cluster know. It is never shown: neither its `Debug` nor its
/// canonical text tells more than whether there is one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The bytes themselves: to derive keys from, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret, if there is one.
    #[must_use]
    pub fn given(&self) -> Option<&Self> {
        (!self.is_empty()).then_some(self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(hidden)" })
    }
}

impl SettingValue for Secret {
    const EXPECTED: &'static str =
        "text of 16 to 1024 bytes, such as `openssl rand -hex 32` prints";
    const IS_SECRET: bool = true;

    fn parse(text: &str) -> Option<Self> {
        // What is shorter can be guessed by trying, by whoever has seen one packet.
        (text.is_empty() || (16..=1024).contains(&text.len())).then(|| Self(text.to_owned()))
    }

    fn render(&self) -> String {
        if self.is_empty() { String::new() } else { "(hidden)".to_owned() }
    }
}

/// Where a broker listens for other brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenPeers {
    /// On loopback while it is alone, on every interface once others are spoken of.
    Auto,
    /// Nowhere.
    Nowhere,
    /// There.
    At(HostPort),
}

impl ListenPeers {
    /// The address, where a person gave one.
    #[must_use]
    pub fn explicit(&self) -> Option<&HostPort> {
        match self {
            Self::At(address) => Some(address),
            Self::Auto | Self::Nowhere => None,
        }
    }

    /// The address to listen at: `usual_port` on loopback, or on every interface (an empty host)
    /// for a broker that is `open` to others, unless a person said otherwise.
    #[must_use]
    pub fn address(&self, usual_port: u16, open: bool) -> Option<HostPort> {
        match self {
            Self::Nowhere => None,
            Self::At(address) => Some(address.clone()),
            Self::Auto => {
                let host = if open { "" } else { "127.0.0.1" };
                Some(HostPort { host: host.to_owned(), port: usual_port })
            }
        }
    }
}

impl SettingValue for ListenPeers {
    const EXPECTED: &'static str = "auto, an address like 0.0.0.0:9093, or none";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "none" | "off" => Some(Self::Nowhere),
            _ => HostPort::parse(text).map(Self::At),
        }
    }

    fn render(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Nowhere => "none".to_owned(),
            Self::At(address) => address.to_string(),
        }
    }
}
