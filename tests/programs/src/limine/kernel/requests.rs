//! The kernel's requests to the loader, and what the answers lead to.

use core::sync::atomic::{AtomicU64, Ordering};

use limine::BaseRevision;
use limine::modules::{InternalModule, ModuleFlags};
use limine::request::{
    BootloaderInfoRequest, DateAtBootRequest, DeviceTreeBlobRequest, EfiMemoryMapRequest,
    EfiSystemTableRequest, ExecutableAddressRequest, ExecutableCmdlineRequest,
    ExecutableFileRequest, FirmwareTypeRequest, FramebufferRequest, HhdmRequest, MemoryMapRequest,
    ModuleRequest, MpRequest, PagingModeRequest, RequestsEndMarker, RequestsStartMarker,
    RsdpRequest, SmbiosRequest, StackSizeRequest,
};

pub const STACK_SIZE: u64 = 100_000;

/// Statics that the loader looks for.
macro_rules! requests {
    ($($name:ident: $kind:ty = $value:expr;)*) => {
        $(
            #[used]
            #[unsafe(link_section = ".requests")]
            pub static $name: $kind = $value;
        )*
    };
}
pub(crate) use requests;

#[used]
#[unsafe(link_section = ".requests.start")]
static START_MARKER: RequestsStartMarker = RequestsStartMarker::new();

#[used]
#[unsafe(link_section = ".requests.end")]
static END_MARKER: RequestsEndMarker = RequestsEndMarker::new();

// Recipes of the error catalogue change these two, at their places.
#[used]
#[unsafe(link_section = ".requests.tag")]
pub static BASE_REVISION: BaseRevision = BaseRevision::new();

/// Like the request for the direct map, except for its last word.
#[used]
#[unsafe(link_section = ".requests.unknown")]
pub static UNKNOWN: Raw<0> = Raw::new([0x48DC_F1CB_8AD2_B852, 0x0123_4567_89AB_CDEF], []);

requests! {
    BOOTLOADER_INFO: BootloaderInfoRequest = BootloaderInfoRequest::new();
    COMMAND_LINE: ExecutableCmdlineRequest = ExecutableCmdlineRequest::new();
    FIRMWARE_TYPE: FirmwareTypeRequest = FirmwareTypeRequest::new();
    STACK: StackSizeRequest = StackSizeRequest::new().with_size(STACK_SIZE);
    HHDM: HhdmRequest = HhdmRequest::new();
    FRAMEBUFFER: FramebufferRequest = FramebufferRequest::new();
    PAGING: PagingModeRequest = PagingModeRequest::new();
    MP: MpRequest = MpRequest::new();
    MEMORY_MAP: MemoryMapRequest = MemoryMapRequest::new();
    FILE: ExecutableFileRequest = ExecutableFileRequest::new();
    MODULES: ModuleRequest = ModuleRequest::new().with_internal_modules(INTERNAL);
    RSDP: RsdpRequest = RsdpRequest::new();
    SMBIOS: SmbiosRequest = SmbiosRequest::new();
    EFI: EfiSystemTableRequest = EfiSystemTableRequest::new();
    EFI_MEMORY_MAP: EfiMemoryMapRequest = EfiMemoryMapRequest::new();
    DATE: DateAtBootRequest = DateAtBootRequest::new();
    ADDRESS: ExecutableAddressRequest = ExecutableAddressRequest::new();
    DTB: DeviceTreeBlobRequest = DeviceTreeBlobRequest::new();
    // Newer than the crate.
    PERFORMANCE: Raw<0> = Raw::new([0x6B50_AD9B_F36D_13AD, 0xDC4C_7E88_FC75_9E17], []);
    KEEP_IOMMU: Raw<0> = Raw::new([0x8EBA_ABE5_1F49_0179, 0x2AA8_6A59_FFB4_AB0F], []);
    TSC: Raw<0> = Raw::new([0x10F2_EE1D_87D1_95E4, 0xF747_A2B7_8F6D_DB31], []);
    ENTROPY: Raw<1> = Raw::new([0x65EA_8025_5D56_82C5, 0x9117_2407_23F4_93EB], [6]);
}

static INTERNAL: &[&InternalModule] = &[
    &InternalModule::new()
        .with_path(c"modules/inner.bin")
        .with_cmdline(c"the inner one")
        .with_flags(ModuleFlags::REQUIRED),
    &InternalModule::new().with_path(c"/boot/modules/not-there.bin"),
    &InternalModule::new()
        .with_path(c"/boot/./none/../modules//plain.bin")
        .with_cmdline(c"from the root"),
    &InternalModule::new()
        .with_path(c"../../boot/modules/packed.bin")
        .with_cmdline(c"the packed one")
        .with_flags(ModuleFlags::COMPRESSED),
];

/// A request that the crate does not know.
#[repr(C)]
pub struct Raw<const ARGUMENTS: usize> {
    id: [u64; 4],
    revision: u64,
    response: AtomicU64,
    arguments: [u64; ARGUMENTS],
}

impl<const ARGUMENTS: usize> Raw<ARGUMENTS> {
    const fn new([first, second]: [u64; 2], arguments: [u64; ARGUMENTS]) -> Self {
        Self {
            id: [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B, first, second],
            revision: 0,
            response: AtomicU64::new(0),
            arguments,
        }
    }

    /// The words of the response.
    pub fn words<const COUNT: usize>(&self) -> Option<[u64; COUNT]> {
        let response = self.response.load(Ordering::Relaxed) as *const [u64; COUNT];
        // SAFETY: the loader's promise.
        (!response.is_null()).then(|| unsafe { response.read() })
    }
}

pub fn hhdm() -> u64 {
    HHDM.get_response().map_or(0, |response| response.offset())
}

pub fn revision() -> u64 {
    BASE_REVISION.loaded_revision().unwrap_or(u64::MAX)
}

/// Whether this is the command line.
fn command_line_is(expected: &[u8]) -> bool {
    let line = COMMAND_LINE.get_response().map(|line| line.cmdline());
    line.is_some_and(|line| line.to_bytes() == expected)
}

/// Whether the command line asks to keep the picture on the screen.
pub fn stays() -> bool {
    command_line_is(b"stay")
}

/// Whether the command line says that this is a CD.
pub fn from_cd() -> bool {
    command_line_is(b"optical")
}
