//! The controller from outside: plays that people can read, and properties.

mod play;
mod properties;
mod stage;
