//! A processor as the loader leaves it: registers, stack, descriptor tables.

use core::arch::asm;

use limine::paging::Mode;

use crate::entry::{RDI, State};
use crate::memory::{at, reclaimable};
use crate::outcome::{bits, check};
use crate::report::{input, say};
use crate::requests::{PAGING, STACK, STACK_SIZE};

pub fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: registers that every such CPU has.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high) }
    u64::from(high) << 32 | u64::from(low)
}

/// Bits of the checks that failed, of the registers that are the same on all processors.
pub fn wrong_registers(state: &State, rdi: u64) -> u64 {
    let five_levels = PAGING
        .get_response()
        .is_some_and(|response| response.mode() == Mode::FIVE_LEVEL);
    let (cs, ds, es, ss, fs, gs): (u16, u16, u16, u16, u16, u16);
    let (task, local): (u16, u16);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {:x}, cs", "mov {:x}, ds", "mov {:x}, es", "mov {:x}, ss", "mov {:x}, fs",
            "mov {:x}, gs", out(reg) cs, out(reg) ds, out(reg) es, out(reg) ss, out(reg) fs,
            out(reg) gs);
        asm!("str {:x}", "sldt {:x}", out(reg) task, out(reg) local);
    }
    let mut general = state.general;
    let good_rdi = general[RDI] == rdi;
    general[RDI] = 0;
    bits(&[
        general != [0; 15] || !good_rdi,
        state.flags != 2,
        state.return_address != 0,
        state.cr0 != 0x8001_0011,
        state.cr4 != if five_levels { 0x1020 } else { 0x20 },
        read_msr(0xC000_0080) & !0x800 != 0x500,
        cs != 0x28,
        [ds, es, ss, fs, gs] != [0x30; 5],
        task != 0x38 || local != 0,
        read_msr(0xC000_0100) != 0 || read_msr(0xC000_0101) != 0,
        read_msr(0x277) & 0xFFFF_FFFF_FFFF != 0x0105_0007_0406,
    ])
}

pub fn check_registers(state: &State) {
    let wrong = wrong_registers(state, 0);
    if wrong != 0 {
        say!(
            "  {wrong:#b}, {:x?}, flags {:x}, cr0 {:x}, cr4 {:x}, efer {:x}",
            state.general,
            state.flags,
            state.cr0,
            state.cr4,
            read_msr(0xC000_0080)
        );
    }
    check("registers", wrong == 0);
    // SAFETY: every such CPU has CPUID.
    let nx = core::arch::x86_64::__cpuid(0x8000_0001).edx >> 20 & 1 != 0;
    check(
        "NX as the CPU has it",
        (read_msr(0xC000_0080) & 0x800 != 0) == nx,
    );
}

/// The end of a processor's stack.
pub fn stack_end(state: &State) -> u64 {
    at(&state.return_address) + 8
}

pub fn good_stack(end: u64) -> bool {
    let size = STACK_SIZE.next_multiple_of(4096);
    end.is_multiple_of(16)
        && (end - size..end).step_by(4096).all(reclaimable)
        && reclaimable(end - 8)
}

pub fn check_stack(state: &State) {
    check("stack", good_stack(stack_end(state)));
    check(
        "response to the stack's size",
        STACK.get_response().is_some(),
    );
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Pointer {
    limit: u16,
    base: u64,
}

pub fn check_descriptor_tables() {
    let mut gdt = Pointer { limit: 0, base: 0 };
    let mut idt = gdt;
    // SAFETY: stores registers.
    unsafe { asm!("sgdt [{}]", "sidt [{}]", in(reg) &raw mut gdt, in(reg) &raw mut idt) }
    let (base, limit) = (gdt.base, gdt.limit);
    check(
        "GDT in reclaimable memory",
        limit >= 7 * 8 - 1 && reclaimable(base),
    );
    // SAFETY: at least that many, as was checked.
    let entries = unsafe { *(base as *const [u64; 9]) };
    // Access, flags, base 0 and limit, without "accessed"; the CPU ignores base and limit of 64-bit
    // segments.
    let fields = |entry: u64, mask: u64| entry & mask & !(1 << 40);
    let good = entries[0] == 0
        && fields(entries[1], !0) == 0x0000_9A00_0000_FFFF
        && fields(entries[2], !0) == 0x0000_9200_0000_FFFF
        && fields(entries[3], !0) == 0x00CF_9A00_0000_FFFF
        && fields(entries[4], !0) == 0x00CF_9200_0000_FFFF
        && fields(entries[5], 0x0060_FF00_0000_0000) == 0x0020_9A00_0000_0000
        && fields(entries[6], 0x0000_FF00_0000_0000) == 0x0000_9200_0000_0000
        && fields(entries[7], !(2 << 40)) == 0x0000_8800_0000_0000
        && entries[8] == 0;
    check("descriptors", good);
    let (base, limit) = (idt.base, idt.limit);
    check("IDT", base == 0 && limit == 0);
    check(
        "interrupt controllers masked",
        input(0x21) == 0xFF && input(0xA1) == 0xFF,
    );
}
