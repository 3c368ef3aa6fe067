//! A disk for the whole path: any bytes, or a good disk that is then damaged.

use crate::input::Input;
use crate::kernels;
use crate::tiny::{Tiny, checksum, entry, long_entries};

/// What is on the disk.
pub struct Image {
    /// Its bytes; all others are zero.
    pub bytes: Vec<u8>,
    /// The files, if nothing was damaged on purpose.
    pub files: Option<Files>,
}

/// The files of an image that the checks need.
pub struct Files {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// The module.
    pub module: Vec<u8>,
}

impl Image {
    /// The disk as the input has it. Or a disk with a partition that holds a FAT volume with a
    /// kernel, a `kernel.conf` or an entry, and a module, all of which is then damaged in some
    /// places.
    pub fn new(input: &mut Input<'_>) -> Self {
        let how = input.u8();
        if how & 3 == 0 {
            let bytes = input.rest().to_vec();
            return Self { bytes, files: None };
        }
        let layout = input.u8();
        let length = usize::from(input.u8());
        let config = input.bytes(length);
        let module_size = usize::from(input.u16()) % 0x2800;
        let damages: Vec<_> = (0..how >> 3 & 3)
            .map(|_| (input.u8(), input.u16(), input.u8(), input.u32()))
            .collect();
        let kernel = if how & 4 == 0 {
            kernels::make(input)
        } else {
            input.rest().to_vec()
        };

        let bits = [32, 12, 16][usize::from(layout & 3) % 3];
        let is_entry = how & 0x20 != 0;
        let order = layout >> 2 & 3;
        let module: Vec<u8> = (0..module_size)
            .map(|at| (at * 13 + at / 256) as u8)
            .collect();
        let volume = volume(bits, order, [&kernel, config, &module], is_entry);
        let lba = if layout & 0x40 == 0 { 0 } else { 8 };
        let mut bytes = vec![0; lba * 512];
        bytes.extend(volume);
        if lba > 0 {
            bytes[440..444].copy_from_slice(b"disk");
            let entry = &mut bytes[446 + 16 * usize::from(layout >> 4 & 3)..][..16];
            entry[0] = layout & 0x80;
            entry[4] = 0x0C;
            entry[8] = lba as u8;
            entry[12..16].copy_from_slice(&0x10_0000u32.to_le_bytes());
            bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
        }
        for &(place, offset, width, value) in &damages {
            // The sectors with the headers, or anything.
            let start = match place % 8 {
                0 => 0,
                1 | 2 => lba * 512,
                3 => (lba + 1) * 512,
                4 => usize::from(place) * 512,
                _ => usize::from(place >> 3) * 4096,
            };
            let at = (start + usize::from(offset) % 4096) % bytes.len();
            let width = (usize::from(width) % 4 + 1).min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        let files = damages.is_empty().then_some(Files { kernel, module });
        Self { bytes, files }
    }
}

/// A volume with the files. `order`: how their clusters are spread.
fn volume(bits: u32, order: u8, files: [&[u8]; 3], is_entry: bool) -> Vec<u8> {
    const BOOT: u32 = 3;
    const LOADER: u32 = 4;
    const ENTRIES: u32 = 5;
    const FIRST: u32 = 6;

    let count: usize = files.iter().map(|bytes| bytes.len().div_ceil(512)).sum();

    let mut tiny = Tiny::new(bits);
    let mut clusters: Vec<u32> = (FIRST..FIRST + 2 * count as u32).collect();
    let used = match order {
        0 => clusters[..count].to_vec(),
        1 => clusters.drain(..count).rev().collect(),
        2 => clusters.into_iter().step_by(2).collect(),
        // Neighbours change places.
        _ => (0..count as u32).map(|n| FIRST + (n ^ 1)).collect(),
    };
    let highest = used.iter().copied().max().unwrap_or(FIRST).max(FIRST) as usize;
    let entries = (highest + 1).max(tiny.fat.len());
    tiny.fat.resize(entries, 0);
    tiny.data = vec![0; (highest - 1) * 512];

    tiny.entry(0, b"BOOT       ", 0x10, BOOT, 0);
    let (mut directory, mut entries) = (Vec::new(), Vec::new());
    let mut rest = &used[..];
    let config_name = match is_entry {
        true => ("an entry.conf", b"ANENTR~1CON"),
        false => ("kernel.conf", b"KERNEL~1CON"),
    };
    let names = [
        ("kernel.elf", b"KERNEL  ELF"),
        config_name,
        ("module", b"MODULE     "),
    ];
    for (index, ((long, short), bytes)) in names.into_iter().zip(files).enumerate() {
        let directory = match index {
            1 if is_entry => &mut entries,
            _ => &mut directory,
        };
        let (chain, behind) = rest.split_at(bytes.len().div_ceil(512));
        rest = behind;
        tiny.chain(chain, bytes);
        if long.len() > 10 {
            directory.extend(long_entries(long, checksum(short)));
        }
        let first = chain.first().copied().unwrap_or(0);
        directory.push(entry(short, 0x20, first, bytes.len() as u32));
    }
    tiny.chain(&[BOOT], &directory.concat());
    if is_entry {
        tiny.entry(1, b"LOADER     ", 0x10, LOADER, 0);
        tiny.chain(&[LOADER], &entry(b"ENTRIES    ", 0x10, ENTRIES, 0));
        tiny.chain(&[ENTRIES], &entries.concat());
    }
    tiny.image()
}
