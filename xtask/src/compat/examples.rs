//! `cargo xtask compat --examples`: every program of `examples/` against the built binary. Each must
//! end well, and say that it wrote three records and read the same three.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};

use super::Request;
use super::clients::{self, GO, JAVA, NODE, Need, PYTHON, compile_java, home, once, step};
use crate::jocko;
use crate::process::{Broker, guarded, on_path, tail};

/// How long one example may run, built.
const RUN_MAX: Duration = Duration::from_secs(60);
/// The same for the one that has three brokers start, die and recover.
const CLUSTER_MAX: Duration = Duration::from_secs(300);

/// One folder of `examples/`.
struct Example {
    name: &'static str,
    needs: &'static [Need],
    build: fn(&Path) -> Result<Command>,
}

const ALL: &[Example] = &[
    Example { name: "java", needs: JAVA, build: java },
    Example { name: "python", needs: PYTHON, build: python },
    Example { name: "sarama", needs: GO, build: |root| go(root, "sarama") },
    Example { name: "franz-go", needs: GO, build: |root| go(root, "franz-go") },
    Example { name: "node", needs: NODE, build: node },
    Example { name: "rust", needs: &[], build: rust },
];

/// Runs them all, or those that `--client` names.
pub(super) fn run(root: &Path, scratch: &Path, request: &Request) -> Result<()> {
    let is_wanted = |name: &str| {
        request.clients.is_empty() || request.clients.iter().any(|wanted| wanted == name)
    };
    let broker = jocko::start(root, &jocko::Options::new(scratch.join("data")))?;
    let mut failures = 0;
    for example in ALL.iter().filter(|example| is_wanted(example.name)) {
        let missing = clients::missing(example.needs);
        if !missing.is_empty() {
            ensure!(!request.require_all, "examples/{} needs {missing}", example.name);
            println!("SKIPPED examples/{}: needs {missing}", example.name);
            continue;
        }
        let command =
            (example.build)(root).with_context(|| format!("examples/{}", example.name))?;
        let log = scratch.join(format!("{}.log", example.name));
        // The second time the topic and the group are there already.
        let outcome = (0..2).try_for_each(|_| speak(command_again(&command, &broker), &log));
        failures += told(example.name, outcome, &log);
    }
    broker.stop()?;
    if is_wanted("cluster") && on_path("bash") {
        let log = scratch.join("cluster.log");
        let outcome = cluster(root, &log);
        failures += told("cluster", outcome, &log);
    }
    ensure!(
        failures == 0,
        "{failures} examples failed; what they said is in {}",
        scratch.display()
    );
    Ok(())
}

fn told(name: &str, outcome: Result<()>, log: &Path) -> usize {
    match outcome {
        Ok(()) => {
            println!("PASS examples/{name}");
            0
        }
        Err(reason) => {
            println!("FAIL examples/{name}: {reason:#}\n{}", tail(log));
            1
        }
    }
}

/// The same command for a broker.
fn command_again(command: &Command, broker: &Broker) -> Command {
    let mut again = Command::new(command.get_program());
    again.args(command.get_args()).arg(broker.bootstrap());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            again.env(name, value);
        }
    }
    again
}

/// Runs an example, and looks at what it says.
fn speak(command: Command, log: &Path) -> Result<()> {
    let said = finish(command, log, RUN_MAX)?;
    let count = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
    let (wrote, read) = (count("wrote partition 0, offset "), count("read hello "));
    ensure!((wrote, read) == (3, 3), "it wrote {wrote} records and read {read}, not 3 and 3");
    Ok(())
}

fn cluster(root: &Path, log: &Path) -> Result<()> {
    let mut command = guarded("bash");
    command.arg(root.join("examples/cluster/run.sh")).env("JOCKO", jocko::release_binary(root)?);
    let said = finish(command, log, CLUSTER_MAX)?;
    ensure!(said.contains("2000 read, 2000 different"), "it did not come to its end");
    Ok(())
}

/// Runs a command to its end, and returns what it said; all of it is in `log` too.
fn finish(mut command: Command, log: &Path, patience: Duration) -> Result<String> {
    let file = fs::File::create(log)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().context("cannot start it")?;
    let deadline = Instant::now() + patience;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("still running after {patience:?}");
        }
        thread::sleep(Duration::from_millis(20));
    };
    ensure!(status.success(), "it ended with {status}");
    Ok(String::from_utf8_lossy(&fs::read(log)?).into_owned())
}

fn source(root: &Path, name: &str) -> PathBuf {
    root.join("examples").join(name)
}

fn java(root: &Path) -> Result<Command> {
    let class_path = compile_java(root, "examples/java", "example-java")?;
    let mut command = guarded("java");
    command.args(["-Xmx256m", "-cp", &class_path, "dev.jocko.example.Example"]);
    Ok(command)
}

fn python(root: &Path) -> Result<Command> {
    let requirements = source(root, "python").join("requirements.txt");
    let python = clients::python_with(&home(root, "example-python"), &requirements)?;
    let mut command = guarded(&python.display().to_string());
    command.arg(source(root, "python").join("example.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

fn go(root: &Path, name: &str) -> Result<Command> {
    let program = home(root, "example-go").join(name);
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(".").current_dir(source(root, name));
    step(&mut build)?;
    Ok(guarded(&program.display().to_string()))
}

fn node(root: &Path) -> Result<Command> {
    let source = source(root, "node");
    let home = home(root, "example-node");
    let files = ["package.json", "package-lock.json", ".npmrc"];
    once(&home, &files.map(|name| source.join(name)), || {
        for name in files {
            fs::copy(source.join(name), home.join(name))?;
        }
        step(Command::new("npm").args(["ci", "--silent"]).current_dir(&home))
    })?;
    fs::copy(source.join("example.js"), home.join("example.js"))?;
    let mut command = guarded("node");
    command.arg(home.join("example.js"));
    Ok(command)
}

fn rust(root: &Path) -> Result<Command> {
    let home = home(root, "example-rust");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(source(root, "rust").join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&home);
    step(&mut build)?;
    Ok(guarded(&home.join("release/jocko-example").display().to_string()))
}
