//! Consumer groups, as administrators see them: who is in them, and what they have committed.

use super::{Client, join_address};
use crate::connection::Answer;
use crate::error::{ClientError, Result};
use jocko_codec::Reader;
use jocko_protocol::rpc::consumer_group_describe_request::ConsumerGroupDescribeRequest;
use jocko_protocol::rpc::consumer_group_describe_response as consumer;
use jocko_protocol::rpc::consumer_protocol_assignment::ConsumerProtocolAssignment;
use jocko_protocol::rpc::delete_groups_request::DeleteGroupsRequest;
use jocko_protocol::rpc::describe_groups_request::DescribeGroupsRequest;
use jocko_protocol::rpc::describe_groups_response as classic;
use jocko_protocol::rpc::find_coordinator_request::FindCoordinatorRequest;
use jocko_protocol::rpc::list_groups_request::ListGroupsRequest;
use jocko_protocol::{ApiKey, Decode, Request};
use jocko_types::ErrorCode;
use std::time::Duration;
use tokio::time::Instant;

/// The pause before a coordinator that has moved, or is loading, is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// The last version of an assignment that adds fields; later ones are read as this one.
const ASSIGNMENT_VERSION_MAX: i16 = 3;
/// From here on a request for coordinators names several groups (KIP-699).
const FIND_SEVERAL: i16 = 4;

/// A group, as a broker lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedGroup {
    /// Its name.
    pub group: String,
    /// What its members speak: "consumer", "connect", or nothing where it only commits offsets.
    pub protocol_type: String,
    /// "Stable", "Empty" and so on; empty where the broker is too old to tell.
    pub state: String,
    /// "classic", "consumer" and so on; empty where the broker is too old to tell.
    pub kind: String,
}

/// A group and its members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Its name.
    pub group: String,
    /// "classic" or "consumer".
    pub kind: String,
    /// "Stable", "Empty", "Dead" and so on.
    pub state: String,
    /// Who divides the partitions: the name of the assignor, empty if nobody yet.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupMember {
    /// The id by which the coordinator knows it.
    pub member: String,
    /// The name that outlives it, if it has one (KIP-345).
    pub instance: Option<String>,
    /// What the client calls itself.
    pub client: String,
    /// Where it is.
    pub host: String,
    /// The partitions it has, by topic; empty where the protocol is not one for consumers.
    pub assignment: Vec<(String, Vec<i32>)>,
}

impl Client {
    /// All groups of all brokers, by name.
    ///
    /// # Errors
    /// When a broker is out of reach or refuses: the list would lack groups.
    pub async fn list_groups(&mut self) -> Result<Vec<ListedGroup>> {
        self.metadata(Some(&[]), false).await?;
        let addresses: Vec<String> = self.brokers.values().cloned().collect();
        let mut groups = Vec::new();
        for address in addresses {
            let answer = self.ask_at(&address, &ListGroupsRequest::default(), i16::MAX).await?;
            let response = answer.get()?;
            ClientError::check(response.error_code, None)?;
            groups.extend(response.groups.into_iter().map(|group| ListedGroup {
                group: group.group_id,
                protocol_type: group.protocol_type,
                state: group.group_state,
                kind: group.group_type.to_ascii_lowercase(),
            }));
        }
        groups.sort();
        groups.dedup();
        Ok(groups)
    }

    /// A group of either protocol. One that nobody knows is `Dead`, without members.
    ///
    /// # Errors
    /// The coordinator's refusal, or that there is none.
    pub async fn describe_group(&mut self, group: &str) -> Result<DescribedGroup> {
        let coordinator = self.find_coordinator(group).await?;
        let served = self.served_at(&coordinator.1, ApiKey::ConsumerGroupDescribe).await?;
        if served {
            match self.describe_consumer_group(group).await {
                Ok(described) => {
                    return Ok(DescribedGroup { coordinator: coordinator.0, ..described });
                }
                // It may be a classic one, or nobody's; or the feature is off.
                Err(ClientError::Refused {
                    code: ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion,
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        let request =
            DescribeGroupsRequest { groups: vec![group.to_owned()], ..Default::default() };
        let answer = self
            .ask_coordinator(group, &request, i16::MAX, |answer| {
                Ok(answer.get()?.groups.first().map_or(0, |group| group.error_code))
            })
            .await?;
        let response = answer.get()?;
        let Some(found) = response.groups.into_iter().next() else {
            return Err(ClientError::NoSuchGroup(group.to_owned()));
        };
        match jocko_protocol::error_code(found.error_code) {
            // From version 6 on (KIP-1043); before, the state says so.
            ErrorCode::GroupIdNotFound => Ok(DescribedGroup {
                group: group.to_owned(),
                state: "Dead".to_owned(),
                coordinator: coordinator.0,
                ..Default::default()
            }),
            _ => {
                ClientError::check(found.error_code, found.error_message.as_deref())?;
                Ok(DescribedGroup { coordinator: coordinator.0, ..of_classic(found) })
            }
        }
    }

    async fn describe_consumer_group(&mut self, group: &str) -> Result<DescribedGroup> {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec![group.to_owned()],
            ..Default::default()
        };
        let answer = self
            .ask_coordinator(group, &request, i16::MAX, |answer| {
                Ok(answer.get()?.groups.first().map_or(0, |group| group.error_code))
            })
            .await?;
        let response = answer.get()?;
        let Some(found) = response.groups.into_iter().next() else {
            return Err(ClientError::NoSuchGroup(group.to_owned()));
        };
        ClientError::check(found.error_code, found.error_message.as_deref())?;
        Ok(of_consumer(found))
    }

    /// Deletes a group and its offsets.
    ///
    /// # Errors
    /// [`ClientError::NoSuchGroup`], or the coordinator's refusal: a group with members stays.
    pub async fn delete_group(&mut self, group: &str) -> Result<()> {
        let request =
            DeleteGroupsRequest { groups_names: vec![group.to_owned()], ..Default::default() };
        let answer = self
            .ask_coordinator(group, &request, i16::MAX, |answer| {
                Ok(answer.get()?.results.first().map_or(0, |result| result.error_code))
            })
            .await?;
        let response = answer.get()?;
        let Some(result) = response.results.first() else {
            return Err(ClientError::NoSuchGroup(group.to_owned()));
        };
        match jocko_protocol::error_code(result.error_code) {
            ErrorCode::GroupIdNotFound => Err(ClientError::NoSuchGroup(group.to_owned())),
            _ => ClientError::check(result.error_code, result.error_message.as_deref()),
        }
    }

    /// The broker that coordinates a group, and where it listens. Waits for one to be elected, or
    /// for the topic that keeps groups to be created, for as long as the client's timeout.
    ///
    /// # Errors
    /// When nobody says who it is in time.
    pub(crate) async fn find_coordinator(&mut self, group: &str) -> Result<(i32, String)> {
        if let Some(known) = self.coordinators.get(group) {
            return Ok(known.clone());
        }
        let give_up = Instant::now() + self.timeout;
        loop {
            let found = self.ask_for_coordinator(group).await;
            match found {
                Ok(found) => {
                    self.coordinators.insert(group.to_owned(), found.clone());
                    return Ok(found);
                }
                Err(ClientError::Refused { code, .. })
                    if code.is_retriable() && Instant::now() < give_up =>
                {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask_for_coordinator(&mut self, group: &str) -> Result<(i32, String)> {
        // A request names one group or several; the version decides which.
        let served = self.any().await?.advertised(ApiKey::FindCoordinator);
        let several = served.is_some_and(|versions| versions.max >= FIND_SEVERAL);
        let request = if several {
            FindCoordinatorRequest {
                coordinator_keys: vec![group.to_owned()],
                ..Default::default()
            }
        } else {
            FindCoordinatorRequest { key: group.to_owned(), ..Default::default() }
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        match response.coordinators.first() {
            Some(found) => {
                ClientError::check(found.error_code, found.error_message.as_deref())?;
                Ok((found.node_id, join_address(&found.host, found.port)))
            }
            None => {
                ClientError::check(response.error_code, response.error_message.as_deref())?;
                Ok((response.node_id, join_address(&response.host, response.port)))
            }
        }
    }

    /// Asks the coordinator of a group, in a version of at most `version_max`. One that has moved
    /// or is still loading is looked for again, for as long as the client's timeout; `error_of`
    /// says with which error an answer came.
    ///
    /// # Errors
    /// As [`Client::ask`]. Errors in the answer are the caller's.
    pub(crate) async fn ask_coordinator<R: Request>(
        &mut self,
        group: &str,
        request: &R,
        version_max: i16,
        error_of: impl Fn(&Answer<R>) -> Result<i16>,
    ) -> Result<Answer<R>> {
        let give_up = Instant::now() + self.timeout;
        loop {
            let (_, address) = self.find_coordinator(group).await?;
            let patience = self.patience_with_one();
            let outcome = self.ask_within(&address, request, version_max, patience).await;
            let moved = match &outcome {
                Ok(answer) => is_elsewhere(jocko_protocol::error_code(error_of(answer)?)),
                Err(ClientError::TimedOut { .. }) => self.has_many(),
                Err(error) => error.is_silence(),
            };
            if !moved {
                return outcome;
            }
            self.coordinators.remove(group);
            if Instant::now() >= give_up {
                return outcome;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Asks the broker at an address, in a version of at most `version_max`.
    ///
    /// # Errors
    /// As [`crate::Connection::call`].
    pub(crate) async fn ask_at<R: Request>(
        &mut self,
        address: &str,
        request: &R,
        version_max: i16,
    ) -> Result<Answer<R>> {
        self.ask_within(address, request, version_max, self.timeout).await
    }

    async fn ask_within<R: Request>(
        &mut self,
        address: &str,
        request: &R,
        version_max: i16,
        patience: Duration,
    ) -> Result<Answer<R>> {
        let mut connection = self.take_connection(address).await?;
        let answer = connection.call_up_to(request, version_max, patience).await;
        self.done_with(connection, answer.as_ref().err());
        answer
    }

    async fn served_at(&mut self, address: &str, api: ApiKey) -> Result<bool> {
        let connection = self.take_connection(address).await?;
        let served = connection.advertised(api).is_some();
        self.put_back(connection);
        Ok(served)
    }
}

/// Whether another broker may coordinate by now, or this one in a moment.
fn is_elsewhere(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress
    )
}

fn of_consumer(found: consumer::DescribedGroup) -> DescribedGroup {
    let members = found.members.into_iter().map(|member| GroupMember {
        member: member.member_id,
        instance: member.instance_id,
        client: member.client_id,
        host: host(&member.client_host),
        assignment: sorted(
            member
                .assignment
                .topic_partitions
                .into_iter()
                .map(|topic| (topic.topic_name, topic.partitions))
                .collect(),
        ),
    });
    DescribedGroup {
        group: found.group_id,
        kind: "consumer".to_owned(),
        state: found.group_state,
        assignor: found.assignor_name,
        coordinator: -1,
        members: members.collect(),
    }
}

fn of_classic(found: classic::DescribedGroup) -> DescribedGroup {
    let is_of_consumers = found.protocol_type == "consumer";
    let members = found.members.into_iter().map(|member| GroupMember {
        assignment: if is_of_consumers {
            sorted(classic_assignment(&member.member_assignment))
        } else {
            Vec::new()
        },
        member: member.member_id,
        instance: member.group_instance_id,
        client: member.client_id,
        host: host(&member.client_host),
    });
    DescribedGroup {
        group: found.group_id,
        kind: "classic".to_owned(),
        state: found.group_state,
        assignor: found.protocol_data,
        coordinator: -1,
        members: members.collect(),
    }
}

/// What a leader of a classic group has given to a member. Bytes of a client: what cannot be read
/// is shown as nothing.
fn classic_assignment(bytes: &[u8]) -> Vec<(String, Vec<i32>)> {
    let mut r = Reader::new(bytes);
    let Ok(version) = r.i16("ConsumerProtocolAssignment.version") else { return Vec::new() };
    let version = version.clamp(0, ASSIGNMENT_VERSION_MAX);
    let assignment = ConsumerProtocolAssignment::decode(&mut r, version).unwrap_or_default();
    assignment.assigned_partitions.into_iter().map(|each| (each.topic, each.partitions)).collect()
}

fn sorted(mut assignment: Vec<(String, Vec<i32>)>) -> Vec<(String, Vec<i32>)> {
    assignment.sort();
    for (_, partitions) in &mut assignment {
        partitions.sort_unstable();
    }
    assignment
}

/// Java writes addresses as `/10.0.0.7`.
fn host(text: &str) -> String {
    text.rsplit('/').next().unwrap_or_default().to_owned()
}
