//! The first function of a kernel.

use crate::{BOOTPATH_MAGIC, BOOTPATH_VERSION, BootInfo};

/// Names the kernel's entry function, of type `fn(&'static BootInfo) -> !`, and defines `_start`,
/// which the ELF header names as the entry point.
///
/// `_start` checks that a Bootpath loader of a version that this crate knows is the caller, and
/// panics if not: the panic handler is the kernel's.
///
/// ```no_run
/// #![no_main]
///
/// handoff::entry_point!(start);
///
/// fn start(boot: &'static handoff::BootInfo) -> ! {
///     for region in boot.memory_map() { /* … */ }
///     loop {}
/// }
/// ```
///
/// Another signature does not compile:
///
/// ```compile_fail,E0308
/// #![no_main]
///
/// handoff::entry_point!(start);
///
/// fn start(boot: &'static handoff::BootInfo) {}
/// ```
#[macro_export]
macro_rules! entry_point {
    ($main:path) => {
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn _start(info: *const $crate::BootInfo) -> ! {
                // The type is the check: another signature does not compile.
                let main: fn(&'static $crate::BootInfo) -> ! = $main;
                // SAFETY: the loader calls this function, once, with what the contract says.
                match unsafe { $crate::BootInfo::from_loader(info) } {
                    ::core::option::Option::Some(info) => main(info),
                    ::core::option::Option::None => {
                        ::core::panic!("not started by a Bootpath loader of a known version")
                    }
                }
            }
        };
    };
}

impl BootInfo {
    /// What the loader passed in RDI, if it is a `BootInfo` that this crate understands: aligned,
    /// with the right magic number and version, and at least as long as this crate's structure.
    /// [`entry_point!`](crate::entry_point) calls this; a kernel with an entry function of its own
    /// calls it first.
    ///
    /// # Safety
    /// `info` is the value that the kernel's entry function was called with. If a Bootpath loader
    /// called it, all that the structure points to is valid and nothing but the kernel changes it:
    /// the reference holds until the kernel gives [`Reclaimable`](crate::MemoryKind::Reclaimable)
    /// memory away or takes down the physical map.
    #[must_use]
    pub unsafe fn from_loader(info: *const Self) -> Option<&'static Self> {
        if info.is_null() || !info.is_aligned() {
            return None;
        }
        // SAFETY: the caller promises that it comes from the loader, which maps the whole.
        let info = unsafe { &*info };
        (info.magic == BOOTPATH_MAGIC
            && info.version == BOOTPATH_VERSION
            && info.size as usize >= size_of::<Self>())
        .then_some(info)
    }
}
