//! Tables, bytes, words, and random histories.

mod bytes;
mod histories;
mod stage;
mod steps;
