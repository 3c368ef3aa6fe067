//! Everything that the loader and the demo kernel print on a machine.

use boot_path::errors::catalogue::{Entry, Report};
use boot_path::memory::map::OutOfMemory;
use disk_layout::SECTOR_SIZE;
use handoff::DEFAULT_PHYSICAL_MAP_BASE;

use super::{Outcome, Row};
use crate::elf::{Elf, W, X};
use crate::machine::{COLUMNS, OFFER};
use crate::pattern::{Line, compare, fields};

/// The loader and its version.
pub(crate) const LOADER: &str = concat!("Bootpath ", env!("CARGO_PKG_VERSION"));
const PAGE: u64 = 4096;
const KIB: u64 = 1 << 10;
/// The kernel's address: the first free memory above 1 MiB.
const KERNEL_ADDRESS: u64 = 1 << 20;
/// The address where RAM continues behind the devices.
const ABOVE_4_GIB: u64 = 4 << 30;
/// The stack size that the demo kernel's note asks for.
const STACK_KIB: u64 = 128;
/// The highest 512 GiB that are free, above a guard page.
const STACK_ADDRESS: u64 = 0xFFFF_FF00_0000_1000;

/// Forms of lines whose numbers are checked as well.
const DRIVE: &str = ", {n} reads; RSDP 0x";
const REGION: &str = "  0x{x:12} 0x{x:12} {n:10} KiB  {word}";
const TABLES: &str = "mapped by {n} tables: {n} pages of 4 KiB, {n} of 2 MiB, {n} of 1 GiB";

/// The kinds of memory that the screen shows on a machine whose BIOS has no kinds of its own.
const KINDS: [&[&str]; 2] = [
    &["usable", "reclaimable", "kernel"],
    &["framebuffer", "reserved"],
];

/// Lists in the demo kernel's source: the names of its checks, and those of the steps in its
/// timeline.
const CHECKS: (&str, &str) = (
    include_str!("../../../kernel/src/checks/mod.rs"),
    "pub const CHECKS: &[(&str, Check)] = &[",
);
const STEPS: (&str, &str) = (
    include_str!("../../../kernel/src/time.rs"),
    "pub const STEPS: [&str; 12] = [",
);

/// What the transcript says about the demo kernel, taken from its ELF file.
pub struct KernelFacts {
    entry: u64,
    segments: Vec<Segment>,
    loaded: u64,
}

struct Segment {
    address: u64,
    end: u64,
    writable: bool,
    executable: bool,
}

impl KernelFacts {
    /// Reads them.
    ///
    /// # Errors
    /// When the file is not an ELF file.
    pub fn read(file: &[u8]) -> anyhow::Result<Self> {
        let elf = Elf::read(file)?;
        let segment = |load: &crate::elf::ProgramHeader| Segment {
            address: load.virtual_address / PAGE * PAGE,
            end: (load.virtual_address + load.memory_size).next_multiple_of(PAGE),
            writable: load.flags & W != 0,
            executable: load.flags & X != 0,
        };
        Ok(Self {
            entry: elf.entry,
            loaded: elf
                .program_headers
                .iter()
                .map(|load| load.data.len() as u64)
                .sum(),
            segments: elf.program_headers.iter().map(segment).collect(),
        })
    }

    fn start(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.address)
            .min()
            .unwrap_or(0)
    }

    /// The size of its memory, in one piece.
    fn size(&self) -> u64 {
        let end = self.segments.iter().map(|segment| segment.end).max();
        end.unwrap_or(0) - self.start()
    }
}

/// The strings of a list in a source.
fn strings((source, start): (&'static str, &str)) -> Vec<&'static str> {
    let list = source
        .split_once(start)
        .and_then(|(_, rest)| rest.split_once("];"));
    let (list, _) = list.unwrap_or_default();
    assert!(!list.is_empty(), "no {start:?} in the kernel's source");
    list.split('"').skip(1).step_by(2).collect()
}

fn exact(text: &str) -> Line {
    Line::Exact(text.to_owned())
}

/// The lines that must be on the serial line, or on the screen.
fn lines(row: &Row, kernel: &KernelFacts, screen: bool) -> Vec<Line> {
    if let Outcome::Refused(entry) = row.outcome {
        return ["".into(), error(entry), entry.advice.into(), OFFER.into()]
            .map(Line::Exact)
            .into();
    }

    let mut lines = first_steps(row);
    if let Outcome::TooLittleMemory { largest, present } = row.outcome {
        let error = OutOfMemory {
            needed: kernel.size(),
            largest,
            present,
        };
        lines.push(Line::Exact(Report(&error).to_string()));
        lines.push(exact(
            boot_path::errors::catalogue::MEMORY_TOO_LITTLE.advice,
        ));
        lines.push(exact(OFFER));
        return lines;
    }
    lines.push(Line::Exact(format!(
        "10 kernel   ELF64, {} segments, {} KiB at {KERNEL_ADDRESS:X}h",
        kernel.segments.len(),
        kernel.loaded.div_ceil(KIB)
    )));
    lines.push(Line::Exact(format!(
        "11 paging   stack {STACK_KIB} KiB, physical map at {DEFAULT_PHYSICAL_MAP_BASE:X}h"
    )));
    lines.push(Line::Exact(format!("12 handoff  to {:X}h", kernel.entry)));
    lines.extend(demo_kernel(row, kernel, screen));
    lines
}

/// The LBA of the boot partition, in sectors of the drive.
fn partition_lba(row: &Row) -> u64 {
    u64::from(disk_layout::PARTITION_LBA) * SECTOR_SIZE as u64 / row.sector
}

/// The lines of steps 5 to 9.
fn first_steps(row: &Row) -> Vec<Line> {
    let lba = partition_lba(row);
    let console = match (row.serial, row.screen) {
        (true, _) if row.teletype => "COM1, the BIOS's screen",
        (true, true) => "COM1, VGA text",
        (true, false) => "COM1",
        (false, true) => "VGA text",
        (false, false) => "none",
    };
    let way = if row.chs { "CHS" } else { "LBA" };
    vec![
        exact(LOADER),
        Line::Exact(format!(" 5 console  {console}")),
        Line::Exact(format!(
            " 6 memory   {} MiB usable, by E820",
            row.usable_mib
        )),
        Line::Exact(format!(
            " 7 disk     drive {:02X}h by {way}, {} bytes a sector, partition 1 at LBA {lba}",
            row.drive, row.sector
        )),
        exact(" 8 files    FAT12"),
        exact(" 9 entry    /boot/kernel.elf, 0 modules"),
    ]
}

/// The lines of the demo kernel.
fn demo_kernel(row: &Row, kernel: &KernelFacts, screen: bool) -> Vec<Line> {
    let lba = partition_lba(row);
    let mut lines = vec![Line::Exact(format!("demo kernel, started by {LOADER}"))];
    let table = |there| if there { "{address}" } else { "0" };
    lines.push(Line::Form(format!(
        "drive {:02x}h, partition 1 at LBA {lba}{DRIVE}{}, SMBIOS 0x{}",
        row.drive,
        table(row.acpi),
        table(row.smbios)
    )));
    lines.push(exact("command line: exit"));
    // The screen shows a summary.
    if screen {
        lines.push(Line::Form("memory in KiB ({n} regions)".into()));
        for kinds in KINDS {
            let amount = |kind: &&str| format!("  {kind:11} {{n:12}}");
            lines.push(Line::Form(kinds.iter().map(amount).collect()));
        }
        lines.push(Line::Form(TABLES.into()));
    } else {
        lines.extend(memory(row, kernel));
    }
    lines.extend(timeline(row));
    let checks = strings(CHECKS);
    if !screen {
        let good = |name: &&str| Line::Exact(format!("check {name}: ok"));
        lines.extend(checks.iter().map(good));
    }
    let count = checks.len();
    lines.push(Line::Exact(format!("{count} of {count} checks passed")));
    lines.push(exact(if screen {
        "OKAY"
    } else {
        "\x1b[32mOKAY\x1b[0m"
    }));
    lines
}

/// When each step ended.
fn timeline(row: &Row) -> Vec<Line> {
    if !row.time {
        return vec![exact("no timeline: the CPU has no time-stamp counter")];
    }
    let mut lines = vec![Line::Form(
        "timeline in µs (time-stamp counter: {n} MHz)".into(),
    )];
    let steps = strings(STEPS);
    for (three, names) in steps.chunks(3).enumerate() {
        let columns = (3 * three + 1..).zip(names);
        let columns = columns.map(|(step, name)| format!("  {step:2} {name:9} {{n:8}}"));
        lines.push(Line::Form(columns.collect()));
    }
    lines.push(Line::Form("  all of it {n:11}".into()));
    lines
}

/// The memory map and what is mapped, line by line.
fn memory(row: &Row, kernel: &KernelFacts) -> Vec<Line> {
    let mut lines = vec![
        Line::Exact("physical memory".into()),
        Line::Forms(REGION.into()),
        Line::Form(TABLES.into()),
        Line::Form("  0x{x:16}          4 KiB r-x at 0x{x}".into()),
    ];
    // Without NX, everything is executable.
    let permissions = |writable, executable| {
        let w = if writable { 'w' } else { '-' };
        let x = if executable || !row.nx { 'x' } else { '-' };
        format!("r{w}{x}")
    };
    let data = permissions(true, false);
    lines.push(Line::Forms(run_form(&data)));
    lines.push(Line::Form(format!(
        "  {STACK_ADDRESS:#018x} {STACK_KIB:10} KiB {data} at 0x{{x}}"
    )));
    // Neighbours with the same permissions are shown as one line.
    let neighbours = |a: &Segment, b: &Segment| {
        a.end == b.address
            && permissions(a.writable, a.executable) == permissions(b.writable, b.executable)
    };
    for segments in kernel.segments.chunk_by(neighbours) {
        let (first, last) = (&segments[0], &segments[segments.len() - 1]);
        lines.push(Line::Exact(format!(
            "  {:#018x} {:10} KiB {} at {:#x}",
            first.address,
            (last.end - first.address) / KIB,
            permissions(first.writable, first.executable),
            KERNEL_ADDRESS + (first.address - kernel.start())
        )));
    }
    lines
}

/// A line of the mappings.
fn run_form(permissions: &str) -> String {
    format!("  0x{{x:16}} {{n:10}} KiB {permissions} at 0x{{x}}")
}

pub(crate) fn error(entry: &Entry) -> String {
    format!("error {}: {}", entry.code, entry.sentence)
}

/// Compares the output on the serial line with the expected lines. Returns the number of reads, if
/// the kernel printed it.
pub(super) fn check_serial(
    row: &Row,
    kernel: &KernelFacts,
    transcript: &str,
) -> Result<Option<u64>, String> {
    let Some(transcript) = transcript.strip_suffix("\r\n") else {
        return Err(format!("the last line has no end: {transcript:?}"));
    };
    let found: Vec<&str> = transcript.split("\r\n").collect();
    compare(&lines(row, kernel, false), &found, false)?;
    if !matches!(row.outcome, Outcome::Boots) {
        return Ok(None);
    }
    check_regions(row, &found)?;
    check_mappings(row, &found)?;
    let reads = found.iter().find_map(|line| {
        let (_, behind) = line.split_once(" at LBA ")?;
        let (_, behind) = behind.split_once(", ")?;
        behind.split_once(" reads; ")?.0.parse().ok()
    });
    match reads {
        Some(0) | None => Err("no reads".into()),
        Some(reads) => Ok(Some(reads)),
    }
}

/// Compares the screen with the expected lines. Text before these has scrolled away, or is the
/// BIOS's. Returns the BIOS's first line if it is still there.
pub(super) fn check_screen(
    row: &Row,
    kernel: &KernelFacts,
    screen: &[String],
) -> Result<Option<String>, String> {
    let used = screen
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |last| last + 1);
    let used: Vec<&str> = screen[..used].iter().map(String::as_str).collect();
    let first = match row.outcome {
        // The line in front is the one where the BIOS left the cursor, or an empty one.
        Outcome::Refused(entry) => used
            .iter()
            .position(|line| *line == error(entry))
            .map(|line| line.saturating_sub(1)),
        Outcome::RefusedByStage1(..) => None,
        Outcome::Boots | Outcome::TooLittleMemory { .. } => {
            used.iter().position(|line| *line == LOADER)
        }
    };
    let (bios, own) = used.split_at(first.unwrap_or(0));
    // A line that is too long continues in the next row.
    let expected: Vec<Line> = lines(row, kernel, true)
        .into_iter()
        .flat_map(|line| match line {
            Line::Exact(text) if text.len() > COLUMNS => text
                .as_bytes()
                .chunks(COLUMNS)
                .map(|part| Line::Exact(String::from_utf8_lossy(part).trim_end().to_owned()))
                .collect(),
            line => vec![line],
        })
        .collect();
    // Lines may only be missing if the screen has scrolled.
    compare(&expected, own, first.is_none())?;
    Ok(bios
        .first()
        .filter(|line| !line.is_empty())
        .map(|line| (*line).to_owned()))
}

fn hexadecimal(field: &str) -> u64 {
    u64::from_str_radix(field, 16).unwrap_or(u64::MAX)
}

fn decimal(field: &str) -> u64 {
    field.parse().unwrap_or(u64::MAX)
}

/// Checks that the regions are in order, do not overlap, have no gaps, and are as large as the
/// loader said.
fn check_regions(row: &Row, lines: &[&str]) -> Result<(), String> {
    let mut end = 0;
    let mut usable = 0;
    let mut framebuffer = false;
    for line in lines {
        let Some(region) = fields(REGION, line) else {
            continue;
        };
        let (start, next) = (hexadecimal(region[0]), hexadecimal(region[1]));
        let kib = decimal(region[2]);
        if start < end || next <= start || (next - start) / KIB != kib {
            return Err(format!("not a region in its place: {line}"));
        }
        // Without RAM above 1 MiB, there need not be a region here.
        let gap = start >= ABOVE_4_GIB || (end >= KERNEL_ADDRESS && region[3] == "Reserved");
        if start != end && !gap {
            return Err(format!("something is missing in front of: {line}"));
        }
        end = next;
        match region[3] {
            "Usable" | "Reclaimable" | "Kernel" => usable += kib,
            "Framebuffer" => framebuffer = true,
            "Reserved" | "AcpiReclaimable" | "AcpiNvs" | "Bad" => {}
            kind => return Err(format!("no region is expected to be {kind}")),
        }
    }
    if usable / KIB != row.usable_mib {
        return Err(format!(
            "{usable} KiB in the map, {} MiB expected",
            row.usable_mib
        ));
    }
    if framebuffer != row.screen {
        return Err(format!("a framebuffer in the map: {framebuffer}"));
    }
    Ok(())
}

/// Checks that the pages are as many as are mapped, that the physical map is one piece, and that
/// there are pages of 1 GiB where there have to be.
fn check_mappings(row: &Row, lines: &[&str]) -> Result<(), String> {
    let pages = lines
        .iter()
        .find_map(|line| fields(TABLES, line))
        .unwrap_or_default();
    let [_, small, large, huge] = pages[..] else {
        return Err("no pages".into());
    };
    let [small, large, huge] = [small, large, huge].map(decimal);
    if (huge > 0) != row.gib_pages {
        return Err(format!("{huge} pages of 1 GiB"));
    }
    let mut end = 0;
    let mut sum = 0;
    let mut physical_map = 0;
    for line in lines {
        let run = ["r--", "r-x", "rw-", "rwx"]
            .iter()
            .find_map(|&p| fields(&run_form(p), line));
        let Some(run) = run else { continue };
        let (start, kib, physical) = (hexadecimal(run[0]), decimal(run[1]), hexadecimal(run[2]));
        if start < end {
            return Err(format!("not a mapping in its place: {line}"));
        }
        end = start.saturating_add(kib * KIB - 1);
        sum += kib;
        if (DEFAULT_PHYSICAL_MAP_BASE..STACK_ADDRESS).contains(&start) {
            physical_map += 1;
            if start - DEFAULT_PHYSICAL_MAP_BASE != physical {
                return Err(format!("not the physical map: {line}"));
            }
        }
        if start < DEFAULT_PHYSICAL_MAP_BASE && start != physical {
            return Err(format!("not at its own address: {line}"));
        }
    }
    if physical_map == 0 {
        return Err("no physical map".into());
    }
    let expected = 4 * (small + (large << 9) + (huge << 18));
    if sum != expected {
        return Err(format!("{sum} KiB mapped by {expected} KiB of pages"));
    }
    Ok(())
}
