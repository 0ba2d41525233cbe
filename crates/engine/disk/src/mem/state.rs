//! Both pictures of the disk, what separates them, and the calls on the bytes of files. Names are
//! in [`super::tree`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::content::{BLOCK_BYTES, Content, blocks_for};
use super::fault;
use super::inject::{self, Inject, Memory, Operation, Residency, Struck};
use crate::{DiskFault, Result, Space};

/// The number of a file or folder; names point at it.
pub(super) type Ino = u64;
/// The folder all paths start from.
pub(super) const ROOT: Ino = 0;

/// A change to the bytes of a file.
#[derive(Debug, Clone)]
pub(super) enum DataChange {
    Write { position: u64, bytes: Vec<u8> },
    SetSize(u64),
}

impl DataChange {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { position, bytes } => content.write(bytes, *position),
            Self::SetSize(size) => content.set_size(*size),
        }
    }
}

/// A change to the names in folders.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Link { at: Name, ino: Ino },
    Unlink { at: Name },
    Rename { from: Name, to: Name, ino: Ino },
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) dir: Ino,
    pub(super) name: String,
}

/// A file: what programs see, what the medium holds, and the changes between the two.
#[derive(Debug, Clone, Default)]
pub(super) struct FileNode {
    pub(super) live: Content,
    pub(super) durable: Content,
    /// With the number of the change, counted over the whole disk.
    pub(super) pending: Vec<(u64, DataChange)>,
    pub(super) reserved_blocks: u64,
    pub(super) open: u32,
    pub(super) linked: bool,
    pub(super) cold: bool,
    /// A sync of the file system lost bytes of this file, and nobody has asked the file itself:
    /// its next own sync reports it, as open files do on Linux.
    pub(super) unreported: bool,
}

impl FileNode {
    /// Blocks taken by this file.
    fn charge(&self) -> u64 {
        self.reserved_blocks + self.live.blocks_from(self.reserved_blocks)
    }

    pub(super) fn sync(&mut self) {
        for (_, change) in self.pending.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// Fails to write back: the bytes are marked clean, which loses them.
    pub(super) fn lose(&mut self) {
        self.unreported |= !self.pending.is_empty();
        self.pending.clear();
    }
}

/// A folder: the names programs see, and those on the medium.
#[derive(Debug, Clone, Default)]
pub(super) struct DirNode {
    pub(super) live: BTreeMap<String, Ino>,
    pub(super) durable: BTreeMap<String, Ino>,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    File(FileNode),
    Dir(DirNode),
}

/// When the power goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Power {
    pub(super) cut: bool,
    /// Changes until then, if it will.
    pub(super) left: Option<u64>,
}

/// The whole disk.
#[derive(Debug)]
pub(super) struct State {
    pub(super) nodes: BTreeMap<Ino, Node>,
    pub(super) next_ino: Ino,
    pub(super) next_change: u64,
    pub(super) names: Vec<(u64, NameChange)>,
    pub(super) capacity: Option<u64>,
    pub(super) used_blocks: u64,
    pub(super) operations: u64,
    /// Those of them that were syncs.
    pub(super) syncs: u64,
    pub(super) power: Power,
    /// The write during which the power went.
    pub(super) cut_write: Option<(Ino, DataChange)>,
    pub(super) injections: Vec<Inject>,
    pub(super) memory: Memory,
    pub(super) syncfs_supported: bool,
    /// A file failed to sync since the last sync of the file system, which will report it.
    pub(super) unreported: bool,
    pub(super) locks: BTreeSet<Ino>,
    pub(super) unlinked: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Dir(DirNode::default()))]),
            next_ino: ROOT + 1,
            next_change: 0,
            names: Vec::new(),
            capacity: None,
            used_blocks: 0,
            operations: 0,
            syncs: 0,
            power: Power::default(),
            cut_write: None,
            injections: Vec::new(),
            memory: Memory::default(),
            syncfs_supported: true,
            unreported: false,
            locks: BTreeSet::new(),
            unlinked: 0,
        }
    }
}

/// What a call is, for faults and the power limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) operation: Operation,
    /// As in [`DiskFault::operation`].
    pub(super) verb: &'static str,
}

impl State {
    fn powered(&self, verb: &'static str, path: &Path) -> Result<()> {
        if self.power.cut {
            return Err(DiskFault::new(verb, path, io::Error::other("the power is off")));
        }
        Ok(())
    }

    /// Lets a call through that changes nothing.
    pub(super) fn admit_look(&mut self, call: Call, path: &Path) -> Result<()> {
        self.powered(call.verb, path)?;
        match self.strike(call.operation, path) {
            Some(struck) => Err(DiskFault::new(call.verb, path, struck.error)),
            None => Ok(()),
        }
    }

    /// Counts a change, or cuts the power before it.
    pub(super) fn spend(&mut self, verb: &'static str, path: &Path) -> Result<()> {
        self.powered(verb, path)?;
        if self.power.left == Some(0) {
            self.power.cut = true;
            return self.powered(verb, path);
        }
        self.power.left = self.power.left.map(|left| left - 1);
        self.operations += 1;
        // A file, a folder or the file system: all three verbs begin so.
        self.syncs += u64::from(verb.starts_with("sync"));
        Ok(())
    }

    /// Lets a call through that changes something.
    pub(super) fn admit_change(&mut self, call: Call, path: &Path) -> Result<()> {
        self.spend(call.verb, path)?;
        match self.strike(call.operation, path) {
            Some(struck) => Err(DiskFault::new(call.verb, path, struck.error)),
            None => Ok(()),
        }
    }

    pub(super) fn strike(&mut self, operation: Operation, path: &Path) -> Option<Struck> {
        inject::strike(&mut self.injections, operation, path)
    }

    pub(super) fn must_be_writable(
        &self,
        verb: &'static str,
        path: &Path,
        writable: bool,
    ) -> Result<()> {
        if writable { Ok(()) } else { Err(fault(verb, path, io::ErrorKind::PermissionDenied)) }
    }

    pub(super) fn change_number(&mut self) -> u64 {
        self.next_change += 1;
        self.next_change
    }

    /// The file behind a handle. A handle keeps its file, so it is there.
    fn file(&self, ino: Ino) -> &FileNode {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => file,
            _ => unreachable!("a handle points at a file"),
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> &mut FileNode {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => file,
            _ => unreachable!("a handle points at a file"),
        }
    }

    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = (Ino, &mut FileNode)> {
        self.nodes.iter_mut().filter_map(|(ino, node)| match node {
            Node::File(file) => Some((*ino, file)),
            Node::Dir(_) => None,
        })
    }

    pub(super) fn unsynced(&self) -> usize {
        let data = self.nodes.values().map(|node| match node {
            Node::File(file) => file.pending.len(),
            Node::Dir(_) => 0,
        });
        data.sum::<usize>() + self.names.len()
    }

    fn room_blocks(&self) -> u64 {
        match self.capacity {
            Some(capacity) => (capacity / BLOCK_BYTES).saturating_sub(self.used_blocks),
            None => u64::MAX,
        }
    }

    pub(super) fn space(&mut self, dir: &Path) -> Result<Space> {
        self.admit_look(Call { operation: Operation::List, verb: "measure" }, dir)?;
        self.find(dir, "measure")?;
        let total = self.capacity.unwrap_or(1 << 50);
        Ok(Space { total, free: total.saturating_sub(self.used_blocks * BLOCK_BYTES) })
    }

    /// Counts the used blocks anew, after a crash or a lost cache.
    pub(super) fn recount(&mut self) {
        self.used_blocks = self
            .nodes
            .values()
            .map(|node| match node {
                Node::File(file) if file.linked || file.open > 0 => file.charge(),
                Node::File(_) | Node::Dir(_) => 0,
            })
            .sum();
    }

    pub(super) fn close(&mut self, ino: Ino) {
        let file = self.file_mut(ino);
        file.open -= 1;
        if !file.linked && file.open == 0 {
            let charge = file.charge();
            self.used_blocks -= charge;
        }
    }

    /// Takes the name away from a file; its room comes back once nobody has it open.
    pub(super) fn unlinked(&mut self, ino: Ino) {
        self.unlinked += 1;
        if let Some(Node::File(file)) = self.nodes.get_mut(&ino) {
            file.linked = false;
            if file.open == 0 {
                let charge = file.charge();
                self.used_blocks -= charge;
            }
        }
    }

    pub(super) fn size(&mut self, ino: Ino, path: &Path) -> Result<u64> {
        self.powered("measure", path)?;
        Ok(self.file(ino).live.size())
    }

    pub(super) fn read(
        &mut self,
        ino: Ino,
        path: &Path,
        buf: &mut [u8],
        position: u64,
    ) -> Result<usize> {
        self.admit_look(Call { operation: Operation::Read, verb: "read" }, path)?;
        let file = self.file_mut(ino);
        file.cold = false;
        Ok(file.live.read(buf, position))
    }

    pub(super) fn read_resident(
        &mut self,
        ino: Ino,
        path: &Path,
        buf: &mut [u8],
        position: u64,
    ) -> Result<Option<usize>> {
        self.admit_look(Call { operation: Operation::Read, verb: "read" }, path)?;
        if buf.is_empty() {
            return Ok(Some(0));
        }
        if self.file(ino).cold {
            return Ok(None);
        }
        let wanted = buf.len();
        let Some(found) = self.memory.found(wanted) else { return Ok(None) };
        Ok(Some(self.file(ino).live.read(&mut buf[..found.min(wanted)], position)))
    }

    pub(super) fn write(
        &mut self,
        ino: Ino,
        path: &Path,
        mut bytes: Vec<u8>,
        position: u64,
    ) -> Result<()> {
        if bytes.is_empty() {
            return self.powered("write", path);
        }
        if position.checked_add(bytes.len() as u64).is_none() {
            return Err(fault("write", path, io::ErrorKind::FileTooLarge));
        }
        let was_cut = self.power.cut;
        if let Err(off) = self.spend("write", path) {
            if !was_cut {
                self.cut_write = Some((ino, DataChange::Write { position, bytes }));
            }
            return Err(off);
        }
        let mut outcome = Ok(());
        if let Some(struck) = self.strike(Operation::Write, path) {
            bytes.truncate(struck.keep_bytes);
            outcome = Err(DiskFault::new("write", path, struck.error));
        }
        let (fits, blocks) = self.fitting(ino, bytes.len(), position);
        if fits < bytes.len() {
            bytes.truncate(fits);
            outcome = Err(fault("write", path, io::ErrorKind::StorageFull));
        }
        if !bytes.is_empty() {
            self.used_blocks += blocks;
            self.change_data(ino, DataChange::Write { position, bytes });
        }
        outcome
    }

    /// How many of `len` bytes at `position` find room, and how many new blocks they take.
    fn fitting(&self, ino: Ino, len: usize, position: u64) -> (usize, u64) {
        let file = self.file(ino);
        let end = position + len as u64;
        let room = self.room_blocks();
        let mut taken = 0;
        for block in position / BLOCK_BYTES..blocks_for(end) {
            if block < file.reserved_blocks || file.live.has_block(block) {
                continue;
            }
            if taken == room {
                let fits = (block * BLOCK_BYTES).saturating_sub(position);
                return (usize::try_from(fits).expect("less than the length"), taken);
            }
            taken += 1;
        }
        (len, taken)
    }

    fn change_data(&mut self, ino: Ino, change: DataChange) {
        let number = self.change_number();
        let file = self.file_mut(ino);
        change.apply(&mut file.live);
        file.pending.push((number, change));
    }

    pub(super) fn set_size(&mut self, ino: Ino, path: &Path, size: u64) -> Result<()> {
        self.admit_change(Call { operation: Operation::SetSize, verb: "set size" }, path)?;
        let before = self.file(ino).charge();
        self.change_data(ino, DataChange::SetSize(size));
        let file = self.file_mut(ino);
        // Cutting a file gives its reserved blocks back, too.
        file.reserved_blocks = file.reserved_blocks.min(blocks_for(size));
        let after = file.charge();
        // Extending takes no room: what was never written is a hole.
        self.used_blocks -= before - after;
        Ok(())
    }

    pub(super) fn reserve(&mut self, ino: Ino, path: &Path, size: u64) -> Result<()> {
        self.admit_change(Call { operation: Operation::Reserve, verb: "reserve" }, path)?;
        let file = self.file(ino);
        let wanted = blocks_for(size);
        let missing = wanted.saturating_sub(file.reserved_blocks)
            - file.live.blocks_between(file.reserved_blocks, wanted);
        if missing > self.room_blocks() {
            return Err(fault("reserve", path, io::ErrorKind::StorageFull));
        }
        self.used_blocks += missing;
        let file = self.file_mut(ino);
        file.reserved_blocks = file.reserved_blocks.max(wanted);
        Ok(())
    }

    pub(super) fn sync_data(&mut self, ino: Ino, path: &Path) -> Result<()> {
        const VERB: &str = "sync";
        self.spend(VERB, path)?;
        let struck = self.strike(Operation::Sync, path);
        let file = self.file_mut(ino);
        if let Some(struck) = struck {
            // It is lost, and nobody says so again, except once to who syncs the file system.
            file.pending.clear();
            self.unreported = true;
            return Err(DiskFault::new(VERB, path, struck.error));
        }
        file.sync();
        if std::mem::take(&mut file.unreported) {
            let error = io::Error::other("input/output error (of an earlier write-back)");
            return Err(DiskFault::new(VERB, path, error));
        }
        Ok(())
    }

    pub(super) fn flip_bit(&mut self, path: &Path, position: u64, bit: u8) -> Result<()> {
        let ino = self.find_file(path, "flip a bit")?;
        let file = self.file_mut(ino);
        if !file.live.flip(position, bit) {
            return Err(fault("flip a bit", path, io::ErrorKind::UnexpectedEof));
        }
        file.durable.flip(position, bit);
        for (_, change) in &mut file.pending {
            if let DataChange::Write { position: start, bytes } = change
                && let Some(inside) = position.checked_sub(*start)
                && let Ok(inside) = usize::try_from(inside)
                && let Some(byte) = bytes.get_mut(inside)
            {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }

    pub(super) fn set_residency(&mut self, residency: Residency) {
        self.memory = Memory::new(residency);
    }

    pub(super) fn cool(&mut self, path: &Path) -> Result<()> {
        let ino = self.find_file(path, "cool")?;
        self.file_mut(ino).cold = true;
        Ok(())
    }

    pub(super) fn write_back(&mut self) {
        for (_, file) in self.files_mut() {
            file.sync();
        }
        self.sync_names(|_| true);
    }

    pub(super) fn drop_caches(&mut self) {
        for (_, file) in self.files_mut() {
            let mut content = file.durable.clone();
            for (_, change) in &file.pending {
                change.apply(&mut content);
            }
            file.live = content;
            file.reserved_blocks = file.reserved_blocks.min(blocks_for(file.live.size()));
        }
        self.recount();
    }

    pub(super) fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let ino = self.find_file(path, "read").ok()?;
        Some(whole(&self.file(ino).live))
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.file_paths()
            .into_iter()
            .map(|(path, ino)| (path, whole(&self.file(ino).live)))
            .collect()
    }
}

fn whole(content: &Content) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(content.size()).expect("a test file fits in memory")];
    content.read(&mut bytes, 0);
    bytes
}
