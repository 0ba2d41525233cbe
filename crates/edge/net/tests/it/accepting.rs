//! Accepting when the system says no (row D13, rule DR26).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use jocko_net::ports::{
    BoxListener, BoxStream, Connect, Listener, MemoryNet, Net, Ports, Reserved, SocketOptions,
};
use jocko_net::{Listen, ReactorSettings, Reactors, Server, ServerSettings};
use tokio::time::Instant;

use crate::harness::{Client, Script, Scripted, settle, simulate};

/// A network whose listeners fail with given errors before they accept.
#[derive(Debug)]
struct Failing {
    net: MemoryNet,
    errors: Arc<Mutex<VecDeque<i32>>>,
    polls: Arc<Mutex<usize>>,
}

#[derive(Debug)]
struct FailingListener {
    listener: BoxListener,
    errors: Arc<Mutex<VecDeque<i32>>>,
    polls: Arc<Mutex<usize>>,
}

impl Net for Failing {
    fn listen(&self, address: SocketAddr, options: &SocketOptions) -> io::Result<BoxListener> {
        Ok(Box::new(FailingListener {
            listener: self.net.listen(address, options)?,
            errors: Arc::clone(&self.errors),
            polls: Arc::clone(&self.polls),
        }))
    }

    fn connect(&self, address: SocketAddr, options: &SocketOptions) -> Connect {
        self.net.connect(address, options)
    }

    fn reserve(&self, address: SocketAddr) -> io::Result<Reserved> {
        self.net.reserve(address)
    }
}

impl Listener for FailingListener {
    fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(BoxStream, SocketAddr)>> {
        *self.polls.lock().unwrap() += 1;
        match self.errors.lock().unwrap().pop_front() {
            Some(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            None => self.listener.poll_accept(cx),
        }
    }
}

#[test]
fn accepting_pauses_without_descriptors_and_goes_on_with_them() {
    const EMFILE: i32 = 24;
    const ECONNABORTED: i32 = 103;
    simulate(async {
        let errors = Arc::new(Mutex::new(VecDeque::from(vec![EMFILE; 10])));
        let polls = Arc::default();
        let mut ports = Ports::simulated();
        ports.net = Arc::new(Failing {
            net: MemoryNet::new(),
            errors: Arc::clone(&errors),
            polls: Arc::clone(&polls),
        });
        let reactors = Reactors::start_local(&ReactorSettings::default(), &ports);
        let listen = [Listen::At(([127, 0, 0, 1], 0).into())];
        let service = Arc::new(Scripted(Arc::new(Script::default())));
        let settings = ServerSettings::default();
        let server = Server::start(&reactors, &listen, settings, &service).unwrap();
        settle().await;
        assert_eq!(*polls.lock().unwrap(), 1, "one look, then rest");

        let started = Instant::now();
        let connect = || ports.net.connect(server.addresses()[0], &Default::default());
        let mut client = Client { stream: connect().await.unwrap() };
        client.echo(1, 10).await;
        let waited = started.elapsed();
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
        assert!(waited < Duration::from_secs(3), "{waited:?}");
        assert_eq!(reactors.totals().accept_pauses, 10);

        // A peer that gave up is no reason to pause.
        errors.lock().unwrap().extend([ECONNABORTED; 3]);
        let started = Instant::now();
        let mut client = Client { stream: connect().await.unwrap() };
        client.echo(1, 10).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    });
}
