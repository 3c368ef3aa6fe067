//! Writes the responses.

use arrayvec::ArrayVec;
use zerocopy::IntoBytes as _;

use crate::bios::vbe::Mode;
use crate::entry::entry_file::MAX_MODULES;
use crate::errors::text::copy;
use crate::memory::address::{PhysAddr, VirtAddr};
use crate::memory::map::Region;
use crate::ways_out::limine::features::COUNT;
use crate::ways_out::limine::{
    FEATURES, Facts, Feature, File, FirmwarePages, Framebuffer, HHDM, LastFacts,
    MAX_INTERNAL_MODULES, Performance, Processors, Requests, Text, entries, in_hhdm,
};

/// Fills a piece of memory, from the front, with data that the kernel will see. Without memory,
/// only measures the data.
#[derive(Debug, Default)]
pub struct Writer<'a> {
    room: &'a mut [u8],
    /// The address at which the kernel sees the first byte.
    address: VirtAddr,
    /// Bytes that are used, or would be with enough memory.
    pub used: usize,
}

impl<'a> Writer<'a> {
    /// Fills `room`, which the kernel sees at `address`, a multiple of 8.
    pub fn new(room: &'a mut [u8], address: VirtAddr) -> Self {
        Self {
            room,
            address,
            used: 0,
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> u64 {
        let start = self.used;
        self.used += bytes.len();
        if let Some(room) = self.room.get_mut(start..self.used) {
            copy(bytes, room);
        }
        self.address.wrapping_add(start as u64).as_u64()
    }

    /// Stores words, aligned to 8 bytes; returns the address of the first.
    pub fn words(&mut self, words: &[u64]) -> u64 {
        self.used = self.used.next_multiple_of(8);
        self.bytes(words.as_bytes())
    }

    /// Stores a text in several parts, and a zero byte; returns its address.
    pub fn text(&mut self, parts: &[&[u8]]) -> u64 {
        let start = self.address.wrapping_add(self.used as u64).as_u64();
        for part in parts.iter().chain(&[&[0_u8][..]]) {
            self.bytes(part);
        }
        start
    }
}

/// Writes the responses to the requests; returns the address of each, 0 where there is none.
pub fn respond(
    requests: &Requests,
    facts: &Facts<'_>,
    last: &LastFacts<'_>,
    out: &mut Writer<'_>,
) -> [u64; COUNT] {
    let mut responses = [0; COUNT];
    for (&(feature, _), place) in FEATURES.iter().zip(&mut responses) {
        if requests.has(feature) {
            *place = response(feature, facts, last, out).unwrap_or(0);
        }
    }
    responses
}

/// Writes one response.
fn response(
    feature: Feature,
    facts: &Facts<'_>,
    last: &LastFacts<'_>,
    out: &mut Writer<'_>,
) -> Option<u64> {
    /// BIOS.
    const FIRMWARE_TYPE: u64 = 0;

    let revision = facts.revision;
    // Base revision 3 does not map the firmware's tables; revision 4 maps those of ACPI again.
    let firmware = |address: u64, physical: bool| {
        if address == 0 || physical {
            address
        } else {
            in_hhdm(PhysAddr::new(address)).as_u64()
        }
    };
    Some(match feature {
        Feature::BootloaderInfo => {
            let name = out.text(&[b"Bootpath"]);
            let version = out.text(&[facts.version.as_bytes()]);
            out.words(&[0, name, version])
        }
        Feature::CommandLine => out.words(&[0, facts.command_line.as_u64()]),
        Feature::FirmwareType => out.words(&[0, FIRMWARE_TYPE]),
        Feature::StackSize | Feature::EntryPoint | Feature::KeepIommu => out.words(&[0]),
        Feature::Hhdm => out.words(&[0, HHDM.as_u64()]),
        Feature::PagingMode => out.words(&[0, facts.paging_mode]),
        Feature::Processors => processors(&facts.processors?, out),
        Feature::MemoryMap => memory_map(last.regions, facts.firmware, out),
        Feature::ExecutableFile => {
            let file = file(facts, &facts.executable?, out);
            out.words(&[0, file])
        }
        Feature::Modules if !facts.modules.is_empty() => modules(facts, out),
        Feature::Rsdp if facts.rsdp != 0 => out.words(&[0, firmware(facts.rsdp, revision == 3)]),
        Feature::Smbios if facts.smbios != [0; 2] => {
            let [short, long] = facts
                .smbios
                .map(|entry| firmware(entry, matches!(revision, 3 | 4)));
            out.words(&[0, short, long])
        }
        Feature::Date => out.words(&[0, facts.date?]),
        Feature::ExecutableAddress => {
            let (physical, virtual_address) = facts.executable_address;
            out.words(&[0, physical.as_u64(), virtual_address.as_u64()])
        }
        Feature::Performance => {
            let Performance { begin, end } = facts.performance?;
            out.words(&[0, 0, begin, end])
        }
        Feature::TscFrequency => out.words(&[0, facts.tsc_frequency?]),
        Feature::Entropy => entropy(facts.entropy, out),
        Feature::Framebuffer => framebuffers(&last.framebuffer?, out),
        Feature::Modules | Feature::Rsdp | Feature::Smbios => return None,
        Feature::EfiSystemTable | Feature::EfiMemoryMap | Feature::TpmEventLog => return None,
        Feature::HartId | Feature::DeviceTree | Feature::Flanterm => return None,
    })
}

fn processors(processors: &Processors<'_>, out: &mut Writer<'_>) -> u64 {
    let list = out.words(processors.infos);
    let flags = u64::from(processors.x2apic) | u64::from(processors.bootstrap) << 32;
    out.words(&[0, flags, processors.infos.len() as u64, list])
}

fn memory_map(regions: &[Region], firmware: &FirmwarePages, out: &mut Writer<'_>) -> u64 {
    let first = out.words(&[]);
    let mut count = 0;
    for entry in entries(regions, firmware) {
        out.words(&[entry.base, entry.length, entry.kind]);
        count += 1;
    }
    let list = array_of_pointers(out, first, count, 24);
    out.words(&[0, count, list])
}

fn modules(facts: &Facts<'_>, out: &mut Writer<'_>) -> u64 {
    // Compressed modules of the kernel are unpacked.
    const REVISION: u64 = 2;

    let mut files = ArrayVec::<u64, MAX_FILES>::new();
    for module in facts.modules {
        let _ = files.try_push(file(facts, module, out));
    }
    let list = out.words(&files);
    out.words(&[REVISION, files.len() as u64, list])
}

fn entropy(words: &[u64], out: &mut Writer<'_>) -> u64 {
    let count = words.len() as u64;
    let values = if count == 0 { 0 } else { out.words(words) };
    out.words(&[0, count, values])
}

/// Can kernels of this protocol draw in a mode? They divide the bits of a pixel by 8 to get its
/// bytes.
pub fn suits(mode: &Mode) -> bool {
    mode.bits_per_pixel.is_multiple_of(8)
}

/// Bits of a pixel, memory model (RGB), and size and position of red, green and blue, in two words.
fn pixel(mode: &Mode) -> [u64; 2] {
    const RGB: u8 = 1;
    let [red, green, blue] = mode.colors;
    let first = [
        mode.bits_per_pixel,
        0,
        RGB,
        red.size,
        red.position,
        green.size,
        green.position,
        blue.size,
    ];
    [u64::from_le_bytes(first), blue.position.into()]
}

fn framebuffers(screen: &Framebuffer<'_>, out: &mut Writer<'_>) -> u64 {
    const REVISION: u64 = 1;

    let framebuffer = framebuffer(screen, out);
    let list = out.words(&[framebuffer]);
    out.words(&[REVISION, 1, list])
}

/// Writes the structure of a framebuffer.
fn framebuffer(framebuffer: &Framebuffer<'_>, out: &mut Writer<'_>) -> u64 {
    let (mut count, first) = (0, out.words(&[]));
    for mode in framebuffer.modes {
        out.words(&[mode.pitch, mode.width, mode.height].map(u64::from));
        out.words(&pixel(mode));
        count += 1;
    }
    let modes = array_of_pointers(out, first, count, 40);
    let edid = framebuffer.edid.map_or(0, |edid| out.bytes(edid));
    let edid_size = framebuffer.edid.map_or(0, |edid| edid.len());
    let mode = &framebuffer.mode;
    let address = in_hhdm(mode.start()).as_u64();
    let size = [mode.width, mode.height, mode.pitch].map(u64::from);
    let start = out.words(&[address]);
    out.words(&size);
    out.words(&pixel(mode));
    out.words(&[edid_size as u64, edid, count, modes]);
    start
}

/// The most files besides the kernel.
pub const MAX_FILES: usize = MAX_INTERNAL_MODULES + MAX_MODULES;

/// Writes the addresses of `count` structures of `size` bytes, adjacent from `first` on, as an
/// array; returns its address.
fn array_of_pointers(out: &mut Writer<'_>, first: u64, count: u64, size: u64) -> u64 {
    let list = out.words(&[]);
    for index in 0..count {
        out.words(&[first.wrapping_add(index * size)]);
    }
    list
}

/// Writes the structure of a file.
fn file(facts: &Facts<'_>, file: &File<'_>, out: &mut Writer<'_>) -> u64 {
    let root = if file.path.starts_with('/') { "" } else { "/" };
    let path = out.text(&[root.as_bytes(), file.path.as_bytes()]);
    let string = match file.string {
        Text::Bytes(bytes) => out.text(&[bytes]),
        Text::At(address) => address.as_u64(),
    };
    let disk = u64::from(facts.partition) | u64::from(facts.disk_signature) << 32;
    let address = in_hhdm(file.start).as_u64();
    // The address and port of TFTP and three UUIDs follow, which FAT and the MBR do not have.
    let media_type = u64::from(facts.optical);
    let words = [0, address, file.size, path, string, media_type, 0, disk];
    let start = out.words(&words);
    out.words(&[0; 6]);
    start
}
