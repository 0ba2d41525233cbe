//! Kills, pauses, cuts off, restarts and wipes brokers of a cluster while clients write to it with
//! acks=all and read from it, and holds what they saw against what may be.
//!
//! `chaos BINARY [--brokers N] [--faults kill,pause,cut,roll,wipe,...] [--row R1] [--other BINARY]
//! [--cycles N] [--seconds S] [--seed N]`. See `docs/internals/chaos.md`.

use anyhow::{Result, bail};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

mod arguments;
mod faults;
mod foreign;
mod producer;
mod reader;
mod replicas;
mod rounds;
mod score;
mod seen;
mod surroundings;
mod value;
mod workload;

use arguments::Arguments;

/// Somebody wants the run to end early, and well.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("FAIL {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = Arguments::parse(std::env::args().skip(1))?;
    let wanted = !arguments.faults.is_empty();
    surroundings::enter(&mut arguments)?;
    let absent: Vec<_> = arguments.foreign.extract_if(.., |foreign| !foreign.is_here()).collect();
    for client in absent {
        let words = format!("{} is not on this machine", client.name());
        if arguments.require_all {
            bail!("{words}");
        }
        say(&format!("skipped: {words}"));
    }
    listen_for_interrupts()?;
    let temporary = tempfile::tempdir()?;
    let path = arguments.folder.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&path)?;
    let around = surroundings::make(&mut arguments, &path)?;
    if wanted && arguments.faults.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = arguments.faults.iter().map(|fault| fault.name()).collect();
    say(&format!(
        "chaos: seed {}, {} brokers, faults {}",
        arguments.seed,
        arguments.brokers,
        if names.is_empty() { "none".to_owned() } else { names.join(",") }
    ));
    match rounds::run(&arguments, &path, around) {
        Ok(summary) => {
            say(&summary);
            Ok(())
        }
        Err(error) => {
            // What a failed run leaves is wanted.
            let _ = temporary.keep();
            say(&format!("{error:#}"));
            say(&format!("histories, logs and data: {}", path.display()));
            say(&format!("again: {}", arguments.again()));
            bail!("chaos has found something")
        }
    }
}

/// Ctrl-c and SIGTERM end the run after the fault under way: all is healed and judged.
fn listen_for_interrupts() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listen = move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
            loop {
                tokio::select! {
                    _ = tokio::signal::ctrl_c() => {}
                    _ = terminate.recv() => {}
                }
                // The second time is in earnest: brokers and networks end with this process.
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the report is the program's output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
