//! Damage in every kind of file.
