//! Steps 10 to 12 for another boot sector: chain loading.
//!
//! **On entry**: the entry names a drive, a partition, or both. **This way out**: reads the first
//! sector of the disk or of the partition, and checks its signature. **On exit**: all is ready for
//! the jump. The sector runs at 0000:7C00 in real mode, as if the BIOS or an MBR had started it. DL
//! is the drive. For a partition, DS:SI and DS:BP point to its entry at 0000:07BE, where an MBR
//! that has moved to 0600h has it. Interrupt vectors and controllers are the BIOS's, the screen
//! shows 80 × 25 characters, A20 is on.

use core::fmt;

use disk_layout::mbr;

use crate::disk::block_device::{BlockDevice as _, DiskError};
use crate::disk::int13::Drive;
use crate::entry::target::Target;
use crate::errors::text::{Texts, copy};
use crate::position::Lba;
use crate::say;
use crate::ways_out::chain::boot_sector::{self, Sector};
use crate::ways_out::failure::OutMachine;
use crate::ways_out::handover::{Handover, Jump, RealMode};

/// Where an MBR that has moved to 0600h has the first entry of its table.
pub const PARTITION_ENTRY: u16 = 0x0600 + mbr::PARTITION_TABLE_OFFSET as u16;

/// The largest sector size of disks; stage2's linker script makes room for it.
const LARGEST: usize = 4096;

/// Reads the boot sector, and prepares everything for it. An error is preceded by a line with the path
/// of the file that names the sector, unless this is empty.
///
/// # Errors
/// 12B, 7A, 7B.
#[inline(never)]
pub fn boot<'m, M: OutMachine<'m>>(
    machine: M,
    target: Target,
    path: &str,
) -> Result<Handover<'m>, M::Failure> {
    let booted = prepare(machine, target);
    if booted.is_err() && !path.is_empty() {
        machine.print(&ChainLine(target, path));
    }
    booted
}

/// The line about a boot sector that cannot be started: which file names it.
struct ChainLine<'a>(Target, &'a str);

impl fmt::Display for ChainLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(target, path) = self;
        Texts(&[" 9 entry    ", path, ": chain "]).fmt(f)?;
        target.fmt(f)
    }
}

fn prepare<'m, M: OutMachine<'m>>(machine: M, target: Target) -> Result<Handover<'m>, M::Failure> {
    machine.step(10);
    let (boot_drive, _) = machine.drives();
    let drive = target.drive.unwrap_or(boot_drive);
    // A drive that does not exist fails when it is read.
    let mut disk = Drive::open(machine, drive);
    let mut lba = Lba::ZERO;
    let mut partition = None;
    if target.partition != 0 {
        let found = boot_sector::find(target.partition, drive, |lba| {
            Ok::<_, M::Failure>(read(&mut disk, lba)?)
        })?;
        lba = Lba::new(found.first_lba.get().into());
        partition = Some(boot_sector::bytes(&found));
    }
    boot_sector::check(&read(&mut disk, lba)?, lba, drive)?;

    machine.step(12);
    say!(
        machine,
        "12 handoff  to the boot sector at LBA # of drive ##h";
        lba.as_u64(),
        drive.into()
    );
    machine.show_cursor();
    let entry = partition.map_or(0, |_| PARTITION_ENTRY);
    Ok(Handover::from(Jump::BootSector {
        state: RealMode {
            ip: mbr::LOAD_ADDRESS as u16,
            flags: 1 << 9 | 1 << 1, // interrupts are on
            sp: mbr::LOAD_ADDRESS as u16,
            edx: drive.into(),
            esi: entry.into(),
            ebp: entry.into(),
            ..RealMode::default()
        },
        bytes: disk.sector_size().min(LARGEST),
        partition,
    }))
}

/// Reads a sector and returns its first bytes. The whole sector then is in the transfer buffer.
fn read<'m, M: OutMachine<'m>>(disk: &mut Drive<M>, lba: Lba) -> Result<Sector, DiskError> {
    let mut sector = [0; 512];
    copy(disk.read(lba, 1)?, &mut sector);
    Ok(sector)
}
