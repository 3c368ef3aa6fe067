//! The actions that are left when nothing can fail any more: the last instructions of the loader,
//! which the machine executes.

use arrayvec::ArrayVec;
use x86_64::registers::control::Cr0Flags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::devices::descriptors::{CODE_32, DATA};
use crate::errors::text::copy;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::ram::Block;

/// How to leave the loader.
#[derive(Debug)]
pub struct Handover<'m> {
    /// Blocks to move to memory that the loader itself still uses, and the destination of each.
    pub moves: ArrayVec<(Block<'m>, PhysAddr), 3>,
    /// Bytes that replace the loader itself, if there are any. The jump is one to protected mode.
    pub last: Option<LastCopies<'m>>,
    /// The jump.
    pub jump: Jump,
}

impl From<Jump> for Handover<'_> {
    fn from(jump: Jump) -> Self {
        Self {
            moves: ArrayVec::new(),
            last: None,
            jump,
        }
    }
}

/// Copies that are made when nothing of the loader is needed any more: its code, stacks and tables
/// may be where the bytes go. The list lies in memory of its own, with room for the instructions
/// that carry it out.
#[derive(Debug)]
pub struct LastCopies<'m> {
    room: Block<'m>,
    length: usize,
}

/// See [`LastCopies::INSTRUCTIONS`].
const INSTRUCTIONS: usize = 88;

const _: () = assert!(CODE_32 == 0x10 && DATA == 0x18);

/// Copies bytes, and zeroes what is behind them. All in physical memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
#[expect(missing_docs, reason = "what their names say")]
pub struct LastCopy {
    pub from: u32,
    pub to: u32,
    pub bytes: u32,
    pub zeroes: u32,
}

impl<'m> LastCopies<'m> {
    /// Bytes for the instructions, in front of the list.
    pub const INSTRUCTIONS: usize = INSTRUCTIONS;

    /// The operand of LGDT in them.
    pub const GDT_POINTER: usize = 2;

    /// Their GDT.
    pub const GDT: usize = 8;

    /// Bytes of the GDT: two descriptors that are not needed, and the flat ones for 32 bits.
    pub const GDT_SIZE: usize = DATA as usize + 8;

    /// The first instruction.
    pub const CODE: usize = Self::GDT + Self::GDT_SIZE;

    /// Bytes of memory for so many copies, and for one more as the end of the list.
    pub const fn size(count: usize) -> u64 {
        (Self::INSTRUCTIONS + (count + 1) * size_of::<LastCopy>()) as u64
    }

    /// An empty list.
    pub const fn new(room: Block<'m>) -> Self {
        let length = Self::INSTRUCTIONS;
        Self { room, length }
    }

    /// Adds a copy, for which the list has room.
    pub fn add(&mut self, last: LastCopy) {
        let room = self.room.get_mut(self.length..).unwrap_or_default();
        self.length += copy(last.as_bytes(), room);
    }

    /// The list.
    pub fn iter(&self) -> impl Iterator<Item = LastCopy> {
        let list = self.room.get(Self::INSTRUCTIONS..self.length);
        let list = list.unwrap_or_default().chunks(size_of::<LastCopy>());
        list.filter_map(|bytes| LastCopy::read_from_bytes(bytes).ok())
    }

    /// Ends the list, and puts the instructions in front of it. Returns the state in which they
    /// begin, instead of that of the kernel.
    pub fn before(
        &mut self,
        kernel: &ProtectedMode,
        instructions: &[u8; INSTRUCTIONS],
    ) -> ProtectedMode {
        self.add(LastCopy {
            from: kernel.eip,
            ..LastCopy::default()
        });
        copy(instructions, &mut self.room);
        let start = self.room.start().as_u64() as u32;
        ProtectedMode {
            eip: start + Self::CODE as u32,
            ebp: start,
            ..*kernel
        }
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
