//! Positions and distances.

use boot_path::position::{DiskOffset, Lba};
use proptest::prelude::*;

const LAST: Lba = Lba::new(u64::MAX);

#[test]
fn a_sector_begins_at_a_multiple_of_its_size() {
    for (number, size, bytes) in [
        (0, 512, 0),
        (2048, 512, 1 << 20),
        (512, 2048, 1 << 20),
        (1, 65536, 65536),
        // The last sector that begins below 2^64, and those behind it.
        ((1 << 52) - 1, 4096, u64::MAX - 4095),
        (1 << 52, 4096, u64::MAX),
        (u64::MAX, 512, u64::MAX),
    ] {
        assert_eq!(
            Lba::new(number).start(size),
            DiskOffset::new(bytes),
            "{number} {size}"
        );
    }
}

#[test]
fn each_byte_of_a_disk_is_in_a_sector() {
    for size in [512, 2048, 4096, 65536] {
        for number in [0, 1, 2048, (1 << 47) - 1] {
            let lba = Lba::new(number);
            let start = lba.start(size);
            assert_eq!(start.sector(size), lba);
            assert_eq!((start + (size as u64 - 1)).sector(size), lba);
            assert_eq!((start + size as u64).sector(size), Lba::new(number + 1));
        }
    }
}

#[test]
fn a_disk_has_the_sectors_below_their_number() {
    assert!(!Lba::ZERO.is_within(0));
    assert!(Lba::ZERO.is_within(1));
    assert!(Lba::new(4999).is_within(5000));
    assert!(!Lba::new(5000).is_within(5000));
    // The size of a disk whose end is not known.
    assert!(Lba::new(u64::MAX - 1).is_within(u64::MAX));
}

#[test]
fn sums_end_with_the_last_number() {
    assert_eq!(LAST.checked_add(0), Some(LAST));
    assert_eq!(LAST.checked_add(1), None);
    assert_eq!(Lba::new(5).checked_add(u64::MAX - 5), Some(LAST));
    assert_eq!(Lba::new(6).checked_add(u64::MAX - 5), None);
    assert_eq!(Lba::new(6).saturating_add(u64::MAX - 5), LAST);
    assert_eq!(Lba::ZERO.checked_sub(Lba::new(1)), None);
    assert_eq!(Lba::ZERO.saturating_sub(LAST), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// All operations of the types agree with those of numbers.
    #[test]
    fn sums_and_distances(start: u64, distance: u64, other: u64) {
        let lba = Lba::new(start);
        prop_assert_eq!(lba.as_u64(), start);
        prop_assert_eq!(lba < Lba::new(other), start < other);
        prop_assert_eq!(lba.checked_sub(Lba::new(other)), start.checked_sub(other));
        prop_assert_eq!(lba.saturating_sub(Lba::new(other)), start.saturating_sub(other));
        match start.checked_add(distance) {
            Some(end) => {
                let end = Lba::new(end);
                prop_assert_eq!(lba + distance, end);
                prop_assert_eq!(lba.checked_add(distance), Some(end));
                prop_assert_eq!(lba.saturating_add(distance), end);
                prop_assert_eq!(end - lba, distance);
                prop_assert_eq!(end.checked_sub(lba), Some(distance));
                prop_assert_eq!(end.saturating_sub(lba), distance);
            }
            None => {
                prop_assert_eq!(lba.checked_add(distance), None);
                prop_assert_eq!(lba.saturating_add(distance), LAST);
            }
        }
    }
}
