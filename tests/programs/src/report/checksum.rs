//! The checksum that the test kernels compute of what they got; the host computes it, too.

/// Changes with every bit and with the order of the bytes.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(1, |sum: u64, &byte| {
        (sum.rotate_left(5) ^ u64::from(byte)).wrapping_mul(0x2545_F491_4F6C_DD1D)
    })
}
