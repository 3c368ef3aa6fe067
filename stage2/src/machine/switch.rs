//! The switch page: the one page of the loader that the kernel's page tables map as well, at its
//! physical address, readable and executable.
//!
//! It holds what must be there on both sides of the switch of page tables: the instructions that
//! switch, the GDT, the TSS and the IDT, and the stubs of the fault handlers. These go back to the
//! loader's own tables before they call Rust: so a kernel that faults before it has an IDT gets a
//! readable report. The kernel may unmap the page as soon as it has its own GDT and IDT.
#![allow(unsafe_code)]

use core::mem::offset_of;

use asm_lines::naked_asm;
use boot_path::errors::exception;
use boot_path::memory::layout;
use x86_64::VirtAddr;
use x86_64::structures::gdt::DescriptorFlags;
use x86_64::structures::tss::TaskStateSegment;

use crate::real::long_mode::{
    CODE_16, CODE_32, CODE_64, CR0_CLEAR, CR4, DATA, DATA_16, DescriptorPointer, TSS,
};

/// An interrupt gate to a stub: offset in bits 63:48 and 15:0 (filled in by [`fill_tables`]), type,
/// IST, selector (SDM vol. 3, 6.14.1). The double fault has a stack of its own.
const fn gate(vector: usize) -> [u64; 2] {
    let ist = if vector as u64 == exception::DOUBLE_FAULT {
        2
    } else {
        1
    };
    [(CODE_64 as u64) << 16 | ist << 32 | 0x8E << 40, 0]
}

/// A present, available 64-bit TSS; its base is filled in by [`fill_tables`].
const TSS_DESCRIPTOR: u64 = 0x89 << 40 | (size_of::<TaskStateSegment>() - 1) as u64;

/// Number of exception vectors (SDM vol. 3, 6.3.1).
pub const VECTORS: usize = 32;

/// Bytes from one stub to the next: the assembler fills each one up, wherever the first one begins.
const STUB_SIZE: u64 = 8;

/// A 16-bit segment: base 0, limit FFFFh, present, accessed, writable or readable.
pub const SEGMENT_16: u64 = DescriptorFlags::USER_SEGMENT.bits()
    | DescriptorFlags::PRESENT.bits()
    | DescriptorFlags::ACCESSED.bits()
    | DescriptorFlags::WRITABLE.bits()
    | DescriptorFlags::LIMIT_0_15.bits();

/// The descriptors, in the places that the selectors name; that of the TSS takes two.
const GDT: [u64; 8] = {
    let mut gdt = [0; 8];
    gdt[index(CODE_64)] = DescriptorFlags::KERNEL_CODE64.bits();
    gdt[index(CODE_32)] = DescriptorFlags::KERNEL_CODE32.bits();
    gdt[index(DATA)] = DescriptorFlags::KERNEL_DATA.bits();
    gdt[index(CODE_16)] = SEGMENT_16 | DescriptorFlags::EXECUTABLE.bits();
    gdt[index(DATA_16)] = SEGMENT_16;
    gdt[index(TSS)] = TSS_DESCRIPTOR;
    gdt
};
const _: () = assert!(index(TSS) + 1 < GDT.len());

/// The place of a selector's descriptor.
const fn index(selector: u16) -> usize {
    assert!(selector != 0 && selector.is_multiple_of(8));
    selector as usize / size_of::<u64>()
}

/// The data of the switch page.
#[repr(C, align(16))]
pub struct SwitchPage {
    /// One [`gate`] for each exception.
    idt: [[u64; 2]; VECTORS],
    pub gdt: [u64; GDT.len()],
    tss: TaskStateSegment,
    /// CR3 of the loader.
    loader_tables: u64,
    /// What is to be taken from the address of the fault stack when the loader's tables are back.
    stack_bias: u64,
}

/// The page. It is written by the loader only.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".switch.data")]
pub static mut SWITCH: SwitchPage = SwitchPage {
    idt: {
        let mut idt = [[0; 2]; VECTORS];
        let mut vector = 0;
        while vector < VECTORS {
            idt[vector] = gate(vector);
            vector += 1;
        }
        idt
    },
    gdt: GDT,
    tss: {
        let mut tss = TaskStateSegment::new();
        tss.interrupt_stack_table[0] = VirtAddr::new_truncate(layout::FAULT_STACK.end);
        tss.interrupt_stack_table[1] = VirtAddr::new_truncate(layout::DOUBLE_FAULT_STACK.end);
        tss
    },
    loader_tables: layout::EARLY_TABLES.start,
    stack_bias: 0,
};

/// Physical address of the switch page.
pub fn address() -> u64 {
    (&raw const SWITCH) as u64 & !(layout::PAGE_SIZE - 1)
}

/// What LIDT loads in long mode.
#[unsafe(link_section = ".real_mode.data")]
pub static mut IDT_POINTER: DescriptorPointer =
    // SAFETY: an address, and nothing more.
    DescriptorPointer::new(unsafe { &raw const SWITCH.idt });

/// Fills in the addresses in IDT and GDT, which no constant can take to pieces: the switch page is below
/// 64 KiB, by the linker script, and one piece is enough. Clobbers AX, CX, DI.
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
        gate_size = const size_of::<[u64; 2]>(),
    )
}

/// An IDT without entries, for a kernel that wants no reports: a fault resets the machine.
pub fn uninstall() {
    // SAFETY: the caller is about to leave the loader; nothing of it depends on exceptions.
    unsafe {
        x86_64::instructions::tables::lidt(&x86_64::structures::DescriptorTablePointer {
            limit: 0,
            base: VirtAddr::zero(),
        });
    }
}

/// The loader's own tables are in use again, for good: further exceptions find their stacks there.
pub fn back_in_loader() {
    let page = &raw mut SWITCH;
    // SAFETY: one thread; what is being handled does not return.
    unsafe {
        (*page).stack_bias = 0;
        set_fault_stacks(0);
    }
}

/// Where the handlers' stacks are when physical address 0 is seen at `base`: IST 1, and IST 2 for
/// the double fault, which may mean that the other one is broken.
///
/// # Safety
/// Nobody returns from an exception.
unsafe fn set_fault_stacks(base: u64) {
    let page = &raw mut SWITCH;
    for (slot, stack) in [layout::FAULT_STACK, layout::DOUBLE_FAULT_STACK]
        .iter()
        .enumerate()
    {
        let top = VirtAddr::new_truncate(base.wrapping_add(stack.end));
        // SAFETY: the caller's promise; nothing else writes to the page.
        unsafe { (*page).tss.interrupt_stack_table[slot] = top };
    }
}

/// Leaves the loader: `tables` becomes CR3, `stack_top` (16-byte aligned) the stack, and the kernel
/// begins at `entry` with `boot_info` in RDI. Faults are still reported, on a stack in the physical
/// map at `physical_map_base`.
///
/// # Safety
/// The tables map the switch page, the stack, the entry point and the physical map.
pub unsafe fn to_kernel(
    tables: u64,
    stack_top: u64,
    entry: u64,
    boot_info: u64,
    physical_map_base: u64,
) -> ! {
    let page = &raw mut SWITCH;
    // SAFETY: nothing else runs; the caller's promise covers the rest.
    unsafe {
        (*page).stack_bias = physical_map_base;
        set_fault_stacks(physical_map_base);
        leap(tables, stack_top, entry, boot_info)
    }
}

/// The last instructions of the loader.
#[unsafe(naked)]
#[unsafe(link_section = ".switch.text")]
unsafe extern "sysv64" fn leap(tables: u64, stack_top: u64, entry: u64, boot_info: u64) -> ! {
    naked_asm!(
        "mov cr3, rdi",
        "mov rsp, rsi",
        "push 0", // the return address of a function that does not return
        "push rdx",
        "push 2", // RFLAGS: nothing but the bit that is always set
        "mov rdi, rcx",
        "popfq",
        "xor eax, eax",
        "xor ebx, ebx",
        "xor ecx, ecx",
        "xor edx, edx",
        "xor esi, esi",
        "xor ebp, ebp",
        "xor r8d, r8d",
        "xor r9d, r9d",
        "xor r10d, r10d",
        "xor r11d, r11d",
        "xor r12d, r12d",
        "xor r13d, r13d",
        "xor r14d, r14d",
        "xor r15d, r15d",
        "push 2",
        "popfq", // XOR changed the flags
        "ret",
    )
}

/// What [`stubs`] leave on the fault stack, from the lowest address on.
#[derive(Debug)]
#[repr(C)]
pub struct Saved {
    pub cr3: u64,
    pub cr2: u64,
    /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15.
    pub general: [u64; 15],
    /// Return address of the stub's call, which tells the vector.
    stub: u64,
    /// Error code (where the vector has one), RIP, CS, RFLAGS, RSP, SS.
    frame: [u64; 6],
}

// In the order in which `.Lsave` pushes, backwards.
const _: () = assert!(offset_of!(Saved, cr3) == 0 && offset_of!(Saved, cr2) == 8);
const _: () = assert!(offset_of!(Saved, general) == 16 && offset_of!(Saved, stub) == 17 * 8);
const _: () = assert!(offset_of!(Saved, frame) == 18 * 8 && size_of::<Saved>() == 24 * 8);

impl Saved {
    /// The exception's vector.
    pub fn vector(&self) -> u64 {
        (self.stub - (stubs as *const ()) as u64) / STUB_SIZE
    }

    /// The error code, where the exception has one (SDM vol. 3, table 6-1).
    pub fn error_code(&self) -> Option<u64> {
        exception::has_error_code(self.vector()).then_some(self.frame[0])
    }

    /// RIP, CS, RFLAGS, RSP, SS.
    pub fn interrupted(&self) -> [u64; 5] {
        let first = usize::from(self.error_code().is_some());
        core::array::from_fn(|i| self.frame[first + i])
    }
}

/// One stub a vector, [`STUB_SIZE`] bytes each, from the function's own address on: the call's return
/// address tells which it was. All lead to the common part, which saves the registers, goes back to the loader's tables and calls
/// [`crate::machine::faults::report`].
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
        report = sym crate::machine::faults::report,
    )
}
