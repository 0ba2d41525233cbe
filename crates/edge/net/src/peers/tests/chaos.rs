//! Many callers, bad networks, random ends: what was promised of each call holds.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Duration, sleep, timeout};

use super::world::{SECOND, settings, simulate};
use crate::peers::{
    Lane, PeerError, PeerIdentity, PeerRefusal, PeerServer, PeerService, Peers, split_mix,
};
use crate::ports::{LinkQuality, MemoryNet, NetRef};

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const ADDRESS: &str = "10.0.0.1:9093";
const LANES: [Lane; 2] = [Lane::Control, Lane::Data];

/// Remembers what it was asked, and answers with it, sooner or later.
#[derive(Default)]
struct Recorder {
    calls: Mutex<BTreeMap<u64, u32>>,
    tells: Mutex<[Vec<u64>; 2]>,
}

impl PeerService for Recorder {
    fn call(
        &self,
        _from: &PeerIdentity,
        kind: u16,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Vec<Bytes>, PeerRefusal>> {
        let number = body.clone().get_u64();
        *self.calls.lock().unwrap().entry(number).or_default() += 1;
        async move {
            sleep(Duration::from_millis(u64::from(kind))).await;
            if number.is_multiple_of(17) {
                return Err(PeerRefusal::new(17, number.to_string()));
            }
            Ok(vec![body])
        }
        .boxed()
    }

    fn told(&self, _from: &PeerIdentity, kind: u16, mut body: Bytes) {
        self.tells.lock().unwrap()[usize::from(kind)].push(body.get_u64());
    }
}

fn serve(net: &MemoryNet, recorder: &Arc<Recorder>) -> PeerServer {
    let node: NetRef = Arc::new(net.node(A));
    let service: Arc<Recorder> = Arc::clone(recorder);
    PeerServer::start(&node, ADDRESS.parse().unwrap(), settings(1), service).unwrap()
}

fn body(number: u64, bytes: u64) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u64(number);
    body.put_bytes(number as u8, usize::try_from(bytes).unwrap());
    body.freeze()
}

type Outcomes = Arc<Mutex<BTreeMap<u64, Option<Result<Bytes, PeerError>>>>>;

/// Calls now and then; `None` is noted for a call whose future was dropped.
async fn caller(peers: Peers, mut dice: u64, numbers: std::ops::Range<u64>, outcomes: Outcomes) {
    for number in numbers {
        let mut roll = |below: u64| split_mix(&mut dice) % below;
        let size = if roll(10) == 0 { 300_000 } else { roll(2000) };
        let (lane, kind) = (LANES[roll(2) as usize], roll(400) as u16);
        let patience = Duration::from_millis(50 + roll(3000));
        let dropped_after = Duration::from_millis(20 + roll(6000));
        let pause = Duration::from_millis(roll(50));
        let tell = roll(2) as usize;
        peers.tell(ADDRESS, LANES[tell], tell as u16, body(number, 3));
        let call = peers.call(ADDRESS, lane, kind, body(number, size), patience);
        let outcome = timeout(dropped_after, call).await.ok();
        if let Some(Ok(answer)) = &outcome {
            assert_eq!(*answer, body(number, size));
        }
        outcomes.lock().unwrap().insert(number, outcome);
        sleep(pause).await;
    }
}

async fn trouble(net: MemoryNet, recorder: Arc<Recorder>, mut dice: u64) -> PeerServer {
    let mut server = serve(&net, &recorder);
    for _ in 0..12 {
        sleep(Duration::from_millis(300 + split_mix(&mut dice) % 1500)).await;
        match split_mix(&mut dice) % 6 {
            0 => net.cut(A, B),
            1 => net.cut(B, A),
            2 => net.isolate(A),
            3 => net.reset_between(A, B),
            4 => {
                net.kill(A);
                drop(server);
                sleep(SECOND).await;
                server = serve(&net, &recorder);
            }
            _ => {}
        }
        sleep(Duration::from_millis(split_mix(&mut dice) % 4000)).await;
        net.heal();
    }
    server
}

fn run(seed: u64) -> [usize; 4] {
    simulate(async move {
        let net = MemoryNet::seeded(seed);
        net.set_quality(LinkQuality {
            delay: Duration::from_millis(1)..Duration::from_millis(20),
            stalls_per_10k: 200,
            stall: SECOND / 5..SECOND,
            breaks_per_10k: 20,
            bytes_per_second: Some(20_000_000),
        });
        let recorder = Arc::<Recorder>::default();
        let node: NetRef = Arc::new(net.node(B));
        let mut own = settings(2);
        own.calls_in_flight_max = 8;
        let peers = Peers::start(&node, own);
        let outcomes = Outcomes::default();
        let callers: Vec<_> = (0..20)
            .map(|at| {
                let numbers = at * 1000..at * 1000 + 40;
                let dice = seed.wrapping_mul(1000) + at;
                tokio::spawn(caller(peers.clone(), dice, numbers, Arc::clone(&outcomes)))
            })
            .collect();
        let server = trouble(net.clone(), Arc::clone(&recorder), seed ^ 0xabcd).await;
        for caller in callers {
            caller.await.unwrap();
        }
        // After the storm: everything that was given up is gone, and everything works.
        net.set_quality(LinkQuality::default());
        for lane in LANES {
            let calls = (0..8)
                .map(|at| peers.call(ADDRESS, lane, 300, body(1_000_000 + at, 10), 5 * SECOND));
            for answer in futures_util::future::join_all(calls).await {
                let error = answer.err();
                assert!(error.is_none_or(|e| matches!(e, PeerError::Refused(r) if r.code == 17)));
            }
        }
        drop(server);
        check(&recorder, &outcomes.lock().unwrap())
    })
}

/// How many calls were answered, never sent, and left in doubt; and tells that arrived.
fn check(
    recorder: &Recorder,
    outcomes: &BTreeMap<u64, Option<Result<Bytes, PeerError>>>,
) -> [usize; 4] {
    let calls = recorder.calls.lock().unwrap();
    let [mut answered, mut unsent, mut in_doubt] = [0; 3];
    for (number, outcome) in outcomes {
        let seen = calls.get(number).copied().unwrap_or_default();
        assert!(seen <= 1, "call {number} was handled {seen} times");
        match outcome {
            Some(Ok(_)) | Some(Err(PeerError::Refused(_))) => {
                assert_eq!(seen, 1);
                answered += 1;
            }
            Some(Err(error)) if error.is_unsent() => {
                assert_eq!(seen, 0, "call {number} is said not to have been sent: {error}");
                unsent += 1;
            }
            _ => in_doubt += 1,
        }
    }
    let mut told = 0;
    for tells in &*recorder.tells.lock().unwrap() {
        let mut tells_of: BTreeMap<u64, u64> = BTreeMap::new();
        for number in tells {
            let last = tells_of.insert(number / 1000, *number);
            assert!(last.is_none_or(|last| last < *number), "tells arrive once and in order");
            told += 1;
        }
    }
    [answered, unsent, in_doubt, told]
}

#[test]
fn what_is_promised_of_a_call_holds_in_any_weather() {
    let mut sums = [0; 4];
    for seed in 0..12 {
        for (sum, count) in sums.iter_mut().zip(run(seed)) {
            *sum += count;
        }
    }
    // A storm that left everything whole, or nothing, would have shown nothing.
    let [answered, unsent, in_doubt, told] = sums;
    assert!(answered > 2000 && unsent > 100 && in_doubt > 200 && told > 2000, "{sums:?}");
}

#[test]
fn a_storm_repeats() {
    assert_eq!(run(3), run(3));
}
