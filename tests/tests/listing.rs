//! `disk-builder listing` decodes every instruction of assembly in the mode that it runs in, and shows
//! the line that it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context as _, Result, ensure};
use disk_builder::listing::{Code, Disassembler, Kind, disassemble};
use disk_builder::stages::{self, KERNEL, STAGE1, STAGE1_CD, STAGE1_MULTIBOOT, STAGE2, workspace};
use object::elf::SHF_ALLOC;
use object::{Object as _, ObjectSection as _, SectionFlags};

const PROGRAMS: [stages::Program<'static>; 5] =
    [STAGE1, STAGE1_CD, STAGE1_MULTIBOOT, STAGE2, KERNEL];

/// The sources of a package: their names, relative to the workspace, and texts.
fn sources(package: &str) -> Result<Vec<(String, String)>> {
    let mut sources = Vec::new();
    let mut folders = vec![format!("{package}/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(workspace().join(&folder))? {
            let path = entry?.path();
            let name = path.file_name().context("no name")?.display().to_string();
            let name = format!("{folder}/{name}");
            if path.is_dir() {
                folders.push(name);
            } else {
                sources.push((name, fs::read_to_string(&path)?));
            }
        }
    }
    Ok(sources)
}

/// The programs have all changes of mode in the sources, and no others.
#[test]
fn each_change_of_the_mode_is_known() -> Result<()> {
    let mut known = BTreeSet::new();
    for program in &PROGRAMS {
        let elf = fs::read(stages::build_program(program)?)?;
        for row in Code::read(&elf)?.rows {
            if let Kind::Mode(bits) = row.kind {
                known.insert((row.file, row.line, bits));
            }
        }
    }

    let mut written = BTreeSet::new();
    for (file, text) in ["stage1", "stage2", "kernel", "handoff"]
        .map(sources)
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .concat()
    {
        ensure!(
            !text.contains("core::arch::naked_asm"),
            "{file}: naked_asm! of the package asm-lines tells the listing what it makes"
        );
        for (number, line) in (1..).zip(text.lines()) {
            for bits in [16, 32, 64] {
                if line.contains(&format!("\".code{bits}")) {
                    written.insert((file.clone(), number, bits));
                }
            }
        }
    }
    ensure!(known.len() > 40, "{known:?}");
    let differences: Vec<_> = known.symmetric_difference(&written).collect();
    ensure!(differences.is_empty(), "{differences:#?}");
    Ok(())
}

/// The rows are in the file but not in memory, so they cost the machine nothing.
#[test]
fn rows_are_not_loaded() -> Result<()> {
    for program in &PROGRAMS {
        let elf = fs::read(stages::build_program(program)?)?;
        let elf = object::File::parse(elf.as_slice())?;
        let sections = elf.sections().filter(|it| it.name() == Ok(".asm_lines"));
        let loaded = sections.map(|section| match section.flags() {
            SectionFlags::Elf { sh_flags, .. } => sh_flags.contains(SHF_ALLOC),
            _ => true,
        });
        ensure!(loaded.collect::<Vec<_>>() == [false], "{}", program.bin);
    }
    Ok(())
}

/// The instructions of a listing: text by address.
fn instructions(listing: &str) -> BTreeMap<u64, &str> {
    let lines = listing.lines().filter(|line| !line.starts_with(';'));
    lines
        .filter_map(|line| {
            let (address, rest) = line.split_once(':')?;
            let address = u64::from_str_radix(address.trim_start(), 16).ok()?;
            let (_bytes, instruction) = rest.trim_start().split_once('\t')?;
            Some((address, instruction))
        })
        .collect()
}

/// The instruction that a line of assembly spells out, if there is one.
fn instruction(source: &str) -> Option<&str> {
    let text = source.trim().strip_prefix('"')?.split('"').next()?;
    let is_instruction = text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with(':');
    is_instruction.then_some(text)
}

/// Names of instructions in the sources, and the names that disassemblers give them.
const NAMES: [(&str, &[&str]); 26] = [
    ("call", &["calld"]),
    ("cwd", &["cdq"]),
    ("jc", &["jb"]),
    ("jnc", &["jae"]),
    ("jnz", &["jne"]),
    ("jz", &["je"]),
    ("lgdt", &["lgdtd", "lgdtw"]),
    ("lidt", &["lidtd", "lidtw"]),
    ("ljmp", &["jmp"]),
    ("lodsb", &["lods"]),
    ("lodsd", &["lods"]),
    ("lodsw", &["lods"]),
    ("loopnz", &["loopne"]),
    ("loopz", &["loope"]),
    ("mov", &["movabs"]),
    ("movsb", &["movs"]),
    ("movsd", &["movs"]),
    ("popa", &["popaw"]),
    ("popfq", &["popf"]),
    ("pusha", &["pushaw"]),
    ("pushad", &["pushal"]),
    ("pushfq", &["pushf"]),
    ("ret", &["retd"]),
    ("stosb", &["stos"]),
    ("stosd", &["stos"]),
    ("stosq", &["stos"]),
];

/// Whether the decoded instruction is the written one.
fn is(decoded: &str, written: &str) -> bool {
    let (decoded, written) = (operation(decoded), operation(written));
    let names = NAMES.iter().find(|(name, _)| *name == written.1);
    let names = names.map_or(&[][..], |(_, names)| names);
    decoded.0 == written.0 && (decoded.1 == written.1 || names.contains(&decoded.1))
}

/// The operation of an instruction, and whether it is repeated.
fn operation(text: &str) -> (bool, &str) {
    let mut words = text.split_ascii_whitespace();
    let mut is_repeated = false;
    loop {
        match words.next() {
            Some("rep" | "repe" | "repne" | "repz" | "repnz") => is_repeated = true,
            operation => return (is_repeated, operation.unwrap_or_default()),
        }
    }
}

/// Each line of assembly begins with an instruction of the listing, and with the one that is
/// written there. In a wrong mode, neither would hold for long.
#[test]
fn each_line_is_decoded_as_it_is_written() -> Result<()> {
    let disassemblers = Disassembler::all();
    ensure!(!disassemblers.is_empty(), "{:?}", Disassembler::find());
    let sources = ["stage1", "stage2", "kernel"].map(sources);
    let sources: BTreeMap<_, _> = sources
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .concat()
        .into_iter()
        .collect();
    let (mut wrong, mut seen) = (BTreeSet::new(), 0);
    for program in &PROGRAMS {
        let elf = stages::build_program(program)?;
        let rows = Code::read(&fs::read(&elf)?)?.rows;
        for disassembler in &disassemblers {
            let mut listing = Vec::new();
            disassemble(&elf, disassembler, &mut listing)?;
            let listing = String::from_utf8(listing)?;
            let instructions = instructions(&listing);
            for row in &rows {
                let source = sources.get(&row.file).context("no source")?;
                let source = source.lines().nth(row.line - 1).context("no line")?;
                let shown = format!("; {:4}  {}", row.line, source.trim());
                if matches!(row.kind, Kind::Code | Kind::Data)
                    && !listing.contains(shown.trim_end())
                {
                    wrong.insert(format!("{disassembler:?} {shown} is not in the listing"));
                }
                let (Kind::Code, Some(written)) = (row.kind, instruction(source)) else {
                    continue;
                };
                seen += 1;
                let decoded = instructions.get(&row.address).copied();
                if !decoded.is_some_and(|decoded| is(decoded, written)) {
                    wrong.insert(format!("{} {written:?} {decoded:?}", row.file));
                }
            }
        }
    }
    ensure!(seen > 1000, "{seen} lines");
    ensure!(wrong.is_empty(), "{wrong:#?}");
    Ok(())
}
