//! Every batch once, whatever happens to its requests.

use super::*;
use jocko_protocol::rpc::init_producer_id_response::InitProducerIdResponse;
use jocko_protocol::rpc::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use jocko_records::{BatchBuilder, BatchView, Encoding};
use std::cell::RefCell;
use std::collections::VecDeque;

/// What happens to a Produce.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    /// The connection breaks before the batch is written.
    LostOnTheWay,
    /// The batch is written, and the connection breaks before that is told.
    LostOnTheWayBack,
    /// It is refused.
    Refused(ErrorCode),
}

/// A batch as it came: producer id, first sequence, records.
type Batch = (i64, i32, i32);

/// A partition that checks sequences as Kafka does, and what is to befall it.
#[derive(Default)]
pub(super) struct Log {
    pub(super) ids: i64,
    fates: VecDeque<Fate>,
    /// What InitProducerId says instead of an id.
    no_ids: Option<ErrorCode>,
    written: Vec<Batch>,
    asked: Vec<Batch>,
}

impl Log {
    pub(super) fn identity(&self) -> InitProducerIdResponse {
        match self.no_ids {
            Some(code) => InitProducerIdResponse { error_code: code.code(), ..Default::default() },
            None => InitProducerIdResponse {
                producer_id: self.ids,
                producer_epoch: 0,
                ..Default::default()
            },
        }
    }

    /// `None` is a connection that ends.
    pub(super) fn answer(&mut self, asked: &ProduceRequest<'_>) -> Option<ProduceResponse> {
        if asked.acks == 0 {
            return None;
        }
        let data = &asked.topic_data[0].partition_data[0];
        let Some(RecordBytes::Inline(bytes)) = data.records else { panic!("no records") };
        let (batch, _) = BatchView::parse(bytes).unwrap();
        let header = batch.header();
        let batch = (header.producer_id.get(), header.base_sequence.get(), header.record_count);
        self.asked.push(batch);
        let answer = |code: ErrorCode, base_offset| {
            let partition = PartitionProduceResponse {
                index: data.index,
                error_code: code.code(),
                base_offset,
                ..Default::default()
            };
            let topic = TopicProduceResponse {
                name: "t".to_owned(),
                partition_responses: vec![partition],
                ..Default::default()
            };
            Some(ProduceResponse { responses: vec![topic], ..Default::default() })
        };
        match self.fates.pop_front() {
            Some(Fate::LostOnTheWay) => None,
            Some(Fate::LostOnTheWayBack) => {
                assert!(self.append(batch).is_ok());
                None
            }
            Some(Fate::Refused(code)) => answer(code, -1),
            None => match self.append(batch) {
                Ok(base_offset) => answer(ErrorCode::None, base_offset),
                Err(code) => answer(code, -1),
            },
        }
    }

    /// Kafka's rule: a batch it has is not written again, a gap is refused, and of a producer that
    /// it does not know it takes whatever comes first.
    fn append(&mut self, batch: Batch) -> std::result::Result<i64, ErrorCode> {
        let (id, sequence, count) = batch;
        let mut next_offset = 0;
        let mut expected = None;
        for (known_id, known_sequence, known_count) in &self.written {
            if id >= 0 && (*known_id, *known_sequence) == (id, sequence) {
                return Ok(next_offset);
            }
            next_offset += i64::from(*known_count);
            if *known_id == id {
                expected = Some(known_sequence + known_count);
            }
        }
        if id >= 0 && expected.is_some_and(|expected| expected != sequence) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        self.written.push((id, sequence, count));
        Ok(next_offset)
    }
}

fn batch(records: i32) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Encoding::NONE);
    for _ in 0..records {
        builder.push(jocko_types::Timestamp::from_millis(1), None, Some(b"v"), &[]).unwrap();
    }
    builder
}

/// Writes a batch of one record and one of two, while these things happen to the requests. Yields
/// what each came to, and how often there was trouble.
async fn play(
    acks: i16,
    fates: &[Fate],
    no_ids: Option<ErrorCode>,
) -> (Shared, Vec<String>, usize) {
    let (script, mut client) = cluster().await;
    script.lock().unwrap().log.fates = fates.iter().copied().collect();
    script.lock().unwrap().log.no_ids = no_ids;
    let mut producer = Producer::new(acks);
    let troubles = RefCell::new(0);
    let mut outcomes = Vec::new();
    for records in [1, 2] {
        let outcome = producer
            .write(&mut client, ("t", 0), batch(records), |_| *troubles.borrow_mut() += 1)
            .await;
        outcomes.push(match outcome {
            Ok(Produced { base_offset: Some(offset) }) => offset.to_string(),
            Ok(Produced { base_offset: None }) => "somewhere".to_owned(),
            Err(error) if error.may_be_written => format!("perhaps not: {}", error.error),
            Err(error) => format!("not: {}", error.error),
        });
    }
    (script, outcomes, troubles.into_inner())
}

async fn check(fates: &[Fate], outcomes: &[&str], written: &[Batch]) {
    let (script, told, _) = play(-1, fates, None).await;
    assert_eq!(told, outcomes, "{fates:?}");
    assert_eq!(script.lock().unwrap().log.written, written, "{fates:?}");
}

#[tokio::test]
async fn each_batch_is_there_once_however_connections_end() {
    use Fate::{LostOnTheWay, LostOnTheWayBack, Refused};
    const BOTH: [Batch; 2] = [(1, 0, 1), (1, 1, 2)];
    let not_leader = Refused(ErrorCode::NotLeaderOrFollower);
    check(&[], &["0", "1"], &BOTH).await;
    check(&[LostOnTheWay], &["0", "1"], &BOTH).await;
    check(&[LostOnTheWayBack], &["0", "1"], &BOTH).await;
    check(&[LostOnTheWay, LostOnTheWayBack, not_leader], &["0", "1"], &BOTH).await;
    check(&[LostOnTheWayBack, LostOnTheWayBack, not_leader], &["0", "1"], &BOTH).await;
}

#[tokio::test]
async fn what_the_leader_says_of_sequences_is_heeded() {
    use Fate::{LostOnTheWay, LostOnTheWayBack, Refused};
    let duplicate = Refused(ErrorCode::DuplicateSequenceNumber);
    let unknown = Refused(ErrorCode::UnknownProducerId);
    let gap = Refused(ErrorCode::OutOfOrderSequenceNumber);
    let fenced = Refused(ErrorCode::InvalidProducerEpoch);
    // It is there, only the leader has forgotten where.
    check(&[LostOnTheWayBack, duplicate], &["somewhere", "1"], &[(1, 0, 1), (1, 1, 2)]).await;
    // All that was written under the old id is gone.
    check(&[unknown], &["0", "1"], &[(2, 0, 1), (2, 1, 2)]).await;
    check(&[LostOnTheWay, unknown], &["0", "1"], &[(2, 0, 1), (2, 1, 2)]).await;
    check(&[fenced], &["0", "1"], &[(2, 0, 1), (2, 1, 2)]).await;
    // What was acknowledged is lost: nobody may go on as if nothing had been.
    check(&[gap], &["not: OUT_OF_ORDER_SEQUENCE_NUMBER", "0"], &[(2, 0, 2)]).await;
    // It may stand under the old id, so it must not go out under a new one.
    check(
        &[LostOnTheWayBack, fenced],
        &["perhaps not: INVALID_PRODUCER_EPOCH", "1"],
        &[(1, 0, 1), (2, 0, 2)],
    )
    .await;
    // What is refused for good uses up no sequence.
    let large = Refused(ErrorCode::MessageTooLarge);
    check(&[large], &["not: MESSAGE_TOO_LARGE", "0"], &[(1, 0, 2)]).await;
}

#[tokio::test]
async fn without_ids_batches_go_out_without() {
    for (acks, no_ids) in [(-1, Some(ErrorCode::ClusterAuthorizationFailed)), (1, None)] {
        let fates = [Fate::LostOnTheWayBack];
        let (script, told, troubles) = play(acks, &fates, no_ids).await;
        assert_eq!(told, ["1", "2"], "this is what ids are for");
        assert_eq!(troubles, 1);
        assert_eq!(script.lock().unwrap().log.written, [(-1, -1, 1), (-1, -1, 1), (-1, -1, 2)]);
    }
}

#[tokio::test]
async fn it_is_given_up_when_the_time_is_over() {
    const SHORT: Duration = Duration::from_millis(300);
    let (script, client) = cluster().await;
    let mut client = Client::new(client.bootstrap, SHORT);
    let always = Fate::Refused(ErrorCode::NotEnoughReplicas);
    script.lock().unwrap().log.fates = std::iter::repeat_n(always, 1_000).collect();
    let mut producer = Producer::new(-1);
    let started = tokio::time::Instant::now();
    let error = producer.write(&mut client, ("t", 0), batch(1), |_| ()).await.unwrap_err();
    assert_eq!(error.error.to_string(), "NOT_ENOUGH_REPLICAS");
    assert!(!error.may_be_written);
    assert!(started.elapsed() > SHORT / 4, "{:?}", started.elapsed());
    let asked = &script.lock().unwrap().log.asked;
    assert!(asked.len() > 1 && asked.iter().all(|batch| *batch == (1, 0, 1)), "{asked:?}");
}

#[tokio::test]
async fn a_web_server_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u32().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let mut client = Client::new(vec![address.clone()], TIMEOUT);
    let error = client.metadata(None, false).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{address} answers in HTTP, not in Kafka's protocol"));
}
