//! Step 7, the pure half: the boot drive, by INT 13h.
//!
//! By its extensions (Enhanced Disk Drive specification, EDD), else by cylinder, head and sector;
//! with whatever helps against errors, those of disks and those of BIOSes.

use core::num::NonZeroU64;

use disk_layout::MAX_TRANSFER_SECTORS;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::block_device::{BlockDevice, DiskError, DiskFailure};
use crate::firmware::{BUFFER_OFFSET, Bios, Registers};
use crate::layout::{BIOS_BUFFER, TRANSFER_BUFFER};

/// Tries of a read before its size is halved.
const TRIES: u32 = 3;
/// Status when the BIOS reports success and has not read everything: "sector not found".
const STATUS_NOT_FOUND: u8 = 0x04;
/// Status values for which the size of a read is not the reason, and which may take the BIOS many
/// seconds: no media, time-out, drive not ready.
const STATUS_ABSENT: [u8; 3] = [0x31, 0x80, 0xAA];
/// Highest cylinder number of INT 13h AH=02h.
const MAX_CYLINDER: u64 = 1023;

/// Sectors per track and heads, as INT 13h AH=08h reports them.
#[derive(Clone, Copy)]
struct Geometry {
    sectors_per_track: NonZeroU64,
    heads: NonZeroU64,
}

/// A disk that the BIOS reads.
pub struct Drive<B> {
    bios: B,
    number: u8,
    sector_size: usize,
    sectors: u64,
    /// INT 13h extensions are there.
    extensions: bool,
    geometry: Option<Geometry>,
    /// The most sectors that one call is trusted with: halved when a read fails.
    limit: usize,
    reads: u32,
}

/// The packet of INT 13h AH=42h (EDD, "Disk Address Packet").
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Packet {
    size: u8,
    reserved: u8,
    sectors: U16,
    offset: U16,
    segment: U16,
    lba: U64,
}

/// What INT 13h AH=48h fills (EDD 1.1). BIOSes that write more than they were offered find room
/// behind it.
#[derive(FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Parameters {
    size: U16,
    flags: U16,
    cylinders: U32,
    heads: U32,
    sectors_per_track: U32,
    sectors: U64,
    bytes_per_sector: U16,
}

impl<B: Bios> Drive<B> {
    /// Finds out what the BIOS knows of the drive with this number.
    pub fn open(bios: B, number: u8) -> Self {
        let mut drive = Self::proved(bios, number, disk_layout::SECTOR_SIZE);
        drive.extensions = drive.has_extensions();
        if drive.extensions {
            drive.read_parameters();
        } else {
            drive.geometry = drive.read_geometry();
        }
        drive
    }

    /// A drive from which sectors of this size were read by the extensions before. That is a proof,
    /// so the BIOS is not asked: what it says of CDs is often wrong, or an error.
    pub fn proved(bios: B, number: u8, sector_size: usize) -> Self {
        Self {
            bios,
            number,
            sector_size,
            sectors: u64::MAX,
            extensions: true,
            geometry: None,
            limit: usize::from(MAX_TRANSFER_SECTORS),
            reads: 0,
        }
    }

    /// The BIOS that reads it.
    pub fn bios(&self) -> &B {
        &self.bios
    }

    /// Its number for INT 13h.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Is it read by LBA, and not by cylinder, head and sector?
    pub fn by_lba(&self) -> bool {
        self.extensions
    }

    /// INT 13h calls that read.
    pub fn reads(&self) -> u32 {
        self.reads
    }

    fn call(&mut self, registers: &mut Registers) {
        registers.edx = registers.edx & !0xFF | u32::from(self.number);
        self.bios.call(0x13, registers);
    }

    /// INT 13h AH=41h. CF, BX and CX bit 0 all have to say yes.
    fn has_extensions(&mut self) -> bool {
        let mut registers = Registers {
            ebx: 0x55AA,
            ..Registers::new(0x4100)
        };
        self.call(&mut registers);
        !registers.carry() && registers.ebx as u16 == 0xAA55 && registers.ecx & 1 != 0
    }

    /// INT 13h AH=48h. What it says about the size of sectors and disk is only believed when it
    /// makes sense.
    fn read_parameters(&mut self) {
        self.bios.put(&(size_of::<Parameters>() as u16));
        let mut registers = Registers {
            esi: BUFFER_OFFSET,
            ..Registers::new(0x4800)
        };
        self.call(&mut registers);
        if registers.carry() {
            return;
        }
        let parameters: Parameters = self.bios.read(BIOS_BUFFER.start);
        let size = parameters.bytes_per_sector.get();
        if size >= 512 && size.is_power_of_two() {
            self.sector_size = usize::from(size);
        }
        if parameters.sectors.get() != 0 {
            self.sectors = parameters.sectors.get();
        }
    }

    /// INT 13h AH=08h. ES:DI = 0 guards against a BIOS bug; and there are BIOSes that set CF with
    /// AH = 0, which is success.
    fn read_geometry(&mut self) -> Option<Geometry> {
        let mut registers = Registers::new(0x0800);
        self.call(&mut registers);
        if registers.carry() && registers.ah() != 0 {
            return None;
        }
        Some(Geometry {
            sectors_per_track: NonZeroU64::new(u64::from(registers.ecx & 0x3F))?,
            heads: NonZeroU64::MIN.saturating_add(u64::from(registers.edx >> 8 & 0xFF)),
        })
    }

    /// Reads up to `count` sectors to `address` by one call. Returns how many it were.
    fn read_once(&mut self, lba: u64, count: usize, address: u64) -> Result<usize, u8> {
        if self.extensions {
            self.read_extended(lba, count, address)
        } else {
            self.read_track(lba, count, address)
        }
    }

    /// INT 13h AH=42h. The packet is made anew for each call: BIOSes write to it.
    fn read_extended(&mut self, lba: u64, count: usize, address: u64) -> Result<usize, u8> {
        let (segment, offset) = far(address);
        self.bios.put(&Packet {
            size: size_of::<Packet>() as u8,
            reserved: 0,
            sectors: U16::new(count as u16),
            offset: U16::new(offset),
            segment: U16::new(segment),
            lba: U64::new(lba),
        });
        let mut registers = Registers {
            esi: BUFFER_OFFSET,
            ..Registers::new(0x4200)
        };
        self.reads += 1;
        self.call(&mut registers);
        let packet: Packet = self.bios.read(BIOS_BUFFER.start);
        if registers.carry() {
            Err(registers.ah())
        } else if usize::from(packet.sectors.get()) != count {
            Err(STATUS_NOT_FOUND)
        } else {
            Ok(count)
        }
    }

    /// INT 13h AH=02h, up to the end of the track.
    fn read_track(&mut self, lba: u64, count: usize, address: u64) -> Result<usize, u8> {
        let Some(Geometry {
            sectors_per_track,
            heads,
        }) = self.geometry
        else {
            return Err(STATUS_NOT_FOUND);
        };
        let (track, sector) = (lba / sectors_per_track, lba % sectors_per_track);
        let (cylinder, head) = (track / heads, track % heads);
        if cylinder > MAX_CYLINDER {
            return Err(STATUS_NOT_FOUND);
        }
        let count = count.min((sectors_per_track.get() - sector) as usize);
        let (es, bx) = far(address);
        let cylinder = cylinder as u32;
        let mut registers = Registers {
            ebx: bx.into(),
            ecx: (cylinder & 0xFF) << 8 | cylinder >> 2 & 0xC0 | (sector as u32 + 1),
            edx: (head as u32) << 8,
            es,
            ..Registers::new(0x0200 | count as u32)
        };
        self.reads += 1;
        self.call(&mut registers);
        if registers.carry() {
            Err(registers.ah())
        } else {
            Ok(count)
        }
    }

    /// INT 13h AH=00h: brings a controller back that is stuck after an error.
    fn reset(&mut self) {
        self.call(&mut Registers::new(0));
    }

    /// Reads up to `count` sectors, with all that can be done about errors: three tries with a
    /// reset in between, then half as many sectors, down to one, then the other way of addressing
    /// them.
    fn read_stubbornly(&mut self, lba: u64, count: usize, address: u64) -> Result<usize, u8> {
        loop {
            let size = count.min(self.limit);
            let mut status = 0;
            for _ in 0..TRIES {
                match self.read_once(lba, size, address) {
                    Ok(done) => return Ok(done),
                    Err(code) => status = code,
                }
                self.reset();
            }
            if size > 1 {
                let absent = STATUS_ABSENT.contains(&status);
                self.limit = if absent { 1 } else { size / 2 };
                continue;
            }
            // The last way out: the other one. It stays the way if it works.
            if self.sector_size == disk_layout::SECTOR_SIZE {
                self.extensions = !self.extensions;
                if !self.extensions {
                    self.geometry = self.read_geometry();
                }
                if let Ok(done) = self.read_once(lba, 1, address) {
                    return Ok(done);
                }
                self.extensions = !self.extensions;
            }
            // This sector is bad, and not the size of the calls.
            self.limit = MAX_TRANSFER_SECTORS.into();
            return Err(status);
        }
    }
}

impl<B: Bios> BlockDevice for Drive<B> {
    fn sector_size(&self) -> usize {
        self.sector_size
    }

    fn sector_count(&self) -> u64 {
        self.sectors
    }

    fn max_transfer(&self) -> usize {
        let room = TRANSFER_BUFFER.size() as usize >> self.sector_size.trailing_zeros();
        room.min(MAX_TRANSFER_SECTORS.into())
    }

    fn read(&mut self, lba: u64, count: usize) -> Result<&[u8], DiskError> {
        let count = count.min(self.max_transfer());
        let mut done = 0;
        while done < count {
            let lba = lba.saturating_add(done as u64);
            let address = TRANSFER_BUFFER.start + (done * self.sector_size) as u64;
            match self.read_stubbornly(lba, count - done, address) {
                Ok(sectors) => done += sectors,
                // What could be read may be all that is needed.
                Err(_) if done > 0 => break,
                Err(status) => {
                    return Err(DiskError {
                        // Only now: BIOSes that report too small a disk can read behind its end.
                        cause: if lba < self.sectors {
                            DiskFailure::Status(status)
                        } else {
                            DiskFailure::OutOfRange
                        },
                        lba,
                        drive: self.number,
                    });
                }
            }
        }
        if lba >= self.sectors {
            self.sectors = u64::MAX; // it is one of those
        }
        Ok(self.bios.transferred(done * self.sector_size))
    }
}

/// A far pointer to an address below 1 MiB: segment, offset.
fn far(address: u64) -> (u16, u16) {
    ((address >> 4) as u16, (address & 0xF) as u16)
}
