//! What can be wrong with a setting, told so that the reader can mend it.

use crate::load::Source;
use std::fmt;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The name as it was given.
    pub name: String,
    /// Where it was given, if it was.
    pub source: Option<Source>,
    /// What is wrong.
    pub problem: Box<Problem>,
}

/// The kinds of mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// No setting has this name.
    Unknown {
        /// The name that was perhaps meant.
        nearest: Option<String>,
    },
    /// The value is not of the setting's type.
    Value {
        /// As given.
        value: String,
        /// What it should look like.
        expected: String,
    },
    /// The value is of the right type but not allowed.
    Refused {
        /// As given.
        value: String,
        /// Why not.
        why: String,
    },
    /// It must be set, given what else is set.
    Missing {
        /// Why.
        why: String,
        /// What to do about it.
        cure: String,
    },
    /// Two names of one setting are set in one place.
    Twice {
        /// The setting.
        key: String,
        /// The other name.
        other: String,
        /// Where that stands.
        other_source: Source,
    },
    /// The file is not TOML.
    Syntax {
        /// What the parser says.
        message: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}: ")?;
        }
        let name = &self.name;
        match &*self.problem {
            Problem::Unknown { nearest: Some(nearest) } => {
                write!(f, "unknown setting {name}: did you mean {nearest}?")
            }
            Problem::Unknown { nearest: None } => {
                write!(f, "unknown setting {name}: `jocko config show` lists them all")
            }
            Problem::Value { value, expected } => {
                write!(f, "{name} = \"{value}\" cannot be read: it must be {expected}")
            }
            Problem::Refused { value, why } => {
                write!(f, "{name} = \"{value}\" is not allowed: {why}")
            }
            Problem::Missing { why, cure } => {
                write!(f, "{name} is not set, and must be: {why}\n  try: {cure}")
            }
            Problem::Twice { key, other, other_source } => {
                write!(f, "{name} sets {key}, which {other} ({other_source}) sets too: keep one")
            }
            Problem::Syntax { message } => write!(f, "not valid TOML: {message}"),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Every mistake found, in the order found; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
