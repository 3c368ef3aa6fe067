//! Step 9 again: the next entry, when the files of one are missing or damaged.
//!
//! **On entry**: the entries are in the order in which they are tried. **This step**: boots the
//! first one whose files are whole, up to the jump. Prints a line about each one before it. **On
//! exit**: as after the last step of the path.
//!
//! Only faults of an entry's own files are a reason to try another one. A disk that does not answer
//! any more has no good files either, and where memory does not suffice, the user has to know.

use core::fmt;
use core::fmt::Write as _;

use crate::entry::choose::EntryMachine;
use crate::entry::entries::{Coded, Entries, Item, NoneBoots};
use crate::errors::catalogue::{self, Named};
use crate::errors::text::{copy, utf8};
use crate::files::access::Files;
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::map::{MemoryKind, MemoryMap};
use crate::memory::ram::Block;

/// Boots an entry, up to the jump; `true`: there are others.
pub type Boot<'a, 'm, M, T> = &'a mut dyn FnMut(
    &mut Files<'m, M>,
    (Item<'m>, bool),
    &mut MemoryMap,
) -> Result<T, <M as Machine<'m>>::Failure>;

/// Boots the first entry whose files are whole: first `first`, then the others. `text` is for the
/// facts about an error.
///
/// # Errors
/// The error of the first one, when none boots.
#[inline(never)]
pub fn boot_first<'m, M, T>(
    files: &mut Files<'m, M>,
    (first, entries, text): (Item<'m>, &mut Entries<'m>, &'m mut [u8]),
    memory: &mut MemoryMap,
    boot: Boot<'_, 'm, M, T>,
) -> Result<T, M::Failure>
where
    M: EntryMachine<'m, Failure: From<NoneBoots<'m>>>,
{
    let machine = files.machine();
    let free = match entries.items().next() {
        Some(_) => Free::note(machine, memory),
        None => None,
    };
    let Some(free) = free else {
        return boot(files, (first, false), memory);
    };
    let (mut item, mut room, mut none) = (first, Some(text), None);
    loop {
        let next = entries.take_first();
        let failure = match boot(files, (item, next.is_some()), memory) {
            Ok(handover) => return Ok(handover),
            Err(failure) if !is_of_entry(files, &failure) => return Err(failure),
            Err(failure) => failure,
        };
        machine.print(&NotBooted {
            item,
            failure: &failure,
            file: match item.text.chain() {
                Some(_) => item.path(),
                None => files.last(),
            },
        });
        if let Some(room) = room.take() {
            none = Some(NoneBoots {
                first: failure.entry(),
                facts: write(room, &failure),
                tried: 0,
            });
        }
        if let Some(none) = &mut none {
            none.tried += 1;
        }
        match (next, none) {
            (Some(next), _) => item = next,
            (None, Some(none)) => return Err(none.into()),
            (None, None) => return Err(failure),
        }
        drop(failure);
        files.forget(memory);
        free.give_back(machine, memory);
    }
}

/// Is it a fault of the entry, so that another one may boot?
fn is_of_entry<'m, M: EntryMachine<'m>>(files: &Files<'m, M>, failure: &M::Failure) -> bool {
    files.answers() && failure.entry().code != catalogue::MEMORY_TOO_LITTLE.code
}

/// The line about an entry that is not booted.
struct NotBooted<'a> {
    item: Item<'a>,
    failure: &'a dyn Named,
    /// The file in use.
    file: &'a str,
}

impl fmt::Display for NotBooted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [" 9 entries  ", self.item.name(), " is not booted, "] {
            f.write_str(part)?;
        }
        Coded(self.failure).fmt(f)?;
        // Facts about a volume or about a kernel do not name the file.
        let names_file = [
            catalogue::ENTRY_NO_KERNEL.code,
            catalogue::ENTRY_NO_MODULE.code,
            catalogue::KERNEL_DAMAGED.code,
            catalogue::MODULE_DAMAGED.code,
        ];
        let code = self.failure.entry().code;
        if !names_file.contains(&code) {
            for part in [" (", self.file, ")"] {
                f.write_str(part)?;
            }
        }
        Ok(())
    }
}

/// The memory that was free at some time.
struct Free<'m>(Block<'m>);

/// Bytes of a range: first byte, and the byte behind it.
const RANGE: usize = 16;

impl<'m> Free<'m> {
    /// Notes what is free. `None`: there is not enough memory for that.
    fn note<M: Machine<'m>>(machine: M, memory: &mut MemoryMap) -> Option<Self> {
        // This allocation may split a range.
        let count = memory.free().count() + 1;
        let mut block = machine.high((count * RANGE) as u64, memory).ok()?;
        block.fill(0);
        let (ranges, _) = block.as_chunks_mut::<RANGE>();
        for (range, free) in ranges.iter_mut().zip(memory.free()) {
            let (start, end) = (free.start.as_u64(), free.end.as_u64());
            *range = (u128::from(start) | u128::from(end) << 64).to_le_bytes();
        }
        Some(Self(block))
    }

    /// Makes it free again. Nothing in it is used any more.
    fn give_back<M: Machine<'m>>(&self, machine: M, memory: &mut MemoryMap) {
        let (ranges, _) = self.0.as_chunks::<RANGE>();
        for range in ranges {
            let range = u128::from_le_bytes(*range);
            let (start, end) = (
                PhysAddr::new(range as u64),
                PhysAddr::new((range >> 64) as u64),
            );
            if start < end {
                machine.freed_within(start, end - start);
                memory.mark(start, end, MemoryKind::Usable);
            }
        }
    }
}

/// Writes the facts about a failure; as many as fit.
fn write<'m>(room: &'m mut [u8], failure: &dyn Named) -> &'m str {
    struct Room<'r>(&'r mut [u8], usize);
    impl fmt::Write for Room<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.1 += copy(
                text.as_bytes(),
                self.0.get_mut(self.1..).unwrap_or_default(),
            );
            Ok(())
        }
    }
    let mut out = Room(room, 0);
    // Writing never fails.
    let _ = write!(out, "{failure}");
    let Room(room, length) = out;
    let room: &'m [u8] = room;
    utf8(room.get(..length).unwrap_or_default()).0
}
