//! The manifest: what stage2 is to know of the files in the boot partition.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use boot_path::entry::protocol::Protocol;
use boot_path::files::file_bytes::FileBytes;
use boot_path::files::gzip;
use boot_path::files::integrity::{self, Checksums, Sums};
use boot_path::position::FileOffset;
use boot_path::ways_out::limine;
use boot_path::ways_out::of_file::protocol_of_file;
use boot_path::ways_out::sums::{of_kernel, of_slice};
use disk_layout::manifest::{Entry, Head, MAGIC, MAX_ENTRIES, VERSION};
use zerocopy::IntoBytes as _;

/// CRC-32C, by the CPU's instruction where there is one.
pub(crate) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// The offsets in a file that was not searched for Limine requests.
const NOT_SEARCHED: Range<u64> = 0..u64::MAX;

/// The manifest while it is being made.
#[derive(Default)]
pub(crate) struct Manifest {
    entries: Vec<Entry>,
    /// By the keys of paths: a file has one stamp, however many entries it has.
    stamps: BTreeMap<u32, Stamp>,
}

impl Manifest {
    /// Adds a file that is no kernel, and that is read later: see
    /// [`set_sums`](Self::set_sums).
    pub(crate) fn add(&mut self, path: &str, size: u64) -> Result<()> {
        let sums = Checksums::default();
        self.add_bytes(path, size, sums)
    }

    /// Sets the checksums of a file that was added without.
    pub(crate) fn set_sums(&mut self, path: &str, sums: Checksums) {
        let key = Sums::Whole.key(path, crc32c);
        let entries = self.entries.iter_mut();
        for entry in entries.filter(|entry| entry.path.get() == key) {
            let stamp = stamp_of(&[sums.crc32c, 0, entry.size.get()]);
            entry.crc32c = sums.crc32c.into();
            entry.sum = sums.sum.map(Into::into);
            entry.stamp = stamp.encode().into();
            let path = integrity::path_key(path, crc32c);
            self.stamps.insert(path, stamp);
        }
    }

    /// Adds a text.
    pub(crate) fn add_text(&mut self, path: &str, text: &str) -> Result<()> {
        let sums = of_slice(text.as_bytes(), crc32c);
        self.add_bytes(path, text.len() as u64, sums)
    }

    /// Adds a file of which all bytes are summed up.
    fn add_bytes(&mut self, path: &str, size: u64, sums: Checksums) -> Result<()> {
        let both = (Checksums::default(), sums);
        self.add_sums(path, Sums::Whole, size, both, NOT_SEARCHED)
    }

    /// Adds a directory of texts that have all been added, so that the loader notices if one is
    /// missing.
    pub(crate) fn add_directory<'p>(
        &mut self,
        path: &str,
        names: impl Iterator<Item = &'p str>,
    ) -> Result<()> {
        let (mut count, mut sum) = (0, 0);
        for name in names {
            count += 1;
            sum = integrity::sum_names(sum, name, crc32c);
        }
        match count {
            0 => Ok(()),
            _ => {
                let crc32c = sum;
                let sum = [0; 2];
                self.add_bytes(path, count, Checksums { crc32c, sum })
            }
        }
    }

    /// Adds a kernel, as it is booted by these protocols; `None`: by the one that it looks like. One
    /// that cannot be booted has no checksums.
    pub(crate) fn add_kernel(
        &mut self,
        path: &str,
        file: &mut impl FileBytes,
        protocols: &[Option<Protocol>],
    ) -> Result<()> {
        if gzip::is_gzip(file.window(FileOffset::ZERO)) {
            return self.add_kernel_sums(path, file, &[Sums::Whole]);
        }
        // If an entry loses its `protocol` line, or is deleted, the loader boots the kernel by the
        // protocol that it recognises.
        let looks_like = protocol_of_file(&mut *file);
        let named = protocols.iter().copied().flatten();
        let mut all = vec![looks_like.sums()];
        all.extend(named.map(Protocol::sums));
        if looks_like == Protocol::Limine {
            // The kernel may ask for its whole file.
            all.push(Sums::Whole);
        }
        self.add_kernel_sums(path, file, &all)
    }

    /// Adds each of these checksums of a kernel once, if it has it.
    fn add_kernel_sums(
        &mut self,
        path: &str,
        file: &mut impl FileBytes,
        wanted: &[Sums],
    ) -> Result<()> {
        let requests = limine::requests_of_file(&mut *file).unwrap_or(NOT_SEARCHED);
        let mut all: Vec<Sums> = Vec::new();
        for &sums in wanted {
            if !all.contains(&sums)
                && let Ok(both) = of_kernel(&mut *file, sums, crc32c)
            {
                self.add_sums(path, sums, file.size(), both, requests.clone())?;
                all.push(sums);
            }
        }
        Ok(())
    }

    /// Adds the checksums of a kernel's headers, or 0, and of bytes; and between which offsets all
    /// begins that a Limine kernel is recognised by.
    fn add_sums(
        &mut self,
        path: &str,
        sums: Sums,
        size: u64,
        (headers, bytes): (Checksums, Checksums),
        requests: Range<u64>,
    ) -> Result<()> {
        let key = sums.key(path, crc32c);
        ensure!(
            self.entries.iter().all(|other| other.path.get() != key),
            "two paths with the same checksum"
        );
        ensure!(
            self.entries.len() < MAX_ENTRIES,
            "too many files for checksums (--no-checksums)"
        );
        let size = u32::try_from(size)?;
        let path = integrity::path_key(path, crc32c);
        let stamp = self.stamps.entry(path);
        let stamp = stamp.or_insert_with(|| stamp_of(&[bytes.crc32c, headers.crc32c, size]));
        self.entries.push(Entry {
            path: key.into(),
            stamp: stamp.encode().into(),
            size: size.into(),
            crc32c: bytes.crc32c.into(),
            headers_crc32c: headers.crc32c.into(),
            sum: bytes.sum.map(Into::into),
            headers_sum: headers.sum.map(Into::into),
            requests: [requests.start, requests.end]
                .map(|offset| u32::try_from(offset).unwrap_or(u32::MAX).into()),
        });
        Ok(())
    }

    /// The time of the last change that a file must bear, if it is in the manifest.
    pub(crate) fn stamp(&self, path: &str) -> Option<Stamp> {
        let path = integrity::path_key(path, crc32c);
        self.stamps.get(&path).copied()
    }

    /// Bytes that it takes on the disk.
    pub(crate) fn length(&self) -> usize {
        size_of::<Head>() + size_of_val(self.entries.as_slice())
    }

    /// The manifest as it is on the disk.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>> {
        let entries = u16::try_from(self.entries.len())
            .context("too many files for checksums (--no-checksums)")?;
        let head = Head {
            magic: MAGIC,
            entries: entries.into(),
            version: VERSION.into(),
        };
        Ok([head.as_bytes(), self.entries.as_bytes()].concat())
    }
}

/// A time in the year 1980, to two seconds, as FAT has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// 1 to 12.
    pub(crate) month: u16,
    /// 1 to 28.
    pub(crate) day: u16,
    /// 0 to 23.
    pub(crate) hour: u16,
    /// 0 to 59.
    pub(crate) minute: u16,
    /// 0 to 58, even.
    pub(crate) second: u16,
}

impl Stamp {
    /// Time in the low half, date in the high half: "Date and Time Formats" of the FAT
    /// specification.
    fn encode(self) -> u32 {
        let date = self.month << 5 | self.day;
        let time = self.hour << 11 | self.minute << 5 | (self.second / 2);
        u32::from(date) << 16 | u32::from(time)
    }
}

/// The stamp of a file, made from what distinguishes it. A file of another image that was copied
/// together with its time is therefore not taken for this image's.
fn stamp_of(facts: &[u32]) -> Stamp {
    let mut rest = crc32c(0, facts.as_bytes());
    let mut choose = |count: u32| {
        let number = rest % count;
        rest /= count;
        number as u16
    };
    Stamp {
        second: 2 * choose(30),
        minute: choose(60),
        hour: choose(24),
        day: 1 + choose(28),
        month: 1 + choose(12),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc32c(0, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(crc32c(0, b"1234"), b"56789"), 0xE306_9283);
    }

    #[test]
    fn it_is_the_checksum_that_stage2_computes() {
        let tables = boot_path::files::checksum::Tables::new(boot_path::files::checksum::CRC_32C);
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i * 31) as u8).collect();
        for length in [0, 1, 7, 8, 9, 1000, 5000] {
            let bytes = &bytes[..length];
            assert_eq!(crc32c(0, bytes), tables.crc(0, bytes), "{length}");
            assert_eq!(crc32c(77, bytes), tables.crc(77, bytes), "{length}");
        }
    }

    #[test]
    fn a_file_that_is_read_later_has_the_same_entry() {
        let bytes = [3; 1000];
        let mut manifest = Manifest::default();
        manifest.add("/boot/modules/m", 1000).unwrap();
        let length = manifest.length();
        let sums = of_slice(&bytes, crc32c);
        manifest.set_sums("/boot/modules/m", sums);
        let mut expected = Manifest::default();
        expected.add_bytes("/boot/modules/m", 1000, sums).unwrap();
        assert_eq!(manifest.bytes().unwrap(), expected.bytes().unwrap());
        assert_eq!(manifest.bytes().unwrap().len(), length);
        let stamp = manifest.stamp("/boot/modules/m");
        assert_eq!(stamp, expected.stamp("/boot/modules/m"));
    }

    #[test]
    fn stamps_are_moments_of_1980_and_differ() {
        let stamps: Vec<_> = (0..1000u32).map(|n| stamp_of(&[n, 0, 77])).collect();
        for (index, one) in stamps.iter().enumerate() {
            let date = one.encode() >> 16;
            assert!((1..=12).contains(&(date >> 5)) && (1..=28).contains(&(date & 31)));
            assert!(one.hour < 24 && one.minute < 60 && one.second < 60 && one.second % 2 == 0);
            for other in &stamps[..index] {
                assert_ne!(one, other);
            }
        }
    }
}
