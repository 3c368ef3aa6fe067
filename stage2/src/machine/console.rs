//! Step 5: the console, on COM1 and VGA text at once.
//!
//! **On entry**: 64-bit mode, nothing known of the devices. **This step**: looks for COM1 and
//! programs it (115,200 baud, 8N1); looks for VGA text, and sets mode 3 if another one is active.
//! Either may be missing. **On exit**: [`say!`] prints.
//!
//! How that is done, and what may be printed, is in [`boot_path::devices::console`].

use boot_path::bios::transcript;
use boot_path::devices::console::{Console, Screen, SerialLine};
use boot_path::say;

use crate::machine::header::recorded;
use crate::machine::variables::OneThread;
use crate::machine::{Machine, calls, physical};

/// BIOS data area: the cursor on page 0, column and row (two u8).
const BDA_CURSOR: u64 = 0x450;

/// The console.
pub static CONSOLE: OneThread<Console<Machine>> = OneThread::new(Console::new(Machine));

impl Screen for Machine {
    fn cell(self, index: u64) -> u16 {
        physical::read_cell(index)
    }

    fn set_cell(self, index: u64, value: u16) {
        physical::write_cell(index, value);
    }

    fn move_cells_up(self, first: u64, count: u64) {
        physical::move_cells_up(first, count);
    }

    fn teletype(self, character: u8) {
        calls::print(character);
    }

    fn bios_cursor(self) -> [u8; 2] {
        physical::read(BDA_CURSOR)
    }

    fn set_bios_cursor(self, cursor: [u8; 2]) {
        physical::write(BDA_CURSOR, cursor);
    }
}

/// Begins to print.
pub fn start() {
    find_devices();
    say!(Machine, "Bootpath ", env!("CARGO_PKG_VERSION"));
    say!(Machine, " 5 console  ", CONSOLE.found());
}

/// Looks for serial line and screen. In between, if the image records, the first line of the
/// transcript goes to the serial line.
fn find_devices() {
    CONSOLE.find_serial_line();
    if recorded() {
        let _ = transcript::begin(&mut serial_line()); // cannot fail
    }
    CONSOLE.find_screen();
}

/// From here on everything is printed everywhere, as an error is. Starts the console if that has
/// not been done yet.
pub fn alarm() {
    if !CONSOLE.is_started() {
        find_devices();
    }
    CONSOLE.alarm();
}

/// The serial line without the screen.
pub fn serial_line() -> SerialLine<'static, Machine> {
    SerialLine(&*CONSOLE)
}
