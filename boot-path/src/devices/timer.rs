//! Time: the interval timer for waits, and the time-stamp counter's frequency.
//!
//! The interval timer's channel 2 drives the speaker and nothing else; its output can be read, so
//! no interrupt is needed (8254 data sheet; IBM PC AT technical reference, port 61h).

use crate::devices::cpu::Cpu;
use crate::devices::port::{Port, Ports};

/// The interval timer's ticks in a second.
const TICKS: u64 = 1_193_182;
/// Control: channel 2, both bytes, mode 0 (output rises at the end of the count).
const CHANNEL_2_MODE_0: u8 = 0xB0;
/// Port 61h: the gate of channel 2 (bit 0), the speaker (bit 1), the output of channel 2 (bit 5).
const GATE: u8 = 1 << 0;
const SPEAKER: u8 = 1 << 1;
const OUTPUT: u8 = 1 << 5;
/// Polls of the output before the timer counts as missing: each takes at least a microsecond on a
/// PC, and no count takes longer than 55 ms.
const POLLS: u32 = 1_000_000;

/// Ends a wait early.
pub type Stop<'a> = Option<&'a dyn Fn() -> bool>;

/// Counts channel 2 down, until it is done or `stop` says so. False: it does not count.
fn count(ports: impl Ports, ticks: u16, stop: Stop<'_>) -> bool {
    let before = ports.input(Port::SYSTEM_B) & !(GATE | SPEAKER);
    ports.output(Port::SYSTEM_B, before);
    ports.output(Port::TIMER_CONTROL, CHANNEL_2_MODE_0);
    for byte in ticks.to_le_bytes() {
        ports.output(Port::TIMER_2, byte);
    }
    ports.output(Port::SYSTEM_B, before | GATE);
    let done = (0..POLLS)
        .any(|_| ports.input(Port::SYSTEM_B) & OUTPUT != 0 || stop.is_some_and(|stop| stop()));
    ports.output(Port::SYSTEM_B, before);
    done
}

/// Waits this many microseconds, or until `stop` says so; without a timer, as long as it takes to
/// find out that it is missing.
pub fn wait(ports: impl Ports, microseconds: u64, stop: Stop<'_>) {
    let mut ticks = (microseconds * TICKS).div_ceil(1_000_000);
    while ticks > 0 && !stop.is_some_and(|stop| stop()) {
        let part = ticks.min(u16::MAX.into());
        if !count(ports, part as u16, stop) {
            return;
        }
        ticks -= part;
    }
}

/// The time-stamp counter's frequency in Hz: reported by CPUID (leaf 15h), or measured over 10 ms.
pub fn tsc_frequency(machine: impl Ports + Cpu) -> Option<u64> {
    /// 10 ms.
    const MEASURED: u16 = (TICKS / 100) as u16;

    if machine.cpuid(0, 0).eax >= 0x15 {
        let leaf = machine.cpuid(0x15, 0);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    let begin = machine.tsc();
    if !count(machine, MEASURED, None) {
        return None;
    }
    let ticks = machine.tsc().wrapping_sub(begin);
    Some(ticks.checked_mul(TICKS)? / u64::from(MEASURED)).filter(|&frequency| frequency > 0)
}
