//! Producers that are content when the leader has their records (acks=1), and do not try again. What
//! was acknowledged so may be lost with its leader; but nobody is to be told so by a broker that
//! others have replaced for longer than a session.

use super::{Batch, Client, PARTITIONS, TOPIC, batch, send_once};
use jocko_testkit::{Event, Outcome, value_of};
use jocko_types::ErrorCode;
use tokio::time::Instant;

/// The leader has it.
const ACKS_LEADER: i16 = 1;

/// Writes until the run is over.
pub(crate) async fn produce_carelessly(mut client: Client) {
    while !client.is_over() {
        let process = client.shared.process();
        let mut number = 0;
        while !client.is_over() {
            let partition = client.dice.below(u64::from(PARTITIONS)) as u32;
            let count = client.dice.between(1, 3) as u32;
            client.rest(120).await;
            let Some(leader) = client.leader(partition).await else { continue };
            let value = value_of(process, number);
            number += u64::from(count);
            let bytes = batch(None, (value, count));
            let sent_at = Instant::now();
            let sent =
                send_once(&mut client, leader, &Batch { partition, bytes }, ACKS_LEADER).await;
            // It may be read or not; only twice it must not be there.
            client.shared.note(Event::Send {
                process,
                topic: TOPIC.to_owned(),
                partition,
                value,
                count,
                offset: None,
                outcome: Outcome::Unknown,
            });
            client.shared.meet("careless", &sent.as_ref().map(|(code, _)| code));
            if !matches!(sent, Ok((ErrorCode::None, _))) {
                client.leaders[partition as usize] = None;
                // What got no answer may arrive later than what comes next.
                break;
            }
            client.shared.careless.set(client.shared.careless.get() + u64::from(count));
            client.shared.known.borrow_mut().acknowledged(leader, partition, sent_at);
        }
    }
}
