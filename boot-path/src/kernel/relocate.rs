//! Relocation: adapts a position-independent kernel to the addresses where it now lies.
//!
//! A static PIE holds addresses (in tables of pointers, vtables and the like) as if it lay at
//! address 0, and a list of their places. Two forms of the list are common: `DT_RELA`, 24 bytes for
//! each address (R_X86_64_RELATIVE), and `DT_RELR`, a bitmap. A shared object also refers to its
//! own symbols by number (R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT). The loader has no
//! other object to find a symbol in: an undefined one is 0 if it is weak, and refused if it is not.
//!
//! Sources: System V ABI, chapters 4 (symbol table) and 5 (dynamic linking; `DT_RELR`), and its
//! AMD64 supplement, 4.4.

use elf::abi;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::files::file_bytes::WINDOW;
use crate::kernel::image::{AddressRange, KernelError, KernelImage, Segment, Table, segment_at};
use crate::memory::address::VirtAddr;

// The list in `elf` is older than these.
const DT_RELRSZ: i64 = 35;
const DT_RELR: i64 = 36;
const DT_RELRENT: i64 = 37;

/// A kernel whose segments are in memory. Segments are identified by their index in
/// [`KernelImage::segments`].
pub trait LoadedKernel {
    /// The bytes of a segment that came from the file: `file_size` bytes.
    fn bytes(&self, segment: usize) -> &[u8];

    /// All of a segment, its zeroed part included: `memory_size` bytes.
    fn memory(&mut self, segment: usize) -> Option<&mut [u8]>;
}

/// A kernel whose segments are in memory, or still in the file.
pub trait SegmentBytes {
    /// The bytes of a segment that come from the file, from an offset in the segment on:
    /// [`WINDOW`] of them or more, or all that are left.
    fn window(&mut self, segment: usize, offset: u64) -> &[u8];

    /// All of a segment, its zeroed part included: `memory_size` bytes. `None`: the relocations are
    /// only to be checked, not applied.
    fn memory(&mut self, segment: usize) -> Option<&mut [u8]>;
}

fn rest<K: LoadedKernel>(kernel: &K, segment: usize, offset: u64) -> &[u8] {
    let rest = kernel.bytes(segment).get(offset as usize..);
    rest.unwrap_or_default()
}

impl<K: LoadedKernel> SegmentBytes for &K {
    fn window(&mut self, segment: usize, offset: u64) -> &[u8] {
        rest(*self, segment, offset)
    }

    fn memory(&mut self, _: usize) -> Option<&mut [u8]> {
        None
    }
}

impl<K: LoadedKernel> SegmentBytes for &mut K {
    fn window(&mut self, segment: usize, offset: u64) -> &[u8] {
        rest(*self, segment, offset)
    }

    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        (**self).memory(segment)
    }
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Dyn {
    tag: zerocopy::little_endian::I64,
    value: U64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Rela {
    offset: U64,
    info: U64,
    addend: U64,
}

/// An entry of the symbol table.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Symbol {
    name: U32,
    info: u8,
    other: u8,
    section: U16,
    value: U64,
    size: U64,
}

const _: () = assert!(size_of::<Symbol>() == 24);

impl Symbol {
    const fn binding(&self) -> u8 {
        self.info >> 4
    }

    const fn kind(&self) -> u8 {
        self.info & 0xF
    }
}

/// Writes every address that the kernel's dynamic section lists, as it is with `slide`. Returns
/// their number, 0 for a kernel without a dynamic section.
///
/// # Errors
/// 10F for tables that are not among the loaded bytes or are malformed, 10M for other relocations
/// and for symbols that are not in the kernel, 10O for a kernel that needs shared libraries. The
/// memory is then in an undefined state; nothing outside the segments was touched.
#[inline(never)]
pub fn relocate(
    image: &KernelImage,
    mut memory: impl SegmentBytes,
    slide: u64,
) -> Result<u64, KernelError> {
    let Some(dynamic) = image.dynamic() else {
        return Ok(0);
    };
    let tables = Tables::read(image, &mut memory, dynamic)?;
    let mut kernel = Relocator {
        segments: image.segments(),
        memory,
        slide,
        symbols: tables.symbols,
        count: 0,
    };
    // RELR adds to the word in memory, RELA sets it: an address in both comes out right.
    kernel.relr(tables.relr)?;
    kernel.rela(tables.rela)?;
    kernel.rela(tables.jump_relocations)?;
    Ok(kernel.count)
}

/// Bytes of a table: segment, offset and size.
#[derive(Clone, Copy, Default)]
struct Location {
    segment: usize,
    offset: usize,
    size: usize,
}

/// Finds bytes that came from the file.
fn locate(
    segments: &[Segment],
    kind: Table,
    AddressRange {
        start: address,
        size,
    }: AddressRange,
) -> Result<Location, KernelError> {
    if let Some((segment, s)) = segment_at(segments, address) {
        let offset = address - s.virtual_start;
        if offset <= s.file_size
            && size <= s.file_size - offset
            && let (Ok(offset), Ok(size)) = (offset.try_into(), size.try_into())
        {
            return Ok(Location {
                segment,
                offset,
                size,
            });
        }
    }
    Err(KernelError::NotLoaded {
        kind,
        address,
        size,
    })
}

/// The entries of a table from `position` (in bytes) on, at most [`BATCH`] of them.
fn entries<T: FromBytes + Immutable + KnownLayout + Unaligned>(
    memory: &mut impl SegmentBytes,
    table: Location,
    position: usize,
) -> &[T] {
    const { assert!(BATCH * size_of::<T>() <= WINDOW) };
    let count = BATCH.min((table.size - position) / size_of::<T>());
    let bytes = memory.window(table.segment, (table.offset + position) as u64);
    <[T]>::ref_from_prefix_with_elems(bytes, count).map_or(&[], |(entries, _)| entries)
}

/// Address, size and entry size of a table, as far as the dynamic section names them.
#[derive(Clone, Copy, Default)]
struct Described {
    address: Option<u64>,
    size: Option<u64>,
    entry_size: Option<u64>,
}

impl Described {
    fn find(
        self,
        segments: &[Segment],
        kind: Table,
        entry_size: usize,
    ) -> Result<Location, KernelError> {
        if self.size == Some(0) || (self.address, self.size) == (None, None) {
            return Ok(Location::default());
        }
        match self {
            Self {
                address: Some(start),
                size: Some(size),
                entry_size: Some(given),
            } if given == entry_size as u64 && size.is_multiple_of(given) => {
                let start = VirtAddr::new(start);
                locate(segments, kind, AddressRange { start, size })
            }
            _ => Err(KernelError::TableSize {
                kind,
                size: self.size.unwrap_or(0),
                entry_size: self.entry_size.unwrap_or(0),
            }),
        }
    }

    /// The start of the symbol table. Kernels that hand-written linker scripts make may leave the
    /// size of an entry out: there is only one.
    fn symbols(self) -> Result<Option<VirtAddr>, KernelError> {
        match self.entry_size {
            Some(entry_size) if entry_size != size_of::<Symbol>() as u64 => {
                Err(KernelError::TableSize {
                    kind: Table::Symbols,
                    size: 0,
                    entry_size,
                })
            }
            _ => Ok(self.address.map(VirtAddr::new)),
        }
    }
}

/// The tables of relocations.
struct Tables {
    rela: Location,
    relr: Location,
    jump_relocations: Location,
    /// Where the symbol table begins, if there is one. The dynamic section does not tell its size.
    symbols: Option<VirtAddr>,
}

impl Tables {
    fn read(
        image: &KernelImage,
        memory: &mut impl SegmentBytes,
        dynamic: AddressRange,
    ) -> Result<Self, KernelError> {
        let segments = image.segments();
        let location = locate(segments, Table::Dynamic, dynamic)?;
        let mut rela = Described::default();
        let mut relr = Described::default();
        let mut rel = Described::default();
        let mut jumps = Described::default();
        let mut symbols = Described::default();
        'table: for position in (0..location.size).step_by(BATCH * size_of::<Dyn>()) {
            for Dyn { tag, value } in entries::<Dyn>(memory, location, position) {
                let value = value.get();
                let field = match tag.get() {
                    abi::DT_NULL => break 'table,
                    abi::DT_NEEDED => return Err(KernelError::SharedLibrary),
                    abi::DT_RELA => &mut rela.address,
                    abi::DT_RELASZ => &mut rela.size,
                    abi::DT_RELAENT => &mut rela.entry_size,
                    DT_RELR => &mut relr.address,
                    DT_RELRSZ => &mut relr.size,
                    DT_RELRENT => &mut relr.entry_size,
                    abi::DT_REL => &mut rel.address,
                    abi::DT_RELSZ => &mut rel.size,
                    abi::DT_JMPREL => &mut jumps.address,
                    abi::DT_PLTRELSZ => &mut jumps.size,
                    // The kind of DT_JMPREL, stored in the place of the size of an entry.
                    abi::DT_PLTREL => &mut jumps.entry_size,
                    abi::DT_SYMTAB => &mut symbols.address,
                    abi::DT_SYMENT => &mut symbols.entry_size,
                    _ => continue,
                };
                *field = Some(value);
            }
        }

        // By the psABI, x86-64 uses RELA alone.
        if jumps.entry_size == Some(abi::DT_REL as u64) && jumps.size.unwrap_or(0) != 0 {
            rel = jumps;
        }
        if let Some(size @ 1..) = rel.size {
            let address = VirtAddr::new(rel.address.unwrap_or(0));
            return Err(KernelError::ImplicitAddends { address, size });
        }
        jumps.entry_size = Some(size_of::<Rela>() as u64);
        Ok(Self {
            rela: rela.find(segments, Table::Rela, size_of::<Rela>())?,
            relr: relr.find(segments, Table::Relr, size_of::<U64>())?,
            jump_relocations: jumps.find(segments, Table::JumpRelocations, size_of::<Rela>())?,
            symbols: symbols.symbols()?,
        })
    }
}

/// Relocates addresses. A large kernel has tens of thousands of them, so they are read from the
/// tables in batches, and applied in runs within one segment.
struct Relocator<'a, M> {
    segments: &'a [Segment],
    memory: M,
    slide: u64,
    symbols: Option<VirtAddr>,
    count: u64,
}

/// An address to relocate, and a number.
type Place = (VirtAddr, u64);

/// At least as many addresses as one bitmap of DT_RELR can list.
const BATCH: usize = 64;

impl<M: SegmentBytes> Relocator<'_, M> {
    fn rela(&mut self, table: Location) -> Result<(), KernelError> {
        let mut batch = [Place::default(); BATCH];
        // The symbol whose value is to be added; symbol 0 is none.
        let mut symbols = [0; BATCH];
        for position in (0..table.size).step_by(BATCH * size_of::<Rela>()) {
            let mut free = batch.iter_mut().zip(&mut symbols);
            let mut any_symbol = 0;
            for rela in entries::<Rela>(&mut self.memory, table, position) {
                let address = VirtAddr::new(rela.offset.get());
                let (addend, info) = (rela.addend.get(), rela.info.get());
                let (value, number) = match info as u32 {
                    abi::R_X86_64_RELATIVE => (addend.wrapping_add(self.slide), 0),
                    abi::R_X86_64_64 => (addend, (info >> 32) as u32),
                    abi::R_X86_64_GLOB_DAT | abi::R_X86_64_JUMP_SLOT => (0, (info >> 32) as u32),
                    abi::R_X86_64_NONE => continue,
                    kind => return Err(KernelError::Relocation { kind, address }),
                };
                let Some((place, symbol)) = free.next() else {
                    break;
                };
                (*place, *symbol) = ((address, value), number);
                any_symbol |= number;
            }
            let count = BATCH - free.len();
            let batch = batch.get_mut(..count).unwrap_or_default();
            if any_symbol != 0 {
                for ((address, value), &number) in batch.iter_mut().zip(&symbols) {
                    *value = value.wrapping_add(self.symbol(number, *address)?);
                }
            }
            self.apply(batch, |_, value| value)?;
        }
        Ok(())
    }

    /// The value of a symbol, for a relocation at an address.
    fn symbol(&mut self, number: u32, address: VirtAddr) -> Result<u64, KernelError> {
        if number == 0 {
            return Ok(0);
        }
        let size = size_of::<Symbol>() as u64;
        let range = AddressRange {
            start: self
                .symbols
                .unwrap_or_default()
                .wrapping_add(size * u64::from(number)),
            size,
        };
        let place = locate(self.segments, Table::Symbols, range)?;
        let symbol = entries::<Symbol>(&mut self.memory, place, 0).first();
        let symbol = symbol.ok_or(KernelError::RelocationTarget { address })?;
        let value = symbol.value.get();
        match (symbol.section.get(), symbol.kind()) {
            // The value of the one is a function that finds the address, that of the other is a
            // distance from the thread pointer.
            (_, kind @ (abi::STT_GNU_IFUNC | abi::STT_TLS)) => Err(KernelError::SymbolKind {
                symbol: number,
                kind,
                address,
            }),
            (abi::SHN_UNDEF, _) if symbol.binding() == abi::STB_WEAK => Ok(0),
            (abi::SHN_UNDEF, _) => Err(KernelError::Undefined {
                symbol: number,
                address,
            }),
            (abi::SHN_ABS, _) => Ok(value),
            _ => Ok(value.wrapping_add(self.slide)),
        }
    }

    fn relr(&mut self, table: Location) -> Result<(), KernelError> {
        let add = |word: u64, slide| word.wrapping_add(slide);
        let mut batch = [(VirtAddr::default(), self.slide); BATCH];
        let mut next = None;
        for position in (0..table.size).step_by(size_of::<U64>()) {
            let Some(entry) = entries::<U64>(&mut self.memory, table, position).first() else {
                break;
            };
            let entry = entry.get();
            if entry & 1 == 0 {
                // An address; the following bitmaps cover the words behind it.
                let address = VirtAddr::new(entry);
                self.apply(&[(address, self.slide)], add)?;
                next = Some(address.wrapping_add(8));
                continue;
            }
            let Some(start) = next else {
                let address = VirtAddr::new(entry);
                return Err(KernelError::RelocationTarget { address });
            };
            // A bitmap: bit n (from 1) is the (n - 1)th word.
            let mut bits = entry >> 1;
            let mut free = batch.iter_mut();
            while bits != 0
                && let Some(place) = free.next()
            {
                place.0 = start.wrapping_add(8 * u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
            let count = BATCH - free.len();
            self.apply(batch.get(..count).unwrap_or_default(), add)?;
            next = Some(start.wrapping_add(8 * 63));
        }
        Ok(())
    }

    /// Replaces each word by the result of `changed` for the word and for the number of its place.
    fn apply(
        &mut self,
        mut places: &[Place],
        changed: impl Fn(u64, u64) -> u64,
    ) -> Result<(), KernelError> {
        while let Some(&(first, _)) = places.first() {
            let (count, start, memory) = self.run(first, places)?;
            let (run, rest) = places.split_at_checked(count).unwrap_or((places, &[]));
            if let Some(memory) = memory {
                for &(address, value) in run {
                    let offset = address.wrapping_sub(start) as usize;
                    let word = memory
                        .get_mut(offset..)
                        .and_then(|rest| rest.first_chunk_mut());
                    let word = word.ok_or(KernelError::RelocationTarget { address })?;
                    *word = changed(u64::from_le_bytes(*word), value).to_le_bytes();
                }
            }
            places = rest;
        }
        Ok(())
    }

    /// How many of the places, from the first one on, are in one segment; its start and its memory.
    fn run(
        &mut self,
        first: VirtAddr,
        places: &[Place],
    ) -> Result<(usize, VirtAddr, Option<&mut [u8]>), KernelError> {
        // The last 7 offsets are not those of a whole word.
        let offsets = |s: &Segment| s.memory_size.saturating_sub(7);
        let holds = |(_, s): &(_, &Segment)| first - s.virtual_start < offsets(s);
        let Some((index, segment)) = segment_at(self.segments, first).filter(holds) else {
            return Err(KernelError::RelocationTarget { address: first });
        };
        let (start, offsets) = (segment.virtual_start, offsets(segment));
        let inside = |&(address, _): &&Place| address.wrapping_sub(start) < offsets;
        let count = places.iter().take_while(inside).count();
        self.count += count as u64;
        Ok((count, start, self.memory.memory(index)))
    }
}
