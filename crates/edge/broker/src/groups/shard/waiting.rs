//! What waits for a coordinator: requests that are parked, and readings that a crash could yet take
//! back.

use super::{Phase, Shard};
use crate::cluster::{Contact, GivenUp};
use jocko_group::{Answer, append_refused};
use jocko_net::Waiter;
use jocko_partition::{Appended, Partition, Progress};
use jocko_types::ErrorCode;
use std::sync::Arc;
use std::time::Duration;

/// How long an answer waits for its records to be committed (Kafka's
/// `offsets.commit.timeout.ms`).
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A request that is parked.
pub(crate) struct Waiting {
    pub(super) shard: Arc<Shard>,
    pub(super) waiter: Waiter,
    pub(super) contact: Arc<Contact>,
}

/// Something that was read, and the append it must wait for.
pub(crate) struct Reading<T> {
    pub(super) found: T,
    pub(super) wait: Option<Behind>,
}

/// An append that is not committed yet.
pub(crate) struct Behind {
    pub(super) partition: Arc<Partition>,
    pub(super) appended: Appended,
    pub(super) waiter: Waiter,
    pub(super) contact: Arc<Contact>,
}

/// The answer for whoever has waited in vain.
fn in_vain(given_up: GivenUp) -> ErrorCode {
    match given_up {
        GivenUp::Late => ErrorCode::CoordinatorNotAvailable,
        GivenUp::CutOff => ErrorCode::NotCoordinator,
    }
}

impl Waiting {
    /// Waits for the answer.
    ///
    /// # Errors
    /// The answer for whoever asked: what was decided may or may not have been kept.
    pub(crate) async fn answered(mut self) -> Result<Answer, ErrorCode> {
        let ticket = self.waiter.ticket().to_bits();
        let mut commit_by = None;
        loop {
            {
                let mut state = self.shard.lock();
                if let Some(held) = state.answers.remove(&ticket) {
                    match held.behind.map(|appended| self.shard.partition.progress(&appended)) {
                        None | Some(Progress::Committed) => return Ok(held.answer),
                        Some(Progress::Lost(error)) => return Err(append_refused(error)),
                        Some(Progress::Waiting) => {
                            state.answers.insert(ticket, held);
                            let deadline = tokio::time::Instant::now() + COMMIT_TIMEOUT;
                            commit_by.get_or_insert(deadline);
                        }
                    }
                } else if let Phase::Gone(error) = state.phase {
                    return Err(error);
                }
            }
            self.contact.wait(commit_by, self.waiter.delivered()).await.map_err(in_vain)?;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let ticket = self.waiter.ticket().to_bits();
        let mut state = self.shard.lock();
        state.waiting.remove(&ticket);
        state.answers.remove(&ticket);
        drop(state);
        self.shard.partition.forget(ticket);
    }
}

impl<T> Reading<T> {
    /// Whether it may be told at once.
    pub(crate) fn now(self) -> Result<T, Self> {
        if self.wait.is_none() { Ok(self.found) } else { Err(self) }
    }

    /// Waits until what was read cannot be taken back.
    ///
    /// # Errors
    /// The answer for whoever asked.
    pub(crate) async fn settled(self) -> Result<T, ErrorCode> {
        let Some(behind) = self.wait else { return Ok(self.found) };
        let Behind { partition, appended, mut waiter, contact } = behind;
        let deadline = tokio::time::Instant::now() + COMMIT_TIMEOUT;
        loop {
            match partition.progress(&appended) {
                Progress::Committed => return Ok(self.found),
                Progress::Lost(error) => return Err(append_refused(error)),
                Progress::Waiting => {}
            }
            if let Err(given_up) = contact.wait(Some(deadline), waiter.delivered()).await {
                partition.forget(waiter.ticket().to_bits());
                return Err(in_vain(given_up));
            }
        }
    }
}
