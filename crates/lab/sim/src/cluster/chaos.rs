//! Trouble, drawn from the seed, and its end.

use super::machine::{Machine, News};
use super::oracle;
use super::world::{Durability, World};
use jocko_disk::{Inject, Operation};
use jocko_net::ports::LinkQuality;
use std::time::Duration;
use tokio::time::Instant;

/// What may befall a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// A process dies; the page cache lives on.
    Kill,
    /// A machine is switched off.
    CutPower,
    /// All are, at once.
    CutAllPower,
    /// A broker is stopped in order.
    Stop,
    /// A machine and all others do not reach each other.
    Isolate,
    /// The same of brokers alone: clients reach it.
    CutOff,
    /// What one machine sends to another arrives nowhere.
    CutOneWay,
    /// Two machines do not reach each other; a third reaches both.
    CutPair,
    /// Delays, stalls, and broken connections everywhere.
    Storm,
    /// A disk hangs for seconds.
    Hang,
    /// A process does not go on for seconds: its machine is paused, or it is.
    Freeze,
    /// A sync fails.
    DiskError,
    /// A disk takes hardly any more, until there is room again.
    FullDisk,
    /// A disk is replaced by a blank one.
    Wipe,
    /// The same, while what its process has said last is still under way.
    WipeInStorm,
    /// A wall clock jumps.
    WrongClock,
    /// A broker joins, or one that was removed comes back.
    Join,
    /// A broker that has joined later is removed.
    Remove,
}

pub(super) const TROUBLES: [Trouble; 18] = [
    Trouble::Kill,
    Trouble::CutPower,
    Trouble::CutAllPower,
    Trouble::Stop,
    Trouble::Isolate,
    Trouble::CutOff,
    Trouble::CutOneWay,
    Trouble::CutPair,
    Trouble::Storm,
    Trouble::Hang,
    Trouble::Freeze,
    Trouble::DiskError,
    Trouble::FullDisk,
    Trouble::Wipe,
    Trouble::WipeInStorm,
    Trouble::WrongClock,
    Trouble::Join,
    Trouble::Remove,
];

/// How long a stop in order may take before it becomes a kill.
const STOP_MAX: Duration = Duration::from_secs(15);

/// How much room a disk that fills up has left, at most: more than brokers call full.
const LEFT_BYTES_MAX: u64 = 6 << 20;

/// How long words have been late before the disk of who said them goes.
const LATE_BEFORE_WIPE: Duration = Duration::from_millis(150);

/// The usual network: about a millisecond each way.
pub(super) fn fair_weather() -> LinkQuality {
    LinkQuality {
        delay: Duration::from_micros(200)..Duration::from_micros(2_000),
        ..LinkQuality::default()
    }
}

impl World {
    /// Something happens, if it may.
    pub(super) async fn befall(&mut self, trouble: Trouble) {
        let count = u64::try_from(self.machines.len()).expect("a handful");
        let at = usize::try_from(self.dice.below(count)).expect("a handful");
        let lasts = Duration::from_millis(self.dice.between(200, 8_000));
        if !self.machines[at].is_member {
            return;
        }
        let happened = match trouble {
            Trouble::Kill | Trouble::CutPower | Trouble::CutAllPower | Trouble::Stop => {
                self.end_process(trouble, at).await
            }
            Trouble::Isolate
            | Trouble::CutOff
            | Trouble::CutOneWay
            | Trouble::CutPair
            | Trouble::Storm => self.disturb_network(trouble, at, Instant::now() + lasts),
            Trouble::Hang => {
                self.machines[at].slowness.hang(lasts / 2);
                true
            }
            Trouble::Freeze => self.machines[at].freeze(Instant::now() + lasts),
            Trouble::DiskError => self.damage_disk(at, Instant::now() + lasts),
            Trouble::FullDisk => self.fill_disk(at, Instant::now() + lasts),
            Trouble::Wipe => self.wipe(at).await,
            Trouble::WipeInStorm => self.let_words_be_late(at, Instant::now() + lasts),
            Trouble::WrongClock => {
                let off = i64::try_from(self.dice.below(7_200_000)).unwrap_or(0) - 3_600_000;
                self.machines[at].clock.be_off_by(off);
                true
            }
            Trouble::Join => self.join().await,
            Trouble::Remove => self.begin_removal(),
        };
        if happened {
            self.tell(format!("{trouble:?} {} for {lasts:?}", self.machines[at].number));
            *self.coverage.troubles.entry(trouble).or_default() += 1;
        }
    }

    async fn end_process(&mut self, trouble: Trouble, at: usize) -> bool {
        if trouble == Trouble::CutAllPower {
            match self.durability {
                Durability::Fsync => {}
                Durability::Relaxed => return false,
                Durability::Lossy => self.shared.lose(),
            }
            for at in 0..self.machines.len() {
                self.cut_power(at).await;
            }
            return true;
        }
        let is_lost = trouble == Trouble::CutPower && self.durability != Durability::Fsync;
        if !self.machines[at].is_running() || (is_lost && !self.is_safe()) {
            return false;
        }
        match trouble {
            Trouble::CutPower => self.cut_power(at).await,
            Trouble::Stop => {
                self.machines[at].stop();
                self.patience[at] = Some(Instant::now() + STOP_MAX);
            }
            _ => {
                self.machines[at].kill().await;
                let pause = self.pause();
                self.went_down(at, pause);
            }
        }
        true
    }

    fn disturb_network(&mut self, trouble: Trouble, at: usize, ends: Instant) -> bool {
        let others = u64::try_from(self.machines.len() - 1).expect("a handful");
        let other = at + 1 + usize::try_from(self.dice.below(others)).expect("a handful");
        let there = self.machines[other % self.machines.len()].address();
        let here = self.machines[at].address();
        let net = self.surroundings.net.clone();
        match trouble {
            Trouble::Isolate => {
                net.isolate(here);
                self.cuts.push((ends, here, None));
            }
            Trouble::CutOff => {
                for there in self.machines.iter().map(Machine::address) {
                    if there != here {
                        net.cut_both(here, there);
                        self.cuts.extend([(ends, here, Some(there)), (ends, there, Some(here))]);
                    }
                }
            }
            Trouble::CutOneWay => {
                net.cut(here, there);
                self.cuts.push((ends, here, Some(there)));
            }
            Trouble::CutPair => {
                net.cut_both(here, there);
                self.cuts.extend([(ends, here, Some(there)), (ends, there, Some(here))]);
            }
            _ => {
                net.set_quality(self.storm());
                self.storm_ends = Some(ends);
            }
        }
        true
    }

    /// A sync is to fail, some time; what the disk holds then only a power cut tells, at `ends`.
    fn damage_disk(&mut self, at: usize, ends: Instant) -> bool {
        // Only a power cut tells what it came to, and that would lose what others may not have.
        if self.is_fragile() || self.durability != Durability::Fsync {
            return false;
        }
        let skip = self.dice.below(20);
        let what = self.dice.pick(&["t-0", "t-1", "__cluster_metadata-0", ""]);
        let inject = Inject::new(Operation::Sync, what.unwrap_or(""));
        self.machines[at].disk.inject(inject.after(skip).times(1));
        self.is_damaged[at] = true;
        self.patience[at] = Some(ends);
        true
    }

    /// Leaves a disk little room, or none, until it `ends`.
    fn fill_disk(&mut self, at: usize, ends: Instant) -> bool {
        let left = match self.dice.per_mille(500) {
            true => 0,
            false => self.dice.below(LEFT_BYTES_MAX),
        };
        self.machines[at].leave_room(left);
        self.full_until[at] = Some(ends);
        true
    }

    async fn wipe(&mut self, at: usize) -> bool {
        if !self.may_wipe() {
            return false;
        }
        let seed = self.dice.seed()[0];
        self.machines[at].wipe(seed).await;
        let pause = self.pause();
        self.went_down(at, pause);
        true
    }

    /// Much is late from now on; the disk goes while it is.
    fn let_words_be_late(&mut self, at: usize, ends: Instant) -> bool {
        if self.wipe_due.is_some() || !self.may_wipe() {
            return false;
        }
        self.surroundings.net.set_quality(LinkQuality {
            stalls_per_10k: 300,
            stall: Duration::from_millis(500)..Duration::from_millis(4_000),
            ..fair_weather()
        });
        self.storm_ends = Some(ends);
        self.wipe_due = Some((Instant::now() + LATE_BEFORE_WIPE, at));
        true
    }

    async fn cut_power(&mut self, at: usize) {
        let seed = self.dice.seed()[0];
        self.machines[at].cut_power(seed).await;
        self.is_damaged[at] = false;
        let pause = self.pause();
        self.went_down(at, pause);
    }

    /// Whether a machine may lose what it has: nothing is nowhere else.
    fn is_safe(&self) -> bool {
        oracle::missing_apart_from_ends(&self.machines).is_ok() && !self.is_fragile()
    }

    /// Whether a disk may go. Not where all other machines may lose their page caches soon after: who
    /// leads then only an operator could say.
    fn may_wipe(&self) -> bool {
        self.durability != Durability::Lossy && self.is_safe()
    }

    /// Whether a disk is not to be relied on.
    fn is_fragile(&self) -> bool {
        self.is_damaged.iter().any(|is| *is)
    }

    pub(super) fn pause(&mut self) -> Duration {
        Duration::from_millis(match self.dice.per_mille(500) {
            true => self.dice.between(0, 300),
            false => self.dice.between(300, 4_000),
        })
    }

    fn storm(&mut self) -> LinkQuality {
        let dice = &mut self.dice;
        LinkQuality {
            delay: Duration::from_micros(200)..Duration::from_millis(dice.between(2, 60)),
            stalls_per_10k: u32::try_from(dice.below(300)).unwrap_or(0),
            stall: Duration::from_millis(100)..Duration::from_millis(1_500),
            breaks_per_10k: u32::try_from(dice.below(100)).unwrap_or(0),
            bytes_per_second: None,
        }
    }

    /// A machine's process is gone, and comes back after a pause.
    pub(super) fn went_down(&mut self, at: usize, pause: Duration) {
        self.patience[at] = None;
        self.restarts[at] = self.machines[at].is_member.then(|| Instant::now() + pause);
        self.oracle.forget(self.machines[at].number);
        self.shared.known.borrow_mut().forget(self.machines[at].number);
    }

    /// Ends what is due to end, and starts what is due to start.
    pub(super) async fn go_on(&mut self) {
        let now = Instant::now();
        let net = self.surroundings.net.clone();
        let (due, left) = std::mem::take(&mut self.cuts).into_iter().partition(|it| it.0 <= now);
        self.cuts = left;
        let due: Vec<_> = due;
        for (_, here, there) in due {
            match there {
                None => net.rejoin(here),
                Some(there) => net.heal_between(here, there),
            }
        }
        if self.storm_ends.is_some_and(|ends| ends <= now) {
            self.storm_ends = None;
            net.set_quality(fair_weather());
        }
        if let Some((_, at)) = self.wipe_due.take_if(|(due, _)| *due <= now) {
            // Not if something else has happened meanwhile.
            self.wipe(at).await;
        }
        self.end_removal().await;
        for at in 0..self.machines.len() {
            self.go_on_with(at, now).await;
        }
    }

    async fn go_on_with(&mut self, at: usize, now: Instant) {
        let number = self.machines[at].number;
        if self.full_until[at].take_if(|until| *until <= now).is_some() {
            self.machines[at].disk.set_capacity(None);
            self.tell(format!("{number} has room again"));
        }
        if self.machines[at].thaw(Some(now)) {
            self.tell(format!("{number} goes on"));
        }
        match self.machines[at].look().await {
            News::None => {}
            News::Up => self.tell(format!("{number} is up")),
            News::Stopped => {
                self.tell(format!("{number} stopped"));
                let pause = self.pause();
                self.went_down(at, pause);
            }
            News::Died => {
                self.coverage.deaths += 1;
                let words = self.machines[at].last_words.clone();
                self.tell(format!("{number} died: {}", words.unwrap_or_default()));
                self.went_down(at, Duration::from_secs(1));
            }
        }
        if self.patience[at].is_some_and(|until| until <= now) {
            self.patience[at] = None;
            if self.is_damaged[at] {
                // What a disk holds after a sync that failed only another start of it can tell.
                self.cut_power(at).await;
            } else if self.machines[at].is_running() {
                self.machines[at].kill().await;
                self.went_down(at, Duration::from_millis(100));
            }
        }
        if self.restarts[at].is_some_and(|due| due <= now) {
            if self.is_damaged[at] {
                self.cut_power(at).await;
                return;
            }
            self.restarts[at] = None;
            let seed = self.dice.seed()[0];
            self.machines[at].start(seed);
        }
    }

    /// Ends all trouble.
    pub(super) async fn heal(&mut self) {
        self.tell("all heals".to_owned());
        self.surroundings.net.heal();
        self.surroundings.net.set_quality(fair_weather());
        (self.cuts, self.storm_ends, self.wipe_due) = (Vec::new(), None, None);
        for at in 0..self.machines.len() {
            self.machines[at].thaw(None);
            let Machine { disk, slowness, clock, .. } = &self.machines[at];
            disk.heal();
            disk.set_capacity(None);
            self.full_until[at] = None;
            slowness.heal();
            clock.be_off_by(0);
            if self.is_damaged[at] {
                self.cut_power(at).await;
            }
        }
    }
}
