//! INT 13h: a disk with whims.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use boot_path::bios::firmware::{FLAG_CARRY, Registers};

use super::{Answer, INVALID, buffer};

/// What is wrong with a disk, or with the BIOS that reads it.
#[derive(Clone, Debug)]
pub enum Whim {
    /// AH=41h is an error; AH=42h and AH=48h do not exist.
    NoExtensions,
    /// AH=41h is an error, with AH=42h in working order.
    DeniesExtensions,
    /// AH=41h returns this in BX and CX.
    Answers41(u16, u16),
    /// AH=41h says yes, but neither AH=42h nor AH=48h exists.
    OnlyClaimsExtensions,
    /// AH=48h writes so many bytes behind the 26 that it was asked for.
    ParametersOverrun(usize),
    /// AH=48h reports these sectors, and bytes in a sector.
    Parameters(u64, u16),
    /// AH=48h is an error.
    NoParameters,
    /// AH=48h is an error unless the word at offset 2 of the buffer is 0.
    WantsZeroFlags,
    /// AH=08h is an error.
    NoGeometry,
    /// AH=08h reports 0 sectors per track.
    ZeroSectorsPerTrack,
    /// AH=08h answers, with AH = 0 and CF set.
    GeometryWithCarry,
    /// A service leaves CF as it came in, whatever happens.
    LeavesCarry(u8),
    /// A call for more sectors than this is an error.
    AtMost(usize),
    /// A transfer across a 64 KiB line is an error.
    No64KCrossing,
    /// The first so many reads of this disk end in this status.
    Transient(usize, u8),
    /// The first read fails, and every further one until a reset.
    StuckUntilReset,
    /// Every read ends in this status.
    Always(u8),
    /// These sectors cannot be read.
    Dead(Range<u64>),
    /// Every sector whose LBA is a multiple of this fails the first time.
    Weak(u64),
    /// After so many reads, every read fails with this status until so many milliseconds have
    /// passed in all.
    Away(usize, u8, u64),
    /// A read takes so many milliseconds if it succeeds, and so many others if it fails.
    Takes(u64, u64),
    /// A read that fails after so many others takes so many milliseconds.
    HangsAfter(usize, u64),
    /// Failed reads leave 0 as the number of sectors in the packet.
    ZeroesCount,
    /// Good reads leave 0 as the number of sectors in the packet.
    ClearsCount,
    /// If a read is for more than so many sectors, it succeeds with half of them, and says so in
    /// the packet.
    HalfOfMoreThan(usize),
    /// The fate of each read, in turn; reads behind the last one succeed.
    Script(Vec<Fate>),
}

/// The fate of a read.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Good,
    /// This status, after junk was written to the buffer.
    Junk(u8),
    /// This status, after all was read.
    LateFailure(u8),
    /// Success with so many sectors read (if that is fewer), and their number in the packet.
    Short(u8),
    /// CF is set and AH is 0.
    CarryAlone,
}

/// A disk whose every byte is known.
#[derive(Clone, Debug)]
pub struct FakeDisk {
    pub number: u8,
    pub sector_size: usize,
    pub sectors: u64,
    pub heads: u64,
    pub sectors_per_track: u64,
    pub whims: Vec<Whim>,
    /// Sectors with a content of their own.
    pub content: BTreeMap<u64, Vec<u8>>,
    /// The number of sectors of each read.
    pub sizes: Vec<usize>,
    /// Where each read began.
    pub lbas: Vec<u64>,
    /// Milliseconds that have passed.
    pub now: u64,
    stuck: bool,
    /// Weak sectors that have failed.
    failed: BTreeSet<u64>,
}

impl FakeDisk {
    /// A hard disk of 1 GiB.
    pub fn new() -> Self {
        Self {
            number: 0x80,
            sector_size: 512,
            sectors: 1 << 21,
            heads: 255,
            sectors_per_track: 63,
            whims: Vec::new(),
            content: BTreeMap::new(),
            sizes: Vec::new(),
            lbas: Vec::new(),
            now: 0,
            stuck: false,
            failed: BTreeSet::new(),
        }
    }

    pub fn with(mut self, whim: Whim) -> Self {
        self.whims.push(whim);
        self
    }

    /// What a sector holds.
    pub fn sector(&self, lba: u64) -> Vec<u8> {
        self.content.get(&lba).cloned().unwrap_or_else(|| {
            let word = |index: u64| (lba << 16 | index).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let words = (0..self.sector_size as u64 / 8).flat_map(|i| word(i).to_le_bytes());
            words.collect()
        })
    }

    /// What some sectors hold.
    pub fn sectors_from(&self, lba: u64, count: usize) -> Vec<u8> {
        (lba..lba + count as u64)
            .flat_map(|lba| self.sector(lba))
            .collect()
    }

    fn has(&self, test: impl Fn(&Whim) -> bool) -> bool {
        self.whims.iter().any(test)
    }

    pub(super) fn call(&mut self, registers: &mut Registers, memory: &mut [u8]) -> Answer {
        let service = registers.ah();
        assert_eq!(registers.edx as u8, self.number, "another drive");
        let answer = match service {
            0x00 => {
                self.stuck = false;
                registers.eax = 0;
                Answer::Success("")
            }
            0x02 => self.read_track(registers, memory),
            0x08 => self.geometry(registers),
            0x41 => self.check_extensions(registers),
            0x42 => self.read_extended(registers, memory),
            0x48 => self.parameters(registers, memory),
            _ => panic!("nobody should call AH={service:02X}h"),
        };
        if self.has(|whim| matches!(whim, Whim::LeavesCarry(ah) if *ah == service)) {
            return Answer::Silence(match answer {
                Answer::Failure(status) => {
                    registers.eax = u32::from(status) << 8;
                    ""
                }
                Answer::Success(answers) | Answer::Silence(answers) => answers,
            });
        }
        answer
    }

    fn check_extensions(&self, registers: &mut Registers) -> Answer {
        if self.has(|whim| matches!(whim, Whim::NoExtensions | Whim::DeniesExtensions)) {
            return Answer::Failure(INVALID);
        }
        assert_eq!(registers.ebx as u16, 0x55AA);
        let (mut bx, mut cx) = (0xAA55, 0b101);
        for whim in &self.whims {
            if let Whim::Answers41(other_bx, other_cx) = whim {
                (bx, cx) = (*other_bx, *other_cx);
            }
        }
        registers.eax = 0x3000;
        registers.ebx = bx.into();
        registers.ecx = cx.into();
        Answer::Success("bc")
    }

    fn without_extensions(&self) -> bool {
        self.has(|whim| matches!(whim, Whim::NoExtensions | Whim::OnlyClaimsExtensions))
    }

    fn parameters(&self, registers: &mut Registers, memory: &mut [u8]) -> Answer {
        const SIZE: usize = 26;
        if self.without_extensions() || self.has(|whim| matches!(whim, Whim::NoParameters)) {
            return Answer::Failure(INVALID);
        }
        let (mut sectors, mut size, mut overrun) = (self.sectors, self.sector_size as u16, 0);
        for whim in &self.whims {
            match *whim {
                Whim::Parameters(n, bytes) => (sectors, size) = (n, bytes),
                Whim::ParametersOverrun(length) => overrun = length,
                _ => {}
            }
        }
        let out = buffer(memory, registers.ds, registers.esi, SIZE + overrun);
        assert!(
            usize::from(out[0]) >= SIZE && out[1] == 0,
            "the size of the buffer"
        );
        if out[2..4] != [0; 2] && self.has(|whim| matches!(whim, Whim::WantsZeroFlags)) {
            return Answer::Failure(INVALID);
        }
        out.fill(0xEE);
        out[..2].copy_from_slice(&(SIZE as u16).to_le_bytes());
        out[16..24].copy_from_slice(&sectors.to_le_bytes());
        out[24..26].copy_from_slice(&size.to_le_bytes());
        registers.eax &= !0xFF00;
        Answer::Success("")
    }

    fn geometry(&self, registers: &mut Registers) -> Answer {
        if self.has(|whim| matches!(whim, Whim::NoGeometry)) {
            return Answer::Failure(INVALID);
        }
        let per_track = match self.has(|whim| matches!(whim, Whim::ZeroSectorsPerTrack)) {
            true => 0,
            false => self.sectors_per_track as u32,
        };
        registers.eax = 0;
        registers.ecx = 0xFFC0 | per_track;
        registers.edx = (self.heads as u32 - 1) << 8 | 1;
        // The table of diskette parameters, also for a hard disk.
        (registers.es, registers.edi) = (0xF000, 0xEFC7);
        if self.has(|whim| matches!(whim, Whim::GeometryWithCarry)) {
            registers.eflags |= FLAG_CARRY;
            return Answer::Silence("cd");
        }
        Answer::Success("cd")
    }

    fn read_extended(&mut self, registers: &mut Registers, memory: &mut [u8]) -> Answer {
        let packet = buffer(memory, registers.ds, registers.esi, 16).to_vec();
        assert_eq!(packet[..2], [16, 0], "size of the packet");
        let word = |at: usize| u16::from_le_bytes([packet[at], packet[at + 1]]);
        let lba = u64::from_le_bytes(packet[8..].try_into().expect("eight bytes"));
        let count = usize::from(word(2));
        if self.without_extensions() {
            self.sizes.push(count);
            self.lbas.push(lba);
            return Answer::Failure(INVALID);
        }
        let (answer, done) = self.transfer(lba, count, (word(6), word(4)), memory);
        registers.eax &= !0xFF00;
        let mut left = done;
        if matches!(answer, Answer::Failure(_)) {
            left = match self.has(|whim| matches!(whim, Whim::ZeroesCount)) {
                true => 0,
                false => count,
            };
        }
        if self.has(|whim| matches!(whim, Whim::ClearsCount)) {
            left = 0;
        }
        let packet = buffer(memory, registers.ds, registers.esi, 16);
        packet[2..4].copy_from_slice(&(left as u16).to_le_bytes());
        answer
    }

    fn read_track(&mut self, registers: &mut Registers, memory: &mut [u8]) -> Answer {
        let [sector, cylinder, ..] = registers.ecx.to_le_bytes().map(u64::from);
        let cylinder = cylinder | (sector & 0xC0) << 2;
        let (sector, head) = (sector & 0x3F, u64::from(registers.edx >> 8 & 0xFF));
        let count = usize::from(registers.eax as u8);
        let within = (1..=self.sectors_per_track).contains(&sector)
            && head < self.heads
            && sector + count as u64 - 1 <= self.sectors_per_track;
        assert!(
            within,
            "C {cylinder} H {head} S {sector} and {count} of them"
        );
        let lba = (cylinder * self.heads + head) * self.sectors_per_track + sector - 1;
        let (answer, done) =
            self.transfer(lba, count, (registers.es, registers.ebx as u16), memory);
        registers.eax = done as u32;
        // This service cannot report fewer sectors.
        match answer {
            Answer::Success(_) if done < count => Answer::Failure(0x04),
            answer => answer,
        }
    }

    /// The fate that the whims give a read: the status of its failure, and how many sectors are
    /// read.
    fn fate(
        &mut self,
        lba: u64,
        count: usize,
        crosses: bool,
        out: &mut [u8],
    ) -> (Option<u8>, usize) {
        let end = lba.saturating_add(count as u64);
        let mut status = None;
        let mut done = count;
        for whim in &self.whims {
            match whim {
                Whim::AtMost(most) if count > *most => status = Some(INVALID),
                Whim::No64KCrossing if crosses => status = Some(0x09),
                Whim::Transient(times, code) if self.sizes.len() <= *times => status = Some(*code),
                Whim::StuckUntilReset if self.stuck || self.sizes.len() == 1 => {
                    self.stuck = true;
                    status = Some(0x20);
                }
                Whim::Always(code) => status = Some(*code),
                Whim::Away(reads, code, back) if self.sizes.len() > *reads && self.now < *back => {
                    status = Some(*code);
                }
                Whim::Weak(step) => {
                    let weak = (lba..end).filter(|lba| lba % step == 0);
                    let fresh = weak.filter(|lba| !self.failed.contains(lba)).min();
                    if let Some(lba) = fresh {
                        self.failed.insert(lba);
                        status = Some(0x0C);
                    }
                }
                Whim::Dead(range) if lba < range.end && range.start < end => status = Some(0x10),
                Whim::HalfOfMoreThan(most) if count > *most => done = count / 2,
                Whim::Script(fates) => match fates.get(self.sizes.len() - 1) {
                    Some(Fate::Junk(code)) => {
                        out.fill(0x5A);
                        status = Some(*code);
                    }
                    Some(Fate::LateFailure(code)) => {
                        out.copy_from_slice(&self.sectors_from(lba, count));
                        status = Some(*code);
                    }
                    Some(Fate::Short(most)) => done = count.min(usize::from(*most)),
                    Some(Fate::CarryAlone) => status = Some(0),
                    Some(Fate::Good) | None => {}
                },
                _ => {}
            }
        }
        (status, done)
    }

    /// Reads to segment and offset. Returns how it ended and how many sectors were read.
    fn transfer(
        &mut self,
        lba: u64,
        count: usize,
        (segment, offset): (u16, u16),
        memory: &mut [u8],
    ) -> (Answer, usize) {
        assert!((1..=127).contains(&count), "{count} sectors in one call");
        self.sizes.push(count);
        self.lbas.push(lba);
        let length = count * self.sector_size;
        let out = buffer(memory, segment, offset.into(), length);
        let start = usize::from(segment) * 16 + usize::from(offset);
        let crosses = start >> 16 != (start + length - 1) >> 16;
        let end = lba.saturating_add(count as u64);
        let (mut status, done) = self.fate(lba, count, crosses, out);
        if end > self.sectors {
            status = Some(0x04);
        }
        for whim in &self.whims {
            self.now += match whim {
                Whim::Takes(good, _) if status.is_none() => *good,
                Whim::Takes(_, bad) => *bad,
                Whim::HangsAfter(reads, takes) if status.is_some() && self.sizes.len() > *reads => {
                    *takes
                }
                _ => 0,
            };
        }
        if let Some(status) = status {
            return (Answer::Failure(status), 0);
        }
        let sectors = self.sectors_from(lba, done);
        // Where nothing is said of the number of sectors, the others stay as they are.
        if done != 0 && !self.has(|whim| matches!(whim, Whim::ClearsCount)) {
            let out = buffer(memory, segment, offset.into(), length);
            out.fill(0x5A);
        }
        let out = buffer(memory, segment, offset.into(), length);
        out[..sectors.len()].copy_from_slice(&sectors);
        (Answer::Success(""), done)
    }
}
