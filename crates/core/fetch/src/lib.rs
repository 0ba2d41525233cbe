//! Incremental fetch sessions (KIP-227), as a protocol machine.
//!
//! A consumer of many partitions names them once; afterwards it sends only what changed, and is
//! answered only for partitions that have something to say. The machine remembers what each
//! session asks for and what it last heard.
//!
//! # Caller's duties
//! 1. [`Sessions::begin`] for each Fetch request; serve [`Begun::partitions`] in that order.
//! 2. [`Sessions::finish`] once, with what was found for each of them, when the answer leaves; it
//!    says which partitions the answer must hold and which session id it carries.
//!
//! Bounded: at most [`Limits::sessions_max`] sessions; the least recently used one gives way once
//! it has been idle for [`Limits::idle_min`], otherwise the newcomer gets no session, which every
//! client copes with by sending full requests.

#![warn(missing_docs, clippy::wildcard_enum_match_arm)]
#![warn(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]

mod session;
mod sessions;

pub use session::{Key, Params, TopicKey};
pub use sessions::{Begun, Finding, Finished, Limits, Request, Sessions};

#[cfg(test)]
mod tests;
