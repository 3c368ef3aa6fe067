//! Step 5: the console, on COM1 and VGA text at once.
//!
//! **On entry**: 64-bit mode, nothing known of the devices. **This step**: COM1 is looked for and
//! programmed (115,200 baud, 8N1); VGA text is looked for, and mode 3 set when another one is
//! active. Either may be missing. **On exit**: [`say!`] prints.
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

/// Looks for serial line and screen. In between, the serial line gets the first line of a transcript, if
/// there is to be one.
fn find_devices() {
    CONSOLE.find_serial_line();
    if recorded() {
        let _ = transcript::begin(&mut serial_line()); // cannot fail
    }
    CONSOLE.find_screen();
}

/// From here on everything is printed everywhere, as an error is. Starts the console where that has not
/// come yet.
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
