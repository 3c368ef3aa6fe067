//! The framebuffer: its description in the response, its pages, and a picture in it.

use limine::framebuffer::{Framebuffer as Found, MemoryModel, VideoMode};
use limine::memory_map::EntryType;

use crate::memory::{Page, WRITE_COMBINING, at, memory_kind, reclaimable, walk};
use crate::outcome::check;
use crate::report::say;
use crate::requests::{FRAMEBUFFER, hhdm, revision};
use crate::screen::Framebuffer;

pub fn check_framebuffer() {
    let Some(response) = FRAMEBUFFER.get_response() else {
        say!("no framebuffer");
        return;
    };
    let mut framebuffers = response.framebuffers();
    let (Some(found), None) = (framebuffers.next(), framebuffers.next()) else {
        return check("one framebuffer", false);
    };
    check(
        "framebuffer's response",
        response.revision() == 1 && reclaimable(at(response)),
    );
    let framebuffer = described(&found);
    check_modes(&found, &framebuffer);
    if let Some(edid) = found.edid() {
        check_edid(edid);
    }
    check_pages(&found);
    // SAFETY: mapped, as checked before.
    let drawn = unsafe {
        framebuffer.draw();
        framebuffer.is_drawn()
    };
    check("picture", drawn);
}

/// The framebuffer as the response describes it.
fn described(found: &Found) -> Framebuffer {
    say!(
        "framebuffer {} by {}, {} bits, pitch {}, {} modes, {} bytes of EDID",
        found.width(),
        found.height(),
        found.bpp(),
        found.pitch(),
        found.modes().unwrap_or_default().len(),
        found.edid().map_or(0, <[u8]>::len),
    );
    let framebuffer = Framebuffer {
        start: found.addr(),
        pitch: found.pitch() as usize,
        width: found.width() as usize,
        height: found.height() as usize,
        bits_per_pixel: found.bpp().into(),
        colors: [
            (found.red_mask_shift(), found.red_mask_size()),
            (found.green_mask_shift(), found.green_mask_size()),
            (found.blue_mask_shift(), found.blue_mask_size()),
        ],
    };
    check(
        "framebuffer",
        found.memory_model() == MemoryModel::RGB
            && found.bpp().is_multiple_of(8)
            && framebuffer.makes_sense(),
    );
    framebuffer
}

/// Checks that all modes are plausible, and that the framebuffer's own one is among them.
fn check_modes(found: &Found, framebuffer: &Framebuffer) {
    let modes = found.modes().unwrap_or_default();
    let mut found_itself = false;
    let good = modes.iter().all(|mode| {
        let as_framebuffer = of_mode(mode);
        found_itself |= (mode.width, mode.height, mode.bpp, mode.pitch)
            == (found.width(), found.height(), found.bpp(), found.pitch())
            && as_framebuffer.colors == framebuffer.colors;
        mode.memory_model == MemoryModel::RGB
            && as_framebuffer.makes_sense()
            && reclaimable(at(*mode))
    });
    check("modes", good && found_itself);
}

/// The framebuffer that a mode would have.
fn of_mode(mode: &VideoMode) -> Framebuffer {
    Framebuffer {
        start: core::ptr::null_mut(),
        pitch: mode.pitch as usize,
        width: mode.width as usize,
        height: mode.height as usize,
        bits_per_pixel: mode.bpp.into(),
        colors: [
            (mode.red_mask_shift, mode.red_mask_size),
            (mode.green_mask_shift, mode.green_mask_size),
            (mode.blue_mask_shift, mode.blue_mask_size),
        ],
    }
}

fn check_edid(edid: &[u8]) {
    let sum = edid.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
    check(
        "EDID",
        edid.len() == 128 && sum == 0 && reclaimable(at(edid.first().unwrap_or(&0))),
    );
}

/// Checks that all of its pages are mapped as write-combining, wherever the base revision has them.
fn check_pages(found: &Found) {
    let start = found.addr() as u64;
    let size = found.pitch() * found.height();
    let pages = (start & !0xFFF..start + size).step_by(4096);
    let mut bases = [hhdm(), 0]
        .into_iter()
        .take(1 + usize::from(revision() == 0));
    check(
        "framebuffer's pages",
        bases.all(|base| {
            pages.clone().all(|address| {
                let physical = address - hhdm();
                let page = Page {
                    physical,
                    writable: true,
                    executable: true,
                    cache: WRITE_COMBINING,
                };
                walk(base + physical) == Some(page)
                    && memory_kind(physical) == Some(EntryType::FRAMEBUFFER)
            })
        }),
    );
}
