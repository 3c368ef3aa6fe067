//! Step 4: long mode.
//!
//! **On entry**: real mode, CS = DS = SS = 0, A20 on, a CPU that has long mode; ESI: address of the
//! 64-bit program. **This step**: builds tables that map the first 4 GiB to themselves, then takes
//! one of two roads, as the header says: through 32-bit protected mode, or straight from real mode
//! by setting PE and PG in one write to CR0. **On exit**: 64-bit mode at the address in ESI,
//! interrupts off, flat segments, SSE enabled, stack at the top of [`layout::STACK`], `.bss`
//! zeroed; the whole image is [checked](self_check).
//!
//! Intel SDM vol. 3, 11.8.5 "Initializing IA-32e mode"; AMD APM vol. 2, 14.6.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::devices::control_registers::{CACHES_OFF, CR0_CLEAR, CR0_SET, CR4, IA32_EFER};
use boot_path::devices::descriptors::{CODE_32, CODE_64, DATA, TSS};
use boot_path::memory::layout;
use disk_layout::Road;
use disk_layout::stage2::Stage2Header;
use x86_64::registers::control::EferFlags;
use x86_64::structures::paging::PageTableFlags;

use crate::machine::header::HEADER;
use crate::machine::real_mode::exceptions;
use crate::machine::real_mode::findings::{BIOS_CONTROL, BiosControl};
use crate::machine::switch::{self, GDT_POINTER};
use crate::real::self_check;

/// Flags of a table entry that leads to another table.
const TABLE: u64 = PageTableFlags::PRESENT.bits() | PageTableFlags::WRITABLE.bits();
/// Flags of an entry that maps 2 MiB.
const PAGE_2_MIB: u64 = TABLE | PageTableFlags::HUGE_PAGE.bits();

unsafe extern "C" {
    // From the linker script.
    static bss_start: u8;
    static bss_end: u8;
}

/// Switches on PAE, loads the tables, enables long mode, and switches on paging (and protection,
/// where it is not on yet), which makes long mode active; then jumps to 64-bit code. Both roads use
/// it, in 32-bit and in 16-bit code.
macro_rules! switch_on {
    () => {
        asm_lines::lines!(
            "mov eax, {cr4}",
            "mov cr4, eax",
            "mov eax, {root}",
            "mov cr3, eax",
            "mov ecx, {efer}",
            "rdmsr",
            "or eax, {lme}",
            "wrmsr",
            "mov eax, cr0",
            "and eax, ~{cr0_clear}",
            "or eax, {cr0_set}",
            "mov cr0, eax",
            "ljmp {code_64}, offset {begin}",
        )
    };
}

/// From real mode to the 64-bit program at the address in ESI, by the road that the header names.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn enter() -> ! {
    naked_asm!(
        ".code16",
        "cli",
        "mov eax, cr0",
        "and eax, ~{caches_off}",
        "mov [{bios} + {bios_cr0}], eax",
        "mov eax, cr4",
        "mov [{bios} + {bios_cr4}], eax",
        "movzx esp, sp",                // 32-bit code uses all of it
        "mov dword ptr [{stack_bottom}], {canary}",
        "call {fill_tables}",

        // PML4 → PDPT → four page directories, each of whose entries maps 2 MiB to itself.
        "xor eax, eax",
        "mov di, {root} >> 4",          // beyond what 16-bit code reaches in segment 0
        "mov es, di",
        "xor edi, edi",
        "mov ecx, {page_size} / 4",
        "rep stosd es:[edi], eax",
        "mov dword ptr es:[0], {pdpt} + {table}",
        "mov es, ax",
        "mov edi, {pdpt}",
        "mov ecx, {tables_size} / 4",
        "rep stosd es:[edi], eax",
        "mov eax, {directories} + {table}",
        "mov edi, {pdpt}",
        "mov cx, 4",
        "2:",
        "mov [edi], eax",
        "add edi, 8",
        "add eax, 0x1000",
        "loop 2b",
        "mov eax, {page_2_mib}",
        "mov edi, {directories}",
        "mov cx, 4 * 512",
        "3:",
        "mov [edi], eax",
        "add edi, 8",
        "add eax, 0x200000",
        "loop 3b",

        "lgdt [{gdt_pointer}]",
        "lidt [{idt_pointer}]",
        "cmp byte ptr [{header} + {road}], {direct}",
        "je .Ldirect",

        // The road of the manuals. 32-bit protected mode first …
        "mov eax, cr0",
        "or eax, 1",                    // PE
        "mov cr0, eax",
        "ljmp {code_32}, offset .Lprotected",
        ".code32",
        ".Lprotected:",
        "mov ax, {data}",
        "mov ds, ax",
        "mov es, ax",
        "mov ss, ax",
        // … then long mode.
        switch_on!(),

        // The direct road: the same registers, and protection and paging at once.
        ".code16",
        ".Ldirect:",
        switch_on!(),
        ".code64",
        caches_off = const CACHES_OFF,
        bios = sym BIOS_CONTROL,
        bios_cr0 = const offset_of!(BiosControl, cr0),
        bios_cr4 = const offset_of!(BiosControl, cr4),
        fill_tables = sym switch::fill_tables,
        gdt_pointer = sym GDT_POINTER,
        idt_pointer = sym exceptions::IDT_POINTER,
        header = sym HEADER,
        road = const offset_of!(Stage2Header, road),
        direct = const Road::Direct as u8,
        stack_bottom = const layout::REAL_MODE_STACK.start,
        canary = const layout::CANARY,
        root = const layout::EARLY_ROOT.start,
        page_size = const layout::PAGE_SIZE,
        pdpt = const layout::EARLY_TABLES.start,
        tables_size = const layout::EARLY_TABLES.size(),
        directories = const layout::EARLY_TABLES.start + layout::PAGE_SIZE,
        table = const TABLE,
        page_2_mib = const PAGE_2_MIB,
        code_32 = const CODE_32,
        code_64 = const CODE_64,
        data = const DATA,
        cr4 = const CR4,
        efer = const IA32_EFER,
        lme = const EferFlags::LONG_MODE_ENABLE.bits(),
        cr0_clear = const CR0_CLEAR,
        cr0_set = const CR0_SET,
        begin = sym begin,
    )
}

/// The first 64-bit instructions: data segments, stack, `.bss`, IDT and TSS, then Rust.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
extern "C" fn begin() -> ! {
    naked_asm!(
        "mov eax, {data}",
        "mov ds, eax",
        "mov es, eax",
        "mov ss, eax",
        "xor eax, eax",
        "mov fs, eax",
        "mov gs, eax",
        "mov esp, {stack}",
        "mov dword ptr [{stack_bottom}], {canary}",
        "mov edi, offset {bss_start}",
        "mov ecx, offset {bss_end}",
        "sub ecx, edi",
        "shr ecx, 3",
        "rep stosq",
        "lidt [{idt_pointer}]",
        "mov eax, {tss}",
        "ltr ax",
        "fninit",
        "xor ebp, ebp",
        "mov edi, esi",                 // bits 63:32 of a register are lost on the way
        "push rdi",
        "call {self_check}",            // is the rest of the image whole?
        "pop rax",
        "call rax",
        "ud2",
        data = const DATA,
        self_check = sym self_check::check,
        idt_pointer = sym switch::IDT_POINTER,
        tss = const TSS,
        stack = const layout::STACK.end,
        stack_bottom = const layout::STACK.start,
        canary = const layout::CANARY,
        bss_start = sym bss_start,
        bss_end = sym bss_end,
    )
}
