//! The memory map, and that everything lies in memory of its kind.

use handoff::{BootInfo, MemoryKind, MemoryRegion};

use super::Machine;
use super::outcome::{Facts, Outcome, ensure};
use crate::paging::PAGE;

pub fn memory_map(machine: &Machine) -> Outcome {
    let map = machine.boot.memory_map();
    ensure!(!map.is_empty(), "empty");
    let mut end = 0;
    for MemoryRegion {
        start,
        length,
        kind,
        ..
    } in map
    {
        ensure!(*start >= end, "{start:#x} begins before {end:#x}");
        ensure!(*length > 0, "{start:#x} is empty");
        let Some(after) = start.checked_add(*length) else {
            return Err(Facts::new(format_args!("{start:#x} wraps around")));
        };
        let Some(kind) = MemoryKind::from_number(*kind) else {
            return Err(Facts::new(format_args!("{start:#x} is of kind {kind}")));
        };
        let pages = start.is_multiple_of(PAGE) && length.is_multiple_of(PAGE);
        ensure!(
            pages || !matches!(kind, MemoryKind::Usable | MemoryKind::Reclaimable),
            "{start:#x} to {after:#x} is not made of whole pages"
        );
        end = after;
    }
    for pair in map.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        ensure!(
            before.end() != after.start || before.kind != after.kind,
            "{:#x} continues the region before it",
            after.start
        );
    }
    let usable = map
        .iter()
        .any(|region| region.kind() == Some(MemoryKind::Usable));
    ensure!(usable, "nothing is usable");
    Ok(())
}

pub fn memory_kinds(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    for segment in boot.kernel.segments() {
        let start = segment.physical_start & !(PAGE - 1);
        of_kind(
            boot,
            "kernel",
            start,
            segment.physical_start + segment.length,
            MemoryKind::Kernel,
        )?;
    }
    for module in boot.modules() {
        let end = module.physical_start + module.length;
        of_kind(
            boot,
            "module",
            module.physical_start,
            end,
            MemoryKind::Module,
        )?;
    }
    for (what, start, length) in left_by_the_loader(boot) {
        if length > 0 {
            let physical = physical(machine, what, start, length)?;
            let end = physical + length;
            of_kind(boot, what, physical, end, MemoryKind::Reclaimable)?;
        }
    }
    Ok(())
}

/// What the loader leaves for the kernel to read or to use: name, address and length.
fn left_by_the_loader(boot: &BootInfo) -> [(&'static str, u64, u64); 6] {
    let kernel = &boot.kernel;
    let line = &boot.command_line;
    let map_length = size_of_val(boot.memory_map()) as u64;
    let modules_length = size_of_val(boot.modules()) as u64;
    let segments_length = size_of_val(kernel.segments()) as u64;
    let own = core::ptr::from_ref(boot) as u64;
    [
        ("BootInfo", own, boot.size.into()),
        ("the memory map", boot.memory_map as u64, map_length),
        ("the modules", boot.modules as u64, modules_length),
        ("the segments", kernel.segments as u64, segments_length),
        ("the command line", line.start as u64, line.length + 1),
        ("the stack", kernel.stack_bottom, kernel.stack_size),
    ]
}

/// The physical address of a virtual range that is mapped to one range.
fn physical(machine: &Machine, what: &str, start: u64, length: u64) -> Result<u64, Facts> {
    let run = machine.map.find(start);
    let run = run.filter(|run| start + (length - 1) <= run.last);
    match run {
        Some(run) => Ok(run.translate(start)),
        None => Err(Facts::new(format_args!(
            "{what} at {start:#x} is not mapped"
        ))),
    }
}

/// Checks that a physical range is of one kind.
fn of_kind(boot: &BootInfo, what: &str, start: u64, end: u64, kind: MemoryKind) -> Outcome {
    let mut at = start;
    while at < end {
        let region = boot.region_of(at);
        let found = region.and_then(MemoryRegion::kind);
        ensure!(found == Some(kind), "{what}: {at:#x} is {found:?}");
        at = region.map_or(u64::MAX, MemoryRegion::end);
    }
    Ok(())
}
