//! The loaded parts of this kernel: its segments, their bytes, zeroes, and the template of its TLS.

// Memory is read in ways that no reference allows.
#![allow(unsafe_code)]

use super::Machine;
use super::outcome::{Facts, Outcome, ensure};
use crate::sync::Shared;

pub fn kernel_segments(machine: &Machine) -> Outcome {
    let kernel = &machine.boot.kernel;
    let segments = kernel.segments();
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Err(Facts::new(format_args!("none")));
    };
    ensure!(
        kernel.virtual_base == first.virtual_start,
        "base {:#x}",
        kernel.virtual_base
    );
    ensure!(
        kernel.physical_base == first.physical_start,
        "base {:#x}",
        kernel.physical_base
    );
    let size = last.virtual_start + last.length - first.virtual_start;
    ensure!(
        kernel.size == size,
        "size {:#x}, not {size:#x}",
        kernel.size
    );
    for (what, address, flags) in [
        ("code", kernel_segments as *const () as u64, 0b101),
        ("constants", (&raw const PATTERN) as u64, 0b100),
        ("data", DATA.get() as u64, 0b110),
        ("bss", ZEROES.get() as u64, 0b110),
    ] {
        let found = machine.segment_of(address).map(|segment| segment.flags);
        ensure!(
            found == Some(flags),
            "{what} at {address:#x}: flags {found:?}"
        );
    }
    Ok(())
}

/// A number that depends on its place, so that shifted, swapped or missing pages show.
const fn pattern(index: usize) -> u32 {
    (index as u32 ^ 0x5EED).wrapping_mul(0x9E37_79B1)
}

const fn patterns<const N: usize>() -> [u32; N] {
    let mut values = [0; N];
    let mut index = 0;
    while index < N {
        values[index] = pattern(index);
        index += 1;
    }
    values
}

/// 64 KiB of constants.
pub static PATTERN: [u32; 16 * 1024] = patterns();

/// 16 KiB of data.
pub static DATA: Shared<[u32; 4 * 1024]> = Shared::new(patterns());

/// 256 KiB of bss.
static ZEROES: Shared<[u64; 32 * 1024]> = Shared::new([0; _]);

pub fn kernel_bytes(machine: &Machine) -> Outcome {
    // SAFETY: the data is only changed while a check runs, and put back.
    let data = unsafe { &*DATA.get() };
    for (what, values) in [("constants", &PATTERN[..]), ("data", &data[..])] {
        for (index, value) in values.iter().enumerate() {
            // SAFETY: a reference may be read; volatile, so that the compiler cannot know the
            // answer.
            let value = unsafe { core::ptr::from_ref(value).read_volatile() };
            ensure!(
                value == pattern(index),
                "{what}: {value:#x} at index {index}"
            );
        }
    }
    // The segments are where they are said to be: through the physical map, their bytes are the
    // same.
    for segment in machine.boot.kernel.segments() {
        for offset in (0..segment.length & !7).step_by(8) {
            let alias = machine
                .boot
                .physical_to_virtual(segment.physical_start + offset);
            let Some(alias) = alias else {
                return Err(Facts::new(format_args!(
                    "{offset:#x} is not in the physical map"
                )));
            };
            let own = (segment.virtual_start + offset) as *const u64;
            // SAFETY: both are within the segment; compared one by one, so that data that changes
            // meanwhile does no harm (the stack is elsewhere).
            let same = unsafe { own.read_unaligned() == alias.cast::<u64>().read_unaligned() };
            ensure!(same, "{own:p} differs from {alias:p}");
        }
    }
    Ok(())
}

pub fn bss(_: &Machine) -> Outcome {
    let zeroes = ZEROES.get().cast::<u64>();
    for index in 0..32 * 1024 {
        // SAFETY: within the array, which nobody writes.
        let value = unsafe { zeroes.add(index).read_volatile() };
        ensure!(value == 0, "{value:#x} at index {index}");
    }
    Ok(())
}

// A PT_TLS of 16 bytes with 8 more of zeroes: stable Rust has no thread-local statics without
// `std`. The flag R keeps the sections, to which nothing refers.
core::arch::global_asm!(
    ".section .tdata.demo, \"awTR\", @progbits",
    ".balign 16",
    ".quad {first}, {second}",
    ".section .tbss.demo, \"awTR\", @nobits",
    ".balign 16",
    ".skip 8",
    ".text",
    first = const TLS[0],
    second = const TLS[1],
);

const TLS: [u64; 2] = [0x5EED, 0x1EAF];

pub fn tls(machine: &Machine) -> Outcome {
    let Some(tls) = machine.boot.tls() else {
        return Err(Facts::new(format_args!("not reported")));
    };
    let (file, memory, alignment) = (tls.file_size, tls.memory_size, tls.alignment);
    ensure!(
        (file, memory, alignment) == (16, 24, 16),
        "{file} and {memory} bytes, alignment {alignment}"
    );
    ensure!(
        machine.segment_of(tls.start).is_some(),
        "at {:#x}",
        tls.start
    );
    // SAFETY: it lies in a segment.
    let image = unsafe { (tls.start as *const [u64; 2]).read_volatile() };
    ensure!(image == TLS, "{image:x?}");
    Ok(())
}
