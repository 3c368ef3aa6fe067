//! Faults: the kernel's own GDT, TSS and IDT, and accesses that may fault and are recovered from.
//!
//! All handlers run on a stack of their own (IST 1): a fault may come with no stack left, and the
//! ready-made `core` for Linux keeps data below RSP, in the red zone.

// Descriptor tables and handlers are the CPU's business.
#![allow(unsafe_code)]

use core::fmt;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use asm_lines::naked_asm;
use x86_64::VirtAddr;
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::Cr2;
use x86_64::registers::segmentation::{CS, DS, ES, SS, Segment};
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable};
use x86_64::structures::idt::InterruptDescriptorTable;
use x86_64::structures::tss::TaskStateSegment;

use crate::sync::Shared;
use crate::{println, verdict};

/// The slot of the interrupt stack table that all handlers use; the CPU counts from 1, the crate
/// `x86_64` from 0.
const IST_SLOT: u16 = 0;

/// Vector of the page fault (SDM vol. 3, "Exception and Interrupt Reference").
pub const PAGE_FAULT: u64 = 14;

/// In a page fault's error code: the page is mapped, but does not permit this access.
pub const ERROR_PROTECTION: u64 = 1 << 0;
/// In a page fault's error code: a write.
pub const ERROR_WRITE: u64 = 1 << 1;
/// In a page fault's error code: an instruction fetch (reported where NX is on).
pub const ERROR_FETCH: u64 = 1 << 4;

/// What the CPU reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub vector: u64,
    pub error_code: u64,
    /// CR2: the address, if it is a page fault.
    pub address: u64,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            vector,
            error_code,
            address,
        } = self;
        write!(
            f,
            "vector {vector}, error code {error_code:#x}, CR2 {address:#x}"
        )
    }
}

/// What a handler finds on its stack: what the stub pushed and, from the error code on, the CPU
/// (SDM vol. 3, "64-Bit Mode Stack Frame").
#[repr(C)]
struct Frame {
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    rax: u64,
    vector: u64,
    error_code: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Where to continue after the next fault; 0: none is expected. Assembly writes it.
static RECOVERY: AtomicU64 = AtomicU64::new(0);

/// The last fault that was recovered from.
static LAST: Shared<Fault> = Shared::new(Fault {
    vector: 0,
    error_code: 0,
    address: 0,
});

#[repr(C, align(16))]
struct Stack([u8; 16 * 1024]);

static STACK: Shared<Stack> = Shared::new(Stack([0; _]));
static TSS: Shared<TaskStateSegment> = Shared::new(TaskStateSegment::new());
static GDT: Shared<GlobalDescriptorTable> = Shared::new(GlobalDescriptorTable::new());
static IDT: Shared<Option<InterruptDescriptorTable>> = Shared::new(None);

/// Leaves the loader's GDT, TSS and IDT for the kernel's own.
pub fn install() {
    // SAFETY: called once; nothing else refers to these statics, and they stay where they are.
    let (tss, gdt, idt) = unsafe {
        let idt = (*IDT.get()).insert(InterruptDescriptorTable::new());
        (&mut *TSS.get(), &mut *GDT.get(), idt)
    };
    // SAFETY: one past the end of the static.
    let stack_top = unsafe { STACK.get().add(1) };
    tss.interrupt_stack_table[usize::from(IST_SLOT)] = VirtAddr::from_ptr(stack_top);
    load_segments(gdt, tss);
    set_handlers(idt);
    // SAFETY: the table is a static, and its handlers are valid.
    unsafe { idt.load_unsafe() };
}

/// Fills the GDT, loads it, and loads the registers that its entries are for.
fn load_segments(gdt: &'static mut GlobalDescriptorTable, tss: &'static TaskStateSegment) {
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    // SAFETY: the TSS is a static.
    let task = gdt.append(unsafe { Descriptor::tss_segment_unchecked(tss) });
    // SAFETY: the table is a static, the selectors are of the kinds that the registers need, and
    // flat segments change no address.
    unsafe {
        gdt.load_unsafe();
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(data);
        ES::set_reg(data);
        load_tss(task);
    }
}

/// Makes every exception go to its [`stub`], on the stack of the faults.
fn set_handlers(idt: &mut InterruptDescriptorTable) {
    /// One entry per exception: its name, its vector, and whether the CPU pushes an error code.
    macro_rules! handlers {
        ($($name:ident $vector:literal $has_code:literal;)*) => {
            $(
                let handler = stub::<$vector, $has_code> as *const ();
                // SAFETY: the stub keeps to what the CPU does at this vector.
                unsafe {
                    idt.$name
                        .set_handler_addr(VirtAddr::from_ptr(handler))
                        .set_stack_index(IST_SLOT);
                }
            )*
        };
    }
    handlers! {
        divide_error 0 false;
        debug 1 false;
        non_maskable_interrupt 2 false;
        breakpoint 3 false;
        overflow 4 false;
        bound_range_exceeded 5 false;
        invalid_opcode 6 false;
        device_not_available 7 false;
        double_fault 8 true;
        invalid_tss 10 true;
        segment_not_present 11 true;
        stack_segment_fault 12 true;
        general_protection_fault 13 true;
        page_fault 14 true;
        x87_floating_point 16 false;
        alignment_check 17 true;
        machine_check 18 false;
        simd_floating_point 19 false;
        virtualization 20 false;
        cp_protection_exception 21 true;
    }
}

/// The first instructions of the handler of an exception.
///
/// In: the CPU's frame, with an error code or not. Out: `handle` has seen the whole [`Frame`], and
/// may have changed RIP. Clobbers: the SSE registers, which are scratch wherever a fault is
/// expected.
#[unsafe(naked)]
unsafe extern "C" fn stub<const VECTOR: u64, const HAS_CODE: bool>() -> ! {
    naked_asm!(
        // The same frame for all: 0 stands for a missing error code.
        ".if {has_code} == 0",
        "push 0",
        ".endif",
        "push {vector}",
        "push rax",
        "push rcx",
        "push rdx",
        "push rsi",
        "push rdi",
        "push r8",
        "push r9",
        "push r10",
        "push r11",
        // The stack's top is a multiple of 16, and so is the frame's size.
        "mov rdi, rsp",
        "cld",
        "call {handle}",
        "pop r11",
        "pop r10",
        "pop r9",
        "pop r8",
        "pop rdi",
        "pop rsi",
        "pop rdx",
        "pop rcx",
        "pop rax",
        "add rsp, {rip} - {vector_offset}",
        "iretq",
        has_code = const HAS_CODE as u8,
        vector = const VECTOR,
        handle = sym handle,
        rip = const offset_of!(Frame, rip),
        vector_offset = const offset_of!(Frame, vector),
    )
}

const _: () = assert!(size_of::<Frame>().is_multiple_of(16));

extern "C" fn handle(frame: &mut Frame) {
    let fault = Fault {
        vector: frame.vector,
        error_code: frame.error_code,
        address: Cr2::read_raw(),
    };
    let recovery = RECOVERY.swap(0, Relaxed);
    if recovery == 0 {
        println!(
            "unexpected fault: {fault}, RIP {:#x}, RSP {:#x}",
            frame.rip, frame.rsp
        );
        verdict::finish(false, true);
    }
    // SAFETY: nobody reads it while a fault is being provoked.
    unsafe { *LAST.get() = fault };
    frame.rip = recovery;
}

/// The fault in which an access ended, if it did.
fn outcome(faulted: bool) -> Option<Fault> {
    RECOVERY.store(0, Relaxed);
    // SAFETY: the handler is done.
    faulted.then(|| unsafe { *LAST.get() })
}

/// Reads the byte at `address`.
///
/// # Safety
/// If it does not fault, the read does no harm.
pub unsafe fn read(address: u64) -> Option<Fault> {
    /// Returns whether there was a fault.
    #[unsafe(naked)]
    unsafe extern "C" fn read(address: u64) -> bool {
        naked_asm!(
            "lea rax, [rip + 2f]",
            "mov [rip + {recovery}], rax",
            "mov al, [rdi]",
            "xor eax, eax",
            "ret",
            "2:",
            "mov eax, 1",
            "ret",
            recovery = sym RECOVERY,
        )
    }
    // SAFETY: the caller's promise; `install` has been called, so that a fault is recovered from.
    outcome(unsafe { read(address) })
}

/// Writes the byte at `address`.
///
/// # Safety
/// If it does not fault, the write does no harm.
pub unsafe fn write(address: u64, value: u8) -> Option<Fault> {
    /// Returns whether there was a fault.
    #[unsafe(naked)]
    unsafe extern "C" fn write(address: u64, value: u8) -> bool {
        naked_asm!(
            "lea rax, [rip + 2f]",
            "mov [rip + {recovery}], rax",
            "mov [rdi], sil",
            "xor eax, eax",
            "ret",
            "2:",
            "mov eax, 1",
            "ret",
            recovery = sym RECOVERY,
        )
    }
    // SAFETY: as above.
    outcome(unsafe { write(address, value) })
}

/// The instruction RET.
pub const RET: u8 = 0xC3;

/// Jumps to `address`.
///
/// # Safety
/// At `address` there is a [`RET`], if anything is there.
pub unsafe fn execute(address: u64) -> Option<Fault> {
    /// Returns whether there was a fault.
    #[unsafe(naked)]
    unsafe extern "C" fn execute(address: u64) -> bool {
        naked_asm!(
            "lea rax, [rip + 2f]",
            "mov [rip + {recovery}], rax",
            "xor eax, eax",
            // A RET there returns to the caller of this function.
            "jmp rdi",
            "2:",
            "mov eax, 1",
            "ret",
            recovery = sym RECOVERY,
        )
    }
    // SAFETY: as above.
    outcome(unsafe { execute(address) })
}

/// Pushes a quadword when RSP is `address`.
///
/// # Safety
/// If it does not fault, the quadword below `address` may be overwritten.
pub unsafe fn push(address: u64) -> Option<Fault> {
    /// Returns whether there was a fault.
    #[unsafe(naked)]
    unsafe extern "C" fn push(address: u64) -> bool {
        naked_asm!(
            "lea rax, [rip + 2f]",
            "mov [rip + {recovery}], rax",
            "mov rdx, rsp",
            "mov rsp, rdi",
            "xor eax, eax",
            "push rax",
            "mov rsp, rdx",
            "ret",
            "2:",
            "mov rsp, rdx",
            "mov eax, 1",
            "ret",
            recovery = sym RECOVERY,
        )
    }
    // SAFETY: as above. The handler has its own stack, so it needs none here.
    outcome(unsafe { push(address) })
}

/// Ends in a fault that nobody recovers from, on purpose: before [`install`] it shows the report of
/// the loader's handlers. An unknown name does nothing.
pub fn provoke(name: &str, stack_bottom: u64) {
    /// Uses the stack up.
    #[unsafe(naked)]
    unsafe extern "C" fn overflow(stack_bottom: u64) -> ! {
        naked_asm!("mov rsp, rdi", "push rax", "ud2")
    }

    // SAFETY: none of them returns.
    unsafe {
        match name {
            "null" => core::arch::asm!("mov al, [{}]", in(reg) 0_u64, out("al") _),
            "ud" => core::arch::asm!("ud2"),
            "divide" => {
                core::arch::asm!("div {:e}", in(reg) 0_u32, inout("eax") 1 => _, inout("edx") 0 => _);
            }
            "gp" => core::arch::asm!("mov al, [{}]", in(reg) 1_u64 << 63, out("al") _),
            "text" => core::arch::asm!("mov byte ptr [{}], 0", in(reg) provoke as *const ()),
            "breakpoint" => core::arch::asm!("int3"),
            "stack" => overflow(stack_bottom),
            // With SSE switched off, as in kernels that are compiled without it: the report must
            // not depend on it.
            "sse" => core::arch::asm!("mov cr4, {}", "ud2", in(reg) 1_u64 << 5),
            "ts" => core::arch::asm!(
                "mov {0}, cr0", "or {0}, 8", "mov cr0, {0}", "ud2", out(reg) _
            ),
            _ => println!("fault={name}: not known"),
        }
    }
}
