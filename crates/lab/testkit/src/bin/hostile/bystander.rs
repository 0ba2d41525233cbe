//! A well-behaved client beside the abuse: it asks, produces and fetches on one connection, and
//! notes how long each answer took.

use super::PATIENCE;
use super::batches::good_batch;
use super::target::{BYSTANDER, TOPIC, Target};
use anyhow::{Context, Result, ensure};
use jocko_codec::Writer;
use jocko_protocol::frame::encode_request;
use jocko_protocol::rpc::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use jocko_testkit::{
    Connection, PartitionBatch, api_versions_request, produce_answers, produce_request,
};
use jocko_types::ErrorCode;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Fewer answers say nothing about a p99.
const ANSWERS_MIN: usize = 200;
const PRODUCE_VERSION: i16 = 9;

pub(crate) struct Bystander {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Duration>>>,
}

impl Bystander {
    pub(crate) fn start(target: &Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let (address, topic_id) = (target.address, target.topic_id);
        let thread = std::thread::spawn(move || {
            let batch = good_batch(1, 100);
            let batches = [PartitionBatch { partition: BYSTANDER, records: &batch }];
            let topic = (TOPIC, topic_id);
            let produce = produce_request(1, PRODUCE_VERSION, 1, topic, &batches)?;
            be_served(address, &stopped, &produce)
        });
        Self { stop, thread }
    }

    pub(crate) fn finish_after(self, time: Duration) -> Result<Duration> {
        std::thread::park_timeout(time);
        self.finish()
    }

    /// The p99 of the times to an answer.
    pub(crate) fn finish(self) -> Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().map_err(|_| anyhow::anyhow!("bystander panicked"))??;
        times.sort_unstable();
        times.get(times.len() * 99 / 100).copied().context("not one answer")
    }
}

fn be_served(address: SocketAddr, stop: &AtomicBool, produce: &[u8]) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(address, PATIENCE)?;
    let requests = [api_versions_request(), produce.to_vec(), fetch_request()?];
    let mut times = Vec::new();
    for at in 0.. {
        if stop.load(Ordering::Relaxed) && times.len() >= ANSWERS_MIN {
            break;
        }
        let sent = Instant::now();
        connection.send(&requests[at % requests.len()])?;
        let answer = connection.receive()?;
        times.push(sent.elapsed());
        if at % requests.len() == 1 {
            let (_, answers) = produce_answers(&answer, PRODUCE_VERSION)?;
            let code = answers.first().map(|answer| answer.code);
            ensure!(code == Some(ErrorCode::None), "a good batch was refused: {code:?}");
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok(times)
}

/// Fetch version 12, the last to name topics: the first records there are.
fn fetch_request() -> Result<Vec<u8>> {
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 14,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: TOPIC,
            partitions: vec![FetchPartition {
                partition: BYSTANDER,
                partition_max_bytes: 1 << 14,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut writer = Writer::new();
    encode_request(2, Some("bystander"), 12, &request, &mut writer)?;
    Ok(writer.bytes().to_vec())
}
