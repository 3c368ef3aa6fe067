//! Files: checksums, compression, and how they are read piece by piece.

#[path = "../support/disks.rs"]
mod disks;
#[path = "../../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod elf_fixture;
#[path = "../support/narrow.rs"]
mod narrow;

mod file_bytes;
mod gzip;
mod integrity;
mod sum;
