//! What the CPU must refuse: accesses that have to end in a page fault.

// Accesses that no reference allows.
#![allow(unsafe_code)]

use core::hint::black_box;

use super::loaded::PATTERN;
use super::mapped::belongs_to_physical_map;
use super::outcome::{Facts, Outcome, ensure};
use super::{CHECKS, Machine};
use crate::faults::{self, ERROR_FETCH, ERROR_PROTECTION, ERROR_WRITE, Fault, PAGE_FAULT, RET};
use crate::paging::PAGE;
use crate::sync::Shared;

/// Checks that an access ended in the right page fault.
fn expect_fault(what: &str, address: u64, error_code: u64, fault: Option<Fault>) -> Outcome {
    match fault {
        Some(fault)
            if fault
                == (Fault {
                    vector: PAGE_FAULT,
                    error_code,
                    address,
                }) =>
        {
            Ok(())
        }
        Some(fault) => Err(Facts::new(format_args!("{what} {address:#x}: {fault}"))),
        None => Err(Facts::new(format_args!("{what} {address:#x}: no fault"))),
    }
}

/// Checks that an address can neither be read nor written.
fn expect_absent(address: u64) -> Outcome {
    // SAFETY: nothing should be mapped there; if something is, the machine is about to stop with
    // FAIL.
    let (read, written) = unsafe { (faults::read(address), faults::write(address, 0)) };
    expect_fault("reading", address, 0, read)?;
    expect_fault("writing", address, ERROR_WRITE, written)
}

pub fn page_0(_: &Machine) -> Outcome {
    expect_absent(0)?;
    expect_absent(PAGE - 1)
}

pub fn guard_page(machine: &Machine) -> Outcome {
    let bottom = machine.boot.kernel.stack_bottom;
    expect_absent(bottom - 1)?;
    expect_absent(bottom - PAGE)?;
    // SAFETY: the stack is nearly empty: nothing is in use that far down.
    let (full, last) = unsafe { (faults::push(bottom), faults::push(bottom + 8)) };
    expect_fault("pushing below", bottom - 8, ERROR_WRITE, full)?;
    ensure!(
        last.is_none(),
        "the last quadword of the stack cannot be used"
    );
    Ok(())
}

pub fn write_to_code(_: &Machine) -> Outcome {
    let address = write_to_code as *const () as u64;
    // SAFETY: the byte is written back as it is.
    let fault = unsafe { faults::write(address, (address as *const u8).read()) };
    expect_fault("writing", address, ERROR_PROTECTION | ERROR_WRITE, fault)
}

pub fn write_to_constants(_: &Machine) -> Outcome {
    // The second one holds pointers: in a position-independent kernel, GNU_RELRO protects it.
    for address in [(&raw const PATTERN) as u64, CHECKS.as_ptr() as u64] {
        // SAFETY: as above.
        let fault = unsafe { faults::write(address, (address as *const u8).read()) };
        expect_fault("writing", address, ERROR_PROTECTION | ERROR_WRITE, fault)?;
    }
    Ok(())
}

pub fn execute_data(machine: &Machine) -> Outcome {
    if !machine.has_nx() {
        return Ok(());
    }
    static CONSTANT: u8 = RET;
    static VARIABLE: Shared<u8> = Shared::new(RET);
    let local = black_box(RET);
    let variable = VARIABLE.get() as u64;
    let alias = machine
        .map
        .find(variable)
        .map_or(0, |run| run.translate(variable));
    for (what, address) in [
        ("executing a constant", (&raw const CONSTANT) as u64),
        ("executing a variable", variable),
        ("executing the stack", (&raw const local) as u64),
        (
            "executing the physical map",
            machine.boot.physical_map_base + alias,
        ),
    ] {
        // SAFETY: there is a RET at each of them.
        let fault = unsafe { faults::execute(address) };
        expect_fault(what, address, ERROR_PROTECTION | ERROR_FETCH, fault)?;
    }
    Ok(())
}

pub fn outside_the_kernel(machine: &Machine) -> Outcome {
    let kernel = &machine.boot.kernel;
    let end = kernel.virtual_base + kernel.size;
    let stack = kernel.stack_bottom..kernel.stack_bottom + kernel.stack_size;
    for address in [kernel.virtual_base - 1, end.next_multiple_of(PAGE)] {
        if !stack.contains(&address) {
            expect_absent(address)?;
        }
    }
    Ok(())
}

pub fn hole(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    // Behind all memory, and at the first page above 1 MiB that is not RAM.
    expect_absent(boot.physical_map_base + boot.physical_map_size.next_multiple_of(PAGE))?;
    let mut pages = boot
        .memory_map()
        .iter()
        .map(|region| region.end().next_multiple_of(PAGE));
    match pages.find(|&page| !belongs_to_physical_map(boot, page)) {
        Some(page) => expect_absent(boot.physical_map_base + page),
        None => Ok(()),
    }
}
