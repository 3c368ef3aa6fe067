//! What a file is, by its content: a kernel, a disk image, or a CD image.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use boot_path::entry::protocol;
use boot_path::files::gzip;
use disk_layout::{SECTOR_SIZE, iso9660, mbr};

use crate::host_file;

/// What can be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootFile {
    /// What `build --kernel` takes: a kernel by any protocol, compressed or not, or a directory in
    /// which `make` makes one.
    Kernel,
    /// A disk with a boot sector. It may be a CD as well.
    Disk,
    /// A CD that is not a disk as well.
    Cd,
}

/// Where an ISO 9660 file system has its name, and the name.
const ISO_9660: (usize, &[u8]) = (iso9660::DESCRIPTORS + 1, b"CD001");

/// Bytes of a file that tell what it is.
const HEAD: usize = ISO_9660.0 + ISO_9660.1.len();

impl BootFile {
    /// What is at a path.
    ///
    /// # Errors
    /// When nothing is there, it cannot be read, or it cannot be booted.
    pub fn at(path: &Path) -> Result<Self> {
        let name = path.display();
        let kind = fs::metadata(path).with_context(|| format!("cannot open {name}"))?;
        if kind.is_dir() {
            return Ok(Self::Kernel);
        }
        // Images may be on block devices.
        let mut head = Vec::new();
        host_file::open_disk(path)?
            .take(HEAD as u64)
            .read_to_end(&mut head)
            .with_context(|| format!("cannot read {name}"))?;
        Self::of(&head).with_context(|| {
            format!(
                "{name} is neither a kernel (ELF, Multiboot or bzImage; or one of them, compressed \
                 by gzip) nor a disk image or CD image"
            )
        })
    }

    /// What a file is that begins with these bytes.
    ///
    /// Many a disk image has a Multiboot header near its start (that of GRUB's core image), and each
    /// bzImage has the signature of a boot sector: the order matters.
    fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"\x7FELF") || gzip::is_gzip(head) || protocol::is_linux(head) {
            Some(Self::Kernel)
        } else if has_boot_signature(head) {
            Some(Self::Disk)
        } else if head.get(ISO_9660.0..) == Some(ISO_9660.1) {
            Some(Self::Cd)
        } else {
            let header = protocol::multiboot2_header(head).or(protocol::multiboot1_header(head));
            header.map(|_| Self::Kernel)
        }
    }
}

fn has_boot_signature(head: &[u8]) -> bool {
    let signature = mbr::BOOT_SIGNATURE.to_le_bytes();
    head.get(..SECTOR_SIZE)
        .is_some_and(|sector| sector.ends_with(&signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of `length` zeros, but for these bytes.
    fn file(length: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; length];
        for (offset, bytes) in parts {
            file[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        file
    }

    #[test]
    fn the_content_tells() {
        let signature = (510, &[0x55, 0xAA][..]);
        let cd = (0x8001, &b"CD001"[..]);
        let setup = (0x202, &b"HdrS"[..]);
        let multiboot: Vec<u8> = [0x1BAD_B002_u32, 0, 0x1BAD_B002_u32.wrapping_neg()]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let multiboot = (0x400, &multiboot[..]);
        let of = |parts: &[(usize, &[u8])]| BootFile::of(&file(HEAD, parts));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[signature]), Some(BootFile::Disk));
        assert_eq!(of(&[cd]), Some(BootFile::Cd));
        assert_eq!(of(&[signature, cd]), Some(BootFile::Disk));
        assert_eq!(of(&[signature, setup]), Some(BootFile::Kernel));
        assert_eq!(of(&[multiboot]), Some(BootFile::Kernel));
        assert_eq!(of(&[signature, multiboot]), Some(BootFile::Disk));
        assert_eq!(of(&[(0, b"\x7FELF")]), Some(BootFile::Kernel));
        assert_eq!(of(&[(0, b"\x1F\x8B\x08")]), Some(BootFile::Kernel));
        assert_eq!(BootFile::of(b""), None);
        assert_eq!(BootFile::of(b"\x7FEL"), None);
        assert_eq!(BootFile::of(b"#!/bin/sh\n"), None);
        assert_eq!(BootFile::of(&file(512, &[signature])), Some(BootFile::Disk));
    }
}
