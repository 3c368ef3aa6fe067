//! Time, as the code above the gate sees it: how long a disk has failed to answer.
//!
//! A PC has two counters that need no interrupt of the loader's own: the CPU's time-stamp counter,
//! which says nothing about seconds until its frequency is known, and the BIOS's count of timer
//! ticks at 46Ch, which moves only while the BIOS runs with interrupts on. Either may stand still.

use core::fmt;

use crate::errors::text::facts;
use crate::position::Lba;

/// Both counters, as they stood at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The time-stamp counter.
    pub tsc: u64,
    /// Timer ticks since midnight, as the BIOS counts them.
    pub ticks: u32,
}

impl Moment {
    /// Ticks in a day: the BIOS begins again at 0 then.
    const DAY: u32 = 0x18_00B0;
    /// Ticks in ten minutes. No BIOS call takes that long: a greater difference between two
    /// readings means that somebody set the clock.
    const JUMP: u32 = 10 * 60 * 182 / 10;

    /// Milliseconds from this moment to a later one, by the counter that advanced further: one that
    /// stands still does not count. `tsc_frequency` is in Hz, if it is known.
    pub fn milliseconds_to(self, later: Self, tsc_frequency: Option<u64>) -> u64 {
        let ticks = match later.ticks.checked_sub(self.ticks) {
            Some(ticks) => ticks,
            None => later.ticks.saturating_add(Self::DAY) - self.ticks.min(Self::DAY),
        };
        // There are 1,193,182 / 65,536 ticks a second.
        let by_ticks = match ticks {
            0..=Self::JUMP => u64::from(ticks) * 54_925 / 1000,
            _ => 0,
        };
        let by_tsc = tsc_frequency.map_or(0, |frequency| {
            let kilohertz = (frequency / 1000).max(1);
            later.tsc.saturating_sub(self.tsc) / kilohertz
        });
        by_ticks.max(by_tsc)
    }
}

/// A clock, and a way to tell the user what the loader waits for.
pub trait Clock {
    /// The counters' values. The path asks before every read of a disk, so this costs next to
    /// nothing.
    fn now(&self) -> Moment;

    /// Milliseconds that have passed since a moment; always 0 on a machine without a clock. The
    /// path asks only after a failed read: the first time, the machine may have to find out how
    /// fast the time-stamp counter is.
    fn milliseconds_since(&mut self, moment: Moment) -> u64;

    /// Tells the user what the loader waits for.
    fn tell(&mut self, waiting: &Waiting);
}

impl<C: Clock> Clock for &mut C {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn milliseconds_since(&mut self, moment: Moment) -> u64 {
        (**self).milliseconds_since(moment)
    }

    fn tell(&mut self, waiting: &Waiting) {
        (**self).tell(waiting);
    }
}

/// What the loader waits for: a sector of a disk that failed, and is about to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The drive number of INT 13h.
    pub drive: u8,
    /// The first sector of the read.
    pub lba: Lba,
    /// The status (AH) of the last failure.
    pub status: u8,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        facts(
            f,
            " 7 disk     waiting for drive ##h: LBA #, status ##h",
            &[self.drive.into(), self.lba.as_u64(), self.status.into()],
        )
    }
}

/// How long to wait for each of several things that should come soon: a second. Once five have not
/// come, a hundredth of that for each of the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    in_vain: u32,
}

impl Patience {
    /// How many may use up their full time and not come.
    const MOST: u32 = 5;

    /// Microseconds for the next one.
    pub fn microseconds(self) -> u64 {
        if self.in_vain < Self::MOST {
            1_000_000
        } else {
            10_000
        }
    }

    /// That one did not come.
    pub fn was_in_vain(&mut self) {
        self.in_vain += 1;
    }
}
