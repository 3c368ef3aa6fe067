//! Interrupt controllers and IOMMUs, in the state in which a kernel finds them.
//!
//! 8259A and 82093AA data sheets; Intel VT-d and AMD-Vi specifications.

use bit_field::BitField as _;

use crate::bios::acpi::{self, MadtEntry, Memory};
use crate::devices::local_apic::{VECTOR_MASKED, can_be_masked};
use crate::devices::port::{Port, Ports};
use crate::devices::{Mapped, POLLS};
use crate::memory::layout::EARLY_REACH;

/// Masks all lines of a PC's two 8259A. A kernel that enables interrupts early would take the
/// BIOS's timer, which arrives as vector 8, for a double fault.
pub fn mask_8259(ports: impl Ports) {
    for mask in Port::INTERRUPT_MASKS {
        ports.output(mask, 0xFF);
    }
}

/// Masks the I/O APICs' inputs of delivery modes fixed and lowest priority; if `all`, NMI and
/// ExtINT, too.
pub fn mask_io_apics(machine: impl Mapped, rsdp: u64, memory: Memory<'_, '_>, all: bool) {
    const SELECT: u64 = 0;
    const WINDOW: u64 = 0x10;
    const VERSION: u32 = 1;
    const REDIRECTION: u32 = 0x10;

    let madt = acpi::find(rsdp, memory, b"APIC").unwrap_or(&[]);
    for entry in acpi::madt(madt) {
        let MadtEntry::IoApic(address) = entry else {
            continue;
        };
        let address = u64::from(address) & !0xF;
        if address == 0 {
            continue;
        }
        let select = |register| machine.set_register(address + SELECT, register);
        select(VERSION);
        let highest = machine.register(address + WINDOW).get_bits(16..24);
        for index in 0..=highest {
            select(REDIRECTION + 2 * index);
            let entry = machine.register(address + WINDOW);
            let mode = entry.get_bits(8..11);
            if mode < 2 || all && can_be_masked(entry) {
                machine.set_register(address + WINDOW, entry | VECTOR_MASKED);
            }
        }
    }
}

/// Switches all IOMMUs off: Intel's translation and interrupt remapping, AMD's as a whole.
pub fn disable_iommus(machine: impl Mapped, rsdp: u64, memory: Memory<'_, '_>) {
    const GLOBAL_COMMAND: u64 = 0x18;
    const GLOBAL_STATUS: u64 = 0x1C;
    /// Status bits that are one-time commands, not a state to be kept.
    const ONE_SHOT: u32 = !0x96FF_FFFF;
    const TRANSLATION: u32 = 1 << 31;
    const REMAPPING: u32 = 1 << 25;
    const AMD_CONTROL: u64 = 0x18;
    const AMD_ENABLED: u32 = 1;

    let reached = |base: &u64| *base != 0 && *base < EARLY_REACH.as_u64() - 0x1000;
    let dmar = acpi::find(rsdp, memory, b"DMAR").unwrap_or(&[]);
    for unit in acpi::intel_iommus(dmar).filter(reached) {
        for bit in [REMAPPING, TRANSLATION] {
            let status = machine.register(unit + GLOBAL_STATUS);
            if status & bit == 0 {
                continue;
            }
            machine.set_register(unit + GLOBAL_COMMAND, status & !ONE_SHOT & !bit);
            for _ in 0..POLLS {
                if machine.register(unit + GLOBAL_STATUS) & bit == 0 {
                    break;
                }
            }
        }
    }
    let ivrs = acpi::find(rsdp, memory, b"IVRS").unwrap_or(&[]);
    for unit in acpi::amd_iommus(ivrs).filter(reached) {
        let control = machine.register(unit + AMD_CONTROL);
        if control & AMD_ENABLED != 0 {
            machine.set_register(unit + AMD_CONTROL, control & !AMD_ENABLED);
        }
    }
}
