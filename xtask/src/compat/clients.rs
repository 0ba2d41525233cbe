//! The clients: what each needs on this machine, and how its program is built with the ordinary package managers into
//! `target/compat`. Lock files are committed, so a build is the same everywhere.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::kafka::jars;
use crate::process::{guarded, on_path};

/// One client library or tool.
#[derive(Debug)]
pub(super) struct Client {
    /// As it names itself, and as `--client` takes it.
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// Whether it takes part in `--smoke`: not those that are slow to build or to run.
    pub(super) smoke: bool,
    /// Why its program says nothing of some scenarios; otherwise it has to give a verdict on all.
    pub(super) lacks: Option<&'static str>,
    /// Programs it needs on the search path, each with the way to get it.
    pub(super) needs: &'static [Need],
    /// Builds its program and returns the command that runs it, without arguments.
    pub(super) build: fn(&Path) -> Result<Command>,
}

/// A program, and the line that says how to get it.
#[derive(Debug)]
pub(super) struct Need(&'static str, &'static str);

pub(super) const JAVA: &[Need] = &[
    Need("javac", "a JDK of 17 or later (Debian: apt-get install default-jdk-headless)"),
    Need("mvn", "Maven (Debian: apt-get install maven)"),
];
pub(super) const GO: &[Need] = &[Need("go", "Go 1.26 or later (Debian: apt-get install golang)")];
pub(super) const PYTHON: &[Need] =
    &[Need("python3", "Python 3.10 or later with venv (Debian: apt-get install python3-venv)")];
pub(super) const NODE: &[Need] = &[
    Need("node", "Node.js 20 or later (Debian: apt-get install nodejs)"),
    Need("npm", "npm (Debian: apt-get install npm)"),
];
const KCAT: &[Need] = &[
    Need("kcat", "kcat (Debian: apt-get install kcat)"),
    Need("bash", "bash (Debian: apt-get install bash)"),
];

pub(super) const ALL: &[Client] = &[
    Client {
        name: "kcat",
        about: "librdkafka's command line (C)",
        smoke: true,
        lacks: None,
        needs: KCAT,
        build: kcat,
    },
    Client {
        name: "java",
        about: "Kafka's own client (Java)",
        smoke: true,
        lacks: None,
        needs: JAVA,
        build: java,
    },
    Client {
        name: "java-tools",
        about: "Kafka's console tools (Java)",
        smoke: false,
        lacks: Some("the console tools do this in the table of tools, or have no such command"),
        needs: JAVA,
        build: java_tools,
    },
    Client {
        name: "confluent-kafka-python",
        about: "librdkafka's binding (Python)",
        smoke: true,
        lacks: None,
        needs: PYTHON,
        build: |root| python(root, "confluent.py"),
    },
    Client {
        name: "kafka-python",
        about: "written in Python",
        smoke: true,
        lacks: None,
        needs: PYTHON,
        build: |root| python(root, "kafka_python.py"),
    },
    Client {
        name: "franz-go",
        about: "kgo and kadm (Go)",
        smoke: true,
        lacks: None,
        needs: GO,
        build: |root| go(root, "franz-go"),
    },
    Client {
        name: "sarama",
        about: "IBM's client (Go)",
        smoke: true,
        lacks: None,
        needs: GO,
        build: |root| go(root, "sarama"),
    },
    Client {
        name: "kafka-go",
        about: "Segment's client (Go)",
        smoke: true,
        lacks: None,
        needs: GO,
        build: |root| go(root, "kafka-go"),
    },
    Client {
        name: "kafkajs",
        about: "written in JavaScript; it reads in groups only",
        smoke: true,
        lacks: None,
        needs: NODE,
        build: kafkajs,
    },
    Client {
        name: "rskafka",
        about: "written in Rust",
        smoke: false,
        lacks: Some("the client has no groups and no administration of them"),
        needs: &[],
        build: rskafka,
    },
];

/// Builds what can be built, and says in a line each what cannot and why. Returns the commands and the absent names.
pub(super) fn prepare(
    root: &Path,
    chosen: &[&'static Client],
) -> (Vec<(&'static Client, Command)>, Vec<&'static str>) {
    let (mut ready, mut absent) = (Vec::new(), Vec::new());
    for client in chosen {
        install_kcat(client);
        let missing = missing(client.needs);
        if !missing.is_empty() {
            println!("SKIPPED {}: needs {missing}", client.name);
            absent.push(client.name);
            continue;
        }
        match (client.build)(root) {
            Ok(command) => ready.push((*client, command)),
            Err(reason) => {
                println!("SKIPPED {}: {reason:#}", client.name);
                absent.push(client.name);
            }
        }
    }
    (ready, absent)
}

/// What is absent of these, and how to get it; empty if all is there.
pub(super) fn missing(needs: &[Need]) -> String {
    let absent = needs.iter().filter(|Need(program, _)| !on_path(program));
    let words: Vec<&str> = absent.map(|Need(_, how)| *how).collect();
    words.join(" and ")
}

/// kcat comes from the system's packages alone; where we may, we install it, else the reader is told how.
fn install_kcat(client: &Client) {
    let root_user =
        || Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.starts_with(b"0\n"));
    if client.name == "kcat" && !on_path("kcat") && on_path("apt-get") && root_user() {
        let apt = |arguments: &[&str]| {
            Command::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .stdin(Stdio::null())
                .output()
                .is_ok_and(|done| done.status.success())
        };
        let install = ["install", "-y", "-qq", "kcat"];
        // An old package list is refreshed once; if that fails too, kcat counts as absent.
        let _ = apt(&install) || (apt(&["update", "-qq"]) && apt(&install));
    }
}

pub(super) fn home(root: &Path, name: &str) -> PathBuf {
    root.join("target/compat").join(name)
}

/// Runs a build step and shows its words only where it fails.
pub(super) fn step(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        let last: Vec<&str> = words.lines().rev().take(8).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("{} ended with {}: {}", program.display(), done.status, last.join("\n"));
    }
    Ok(())
}

/// Runs `build` unless the files named had the same content at the last time it went well.
pub(super) fn once(
    home: &Path,
    inputs: &[PathBuf],
    build: impl FnOnce() -> Result<()>,
) -> Result<()> {
    fs::create_dir_all(home)?;
    let mut content = String::new();
    for file in inputs {
        content +=
            &fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    let stamp = home.join("built-from");
    if fs::read_to_string(&stamp).is_ok_and(|before| before == content) {
        return Ok(());
    }
    build()?;
    fs::write(&stamp, content)?;
    Ok(())
}

fn kcat(root: &Path) -> Result<Command> {
    let mut command = guarded("bash");
    command.arg(root.join("compat/kcat/scenarios.sh"));
    Ok(command)
}

/// Compiles a Java program against the jars that its pom names, and returns the class path to run it with.
pub(crate) fn compile_java(root: &Path, project: &str, name: &str) -> Result<String> {
    let project = root.join(project);
    let libraries = jars(root, &project.join("pom.xml"), name)?;
    let classes = home(root, name).join("classes");
    let mut sources = Vec::new();
    java_sources(&project.join("src/main/java"), &mut sources)?;
    sources.sort();
    once(&classes, &sources, || {
        step(
            Command::new("javac")
                .args(["--release", "17", "-nowarn", "-proc:none", "-cp", &libraries, "-d"])
                .arg(&classes)
                .args(&sources),
        )
    })?;
    Ok(format!("{}:{libraries}", classes.display()))
}

fn java_sources(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            java_sources(&path, found)?;
        } else if path.extension() == Some(OsStr::new("java")) {
            found.push(path);
        }
    }
    Ok(())
}

fn java_class(root: &Path, class: &str) -> Result<Command> {
    let class_path = compile_java(root, "compat/java", "java")?;
    let mut command = guarded("java");
    command.args(["-Xmx512m", "-cp", &class_path, class]);
    Ok(command)
}

fn java(root: &Path) -> Result<Command> {
    java_class(root, "dev.jocko.compat.Library")
}

fn java_tools(root: &Path) -> Result<Command> {
    java_class(root, "dev.jocko.compat.Tools")
}

fn python(root: &Path, program: &str) -> Result<Command> {
    let source = root.join("compat/python");
    let interpreter = python_with(&home(root, "python"), &source.join("requirements.txt"))?;
    let mut command = guarded(&interpreter.display().to_string());
    command.arg(source.join(program)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// An interpreter with these packages, in a folder of its own.
pub(super) fn python_with(home: &Path, requirements: &Path) -> Result<PathBuf> {
    let venv = home.join("venv");
    once(home, &[requirements.to_owned()], || {
        step(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
        step(
            Command::new(venv.join("bin/pip")).args(["install", "--quiet", "-r"]).arg(requirements),
        )
    })?;
    Ok(venv.join("bin/python"))
}

fn go(root: &Path, name: &str) -> Result<Command> {
    let program = home(root, "go").join(name);
    // Go knows by itself what is up to date.
    step(
        Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(format!("./{name}"))
            .current_dir(root.join("compat/go")),
    )?;
    Ok(guarded(&program.display().to_string()))
}

/// Builds a program and returns the command that runs it.
type Build = fn(&Path) -> Result<Command>;

/// The clients that write histories for `cargo xtask chaos`, and how their programs are built.
const HISTORIANS: [(&str, Build); 3] = [
    ("java", |root| java_class(root, "dev.jocko.compat.History")),
    ("franz-go", |root| go(root, "history")),
    ("confluent-kafka-python", |root| python(root, "history.py")),
];

/// The command that writes histories with a client, without its arguments; `Err` where its
/// toolchain is absent.
pub(crate) fn historian(root: &Path, name: &str) -> Result<Command> {
    let found = HISTORIANS.iter().find(|(client, _)| *client == name);
    let (_, build) = found.with_context(|| {
        let names: Vec<&str> = HISTORIANS.iter().map(|(client, _)| *client).collect();
        format!("{name} writes no history; kcat, {} do", names.join(", "))
    })?;
    let client = ALL.iter().find(|client| client.name == name);
    let needs = client.map_or(&[][..], |client| client.needs);
    let missing: Vec<&str> =
        needs.iter().filter(|Need(program, _)| !on_path(program)).map(|need| need.1).collect();
    anyhow::ensure!(missing.is_empty(), "{name} needs {}", missing.join(" and "));
    build(root)
}

fn kafkajs(root: &Path) -> Result<Command> {
    let source = root.join("compat/kafkajs");
    let home = home(root, "kafkajs");
    let files = ["package.json", "package-lock.json", ".npmrc"];
    once(&home, &files.map(|name| source.join(name)), || {
        for name in files {
            fs::copy(source.join(name), home.join(name))?;
        }
        step(Command::new("npm").args(["ci", "--silent"]).current_dir(&home))
    })?;
    // A module is looked for beside the program that asks for it.
    for name in ["scenarios.js", "groups.js"] {
        fs::copy(source.join(name), home.join(name))?;
    }
    let mut command = guarded("node");
    command.arg(home.join("scenarios.js"));
    Ok(command)
}

fn rskafka(root: &Path) -> Result<Command> {
    let home = home(root, "rskafka");
    step(
        Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
            .arg(root.join("compat/rskafka/Cargo.toml"))
            .arg("--target-dir")
            .arg(&home),
    )?;
    Ok(guarded(&home.join("release/jocko-compat-rskafka").display().to_string()))
}
