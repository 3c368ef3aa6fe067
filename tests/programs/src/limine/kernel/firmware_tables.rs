//! The tables of the firmware: their addresses, and that they can be read.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::memory::{RESERVED_MAPPED, memory_kind, number, walk};
use crate::outcome::check;
use crate::report::say;
use crate::requests::{RSDP, SMBIOS, hhdm, revision};

/// Whether the MADT reports it.
pub static NMI_AT_LINT1: AtomicBool = AtomicBool::new(false);

pub fn check_firmware_tables() {
    let revision = revision();
    let physical = revision == 3;
    let reach = |address: u64, physical: bool| {
        if physical { address } else { address - hhdm() }
    };
    if let Some(rsdp) = RSDP.get_response() {
        let start = reach(rsdp.address() as u64, physical);
        say!("RSDP {start:#x}");
        let mapped = walk(hhdm() + start).is_some();
        check("RSDP", start < 1 << 20 && (mapped || revision == 3));
        if mapped {
            // SAFETY: mapped.
            let signature = unsafe { *((hhdm() + start) as *const [u8; 8]) };
            check("RSDP's signature", &signature == b"RSD PTR ");
        }
        if revision >= 4 {
            check("ACPI tables are mapped", acpi_tables_mapped(start));
        }
    } else {
        say!("no RSDP");
    }
    if let Some(smbios) = SMBIOS.get_response() {
        let entry = smbios
            .entry_32()
            .or(smbios.entry_64())
            .map_or(0, |entry| entry.get() as u64);
        let start = reach(entry, matches!(revision, 3 | 4));
        say!("SMBIOS {start:#x}");
        let mapped = walk(hhdm() + start).is_some();
        check(
            "SMBIOS",
            start < 1 << 20 && (mapped || matches!(revision, 3 | 4)),
        );
        if revision >= 5 && smbios.entry_32().is_some() {
            // SAFETY: mapped, as checked before.
            let table = unsafe { ((hhdm() + start + 24) as *const u32).read_unaligned() };
            check(
                "SMBIOS structures are mapped",
                walk(hhdm() + u64::from(table)).is_some(),
            );
        }
    } else {
        say!("no SMBIOS");
    }
}

/// Whether the RSDT and all tables that it names are mapped, and in memory of the right kind.
fn acpi_tables_mapped(rsdp: u64) -> bool {
    let good = |address: u64| {
        let kind = memory_kind(address).map(number);
        walk(hhdm() + address).is_some() && matches!(kind, Some(2 | 3 | RESERVED_MAPPED))
    };
    // SAFETY: each address is checked before it is read.
    let word =
        |address: u64| u64::from(unsafe { ((hhdm() + address) as *const u32).read_unaligned() });
    if !good(rsdp) {
        return false;
    }
    let rsdt = word(rsdp + 16);
    if !good(rsdt) {
        return false;
    }
    let length = word(rsdt + 4);
    (rsdt + 36..rsdt + length).step_by(4).all(|entry| {
        let table = word(entry);
        if good(table) && word(table) == u32::from_le_bytes(*b"APIC").into() {
            // SAFETY: mapped, or the check fails.
            let bytes = unsafe {
                core::slice::from_raw_parts((hhdm() + table) as *const u8, word(table + 4) as usize)
            };
            let mut rest = &bytes[44..];
            while let [kind, length, ..] = *rest {
                if kind == 4 && rest[5] == 1 {
                    NMI_AT_LINT1.store(true, Ordering::Relaxed);
                }
                rest = &rest[usize::from(length.max(2))..];
            }
        }
        good(table) && good(table + word(table + 4) - 1)
    })
}
