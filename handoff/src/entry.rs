//! The first function of a kernel.

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
