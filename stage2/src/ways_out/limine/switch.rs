//! The last switch on the way to a Limine kernel, of the processor that boots and of all others.
//!
//! The kernel's tables map nothing of the loader at its physical address. But they and the loader's
//! own map all memory at the same place in the higher half, executable. The code goes there, and
//! switches the tables, and with them the descriptor tables, control registers and segments.
//!
//! Five levels of page tables can only be switched on outside of long mode (SDM vol. 3, 4.1.2). For
//! this the processor that boots goes back to protected mode; the others are not in long mode yet.
//!
//! SDM vol. 3, "Multiple-Processor Initialization"; the machine state is that of the protocol's
//! specification.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::devices::control_registers::{CR0_SET, CR4, IA32_EFER};
use boot_path::devices::descriptors::{CODE_32, CODE_64, DATA, NO_TABLE};
use boot_path::memory::layout;
use boot_path::ways_out::handover::LimineStart;
use boot_path::ways_out::limine::platform::Info;
use boot_path::ways_out::limine::{HHDM, state};
use x86_64::registers::control::{Cr0Flags, EferFlags};
use x86_64::structures::DescriptorTablePointer;

use crate::machine::physical;
use crate::machine::switch::{GDT_POINTER, clear_registers};
use crate::machine::variables::{OneThread, placed};
use crate::ways_out::limine::processors;

/// Everything that the code here needs to know.
#[repr(C)]
struct Last {
    gdt: Cell<[u64; state::GDT.len()]>,
    gdt_pointer: Cell<DescriptorTablePointer>,
    idt_pointer: DescriptorTablePointer,
    /// A lock: set while a processor loads TR.
    lock: Cell<u32>,
    /// CR3, physical, and CR4 on the way: the tables map the loader, with as many levels as the
    /// kernel's.
    way_tables: Cell<u32>,
    way_cr4: Cell<u32>,
    /// Final EFER.
    efer: Cell<u32>,
    /// Final CR4.
    cr4: Cell<u32>,
    /// Final CR3.
    tables: Cell<u64>,
    /// The end of the first processor's stack, and its entry point, as the kernel sees them.
    stack: Cell<u64>,
    entry: Cell<u64>,
    /// The other processors: an array of [`Info`] (physical address), and its length.
    infos: Cell<u64>,
    count: Cell<u32>,
    /// What they run first, and what follows it: both are further away than real mode reaches.
    run: Cell<u64>,
    finish: Cell<u64>,
}

placed! {
    /// In the first 64 KiB, where real mode reaches it.
    in ".real_mode.data"
    static LAST: OneThread<Last> = OneThread::new(Last {
        gdt: Cell::new(state::GDT),
        gdt_pointer: Cell::new(NO_TABLE),
        idt_pointer: NO_TABLE,
        lock: Cell::new(0),
        way_tables: Cell::new(0),
        way_cr4: Cell::new(0),
        efer: Cell::new(0),
        cr4: Cell::new(0),
        tables: Cell::new(0),
        stack: Cell::new(0),
        entry: Cell::new(0),
        infos: Cell::new(0),
        count: Cell::new(0),
        run: Cell::new(0),
        finish: Cell::new(0),
    });
}

/// Notes what the last switch needs, and makes the loader's tables map all memory in the higher
/// half as well, where the GDT is found then.
pub fn prepare(start: &LimineStart) {
    const UPPER_HALF: u64 = 256 * 8;

    let early = layout::EARLY_ROOT.start;
    physical::store(early + UPPER_HALF, physical::load::<u64>(early));
    LAST.gdt_pointer.set(DescriptorTablePointer {
        limit: size_of_val(&state::GDT) as u16 - 1,
        base: x86_64::VirtAddr::new_truncate(HHDM.as_u64() + (&raw const LAST.gdt) as u64),
    });
    LAST.way_tables.set(start.way_tables.as_u64() as u32);
    LAST.way_cr4.set(CR4 | state::cr4(start.five_levels));
    LAST.efer.set(state::efer(start.cpu_features));
    LAST.cr4.set(state::cr4(start.five_levels));
    LAST.tables.set(start.root.as_u64());
    LAST.stack.set(start.stack.as_u64());
    LAST.entry.set(start.entry.as_u64());
}

/// Notes which other processors there are; `infos` is at its physical address. Returns the address
/// where they begin, in real mode.
pub fn processors_begin(infos: &[Info]) -> u64 {
    LAST.infos.set(infos.as_ptr() as u64);
    LAST.count.set(infos.len() as u32);
    LAST.run.set((processors::run as *const ()) as u64);
    LAST.finish.set((finish as *const ()) as u64);
    (begin as *const ()) as u64
}

/// Leaves the loader.
pub fn to_kernel() -> ! {
    // SAFETY: the path gives out a `LimineStart` only when `prepare` had it, whose tables were made for
    // this.
    unsafe { leave() }
}

/// Where the other processors begin: in real mode, with any CS that reaches this code, and nothing
/// else set. They come here by a far jump to segment 0.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
unsafe extern "C" fn begin() -> ! {
    naked_asm!(
        ".code16",
        "cli",
        "cld",
        "xor ax, ax",
        "mov ds, ax",
        "lgdt [{gdt_pointer}]",
        "mov eax, [{last} + {way_cr4}]",
        "mov cr4, eax",
        "mov eax, [{last} + {way_tables}]",
        "mov cr3, eax",
        "mov ecx, {efer}",
        "rdmsr",
        "or eax, {lme}",
        "wrmsr",
        "mov eax, {cr0}",               // caches on: a reset leaves them off
        "mov cr0, eax",
        "ljmp {code_64}, offset .Lprocessor_64",

        // Which processor is this? CPUID 0Bh knows 32 bits of the ID; leaf 1 is the fallback.
        ".code64",
        ".Lprocessor_64:",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "xor eax, eax",
        "cpuid",
        "cmp eax, 0x0B",
        "jb .Lshort_id",
        "mov eax, 0x0B",
        "xor ecx, ecx",
        "cpuid",
        "test ebx, ebx",
        "jnz .Lfind",
        ".Lshort_id:",
        "mov eax, 1",
        "cpuid",
        "shr ebx, 24",
        "mov edx, ebx",
        ".Lfind:",
        "mov rbx, [{last} + {infos}]",
        "mov ecx, [{last} + {count}]",
        "jrcxz .Lunknown",
        ".Lnext:",
        "cmp [rbx + {apic_id}], edx",
        "je .Lfound",
        "add rbx, {info_size}",
        "loop .Lnext",
        ".Lunknown:",
        "hlt",
        "jmp .Lunknown",
        ".Lfound:",
        "mov rsp, [rbx + {stack}]",
        "test rsp, rsp",
        "jz .Lunknown",
        "fninit",
        "xor ebp, ebp",
        "mov rdi, rbx",
        "call [{last} + {run}]",
        "mov rdi, {hhdm}",
        "add rdi, rbx",
        "jmp [{last} + {finish}]",
        gdt_pointer = sym GDT_POINTER,
        last = sym LAST,
        way_cr4 = const offset_of!(Last, way_cr4),
        way_tables = const offset_of!(Last, way_tables),
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits(),
        cr0 = const CR0_SET,
        code_64 = const CODE_64,
        data = const DATA,
        infos = const offset_of!(Last, infos),
        count = const offset_of!(Last, count),
        apic_id = const offset_of!(Info, apic_id),
        stack = const offset_of!(Info, stack),
        info_size = const size_of::<Info>(),
        run = const offset_of!(Last, run),
        hhdm = const HHDM.as_u64(),
        finish = const offset_of!(Last, finish),
    )
}

/// Leaves the loader, as [`LAST`] says.
///
/// # Safety
/// [`LAST`] is filled in.
#[unsafe(naked)]
unsafe extern "sysv64" fn leave() -> ! {
    naked_asm!(
        "cli",
        "cld",
        "xor edi, edi",
        "cmp dword ptr [{last} + {way_tables}], {tables}",
        "je {finish}",
        // Five levels: leave long mode and come back.
        "push {code_32}",
        "push offset .Lfour_levels",
        "retfq",
        ".code32",
        ".Lfour_levels:",
        "mov eax, cr0",
        "and eax, ~{paging}",
        "mov cr0, eax",
        "mov eax, [{last} + {way_cr4}]",
        "mov cr4, eax",
        "mov eax, [{last} + {way_tables}]",
        "mov cr3, eax",
        "mov eax, cr0",
        "or eax, {paging}",
        "mov cr0, eax",
        "ljmp {code_64}, offset .Lfive_levels",
        ".code64",
        ".Lfive_levels:",
        "jmp {finish}",
        last = sym LAST,
        way_tables = const offset_of!(Last, way_tables),
        way_cr4 = const offset_of!(Last, way_cr4),
        tables = const layout::EARLY_ROOT.start,
        paging = const Cr0Flags::PAGING.bits() as u32,
        code_32 = const CODE_32,
        code_64 = const CODE_64,
        finish = sym finish,
    )
}

/// Long mode, the loader's tables. In: RDI = 0 on the processor that boots, which goes to the
/// kernel's entry; on the others the address of their [`Info`] as the kernel sees it, and they
/// wait.
#[unsafe(naked)]
unsafe extern "C" fn finish() -> ! {
    naked_asm!(
        "mov rcx, {hhdm}",
        "lea rax, [rip + .Lupper_half]",
        "add rax, rcx",
        "jmp rax",
        ".Lupper_half:",
        "mov ecx, {ia32_efer}",
        "xor edx, edx",
        "mov eax, [rip + {last} + {efer}]",
        "wrmsr",
        "mov rax, [rip + {last} + {tables}]",
        "mov cr3, rax",
        "mov eax, {cr0}",
        "mov cr0, rax",
        "mov eax, [rip + {last} + {cr4}]",
        "mov cr4, rax",
        "lgdt [rip + {last} + {gdt_pointer}]",
        "lidt [rip + {last} + {idt_pointer}]",
        "mov rsp, [rip + {last} + {stack}]",
        "test rdi, rdi",
        "jz 2f",
        "mov rsp, [rdi + {info_stack}]",
        "2:",
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "mov fs, eax",
        "mov gs, eax",
        "push {code}",
        "lea rax, [rip + .Lselected]",
        "push rax",
        "retfq",
        ".Lselected:",
        "xor eax, eax",
        "lldt ax",
        // LTR marks the descriptor busy, and rejects one that is busy: one processor at a time.
        "3:",
        "lock bts dword ptr [rip + {last} + {lock}], 0",
        "jc 3b",
        "and byte ptr [rip + {last} + {gdt} + {tss} + 5], 0xFD",
        "mov eax, {tss}",
        "ltr ax",
        "mov dword ptr [rip + {last} + {lock}], 0",

        "mov rax, [rip + {last} + {entry}]",
        "test rdi, rdi",
        "jz .Lgo",
        "mov qword ptr [rdi + {extra}], 1",
        ".Lwait:",
        "pause",
        "mov rax, [rdi + {go_to}]",
        "test rax, rax",
        "jz .Lwait",

        ".Lgo:",
        "push 0",                       // a return address, though it never returns
        "push rax",
        "xor esi, esi",
        clear_registers!(),
        "push 2",
        "popfq",
        "ret",
        hhdm = const HHDM.as_u64(),
        last = sym LAST,
        ia32_efer = const IA32_EFER,
        efer = const offset_of!(Last, efer),
        tables = const offset_of!(Last, tables),
        cr0 = const state::CR0,
        cr4 = const offset_of!(Last, cr4),
        gdt = const offset_of!(Last, gdt),
        gdt_pointer = const offset_of!(Last, gdt_pointer),
        idt_pointer = const offset_of!(Last, idt_pointer),
        stack = const offset_of!(Last, stack),
        entry = const offset_of!(Last, entry),
        lock = const offset_of!(Last, lock),
        info_stack = const offset_of!(Info, stack),
        go_to = const offset_of!(Info, go_to),
        extra = const offset_of!(Info, extra),
        code = const state::CODE,
        data = const state::DATA,
        tss = const state::TSS,
    )
}

const _: () = assert!(size_of::<Info>() == 32 && offset_of!(Info, go_to) == 16);
