//! Step 7: the boot drive, by INT 13h.
//!
//! Reads by the extensions (Enhanced Disk Drive specification, EDD), or else by cylinder, head and sector,
//! and recovers from errors, those of disks and those of BIOSes.

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
/// Status when the BIOS reports success and has not read everything: "sector not found".
const STATUS_NOT_FOUND: u8 = 0x04;
/// Status values for which the size of a read is not the reason, and which may take the BIOS many
/// seconds: no media, time-out, drive not ready.
const STATUS_ABSENT: [u8; 3] = [0x31, 0x80, 0xAA];
/// Milliseconds after which it is said what the loader waits for, the call that failed first included.
const SAID_AFTER: u64 = 2_000;
/// Milliseconds from the first failure of a read on, after which no call begins for it.
const GIVEN_UP_AFTER: u64 = 20_000;
/// How often a sector is tried at most, once its failures take long.
const ROUNDS: u32 = 11;
/// How many reads in a row have to fail, of which each sector can be read, until calls become smaller.
const DOUBTS: u8 = 2;
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
    /// Reads in a row that failed and whose sectors were read one by one afterwards.
    doubts: u8,
    /// The first sector of the last read that succeeded.
    good: Option<Lba>,
    /// The sector that was last tried for long enough, and its status.
    bad: Option<(Lba, u8)>,
    /// It does not answer any more: the last status.
    gone: Option<u8>,
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

impl<B: Bios + Clock> Drive<B> {
    /// Finds out what the BIOS knows of the drive with this number.
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

    /// A drive from which sectors of this size were read by the extensions before. That is a proof,
    /// so the BIOS is not asked: what it says of CDs is often wrong, or an error.
    #[inline(never)]
    pub fn proved(bios: B, number: u8, sector_size: usize) -> Self {
        Self {
            bios,
            number,
            sector_size,
            sectors: u64::MAX,
            extensions: true,
            geometry: None,
            limit: usize::from(MAX_TRANSFER_SECTORS),
            doubts: 0,
            good: None,
            bad: None,
            gone: None,
            reads: 0,
        }
    }

    /// By the extensions, stage1 got something else than stage2 from this drive, or nothing: it is read
    /// by cylinder, head and sector where that is possible, even if the BIOS says that they are there.
    pub fn distrust_extensions(&mut self) {
        if self.extensions && self.sector_size == disk_layout::SECTOR_SIZE {
            self.geometry = self.read_geometry();
            self.extensions = self.geometry.is_none();
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
    fn read_once(&mut self, lba: Lba, count: usize, address: u64) -> Result<usize, u8> {
        if self.extensions {
            self.read_extended(lba, count, address)
        } else {
            self.read_track(lba, count, address)
        }
    }

    /// INT 13h AH=42h. The packet is made anew for each call: BIOSes write to it.
    fn read_extended(&mut self, lba: Lba, count: usize, address: u64) -> Result<usize, u8> {
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
        if registers.carry() {
            Err(registers.ah())
        } else if usize::from(packet.sectors.get()) != count {
            Err(STATUS_NOT_FOUND)
        } else {
            Ok(count)
        }
    }

    /// INT 13h AH=02h, up to the end of the track.
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

    /// INT 13h AH=00h: brings a controller back that is stuck after an error.
    fn reset(&mut self) {
        self.call(&mut Registers::new(0));
    }

    /// One try of a read, which is noted if it fails: then the controller is reset, unless the time
    /// is up.
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
    /// whoever waits.
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

    /// Reads up to `count` sectors, with all that can be done about errors: three tries with a
    /// reset in between, then half as many sectors, down to one, then the other way of addressing
    /// them. Once that takes long, or the disk is said to be absent,
    /// [`wait_for`](Self::wait_for) goes on.
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
            let size = match mode {
                Mode::Large => count.min(self.limit),
                Mode::Single | Mode::SingleFailed => 1,
            };
            for _ in 0..TRIES {
                match self.attempt(lba, size, address, trouble) {
                    Ok(done) => return Ok(done),
                    Err(Pace::Quick) => {}
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
        // This sector is bad, and not the size of the calls; unless the disk is no more.
        self.limit = MAX_TRANSFER_SECTORS.into();
        if !self.answers(address, trouble) {
            return self.wait_for(lba, address, trouble, mode);
        }
        Err(trouble.status)
    }

    /// Goes on with one sector when there may be no disk any more. A sector that was read before says whether
    /// the disk answers: if so, this one gets its last tries, and the rest of what is being read
    /// comes sector by sector, to get at what is in front of the bad one. If not, both are tried in
    /// turn, until the disk is back or the time is up.
    fn wait_for(
        &mut self,
        lba: Lba,
        address: u64,
        trouble: &mut Trouble,
        mode: &mut Mode,
    ) -> Result<usize, u8> {
        let mut answers = false;
        let mut tries = TRIES;
        // Where the clock has stopped meanwhile, this number is the bound.
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
        // Once is enough: whoever asks for it again has the answer at once.
        self.bad = Some((lba, trouble.status));
        Err(trouble.status)
    }

    /// The last way out: by the extensions if it was by tracks so far, or the other way around. It
    /// stays the way if it works.
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

    /// Can a sector still be read that was read before? Without one, nobody knows.
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

    /// Does it still answer? Once it does not, every read fails, and the BIOS is not called for it.
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
                Ok(sectors) => done += sectors,
                // What could be read may be all that is needed.
                Err(_) if done > 0 => break,
                Err(status) => {
                    let cause = if self.gone.is_some() {
                        DiskFailure::NoAnswer(status)
                    // Only now: BIOSes that report too small a disk can read behind its end.
                    } else if lba.is_within(self.sectors) {
                        DiskFailure::Status(status)
                    } else {
                        DiskFailure::OutOfRange
                    };
                    return Err(error(cause, lba));
                }
            }
        }
        if mode == Mode::Single && done == count && count > 1 {
            // No sector was bad. If that comes again, it is the size of the calls.
            self.doubts += 1;
            if self.doubts == DOUBTS {
                self.doubts = 0;
                self.limit = (count.min(self.limit) / 2).max(1);
            }
        }
        if !lba.is_within(self.sectors) {
            self.sectors = u64::MAX; // it is one of those
        }
        Ok(self.bios.transferred(done * self.sector_size))
    }
}

/// The trouble with one read: it begins with its first failure, and ends when the read succeeds or
/// is given up.
struct Trouble {
    lba: Lba,
    /// The status of its last failure.
    status: u8,
    /// When the first failure was there.
    since: Option<Moment>,
    /// Milliseconds that the call took which failed first.
    first_call: u64,
    /// Was it said?
    said: bool,
    /// How long it has lasted.
    pace: Pace,
}

impl Trouble {
    /// None so far.
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

/// How [`Drive::read`] goes about what it was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// By calls as large as possible.
    Large,
    /// Sector by sector: a larger call has failed and taken long, and the disk answers.
    Single,
    /// The same, and then a single sector failed as well.
    SingleFailed,
}

/// What the clock says about a trouble.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Nobody notices it yet.
    Quick,
    /// It takes long, and it was said.
    Slow,
    /// No call may begin any more.
    Over,
}

/// A far pointer to an address below 1 MiB: segment, offset.
fn far(address: u64) -> (u16, u16) {
    ((address >> 4) as u16, (address & 0xF) as u16)
}
