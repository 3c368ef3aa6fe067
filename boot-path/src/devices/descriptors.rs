//! The descriptor tables: segments, gates, the stacks of handlers, and the operands that load the
//! tables. Any code that changes the mode of the CPU needs them.
//!
//! Intel SDM vol. 3, 3.4.5 (segments), 6.14.1 (64-bit gates), 7.7 (task state segment).

use core::cell::Cell;
use core::mem::offset_of;

use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::DescriptorFlags;
use x86_64::structures::tss::TaskStateSegment;

use crate::errors::exception;
use crate::memory::layout;

// Selectors in the GDT, which is on the switch page.
/// 64-bit code.
pub const CODE_64: u16 = 0x08;
/// Flat 32-bit code, for the road through protected mode. Linux's 32-bit entry requires this
/// selector and the next one.
pub const CODE_32: u16 = 0x10;
/// Flat data, for 64-bit and 32-bit code.
pub const DATA: u16 = 0x18;
/// 16-bit code with base 0, for the way back to real mode.
pub const CODE_16: u16 = 0x20;
/// 16-bit data with base 0 and a limit of 64 KiB, which real mode expects to find.
pub const DATA_16: u16 = 0x28;
/// The task state segment (two entries).
pub const TSS: u16 = 0x30;

/// A 16-bit segment: base 0, limit FFFFh, present, accessed, writable or readable.
pub const SEGMENT_16: u64 = DescriptorFlags::USER_SEGMENT.bits()
    | DescriptorFlags::PRESENT.bits()
    | DescriptorFlags::ACCESSED.bits()
    | DescriptorFlags::WRITABLE.bits()
    | DescriptorFlags::LIMIT_0_15.bits();

/// A present, available 64-bit TSS; its base is filled in when the program runs.
const TSS_DESCRIPTOR: u64 = 0x89 << 40 | (size_of::<TaskStateSegment>() - 1) as u64;

/// The descriptors, in the places that the selectors name; that of the TSS takes two.
pub const GDT: [u64; 8] = {
    let mut gdt = [0; 8];
    gdt[index(CODE_64)] = DescriptorFlags::KERNEL_CODE64.bits();
    gdt[index(CODE_32)] = DescriptorFlags::KERNEL_CODE32.bits();
    gdt[index(DATA)] = DescriptorFlags::KERNEL_DATA.bits();
    gdt[index(CODE_16)] = SEGMENT_16 | DescriptorFlags::EXECUTABLE.bits();
    gdt[index(DATA_16)] = SEGMENT_16;
    gdt[index(TSS)] = TSS_DESCRIPTOR;
    gdt
};
const _: () = assert!(index(TSS) + 1 < GDT.len());

/// The place of a selector's descriptor.
const fn index(selector: u16) -> usize {
    assert!(selector != 0 && selector.is_multiple_of(8));
    selector as usize / size_of::<u64>()
}

/// A gate of the 64-bit IDT.
pub type Gate = [u64; 2];

/// One [`Gate`] for each exception. The double fault has a stack of its own, because it may mean
/// that the other stack is broken. The addresses of the handlers, in bits 63:48 and 15:0 and in the
/// second quadword, are filled in when the program runs.
pub const IDT: [Gate; exception::VECTORS] = {
    let mut idt = [gate(FAULT_STACK); exception::VECTORS];
    idt[exception::DOUBLE_FAULT as usize] = gate(DOUBLE_FAULT_STACK);
    idt
};

/// An interrupt gate to 64-bit code, which uses the IST's stack with this number.
const fn gate(stack: u64) -> Gate {
    [(CODE_64 as u64) << 16 | stack << 32 | 0x8E << 40, 0]
}

/// An interrupt gate to [`CODE_16`]; its offset, in bits 15:0, is filled in when the program runs.
pub const GATE_16: u64 = (CODE_16 as u64) << 16 | 0x86 << 40;

/// The IST's number for the stack of all handlers …
const FAULT_STACK: u64 = 1;
/// … except the double fault's.
const DOUBLE_FAULT_STACK: u64 = 2;

/// The task state segment, by doublewords, because its quadwords are not aligned. It contains only
/// the stacks of the handlers: IST 1, and IST 2 for the double fault, which may mean that the other
/// stack is broken. No I/O permission map follows.
#[derive(Debug)]
#[repr(C)]
pub struct TaskState {
    before: [u32; 9],
    stack: [Cell<u32>; 2],
    double_fault_stack: [Cell<u32>; 2],
    behind: [u32; 12],
    permission_map: u32,
}
const _: () = assert!(size_of::<TaskState>() == size_of::<TaskStateSegment>());
const _: () =
    assert!(offset_of!(TaskState, stack) == offset_of!(TaskStateSegment, interrupt_stack_table));

impl TaskState {
    /// A TSS with the stacks at their physical addresses.
    #[expect(clippy::new_without_default, reason = "a constant")]
    pub const fn new() -> Self {
        Self {
            before: [0; 9],
            stack: cells(layout::FAULT_STACK.end),
            double_fault_stack: cells(layout::DOUBLE_FAULT_STACK.end),
            behind: [0; 12],
            permission_map: (size_of::<Self>() as u32) << 16,
        }
    }

    /// Puts the stacks where physical address 0 is mapped: at `base`.
    #[inline]
    pub fn show_stacks_at(&self, base: u64) {
        let set = |place: &[Cell<u32>; 2], stack: &layout::Region| {
            let [low, high] = halves(base.wrapping_add(stack.end));
            place[0].set(low);
            place[1].set(high);
        };
        set(&self.stack, &layout::FAULT_STACK);
        set(&self.double_fault_stack, &layout::DOUBLE_FAULT_STACK);
    }

    /// The ends of the stacks of IST 1 and 2, at their current virtual addresses.
    pub fn stacks(&self) -> [u64; 2] {
        let end = |[low, high]: &[Cell<u32>; 2]| u64::from(high.get()) << 32 | u64::from(low.get());
        [end(&self.stack), end(&self.double_fault_stack)]
    }
}

const fn cells(quadword: u64) -> [Cell<u32>; 2] {
    let [low, high] = halves(quadword);
    [Cell::new(low), Cell::new(high)]
}

const fn halves(quadword: u64) -> [u32; 2] {
    [quadword as u32, (quadword >> 32) as u32]
}

/// The operand of LGDT and LIDT: limit, base. Outside 64-bit mode the CPU reads four bytes of the
/// base, which are enough for an address in stage2.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
pub struct DescriptorPointer {
    limit: u16,
    base: *const (),
}

impl DescriptorPointer {
    /// For a whole table.
    pub const fn new<T>(table: *const T) -> Self {
        Self {
            limit: (size_of::<T>() - 1) as u16,
            base: table.cast(),
        }
    }
}

/// The operand for an empty table, in 64-bit mode.
pub const NO_TABLE: DescriptorTablePointer = DescriptorTablePointer {
    limit: 0,
    base: x86_64::VirtAddr::zero(),
};
