//! A scenario: one play over one API, and the versions it is run at.

use crate::run::Run;
use anyhow::Result;
use jocko_protocol::{ApiKey, VersionRange, versions};

/// A play over one API. It is run once for each version, against each broker.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// The API whose versions are gone through.
    pub api: ApiKey,
    /// What it shows: unique within its API.
    pub name: &'static str,
    /// The versions it makes sense at.
    pub versions: VersionRange,
    /// Whether it changes what other scenarios see, so that it must run by itself.
    pub is_alone: bool,
    /// Sends and records.
    pub play: fn(&mut Run<'_>) -> Result<()>,
}

/// The versions at which a broker serves `api`, by the table of what jocko advertises.
///
/// # Panics
/// When `api` is not advertised: its scenarios cannot pass.
#[must_use]
pub(crate) fn served(api: ApiKey) -> VersionRange {
    let line = versions::advertised(api).expect("scenarios are for advertised APIs");
    VersionRange::new(line.served_min, line.versions.max)
}

impl Scenario {
    /// A play at every version that is served.
    #[must_use]
    pub const fn new(
        api: ApiKey,
        name: &'static str,
        play: fn(&mut Run<'_>) -> Result<()>,
    ) -> Self {
        Self { api, name, versions: VersionRange::new(0, i16::MAX), is_alone: false, play }
    }

    /// The same play from version `min` on.
    #[must_use]
    pub const fn since(mut self, min: i16) -> Self {
        self.versions.min = min;
        self
    }

    /// The same play while no other runs.
    #[must_use]
    pub const fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// The same play up to version `max`.
    #[must_use]
    pub const fn until(mut self, max: i16) -> Self {
        self.versions.max = max;
        self
    }

    /// Name and API, as reports and filters say it.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{}: {}", self.api.name(), self.name)
    }

    /// The versions to run at; only the first, the middle and the last for a smoke run.
    #[must_use]
    pub fn runs(&self, smoke: bool) -> Vec<i16> {
        let served = served(self.api);
        let (min, max) = (served.min.max(self.versions.min), served.max.min(self.versions.max));
        let mut versions: Vec<i16> = (min..=max).collect();
        if smoke {
            let middle = min + (max - min) / 2;
            versions.retain(|version| [min, middle, max].contains(version));
        }
        versions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_served_and_fewer_for_smoke() {
        let scenario = Scenario::new(ApiKey::Produce, "x", |_| Ok(()));
        assert_eq!(scenario.runs(false), (3..=13).collect::<Vec<_>>());
        assert_eq!(scenario.runs(true), [3, 8, 13]);
        assert_eq!(scenario.since(12).runs(true), [12, 13]);
        assert_eq!(scenario.since(13).until(20).runs(true), [13]);
        assert_eq!(scenario.until(2).runs(false), [0; 0]);
    }
}
