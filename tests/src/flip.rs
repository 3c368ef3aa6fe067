//! One wrong bit on the disk: what becomes of the boot.
//!
//! The image has a kernel that tells exactly what it got (`tests/programs/src/witness.rs`), so a boot
//! is right when the serial line has what it has without the wrong bit, and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use disk_builder::image::Module;
use disk_builder::inspect::Sectors;
use disk_builder::run::{EXIT_OKAY, Ending};
use disk_layout::{PARTITION_LBA, PartitionEntry, SECTOR_SIZE, mbr};

use crate::elf::{ProgramHeader, R, W, noise, note};
use crate::image::{Image, test_program};
use crate::machine::{Machine, Running};
use crate::parallel;

/// A boot takes a second or two. What shows nothing for this long is tried again, with more time.
const TIME_LIMIT: Duration = Duration::from_secs(15);
const LAST_TIME_LIMIT: Duration = Duration::from_secs(60);

/// The kernel's own last line.
const LAST_LINE: &str = "OKAY\n";
/// How the loader says that it uses the second copy of something.
const BY_A_COPY: &str = " 8 files    by ";

/// A part of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`name` says it")]
pub enum Region {
    MbrEntry,
    MbrPrinting,
    MbrBpbArea,
    MbrChecked,
    MbrRest,
    MbrTable,
    MbrSignature,
    Stage2,
    Stage2Filling,
    BootSector,
    ReservedSectors,
    FirstFat,
    SecondFat,
    Directories,
    Configuration,
    KernelHeaders,
    KernelBytes,
    KernelRest,
    Modules,
    Unused,
}

impl Region {
    /// All of them, in the order of the disk.
    pub const ALL: [Self; 20] = [
        Self::MbrEntry,
        Self::MbrPrinting,
        Self::MbrBpbArea,
        Self::MbrChecked,
        Self::MbrRest,
        Self::MbrTable,
        Self::MbrSignature,
        Self::Stage2,
        Self::Stage2Filling,
        Self::BootSector,
        Self::ReservedSectors,
        Self::FirstFat,
        Self::SecondFat,
        Self::Directories,
        Self::Configuration,
        Self::KernelHeaders,
        Self::KernelBytes,
        Self::KernelRest,
        Self::Modules,
        Self::Unused,
    ];

    /// What it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::MbrEntry => "MBR: what runs before it is checked",
            Self::MbrPrinting => "MBR: printing of errors",
            Self::MbrBpbArea => "MBR: BPB area",
            Self::MbrChecked => "MBR: all other code, parameters",
            Self::MbrRest => "MBR: disk signature, free partition entries",
            Self::MbrTable => "MBR: entry of the boot partition",
            Self::MbrSignature => "MBR: 55 AA",
            Self::Stage2 => "stage2, and its manifest",
            Self::Stage2Filling => "stage2: what it is filled up with",
            Self::BootSector => "volume: BPB in the boot sector",
            Self::ReservedSectors => "volume: all other reserved sectors",
            Self::FirstFat => "first FAT, as far as in use",
            Self::SecondFat => "second FAT, as far as in use",
            Self::Directories => "directories",
            Self::Configuration => "kernel.conf",
            Self::KernelHeaders => "kernel: ELF headers and note",
            Self::KernelBytes => "kernel: bytes that are loaded",
            Self::KernelRest => "kernel: bytes that are not loaded",
            Self::Modules => "modules",
            Self::Unused => "all the rest",
        }
    }

    /// Whether nothing can check it: it runs first, or it is the BIOS that reads it.
    pub fn may_hang(self) -> bool {
        self == Self::MbrEntry
    }
}

/// A wrong bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Where.
    pub region: Region,
    /// The byte of the disk.
    pub offset: u64,
    /// 0 to 7.
    pub bit: u8,
}

/// How a boot ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As if nothing were wrong.
    Boots,
    /// The same, by the second copy of something, and that was said.
    BootsByCopy,
    /// An error with this code, or that of the BIOS.
    Named(String),
    /// Nothing more came.
    Hang,
    /// The machine was reset.
    Reset,
    /// The kernel, or something that was taken for it, ran and was not the same; or the loader
    /// crashed. With what the serial line had.
    Wrong(String),
}

impl Outcome {
    /// Whether a wrong bit may end so.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Boots | Self::BootsByCopy | Self::Named(_))
    }
}

/// An image to be damaged, and what it does as it is.
pub struct Subject {
    image: Image,
    regions: BTreeMap<Region, Vec<Range<u64>>>,
    transcript: String,
}

impl Subject {
    /// Builds the image, with checksums or without, and boots it.
    ///
    /// # Errors
    /// When it does not build or boot.
    pub fn new(checksums: bool) -> Result<Self> {
        const MIB: u64 = 1 << 20;
        const BASE: u64 = 0xFFFF_FFFF_8000_0000;

        let mut kernel = test_program("witness")?;
        for (flags, address, data, bss) in [
            (R, BASE + 2 * MIB, noise(60_000), 0),
            (R | W, BASE + 2 * MIB + 0x1_0000, noise(9_000), 20_000),
        ] {
            let memory = data.len() as u64 + bss;
            kernel = kernel.with(ProgramHeader::load(flags, address, data, memory));
        }
        let stack_size = note(
            "Bootpath",
            handoff::NOTE_STACK_SIZE,
            &(64u64 << 10).to_le_bytes(),
            4,
        );
        kernel = kernel.with(ProgramHeader::note(stack_size));
        let mut file = kernel.build();
        let loaded = file.len();
        // Stands for debug information.
        file.extend(noise(50_000));

        let directory = tempfile::tempdir()?;
        let kernel_path = directory.path().join("kernel");
        fs::write(&kernel_path, &file)?;
        let image = Image::build(&kernel_path, |recipe, directory| {
            recipe.checksums = checksums;
            recipe.command_line = "one  two, and an umlaut: ü".into();
            for (name, length) in [("first", 3_001), ("second", 40_000)] {
                let path = directory.join(name);
                // The builder finds out when it is not there.
                let _ = fs::write(&path, noise(length));
                recipe.modules.push(Module {
                    file: path,
                    string: format!("the {name} module"),
                });
            }
        })?;
        let mut subject = Self {
            regions: regions(&image, loaded as u64)?,
            image,
            transcript: String::new(),
        };
        let mut running = Machine::new(&subject.image.path()).start()?;
        subject.transcript = running.wait_for(LAST_LINE)?;
        ensure!(running.wait()? == Ending::Guest(EXIT_OKAY));
        Ok(subject)
    }

    /// As many flips as wanted, spread evenly over the regions and at random within each.
    pub fn choose(&self, count: usize, seed: u64) -> Vec<Flip> {
        let mut random = Random(seed);
        let regions = Region::ALL.iter().cycle().take(count);
        regions
            .map(|&region| {
                let ranges = &self.regions[&region];
                let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
                let mut place = random.below(bytes);
                let mut offset = 0;
                for range in ranges {
                    let length = range.end - range.start;
                    if place < length {
                        offset = range.start + place;
                        break;
                    }
                    place -= length;
                }
                Flip {
                    region,
                    offset,
                    bit: random.below(8) as u8,
                }
            })
            .collect()
    }

    /// Flips a bit of a copy, boots it, and tells how that ended, for each of them. Several machines
    /// run at once.
    ///
    /// # Errors
    /// When a machine cannot be run.
    pub fn run(
        &self,
        flips: &[Flip],
        report: impl Fn(Flip, &Outcome) + Sync,
    ) -> Result<Vec<Outcome>> {
        let outcomes = parallel::each(flips, |flip| {
            let outcome = self.boot(flip).with_context(|| format!("{flip:?}"))?;
            report(*flip, &outcome);
            Ok(outcome)
        });
        outcomes.into_iter().collect()
    }

    fn boot(&self, flip: &Flip) -> Result<Outcome> {
        let image = self.image.copy()?;
        let byte = image.read(flip.offset, 1)?;
        image.write(flip.offset, &[byte[0] ^ 1 << flip.bit])?;
        // Both ways to compute checksums.
        let cpu = match flip.bit % 2 {
            0 => "qemu64",
            _ => "qemu64,+sse4.2",
        };
        let machine = Machine::new(&image.path()).arguments(["-cpu", cpu]);
        for limit in [TIME_LIMIT, LAST_TIME_LIMIT] {
            let mut running = machine.clone().time_limit(limit).start()?;
            let outcome = self.watch(&mut running)?;
            if outcome != Outcome::Hang || flip.region.may_hang() {
                return Ok(outcome);
            }
        }
        Ok(Outcome::Hang)
    }

    fn watch(&self, running: &mut Running) -> Result<Outcome> {
        let end = running
            .watch_for(|serial| serial.contains(LAST_LINE) || error_code(serial).is_some())?;
        let serial = running.serial();
        if let Some(code) = error_code(&serial) {
            // A kernel that faults, and a loader that does.
            let crashed = code.starts_with('5') || code.starts_with("12");
            return Ok(match crashed {
                true => Outcome::Wrong(serial),
                false => Outcome::Named(code),
            });
        }
        if serial.ends_with(LAST_LINE) {
            let is_copy = |line: &&str| line.starts_with(BY_A_COPY);
            let told = serial.lines().any(|line| is_copy(&line));
            let rest: Vec<_> = serial.lines().filter(|line| !is_copy(line)).collect();
            let same = rest.iter().copied().eq(self.transcript.lines());
            return Ok(match running.wait() {
                Ok(Ending::Guest(EXIT_OKAY)) if same && told => Outcome::BootsByCopy,
                Ok(Ending::Guest(EXIT_OKAY)) if same => Outcome::Boots,
                _ => Outcome::Wrong(serial),
            });
        }
        Ok(match end {
            Some(Ending::Closed) => Outcome::Reset,
            Some(_) => Outcome::Wrong(serial),
            None => {
                let screen = running.screen()?;
                match screen.iter().any(|line| line == "No bootable device.") {
                    true => Outcome::Named("BIOS".to_owned()),
                    false => Outcome::Hang,
                }
            }
        })
    }
}

/// The code of the loader's error, when all of that was printed.
fn error_code(serial: &str) -> Option<String> {
    const STAGE1: [&str; 3] = ["1A ", "1B ", "1D "];
    let (_, rest) = serial.split_once("error ")?;
    // stage1's line ends with two digits, and nothing follows.
    if STAGE1.iter().any(|code| rest.starts_with(code)) {
        return (rest.len() >= 5).then(|| rest[..2].to_owned());
    }
    let (code, facts) = rest.split_once(':')?;
    facts
        .contains("press a key to reboot")
        .then(|| code.to_owned())
}

/// Which bytes belong to which region. `kernel_end`: behind what of the kernel's file its program
/// headers speak of.
fn regions(image: &Image, kernel_end: u64) -> Result<BTreeMap<Region, Vec<Range<u64>>>> {
    const SECTOR: u64 = SECTOR_SIZE as u64;
    const ENTRY: usize = 32;

    let inspection = image.inspect()?;
    let bytes = |place: Sectors| place.lba * SECTOR..(place.lba + place.sectors) * SECTOR;
    let volume = inspection.volume.as_ref().context("no volume")?;
    let stage2 = bytes(inspection.stage2.as_ref().context("no stage2")?.place);
    let used = image.built.as_ref().context("not built")?.stage2_bytes as u64;
    let cluster = u64::from(volume.cluster);
    let mut all = BTreeMap::<Region, Vec<Range<u64>>>::new();
    let mut add = |region, range: Range<u64>| {
        if range.start < range.end {
            all.entry(region).or_default().push(range);
        }
    };

    // `mov dx, 0x3FB`: the line control register is the first thing that printing needs.
    let sector = image.read(0, SECTOR_SIZE)?;
    let printing = sector
        .windows(3)
        .position(|bytes| bytes == [0xBA, 0xFB, 0x03]);
    let printing = printing.context("stage1 does not print")? as u64;
    let bpb = mbr::BPB_AREA;
    let checked = mbr::CHECKED.start as u64;
    add(Region::MbrEntry, 0..bpb.start as u64);
    add(Region::MbrBpbArea, bpb.start as u64..bpb.end as u64);
    add(Region::MbrEntry, bpb.end as u64..printing);
    add(Region::MbrPrinting, printing..checked);
    add(Region::MbrChecked, checked..mbr::CODE_END as u64);
    let table = mbr::PARTITION_TABLE_OFFSET as u64;
    let second = table + size_of::<PartitionEntry>() as u64;
    add(Region::MbrRest, mbr::CODE_END as u64..table);
    add(Region::MbrTable, table..second);
    add(Region::MbrRest, second..SECTOR - 2);
    add(Region::MbrSignature, SECTOR - 2..SECTOR);
    add(Region::Stage2, stage2.start..stage2.start + used);
    add(Region::Stage2Filling, stage2.start + used..stage2.end);
    let reserved = bytes(volume.reserved);
    add(Region::Unused, stage2.end..reserved.start);
    // The BPB ends where the boot code begins; the signature is needed too.
    let (bpb_end, code_end) = (reserved.start + bpb.end as u64, reserved.start + SECTOR - 2);
    add(Region::BootSector, reserved.start..bpb_end);
    add(Region::ReservedSectors, bpb_end..code_end);
    add(Region::BootSector, code_end..code_end + 2);
    add(Region::ReservedSectors, code_end + 2..reserved.end);

    // Files lie in one piece each, the last one ends where the free clusters begin.
    let data = bytes(volume.data);
    let file = |path: &str| {
        let file = inspection
            .file(path)
            .with_context(|| format!("no {path}"))?;
        ensure!(file.extents.len() == 1, "{path} is not in one piece");
        let start = file.extents[0].lba * SECTOR;
        Ok(start..start + file.size)
    };
    let modules = [file("/boot/modules/first")?, file("/boot/modules/second")?];
    let end = modules[1].end.next_multiple_of(cluster);
    let fats = bytes(volume.fats);
    let fat_length = (fats.end - fats.start) / 2;
    let clusters = 2 + (end - data.start).div_ceil(cluster);
    for (region, start) in [
        (Region::FirstFat, fats.start),
        (Region::SecondFat, fats.start + fat_length),
    ] {
        add(region, start..start + clusters * 4);
        add(Region::Unused, start + clusters * 4..start + fat_length);
    }
    // The root directory, /boot and /boot/modules have a cluster each: the entries, and what ends
    // them.
    for number in 0..3 {
        let start = data.start + number * cluster;
        let bytes = image.read(start, cluster as usize)?;
        let entries = bytes.chunks_exact(ENTRY);
        let used = entries.take_while(|entry| entry[0] != 0).count() + 1;
        let end = start + (used * ENTRY) as u64;
        add(Region::Directories, start..end);
        add(Region::Unused, end..start + cluster);
    }
    add(Region::Configuration, file("/boot/kernel.conf")?);
    for module in modules {
        add(Region::Modules, module);
    }
    add(Region::Unused, end..data.end);

    let place = file("/boot/kernel.elf")?;
    let kernel = inspection.booted.kernel.as_ref().context("no kernel")?;
    let mut pieces: Vec<_> = kernel
        .segments
        .iter()
        .map(|segment| segment.file_offset..segment.file_offset + segment.file_size)
        .collect();
    pieces.sort_by_key(|piece| piece.start);
    // The note is the last thing in front of the rest.
    let headers = 64 + 56 * 4;
    let last = pieces.last().map_or(0, |piece| piece.end);
    add(Region::KernelHeaders, place.start..place.start + headers);
    let note = last.next_multiple_of(4)..kernel_end;
    add(
        Region::KernelHeaders,
        place.start + note.start..place.start + note.end,
    );
    let mut position = headers;
    for piece in pieces {
        add(
            Region::KernelRest,
            place.start + position..place.start + piece.start,
        );
        add(
            Region::KernelBytes,
            place.start + piece.start..place.start + piece.end,
        );
        position = piece.end;
    }
    add(Region::KernelRest, place.start + kernel_end..place.end);
    ensure!(PARTITION_LBA as u64 * SECTOR == reserved.start);
    ensure!(all.len() == Region::ALL.len(), "a region is empty");
    Ok(all)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        value ^ value >> 31
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }
}

/// A row for each region: how often each outcome was, and the codes of the errors.
pub fn table(flips: &[Flip], outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| what the bit is in | flips | boots | boots by a copy | named error | hang | reset | wrong | errors |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n",
    );
    let mut row = |name: &str, region: Option<Region>| {
        let mut counts = [0; 6];
        let mut codes = BTreeMap::<&str, usize>::new();
        for (flip, outcome) in flips.iter().zip(outcomes) {
            if region.is_some_and(|region| region != flip.region) {
                continue;
            }
            let column = match outcome {
                Outcome::Boots => 0,
                Outcome::BootsByCopy => 1,
                Outcome::Named(code) => {
                    *codes.entry(code).or_default() += 1;
                    2
                }
                Outcome::Hang => 3,
                Outcome::Reset => 4,
                Outcome::Wrong(_) => 5,
            };
            counts[column] += 1;
        }
        let numbers: String = counts.iter().map(|count| format!(" {count} |")).collect();
        let codes: Vec<_> = codes
            .iter()
            .map(|(code, count)| format!("{code} × {count}"))
            .collect();
        let codes = match region {
            Some(_) => codes.join(", "),
            None => String::new(),
        };
        let total: usize = counts.iter().sum();
        text += &format!("| {name} | {total} |{numbers} {codes} |\n");
    };
    for region in Region::ALL {
        row(region.name(), Some(region));
    }
    row("all", None);
    text
}

/// How many ended as no wrong bit may end.
pub fn failures(flips: &[Flip], outcomes: &[Outcome]) -> usize {
    let bad = |(flip, outcome): &(&Flip, &Outcome)| {
        let excused = flip.region.may_hang() && !matches!(outcome, Outcome::Wrong(_));
        !outcome.is_good() && !excused
    };
    flips.iter().zip(outcomes).filter(bad).count()
}

/// `docs/bit-flips.md`.
pub fn page(flips: &[Flip], outcomes: &[Outcome], seed: u64) -> String {
    let table = table(flips, outcomes);
    let count = flips.len();
    format!(
        "# Wrong bits\n\n\
         What a boot makes of one wrong bit on the disk. `./run.sh flip [COUNT] [SEED]` flips one bit in a copy of an image and \
         boots that; it fails when a boot hangs, resets the machine,\n\
         or is wrong. Its kernel says exactly what it got, so that *boots* means: the same lines on the serial line as without the \
         wrong bit, and no other. *By a copy* means that the loader\n\
         says in addition that it went on by the second FAT or the backup boot sector. Half of the boots have a CPU with an \
         instruction for CRC-32C, the others compute it by tables.\n\n\
         This page was written by the program itself: {count} boots, spread evenly over the regions, at random places within each \
         (seed {seed}).\n\n\
         {table}\n\
         What is not covered, and why:\n\n\
         - *What runs before it is checked*: the first 38 bytes of stage1 that are executed. Nothing can check them, and a wrong \
         bit there may do anything. Hangs and resets are counted, and allowed,\n\
         \x20 there alone.\n\
         - *55 AA*: without it, the BIOS finds nothing to boot, and says so (`BIOS`).\n\
         - The disk signature is handed to the kernel as it is: systems change it, so nothing can tell a wrong one.\n\
         - A file that was copied to the stick later has no checksum: see [decision 15](decisions/0015-manifest.md). Neither has \
         anything in an image that was built with `--no-checksums`;\n\
         \x20 `./run.sh flip 40 1 --no-checksums` shows what becomes of that.\n"
    )
}
