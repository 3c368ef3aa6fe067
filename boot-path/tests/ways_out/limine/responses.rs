//! What the responses say.

use boot_path::bios::int1a::unix_time;
use boot_path::bios::vbe::{Field, Mode};
use boot_path::memory::address::{PhysAddr, VirtAddr};
use boot_path::memory::map::{MemoryKind, Region};
use boot_path::ways_out::limine::{
    self as limine, COUNT, FEATURES, Facts, Feature, File, FirmwarePages, Framebuffer, LastFacts,
    Performance, Processors, Requests, Text, Writer,
};
use proptest::prelude::*;

use super::{BASE, DATA, HHDM, config, kernel, request, tag};

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

/// 1024 by 768 with colours of other sizes, and 800 by 600 with 16 bits.
fn modes() -> [Mode; 2] {
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
    [
        mode,
        Mode {
            width: 800,
            height: 600,
            pitch: 1600,
            bits_per_pixel: 16,
            ..mode
        },
    ]
}

/// All that a kernel can be told.
fn with_facts(check: impl FnOnce(&Facts<'_>, &LastFacts<'_>)) {
    let region = |start, end, kind| Region {
        start: PhysAddr::new(start),
        end: PhysAddr::new(end),
        kind,
    };
    let regions = [
        region(0, 0x1000, MemoryKind::Reserved),
        region(0x1000, 0x8000, MemoryKind::Usable),
    ];
    let file = |path, string| File {
        start: PhysAddr::new(0x7000),
        size: 99,
        path,
        string,
    };
    let modes = modes();
    let modules = [
        file("one", Text::Bytes(b"words")),
        file("two", Text::At(VirtAddr::new(77))),
    ];
    let facts = Facts {
        version: "1.2",
        revision: 0,
        command_line: VirtAddr::new(0x9999),
        paging_mode: 1,
        processors: Some(Processors {
            x2apic: true,
            bootstrap: 5,
            infos: &[0x11, 0x22],
        }),
        firmware: &FirmwarePages::default(),
        executable: Some(file("kernel", Text::At(VirtAddr::new(0x9999)))),
        executable_address: (PhysAddr::new(0x10_0000), VirtAddr::new(BASE)),
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
    let last = LastFacts {
        framebuffer: Some(Framebuffer {
            mode: modes[1],
            modes: &modes,
            edid: Some(&[0x77; 128]),
        }),
        regions: &regions,
    };
    check(&facts, &last);
}

/// The responses to all requests: the address of each, 0 for none, and the memory that holds them.
fn respond(facts: &Facts<'_>, last: &LastFacts<'_>) -> ([u64; COUNT], Vec<u8>) {
    let requests = all_requests();
    let mut measure = Writer::default();
    limine::respond(&requests, facts, last, &mut measure);
    let mut room = vec![0xEE; measure.used];
    let mut writer = Writer::new(&mut room, VirtAddr::new(SEEN_AT));
    let responses = limine::respond(&requests, facts, last, &mut writer);
    assert_eq!(writer.used, measure.used);
    (responses, room)
}

/// What a kernel that was told everything reads.
fn with_responses(check: impl FnOnce(&Seen<'_>, &dyn Fn(Feature) -> u64)) {
    with_facts(|facts, last| {
        let (responses, room) = respond(facts, last);
        check(&Seen(&room), &|feature| responses[feature as usize]);
    });
}

#[test]
fn what_the_loader_is_and_was_asked() {
    with_responses(|seen, at| {
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
    });
}

#[test]
fn processors_and_memory() {
    with_responses(|seen, at| {
        let [revision, flags, count, list] = seen.words(at(Feature::Processors));
        assert_eq!([revision, flags, count], [0, 5 << 32 | 1, 2]);
        assert_eq!(seen.words(list), [0x11, 0x22]);
        let [revision, count, list] = seen.words(at(Feature::MemoryMap));
        assert_eq!([revision, count], [0, 2]);
        let found = seen.words::<2>(list).map(|entry| seen.words::<3>(entry));
        assert_eq!(found, [[0, 0x1000, 1], [0x1000, 0x7000, 0]]);
    });
}

#[test]
fn files_of_the_kernel_and_its_modules() {
    with_responses(|seen, at| {
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
        assert_eq!([revision, count], [2, 2]);
        let [one, two] = seen.words(list).map(file_words);
        assert_eq!((one.0.as_str(), seen.text(one.1)), ("/one", "words"));
        assert_eq!(two, ("/two".to_owned(), 77));
    });
}

#[test]
fn tables_of_the_firmware_and_times() {
    with_responses(|seen, at| {
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
    });
}

#[test]
fn the_framebuffer_and_its_modes() {
    with_responses(|seen, at| {
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
        for (mode, expected) in seen.words::<2>(list).into_iter().zip(&modes()) {
            let [pitch, width, height, pixel, blue] = seen.words(mode);
            let size = [expected.pitch, expected.width, expected.height];
            assert_eq!([pitch, width, height], size.map(u64::from));
            assert_eq!(pixel.to_le_bytes()[..3], [expected.bits_per_pixel, 0, 1]);
            assert_eq!(blue, 1);
        }
    });
}

#[test]
fn what_a_pc_with_a_bios_does_not_have() {
    with_responses(|_, at| {
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
    });
}

/// The base revision decides where the firmware's tables are said to be.
#[test]
fn addresses_of_tables() {
    with_facts(|facts, last| {
        for (revision, rsdp, smbios) in [
            (2, HHDM, HHDM),
            (3, 0, 0),
            (4, HHDM, 0),
            (5, HHDM, HHDM),
            (6, HHDM, HHDM),
        ] {
            let (responses, room) = respond(&Facts { revision, ..*facts }, last);
            let seen = Seen(&room);
            let at = |feature: Feature| responses[feature as usize];
            assert_eq!(seen.words(at(Feature::Rsdp)), [0, rsdp + 0xF_0000]);
            assert_eq!(seen.words(at(Feature::Smbios)), [0, smbios + 0xF_1000, 0]);
        }
    });
}

#[test]
fn what_is_not_there_gets_no_response() {
    with_facts(|facts, last| {
        let facts = Facts {
            processors: None,
            executable: None,
            modules: &[],
            rsdp: 0,
            smbios: [0; 2],
            date: None,
            performance: None,
            tsc_frequency: None,
            ..*facts
        };
        let last = LastFacts {
            framebuffer: None,
            ..*last
        };
        let (responses, _) = respond(&facts, &last);
        let answered = responses.iter().filter(|&&response| response != 0).count();
        assert_eq!(answered, 11);
    });
}

proptest! {
    #![proptest_config(config(512))]

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
