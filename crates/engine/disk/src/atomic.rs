//! Small files that are replaced whole (DR3): written under another name, synced, renamed, and the
//! name synced. Whoever opens one finds the old bytes or the new ones, never a mixture.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::{Disk, DiskFault, FaultKind, FileRef, Open, Result};

/// Replaces the file at `path`, or creates it, so that after a crash it holds either what it held
/// or `bytes`. When this returns `Ok` it holds `bytes` for good; after an error either is
/// possible.
///
/// The new bytes pass through `<path>.tmp`; a leftover of that name is overwritten. Two writers of
/// one path must not run at the same time.
///
/// # Errors
/// Any fault of the disk. Want of room leaves the old file as it was, and nothing behind.
pub fn write_atomically(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let (dir, temporary) = beside(path)?;
    let written = write_unsynced(disk, &temporary, bytes)?;
    if let Err(fault) = written.sync_data() {
        let _leftover = disk.remove_file(&temporary);
        return Err(fault);
    }
    disk.rename(&temporary, path)?;
    disk.sync_dir(dir)
}

/// The folder of `path`, and the name its next version is written under.
pub(crate) fn beside(path: &Path) -> Result<(&Path, PathBuf)> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(DiskFault::new("write", path, io::ErrorKind::InvalidInput.into()));
    };
    let mut name = name.to_owned();
    name.push(".tmp");
    // A bare name has the empty path as its folder, which no system call takes.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    Ok((dir, dir.join(name)))
}

/// Writes the next version of a file; what it began is gone after an error.
pub(crate) fn write_unsynced(disk: &dyn Disk, temporary: &Path, bytes: &[u8]) -> Result<FileRef> {
    let file = disk.open(temporary, Open::Create)?;
    let written = file.set_size(0).and_then(|()| file.write_at(&[IoSlice::new(bytes)], 0));
    match written {
        Ok(()) => Ok(file),
        Err(fault) => {
            drop(file);
            // Best effort: room is needed most when there is none. The next writer starts over
            // anyway.
            let _leftover = disk.remove_file(temporary);
            Err(fault)
        }
    }
}

/// Reads a whole file of at most `bytes_max` bytes; `None` if there is none.
///
/// # Errors
/// Any fault of the disk, and a file larger than expected: it is not what we wrote.
pub fn read_small(disk: &dyn Disk, path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(fault) if fault.kind() == FaultKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    if size > bytes_max {
        let words = format!("holds {size} bytes, more than the {bytes_max} expected");
        return Err(DiskFault::corrupt("read", path, words));
    }
    let mut bytes = vec![0; size];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Creates a folder and its missing parents so that their names survive a crash. Each name is
/// synced before the next is created, so that whatever exists below a folder proves its name
/// durable; only the innermost one that exists may stem from a run that was killed before its sync.
///
/// # Errors
/// Any fault of the disk.
pub fn create_dir_durably(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut existing = dir;
    while !existing.as_os_str().is_empty() && !disk.exists(existing)? {
        missing.push(existing);
        match existing.parent() {
            Some(parent) => existing = parent,
            None => break,
        }
    }
    match sync_name(disk, existing) {
        // A folder we may not open is not one we create folders in.
        Err(fault) if fault.source.kind() == io::ErrorKind::PermissionDenied => {}
        outcome => outcome?,
    }
    for created in missing.into_iter().rev() {
        disk.create_dir_all(created)?;
        sync_name(disk, created)?;
    }
    Ok(())
}

/// Makes the name of a folder durable.
fn sync_name(disk: &dyn Disk, dir: &Path) -> Result<()> {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => disk.sync_dir(Path::new(".")),
        Some(parent) => disk.sync_dir(parent),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
