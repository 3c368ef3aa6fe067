//! Kernels that are made for one error each, one line for an error, so that the errors that occur
//! do not depend on random numbers.

use boot_path::entry::protocol::LinuxEntry;
use disk_builder::Protocol;

use super::kernels::{
    KERNEL_VMA, Kernel, bytes_of, code_at, elf, linux, own, own_notes, pack, physical, relocated,
    words_of_limine,
};
use crate::elf::{ET_EXEC, Elf, PT_TLS, ProgramHeader, R, W, X, note, with_sections};

/// The error, and the kernel that it refuses.
pub(super) type Made = (&'static str, Kernel);

/// All of them.
pub(super) fn all() -> Vec<Made> {
    [
        of_elf_fields(),
        of_elf(),
        of_notes(),
        of_memory(),
        of_relocations(),
        of_streams(),
        of_limine(),
        of_multiboot2(),
        of_multiboot1(),
        of_linux(),
    ]
    .concat()
}

fn put(mut bytes: Vec<u8>, offset: usize, new: &[u8]) -> Vec<u8> {
    bytes[offset..offset + new.len()].copy_from_slice(new);
    bytes
}

/// Kernels for the loader's own protocol with one field changed.
#[rustfmt::skip]
fn of_elf_fields() -> Vec<Made> {
    // Fields of the file header, and of the first two program headers.
    const CLASS: usize = 4;
    const TYPE: usize = 16;
    const MACHINE: usize = 18;
    const VERSION: usize = 20;
    const ENTRY: usize = 24;
    const HEADER_SIZE: usize = 54;
    const HEADERS: usize = 56;
    const OFFSET: usize = 64 + 8;
    const ADDRESS: usize = 64 + 16;
    const MEMORY_SIZE: usize = 64 + 40;
    const ALIGNMENT: usize = 64 + 48;
    const SECOND_ADDRESS: usize = 120 + 16;

    let not_canonical = (1_u64 << 47).to_le_bytes();
    let first_address = KERNEL_VMA.to_le_bytes();
    let far = 0x10_0000_u64.to_le_bytes();
    let kernel = |what, offset, new: &[u8]| Kernel::new(what, put(own().build(), offset, new));
    let not_elf = kernel("not an ELF file", 0, &[0]).by(Protocol::Bootpath);
    vec![
        ("KernelError::NotElf", not_elf),
        ("KernelError::Class", kernel("of 32 bits", CLASS, &[1])),
        ("KernelError::Type", kernel("an object file", TYPE, &[1])),
        ("KernelError::Machine", kernel("of another CPU", MACHINE, &[183])),
        ("KernelError::Version", kernel("of another version", VERSION, &[2])),
        ("KernelError::Entry", kernel("an entry point nowhere", ENTRY, &[0; 8])),
        ("KernelError::HeaderSize", kernel("program headers of 57 bytes", HEADER_SIZE, &[57])),
        ("KernelError::TooManyHeaders", kernel("program headers without end", HEADERS, &[0xFF; 2])),
        ("KernelError::NoLoad", kernel("no program headers", HEADERS, &[0])),
        ("KernelError::Truncated", kernel("bytes behind the file", OFFSET, &far)),
        ("KernelError::Sizes", kernel("less memory than bytes", MEMORY_SIZE, &[1])),
        ("KernelError::Alignment", kernel("aligned to 3", ALIGNMENT, &[3, 0])),
        ("KernelError::Overlap", kernel("one over the other", SECOND_ADDRESS, &first_address)),
        ("KernelError::Wraps", kernel("in the hole of the addresses", ADDRESS, &not_canonical)),
    ]
}

/// An ELF file at an address.
fn elf_at(address: u64) -> Elf {
    Elf::new(ET_EXEC, address).with(code_at(R | X, address))
}

#[rustfmt::skip]
fn of_elf() -> Vec<Made> {
    let page = |number: u64| KERNEL_VMA + 0x1000 * number;
    let local = |address| ProgramHeader::within_load(PT_TLS, address, 8);
    let twice = own().with(local(KERNEL_VMA)).with(local(KERNEL_VMA));
    let writable = Elf::new(ET_EXEC, KERNEL_VMA).with(code_at(R | W | X, KERNEL_VMA));
    let for_pvh = ProgramHeader::note(note("Xen", 18, &[0, 0, 0x10, 0], 4));
    let configuration = [(".bootloader-config", 1, &[7; 124][..])];
    let for_bootloader = with_sections(elf().build(), &configuration);
    let symbols = [(".strtab", 3, &b"\0fb\0bootboot\0environment\0"[..])];
    let for_bootboot = with_sections(elf_at(0xFFFF_FFFF_FFE0_2000).build(), &symbols);
    let with_notes =
        |name, elf: Elf| Kernel::new(name, elf.with(ProgramHeader::note(own_notes())).build());
    vec![
        ("KernelError::Duplicate", with_notes("thread-local storage twice", twice)),
        ("KernelError::NotLoaded", with_notes("thread-local storage nowhere", elf().with(local(page(0x100))))),
        ("KernelError::WritableCode", with_notes("code that is writable", writable)),
        ("KernelError::PageZero", with_notes("at address 0", elf_at(0))),
        ("KernelError::Foreign", Kernel::new("for PVH", elf_at(0).with(for_pvh).build())),
        ("KernelError::Foreign", Kernel::new("for the crate bootloader", for_bootloader)),
        ("KernelError::Foreign", Kernel::new("for BOOTBOOT", for_bootboot)),
    ]
}

/// A note for the loader's own protocol.
fn wish(kind: u32, value: u64) -> Vec<u8> {
    note(handoff::NOTE_NAME, kind, &value.to_le_bytes(), 4)
}

#[rustfmt::skip]
fn of_notes() -> Vec<Made> {
    let with = |name, notes: Vec<u8>| {
        let elf = elf().with(ProgramHeader::note(notes));
        Kernel::new(name, elf.build())
    };
    // All of them are the same bytes.
    let overlapping = || ProgramHeader {
        offset: Some(0),
        file_size: Some(0x800),
        ..ProgramHeader::note(Vec::new())
    };
    let overlap = (0..40).fold(elf(), |elf, _| elf.with(overlapping()));
    let short = note(handoff::NOTE_NAME, handoff::NOTE_STACK_SIZE, &[0, 0, 2, 0], 4);
    vec![
        ("KernelError::TooManyNotes", Kernel::new("notes that overlap", overlap.build())),
        ("KernelError::NoteLength", with("a short note", short)),
        ("KernelError::NoteValue", with("a stack of 1 byte", wish(handoff::NOTE_STACK_SIZE, 1))),
    ]
}

/// Places in the address space, and sizes of memory.
#[rustfmt::skip]
fn of_memory() -> Vec<Made> {
    const GIB: u64 = 1 << 30;
    // All memory that a PC has there, except for less than the largest stack and its tables.
    const NEARLY_ALL: u64 = 4056 << 20;
    const LARGEST_STACK: u64 = 16 << 20;

    let base = KERNEL_VMA - 4 * GIB;
    let map_at = |base| wish(handoff::NOTE_PHYSICAL_MAP_BASE, base);
    let with =
        |name, elf: Elf, notes| Kernel::new(name, elf.with(ProgramHeader::note(notes)).build());
    let large = |bytes| {
        let bss = ProgramHeader::load(R | W, GIB + 0x1000, vec![7], bytes);
        elf_at(GIB).with(bss)
    };
    let stack = wish(handoff::NOTE_STACK_SIZE, LARGEST_STACK);
    vec![
        ("KernelError::Conflict", with("where memory begins", elf_at(base), map_at(base))),
        ("PagingError::Conflict", with("in all memory", elf_at(base + 0x20_0000), map_at(base))),
        ("PagingError::OutOfRange", with("no room for all memory", elf(), map_at(GIB.wrapping_neg()))),
        ("OutOfMemory", with("8 GiB", large(8 * GIB), own_notes())),
        ("PagingError::OutOfMemory", with("no room for a stack", large(NEARLY_ALL), stack)),
    ]
}

#[rustfmt::skip]
fn of_relocations() -> Vec<Made> {
    const RELATIVE: [u32; 2] = [0, 8];
    const INDIRECT: [u32; 2] = [0, 37];
    const BY_SYMBOL_1: [u32; 2] = [1, 1];
    const NEEDED: u64 = 1;
    const ENTRY_SIZE: u64 = 9;
    const IMPLICIT: [u64; 4] = [17, 0x1100, 18, 24]; // where they are, and their bytes
    const DATA: u64 = 0x2000;
    // The symbol table; symbol 1 is zeroes.
    const SYMBOLS: [u64; 2] = [6, 0x1080];
    // Symbol 1 is the value of an unknown tag: its type is 10, an indirect function.
    const FUNCTION: [u64; 4] = [6, 0x1030, 0x6FFF_FE00, 10 << 32];

    let kernel =
        |name, kind, target, more: &[u64]| Kernel::new(name, relocated(&[(kind, target)], more));
    vec![
        ("KernelError::Relocation", kernel("another relocation", INDIRECT, DATA, &[])),
        ("KernelError::Undefined", kernel("an undefined symbol", BY_SYMBOL_1, DATA, &SYMBOLS)),
        ("KernelError::SymbolKind", kernel("an indirect function", BY_SYMBOL_1, DATA, &FUNCTION)),
        ("KernelError::RelocationTarget", kernel("a relocation of nothing", RELATIVE, 0x10_0000, &[])),
        ("KernelError::SharedLibrary", kernel("a library", RELATIVE, DATA, &[NEEDED, 0])),
        ("KernelError::TableSize", kernel("relocations of 25 bytes", RELATIVE, DATA, &[ENTRY_SIZE, 25])),
        ("KernelError::ImplicitAddends", kernel("implicit addends", RELATIVE, DATA, &IMPLICIT)),
    ]
}

#[rustfmt::skip]
fn of_streams() -> Vec<Made> {
    // Fields of a gzip stream's header, and of its trailer.
    const FLAGS: usize = 3;
    const DATA: usize = 10;
    const CHECKSUM: usize = 8;
    const LENGTH: usize = 4;

    let packed = pack(&own().build());
    let length = packed.len();
    let kernel = |name, offset, new: &[u8]| Kernel::new(name, put(packed.clone(), offset, new));
    let one_less = [packed[length - LENGTH].wrapping_sub(1)];
    let another = [!packed[length - CHECKSUM]];
    vec![
        ("GzipError::Header", kernel("reserved flags of a stream", FLAGS, &[0xE0])),
        ("GzipError::Data", kernel("a reserved block of a stream", DATA, &[7])),
        ("GzipError::Length", kernel("a shorter stream", length - LENGTH, &one_less)),
        ("GzipError::Checksum", kernel("another checksum of a stream", length - CHECKSUM, &another)),
        ("GzipError::Behind", Kernel::new("words behind a stream", [&packed[..], b"words"].concat())),
        ("GzipError::Room", kernel("4 GiB in a stream", length - LENGTH, &[0xFF; 4])),
    ]
}

const STACK: [u64; 2] = [0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D];
const PAGING: [u64; 2] = [0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A];
const ENTRY: [u64; 2] = [0x13D8_6C03_5A1C_D3E1, 0x2B0C_AA89_D8F3_026A];
const MODULES: [u64; 2] = [0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE];
const START: [u64; 4] = [
    0xF6B8_F4B3_9DE7_D1AE,
    0xFAB9_1A69_40FC_B9CF,
    0x785C_6ED0_15D3_E316,
    0x181E_920A_7852_B9D9,
];
const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];

#[rustfmt::skip]
fn of_limine() -> Vec<Made> {
    let at = |name, address: u64, revision: u64, requests: &[&[u64]]| {
        let data = words_of_limine(revision, &requests.concat());
        let data = ProgramHeader::filled(R | W, address + 0x1000, data);
        Kernel::new(name, elf_at(address).with(data).build())
    };
    let with = |name, revision, requests: &[&[u64]]| at(name, KERNEL_VMA, revision, requests);
    let request = |name: [u64; 2], arguments: &[u64]| {
        let common = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
        [&common[..], &name, arguments].concat()
    };
    let stack = request(STACK, &[0, 0, 0x1_0000]);
    let paging = request(PAGING, &[1, 0, 0, 0, 1]);
    let many = request(MODULES, &[1, 0, 33, KERNEL_VMA]);
    let nowhere = request(MODULES, &[1, 0, 1, 0]);
    let entry = request(ENTRY, &[0, 0, 0x1000]);
    let nothing = Kernel::new("no request", elf().build()).by(Protocol::Limine);
    vec![
        ("LimineError::Nothing", nothing),
        ("LimineError::Revision", with("a new revision", 7, &[&stack])),
        ("LimineError::Duplicate", with("a request twice", 3, &[&stack, &stack])),
        ("LimineError::Cut", with("half a request", 3, &[&stack[..5]])),
        ("LimineError::Markers", with("the end before the start", 3, &[&END, &stack, &START])),
        ("LimineError::Low", at("below the last 2 GiB", KERNEL_VMA - (4 << 30), 3, &[&stack])),
        ("LimineError::Paging", with("no paging mode", 3, &[&paging])),
        ("LimineError::Entry", with("another entry point nowhere", 3, &[&entry])),
        ("LimineError::TooManyModules", with("too many modules", 3, &[&many])),
        ("LimineError::Module", with("a module described nowhere", 3, &[&nowhere])),
    ]
}

#[rustfmt::skip]
fn of_multiboot2() -> Vec<Made> {
    let two = |name, architecture: u32, length: u32, tags: &[u32]| {
        const MAGIC: u32 = 0xE852_50D6;

        let length = (16 + 4 * tags.len() as u32).wrapping_add(length);
        let sum = MAGIC.wrapping_add(architecture).wrapping_add(length);
        let header = [MAGIC, architecture, length, 0_u32.wrapping_sub(sum)];
        Kernel::new(name, physical(bytes_of(&[&header[..], tags].concat())))
            .by(Protocol::Multiboot2)
    };
    let tags = |name, tags: &[u32]| two(name, 0, 0, tags);
    let no_header = Kernel::new("no header", physical(Vec::new())).by(Protocol::Multiboot2);
    vec![
        ("HeaderError::NotFound", no_header),
        ("HeaderError::Architecture", two("of MIPS", 4, 0, &[0, 8])),
        ("HeaderError::NoEnd", tags("tags beyond 32 KiB", &[1 << 16 | 99, 8].repeat(5000))),
        ("HeaderError::TagSize", tags("a tag of 4 bytes", &[4, 4, 0, 8])),
        ("HeaderError::Tag", tags("an unknown tag", &[99, 8, 0, 8])),
        ("HeaderError::Addresses", tags("addresses of nothing", &[2, 24, 1, 2, 3, 4, 3, 12, 5, 0, 0, 8])),
        ("HeaderError::NoEntry", tags("addresses without an entry", &[2, 24, 0x10_0000, 0x10_0000, 0, 0, 0, 8])),
        ("HeaderError::Request", tags("an unknown request", &[1, 12, 99, 0, 0, 8])),
        ("HeaderError::Console", tags("a console without text", &[4, 12, 1, 0, 0, 8])),
        ("HeaderError::Limits", tags("an end before its start", &[10, 24, 0x2000, 0x1000, 0x1000, 0, 0, 8])),
        ("MemoryConflict::NoRoom", tags("nowhere", &[10, 24, 0, 0x1000, 0x1000, 0, 0, 8])),
    ]
}

#[rustfmt::skip]
fn of_multiboot1() -> Vec<Made> {
    let header = |flags: u32| {
        const MAGIC: u32 = 0x1BAD_B002;

        let sum = 0_u32.wrapping_sub(MAGIC + flags);
        bytes_of(&[MAGIC, flags, sum, 0, 0x10_0000, 0x20_0000, 1, 0])
    };
    let one = |name, flags| Kernel::new(name, physical(header(flags))).by(Protocol::Multiboot1);
    let data_at = |name, address| {
        let head = ProgramHeader::filled(R | X, 0x10_0000, header(0));
        let data = ProgramHeader::filled(R | W, 0x10_2000, vec![7; 100]).at(address);
        let elf = Elf::new(ET_EXEC, 0x10_0000).with(head).with(data);
        Kernel::new(name, elf.build()).by(Protocol::Multiboot1)
    };
    // At the end of the first 8 KiB, with addresses behind it.
    let cut = [&[0; 0x1000 - 12][..], &header(0x1_0000)].concat();
    vec![
        ("HeaderError::Length", Kernel::new("a header that is cut", physical(cut)).by(Protocol::Multiboot1)),
        ("HeaderError::Flags", one("unknown flags", 0x8000)),
        ("HeaderError::Addresses", one("addresses that make no sense", 0x1_0000)),
        ("MemoryConflict::Beyond", data_at("behind 4 GiB", 1 << 32)),
        ("MemoryConflict::Taken", data_at("where the BIOS is", 0x400)),
    ]
}

#[rustfmt::skip]
fn of_linux() -> Vec<Made> {
    // Fields of the setup header.
    const SETUP_SECTORS: usize = 0x1F1;
    const JUMP: usize = 0x200;
    const MAGIC: usize = 0x202;
    const VERSION: usize = 0x206;
    const LOAD_FLAGS: usize = 0x211;
    const ALIGNMENT: usize = 0x230;
    const RELOCATABLE: usize = 0x234;
    const EXTENDED_FLAGS: usize = 0x236;
    const PREFERRED: usize = 0x258;

    let kernel = |name, bytes| Kernel::new(name, bytes).by(Protocol::Linux(None));
    let with = |name, offset, new: &[u8]| kernel(name, put(linux(), offset, new));
    let mut long = put(linux(), SETUP_SECTORS, &[255]);
    long.resize(300 * 512, 0);
    let fixed = put(linux(), RELOCATABLE, &[0]);
    let no_64 = with("no 64-bit entry", EXTENDED_FLAGS, &[0]);
    let no_64 = no_64.by(Protocol::Linux(Some(LinuxEntry::Bits64)));
    let mut long_line = kernel("a long command line", linux());
    long_line.command_line = "x".repeat(3000);
    vec![
        ("LinuxError::Truncated", kernel("half a file", linux()[..1000].to_vec())),
        ("LinuxError::NoHeader", with("no setup header", MAGIC, &[0])),
        ("LinuxError::Jump", with("no jump", JUMP, &[0x90])),
        ("LinuxError::Old", with("old linux", VERSION, &[0, 1])),
        ("LinuxError::Setup", kernel("a long setup", long)),
        ("LinuxError::Low", with("a zImage", LOAD_FLAGS, &[0])),
        ("LinuxError::Alignment", with("linux aligned to 3", ALIGNMENT, &[3])),
        ("LinuxError::No64", no_64),
        ("LinuxError::CommandLine", long_line),
        ("LinuxError::NotFree", kernel("linux where the BIOS is", put(fixed, PREFERRED, &[0, 0, 1, 0]))),
    ]
}
