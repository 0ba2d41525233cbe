//! Old batches that come again, as out of a network that kept them (N8).

use super::Scene;
use crate::workload::{Rover, error_kind, pause};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Batches that come again in one cycle.
const REPLAYS: usize = 500;

impl Scene<'_> {
    /// Batches that producers sent some time ago arrive once more, byte for byte, over other
    /// connections, at whoever leads by now; some while a leader dies. Whatever is answered, they
    /// must not be in the log twice, and success must name where they are.
    pub(super) fn replay(&mut self) -> Result<Vec<usize>> {
        let victim = if self.random.bool() { Some(self.leader()?) } else { None };
        let mut rover = Rover::new(&self.shared.bootstrap, self.random.usize(..))?;
        let begun = Instant::now();
        let mut again = 0;
        for number in 0..REPLAYS {
            if let Some(victim) = victim.filter(|_| number == REPLAYS / 2) {
                self.cluster.kill(victim)?;
            }
            if let Some(victim) = victim.filter(|_| number == REPLAYS * 3 / 4) {
                self.cluster.start(victim)?;
            }
            let Some(sent) = self.shared.sent_before(self.random) else { continue };
            let topic = &self.shared.topic;
            let partition = i32::try_from(sent.partition)?;
            let answer =
                rover.with(async |client| client.produce(topic, partition, &sent.batch, -1).await);
            match answer {
                Ok(produced) => {
                    again += 1;
                    let at = produced.base_offset.map(jocko_types::Offset::get);
                    if at != Some(sent.offset) {
                        self.shared.complain(format!(
                            "partition {partition}: a batch that is at {} was acknowledged at {at:?} \
                             when it came again",
                            sent.offset
                        ));
                    }
                }
                Err(error) => {
                    self.shared.trouble(format!("Replay: {}", error_kind(&error)));
                    if !matches!(error, jocko_client::ClientError::Refused { .. }) {
                        rover.rove();
                        pause(Duration::from_millis(50));
                    }
                }
            }
        }
        self.cluster.note(&format!(
            "{REPLAYS} old batches came again within {} ms; {again} were acknowledged as before",
            begun.elapsed().as_millis()
        ));
        victim.map_or(Ok(Vec::new()), |victim| {
            self.cluster.start(victim).context("starting it again")?;
            Ok(vec![victim])
        })
    }
}
