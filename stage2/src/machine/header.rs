//! The parts of the image that `disk-builder` fills in: the header at its start, the manifest at
//! its end.

use core::cell::Cell;
use core::mem::{MaybeUninit, offset_of};

use boot_path::errors::text::copy;
use boot_path::memory::layout::STAGE2;
use disk_layout::manifest;
use disk_layout::parts::{LBA_OFFSET, Part, Place, Table};
use disk_layout::stage2::{MAGIC, Stage2Header, VERSION};
use zerocopy::little_endian::{U16, U32, U64};

use crate::machine::physical;
use crate::machine::variables::{OneThread, placed};

placed! {
    /// The first bytes of the image; `disk-builder` fills in length, road and sums.
    #[used]
    in ".header"
    pub static HEADER: Stage2Header = Stage2Header {
        magic: MAGIC,
        sum: U32::ZERO,
        length: U32::ZERO,
        manifest: U32::ZERO,
        version: U16::new(VERSION),
        road: 0,
        record: 0,
        error: [0; 4],
        check: [U64::ZERO; 2],
    };

    /// Where the parts are; `disk-builder` fills it in.
    #[used]
    in ".parts"
    static PARTS: Table = Table::EMPTY;

    /// Room behind the image, where `disk-builder` puts its facts about the files: see
    /// [`manifest`].
    #[used]
    in ".bss.manifest"
    static MANIFEST: OneThread<Cell<MaybeUninit<[u8; manifest::MAX_LENGTH]>>> =
        OneThread::new(Cell::new(MaybeUninit::uninit()));
}

// The bytes in memory may differ from those the compiler has seen: they are read by their address.

/// Was the image built to be recorded?
pub fn recorded() -> bool {
    physical::read::<u8>(STAGE2.start + offset_of!(Stage2Header, record) as u64) != 0
}

/// Where a part is, and where stage2 is on the disk, in sectors of 512 bytes.
pub fn place(part: Part) -> (Place, u32) {
    let place = STAGE2.start + part.place_offset() as u64;
    let lba: U32 = physical::read(STAGE2.start + LBA_OFFSET as u64);
    (physical::read(place), lba.get())
}

/// The manifest at the end of the image; its place is in the header.
pub fn manifest() -> &'static [u8] {
    let start: U32 = physical::read(STAGE2.start + offset_of!(Stage2Header, manifest) as u64);
    let (start, length) = (u64::from(start.get()), manifest::MAX_LENGTH as u64);
    let fits = start != 0 && start + length <= STAGE2.size();
    // Nothing writes there: the linker script reserves this much room behind the image.
    let manifest = fits.then(|| physical::firmware_bytes(STAGE2.start + start, length));
    manifest.flatten().unwrap_or_default()
}

/// Tells a watcher outside the machine: see [`disk_layout::stage2::error_record`].
pub fn leave_error(code: &str) {
    let mut record = [b':'; 4];
    copy(code.as_bytes(), &mut record);
    physical::write(
        STAGE2.start + offset_of!(Stage2Header, error) as u64,
        record,
    );
}
