//! Steps 10 to 12 for another boot sector: chain loading.
//!
//! **On entry**: the entry names a drive, a partition, or both. **This way out**: reads the first
//! sector of the disk or of the partition, and checks its signature. **On exit**: the sector runs at
//! 0000:7C00 in real mode, as if the BIOS or an MBR had started it: DL is the drive; for a partition,
//! DS:SI and DS:BP point to its entry at 0000:07BE, where an MBR that has moved to 0600h has it;
//! interrupt vectors and controllers are the BIOS's, the screen shows 80 × 25 characters, A20 is on.
#![allow(unsafe_code)]

use core::convert::Infallible;

use boot_path::disk::block_device::BlockDevice as _;
use boot_path::errors::text::copy;
use boot_path::memory::layout::TRANSFER_BUFFER;
use boot_path::ways_out::boot_sector::{self, Sector, Target};
use disk_layout::mbr;

use crate::disk::{self, Disk};
use crate::machine::console;
use crate::machine::faults::Failure;
use crate::machine::findings;
use crate::machine::leave::{self, RealMode};
use crate::machine::physical;
use crate::say;

/// Where an MBR that has moved out of the way has the first entry of its table.
const PARTITION_ENTRY: u16 = 0x0600 + mbr::PARTITION_TABLE_OFFSET as u16;

/// The largest sector that disks have; stage2's linker script makes room for it.
const LARGEST: usize = 4096;

/// Starts the boot sector.
///
/// # Errors
/// 12B, 7A.
pub fn start(target: Target) -> Result<Infallible, Failure> {
    findings::step(10);
    let (boot_drive, _) = findings::drives();
    let drive = target.drive.unwrap_or(boot_drive);
    let mut disk = disk::of(drive);
    let mut lba = 0;
    let mut entry = 0;
    if target.partition != 0 {
        let found = boot_sector::find(target.partition, drive, |lba| read(&mut disk, lba))?;
        physical::write(PARTITION_ENTRY.into(), boot_sector::bytes(&found));
        lba = u64::from(found.first_lba.get());
        entry = PARTITION_ENTRY;
    }
    boot_sector::check(&read(&mut disk, lba)?, lba, drive)?;

    findings::step(12);
    say!(
        "12 handoff  to the boot sector at LBA # of drive ##h";
        lba,
        drive.into()
    );
    console::show_cursor();
    let state = RealMode {
        ip: mbr::LOAD_ADDRESS as u16,
        flags: 1 << 9 | 1 << 1, // interrupts are on
        sp: mbr::LOAD_ADDRESS as u16,
        edx: drive.into(),
        esi: entry.into(),
        ebp: entry.into(),
        ..RealMode::default()
    };
    let segment = (TRANSFER_BUFFER.start >> 4) as u16;
    let bytes = disk.sector_size().min(LARGEST);
    // SAFETY: the sector was read to the transfer buffer, and is copied from there.
    unsafe { leave::to_boot_sector(&state, segment, bytes) }
}

/// The first bytes of a sector, all of which is in the transfer buffer then.
fn read(disk: &mut Disk, lba: u64) -> Result<Sector, Failure> {
    let mut sector = [0; 512];
    copy(disk.read(lba, 1)?, &mut sector);
    Ok(sector)
}
