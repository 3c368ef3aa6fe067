//! For kernels that want a framebuffer: a graphics mode.
//!
//! **On entry**: all files are loaded, and the screen shows text. **This step**: asks the VBE BIOS
//! for modes; then, as the last action that can fail, sets one: until then, the screen shows the
//! loader's messages. **On exit**: the mode is set, and the console has only the serial line; or
//! the screen still shows text.

use core::ops::Range;

use crate::bios::vbe::{
    Adapter, CONTROLLER_BLOCK, CONTROLLER_BYTES, MODE_BLOCK, MODE_BYTES, Mode, Wish,
};
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::map::MemoryMap;

/// Asks the BIOS which modes it has. From here on, nothing is read from disks.
pub fn ask<'m>(mut machine: impl Machine<'m>, adapter: &mut Adapter, memory: &MemoryMap) {
    adapter.ask(&mut machine, memory.regions());
}

/// Sets the mode that comes closest to a wish, with its framebuffer inside `within`. From then on,
/// the console has only the serial line. `None`: no mode was set, and the console is unchanged.
pub fn set<'m>(
    mut machine: impl Machine<'m>,
    adapter: &mut Adapter,
    wish: &Wish,
    within: &Range<PhysAddr>,
) -> Option<Mode> {
    let mode = adapter.set(&mut machine, wish, within);
    machine.screen_has_changed(mode.is_some());
    mode
}

/// The BIOS's information about the controller, and about the mode that was set.
pub fn blocks<'m>(machine: impl Machine<'m>) -> (&'m [u8], &'m [u8]) {
    let block = |start, length| {
        machine
            .firmware(PhysAddr::new(start), length)
            .unwrap_or_default()
    };
    (
        block(CONTROLLER_BLOCK, CONTROLLER_BYTES as u64),
        block(MODE_BLOCK, MODE_BYTES as u64),
    )
}
