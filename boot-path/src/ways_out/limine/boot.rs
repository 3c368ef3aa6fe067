//! Steps 10 to 12 by the Limine protocol.
//!
//! **On entry**: the kernel is loaded and relocated, and has requests among its bytes. **This way
//! out**: moves it to one piece of memory; loads modules; builds its page tables; starts the other
//! processors, if it asks for them; writes the responses into reclaimable memory and their
//! addresses into the requests. **On exit**: all is ready for the last switch, after which the
//! kernel runs in the state that `docs/limine.md` promises.

use disk_layout::CD_BLOCK;

use crate::bios::acpi;
use crate::bios::int1a;
use crate::bios::tables::FirmwareTables;
use crate::disk::block_device::BlockDevice as _;
use crate::disk::partition::Partition;
use crate::entry::choose::BootEntry;
use crate::files::access::Files;
use crate::kernel::loading::Loaded;
use crate::kernel::placement::Kernel;
use crate::machine::Machine;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::{self, PAGE_SIZE};
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::placement::allocate;
use crate::memory::ram::Allocation;
use crate::paging::address_space::LINK;
use crate::say;
use crate::ways_out::bootpath::{Tables, capabilities};
use crate::ways_out::handover::{Handover, Jump, LimineStart};
use crate::ways_out::limine::address_space;
use crate::ways_out::limine::files::{Modules, load_executable, load_modules};
use crate::ways_out::limine::memory::{allocate_stack, reclaimable};
use crate::ways_out::limine::platform::Platform;
use crate::ways_out::limine::processors::{self, Started};
use crate::ways_out::limine::screen::Screen;
use crate::ways_out::limine::{
    FIVE_LEVELS, Facts, Feature, File, FirmwarePages, HHDM, LastFacts, MAX_ENTROPY, Performance,
    Processors, Requests, Writer, in_hhdm, respond,
};
use crate::ways_out::way::{Way, firmware_tables};

/// Entries that allocating the responses may add to the memory map.
const SPARE: usize = 2 * 32;

/// The facts about the boot once the kernel has its modules and tables.
struct Prepared<'a, 'm> {
    requests: &'a Requests,
    partition: &'a Partition,
    optical: bool,
    modules: &'a Modules<'m>,
    tables: FirmwareTables,
    firmware: FirmwarePages,
    command_line: VirtAddr,
    executable: Option<File<'m>>,
    started: Option<Started<'m>>,
    paging_mode: u64,
    entry_point: VirtAddr,
}

/// Prepares everything for the kernel.
///
/// # Errors
/// 10Y, 10Z, 11A, 11B, 9B, 8B, 7A, 6B.
#[inline(never)] // other kernels need no stack for its variables
pub fn boot<'m, M: Platform<'m>>(
    way: Way<'_, 'm, M>,
    loaded: &mut Loaded<'m>,
    requests: &Requests,
) -> Result<Handover<'m>, M::Failure> {
    let Way {
        files,
        partition,
        entry,
        memory,
        rooms,
    } = way;
    requests.check(&loaded.kernel.image)?;
    let machine = files.machine();
    say!(machine, "10 kernel   Limine protocol, base revision #"; requests.revision);
    loaded.kernel.image.forget_relro();
    loaded.unite(machine, memory)?;
    let (image, slide) = (&loaded.kernel.image, loaded.kernel.slide);
    let entry_point = requests.entry(image, loaded, slide)?;
    let five_levels = machine.cpu_features() & handoff::CPU_LA57 != 0;
    let paging_mode = requests.paging_mode(image, loaded, five_levels)?;
    let command_line = store_command_line(machine, entry, memory)?;
    let executable = load_executable(files, entry, requests, command_line, memory)?;
    let modules = rooms.modules;
    modules.clear();
    if requests.has(Feature::Modules) {
        load_modules(files, entry, loaded, requests, memory, modules)?;
    }
    let mut screen = match requests.has(Feature::Framebuffer) {
        true => Screen::find(machine, rooms.adapter, memory)?,
        false => None,
    };

    machine.step(11);
    let tables = firmware_tables(machine);
    let mut firmware = FirmwarePages::default();
    note_firmware(machine, &tables, requests.revision, &mut firmware);
    let space = build_tables(machine, requests, loaded, &firmware, paging_mode, memory)?;

    machine.step(12);
    let rsdp = tables.rsdp;
    let (start, started) =
        start_processors(machine, requests, loaded, &space, entry_point, rsdp, memory)?;
    let prepared = Prepared {
        requests,
        partition,
        optical: is_optical(files),
        modules,
        tables,
        firmware,
        command_line,
        executable,
        started,
        paging_mode,
        entry_point,
    };
    answer(machine, &prepared, loaded, &mut screen, memory)?;
    Ok(Handover::from(Jump::Limine(start)))
}

/// Does the loader come from a CD?
fn is_optical<'m, M: Platform<'m>>(files: &Files<'m, M>) -> bool {
    let disk = files.disk();
    disk.is_some_and(|disk| disk.sector_size() == CD_BLOCK)
}

/// The address space and stacks of a kernel.
struct Space {
    /// The top table.
    root: PhysAddr,
    five_levels: bool,
    /// Bytes of each stack.
    stack_size: u64,
}

/// Builds the page tables.
fn build_tables<'m, M: Platform<'m>>(
    machine: M,
    requests: &Requests,
    loaded: &Loaded<'m>,
    firmware: &FirmwarePages,
    paging_mode: u64,
    memory: &mut MemoryMap,
) -> Result<Space, M::Failure> {
    let five_levels = paging_mode == FIVE_LEVELS;
    let stack_size = requests.stack_size(&loaded.kernel.image, loaded);
    let root = address_space::build(
        &loaded.kernel,
        memory,
        Tables(machine),
        capabilities(machine.cpu_features()),
        firmware,
        requests.revision,
        five_levels,
    )?;
    say!(
        machine,
        "11 paging   # levels, stack # KiB, direct map at #h";
        4 + u64::from(five_levels),
        stack_size >> 10,
        HHDM.as_u64()
    );
    Ok(Space {
        root,
        five_levels,
        stack_size,
    })
}

/// Starts the processors. Also returns how this one leaves the loader.
fn start_processors<'m, M: Platform<'m>>(
    machine: M,
    requests: &Requests,
    loaded: &Loaded<'m>,
    space: &Space,
    entry: VirtAddr,
    rsdp: u64,
    memory: &mut MemoryMap,
) -> Result<(LimineStart, Option<Started<'m>>), M::Failure> {
    let &Space {
        root,
        five_levels,
        stack_size,
    } = space;
    let way_tables = way_tables(machine, five_levels, memory)?;
    let mut start = LimineStart {
        root,
        stack: allocate_stack(machine, stack_size, memory)?,
        entry,
        way_tables,
        five_levels,
        cpu_features: machine.cpu_features(),
        uid: 0,
        quiet: requests.revision >= 5,
        keep_iommus: requests.has(Feature::KeepIommu),
        rsdp,
    };
    machine.prepare_switch(&start);
    let (uid, started) = processors::start(machine, requests, loaded, &start, stack_size, memory)?;
    start.uid = uid;
    Ok((start, started))
}

/// Sets the graphics mode, as the last action that can fail, and writes the responses.
fn answer<'m, M: Platform<'m>>(
    mut machine: M,
    prepared: &Prepared<'_, 'm>,
    loaded: &mut Loaded<'m>,
    screen: &mut Option<Screen<'_>>,
    memory: &mut MemoryMap,
) -> Result<(), M::Failure> {
    let requests = prepared.requests;
    let wants = |feature| requests.has(feature);
    let wants_time = wants(Feature::Performance) || wants(Feature::TscFrequency);
    let frequency = wants_time.then(|| machine.tsc_frequency()).flatten();
    let wanted = requests.argument(&loaded.kernel.image, loaded, Feature::Entropy, 0);
    let wanted = wanted.min(MAX_ENTROPY as u64) as usize;
    let entropy = entropy(machine, wanted);
    let facts = Facts {
        date: wants(Feature::Date)
            .then(|| int1a::date(&mut machine))
            .flatten(),
        performance: frequency.map(|frequency| performance(machine, frequency)),
        tsc_frequency: frequency,
        entropy: entropy.get(..wanted).unwrap_or_default(),
        ..prepared.facts(machine, &loaded.kernel)
    };
    let likely = LastFacts {
        framebuffer: screen.as_ref().map(Screen::framebuffer),
        regions: memory.regions(),
    };
    let mut measure = Writer::default();
    respond(requests, &facts, &likely, &mut measure);
    let size = (measure.used + SPARE).next_multiple_of(PAGE_SIZE as usize) as u64;
    let mut block = reclaimable(machine, size, memory)?;

    let count = facts.processors.map_or(0, |it| it.infos.len());
    say!(machine, "12 handoff  to #h, # processors"; prepared.entry_point.as_u64(), count.max(1) as u64);
    machine.show_cursor();
    let framebuffer = match screen {
        Some(screen) => screen.set(machine, memory)?,
        None => None,
    };
    // Computed last, so that the memory map is complete.
    let last = LastFacts {
        framebuffer,
        regions: memory.regions(),
    };
    let address = in_hhdm(block.start());
    let mut writer = Writer::new(&mut block, address);
    let responses = respond(requests, &facts, &last, &mut writer);
    assert!(
        writer.used as u64 <= size,
        "the responses are larger than was computed"
    );
    let (kernel, mut segments) = loaded.split();
    requests.answer(&kernel.image, &mut segments, &responses);
    Ok(())
}

impl<'m> Prepared<'_, 'm> {
    /// The facts for the kernel, except those known only at the very end.
    fn facts<M: Platform<'m>>(&self, machine: M, kernel: &Kernel) -> Facts<'_> {
        Facts {
            version: env!("CARGO_PKG_VERSION"),
            revision: self.requests.revision,
            command_line: self.command_line,
            paging_mode: self.paging_mode,
            processors: self.started.as_ref().map(|started| Processors {
                x2apic: started.x2apic,
                bootstrap: machine.apic_id(),
                infos: started.list,
            }),
            firmware: &self.firmware,
            executable: self.executable,
            executable_address: kernel_address(kernel),
            modules: self.modules,
            optical: self.optical,
            partition: self.partition.number,
            disk_signature: self.partition.signature,
            rsdp: self.tables.rsdp,
            smbios: [self.tables.smbios, self.tables.smbios3],
            date: None,
            performance: None,
            tsc_frequency: None,
            entropy: &[],
        }
    }
}

/// Random words: at least `wanted`, then zeroes.
fn entropy<'m>(machine: impl Machine<'m>, wanted: usize) -> [u64; MAX_ENTROPY] {
    let mut seeds = [[0; 32]; MAX_ENTROPY / 4];
    for seed in seeds.iter_mut().take(wanted.div_ceil(4)) {
        *seed = machine.random_seed();
    }
    zerocopy::transmute!(seeds)
}

/// The physical and virtual address of the kernel's first page.
fn kernel_address(kernel: &Kernel) -> (PhysAddr, VirtAddr) {
    let start = kernel.image.virtual_start().wrapping_add(kernel.slide);
    let physical = kernel.physical_start().align_down(PAGE_SIZE);
    (physical, start.align_down(PAGE_SIZE))
}

/// Stores the command line; returns the address at which the kernel sees it.
fn store_command_line<'m, M: Machine<'m>>(
    machine: M,
    entry: &BootEntry<'m>,
    memory: &mut MemoryMap,
) -> Result<VirtAddr, M::Failure> {
    let size = entry.text.command_line_length() as u64 + 1;
    let mut block = reclaimable(machine, size, memory)?;
    block.fill(0);
    entry.text.copy_command_line(&mut block);
    Ok(in_hhdm(block.start()))
}

/// Records the pages of the firmware's tables, as far as a base revision promises to map them.
fn note_firmware<'m>(
    machine: impl Machine<'m>,
    tables: &FirmwareTables,
    revision: u64,
    pages: &mut FirmwarePages,
) {
    let memory = |start, length| machine.firmware(PhysAddr::new(start), length);
    if revision >= 4 && tables.rsdp != 0 {
        acpi::tables(tables.rsdp, &memory, &mut |start, bytes| {
            pages.add(start, bytes.len() as u64);
        });
    }
    if revision < 5 {
        return;
    }
    /// Length of the longest entry point structure, in bytes.
    const ENTRY_POINT: u64 = 32;
    for entry in [tables.smbios, tables.smbios3] {
        if let Some(bytes) = memory(entry, ENTRY_POINT) {
            pages.add(entry, ENTRY_POINT);
            if let Some((start, length)) = acpi::smbios_table(bytes) {
                pages.add(start, length);
            }
        }
    }
}

/// The tables during the switch: the loader's own, below a table of level 5 if the kernel has one.
fn way_tables<'m, M: Machine<'m>>(
    machine: M,
    five_levels: bool,
    memory: &mut MemoryMap,
) -> Result<PhysAddr, M::Failure> {
    const LAST_ENTRY: usize = 511;

    let early = PhysAddr::new(layout::EARLY_ROOT.start);
    if !five_levels {
        return Ok(early);
    }
    let kind = MemoryKind::Reclaimable;
    let top = allocate(memory, PAGE_SIZE, PAGE_SIZE, 0, kind)?;
    machine.new_table(Allocation::new(top, PAGE_SIZE));
    machine.set_table_entry(top, 0, early.as_u64() | LINK);
    machine.set_table_entry(top, LAST_ENTRY, early.as_u64() | LINK);
    Ok(top)
}

/// The time when the loader began, and the present time.
fn performance<'m>(machine: impl Machine<'m>, frequency: u64) -> Performance {
    let stamps = machine.stamps();
    let microseconds = |stamp: u64| stamp / (frequency / 1_000_000).max(1);
    Performance {
        begin: microseconds(stamps[1]),
        end: microseconds(machine.now().tsc),
    }
}
