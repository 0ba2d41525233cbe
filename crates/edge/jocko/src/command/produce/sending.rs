//! Batches on their way, and what is said when one does not arrive.

use super::Plan;
use super::input::Line;
use crate::command::now;
use crate::failure::{Failure, Result};
use crate::output::{harmless, say};
use jocko_client::{Client, ClientError, Produced, Producer, Resource, Unacknowledged};
use jocko_records::{BatchBuilder, BuildError, Header};
use jocko_types::{ErrorCode, Offset};
use serde_json::json;
use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

/// How long a batch may take before anything is said.
const PATIENCE: Duration = Duration::from_secs(1);
/// The setting that bounds a batch.
const LIMIT: &str = "max.message.bytes";

/// Writes lines, and keeps count of them.
pub(super) struct Sending<'a> {
    client: &'a mut Client,
    plan: &'a Plan,
    producer: Producer,
    written: usize,
    /// It was said that batches wait, and they have not stopped doing so.
    has_told: bool,
}

impl<'a> Sending<'a> {
    pub(super) fn new(client: &'a mut Client, plan: &'a Plan) -> Self {
        let producer = Producer::new(plan.acks);
        Self { client, plan, producer, written: 0, has_told: false }
    }

    pub(super) fn client(&mut self) -> &mut Client {
        self.client
    }

    /// How many lines were written.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// The same in words.
    pub(super) fn so_far(&self) -> String {
        match self.written {
            0 => "nothing was written before".to_owned(),
            1 => "1 line was written before".to_owned(),
            count => format!("{count} lines were written before"),
        }
    }

    /// Writes lines to a partition: in one batch, or in smaller ones where that is too large for
    /// the topic.
    pub(super) async fn send(&mut self, partition: i32, lines: Vec<Line>) -> Result<()> {
        let mut parts = vec![lines.as_slice()];
        while let Some(part) = parts.pop() {
            match self.write(partition, part).await? {
                Ok(produced) => {
                    self.written += part.len();
                    self.tell(partition, part, produced);
                }
                Err(lost) if is_too_large(&lost.error) && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(lost) if is_too_large(&lost.error) => {
                    return Err(self.too_large(part, lost.error).await);
                }
                Err(lost) => {
                    if needs_keys(&lost.error, part) && self.keeps_by_key().await {
                        return Err(self.without_key(part));
                    }
                    return Err(self.lost(part, lost));
                }
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        partition: i32,
        lines: &[Line],
    ) -> Result<std::result::Result<Produced, Unacknowledged>> {
        let batch = batch(self.plan, lines).map_err(|error| Failure::new(error.to_string()))?;
        let trouble = RefCell::new(None);
        let topic = self.plan.topic.as_str();
        let troubled = |error: &ClientError| *trouble.borrow_mut() = Some(error.to_string());
        let mut writing =
            pin!(self.producer.write(self.client, (topic, partition), batch, troubled));
        if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut writing).await {
            self.has_told = false;
            return Ok(outcome);
        }
        if !self.has_told {
            self.has_told = true;
            let reason = trouble.borrow().clone();
            let reason = reason.unwrap_or_else(|| "no answer yet".to_owned());
            let words = format!("waiting for {topic} partition {partition}: {reason}; trying on");
            eprintln!("{}", harmless(&words));
        }
        Ok(writing.await)
    }

    fn tell(&self, partition: i32, lines: &[Line], produced: Produced) {
        if self.plan.json {
            // Lines that are still to come are worth more than a reader who left.
            let _ = say(json!({
                "topic": self.plan.topic,
                "partition": partition,
                "offset": produced.base_offset.map(Offset::get),
                "records": lines.len(),
            }));
        }
    }

    fn lost(&self, lines: &[Line], lost: Unacknowledged) -> Failure {
        let fate = if lost.may_be_written {
            "not acknowledged, and may be there or not"
        } else {
            "not written"
        };
        Failure::from(lost.error).and(&format!("{} {fate}", named(lines))).and(&self.so_far())
    }

    /// A setting of the topic; without the right to ask, there is less to tell.
    async fn config(&mut self, name: &str) -> Option<String> {
        let topic = Resource::Topic(self.plan.topic.clone());
        let configs = self.client.describe_configs(&topic, Some(&[name.to_owned()])).await;
        configs.ok()?.into_iter().next()?.value
    }

    /// Whether the topic is compacted.
    async fn keeps_by_key(&mut self) -> bool {
        let policy = self.config("cleanup.policy").await;
        policy.is_some_and(|policy| policy.contains("compact"))
    }

    fn without_key(&self, lines: &[Line]) -> Failure {
        let name = &self.plan.topic;
        Failure::new(format!(
            "{name} is compacted, which keeps the last record of each key, so each record needs one: {} not written",
            named(lines)
        ))
        .and(&self.so_far())
        .cure(format!("jocko produce {name} -K :, for lines like key:value, or one key for all (-k KEY)"))
    }

    async fn too_large(&mut self, lines: &[Line], error: ClientError) -> Failure {
        let limit = self.config(LIMIT).await;
        let limit = limit.unwrap_or_else(|| "fewer".to_owned());
        let bytes =
            batch(self.plan, lines).and_then(|batch| batch.build()).map_or(0, |it| it.len());
        let name = &self.plan.topic;
        Failure::new(format!(
            "{error}: {} makes a batch of {bytes} bytes, and {name} takes {limit}",
            named(lines)
        ))
        .and(&self.so_far())
        .cure(format!("jocko topic alter {name} --set {LIMIT}={bytes}, or shorter lines"))
    }
}

fn needs_keys(error: &ClientError, lines: &[Line]) -> bool {
    matches!(error, ClientError::Refused { code: ErrorCode::InvalidRecord, .. })
        && lines.iter().any(|line| line.key.is_none())
}

fn is_too_large(error: &ClientError) -> bool {
    let too_large = [ErrorCode::MessageTooLarge, ErrorCode::RecordListTooLarge];
    matches!(error, ClientError::Refused { code, .. } if too_large.contains(code))
}

/// Lines by their numbers. Others that went elsewhere may stand between them.
fn named(lines: &[Line]) -> String {
    match lines {
        [] => "no lines".to_owned(),
        [one] => format!("line {}", one.number),
        [first, .., last] => {
            format!("{} lines from {} to {}", lines.len(), first.number, last.number)
        }
    }
}

fn batch(plan: &Plan, lines: &[Line]) -> std::result::Result<BatchBuilder, BuildError> {
    let now = now();
    let mut builder = BatchBuilder::new(plan.encoding);
    let headers: Vec<Header<'_>> = plan
        .headers
        .iter()
        .map(|(name, value)| Header { key: name.as_bytes(), value: Some(value) })
        .collect();
    for line in lines {
        builder.push(now, line.key.as_deref(), line.value.as_deref(), &headers)?;
    }
    Ok(builder)
}
