//! Numbers that nobody can guess, as far as the machine can provide them.

use crate::devices::cpu::Cpu;
use crate::devices::port::{Port, Ports};

/// Tries of the CPU's random number generator, which may be out of numbers at the moment.
const TRIES: u32 = 10;

/// 256 bits: from the CPU's random number generator if there is one, mixed with the time-stamp
/// counter and a timer that runs on another clock.
pub fn random_seed(machine: impl Ports + Cpu) -> [u8; 32] {
    let mut words = [0u64; 4];
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for word in &mut words {
        // Read while it runs: its two bytes need not belong together.
        let timer = machine.input(Port::TIMER_0);
        state = mix(state ^ machine.tsc() ^ u64::from(timer) << 56);
        let random = (0..TRIES).find_map(|_| machine.random());
        *word = state ^ random.unwrap_or(0);
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
