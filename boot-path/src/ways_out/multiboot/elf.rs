//! Step 10, for other protocols than the loader's own: a kernel that goes where its file says in
//! physical memory, by the `p_paddr` of an ELF32 or ELF64 file.
//!
//! [`read`] makes a [`PhysicalImage`] of the headers: the segments, none of which overlaps another
//! or leaves the file or the first 4 GiB. [`PhysicalImage::place`] takes the memory, all of which has
//! to be free: who is in the way is named. [`PhysicalImage::place_within`] moves it, for a kernel that
//! can run elsewhere.
//!
//! Sources: System V ABI, chapters 4 and 5, and its i386 and AMD64 supplements.

use core::fmt;

use arrayvec::ArrayVec;
use elf::abi;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::disk::stream::Range;
use crate::errors::catalogue::{self, Entry, Named};
use crate::errors::text::facts;
use crate::files::file_bytes::FileBytes;
use crate::kernel::image::{
    FileHeader, HEADER_BYTES, KernelError, MAX_PROGRAM_HEADERS, MAX_TABLE_BYTES, ProgramHeader,
    check_in_file,
};
use crate::memory::layout::{EARLY_REACH, PAGE_SIZE};
use crate::memory::map::{MIB, MemoryKind, MemoryMap, OutOfMemory, Region, Request};

/// The most PT_LOAD segments (with bytes in memory) that a kernel may have.
pub const MAX_SEGMENTS: usize = 32;

/// The most sections that a kernel may have: their number is 16 bits, and the last 256 are special.
pub const MAX_SECTIONS: u16 = 0xFF00;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FileHeader32 {
    ident: [u8; abi::EI_NIDENT],
    kind: U16,
    machine: U16,
    version: U32,
    entry: U32,
    program_headers: U32,
    section_headers: U32,
    flags: U32,
    header_size: U16,
    program_header_size: U16,
    program_header_count: U16,
    section_header_size: U16,
    section_header_count: U16,
    section_names: U16,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ProgramHeader32 {
    kind: U32,
    offset: U32,
    virtual_address: U32,
    physical_address: U32,
    file_size: U32,
    memory_size: U32,
    flags: U32,
    alignment: U32,
}

/// The beginning of a section header, ELF32 and ELF64: all that is looked at.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SectionHeader<W> {
    name: U32,
    kind: U32,
    flags: W,
    address: W,
    offset: W,
    size: W,
}

const SECTION_HEADER_BYTES_32: u16 = 40;
const SECTION_HEADER_BYTES_64: u16 = 64;

const _: () = assert!(size_of::<FileHeader32>() == 52 && size_of::<ProgramHeader32>() == 32);

/// Why there is no memory where the kernel has to be. Addresses are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum MemoryConflict {
    /// It would end behind 4 GiB, where 32-bit code does not reach.
    Beyond { segment: u16, start: u64, size: u64 },
    /// Something else is there; `None`: there is no RAM.
    Taken {
        segment: u16,
        start: u64,
        end: u64,
        by: Option<Region>,
    },
    /// A kernel that can be moved fits nowhere between its limits.
    NoRoom {
        size: u64,
        min: u64,
        max: u64,
        largest: u64,
    },
}

impl Named for MemoryConflict {
    fn entry(&self) -> &'static Entry {
        &catalogue::KERNEL_MEMORY
    }
}

impl fmt::Display for MemoryConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Beyond {
                segment,
                start,
                size,
            } => facts(
                f,
                "segment # at 0x#, 0x# bytes: beyond 4 GiB",
                &[segment.into(), start, size],
            ),
            Self::Taken {
                segment,
                start,
                end,
                by,
            } => {
                facts(f, "segment #, 0x# to 0x#: ", &[segment.into(), start, end])?;
                let Some(by) = by else {
                    return f.write_str("no RAM");
                };
                facts(f, "0x# to 0x# is ", &[by.start, by.end])?;
                f.write_str(match by.kind {
                    MemoryKind::Usable => "free",
                    MemoryKind::Reclaimable => "the loader's",
                    MemoryKind::Kernel => "the kernel's",
                    MemoryKind::Module => "a module's",
                    MemoryKind::AcpiReclaimable | MemoryKind::AcpiNvs => "ACPI's",
                    MemoryKind::Framebuffer => "the screen's",
                    MemoryKind::Reserved => "reserved",
                    MemoryKind::Bad => "faulty",
                })
            }
            Self::NoRoom {
                size,
                min,
                max,
                largest,
            } => facts(
                f,
                "0x# bytes between 0x# and 0x#, free in one piece: 0x#",
                &[size, min, max, largest],
            ),
        }
    }
}

impl core::error::Error for MemoryConflict {}

/// Bytes of the file and where they go.
///
/// Having one from a [`PhysicalImage`] tells that `file_size <= memory_size`, that its bytes are
/// within the file, and that it ends at 4 GiB at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First byte in the file.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// First byte in memory, physical.
    pub start: u64,
    /// Bytes in memory, never 0; what goes beyond `file_size` is zero.
    pub memory_size: u64,
    /// Number of its program header, from 0.
    pub number: u16,
}

impl Segment {
    /// The byte behind its last one.
    pub const fn end(&self) -> u64 {
        self.start + self.memory_size
    }

    const fn first_page(&self) -> u64 {
        self.start & !(PAGE_SIZE - 1)
    }

    const fn page_end(&self) -> u64 {
        self.end().next_multiple_of(PAGE_SIZE)
    }
}

/// Where the section headers are in the file, all of which are within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionTable {
    /// First byte in the file.
    pub offset: u64,
    /// Bytes of a header: 40 (ELF32) or 64 (ELF64).
    pub entry_size: u16,
    /// How many there are, never 0.
    pub count: u16,
    /// Number of the section with the names of the sections.
    pub names: u16,
}

/// Where a kernel that can be moved may be. Addresses are physical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lowest address.
    pub min: u64,
    /// The byte behind its last one is here at most.
    pub max: u64,
    /// The address is a multiple of it; a power of two.
    pub align: u64,
    /// Which of the possible addresses.
    pub preference: Preference,
}

/// Which address a kernel that can be moved would like best.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// None: it stays where it was linked if that is possible, else the lowest one from 1 MiB on.
    None,
    /// The lowest one.
    Lowest,
    /// The highest one.
    Highest,
}

/// A kernel: what goes where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalImage {
    /// By address.
    segments: ArrayVec<Segment, MAX_SEGMENTS>,
    entry: u64,
    sections: Option<SectionTable>,
    is_64_bit: bool,
}

impl PhysicalImage {
    /// A kernel of one piece, which is entered at this physical address.
    ///
    /// # Errors
    /// 10E, 10G, 10J, 10U.
    pub fn one_piece<E: From<KernelError> + From<MemoryConflict>>(
        segment: Segment,
        entry: u64,
        file_size: u64,
    ) -> Result<Self, E> {
        let mut image = Self::empty(false);
        image.add::<E>(segment, file_size)?;
        image.enter_at(entry)?;
        Ok(image)
    }

    fn empty(is_64_bit: bool) -> Self {
        Self {
            segments: ArrayVec::new(),
            entry: 0,
            sections: None,
            is_64_bit,
        }
    }

    /// Adds a segment in its place; one without memory is left out.
    fn add<E: From<KernelError> + From<MemoryConflict>>(
        &mut self,
        segment: Segment,
        file_size: u64,
    ) -> Result<(), E> {
        let number = segment.number;
        if segment.memory_size < segment.file_size {
            Err(KernelError::Sizes {
                segment: number,
                file_size: segment.file_size,
                memory_size: segment.memory_size,
            })?;
        }
        if segment.memory_size == 0 {
            return Ok(());
        }
        check_in_file(segment.file_offset, segment.file_size, file_size)?;
        let end = segment.start.checked_add(segment.memory_size);
        if end.is_none_or(|end| end > EARLY_REACH) {
            Err(MemoryConflict::Beyond {
                segment: number,
                start: segment.start,
                size: segment.memory_size,
            })?;
        }
        let index = self
            .segments
            .partition_point(|other| other.start < segment.start);
        let neighbours = [index.checked_sub(1), Some(index)];
        let neighbours = neighbours.into_iter().flatten();
        for other in neighbours.filter_map(|index| self.segments.get(index)) {
            if other.start < segment.end() && segment.start < other.end() {
                Err(KernelError::Overlap {
                    first: other.number,
                    second: number,
                    address: other.start.max(segment.start),
                })?;
            }
        }
        if self.segments.try_insert(index, segment).is_err() {
            Err(KernelError::TooManySegments { segment: number })?;
        }
        Ok(())
    }

    /// Lets it be entered at another physical address than its headers say.
    ///
    /// # Errors
    /// 10G, 10J.
    pub fn enter_at(&mut self, entry: u64) -> Result<(), KernelError> {
        if self.segments.is_empty() {
            return Err(KernelError::NoLoad);
        }
        if !self
            .segments
            .iter()
            .any(|segment| (segment.start..segment.end()).contains(&entry))
        {
            return Err(KernelError::Entry { entry });
        }
        self.entry = entry;
        Ok(())
    }

    /// The segments, by address; there is at least one.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Physical address of the entry point, which is in a segment.
    pub const fn entry(&self) -> u64 {
        self.entry
    }

    /// The section headers, if it has some.
    pub const fn sections(&self) -> Option<SectionTable> {
        self.sections
    }

    /// Is it an ELF64 file?
    pub const fn is_64_bit(&self) -> bool {
        self.is_64_bit
    }

    /// The first byte in memory, physical.
    pub fn start(&self) -> u64 {
        self.segments.first().map_or(0, |segment| segment.start)
    }

    /// The byte behind the last one in memory.
    pub fn end(&self) -> u64 {
        // They are sorted and do not overlap.
        self.segments.last().map_or(0, Segment::end)
    }

    /// Bytes that come from the file.
    pub fn file_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.file_size).sum()
    }

    /// Takes the memory of the segments.
    ///
    /// # Errors
    /// 10U, with nothing taken.
    pub fn place(&self, memory: &mut MemoryMap) -> Result<(), MemoryConflict> {
        for segment in &self.segments {
            let mut next = segment.first_page();
            for region in memory.regions() {
                if region.end <= next || next >= segment.page_end() {
                    continue;
                }
                if region.start > next {
                    break; // a gap
                }
                if region.kind != MemoryKind::Usable {
                    return Err(segment.taken(Some(*region)));
                }
                next = region.end;
            }
            if next < segment.page_end() {
                return Err(segment.taken(None));
            }
        }
        for segment in &self.segments {
            memory.mark(segment.start, segment.end(), MemoryKind::Kernel);
        }
        Ok(())
    }

    /// Moves it to where it may be, and takes the memory, gaps between segments included. Returns
    /// the new address of its first byte.
    ///
    /// # Errors
    /// 10U, with nothing taken and nothing moved.
    pub fn place_within(
        &mut self,
        limits: &Limits,
        memory: &mut MemoryMap,
    ) -> Result<u64, MemoryConflict> {
        let (linked, size) = (self.start(), self.end() - self.start());
        let max = limits.max.min(EARLY_REACH);
        let mut request = Request {
            size,
            align: limits.align.max(PAGE_SIZE),
            offset: 0,
            min: limits.min,
            max,
            kind: MemoryKind::Kernel,
        };
        let as_linked = limits.preference == Preference::None
            && linked >= limits.min
            && self.end() <= max
            && linked.is_multiple_of(limits.align.max(1))
            && memory.allocate_at(linked, size, MemoryKind::Kernel);
        let base = if as_linked {
            Ok(linked)
        } else if limits.preference == Preference::Highest {
            memory.allocate_highest(&request)
        } else {
            if limits.preference == Preference::None {
                request.min = request.min.max(MIB);
            }
            memory.allocate(&request)
        };
        let base = base.map_err(|OutOfMemory { largest, .. }| MemoryConflict::NoRoom {
            size,
            min: limits.min,
            max: limits.max,
            largest,
        })?;
        for segment in &mut self.segments {
            segment.start = base + (segment.start - linked);
        }
        self.entry = base + (self.entry - linked);
        Ok(base)
    }

    /// What the segments get from the kernel's file. Those that are left over are empty.
    pub fn reads(&self) -> [Range; MAX_SEGMENTS] {
        let mut ranges = [Range {
            file_offset: 0,
            length: 0,
            destination: 0,
        }; MAX_SEGMENTS];
        for (range, segment) in ranges.iter_mut().zip(&self.segments) {
            *range = Range {
                file_offset: segment.file_offset,
                length: segment.file_size,
                destination: segment.start,
            };
        }
        ranges
    }

    /// Calls `zero` with start and end (physical) of what is zero in each segment: nothing, where
    /// the end is the start.
    pub fn zeroes(&self, mut zero: impl FnMut(u64, u64)) {
        for segment in &self.segments {
            zero(segment.start + segment.file_size, segment.end());
        }
    }
}

impl Segment {
    const fn taken(&self, by: Option<Region>) -> MemoryConflict {
        MemoryConflict::Taken {
            segment: self.number,
            start: self.start,
            end: self.end(),
            by,
        }
    }
}

/// What both classes say in their file headers.
struct Headers {
    is_64_bit: bool,
    entry: u64,
    offset: u64,
    count: u16,
    entry_size: u16,
    sections: SectionTable,
}

/// A PT_LOAD of either class, and its virtual address.
struct Load {
    kind: u32,
    virtual_start: u64,
    segment: Segment,
}

/// Reads and checks the headers of an ELF file of `file_size` bytes. `read_at` reads bytes of the
/// file from an offset on, and returns how many there were.
///
/// The entry point is in a segment by its virtual address, and its place in physical memory is what
/// counts; where it is in none, it may be a physical address already.
///
/// # Errors
/// 10A to 10H, 10J, 10U, and those of `read_at`.
pub fn read<E: From<KernelError> + From<MemoryConflict>>(
    file_size: u64,
    mut read_at: impl FnMut(u64, &mut [u8]) -> Result<usize, E>,
) -> Result<PhysicalImage, E> {
    let mut header = [0; HEADER_BYTES];
    let length = read_at(0, &mut header)?;
    let headers = file_header(header.get(..length).unwrap_or_default(), file_size)?;

    let mut table = [0; MAX_TABLE_BYTES];
    let bytes = usize::from(headers.count) * usize::from(headers.entry_size);
    check_in_file(headers.offset, bytes as u64, file_size)?;
    let table = table.get_mut(..bytes).unwrap_or_default();
    read_at(headers.offset, table)?;

    let mut image = PhysicalImage::empty(headers.is_64_bit);
    let mut entry = None;
    let rows = table.chunks_exact(usize::from(headers.entry_size));
    for (number, bytes) in (0..).zip(rows) {
        let Some(load) = program_header(bytes, headers.is_64_bit, number) else {
            continue;
        };
        if load.kind != abi::PT_LOAD {
            continue;
        }
        image.add::<E>(load.segment, file_size)?;
        let distance = headers.entry.wrapping_sub(load.virtual_start);
        if distance < load.segment.memory_size {
            entry = entry.or(Some(load.segment.start + distance));
        }
    }
    image.enter_at(entry.unwrap_or(headers.entry))?;

    let sections = headers.sections;
    if sections.count != 0 && sections.offset != 0 {
        let size = sections.entry_size;
        let right = match headers.is_64_bit {
            true => SECTION_HEADER_BYTES_64,
            false => SECTION_HEADER_BYTES_32,
        };
        if size != right || sections.count > MAX_SECTIONS {
            Err(KernelError::HeaderSize { size })?;
        }
        let bytes = u64::from(sections.count) * u64::from(size);
        check_in_file(sections.offset, bytes, file_size)?;
        image.sections = Some(sections);
    }
    Ok(image)
}

fn file_header(bytes: &[u8], file_size: u64) -> Result<Headers, KernelError> {
    if !bytes.starts_with(&abi::ELFMAGIC) {
        return Err(KernelError::NotElf);
    }
    let truncated = |needed: usize| KernelError::Truncated {
        needed: needed as u64,
        present: file_size,
    };
    let Ok((header, _)) = FileHeader32::ref_from_prefix(bytes) else {
        return Err(truncated(size_of::<FileHeader32>()));
    };
    let (class, encoding) = (header.ident[abi::EI_CLASS], header.ident[abi::EI_DATA]);
    let is_64_bit = class == abi::ELFCLASS64;
    if !is_64_bit && class != abi::ELFCLASS32 || encoding != abi::ELFDATA2LSB {
        return Err(KernelError::Class { class, encoding });
    }
    // These are in the same place in both classes.
    let machine = header.machine.get();
    if machine != abi::EM_X86_64 && machine != abi::EM_386 {
        return Err(KernelError::Machine { machine });
    }
    let kind = header.kind.get();
    if kind != abi::ET_EXEC && kind != abi::ET_DYN {
        return Err(KernelError::Type { kind });
    }
    for version in [header.ident[abi::EI_VERSION].into(), header.version.get()] {
        if version != u32::from(abi::EV_CURRENT) {
            return Err(KernelError::Version { version });
        }
    }
    let (headers, right) = if is_64_bit {
        let Ok((header, _)) = FileHeader::ref_from_prefix(bytes) else {
            return Err(truncated(HEADER_BYTES));
        };
        let headers = Headers {
            is_64_bit,
            entry: header.entry.get(),
            offset: header.program_headers.get(),
            count: header.program_header_count.get(),
            entry_size: header.program_header_size.get(),
            sections: SectionTable {
                offset: header.section_headers.get(),
                entry_size: header.section_header_size.get(),
                count: header.section_header_count.get(),
                names: header.section_names.get(),
            },
        };
        (headers, size_of::<ProgramHeader>())
    } else {
        let headers = Headers {
            is_64_bit,
            entry: header.entry.get().into(),
            offset: header.program_headers.get().into(),
            count: header.program_header_count.get(),
            entry_size: header.program_header_size.get(),
            sections: SectionTable {
                offset: header.section_headers.get().into(),
                entry_size: header.section_header_size.get(),
                count: header.section_header_count.get(),
                names: header.section_names.get(),
            },
        };
        (headers, size_of::<ProgramHeader32>())
    };
    let (count, size) = (headers.count, headers.entry_size);
    if count == 0 {
        return Err(KernelError::NoLoad);
    }
    if usize::from(size) != right {
        return Err(KernelError::HeaderSize { size });
    }
    if usize::from(count) > MAX_PROGRAM_HEADERS {
        return Err(KernelError::TooManyHeaders { count });
    }
    Ok(headers)
}

fn program_header(bytes: &[u8], is_64_bit: bool, number: u16) -> Option<Load> {
    if is_64_bit {
        let (header, _) = ProgramHeader::ref_from_prefix(bytes).ok()?;
        return Some(Load {
            kind: header.kind.get(),
            virtual_start: header.virtual_address.get(),
            segment: Segment {
                file_offset: header.offset.get(),
                file_size: header.file_size.get(),
                start: header.physical_address.get(),
                memory_size: header.memory_size.get(),
                number,
            },
        });
    }
    let (header, _) = ProgramHeader32::ref_from_prefix(bytes).ok()?;
    Some(Load {
        kind: header.kind.get(),
        virtual_start: header.virtual_address.get().into(),
        segment: Segment {
            file_offset: header.offset.get().into(),
            file_size: header.file_size.get().into(),
            start: header.physical_address.get().into(),
            memory_size: header.memory_size.get().into(),
            number,
        },
    })
}

/// What of a file is to be loaded for its sections: first byte, and the one behind the last.
pub type Span = (u64, u64);

/// The part of the file in which all those sections lie that are not in memory already: symbols,
/// names, debug information. `headers` are the section headers. `None`: there are none.
///
/// # Errors
/// 10E.
pub fn unloaded_sections(
    headers: &[u8],
    entry_size: u16,
    file_size: u64,
) -> Result<Option<Span>, KernelError> {
    let mut span: Option<Span> = None;
    for bytes in headers.chunks_exact(usize::from(entry_size).max(1)) {
        let Some((offset, size)) = unloaded_section(bytes, entry_size) else {
            continue;
        };
        check_in_file(offset, size, file_size)?;
        let (start, end) = span.unwrap_or((offset, offset));
        span = Some((start.min(offset), end.max(offset + size)));
    }
    Ok(span)
}

/// Checks what [`unloaded_sections`] does, for a file that nobody loads.
///
/// # Errors
/// 10E.
pub fn check_sections(table: SectionTable, file: &mut impl FileBytes) -> Result<(), KernelError> {
    let SectionTable {
        offset,
        count,
        entry_size,
        ..
    } = table;
    let file_size = file.size();
    for number in 0..u64::from(count) {
        let mut header = [0; SECTION_HEADER_BYTES_64 as usize];
        let header = header.get_mut(..entry_size.into()).unwrap_or_default();
        file.read_at(offset + number * u64::from(entry_size), header);
        unloaded_sections(header, entry_size, file_size)?;
    }
    Ok(())
}

/// Enters into the section headers that the file from `start` on was loaded to `address`.
pub fn place_sections(headers: &mut [u8], entry_size: u16, start: u64, address: u64) {
    for bytes in headers.chunks_exact_mut(usize::from(entry_size).max(1)) {
        let Some((offset, _)) = unloaded_section(bytes, entry_size) else {
            continue;
        };
        let address = address.wrapping_add(offset.wrapping_sub(start));
        if entry_size == SECTION_HEADER_BYTES_64 {
            if let Ok((header, _)) = SectionHeader::<U64>::mut_from_prefix(bytes) {
                header.address.set(address);
            }
        } else if let Ok((header, _)) = SectionHeader::<U32>::mut_from_prefix(bytes) {
            header.address.set(address as u32);
        }
    }
}

/// Offset and size in the file of a section that has bytes there and no address in memory.
fn unloaded_section(header: &[u8], entry_size: u16) -> Option<(u64, u64)> {
    let (kind, address, offset, size) = if entry_size == SECTION_HEADER_BYTES_64 {
        let (header, _) = SectionHeader::<U64>::ref_from_prefix(header).ok()?;
        let [address, offset, size] = [header.address, header.offset, header.size].map(U64::get);
        (header.kind.get(), address, offset, size)
    } else {
        let (header, _) = SectionHeader::<U32>::ref_from_prefix(header).ok()?;
        let words = [header.address, header.offset, header.size];
        let [address, offset, size] = words.map(|word| word.get().into());
        (header.kind.get(), address, offset, size)
    };
    let unloaded = kind != abi::SHT_NULL && kind != abi::SHT_NOBITS && address == 0 && size != 0;
    unloaded.then_some((offset, size))
}
