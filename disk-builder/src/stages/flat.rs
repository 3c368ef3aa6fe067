//! The programs of the loader as flat binaries, with their parameters and checksums.

use anyhow::{Context as _, Result, bail, ensure};
use boot_path::files::sum;
use disk_layout::parts::{self, Part};
use disk_layout::stage2::{MAGIC, MAX_LENGTH, SUMMED, VERSION};
use disk_layout::{ParameterBlock, Road, SECTOR_SIZE, Stage2Header, cd, manifest, mbr, stage2};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::ElfFile;

/// Where the parts lie that are not always there.
const PARTS: u64 = parts::START as u64;

/// stage1, ready for the MBR.
pub(crate) struct Stage1 {
    /// The first 440 bytes of the disk, except for the numbers in the BPB area and the parameter
    /// block.
    pub(crate) code: [u8; mbr::CODE_END],
    /// Bytes in use, the BPB area and the parameter block included.
    pub(crate) used: usize,
}

impl Stage1 {
    /// Flattens an ELF file and checks that it leaves the parameter block and, but for its
    /// message, the BPB area free.
    pub(crate) fn read(file: &ElfFile) -> Result<Self> {
        let flat = file.flatten(mbr::LOAD_ADDRESS, mbr::CODE_END)?;
        let mut code = [0; mbr::CODE_END];
        code[..flat.len()].copy_from_slice(&flat);
        let is_free = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0);
        let (body, parameters) = code.split_at(mbr::PARAMETER_BLOCK_OFFSET);
        ensure!(
            is_free(&body[mbr::BPB_AREA.start..mbr::MESSAGE.start])
                && is_free(&body[mbr::MESSAGE.end..mbr::BPB_AREA.end]),
            "{}: stage1 has bytes in the BPB area ({:#x} to {:#x}), which BIOSes overwrite",
            file,
            mbr::BPB_AREA.start,
            mbr::BPB_AREA.end - 1
        );
        ensure!(
            is_free(parameters),
            "{}: stage1 has code in its parameter block (at {:#x})",
            file,
            mbr::PARAMETER_BLOCK_OFFSET
        );
        let end = body
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        ensure!(end > 0, "{}: stage1 is empty", file);
        Ok(Self {
            code,
            used: end + size_of::<ParameterBlock>(),
        })
    }
}

/// The boot program of a CD.
pub(crate) struct Stage1Cd {
    /// The part that is used, except for the parameters.
    pub(crate) code: [u8; cd::CODE_END],
    /// Bytes in use, the parameters included.
    pub(crate) used: usize,
}

impl Stage1Cd {
    /// Flattens an ELF file and checks that it keeps clear of its parameters.
    pub(crate) fn read(file: &ElfFile) -> Result<Self> {
        let flat = file.flatten(mbr::LOAD_ADDRESS, cd::CODE_END)?;
        let mut code = [0; cd::CODE_END];
        code[..flat.len()].copy_from_slice(&flat);
        let (body, parameters) = code.split_at(cd::PARAMETERS_OFFSET);
        ensure!(
            parameters.iter().all(|&byte| byte == 0),
            "{}: the CD's boot program has code in its parameters (at {:#x})",
            file,
            cd::PARAMETERS_OFFSET
        );
        let end = body.iter().rposition(|&byte| byte != 0);
        let end = end.with_context(|| format!("{}: it is empty", file))?;
        Ok(Self {
            code,
            used: end + 1 + size_of::<cd::Parameters>(),
        })
    }
}

/// stage2, ready for the disk.
pub(crate) struct Stage2 {
    /// Whole sectors, with the header filled once they are [sealed](Self::seal): the first part, and
    /// behind it the others.
    pub(crate) bytes: Vec<u8>,
    /// Bytes in use of the first part.
    pub(crate) used: usize,
    /// Bytes of the first part, whole sectors.
    pub(crate) first: usize,
    /// Where the other parts are.
    places: Vec<parts::Place>,
    /// Where the manifest goes; 0: there is none.
    manifest: usize,
}

impl Stage2 {
    /// Flattens an ELF file, with room behind its first part for a manifest of so many bytes. `lba`: where
    /// it will be on the disk, in sectors of 512 bytes.
    pub(crate) fn read(
        file: &ElfFile,
        (road, record): (Road, bool),
        manifest: Option<usize>,
        lba: u32,
    ) -> Result<Self> {
        let mut segments = file.segments(MAX_LENGTH)?;
        let others = segments.split_off(segments.partition_point(|&(start, _)| start < PARTS));
        ensure!(
            [0, Part::ALL.len()].contains(&others.len()),
            "{file} has {} parts besides the first, and not {}",
            others.len(),
            Part::ALL.len()
        );
        let mut bytes = file.flatten_some(stage2::LOAD_ADDRESS, MAX_LENGTH, &segments)?;
        let mut start = 0;
        if let Some(length) = manifest {
            start = bytes.len().next_multiple_of(manifest::ALIGNMENT);
            bytes.resize(start + length, 0);
        }
        let used = bytes.len();
        ensure!(
            used <= MAX_LENGTH,
            "{} has no room for the manifest: more than {MAX_LENGTH} bytes",
            file
        );
        bytes.resize(used.next_multiple_of(SECTOR_SIZE).max(SUMMED), 0);
        let first = bytes.len();
        let Some((header, _)) = Stage2Header::mut_from_prefix(&mut bytes)
            .ok()
            .filter(|(header, _)| header.magic == MAGIC)
        else {
            bail!("{}: stage2 does not begin with its header", file);
        };
        *header = Stage2Header {
            magic: MAGIC,
            length: u32::try_from(first)?.into(),
            version: VERSION.into(),
            road: road as u8,
            record: record.into(),
            manifest: u32::try_from(start)?.into(),
            ..Stage2Header::new_zeroed()
        };
        let places = append(&mut bytes, &others, lba)?;
        Ok(Self {
            bytes,
            used,
            first,
            places,
            manifest: start,
        })
    }

    /// Puts the manifest into its room, and the checksums into the header.
    pub(crate) fn seal(&mut self, manifest: &[u8]) {
        let bytes = &mut self.bytes;
        bytes[self.manifest..][..manifest.len()].copy_from_slice(manifest);
        let sums = sum::of_rounds(stage2::covered(bytes).expect("the length is right"));
        let offset = core::mem::offset_of!(Stage2Header, check);
        bytes[offset..][..size_of_val(&sums)].copy_from_slice(sums.map(U64::new).as_bytes());
        let sum = stage2::header_sum(bytes);
        let offset = core::mem::offset_of!(Stage2Header, sum);
        bytes[offset..][..size_of_val(&sum)].copy_from_slice(&sum.to_le_bytes());
    }

    /// How many sectors stage1 reads.
    pub(crate) fn sectors(&self) -> usize {
        self.first / SECTOR_SIZE
    }

    /// What it looks like in memory, from [`stage2::LOAD_ADDRESS`] on, with all parts.
    pub(crate) fn in_memory(&self) -> Vec<u8> {
        let mut memory = self.bytes[..self.first].to_vec();
        for place in &self.places {
            let part = parts::bytes(&self.bytes, place).expect("it was put there");
            let start = (place.address.get() - stage2::LOAD_ADDRESS) as usize;
            memory.resize(memory.len().max(start + part.len()), 0);
            memory[start..][..part.len()].copy_from_slice(part);
        }
        memory
    }
}

/// Puts parts behind the first one, and their places and sums into its table. Returns these.
fn append(bytes: &mut Vec<u8>, others: &[(u64, Vec<u8>)], lba: u32) -> Result<Vec<parts::Place>> {
    let mut table = parts::Table {
        lba: lba.into(),
        ..parts::Table::EMPTY
    };
    for (place, (address, part)) in table.places.iter_mut().zip(others) {
        bytes.resize(bytes.len().next_multiple_of(SECTOR_SIZE), 0);
        let start = bytes.len();
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(parts::ALIGNMENT), 0);
        let (rounds, _) = bytes[start..].as_chunks();
        *place = parts::Place {
            sector: u32::try_from(start / SECTOR_SIZE)?.into(),
            length: u32::try_from(bytes.len() - start)?.into(),
            address: u32::try_from(*address)?.into(),
            reserved: 0.into(),
            sum: sum::of_rounds(rounds).map(U64::new),
        };
    }
    bytes.resize(bytes.len().next_multiple_of(SECTOR_SIZE), 0);
    bytes[parts::TABLE_OFFSET..][..size_of_val(&table)].copy_from_slice(table.as_bytes());
    Ok(table.places[..others.len()].to_vec())
}
