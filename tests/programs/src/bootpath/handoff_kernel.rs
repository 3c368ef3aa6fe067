//! **A kernel that uses all of the crate handoff**: lists, command line, modules, the physical map,
//! the serial writer, exit codes, and the types of the crate x86_64.
//!
//! It prints what it found, and checks it against what it reads by other ways: the page tables and
//! memory itself. `end=VALUE` on the command line ends it with this value as a failure, `end=panic`
//! with a failed assertion.
#![no_std]
#![no_main]

// The functions that the ready-made `core` expects of its program.
#[path = "../../../../kernel/src/mem.rs"]
mod mem;
#[path = "../report/checksum.rs"]
mod checksum;

use checksum::checksum;
use handoff::{BootInfo, ExitCode, MemoryKind, MemoryRegion, Module, serial_print, serial_println};
use x86_64::registers::control::Cr3;
use x86_64::structures::paging::{OffsetPageTable, PageTable, Translate};
use x86_64::{PhysAddr, VirtAddr};

handoff::entry_point!(main);

fn main(boot: &'static BootInfo) -> ! {
    serial_print!("words:");
    for word in boot.words() {
        serial_print!(" {word}");
    }
    serial_println!();
    let (log, colour) = (boot.value_of("log"), boot.value_of("colour"));
    serial_println!(
        "log {log:?}, colour {colour:?}, quiet {}",
        boot.has_word("quiet")
    );
    list_memory(boot);
    list_kernel(boot);
    for module in boot.modules() {
        list_module(boot, module);
    }
    try_physical_map(boot);
    translate(boot);
    match boot.value_of("end") {
        Some("panic") => panic!("as it was asked to"),
        Some(value) => end_with(value),
        None => {}
    }
    serial_println!("OKAY");
    handoff::exit_success()
}

/// Frames, pages and bytes of free memory are the same.
fn list_memory(boot: &BootInfo) {
    let bytes: u64 = boot.usable().map(|region| region.length).sum();
    let frames: u64 = boot.usable_frames().map(|frames| frames.len()).sum();
    assert_eq!(bytes, frames * 4096);
    let pages = boot
        .usable()
        .flat_map(|region| region.range().step_by(4096));
    let mut frames = boot
        .usable_frames()
        .flatten()
        .map(|it| it.start_address().as_u64());
    assert!(pages.into_iter().all(|page| frames.next() == Some(page)) && frames.next().is_none());
    let last = boot.usable().next_back().expect("free memory");
    assert!(
        boot.memory_map()
            .iter()
            .filter(|region| region.is_usable())
            .all(|it| it.end() <= last.end())
    );
    assert!(boot.regions_of_kind(MemoryKind::Reclaimable).count() > 0);
    serial_println!(
        "free: more than {} MiB, up to {} MiB",
        bytes >> 26 << 6,
        (last.end() >> 20).next_multiple_of(64)
    );
}

/// This function and this stack are where the loader says.
fn list_kernel(boot: &BootInfo) {
    let on_the_stack = 0;
    assert!(
        boot.kernel
            .stack()
            .contains(&(&raw const on_the_stack as u64))
    );
    let here = boot
        .kernel
        .segment_of(list_kernel as fn(&BootInfo) as usize as u64)
        .expect("a segment");
    assert!(here.is_executable() && here.bytes().is_some());
    for segment in boot.kernel.segments() {
        let kind = boot
            .region_of(segment.physical_start)
            .and_then(MemoryRegion::kind);
        assert_eq!(kind, Some(MemoryKind::Kernel));
    }
    serial_println!("kernel: this function and the stack are in it");
}

fn list_module(boot: &BootInfo, module: &Module) {
    let (name, length, sum) = (
        module.name(),
        module.bytes().len(),
        checksum(module.bytes()),
    );
    serial_println!(
        "module {name}: {length} bytes, sum {sum:016x}: {}",
        module.string
    );
    assert!(core::ptr::eq(
        boot.module(name).expect("by its name"),
        module
    ));
    assert_eq!(memory::bytes(boot, module), Some(module.bytes()));
}

/// What the map covers, and what it does not.
fn try_physical_map(boot: &BootInfo) {
    let map = boot.physical_map();
    for region in boot.memory_map() {
        let low = region.end() <= 1 << 20;
        assert_eq!(map.covers(region.range()), region.is_mapped() || low);
    }
    let end = boot
        .memory_map()
        .iter()
        .map(MemoryRegion::end)
        .max()
        .expect("a region");
    assert!(map.pointer::<u8>(end, 1).is_none() && map.pointer::<u8>(u64::MAX, 1).is_none());
    assert!(map.pointer::<u16>(0xB_8001, 1).is_none());
    let rsdp = boot.rsdp().expect("ACPI tables");
    serial_println!("at the RSDP: {:?}", memory::text(boot, rsdp));
    memory::leave_a_mark(boot);
}

/// The page tables say the same as the handoff.
fn translate(boot: &'static BootInfo) {
    let root = Cr3::read().0.start_address();
    let tables = memory::tables(boot, root);
    let map = boot.physical_map();
    for segment in boot.kernel.segments() {
        let physical = tables.translate_addr(segment.virtual_address());
        assert_eq!(physical, Some(segment.physical_address()));
    }
    let boot_info = VirtAddr::from_ptr(boot);
    assert_eq!(tables.translate_addr(boot_info), map.to_phys(boot_info));
    let screen = map
        .to_virtual(PhysAddr::new(0xB_8000))
        .expect("the first MiB");
    assert_eq!(screen, boot.physical_memory_offset() + 0xB_8000);
    serial_println!("page tables: they agree");
}

fn end_with(value: &str) -> ! {
    let code = value.parse().ok().and_then(ExitCode::failure);
    serial_println!("ends with {:?}", code.map(ExitCode::value));
    handoff::exit(code.unwrap_or(ExitCode::FAILURE))
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    serial_println!("FAILED: {}", info.message());
    handoff::exit_failure()
}

/// Memory that is accessed by its physical address.
#[allow(unsafe_code)]
mod memory {
    use super::*;

    /// The bytes of a module.
    pub fn bytes(boot: &BootInfo, module: &Module) -> Option<&'static [u8]> {
        // SAFETY: this kernel does not write to modules.
        unsafe { boot.physical_map().bytes(module.physical_range()) }
    }

    /// Eight letters of the firmware.
    pub fn text(boot: &BootInfo, address: u64) -> Option<&'static str> {
        // SAFETY: nobody writes to the firmware's tables.
        let bytes = unsafe { boot.physical_map().bytes(address..address + 8) };
        str::from_utf8(bytes?).ok()
    }

    /// Writes to free memory by its address, and reads it.
    pub fn leave_a_mark(boot: &BootInfo) {
        let frame = boot.usable().next_back().expect("free memory").end() - 4096;
        let words = boot
            .physical_map()
            .pointer::<u64>(frame, 512)
            .expect("all of it is mapped");
        // SAFETY: the frame is free, and this kernel has no other use for it.
        let read = unsafe {
            words.add(511).write(0x1234);
            words.add(511).read()
        };
        assert_eq!(read, 0x1234);
        serial_println!("free memory: written and read");
    }

    /// The loader's page tables.
    pub fn tables(boot: &'static BootInfo, root: PhysAddr) -> OffsetPageTable<'static> {
        let table = boot.physical_map().pointer::<PageTable>(root.as_u64(), 1);
        let mut table = table.expect("the tables are in the map");
        // SAFETY: nobody else uses the tables, all of which are in the map.
        unsafe { OffsetPageTable::new(table.as_mut(), boot.physical_memory_offset()) }
    }
}
