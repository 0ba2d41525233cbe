//! The routes over a real loopback socket.

use crate::{Probe, serve};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

struct Switch(AtomicBool);

impl Probe for Switch {
    fn unready(&self) -> Vec<String> {
        if self.0.load(Ordering::Relaxed) { vec![] } else { vec!["recovering logs".into()] }
    }

    fn metrics(&self) -> String {
        "jocko_up 1\n# EOF\n".into()
    }
}

/// Sends one request and returns the status line and the body.
async fn ask(address: std::net::SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("has a head");
    (head.lines().next().expect("has a status").to_owned(), body.to_owned())
}

#[tokio::test]
async fn health_metrics_and_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    let probe = Arc::new(Switch(AtomicBool::new(false)));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, probe.clone(), async {
        stopped.await.ok();
    }));
    let check = async |request: &str, status: &str, body: &str| {
        assert_eq!(ask(address, request).await, (format!("HTTP/1.1 {status}"), body.to_owned()));
    };
    check("GET /livez", "200 OK", "ok\n").await;
    check("GET /readyz", "503 Service Unavailable", "recovering logs\n").await;
    probe.0.store(true, Ordering::Relaxed);
    check("GET /readyz", "200 OK", "ok\n").await;
    check("GET /metrics", "200 OK", "jocko_up 1\n# EOF\n").await;
    check("GET /", "404 Not Found", "").await;
    check("GET //livez", "404 Not Found", "").await;
    check("GET /x/../livez", "404 Not Found", "").await;
    check("POST /livez", "405 Method Not Allowed", "").await;
    stop.send(()).expect("is running");
    server.await.expect("no panic").expect("ends well");
}
