//! Sector 0 of a disk: which partition is the boot partition.

use boot_path::disk::fat::is_boot_sector;
use boot_path::disk::partition::{TableLba, boot_partition};

use crate::input::Input;
use crate::targets::show;

/// The input: how large the disk is (8 bytes), and its sector 0.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let disk_sectors = match input.u64() {
        0 => u64::MAX,
        sectors => sectors,
    };
    let sector = input.rest();

    // Derived from the layout of an MBR, not from the code under test.
    let entries: Vec<(u8, &[u8])> = match sector.get(446..510) {
        Some(table) => (1..).zip(table.chunks(16)).collect(),
        None => Vec::new(),
    };
    let word = |bytes: &[u8], at: usize| {
        u64::from(u32::from_le_bytes(
            bytes[at..at + 4].try_into().expect("four"),
        ))
    };
    // Extended partitions hold others.
    let is_used = |entry: &[u8]| {
        entry[0] & 0x7F == 0
            && !matches!(entry[4], 0 | 0xEE | 0x05 | 0x0F | 0x85)
            && word(entry, 8) != 0
            && word(entry, 12) != 0
    };

    match boot_partition(sector, disk_sectors) {
        Err(error) => {
            show(&error);
        }
        Ok(found) if found.number == 0 => {
            assert!(is_boot_sector(sector));
            assert_eq!(found.first_lba, TableLba::new(0));
            assert_eq!(found.sectors, disk_sectors);
        }
        Ok(found) => {
            assert_eq!(sector[510..512], [0x55, 0xAA]);
            let (_, entry) = entries[usize::from(found.number) - 1];
            assert!(is_used(entry));
            assert_eq!(found.first_lba.as_u64(), word(entry, 8));
            assert_eq!(found.sectors, word(entry, 12));
            assert_eq!(u64::from(found.signature), word(sector, 440));
            assert!(found.first_lba.as_u64() < disk_sectors);
            let active = |entry: &[u8]| is_used(entry) && entry[0] == 0x80;
            if let Some((number, _)) = entries.iter().find(|(_, entry)| active(entry)) {
                assert_eq!(*number, found.number, "the first active one");
            }
        }
    }
}
