//! The routes over a real loopback socket, and the limits over streams in memory and virtual time.

use crate::company::Peer;
use crate::connection;
use crate::{Answering, Company, Limits, Probe, serve};
use axum::Router;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
const HALF: &[u8] = b"GET /livez HTTP/1.1\r\nhost:";
const SILENCE: Duration = Duration::from_secs(10);
const ANSWER_BYTES: usize = 1 << 20;

struct Switch(AtomicBool);

impl Probe for Switch {
    fn unready(&self) -> Vec<String> {
        if self.0.load(Ordering::Relaxed) { vec![] } else { vec!["recovering logs".into()] }
    }

    fn metrics(&self) -> String {
        "jocko_up 1\n# EOF\n".into()
    }
}

impl Company for Switch {
    fn members(&self) -> String {
        "[1]".into()
    }

    fn events(&self) -> String {
        "[2]".into()
    }

    fn transfer_leader(&self, to: Option<i32>, only_ask: bool) -> Answering {
        Box::pin(async move {
            let to = to.ok_or_else(|| "nobody to hand over to".to_owned())?;
            Ok(format!("{{\"leader\":{to},\"asked\":{only_ask}}}"))
        })
    }
}

/// A port that runs.
struct Port {
    address: SocketAddr,
    probe: Arc<Switch>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Port {
    async fn open(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let probe = Arc::new(Switch(AtomicBool::new(false)));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, (probe.clone(), probe.clone()), limits, async {
            stopped.await.ok();
        }));
        Self { address, probe, stop, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }

    /// Sends one request and returns the status line and the body.
    async fn ask(&self, request: &str) -> (String, String) {
        self.ask_with(request, "host: x").await
    }

    /// The same, with headers.
    async fn ask_with(&self, request: &str, headers: &str) -> (String, String) {
        let mut stream = self.connect().await;
        let request = format!("{request} HTTP/1.1\r\n{headers}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("has a head");
        (head.lines().next().expect("has a status").to_owned(), body.to_owned())
    }

    async fn stop(self) {
        self.stop.send(()).expect("is running");
        self.server.await.expect("no panic");
    }
}

/// One request and its answer, on a connection that stays.
async fn ask_on(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) {
    stream.write_all(REQUEST).await.expect("sends");
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("answers"), 0, "closed");
    }
}

#[tokio::test]
async fn health_metrics_and_nothing_else() {
    let port = Port::open(Limits::default()).await;
    let check = async |request: &str, status: &str, body: &str| {
        assert_eq!(port.ask(request).await, (format!("HTTP/1.1 {status}"), body.to_owned()));
    };
    check("GET /livez", "200 OK", "ok\n").await;
    check("GET /readyz", "503 Service Unavailable", "recovering logs\n").await;
    port.probe.0.store(true, Ordering::Relaxed);
    check("GET /readyz", "200 OK", "ok\n").await;
    check("GET /metrics", "200 OK", "jocko_up 1\n# EOF\n").await;
    check("GET /metrics/kafka_exporter", "200 OK", "# EOF\n").await;
    check("GET /", "404 Not Found", "").await;
    check("GET //livez", "404 Not Found", "").await;
    check("GET /x/../livez", "404 Not Found", "").await;
    check("POST /livez", "405 Method Not Allowed", "").await;
    port.stop().await;
}

#[tokio::test]
async fn the_cluster_is_told_of_and_changed_by_the_command_line() {
    let port = Port::open(Limits::default()).await;
    let check = async |request: &str, headers: &str, status: &str, body: &str| {
        let told = port.ask_with(request, headers).await;
        assert_eq!(told, (format!("HTTP/1.1 {status}"), body.to_owned()), "{request} {headers}");
    };
    let (page, cli) = ("host: localhost:1", "host: localhost:1\r\nx-jocko: cli");
    check("GET /cluster/members", page, "200 OK", "[1]\n").await;
    check("GET /cluster/events", page, "200 OK", "[2]\n").await;
    check("POST /cluster/members", cli, "405 Method Not Allowed", "").await;
    check("GET /cluster/transfer-leader", cli, "405 Method Not Allowed", "").await;
    check("OPTIONS /cluster/transfer-leader", cli, "405 Method Not Allowed", "").await;
    let words = "changes are made by the command line, which says so: x-jocko: cli\n";
    check("POST /cluster/transfer-leader?to=2", page, "403 Forbidden", words).await;
    let told = "{\"leader\":2,\"asked\":true}\n";
    check("POST /cluster/transfer-leader?to=2&dry-run", cli, "200 OK", told).await;
    let words = "nobody to hand over to\n";
    check("POST /cluster/transfer-leader", cli, "409 Conflict", words).await;
    let words = "only to=BROKER and dry-run can be asked for\n";
    check("POST /cluster/transfer-leader?to=x", cli, "400 Bad Request", words).await;
    port.stop().await;
}

#[tokio::test]
async fn a_connection_beyond_the_places_waits_for_one() {
    let limits = Limits { places: Arc::new(Semaphore::new(1)), ..Limits::default() };
    let port = Port::open(limits).await;
    let mut first = port.connect().await;
    ask_on(&mut first).await;
    let mut second = port.connect().await;
    second.write_all(REQUEST).await.expect("sends");
    // All of these go through the server that leaves the other one waiting.
    for _ in 0..100 {
        ask_on(&mut first).await;
    }
    let early = second.try_read(&mut [0; 64]).expect_err("not answered yet");
    assert_eq!(early.kind(), std::io::ErrorKind::WouldBlock);
    drop(first);
    assert_ne!(second.read(&mut [0; 64]).await.expect("answered"), 0);
    port.stop().await;
}

#[tokio::test]
async fn a_stop_waits_for_no_request_that_is_not_whole() {
    // A grace that would be noticed.
    let limits = Limits { grace: Duration::from_secs(3_600), ..Limits::default() };
    let port = Port::open(limits.clone()).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = port.connect().await;
        stream.write_all(HALF).await.expect("sends");
        held.push(stream);
    }
    // Those before it have been accepted, too.
    let mut idle = port.connect().await;
    ask_on(&mut idle).await;
    port.stop().await;
    assert_eq!(limits.places.available_permits(), 64);
    for mut stream in held {
        // The end of it, one way or the other.
        assert!(matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)));
    }
}

#[tokio::test]
async fn a_stop_ends_when_its_grace_does() {
    let limits = Limits { grace: Duration::from_millis(1), ..Limits::default() };
    let port = Port::open(limits.clone()).await;
    let mut stream = port.connect().await;
    ask_on(&mut stream).await;
    stream.write_all(HALF).await.expect("sends");
    port.stop().await;
    assert_eq!(limits.places.available_permits(), 64);
}

/// A connection in memory whose buffers hold `room` bytes, and what ends it.
struct Held {
    stream: DuplexStream,
    task: JoinHandle<()>,
    began: Instant,
    stop: watch::Sender<bool>,
}

impl Held {
    fn open(room: usize) -> Self {
        let (stream, theirs) = duplex(room);
        let (stop, stopped) = watch::channel(false);
        let routes = Router::new()
            .route("/livez", get(|| async { "ok\n" }))
            .route("/large", get(|| async { "x".repeat(ANSWER_BYTES) }));
        let peer = Peer(SocketAddr::from(([127, 0, 0, 1], 1)));
        let task = tokio::spawn(connection::run((theirs, peer), routes, SILENCE, stopped));
        Self { stream, task, began: Instant::now(), stop }
    }

    /// How long it lasted, in seconds of virtual time.
    async fn lasted(self) -> u64 {
        self.task.await.expect("no panic");
        (Instant::now() - self.began).as_secs()
    }
}

#[tokio::test(start_paused = true)]
async fn half_a_request_has_its_time() {
    assert_eq!(Held::open(4_096).lasted().await, 10, "nothing at all");
    let mut held = Held::open(4_096);
    held.stream.write_all(HALF).await.expect("sends");
    assert_eq!(held.lasted().await, 10, "a half");
}

#[tokio::test(start_paused = true)]
async fn a_byte_at_a_time_is_no_progress() {
    let mut held = Held::open(4_096);
    held.stream.write_all(b"GET /livez HTTP/1.1\r\nx: ").await.expect("sends");
    let mut sent = 0;
    while !held.task.is_finished() {
        // Virtual seconds.
        sleep(Duration::from_secs(1)).await;
        // The peer may be gone by now.
        let _ = held.stream.write_all(b"y").await;
        sent += 1;
        assert!(sent < 20, "still open");
    }
    assert!(held.lasted().await <= 11);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_used_stays_and_one_that_is_not_goes() {
    let mut held = Held::open(4_096);
    for _ in 0..5 {
        ask_on(&mut held.stream).await;
        sleep(Duration::from_secs(8)).await;
    }
    assert_eq!(held.lasted().await, 42, "ten seconds after the last answer");
}

#[tokio::test(start_paused = true)]
async fn an_answer_nobody_reads_is_given_up_and_a_slow_reader_is_not() {
    let request = b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut unread = Held::open(4_096);
    unread.stream.write_all(request).await.expect("sends");
    assert_eq!(unread.lasted().await, 10);
    let mut slow = Held::open(64 * 1_024);
    slow.stream.write_all(request).await.expect("sends");
    let mut taken = 0;
    let mut chunk = vec![0; 64 * 1_024];
    loop {
        sleep(Duration::from_secs(5)).await;
        match slow.stream.read(&mut chunk).await.expect("goes on") {
            0 => break,
            bytes => taken += bytes,
        }
    }
    assert!(taken > ANSWER_BYTES, "{taken}");
    assert!(slow.lasted().await > 60);
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_finishes_the_answer_under_way() {
    let mut held = Held::open(4_096);
    held.stream.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sends");
    let mut first = [0; 16];
    held.stream.read_exact(&mut first).await.expect("begins");
    held.stop.send_replace(true);
    let mut rest = Vec::new();
    held.stream.read_to_end(&mut rest).await.expect("goes on");
    assert!(rest.len() > ANSWER_BYTES);
    assert_eq!(held.lasted().await, 0);
}
