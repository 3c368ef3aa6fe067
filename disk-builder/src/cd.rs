//! What makes an image a CD as well: an ISO 9660 volume with one file, the boot partition, and the
//! El Torito structures that lead to a boot program. Both are written and read back here.

use anyhow::{Result, ensure};
use disk_layout::cd::{
    BOOT_RECORD_BLOCK, CATALOGUE_BLOCK, CHECKED, PARAMETERS_OFFSET, PARTITION_FILE,
    PATH_TABLE_BLOCKS, PRIMARY_BLOCK, PROGRAM_BLOCK, Parameters, ROOT_BLOCK, SECTORS_PER_BLOCK,
    STAGE2_BLOCK, TERMINATOR_BLOCK,
};
use disk_layout::iso9660::{
    self, BootRecord, Both16, Both32, DefaultEntry, DescriptorHeader, DirectoryRecord, EL_TORITO,
    NO_TIME, PARENT, PrimaryVolumeDescriptor, SELF, ValidationEntry,
};
use disk_layout::{CD_BLOCK, PARTITION_LBA, SECTOR_SIZE};
use zerocopy::{FromBytes, FromZeros as _, IntoBytes as _};

use crate::geometry::Geometry;
use crate::stages::Stage1Cd;

/// LBA of stage2, in sectors of 512 bytes.
pub(crate) const STAGE2_LBA: u16 = STAGE2_BLOCK * SECTORS_PER_BLOCK as u16;

/// How many blocks there are from the first descriptor to the boot program.
const BLOCKS: usize = (PROGRAM_BLOCK - PRIMARY_BLOCK) as usize + 1;

/// The most bytes that one record of a directory can describe, in whole blocks.
const MAX_SECTION: u64 = (u32::MAX as usize / CD_BLOCK * CD_BLOCK) as u64;

/// The boot program's length in the boot catalogue. BIOSes load whole blocks anyway, and some never
/// load more than one.
const PROGRAM_SECTORS: u16 = SECTORS_PER_BLOCK as u16;

/// A text padded with blanks.
fn text<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut field = [b' '; LENGTH];
    field[..text.len()].copy_from_slice(text.as_bytes());
    field
}

/// All blocks from the first descriptor on, up to the boot program, which reads so many bytes of
/// stage2.
///
/// # Errors
/// When the partition is larger than a directory of one block can describe.
pub(crate) fn blocks(
    geometry: &Geometry,
    program: &Stage1Cd,
    stage2: usize,
) -> Result<[[u8; CD_BLOCK]; BLOCKS]> {
    let mut blocks = [[0; CD_BLOCK]; BLOCKS];
    let mut put = |block: u32, bytes: &[u8]| {
        blocks[(block - PRIMARY_BLOCK) as usize][..bytes.len()].copy_from_slice(bytes);
    };
    let root = DirectoryRecord::new(ROOT_BLOCK, CD_BLOCK as u32, DirectoryRecord::DIRECTORY, 1);
    let tables = path_tables(ROOT_BLOCK);
    put(
        PRIMARY_BLOCK,
        primary_descriptor(geometry, root, tables[0].len())?.as_bytes(),
    );
    let boot_record = BootRecord {
        header: DescriptorHeader::new(DescriptorHeader::BOOT_RECORD),
        system: EL_TORITO,
        catalogue: CATALOGUE_BLOCK.into(),
        ..BootRecord::new_zeroed()
    };
    put(BOOT_RECORD_BLOCK, boot_record.as_bytes());
    let terminator = DescriptorHeader::new(DescriptorHeader::TERMINATOR);
    put(TERMINATOR_BLOCK, terminator.as_bytes());
    put(CATALOGUE_BLOCK, &catalogue());
    for (block, table) in PATH_TABLE_BLOCKS.into_iter().zip(tables) {
        put(block, &table);
    }
    put(ROOT_BLOCK, &root_directory(geometry, root)?);
    put(PROGRAM_BLOCK, &boot_program(program, stage2)?);
    Ok(blocks)
}

fn primary_descriptor(
    geometry: &Geometry,
    root: DirectoryRecord,
    path_table: usize,
) -> Result<PrimaryVolumeDescriptor> {
    let blocks = u32::try_from(geometry.image_bytes / CD_BLOCK as u64)?;
    Ok(PrimaryVolumeDescriptor {
        header: DescriptorHeader::new(DescriptorHeader::PRIMARY),
        system: text(""),
        volume: text("BOOTPATH"),
        blocks: Both32::new(blocks),
        set_size: Both16::new(1),
        sequence_number: Both16::new(1),
        block_size: Both16::new(CD_BLOCK as u16),
        path_table_length: Both32::new(u32::try_from(path_table)?),
        path_table_little: PATH_TABLE_BLOCKS[0].into(),
        path_table_big: PATH_TABLE_BLOCKS[1].into(),
        root,
        root_name: SELF,
        set: text(""),
        publisher: text(""),
        preparer: text(""),
        application: text("BOOTPATH"),
        files: [text(""); 3],
        times: [NO_TIME; 4],
        structure_version: 1,
        ..PrimaryVolumeDescriptor::new_zeroed()
    })
}

/// The path tables, which name all directories: only the root, which is its own parent. The numbers
/// are little-endian in one table and big-endian in the other.
fn path_tables(root: u32) -> [[u8; 10]; 2] {
    const NAME_LENGTH: u8 = 1;
    const ROOT: u16 = 1;

    let table = |block: [u8; 4], parent: [u8; 2]| {
        let mut table = [0; 10];
        table[0] = NAME_LENGTH;
        table[2..6].copy_from_slice(&block);
        table[6..8].copy_from_slice(&parent);
        table[8..9].copy_from_slice(&SELF);
        table
    };
    [
        table(root.to_le_bytes(), ROOT.to_le_bytes()),
        table(root.to_be_bytes(), ROOT.to_be_bytes()),
    ]
}

/// The root directory: itself, twice, and the boot partition as a file, so that somebody who mounts
/// the CD finds what is on it.
fn root_directory(geometry: &Geometry, root: DirectoryRecord) -> Result<Vec<u8>> {
    let mut directory = Vec::new();
    let mut put = |record: DirectoryRecord, name: &[u8]| {
        let end = directory.len() + usize::from(record.length);
        directory.extend_from_slice(record.as_bytes());
        directory.extend_from_slice(name);
        directory.resize(end, 0);
    };
    put(root, &SELF);
    put(root, &PARENT);
    let mut block = PARTITION_LBA / SECTORS_PER_BLOCK as u32;
    let mut left = u64::from(geometry.partition_sectors) * SECTOR_SIZE as u64;
    while left > 0 {
        let length = left.min(MAX_SECTION);
        left -= length;
        let flags = match left {
            0 => 0,
            _ => DirectoryRecord::NOT_FINAL,
        };
        let name = PARTITION_FILE;
        let record = DirectoryRecord::new(block, u32::try_from(length)?, flags, name.len() as u8);
        put(record, name);
        block += (length / CD_BLOCK as u64) as u32;
    }
    ensure!(
        directory.len() <= CD_BLOCK,
        "the boot partition is too large for a CD"
    );
    Ok(directory)
}

/// The boot catalogue. It names one program for BIOSes, in the block behind it.
fn catalogue() -> [u8; 64] {
    let mut validation = ValidationEntry {
        header: 1,
        platform: 0,
        reserved: 0.into(),
        identifier: *b"BOOTPATH\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        checksum: 0.into(),
        key: ValidationEntry::KEY,
    };
    validation.checksum = 0_u16
        .wrapping_sub(disk_layout::sum(validation.as_bytes()))
        .into();
    let entry = DefaultEntry {
        indicator: DefaultEntry::BOOTABLE,
        sectors: PROGRAM_SECTORS.into(),
        block: PROGRAM_BLOCK.into(),
        ..DefaultEntry::new_zeroed()
    };
    let mut catalogue = [0; 64];
    catalogue[..32].copy_from_slice(validation.as_bytes());
    catalogue[32..].copy_from_slice(entry.as_bytes());
    catalogue
}

/// The boot program with its parameters: it reads so many bytes of stage2.
fn boot_program(program: &Stage1Cd, stage2: usize) -> Result<Vec<u8>> {
    let mut code = program.code.to_vec();
    let mut parameters = Parameters {
        blocks: u16::try_from(stage2.div_ceil(CD_BLOCK))?.into(),
        block: STAGE2_BLOCK.into(),
        adjustment: 0.into(),
    };
    code[PARAMETERS_OFFSET..].copy_from_slice(parameters.as_bytes());
    parameters.adjustment = 0_u16.wrapping_sub(disk_layout::sum(&code[CHECKED])).into();
    code[PARAMETERS_OFFSET..].copy_from_slice(parameters.as_bytes());
    Ok(code)
}

/// A CD's blocks, as an image has them.
pub(crate) struct Blocks<'a>(pub(crate) &'a [u8]);

/// What these blocks say.
pub(crate) struct Found {
    /// Blocks of the volume.
    pub(crate) volume: u32,
    /// Block of the boot catalogue.
    pub(crate) catalogue: u32,
    /// Block of the boot program.
    pub(crate) program: u32,
    /// The sum that should be 0.
    pub(crate) sum: u16,
    /// Its parameters.
    pub(crate) parameters: Parameters,
    /// First block and length in bytes of each section of the file.
    pub(crate) file: Vec<(u32, u32)>,
}

impl Blocks<'_> {
    /// Whether this is a CD at all: there is a volume descriptor.
    pub(crate) fn is_cd(&self) -> bool {
        self.at(PRIMARY_BLOCK, 0, |header: &DescriptorHeader| {
            header.identifier == iso9660::STANDARD_IDENTIFIER
        })
        .is_some()
    }

    /// The structure at this place, if it exists and is valid.
    fn at<T: FromBytes>(
        &self,
        block: u32,
        offset: usize,
        is_right: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let start = (block as usize)
            .checked_mul(CD_BLOCK)?
            .checked_add(offset)?;
        let (structure, _) = T::read_from_prefix(self.0.get(start..)?).ok()?;
        Some(structure).filter(is_right)
    }

    /// Follows the pointers from the descriptors on, as a BIOS and an operating system do.
    ///
    /// # Errors
    /// Names the structure that is missing or wrong.
    pub(crate) fn read(&self) -> Result<Found, String> {
        let wrong = |what: &str| format!("the CD's {what} is wrong");

        let primary = self
            .at(PRIMARY_BLOCK, 0, |primary: &PrimaryVolumeDescriptor| {
                primary.header == DescriptorHeader::new(DescriptorHeader::PRIMARY)
                    && primary.block_size == Both16::new(CD_BLOCK as u16)
                    && primary.blocks == Both32::new(primary.blocks.little.get())
            })
            .ok_or_else(|| wrong("primary volume descriptor"))?;
        self.at(TERMINATOR_BLOCK, 0, |header: &DescriptorHeader| {
            *header == DescriptorHeader::new(DescriptorHeader::TERMINATOR)
        })
        .ok_or_else(|| wrong("last volume descriptor"))?;
        let boot = self
            .at(BOOT_RECORD_BLOCK, 0, |boot: &BootRecord| {
                boot.header == DescriptorHeader::new(DescriptorHeader::BOOT_RECORD)
                    && boot.system == EL_TORITO
            })
            .ok_or_else(|| wrong("boot record"))?;

        let catalogue = boot.catalogue.get();
        self.at(catalogue, 0, |validation: &ValidationEntry| {
            validation.header == 1
                && validation.platform == 0
                && validation.key == ValidationEntry::KEY
                && disk_layout::sum(validation.as_bytes()) == 0
        })
        .ok_or_else(|| wrong("boot catalogue"))?;
        let behind = size_of::<ValidationEntry>();
        let entry = self
            .at(catalogue, behind, |entry: &DefaultEntry| {
                entry.indicator == DefaultEntry::BOOTABLE
                    && entry.media == 0
                    && matches!(entry.segment.get(), 0 | 0x7C0)
                    && entry.sectors.get() == PROGRAM_SECTORS
            })
            .ok_or_else(|| wrong("entry in the boot catalogue"))?;

        let program = entry.block.get();
        let code: [u8; CD_BLOCK] = self
            .at(program, 0, |_| true)
            .ok_or_else(|| wrong("entry in the boot catalogue"))?;
        let (parameters, _) = Parameters::read_from_prefix(&code[PARAMETERS_OFFSET..])
            .map_err(|_| wrong("boot program"))?;
        Ok(Found {
            volume: primary.blocks.little.get(),
            catalogue,
            program,
            sum: disk_layout::sum(&code[CHECKED]),
            parameters,
            file: self.file(&primary).ok_or_else(|| wrong("root directory"))?,
        })
    }

    /// The sections of the one file: first block, and length in bytes.
    fn file(&self, primary: &PrimaryVolumeDescriptor) -> Option<Vec<(u32, u32)>> {
        let root = primary.root.extent.little.get();
        let tables = [
            primary.path_table_little.get(),
            primary.path_table_big.get(),
        ];
        for (block, table) in tables.into_iter().zip(path_tables(root)) {
            self.at(block, 0, |found: &[u8; 10]| *found == table)?;
        }
        let itself = |record: &DirectoryRecord| *record == primary.root;
        self.at(root, 0, itself)?;
        let record = usize::from(primary.root.length);
        self.at(root, record, itself)?;

        let mut sections = Vec::new();
        let mut offset = 2 * record;
        loop {
            let name = offset + size_of::<DirectoryRecord>();
            self.at(root, name, |name: &[u8; 14]| name == PARTITION_FILE)?;
            let section = self.at(root, offset, |section: &DirectoryRecord| {
                usize::from(section.length) == DirectoryRecord::length(PARTITION_FILE.len())
            })?;
            sections.push((
                section.extent.little.get(),
                section.data_length.little.get(),
            ));
            match section.flags {
                DirectoryRecord::NOT_FINAL => offset += usize::from(section.length),
                0 => return Some(sections),
                _ => return None,
            }
        }
    }
}
