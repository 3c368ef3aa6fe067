//! Partition tables, boot sectors, volumes.

use crate::tiny::{Tiny, checksum, entry, long_entries};

use super::{Add, noise};

/// An MBR with entries: status, type, first sector, number of sectors.
fn table(entries: &[(u8, u8, u32, u32)]) -> Vec<u8> {
    let mut sector = vec![0; 512];
    for (place, &(status, kind, first, count)) in sector[446..510].chunks_mut(16).zip(entries) {
        (place[0], place[4]) = (status, kind);
        place[8..12].copy_from_slice(&first.to_le_bytes());
        place[12..16].copy_from_slice(&count.to_le_bytes());
    }
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

pub(super) fn chain(add: &mut Add<'_>) {
    let mut one = |name: &str, number: u64, sectors: &[Vec<u8>]| {
        add(
            "chain",
            name,
            [&number.to_le_bytes()[..], &sectors.concat()].concat(),
        );
    };
    let primary = table(&[(0x80, 0x0C, 2048, 9000), (0, 5, 1, 9000)]);
    let first = table(&[(0, 0x83, 3, 10), (0, 5, 1, 10)]);
    let last = table(&[(0, 0x83, 4, 10)]);
    one("good-primary", 1, std::slice::from_ref(&primary));
    one("good-logical", 6, &[primary.clone(), first.clone(), last]);
    one("empty", 3, std::slice::from_ref(&primary));
    one("ring", 255, &[primary, first]);
    add("chain", "text", b"partition=2 drive=81h".to_vec());
}

pub(super) fn mbr(add: &mut Add<'_>) {
    let mut put = |name, sectors: u64, sector: Vec<u8>| {
        add("mbr", name, [&sectors.to_le_bytes()[..], &sector].concat());
    };
    let one = table(&[(0x80, 0x0C, 2048, 100_000)]);
    put("good-active", 200_000, one.clone());
    put("good-unknown-size", 0, one.clone());
    put("behind-end", 2048, one.clone());
    put("short", 200_000, one[..511].to_vec());
    put(
        "second",
        200_000,
        table(&[(0, 0x83, 1, 9), (0x80, 0x83, 9, 9)]),
    );
    put(
        "inactive",
        200_000,
        table(&[(0, 0x07, 1, 9), (0, 0x16, 9, 9)]),
    );
    put("empty", 200_000, table(&[]));
    let floppy = Tiny::new(12).image();
    put("superfloppy", 2880, floppy[..512].to_vec());
    put("superfloppy-code", 2880, {
        let mut sector = floppy[..512].to_vec();
        sector[446..500].fill(0x90);
        sector
    });
}

/// A volume with `/boot/kernel.conf` and `/A`.
pub(super) fn small_volume(bits: u32) -> Tiny {
    let mut tiny = Tiny::new(bits);
    tiny.data.truncate(12 * 512);
    tiny.entry(0, b"BOOT       ", 0x10, 3, 0);
    tiny.entry(1, b"A          ", 0x20, 8, 1200);
    let mut directory = long_entries("kernel.conf", checksum(b"KERNEL~1CON"));
    directory.push(entry(b"KERNEL~1CON", 0x20, 5, 700));
    tiny.chain(&[3], &directory.concat());
    tiny.chain(&[5, 7], &[b'#'; 700]);
    tiny.chain(&[8, 9, 6], &noise(1, 1200));
    tiny
}

/// Without the zeros at the end, which the target's disk has anyway.
pub(super) fn trimmed(mut image: Vec<u8>) -> Vec<u8> {
    let end = image.iter().rposition(|&byte| byte != 0);
    image.truncate(end.map_or(0, |last| last + 1));
    image
}

pub(super) fn fat(add: &mut Add<'_>) {
    // 512-byte sectors, 127 a read, large windows, at LBA 0.
    let head = [0x06, 0, 126];
    let mut put = |name, tiny: &Tiny| {
        add("fat", name, [&head[..], &trimmed(tiny.image())].concat());
    };
    put("good-12", &small_volume(12));
    put("good-32", &small_volume(32));
    let mut bad = small_volume(12);
    bad.fat[6] = 8;
    put("ring", &bad);
    let mut bad = small_volume(12);
    bad.fat[3] = 3;
    bad.data[512..1024].fill(0xE5);
    put("directory-ring", &bad);
    let mut bad = small_volume(32);
    bad.fat[5] = 0;
    put("free-link", &bad);
    let mut bad = small_volume(12);
    bad.entry(1, b"A          ", 0x20, 8, u32::MAX);
    put("huge-file", &bad);
}
