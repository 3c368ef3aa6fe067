//! The rows of what grows with the disk rather than with the kernel: boot entries, as a distribution
//! writes them. They decide, too.

use std::fmt;
use std::io::Write as _;

use anyhow::Result;
use machine_tests::elf::noise;
use machine_tests::image::{Image, test_program};
use machine_tests::machine::Disk;

use crate::measure::{Setup, checksum, has_words, verdict};
use crate::rows::{own_note, with_payload};
use crate::{KIB, kernel_ticks};

/// Entries, and the time that the boot of a kernel of 64 KiB may take with them.
struct Row {
    count: usize,
    /// Bytes of each file.
    length: usize,
    limit_ms: f64,
}

const ROWS: [Row; 3] = [
    Row {
        count: 64,
        length: 80,
        limit_ms: 1.5,
    },
    Row {
        count: 64,
        length: 3900,
        limit_ms: 4.0,
    },
    Row {
        count: 500,
        length: 80,
        limit_ms: 12.0,
    },
];

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} entries of {} bytes", self.count, self.length)
    }
}

/// Measures the rows that have all of these words. Returns whether all have met their targets, or
/// `None`, if there is no such row.
pub fn compare(disk: Disk, words: &[String]) -> Result<Option<bool>> {
    let has = |row: &&Row| has_words(&row.to_string(), words);
    let rows: Vec<&Row> = ROWS.iter().filter(has).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    println!("Boot entries: virtual time, ms from the MBR's first instruction to the kernel's\n");
    let payload = noise(64 * KIB);
    let mut kernel = tempfile::NamedTempFile::new()?;
    let elf = with_payload(&test_program("bench-kernel")?, &payload).with(own_note());
    kernel.write_all(&elf.build())?;
    let mut all_met = true;
    for row in rows {
        let image = Image::build(kernel.path(), |recipe, _| recipe.checksums = false)?;
        row.put_entries(&image)?;
        let ticks = |said: &str| kernel_ticks(said, checksum(&payload));
        let ms = Setup::virtual_time(disk).best(image.path(), ticks)?;
        let is_met = ms <= row.limit_ms;
        all_met &= is_met;
        println!(
            "{:33} {ms:17.3} {:8.3} {}",
            row.to_string(),
            row.limit_ms,
            verdict(is_met)
        );
    }
    println!();
    Ok(Some(all_met))
}

impl Row {
    /// Writes the files. The newest one, which is booted, is the last one.
    fn put_entries(&self, image: &Image) -> Result<()> {
        for number in 0..self.count {
            let head =
                format!("title Linux\nversion 6.{number}\nkernel /boot/kernel.elf\noptions quiet");
            let text = format!("{head:x<length$}\n", length = self.length - 1);
            image.put(
                &format!("/loader/entries/linux-6.{number}.conf"),
                text.as_bytes(),
            )?;
        }
        Ok(())
    }
}
