//! Step 7: the disk.
//!
//! **On entry**: the memory map. **This step**: what the boot drive can do (INT 13h extensions, else
//! its geometry), and its partition table. **On exit**: a [`BlockDevice`] with retries, and the
//! partition that holds the kernel.
#![allow(unsafe_code)]

use core::num::NonZeroU64;

use disk_layout::MAX_TRANSFER_SECTORS;
use stage2::block_device::{BlockDevice, DiskError, DiskFailure};
use stage2::layout::TRANSFER_BUFFER;
use stage2::partition::{self, Partition};

use crate::bios::{self, Registers};
use crate::faults::Failure;
use crate::{findings, physical, say};

/// Tries of a read before its size is halved.
const TRIES: u32 = 3;
/// Status when the BIOS reports success and has not read everything: "sector not found".
const STATUS_NOT_FOUND: u8 = 0x04;
/// Highest cylinder number of INT 13h AH=02h.
const MAX_CYLINDER: u64 = 1023;

/// Sectors per track and heads, as INT 13h AH=08h reports them.
#[derive(Clone, Copy)]
struct Geometry {
    sectors_per_track: NonZeroU64,
    heads: NonZeroU64,
}

/// The disk that the machine was booted from.
pub struct Disk {
    drive: u8,
    bios_drive: u8,
    sector_size: usize,
    sectors: u64,
    /// INT 13h extensions are there.
    extensions: bool,
    geometry: Option<Geometry>,
    /// The most sectors that one call is trusted with: halved when a read fails.
    limit: usize,
    reads: u32,
}

/// The packet of INT 13h AH=42h (Enhanced Disk Drive specification, "Disk Address Packet").
#[repr(C)]
struct Packet {
    size: u8,
    reserved: u8,
    sectors: u16,
    offset: u16,
    segment: u16,
    lba: u64,
}

/// What INT 13h AH=48h fills (Enhanced Disk Drive specification 1.1), and room for BIOSes that
/// write more than they were offered.
#[repr(C, align(16))]
struct Parameters {
    size: u16,
    flags: u16,
    cylinders: u32,
    heads: u32,
    sectors_per_track: u32,
    sectors: u64,
    bytes_per_sector: u16,
    excess: [u8; 102],
}

impl Parameters {
    const LENGTH: u16 = 26;
}

impl Disk {
    /// Finds out about the drive that stage2 was read from.
    pub fn open() -> Self {
        let (drive, bios_drive) = findings::drives();
        let mut disk = Self {
            drive,
            bios_drive,
            sector_size: disk_layout::SECTOR_SIZE,
            sectors: u64::MAX,
            extensions: false,
            geometry: None,
            limit: usize::from(MAX_TRANSFER_SECTORS),
            reads: 0,
        };
        disk.extensions = disk.has_extensions();
        if disk.extensions {
            disk.read_parameters();
        } else {
            disk.geometry = disk.read_geometry();
        }
        disk
    }

    /// The drive number of INT 13h, and the one that the BIOS had passed to stage1.
    pub fn drives(&self) -> (u8, u8) {
        (self.drive, self.bios_drive)
    }

    /// INT 13h calls that read.
    pub fn reads(&self) -> u32 {
        self.reads
    }

    /// Reads the partition table and chooses the partition to boot from.
    ///
    /// # Errors
    /// 7A to 7C.
    pub fn boot_partition(&mut self) -> Result<Partition, Failure> {
        let sectors = self.sectors;
        let partition = partition::boot_partition(self.read(0, 1)?, sectors)?;
        let way = if self.extensions { "LBA" } else { "CHS" };
        say!(
            " 7 disk     drive ##h by ",
            way,
            ", # bytes a sector, partition # at LBA #";
            self.drive.into(),
            self.sector_size as u64,
            partition.number.into(),
            partition.first_lba
        );
        Ok(partition)
    }

    fn call(&self, registers: &mut Registers) {
        registers.edx = registers.edx & !0xFF | u32::from(self.drive);
        bios::call(0x13, registers);
    }

    /// INT 13h AH=41h. CF, BX and CX bit 0 all have to say yes.
    fn has_extensions(&self) -> bool {
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
        static mut PARAMETERS: Parameters = Parameters {
            size: 0,
            flags: 0,
            cylinders: 0,
            heads: 0,
            sectors_per_track: 0,
            sectors: 0,
            bytes_per_sector: 0,
            excess: [0; 102],
        };
        let parameters = &raw mut PARAMETERS;
        // SAFETY: only this function uses it, and the BIOS while it is called. (The value is not the
        // variable's first one, because a variable of zeros takes no room in the image.)
        unsafe { (*parameters).size = Parameters::LENGTH };
        let (ds, esi) = far(parameters as u64);
        let mut registers = Registers {
            ds,
            esi,
            ..Registers::new(0x4800)
        };
        self.call(&mut registers);
        if registers.carry() {
            return;
        }
        // SAFETY: as above, and the BIOS is done.
        let (sectors, size) = unsafe { ((*parameters).sectors, (*parameters).bytes_per_sector) };
        if size >= 512 && size.is_power_of_two() {
            self.sector_size = usize::from(size);
        }
        if sectors != 0 {
            self.sectors = sectors;
        }
    }

    /// INT 13h AH=08h. ES:DI = 0 guards against a BIOS bug.
    fn read_geometry(&self) -> Option<Geometry> {
        let mut registers = Registers::new(0x0800);
        self.call(&mut registers);
        if registers.carry() {
            return None;
        }
        Some(Geometry {
            sectors_per_track: NonZeroU64::new(u64::from(registers.ecx & 0x3F))?,
            heads: NonZeroU64::MIN.saturating_add(u64::from(registers.edx >> 8 & 0xFF)),
        })
    }

    /// Reads up to `count` sectors to `address` by one call. Returns how many it were.
    fn read_once(&mut self, lba: u64, count: usize, address: u64) -> Result<usize, u8> {
        self.reads += 1;
        if self.extensions {
            self.read_extended(lba, count, address)
        } else {
            self.read_track(lba, count, address)
        }
    }

    /// INT 13h AH=42h. The packet is made anew for each call: BIOSes write to it.
    fn read_extended(&self, lba: u64, count: usize, address: u64) -> Result<usize, u8> {
        static mut PACKET: Packet = Packet {
            size: 0,
            reserved: 0,
            sectors: 0,
            offset: 0,
            segment: 0,
            lba: 0,
        };
        let packet = &raw mut PACKET;
        let (segment, offset) = far(address);
        let (ds, esi) = far(packet as u64);
        // SAFETY: only this function uses the packet, and the BIOS while it is called.
        unsafe {
            *packet = Packet {
                size: size_of::<Packet>() as u8,
                reserved: 0,
                sectors: count as u16,
                offset: offset as u16,
                segment,
                lba,
            };
        }
        let mut registers = Registers {
            ds,
            esi,
            ..Registers::new(0x4200)
        };
        self.call(&mut registers);
        // SAFETY: as above.
        let done = usize::from(unsafe { (*packet).sectors });
        if registers.carry() {
            Err(registers.ah())
        } else if done != count {
            Err(STATUS_NOT_FOUND)
        } else {
            Ok(count)
        }
    }

    /// INT 13h AH=02h, up to the end of the track.
    fn read_track(&self, lba: u64, count: usize, address: u64) -> Result<usize, u8> {
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
        let (es, ebx) = far(address);
        let cylinder = cylinder as u32;
        let mut registers = Registers {
            ebx,
            ecx: (cylinder & 0xFF) << 8 | cylinder >> 2 & 0xC0 | (sector as u32 + 1),
            edx: (head as u32) << 8,
            es,
            ..Registers::new(0x0200 | count as u32)
        };
        self.call(&mut registers);
        if registers.carry() {
            Err(registers.ah())
        } else {
            Ok(count)
        }
    }

    /// INT 13h AH=00h: brings a controller back that is stuck after an error.
    fn reset(&self) {
        self.call(&mut Registers::new(0));
    }

    /// Reads up to `count` sectors, with all that can be done about errors: three tries with a
    /// reset in between, then half as many sectors, down to one, then by cylinder, head and sector.
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
                self.limit = size / 2;
                continue;
            }
            // The last way out. It stays the way if it works.
            if self.extensions
                && self.sector_size == disk_layout::SECTOR_SIZE
                && let Some(geometry) = self.read_geometry()
            {
                self.geometry = Some(geometry);
                if let Ok(done) = self.read_track(lba, 1, address) {
                    self.extensions = false;
                    return Ok(done);
                }
            }
            // This sector is bad, and not the size of the calls.
            self.limit = MAX_TRANSFER_SECTORS.into();
            return Err(status);
        }
    }
}

impl BlockDevice for Disk {
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
                        drive: self.drive,
                    });
                }
            }
        }
        // SAFETY: the buffer belongs to the disk, and has room for `max_transfer` sectors; the slice
        // lives until the next read.
        Ok(unsafe { physical::bytes(TRANSFER_BUFFER.start, (done * self.sector_size) as u64) })
    }
}

/// A far pointer to an address below 1 MiB: segment, offset.
fn far(address: u64) -> (u16, u32) {
    ((address >> 4) as u16, (address & 0xF) as u32)
}
