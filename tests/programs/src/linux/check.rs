//! **A kernel that checks the Linux boot protocol**: a bzImage with all three entries.
//!
//! [`bzimage`] has the entries. Then the program checks what the loader promised. The command line
//! names the expected entry: `entry=16`, `entry=32` or `entry=64`. The program prints its findings
//! on COM1, and at the end `OKAY` or, for each broken promise, `FAILED`.
//!
//! The offsets are those of Linux, Documentation/arch/x86/boot.rst and zero-page.rst, and of
//! include/uapi/linux/screen_info.h. The tests change the header's fields in the file.
#![no_std]
#![no_main]
// Entries, ports, and memory that is accessed by its address.
#![allow(unsafe_code)]

use core::arch::asm;
use core::ptr::with_exposed_provenance;

mod bzimage;
#[path = "../../../../kernel/src/mem.rs"]
mod mem;
#[path = "../report/mod.rs"]
mod report;

use bzimage::{CR0_PE, Entered, Memory, read};
use handoff::{EXIT_PORT, EXIT_SUCCESS};
use report::{checksum, output, send};

/// Where [`bzimage`] moves the program to: memory that small machines have.
const LINKED_AT: u32 = 0x200_0000;
/// CR0 and EFER.
const CR0_PG: u64 = 1 << 31;
const EFER_LMA: u64 = 1 << 10;
/// FLAGS: interrupts, direction.
const FLAGS_IF_DF: u64 = 1 << 9 | 1 << 10;

unsafe extern "C" {
    /// The findings of the setup code.
    static real: u8;
    /// The entries' notes, where the kernel was loaded: from here …
    static entered: u8;
    /// … to here.
    static stack_end: u8;
}

extern "C" fn main() -> ! {
    let notes = bzimage::notes();
    let parameters = Memory(notes.parameters);
    let command_line = parameters.number(0x228, 4);
    let wanted = word_of(command_line, b"entry=");
    print_entry(notes, command_line);

    let mut good = true;
    let mut check = |what: &[u8], holds: bool| {
        if !holds {
            good = false;
            print(b"FAILED ");
            print(what);
            print(b"\r\n");
        }
    };
    check(b"entry", wanted == notes.bits);
    if wanted == 16 {
        check_real_mode(notes, &parameters, &mut check);
    } else {
        check_registers(notes, &mut check);
        check_descriptors(notes, &mut check);
        check_parameters(&parameters, &mut check);
    }
    check_header(&parameters, notes.loaded_at, &mut check);
    print_ram_disk(&parameters);
    sum_up(&parameters, notes.loaded_at);
    check(b"payload", payload_is_whole(&parameters, notes.loaded_at));
    print(if good {
        b"OKAY\r\n"
    } else {
        b"not as promised\r\n"
    });
    output(EXIT_PORT, if good { EXIT_SUCCESS as u8 } else { 1 });
    loop {
        // SAFETY: only waits.
        unsafe { asm!("hlt") };
    }
}

/// Prints which entry was taken, where everything is, and the command line.
fn print_entry(notes: &Entered, command_line: u64) {
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
}

/// Checks the findings of the setup code at the 16-bit entry.
fn check_real_mode(notes: &Entered, parameters: &Memory, check: &mut dyn FnMut(&[u8], bool)) {
    // The address is an offset, for the setup code's segment.
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
    // "Anywhere between the end of the setup heap and 0xA0000" (boot.rst).
    let heap_end = notes.parameters + parameters.number(0x224, 2) + 0x200;
    let command_line = parameters.number(0x228, 4);
    check(
        b"command line",
        (heap_end..0xA_0000).contains(&command_line),
    );
}

/// Checks the registers at the 32-bit or 64-bit entry.
fn check_registers(notes: &Entered, check: &mut dyn FnMut(&[u8], bool)) {
    let [cs, ds, es, ss] = notes.selectors;
    check(b"selectors", [cs, ds, es, ss] == [0x10, 0x18, 0x18, 0x18]);
    check(b"FLAGS", notes.flags & FLAGS_IF_DF == 0);
    check(b"EBX, EBP, EDI", notes.zeros == 0);
    check(b"CR0", notes.cr0 as u32 & CR0_PE != 0);
    check(b"paging", (notes.cr0 & CR0_PG != 0) == (notes.bits == 64));
    check(b"EFER", (notes.efer & EFER_LMA != 0) == (notes.bits == 64));
}

/// Checks the segments at the 32-bit or 64-bit entry.
fn check_descriptors(notes: &Entered, check: &mut dyn FnMut(&[u8], bool)) {
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
}

/// Checks the fields of the header that the loader fills in.
fn check_header(parameters: &Memory, loaded_at: u64, check: &mut dyn FnMut(&[u8], bool)) {
    let video = match word_of(parameters.number(0x228, 4), b"vid_mode=") {
        0 => 0xFFFF,
        expected => expected,
    };
    check(b"vid_mode", parameters.number(0x1FA, 2) == video);
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

/// Checks the fields that the setup code would have filled in, and that all others are zero.
fn check_parameters(parameters: &Memory, check: &mut dyn FnMut(&[u8], bool)) {
    let screen = |offset, bytes| parameters.number(offset, bytes);
    let zero = |from, to| (from..to).all(|offset| parameters.number(offset, 1) == 0);
    // The position of INT 10h's cursor.
    check(b"cursor", screen(0, 2) == Memory(0x450).number(0, 2));
    check(b"orig_video_page", screen(4, 2) == 0);
    check(b"orig_video_mode", screen(6, 1) == 3 && screen(7, 1) == 80);
    check(b"orig_video_ega_bx", screen(0xA, 2) == 3);
    check(
        b"orig_video_lines",
        screen(0xE, 1) == 25 && screen(0xF, 1) == 1,
    );
    check(b"orig_video_points", screen(0x10, 2) == 16);
    check(b"a frame buffer", zero(0x12, 0x40));
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
    let zeros = [
        (0x40, 0x70),
        (0x78, 0x1E0),
        (0x1E9, 0x1EB),
        (0x1EC, 0x1F1),
        (0x202 + parameters.number(0x201, 1), 0x2D0),
        (0x2D0 + 20 * count, 0x1000),
    ];
    check(b"zeros", zeros.into_iter().all(|(from, to)| zero(from, to)));
}

/// Prints the checksums of everything that was loaded, except for parts that were written to since.
fn sum_up(parameters: &Memory, loaded_at: u64) {
    let offset = |address: *const u8| address.addr() as u64 - u64::from(LINKED_AT);
    let written = offset(&raw const entered)..offset(&raw const stack_end);
    let length = 16 * parameters.number(0x1F4, 4);
    let header = 0x202 + parameters.number(0x201, 1) - 0x1F1;
    let (start, size) = (parameters.number(0x218, 4), parameters.number(0x21C, 4));
    for (what, start, size) in [
        ("header", parameters.0 + 0x1F1, header),
        ("kernel", loaded_at, written.start),
        ("kernel", loaded_at + written.end, length - written.end),
        ("initrd", start, size),
    ] {
        report::bytes(what, bytes(start, size), &[]);
    }
}

/// Whether the payload, if there is one, ends in the checksum of the bytes in front: Linux checks
/// its own, too.
fn payload_is_whole(parameters: &Memory, loaded_at: u64) -> bool {
    let (offset, size) = (parameters.number(0x248, 4), parameters.number(0x24C, 4));
    let Some(size) = size.checked_sub(8) else {
        return size == 0;
    };
    let start = loaded_at + offset;
    checksum(bytes(start, size)) == Memory(start + size).number(0, 8)
}

/// Memory that nobody writes to any more.
fn bytes(start: u64, size: u64) -> &'static [u8] {
    let start = with_exposed_provenance(start as usize);
    match size {
        0 => &[],
        // SAFETY: the loader has put data there; the first 4 GiB are mapped.
        _ => unsafe { core::slice::from_raw_parts(start, size as usize) },
    }
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

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    print(b"FAILED: a panic\r\n");
    loop {
        core::hint::spin_loop();
    }
}
