//! A BIOS that says anything at all.

use boot_path::bios::firmware::{Bios, Registers};
use boot_path::bios::time::{Clock, Moment, Waiting};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A BIOS that says anything at all.
pub struct RandomBios {
    answers: std::vec::IntoIter<u32>,
    /// Changes every second answer so that it does not end everything.
    luck: fn(&mut Registers),
    calls: usize,
    most_calls: usize,
}

impl RandomBios {
    pub fn new(answers: Vec<u32>, most_calls: usize, luck: fn(&mut Registers)) -> Self {
        Self {
            answers: answers.into_iter(),
            luck,
            calls: 0,
            most_calls,
        }
    }
}

impl Clock for RandomBios {
    fn now(&self) -> Moment {
        Moment::default()
    }

    fn milliseconds_since(&mut self, _: Moment) -> u64 {
        self.answers.next().unwrap_or(0).into()
    }

    fn tell(&mut self, _: &Waiting) {}
}

impl Bios for RandomBios {
    fn call(&mut self, _: u8, registers: &mut Registers) {
        self.calls += 1;
        assert!(self.calls <= self.most_calls, "calls without end");
        for register in [
            &mut registers.eflags,
            &mut registers.eax,
            &mut registers.ebx,
            &mut registers.ecx,
            &mut registers.edx,
        ] {
            *register = self.answers.next().unwrap_or(*register);
        }
        if registers.eflags & 2 != 0 {
            (self.luck)(registers);
        }
    }

    fn read<T: FromBytes>(&self, address: u64) -> T {
        let seed = self.answers.as_slice().first().copied().unwrap_or(0);
        let byte = |at: usize| (seed.rotate_left(at as u32 * 7) ^ address as u32) as u8;
        let bytes: Vec<u8> = (0..size_of::<T>()).map(byte).collect();
        T::read_from_bytes(&bytes).expect("it has this length")
    }

    fn put<T: IntoBytes + Immutable>(&mut self, _: &T) {}

    fn write<T: IntoBytes + Immutable>(&mut self, _: u64, _: &T) {}

    fn transferred(&self, length: usize) -> &[u8] {
        let buffer = const { &[0; 1 << 16] };
        buffer.get(..length).expect("no more than the buffer holds")
    }
}
