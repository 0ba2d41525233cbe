//! A small Kafka client that works against any Kafka, not only jocko.
//!
//! [`Connection`] is one socket: it learns what the broker serves and speaks the highest version
//! both know. [`Client`] knows a cluster: which broker leads which partition, and how to ask it.
//! Retrying is the caller's decision; every error says whether it may help
//! ([`ClientError::is_retriable`]).

mod client;
mod connection;
mod error;
mod partitioner;

pub use client::{
    Client, Committed, Committer, CreatedTopic, DescribedGroup, Fetched, GroupMember, ListedGroup,
    Member, Members, Move, NewTopic, Outcomes, Position, Produced, Producer, Quorum, QuorumNode,
    Resource, TopicPartition, Unacknowledged,
};
pub use connection::{Answer, Connection};
pub use error::{ClientError, Result};
pub use partitioner::partition_for_key;
