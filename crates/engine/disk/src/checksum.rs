//! CRC-32C, the checksum of record batches and of our own small files.

use crc_fast::CrcAlgorithm;

/// CRC-32C (Castagnoli, RFC 3720) of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes))
        .expect("a 32-bit checksum fits in 32 bits")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_castagnoli() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(super::crc32c(&[0; 32]), 0x8a91_36aa, "RFC 3720, appendix B.4");
    }
}
