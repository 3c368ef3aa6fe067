//! The facts that a kernel is told.

use crate::bios::vbe::{Edid, Mode};
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::map::Region;
use crate::ways_out::limine::FirmwarePages;

/// A file in memory.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its first byte.
    pub start: PhysAddr,
    /// Bytes.
    pub size: u64,
    /// Its path; the kernel sees it with a slash in front.
    pub path: &'a str,
    /// Its string.
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
    /// Are they in x2APIC mode?
    pub x2apic: bool,
    /// APIC ID of the one that boots.
    pub bootstrap: u32,
    /// Address of the structure of each, as the kernel sees it.
    pub infos: &'a [u64],
}

/// Times in microseconds since the time-stamp counter was 0, at the reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performance {
    /// The loader's first instruction.
    pub begin: u64,
    /// Nearly its last one.
    pub end: u64,
}

/// The framebuffer.
#[derive(Clone, Copy, Debug)]
pub struct Framebuffer<'a> {
    /// The present mode.
    pub mode: Mode,
    /// All modes.
    pub modes: &'a [Mode],
    /// The monitor's description of itself.
    pub edid: Option<&'a Edid>,
}

/// The facts for the kernel.
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
    /// The kernel's file, if it was requested.
    pub executable: Option<File<'a>>,
    /// Physical and virtual address of the kernel.
    pub executable_address: (PhysAddr, VirtAddr),
    /// The modules.
    pub modules: &'a [File<'a>],
    /// Do the files come from an optical disk?
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
    /// How long the loader ran.
    pub performance: Option<Performance>,
    /// The time-stamp counter's frequency in Hz.
    pub tsc_frequency: Option<u64>,
    /// Random words.
    pub entropy: &'a [u64],
}

/// The facts that are known only at the very end.
#[derive(Clone, Copy, Debug)]
pub struct LastFacts<'a> {
    /// The framebuffer; `None`: not asked for, or there is none.
    pub framebuffer: Option<Framebuffer<'a>>,
    /// The memory map.
    pub regions: &'a [Region],
}

/// The most random words that a kernel gets.
pub const MAX_ENTROPY: usize = 64;
