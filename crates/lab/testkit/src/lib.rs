//! Real broker processes on loopback: started on free ports with a folder of their own, measured
//! from outside, killed by the id they were started with; the bytes to throw at them; and the
//! oracles that say whether what came back is what was promised.
//!
//! The oracles ([`History`], [`TopicHistory`]) are pure: events in, faults out. They know no
//! broker, so that their own tests can plant each violation and see it reported.

mod checker;
mod cluster;
mod faulty_disk;
mod history;
mod payload;
mod process;
mod produce;
mod raw;
mod topics;

pub use checker::{Anomaly, Checker, Event, Found, HistoryError, Outcome, Run, Verdict, value_of};
pub use cluster::{
    ClockShim, Cluster, ClusterOptions, Disk, Disks, FewFiles, Namespaces, Network, Place,
    SlowDisk, Squeezed, Surroundings, enter_own_network, enter_own_world, time_of_day,
};
pub use faulty_disk::FaultyDisk;
pub use history::{Fault, History, Log, Tally};
pub use payload::{Id, id_of, payload};
pub use process::{BrokerProcess, Options, Usage, free_ports, quietly, tail, wait_until};
pub use produce::{PartitionAnswer, PartitionBatch, produce_answers, produce_request};
pub use raw::{Connection, api_versions_request, frame};
pub use topics::{ListedTopic, TopicHistory};
