//! The demo kernel: checks every promise of the handoff itself, and says what it found.
//!
//! Read in this order: this file; the folder `checks`, the promises; `faults.rs`, how a kernel gets
//! its own fault handlers; `paging.rs`, what is mapped; `console.rs`. The last line of its output
//! is `OKAY` or `FAIL`. The serial line gets all of it, and the screen a summary that stays in
//! sight.
//!
//! Words of its command line: `exit` ends QEMU with status 33 (OKAY) or 35 (FAIL); `crc` prints
//! checksums of what was loaded; `fault=NAME` ends in a fault (`null`, `ud`, `divide`, `gp`,
//! `text`, `sse`, `ts`, `breakpoint` or `stack`) before the kernel has a handler of its own;
//! `fail=COUNT` makes that many checks fail, to show what that looks like.
#![no_std]
#![no_main]

mod entry;
mod console;
mod report;
mod time;
mod verdict;
mod faults;
mod paging;
mod checks;
mod mem;
mod sync;

use core::panic::PanicInfo;

use checks::{CHECKS, Machine};
use entry::{STACK_SIZE, SystemState};
use handoff::BootInfo;
use paging::PageMap;
use verdict::finish;

/// Failed checks that the screen shows by name.
const FAILURES_SHOWN: usize = 6;

// Everything printed from the memory map on stays on a screen of 25 rows, however many checks fail:
// including the number of failures that are not shown, the number of checks, the verdict, and the
// row in which the next line would begin.
const _: () = assert!(
    report::MEMORY_ROWS + report::MAPPING_ROWS + time::TIMELINE_ROWS + FAILURES_SHOWN + 4 <= 25
);

handoff::entry_point!(main);
handoff::wish! { stack_size: STACK_SIZE }

fn main(boot: &'static BootInfo) -> ! {
    console::init(boot);
    report::print_summary(boot);
    if boot.has_word("crc") {
        report::print_checksums(boot);
    }
    if let Some(name) = boot.value_of("fault") {
        faults::provoke(name, boot.kernel.stack_bottom);
    }
    let machine = Machine {
        boot,
        registers: entry::registers(),
        state: SystemState::read(),
        map: PageMap::read(boot),
    };
    report::print_memory(boot);
    report::print_mappings(&machine);
    time::print_timeline(boot, machine.registers.time);

    faults::install();
    let failed = boot.value_of("fail").and_then(|count| count.parse().ok());
    let okay = check_all(&machine, failed.unwrap_or(0));
    finish(okay, boot.has_word("exit"))
}

/// Makes all checks, the first `failed` of which are made to fail, and reports the results.
fn check_all(machine: &Machine, failed: usize) -> bool {
    let mut failures = 0;
    for (index, (name, check)) in CHECKS.iter().enumerate() {
        match check(machine).and_then(|()| checks::pass(index >= failed)) {
            Ok(()) => detail!("check {name}: ok"),
            Err(facts) => {
                detail!("check {name}: FAILED: {facts}");
                failures += 1;
                if failures <= FAILURES_SHOWN {
                    row!("check {name}: FAILED: {facts}");
                }
            }
        }
    }
    if failures > FAILURES_SHOWN {
        row!("and {} more", failures - FAILURES_SHOWN);
    }
    println!(
        "{} of {} checks passed",
        CHECKS.len() - failures,
        CHECKS.len()
    );
    failures == 0
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    println!("{info}");
    finish(false, true)
}
