//! stage2: from real mode to the kernel.
//!
//! This file *is* the boot path: [`enter`] walks steps 2 to 4 in real mode, [`main`] steps 5 to 12
//! in long mode. Each step has one file, declared in the order in which the machine walks them, and
//! begins with what holds on entry and on exit. Everything that does not need the machine itself
//! (file systems, ELF, memory map, page tables) is in the library `boot-path`, which is tested on
//! the host.
#![no_std]
#![no_main]
// The entry is assembly.
#![allow(unsafe_code)]

extern crate alloc;

mod machine;
mod real;
mod ways_out;

use arrayvec::ArrayVec;
use asm_lines::naked_asm;
use boot_path::bios::vbe::Adapter;
use boot_path::entry::entries::Entries;
use boot_path::memory::map::MemoryMap;
use boot_path::path::{self, Given, Rooms};
use boot_path::ways_out::limine::Modules;
use disk_layout::multiboot as multiboot_layout;
use disk_layout::stage2 as stage2_image;
use static_cell::ConstStaticCell;

use crate::machine::real_mode::{exceptions, findings};
use crate::machine::variables::Rest;
use crate::machine::{Machine, console, faults, header, path as checksums};

/// stage1 jumps here, directly behind the header. The way in by Multiboot enters behind the first
/// jump. Both come in real mode, with CS = DS = SS = 0. The linker script ensures the first place,
/// the assembler the second one.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".entry")]
extern "C" fn enter() -> ! {
    naked_asm!(
        ".code16",
        "jmp short .Lby_stage1",
        // The way in by Multiboot. (`.skip` adds nothing, or fails.)
        ".skip {entry_of_multiboot} - {entry} - (. - {enter})",
        "call {check_front}",           // stage1 would have done that
        "call {take_over_from_multiboot}",
        "jmp .Ltaken_vectors",
        ".Lby_stage1:",
        "call {take_over}",             // 1: drive and time stamp
        ".Ltaken_vectors:",
        "call {take_vectors}",          // exceptions are reported from here on
        "mov bx, 2",
        "call {stamp}",
        "call {a20}",                   // 2: all memory can be reached
        "mov bx, 3",
        "call {stamp}",
        "call {cpu}",                   // 3: there is long mode
        "mov bx, 4",
        "call {stamp}",
        "mov esi, offset {main}",
        "jmp {long_mode}",              // 4: to `main`
        ".code64",
        enter = sym enter,
        entry = const stage2_image::ENTRY_OFFSET,
        entry_of_multiboot = const multiboot_layout::ENTRY_OFFSET,
        take_over = sym real::take_over::take_over,
        take_over_from_multiboot = sym real::take_over::take_over_from_multiboot,
        take_vectors = sym exceptions::install,
        check_front = sym real::self_check::check_front,
        stamp = sym real::take_over::stamp,
        a20 = sym real::a20::enable,
        cpu = sym real::cpu::check,
        long_mode = sym real::long_mode::enter,
        main = sym main,
    )
}

/// 64-bit Rust from here on, in long mode. Any error of a step has a name and ends in its report.
extern "sysv64" fn main() -> ! {
    findings::step(5);
    console::start();

    static MEMORY: ConstStaticCell<MemoryMap> = ConstStaticCell::new(MemoryMap::new());
    let given = Given {
        memory: MEMORY.take(),
        manifest: header::manifest(),
        rooms,
    };
    match path::boot(Machine, given) {
        Ok(handover) => ways_out::leave(handover),
        Err(failure) => faults::fail(&failure),
    }
}

/// The structures that the path works with, in the memory that it has for them.
fn rooms(memory: &'static mut [u8]) -> Rooms<'static> {
    let mut memory = Rest(memory);
    checksums::use_tables(memory.room());
    Rooms {
        entries: memory.room().write(Entries::new()),
        modules: memory.room().write(Modules::new_const()),
        brought: memory.room().write(ArrayVec::new_const()),
        decompressor: memory.room(),
        opened: memory.room().write(None),
        adapter: memory.room().write(Adapter::new()),
    }
}
