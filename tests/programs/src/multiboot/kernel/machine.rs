//! The machine at the first instruction.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::entry::State;
use crate::memory::{address, bytes, image_start, read};
use crate::outcome::Checks;
use crate::report::{input, say};

pub fn check_machine(state: &State, checks: &mut Checks) {
    checks.check("CR0 is PE and ET", state.cr0 == 1 << 4 | 1);
    checks.check("VM and IF clear", state.eflags & (1 << 17 | 1 << 9) == 0);
    checks.check("CR4", state.cr4 == 0);
    checks.check("EFER", state.efer[0] & (1 << 8 | 1 << 10 | 1 << 11) == 0);
    let [limit, low, high, _] = state.gdtr;
    let gdt = u64::from(high) << 16 | u64::from(low);
    for (number, name) in ["CS", "DS", "ES", "FS", "GS", "SS"].iter().enumerate() {
        let selector = state.selectors[number];
        let rights = state.rights[number];
        let kind = rights >> 8 & 0xF;
        // Present, code or data; a 32-bit segment, counted in pages.
        let right = rights & (1 << 15 | 1 << 12 | 1 << 22 | 1 << 23)
            == 1 << 15 | 1 << 12 | 1 << 22 | 1 << 23
            // Code that can be read, or data that can be written and does not expand down.
            && if number == 0 { kind & 0b1010 == 0b1010 } else { kind & 0b1110 == 0b0010 };
        let in_table = selector | 7 <= limit.into();
        let descriptor = read::<u64>(gdt + u64::from(selector & !7)).unwrap_or(1);
        let base = descriptor >> 16 & 0xFF_FFFF | descriptor >> 56 << 24;
        if !(right && state.limits[number] == u32::MAX && in_table && base == 0) {
            say!(
                "FAILED: {name} {selector:x}, rights {rights:x}, limit {:x}, base {base:x}",
                state.limits[number]
            );
            checks.failed = true;
        }
    }
    // Without A20, this would be seen there.
    let here = address(&raw const image_start) + 16;
    checks.check("A20", bytes(here, 64) != bytes(here - (1 << 20), 64));
    let untouched = UNTOUCHED.iter().all(|byte| byte.load(Relaxed) == 0);
    checks.check(".bss is zero", untouched);
    // As the BIOS left them: the timer is not masked, and the vectors lead to the BIOS's ROM.
    let masks = [input(0x21), input(0xA1)];
    say!("interrupt masks {:02x} {:02x}", masks[0], masks[1]);
    checks.check("interrupt controllers", masks[0] & 1 == 0);
    for vector in [0, 6, 7, 12, 13] {
        let far = interrupt_vector(vector);
        let linear = (far >> 16) * 16 + (far & 0xFFFF);
        if linear < 0xC_0000 {
            say!("FAILED: vector {vector} leads to {linear:x}");
            checks.failed = true;
        }
    }
}

/// A page that nobody writes to.
static UNTOUCHED: [AtomicU8; 4096] = [const { AtomicU8::new(0) }; 4096];

/// A vector of real mode: offset in bits 15:0, segment in bits 31:16.
fn interrupt_vector(number: u64) -> u32 {
    let far: u32;
    // SAFETY: the table is at address 0, where Rust allows no references.
    unsafe { asm!("mov {:e}, [{}]", out(reg) far, in(reg) number * 4, options(nostack, readonly)) }
    far
}
