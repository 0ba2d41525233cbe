//! Whom to ask, and how long to wait for one broker while others might answer.
//!
//! A client's timeout is the patience of whoever called it. A broker that hangs (frozen, or behind a
//! network that swallows everything) must not use it up: it is left after a part of it, asked last
//! from then on, and the next one gets its turn. The last one left gets all the time there is.

use super::Client;
use crate::connection::{Answer, Connection};
use crate::error::{ClientError, Result};
use jocko_protocol::{ApiKey, Request};
use std::time::Duration;
use tokio::time::Instant;

/// How long one broker is waited for where another may answer as well.
const ATTEMPT_MAX: Duration = Duration::from_secs(3);

impl Client {
    /// A connection to any broker, for requests that any may answer.
    ///
    /// # Errors
    /// What each of them said, when none can be reached.
    pub async fn any(&mut self) -> Result<&mut Connection> {
        let address = self.reach_any(Instant::now() + self.timeout).await?;
        Ok(self.connections.get_mut(&address).expect("was just reached"))
    }

    /// Sends a request to any broker. A broken connection is forgotten, so that the next call
    /// connects anew. What changes nothing is asked of the next broker where one does not answer.
    ///
    /// # Errors
    /// As [`Connection::call`].
    pub async fn ask<R: Request>(&mut self, request: &R) -> Result<Answer<R>> {
        let give_up = Instant::now() + self.timeout;
        let mut others = if changes_nothing(R::API_KEY) { self.everybody().len() } else { 1 };
        loop {
            others = others.saturating_sub(1);
            let address = self.reach_any(give_up).await?;
            let patience = patience(give_up, others);
            let connection = self.connections.get_mut(&address).expect("was just reached");
            let answer = connection.call_within(request, patience).await;
            let Err(error) = &answer else { return answer };
            if !error.spoils_connection() {
                return answer;
            }
            self.connections.remove(&address);
            self.ask_last(&address);
            if others == 0 || Instant::now() >= give_up {
                return answer;
            }
        }
    }

    /// Connects to the first who answers, unless that was done before. Yields where it is.
    async fn reach_any(&mut self, give_up: Instant) -> Result<String> {
        let addresses = self.everybody();
        let mut failures = Vec::new();
        for (address, others) in addresses.iter().zip((0..addresses.len()).rev()) {
            if self.connections.contains_key(address) {
                return Ok(address.clone());
            }
            let patience = patience(give_up, others);
            match Connection::open_within(address, patience, self.timeout).await {
                Ok(connection) => {
                    self.put_back(connection);
                    return Ok(address.clone());
                }
                Err(error) => failures.push(error),
            }
            self.ask_last(address);
        }
        Err(ClientError::all_of(failures))
    }

    /// Every address that is known, in the order in which to try them.
    pub(super) fn everybody(&self) -> Vec<String> {
        let is_new = |address: &&String| !self.bootstrap.contains(address);
        self.bootstrap.iter().chain(self.brokers.values().filter(is_new)).cloned().collect()
    }

    /// Who did not answer is asked last from now on.
    pub(super) fn ask_last(&mut self, address: &str) {
        if let Some(at) = self.bootstrap.iter().position(|known| known == address) {
            let address = self.bootstrap.remove(at);
            self.bootstrap.push(address);
        }
    }

    /// Whether somebody else may take over what one broker does.
    pub(super) fn has_many(&self) -> bool {
        self.brokers.len() > 1
    }

    /// How long to wait for a broker that is asked for what it leads: if it hangs, another one soon
    /// leads.
    pub(super) fn patience_with_one(&self) -> Duration {
        if self.has_many() { ATTEMPT_MAX.min(self.timeout / 3) } else { self.timeout }
    }
}

/// How long to wait for one broker, if there are so many `others` to turn to.
fn patience(give_up: Instant, others: usize) -> Duration {
    let left = give_up.saturating_duration_since(Instant::now());
    if others == 0 { left } else { ATTEMPT_MAX.min(left / 2) }
}

/// Whether it does no harm to ask twice.
fn changes_nothing(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::ApiVersions
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::DescribeCluster
            | ApiKey::DescribeConfigs
            | ApiKey::DescribeGroups
            | ApiKey::DescribeQuorum
            | ApiKey::DescribeTopicPartitions
            | ApiKey::FindCoordinator
            // Another id costs nothing.
            | ApiKey::InitProducerId
            | ApiKey::ListGroups
            | ApiKey::ListPartitionReassignments
            | ApiKey::Metadata
    )
}
