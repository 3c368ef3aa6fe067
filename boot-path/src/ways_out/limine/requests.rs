//! The requests of a kernel, and their arguments.

use arrayvec::ArrayVec;

use crate::errors::text::{copy, utf8};
use crate::kernel::image::{KernelImage, PREFERRED_BASE};
use crate::kernel::relocate::LoadedKernel;
use crate::memory::address::VirtAddr;
use crate::memory::layout::PAGE_SIZE;
use crate::ways_out::limine::features::COUNT;
use crate::ways_out::limine::{Feature, LimineError};

/// The highest base revision.
pub const MAX_REVISION: u64 = 6;

/// The smallest stack, in bytes.
pub const MIN_STACK: u64 = 64 * 1024;

/// The most internal modules.
pub const MAX_INTERNAL_MODULES: usize = 32;

/// The modules that a kernel itself asks for.
pub type InternalModules<'a> = ArrayVec<InternalModule<'a>, MAX_INTERNAL_MODULES>;

/// Offsets in a request.
const REVISION: u64 = 32;
const RESPONSE: u64 = 40;
pub(super) const ARGUMENTS: u64 = 48;

/// The requests of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// The base revision; 0 when there is no tag.
    pub revision: u64,
    /// Address of the tag; 0: there is none.
    pub(super) tag: VirtAddr,
    /// Address of the request for each feature; 0: there is none.
    pub(super) addresses: [VirtAddr; COUNT],
}

/// The bytes of the kernel's file from an address on, to the end of their segment.
fn bytes_at<'a>(image: &KernelImage, memory: &'a impl LoadedKernel, address: VirtAddr) -> &'a [u8] {
    let holds = |start, size| address.wrapping_sub(start) < size;
    let segments = image.segments();
    let Some(index) = segments
        .iter()
        .position(|s| holds(s.virtual_start, s.file_size))
    else {
        return &[];
    };
    let start = segments.get(index).map_or(address, |s| s.virtual_start);
    let offset = (address - start) as usize;
    memory.bytes(index).get(offset..).unwrap_or_default()
}

fn word_at(image: &KernelImage, memory: &impl LoadedKernel, address: VirtAddr) -> Option<u64> {
    let word = bytes_at(image, memory, address).first_chunk();
    word.map(|&word| u64::from_le_bytes(word))
}

/// The protocol's number for four levels of page tables.
pub const FOUR_LEVELS: u64 = 0;
/// Its number for five levels.
pub const FIVE_LEVELS: u64 = 1;

/// A module that the kernel itself asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalModule<'a> {
    /// Path, from the directory of the kernel, or from the root.
    pub path: &'a str,
    /// Its string.
    pub string: &'a [u8],
    /// Must the boot fail without it?
    pub required: bool,
    /// Must the loader unpack it?
    pub compressed: bool,
}

impl Requests {
    /// Did the kernel request a feature?
    pub fn has(&self, feature: Feature) -> bool {
        self.address(feature) != VirtAddr::default()
    }

    fn address(&self, feature: Feature) -> VirtAddr {
        let address = self.addresses.get(feature as usize);
        address.copied().unwrap_or_default()
    }

    /// A word of a request behind its response: 0 is the first one. Returns 0 when there is no
    /// request, or when the word is not in the file: it is 0 in memory, too.
    pub fn argument(
        &self,
        image: &KernelImage,
        memory: &impl LoadedKernel,
        feature: Feature,
        index: u64,
    ) -> u64 {
        let address = self.address(feature);
        if address == VirtAddr::default() {
            return 0;
        }
        word_at(image, memory, address + ARGUMENTS + 8 * index).unwrap_or(0)
    }

    /// The revision of a request.
    fn revision_of(
        &self,
        image: &KernelImage,
        memory: &impl LoadedKernel,
        feature: Feature,
    ) -> u64 {
        word_at(image, memory, self.address(feature) + REVISION).unwrap_or(0)
    }

    /// Refuses requests that no machine can meet.
    ///
    /// # Errors
    /// 10Y, 10Z.
    pub fn check(&self, image: &KernelImage) -> Result<(), LimineError> {
        if self.revision > MAX_REVISION {
            return Err(LimineError::Revision {
                revision: self.revision,
            });
        }
        let address = image.virtual_start();
        if address.wrapping_add(image.choose_slide()) < PREFERRED_BASE {
            return Err(LimineError::Low { address });
        }
        Ok(())
    }

    /// Bytes of each stack: whole pages.
    pub fn stack_size(&self, image: &KernelImage, memory: &impl LoadedKernel) -> u64 {
        let asked = self.argument(image, memory, Feature::StackSize, 0);
        let most = u64::MAX - PAGE_SIZE;
        asked.clamp(MIN_STACK, most).next_multiple_of(PAGE_SIZE)
    }

    /// The address where the kernel begins, with the slide: the requested entry point, or that of
    /// the ELF header.
    ///
    /// # Errors
    /// 10Z when this address is not in the kernel.
    pub fn entry(
        &self,
        image: &KernelImage,
        memory: &impl LoadedKernel,
        slide: u64,
    ) -> Result<VirtAddr, LimineError> {
        if !self.has(Feature::EntryPoint) {
            return Ok(image.entry().wrapping_add(slide));
        }
        let entry = VirtAddr::new(self.argument(image, memory, Feature::EntryPoint, 0));
        let address = entry.wrapping_before(slide);
        let mut segments = image.segments().iter();
        let inside = segments.any(|segment| {
            segment.executable()
                && address.wrapping_sub(segment.virtual_start) < segment.memory_size
        });
        if inside {
            Ok(entry)
        } else {
            Err(LimineError::Entry { address })
        }
    }

    /// The paging mode that the kernel gets. `five_levels`: does the CPU have five levels?
    ///
    /// # Errors
    /// 10Z when the CPU has no mode that the kernel supports.
    pub fn paging_mode(
        &self,
        image: &KernelImage,
        memory: &impl LoadedKernel,
        five_levels: bool,
    ) -> Result<u64, LimineError> {
        const FEATURE: Feature = Feature::PagingMode;
        if !self.has(FEATURE) {
            return Ok(FOUR_LEVELS);
        }
        let preferred = self.argument(image, memory, FEATURE, 0);
        let (highest, lowest) = if self.revision_of(image, memory, FEATURE) == 0 {
            (preferred, FOUR_LEVELS)
        } else {
            let argument = |index| self.argument(image, memory, FEATURE, index);
            (argument(1), argument(2))
        };
        let available = if five_levels {
            FIVE_LEVELS
        } else {
            FOUR_LEVELS
        };
        let most = highest.min(available);
        if lowest > most {
            return Err(LimineError::Paging { lowest, highest });
        }
        Ok(preferred.clamp(lowest, most))
    }

    /// The modules that the kernel itself asks for (revision 1 of the request).
    ///
    /// # Errors
    /// 10Z.
    pub fn internal_modules<'a>(
        &self,
        image: &KernelImage,
        memory: &'a impl LoadedKernel,
        slide: u64,
        modules: &mut InternalModules<'a>,
    ) -> Result<(), LimineError> {
        const FEATURE: Feature = Feature::Modules;
        const REQUIRED: u64 = 1 << 0;
        const COMPRESSED: u64 = 1 << 1;

        if !self.has(FEATURE) || self.revision_of(image, memory, FEATURE) == 0 {
            return Ok(());
        }
        let count = self.argument(image, memory, FEATURE, 0);
        if count > MAX_INTERNAL_MODULES as u64 {
            return Err(LimineError::TooManyModules { count });
        }
        let list = VirtAddr::new(self.argument(image, memory, FEATURE, 1));
        for index in 0..count {
            let word = |address: VirtAddr| word_at(image, memory, address.wrapping_before(slide));
            let text = |address: u64| {
                let address = VirtAddr::new(address).wrapping_before(slide);
                let bytes = bytes_at(image, memory, address);
                let end = bytes.iter().position(|&byte| byte == 0)?;
                bytes.get(..end)
            };
            let module = || {
                let module = VirtAddr::new(word(list.wrapping_add(8 * index))?);
                let field = |index: u64| word(module.wrapping_add(8 * index));
                let (path, is_text) = utf8(text(field(0)?)?);
                // In a path, a `#` introduces a hash.
                if !is_text || path.bytes().any(|byte| byte == b'#') {
                    return None;
                }
                let flags = field(2)?;
                Some(InternalModule {
                    path,
                    string: text(field(1)?)?,
                    required: flags & REQUIRED != 0,
                    compressed: flags & COMPRESSED != 0,
                })
            };
            let module = module().ok_or(LimineError::Module { index })?;
            let _ = modules.try_push(module);
        }
        Ok(())
    }

    /// Writes the base revision that is used, and the addresses of the responses, into the kernel.
    /// A request without a response stays unchanged.
    pub fn answer(
        &self,
        image: &KernelImage,
        memory: &mut impl LoadedKernel,
        responses: &[u64; COUNT],
    ) {
        let mut write = |address: VirtAddr, value: u64| {
            let holds =
                |&(_, start, size): &(usize, VirtAddr, u64)| address.wrapping_sub(start) < size;
            let segments = image.segments().iter().enumerate();
            let mut segments = segments.map(|(index, s)| (index, s.virtual_start, s.memory_size));
            if let Some((index, start, _)) = segments.find(holds)
                && let Some(bytes) = memory.memory(index)
                && let Some(place) = bytes.get_mut((address - start) as usize..)
            {
                copy(&value.to_le_bytes(), place);
            }
        };
        if self.tag != VirtAddr::default() {
            write(self.tag + 8, self.revision);
            write(self.tag + 16, 0);
        }
        for (&address, &response) in self.addresses.iter().zip(responses) {
            if address != VirtAddr::default() && response != 0 {
                write(address + RESPONSE, response);
            }
        }
    }
}
