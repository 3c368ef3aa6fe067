//! The partitions of a disk, for chain loading.

use boot_path::entry::target::Target;
use boot_path::ways_out::chain::boot_sector::{ChainError, Sector, find};

use crate::input::Input;
use crate::targets::show;

/// The input: the number of the partition (8 bytes), and sectors, whose places are taken modulo their
/// number. All of it is also the text of a `chain` line.
pub fn run(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Some(target) = Target::parse(text)
    {
        assert!(target.drive.is_some() || target.partition != 0);
    }

    let mut input = Input::new(bytes);
    let number = input.u64() as u8;
    let disk = input.rest();
    let count = disk.len().div_ceil(512).max(1) as u64;
    let mut reads = 0;
    let found = find(number, 0x80, |lba| {
        reads += 1;
        let mut sector: Sector = [0; 512];
        let start = 512 * (lba.as_u64() % count) as usize;
        let bytes = &disk[start.min(disk.len())..];
        let length = bytes.len().min(512);
        sector[..length].copy_from_slice(&bytes[..length]);
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        Ok::<_, ChainError>(sector)
    });
    assert!(reads <= 252, "{reads} reads");
    match found {
        Ok(entry) => {
            assert!(number != 0 && entry.kind != 0 && entry.status == 0x80);
            assert!(entry.first_lba.get() != 0 && entry.sectors.get() != 0);
        }
        Err(error) => {
            show(&error);
        }
    }
}
