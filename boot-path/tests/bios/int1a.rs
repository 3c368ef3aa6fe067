//! The clock of BIOSes that are not as they should be.

use boot_path::bios::firmware::{Bios, FLAG_CARRY, Registers};
use boot_path::bios::int1a::date;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A clock: what each call of INT 1Ah answers, one after the other. `None`: CF stays set.
struct Clock {
    answers: Vec<(u32, Option<[u8; 4]>)>,
    calls: usize,
}

impl Bios for Clock {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        assert_eq!(number, 0x1A);
        let (function, answer) = self.answers[self.calls];
        self.calls += 1;
        assert_eq!(registers.ah(), function as u8);
        assert!(
            registers.carry(),
            "a service that does nothing has not succeeded"
        );
        if let Some([ch, cl, dh, dl]) = answer {
            registers.eflags &= !FLAG_CARRY;
            registers.ecx = 0xDEAD_0000 | u32::from_le_bytes([cl, ch, 0, 0]);
            registers.edx = 0xBEEF_0000 | u32::from_le_bytes([dl, dh, 0, 0]);
        }
    }

    fn read<T: FromBytes>(&self, _: u64) -> T {
        unreachable!()
    }

    fn put<T: IntoBytes + Immutable>(&mut self, _: &T) {
        unreachable!()
    }

    fn write<T: IntoBytes + Immutable>(&mut self, _: u64, _: &T) {
        unreachable!()
    }

    fn transferred(&self, _: usize) -> &[u8] {
        unreachable!()
    }
}

const DAY: Option<[u8; 4]> = Some([0x20, 0x26, 0x11, 0x26]);
const NEXT_DAY: Option<[u8; 4]> = Some([0x20, 0x26, 0x11, 0x27]);
const LATE: Option<[u8; 4]> = Some([0x23, 0x59, 0x59, 0]);
const EARLY: Option<[u8; 4]> = Some([0, 0, 0, 1]);
/// 27 November 2026.
const MIDNIGHT: u64 = 1_795_737_600;

fn ask(answers: &[(u32, Option<[u8; 4]>)]) -> (Option<u64>, bool) {
    let mut clock = Clock {
        answers: answers.to_vec(),
        calls: 0,
    };
    let date = date(&mut clock);
    (date, clock.calls == answers.len())
}

#[test]
fn the_date_is_read() {
    assert_eq!(
        ask(&[(4, DAY), (2, LATE), (4, DAY)]),
        (Some(MIDNIGHT - 1), true)
    );
}

#[test]
fn a_day_may_end_in_between() {
    let answers = [
        (4, DAY),
        (2, LATE),
        (4, NEXT_DAY),
        (2, EARLY),
        (4, NEXT_DAY),
    ];
    assert_eq!(ask(&answers), (Some(MIDNIGHT), true));
    // The loader does not ask for ever.
    let answers = [(4, DAY), (2, LATE), (4, NEXT_DAY), (2, LATE), (4, DAY)];
    assert_eq!(ask(&answers), (None, true));
}

#[test]
fn no_clock_no_date() {
    assert_eq!(ask(&[(4, None)]), (None, true));
    assert_eq!(ask(&[(4, DAY), (2, None)]), (None, true));
    assert_eq!(ask(&[(4, DAY), (2, LATE), (4, None)]), (None, true));
    let zero = Some([0; 4]);
    assert_eq!(ask(&[(4, zero), (2, zero), (4, zero)]), (None, true));
}
