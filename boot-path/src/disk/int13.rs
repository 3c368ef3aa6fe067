//! Step 7: the boot drive, by INT 13h.
//!
//! Reads by the extensions (Enhanced Disk Drive specification, EDD), or else by cylinder, head and
//! sector, and recovers from errors of disks and of BIOSes.

use core::num::NonZeroU64;

use disk_layout::MAX_TRANSFER_SECTORS;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bios::firmware::{BUFFER_OFFSET, Bios, Registers};
use crate::bios::time::{Clock, Moment, Waiting};
use crate::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use crate::memory::layout::{BIOS_BUFFER, TRANSFER_BUFFER};
use crate::position::Lba;

/// Tries of a read before its size is halved.
const TRIES: u32 = 3;
/// Status when the BIOS reports success without reading everything: "sector not found".
const STATUS_NOT_FOUND: u8 = 0x04;
/// Status values that a smaller read does not help against, and that may take the BIOS many
/// seconds: no media, time-out, drive not ready.
const STATUS_ABSENT: [u8; 3] = [0x31, 0x80, 0xAA];
/// Milliseconds after which the loader tells the user what it waits for, the first failed call
/// included.
const SAID_AFTER: u64 = 2_000;
/// Milliseconds from the first failure of a read after which no further call is made for it.
const GIVEN_UP_AFTER: u64 = 20_000;
/// The most times that a sector is tried, once its failures take long.
const ROUNDS: u32 = 11;
/// Calls become smaller after this many reads in a row have failed although each of their sectors
/// could be read.
const DOUBTS: u8 = 2;
/// Bytes that no sector on a disk ends in.
const MARK: [u8; 16] = *b"\x1Fnot read\xF1\x0E\xA5\x5A\xC3\x3C\x9E";
/// Highest cylinder number of INT 13h AH=02h.
const MAX_CYLINDER: u64 = 1023;

/// Sectors per track and heads, as INT 13h AH=08h reports them.
#[derive(Clone, Copy)]
struct Geometry {
    sectors_per_track: NonZeroU64,
    heads: NonZeroU64,
}

/// A disk that is read through the BIOS.
pub struct Drive<B> {
    bios: B,
    number: u8,
    sector_size: usize,
    sectors: u64,
    /// Has the BIOS not been asked yet how many there are?
    unasked: bool,
    /// Are the INT 13h extensions present?
    extensions: bool,
    geometry: Option<Geometry>,
    /// The most sectors that one call may read: halved when a read fails.
    limit: usize,
    /// Reads in a row that failed although their sectors could then be read one by one.
    doubts: u8,
    /// The first sector of the last read that succeeded.
    good: Option<Lba>,
    /// The last sector that was tried for long enough, and its status.
    bad: Option<(Lba, u8)>,
    /// The last status of a disk that no longer answers.
    gone: Option<u8>,
    /// Does the BIOS set the number of sectors in the packet to 0 although it has read them?
    clears_count: bool,
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

/// The answer of INT 13h AH=48h (EDD 1.1). It is followed by room for BIOSes that write more than
/// the offered length.
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

impl<B: Bios + Clock> Drive<B> {
    /// Asks the BIOS about the drive with this number.
    #[inline(never)]
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

    /// A drive from which the extensions have already read sectors of this size. That is proof
    /// enough, so the BIOS is not asked: its answers about CDs are often wrong, or an error.
    #[inline(never)]
    pub fn proved(bios: B, number: u8, sector_size: usize) -> Self {
        Self {
            bios,
            number,
            sector_size,
            sectors: u64::MAX,
            unasked: false,
            extensions: true,
            geometry: None,
            limit: usize::from(MAX_TRANSFER_SECTORS),
            doubts: 0,
            good: None,
            bad: None,
            gone: None,
            clears_count: false,
            reads: 0,
        }
    }

    /// The same for a disk with sectors of 512 bytes. The BIOS is asked how many there are only once
    /// that matters: when a read has failed.
    #[inline(never)]
    pub fn proved_disk(bios: B, number: u8) -> Self {
        Self {
            unasked: true,
            ..Self::proved(bios, number, disk_layout::SECTOR_SIZE)
        }
    }

    /// When stage1 read this drive by the extensions, it got something other than stage2, or
    /// nothing. So the drive is read by cylinder, head and sector where possible, even if the BIOS
    /// reports the extensions.
    pub fn distrust_extensions(&mut self) {
        if self.extensions && self.sector_size == disk_layout::SECTOR_SIZE {
            self.geometry = self.read_geometry();
            self.extensions = self.geometry.is_none();
        }
    }

    /// stage1 has read this drive in sectors of 512 bytes and got stage2. So they have 512 bytes,
    /// whatever the BIOS reports.
    pub fn prove_sector_size(&mut self) {
        self.sector_size = disk_layout::SECTOR_SIZE;
    }

    /// The BIOS that reads the drive.
    pub fn bios(&self) -> &B {
        &self.bios
    }

    /// Its number for INT 13h.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Is the drive read by LBA, and not by cylinder, head and sector?
    pub fn by_lba(&self) -> bool {
        self.extensions
    }

    /// The number of INT 13h calls that read.
    pub fn reads(&self) -> u32 {
        self.reads
    }

    fn call(&mut self, registers: &mut Registers) {
        registers.edx = registers.edx & !0xFF | u32::from(self.number);
        self.bios.call(0x13, registers);
    }

    /// INT 13h AH=41h. CF, BX and CX bit 0 must all confirm the extensions.
    fn has_extensions(&mut self) -> bool {
        let mut registers = Registers {
            ebx: 0x55AA,
            ..Registers::new(0x4100)
        };
        self.call(&mut registers);
        !registers.carry() && registers.ebx as u16 == 0xAA55 && registers.ecx & 1 != 0
    }

    /// INT 13h AH=48h. Implausible sizes of sectors and disk are ignored.
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

    /// INT 13h AH=08h. ES:DI = 0 guards against a BIOS bug. Some BIOSes set CF with AH = 0, which
    /// is success.
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

    /// Reads up to `count` sectors to `address` by one call. Returns the number of sectors read.
    fn read_once(&mut self, lba: Lba, count: usize, address: u64) -> Result<usize, u8> {
        if self.extensions {
            self.read_extended(lba, count, address)
        } else {
            self.read_track(lba, count, address)
        }
    }

    /// INT 13h AH=42h. Each call gets a new packet, since BIOSes write to it.
    fn read_extended(&mut self, lba: Lba, count: usize, address: u64) -> Result<usize, u8> {
        match self.read_packet(lba, count, address)? {
            0 if !self.clears_count => self.read_marked(lba, count, address),
            0 => Ok(count),
            done if done == count => Ok(count),
            _ => Err(STATUS_NOT_FOUND),
        }
    }

    /// Reads once more after a success with 0 sectors: some BIOSes clear the number after they have
    /// read all, others return without having read anything. Marks at the end of each sector tell
    /// which it is, once and for all: a read replaces them.
    #[cold]
    fn read_marked(&mut self, lba: Lba, count: usize, address: u64) -> Result<usize, u8> {
        let size = self.sector_size;
        let places = (1..=count).map(|end| end * size - MARK.len());
        for place in places.clone() {
            self.bios.write(address + place as u64, &MARK);
        }
        let done = self.read_packet(lba, count, address)?;
        let is_left = |place: usize| self.bios.read::<[u8; 16]>(address + place as u64) == MARK;
        if done != 0 || places.clone().any(is_left) {
            return Err(STATUS_NOT_FOUND);
        }
        self.clears_count = true;
        Ok(count)
    }

    /// Makes the call. Returns the number of sectors that the BIOS leaves in the packet.
    fn read_packet(&mut self, lba: Lba, count: usize, address: u64) -> Result<usize, u8> {
        let (segment, offset) = far(address);
        self.bios.put(&Packet {
            size: size_of::<Packet>() as u8,
            reserved: 0,
            sectors: U16::new(count as u16),
            offset: U16::new(offset),
            segment: U16::new(segment),
            lba: U64::new(lba.as_u64()),
        });
        let mut registers = Registers {
            esi: BUFFER_OFFSET,
            ..Registers::new(0x4200)
        };
        self.reads += 1;
        self.call(&mut registers);
        let packet: Packet = self.bios.read(BIOS_BUFFER.start);
        match registers.carry() {
            true => Err(registers.ah()),
            false => Ok(packet.sectors.get().into()),
        }
    }

    /// INT 13h AH=02h, at most to the end of the track.
    fn read_track(&mut self, lba: Lba, count: usize, address: u64) -> Result<usize, u8> {
        let Some(Geometry {
            sectors_per_track,
            heads,
        }) = self.geometry
        else {
            return Err(STATUS_NOT_FOUND);
        };
        let lba = lba.as_u64();
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

    /// INT 13h AH=00h: resets a controller that is stuck after an error.
    fn reset(&mut self) {
        self.call(&mut Registers::new(0));
    }

    /// Tries a read once and records a failure. Then resets the controller, unless the time is up.
    fn attempt(
        &mut self,
        lba: Lba,
        count: usize,
        address: u64,
        trouble: &mut Trouble,
    ) -> Result<usize, Pace> {
        if trouble.pace == Pace::Over {
            return Err(Pace::Over);
        }
        let began = self.bios.now();
        match self.read_once(lba, count, address) {
            Ok(done) => {
                self.good = Some(lba);
                if count > 1 && count == self.limit {
                    self.doubts = 0;
                }
                Ok(done)
            }
            Err(status) => {
                if lba == trouble.lba {
                    trouble.status = status;
                }
                trouble.pace = self.pace(began, trouble);
                if trouble.pace != Pace::Over {
                    self.reset();
                }
                Err(trouble.pace)
            }
        }
    }

    /// How long the trouble has lasted, now that a call that began at this moment has failed. Tells
    /// the user what the loader waits for.
    fn pace(&mut self, began: Moment, trouble: &mut Trouble) -> Pace {
        let milliseconds = match trouble.since {
            Some(since) => self.bios.milliseconds_since(since),
            None => {
                trouble.first_call = self.bios.milliseconds_since(began);
                trouble.since = Some(self.bios.now());
                0
            }
        };
        if milliseconds >= GIVEN_UP_AFTER {
            return Pace::Over;
        }
        if trouble.first_call + milliseconds < SAID_AFTER {
            return Pace::Quick;
        }
        if !trouble.said {
            trouble.said = true;
            self.bios.tell(&Waiting {
                drive: self.number,
                lba: trouble.lba,
                status: trouble.status,
            });
        }
        Pace::Slow
    }

    /// Reads up to `count` sectors with all possible recovery from errors: three tries with a reset
    /// in between, then half as many sectors, down to one, then the other way of addressing. When
    /// that takes long, or the BIOS reports the disk as absent, [`wait_for`](Self::wait_for) takes
    /// over.
    fn read_stubbornly(
        &mut self,
        lba: Lba,
        count: usize,
        address: u64,
        mode: &mut Mode,
    ) -> Result<usize, u8> {
        let mut trouble = Trouble::with(lba);
        let trouble = &mut trouble;
        loop {
            let mut size = match mode {
                Mode::Large => count.min(self.limit),
                Mode::Single | Mode::SingleFailed => 1,
            };
            for _ in 0..TRIES {
                match self.attempt(lba, size, address, trouble) {
                    Ok(done) => return Ok(done),
                    Err(Pace::Quick) => size = size.min(self.left_from(lba)),
                    Err(_) => return self.wait_for(lba, address, trouble, mode),
                }
            }
            if size == 1 {
                break;
            }
            if !STATUS_ABSENT.contains(&trouble.status) {
                self.limit = size / 2;
            } else if self.good.is_some() {
                return self.wait_for(lba, address, trouble, mode);
            } else {
                self.limit = 1;
            }
        }
        if let Some(done) = self.read_the_other_way(lba, address, trouble) {
            return Ok(done);
        }
        // This sector is bad, so the size of the calls is not the cause, unless the disk is gone.
        self.limit = MAX_TRANSFER_SECTORS.into();
        if !self.answers(address, trouble) {
            return self.wait_for(lba, address, trouble, mode);
        }
        Err(trouble.status)
    }

    /// How many sectors there are from this one on, by what the BIOS says: at least one, since it may
    /// be wrong.
    fn left_from(&mut self, lba: Lba) -> usize {
        let left = self.learn_sector_count().saturating_sub(lba.as_u64());
        usize::try_from(left).map_or(usize::MAX, |left| left.max(1))
    }

    /// Continues with one sector when the disk may be gone. A read of a sector that was read before
    /// shows whether the disk answers. If so, this sector gets its last tries, and the rest of the
    /// request is read sector by sector, to get at the sectors in front of the bad one. If not,
    /// both are tried in turn, until the disk is back or the time is up.
    fn wait_for(
        &mut self,
        lba: Lba,
        address: u64,
        trouble: &mut Trouble,
        mode: &mut Mode,
    ) -> Result<usize, u8> {
        let mut answers = false;
        let mut tries = TRIES;
        // If the clock has stopped meanwhile, this number bounds the loop.
        for _ in 0..ROUNDS {
            if !answers && let Some(good) = self.good {
                match self.attempt(good, 1, address, trouble) {
                    Ok(_) => answers = true,
                    Err(Pace::Over) => break,
                    Err(_) => {}
                }
            }
            match self.attempt(lba, 1, address, trouble) {
                Ok(done) => {
                    if answers {
                        *mode = match mode {
                            Mode::Large => Mode::Single,
                            Mode::Single | Mode::SingleFailed => Mode::SingleFailed,
                        };
                    }
                    return Ok(done);
                }
                Err(Pace::Over) => break,
                Err(_) => {}
            }
            if answers {
                tries -= 1;
                if tries == 0 {
                    if let Some(done) = self.read_the_other_way(lba, address, trouble) {
                        return Ok(done);
                    }
                    break;
                }
            }
        }
        if !answers {
            self.gone = Some(trouble.status);
            return Err(trouble.status);
        }
        // Once is enough: the next read of this sector fails at once.
        self.bad = Some((lba, trouble.status));
        Err(trouble.status)
    }

    /// The last resort: by the extensions if the disk was read by tracks so far, or the other way
    /// around. If that works, the disk is read that way from then on.
    fn read_the_other_way(
        &mut self,
        lba: Lba,
        address: u64,
        trouble: &mut Trouble,
    ) -> Option<usize> {
        if self.sector_size != disk_layout::SECTOR_SIZE || trouble.pace == Pace::Over {
            return None;
        }
        let status = trouble.status;
        self.extensions = !self.extensions;
        if !self.extensions {
            self.geometry = self.read_geometry();
        }
        let done = self.attempt(lba, 1, address, trouble);
        if done.is_err() {
            self.extensions = !self.extensions;
            trouble.status = status;
        }
        done.ok()
    }

    /// Can a sector that was read before still be read? If there is none, assume so.
    fn answers(&mut self, address: u64, trouble: &mut Trouble) -> bool {
        let Some(good) = self.good else {
            return true;
        };
        for _ in 0..TRIES {
            match self.attempt(good, 1, address, trouble) {
                Ok(_) => return true,
                Err(Pace::Over) => return false,
                Err(_) => {}
            }
        }
        false
    }

    /// Does the disk still answer? Once it does not, every read fails without a call of the BIOS.
    pub fn is_there(&self) -> bool {
        self.gone.is_none()
    }
}

impl<B: Bios + Clock> BlockDevice for Drive<B> {
    fn sector_size(&self) -> usize {
        self.sector_size
    }

    fn sector_count(&self) -> u64 {
        self.sectors
    }

    fn learn_sector_count(&mut self) -> u64 {
        if core::mem::take(&mut self.unasked) {
            let proved = self.sector_size;
            self.read_parameters();
            self.sector_size = proved;
        }
        self.sectors
    }

    fn max_transfer(&self) -> usize {
        let room = TRANSFER_BUFFER.size() as usize >> self.sector_size.trailing_zeros();
        room.min(MAX_TRANSFER_SECTORS.into())
    }

    fn read(&mut self, lba: Lba, count: usize) -> Result<&[u8], DiskError> {
        let mut count = count.min(self.max_transfer());
        let number = self.number;
        let error = |cause, lba| DiskError {
            cause,
            lba,
            drive: number,
        };
        if let Some(status) = self.gone {
            return Err(error(DiskFailure::NoAnswer(status), lba));
        }
        if let Some((bad, status)) = self.bad {
            match bad.checked_sub(lba) {
                Some(0) => return Err(error(DiskFailure::Status(status), lba)),
                Some(before) => count = count.min(usize::try_from(before).unwrap_or(count)),
                None => {}
            }
        }
        let mut done = 0;
        let mut mode = Mode::Large;
        while done < count {
            let lba = lba.saturating_add(done as u64);
            let address = TRANSFER_BUFFER.start + (done * self.sector_size) as u64;
            match self.read_stubbornly(lba, count - done, address, &mut mode) {
                Ok(sectors) => {
                    done += sectors;
                    if !lba.saturating_add(sectors as u64).is_within(self.sectors) {
                        break; // at the end of the disk
                    }
                }
                // The sectors read so far may be all that is needed.
                Err(_) if done > 0 => break,
                Err(status) => {
                    let cause = if self.gone.is_some() {
                        DiskFailure::NoAnswer(status)
                    // Not checked earlier: BIOSes that report too small a disk can read behind its
                    // end.
                    } else if lba.is_within(self.learn_sector_count()) {
                        DiskFailure::Status(status)
                    } else {
                        DiskFailure::OutOfRange
                    };
                    return Err(error(cause, lba));
                }
            }
        }
        if mode == Mode::Single && done == count && count > 1 {
            // No sector was bad. If that happens again, the cause is the size of the calls.
            self.doubts += 1;
            if self.doubts == DOUBTS {
                self.doubts = 0;
                self.limit = (count.min(self.limit) / 2).max(1);
            }
        }
        if !lba.is_within(self.sectors) {
            self.sectors = u64::MAX; // this BIOS is one of them
        }
        Ok(self.bios.transferred(done * self.sector_size))
    }
}

/// The trouble with one read, from its first failure until the read succeeds or is given up.
struct Trouble {
    lba: Lba,
    /// The status of its last failure.
    status: u8,
    /// The time of the first failure.
    since: Option<Moment>,
    /// Milliseconds that the first failed call took.
    first_call: u64,
    /// Has the user been told?
    said: bool,
    /// How long it has lasted.
    pace: Pace,
}

impl Trouble {
    /// No trouble so far.
    fn with(lba: Lba) -> Self {
        Self {
            lba,
            status: 0,
            since: None,
            first_call: 0,
            said: false,
            pace: Pace::Quick,
        }
    }
}

/// How [`Drive::read`] reads the requested sectors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By calls as large as possible.
    Large,
    /// Sector by sector: a larger call has failed and taken long, but the disk answers.
    Single,
    /// The same, and a single sector has failed as well.
    SingleFailed,
}

/// How long a trouble has lasted, by the clock.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Too short for the user to notice.
    Quick,
    /// It takes long, and the user has been told.
    Slow,
    /// No further call may begin.
    Over,
}

/// A far pointer to an address below 1 MiB: segment, offset.
fn far(address: u64) -> (u16, u16) {
    ((address >> 4) as u16, (address & 0xF) as u16)
}
