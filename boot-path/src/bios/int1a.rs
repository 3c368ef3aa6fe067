//! The date, for kernels of the Limine protocol: INT 1Ah, functions 02h and 04h.

use crate::bios::firmware::{Bios, Registers};

/// The real-time clock's time.
const TIME: u32 = 2;
/// Its date.
const DATE: u32 = 4;

/// Seconds from 1970 to now. `None`: there is no clock, it does not run, or its answer makes no
/// sense.
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
    // Midnight may pass between the two calls: then ask once more.
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

/// Seconds from 1970 to a time of the real-time clock, in BCD as INT 1Ah reports it: century, year,
/// month, day; hours, minutes, seconds. `None`: it makes no sense. (The 31st of a month of 30 days
/// counts as the first of the next one.)
pub fn unix_time(date: [u8; 4], time: [u8; 3]) -> Option<u64> {
    /// Days from 1 March of the year 0 to 1970.
    const TO_1970: u64 = 719_468;

    let number = |bcd: u8| u64::from(bcd >> 4) * 10 + u64::from(bcd & 15);
    let [century, year, month, day] = date.map(number);
    let [hours, minutes, seconds] = time.map(number);
    let digits = date
        .iter()
        .chain(&time)
        .all(|&bcd| bcd >> 4 < 10 && bcd & 15 < 10);
    let year = century * 100 + year;
    let good = digits
        && year >= 1970
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hours < 24
        && minutes < 60
        && seconds < 60;
    if !good {
        return None;
    }
    // A year that begins in March has the leap day at its end, and months of 31, 30, 31, 30, 31
    // days.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + (day - 1) - TO_1970;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}
