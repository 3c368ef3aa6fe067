//! Physical memory, which the early tables map to itself up to 4 GiB.
//!
//! The only file that turns addresses into references.
#![allow(unsafe_code)]

use boot_path::memory::layout::{self, Region};
use boot_path::memory::ram::Allocation;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Every access is checked: an address that is wrong ends in a message, not in a fault.
fn check(start: u64, length: u64) {
    let reach = start != 0 && start.saturating_add(length) <= layout::EARLY_REACH;
    assert!(reach, "an address is out of the loader's reach");
}

/// Reads a value from a firmware structure.
///
/// # Panics
/// When the address is out of reach: callers check addresses that come from outside.
pub fn read<T: FromBytes>(address: u64) -> T {
    check(address.max(1), size_of::<T>() as u64);
    // SAFETY: mapped, and any bytes are a value of the type. Address 0 (the interrupt vector
    // table) is memory like any other here, but not to Rust: hence the assembly.
    unsafe {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        core::arch::asm!(
            "rep movsb",
            inout("rcx") size_of::<T>() => _,
            inout("rsi") address => _,
            inout("rdi") value.as_mut_ptr() => _,
            options(nostack, preserves_flags)
        );
        value.assume_init()
    }
}

/// Writes a value where the firmware keeps it.
///
/// # Panics
/// When the address is out of reach.
pub fn write<T: IntoBytes + Immutable>(address: u64, value: T) {
    check(address.max(1), size_of::<T>() as u64);
    // SAFETY: mapped; only the interrupt vector table, canaries and the error's record are written
    // this way, in assembly as above.
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") size_of::<T>() => _,
            inout("rsi") value.as_bytes().as_ptr() => _,
            inout("rdi") address => _,
            options(nostack, preserves_flags)
        );
    }
}

/// Writes a word, once, as hardware wants it.
///
/// # Panics
/// When the address is out of reach.
pub fn write_u16(address: u64, value: u16) {
    check(address, 2);
    // SAFETY: mapped; only the BIOS data area and the VGA text window are written this way.
    unsafe { core::ptr::with_exposed_provenance_mut::<u16>(address as usize).write_volatile(value) }
}

/// Bytes that were allocated.
pub fn allocated(memory: Allocation) -> &'static mut [u8] {
    // SAFETY: there is one value for each range, and it is gone now: so this is the only reference.
    unsafe { bytes_mut(memory.start(), memory.size()) }
}

/// Copies bytes to where the loader needs nothing any more.
pub fn overwrite(address: u64, bytes: &[u8]) {
    // SAFETY: mapped; who had the memory has gone, or it is nobody's.
    let room = unsafe { bytes_mut(address, bytes.len() as u64) };
    room.copy_from_slice(bytes);
}

/// Reads an entry of a page table.
///
/// # Panics
/// When the address is out of reach.
pub fn read_quadword(address: u64) -> u64 {
    check(address, 8);
    // SAFETY: mapped, and aligned: tables are whole pages. Nobody has a reference to it.
    unsafe { core::ptr::with_exposed_provenance::<u64>(address as usize).read() }
}

/// Writes an entry of a page table.
///
/// # Panics
/// When the address is out of reach.
pub fn write_quadword(address: u64, value: u64) {
    check(address, 8);
    // SAFETY: as above.
    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(address as usize).write(value) }
}

/// Reads a register of a device, once.
///
/// # Panics
/// When the address is out of reach.
pub fn read_register(address: u64) -> u32 {
    check(address, 4);
    // SAFETY: mapped; callers know the device.
    unsafe { core::ptr::with_exposed_provenance::<u32>(address as usize).read_volatile() }
}

/// Writes a register of a device, once.
///
/// # Panics
/// When the address is out of reach.
pub fn write_register(address: u64, value: u32) {
    check(address, 4);
    // SAFETY: mapped; callers know the device.
    unsafe { core::ptr::with_exposed_provenance_mut::<u32>(address as usize).write_volatile(value) }
}

/// Bytes of a region of the layout.
///
/// # Safety
/// The region has no other user for as long as the slice is used.
pub unsafe fn region(region: &Region) -> &'static mut [u8] {
    // SAFETY: see above; the range is RAM and mapped.
    unsafe { bytes_mut(region.start, region.size()) }
}

/// Bytes that were allocated from the memory map, or that belong to the firmware.
///
/// # Safety
/// The range is mapped, not at address 0, and nothing else writes to it meanwhile.
pub unsafe fn bytes(start: u64, length: u64) -> &'static [u8] {
    check(start, length);
    // SAFETY: the caller's promise.
    unsafe {
        core::slice::from_raw_parts(
            core::ptr::with_exposed_provenance(start as usize),
            length as usize,
        )
    }
}

/// As [`bytes`], of what the firmware says that is there; `None` where the loader does not reach it.
pub fn firmware_bytes(start: u64, length: u64) -> Option<&'static [u8]> {
    let end = start.checked_add(length)?;
    // SAFETY: mapped. Tables of the firmware are not written to; if it points to what the loader uses,
    // that is no table, and nothing of it is believed.
    (start != 0 && end <= layout::EARLY_REACH).then(|| unsafe { bytes(start, length) })
}

/// As [`bytes`], to be written.
///
/// # Safety
/// The range is RAM, mapped, not at address 0, and has no other user meanwhile.
pub unsafe fn bytes_mut(start: u64, length: u64) -> &'static mut [u8] {
    check(start, length);
    // SAFETY: the caller's promise.
    unsafe {
        core::slice::from_raw_parts_mut(
            core::ptr::with_exposed_provenance_mut(start as usize),
            length as usize,
        )
    }
}
