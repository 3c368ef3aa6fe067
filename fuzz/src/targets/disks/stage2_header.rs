//! The header of stage2: how much of it the checksum covers, and what its manifest says.

use boot_path::entry::entry_file::PATH_KERNEL;
use boot_path::files::checksum::{CRC_32C, Tables};
use boot_path::files::integrity::{Crc32c, Manifest, Sums, path_key};
use disk_layout::Stage2Header;
use disk_layout::manifest::{MAX_ENTRIES, parse};
use disk_layout::stage2::{CHECK_START, MAX_LENGTH, SUMMED, covered, manifest};
use zerocopy::{FromBytes as _, IntoBytes as _};

/// The input: stage2's image, or other bytes in its place.
pub fn run(bytes: &[u8]) {
    check(bytes);
    // Also with as many bytes as any length may ask for, and more.
    let mut whole = bytes.to_vec();
    whole.resize(bytes.len().max(MAX_LENGTH + 1024), 0);
    check(&whole);
}

fn check(bytes: &[u8]) {
    check_manifest(bytes);
    let Some(covered) = covered(bytes) else {
        if let Ok((header, _)) = Stage2Header::read_from_prefix(bytes) {
            assert!(
                !accepted(header.length.get()) || header.length.get() as usize > bytes.len(),
                "stage2 itself takes this length"
            );
        }
        return;
    };
    let (header, _) = Stage2Header::read_from_prefix(bytes).expect("it has a length");
    let length = header.length.get();
    assert!(accepted(length), "stage2 itself does not take this length");
    assert_eq!(covered.as_flattened(), &bytes[CHECK_START..length as usize]);
    assert_eq!(header.as_bytes(), &bytes[..size_of::<Stage2Header>()]);
}

/// Its entries lie in the image, and each entry is found by its path.
fn check_manifest(bytes: &[u8]) {
    let Some(behind) = manifest(bytes) else {
        return;
    };
    let (header, _) = Stage2Header::read_from_prefix(bytes).expect("it has a manifest");
    let start = header.manifest.get() as usize;
    assert_eq!(behind.as_ptr(), bytes[start..].as_ptr());
    assert_eq!(start + behind.len(), header.length.get() as usize);
    let crc32c: Crc32c = |crc, bytes| Tables::new(CRC_32C).crc(crc, bytes);
    let known = Manifest::new(behind, crc32c);
    let Some(entries) = parse(behind) else {
        assert!(known.entry(PATH_KERNEL, Sums::Whole).is_none());
        return;
    };
    assert!(entries.len() <= MAX_ENTRIES && size_of_val(entries) + 8 <= behind.len());
    let key = path_key(PATH_KERNEL, crc32c);
    let expected = entries.iter().find(|entry| entry.path.get() == key);
    assert_eq!(known.entry(PATH_KERNEL, Sums::Whole), expected);
}

/// What the instructions of `self_check.rs` do: LEA of the difference to [`SUMMED`], CMP, JA, TEST.
fn accepted(length: u32) -> bool {
    length.wrapping_sub(SUMMED as u32) <= (MAX_LENGTH - SUMMED) as u32 && length & 511 == 0
}
