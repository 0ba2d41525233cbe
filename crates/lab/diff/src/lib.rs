//! What would Kafka do? Sends the same raw requests to a real Kafka and to jocko, compares the
//! decoded answers field by field, and names every difference that is not declared.
//!
//! - [`Scenario`]: a named play over one API, run at every version of it against each broker.
//! - [`Run`]: one scenario at one version against one broker; sends, receives, records.
//! - [`normal`]: the values that rightly differ between two brokers, by type and with reasons.
//! - [`compare`]: two recordings, and where they differ.
//! - [`Declared`]: `declared.toml`, the differences that jocko means to have, with reasons.
//!
//! A new case is a function in `scenarios/<api>.rs` and a line in that file's table.

pub mod batches;
mod broker;
pub mod compare;
mod connection;
mod declared;
pub mod normal;
mod report;
mod run;
mod scenario;
pub mod scenarios;
mod sweep;

pub use broker::Broker;
pub use compare::Difference;
pub use connection::{Connection, Received};
pub use declared::{About, Declaration, Declared};
pub use report::Report;
pub use run::{Answer, Run, Step, Topic};
pub use scenario::Scenario;
pub use sweep::{Options, sweep};
