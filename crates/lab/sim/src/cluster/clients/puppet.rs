//! A client that does what a scene tells it to.

use super::reading::fetch;
use super::{ACKS_ALL, Batch, Client, TOPIC, batch, moving, register, send_once};
use jocko_testkit::value_of;
use jocko_types::{ErrorCode, ProducerId, Sequence};

/// See the module.
pub(crate) struct Puppet {
    client: Client,
    producer: ProducerId,
    process: u32,
}

impl Puppet {
    /// An idempotent producer that has its id.
    pub(crate) async fn new(mut client: Client) -> Self {
        let process = client.shared.process();
        let producer = register(&mut client).await.expect("the run is not over");
        Self { client, producer, process }
    }

    /// Writes one record to this broker, whoever leads, and waits for all replicas: what it answers.
    pub(crate) async fn write(&mut self, to: u32, partition: u32, sequence: i32) -> ErrorCode {
        let number = u64::try_from(sequence).expect("from 0 on");
        let value = value_of(self.process, number);
        let bytes = batch(Some((self.producer, Sequence::new(sequence))), (value, 1));
        let sent = send_once(&mut self.client, to, &Batch { partition, bytes }, ACKS_ALL).await;
        sent.expect("an answer").0
    }

    /// Has this broker read from an offset, as a reader that knows nothing of epochs.
    pub(crate) async fn read(&mut self, from: u32, partition: u32, offset: i64) -> ErrorCode {
        let fetched = fetch(&mut self.client, from, (partition, offset, -1), 0).await;
        fetched.expect("an answer").code
    }

    /// Has a broker see to it that it alone keeps a partition.
    pub(crate) async fn give_to(&mut self, to: u32, partition: u32) {
        *self.client.shared.members.borrow_mut() = vec![to];
        let replicas = vec![i32::try_from(to).expect("a handful")];
        let assigned = moving::assign(&mut self.client, (TOPIC, partition), replicas).await;
        assert_eq!(assigned, Some(ErrorCode::None));
    }
}
