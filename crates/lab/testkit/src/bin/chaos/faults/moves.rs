//! Voters and replicas that come and go while brokers die (R11, R12).

use super::Scene;
use crate::seen::{self, Seen};
use crate::workload::pause;
use anyhow::{Context, Result, ensure};
use jocko_client::ClientError;
use jocko_protocol::rpc::add_raft_voter_request::AddRaftVoterRequest;
use jocko_types::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How long moves may take when everybody is back.
const MOVED_MAX: Duration = Duration::from_secs(60);
/// How long a voter may take to be one again.
const VOTES_AGAIN_MAX: Duration = Duration::from_secs(90);
/// One move in so many is called off.
const CANCELLED_ONE_IN: u8 = 3;

/// A partition, and the brokers (by place) that are to have it.
type Move = (i32, Vec<usize>);

impl Scene<'_> {
    /// Partitions move; whoever gives or gets one dies meanwhile; some moves are called off.
    pub(super) fn move_and_kill(&mut self) -> Result<Vec<usize>> {
        let before = seen::settled(|| self.seen())?;
        let moves = self.moves(&before);
        self.begin(&moves)?;
        self.wait_ms(0, 1_500);
        let victim = self.giver_or_getter(&before, &moves)?;
        self.cluster.kill(victim)?;
        self.wait_ms(0, 1_000);
        let is_cancelled = self.random.u8(..CANCELLED_ONE_IN) == 0;
        let cancelled = if is_cancelled { self.call_off(&moves)? } else { BTreeSet::new() };
        self.wait_ms(0, 3_000);
        self.cluster.start(victim)?;
        self.wait_moved()?;
        self.ids()?;
        // What was called off is as it was, and what was not is where it should be.
        let after = seen::settled(|| self.seen())?;
        for (partition, wanted) in &moves {
            let at = usize::try_from(*partition)?;
            let replicas = |seen: &[Seen]| {
                let found = seen.get(at).map(|seen| seen.replicas.clone());
                found.map(BTreeSet::from_iter).context("a partition that is not listed")
            };
            let (old, now) = (replicas(&before)?, replicas(&after)?);
            let wanted = BTreeSet::from_iter(wanted.iter().copied());
            let should = if cancelled.contains(partition) { &old } else { &wanted };
            // Nobody says of a move whose answer was lost whether it began.
            ensure!(
                now == *should || (!cancelled.contains(partition) && now == old),
                "partition {partition} is on {now:?} and not on {should:?}"
            );
        }
        Ok((0..self.cluster.len()).collect())
    }

    /// A voter loses its vote, partitions move, and somebody dies or is cut off meanwhile; then all
    /// vote again.
    pub(super) fn reshape(&mut self) -> Result<Vec<usize>> {
        let before = seen::settled(|| self.seen())?;
        let taken = self.take_a_vote()?;
        let moves = self.moves(&before);
        self.begin(&moves)?;
        let victim = self.any();
        if self.random.bool() {
            self.cluster.note(&format!("cut {victim} off"));
            self.cluster.network().context("a network")?.isolate(victim)?;
            self.wait_ms(500, 5_000);
            self.cluster.heal_network()?;
        } else {
            self.cluster.kill(victim)?;
            self.wait_ms(0, 3_000);
            self.cluster.start(victim)?;
        }
        self.wait_moved()?;
        self.give_back(taken)?;
        Ok((0..self.cluster.len()).collect())
    }

    /// For some partitions, other brokers than have them now: as many.
    fn moves(&mut self, before: &[Seen]) -> Vec<Move> {
        let mut moves = Vec::new();
        for (partition, _) in (0..).zip(before) {
            if self.random.u8(..3) == 0 {
                continue;
            }
            let mut nodes: Vec<usize> = (0..self.cluster.len()).collect();
            self.random.shuffle(&mut nodes);
            nodes.truncate(self.shared.replicas);
            moves.push((partition, nodes));
        }
        moves
    }

    /// The ids of all brokers, once all are listed: those that are not there are not.
    fn ids(&self) -> Result<BTreeMap<usize, i32>> {
        seen::settled(|| {
            let ids = seen::ids(self.cluster)?;
            ensure!(ids.len() == self.cluster.len(), "not all brokers are listed");
            Ok(ids)
        })
    }

    fn begin(&mut self, moves: &[Move]) -> Result<()> {
        let ids = self.ids()?;
        self.cluster.note(&format!("move {moves:?}"));
        let asked: Vec<_> = moves
            .iter()
            .map(|(partition, nodes)| {
                let nodes = nodes.iter().filter_map(|node| ids.get(node).copied()).collect();
                ((self.shared.topic.clone(), *partition), Some(nodes))
            })
            .collect();
        let outcomes = seen::settled(|| {
            seen::rover(self.cluster)?
                .with(async |client| client.reassign(&asked).await)
                .context("moving partitions")
        })?;
        for ((_, partition), outcome) in outcomes {
            outcome.with_context(|| format!("moving partition {partition}"))?;
        }
        Ok(())
    }

    /// Ends the moves; the partitions of which one was ended.
    fn call_off(&mut self, moves: &[Move]) -> Result<BTreeSet<i32>> {
        self.cluster.note("call the moves off");
        let topic = &self.shared.topic;
        let asked: Vec<_> =
            moves.iter().map(|(partition, _)| ((topic.clone(), *partition), None)).collect();
        let outcomes = seen::settled(|| {
            seen::rover(self.cluster)?
                .with(async |client| client.reassign(&asked).await)
                .context("calling moves off")
        })?;
        let mut ended = BTreeSet::new();
        for ((_, partition), outcome) in outcomes {
            match outcome {
                Ok(()) => drop(ended.insert(partition)),
                // It was done already.
                Err(ClientError::Refused { code: ErrorCode::NoReassignmentInProgress, .. }) => {}
                Err(error) => return Err(error).context("calling a move off"),
            }
        }
        Ok(ended)
    }

    /// Somebody who has a partition that moves, or is to have it.
    fn giver_or_getter(&mut self, before: &[Seen], moves: &[Move]) -> Result<usize> {
        let mut all = BTreeSet::new();
        for (partition, nodes) in moves {
            all.extend(nodes.iter().copied());
            if let Some(seen) = before.get(usize::try_from(*partition)?) {
                all.extend(seen.replicas.iter().copied());
            }
        }
        Ok(self.random.choice(all).unwrap_or(0))
    }

    fn wait_moved(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            self.cluster.check_running()?;
            let left = seen::rover(self.cluster)?.with(async |client| client.moves(None).await);
            match left {
                Ok(left) if left.is_empty() => return Ok(()),
                left if begun.elapsed() > MOVED_MAX => {
                    anyhow::bail!("moves are not done after {MOVED_MAX:?}: {left:?}")
                }
                _ => pause(Duration::from_millis(50)),
            }
        }
    }

    /// Takes the vote of any voter; who that was, if the quorum agreed.
    fn take_a_vote(&mut self) -> Result<Option<jocko_client::QuorumNode>> {
        let voters = seen::settled(|| {
            let quorum = seen::rover(self.cluster)?.with(async |client| client.quorum().await)?;
            Ok(quorum.context("no quorum")?.voters)
        })?;
        let Some(chosen) = self.random.choice(voters) else { return Ok(None) };
        self.cluster.note(&format!("take the vote of broker {}", chosen.id));
        let (id, directory) = (chosen.id, chosen.directory);
        let taken = seen::rover(self.cluster)?
            .with(async |client| client.remove_voter(id, directory).await);
        if let Err(error) = &taken {
            self.cluster.note(&format!("its vote was not taken: {error}"));
        }
        // One whose answer was lost may have lost its vote all the same.
        Ok(Some(chosen))
    }

    fn give_back(&mut self, taken: Option<jocko_client::QuorumNode>) -> Result<()> {
        let Some(voter) = taken else { return Ok(()) };
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: 10_000,
            voter_id: voter.id,
            voter_directory_id: voter.directory,
            ..Default::default()
        };
        let begun = Instant::now();
        let mut last = String::new();
        loop {
            self.cluster.check_running()?;
            if seen::all_vote(self.cluster).unwrap_or(false) {
                return Ok(());
            }
            ensure!(begun.elapsed() < VOTES_AGAIN_MAX, "not all brokers vote again: {last}");
            let given = seen::rover(self.cluster)?.with(async |client| {
                let answer = client.ask(&request).await?;
                let response = answer.get()?;
                ClientError::check(response.error_code, response.error_message.as_deref())
            });
            if let Err(error) = given {
                last = error.to_string();
            }
            pause(Duration::from_millis(200));
        }
    }
}
