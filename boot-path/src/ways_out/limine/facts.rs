//! What a kernel is told.

use crate::bios::vbe::{Edid, Mode};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::map::Region;
use crate::ways_out::limine::FirmwarePages;

/// A file that is in memory.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its first byte.
    pub start: PhysAddr,
    /// Bytes.
    pub size: u64,
    /// Its path; the kernel sees one with a slash in front.
    pub path: &'a str,
    /// The text that goes with it.
    pub string: Text<'a>,
}

/// A text: its bytes, or the address at which the kernel finds it.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// Its address; a zero byte follows it.
    At(VirtAddr),
}

/// The processors.
#[derive(Clone, Copy, Debug)]
pub struct Processors<'a> {
    /// Whether they are in x2APIC mode.
    pub x2apic: bool,
    /// APIC ID of the one that boots.
    pub bootstrap: u32,
    /// Addresses at which the kernel sees the structure of each.
    pub infos: &'a [u64],
}

/// When things happened, in microseconds since the time-stamp counter was 0: the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performance {
    /// The loader's first instruction.
    pub begin: u64,
    /// Its last one, nearly.
    pub end: u64,
}

/// The framebuffer.
#[derive(Clone, Copy, Debug)]
pub struct Framebuffer<'a> {
    /// The mode that it is in.
    pub mode: Mode,
    /// All modes.
    pub modes: &'a [Mode],
    /// What the monitor says of itself.
    pub edid: Option<&'a Edid>,
}

/// What is to be told.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The loader's version.
    pub version: &'a str,
    /// The base revision.
    pub revision: u64,
    /// Address at which the kernel sees its command line.
    pub command_line: VirtAddr,
    /// The paging mode.
    pub paging_mode: u64,
    /// The processors; `None`: not asked for.
    pub processors: Option<Processors<'a>>,
    /// The firmware's tables.
    pub firmware: &'a FirmwarePages,
    /// The kernel's file, when it was asked for.
    pub executable: Option<File<'a>>,
    /// Physical and virtual address of the kernel.
    pub executable_address: (PhysAddr, VirtAddr),
    /// The modules.
    pub modules: &'a [File<'a>],
    /// Where files come from: is it an optical disk?
    pub optical: bool,
    /// The number of the partition; 0: none.
    pub partition: u8,
    /// The disk's signature.
    pub disk_signature: u32,
    /// Physical address of the RSDP; 0: none.
    pub rsdp: u64,
    /// Physical addresses of SMBIOS' 32-bit and 64-bit entry points; 0: none.
    pub smbios: [u64; 2],
    /// Seconds since 1970.
    pub date: Option<u64>,
    /// How long it took.
    pub performance: Option<Performance>,
    /// The time-stamp counter's frequency in Hz.
    pub tsc_frequency: Option<u64>,
    /// Random words.
    pub entropy: &'a [u64],
}

/// What is to be told, and is known only at the very end.
#[derive(Clone, Copy, Debug)]
pub struct LastFacts<'a> {
    /// The framebuffer; `None`: not asked for, or there is none.
    pub framebuffer: Option<Framebuffer<'a>>,
    /// The memory map.
    pub regions: &'a [Region],
}

/// The most random words that a kernel gets.
pub const MAX_ENTROPY: usize = 64;
