//! Machines, disks and kernels at once: the whole path.

use super::Add;
use super::disks::{small_volume, trimmed};
use super::kernels::kernels;
use crate::bzimage::bzimage;

const CONFIG: &[u8] = b"options quiet\nmodule /boot/module text\n";
/// A machine of 64 MiB, NX and 1 GiB pages, sectors of 512 bytes.
const MACHINE: [u8; 3] = [0, 0, 0];

/// A disk with a kernel, its configuration and a module of whole pages.
fn disk(how: u8, layout: u8) -> Vec<u8> {
    let mut head = vec![how, layout, CONFIG.len() as u8];
    head.extend(CONFIG);
    head.extend(4096u16.to_le_bytes());
    head
}

/// The kernel of that name.
fn named(wanted: &str) -> Vec<u8> {
    let mut files = kernels().into_iter().filter(|(name, _)| *name == wanted);
    files.next().expect("there").1
}

pub(super) fn boot_path(add: &mut Add<'_>) {
    let mut put = |name: &str, bytes: Vec<u8>| add("boot_path", name, bytes);
    for (name, file) in kernels() {
        // FAT32, contiguous, in an active partition.
        put(name, [&MACHINE[..], &disk(5, 0xC0), &file].concat());
    }
    let file = named("good-relocations");
    for (name, cpu, layout) in [
        ("good-fat12-reversed", 0x03, 0xC5),
        ("good-fat16-spread", 0x48, 0xCA),
        ("good-superfloppy", 0x0C, 0x0C),
        ("good-one-sector-a-read", 0x50, 0xC9),
    ] {
        put(name, [&[0, 0, cpu][..], &disk(5, layout), &file].concat());
    }
    let entry = |text: &str| {
        let mut head = vec![0x25, 0xC0, text.len() as u8];
        head.extend(text.as_bytes());
        head.extend(100u16.to_le_bytes());
        [&MACHINE[..], &head, &file].concat()
    };
    let good = "options quiet\nkernel boot/kernel.elf\ninitrd /boot/module\n";
    put("good-entry", entry(good));
    put("entry-without-kernel", entry("title t\n"));
    boot_path_by_other_protocols(&mut put);
    boot_path_without_room(&mut put);
    boot_path_damaged(&mut put, &file);
}

/// A kernel for each of the other protocols, and a boot sector: that of the same disk.
fn boot_path_by_other_protocols(put: &mut dyn FnMut(&str, Vec<u8>)) {
    let mut one = |name: &str, file: &[u8]| {
        let name = format!("good-{name}");
        put(&name, [&MACHINE[..], &disk(5, 0xC0), file].concat());
    };
    let mut others = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| {
        // The first byte only tells the target that a file follows.
        others.push((format!("{target}-{name}"), bytes[1..].to_vec()));
    };
    super::kernels::multiboot(&mut add);
    super::kernels::limine(&mut add);
    for wanted in [
        "multiboot1-good-flat",
        "multiboot1-good-low",
        "multiboot2-good-low",
        "multiboot2-good-movable",
        "limine-good",
    ] {
        let mut files = others.iter().filter(|(name, _)| name == wanted);
        let (_, file) = files.next().expect("there");
        one(&wanted.replace("-good", ""), file);
    }
    one("linux", &bzimage(0x208));
    let text = "chain drive=80h\n";
    let mut head = vec![5, 0xC0, text.len() as u8];
    head.extend(text.as_bytes());
    head.extend([0; 2]);
    put("good-chain", [&MACHINE[..], &head].concat());
}

/// Good kernels for which there is no room.
fn boot_path_without_room(put: &mut dyn FnMut(&str, Vec<u8>)) {
    // 8 KiB at 1 MiB are reserved, and this kernel wants to be there.
    let hole = [2, 0, 0, 1, 0, 0, 16, 0, 0];
    let at = named("good-at");
    put(
        "good-at-not-free",
        [&hole[..], &disk(5, 0xC0), &at].concat(),
    );
    // There is room for it, but above 4 GiB.
    let mut huge = named("good-higher-half");
    let third = 64 + 2 * 56 + 40; // p_memsz
    huge[third..third + 8].copy_from_slice(&0x2000_0000u64.to_le_bytes());
    put(
        "above-4-gib",
        [&[1, 0, 0][..], &disk(5, 0xC0), &huge].concat(),
    );
}

/// Volumes with wrong numbers in them, and a disk that is only a volume.
fn boot_path_damaged(put: &mut dyn FnMut(&str, Vec<u8>), file: &[u8]) {
    let damage = |place: u8, offset: u16, value: u32| {
        let mut bytes = [&MACHINE[..], &disk(0x0D, 0xC0)].concat();
        bytes.push(place);
        bytes.extend(offset.to_le_bytes());
        bytes.push(3);
        bytes.extend(value.to_le_bytes());
        bytes.extend(file);
        bytes
    };
    put("damaged-mbr", damage(0, 510, 0));
    put("damaged-boot-sector", damage(1, 11, 3));
    put("damaged-fat", damage(3, 12, 0xFFFF));
    let volume = trimmed(small_volume(12).image());
    put("raw", [&MACHINE[..], &[0], &volume].concat());
}
