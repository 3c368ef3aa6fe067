//! Step 5: the screen, by INT 10h.

use crate::bios::firmware::{Bios, Registers};

/// BIOS data area: the active video mode (u8); bit 7: it was set without clearing the screen.
const BDA_VIDEO_MODE: u64 = 0x449;
/// 80 × 25 characters in colour.
const TEXT_MODE: u8 = 3;

/// Sets mode 3, whatever mode is active: after a graphics mode, the BIOS may report a wrong one.
pub fn set_text_mode(bios: &mut impl Bios) {
    bios.call(0x10, &mut Registers::new(TEXT_MODE.into()));
}

/// Is mode 3 active? Sets it if another one is. Only the mode that the BIOS reports afterwards
/// counts: AH=00h reports no errors, and without a video BIOS it does nothing.
pub fn text_mode(bios: &mut impl Bios) -> bool {
    let active = |bios: &_| Bios::read::<u8>(bios, BDA_VIDEO_MODE) & 0x7F == TEXT_MODE;
    active(bios) || {
        set_text_mode(bios);
        active(bios)
    }
}
