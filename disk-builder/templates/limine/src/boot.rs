//! What the loader tells: the kernel's requests, which the loader looks for in the file, and its
//! responses. The protocol has more of them: processors, ACPI, the time, …
//!
//! <https://github.com/Limine-Bootloader/limine-protocol/blob/trunk/PROTOCOL.md>

use limine::BaseRevision;
use limine::file::File;
use limine::framebuffer::Framebuffer;
use limine::memory_map::Entry;
use limine::request::{
    BootloaderInfoRequest, ExecutableCmdlineRequest, FramebufferRequest, MemoryMapRequest,
    ModuleRequest,
};

#[used]
static BASE_REVISION: BaseRevision = BaseRevision::new();
#[used]
static LOADER: BootloaderInfoRequest = BootloaderInfoRequest::new();
#[used]
static COMMAND_LINE: ExecutableCmdlineRequest = ExecutableCmdlineRequest::new();
#[used]
static MEMORY_MAP: MemoryMapRequest = MemoryMapRequest::new();
#[used]
static MODULES: ModuleRequest = ModuleRequest::new();
#[used]
static FRAMEBUFFER: FramebufferRequest = FramebufferRequest::new();

/// Whether a loader of a version that the crate `limine` knows is the caller.
pub fn is_supported() -> bool {
    BASE_REVISION.is_supported()
}

/// The loader's name and version.
pub fn loader() -> (&'static str, &'static str) {
    let response = LOADER.get_response();
    response.map_or(("nobody", ""), |info| (info.name(), info.version()))
}

/// The kernel's command line; empty if it is not UTF-8.
pub fn command_line() -> &'static str {
    let response = COMMAND_LINE.get_response();
    let text = response.and_then(|response| response.cmdline().to_str().ok());
    text.unwrap_or_default()
}

/// All physical memory, sorted by address.
pub fn memory_map() -> &'static [&'static Entry] {
    MEMORY_MAP.get_response().map_or(&[], |map| map.entries())
}

/// The files that were loaded with the kernel.
pub fn modules() -> &'static [&'static File] {
    MODULES.get_response().map_or(&[], |list| list.modules())
}

/// The first screen.
pub fn framebuffer() -> Option<Framebuffer<'static>> {
    FRAMEBUFFER.get_response()?.framebuffers().next()
}
