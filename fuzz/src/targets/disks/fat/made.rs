//! Volumes that the input makes. Both their FAT and their directories may be nonsense.

use crate::input::Input;
use crate::tiny::{Tiny, checksum, entry, long_entries};

/// A volume whose directories and FAT the input makes. Both may be nonsense.
pub(super) fn make(input: &mut Input<'_>) -> Tiny {
    let mut tiny = Tiny::new(input.choose(&[12, 16, 32]));
    tiny.data.truncate(64 * 512);
    let mut entries = 0;
    while !input.is_empty() {
        match input.u8() % 4 {
            0 => link(&mut tiny, input),
            1 => link_run(&mut tiny, input),
            2 => entries += add_entry(&mut tiny, input),
            _ => overwrite(&mut tiny, input),
        }
        if entries > 1000 {
            break;
        }
    }
    tiny
}

/// The last cluster.
fn last(tiny: &Tiny) -> u32 {
    tiny.fat.len() as u32 - 1
}

/// A cluster, most often one that exists.
fn cluster(tiny: &Tiny, input: &mut Input<'_>) -> u32 {
    match input.u8() {
        value @ 0..=0xEF => u32::from(value) % 70,
        0xF0 => last(tiny),
        0xF1 => last(tiny) + 1,
        0xF2 => input.u32(),
        _ => Tiny::END,
    }
}

fn set_link(tiny: &mut Tiny, at: u32, link: u32) {
    if (2..=last(tiny)).contains(&at) {
        tiny.fat[at as usize] = link;
    }
}

/// Makes a short chain in the FAT.
fn link(tiny: &mut Tiny, input: &mut Input<'_>) {
    let mut at = cluster(tiny, input);
    for _ in 0..input.u8() % 8 {
        let link = cluster(tiny, input);
        set_link(tiny, at, link);
        at = link;
    }
}

/// Makes a chain of clusters that lie one behind the other.
fn link_run(tiny: &mut Tiny, input: &mut Input<'_>) {
    let (first, count) = (cluster(tiny, input), input.u8() % 16);
    for at in first..first.saturating_add(count.into()) {
        set_link(tiny, at, at + 1);
    }
}

/// Adds an entry to a directory, and returns how many parts the entry has.
fn add_entry(tiny: &mut Tiny, input: &mut Input<'_>) -> usize {
    let name = input.choose(&[
        b"BOOT       ",
        b"KERNEL  ELF",
        b"KERNEL~1CON",
        b"A          ",
        b"DIR        ",
        b"ALONGN~1TEX",
        b"\xE5ERNEL  ELF",
    ]);
    let long = input.choose(&["", "", "kernel.conf", "a long name.text"]);
    let attributes = input.choose(&[0x20, 0x10, 0x00, 0x08, 0x0F]);
    let first = cluster(tiny, input);
    let size = match input.u8() % 4 {
        0 => input.u32(),
        1 => u32::from(input.u16()),
        n => u32::from(input.u8()) * 32 * u32::from(n),
    };
    let mut parts = Vec::new();
    if !long.is_empty() {
        parts = long_entries(long, checksum(name) ^ (input.u8() >> 7));
    }
    parts.push(entry(name, attributes, first, size));
    let directory = cluster(tiny, input);
    for part in &parts {
        let place = match directory {
            2..66 => tiny.data.get_mut((directory as usize - 2) * 512..),
            _ => Some(&mut tiny.root[..]),
        };
        let free = place.and_then(|bytes| {
            let bytes = &mut bytes[..512];
            bytes.chunks_mut(32).find(|entry| entry[0] == 0)
        });
        if let Some(free) = free {
            free.copy_from_slice(part);
        }
    }
    parts.len()
}

/// Overwrites some bytes anywhere.
fn overwrite(tiny: &mut Tiny, input: &mut Input<'_>) {
    let at = usize::from(input.u16()) % tiny.data.len();
    let bytes = input.bytes(usize::from(at as u8 % 32));
    let room = &mut tiny.data[at..];
    let length = bytes.len().min(room.len());
    room[..length].copy_from_slice(&bytes[..length]);
}
