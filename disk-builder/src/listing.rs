//! Annotated disassemblies.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::stages::{self, Program};
use anyhow::{Context as _, Result, bail, ensure};
use disk_layout::mbr;
use llvm_tools::{Error, LlvmTools, exe};
use object::{Object as _, ObjectSection as _, SectionKind};

/// Builds a program and disassembles it: see [`disassemble`].
///
/// # Errors
/// Those of [`disassemble`], before anything is built, and of [`stages::build_program`].
pub fn print(program: &Program<'_>, first_bits: u8) -> Result<()> {
    objdump()?;
    disassemble(&stages::build_program(program)?, first_bits)
}

/// Disassembles an ELF file to standard output: every instruction with its address, its bytes and,
/// where the file has debug information, the source line that it comes from.
///
/// `first_bits` is the mode that the program is entered in (16 or 64). The loader's `.entry` and
/// `.real_mode` are taken for 16-bit code, sections whose name ends in `16` or `32` (`.text16`) for
/// code of that kind, the others for `first_bits`.
///
/// # Errors
/// When `llvm-objdump` is not installed or fails, or the file cannot be read.
pub fn disassemble(elf: &Path, first_bits: u8) -> Result<()> {
    let objdump = objdump()?;
    let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let file = object::File::parse(bytes.as_slice())
        .with_context(|| format!("{} is not an ELF file", elf.display()))?;
    for section in file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text)
    {
        let name = section.name()?;
        let address = section.address();
        for range in code_in(address, section.data()?) {
            let status = Command::new(&objdump)
                .args(["--disassemble", "--source", "--line-numbers", "--demangle"])
                .args(["--x86-asm-syntax=intel", "--symbolize-operands"])
                .arg(format!("--triple={}", triple(name, first_bits)))
                .arg(format!("--section={name}"))
                .arg(format!("--start-address={:#x}", range.start))
                .arg(format!("--stop-address={:#x}", range.end))
                .arg(elf)
                .stdin(Stdio::null())
                .status()
                .with_context(|| format!("cannot run {}", objdump.display()))?;
            ensure!(status.success(), "llvm-objdump failed: {status}");
        }
    }
    Ok(())
}

/// Leaves out the BPB area of an MBR: taken for instructions, its last byte would swallow the first
/// one behind it. (A CD's boot program has the same address, and code there.)
fn code_in(start: u64, bytes: &[u8]) -> Vec<Range<u64>> {
    let all = start..start + bytes.len() as u64;
    let area = bytes.get(mbr::BPB_AREA);
    if start == u64::from(mbr::LOAD_ADDRESS)
        && area.is_some_and(|area| area.iter().all(|&byte| byte == 0))
    {
        let offset = |offset: usize| start + offset as u64;
        vec![
            start..offset(mbr::BPB_AREA.start),
            offset(mbr::BPB_AREA.end)..all.end,
        ]
    } else {
        vec![all]
    }
}

fn triple(section: &str, first_bits: u8) -> &'static str {
    let bits = match section {
        ".entry" | ".real_mode" => 16,
        name if name.ends_with("16") => 16,
        name if name.ends_with("32") => 32,
        _ => first_bits,
    };
    match bits {
        16 => "i386-unknown-none-code16",
        32 => "i386-unknown-none",
        _ => "x86_64-unknown-none",
    }
}

fn objdump() -> Result<PathBuf> {
    const HOW: &str = "llvm-objdump is missing; get it by `rustup component add llvm-tools`";
    match LlvmTools::new() {
        Ok(tools) => tools.tool(&exe("llvm-objdump")).context(HOW),
        Err(Error::NotFound) => bail!(HOW),
        Err(error) => bail!("{HOW} (while looking for it: {error:?})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bpb_area_is_no_code() {
        let bytes = [0; 0x1B4];
        let mbr = [0x7C00..0x7C03, 0x7C5A..0x7DB4];
        assert_eq!(code_in(0x7C00, &bytes), mbr);
        for (start, bytes) in [
            (0x8000, &bytes[..]),
            (0x7C00, &bytes[..0x10]),
            (0x7C00, &[0xF4; 0x1B4]),
        ] {
            let all = start..start + bytes.len() as u64;
            assert_eq!(code_in(start, bytes), vec![all]);
        }
    }

    #[test]
    fn the_name_of_a_section_tells_its_mode() {
        assert_eq!(triple(".text", 64), "x86_64-unknown-none");
        assert_eq!(triple(".boot", 16), "i386-unknown-none-code16");
        assert_eq!(triple(".text.real16", 64), "i386-unknown-none-code16");
        assert_eq!(triple(".real_mode", 64), "i386-unknown-none-code16");
        assert_eq!(triple(".text32", 64), "i386-unknown-none");
    }
}
