//! How things are measured: with the guest's own time-stamp counter, in virtual time or in real
//! time.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use disk_builder::run::Ending;
use disk_layout::{PARTITION_LBA, SECTOR_SIZE, mbr};
use machine_tests::elf::{Elf, noise};
use machine_tests::image::{Image, test_program};
use machine_tests::machine::{Disk, Machine};

use crate::MIB;

/// SeaBIOS and its relatives have INT 13h's handler where the first PC had it, at F000:E3FE.
const INT_13_HANDLER: u32 = 0xF_E3FE;

/// A fixed number of guest instructions a second, no waiting when the guest is idle, and a CPU with
/// an instruction for the checksums, as all have had since 2008 or 2011.
pub const VIRTUAL_TIME: [&str; 4] = ["-icount", "shift=0,sleep=off", "-cpu", "qemu64,+sse4.2"];
/// Ticks in a millisecond of virtual time.
pub const VIRTUAL_TICKS_PER_MS: f64 = 1e6;

/// Where a loader's own MBR is.
const MBR_LBA: u32 = PARTITION_LBA - 1;

/// A machine on which something is measured.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// How the disk is connected.
    pub disk: Disk,
    /// QEMU's further arguments.
    pub arguments: &'a [&'a str],
    /// The number of runs, of which the best one counts.
    pub runs: u32,
    /// Ticks of the time-stamp counter in a millisecond.
    pub ticks_per_ms: f64,
}

impl Setup<'_> {
    /// Virtual time.
    pub fn virtual_time(disk: Disk) -> Self {
        Self {
            disk,
            arguments: &VIRTUAL_TIME,
            runs: 3,
            ticks_per_ms: VIRTUAL_TICKS_PER_MS,
        }
    }

    /// Real time, for ticks of this length.
    pub fn wall_time(disk: Disk, ticks_per_ms: f64) -> Self {
        Self {
            disk,
            arguments: &["-cpu", "qemu64,+sse4.2"],
            runs: 7,
            ticks_per_ms,
        }
    }

    /// The time of the shortest of several runs in ms. `ticks` finds the time in the guest's
    /// output.
    pub fn best(
        &self,
        image: impl AsRef<Path>,
        ticks: impl Fn(&str) -> Result<u64>,
    ) -> Result<f64> {
        (0..self.runs).try_fold(f64::INFINITY, |best, _| {
            Ok(best.min(self.once(image.as_ref(), &ticks)?))
        })
    }

    /// One run.
    pub fn once(
        &self,
        image: impl AsRef<Path>,
        ticks: impl Fn(&str) -> Result<u64>,
    ) -> Result<f64> {
        let machine = Machine::new(image.as_ref()).disk(self.disk);
        let said = run(machine.arguments(self.arguments))?;
        Ok(ticks(&said)? as f64 / self.ticks_per_ms)
    }
}

/// `tests/programs/src/bench/floor.rs`: an MBR that only reads.
pub struct Floor(Elf);

impl Floor {
    /// Builds it.
    pub fn new() -> Result<Self> {
        test_program("floor").map(Self)
    }

    /// The floor program and the bytes that it reads.
    pub fn image(&self, payload: &[u8]) -> Result<Image> {
        let mut program = self.0.flat().to_vec();
        program.resize(disk_layout::mbr::CODE_END - 8, 0);
        program.extend(1_u32.to_le_bytes());
        program.extend(u32::try_from(payload.len().div_ceil(SECTOR_SIZE))?.to_le_bytes());
        Image::raw(&program, payload)
    }

    /// The ticks in the guest's output.
    pub fn ticks(said: &str) -> Result<u64> {
        let unexpected = || format!("unexpected output: {said:?}");
        let line = said.lines().next().with_context(unexpected)?;
        let digits = line.strip_prefix("SE").with_context(unexpected)?;
        u64::from_str_radix(digits, 16).with_context(unexpected)
    }

    /// A disk whose answers always come after the same number of instructions, if the host has one.
    pub fn virtual_time_disk(&self) -> Result<Disk> {
        let image = self.image(&[0; SECTOR_SIZE])?;
        let try_it = |disk| {
            run(Machine::new(&image.path())
                .disk(disk)
                .arguments(VIRTUAL_TIME))
        };
        let Err(error) = try_it(Disk::PromptVirtio) else {
            return Ok(Disk::PromptVirtio);
        };
        println!("No io_uring here, so numbers will vary with the host's load: {error:#}\n");
        Ok(Disk::Virtio)
    }

    /// Ticks of the guest's time-stamp counter in a millisecond of real time.
    pub fn calibrate(&self) -> Result<f64> {
        let image = self.image(&noise(64 * MIB))?;
        let mut best: Option<(Duration, u64)> = None;
        for _ in 0..3 {
            let console = tempfile::NamedTempFile::new()?;
            let mut machine = Machine::new(&image.path())
                .arguments([
                    "-debugcon".into(),
                    format!("file:{}", console.path().display()),
                ])
                .start()?;
            let began = wait_for_bytes(console.path(), 1)?;
            let ended = wait_for_bytes(console.path(), 2)?;
            machine.wait()?;
            let said = fs::read_to_string(console.path())?;
            let (ticks, time) = (Self::ticks(&said)?, ended - began);
            if best.is_none_or(|(least, _)| time < least) {
                best = Some((time, ticks));
            }
        }
        let (time, ticks) = best.context("nothing was measured")?;
        Ok(ticks as f64 / (time.as_secs_f64() * 1e3))
    }
}

/// The moment at which a file was found to have this length.
fn wait_for_bytes(path: &Path, length: u64) -> Result<Instant> {
    let began = Instant::now();
    while fs::metadata(path)?.len() < length {
        ensure!(
            began.elapsed() < Duration::from_secs(30),
            "the floor program does not run"
        );
        sleep(Duration::from_micros(100));
    }
    Ok(Instant::now())
}

/// Puts the stopwatch in the place of the MBR's code, and moves that to a sector of its own.
pub fn start_the_clock(image: &Image) -> Result<()> {
    let sector = image.read(0, SECTOR_SIZE)?;
    let place = u64::from(MBR_LBA) * SECTOR_SIZE as u64;
    ensure!(
        image.read(place, SECTOR_SIZE)? == [0; SECTOR_SIZE],
        "the sector before the partition is not free"
    );
    image.write(place, &sector)?;
    let mut code = test_program("stopwatch")?.flat().to_vec();
    code.resize(mbr::CODE_END - 4, 0);
    code.extend(MBR_LBA.to_le_bytes());
    image.write(0, &code)
}

/// Runs a machine to its end and returns what was written to the debug console.
pub fn run(machine: Machine) -> Result<String> {
    let console = tempfile::NamedTempFile::new()?;
    let machine = machine.arguments([
        "-debugcon".into(),
        format!("file:{}", console.path().display()),
    ]);
    let mut running = machine.start()?;
    let ending = running.wait()?;
    let said = fs::read_to_string(console.path())?;
    let serial = running.serial();
    ensure!(!said.is_empty(), "nothing was said\n{serial}");
    ensure!(
        matches!(ending, Ending::Guest(_) | Ending::Failed(Some(1))),
        "{ending:?}\n{serial}"
    );
    Ok(said)
}

/// The numbers that a kernel has written, one a line, up to the first line that is not a number.
pub fn numbers(said: &str) -> Vec<u64> {
    said.lines()
        .map_while(|line| u64::from_str_radix(line, 16).ok())
        .collect()
}

/// How often INT 13h is called from the MBR's first instruction on.
pub fn count_calls(image: impl AsRef<Path>) -> Result<usize> {
    let log = tempfile::NamedTempFile::new()?;
    run(Machine::new(image.as_ref())
        .disk(Disk::Virtio)
        .arguments(["-d", "exec,nochain", "-dfilter"])
        .arguments([format!("{INT_13_HANDLER:#x}+1")])
        .arguments(["-D".as_ref(), log.path()]))?;
    let log = fs::read_to_string(log.path())?;
    let calls = log
        .lines()
        .filter(|line| line.starts_with("Trace "))
        .count();
    // The BIOS itself calls INT 13h once, to read the MBR.
    calls
        .checked_sub(1)
        .context("INT 13h is not where it should be")
}

/// How a goal is reported.
pub fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

/// The checksum that the kernels compute over their payload.
pub fn checksum(payload: &[u8]) -> u64 {
    let (words, _) = payload.as_chunks();
    words.iter().fold(0, |sum: u64, word| {
        sum.rotate_left(1) ^ u64::from_le_bytes(*word)
    })
}
