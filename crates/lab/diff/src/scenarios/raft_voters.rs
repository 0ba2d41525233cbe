//! AddRaftVoter and RemoveRaftVoter (keys 80 and 81, KIP-853): what names no voter. The Kafka beside
//! us has a fixed set of voters, and refuses the rest for that alone.

use crate::run::Run;
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::add_raft_voter_request::Listener;
use jocko_protocol::rpc::{AddRaftVoterRequest, RemoveRaftVoterRequest};
use jocko_types::Uuid;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::AddRaftVoter, "no voter to add", no_voter_to_add),
    Scenario::new(ApiKey::RemoveRaftVoter, "no voter to remove", no_voter_to_remove),
];

/// A number or a directory that no voter can have.
const NOBODY: [(&str, i32, Uuid); 3] = [
    ("a negative number", -1, Uuid::from_bytes([9; 16])),
    ("no directory", 9, Uuid::ZERO),
    ("neither", i32::MIN, Uuid::ZERO),
];

fn no_voter_to_add(run: &mut Run<'_>) -> Result<()> {
    for (label, voter_id, voter_directory_id) in NOBODY {
        let listener = Listener {
            name: "CONTROLLER".to_owned(),
            host: "localhost".to_owned(),
            port: 9093,
            ..Default::default()
        };
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: 1_000,
            voter_id,
            voter_directory_id,
            listeners: vec![listener],
            ..Default::default()
        };
        run.send(label, &request)?;
    }
    Ok(())
}

fn no_voter_to_remove(run: &mut Run<'_>) -> Result<()> {
    for (label, voter_id, voter_directory_id) in NOBODY {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id,
            voter_directory_id,
            ..Default::default()
        };
        run.send(label, &request)?;
    }
    Ok(())
}
