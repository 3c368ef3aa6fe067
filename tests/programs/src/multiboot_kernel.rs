//! **A kernel that checks what Multiboot promises**, of version 1 and 2: registers and segments at
//! its first instruction, every part of the boot information, and that nothing of it overlaps.
//!
//! It has both headers; which loader it was, EAX tells. What it finds it says on COM1, a line each,
//! and at last `OKAY` or `FAIL`; it leaves QEMU through isa-debug-exit. Moved away from its linked
//! address, it only compares the address with what the boot information says.
//!
//! Version 2 is read by the crate `multiboot2` as it is.
#![no_std]
#![no_main]
// The entry is assembly, and everything is at addresses that somebody else wrote down.
#![allow(unsafe_code)]

#[path = "../../../kernel/src/mem.rs"]
mod mem;
mod framebuffer;
mod report;
mod test_card;

use core::arch::{asm, naked_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use framebuffer::Framebuffer;
use multiboot2::{BootInformation, BootInformationHeader, FramebufferType};
use report::{input, output, say};
use zerocopy::FromBytes;

/// What is in EAX.
const LOADER_1: u32 = 0x2BAD_B002;
const LOADER_2: u32 = multiboot2::MAGIC;

const MAGIC_2: u32 = 0xE852_50D6;
const LENGTH_2: u32 = size_of::<Header2>() as u32;

/// The header of version 2. The test replaces the tag that nobody knows by others.
#[repr(C, align(8))]
struct Header2 {
    magic: [u32; 4],
    /// Information request, not optional: all types that are to be had on a BIOS.
    request: [u32; 2],
    kinds: [u32; 14],
    /// Console flags: a console is required, and EGA text is supported.
    console: [u32; 4],
    /// Framebuffer, not optional: no depth, which is a text mode.
    framebuffer: [u32; 6],
    modules: [u32; 2],
    /// EFI boot services: not for a BIOS.
    efi: [u32; 2],
    spare: [u32; 14],
    end: [u32; 2],
}

#[used]
#[unsafe(link_section = ".multiboot2")]
static HEADER_2: Header2 = Header2 {
    magic: [MAGIC_2, 0, LENGTH_2, 0_u32.wrapping_sub(MAGIC_2 + LENGTH_2)],
    request: [1, 8 + 13 * 4],
    kinds: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 0],
    console: [4, 12, 3, 0],
    framebuffer: [5, 20, 80, 25, 0, 0],
    modules: [6, 8],
    efi: [7, 8],
    spare: [0xB007 | 1 << 16, 14 * 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    end: [0, 8],
};

const MAGIC_1: u32 = 0x1BAD_B002;
/// Modules at pages, memory information, a video mode; and a bit that may be ignored.
const FLAGS_1: u32 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 20;

/// The header of version 1: no addresses (the test fills them in), EGA text of 80 by 25.
#[used]
#[unsafe(link_section = ".multiboot1")]
static HEADER_1: [u32; 12] = [
    MAGIC_1,
    FLAGS_1,
    0_u32.wrapping_sub(MAGIC_1 + FLAGS_1),
    0,
    0,
    0,
    0,
    0,
    1,
    80,
    25,
    0,
];

/// The machine at the first instruction. The segments: CS, DS, ES, FS, GS, SS.
#[repr(C)]
struct State {
    eax: u32,
    ebx: u32,
    eflags: u32,
    cr0: u32,
    cr4: u32,
    efer: [u32; 2],
    selectors: [u32; 6],
    /// What LAR says.
    rights: [u32; 6],
    /// What LSL says.
    limits: [u32; 6],
    gdtr: [u16; 4],
}

static mut STATE: State = State {
    eax: 0,
    ebx: 0,
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

/// In: what Multiboot promises. Keeps the state, maps the first 4 GiB to themselves and goes on in
/// 64-bit code.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    naked_asm!(
        ".code32",
        // There is no stack yet: a word of the boot information serves as one, to find out where
        // this is.
        "mov edx, [ebx + 4]",
        "lea esp, [ebx + 8]",
        "call .Lhere",
        ".Lhere:",
        "pop ebp",
        "mov [ebx + 4], edx",
        "sub ebp, offset .Lhere",
        "jnz .Lmoved",

        "mov esp, offset {stack} + {stack_size}",
        "pushfd",
        "pop dword ptr [{state} + {eflags}]",
        "mov [{state} + {eax}], eax",
        "mov [{state} + {ebx}], ebx",
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

        // In: EBP = by how much. Looks for the tag of type 21.
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

const EXIT_PORT: u16 = 0xF4;
const EXIT_OKAY: u8 = 0x10;
const EXIT_FAIL: u8 = 0x11;

/// What was checked.
struct Checks {
    failed: bool,
}

impl Checks {
    fn check(&mut self, what: &str, good: bool) {
        if !good {
            say!("FAILED: {what}");
        }
        self.failed |= !good;
    }
}

/// Memory that has a use: start, end, what.
struct Uses {
    ranges: [(u64, u64); 64],
    count: usize,
}

impl Uses {
    /// Is it apart from all that were added before, and below 4 GiB?
    fn add(&mut self, start: u64, length: u64) -> bool {
        let end = start + length;
        let apart = self.ranges[..self.count]
            .iter()
            .all(|&(from, to)| end <= from || to <= start);
        self.ranges[self.count] = (start, end);
        self.count += 1;
        apart && end <= 1 << 32
    }
}

unsafe extern "C" {
    static image_start: u8;
    /// Behind what the file has of it.
    static _edata: u8;
    static image_end: u8;
}

fn address(symbol: *const u8) -> u64 {
    symbol.addr() as u64
}

/// Bytes at a physical address.
fn bytes(start: u64, length: u64) -> &'static [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: the first 4 GiB are mapped; what is read is RAM or ROM, and nobody writes to it.
    unsafe { core::slice::from_raw_parts(start as *const u8, length as usize) }
}

fn read<T: FromBytes>(start: u64) -> Option<T> {
    T::read_from_bytes(bytes(start, size_of::<T>() as u64)).ok()
}

/// The text up to the zero byte.
fn text(start: u64) -> Option<&'static str> {
    const LONGEST: u64 = 64 * 1024;
    let bytes = bytes(start, LONGEST);
    let length = bytes.iter().position(|&byte| byte == 0)?;
    core::str::from_utf8(&bytes[..length]).ok()
}

extern "C" fn main() -> ! {
    let state = &raw const STATE;
    // SAFETY: it is not written to any more.
    let state = unsafe { &*state };
    let mut checks = Checks { failed: false };
    let mut uses = Uses {
        ranges: [(0, 0); 64],
        count: 0,
    };
    check_machine(state, &mut checks);
    let (start, end) = (
        address(&raw const image_start),
        address(&raw const image_end),
    );
    checks.check("kernel's place", uses.add(start, end - start));
    let loaded = address(&raw const _edata) - start;
    report::bytes("kernel", bytes(start, loaded), &[]);
    let info = u64::from(state.ebx);
    match state.eax {
        LOADER_2 => check_2(info, &mut checks, &mut uses),
        LOADER_1 => check_1(info, &mut checks, &mut uses),
        eax => {
            say!("EAX {eax:x}");
            checks.failed = true;
        }
    }
    say!("{}", if checks.failed { "FAIL" } else { "OKAY" });
    while STAY.load(Relaxed) {
        core::hint::spin_loop();
    }
    output(EXIT_PORT, if checks.failed { EXIT_FAIL } else { EXIT_OKAY });
    loop {
        core::hint::spin_loop();
    }
}

fn check_machine(state: &State, checks: &mut Checks) {
    checks.check("CR0 is PE and ET", state.cr0 == 1 << 4 | 1);
    checks.check("VM and IF clear", state.eflags & (1 << 17 | 1 << 9) == 0);
    checks.check("CR4", state.cr4 == 0);
    checks.check("EFER", state.efer[0] & (1 << 8 | 1 << 10 | 1 << 11) == 0);
    let [limit, low, high, _] = state.gdtr;
    let gdt = u64::from(high) << 16 | u64::from(low);
    for (number, name) in ["CS", "DS", "ES", "FS", "GS", "SS"].iter().enumerate() {
        let selector = state.selectors[number];
        let rights = state.rights[number];
        let kind = rights >> 8 & 0xF;
        // Present, code or data; a 32-bit segment, counted in pages.
        let right = rights & (1 << 15 | 1 << 12 | 1 << 22 | 1 << 23)
            == 1 << 15 | 1 << 12 | 1 << 22 | 1 << 23
            // Code that can be read, or data that can be written and do not expand down.
            && if number == 0 { kind & 0b1010 == 0b1010 } else { kind & 0b1110 == 0b0010 };
        let in_table = selector | 7 <= limit.into();
        let descriptor = read::<u64>(gdt + u64::from(selector & !7)).unwrap_or(1);
        let base = descriptor >> 16 & 0xFF_FFFF | descriptor >> 56 << 24;
        if !(right && state.limits[number] == u32::MAX && in_table && base == 0) {
            say!(
                "FAILED: {name} {selector:x}, rights {rights:x}, limit {:x}, base {base:x}",
                state.limits[number]
            );
            checks.failed = true;
        }
    }
    // Without A20, this is what would be seen there.
    let here = address(&raw const image_start) + 16;
    checks.check("A20", bytes(here, 64) != bytes(here - (1 << 20), 64));
    let untouched = UNTOUCHED.iter().all(|byte| byte.load(Relaxed) == 0);
    checks.check(".bss is zero", untouched);
    // As the BIOS left them: the timer is let through, and the vectors lead to its ROM.
    let masks = [input(0x21), input(0xA1)];
    say!("interrupt masks {:02x} {:02x}", masks[0], masks[1]);
    checks.check("interrupt controllers", masks[0] & 1 == 0);
    for vector in [0, 6, 7, 12, 13] {
        let far = interrupt_vector(vector);
        let linear = (far >> 16) * 16 + (far & 0xFFFF);
        if linear < 0xC_0000 {
            say!("FAILED: vector {vector} leads to {linear:x}");
            checks.failed = true;
        }
    }
}

/// Does the command line say that what is on the screen is to stay there?
static STAY: AtomicBool = AtomicBool::new(false);

/// Draws into the framebuffer, and says what it is.
fn check_framebuffer(checks: &mut Checks, framebuffer: &Framebuffer) {
    say!(
        "framebuffer {:p}, {} by {}, {} bits, pitch {}",
        framebuffer.start,
        framebuffer.width,
        framebuffer.height,
        framebuffer.bits_per_pixel,
        framebuffer.pitch
    );
    checks.check("framebuffer", framebuffer.makes_sense());
    // SAFETY: it is there, and the first 4 GiB are mapped.
    let drawn = unsafe {
        framebuffer.draw();
        framebuffer.is_drawn()
    };
    checks.check("picture", drawn);
}

/// What the VBE BIOS has said: the same as the framebuffer.
fn check_vbe(
    checks: &mut Checks,
    framebuffer: Option<&Framebuffer>,
    mode: u16,
    interface: [u16; 3],
    controller: &[u8],
    info: &[u8],
) {
    let Some(framebuffer) = framebuffer else {
        return checks.check("VBE without a framebuffer", false);
    };
    say!("VBE mode {mode:x}, interface {interface:x?}");
    let word =
        |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    checks.check("mode with a linear framebuffer", mode & !0x1FF == 0x4000);
    checks.check(
        "VbeInfoBlock",
        controller.starts_with(b"VESA") && word(controller, 4) >= 0x200,
    );
    // The mode is in the list.
    let list = word(controller, 16) * 16 + word(controller, 14);
    let listed = (0..256).any(|index| {
        let number = read::<u16>((list + 2 * index) as u64);
        number == Some(mode & 0x1FF)
    });
    checks.check("list of modes", listed);
    let address = word(info, 42) << 16 | word(info, 40);
    let pitch = match (word(controller, 4), word(info, 50)) {
        (0x300.., linear) if linear != 0 => linear,
        _ => word(info, 16),
    };
    let same = [word(info, 18), word(info, 20), info[25].into(), pitch]
        == [
            framebuffer.width,
            framebuffer.height,
            framebuffer.bits_per_pixel,
            framebuffer.pitch,
        ];
    checks.check(
        "ModeInfoBlock",
        same && address == framebuffer.start as usize,
    );
}

/// Nobody writes to it.
static UNTOUCHED: [AtomicU8; 4096] = [const { AtomicU8::new(0) }; 4096];

/// Of real mode: offset in bits 15:0, segment in bits 31:16.
fn interrupt_vector(number: u64) -> u32 {
    let far: u32;
    // SAFETY: the table is at address 0, which is not one for references.
    unsafe { asm!("mov {:e}, [{}]", out(reg) far, in(reg) number * 4, options(nostack, readonly)) }
    far
}

/// What both versions say.
fn check_module(checks: &mut Checks, uses: &mut Uses, start: u64, end: u64, text: &str) {
    let length = end - start;
    report::bytes("module", bytes(start, length), &[text]);
    checks.check("module at a page", start.is_multiple_of(4096));
    checks.check("module's place", uses.add(start, length));
}

/// The memory map: sorted, and with RAM for everything that is in use.
struct Map {
    end: u64,
    lower: u64,
    upper: u64,
    /// Bytes of the uses that are in RAM.
    covered: u64,
}

impl Map {
    fn add(&mut self, checks: &mut Checks, uses: &Uses, start: u64, length: u64, kind: u32) {
        say!("memory {start:x} {:x} {kind}", start + length);
        checks.check("memory map is sorted", self.end <= start && length > 0);
        self.end = start + length;
        if kind != 1 {
            return;
        }
        if start < 1 << 20 {
            self.lower = self.lower.max(self.end.min(1 << 20));
        }
        if start <= 1 << 20 && self.end > 1 << 20 {
            self.upper = self.end - (1 << 20);
        }
        for &(from, to) in &uses.ranges[..uses.count] {
            self.covered += to.min(self.end).saturating_sub(from.max(start));
        }
    }

    fn finish(&self, checks: &mut Checks, uses: &Uses, lower: u64, upper: u64) {
        say!("memory {lower} KiB and {upper} KiB");
        checks.check("mem_lower", lower == self.lower / 1024 && lower <= 640);
        checks.check("mem_upper", upper == self.upper / 1024);
        let used: u64 = uses.ranges[..uses.count]
            .iter()
            .map(|(from, to)| to - from)
            .sum();
        checks.check("what is in use is RAM", self.covered == used);
    }
}

const NO_MAP: Map = Map {
    end: 0,
    lower: 0,
    upper: 0,
    covered: 0,
};

/// One section: where, and what it is called.
fn check_section(checks: &mut Checks, uses: &mut Uses, name: &str, start: u64, size: u64) {
    say!("section {name} {size:x}");
    let loaded = (
        address(&raw const image_start),
        address(&raw const image_end),
    );
    if (loaded.0..loaded.1).contains(&start) {
        checks.check("section in the kernel", start + size <= loaded.1);
    } else {
        checks.check(
            "section's place",
            size == 0 || start != 0 && uses.add(start, size),
        );
        report::bytes("section", bytes(start, size), &[name]);
    }
    if name == ".strtab" {
        let found = bytes(start, size)
            .windows(11)
            .any(|name| name == b"image_start");
        checks.check("symbols", found);
    }
}

/// A loader that has no disk itself names none; then the command line says so.
fn check_disk(checks: &mut Checks, is_there: bool, line: &str) {
    let diskless = line.split(' ').any(|word| word == "diskless");
    checks.check("boot device", is_there != diskless);
}

fn check_2(info: u64, checks: &mut Checks, uses: &mut Uses) {
    checks.check("EBX is a multiple of 8", info.is_multiple_of(8));
    // SAFETY: that is what Multiboot promises.
    let boot = unsafe { BootInformation::load(info as *const BootInformationHeader) };
    let Ok(boot) = boot else {
        say!("FAILED: {:?}", boot.err());
        checks.failed = true;
        return;
    };
    checks.check(
        "information's place",
        uses.add(info, boot.total_size() as u64),
    );
    checks.check("reserved", read::<u32>(info + 4) == Some(0));
    let all = bytes(info, boot.total_size() as u64);
    report::bytes("information", all, &[]);
    let name = boot.boot_loader_name_tag().and_then(|tag| tag.name().ok());
    say!("multiboot 2 by {}", name.unwrap_or("?"));
    let line = boot.command_line_tag().and_then(|tag| tag.cmdline().ok());
    say!("command line: {}", line.unwrap_or("?"));
    for module in boot.module_tags() {
        let (start, end) = (module.start_address(), module.end_address());
        check_module(
            checks,
            uses,
            start.into(),
            end.into(),
            module.cmdline().unwrap_or("?"),
        );
    }
    check_disk(checks, boot.bootdev_tag().is_some(), line.unwrap_or("?"));
    if let Some(tag) = boot.bootdev_tag() {
        say!(
            "drive {:x} {:x} {:x}",
            tag.biosdev(),
            tag.slice(),
            tag.part()
        );
    }
    STAY.store(line == Some("stay"), Relaxed);
    let mut framebuffer = None;
    match boot.framebuffer_tag() {
        Some(Ok(tag)) if tag.buffer_type() != Ok(FramebufferType::Text) => {
            let Ok(FramebufferType::RGB { red, green, blue }) = tag.buffer_type() else {
                return checks.check("RGB", false);
            };
            let found = Framebuffer {
                start: tag.address() as *mut u8,
                pitch: tag.pitch() as usize,
                width: tag.width() as usize,
                height: tag.height() as usize,
                bits_per_pixel: tag.bpp().into(),
                colors: [red, green, blue].map(|field| (field.position, field.size)),
            };
            check_framebuffer(checks, &found);
            framebuffer = Some(found);
        }
        Some(Ok(tag)) => {
            say!(
                "screen {:x} {} {}",
                tag.address(),
                tag.width(),
                tag.height()
            );
            checks.check("text", tag.buffer_type() == Ok(FramebufferType::Text));
            checks.check(
                "16 bits a character",
                tag.bpp() == 16 && tag.pitch() == 2 * tag.width(),
            );
        }
        Some(Err(_)) => checks.check("framebuffer", false),
        None => say!("no screen"),
    }
    match boot.elf_sections_tag() {
        Some(tag) => {
            checks.check(
                "sections",
                tag.number_of_sections() == tag.sections().count() as u32,
            );
            // SAFETY: it is loaded, and mapped.
            let names = unsafe { tag.string_table() }.unwrap_or_default();
            for section in tag.sections().filter(|section| section.sh_type != 0) {
                let name = names.get(section.sh_name as usize..).unwrap_or_default();
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = core::str::from_utf8(name).unwrap_or("?");
                check_section(checks, uses, name, section.sh_addr, section.sh_size);
            }
        }
        None => say!("no sections"),
    }
    if let Some(apm) = boot.apm_tag() {
        say!("apm {:x}", apm.version());
        checks.check("APM in ROM", apm.cseg() >= 0xC000 && apm.cseg_len() > 0);
    }
    for tag in boot.smbios_tags() {
        say!("smbios {}.{}", tag.major(), tag.minor());
        checks.check("SMBIOS", tag.tables().starts_with(b"_SM"));
    }
    match boot.rsdp_v1_tag() {
        Some(tag) => {
            say!("rsdp 1 {:x}", tag.rsdt_address());
            checks.check(
                "RSDP",
                tag.checksum_is_valid() && tag.signature() == Ok("RSD PTR "),
            );
        }
        None => say!("no rsdp"),
    }
    if let Some(tag) = boot.rsdp_v2_tag() {
        say!("rsdp 2 {:x}", tag.xsdt_address());
        checks.check("RSDP 2.0", tag.checksum_is_valid() && tag.revision() >= 2);
    }
    match boot.vbe_info_tag() {
        Some(tag) => check_vbe(
            checks,
            framebuffer.as_ref(),
            tag.mode(),
            [
                tag.interface_segment(),
                tag.interface_offset(),
                tag.interface_length(),
            ],
            bytes(core::ptr::from_ref(tag) as *const u8 as u64 + 16, 512),
            bytes(core::ptr::from_ref(tag) as *const u8 as u64 + 528, 256),
        ),
        None => checks.check("no VBE", framebuffer.is_none()),
    }
    checks.check("no load base", boot.load_base_addr_tag().is_none());
    match (boot.memory_map_tag(), boot.basic_memory_info_tag()) {
        (Some(tag), Some(basic)) => {
            checks.check(
                "memory map's version",
                tag.entry_version() == 0 && tag.entry_size() == 24,
            );
            let mut map = NO_MAP;
            for area in tag.memory_areas() {
                let kind = u32::from(area.typ());
                map.add(checks, uses, area.start_address(), area.size(), kind);
            }
            let (lower, upper) = (basic.memory_lower(), basic.memory_upper());
            map.finish(checks, uses, lower.into(), upper.into());
        }
        _ => checks.check("memory map", false),
    }
}

/// The boot information of version 1.
#[derive(FromBytes)]
#[repr(C)]
struct Information {
    flags: u32,
    lower: u32,
    upper: u32,
    boot_device: [u8; 4],
    command_line: u32,
    module_count: u32,
    modules: u32,
    sections: [u32; 4],
    map_length: u32,
    map: u32,
    drives: [u32; 2],
    config_table: u32,
    loader: u32,
    apm: u32,
    vbe_blocks: [u32; 2],
    vbe: [u16; 4],
    screen: [u32; 2],
    pitch: u32,
    width: u32,
    height: u32,
    bits_per_pixel: u8,
    screen_kind: u8,
    colors: [u8; 6],
}

#[derive(FromBytes)]
#[repr(C, packed)]
struct MapEntry {
    size: u32,
    start: u64,
    length: u64,
    kind: u32,
}

/// The words of an ELF64 or ELF32 section header that matter: name, address, size.
fn section(start: u64, entry_size: u32) -> Option<(u32, u32, u64, u64)> {
    let [name, kind] = read::<[u32; 2]>(start)?;
    if entry_size == 64 {
        let [address, _, size] = read::<[u64; 3]>(start + 16)?;
        return Some((name, kind, address, size));
    }
    let [address, _, size] = read::<[u32; 3]>(start + 12)?;
    Some((name, kind, address.into(), size.into()))
}

fn check_1(info: u64, checks: &mut Checks, uses: &mut Uses) {
    const ALWAYS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;
    const DISK: u32 = 1 << 1;
    const SECTIONS: u32 = 1 << 5;
    const SCREEN: u32 = 1 << 12;
    const VBE: u32 = 1 << 11;
    const RGB: u8 = 1;

    let Some(boot) = read::<Information>(info) else {
        checks.check("information", false);
        return;
    };
    say!("flags {:x}", boot.flags);
    checks.check(
        "flags",
        boot.flags & !(DISK | SECTIONS | SCREEN | VBE) == ALWAYS,
    );
    checks.check(
        "information's place",
        uses.add(info, size_of::<Information>() as u64),
    );
    let all = bytes(info, size_of::<Information>() as u64);
    report::bytes("information", all, &[]);
    checks.check("loader's name", boot.loader != 0);
    let name = text(boot.loader.into()).unwrap_or("?");
    checks.check(
        "name's place",
        uses.add(boot.loader.into(), name.len() as u64 + 1),
    );
    say!("multiboot 1 by {name}");
    let line = text(boot.command_line.into()).unwrap_or("?");
    check_disk(checks, boot.flags & DISK != 0, line);
    checks.check(
        "command line's place",
        uses.add(boot.command_line.into(), line.len() as u64 + 1),
    );
    say!("command line: {line}");
    let count = u64::from(boot.module_count);
    checks.check("modules' table", uses.add(boot.modules.into(), 16 * count));
    for number in 0..count {
        let entry = read::<[u32; 4]>(u64::from(boot.modules) + 16 * number);
        let [start, end, string, zero] = entry.unwrap_or_default();
        let string_text = text(string.into()).unwrap_or("?");
        checks.check(
            "text's place",
            uses.add(string.into(), string_text.len() as u64 + 1),
        );
        checks.check("reserved", zero == 0);
        check_module(checks, uses, start.into(), end.into(), string_text);
    }
    let [part3, part2, part1, drive] = boot.boot_device;
    say!("drive {drive:x} {part1:x} {part2:x} {part3:x}");
    STAY.store(line == "stay", Relaxed);
    if boot.flags & SCREEN != 0 && boot.screen_kind == RGB {
        let [rp, rs, gp, gs, bp, bs] = boot.colors;
        let framebuffer = Framebuffer {
            start: (u64::from(boot.screen[1]) << 32 | u64::from(boot.screen[0])) as *mut u8,
            pitch: boot.pitch as usize,
            width: boot.width as usize,
            height: boot.height as usize,
            bits_per_pixel: boot.bits_per_pixel.into(),
            colors: [(rp, rs), (gp, gs), (bp, bs)],
        };
        check_framebuffer(checks, &framebuffer);
        checks.check("VBE", boot.flags & VBE != 0);
        let [controller, info] = boot.vbe_blocks.map(u64::from);
        checks.check("VbeInfoBlock's place", uses.add(controller, 512));
        checks.check("ModeInfoBlock's place", uses.add(info, 256));
        let [mode, interface @ ..] = boot.vbe;
        check_vbe(
            checks,
            Some(&framebuffer),
            mode,
            interface,
            bytes(controller, 512),
            bytes(info, 256),
        );
    } else if boot.flags & SCREEN != 0 {
        checks.check("no VBE", boot.flags & VBE == 0 && boot.vbe == [0; 4]);
        say!("screen {:x} {} {}", boot.screen[0], boot.width, boot.height);
        checks.check("text", boot.screen_kind == 2 && boot.screen[1] == 0);
        checks.check(
            "16 bits a character",
            boot.bits_per_pixel == 16 && boot.pitch == 2 * boot.width,
        );
        checks.check("no colours", boot.colors == [0; 6]);
    } else {
        say!("no screen");
    }
    if boot.flags & SECTIONS != 0 {
        let [count, size, table, names] = boot.sections.map(u64::from);
        checks.check("section headers' place", uses.add(table, count * size));
        report::bytes("section headers", bytes(table, count * size), &[]);
        let size = size as u32;
        let names = section(table + names * u64::from(size), size).map_or(0, |found| found.2);
        for number in 0..count {
            let header = section(table + number * u64::from(size), size);
            let (name, kind, start, length) = header.unwrap_or_default();
            if kind != 0 {
                let name = text(names + u64::from(name)).unwrap_or("?");
                check_section(checks, uses, name, start, length);
            }
        }
    } else {
        say!("no sections");
    }
    let unused = [boot.drives[0], boot.drives[1], boot.config_table, boot.apm];
    checks.check("unused fields", unused == [0; 4]);
    checks.check(
        "memory map's place",
        uses.add(boot.map.into(), boot.map_length.into()),
    );
    let mut map = NO_MAP;
    let (mut next, end) = (
        u64::from(boot.map),
        u64::from(boot.map) + u64::from(boot.map_length),
    );
    while let Some(entry) = read::<MapEntry>(next).filter(|_| next < end) {
        map.add(checks, uses, entry.start, entry.length, entry.kind);
        checks.check("size of an entry", entry.size == 20);
        next += u64::from(entry.size) + 4;
    }
    checks.check("length of the map", next == end);
    map.finish(checks, uses, boot.lower.into(), boot.upper.into());
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("{info}");
    output(EXIT_PORT, EXIT_FAIL);
    loop {
        core::hint::spin_loop();
    }
}
