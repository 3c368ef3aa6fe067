//! Step 7: the disk.
//!
//! **On entry**: the memory map. **This step**: what the boot drive can do (INT 13h extensions, else
//! its geometry; [`boot_path::disk::int13`]; of a CD it is known), and its partition table. **On exit**: a
//! [`BlockDevice`] with retries, and the partition that holds the kernel.

use boot_path::disk::block_device::BlockDevice;
use boot_path::disk::int13::Drive;
use boot_path::disk::partition::{self, Partition};
use disk_layout::CD_BLOCK;
use disk_layout::mbr::frame::{WAY_CD, WAY_CHS};

use crate::machine::bios::Machine;
use crate::machine::faults::Failure;
use crate::machine::findings;
use crate::say;

/// The disk that the machine was booted from.
pub type Disk = Drive<Machine>;

/// Finds out about the drive that stage2 was read from.
pub fn open() -> Disk {
    let (drive, _) = findings::drives();
    match findings::way() {
        WAY_CD => Drive::proved(Machine, drive, CD_BLOCK),
        way => {
            let mut disk = of(drive);
            if WAY_CHS.contains(&way) {
                disk.distrust_extensions();
            }
            disk
        }
    }
}

/// Finds out about any drive. One that is not there cannot be read.
pub fn of(drive: u8) -> Disk {
    Drive::open(Machine, drive)
}

/// Reads the partition table and chooses the partition to boot from.
///
/// # Errors
/// 7A to 7D.
pub fn boot_partition(disk: &mut Disk) -> Result<Partition, Failure> {
    let partition = partition::find(disk)?;
    say!(
        " 7 disk     drive ##h by ",
        if disk.by_lba() { "LBA" } else { "CHS" },
        ", # bytes a sector, partition # at LBA #";
        disk.number().into(),
        disk.sector_size() as u64,
        partition.number.into(),
        partition.first_lba
    );
    Ok(partition)
}
