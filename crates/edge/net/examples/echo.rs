//! A rough look at the connection loop's speed: an echo server and a client in one process.
//!
//! `cargo run --release -p jocko-net --example echo -- [frame bytes] [in flight] [connections]
//! [reactors]` prints frames per second and the mean round trip, and what a quiet client beside
//! the busy ones sees. Not a benchmark: clients and server share the machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use jocko_net::ports::Ports;
use jocko_net::{
    Call, Frame, Listen, Peer, Reactor, ReactorSettings, Reactors, Reply, Server, ServerSettings,
    Service,
};

struct Echo;

impl Service for Echo {
    type Connection = ();

    fn connected(&self, _peer: &Peer, _reactor: &Reactor) {}

    fn call(&self, (): &mut (), frame: Frame) -> Call {
        // A short answer, as Produce has: the frame's first 8 bytes.
        let mut reply = BytesMut::with_capacity(12);
        reply.put_u32(8);
        reply.put_slice(&frame.bytes[..8]);
        Call::Reply(Reply::new(reply.freeze()))
    }
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
    let frame_bytes: usize = args.next().unwrap_or(100);
    let in_flight: usize = args.next().unwrap_or(1);
    let connections: usize = args.next().unwrap_or(1);
    let settings =
        ReactorSettings { count: args.next().unwrap_or(0), ..ReactorSettings::default() };

    let reactors = Reactors::start(&settings, &Ports::production(1)?)?;
    let server = Server::start(
        &reactors,
        &[Listen::Localhost(0)],
        ServerSettings::default(),
        &Arc::new(Echo),
    )?;
    let address = server.addresses()[0];

    let frames = Arc::new(AtomicU64::new(0));
    for _ in 0..connections {
        let frames = Arc::clone(&frames);
        std::thread::spawn(move || client(address, frame_bytes, in_flight, &frames));
    }
    for _ in 0..3 {
        let (before, started) = (frames.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        let seconds = started.elapsed().as_secs_f64();
        let rate = (frames.load(Ordering::Relaxed) - before) as f64 / seconds;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{rate:.0} frames/s, {:.0} MB/s, {:.1} us per round trip",
            rate * (frame_bytes + 4) as f64 / 1e6,
            (in_flight * connections) as f64 / rate * 1e6,
        )?;
    }
    let mut round_trips = probe(address)?;
    round_trips.sort_unstable();
    let at = |part: usize| round_trips[round_trips.len() * part / 100].as_micros();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "beside them, 100 B one at a time: p50 {} us, p99 {} us, worst {} us",
        at(50),
        at(99),
        round_trips[round_trips.len() - 1].as_micros(),
    )
}

/// Round trips of a client that asks now and then.
fn probe(address: SocketAddr) -> std::io::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut request = [0; 104];
    request[3] = 100;
    let mut answer = [0; 12];
    let mut round_trips = Vec::new();
    for _ in 0..1000 {
        let started = Instant::now();
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
        round_trips.push(started.elapsed());
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(round_trips)
}

fn client(address: SocketAddr, frame_bytes: usize, in_flight: usize, frames: &AtomicU64) {
    let run = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut request = vec![0; 4 + frame_bytes];
        let size = u32::try_from(frame_bytes).expect("a small number");
        request[..4].copy_from_slice(&size.to_be_bytes());
        let mut owed = 0;
        let mut answers = [0; 4096];
        loop {
            while owed < in_flight * 12 {
                stream.write_all(&request)?;
                owed += 12;
            }
            let got = stream.read(&mut answers)?;
            if got == 0 {
                return Ok(());
            }
            let before = owed / 12;
            owed -= got;
            frames.fetch_add((before - owed.div_ceil(12)) as u64, Ordering::Relaxed);
        }
    };
    // The server goes first when the time is up.
    let _ = run();
}
