//! The framebuffer, and the VBE BIOS's information on it.

use core::sync::atomic::AtomicBool;

use crate::memory::read;
use crate::outcome::Checks;
use crate::report::say;
use crate::screen::Framebuffer;

/// Does the command line ask to keep the picture on the screen?
pub static STAY: AtomicBool = AtomicBool::new(false);

/// Draws into the framebuffer, and prints what it is.
pub fn check_framebuffer(checks: &mut Checks, framebuffer: &Framebuffer) {
    say!(
        "framebuffer {:p}, {} by {}, {} bits, pitch {}",
        framebuffer.start,
        framebuffer.width,
        framebuffer.height,
        framebuffer.bits_per_pixel,
        framebuffer.pitch
    );
    checks.check("framebuffer", framebuffer.makes_sense());
    // SAFETY: it is there, and the first 4 GiB are mapped.
    let drawn = unsafe {
        framebuffer.draw();
        framebuffer.is_drawn()
    };
    checks.check("picture", drawn);
}

/// Checks that the VBE BIOS's information describes the same framebuffer.
pub fn check_vbe(
    checks: &mut Checks,
    framebuffer: Option<&Framebuffer>,
    mode: u16,
    interface: [u16; 3],
    controller: &[u8],
    info: &[u8],
) {
    let Some(framebuffer) = framebuffer else {
        return checks.check("VBE without a framebuffer", false);
    };
    say!("VBE mode {mode:x}, interface {interface:x?}");
    let word =
        |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    checks.check("mode with a linear framebuffer", mode & !0x1FF == 0x4000);
    checks.check(
        "VbeInfoBlock",
        controller.starts_with(b"VESA") && word(controller, 4) >= 0x200,
    );
    // The mode is in the list.
    let list = word(controller, 16) * 16 + word(controller, 14);
    let listed = (0..256).any(|index| {
        let number = read::<u16>((list + 2 * index) as u64);
        number == Some(mode & 0x1FF)
    });
    checks.check("list of modes", listed);
    let address = word(info, 42) << 16 | word(info, 40);
    let pitch = match (word(controller, 4), word(info, 50)) {
        (0x300.., linear) if linear != 0 => linear,
        _ => word(info, 16),
    };
    let same = [word(info, 18), word(info, 20), info[25].into(), pitch]
        == [
            framebuffer.width,
            framebuffer.height,
            framebuffer.bits_per_pixel,
            framebuffer.pitch,
        ];
    checks.check(
        "ModeInfoBlock",
        same && address == framebuffer.start as usize,
    );
}
