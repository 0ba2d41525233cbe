//! The controller from outside: plays that people can read, and properties.

mod copies;
mod play;
mod properties;
mod stage;
