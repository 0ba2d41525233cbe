//! A disk of a broker's own: a file system in a file, that can lose its power, be filled, and be
//! made slow. It needs to be permitted to mount.

use super::shims;
use crate::process::quietly;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// As large as its log may grow in a round; the file is sparse.
const BYTES: u64 = 2 << 30;
/// What is left free on a full disk: nothing that a record fits into.
const FREE_ON_FULL_BYTES: u64 = 4_096;
/// Where version 1 of control groups throttles disks.
const CGROUP: &str = "/sys/fs/cgroup/blkio";

/// Makes disks.
#[derive(Debug)]
pub struct Disks {
    folder: PathBuf,
    power_switch: PathBuf,
}

impl Disks {
    /// Builds what it needs in a folder, and tries whether disks can be mounted and lose power.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn new(folder: &Path) -> Result<Self> {
        let power_switch = shims::power_switch(folder)?;
        let disks = Self { folder: folder.to_owned(), power_switch };
        let mut probe = disks.mount("probe", 16 << 20)?;
        let kept = probe.mount_point.join("kept");
        File::create(&kept)?.sync_all()?;
        File::open(&probe.mount_point)?.sync_all()?;
        let lost = probe.mount_point.join("lost");
        File::create(&lost)?;
        probe.lose_power()?;
        ensure!(kept.exists(), "what was made durable is lost with the power");
        ensure!(!lost.exists(), "a disk without power keeps what was not made durable");
        Ok(disks)
    }

    /// A disk for the broker of this number, mounted.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn add(&self, number: usize) -> Result<Disk> {
        self.mount(&format!("disk-{number}"), BYTES)
    }

    fn mount(&self, name: &str, bytes: u64) -> Result<Disk> {
        let image = self.folder.join(format!("{name}.img"));
        File::create(&image)?.set_len(bytes)?;
        let mount_point = self.folder.join(name);
        fs::create_dir_all(&mount_point)?;
        // No blocks for the superuser alone: a broker may be that.
        quietly(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
        let disk = Disk { image, mount_point, power_switch: self.power_switch.clone() };
        disk.mount()?;
        Ok(disk)
    }
}

/// A mounted disk. Dropping it takes it out.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    power_switch: PathBuf,
}

impl Disk {
    fn mount(&self) -> Result<()> {
        let mut mount = Command::new("mount");
        // Errors that are found in it make it read-only, as distributions set it up.
        let options = ["-o", "loop,errors=remount-ro"];
        quietly(mount.args(options).arg(&self.image).arg(&self.mount_point))
    }

    fn umount(&self) -> Result<()> {
        quietly(Command::new("umount").arg(&self.mount_point))
    }

    /// What was not made durable is gone. Whoever used it must be dead or asleep, and dead before
    /// [`Disk::come_back`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn go_dark(&self) -> Result<()> {
        quietly(Command::new(&self.power_switch).arg(&self.mount_point))
    }

    /// The power is back: its journal is played, as at the start of a machine.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn come_back(&self) -> Result<()> {
        self.umount()?;
        self.mount()
    }

    /// It takes no writes any more, as when the file system has found an error in itself, until
    /// [`Disk::come_back`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn turn_read_only(&self) -> Result<()> {
        let device = fs::metadata(&self.mount_point)?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let name = fs::read_link(format!("/sys/dev/block/{major}:{minor}"))?;
        let name = name.file_name().context("the name of a device")?;
        let trigger = Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error");
        fs::write(&trigger, "a test").with_context(|| trigger.display().to_string())
    }

    fn copy(&self) -> PathBuf {
        self.image.with_extension("old")
    }

    /// Keeps what it holds now. Nobody may use it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn keep_copy(&self) -> Result<()> {
        self.umount()?;
        let mut copy = Command::new("cp");
        quietly(
            copy.args(["--sparse=always", "--reflink=auto"]).args([&self.image, &self.copy()]),
        )?;
        self.mount()
    }

    /// It holds again what it held at [`Disk::keep_copy`]. Nobody may use it.
    ///
    /// # Errors
    /// When the system refuses, or nothing was kept.
    pub fn restore_copy(&self) -> Result<()> {
        self.umount()?;
        fs::rename(self.copy(), &self.image)?;
        self.mount()
    }

    fn lose_power(&mut self) -> Result<()> {
        self.go_dark()?;
        self.come_back()
    }

    fn filler(&self) -> PathBuf {
        self.mount_point.join("filler")
    }

    /// Somebody else's file takes what room there is; again, what has become free since.
    ///
    /// # Errors
    /// When the system refuses for another reason than that it is full.
    pub fn fill(&self) -> Result<()> {
        let filler = self.filler();
        let space = rustix::fs::statvfs(&self.mount_point)?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        let more = free.saturating_sub(FREE_ON_FULL_BYTES);
        let already = fs::metadata(&filler).map_or(0, |filler| filler.len());
        if more > 0 {
            let length = (already + more).to_string();
            // What is taken by others in between ends this one early: full is full.
            let _ = quietly(Command::new("fallocate").args(["-l", &length]).arg(&filler));
        }
        ensure!(filler.exists(), "a disk cannot be filled");
        Ok(())
    }

    /// Takes that file away again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn make_room(&self) -> Result<()> {
        match fs::remove_file(self.filler()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// From now on a process makes at most so many writes a second on this disk, until what this
    /// returns is dropped.
    ///
    /// # Errors
    /// When control groups do not do that here.
    pub fn slow_down(&self, pid: u32, writes_a_second: u32) -> Result<SlowDisk> {
        let device = fs::metadata(&self.mount_point)?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let group = Path::new(CGROUP).join(format!("slow-{pid}"));
        fs::create_dir(&group).with_context(|| group.display().to_string())?;
        let slow = SlowDisk { group, pid };
        let limit = format!("{major}:{minor} {writes_a_second}");
        fs::write(slow.group.join("blkio.throttle.write_iops_device"), limit)?;
        fs::write(slow.group.join("cgroup.procs"), pid.to_string())?;
        Ok(slow)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, for a broker that is being killed may still hold it.
        let _ = quietly(Command::new("umount").arg("-l").arg(&self.mount_point));
    }
}

/// While it lives, a process waits for its disk.
#[derive(Debug)]
pub struct SlowDisk {
    group: PathBuf,
    pid: u32,
}

impl SlowDisk {
    /// Whether disks can be slowed down here.
    ///
    /// # Errors
    /// That they cannot.
    pub fn check() -> Result<()> {
        let throttle = Path::new(CGROUP).join("cgroup.procs");
        match fs::metadata(&throttle) {
            Ok(_) => Ok(()),
            Err(_) => bail!("no control group throttles disks at {CGROUP} (version 1 would)"),
        }
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        // A process that is dead by now is in no group.
        let _ = fs::write(Path::new(CGROUP).join("cgroup.procs"), self.pid.to_string());
        let _ = fs::remove_dir(&self.group);
    }
}
