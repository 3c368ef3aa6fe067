//! `bootpath.elf`: the loader as a program for Multiboot loaders, with stage2 in it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use disk_layout::Road;
use disk_layout::multiboot::{LOAD_ADDRESS, MAX_CODE, Parameters, SAVED, SAVED_BYTES};
use object::elf::{
    ELFCLASS32, ELFDATA2LSB, ELFMAG, ELFOSABI_NONE, EM_386, ET_EXEC, EV_CURRENT, FileFlags,
    FileHeader32, Ident, PF_R, PF_W, PF_X, PT_LOAD, ProgramHeader32, SymbolSection,
};
use object::{LittleEndian, U16, U32, pod};
use serde::Serialize;
use zerocopy::FromBytes as _;

use crate::manifest::crc32c;
use crate::output::{Content, Output};
use crate::stages::{ElfFile, Stage2};

/// Where the bytes of the only segment begin in the file.
const OFFSET: usize = 0x1000;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The program.
    pub program: PathBuf,
    /// Its length in bytes.
    pub bytes: usize,
    /// CRC-32C of all of it.
    pub crc32c: u32,
    /// Bytes of stage2 in it.
    pub stage2_bytes: usize,
}

/// Writes the program. `way_in` and `stage2` are the ELF files of
/// `stage1-multiboot` and `stage2`. `force`: a file that is there already is replaced, whatever it is.
///
/// # Errors
/// When one of the files is not what it should be, or the program cannot be written.
pub fn build(
    way_in: &ElfFile,
    stage2: &ElfFile,
    road: Road,
    output: &Path,
    force: bool,
) -> Result<Built> {
    let path = output;
    let inputs = [way_in, stage2].into_iter().filter_map(ElfFile::path);
    let inputs = inputs.map(Path::to_owned).collect();
    let output = Output::new(output, Content::MultibootProgram, force, inputs)?;
    let mut stage2 = Stage2::read(stage2, (road, false), None, 0)?;
    stage2.seal(&[]);
    let memory = stage2.in_memory();
    let mut segment = way_in.flatten(LOAD_ADDRESS, MAX_CODE)?;
    let (_, parameters) = Parameters::mut_from_suffix(&mut segment)
        .ok()
        .with_context(|| format!("{way_in} is empty"))?;
    parameters.stage2_bytes = u32::try_from(memory.len())?.into();
    let entry = way_in.entry()?;
    segment.extend(memory);

    let header = file_header(entry);
    let program_header = program_header(u32::try_from(segment.len())?);
    let mut file = [pod::bytes_of(&header), pod::bytes_of(&program_header)].concat();
    file.resize(OFFSET, 0);
    file.extend(segment);
    output.write_bytes(&file)?;
    Ok(Built {
        program: path.to_owned(),
        bytes: file.len(),
        crc32c: crc32c(0, &file),
        stage2_bytes: stage2.used,
    })
}

/// Says where the program begins, and that the only program header is next.
fn file_header(entry: u32) -> FileHeader32<LittleEndian> {
    let e = LittleEndian;
    let header_size = size_of::<FileHeader32<LittleEndian>>() as u16;
    FileHeader32 {
        e_ident: Ident {
            magic: ELFMAG,
            class: ELFCLASS32,
            data: ELFDATA2LSB,
            version: EV_CURRENT,
            os_abi: ELFOSABI_NONE,
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: U16::new(e, ET_EXEC),
        e_machine: U16::new(e, EM_386),
        e_version: U32::new(e, EV_CURRENT.0.into()),
        e_entry: U32::new(e, entry),
        e_phoff: U32::new(e, header_size.into()),
        e_shoff: U32::new(e, 0),
        e_flags: U32::new(e, FileFlags::default()),
        e_ehsize: U16::new(e, header_size),
        e_phentsize: U16::new(e, size_of::<ProgramHeader32<LittleEndian>>() as u16),
        e_phnum: U16::new(e, 1),
        e_shentsize: U16::new(e, 0),
        e_shnum: U16::new(e, 0),
        e_shstrndx: U16::new(e, SymbolSection::default()),
    }
}

/// The header of a segment with so many bytes in the file. Its memory also holds what the way in
/// saves.
fn program_header(length: u32) -> ProgramHeader32<LittleEndian> {
    let e = LittleEndian;
    ProgramHeader32 {
        p_type: U32::new(e, PT_LOAD),
        p_offset: U32::new(e, OFFSET as u32),
        p_vaddr: U32::new(e, LOAD_ADDRESS),
        p_paddr: U32::new(e, LOAD_ADDRESS),
        p_filesz: U32::new(e, length),
        p_memsz: U32::new(e, SAVED + SAVED_BYTES - LOAD_ADDRESS),
        p_flags: U32::new(e, PF_R | PF_W | PF_X),
        p_align: U32::new(e, OFFSET as u32),
    }
}
