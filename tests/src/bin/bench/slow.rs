//! `./run.sh bench slow [WORD…]`: a disk of 1 MB/s, as an old stick or a CD is. What counts there is
//! how much is read. Real time, for the kernel of 64 KiB by each protocol; or the rows that have
//! all of these words.
//!
//! QEMU lets a tenth of a second's bytes pass before its `throttling.bps-read` slows anything down.
//! So the stopwatch reads more than that before it starts the clock. A program that only reads
//! shows that it works.

use anyhow::{Result, ensure};
use disk_layout::{MAX_TRANSFER_SECTORS, SECTOR_SIZE};
use machine_tests::elf::noise;
use machine_tests::image::Image;
use machine_tests::machine::Disk;

use crate::measure::{
    Floor, STOPWATCH_PIECE, Setup, Times, has_words, in_turns, start_the_clock_after,
};
use crate::rows::{Programs, Row, image};
use crate::{KIB, name};

/// Bytes a second.
const RATE: usize = 1_000_000;
/// What passes at once.
const BURST: usize = RATE / 10;
/// What the stopwatch reads: more than that, although some of it is forgotten meanwhile.
const PIECES: u32 = 8;
const _: () = assert!(PIECES as usize * STOPWATCH_PIECE > 2 * BURST);

/// The runs of each row: odd, for the median.
const TURNS: u32 = 3;

/// A slow disk.
pub struct SlowDisk {
    ticks_per_ms: f64,
    /// For QEMU's `-drive`.
    option: String,
}

impl SlowDisk {
    /// Calibrates the clock, and checks that the disk is slow.
    pub fn new(floor: &Floor) -> Result<Self> {
        const READ: usize = 512 * KIB;

        let slow = Self {
            ticks_per_ms: floor.calibrate()?,
            option: format!("throttling.bps-read={RATE}"),
        };
        let image = floor.image(&noise(READ))?;
        start_the_clock_after(&image, PIECES)?;
        let ms = slow.setup().once(image.path(), Floor::ticks)?;
        // What a call has read delays the next one, so the last call costs nothing.
        let sectors = READ / SECTOR_SIZE;
        let last = sectors % usize::from(MAX_TRANSFER_SECTORS);
        let least = ((sectors - last) * SECTOR_SIZE) as f64 / RATE as f64 * 1e3;
        ensure!(
            ms > 0.95 * least,
            "QEMU does not slow the disk down: {} in {ms:.1} ms instead of {least:.1}",
            name(READ)
        );
        println!(
            "A disk of 1 MB/s: {} are read in {ms:.1} ms (at least {least:.1})",
            name(READ)
        );
        Ok(slow)
    }

    /// Real time, with the CPU that QEMU has by default.
    fn setup(&self) -> Setup<'_> {
        Setup {
            arguments: &[],
            drive_option: Some(&self.option),
            ..Setup::wall_time(Disk::Virtio, self.ticks_per_ms)
        }
    }

    /// The times of the row's boots from each of these images, which are changed.
    pub fn times(&self, row: &Row, payload: &[u8], images: &[Image]) -> Result<Vec<Times>> {
        for image in images {
            start_the_clock_after(image, PIECES)?;
        }
        in_turns(TURNS, images, |image| {
            self.setup()
                .once(image.path(), |said| row.ticks(said, payload))
        })
    }
}

/// The rows for which there are times.
pub fn rows() -> impl Iterator<Item = Row> {
    Row::all().filter(|row| row.size == 64 * KIB && row.listed && row.cpu.is_default())
}

/// Prints the rows that have all of these words.
pub fn show(floor: &Floor, words: &[String]) -> Result<()> {
    let rows = rows().filter(|row| has_words(&row.to_string(), words));
    let rows: Vec<Row> = rows.collect();
    ensure!(!rows.is_empty(), "no row has all of these words: {words:?}");
    let disk = SlowDisk::new(floor)?;
    println!(
        "Wall time in ms from the MBR's first instruction to the kernel's, the median of {TURNS} \
         runs (least–greatest)\n"
    );
    let programs = Programs::new()?;
    for row in rows {
        let payload = noise(row.size);
        let image = image(&row, &programs.kernel(&row, &payload)?)?;
        for times in disk.times(&row, &payload, &[image])? {
            println!("{row} {times}");
        }
    }
    println!();
    Ok(())
}
