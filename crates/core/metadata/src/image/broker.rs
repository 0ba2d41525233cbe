//! A member of the cluster, as the image knows it.

use crate::record::{DiskTrouble, Endpoint, Registration};
use jocko_types::{BrokerEpoch, BrokerId};

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// What it said when it registered; `fenced` is as it stands now.
    pub registration: Registration,
    /// Whether it is about to stop.
    pub is_retiring: bool,
    /// What is wrong with its disk, if anything.
    pub disk: Option<DiskTrouble>,
}

/// Whether a broker may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerState {
    /// It may.
    Live,
    /// It is registered and must not lead.
    Fenced,
}

impl Broker {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> BrokerId {
        self.registration.broker_id
    }

    /// The number of its registration.
    #[must_use]
    pub fn epoch(&self) -> BrokerEpoch {
        self.registration.broker_epoch
    }

    /// Whether it may lead.
    #[must_use]
    pub fn state(&self) -> BrokerState {
        if self.registration.fenced { BrokerState::Fenced } else { BrokerState::Live }
    }

    /// Whether it may be given something: to lead, to be in sync, to keep a new replica.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state() == BrokerState::Live && !self.is_retiring
    }

    /// Whether its copies can be in sync as far as its disk is concerned.
    #[must_use]
    pub fn takes_writes(&self) -> bool {
        self.disk.as_ref().is_none_or(|trouble| trouble.kind.takes_writes())
    }

    /// Its address on a listener.
    #[must_use]
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.registration.endpoints.iter().find(|endpoint| endpoint.listener == listener)
    }
}
