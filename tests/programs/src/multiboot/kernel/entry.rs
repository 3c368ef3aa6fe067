//! The first instructions: they record the state of the machine, then 64-bit code follows.

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::exit::{EXIT_FAIL, EXIT_OKAY, EXIT_PORT};
use crate::main;

/// The machine at the first instruction. The segments: CS, DS, ES, FS, GS, SS.
#[repr(C)]
pub struct State {
    pub eax: u32,
    pub ebx: u32,
    pub esp: u32,
    pub eflags: u32,
    pub cr0: u32,
    pub cr4: u32,
    pub efer: [u32; 2],
    pub selectors: [u32; 6],
    /// The result of LAR.
    pub rights: [u32; 6],
    /// The result of LSL.
    pub limits: [u32; 6],
    pub gdtr: [u16; 4],
}

pub static mut STATE: State = State {
    eax: 0,
    ebx: 0,
    esp: 0,
    eflags: 0,
    cr0: 0,
    cr4: 0,
    efer: [0; 2],
    selectors: [0; 6],
    rights: [0; 6],
    limits: [0; 6],
    gdtr: [0; 4],
};

#[repr(C, align(4096))]
struct Tables<const COUNT: usize>([[u64; 512]; COUNT]);

static mut P4: Tables<1> = Tables([[0; 512]; 1]);

static mut P3: Tables<1> = Tables([[0; 512]; 1]);

static mut P2: Tables<4> = Tables([[0; 512]; 4]);

const STACK_SIZE: usize = 64 * 1024;

#[repr(C, align(16))]
struct Stack([u8; STACK_SIZE]);

static mut STACK: Stack = Stack([0; STACK_SIZE]);

/// Null; 64-bit code and data.
static GDT: [u64; 3] = [
    0,
    1 << 43 | 1 << 44 | 1 << 47 | 1 << 53,
    1 << 41 | 1 << 44 | 1 << 47,
];

#[repr(C, packed)]
struct Pointer(u16, &'static [u64; 3]);

static GDT_POINTER: Pointer = Pointer(23, &GDT);

/// In: what Multiboot promises. Records the state, maps the first 4 GiB to themselves and goes on
/// in 64-bit code.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code32",
        // As in many kernels, the first instruction is a call: the loader's stack has to be usable.
        "call .Lhere",
        ".Lhere:",
        "pop ebp",
        "mov edx, esp",
        "sub ebp, offset .Lhere",
        "jnz .Lmoved",

        "mov esp, offset {stack} + {stack_size}",
        "pushfd",
        "pop dword ptr [{state} + {eflags}]",
        "mov [{state} + {eax}], eax",
        "mov [{state} + {ebx}], ebx",
        "mov [{state} + {esp}], edx",
        "mov eax, cr0",
        "mov [{state} + {cr0}], eax",
        "mov eax, cr4",
        "mov [{state} + {cr4}], eax",
        "mov ecx, 0xC0000080",
        "rdmsr",
        "mov [{state} + {efer}], eax",
        "mov [{state} + {efer} + 4], edx",
        "sgdt [{state} + {gdtr}]",
        "xor eax, eax",
        "mov ax, cs",
        "xor edi, edi",
        "call .Lsegment",
        "mov ax, ds",
        "call .Lsegment",
        "mov ax, es",
        "call .Lsegment",
        "mov ax, fs",
        "call .Lsegment",
        "mov ax, gs",
        "call .Lsegment",
        "mov ax, ss",
        "call .Lsegment",

        "mov eax, offset {p3} + 3",
        "mov [{p4}], eax",
        "xor ecx, ecx",
        ".Ldirectories:",
        "mov eax, ecx",
        "shl eax, 12",
        "add eax, offset {p2} + 3",
        "mov [{p3} + ecx * 8], eax",
        "inc ecx",
        "cmp ecx, 4",
        "jne .Ldirectories",
        "xor ecx, ecx",
        ".Lpages:",
        "mov eax, ecx",
        "shl eax, 21",
        "or eax, 0x83",
        "mov [{p2} + ecx * 8], eax",
        "inc ecx",
        "cmp ecx, 2048",
        "jne .Lpages",

        "mov eax, offset {p4}",
        "mov cr3, eax",
        "mov eax, cr4",
        "or eax, 1 << 5 | 1 << 9 | 1 << 10",
        "mov cr4, eax",
        "mov ecx, 0xC0000080",
        "rdmsr",
        "or eax, 1 << 8",
        "wrmsr",
        "mov eax, cr0",
        "and eax, ~(1 << 2)",
        "or eax, 1 << 31 | 1 << 1",
        "mov cr0, eax",
        "lgdt [{gdt_pointer}]",
        "ljmp 8, offset .Llong",

        // In: EAX = selector, EDI = number.
        ".Lsegment:",
        "mov [{state} + {selectors} + edi * 4], eax",
        "lar ecx, eax",
        "mov [{state} + {rights} + edi * 4], ecx",
        "lsl ecx, eax",
        "mov [{state} + {limits} + edi * 4], ecx",
        "inc edi",
        "ret",

        // In: EBP = distance from the linked address. Looks for the tag of type 21.
        ".Lmoved:",
        "lea esi, [ebx + 8]",
        ".Ltag:",
        "mov ecx, [esi]",
        "test ecx, ecx",
        "jz .Lnot_moved",
        "cmp ecx, 21",
        "je .Lload_base",
        "mov ecx, [esi + 4]",
        "add ecx, 7",
        "and ecx, ~7",
        "add esi, ecx",
        "jmp .Ltag",
        ".Lload_base:",
        "mov eax, [esi + 8]",
        "sub eax, offset image_start",
        "cmp eax, ebp",
        "mov al, {okay}",
        "je .Lend",
        ".Lnot_moved:",
        "mov al, {fail}",
        ".Lend:",
        "mov dx, {exit_port}",
        "out dx, al",
        ".Lstop:",
        "hlt",
        "jmp .Lstop",

        ".code64",
        ".Llong:",
        "mov eax, 16",
        "mov ss, eax",
        "mov ds, eax",
        "mov es, eax",
        "mov rsp, offset {stack} + {stack_size}",
        "call {main}",
        state = sym STATE,
        stack = sym STACK,
        stack_size = const STACK_SIZE,
        p4 = sym P4,
        p3 = sym P3,
        p2 = sym P2,
        gdt_pointer = sym GDT_POINTER,
        main = sym main,
        okay = const EXIT_OKAY,
        fail = const EXIT_FAIL,
        exit_port = const EXIT_PORT,
        eax = const offset_of!(State, eax),
        ebx = const offset_of!(State, ebx),
        esp = const offset_of!(State, esp),
        eflags = const offset_of!(State, eflags),
        cr0 = const offset_of!(State, cr0),
        cr4 = const offset_of!(State, cr4),
        efer = const offset_of!(State, efer),
        selectors = const offset_of!(State, selectors),
        rights = const offset_of!(State, rights),
        limits = const offset_of!(State, limits),
        gdtr = const offset_of!(State, gdtr),
    )
}
