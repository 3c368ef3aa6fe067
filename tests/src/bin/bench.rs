//! `./run.sh bench [-- --build]`: how long the boot path takes, next to a floor.
//!
//! The floor is `tests/programs/src/floor.rs`, an MBR that does nothing but read as many sectors
//! and copy them. Both are measured by the guest's own time-stamp counter, from the MBR's first
//! instruction; the loader's time ends with the kernel's first one. What is loaded cannot be
//! compressed, and the kernel's checksum over it has to be right.
//!
//! With QEMU's `-icount shift=0` a tick is one guest instruction or the time that a device takes
//! meanwhile, and one tick is called a nanosecond: numbers that barely depend on the host. Real
//! time is measured too. Nothing fails here: goals are met or missed.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, ensure};
use disk_builder::run::Ending;
use disk_builder::stages;
use disk_layout::SECTOR_SIZE;
use machine_tests::elf::{Elf, ProgramHeader, R, noise, note};
use machine_tests::image::{Image, test_program};
use machine_tests::machine::{Disk, Machine};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const PAYLOADS: [usize; 4] = [64 * KIB, 4 * MIB, 16 * MIB, 64 * MIB];

/// The goal in time: this many times the floor, and this much more.
const FACTOR: f64 = 1.2;
const ALLOWANCE_MS: f64 = 1.2;
/// The goal in calls: this many more than the floor.
const MORE_CALLS: usize = 10;

/// Where the payload goes: 2 MiB behind the start of the kernel.
const PAYLOAD_ADDRESS: u64 = 0xFFFF_FFFF_8020_0000;

/// SeaBIOS and its relatives have INT 13h's handler where the first PC had it, at F000:E3FE.
const INT_13_HANDLER: u32 = 0xF_E3FE;

/// A fixed number of guest instructions a second, no waiting when the guest is idle, and a CPU that has
/// an instruction for the checksums, as all have since 2008 or 2011.
const VIRTUAL_TIME: [&str; 4] = ["-icount", "shift=0,sleep=off", "-cpu", "qemu64,+sse4.2"];
/// The best one counts.
const VIRTUAL_RUNS: u32 = 3;
/// The tick's length then.
const VIRTUAL_TICKS_PER_MS: f64 = 1e6;

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--build") {
        return measure_builds();
    }
    let programs = Programs {
        floor: test_program("floor")?,
        kernel: test_program("bench-kernel")?,
    };
    let disk = programs.virtual_time_disk()?;
    compare(
        &programs,
        "Virtual time (QEMU -icount shift=0), virtio disk: ms from stage1's first instruction to \
         the kernel's first",
        &Setup {
            disk,
            arguments: &VIRTUAL_TIME,
            runs: VIRTUAL_RUNS,
            ticks_per_ms: VIRTUAL_TICKS_PER_MS,
        },
        true,
    )?;
    let ticks_per_ms = programs.calibrate()?;
    compare(
        &programs,
        "Wall time, q35 with an AHCI disk: ms, the best of 7 runs",
        &Setup {
            disk: Disk::Ahci,
            arguments: &["-cpu", "qemu64,+sse4.2"],
            runs: 7,
            ticks_per_ms,
        },
        false,
    )?;
    compare_checksums(&programs, disk)?;
    compare_debug_information(&programs, disk)?;
    show_sizes(&programs)?;
    show_steps(&programs, disk)
}

/// What is booted.
struct Programs {
    floor: Elf,
    kernel: Elf,
}

/// How it is measured.
struct Setup<'a> {
    disk: Disk,
    arguments: &'a [&'a str],
    runs: u32,
    ticks_per_ms: f64,
}

/// A row for each payload; with the goals, and what they ask for besides, or without.
fn compare(programs: &Programs, title: &str, setup: &Setup, has_goals: bool) -> Result<()> {
    println!("{title}");
    print!(
        "{:>8} {:>9} {:>9} {:>6}",
        "payload", "floor", "loader", "ratio"
    );
    println!(
        "{}",
        if has_goals {
            "     limit          INT 13h calls: floor, loader"
        } else {
            ""
        }
    );
    for size in PAYLOADS {
        let payload = noise(size);
        let floor = programs.floor_image(&payload)?;
        let loader = programs.loader_image(&payload, 0, true)?;
        let floor_ms = setup.best(floor.path(), &Says::Floor)?;
        let loader_ms = setup.best(loader.path(), &Says::Kernel(checksum(&payload)))?;
        print!(
            "{:>8} {floor_ms:9.3} {loader_ms:9.3} {:6.2}",
            name(size),
            loader_ms / floor_ms
        );
        if has_goals {
            let limit = FACTOR * floor_ms + ALLOWANCE_MS;
            let floor_calls = count_calls(floor.path())?;
            let loader_calls = count_calls(loader.path())?;
            print!(
                " {limit:9.3} {:6} {floor_calls:20} {loader_calls:7} {}",
                verdict(loader_ms <= limit),
                verdict(loader_calls <= floor_calls + MORE_CALLS)
            );
        }
        println!();
    }
    println!();
    Ok(())
}

/// How large the loader is.
fn show_sizes(programs: &Programs) -> Result<()> {
    let image = programs.loader_image(&[0; 8], 0, true)?;
    let built = image.built.as_ref().context("an image without a loader")?;
    let limit = disk_layout::stage2::MAX_LENGTH;
    println!(
        "stage1: {} of {} bytes; stage2: {} bytes (limit {limit}) {}",
        built.stage1_bytes,
        disk_layout::mbr::CODE_END,
        built.stage2_bytes,
        verdict(built.stage2_bytes <= limit)
    );
    Ok(())
}

/// The same boots with checksums, by the CPU's instruction and by tables, next to those without.
fn compare_checksums(programs: &Programs, disk: Disk) -> Result<()> {
    println!("What checksums cost: virtual time in ms, and the ratio to a boot without");
    println!(
        "{:>8} {:>9} {:>9} {:>6} {:>9} {:>6}",
        "payload", "without", "SSE4.2", "ratio", "tables", "ratio"
    );
    for size in PAYLOADS {
        let payload = noise(size);
        let measure = |checksums, cpu| {
            let image = programs.loader_image(&payload, 0, checksums)?;
            let setup = Setup {
                disk,
                arguments: &[&VIRTUAL_TIME[..], &["-cpu", cpu]].concat(),
                runs: VIRTUAL_RUNS,
                ticks_per_ms: VIRTUAL_TICKS_PER_MS,
            };
            setup.best(image.path(), &Says::Kernel(checksum(&payload)))
        };
        let without = measure(false, "qemu64,+sse4.2")?;
        let instruction = measure(true, "qemu64,+sse4.2")?;
        let tables = measure(true, "qemu64")?;
        println!(
            "{:>8} {without:9.3} {instruction:9.3} {:6.3} {tables:9.3} {:6.3}",
            name(size),
            instruction / without,
            tables / without
        );
    }
    println!();
    Ok(())
}

/// A kernel with little to load and much beside it, against the same one without that.
fn compare_debug_information(programs: &Programs, disk: Disk) -> Result<()> {
    const LOADED: usize = 200 * KIB;
    const DEBUG: usize = 20 * MIB;
    const LIMIT: f64 = 1.1;

    let payload = noise(LOADED);
    let setup = Setup {
        disk,
        arguments: &VIRTUAL_TIME,
        runs: VIRTUAL_RUNS,
        ticks_per_ms: VIRTUAL_TICKS_PER_MS,
    };
    let measure = |debug| {
        let image = programs.loader_image(&payload, debug, true)?;
        setup.best(image.path(), &Says::Kernel(checksum(&payload)))
    };
    let stripped = measure(0)?;
    let full = measure(DEBUG)?;
    let ratio = full / stripped;
    println!(
        "200 KiB to load: stripped {stripped:.3} ms, with 20 MiB of debug information {full:.3} ms, \
         ratio {ratio:.3} (limit {LIMIT}) {}",
        verdict(ratio <= LIMIT)
    );
    Ok(())
}

/// Where the virtual time goes.
fn show_steps(programs: &Programs, disk: Disk) -> Result<()> {
    println!("\nVirtual time of each step, in ms");
    println!(
        "{:>8} {}",
        "payload",
        (1..=12)
            .map(|step| format!("{step:>7}"))
            .collect::<String>()
    );
    for size in PAYLOADS {
        let image = programs.loader_image(&noise(size), 0, true)?;
        let machine = Machine::new(&image.path())
            .disk(disk)
            .arguments(VIRTUAL_TIME);
        let said = run(machine)?;
        let mut steps = Says::steps(&said);
        steps.push(Says::Kernel(checksum(&noise(size))).ticks(&said)?);
        print!("{:>8} ", name(size));
        for step in steps.windows(2) {
            print!("{:7.3}", (step[1] - step[0]) as f64 / VIRTUAL_TICKS_PER_MS);
        }
        println!();
    }
    Ok(())
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

fn name(size: usize) -> String {
    if size < MIB {
        format!("{} KiB", size / KIB)
    } else {
        format!("{} MiB", size / MIB)
    }
}

impl Programs {
    /// The floor program with what it is to read.
    fn floor_image(&self, payload: &[u8]) -> Result<Image> {
        let mut program = self.floor.flat().to_vec();
        program.resize(disk_layout::mbr::CODE_END - 8, 0);
        program.extend(1_u32.to_le_bytes());
        program.extend(u32::try_from(payload.len().div_ceil(SECTOR_SIZE))?.to_le_bytes());
        Image::raw(&program, payload)
    }

    /// The loader with a kernel that holds the payload, and bytes that are not to be loaded.
    fn loader_image(&self, payload: &[u8], debug: usize, checksums: bool) -> Result<Image> {
        let payload = ProgramHeader::filled(R, PAYLOAD_ADDRESS, payload.to_vec());
        let own = note(
            "Bootpath",
            handoff::NOTE_STACK_SIZE,
            &(64_u64 << 10).to_le_bytes(),
            4,
        );
        let kernel = self.kernel.clone().with(ProgramHeader::note(own));
        let mut file = kernel.with(payload).build();
        file.extend(noise(debug));
        let mut kernel = tempfile::NamedTempFile::new()?;
        kernel.write_all(&file)?;
        Image::build(kernel.path(), |recipe, _| recipe.checksums = checksums)
    }

    /// A disk whose answers come after the same number of instructions each time, where the host
    /// has one.
    fn virtual_time_disk(&self) -> Result<Disk> {
        let image = self.floor_image(&[0; SECTOR_SIZE])?;
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
    fn calibrate(&self) -> Result<f64> {
        let image = self.floor_image(&noise(64 * MIB))?;
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
            let (ticks, time) = (Says::Floor.ticks(&said)?, ended - began);
            if best.is_none_or(|(least, _)| time < least) {
                best = Some((time, ticks));
            }
        }
        let (time, ticks) = best.context("nothing was measured")?;
        Ok(ticks as f64 / (time.as_secs_f64() * 1e3))
    }
}

/// When a file was found to have this length.
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

/// What a program writes to the debug console.
enum Says {
    Floor,
    /// … and the payload's checksum.
    Kernel(u64),
}

impl Says {
    /// The ticks in what was said.
    fn ticks(&self, said: &str) -> Result<u64> {
        let unexpected = || format!("unexpected output: {said:?}");
        let number = |digits: &str| u64::from_str_radix(digits, 16).with_context(unexpected);
        let mut lines = said.lines();
        let mut next = || lines.next().with_context(unexpected);
        match self {
            Self::Floor => number(next()?.strip_prefix("SE").with_context(unexpected)?),
            Self::Kernel(checksum) => {
                let ticks = number(next()?)?;
                let _reads = next()?;
                ensure!(
                    number(next()?)? == *checksum,
                    "the payload did not arrive intact"
                );
                Ok(ticks)
            }
        }
    }

    /// For each of the loader's steps, the ticks until it began.
    fn steps(said: &str) -> Vec<u64> {
        said.lines()
            .skip(3)
            .filter_map(|line| u64::from_str_radix(line, 16).ok())
            .collect()
    }
}

impl Setup<'_> {
    /// The shortest of several runs, in ms.
    fn best(&self, image: impl AsRef<Path>, says: &Says) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..self.runs {
            let said = run(Machine::new(image.as_ref())
                .disk(self.disk)
                .arguments(self.arguments))?;
            best = best.min(says.ticks(&said)? as f64 / self.ticks_per_ms);
        }
        Ok(best)
    }
}

/// Runs a machine to its end and returns what was written to the debug console.
fn run(machine: Machine) -> Result<String> {
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

/// How often INT 13h is called from the MBR's first instruction on.
fn count_calls(image: impl AsRef<Path>) -> Result<usize> {
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
    // The BIOS's own call reads the MBR.
    calls
        .checked_sub(1)
        .context("INT 13h is not where it should be")
}

/// What the bench kernel computes over its payload.
fn checksum(payload: &[u8]) -> u64 {
    let (words, _) = payload.as_chunks();
    words.iter().fold(0, |sum: u64, word| {
        sum.rotate_left(1) ^ u64::from_le_bytes(*word)
    })
}

/// How long a build from nothing takes, and one after a change.
fn measure_builds() -> Result<()> {
    const CLEAN_LIMIT: f64 = 60.0;
    const AGAIN_LIMIT: f64 = 5.0;

    let target = tempfile::tempdir()?;
    let build = || -> Result<f64> {
        let began = Instant::now();
        let status = Command::new("cargo")
            .current_dir(stages::workspace())
            .env("CARGO_TARGET_DIR", target.path())
            .args(["run", "--quiet", "--package", "disk-builder", "--", "build"])
            .arg("--output")
            .arg(target.path().join("bench.img"))
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "the build failed");
        Ok(began.elapsed().as_secs_f64())
    };
    let clean = build()?;
    println!(
        "clean build of everything: {clean:.1} s (limit {CLEAN_LIMIT}) {}",
        verdict(clean <= CLEAN_LIMIT)
    );
    for file in [
        "stage1/src/main.rs",
        "stage2/src/main.rs",
        "stage2/src/lib.rs",
        "kernel/src/main.rs",
    ] {
        let path = stages::workspace().join(file);
        fs::File::options()
            .append(true)
            .open(path)?
            .set_modified(SystemTime::now())?;
        let again = build()?;
        println!(
            "after a change of {file}: {again:.1} s (limit {AGAIN_LIMIT}) {}",
            verdict(again <= AGAIN_LIMIT)
        );
    }
    Ok(())
}
