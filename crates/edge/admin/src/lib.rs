//! HTTP for operators: `/livez`, `/readyz`, `/metrics` and `/cluster`, on loopback unless told otherwise.
//!
//! This crate knows nothing of Kafka or of the broker: it is handed a [`Probe`] that answers how
//! things stand, and a [`Company`] that answers for the cluster.
//!
//! - `/livez` answers 200 while the process can answer at all.
//! - `/readyz` answers 200 when clients are served, else 503; the body says why, one reason a line. Below
//!   the `ok` stands what is wrong all the same: a disk that is full, say.
//! - `/metrics` is OpenMetrics text.
//! - `/cluster/members` and `/cluster/events` are JSON.
//! - `POST /cluster/transfer-leader?to=ID&dry-run` changes something, so it is answered only to
//!   loopback, under a loopback name, with the header `x-jocko: cli`; else 403. 409 says why not.
//! - Anything else is 404, and other methods than these are 405.
//!
//! Nobody can hold the port, or the process, by being slow: see [`Limits`].

mod company;
mod connection;
mod server;

pub use company::{Answering, Company};
pub use server::{Limits, Probe, serve};

#[cfg(test)]
mod tests;
