//! What the settings say about other brokers: whether there are any, where they are met, and that
//! strangers are kept out.

use super::{ClusterSettings, ListenSettings, Settings};
use crate::error::{ConfigError, Problem};
use crate::value::HostPort;

/// The port of the cluster, unless a person says otherwise.
const CLUSTER_PORT: u16 = 9093;

/// The port of gossip, unless a person says otherwise.
const GOSSIP_PORT: u16 = 9094;

impl Settings {
    /// Whether the settings speak of other brokers: of some to join, or of more than one to found
    /// the cluster.
    #[must_use]
    pub fn expects_peers(&self) -> bool {
        !self.cluster.join.is_empty() || self.cluster.expect.get() > 1
    }

    /// Where the cluster port is, if there is one. An empty host is every interface.
    #[must_use]
    pub fn cluster_address(&self) -> Option<HostPort> {
        self.listen.cluster.address(CLUSTER_PORT, self.is_open_to_peers())
    }

    /// Where gossip is, if there is any. An empty host is every interface.
    #[must_use]
    pub fn gossip_address(&self) -> Option<HostPort> {
        self.listen.gossip.address(GOSSIP_PORT, self.is_open_to_peers())
    }

    /// Whom to ask for the cluster: over gossip, or over cluster ports where there is no gossip.
    #[must_use]
    pub fn join_addresses(&self) -> Vec<HostPort> {
        let usual = |address: Option<&HostPort>, port| {
            address.map(|address| address.port).filter(|port| *port != 0).unwrap_or(port)
        };
        let port = match self.gossip_address() {
            Some(gossip) => usual(Some(&gossip), GOSSIP_PORT),
            None => usual(self.listen.cluster.explicit(), CLUSTER_PORT),
        };
        self.cluster.join.iter().map(|address| address.with_port(port)).collect()
    }

    /// Whether `auto` addresses are open to other machines.
    fn is_open_to_peers(&self) -> bool {
        self.expects_peers() && !self.cluster.secret.is_empty()
    }
}

/// A setting that must be set because of others, and is not.
pub(crate) fn missing(settings: &Settings) -> Option<ConfigError> {
    let Settings { cluster, listen, .. } = settings;
    let error = |name: &str, why: String, cure: &str| {
        let problem = Box::new(Problem::Missing { why, cure: cure.to_owned() });
        Some(ConfigError { name: name.to_owned(), source: None, problem })
    };
    if settings.expects_peers() && settings.cluster_address().is_none() {
        let why = "brokers of a cluster reach each other at it, and it is none";
        return error("listen.cluster", why.to_owned(), "--listen-cluster auto");
    }
    if cluster.secret.is_empty() {
        if !cluster.secret_accepted.is_empty() {
            let why = "cluster.secret_accepted is only a second one, accepted beside it";
            return error("cluster.secret", why.to_owned(), "set cluster.secret too");
        }
        if let Some(beyond) = beyond_loopback(cluster, listen) {
            let why = format!(
                "{beyond}, and whoever reaches brokers without a secret can pass for one of them"
            );
            let cure = "the same secret on all brokers, such as `openssl rand -hex 32` prints, as \
                        JOCKO_CLUSTER_SECRET or as cluster.secret in jocko.toml";
            return error("cluster.secret", why, cure);
        }
    }
    None
}

/// What in the settings goes beyond this machine, in words.
fn beyond_loopback(cluster: &ClusterSettings, listen: &ListenSettings) -> Option<String> {
    let far = |address: &HostPort| !address.is_loopback();
    for (key, address) in
        [("listen.cluster", listen.cluster.explicit()), ("listen.gossip", listen.gossip.explicit())]
    {
        if let Some(address) = address.filter(|address| far(address)) {
            return Some(format!("{key} = {address} is open to other machines"));
        }
    }
    let mut joined = cluster.join.iter();
    if let Some(address) = joined.find(|address| far(&address.with_port(GOSSIP_PORT))) {
        return Some(format!("cluster.join = {address} is on another machine"));
    }
    // Whoever names loopback addresses means a cluster on this machine.
    let is_here = !cluster.join.is_empty()
        || listen.cluster.explicit().is_some()
        || listen.gossip.explicit().is_some();
    (cluster.expect.get() > 1 && !is_here).then(|| {
        format!("cluster.expect = {} brokers come from other machines", cluster.expect.get())
    })
}

#[cfg(test)]
mod tests {
    use crate::{Layers, Settings, load};

    fn loaded(flags: &[(&str, &str)]) -> Result<Settings, String> {
        let flags: Vec<_> =
            flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let loaded = load(&Layers { flags: &flags, ..Layers::default() });
        loaded.map(|loaded| loaded.settings().clone()).map_err(|errors| errors.to_string())
    }

    const SECRET: (&str, &str) = ("cluster.secret", "a secret of the tests");

    #[test]
    fn addresses_follow_from_who_is_expected() {
        let check = |flags: &[(&str, &str)], cluster: &str, gossip: &str, join: &str| {
            let settings = loaded(flags).expect("allowed");
            let shown = |address: Option<crate::HostPort>| {
                address.map_or("none".to_owned(), |address| address.to_string())
            };
            assert_eq!(shown(settings.cluster_address()), cluster, "{flags:?}");
            assert_eq!(shown(settings.gossip_address()), gossip, "{flags:?}");
            let joined: Vec<_> =
                settings.join_addresses().iter().map(ToString::to_string).collect();
            assert_eq!(joined.join(" "), join, "{flags:?}");
        };
        check(&[], "127.0.0.1:9093", "127.0.0.1:9094", "");
        check(&[SECRET], "127.0.0.1:9093", "127.0.0.1:9094", "");
        check(&[SECRET, ("cluster.expect", "3")], ":9093", ":9094", "");
        check(
            &[SECRET, ("cluster.join", "a, b:7,::1,[fd00::1]:8,[fd00::2]")],
            ":9093",
            ":9094",
            "a:9094 b:7 [::1]:9094 [fd00::1]:8 [fd00::2]:9094",
        );
        check(
            &[("cluster.join", "localhost"), ("cluster.expect", "5")],
            "127.0.0.1:9093",
            "127.0.0.1:9094",
            "localhost:9094",
        );
        check(
            &[SECRET, ("cluster.join", "a"), ("listen.gossip", ":7000")],
            ":9093",
            ":7000",
            "a:7000",
        );
        check(
            &[SECRET, ("cluster.join", "a"), ("listen.gossip", "none")],
            ":9093",
            "none",
            "a:9093",
        );
        check(
            &[("listen.cluster", "none"), ("listen.gossip", "localhost:0")],
            "none",
            "localhost:0",
            "",
        );
    }

    #[test]
    fn strangers_are_kept_out() {
        let check = |flags: &[(&str, &str)], words: &str| {
            let error = loaded(flags).expect_err(words);
            let (what, cure) = error.split_once("\n  try: ").expect("has a cure");
            assert!(what.starts_with("cluster.secret is not set, and must be: "), "{error}");
            assert!(what.contains(words), "{error}");
            assert!(cure.contains("secret"), "{error}");
        };
        check(&[("cluster.join", "node1")], "cluster.join = node1 is on another machine");
        check(&[("cluster.join", "localhost,10.0.0.1:9094")], "10.0.0.1:9094 is on another");
        check(&[("cluster.expect", "3")], "cluster.expect = 3 brokers come from other machines");
        check(&[("listen.cluster", ":9093")], "listen.cluster = :9093 is open to other machines");
        check(&[("listen.gossip", "10.0.0.1:9094")], "listen.gossip = 10.0.0.1:9094 is open");
        check(&[("cluster.secret_accepted", SECRET.1)], "only a second one");
        let error = loaded(&[SECRET, ("cluster.expect", "3"), ("listen.cluster", "none")])
            .expect_err("brokers cannot meet");
        assert!(error.starts_with("listen.cluster is not set, and must be: "), "{error}");
        for expect in ["0", "2", "4", "6"] {
            let error = loaded(&[SECRET, ("cluster.expect", expect)]).expect_err("refused");
            assert!(error.contains("1, 3 or 5"), "{error}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let flag = |value: &str| vec![("cluster.secret".to_owned(), value.to_owned())];
        let file = "cluster.secret = \"sesame of the file\"";
        let flags = flag("sesame of the flag");
        let layers =
            Layers { file: Some(("jocko.toml", file)), flags: &flags, ..Layers::default() };
        let loaded = load(&layers).expect("allowed");
        assert_eq!(loaded.settings().cluster.secret.expose(), b"sesame of the flag");
        let shown = format!(
            "{loaded:?} {:?} {} {:?}",
            loaded.settings(),
            loaded.explain("cluster.secret").expect("known"),
            loaded.entries().collect::<Vec<_>>(),
        );
        assert!(shown.contains("cluster.secret = (hidden)"));
        assert!(!shown.contains("sesame"));
        let short = load(&Layers { flags: &flag("guess me"), ..Layers::default() });
        let error = short.expect_err("too short").to_string();
        assert!(error.contains("16 to 1024 bytes") && !error.contains("guess me"), "{error}");
    }
}
