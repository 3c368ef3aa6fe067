//! The control registers' values while the loader runs in long mode.

use x86_64::registers::control::{Cr0Flags, Cr4Flags};

/// The model-specific register EFER.
pub const IA32_EFER: u32 = 0xC000_0080;

/// CR0 in long mode: the bits that are set …
pub const CR0_SET: u32 = (Cr0Flags::PROTECTED_MODE_ENABLE.bits()
    | Cr0Flags::MONITOR_COPROCESSOR.bits()
    | Cr0Flags::EXTENSION_TYPE.bits()
    | Cr0Flags::NUMERIC_ERROR.bits()
    | Cr0Flags::WRITE_PROTECT.bits()
    | Cr0Flags::PAGING.bits()) as u32;
/// … and those that are cleared: no FPU emulation, caches on (Bochs' BIOS leaves them off).
pub const CR0_CLEAR: u32 = (Cr0Flags::EMULATE_COPROCESSOR.bits()
    | Cr0Flags::TASK_SWITCHED.bits()
    | Cr0Flags::ALIGNMENT_MASK.bits()) as u32
    | CACHES_OFF;
/// CR0: no caches.
pub const CACHES_OFF: u32 =
    (Cr0Flags::NOT_WRITE_THROUGH.bits() | Cr0Flags::CACHE_DISABLE.bits()) as u32;
/// CR4 in long mode: the host's `core` uses SSE2.
pub const CR4: u32 = (Cr4Flags::PHYSICAL_ADDRESS_EXTENSION.bits()
    | Cr4Flags::OSFXSR.bits()
    | Cr4Flags::OSXMMEXCPT_ENABLE.bits()) as u32;

const _: () = assert!(CR0_SET & CR0_CLEAR == 0);
