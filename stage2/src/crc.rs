//! CRC-32C by the CPU's own instruction where it has one, else by tables.
#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::{__cpuid, _mm_crc32_u8};

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

/// By the instruction CRC32 (SDM vol. 2A), on eight bytes each. It takes three cycles and could start
/// once a cycle, but one stream is about as fast as memory. 128 bytes a round: what the loop itself
/// costs does not count then.
#[target_feature(enable = "sse4.2")]
fn by_instruction(crc: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<128>();
    let mut state = u64::from(!crc);
    for block in blocks {
        // SAFETY: reads the block, and nothing else.
        unsafe {
            asm!(
                ".irp offset, 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120",
                "crc32 {state}, qword ptr [{block} + \\offset]",
                ".endr",
                state = inout(reg) state,
                block = in(reg) block,
                options(pure, readonly, nostack, preserves_flags)
            );
        }
    }
    let mut state = state as u32;
    for &byte in rest {
        state = _mm_crc32_u8(state, byte);
    }
    !state
}
