//! Reading from the leaders of partitions: where offsets are, and what is there.

use super::{Client, millis, no_partition};
use crate::connection::Connection;
use crate::error::{ClientError, Result};
use bytes::Bytes;
use jocko_protocol::RecordBytes;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use jocko_protocol::rpc::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use jocko_records::Records;
use jocko_types::{Offset, Timestamp, TopicId};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a long poll of the only broker may outlast what was asked for before it counts as lost.
const POLL_GRACE: Duration = Duration::from_secs(10);
/// The most that one partition brings in a fetch, unless its first batch alone is larger.
const PARTITION_BYTES_MAX: i32 = 1 << 20;
/// The most that one broker brings in a fetch, with the same exception.
const FETCH_BYTES_MAX: i32 = PARTITION_BYTES_MAX * 8;
/// How long a look at what must be there waits for it.
const LOOK_WAIT: Duration = Duration::from_millis(100);
/// How much the batch that is looked at may unpack to.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 30;
/// The pause before a leader that has moved is looked for again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Where to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// The first record there is.
    Start,
    /// The next record that will come.
    End,
    /// The first record at or after this time.
    At(Timestamp),
    /// The record with the newest timestamp.
    MaxTimestamp,
}

/// What a fetch brought from one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Record batches as they came, perhaps ending within one.
    pub records: Bytes,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// The first offset there is.
    pub log_start: Offset,
}

impl Client {
    /// The offset at a position of one partition. `At` a time after the last record gives the end.
    ///
    /// # Errors
    /// As [`Client::offsets`].
    pub async fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        position: Position,
    ) -> Result<Offset> {
        let found = self.offsets(topic, &[partition], position).await?;
        found.first().copied().ok_or_else(|| no_partition(topic, partition))
    }

    /// The offsets at a position of several partitions, in their order: one request to each
    /// leader. A leader that has moved is looked for again, for as long as the client's timeout.
    ///
    /// # Errors
    /// When a partition does not exist, or its leader refuses or is out of reach.
    pub async fn offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        position: Position,
    ) -> Result<Vec<Offset>> {
        let mut found = BTreeMap::new();
        let timestamp = match position {
            Position::End => -1,
            Position::Start => -2,
            Position::MaxTimestamp => -3,
            Position::At(time) => time.as_millis(),
        };
        self.list_offsets(topic, partitions, timestamp, &mut found).await?;
        if matches!(position, Position::At(_)) {
            let is_late = |partition: &&i32| found.get(*partition).is_some_and(|found| *found < 0);
            let late: Vec<i32> = partitions.iter().filter(is_late).copied().collect();
            self.list_offsets(topic, &late, -1, &mut found).await?;
        }
        let offset_of = |partition: &i32| {
            let offset = found.get(partition).copied().map(Offset::new);
            offset.ok_or_else(|| no_partition(topic, *partition))
        };
        partitions.iter().map(offset_of).collect()
    }

    async fn list_offsets(
        &mut self,
        topic: &str,
        partitions: &[i32],
        timestamp: i64,
        found: &mut BTreeMap<i32, i64>,
    ) -> Result<()> {
        let give_up = Instant::now() + self.timeout;
        let mut left = partitions.to_vec();
        while !left.is_empty() {
            self.learn_leaders(topic, left.iter().copied()).await?;
            let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
            for partition in std::mem::take(&mut left) {
                let (leader, _) = self.known_leader(topic, partition)?;
                leaders.entry(leader).or_default().push(partition);
            }
            for (leader, partitions) in leaders {
                let answers = self.list_offsets_of(leader, topic, &partitions, timestamp).await;
                for (partition, answer) in answers {
                    match answer {
                        Ok(offset) => _ = found.insert(partition, offset),
                        Err(error) if self.has_moved(&error) && Instant::now() < give_up => {
                            self.forget_leader(topic, partition, &error);
                            left.push(partition);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            if !left.is_empty() {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Asks one leader for all of its partitions.
    async fn list_offsets_of(
        &mut self,
        leader: i32,
        topic: &str,
        partitions: &[i32],
        timestamp: i64,
    ) -> Vec<(i32, Result<i64>)> {
        let wanted = partitions.iter().map(|partition| ListOffsetsPartition {
            partition_index: *partition,
            current_leader_epoch: -1,
            timestamp,
            ..Default::default()
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: topic.to_owned(),
                partitions: wanted.collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let exchange = async {
            let address = self.address_of(leader)?;
            let mut connection = self.take_connection(&address).await?;
            let answer = connection.call_within(&request, self.patience_with_one()).await;
            self.done_with(connection, answer.as_ref().err());
            let answer = answer?;
            let response = answer.get()?;
            let mut answers: BTreeMap<i32, Result<i64>> = BTreeMap::new();
            for found in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let offset = ClientError::check(found.error_code, None).map(|()| found.offset);
                answers.insert(found.partition_index, offset);
            }
            Ok(answers)
        };
        share_out(topic, partitions, exchange.await)
    }

    /// How long a long poll may outlast what was asked for before it counts as lost.
    fn poll_grace(&self) -> Duration {
        if self.has_many() { self.patience_with_one() } else { POLL_GRACE }
    }

    /// Whether somebody else may lead by now, and answer.
    fn has_moved(&self, error: &ClientError) -> bool {
        match error {
            ClientError::Refused { .. } | ClientError::Broken { .. } => error.is_retriable(),
            // There is nobody else to lead what a lone broker leads.
            error => self.has_many() && error.is_silence(),
        }
    }

    /// Reads from one partition, waiting up to `wait` for at least one byte.
    ///
    /// # Errors
    /// The leader's refusal, for example because `from` is out of range.
    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: Offset,
        wait: Duration,
    ) -> Result<Fetched> {
        let fetched = self.fetch_all(topic, &[(partition, from)], wait).await?;
        let fetched = fetched.into_iter().next();
        fetched.map_or_else(|| Err(no_partition(topic, partition)), |(_, outcome)| outcome)
    }

    /// When the first record from an offset on was written; `None` where there is none, or none
    /// that a reader sees. Brings a single batch.
    ///
    /// # Errors
    /// As [`Client::fetch`]; [`ClientError::Unreadable`] for a batch that is damaged.
    pub async fn timestamp_at(
        &mut self,
        topic: &str,
        partition: i32,
        from: Offset,
    ) -> Result<Option<Timestamp>> {
        self.learn_leaders(topic, std::iter::once(partition)).await?;
        let (leader, topic_id) = self.known_leader(topic, partition)?;
        let mut share = Share::new(topic, topic_id);
        // A broker sends a whole batch however little was asked for (KIP-74).
        share.partition_bytes_max = 1;
        share.wanted.push((partition, from));
        let address = self.address_of(leader)?;
        let grace = self.poll_grace();
        let connection = self.take_connection(&address).await?;
        let (connection, fetched) = fetch_share(connection, share, LOOK_WAIT, grace).await;
        if let Some(connection) = connection {
            self.put_back(connection);
        }
        let fetched = fetched.into_iter().next();
        let fetched = fetched.map_or_else(|| Err(no_partition(topic, partition)), |it| it.1);
        if let Err(error) = &fetched {
            self.forget_leader(topic, partition, error);
        }
        let fetched = fetched?;
        let mut records = Records::new(&fetched.records, from, DECOMPRESSED_BYTES_MAX);
        let first = records.next().map_err(|error| ClientError::Unreadable(error.to_string()))?;
        Ok(first.map(|record| record.timestamp))
    }

    /// Reads from several partitions, each from its offset: one request to each leader, all at
    /// once. Ends as soon as anything is there, or after `wait`; where there are several leaders
    /// after a tenth of it, so that a quiet one holds up nobody for long. A leader fills its answer
    /// in the order of `wanted`: put those last that brought something, and none starves.
    ///
    /// # Errors
    /// When nobody says who leads. What one partition's leader refuses, and that it is out of
    /// reach, stands at the partition.
    pub async fn fetch_all(
        &mut self,
        topic: &str,
        wanted: &[(i32, Offset)],
        wait: Duration,
    ) -> Result<Vec<(i32, Result<Fetched>)>> {
        self.learn_leaders(topic, wanted.iter().map(|(partition, _)| *partition)).await?;
        let mut outcomes = Vec::with_capacity(wanted.len());
        let mut leaders: BTreeMap<i32, Share> = BTreeMap::new();
        for (partition, from) in wanted {
            match self.known_leader(topic, *partition) {
                Ok((leader, topic_id)) => {
                    let share =
                        leaders.entry(leader).or_insert_with(|| Share::new(topic, topic_id));
                    share.wanted.push((*partition, *from));
                }
                Err(error) => outcomes.push((*partition, Err(error))),
            }
        }
        let wait = if leaders.len() > 1 { wait / 10 } else { wait };
        let grace = self.poll_grace();
        let mut exchanges = JoinSet::new();
        for (leader, share) in leaders {
            let connection = match self.address_of(leader) {
                Ok(address) => self.take_connection(&address).await,
                Err(error) => Err(error),
            };
            match connection {
                Ok(connection) => _ = exchanges.spawn(fetch_share(connection, share, wait, grace)),
                Err(error) => outcomes.extend(share_out(topic, &share.partitions(), Err(error))),
            }
        }
        while let Some(ended) = exchanges.join_next().await {
            let (connection, fetched) = ended.expect("a fetch does not panic");
            if let Some(connection) = connection {
                self.put_back(connection);
            }
            outcomes.extend(fetched);
        }
        for (partition, outcome) in &outcomes {
            if let Err(error) = outcome {
                self.forget_leader(topic, *partition, error);
            }
        }
        Ok(outcomes)
    }
}

/// What one leader is asked for.
struct Share {
    topic: String,
    topic_id: TopicId,
    wanted: Vec<(i32, Offset)>,
    partition_bytes_max: i32,
}

impl Share {
    fn new(topic: &str, topic_id: TopicId) -> Self {
        Self {
            topic: topic.to_owned(),
            topic_id,
            wanted: Vec::new(),
            partition_bytes_max: PARTITION_BYTES_MAX,
        }
    }

    fn partitions(&self) -> Vec<i32> {
        self.wanted.iter().map(|(partition, _)| *partition).collect()
    }

    fn request(&self, wait: Duration) -> FetchRequest<'_> {
        let partitions = self.wanted.iter().map(|(partition, from)| FetchPartition {
            partition: *partition,
            fetch_offset: from.get(),
            partition_max_bytes: self.partition_bytes_max,
            ..Default::default()
        });
        FetchRequest {
            max_wait_ms: millis(wait),
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX,
            // No session (KIP-227): each request says all.
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: &self.topic,
                topic_id: self.topic_id,
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}

/// Fetches from one leader. The connection comes back if it is still good.
async fn fetch_share(
    mut connection: Connection,
    share: Share,
    wait: Duration,
    grace: Duration,
) -> (Option<Connection>, Vec<(i32, Result<Fetched>)>) {
    let exchange = async {
        let answer = connection.call_within(&share.request(wait), wait + grace).await?;
        let response = answer.get()?;
        ClientError::check(response.error_code, None)?;
        let mut outcomes = BTreeMap::new();
        for data in response.responses.iter().flat_map(|topic| &topic.partitions) {
            let records = data.records.as_ref().and_then(RecordBytes::inline).unwrap_or_default();
            let outcome = ClientError::check(data.error_code, None).map(|()| Fetched {
                records: answer.slice_of(records),
                high_watermark: Offset::new(data.high_watermark),
                log_start: Offset::new(data.log_start_offset),
            });
            outcomes.insert(data.partition_index, outcome);
        }
        Ok(outcomes)
    };
    let outcomes = exchange.await;
    let is_good = !outcomes.as_ref().is_err_and(ClientError::spoils_connection);
    (is_good.then_some(connection), share_out(&share.topic, &share.partitions(), outcomes))
}

/// Gives each partition its answer, in the order asked; or all of them what went wrong.
fn share_out<T>(
    topic: &str,
    partitions: &[i32],
    outcomes: Result<BTreeMap<i32, Result<T>>>,
) -> Vec<(i32, Result<T>)> {
    let mut outcomes = outcomes;
    let outcome_of = |partition: &i32| {
        let outcome = match &mut outcomes {
            Ok(outcomes) => outcomes.remove(partition),
            Err(error) => Some(Err(error.repeated())),
        };
        (*partition, outcome.unwrap_or_else(|| Err(no_partition(topic, *partition))))
    };
    partitions.iter().map(outcome_of).collect()
}
