//! Steps 6 to 12: the whole path on one screen, one call a step.
//!
//! The file of each step says what it needs, and what holds after it. Whatever goes wrong ends
//! here, as a [`Failure`](Machine::Failure) with a name.

use core::fmt;
use core::mem::MaybeUninit;

use arrayvec::ArrayVec;
use disk_layout::parts::Part;

use crate::bios::int15::{self, MemoryError};
use crate::bios::vbe::Adapter;
use crate::disk::block_device::BlockDevice as _;
use crate::disk::boot_drive;
use crate::disk::fat::{Cache, Volume};
use crate::disk::int13::Drive;
use crate::disk::partition::{self, Found, Partition, PartitionError};
use crate::entry::attempts::{self, Boot};
use crate::entry::bootable;
use crate::entry::choose::{self, Chosen, Start};
use crate::entry::entries::{Entries, NoEntry, NoneBoots};
use crate::entry::entry_file::{EntryFileError, KernelEntry};
use crate::files::access::{File, Files};
use crate::files::checksum::Tables;
use crate::files::gzip::Decompressor;
use crate::files::integrity::Role;
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::layout;
use crate::memory::map::{MIB, MemoryKind, MemoryMap};
use crate::memory::placement::allocate_low;
use crate::memory::ram::Allocation;
use crate::say;
use crate::ways_in::brought;
use crate::ways_in::multiboot::{MAX_GIVEN, MultibootError};
use crate::ways_out::handover::Handover;
use crate::ways_out::limine::Modules;
use crate::ways_out::limine::platform::Platform;
use crate::ways_out::recognise::{self, Opened, Recognised};
use crate::ways_out::way::{self, Way};
use crate::ways_out::{bootpath, chain, limine, linux, multiboot};

/// A machine whose failures can be those of the whole path.
pub trait PathMachine<'m>:
    Platform<
        'm,
        Failure: From<MemoryError>
                     + From<MultibootError>
                     + From<PartitionError>
                     + From<EntryFileError>
                     + From<NoEntry>
                     + From<NoneBoots<'m>>,
    >
{
}

impl<'m, M> PathMachine<'m> for M where
    M: Platform<
            'm,
            Failure: From<MemoryError>
                         + From<MultibootError>
                         + From<PartitionError>
                         + From<EntryFileError>
                         + From<NoEntry>
                         + From<NoneBoots<'m>>,
        >
{
}

/// Calls a macro with all errors of the path.
#[macro_export]
macro_rules! with_all_errors {
    ($macro:ident) => {
        $macro! {
            $crate::bios::int15::MemoryError
            $crate::memory::map::OutOfMemory
            $crate::disk::block_device::DiskError
            $crate::disk::fat::FatError
            $crate::disk::partition::PartitionError
            $crate::entry::entry_file::EntryFileError
            $crate::entry::entries::NoEntry
            $crate::files::parts::PartError
            $crate::files::gzip::GzipError
            $crate::kernel::image::KernelError
            $crate::paging::page_tables::PagingError
            $crate::ways_in::multiboot::MultibootError
            $crate::ways_out::multiboot::elf::MemoryConflict
            $crate::ways_out::multiboot::header::HeaderError
            $crate::ways_out::linux::image::LinuxError
            $crate::ways_out::chain::boot_sector::ChainError
            $crate::ways_out::limine::LimineError
        }
    };
}

/// The memory that the path needs for its structures, because the stack is small. It is allocated
/// as soon as there is a memory map: the loader's own memory has little room.
pub struct Rooms<'m> {
    /// For all entries.
    pub entries: &'m mut Entries<'m>,
    /// For the modules of a Limine kernel.
    pub modules: &'m mut Modules<'m>,
    /// For the files that another loader has brought.
    pub brought: &'m mut ArrayVec<File<'m>, MAX_GIVEN>,
    /// For the state of a decompression.
    pub decompressor: &'m mut MaybeUninit<Decompressor>,
    /// For a kernel's headers.
    pub opened: &'m mut Option<Opened<'m>>,
    /// For graphics modes.
    pub adapter: &'m mut Adapter,
}

/// They fit, and so do the checksum's tables, in any order.
const _: () = assert!(
    room_of::<Entries<'_>>()
        + room_of::<Modules<'_>>()
        + room_of::<ArrayVec<File<'_>, MAX_GIVEN>>()
        + room_of::<Decompressor>()
        + room_of::<Option<Opened<'_>>>()
        + room_of::<Adapter>()
        + room_of::<Tables>()
        <= layout::ROOMS_SIZE as usize
);

/// The most bytes that a structure takes, with those that align it.
const fn room_of<T>() -> usize {
    size_of::<T>() + align_of::<T>() - 1
}

/// From so many bytes of free memory on, the windows through which the file system is read are large.
const PLENTY: u64 = 64 * MIB;

/// What the path is given.
pub struct Given<'m, R> {
    /// The memory map, empty.
    pub memory: &'m mut MemoryMap,
    /// The facts about the files that `disk-builder` wrote: see [`disk_layout::manifest`].
    pub manifest: &'m [u8],
    /// Makes the rooms out of [`layout::ROOMS_SIZE`] bytes.
    pub rooms: R,
}

/// Steps 6 to 12, up to but without the jump.
///
/// # Errors
/// All from 6A on.
pub fn boot<'m, M: PathMachine<'m>>(
    machine: M,
    given: Given<'m, impl FnOnce(&'m mut [u8]) -> Rooms<'m>>,
) -> Result<Handover<'m>, M::Failure> {
    boot_entry(machine, given, None)
}

/// As [`boot`], with the entry in the file `picked`, if there is one. Whoever picks an entry gets
/// that one or its error, and no other entry.
///
/// # Errors
/// Those of [`boot`].
pub fn boot_entry<'m, M: PathMachine<'m>>(
    machine: M,
    given: Given<'m, impl FnOnce(&'m mut [u8]) -> Rooms<'m>>,
    picked: Option<&str>,
) -> Result<Handover<'m>, M::Failure> {
    machine.step(6);
    let memory = given.memory;
    discover_memory(machine, memory)?;

    machine.step(7);
    let [text, cache, rooms] = early_rooms(machine, memory)?;
    let rooms = (given.rooms)(rooms);
    let mut files = Files::new(machine, rooms.decompressor);
    let mut partition = Partition::default();
    let entries = rooms.entries;
    let start = match machine.multiboot() {
        Some(left) => {
            let text = take_brought(&mut files, left, (text, rooms.brought), memory)?;
            machine.step(9);
            Start::Configuration("", text)
        }
        None => {
            let mut disk = boot_drive::open(machine);
            partition = boot_partition(machine, &mut disk, cache)?;

            machine.step(8);
            files.open(disk, &partition, cache, given.manifest)?;

            machine.step(9);
            let entries = &mut *entries;
            let entry_rooms = choose::Rooms { entries, text };
            choose::choose(&mut files, entry_rooms, memory, picked)?
        }
    };
    let mut out = WayRooms {
        opened: rooms.opened,
        adapter: rooms.adapter,
        modules: rooms.modules,
    };
    match start {
        Start::Configuration(path, text) => {
            let only = (path, text, false);
            leave(&mut files, &partition, only, &mut out, memory)
        }
        Start::Entry(first, text) => {
            let leave: Boot<'_, 'm, M, _> = &mut |files, (item, has_others), memory| {
                *out.opened = None; // of a kernel that is not booted
                let entry = (item.path(), item.text, has_others);
                leave(files, &partition, entry, &mut out, memory)
            };
            let boot_first = attempts::boot_first as fn(_, _, _, _) -> _;
            let boot_first = machine.of_part(Part::Entries, boot_first)?;
            boot_first(&mut files, (first, entries, text), &mut *memory, leave)
        }
    }
}

/// Takes what another loader has brought. Returns the configuration.
#[inline(never)]
fn take_brought<'m, M: PathMachine<'m>>(
    files: &mut Files<'m, M>,
    left: (u32, u32),
    (text, room): (&'m mut [u8], &'m mut ArrayVec<File<'m>, MAX_GIVEN>),
    memory: &mut MemoryMap,
) -> Result<KernelEntry<'m>, M::Failure> {
    let take = brought::take as fn(_, _, _, _) -> _;
    let take = files.machine().of_part(Part::Brought, take)?;
    let rooms = brought::Rooms { text, files: room };
    take(files, left, rooms, memory)
}

/// The memory that the steps after the choice need.
pub struct WayRooms<'m> {
    opened: &'m mut Option<Opened<'m>>,
    adapter: &'m mut Adapter,
    modules: &'m mut Modules<'m>,
}

/// Steps 9 to 12, once the entry to boot is known.
#[inline(never)]
fn leave<'m, M: PathMachine<'m>>(
    files: &mut Files<'m, M>,
    partition: &Partition,
    (path, text, has_others): (&str, KernelEntry<'m>, bool),
    rooms: &mut WayRooms<'m>,
    memory: &mut MemoryMap,
) -> Result<Handover<'m>, M::Failure> {
    let machine = files.machine();
    let mut entry = match choose::find(text, files)? {
        Chosen::Kernel(entry) => entry,
        Chosen::Chain(target) => {
            // The facts of an error are those of a disk, and do not name the file.
            let named = if has_others { "" } else { path };
            let boot = machine.of_part(Part::Chain, chain::boot::boot as fn(_, _, _) -> _)?;
            return boot(machine, target, named);
        }
    };
    entry.has_others = has_others;

    machine.step(10);
    entry.kernel = files.unpack(Role::Kernel, entry.path, entry.kernel, memory)?;
    let recognised = recognise::recognise(files, &entry, rooms.opened, memory)?;
    // Multiboot kernels are told what the BIOS says, to the byte.
    if !matches!(recognised, Recognised::Multiboot(_)) {
        show_pages(machine, memory);
    }
    let way = Way {
        files,
        partition,
        entry: &entry,
        memory,
        rooms: way::Rooms {
            adapter: rooms.adapter,
            modules: rooms.modules,
        },
    };
    match recognised {
        Recognised::Bootpath(loaded) => bootpath::boot(way, loaded),
        Recognised::Limine(loaded, requests) => {
            let boot = machine.of_part(Part::Limine, limine::boot::boot as fn(_, _, _) -> _)?;
            boot(way, loaded, requests)
        }
        Recognised::Multiboot(opened) => {
            let boot = multiboot::boot::boot as fn(_, _) -> _;
            machine.of_part(Part::Multiboot, boot)?(way, opened)
        }
        Recognised::Linux(opened) => {
            machine.of_part(Part::Linux, linux::boot::boot as fn(_, _) -> _)?(way, opened)
        }
    }
}

/// Step 6: the memory map. INT 15h E820, else E801, else 88h ([`int15`]), normalised into one map,
/// in which the loader's own memory is marked. All later memory is allocated from it.
///
/// # Errors
/// 6A when there is no answer, 6B when there is not enough memory even for the loader.
#[inline(never)]
fn discover_memory<'m, M: PathMachine<'m>>(
    mut machine: M,
    memory: &mut MemoryMap,
) -> Result<(), M::Failure> {
    let source = int15::discover(&mut machine, memory)?;
    let usable = memory.usable();
    // The loader is there already, whatever the BIOS says of that memory; but the kernel may
    // reclaim only what the BIOS calls free.
    memory.claim(
        const { PhysAddr::new(layout::START) },
        const { PhysAddr::new(layout::END) },
        MemoryKind::Reclaimable,
    );
    say!(machine, " 6 memory   # MiB usable, by ", source; usable >> 20);
    Ok(())
}

/// Turns the memory map into what most protocols want of it: whole pages, with the text window.
fn show_pages<'m>(machine: impl Machine<'m>, memory: &mut MemoryMap) {
    memory.round_to_pages();
    if machine.cursor().is_some() {
        let start = PhysAddr::new(layout::VGA_TEXT);
        let end = PhysAddr::new(layout::VGA_TEXT_END);
        memory.mark(start, end, MemoryKind::Framebuffer);
    }
}

/// Memory for an entry file, for the windows through which the file system is read, if there is a
/// disk to read, and for the path's structures.
///
/// # Errors
/// 6B.
#[inline(never)]
fn early_rooms<'m, M: PathMachine<'m>>(
    machine: M,
    memory: &mut MemoryMap,
) -> Result<[&'m mut [u8]; 3], M::Failure> {
    let text = early_room(machine, layout::ENTRY_FILE_SIZE, memory)?;
    let cache = match machine.multiboot() {
        Some(_) => Default::default(),
        None => file_cache(machine, memory)?,
    };
    let rooms = early_room(machine, layout::ROOMS_SIZE, memory)?;
    Ok([text, cache, rooms])
}

/// Memory for the windows through which the file system is read: a large piece if there is so much
/// memory that nobody misses it, else a small one.
///
/// # Errors
/// 6B.
fn file_cache<'m, M: PathMachine<'m>>(
    machine: M,
    memory: &mut MemoryMap,
) -> Result<&'m mut [u8], M::Failure> {
    if memory.usable() >= PLENTY
        && let Ok(block) = machine.high(Cache::MOST_BYTES as u64, memory)
    {
        return Ok(block.keep());
    }
    early_room(machine, layout::FILE_CACHE_SIZE, memory)
}

/// Memory that the steps up to the choice need: below 1 MiB, or above on a machine that has no room
/// there.
///
/// # Errors
/// 6B. Another loader may have put its modules anywhere above 1 MiB, and the map does not show them
/// yet: when there is such a loader, only low memory will do.
fn early_room<'m, M: PathMachine<'m>>(
    machine: M,
    size: u64,
    memory: &mut MemoryMap,
) -> Result<&'m mut [u8], M::Failure> {
    let block = match allocate_low(memory, size) {
        Ok(start) => machine.block(Allocation::new(start, size)),
        Err(_) if machine.multiboot().is_none() => machine.high(size, memory)?,
        Err(error) => return Err(error.into()),
    };
    Ok(block.keep())
}

/// Reads the partition table, and chooses the partition to boot from if there is a choice.
///
/// # Errors
/// 7A to 7D.
#[inline(never)]
fn boot_partition<'m, M: PathMachine<'m>>(
    machine: M,
    disk: &mut Drive<M>,
    cache: &mut [u8],
) -> Result<Partition, M::Failure> {
    match partition::find_only(disk)? {
        Some(partition) => {
            say_partition(machine, disk, &partition);
            Ok(partition)
        }
        None => {
            let choose = choose_partition as fn(_, _, _) -> _;
            machine.of_part(Part::Disks, choose)?(machine, disk, cache)
        }
    }
}

/// Chooses the partition to boot from.
///
/// # Errors
/// 7A to 7D.
#[inline(never)]
fn choose_partition<'m, M: PathMachine<'m>>(
    machine: M,
    disk: &mut Drive<M>,
    cache: &mut [u8],
) -> Result<Partition, M::Failure> {
    let mut failure = None;
    let mut has_entries = |disk: &mut Drive<M>, cache: &mut Cache<'_>, volume: &Volume| {
        let has_entries = bootable::has_entries as fn(_, _, _) -> _;
        match machine.of_part(Part::Entries, has_entries) {
            Ok(has_entries) => has_entries(disk, cache, volume),
            Err(other) => {
                failure.get_or_insert(other);
                Ok(false)
            }
        }
    };
    let found = bootable::find_partition(disk, cache, &mut has_entries);
    // Without that part, nobody knows which partition its owner would boot.
    failure.map_or(Ok(()), Err)?;
    let Found {
        partition,
        note,
        damage,
    } = found.map_err(|error| match error {
        PartitionError::Disk(error) => M::Failure::from(error),
        error => error.into(),
    })?;
    say_partition(machine, disk, &partition);
    let note = note.as_ref().map(|note| note as &dyn fmt::Display);
    let damage = damage.as_ref().map(|damage| damage as &dyn fmt::Display);
    for text in [note, damage].into_iter().flatten() {
        machine.print(&Remark(text));
    }
    Ok(partition)
}

/// The line about the disk and the partition.
fn say_partition<'m, M: Machine<'m>>(machine: M, disk: &Drive<M>, partition: &Partition) {
    say!(
        machine,
        " 7 disk     drive ##h by ",
        if disk.by_lba() { "LBA" } else { "CHS" },
        ", # bytes a sector, partition # at LBA #";
        disk.number().into(),
        disk.sector_size() as u64,
        partition.number.into(),
        partition.first_lba.as_u64()
    );
}

/// A further line of step 7.
struct Remark<'a>(&'a dyn fmt::Display);

impl fmt::Display for Remark<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(" 7 disk     ")?;
        self.0.fmt(f)
    }
}
