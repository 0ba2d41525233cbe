//! A member of a group, in the protocol in which brokers assign partitions (KIP-848): it tells the
//! coordinator that it lives, takes the partitions it is given, hands back those it is to lose,
//! and commits what was printed.
//!
//! States: *outside* (epoch 0: the next heartbeat joins), *inside* (epoch above 0). Fenced or
//! forgotten, it is outside again and has lost all partitions.

use crate::failure::{Failure, Result};
use jocko_client::{Client, ClientError, Committed, Committer};
use jocko_protocol::rpc::consumer_group_heartbeat_request::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use jocko_types::{ErrorCode, Offset, TopicId, Uuid};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How often what was read is committed.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// How long the group waits for a member that is to hand back partitions.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(60);
/// The epoch that joins, and the one that leaves.
const JOIN: i32 = 0;
const LEAVE: i32 = -1;

/// What changed in what this member has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// To be read from now on.
    pub(super) added: Vec<i32>,
    /// No longer to be read.
    pub(super) removed: Vec<i32>,
}

/// A member of a group that reads one topic.
pub(super) struct Member {
    group: String,
    topic: String,
    topic_id: TopicId,
    member: String,
    epoch: i32,
    owned: BTreeSet<i32>,
    /// What was printed, and what of it is committed.
    printed: BTreeMap<i32, Offset>,
    committed: BTreeMap<i32, Offset>,
    next_heartbeat: Instant,
    next_commit: Instant,
    /// The coordinator is to be told what this member owns.
    owes_report: bool,
}

impl Member {
    pub(super) fn new(group: String, topic: String, topic_id: TopicId) -> Self {
        let now = Instant::now();
        Self {
            group,
            topic,
            topic_id,
            member: random_id(),
            epoch: JOIN,
            owned: BTreeSet::new(),
            printed: BTreeMap::new(),
            committed: BTreeMap::new(),
            next_heartbeat: now,
            next_commit: now + COMMIT_EVERY,
            owes_report: false,
        }
    }

    /// How long it may do something else.
    pub(super) fn time_left(&self) -> Duration {
        self.next_heartbeat.saturating_duration_since(Instant::now())
    }

    /// Everything before `next` was printed.
    pub(super) fn printed(&mut self, partition: i32, next: Offset) {
        if self.owned.contains(&partition) {
            self.printed.insert(partition, next);
        }
    }

    /// Does what is due: a commit, a heartbeat.
    pub(super) async fn tend(&mut self, client: &mut Client) -> Result<Changed> {
        if Instant::now() >= self.next_commit {
            self.commit(client).await?;
        }
        if self.time_left().is_zero() {
            self.heartbeat(client).await
        } else {
            Ok(Changed::default())
        }
    }

    async fn heartbeat(&mut self, client: &mut Client) -> Result<Changed> {
        let joins = self.epoch == JOIN;
        let owned = TopicPartitions {
            topic_id: self.topic_id,
            partitions: self.owned.iter().copied().collect(),
            ..Default::default()
        };
        let report = if self.owned.is_empty() { Vec::new() } else { vec![owned] };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if joins { millis(REBALANCE_TIMEOUT) } else { -1 },
            subscribed_topic_names: joins.then(|| vec![self.topic.clone()]),
            topic_partitions: (joins || self.owes_report).then_some(report),
            ..Default::default()
        };
        let answer = match client.heartbeat(&request).await {
            Ok(answer) => answer,
            Err(error) => return self.recover(error),
        };
        self.owes_report = false;
        self.epoch = answer.member_epoch;
        // Version 0 leaves the choice of the id to the coordinator.
        if let Some(member) = answer.member_id.filter(|id| !id.is_empty()) {
            self.member = member;
        }
        let interval = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0).max(100);
        self.next_heartbeat = Instant::now() + Duration::from_millis(interval);
        let Some(assignment) = answer.assignment else { return Ok(Changed::default()) };
        let mine = assignment.topic_partitions.iter().filter(|each| each.topic_id == self.topic_id);
        let target: BTreeSet<i32> = mine.flat_map(|each| each.partitions.clone()).collect();
        self.follow(client, target).await
    }

    /// Hands back what is no longer given, takes what is new, and reports both at once: others
    /// wait for the first, and the coordinator for the second.
    async fn follow(&mut self, client: &mut Client, target: BTreeSet<i32>) -> Result<Changed> {
        let added: Vec<i32> = target.difference(&self.owned).copied().collect();
        let removed: Vec<i32> = self.owned.difference(&target).copied().collect();
        if added.is_empty() && removed.is_empty() {
            return Ok(Changed::default());
        }
        if !removed.is_empty() {
            self.commit(client).await?;
        }
        self.forget(&removed);
        self.owned = target;
        self.owes_report = true;
        self.next_heartbeat = Instant::now();
        Ok(Changed { added, removed })
    }

    fn forget(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.printed.remove(partition);
            self.committed.remove(partition);
        }
    }

    /// What the coordinator's refusal means: to begin anew, to try again, or to give up.
    fn recover(&mut self, error: ClientError) -> Result<Changed> {
        match &error {
            ClientError::Refused {
                code: ErrorCode::FencedMemberEpoch | ErrorCode::UnknownMemberId,
                ..
            } => {
                let removed: Vec<i32> = std::mem::take(&mut self.owned).into_iter().collect();
                self.forget(&removed);
                self.epoch = JOIN;
                self.next_heartbeat = Instant::now();
                Ok(Changed { added: Vec::new(), removed })
            }
            ClientError::NotServed { .. } => Err(Failure::new(error.to_string())
                .cure("groups need a broker that assigns partitions: jocko, or Kafka from 4.0 on")),
            error if error.is_retriable() => {
                self.next_heartbeat = Instant::now() + Duration::from_millis(200);
                Ok(Changed::default())
            }
            _ => Err(error.into()),
        }
    }

    /// Where to go on in partitions that were just given; `None` where nobody has committed.
    pub(super) async fn positions(
        &mut self,
        client: &mut Client,
        partitions: &[i32],
    ) -> Result<Vec<Option<Offset>>> {
        let all = client.committed(&self.group).await?;
        let found = partitions.iter().map(|partition| {
            let mut all = all.iter();
            let here = |each: &&Committed| each.topic == self.topic && each.partition == *partition;
            all.find(here).map(|each| each.offset)
        });
        let found: Vec<Option<Offset>> = found.collect();
        for (partition, offset) in partitions.iter().zip(&found) {
            if let Some(offset) = offset {
                self.committed.insert(*partition, *offset);
            }
        }
        Ok(found)
    }

    /// Commits what was printed and is not committed yet.
    pub(super) async fn commit(&mut self, client: &mut Client) -> Result<()> {
        self.next_commit = Instant::now() + COMMIT_EVERY;
        let news = self.printed.iter().filter(|(partition, offset)| {
            self.committed.get(partition).is_none_or(|known| known < *offset)
        });
        let news: Vec<Committed> = news
            .map(|(partition, offset)| Committed {
                topic: self.topic.clone(),
                partition: *partition,
                offset: *offset,
            })
            .collect();
        if news.is_empty() || self.epoch <= JOIN {
            return Ok(());
        }
        let by = Committer { member: &self.member, epoch: self.epoch };
        match client.commit(&self.group, by, &news).await {
            Ok(()) => {
                self.committed.extend(news.into_iter().map(|each| (each.partition, each.offset)));
                Ok(())
            }
            // The next heartbeat says what has changed; what is lost is read again by its owner.
            Err(ClientError::Refused {
                code:
                    ErrorCode::StaleMemberEpoch
                    | ErrorCode::UnknownMemberId
                    | ErrorCode::FencedMemberEpoch
                    | ErrorCode::IllegalGeneration
                    | ErrorCode::RebalanceInProgress,
                ..
            }) => {
                self.next_heartbeat = Instant::now();
                self.next_commit = Instant::now();
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                self.next_commit = Instant::now() + Duration::from_millis(200);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Commits, and leaves the group so that others take over at once.
    pub(super) async fn leave(mut self, client: &mut Client) -> Result<()> {
        self.commit(client).await?;
        if self.epoch <= JOIN {
            return Ok(());
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: self.group.clone(),
            member_id: self.member.clone(),
            member_epoch: LEAVE,
            rebalance_timeout_ms: -1,
            ..Default::default()
        };
        match client.heartbeat(&request).await {
            Ok(_) | Err(ClientError::Refused { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A member's name for as long as it lives.
fn random_id() -> String {
    loop {
        let id = Uuid::from_random(fastrand::u128(..).to_be_bytes());
        let text = id.to_string();
        if !id.is_reserved() && !text.starts_with('-') {
            return text;
        }
    }
}

fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
