//! The parts that both versions have, each in its own form: modules, sections, the boot device.

use crate::memory::{Uses, address, bytes, image_end, image_start};
use crate::outcome::Checks;
use crate::report::{self, say};

/// Checks a module, of either version.
pub fn check_module(checks: &mut Checks, uses: &mut Uses, start: u64, end: u64, text: &str) {
    let length = end - start;
    report::bytes("module", bytes(start, length), &[text]);
    checks.check("module at a page", start.is_multiple_of(4096));
    checks.check("module's place", uses.add(start, length));
}

/// Checks one section: its place and its name.
pub fn check_section(checks: &mut Checks, uses: &mut Uses, name: &str, start: u64, size: u64) {
    say!("section {name} {size:x}");
    let loaded = (
        address(&raw const image_start),
        address(&raw const image_end),
    );
    if (loaded.0..loaded.1).contains(&start) {
        checks.check("section in the kernel", start + size <= loaded.1);
    } else {
        checks.check(
            "section's place",
            size == 0 || start != 0 && uses.add(start, size),
        );
        report::bytes("section", bytes(start, size), &[name]);
    }
    if name == ".strtab" {
        let found = bytes(start, size)
            .windows(11)
            .any(|name| name == b"image_start");
        checks.check("symbols", found);
    }
}

/// Checks the boot disk. A loader without a disk of its own names none; then the command line says
/// so.
pub fn check_disk(checks: &mut Checks, is_there: bool, line: &str) {
    let diskless = line.split(' ').any(|word| word == "diskless");
    checks.check("boot device", is_there != diskless);
}
