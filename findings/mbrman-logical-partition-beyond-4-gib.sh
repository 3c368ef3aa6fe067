#!/usr/bin/env bash
# mbrman 0.6.1, in a release build, writes the boot record of a logical partition that lies beyond 4 GiB to a place 4 GiB
# too low, into whatever is there: it multiplies sector number and sector size as 32-bit numbers. The call succeeds, the
# partition is not found when the table is read again, and 512 bytes of another partition may be gone. Reading multiplies
# as 64-bit numbers.
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
needs cargo "cargo 1."

program <<'EOT'
mbrman = "=0.6.1"
EOT
cat >src/main.rs <<'EOT'
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};

use mbrman::{BOOT_INACTIVE, CHS, MBR, MBRPartitionEntry};

const GIB: u64 = 1 << 30;

fn main() {
    for start in [3 * GIB, 5 * GIB] {
        let mut disk = OpenOptions::new().read(true).write(true).create(true).truncate(true).open("disk.img").unwrap();
        disk.set_len(8 * GIB).unwrap();
        let sector = (start / 512) as u32;
        let mut table = MBR::new_from(&mut disk, 512, [1, 2, 3, 4]).unwrap();
        table[1] = MBRPartitionEntry {
            boot: BOOT_INACTIVE,
            first_chs: CHS::empty(),
            sys: 0x0F,
            last_chs: CHS::empty(),
            starting_lba: sector,
            sectors: 1 << 20,
        };
        table.push(0x83, sector + 2048, 4096).unwrap();
        table.write_into(&mut disk).unwrap();
        let mut signature_at = |gib: u64| {
            let mut bytes = [0; 2];
            disk.seek(SeekFrom::Start(gib * GIB + 510)).unwrap();
            disk.read_exact(&mut bytes).unwrap();
            bytes == [0x55, 0xAA]
        };
        let places: Vec<u64> = (0..8).filter(|&gib| gib > 0 && signature_at(gib)).collect();
        let read = MBR::read_from(&mut disk, 512).unwrap();
        println!("at {} GiB: record at {places:?} GiB, {} read again", start / GIB, read.logical_partitions.len());
    }
}
EOT
cargo run --quiet --release >seen.txt
expect "the first" "at 3 GiB: record at [3] GiB, 1 read again" "$(sed -n 1p seen.txt)"
expect "the second" "at 5 GiB: record at [1] GiB, 0 read again" "$(sed -n 2p seen.txt)"
