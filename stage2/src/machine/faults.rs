//! Step 5: what happens when something goes wrong: an exception, an error of a step, a panic.
//!
//! Each ends in a report on screen and serial line, and the offer to reboot.

use core::cell::Cell;
use core::panic::PanicInfo;

use boot_path::bios::int16;
use boot_path::devices::cpu::{features, physical_bits};
use boot_path::devices::keyboard;
use boot_path::errors::catalogue::{self, Entry, Named, Report};
use boot_path::errors::exception::Saved;
use boot_path::machine::{KernelSegment, Machine as _};
use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout;
use boot_path::paging::page_walk::Paging;
use boot_path::report::{Fault, Panic, StackOverwritten};
use boot_path::say;
use x86_64::registers::control::{Efer, EferFlags};
use x86_64::registers::debug::{Dr7, Dr7Value};

use crate::machine::variables::OneThread;
use crate::machine::{Machine, console, header, instructions, physical, switch};

/// Has the kernel been started?
static KERNEL_RUNS: OneThread<Cell<bool>> = OneThread::new(Cell::new(false));

/// Reports that were begun.
static REPORTS: OneThread<Cell<u32>> = OneThread::new(Cell::new(0));

/// The kernel's segments, for the place of a fault.
pub static KERNEL_SEGMENTS: OneThread<Cell<&[KernelSegment]>> = OneThread::new(Cell::new(&[]));

/// From here on an exception is the kernel's.
pub fn kernel_starts() {
    KERNEL_RUNS.set(true);
}

/// Called by the stubs in `switch.rs`, on the fault stack and with the loader's tables.
pub extern "sysv64" fn report(saved: &Saved) -> ! {
    switch::back_in_loader();
    begin_report();
    let paging = Paging {
        root: PhysAddr::new(saved.cr3),
        levels: 4,
        nx: Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE),
        gib_pages: features(Machine) & ::handoff::CPU_1GIB_PAGES != 0,
        physical_bits: physical_bits(Machine),
    };
    let fault = Fault::new(saved, switch::vector(saved), KERNEL_RUNS.get(), paging);
    fault.say(Machine, KERNEL_SEGMENTS.get(), &quadword);
    offer_reboot(fault.entry())
}

/// The quadword at an address, within the loader's reach.
fn quadword(address: PhysAddr) -> Option<u64> {
    let reach = layout::EARLY_REACH.wrapping_before(size_of::<u64>() as u64);
    (address <= reach).then(|| physical::read(address.as_u64()))
}

/// Every report begins here. Reports that interrupt each other would never end, so the second one
/// is a single line, and a third one stops.
fn begin_report() {
    let before = REPORTS.replace(REPORTS.get() + 1);
    match before {
        0 => console::alarm(),
        1 => {
            let entry = &catalogue::FAULT_IN_REPORT;
            // A breakpoint that the kernel has set may be what interrupted the first one.
            Dr7::write(Dr7Value::from_bits_truncate(0));
            say!(Machine, "");
            say!(Machine, "error ", entry.code, ": ", entry.sentence);
            offer_reboot(entry)
        }
        _ => {
            header::leave_error(catalogue::FAULT_IN_REPORT.code);
            loop {
                x86_64::instructions::hlt();
            }
        }
    }
}

/// Has the stack stayed within its region? Checked after each BIOS call and before the handoff.
pub fn check_stack() {
    let found = physical::read(layout::STACK.start);
    if found != layout::CANARY {
        // The report calls the BIOS, and so checks again.
        physical::write(layout::STACK.start, layout::CANARY);
        fail(&StackOverwritten(found));
    }
}

/// A step failed: says why, and offers to reboot.
pub fn fail(error: &dyn Named) -> ! {
    begin_report();
    Machine.print(&Report(error));
    offer_reboot(error.entry())
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    fail(&Panic(info))
}

/// Gives the catalogue's advice, leaves the error's record, waits for a key and resets the machine.
///
/// Once the kernel runs, the BIOS is not called any more: interrupt controllers and devices may be
/// the kernel's. The keyboard controller is polled instead, as on a BIOS without INT 16h.
fn offer_reboot(entry: &Entry) -> ! {
    say!(Machine, entry.advice);
    say!(Machine, "press a key to reboot");
    Machine.show_cursor();
    header::leave_error(entry.code);
    if KERNEL_RUNS.get() || !int16::wait_for_key(&mut Machine) {
        while !keyboard::key_pressed(Machine) {}
    }
    // BIOS data area 472h: warm start, no memory test.
    physical::write(0x472, 0x1234_u16);
    keyboard::reset(Machine);
    instructions::triple_fault()
}
