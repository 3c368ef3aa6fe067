//! The date, for kernels of the Limine protocol: INT 1Ah, functions 02h and 04h.

use crate::bios::firmware::{Bios, Registers};
use crate::ways_out::limine::requests::unix_time;

/// The real-time clock's time.
const TIME: u32 = 2;
/// Its date.
const DATE: u32 = 4;

/// Seconds from 1970 to now. `None`: there is no clock, or it does not run, or says what makes no sense.
pub fn date(bios: &mut impl Bios) -> Option<u64> {
    // CH, CL, DH, DL.
    let mut ask = |function: u32| {
        let mut registers = Registers::new(function << 8);
        bios.call(0x1A, &mut registers);
        let [cl, ch] = (registers.ecx as u16).to_le_bytes();
        let [dl, dh] = (registers.edx as u16).to_le_bytes();
        (!registers.carry()).then_some([ch, cl, dh, dl])
    };
    let mut date = ask(DATE)?;
    // A day may end in between: once more then.
    for _ in 0..2 {
        let [hours, minutes, seconds, _] = ask(TIME)?;
        let again = ask(DATE)?;
        if again == date {
            return unix_time(date, [hours, minutes, seconds]);
        }
        date = again;
    }
    None
}
