//! `cargo xtask diff`: a real Kafka and jocko side by side, the same raw requests to both, and
//! every difference that `crates/lab/diff/declared.toml` does not declare.

use crate::cluster::{self, Cluster, Kind};
use crate::{jocko, kafka};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const USAGE: &str = "usage: cargo xtask diff [--smoke] [--filter TEXT] [--self] [--require-all] \
                     [--binary PATH] [--brokers 1|3]";

/// What the command line asks for.
#[derive(Default)]
struct Options {
    /// Kafka in jocko's place too: shows that the comparison itself finds nothing.
    against_itself: bool,
    /// Three brokers on each side, and the scenarios about three.
    are_several: bool,
    /// Fail, not skip, where there is no Kafka to be had.
    require_all: bool,
    /// For the comparing binary.
    passed_on: Vec<String>,
}

fn parse(arguments: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--self" => {
                options.against_itself = true;
                options.passed_on.push("--bare".to_owned());
            }
            "--require-all" => options.require_all = true,
            "--smoke" => options.passed_on.push(argument.clone()),
            "--binary" => {
                // Instead of building one.
                jocko::use_binary(Path::new(arguments.next().context(USAGE)?))?;
            }
            "--brokers" => match arguments.next().context(USAGE)?.as_str() {
                "1" => options.are_several = false,
                "3" => options.are_several = true,
                _ => bail!("{USAGE}"),
            },
            "--filter" => {
                let text = arguments.next().context(USAGE)?;
                options.passed_on.extend([argument.clone(), text.clone()]);
            }
            _ => bail!("{USAGE}"),
        }
    }
    Ok(options)
}

/// Starts both brokers on data of their own, compares, stops them.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<()> {
    let options = parse(arguments)?;
    if let Some(missing) = kafka::absent() {
        ensure!(!options.require_all, "the comparison with Kafka {missing}");
        println!("skipped: the comparison with Kafka {missing}");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let cluster = |name: &str, kind: Kind| {
        let brokers = if options.are_several { 3 } else { 1 };
        let options = cluster::Options {
            kind,
            brokers,
            data_dir: folder.path().join(name),
            // As the Kafka beside it is told: scenarios of groups must not wait for more members.
            arguments: vec!["--groups-initial-rebalance-delay".into(), "0ms".into()],
            // Kafka as it comes: its defaults are the settings that jocko has by default.
            overrides: Vec::new(),
            heap_mib: if options.are_several { 512 } else { 768 },
        };
        Cluster::start(root, &options)
    };
    let mut theirs = cluster("kafka", Kind::Kafka)?;
    let mut ours = if options.against_itself {
        cluster("other-kafka", Kind::Kafka)?
    } else {
        cluster("jocko", Kind::Jocko)?
    };
    let mut are_equal = compare(root, &options, &theirs, &ours, &[])?;
    if options.are_several {
        println!("and without the third:");
        theirs.stop_one(AWAY)?;
        ours.stop_one(AWAY)?;
        for cluster in [&theirs, &ours] {
            cluster.wait_until_gone(AWAY)?;
        }
        let away = ["--away".to_owned(), AWAY.to_string()];
        are_equal &= compare(root, &options, &theirs, &ours, &away)?;
    }
    ours.stop()?;
    theirs.stop()?;
    ensure!(are_equal, "jocko and Kafka differ");
    Ok(())
}

/// The broker that is stopped for what is asked without it.
const AWAY: usize = 3;

/// Runs the comparing binary, and says whether it found no difference.
fn compare(
    root: &Path,
    options: &Options,
    theirs: &Cluster,
    ours: &Cluster,
    more: &[String],
) -> Result<bool> {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "-p", "jocko-diff", "--"])
        .args(["--kafka", &theirs.bootstrap(), "--jocko", &ours.bootstrap()])
        .args(&options.passed_on)
        .args(more)
        .current_dir(root);
    if options.are_several {
        command.arg("--several");
    }
    Ok(command.status().context("cannot run jocko-diff")?.success())
}
