//! Brokers that join a cluster that is there, and brokers that are removed from it.

use super::clients;
use super::machine::Machine;
use super::world::{BROKERS, World};
use tokio::time::Instant;

/// How many machines there are at most.
const MACHINES_MAX: usize = 5;

impl World {
    /// A blank machine joins, or one that was removed comes back, with its disk or with a blank one.
    pub(super) async fn join(&mut self) -> bool {
        let leaving = self.shared.leaving.get();
        let is_back = |it: &Machine| !it.is_member && Some(it.number) != leaving;
        let at = match self.machines.iter().position(is_back) {
            Some(at) => {
                if self.dice.per_mille(500) {
                    let seed = self.dice.seed()[0];
                    self.machines[at].wipe(seed).await;
                }
                at
            }
            None if self.machines.len() < MACHINES_MAX => self.add_machine(),
            None => return false,
        };
        let machine = &mut self.machines[at];
        machine.is_member = true;
        self.restarts[at] = Some(Instant::now());
        let number = machine.number;
        self.shared.members.borrow_mut().push(number);
        self.tell(format!("{number} joins"));
        true
    }

    fn add_machine(&mut self) -> usize {
        let number = u32::try_from(self.machines.len()).expect("a handful") + 1;
        let seed = self.dice.seed()[0];
        self.machines.push(Machine::new(number, self.surroundings.clone(), seed));
        self.restarts.push(None);
        self.patience.push(None);
        self.is_damaged.push(false);
        self.full_until.push(None);
        self.machines.len() - 1
    }

    /// Somebody begins to remove a broker, one that is no founder.
    pub(super) fn begin_removal(&mut self) -> bool {
        let later = self.machines.iter().filter(|it| it.is_member && it.number > BROKERS);
        let later: Vec<u32> = later.map(|it| it.number).collect();
        let Some(number) = self.dice.pick(&later) else { return false };
        if self.shared.leaving.get().is_some() {
            return false;
        }
        self.shared.leaving.set(Some(number));
        self.shared.members.borrow_mut().retain(|it| *it != number);
        self.tell(format!("{number} is to leave"));
        let client = self.client();
        self.clients.push(tokio::task::spawn_local(clients::remove(client, number)));
        true
    }

    /// Switches a broker off that keeps nothing any more.
    pub(super) async fn end_removal(&mut self) {
        if !self.shared.may_end.take() {
            return;
        }
        let leaving = self.shared.leaving.get();
        let Some(at) = self.machines.iter().position(|it| Some(it.number) == leaving) else {
            return;
        };
        let seed = self.dice.seed()[0];
        self.machines[at].is_member = false;
        self.machines[at].cut_power(seed).await;
        self.is_damaged[at] = false;
        let pause = self.pause();
        self.went_down(at, pause);
        self.tell(format!("{} is switched off", self.machines[at].number));
    }
}
