//! CRC-32C by the CPU's own instruction where it has one, else by tables; CRC-32 by tables.
#![allow(unsafe_code)]

use core::arch::asm;
use core::arch::x86_64::{__cpuid, _mm_crc32_u8};

use bit_field::BitField;
use boot_path::files::checksum::{CRC_32, CRC_32C, Tables};

use crate::machine::global::Global;

/// Made when they are needed.
static TABLES: Global<Tables> = Global::new(Tables::EMPTY);

/// The CRC-32C of what had the checksum `crc` (0: nothing) and of `bytes` behind it.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    // SDM vol. 2A, CPUID leaf 1, ECX bit 20: SSE4.2.
    if __cpuid(1).ecx.get_bit(20) {
        // SAFETY: the CPU has the instruction, which uses general registers only.
        return unsafe { by_instruction(crc, bytes) };
    }
    TABLES.with(|tables| tables.of(CRC_32C).crc(crc, bytes))
}

/// The CRC-32/ISO-HDLC of `bytes`.
pub fn crc32(bytes: &[u8]) -> u32 {
    TABLES.with(|tables| tables.of(CRC_32).crc(0, bytes))
}

/// By the instruction CRC32 (SDM vol. 2A), on eight bytes each. It takes three cycles and could start
/// once a cycle, but one stream is about as fast as memory. 256 bytes a round: what the loop itself
/// costs does not count then.
#[target_feature(enable = "sse4.2")]
fn by_instruction(crc: u32, bytes: &[u8]) -> u32 {
    let (blocks, rest) = bytes.as_chunks::<256>();
    let mut state = u64::from(!crc);
    for block in blocks {
        // SAFETY: reads the block, and nothing else.
        unsafe {
            asm!(
                ".irp offset, 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120",
                "crc32 {state}, qword ptr [{middle} + \\offset - 128]",
                ".endr",
                ".irp offset, 0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120",
                "crc32 {state}, qword ptr [{middle} + \\offset]",
                ".endr",
                state = inout(reg) state,
                middle = in(reg) &raw const block[128], // what a displacement of one byte reaches
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
