//! Good kernels: where they go and how they are mapped.

use boot_path::kernel::image::{Group, KernelError, PREFERRED_BASE, Segment, Table, Wishes};
use boot_path::memory::address::{PhysAddr, VirtAddr};

use crate::elf_fixture::{ET_DYN, ET_EXEC, Elf, PT_GNU_RELRO, PT_TLS, ProgramHeader, R, W, X};

use super::{HIGH, MIB, accept, executable, groups, kernel, pages, refuse, with_at};

/// Each is kept as it is.
#[test]
fn any_number_of_segments() {
    const COUNT: u64 = 1000;
    let start = |i: u64| HIGH + 0x1000 * i;
    let mut elf = (0..COUNT).fold(Elf::new(ET_EXEC, HIGH), |elf, i| {
        let flags = [R | X, R, R | W][(i * 3 / COUNT) as usize];
        elf.with(ProgramHeader::load(
            flags,
            start(i),
            vec![i as u8; 0x10],
            0x10,
        ))
    });
    // Segments that only have zeroes.
    for i in COUNT..COUNT + 200 {
        elf = elf.with(ProgramHeader::load(R | W, start(i), Vec::new(), 0x800));
    }
    let (image, _) = accept(&elf);
    assert_eq!(image.segments().len() as u64, COUNT + 200);
    let file = elf.build();
    for i in 0..COUNT + 200 {
        let address = VirtAddr::new(start(i));
        let inside = |s: &&Segment| (s.virtual_start..s.virtual_end()).contains(&address);
        let segment = image.segments().iter().find(inside).expect("it is there");
        let skip = address - segment.virtual_start;
        if i >= COUNT {
            assert!(segment.file_size <= skip && skip + 0x800 <= segment.memory_size);
            continue;
        }
        assert!(skip + 0x10 <= segment.file_size);
        let at = (segment.file_offset.as_u64() + skip) as usize;
        assert_eq!(file[at..at + 0x10], [i as u8; 0x10], "{i}");
    }
    let pages = |number| start(number) - HIGH;
    assert_eq!(
        super::pages(&image, 0),
        [
            (HIGH, pages(334), "r-x"),
            (start(334), pages(333), "r--"),
            (start(667), pages(533), "rw-"),
        ]
    );
}

/// Whatever is between them, and wherever they are in the file.
#[test]
fn many_segments_of_any_kind() {
    const COUNT: u64 = 300;
    let many = |change: fn(&mut ProgramHeader, u64)| {
        // In descending order.
        (0..COUNT).rev().fold(Elf::new(ET_EXEC, HIGH), |elf, i| {
            let address = HIGH + 0x1000 * i;
            let mut load = ProgramHeader::load(R | X, address, vec![0xF4; 0x10], 0x10);
            change(&mut load, i);
            elf.with(load)
        })
    };
    let changes: [fn(&mut ProgramHeader, u64); 5] = [
        |load, _| load.memory_size = 0x20,
        |load, i| load.physical_address += i << 20,
        |load, i| load.flags = [R | X, R][i as usize % 2],
        |load, i| {
            load.virtual_address = HIGH + 0x2000 * i;
            load.physical_address = load.virtual_address;
        },
        // The same bytes of the file again and again.
        |load, _| {
            load.offset = Some(0);
            load.data.clear();
            load.file_size = Some(0x10);
        },
    ];
    for change in changes {
        let (image, _) = accept(&many(change));
        let segments = image.segments();
        assert_eq!(segments.len() as u64, COUNT);
        assert!(segments.is_sorted_by_key(|segment| segment.virtual_start));
        let groups: Vec<_> = image.groups().collect();
        assert_eq!(
            groups
                .iter()
                .map(|group| group.end - group.first)
                .sum::<usize>(),
            segments.len()
        );
    }
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
        assert_eq!(image.entry().as_u64(), base + 0x10);
        assert_eq!(image.choose_slide(), 0);
        assert_eq!(
            (image.virtual_start().as_u64(), image.virtual_end().as_u64()),
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
            virtual_start: VirtAddr::new(base),
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
        assert_eq!(groups(&elf)[0].preferred_physical, Some(PhysAddr::new(MIB)));
        let image = accept(&elf).0;
        assert_eq!(image.segments()[1].load_address.as_u64(), MIB + 0x2000);
    }
}

#[test]
fn load_addresses_that_cannot_be_kept() {
    // Below 1 MiB.
    assert_eq!(
        groups(&with_at(executable(), HIGH))[0].preferred_physical,
        None
    );
    // The segments have different distances.
    let mut elf = with_at(kernel(ET_EXEC, HIGH + MIB), HIGH);
    elf.program_headers[1].physical_address += 0x1000;
    assert_eq!(groups(&elf)[0].preferred_physical, None);
    // The address has another offset within the page.
    let elf = with_at(kernel(ET_EXEC, HIGH + MIB), HIGH - 8);
    assert_eq!(groups(&elf)[0].preferred_physical, None);
    // The address has more than 52 bits.
    let elf = with_at(kernel(ET_EXEC, HIGH), HIGH - (1 << 52) + 0x3000);
    assert_eq!(groups(&elf)[0].preferred_physical, None);
}

#[test]
fn lower_half() {
    let elf = kernel(ET_EXEC, 2 * MIB);
    let expected = Some(PhysAddr::new(2 * MIB));
    assert_eq!(groups(&elf)[0].preferred_physical, expected);
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
                g.virtual_start.as_u64(),
                g.size,
                g.alignment,
                g.offset,
                g.preferred_physical.map(PhysAddr::as_u64),
            )
        })
        .collect();
    // Between HIGH + 1 MiB + 4 KiB and HIGH + 3 MiB there is a page less than a large page; between
    // HIGH + 3 MiB + 4 KiB and HIGH + 6 MiB there is more than one.
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
    for larger in [4 * MIB, 1024 * MIB] {
        elf.program_headers[1].alignment = larger;
        let group = groups(&elf)[0];
        let offset = HIGH % larger + 0x5000;
        assert_eq!((group.alignment, group.offset), (larger, offset));
        // A group as large as a large page keeps it, too.
        let mut large = elf.clone();
        large.program_headers[2].memory_size = 8 * MIB;
        assert_eq!(groups(&large)[0].alignment, larger);
    }
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
    let preferred = PREFERRED_BASE.as_u64();
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
        assert_eq!(base.wrapping_add(slide), preferred + start);
        assert_eq!(
            pages(&image, slide)[2],
            (preferred + start + 0x3000, 0x3000, "rw-")
        );
        assert_eq!(groups(&elf)[0].preferred_physical, None);
    }
    // An aligned kernel stays aligned.
    let mut elf = kernel(ET_DYN, 0x21_3000);
    elf.program_headers[0].alignment = 2 * MIB;
    let image = accept(&elf).0;
    assert_eq!(image.choose_slide(), preferred - 0x20_0000);
    // Larger than a large page.
    let mut elf = kernel(ET_DYN, 0x3000);
    elf.program_headers[2].memory_size = 5 * MIB;
    assert_eq!(accept(&elf).0.choose_slide(), preferred);
    // As large as the last 2 GiB, but for the last page.
    let mut elf = kernel(ET_DYN, 0);
    elf.program_headers[2].memory_size = (1 << 31) - 0x4000;
    accept(&elf);
    elf.program_headers[2].memory_size += 1;
    let (address, size) = (VirtAddr::new(0x3000), (1 << 31) - 0x4000 + 1);
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
    assert_eq!(tls.virtual_start.as_u64(), HIGH + 0x3020);
    assert_eq!(
        (tls.file_size, tls.memory_size, tls.alignment),
        (0x18, 0x40, 32)
    );
    assert_eq!(accept(&executable()).0.tls(), None);

    let mut bad = elf.clone();
    bad.program_headers[3].virtual_address = HIGH + 0x57F0;
    let error = KernelError::NotLoaded {
        kind: Table::Tls,
        address: VirtAddr::new(HIGH + 0x57F0),
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
    let (virtual_address, offset) = (VirtAddr::new(HIGH + 0x3020), 0x4020);
    let error = KernelError::Alignment {
        segment: 3,
        alignment: 24,
        virtual_address,
        offset,
    };
    refuse(&bad, "10P", error);
}
