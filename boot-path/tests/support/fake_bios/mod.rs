//! A BIOS that does what a test tells it: a disk, a memory map, a screen and a keyboard, each with
//! the whims that real BIOSes have.
//!
//! It counts calls and stops a test that makes too many. It allows writes only to memory that the
//! loader has meant for them.
#![allow(dead_code, reason = "each test program uses its own part")]

use boot_path::bios::firmware::{Bios, FLAG_CARRY, Registers};
use boot_path::bios::time::{Clock, Moment, Waiting};
use boot_path::memory::layout::{BIOS_BUFFER, TRANSFER_BUFFER};
use zerocopy::{FromBytes, Immutable, IntoBytes};

mod disk;
mod map;
mod random;

#[allow(unused_imports, reason = "each test program uses its own part")]
pub use disk::{FakeDisk, Fate, Whim};
#[allow(unused_imports, reason = "each test program uses its own part")]
pub use map::{End, FakeEntry, FakeMap};
pub use random::RandomBios;

/// The first byte that real mode does not reach.
const MIB: usize = 1 << 20;
/// The direction flag in EFLAGS.
const FLAG_DIRECTION: u32 = 1 << 10;
/// The content of registers and memory that were never set.
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
    /// What it returns if there is no key: a real BIOS would wait.
    pub no_key: u16,
    /// Whether registers that hold no answer are changed, as far as a BIOS may, and DF is set.
    pub clobbers: bool,
    /// Every call: the interrupt, and the registers as they came in.
    pub calls: Vec<(u8, Registers)>,
    /// When each of them began, in milliseconds.
    pub times: Vec<u64>,
    /// Which of the machine's counters move.
    pub counters: Counters,
    /// How often the clock was asked, because that may cost time.
    pub clock_asked: usize,
    /// What the loader said of waiting, and when.
    pub told: Vec<(u64, String)>,
    /// The most calls that are not too many.
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
            // Of an answer, only the lower half of a register is kept, unless the answer has 32
            // bits.
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
    /// Only the time-stamp counter: interrupts stay off while the BIOS reads.
    TscOnly,
    /// Only ticks: the speed of the time-stamp counter cannot be found out.
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
    /// CF and EAX stay as they are, or were set already.
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
