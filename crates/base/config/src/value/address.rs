//! Addresses to listen on and to advertise.

use super::SettingValue;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A host and a port. The host is a name, an IPv4 or IPv6 address, or empty for every interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Without brackets, even if it is an IPv6 address.
    pub host: String,
    /// 0 asks the system for a free port.
    pub port: u16,
}

impl HostPort {
    pub(super) fn parse(text: &str) -> Option<Self> {
        // What Kafka's habit puts in front. Other schemes promise what would not be kept.
        let text = text.strip_prefix("PLAINTEXT://").unwrap_or(text);
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(inner) => {
                let inner = inner.strip_suffix(']')?;
                inner.parse::<Ipv6Addr>().ok()?;
                inner
            }
            None if host.contains(':') => return None,
            None => host,
        };
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '*');
        if !host.chars().all(legal) || port.is_empty() || port.starts_with('+') {
            return None;
        }
        let host = if host == "*" { "" } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }

    /// The socket addresses this means without asking a resolver: both loopbacks for
    /// `localhost`, both wildcards for an empty host, the address itself, or nothing for a name.
    #[must_use]
    pub fn literal_addrs(&self) -> Vec<SocketAddr> {
        let both = |v4: Ipv4Addr, v6: Ipv6Addr| {
            vec![SocketAddr::new(v4.into(), self.port), SocketAddr::new(v6.into(), self.port)]
        };
        match self.host.as_str() {
            "localhost" => both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST),
            "" => both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
            host => host
                .parse::<IpAddr>()
                .map(|ip| vec![SocketAddr::new(ip, self.port)])
                .unwrap_or_default(),
        }
    }

    /// Whether only this machine can reach the address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let addrs = self.literal_addrs();
        !addrs.is_empty() && addrs.iter().all(|addr| addr.ip().is_loopback())
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Addresses to listen on, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddresses(Vec<HostPort>);

impl ListenAddresses {
    /// The addresses in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &HostPort> {
        self.0.iter()
    }
}

impl SettingValue for ListenAddresses {
    const EXPECTED: &'static str = "addresses like localhost:9092, 0.0.0.0:9092 or [::1]:9092";

    fn parse(text: &str) -> Option<Self> {
        let parsed: Option<Vec<HostPort>> =
            text.split(',').map(|one| HostPort::parse(one.trim())).collect();
        parsed.filter(|list| !list.is_empty()).map(Self)
    }

    fn render(&self) -> String {
        self.0.iter().map(HostPort::to_string).collect::<Vec<_>>().join(",")
    }
}

/// The address clients are told to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    /// Worked out for each connection from the address the client reached us at.
    Auto,
    /// This host, at the port we listen on.
    Host(String),
    /// This host and port.
    HostPort(HostPort),
}

impl SettingValue for Advertise {
    const EXPECTED: &'static str = "auto, a host like kafka.example.com, or host:port";

    fn parse(text: &str) -> Option<Self> {
        if text == "auto" {
            return Some(Self::Auto);
        }
        if let Some(address) = HostPort::parse(text) {
            let usable = !address.host.is_empty() && address.port != 0;
            return usable.then_some(Self::HostPort(address));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host = !text.is_empty() && text.chars().all(legal);
        (host || text.parse::<Ipv6Addr>().is_ok()).then(|| Self::Host(text.to_owned()))
    }

    fn render(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Host(host) => host.clone(),
            Self::HostPort(address) => address.to_string(),
        }
    }
}
