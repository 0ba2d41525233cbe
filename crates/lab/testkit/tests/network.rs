//! What is cut does not arrive, what is not does, and a healed network is whole. Skipped where
//! namespaces are not permitted.
//!
//! The program is three: the test; `serve FILE` in a place, which writes down what it is sent; and
//! `tell ADDRESS TEXT` in another, which sends.

#![allow(clippy::print_stdout, reason = "a test without a harness speaks for itself")]

use anyhow::{Context, Result, ensure};
use jocko_testkit::{Network, Place, enter_own_network, wait_until};
use std::fs::File;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const PORT: u16 = 7_000;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", file] => serve(Path::new(file)),
        ["tell", address, text] => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.send_to(text.as_bytes(), (address, PORT))?;
            Ok(())
        }
        // What a harness would do: list nothing but this.
        ["--list", ..] => {
            println!("network: test");
            Ok(())
        }
        _ => match enter_own_network() {
            Ok(()) => test(),
            Err(why) => {
                println!("0 passed, 0 failed, 1 skipped: {why:#}");
                Ok(())
            }
        },
    }
}

fn serve(file: &Path) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", PORT))?;
    let mut file = File::create(file)?;
    let mut datagram = [0; 64];
    loop {
        let (count, _) = socket.recv_from(&mut datagram)?;
        file.write_all(&datagram[..count])?;
    }
}

struct Listener {
    child: Child,
    file: PathBuf,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Three {
    network: Network,
    places: Vec<Place>,
    listeners: Vec<Listener>,
    told: u32,
}

impl Three {
    fn start(folder: &Path) -> Result<Self> {
        let mut network = Network::default();
        let places: Vec<Place> = (0..3).map(|number| network.add(number)).collect::<Result<_>>()?;
        let mut listeners = Vec::new();
        for (number, place) in places.iter().enumerate() {
            let file = folder.join(number.to_string());
            let child = inside(place).arg("serve").arg(&file).spawn()?;
            listeners.push(Listener { child, file });
        }
        for listener in &listeners {
            wait_until(PATIENCE, || Ok(listener.file.exists())).context("a listener")?;
        }
        Ok(Self { network, places, listeners, told: 0 })
    }

    /// One place tells another something; the text, of which none is part of another.
    fn tell(&mut self, from: usize, to: usize) -> Result<String> {
        self.told += 1;
        let text = format!("<{}>", self.told);
        let address = self.places[to].address.to_string();
        let told = inside(&self.places[from]).args(["tell", &address, &text]).status()?;
        ensure!(told.success(), "telling {text}");
        Ok(text)
    }

    fn has(&self, place: usize, text: &str) -> Result<bool> {
        Ok(std::fs::read_to_string(&self.listeners[place].file)?.contains(text))
    }

    /// Who reaches whom, and nobody else. What is sent after the network is healed comes later
    /// than what was sent before, if that comes at all.
    fn check(&mut self, reached: &[(usize, usize)]) -> Result<()> {
        let pairs = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
        let mut sent = Vec::new();
        for (from, to) in pairs {
            sent.push(((from, to), self.tell(from, to)?));
        }
        self.network.heal()?;
        for (from, to) in pairs {
            let text = self.tell(from, to)?;
            wait_until(PATIENCE, || self.has(to, &text))
                .with_context(|| format!("{from} to {to}"))?;
        }
        for (pair, text) in sent {
            let came = self.has(pair.1, &text)?;
            ensure!(came == reached.contains(&pair), "{pair:?}: {came}");
        }
        Ok(())
    }
}

/// This program, in a place.
fn inside(place: &Place) -> Command {
    let mut command = Command::new(&place.wrapper[0]);
    command.args(&place.wrapper[1..]).arg(std::env::current_exe().expect("a program has a path"));
    command
}

fn test() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut three = Three::start(folder.path())?;
    let all = [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];
    three.check(&all)?;
    three.network.isolate(0)?;
    three.check(&[(1, 2), (2, 1)])?;
    three.network.cut(0, 1)?;
    three.check(&[(0, 2), (1, 2), (2, 0), (2, 1)])?;
    three.network.cut_one_way(0, 1)?;
    ensure!(three.network.cuts().eq([(0, 1)]), "the cut is told");
    three.check(&[(0, 2), (1, 0), (1, 2), (2, 0), (2, 1)])?;
    three.check(&all)?;
    // The router, where clients are, hears nothing of one that all others reach.
    let tell_router = |three: &Three| {
        let mut tell = inside(&three.places[0]);
        let told = tell.args(["tell", "10.231.1.1", "<router>"]).stderr(Stdio::null()).status()?;
        Ok::<_, anyhow::Error>(told.success())
    };
    three.network.cut_clients(0)?;
    ensure!(!tell_router(&three)?, "clients are not cut off");
    three.check(&all)?;
    ensure!(three.network.is_whole() && tell_router(&three)?, "the router is cut off still");
    if Network::check_loss().is_ok() {
        three.network.lose(99)?;
        ensure!(!three.network.is_whole(), "packets are lost");
        three.network.heal()?;
        three.check(&all)?;
        // What is cut for one port passes on all others.
        three.network.cut_port(0, 1, PORT)?;
        three.check(&[(0, 2), (1, 2), (2, 0), (2, 1)])?;
        three.network.cut_port(0, 1, PORT + 1)?;
        three.check(&all)?;
        three.network.reset(99)?;
        ensure!(!three.network.is_whole(), "connections are torn down");
        three.check(&all)?;
    }
    let router = UdpSocket::bind("0.0.0.0:0")?;
    let told = |text: &str| router.send_to(text.as_bytes(), (three.places[0].address, PORT));
    three.network.swallow_clients(0)?;
    // The system may say at once that there is no way.
    let _ = told("<swallowed>");
    three.network.heal()?;
    told("<heard>")?;
    wait_until(PATIENCE, || three.has(0, "<heard>")).context("from the router")?;
    ensure!(!three.has(0, "<swallowed>")?, "clients were not swallowed");
    if Network::check_narrow().is_ok() && three.network.narrow(0, 1_000_000).is_ok() {
        ensure!(!three.network.is_whole(), "a way is narrow");
        three.check(&all)?;
    }
    println!("1 passed, 0 failed");
    Ok(())
}
