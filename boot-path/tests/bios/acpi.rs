//! Tables of the firmware: ACPI and SMBIOS.

use std::collections::BTreeMap;

use boot_path::bios::acpi::{self, MadtEntry};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_are_no_acpi_tables(bytes in prop::collection::vec(any::<u8>(), 0..300), fix in any::<bool>()) {
        let mut bytes = bytes;
        if fix && bytes.len() > 60 {
            // An RSDP whose lists lie in these bytes.
            bytes[16..20].copy_from_slice(&40_u32.to_le_bytes());
            bytes[44..48].copy_from_slice(&(50_u32).to_le_bytes());
        }
        let memory = |start: u64, length: u64| {
            let start = usize::try_from(start).ok()?;
            bytes.get(start..start.checked_add(length.try_into().ok()?)?)
        };
        acpi::tables(0, &memory, &mut |_, _| {});
        let _ = acpi::madt(&bytes).count() + acpi::intel_iommus(&bytes).count() + acpi::amd_iommus(&bytes).count();
        let _ = acpi::smbios_table(&bytes);
    }
}

/// A table with its header.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.resize(36, 0);
    bytes.extend(body);
    bytes
}

/// The MADT behind its header.
fn madt() -> Vec<u8> {
    [
        &[0; 8][..],
        &[0, 8, 1, 4, 1, 0, 0, 0], // a processor
        &[0, 8, 2, 5, 0, 0, 0, 0], // a processor that does not exist
        &[1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0],
        &[4, 6, 0xFF, 5, 0, 1],
        &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0],
        &[10, 12, 0xD, 0, 7, 0, 0, 0, 1, 0, 0, 0],
        &[0, 8, 9, 9], // cut off
    ]
    .concat()
}

/// Where [`memory`] has its RSDP.
const RSDP: u64 = 0x20;

/// A memory with tables, which both lists name.
fn memory() -> Vec<u8> {
    let mut memory = vec![0; 0x4000];
    let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
    let mut rsdp = b"RSD PTR ".to_vec();
    rsdp.extend([0; 7]);
    rsdp.push(2);
    rsdp.extend(0x1000_u32.to_le_bytes());
    rsdp.extend(36_u32.to_le_bytes());
    rsdp.extend(0x1100_u64.to_le_bytes());
    rsdp.extend([0; 4]);
    put(RSDP as usize, &rsdp);
    put(
        0x1000,
        &table(
            b"RSDT",
            &[0x2000_u32, 0x2200, 0x9_0000]
                .map(u32::to_le_bytes)
                .concat(),
        ),
    );
    put(
        0x1100,
        &table(
            b"XSDT",
            &[0x2000_u64, 0x2400].map(u64::to_le_bytes).concat(),
        ),
    );
    let mut fadt = vec![0; 148 - 36];
    fadt[0..4].copy_from_slice(&0x3000_u32.to_le_bytes());
    fadt[4..8].copy_from_slice(&0x3100_u32.to_le_bytes());
    fadt[104..112].copy_from_slice(&0x3200_u64.to_le_bytes());
    put(0x2000, &table(b"FACP", &fadt));
    put(0x3000, &table(b"FACS", &[0; 28]));
    put(0x3100, &table(b"DSDT", &[1; 5]));
    put(0x3200, &table(b"DSDT", &[]));
    put(0x2200, &table(b"APIC", &madt()));
    put(
        0x2400,
        &table(
            b"DMAR",
            &[
                &[0; 12][..],
                &[1, 0, 16, 0, 0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0],
                &[0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0xD9, 0xFE, 0, 0, 0, 0],
            ]
            .concat(),
        ),
    );
    memory
}

/// Makes a function that reads from a memory.
fn read<'a>(memory: &'a [u8]) -> impl Fn(u64, u64) -> Option<&'a [u8]> {
    move |start: u64, length: u64| {
        let start = usize::try_from(start).ok()?;
        memory.get(start..start.checked_add(length.try_into().ok()?)?)
    }
}

#[test]
fn acpi_tables_are_found() {
    let memory = memory();
    let mut seen = BTreeMap::new();
    acpi::tables(RSDP, &read(&memory), &mut |address, bytes| {
        seen.insert(address, bytes.len());
    });
    let expected = [
        (RSDP, 36),
        (0x1000, 48),
        (0x1100, 52),
        (0x2000, 148),
        (0x2200, 36 + madt().len()),
        (0x2400, 80),
        (0x3000, 64),
        (0x3100, 41),
        (0x3200, 36),
    ];
    assert_eq!(seen, BTreeMap::from(expected));
}

#[test]
fn processors_and_iommus_are_listed() {
    let memory = memory();
    let read = read(&memory);
    let madt = acpi::find(RSDP, &read, b"APIC").unwrap();
    let nmi = |uid, input, flags| MadtEntry::Nmi { uid, input, flags };
    let processor = |uid, apic_id| MadtEntry::Processor { uid, apic_id };
    let expected = [
        processor(1, 4),
        MadtEntry::IoApic(0xFEC0_0000),
        nmi(u32::MAX, 1, 5),
        processor(7, 0x100),
        nmi(7, 1, 0xD),
    ];
    assert_eq!(acpi::madt(madt).collect::<Vec<_>>(), expected);
    let dmar = acpi::find(RSDP, &read, b"DMAR").unwrap();
    assert_eq!(acpi::intel_iommus(dmar).collect::<Vec<_>>(), [0xFED9_0000]);
    let ivrs = table(
        b"IVRS",
        &[
            &[0; 12][..],
            &[0x20, 0, 8, 0, 0, 0, 0, 0],
            &[
                0x11, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0xB8, 0xFE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ]
        .concat(),
    );
    assert_eq!(acpi::amd_iommus(&ivrs).collect::<Vec<_>>(), [0xFEB8_0000]);
    assert_eq!(acpi::find(RSDP, &read, b"IVRS"), None);
}

#[test]
fn entry_points_of_smbios() {
    let mut entry = b"_SM_".to_vec();
    entry.resize(31, 0);
    entry[22..24].copy_from_slice(&300_u16.to_le_bytes());
    entry[24..28].copy_from_slice(&0xF_2000_u32.to_le_bytes());
    assert_eq!(acpi::smbios_table(&entry), Some((0xF_2000, 300)));
    let mut entry = b"_SM3_".to_vec();
    entry.resize(24, 0);
    entry[12..16].copy_from_slice(&4000_u32.to_le_bytes());
    entry[16..24].copy_from_slice(&0x7_0000_0000_u64.to_le_bytes());
    assert_eq!(acpi::smbios_table(&entry), Some((0x7_0000_0000, 4000)));
}

/// A structure in any paragraph of the BIOS ROM is found, and in no other place.
#[test]
fn entry_points_are_found_in_every_paragraph() {
    use boot_path::bios::tables::FirmwareTables;

    const ROM: u64 = 0xE_0000;
    let structures = [
        (&b"RSD PTR "[..], 20),
        (b"_SM_\0\x1F", 0x1F),
        (b"_SM3_\0\x18", 0x18),
    ];
    let last = 0x2_0000 / 16 - 2;
    for (which, (text, length)) in structures.into_iter().enumerate() {
        for paragraph in (0..40).chain(last - 20..=last) {
            let mut rom = vec![0; 0x2_0000];
            let structure = &mut rom[16 * paragraph..][..length];
            structure[..text.len()].copy_from_slice(text);
            let sum = structure
                .iter()
                .fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
            structure[length - 1] = sum.wrapping_neg();
            let find = |rom: &[u8]| {
                FirmwareTables::find(&|start, length| {
                    let start = start.checked_sub(ROM)? as usize;
                    rom.get(start..start + length as usize)
                })
            };
            let mut expected = FirmwareTables::default();
            let place = match which {
                0 => &mut expected.rsdp,
                1 => &mut expected.smbios,
                _ => &mut expected.smbios3,
            };
            *place = ROM + 16 * paragraph as u64;
            assert_eq!(find(&rom), expected);
            rom.rotate_right(8);
            assert_eq!(find(&rom), FirmwareTables::default());
        }
    }
}
