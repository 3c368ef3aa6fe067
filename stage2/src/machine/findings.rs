//! What the 16-bit steps found out, and when each step began.
#![allow(unsafe_code)]

use core::arch::x86_64::_rdtsc;

use ::handoff::TIMELINE_LENGTH;

use disk_layout::mbr::frame::WAY_MULTIBOOT;

use crate::real::real_mode::{FINDINGS, Multiboot};

/// Notes the time-stamp counter at the start of a step.
pub fn step(number: usize) {
    let findings = &raw mut FINDINGS;
    // SAFETY: one thread, and no reference to the variable anywhere.
    unsafe { (*findings).timeline[number] = now() }
}

/// The time-stamp counter.
pub fn now() -> u64 {
    // SAFETY: a CPU with long mode has RDTSC.
    unsafe { _rdtsc() }
}

/// All stamps so far, by step.
pub fn stamps() -> [u64; TIMELINE_LENGTH] {
    let findings = &raw const FINDINGS;
    // SAFETY: as above.
    unsafe { (*findings).timeline }
}

/// The drive that stage2 was read from, and the one that the BIOS had passed to stage1.
pub fn drives() -> (u8, u8) {
    let findings = &raw const FINDINGS;
    // SAFETY: as above.
    unsafe { ((*findings).drive, (*findings).bios_drive) }
}

/// What another loader left in the registers, if one started the program.
pub fn multiboot() -> Option<Multiboot> {
    let findings = &raw const FINDINGS;
    // SAFETY: as above.
    (way() == WAY_MULTIBOOT).then(|| unsafe { (*findings).multiboot })
}

/// How stage2 was read: see [`disk_layout::mbr::frame::WAY`].
pub fn way() -> u16 {
    let findings = &raw const FINDINGS;
    // SAFETY: as above.
    unsafe { (*findings).way }
}
