//! Compressed files: what `flate2` packs is unpacked, whatever is in the header; a wrong bit has a
//! name or does no harm.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use proptest::prelude::*;
use stage2::gzip::{Decompressor, GzipError, is_gzip, unpack, unpacked_length};

fn pack(bytes: &[u8], builder: GzBuilder, level: u32) -> Vec<u8> {
    let mut encoder = builder.write(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn unpacked(file: &[u8]) -> Result<Vec<u8>, GzipError> {
    let mut out = vec![0; unpacked_length(file)? as usize];
    unpack(file, &mut out, &mut Decompressor::new(), crc32fast::hash)?;
    Ok(out)
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
        // What comes out all the same is right: a hint in the header, or the bits behind the end.
        if let Ok(bytes) = unpacked(&file) {
            prop_assert_eq!(bytes, sample(), "byte {}", at);
        }
    }
}
