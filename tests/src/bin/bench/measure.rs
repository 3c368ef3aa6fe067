//! How things are measured: with the guest's own time-stamp counter, in virtual time or in real
//! time.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::run::Ending;
use disk_layout::{PARTITION_LBA, SECTOR_SIZE, mbr};
use machine_tests::elf::{Elf, noise};
use machine_tests::image::{Image, test_program};
use machine_tests::machine::{Disk, ERROR, Machine};

use crate::MIB;

/// SeaBIOS and its relatives have INT 13h's handler where the first PC had it, at F000:E3FE.
const INT_13_HANDLER: u32 = 0xF_E3FE;

/// A fixed number of guest instructions a second, no waiting when the guest is idle, and a CPU with
/// an instruction for the checksums, as all have had since 2008 or 2011.
pub const VIRTUAL_TIME: [&str; 4] = ["-icount", "shift=0,sleep=off", "-cpu", "qemu64,+sse4.2"];
/// Ticks in a millisecond of virtual time.
pub const VIRTUAL_TICKS_PER_MS: f64 = 1e6;

/// What the stopwatch reads at once.
pub const STOPWATCH_PIECE: usize = 64 * SECTOR_SIZE;
/// Where a loader's own MBR is.
const MBR_LBA: u32 = PARTITION_LBA - 1;

/// A machine on which something is measured.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// How the disk is connected.
    pub disk: Disk,
    /// QEMU's further arguments.
    pub arguments: &'a [&'a str],
    /// A further option of its `-drive`.
    pub drive_option: Option<&'a str>,
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
            drive_option: None,
            runs: 3,
            ticks_per_ms: VIRTUAL_TICKS_PER_MS,
        }
    }

    /// Real time, for ticks of this length.
    pub fn wall_time(disk: Disk, ticks_per_ms: f64) -> Self {
        Self {
            disk,
            arguments: &["-cpu", "qemu64,+sse4.2"],
            drive_option: None,
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
        Ok(ticks(&run(self.machine(image.as_ref()))?)? as f64 / self.ticks_per_ms)
    }

    /// The machine with this image.
    pub fn machine(&self, image: &Path) -> Machine {
        let machine = Machine::new(image).disk(self.disk);
        let machine = machine.arguments(self.arguments);
        self.drive_option
            .iter()
            .fold(machine, |machine, option| machine.drive_option(option))
    }
}

/// The times of some runs in ms, in ascending order.
pub struct Times(Vec<f64>);

impl Times {
    pub fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }

    /// There are odd numbers of runs.
    pub fn median(&self) -> f64 {
        self.0.get(self.0.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// The median, and the least and the greatest time.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self.0.last().copied().unwrap_or(f64::NAN);
        let spread = format!("({:.1}–{most:.1})", self.least());
        write!(f, "{:8.1} {spread:<17}", self.median())
    }
}

/// The times of each of `contestants`. They take turns, so that other work of the host slows down
/// all of them.
pub fn in_turns<T>(
    turns: u32,
    contestants: &[T],
    time: impl Fn(&T) -> Result<f64>,
) -> Result<Vec<Times>> {
    let mut times = vec![Vec::new(); contestants.len()];
    for _ in 0..turns {
        for (times, contestant) in times.iter_mut().zip(contestants) {
            times.push(time(contestant)?);
        }
    }
    let sorted = times.into_iter().map(|mut times| {
        times.sort_by(f64::total_cmp);
        Times(times)
    });
    Ok(sorted.collect())
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
    start_the_clock_after(image, 0)
}

/// The same; before it starts the clock, the stopwatch reads so many pieces of
/// [`STOPWATCH_PIECE`] bytes.
pub fn start_the_clock_after(image: &Image, pieces: u32) -> Result<()> {
    let sector = image.read(0, SECTOR_SIZE)?;
    let place = u64::from(MBR_LBA) * SECTOR_SIZE as u64;
    ensure!(
        image.read(place, SECTOR_SIZE)? == [0; SECTOR_SIZE],
        "the sector before the partition is not free"
    );
    image.write(place, &sector)?;
    let mut code = test_program("stopwatch")?.flat().to_vec();
    code.resize(mbr::CODE_END - 8, 0);
    code.extend(pieces.to_le_bytes());
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
    let ending = running.watch_while(|running| error(&running.serial()).is_none())?;
    let said = fs::read_to_string(console.path())?;
    let serial = running.serial();
    if let Some(error) = error(&serial) {
        bail!("{error}");
    }
    ensure!(!said.is_empty(), "nothing was said\n{serial}");
    ensure!(
        matches!(ending, Some(Ending::Guest(_) | Ending::Failed(Some(1)))),
        "{ending:?}\n{serial}"
    );
    Ok(said)
}

/// The line with which a loader has stopped, when all of it has come over the serial line.
fn error(serial: &str) -> Option<&str> {
    let (whole_lines, _) = serial.rsplit_once('\n')?;
    whole_lines.lines().find(|line| line.contains(ERROR))
}

/// Does a row, as it is printed, have all of these words? A number and its unit are one word.
pub fn has_words(row: &str, words: &[String]) -> bool {
    let row = row.to_lowercase();
    let row = row.replace(" kib", "kib").replace(" mib", "mib");
    words
        .iter()
        .all(|word| row.split_whitespace().any(|one| one == word.to_lowercase()))
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
