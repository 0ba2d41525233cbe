//! What signals do to a broker: the first asks for a clean stop, the second ends it at once.

use crate::failure::{Failure, Result};
use jocko_broker::{Broker, StartError, Starting};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How often the broker is looked at while it runs.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// How long a start that was told to stop may go on: one that is nearly through leaves nothing to
/// recover. Longer ones wait for something, or recover, and neither is lost by ending them.
const START_GRACE: Duration = Duration::from_secs(1);
/// How long it then has to end in order, which keeps the mark of the last clean stop.
const GIVE_UP_MAX: Duration = Duration::from_secs(2);

/// The signals that ask for a stop.
pub(super) struct Signals {
    runtime: Runtime,
    asked: Asked,
    /// Whether the first has come.
    is_told: bool,
}

struct Asked {
    terminate: Signal,
    interrupt: Signal,
}

impl Asked {
    /// The next signal, as what it makes of the exit code: 128 and its number, as shells have it.
    async fn next(&mut self) -> i32 {
        let kind = tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        };
        128 + kind.as_raw_value()
    }
}

impl Signals {
    /// Listens from here on. One that comes while the broker starts is kept, and does not kill
    /// the process half-way.
    pub(super) fn listen() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let asked = {
            let _guard = runtime.enter();
            let terminate = signal(SignalKind::terminate())?;
            Asked { terminate, interrupt: signal(SignalKind::interrupt())? }
        };
        Ok(Self { runtime, asked, is_told: false })
    }

    /// Waits until the broker has started. One that is told to stop meanwhile and does not soon
    /// start is given up, and the process with it.
    pub(super) fn wait_start(
        &mut self,
        mut starting: Starting,
    ) -> std::result::Result<Broker, StartError> {
        let Self { runtime, asked, is_told } = self;
        runtime.block_on(async {
            let code = tokio::select! {
                started = starting.ready() => return started,
                code = asked.next() => code,
            };
            *is_told = true;
            let ended = async {
                if let Ok(started) = timeout(START_GRACE, starting.ready()).await {
                    return started;
                }
                eprintln!("stopped before it was ready, as it was told; nothing is lost by that");
                let (sender, given_up) = oneshot::channel::<()>();
                let giving_up = move || {
                    starting.give_up();
                    drop(sender);
                };
                // Where no thread is to be had the process ends as well.
                if std::thread::Builder::new()
                    .name("jocko-stop".to_owned())
                    .spawn(giving_up)
                    .is_ok()
                {
                    let _ = timeout(GIVE_UP_MAX, given_up).await;
                }
                end(code)
            };
            tokio::select! {
                started = ended => started,
                code = asked.next() => end_now(code, "told twice to stop before it was ready"),
            }
        })
    }

    /// Returns the broker when it is to stop; fails when it has ended by itself.
    pub(super) fn wait(&mut self, broker: Broker) -> Result<Broker> {
        let Self { runtime, asked, is_told } = self;
        runtime.block_on(async {
            while !*is_told {
                tokio::select! {
                    _ = asked.next() => *is_told = true,
                    () = tokio::time::sleep(WATCH_EVERY) => {}
                }
                if !broker.is_running() {
                    return match broker.stop() {
                        Ok(()) => Err(Failure::new("the broker ended by itself")),
                        Err(reason) => Err(Failure::new(format!("the broker ended: {reason}"))
                            .cure("start it again once that is mended")),
                    };
                }
            }
            Ok(broker)
        })
    }

    /// Stops the broker; a signal meanwhile ends the process at once.
    pub(super) fn stop(&mut self, broker: Broker) -> Result<std::result::Result<(), String>> {
        let (ended, mut end) = oneshot::channel();
        std::thread::Builder::new().name("jocko-stop".to_owned()).spawn(move || {
            // Whoever waits for this lives until the process ends.
            let _ = ended.send(broker.stop());
        })?;
        let Self { runtime, asked, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                outcome = &mut end => {
                    Ok(outcome.unwrap_or_else(|_| Err("the stop panicked".to_owned())))
                }
                code = asked.next() => end_now(code, "told twice to stop: this stop is not clean"),
            }
        })
    }
}

fn end_now(code: i32, why: &str) -> ! {
    eprintln!("error: {why}\n  try: start it again: recovery sorts this out, and says what it did");
    end(code)
}

/// Ends the process as a signal would have. What is on disk is whole at any time.
#[allow(clippy::exit, reason = "whoever is told to stop has waited long enough for other threads")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}
