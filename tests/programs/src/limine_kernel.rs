//! **A kernel of the Limine protocol**, made with the crate `limine`: it checks every response, every
//! register and what is mapped, prints each check on COM1, and at last `OKAY` or `FAILED`.
//!
//! Which base revision it asks for, whether there are markers, x2APIC and five levels of page tables, is
//! what the tests change in its bytes before they boot it (`tests/tests/limine.rs`).
#![no_std]
#![no_main]
// Registers, ports, page tables, and what the loader says where it is.
#![allow(unsafe_code)]

// What the ready-made `core` expects of its program.
#[path = "../../../stage2/src/machine/mem.rs"]
mod mem;
mod framebuffer;
mod report;
mod test_card;

use core::arch::{asm, naked_asm};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use framebuffer::Framebuffer;
use limine::BaseRevision;
use limine::framebuffer::MemoryModel;
use limine::memory_map::EntryType;
use limine::modules::{InternalModule, ModuleFlags};
use limine::mp::{Cpu, RequestFlags, ResponseFlags};
use limine::paging::Mode;
use limine::request::{
    BootloaderInfoRequest, DateAtBootRequest, DeviceTreeBlobRequest, EfiMemoryMapRequest,
    EfiSystemTableRequest, EntryPointRequest, ExecutableAddressRequest, ExecutableCmdlineRequest,
    ExecutableFileRequest, FirmwareTypeRequest, FramebufferRequest, HhdmRequest, MemoryMapRequest,
    ModuleRequest, MpRequest, PagingModeRequest, RequestsEndMarker, RequestsStartMarker,
    RsdpRequest, SmbiosRequest, StackSizeRequest,
};
use report::{COM1, input, output, say};

const STACK_SIZE: u64 = 100_000;
const DEBUG_EXIT: u16 = 0xF4;
const EXIT_OKAY: u8 = 0x10;

macro_rules! requests {
    ($($name:ident: $kind:ty = $value:expr;)*) => {
        $(
            #[used]
            #[unsafe(link_section = ".requests")]
            static $name: $kind = $value;
        )*
    };
}

#[used]
#[unsafe(link_section = ".requests.start")]
static START_MARKER: RequestsStartMarker = RequestsStartMarker::new();
#[used]
#[unsafe(link_section = ".requests.end")]
static END_MARKER: RequestsEndMarker = RequestsEndMarker::new();

// Recipes of the error catalogue change these two, at their places.
#[used]
#[unsafe(link_section = ".requests.tag")]
static BASE_REVISION: BaseRevision = BaseRevision::new();
/// As the one for the direct map, but for its last word.
#[used]
#[unsafe(link_section = ".requests.unknown")]
static UNKNOWN: Raw<0> = Raw::new([0x48DC_F1CB_8AD2_B852, 0x0123_4567_89AB_CDEF], []);

requests! {
    BOOTLOADER_INFO: BootloaderInfoRequest = BootloaderInfoRequest::new();
    COMMAND_LINE: ExecutableCmdlineRequest = ExecutableCmdlineRequest::new();
    FIRMWARE_TYPE: FirmwareTypeRequest = FirmwareTypeRequest::new();
    STACK: StackSizeRequest = StackSizeRequest::new().with_size(STACK_SIZE);
    HHDM: HhdmRequest = HhdmRequest::new();
    FRAMEBUFFER: FramebufferRequest = FramebufferRequest::new();
    PAGING: PagingModeRequest = PagingModeRequest::new();
    MP: MpRequest = MpRequest::new();
    MEMORY_MAP: MemoryMapRequest = MemoryMapRequest::new();
    ENTRY_POINT: EntryPointRequest = EntryPointRequest::new().with_entry_point(other_start);
    FILE: ExecutableFileRequest = ExecutableFileRequest::new();
    MODULES: ModuleRequest = ModuleRequest::new().with_internal_modules(INTERNAL);
    RSDP: RsdpRequest = RsdpRequest::new();
    SMBIOS: SmbiosRequest = SmbiosRequest::new();
    EFI: EfiSystemTableRequest = EfiSystemTableRequest::new();
    EFI_MEMORY_MAP: EfiMemoryMapRequest = EfiMemoryMapRequest::new();
    DATE: DateAtBootRequest = DateAtBootRequest::new();
    ADDRESS: ExecutableAddressRequest = ExecutableAddressRequest::new();
    DTB: DeviceTreeBlobRequest = DeviceTreeBlobRequest::new();
    // Younger than the crate.
    PERFORMANCE: Raw<0> = Raw::new([0x6B50_AD9B_F36D_13AD, 0xDC4C_7E88_FC75_9E17], []);
    KEEP_IOMMU: Raw<0> = Raw::new([0x8EBA_ABE5_1F49_0179, 0x2AA8_6A59_FFB4_AB0F], []);
    TSC: Raw<0> = Raw::new([0x10F2_EE1D_87D1_95E4, 0xF747_A2B7_8F6D_DB31], []);
    ENTROPY: Raw<1> = Raw::new([0x65EA_8025_5D56_82C5, 0x9117_2407_23F4_93EB], [6]);
}

static INTERNAL: &[&InternalModule] = &[
    &InternalModule::new()
        .with_path(c"modules/inner.bin")
        .with_cmdline(c"the inner one")
        .with_flags(ModuleFlags::REQUIRED),
    &InternalModule::new().with_path(c"/modules/not-there.bin"),
];

/// A request that the crate does not know.
#[repr(C)]
struct Raw<const ARGUMENTS: usize> {
    id: [u64; 4],
    revision: u64,
    response: AtomicU64,
    arguments: [u64; ARGUMENTS],
}

impl<const ARGUMENTS: usize> Raw<ARGUMENTS> {
    const fn new([first, second]: [u64; 2], arguments: [u64; ARGUMENTS]) -> Self {
        Self {
            id: [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B, first, second],
            revision: 0,
            response: AtomicU64::new(0),
            arguments,
        }
    }

    /// The words of the response.
    fn words<const COUNT: usize>(&self) -> Option<[u64; COUNT]> {
        let response = self.response.load(Ordering::Relaxed) as *const [u64; COUNT];
        // SAFETY: the loader's promise.
        (!response.is_null()).then(|| unsafe { response.read() })
    }
}

/// The registers at the entry. They were pushed onto the stack there.
#[repr(C)]
struct State {
    cr4: u64,
    cr0: u64,
    /// R15 to R8, RBP, RDI, RSI, RDX, RCX, RBX, RAX.
    general: [u64; 15],
    flags: u64,
    return_address: u64,
}

/// RDI among [`State::general`].
const RDI: usize = 9;

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

unsafe extern "C" {
    static __executable_start: u8;
    /// Behind what the file has of it.
    static _edata: u8;
}

/// The entry point of the ELF header, which is not to be used.
#[unsafe(naked)]
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    naked_asm!("2: hlt", "jmp 2b")
}

/// The entry point that is asked for.
#[unsafe(naked)]
extern "C" fn other_start() -> ! {
    enter!(main)
}

/// Where the other processors are sent.
#[unsafe(naked)]
unsafe extern "C" fn processor_start(_: &Cpu) -> ! {
    enter!(processor)
}

/// Whether the MADT says so.
static NMI_AT_LINT1: AtomicBool = AtomicBool::new(false);
static FAILED: AtomicBool = AtomicBool::new(false);
static ARRIVED: AtomicU64 = AtomicU64::new(0);
/// Bits of checks that failed on another processor.
static COMPLAINTS: AtomicU64 = AtomicU64::new(0);
/// Their stacks: each is somewhere else.
static STACKS: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

fn check(what: &str, good: bool) {
    if !good {
        FAILED.store(true, Ordering::Relaxed);
    }
    say!("check {what}: {}", if good { "ok" } else { "FAILED" });
}

fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: registers that every such CPU has.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high) }
    u64::from(high) << 32 | u64::from(low)
}

fn hhdm() -> u64 {
    HHDM.get_response().map_or(0, |response| response.offset())
}

fn revision() -> u64 {
    BASE_REVISION.loaded_revision().unwrap_or(u64::MAX)
}

/// What is mapped at an address. `cache` is the index into the PAT.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Page {
    physical: u64,
    writable: bool,
    executable: bool,
    cache: u64,
}

fn walk(address: u64) -> Option<Page> {
    let cr3: u64;
    let cr4: u64;
    // SAFETY: reads registers.
    unsafe { asm!("mov {}, cr3", "mov {}, cr4", out(reg) cr3, out(reg) cr4) }
    let levels = if cr4 & 1 << 12 != 0 { 5 } else { 4 };
    let mut table = cr3 & !0xFFF;
    let (mut writable, mut executable) = (true, true);
    for level in (0..levels).rev() {
        let shift = 12 + 9 * level;
        let index = address >> shift & 511;
        // SAFETY: the tables are in reclaimable memory, which the direct map shows.
        let entry = unsafe { *((hhdm() + table + 8 * index) as *const u64) };
        if entry & 1 == 0 {
            return None;
        }
        writable &= entry & 2 != 0;
        executable &= entry >> 63 == 0;
        if level == 0 || entry & 0x80 != 0 && level < 3 {
            let inside = address & ((1 << shift) - 1);
            let pat = if level == 0 {
                entry >> 7 & 1
            } else {
                entry >> 12 & 1
            };
            return Some(Page {
                physical: (entry & 0x000F_FFFF_FFFF_F000 & !((1 << shift) - 1)) + inside,
                writable,
                executable,
                cache: pat << 2 | entry >> 3 & 3,
            });
        }
        table = entry & 0x000F_FFFF_FFFF_F000;
    }
    None
}

/// The kind of memory at a physical address.
fn memory_kind(address: u64) -> Option<EntryType> {
    let map = MEMORY_MAP.get_response()?;
    let mut entries = map.entries().iter();
    let entry = entries.find(|entry| address.wrapping_sub(entry.base) < entry.length)?;
    Some(entry.entry_type)
}

const FRAMEBUFFER_KIND: u64 = 7;
const RESERVED_MAPPED: u64 = 8;

fn number(kind: EntryType) -> u64 {
    // SAFETY: a number in a transparent structure.
    unsafe { core::mem::transmute(kind) }
}

/// Whether something of the loader lies where it should: in reclaimable memory, seen through the direct
/// map.
fn reclaimable(address: u64) -> bool {
    let physical = address.wrapping_sub(hhdm());
    memory_kind(physical) == Some(EntryType::BOOTLOADER_RECLAIMABLE)
        && walk(address).is_some_and(|page| page.physical == physical && page.writable)
}

fn at<T>(value: &T) -> u64 {
    value as *const T as u64
}

extern "C" fn main(state: &State) -> ! {
    output(COM1 + 1, 0);
    say!("limine kernel, base revision {}", revision());
    check_registers(state);
    check_stack(state);
    check_descriptor_tables();
    check_responses();
    check_framebuffer();
    check_memory_map();
    check_maps();
    check_files();
    check_interrupt_controllers();
    check_processors();
    let failed = FAILED.load(Ordering::Relaxed);
    say!("{}", if failed { "FAILED" } else { "OKAY" });
    while input(COM1 + 5) & 0x40 == 0 {}
    if !stays() {
        output(DEBUG_EXIT, if failed { 0 } else { EXIT_OKAY });
    }
    loop {
        // SAFETY: waits for nothing.
        unsafe { asm!("hlt") }
    }
}

/// Bits of what is wrong with the registers that all processors have alike.
fn wrong_registers(state: &State, rdi: u64) -> u64 {
    let five_levels = PAGING
        .get_response()
        .is_some_and(|response| response.mode() == Mode::FIVE_LEVEL);
    let (cs, ds, es, ss, fs, gs): (u16, u16, u16, u16, u16, u16);
    let (task, local): (u16, u16);
    // SAFETY: reads registers.
    unsafe {
        asm!("mov {:x}, cs", "mov {:x}, ds", "mov {:x}, es", "mov {:x}, ss", "mov {:x}, fs",
            "mov {:x}, gs", out(reg) cs, out(reg) ds, out(reg) es, out(reg) ss, out(reg) fs,
            out(reg) gs);
        asm!("str {:x}", "sldt {:x}", out(reg) task, out(reg) local);
    }
    let mut general = state.general;
    let good_rdi = general[RDI] == rdi;
    general[RDI] = 0;
    let bad = [
        general != [0; 15] || !good_rdi,
        state.flags != 2,
        state.return_address != 0,
        state.cr0 != 0x8001_0011,
        state.cr4 != if five_levels { 0x1020 } else { 0x20 },
        read_msr(0xC000_0080) & !0x800 != 0x500,
        cs != 0x28,
        [ds, es, ss, fs, gs] != [0x30; 5],
        task != 0x38 || local != 0,
        read_msr(0xC000_0100) != 0 || read_msr(0xC000_0101) != 0,
        read_msr(0x277) & 0xFFFF_FFFF_FFFF != 0x0105_0007_0406,
    ];
    bad.iter()
        .enumerate()
        .fold(0, |bits, (bit, &bad)| bits | u64::from(bad) << bit)
}

fn check_registers(state: &State) {
    let wrong = wrong_registers(state, 0);
    if wrong != 0 {
        say!(
            "  {wrong:#b}, {:x?}, flags {:x}, cr0 {:x}, cr4 {:x}, efer {:x}",
            state.general,
            state.flags,
            state.cr0,
            state.cr4,
            read_msr(0xC000_0080)
        );
    }
    check("registers", wrong == 0);
    // SAFETY: CPUID is everywhere.
    let nx = core::arch::x86_64::__cpuid(0x8000_0001).edx >> 20 & 1 != 0;
    check(
        "NX as the CPU has it",
        (read_msr(0xC000_0080) & 0x800 != 0) == nx,
    );
}

/// The end of a processor's stack.
fn stack_end(state: &State) -> u64 {
    at(&state.return_address) + 8
}

fn good_stack(end: u64) -> bool {
    let size = STACK_SIZE.next_multiple_of(4096);
    end.is_multiple_of(16)
        && (end - size..end).step_by(4096).all(reclaimable)
        && reclaimable(end - 8)
}

fn check_stack(state: &State) {
    check("stack", good_stack(stack_end(state)));
    check(
        "response to the stack's size",
        STACK.get_response().is_some(),
    );
    check("this entry point", ENTRY_POINT.get_response().is_some());
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Pointer {
    limit: u16,
    base: u64,
}

fn check_descriptor_tables() {
    let mut gdt = Pointer { limit: 0, base: 0 };
    let mut idt = gdt;
    // SAFETY: stores registers.
    unsafe { asm!("sgdt [{}]", "sidt [{}]", in(reg) &raw mut gdt, in(reg) &raw mut idt) }
    let (base, limit) = (gdt.base, gdt.limit);
    check(
        "GDT in reclaimable memory",
        limit >= 7 * 8 - 1 && reclaimable(base),
    );
    // SAFETY: at least that many, as was checked.
    let entries = unsafe { *(base as *const [u64; 9]) };
    // Access, flags, base 0 and limit, without "accessed"; base and limit of 64-bit segments are idle.
    let fields = |entry: u64, mask: u64| entry & mask & !(1 << 40);
    let good = entries[0] == 0
        && fields(entries[1], !0) == 0x0000_9A00_0000_FFFF
        && fields(entries[2], !0) == 0x0000_9200_0000_FFFF
        && fields(entries[3], !0) == 0x00CF_9A00_0000_FFFF
        && fields(entries[4], !0) == 0x00CF_9200_0000_FFFF
        && fields(entries[5], 0x0060_FF00_0000_0000) == 0x0020_9A00_0000_0000
        && fields(entries[6], 0x0000_FF00_0000_0000) == 0x0000_9200_0000_0000
        && fields(entries[7], !(2 << 40)) == 0x0000_8800_0000_0000
        && entries[8] == 0;
    check("descriptors", good);
    let (base, limit) = (idt.base, idt.limit);
    check("IDT", base == 0 && limit == 0);
    check(
        "interrupt controllers masked",
        input(0x21) == 0xFF && input(0xA1) == 0xFF,
    );
}

fn check_responses() {
    check(
        "base revision",
        BASE_REVISION.is_supported() && revision() <= 6,
    );
    let info = BOOTLOADER_INFO.get_response();
    check(
        "bootloader info",
        info.is_some_and(|info| {
            info.revision() == 0 && info.name() == "Bootpath" && reclaimable(at(info))
        }),
    );
    if let Some(info) = info {
        say!("loader {} {}", info.name(), info.version());
    }
    let line = COMMAND_LINE.get_response();
    check(
        "command line",
        line.is_some_and(|line| reclaimable(at(line))),
    );
    if let Some(line) = line {
        say!("command line: {}", line.cmdline().to_str().unwrap_or("?"));
    }
    let firmware = FIRMWARE_TYPE.get_response();
    check(
        "firmware type",
        firmware
            .is_some_and(|f| f.firmware_type() == limine::firmware_type::FirmwareType::X86_BIOS),
    );
    check(
        "direct map",
        HHDM.get_response()
            .is_some_and(|r| r.offset() == 0xFFFF_8000_0000_0000 && reclaimable(at(r))),
    );
    if let Some(paging) = PAGING.get_response() {
        let levels = if paging.mode() == Mode::FIVE_LEVEL {
            5
        } else {
            4
        };
        say!("{levels} levels of page tables");
    }
    check("paging mode", PAGING.get_response().is_some());
    check(
        "no EFI, device tree",
        EFI.get_response().is_none()
            && EFI_MEMORY_MAP.get_response().is_none()
            && DTB.get_response().is_none()
            && UNKNOWN.words::<1>().is_none(),
    );
    let seconds = DATE.get_response().map(|date| date.timestamp().as_secs());
    check(
        "date",
        seconds.is_some_and(|seconds| seconds > 1_700_000_000),
    );
    let frequency = TSC.words::<2>().map_or(0, |[_, frequency]| frequency);
    check("time-stamp counter", frequency > 1_000_000);
    let times = PERFORMANCE.words::<4>();
    check(
        "performance",
        times.is_some_and(|[_, reset, begin, end]| reset == 0 && begin < end && end < 1 << 40),
    );
    let entropy = ENTROPY
        .words::<3>()
        .filter(|[_, count, address]| *count == 6 && reclaimable(*address));
    // SAFETY: as many as were asked for.
    let values = entropy.map(|[_, _, address]| unsafe { *(address as *const [u64; 6]) });
    check(
        "random words",
        values
            .is_some_and(|values| values.iter().all(|&value| value != 0) && values[1] != values[0]),
    );
    check(
        "IOMMUs are left alone",
        KEEP_IOMMU.words::<1>() == Some([0]),
    );
    check_firmware_tables();
}

/// Whether the command line says that what is on the screen is to stay there.
fn stays() -> bool {
    let line = COMMAND_LINE.get_response().map(|line| line.cmdline());
    line.is_some_and(|line| line.to_bytes() == b"stay")
}

fn check_framebuffer() {
    let Some(response) = FRAMEBUFFER.get_response() else {
        say!("no framebuffer");
        return;
    };
    let mut framebuffers = response.framebuffers();
    let (Some(found), None) = (framebuffers.next(), framebuffers.next()) else {
        return check("one framebuffer", false);
    };
    check(
        "framebuffer's response",
        response.revision() == 1 && reclaimable(at(response)),
    );
    let modes = found.modes().unwrap_or_default();
    let edid = found.edid();
    say!(
        "framebuffer {} by {}, {} bits, pitch {}, {} modes, {} bytes of EDID",
        found.width(),
        found.height(),
        found.bpp(),
        found.pitch(),
        modes.len(),
        edid.map_or(0, <[u8]>::len),
    );
    let colors = [
        (found.red_mask_shift(), found.red_mask_size()),
        (found.green_mask_shift(), found.green_mask_size()),
        (found.blue_mask_shift(), found.blue_mask_size()),
    ];
    let framebuffer = Framebuffer {
        start: found.addr(),
        pitch: found.pitch() as usize,
        width: found.width() as usize,
        height: found.height() as usize,
        bits_per_pixel: found.bpp().into(),
        colors,
    };
    check(
        "framebuffer",
        found.memory_model() == MemoryModel::RGB
            && found.bpp().is_multiple_of(8)
            && framebuffer.makes_sense(),
    );
    let mut found_itself = false;
    let good = modes.iter().all(|mode| {
        let colors_of_mode = [
            (mode.red_mask_shift, mode.red_mask_size),
            (mode.green_mask_shift, mode.green_mask_size),
            (mode.blue_mask_shift, mode.blue_mask_size),
        ];
        found_itself |= (mode.width, mode.height, mode.bpp, mode.pitch)
            == (found.width(), found.height(), found.bpp(), found.pitch())
            && colors_of_mode == colors;
        let as_framebuffer = Framebuffer {
            start: core::ptr::null_mut(),
            pitch: mode.pitch as usize,
            width: mode.width as usize,
            height: mode.height as usize,
            bits_per_pixel: mode.bpp.into(),
            colors: colors_of_mode,
        };
        mode.memory_model == MemoryModel::RGB
            && as_framebuffer.makes_sense()
            && reclaimable(at(*mode))
    });
    check("modes", good && found_itself);
    if let Some(edid) = edid {
        let sum = edid.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte));
        check(
            "EDID",
            edid.len() == 128 && sum == 0 && reclaimable(at(edid.first().unwrap_or(&0))),
        );
    }
    let start = found.addr() as u64;
    let size = found.pitch() * found.height();
    let pages = (start & !0xFFF..start + size).step_by(4096);
    let mut bases = [hhdm(), 0]
        .into_iter()
        .take(1 + usize::from(revision() == 0));
    check(
        "framebuffer's pages",
        bases.all(|base| {
            pages.clone().all(|address| {
                let physical = address - hhdm();
                let page = Page {
                    physical,
                    writable: true,
                    executable: true,
                    cache: WRITE_COMBINING,
                };
                walk(base + physical) == Some(page)
                    && memory_kind(physical) == Some(EntryType::FRAMEBUFFER)
            })
        }),
    );
    // SAFETY: mapped, as was checked.
    let drawn = unsafe {
        framebuffer.draw();
        framebuffer.is_drawn()
    };
    check("picture", drawn);
}

/// Its index in the PAT.
const WRITE_COMBINING: u64 = 5;

fn check_firmware_tables() {
    let revision = revision();
    let physical = revision == 3;
    let reach = |address: u64, physical: bool| {
        if physical { address } else { address - hhdm() }
    };
    if let Some(rsdp) = RSDP.get_response() {
        let start = reach(rsdp.address() as u64, physical);
        say!("RSDP {start:#x}");
        let mapped = walk(hhdm() + start).is_some();
        check("RSDP", start < 1 << 20 && (mapped || revision == 3));
        if mapped {
            // SAFETY: mapped.
            let signature = unsafe { *((hhdm() + start) as *const [u8; 8]) };
            check("RSDP's signature", &signature == b"RSD PTR ");
        }
        if revision >= 4 {
            check("ACPI tables are mapped", acpi_tables_mapped(start));
        }
    } else {
        say!("no RSDP");
    }
    if let Some(smbios) = SMBIOS.get_response() {
        let entry = smbios
            .entry_32()
            .or(smbios.entry_64())
            .map_or(0, |entry| entry.get() as u64);
        let start = reach(entry, matches!(revision, 3 | 4));
        say!("SMBIOS {start:#x}");
        let mapped = walk(hhdm() + start).is_some();
        check(
            "SMBIOS",
            start < 1 << 20 && (mapped || matches!(revision, 3 | 4)),
        );
        if revision >= 5 && smbios.entry_32().is_some() {
            // SAFETY: mapped, as was checked.
            let table = unsafe { ((hhdm() + start + 24) as *const u32).read_unaligned() };
            check(
                "SMBIOS structures are mapped",
                walk(hhdm() + u64::from(table)).is_some(),
            );
        }
    } else {
        say!("no SMBIOS");
    }
}

/// RSDT and all tables that it names: mapped, and in memory of the right kind.
fn acpi_tables_mapped(rsdp: u64) -> bool {
    let good = |address: u64| {
        let kind = memory_kind(address).map(number);
        walk(hhdm() + address).is_some() && matches!(kind, Some(2 | 3 | RESERVED_MAPPED))
    };
    // SAFETY: each address is checked before.
    let word =
        |address: u64| u64::from(unsafe { ((hhdm() + address) as *const u32).read_unaligned() });
    if !good(rsdp) {
        return false;
    }
    let rsdt = word(rsdp + 16);
    if !good(rsdt) {
        return false;
    }
    let length = word(rsdt + 4);
    (rsdt + 36..rsdt + length).step_by(4).all(|entry| {
        let table = word(entry);
        if good(table) && word(table) == u32::from_le_bytes(*b"APIC").into() {
            // SAFETY: mapped, or the check fails.
            let bytes = unsafe {
                core::slice::from_raw_parts((hhdm() + table) as *const u8, word(table + 4) as usize)
            };
            let mut rest = &bytes[44..];
            while let [kind, length, ..] = *rest {
                if kind == 4 && rest[5] == 1 {
                    NMI_AT_LINT1.store(true, Ordering::Relaxed);
                }
                rest = &rest[usize::from(length.max(2))..];
            }
        }
        good(table) && good(table + word(table + 4) - 1)
    })
}

fn check_memory_map() {
    let Some(map) = MEMORY_MAP.get_response() else {
        return check("memory map", false);
    };
    let entries = map.entries();
    check("memory map", !entries.is_empty() && reclaimable(at(map)));
    for entry in entries {
        say!(
            "  {:#014x} {:#014x} {}",
            entry.base,
            entry.base + entry.length,
            number(entry.entry_type)
        );
    }
    let mut end = 0;
    let mut sorted = true;
    let mut aligned = true;
    let mut kinds = true;
    for entry in entries {
        sorted &= entry.base >= end && entry.length > 0;
        end = entry.base + entry.length;
        aligned &= (entry.base | entry.length) & 0xFFF == 0;
        let kind = number(entry.entry_type);
        kinds &= kind <= 6
            || kind == FRAMEBUFFER_KIND && FRAMEBUFFER.get_response().is_some()
            || kind == RESERVED_MAPPED && revision() >= 4;
        sorted &= reclaimable(at(*entry));
    }
    check("memory map is sorted", sorted);
    check("memory map is aligned", aligned);
    check("memory map's kinds", kinds);
    check(
        "page 0 is not usable",
        memory_kind(0) != Some(EntryType::USABLE),
    );
    let usable = entries
        .iter()
        .filter(|entry| entry.entry_type == EntryType::USABLE);
    check(
        "there is memory",
        usable.map(|entry| entry.length).sum::<u64>() > 16 << 20,
    );
}

fn check_maps() {
    let Some(address) = ADDRESS.get_response() else {
        return check("address of the kernel", false);
    };
    let (physical, start) = (address.physical_base(), address.virtual_base());
    say!("kernel at {start:#x}, physical {physical:#x}");
    let (from, to) = (&raw const __executable_start, &raw const _edata);
    // SAFETY: what is loaded is mapped, and nothing writes to it while it is read.
    let loaded = unsafe { core::slice::from_raw_parts(from, to.addr() - from.addr()) };
    report::bytes("loaded", loaded, &[]);
    check(
        "address of the kernel",
        start >= 0xFFFF_FFFF_8000_0000
            && memory_kind(physical) == Some(EntryType::EXECUTABLE_AND_MODULES),
    );
    let page = |address: u64, writable, executable| {
        walk(address).is_some_and(|page| {
            page == Page {
                physical: address - start + physical,
                writable,
                executable,
                cache: 0,
            } && memory_kind(page.physical) == Some(EntryType::EXECUTABLE_AND_MODULES)
        })
    };
    check("code", page(main as *const () as u64, false, true));
    check("constants", page(at(&COM1_NAME), false, false));
    check(
        "data",
        page(at(&FAILED), true, false) && page(at(&MP), true, false),
    );
    check_direct_map();
}

static COM1_NAME: [u8; 64] = *b"a constant of 64 bytes, which is too long to be anything else...";

fn check_direct_map() {
    let revision = revision();
    let Some(map) = MEMORY_MAP.get_response() else {
        return;
    };
    let mapped = |address: u64, base: u64| {
        let framebuffer = memory_kind(address) == Some(EntryType::FRAMEBUFFER);
        walk(base + address).is_some_and(|page| {
            page == Page {
                physical: address,
                writable: true,
                executable: true,
                cache: if framebuffer { WRITE_COMBINING } else { 0 },
            }
        })
    };
    const GIB_4: u64 = 4 << 30;
    let (mut good, mut identity) = (true, true);
    for entry in map.entries() {
        let kind = number(entry.entry_type);
        let wanted = match kind {
            0 | 5 | 6 | FRAMEBUFFER_KIND => true,
            2 | 3 => revision != 3,
            RESERVED_MAPPED => true,
            _ => revision == 0,
        };
        for address in [entry.base, entry.base + entry.length - 4096] {
            let wanted = wanted || revision < 3 && address < GIB_4;
            let found = mapped(address, hhdm());
            if found != wanted {
                say!("  {address:#x} of kind {kind}: {found}");
            }
            good &= found == wanted;
            identity &= address == 0 || mapped(address, 0) == (revision == 0);
        }
    }
    check("direct map as the base revision has it", good);
    check("identity map as the base revision has it", identity);
    let holes = [0xFEC0_0000_u64, 0xFEE0_0000, GIB_4 - 4096];
    check(
        "first 4 GiB",
        holes.iter().all(|&hole| {
            mapped(hole, hhdm()) == (revision < 3) && mapped(hole, 0) == (revision == 0)
        }),
    );
    check("page 0 has no identity", walk(0).is_none());
}

/// Whether the command line says that this is a CD.
fn from_cd() -> bool {
    let line = COMMAND_LINE.get_response().map(|line| line.cmdline());
    line.is_some_and(|line| line.to_bytes() == b"optical")
}

fn check_files() {
    let describe = |what: &str, file: &limine::file::File| {
        // SAFETY: the loader's promise.
        let bytes = unsafe { core::slice::from_raw_parts(file.addr(), file.size() as usize) };
        let texts = [file.path(), file.string()].map(|text| text.to_str().unwrap_or("?"));
        report::bytes(what, bytes, &texts);
        let address = file.addr() as u64;
        let disk = file.mbr_disk_id().is_some()
            && file.partition_idx().is_some_and(|index| index.get() == 1);
        let none = file.tftp_ip().is_none()
            && file.tftp_port().is_none()
            && file.gpt_disk_id().is_none()
            && file.gpt_partition_id().is_none()
            && file.partition_uuid().is_none();
        file.revision() == 0
            && address.is_multiple_of(4096)
            && disk
            && none
            && (file.media_type() == limine::file::MediaType::OPTICAL) == from_cd()
            && reclaimable(at(file))
            && walk(address).is_some()
    };
    let file = FILE.get_response().map(|response| response.file());
    check(
        "kernel's file",
        file.is_some_and(|file| describe("file", file)),
    );
    let line = COMMAND_LINE
        .get_response()
        .map(|line| line.cmdline().as_ptr());
    check(
        "the command line is the file's string",
        file.map(|file| file.string().as_ptr()) == line,
    );
    let modules = MODULES.get_response();
    check(
        "modules",
        modules.is_some_and(|modules| modules.revision() == 1),
    );
    for module in modules.map_or(&[][..], |modules| modules.modules()) {
        let physical = module.addr() as u64 - hhdm();
        check(
            "module",
            describe("module", module)
                && memory_kind(physical) == Some(EntryType::EXECUTABLE_AND_MODULES),
        );
    }
}

/// A table that lets the registers of the APICs be seen.
#[repr(C, align(4096))]
struct Table([u64; 512]);
static mut UPPER: Table = Table([0; 512]);
static mut LOWER: Table = Table([0; 512]);

/// Maps the 2 MiB around FEC00000h and FEE00000h; returns the address of FEC00000h.
fn map_devices() -> u64 {
    const SLOT: u64 = 300;
    let Some(address) = ADDRESS.get_response() else {
        return 0;
    };
    let physical = |address_of: u64| address_of - address.virtual_base() + address.physical_base();
    let (upper, lower) = (&raw mut UPPER, &raw mut LOWER);
    let cr3: u64;
    let cr4: u64;
    // SAFETY: the slot is free, and nobody else changes the tables.
    unsafe {
        (*lower).0[0] = 0xFEC0_0000 | 0x9B;
        (*lower).0[1] = 0xFEE0_0000 | 0x9B;
        (*upper).0[0] = physical(lower as u64) | 3;
        asm!("mov {}, cr3", "mov {}, cr4", out(reg) cr3, out(reg) cr4);
        let mut table = cr3 & !0xFFF;
        if cr4 & 1 << 12 != 0 {
            table = *((hhdm() + table + 8 * 511) as *const u64) & !0xFFF;
        }
        *((hhdm() + table + 8 * SLOT) as *mut u64) = physical(upper as u64) | 3;
    }
    0xFFFF << 48 | SLOT << 39
}

fn check_interrupt_controllers() {
    let devices = map_devices();
    let io_apic = devices as *mut u32;
    // SAFETY: QEMU's and Bochs' I/O APIC is there.
    let read = |register: u32| unsafe {
        io_apic.write_volatile(register);
        io_apic.add(4).read_volatile()
    };
    let highest = read(1) >> 16 & 0xFF;
    let masked = (0..=highest).all(|index| {
        let entry = read(0x10 + 2 * index);
        let mode = entry >> 8 & 7;
        entry & 1 << 16 != 0 || !(mode < 2 || revision() >= 5 && matches!(mode, 4 | 7))
    });
    check("I/O APIC masked", masked);
    let wrong = wrong_apic(devices);
    if wrong != 0 {
        say!("  {wrong:#b}");
    }
    check("local APIC", wrong == 0);
}

/// Bits of what is wrong with the local APIC.
fn wrong_apic(devices: u64) -> u64 {
    if revision() < 5 {
        return 0;
    }
    let base = read_msr(0x1B);
    let read = |register: u32| {
        if base & 1 << 10 != 0 {
            read_msr(0x800 + (register >> 4)) as u32
        } else {
            // SAFETY: mapped.
            unsafe { ((devices + 0x20_0000 + u64::from(register)) as *const u32).read_volatile() }
        }
    };
    let entries = [0x320, 0x350, 0x360, 0x370];
    let bad = [
        base & 1 << 11 == 0,
        read(0xF0) != 0x1FF,
        read(0x80) != 0,
        !entries.iter().all(|&entry| read(entry) & 1 << 16 != 0),
        // QEMU's MADT: an NMI at LINT1.
        NMI_AT_LINT1.load(Ordering::Relaxed) && read(0x360) >> 8 & 7 != 4,
    ];
    bad.iter()
        .enumerate()
        .fold(0, |bits, (bit, &bad)| bits | u64::from(bad) << bit)
}

fn check_processors() {
    let Some(processors) = MP.get_response() else {
        return check("processors", false);
    };
    let x2apic = processors.flags().contains(ResponseFlags::X2APIC);
    let asked = MP.flags().contains(RequestFlags::X2APIC);
    say!("{} processors, x2APIC {x2apic}", processors.cpus().len());
    check("no x2APIC but when asked", asked || !x2apic);
    check(
        "mode of the APIC",
        (read_msr(0x1B) & 1 << 10 != 0) == x2apic,
    );
    let bootstrap = processors.bsp_lapic_id();
    let own = core::arch::x86_64::__cpuid(1).ebx >> 24;
    check("this processor", bootstrap == own);
    let mut good = true;
    let mut others = 0;
    for (index, cpu) in (0_u64..).zip(processors.cpus()) {
        say!("processor {}, APIC ID {}", cpu.id, cpu.lapic_id);
        good &= reclaimable(at(*cpu)) && cpu.extra.load(Ordering::Relaxed) == 0;
        // SAFETY: the field before the last one is the address.
        good &= unsafe { *((at(*cpu) + 16) as *const u64) } == 0;
        if cpu.lapic_id != bootstrap {
            cpu.extra.store(index, Ordering::Relaxed);
            cpu.goto_address.write(processor_start);
            others += 1;
        }
    }
    check("structures of the processors", good);
    for _ in 0..u64::MAX {
        if ARRIVED.load(Ordering::Acquire) == others {
            break;
        }
        core::hint::spin_loop();
    }
    check("all of them come", true);
    let complaints = COMPLAINTS.load(Ordering::Relaxed);
    if complaints != 0 {
        say!("  {complaints:#b}");
    }
    check("their state", complaints == 0);
    let stacks = || {
        STACKS
            .iter()
            .map(|stack| stack.load(Ordering::Relaxed))
            .filter(|&end| end != 0)
    };
    let apart = stacks().enumerate().all(|(index, end)| {
        good_stack(end)
            && stacks()
                .skip(index + 1)
                .all(|other| end.abs_diff(other) >= STACK_SIZE)
    });
    check("their stacks", apart && stacks().count() as u64 == others);
}

extern "C" fn processor(state: &State) -> ! {
    let rdi = state.general[RDI];
    // SAFETY: the protocol's promise; a wrong one faults, and the test fails.
    let cpu = unsafe { &*(rdi as *const Cpu) };
    let mut complaints = wrong_registers(state, rdi);
    complaints |= u64::from(core::arch::x86_64::__cpuid(1).ebx >> 24 != cpu.lapic_id) << 16;
    complaints |= u64::from((read_msr(0x1B) ^ base_of_first()) & 1 << 10 != 0) << 17;
    complaints |= wrong_apic(0xFFFF << 48 | 300 << 39) << 20;
    COMPLAINTS.fetch_or(complaints, Ordering::Relaxed);
    let index = cpu.extra.load(Ordering::Relaxed) as usize;
    STACKS[index % STACKS.len()].store(stack_end(state), Ordering::Relaxed);
    ARRIVED.fetch_add(1, Ordering::Release);
    loop {
        // SAFETY: waits for nothing.
        unsafe { asm!("hlt") }
    }
}

/// IA32_APIC_BASE as the response tells it.
fn base_of_first() -> u64 {
    let x2apic = MP
        .get_response()
        .is_some_and(|response| response.flags().contains(ResponseFlags::X2APIC));
    u64::from(x2apic) << 10
}

/// C's `strlen`, for `CStr`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: a zero byte ends it.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    say!("FAILED: {info}");
    output(DEBUG_EXIT, 0);
    loop {
        core::hint::spin_loop();
    }
}
