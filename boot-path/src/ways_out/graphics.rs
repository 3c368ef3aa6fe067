//! For kernels that want a framebuffer: a graphics mode.
//!
//! **On entry**: all files are loaded, and the screen shows text. **This step**: asks the VBE BIOS
//! for modes; then, as the last action that can fail, sets one: until then, the screen shows the
//! loader's messages. **On exit**: the mode is set, and the console has only the serial line; or
//! the screen still shows text.

use core::ops::Range;

use disk_layout::parts::Part;

use crate::bios::vbe::{
    Adapter, CONTROLLER_BLOCK, CONTROLLER_BYTES, MODE_BLOCK, MODE_BYTES, Mode, Wish,
};
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::map::MemoryMap;

/// Asks the BIOS which modes it has. From here on, nothing is read from disks.
///
/// # Errors
/// 7E, 7F.
pub fn ask<'m, M: Machine<'m>>(
    machine: M,
    adapter: &mut Adapter,
    memory: &MemoryMap,
) -> Result<(), M::Failure> {
    machine.of_part(Part::Graphics, ask_bios as fn(_, _, _))?(machine, adapter, memory);
    Ok(())
}

#[inline(never)]
fn ask_bios<'m, M: Machine<'m>>(mut machine: M, adapter: &mut Adapter, memory: &MemoryMap) {
    adapter.ask(&mut machine, memory.regions());
}

/// The mode that comes closest to a wish, with its framebuffer inside `within`, among those that
/// suit; the others are forgotten. `None`: there is none.
///
/// # Errors
/// 7E, 7F.
pub fn choose<'m, M: Machine<'m>>(
    machine: M,
    adapter: &mut Adapter,
    suits: fn(&Mode) -> bool,
    wish: &Wish,
    within: &Range<PhysAddr>,
) -> Result<Option<Mode>, M::Failure> {
    let choose = choose_mode as fn(_, _, _, _) -> _;
    Ok(machine.of_part(Part::Graphics, choose)?(
        adapter, suits, wish, within,
    ))
}

#[inline(never)]
fn choose_mode(
    adapter: &mut Adapter,
    suits: fn(&Mode) -> bool,
    wish: &Wish,
    within: &Range<PhysAddr>,
) -> Option<Mode> {
    adapter.keep(suits);
    adapter.choose(wish, within)
}

/// Sets the mode that comes closest to a wish, with its framebuffer inside `within`. From then on,
/// the console has only the serial line. `None`: no mode was set, and the console is unchanged.
///
/// # Errors
/// 7E, 7F.
pub fn set<'m, M: Machine<'m>>(
    machine: M,
    adapter: &mut Adapter,
    wish: &Wish,
    within: &Range<PhysAddr>,
) -> Result<Option<Mode>, M::Failure> {
    let set = set_mode as fn(_, _, _, _) -> _;
    Ok(machine.of_part(Part::Graphics, set)?(
        machine, adapter, wish, within,
    ))
}

#[inline(never)]
fn set_mode<'m, M: Machine<'m>>(
    mut machine: M,
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
