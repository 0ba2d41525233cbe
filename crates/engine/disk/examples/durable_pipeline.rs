//! Measures the durable pipeline: partitions append under their lock, one flusher makes everything
//! queued durable, producers wait. Prints the tables of docs/decisions/0005-durable-pipeline.md.
//!
//! `cargo run --release -p jocko-disk --example durable_pipeline [folder]`; about three minutes,
//! some 10 GB written in total, at most 512 MB at a time, in a temporary folder below
//! `folder` (default: the working folder), removed afterwards.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measuring tool, not the product")]

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use jocko_disk::{DiskRef, FileRef, Open, RealDisk};

const APPEND_BYTES: usize = 16 * 1024;
const CELL_TIME: Duration = Duration::from_millis(600);
const CELL_BYTES_MAX: u64 = 128 << 20;
const PRODUCERS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    Each,
    EachBy4,
    FileSystem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Growing,
    Reserved,
    Prewritten,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    dirty: usize,
    sync: Sync,
    files: Files,
    /// Somebody else dirties the same file system and never syncs.
    bystander: bool,
}

/// One partition: its file and where the next append goes.
struct Partition {
    log: Mutex<(FileRef, u64)>,
}

/// What the producers and the flusher share.
#[derive(Default)]
struct Rounds {
    state: Mutex<Queue>,
    work: Condvar,
    done: Condvar,
    stop: AtomicBool,
}

#[derive(Default)]
struct Queue {
    dirty: Vec<usize>,
    queued: Vec<bool>,
    /// Rounds taken by the flusher, and rounds that are durable.
    taken: u64,
    durable: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    append_p50_us: f64,
    append_p99_us: f64,
    round_p50_ms: f64,
    round_p99_ms: f64,
    rounds_per_s: f64,
    files_per_round: f64,
}

fn main() {
    let base = std::env::args().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let temporary = tempfile::tempdir_in(base).unwrap();
    let disk = RealDisk::shared();
    println!("{:>6} {:10} {:10} {}", "dirty", "sync", "files", HEAD);
    for dirty in [1, 2, 3, 4, 8, 50, 1000] {
        compare(&disk, temporary.path(), 3, &|sync| Cell {
            dirty,
            sync,
            files: Files::Growing,
            bystander: false,
        });
    }
    for files in [Files::Reserved, Files::Prewritten] {
        for dirty in [1, 50, 1000] {
            compare(&disk, temporary.path(), 3, &|sync| Cell {
                dirty,
                sync,
                files,
                bystander: false,
            });
        }
    }
    println!("with a bystander that dirties 16 MiB every 20 ms on the same file system:");
    for dirty in [1, 8, 50] {
        compare(&disk, temporary.path(), 3, &|sync| Cell {
            dirty,
            sync,
            files: Files::Growing,
            bystander: true,
        });
    }
}

const HEAD: &str = "append p50 us  p99 us | round p50 ms   p99 ms | rounds/s  files/round  files/s";

/// Runs all ways to sync in turn, several times, and prints the median of each figure.
fn compare(disk: &DiskRef, dir: &Path, times: usize, cell: &dyn Fn(Sync) -> Cell) {
    let ways = [Sync::Each, Sync::EachBy4, Sync::FileSystem];
    let mut seen: Vec<Vec<Figures>> = vec![Vec::new(); ways.len()];
    for _ in 0..times {
        for (way, figures) in ways.iter().zip(&mut seen) {
            figures.push(run(disk, dir, cell(*way)));
        }
    }
    for (way, figures) in ways.iter().zip(&seen) {
        let cell = cell(*way);
        let median = |of: fn(&Figures) -> f64| {
            let mut values: Vec<f64> = figures.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "{:>6} {:10} {:10} {:>13.1} {:>7.0} | {:>12.2} {:>8.1} | {:>8.0} {:>12.1} {:>8.0}",
            cell.dirty,
            format!("{:?}", cell.sync),
            format!("{:?}", cell.files),
            median(|f| f.append_p50_us),
            median(|f| f.append_p99_us),
            median(|f| f.round_p50_ms),
            median(|f| f.round_p99_ms),
            median(|f| f.rounds_per_s),
            median(|f| f.files_per_round),
            median(|f| f.rounds_per_s * f.files_per_round),
        );
    }
}

fn run(disk: &DiskRef, dir: &Path, cell: Cell) -> Figures {
    let dir = dir.join("cell");
    disk.create_dir_all(&dir).unwrap();
    let room = (CELL_BYTES_MAX / cell.dirty as u64).min(64 << 20);
    let partitions: Vec<Partition> = (0..cell.dirty)
        .map(|n| Partition { log: Mutex::new((create(disk, &dir, n, cell.files, room), 0)) })
        .collect();
    disk.sync_filesystem(&dir).unwrap();
    let rounds = Rounds::default();
    rounds.state.lock().unwrap().queued = vec![false; cell.dirty];
    let quiet = AtomicBool::new(false);
    let start = Instant::now();
    let (mut appends, mut flushes, files) = std::thread::scope(|scope| {
        let flusher = scope.spawn(|| flush_rounds(disk, &dir, cell.sync, &partitions, &rounds));
        if cell.bystander {
            scope.spawn(|| disturb(disk, &dir, &quiet));
        }
        let producers: Vec<_> = (0..PRODUCERS.min(cell.dirty))
            .map(|n| {
                let (partitions, rounds) = (&partitions, &rounds);
                scope.spawn(move || produce(n, partitions, rounds, room))
            })
            .collect();
        let appends: Vec<Duration> =
            producers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        rounds.stop.store(true, Ordering::SeqCst);
        quiet.store(true, Ordering::SeqCst);
        rounds.work.notify_all();
        let (flushes, files) = flusher.join().unwrap();
        (appends, flushes, files)
    });
    let elapsed = start.elapsed().as_secs_f64();
    drop(partitions);
    disk.remove_dir_all(&dir).unwrap();
    let count = flushes.len() as f64;
    Figures {
        append_p50_us: percentile(&mut appends, 50) * 1e6,
        append_p99_us: percentile(&mut appends, 99) * 1e6,
        round_p50_ms: percentile(&mut flushes, 50) * 1e3,
        round_p99_ms: percentile(&mut flushes, 99) * 1e3,
        rounds_per_s: count / elapsed,
        files_per_round: files as f64 / count,
    }
}

fn create(disk: &DiskRef, dir: &Path, n: usize, files: Files, room: u64) -> FileRef {
    let file = disk.open(&dir.join(format!("{n}.log")), Open::CreateNew).unwrap();
    match files {
        Files::Growing => {}
        Files::Reserved => file.reserve(room).unwrap(),
        Files::Prewritten => {
            let zeroes = vec![0; 128 * 1024];
            let mut at = 0;
            while at < room {
                file.write_at(&[IoSlice::new(&zeroes)], at).unwrap();
                at += zeroes.len() as u64;
            }
        }
    }
    file
}

/// Appends to its share of the partitions, cycle by cycle, with two cycles on their way.
fn produce(n: usize, partitions: &[Partition], rounds: &Rounds, room: u64) -> Vec<Duration> {
    let bytes = vec![7; APPEND_BYTES];
    let mine: Vec<usize> = (0..partitions.len()).filter(|p| p % PRODUCERS == n).collect();
    let start = Instant::now();
    let mut taken = Vec::new();
    let mut previous = 0;
    loop {
        let mut ticket = 0;
        for partition in &mine {
            let before = Instant::now();
            let mut log = partitions[*partition].log.lock().unwrap();
            if log.1 + APPEND_BYTES as u64 > room || start.elapsed() > CELL_TIME {
                drop(log);
                wait(rounds, ticket);
                return taken;
            }
            log.0.write_at(&[IoSlice::new(&bytes)], log.1).unwrap();
            log.1 += APPEND_BYTES as u64;
            drop(log);
            ticket = queue(rounds, *partition);
            taken.push(before.elapsed());
        }
        wait(rounds, previous);
        previous = ticket;
    }
}

/// Makes a partition due; returns the round that covers it.
fn queue(rounds: &Rounds, partition: usize) -> u64 {
    let mut state = rounds.state.lock().unwrap();
    let first = state.dirty.is_empty();
    if !state.queued[partition] {
        state.queued[partition] = true;
        state.dirty.push(partition);
    }
    let ticket = state.taken + 1;
    drop(state);
    if first {
        rounds.work.notify_one();
    }
    ticket
}

fn wait(rounds: &Rounds, ticket: u64) {
    let state = rounds.state.lock().unwrap();
    drop(rounds.done.wait_while(state, |state| state.durable < ticket).unwrap());
}

/// The flusher: takes all that is queued, syncs it, tells everybody; again at once.
fn flush_rounds(
    disk: &DiskRef,
    dir: &Path,
    sync: Sync,
    partitions: &[Partition],
    rounds: &Rounds,
) -> (Vec<Duration>, usize) {
    let mut times = Vec::new();
    let mut files = 0;
    loop {
        let mut state = rounds.state.lock().unwrap();
        while state.dirty.is_empty() {
            if rounds.stop.load(Ordering::SeqCst) {
                return (times, files);
            }
            state = rounds.work.wait_timeout(state, Duration::from_millis(20)).unwrap().0;
        }
        let dirty = std::mem::take(&mut state.dirty);
        state.taken += 1;
        let round = state.taken;
        for partition in &dirty {
            state.queued[*partition] = false;
        }
        drop(state);
        let handles: Vec<FileRef> =
            dirty.iter().map(|p| FileRef::clone(&partitions[*p].log.lock().unwrap().0)).collect();
        let before = Instant::now();
        match sync {
            Sync::Each => handles.iter().for_each(|file| file.sync_data().unwrap()),
            Sync::EachBy4 => std::thread::scope(|scope| {
                for share in handles.chunks(handles.len().div_ceil(4)) {
                    scope.spawn(|| share.iter().for_each(|file| file.sync_data().unwrap()));
                }
            }),
            Sync::FileSystem => disk.sync_filesystem(dir).unwrap(),
        }
        times.push(before.elapsed());
        files += dirty.len();
        rounds.state.lock().unwrap().durable = round;
        rounds.done.notify_all();
    }
}

/// Somebody else's writes on the same file system, never synced by them.
fn disturb(disk: &DiskRef, dir: &Path, quiet: &AtomicBool) {
    let file = disk.open(&dir.join("bystander"), Open::CreateNew).unwrap();
    let bytes = vec![1; 1 << 20];
    let mut at = 0;
    while !quiet.load(Ordering::SeqCst) {
        for _ in 0..16 {
            file.write_at(&[IoSlice::new(&bytes)], at).unwrap();
            at = (at + bytes.len() as u64) % (256 << 20);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// In seconds.
fn percentile(values: &mut [Duration], percent: usize) -> f64 {
    values.sort();
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).map_or(0.0, Duration::as_secs_f64)
}
