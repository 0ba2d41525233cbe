//! What is around the brokers of a run, as far as the machine permits it.

use crate::arguments::Arguments;
use crate::faults::Need;
use crate::say;
use anyhow::{Result, bail};
use jocko_testkit::{
    ClockShim, Disks, FaultyDisk, Namespaces, Network, SlowDisk, Squeezed, Surroundings,
    enter_own_world,
};
use std::path::Path;

/// Enters the namespaces that the faults need; where it does, this program begins anew. Without
/// them, faults that need them are renounced.
pub(crate) fn enter(arguments: &mut Arguments) -> Result<()> {
    let needs = arguments.needs();
    let wanted = Namespaces {
        network: needs.contains(&Need::Network),
        mounts: needs.contains(&Need::Disks),
    };
    if wanted != Namespaces::default()
        && let Err(why) = enter_own_world(wanted)
    {
        miss(arguments, &[Need::Network, Need::Disks], &why)?;
    }
    Ok(())
}

/// Makes what the faults need; renounces those for which it cannot be made.
pub(crate) fn make(arguments: &mut Arguments, folder: &Path) -> Result<Surroundings> {
    let needs = arguments.needs();
    let mut around = Surroundings::default();
    let tools = folder.join("disks");
    for need in needs {
        let made = match need {
            Need::Network => {
                around.network = Some(Network::default());
                Ok(())
            }
            Need::Loss => Network::check_loss(),
            Need::Narrow => Network::check_narrow(),
            Need::Disks => Disks::new(&tools).map(|disks| around.disks = Some(disks)),
            Need::Throttle => SlowDisk::check(),
            Need::Memory => Squeezed::check(),
            Need::Errors => FaultyDisk::check(),
            Need::Clocks => ClockShim::build(&tools).map(|clocks| around.clocks = Some(clocks)),
            Need::Other => Ok(()),
        };
        if let Err(why) = made {
            miss(arguments, &[need], &why)?;
        }
    }
    Ok(around)
}

fn miss(arguments: &mut Arguments, missing: &[Need], why: &anyhow::Error) -> Result<()> {
    if arguments.require_all {
        bail!("{why:#}");
    }
    let before = arguments.faults.clone();
    for need in missing {
        arguments.renounce(*need);
    }
    let gone = before.iter().filter(|fault| !arguments.faults.contains(fault));
    let gone: Vec<&str> = gone.map(|fault| fault.name()).collect();
    say(&format!("skipped: {}: {why:#}", gone.join(", ")));
    Ok(())
}
