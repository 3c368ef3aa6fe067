//! Where `stopwatch.rs` leaves the time for `linux.rs`.

/// In the BIOS data area's 16 bytes for programs that have something to tell each other, which nobody
/// uses (physical).
pub const STARTED: u64 = 0x4F0;
