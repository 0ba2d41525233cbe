//! A topic that comes and goes: created, written, read to its end, deleted, and created again under the
//! same name. Each of its lives is a topic of its own: nothing of one is ever seen in another.

use super::reading::{read_to_end, refused_by};
use super::{ACKS_MS, Batch, Client, batch, register, send};
use crate::cluster::machine::kafka_at;
use jocko_protocol::error_code;
use jocko_protocol::rpc::create_topics_request::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use jocko_protocol::rpc::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use jocko_testkit::{Event, Outcome, value_of};
use jocko_types::{ErrorCode, Sequence, TopicId};

/// What it is called.
pub(crate) const FLEETING: &str = "fleeting";

const CREATE_TOPICS: i16 = 7;
/// The first that names topics by their ids.
const DELETE_TOPICS: i16 = 6;

/// Lives until the run is over; the last one stays.
pub(crate) async fn come_and_go(mut client: Client) {
    client.topic = FLEETING;
    let mut lives = 0;
    while !client.is_over() {
        let Some(life) = create(&mut client).await else { continue };
        lives += 1;
        client.life = Some((life, lives));
        client.leaders.fill(None);
        client.epochs.iter_mut().for_each(Vec::clear);
        let Some(end) = write(&mut client).await else { return };
        read_to_end(&mut client, 0, end).await;
        if client.is_over() {
            return;
        }
        delete(&mut client, life).await;
        client.shared.gone.borrow_mut().push(life);
    }
}

/// Creates the topic, or takes over one that an attempt without an answer has created.
async fn create(client: &mut Client) -> Option<TopicId> {
    client.rest(500).await;
    let config = CreatableTopicConfig {
        name: "min.insync.replicas".to_owned(),
        value: Some("2".to_owned()),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: FLEETING.to_owned(),
            num_partitions: 1,
            replication_factor: 3,
            configs: vec![config],
            ..Default::default()
        }],
        timeout_ms: ACKS_MS,
        ..Default::default()
    };
    let to = client.anyone();
    let asked = client.wire.ask(kafka_at(to), CREATE_TOPICS, &request, |response| {
        response.topics.first().map(|topic| (error_code(topic.error_code), topic.topic_id))
    });
    let asked = asked.await;
    client.shared.meet("create", &asked.as_ref().map(|it| it.map(|(code, _)| code)));
    let is_gone = |life: &TopicId| client.shared.gone.borrow().contains(life);
    match asked {
        Ok(Some((ErrorCode::None, life))) => {
            if is_gone(&life) {
                client.shared.blame(format!("{FLEETING} was created with the id it had before"));
            }
            Some(life)
        }
        Ok(Some((ErrorCode::TopicAlreadyExists, _))) => {
            let life = client.id_at(to).await?;
            // Whoever was asked may not know yet that it is gone.
            (life != TopicId::ZERO && !client.shared.gone.borrow().contains(&life)).then_some(life)
        }
        _ => None,
    }
}

/// Writes some, and leaves it at that; where it then ends, as far as is known.
async fn write(client: &mut Client) -> Option<i64> {
    let process = client.shared.process();
    let producer_id = register(client).await?;
    let (mut number, mut end) = (0, 0);
    for _ in 0..client.dice.below(8) {
        let count = client.dice.between(1, 4) as u32;
        let value = value_of(process, number);
        let sequence = Sequence::new(i32::try_from(number).expect("a few"));
        let bytes = batch(Some((producer_id, sequence)), (value, count));
        let sent = send(client, &Batch { partition: 0, bytes }).await;
        number += u64::from(count);
        let (offset, outcome) = match sent {
            Ok(offset) => (Some(offset), Outcome::Acknowledged),
            Err(()) => (None, Outcome::Unknown),
        };
        client.shared.note(Event::Send {
            process,
            topic: client.called(),
            partition: 0,
            value,
            count,
            offset,
            outcome,
        });
        let Some(offset) = offset else { break };
        end = offset + i64::from(count);
        client.shared.acknowledged.set(client.shared.acknowledged.get() + u64::from(count));
        client.rest(300).await;
    }
    Some(end)
}

/// Deletes this life of the topic. Whoever says that it is done shows nothing of it any more.
async fn delete(client: &mut Client, life: TopicId) {
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id: life, ..Default::default() }],
        timeout_ms: ACKS_MS,
        ..Default::default()
    };
    loop {
        let by = client.anyone();
        let asked = client.wire.ask(kafka_at(by), DELETE_TOPICS, &request, |response| {
            response.responses.first().map(|topic| error_code(topic.error_code))
        });
        let asked = asked.await;
        client.shared.meet("delete", &asked);
        match asked {
            Ok(Some(ErrorCode::None)) => {
                let is_named = client.id_at(by).await == Some(life);
                let is_read = !refused_by(client, by).await;
                if is_named || is_read {
                    client.shared.blame(format!(
                        "broker {by} has deleted {} and goes on (names it: {is_named}, reads it: \
                         {is_read})",
                        client.called()
                    ));
                }
                return;
            }
            // An attempt without an answer has done it.
            Ok(Some(ErrorCode::UnknownTopicId)) => return,
            _ => client.rest(300).await,
        }
    }
}
