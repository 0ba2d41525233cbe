//! `cargo xtask diff`: a real Kafka and jocko side by side, the same raw requests to both, and
//! every difference that `crates/lab/diff/declared.toml` does not declare.

use crate::{jocko, kafka};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

const USAGE: &str = "usage: cargo xtask diff [--smoke] [--filter TEXT] [--self] [--require-all] \
                     [--binary PATH]";

/// What the command line asks for.
#[derive(Default)]
struct Options {
    /// Kafka in jocko's place too: shows that the comparison itself finds nothing.
    against_itself: bool,
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
    let theirs = kafka::Kafka::start(root, &kafka_options(&folder.path().join("kafka")))?;
    let ours: Side = if options.against_itself {
        let options = kafka_options(&folder.path().join("other-kafka"));
        Side::Kafka(kafka::Kafka::start(root, &options)?)
    } else {
        let mut options = jocko::Options::new(folder.path().join("jocko"));
        // As the Kafka beside it is told: scenarios of groups must not wait for more members.
        options.arguments = vec!["--groups-initial-rebalance-delay".into(), "0ms".into()];
        Side::Jocko(jocko::Jocko::start(root, &options)?)
    };
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "-p", "jocko-diff", "--"])
        .args(["--kafka", &theirs.bootstrap(), "--jocko", &ours.bootstrap()])
        .args(&options.passed_on)
        .current_dir(root)
        .status()
        .context("cannot run jocko-diff")?;
    ours.stop()?;
    theirs.stop()?;
    ensure!(status.success(), "jocko and Kafka differ");
    Ok(())
}

/// Kafka as it comes: its defaults are the settings that jocko has by default.
fn kafka_options(data_dir: &Path) -> kafka::Options {
    let mut options = kafka::Options::new(data_dir);
    options.heap_mib = 768;
    options
}

/// What stands in jocko's place.
enum Side {
    Jocko(jocko::Jocko),
    Kafka(kafka::Kafka),
}

impl Side {
    fn bootstrap(&self) -> String {
        match self {
            Self::Jocko(broker) => broker.bootstrap(),
            Self::Kafka(broker) => broker.bootstrap(),
        }
    }

    fn stop(self) -> Result<()> {
        match self {
            Self::Jocko(broker) => broker.stop(),
            Self::Kafka(broker) => broker.stop(),
        }
    }
}
