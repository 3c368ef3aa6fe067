//! A CD from which the BIOS boots an image as if it were a hard disk: El Torito's emulation.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use anyhow::{Context as _, Result};
use disk_layout::cd::{BOOT_RECORD_BLOCK, CATALOGUE_BLOCK};
use disk_layout::iso9660::{
    BootRecord, DefaultEntry, DescriptorHeader, EL_TORITO, ValidationEntry,
};
use disk_layout::{CD_BLOCK, Mbr};
use zerocopy::{FromBytes as _, FromZeros as _, IntoBytes as _};

use crate::image::Image;

/// [`DefaultEntry::media`]: a hard disk with one partition.
const HARD_DISK: u8 = 4;
/// The block at which the disk begins.
const DISK_BLOCK: u32 = CATALOGUE_BLOCK + 1;

/// Writes such a CD. It has what a BIOS looks for, and no files.
///
/// # Errors
/// When the image cannot be read or the CD cannot be written.
pub fn hard_disk(image: &Image) -> Result<Image> {
    let mbr = image.read(0, size_of::<Mbr>())?;
    let mbr = Mbr::read_from_bytes(&mbr).ok().context("no MBR")?;
    let boot_record = BootRecord {
        header: DescriptorHeader::new(DescriptorHeader::BOOT_RECORD),
        system: EL_TORITO,
        catalogue: CATALOGUE_BLOCK.into(),
        ..BootRecord::new_zeroed()
    };
    let mut validation = ValidationEntry {
        header: 1,
        key: ValidationEntry::KEY,
        ..ValidationEntry::new_zeroed()
    };
    validation.checksum = 0_u16
        .wrapping_sub(disk_layout::sum(validation.as_bytes()))
        .into();
    let entry = DefaultEntry {
        indicator: DefaultEntry::BOOTABLE,
        media: HARD_DISK,
        system: mbr.partitions[0].kind,
        sectors: 1.into(),
        block: DISK_BLOCK.into(),
        ..DefaultEntry::new_zeroed()
    };

    let cd = Image::of(tempfile::tempdir()?);
    let mut file = File::create(cd.path())?;
    let offset = |block: u32| u64::from(block) * CD_BLOCK as u64;
    file.write_all_at(boot_record.as_bytes(), offset(BOOT_RECORD_BLOCK))?;
    let catalogue = [validation.as_bytes(), entry.as_bytes()].concat();
    file.write_all_at(&catalogue, offset(CATALOGUE_BLOCK))?;
    file.seek(SeekFrom::Start(offset(DISK_BLOCK)))?;
    let disk = io::copy(&mut File::open(image.path())?, &mut file)?;
    let end = (offset(DISK_BLOCK) + disk).next_multiple_of(CD_BLOCK as u64);
    file.set_len(end)?;
    Ok(cd)
}
