//! What the firmware has left in memory: its tables, and the interrupt vectors of real mode.

// The firmware gives its tables by address.
#![allow(unsafe_code)]

use handoff::MemoryKind;

use super::Machine;
use super::outcome::{Facts, Outcome, ensure};

pub fn firmware_tables(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    // The signature, and where the structure keeps its length (ACPI 6.5, 5.2.5.3: 20 bytes in
    // version 1; SMBIOS 3.6, 5.2.1 and 5.2.2).
    for (name, address, signature, length_at) in [
        ("RSDP", boot.rsdp, &b"RSD PTR "[..], None),
        ("SMBIOS", boot.smbios, &b"_SM_"[..], Some(5)),
        ("SMBIOS 3", boot.smbios3, &b"_SM3_"[..], Some(6)),
    ] {
        if address == 0 {
            continue;
        }
        let Some(start) = boot.physical_to_virtual(address) else {
            return Err(Facts::new(format_args!(
                "{name} at {address:#x} is not mapped"
            )));
        };
        // SAFETY: the tables lie in memory that is mapped, and are longer than their length field.
        let bytes = unsafe {
            let length = length_at.map_or(20, |at| start.add(at).read().into());
            core::slice::from_raw_parts(start, length)
        };
        ensure!(
            bytes.starts_with(signature),
            "{name} at {address:#x}: {:02x?}",
            bytes.get(..8)
        );
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        ensure!(sum == 0, "{name} at {address:#x}: checksum {sum:#x}");
    }
    Ok(())
}

/// A kernel may go back to real mode: the vectors there are the BIOS's, and none points to memory
/// that the loader leaves behind.
pub fn interrupt_vectors(machine: &Machine) -> Outcome {
    const VECTORS: usize = 256;
    const CONVENTIONAL_MEMORY_END: u64 = 0xA_0000;

    let Some(table) = machine.boot.physical_to_virtual(0) else {
        return Err(Facts::new(format_args!("address 0 is not mapped")));
    };
    for vector in 0..VECTORS {
        // SAFETY: the physical map has the first MiB.
        let address = unsafe { table.cast::<[u16; 2]>().add(vector).read_volatile() };
        let [offset, segment] = address.map(u64::from);
        let handler = (segment << 4) + offset;
        let left_behind = machine.boot.memory_map().iter().any(|region| {
            region.kind() == Some(MemoryKind::Reclaimable)
                && region.end() <= CONVENTIONAL_MEMORY_END
                && (region.start..region.end()).contains(&handler)
        });
        ensure!(
            !left_behind,
            "{vector:#x} is {segment:#06x}:{offset:#06x}, in the loader's memory"
        );
    }
    Ok(())
}
