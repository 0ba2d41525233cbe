//! What administrators ask for: a later beginning, a size, the producers.

use super::{Bench, batch_of, governed, offset, read_code, reading};
use crate::{Acks, Durability};
use jocko_types::{ErrorCode, ProducerEpoch, ProducerId, Sequence};

fn delete(bench: &Bench, before: Option<i64>) -> Result<i64, ErrorCode> {
    let done = bench.partition.delete_records(before.map(offset));
    bench.check();
    done.map(|(start, _)| start.get())
}

#[test]
fn records_are_deleted_up_to_what_is_committed() {
    let bench = Bench::new(Durability::Fsync);
    assert_eq!(delete(&bench, None), Ok(0), "nothing is there");
    for value in ["a", "b", "c", "d"] {
        bench.appended(&[value, value]);
    }
    assert_eq!(delete(&bench, None), Ok(0), "nothing is committed");
    assert_eq!(delete(&bench, Some(1)), Err(ErrorCode::OffsetOutOfRange));
    let _ = bench.flush();
    // In the middle of a batch: who reads from there gets the batch.
    assert_eq!(delete(&bench, Some(3)), Ok(3));
    assert_eq!(read_code(bench.partition.read(&reading(offset(2)))), ErrorCode::OffsetOutOfRange);
    assert_eq!(bench.records(3).first().map(|(at, _)| *at), Some(3));
    assert_eq!(delete(&bench, Some(1)), Ok(3), "it begins later already");
    assert_eq!(delete(&bench, Some(9)), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(bench.partition.checkpoint().map(|(_, start)| start), Some(offset(3)));
    assert_eq!(delete(&bench, None), Ok(8));
    assert_eq!(bench.partition.earliest(None).expect("leads").offset, Some(offset(8)));
    bench.appended(&["e"]);
    let _ = bench.flush();
    assert_eq!(bench.records(8), [(8, "e".to_owned())]);
}

#[test]
fn deleted_records_stay_deleted_once_the_checkpoint_says_so() {
    let bench = Bench::new(Durability::Fsync);
    bench.appended(&["a", "b", "c"]);
    let _ = bench.flush();
    assert_eq!(delete(&bench, Some(2)), Ok(2));
    let after = bench.restarted(governed(Durability::Fsync));
    assert_eq!(after.partition.earliest(None).expect("leads").offset, Some(offset(2)));
}

#[test]
fn a_topic_that_is_only_compacted_keeps_its_records() {
    let table = [
        (false, false, Ok(1)),
        (true, true, Ok(1)),
        (true, false, Ok(1)),
        (false, true, Err(ErrorCode::PolicyViolation)),
    ];
    for (deletes, compacts, expected) in table {
        let mut governed = governed(Durability::Fsync);
        (governed.log.retention_deletes, governed.log.compacts) = (deletes, compacts);
        let bench = Bench::governed(governed);
        bench.appended(&["a"]);
        let _ = bench.flush();
        assert_eq!(delete(&bench, None), expected, "deletes {deletes}, compacts {compacts}");
    }
}

#[test]
fn producers_and_sizes_are_told() {
    let bench = Bench::new(Durability::Fsync);
    assert_eq!(bench.partition.size_on_disk(), 0);
    assert_eq!(bench.partition.producers().expect("leads"), []);
    bench.appended(&["a"]);
    for (producer, epoch, sequence) in [(7, 0, 0), (5, 2, 0), (7, 0, 1)] {
        let batch = batch_of(producer, epoch, sequence, &["x"]);
        bench.append_batch(&batch, Acks::Leader, None).0.expect("fits");
    }
    let told: Vec<_> = bench
        .partition
        .producers()
        .expect("leads")
        .into_iter()
        .map(|one| (one.id, one.epoch, one.last_sequence, one.transaction_start))
        .collect();
    let expected = [(5, 2, 0), (7, 0, 1)].map(|(id, epoch, sequence)| {
        let (id, epoch) = (ProducerId::new(id), ProducerEpoch::new(epoch));
        (id, epoch, Some(Sequence::new(sequence)), None)
    });
    assert_eq!(told, expected);
    let _ = bench.flush();
    let size = bench.partition.size_on_disk();
    assert_eq!(Some(size), bench.partition.standing().map(|standing| standing.size_bytes));
    // A partition that nobody has opened yet is measured by its files.
    let (closed, _) = bench.partition.close();
    closed.expect("closes");
    assert_eq!(bench.partition.size_on_disk(), size);
}
