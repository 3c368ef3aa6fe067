//! The whole path, from the bytes of a disk to the jump into a kernel, by the code that boots, on a
//! PC in the host's memory. Then the promises to the kernel are checked.
//!
//! Memory is full of junk when it is handed out, and access to memory that was not allocated is
//! refused: see [`host_machine`].

use boot_path::errors::catalogue::{DISK_READ, FAT_DAMAGED, FAT_NOT_FAT};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MIB, MemoryKind, MemoryMap, Region};
use disk_layout::SECTOR_SIZE;
use host_machine::{Disk, Image as DiskImage, Memory, Outcome, Pc, boot};

use crate::input::Input;
use crate::promises;
use crate::whole_disk::Image;

/// What memory holds when it is handed out.
const JUNK: u8 = 0xA5;

/// The end of conventional memory, where the EBDA begins.
const EBDA: u64 = 0x9_FC00;

/// The most RAM in one piece that can be allocated, because the host needs as much.
const MOST: u64 = 64 << 20;

/// The input: the machine, then the disk (see `Machine` and [`Image`]).
pub fn run(bytes: &[u8]) {
    let _ = outcome(bytes);
}

/// As [`run`]. Returns whether the kernel would have been started, or what the loader would have
/// shown.
///
/// # Errors
/// The report.
pub fn outcome(bytes: &[u8]) -> Result<(), String> {
    let mut input = Input::new(bytes);
    let machine = Machine::new(&mut input);
    let image = Image::new(&mut input);
    let memory = machine.memory_map();
    let regions = machine.regions();
    let is_large = machine.sectors >= 1 << 20;
    let pc = machine.switch_on(image.bytes);
    match boot(&pc, &[]) {
        Outcome::Failed { code, report } => {
            let of_disk = [&DISK_READ, &FAT_NOT_FAT, &FAT_DAMAGED].map(|entry| entry.code);
            // An entry may name another drive, which is not there.
            let elsewhere = report.contains(", drive ") && !report.contains(", drive 80h");
            let good = image.files.is_some() && is_large && !elsewhere;
            assert!(
                !good || !of_disk.contains(&code) && !code.starts_with('7'),
                "a good volume: {report}"
            );
            assert!(report.starts_with("error "));
            Err(report)
        }
        Outcome::Ready(jump, moves) => {
            promises::check(&pc, &regions, (&jump, &moves), image.files.as_ref());
            promises::check_moves(&memory, &jump, &moves);
            Ok(())
        }
    }
}

/// The machine that the disk is in.
struct Machine {
    memory: Vec<(u64, u64, MemoryKind)>,
    cpu_features: u64,
    /// What the BIOS says of the disk, whose sectors have 512 bytes.
    sector_size: usize,
    sectors: u64,
}

impl Machine {
    fn new(input: &mut Input<'_>) -> Self {
        let how = input.u8();
        let mut memory = vec![
            (0, EBDA, MemoryKind::Usable),
            (EBDA, 0xA_0000 - EBDA, MemoryKind::Reserved),
            (0xF_0000, 0x1_0000, MemoryKind::Reserved),
        ];
        let size = input.choose(&[MOST, 2 << 20, 3 << 20, 17 << 20, 1 << 30, 3 << 30]);
        // The rest is RAM that belongs to ACPI: it is mapped, and never allocated.
        let usable = size.min(MOST);
        memory.push((MIB, usable, MemoryKind::Usable));
        if size > usable {
            memory.push((MIB + usable, size - usable, MemoryKind::AcpiReclaimable));
        }
        if how & 1 != 0 {
            memory.push((4 << 30, 2 << 30, MemoryKind::Usable));
        }
        for _ in 0..how >> 1 & 7 {
            let start = u64::from(input.u16()) << 12 << (input.u8() % 8);
            let kind = input.choose(&[
                MemoryKind::Reserved,
                MemoryKind::Usable,
                MemoryKind::AcpiReclaimable,
                MemoryKind::AcpiNvs,
                MemoryKind::Bad,
            ]);
            memory.push((start, u64::from(input.u16()) << 9, kind));
        }
        let cpu = input.u8();
        let mut cpu_features = !(handoff::CPU_NX | handoff::CPU_1GIB_PAGES | handoff::CPU_LA57);
        if cpu & 1 == 0 {
            cpu_features |= handoff::CPU_NX;
        }
        if cpu & 2 == 0 {
            cpu_features |= handoff::CPU_1GIB_PAGES;
        }
        Self {
            memory,
            cpu_features,
            sector_size: [512, 512, 2048, 4096][usize::from(cpu >> 2 & 3)],
            sectors: [1 << 20, u64::MAX, 300, 1 << 32][usize::from(cpu >> 4 & 3)],
        }
    }

    /// The memory map before anything is allocated.
    /// The memory, to the byte.
    fn memory_map(&self) -> MemoryMap {
        let mut map = MemoryMap::new();
        for &(start, length, kind) in &self.memory {
            let start = PhysAddr::new(start);
            let end = start + length;
            map.add(Region { start, end, kind });
        }
        map.finish(EBDA);
        map
    }

    fn regions(&self) -> Vec<Region> {
        let mut map = self.memory_map();
        map.round_to_pages();
        map.regions().to_vec()
    }

    fn switch_on(self, bytes: Vec<u8>) -> Pc {
        let length = self.sectors.saturating_mul(SECTOR_SIZE as u64);
        let mut disk = Disk::new(Sparse { bytes, length });
        disk.reported_sector_size = self.sector_size;
        let memory = Memory::new(Some(JUNK)).expect("the host has an address space");
        let mut pc = Pc::new(memory, disk);
        pc.e820 = self.memory;
        pc.cpu_features = self.cpu_features;
        pc
    }
}

/// A disk of which only the beginning is kept; all other bytes are zero.
struct Sparse {
    bytes: Vec<u8>,
    length: u64,
}

impl DiskImage for Sparse {
    fn length(&self) -> u64 {
        self.length
    }

    fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), u8> {
        let given = usize::try_from(offset).ok();
        let given = given.and_then(|offset| self.bytes.get(offset..));
        let given = given.unwrap_or_default();
        let length = given.len().min(out.len());
        let (there, behind) = out.split_at_mut(length);
        there.copy_from_slice(&given[..length]);
        behind.fill(0);
        Ok(())
    }
}
