//! Every promise of the handoff, one function each. `docs/handoff.md` is what they check.

// Memory is looked at in ways that no reference allows.
#![allow(unsafe_code)]

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::fmt::{self, Write};
use core::hint::black_box;

use arrayvec::ArrayString;
use handoff::{BootInfo, KernelSegment, MemoryKind, MemoryRegion};
use x86_64::instructions::port::Port;
use x86_64::registers::control::{Cr0Flags, Cr4Flags, EferFlags};
use x86_64::registers::rflags::RFlags;

use crate::entry::{Registers, SystemState};
use crate::faults::{self, ERROR_FETCH, ERROR_PROTECTION, ERROR_WRITE, Fault, PAGE_FAULT, RET};
use crate::paging::{PAGE, PageMap};
use crate::sync::Shared;
use crate::{STACK_SIZE, time};

/// All that the checks look at.
pub struct Machine {
    pub boot: &'static BootInfo,
    pub registers: Registers,
    pub state: SystemState,
    pub map: PageMap,
}

/// What was found instead of what was promised. Longer texts are cut.
pub struct Facts(ArrayString<112>);

impl Facts {
    fn new(text: fmt::Arguments) -> Self {
        let mut facts = Self(ArrayString::new());
        let _ = facts.0.write_fmt(text); // what does not fit is left out
        facts
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Outcome = Result<(), Facts>;
type Check = fn(&Machine) -> Outcome;

/// Ends the check with these facts unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($facts:tt)+) => {
        if !$condition {
            return Err(Facts::new(format_args!($($facts)+)));
        }
    };
}

/// The checks, in the order in which they run.
pub const CHECKS: &[(&str, Check)] = &[
    ("privilege and flags", flags),
    ("general registers", registers),
    ("stack at entry", stack),
    ("CR0, CR4, EFER", control_registers),
    ("segments, GDT, IDT", descriptors),
    ("x87 and SSE", floating_point),
    ("interrupt controllers", interrupt_controllers),
    ("BootInfo", boot_info),
    ("memory map", memory_map),
    ("memory kinds", memory_kinds),
    ("kernel segments", kernel_segments),
    ("kernel bytes", kernel_bytes),
    ("bss", bss),
    ("TLS template", tls),
    ("modules", modules),
    ("page tables", page_tables),
    ("nothing else mapped", nothing_else_mapped),
    ("physical map", physical_map),
    ("physical map is memory", physical_map_is_memory),
    ("page 0", page_0),
    ("guard page", guard_page),
    ("write to code", write_to_code),
    ("write to constants", write_to_constants),
    ("execute data", execute_data),
    ("outside the kernel", outside_the_kernel),
    ("hole in the physical map", hole),
    ("firmware tables", firmware_tables),
    ("interrupt vectors", interrupt_vectors),
    ("boot disk", boot_disk),
    ("CPU features", cpu_features),
    ("timeline", timeline),
    ("random seed", random_seed),
];

/// Fails where the command line wants it.
pub fn pass(good: bool) -> Outcome {
    ensure!(good, "as the command line says");
    Ok(())
}

fn flags(machine: &Machine) -> Outcome {
    let [cs, ..] = machine.state.segments;
    ensure!(cs & 3 == 0, "CS {cs:#06x}");
    let flags = RFlags::from_bits_retain(machine.registers.rflags);
    let forbidden = RFlags::INTERRUPT_FLAG
        | RFlags::DIRECTION_FLAG
        | RFlags::TRAP_FLAG
        | RFlags::NESTED_TASK
        | RFlags::ALIGNMENT_CHECK
        | RFlags::IOPL_HIGH
        | RFlags::IOPL_LOW;
    ensure!(!flags.intersects(forbidden), "RFLAGS {:#x}", flags.bits());
    Ok(())
}

fn registers(machine: &Machine) -> Outcome {
    let r = &machine.registers;
    let info = core::ptr::from_ref(machine.boot) as u64;
    ensure!(r.rdi == info, "RDI {:#x}, BootInfo at {info:#x}", r.rdi);
    let names = [
        "RAX", "RBX", "RCX", "RDX", "RSI", "RBP", "R8", "R9", "R10", "R11", "R12", "R13", "R14",
        "R15",
    ];
    let values = [
        r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rbp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14,
        r.r15,
    ];
    for (name, value) in names.into_iter().zip(values) {
        ensure!(value == 0, "{name} {value:#x}");
    }
    Ok(())
}

fn stack(machine: &Machine) -> Outcome {
    let kernel = &machine.boot.kernel;
    let (bottom, size, rsp) = (
        kernel.stack_bottom,
        kernel.stack_size,
        machine.registers.rsp,
    );
    ensure!(
        size == STACK_SIZE,
        "{size:#x} bytes, wished for {STACK_SIZE:#x}"
    );
    ensure!(bottom.is_multiple_of(PAGE), "bottom {bottom:#x}");
    ensure!(rsp % 16 == 8, "RSP {rsp:#x}");
    let top = bottom + size;
    // The top is where it was promised, give or take a cache line.
    ensure!(
        rsp < top && top - rsp <= 64,
        "RSP {rsp:#x}, stack {bottom:#x} to {top:#x}"
    );
    let address = machine.registers.return_address;
    ensure!(address == 0, "return address {address:#x}");
    Ok(())
}

fn control_registers(machine: &Machine) -> Outcome {
    let state = &machine.state;
    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::PAGING;
    ensure!(
        state.cr0 == cr0.bits(),
        "CR0 {:#x}, not {cr0:#x}",
        state.cr0
    );
    let cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE;
    ensure!(
        state.cr4 == cr4.bits(),
        "CR4 {:#x}, not {cr4:#x}",
        state.cr4
    );
    let mut efer = EferFlags::LONG_MODE_ENABLE | EferFlags::LONG_MODE_ACTIVE;
    efer.set(EferFlags::NO_EXECUTE_ENABLE, has_nx(machine));
    ensure!(
        state.efer == efer.bits(),
        "EFER {:#x}, not {efer:#x}",
        state.efer
    );
    Ok(())
}

fn descriptors(machine: &Machine) -> Outcome {
    let state = &machine.state;
    let [cs, ss, ..] = state.segments;
    let (gdt, gdt_limit) = state.gdt;
    let (idt, idt_limit) = state.idt;
    ensure!(
        cs & !7 != 0 && cs < gdt_limit,
        "CS {cs:#06x}, GDT limit {gdt_limit:#x}"
    );
    ensure!(ss & 3 == 0 && ss < gdt_limit, "SS {ss:#06x}");
    ensure!(state.task_register != 0, "no TSS");
    ensure!(state.ldt == 0, "LDTR {:#06x}", state.ldt);
    ensure!(idt_limit >= 32 * 16 - 1, "IDT limit {idt_limit:#x}");
    for (address, limit) in [(gdt, gdt_limit), (idt, idt_limit)] {
        let last = address + u64::from(limit);
        let mapped = machine
            .map
            .find(address)
            .is_some_and(|run| last <= run.last);
        ensure!(mapped, "the table at {address:#x} is not mapped");
    }
    Ok(())
}

fn floating_point(machine: &Machine) -> Outcome {
    // What FNINIT leaves, and what a reset leaves in MXCSR: all exceptions masked.
    let (x87, mxcsr) = (machine.state.x87_control, machine.state.mxcsr);
    ensure!(
        x87 == 0x037F && mxcsr == 0x1F80,
        "x87 {x87:#x}, MXCSR {mxcsr:#x}"
    );
    ensure!(
        black_box(1.5_f64) * black_box(4.0) == 6.0,
        "1.5 x 4 is not 6"
    );
    Ok(())
}

fn interrupt_controllers(_: &Machine) -> Outcome {
    // SAFETY: to read the mask registers changes nothing.
    let masks = unsafe { [Port::<u8>::new(0x21).read(), Port::<u8>::new(0xA1).read()] };
    ensure!(masks == [0xFF; 2], "masks {masks:02x?}");
    Ok(())
}

fn boot_info(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    ensure!(
        boot.magic == handoff::BOOTPATH_MAGIC,
        "magic {:#x}",
        boot.magic
    );
    ensure!(
        boot.version == handoff::BOOTPATH_VERSION,
        "version {}",
        boot.version
    );
    ensure!(
        boot.size as usize == size_of::<BootInfo>(),
        "{} bytes",
        boot.size
    );
    ensure!(!boot.loader().is_empty(), "no name of the loader");
    for text in [&boot.loader, &boot.command_line] {
        ensure!(
            terminated(text),
            "a text of {} bytes is not well-formed",
            text.length
        );
    }
    ensure!(
        boot.kernel.slide.is_multiple_of(PAGE),
        "slide {:#x}",
        boot.kernel.slide
    );
    let entry = boot.kernel.entry;
    let own = crate::entry::record_registers as *const () as u64;
    ensure!(entry == own, "entry {entry:#x}, not {own:#x}");
    Ok(())
}

fn memory_map(machine: &Machine) -> Outcome {
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

fn memory_kinds(machine: &Machine) -> Outcome {
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
    for (what, start, length) in [
        (
            "BootInfo",
            core::ptr::from_ref(boot) as u64,
            u64::from(boot.size),
        ),
        (
            "the memory map",
            boot.memory_map as u64,
            size_of_val(boot.memory_map()) as u64,
        ),
        (
            "the modules",
            boot.modules as u64,
            size_of_val(boot.modules()) as u64,
        ),
        (
            "the segments",
            boot.kernel.segments as u64,
            size_of_val(boot.kernel.segments()) as u64,
        ),
        (
            "the command line",
            boot.command_line.start as u64,
            boot.command_line.length + 1,
        ),
        (
            "the stack",
            boot.kernel.stack_bottom,
            boot.kernel.stack_size,
        ),
    ] {
        if length == 0 {
            continue;
        }
        let Some(run) = machine
            .map
            .find(start)
            .filter(|run| start + (length - 1) <= run.last)
        else {
            return Err(Facts::new(format_args!(
                "{what} at {start:#x} is not mapped"
            )));
        };
        let physical = run.translate(start);
        of_kind(
            boot,
            what,
            physical,
            physical + length,
            MemoryKind::Reclaimable,
        )?;
    }
    Ok(())
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

fn kernel_segments(machine: &Machine) -> Outcome {
    let kernel = &machine.boot.kernel;
    let segments = kernel.segments();
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Err(Facts::new(format_args!("none")));
    };
    ensure!(
        kernel.virtual_base == first.virtual_start,
        "base {:#x}",
        kernel.virtual_base
    );
    ensure!(
        kernel.physical_base == first.physical_start,
        "base {:#x}",
        kernel.physical_base
    );
    let size = last.virtual_start + last.length - first.virtual_start;
    ensure!(
        kernel.size == size,
        "size {:#x}, not {size:#x}",
        kernel.size
    );
    for (what, address, flags) in [
        ("code", kernel_segments as *const () as u64, 0b101),
        ("constants", (&raw const PATTERN) as u64, 0b100),
        ("data", DATA.get() as u64, 0b110),
        ("bss", ZEROES.get() as u64, 0b110),
    ] {
        let found = segment_of(machine, address).map(|segment| segment.flags);
        ensure!(
            found == Some(flags),
            "{what} at {address:#x}: flags {found:?}"
        );
    }
    Ok(())
}

/// The segment that a virtual address lies in.
fn segment_of(machine: &Machine, address: u64) -> Option<&'static KernelSegment> {
    let mut segments = machine.boot.kernel.segments().iter();
    segments.find(|segment| address.wrapping_sub(segment.virtual_start) < segment.length)
}

/// A number that depends on its place, so that shifted, swapped or missing pages show.
const fn pattern(index: usize) -> u32 {
    (index as u32 ^ 0x5EED).wrapping_mul(0x9E37_79B1)
}

const fn patterns<const N: usize>() -> [u32; N] {
    let mut values = [0; N];
    let mut index = 0;
    while index < N {
        values[index] = pattern(index);
        index += 1;
    }
    values
}

/// 64 KiB of constants.
static PATTERN: [u32; 16 * 1024] = patterns();
/// 16 KiB of data.
static DATA: Shared<[u32; 4 * 1024]> = Shared::new(patterns());
/// 256 KiB of bss.
static ZEROES: Shared<[u64; 32 * 1024]> = Shared::new([0; _]);

fn kernel_bytes(machine: &Machine) -> Outcome {
    // SAFETY: the data is only changed while a check runs, and put back.
    let data = unsafe { &*DATA.get() };
    for (what, values) in [("constants", &PATTERN[..]), ("data", &data[..])] {
        for (index, value) in values.iter().enumerate() {
            // SAFETY: a reference may be read; volatile, lest the compiler knows the answer.
            let value = unsafe { core::ptr::from_ref(value).read_volatile() };
            ensure!(
                value == pattern(index),
                "{what}: {value:#x} at index {index}"
            );
        }
    }
    // The segments are where they are said to be: seen through the physical map, they are the same.
    for segment in machine.boot.kernel.segments() {
        for offset in (0..segment.length & !7).step_by(8) {
            let alias = machine
                .boot
                .physical_to_virtual(segment.physical_start + offset);
            let Some(alias) = alias else {
                return Err(Facts::new(format_args!(
                    "{offset:#x} is not in the physical map"
                )));
            };
            let own = (segment.virtual_start + offset) as *const u64;
            // SAFETY: both are within the segment; compared one by one, so that what changes
            // meanwhile (the stack is elsewhere) does no harm.
            let same = unsafe { own.read_unaligned() == alias.cast::<u64>().read_unaligned() };
            ensure!(same, "{own:p} differs from {alias:p}");
        }
    }
    Ok(())
}

fn bss(_: &Machine) -> Outcome {
    let zeroes = ZEROES.get().cast::<u64>();
    for index in 0..32 * 1024 {
        // SAFETY: within the array, which nobody writes.
        let value = unsafe { zeroes.add(index).read_volatile() };
        ensure!(value == 0, "{value:#x} at index {index}");
    }
    Ok(())
}

// A PT_TLS of 16 bytes with 8 more of zeroes: stable Rust has no thread-local statics without `std`.
// The flag R keeps the sections, to which nothing refers.
core::arch::global_asm!(
    ".section .tdata.demo, \"awTR\", @progbits",
    ".balign 16",
    ".quad {first}, {second}",
    ".section .tbss.demo, \"awTR\", @nobits",
    ".balign 16",
    ".skip 8",
    ".text",
    first = const TLS[0],
    second = const TLS[1],
);

const TLS: [u64; 2] = [0x5EED, 0x1EAF];

fn tls(machine: &Machine) -> Outcome {
    let Some(tls) = machine.boot.tls() else {
        return Err(Facts::new(format_args!("not reported")));
    };
    let (file, memory, alignment) = (tls.file_size, tls.memory_size, tls.alignment);
    ensure!(
        (file, memory, alignment) == (16, 24, 16),
        "{file} and {memory} bytes, alignment {alignment}"
    );
    ensure!(
        segment_of(machine, tls.start).is_some(),
        "at {:#x}",
        tls.start
    );
    // SAFETY: it lies in a segment.
    let image = unsafe { (tls.start as *const [u64; 2]).read_volatile() };
    ensure!(image == TLS, "{image:x?}");
    Ok(())
}

fn modules(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    for module in boot.modules() {
        let path = module.path.as_str();
        ensure!(
            terminated(&module.path) && terminated(&module.string),
            "texts of {path}"
        );
        let (start, physical) = (module.start as u64, module.physical_start);
        ensure!(physical.is_multiple_of(PAGE), "{path} at {physical:#x}");
        ensure!(
            start == boot.physical_map_base + physical,
            "{path} at {start:#x}"
        );
    }
    Ok(())
}

/// Whether a text is UTF-8 and a zero byte follows it.
fn terminated(text: &handoff::Text) -> bool {
    // SAFETY: the contract promises the text and the byte behind it.
    let end = unsafe { text.start.add(text.length as usize).read() };
    end == 0 && text.as_str().len() as u64 == text.length
}

fn has_nx(machine: &Machine) -> bool {
    machine.boot.cpu_features & handoff::CPU_NX != 0
}

fn page_tables(machine: &Machine) -> Outcome {
    if let Some((problem, address)) = machine.map.problem {
        return Err(Facts::new(format_args!("{problem}: {address:#x}")));
    }
    for run in &machine.map.runs {
        let start = run.start;
        ensure!(!run.user, "{start:#x} is open to programs");
        ensure!(
            !(has_nx(machine) && run.writable && run.executable),
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
        // What is only written by relocation (GNU_RELRO) is read-only afterwards.
        let relro = machine.boot.kernel.slide != 0 && !run.writable;
        let right = (run.writable == segment.is_writable() || relro)
            && (run.executable == segment.is_executable() || !has_nx(machine));
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
    let right = stack.is_some_and(|run| run.writable && !(run.executable && has_nx(machine)));
    ensure!(right, "the stack at {bottom:#x}");
    Ok(())
}

fn nothing_else_mapped(machine: &Machine) -> Outcome {
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
                // Looked at in `physical_map`.
                next = boot
                    .physical_map_base
                    .checked_add(boot.physical_map_size.next_multiple_of(PAGE));
            } else if !in_kernel && page.wrapping_sub(stack.0) >= stack.1 {
                others += 1;
                let physical = run.translate(page);
                let kind = boot.region_of(physical).and_then(MemoryRegion::kind);
                // The loader's own page: mapped where it is, and free later, unless the firmware
                // reserved it or did not report it.
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
fn belongs_to_physical_map(boot: &BootInfo, page: u64) -> bool {
    page < 1 << 20
        || boot.memory_map().iter().any(|region| {
            region.kind().is_some_and(MemoryKind::is_mapped)
                && region.start < page + PAGE
                && page < region.end()
        })
}

fn physical_map(machine: &Machine) -> Outcome {
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
            let right = run.writable && !(run.executable && has_nx(machine));
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

fn physical_map_is_memory(machine: &Machine) -> Outcome {
    let own = DATA.get().cast::<u32>();
    let Some(segment) = segment_of(machine, own as u64) else {
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
    // SAFETY: nothing should be mapped there; if it is, the machine is about to stop with FAIL.
    let (read, written) = unsafe { (faults::read(address), faults::write(address, 0)) };
    expect_fault("reading", address, 0, read)?;
    expect_fault("writing", address, ERROR_WRITE, written)
}

fn page_0(_: &Machine) -> Outcome {
    expect_absent(0)?;
    expect_absent(PAGE - 1)
}

fn guard_page(machine: &Machine) -> Outcome {
    let bottom = machine.boot.kernel.stack_bottom;
    expect_absent(bottom - 1)?;
    expect_absent(bottom - PAGE)?;
    // SAFETY: the stack is not used as far as that: it is nearly empty.
    let (full, last) = unsafe { (faults::push(bottom), faults::push(bottom + 8)) };
    expect_fault("pushing below", bottom - 8, ERROR_WRITE, full)?;
    ensure!(
        last.is_none(),
        "the last quadword of the stack cannot be used"
    );
    Ok(())
}

fn write_to_code(_: &Machine) -> Outcome {
    let address = write_to_code as *const () as u64;
    // SAFETY: the byte is written back as it is.
    let fault = unsafe { faults::write(address, (address as *const u8).read()) };
    expect_fault("writing", address, ERROR_PROTECTION | ERROR_WRITE, fault)
}

fn write_to_constants(_: &Machine) -> Outcome {
    // The second one holds pointers: in a position-independent kernel, GNU_RELRO protects it.
    for address in [(&raw const PATTERN) as u64, CHECKS.as_ptr() as u64] {
        // SAFETY: as above.
        let fault = unsafe { faults::write(address, (address as *const u8).read()) };
        expect_fault("writing", address, ERROR_PROTECTION | ERROR_WRITE, fault)?;
    }
    Ok(())
}

fn execute_data(machine: &Machine) -> Outcome {
    if !has_nx(machine) {
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

fn outside_the_kernel(machine: &Machine) -> Outcome {
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

fn hole(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    // Behind all memory, and the first page above 1 MiB that is not RAM.
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

fn firmware_tables(machine: &Machine) -> Outcome {
    let boot = machine.boot;
    // The signature, and where the structure keeps its length (ACPI 6.5, 5.2.5.3: 20 bytes in
    // version 1; SMBIOS 3.6, 5.2.1 and 5.2.2).
    for (name, address, signature, length_at) in [
        ("RSDP", boot.rsdp, &b"RSD PTR "[..], None),
        ("SMBIOS", boot.smbios, &b"_SM_"[..], Some(5)),
        ("SMBIOS 3", boot.smbios3, &b"_SM3_"[..], Some(6)),
    ] {
        if address == 0 {
            continue;
        }
        let Some(start) = boot.physical_to_virtual(address) else {
            return Err(Facts::new(format_args!(
                "{name} at {address:#x} is not mapped"
            )));
        };
        // SAFETY: the tables lie in memory that is mapped, and are longer than their length field.
        let bytes = unsafe {
            let length = length_at.map_or(20, |at| start.add(at).read().into());
            core::slice::from_raw_parts(start, length)
        };
        ensure!(
            bytes.starts_with(signature),
            "{name} at {address:#x}: {:02x?}",
            bytes.get(..8)
        );
        let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        ensure!(sum == 0, "{name} at {address:#x}: checksum {sum:#x}");
    }
    Ok(())
}

/// A kernel may go back to real mode: the vectors there are the BIOS's, and none leads to what the
/// loader leaves behind.
fn interrupt_vectors(machine: &Machine) -> Outcome {
    const VECTORS: usize = 256;
    const CONVENTIONAL_MEMORY_END: u64 = 0xA_0000;

    let Some(table) = machine.boot.physical_to_virtual(0) else {
        return Err(Facts::new(format_args!("address 0 is not mapped")));
    };
    for vector in 0..VECTORS {
        // SAFETY: the physical map has the first MiB.
        let address = unsafe { table.cast::<[u16; 2]>().add(vector).read_volatile() };
        let [offset, segment] = address.map(u64::from);
        let handler = (segment << 4) + offset;
        let left_behind = machine.boot.memory_map().iter().any(|region| {
            region.kind() == Some(MemoryKind::Reclaimable)
                && region.end() <= CONVENTIONAL_MEMORY_END
                && (region.start..region.end()).contains(&handler)
        });
        ensure!(
            !left_behind,
            "{vector:#x} is {segment:#06x}:{offset:#06x}, in the loader's memory"
        );
    }
    Ok(())
}

fn boot_disk(machine: &Machine) -> Outcome {
    let disk = &machine.boot.boot_disk;
    if disk.sector_size == 0 {
        // Another loader brought everything: there was no disk.
        let numbers = [
            disk.partition_lba,
            disk.partition_sectors,
            disk.reads.into(),
        ];
        let bytes = [disk.drive, disk.bios_drive, disk.partition];
        ensure!(
            numbers == [0; 3] && bytes == [0; 3] && disk.signature == 0,
            "no disk, but {numbers:?}, {bytes:?}"
        );
        return Ok(());
    }
    ensure!(disk.partition <= 4, "partition {}", disk.partition);
    ensure!(disk.partition_sectors > 0, "the partition is empty");
    ensure!(
        disk.partition == 0 || disk.partition_lba > 0,
        "the partition begins at LBA 0"
    );
    let size = disk.sector_size;
    ensure!(
        size.is_power_of_two() && size >= 512,
        "sectors of {size} bytes"
    );
    ensure!(disk.reads > 0, "no reads");
    Ok(())
}

fn cpu_features(machine: &Machine) -> Outcome {
    /// EDX and ECX, or EBX, of a leaf; 0 if the CPU does not know it.
    fn leaf(number: u32) -> (u64, u64, u64) {
        if __cpuid(number & 0x8000_0000).eax < number {
            return (0, 0, 0);
        }
        let leaf = __cpuid_count(number, 0);
        (leaf.ebx.into(), leaf.ecx.into(), leaf.edx.into())
    }
    let (_, basic, _) = leaf(1);
    let (structured, structured_ecx, _) = leaf(7);
    let (_, _, extended) = leaf(0x8000_0001);
    let (_, _, power) = leaf(0x8000_0007);
    for (name, flag, register, bit) in [
        ("NX", handoff::CPU_NX, extended, 20),
        ("1 GiB pages", handoff::CPU_1GIB_PAGES, extended, 26),
        ("LA57", handoff::CPU_LA57, structured_ecx, 16),
        ("invariant TSC", handoff::CPU_INVARIANT_TSC, power, 8),
        ("RDRAND", handoff::CPU_RDRAND, basic, 30),
        ("RDSEED", handoff::CPU_RDSEED, structured, 18),
        ("x2APIC", handoff::CPU_X2APIC, basic, 21),
        ("hypervisor", handoff::CPU_HYPERVISOR, basic, 31),
        ("SMEP", handoff::CPU_SMEP, structured, 7),
        ("SMAP", handoff::CPU_SMAP, structured, 20),
    ] {
        let told = machine.boot.cpu_features & flag != 0;
        let found = register >> bit & 1 != 0;
        ensure!(told == found, "{name}: told {told}, found {found}");
    }
    Ok(())
}

fn timeline(machine: &Machine) -> Outcome {
    let mut last = 0;
    for step in 1..=time::STEPS.len() {
        let Some(ticks) = machine.boot.time_of_step(step) else {
            return Err(Facts::new(format_args!("step {step} was not taken")));
        };
        ensure!(
            ticks >= last,
            "step {step} at {ticks}, the one before at {last}"
        );
        last = ticks;
    }
    let entry = machine.registers.time;
    ensure!(
        entry >= last,
        "the handoff was at {last}, the kernel's first instruction at {entry}"
    );
    Ok(())
}

fn random_seed(machine: &Machine) -> Outcome {
    let seed = &machine.boot.random_seed;
    ensure!(
        seed.iter().any(|byte| byte != &seed[0]),
        "all bytes are {:#04x}",
        seed[0]
    );
    Ok(())
}
