//! The timeline in microseconds.

// The timer's ports are written by hand.
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid, _rdtsc};

use handoff::BootInfo;
use x86_64::instructions::port::Port;

use crate::{print, println};

/// CPUID 1, EDX bit 4: RDTSC.
pub const CPUID_TSC: u8 = 1 << 4;

/// The steps of the boot path, from 1.
pub const STEPS: [&str; 12] = [
    "stage1",
    "A20",
    "CPU",
    "long mode",
    "console",
    "memory",
    "disk",
    "files",
    "entry",
    "kernel",
    "paging",
    "handoff",
];

/// Steps in a row.
const STEPS_IN_A_ROW: usize = 3;
/// Rows of [`print_timeline`].
pub const TIMELINE_ROWS: usize = 1 + STEPS.len().div_ceil(STEPS_IN_A_ROW) + 1;

/// Does the CPU have a time-stamp counter (CPUID 1, EDX bit 4)? Without one all stamps are 0.
pub fn has_counter() -> bool {
    __cpuid(1).edx & u32::from(CPUID_TSC) != 0
}

/// How long each step took, up to the kernel's first instruction at the time `entry`.
pub fn print_timeline(boot: &BootInfo, entry: u64) {
    if !has_counter() {
        println!("no timeline: the CPU has no time-stamp counter");
        return;
    }
    let ticks_per_second = frequency();
    println!(
        "timeline in µs (time-stamp counter: {} MHz)",
        ticks_per_second / 1_000_000
    );
    let microseconds = |from: u64, to: u64| {
        u128::from(to.saturating_sub(from)) * 1_000_000 / u128::from(ticks_per_second)
    };
    let start = |step| boot.time_of_step(step).unwrap_or(entry);
    for (step, name) in (1..).zip(STEPS) {
        let end = if step < STEPS.len() {
            start(step + 1)
        } else {
            entry
        };
        print!("  {step:2} {name:9} {:8}", microseconds(start(step), end));
        if step.is_multiple_of(STEPS_IN_A_ROW) {
            println!();
        }
    }
    println!("  all of it {:11}", microseconds(start(1), entry));
}

/// Ticks of the time-stamp counter in a second, never 0.
fn frequency() -> u64 {
    let told = frequency_told().unwrap_or(0);
    if told != 0 {
        told
    } else {
        frequency_measured().max(1)
    }
}

/// The frequency that the CPU reports, if it does: leaf 15h (SDM vol. 2, "CPUID"), or a
/// hypervisor's leaf 40000010h, in kHz.
fn frequency_told() -> Option<u64> {
    if __cpuid(0).eax >= 0x15 {
        let leaf = __cpuid(0x15);
        if leaf.eax != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    let hypervisor = __cpuid(1).ecx >> 31 != 0;
    (hypervisor && __cpuid(0x4000_0000).eax >= 0x4000_0010)
        .then(|| u64::from(__cpuid(0x4000_0010).eax) * 1000)
}

/// Counts ticks while channel 2 of the timer (8254 data sheet, mode 0; its gate and output are bits
/// 0 and 5 of port 61h) counts down for 10 ms.
fn frequency_measured() -> u64 {
    /// The timer's clock is 1,193,182 Hz.
    const COUNT: u16 = 11_932;
    /// A read of the port takes about a microsecond; a machine without timer must not hang.
    const POLLS: u32 = 1_000_000;

    let mut gate = Port::<u8>::new(0x61);
    let mut channel = Port::<u8>::new(0x42);
    let [low, high] = COUNT.to_le_bytes();
    // SAFETY: channel 2 is the loudspeaker's, which stays off (bit 1 of port 61h).
    unsafe {
        let before = gate.read() & !0b11;
        gate.write(before | 1);
        Port::<u8>::new(0x43).write(0b1011_0000);
        channel.write(low);
        channel.write(high);
        let start = _rdtsc();
        for _ in 0..POLLS {
            if gate.read() & 0x20 != 0 {
                break;
            }
        }
        let ticks = _rdtsc() - start;
        gate.write(before);
        ticks * 100
    }
}
