//! Step 6: the memory map.
//!
//! **On entry**: long mode, console. **This step**: INT 15h E820, else E801, else 88h, normalised
//! into one map; the loader's own memory and the text window are marked in it. **On exit**: the map,
//! from which everything that follows gets its memory.
#![allow(unsafe_code)]

use core::fmt;

use stage2::catalogue::{self, Entry, Named};
use stage2::layout;
use stage2::memory_map::{self, E820_BUFFER, MemoryKind, MemoryMap, OutOfMemory};

use crate::bios::{self, Registers};
use crate::faults::Failure;
use crate::{console, physical, say};

/// `SMAP`, by which INT 15h E820 is recognised (ACPI specification, chapter 15).
const SMAP: u32 = 0x534D_4150;
/// Calls of E820 at most: a BIOS that never ends the list is not followed for ever.
const E820_CALLS: u32 = 1024;

/// BIOS data area: KiB of conventional memory (u16).
const BDA_MEMORY_SIZE: u64 = 0x413;
/// BIOS data area: segment of the extended BIOS data area (u16).
const BDA_EBDA_SEGMENT: u64 = 0x40E;

/// No service of the BIOS reports any memory.
pub struct NoMemoryMap;

impl Named for NoMemoryMap {
    fn entry(&self) -> &'static Entry {
        &catalogue::MEMORY_NO_MAP
    }
}

impl fmt::Display for NoMemoryMap {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Asks the BIOS, by the best service that it has. Called once.
///
/// # Errors
/// 6A when there is no answer, 6B when there is not even room for the loader.
pub fn discover() -> Result<&'static mut MemoryMap, Failure> {
    static mut MAP: MemoryMap = MemoryMap::new();
    let map = &raw mut MAP;
    // SAFETY: called once, so this is the only reference.
    let map = unsafe { &mut *map };

    let low_end = memory_map::low_memory_end(
        physical::read(BDA_MEMORY_SIZE),
        physical::read(BDA_EBDA_SEGMENT),
    );
    let source = if e820(map) {
        "E820"
    } else {
        map.add_low_memory(low_end);
        if e801(map) {
            "E801"
        } else if older_service(map) {
            "88h"
        } else {
            return Err(NoMemoryMap.into());
        }
    };
    map.finish(low_end);
    if low_end < layout::END {
        let all = map.usable();
        return Err(OutOfMemory {
            needed: layout::END,
            largest: low_end,
            present: all,
        }
        .into());
    }
    let usable = map.usable();
    map.mark(layout::START, layout::END, MemoryKind::Reclaimable);
    if console::screen_row().is_some() {
        map.mark(
            layout::VGA_TEXT,
            layout::VGA_TEXT_END,
            MemoryKind::Framebuffer,
        );
    }
    say!(" 6 memory   # MiB usable, by ", source; usable >> 20);
    Ok(map)
}

/// INT 15h AX=E820h. False: it is not there, or lost its signature in the middle of the list.
fn e820(map: &mut MemoryMap) -> bool {
    /// In the first MiB, where the BIOS reaches it.
    static mut BUFFER: [u8; 24] = [0; 24];
    let buffer = &raw mut BUFFER;

    let mut continuation = 0;
    let mut found = false;
    for _ in 0..E820_CALLS {
        // SAFETY: only this function uses the buffer, and the BIOS while it is called.
        unsafe { *buffer = E820_BUFFER };
        let mut registers = Registers {
            ebx: continuation,
            ecx: E820_BUFFER.len() as u32,
            edx: SMAP,
            es: (buffer as u64 >> 4) as u16,
            edi: (buffer as u64 & 0xF) as u32,
            ..Registers::new(0xE820)
        };
        bios::call(0x15, &mut registers);
        if registers.eax != SMAP {
            // With an error in the first call there is no such service; later, the end of the list.
            return found && registers.carry();
        }
        if registers.carry() {
            return found;
        }
        // SAFETY: as above.
        if let Some(region) = memory_map::e820_region(&unsafe { *buffer }, registers.ecx) {
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

/// INT 15h AX=E801h.
fn e801(map: &mut MemoryMap) -> bool {
    let mut registers = Registers::new(0xE801);
    bios::call(0x15, &mut registers);
    let [ax, bx, cx, dx] =
        [registers.eax, registers.ebx, registers.ecx, registers.edx].map(|value| value as u16);
    !registers.carry() && map.add_e801(ax, bx, cx, dx)
}

/// INT 15h AH=88h.
fn older_service(map: &mut MemoryMap) -> bool {
    let mut registers = Registers::new(0x8800);
    bios::call(0x15, &mut registers);
    !registers.carry() && map.add_88h(registers.eax as u16)
}
