//! What is shown.

use std::fmt;

use anstyle::Style;
use anyhow::Result;
use boot_path::errors::text::Shown;
use boot_path::position::Lba;

use super::facts::{
    Cd, Checksum, ConfigurationLine, EntryInfo, FileInfo, Inspection, Sectors, Stage2, Volume,
};
use super::kernels::{Booted, Kernel, LimineKernel, Linux, MultibootKernel, Segment};
use crate::json;

/// How those lines look that say how good an image is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Styles {
    /// That there are no problems.
    pub good: Style,
    /// What the loader leaves out, or ignores.
    pub warning: Style,
    /// What the loader refuses.
    pub problem: Style,
}

impl Inspection {
    /// As JSON, for programs. Also safe on a terminal, which obeys more characters than JSON
    /// escapes.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_json(&self) -> Result<String> {
        json::pretty(self)
    }

    /// What its `Display` says, with colour: escape sequences, which a terminal obeys.
    pub fn styled(&self, styles: Styles) -> impl fmt::Display {
        fmt::from_fn(move |f| self.fmt_styled(f, styles))
    }

    /// What lies where, a line each.
    pub(crate) fn fmt_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>10} {:>10}  what", "LBA", "sectors")?;
        let mbr = format_args!(
            "MBR: stage1 and partition table, disk {:08X}h",
            self.disk_signature
        );
        line(f, Sectors::new(Lba::ZERO, 1), mbr)?;
        if let Some(cd) = &self.cd {
            cd.fmt_lines(f)?;
        }
        if let Some(stage2) = &self.stage2 {
            stage2.fmt_line(f)?;
        }
        if let Some(partition) = &self.partition {
            let what = format_args!(
                "partition {}: type {:02X}h",
                partition.number, partition.kind
            );
            line(f, partition.place, what)?;
        }
        if let Some(volume) = &self.volume {
            volume.fmt_lines(f)?;
        }
        self.files.iter().try_for_each(|file| file.fmt_lines(f))
    }
}

/// A line of the table.
fn line(f: &mut fmt::Formatter<'_>, at: Sectors, what: fmt::Arguments<'_>) -> fmt::Result {
    writeln!(f, "{:>10} {:>10}  {what}", at.lba, at.sectors)
}

/// Whether a sum is right.
fn state(verified: bool) -> &'static str {
    if verified { "good" } else { "WRONG" }
}

impl Cd {
    fn fmt_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = self.blocks;
        let what = format_args!("CD: volume descriptors, {blocks} blocks of 2048 bytes");
        line(f, self.descriptors, what)?;
        line(f, self.catalogue, format_args!("CD: boot catalogue"))?;
        let what = format_args!("CD: path tables, root directory");
        line(f, self.directories, what)?;
        let state = state(self.verified);
        line(f, self.program, format_args!("CD: boot program ({state})"))
    }
}

impl Stage2 {
    fn fmt_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = if self.record { ", recorded" } else { "" };
        let what = format_args!(
            "stage2: {} road{recorded} ({})",
            self.road,
            state(self.verified)
        );
        line(f, self.place, what)?;
        self.parts.iter().try_for_each(|part| {
            let what = format_args!("  part {} ({})", part.name, state(part.verified));
            line(f, part.place, what)
        })
    }
}

impl Volume {
    fn fmt_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = format_args!("  boot sector, FAT{}", self.fat_bits);
        line(f, self.reserved, what)?;
        line(f, self.fats, format_args!("  file allocation tables"))?;
        let (count, size) = (self.clusters, self.cluster);
        line(
            f,
            self.data,
            format_args!("  {count} clusters of {size} bytes"),
        )
    }
}

impl FileInfo {
    fn fmt_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A badly fragmented file would fill many screens.
        const MOST: usize = 8;

        let checksum = match self.checksum {
            Some(Checksum::Good) => ", checksum good",
            Some(Checksum::Wrong) => ", checksum WRONG",
            Some(Checksum::Replaced) => ", replaced",
            None => "",
        };
        let (path, size) = (Shown::new(&self.path), self.size);
        let Some((first, others)) = self.extents.split_first() else {
            let what = format_args!("    {path} (empty{checksum})");
            return line(f, Sectors::new(Lba::ZERO, 0), what);
        };
        let unpacked = self.unpacked.map(|size| format!(", {size} unpacked"));
        let unpacked = unpacked.unwrap_or_default();
        let what = format_args!("    {path} ({size} bytes{unpacked}{checksum})");
        line(f, *first, what)?;
        for extent in others.iter().take(MOST - 1) {
            line(f, *extent, format_args!("      continued"))?;
        }
        match self.pieces - self.pieces.min(MOST as u64) {
            0 => Ok(()),
            more => writeln!(f, "{:>21}      and {more} pieces more", ""),
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_styled(f, Styles::default())
    }
}

impl Inspection {
    /// The lines of configuration files that a message is about.
    fn fmt_lines_of(&self, f: &mut fmt::Formatter<'_>, message: &str) -> fmt::Result {
        let is_meant = |line: &&ConfigurationLine| {
            message.contains(&line.file) && message.contains(&format!(": line {}: ", line.line))
        };
        for line in self.lines.iter().filter(is_meant) {
            writeln!(f, "{:>6} | {}", line.line, Shown::new(&line.text))?;
            if let Some(hint) = &line.hint {
                writeln!(f, "{:>6} = {hint}", "")?;
            }
        }
        Ok(())
    }

    fn fmt_styled(&self, f: &mut fmt::Formatter<'_>, styles: Styles) -> fmt::Result {
        let Styles {
            good,
            warning,
            problem,
        } = styles;
        self.fmt_table(f)?;
        for entry in &self.entries {
            write!(f, "{entry}")?;
        }
        if let Some(command_line) = &self.command_line {
            writeln!(f, "command line: {}", Shown::new(command_line))?;
        }
        write!(f, "{}", self.booted)?;
        for text in &self.warnings {
            writeln!(f, "{warning}warning:{warning:#} {}", Shown::new(text))?;
            self.fmt_lines_of(f, text)?;
        }
        for text in &self.problems {
            writeln!(f, "{problem}{}{problem:#}", Shown::new(text))?;
            self.fmt_lines_of(f, text)?;
        }
        if self.problems.is_empty() {
            writeln!(f, "{good}no problems found{good:#}")?;
        }
        Ok(())
    }
}

impl fmt::Display for EntryInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_default { "*" } else { " " };
        write!(f, "entry {mark} {}", Shown::new(&self.name))?;
        if let Some(title) = &self.title {
            write!(f, " ({})", Shown::new(title))?;
        }
        match (&self.kernel, &self.chain) {
            (Some(kernel), _) => write!(f, ": {}", Shown::new(kernel))?,
            (None, Some(chain)) => write!(f, ": chain {}", Shown::new(chain))?,
            (None, None) => {}
        }
        if let Some(protocol) = self.protocol {
            write!(f, " by {protocol}")?;
        }
        for module in &self.modules {
            write!(f, ", {}", Shown::new(module))?;
        }
        match self.command_line.as_str() {
            "" => writeln!(f),
            text => writeln!(f, ": {}", Shown::new(text)),
        }
    }
}

impl fmt::Display for Booted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            linux,
            kernel,
            multiboot,
            limine,
            ..
        } = self;
        linux.iter().try_for_each(|it| it.fmt(f))?;
        kernel.iter().try_for_each(|it| it.fmt(f))?;
        multiboot.iter().try_for_each(|it| it.fmt(f))?;
        limine.iter().try_for_each(|it| it.fmt(f))
    }
}

impl fmt::Display for Linux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relocatable = match self.relocatable {
            true => ", relocatable",
            false => "",
        };
        let long_mode = match self.long_mode {
            true => ", 64-bit entry",
            false => "",
        };
        writeln!(
            f,
            "kernel: Linux, protocol {}.{:02}{relocatable}{long_mode}, {} KiB at {:#x}",
            self.version >> 8,
            self.version & 0xFF,
            self.init_size.div_ceil(1024),
            self.preferred_address,
        )
    }
}

/// What is said of a kernel that can run at any address.
fn position_independent(it_is: bool) -> &'static str {
    if it_is { ", position-independent" } else { "" }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kernel: entry {:#x}{}, stack {} KiB, physical map at {:#x}",
            self.entry,
            position_independent(self.position_independent),
            self.stack_size / 1024,
            self.physical_map_base
        )?;
        self.segments.iter().try_for_each(|it| it.fmt(f))
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |bit, letter| match self.flags & bit {
            0 => '-',
            _ => letter,
        };
        write!(
            f,
            "  {:#018x} {}{}{} {:>10} bytes, {:>10} from the file at {:#x}",
            self.address,
            letter(4, 'r'),
            letter(2, 'w'),
            letter(1, 'x'),
            self.memory_size,
            self.file_size,
            self.file_offset
        )?;
        match self.extents.as_slice() {
            [] => writeln!(f),
            [only] => writeln!(f, ": LBA {}, {} sectors", only.lba, only.sectors),
            [first, ..] => writeln!(
                f,
                ": LBA {}, {} sectors in {} pieces",
                first.lba, self.sectors, self.pieces
            ),
        }
    }
}

impl fmt::Display for MultibootKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kernel: {}, header at {:#x} of the file, entry {:#x}",
            self.specification, self.header, self.entry
        )?;
        for segment in &self.segments {
            writeln!(
                f,
                "  {:#010x} {:>10} bytes, {:>10} from the file at {:#x}",
                segment.address, segment.memory_size, segment.file_size, segment.file_offset
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for LimineKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kernel: Limine protocol, base revision {}, from {:#x}{}\n  asks for {}",
            self.base_revision,
            self.address,
            position_independent(self.position_independent),
            self.requests.join(", ")
        )
    }
}
