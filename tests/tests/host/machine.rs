//! Boots an image with damage on a PC in the host's memory, and takes down what the kernel finds.

use std::collections::BTreeMap;
use std::mem::offset_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use boot_path::disk::fat::Cache;
use boot_path::memory::layout::{END, ENTRY_FILE_SIZE, FILE_CACHE_SIZE, TRANSFER_BUFFER};
use boot_path::ways_out::handover::Jump;
use handoff::{BootDisk, BootInfo, MemoryKind};
use host_machine::{Disk, Image as DiskImage, Outcome, Pc, boot};

use crate::images::{Image, boot_sector};
use crate::volume::SECTOR;

/// The damage of a disk: sectors by their numbers, which hold other bytes, or cannot be read.
#[derive(Clone, Debug, Default)]
pub struct Damage(pub BTreeMap<u64, Option<Vec<u8>>>);

/// An image and its damage.
struct Damaged {
    bytes: Arc<[u8]>,
    damage: Damage,
}

impl DiskImage for Damaged {
    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u8> {
        const UNCORRECTABLE: u8 = 0x10;

        out.copy_from_slice(&self.bytes[offset as usize..][..out.len()]);
        let first = offset / SECTOR as u64;
        let end = first + (out.len() / SECTOR) as u64;
        for (lba, sector) in self.damage.0.range(first..end) {
            let sector = sector.as_ref().ok_or(UNCORRECTABLE)?;
            let at = (lba - first) as usize * SECTOR;
            out[at..at + SECTOR].copy_from_slice(sector);
        }
        Ok(())
    }
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// What the kernel would find.
    Ready(Ready),
    /// An error: its code, and the report.
    Failed(&'static str, String),
}

/// All that a kernel would find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The jump.
    pub jump: Jump,
    /// What is moved at the end: address, and the checksum of the bytes.
    moves: Vec<(u64, u32)>,
    /// What was allocated: start, length, and the checksum of the bytes.
    memory: Vec<(u64, u64, u32)>,
}

/// A boot, and the machine that it was on.
pub struct Boot {
    pub found: Found,
    pub pc: Pc,
}

/// Boots an image. The PC has a second disk, and no screen, because the row of the cursor depends
/// on what the loader has printed.
///
/// # Errors
/// When the model of memory has noticed a mistake, or there is no memory.
pub fn boot_damaged(image: &Image, damage: &Damage) -> Result<Boot> {
    let disk = Damaged {
        bytes: Arc::clone(&image.bytes),
        damage: damage.clone(),
    };
    let mut pc = Pc::with_disk(Disk::new(disk)).context("no memory")?;
    pc.has_text = false;
    pc.disks.get_mut().push(Disk::new(boot_sector()?));
    let outcome = catch_unwind(AssertUnwindSafe(|| boot(&pc, &image.manifest)));
    let outcome = outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.into()));
        anyhow!("a panic: {}", text.unwrap_or_default())
    })?;
    let found = match outcome {
        Outcome::Failed { code, report } => Found::Failed(code, report),
        Outcome::Ready(jump, moves) => {
            forget_times(&pc, &jump);
            let sum = |(to, bytes): (u64, Vec<u8>)| (to, crc32c::crc32c(&bytes));
            Found::Ready(Ready {
                jump,
                moves: moves.into_iter().map(sum).collect(),
                memory: memory(&pc, &jump),
            })
        }
    };
    Ok(Boot { found, pc })
}

/// Clears the number of reads and the times, which do not come from the disk.
fn forget_times(pc: &Pc, jump: &Jump) {
    let Jump::Bootpath(start) = jump else {
        return;
    };
    let zeroes = [0; size_of::<[u64; handoff::TIMELINE_LENGTH]>()];
    let reads = offset_of!(BootInfo, boot_disk) + offset_of!(BootDisk, reads);
    let timeline = offset_of!(BootInfo, timeline);
    pc.memory
        .write(start.boot_info.as_u64() + reads as u64, &zeroes[..8]);
    pc.memory
        .write(start.boot_info.as_u64() + timeline as u64, &zeroes);
}

/// What was handed out, without the loader's own rooms for entry files and file system windows: they
/// hold what was read on the way.
fn memory(pc: &Pc, jump: &Jump) -> Vec<(u64, u64, u32)> {
    let rooms = END..END + ENTRY_FILE_SIZE + FILE_CACHE_SIZE;
    let usable = pc
        .e820
        .iter()
        .filter(|(.., kind)| *kind == MemoryKind::Usable);
    let end = usable.map(|(start, length, _)| start + length).max();
    // The first piece of high memory.
    let windows = end.map(|end| end - Cache::MOST_BYTES as u64);
    let mut places = pc.memory.taken();
    places.retain(|(start, _)| !rooms.contains(start) && Some(*start) != windows);
    if let Jump::BootSector { bytes, .. } = jump {
        places.push((TRANSFER_BUFFER.start, *bytes as u64));
    }
    places
        .into_iter()
        .map(|(start, size)| {
            let mut bytes = vec![0; size as usize];
            pc.memory.read(start, &mut bytes);
            (start, size, crc32c::crc32c(&bytes))
        })
        .collect()
}
