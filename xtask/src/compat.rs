//! `cargo xtask compat`: real clients in their own languages, each running the same named scenarios against the built
//! binary (or against a real Kafka, to prove the scenarios themselves).
//!
//! One program per client lives under `compat/`; `compat/README.md` says how it talks to us. What passed becomes
//! `docs/reference/compatibility.md`. Everything that is started here is stopped here.

mod applications;
mod clients;
mod dump;
mod examples;
mod report;
mod runner;
mod scenarios;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::{self, Cluster, Kind};
use crate::{jocko, kafka};
use clients::Client;
pub(crate) use clients::{compile_java, historian};
use report::Outcome;
use runner::Asked;
use scenarios::{SCENARIOS, SMOKE_SCENARIOS};

const USAGE: &str = "usage: cargo xtask compat [--client NAME]... [--scenario NAME]... [--against jocko|kafka] [--smoke] \
                     [--require-all] [--list] [--binary PATH] [--brokers N] [--tools] [--connect] [--streams] [--examples]";

/// What the command line asked for.
#[derive(Debug)]
struct Request {
    clients: Vec<String>,
    scenarios: Vec<String>,
    /// The brokers under test.
    kind: Kind,
    /// How many of them there are.
    brokers: usize,
    smoke: bool,
    require_all: bool,
    list: bool,
    /// The table of command line tools instead of the clients.
    tools: bool,
    /// Kafka Connect instead of the clients.
    connect: bool,
    /// Kafka Streams instead of the clients.
    streams: bool,
    /// The programs of `examples/` instead of the clients.
    examples: bool,
    /// A binary to run instead of the one of this tree.
    binary: Option<PathBuf>,
}

impl Request {
    /// All clients against a lone jocko.
    const fn new() -> Self {
        Self {
            clients: Vec::new(),
            scenarios: Vec::new(),
            kind: Kind::Jocko,
            brokers: 1,
            smoke: false,
            require_all: false,
            list: false,
            tools: false,
            connect: false,
            streams: false,
            examples: false,
            binary: None,
        }
    }
}

/// Runs the clients and prints the table.
///
/// # Errors
///
/// Where a scenario failed, a needed toolchain is absent with `--require-all`, or the broker does not start.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let request = parse(arguments)?;
    if let Some(binary) = &request.binary {
        jocko::use_binary(binary)?;
    }
    if request.examples {
        return examples::run(root, &scratch(root, "examples-run")?, &request);
    }
    let chosen = choose(&request)?;
    if request.list {
        for client in chosen {
            println!("{:<24} {}", client.name, client.about);
        }
        return Ok(());
    }
    if request.tools {
        return tools::run(root, &scratch(root, "tools-run")?, &request);
    }
    if request.connect || request.streams {
        return applications::run(root, &scratch(root, "applications-run")?, &request);
    }
    let (ready, absent) = clients::prepare(root, &chosen);
    ensure!(
        !request.require_all || absent.is_empty(),
        "clients are missing: {}",
        absent.join(", ")
    );
    ensure!(!ready.is_empty(), "no client can run here");
    let home = scratch(root, "run")?;
    let mut brokers = brokers(root, &home, &request, request.kind)?;
    let mut outcomes = Vec::new();
    for (client, command) in ready {
        println!("== {}", client.name);
        let asked = Asked { scenarios: &request.scenarios, all: &SCENARIOS };
        outcomes.push(runner::run(&home, client, command, &asked, &mut brokers)?);
    }
    print!("\n{}", report::table(&outcomes));
    finish(root, &home, &request, brokers, &outcomes)
}

/// Stops the broker, has Kafka read the files it left, and writes the page.
fn finish(
    root: &Path,
    home: &Path,
    request: &Request,
    mut brokers: Cluster,
    outcomes: &[Outcome],
) -> Result<()> {
    brokers.stop()?;
    match kafka::absent() {
        // Over a real Kafka's own files this proves that the check cries wolf at nothing.
        None => dump::check(root, &home.join("data"))?,
        Some(missing) => {
            ensure!(!request.require_all, "reading the files with Kafka's tool {missing}");
            println!("SKIPPED Kafka's dump tool on the files: {missing}");
        }
    }
    let whole = request.clients.is_empty() && request.scenarios.is_empty();
    if request.kind == Kind::Jocko && whole {
        let name = match request.brokers {
            1 => "docs/reference/compatibility.md".to_owned(),
            count => format!("docs/reference/compatibility-{count}-brokers.md"),
        };
        fs::write(root.join(&name), report::page(outcomes, request.brokers))?;
        println!("wrote {name}");
    }
    let failures: usize = outcomes.iter().map(Outcome::failures).sum();
    ensure!(
        failures == 0,
        "{failures} scenarios failed; the clients' own words are in {}",
        home.display()
    );
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Request> {
    let mut request = Request::new();
    let mut rest = arguments.iter();
    while let Some(flag) = rest.next() {
        let mut value = || rest.next().cloned().context(USAGE);
        match flag.as_str() {
            "--client" => request.clients.push(value()?),
            "--scenario" => request.scenarios.push(value()?),
            "--against" => match value()?.as_str() {
                "kafka" => request.kind = Kind::Kafka,
                "jocko" => request.kind = Kind::Jocko,
                other => bail!("--against {other}: not jocko or kafka"),
            },
            "--brokers" => request.brokers = value()?.parse().context("--brokers N")?,
            "--smoke" => request.smoke = true,
            "--require-all" => request.require_all = true,
            "--list" => request.list = true,
            "--connect" => request.connect = true,
            "--streams" => request.streams = true,
            "--tools" => request.tools = true,
            "--examples" => request.examples = true,
            "--binary" => request.binary = Some(value()?.into()),
            other => bail!("no flag named {other}\n{USAGE}"),
        }
    }
    ensure!(request.brokers > 0, "nobody can talk to no broker");
    for scenario in &request.scenarios {
        ensure!(
            SCENARIOS.contains(&scenario.as_str()),
            "no scenario named {scenario}; there are {SCENARIOS:?}"
        );
    }
    if request.smoke && request.scenarios.is_empty() {
        request.scenarios = SMOKE_SCENARIOS.map(str::to_owned).to_vec();
    }
    Ok(request)
}

fn choose(request: &Request) -> Result<Vec<&'static Client>> {
    let known = |name: &String| clients::ALL.iter().any(|client| client.name == name);
    if let Some(unknown) = request.clients.iter().find(|name| !known(name)) {
        bail!("no client named {unknown}; see cargo xtask compat --list");
    }
    let wanted = |client: &&Client| match request.clients.as_slice() {
        [] => !request.smoke || client.smoke,
        named => named.iter().any(|name| name == client.name),
    };
    Ok(clients::ALL.iter().filter(wanted).collect())
}

/// An empty folder for this run: the broker's data, and what everybody printed.
fn scratch(root: &Path, name: &str) -> Result<PathBuf> {
    let home = root.join("target/compat").join(name);
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| format!("cannot empty {}", home.display()))?;
    }
    fs::create_dir_all(&home)?;
    Ok(home)
}

/// The brokers that the clients talk to.
fn brokers(root: &Path, home: &Path, request: &Request, kind: Kind) -> Result<Cluster> {
    let options = cluster::Options {
        kind,
        brokers: request.brokers,
        data_dir: home.join("data"),
        arguments: scenarios::jocko_settings(),
        overrides: scenarios::kafka_settings(),
        heap_mib: if request.brokers == 1 { 1_024 } else { 512 },
    };
    Cluster::start(root, &options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn smoke_asks_for_fewer_scenarios_and_clients() {
        let request = parse(&words("--smoke --require-all")).unwrap();
        assert_eq!(request.scenarios.len(), SMOKE_SCENARIOS.len());
        assert!(request.require_all);
        assert!(choose(&request).unwrap().len() < clients::ALL.len());
    }

    #[test]
    fn every_smoke_scenario_is_a_scenario() {
        assert!(SMOKE_SCENARIOS.iter().all(|name| SCENARIOS.contains(name)));
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(parse(&words("--scenario nothing")).is_err());
        assert!(parse(&words("--against rabbits")).is_err());
        assert!(parse(&words("--client")).is_err());
        assert!(choose(&parse(&words("--client nobody")).unwrap()).is_err());
    }
}
