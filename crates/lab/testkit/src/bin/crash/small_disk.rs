//! A file system of its own in a file, so that it can be filled.

use anyhow::Result;
use jocko_testkit::quietly;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in a file.
pub(crate) struct SmallDisk {
    pub(crate) mount_point: PathBuf,
}

impl SmallDisk {
    /// Makes and mounts one of so many bytes in `folder`; needs to be permitted.
    pub(crate) fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        let image = folder.join("disk.img");
        File::create(&image)?.set_len(bytes)?;
        let mount_point = folder.join("disk");
        std::fs::create_dir(&mount_point)?;
        quietly(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        quietly(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount_point))?;
        Ok(Self { mount_point })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, for a broker that is being killed may still hold it.
        let _ = quietly(Command::new("umount").arg("-l").arg(&self.mount_point));
    }
}
