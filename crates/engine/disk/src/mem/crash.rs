//! What a machine finds after a crash.

use std::collections::{BTreeMap, BTreeSet};

use super::content::Content;
use super::dice::Dice;
use super::state::{DataChange, DirNode, FileNode, Ino, Name, Node, ROOT, State};

/// The unit in which devices write: a torn write breaks between two of these.
const SECTOR_BYTES: u64 = 512;

/// How the machine, or the process, went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process was killed. The page cache lives: all changes are seen, none more is durable.
    Process,
    /// As [`Crash::Process`]; the write during which the power limit was reached left its first
    /// half.
    ProcessMidWrite,
    /// The power went. What was synced is there, and of the rest what these say.
    Power(Survivors),
}

/// Which un-synced changes reached the medium before the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// The oldest `changes` of them and, if the next is a write, its first `torn_bytes` bytes.
    Prefix {
        /// Whole changes.
        changes: usize,
        /// Bytes of the next.
        torn_bytes: usize,
    },
    /// Any of them in any order, writes torn, sizes apart from bytes; the same for the same seed.
    Arbitrary {
        /// Names the outcome.
        seed: u64,
        /// Where writes break.
        tear: Tear,
    },
}

/// Where a torn write breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// Between two sectors of 512 bytes.
    Sector,
    /// Anywhere.
    Byte,
}

/// The state found after a crash.
pub(super) fn after(before: &State, how: Crash) -> State {
    let mut state = State {
        nodes: before.nodes.clone(),
        next_ino: before.next_ino,
        next_change: before.next_change,
        names: before.names.clone(),
        capacity: before.capacity,
        memory: before.memory.clone(),
        syncfs_supported: before.syncfs_supported,
        ..State::default()
    };
    for (_, file) in state.files_mut() {
        file.open = 0;
    }
    match how {
        Crash::Process => {}
        Crash::ProcessMidWrite => {
            if let Some((ino, change)) = &before.cut_write {
                add(&mut state, *ino, first_half(change));
            }
        }
        Crash::Power(survivors) => {
            if let (Survivors::Arbitrary { .. }, Some((ino, change))) =
                (survivors, &before.cut_write)
            {
                add(&mut state, *ino, change.clone());
            }
            settle(&mut state, survivors);
        }
    }
    state.recount();
    state
}

fn first_half(change: &DataChange) -> DataChange {
    match change {
        DataChange::Write { position, bytes } => {
            DataChange::Write { position: *position, bytes: bytes[..bytes.len() / 2].to_vec() }
        }
        DataChange::SetSize(size) => DataChange::SetSize(*size),
    }
}

fn add(state: &mut State, ino: Ino, change: DataChange) {
    let number = state.change_number();
    if let Some(Node::File(file)) = state.nodes.get_mut(&ino) {
        change.apply(&mut file.live);
        file.pending.push((number, change));
    }
}

/// Decides about every un-synced change; afterwards both pictures are the same.
fn settle(state: &mut State, survivors: Survivors) {
    let limit = match survivors {
        Survivors::Nothing => Some(0),
        Survivors::Everything => None,
        Survivors::Prefix { changes, .. } => nth_change(state, changes),
        Survivors::Arbitrary { .. } => None,
    };
    let mut dice = Dice::new(0);
    let mut keep_of_8 = 8;
    if let Survivors::Arbitrary { seed, .. } = survivors {
        dice = Dice::new(seed);
        // Nearly nothing, about half, nearly all: each finds other mistakes.
        keep_of_8 = [1, 4, 7][usize::try_from(dice.below(3)).expect("below three")];
    }
    let names = std::mem::take(&mut state.names);
    let mut lost: BTreeSet<Name> = BTreeSet::new();
    for (number, change) in &names {
        let kept = limit.is_none_or(|limit| *number < limit)
            && (keep_of_8 == 8 || dice.chance(keep_of_8, 8))
            && !change.touches().any(|name| lost.contains(name));
        if kept {
            state.apply_durable(change);
        } else {
            lost.extend(change.touches().cloned());
        }
    }
    for (_, file) in state.files_mut() {
        let pending = std::mem::take(&mut file.pending);
        match survivors {
            Survivors::Arbitrary { tear, .. } => {
                scatter(&mut file.durable, &pending, tear, keep_of_8, &mut dice);
            }
            Survivors::Prefix { torn_bytes, .. } => {
                let limit = limit.unwrap_or(u64::MAX);
                prefix(&mut file.durable, &pending, limit, torn_bytes);
            }
            Survivors::Nothing => {}
            Survivors::Everything => prefix(&mut file.durable, &pending, u64::MAX, 0),
        }
    }
    keep_reachable(state);
}

/// The number of the first un-synced change that is not among the oldest `changes`.
fn nth_change(state: &State, changes: usize) -> Option<u64> {
    let mut numbers: Vec<u64> = state.names.iter().map(|(number, _)| *number).collect();
    for node in state.nodes.values() {
        if let Node::File(file) = node {
            numbers.extend(file.pending.iter().map(|(number, _)| *number));
        }
    }
    numbers.sort_unstable();
    numbers.get(changes).copied()
}

/// Applies the changes before number `limit`, and a torn piece of change `limit` itself.
fn prefix(content: &mut Content, pending: &[(u64, DataChange)], limit: u64, torn_bytes: usize) {
    for (number, change) in pending {
        if *number < limit {
            change.apply(content);
        } else if *number == limit
            && let DataChange::Write { position, bytes } = change
        {
            content.write(&bytes[..torn_bytes.min(bytes.len())], *position);
        }
    }
}

/// Applies any part of the changes, in a way a journaling file system allows: sizes are cut in
/// order, and what lies beyond a cut that was lost is lost with it, since its blocks belong to a
/// later transaction.
fn scatter(
    content: &mut Content,
    pending: &[(u64, DataChange)],
    tear: Tear,
    keep_of_8: u64,
    dice: &mut Dice,
) {
    let mut beyond = u64::MAX;
    // How far the file may have shrunk at least, and grown at most.
    let (mut least, mut most) = (content.size(), content.size());
    for (_, change) in pending {
        let kept = dice.chance(keep_of_8, 8);
        match change {
            DataChange::SetSize(size) if *size < most => {
                if kept && beyond == u64::MAX {
                    content.set_size(*size);
                    least = least.min(*size);
                    most = *size;
                } else {
                    beyond = beyond.min(*size);
                }
            }
            DataChange::SetSize(size) => {
                let size = (*size).min(beyond);
                most = most.max(size);
                if kept && size > content.size() {
                    content.set_size(size);
                }
            }
            DataChange::Write { position, bytes } => {
                let room = usize::try_from(beyond.saturating_sub(*position)).unwrap_or(usize::MAX);
                let bytes = &bytes[..bytes.len().min(room)];
                if !bytes.is_empty() {
                    most = most.max(position + bytes.len() as u64);
                }
                if kept {
                    content.write(bytes, *position);
                } else {
                    tear_write(content, bytes, *position, tear, dice);
                }
            }
        }
    }
    match dice.below(4) {
        // The size was written, the bytes were not: a hole at the end.
        0 => content.set_size(content.size().max(most)),
        // The bytes were written, the size was not.
        1 if content.size() > least => {
            let size = least + dice.below(content.size() - least);
            let size = match tear {
                Tear::Byte => size,
                Tear::Sector => (size / SECTOR_BYTES * SECTOR_BYTES).max(least),
            };
            content.set_size(size);
        }
        _ => {}
    }
}

/// Applies a part of one write: none, its beginning, or some of its sectors.
fn tear_write(content: &mut Content, bytes: &[u8], position: u64, tear: Tear, dice: &mut Dice) {
    match dice.below(3) {
        0 => {}
        1 => {
            let len = bytes.len() as u64;
            let cut = dice.below(len + 1);
            let end = match tear {
                Tear::Byte => cut,
                Tear::Sector => {
                    let end = (position + cut) / SECTOR_BYTES * SECTOR_BYTES;
                    end.saturating_sub(position).min(len)
                }
            };
            let end = usize::try_from(end).expect("within the write");
            content.write(&bytes[..end], position);
        }
        _ => {
            let mut rest = bytes;
            let mut at = position;
            while !rest.is_empty() {
                let room = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).expect("a sector");
                let (sector, others) = rest.split_at(room.min(rest.len()));
                if dice.chance(1, 2) {
                    content.write(sector, at);
                }
                at += sector.len() as u64;
                rest = others;
            }
        }
    }
}

/// Starts both pictures from what the medium holds; what has no name any more is gone.
fn keep_reachable(state: &mut State) {
    let mut old = std::mem::take(&mut state.nodes);
    let mut kept = BTreeMap::new();
    let mut look = vec![ROOT];
    while let Some(ino) = look.pop() {
        let node = match old.remove(&ino) {
            Some(Node::Dir(dir)) => {
                look.extend(dir.durable.values());
                Node::Dir(DirNode { live: dir.durable.clone(), durable: dir.durable })
            }
            Some(Node::File(file)) => Node::File(FileNode {
                live: file.durable.clone(),
                durable: file.durable,
                linked: true,
                cold: file.cold,
                ..FileNode::default()
            }),
            None => continue,
        };
        kept.insert(ino, node);
    }
    state.nodes = kept;
}
