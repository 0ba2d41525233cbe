//! Bytes as Kafka writes them, and what any bytes do.

use super::*;
use proptest::prelude::*;
