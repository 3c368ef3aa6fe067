//! The disk: what the BIOS reads of it before there are files, and a CD's structures.

use std::fs::File;
use std::io;
use std::rc::Rc;

use anyhow::{Result, bail};
use boot_path::disk::block_device::{BlockDevice, DiskError, DiskFailure};
use boot_path::errors::catalogue;
use boot_path::files::sum;
use boot_path::position::{DiskOffset, Lba};
use disk_layout::cd::{self as layout, SECTORS_PER_BLOCK};
use disk_layout::stage2::{self as stage2_image, MAGIC, MAX_LENGTH, SUM, VERSION};
use disk_layout::{
    MAX_TRANSFER_SECTORS, Mbr, PARTITION_LBA, ParameterBlock, SECTOR_SIZE, Stage2Header, mbr, parts,
};
use zerocopy::FromBytes as _;
use zerocopy::little_endian::U64;

use super::facts::{Cd, Inspection, Part, Sectors, Stage2};
use super::{Problem, failure, say};
use crate::cd;
use crate::host_file::Sparse;
use crate::progress::Progress;

impl Inspection {
    /// Checks stage1 and stage2. Returns the manifest, which is empty if there is none.
    pub(super) fn read_stage2(&mut self, disk: &mut FileDisk, mbr: &Mbr) -> Problem<Vec<u8>> {
        let sum = disk_layout::sum(&mbr.code[mbr::CHECKED]);
        if sum != 0 {
            let facts = format!("its words sum up to {sum:04X}h");
            return Err(failure(&catalogue::STAGE1_DAMAGED, facts));
        }
        let parameters = &mbr.code[mbr::PARAMETER_BLOCK_OFFSET..];
        let parameters = ParameterBlock::read_from_bytes(parameters)
            .map_err(|_| failure(&catalogue::STAGE1_READ, "no parameter block"))?;
        let (lba, sectors) = (parameters.lba.get().into(), parameters.sectors.get().into());
        let most = (MAX_LENGTH / SECTOR_SIZE) as u64;
        let end = u64::from(ParameterBlock::END_LBA);
        if lba == 0 || !(1..=most).contains(&sectors) || lba + sectors > end {
            let facts = format!("the parameter block says LBA {lba}, {sectors} sectors");
            return Err(failure(&catalogue::STAGE1_READ, facts));
        }
        let bytes = disk
            .sectors(Lba::new(lba), sectors as usize)
            .map_err(|error| failure(&catalogue::STAGE1_READ, error.to_string()))?;
        let Some((header, _)) = Stage2Header::ref_from_prefix(&bytes)
            .ok()
            .filter(|(header, _)| header.magic == MAGIC)
        else {
            return Err(failure(&catalogue::STAGE2_SUM, format!("LBA {lba}")));
        };
        let stage2 = Stage2::of(&bytes, header, Sectors::new(Lba::new(lba), sectors));
        let stage2 = self.stage2.insert(stage2);
        if !stage2.verified {
            let facts = match stage2_image::stage1_sum(&bytes) {
                SUM => "the header has another checksum".into(),
                sum => format!("sum {sum:08X}h instead of {SUM:08X}h"),
            };
            let facts = format!("length {}, {facts}", stage2.length);
            return Err(failure(&catalogue::STAGE2_CORRUPT, facts));
        }
        if stage2.version != VERSION {
            let version = stage2.version;
            return Err(format!(
                "stage2's header has version {version}, not {VERSION}"
            ));
        }
        stage2.parts = read_parts(disk, &bytes)?;
        if let Some(part) = stage2.parts.iter().find(|part| !part.verified) {
            let Sectors { lba, sectors } = part.place;
            let facts = format!("{}, LBA {lba} to {}", part.name, lba + sectors - 1);
            return Err(failure(&catalogue::PART_DAMAGED, facts));
        }
        let manifest = stage2_image::manifest(&bytes).unwrap_or_default();
        Ok(manifest.to_vec())
    }

    /// A CD's structures, if the image is one: how its BIOS finds the boot program and that stage2,
    /// and how an operating system finds the boot partition.
    pub(super) fn read_cd(&mut self, disk: &mut FileDisk) -> Problem<()> {
        let before = disk.sector_count().min(PARTITION_LBA.into());
        let bytes = disk
            .sectors(Lba::ZERO, before as usize)
            .map_err(|e| say(&e))?;
        let blocks = cd::Blocks(&bytes);
        if !blocks.is_cd() {
            return Ok(());
        }
        let found = blocks.read()?;
        let cd = self.cd.insert(Cd::of(&found));

        if found.sum != 0 {
            let facts = format!("the words of the CD's program sum up to {:04X}h", found.sum);
            return Err(failure(&catalogue::STAGE1_DAMAGED, facts));
        }
        let parameters = &found.parameters;
        let (block, count) = (parameters.block.get(), parameters.blocks.get());
        let unit = SECTORS_PER_BLOCK as u64;
        if self.stage2.as_ref().is_some_and(|stage2| {
            stage2.place.lba != u64::from(block) * unit
                || stage2.place.sectors.div_ceil(unit) != u64::from(count)
        }) {
            let facts = format!("the CD's program looks at block {block}, for {count} blocks");
            return Err(failure(&catalogue::STAGE1_READ, facts));
        }
        if u64::from(cd.blocks) * SECTORS_PER_BLOCK as u64 > disk.sector_count() {
            return Err(format!(
                "the CD has {} blocks, more than the image",
                cd.blocks
            ));
        }
        if let Some(partition) = &self.partition {
            let mut lba = partition.place.lba;
            for section in &cd.file {
                if section.lba != lba {
                    break;
                }
                lba += section.sectors;
            }
            if lba != partition.place.lba + partition.place.sectors {
                return Err("the file on the CD is not the boot partition".into());
            }
        }
        Ok(())
    }
}

/// Reads all parts of stage2 besides the first.
fn read_parts(disk: &mut FileDisk, first: &[u8]) -> Problem<Vec<Part>> {
    let Some(table) = parts::table(first) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (part, place) in parts::Part::ALL.iter().zip(&table.places) {
        let lba = u64::from(table.lba.get()) + u64::from(place.sector.get());
        let length = place.length.get() as usize;
        if length == 0 {
            continue;
        }
        let name = part.name();
        let unreadable = |facts| failure(&catalogue::PART_READ, format!("{name}, {facts}"));
        if length > MAX_LENGTH {
            return Err(unreadable(format!("LBA {lba}, {length} bytes")));
        }
        let place_on_disk = Sectors::new(Lba::new(lba), length.div_ceil(SECTOR_SIZE) as u64);
        let bytes = disk
            .sectors(Lba::new(lba), place_on_disk.sectors as usize)
            .map_err(|error| unreadable(error.to_string()))?;
        found.push(Part {
            name,
            place: place_on_disk,
            address: place.address.get(),
            verified: sum::of_rounds(bytes[..length].as_chunks().0) == place.sum.map(U64::get),
        });
    }
    Ok(found)
}

impl Stage2 {
    /// stage2 as its header describes it.
    fn of(bytes: &[u8], header: &Stage2Header, place: Sectors) -> Self {
        let is_whole = stage2_image::covered(bytes)
            .is_some_and(|covered| sum::of_rounds(covered) == header.check.map(U64::get));
        Self {
            place,
            length: header.length.get(),
            verified: is_whole && stage2_image::stage1_sum(bytes) == SUM,
            version: header.version.get(),
            road: match header.road {
                0 => "protected",
                1 => "direct",
                _ => "unknown",
            },
            record: header.record != 0,
            parts: Vec::new(),
        }
    }
}

impl Cd {
    fn of(found: &cd::Found) -> Self {
        const UNIT: u64 = SECTORS_PER_BLOCK as u64;
        let lba = |block: u32| Lba::new(u64::from(block) * UNIT);
        let place = |first, last| Sectors::new(lba(first), u64::from(last - first + 1) * UNIT);
        let file = found.file.iter().map(|&(block, bytes)| {
            let sectors = u64::from(bytes).div_ceil(SECTOR_SIZE as u64);
            Sectors::new(lba(block), sectors)
        });
        Self {
            blocks: found.volume,
            descriptors: place(layout::PRIMARY_BLOCK, layout::TERMINATOR_BLOCK),
            catalogue: place(found.catalogue, found.catalogue),
            directories: place(layout::PATH_TABLE_BLOCKS[0], layout::ROOT_BLOCK),
            program: place(found.program, found.program),
            verified: found.sum == 0,
            file: file.collect(),
        }
    }
}

/// An image as the disk that it will be.
pub(super) struct FileDisk {
    image: Sparse,
    pub(super) length: u64,
    buffer: Vec<u8>,
    /// What the host says when it cannot read the file.
    pub(super) failure: Option<io::Error>,
    progress: Rc<dyn Progress>,
}

impl FileDisk {
    pub(super) fn new(image: File, progress: &Rc<dyn Progress>) -> Result<Self> {
        let image = Sparse::new(image);
        let length = image.length()?;
        if length < SECTOR_SIZE as u64 {
            bail!("it is too short for a disk image: {length} bytes");
        }
        Ok(Self {
            image,
            length,
            buffer: Vec::new(),
            failure: None,
            progress: Rc::clone(progress),
        })
    }

    pub(super) fn sectors(&mut self, lba: Lba, count: usize) -> Result<Vec<u8>, DiskError> {
        self.read(lba, count).map(<[u8]>::to_vec)
    }

    /// Reads bytes, which need not be whole sectors.
    pub(super) fn read_bytes(
        &mut self,
        offset: DiskOffset,
        bytes: &mut [u8],
    ) -> Result<(), DiskError> {
        /// The BIOS's number for the first hard disk.
        const DRIVE: u8 = 0x80;
        const SIZE: u64 = SECTOR_SIZE as u64;
        let error = |cause| DiskError {
            cause,
            lba: offset.sector(SECTOR_SIZE),
            drive: DRIVE,
        };
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > DiskOffset::new(self.length / SIZE * SIZE)) {
            return Err(error(DiskFailure::OutOfRange));
        }
        self.progress.advance(bytes.len() as u64);
        self.image
            .read_exact_at(offset.as_u64(), bytes)
            .map_err(|failure| {
                self.failure = Some(failure);
                // INT 13h: uncorrectable error.
                error(DiskFailure::Status(0x10))
            })
    }
}

impl BlockDevice for FileDisk {
    fn sector_size(&self) -> usize {
        SECTOR_SIZE
    }

    fn sector_count(&self) -> u64 {
        self.length / SECTOR_SIZE as u64
    }

    fn max_transfer(&self) -> usize {
        MAX_TRANSFER_SECTORS.into()
    }

    fn read(&mut self, lba: Lba, count: usize) -> Result<&[u8], DiskError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(count * SECTOR_SIZE, 0);
        let read = self.read_bytes(lba.start(SECTOR_SIZE), &mut buffer);
        self.buffer = buffer;
        read.map(|()| self.buffer.as_slice())
    }
}
