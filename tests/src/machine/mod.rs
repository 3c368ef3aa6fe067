//! An emulated PC: it is started with an image, watched over its serial line and its screen, and
//! ended in time.

mod qemu;
mod bochs;
mod running;
mod picture;

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

pub use bochs::{Bochs, BochsDrive, bochs_program, firmware};
pub use picture::Picture;
pub use qemu::{Disk, Machine};
pub use running::Running;

/// The start and the end of the loader's reports of errors.
pub const ERROR: &str = "error ";
pub(crate) const OFFER: &str = "press a key to reboot";

/// How long a machine may run. Boots take one or two seconds; a busy host may need ten times that.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// How often the serial line is polled.
const POLL: Duration = Duration::from_millis(10);
/// VGA text memory: physical address, columns and rows.
const TEXT_MEMORY: u32 = 0xB_8000;
pub(crate) const COLUMNS: usize = 80;
pub(crate) const ROWS: usize = 25;

/// QEMU's name for the device that the machine boots from, if it is not part of the chipset.
const DRIVE: &str = "boot-device";

fn serial(directory: &TempDir) -> PathBuf {
    directory.path().join("serial")
}

/// The socket at the other end of a serial line that somebody types on.
fn line(directory: &TempDir) -> PathBuf {
    directory.path().join("line")
}

fn monitor(directory: &TempDir) -> PathBuf {
    directory.path().join("monitor")
}
