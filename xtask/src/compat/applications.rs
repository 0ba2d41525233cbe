//! `cargo xtask compat --connect` and `--streams`: whole applications that live on a broker or on several, through a
//! restart of each and the kill of one. Kafka Connect distributed moves a file through a topic while a worker is killed;
//! a word count of Kafka Streams keeps its counts in a changelog. Each program limits itself to 300 seconds.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::Request;
use super::clients::{Client, compile_java};
use super::runner::{self, Asked};
use crate::process::guarded;

const CONNECT: Client = Client {
    name: "kafka-connect",
    about: "Kafka Connect, distributed (Java)",
    smoke: false,
    lacks: None,
    needs: super::clients::JAVA,
    build: |root| program(root, "dev.jocko.applications.Connect"),
};

const STREAMS: Client = Client {
    name: "kafka-streams",
    about: "Kafka Streams (Java)",
    smoke: false,
    lacks: None,
    needs: super::clients::JAVA,
    build: |root| program(root, "dev.jocko.applications.WordCount"),
};

fn program(root: &Path, class: &str) -> Result<Command> {
    let class_path = compile_java(root, "compat/applications", "applications")?;
    let mut command = guarded("java");
    command.args(["-Xmx512m", "-cp", &class_path, class]);
    Ok(command)
}

/// Runs the applications that were asked for, each against a broker of its own.
///
/// # Errors
///
/// Where one failed, or Java is absent with `--require-all`.
pub(super) fn run(root: &Path, home: &Path, request: &Request) -> Result<()> {
    static APPLICATIONS: [(&Client, &str); 2] =
        [(&CONNECT, "connect-file-to-file"), (&STREAMS, "streams-word-count")];
    let mut failed = Vec::new();
    for (application, scenario) in APPLICATIONS {
        let wanted =
            if application.name == CONNECT.name { request.connect } else { request.streams };
        if !wanted {
            continue;
        }
        let (ready, absent) = super::clients::prepare(root, &[application]);
        ensure!(!request.require_all || absent.is_empty(), "{} cannot run", application.name);
        for (client, command) in ready {
            println!("== {}", client.name);
            let folder = home.join(client.name);
            std::fs::create_dir_all(&folder)?;
            let mut brokers = super::brokers(root, &folder, request, request.kind)?;
            let outcome = runner::run(
                home,
                client,
                command,
                &Asked { scenarios: &[], all: &[scenario] },
                &mut brokers,
            )?;
            brokers.stop()?;
            if outcome.failures() > 0 {
                failed.push(client.name);
            }
        }
    }
    ensure!(
        failed.is_empty(),
        "{} failed; their words are in {}",
        failed.join(" and "),
        home.display()
    );
    Ok(())
}
