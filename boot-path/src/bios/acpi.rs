//! ACPI tables, as far as a loader needs them: where they lie, and which processors and interrupt
//! controllers the MADT names.
//!
//! No length is trusted: a table that extends beyond readable memory, or an entry that extends
//! beyond its table, ends the walk. Checksums are ignored, except that of the RSDP, by which it was
//! found: some boards have tables with wrong checksums, and their operating systems do not mind.
//!
//! Source: ACPI specification 6.5, chapter 5.2; for DMAR and IVRS the specifications of Intel's and
//! AMD's I/O virtualisation.

use crate::errors::text::rows;

/// Length in bytes of the header with which all tables except RSDP and FACS begin.
const HEADER: usize = 36;

/// No table is longer than this, in bytes.
const MAX_TABLE: u64 = 16 << 20;

/// Offsets in the RSDP.
const RSDP_REVISION: u64 = 15;
const RSDP_RSDT: u64 = 16;
const RSDP_LENGTH: u64 = 20;
const RSDP_XSDT: u64 = 24;

/// Offsets in the FADT: FACS and DSDT, by 32 and by 64 bits.
const FADT_FACS: usize = 36;
const FADT_DSDT: usize = 40;
const FADT_X_FACS: usize = 132;
const FADT_X_DSDT: usize = 140;

/// Reads physical memory: bytes by address and length, if they can be read.
pub type Memory<'m, 'a> = &'m dyn Fn(u64, u64) -> Option<&'a [u8]>;

/// Receives each table: its address and its bytes.
pub type Visit<'v, 'a> = &'v mut dyn FnMut(u64, &'a [u8]);

/// Calls `visit` with the address and the bytes of the RSDP and of every table that it leads to:
/// RSDT, XSDT, what they point to, and FACS and DSDT. A table may come twice.
pub fn tables<'a>(rsdp: u64, memory: Memory<'_, 'a>, visit: Visit<'_, 'a>) {
    let Some(first) = memory(rsdp, 20) else {
        return;
    };
    let long = u8_at(first, RSDP_REVISION as usize) >= Some(2);
    let length = match memory(rsdp, 36) {
        Some(bytes) if long => u32_at(bytes, RSDP_LENGTH as usize).unwrap_or(0).max(36),
        _ => 20,
    };
    let Some(bytes) = memory(rsdp, length.into()) else {
        return;
    };
    visit(rsdp, bytes);
    let short_list = u32_at(bytes, RSDP_RSDT as usize).map_or(0, u64::from);
    let long_list = u64_at(bytes, RSDP_XSDT as usize).unwrap_or(0);
    for (list, width) in [(short_list, 4), (long_list, 8)] {
        let Some(list) = table(list, memory, visit) else {
            continue;
        };
        for entry in rows(list.get(HEADER..).unwrap_or_default(), width) {
            let Some(bytes) = table(number(entry), memory, visit) else {
                continue;
            };
            if bytes.starts_with(b"FACP") {
                let short = [FADT_FACS, FADT_DSDT].map(|at| u32_at(bytes, at).map_or(0, u64::from));
                let long = [FADT_X_FACS, FADT_X_DSDT].map(|at| u64_at(bytes, at).unwrap_or(0));
                for address in short.into_iter().chain(long) {
                    table(address, memory, visit);
                }
            }
        }
    }
}

/// The first table with a signature.
pub fn find<'a>(rsdp: u64, memory: Memory<'_, 'a>, signature: &[u8; 4]) -> Option<&'a [u8]> {
    let mut found = None;
    tables(rsdp, memory, &mut |_, bytes| {
        if bytes.starts_with(signature) && bytes.len() >= HEADER && found.is_none() {
            found = Some(bytes);
        }
    });
    found
}

/// The table at an address: its length follows its signature.
fn table<'a>(address: u64, memory: Memory<'_, 'a>, visit: Visit<'_, 'a>) -> Option<&'a [u8]> {
    if address == 0 {
        return None;
    }
    let length = u64::from(u32_at(memory(address, 8)?, 4)?);
    if !(HEADER as u64..=MAX_TABLE).contains(&length) {
        return None;
    }
    let bytes = memory(address, length)?;
    visit(address, bytes);
    Some(bytes)
}

/// The entries of the MADT that a loader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadtEntry {
    /// A processor that can be started: its ACPI UID and its APIC ID.
    Processor {
        /// ACPI processor UID.
        uid: u32,
        /// Local APIC ID.
        apic_id: u32,
    },
    /// An I/O APIC: the physical address of its registers.
    IoApic(u32),
    /// The local APIC input at which a processor gets NMIs.
    Nmi {
        /// ACPI processor UID; `u32::MAX`: all of them.
        uid: u32,
        /// LINT0 or LINT1: 0 or 1.
        input: u8,
        /// MPS INTI flags: polarity in bits 1:0, trigger mode in bits 3:2.
        flags: u16,
    },
}

/// The entries of a MADT.
pub fn madt(table: &[u8]) -> impl Iterator<Item = MadtEntry> {
    // Behind the header: the local APICs' address and flags.
    structures(table, 44, Length::Byte).filter_map(madt_entry)
}

/// An entry, if a loader needs it.
#[inline(never)]
fn madt_entry(entry: &[u8]) -> Option<MadtEntry> {
    let processor = |uid, apic_id| MadtEntry::Processor { uid, apic_id };
    Some(match entry.first()? {
        0 if u32_at(entry, 4)? & 1 != 0 => {
            processor(u8_at(entry, 2)?.into(), u8_at(entry, 3)?.into())
        }
        1 => MadtEntry::IoApic(u32_at(entry, 4)?),
        4 => MadtEntry::Nmi {
            uid: match u8_at(entry, 2)? {
                u8::MAX => u32::MAX,
                uid => uid.into(),
            },
            input: u8_at(entry, 5)?,
            flags: u16_at(entry, 3)?,
        },
        9 if u32_at(entry, 8)? & 1 != 0 => processor(u32_at(entry, 12)?, u32_at(entry, 4)?),
        10 => MadtEntry::Nmi {
            uid: u32_at(entry, 4)?,
            input: u8_at(entry, 8)?,
            flags: u16_at(entry, 2)?,
        },
        _ => return None,
    })
}

/// Physical addresses of the registers of Intel's IOMMUs (DMAR, remapping hardware units).
pub fn intel_iommus(dmar: &[u8]) -> impl Iterator<Item = u64> {
    structures(dmar, 48, Length::Word).filter_map(|unit| match u16_at(unit, 0)? {
        0 => u64_at(unit, 8),
        _ => None,
    })
}

/// Physical addresses of the registers of AMD's IOMMUs (IVRS, hardware definition blocks).
pub fn amd_iommus(ivrs: &[u8]) -> impl Iterator<Item = u64> {
    structures(ivrs, 48, Length::Word).filter_map(|block| match block.first()? {
        0x10 | 0x11 | 0x40 => u64_at(block, 8),
        _ => None,
    })
}

/// The place of a structure's length.
#[derive(Clone, Copy)]
enum Length {
    /// In its second byte.
    Byte,
    /// In its third and fourth byte.
    Word,
}

/// The structures of a table from `start` on.
fn structures(table: &[u8], start: usize, place: Length) -> impl Iterator<Item = &[u8]> {
    let mut rest = table.get(start..).unwrap_or_default();
    core::iter::from_fn(move || next_structure(&mut rest, place))
}

/// Takes the next one.
#[inline(never)]
fn next_structure<'a>(rest: &mut &'a [u8], place: Length) -> Option<&'a [u8]> {
    let length = match place {
        Length::Byte => u8_at(rest, 1)?.into(),
        Length::Word => u16_at(rest, 2)?.into(),
    };
    if length < 2 {
        return None;
    }
    let (structure, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(structure)
}

/// A structure table of the SMBIOS: address and length, by its 32-bit or its 64-bit entry point
/// (specification DSP0134, 5.2).
pub fn smbios_table(entry: &[u8]) -> Option<(u64, u64)> {
    if entry.starts_with(b"_SM3_") {
        Some((u64_at(entry, 16)?, u32_at(entry, 12)?.into()))
    } else if entry.starts_with(b"_SM_") {
        Some((u32_at(entry, 24)?.into(), u16_at(entry, 22)?.into()))
    } else {
        None
    }
}

/// A little-endian number of at most 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev().take(8);
    bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|&chunk| u16::from_le_bytes(chunk))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|&chunk| u32::from_le_bytes(chunk))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes
        .get(offset..)?
        .first_chunk()
        .map(|&chunk| u64::from_le_bytes(chunk))
}
