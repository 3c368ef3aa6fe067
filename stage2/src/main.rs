//! stage2: from real mode to the kernel.
//!
//! This file *is* the boot path: [`enter`] walks steps 2 to 4 in real mode, [`main`] steps 5 to 12
//! in long mode. One file a step, declared in the order in which the machine walks them; each
//! begins with what holds on entry and on exit. What is not the machine itself (file systems, ELF,
//! memory map, page tables) is the library of this package, which is tested on the host.
#![no_std]
#![no_main]
// The entry is assembly.
#![allow(unsafe_code)]

mod real;
mod machine;

mod memory;
mod multiboot_in;
mod disk;
mod files;
mod entry;
mod unpack;
mod recognise;
mod kernel;
mod paging;
mod handoff;
mod multiboot;
mod linux;
mod chain;
mod limine;

use core::convert::Infallible;
use core::mem::MaybeUninit;

use asm_lines::naked_asm;

use crate::entry::Chosen;
use crate::machine::faults::{self, Failure};
use crate::machine::{console, findings};
use boot_path::disk::partition::Partition;
use boot_path::entry::protocol::Protocol;
use boot_path::files::integrity::Role;
use boot_path::memory::map::MemoryMap;
use boot_path::ways_out::multiboot::header::Version;
use disk_layout::stage2::{self as stage2_image, MAGIC, Stage2Header, VERSION};
use disk_layout::{manifest, multiboot as multiboot_layout};
use zerocopy::little_endian::{U16, U32};

/// The first bytes of the image; `disk-builder` fills in sum, length, checksum and road.
#[used]
#[unsafe(link_section = ".header")]
static HEADER: Stage2Header = Stage2Header {
    magic: MAGIC,
    sum: U32::ZERO,
    crc32c: U32::ZERO,
    length: U32::ZERO,
    version: U16::new(VERSION),
    road: 0,
    record: 0,
    manifest: U32::ZERO,
    error: [0; 4],
    rest: [0; 4],
};

/// Room behind the image, where `disk-builder` puts what it says of the files: see
/// [`files::Files::manifest`].
#[used]
#[unsafe(link_section = ".bss.manifest")]
static mut MANIFEST: MaybeUninit<[u8; manifest::MAX_LENGTH]> = MaybeUninit::uninit();

/// Where stage1 jumps to, directly behind the header; and behind the first jump, the way in by
/// Multiboot: real mode, CS = DS = SS = 0. The linker script makes sure of the first place, the assembler
/// of the second one.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".entry")]
extern "C" fn enter() -> ! {
    naked_asm!(
        ".code16",
        "jmp short .Lby_stage1",
        // By another loader. (This is nothing, or fails.)
        ".skip {entry_of_multiboot} - {entry} - (. - {enter})",
        "call {self_check}",
        "call {take_over_from_multiboot}",
        "jmp .Ltaken_vectors",
        ".Lby_stage1:",
        "call {self_check}",            // 1: is the image whole? (First: what follows changes it.)
        "call {take_over}",             // drive and time stamp
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
        "jmp {long_mode}",              // 4: to `main`
        ".code64",
        enter = sym enter,
        entry = const stage2_image::ENTRY_OFFSET,
        entry_of_multiboot = const multiboot_layout::ENTRY_OFFSET,
        take_over = sym real::real_mode::take_over,
        take_over_from_multiboot = sym real::real_mode::take_over_from_multiboot,
        take_vectors = sym real::real_mode_faults::install,
        self_check = sym real::self_check::check,
        stamp = sym real::real_mode::stamp,
        a20 = sym real::a20::enable,
        cpu = sym real::cpu::check,
        long_mode = sym real::long_mode::enter,
    )
}

/// Long mode: 64-bit Rust from here on. Each step's error has a name, and ends in its report.
extern "sysv64" fn main() -> ! {
    findings::step(5);
    console::start();

    let Err(failure) = boot();
    faults::fail(&failure)
}

/// What every way out of the loader gets.
pub struct Way<'a> {
    /// The files, and the disk below.
    pub files: &'a mut files::Files,
    /// Where they are.
    pub partition: &'a Partition,
    /// What is to be booted.
    pub entry: &'a entry::BootEntry,
    /// What memory there is.
    pub memory: &'static mut MemoryMap,
}

/// Steps 6 to 12.
fn boot() -> Result<Infallible, Failure> {
    findings::step(6);
    let memory = memory::discover()?;

    findings::step(7);
    let (mut files, partition) = match multiboot_in::files(memory)? {
        Some(brought) => brought,
        None => {
            let mut disk = disk::open();
            let partition = disk::boot_partition(&mut disk)?;

            findings::step(8);
            (files::Files::open(disk, &partition)?, partition)
        }
    };

    findings::step(9);
    let mut entry = match entry::choose(&mut files, memory)? {
        Chosen::Kernel(entry) => entry,
        Chosen::Chain(target) => return chain::start(target),
    };

    findings::step(10);
    entry.kernel = unpack::unpack(&mut files, Role::Kernel, entry.path, entry.kernel, memory)?;
    let way = Way {
        files: &mut files,
        partition: &partition,
        entry: &entry,
        memory,
    };
    match recognise::recognise(way.files, way.entry, way.memory)? {
        Protocol::Bootpath | Protocol::Limine => {}
        Protocol::Multiboot2 => return multiboot::boot(way, Version::Two),
        Protocol::Multiboot1 => return multiboot::boot(way, Version::One),
        Protocol::Linux(wanted) => return linux::boot(way, wanted),
    }
    let mut kernel = kernel::load(way.files, way.entry, way.memory)?;
    if let Some(requests) = limine::requests(way.entry, &kernel)? {
        return limine::boot(way, &mut kernel, &requests);
    }
    kernel.image.check(&kernel.wishes)?;
    kernel::load_modules(way.files, way.entry, &mut kernel, way.memory)?;
    let Way { memory, .. } = way;

    findings::step(11);
    let tables = paging::build(&kernel, memory)?;

    findings::step(12);
    handoff::prepare(&files, &partition, &entry, &kernel, tables, memory)?.go()
}
