//! Step 10, its beginning: which boot protocol the kernel is made for.
//!
//! **On entry**: the kernel's file is known. **This step**: unless the entry names the protocol,
//! looks for the note of the loader's own handoff; without one, reads the file's head and looks for
//! the other headers. Parses these bytes, compares their checksum, and keeps them: nothing is
//! decided or read twice. Loads an ELF kernel, because Limine's requests may be anywhere in it.
//! **On exit**: the protocol is known, and so are the kernel's headers for it.

mod limine;
mod linux;
mod multiboot;
mod unknown;

use core::ops::Range;

use disk_layout::parts::Part;

use crate::entry::choose::BootEntry;
use crate::entry::protocol::{self, LinuxEntry, Protocol};
use crate::files::access::Files;
use crate::files::error::is_of_volume;
use crate::files::integrity::{Expected, Role, Running, Sums};
use crate::files::views::Reader;
use crate::kernel::image::{self, KernelError, KernelImage, Wishes};
use crate::kernel::loading::Loaded;
use crate::machine::Machine;
use crate::memory::list;
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::ram::Allocation;
use crate::position::FileOffset;
use crate::ways_out::failure::OpenMachine;
use crate::ways_out::limine::Requests;
use crate::ways_out::linux::boot::Opened as Linux;
use crate::ways_out::multiboot::boot::Opened as Multiboot;
use crate::ways_out::multiboot::header::Version;

/// A kernel, and the protocol that it is made for.
pub enum Recognised<'r, 'm> {
    /// The loader's own; it is loaded.
    Bootpath(&'r mut Loaded<'m>),
    /// Limine's; it is loaded.
    Limine(&'r mut Loaded<'m>, &'r Requests),
    /// Multiboot, of either version.
    Multiboot(&'r mut Multiboot<'m>),
    /// Linux.
    Linux(&'r Linux<'m>),
}

/// The headers of a file.
#[expect(clippy::large_enum_variant, reason = "there is only one of it")]
pub enum Opened<'m> {
    /// An ELF file that is loaded, and its Limine requests.
    Loaded(Loaded<'m>, Requests),
    /// Those of an ELF file that is not loaded: its checksums.
    Elf(Option<Expected<'m>>),
    /// A Multiboot header.
    Multiboot(Multiboot<'m>),
    /// The setup header of Linux.
    Linux(Linux<'m>),
}

/// Finds out the protocol, unless the entry names it.
///
/// # Errors
/// 10A to 10Z, 11A, 8B, 7A, 6B.
#[inline(never)] // its variables are large
pub fn recognise<'r, 'm, M: OpenMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    opened: &'r mut Option<Opened<'m>>,
    memory: &mut MemoryMap,
) -> Result<Recognised<'r, 'm>, M::Failure> {
    let mut headers = None;
    open(files, entry, &mut headers, opened, memory)?;
    let mut searched = 0..u64::MAX;
    if let (&mut Some(Opened::Elf(expected)), Some((image, wishes))) = (&mut *opened, headers) {
        searched = place_of_requests(expected.as_ref());
        let loaded = Loaded::new(image, wishes);
        let room = opened.insert(Opened::Loaded(loaded, Requests::default()));
        if let Opened::Loaded(loaded, _) = room {
            loaded.load(files, &entry.kernel, expected, memory)?;
        }
        files.forget(memory);
    }
    match opened.as_mut() {
        Some(Opened::Multiboot(multiboot)) => Ok(Recognised::Multiboot(multiboot)),
        Some(Opened::Linux(linux)) => Ok(Recognised::Linux(linux)),
        Some(Opened::Loaded(loaded, requests)) => {
            if search(files, entry, (loaded, requests), searched)? {
                return Ok(Recognised::Limine(loaded, requests));
            }
            Ok(Recognised::Bootpath(loaded))
        }
        Some(Opened::Elf(_)) | None => Err(KernelError::NotElf.into()),
    }
}

/// Between which offsets in a file to search for requests: the builder has searched its own files.
fn place_of_requests(expected: Option<&Expected<'_>>) -> Range<u64> {
    expected.map_or(0..u64::MAX, Expected::requests)
}

/// Finds the requests of a loaded kernel, unless it has a note of the loader's own handoff, or the
/// entry names another protocol; refuses a kernel of another loader. Returns whether there are any
/// requests.
///
/// # Errors
/// 10W to 10Z, 8B, 7A.
fn search<'m, M: OpenMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    (loaded, requests): (&Loaded<'m>, &mut Requests),
    place: Range<u64>,
) -> Result<bool, M::Failure> {
    let machine = files.machine();
    let is_wanted = entry.protocol == Some(Protocol::Limine);
    // The builder has found neither requests nor the marks of another loader.
    if !is_wanted && (loaded.kernel.wishes.own || place.is_empty()) {
        return Ok(false);
    }
    if is_wanted || entry.protocol.is_none() {
        let find = limine::find_requests as fn(_, _, _, _) -> _;
        let find = machine.of_part(Part::Limine, find)?;
        if find(requests, loaded, place, is_wanted)? {
            return Ok(true);
        }
    }
    if !loaded.kernel.wishes.own {
        let refuse = unknown::refuse_foreign as fn(_, _, _) -> Result<(), _>;
        machine.of_part(Part::Unknown, refuse)?(files, entry, loaded)?;
    }
    Ok(false)
}

/// The memory of the lists of segments.
#[derive(Default)]
struct Lists {
    elf: Option<Allocation>,
    multiboot: Option<Allocation>,
}

/// The headers of an ELF file.
type Headers = Option<(KernelImage, Wishes)>;

/// Reads the headers, and compares their checksum. `headers` become those of an ELF file, whatever its
/// protocol.
fn open<'m, M: OpenMachine<'m>>(
    files: &mut Files<'m, M>,
    entry: &BootEntry<'m>,
    headers: &mut Headers,
    opened: &mut Option<Opened<'m>>,
    memory: &mut MemoryMap,
) -> Result<(), M::Failure> {
    let file = &entry.kernel;
    let (known, sums) = files.any_expected(Role::Kernel, entry.path, file);
    // Without memory even for the head, nothing can be booted: the loading step reports how much is
    // needed.
    let mut head = files
        .machine()
        .pages(protocol::HEAD as u64, HEAD_KIND, memory)
        .ok();
    let mut lists = Lists::default();
    let mut accept = false;
    let result = loop {
        let mut unknown = None;
        let result = files.parse(file, known.is_some(), &mut |reader| {
            let mut opening = Opening {
                entry,
                sums,
                head: head.as_deref_mut().unwrap_or_default(),
                headers,
                lists: &mut lists,
                opened,
                memory,
            };
            let expected = opening.open(reader)?;
            // The builder recorded another protocol's headers at this path: these may be another
            // file's.
            let is_unknown = expected.is_none() && known.is_some();
            unknown.get_or_insert(is_unknown);
            Ok::<_, M::Failure>(if is_unknown && !accept {
                known
            } else {
                expected
            })
        });
        let named = entry.protocol.is_some();
        if result.is_ok() || accept || unknown != Some(true) || !named {
            break result;
        }
        // The entry names another protocol than it did when the builder read the file.
        accept = true;
    };
    if let Some(head) = head {
        files.machine().free(head, memory);
    }
    result
}

/// The kind of the memory for a file's head, while it is in use: the kernel may have to be loaded
/// there.
const HEAD_KIND: MemoryKind = MemoryKind::Reclaimable;

/// The state for reading headers by one view of the volume.
struct Opening<'a, 'm> {
    entry: &'a BootEntry<'m>,
    /// What the builder has checksums of, if it wrote the file: it has recognised the kernel.
    sums: Option<Sums>,
    /// Room for the file's head.
    head: &'a mut [u8],
    headers: &'a mut Headers,
    lists: &'a mut Lists,
    opened: &'a mut Option<Opened<'m>>,
    memory: &'a mut MemoryMap,
}

/// The checksums that a kernel must have, if its headers could be read.
type Checked<'m, M> = Result<Option<Expected<'m>>, <M as Machine<'m>>::Failure>;

impl<'m> Opening<'_, 'm> {
    fn open<M: OpenMachine<'m>>(&mut self, reader: &mut Reader<'_, 'm, M>) -> Checked<'m, M> {
        let machine = reader.files().machine();
        self.forget_multiboot(machine);
        *self.headers = None;
        if let Some(place) = self.lists.elf.take() {
            machine.give_back(place, self.memory);
        }
        match self.entry.protocol {
            Some(Protocol::Bootpath | Protocol::Limine) => {
                self.read_elf(reader)?;
                self.elf(reader)
            }
            Some(Protocol::Multiboot1) => self.multiboot(Version::One, reader),
            Some(Protocol::Multiboot2) => self.multiboot(Version::Two, reader),
            Some(Protocol::Linux(wanted)) => self.linux(wanted, reader),
            None => self.recognise(reader),
        }
    }

    fn multiboot<M: OpenMachine<'m>>(
        &mut self,
        version: Version,
        reader: &mut Reader<'_, 'm, M>,
    ) -> Checked<'m, M> {
        let open = multiboot::open as fn(_, _, _) -> _;
        let machine = reader.files().machine();
        machine.of_part(Part::Multiboot, open)?(self, version, reader)
    }

    fn linux<M: OpenMachine<'m>>(
        &mut self,
        wanted: Option<LinuxEntry>,
        reader: &mut Reader<'_, 'm, M>,
    ) -> Checked<'m, M> {
        let open = linux::open as fn(_, _, _) -> _;
        let machine = reader.files().machine();
        machine.of_part(Part::Linux, open)?(self, wanted, reader)
    }

    /// Forgets what belongs to another view of the volume, or to a kernel that turned out to be made
    /// for Limine, and frees its memory.
    #[inline(never)] // there is more than one caller
    fn forget_multiboot<M: OpenMachine<'m>>(&mut self, machine: M) {
        if let Some(Opened::Multiboot(multiboot)) = self.opened.take()
            && let Some(block) = multiboot.sections
        {
            machine.free(block, self.memory);
        }
        if let Some(place) = self.lists.multiboot.take() {
            machine.give_back(place, self.memory);
        }
    }

    /// A note of the loader's own handoff takes precedence, then Limine's requests, then the other
    /// headers.
    fn recognise<M: OpenMachine<'m>>(&mut self, reader: &mut Reader<'_, 'm, M>) -> Checked<'m, M> {
        let read = self.read_elf(reader);
        if let Err(failure) = &read
            && is_of_volume(failure)
        {
            return read.and_then(|()| self.elf(reader));
        }
        let is_own = self.headers.as_ref().is_some_and(|(_, wishes)| wishes.own);
        if is_own || read.is_ok() && self.sums == Some(Sums::Elf) {
            return self.elf(reader);
        }
        let machine = reader.files().machine();
        let version = match self.sums {
            Some(Sums::Multiboot1) => Version::One,
            Some(Sums::Multiboot2) => Version::Two,
            Some(Sums::Linux) => {
                let open = linux::open_listed as fn(_, _, _) -> _;
                return machine.of_part(Part::Linux, open)?(self, read, reader);
            }
            _ => return self.unknown(read, reader),
        };
        let open = multiboot::open_listed as fn(_, _, _, _) -> _;
        machine.of_part(Part::Multiboot, open)?(self, version, read, reader)
    }

    /// Reads the head of the file. Returns it, and the sum of what was read before; what follows is
    /// summed up anew.
    #[inline(always)] // each part that calls it has it
    fn read_head<M: OpenMachine<'m>>(
        &mut self,
        reader: &mut Reader<'_, 'm, M>,
    ) -> Result<(Running, &[u8]), M::Failure> {
        let sum = reader.take_sum();
        let length = reader.read_at(FileOffset::ZERO, self.head)?;
        Ok((sum, self.head.get(..length).unwrap_or_default()))
    }

    /// What the head of the file shows. `read`: whether there are headers of an ELF file, which were
    /// read.
    fn unknown<M: OpenMachine<'m>>(
        &mut self,
        read: Result<(), M::Failure>,
        reader: &mut Reader<'_, 'm, M>,
    ) -> Checked<'m, M> {
        let open = unknown::open as fn(_, _, _) -> _;
        let machine = reader.files().machine();
        machine.of_part(Part::Unknown, open)?(self, read, reader)
    }

    /// Reads the headers of an ELF file; fails for any other file.
    #[inline(never)] // there is more than one caller
    fn read_elf<M: OpenMachine<'m>>(
        &mut self,
        reader: &mut Reader<'_, 'm, M>,
    ) -> Result<(), M::Failure> {
        let machine = reader.files().machine();
        let size = self.entry.kernel.size;
        let list = |count| {
            self.lists.elf = Some(machine.grow_heap::<image::Segment>(count, self.memory)?);
            Ok(list::with_room(count))
        };
        *self.headers = Some(image::read(size, list, |offset, out| {
            reader.read_at(offset, out)
        })?);
        Ok(())
    }

    fn elf<M: OpenMachine<'m>>(&mut self, reader: &Reader<'_, 'm, M>) -> Checked<'m, M> {
        let expected = expected(self.entry, Sums::Elf, reader)?;
        *self.opened = Some(Opened::Elf(expected));
        Ok(expected)
    }
}

fn expected<'m, M: OpenMachine<'m>>(
    entry: &BootEntry<'m>,
    sums: Sums,
    reader: &Reader<'_, 'm, M>,
) -> Checked<'m, M> {
    let files = reader.files();
    files.expected(Role::Kernel, sums, entry.path, &entry.kernel)
}
