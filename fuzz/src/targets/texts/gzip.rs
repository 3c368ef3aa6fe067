//! Compressed files.

use std::io::Read as _;

use boot_path::files::gzip::{
    Decompressor, MAGIC, ROOM, is_gzip, unpack, unpack_pieces, unpacked_length,
};
use flate2::read::GzDecoder;

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
    let length = match unpacked_length(&file) {
        Err(error) => {
            show(&error);
            return false;
        }
        Ok(length) if length > MOST => return false,
        Ok(length) => length,
    };
    let mut out = vec![0; length as usize];
    let unpacked = unpack(&file, &mut out, &mut Decompressor::new(), crc32fast::hash);
    let mut pieces = Vec::new();
    let by_pieces = unpack_pieces(
        &file,
        &mut [0; ROOM],
        &mut Decompressor::new(),
        |crc, bytes| {
            let mut hasher = crc32fast::Hasher::new_with_initial(crc);
            hasher.update(bytes);
            hasher.finalize()
        },
        |piece| pieces.extend_from_slice(piece),
    );
    assert_eq!(by_pieces, unpacked.map(|()| length));
    assert!(by_pieces.is_err() || pieces == out);
    if let Err(error) = unpacked {
        show(&error);
        return false;
    }
    // The checksum, computed bit by bit.
    let crc = out.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ if crc & 1 != 0 { 0xEDB8_8320 } else { 0 }
        })
    });
    let trailer = file.len() - 8;
    assert_eq!((!crc).to_le_bytes(), file[trailer..trailer + 4]);
    // A reader that also checks the header's own checksum may refuse the file, but not find other
    // bytes.
    let mut other = Vec::new();
    if GzDecoder::new(&file[..]).read_to_end(&mut other).is_ok() {
        assert_eq!(out, other);
    }
    true
}
