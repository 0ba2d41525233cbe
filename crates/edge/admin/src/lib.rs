//! HTTP for operators: `/livez`, `/readyz` and `/metrics`, on loopback unless told otherwise.
//!
//! This crate knows nothing of Kafka or of the broker: it is handed a [`Probe`] that answers how
//! things stand, and a registry of metrics.
//!
//! - `/livez` answers 200 while the process can answer at all.
//! - `/readyz` answers 200 when clients are served, else 503; the body says why, one reason a line.
//! - `/metrics` is OpenMetrics text.
//! - Anything else is 404, and methods other than GET are 405.
//!
//! Nobody can hold the port, or the process, by being slow: see [`Limits`].

mod connection;
mod server;

pub use server::{Limits, Probe, serve};

#[cfg(test)]
mod tests;
