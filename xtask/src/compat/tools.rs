//! `cargo xtask compat --tools`: Kafka's command line tools do what a script says, against jocko and against a real
//! Kafka, and say the same, save for what `compat/tools/differences.txt` declares with a reason.
//!
//! Outputs are compared line by line without regard to order, since the tools print from hash maps.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Request;
use super::clients::compile_java;
use crate::cluster::Kind;
use crate::kafka::{self, guarded, jars};

/// One side's script may take so long.
const SCRIPT_MAX: Duration = Duration::from_secs(300);

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
    reason: String,
    /// Which of its lines were met.
    met: Vec<bool>,
}

/// Runs the script on both brokers, side by side, and compares.
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
    let mut sides = Vec::new();
    for (name, kind) in [("kafka", Kind::Kafka), ("jocko", Kind::Jocko)] {
        let folder = home.join(format!("tools-{name}"));
        fs::create_dir_all(&folder)?;
        let brokers = super::brokers(root, &folder, request, kind)?;
        let script = start_script(root, &folder, &class_path, &brokers.bootstrap())?;
        sides.push((brokers, script, folder));
    }
    let mut said = Vec::new();
    for (mut brokers, mut script, folder) in sides {
        wait(&mut script, started)?;
        brokers.stop()?;
        said.push(read(&fs::read_to_string(folder.join("said.txt"))?)?);
    }
    let (Some(jocko), Some(kafka)) = (said.pop(), said.pop()) else { bail!("two sides were run") };
    let declared = parse(&fs::read_to_string(root.join("compat/tools/differences.txt"))?)?;
    let (report, wrong) = compare(&kafka, &jocko, declared);
    print!("{report}");
    println!("{} steps, {wrong} wrong, in {:.0} s", kafka.len(), started.elapsed().as_secs_f64());
    ensure!(
        wrong == 0,
        "the tools say something else of jocko; all they said is in {}",
        home.display()
    );
    Ok(())
}

fn start_script(root: &Path, folder: &Path, class_path: &str, bootstrap: &str) -> Result<Child> {
    let source = root.join("compat/tools");
    for entry in fs::read_dir(&source)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::copy(&path, folder.join(path.file_name().context("a file has a name")?))?;
        }
    }
    guarded("java")
        .args(["-Dlog4j2.level=OFF", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", class_path])
        .args(["dev.jocko.compat.ToolScript", bootstrap])
        .arg(source.join("script.txt"))
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(File::create(folder.join("said.txt"))?)
        .stderr(File::create(folder.join("stderr.txt"))?)
        .spawn()
        .context("cannot start java")
}

fn wait(script: &mut Child, started: Instant) -> Result<()> {
    while script.try_wait()?.is_none() {
        if started.elapsed() > SCRIPT_MAX {
            script.kill()?;
            script.wait()?;
            bail!("the script of tools is still running after {} s", SCRIPT_MAX.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
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
                reason: String::new(),
                met: Vec::new(),
            });
            continue;
        };
        let entry = all.last_mut().context("a declaration begins with the name of a step")?;
        match mark {
            "-" => entry.kafka.push(rest.to_owned()),
            "+" => entry.jocko.push(rest.to_owned()),
            "=" => entry.reason = rest.to_owned(),
            other => bail!("a line of a declaration begins with {other}"),
        }
    }
    for entry in &mut all {
        ensure!(!entry.reason.is_empty(), "no reason is given for {}", entry.step);
        entry.met = vec![false; entry.kafka.len() + entry.jocko.len()];
    }
    Ok(all)
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
    let names: std::collections::BTreeSet<&String> = kafka.keys().chain(jocko.keys()).collect();
    for name in names {
        let mut apart = apart(kafka.get(name).unwrap_or(&none), jocko.get(name).unwrap_or(&none));
        for entry in declared.iter_mut().filter(|entry| matches(&entry.step, name)) {
            let (ours, theirs) = entry.met.split_at_mut(entry.kafka.len());
            strike(&mut apart.kafka, &entry.kafka, ours);
            strike(&mut apart.jocko, &entry.jocko, theirs);
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
