//! Compressed files: the loader unpacks what `flate2` packs, whatever is in the header. A wrong bit
//! has a name or does no harm.

use std::io::Write as _;

use boot_path::files::gzip::{
    Decompressor, GzipError, ROOM, is_gzip, unpack, unpack_by_steps, unpack_pieces, unpacked_length,
};
use flate2::{Compression, GzBuilder};
use proptest::prelude::*;

use crate::narrow::Narrow;

fn pack(bytes: &[u8], builder: GzBuilder, level: u32) -> Vec<u8> {
    let mut encoder = builder.write(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Unpacks a file in one piece and piece by piece, with the same result.
fn unpacked(file: &[u8]) -> Result<Vec<u8>, GzipError> {
    let pieces = unpacked_by_pieces(file);
    let mut whole = Vec::new();
    let result = unpacked_length(file).and_then(|length| {
        whole.resize(length as usize, 0);
        unpack(file, &mut whole, &mut Decompressor::new(), crc32fast::hash)
    });
    let whole = result.map(|()| whole);
    assert_eq!(pieces, whole);
    for step in [1, 7, 4096, 1 << 20] {
        assert_eq!(unpacked_by_steps(file, step), whole);
    }
    whole
}

fn unpacked_by_steps(file: &[u8], step: usize) -> Result<Vec<u8>, GzipError> {
    let mut out = vec![0; unpacked_length(file)? as usize];
    let mut seen = Vec::new();
    let steps = (step, |bytes: &mut [u8]| {
        assert!(bytes.len() <= step);
        seen.extend_from_slice(bytes);
    });
    let mut state = Decompressor::new();
    unpack_by_steps(file, &mut out, &mut state, crc32fast::hash, steps)?;
    assert_eq!(seen, out, "all of it was shown, once");
    Ok(out)
}

fn unpacked_by_pieces(file: &[u8]) -> Result<Vec<u8>, GzipError> {
    let mut pieces = Vec::new();
    let length = unpack_pieces(
        Narrow(file),
        &mut [0; ROOM],
        &mut Decompressor::new(),
        |crc, bytes| {
            let mut hasher = crc32fast::Hasher::new_with_initial(crc);
            hasher.update(bytes);
            hasher.finalize()
        },
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

#[test]
fn nothing_is_left_over() {
    let mut file = pack(b"one", GzBuilder::new(), 6);
    file.extend(pack(b"two", GzBuilder::new(), 6));
    assert!(matches!(unpacked(&file), Err(GzipError::Length { .. })));
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
        unpacked_by_pieces(&file),
        Err(GzipError::Length {
            unpacked: sample().len() as u64,
            expected: u32::MAX.into(),
        })
    );
}

/// A distance that leads in front of the first byte.
#[test]
fn nothing_is_in_front_of_the_first_byte() {
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
    assert_eq!(unpacked(&file), Err(GzipError::Data { unpacked: 1 }));
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
    fn no_wrong_bit_goes_unnoticed(at: prop::sample::Index, bit in 0u8..8) {
        let good = pack(&sample(), GzBuilder::new(), 6);
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
