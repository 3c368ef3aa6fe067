//! `./run.sh bench wall [WORD…]`: real time, compared with SYSLINUX, on each kind of disk; or the
//! rows that have all of these words (`ahci 4MiB`).
//!
//! Both boot the same bzImage by Linux's protocol, as for `./run.sh bench peers`, from the same FAT
//! volume. It is of this size, incompressible, and nothing in it looks like a payload that checks
//! itself, so that Bootpath computes a checksum of all of it. There is no initial RAM disk. The
//! time is that from the first instruction of the loader's MBR to the kernel's first one.
//!
//! The CPU is the one that QEMU has by default, which has no instruction for CRC-32C. The host's
//! time-stamp counter is the guest's. What else the host does makes these times longer: the
//! median counts, the spread is printed next to it, and a missed target does not decide the exit
//! status.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use machine_tests::elf::noise;
use machine_tests::image::Image;
use machine_tests::linux::{bench_kernel, put};
use machine_tests::machine::Disk;
use machine_tests::peers::{Peer, Protocol, Start};

use crate::measure::{
    Floor, Setup, Times, checksum, has_words, in_turns, numbers, start_the_clock, verdict,
};
use crate::{MIB, name};

/// The turns of each row: odd, for the median.
const TURNS: u32 = 7;
/// The kernels.
const SIZES: [usize; 2] = [4 * MIB, 64 * MIB];

/// The kinds of disks, and the targets for each size: how many times as long as Bootpath SYSLINUX
/// has to take. On IDE, the CPU fetches each word from a port, whoever loads the kernel.
const DISKS: [(&str, Disk, [f64; 2]); 5] = [
    ("AHCI", Disk::Ahci, [1.5, 1.1]),
    ("NVMe", Disk::Nvme, [1.5, 1.1]),
    ("virtio", Disk::Virtio, [1.5, 1.1]),
    ("USB", Disk::Usb, [1.5, 1.1]),
    ("IDE", Disk::Ide, [1.0, 0.95]),
];

struct Row {
    size: usize,
    disk: (&'static str, Disk),
    target: f64,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<7} {:>6}", self.disk.0, name(self.size))
    }
}

impl Row {
    fn all() -> impl Iterator<Item = Self> {
        SIZES.into_iter().enumerate().flat_map(|(index, size)| {
            DISKS.map(|(name, disk, targets)| Self {
                size,
                disk: (name, disk),
                target: targets[index],
            })
        })
    }
}

/// Prints the rows that have all of these words.
pub fn compare(floor: &Floor, words: &[String]) -> Result<()> {
    let rows = Row::all().filter(|row| has_words(&row.to_string(), words));
    let rows: Vec<Row> = rows.collect();
    ensure!(!rows.is_empty(), "no row has all of these words: {words:?}");
    let Some(syslinux) = Peer::Syslinux.version()? else {
        println!("Wall time: SYSLINUX cannot be had here, so there is nothing to compare with\n");
        return Ok(());
    };
    println!(
        "Wall time, QEMU's default CPU: ms from the MBR's first instruction to the kernel's, the \
         median of {TURNS}\nruns in turns (least–greatest), for a Linux kernel of this size; \
         SYSLINUX's time in ours, and the target\n"
    );
    println!("{:14} {:>8} {:17} {syslinux:>13}", "", "Bootpath", "");
    let ticks_per_ms = floor.calibrate()?;
    for size in SIZES {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.size == size).collect();
        if rows.is_empty() {
            continue;
        }
        let contest = Contest::new(size)?;
        for row in rows {
            let [ours, theirs] = contest.hold(row.disk.1, ticks_per_ms)?;
            let ratio = theirs.median() / ours.median();
            println!(
                "{row} {ours} {theirs} {ratio:6.2} {:6.2} {}",
                row.target,
                verdict(ratio >= row.target)
            );
        }
    }
    println!();
    Ok(())
}

/// The same kernel for both loaders.
struct Contest {
    ours: Image,
    theirs: Image,
    /// The checksum that the kernel has to find.
    checksum: u64,
}

impl Contest {
    fn new(size: usize) -> Result<Self> {
        const KERNEL_PATH: &str = "/boot/kernel.elf";

        let payload = noise(size);
        let directory = tempfile::tempdir()?;
        let kernel = put(directory.path(), "kernel", &bench_kernel(&payload)?)?;
        let ours = Image::build(&kernel, |_, _| ())?;
        let theirs = Image::build(&kernel, |_, _| ())?;
        let start = Start {
            protocol: Protocol::Linux,
            kernel: (KERNEL_PATH, ""),
            modules: &[],
        };
        let is_there = Peer::Syslinux.install(&theirs, &start)?;
        ensure!(is_there, "SYSLINUX cannot be had here");
        start_the_clock(&ours)?;
        start_the_clock(&theirs)?;
        Ok(Self {
            ours,
            theirs,
            checksum: checksum(&payload),
        })
    }

    /// The times of both with this disk.
    fn hold(&self, disk: Disk, ticks_per_ms: f64) -> Result<[Times; 2]> {
        let setup = Setup {
            arguments: &[],
            ..Setup::wall_time(disk, ticks_per_ms)
        };
        let times = in_turns(TURNS, &[&self.ours, &self.theirs], |image| {
            setup.once(image.path(), |said| self.ticks(said))
        })?;
        times.try_into().ok().context("one of two is missing")
    }

    /// The ticks that the kernel reports. It has to be intact.
    fn ticks(&self, said: &str) -> Result<u64> {
        let numbers = numbers(said);
        let found = numbers.get(2);
        ensure!(
            found == Some(&self.checksum),
            "the kernel did not arrive intact"
        );
        numbers.first().copied().context("no time")
    }
}
