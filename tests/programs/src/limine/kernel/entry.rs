//! The first instructions of this processor and of the others: they record the registers.

use core::arch::naked_asm;

/// The registers at the entry, where they were pushed onto the stack.
#[repr(C)]
pub struct State {
    pub cr4: u64,
    pub cr0: u64,
    /// R15 to R8, RBP, RDI, RSI, RDX, RCX, RBX, RAX.
    pub general: [u64; 15],
    pub flags: u64,
    pub return_address: u64,
}

/// RDI among [`State::general`].
pub const RDI: usize = 9;

/// Pushes [`State`], enables SSE, and calls a function with it.
macro_rules! enter {
    ($main:path) => {
        naked_asm!(
            "pushfq",
            "push rax", "push rbx", "push rcx", "push rdx", "push rsi", "push rdi", "push rbp",
            "push r8", "push r9", "push r10", "push r11", "push r12", "push r13", "push r14",
            "push r15",
            "mov rax, cr0",
            "push rax",
            "mov rax, cr4",
            "push rax",
            "mov rax, cr0",
            "or eax, 2",
            "mov cr0, rax",
            "mov rax, cr4",
            "or eax, 0x600",
            "mov cr4, rax",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {main}",
            "ud2",
            main = sym $main,
        )
    };
}

pub(crate) use enter;

/// The entry point of the ELF header, which the loader must not use.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    naked_asm!("2: hlt", "jmp 2b")
}
