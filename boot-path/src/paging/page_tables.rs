//! Step 11: four-level page tables (SDM volume 3, section 4.5), filled with the
//! largest pages that fit.
//!
//! This code reaches the tables only through [`TablePages`], so it fills physical memory on the
//! machine and an array on the host.

use core::fmt;

use disk_layout::parts::Part;
use x86_64::structures::paging::PageTableFlags as Flags;

use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::machine::Run;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::layout::PAGE_SIZE;
use crate::memory::map::{MIB, MemoryKind, OutOfMemory, PHYSICAL_END, Region};

/// The address bits of an entry.
pub(super) const ADDRESS: u64 = PHYSICAL_END.as_u64() - PAGE_SIZE;

/// Binary logarithm of the size that one entry of the top table covers: 512 GiB.
const TOP: u32 = 39;

/// Binary logarithm of the size of the smallest page.
const SMALL: u32 = 12;

/// Physical memory below this address is mapped by small pages only: below 1 MiB, the memory types
/// of the fixed MTRRs change every few KiB, and a large page over several types is undefined (SDM
/// volume 3, "Large Page Size Considerations" in the chapter on MTRRs).
const SMALL_PAGES_BELOW: PhysAddr = PhysAddr::new(2 * MIB);

/// Pages of physical memory as page tables, which are identified by their addresses.
pub trait TablePages {
    /// Makes all entries of a page zero.
    fn clear(&mut self, table: PhysAddr);

    /// Reads an entry; `index` is below 512.
    fn read(&self, table: PhysAddr, index: usize) -> u64;

    /// Writes an entry; `index` is below 512.
    fn write(&mut self, table: PhysAddr, index: usize, value: u64);

    /// Writes a run of entries.
    ///
    /// # Errors
    /// How many entries are in front of the first one that is there already. Some of them may have
    /// been written.
    fn fill(&mut self, run: Run) -> Result<(), usize> {
        run.write_each(|index, entry| {
            let is_free = self.read(run.table, index) & Flags::PRESENT.bits() == 0;
            if is_free {
                self.write(run.table, index, entry);
            }
            is_free
        })
    }
}

/// The memory of page tables.
pub trait TableMemory {
    /// What the tables are kept in.
    type Pages: TablePages;

    /// Gets a new table: 4 KiB, aligned to 4 KiB, all zero.
    ///
    /// # Errors
    /// [`PagingError::OutOfMemory`].
    fn allocate(&mut self) -> Result<PhysAddr, PagingError>;

    /// The tables.
    fn pages(&mut self) -> &mut Self::Pages;
}

/// The CPU's optional paging features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Pages can be marked not executable (and EFER.NXE will be set).
    pub nx: bool,
    /// There are 1 GiB pages.
    pub gib_pages: bool,
}

/// A range of virtual addresses, and the physical memory behind it. All addresses and the size are
/// multiples of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First virtual address.
    pub virtual_start: VirtAddr,
    /// First physical address.
    pub physical_start: PhysAddr,
    /// Length in bytes; 0 maps nothing.
    pub size: u64,
    /// May be written.
    pub writable: bool,
    /// May be executed.
    pub executable: bool,
    /// A framebuffer: writes are combined, in the PAT that kernels of the Limine protocol get. All
    /// other memory is write-back.
    pub write_combining: bool,
}

/// Why something cannot be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagingError {
    /// This address is already mapped.
    Conflict(VirtAddr),
    /// The mapping from this address on leaves its half of the canonical address space, or the
    /// physical one.
    OutOfRange(VirtAddr),
    /// The mapping from this address on does not consist of whole pages.
    Unaligned(VirtAddr),
    /// The mapping from this address on would be writable and executable.
    WritableCode(VirtAddr),
    /// There is no memory for another table.
    OutOfMemory(OutOfMemory),
}

impl From<OutOfMemory> for PagingError {
    fn from(error: OutOfMemory) -> Self {
        PagingError::OutOfMemory(error)
    }
}

impl Named for PagingError {
    fn entry(&self) -> &'static Entry {
        match self {
            PagingError::Conflict(_) => &catalogue::PAGING_CONFLICT,
            PagingError::OutOfRange(_) | PagingError::Unaligned(_) => &catalogue::PAGING_RANGE,
            PagingError::WritableCode(_) => &catalogue::KERNEL_WRITABLE_CODE,
            PagingError::OutOfMemory(error) => error.entry(),
        }
    }

    fn part(&self) -> Option<Part> {
        Some(Part::Texts)
    }
}

impl fmt::Display for PagingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            PagingError::Conflict(address)
            | PagingError::OutOfRange(address)
            | PagingError::Unaligned(address)
            | PagingError::WritableCode(address) => {
                facts(f, "virtual address 0x################", &[address.as_u64()])
            }
            PagingError::OutOfMemory(error) => error.fmt(f),
        }
    }
}

/// Page tables that are being filled.
#[derive(Debug)]
pub struct PageTables<M> {
    memory: M,
    capabilities: Capabilities,
    root: PhysAddr,
    global: bool,
    writable_code: bool,
}

/// The position of the bit "PAT" in an entry for a small page and for a large one (SDM volume 3,
/// section 4.9.2). Together with PWT, it selects entry 5 of the PAT.
const PAT_SMALL: u32 = 7;
const PAT_LARGE: u32 = 12;

/// The part of a mapping that is still to be mapped.
struct Rest {
    virtual_start: VirtAddr,
    physical_start: PhysAddr,
    size: u64,
    flags: u64,
    /// The bit "PAT".
    pat: u64,
}

impl Rest {
    /// The entry for its first page, of `1 << shift` bytes.
    fn page_entry(&self, shift: u32) -> u64 {
        let kind = match shift {
            SMALL => self.pat << PAT_SMALL,
            _ => self.pat << PAT_LARGE | Flags::HUGE_PAGE.bits(),
        };
        self.physical_start.as_u64() | self.flags | kind
    }

    fn advance(&mut self, bytes: u64) {
        // At the very end of the address space this wraps, with nothing left to map.
        self.virtual_start = self.virtual_start.wrapping_add(bytes);
        self.physical_start += bytes;
        self.size -= bytes;
    }
}

impl<M: TableMemory> PageTables<M> {
    /// Tables that map nothing.
    ///
    /// # Errors
    /// [`PagingError::OutOfMemory`] when there is no memory for the top table.
    pub fn new(mut memory: M, capabilities: Capabilities) -> Result<Self, PagingError> {
        let root = memory.allocate()?;
        Ok(PageTables {
            memory,
            capabilities,
            root,
            global: false,
            writable_code: false,
        })
    }

    /// The top table: what CR3 gets.
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// Whether pages in the higher half that are mapped from now on are global, that is, stay in
    /// the TLB when CR3 changes. Pages in the lower half never are, because it belongs to
    /// processes.
    pub fn set_global(&mut self, global: bool) {
        self.global = global;
    }

    /// Whether mappings may be writable and executable from now on.
    pub fn set_writable_code(&mut self, allowed: bool) {
        self.writable_code = allowed;
    }

    /// The memory that the tables are in.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Gives the memory back; the tables stay in it.
    pub fn into_memory(self) -> M {
        self.memory
    }

    /// Maps a range, by the largest pages that its addresses and the CPU allow.
    ///
    /// # Errors
    /// All of [`PagingError`]. After [`PagingError::Conflict`] and [`PagingError::OutOfMemory`] a
    /// part of the range may be mapped.
    pub fn map(&mut self, mapping: &Mapping) -> Result<(), PagingError> {
        let &Mapping {
            virtual_start,
            physical_start,
            size,
            writable,
            executable,
            write_combining,
        } = mapping;
        if size == 0 {
            return Ok(());
        }
        if (virtual_start.as_u64() | physical_start.as_u64() | size) & (PAGE_SIZE - 1) != 0 {
            return Err(PagingError::Unaligned(virtual_start));
        }
        let virtual_last = virtual_start.checked_add(size - 1);
        let physical_end = physical_start.checked_add(size);
        // A range that crosses from one half to the other would exceed the physical address space.
        let in_range = virtual_start.is_canonical()
            && virtual_last.is_some_and(VirtAddr::is_canonical)
            && physical_end.is_some_and(|end| end <= PHYSICAL_END);
        if !in_range {
            return Err(PagingError::OutOfRange(virtual_start));
        }
        if writable && executable && !self.writable_code {
            return Err(PagingError::WritableCode(virtual_start));
        }

        let mut flags = Flags::PRESENT;
        flags.set(Flags::WRITABLE, writable);
        flags.set(Flags::NO_EXECUTE, !executable && self.capabilities.nx);
        flags.set(Flags::WRITE_THROUGH, write_combining);
        flags.set(Flags::GLOBAL, self.global && virtual_start.is_upper_half());
        let mut rest = Rest {
            virtual_start,
            physical_start,
            size,
            flags: flags.bits(),
            pat: write_combining.into(),
        };
        self.fill(self.root, TOP, &mut rest)
    }

    /// Maps `rest` as far as one table reaches, whose entries cover `1 << shift` bytes each. Calls
    /// itself once for each of the four levels.
    fn fill(&mut self, table: PhysAddr, shift: u32, rest: &mut Rest) -> Result<(), PagingError> {
        let present = Flags::PRESENT.bits();
        let mut index = (rest.virtual_start.as_u64() >> shift) as usize % 512;
        while index < 512 && rest.size != 0 {
            if self.fits(shift, rest) {
                // There are thousands of these entries.
                let count = (rest.size >> shift).min(512 - index as u64);
                let run = Run {
                    table,
                    index,
                    count: count as usize,
                    entry: rest.page_entry(shift),
                    step: 1 << shift,
                };
                self.memory.pages().fill(run).map_err(|before| {
                    PagingError::Conflict(rest.virtual_start + before as u64 * run.step)
                })?;
                rest.advance(count << shift);
                index += run.count;
                continue;
            }
            let entry = self.memory.pages().read(table, index);
            let next = if entry & present == 0 {
                let next = self.memory.allocate()?;
                // Grants all permissions: the last entry of a walk decides.
                let link = next.as_u64() | (Flags::PRESENT | Flags::WRITABLE).bits();
                self.memory.pages().write(table, index, link);
                next
            } else if entry & Flags::HUGE_PAGE.bits() != 0 {
                return Err(PagingError::Conflict(rest.virtual_start));
            } else {
                PhysAddr::new(entry & ADDRESS)
            };
            self.fill(next, shift - 9, rest)?;
            index += 1;
        }
        Ok(())
    }

    /// Can `rest` begin with a page of `1 << shift` bytes?
    fn fits(&self, shift: u32, rest: &Rest) -> bool {
        let page = 1_u64 << shift;
        shift == SMALL
            || (shift < 30 || shift == 30 && self.capabilities.gib_pages)
                && rest.size >= page
                && (rest.virtual_start.as_u64() | rest.physical_start.as_u64()) & (page - 1) == 0
                && rest.physical_start >= SMALL_PAGES_BELOW
    }
}

/// The mappings that show all RAM, the first MiB and the framebuffer from `base` on, writable and
/// not executable. `regions` are those of a finished [`MemoryMap`](crate::memory::map::MemoryMap).
/// Adjacent regions become one mapping, so that large pages can cross their borders. An address
/// that does not fit behind `base` becomes one that [`PageTables::map`] refuses.
pub fn physical_map(regions: &[Region], base: VirtAddr) -> impl Iterator<Item = Mapping> {
    let mut mapped = regions
        .iter()
        .filter(|region| !matches!(region.kind, MemoryKind::Reserved | MemoryKind::Bad));
    let mut next = Some((PhysAddr::new(0), PhysAddr::new(MIB)));
    core::iter::from_fn(move || {
        let (start, mut end) = next.take()?;
        for region in mapped.by_ref() {
            if region.start > end {
                next = Some((region.start, region.end));
                break;
            }
            end = end.max(region.end);
        }
        Some(Mapping {
            virtual_start: base.saturating_add(start.as_u64()),
            physical_start: start,
            size: end - start,
            writable: true,
            executable: false,
            write_combining: false,
        })
    })
}
