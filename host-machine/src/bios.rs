//! The BIOS: as much of it as the boot path asks for.

use boot_path::bios::firmware::{Bios, FLAG_CARRY, Registers};
use boot_path::bios::vbe::{CONTROLLER_BLOCK, MODE_BLOCK};
use boot_path::memory::layout::{BIOS_BUFFER, TRANSFER_BUFFER};
use boot_path::memory::map::MemoryKind;
use boot_path::position::Lba;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::machine::{FRAMEBUFFER, Machine, Pc};

/// `SMAP`.
const SMAP: u32 = 0x534D_4150;

/// Graphics modes: number, width, height; all have 32 bits a pixel.
const MODES: [(u16, u16, u16); 3] = [(0x115, 800, 600), (0x118, 1024, 768), (0x11B, 1280, 1024)];

impl Bios for Machine<'_> {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        let pc = self.0;
        let done = match number {
            0x10 => pc.video(registers),
            0x13 => pc.drive(registers),
            0x15 => pc.system(registers),
            0x1A => pc.date(registers),
            _ => None,
        };
        match done {
            Some(()) => registers.eflags &= !FLAG_CARRY,
            None => registers.eflags |= FLAG_CARRY,
        }
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        let bytes = self.0.memory.slice(address, size_of::<T>() as u64);
        T::read_from_bytes(bytes).unwrap_or_else(|_| unreachable!("it has that size"))
    }

    fn put<T: IntoBytes + Immutable>(&mut self, value: &T) {
        let mut buffer = vec![0; BIOS_BUFFER.size() as usize];
        let bytes = value.as_bytes();
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.0.memory.write(BIOS_BUFFER.start, &buffer);
    }

    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        let bytes = value.as_bytes();
        let end = address + bytes.len() as u64;
        assert!(TRANSFER_BUFFER.start <= address && end <= TRANSFER_BUFFER.end);
        self.0.memory.write(address, bytes);
    }

    fn transferred(&self, length: usize) -> &[u8] {
        self.0.memory.slice(TRANSFER_BUFFER.start, length as u64)
    }
}

/// A far address.
fn linear(segment: u16, offset: u32) -> u64 {
    u64::from(segment) * 16 + u64::from(offset as u16)
}

impl Pc {
    fn field<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory.read(address, &mut bytes);
        bytes
    }

    fn drive(&self, registers: &mut Registers) -> Option<()> {
        let mut disks = self.disks.borrow_mut();
        let index = usize::from((registers.edx as u8).checked_sub(0x80)?);
        let disk = disks.get_mut(index)?;
        let packet = linear(registers.ds, registers.esi);
        match registers.ah() {
            0 => {}
            0x41 => {
                registers.ebx = 0xAA55;
                registers.ecx = 1;
            }
            0x42 => {
                let count = u16::from_le_bytes(self.field(packet + 2));
                let offset = u16::from_le_bytes(self.field(packet + 4));
                let segment = u16::from_le_bytes(self.field(packet + 6));
                let lba = Lba::new(u64::from_le_bytes(self.field(packet + 8)));
                let length = u64::from(count) * disk.sector_size as u64;
                let to = linear(segment, offset.into());
                assert!(TRANSFER_BUFFER.start <= to && to + length <= TRANSFER_BUFFER.end);
                if let Err(status) = disk.read(lba, self.memory.slice_mut(to, length)) {
                    registers.eax = u32::from(status) << 8;
                    return None;
                }
            }
            0x48 => {
                let mut parameters = [0; 26];
                parameters[0] = 26;
                parameters[16..24].copy_from_slice(&disk.sectors().to_le_bytes());
                let sector_size = disk.reported_sector_size as u16;
                parameters[24..26].copy_from_slice(&sector_size.to_le_bytes());
                self.memory.write(packet, &parameters);
            }
            _ => {
                registers.eax = 0x0100;
                return None;
            }
        }
        registers.eax &= !0xFF00;
        Some(())
    }

    fn system(&self, registers: &mut Registers) -> Option<()> {
        if registers.eax != 0xE820 {
            return None;
        }
        let index = match registers.ebx {
            0 => 0,
            _ => self.continuation.get(),
        };
        let &(start, length, kind) = self.e820.get(index)?;
        let kind: u32 = match kind {
            MemoryKind::Usable => 1,
            MemoryKind::AcpiReclaimable => 3,
            MemoryKind::AcpiNvs => 4,
            MemoryKind::Bad => 5,
            _ => 2,
        };
        let to = linear(registers.es, registers.edi);
        self.memory.write(to, &start.to_le_bytes());
        self.memory.write(to + 8, &length.to_le_bytes());
        self.memory.write(to + 16, &kind.to_le_bytes());
        self.continuation.set(index + 1);
        registers.ebx = u32::from(index + 1 < self.e820.len());
        registers.eax = SMAP;
        registers.ecx = 20;
        Some(())
    }

    /// 29 November 2026, noon.
    fn date(&self, registers: &mut Registers) -> Option<()> {
        (registers.ecx, registers.edx) = match registers.ah() {
            2 => (0x1200, 0),
            4 => (0x2026, 0x1129),
            _ => return None,
        };
        Some(())
    }

    fn video(&self, registers: &mut Registers) -> Option<()> {
        if registers.ah() == 0 {
            self.memory.write(0x449, &[registers.eax as u8]);
            return Some(());
        }
        if !self.has_graphics || registers.ah() != 0x4F {
            return None;
        }
        match registers.eax as u8 {
            0 => {
                let mut block = [0; 512];
                block[..4].copy_from_slice(b"VESA");
                block[4..6].copy_from_slice(&0x0300u16.to_le_bytes());
                // The list is in the block itself.
                block[14..16].copy_from_slice(&0x100u16.to_le_bytes());
                let segment = (CONTROLLER_BLOCK >> 4) as u16;
                block[16..18].copy_from_slice(&segment.to_le_bytes());
                let numbers = MODES.iter().map(|mode| mode.0).chain([0xFFFF]);
                for (number, room) in numbers.zip(block[0x100..].chunks_exact_mut(2)) {
                    room.copy_from_slice(&number.to_le_bytes());
                }
                self.memory.write(CONTROLLER_BLOCK, &block);
            }
            1 => {
                let number = registers.ecx as u16;
                let mode = MODES.iter().find(|mode| mode.0 == number)?;
                self.memory.write(MODE_BLOCK, &mode_info(*mode));
            }
            2 => {
                let number = registers.ebx as u16 & 0x1FF;
                MODES.iter().find(|mode| mode.0 == number)?;
            }
            _ => return None,
        }
        registers.eax = 0x004F;
        Some(())
    }
}

/// The VBE BIOS's information on a mode (VBE 3.0, function 01h).
fn mode_info((_, width, height): (u16, u16, u16)) -> [u8; 256] {
    let mut info = [0; 256];
    let mut put = |at: usize, bytes: &[u8]| info[at..at + bytes.len()].copy_from_slice(bytes);
    let colors = [8, 16, 8, 8, 8, 0, 8, 24];
    put(0, &0x009Bu16.to_le_bytes());
    put(16, &(4 * width).to_le_bytes());
    put(18, &width.to_le_bytes());
    put(20, &height.to_le_bytes());
    put(24, &[1, 32, 1, 6]);
    put(31, &colors);
    put(40, &(FRAMEBUFFER as u32).to_le_bytes());
    put(50, &(4 * width).to_le_bytes());
    put(54, &colors);
    info
}
