//! Time: the interval timer for waits, and the time-stamp counter's frequency.
//!
//! The interval timer's channel 2 drives the speaker and nothing else; its output can be read, so no
//! interrupt is needed (8254 data sheet; IBM PC AT technical reference, port 61h).
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};

use x86_64::instructions::port::Port;

use crate::machine::global::Global;

/// The interval timer's ticks in a second.
const TICKS: u64 = 1_193_182;
/// Control: channel 2, both bytes, mode 0 (output rises at the end of the count).
const CHANNEL_2_MODE_0: u8 = 0xB0;
/// Port 61h: the gate of channel 2 (bit 0), the speaker (bit 1), the output of channel 2 (bit 5).
const GATE: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;
/// Looks at the output before a timer counts as missing: each takes at least a microsecond on a PC, and
/// no count takes longer than 55 ms.
const POLLS: u32 = 1_000_000;

/// Lets channel 2 count down, and returns when it is done or `stop` says so. False: it does not count.
fn count(ticks: u16, stop: &mut impl FnMut() -> bool) -> bool {
    let mut control = Port::<u8>::new(0x61);
    let mut mode = Port::<u8>::new(0x43);
    let mut counter = Port::<u8>::new(0x42);
    // SAFETY: the interval timer's channel 2 and its gate, which have no other user.
    unsafe {
        let before = control.read() & !(GATE | SPEAKER);
        control.write(before);
        mode.write(CHANNEL_2_MODE_0);
        let [low, high] = ticks.to_le_bytes();
        counter.write(low);
        counter.write(high);
        control.write(before | GATE);
        let mut done = false;
        for _ in 0..POLLS {
            done = control.read() & OUTPUT != 0 || stop();
            if done {
                break;
            }
        }
        control.write(before);
        done
    }
}

/// Waits so many microseconds, but no longer than until `stop` says so; where the timer is missing, as
/// long as it takes to find that out.
pub fn wait(microseconds: u64, mut stop: impl FnMut() -> bool) {
    let mut ticks = (microseconds * TICKS).div_ceil(1_000_000);
    while ticks > 0 && !stop() {
        let part = ticks.min(u16::MAX.into());
        if !count(part as u16, &mut stop) {
            return;
        }
        ticks -= part;
    }
}

/// The time-stamp counter's frequency, which is found out once.
static FREQUENCY: Global<Option<Option<u64>>> = Global::new(None);

/// As [`tsc_frequency`], which is asked the first time.
pub fn known_tsc_frequency() -> Option<u64> {
    FREQUENCY.with(|known| *known.get_or_insert_with(tsc_frequency))
}

/// The time-stamp counter's frequency in Hz: as CPUID says (leaf 15h), or measured for 10 ms.
fn tsc_frequency() -> Option<u64> {
    /// 10 ms.
    const MEASURED: u16 = (TICKS / 100) as u16;

    if __cpuid(0).eax >= 0x15 {
        let leaf = __cpuid_count(0x15, 0);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    // SAFETY: a CPU with long mode has RDTSC.
    let now = || unsafe { _rdtsc() };
    let begin = now();
    if !count(MEASURED, &mut || false) {
        return None;
    }
    let ticks = now().wrapping_sub(begin);
    Some(ticks.checked_mul(TICKS)? / u64::from(MEASURED)).filter(|&frequency| frequency > 0)
}
