//! Kernels for all protocols.

use std::io::Write as _;
use std::iter;
use std::ops::Range;

use disk_builder::Protocol;

use super::mutation::Generator;
use crate::elf::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, PT_INTERP, ProgramHeader, R, W, X, noise, note, rela_by,
    words,
};

/// The address that 64-bit kernels are linked for.
pub(super) const KERNEL_VMA: u64 = 0xFFFF_FFFF_8000_0000;

/// A kernel, and what goes with it.
#[derive(Clone)]
pub(super) struct Kernel {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub protocol: Option<Protocol>,
    pub module: Option<Vec<u8>>,
    pub command_line: String,
    /// The ranges of its fields.
    fields: Vec<Range<usize>>,
    /// Whether the changed kernel is then compressed.
    packed: bool,
}

impl Kernel {
    pub(super) fn new(name: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            name,
            fields: iter::once(0..bytes.len().min(512)).collect(),
            bytes,
            protocol: None,
            module: None,
            command_line: "words".into(),
            packed: false,
        }
    }

    fn with_fields(mut self, fields: Range<usize>) -> Self {
        self.fields
            .push(fields.start..fields.end.min(self.bytes.len()));
        self
    }

    pub(super) fn by(self, protocol: Protocol) -> Self {
        let protocol = Some(protocol);
        Self { protocol, ..self }
    }

    /// The same with one field changed, or two.
    pub(super) fn changed(&self, generator: &mut Generator) -> Self {
        let mut kernel = self.clone();
        for _ in 0..=generator.below(2) {
            let fields = generator.one_of(&self.fields).clone();
            generator.change(&mut kernel.bytes[fields]);
        }
        if generator.below(10) == 0 {
            let length = generator.below(kernel.bytes.len());
            kernel.bytes.truncate(length);
        }
        if kernel.packed {
            kernel.bytes = pack(&kernel.bytes);
        }
        kernel
    }
}

pub(super) fn pack(bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// One kernel of each kind, and kernels that no change makes of them.
pub(super) fn all() -> Vec<Kernel> {
    const RELATIVE: [u32; 2] = [0, 8]; // R_X86_64_RELATIVE

    let own = own().build();
    let pie = relocated(&[(RELATIVE, 0x2000), (RELATIVE, 0x2008)], &[]);
    let [limine, multiboot1, multiboot2] = [limine(), multiboot1(), multiboot2()];
    let packed = pack(&own);
    let length = packed.len();
    let end = |bytes: &[u8]| bytes.len().saturating_sub(600)..bytes.len();
    let module = Some(pack(b"a module of a kernel that unpacks it"));
    let interpreter = ProgramHeader::within_load(PT_INTERP, KERNEL_VMA, 3);
    vec![
        Kernel::new("own", own.clone()).with_fields(end(&own)),
        Kernel::new("relocated", pie.clone()).with_fields(0x1000..0x1200),
        Kernel {
            module,
            ..Kernel::new("named own", own.clone()).by(Protocol::Bootpath)
        },
        Kernel {
            packed: true,
            ..Kernel::new("compressed own", own.clone())
        },
        Kernel {
            fields: vec![0..24, length - 24..length],
            ..Kernel::new("wrong stream", packed)
        },
        Kernel::new("limine", limine.clone()).with_fields(0x2000..0x2200),
        Kernel::new("named limine", limine)
            .by(Protocol::Limine)
            .with_fields(0x2000..0x2200),
        Kernel::new("multiboot 1", multiboot1.clone()).with_fields(0x1000..0x1040),
        Kernel::new("named multiboot 1", multiboot1).by(Protocol::Multiboot1),
        Kernel::new("multiboot 2", multiboot2.clone()).with_fields(0x1000..0x1090),
        Kernel::new("named multiboot 2", multiboot2).by(Protocol::Multiboot2),
        Kernel {
            fields: iter::once(0x1F1..0x268).collect(),
            module: Some(noise(1000)),
            ..Kernel::new("linux", linux())
        },
        Kernel {
            fields: iter::once(0x1F1..0x268).collect(),
            command_line: "x".repeat(3000),
            ..Kernel::new("named linux", linux()).by(Protocol::Linux(None))
        },
        Kernel::new("interpreter", elf().with(interpreter).build()),
        Kernel::new("writable code", writable()),
    ]
}

/// The code of the kernels: it reports success. It is the same in protected and in long mode.
pub(super) fn code() -> Vec<u8> {
    let [port_low, port_high] = handoff::EXIT_PORT.to_le_bytes();
    let success = handoff::EXIT_SUCCESS.to_le_bytes();
    [
        &[0x66, 0xBA, port_low, port_high][..], // mov dx, EXIT_PORT
        &[0xB8],                                // mov eax, EXIT_SUCCESS
        &success,
        &[0xEF],             // out dx, eax
        &[0xF4, 0xEB, 0xFD], // hlt; jmp to it
    ]
    .concat()
}

/// A segment with [`code`].
pub(super) fn code_at(flags: u32, address: u64) -> ProgramHeader {
    ProgramHeader::filled(flags, address, code())
}

pub(super) fn elf() -> Elf {
    Elf::new(ET_EXEC, KERNEL_VMA).with(code_at(R | X, KERNEL_VMA))
}

fn writable() -> Vec<u8> {
    let elf = Elf::new(ET_EXEC, KERNEL_VMA).with(code_at(R | W | X, KERNEL_VMA));
    elf.with(ProgramHeader::note(own_notes())).build()
}

pub(super) fn own_notes() -> Vec<u8> {
    [
        note(
            "Bootpath",
            handoff::NOTE_STACK_SIZE,
            &0x2_0000_u64.to_le_bytes(),
            4,
        ),
        note(
            "Bootpath",
            handoff::NOTE_PHYSICAL_MAP_BASE,
            &0xFFFF_8880_0000_0000_u64.to_le_bytes(),
            4,
        ),
    ]
    .concat()
}

/// A kernel for the loader's own protocol.
pub(super) fn own() -> Elf {
    let data = ProgramHeader::load(R | W, KERNEL_VMA + 0x1000, b"data".into(), 0x3000);
    elf().with(data).with(ProgramHeader::note(own_notes()))
}

/// A position-independent kernel with these relocations (symbol and type, and place), and with further words in
/// its dynamic section.
pub(super) fn relocated(relocations: &[([u32; 2], u64)], more: &[u64]) -> Vec<u8> {
    const DYNAMIC: u64 = 0x1000;
    const TABLE: u64 = 0x1100;
    const DATA: u64 = 0x2000;

    let table = relocations
        .iter()
        .flat_map(|&([symbol, kind], place)| rela_by(symbol, kind, place, 0x1000))
        .collect::<Vec<_>>();
    let size = table.len() as u64;
    // DT_RELA, DT_RELASZ, DT_RELAENT; the end.
    let dynamic = [&[7, TABLE, 8, size, 9, 24][..], more, &[0, 0]].concat();
    let mut tables = words(dynamic);
    let dynamic = ProgramHeader::within_load(PT_DYNAMIC, DYNAMIC, tables.len() as u64);
    tables.resize((TABLE - DYNAMIC) as usize, 0);
    tables.extend(table);
    Elf::new(ET_DYN, 0)
        .with(code_at(R | X, 0))
        .with(ProgramHeader::filled(R, DYNAMIC, tables))
        .with(ProgramHeader::load(R | W, DATA, vec![7; 64], 0x1000))
        .with(dynamic)
        .with(ProgramHeader::note(own_notes()))
        .build()
}

/// The tag of a revision, and requests.
pub(super) fn words_of_limine(revision: u64, requests: &[u64]) -> Vec<u8> {
    let tag = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC, revision];
    words([&tag[..], requests].concat())
}

/// A kernel with a request of each kind that the loader can refuse.
fn limine() -> Vec<u8> {
    const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
    const START: u64 = KERNEL_VMA + 0x1000;

    let mut data = Vec::new();
    let mut request = |name: [u64; 2], arguments: &[u64]| {
        data.extend(COMMON);
        data.extend(name);
        data.extend([1, 0]);
        data.extend(arguments);
    };
    request([0x224E_F046_0A8E_8926, 0xE1CB_0FC2_5F46_EA3D], &[0x1_0000]);
    request([0x95C1_A0ED_AB09_44CB, 0xA4E5_CB38_42F7_488A], &[0, 1, 0]);
    request(
        [0x13D8_6C03_5A1C_D3E1, 0x2B0C_AA89_D8F3_026A],
        &[KERNEL_VMA],
    );
    // One internal module: a list of pointers, and the module itself.
    let list = START + 8 * (3 + 7 + 9 + 7 + 8);
    request([0x3E7E_2797_02BE_32AF, 0xCA1C_4F3B_D128_0CEE], &[1, list]);
    let (module, text) = (list + 8, list + 8 + 24);
    data.extend([module, text, text + 5, 0]);
    data.extend([u64::from_le_bytes(*b"/none\0\0\0")]);
    let data = words_of_limine(3, &data);
    elf()
        .with(ProgramHeader::filled(R | W, START, data))
        .build()
}

pub(super) fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// An ELF kernel from 1 MiB on that begins with this header.
pub(super) fn physical(mut header: Vec<u8>) -> Vec<u8> {
    const START: u64 = 0x10_0000;

    let entry = START + header.len() as u64;
    header.extend(code());
    let data = ProgramHeader::load(R | W, 0x10_2000, vec![7; 100], 0x3000);
    Elf::new(ET_EXEC, entry)
        .with(ProgramHeader::filled(R | X, START, header))
        .with(data)
        .build()
}

fn multiboot1() -> Vec<u8> {
    const MAGIC: u32 = 0x1BAD_B002;
    const FLAGS: u32 = 7;

    let checksum = 0_u32.wrapping_sub(MAGIC + FLAGS);
    let addresses = [0, 0, 0, 0, 0];
    let mut header = vec![MAGIC, FLAGS, checksum];
    header.extend(addresses);
    header.extend([0, 1024, 768, 32]);
    physical(bytes_of(&header))
}

fn multiboot2() -> Vec<u8> {
    const MAGIC: u32 = 0xE852_50D6;

    let tags = [
        [1, 16, 1, 6].as_slice(),                     // information request
        &[4, 12, 3, 0],                               // console flags
        &[5, 20, 1024, 768, 32, 0],                   // framebuffer
        &[6, 8],                                      // modules on pages
        &[10, 24, 0x10_0000, 0x1000_0000, 0x1000, 1], // relocatable
        &[0, 8],
    ]
    .concat();
    let length = 16 + 4 * tags.len() as u32;
    let header = [MAGIC, 0, length, 0_u32.wrapping_sub(MAGIC + length)];
    physical(bytes_of(&[&header[..], &tags].concat()))
}

pub(super) fn linux() -> Vec<u8> {
    let mut file = noise(4 * 512);
    file[0x1F1..0x290].fill(0);
    for (offset, bytes) in [
        (0x1F1, &[1][..]),
        (0x1F4, &[64, 0, 0, 0]),
        (0x1FE, &[0x55, 0xAA, 0xEB, 0x7A]),
        (0x202, b"HdrS\x0F\x02"),
        (0x211, &[1]),
        (0x22C, &[0xFF, 0xFF, 0xFF, 0x7F]),
        (0x230, &[0, 0, 0x20, 0, 1, 0x15, 1, 0]),
        (0x238, &[0xFF, 7]),
        (0x258, &[0, 0, 0, 1]),
        (0x260, &[0, 0, 0x10, 0]),
        // The entries for protected and for long mode.
        (0x400, &code()),
        (0x600, &code()),
    ] {
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    file
}
