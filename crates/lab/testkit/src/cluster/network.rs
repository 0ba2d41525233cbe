//! A network namespace for each broker, joined by a router that can drop what one sends another.
//!
//! The program itself moves into a namespace of its own ([`enter_own_network`]), which is the
//! router and where clients live; each broker's namespace lives as long as a process in it. Nothing
//! has a name on the machine, so nothing can be left behind, however the program ends.

mod ills;

use anyhow::{Context, Result, bail, ensure};
use ills::Undo;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Set in the program that runs in a network of its own. No setting of a broker.
const INSIDE: &str = "TESTKIT_OWN_NETWORK";
/// How long a namespace is held at most.
const HOLD_SECONDS: &str = "86400";
/// Rules of the router that drop come before those that lead anywhere.
const RULE_PREFERENCE: u32 = 100;

/// Where a broker is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its address, the same from everywhere.
    pub address: IpAddr,
    /// What starts a program there: the program and its arguments follow.
    pub wrapper: Vec<String>,
}

/// Namespaces, each joined to the router. Dropping it lets them go.
#[derive(Debug, Default)]
pub struct Network {
    holders: Vec<Child>,
    /// From whom to whom nothing comes.
    cuts: BTreeSet<(usize, usize)>,
    /// Whose answers do not reach clients.
    mute: BTreeSet<usize>,
    /// Of a hundred packets between brokers, how many are lost.
    loss_percent: u8,
    /// How to take back what else was done to it, the latest last.
    undo: Vec<Undo>,
}

/// What a program has to itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// A network, that can be cut.
    pub network: bool,
    /// What it mounts, which is gone with it.
    pub mounts: bool,
}

/// Starts this program again in a network of its own, in its own place: where it succeeds it does
/// not return the first time, and returns at once the second time.
///
/// # Errors
/// Why the machine does not permit it, in words.
pub fn enter_own_network() -> Result<()> {
    enter_own_world(Namespaces { network: true, mounts: false })
}

/// The same with all that a program may have to itself.
///
/// # Errors
/// Why the machine does not permit it, in words.
pub fn enter_own_world(wanted: Namespaces) -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        if wanted.network {
            run("ip", &["link", "set", "lo", "up"])?;
            let forward = "/proc/sys/net/ipv4/ip_forward";
            fs::write(forward, "1").context("forwarding between networks")?;
        }
        return Ok(());
    }
    for program in ["unshare", "nsenter", "setpriv", "ip"] {
        let found = Command::new(program).arg("--version").output().is_ok()
            || Command::new(program).arg("-V").output().is_ok();
        ensure!(found, "there is no {program} (Debian: apt-get install util-linux iproute2)");
    }
    let mut own = Vec::new();
    own.extend(wanted.network.then_some("--net"));
    own.extend(wanted.mounts.then_some("--mount"));
    // The superuser may as it is; others as the superuser of a namespace of users.
    for form in [&[][..], &["--map-root-user"]] {
        let tried = Command::new("unshare").args(form).args(&own).arg("true").output();
        if tried.is_ok_and(|tried| tried.status.success()) {
            let mut again = Command::new("unshare");
            again
                .args(form)
                .args(&own)
                .arg("--")
                .arg(std::env::current_exe()?)
                .args(std::env::args_os().skip(1));
            return Err(again.env(INSIDE, "1").exec().into());
        }
    }
    bail!("namespaces of its own are not permitted here")
}

impl Network {
    /// A place in a namespace of its own, for the broker of this number; they come in order, from 0.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn add(&mut self, number: usize) -> Result<Place> {
        ensure!(number == self.holders.len() && number < 200, "places are given in order");
        let mut hold = die_with_parent();
        hold.extend(["unshare", "--net", "sleep", HOLD_SECONDS].map(str::to_owned));
        let (program, arguments) = hold.split_first().context("a command")?;
        let holder = Command::new(program).args(arguments).stdin(Stdio::null()).spawn()?;
        let pid = holder.id().to_string();
        self.holders.push(holder);
        let own = fs::read_link("/proc/self/ns/net")?;
        crate::process::wait_until(std::time::Duration::from_secs(5), || {
            // Not until it has its own has it become what it is to be.
            Ok(fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|net| net != own))
        })
        .context("a network namespace")?;
        let (here, there) = (format!("v{number}"), address(number));
        let router = gateway(number);
        let inside = |arguments: &[&str]| {
            let net = format!("--net=/proc/{pid}/ns/net");
            run("nsenter", &[&[net.as_str(), "--", "ip"], arguments].concat())
        };
        run("ip", &["link", "add", &here, "type", "veth", "peer", "name", "e0", "netns", &pid])?;
        run("ip", &["addr", "add", &format!("{router}/30"), "dev", &here])?;
        run("ip", &["link", "set", &here, "up"])?;
        inside(&["addr", "add", &format!("{there}/30"), "dev", "e0"])?;
        inside(&["link", "set", "lo", "up"])?;
        inside(&["link", "set", "e0", "up"])?;
        inside(&["route", "add", "default", "via", &router.to_string()])?;
        let mut wrapper = vec!["nsenter".to_owned(), format!("--net=/proc/{pid}/ns/net")];
        wrapper.push("--".to_owned());
        wrapper.extend(die_with_parent());
        Ok(Place { address: there.into(), wrapper })
    }

    /// Drops all that one broker sends another, without a word to either.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn cut_one_way(&mut self, from: usize, to: usize) -> Result<()> {
        if from != to && self.cuts.insert((from, to)) {
            rule("add", from, to)?;
        }
        Ok(())
    }

    /// Drops what either sends the other.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn cut(&mut self, one: usize, other: usize) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// Drops what a broker sends any other, and what they send it. Clients still reach it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn isolate(&mut self, node: usize) -> Result<()> {
        (0..self.holders.len()).try_for_each(|other| self.cut(node, other))
    }

    /// Drops what a broker sends clients. Other brokers still reach it, and it them.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn cut_clients(&mut self, node: usize) -> Result<()> {
        if self.mute.insert(node) {
            self.rule_inside(node, "add")?;
        }
        Ok(())
    }

    /// A rule in a broker's own namespace: nothing goes to the router, where clients are.
    fn rule_inside(&self, node: usize, verb: &str) -> Result<()> {
        let pid = self.holders.get(node).context("a broker with a place")?.id();
        let (net, router) = (format!("--net=/proc/{pid}/ns/net"), gateway(node).to_string());
        let preference = RULE_PREFERENCE.to_string();
        let rule = ["ip", "rule", verb, "pref", &preference, "to", &router, "blackhole"];
        run("nsenter", &[&[net.as_str(), "--"], &rule[..]].concat())
    }

    /// Loses so many of a hundred packets between brokers, at random.
    ///
    /// # Errors
    /// When the system refuses, or there is no iptables.
    pub fn lose(&mut self, percent: u8) -> Result<()> {
        self.heal_loss()?;
        self.loss_percent = percent;
        self.loss("-I")
    }

    fn loss(&self, verb: &str) -> Result<()> {
        let share = format!("0.{:02}", self.loss_percent.min(99));
        let statistic = ["-m", "statistic", "--mode", "random", "--probability", &share];
        run("iptables", &[&["-w", verb, "FORWARD"], &statistic[..], &["-j", "DROP"]].concat())
    }

    fn heal_loss(&mut self) -> Result<()> {
        if self.loss_percent > 0 {
            self.loss("-D")?;
        }
        self.loss_percent = 0;
        Ok(())
    }

    /// Whether packets can be lost here.
    ///
    /// # Errors
    /// That they cannot.
    pub fn check_loss() -> Result<()> {
        let here = Command::new("iptables").arg("--version").output().is_ok();
        ensure!(here, "there is no iptables (Debian: apt-get install iptables)");
        Ok(())
    }

    /// Whether everybody reaches everybody.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.cuts.is_empty()
            && self.mute.is_empty()
            && self.loss_percent == 0
            && self.undo.is_empty()
    }

    /// What is cut now: from whom to whom.
    pub fn cuts(&self) -> impl Iterator<Item = (usize, usize)> {
        self.cuts.iter().copied()
    }

    /// Everybody reaches everybody.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal(&mut self) -> Result<()> {
        self.cure()?;
        while let Some((from, to)) = self.cuts.pop_first() {
            rule("del", from, to)?;
        }
        while let Some(node) = self.mute.pop_first() {
            self.rule_inside(node, "del")?;
        }
        self.heal_loss()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            // Gone already is as good.
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// A program that is killed with the thread that starts it; nothing where there is no such thing.
pub(super) fn die_with_parent() -> Vec<String> {
    let works = Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]).output();
    if works.is_ok_and(|works| works.status.success()) {
        ["setpriv", "--pdeathsig", "KILL", "--"].map(str::to_owned).into()
    } else {
        Vec::new()
    }
}

/// The router forwards nothing from one to the other; a blackhole is silent, as a cut cable is.
fn rule(verb: &str, from: usize, to: usize) -> Result<()> {
    let (from, to) = (address(from).to_string(), address(to).to_string());
    let preference = RULE_PREFERENCE.to_string();
    run("ip", &["rule", verb, "pref", &preference, "from", &from, "to", &to, "blackhole"])
}

const fn octet(number: usize) -> u8 {
    // Few enough by what `add` ensures.
    (number % 200) as u8 + 1
}

const fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 231, octet(number), 2)
}

const fn gateway(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 231, octet(number), 1)
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("running {program}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {}", arguments.join(" "), words.trim());
    Ok(())
}
