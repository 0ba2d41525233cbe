//! Whether the replicas of a partition are the same, byte for byte.

use crate::faults::logs_of;
use anyhow::{Context, Result, ensure};
use jocko_testkit::Cluster;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Compared at a time.
const BLOCK_BYTES: usize = 1 << 20;

/// Compares the logs of a topic on all brokers, all of which have been stopped; what differs.
pub(crate) fn differences(cluster: &Cluster, topic: &str, count: usize) -> Result<Vec<String>> {
    // By partition's folder: the segments of each broker that has it.
    let mut replicas: BTreeMap<String, Vec<(usize, Vec<PathBuf>)>> = BTreeMap::new();
    for node in 0..cluster.len() {
        for path in logs_of(cluster.data_dir(node), topic)? {
            let folder = path.parent().and_then(|parent| parent.file_name());
            let folder = folder.context("a log in a folder")?.to_string_lossy().into_owned();
            // What was deleted is renamed, and goes later.
            if folder.contains('.') {
                continue;
            }
            let of_partition = replicas.entry(folder).or_default();
            match of_partition.last_mut() {
                Some((last, paths)) if *last == node => paths.push(path),
                _ => of_partition.push((node, vec![path])),
            }
        }
    }
    let mut differences = Vec::new();
    for (folder, of_partition) in replicas {
        if of_partition.len() != count {
            let nodes: Vec<usize> = of_partition.iter().map(|(node, _)| *node).collect();
            differences.push(format!("{folder} is on brokers {nodes:?}, not on {count}"));
        }
        let Some(((first, paths), others)) = of_partition.split_first() else { continue };
        for (other, other_paths) in others {
            if let Some(at) = first_difference(paths, other_paths)? {
                differences
                    .push(format!("{folder} of brokers {first} and {other} differ at byte {at}"));
            }
        }
    }
    Ok(differences)
}

/// Where two logs differ, over the bounds of their segments, which each broker sets for itself.
fn first_difference(one: &[PathBuf], other: &[PathBuf]) -> Result<Option<u64>> {
    let (mut one, mut other) = (chain(one)?, chain(other)?);
    let (mut first, mut second) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut at = 0;
    loop {
        let (got, also) = (fill(&mut one, &mut first)?, fill(&mut other, &mut second)?);
        let same = first[..got].iter().zip(&second[..also]).take_while(|(a, b)| a == b).count();
        if same < got.max(also) {
            return Ok(Some(at + u64::try_from(same)?));
        }
        if got < BLOCK_BYTES {
            return Ok(None);
        }
        at += u64::try_from(got)?;
    }
}

fn chain(paths: &[PathBuf]) -> Result<Box<dyn Read>> {
    ensure!(!paths.is_empty(), "a log without a segment");
    let mut all: Box<dyn Read> = Box::new(std::io::empty());
    for path in paths {
        all = Box::new(all.chain(File::open(path)?));
    }
    Ok(all)
}

fn fill(from: &mut dyn Read, block: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..])? {
            0 => break,
            got => filled += got,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_are_compared_over_the_bounds_of_segments() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let check = |one: &[&[u8]], other: &[&[u8]], expect| {
            let paths = |side: &str, parts: &[&[u8]]| -> Vec<PathBuf> {
                let numbered = parts.iter().enumerate();
                numbered.map(|(at, part)| write(&format!("{side}{at}"), part)).collect()
            };
            let found = first_difference(&paths("a", one), &paths("b", other)).unwrap();
            assert_eq!(found, expect, "{one:?} {other:?}");
        };
        check(&[b"abc"], &[b"abc"], None);
        check(&[b"ab", b"c"], &[b"a", b"bc"], None);
        check(&[b"abc"], &[b"abd"], Some(2));
        check(&[b"abc"], &[b"ab"], Some(2));
        check(&[b""], &[b"a"], Some(0));
        let large = vec![7; BLOCK_BYTES * 2];
        check(&[&large], &[&large[1..], &[7]], None);
        check(&[&large], &[&large[1..], &[8]], Some(BLOCK_BYTES as u64 * 2 - 1));
    }
}
