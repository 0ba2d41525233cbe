//! A broker that hangs costs a part of the patience, and once.

use super::*;
use jocko_records::{BatchBuilder, Encoding};

/// Knows both brokers, the frozen one first.
async fn cluster_with_a_frozen_broker() -> (Shared, Client) {
    let (script, client) = cluster().await;
    drop(client);
    script.lock().unwrap().frozen = Some(1);
    let addresses = script.lock().unwrap().addresses.clone();
    let bootstrap = addresses.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    (script, Client::new(bootstrap, Duration::from_secs(3)))
}

#[tokio::test]
async fn the_next_one_is_asked() {
    let (script, mut client) = cluster_with_a_frozen_broker().await;
    let metadata = client.metadata(None, false).await.unwrap();
    assert_eq!(metadata.brokers.len(), 2);
    client.metadata(None, false).await.unwrap();
    let tries = script.lock().unwrap().asked.iter().filter(|(broker, _)| *broker == 1).count();
    assert_eq!(tries, 1, "who hung is asked last from then on");
}

#[tokio::test]
async fn one_that_freezes_later_is_left_for_the_next() {
    let (script, mut client) = cluster_with_a_frozen_broker().await;
    script.lock().unwrap().frozen = None;
    client.metadata(None, false).await.unwrap();
    script.lock().unwrap().frozen = Some(1);
    client.metadata(None, false).await.unwrap();
    assert_eq!(asked(&script, ApiKey::Metadata), [1, 1, 2]);
}

#[tokio::test]
async fn a_batch_goes_to_the_leader_that_took_over() {
    let (script, mut client) = cluster_with_a_frozen_broker().await;
    script.lock().unwrap().views = BTreeMap::from([(1, (1, 4)), (2, (1, 4))]);
    client.partitions("t", false).await.unwrap();
    // Two leads by the time the first attempt is given up.
    script.lock().unwrap().views = BTreeMap::from([(1, (1, 4)), (2, (2, 5))]);
    let mut batch = BatchBuilder::new(Encoding::NONE);
    batch.push(jocko_types::Timestamp::from_millis(1), None, Some(b"v"), &[]).unwrap();
    let produced = Producer::new(-1).write(&mut client, ("t", 0), batch, |_| ()).await;
    assert_eq!(produced.unwrap().base_offset, Some(Offset::ZERO));
    assert_eq!(client.offset("t", 3, Position::End).await.unwrap(), Offset::new(30));
}

#[tokio::test]
async fn what_was_wrong_with_each_address_is_told() {
    let free = || async { TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap() };
    let (one, two) = (free().await.to_string(), free().await.to_string());
    let mut client = Client::new(vec![one.clone(), two.clone()], Duration::from_secs(3));
    let error = client.metadata(None, false).await.unwrap_err().to_string();
    assert!(error.contains(&one) && error.contains(&two), "{error}");
}
