//! What is mapped, and what is not: the page tables against the segments and the memory map.

// Memory is read in two places at once.
#![allow(unsafe_code)]

use handoff::{BootInfo, MemoryKind, MemoryRegion};

use super::Machine;
use super::loaded::DATA;
use super::outcome::{Facts, Outcome, ensure};
use crate::paging::PAGE;

pub fn page_tables(machine: &Machine) -> Outcome {
    if let Some((problem, address)) = machine.map.problem {
        return Err(Facts::new(format_args!("{problem}: {address:#x}")));
    }
    for run in &machine.map.runs {
        let start = run.start;
        ensure!(!run.user, "{start:#x} is open to programs");
        ensure!(
            !(machine.has_nx() && run.writable && run.executable),
            "{start:#x} is writable and executable"
        );
    }
    for segment in machine.boot.kernel.segments() {
        let last = segment.virtual_start + (segment.length - 1);
        let Some(run) = machine
            .map
            .find(segment.virtual_start)
            .filter(|run| last <= run.last)
        else {
            return Err(Facts::new(format_args!(
                "{:#x} is not one range",
                segment.virtual_start
            )));
        };
        let physical = run.translate(segment.virtual_start);
        ensure!(
            physical == segment.physical_start,
            "{:#x} is at {physical:#x}",
            segment.virtual_start
        );
        // Memory that only relocation writes (GNU_RELRO) is read-only afterwards.
        let relro = machine.boot.kernel.slide != 0 && !run.writable;
        let right = (run.writable == segment.is_writable() || relro)
            && (run.executable == segment.is_executable() || !machine.has_nx());
        ensure!(right, "{:#x} has other permissions", segment.virtual_start);
    }
    let (bottom, size) = (
        machine.boot.kernel.stack_bottom,
        machine.boot.kernel.stack_size,
    );
    let stack = machine
        .map
        .find(bottom)
        .filter(|run| bottom + (size - 1) <= run.last);
    let right = stack.is_some_and(|run| run.writable && !(run.executable && machine.has_nx()));
    ensure!(right, "the stack at {bottom:#x}");
    Ok(())
}

pub fn nothing_else_mapped(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    let stack = (boot.kernel.stack_bottom, boot.kernel.stack_size);
    let mut others = 0;
    for run in &machine.map.runs {
        let mut page = run.start;
        loop {
            let map_offset = page.wrapping_sub(boot.physical_map_base);
            let in_kernel = boot.kernel.segments().iter().any(|segment| {
                let start = segment.virtual_start & !(PAGE - 1);
                page.wrapping_sub(start) < segment.virtual_start - start + segment.length
            });
            let mut next = page.checked_add(PAGE);
            if map_offset < boot.physical_map_size {
                // `physical_map` checks this one.
                next = boot
                    .physical_map_base
                    .checked_add(boot.physical_map_size.next_multiple_of(PAGE));
            } else if !in_kernel && page.wrapping_sub(stack.0) >= stack.1 {
                others += 1;
                let physical = run.translate(page);
                let kind = boot.region_of(physical).and_then(MemoryRegion::kind);
                // The loader's own page: mapped at its physical address, and free later, unless the
                // firmware reserved it or did not report it.
                let fits = kind.is_none_or(|kind| match kind {
                    MemoryKind::Usable | MemoryKind::Kernel | MemoryKind::Module => false,
                    MemoryKind::Reclaimable
                    | MemoryKind::AcpiReclaimable
                    | MemoryKind::AcpiNvs
                    | MemoryKind::Framebuffer
                    | MemoryKind::Reserved
                    | MemoryKind::Bad => true,
                });
                ensure!(
                    others == 1 && physical == page && fits,
                    "{page:#x} (physical {physical:#x}, {kind:?})"
                );
            }
            match next {
                Some(next) if next <= run.last => page = next,
                _ => break,
            }
        }
    }
    Ok(())
}

/// Whether the physical map should hold an address: see [`BootInfo::physical_to_virtual`]. A page
/// that holds a part of a region is mapped as a whole.
pub fn belongs_to_physical_map(boot: &BootInfo, page: u64) -> bool {
    page < 1 << 20
        || boot.memory_map().iter().any(|region| {
            region.kind().is_some_and(MemoryKind::is_mapped)
                && region.start < page + PAGE
                && page < region.end()
        })
}

pub fn physical_map(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    let base = boot.physical_map_base;
    let mut expected = 1 << 20;
    let low = (0, expected);
    let mapped = boot
        .memory_map()
        .iter()
        .filter(|region| region.kind().is_some_and(MemoryKind::is_mapped));
    for (start, end) in
        core::iter::once(low).chain(mapped.map(|region| (region.start, region.end())))
    {
        expected = expected.max(end);
        let mut at = start;
        while at < end {
            let Some(run) = machine.map.find(base + at) else {
                return Err(Facts::new(format_args!("{at:#x} is missing")));
            };
            ensure!(
                run.translate(base + at) == at,
                "{at:#x} is mapped to {:#x}",
                run.translate(base + at)
            );
            let right = run.writable && !(run.executable && machine.has_nx());
            ensure!(right, "{at:#x} has other permissions");
            at = run.last - base + 1;
        }
    }
    let size = boot.physical_map_size;
    ensure!(
        size.next_multiple_of(PAGE) == expected.next_multiple_of(PAGE),
        "size {size:#x}, not {expected:#x}"
    );
    // And nothing more: the ends of each range, for in between it was all asked for above.
    for run in machine
        .map
        .runs
        .iter()
        .filter(|run| run.start.wrapping_sub(base) < expected)
    {
        for page in [run.start - base, run.last - base - (PAGE - 1)] {
            ensure!(belongs_to_physical_map(boot, page), "{page:#x} is mapped");
        }
    }
    for region in boot.memory_map() {
        // A page in the middle of what must not be mapped.
        let page = (region.start + region.length / 2) & !(PAGE - 1);
        let mapped = machine.map.find(base + page).is_some();
        ensure!(
            mapped == belongs_to_physical_map(boot, page),
            "{page:#x}: mapped is {mapped}"
        );
    }
    Ok(())
}

pub fn physical_map_is_memory(machine: &Machine) -> Outcome {
    let own = DATA.get().cast::<u32>();
    let Some(segment) = machine.segment_of(own as u64) else {
        return Err(Facts::new(format_args!("{own:p} is in no segment")));
    };
    let physical = segment.physical_start + (own as u64 - segment.virtual_start);
    let Some(alias) = machine.boot.physical_to_virtual(physical) else {
        return Err(Facts::new(format_args!("{physical:#x} is not mapped")));
    };
    // SAFETY: both point to the first number of `DATA`, to which there is no reference now.
    let seen = unsafe {
        let before = own.read_volatile();
        alias.cast::<u32>().write_volatile(!before);
        let seen = own.read_volatile() == !before;
        own.write_volatile(before);
        seen && alias.cast::<u32>().read_volatile() == before
    };
    ensure!(
        seen,
        "what is written to {alias:p} does not show at {own:p}"
    );
    Ok(())
}
