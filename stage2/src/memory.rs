//! Step 6: the memory map.
//!
//! **On entry**: long mode, console. **This step**: INT 15h E820, else E801, else 88h
//! ([`boot_path::bios::int15`]), normalised into one map; the loader's own memory and the text window are
//! marked in it. **On exit**: the map, from which everything that follows gets its memory.
#![allow(unsafe_code)]

use boot_path::bios::int15::{self, MemoryError};
use boot_path::memory::layout;
use boot_path::memory::map::{MemoryKind, MemoryMap};

use crate::machine::bios::Machine;
use crate::machine::console;
use crate::say;

/// Asks the BIOS, by the best service that it has. Called once.
///
/// # Errors
/// 6A when there is no answer, 6B when there is not even room for the loader.
pub fn discover() -> Result<&'static mut MemoryMap, MemoryError> {
    static mut MAP: MemoryMap = MemoryMap::new();
    let map = &raw mut MAP;
    // SAFETY: called once, so this is the only reference.
    let map = unsafe { &mut *map };

    let source = int15::discover(&mut Machine, map)?;
    let usable = map.usable();
    // The loader is there already, whatever the BIOS says of that memory; but the kernel may reclaim
    // only what the BIOS calls free.
    map.claim(layout::START, layout::END, MemoryKind::Reclaimable);
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
