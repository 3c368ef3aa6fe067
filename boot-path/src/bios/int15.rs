//! Step 6: the memory that the BIOS reports, by INT 15h E820, else E801, else 88h, and two words of
//! the BIOS data area.

use core::fmt;

use crate::bios::firmware::{BUFFER_OFFSET, Bios, Registers};
use crate::errors::catalogue::{self, Entry, Named};
use crate::memory::layout::{self, BIOS_BUFFER};
use crate::memory::map::{self, E820_BUFFER, MemoryKind, MemoryMap, OutOfMemory};

/// `SMAP`, by which INT 15h E820 is recognised (ACPI specification, chapter 15).
const SMAP: u32 = 0x534D_4150;
/// Maximum number of E820 calls: some BIOSes never end the list.
pub const E820_CALLS: u32 = 1024;

/// BIOS data area: KiB of conventional memory (u16); INT 12h returns the same.
const BDA_MEMORY_SIZE: u64 = 0x413;
/// BIOS data area: segment of the extended BIOS data area (u16).
const BDA_EBDA_SEGMENT: u64 = 0x40E;

/// Why there is no memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryError {
    /// No service of the BIOS reports any memory.
    NoMap,
    /// There is not enough memory even for the loader.
    NoRoom(OutOfMemory),
}

impl Named for MemoryError {
    fn entry(&self) -> &'static Entry {
        match self {
            Self::NoMap => &catalogue::MEMORY_NO_MAP,
            Self::NoRoom(error) => error.entry(),
        }
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMap => Ok(()),
            Self::NoRoom(error) => error.fmt(f),
        }
    }
}

/// Fills the empty `map` by the best service that the BIOS has, and returns the name of that
/// service.
///
/// # Errors
/// [`MemoryError`].
pub fn discover(bios: &mut impl Bios, map: &mut MemoryMap) -> Result<&'static str, MemoryError> {
    let low_end = map::low_memory_end(bios.read(BDA_MEMORY_SIZE), bios.read(BDA_EBDA_SEGMENT));
    let source = if e820(bios, map) {
        "E820"
    } else {
        map.add_low_memory(low_end);
        if e801(bios, map) {
            "E801"
        } else if older_service(bios, map) {
            "88h"
        } else {
            return Err(MemoryError::NoMap);
        }
    };
    map.finish(low_end);
    if low_end < layout::END {
        return Err(MemoryError::NoRoom(OutOfMemory {
            needed: layout::END,
            largest: low_end,
            present: map.usable(),
        }));
    }
    Ok(source)
}

/// AX=E820h. False: it is not there, or lost its signature in the middle of the list.
fn e820(bios: &mut impl Bios, map: &mut MemoryMap) -> bool {
    let mut continuation = 0;
    let mut found = false;
    for _ in 0..E820_CALLS {
        bios.put(&E820_BUFFER);
        let mut registers = Registers {
            ebx: continuation,
            ecx: E820_BUFFER.len() as u32,
            edx: SMAP,
            edi: BUFFER_OFFSET,
            ..Registers::new(0xE820)
        };
        bios.call(0x15, &mut registers);
        if registers.eax != SMAP {
            // An error in the first call means that the service is missing; later, it ends the
            // list.
            return found && registers.carry();
        }
        if registers.carry() {
            return found;
        }
        if let Some(region) = map::e820_region(&bios.read(BIOS_BUFFER.start), registers.ecx) {
            map.add(region);
            found |= region.kind == MemoryKind::Usable;
        }
        continuation = registers.ebx;
        if continuation == 0 {
            return found;
        }
    }
    found
}

/// AX=E801h.
fn e801(bios: &mut impl Bios, map: &mut MemoryMap) -> bool {
    let mut registers = Registers::new(0xE801);
    bios.call(0x15, &mut registers);
    let [ax, bx, cx, dx] =
        [registers.eax, registers.ebx, registers.ecx, registers.edx].map(|value| value as u16);
    !registers.carry() && map.add_e801(ax, bx, cx, dx)
}

/// AH=88h.
fn older_service(bios: &mut impl Bios, map: &mut MemoryMap) -> bool {
    let mut registers = Registers::new(0x8800);
    bios.call(0x15, &mut registers);
    !registers.carry() && map.add_88h(registers.eax as u16)
}
