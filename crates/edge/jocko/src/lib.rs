//! A whole broker inside a Rust test.
//!
//! ```no_run
//! let broker = jocko::Broker::builder().start().expect("starts");
//! let bootstrap = broker.bootstrap(); // for any Kafka client
//! drop(broker); // stops it and removes its folder
//! ```
//!
//! The builder takes a free port and a temporary folder unless told otherwise, and durability is
//! relaxed: a test outlives no power cut. Everything else is the broker of the `jocko` binary.

use jocko_config::{Layers, load};
use jocko_disk::RealDisk;
use std::path::PathBuf;
use tempfile::TempDir;

/// Why a broker could not be started.
#[derive(Debug)]
pub struct Error(String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A running broker. Dropping it stops it; a temporary folder goes with it.
#[derive(Debug)]
pub struct Broker {
    /// Stopped before the folder is removed: fields drop in this order.
    broker: jocko_broker::Broker,
    _folder: Option<TempDir>,
}

/// How to start a [`Broker`].
#[derive(Debug, Default, Clone)]
pub struct Builder {
    data_dir: Option<PathBuf>,
    port: u16,
    settings: Vec<(String, String)>,
}

impl Broker {
    /// A broker on a free port with a folder of its own.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The address for Kafka clients: `127.0.0.1:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.broker.addresses().first().map(ToString::to_string).unwrap_or_default()
    }
}

impl Builder {
    /// Keeps the data in a folder that stays.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Listens on a fixed port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets any setting by its key: `.set("topics.partitions", "3")`.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Starts it; clients are served when this returns.
    ///
    /// # Errors
    /// An unknown or bad setting, or why the broker could not start.
    pub fn start(self) -> Result<Broker, Error> {
        let failed = |error: &dyn std::fmt::Display| Error(error.to_string());
        let (folder, path) = match self.data_dir {
            Some(path) => (None, path),
            None => {
                let folder = tempfile::tempdir().map_err(|error| failed(&error))?;
                let path = folder.path().join("data");
                (Some(folder), path)
            }
        };
        let pair = |key: &str, value: String| (key.to_owned(), value);
        let mut flags = vec![
            pair("data_dir", path.display().to_string()),
            pair("listen.kafka", format!("127.0.0.1:{}", self.port)),
            pair("listen.http", "none".to_owned()),
            pair("storage.durability", "relaxed".to_owned()),
        ];
        for (key, value) in self.settings {
            flags.retain(|(known, _)| *known != key);
            flags.push((key, value));
        }
        let layers = Layers { flags: &flags, ..Layers::default() };
        let settings = load(&layers).map_err(|errors| failed(&errors))?;
        let broker = jocko_broker::Broker::start(settings, RealDisk::shared())
            .map_err(|error| failed(&error))?;
        Ok(Broker { broker, _folder: folder })
    }
}
