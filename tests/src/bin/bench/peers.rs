//! `./run.sh bench peers`: how long it takes to load a Linux kernel and its initial RAM disk,
//! compared with other loaders.
//!
//! All boot the same files from the same FAT volume on the same machine, and are set up by
//! [`machine_tests::peers`]. The MBR's place is taken by `tests/programs/src/bench/stopwatch.rs`,
//! which notes the time and starts the loader's own MBR from the last sector before the partition.
//! The kernel, `tests/programs/src/bench/linux.rs`, reads the time in its first instruction,
//! whichever entry the loader uses, and then checks that everything has arrived.
//!
//! Then the same is measured with one of Debian's kernels, from power-on to its first process.
//!
//! With `BLESS=1`, the results go to `docs/peers.md` as well ([`page`]).

use std::{env, fs};

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::image::Module;
use machine_tests::elf::noise;
use machine_tests::image::Image;
use machine_tests::kernels::TIME_LIMIT;
use machine_tests::linux::{Fetched, bench_kernel, initrd, put};
use machine_tests::machine::{Disk, Machine};
use machine_tests::peers::{Peer, Protocol, Start};

use crate::MIB;
use crate::measure::{
    Floor, Setup, VIRTUAL_TICKS_PER_MS, VIRTUAL_TIME, checksum, count_calls, in_turns, numbers,
    run, start_the_clock, verdict,
};
use crate::page::{self, Loaded, Started};

/// The files cannot be compressed. Their sizes are those of a small distribution's kernel.
const KERNEL: usize = 8 * MIB;
const INITRD: usize = MIB;

/// How often each loader is started; the best run counts.
const RUNS: u32 = 5;

/// Where the boot partition has the files.
const KERNEL_PATH: &str = "/boot/kernel.elf";
const INITRD_PATH: &str = "/boot/modules/initrd";

/// A loader, ready to boot.
struct Entrant {
    name: String,
    image: Image,
    is_peer: bool,
}

/// The first bytes of an xz file with the checksum that Linux supports.
const XZ: [u8; 8] = *b"\xFD7zXZ\0\0\x01";

/// Prints both tables.
pub fn compare() -> Result<()> {
    let floor = Floor::new()?;
    let disk = floor.virtual_time_disk()?;
    let loaded = compare_loading(&floor, disk)?;
    let started = compare_to_first_process(disk)?;
    if env::var_os("BLESS").is_some_and(|value| value == "1") {
        page::write(&loaded, &started)?;
    }
    Ok(())
}

/// Measures up to the kernel's first instruction.
fn compare_loading(floor: &Floor, disk: Disk) -> Result<Vec<Loaded>> {
    let mut kernel = noise(KERNEL + INITRD);
    let initrd = kernel.split_off(KERNEL);
    // A distribution's kernel begins like this: the loader leaves it to the kernel to check the
    // payload.
    kernel[..XZ.len()].copy_from_slice(&XZ);
    let sums = [checksum(&kernel), checksum(&initrd)];
    let files = Files {
        kernel: bench_kernel(&kernel)?,
        initrd,
        command_line: "root=/dev/sda2 ro quiet",
    };
    let entrants = files.entrants()?;
    for entrant in &entrants {
        start_the_clock(&entrant.image)?;
    }
    let arrived = |said: &str| Arrived::check(said, sums, files.command_line);

    let ticks_per_ms = floor.calibrate()?;
    let setups = [
        Setup::virtual_time(disk),
        Setup::wall_time(disk, ticks_per_ms),
        Setup::wall_time(Disk::Ahci, ticks_per_ms),
    ]
    .map(|setup| Setup {
        runs: RUNS,
        ..setup
    });
    let columns = setups.iter().map(|setup| {
        let ticks = |said: &str| Ok(arrived(said)?.ticks);
        in_turns(setup.runs, &entrants, |entrant| {
            setup.once(entrant.image.path(), ticks)
        })
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;

    print_heading();
    let mut is_ahead = true;
    let mut rows: Vec<Loaded> = Vec::new();
    for (index, entrant) in entrants.iter().enumerate() {
        let said = run(Machine::new(&entrant.image.path()))?;
        let row = Loaded {
            name: entrant.name.clone(),
            entry: arrived(&said)?.entry,
            calls: count_calls(entrant.image.path())?,
            times: columns.iter().map(|column| column[index].least()).collect(),
        };
        let ratios = row.ratios(rows.first().unwrap_or(&row));
        is_ahead &= !entrant.is_peer || ratios.iter().all(|&ratio| ratio > 1.0);
        print!("{:22} {:7} {:>5}", row.name, row.calls, row.entry);
        for (ms, ratio) in row.times.iter().zip(ratios) {
            print!(" {ms:8.2} {ratio:8.2}");
        }
        println!();
        rows.push(row);
    }
    println!("ahead of each of them, each time: {}\n", verdict(is_ahead));
    Ok(rows)
}

fn print_heading() {
    println!(
        "A Linux kernel of {} MiB and an initial RAM disk of {} MiB: ms from the MBR's first \
         instruction to\nthe kernel's first, the best of {RUNS} runs in virtual time (QEMU \
         -icount shift=0) and in wall time\n",
        KERNEL / MIB,
        INITRD / MIB
    );
    println!(
        "{:22} {:>7} {:>5} {:>17} {:>17} {:>17}",
        "", "INT 13h", "entry", "virtual, virtio", "wall, virtio", "wall, AHCI"
    );
}

/// Measures a real kernel. The BIOS's time counts, but is the same for all.
fn compare_to_first_process(disk: Disk) -> Result<Vec<Started>> {
    let mut rows = Vec::new();
    let Some(kernel) = Fetched::Cloud.path()? else {
        return Ok(rows);
    };
    let files = Files {
        kernel: fs::read(kernel)?,
        initrd: initrd(Fetched::Cloud)?,
        command_line: "console=ttyS0 panic=-1 quiet",
    };
    println!("Debian's kernel: virtual time in ms from power-on to its first process\n");
    let mut own = None;
    let mut is_ahead = true;
    for entrant in files.entrants()? {
        let ms = time_to_first_process(&entrant.image, disk)?;
        let more = ms - *own.get_or_insert(ms);
        is_ahead &= !entrant.is_peer || more > 0.0;
        println!("{:22} {ms:9.2} {more:+9.2}", entrant.name);
        rows.push(Started {
            name: entrant.name,
            ms,
            more,
        });
    }
    println!("ahead of each of them: {}", verdict(is_ahead));
    Ok(rows)
}

/// The time that the first process reports, in ms.
fn time_to_first_process(image: &Image, disk: Disk) -> Result<f64> {
    let machine = Machine::new(&image.path()).disk(disk);
    let mut running = machine
        .arguments(VIRTUAL_TIME)
        .time_limit(TIME_LIMIT)
        .start()?;
    running.wait_for("**** OKAY")?;
    let transcript = running.serial();
    let time = transcript
        .lines()
        .find_map(|line| line.strip_prefix("**** time "));
    let ticks: f64 = time.context("no time")?.trim_end().parse()?;
    Ok(ticks / VIRTUAL_TICKS_PER_MS)
}

/// What is loaded.
struct Files {
    kernel: Vec<u8>,
    initrd: Vec<u8>,
    command_line: &'static str,
}

impl Files {
    /// All loaders that exist for this system; our own comes first.
    fn entrants(&self) -> Result<Vec<Entrant>> {
        let own = |name: String, checksums| -> Result<Entrant> {
            Ok(Entrant {
                name,
                image: self.image(checksums)?,
                is_peer: false,
            })
        };
        let mut entrants = vec![
            own(format!("Bootpath {}", env!("CARGO_PKG_VERSION")), true)?,
            own("  without checksums".into(), false)?,
        ];
        let start = Start {
            protocol: Protocol::Linux,
            kernel: (KERNEL_PATH, self.command_line),
            modules: &[(INITRD_PATH, "")],
        };
        for peer in [Peer::Syslinux, Peer::Grub] {
            let image = self.image(true)?;
            match peer.version()? {
                Some(name) if peer.install(&image, &start)? => entrants.push(Entrant {
                    name,
                    image,
                    is_peer: true,
                }),
                _ => println!("{peer:?} is left out: it cannot be had here"),
            }
        }
        Ok(entrants)
    }

    /// A disk with the loader itself.
    fn image(&self, checksums: bool) -> Result<Image> {
        let directory = tempfile::tempdir()?;
        let kernel = put(directory.path(), "kernel", &self.kernel)?;
        Image::build(&kernel, |recipe, directory| {
            recipe.command_line = self.command_line.into();
            recipe.checksums = checksums;
            let file = directory.join("initrd");
            // If this fails, the builder reports that the file is missing.
            let _ = fs::write(&file, &self.initrd);
            let string = String::new();
            recipe.modules.push(Module { file, string });
        })
    }
}

/// What the kernel says when all is well.
struct Arrived {
    ticks: u64,
    /// 16, 32 or 64.
    entry: u64,
}

impl Arrived {
    /// Parses the kernel's output, and checks these checksums and this command line.
    fn check(said: &str, sums: [u64; 2], command_line: &str) -> Result<Self> {
        let numbers = numbers(said);
        let [ticks, entry, kernel, initrd] = numbers[..] else {
            bail!("unexpected output: {said:?}");
        };
        ensure!(
            [kernel, initrd] == sums,
            "kernel or initial RAM disk did not arrive intact"
        );
        let line = said.lines().nth(numbers.len()).unwrap_or_default();
        ensure!(line.contains(command_line), "the command line is {line:?}");
        Ok(Self { ticks, entry })
    }
}
