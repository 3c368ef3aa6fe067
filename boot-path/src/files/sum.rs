//! A checksum of 128 bits, for CPUs without an instruction for CRC-32C.
//!
//! There, a CRC takes more than four instructions a byte, and this sum takes 0.4: an addition of
//! each word to one half, an addition of that half to the other one, and a rotation. The halves take
//! turns. `docs/decisions/0029-two-checksums.md` compares it with others.
//!
//! Each step can be undone, whatever the word is. So different words at one place lead to different
//! sums: any damage within eight bytes is found. So is damage to two words next to each other, or
//! with one word between them: by then, both halves differ, and a word changes only one of them.
//! Otherwise, two inputs have the same sum by chance only, which is far below 2⁻³².

use core::slice::from_ref;

/// The words of a round.
const WORDS: usize = 16;
/// The bytes of a round.
const ROUND: usize = 8 * WORDS;
const _: () = assert!(ROUND == disk_layout::stage2::CHECK_ROUND);

/// The halves at the start: digits of π. With zeros, zeros would leave no trace.
pub const START: [u64; 2] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344];

/// A checksum that is being computed.
#[derive(Clone, Debug)]
pub struct Sum {
    halves: [u64; 2],
    /// The bytes so far.
    length: u64,
    /// Bytes that are not enough for a round yet, at the front.
    rest: [u8; ROUND],
}

impl Default for Sum {
    /// The sum of nothing.
    fn default() -> Self {
        Self {
            halves: START,
            length: 0,
            rest: [0; ROUND],
        }
    }
}

impl Sum {
    /// Adds bytes. It makes no difference in which pieces they come.
    pub fn add(&mut self, mut bytes: &[u8]) {
        let filled = self.length as usize % ROUND;
        self.length += bytes.len() as u64;
        if filled > 0 {
            let room = self.rest.get_mut(filled..).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            let (front, behind) = bytes.split_at(taken);
            room.iter_mut()
                .zip(front)
                .for_each(|(to, from)| *to = *from);
            if filled + taken < ROUND {
                return;
            }
            self.halves = add_rounds(self.halves, from_ref(&self.rest));
            bytes = behind;
        }
        let (rounds, rest) = bytes.as_chunks();
        self.halves = add_rounds(self.halves, rounds);
        self.rest
            .iter_mut()
            .zip(rest)
            .for_each(|(to, from)| *to = *from);
    }

    /// The sum of all bytes: zeros fill up the last round, and the length is a round of its own.
    pub fn end(mut self) -> [u64; 2] {
        let filled = self.length as usize % ROUND;
        if filled > 0 {
            self.rest.iter_mut().skip(filled).for_each(|byte| *byte = 0);
            self.halves = add_rounds(self.halves, from_ref(&self.rest));
        }
        let mut last = [0; ROUND];
        let (length, _) = last.split_at_mut(8);
        length.copy_from_slice(&self.length.to_le_bytes());
        add_rounds(self.halves, from_ref(&last))
    }
}

/// The sum of whole rounds, without their length.
pub fn of_rounds(rounds: &[[u8; ROUND]]) -> [u64; 2] {
    add_rounds(START, rounds)
}

/// All bytes go through here: the code of a round is there once.
#[inline(never)]
fn add_rounds(halves: [u64; 2], rounds: &[[u8; ROUND]]) -> [u64; 2] {
    rounds.iter().fold(halves, add_round)
}

/// Calls a macro with the words of a round, two at a time: the number of the first one, and by how many
/// bits the first and the second half are rotated behind their words. No two are alike, so that
/// nothing repeats itself within a round. (The compiler for stage2 would make a function of what
/// does.)
#[macro_export]
macro_rules! with_rotations {
    ($macro:ident) => {
        $macro! {
            0: 29, 47;
            2: 11, 37;
            4: 53, 19;
            6: 23, 41;
            8: 7, 31;
            10: 43, 13;
            12: 17, 59;
            14: 39, 25;
        }
    };
}

/// Adds the words of a round. Written out: a loop would take as many instructions again.
#[inline(always)]
fn add_round([mut a, mut b]: [u64; 2], round: &[u8; ROUND]) -> [u64; 2] {
    let (words, _) = round.as_chunks::<8>();
    macro_rules! add {
        ($($word:literal: $by_a:literal, $by_b:literal;)*) => {
            $(
                a = a.wrapping_add(u64::from_le_bytes(words[$word]));
                b = b.wrapping_add(a);
                a = a.rotate_left($by_a);
                b = b.wrapping_add(u64::from_le_bytes(words[$word + 1]));
                a = a.wrapping_add(b);
                b = b.rotate_left($by_b);
            )*
        };
    }
    with_rotations!(add);
    [a, b]
}
