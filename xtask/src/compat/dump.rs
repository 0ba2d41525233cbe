//! Kafka's own dump tool over the files that the broker wrote: it must read all of them and complain of none.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::kafka;

/// The tool takes its files as one argument, whose length systems limit.
const FILES_PER_RUN: usize = 200;
/// What the tool prints where it finds something wrong; it ends with success all the same.
const COMPLAINTS: [&str; 8] = [
    "isvalid: false",
    "invalid",
    "mismatch",
    "Non-consecutive",
    "Exception",
    "corrupt",
    "Mismatches",
    "Unexpected",
];

/// Reads every log, index and producer snapshot below `data_dir`.
///
/// # Errors
///
/// Where the tool complains, or there is nothing to read.
pub(super) fn check(root: &Path, data_dir: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(data_dir, &mut files)?;
    ensure!(!files.is_empty(), "the broker left no log files in {}", data_dir.display());
    files.sort();
    for chunk in files.chunks(FILES_PER_RUN) {
        let names: Vec<String> = chunk.iter().map(|file| file.display().to_string()).collect();
        let done = kafka::tool(root, "org.apache.kafka.tools.DumpLogSegments")?
            .args(["--deep-iteration", "--verify-index-only", "--files", &names.join(",")])
            .output()
            .context("cannot start java")?;
        let printed = String::from_utf8_lossy(&done.stdout);
        let errors = String::from_utf8_lossy(&done.stderr);
        if !done.status.success() {
            bail!("Kafka's dump tool ended with {}: {}", done.status, errors.trim());
        }
        if let Some(complaint) = complaint(&printed).or_else(|| complaint(&errors)) {
            bail!("Kafka's dump tool complains about the broker's files: {complaint}");
        }
    }
    println!("Kafka's dump tool read {} of the broker's files without a complaint", files.len());
    Ok(())
}

/// The first line in which the tool says that something is wrong, with the name of the file before it.
fn complaint(printed: &str) -> Option<String> {
    let mut file = "";
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix("Dumping ") {
            file = name;
        }
        if COMPLAINTS.iter().any(|word| line.contains(word)) && !line.starts_with("Dumping ") {
            return Some(format!("{file}: {line}"));
        }
    }
    None
}

/// Files with content: an index that is empty says nothing, and Kafka's tool refuses some of those.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        let kind = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        if path.is_dir() {
            // A deleted partition waits for its removal under this name, with its indexes as they were.
            if !path.to_string_lossy().ends_with("-delete") {
                collect(&path, files)?;
            }
        } else if ["log", "index", "timeindex", "snapshot"].contains(&kind)
            && is_segment(&path)
            && path.metadata()?.len() > 0
        {
            files.push(path);
        }
    }
    Ok(())
}

/// Kafka's names are twenty digits; other files may share an extension.
fn is_segment(path: &Path) -> bool {
    path.file_stem()
        .and_then(OsStr::to_str)
        .is_some_and(|stem| stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_names_its_file() {
        let printed = "Dumping a/0.log\nbaseOffset: 0 isvalid: true\nDumping b/0.log\nbaseOffset: 0 isvalid: false\n";
        assert_eq!(complaint(printed).as_deref(), Some("b/0.log: baseOffset: 0 isvalid: false"));
        assert_eq!(complaint("Dumping a/0.log\nbaseOffset: 0 isvalid: true\n"), None);
    }

    #[test]
    fn only_twenty_digits_are_a_segment() {
        assert!(is_segment(Path::new("x/00000000000000000000.log")));
        assert!(!is_segment(Path::new("x/server.log")));
    }
}
