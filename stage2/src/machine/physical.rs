//! Physical memory, which the early tables map to itself up to 4 GiB.
//!
//! Only this file turns addresses into references, or reads and writes by them. It checks every
//! access: a wrong address ends in a message, not in a fault.
#![allow(unsafe_code)]

use core::arch::asm;
use core::mem::MaybeUninit;
use core::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use boot_path::bios::firmware::Bios;
use boot_path::devices::Mapped;
use boot_path::errors::text::copy;
use boot_path::memory::address::PhysAddr;
use boot_path::memory::layout::{self, Region};
use boot_path::memory::ram::{Allocation, Block};
use disk_layout::stage2::ERROR_OFFSET;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::machine::Machine;

fn check(start: u64, length: u64) {
    demand(start != 0 && start.saturating_add(length) <= layout::EARLY_REACH.as_u64());
}

#[inline(always)] // smaller than the call
fn demand(is_reached: bool) {
    if !is_reached {
        out_of_reach();
    }
}

#[cold]
#[inline(never)]
fn out_of_reach() -> ! {
    panic!("an address is out of the loader's reach");
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
        let mut value = MaybeUninit::<T>::uninit();
        asm!(
            "rep movsb",
            inout("rcx") size_of::<T>() => _,
            inout("rsi") address => _,
            inout("rdi") value.as_mut_ptr() => _,
            options(nostack, preserves_flags)
        );
        value.assume_init()
    }
}

const ERROR_RECORD: u64 = layout::STAGE2.start + ERROR_OFFSET as u64;

/// Writes a value where the firmware or a watcher outside the machine looks for it: to the
/// interrupt vector table, to the BIOS's own memory and the free part behind it, to the canary of
/// the stack, or to the error record in the header.
///
/// # Panics
/// For any other address.
#[inline(always)] // the address is nearly always a constant
pub fn write<T: IntoBytes + Immutable>(address: u64, value: T) {
    let is_mark = address == layout::STACK.start || address == ERROR_RECORD;
    demand(
        is_mark && size_of::<T>() == 4
            || address.saturating_add(size_of::<T>() as u64) <= layout::START,
    );
    // SAFETY: mapped, and Rust has no references to it. In assembly as above.
    unsafe {
        asm!(
            "rep movsb",
            inout("rcx") size_of::<T>() => _,
            inout("rsi") value.as_bytes().as_ptr() => _,
            inout("rdi") address => _,
            options(nostack, preserves_flags)
        );
    }
}

/// The address of a cell of the VGA text window.
fn cell(index: u64) -> u64 {
    let address = layout::VGA_TEXT + 2 * index;
    demand(address < layout::VGA_TEXT_END);
    address
}

/// Reads a cell of the VGA text window, once.
pub fn read_cell(index: u64) -> u16 {
    // SAFETY: mapped; Rust has no references to the window.
    unsafe { with_exposed_provenance::<u16>(cell(index) as usize).read_volatile() }
}

/// Writes a cell of the VGA text window, once.
pub fn write_cell(index: u64, value: u16) {
    // SAFETY: as above.
    unsafe { with_exposed_provenance_mut::<u16>(cell(index) as usize).write_volatile(value) }
}

/// Copies cells of the VGA text window from `first` on to its start.
pub fn move_cells_up(first: u64, count: u64) {
    cell(first + count);
    let (from, to) = (cell(first) as usize, cell(0) as usize);
    // SAFETY: both ranges are in the window; as above.
    unsafe {
        let from = with_exposed_provenance::<u16>(from);
        from.copy_to(with_exposed_provenance_mut(to), count as usize);
    }
}

/// Bytes that were allocated.
pub fn allocated(memory: Allocation) -> &'static mut [u8] {
    // SAFETY: each range has one value, which is consumed here: so this is the only reference.
    unsafe { bytes_mut(memory.start().as_u64(), memory.size()) }
}

/// The bytes that the BIOS was passed, or has answered, as long as it is not called again.
pub fn bios_buffer(_: &impl Bios) -> &[u8] {
    // SAFETY: RAM that the layout has for this alone. The BIOS and `fill_bios_buffer` write to it,
    // and both need the borrowed value.
    unsafe { bytes(layout::BIOS_BUFFER.start, layout::BIOS_BUFFER.size()) }
}

/// Puts bytes at the start of the buffer that the BIOS is passed, and zeroes behind them.
#[inline(never)] // where the number of zeroes is known, the compiler writes them byte by byte
pub fn fill_bios_buffer(bytes: &[u8]) {
    let Region { start, .. } = layout::BIOS_BUFFER;
    // SAFETY: RAM that the layout has for this alone; the reference does not leave the function.
    let buffer = unsafe { bytes_mut(start, layout::BIOS_BUFFER.size()) };
    let copied = copy(bytes, buffer);
    buffer.get_mut(copied..).unwrap_or_default().fill(0);
}

/// Writes to the transfer buffer.
///
/// # Panics
/// When the address is outside it.
#[inline(always)] // mostly zeroes are written, which then need no room in the image
pub fn write_transfer_buffer(address: u64, bytes: &[u8]) {
    let Region { start, end, .. } = layout::TRANSFER_BUFFER;
    let length = bytes.len() as u64;
    demand(address >= start && address + length <= end);
    // SAFETY: RAM that the layout has for this alone; the reference does not leave the function,
    // and those of `transferred` end before anything is written.
    copy(bytes, unsafe { bytes_mut(address, length) });
}

/// The first bytes of the transfer buffer, for as long as the BIOS is not called.
pub fn transferred(_: &impl Bios, length: usize) -> &[u8] {
    let (start, most) = (
        layout::TRANSFER_BUFFER.start,
        layout::TRANSFER_BUFFER.size(),
    );
    // SAFETY: RAM that the layout has for this alone. The BIOS and the function above write to it,
    // and both need the borrowed value.
    unsafe { bytes(start, most.min(length as u64)) }
}

/// Moves the blocks that the next program gets to their addresses, over the loader's own memory.
///
/// # Panics
/// When a block would overwrite memory that is still needed.
pub fn hand_over(moves: &[(Block<'static>, PhysAddr)]) {
    for (block, to) in moves {
        let (to, length) = (to.as_u64(), block.len() as u64);
        demand(to >= layout::TRANSFER_BUFFER.start && to + length <= layout::END);
        // SAFETY: mapped RAM, and not the code, the variables or the stacks. Only the path had
        // references to the buffers, and it has ended: these blocks are what is left of it.
        copy(block, unsafe { bytes_mut(to, length) });
    }
}

/// Reads an entry of a page table, a register of a device, or what another processor writes.
///
/// # Panics
/// When the address is out of reach.
pub fn load<T: FromBytes>(address: u64) -> T {
    check(address, size_of::<T>() as u64);
    // SAFETY: mapped, and aligned. Nobody has a reference to it.
    unsafe { with_exposed_provenance::<T>(address as usize).read_volatile() }
}

/// Writes an entry of a page table, or a register of a device.
///
/// # Panics
/// When the address is out of reach.
pub fn store<T: IntoBytes>(address: u64, value: T) {
    check(address, size_of::<T>() as u64);
    // SAFETY: mapped, and aligned: tables are whole pages. Where the CPU and the firmware's tables
    // say that a device is, there is no memory; they are trusted as the memory map is.
    unsafe { with_exposed_provenance_mut::<T>(address as usize).write_volatile(value) }
}

/// Writes entries of a page table, at least one, if all of them are 0: `entry` first, and each next
/// one is `step` more. Limine kernels get tens of thousands, so this takes three to five instructions each.
///
/// # Errors
/// How many are in front of the first one that is not 0.
///
/// # Panics
/// When they are out of reach.
pub fn fill_table(start: u64, count: usize, entry: u64, step: u64) -> Result<(), usize> {
    check(start, 8 * count as u64);
    let left: usize;
    let all_free: u8;
    // SAFETY: mapped. Nobody has a reference to a table.
    unsafe {
        asm!(
            "repe scasq", "jne 3f",
            "mov rcx, {count}", "mov rdi, {start}", "mov rax, {entry}",
            "test cl, 7", "jnz 2f", "shr rcx, 3", // mostly a whole table
            "4: .rept 8", "stosq", "add rax, {step}", ".endr", "dec rcx", "jnz 4b", "jmp 3f",
            "2: stosq", "add rax, {step}", "dec rcx", "jnz 2b",
            "3: sete {all_free}",
            count = in(reg) count, start = in(reg) start, entry = in(reg) entry, step = in(reg) step,
            all_free = lateout(reg_byte) all_free,
            inout("rcx") count => left, inout("rdi") start => _, inout("rax") 0_u64 => _,
            options(nostack)
        );
    }
    if all_free != 0 {
        Ok(())
    } else {
        Err(count - left - 1)
    }
}

impl Mapped for Machine {
    fn register(self, address: u64) -> u32 {
        load(address)
    }

    fn set_register(self, address: u64, value: u32) {
        store(address, value);
    }
}

/// Bytes of the firmware, or of another loader; `None` where the loader does not reach them.
pub fn firmware_bytes(start: u64, length: u64) -> Option<&'static [u8]> {
    let end = start.checked_add(length)?;
    // SAFETY: mapped. Nobody writes to firmware tables. If the firmware points to memory that the
    // loader uses, that is not a table, and its contents are not believed.
    (start != 0 && end <= layout::EARLY_REACH.as_u64()).then(|| unsafe { bytes(start, length) })
}

/// Bytes that the early tables map.
///
/// # Safety
/// Nobody writes to them while the slice is used.
unsafe fn bytes(start: u64, length: u64) -> &'static [u8] {
    check(start, length);
    let start = with_exposed_provenance(start as usize);
    // SAFETY: mapped, and the caller's promise.
    unsafe { core::slice::from_raw_parts(start, length as usize) }
}

/// As [`bytes`], to be written.
///
/// # Safety
/// The range is RAM, and has no other user while the slice is used.
unsafe fn bytes_mut(start: u64, length: u64) -> &'static mut [u8] {
    check(start, length);
    let start = with_exposed_provenance_mut(start as usize);
    // SAFETY: mapped, and the caller's promise.
    unsafe { core::slice::from_raw_parts_mut(start, length as usize) }
}
