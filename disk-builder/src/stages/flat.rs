//! The programs of the loader as flat binaries, with their parameters and checksums.

use anyhow::{Context as _, Result, bail, ensure};
use boot_path::files::sum;
use disk_layout::stage2::{MAGIC, MAX_LENGTH, SUMMED, VERSION};
use disk_layout::{ParameterBlock, Road, SECTOR_SIZE, Stage2Header, cd, manifest, mbr, stage2};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use super::ElfFile;

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
    /// Whole sectors, with the header filled once they are [sealed](Self::seal).
    pub(crate) bytes: Vec<u8>,
    /// Bytes in use.
    pub(crate) used: usize,
    /// Where the manifest goes; 0: there is none.
    manifest: usize,
}

impl Stage2 {
    /// Flattens an ELF file, with room behind it for a manifest of so many bytes.
    pub(crate) fn read(
        file: &ElfFile,
        (road, record): (Road, bool),
        manifest: Option<usize>,
    ) -> Result<Self> {
        let mut bytes = file.flatten(stage2::LOAD_ADDRESS, MAX_LENGTH)?;
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
        let length = u32::try_from(bytes.len())?;
        let Some((header, _)) = Stage2Header::mut_from_prefix(&mut bytes)
            .ok()
            .filter(|(header, _)| header.magic == MAGIC)
        else {
            bail!("{}: stage2 does not begin with its header", file);
        };
        *header = Stage2Header {
            magic: MAGIC,
            length: length.into(),
            version: VERSION.into(),
            road: road as u8,
            record: record.into(),
            manifest: u32::try_from(start)?.into(),
            ..Stage2Header::new_zeroed()
        };
        Ok(Self {
            bytes,
            used,
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

    pub(crate) fn sectors(&self) -> usize {
        self.bytes.len() / SECTOR_SIZE
    }
}
