//! **A Linux kernel that reports the time**, for `./run.sh bench peers`: the entries of
//! [`bzimage`], and whatever the benchmark appends at the next multiple of [`ALIGNMENT`].
//!
//! On port 0xE9 it writes numbers in hexadecimal, each with leading zeros and a line feed: the
//! ticks of the time-stamp counter from the moment that `stopwatch.rs` noted to the kernel's first
//! instruction; the entry that was taken (16, 32 or 64); the [`tell::checksum`] of the appended
//! data, and that of the initial RAM disk, both without a last piece of less than eight bytes. The
//! command line follows. It leaves QEMU through isa-debug-exit.
#![no_std]
#![no_main]
// Entries, ports, and memory that is accessed by its address.
#![allow(unsafe_code)]

use core::ptr::with_exposed_provenance;

#[allow(dead_code, reason = "most of what it notes is for `linux-check`")]
#[path = "../linux/bzimage.rs"]
mod bzimage;
mod started;
mod tell;

use bzimage::{Memory, read};

/// Where [`bzimage`] moves the program to: behind 64 MiB of appended data, which loaders put at 1
/// or 16 MiB, and below the initial RAM disk at the end of the memory.
const LINKED_AT: u32 = 0x800_0000;
/// The appended data begins at a multiple of this, counted from the start of the protected-mode
/// part.
const ALIGNMENT: u64 = 4096;

/// Offsets in the parameters (Linux, Documentation/arch/x86/boot.rst).
const SYSSIZE: u64 = 0x1F4;
const RAMDISK_IMAGE: u64 = 0x218;
const RAMDISK_SIZE: u64 = 0x21C;
const CMD_LINE_PTR: u64 = 0x228;

unsafe extern "C" {
    /// The end of the protected-mode part, at its linked address.
    static program_end: u8;
}

extern "C" fn main() -> ! {
    let notes = bzimage::notes();
    let parameters = Memory(notes.parameters);
    tell::number(
        notes
            .time
            .wrapping_sub(Memory(started::STARTED).number(0, 8)),
    );
    tell::number(notes.bits);

    let appended =
        ((&raw const program_end).addr() as u64 - u64::from(LINKED_AT)).next_multiple_of(ALIGNMENT);
    let length = 16 * parameters.number(SYSSIZE, 4);
    tell::number(checksum(
        notes.loaded_at + appended,
        length.saturating_sub(appended),
    ));
    let initrd = parameters.number(RAMDISK_IMAGE, 4);
    tell::number(checksum(initrd, parameters.number(RAMDISK_SIZE, 4)));

    let mut at = parameters.number(CMD_LINE_PTR, 4);
    while read(at) != 0 {
        tell::byte(read(at));
        at += 1;
    }
    tell::byte(b'\n');
    tell::end()
}

/// The checksum of memory, by address and number of bytes.
fn checksum(start: u64, length: u64) -> u64 {
    if length < 8 {
        return 0;
    }
    // SAFETY: the loader says that it is there, in the first 4 GiB, which are mapped; nobody writes
    // to it. Loaders put it at the beginning of a page.
    let words = unsafe {
        core::slice::from_raw_parts(
            with_exposed_provenance::<u64>(start as usize),
            (length / 8) as usize,
        )
    };
    tell::checksum(words)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
