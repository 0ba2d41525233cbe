//! Row S9 against a broker with short deadlines: clients that begin and do not go on.

use super::rows::Row;
use super::target::Target;
use super::{GROWTH_MAX_BYTES, PATIENCE};
use anyhow::{Context, Result, ensure};
use jocko_testkit::{Connection, api_versions_request};
use std::time::{Duration, Instant};

/// Every row of silence. `limits.frame_timeout` is one second here, `limits.idle` two.
pub(crate) const ALL: &[Row] = &[
    Row {
        name: "S9 half frames are closed by their deadline",
        run: half_frames,
        growth_max_bytes: GROWTH_MAX_BYTES,
        settle_max: PATIENCE,
    },
    Row {
        name: "S9 a byte at a time is no progress",
        run: dribble,
        growth_max_bytes: GROWTH_MAX_BYTES,
        settle_max: PATIENCE,
    },
    Row {
        name: "S9 silent connections are closed",
        run: silent,
        growth_max_bytes: GROWTH_MAX_BYTES,
        settle_max: PATIENCE,
    },
];

fn half_frames(target: &Target) -> Result<String> {
    let request = api_versions_request();
    // Cut within the size, after it, within the header, before the last byte.
    let cuts = [1, 3, 4, 9, request.len() - 1];
    let begun = Instant::now();
    let mut held = Vec::new();
    for at in 0..50 {
        let mut connection = Connection::open(target.address, PATIENCE)?;
        connection.send(&request[..cuts[at % cuts.len()]])?;
        held.push(connection);
    }
    for (at, connection) in held.iter_mut().enumerate() {
        ensure!(connection.is_closed(), "cut at {} is still open", cuts[at % cuts.len()]);
    }
    Ok(format!("{} closed within {:?}", held.len(), begun.elapsed()))
}

fn dribble(target: &Target) -> Result<String> {
    let mut connection = Connection::open(target.address, PATIENCE)?;
    connection.send(&200_i32.to_be_bytes())?;
    let begun = Instant::now();
    let mut sent = 0;
    // The peer's reset is noticed by the send after it.
    while connection.send(&[0]).is_ok() {
        sent += 1;
        ensure!(begun.elapsed() < PATIENCE, "still open after {sent} bytes");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Ok(format!("closed after {sent} bytes, {:?}", begun.elapsed()))
}

fn silent(target: &Target) -> Result<String> {
    let begun = Instant::now();
    let open = || Connection::open(target.address, PATIENCE);
    let mut held = (0..100).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    // One that has been served before falls silent too.
    held[0].send(&api_versions_request())?;
    held[0].receive().context("the first request")?;
    let still_open = held.iter_mut().filter_map(|one| (!one.is_closed()).then_some(())).count();
    ensure!(still_open == 0, "{still_open} are still open after {:?}", begun.elapsed());
    Ok(format!("{} closed within {:?}", held.len(), begun.elapsed()))
}
