//! Step 10: the kernel and its modules.
//!
//! **On entry**: the kernel's headers are read and checked, memory can be allocated. **This step**:
//! finds room ([`placement`](super::placement)); reads only the bytes of PT_LOAD segments, straight
//! to their destination; zeroes the rest; relocates. Then loads the modules, whole. Compares the
//! checksums of files that `disk-builder` wrote. **On exit**: everything the kernel needs is in
//! memory; nothing is mapped yet.

use alloc::vec::Vec;

use disk_layout::parts::Part;

use crate::disk::stream::Range;
use crate::entry::entry_file::Module;
use crate::files::access::{File, Files, Plan};
use crate::files::error::FileMachine;
use crate::files::integrity::{Expected, Role, Sums};
use crate::kernel::image::{KernelError, KernelImage, Wishes};
use crate::kernel::placement::{Kernel, LoadedModule};
use crate::kernel::relocate::{LoadedKernel, relocate};
use crate::machine::Machine;
use crate::memory::address::PhysAddr;
use crate::memory::list;
use crate::memory::map::MemoryMap;
use crate::memory::ram::{Allocation, Block, bytes_at, bytes_at_mut};
use crate::position::FileOffset;
use crate::say;

/// A machine whose failures include those of kernels.
pub trait KernelMachine<'m>: FileMachine<'m, Failure: From<KernelError>> {}

impl<'m, M: FileMachine<'m, Failure: From<KernelError>>> KernelMachine<'m> for M {}

/// A kernel in memory.
#[derive(Debug)]
pub struct Loaded<'m> {
    /// Its headers, and its place.
    pub kernel: Kernel,
    /// The memory of its groups of segments.
    blocks: Vec<Block<'m>>,
}

impl<'m> Loaded<'m> {
    /// A kernel that is not [loaded](Self::load) yet.
    pub fn new(image: KernelImage, wishes: Wishes) -> Self {
        Self {
            kernel: Kernel::new(image, wishes),
            blocks: Vec::new(),
        }
    }

    /// Finds room for the kernel, and loads it there.
    ///
    /// # Errors
    /// 10F, 10I, 10K, 10L, 10M, 10O, 10Q, 11A, 8B, 7A, 6B.
    pub fn load<M: KernelMachine<'m>>(
        &mut self,
        files: &mut Files<'m, M>,
        file: &File<'m>,
        expected: Option<Expected<'m>>,
        memory: &mut MemoryMap,
    ) -> Result<(), M::Failure> {
        let machine = files.machine();
        let kernel = &mut self.kernel;
        let segments = kernel.image.segments().len();
        kernel.place(machine.list(segments, memory)?, memory)?;
        // A kernel with Limine requests instead of a note follows other rules.
        if kernel.wishes.own {
            kernel.image.check(&kernel.wishes)?;
        }
        // There are no more groups than segments.
        self.blocks = machine.list(segments, memory)?;
        let places = kernel.group_places();
        let blocks = places.map(|(start, size)| machine.block(Allocation::new(start, size)));
        list::put_all(&mut self.blocks, blocks);
        let mut reads = machine.list(segments, memory)?;
        list::put_all(&mut reads, kernel.reads());
        self.read_segments(files, file, expected, &reads)?;
        let (kernel, mut segments) = self.split();
        if kernel.image.dynamic().is_some() {
            let relocate = relocate as fn(&_, _, _) -> Result<u64, KernelError>;
            let relocate = machine.of_part(Part::Dynamic, relocate)?;
            relocate(&kernel.image, &mut segments, kernel.slide)?;
        }

        let image = &kernel.image;
        let bytes: u64 = image.segments().iter().map(|it| it.file_size).sum();
        let kind = match image.position_independent() {
            true => "PIE",
            false => "ELF64",
        };
        say!(
            machine, "10 kernel   ", kind, ", # segments, # KiB at #h";
            image.segments().len() as u64,
            bytes.div_ceil(1024),
            kernel.physical_start().as_u64()
        );
        Ok(())
    }

    /// Reads the segments' bytes, and zeroes the rest of their pages.
    fn read_segments<M: FileMachine<'m>>(
        &mut self,
        files: &mut Files<'m, M>,
        file: &File<'m>,
        expected: Option<Expected<'m>>,
        reads: &[Range],
    ) -> Result<(), M::Failure> {
        let machine = files.machine();
        let Self { kernel, blocks } = self;
        kernel.zeroes(|start, end| zero(machine, blocks, start, end));
        let plan = Plan {
            ranges: reads,
            // Computed after reading. While reading, bytes come in the order of the file, in which
            // segments may overlap, and errors of memory would go unnoticed.
            checked: &|blocks, sum| {
                for (segment, address) in kernel.segments() {
                    sum(bytes_at(blocks, address, segment.file_size));
                }
            },
        };
        files.load(file, expected, &plan, blocks)
    }

    /// Moves the kernel into one piece of memory, in which all addresses keep their distances.
    ///
    /// # Errors
    /// 6B.
    pub fn unite<M: Machine<'m>>(
        &mut self,
        machine: M,
        memory: &mut MemoryMap,
    ) -> Result<(), M::Failure> {
        let Self { kernel, blocks } = self;
        let Some((start, size)) = kernel.place_as_one(memory)? else {
            return Ok(());
        };
        let mut united = machine.block(Allocation::new(start, size));
        for (from, to, length) in kernel.moves(start) {
            let to = bytes_at_mut(core::slice::from_mut(&mut united), to, length);
            machine.store(bytes_at(blocks, from, length), to);
        }
        kernel.moved(start, memory);
        for block in &*blocks {
            machine.freed(block.start(), block.end() - block.start());
        }
        blocks.clear();
        list::put(blocks, united);
        Ok(())
    }

    /// Its headers, and its segments for writing.
    pub fn split(&mut self) -> (&Kernel, Segments<'_, 'm>) {
        let Self { kernel, blocks } = self;
        (kernel, Segments { kernel, blocks })
    }
}

/// Zeroes the bytes from `start` to `end`, if there are any.
pub fn zero<'m>(
    machine: impl Machine<'m>,
    blocks: &mut [Block<'_>],
    start: PhysAddr,
    end: PhysAddr,
) {
    if start < end {
        machine.zero(bytes_at_mut(blocks, start, end - start));
    }
}

/// The segments of a kernel in memory.
pub struct Segments<'a, 'm> {
    kernel: &'a Kernel,
    blocks: &'a mut [Block<'m>],
}

/// The bytes of a segment that came from the file.
fn bytes<'b>(kernel: &Kernel, blocks: &'b [Block<'_>], segment: usize) -> &'b [u8] {
    match kernel.segment(segment) {
        Some((segment, address)) => bytes_at(blocks, address, segment.file_size),
        None => &[],
    }
}

impl LoadedKernel for Segments<'_, '_> {
    fn bytes(&self, segment: usize) -> &[u8] {
        bytes(self.kernel, self.blocks, segment)
    }

    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        let (segment, address) = self.kernel.segment(segment)?;
        Some(bytes_at_mut(self.blocks, address, segment.memory_size))
    }
}

impl LoadedKernel for Loaded<'_> {
    fn bytes(&self, segment: usize) -> &[u8] {
        bytes(&self.kernel, &self.blocks, segment)
    }

    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        let (segment, address) = self.kernel.segment(segment)?;
        Some(bytes_at_mut(&mut self.blocks, address, segment.memory_size))
    }
}

/// Loads one module to the start of a page; unpacks it if it is compressed, unless the entry says that
/// the kernel wants it packed.
///
/// # Errors
/// 8C, 10R, 9B, 8B, 7A, 6B.
pub fn load_module<'m, M: FileMachine<'m>>(
    files: &mut Files<'m, M>,
    module: &Module<'m>,
    memory: &mut MemoryMap,
) -> Result<LoadedModule, M::Failure> {
    let path = module.path;
    let mut file = files.find(Role::Module, path)?;
    if !module.packed {
        file = files.unpack(Role::Module, path, file, memory)?;
    }
    load_module_as_it_is(files, path, &file, memory)
}

/// Loads a file as a module to the start of a page, without unpacking it.
///
/// # Errors
/// 10R, 8B, 7A, 6B.
pub fn load_module_as_it_is<'m, M: FileMachine<'m>>(
    files: &mut Files<'m, M>,
    path: &'m str,
    file: &File<'m>,
    memory: &mut MemoryMap,
) -> Result<LoadedModule, M::Failure> {
    let machine = files.machine();
    let module = LoadedModule::place(file.size, memory)?;
    let size = module.memory_size();
    let mut block = machine.block(Allocation::new(module.start, size));
    load_whole(files, path, file, &mut block, 0)?;
    let rest = block.get_mut(module.length as usize..);
    rest.unwrap_or_default().fill(0);
    Ok(module)
}

/// Loads a whole file other than a kernel into a block, from an offset on, and compares its
/// checksum.
///
/// # Errors
/// 10R, 8B, 7A.
pub fn load_whole<'m, M: FileMachine<'m>>(
    files: &mut Files<'m, M>,
    path: &'m str,
    file: &File<'m>,
    block: &mut Block<'m>,
    offset: u64,
) -> Result<(), M::Failure> {
    let expected = files.expected(Role::Module, Sums::Whole, path, file)?;
    let destination = block.start() + offset;
    let length = file.size;
    let plan = Plan {
        ranges: &[Range {
            file_offset: FileOffset::ZERO,
            length,
            destination,
        }],
        checked: &|blocks, sum| sum(bytes_at(blocks, destination, length)),
    };
    files.load(file, expected, &plan, core::slice::from_mut(block))
}
