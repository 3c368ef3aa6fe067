//! Annotated disassemblies: every instruction in the mode that it runs in, with its line of source.
//!
//! `llvm-objdump` or `objdump` decodes. Neither can know where 16-bit, 32-bit and 64-bit code and
//! tables begin and end in the assembly, and which lines these come from: the program itself says
//! so (see the package `asm-lines`). Debug information gives the lines of compiled code.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::output::without_path;
use crate::stages::{self, ElfFile, Program};
use anyhow::{Context as _, Result, bail, ensure};
use llvm_tools::{LlvmTools, exe};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};
use rustc_demangle::demangle;
use tempfile::NamedTempFile;

mod format;

pub use format::Kind;

/// A program that has no file of its own needs one for the disassembler.
const NO_COPY: &str = "cannot write a temporary file";

/// Builds a program and disassembles it: see [`disassemble`].
///
/// # Errors
/// Those of [`Disassembler::find`], before anything is built, of [`ElfFile::newest`], and of
/// [`disassemble`].
pub fn print(program: &Program<'_>, out: &mut impl Write) -> Result<()> {
    let disassembler = Disassembler::find()?;
    let file = ElfFile::newest(program)?;
    if let Some(path) = file.path() {
        return disassemble(path, &disassembler, out);
    }
    let bytes = file.read()?;
    let mut copy = NamedTempFile::new()
        .map_err(without_path)
        .context(NO_COPY)?;
    copy.write_all(&bytes).context(NO_COPY)?;
    disassemble(copy.path(), &disassembler, out)
}

/// A line of assembly, and where the program has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Address of its first byte.
    pub address: u64,
    /// File, from the workspace.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What it is.
    pub kind: Kind,
}

/// What lies in a part of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What the compiler made: 64-bit code.
    Compiled,
    /// Assembly for the mode with so many bits.
    Assembly(u8),
    /// Tables, texts, gaps.
    Data,
}

/// The code of a program, and what is known of it.
pub struct Code {
    /// Its lines of assembly, by address.
    pub rows: Vec<Row>,
    sections: Vec<Section>,
    /// Names of functions and variables, by address.
    symbols: Vec<Symbol>,
}

struct Section {
    name: String,
    address: u64,
    bytes: Vec<u8>,
}

struct Symbol {
    range: Range<u64>,
    name: String,
    is_data: bool,
}

impl Code {
    /// Reads it from an ELF file.
    ///
    /// # Errors
    /// When it is not one, or its rows are not as [`format`] describes them.
    pub fn read(elf: &[u8]) -> Result<Self> {
        let file = object::File::parse(elf)?;
        let mut sections = Vec::new();
        for section in file.sections().filter(|it| it.kind() == SectionKind::Text) {
            sections.push(Section {
                name: section.name()?.to_owned(),
                address: section.address(),
                bytes: section.data()?.to_vec(),
            });
        }
        let rows = match file.section_by_name(format::SECTION) {
            Some(section) => read_rows(section.data()?).context("the rows of its assembly")?,
            None => Vec::new(),
        };
        let mut symbols: Vec<_> = file
            .symbols()
            .filter(|it| matches!(it.kind(), SymbolKind::Text | SymbolKind::Data))
            .map(|it| Symbol {
                range: it.address()..it.address() + it.size(),
                name: format!("{:#}", demangle(it.name().unwrap_or_default())),
                is_data: it.kind() == SymbolKind::Data,
            })
            .collect();
        symbols.sort_by_key(|symbol| symbol.range.start);
        Ok(Self {
            rows,
            sections,
            symbols,
        })
    }

    /// The parts of a section, one behind the other.
    fn parts(&self, section: &Section) -> Vec<(Range<u64>, Content)> {
        let mut boundaries = vec![(section.address, Content::Compiled)];
        let mut bits = 64;
        for row in self.rows_in(section.range()) {
            let content = match row.kind {
                Kind::Code => Content::Assembly(bits),
                Kind::Data => Content::Data,
                Kind::Mode(mode) => {
                    bits = mode;
                    Content::Assembly(bits)
                }
                Kind::End => {
                    bits = 64;
                    Content::Compiled
                }
            };
            boundaries.push((row.address, content));
        }
        let starts = boundaries.iter().map(|(start, _)| *start);
        let ends = starts.skip(1).chain([section.range().end]);
        let mut parts: Vec<(Range<u64>, Content)> = Vec::new();
        for (&(start, content), end) in boundaries.iter().zip(ends) {
            match parts.last_mut() {
                _ if start == end => {}
                Some((range, last)) if *last == content => range.end = end,
                _ => parts.push((start..end, content)),
            }
        }
        // In compiled parts, symbols show what is a variable. Filling between functions has no
        // symbol.
        parts
            .into_iter()
            .flat_map(|(range, content)| match content {
                Content::Compiled => self.without_variables(range),
                _ => vec![(range, content)],
            })
            .collect()
    }

    fn without_variables(&self, range: Range<u64>) -> Vec<(Range<u64>, Content)> {
        let mut parts = Vec::new();
        let mut start = range.start;
        for symbol in self.symbols.iter().filter(|symbol| symbol.is_data) {
            let variable = symbol.range.start.max(start)..symbol.range.end.min(range.end);
            if variable.is_empty() {
                continue;
            }
            parts.push((start..variable.start, Content::Compiled));
            start = variable.end;
            parts.push((variable, Content::Data));
        }
        parts.push((start..range.end, Content::Compiled));
        parts.retain(|(range, _)| !range.is_empty());
        for (range, content) in &mut parts {
            let mut starts = self.symbols.iter().map(|symbol| symbol.range.start);
            if !starts.any(|start| range.contains(&start)) {
                *content = Content::Data;
            }
        }
        parts
    }

    fn rows_in(&self, range: Range<u64>) -> &[Row] {
        let position = |address| self.rows.partition_point(|row| row.address < address);
        &self.rows[position(range.start)..position(range.end)]
    }

    /// What begins at an address: its name, as a heading.
    fn heading(&self, address: u64) -> Option<String> {
        let position = |address| {
            let before = |symbol: &Symbol| symbol.range.start < address;
            self.symbols.partition_point(before)
        };
        let here = &self.symbols[position(address)..position(address + 1)];
        let name = &here.iter().find(|symbol| !symbol.name.is_empty())?.name;
        Some(format!("\n{address:016x} <{name}>:"))
    }
}

impl Section {
    fn range(&self) -> Range<u64> {
        self.address..self.address + self.bytes.len() as u64
    }

    fn bytes(&self, range: &Range<u64>) -> &[u8] {
        let offset = |address: u64| (address - self.address) as usize;
        &self.bytes[offset(range.start)..offset(range.end)]
    }
}

/// The rows in the order of their addresses. Those of functions that the linker has left out are at 0.
fn read_rows(mut bytes: &[u8]) -> Result<Vec<Row>> {
    let mut functions = vec![Vec::new()];
    while let Some((address, rest)) = bytes.split_first_chunk() {
        let length = rest.iter().position(|&byte| byte == 0);
        let (text, behind) = rest.split_at(length.context("cut short")?);
        bytes = &behind[1..];
        let text = str::from_utf8(text)?;
        let row = text.rsplit_once(' ').and_then(|(place, kind)| {
            let (file, line) = place.rsplit_once(':')?;
            Some(Row {
                address: u64::from_le_bytes(*address),
                file: file.to_owned(),
                line: line.parse().ok()?,
                kind: Kind::of_name(kind)?,
            })
        });
        let row = row.with_context(|| format!("what is {text:?}?"))?;
        let is_end = row.kind == Kind::End;
        let function = functions.last_mut();
        function.context("no function")?.push(row);
        if is_end {
            functions.push(Vec::new());
        }
    }
    ensure!(bytes.is_empty(), "cut short");
    let last = functions.pop();
    ensure!(last.is_some_and(|rows| rows.is_empty()), "no end");
    // The linker may have put the functions into another order. Where one ends and another one begins,
    // both have rows, and those of the first one come first.
    functions.retain(|rows| rows[0].address != 0);
    functions.sort_by_key(|rows| rows[0].address);
    Ok(functions.into_iter().flatten().collect())
}

/// A program that decodes instructions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disassembler {
    path: PathBuf,
    is_llvm: bool,
}

impl Disassembler {
    /// The one that is used: `llvm-objdump` of the Rust toolchain, if its component `llvm-tools` is
    /// installed, else `llvm-objdump` or `objdump` of the system.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self> {
        match Self::all().into_iter().next() {
            Some(disassembler) => Ok(disassembler),
            None => bail!(
                "there is no disassembler; get llvm-objdump by `rustup component add llvm-tools`, or objdump with your system's binutils"
            ),
        }
    }

    /// All that are installed, the preferred one first.
    pub fn all() -> Vec<Self> {
        let toolchain = LlvmTools::new().ok();
        let toolchain = toolchain.and_then(|tools| tools.tool(&exe("llvm-objdump")));
        let names = ["llvm-objdump", "objdump"].map(|name| PathBuf::from(exe(name).as_ref()));
        toolchain
            .into_iter()
            .chain(names)
            .filter_map(|path| {
                let version = Command::new(&path).arg("--version").output().ok()?;
                let is_llvm = String::from_utf8_lossy(&version.stdout).contains("LLVM");
                version.status.success().then_some(Self { path, is_llvm })
            })
            .collect()
    }

    /// What it prints of a part of a section, without its heading; with source lines for compiled
    /// code.
    fn run(
        &self,
        elf: &Path,
        section: &str,
        range: &Range<u64>,
        content: Content,
    ) -> Result<String> {
        let bits = match content {
            Content::Assembly(bits) => bits,
            Content::Compiled | Content::Data => 64,
        };
        let mut command = Command::new(&self.path);
        command
            .args(["--disassemble", "--disassemble-zeroes", "--demangle"])
            .arg(format!("--section={section}"))
            .arg(format!("--start-address={:#x}", range.start))
            .arg(format!("--stop-address={:#x}", range.end));
        if content == Content::Compiled {
            command.args(["--source", "--line-numbers"]);
        }
        if self.is_llvm {
            let triple = match bits {
                16 => "i386-unknown-none-code16",
                32 => "i386-unknown-none",
                _ => "x86_64-unknown-none",
            };
            command.arg(format!("--triple={triple}"));
            command.arg("--x86-asm-syntax=intel");
        } else {
            let machine = match bits {
                16 => "i8086",
                32 => "i386",
                _ => "i386:x86-64",
            };
            command.args(["--wide", "-Mintel", "-m", machine]);
        }
        command.arg(elf);
        if stages::workspace().is_dir() {
            // Debug information has the paths of the sources relative to it.
            command.current_dir(stages::workspace());
        }
        let output = command.stdin(Stdio::null()).output();
        let output = output.context("cannot run the disassembler")?;
        // On standard error it also complains of sources that are not on this machine: those of
        // `core`.
        let (name, complaint) = (self.path.display(), String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.success(),
            "{name} failed: {}",
            complaint.trim_end()
        );
        let text = String::from_utf8_lossy(&output.stdout);
        let heading = format!("Disassembly of section {section}:");
        let (_, listing) = text
            .split_once(&heading)
            .with_context(|| format!("{name} shows no {section}"))?;
        Ok(listing.trim_start_matches(['\r', '\n']).to_owned())
    }
}

/// The address of an instruction, if the line of a disassembler is one.
fn address_of(line: &str) -> Option<u64> {
    let (address, rest) = line.split_once(':')?;
    let is_instruction = rest.starts_with([' ', '\t']);
    let address = u64::from_str_radix(address.trim_start(), 16).ok()?;
    is_instruction.then_some(address)
}

/// Disassembles an ELF file: every instruction with its address, its bytes, and the source line that it
/// comes from with the comments above it. Tables in the assembly are shown as bytes.
///
/// # Errors
/// When the disassembler fails, or the file cannot be read.
pub fn disassemble(elf: &Path, disassembler: &Disassembler, out: &mut impl Write) -> Result<()> {
    let elf = &std::path::absolute(elf)?;
    let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let code = Code::read(&bytes).with_context(|| format!("{} is not good", elf.display()))?;
    let mut sources = Sources::default();
    for section in &code.sections {
        writeln!(out, "\nSection {}", section.name)?;
        for (range, content) in code.parts(section) {
            if content == Content::Data {
                show_data(&code, section, &range, &mut sources, out)?;
                continue;
            }
            let listing = disassembler.run(elf, &section.name, &range, content)?;
            if content == Content::Compiled {
                write!(out, "\n{listing}")?;
                continue;
            }
            if let Content::Assembly(bits) = content {
                writeln!(out, "\n; {bits}-bit code")?;
            }
            let mut rows = code.rows_in(range);
            for line in listing.lines() {
                let Some(address) = address_of(line) else {
                    continue; // the disassembler's own headings
                };
                let due = rows.partition_point(|row| row.address <= address);
                let (due, later) = rows.split_at(due);
                rows = later;
                // What ends here is shown before the heading of what begins.
                let ended = due.iter().rposition(|row| row.kind == Kind::End);
                let (ended, begun) = due.split_at(ended.map_or(0, |last| last + 1));
                ended.iter().try_for_each(|row| sources.show(row, out))?;
                if let Some(heading) = code.heading(address) {
                    writeln!(out, "{heading}")?;
                }
                begun.iter().try_for_each(|row| sources.show(row, out))?;
                writeln!(out, "{line}")?;
            }
            rows.iter().try_for_each(|row| sources.show(row, out))?;
        }
    }
    Ok(())
}

/// Bytes, those of each line of assembly or variable by themselves.
fn show_data(
    code: &Code,
    section: &Section,
    range: &Range<u64>,
    sources: &mut Sources,
    out: &mut impl Write,
) -> Result<()> {
    let rows = code.rows_in(range.clone());
    let symbols = code.symbols.iter().map(|symbol| symbol.range.start);
    let mut starts: Vec<u64> = rows.iter().map(|row| row.address).collect();
    starts.extend(symbols.filter(|start| range.contains(start)));
    starts.push(range.start);
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().copied().skip(1).chain([range.end]);
    for (start, end) in starts.iter().copied().zip(ends) {
        if let Some(heading) = code.heading(start) {
            writeln!(out, "{heading}")?;
        }
        for row in code.rows_in(start..start + 1) {
            sources.show(row, out)?;
        }
        let bytes = section.bytes(&(start..end));
        if bytes.len() > 16 && bytes.iter().all(|byte| *byte == bytes[0]) {
            writeln!(out, "{start:8x}: {:02x}, {} times", bytes[0], bytes.len())?;
            continue;
        }
        for (address, bytes) in (start..).step_by(16).zip(bytes.chunks(16)) {
            let numbers: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(out, "{address:8x}: {}", numbers.join(" "))?;
        }
    }
    Ok(())
}

/// The sources, and what was shown of them last.
#[derive(Default)]
struct Sources {
    files: HashMap<String, Vec<String>>,
    last: Option<(String, usize)>,
}

impl Sources {
    /// Shows the line of a row and the comments above it, or where they are in a file that is not
    /// here. If the line before was in the same file,
    /// shows all that lies between them.
    fn show(&mut self, row: &Row, out: &mut impl Write) -> Result<()> {
        const FAR: usize = 20;

        if row.kind == Kind::End {
            return Ok(());
        }
        let lines = self.files.entry(row.file.clone()).or_insert_with(|| {
            let text = fs::read_to_string(stages::workspace().join(&row.file));
            text.unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect()
        });
        if lines.is_empty() {
            writeln!(out, "; {}:{}", row.file, row.line)?;
            return Ok(());
        }
        let line = |number: usize| lines.get(number - 1).map_or("", |line| line.trim());
        let follows = self.last.as_ref().and_then(|(file, last)| {
            let behind = *last + 1..=last + FAR;
            (*file == row.file && (behind.contains(&row.line) || *last == row.line))
                .then_some(*last)
        });
        let first = match follows {
            Some(last) => last + 1,
            None => {
                writeln!(out, "; {}", row.file)?;
                let is_comment = |number: &usize| line(*number).starts_with("//");
                let comments = (1..row.line).rev().take_while(is_comment);
                row.line - comments.count()
            }
        };
        for number in first..=row.line {
            let shown = format!("; {number:4}  {}", line(number));
            writeln!(out, "{}", shown.trim_end())?;
        }
        self.last = Some((row.file.clone(), row.line));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(rows: &[(u64, &str)]) -> Vec<u8> {
        let row = |(address, text): &(u64, &str)| {
            [&address.to_le_bytes(), text.as_bytes(), b"\0"].concat()
        };
        rows.iter().flat_map(row).collect()
    }

    /// A section of 32 bytes at 1000h with these rows and symbols.
    fn parts(rows: &[(u64, &str)], symbols: &[(Range<u64>, bool)]) -> Vec<(Range<u64>, Content)> {
        let symbol = |(range, is_data): &(Range<u64>, bool)| Symbol {
            range: range.clone(),
            name: "name".into(),
            is_data: *is_data,
        };
        let code = Code {
            rows: read_rows(&section(rows)).unwrap(),
            sections: Vec::new(),
            symbols: symbols.iter().map(symbol).collect(),
        };
        code.parts(&Section {
            name: ".text".into(),
            address: 0x1000,
            bytes: vec![0; 32],
        })
    }

    #[test]
    fn each_part_has_its_mode() {
        use Content::{Assembly, Compiled, Data};

        let rows = [
            (0x1004, "a.rs:1 .code16"),
            (0x1004, "a.rs:2 code"),
            (0x1006, "a.rs:3 code"),
            (0x1008, "a.rs:4 data"),
            (0x100C, "a.rs:5 .code32"),
            (0x100C, "a.rs:6 code"),
            (0x1010, "a.rs:7 .code64"),
            (0x1010, "a.rs:8 code"),
            (0x1012, "a.rs:9 end"),
        ];
        let symbols = [
            (0x1000..0x1004, false),
            (0x1004..0x1012, false),
            (0x1012..0x1018, false),
            (0x1018..0x101C, true),
        ];
        let expected = [
            (0x1000..0x1004, Compiled),
            (0x1004..0x1008, Assembly(16)),
            (0x1008..0x100C, Data),
            (0x100C..0x1010, Assembly(32)),
            (0x1010..0x1012, Assembly(64)),
            (0x1012..0x1018, Compiled),
            (0x1018..0x101C, Data),
            // No symbol: a gap.
            (0x101C..0x1020, Data),
        ];
        assert_eq!(parts(&rows, &symbols), expected);
    }

    /// The linker may put functions into another order, and leaves some out.
    #[test]
    fn the_end_of_a_function_comes_before_the_next_one() {
        let rows = [
            (0x1010, "b.rs:1 .code16"),
            (0x1010, "b.rs:2 code"),
            (0x1020, "b.rs:3 .code64"),
            (0x1020, "b.rs:3 end"),
            (0, "c.rs:1 code"),
            (0, "c.rs:1 end"),
            (0x1000, "a.rs:1 code"),
            (0x1010, "a.rs:2 end"),
        ];
        let expected = [
            (0x1000..0x1010, Content::Assembly(64)),
            (0x1010..0x1020, Content::Assembly(16)),
        ];
        assert_eq!(parts(&rows, &[]), expected);
    }

    #[test]
    fn rows_that_are_not_whole_are_refused() {
        let good = section(&[(0x1000, "a.rs:1 code"), (0x1001, "a.rs:2 end")]);
        assert!(read_rows(&good).is_ok());
        for length in 1..good.len() {
            assert!(read_rows(&good[..length]).is_err(), "{length}");
        }
        for text in ["a.rs:x end", "a.rs end", "a.rs:1 other", "a.rs:1"] {
            assert!(read_rows(&section(&[(1, text)])).is_err(), "{text}");
        }
    }

    #[test]
    fn instructions_are_told_from_other_lines() {
        assert_eq!(address_of("    7c00: eb 58   \tjmp\t0x7c5a"), Some(0x7C00));
        assert_eq!(address_of("    7c00:\teb 58\tjmp"), Some(0x7C00));
        assert_eq!(address_of("0000000000007c00 <start>:"), None);
        assert_eq!(address_of("; /usr/src/main.rs:7"), None);
    }
}
