//! Step 7: the disk that the loader was read from.

use disk_layout::CD_BLOCK;
use disk_layout::mbr::frame::{WAY_CD, WAY_CHS};

use crate::disk::int13::Drive;
use crate::machine::Machine;

/// The disk that the loader was read from. What stage1 read by the extensions needs no
/// questions; only if it read by cylinder, head and sector, the BIOS says what the drive can do
/// ([`int13`](crate::disk::int13)).
#[inline(never)]
pub fn open<'m, M: Machine<'m>>(machine: M) -> Drive<M> {
    let (drive, _) = machine.drives();
    match machine.way() {
        WAY_CD => Drive::proved(machine, drive, CD_BLOCK),
        way if WAY_CHS.contains(&way) => {
            let mut disk = Drive::open(machine, drive);
            disk.prove_sector_size();
            disk.distrust_extensions();
            disk
        }
        _ => Drive::proved_disk(machine, drive),
    }
}
