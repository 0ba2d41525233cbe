//! One batch at a time, for runs in which the disk fails: every outcome matters.

use crate::workload::{client, pause, runtime};
use anyhow::{Context, Result, ensure};
use jocko_client::{Client, ClientError, NewTopic, Position};
use jocko_records::{BatchBuilder, Encoding, Records};
use jocko_types::{Offset, Timestamp};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Writes batches of one record and remembers which were acknowledged, by topic and offset.
pub(crate) struct Writer {
    runtime: Runtime,
    client: Client,
    acknowledged: BTreeMap<String, BTreeMap<i64, Vec<u8>>>,
    random: fastrand::Rng,
}

impl Writer {
    pub(crate) fn new(address: SocketAddr) -> Result<Self> {
        let random = fastrand::Rng::with_seed(1);
        Ok(Self {
            runtime: runtime()?,
            client: client(address),
            acknowledged: BTreeMap::new(),
            random,
        })
    }

    /// Creates a topic of one partition.
    pub(crate) fn create(&mut self, name: &str, configs: &[(&str, &str)]) -> Result<()> {
        let topic = NewTopic {
            name: name.to_owned(),
            partitions: Some(1),
            replication: Some(1),
            configs: configs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Default::default()
        };
        let client = &mut self.client;
        let runtime = &self.runtime;
        retry(Duration::from_secs(5), || runtime.block_on(client.create_topic(&topic)))
            .with_context(|| format!("creating {name}"))?;
        Ok(())
    }

    /// Deletes a topic; what was acknowledged there is forgotten.
    pub(crate) fn delete(&mut self, name: &str) -> Result<()> {
        self.runtime.block_on(self.client.delete_topic(name))?;
        self.acknowledged.remove(name);
        Ok(())
    }

    /// Sends a record of so many random bytes with acks=all.
    pub(crate) fn produce(&mut self, topic: &str, value_bytes: usize) -> Result<i64, ClientError> {
        let value: Vec<u8> =
            std::iter::repeat_with(|| self.random.u8(..)).take(value_bytes).collect();
        let mut builder = BatchBuilder::new(Encoding::NONE);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        builder.push(now, None, Some(&value), &[]).expect("a small record");
        let batch = builder.build().expect("a batch with a record");
        let produced = self.runtime.block_on(self.client.produce(topic, 0, &batch, -1))?;
        let offset = produced.base_offset.map_or(-1, Offset::get);
        self.acknowledged.entry(topic.to_owned()).or_default().insert(offset, value);
        Ok(offset)
    }

    /// Produces until it works again; how long that took.
    pub(crate) fn produce_again(&mut self, topic: &str, patience: Duration) -> Result<Duration> {
        let begun = Instant::now();
        retry(patience, || self.produce(topic, 1_000)).context("producing again")?;
        Ok(begun.elapsed())
    }

    /// Reads a topic and compares it with what was acknowledged; how many records were.
    pub(crate) fn check(&mut self, topic: &str) -> Result<usize> {
        let promised = self.acknowledged.get(topic).cloned().unwrap_or_default();
        let (client, runtime) = (&mut self.client, &self.runtime);
        let end = retry(Duration::from_secs(10), || {
            runtime.block_on(client.offset(topic, 0, Position::End))
        })?;
        let mut position = 0;
        let mut found = BTreeMap::new();
        while position < end.get() {
            let fetch = client.fetch(topic, 0, Offset::new(position), Duration::from_secs(1));
            let fetched = runtime.block_on(fetch).with_context(|| format!("at {position}"))?;
            let mut records = Records::new(&fetched.records, Offset::new(position), 1 << 30);
            let before = position;
            while let Some(record) = records.next()? {
                found.insert(record.offset.get(), record.value.map(<[u8]>::to_vec));
            }
            position = records.next_offset().get();
            ensure!(position > before, "nothing comes at {position} of {topic}");
        }
        for (offset, value) in &promised {
            let is_there = found.get(offset).and_then(Option::as_ref) == Some(value);
            ensure!(is_there, "{topic}: the record acknowledged at {offset} is not there");
        }
        Ok(promised.len())
    }
}

/// Tries while the broker says that it may help.
fn retry<T>(
    patience: Duration,
    mut attempt: impl FnMut() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.is_retriable() && begun.elapsed() < patience => {
                pause(Duration::from_millis(20));
            }
            outcome => return outcome,
        }
    }
}
