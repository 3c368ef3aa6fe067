//! Kernels good and bad: the good ones get the plan they should, the bad ones their error.

#[path = "../../tests/src/elf_fixture.rs"]
#[allow(dead_code, reason = "only a part of it is needed")]
mod elf_fixture;

use boot_path::errors::catalogue::Named;
use boot_path::kernel::image::{
    Group, KernelError, KernelImage, MAX_NOTE_BYTES, MAX_PROGRAM_HEADERS, MAX_SEGMENTS,
    PREFERRED_BASE, PageRange, Segment, Table, Wishes, check_file,
};
use elf_fixture::{
    ET_DYN, ET_EXEC, Elf, PT_DYNAMIC, PT_GNU_RELRO, PT_INTERP, PT_LOAD, PT_TLS, ProgramHeader, R,
    W, X, note, rela, words,
};
use proptest::prelude::*;

const HIGH: u64 = 0xFFFF_FFFF_8000_0000;
const MIB: u64 = 1 << 20;

/// Code, constants and data, with a bss, from `base`.
fn kernel(kind: u16, base: u64) -> Elf {
    Elf::new(kind, base + 0x10)
        .with(ProgramHeader::load(R | X, base, vec![0xF4; 0x1800], 0x1800))
        .with(ProgramHeader::load(R, base + 0x2000, vec![1; 0x234], 0x234))
        .with(ProgramHeader::load(
            R | W,
            base + 0x3000,
            vec![2; 0x100],
            0x2800,
        ))
}

fn executable() -> Elf {
    kernel(ET_EXEC, HIGH)
}

fn with_at(mut elf: Elf, distance: u64) -> Elf {
    for header in &mut elf.program_headers {
        header.physical_address = header.virtual_address.wrapping_sub(distance);
    }
    elf
}

fn accept(elf: &Elf) -> (KernelImage, Wishes) {
    check_file(&elf.build()).unwrap()
}

fn groups(elf: &Elf) -> Vec<Group> {
    accept(elf).0.groups().collect()
}

/// Start, size and permissions.
fn pages(image: &KernelImage, slide: u64) -> Vec<(u64, u64, &'static str)> {
    let text = |r: PageRange| match (r.writable, r.executable) {
        (false, false) => "r--",
        (false, true) => "r-x",
        (true, false) => "rw-",
        (true, true) => "rwx",
    };
    image
        .page_ranges(slide)
        .map(|r| (r.virtual_start, r.size, text(r)))
        .collect()
}

#[track_caller]
fn refuse(elf: &Elf, code: &str, error: KernelError) {
    refuse_bytes(&elf.build(), code, error);
}

#[track_caller]
fn refuse_bytes(bytes: &[u8], code: &str, error: KernelError) {
    let found = check_file(bytes).expect_err("the kernel is accepted");
    assert_eq!(found, error);
    assert_eq!(found.entry().code, code);
}

#[test]
fn higher_half_without_load_addresses() {
    for base in [
        HIGH,
        HIGH + MIB,
        0xFFFF_FFF8_0000_0000,
        0xFFFF_9000_0000_0000,
    ] {
        let elf = kernel(ET_EXEC, base);
        let (image, wishes) = accept(&elf);
        assert_eq!(wishes, Wishes::default());
        assert!(!image.position_independent());
        assert_eq!(image.entry(), base + 0x10);
        assert_eq!(image.choose_slide(), 0);
        assert_eq!(
            (image.virtual_start(), image.virtual_end()),
            (base, base + 0x5800)
        );
        let expected = [
            (0, 0x2000, "r-x"),
            (0x2000, 0x1000, "r--"),
            (0x3000, 0x3000, "rw-"),
        ];
        assert_eq!(
            pages(&image, 0),
            expected.map(|(at, size, p)| (base + at, size, p))
        );
        let expected = Group {
            first: 0,
            end: 3,
            virtual_start: base,
            size: 0x6000,
            alignment: 4096,
            offset: 0,
            preferred_physical: None,
        };
        assert_eq!(groups(&elf), [expected]);
    }
}

#[test]
fn higher_half_with_load_addresses() {
    for base in [HIGH, 0xFFFF_FFF8_0000_0000] {
        let elf = with_at(kernel(ET_EXEC, base + MIB), base);
        assert_eq!(groups(&elf)[0].preferred_physical, Some(MIB));
        let image = accept(&elf).0;
        assert_eq!(image.segments()[1].load_address, MIB + 0x2000);
    }
}

#[test]
fn load_addresses_that_cannot_be_kept() {
    // Below 1 MiB.
    assert_eq!(
        groups(&with_at(executable(), HIGH))[0].preferred_physical,
        None
    );
    // Not the same distance for all segments.
    let mut elf = with_at(kernel(ET_EXEC, HIGH + MIB), HIGH);
    elf.program_headers[1].physical_address += 0x1000;
    assert_eq!(groups(&elf)[0].preferred_physical, None);
    // Another offset within the page.
    let elf = with_at(kernel(ET_EXEC, HIGH + MIB), HIGH - 8);
    assert_eq!(groups(&elf)[0].preferred_physical, None);
    // More than 52 bits.
    let elf = with_at(kernel(ET_EXEC, HIGH), HIGH - (1 << 52) + 0x3000);
    assert_eq!(groups(&elf)[0].preferred_physical, None);
}

#[test]
fn lower_half() {
    let elf = kernel(ET_EXEC, 2 * MIB);
    assert_eq!(groups(&elf)[0].preferred_physical, Some(2 * MIB));
    let elf = kernel(ET_EXEC, 0x1000);
    assert_eq!(groups(&elf)[0].preferred_physical, None);
    accept(&kernel(ET_EXEC, (1 << 47) - 0x6000));
}

#[test]
fn low_and_high_groups() {
    let elf = Elf::new(ET_EXEC, MIB)
        .with(ProgramHeader::load(R | W, HIGH + 6 * MIB, vec![3; 16], 3 * MIB).at(7 * MIB))
        .with(ProgramHeader::load(R | X, MIB, vec![0xF4; 16], 16))
        .with(ProgramHeader::load(R | X, HIGH + MIB, vec![0xF4; 16], 16).at(2 * MIB))
        .with(ProgramHeader::load(R | W, HIGH + 3 * MIB, vec![0xF4; 16], 16).at(4 * MIB));
    let summary: Vec<_> = groups(&elf)
        .iter()
        .map(|g| {
            (
                g.first,
                g.end,
                g.virtual_start,
                g.size,
                g.alignment,
                g.offset,
                g.preferred_physical,
            )
        })
        .collect();
    // From HIGH + 1 MiB + 4 KiB to HIGH + 3 MiB there is a page less than a large page, from
    // HIGH + 3 MiB + 4 KiB to HIGH + 6 MiB more.
    let expected = [
        (0, 1, MIB, 0x1000, 4096, 0, Some(MIB)),
        (
            1,
            3,
            HIGH + MIB,
            2 * MIB + 0x1000,
            2 * MIB,
            MIB,
            Some(2 * MIB),
        ),
        (3, 4, HIGH + 6 * MIB, 3 * MIB, 2 * MIB, 0, Some(7 * MIB)),
    ];
    assert_eq!(summary, expected);
    let image = accept(&elf).0;
    let numbers: Vec<_> = image.segments().iter().map(|s| s.number).collect();
    assert_eq!(numbers, [1, 2, 3, 0]);
}

#[test]
fn alignments() {
    let mut elf = kernel(ET_EXEC, HIGH + 0x5000);
    elf.program_headers[1].alignment = 0x8000;
    let group = groups(&elf)[0];
    assert_eq!((group.alignment, group.offset), (0x8000, 0x5000));
    elf.program_headers[1].alignment = 2 * MIB;
    let group = groups(&elf)[0];
    assert_eq!((group.alignment, group.offset), (2 * MIB, 0x5000));
    for none in [0, 1] {
        elf.program_headers[1].alignment = none;
        accept(&elf);
    }
}

#[test]
fn static_pie() {
    for (base, start) in [
        (0, 0),
        (0x1000, 0),
        (0x40_0000, 0),
        (HIGH, 0),
        (HIGH + 0x3000, 0),
    ] {
        let elf = kernel(ET_DYN, base);
        let image = accept(&elf).0;
        assert!(image.position_independent());
        let slide = image.choose_slide();
        assert_eq!(base.wrapping_add(slide), PREFERRED_BASE + start);
        assert_eq!(
            pages(&image, slide)[2],
            (PREFERRED_BASE + start + 0x3000, 0x3000, "rw-")
        );
        assert_eq!(groups(&elf)[0].preferred_physical, None);
    }
    // What is aligned stays so.
    let mut elf = kernel(ET_DYN, 0x21_3000);
    elf.program_headers[0].alignment = 2 * MIB;
    let image = accept(&elf).0;
    assert_eq!(image.choose_slide(), PREFERRED_BASE - 0x20_0000);
    // Larger than a large page.
    let mut elf = kernel(ET_DYN, 0x3000);
    elf.program_headers[2].memory_size = 5 * MIB;
    assert_eq!(accept(&elf).0.choose_slide(), PREFERRED_BASE);
    // As large as the last 2 GiB, but for the last page.
    let mut elf = kernel(ET_DYN, 0);
    elf.program_headers[2].memory_size = (1 << 31) - 0x4000;
    accept(&elf);
    elf.program_headers[2].memory_size += 1;
    let (address, size) = (0x3000, (1 << 31) - 0x4000 + 1);
    refuse(
        &elf,
        "10I",
        KernelError::Wraps {
            segment: 2,
            address,
            size,
        },
    );
}

#[test]
fn empty_segments_are_skipped() {
    let elf = executable().with(ProgramHeader::load(R | W | X, 0, vec![], 0));
    assert_eq!(accept(&elf).0.segments().len(), 3);
}

#[test]
fn shared_pages_get_all_permissions() {
    let elf = Elf::new(ET_EXEC, HIGH)
        .with(ProgramHeader::load(R | X, HIGH, vec![0xF4; 0x1100], 0x1100))
        .with(ProgramHeader::load(R, HIGH + 0x1100, vec![1; 0x800], 0x800))
        .with(ProgramHeader::load(
            R,
            HIGH + 0x1900,
            vec![1; 0x1000],
            0x1000,
        ))
        .with(ProgramHeader::load(
            R | W,
            HIGH + 0x2900,
            vec![1; 0x10],
            0x1000,
        ));
    let expected = [(HIGH, 0x2000, "r-x"), (HIGH + 0x2000, 0x2000, "rw-")];
    assert_eq!(pages(&accept(&elf).0, 0), expected);
}

#[test]
fn relro_is_read_only() {
    let relro = |start, size| {
        let elf = executable().with(ProgramHeader::within_load(PT_GNU_RELRO, HIGH + start, size));
        pages(&accept(&elf).0, 0)[1..].to_vec()
    };
    // Constants and read-only data become one piece.
    let expected = [
        (HIGH + 0x2000, 0x2000, "r--"),
        (HIGH + 0x4000, 0x2000, "rw-"),
    ];
    assert_eq!(relro(0x3000, 0x1000), expected);
    assert_eq!(relro(0x3010, 0x1800), expected);
    let expected = [
        (HIGH + 0x2000, 0x1000, "r--"),
        (HIGH + 0x3000, 0x3000, "rw-"),
    ];
    assert_eq!(relro(0x3010, 0xF00), expected);
    assert_eq!(relro(0x10_0000, 0x1000), expected);
}

#[test]
fn tls() {
    let elf = executable().with(ProgramHeader {
        memory_size: 0x40,
        alignment: 32,
        ..ProgramHeader::within_load(PT_TLS, HIGH + 0x3020, 0x18)
    });
    let tls = accept(&elf).0.tls().unwrap();
    assert_eq!(tls.virtual_start, HIGH + 0x3020);
    assert_eq!(
        (tls.file_size, tls.memory_size, tls.alignment),
        (0x18, 0x40, 32)
    );
    assert_eq!(accept(&executable()).0.tls(), None);

    let mut bad = elf.clone();
    bad.program_headers[3].virtual_address = HIGH + 0x57F0;
    let error = KernelError::NotLoaded {
        kind: Table::Tls,
        address: HIGH + 0x57F0,
        size: 0x18,
    };
    refuse(&bad, "10F", error);
    let mut bad = elf.clone();
    bad.program_headers[3].memory_size = 0x17;
    refuse(
        &bad,
        "10F",
        KernelError::Sizes {
            segment: 3,
            file_size: 0x18,
            memory_size: 0x17,
        },
    );
    let bad = elf
        .clone()
        .with(ProgramHeader::within_load(PT_TLS, HIGH + 0x3020, 0x18));
    refuse(
        &bad,
        "10F",
        KernelError::Duplicate {
            segment: 4,
            kind: PT_TLS,
        },
    );
    let mut bad = elf;
    bad.program_headers[3].alignment = 24;
    let (virtual_address, offset) = (HIGH + 0x3020, 0x4020);
    let error = KernelError::Alignment {
        segment: 3,
        alignment: 24,
        virtual_address,
        offset,
    };
    refuse(&bad, "10P", error);
}

fn wish(kind: u32, value: u64) -> ProgramHeader {
    ProgramHeader::note(note("Bootpath", kind, &value.to_le_bytes(), 4))
}

#[test]
fn wishes() {
    let mut all = note("GNU", 3, &[7; 20], 4);
    for (kind, value) in [(1, 0x1_2345), (3, 1), (2, 0xFFFF_C000_0000_0000), (99, 5)] {
        all.extend(note("Bootpath", kind, &u64::to_le_bytes(value), 4));
    }
    let expected = Wishes {
        stack_size: 0x1_3000,
        physical_map_base: 0xFFFF_C000_0000_0000,
        flags: 1,
        own: true,
    };
    assert_eq!(
        accept(&executable().with(ProgramHeader::note(all))).1,
        expected
    );

    // In several segments, padded to 8 bytes, and both paddings in one segment.
    let elf = executable().with(wish(1, 0x2000)).with(ProgramHeader::note(
        [
            note("GNU", 5, &[9; 13], 8),
            note("Bootpath", 2, &words([1 << 46]), 8),
        ]
        .concat(),
    ));
    assert_eq!(
        accept(&elf).1,
        Wishes {
            stack_size: 0x2000,
            physical_map_base: 1 << 46,
            flags: 0,
            own: true,
        }
    );
    let mixed = [
        note("GNU", 3, &[7; 20], 4),
        note("Bootpath", 1, &words([0x4000]), 8),
    ]
    .concat();
    let mixed = ProgramHeader {
        alignment: 8,
        ..ProgramHeader::note(mixed)
    };
    assert_eq!(accept(&executable().with(mixed)).1.stack_size, 0x4000);

    // Somebody else's, one without the zero byte at its end.
    let mut open = note("Bootpath", 1, &words([1]), 4);
    open[20] = b's';
    let others = ["Bootpatj", "Bootpat", "Bootpaths"].map(|name| note(name, 1, &words([1]), 4));
    for other in others.into_iter().chain([open]) {
        let elf = executable().with(ProgramHeader::note(other));
        assert_eq!(accept(&elf).1, Wishes::default());
    }
}

#[test]
fn flags_add_up() {
    let mut notes = note("Bootpath", handoff::NOTE_FLAGS, &1_u64.to_le_bytes(), 4);
    notes.extend(note(
        "Bootpath",
        handoff::NOTE_FLAGS,
        &2_u64.to_le_bytes(),
        4,
    ));
    let mut wishes = Wishes::default();
    assert!(wishes.fault_reports() && !wishes.allow_writable_code());
    wishes.parse_note(&notes).unwrap();
    assert!(!wishes.fault_reports() && wishes.allow_writable_code());
}

#[test]
fn impossible_wishes() {
    for (kind, value) in [
        (1, 0),
        (1, 0xFFF),
        (1, (16 << 20) + 1),
        (1, u64::MAX),
        (2, 0),
        (2, 0xFFFF_8000_0000_1000),
        (2, 0x0000_8000_0000_0000),
        (2, 0xFFFF_7FFF_C000_0000),
        (3, 4),
        (3, u64::MAX),
    ] {
        let elf = executable().with(wish(kind, value));
        refuse(&elf, "10N", KernelError::NoteValue { kind, value });
    }
    for (kind, value) in [
        (1, 0x1000),
        (1, 16 << 20),
        (2, 1 << 30),
        (2, !0 << 30),
        (2, !0 << 47),
        (3, 2),
        (3, 3),
    ] {
        accept(&executable().with(wish(kind, value)));
    }
    for length in [4, 12] {
        let mut wrong = note("Bootpath", 1, &vec![0x10; length], 4);
        wrong.extend(note("GNU", 3, &[7; 20], 4));
        let elf = executable().with(ProgramHeader::note(wrong));
        let length = length as u32;
        refuse(&elf, "10N", KernelError::NoteLength { kind: 1, length });
    }
    let mut cut = note("Bootpath", 1, &words([0x1000]), 4);
    cut.truncate(28);
    let cut = executable().with(ProgramHeader::note(cut));
    refuse(&cut, "10N", KernelError::NoteLength { kind: 1, length: 8 });

    let large = |size| executable().with(ProgramHeader::note(vec![0; size]));
    accept(&large(MAX_NOTE_BYTES));
    let size = MAX_NOTE_BYTES as u64 + 1;
    refuse(
        &large(MAX_NOTE_BYTES + 1),
        "10N",
        KernelError::NoteSize { segment: 3, size },
    );
    let many = (0..9).fold(executable(), |elf, _| elf.with(wish(1, 0x1000)));
    refuse(&many, "10F", KernelError::TooManyNotes { segment: 11 });
}

#[test]
fn not_an_elf() {
    for bytes in [&b""[..], b"\x7FEL", b"MZ", &[0; 4096]] {
        refuse_bytes(bytes, "10A", KernelError::NotElf);
    }
}

#[test]
fn file_header() {
    let change = |change: fn(&mut Elf)| {
        let mut elf = executable();
        change(&mut elf);
        elf
    };
    let elf = change(|elf| elf.class = 1);
    refuse(
        &elf,
        "10B",
        KernelError::Class {
            class: 1,
            encoding: 1,
        },
    );
    let elf = change(|elf| elf.encoding = 2);
    refuse(
        &elf,
        "10B",
        KernelError::Class {
            class: 2,
            encoding: 2,
        },
    );
    let elf = change(|elf| elf.machine = 183);
    refuse(&elf, "10C", KernelError::Machine { machine: 183 });
    for kind in [0, 1, 4] {
        refuse(
            &Elf {
                kind,
                ..executable()
            },
            "10D",
            KernelError::Type { kind },
        );
    }
    let elf = change(|elf| elf.version = 2);
    refuse(&elf, "10F", KernelError::Version { version: 2 });
    for size in [0, 32, 55, 57, 64] {
        let elf = Elf {
            program_header_size: size,
            ..executable()
        };
        refuse(&elf, "10F", KernelError::HeaderSize { size });
    }
    for count in [MAX_PROGRAM_HEADERS as u16 + 1, u16::MAX] {
        let elf = Elf {
            program_header_count: Some(count),
            ..executable()
        };
        refuse(&elf, "10F", KernelError::TooManyHeaders { count });
    }
    let elf = change(|elf| elf.program_header_count = Some(0));
    refuse(&elf, "10G", KernelError::NoLoad);
}

#[test]
fn truncated() {
    let file = executable().build();
    // The last segment's bytes, the table, the file header.
    for length in [file.len() - 1, 231, 64, 63, 4] {
        let needed = match length {
            0..64 => 64,
            64..232 => 232,
            _ => file.len() as u64,
        };
        let error = KernelError::Truncated {
            needed,
            present: length as u64,
        };
        refuse_bytes(&file[..length], "10E", error);
    }
    let present = file.len() as u64;
    let mut elf = executable();
    elf.program_headers[0].offset = Some(!0xFFF);
    refuse(
        &elf,
        "10E",
        KernelError::Truncated {
            needed: u64::MAX,
            present,
        },
    );
    // Without bytes in the file, the offset says nothing.
    elf.program_headers[1].offset = Some(!0xFFF);
    elf.program_headers[1].file_size = Some(0);
    elf.program_headers[0].offset = None;
    accept(&elf);
    let mut elf = executable().with(ProgramHeader::note(vec![1; 8]));
    let present = elf.build().len() as u64;
    elf.program_headers[3].offset = Some(present - 7);
    refuse(
        &elf,
        "10E",
        KernelError::Truncated {
            needed: present + 1,
            present,
        },
    );
}

#[test]
fn segments() {
    refuse(&Elf::new(ET_EXEC, HIGH), "10G", KernelError::NoLoad);
    let empty = Elf::new(ET_EXEC, HIGH).with(ProgramHeader::load(R | X, HIGH, vec![], 0));
    refuse(&empty, "10G", KernelError::NoLoad);

    let mut elf = executable();
    elf.program_headers[1].memory_size = 0x233;
    refuse(
        &elf,
        "10F",
        KernelError::Sizes {
            segment: 1,
            file_size: 0x234,
            memory_size: 0x233,
        },
    );
    elf.program_headers[1].memory_size = 0;
    refuse(
        &elf,
        "10F",
        KernelError::Sizes {
            segment: 1,
            file_size: 0x234,
            memory_size: 0,
        },
    );

    let mut elf = executable();
    elf.program_headers[0].memory_size = 0x2001;
    let error = KernelError::Overlap {
        first: 0,
        second: 1,
        address: HIGH + 0x2000,
    };
    refuse(&elf, "10H", error);
    let same = executable().with(ProgramHeader::load(R, HIGH + 0x2000, vec![], 1));
    refuse(
        &same,
        "10H",
        KernelError::Overlap {
            first: 1,
            second: 3,
            address: HIGH + 0x2000,
        },
    );

    let mut elf = executable();
    elf.program_headers[2].memory_size = 1 << 31;
    let (address, size) = (HIGH + 0x3000, 1 << 31);
    refuse(
        &elf,
        "10I",
        KernelError::Wraps {
            segment: 2,
            address,
            size,
        },
    );
    // The last page stays free.
    let at = |address, size| {
        executable().with(ProgramHeader {
            kind: PT_LOAD,
            ..ProgramHeader::load(R, address, vec![], size)
        })
    };
    accept(&at(!0x1FFF, 0x1000));
    for (address, size) in [
        (!0x1FFF, 0x1001),
        (!0xFFF, 1),
        (u64::MAX, 1),
        ((1 << 47) - 0x1000, 0x1001),
        (1 << 47, 0x1000),
        (0x8000_0000_0000_0000, 1),
        (0xFFFF_7FFF_FFFF_F000, 0x2000),
        (0x1000, u64::MAX - 0xFFF),
    ] {
        refuse(
            &at(address, size),
            "10I",
            KernelError::Wraps {
                segment: 3,
                address,
                size,
            },
        );
    }
    for address in [0, 1, 0xFFF] {
        refuse(
            &at(address, 1),
            "10L",
            KernelError::PageZero {
                segment: 3,
                address,
            },
        );
    }
    accept(&at(0x1000, 1));

    let relro = |start, size| ProgramHeader::within_load(PT_GNU_RELRO, start, size);
    let (address, size) = (HIGH, u64::MAX);
    let elf = executable().with(relro(address, size));
    refuse(
        &elf,
        "10I",
        KernelError::Wraps {
            segment: 3,
            address,
            size,
        },
    );

    let many = |count: u64| {
        (0..count).fold(Elf::new(ET_EXEC, HIGH), |elf, i| {
            elf.with(ProgramHeader::load(
                R | X,
                HIGH + (count - i - 1) * 0x1000,
                vec![0xF4],
                1,
            ))
        })
    };
    let image = accept(&many(MAX_SEGMENTS as u64)).0;
    assert!(image.segments().is_sorted_by_key(|s| s.virtual_start));
    let segment = MAX_SEGMENTS as u16;
    refuse(
        &many(MAX_SEGMENTS as u64 + 1),
        "10F",
        KernelError::TooManySegments { segment },
    );
}

#[test]
fn entry_point() {
    for entry in [
        0,
        HIGH - 1,
        HIGH + 0x1800,
        HIGH + 0x2000,
        HIGH + 0x3000,
        u64::MAX,
    ] {
        refuse(
            &Elf {
                entry,
                ..executable()
            },
            "10J",
            KernelError::Entry { entry },
        );
    }
    accept(&Elf {
        entry: HIGH + 0x17FF,
        ..executable()
    });
}

#[test]
fn writable_code() {
    let allowed = |elf: &Elf| accept(&elf.clone().with(wish(3, 1)));
    let mut elf = executable();
    elf.program_headers[0].flags = R | W | X;
    refuse(
        &elf,
        "10K",
        KernelError::WritableCode {
            address: HIGH,
            size: 0x2000,
        },
    );
    let (image, wishes) = allowed(&elf);
    assert!(wishes.allow_writable_code());
    assert_eq!(pages(&image, 0)[0], (HIGH, 0x2000, "rwx"));
    // Only the page that both share.
    let mut elf = executable();
    elf.program_headers[2].virtual_address = HIGH + 0x1900;
    elf.program_headers.remove(1);
    refuse(
        &elf,
        "10K",
        KernelError::WritableCode {
            address: HIGH + 0x1000,
            size: 0x1000,
        },
    );
    let expected = [
        (HIGH, 0x1000, "r-x"),
        (HIGH + 0x1000, 0x1000, "rwx"),
        (HIGH + 0x2000, 0x3000, "rw-"),
    ];
    assert_eq!(pages(&allowed(&elf).0, 0), expected);
}

#[test]
fn interpreter() {
    let elf = executable().with(ProgramHeader::within_load(PT_INTERP, HIGH + 0x2000, 28));
    refuse(&elf, "10O", KernelError::Interpreter { segment: 3 });
}

#[test]
fn alignment() {
    for alignment in [3, 0x1800, 4 * MIB, u64::MAX, 1 << 63] {
        let mut elf = executable();
        elf.program_headers[1].alignment = alignment;
        elf.program_headers[1].offset = Some(0x2000);
        let (virtual_address, offset) = (HIGH + 0x2000, 0x2000);
        let error = KernelError::Alignment {
            segment: 1,
            alignment,
            virtual_address,
            offset,
        };
        refuse(&elf, "10P", error);
    }
    let mut elf = executable();
    elf.program_headers[1].offset = Some(0x1010);
    let (virtual_address, offset) = (HIGH + 0x2000, 0x1010);
    let error = KernelError::Alignment {
        segment: 1,
        alignment: 4096,
        virtual_address,
        offset,
    };
    refuse(&elf, "10P", error);
    elf.program_headers[1].alignment = 16;
    accept(&elf);
}

/// The permissions of a page, the slow way.
fn flags_of(segments: &[Segment], page: u64) -> Option<u32> {
    segments
        .iter()
        .filter(|s| s.virtual_start < page + 0x1000 && s.virtual_start + s.memory_size > page)
        .map(|s| s.flags)
        .reduce(|all, flags| all | flags)
}

/// What has to hold for whatever is accepted.
fn assert_sound(file: &[u8], image: &KernelImage, wishes: &Wishes) {
    let segments = image.segments();
    assert!(!segments.is_empty());
    for pair in segments.windows(2) {
        assert!(pair[0].virtual_start + pair[0].memory_size <= pair[1].virtual_start);
    }
    let slide = image.choose_slide();
    for s in segments {
        assert!(s.memory_size > 0 && s.file_size <= s.memory_size);
        assert!(s.file_size == 0 || s.file_offset + s.file_size <= file.len() as u64);
        let start = s.virtual_start.wrapping_add(slide);
        let last = start.checked_add(s.memory_size - 1).unwrap();
        assert!(
            start >= 0x1000 && (last < 1 << 47 || start >= !0 << 47),
            "{start:#x}"
        );
        assert!(last < !0xFFF);
    }
    let in_code = |s: &&Segment| {
        s.flags & X != 0
            && (s.virtual_start..s.virtual_start + s.memory_size).contains(&image.entry())
    };
    assert!(segments.iter().any(|s| in_code(&s)));

    // Every segment is in exactly one group, with its pages, and the groups do not overlap.
    let groups: Vec<_> = image.groups().collect();
    let mut next = 0;
    for group in &groups {
        assert_eq!(group.first, next);
        next = group.end;
        assert!(group.alignment.is_power_of_two() && slide.is_multiple_of(group.alignment));
        assert_eq!(group.offset, group.virtual_start % group.alignment);
        for s in &segments[group.first..group.end] {
            assert!(group.contains(s.virtual_start) && group.contains(s.virtual_end() - 1));
        }
        if let Some(physical) = group.preferred_physical {
            assert!(physical >= MIB && physical.is_multiple_of(4096));
            assert!(physical + group.size <= 1 << 52);
        }
    }
    assert_eq!(next, segments.len());
    for pair in groups.windows(2) {
        assert!(pair[0].virtual_start + pair[0].size + 2 * MIB <= pair[1].virtual_start);
    }

    let ranges: Vec<_> = image.page_ranges(slide).collect();
    assert!(wishes.allow_writable_code() || ranges.iter().all(|r| !(r.writable && r.executable)));
    for pair in ranges.windows(2) {
        let end = pair[0].virtual_start.checked_add(pair[0].size).unwrap();
        assert!(end <= pair[1].virtual_start);
        let same = (pair[0].writable, pair[0].executable) == (pair[1].writable, pair[1].executable);
        assert!(
            end < pair[1].virtual_start || !same,
            "two pieces that are one"
        );
    }
    for range in &ranges {
        assert!(range.size > 0 && (range.virtual_start | range.size).is_multiple_of(0x1000));
        let start = range.virtual_start.wrapping_sub(slide);
        assert_eq!(groups.iter().filter(|g| g.contains(start)).count(), 1);
        let (first, last) = (start, start + range.size - 0x1000);
        for page in (0..64)
            .map(|i| first + i * 0x1000)
            .filter(|&p| p <= last)
            .chain([last])
        {
            let flags = flags_of(segments, page).expect("a page of no segment");
            assert_eq!(range.executable, flags & X != 0);
            assert!(image.relro().is_some() || range.writable == (flags & W != 0));
            assert!(!range.writable || flags & W != 0);
        }
    }
    // No segment is left out.
    for s in segments {
        let (first, last) = (s.first_page(), s.page_end() - 0x1000);
        for page in (0..64)
            .map(|i| first + i * 0x1000)
            .filter(|&p| p <= last)
            .chain([last])
        {
            let page = page.wrapping_add(slide);
            assert!(
                ranges
                    .iter()
                    .any(|r| page.wrapping_sub(r.virtual_start) < r.size)
            );
        }
    }
}

/// A static PIE with everything that the loader looks at.
fn full() -> Vec<u8> {
    let mut tables = words([7, 0x2100, 8, 48, 9, 24, 36, 0x2200, 35, 16, 37, 8, 0, 0]);
    tables.resize(0x100, 0);
    tables.extend(rela(8, 0x3000, 0x10));
    tables.extend(rela(8, 0x3008, 0x20));
    tables.resize(0x200, 0);
    tables.extend(words([0x3010, 0b1011]));
    Elf::new(ET_DYN, 0x10)
        .with(ProgramHeader::load(R | X, 0, vec![0xF4; 0x1800], 0x1800))
        .with(ProgramHeader::load(R, 0x2000, tables, 0x210))
        .with(ProgramHeader::load(R | W, 0x3000, vec![2; 0x100], 0x2800))
        .with(ProgramHeader::load(R | W, 0x8100, vec![2; 0x100], 0x2800))
        .with(ProgramHeader::within_load(PT_DYNAMIC, 0x2000, 14 * 8))
        .with(ProgramHeader::within_load(PT_TLS, 0x3020, 0x18))
        .with(ProgramHeader::within_load(PT_GNU_RELRO, 0x3000, 0x1000))
        .with(wish(1, 0x4000))
        .build()
}

/// Numbers at which something may break.
fn number() -> impl Strategy<Value = u64> {
    let near = (
        prop::sample::select(vec![
            0,
            64,
            0x1000,
            0x3000,
            2 * MIB,
            1 << 31,
            1 << 47,
            HIGH,
            !0 << 47,
        ]),
        -2_i64..3,
    )
        .prop_map(|(number, by): (u64, i64)| number.wrapping_add_signed(by));
    prop_oneof![
        near,
        0_u64..0x1_0000,
        any::<u64>(),
        (0_u32..64).prop_map(|bit| 1 << bit)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..Default::default() })]

    /// A good kernel, damaged: no panic, and what is still accepted is sound.
    #[test]
    fn damaged(
        changes in prop::collection::vec((0_usize..700, 0_u32..4, number()), 1..6),
        tables in prop::collection::vec((0_usize..66, number()), 0..3),
        length in prop::option::weighted(0.1, 0_usize..0x5000),
    ) {
        let mut file = full();
        // The file header, the table; then the dynamic section and the relocations, at 0x3000.
        for (at, width, value) in changes {
            let width = 1 << width;
            let at = at / width * width;
            file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
        for (word, value) in tables {
            let at = 0x3000 + 8 * word;
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(length) = length {
            file.resize(length, 0);
        }
        if let Ok((image, wishes)) = check_file(&file) {
            assert_sound(&file, &image, &wishes);
        }
    }

    /// Segments anywhere and of any size, in few pages so that they often share some.
    #[test]
    fn packed(
        kind in prop::sample::select(vec![ET_EXEC, ET_DYN]),
        pieces in prop::collection::vec((0_u64..0x1800, 1_u64..0x2800, prop::sample::select(vec![R, R, R | W, R | X])), 1..12),
        relro in prop::option::of((0_u64..0xC000, 1_u64..0x4000)),
        far in 0_usize..12,
    ) {
        let mut at = HIGH;
        let mut elf = Elf::new(kind, HIGH + 1);
        elf.program_headers.push(ProgramHeader::load(R | X, HIGH, vec![0xF4; 2], 2));
        for (index, (gap, size, flags)) in pieces.into_iter().enumerate() {
            at += gap + 2 + if index == far { 3 * MIB } else { 0 };
            elf.program_headers.push(ProgramHeader::load(flags, at, vec![1], size));
            at += size;
        }
        if let Some((start, size)) = relro {
            elf.program_headers.push(ProgramHeader::within_load(PT_GNU_RELRO, HIGH + start, size));
        }
        let allowed = elf.clone().with(wish(3, 1)).build();
        let (image, wishes) = check_file(&allowed).unwrap();
        assert_sound(&allowed, &image, &wishes);
        let writable_code = image.page_ranges(0).any(|r| r.writable && r.executable);
        let refused = matches!(check_file(&elf.build()), Err(KernelError::WritableCode { .. }));
        prop_assert_eq!(refused, writable_code);
    }

    /// Anything at all as a note.
    #[test]
    fn any_note(bytes in prop::collection::vec(prop_oneof![Just(9_u8), Just(0), any::<u8>()], 0..200), at in 0_usize..50) {
        let _ = Wishes::default().parse_note(&bytes);
        let mut named = bytes;
        named.truncate(at * 4);
        named.resize(at * 4, 0);
        named.extend(note("Bootpath", 1, &words([0x5000]), 4));
        let mut wishes = Wishes::default();
        if wishes.parse_note(&named).is_ok() {
            prop_assert_eq!(wishes.stack_size, 0x5000);
        }
    }
}

#[test]
fn the_full_kernel_is_accepted() {
    let file = full();
    let (image, wishes) = check_file(&file).unwrap();
    assert_sound(&file, &image, &wishes);
    assert_eq!(wishes.stack_size, 0x4000);
    assert_eq!(image.dynamic().unwrap().start, 0x2000);
    assert_eq!(image.segments()[1].file_offset, 0x3000);
}

/// Everything that `Display` says, in one place.
#[test]
fn messages() {
    let elf = |change: fn(&mut Elf)| {
        let mut elf = executable();
        change(&mut elf);
        let error = check_file(&elf.build()).unwrap_err();
        boot_path::errors::catalogue::Report(&error).to_string()
    };
    assert_eq!(
        elf(|e| e.machine = 3),
        "error 10C: the kernel is not for x86-64: e_machine 3"
    );
    assert_eq!(
        elf(|e| e.program_headers[0].memory_size = 0x2001),
        "error 10H: two segments of the kernel overlap: segments 0 and 1 at 0xffffffff80002000"
    );
    assert_eq!(
        elf(|e| e.program_headers.clear()),
        "error 10G: the kernel has no PT_LOAD segment with bytes in memory"
    );
}

#[test]
fn what_the_loader_maps_is_taken() {
    let conflict = |address| KernelError::Conflict { address };
    let map = handoff::DEFAULT_PHYSICAL_MAP_BASE;
    refuse(&kernel(ET_EXEC, map), "11A", conflict(map));
    let last_page = map + MIB - 0x1000;
    refuse(&kernel(ET_EXEC, last_page), "11A", conflict(last_page));
    accept(&kernel(ET_EXEC, map + MIB)); // how much memory there is, the machine tells
    // The switch page.
    refuse(&kernel(ET_EXEC, 0x8000), "11A", conflict(0x8000));
    refuse(&kernel(ET_EXEC, 0x5000), "11A", conflict(0x8000));
    accept(&kernel(ET_EXEC, 0x9000));
}
