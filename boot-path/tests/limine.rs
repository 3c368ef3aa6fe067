//! The Limine protocol: requests are found where the protocol says that they are, and the responses say
//! what they should.

#[path = "../../tests/src/elf_fixture.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod elf_fixture;
#[path = "support/mmu.rs"]
mod mmu;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use boot_path::bios::acpi::{self, MadtEntry};
use boot_path::bios::vbe::{Field, Mode};
use boot_path::errors::catalogue::Named;
use boot_path::kernel::image::{KernelImage, Wishes};
use boot_path::kernel::placement::Kernel;
use boot_path::kernel::relocate::LoadedKernel;
use boot_path::memory::map::{MemoryKind, MemoryMap, Region};
use boot_path::paging::address_space::{TablePages, build_limine};
use boot_path::paging::page_tables::Capabilities;
use boot_path::ways_out::limine::requests::{
    self as limine, COUNT, Entry, FEATURES, Facts, Feature, File, FirmwarePages, Framebuffer, HHDM,
    LimineError, Performance, Processors, Requests, Text, Writer, entries, hhdm, recognises, scan,
    unix_time,
};
use elf_fixture::{ET_DYN, ET_EXEC, Elf, PT_GNU_RELRO, ProgramHeader, R, W, X, note, words};
use proptest::prelude::*;

const BASE: u64 = 0xFFFF_FFFF_8000_0000;
const CODE: u64 = BASE;
const DATA: u64 = BASE + 0x1000;
const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const START: [u64; 4] = [
    0xF6B8_F4B3_9DE7_D1AE,
    0xFAB9_1A69_40FC_B9CF,
    0x785C_6ED0_15D3_E316,
    0x181E_920A_7852_B9D9,
];
const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];
const PAGE: u64 = 4096;
const GIB4: u64 = 4 << 30;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The words of a request.
fn request(feature: Feature, revision: u64, arguments: &[u64]) -> Vec<u64> {
    let (_, name) = FEATURES[feature as usize];
    let mut words = vec![COMMON[0], COMMON[1], name[0], name[1], revision, 0];
    words.extend(arguments);
    words
}

fn tag(revision: u64) -> Vec<u64> {
    vec![TAG[0], TAG[1], revision]
}

/// A kernel in memory.
struct Loaded {
    image: KernelImage,
    segments: Vec<Vec<u8>>,
}

impl Loaded {
    fn new(elf: &Elf) -> Self {
        let file = elf.build();
        let count = elf.program_headers.len();
        let image =
            KernelImage::parse(&file, &file[64..64 + 56 * count], file.len() as u64).unwrap();
        let segments = image.segments().iter().map(|s| {
            let mut memory = file[s.file_offset as usize..][..s.file_size as usize].to_vec();
            memory.resize(s.memory_size as usize, 0);
            memory
        });
        Self {
            segments: segments.collect(),
            image,
        }
    }

    fn scan(&self) -> Result<Option<Requests>, LimineError> {
        scan(&self.image, self)
    }

    fn requests(&self) -> Requests {
        self.scan().unwrap().expect("a Limine kernel")
    }

    fn word(&self, address: u64) -> u64 {
        let segments = self.image.segments().iter().enumerate();
        let mut segments = segments.map(|(index, s)| (index, s.virtual_start));
        let (index, start) = segments.rfind(|(_, start)| *start <= address).unwrap();
        let offset = (address - start) as usize;
        u64::from_le_bytes(self.segments[index][offset..offset + 8].try_into().unwrap())
    }
}

impl LoadedKernel for Loaded {
    fn bytes(&self, segment: usize) -> &[u8] {
        &self.segments[segment][..self.image.segments()[segment].file_size as usize]
    }
    fn memory(&mut self, segment: usize) -> Option<&mut [u8]> {
        Some(&mut self.segments[segment])
    }
}

/// A kernel whose data begins with these words.
fn elf(data: &[u64]) -> Elf {
    let data = words(data.iter().copied());
    let length = data.len() as u64;
    Elf::new(ET_EXEC, CODE + 16)
        .with(ProgramHeader::load(R | X, CODE, vec![0xF4; 0x100], 0x100))
        .with(ProgramHeader::load(R | W, DATA, data, length + 0x100))
}

fn kernel(data: &[u64]) -> Loaded {
    Loaded::new(&elf(data))
}

#[test]
fn requests_are_found() {
    assert_eq!(kernel(&[1, 2, 3]).scan(), Ok(None));
    // Half a magic number is none.
    assert_eq!(
        kernel(&[COMMON[0], TAG[1], COMMON[1], TAG[0]]).scan(),
        Ok(None)
    );

    let words = [vec![7], tag(3), request(Feature::Hhdm, 0, &[]), vec![9]].concat();
    let found = kernel(&words).requests();
    assert_eq!(found.revision, 3);
    assert!(found.has(Feature::Hhdm) && !found.has(Feature::MemoryMap));
    // Without a tag the revision is 0. A marker alone makes a Limine kernel, too.
    assert_eq!(
        kernel(&request(Feature::Hhdm, 0, &[])).requests().revision,
        0
    );
    assert!(!kernel(&END).requests().has(Feature::Hhdm));

    // 8-byte aligned in memory, which the segment need not be.
    let mut unaligned = elf(&words);
    unaligned.program_headers[1].virtual_address += 4;
    assert_eq!(Loaded::new(&unaligned).scan(), Ok(None));
    unaligned.program_headers[1].data.splice(0..0, [0; 4]);
    assert!(Loaded::new(&unaligned).requests().has(Feature::Hhdm));

    // A feature of a later version is no error, however often it comes.
    let unknown = [COMMON[0], COMMON[1], 5, 6, 0, 0];
    let found = kernel(&[unknown, unknown].concat()).requests();
    assert!(FEATURES.iter().all(|(feature, _)| !found.has(*feature)));
}

#[test]
fn markers_count() {
    let hhdm = request(Feature::Hhdm, 0, &[]);
    let map = request(Feature::MemoryMap, 0, &[]);
    let start = START.to_vec();
    let end = END.to_vec();
    let found = kernel(
        &[
            hhdm.clone(),
            start.clone(),
            map.clone(),
            end.clone(),
            hhdm.clone(),
        ]
        .concat(),
    );
    let found = found.requests();
    assert!(found.has(Feature::MemoryMap) && !found.has(Feature::Hhdm));

    // The last start marker, the first end marker; what is twice outside does no harm.
    let words = [
        &tag(1),
        &hhdm,
        &start,
        &hhdm,
        &hhdm,
        &start,
        &tag(2),
        &map,
        &end,
        &map,
        &end,
    ];
    let words: Vec<u64> = words.into_iter().flatten().copied().collect();
    let found = kernel(&words).requests();
    assert!(found.has(Feature::MemoryMap) && !found.has(Feature::Hhdm));
    assert_eq!(found.revision, 2);

    let error = kernel(&[end, hhdm, start].concat()).scan().unwrap_err();
    let expected = LimineError::Markers {
        start: DATA + 64,
        end: DATA,
    };
    assert_eq!((error, error.entry().code), (expected, "10X"));
    assert_eq!(
        error.to_string(),
        "start marker at 0xffffffff80001040, end marker at 0xffffffff80001000"
    );
}

#[test]
fn what_is_twice_or_cut_off_is_refused() {
    let hhdm = request(Feature::Hhdm, 0, &[]);
    let twice = kernel(&[hhdm.clone(), hhdm.clone()].concat()).scan();
    let error = LimineError::Duplicate {
        first: DATA,
        second: DATA + 48,
    };
    assert_eq!(twice, Err(error));
    assert_eq!(
        error.to_string(),
        "twice: at 0xffffffff80001000 and at 0xffffffff80001030"
    );
    assert!(kernel(&[tag(1), tag(1)].concat()).scan().is_err());
    // Without an answer it is a duplicate all the same.
    let dtb = request(Feature::DeviceTree, 0, &[]);
    assert!(kernel(&[dtb.clone(), dtb].concat()).scan().is_err());

    for length in 4..6 {
        let error = kernel(&hhdm[..length]).scan();
        assert_eq!(error, Err(LimineError::Cut { address: DATA }), "{length}");
    }
    assert_eq!(
        kernel(&tag(1)[..2]).scan(),
        Err(LimineError::Cut { address: DATA })
    );
}

#[test]
fn pieces_overlap_by_a_word() {
    let bytes = words([&[1, 2][..], &request(Feature::Hhdm, 0, &[])[..]].concat());
    assert!(recognises(&bytes, 0x1000) && !recognises(&bytes, 0x1001));
    assert!(recognises(&bytes[..32], 0x1000) && !recognises(&bytes[..31], 0x1000));
    assert!(!recognises(&bytes[24..], 0x1018) && recognises(&bytes[16..], 0x1010));
    for words_of in [&tag(0)[..], &END, &START] {
        assert!(recognises(&words(words_of.iter().copied()), 8));
    }
}

#[test]
fn what_no_machine_can_give_is_refused() {
    let loaded = kernel(&tag(7));
    let error = loaded.requests().check(&loaded.image).unwrap_err();
    assert_eq!(error.entry().code, "10Y");
    assert_eq!(error.to_string(), "revision 7, known are 0 to 6");
    let loaded = kernel(&tag(6));
    assert_eq!(loaded.requests().check(&loaded.image), Ok(()));

    let low = |kind| {
        let mut elf = elf(&tag(3));
        elf.kind = kind;
        elf.entry -= BASE - 0x10_0000;
        for header in &mut elf.program_headers {
            header.virtual_address -= BASE - 0x10_0000;
        }
        let loaded = Loaded::new(&elf);
        loaded.requests().check(&loaded.image)
    };
    assert_eq!(low(ET_EXEC), Err(LimineError::Low { address: 0x10_0000 }));
    assert_eq!(low(ET_DYN), Ok(()));

    // A file with a note of the loader's own is none of these.
    let own = elf(&tag(7)).with(ProgramHeader::note(note(
        "Bootpath",
        1,
        &[0, 0x20, 0, 0, 0, 0, 0, 0],
        4,
    )));
    assert!(matches!(limine::check_file(&own.build()), Ok(None)));
    assert!(matches!(limine::check_file(&elf(&[]).build()), Ok(None)));
    assert!(matches!(
        limine::check_file(&elf(&tag(2)).build()),
        Ok(Some(_))
    ));
    assert_eq!(
        limine::check_file(&elf(&tag(7)).build())
            .unwrap_err()
            .entry()
            .code,
        "10Y"
    );
}

#[test]
fn stacks_entries_and_paging_modes() {
    let stack = |size| {
        let loaded = kernel(&request(Feature::StackSize, 0, &[size]));
        loaded.requests().stack_size(&loaded.image, &loaded)
    };
    assert_eq!(
        [0, 65536, 65537, 1 << 30].map(stack),
        [65536, 65536, 69632, 1 << 30]
    );
    assert_eq!(stack(u64::MAX), u64::MAX - 4095);

    let entry = |address| {
        let loaded = kernel(&request(Feature::EntryPoint, 0, &[address]));
        loaded.requests().entry(&loaded.image, &loaded, 0)
    };
    assert_eq!(entry(CODE + 5), Ok(CODE + 5));
    for address in [0, CODE + 0x100, DATA] {
        assert_eq!(entry(address), Err(LimineError::Entry { address }));
    }
    let loaded = kernel(&tag(0));
    assert_eq!(
        loaded.requests().entry(&loaded.image, &loaded, 0x1000),
        Ok(CODE + 0x1010)
    );

    let mode = |revision, arguments: &[u64], five_levels| {
        let loaded = kernel(&request(Feature::PagingMode, revision, arguments));
        let requests = loaded.requests();
        requests
            .paging_mode(&loaded.image, &loaded, five_levels)
            .ok()
    };
    assert_eq!(mode(0, &[0], true), Some(0));
    assert_eq!(mode(0, &[1], true), Some(1));
    assert_eq!(mode(0, &[1], false), Some(0));
    assert_eq!(mode(1, &[0, 1, 0], true), Some(0));
    assert_eq!(mode(1, &[0, 1, 1], true), Some(1));
    assert_eq!(mode(1, &[1, 1, 0], false), Some(0));
    assert_eq!(mode(1, &[1, 1, 1], false), None);
    assert_eq!(mode(1, &[9, 9, 0], true), Some(1));
    assert_eq!(mode(1, &[0, 0, 1], true), None);
    assert_eq!(mode(1, &[2, 3, 2], true), None);
}

/// The words of a kernel with internal modules, whose strings come last.
fn with_modules(paths: &[&str], flags: u64) -> Loaded {
    let count = paths.len() as u64;
    let list = DATA + 8 * 8;
    let modules = list + 8 * count;
    let mut strings = Vec::new();
    let texts = modules + 24 * count;
    let mut address = |text: &str| {
        let start = texts + strings.len() as u64;
        strings.extend(text.bytes().chain([0]));
        start
    };
    let mut data = request(Feature::Modules, 1, &[count, list]);
    data.extend((0..count).map(|index| modules + 24 * index));
    for path in paths {
        data.extend([address(path), address("string"), flags]);
    }
    let mut elf = elf(&data);
    elf.program_headers[1].data.extend(strings);
    elf.program_headers[1].memory_size += 0x1000;
    Loaded::new(&elf)
}

#[test]
fn internal_modules_are_read() {
    let read = |loaded: &Loaded| {
        let modules = loaded.requests().internal_modules(&loaded.image, loaded, 0);
        modules.map(|modules| {
            let text =
                |m: &limine::InternalModule<'_>| (m.path.to_owned(), m.string.to_vec(), m.required);
            modules.iter().map(text).collect::<Vec<_>>()
        })
    };
    let expected = |path: &str, required| (path.to_owned(), b"string".to_vec(), required);
    let loaded = with_modules(&["one", "two/three"], 3);
    assert_eq!(
        read(&loaded),
        Ok(vec![expected("one", true), expected("two/three", true)])
    );
    assert_eq!(
        read(&with_modules(&["x"], 0)),
        Ok(vec![expected("x", false)])
    );
    // A hash is not checked, so it must not be ignored.
    assert_eq!(
        read(&with_modules(&["x", "y#00"], 0)),
        Err(LimineError::Module { index: 1 })
    );

    let raw = |revision, arguments: &[u64]| {
        read(&kernel(&request(Feature::Modules, revision, arguments)))
    };
    assert_eq!(raw(0, &[5, 5]), Ok(vec![]));
    assert_eq!(raw(1, &[0, 5]), Ok(vec![]));
    assert_eq!(
        raw(1, &[33, DATA]),
        Err(LimineError::TooManyModules { count: 33 })
    );
    for list in [0, u64::MAX, DATA, DATA + 48] {
        assert_eq!(
            raw(1, &[1, list]),
            Err(LimineError::Module { index: 0 }),
            "{list:x}"
        );
    }
}

#[test]
fn answers_are_written() {
    let words = [
        tag(2),
        request(Feature::Hhdm, 0, &[]),
        request(Feature::Rsdp, 0, &[]),
    ]
    .concat();
    let mut loaded = kernel(&words);
    let requests = loaded.requests();
    let mut responses = [0; COUNT];
    responses[Feature::Hhdm as usize] = 0x1234;
    let image = loaded.image.clone();
    requests.answer(&image, &mut loaded, &responses);
    let after: Vec<_> = (0..words.len() as u64)
        .map(|n| loaded.word(DATA + 8 * n))
        .collect();
    let mut expected = words;
    (expected[1], expected[2]) = (2, 0);
    expected[3 + 5] = 0x1234;
    assert_eq!(after, expected);
}

/// What the kernel reads back.
struct Seen<'a>(&'a [u8]);

const SEEN_AT: u64 = HHDM + 0x5000;

impl Seen<'_> {
    fn words<const N: usize>(&self, address: u64) -> [u64; N] {
        assert_eq!(address % 8, 0);
        let at = (address - SEEN_AT) as usize;
        core::array::from_fn(|n| {
            u64::from_le_bytes(self.0[at + 8 * n..at + 8 * n + 8].try_into().unwrap())
        })
    }

    fn text(&self, address: u64) -> &str {
        let bytes = &self.0[(address - SEEN_AT) as usize..];
        let end = bytes.iter().position(|&byte| byte == 0).unwrap();
        std::str::from_utf8(&bytes[..end]).unwrap()
    }
}

fn all_requests() -> Requests {
    let all = FEATURES
        .iter()
        .flat_map(|(feature, _)| request(*feature, 0, &[0, 0]));
    kernel(&all.collect::<Vec<_>>()).requests()
}

#[test]
fn every_response_says_what_it_should() {
    let region = |start, end, kind| Region { start, end, kind };
    let regions = [
        region(0, 0x1000, MemoryKind::Reserved),
        region(0x1000, 0x8000, MemoryKind::Usable),
    ];
    let file = |path, string| File {
        start: 0x7000,
        size: 99,
        directory: "/",
        path,
        string,
    };
    let field = |position, size| Field { position, size };
    let mode = Mode {
        number: 0x118,
        width: 1024,
        height: 768,
        pitch: 4160,
        address: 0xFD00_1000,
        bits_per_pixel: 32,
        colors: [field(16, 8), field(9, 7), field(1, 6)],
    };
    let modes = [
        mode,
        Mode {
            width: 800,
            height: 600,
            pitch: 1600,
            bits_per_pixel: 16,
            ..mode
        },
    ];
    let modules = [
        file("one", Text::Bytes(b"words")),
        file("two", Text::At(77)),
    ];
    let facts = Facts {
        version: "1.2",
        revision: 0,
        command_line: 0x9999,
        paging_mode: 1,
        framebuffer: Some(Framebuffer {
            mode: modes[1],
            modes: &modes,
            edid: Some(&[0x77; 128]),
        }),
        processors: Some(Processors {
            x2apic: true,
            bootstrap: 5,
            infos: &[0x11, 0x22],
        }),
        regions: &regions,
        firmware: &FirmwarePages::default(),
        executable: Some(file("kernel", Text::At(0x9999))),
        executable_address: [0x10_0000, BASE],
        modules: &modules,
        optical: true,
        partition: 2,
        disk_signature: 0xABCD,
        rsdp: 0xF_0000,
        smbios: [0xF_1000, 0],
        date: Some(123),
        performance: Some(Performance { begin: 4, end: 6 }),
        tsc_frequency: Some(1_000_000),
        entropy: &[8, 9],
    };
    let requests = all_requests();
    let respond = |facts: &Facts<'_>| {
        let mut measure = Writer::default();
        limine::respond(&requests, facts, &mut measure);
        let mut room = vec![0xEE; measure.used];
        let mut writer = Writer::new(&mut room, SEEN_AT);
        let responses = limine::respond(&requests, facts, &mut writer);
        assert_eq!(writer.used, measure.used);
        (responses, room)
    };
    let (responses, room) = respond(&facts);
    let seen = Seen(&room);
    let at = |feature: Feature| responses[feature as usize];

    let [revision, name, version] = seen.words(at(Feature::BootloaderInfo));
    assert_eq!(
        (revision, seen.text(name), seen.text(version)),
        (0, "Bootpath", "1.2")
    );
    assert_eq!(seen.words(at(Feature::CommandLine)), [0, 0x9999]);
    assert_eq!(seen.words(at(Feature::FirmwareType)), [0, 0]);
    for feature in [Feature::StackSize, Feature::EntryPoint, Feature::KeepIommu] {
        assert_eq!(seen.words(at(feature)), [0]);
    }
    assert_eq!(seen.words(at(Feature::Hhdm)), [0, HHDM]);
    assert_eq!(seen.words(at(Feature::PagingMode)), [0, 1]);
    let [revision, flags, count, list] = seen.words(at(Feature::Processors));
    assert_eq!([revision, flags, count], [0, 5 << 32 | 1, 2]);
    assert_eq!(seen.words(list), [0x11, 0x22]);
    let [revision, count, list] = seen.words(at(Feature::MemoryMap));
    assert_eq!([revision, count], [0, 2]);
    let found = seen.words::<2>(list).map(|entry| seen.words::<3>(entry));
    assert_eq!(found, [[0, 0x1000, 1], [0x1000, 0x7000, 0]]);
    let file_words = |address| {
        let [revision, start, size, path, string, media, tftp, disk] = seen.words(address);
        assert_eq!(
            [revision, start, size, media, tftp],
            [0, HHDM + 0x7000, 99, 1, 0]
        );
        assert_eq!(disk, 0xABCD << 32 | 2);
        assert_eq!(seen.words(address + 64), [0; 6]);
        (seen.text(path).to_owned(), string)
    };
    let [_, file] = seen.words(at(Feature::ExecutableFile));
    assert_eq!(file_words(file), ("/kernel".to_owned(), 0x9999));
    let [revision, count, list] = seen.words(at(Feature::Modules));
    assert_eq!([revision, count], [1, 2]);
    let [one, two] = seen.words(list).map(file_words);
    assert_eq!((one.0.as_str(), seen.text(one.1)), ("/one", "words"));
    assert_eq!(two, ("/two".to_owned(), 77));
    assert_eq!(seen.words(at(Feature::Rsdp)), [0, HHDM + 0xF_0000]);
    assert_eq!(seen.words(at(Feature::Smbios)), [0, HHDM + 0xF_1000, 0]);
    assert_eq!(seen.words(at(Feature::Date)), [0, 123]);
    assert_eq!(
        seen.words(at(Feature::ExecutableAddress)),
        [0, 0x10_0000, BASE]
    );
    assert_eq!(seen.words(at(Feature::Performance)), [0, 0, 4, 6]);
    assert_eq!(seen.words(at(Feature::TscFrequency)), [0, 1_000_000]);
    let [revision, count, list] = seen.words(at(Feature::Entropy));
    assert_eq!([revision, count], [0, 2]);
    assert_eq!(seen.words(list), [8, 9]);
    let [revision, count, list] = seen.words(at(Feature::Framebuffer));
    assert_eq!([revision, count], [1, 1]);
    let [framebuffer] = seen.words(list);
    let [
        address,
        width,
        height,
        pitch,
        pixel,
        blue,
        edid_size,
        edid,
        count,
        list,
    ] = seen.words(framebuffer);
    assert_eq!(address, HHDM + 0xFD00_1000);
    assert_eq!([width, height, pitch], [800, 600, 1600]);
    assert_eq!(pixel.to_le_bytes(), [16, 0, 1, 8, 16, 7, 9, 6]);
    assert_eq!([blue, edid_size, count], [1, 128, 2]);
    assert_eq!(seen.words(edid), [0x7777_7777_7777_7777; 16]);
    for (mode, expected) in seen.words::<2>(list).into_iter().zip(&modes) {
        let [pitch, width, height, pixel, blue] = seen.words(mode);
        let size = [expected.pitch, expected.width, expected.height];
        assert_eq!([pitch, width, height], size.map(u64::from));
        assert_eq!(pixel.to_le_bytes()[..3], [expected.bits_per_pixel, 0, 1]);
        assert_eq!(blue, 1);
    }
    for feature in [
        Feature::HartId,
        Feature::EfiSystemTable,
        Feature::TpmEventLog,
        Feature::EfiMemoryMap,
        Feature::DeviceTree,
        Feature::Flanterm,
    ] {
        assert_eq!(at(feature), 0, "{feature:?}");
    }

    // Where the firmware's tables are said to be.
    for (revision, rsdp, smbios) in [
        (2, HHDM, HHDM),
        (3, 0, 0),
        (4, HHDM, 0),
        (5, HHDM, HHDM),
        (6, HHDM, HHDM),
    ] {
        let (responses, room) = respond(&Facts { revision, ..facts });
        let seen = Seen(&room);
        let at = |feature: Feature| responses[feature as usize];
        assert_eq!(seen.words(at(Feature::Rsdp)), [0, rsdp + 0xF_0000]);
        assert_eq!(seen.words(at(Feature::Smbios)), [0, smbios + 0xF_1000, 0]);
    }

    // What is not there gets no response.
    let (responses, _) = respond(&Facts {
        framebuffer: None,
        processors: None,
        executable: None,
        modules: &[],
        rsdp: 0,
        smbios: [0; 2],
        date: None,
        performance: None,
        tsc_frequency: None,
        ..facts
    });
    let answered = responses.iter().filter(|&&response| response != 0).count();
    assert_eq!(answered, 11);
}

fn kind() -> impl Strategy<Value = MemoryKind> {
    prop::sample::select(vec![
        MemoryKind::Usable,
        MemoryKind::Reclaimable,
        MemoryKind::Kernel,
        MemoryKind::Module,
        MemoryKind::AcpiReclaimable,
        MemoryKind::AcpiNvs,
        MemoryKind::Framebuffer,
        MemoryKind::Reserved,
        MemoryKind::Bad,
    ])
}

/// Regions of a few pages each, with holes, around 4 GiB.
fn memory() -> impl Strategy<Value = Vec<Region>> {
    let piece = (0..3_u64, 1..4_u64, kind());
    prop::collection::vec(piece, 0..12).prop_map(|pieces| {
        let mut position = GIB4 - 10 * PAGE;
        let region = |(hole, length, kind)| {
            let start = position + hole * PAGE;
            position = start + length * PAGE;
            Region {
                start,
                end: position,
                kind,
            }
        };
        pieces.into_iter().map(region).collect()
    })
}

fn firmware() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let place = (GIB4 - 12 * PAGE..GIB4 + 20 * PAGE, 0..3 * PAGE);
    prop::collection::vec(place, 0..5)
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn the_memory_map_and_the_direct_map_are_right(
        regions in memory(),
        places in firmware(),
        revision in 0..7_u64,
    ) {
        let mut firmware = FirmwarePages::default();
        for &(start, length) in &places {
            firmware.add(start, length);
        }
        let found: Vec<Entry> = entries(&regions, &firmware).collect();
        for pair in found.windows(2) {
            let end = pair[0].base + pair[0].length;
            prop_assert!(end < pair[1].base || end == pair[1].base && pair[0].kind != pair[1].kind);
        }
        let maps: Vec<_> = hhdm(&regions, &firmware, revision, HHDM).collect();
        for pair in maps.windows(2) {
            let end = pair[0].physical_start + pair[0].size;
            let touch = end == pair[1].physical_start;
            prop_assert!(end < pair[1].physical_start || touch && pair[0].write_combining != pair[1].write_combining);
        }
        let identity: Vec<_> = hhdm(&regions, &firmware, revision, 0).collect();

        // Page by page, another way.
        for page in (GIB4 - 14 * PAGE..GIB4 + 60 * PAGE).step_by(PAGE as usize) {
            let region = regions.iter().find(|r| r.start <= page && page < r.end);
            let table = places.iter().any(|&(start, length)| start < page + PAGE && start + length > page && length > 0);
            let expected = match region.map(|region| region.kind) {
                None | Some(MemoryKind::Reserved) if table => Some(8),
                None => None,
                Some(MemoryKind::Usable) => Some(0),
                Some(MemoryKind::Reserved) => Some(1),
                Some(MemoryKind::Framebuffer) => Some(7),
                Some(MemoryKind::AcpiReclaimable) => Some(2),
                Some(MemoryKind::AcpiNvs) => Some(3),
                Some(MemoryKind::Bad) => Some(4),
                Some(MemoryKind::Reclaimable) => Some(5),
                Some(MemoryKind::Kernel | MemoryKind::Module) => Some(6),
            };
            let entry = found.iter().find(|e| e.base <= page && page < e.base + e.length);
            prop_assert_eq!(entry.map(|entry| entry.kind), expected);
            let wanted = page < GIB4 && revision < 3 || match expected {
                Some(0 | 5 | 6 | 7) => true,
                Some(2 | 3) => revision != 3,
                Some(8) => revision == 0 || revision > 3,
                Some(1 | 4) => revision == 0,
                _ => false,
            };
            for (maps, base) in [(&maps, HHDM), (&identity, 0)] {
                let mapping = maps.iter().find(|m| m.physical_start <= page && page < m.physical_start + m.size);
                prop_assert_eq!(mapping.is_some(), wanted, "{:x}, revision {}", page, revision);
                if let Some(mapping) = mapping {
                    prop_assert!(mapping.writable && mapping.executable);
                    prop_assert_eq!(mapping.write_combining, expected == Some(7));
                    prop_assert_eq!(mapping.virtual_start, base + mapping.physical_start);
                }
            }
        }
        if revision < 3 {
            prop_assert_eq!((maps[0].physical_start, identity[0].physical_start), (0, PAGE));
        }
    }

    /// Any words, with many magic ones among them.
    #[test]
    fn any_words_are_scanned(data in prop::collection::vec(
        prop_oneof![
            Just(vec![0]), Just(START.to_vec()), Just(END.to_vec()), (0..9_u64).prop_map(tag),
            (0..COUNT, 0..3_u64, 0..4_usize).prop_map(|(feature, revision, length)|
                request(FEATURES[feature].0, revision, &[1, DATA, 2][..length.min(3)])),
            prop::sample::select(vec![COMMON[0], COMMON[1], TAG[0], START[0], END[0], END[1]])
                .prop_map(|word| vec![word]),
        ], 0..12,
    )) {
        let data = data.concat();
        let loaded = kernel(&data);
        let found = loaded.scan();
        if let Ok(Some(requests)) = found {
            let _ = requests.check(&loaded.image);
            let _ = requests.stack_size(&loaded.image, &loaded);
            let _ = requests.entry(&loaded.image, &loaded, 0);
            let _ = requests.paging_mode(&loaded.image, &loaded, true);
            let _ = requests.internal_modules(&loaded.image, &loaded, 0);
        }
        prop_assert_eq!(found != Ok(None), recognises(&words(data.iter().copied()), DATA));
    }

    #[test]
    fn any_bytes_are_no_acpi_tables(bytes in prop::collection::vec(any::<u8>(), 0..300), fix in any::<bool>()) {
        let mut bytes = bytes;
        if fix && bytes.len() > 60 {
            // An RSDP whose lists are right here.
            bytes[16..20].copy_from_slice(&40_u32.to_le_bytes());
            bytes[44..48].copy_from_slice(&(50_u32).to_le_bytes());
        }
        let memory = |start: u64, length: u64| {
            let start = usize::try_from(start).ok()?;
            bytes.get(start..start.checked_add(length.try_into().ok()?)?)
        };
        acpi::tables(0, &memory, &mut |_, _| {});
        let _ = acpi::madt(&bytes).count() + acpi::intel_iommus(&bytes).count() + acpi::amd_iommus(&bytes).count();
        let _ = acpi::smbios_table(&bytes);
    }

    #[test]
    fn time_goes_on(days in 0..60_000_u64, second in 0..86_400_u64) {
        // Another way: day by day.
        let (mut year, mut left) = (1970, days);
        let leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        while left >= 365 + u64::from(leap(year)) {
            left -= 365 + u64::from(leap(year));
            year += 1;
        }
        let mut month = 1;
        loop {
            let length = match month { 2 => 28 + u64::from(leap(year)), 4 | 6 | 9 | 11 => 30, _ => 31 };
            if left < length { break; }
            left -= length;
            month += 1;
        }
        let bcd = |number: u64| (number / 10 * 16 + number % 10) as u8;
        let date = [bcd(year / 100), bcd(year % 100), bcd(month), bcd(left + 1)];
        let time = [bcd(second / 3600), bcd(second / 60 % 60), bcd(second % 60)];
        prop_assert_eq!(unix_time(date, time), Some(days * 86_400 + second));
    }
}

#[test]
fn times_that_make_no_sense() {
    let good = ([0x20, 0x26, 0x11, 0x26], [0x06, 0x10, 0x05]);
    assert_eq!(unix_time(good.0, good.1), Some(1_795_673_405));
    for date in [
        [0x19, 0x69, 0x12, 0x31],
        [0x20, 0x26, 0x00, 0x01],
        [0x20, 0x26, 0x13, 0x01],
        [0x20, 0x26, 0x01, 0x00],
        [0x20, 0x26, 0x01, 0x32],
        [0x20, 0x2A, 0x01, 0x01],
        [0xFF; 4],
    ] {
        assert_eq!(unix_time(date, good.1), None, "{date:x?}");
    }
    for time in [[0x24, 0, 0], [0, 0x60, 0], [0, 0, 0x60], [0, 0, 0xA0]] {
        assert_eq!(unix_time(good.0, time), None, "{time:x?}");
    }
}

/// A table with its header.
fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.resize(36, 0);
    bytes.extend(body);
    bytes
}

#[test]
fn acpi_tables_are_found() {
    let mut memory = vec![0; 0x4000];
    let mut put = |at: usize, bytes: &[u8]| memory[at..at + bytes.len()].copy_from_slice(bytes);
    let mut rsdp = b"RSD PTR ".to_vec();
    rsdp.extend([0; 7]);
    rsdp.push(2);
    rsdp.extend(0x1000_u32.to_le_bytes());
    rsdp.extend(36_u32.to_le_bytes());
    rsdp.extend(0x1100_u64.to_le_bytes());
    rsdp.extend([0; 4]);
    put(0x20, &rsdp);
    put(
        0x1000,
        &table(
            b"RSDT",
            &[0x2000_u32, 0x2200, 0x9_0000]
                .map(u32::to_le_bytes)
                .concat(),
        ),
    );
    put(
        0x1100,
        &table(
            b"XSDT",
            &[0x2000_u64, 0x2400].map(u64::to_le_bytes).concat(),
        ),
    );
    let mut fadt = vec![0; 148 - 36];
    fadt[0..4].copy_from_slice(&0x3000_u32.to_le_bytes());
    fadt[4..8].copy_from_slice(&0x3100_u32.to_le_bytes());
    fadt[104..112].copy_from_slice(&0x3200_u64.to_le_bytes());
    put(0x2000, &table(b"FACP", &fadt));
    put(0x3000, &table(b"FACS", &[0; 28]));
    put(0x3100, &table(b"DSDT", &[1; 5]));
    put(0x3200, &table(b"DSDT", &[]));
    let madt = [
        &[0; 8][..],
        &[0, 8, 1, 4, 1, 0, 0, 0], // a processor
        &[0, 8, 2, 5, 0, 0, 0, 0], // one that is not there
        &[1, 12, 0, 0, 0, 0, 0xC0, 0xFE, 0, 0, 0, 0],
        &[4, 6, 0xFF, 5, 0, 1],
        &[9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0],
        &[10, 12, 0xD, 0, 7, 0, 0, 0, 1, 0, 0, 0],
        &[0, 8, 9, 9], // cut off
    ]
    .concat();
    put(0x2200, &table(b"APIC", &madt));
    put(
        0x2400,
        &table(
            b"DMAR",
            &[
                &[0; 12][..],
                &[1, 0, 16, 0, 0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0],
                &[0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0xD9, 0xFE, 0, 0, 0, 0],
            ]
            .concat(),
        ),
    );
    let read = |start: u64, length: u64| {
        let start = usize::try_from(start).ok()?;
        memory.get(start..start.checked_add(length.try_into().ok()?)?)
    };
    let mut seen = BTreeMap::new();
    acpi::tables(0x20, &read, &mut |address, bytes| {
        seen.insert(address, bytes.len());
    });
    let expected = [
        (0x20, 36),
        (0x1000, 48),
        (0x1100, 52),
        (0x2000, 148),
        (0x2200, 36 + madt.len()),
        (0x2400, 80),
        (0x3000, 64),
        (0x3100, 41),
        (0x3200, 36),
    ];
    assert_eq!(seen, BTreeMap::from(expected));

    let madt = acpi::find(0x20, &read, b"APIC").unwrap();
    let nmi = |uid, input, flags| MadtEntry::Nmi { uid, input, flags };
    let processor = |uid, apic_id| MadtEntry::Processor { uid, apic_id };
    let expected = [
        processor(1, 4),
        MadtEntry::IoApic(0xFEC0_0000),
        nmi(u32::MAX, 1, 5),
        processor(7, 0x100),
        nmi(7, 1, 0xD),
    ];
    assert_eq!(acpi::madt(madt).collect::<Vec<_>>(), expected);
    let dmar = acpi::find(0x20, &read, b"DMAR").unwrap();
    assert_eq!(acpi::intel_iommus(dmar).collect::<Vec<_>>(), [0xFED9_0000]);
    let ivrs = table(
        b"IVRS",
        &[
            &[0; 12][..],
            &[0x20, 0, 8, 0, 0, 0, 0, 0],
            &[
                0x11, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0xB8, 0xFE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ]
        .concat(),
    );
    assert_eq!(acpi::amd_iommus(&ivrs).collect::<Vec<_>>(), [0xFEB8_0000]);
    assert_eq!(acpi::find(0x20, &read, b"IVRS"), None);

    let mut entry = b"_SM_".to_vec();
    entry.resize(31, 0);
    entry[22..24].copy_from_slice(&300_u16.to_le_bytes());
    entry[24..28].copy_from_slice(&0xF_2000_u32.to_le_bytes());
    assert_eq!(acpi::smbios_table(&entry), Some((0xF_2000, 300)));
    let mut entry = b"_SM3_".to_vec();
    entry.resize(24, 0);
    entry[12..16].copy_from_slice(&4000_u32.to_le_bytes());
    entry[16..24].copy_from_slice(&0x7_0000_0000_u64.to_le_bytes());
    assert_eq!(acpi::smbios_table(&entry), Some((0x7_0000_0000, 4000)));
}

type Shared = Rc<RefCell<BTreeMap<u64, [u64; 512]>>>;
struct Tables(Shared);

impl TablePages for Tables {
    fn clear(&mut self, table: u64) {
        assert!(self.0.borrow_mut().insert(table, [0; 512]).is_none());
    }
    fn read(&self, table: u64, index: usize) -> u64 {
        self.0.borrow()[&table][index]
    }
    fn write(&mut self, table: u64, index: usize, value: u64) {
        self.0.borrow_mut().get_mut(&table).unwrap()[index] = value;
    }
}

fn machine() -> MemoryMap {
    let mut memory = MemoryMap::new();
    let mut add = |start, end, kind| memory.add(Region { start, end, kind });
    add(0, 0x9_F000, MemoryKind::Usable);
    add(0x10_0000, 64 << 20, MemoryKind::Usable);
    add(0xFFFC_0000, GIB4, MemoryKind::Reserved);
    add(GIB4, 5 << 30, MemoryKind::Usable);
    memory.finish(0x9_F000);
    memory
}

/// Segments that lie far from each other, and RELRO.
fn far_apart() -> Elf {
    elf(&tag(3))
        .with(ProgramHeader::load(
            R | W,
            BASE + 0x80_0000,
            vec![1; 0x2000],
            0x3000,
        ))
        .with(ProgramHeader::within_load(
            PT_GNU_RELRO,
            BASE + 0x80_0000,
            0x2000,
        ))
}

#[test]
fn the_kernel_becomes_one_piece() {
    let mut memory = machine();
    let image = Loaded::new(&far_apart()).image;
    let mut kernel = Kernel::place(image, Wishes::default(), &mut memory).unwrap();
    let old: Vec<_> = kernel.segments().map(|(_, address)| address).collect();
    assert_ne!(old[2] - old[0], 0x80_0000, "they are apart");
    let (mut zeroed, mut copied) = (Vec::new(), Vec::new());
    kernel
        .unite(
            &mut memory,
            |start, end| zeroed.push((start, end)),
            |from, to, size| copied.push((from, to, size)),
        )
        .unwrap();
    let new: Vec<_> = kernel.segments().map(|(_, address)| address).collect();
    assert_eq!([new[1] - new[0], new[2] - new[0]], [0x1000, 0x80_0000]);
    assert_eq!(zeroed, [(new[0], new[0] + 0x80_3000)]);
    assert_eq!(copied, [(old[0], new[0], 0x2000), (old[2], new[2], 0x3000)]);
    let kind = |address| {
        memory
            .regions()
            .iter()
            .find(|r| r.start <= address && address < r.end)
            .unwrap()
            .kind
    };
    assert_eq!([kind(old[0]), kind(old[2])], [MemoryKind::Usable; 2]);
    assert_eq!(
        [kind(new[0]), kind(new[0] + 0x80_2FFF)],
        [MemoryKind::Kernel; 2]
    );

    // One piece stays where it is.
    let image = Loaded::new(&elf(&[])).image;
    let mut kernel = Kernel::place(image, Wishes::default(), &mut memory).unwrap();
    let old = kernel.physical_start();
    kernel
        .unite(&mut memory, |_, _| unreachable!(), |_, _, _| unreachable!())
        .unwrap();
    assert_eq!(kernel.physical_start(), old);
}

#[test]
fn the_page_tables_are_right() {
    for (revision, five_levels) in [(0, false), (0, true), (1, false), (3, false), (6, true)] {
        let mut memory = machine();
        // Three MiB and a page.
        let framebuffer = 0xFD00_0000..0xFD30_1000;
        memory.mark(framebuffer.start, framebuffer.end, MemoryKind::Framebuffer);
        let mut image = Loaded::new(&far_apart()).image;
        image.forget_relro();
        let mut kernel = Kernel::place(image, Wishes::default(), &mut memory).unwrap();
        kernel.unite(&mut memory, |_, _| (), |_, _, _| ()).unwrap();
        let cpu = Capabilities {
            nx: true,
            gib_pages: true,
        };
        let tables = Shared::default();
        let root = build_limine(
            &kernel,
            &mut memory,
            Tables(tables.clone()),
            cpu,
            &FirmwarePages::default(),
            revision,
            five_levels,
        );
        let mut root = root.unwrap();
        let tables = tables.borrow();
        if five_levels {
            // The same table at both ends, and at the lower one only with an identity map.
            let top = &tables[&root];
            let used: Vec<_> = (0..512).filter(|&index| top[index] != 0).collect();
            assert_eq!(
                used,
                if revision == 0 {
                    vec![0, 511]
                } else {
                    vec![511]
                }
            );
            assert!(
                used.iter()
                    .all(|&index| top[index] == top[511] && top[index] & 0xFFF == 3)
            );
            root = top[511] & !0xFFF;
        }
        let pages = mmu::all_pages(&|table| tables[&table].to_vec(), root, cpu);
        let find = |address: u64| {
            let page = pages
                .iter()
                .find(|p| p.virtual_start <= address && address - p.virtual_start < p.size)?;
            Some((
                page.physical_start + (address - page.virtual_start),
                page.writable,
                page.executable,
            ))
        };
        let start = kernel.physical_start();
        assert_eq!(find(CODE), Some((start, false, true)));
        assert_eq!(find(DATA), Some((start + 0x1000, true, false)));
        // PF_W alone says whether it may be written to.
        assert_eq!(
            find(BASE + 0x80_0000),
            Some((start + 0x80_0000, true, false))
        );
        assert_eq!(find(BASE + 0x2000), None);
        for address in [
            0_u64,
            0x1000,
            0x9_F000,
            0x10_0000,
            64 << 20,
            GIB4 - 1,
            GIB4,
            (5 << 30) - 1,
            5 << 30,
        ] {
            let wanted = match revision {
                0..3 => address < 5 << 30,
                _ => matches!(address, 0x1000 | 0x10_0000 | GIB4 | 0x1_3FFF_FFFF),
            };
            assert_eq!(
                find(HHDM + address),
                wanted.then_some((address, true, true)),
                "{address:x}"
            );
            let identity = revision == 0 && wanted && address > 0;
            assert_eq!(
                find(address),
                identity.then_some((address, true, true)),
                "{address:x}"
            );
        }
        for base in [HHDM, 0] {
            let (start, end) = (base + framebuffer.start, base + framebuffer.end);
            let combined = pages
                .iter()
                .filter(|page| page.write_combining && page.virtual_start >> 63 == base >> 63);
            let (mut size, mut largest) = (0, 0);
            for page in combined {
                assert_eq!(page.physical_start, page.virtual_start - base);
                assert!(start <= page.virtual_start && page.virtual_start + page.size <= end);
                size += page.size;
                largest = largest.max(page.size);
            }
            let wanted = if base == 0 && revision > 0 {
                (0, 0)
            } else {
                (end - start, 2 << 20)
            };
            assert_eq!((size, largest), wanted, "revision {revision}");
        }
        let gib = pages.iter().any(|page| page.size == 1 << 30);
        assert_eq!(gib, revision > 2);
        assert!(pages.iter().all(|page| !page.global));
    }
}
