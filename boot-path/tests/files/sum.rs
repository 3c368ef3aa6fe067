//! The checksum for CPUs without an instruction for CRC-32C.

use boot_path::files::integrity::{Checksum, Running};
use boot_path::files::sum::Sum;
use proptest::prelude::*;

use crate::file_bytes::noise;
use crate::integrity::crc32c;

/// The sum of bytes that come in one piece.
fn sum(bytes: &[u8]) -> [u64; 2] {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.end()
}

/// The sum as its description says, word by word.
fn sum_by_words(bytes: &[u8]) -> [u64; 2] {
    const ROTATIONS: [u32; 16] = [
        29, 47, 11, 37, 53, 19, 23, 41, 7, 31, 43, 13, 17, 59, 39, 25,
    ];

    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(128), 0);
    padded.extend((bytes.len() as u64).to_le_bytes());
    padded.resize(padded.len().next_multiple_of(128), 0);
    let mut halves = [0x243F_6A88_85A3_08D3_u64, 0x1319_8A2E_0370_7344];
    for (index, word) in padded.as_chunks::<8>().0.iter().enumerate() {
        let (this, other) = (index % 2, 1 - index % 2);
        halves[this] = halves[this].wrapping_add(u64::from_le_bytes(*word));
        halves[other] = halves[other].wrapping_add(halves[this]);
        halves[this] = halves[this].rotate_left(ROTATIONS[index % 16]);
    }
    halves
}

proptest! {
    #[test]
    fn a_sum_does_not_depend_on_the_pieces(
        bytes in prop::collection::vec(any::<u8>(), 0..1000),
        cuts: [prop::sample::Index; 3],
    ) {
        let mut cuts = cuts.map(|cut| cut.index(bytes.len() + 1));
        cuts.sort_unstable();
        let mut running = Sum::default();
        let mut start = 0;
        for cut in cuts.into_iter().chain([bytes.len()]) {
            running.add(&bytes[start..cut]);
            start = cut;
        }
        prop_assert_eq!(running.end(), sum_by_words(&bytes));
        let by_instruction = Running::new(Some(crc32c));
        for mut running in [by_instruction, Running::new(None)] {
            running.add(&bytes);
            let expected = match running {
                Running::Crc32c(..) => Checksum::Crc32c(crc32c(0, &bytes)),
                Running::Sum(_) => Checksum::Sum(sum(&bytes)),
            };
            prop_assert_eq!(running.end(), expected);
        }
    }
}

/// What files are made of: random bytes, zeros, ones, text, and words that count.
fn contents(length: usize) -> [Vec<u8>; 5] {
    let words = (0..).flat_map(u64::to_le_bytes);
    [
        noise(length),
        vec![0; length],
        vec![0xFF; length],
        b"options quiet\n"
            .iter()
            .copied()
            .cycle()
            .take(length)
            .collect(),
        words.take(length).collect(),
    ]
}

/// Any two different bits of two rounds, in whatever they are wrong.
#[test]
fn one_or_two_wrong_bits_change_the_sum() {
    const LENGTH: usize = 256;

    for good in contents(LENGTH) {
        let mut bytes = good.clone();
        let mut sums = vec![sum(&good)];
        for one in 0..8 * LENGTH {
            bytes[one / 8] ^= 1 << (one % 8);
            sums.push(sum(&bytes));
            for two in 0..one {
                bytes[two / 8] ^= 1 << (two % 8);
                assert_ne!(sum(&bytes), sums[0], "bits {two} and {one}");
                bytes[two / 8] ^= 1 << (two % 8);
            }
            bytes[one / 8] ^= 1 << (one % 8);
        }
        let count = sums.len();
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), count, "two wrong bits have the same sum");
    }
}

/// Far apart: the first bits and the last ones, with thousands of words between them.
#[test]
fn two_wrong_bits_far_apart_change_the_sum() {
    for length in [4096, 64 << 10, 1 << 20] {
        for good in contents(length) {
            let right = sum(&good);
            let mut bytes = good;
            for one in 0..16 {
                for two in 0..16 {
                    let (one, two) = (17 * one, 8 * length - 1 - 17 * two);
                    for bit in [one, two] {
                        bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                    assert_ne!(sum(&bytes), right, "bits {one} and {two} of {length}");
                    for bit in [one, two] {
                        bytes[bit / 8] ^= 1 << (bit % 8);
                    }
                }
            }
        }
    }
}

/// Every exchange of two sectors that differ, a sector that is there twice, and one that is missing.
#[test]
fn exchanged_sectors_change_the_sum() {
    const COUNT: usize = 64;

    let counting = |number: usize| {
        let mut sector = vec![0; 512];
        sector[510] = number as u8;
        sector
    };
    let counted: Vec<u8> = (0..COUNT).flat_map(counting).collect();
    for good in [noise(512 * COUNT), counted] {
        let right = sum(&good);
        let sectors: Vec<&[u8]> = good.chunks(512).collect();
        for one in 0..COUNT {
            for two in 0..one {
                let mut order = sectors.clone();
                order.swap(one, two);
                assert_ne!(sum(&order.concat()), right, "{two} and {one}");
            }
            let mut order = sectors.clone();
            order.remove(one);
            assert_ne!(sum(&order.concat()), right);
            order.insert(one, sectors[(one + 1) % COUNT]);
            assert_ne!(sum(&order.concat()), right);
        }
    }
}

/// Bytes more or fewer, also zeros, and damage of many bits.
#[test]
fn lengths_and_bursts_change_the_sum() {
    for good in contents(4096) {
        let mut sums: Vec<_> = (0..good.len()).map(|length| sum(&good[..length])).collect();
        let right = sum(&good);
        for start in 0..good.len() - 600 {
            let mut bytes = good.clone();
            for byte in &mut bytes[start..start + 1 + start % 600] {
                *byte ^= 0xA5;
            }
            sums.push(sum(&bytes));
        }
        assert!(!sums.contains(&right));
        let count = sums.len();
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), count);
    }
}
