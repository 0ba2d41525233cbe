//! A classic group (KIP-62): its members agree on a dialect, one of them assigns, and the
//! coordinator only sees to it that all of them speak of the same generation.
//!
//! What is in the log is the group as of its last durable step, [`ClassicGroup::written`]. What
//! the leader broker works with is [`Live`]: members that still join, sessions, requests that
//! wait. A request that changes anything works on a copy of it, a [`step::Step`].

mod convert;
mod describe;
mod expire;
mod join;
mod leave;
mod live;
mod protocols;
mod rebalance;
mod step;
mod sync;

pub(crate) use convert::{Migrant, found};
pub(crate) use expire::expire;
pub(crate) use join::join;
pub(crate) use leave::leave;
pub(crate) use live::{Live, State};
pub(crate) use sync::sync;

use crate::record::ClassicMetadata;
use std::sync::Arc;

/// A classic group, or offsets of a consumer without membership ("simple group").
#[derive(Debug)]
pub(crate) struct ClassicGroup {
    /// The group as the log has it; `None` if the log has offsets of it only.
    pub(crate) written: Option<Arc<ClassicMetadata>>,
    /// The group as it is now.
    pub(crate) live: Live,
}

impl ClassicGroup {
    /// The group that offsets without a group make.
    pub(crate) fn simple() -> Self {
        Self { written: None, live: Live::default() }
    }

    /// The group that a record makes.
    pub(crate) fn load(metadata: Arc<ClassicMetadata>) -> Self {
        let live = Live::load(&metadata);
        Self { written: Some(metadata), live }
    }

    /// Whether no record of it is left and nobody is joining it.
    pub(crate) fn is_nothing(&self) -> bool {
        self.written.is_none() && self.live.is_vacant()
    }

    pub(crate) fn check_invariants(&self) {
        self.live.check_invariants();
    }
}
