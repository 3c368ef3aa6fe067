//! The I/O APIC and the local APIC, through page tables of the kernel's own.

use core::arch::asm;
use core::sync::atomic::Ordering;

use crate::firmware_tables::NMI_AT_LINT1;
use crate::outcome::{bits, check};
use crate::processor::read_msr;
use crate::report::say;
use crate::requests::{ADDRESS, hhdm, revision};

/// A table through which the kernel sees the registers of the APICs.
#[repr(C, align(4096))]
struct Table([u64; 512]);

static mut UPPER: Table = Table([0; 512]);

static mut LOWER: Table = Table([0; 512]);

/// Maps the 2 MiB around FEC00000h and FEE00000h; returns the address of FEC00000h.
fn map_devices() -> u64 {
    const SLOT: u64 = 300;
    let Some(address) = ADDRESS.get_response() else {
        return 0;
    };
    let physical = |address_of: u64| address_of - address.virtual_base() + address.physical_base();
    let (upper, lower) = (&raw mut UPPER, &raw mut LOWER);
    let cr3: u64;
    let cr4: u64;
    // SAFETY: the slot is free, and nobody else changes the tables.
    unsafe {
        (*lower).0[0] = 0xFEC0_0000 | 0x9B;
        (*lower).0[1] = 0xFEE0_0000 | 0x9B;
        (*upper).0[0] = physical(lower as u64) | 3;
        asm!("mov {}, cr3", "mov {}, cr4", out(reg) cr3, out(reg) cr4);
        let mut table = cr3 & !0xFFF;
        if cr4 & 1 << 12 != 0 {
            table = *((hhdm() + table + 8 * 511) as *const u64) & !0xFFF;
        }
        *((hhdm() + table + 8 * SLOT) as *mut u64) = physical(upper as u64) | 3;
    }
    0xFFFF << 48 | SLOT << 39
}

pub fn check_interrupt_controllers() {
    let devices = map_devices();
    let io_apic = devices as *mut u32;
    // SAFETY: QEMU's and Bochs' I/O APIC is there.
    let read = |register: u32| unsafe {
        io_apic.write_volatile(register);
        io_apic.add(4).read_volatile()
    };
    let highest = read(1) >> 16 & 0xFF;
    let masked = (0..=highest).all(|index| {
        let entry = read(0x10 + 2 * index);
        let mode = entry >> 8 & 7;
        entry & 1 << 16 != 0 || !(mode < 2 || revision() >= 5 && matches!(mode, 4 | 7))
    });
    check("I/O APIC masked", masked);
    let wrong = wrong_apic(devices);
    if wrong != 0 {
        say!("  {wrong:#b}");
    }
    check("local APIC", wrong == 0);
}

/// Bits of the checks of the local APIC that failed.
pub fn wrong_apic(devices: u64) -> u64 {
    if revision() < 5 {
        return 0;
    }
    let base = read_msr(0x1B);
    let read = |register: u32| {
        if base & 1 << 10 != 0 {
            read_msr(0x800 + (register >> 4)) as u32
        } else {
            // SAFETY: mapped.
            unsafe { ((devices + 0x20_0000 + u64::from(register)) as *const u32).read_volatile() }
        }
    };
    let entries = [0x320, 0x350, 0x360, 0x370];
    bits(&[
        base & 1 << 11 == 0,
        read(0xF0) != 0x1FF,
        read(0x80) != 0,
        !entries.iter().all(|&entry| read(entry) & 1 << 16 != 0),
        // QEMU's MADT: an NMI at LINT1.
        NMI_AT_LINT1.load(Ordering::Relaxed) && read(0x360) >> 8 & 7 != 4,
    ])
}
