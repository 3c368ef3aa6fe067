//! The Limine boot protocol, the pure half: finding a kernel's requests, and writing the answers.
//!
//! A request is a structure among the loaded bytes of the kernel, 8-byte aligned: two magic words, two
//! words that name the feature, the revision of the request, the address of the response (the loader
//! writes it), and what the feature needs besides. [`scan`] finds them, [`Requests::check`] refuses
//! what cannot be met on any machine, [`respond`] writes the responses, and [`Requests::answer`] writes
//! their addresses into the requests. What the kernel finds mapped is [`hhdm`], what memory there is
//! [`entries`].
//!
//! Source: the specification of the Limine boot protocol, base revisions 0 to 6.

use core::fmt;

use arrayvec::ArrayVec;
use zerocopy::IntoBytes as _;

use crate::bios::vbe::{Edid, Mode};
use crate::entry::protocol::Protocol;
use crate::errors::catalogue::{self, Entry as Row, Named};
use crate::errors::text::{copy, facts};
use crate::files::file_bytes::FileBytes;
use crate::kernel::image::{self, KernelError, KernelImage, PREFERRED_BASE, Unloaded};
use crate::kernel::relocate::{LoadedKernel, SegmentBytes, relocate};
use crate::memory::layout::{EARLY_REACH, PAGE_SIZE};
use crate::memory::map::{MIB, MemoryKind, Region};
use crate::paging::page_tables::Mapping;

/// The highest base revision.
pub const MAX_REVISION: u64 = 6;

/// Where the higher half direct map begins: physical address 0. The same with four levels of page
/// tables and with five.
pub const HHDM: u64 = 0xFFFF_8000_0000_0000;

/// The least that a stack has, in bytes.
pub const MIN_STACK: u64 = 64 * 1024;

/// The most internal modules.
pub const MAX_INTERNAL_MODULES: usize = 32;

/// The most random words that a kernel gets.
pub const MAX_ENTROPY: usize = 64;

/// The first two words of every request.
const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
/// The first two words of the base revision tag; the third one is the revision.
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const START_MARKER: [u64; 4] = [
    0xF6B8_F4B3_9DE7_D1AE,
    0xFAB9_1A69_40FC_B9CF,
    0x785C_6ED0_15D3_E316,
    0x181E_920A_7852_B9D9,
];
const END_MARKER: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];

/// Offsets in a request.
const REVISION: u64 = 32;
const RESPONSE: u64 = 40;
const ARGUMENTS: u64 = 48;

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $first:literal, $second:literal;)*) => {
        /// What a kernel can ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Feature {
            $($(#[$doc])* $name),*
        }
        /// All of them, by the two words that name them.
        pub const FEATURES: &[(Feature, [u64; 2])] =
            &[$((Feature::$name, [$first, $second])),*];
    };
}

features! {
    /// Name and version of the loader.
    BootloaderInfo = 0xF550_38D8_E2A1_202F, 0x2794_26FC_F5F5_9740;
    /// The command line.
    CommandLine = 0x4B16_1536_E598_651E, 0xB390_AD4A_2F1F_303A;
    /// BIOS, EFI or SBI.
    FirmwareType = 0x8C2F_75D9_0BEF_28A8, 0x7045_A468_8EAC_00C3;
    /// A stack of this size.
    StackSize = 0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D;
    /// Where the higher half direct map is.
    Hhdm = 0x48DC_F1CB_8AD2_B852, 0x6398_4E95_9A98_244B;
    /// A framebuffer.
    Framebuffer = 0x9D58_27DC_D881_DD75, 0xA314_8604_F6FA_B11B;
    /// Levels of page tables.
    PagingMode = 0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A;
    /// All processors, started.
    Processors = 0x95A6_7B81_9A1B_857E, 0xA0B6_1B72_3B6A_73E0;
    /// RISC-V's: there is none.
    HartId = 0x1369_359F_0255_25F9, 0x2FF2_A561_7839_1BB6;
    /// The memory map.
    MemoryMap = 0x67CF_3D9D_378A_806F, 0xE304_ACDF_C50C_3C62;
    /// Another entry point than that of the ELF header.
    EntryPoint = 0x13D8_6C03_5A1C_D3E1, 0x2B0C_AA89_D8F3_026A;
    /// The kernel's file, whole.
    ExecutableFile = 0xAD97_E90E_83F1_ED67, 0x31EB_5D1C_5FF2_3B69;
    /// Modules.
    Modules = 0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE;
    /// ACPI's root.
    Rsdp = 0xC5E7_7B6B_397E_7B43, 0x2763_7845_ACCD_CF3C;
    /// SMBIOS' entry points.
    Smbios = 0x9E90_46F1_1E09_5391, 0xAA4A_520F_EFBD_E5EE;
    /// EFI: there is none.
    EfiSystemTable = 0x5CEB_A516_3EAA_F6D6, 0x0A69_8161_0CF6_5FCC;
    /// EFI's: there is none.
    TpmEventLog = 0x98E0_94FC_7E76_E979, 0xEE8D_8775_C54E_1D1F;
    /// EFI's: there is none.
    EfiMemoryMap = 0x7DF6_2A43_1D68_72D5, 0xA4FC_DFB3_E573_06C8;
    /// The real-time clock.
    Date = 0x5027_46E1_84C0_88AA, 0xFBC5_EC83_E632_7893;
    /// Where the kernel lies.
    ExecutableAddress = 0x71BA_7686_3CC5_5F63, 0xB264_4A48_C516_A487;
    /// A device tree: there is none.
    DeviceTree = 0xB40D_DB48_FB54_BAC7, 0x5450_8149_3F81_FFB7;
    /// When the loader began and ended.
    Performance = 0x6B50_AD9B_F36D_13AD, 0xDC4C_7E88_FC75_9E17;
    /// IOMMUs that are on shall stay on.
    KeepIommu = 0x8EBA_ABE5_1F49_0179, 0x2AA8_6A59_FFB4_AB0F;
    /// How fast the time-stamp counter counts.
    TscFrequency = 0x10F2_EE1D_87D1_95E4, 0xF747_A2B7_8F6D_DB31;
    /// A terminal on a framebuffer: there is none.
    Flanterm = 0x3259_399F_E7C5_F126, 0xE01C_1C8C_5DB9_D1A9;
    /// Random words.
    Entropy = 0x65EA_8025_5D56_82C5, 0x9117_2407_23F4_93EB;
}

/// Number of features.
pub const COUNT: usize = FEATURES.len();

/// Why a kernel with Limine requests is refused. Addresses are those that it was linked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are what Display prints")]
pub enum LimineError {
    /// No request, tag or marker, though the entry says that there are some.
    Nothing,
    /// The same request, or the base revision tag, twice.
    Duplicate { first: u64, second: u64 },
    /// A request leaves the bytes of its segment.
    Cut { address: u64 },
    /// The end marker lies before the start marker.
    Markers { start: u64, end: u64 },
    /// A base revision that is not known.
    Revision { revision: u64 },
    /// A segment lies below the last 2 GiB.
    Low { address: u64 },
    /// No way of paging is in the range that the kernel supports.
    Paging { lowest: u64, highest: u64 },
    /// The entry point is not in the kernel.
    Entry { address: u64 },
    /// More than [`MAX_INTERNAL_MODULES`].
    TooManyModules { count: u64 },
    /// An internal module whose description or strings are not in the kernel, or are not text, or
    /// whose path wants a hash to be checked.
    Module { index: u64 },
    /// The firmware has enabled the x2APIC and does not let go.
    X2Apic,
}

impl Named for LimineError {
    fn entry(&self) -> &'static Row {
        match self {
            Self::Nothing | Self::Duplicate { .. } | Self::Cut { .. } | Self::Markers { .. } => {
                &catalogue::LIMINE_REQUESTS
            }
            Self::Revision { .. } => &catalogue::LIMINE_REVISION,
            _ => &catalogue::LIMINE_REFUSED,
        }
    }
}

impl fmt::Display for LimineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, numbers): (_, &[u64]) = match *self {
            Self::Nothing => ("there are none", &[]),
            Self::Duplicate { first, second } => ("twice: at 0x# and at 0x#", &[first, second]),
            Self::Cut { address } => ("at 0x#: cut off", &[address]),
            Self::Markers { start, end } => {
                ("start marker at 0x#, end marker at 0x#", &[start, end])
            }
            Self::Revision { revision } => {
                ("revision #, known are 0 to #", &[revision, MAX_REVISION])
            }
            Self::Low { address } => ("segment at 0x#, not in the last 2 GiB", &[address]),
            Self::Paging { lowest, highest } => ("paging modes # to #", &[lowest, highest]),
            Self::Entry { address } => ("entry point 0x#", &[address]),
            Self::TooManyModules { count } => (
                "# internal modules, at most #",
                &[count, MAX_INTERNAL_MODULES as u64],
            ),
            Self::Module { index } => ("internal module #, from 0", &[index]),
            Self::X2Apic => ("the x2APIC cannot be disabled", &[]),
        };
        facts(f, text, numbers)
    }
}

impl core::error::Error for LimineError {}

/// The requests of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// The base revision; 0 when there is no tag.
    pub revision: u64,
    /// Address of the tag; 0: there is none.
    tag: u64,
    /// Address of the request for each feature; 0: there is none.
    addresses: [u64; COUNT],
}

/// Whether some bytes that are loaded to `address` hold a request, a base revision tag or a marker.
/// Looks at the first two words of each: pieces of a segment have to share [`OVERLAP`] bytes.
pub fn recognises(bytes: &[u8], address: u64) -> bool {
    let mut rest = words(bytes, address);
    while let Some([first, behind @ ..]) = rest.get(before_candidate(rest)..) {
        let second = behind.first().map_or(0, |&word| u64::from_le_bytes(word));
        let pair = [u64::from_le_bytes(*first), second];
        if [COMMON, TAG, END_MARKER, [START_MARKER[0], START_MARKER[1]]].contains(&pair) {
            return true;
        }
        rest = behind;
    }
    false
}

/// Two aligned words that begin in front of the last so many bytes of a piece are in it.
pub const OVERLAP: u64 = 15;

/// The 8-byte aligned words of some bytes.
fn words(bytes: &[u8], address: u64) -> &[[u8; 8]] {
    let skip = address.wrapping_neg() % 8;
    bytes.get(skip as usize..).unwrap_or_default().as_chunks().0
}

/// What the first words of requests, tag and markers have in common: these bits, with these values.
const COMMON_BITS: u64 =
    !((COMMON[0] ^ TAG[0]) | (COMMON[0] ^ START_MARKER[0]) | (COMMON[0] ^ END_MARKER[0]));
const COMMON_VALUES: u64 = COMMON[0] & COMMON_BITS;

/// How many words stand in front of the first one that may begin something: all, when there is none. Kernels
/// have megabytes of them: one comparison for each, in a loop that has the registers to itself.
#[inline(never)]
fn before_candidate(words: &[[u8; 8]]) -> usize {
    let candidate = |word: &[u8; 8]| u64::from_le_bytes(*word) & COMMON_BITS == COMMON_VALUES;
    words.iter().position(candidate).unwrap_or(words.len())
}

/// Finds the requests of a kernel; `None`: it has none, no tag and no marker.
///
/// Only what lies between the last start marker and the first end marker counts, where there are
/// markers.
///
/// # Errors
/// 10X.
pub fn scan(
    image: &KernelImage,
    mut memory: impl SegmentBytes,
) -> Result<Option<Requests>, LimineError> {
    let nothing = Requests {
        revision: 0,
        tag: 0,
        addresses: [0; COUNT],
    };
    let mut found = nothing;
    let mut recognised = false;
    let mut error = None;
    let mut end_marker = None;
    for (index, segment) in image.segments().iter().enumerate() {
        let mut next = segment.virtual_start.next_multiple_of(8);
        loop {
            let words = memory.window(index, next - segment.virtual_start);
            let words = words.as_chunks().0;
            if words.is_empty() {
                break;
            }
            let skipped = before_candidate(words);
            if skipped > 0 {
                // The window from the candidate on has all that is looked at.
                next += 8 * skipped as u64;
                continue;
            }
            let address = next;
            next += 8;
            let word = |index: usize| words.get(index).map(|&word| u64::from_le_bytes(word));
            let [first, second] = [word(0).unwrap_or(0), word(1).unwrap_or(0)];
            if [first, second, word(2).unwrap_or(0), word(3).unwrap_or(0)] == START_MARKER {
                recognised = true;
                if let Some(end) = end_marker {
                    return Err(LimineError::Markers {
                        start: address,
                        end,
                    });
                }
                (found, error) = (nothing, None);
                continue;
            }
            if [first, second] == END_MARKER {
                recognised = true;
                end_marker.get_or_insert(address);
                continue;
            }
            let place = match [first, second] {
                TAG => Some(&mut found.tag),
                COMMON => {
                    let name = [word(2), word(3)];
                    let feature = FEATURES
                        .iter()
                        .position(|(_, words)| name == words.map(Some));
                    // Others are of later versions of the protocol, and stay without a response.
                    feature.and_then(|feature| found.addresses.get_mut(feature))
                }
                _ => continue,
            };
            recognised = true;
            let (Some(place), None) = (place, end_marker) else {
                continue;
            };
            let length = if first == TAG[0] { 3 } else { ARGUMENTS / 8 };
            if *place != 0 {
                let first = *place;
                error = error.or(Some(LimineError::Duplicate {
                    first,
                    second: address,
                }));
            } else if (words.len() as u64) < length {
                error = error.or(Some(LimineError::Cut { address }));
            }
            *place = address;
            if first == TAG[0] {
                found.revision = word(2).unwrap_or(0);
            }
        }
    }
    match error {
        Some(error) => Err(error),
        None => Ok(recognised.then_some(found)),
    }
}

/// What stage2 would take a kernel file for before it looks for other headers: `None` when it has neither
/// a note of the loader's own handoff nor requests, or is no ELF64 file.
pub(crate) fn recognise_file(mut file: impl FileBytes) -> Option<Protocol> {
    let (image, wishes) = image::read_file(&mut file).ok()?;
    if wishes.own {
        return Some(Protocol::Bootpath);
    }
    let mut unloaded = Unloaded(&mut file, &image);
    for (index, segment) in image.segments().iter().enumerate() {
        let mut offset = 0;
        loop {
            let piece = unloaded.window(index, offset);
            if recognises(piece, segment.virtual_start + offset) {
                return Some(Protocol::Limine);
            }
            let length = piece.len() as u64;
            if length <= OVERLAP || offset + length >= segment.file_size {
                break;
            }
            offset += length - OVERLAP;
        }
    }
    None
}

/// Checks a whole kernel file as stage2 would, without loading it. `None`: it has a note of the loader's
/// own handoff, or no requests.
///
/// # Errors
/// What stage2 would show: 10A to 10P, 10X to 10Z.
pub fn check_file(mut file: impl FileBytes) -> Result<Option<(KernelImage, Requests)>, FileError> {
    let (image, wishes) = image::read_file(&mut file)?;
    if wishes.own {
        return Ok(None);
    }
    let Some(requests) = scan(&image, Unloaded(&mut file, &image))? else {
        return Ok(None);
    };
    let slide = image.choose_slide();
    relocate(&image, Unloaded(&mut file, &image), slide)?;
    requests.check(&image)?;
    Ok(Some((image, requests)))
}

/// Why a kernel file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// As an ELF file.
    Kernel(KernelError),
    /// For its requests.
    Limine(LimineError),
}

impl From<KernelError> for FileError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}

impl From<LimineError> for FileError {
    fn from(error: LimineError) -> Self {
        Self::Limine(error)
    }
}

impl FileError {
    fn named(&self) -> &dyn Named {
        match self {
            Self::Kernel(error) => error,
            Self::Limine(error) => error,
        }
    }
}

impl Named for FileError {
    fn entry(&self) -> &'static Row {
        self.named().entry()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.named().fmt(f)
    }
}

/// The bytes of the kernel's file that lie from an address on, as far as their segment reaches.
fn bytes_at<'a>(image: &KernelImage, memory: &'a impl LoadedKernel, address: u64) -> &'a [u8] {
    let holds = |start: u64, size: u64| address.wrapping_sub(start) < size;
    let segments = image.segments();
    let Some(index) = segments
        .iter()
        .position(|s| holds(s.virtual_start, s.file_size))
    else {
        return &[];
    };
    let start = segments.get(index).map_or(0, |s| s.virtual_start);
    let offset = (address - start) as usize;
    memory.bytes(index).get(offset..).unwrap_or_default()
}

fn word_at(image: &KernelImage, memory: &impl LoadedKernel, address: u64) -> Option<u64> {
    let word = bytes_at(image, memory, address).first_chunk();
    word.map(|&word| u64::from_le_bytes(word))
}

/// The levels of page tables, as the protocol numbers them: four.
pub const FOUR_LEVELS: u64 = 0;
/// Five levels.
pub const FIVE_LEVELS: u64 = 1;

/// What a kernel says about a module that it brings by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InternalModule<'a> {
    /// Path, relative to the directory of the kernel.
    pub path: &'a str,
    /// The string that goes with it.
    pub string: &'a [u8],
    /// Whether the kernel cannot do without.
    pub required: bool,
}

impl Requests {
    /// Whether a feature was asked for.
    pub fn has(&self, feature: Feature) -> bool {
        self.address(feature) != 0
    }

    fn address(&self, feature: Feature) -> u64 {
        self.addresses.get(feature as usize).copied().unwrap_or(0)
    }

    /// A word of a request behind its response: 0 is the first one. 0 when there is no request, or
    /// when it is not in the file, where it is 0.
    pub fn argument(
        &self,
        image: &KernelImage,
        memory: &impl LoadedKernel,
        feature: Feature,
        index: u64,
    ) -> u64 {
        let address = self.address(feature);
        if address == 0 {
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

    /// Refuses what no machine can give.
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

    /// Bytes that each stack gets: whole pages.
    pub fn stack_size(&self, image: &KernelImage, memory: &impl LoadedKernel) -> u64 {
        let asked = self.argument(image, memory, Feature::StackSize, 0);
        let most = u64::MAX - PAGE_SIZE;
        asked.clamp(MIN_STACK, most).next_multiple_of(PAGE_SIZE)
    }

    /// Where the kernel begins, with the slide: the entry point of the ELF header, or the one that is
    /// asked for.
    ///
    /// # Errors
    /// 10Z when that is not in the kernel.
    pub fn entry(
        &self,
        image: &KernelImage,
        memory: &impl LoadedKernel,
        slide: u64,
    ) -> Result<u64, LimineError> {
        if !self.has(Feature::EntryPoint) {
            return Ok(image.entry().wrapping_add(slide));
        }
        let entry = self.argument(image, memory, Feature::EntryPoint, 0);
        let address = entry.wrapping_sub(slide);
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

    /// Which paging mode the kernel gets from a CPU that has five levels, or not.
    ///
    /// # Errors
    /// 10Z when the CPU has none of those that the kernel supports.
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
    ) -> Result<ArrayVec<InternalModule<'a>, MAX_INTERNAL_MODULES>, LimineError> {
        const FEATURE: Feature = Feature::Modules;
        const REQUIRED: u64 = 1;

        let mut modules = ArrayVec::new();
        if !self.has(FEATURE) || self.revision_of(image, memory, FEATURE) == 0 {
            return Ok(modules);
        }
        let count = self.argument(image, memory, FEATURE, 0);
        if count > MAX_INTERNAL_MODULES as u64 {
            return Err(LimineError::TooManyModules { count });
        }
        let list = self.argument(image, memory, FEATURE, 1);
        for index in 0..count {
            let word = |address: u64| word_at(image, memory, address.wrapping_sub(slide));
            let text = |address: u64| {
                let bytes = bytes_at(image, memory, address.wrapping_sub(slide));
                let end = bytes.iter().position(|&byte| byte == 0)?;
                bytes.get(..end)
            };
            let module = || {
                let module = word(list.wrapping_add(8 * index))?;
                let field = |index: u64| word(module.wrapping_add(8 * index));
                let path = core::str::from_utf8(text(field(0)?)?).ok()?;
                // What follows a `#` is a hash.
                let path = Some(path).filter(|path| path.bytes().all(|byte| byte != b'#'))?;
                Some(InternalModule {
                    path,
                    string: text(field(1)?)?,
                    required: field(2)? & REQUIRED != 0,
                })
            };
            let module = module().ok_or(LimineError::Module { index })?;
            let _ = modules.try_push(module);
        }
        Ok(modules)
    }

    /// Writes into the kernel which base revision is used, and where the responses are. A request
    /// without a response is left alone.
    pub fn answer(
        &self,
        image: &KernelImage,
        memory: &mut impl LoadedKernel,
        responses: &[u64; COUNT],
    ) {
        let mut write = |address: u64, value: u64| {
            let holds = |(_, start, size): &(usize, u64, u64)| address.wrapping_sub(*start) < *size;
            let segments = image.segments().iter().enumerate();
            let mut segments = segments.map(|(index, s)| (index, s.virtual_start, s.memory_size));
            if let Some((index, start, _)) = segments.find(holds)
                && let Some(bytes) = memory.memory(index)
                && let Some(place) = bytes.get_mut((address - start) as usize..)
            {
                copy(&value.to_le_bytes(), place);
            }
        };
        if self.tag != 0 {
            write(self.tag + 8, self.revision);
            write(self.tag + 16, 0);
        }
        for (&address, &response) in self.addresses.iter().zip(responses) {
            if address != 0 && response != 0 {
                write(address + RESPONSE, response);
            }
        }
    }
}

/// What a memory map entry is: the protocol's numbers.
#[expect(missing_docs, reason = "named as in the protocol")]
pub mod kind {
    pub const USABLE: u64 = 0;
    pub const RESERVED: u64 = 1;
    pub const ACPI_RECLAIMABLE: u64 = 2;
    pub const ACPI_NVS: u64 = 3;
    pub const BAD_MEMORY: u64 = 4;
    pub const BOOTLOADER_RECLAIMABLE: u64 = 5;
    pub const EXECUTABLE_AND_MODULES: u64 = 6;
    pub const FRAMEBUFFER: u64 = 7;
    pub const RESERVED_MAPPED: u64 = 8;
}

/// An entry of the kernel's memory map; base and length are multiples of 4 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First byte.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// One of [`kind`].
    pub kind: u64,
}

/// Pages that hold tables of the firmware, by address and without overlap.
#[derive(Clone, Debug, Default)]
pub struct FirmwarePages(ArrayVec<(u64, u64), 64>);

impl FirmwarePages {
    /// Adds the pages of some bytes. There is room for 64 separate places.
    pub fn add(&mut self, start: u64, length: u64) {
        let (Some(end), true) = (start.checked_add(length), length > 0) else {
            return;
        };
        let mut start = start & !(PAGE_SIZE - 1);
        let Some(mut end) = end.checked_next_multiple_of(PAGE_SIZE) else {
            return;
        };
        self.0.retain(|&mut (old_start, old_end)| {
            let apart = old_end < start || end < old_start;
            if !apart {
                start = start.min(old_start);
                end = end.max(old_end);
            }
            apart
        });
        let place = self.0.partition_point(|&(old, _)| old < start);
        let _ = self.0.try_insert(place, (start, end));
    }
}

/// The memory map of a kernel: that of the loader, sorted and without overlap, in the protocol's terms.
/// Where `firmware` lies in reserved memory, or where nothing was reported, it is "reserved (mapped)".
pub fn entries<'a>(
    regions: &'a [Region],
    firmware: &'a FirmwarePages,
) -> impl Iterator<Item = Entry> + 'a {
    let mut position = 0;
    core::iter::from_fn(move || {
        let mut entry: Option<Entry> = None;
        while position < u64::MAX {
            let (kind, end) = piece(regions, firmware, position);
            match (&mut entry, kind) {
                (None, Some(kind)) => {
                    let (base, length) = (position, end - position);
                    entry = Some(Entry { base, length, kind });
                }
                (Some(entry), Some(kind)) if entry.kind == kind => {
                    entry.length += end - position;
                }
                (None, None) => {}
                _ => break,
            }
            position = end;
        }
        entry
    })
}

/// What kind of memory is at an address, and up to where; `u64::MAX`: nothing follows.
fn piece(regions: &[Region], firmware: &FirmwarePages, address: u64) -> (Option<u64>, u64) {
    let mut end = u64::MAX;
    // The first range that ends behind the address: does it hold it?
    let mut holds = |start: u64, behind: u64| {
        let inside = start <= address;
        end = end.min(if inside { behind } else { start });
        inside
    };
    let region = regions.iter().find(|region| region.end > address);
    let mut kind = region
        .filter(|region| holds(region.start, region.end))
        .map(kind_of);
    let pages = firmware.0.iter().find(|&&(_, behind)| behind > address);
    if pages.is_some_and(|&(start, behind)| holds(start, behind))
        && matches!(kind, None | Some(kind::RESERVED))
    {
        kind = Some(kind::RESERVED_MAPPED);
    }
    (kind, end)
}

/// What the loader's kinds of memory are called.
fn kind_of(region: &Region) -> u64 {
    match region.kind {
        MemoryKind::Usable => kind::USABLE,
        MemoryKind::Reclaimable => kind::BOOTLOADER_RECLAIMABLE,
        MemoryKind::Kernel | MemoryKind::Module => kind::EXECUTABLE_AND_MODULES,
        MemoryKind::AcpiReclaimable => kind::ACPI_RECLAIMABLE,
        MemoryKind::AcpiNvs => kind::ACPI_NVS,
        MemoryKind::Bad => kind::BAD_MEMORY,
        // VGA's text window is no framebuffer in this protocol.
        MemoryKind::Framebuffer if region.start >= MIB => kind::FRAMEBUFFER,
        MemoryKind::Framebuffer | MemoryKind::Reserved => kind::RESERVED,
    }
}

/// Whether the direct map has memory of a kind, as a base revision wants it. Up to revision 2 it has
/// the first 4 GiB besides.
fn is_mapped(kind: u64, revision: u64) -> bool {
    match kind {
        kind::USABLE
        | kind::BOOTLOADER_RECLAIMABLE
        | kind::EXECUTABLE_AND_MODULES
        | kind::FRAMEBUFFER => true,
        kind::ACPI_RECLAIMABLE | kind::ACPI_NVS => revision != 3,
        kind::RESERVED_MAPPED => revision == 0 || revision > 3,
        _ => revision == 0,
    }
}

/// The mappings of the higher half direct map, or, with `base` 0, of the identity map, which has no
/// page 0. What touches comes as one, but for framebuffers, where writes are combined. All of it can be
/// written and executed: so the protocol has it.
pub fn hhdm<'a>(
    regions: &'a [Region],
    firmware: &'a FirmwarePages,
    revision: u64,
    base: u64,
) -> impl Iterator<Item = Mapping> + 'a {
    let everything = if revision < 3 { EARLY_REACH } else { 0 };
    let mut position = if base == 0 { PAGE_SIZE } else { 0 };
    core::iter::from_fn(move || {
        let mut mapping: Option<Mapping> = None;
        while position < u64::MAX {
            let (kind, mut end) = piece(regions, firmware, position);
            let mapped =
                position < everything || kind.is_some_and(|kind| is_mapped(kind, revision));
            if position < everything {
                end = end.min(everything);
            }
            let write_combining = kind == Some(kind::FRAMEBUFFER);
            match &mut mapping {
                None if mapped => {
                    mapping = Some(Mapping {
                        virtual_start: base.saturating_add(position),
                        physical_start: position,
                        size: end - position,
                        writable: true,
                        executable: true,
                        write_combining,
                    });
                }
                None => {}
                Some(mapping) if mapped && mapping.write_combining == write_combining => {
                    mapping.size += end - position;
                }
                Some(_) => break,
            }
            position = end;
        }
        mapping
    })
}

/// A piece of memory that is filled from the front with what the kernel will see. Without a piece of
/// memory it only measures.
#[derive(Debug, Default)]
pub struct Writer<'a> {
    room: &'a mut [u8],
    /// The address at which the kernel sees its first byte.
    address: u64,
    /// Bytes that are used, or would be.
    pub used: usize,
}

impl<'a> Writer<'a> {
    /// Fills `room`, which the kernel sees at `address`, a multiple of 8.
    pub fn new(room: &'a mut [u8], address: u64) -> Self {
        Self {
            room,
            address,
            used: 0,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let start = self.used;
        self.used += bytes.len();
        if let Some(room) = self.room.get_mut(start..self.used) {
            copy(bytes, room);
        }
        self.address.wrapping_add(start as u64)
    }

    /// Stores words, aligned to 8 bytes; returns the address of the first.
    pub fn words(&mut self, words: &[u64]) -> u64 {
        self.used = self.used.next_multiple_of(8);
        self.bytes(words.as_bytes())
    }

    /// Stores a text, put together from parts, and a zero byte; returns its address.
    pub fn text(&mut self, parts: &[&[u8]]) -> u64 {
        let start = self.address.wrapping_add(self.used as u64);
        for part in parts.iter().chain(&[&[0_u8][..]]) {
            self.bytes(part);
        }
        start
    }
}

/// A file that is in memory.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Physical address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// The path is put together from these two; the first one may be empty.
    pub directory: &'a str,
    /// Its second part.
    pub path: &'a str,
    /// The text that goes with it.
    pub string: Text<'a>,
}

/// A text: its bytes, or the address at which the kernel finds it.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// Its address; a zero byte follows it.
    At(u64),
}

/// The processors.
#[derive(Clone, Copy, Debug)]
pub struct Processors<'a> {
    /// Whether they are in x2APIC mode.
    pub x2apic: bool,
    /// APIC ID of the one that boots.
    pub bootstrap: u32,
    /// Addresses at which the kernel sees the structure of each.
    pub infos: &'a [u64],
}

/// When things happened, in microseconds since the time-stamp counter was 0: the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performance {
    /// The loader's first instruction.
    pub begin: u64,
    /// Its last one, nearly.
    pub end: u64,
}

/// The framebuffer.
#[derive(Clone, Copy, Debug)]
pub struct Framebuffer<'a> {
    /// The mode that it is in.
    pub mode: Mode,
    /// All modes.
    pub modes: &'a [Mode],
    /// What the monitor says of itself.
    pub edid: Option<&'a Edid>,
}

/// What is to be told.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The loader's version.
    pub version: &'a str,
    /// The base revision.
    pub revision: u64,
    /// Address at which the kernel sees its command line.
    pub command_line: u64,
    /// The paging mode.
    pub paging_mode: u64,
    /// The framebuffer; `None`: not asked for, or there is none.
    pub framebuffer: Option<Framebuffer<'a>>,
    /// The processors; `None`: not asked for.
    pub processors: Option<Processors<'a>>,
    /// The memory map.
    pub regions: &'a [Region],
    /// The firmware's tables.
    pub firmware: &'a FirmwarePages,
    /// The kernel's file, when it was asked for.
    pub executable: Option<File<'a>>,
    /// Physical and virtual address of the kernel.
    pub executable_address: [u64; 2],
    /// The modules.
    pub modules: &'a [File<'a>],
    /// Where files come from: is it an optical disk?
    pub optical: bool,
    /// The number of the partition; 0: none.
    pub partition: u8,
    /// The disk's signature.
    pub disk_signature: u32,
    /// Physical address of the RSDP; 0: none.
    pub rsdp: u64,
    /// Physical addresses of SMBIOS' 32-bit and 64-bit entry points; 0: none.
    pub smbios: [u64; 2],
    /// Seconds since 1970.
    pub date: Option<u64>,
    /// How long it took.
    pub performance: Option<Performance>,
    /// The time-stamp counter's frequency in Hz.
    pub tsc_frequency: Option<u64>,
    /// Random words.
    pub entropy: &'a [u64],
}

/// Writes the responses to what was asked for; returns the address of each, 0 where there is none.
pub fn respond(requests: &Requests, facts: &Facts<'_>, out: &mut Writer<'_>) -> [u64; COUNT] {
    let mut responses = [0; COUNT];
    for (&(feature, _), place) in FEATURES.iter().zip(&mut responses) {
        if requests.has(feature) {
            *place = response(feature, facts, out).unwrap_or(0);
        }
    }
    responses
}

/// Writes one response.
fn response(feature: Feature, facts: &Facts<'_>, out: &mut Writer<'_>) -> Option<u64> {
    /// BIOS.
    const FIRMWARE_TYPE: u64 = 0;
    const MODULE_RESPONSE: u64 = 1;
    const FRAMEBUFFER_RESPONSE: u64 = 1;

    let revision = facts.revision;
    // In base revision 3 the tables of the firmware are not mapped, in 4 those of ACPI are again.
    let firmware = |address: u64, physical: bool| {
        if address == 0 || physical {
            address
        } else {
            HHDM + address
        }
    };
    Some(match feature {
        Feature::BootloaderInfo => {
            let name = out.text(&[b"Bootpath"]);
            let version = out.text(&[facts.version.as_bytes()]);
            out.words(&[0, name, version])
        }
        Feature::CommandLine => out.words(&[0, facts.command_line]),
        Feature::FirmwareType => out.words(&[0, FIRMWARE_TYPE]),
        Feature::StackSize | Feature::EntryPoint | Feature::KeepIommu => out.words(&[0]),
        Feature::Hhdm => out.words(&[0, HHDM]),
        Feature::PagingMode => out.words(&[0, facts.paging_mode]),
        Feature::Processors => {
            let processors = facts.processors?;
            let list = out.words(processors.infos);
            let flags = u64::from(processors.x2apic) | u64::from(processors.bootstrap) << 32;
            out.words(&[0, flags, processors.infos.len() as u64, list])
        }
        Feature::MemoryMap => {
            let first = out.words(&[]);
            let mut count = 0;
            for entry in entries(facts.regions, facts.firmware) {
                out.words(&[entry.base, entry.length, entry.kind]);
                count += 1;
            }
            let list = array_of_pointers(out, first, count, 24);
            out.words(&[0, count, list])
        }
        Feature::ExecutableFile => {
            let file = file(facts, &facts.executable?, out);
            out.words(&[0, file])
        }
        Feature::Modules => {
            if facts.modules.is_empty() {
                return None;
            }
            let mut files = ArrayVec::<u64, MAX_FILES>::new();
            for module in facts.modules {
                let _ = files.try_push(file(facts, module, out));
            }
            let list = out.words(&files);
            out.words(&[MODULE_RESPONSE, files.len() as u64, list])
        }
        Feature::Rsdp if facts.rsdp != 0 => out.words(&[0, firmware(facts.rsdp, revision == 3)]),
        Feature::Smbios if facts.smbios != [0; 2] => {
            let [short, long] = facts
                .smbios
                .map(|entry| firmware(entry, matches!(revision, 3 | 4)));
            out.words(&[0, short, long])
        }
        Feature::Date => out.words(&[0, facts.date?]),
        Feature::ExecutableAddress => {
            let [physical, virtual_address] = facts.executable_address;
            out.words(&[0, physical, virtual_address])
        }
        Feature::Performance => {
            let Performance { begin, end } = facts.performance?;
            out.words(&[0, 0, begin, end])
        }
        Feature::TscFrequency => out.words(&[0, facts.tsc_frequency?]),
        Feature::Entropy => {
            let count = facts.entropy.len() as u64;
            let values = if count == 0 {
                0
            } else {
                out.words(facts.entropy)
            };
            out.words(&[0, count, values])
        }
        Feature::Framebuffer => {
            let framebuffer = framebuffer(&facts.framebuffer?, out);
            let list = out.words(&[framebuffer]);
            out.words(&[FRAMEBUFFER_RESPONSE, 1, list])
        }
        Feature::HartId
        | Feature::Rsdp
        | Feature::Smbios
        | Feature::EfiSystemTable
        | Feature::TpmEventLog
        | Feature::EfiMemoryMap
        | Feature::DeviceTree
        | Feature::Flanterm => return None,
    })
}

/// Whether kernels of this protocol can draw in a mode: they take a pixel for as many bytes as fit into
/// its bits.
pub fn suits(mode: &Mode) -> bool {
    mode.bits_per_pixel.is_multiple_of(8)
}

/// Bits of a pixel, memory model (RGB), and size and position of red, green and blue, in two words.
fn pixel(mode: &Mode) -> [u64; 2] {
    const RGB: u8 = 1;
    let [red, green, blue] = mode.colors;
    let first = [
        mode.bits_per_pixel,
        0,
        RGB,
        red.size,
        red.position,
        green.size,
        green.position,
        blue.size,
    ];
    [u64::from_le_bytes(first), blue.position.into()]
}

/// Writes the structure of a framebuffer.
fn framebuffer(framebuffer: &Framebuffer<'_>, out: &mut Writer<'_>) -> u64 {
    let (mut count, first) = (0, out.words(&[]));
    for mode in framebuffer.modes {
        out.words(&[mode.pitch, mode.width, mode.height].map(u64::from));
        out.words(&pixel(mode));
        count += 1;
    }
    let modes = array_of_pointers(out, first, count, 40);
    let edid = framebuffer.edid.map_or(0, |edid| out.bytes(edid));
    let edid_size = framebuffer.edid.map_or(0, |edid| edid.len());
    let mode = &framebuffer.mode;
    let address = HHDM.wrapping_add(mode.address.into());
    let size = [mode.width, mode.height, mode.pitch].map(u64::from);
    let start = out.words(&[address]);
    out.words(&size);
    out.words(&pixel(mode));
    out.words(&[edid_size as u64, edid, count, modes]);
    start
}

/// The most files that there can be besides the kernel.
pub const MAX_FILES: usize = MAX_INTERNAL_MODULES + crate::entry::entry_file::MAX_MODULES;

/// An array of the addresses of `count` structures of `size` bytes that lie side by side from `first`
/// on; returns its address.
fn array_of_pointers(out: &mut Writer<'_>, first: u64, count: u64, size: u64) -> u64 {
    let list = out.words(&[]);
    for index in 0..count {
        out.words(&[first.wrapping_add(index * size)]);
    }
    list
}

/// Writes the structure of a file.
fn file(facts: &Facts<'_>, file: &File<'_>, out: &mut Writer<'_>) -> u64 {
    let path = out.text(&[file.directory.as_bytes(), file.path.as_bytes()]);
    let string = match file.string {
        Text::Bytes(bytes) => out.text(&[bytes]),
        Text::At(address) => address,
    };
    let disk = u64::from(facts.partition) | u64::from(facts.disk_signature) << 32;
    let address = HHDM.wrapping_add(file.start);
    // Then TFTP's address and port, and three UUIDs, which FAT and the MBR do not have.
    let media_type = u64::from(facts.optical);
    let words = [0, address, file.size, path, string, media_type, 0, disk];
    let start = out.words(&words);
    out.words(&[0; 6]);
    start
}
