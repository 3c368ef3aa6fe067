//! Where `stopwatch.rs` leaves the time for `linux.rs`.

/// In the BIOS data area's 16 bytes for communication between programs, which nobody uses
/// (physical).
pub const STARTED: u64 = 0x4F0;
