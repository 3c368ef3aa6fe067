//! Compressed files: the loader unpacks what `flate2` packs, whatever is in the header. A wrong bit
//! has a name or does no harm.

use std::io::Write as _;

use boot_path::files::gzip::{
    Decompressor, GzipError, ROOM, is_gzip, likely_length, unpack, unpack_pieces,
};
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use crate::narrow::Narrow;

fn pack(bytes: &[u8], builder: GzBuilder, level: u32) -> Vec<u8> {
    let mut encoder = builder.write(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(crc);
    hasher.update(bytes);
    hasher.finalize()
}

/// Unpacks a file in one piece, in steps, and piece by piece, with the same result.
fn unpacked(file: &[u8]) -> Result<Vec<u8>, GzipError> {
    let pieces = unpacked_by_pieces(file);
    for step in [1, 7, 4096, 1 << 20, usize::MAX] {
        assert_eq!(unpacked_by_steps(file, step), pieces);
    }
    pieces
}

/// Unpacks as the loader does: trusts the end of the file, else measures.
fn unpacked_by_steps(file: &[u8], step: usize) -> Result<Vec<u8>, GzipError> {
    let likely = likely_length(file)?;
    // A test need not have room for whatever a file says.
    let likely = likely.min(1 << 20) as usize;
    if let Some(out) = unpacked_to(likely, file, step)? {
        return Ok(out);
    }
    let length = unpacked_by_pieces(file)?.len();
    assert_ne!(length, likely);
    for wrong in [length.saturating_sub(1), length + 1] {
        let out = unpacked_to(wrong, file, step)?;
        assert!(out.is_none() || wrong == length);
    }
    Ok(unpacked_to(length, file, step)?.unwrap())
}

fn unpacked_to(length: usize, file: &[u8], step: usize) -> Result<Option<Vec<u8>>, GzipError> {
    let mut out = vec![0; length];
    let mut seen = Vec::new();
    let steps = (step, |bytes: &mut [u8]| {
        assert!(bytes.len() <= step);
        seen.extend_from_slice(bytes);
    });
    let fits = unpack(file, &mut out, &mut Decompressor::new(), crc32, steps)?;
    assert!(!fits || seen == out, "all of it was shown, once");
    Ok(fits.then_some(out))
}

fn unpacked_by_pieces(file: &[u8]) -> Result<Vec<u8>, GzipError> {
    let mut pieces = Vec::new();
    let length = unpack_pieces(
        Narrow(file),
        &mut [0; ROOM],
        &mut Decompressor::new(),
        crc32,
        |piece| pieces.extend(piece),
    )?;
    assert_eq!(length, pieces.len() as u64);
    Ok(pieces)
}

/// Text that can be compressed, with a part that cannot.
fn sample() -> Vec<u8> {
    let noise = (0u32..3000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8);
    b"a kernel, a kernel, a kernel; "
        .repeat(400)
        .into_iter()
        .chain(noise)
        .collect()
}

#[test]
fn every_kind_of_header() {
    for builder in [
        GzBuilder::new(),
        GzBuilder::new().filename("kernel.elf"),
        GzBuilder::new().comment("no comment"),
        GzBuilder::new().extra(vec![1; 300]).mtime(77),
        GzBuilder::new().extra("").filename("a").comment("b"),
    ] {
        let file = pack(&sample(), builder, 6);
        assert!(is_gzip(&file));
        assert_eq!(unpacked(&file).unwrap(), sample());
    }
}

#[test]
fn a_header_with_a_checksum() {
    let mut file = pack(b"12345", GzBuilder::new(), 6);
    file[3] |= 2;
    file.splice(10..10, [0x55, 0xAA]);
    assert_eq!(unpacked(&file).unwrap(), b"12345");
    file[3] |= 0x20;
    assert_eq!(unpacked(&file), Err(GzipError::Header));
}

#[test]
fn damage_has_a_name() {
    let good = pack(&sample(), GzBuilder::new().filename("x"), 6);
    let (crc, length) = (good.len() - 8, good.len() - 4);
    let damaged = |at: usize| {
        let mut file = good.clone();
        file[at] ^= 1;
        unpacked(&file).unwrap_err()
    };
    assert!(matches!(damaged(crc), GzipError::Checksum { .. }));
    assert!(matches!(damaged(length), GzipError::Length { .. }));
    assert!(matches!(
        damaged(good.len() / 2),
        GzipError::Data { .. } | GzipError::Checksum { .. }
    ));
    // Too short to be anything.
    assert_eq!(unpacked(&good[..5]), Err(GzipError::Header));
}

/// RFC 1952: "A gzip file consists of a series of members". Zeros pad it to a whole number of
/// blocks.
#[test]
fn members_follow_each_other() {
    let one = pack(b"one", GzBuilder::new(), 6);
    let two = pack(b"two!", GzBuilder::new().filename("two").extra("x"), 9);
    let empty = pack(b"", GzBuilder::new(), 6);
    let noise = pack(&sample(), GzBuilder::new(), 0);
    let zeros = |count| vec![0; count];
    for (parts, expected) in [
        (vec![&one, &two], b"onetwo!".to_vec()),
        (vec![&two, &one, &two], b"two!onetwo!".to_vec()),
        (vec![&empty, &empty], vec![]),
        (vec![&one, &empty], b"one".to_vec()),
        (
            vec![&noise, &one, &noise],
            [sample(), b"one".to_vec(), sample()].concat(),
        ),
        (vec![&one, &zeros(1)], b"one".to_vec()),
        (vec![&one, &zeros(3)], b"one".to_vec()),
        (vec![&noise, &zeros(4)], sample()),
        (vec![&one, &zeros(100_000)], b"one".to_vec()),
        (vec![&empty, &zeros(512)], vec![]),
        (
            vec![&one, &zeros(512), &two, &zeros(70_000)],
            b"onetwo!".to_vec(),
        ),
    ] {
        let file: Vec<u8> = parts.into_iter().flatten().copied().collect();
        assert_eq!(unpacked(&file), Ok(expected));
    }
}

#[test]
fn what_follows_a_member_has_a_name() {
    let one = pack(b"one", GzBuilder::new(), 6);
    let end = one.len() as u64;
    let with = |behind: &[u8]| unpacked(&[&one, behind].concat());
    assert_eq!(with(b"x"), Err(GzipError::Behind { position: end }));
    let behind_zeros = Err(GzipError::Behind { position: end + 3 });
    assert_eq!(with(&[0, 0, 0, 0x1F, 0x8B, 9, 0]), behind_zeros);
    // Another member, which is cut off in its header, in its data and in its trailer.
    assert_eq!(with(&one[..3]), Err(GzipError::Header));
    assert_eq!(with(&one[..11]), Err(GzipError::Data { unpacked: 3 }));
    let cut = &one[..one.len() - 1];
    assert_eq!(with(cut), Err(GzipError::Data { unpacked: 6 }));
    // Each member has a checksum and a length of its own.
    for (member, file) in [[&one[..], &one], [&one, &[0; 9]]].iter().enumerate() {
        for (at, of_length) in [(8, false), (4, true)] {
            let mut file = file.concat();
            file[one.len() - at] ^= 1;
            let error = unpacked(&file).unwrap_err();
            let is_length = matches!(
                error,
                GzipError::Length {
                    unpacked: 3,
                    expected: 2
                }
            );
            let is_checksum = matches!(error, GzipError::Checksum { .. });
            assert!(
                if of_length { is_length } else { is_checksum },
                "{member}: {error:?}"
            );
        }
    }
}

/// A member cannot refer to bytes of the one before it.
#[test]
fn members_do_not_see_each_other() {
    let before = pack(&[0; 100], GzBuilder::new(), 6);
    let mut file = before;
    file.extend(with_a_reference_to_nothing());
    assert_eq!(unpacked(&file), Err(GzipError::Data { unpacked: 101 }));
}

/// Much input, much output, and distances up to the longest.
#[test]
fn more_than_a_window() {
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 15) as u8)
        .collect();
    let mut bytes = Vec::new();
    for distance in [32_768, 32_767, 259, 1] {
        bytes.extend(&noise[..distance]);
        bytes.extend(&noise[..distance]);
        bytes.extend(&noise);
    }
    bytes.extend([0; 300_000]);
    let long_name = vec![b'n'; 100_000];
    let good = pack(&bytes, GzBuilder::new().filename(long_name), 9);
    assert_eq!(unpacked(&good).unwrap(), bytes);
    // The name does not end.
    assert_eq!(unpacked(&good[..70_000]), Err(GzipError::Header));
    for at in (100_020..good.len()).step_by(good.len() / 15) {
        let mut file = good.clone();
        file[at] ^= 0x10;
        unpacked(&file).unwrap_err();
        // A file that is cut short and has another trailer, which claims more or fewer bytes than
        // there are.
        for length in [0_u32, 50_000, 1_000_000] {
            let mut file = good[..at].to_vec();
            file.extend([0; 4]);
            file.extend(length.to_le_bytes());
            unpacked(&file).unwrap_err();
        }
    }
}

/// A trailer may claim any length. If there is not so much memory, the file is refused by the bytes
/// that come out.
#[test]
fn what_the_file_says_costs_nothing() {
    let mut file = pack(&sample(), GzBuilder::new(), 6);
    let length = file.len() - 4;
    file[length..].fill(0xFF);
    assert_eq!(
        unpacked(&file),
        Err(GzipError::Length {
            unpacked: sample().len() as u64,
            expected: u32::MAX.into(),
        })
    );
}

/// A distance that leads in front of the first byte.
#[test]
fn nothing_is_in_front_of_the_first_byte() {
    let file = with_a_reference_to_nothing();
    assert_eq!(unpacked(&file), Err(GzipError::Data { unpacked: 1 }));
}

fn with_a_reference_to_nothing() -> Vec<u8> {
    // A block of fixed codes: the literal 0, length 3 with distance 2, the end.
    let bits = "110" /* last, fixed */ .to_owned()
        + "00110000" /* literal 0 */
        + "0000001" /* length 3 */
        + "00001" /* distance 2 */
        + "0000000" /* end */;
    let bits: Vec<u8> = bits.bytes().map(|bit| bit - b'0').collect();
    let data: Vec<u8> = bits
        .chunks(8)
        .map(|byte| byte.iter().rev().fold(0, |all, bit| all << 1 | bit))
        .collect();
    let mut file = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
    file.extend(data);
    file.extend(crc32fast::hash(&[0; 4]).to_le_bytes());
    file.extend(4_u32.to_le_bytes());
    file
}

proptest! {
    #[test]
    fn any_bytes_come_back(bytes: Vec<u8>, level in 0u32..10) {
        let file = pack(&bytes, GzBuilder::new(), level);
        prop_assert_eq!(unpacked(&file).unwrap(), bytes);
    }

    #[test]
    fn any_file_is_unpacked_or_refused(mut bytes: Vec<u8>, flags: u8, length in 0u32..5000) {
        bytes.splice(0..0, [0x1F, 0x8B, 8, flags]);
        bytes.extend(length.to_le_bytes());
        let _ = unpacked(&bytes);
    }

    #[test]
    fn any_members_come_back(members: Vec<(Vec<u8>, u8)>) {
        let mut file = pack(&[], GzBuilder::new(), 6);
        let mut all = Vec::new();
        for (bytes, zeros) in members {
            file.extend(pack(&bytes, GzBuilder::new(), 6));
            file.extend(vec![0; zeros.into()]);
            all.extend(bytes);
        }
        prop_assert_eq!(unpacked(&file).unwrap(), all);
    }

    #[test]
    fn no_wrong_bit_goes_unnoticed(at: prop::sample::Index, bit in 0u8..8, several: bool) {
        let mut good = pack(&sample(), GzBuilder::new(), 6);
        if several {
            let half = sample().len() / 2;
            good = pack(&sample()[..half], GzBuilder::new(), 6);
            good.extend([0; 10]);
            good.extend(pack(&sample()[half..], GzBuilder::new(), 6));
        }
        let mut file = good.clone();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        // If a file is accepted all the same, its bytes are right: the bit is a hint in the header,
        // or lies behind the end.
        if let Ok(bytes) = unpacked(&file) {
            prop_assert_eq!(bytes, sample(), "byte {}", at);
        }
    }
}
