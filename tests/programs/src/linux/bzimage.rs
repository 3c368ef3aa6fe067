//! A bzImage with all three entries: the setup part, and a protected-mode part that moves to its
//! linked address, as a Linux kernel does, goes to long mode and calls the program's `main`.
//!
//! The entry that is taken first reads the time-stamp counter, and notes the registers in
//! [`entered`]. The tests fill in fields of the header, and may append more to the file.

use core::arch::global_asm;
use core::mem::offset_of;
use core::ptr::with_exposed_provenance;

/// Where the protected-mode part is linked: each program has an address that is free.
use super::LINKED_AT;

/// CR0, CR4 and EFER.
pub const CR0_PE: u32 = 1;
const CR4: u32 = 1 << 5 | 1 << 9 | 1 << 10; // PAE, OSFXSR, OSXMMEXCPT
const EFER: u32 = 0xC000_0080;
const EFER_LME: u32 = 1 << 8;

/// The registers at the 32-bit or 64-bit entry.
#[repr(C)]
pub struct Entered {
    /// The entry that was taken first: 16, 32 or 64.
    pub bits: u64,
    /// EBX, EBP and EDI, joined by OR; 0 in long mode, where they may be anything.
    pub zeros: u64,
    pub parameters: u64,
    pub loaded_at: u64,
    pub flags: u64,
    pub cr0: u64,
    pub efer: u64,
    /// CS, DS, ES, SS.
    pub selectors: [u64; 4],
    /// Limit and base.
    pub gdt: [u16; 5],
    /// The time-stamp counter at the entry that was taken first.
    pub time: u64,
}

unsafe extern "C" {
    /// Filled in by the entries.
    static entered: Entered;
}

// The linker script's symbol.
global_asm!(
    ".globl linked_at",
    ".set linked_at, {linked_at}",
    linked_at = const LINKED_AT,
);

// The setup part: linked at 0, where DS points to.
global_asm!(
    ".section .setup, \"awx\"",
    ".code16",
    ".org 0x1F1",
    ".byte 4",                          // setup_sects
    ".word 1",                          // root_flags
    ".long 0",                          // syssize: the tests fill it in
    ".word 0, 0xFFFD, 0, 0xAA55",       // ram_size, vid_mode (ask), root_dev, boot_flag
    ".byte 0xEB, .Lsetup - .Lafter",    // jump
    ".Lafter:",
    ".ascii \"HdrS\"",
    ".word 0x020F",                     // version
    ".long 0",
    ".word 0x1000, 0",
    ".byte 0, 1",                       // type_of_loader, loadflags: LOADED_HIGH
    ".word 0x8000",
    ".long 0x100000, 0, 0, 0",          // code32_start, ramdisk_image, ramdisk_size
    ".word 0",                          // heap_end_ptr
    ".byte 0, 0",
    ".long 0, 0x7FFFFFFF, 0x200000",    // cmd_line_ptr, initrd_addr_max, kernel_alignment
    ".byte 1, 21",                      // relocatable_kernel, min_alignment
    ".word 1",                          // xloadflags: 64-bit entry
    ".long 2047, 0",                    // cmdline_size
    ".quad 0",
    ".long 0, 0",
    ".quad 0, 0x1000000",               // setup_data, pref_address
    ".long 0x400000, 0, 0",             // init_size

    ".Lsetup:",
    "rdtsc",
    "mov [real + 20], eax",
    "mov [real + 24], edx",
    "mov [real + 0], cs",
    "mov [real + 2], ds",
    "mov [real + 4], es",
    "mov [real + 6], fs",
    "mov [real + 8], gs",
    "mov [real + 10], ss",
    "mov [real + 12], sp",
    "pushf",
    "pop word ptr [real + 14]",
    "push ds",                          // CS as DS: labels are offsets
    "push offset .Lsame_segment",
    ".byte 0xCB",                       // RETF
    ".Lsame_segment:",
    "sti",
    "int 0x12",
    "mov [real + 16], ax",
    "mov eax, 0xE820",
    "mov edx, 0x534D4150",
    "xor ebx, ebx",
    "mov ecx, 20",
    "mov di, 0x8000",
    "int 0x15",
    "mov [real + 18], ax",
    "cli",
    "xor esi, esi",
    "mov si, ds",
    "shl esi, 4",
    "add [.Lsetup_gdt_pointer + 2], esi",
    "lea eax, [esi + .Lin_32]",
    "mov [.Lfar + 2], eax",
    "lgdt [.Lsetup_gdt_pointer]",
    "mov eax, cr0",
    "or al, {pe}",
    "mov cr0, eax",
    "mov eax, [0x214]",
    ".Lfar:",
    ".byte 0x66, 0xEA",                 // far jump, 32 bits
    ".long 0",
    ".word 0x10",
    ".code32",
    ".Lin_32:",
    "mov ecx, 0x18",
    "mov ds, ecx",
    "mov es, ecx",
    "mov ss, ecx",
    // Notes go to `entered`, where the protected-mode part was loaded.
    "mov dword ptr [eax + entered - {linked_at}], 16",
    "mov ecx, [esi + real + 20]",
    "mov [eax + entered - {linked_at} + {time}], ecx",
    "mov ecx, [esi + real + 24]",
    "mov [eax + entered - {linked_at} + {time} + 4], ecx",
    "xor ebx, ebx",
    "xor ebp, ebp",
    "xor edi, edi",
    "jmp eax",
    ".Lsetup_gdt_pointer:",
    ".word .Lsetup_gdt_end - .Lsetup_gdt - 1",
    ".long .Lsetup_gdt",
    ".balign 8",
    ".Lsetup_gdt:",
    ".quad 0, 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF",
    ".Lsetup_gdt_end:",
    ".globl real",
    // CS, DS, ES, FS, GS, SS, SP, FLAGS, the results of INT 12h (KiB of memory) and of INT 15h E820
    // (its signature); then the time. The symbol's address is an offset in the setup code.
    "real: .fill 28, 1, 0",
    ".org 5 * 512",
    ".code64",
    ".text",
    pe = const CR0_PE,
    linked_at = const LINKED_AT,
    time = const offset_of!(Entered, time),
);

// The protected-mode part. Until it has moved, it has to measure where it is.
global_asm!(
    ".section .text.start, \"awx\"",
    ".code32",
    ".Lstart:",
    "rdtsc",
    "mov ecx, eax",
    "mov eax, ebx",
    "or eax, ebp",
    "or eax, edi",
    "lea esp, [esi + 0x1E8]",           // the scratch field: room for one address
    "call .Lhere",
    ".Lhere:",
    "pop ebp",
    "sub ebp, offset .Lhere",           // distance from its linked address
    "lea ebx, [ebp + .Lnotes]",
    "lea esp, [ebp + .Lstack_end]",
    "pushfd",
    "pop dword ptr [ebx + 32]",
    "cmp dword ptr [ebx], 0",           // the setup code's time counts
    "jne .Lnoted",
    "mov dword ptr [ebx], 32",
    "mov [ebx + {time}], ecx",
    "mov [ebx + {time} + 4], edx",
    ".Lnoted:",
    "mov [ebx + 8], eax",
    "mov [ebx + 16], esi",
    "lea eax, [ebp + .Lstart]",
    "mov [ebx + 24], eax",
    "mov eax, cr0",
    "mov [ebx + 40], eax",
    "mov [ebx + 56], cs",
    "mov [ebx + 64], ds",
    "mov [ebx + 72], es",
    "mov [ebx + 80], ss",
    "sgdt [ebx + 88]",
    // Moves itself, and continues there.
    "cld",
    "lea esi, [ebp + .Lstart]",
    "mov edi, {linked_at}",
    "mov ecx, offset .Lend",
    "sub ecx, edi",
    "rep movsb es:[edi], ds:[esi]",
    "lgdt [.Lgdt_pointer]",
    // Page tables: map the first 4 GiB to themselves.
    "mov eax, offset .Ltables + 0x1000 + 3",
    "mov [.Ltables], eax",
    "lea eax, [.Ltables + 0x2000 + 3]",
    "mov edi, offset .Ltables + 0x1000",
    "mov ecx, 4",
    "2:",
    "mov [edi], eax",
    "add edi, 8",
    "add eax, 0x1000",
    "loop 2b",
    "mov eax, 0x83",
    "mov edi, offset .Ltables + 0x2000",
    "mov ecx, 2048",
    "3:",
    "mov [edi], eax",
    "add edi, 8",
    "add eax, 0x200000",
    "loop 3b",
    "mov eax, {cr4}",
    "mov cr4, eax",
    "mov eax, offset .Ltables",
    "mov cr3, eax",
    "mov ecx, {efer}",
    "rdmsr",
    "or eax, {lme}",
    "wrmsr",
    "mov eax, cr0",
    "or eax, 0x80000000",
    "mov cr0, eax",
    "ljmp 0x10, offset .Lcommon",

    ".org 0x200",
    ".code64",
    "rdtsc",
    "lea rsp, [rip + .Lstack_end]",
    "lea rbx, [rip + .Lnotes]",
    "mov [rbx + {time}], eax",
    "mov [rbx + {time} + 4], edx",
    "pushfq",
    "pop [rbx + 32]",
    "mov qword ptr [rbx], 64",
    "mov [rbx + 16], rsi",
    "lea rax, [rip + .Lstart]",
    "mov [rbx + 24], rax",
    "mov rax, cr0",
    "mov [rbx + 40], rax",
    "mov ecx, {efer}",
    "rdmsr",
    "mov [rbx + 48], eax",
    "mov [rbx + 56], cs",
    "mov [rbx + 64], ds",
    "mov [rbx + 72], es",
    "mov [rbx + 80], ss",
    "sgdt [rbx + 88]",
    "cld",
    "lea rsi, [rip + .Lstart]",
    "mov edi, {linked_at}",
    "mov ecx, offset .Lend",
    "sub ecx, edi",
    "rep movsb",
    "mov eax, offset .Lcommon",
    "jmp rax",

    ".Lcommon:",
    "mov esp, offset .Lstack_end",
    "xor ebp, ebp",
    "mov rax, cr4",
    "or eax, {cr4}",
    "mov cr4, rax",
    "call {main}",
    "ud2",

    ".balign 8",
    ".Lgdt_pointer:",
    ".word 31",
    ".quad .Lgdt",
    ".balign 8",
    ".Lgdt:",
    ".quad 0, 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF",
    ".globl entered",
    "entered:",                         // written where the program was loaded, as is the stack
    ".Lnotes:",
    ".fill 112, 1, 0",
    ".fill 4096, 1, 0",
    ".balign 16",
    ".globl stack_end",
    "stack_end:",
    ".Lstack_end:",
    ".balign 4096",
    ".Ltables:",
    ".fill 6 * 4096, 1, 0",
    ".section .end, \"aw\"",
    ".Lend:",
    ".quad 0",
    // More may be appended here.
    ".globl program_end",
    "program_end:",
    ".text",
    main = sym crate::main,
    time = const offset_of!(Entered, time),
    linked_at = const LINKED_AT,
    cr4 = const CR4,
    efer = const EFER,
    lme = const EFER_LME,
);

/// The notes of the entry.
pub fn notes() -> &'static Entered {
    // SAFETY: written before, and no more after that.
    unsafe { &entered }
}

/// Memory from an address on.
pub struct Memory(pub u64);

impl Memory {
    pub fn number(&self, offset: u64, bytes: u64) -> u64 {
        (0..bytes).rev().fold(0, |number, byte| {
            number << 8 | u64::from(read(self.0 + offset + byte))
        })
    }
}

pub fn read(address: u64) -> u8 {
    // SAFETY: mapped, whatever it is. Address 0 is read, too, which Rust does not allow: hence
    // volatile.
    unsafe { with_exposed_provenance::<u8>(address as usize).read_volatile() }
}
