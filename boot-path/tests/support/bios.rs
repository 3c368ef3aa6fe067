//! A BIOS that does what a test tells it: a disk, a memory map, a screen and a keyboard, each with
//! the whims that real BIOSes have.
//!
//! It counts calls and stops a test that makes too many, and it lets nobody write where nothing of
//! the loader's is meant to be written.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use boot_path::bios::firmware::{Bios, FLAG_CARRY, Registers};
use boot_path::bios::time::{Clock, Moment, Waiting};
use boot_path::memory::layout::{BIOS_BUFFER, TRANSFER_BUFFER};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// First byte behind what real mode reaches.
const MIB: usize = 1 << 20;
/// The direction flag in EFLAGS.
const FLAG_DIRECTION: u32 = 1 << 10;
/// What is in registers and memory that nobody has set.
const JUNK: u32 = 0xDEAD_BEEF;

/// The status "invalid function".
pub const INVALID: u8 = 0x01;

/// Words of the BIOS data area.
pub const BDA_EBDA_SEGMENT: usize = 0x40E;
pub const BDA_MEMORY_SIZE: usize = 0x413;
pub const BDA_VIDEO_MODE: usize = 0x449;

/// A BIOS with all its parts. They are good ones unless a test changes them.
pub struct FakeBios {
    pub memory: Vec<u8>,
    pub disk: FakeDisk,
    pub map: FakeMap,
    /// The modes that INT 10h AH=00h can set; it is silent about others.
    pub video_modes: Vec<u8>,
    /// What INT 16h AH=00h returns in AX, one after the other, and then [`FakeBios::no_key`].
    pub keys: Vec<u16>,
    /// What it returns when there is no key: where the real one would wait.
    pub no_key: u16,
    /// Are registers that hold no answer changed, as far as a BIOS can, and DF set?
    pub clobbers: bool,
    /// Every call: the interrupt, and the registers as they came in.
    pub calls: Vec<(u8, Registers)>,
    /// When each of them began, in milliseconds.
    pub times: Vec<u64>,
    /// Which of the machine's counters move.
    pub counters: Counters,
    /// How often the clock was asked, which may cost time.
    pub clock_asked: usize,
    /// What was said of waiting, and when.
    pub told: Vec<(u64, String)>,
    /// As many calls are not too many.
    pub most_calls: usize,
}

impl FakeBios {
    /// A PC with a disk of 1 GiB and 64 MiB of memory.
    pub fn new() -> Self {
        let mut bios = Self {
            memory: vec![0xAA; MIB],
            disk: FakeDisk::new(),
            map: FakeMap::new(),
            video_modes: vec![3],
            keys: Vec::new(),
            no_key: 0x1C0D,
            clobbers: false,
            calls: Vec::new(),
            times: Vec::new(),
            counters: Counters::Both,
            clock_asked: 0,
            told: Vec::new(),
            most_calls: 20_000,
        };
        bios.set_word(BDA_MEMORY_SIZE, 639);
        bios.set_word(BDA_EBDA_SEGMENT, 0x9FC0);
        bios.memory[BDA_VIDEO_MODE] = 3;
        bios
    }

    /// The same with another disk.
    pub fn with_disk(disk: FakeDisk) -> Self {
        Self {
            disk,
            ..Self::new()
        }
    }

    /// The same with another memory map.
    pub fn with_map(map: FakeMap) -> Self {
        Self { map, ..Self::new() }
    }

    pub fn set_word(&mut self, address: usize, value: u16) {
        self.memory[address..address + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// How often a service of an interrupt (AH) was called.
    pub fn count(&self, number: u8, ah: u8) -> usize {
        let calls = self.calls.iter();
        calls.filter(|(n, r)| (*n, r.ah()) == (number, ah)).count()
    }
}

impl Bios for FakeBios {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        self.calls.push((number, *registers));
        self.times.push(self.disk.now);
        assert!(self.calls.len() <= self.most_calls, "calls without end");
        let before = *registers;
        let memory = &mut self.memory;
        let answer = match number {
            0x10 => {
                let mode = before.eax as u8;
                if before.ah() == 0 && self.video_modes.contains(&mode) {
                    memory[BDA_VIDEO_MODE] = mode;
                }
                Answer::Silence("")
            }
            0x13 => self.disk.call(registers, memory),
            0x15 => self.map.call(registers, memory),
            0x16 => {
                let key = match self.keys.is_empty() {
                    true => self.no_key,
                    false => self.keys.remove(0),
                };
                registers.eax = key.into();
                Answer::Silence("")
            }
            _ => panic!("nobody should call INT {number:02X}h"),
        };
        match answer {
            Answer::Success(_) => registers.eflags = before.eflags & !FLAG_CARRY,
            Answer::Failure(status) => {
                registers.eflags = before.eflags | FLAG_CARRY;
                registers.eax = before.eax & !0xFF00 | u32::from(status) << 8;
            }
            Answer::Silence(_) => {}
        }
        if self.clobbers {
            // The low halves of answers are left, and whole registers that are 32 bits wide.
            let wide = before.eax as u16 == 0xE820;
            let answers = match answer {
                Answer::Success(answers) | Answer::Silence(answers) => answers,
                Answer::Failure(_) => "",
            };
            let clobber = |name: char, value: &mut u32| {
                *value = match answers.contains(name) {
                    true if wide => *value,
                    true => *value & 0xFFFF | JUNK & !0xFFFF,
                    false => JUNK,
                };
            };
            if !wide {
                registers.eax = registers.eax & 0xFFFF | JUNK & !0xFFFF;
            }
            clobber('b', &mut registers.ebx);
            clobber('c', &mut registers.ecx);
            clobber('d', &mut registers.edx);
            [registers.esi, registers.edi, registers.ebp] = [JUNK; 3];
            [registers.ds, registers.es] = [JUNK as u16; 2];
            registers.eflags |= FLAG_DIRECTION;
        }
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        let start = address as usize;
        T::read_from_bytes(&self.memory[start..start + size_of::<T>()]).expect("it has this length")
    }

    fn put<T: IntoBytes + Immutable>(&mut self, value: &T) {
        let buffer = &mut self.memory[BIOS_BUFFER.start as usize..BIOS_BUFFER.end as usize];
        buffer.fill(0);
        buffer[..size_of::<T>()].copy_from_slice(value.as_bytes());
    }

    fn write<T: IntoBytes + Immutable>(&mut self, address: u64, value: &T) {
        let bytes = value.as_bytes();
        buffer(&mut self.memory, 0, address as u32, bytes.len()).copy_from_slice(bytes);
    }

    fn transferred(&self, length: usize) -> &[u8] {
        &self.memory[TRANSFER_BUFFER.start as usize..][..length]
    }
}

/// The counters of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counters {
    Both,
    /// Interrupts stay off while the BIOS reads.
    TscOnly,
    /// It cannot be found out how fast the time-stamp counter is.
    TicksOnly,
    Neither,
}

/// 2 GHz.
const TSC_FREQUENCY: u64 = 2_000_000_000;
/// Ticks at the beginning: a minute before midnight.
const FIRST_TICKS: u64 = 0x18_00B0 - 1092;

impl Clock for FakeBios {
    fn now(&self) -> Moment {
        let milliseconds = match self.counters {
            Counters::Neither => 0,
            _ => self.disk.now,
        };
        let ticks = match self.counters {
            Counters::TscOnly => 0,
            _ => milliseconds * 182 / 10_000,
        };
        Moment {
            tsc: milliseconds * (TSC_FREQUENCY / 1000),
            ticks: ((FIRST_TICKS + ticks) % 0x18_00B0) as u32,
        }
    }

    fn milliseconds_since(&mut self, moment: Moment) -> u64 {
        self.clock_asked += 1;
        let frequency = (self.counters != Counters::TicksOnly).then_some(TSC_FREQUENCY);
        moment.milliseconds_to(self.now(), frequency)
    }

    fn tell(&mut self, waiting: &Waiting) {
        self.told.push((self.disk.now, waiting.to_string()));
    }
}

/// How a service ends. The letters name the registers that hold answers besides EAX.
enum Answer {
    Success(&'static str),
    Failure(u8),
    /// CF and EAX are left alone, or were set already.
    Silence(&'static str),
}

/// The bytes at a far address that the BIOS may write to.
fn buffer(memory: &mut [u8], segment: u16, offset: u32, length: usize) -> &mut [u8] {
    let start = usize::from(segment) * 16 + offset as usize;
    let range = start..start + length;
    let within = |region: &boot_path::memory::layout::Region| {
        region.start as usize <= range.start && range.end <= region.end as usize
    };
    assert!(
        within(&BIOS_BUFFER) || within(&TRANSFER_BUFFER),
        "a BIOS is told to write to {range:X?}"
    );
    &mut memory[range]
}

/// A BIOS that says anything at all.
pub struct RandomBios {
    answers: std::vec::IntoIter<u32>,
    /// What keeps it from ending everything with its first answer, in every second one.
    luck: fn(&mut Registers),
    calls: usize,
    most_calls: usize,
}

impl RandomBios {
    pub fn new(answers: Vec<u32>, most_calls: usize, luck: fn(&mut Registers)) -> Self {
        Self {
            answers: answers.into_iter(),
            luck,
            calls: 0,
            most_calls,
        }
    }
}

impl Clock for RandomBios {
    fn now(&self) -> Moment {
        Moment::default()
    }

    fn milliseconds_since(&mut self, _: Moment) -> u64 {
        self.answers.next().unwrap_or(0).into()
    }

    fn tell(&mut self, _: &Waiting) {}
}

impl Bios for RandomBios {
    fn call(&mut self, _: u8, registers: &mut Registers) {
        self.calls += 1;
        assert!(self.calls <= self.most_calls, "calls without end");
        for register in [
            &mut registers.eflags,
            &mut registers.eax,
            &mut registers.ebx,
            &mut registers.ecx,
            &mut registers.edx,
        ] {
            *register = self.answers.next().unwrap_or(*register);
        }
        if registers.eflags & 2 != 0 {
            (self.luck)(registers);
        }
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        let seed = self.answers.as_slice().first().copied().unwrap_or(0);
        let byte = |at: usize| (seed.rotate_left(at as u32 * 7) ^ address as u32) as u8;
        let bytes: Vec<u8> = (0..size_of::<T>()).map(byte).collect();
        T::read_from_bytes(&bytes).expect("it has this length")
    }

    fn put<T: IntoBytes + Immutable>(&mut self, _: &T) {}

    fn write<T: IntoBytes + Immutable>(&mut self, _: u64, _: &T) {}

    fn transferred(&self, length: usize) -> &[u8] {
        let buffer = const { &[0; 1 << 16] };
        buffer.get(..length).expect("no more than the buffer holds")
    }
}

// --- INT 13h -----------------------------------------------------------------------------------

/// What is wrong with a disk, or with the BIOS that reads it.
#[derive(Clone, Debug)]
pub enum Whim {
    /// AH=41h is an error, AH=42h and AH=48h are not there.
    NoExtensions,
    /// AH=41h is an error, with AH=42h in working order.
    DeniesExtensions,
    /// AH=41h returns this in BX and CX.
    Answers41(u16, u16),
    /// AH=41h says yes, and there are neither AH=42h nor AH=48h.
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
    /// More sectors in one call are an error.
    AtMost(usize),
    /// A transfer across a 64 KiB line is an error.
    No64KCrossing,
    /// The first so many reads of the life of this disk end in this status.
    Transient(usize, u8),
    /// The first read fails, and every further one until a reset.
    StuckUntilReset,
    /// Every read ends in this status.
    Always(u8),
    /// These sectors cannot be read.
    Dead(Range<u64>),
    /// Every sector whose LBA is a multiple of this fails the first time.
    Weak(u64),
    /// After so many reads, all fail with this status, until so many milliseconds have passed in all.
    Away(usize, u8, u64),
    /// A read takes so many milliseconds if it succeeds, and so many if it fails.
    Takes(u64, u64),
    /// A read that fails after so many others takes so many milliseconds.
    HangsAfter(usize, u64),
    /// Failed reads leave 0 as the number of sectors in the packet.
    ZeroesCount,
    /// Reads succeed with half of the sectors, when it is more than so many, and say so in the
    /// packet.
    HalfOfMoreThan(usize),
    /// What happens to each read, in turn; behind the end all is well.
    Script(Vec<Fate>),
}

/// What happens to a read.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Good,
    /// This status, after junk was written to the buffer.
    Junk(u8),
    /// This status, after all was read.
    LateFailure(u8),
    /// Success, with so many sectors read (if that is fewer), and the number in the packet.
    Short(u8),
    /// CF is set and AH is 0.
    CarryAlone,
}

/// A disk of which each byte is known.
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

    fn call(&mut self, registers: &mut Registers, memory: &mut [u8]) -> Answer {
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
        // Nowhere to say that it was less.
        match answer {
            Answer::Success(_) if done < count => Answer::Failure(0x04),
            answer => answer,
        }
    }

    /// Reads to segment and offset; tells how it ended and how many sectors were read.
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
        out.fill(0x5A);
        out[..sectors.len()].copy_from_slice(&sectors);
        (Answer::Success(""), done)
    }
}

// --- INT 15h -----------------------------------------------------------------------------------

/// How a list of E820 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// EBX is 0 with the last entry.
    Ebx,
    /// CF is set behind the last entry, EAX is `SMAP`.
    Carry,
    /// CF is set behind the last entry, EAX is an error.
    CarryAndStatus,
    /// Never: the last entry comes again and again.
    Never,
}

/// An entry of E820.
#[derive(Clone, Copy, Debug)]
pub struct FakeEntry {
    pub base: u64,
    pub length: u64,
    pub kind: u32,
    /// Written when [`FakeEntry::written`] is 24.
    pub attributes: u32,
    /// Bytes that are written.
    pub written: usize,
    /// Bytes that are said to be written (ECX).
    pub claimed: u32,
}

impl FakeEntry {
    /// An entry of 20 bytes.
    pub const fn new(base: u64, length: u64, kind: u32) -> Self {
        Self {
            base,
            length,
            kind,
            attributes: 0,
            written: 20,
            claimed: 20,
        }
    }

    /// The same with attributes, in 24 bytes.
    pub const fn with_attributes(mut self, attributes: u32) -> Self {
        self.attributes = attributes;
        (self.written, self.claimed) = (24, 24);
        self
    }
}

/// What INT 15h says of memory.
#[derive(Clone, Debug)]
pub struct FakeMap {
    pub e820: Option<Vec<FakeEntry>>,
    pub end: End,
    /// EAX is something else with the entry of this number, and CF is clear.
    pub smap_lost_at: Option<usize>,
    /// AX, BX, CX and DX of E801.
    pub e801: Option<[u16; 4]>,
    /// AX of 88h.
    pub kib_88: Option<u16>,
    /// E801 and 88h leave CF as it came in.
    pub leaves_carry: bool,
}

impl FakeMap {
    /// 64 MiB in all.
    pub fn new() -> Self {
        Self {
            e820: Some(vec![
                FakeEntry::new(0, 0x9_FC00, 1),
                FakeEntry::new(0x9_FC00, 0x400, 2),
                FakeEntry::new(0xF_0000, 0x1_0000, 2),
                FakeEntry::new(0x10_0000, 63 << 20, 1),
                FakeEntry::new(0xFFFC_0000, 0x4_0000, 2),
            ]),
            end: End::Ebx,
            smap_lost_at: None,
            e801: Some([15 * 1024, 48 << 4, 15 * 1024, 48 << 4]),
            kib_88: Some(63 * 1024),
            leaves_carry: false,
        }
    }

    fn call(&self, registers: &mut Registers, memory: &mut [u8]) -> Answer {
        const MISSING: Answer = Answer::Failure(0x86);
        let answer = match registers.eax as u16 {
            0xE820 => match &self.e820 {
                Some(entries) => return self.entry(entries, registers, memory),
                None => MISSING,
            },
            0xE801 => match self.e801 {
                Some(values) => {
                    let [ax, bx, cx, dx] = values.map(u32::from);
                    registers.eax = ax;
                    registers.ebx = bx;
                    registers.ecx = cx;
                    registers.edx = dx;
                    Answer::Success("bcd")
                }
                None => MISSING,
            },
            ax if ax >> 8 == 0x88 => match self.kib_88 {
                Some(kib) => {
                    registers.eax = kib.into();
                    Answer::Success("")
                }
                None => MISSING,
            },
            ax => panic!("nobody should call AX={ax:04X}h"),
        };
        match self.leaves_carry {
            true => Answer::Silence("bcd"),
            false => answer,
        }
    }

    fn entry(&self, entries: &[FakeEntry], registers: &mut Registers, memory: &mut [u8]) -> Answer {
        const SMAP: u32 = 0x534D_4150;
        assert_eq!(registers.edx, SMAP);
        assert_eq!(registers.ecx, 24);
        // Continuation values need not be indices.
        let index = (registers.ebx / 0x1_0001) as usize;
        let index = match self.end {
            End::Never => index.min(entries.len() - 1),
            _ => index,
        };
        let Some(entry) = entries.get(index) else {
            if self.end == End::Carry {
                registers.eax = SMAP;
                registers.eflags |= FLAG_CARRY;
                return Answer::Silence("");
            }
            return Answer::Failure(0x86);
        };
        let out = buffer(memory, registers.es, registers.edi, entry.written);
        let bytes = [
            &entry.base.to_le_bytes()[..],
            &entry.length.to_le_bytes(),
            &entry.kind.to_le_bytes(),
            &entry.attributes.to_le_bytes(),
        ]
        .concat();
        for (to, from) in out
            .iter_mut()
            .zip(bytes.iter().chain(std::iter::repeat(&0xEE)))
        {
            *to = *from;
        }
        registers.eax = match self.smap_lost_at == Some(index) {
            true => 0x0000_E820,
            false => SMAP,
        };
        let last = index + 1 == entries.len() && self.end == End::Ebx;
        registers.ebx = if last {
            0
        } else {
            (index as u32 + 1) * 0x1_0001
        };
        registers.ecx = entry.claimed;
        Answer::Success("bc")
    }
}
