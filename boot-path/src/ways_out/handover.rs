//! The actions that are left when nothing can fail any more: the last instructions of the loader,
//! which the machine executes.

use arrayvec::ArrayVec;
use x86_64::registers::control::Cr0Flags;

use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::ram::Block;

/// How to leave the loader.
#[derive(Debug)]
pub struct Handover<'m> {
    /// Blocks to move to memory that the loader itself still uses, and the destination of each.
    pub moves: ArrayVec<(Block<'m>, PhysAddr), 3>,
    /// The jump.
    pub jump: Jump,
}

impl From<Jump> for Handover<'_> {
    fn from(jump: Jump) -> Self {
        let moves = ArrayVec::new();
        Self { moves, jump }
    }
}

/// The jump, and the state of the machine after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// To a kernel of the loader's own protocol.
    Bootpath(BootpathStart),
    /// To a kernel of the Limine protocol.
    Limine(LimineStart),
    /// In protected mode.
    Protected(ProtectedMode),
    /// In real mode.
    Real(RealMode),
    /// To a Linux kernel in long mode.
    Linux64 {
        /// The entry point.
        entry: PhysAddr,
        /// Its parameters.
        parameters: PhysAddr,
    },
    /// To a boot sector, which is in the transfer buffer.
    BootSector {
        /// The state in which it starts.
        state: RealMode,
        /// Bytes of the sector.
        bytes: usize,
        /// Its entry of the partition table, which goes to
        /// [`PARTITION_ENTRY`](super::chain::boot::PARTITION_ENTRY).
        partition: Option<[u8; 16]>,
    },
}

/// What the jump to a kernel of the loader's own protocol needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootpathStart {
    /// The top page table.
    pub root: PhysAddr,
    /// The end of the stack.
    pub stack_top: VirtAddr,
    /// The entry point, with the slide.
    pub entry: VirtAddr,
    /// The boot information.
    pub boot_info: PhysAddr,
    /// The virtual address of physical address 0.
    pub physical_map_base: VirtAddr,
    /// The features of the CPU: `handoff::CPU_…`.
    pub cpu_features: u64,
    /// Does the loader report exceptions that the kernel causes before it has an IDT?
    pub fault_reports: bool,
}

/// What the last switch to a Limine kernel needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimineStart {
    /// The kernel's top page table.
    pub root: PhysAddr,
    /// The end of the first processor's stack, as the kernel sees it.
    pub stack: VirtAddr,
    /// The entry point.
    pub entry: VirtAddr,
    /// The top page table during the switch: the loader's own tables, with as many levels as the
    /// kernel's.
    pub way_tables: PhysAddr,
    /// Are there five levels?
    pub five_levels: bool,
    /// The features of the CPU: `handoff::CPU_…`.
    pub cpu_features: u64,
    /// ACPI UID of the processor that boots.
    pub uid: u32,
    /// Do interrupt controllers get the state that base revision 5 promises?
    pub quiet: bool,
    /// Do IOMMUs stay as they are?
    pub keep_iommus: bool,
    /// Physical address of the RSDP; 0: none.
    pub rsdp: u64,
}

/// The registers with which a program starts in protected mode. Segments are flat (CS 10h, the
/// others 18h), paging and interrupts are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "named as in the manual")]
pub struct ProtectedMode {
    pub eip: u32,
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
    pub esp: u32,
}

impl ProtectedMode {
    /// CR0: all bits off except PE, and ET, which identifies the FPU.
    pub const CR0: u32 =
        (Cr0Flags::EXTENSION_TYPE.bits() | Cr0Flags::PROTECTED_MODE_ENABLE.bits()) as u32;
}

/// The registers with which a program starts in real mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "named as in the manual")]
pub struct RealMode {
    pub ip: u16,
    pub cs: u16,
    /// FLAGS: bit 9 enables interrupts.
    pub flags: u16,
    pub sp: u16,
    pub ss: u16,
    pub ds: u16,
    pub es: u16,
    pub fs: u16,
    pub gs: u16,
    pub padding: u16,
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
    pub esi: u32,
    pub edi: u32,
    pub ebp: u32,
}
