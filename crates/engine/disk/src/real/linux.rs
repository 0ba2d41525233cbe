//! The calls that only Linux has, one function each; `portable.rs` has the same functions.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::sync::OnceLock;

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::{Errno, ReadWriteFlags};

/// Reads only what is in memory; `None` if the device would have to be asked, or if the file
/// system cannot tell.
pub(super) fn read_resident(
    file: &File,
    buf: &mut [u8],
    position: u64,
) -> io::Result<Option<usize>> {
    let mut pieces = [IoSliceMut::new(buf)];
    match rustix::io::preadv2(file, &mut pieces, position, ReadWriteFlags::NOWAIT) {
        Ok(count) => Ok(Some(count)),
        // AGAIN: not resident. INTR: so close to blocking that a worker should do it.
        Err(Errno::AGAIN | Errno::INTR | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// One vectored write, possibly short.
pub(super) fn write_some(file: &File, pieces: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, pieces, position)?)
}

/// Reserves blocks without changing the size.
pub(super) fn reserve(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, size) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// Begins to write a range out: what Linux does first when it is told that the pages are not needed
/// soon. They stay in memory for as long as that takes.
pub(super) fn begin_writeback(file: &File, position: u64, len: u64) {
    let _ = rustix::fs::fadvise(file, position, NonZeroU64::new(len), Advice::DontNeed);
}

/// Syncs the file system that holds `dir`, where that reports write errors.
pub(super) fn sync_filesystem(dir: &File) -> io::Result<()> {
    static REPORTS_ERRORS: OnceLock<bool> = OnceLock::new();
    let reports = REPORTS_ERRORS.get_or_init(|| {
        rustix::system::uname().release().to_str().is_ok_and(syncfs_reports_errors)
    });
    if !reports {
        return Err(io::ErrorKind::Unsupported.into());
    }
    match rustix::fs::syncfs(dir) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// `syncfs` returns write errors since Linux 5.8; before, it returned success whatever happened
/// (man 2 syncfs). A release that cannot be read counts as old.
fn syncfs_reports_errors(release: &str) -> bool {
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 8),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::syncfs_reports_errors;

    #[test]
    fn only_kernels_that_report_errors_are_trusted_with_syncfs() {
        let cases = [
            ("6.18.44-generic", true),
            ("5.8.0", true),
            ("5.10", true),
            ("5.7.19", false),
            ("4.19.0-27", false),
            ("6", false),
            ("", false),
            ("unknown", false),
        ];
        for (release, expected) in cases {
            assert_eq!(syncfs_reports_errors(release), expected, "{release}");
        }
    }
}
