//! The recipes of the error catalogue, carried out: a good image is broken, booted, and what comes
//! out is compared, line by line, with what the recipe says.
//!
//! `./run.sh break CODE` shows one of them, `./run.sh break all` and `tests/tests/recipes.rs` check
//! all. What a recipe can say is [`boot_path::errors::recipe`]; a new word there is a new arm of
//! `apply`, `offsets` or `breaks` here.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use boot_path::entry::entry_file::PATH_KERNEL;
use boot_path::errors::catalogue::{Entry, Row};
use boot_path::errors::recipe::{
    BLANK, Change, Field, GoodKernel, Instruction, MODULE, Place, Shows,
};
use disk_builder::image::Module;
use disk_builder::inspect::Inspection;
use disk_builder::run::Ending;
use disk_layout::{SECTOR_SIZE, mbr, stage2 as stage2_image};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSymbol as _};
use tempfile::NamedTempFile;

use crate::elf::noise;
use crate::image::{
    Image, bad_bios, demo_kernel, multiboot_program, position_independent_kernel, stages,
    test_program_file,
};
use crate::machine::{COLUMNS, Disk, Machine, ROWS};
use crate::matrix::expect::{LOADER, OFFER, error};
use crate::parallel;
use crate::pattern::{Line, compare};

const SECTOR: u64 = SECTOR_SIZE as u64;
/// How long a machine may run: two seconds are usual, and the host may have much else to do.
const TIME_LIMIT: Duration = Duration::from_secs(180);

/// Forms of the lines that the steps from 5 on print on a machine of [`Machine::new`], by step.
const STEPS: [(u32, &[&str]); 8] = [
    (5, &[LOADER, " 5 console  COM1, VGA text"]),
    (6, &[" 6 memory   {n} MiB usable, by E820"]),
    (
        7,
        &[" 7 disk     drive 80h by LBA, 512 bytes a sector, partition 1 at LBA 2048"],
    ),
    (8, &[" 8 files    FAT32"]),
    (9, &[" 9 entry    /boot/kernel.elf, {n} modules"]),
    (10, &["10 kernel   ELF64, {n} segments, {n} KiB at {X}h"]),
    (11, &["11 paging   stack {n} KiB, physical map at {X}h"]),
    (12, &["12 handoff  to {X}h"]),
];

/// A good image, and what its places are.
struct GoodImage {
    image: Image,
    inspection: Inspection,
    stage2: Vec<u8>,
    kernel: Vec<u8>,
}

/// The good images that recipes begin with.
pub struct GoodImages {
    demo: GoodImage,
    position_independent: Option<GoodImage>,
    checked: Option<GoodImage>,
    multiboot2: Option<GoodImage>,
    limine: Option<GoodImage>,
}

impl GoodImages {
    /// Builds those that some rows need.
    ///
    /// # Errors
    /// When one cannot be built.
    pub fn build(rows: &[&Row]) -> Result<Self> {
        let build = |kernel: GoodKernel| {
            let needed = rows.iter().any(|row| row.recipe.kernel == kernel);
            needed.then(|| GoodImage::build(kernel)).transpose()
        };
        // In this order: cargo puts the position-independent kernel where the other one was.
        Ok(Self {
            demo: GoodImage::build(GoodKernel::Demo)?,
            checked: build(GoodKernel::Checked)?,
            position_independent: build(GoodKernel::PositionIndependent)?,
            multiboot2: build(GoodKernel::Multiboot2)?,
            limine: build(GoodKernel::Limine)?,
        })
    }

    fn get(&self, kernel: GoodKernel) -> Result<&GoodImage> {
        match kernel {
            GoodKernel::Demo => Some(&self.demo),
            GoodKernel::PositionIndependent => self.position_independent.as_ref(),
            GoodKernel::Checked => self.checked.as_ref(),
            GoodKernel::Multiboot2 => self.multiboot2.as_ref(),
            GoodKernel::Limine => self.limine.as_ref(),
        }
        .with_context(|| format!("{kernel:?} was not built"))
    }

    /// Breaks a good image, or the machine that boots it, as a row's recipe says.
    ///
    /// # Errors
    /// When a change cannot be made: a place that the recipe names is not there.
    pub fn breaks(&self, row: &Row) -> Result<Broken> {
        self.get(row.recipe.kernel)?.breaks(row.recipe.changes)
    }
}

impl GoodImage {
    fn build(good: GoodKernel) -> Result<Self> {
        const MODULE_BYTES: usize = 5000;

        let kernel = match good {
            GoodKernel::PositionIndependent => position_independent_kernel()?,
            GoodKernel::Demo | GoodKernel::Checked => demo_kernel()?,
            GoodKernel::Multiboot2 => test_program_file("entering-long-mode")?,
            GoodKernel::Limine => test_program_file("limine-kernel")?,
        };
        let image = Image::build(&kernel, |recipe, directory| {
            recipe.command_line = "exit".into();
            recipe.checksums = good == GoodKernel::Checked;
            if recipe.checksums {
                let file = directory.join(MODULE.rsplit('/').next().unwrap_or_default());
                // The builder finds out when it is not there.
                let _ = fs::write(&file, noise(MODULE_BYTES));
                let string = String::new();
                recipe.modules.push(Module { file, string });
            }
        })?;
        Ok(Self {
            inspection: image.inspect()?,
            image,
            stage2: fs::read(stages()?.stage2)?,
            kernel: fs::read(kernel)?,
        })
    }

    fn breaks(&self, changes: &[Change]) -> Result<Broken> {
        let image = self.image.copy()?;
        let mut machine = Machine::new(&image.path()).time_limit(TIME_LIMIT);
        let mut rom = None;
        for change in changes {
            machine = match *change {
                Change::DeadSector(place, number) => {
                    machine.dead_sector(self.offset(place)? / SECTOR + number)
                }
                Change::Qemu(arguments) => machine.arguments(arguments.split_whitespace()),
                Change::Multiboot => machine.multiboot(&multiboot_program()?, ""),
                Change::Rom(defects) => {
                    let file = rom.insert(bad_bios(defects)?);
                    machine
                        .disk(Disk::Ide)
                        .arguments(["-option-rom".as_ref(), file.path()])
                }
                _ => {
                    self.apply(change, &image)
                        .with_context(|| format!("{change}"))?;
                    machine
                }
            };
        }
        Ok(Broken {
            differences: differences(&self.image, &image, &self.inspection)?,
            image,
            machine,
            _rom: rom,
        })
    }

    /// Makes a change to a copy of the image.
    fn apply(&self, change: &Change, image: &Image) -> Result<()> {
        match *change {
            Change::Set(field, number) => self.set(&field, number.value, image),
            Change::Flip(place, offset, bit) => {
                let offset = self.offset(place)? + offset;
                let byte = image.read(offset, 1)?;
                image.write(offset, &[byte[0] ^ 1 << bit])
            }
            Change::Code(place, instructions) => {
                image.write(self.offset(place)?, &self.assemble(place, instructions)?)
            }
            Change::MendSum => image.mend_stage2_sum(),
            Change::MendChecksums => image.mend_stage2_checksums(),
            Change::Cut(path, length) => {
                let bytes =
                    image.read(self.offset(Place::File(path))?, usize::try_from(length)?)?;
                image.put(path, &bytes)
            }
            Change::Delete(path) => image.mtools("mdel", [format!("::{path}")]),
            Change::Put(path, bytes) => image.put(path, bytes),
            Change::DeadSector(..) | Change::Qemu(_) | Change::Rom(_) | Change::Multiboot => {
                bail!("not a change to the image")
            }
        }
    }

    fn set(&self, field: &Field, value: u64, image: &Image) -> Result<()> {
        let bytes = value.to_le_bytes();
        let (bytes, rest) = bytes
            .split_at_checked(field.bytes)
            .context("the field is too long")?;
        ensure!(rest.iter().all(|&byte| byte == 0), "{value:#x} is too long");
        for offset in self.offsets(field.place)? {
            let offset = offset + field.offset as u64;
            ensure!(
                image.read(offset, bytes.len())? != bytes,
                "{} is {value:#x} in the good image as well",
                field.name
            );
            image.write(offset, bytes)?;
        }
        Ok(())
    }

    /// The bytes of instructions that are put at a place.
    fn assemble(&self, place: Place, instructions: &[Instruction]) -> Result<Vec<u8>> {
        let mut code = Vec::new();
        for instruction in instructions {
            match *instruction {
                Instruction::Bytes(_, bytes) => code.extend(bytes),
                Instruction::JumpTo(target) => {
                    const LENGTH: u64 = 5;
                    let Place::Function(name) = place else {
                        bail!("a jump leads from one function of stage2 to another");
                    };
                    let next = self.function(name)? + code.len() as u64 + LENGTH;
                    let distance = self.function(target)?.wrapping_sub(next) as u32;
                    code.push(0xE9);
                    code.extend(distance.to_le_bytes());
                }
            }
        }
        Ok(code)
    }

    /// The only place of this name.
    fn offset(&self, place: Place) -> Result<u64> {
        match self.offsets(place)?[..] {
            [offset] => Ok(offset),
            ref offsets => bail!("{place} is at {offsets:?}"),
        }
    }

    /// Where in the good image a place is, in bytes; all copies of it.
    fn offsets(&self, place: Place) -> Result<Vec<u64>> {
        let kernel = || self.offset(Place::File(PATH_KERNEL));
        let elf = || ElfFile64::<Endianness>::parse(self.kernel.as_slice());
        let one = match place {
            Place::Mbr => 0,
            Place::PartitionEntry => mbr::PARTITION_TABLE_OFFSET as u64,
            Place::Stage2 => self.stage2_start()?,
            Place::Function(name) => {
                self.stage2_start()? + self.function(name)? - u64::from(stage2_image::LOAD_ADDRESS)
            }
            Place::Volume => {
                const BACKUP: u64 = 6;
                let partition = self.inspection.partition.as_ref();
                let start = partition.context("no partition")?.place.lba * SECTOR;
                return Ok(vec![start, start + BACKUP * SECTOR]);
            }
            Place::Link(path, number) => return self.links(path, number),
            Place::File(path) => {
                let [extent] = self.extents(path)? else {
                    bail!("{path} lies in several pieces");
                };
                extent.lba * SECTOR
            }
            Place::ProgramHeader(number) => {
                let elf = elf()?;
                let header = elf.elf_header();
                let size = u64::from(header.e_phentsize(elf.endian()));
                kernel()? + header.e_phoff(elf.endian()) + number * size
            }
            Place::Section(name) => {
                let elf = elf()?;
                let section = elf.section_by_name(name);
                let section = section.with_context(|| format!("no section {name}"))?;
                kernel()? + section.file_range().context("an empty section")?.0
            }
            Place::EntryPoint => {
                let elf = elf()?;
                let endian = elf.endian();
                let entry = elf.elf_header().e_entry(endian);
                let offset = elf.elf_program_headers().iter().find_map(|header| {
                    let (offset, size) = header.file_range(endian);
                    let behind = entry.wrapping_sub(header.p_vaddr(endian));
                    (header.p_type(endian) == object::elf::PT_LOAD && behind < size)
                        .then_some(offset + behind)
                });
                kernel()? + offset.context("the entry point is in no segment")?
            }
        };
        Ok(vec![one])
    }

    fn stage2_start(&self) -> Result<u64> {
        let stage2 = self.inspection.stage2.as_ref().context("no stage2")?;
        Ok(stage2.place.lba * SECTOR)
    }

    /// Where stage2 has a function in memory.
    fn function(&self, path: &str) -> Result<u64> {
        let elf = ElfFile64::<Endianness>::parse(self.stage2.as_slice())?;
        let mut addresses = elf.symbols().filter_map(|symbol| {
            let name = rustc_demangle::demangle(symbol.name().ok()?);
            // Without the hash.
            (format!("{name:#}") == path).then(|| symbol.address())
        });
        let address = addresses.next();
        let address = address.with_context(|| format!("stage2 has no function {path} any more"))?;
        ensure!(addresses.next().is_none(), "stage2 has several {path}");
        Ok(address)
    }

    fn extents(&self, path: &str) -> Result<&[disk_builder::inspect::Sectors]> {
        let mut files = self.inspection.files.iter();
        let file = files.find(|file| file.path == path);
        Ok(&file.with_context(|| format!("no {path}"))?.extents)
    }

    /// The entries, one in each copy of the FAT, of a cluster of a file that lies in one piece.
    fn links(&self, path: &'static str, number: usize) -> Result<Vec<u64>> {
        const COPIES: u64 = 2;
        const FIRST_CLUSTER: u64 = 2;
        const ENTRY: u64 = 4;

        let volume = self.inspection.volume.as_ref().context("no file system")?;
        ensure!(volume.fat_bits == 32, "FAT{}", volume.fat_bits);
        let first = self.offset(Place::File(path))? / SECTOR - volume.data.lba;
        let cluster = FIRST_CLUSTER + first * SECTOR / u64::from(volume.cluster) + number as u64;
        let copy = volume.fats.sectors / COPIES;
        let offset = |number| (volume.fats.lba + number * copy) * SECTOR + cluster * ENTRY;
        Ok((0..COPIES).map(offset).collect())
    }
}

/// A broken image, or a broken machine, before it is switched on.
pub struct Broken {
    image: Image,
    machine: Machine,
    differences: Vec<Difference>,
    // QEMU reads it when it starts.
    _rom: Option<NamedTempFile>,
}

/// Bytes that differ from the good image's.
pub struct Difference {
    /// In the image.
    offset: u64,
    /// What is there, and how far in it: `/boot/kernel.elf + 12h`.
    place: String,
    good: Vec<u8>,
    broken: Vec<u8>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MOST: usize = 8;

        let bytes = |bytes: &[u8]| {
            let mut text: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
            if text.len() > MOST {
                text.truncate(MOST);
                text.push("…".into());
            }
            text.join(" ")
        };
        let (lba, offset) = (self.offset / SECTOR, self.offset % SECTOR);
        write!(
            f,
            "{} (LBA {lba} + {offset:X}h): {} → {}",
            self.place,
            bytes(&self.good),
            bytes(&self.broken)
        )
    }
}

/// What a machine showed.
pub struct Seen {
    /// All that came over the serial line.
    pub serial: String,
    /// The screen in text mode at the end.
    pub screen: Vec<String>,
}

impl Broken {
    /// The image's file.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// How the image differs from the good one.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Boots it until the user is asked to do something; then does it, and sees to it that nothing
    /// more is printed.
    ///
    /// # Errors
    /// When it does not get there, or does not reboot; the message holds what was printed.
    pub fn boot(&self, row: &Row) -> Result<Seen> {
        let mut running = self.machine.start()?;
        if let Shows::Stage1(_) = row.recipe.shows {
            // `error 1A 0C`, and the machine stands still.
            let serial = running.wait_until("stage1's error", |serial| {
                let error = serial.rsplit_once("error ");
                error.is_some_and(|(_, rest)| rest.len() >= "1A 0C".len())
            })?;
            let error = serial.lines().next_back().unwrap_or_default();
            running.wait_for_screen(error)?;
            let screen = used(running.screen()?);
            return Ok(Seen { serial, screen });
        }

        let is_offer = |line: &Line| matches!(line, Line::Exact(text) if text == OFFER);
        let offers = expected(row).into_iter().filter(is_offer).count();
        let offer = format!("{OFFER}\r\n");
        let serial = running.wait_until(&format!("{OFFER:?}"), |serial| {
            serial.matches(&offer).count() >= offers
        })?;
        let screen = used(running.wait_for_line(&[OFFER])?);
        running.press("spc")?;
        let ending = running.wait().context("a key press does not reboot")?;
        ensure!(ending == Ending::Closed, "{ending:?}");
        let after = running.serial();
        ensure!(after == serial, "more is printed behind the end:\n{after}");
        Ok(Seen { serial, screen })
    }
}

/// The rows of the screen up to the last one that is used.
fn used(mut screen: Vec<String>) -> Vec<String> {
    let used = screen.iter().rposition(|row| !row.is_empty());
    screen.truncate(used.map_or(0, |last| last + 1));
    screen
}

/// What a user has to see, line by line.
fn expected(row: &Row) -> Vec<Line> {
    let entry = row.entry;
    let (after, before, facts, behind): (_, &[&[&str]], _, &[&[&str]]) = match row.recipe.shows {
        Shows::Stage1(status) => {
            let line = format!("error {} {status}", entry.code);
            return vec![line_of(""), line_of(&line)];
        }
        Shows::RealMode => (0, &[BLANK], "", &[]),
        Shows::After(after, facts) => (after, &[], facts, &[]),
        Shows::Lines {
            after,
            before,
            facts,
            behind,
        } => (after, before, facts, behind),
    };
    let steps = STEPS.iter().filter(|(step, _)| *step <= after);
    let mut texts: Vec<&str> = steps.flat_map(|(_, lines)| *lines).copied().collect();
    texts.extend(before.iter().copied().flatten());
    let error = with_facts(entry, facts);
    texts.push(&error);
    texts.extend(behind.iter().copied().flatten());
    texts.extend([entry.advice, OFFER]);
    texts.into_iter().map(line_of).collect()
}

/// A line; a form if it has places for what cannot be known.
fn line_of(text: &str) -> Line {
    if text.contains('{') {
        Line::Form(text.to_owned())
    } else {
        Line::Exact(text.to_owned())
    }
}

/// The line of an error.
fn with_facts(entry: &Entry, facts: &str) -> String {
    let separator = if facts.is_empty() { "" } else { ": " };
    format!("{}{separator}{facts}", error(entry))
}

/// Compares what a machine showed with what the recipe says: each line of it, on the serial line
/// and on the screen, and no other one.
///
/// # Errors
/// The difference.
pub fn check(row: &Row, seen: &Seen) -> Result<()> {
    let is_stage1 = matches!(row.recipe.shows, Shows::Stage1(_));
    let text = match seen.serial.strip_suffix("\r\n") {
        Some(text) if !is_stage1 => text,
        None if is_stage1 => &seen.serial,
        _ => bail!("the end of the last line: {:?}", seen.serial),
    };
    let lines: Vec<&str> = text.split("\r\n").collect();
    compare(&expected(row), &lines, false).map_err(|error| anyhow!(error))?;

    // The same lines on the screen, the last ones of it. A first one that is blank ends the BIOS's.
    let shown = lines.iter().skip_while(|line| line.is_empty());
    let rows: Vec<&str> = shown.flat_map(|line| screen_rows(line)).collect();
    let on_screen: Vec<&str> = seen.screen.iter().map(String::as_str).collect();
    // One row is the cursor's.
    let room = if is_stage1 { ROWS } else { ROWS - 1 };
    let visible = rows.len().min(room);
    let own = on_screen.len().saturating_sub(visible);
    let wanted: Vec<Line> = rows[rows.len() - visible..]
        .iter()
        .map(|row| Line::Exact((*row).to_owned()))
        .collect();
    compare(&wanted, &on_screen[own..], false)
        .map_err(|difference| anyhow!("on the screen:\n{difference}"))
}

/// A line as rows of the screen, without the blanks at their ends.
fn screen_rows(line: &str) -> Vec<&str> {
    if line.is_empty() {
        return vec![""];
    }
    let mut rows = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (row, behind) = rest.split_at_checked(COLUMNS).unwrap_or((rest, ""));
        rows.push(row.trim_end());
        rest = behind;
    }
    rows
}

/// Carries out a row's recipe, and checks what comes of it.
///
/// # Errors
/// What differs from the recipe.
pub fn check_row(row: &Row, images: &GoodImages) -> Result<()> {
    let seen = images.breaks(row)?.boot(row)?;
    check(row, &seen)
}

/// The same for many rows, as many at once as there are cores; `done` is told of each.
pub fn check_rows(
    rows: &[&Row],
    images: &GoodImages,
    done: impl Fn(&Row, &Result<()>) + Sync,
) -> Vec<Result<()>> {
    parallel::each(rows, |row| {
        let result = check_row(row, images);
        done(row, &result);
        result
    })
}

/// The bytes in which two images of the same length differ, as runs.
fn differences(good: &Image, broken: &Image, inspection: &Inspection) -> Result<Vec<Difference>> {
    const BLOCK: u64 = 1 << 20;

    let (mut good, mut broken) = (File::open(good.path())?, File::open(broken.path())?);
    let mut runs: Vec<Difference> = Vec::new();
    let mut start = 0;
    loop {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        good.by_ref().take(BLOCK).read_to_end(&mut one)?;
        broken.by_ref().take(BLOCK).read_to_end(&mut other)?;
        ensure!(one.len() == other.len(), "the images differ in length");
        if one.is_empty() {
            return Ok(runs);
        }
        // Most blocks are equal, which is soon found out.
        let length = if one == other { 0 } else { one.len() };
        let pairs = one.iter().zip(&other).take(length);
        for (offset, (&a, &b)) in (start..).zip(pairs).filter(|(_, (a, b))| a != b) {
            match runs.last_mut() {
                Some(last) if offset == last.offset + last.good.len() as u64 => {
                    last.good.push(a);
                    last.broken.push(b);
                }
                _ => runs.push(Difference {
                    offset,
                    place: place_of(offset, inspection),
                    good: vec![a],
                    broken: vec![b],
                }),
            }
        }
        start += one.len() as u64;
    }
}

/// What is at an offset of a good image.
fn place_of(offset: u64, inspection: &Inspection) -> String {
    let lba = offset / SECTOR;
    let within = |name: &str, start: u64, sectors: u64| {
        (start..start + sectors)
            .contains(&lba)
            .then(|| format!("{name} + {:X}h", offset - start * SECTOR))
    };
    let stage2 = inspection.stage2.as_ref();
    let volume = inspection.volume.as_ref();
    let file = || {
        inspection.files.iter().find_map(|file| {
            // Files of good images lie in one piece.
            let extent = file.extents.first()?;
            within(&file.path, extent.lba, extent.sectors)
        })
    };
    within("MBR", 0, 1)
        .or_else(|| stage2.and_then(|it| within("stage2", it.place.lba, it.place.sectors)))
        .or_else(file)
        .or_else(|| {
            let volume = volume?;
            let parts = [
                ("boot sector", volume.reserved),
                ("FAT", volume.fats),
                ("clusters", volume.data),
            ];
            parts
                .iter()
                .find_map(|(name, place)| within(name, place.lba, place.sectors))
        })
        .unwrap_or_else(|| "free".into())
}

/// The catalogue's row of a code, whatever the case of its letter.
///
/// # Errors
/// Names the codes that there are.
pub fn find(code: &str) -> Result<&'static Row> {
    let rows = boot_path::errors::catalogue::ALL;
    let row = rows
        .iter()
        .find(|row| row.entry.code.eq_ignore_ascii_case(code));
    row.with_context(|| {
        let mut known = String::new();
        for row in rows {
            // A string takes everything.
            let _ = write!(known, " {}", row.entry.code);
        }
        format!("no error has the code {code:?}; there are:{known}")
    })
}
