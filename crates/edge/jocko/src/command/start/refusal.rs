//! What to do about a broker that cannot start.

use crate::failure::Failure;
use jocko_broker::StartError;
use jocko_commitlog::LogFault;
use jocko_commitlog::data_dir::DataDirFault;
use jocko_disk::DiskFault;
use std::io;
use std::path::Path;

const OTHER_PORTS: &str = "--listen-kafka localhost:19092 --listen-http localhost:19095";
const OTHER_DIRECTORY: &str = "choose another directory: --data-dir DIR";

/// The refusal in words, with a cure. `data_dir` is the directory it was to be started on.
pub(super) fn explain(error: StartError, data_dir: &Path) -> Failure {
    let failure = Failure::new(format!("the broker cannot start: {error}"));
    match error {
        StartError::Listen { source, .. } | StartError::Serve(source) => {
            failure.cure(cure_of_listening(&source))
        }
        StartError::DataDir(DataDirFault::Locked { path }) => locked(&path),
        StartError::DataDir(fault) => failure.cure(cure_of_data_dir(&fault, data_dir)),
        StartError::Disk(fault) => failure.cure(cure_of_disk(&fault, data_dir)),
        StartError::Raft(jocko_consensus::StartError::Disk(fault)) => {
            failure.cure(cure_of_disk(&fault, data_dir))
        }
        StartError::Raft(_) => failure
            .cure(format!("restore {} from a backup, or {OTHER_DIRECTORY}", data_dir.display())),
        StartError::Mismatched { .. } => failure.cure(format!(
            "put back the jocko.meta that belongs to this log, or {OTHER_DIRECTORY}"
        )),
        StartError::Thread(_) => {
            failure.cure("raise the limits on processes and open files (ulimit -u, ulimit -n)")
        }
        StartError::Foreign { .. } => failure.cure(format!(
            "let cluster.join name brokers of this directory's cluster, or {OTHER_DIRECTORY}"
        )),
        StartError::Copy { .. } => failure.cure(format!(
            "stop that broker first; a broker of its own begins empty: {OTHER_DIRECTORY}"
        )),
        StartError::Gossip(_) => failure.cure("choose another address for gossip: --listen-gossip"),
        // The controller says what to do.
        StartError::Refused(_) => failure,
        StartError::NotReady(_) => {
            failure.cure("look at the log above, and start it again with --log-level debug")
        }
    }
}

fn cure_of_listening(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!(
                "stop what listens there, or choose another port: {OTHER_PORTS} (9093 is \
                 --listen-cluster, 9094 --listen-gossip)"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("ports above 1023 need no special rights: {OTHER_PORTS}")
        }
        _ => "choose an address of this machine: --listen-kafka localhost:9092 \
              --listen-http localhost:9095"
            .to_owned(),
    }
}

fn cure_of_data_dir(fault: &DataDirFault, data_dir: &Path) -> String {
    match fault {
        DataDirFault::Log(LogFault::Disk(fault)) => cure_of_disk(fault, data_dir),
        DataDirFault::Log(_) => {
            format!("restore {} from a backup, or {OTHER_DIRECTORY}", data_dir.display())
        }
        DataDirFault::NewerFormat { .. } => {
            format!("a newer version of jocko, or {OTHER_DIRECTORY}")
        }
        DataDirFault::IdentityMissing { .. } => {
            format!("restore jocko.meta from a backup, or {OTHER_DIRECTORY}")
        }
        DataDirFault::Kafkas { .. } => {
            "choose a directory of jocko's own, empty at first: --data-dir DIR".to_owned()
        }
        DataDirFault::Foreign { owner, .. } => {
            format!(
                "--node-id {} if it is this cluster's; a broker with another number begins empty: \
                 {OTHER_DIRECTORY}",
                owner.1
            )
        }
        _ => OTHER_DIRECTORY.to_owned(),
    }
}

fn cure_of_disk(fault: &DiskFault, data_dir: &Path) -> String {
    let path = fault.path.display();
    match fault.source.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "give this user the right to read and write {}, or {OTHER_DIRECTORY}",
            data_dir.display()
        ),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make room on the disk that holds {path}")
        }
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::ReadOnlyFilesystem => OTHER_DIRECTORY.to_owned(),
        io::ErrorKind::InvalidData => {
            format!("restore {path} from a backup, or {OTHER_DIRECTORY}")
        }
        _ => format!("look at the disk that holds {path}, or {OTHER_DIRECTORY}"),
    }
}

/// Another process has the directory. Which, the kernel's list of locks tells.
fn locked(data_dir: &Path) -> Failure {
    let holder = holder_of_lock(data_dir);
    let directory = data_dir.display();
    let what =
        |by: &str| Failure::new(format!("the broker cannot start: {directory} is in use by {by}"));
    match holder {
        Some((pid, name)) => what(&format!("another process, {pid} ({name})"))
            .cure(format!("use the broker that runs, stop it (kill {pid}), or {OTHER_DIRECTORY}")),
        None => what("another process").cure(format!("stop it, or {OTHER_DIRECTORY}")),
    }
}

/// The process that has the directory's lock, and its name; `None` where the kernel does not say.
fn holder_of_lock(data_dir: &Path) -> Option<(u32, String)> {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(data_dir.join(".lock")).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = holder_in(&locks, inode)?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim().to_owned()))
}

/// The holder of the lock on this inode in the text of proc_locks(5). The device is left out: what
/// is told there differs from what `stat` tells on some file systems.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    let inode = format!(":{inode}");
    locks.lines().find_map(|line| {
        // `1: FLOCK  ADVISORY  WRITE 8000 fd:00:12345 0 EOF`; who waits has `->` after the number.
        let mut fields = line.split_whitespace().skip(1);
        let (kind, pid) = (fields.next()?, fields.nth(2)?);
        let is_it = kind == "FLOCK" && fields.next()?.ends_with(&inode);
        is_it.then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_found_by_its_file() {
        let locks = "\
            1: POSIX  ADVISORY  WRITE 8000 fd:00:12345 0 EOF\n\
            2: FLOCK  ADVISORY  WRITE 9000 fd:00:12345 0 EOF\n\
            2: -> FLOCK  ADVISORY  WRITE 9001 fd:00:12345 0 EOF\n\
            3: FLOCK  ADVISORY  WRITE 9002 fd:00:112345 0 EOF\n\
            4: FLOCK  ADVISORY  WRITE -1 fd:00:777 0 EOF\n\
            damaged\n";
        assert_eq!(holder_in(locks, 12_345), Some(9_000));
        assert_eq!(holder_in(locks, 112_345), Some(9_002));
        assert_eq!(holder_in(locks, 2_345), None);
        assert_eq!(holder_in(locks, 777), None, "of another container");
    }

    #[test]
    fn every_refusal_has_a_cure() {
        let root = Path::new("/data");
        let io = |kind: io::ErrorKind| io::Error::from(kind);
        let id = jocko_types::Uuid::ZERO;
        let path = root.to_owned();
        let owner = (id, jocko_types::BrokerId::new(7));
        let disk = |kind| DiskFault::new("create", root, io(kind));
        let data_dir = |fault: DataDirFault| StartError::DataDir(fault);
        let listen = |kind| StartError::Listen { address: "x:1".to_owned(), source: io(kind) };
        let errors = [
            (listen(io::ErrorKind::AddrInUse), "localhost:19092"),
            (listen(io::ErrorKind::AddrNotAvailable), "address of this machine"),
            (StartError::Serve(io(io::ErrorKind::PermissionDenied)), "1023"),
            (StartError::Disk(disk(io::ErrorKind::PermissionDenied)), "right to read and write"),
            (StartError::Disk(disk(io::ErrorKind::StorageFull)), "make room"),
            (data_dir(disk(io::ErrorKind::NotFound).into()), "--data-dir"),
            (data_dir(DataDirFault::Locked { path: path.clone() }), "stop it"),
            (data_dir(DataDirFault::Kafkas { path: path.clone() }), "--data-dir"),
            (data_dir(DataDirFault::IdentityMissing { path: path.clone() }), "jocko.meta"),
            (data_dir(DataDirFault::NewerFormat { path: path.clone(), found: 9 }), "newer"),
            (
                data_dir(DataDirFault::Foreign {
                    path: path.clone(),
                    owner,
                    cluster_id: id,
                    node_id: jocko_types::BrokerId::new(8),
                }),
                "--node-id 7",
            ),
            (StartError::Mismatched { meta: path, directory_id: id, voters: vec![id] }, "put back"),
            (StartError::Thread(io(io::ErrorKind::WouldBlock)), "ulimit"),
            (StartError::NotReady("no leader".to_owned()), "log above"),
        ];
        for (error, cure) in errors {
            let said = explain(error, root).to_string();
            let (what, said_cure) = said.split_once("\n  try: ").expect("has a cure");
            assert!(what.starts_with("error: the broker cannot start: "), "{said}");
            assert!(said_cure.contains(cure), "{cure}: {said}");
        }
    }
}
