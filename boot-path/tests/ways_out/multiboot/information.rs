//! The boot information, which the crate `multiboot2` reads.

use boot_path::bios::firmware::{Bios, FLAG_CARRY, Registers};
use boot_path::bios::vbe::{Field, Mode};
use boot_path::entry::entry_file;
use boot_path::kernel::placement::LoadedModule;
use boot_path::memory::address::PhysAddr;
use boot_path::memory::map::{MemoryKind, Region};
use boot_path::position::FileOffset;
use boot_path::ways_out::multiboot::elf::SectionTable;
use boot_path::ways_out::multiboot::information::{self, Apm, Information, Screen, Sections};
use multiboot2::{BootInformation, BootInformationHeader, FramebufferType, MemoryAreaType};
use zerocopy::FromBytes;
use zerocopy::little_endian::U32;

use super::{MIB, bytes};

const CONFIGURATION: &[u8] =
    b"options quiet  two\nmodule /boot/modules/first the text\nmodule /second\noptions more\n";

fn region(start: u64, end: u64, kind: MemoryKind) -> Region {
    Region {
        start: PhysAddr::new(start),
        end: PhysAddr::new(end),
        kind,
    }
}

/// All kinds of memory. Neighbouring RAM is one region.
fn memory() -> Vec<Region> {
    use MemoryKind::*;
    vec![
        region(0, 0x1000, Usable),
        region(0x1000, 0x8_0000, Reclaimable),
        region(0x8_0000, 0x9_FC00, Usable),
        region(0x9_FC00, 0xA_0000, Reserved),
        region(0xF_0000, MIB, Reserved),
        region(MIB, 2 * MIB, Kernel),
        region(2 * MIB, 3 * MIB, Module),
        region(3 * MIB, 16 * MIB, Usable),
        region(16 * MIB, 17 * MIB, Bad),
        region(17 * MIB, 18 * MIB, Usable),
        region(18 * MIB, 19 * MIB, AcpiReclaimable),
        region(19 * MIB, 20 * MIB, AcpiNvs),
        region(4 << 30, 5 << 30, Usable),
    ]
}

const MAP: [(u64, u64, u32); 10] = [
    (0, 0x9_FC00, 1),
    (0x9_FC00, 0xA_0000, 2),
    (0xF_0000, MIB, 2),
    (MIB, 16 * MIB, 1),
    (16 * MIB, 17 * MIB, 5),
    (17 * MIB, 18 * MIB, 1),
    (18 * MIB, 19 * MIB, 3),
    (19 * MIB, 20 * MIB, 4),
    (4 << 30, 5 << 30, 1),
    (0, 0, 0),
];

const MODULES: [LoadedModule; 2] = [
    LoadedModule {
        start: PhysAddr::new(2 * MIB),
        length: 1234,
    },
    LoadedModule {
        start: PhysAddr::new(2 * MIB + 0x1000),
        length: 0,
    },
];

/// A table with a null section, and one with names at an address that the test fills in.
fn section_headers(names: &[u8]) -> Vec<u8> {
    let mut headers = vec![0; 64];
    headers.extend(bytes(&[1, 3, 0, 0]));
    for word in [names.as_ptr().addr() as u64, 0x40, names.len() as u64] {
        headers.extend(word.to_le_bytes());
    }
    headers.resize(128, 0);
    headers
}

fn sections(headers: &[u8]) -> Sections<'_> {
    Sections {
        table: SectionTable {
            offset: FileOffset::ZERO,
            entry_size: 64,
            count: 2,
            names: 1,
        },
        headers,
    }
}

fn apm() -> Apm {
    Apm {
        version: 0x102.into(),
        code: 0xF000.into(),
        offset: 0x1_2345.into(),
        code_16: 0xF001.into(),
        data: 0x40.into(),
        flags: 3.into(),
        code_length: 0xFFFF.into(),
        code_16_length: 0xFFFE.into(),
        data_length: 0xFFFD.into(),
    }
}

/// A BIOS with APM and nothing else.
#[derive(Default)]
struct ApmBios {
    /// What the installation check puts into BX and CX, one after the other; CF is set behind them.
    checks: Vec<(u32, u32)>,
    /// Whether connecting works.
    connects: bool,
    calls: Vec<u32>,
}

impl Bios for ApmBios {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        assert_eq!((number, registers.eflags & FLAG_CARRY), (0x15, FLAG_CARRY));
        self.calls.push(registers.eax);
        let done = match registers.eax {
            0x5300 => match self.checks.is_empty() {
                true => false,
                false => {
                    (registers.ebx, registers.ecx) = self.checks.remove(0);
                    registers.eax = 0x5555_0102;
                    true
                }
            },
            0x5303 if self.connects => {
                *registers = Registers {
                    eax: 0x1111_F000,
                    ebx: 0x0001_2345,
                    ecx: 0x2222_F001,
                    edx: 0x3333_0040,
                    esi: 0xFFFE_FFFF,
                    edi: 0x4444_FFFD,
                    ..*registers
                };
                true
            }
            // Disconnecting fails if nobody was connected.
            _ => false,
        };
        if done {
            registers.eflags &= !FLAG_CARRY;
        }
    }

    fn read<T: FromBytes>(&self, _: u64) -> T {
        unreachable!("nothing is read")
    }

    fn put<T: zerocopy::IntoBytes + zerocopy::Immutable>(&mut self, _: &T) {
        unreachable!("nothing is put")
    }

    fn write<T: zerocopy::IntoBytes + zerocopy::Immutable>(&mut self, _: u64, _: &T) {
        unreachable!("nothing is written")
    }

    fn transferred(&self, _: usize) -> &[u8] {
        unreachable!("nothing is transferred")
    }
}

#[test]
fn the_apm_bios() {
    const PM: u32 = 0x7777_504D;
    let connect = |checks: &[(u32, u32)], connects| {
        let mut bios = ApmBios {
            checks: checks.to_vec(),
            connects,
            calls: Vec::new(),
        };
        (Apm::connect(&mut bios), bios.calls)
    };
    let (found, calls) = connect(&[(PM, 0x8888_0002), (PM, 0x8888_0003)], true);
    assert_eq!(found, Some(apm()));
    assert_eq!(calls, [0x5300, 0x5304, 0x5303, 0x5300]);
    // There is no APM, none with 32 bits, or something else; or it does not connect, or disappears
    // then.
    for (checks, connects, calls) in [
        (&[][..], true, 1),
        (&[(PM, 1)], true, 1),
        (&[(0x504E, 2)], true, 1),
        (&[(PM, 2), (PM, 2)], false, 3),
        (&[(PM, 2)], true, 4),
        (&[(PM, 2), (PM, 1)], true, 4),
    ] {
        let (found, made) = connect(checks, connects);
        assert_eq!((found, made.len()), (None, calls), "{checks:x?}");
    }
}

/// An RSDP of ACPI 2.0, with both sums.
fn rsdp() -> Vec<u8> {
    let mut rsdp = b"RSD PTR \0BOOTPT\x02".to_vec();
    rsdp.extend(0x1234_u32.to_le_bytes());
    let sum = |bytes: &[u8]| bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    rsdp[8] = sum(&rsdp);
    rsdp.extend(36_u32.to_le_bytes());
    rsdp.extend(0x5678_u64.to_le_bytes());
    rsdp.extend([0; 4]);
    rsdp[32] = sum(&rsdp);
    rsdp
}

#[repr(align(8))]
struct Aligned([u8; 4096]);

/// Tells a kernel all that there is, or as little as possible.
fn with_information(all: bool, check: impl FnOnce(&Information<'_>)) {
    let configuration: &[u8] = if all { CONFIGURATION } else { b"" };
    let entry = entry_file::parse(configuration).expect("a good entry");
    let memory = memory();
    let names = *b"\0.strtab\0";
    let headers = section_headers(&names);
    let rsdp = rsdp();
    let information = Information {
        loader: "the loader",
        entry: &entry,
        modules: if all { &MODULES } else { &[] },
        memory: &memory,
        drive: Some(0x81),
        partition: if all { 2 } else { 0 },
        sections: all.then(|| sections(&headers)),
        screen: all.then_some(Screen::Text {
            address: 0xB_8000,
            columns: 80,
            rows: 25,
        }),
        apm: all.then(apm),
        rsdp: if all { &rsdp } else { &[] },
        smbios: if all { b"_SM_\0\x1F\x02\x08rest" } else { &[] },
        load_base: all.then_some(0x40_0000),
    };
    check(&information);
}

#[test]
fn information_of_version_2() {
    with_information(true, |information| {
        let mut memory = Aligned([0xA5; 4096]);
        let length = information::multiboot2(information, &mut memory.0).expect("it fits");
        assert!(length <= information::size(information, information.memory.len()));
        assert!(memory.0[length..].iter().all(|&byte| byte == 0xA5));
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: `start` is aligned and as long as it says, or the crate refuses it.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        assert_eq!(boot.total_size(), length);
        assert_eq!(memory.0[4..8], [0; 4]);

        let line = boot.command_line_tag().expect("a command line");
        assert_eq!(line.cmdline(), Ok("/boot/kernel.elf quiet  two more"));
        let name = boot.boot_loader_name_tag().expect("a name");
        assert_eq!(name.name(), Ok("the loader"));
        let modules: Vec<_> = boot
            .module_tags()
            .map(|tag| (tag.start_address(), tag.end_address(), tag.cmdline().ok()))
            .collect();
        let two = 2 * MIB as u32;
        let first = (two, two + 1234, Some("/boot/modules/first the text"));
        let second = (two + 0x1000, two + 0x1000, Some("/second"));
        assert_eq!(modules, [first, second]);
        let kinds: Vec<u32> = boot.tags().map(|tag| tag.header().typ.into()).collect();
        let order = [1, 2, 3, 3, 5, 6, 4, 8, 9, 10, 13, 14, 15, 21, 0];
        assert_eq!(kinds, order);
        check_memory_and_device(&boot);
        check_screen_and_sections(&boot);
        check_firmware(&boot);
    });
}

fn check_memory_and_device(boot: &BootInformation<'_>) {
    let basic = boot.basic_memory_info_tag().expect("it");
    assert_eq!(basic.memory_lower(), 639);
    assert_eq!(basic.memory_upper(), 15 * 1024);
    let device = boot.bootdev_tag().expect("it");
    assert_eq!((device.biosdev(), device.slice()), (0x81, 1));
    assert_eq!(device.part(), u32::MAX);
    let map = boot.memory_map_tag().expect("it");
    assert_eq!((map.entry_size(), map.entry_version()), (24, 0));
    let areas = map.memory_areas().iter();
    let areas: Vec<_> = areas
        .map(|area| {
            (
                area.start_address(),
                area.end_address(),
                u32::from(area.typ()),
            )
        })
        .collect();
    assert_eq!(areas, MAP[..9]);
    assert_eq!(map.memory_areas()[0].typ(), MemoryAreaType::Available);
}

fn check_screen_and_sections(boot: &BootInformation<'_>) {
    let screen = boot.framebuffer_tag().expect("it").expect("it");
    assert_eq!(screen.buffer_type(), Ok(FramebufferType::Text));
    assert_eq!((screen.address(), screen.pitch()), (0xB_8000, 160));
    assert_eq!(
        (screen.width(), screen.height(), screen.bpp()),
        (80, 25, 16)
    );
    let tag = boot.elf_sections_tag().expect("it");
    assert_eq!(
        (tag.number_of_sections(), tag.entry_size(), tag.shndx()),
        (2, 64, 1)
    );
    // SAFETY: `with_information` keeps the string table alive.
    assert_eq!(unsafe { tag.string_table() }, Some(&b"\0.strtab\0"[..]));
    let apm = boot.apm_tag().expect("it");
    assert_eq!(
        (apm.version(), apm.cseg(), apm.offset()),
        (0x102, 0xF000, 0x1_2345)
    );
    assert_eq!((apm.cset_16(), apm.dseg(), apm.flags()), (0xF001, 0x40, 3));
    let lengths = (apm.cseg_len(), apm.cseg_16_len(), apm.dseg_len());
    assert_eq!(lengths, (0xFFFF, 0xFFFE, 0xFFFD));
}

fn check_firmware(boot: &BootInformation<'_>) {
    let smbios = boot.smbios_tags().next().expect("it");
    assert_eq!((smbios.major(), smbios.minor()), (2, 8));
    assert!(smbios.tables().starts_with(b"_SM_"));
    let old = boot.rsdp_v1_tag().expect("it");
    assert!(old.checksum_is_valid());
    assert_eq!(old.rsdt_address(), 0x1234);
    let new = boot.rsdp_v2_tag().expect("it");
    assert!(new.checksum_is_valid());
    assert_eq!(new.xsdt_address(), 0x5678);
    let base = boot.load_base_addr_tag().map(|tag| tag.load_base_addr());
    assert_eq!(base, Some(0x40_0000));
    assert!(boot.vbe_info_tag().is_none());
}

#[test]
fn as_little_information_as_possible() {
    with_information(false, |information| {
        let mut memory = Aligned([0xA5; 4096]);
        information::multiboot2(information, &mut memory.0).expect("it fits");
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: as above.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        let line = boot.command_line_tag().map(|tag| tag.cmdline().ok());
        assert_eq!(line, Some(Some("/boot/kernel.elf")));
        assert_eq!(boot.module_tags().count(), 0);
        let device = boot.bootdev_tag().expect("it");
        assert_eq!((device.slice(), device.part()), (u32::MAX, u32::MAX));
        assert!(boot.framebuffer_tag().is_none() && boot.elf_sections_tag().is_none());
        assert!(boot.apm_tag().is_none() && boot.smbios_tags().next().is_none());
        assert!(boot.rsdp_v1_tag().is_none() && boot.rsdp_v2_tag().is_none());
        assert!(boot.load_base_addr_tag().is_none());

        let mut memory = Aligned([0xA5; 4096]);
        information::multiboot1(information, &mut memory.0, 0x1000).expect("it fits");
        let word = |at: usize| U32::read_from_bytes(&memory.0[at..at + 4]).expect("4 bytes");
        assert_eq!(word(0), 0b10_0100_1111);
        assert_eq!(memory.0[12..16], [0xFF, 0xFF, 0xFF, 0x81]);
        assert_eq!(word(20), 0);
        // APM, VBE, framebuffer.
        assert!(memory.0[68..120].iter().all(|&byte| byte == 0));
    });
}

/// A mode that was set, and what the BIOS says about it.
fn drawn() -> Screen<'static> {
    let field = |position, size| Field { position, size };
    Screen::Graphics {
        mode: Mode {
            number: 0x114,
            width: 800,
            height: 600,
            pitch: 1664,
            address: 0xFD00_0000,
            bits_per_pixel: 16,
            colors: [field(11, 5), field(5, 6), field(0, 4)],
        },
        controller: &[0xC0; 512],
        info: &[0xC1; 256],
        interface: [0xC000, 0x5678, 0x123],
    }
}

#[test]
fn graphics_in_the_information() {
    with_information(true, |information| {
        let information = Information {
            screen: Some(drawn()),
            ..*information
        };
        let mut memory = Aligned([0xA5; 4096]);
        let length = information::multiboot2(&information, &mut memory.0).expect("it fits");
        assert!(length <= information::size(&information, information.memory.len()));
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: as above.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        let screen = boot.framebuffer_tag().expect("it").expect("it");
        assert_eq!((screen.address(), screen.pitch()), (0xFD00_0000, 1664));
        let size = (screen.width(), screen.height(), screen.bpp());
        assert_eq!(size, (800, 600, 16));
        let Ok(FramebufferType::RGB { red, green, blue }) = screen.buffer_type() else {
            panic!("no colours")
        };
        let colors = [red, green, blue].map(|field| (field.position, field.size));
        assert_eq!(colors, [(11, 5), (5, 6), (0, 4)]);
        let vbe = boot.vbe_info_tag().expect("it");
        assert_eq!((vbe.mode(), vbe.interface_segment()), (0x4114, 0xC000));
        assert_eq!(
            (vbe.interface_offset(), vbe.interface_length()),
            (0x5678, 0x123)
        );
        assert_eq!(vbe.control_info().signature, [0xC0; 4]);
        assert_eq!({ vbe.mode_info().framebuffer_base_ptr }, 0xC1C1_C1C1);

        const BASE: u32 = 0x12_3000;
        let mut memory = Aligned([0xA5; 4096]);
        let memory = &mut memory.0;
        let length = information::multiboot1(&information, memory, BASE).expect("it fits");
        assert!(length <= information::size(&information, information.memory.len()));
        let word = |at: usize| {
            let word = U32::read_from_bytes(&memory[at..at + 4]);
            word.expect("4 bytes").get()
        };
        assert_eq!(word(0) & 0b1_1000_0000_0000, 0b1_1000_0000_0000);
        let [controller, info] = [72, 76].map(|at| (word(at) - BASE) as usize);
        assert_eq!(memory[controller..controller + 512], [0xC0; 512]);
        assert_eq!(memory[info..info + 256], [0xC1; 256]);
        assert_eq!([word(80), word(84)], [0xC000_4114, 0x0123_5678]);
        let screen = [word(88), word(92), word(96), word(100), word(104)];
        assert_eq!(screen, [0xFD00_0000, 0, 1664, 800, 600]);
        // Where the specification's C header has the colours.
        assert_eq!(memory[108..120], [16, 1, 0, 0, 11, 5, 5, 6, 0, 4, 0, 0]);
    });
}

/// An RSDP of ACPI 1.0, and the version of a 64-bit SMBIOS.
#[test]
fn older_and_newer_tables() {
    with_information(true, |information| {
        let information = Information {
            rsdp: &information.rsdp[..20],
            smbios: b"_SM3_\0\x18\x03\x05rest",
            ..*information
        };
        let mut memory = Aligned([0xA5; 4096]);
        information::multiboot2(&information, &mut memory.0).expect("it fits");
        let start = memory.0.as_ptr().cast::<BootInformationHeader>();
        // SAFETY: as above.
        let boot = unsafe { BootInformation::load(start) }.expect("it is right");
        assert!(boot.rsdp_v1_tag().is_some() && boot.rsdp_v2_tag().is_none());
        let smbios = boot.smbios_tags().next().expect("it");
        assert_eq!((smbios.major(), smbios.minor()), (3, 5));
    });
}

/// Low memory ends where the first RAM below 1 MiB ends, if there is any.
#[test]
fn the_sizes_of_memory() {
    use MemoryKind::*;

    let high = region(MIB, 16 * MIB, Usable);
    for (low, expected) in [
        (vec![region(0, 0x9_FC00, Usable)], 639),
        (vec![region(0, 0xA_0000, Usable)], 640),
        (vec![region(0, 0x9_FBFF, Kernel)], 638),
        (
            vec![
                region(0, 0x1000, Reserved),
                region(0x1000, 0x9_F800, Usable),
            ],
            638,
        ),
        (
            vec![
                region(0, 0x6_0000, Usable),
                region(0x7_0000, 0xA_0000, Usable),
            ],
            384,
        ),
        (vec![region(0, 0x9_FC00, Reserved)], 0),
    ] {
        let memory = [low, vec![high]].concat();
        with_information(true, |information| {
            let information = Information {
                memory: &memory,
                ..*information
            };
            let mut out = [0; 4096];
            assert!(information::multiboot1(&information, &mut out, 0x1000).is_some());
            let words = [&out[4..8], &out[8..12]].map(|word| {
                let word = U32::read_from_bytes(word);
                word.expect("4 bytes").get()
            });
            assert_eq!(words, [expected, 15 * 1024], "{memory:x?}");
        });
    }
}

#[test]
fn information_of_version_1() {
    const BASE: u32 = 0x12_3000;

    with_information(true, |information| {
        let mut memory = [0xA5; 4096];
        let length = information::multiboot1(information, &mut memory, BASE).expect("it fits");
        assert!(length <= information::size(information, information.memory.len()));
        assert!(memory[length..].iter().all(|&byte| byte == 0xA5));
        let word = |at: usize| {
            let word = U32::read_from_bytes(&memory[at..at + 4]);
            word.expect("4 bytes").get()
        };
        let place = |at: usize| (word(at) - BASE) as usize;
        let text = |at: usize| {
            let text = memory[at..].split(|&byte| byte == 0).next();
            std::str::from_utf8(text.expect("a zero")).expect("a text")
        };
        assert_eq!(word(0), 0b1_0110_0110_1111 | 1 << 12);
        assert_eq!([word(4), word(8)], [639, 15 * 1024]);
        assert_eq!(memory[12..16], [0xFF, 0xFF, 1, 0x81]);
        assert_eq!(text(place(16)), "/boot/kernel.elf quiet  two more");
        assert_eq!(text(place(64)), "the loader");
        assert_eq!(word(20), 2);
        let modules = place(24);
        let two = 2 * MIB as u32;
        assert_eq!([word(modules), word(modules + 4)], [two, two + 1234]);
        assert_eq!(text(place(modules + 8)), "/boot/modules/first the text");
        assert_eq!(text(place(modules + 24)), "/second");
        assert_eq!([word(modules + 12), word(modules + 28)], [0, 0]);
        assert_eq!([word(28), word(32), word(40)], [2, 64, 1]);
        let sections = information.sections.expect("they are given");
        assert_eq!(memory[place(36)..][..128], *sections.headers);
        assert_eq!(word(44), 9 * 24);
        for (number, (start, end, kind)) in MAP[..9].iter().enumerate() {
            let at = place(48) + 24 * number;
            let expected = [
                20,
                *start as u32,
                (start >> 32) as u32,
                (end - start) as u32,
                ((end - start) >> 32) as u32,
                *kind,
            ];
            assert_eq!(memory[at..at + 24], bytes(&expected));
        }
        assert!(memory[52..64].iter().all(|&byte| byte == 0), "drives, ROM");
        assert_eq!(memory[place(68)..][..4], [0x02, 0x01, 0x00, 0xF0]);
        assert!(memory[72..88].iter().all(|&byte| byte == 0), "VBE");
        let screen = [word(88), word(92), word(96), word(100), word(104)];
        assert_eq!(screen, [0xB_8000, 0, 160, 80, 25]);
        assert_eq!(memory[108..120], [16, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
}

/// However little room there is, nothing is written behind it, and the caller learns that it was
/// too little.
#[test]
fn too_little_room() {
    with_information(true, |information| {
        let information = &Information {
            screen: Some(drawn()),
            ..*information
        };
        let mut memory = Aligned([0; 4096]);
        let lengths = [
            information::multiboot1(information, &mut memory.0, 0).expect("it fits"),
            information::multiboot2(information, &mut memory.0).expect("it fits"),
        ];
        for room in (0..3500).step_by(7) {
            let bytes = &mut memory.0[..room];
            let one = information::multiboot1(information, bytes, 0);
            assert_eq!(one, (room >= lengths[0]).then_some(lengths[0]));
            let two = information::multiboot2(information, bytes);
            assert_eq!(two, (room >= lengths[1]).then_some(lengths[1]));
        }
    });
}
