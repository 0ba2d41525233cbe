//! The numbers of what brokers say to each other on the cluster port, and of their refusals.

/// Who answers here: a [`Member`](jocko_discovery::Member) as JSON. Anybody may ask.
pub(crate) const WHO: u16 = 1;
/// One way: a forming envelope.
pub(crate) const FORMING: u16 = 2;
/// A message of Raft, behind the id of the node it is meant for.
pub(crate) const RAFT: u16 = 3;
/// A blank node asks to be let in; any member passes it on to the leader.
pub(crate) const ADMIT: u16 = 4;
/// A command for the controller.
pub(crate) const SUBMIT: u16 = 5;
/// A broker tells the controller that it is there.
pub(crate) const HEARTBEAT: u16 = 6;
/// A question or a wish about the metadata's group, for its leader.
pub(crate) const QUORUM: u16 = 7;
/// Kinds from here on are replication's.
pub(crate) const REPLICATION: u16 = 16;

/// Not the one it was meant for, or not entitled to it.
pub(crate) const NOT_YOURS: u16 = 1;
/// The bytes are none of ours.
pub(crate) const MALFORMED: u16 = 2;
/// Not now: no leader, or not ready. Nothing was done.
pub(crate) const NOT_READY: u16 = 3;
