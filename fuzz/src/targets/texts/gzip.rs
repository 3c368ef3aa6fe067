//! Compressed files.

use std::io::Read as _;

use boot_path::files::gzip::{
    Decompressor, GzipError, MAGIC, ROOM, is_gzip, likely_length, unpack, unpack_pieces,
};
use flate2::read::MultiGzDecoder;

use crate::targets::show;

/// The most bytes that a file may have when unpacked: the fuzzer's memory is limited.
const MOST: u64 = 1 << 20;

/// The input: the file without its first three bytes.
pub fn run(bytes: &[u8]) {
    accepts(bytes);
}

/// Whether the input is accepted.
pub fn accepts(bytes: &[u8]) -> bool {
    let file = [&MAGIC, bytes].concat();
    assert!(is_gzip(&file));
    let mut pieces = Vec::new();
    let by_pieces = unpack_pieces(
        &file,
        &mut [0; ROOM],
        &mut Decompressor::new(),
        crc32,
        |piece| {
            let room = (MOST as usize).saturating_sub(pieces.len());
            pieces.extend_from_slice(piece.get(..room).unwrap_or(piece));
        },
    );
    let unpacked = by_steps(&file, by_pieces);
    match (by_pieces, unpacked) {
        (Err(error), _) => {
            show(&error);
            return false;
        }
        (Ok(_), None) => return false,
        (Ok(_), Some(unpacked)) => assert_eq!(unpacked, pieces),
    }
    // A reader that also checks the headers' own checksums may refuse the file, and so may one that
    // does not know of zeros, but neither finds other bytes.
    let mut other = Vec::new();
    if MultiGzDecoder::new(&file[..])
        .read_to_end(&mut other)
        .is_ok()
    {
        assert_eq!(pieces, other);
    }
    true
}

/// Unpacks as the loader does, with the same outcome as piece by piece; `None`: there is no room for
/// that.
fn by_steps(file: &[u8], by_pieces: Result<u64, GzipError>) -> Option<Vec<u8>> {
    let to = |length: u64| {
        let mut out = vec![0; length as usize];
        let steps = (usize::MAX, |_: &mut [u8]| {});
        let fits = unpack(file, &mut out, &mut Decompressor::new(), crc32, steps);
        fits.map(|fits| fits.then_some(out))
    };
    let likely = match likely_length(file) {
        Ok(likely) => likely,
        Err(error) => {
            assert_eq!(by_pieces, Err(error));
            return None;
        }
    };
    if likely <= MOST {
        match to(likely) {
            Ok(None) => assert_ne!(by_pieces, Ok(likely)),
            Ok(Some(out)) => {
                assert_eq!(by_pieces, Ok(likely));
                return Some(out);
            }
            Err(error) => {
                assert_eq!(by_pieces, Err(error));
                return None;
            }
        }
    }
    let length = by_pieces.ok().filter(|&length| length <= MOST)?;
    Some(to(length).unwrap().unwrap())
}

fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    // Bit by bit.
    !bytes.iter().fold(!crc, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0xEDB8_8320 } else { 0 }
        })
    })
}
