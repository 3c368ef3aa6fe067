//! `./run.sh bench before COMMIT… [WORD…]`: the loaders of earlier commits of this repository, which
//! are built for that, compared with today's, in the rows of the first table that have all of
//! these words. Rows of kernels that are not listed are left out, if no word asks for them.
//!
//! All boot the same kernels, which are today's, on the same machines in the same run. SYSLINUX and
//! GRUB boot them as well, if they know the protocol, from the FAT volume that today's
//! `disk-builder` makes.
//!
//! For the loader's own kernel of 64 KiB there are also the instructions of each step, and the time
//! on a disk of 1 MB/s.

mod loader;

use std::slice;

use anyhow::{Result, bail, ensure};
use machine_tests::elf::noise;
use machine_tests::image::Image;
use machine_tests::machine::Disk;
use machine_tests::peers::{self, Peer, Start};

use crate::measure::{Floor, Times, has_words, start_the_clock, verdict};
use crate::rows::{Programs, Protocol, Row, image};
use crate::slow::SlowDisk;
use crate::{KIB, steps};
use loader::Loader;

/// The target for a disk of 1 MB/s: today's loader takes at most this share of the time of each of
/// the others.
const SLOW_SHARE: f64 = 0.75;

/// The width of a column.
const WIDTH: usize = 18;

/// Prints the tables. `words` are commits and words of rows.
pub fn compare(floor: &Floor, words: &[String]) -> Result<()> {
    let all: String = Row::all().map(|row| format!("{row}\n")).collect();
    let is_of_a_row = |word: &String| has_words(&all, slice::from_ref(word));
    let (words, commits): (Vec<String>, Vec<String>) = words.iter().cloned().partition(is_of_a_row);
    ensure!(
        !commits.is_empty(),
        "which commits? ./run.sh bench before COMMIT… [WORD…]"
    );
    let unlisted = words.iter().any(|word| word == "unlisted");
    let rows = Row::all().filter(|row| row.listed || unlisted);
    let rows = rows.filter(|row| has_words(&row.to_string(), &words));
    let rows: Vec<Row> = rows.collect();
    ensure!(!rows.is_empty(), "no row has all of these words: {words:?}");

    // All commits have to be there before the first one is built: that takes minutes.
    let commits = commits.iter().map(|commit| loader::find(commit));
    let commits = commits.collect::<Result<Vec<_>>>()?;
    let directory = tempfile::tempdir()?;
    let loaders = commits.iter().map(|commit| {
        eprintln!("building {commit}");
        Loader::build(commit, directory.path())
    });
    let comparison = Comparison {
        loaders: loaders
            .chain([Ok(Loader::Today)])
            .collect::<Result<Vec<_>>>()?,
        peers: peers()?,
        programs: Programs::new()?,
        disk: floor.virtual_time_disk()?,
    };
    comparison.compare_times(&rows)?;
    let small = rows
        .iter()
        .filter(|row| row.protocol == Protocol::Own && row.size == 64 * KIB && row.listed);
    for row in small.clone() {
        comparison.compare_steps(row)?;
    }
    match small.clone().find(|row| row.cpu.is_default()) {
        Some(row) => comparison.compare_on_slow_disk(floor, row),
        None => Ok(()),
    }
}

/// The other loaders, with their names and versions.
fn peers() -> Result<Vec<(Peer, String)>> {
    let mut peers = Vec::new();
    for peer in [Peer::Syslinux, Peer::Grub] {
        match peer.version()? {
            Some(name) => peers.push((peer, name)),
            None => println!("{peer:?} is left out: it cannot be had here"),
        }
    }
    Ok(peers)
}

/// What is compared.
struct Comparison {
    /// Today's is the last one.
    loaders: Vec<Loader>,
    peers: Vec<(Peer, String)>,
    programs: Programs,
    disk: Disk,
}

/// A time in ms, or why there is none.
type Time = Result<f64, String>;

impl Comparison {
    /// Prints a table with all rows.
    fn compare_times(&self, rows: &[Row]) -> Result<()> {
        println!(
            "Virtual time (QEMU -icount shift=0): ms from the MBR's first instruction to the \
             kernel's (and how many times\nthat of today's loader)\n"
        );
        let peers = self.peers.iter().map(|(_, name)| name.as_str());
        let names: Vec<&str> = self.loaders.iter().map(Loader::name).chain(peers).collect();
        let headings: String = names
            .iter()
            .map(|name| format!(" {name:>WIDTH$}"))
            .collect();
        println!("{:33}{headings}", "kernel");
        let mut refusals = Vec::new();
        for row in rows {
            let times = self.times(row)?;
            let Some(Some(Ok(today))) = times.get(self.loaders.len() - 1) else {
                bail!("today's loader does not boot {row}: {times:?}");
            };
            let cells: String = times.iter().map(|time| cell(time, *today)).collect();
            println!("{row}{cells}");
            for (name, time) in names.iter().zip(&times) {
                if let Some(Err(why)) = time {
                    refusals.push(format!("{row}, {name}: {why}"));
                }
            }
        }
        println!();
        for refusal in refusals {
            println!("- {refusal}");
        }
        println!();
        Ok(())
    }

    /// The times of a row, in the order of the columns. `None`: the loader does not know the
    /// protocol.
    fn times(&self, row: &Row) -> Result<Vec<Option<Time>>> {
        let payload = noise(row.size);
        let kernel = self.programs.kernel(row, &payload)?;
        let mut arguments = Vec::new();
        let setup = row.setup(self.disk, &mut arguments);
        let measure = |image: &Image, has_clock: bool| -> Result<Time> {
            if !has_clock {
                start_the_clock(image)?;
            }
            let time = setup.best(image.path(), |said| row.ticks(said, &payload));
            Ok(time.map_err(|error| format!("{error:#}")))
        };
        let mut times = Vec::new();
        for loader in &self.loaders {
            times.push(Some(match loader.image(row, &kernel)? {
                Ok(image) => measure(&image, row.protocol.tells_time())?,
                Err(why) => Err(why),
            }));
        }
        for (peer, _) in &self.peers {
            let image = peer_image(*peer, row, &kernel)?;
            let time = image.map(|image| measure(&image, false));
            times.push(time.transpose()?);
        }
        Ok(times)
    }

    /// Prints the instructions of each step.
    fn compare_steps(&self, row: &Row) -> Result<()> {
        let payload = noise(row.size);
        let kernel = self.programs.kernel(row, &payload)?;
        let mut columns = Vec::new();
        for loader in &self.loaders {
            let steps = match loader.image(row, &kernel)? {
                Ok(image) => steps::of(row, &payload, &image, self.disk).ok(),
                Err(_) => None,
            };
            columns.push((loader.name().to_owned(), steps));
        }
        steps::print(&format!("of {row}"), &columns);
        Ok(())
    }

    /// Prints the times on a disk of 1 MB/s.
    fn compare_on_slow_disk(&self, floor: &Floor, row: &Row) -> Result<()> {
        let payload = noise(row.size);
        let kernel = self.programs.kernel(row, &payload)?;
        let disk = SlowDisk::new(floor)?;
        println!("Wall time in ms of {row}, the median (least–greatest)\n");
        let mut names = Vec::new();
        let mut images = Vec::new();
        for loader in &self.loaders {
            if let Ok(image) = loader.image(row, &kernel)? {
                names.push(loader.name());
                images.push(image);
            }
        }
        let times = disk.times(row, &payload, &images)?;
        let today = times.last().map_or(f64::NAN, Times::median);
        for (name, times) in names.iter().zip(&times) {
            print!("{name:33} {times}");
            match *name == Loader::Today.name() {
                true => println!(),
                false => println!(
                    " today takes {:.2} of it (at most {SLOW_SHARE}) {}",
                    today / times.median(),
                    verdict(today <= SLOW_SHARE * times.median())
                ),
            }
        }
        println!();
        Ok(())
    }
}

/// A time as the table has it.
fn cell(time: &Option<Time>, today: f64) -> String {
    let text = match time {
        None => String::new(),
        Some(Err(_)) => "-".into(),
        Some(Ok(ms)) => format!("{ms:.3} ({:6.2})", ms / today),
    };
    format!(" {text:>WIDTH$}")
}

/// The volume with this kernel, and another loader. `None`: it does not know the protocol.
fn peer_image(peer: Peer, row: &Row, kernel: &[u8]) -> Result<Option<Image>> {
    let protocol = match (row.protocol, peer) {
        (Protocol::Multiboot1, _) => peers::Protocol::Multiboot,
        (Protocol::Multiboot2, Peer::Grub) => peers::Protocol::Multiboot2,
        _ => return Ok(None),
    };
    let image = image(row, kernel)?;
    let start = Start {
        protocol,
        kernel: ("/boot/kernel.elf", ""),
        modules: &[],
    };
    Ok(peer.install(&image, &start)?.then_some(image))
}
