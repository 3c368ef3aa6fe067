//! **A kernel of the Limine protocol**, made with the crate `limine`: it checks every response,
//! every register and the mappings, prints each check on COM1, and at the end `OKAY` or `FAILED`.
//!
//! The tests change its bytes before they boot it: the base revision that it asks for, whether
//! there are markers, x2APIC and five levels of page tables (`tests/tests/limine.rs`).
#![no_std]
#![no_main]
// Registers, ports, page tables, and addresses from the loader.
#![allow(unsafe_code)]

// The functions that the ready-made `core` expects of its program.
#[path = "../../../../../stage2/src/machine/mem.rs"]
mod mem;
#[path = "../../report/mod.rs"]
mod report;
#[path = "../../screen/mod.rs"]
mod screen;

mod requests;
mod outcome;
mod entry;
mod memory;
mod processor;
mod responses;
mod firmware_tables;
mod framebuffer;
mod memory_map;
mod mapped;
mod files;
mod interrupt_controllers;
mod other_processors;

use core::arch::{asm, naked_asm};
use core::sync::atomic::Ordering;

use entry::{State, enter};
use limine::request::EntryPointRequest;
use outcome::{FAILED, check};
use report::{COM1, input, output, say};
use requests::{requests, revision, stays};

const DEBUG_EXIT: u16 = 0xF4;

const EXIT_OKAY: u8 = 0x10;

requests! {
    ENTRY_POINT: EntryPointRequest = EntryPointRequest::new().with_entry_point(other_start);
}

/// The entry point that the kernel requests.
#[unsafe(naked)]
extern "C" fn other_start() -> ! {
    enter!(main)
}

extern "C" fn main(state: &State) -> ! {
    output(COM1 + 1, 0);
    say!("limine kernel, base revision {}", revision());
    processor::check_registers(state);
    processor::check_stack(state);
    check("this entry point", ENTRY_POINT.get_response().is_some());
    processor::check_descriptor_tables();
    responses::check_responses();
    firmware_tables::check_firmware_tables();
    framebuffer::check_framebuffer();
    memory_map::check_memory_map();
    mapped::check_maps();
    files::check_files();
    interrupt_controllers::check_interrupt_controllers();
    other_processors::check_processors();
    let failed = FAILED.load(Ordering::Relaxed);
    say!("{}", if failed { "FAILED" } else { "OKAY" });
    while input(COM1 + 5) & 0x40 == 0 {}
    if !stays() {
        output(DEBUG_EXIT, if failed { 0 } else { EXIT_OKAY });
    }
    loop {
        // SAFETY: only waits.
        unsafe { asm!("hlt") }
    }
}

/// C's `strlen`, for `CStr`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: a zero byte ends it.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    say!("FAILED: {info}");
    output(DEBUG_EXIT, 0);
    loop {
        core::hint::spin_loop();
    }
}
