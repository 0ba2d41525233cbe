//! Plays and histories.
