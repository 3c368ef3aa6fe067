//! The switch page: the one page of the loader that the kernel's page tables map as well, at its
//! physical address, readable and executable.
//!
//! It holds what must be there on both sides of the switch of page tables: the instructions that
//! switch, the GDT, the TSS and the IDT, and the stubs of the fault handlers. The stubs go back to
//! the loader's own tables before they call Rust, so a kernel that faults before it has an IDT gets
//! a readable report. The kernel may unmap the page as soon as it has its own GDT and IDT.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::devices::control_registers::{CR0_CLEAR, CR4};
use boot_path::devices::descriptors::{DescriptorPointer, GDT, Gate, IDT, TSS, TaskState};
use boot_path::errors::exception::{Saved, VECTORS};
use boot_path::memory::address::{PhysAddr, VirtAddr};
use boot_path::memory::layout;
use boot_path::ways_out::handover::BootpathStart;

use crate::machine::faults;
use crate::machine::variables::{OneThread, placed};

/// Bytes from one stub to the next: the assembler pads each one to this size.
const STUB_SIZE: u64 = 8;

/// The data of the switch page.
#[repr(C, align(16))]
struct SwitchPage {
    idt: Cell<[Gate; IDT.len()]>,
    gdt: Cell<[u64; GDT.len()]>,
    tss: TaskState,
    /// CR3 of the loader.
    loader_tables: u64,
    /// Subtracted from the address of the fault stack once the loader's tables are back.
    stack_bias: Cell<u64>,
}

placed! {
    /// The page. Only the loader writes to it.
    in ".switch.data"
    static SWITCH: OneThread<SwitchPage> = OneThread::new(SwitchPage {
        idt: Cell::new(IDT),
        gdt: Cell::new(GDT),
        tss: TaskState::new(),
        loader_tables: layout::EARLY_ROOT.start,
        stack_bias: Cell::new(0),
    });

    /// What LGDT loads before long mode and after each BIOS call.
    in ".real_mode.data"
    pub static GDT_POINTER: OneThread<DescriptorPointer> =
        OneThread::new(DescriptorPointer::new(&raw const SWITCH.value().gdt));

    /// What LIDT loads in long mode.
    in ".real_mode.data"
    pub static IDT_POINTER: OneThread<DescriptorPointer> =
        OneThread::new(DescriptorPointer::new(&raw const SWITCH.value().idt));
}

/// Physical address of the switch page.
pub fn address() -> u64 {
    (&raw const SWITCH) as u64 & !(layout::PAGE_SIZE - 1)
}

/// Fills in the addresses in IDT and GDT, which a constant cannot split into their fields. The
/// linker script keeps the switch page below 64 KiB, so one field is enough. Clobbers AX, CX, DI.
#[unsafe(naked)]
#[unsafe(link_section = ".real_mode.text")]
pub extern "C" fn fill_tables() {
    naked_asm!(
        ".code16",
        "mov word ptr [{page} + {gdt} + {tss_selector} + 2], offset {page} + {tss}",
        "mov ax, offset {stubs}",
        "mov di, offset {page} + {idt}",
        "mov cx, {vectors}",
        "2:",
        "mov [di], ax",
        "add ax, {stub_size}",
        "add di, {gate_size}",
        "loop 2b",
        "ret",
        ".code64",
        page = sym SWITCH,
        gdt = const offset_of!(SwitchPage, gdt),
        tss_selector = const TSS,
        tss = const offset_of!(SwitchPage, tss),
        stubs = sym stubs,
        idt = const offset_of!(SwitchPage, idt),
        vectors = const VECTORS,
        stub_size = const STUB_SIZE,
        gate_size = const size_of::<Gate>(),
    )
}

/// The loader's own tables are in use again, for good: further exceptions find their stacks there.
pub fn back_in_loader() {
    show_stacks_at(VirtAddr::new(0));
}

/// Makes the handlers look for their stacks where physical address 0 is mapped: at `base`.
fn show_stacks_at(base: VirtAddr) {
    let base = base.as_u64();
    SWITCH.stack_bias.set(base);
    SWITCH.tss.show_stacks_at(base);
}

/// Leaves the loader for a kernel of its own protocol. Faults are still reported, on a stack in the
/// physical map.
pub fn to_kernel(start: &BootpathStart) -> ! {
    let base = start.physical_map_base;
    show_stacks_at(base);
    let boot_info = base.wrapping_add(start.boot_info.as_u64());
    // SAFETY: the tables were made for exactly this: they map the switch page, the stack, the entry
    // point and the physical map. Nothing else runs.
    unsafe { leap(start.root, start.stack_top, start.entry, boot_info) }
}

/// Zeroes all general registers except RDI, RSI and RSP, so that a 64-bit program learns nothing
/// from them. Changes the flags.
macro_rules! clear_registers {
    () => {
        asm_lines::lines!(
            "xor eax, eax",
            "xor ebx, ebx",
            "xor ecx, ecx",
            "xor edx, edx",
            "xor ebp, ebp",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor r11d, r11d",
            "xor r12d, r12d",
            "xor r13d, r13d",
            "xor r14d, r14d",
            "xor r15d, r15d",
        )
    };
}
pub(crate) use clear_registers;

/// The last instructions of the loader: `tables` becomes CR3, `stack_top` (16-byte aligned) the
/// stack, and the kernel begins at `entry` with `boot_info` in RDI.
#[unsafe(naked)]
#[unsafe(link_section = ".switch.text")]
unsafe extern "sysv64" fn leap(
    tables: PhysAddr,
    stack_top: VirtAddr,
    entry: VirtAddr,
    boot_info: VirtAddr,
) -> ! {
    naked_asm!(
        "mov cr3, rdi",
        "mov rsp, rsi",
        "push 0", // the return address of a function that does not return
        "push rdx",
        "push 2", // RFLAGS: only the bit that is always set
        "mov rdi, rcx",
        "popfq",
        "xor esi, esi",
        clear_registers!(),
        "push 2",
        "popfq", // XOR changed the flags
        "ret",
    )
}

// In the order in which `.Lsave` pushes, backwards.
const _: () = assert!(offset_of!(Saved, cr3) == 0 && offset_of!(Saved, cr2) == 8);
const _: () = assert!(offset_of!(Saved, general) == 16 && offset_of!(Saved, stub) == 17 * 8);
const _: () = assert!(offset_of!(Saved, frame) == 18 * 8 && size_of::<Saved>() == 24 * 8);

/// The vector of the exception whose stub left this.
pub fn vector(saved: &Saved) -> u64 {
    (saved.stub - (stubs as *const ()) as u64) / STUB_SIZE
}

/// One stub per vector, [`STUB_SIZE`] bytes each, from the function's own address on. The return
/// address of its call identifies the vector. All stubs lead to the common part, which saves the
/// registers, goes back to the loader's tables and calls [`faults::report`].
#[unsafe(naked)]
#[unsafe(link_section = ".switch.text")]
extern "C" fn stubs() {
    naked_asm!(
        ".rept {vectors}",
        "2: call .Lsave",
        ".skip {stub_size} - (. - 2b), 0xCC", // fails where that is too little
        ".endr",

        ".Lsave:",
        "push r15",
        "push r14",
        "push r13",
        "push r12",
        "push r11",
        "push r10",
        "push r9",
        "push r8",
        "push rbp",
        "push rdi",
        "push rsi",
        "push rdx",
        "push rcx",
        "push rbx",
        "push rax",
        "mov rax, cr2",
        "push rax",
        "mov rax, cr3",
        "push rax",
        "mov rdi, rsp",
        "sub rdi, [rip + {page} + {stack_bias}]",
        "mov rax, [rip + {page} + {loader_tables}]",
        "mov cr3, rax",
        // Rust uses SSE, which the kernel may have switched off.
        "mov rax, cr0",
        "and eax, ~{cr0_clear}",
        "mov cr0, rax",
        "mov rax, cr4",
        "or eax, {cr4}",
        "mov cr4, rax",
        "mov rsp, rdi",
        "and rsp, -16",
        "cld",
        "mov eax, offset {report}",
        "call rax",
        "ud2",
        vectors = const VECTORS,
        stub_size = const STUB_SIZE,
        cr0_clear = const CR0_CLEAR,
        cr4 = const CR4,
        page = sym SWITCH,
        stack_bias = const offset_of!(SwitchPage, stack_bias),
        loader_tables = const offset_of!(SwitchPage, loader_tables),
        report = sym faults::report,
    )
}
