//! Work is run once, bounded, and survives panics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::{InlineSpawn, Refused, Spawn, Workers, run_on};

#[test]
fn everything_queued_runs_before_the_pool_is_gone() {
    let done = Arc::new(AtomicUsize::new(0));
    let workers = Workers::start("test", 2, 100).unwrap();
    for _ in 0..100 {
        let done = Arc::clone(&done);
        let job = Box::new(move || {
            assert!(done.fetch_add(1, Ordering::Relaxed) != 50, "one may panic");
        });
        // A fast pool may have room for more, a slow one never has less than the queue.
        workers.submit(job).unwrap();
    }
    drop(workers);
    assert_eq!(done.load(Ordering::Relaxed), 100);
}

#[test]
fn a_full_queue_gives_the_job_back() {
    let workers = Workers::start("test", 1, 1).unwrap();
    let (started, running) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let blocker = Box::new(move || {
        started.send(()).unwrap();
        let _ = released.recv();
    });
    workers.submit(blocker).unwrap();
    running.recv().unwrap();
    workers.submit(Box::new(|| {})).unwrap();
    assert!(matches!(workers.submit(Box::new(|| {})), Err(Refused::Full(_))));
    release.send(()).unwrap();
}

#[test]
fn run_on_waits_for_the_value_and_tells_of_panics() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let workers = Workers::start("test", 1, 4).unwrap();
        assert_eq!(run_on(&workers, || 6 * 7).await, Some(42));
        let panicked = run_on(&workers, || -> u8 { panic!("told to") }).await;
        assert_eq!(panicked, None);
        assert_eq!(run_on(&workers, || 1).await, Some(1), "the thread lives on");
        assert_eq!(run_on(&InlineSpawn, || 2).await, Some(2));
    });
}
