//! Ways that are worse than cut: narrow, torn down by strangers, deaf to one port. Each is undone by
//! [`Network::heal`].

use super::{Network, RULE_PREFERENCE, address, run};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// How to take a rule back: a program and its arguments.
pub(super) type Undo = Vec<String>;

/// Packets that wait for a narrow way; more are lost.
const QUEUE_PACKETS: &str = "200";

fn words(words: &[&str]) -> Undo {
    words.iter().map(|&word| word.to_owned()).collect()
}

impl Network {
    /// What other brokers send this one comes no faster than so many bits a second. What clients
    /// send is not held back.
    ///
    /// # Errors
    /// When the system refuses, or has no such shapers.
    pub fn narrow(&mut self, node: usize, bits_a_second: u32) -> Result<()> {
        let dev = format!("v{node}");
        let rate = format!("{bits_a_second}bit");
        run("tc", &["qdisc", "add", "dev", &dev, "root", "handle", "1:", "htb", "default", "1"])?;
        self.undo.push(words(&["tc", "qdisc", "del", "dev", &dev, "root"]));
        let class = ["class", "add", "dev", &dev, "parent", "1:", "classid"];
        run("tc", &[&class[..], &["1:1", "htb", "rate", "10gbit", "quantum", "60000"]].concat())?;
        run("tc", &[&class[..], &["1:7", "htb", "rate", &rate, "quantum", "1514"]].concat())?;
        let queue = ["qdisc", "add", "dev", &dev, "parent", "1:7", "pfifo", "limit", QUEUE_PACKETS];
        run("tc", &queue)?;
        // Brokers are the second address of their networks, clients the first.
        let source = ["match", "u32", "0x00000002", "0x000000ff", "at", "12", "flowid", "1:7"];
        let filter = ["filter", "add", "dev", &dev, "parent", "1:", "protocol", "ip", "u32"];
        run("tc", &[&filter[..], &source[..]].concat())
    }

    /// Whether ways can be narrow here.
    ///
    /// # Errors
    /// That they cannot.
    pub fn check_narrow() -> Result<()> {
        let here = Command::new("tc").arg("-V").output().is_ok();
        ensure!(here, "there is no tc (Debian: apt-get install iproute2)");
        Ok(())
    }

    /// Of a hundred packets between brokers, and between them and clients, so many are answered by
    /// a reset that the other end knows nothing of: it is left with half a connection.
    ///
    /// # Errors
    /// When the system refuses, or there is no iptables.
    pub fn reset(&mut self, percent: u8) -> Result<()> {
        let share = format!("0.{:02}", percent.min(99));
        for chain in ["FORWARD", "INPUT", "OUTPUT"] {
            let rule = |verb| {
                let chosen = ["-p", "tcp", "-m", "statistic", "--mode", "random"];
                let target =
                    ["--probability", &share, "-j", "REJECT", "--reject-with", "tcp-reset"];
                words(&[&["iptables", "-w", verb, chain], &chosen[..], &target[..]].concat())
            };
            perform(&rule("-I"))?;
            self.undo.push(rule("-D"));
        }
        Ok(())
    }

    /// Nothing passes between a broker and clients, either way, without a word to either.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn swallow_clients(&mut self, node: usize) -> Result<()> {
        self.cut_clients(node)?;
        let to = address(node).to_string();
        let preference = RULE_PREFERENCE.to_string();
        let rule = |verb| {
            words(&["ip", "rule", verb, "pref", &preference, "iif", "lo", "to", &to, "blackhole"])
        };
        perform(&rule("add"))?;
        self.undo.push(rule("del"));
        Ok(())
    }

    /// Nothing passes between two brokers that is sent to this port, in datagrams or streams.
    ///
    /// # Errors
    /// When the system refuses, or there is no iptables.
    pub fn cut_port(&mut self, one: usize, other: usize, port: u16) -> Result<()> {
        let port = port.to_string();
        for (from, to) in [(one, other), (other, one)] {
            let (from, to) = (address(from).to_string(), address(to).to_string());
            for (protocol, end) in
                ["udp", "tcp"].iter().flat_map(|it| [(*it, "--dport"), (*it, "--sport")])
            {
                let rule = |verb| {
                    let ends = [
                        "-s",
                        from.as_str(),
                        "-d",
                        to.as_str(),
                        "-p",
                        protocol,
                        end,
                        port.as_str(),
                    ];
                    words(
                        &[&["iptables", "-w", verb, "FORWARD"], &ends[..], &["-j", "DROP"]]
                            .concat(),
                    )
                };
                perform(&rule("-I"))?;
                self.undo.push(rule("-D"));
            }
        }
        Ok(())
    }

    /// Takes all of this back.
    pub(super) fn cure(&mut self) -> Result<()> {
        while let Some(undo) = self.undo.pop() {
            perform(&undo)?;
        }
        Ok(())
    }
}

fn perform(command: &Undo) -> Result<()> {
    let (program, arguments) = command.split_first().context("a command")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(program, &arguments)
}
