//! **A boot sector that says how it was started**: one line on COM1 with a checksum of its own 512
//! bytes, CS, IP, SS, SP, DS, SI, BP, DX, FLAGS and the segment of interrupt vector 6, in
//! hexadecimal; behind them, unless SI is 0, the 16 bytes at DS:SI. Then it asks the BIOS for the
//! size of memory, says `OKAY`, and ends QEMU.
#![no_std]
#![no_main]
// The program is asm from end to end.
#![allow(unsafe_code)]

use core::arch::naked_asm;

/// Where the sector ends: the program notes the checksum there, and the registers behind it.
const END: u16 = 0x7E00;
const NOTES: u16 = END + 2;
const COUNT: u16 = 11;
/// Words of the sector.
const WORDS: u16 = 256;

#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.start")]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code16",
        "mov cs:[{notes} + 0], cs",
        "mov cs:[{notes} + 4], ss",
        "mov cs:[{notes} + 6], sp",
        "mov cs:[{notes} + 8], ds",
        "mov cs:[{notes} + 10], si",
        "mov cs:[{notes} + 12], bp",
        "mov cs:[{notes} + 14], dx",
        "pushf",
        "pop word ptr cs:[{notes} + 16]",
        ".byte 0xE8, 0, 0",             // CALL with a 16-bit return address, to the next instruction
        ".Lhere:",
        "pop ax",
        "sub ax, offset .Lhere",
        "add ax, offset {start}",
        "mov cs:[{notes} + 2], ax",
        "xor bx, bx",
        "mov es, bx",
        "mov ax, es:[6 * 4 + 2]",
        "mov cs:[{notes} + 18], ax",
        "xor ax, ax",
        "mov bx, {end} - 2 * {words}",
        "mov cx, {words}",
        "5:",
        "rol ax, 1",
        "xor ax, cs:[bx]",
        "add bx, 2",
        "loop 5b",
        "mov cs:[bx], ax",              // BX = END
        "mov cx, {count}",
        "2:",
        "mov ax, cs:[bx]",
        "call .Lword",
        "mov al, ' '",
        "call .Lsend",
        "add bx, 2",
        "loop 2b",
        "test si, si",
        "jz .Lno_entry",
        "mov cx, 16",
        "3:",
        "lodsb",
        "call .Lbyte",
        "loop 3b",
        ".Lno_entry:",
        "int 0x12",
        "cmp ax, 512",
        "jb .Lhalt",
        "mov si, offset .Lokay",
        "4:",
        "mov al, cs:[si]",
        "inc si",
        "test al, al",
        "jz .Lexit",
        "call .Lsend",
        "jmp 4b",
        ".Lexit:",
        "mov al, 0x10",
        "out 0xF4, al",
        ".Lhalt:",
        "hlt",
        "jmp .Lhalt",

        // Prints AX, AL, or the low half of AL in hexadecimal.
        ".Lword:",
        "push ax",
        "mov al, ah",
        "call .Lbyte",
        "pop ax",
        ".Lbyte:",
        "push ax",
        "shr al, 4",
        "call .Ldigit",
        "pop ax",
        ".Ldigit:",
        "and al, 15",
        "cmp al, 10",
        "sbb al, 0x69",
        "das",
        ".Lsend:",
        "push dx",
        "push ax",
        "mov dx, 0x3FD",
        ".Lwait:",
        "in al, dx",
        "test al, 0x20",
        "jz .Lwait",
        "mov dx, 0x3F8",
        "pop ax",
        "out dx, al",
        "pop dx",
        "ret",
        ".Lokay: .asciz \"\\r\\nOKAY\\r\\n\"",
        ".code64",
        end = const END,
        words = const WORDS,
        notes = const NOTES,
        count = const COUNT,
        start = sym start,
    )
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
