//! Authorised operations, as Metadata and DescribeCluster tell them (KIP-430): a bit for each
//! operation the client may do. Without an authoriser that is everything the resource has.

use std::ops::RangeInclusive;

/// "Not asked for".
const NOT_ASKED: i32 = i32::MIN;

/// Read, write, create, delete, alter, describe; describe and alter configs.
pub(crate) const TOPIC: i32 = bits(3..=8) | bits(10..=11);
/// Create, alter, describe, cluster action; describe and alter configs; idempotent write.
pub(crate) const CLUSTER: i32 = bits(5..=5) | bits(7..=12);

/// Read, delete, describe; describe and alter configs.
pub(crate) const GROUP: i32 = bits(3..=3) | bits(6..=6) | bits(8..=8) | bits(10..=11);

const fn bits(codes: RangeInclusive<u32>) -> i32 {
    let (mut code, last) = (*codes.start(), *codes.end());
    let mut set = 0;
    while code <= last {
        set |= 1 << code;
        code += 1;
    }
    set
}

/// The bits, if the client asked for them.
pub(crate) const fn shown(asked: bool, operations: i32) -> i32 {
    if asked { operations } else { NOT_ASKED }
}

#[cfg(test)]
mod tests {
    use super::{CLUSTER, TOPIC};

    #[test]
    fn bits_are_kafkas() {
        assert_eq!(TOPIC, 3576);
        assert_eq!(CLUSTER, 8096);
    }
}
