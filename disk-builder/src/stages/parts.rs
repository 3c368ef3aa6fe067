//! Links stage2 in [parts](disk_layout::parts). The build script includes this file.
//!
//! The compiler makes one object file, in which each function and each constant is a section of its
//! own. A part gets the sections that are reached from its functions, and neither from the first
//! part nor from another one; the first part gets all others. Who is called from another part must
//! be one of these functions, and not by a direct call: it is called by way of its address, once
//! the part is there.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, Result, bail, ensure};
use disk_layout::parts::{ALIGNMENT, Part, START};
use object::elf::{R_X86_64_PLT32, SHF_ALLOC};
use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
    SectionFlags, SectionIndex, SymbolIndex, SymbolKind,
};

use super::program::Program;
use super::toolchain::Toolchain;

/// What the linker script includes: where which section is.
const SCRIPT: &str = "parts.ld";

/// Sections of the compiler whose place the linker script knows. Nothing refers to the first ones.
const ROOTS: [&str; 7] = [
    ".header",
    ".entry",
    ".parts",
    ".switch",
    ".gate",
    ".real_mode",
    ".leave",
];

/// A section, or all sections of the same name.
#[derive(Default)]
struct Section {
    /// What it refers to, and whether it calls that.
    references: BTreeMap<String, bool>,
    /// The path of a function in it.
    function: Option<String>,
}

/// The sections that are loaded, by name.
struct Sections(BTreeMap<String, Section>);

impl Sections {
    fn read(bytes: &[u8]) -> Result<Self> {
        let file = File::parse(bytes)?;
        let mut sections: BTreeMap<String, Section> = BTreeMap::new();
        let loaded = |index: SectionIndex| -> Option<String> {
            let section = file.section_by_index(index).ok()?;
            let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
                return None;
            };
            let name = section.name().ok()?;
            let is_loaded = (sh_flags & SHF_ALLOC).0 != 0 && name != ".eh_frame";
            Some(name.to_owned()).filter(|_| is_loaded)
        };
        let of_symbol = |index: SymbolIndex| file.symbol_by_index(index).ok()?.section_index();
        for section in file.sections() {
            let Some(name) = loaded(section.index()) else {
                continue;
            };
            let references = &mut sections.entry(name).or_default().references;
            for (_, relocation) in section.relocations() {
                let target = match relocation.target() {
                    RelocationTarget::Symbol(symbol) => of_symbol(symbol),
                    RelocationTarget::Section(section) => Some(section),
                    _ => None,
                };
                let RelocationFlags::Elf { r_type } = relocation.flags() else {
                    bail!("a relocation is not one of ELF");
                };
                if let Some(name) = target.and_then(loaded) {
                    *references.entry(name).or_default() |= r_type == R_X86_64_PLT32;
                }
            }
        }
        for symbol in file.symbols() {
            if symbol.kind() == SymbolKind::Text
                && let Some(name) = symbol.section_index().and_then(loaded)
                && let Some(section) = sections.get_mut(&name)
            {
                section.function = Some(path(symbol.name()?));
            }
        }
        Ok(Self(sections))
    }

    /// The section with this function.
    fn function(&self, path: &str) -> Result<&str> {
        let mut sections = self.0.iter();
        let found = sections.find(|(_, section)| section.function.as_deref() == Some(path));
        let (name, _) = found.with_context(|| {
            format!("stage2 has no function {path}, by which one of its parts is entered")
        })?;
        Ok(name)
    }

    /// All sections that some sections reach without those in `not`.
    fn reached<'a>(
        &'a self,
        from: impl IntoIterator<Item = &'a str>,
        not: &BTreeSet<&str>,
    ) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = from.into_iter().collect();
        while let Some(name) = next.pop() {
            if reached.insert(name) {
                let references = self.0[name].references.keys().map(String::as_str);
                next.extend(references.filter(|name| !not.contains(name)));
            }
        }
        reached
    }

    /// The sections of each part but the first, in the order of [`Part::ALL`].
    fn divide(&self) -> Result<Vec<BTreeSet<&str>>> {
        let mut entries = Vec::new();
        for functions in Part::FUNCTIONS {
            let sections = functions.iter().map(|path| self.function(path));
            entries.push(sections.collect::<Result<BTreeSet<_>>>()?);
        }
        let all_entries: BTreeSet<&str> = entries.iter().flatten().copied().collect();
        let is_root = |name: &&str| ROOTS.iter().any(|root| name.starts_with(root));
        let roots = self.0.keys().map(String::as_str).filter(is_root);
        let first = self.reached(roots, &all_entries);
        let reached: Vec<_> = entries
            .iter()
            .map(|entries| self.reached(entries.iter().copied(), &all_entries))
            .collect();
        let mut parts: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); reached.len()];
        for name in self.0.keys().map(String::as_str) {
            let mut reaching = (0..parts.len()).filter(|&part| reached[part].contains(name));
            if let (Some(part), None) = (reaching.next(), reaching.next())
                && !first.contains(name)
            {
                parts[part].insert(name);
            }
        }
        self.check(&parts, &all_entries)?;
        Ok(parts)
    }

    /// Nobody calls a function of another part, or knows anything but the functions by which it is
    /// entered.
    fn check(&self, parts: &[BTreeSet<&str>], entries: &BTreeSet<&str>) -> Result<()> {
        let part_of = |name: &str| parts.iter().position(|sections| sections.contains(name));
        for (from, section) in &self.0 {
            for (to, &is_call) in &section.references {
                let (Some(part), true) = (part_of(to), part_of(from) != part_of(to)) else {
                    continue;
                };
                let name = |name: &str| self.0[name].function.clone().unwrap_or(name.to_owned());
                ensure!(
                    !is_call && entries.contains(to.as_str()),
                    "{} {} {}, which may not be there: it is in the part {} of stage2",
                    name(from),
                    if is_call { "calls" } else { "refers to" },
                    name(to),
                    Part::ALL[part].name()
                );
            }
        }
        Ok(())
    }
}

/// The path of a function in the source, without what it is generic over.
fn path(symbol: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    match name.strip_suffix('>').and_then(|_| name.rsplit_once("::<")) {
        Some((path, _)) => path.to_owned(),
        None => name,
    }
}

/// Says which section is in which part, in the linker's language.
fn script(parts: &[BTreeSet<&str>]) -> String {
    let mut script = format!(". = {START:#X};\n");
    for (part, sections) in Part::ALL.iter().zip(parts) {
        let name = part.name();
        let end = format!("{name}_end");
        let (start, next) = match part.shares() {
            None => (".".to_owned(), ".".to_owned()),
            Some(other) => {
                let other = other.name();
                (
                    format!("ADDR(.{other})"),
                    format!("MAX({other}_end, {end})"),
                )
            }
        };
        // Writing to a string does not fail.
        let _ = writeln!(script, ".{name} ALIGN({start}, {ALIGNMENT}) : {{");
        for section in sections {
            let _ = writeln!(script, "    *(\"{section}\")");
        }
        let _ = writeln!(script, "}} :{name}\n{end} = .;\n. = {next};");
    }
    // The last one is read in whole rounds, too.
    script + &format!(". = ALIGN({ALIGNMENT});\n")
}

/// Where cargo is to put the object file of a program that is linked in parts, next to its programs.
pub fn object_of(program: &Program<'_>, programs: &Path) -> Option<PathBuf> {
    let object = programs.join(program.bin).with_extension("o");
    program.in_parts.then_some(object)
}

/// As [`link`], in a folder next to the object file. Returns the path of the program.
///
/// # Errors
/// Those of `link`.
pub fn link_beside(
    toolchain: &Toolchain,
    workspace: &Path,
    program: &Program<'_>,
    object: &Path,
    first: &[&str],
) -> Result<PathBuf> {
    let linked = object.with_file_name("in-parts").join(program.bin);
    link(toolchain, workspace, program.config, object, first, &linked)?;
    Ok(linked)
}

/// Links stage2, whose object file is `object`, to the ELF file `program`. `first`: more for the
/// linker.
///
/// # Errors
/// When it cannot be divided, or what the linker says.
pub fn link(
    toolchain: &Toolchain,
    workspace: &Path,
    config: &str,
    object: &Path,
    first: &[&str],
    program: &Path,
) -> Result<()> {
    let bytes = fs::read(object);
    let bytes = bytes.with_context(|| format!("cannot read {}", object.display()))?;
    let sections = Sections::read(&bytes)?;
    // Another process may do the same.
    let unique = |name: &str| program.with_file_name(format!("{name}.{}", process::id()));
    let (scripts, new) = (unique("scripts"), unique("new"));
    fs::create_dir_all(&scripts)?;
    fs::write(scripts.join(SCRIPT), script(&sections.divide()?))?;
    let mut search = OsString::from("-L");
    search.push(&scripts);
    // Some parts share memory. The script checks what else could overlap.
    let mut arguments = vec![search, "--no-check-sections".into()];
    arguments.extend(first.iter().map(OsString::from));
    let linked = toolchain.link(workspace, config, object, &arguments, &new);
    fs::remove_dir_all(&scripts)?;
    linked?;
    fs::rename(&new, program)?;
    Ok(())
}
