//! Names: opening, renaming, removing, and what a folder sync makes durable.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::fault;
use super::inject::Operation;
use super::state::{Call, DirNode, FileNode, Ino, Name, NameChange, Node, ROOT, State};
use crate::{DiskFault, Entry, Open, Result};

/// Removed files are forgotten for good once this many have gathered.
const UNLINKED_MAX: usize = 256;

impl NameChange {
    /// The names this change touches; changes that share one keep their order.
    pub(super) fn touches(&self) -> impl Iterator<Item = &Name> {
        let (first, second) = match self {
            Self::Link { at, .. } | Self::Unlink { at } => (at, None),
            Self::Rename { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn ino(&self) -> Option<Ino> {
        match self {
            Self::Link { ino, .. } | Self::Rename { ino, .. } => Some(*ino),
            Self::Unlink { .. } => None,
        }
    }
}

/// The parts of a path. The root and `.` add nothing.
fn parts<'a>(path: &'a Path, verb: &'static str) -> Result<Vec<&'a str>> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => match name.to_str() {
                Some(name) => parts.push(name),
                None => return Err(fault(verb, path, io::ErrorKind::InvalidFilename)),
            },
            Component::ParentDir | Component::Prefix(_) => {
                return Err(fault(verb, path, io::ErrorKind::InvalidInput));
            }
        }
    }
    Ok(parts)
}

impl State {
    fn dir(&self, ino: Ino) -> Option<&DirNode> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Some(dir),
            _ => None,
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> &mut DirNode {
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir(dir)) => dir,
            _ => unreachable!("looked up as a folder before"),
        }
    }

    fn is_dir(&self, ino: Ino) -> bool {
        self.dir(ino).is_some()
    }

    fn walk(&self, parts: &[&str], path: &Path, verb: &'static str) -> Result<Ino> {
        let mut at = ROOT;
        for part in parts {
            let dir =
                self.dir(at).ok_or_else(|| fault(verb, path, io::ErrorKind::NotADirectory))?;
            at = *dir.live.get(*part).ok_or_else(|| fault(verb, path, io::ErrorKind::NotFound))?;
        }
        Ok(at)
    }

    /// What has this name.
    pub(super) fn find(&self, path: &Path, verb: &'static str) -> Result<Ino> {
        self.walk(&parts(path, verb)?, path, verb)
    }

    fn find_dir(&self, path: &Path, verb: &'static str) -> Result<Ino> {
        let ino = self.find(path, verb)?;
        if self.is_dir(ino) {
            Ok(ino)
        } else {
            Err(fault(verb, path, io::ErrorKind::NotADirectory))
        }
    }

    pub(super) fn find_file(&self, path: &Path, verb: &'static str) -> Result<Ino> {
        let ino = self.find(path, verb)?;
        if self.is_dir(ino) { Err(fault(verb, path, io::ErrorKind::IsADirectory)) } else { Ok(ino) }
    }

    /// The folder and the last part of a path; the folder must exist.
    fn place(&self, path: &Path, verb: &'static str) -> Result<Name> {
        let mut parts = parts(path, verb)?;
        let name = parts.pop().ok_or_else(|| fault(verb, path, io::ErrorKind::InvalidInput))?;
        let dir = self.walk(&parts, path, verb)?;
        if !self.is_dir(dir) {
            return Err(fault(verb, path, io::ErrorKind::NotADirectory));
        }
        Ok(Name { dir, name: name.to_owned() })
    }

    fn at(&self, name: &Name) -> Option<Ino> {
        self.dir(name.dir)?.live.get(&name.name).copied()
    }

    fn change_names(&mut self, change: NameChange) {
        apply(&change, |name, ino| {
            let live = &mut self.dir_mut(name.dir).live;
            match ino {
                Some(ino) => live.insert(name.name.clone(), ino),
                None => live.remove(&name.name),
            };
        });
        let number = self.change_number();
        self.names.push((number, change));
    }

    fn create(&mut self, at: Name, node: Node) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.nodes.insert(ino, node);
        self.change_names(NameChange::Link { at, ino });
        ino
    }

    /// The file of that name, created if `how` says so, not yet counted as open.
    fn open_or_create(&mut self, path: &Path, how: Open, verb: &'static str) -> Result<Ino> {
        let call = Call { operation: Operation::Open, verb };
        self.admit_look(call, path)?;
        let at = self.place(path, verb)?;
        match (self.at(&at), how) {
            (Some(_), Open::CreateNew) => Err(fault(verb, path, io::ErrorKind::AlreadyExists)),
            (Some(ino), _) if self.is_dir(ino) => {
                Err(fault(verb, path, io::ErrorKind::IsADirectory))
            }
            (Some(ino), _) => Ok(ino),
            (None, Open::Read | Open::Write) => Err(fault(verb, path, io::ErrorKind::NotFound)),
            (None, Open::Create | Open::CreateNew) => {
                self.spend(verb, path)?;
                let file = FileNode { linked: true, ..FileNode::default() };
                Ok(self.create(at, Node::File(file)))
            }
        }
    }

    pub(super) fn open(&mut self, path: &Path, how: Open) -> Result<Ino> {
        let ino = self.open_or_create(path, how, "open")?;
        self.file_mut(ino).open += 1;
        Ok(ino)
    }

    pub(super) fn lock(&mut self, path: &Path) -> Result<Option<Ino>> {
        let ino = self.open_or_create(path, Open::Create, "lock")?;
        if !self.locks.insert(ino) {
            return Ok(None);
        }
        self.file_mut(ino).open += 1;
        Ok(Some(ino))
    }

    pub(super) fn unlock(&mut self, ino: Ino) {
        self.locks.remove(&ino);
        self.close(ino);
    }

    pub(super) fn list(&mut self, dir: &Path) -> Result<Vec<Entry>> {
        self.admit_look(Call { operation: Operation::List, verb: "list" }, dir)?;
        let ino = self.find_dir(dir, "list")?;
        let names = self.dir(ino).map(|dir| &dir.live).into_iter().flatten();
        let entries = names.map(|(name, ino)| {
            let (is_dir, len) = match &self.nodes[ino] {
                Node::File(file) => (false, file.live.size()),
                Node::Dir(_) => (true, 0),
            };
            Entry { name: name.clone(), is_dir, len }
        });
        Ok(entries.collect())
    }

    pub(super) fn exists(&mut self, path: &Path) -> Result<bool> {
        self.admit_look(Call { operation: Operation::List, verb: "look up" }, path)?;
        match self.find(path, "look up") {
            Ok(_) => Ok(true),
            Err(fault) if fault.source.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    pub(super) fn create_dir_all(&mut self, dir: &Path) -> Result<()> {
        const VERB: &str = "create folder";
        self.admit_look(Call { operation: Operation::CreateDir, verb: VERB }, dir)?;
        let mut at = ROOT;
        for part in parts(dir, VERB)? {
            let Some(parent) = self.dir(at) else {
                return Err(fault(VERB, dir, io::ErrorKind::NotADirectory));
            };
            at = match parent.live.get(part) {
                Some(ino) => *ino,
                None => {
                    self.spend(VERB, dir)?;
                    let name = Name { dir: at, name: part.to_owned() };
                    self.create(name, Node::Dir(DirNode::default()))
                }
            };
        }
        if self.is_dir(at) { Ok(()) } else { Err(fault(VERB, dir, io::ErrorKind::AlreadyExists)) }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        const VERB: &str = "rename";
        self.admit_change(Call { operation: Operation::Rename, verb: VERB }, from)?;
        let source = self.place(from, VERB)?;
        let target = self.place(to, VERB)?;
        let ino = self.at(&source).ok_or_else(|| fault(VERB, from, io::ErrorKind::NotFound))?;
        if source == target {
            return Ok(());
        }
        if parts(to, VERB)?.starts_with(&parts(from, VERB)?) {
            return Err(fault(VERB, to, io::ErrorKind::InvalidInput));
        }
        let replaced = self.at(&target);
        if let Some(old) = replaced {
            match (self.dir(ino), self.dir(old)) {
                (None, Some(_)) => return Err(fault(VERB, to, io::ErrorKind::IsADirectory)),
                (Some(_), None) => return Err(fault(VERB, to, io::ErrorKind::NotADirectory)),
                (Some(_), Some(old)) if !old.live.is_empty() => {
                    return Err(fault(VERB, to, io::ErrorKind::DirectoryNotEmpty));
                }
                _ => {}
            }
        }
        self.change_names(NameChange::Rename { from: source, to: target, ino });
        if let Some(old) = replaced {
            self.unlinked(old);
            self.forget_unlinked();
        }
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> Result<()> {
        const VERB: &str = "remove";
        self.admit_change(Call { operation: Operation::Remove, verb: VERB }, path)?;
        let at = self.place(path, VERB)?;
        let ino = self.at(&at).ok_or_else(|| fault(VERB, path, io::ErrorKind::NotFound))?;
        if self.is_dir(ino) {
            return Err(fault(VERB, path, io::ErrorKind::IsADirectory));
        }
        self.change_names(NameChange::Unlink { at });
        self.unlinked(ino);
        self.forget_unlinked();
        Ok(())
    }

    pub(super) fn remove_dir_all(&mut self, path: &Path) -> Result<()> {
        const VERB: &str = "remove folder";
        self.admit_look(Call { operation: Operation::Remove, verb: VERB }, path)?;
        let at = self.place(path, VERB)?;
        let dir = self.find_dir(path, VERB)?;
        self.remove_below(dir, path)?;
        self.spend(VERB, path)?;
        self.change_names(NameChange::Unlink { at });
        self.unlinked(dir);
        self.forget_unlinked();
        Ok(())
    }

    /// Empties a folder name by name, as the operating system does: a crash may come in between.
    fn remove_below(&mut self, dir: Ino, path: &Path) -> Result<()> {
        let names = self.dir(dir).map(|dir| dir.live.clone()).unwrap_or_default();
        for (name, ino) in names {
            if self.is_dir(ino) {
                self.remove_below(ino, path)?;
            }
            self.spend("remove folder", path)?;
            self.change_names(NameChange::Unlink { at: Name { dir, name } });
            self.unlinked(ino);
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> Result<()> {
        const VERB: &str = "sync folder";
        self.spend(VERB, path)?;
        let dir = self.find_dir(path, VERB)?;
        if let Some(struck) = self.strike(Operation::SyncDir, path) {
            self.names.retain(|(_, change)| change.touches().all(|name| name.dir != dir));
            return Err(DiskFault::new(VERB, path, struck.error));
        }
        self.sync_names(|name| name.dir == dir);
        Ok(())
    }

    /// Makes the changes of the wanted names durable, and the earlier ones they build on.
    pub(super) fn sync_names(&mut self, wanted: impl Fn(&Name) -> bool) {
        let mut needed: BTreeSet<Name> = BTreeSet::new();
        let mut synced = Vec::new();
        let mut kept = Vec::new();
        for (number, change) in std::mem::take(&mut self.names).into_iter().rev() {
            if change.touches().any(|name| wanted(name) || needed.contains(name)) {
                needed.extend(change.touches().cloned());
                synced.push(change);
            } else {
                kept.push((number, change));
            }
        }
        kept.reverse();
        self.names = kept;
        for change in synced.into_iter().rev() {
            self.apply_durable(&change);
        }
    }

    /// Applies a change to the names on the medium.
    pub(super) fn apply_durable(&mut self, change: &NameChange) {
        apply(change, |name, ino| {
            if let Some(Node::Dir(dir)) = self.nodes.get_mut(&name.dir) {
                match ino {
                    Some(ino) => dir.durable.insert(name.name.clone(), ino),
                    None => dir.durable.remove(&name.name),
                };
            }
        });
    }

    pub(super) fn sync_filesystem(&mut self, dir: &Path) -> Result<()> {
        const VERB: &str = "sync file system";
        self.spend(VERB, dir)?;
        self.find_dir(dir, VERB)?;
        if !self.syncfs_supported {
            return Err(fault(VERB, dir, io::ErrorKind::Unsupported));
        }
        if let Some(struck) = self.strike(Operation::SyncFilesystem, dir) {
            for (_, file) in self.files_mut() {
                file.lose();
            }
            return Err(DiskFault::new(VERB, dir, struck.error));
        }
        let mut failed = None;
        if !self.injections.is_empty() {
            for (path, ino) in self.file_paths() {
                if self.file_mut(ino).pending.is_empty() {
                    continue;
                }
                if let Some(struck) = self.strike(Operation::Sync, &path) {
                    self.file_mut(ino).lose();
                    failed = Some(DiskFault::new(VERB, dir, struck.error));
                }
            }
        }
        self.write_back();
        if std::mem::take(&mut self.unreported) && failed.is_none() {
            let error = io::Error::other("input/output error (of an earlier write-back)");
            failed = Some(DiskFault::new(VERB, dir, error));
        }
        failed.map_or(Ok(()), Err)
    }

    /// Every file that has a name, by path, in order.
    pub(super) fn file_paths(&self) -> Vec<(PathBuf, Ino)> {
        let mut found = Vec::new();
        let mut dirs = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, ino)) = dirs.pop() {
            for (name, ino) in self.dir(ino).map(|dir| &dir.live).into_iter().flatten() {
                let path = path.join(name);
                if self.is_dir(*ino) {
                    dirs.push((path, *ino));
                } else {
                    found.push((path, *ino));
                }
            }
        }
        found.sort();
        found
    }

    /// Forgets removed files that no name, seen or durable or still to be synced, and no open
    /// handle points at; from time to time, since it looks at everything.
    fn forget_unlinked(&mut self) {
        if self.unlinked < UNLINKED_MAX + self.nodes.len() / 2 {
            return;
        }
        self.unlinked = 0;
        let mut known = BTreeSet::new();
        let mut look: Vec<Ino> = self.names.iter().filter_map(|(_, change)| change.ino()).collect();
        look.extend(self.names.iter().flat_map(|(_, change)| change.touches().map(|at| at.dir)));
        look.push(ROOT);
        while let Some(ino) = look.pop() {
            if known.insert(ino)
                && let Some(dir) = self.dir(ino)
            {
                look.extend(dir.live.values().chain(dir.durable.values()));
            }
        }
        self.nodes.retain(|ino, node| {
            known.contains(ino) || matches!(node, Node::File(file) if file.open > 0)
        });
    }
}

/// Tells `set` what each name points at after a change.
fn apply(change: &NameChange, mut set: impl FnMut(&Name, Option<Ino>)) {
    match change {
        NameChange::Link { at, ino } => set(at, Some(*ino)),
        NameChange::Unlink { at } => set(at, None),
        NameChange::Rename { from, to, ino } => {
            set(from, None);
            set(to, Some(*ino));
        }
    }
}
