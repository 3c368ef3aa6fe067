//! **The first process** for Linux kernels of 32 bits: the same as `init.rs`, in i386 assembly. The
//! tests put the ELF header in front of it, which puts it at its linked address.
#![no_std]
#![no_main]
// System calls.
#![allow(unsafe_code)]

use core::arch::naked_asm;

/// System calls: numbers of i386 (Linux, arch/x86/entry/syscalls/syscall_32.tbl).
const READ: u32 = 3;
const WRITE: u32 = 4;
const OPEN: u32 = 5;
const MOUNT: u32 = 21;
const REBOOT: u32 = 88;
const SYSLOG: u32 = 103;
const SYSINFO: u32 = 116;
/// syslog(2): keeps further messages of the kernel off the console, where they would come in
/// between.
const CONSOLE_OFF: u32 = 6;
/// reboot(2).
const MAGIC_1: u32 = 0xFEE1_DEAD;
const MAGIC_2: u32 = 0x2812_1969;
const POWER_OFF: u32 = 0x4321_FEDC;

#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code32",
        "mov eax, {syslog}",
        "mov ebx, {console_off}",
        "xor ecx, ecx",
        "xor edx, edx",
        "int 0x80",
        "mov ecx, offset .Lhello",
        "call .Lprint_text",
        "mov eax, {mount}",
        "mov ebx, offset .Lproc",
        "mov ecx, offset .Lslash_proc",
        "mov edx, ebx",
        "xor esi, esi",
        "xor edi, edi",
        "int 0x80",
        "mov ebx, offset .Lcmdline",
        "call .Lprint_file",
        "mov ecx, offset .Lmemory",
        "call .Lprint_text",
        "sub esp, 128",                 // struct sysinfo: totalram is at 16, in bytes here
        "mov ebx, esp",
        "mov eax, {sysinfo}",
        "int 0x80",
        "mov eax, [esp + 16]",
        "shr eax, 20",
        "mov ecx, esp",
        "add ecx, 128",
        "mov ebx, 10",
        "2:",
        "xor edx, edx",
        "div ebx",
        "add dl, '0'",
        "dec ecx",
        "mov [ecx], dl",
        "test eax, eax",
        "jnz 2b",
        "mov edx, esp",
        "add edx, 128",
        "sub edx, ecx",
        "call .Lprint",
        "add esp, 128",
        "mov ecx, offset .Lmib",
        "call .Lprint_text",
        "mov ebx, offset .Lsecond",
        "call .Lprint_file",
        "mov ecx, offset .Lokay",
        "call .Lprint_text",
        "mov eax, {reboot}",
        "mov ebx, {magic_1}",
        "mov ecx, {magic_2}",
        "mov edx, {power_off}",
        "int 0x80",
        ".Lfor_ever:",
        "jmp .Lfor_ever",

        // ECX = text, which ends in a zero byte.
        ".Lprint_text:",
        "mov edx, -1",
        ".Lcount:",
        "inc edx",
        "cmp byte ptr [ecx + edx], 0",
        "jne .Lcount",

        // ECX = text, EDX = bytes.
        ".Lprint:",
        "mov eax, {write}",
        "mov ebx, 1",
        "int 0x80",
        "ret",

        // EBX = path.
        ".Lprint_file:",
        "mov eax, {open}",
        "xor ecx, ecx",
        "xor edx, edx",
        "int 0x80",
        "test eax, eax",
        "js .Lprinted",
        "mov esi, eax",
        "sub esp, 256",
        ".Lmore:",
        "mov eax, {read}",
        "mov ebx, esi",
        "mov ecx, esp",
        "mov edx, 256",
        "int 0x80",
        "test eax, eax",
        "jle .Lend_of_file",
        "mov edx, eax",
        "call .Lprint",
        "jmp .Lmore",
        ".Lend_of_file:",
        "add esp, 256",
        ".Lprinted:",
        "ret",

        ".Lproc: .asciz \"proc\"",
        ".Lslash_proc: .asciz \"/proc\"",
        ".Lcmdline: .asciz \"/proc/cmdline\"",
        ".Lsecond: .asciz \"/second\"",
        ".Lhello: .asciz \"\\n**** init of the tests, 32 bits\\n**** cmdline \"",
        ".Lmemory: .asciz \"**** memory \"",
        ".Lmib: .asciz \" MiB\\n\"",
        ".Lokay: .asciz \"**** OKAY\\n\"",
        ".code64",
        read = const READ,
        write = const WRITE,
        open = const OPEN,
        syslog = const SYSLOG,
        console_off = const CONSOLE_OFF,
        mount = const MOUNT,
        reboot = const REBOOT,
        sysinfo = const SYSINFO,
        magic_1 = const MAGIC_1,
        magic_2 = const MAGIC_2,
        power_off = const POWER_OFF,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
