//! The mappings: the kernel, and the direct map as each base revision has it.

use limine::memory_map::EntryType;

use crate::memory::{
    FRAMEBUFFER_KIND, Page, RESERVED_MAPPED, WRITE_COMBINING, at, memory_kind, number, walk,
};
use crate::outcome::{FAILED, check};
use crate::report::{self, say};
use crate::requests::{ADDRESS, MEMORY_MAP, MP, hhdm, revision};

unsafe extern "C" {
    static __executable_start: u8;
    /// The end of the part that is in the file.
    static _edata: u8;
}

pub fn check_maps() {
    let Some(address) = ADDRESS.get_response() else {
        return check("address of the kernel", false);
    };
    let (physical, start) = (address.physical_base(), address.virtual_base());
    say!("kernel at {start:#x}, physical {physical:#x}");
    let (from, to) = (&raw const __executable_start, &raw const _edata);
    // SAFETY: the loaded part is mapped, and nobody writes to it while it is read.
    let loaded = unsafe { core::slice::from_raw_parts(from, to.addr() - from.addr()) };
    report::bytes("loaded", loaded, &[]);
    check(
        "address of the kernel",
        start >= 0xFFFF_FFFF_8000_0000
            && memory_kind(physical) == Some(EntryType::EXECUTABLE_AND_MODULES),
    );
    let page = |address: u64, writable, executable| {
        walk(address).is_some_and(|page| {
            page == Page {
                physical: address - start + physical,
                writable,
                executable,
                cache: 0,
            } && memory_kind(page.physical) == Some(EntryType::EXECUTABLE_AND_MODULES)
        })
    };
    check("code", page(check_maps as *const () as u64, false, true));
    check("constants", page(at(&COM1_NAME), false, false));
    check(
        "data",
        page(at(&FAILED), true, false) && page(at(&MP), true, false),
    );
    check_direct_map();
}

static COM1_NAME: [u8; 64] = *b"a constant of 64 bytes, which is too long to be anything else...";

pub fn check_direct_map() {
    let revision = revision();
    let Some(map) = MEMORY_MAP.get_response() else {
        return;
    };
    let mapped = |address: u64, base: u64| {
        let framebuffer = memory_kind(address) == Some(EntryType::FRAMEBUFFER);
        walk(base + address).is_some_and(|page| {
            page == Page {
                physical: address,
                writable: true,
                executable: true,
                cache: if framebuffer { WRITE_COMBINING } else { 0 },
            }
        })
    };
    const GIB_4: u64 = 4 << 30;
    let (mut good, mut identity) = (true, true);
    for entry in map.entries() {
        let kind = number(entry.entry_type);
        let wanted = match kind {
            0 | 5 | 6 | FRAMEBUFFER_KIND => true,
            2 | 3 => revision != 3,
            RESERVED_MAPPED => true,
            _ => revision == 0,
        };
        for address in [entry.base, entry.base + entry.length - 4096] {
            let wanted = wanted || revision < 3 && address < GIB_4;
            let found = mapped(address, hhdm());
            if found != wanted {
                say!("  {address:#x} of kind {kind}: {found}");
            }
            good &= found == wanted;
            identity &= address == 0 || mapped(address, 0) == (revision == 0);
        }
    }
    check("direct map as the base revision has it", good);
    check("identity map as the base revision has it", identity);
    let holes = [0xFEC0_0000_u64, 0xFEE0_0000, GIB_4 - 4096];
    check(
        "first 4 GiB",
        holes.iter().all(|&hole| {
            mapped(hole, hhdm()) == (revision < 3) && mapped(hole, 0) == (revision == 0)
        }),
    );
    check("page 0 has no identity", walk(0).is_none());
}
