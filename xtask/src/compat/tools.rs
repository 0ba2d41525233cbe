//! `cargo xtask compat --tools`: Kafka's command line tools do what a script says, against jocko and against a real
//! Kafka, and say the same, save for what `compat/tools/differences.txt` declares with a reason.
//!
//! Outputs are compared line by line without regard to order, since the tools print from hash maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Request;
use super::clients::compile_java;
use super::runner::line_channel;
use crate::cluster::{Cluster, Kind};
use crate::kafka::{self, jars};
use crate::process::guarded;

/// One side's script may take so long.
const SCRIPT_MAX: Duration = Duration::from_secs(900);

/// What each step printed, by its name.
type Said = BTreeMap<String, Vec<String>>;

/// Lines that only one side printed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Apart {
    kafka: Vec<String>,
    jocko: Vec<String>,
}

/// A declared difference.
#[derive(Debug)]
struct Declared {
    step: String,
    kafka: Vec<String>,
    jocko: Vec<String>,
    /// Lines of either side that chance decides, one time this way and the next time that: they
    /// may be there or not.
    chance: Vec<String>,
    reason: String,
    /// Only where there are so many brokers.
    brokers: Option<usize>,
    /// Only where this script is run.
    script: Option<String>,
    /// Which of its lines were met.
    met: Vec<bool>,
}

/// The scripts, by how many brokers there are. Of several the short run asks only what is about several.
fn scripts(root: &Path, request: &Request) -> Vec<PathBuf> {
    let names: &[&str] = match (request.brokers, request.smoke) {
        (1, _) => &["script.txt"],
        (_, false) => &["script.txt", "several.txt"],
        (_, true) => &["several.txt"],
    };
    names.iter().map(|name| root.join("compat/tools").join(name)).collect()
}

/// Runs the scripts on both clusters, side by side, and compares.
///
/// # Errors
///
/// Where the tools said something else that is not declared, a declaration is out of date, or a broker does not start.
pub(super) fn run(root: &Path, home: &Path, request: &Request) -> Result<()> {
    if let Some(missing) = kafka::absent() {
        ensure!(!request.require_all, "the tools' table needs a real Kafka: {missing}");
        println!("SKIPPED the tools' table: a real Kafka {missing}");
        return Ok(());
    }
    let class_path = format!(
        "{}:{}",
        compile_java(root, "compat/java", "java")?,
        jars(root, &root.join("compat/kafka/pom.xml"), "kafka")?
    );
    let started = Instant::now();
    let scripts = scripts(root, request);
    let mut sides = Vec::new();
    for (name, kind) in [("kafka", Kind::Kafka), ("jocko", Kind::Jocko)] {
        let folder = home.join(format!("tools-{name}"));
        fs::create_dir_all(&folder)?;
        let brokers = super::brokers(root, &folder, request, kind)?;
        let script = start_script(root, &folder, &class_path, &brokers.bootstrap(), &scripts)?;
        sides.push((brokers, script, folder));
    }
    // Brokers that a script has restarted end with the thread that restarted them, so that stops them too.
    let said = thread::scope(|scope| {
        let playing: Vec<_> =
            sides.into_iter().map(|side| scope.spawn(move || play(side))).collect();
        let played = playing.into_iter().map(|side| match side.join() {
            Ok(said) => read(&said?),
            Err(_) => bail!("a side panicked"),
        });
        played.collect::<Result<Vec<Said>>>()
    })?;
    let [kafka, jocko] = said.as_slice() else { bail!("two sides were run") };
    let declared = parse(&fs::read_to_string(root.join("compat/tools/differences.txt"))?)?;
    let asked: BTreeSet<&str> =
        scripts.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let declared = declared.into_iter().filter(|entry| entry.holds(request.brokers, &asked));
    let (report, wrong) = compare(kafka, jocko, declared.collect());
    print!("{report}");
    println!("{} steps, {wrong} wrong, in {:.0} s", kafka.len(), started.elapsed().as_secs_f64());
    ensure!(
        wrong == 0,
        "the tools say something else of jocko; all they said is in {}",
        home.display()
    );
    Ok(())
}

/// What the tools said of one cluster, which is stopped then.
fn play((mut brokers, mut script, folder): (Cluster, Script, PathBuf)) -> Result<String> {
    let said = script.play(&mut brokers, &folder);
    brokers.stop()?;
    said
}

/// The program that runs the scripts. Dropping it kills it.
struct Script {
    child: Child,
    started: Instant,
}

impl Drop for Script {
    fn drop(&mut self) {
        // Both fail only where the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_script(
    root: &Path,
    folder: &Path,
    class_path: &str,
    bootstrap: &str,
    scripts: &[PathBuf],
) -> Result<Script> {
    for entry in fs::read_dir(root.join("compat/tools"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::copy(&path, folder.join(path.file_name().context("a file has a name")?))?;
        }
    }
    let child = guarded("java")
        .args(["-Dlog4j2.level=OFF", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", class_path])
        .args(["dev.jocko.compat.ToolScript", bootstrap])
        .arg(folder)
        .args(scripts)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(File::create(folder.join("stderr.txt"))?)
        .spawn()
        .context("cannot start java")?;
    Ok(Script { child, started: Instant::now() })
}

impl Script {
    /// Does what it asks for until it ends, and returns what it printed, which is in `folder` too.
    fn play(&mut self, brokers: &mut Cluster, folder: &Path) -> Result<String> {
        let mut input = self.child.stdin.take().context("the standard input is piped")?;
        let lines = line_channel(&mut self.child)?;
        let mut file = File::create(folder.join("said.txt"))?;
        let mut said = String::new();
        loop {
            match lines.recv_timeout(SCRIPT_MAX.saturating_sub(self.started.elapsed())) {
                Ok(line) => match line.strip_prefix("READY-FOR-") {
                    Some(wish) => {
                        serve(wish, brokers).with_context(|| format!("asked for {wish}"))?;
                        input.write_all(b"done\n")?;
                    }
                    None => {
                        writeln!(file, "{line}")?;
                        said.push_str(&line);
                        said.push('\n');
                    }
                },
                Err(RecvTimeoutError::Disconnected) => return Ok(said),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("the script of tools is still running after {} s", SCRIPT_MAX.as_secs())
                }
            }
        }
    }
}

/// What a script asks for: `STOP 3`, `KILL 3`, `START 3`.
fn serve(wish: &str, brokers: &mut Cluster) -> Result<()> {
    let (verb, number) = wish.split_once(' ').context("which broker?")?;
    let number = number.parse()?;
    match verb {
        "STOP" => brokers.stop_one(number),
        "KILL" => brokers.kill_one(number),
        "START" => brokers.start_one(number),
        _ => bail!("nobody knows how"),
    }
}

/// Splits what a script printed into its steps.
fn read(text: &str) -> Result<Said> {
    let mut said = Said::new();
    let mut step = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            step = name.to_owned();
            let before = said.insert(step.clone(), Vec::new());
            ensure!(before.is_none(), "two steps are named {step}");
        } else {
            said.entry(step.clone()).or_default().push(line.to_owned());
        }
    }
    ensure!(!said.is_empty(), "the script printed nothing");
    Ok(said)
}

fn parse(text: &str) -> Result<Vec<Declared>> {
    let mut all: Vec<Declared> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((mark, rest)) = line.split_once(' ').filter(|(mark, _)| mark.len() == 1) else {
            all.push(Declared {
                step: line.to_owned(),
                kafka: Vec::new(),
                jocko: Vec::new(),
                chance: Vec::new(),
                reason: String::new(),
                brokers: None,
                script: None,
                met: Vec::new(),
            });
            continue;
        };
        let entry = all.last_mut().context("a declaration begins with the name of a step")?;
        match mark {
            "-" => entry.kafka.push(rest.to_owned()),
            "+" => entry.jocko.push(rest.to_owned()),
            "~" => entry.chance.push(rest.to_owned()),
            "=" => entry.reason = rest.to_owned(),
            "?" => match rest.parse() {
                Ok(count) => entry.brokers = Some(count),
                Err(_) => entry.script = Some(rest.to_owned()),
            },
            other => bail!("a line of a declaration begins with {other}"),
        }
    }
    for entry in &mut all {
        ensure!(!entry.reason.is_empty(), "no reason is given for {}", entry.step);
        entry.met = vec![false; entry.kafka.len() + entry.jocko.len()];
    }
    Ok(all)
}

impl Declared {
    /// Whether it is about a run with so many brokers and these scripts.
    fn holds(&self, brokers: usize, scripts: &BTreeSet<&str>) -> bool {
        self.brokers.is_none_or(|only| only == brokers)
            && self.script.as_deref().is_none_or(|only| scripts.contains(only))
    }
}

/// The lines that each side has more often than the other.
fn apart(kafka: &[String], jocko: &[String]) -> Apart {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for line in kafka {
        *counts.entry(line).or_default() += 1;
    }
    for line in jocko {
        *counts.entry(line).or_default() -= 1;
    }
    let mut apart = Apart::default();
    for (line, count) in counts {
        let side = if count > 0 { &mut apart.kafka } else { &mut apart.jocko };
        side.extend((0..count.abs()).map(|_| line.to_owned()));
    }
    apart
}

/// What is to be said about the steps, and how many of them and of the declarations are wrong.
fn compare(kafka: &Said, jocko: &Said, mut declared: Vec<Declared>) -> (String, usize) {
    let (mut report, mut wrong) = (String::new(), 0);
    let none = Vec::new();
    let names: BTreeSet<&String> = kafka.keys().chain(jocko.keys()).collect();
    for name in names {
        // A line of the script that is ours has to work; it says something only where it does not.
        if name.starts_with('@') {
            wrong += 1;
            let lines = [kafka, jocko].map(|said| said.get(name).map_or("", |lines| &lines[0]));
            report += &format!("{name}\n- {}\n+ {}\n", lines[0], lines[1]);
            continue;
        }
        let mut apart = apart(kafka.get(name).unwrap_or(&none), jocko.get(name).unwrap_or(&none));
        for entry in declared.iter_mut().filter(|entry| matches(&entry.step, name)) {
            let (ours, theirs) = entry.met.split_at_mut(entry.kafka.len());
            strike(&mut apart.kafka, &entry.kafka, ours);
            strike(&mut apart.jocko, &entry.jocko, theirs);
            let mut by_chance = vec![false; entry.chance.len()];
            strike(&mut apart.kafka, &entry.chance, &mut by_chance);
            strike(&mut apart.jocko, &entry.chance, &mut by_chance);
        }
        if apart != Apart::default() {
            wrong += 1;
            report += &format!("{name}\n");
            report.extend(apart.kafka.iter().map(|line| format!("- {line}\n")));
            report.extend(apart.jocko.iter().map(|line| format!("+ {line}\n")));
        }
    }
    for entry in declared {
        let lines = entry.kafka.iter().chain(&entry.jocko);
        for (line, _) in lines.zip(&entry.met).filter(|(_, met)| !**met) {
            wrong += 1;
            report += &format!("declared for {} and not met: {line}\n", entry.step);
        }
    }
    (report, wrong)
}

/// Removes the lines that a declaration covers.
fn strike(lines: &mut Vec<String>, patterns: &[String], met: &mut [bool]) {
    lines.retain(|line| {
        let Some(found) = patterns.iter().position(|pattern| matches(pattern, line)) else {
            return true;
        };
        met[found] = true;
        false
    });
}

/// Whether a text is what a pattern says, where `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(step: &str, lines: &[&str]) -> Said {
        Said::from([(step.to_owned(), lines.iter().map(|&line| line.to_owned()).collect())])
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, wanted) in [
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*", "", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*a", "a", false),
            ("*b*", "abc", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn order_does_not_matter_and_counts_do() {
        let (report, wrong) = compare(&said("s", &["a", "b"]), &said("s", &["b", "a"]), Vec::new());
        assert_eq!((report.as_str(), wrong), ("", 0));
        let (report, wrong) = compare(&said("s", &["a", "a"]), &said("s", &["a", "c"]), Vec::new());
        assert_eq!((report.as_str(), wrong), ("s\n- a\n+ c\n", 1));
    }

    #[test]
    fn what_is_declared_passes_and_has_to_be_met() {
        let declared = || parse("s*\n- a *\n+ c\n= they differ\n").unwrap();
        let met = compare(&said("s1", &["a 1"]), &said("s1", &["c"]), declared());
        assert_eq!(met.1, 0, "{}", met.0);
        let not = compare(&said("s1", &["x"]), &said("s1", &["x"]), declared());
        assert_eq!(not.1, 2, "{}", not.0);
    }

    #[test]
    fn what_chance_decides_need_not_be_met() {
        let declared = || parse("s\n~ on *\n= it lies anywhere\n").unwrap();
        for (kafka, jocko, wrong) in [("on 1", "on 2", 0), ("on 1", "on 1", 0), ("on 1", "x", 1)] {
            let found = compare(&said("s", &[kafka]), &said("s", &[jocko]), declared());
            assert_eq!(found.1, wrong, "{}", found.0);
        }
    }

    #[test]
    fn a_declaration_needs_a_reason() {
        assert!(parse("step\n- a\n").is_err());
        assert!(parse("- a\n").is_err());
    }

    #[test]
    fn two_steps_of_one_name_are_refused() {
        assert!(read("=== a\nx\n=== a\n").is_err());
        assert_eq!(read("=== a\nx\n").unwrap(), said("a", &["x"]));
    }
}
