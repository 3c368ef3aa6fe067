//! `./run.sh bench [WORD…] [-- --build]`: how long the boot path takes, compared with a floor. With
//! words, only the rows of the first table that have all of them (`multiboot1 qemu64 64MiB`).
//! `./run.sh bench peers`: compared with other loaders ([`peers`]). `wall`, `slow` and `steps` are
//! tables of their own, `before` compares with the loaders of earlier commits: see these modules.
//!
//! The floor is `tests/programs/src/bench/floor.rs`, an MBR that only reads and copies as many
//! sectors. The guest's own time-stamp counter measures both, from the MBR's first instruction; the
//! loader's time ends with the kernel's first one. The payload cannot be compressed, and the
//! kernel's checksum over it has to be right.
//!
//! With QEMU's `-icount shift=0` a tick is one guest instruction or the time that a device takes
//! meanwhile, and one tick is called a nanosecond: these numbers barely depend on the host. Real
//! time is measured too. The targets of the first table ([`rows`]) decide the exit status: 1, if one is
//! missed, and so do those of [`calls`] and [`growth`]. All other goals are only reported as met or missed.

use std::fs;
use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::stages;
use machine_tests::elf::{Elf, ProgramHeader, R, noise, note};
use machine_tests::image::{Image, test_program};
use machine_tests::machine::Disk;

mod before;
mod calls;
mod growth;
mod measure;
mod page;
mod peers;
mod rows;
mod slow;
mod steps;
mod wall;

#[cfg(test)]
mod tests;

use measure::{Floor, Setup, VIRTUAL_TIME, checksum, count_calls, numbers, verdict};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const PAYLOADS: [usize; 4] = [64 * KIB, 4 * MIB, 16 * MIB, 64 * MIB];

/// The goal for time: this factor times the floor, and some more.
const FACTOR: f64 = 1.2;
const ALLOWANCE_MS: f64 = 1.2;
/// The goal for calls: this many more than the floor's.
const MORE_CALLS: usize = 10;

/// Where the payload goes: 2 MiB behind the start of the kernel.
const PAYLOAD_ADDRESS: u64 = 0xFFFF_FFFF_8020_0000;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--build") {
        measure_builds()?;
        return Ok(ExitCode::SUCCESS);
    }
    let floor = Floor::new()?;
    let words = arguments.get(1..).unwrap_or_default();
    let table = match arguments.first().map_or("", String::as_str) {
        "peers" => Some(peers::compare()),
        "wall" => Some(wall::compare(&floor, words)),
        "slow" => Some(slow::show(&floor, words)),
        "steps" => Some(steps::show(floor.virtual_time_disk()?, words)),
        "before" => Some(before::compare(&floor, words)),
        _ => None,
    };
    if let Some(shown) = table {
        return shown.map(|()| ExitCode::SUCCESS);
    }
    let disk = floor.virtual_time_disk()?;
    let tables = [
        rows::compare(&floor, disk, &arguments)?,
        calls::compare(&floor, &arguments)?,
        growth::compare(disk, &arguments)?,
    ];
    ensure!(
        tables.iter().any(Option::is_some),
        "no row has all of these words: {arguments:?}"
    );
    if arguments.is_empty() {
        let kernel = test_program("bench-kernel")?;
        compare_in_detail(&Programs { floor, kernel }, disk)?;
    }
    Ok(if tables.into_iter().flatten().all(|met| met) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints the tables that do not decide.
fn compare_in_detail(programs: &Programs, disk: Disk) -> Result<()> {
    compare(
        programs,
        "Virtual time (QEMU -icount shift=0), virtio disk: ms from stage1's first instruction to \
         the kernel's first",
        &Setup::virtual_time(disk),
        true,
    )?;
    let ticks_per_ms = programs.floor.calibrate()?;
    compare(
        programs,
        "Wall time, q35 with an AHCI disk: ms, the best of 7 runs",
        &Setup::wall_time(Disk::Ahci, ticks_per_ms),
        false,
    )?;
    compare_checksums(programs, disk)?;
    compare_debug_information(programs, disk)?;
    show_sizes(programs)?;
    println!();
    steps::show(disk, &[])?;
    slow::show(&programs.floor, &[])?;
    wall::compare(&programs.floor, &[])
}

/// What is booted.
struct Programs {
    floor: Floor,
    kernel: Elf,
}

/// Prints a row for each payload, with or without the goals.
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
        let floor = programs.floor.image(&payload)?;
        let loader = programs.loader_image(&payload, 0, true)?;
        let floor_ms = setup.best(floor.path(), Floor::ticks)?;
        let loader_ms = setup.best(loader.path(), |said| kernel_ticks(said, checksum(&payload)))?;
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

/// Shows how large the loader is.
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

/// Compares the same boots without checksums, and with checksums by the CPU's instruction and by
/// tables.
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
                arguments: &[&VIRTUAL_TIME[..], &["-cpu", cpu]].concat(),
                ..Setup::virtual_time(disk)
            };
            setup.best(image.path(), |said| kernel_ticks(said, checksum(&payload)))
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

/// Compares a kernel with little to load and much beside it with the same kernel without the
/// latter.
fn compare_debug_information(programs: &Programs, disk: Disk) -> Result<()> {
    const LOADED: usize = 200 * KIB;
    const DEBUG: usize = 20 * MIB;
    const LIMIT: f64 = 1.1;

    let payload = noise(LOADED);
    let setup = Setup::virtual_time(disk);
    let measure = |debug| {
        let image = programs.loader_image(&payload, debug, true)?;
        setup.best(image.path(), |said| kernel_ticks(said, checksum(&payload)))
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

fn name(size: usize) -> String {
    if size < MIB {
        format!("{} KiB", size / KIB)
    } else {
        format!("{} MiB", size / MIB)
    }
}

impl Programs {
    /// An image with a kernel that holds the payload, and bytes that are not to be loaded.
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
}

/// The ticks that the kernel reports. The payload's checksum in the report has to be this one.
fn kernel_ticks(said: &str, checksum: u64) -> Result<u64> {
    let numbers = numbers(said);
    let [ticks, _reads, found, ..] = numbers[..] else {
        bail!("unexpected output: {said:?}");
    };
    ensure!(found == checksum, "the payload did not arrive intact");
    Ok(ticks)
}

/// Measures a build from nothing, and one after a change.
fn measure_builds() -> Result<()> {
    const CLEAN_LIMIT: f64 = 60.0;
    const AGAIN_LIMIT: f64 = 4.0;

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
        "boot-path/src/lib.rs",
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
