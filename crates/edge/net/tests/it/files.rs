//! File pieces: by `sendfile`, by copying and by workers, always the same bytes.

use std::path::Path;

use bytes::Bytes;
use jocko_disk::{Disk, FileRef, MemDisk, Open, RealDisk, Residency};
use jocko_net::CloseReason;

use crate::harness::{Setup, World, live, op, simulate, until};

fn contents(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 253) as u8).collect()
}

fn create(disk: &dyn Disk, dir: &Path, bytes: &[u8]) -> FileRef {
    let file = disk.open(&dir.join("log"), Open::CreateNew).unwrap();
    for (at, piece) in bytes.chunks(100_000).enumerate() {
        let position = at as u64 * 100_000;
        file.write_at(&[std::io::IoSlice::new(piece)], position).unwrap();
    }
    file
}

/// Asks for ranges around every size at which the way of sending changes.
async fn check(world: &World, file: &FileRef, bytes: &[u8]) {
    let mut client = world.client().await;
    let edges = [0, 1, 4096, 65_535, 65_536, 65_537, 131_072, 1_048_576, 1_048_577];
    let ranges = edges
        .into_iter()
        .flat_map(|len| [(0, len), (12_345, len)])
        .chain([(0, bytes.len()), (1_000_001, bytes.len() - 1_000_001)]);
    for (position, len) in ranges {
        *world.script.file.lock().unwrap() = Some((file.clone(), position, len));
        client.send(op::FILE, 1).await;
        let reply: Bytes = client.reply().await.expect("an open connection");
        assert_eq!(reply[..4], [0xfe, 0xed, 0xbe, 0xef]);
        let at = usize::try_from(position).unwrap();
        assert!(reply[4..] == bytes[at..at + len], "{len} bytes from {position}");
    }
    // Two in a row leave one after the other.
    client.send(op::FILE, 1).await;
    client.send(op::ECHO, 2).await;
    assert!(client.reply().await.is_some());
    assert_eq!(client.key().await, Some(2));
}

#[test]
fn files_over_sockets_arrive_byte_for_byte() {
    live(async {
        let dir = tempfile::tempdir().unwrap();
        let bytes = contents(5_000_003);
        let file = create(&RealDisk::new(), dir.path(), &bytes);
        let world = World::real(Setup::default());
        check(&world, &file, &bytes).await;
        let sent = world.reactors.totals().bytes_sent_by_file;
        let portable = cfg!(feature = "portable");
        assert_eq!(sent == 0, portable, "{sent} bytes by sendfile");
    });
}

#[test]
fn files_without_descriptors_arrive_byte_for_byte_hot_or_cold() {
    for residency in [Residency::Hot, Residency::Cold, Residency::Seeded(7)] {
        simulate(async {
            let disk = MemDisk::with_dir("/data");
            let bytes = contents(2_000_003);
            let file = create(&disk, Path::new("/data"), &bytes);
            disk.set_residency(residency);
            let world = World::simulated(Setup::default());
            check(&world, &file, &bytes).await;
            let cold = world.reactors.totals().cold_reads;
            assert_eq!(cold == 0, residency == Residency::Hot, "{cold} cold reads");
        });
    }
}

#[test]
fn a_file_shorter_than_promised_ends_the_connection() {
    simulate(async {
        let disk = MemDisk::with_dir("/data");
        let file = create(&disk, Path::new("/data"), &contents(1000));
        for (world, len) in [
            (World::simulated(Setup::default()), 1001),
            (World::simulated(Setup::default()), 500_000),
        ] {
            *world.script.file.lock().unwrap() = Some((file.clone(), 0, len));
            let mut client = world.client().await;
            client.send(op::FILE, 1).await;
            until(|| world.reactors.totals().closed_for(CloseReason::File) == 1).await;
        }
    });
    live(async {
        let dir = tempfile::tempdir().unwrap();
        let file = create(&RealDisk::new(), dir.path(), &contents(500_000));
        let world = World::real(Setup::default());
        *world.script.file.lock().unwrap() = Some((file.clone(), 0, 500_001));
        let mut client = world.client().await;
        client.send(op::FILE, 1).await;
        until(|| world.reactors.totals().closed_for(CloseReason::File) == 1).await;
    });
}
