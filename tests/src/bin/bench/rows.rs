//! The rows that decide: each protocol, on a CPU with the instruction for CRC-32C and on one
//! without, with each payload, listed in the manifest or copied onto the image later.
//!
//! A row is measured in virtual time: what counts are instructions, and a disk that answers at once.
//! On a busy host the BIOS has to ask that disk more often, so the shortest of several runs counts.
//! The floor is measured next to it, in the same run of the benchmark.

use std::fmt;
use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};
use machine_tests::elf::{Elf, ProgramHeader, R, W, noise, note};
use machine_tests::image::{Image, test_program};
use machine_tests::machine::Disk;

use crate::measure::{
    Floor, Setup, VIRTUAL_TIME, checksum, has_words, numbers, start_the_clock, verdict,
};
use crate::{KIB, MIB, PAYLOAD_ADDRESS, PAYLOADS, name};

/// By which protocol the kernel is booted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// The loader's own, with its note.
    Own,
    /// An ELF64 file without any mark.
    Plain,
    Limine,
    Multiboot1,
    Multiboot2,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Own,
        Self::Plain,
        Self::Limine,
        Self::Multiboot1,
        Self::Multiboot2,
    ];

    /// Its word on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Plain => "plain",
            Self::Limine => "limine",
            Self::Multiboot1 => "multiboot1",
            Self::Multiboot2 => "multiboot2",
        }
    }

    /// Does the kernel learn when each step of the loader began? For all others, a stopwatch has to
    /// start the clock.
    pub const fn tells_time(self) -> bool {
        matches!(self, Self::Own | Self::Plain)
    }
}

/// A kind of CPU.
#[derive(Clone, Copy)]
pub struct Cpu {
    /// As the option `-cpu` has it.
    pub name: &'static str,
    /// The target: this time for each MiB that is loaded.
    ms_a_mib: f64,
}

impl Cpu {
    /// Does QEMU have it by default?
    pub fn is_default(self) -> bool {
        self.name == "qemu64"
    }

    /// As rows have it.
    pub fn short_name(self) -> &'static str {
        if self.is_default() {
            "qemu64"
        } else {
            "sse4.2"
        }
    }
}

const CPUS: [Cpu; 2] = [
    Cpu {
        name: "qemu64",
        ms_a_mib: 0.65,
    },
    Cpu {
        name: "qemu64,+sse4.2",
        ms_a_mib: 0.37,
    },
];

/// The target for 64 KiB: for Limine, and for all others.
const SMALL_LIMINE_MS: f64 = 0.60;
const SMALL_MS: f64 = 0.42;
/// The target for larger kernels is this, and a time for each MiB.
const BASE_MS: f64 = 0.45;
/// A kernel that the manifest does not list may take so much longer: it may be for any protocol.
const UNLISTED: f64 = 1.5;

/// How many runs there are, of which the shortest counts.
const RUNS: u32 = 5;

/// What is measured.
pub struct Row {
    pub protocol: Protocol,
    pub cpu: Cpu,
    pub size: usize,
    /// Does the manifest list the kernel?
    pub listed: bool,
}

impl Row {
    /// All rows.
    pub fn all() -> impl Iterator<Item = Self> {
        PAYLOADS.into_iter().flat_map(|size| {
            Protocol::ALL.into_iter().flat_map(move |protocol| {
                CPUS.into_iter().flat_map(move |cpu| {
                    [true, false].map(|listed| Self {
                        protocol,
                        cpu,
                        size,
                        listed,
                    })
                })
            })
        })
    }

    /// The target, in ms.
    fn limit(&self) -> f64 {
        let limit = match self.size {
            0..MIB if self.protocol == Protocol::Limine => SMALL_LIMINE_MS,
            0..MIB => SMALL_MS,
            _ => BASE_MS + self.cpu.ms_a_mib * self.size as f64 / MIB as f64,
        };
        if self.listed { limit } else { UNLISTED * limit }
    }

    /// A machine with its CPU, in virtual time.
    pub fn setup<'a>(&self, disk: Disk, arguments: &'a mut Vec<&'static str>) -> Setup<'a> {
        *arguments = VIRTUAL_TIME[..3].to_vec();
        arguments.push(self.cpu.name);
        Setup {
            arguments,
            runs: RUNS,
            ..Setup::virtual_time(disk)
        }
    }

    /// The ticks that the kernel reports. The payload has to be intact.
    pub fn ticks(&self, said: &str, payload: &[u8]) -> Result<u64> {
        let numbers = numbers(said);
        let (ticks, found) = match numbers[..] {
            [ticks, _, found, ..] if self.protocol.tells_time() => (ticks, found),
            [ticks, found] => (ticks, found),
            _ => bail!("unexpected output: {said:?}"),
        };
        ensure!(
            found == checksum(payload),
            "the payload did not arrive intact"
        );
        Ok(ticks)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = if self.listed { "listed" } else { "unlisted" };
        let cpu = self.cpu.short_name();
        let size = name(self.size);
        write!(
            f,
            "{:<10} {cpu:<6} {listed:<8} {size:>6}",
            self.protocol.name()
        )
    }
}

/// Measures the rows that have all of these words. Returns whether all have met their targets, or
/// `None`, if there is no such row.
pub fn compare(floor: &Floor, disk: Disk, words: &[String]) -> Result<Option<bool>> {
    let rows: Vec<Row> = Row::all()
        .filter(|row| has_words(&row.to_string(), words))
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    println!(
        "Each protocol: virtual time (QEMU -icount shift=0), ms from the MBR's first instruction \
         to the kernel's\n"
    );
    println!(
        "{:33} {:>8} {:>8} {:>8}",
        "kernel", "floor", "loader", "limit"
    );
    let programs = Programs::new()?;
    let mut all_met = true;
    let mut measured_floor = (0, 0.0);
    for row in &rows {
        let payload = noise(row.size);
        let mut arguments = Vec::new();
        let setup = row.setup(disk, &mut arguments);
        if measured_floor.0 != row.size {
            let image = floor.image(&payload)?;
            measured_floor = (row.size, setup.best(image.path(), Floor::ticks)?);
        }
        let image = image(row, &programs.kernel(row, &payload)?)?;
        if !row.protocol.tells_time() {
            start_the_clock(&image)?;
        }
        let ms = setup.best(image.path(), |said| row.ticks(said, &payload))?;
        let is_met = ms <= row.limit();
        all_met &= is_met;
        println!(
            "{row} {:8.3} {ms:8.3} {:8.3} {}",
            measured_floor.1,
            row.limit(),
            verdict(is_met)
        );
    }
    println!();
    Ok(Some(all_met))
}

/// The kernels without a payload.
pub struct Programs {
    kernel: Elf,
    multiboot: Elf,
}

impl Programs {
    /// Builds them.
    pub fn new() -> Result<Self> {
        Ok(Self {
            kernel: test_program("bench-kernel")?,
            multiboot: test_program("bench-multiboot")?,
        })
    }

    /// The row's kernel.
    pub fn kernel(&self, row: &Row, payload: &[u8]) -> Result<Vec<u8>> {
        Ok(self.elf(row.protocol, payload, false)?.build())
    }

    /// A kernel with this payload. `has_modules`: it asks for modules, if its protocol demands that.
    pub fn elf(&self, protocol: Protocol, payload: &[u8], has_modules: bool) -> Result<Elf> {
        match protocol {
            Protocol::Own => Ok(with_payload(&self.kernel, payload).with(own_note())),
            Protocol::Plain => Ok(with_payload(&self.kernel, payload)),
            Protocol::Limine => Ok(limine(&self.kernel, payload, has_modules)),
            Protocol::Multiboot1 => self.multiboot(&MULTIBOOT_1, payload),
            Protocol::Multiboot2 => self.multiboot(&MULTIBOOT_2, payload),
        }
    }

    fn multiboot(&self, header: &[u32], payload: &[u8]) -> Result<Elf> {
        /// Where the program has the payload and its length: see its source.
        const ADDRESS: u64 = 4 << 20;
        const LENGTH: usize = 24;

        let mut kernel = self.multiboot.clone();
        let text = kernel.program_headers.first_mut().context("no segment")?;
        for (place, word) in text.data.chunks_exact_mut(4).zip(header) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let length = u32::try_from(payload.len())?;
        text.data[LENGTH..LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        Ok(kernel.with(ProgramHeader::filled(R, ADDRESS, payload.to_vec())))
    }
}

/// An image with the row's kernel.
pub fn image(row: &Row, kernel: &[u8]) -> Result<Image> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(kernel)?;
    Image::build(file.path(), |recipe, _| recipe.checksums = row.listed)
}

/// Magic number, no flags, and their checksum.
const MULTIBOOT_1: [u32; 3] = [0x1BAD_B002, 0, 0_u32.wrapping_sub(0x1BAD_B002)];
/// Magic number, architecture, length and checksum; and an end tag.
const MULTIBOOT_2: [u32; 6] = [
    0xE852_50D6,
    0,
    24,
    0_u32.wrapping_sub(0xE852_50D6 + 24),
    0,
    8,
];

/// A kernel with the payload.
pub fn with_payload(kernel: &Elf, payload: &[u8]) -> Elf {
    let payload = ProgramHeader::filled(R, PAYLOAD_ADDRESS, payload.to_vec());
    kernel.clone().with(payload)
}

/// A note by which the loader's own kernels are recognised.
pub fn own_note() -> ProgramHeader {
    let size = (64 * KIB as u64).to_le_bytes();
    ProgramHeader::note(note("Bootpath", handoff::NOTE_STACK_SIZE, &size, 4))
}

/// A Limine kernel, which asks for its modules if it has any: see `Requests` in its source.
fn limine(kernel: &Elf, payload: &[u8], has_modules: bool) -> Elf {
    const ADDRESS: u64 = 0xFFFF_FFFF_8010_0000;
    const WORDS: [u64; 23] = [
        // A start marker.
        0xF6B8_F4B3_9DE7_D1AE,
        0xFAB9_1A69_40FC_B9CF,
        0x785C_6ED0_15D3_E316,
        0x181E_920A_7852_B9D9,
        // The tag of base revision 0.
        0xF956_2B2D_5C95_A6C8,
        0x6A7B_3849_4453_6BDC,
        0,
        // A request for the offset of the higher half direct map, and room for the response.
        0xC7B1_DD30_DF4C_8B88,
        0x0A82_E883_A194_F07B,
        0x48DC_F1CB_8AD2_B852,
        0x6398_4E95_9A98_244B,
        0,
        0,
        // Room for a request for modules.
        0,
        0,
        0,
        0,
        0,
        0,
        // An end marker.
        0xADC0_E053_1BB1_0D03,
        0x9572_709F_3176_4C62,
        PAYLOAD_ADDRESS,
        0,
    ];
    const MODULES: [u64; 4] = [
        0xC7B1_DD30_DF4C_8B88,
        0x0A82_E883_A194_F07B,
        0x3E7E_2797_02BE_32AF,
        0xCA1C_4F3B_D128_0CEE,
    ];

    let mut words = WORDS;
    if has_modules {
        words[13..17].copy_from_slice(&MODULES);
    }
    words[22] = payload.len() as u64;
    let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let requests = ProgramHeader::filled(R | W, ADDRESS, bytes);
    let kernel = kernel.clone().with(requests);
    with_payload(&kernel, payload)
}
