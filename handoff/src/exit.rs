//! How a kernel ends a run in QEMU, with a status for `disk-builder run` and `cargo test`.

use core::arch::asm;

use crate::{EXIT_FAILURE, EXIT_PORT, EXIT_SUCCESS};

/// How a kernel ends: what [`exit`] reports.
///
/// ```
/// use handoff::ExitCode;
///
/// assert!(ExitCode::SUCCESS.is_success() && !ExitCode::FAILURE.is_success());
/// assert_eq!(ExitCode::from(2 + 2 == 4), ExitCode::SUCCESS);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExitCode(u32);

impl ExitCode {
    /// Success: `disk-builder run` ends with status 0.
    pub const SUCCESS: Self = Self(EXIT_SUCCESS);

    /// Failure: `disk-builder run` ends with status 10.
    pub const FAILURE: Self = Self(EXIT_FAILURE);

    /// Failure, with a value that `disk-builder run` shows. `None` if the value would be taken for
    /// something else: QEMU passes on 7 bits, 0 is what it says when it fails itself, and 10h is
    /// success.
    ///
    /// ```
    /// use handoff::ExitCode;
    ///
    /// const NO_MEMORY: ExitCode = ExitCode::failure(3).unwrap();
    ///
    /// assert_eq!(NO_MEMORY.value(), 3);
    /// assert_eq!(ExitCode::failure(0x10), None);
    /// ```
    #[must_use]
    pub const fn failure(value: u32) -> Option<Self> {
        match value {
            EXIT_SUCCESS => None,
            1..=0x7F => Some(Self(value)),
            _ => None,
        }
    }

    /// What is written to [`EXIT_PORT`].
    ///
    /// ```
    /// assert_eq!(handoff::ExitCode::SUCCESS.value(), handoff::EXIT_SUCCESS);
    /// ```
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// Does it report success?
    ///
    /// ```
    /// assert!(!handoff::ExitCode::FAILURE.is_success());
    /// ```
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 == EXIT_SUCCESS
    }
}

/// Whether all went well.
impl From<bool> for ExitCode {
    fn from(okay: bool) -> Self {
        if okay { Self::SUCCESS } else { Self::FAILURE }
    }
}

/// Reports how the kernel ends, which ends QEMU if it was started by `disk-builder run` or has the
/// device `isa-debug-exit` at [`EXIT_PORT`]. Where nothing is at this port, as on a PC, the CPU stops
/// for good.
///
/// ```no_run
/// # fn tests_pass() -> bool { true }
/// handoff::exit(tests_pass().into())
/// ```
pub fn exit(code: ExitCode) -> ! {
    // SAFETY: the port is QEMU's, or nobody's, and touches no memory.
    unsafe {
        asm!("out dx, eax", in("dx") EXIT_PORT, in("eax") code.0,
            options(nomem, nostack, preserves_flags));
    }
    loop {
        // SAFETY: nothing waits for an interrupt any more; a CPU that an NMI wakes stops again.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// [`exit`] with [`ExitCode::SUCCESS`].
///
/// ```no_run
/// # fn test() {}
/// test();
/// handoff::exit_success()
/// ```
pub fn exit_success() -> ! {
    exit(ExitCode::SUCCESS)
}

/// [`exit`] with [`ExitCode::FAILURE`], as a panic handler does.
///
/// ```no_run
/// # #![allow(dead_code)]
/// fn panic_handler(info: &core::panic::PanicInfo<'_>) -> ! {
///     handoff::exit_failure()
/// }
/// ```
pub fn exit_failure() -> ! {
    exit(ExitCode::FAILURE)
}
