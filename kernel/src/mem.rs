//! The five functions that compiled code calls on its own, and that no library provides here:
//! `core` for Linux expects them from the C library.
//!
//! They must not be written with loops or slices, which the compiler would turn into calls of
//! themselves: the string instructions of the CPU do the work. DF is 0, as the ABI promises.

#![allow(unsafe_code)]
// On x86_64-unknown-none `core` comes with these functions, as weak symbols: these are taken.

use core::arch::asm;

/// Copies `length` bytes; the ranges do not overlap.
///
/// # Safety
/// As for `memcpy` in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller promises `length` readable and writable bytes.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
    to
}

/// Copies `length` bytes; the ranges may overlap.
///
/// # Safety
/// As for `memmove` in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= length {
        // `to` is below `from`, or behind its end: copying upwards does no harm.
        // SAFETY: the caller's promise.
        return unsafe { memcpy(to, from, length) };
    }
    // SAFETY: the caller promises `length` readable and writable bytes; DF is restored.
    unsafe {
        asm!("std", "rep movsb", "cld",
            inout("rcx") length => _,
            inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _,
            options(nostack));
    }
    to
}

/// Sets `length` bytes to the low byte of `value`.
///
/// # Safety
/// As for `memset` in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller promises `length` writable bytes.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") value as u8,
            options(nostack, preserves_flags));
    }
    to
}

/// Compares `length` bytes: negative, zero or positive as `a` is below, equal to or above `b`.
///
/// # Safety
/// As for `memcmp` in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    let (different, at): (u64, *const u8);
    // SAFETY: the caller promises `length` readable bytes. With RCX = 0 no byte is compared, and ZF
    // says "equal" because of the comparison before.
    unsafe {
        asm!("cmp eax, eax", "repe cmpsb", "setne al",
            inout("rcx") length => _, inout("rsi") a => at, inout("rdi") b => _,
            inout("rax") 0_u64 => different,
            options(nostack, readonly));
    }
    if different == 0 {
        return 0;
    }
    let last = at.addr() - a.addr() - 1;
    // SAFETY: the two bytes were just compared.
    unsafe { i32::from(a.add(last).read()) - i32::from(b.add(last).read()) }
}

/// Like [`memcmp`]; only zero or not zero counts.
///
/// # Safety
/// As for `bcmp` in C.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, length) }
}
