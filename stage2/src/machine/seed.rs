//! Numbers that nobody can guess, as far as the machine can do that.
#![allow(unsafe_code)]

use core::arch::asm;

use handoff::{CPU_RDRAND, CPU_RDSEED};
use x86_64::instructions::port::Port;

use crate::machine::findings;

/// 256 bits: from RDSEED or RDRAND where there is one, mixed with the time-stamp counter and a timer
/// that runs by another clock.
pub fn random_seed(features: u64) -> [u8; 32] {
    let mut words = [0u64; 4];
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for word in &mut words {
        // SAFETY: reading the PIT's channel 0 as it runs; its two bytes need not belong together.
        let pit = unsafe { Port::<u8>::new(0x40).read() };
        state = mix(state ^ findings::now() ^ u64::from(pit) << 56);
        *word = state ^ hardware_random(features).unwrap_or(0);
    }
    zerocopy::transmute!(words)
}

/// SplitMix64's finaliser: every input bit changes about half of the output bits.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

/// RDSEED, else RDRAND; both may have nothing at the moment (SDM vol. 1, 7.3.17).
fn hardware_random(features: u64) -> Option<u64> {
    for _ in 0..10 {
        let mut value = 0u64;
        let ready: u8;
        // SAFETY: only executed where CPUID says that the instruction exists.
        unsafe {
            if features & CPU_RDSEED != 0 {
                asm!("rdseed {}", "setc {}", inout(reg) value, out(reg_byte) ready);
            } else if features & CPU_RDRAND != 0 {
                asm!("rdrand {}", "setc {}", inout(reg) value, out(reg_byte) ready);
            } else {
                return None;
            }
        }
        if ready != 0 {
            return Some(value);
        }
    }
    None
}
