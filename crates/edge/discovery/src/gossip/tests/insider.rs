//! Whoever knows the secret can say what it likes, nonsense too.

use super::*;
use memberlist_core::proto::{
    Ack, Alive, Data, Dead, IndirectPing, Message, Meta, Nack, Ping, PushNodeState, PushPull,
    State, Suspect,
};
use serf::types::{EncryptionAlgorithm, Node};

type Said = Message<Name, SocketAddr>;

fn node(number: u8) -> Node<Name, SocketAddr> {
    let name = name_of(member(number).node).expect("a name");
    Node::new(name, SocketAddr::from(([127, 0, 0, number], 9)))
}

/// Something like tags.
fn meta() -> Meta {
    Meta::try_from(&[1_u8, 9, 10, 7, 10, 1, b'c', 18, 2, b'a', b':'][..]).expect("short")
}

/// One message of each kind, as brokers send them.
fn messages() -> Vec<Vec<u8>> {
    let name = |number: u8| name_of(member(number).node).expect("a name");
    let state = PushNodeState::new(7, name(9), SocketAddr::from(([127, 0, 0, 9], 9)), State::Alive);
    let all: Vec<Said> = vec![
        Ping::new(1, node(9), node(1)).into(),
        IndirectPing::new(2, node(9), node(1)).into(),
        Ack::new(3).into(),
        Nack::new(4).into(),
        Suspect::new(5, name(2), name(9)).into(),
        Alive::new(6, node(8)).with_meta(meta()).into(),
        Dead::new(0, name(2), name(9)).into(),
        PushPull::new(true, [state].into_iter()).into(),
        Message::user_data(vec![2_u8, 4, 8, 1, 18, 0].into()),
    ];
    all.iter().map(|message| message.encode_to_bytes().expect("encodes").to_vec()).collect()
}

/// As a member seals it.
fn sealed(settings: &GossipSettings, plain: &[u8]) -> Vec<u8> {
    let key = SecretKey::Aes256(gossip_key(settings.secret.as_ref()));
    let nonce = EncryptionAlgorithm::random_nonce();
    let mut body = plain.to_vec();
    stream::SEAL.encrypt(key, nonce, b"", &mut body).expect("seals");
    let length = u32::try_from(plain.len()).expect("short").to_be_bytes();
    let mut packet = vec![15, stream::SEAL.as_u8()];
    packet.extend_from_slice(&length);
    packet.extend_from_slice(&nonce);
    packet.extend_from_slice(&body);
    packet
}

/// What a stranger can make of a packet it has overheard: neither the byte that says how it was
/// padded nor its length is covered by the seal.
fn padded_by_a_stranger(mut packet: Vec<u8>) -> Vec<u8> {
    packet[1] = EncryptionAlgorithm::Pkcs7.as_u8();
    // One byte of padding, and it claims to be 255.
    packet[5] -= 1;
    packet
}

fn damaged(rng: &mut fastrand::Rng, message: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..bytes.len());
        match rng.u8(..4) {
            0 => bytes[at] = rng.u8(..),
            1 => bytes.truncate(at.max(1)),
            2 => bytes.insert(at, rng.u8(..)),
            _ => bytes[at] ^= 1 << rng.u8(..8),
        }
    }
    bytes
}

#[tokio::test]
async fn nonsense_from_within_is_survived() {
    let port = free_port();
    let one = start(settings(port, &[port]), 1).await;
    let two = start(settings(0, &[port]), 2).await;
    knows(&one, &[2]).await;
    let flood = tokio::task::spawn_blocking(move || {
        let mut rng = fastrand::Rng::with_seed(11);
        let settings = settings(0, &[]);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let messages = messages();
        for round in 0..6_000_usize {
            let message = &messages[round % messages.len()];
            let plain = match round % 5 {
                0 => (0..rng.usize(1..200)).map(|_| rng.u8(..)).collect(),
                _ => damaged(&mut rng, message),
            };
            let packet = match round % 7 {
                0 => padded_by_a_stranger(sealed(&settings, &[0xff; 32])),
                _ => sealed(&settings, &plain),
            };
            socket.send_to(&packet, ("127.0.0.1", port)).expect("sent");
            if round % 50 == 0 {
                std::thread::yield_now();
            }
        }
    });
    flood.await.expect("no panic");
    // It still hears packets: somebody new, of whom nobody else tells, is noticed.
    let call: Said = Alive::new(1, node(7)).into();
    let call = sealed(&settings(0, &[]), &call.encode_to_bytes().expect("encodes"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let heard = async {
        while !kinds(&one, 7).contains(&EventKind::Ignored) {
            // Behind the flood packets may get lost.
            socket.send_to(&call, ("127.0.0.1", port)).expect("sent");
            let _ = timeout(Duration::from_millis(50), std::future::pending::<()>()).await;
        }
    };
    timeout(DEADLINE, heard).await.expect("it hears");
    let news = Member { expect: 5, ..member(2) };
    two.announce(news.clone()).expect("fits");
    wait_for(&one, "news", |members| members.contains(&news)).await;
    let three = start(settings(0, &[port]), 3).await;
    let has_three = |members: &[Member]| members.iter().any(|one| one.node == member(3).node);
    wait_for(&one, "the third", has_three).await;
    three.leave().await;
}
