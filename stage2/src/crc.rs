//! CRC-32C by the CPU's own instruction where it has one, else by tables.
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid, _mm_crc32_u8, _mm_crc32_u64};

use bit_field::BitField;
use stage2::checksum::Tables;

use crate::global::Global;

/// Made when they are needed for the first time.
static TABLES: Global<Tables> = Global::new(Tables::EMPTY);

/// The CRC-32C of what had the checksum `crc` (0: nothing) and of `bytes` behind it.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    // SDM vol. 2A, CPUID leaf 1, ECX bit 20: SSE4.2.
    if __cpuid(1).ecx.get_bit(20) {
        // SAFETY: the CPU has the instruction, which uses general registers only.
        return unsafe { by_instruction(crc, bytes) };
    }
    TABLES.with(|tables| {
        if tables.is_empty() {
            tables.fill();
        }
        tables.crc32c(crc, bytes)
    })
}

/// By the instruction CRC32 (SDM vol. 2A). It takes three cycles and could start one every cycle: one
/// stream of eight bytes each is as fast as memory.
#[target_feature(enable = "sse4.2")]
fn by_instruction(crc: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut state = u64::from(!crc);
    for block in blocks {
        let [a, b, c, d]: [[u8; 8]; 4] = zerocopy::transmute!(*block);
        state = _mm_crc32_u64(state, u64::from_le_bytes(a));
        state = _mm_crc32_u64(state, u64::from_le_bytes(b));
        state = _mm_crc32_u64(state, u64::from_le_bytes(c));
        state = _mm_crc32_u64(state, u64::from_le_bytes(d));
    }
    let mut state = state as u32;
    for &byte in rest {
        state = _mm_crc32_u8(state, byte);
    }
    !state
}
