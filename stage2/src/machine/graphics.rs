//! Steps 10 to 12, for kernels that want a framebuffer: a graphics mode.
//!
//! **On entry**: all files are loaded, and the screen shows text. **This step**: asks the VBE BIOS for
//! modes; then, as the last thing that can fail, sets one: until then, the screen shows what the loader
//! says. **On exit**: the mode is set, and the console has only the serial line; or the screen shows text
//! as before.
#![allow(unsafe_code)]

use core::ops::Range;

use boot_path::bios::vbe::{
    Adapter, CONTROLLER_BLOCK, CONTROLLER_BYTES, MODE_BLOCK, MODE_BYTES, Mode, Wish,
};
use boot_path::memory::map::MemoryMap;

use crate::machine::bios::Machine;
use crate::machine::console;
use crate::machine::physical;

/// Asks the BIOS what modes there are. Nothing is read from disks any more. Called once.
pub fn ask(memory: &MemoryMap) -> &'static mut Adapter {
    static mut ADAPTER: Adapter = Adapter::new();
    let adapter = &raw mut ADAPTER;
    // SAFETY: called once, so this is the only reference.
    let adapter = unsafe { &mut *adapter };
    adapter.ask(&mut Machine, memory.regions());
    adapter
}

/// Sets the mode that comes closest to a wish, with its framebuffer inside of `within`. From then on
/// the console has only the serial line. `None`: it has what it had before.
pub fn set(adapter: &mut Adapter, wish: &Wish, within: &Range<u64>) -> Option<Mode> {
    let mode = adapter.set(&mut Machine, wish, within);
    match mode {
        Some(_) => console::without_screen(),
        None => console::follow_bios(),
    }
    mode
}

/// What the BIOS has said of the controller, and of the mode that was set.
pub fn blocks() -> (&'static [u8], &'static [u8]) {
    // SAFETY: the transfer buffer, to which nobody writes any more.
    unsafe {
        (
            physical::bytes(CONTROLLER_BLOCK, CONTROLLER_BYTES as u64),
            physical::bytes(MODE_BLOCK, MODE_BYTES as u64),
        )
    }
}
