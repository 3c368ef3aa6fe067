//! **A kernel that checks the Linux boot protocol**: a bzImage with all three entries.
//!
//! Whichever entry is taken notes the registers; then the program moves to where it is linked, as a
//! Linux kernel does, goes to long mode, and checks what the loader promised. The command line says
//! what is expected: `entry=16`, `entry=32` or `entry=64`. It prints what it found on COM1, and at
//! the end `OKAY` or, for each broken promise, `FAILED`.
//!
//! The offsets are those of Linux, Documentation/arch/x86/boot.rst and zero-page.rst, and of
//! include/uapi/linux/screen_info.h. The tests change the header's fields in the file.
#![no_std]
#![no_main]
// Entries, ports, and memory that is known by its address.
#![allow(unsafe_code)]

use core::arch::{asm, global_asm};
use core::ptr::with_exposed_provenance;

/// Where the protected-mode part is linked, as in the linker script.
const LINKED_AT: u32 = 0x200_0000;
/// CR0 and CR4.
const CR0_PE: u32 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4: u32 = 1 << 5 | 1 << 9 | 1 << 10; // PAE, OSFXSR, OSXMMEXCPT
const EFER: u32 = 0xC000_0080;
const EFER_LME: u32 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// FLAGS: interrupts, direction.
const FLAGS_IF_DF: u64 = 1 << 9 | 1 << 10;

/// The registers at the 32-bit or 64-bit entry.
#[repr(C)]
struct Entered {
    /// 32 or 64.
    bits: u64,
    /// EBX, EBP and EDI, joined by OR; in long mode they may be anything, and this is 0.
    zeros: u64,
    parameters: u64,
    loaded_at: u64,
    flags: u64,
    cr0: u64,
    efer: u64,
    /// CS, DS, ES, SS.
    selectors: [u64; 4],
    /// Limit and base.
    gdt: [u16; 5],
}

unsafe extern "C" {
    /// Filled in by the entries.
    static entered: Entered;
    /// Filled in by the setup code: CS, DS, ES, FS, GS, SS, SP, FLAGS, what INT 12h returns (KiB of
    /// memory), and the signature of INT 15h E820. Its address is an offset in the setup code.
    static real: [u8; 20];
}

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
    "real: .fill 20, 1, 0",
    ".org 5 * 512",
    ".code64",
    ".text",
    pe = const CR0_PE,
);

// The protected-mode part. Until it has moved, it only knows where it is by what it measures.
global_asm!(
    ".section .text.start, \"awx\"",
    ".code32",
    ".Lstart:",
    "mov eax, ebx",
    "or eax, ebp",
    "or eax, edi",
    "lea esp, [esi + 0x1E8]",           // the scratch field: room for one address
    "call .Lhere",
    ".Lhere:",
    "pop ebp",
    "sub ebp, offset .Lhere",           // how far it is from where it is linked
    "lea ebx, [ebp + .Lnotes]",
    "lea esp, [ebp + .Lstack_end]",
    "pushfd",
    "pop dword ptr [ebx + 32]",
    "mov dword ptr [ebx], 32",
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
    // Move, and go on there.
    "cld",
    "lea esi, [ebp + .Lstart]",
    "mov edi, {linked_at}",
    "mov ecx, offset .Lend",
    "sub ecx, edi",
    "rep movsb es:[edi], ds:[esi]",
    "lgdt [.Lgdt_pointer]",
    // Page tables: the first 4 GiB to themselves.
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
    "lea rsp, [rip + .Lstack_end]",
    "lea rbx, [rip + .Lnotes]",
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
    "entered:",
    ".Lnotes:",
    ".fill 104, 1, 0",
    ".fill 4096, 1, 0",
    ".balign 16",
    ".Lstack_end:",
    ".balign 4096",
    ".Ltables:",
    ".fill 6 * 4096, 1, 0",
    ".section .end, \"aw\"",
    ".Lend:",
    ".quad 0",
    ".text",
    main = sym main,
    linked_at = const LINKED_AT,
    cr4 = const CR4,
    efer = const EFER,
    lme = const EFER_LME,
);

/// Memory, by address.
struct Memory(u64);

impl Memory {
    fn number(&self, offset: u64, bytes: u64) -> u64 {
        (0..bytes).rev().fold(0, |number, byte| {
            number << 8 | u64::from(read(self.0 + offset + byte))
        })
    }

    fn zero(&self, from: u64, to: u64) -> bool {
        (from..to).all(|offset| read(self.0 + offset) == 0)
    }
}

fn read(address: u64) -> u8 {
    // SAFETY: mapped, whatever it is. Address 0 is read, too, which is none to Rust: hence volatile.
    unsafe { with_exposed_provenance::<u8>(address as usize).read_volatile() }
}

extern "C" fn main() -> ! {
    // SAFETY: written before, and not any more.
    let notes = unsafe { &entered };
    let parameters = Memory(notes.parameters);
    let command_line = parameters.number(0x228, 4);
    let wanted = word_of(command_line, b"entry=");

    print(b"entry ");
    print_decimal(notes.bits);
    print(b", loaded at ");
    print_hexadecimal(notes.loaded_at);
    print(b", parameters at ");
    print_hexadecimal(notes.parameters);
    print(b"\r\ncommand line: ");
    let mut length = 0;
    while read(command_line + length) != 0 {
        send(read(command_line + length));
        length += 1;
    }
    print(b"\r\n");

    let mut good = true;
    let mut check = |what: &[u8], holds: bool| {
        if !holds {
            good = false;
            print(b"FAILED ");
            print(what);
            print(b"\r\n");
        }
    };
    match wanted {
        16 => {
            // SAFETY: the address is an offset, for the setup code's segment.
            let offset = (&raw const real).addr() as u64;
            let found = Memory(notes.parameters + offset);
            let segment = notes.parameters >> 4;
            let word = |index: u64| found.number(2 * index, 2);
            check(b"CS", word(0) == segment + 0x20);
            check(b"DS to SS", (1..6).all(|index| word(index) == segment));
            check(b"SP", word(6) == parameters.number(0x224, 2) + 0x200);
            check(b"FLAGS", word(7) & FLAGS_IF_DF == 0);
            check(b"INT 12h", (512..=640).contains(&word(8)));
            check(b"INT 15h", word(9) == 0x4150);
            check(
                b"below 640 KiB",
                command_line >= notes.parameters + 0x1_0000 - 0x2000,
            );
        }
        _ => {
            check(b"entry", wanted == notes.bits);
            let [cs, ds, es, ss] = notes.selectors;
            check(b"selectors", [cs, ds, es, ss] == [0x10, 0x18, 0x18, 0x18]);
            check(b"FLAGS", notes.flags & FLAGS_IF_DF == 0);
            check(b"EBX, EBP, EDI", notes.zeros == 0);
            check(b"CR0", notes.cr0 as u32 & CR0_PE != 0);
            check(b"paging", (notes.cr0 & CR0_PG != 0) == (notes.bits == 64));
            check(b"EFER", (notes.efer & EFER_LMA != 0) == (notes.bits == 64));
            let [limit, low, high, ..] = notes.gdt;
            let gdt = Memory(u64::from(low) | u64::from(high) << 16);
            let code = gdt.number(0x10, 8) & !(1 << 40); // accessed
            let data = gdt.number(0x18, 8) & !(1 << 40);
            let expected = match notes.bits {
                64 => 0x00AF_9A00_0000_FFFF,
                _ => 0x00CF_9A00_0000_FFFF,
            };
            check(b"GDT", limit >= 0x1F && code == expected);
            check(b"data segment", data == 0x00CF_9200_0000_FFFF);
            check_parameters(&parameters, &mut check);
        }
    }
    check_header(&parameters, notes.loaded_at, &mut check);
    print_ram_disk(&parameters);
    print(if good {
        b"OKAY\r\n"
    } else {
        b"not as promised\r\n"
    });
    // SAFETY: QEMU's isa-debug-exit, or nothing at all.
    unsafe { asm!("out 0xF4, al", in("al") if good { 0x10u8 } else { 1 }) };
    loop {
        // SAFETY: this only waits.
        unsafe { asm!("hlt") };
    }
}

/// What the loader fills in, of the header.
fn check_header(parameters: &Memory, loaded_at: u64, check: &mut dyn FnMut(&[u8], bool)) {
    check(b"vid_mode", parameters.number(0x1FA, 2) == 0xFFFF);
    check(
        b"header",
        parameters.number(0x1FE, 2) == 0xAA55 && parameters.number(0x202, 4) == 0x5372_6448,
    );
    check(b"type_of_loader", parameters.number(0x210, 1) == 0xFF);
    check(b"loadflags", parameters.number(0x211, 1) == 0x81);
    check(b"code32_start", parameters.number(0x214, 4) == loaded_at);
    check(b"heap_end_ptr", parameters.number(0x224, 2) >= 0x8000);
    check(b"ext_loader", parameters.number(0x226, 2) == 0);
    let (start, size) = (parameters.number(0x218, 4), parameters.number(0x21C, 4));
    check(
        b"initrd",
        (start == 0) == (size == 0) && start.is_multiple_of(4096),
    );
    check(
        b"initrd_addr_max",
        size == 0 || start + size - 1 <= parameters.number(0x22C, 4),
    );
    if parameters.number(0x234, 1) != 0 {
        check(
            b"kernel_alignment",
            loaded_at.is_multiple_of(parameters.number(0x230, 4)),
        );
    } else {
        check(b"load address", loaded_at == 0x10_0000);
    }
    let version = parameters.number(0x206, 2);
    check(
        b"setup_data",
        version < 0x209 || parameters.number(0x250, 8) == 0,
    );
}

/// What the setup code would have found out, and that all else is zero.
fn check_parameters(parameters: &Memory, check: &mut dyn FnMut(&[u8], bool)) {
    let screen = |offset, bytes| parameters.number(offset, bytes);
    // Where INT 10h has the cursor.
    check(b"cursor", screen(0, 2) == Memory(0x450).number(0, 2));
    check(b"orig_video_page", screen(4, 2) == 0);
    check(b"orig_video_mode", screen(6, 1) == 3 && screen(7, 1) == 80);
    check(b"orig_video_ega_bx", screen(0xA, 2) == 3);
    check(
        b"orig_video_lines",
        screen(0xE, 1) == 25 && screen(0xF, 1) == 1,
    );
    check(b"orig_video_points", screen(0x10, 2) == 16);
    check(b"a frame buffer", parameters.zero(0x12, 0x40));
    let rsdp = parameters.number(0x70, 8);
    check(
        b"acpi_rsdp_addr",
        rsdp == 0 || Memory(rsdp).number(0, 8) == u64::from_le_bytes(*b"RSD PTR "),
    );
    print(b"RSDP ");
    print_hexadecimal(rsdp);
    print(b"\r\n");
    let count = parameters.number(0x1E8, 1);
    let mut last = 0;
    let mut sorted = count <= 128;
    for entry in 0..count {
        let entry = 0x2D0 + 20 * entry;
        let start = parameters.number(entry, 8);
        let size = parameters.number(entry + 8, 8);
        print(b"memory ");
        print_hexadecimal(start);
        print(b" to ");
        print_hexadecimal(start + size);
        print(b" type ");
        print_decimal(parameters.number(entry + 16, 4));
        print(b"\r\n");
        sorted &= start >= last && size > 0;
        last = start + size;
        if start <= 0x10_0000 && last > 0x10_0000 {
            check(
                b"alt_mem_k",
                parameters.number(0x1E0, 4) == (last - 0x10_0000) >> 10,
            );
        }
    }
    check(b"memory map", sorted && count > 2);
    let zero = [
        (0x40, 0x70),
        (0x78, 0x1E0),
        (0x1E9, 0x1EB),
        (0x1EC, 0x1F1),
        (0x202 + parameters.number(0x201, 1), 0x2D0),
        (0x2D0 + 20 * count, 0x1000),
    ];
    check(
        b"zeros",
        zero.iter().all(|&(from, to)| parameters.zero(from, to)),
    );
}

/// The bytes of the RAM disk as text; zeros are dots.
fn print_ram_disk(parameters: &Memory) {
    let (start, size) = (parameters.number(0x218, 4), parameters.number(0x21C, 4));
    print(b"initrd ");
    print_decimal(size);
    print(b" bytes at ");
    print_hexadecimal(start);
    print(b": ");
    for offset in 0..size.min(200) {
        match read(start + offset) {
            0 => send(b'.'),
            byte => send(byte),
        }
    }
    print(b"\r\n");
}

/// The decimal number behind a word of the command line.
fn word_of(text: u64, word: &[u8]) -> u64 {
    let mut at = text;
    while read(at) != 0 {
        if (at..)
            .zip(word)
            .all(|(address, &byte)| read(address) == byte)
        {
            at += word.len() as u64;
            let mut number = 0;
            while let digit @ b'0'..=b'9' = read(at) {
                number = 10 * number + u64::from(digit - b'0');
                at += 1;
            }
            return number;
        }
        at += 1;
    }
    0
}

fn print(text: &[u8]) {
    text.iter().for_each(|&byte| send(byte));
}

fn print_decimal(number: u64) {
    if number > 9 {
        print_decimal(number / 10);
    }
    send(b'0' + (number % 10) as u8);
}

fn print_hexadecimal(number: u64) {
    if number > 15 {
        print_hexadecimal(number >> 4);
    }
    let digit = (number & 15) as u8;
    send(if digit < 10 {
        b'0' + digit
    } else {
        b'A' - 10 + digit
    });
}

/// Over COM1, as the loader has set it up.
fn send(byte: u8) {
    for _ in 0..100_000 {
        let status: u8;
        // SAFETY: line status and transmitter of COM1, or nothing at all.
        unsafe {
            asm!("in al, dx", in("dx") 0x3FD_u16, out("al") status, options(nomem, nostack));
            if status & 0x20 != 0 {
                asm!("out dx, al", in("dx") 0x3F8_u16, in("al") byte, options(nomem, nostack));
                return;
            }
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    print(b"FAILED: a panic\r\n");
    loop {
        core::hint::spin_loop();
    }
}
