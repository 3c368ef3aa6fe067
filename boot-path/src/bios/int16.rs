//! The keyboard, by INT 16h.

use crate::bios::firmware::{Bios, Registers};

/// Answers without a key (Ctrl-Break gives one) after which the service counts as missing.
const TRIES: u32 = 16;

/// AH=00h: waits for a key. False: it keeps returning at once without one, as an interrupt without
/// a handler does.
pub fn wait_for_key(bios: &mut impl Bios) -> bool {
    (0..TRIES).any(|_| {
        let mut registers = Registers::new(0);
        bios.call(0x16, &mut registers);
        registers.eax as u16 != 0
    })
}
