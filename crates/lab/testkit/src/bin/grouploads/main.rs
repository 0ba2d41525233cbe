//! Loads that groups put on a broker, each ending in one line of figures. For any broker that speaks
//! Kafka's protocol: `cargo xtask bench` runs them against jocko and against Kafka.
//!
//! `grouploads ADDRESS commits [SECONDS]`, `joins [ROUNDS]`, `members [GROUPS]`, `fill [RECORDS]`,
//! `await GROUP`.

use anyhow::{Context, Result, bail};
use jocko_client::{Client, Connection, NewTopic};
use std::time::Duration;

mod commits;
mod joins;
mod members;
mod wire;

/// How long any request may take: Kafka's first ones create its internal topics.
const REQUEST_MAX: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: grouploads ADDRESS commits|joins|members|fill|await [N|GROUP]";
    let address = arguments.next().context(usage)?;
    let load = arguments.next().context(usage)?;
    let argument = arguments.next();
    let number = |default: u64| -> Result<u64> {
        argument.as_deref().map_or(Ok(default), |text| text.parse().context(usage))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let told = runtime.block_on(async {
        let target = Target { address };
        match load.as_str() {
            "commits" => commits::run(&target, Duration::from_secs(number(5)?)).await,
            "joins" => joins::run(&target, number(50)?).await,
            "members" => members::run(&target, number(1_000)?).await,
            "fill" => commits::fill(&target, number(1_000_000)?).await,
            "await" => commits::await_group(&target, argument.as_deref().context(usage)?).await,
            _ => bail!("{usage}"),
        }
    })?;
    say(&told);
    Ok(())
}

/// The broker under load.
struct Target {
    address: String,
}

impl Target {
    async fn connect(&self) -> Result<Connection> {
        Ok(Connection::open(&self.address, REQUEST_MAX).await?)
    }

    /// Creates a topic unless it is there.
    async fn topic(&self, name: &str, partitions: i32) -> Result<()> {
        let mut client = Client::new(vec![self.address.clone()], REQUEST_MAX);
        if client.partitions(name, false).await.is_ok() {
            return Ok(());
        }
        let topic =
            NewTopic { name: name.to_owned(), partitions: Some(partitions), ..NewTopic::default() };
        client.create_topic(&topic).await?;
        Ok(())
    }
}

#[allow(clippy::print_stdout, reason = "the report is the program's output")]
fn say(line: &str) {
    println!("{line}");
}
