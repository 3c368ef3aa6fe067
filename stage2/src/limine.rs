//! Steps 10 to 12 by the Limine protocol.
//!
//! **On entry**: the kernel is loaded and relocated, and has requests among its bytes. **This step**:
//! gives it one piece of memory; loads modules; builds its page tables; starts the other processors,
//! if it asks for them; writes the responses into reclaimable memory and their addresses into the
//! requests; quietens interrupt controllers. **On exit**: the kernel runs, in the state that
//! `docs/limine.md` promises.
#![allow(unsafe_code)]

use core::convert::Infallible;
use core::ops::Range;

use arrayvec::ArrayVec;
use boot_path::bios::acpi::{self, MadtEntry};
use boot_path::bios::int1a;
use boot_path::bios::vbe::{Adapter, Mode, Wish};
use boot_path::disk::block_device::BlockDevice as _;
use boot_path::entry::protocol::Protocol;
use boot_path::errors::text::copy;
use boot_path::kernel::placement::{Kernel, LoadedModule, allocate};
use boot_path::memory::layout::{self, EARLY_REACH, PAGE_SIZE};
use boot_path::memory::map::{MemoryKind, MemoryMap};
use boot_path::paging::address_space::{self, LINK};
use boot_path::ways_out::limine::requests::{
    self, FIVE_LEVELS, Facts, Feature, File, FirmwarePages, Framebuffer, HHDM, LimineError,
    MAX_ENTROPY, MAX_FILES, Performance, Processors, Requests, Text, Writer,
};
use disk_layout::CD_BLOCK;
use x86_64::registers::control::EferFlags;

use crate::Way;
use crate::entry::{self, BootEntry, Missing};
use crate::files::Files;
use crate::handoff::{FirmwareTables, firmware_tables, mask_interrupt_controllers, random_seed};
use crate::kernel::{self, InMemory, zero};
use crate::machine::bios::Machine;
use crate::machine::clock;
use crate::machine::console;
use crate::machine::faults::Failure;
use crate::machine::findings;
use crate::machine::graphics;
use crate::machine::leave;
use crate::machine::limine_switch::{self, Info, LAST};
use crate::machine::physical;
use crate::machine::processors::{self, Common};
use crate::paging;
use crate::real::cpu;
use crate::real::long_mode;
use crate::say;

/// Entries that the memory map may grow by when the memory for the responses is taken.
const SPARE: usize = 2 * 32;

/// The modules. Not on the stack, which is small.
static mut MODULES: ArrayVec<File<'static>, MAX_FILES> = ArrayVec::new_const();

/// The requests of a kernel that is loaded, unless it has a note of the loader's own handoff, or the
/// entry names a protocol.
///
/// # Errors
/// 10X.
pub fn requests(entry: &BootEntry, kernel: &Kernel) -> Result<Option<Requests>, Failure> {
    let wanted = entry.protocol == Some(Protocol::Limine);
    if !wanted && (kernel.wishes.own || entry.protocol.is_some()) {
        return Ok(None);
    }
    match requests::scan(&kernel.image, &InMemory(kernel))? {
        None if wanted => Err(LimineError::Nothing.into()),
        requests => Ok(requests),
    }
}

/// Boots a kernel.
///
/// # Errors
/// 10Y, 10Z, 11A, 11B, 9B, 8B, 7A, 6B.
#[inline(never)] // for its variables, which other kernels need no stack for
pub fn boot(way: Way<'_>, kernel: &mut Kernel, requests: &Requests) -> Result<Infallible, Failure> {
    let Way {
        files,
        partition,
        entry,
        memory,
    } = way;
    requests.check(&kernel.image)?;
    say!("10 kernel   Limine protocol, base revision #"; requests.revision);
    kernel.image.forget_relro();
    kernel.unite(memory, zero, |from, to, length| {
        // SAFETY: both were allocated for the kernel, and do not overlap.
        let (from, to) = unsafe {
            (
                physical::bytes(from, length),
                physical::bytes_mut(to, length),
            )
        };
        copy(from, to);
    })?;
    let kernel = &*kernel;
    let features = cpu::features();
    let loaded = InMemory(kernel);
    let entry_point = requests.entry(&kernel.image, &loaded, kernel.slide)?;
    let five_levels = features & ::handoff::CPU_LA57 != 0;
    let paging_mode = requests.paging_mode(&kernel.image, &loaded, five_levels)?;
    let five_levels = paging_mode == FIVE_LEVELS;
    let stack_size = requests.stack_size(&kernel.image, &loaded);

    let command_line = store_command_line(entry, memory)?;
    let executable = load_executable(files, entry, requests, command_line, memory)?;
    let modules = &raw mut MODULES;
    // SAFETY: this function is called once.
    let modules = unsafe { &mut *modules };
    if requests.has(Feature::Modules) {
        load_modules(files, entry, kernel, requests, memory, modules)?;
    }

    let mut screen = requests
        .has(Feature::Framebuffer)
        .then(|| Screen::find(memory))
        .flatten();

    findings::step(11);
    let tables = firmware_tables();
    let mut firmware = FirmwarePages::default();
    note_firmware(&tables, requests.revision, &mut firmware);
    let root = address_space::build_limine(
        kernel,
        memory,
        paging::Physical,
        paging::capabilities(features),
        &firmware,
        requests.revision,
        five_levels,
    )?;
    say!(
        "11 paging   # levels, stack # KiB, direct map at #h";
        4 + u64::from(five_levels),
        stack_size >> 10,
        HHDM
    );

    findings::step(12);
    let stack = allocate_stack(stack_size, memory)?;
    prepare_switch(root, stack, entry_point, five_levels, features, memory)?;
    let date = if requests.has(Feature::Date) {
        int1a::date(&mut Machine)
    } else {
        None
    };
    let wants_time = requests.has(Feature::Performance) || requests.has(Feature::TscFrequency);
    let tsc_frequency = if wants_time {
        clock::known_tsc_frequency()
    } else {
        None
    };
    let mut seeds = [[0; 32]; MAX_ENTROPY / 4];
    let wanted = requests.argument(&kernel.image, &loaded, Feature::Entropy, 0);
    let wanted = wanted.min(MAX_ENTROPY as u64) as usize;
    for seed in seeds.iter_mut().take(wanted.div_ceil(4)) {
        *seed = random_seed(features);
    }
    let entropy: [u64; MAX_ENTROPY] = zerocopy::transmute!(seeds);

    let madt = acpi::find(tables.rsdp, &physical::firmware_bytes, b"APIC").unwrap_or(&[]);
    let (uid, started) = start_processors(requests, kernel, madt, stack_size, features, memory)?;
    let infos = started.as_ref().map_or(&[][..], |started| started.list);

    let facts = Facts {
        version: env!("CARGO_PKG_VERSION"),
        revision: requests.revision,
        command_line,
        paging_mode,
        framebuffer: None,
        processors: started.as_ref().map(|started| Processors {
            x2apic: started.x2apic,
            bootstrap: processors::apic_id(),
            infos,
        }),
        regions: &[],
        firmware: &firmware,
        executable,
        executable_address: kernel_address(kernel),
        modules,
        optical: files
            .disk()
            .is_some_and(|disk| disk.sector_size() == CD_BLOCK),
        partition: partition.number,
        disk_signature: partition.signature,
        rsdp: tables.rsdp,
        smbios: [tables.smbios, tables.smbios3],
        date,
        performance: tsc_frequency.map(performance),
        tsc_frequency,
        entropy: entropy.get(..wanted).unwrap_or_default(),
    };
    let measured = Facts {
        framebuffer: screen.as_ref().map(Screen::framebuffer),
        regions: memory.regions(),
        ..facts
    };
    let mut measure = Writer::default();
    requests::respond(requests, &measured, &mut measure);
    let size = (measure.used + SPARE).next_multiple_of(PAGE_SIZE as usize) as u64;
    let start = reclaimable(memory, size)?;

    say!("12 handoff  to #h, # processors"; entry_point, infos.len().max(1) as u64);
    console::show_cursor();
    let framebuffer = screen.as_mut().and_then(|screen| screen.set(memory));
    // Last, so that the memory map is complete.
    let complete = Facts {
        framebuffer,
        regions: memory.regions(),
        ..facts
    };
    // SAFETY: just allocated.
    let room = unsafe { physical::bytes_mut(start, size) };
    let mut writer = Writer::new(room, HHDM + start);
    let responses = requests::respond(requests, &complete, &mut writer);
    assert!(
        writer.used as u64 <= size,
        "the responses are larger than was computed"
    );
    requests.answer(&kernel.image, &mut InMemory(kernel), &responses);
    leave::prepare();
    mask_interrupt_controllers();
    processors::quieten_first(uid);
    processors::mask_io_apics(madt, requests.revision >= 5);
    if requests.revision >= 5 && !requests.has(Feature::KeepIommu) {
        processors::disable_iommus(tables.rsdp);
    }
    // SAFETY: all that it needs was written above.
    unsafe { limine_switch::leave() }
}

/// Allocates memory that the kernel may have when it needs nothing of the loader any more.
fn reclaimable(memory: &mut MemoryMap, size: u64) -> Result<u64, Failure> {
    let kind = MemoryKind::Reclaimable;
    Ok(allocate(memory, size, PAGE_SIZE, 0, kind)?)
}

/// Physical and virtual address of the kernel's first page.
fn kernel_address(kernel: &Kernel) -> [u64; 2] {
    let page = |address: u64| address & !(PAGE_SIZE - 1);
    let start = kernel.image.virtual_start().wrapping_add(kernel.slide);
    [page(kernel.physical_start()), page(start)]
}

/// Stores the command line; returns its address, as the kernel sees it.
fn store_command_line(entry: &BootEntry, memory: &mut MemoryMap) -> Result<u64, Failure> {
    let size = entry.text.command_line_length() as u64 + 1;
    let start = reclaimable(memory, size)?;
    // SAFETY: just allocated.
    let room = unsafe { physical::bytes_mut(start, size) };
    room.fill(0);
    entry.text.copy_command_line(room);
    Ok(HHDM + start)
}

/// Reads the kernel's file, whole, if it is asked for.
fn load_executable(
    files: &mut Files,
    entry: &BootEntry,
    requests: &Requests,
    command_line: u64,
    memory: &mut MemoryMap,
) -> Result<Option<File<'static>>, Failure> {
    if !requests.has(Feature::ExecutableFile) {
        return Ok(None);
    }
    let size = entry.kernel.size;
    let start = reclaimable(memory, size)?;
    let whole = LoadedModule {
        start,
        length: size,
    };
    files.attempt(Some(&entry.kernel), &mut |files| {
        files.load(&entry.kernel, &[whole.read()])
    })?;
    Ok(Some(File {
        start,
        size,
        directory: root(entry.path),
        path: entry.path,
        string: Text::At(command_line),
    }))
}

/// Loads the modules: those that the kernel asks for first, then those of the entry.
fn load_modules(
    files: &mut Files,
    entry: &BootEntry,
    kernel: &Kernel,
    requests: &Requests,
    memory: &mut MemoryMap,
    modules: &mut ArrayVec<File<'static>, MAX_FILES>,
) -> Result<(), Failure> {
    let loaded = InMemory(kernel);
    // Paths are relative to the directory of the kernel.
    let directory = entry
        .path
        .bytes()
        .rposition(|byte| byte == b'/')
        .map_or(0, |slash| slash + 1);
    let directory = entry.path.get(..directory).unwrap_or_default();
    let internal = requests.internal_modules(&kernel.image, &loaded, kernel.slide)?;
    for (index, module) in (0..).zip(&internal) {
        let slashes = module.path.bytes().take_while(|&byte| byte == b'/').count();
        let path = module.path.get(slashes..).unwrap_or_default();
        // The path and the string get memory of their own: they are told in an error, and later.
        let length = directory.len() + path.len();
        let size = (length + module.string.len()) as u64;
        let start = reclaimable(memory, size)?;
        // SAFETY: just allocated, and written here only.
        let room = unsafe { physical::bytes_mut(start, size) };
        for (part, at) in [
            (directory.as_bytes(), 0),
            (path.as_bytes(), directory.len()),
            (module.string, length),
        ] {
            copy(part, room.get_mut(at..).unwrap_or_default());
        }
        let (path, string) = room.split_at_checked(length).unwrap_or_default();
        let path = core::str::from_utf8(path).map_err(|_| LimineError::Module { index })?;
        if !module.required && files.find(path)?.is_none() {
            continue;
        }
        let module = load_module(files, path, string, memory)?;
        let _ = modules.try_push(module);
    }
    for module in entry.text.modules() {
        let string = module.string.as_bytes();
        let module = load_module(files, module.path, string, memory)?;
        let _ = modules.try_push(module);
    }
    Ok(())
}

/// What is missing in front of a path, for the kernel: an entry's paths need no slash there.
fn root(path: &str) -> &'static str {
    if path.starts_with('/') { "" } else { "/" }
}

/// Loads one module.
fn load_module(
    files: &mut Files,
    path: &'static str,
    string: &'static [u8],
    memory: &mut MemoryMap,
) -> Result<File<'static>, Failure> {
    // As it is: compressed modules are the kernel's to unpack.
    let file = entry::find(files, Missing::Module(path))?;
    let module = LoadedModule::place(file.size, memory)?;
    kernel::load_module_to(files, path, &file, module)?;
    Ok(File {
        start: module.start,
        size: module.length,
        directory: root(path),
        path,
        string: Text::Bytes(string),
    })
}

/// Notes where the firmware's tables are, as far as a base revision promises that they are mapped.
fn note_firmware(tables: &FirmwareTables, revision: u64, pages: &mut FirmwarePages) {
    if revision >= 4 && tables.rsdp != 0 {
        let memory = &physical::firmware_bytes;
        acpi::tables(tables.rsdp, memory, &mut |start, bytes| {
            pages.add(start, bytes.len() as u64);
        });
    }
    if revision < 5 {
        return;
    }
    /// The longest entry point.
    const ENTRY_POINT: u64 = 32;
    for entry in [tables.smbios, tables.smbios3] {
        if let Some(bytes) = physical::firmware_bytes(entry, ENTRY_POINT) {
            pages.add(entry, ENTRY_POINT);
            if let Some((start, length)) = acpi::smbios_table(bytes) {
                pages.add(start, length);
            }
        }
    }
}

/// Allocates a stack; returns its end, as the kernel sees it.
fn allocate_stack(size: u64, memory: &mut MemoryMap) -> Result<u64, Failure> {
    let start = reclaimable(memory, size)?;
    Ok(HHDM + start + size)
}

/// Writes down what the last switch needs, and lets the loader's tables show all memory in the upper
/// half, too.
fn prepare_switch(
    root: u64,
    stack: u64,
    entry: u64,
    five_levels: bool,
    features: u64,
    memory: &mut MemoryMap,
) -> Result<(), Failure> {
    const UPPER_HALF: u64 = 256;
    const LAST_ENTRY: u64 = 511;

    let early = layout::EARLY_TABLES.start;
    let entry_at = |table: u64, index: u64| {
        let place = core::ptr::with_exposed_provenance_mut::<u64>((table + 8 * index) as usize);
        // SAFETY: the loader's tables, or one that is allocated below; nobody has a reference to it.
        unsafe { &mut *place }
    };
    *entry_at(early, UPPER_HALF) = *entry_at(early, 0);
    let way_tables = if five_levels {
        let top = reclaimable(memory, PAGE_SIZE)?;
        zero(top, top + PAGE_SIZE);
        *entry_at(top, 0) = early | LINK;
        *entry_at(top, LAST_ENTRY) = early | LINK;
        top
    } else {
        early
    };
    let mut efer = EferFlags::LONG_MODE_ENABLE | EferFlags::LONG_MODE_ACTIVE;
    efer.set(
        EferFlags::NO_EXECUTE_ENABLE,
        features & ::handoff::CPU_NX != 0,
    );
    limine_switch::prepare();
    let last = &raw mut LAST;
    // SAFETY: one thread; no other processor runs yet.
    unsafe {
        (*last).way_tables = way_tables as u32;
        (*last).way_cr4 = limine_switch::cr4(five_levels, long_mode::CR4);
        (*last).efer = efer.bits() as u32;
        (*last).cr4 = limine_switch::cr4(five_levels, 0);
        (*last).tables = root;
        (*last).stack = stack;
        (*last).entry = entry;
    }
    Ok(())
}

/// The processors that run.
struct Started {
    x2apic: bool,
    /// Address of the structure of each, as the kernel sees it.
    list: &'static [u64],
}

/// Prepares this processor, and starts the others, if the kernel asks for them. Returns the UID of this
/// one, too.
fn start_processors(
    requests: &Requests,
    kernel: &Kernel,
    madt: &'static [u8],
    stack_size: u64,
    features: u64,
    memory: &mut MemoryMap,
) -> Result<(u32, Option<Started>), Failure> {
    /// The highest APIC ID that one can be sent to without x2APIC.
    const MAX_APIC_ID: u32 = 254;

    let own = processors::apic_id();
    let all = || {
        acpi::madt(madt).filter_map(|entry| match entry {
            MadtEntry::Processor { uid, apic_id } => Some((uid, apic_id)),
            _ => None,
        })
    };
    let uid = all().find(|&(_, apic_id)| apic_id == own);
    let uid = uid.map_or(0, |(uid, _)| uid);
    let asked = requests.has(Feature::Processors);
    let flags = requests.argument(&kernel.image, &InMemory(kernel), Feature::Processors, 0);
    let x2apic = flags & 1 != 0 && features & ::handoff::CPU_X2APIC != 0;
    let common = Common {
        madt,
        x2apic: asked.then_some(x2apic),
        quiet_apic: requests.revision >= 5,
    };
    processors::prepare_first(common)?;
    if !asked {
        return Ok((uid, None));
    }

    // Each once, and this one in any case.
    let most = all().count() + 1;
    let size = size_of::<Info>() + size_of::<u64>();
    let start = reclaimable(memory, (most * size) as u64)?;
    zero(start, start + (most * size) as u64);
    let pointer = core::ptr::with_exposed_provenance_mut::<Info>(start as usize);
    // SAFETY: just allocated, and zeros are a value of it.
    let infos = unsafe { core::slice::from_raw_parts_mut(pointer, most) };
    let mut count = 0;
    for (uid, apic_id) in all().chain([(uid, own)]) {
        let known = infos.iter().take(count).any(|info| info.apic_id == apic_id);
        let reached = x2apic || apic_id <= MAX_APIC_ID || apic_id == own;
        let Some(info) = infos.get_mut(count).filter(|_| !known && reached) else {
            continue;
        };
        *info = Info {
            uid,
            apic_id,
            stack: if apic_id == own {
                0
            } else {
                allocate_stack(stack_size, memory)?
            },
            go_to: 0,
            extra: 0,
        };
        count += 1;
    }
    let infos = infos.get_mut(..count).unwrap_or_default();
    processors::start(infos);

    let place = start + (most * size_of::<Info>()) as u64;
    let pointer = core::ptr::with_exposed_provenance_mut::<u64>(place as usize);
    // SAFETY: the rest of what was allocated.
    let list = unsafe { core::slice::from_raw_parts_mut(pointer, most) };
    let runs = |info: &&Info| info.stack != 0 || info.apic_id == own;
    let mut length = 0;
    for (place, info) in list.iter_mut().zip(infos.iter().filter(runs)) {
        *place = HHDM + &raw const *info as u64;
        length += 1;
    }
    let list = list.get(..length).unwrap_or_default();
    Ok((uid, Some(Started { x2apic, list })))
}

/// When the loader began, and now.
fn performance(frequency: u64) -> Performance {
    let stamps = findings::stamps();
    let microseconds = |stamp: u64| stamp / (frequency / 1_000_000).max(1);
    Performance {
        begin: microseconds(stamps[1]),
        end: microseconds(findings::now()),
    }
}

/// The screen of a kernel that wants a framebuffer.
struct Screen {
    adapter: &'static mut Adapter,
    /// The mode that is likely to be set.
    mode: Mode,
    /// The pages of its framebuffer.
    pages: Range<u64>,
}

impl Screen {
    /// The protocol leaves the mode to the loader.
    const WISH: Wish = Wish {
        width: 0,
        height: 0,
        depth: 0,
    };

    /// Chooses a mode, and makes its framebuffer a part of the memory map, so that it is mapped.
    #[inline(never)]
    fn find(memory: &mut MemoryMap) -> Option<Self> {
        let adapter = graphics::ask(memory);
        adapter.keep(requests::suits);
        let mode = adapter.choose(&Self::WISH, &(0..EARLY_REACH))?;
        let start = u64::from(mode.address) & !(PAGE_SIZE - 1);
        let pages = start..mode.end().next_multiple_of(PAGE_SIZE);
        memory.mark(pages.start, pages.end, MemoryKind::Framebuffer);
        Some(Self {
            adapter,
            mode,
            pages,
        })
    }

    /// What the kernel is told.
    fn framebuffer(&self) -> Framebuffer<'_> {
        Framebuffer {
            mode: self.mode,
            modes: self.adapter.modes(),
            edid: self.adapter.edid(),
        }
    }

    /// Sets the mode, or another one that is mapped. `None`: there is no framebuffer after all.
    #[inline(never)]
    fn set(&mut self, memory: &mut MemoryMap) -> Option<Framebuffer<'_>> {
        let Some(mode) = graphics::set(self.adapter, &Self::WISH, &self.pages) else {
            memory.mark(self.pages.start, self.pages.end, MemoryKind::Reserved);
            return None;
        };
        self.mode = mode;
        Some(self.framebuffer())
    }
}
