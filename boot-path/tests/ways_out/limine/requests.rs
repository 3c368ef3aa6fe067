//! Which requests are found, and which are refused.

use std::path::{Component, Path};

use boot_path::errors::catalogue::Named;
use boot_path::memory::address::VirtAddr;
use boot_path::ways_out::limine::files::resolve;
use boot_path::ways_out::limine::{
    self as limine, COUNT, FEATURES, Feature, InternalModules, LimineError, Requests, place,
    recognises, scan_into,
};
use proptest::prelude::*;

use crate::elf_fixture::{ET_DYN, ET_EXEC, ProgramHeader, note, words};

use super::{BASE, CODE, COMMON, DATA, END, Loaded, START, TAG, config, elf, kernel, request, tag};

#[test]
fn requests_are_found() {
    assert_eq!(kernel(&[1, 2, 3]).scan(), Ok(None));
    // Half a magic number is not a request.
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

    // Requests are 8-byte aligned in memory, but the segment need not be.
    let mut unaligned = elf(&words);
    unaligned.program_headers[1].virtual_address += 4;
    assert_eq!(Loaded::new(&unaligned).scan(), Ok(None));
    unaligned.program_headers[1].data.splice(0..0, [0; 4]);
    assert!(Loaded::new(&unaligned).requests().has(Feature::Hhdm));

    // A feature of a later version is not an error, however often it is requested.
    let unknown = [COMMON[0], COMMON[1], 5, 6, 0, 0];
    let found = kernel(&[unknown, unknown].concat()).requests();
    assert!(FEATURES.iter().all(|(feature, _)| !found.has(*feature)));
}

/// The place of all that a kernel is recognised by is found, and searching only there finds the same.
/// Searching elsewhere finds nothing.
#[test]
fn the_place_of_the_requests_suffices() {
    for before in [0, 1, 15, 16, 17, 600] {
        for behind in [0, 1, 2, 600] {
            let hhdm = request(Feature::Hhdm, 0, &[]);
            let requests = [&START[..], &tag(2), &hhdm, &END].concat();
            let noise = |count: u64| (1..=count).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let words: Vec<u64> = noise(before)
                .chain(requests.iter().copied())
                .chain(noise(behind))
                .collect();
            let loaded = kernel(&words);
            let place = place(&loaded.image, &loaded);
            let segment = &loaded.image.segments()[1];
            let start = segment.file_offset.as_u64() + 8 * before;
            let end = start + 8 * (requests.len() as u64 - END.len() as u64) + 1;
            assert_eq!(place, start..end);

            let search = |within| {
                let mut found = Requests::default();
                let has_any = scan_into(&mut found, &loaded.image, &loaded, &within).unwrap();
                (has_any, found)
            };
            assert_eq!(search(place), search(0..u64::MAX));
            assert!(search(start..end).1.has(Feature::Hhdm));
            assert!(!search(0..start).0 && !search(end..u64::MAX).0 && !search(0..0).0);
            // All but the last marker, and only the first one: the second word of what begins last may
            // be behind the place. That word may also be the last of many.
            assert!(search(start..end - 1).0 && search(start..start + 1).0);
            for words in (0..=before).take(40) {
                assert!(search(start - 8 * words..start + 1).0, "{words}");
            }
        }
    }
    let none = kernel(&[1, 2, 3]);
    assert_eq!(place(&none.image, &none), 0..0);
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

    // The last start marker and the first end marker count. Duplicates outside do no harm.
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
        start: VirtAddr::new(DATA + 64),
        end: VirtAddr::new(DATA),
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
        first: VirtAddr::new(DATA),
        second: VirtAddr::new(DATA + 48),
    };
    assert_eq!(twice, Err(error));
    assert_eq!(
        error.to_string(),
        "twice: at 0xffffffff80001000 and at 0xffffffff80001030"
    );
    assert!(kernel(&[tag(1), tag(1)].concat()).scan().is_err());
    // A duplicate is refused even if the request would get no response.
    let dtb = request(Feature::DeviceTree, 0, &[]);
    assert!(kernel(&[dtb.clone(), dtb].concat()).scan().is_err());

    let cut = LimineError::Cut {
        address: VirtAddr::new(DATA),
    };
    for length in 4..6 {
        let error = kernel(&hhdm[..length]).scan();
        assert_eq!(error, Err(cut), "{length}");
    }
    assert_eq!(kernel(&tag(1)[..2]).scan(), Err(cut));
}

#[test]
fn pieces_overlap_by_a_word() {
    let recognises = |bytes: &[u8], address| recognises(bytes, VirtAddr::new(address));
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
    let address = VirtAddr::new(0x10_0000);
    assert_eq!(low(ET_EXEC), Err(LimineError::Low { address }));
    assert_eq!(low(ET_DYN), Ok(()));

    // A file with a note of the loader's own protocol is not a Limine kernel.
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
        let entry = loaded.requests().entry(&loaded.image, &loaded, 0);
        entry.map(VirtAddr::as_u64)
    };
    assert_eq!(entry(CODE + 5), Ok(CODE + 5));
    for address in [0, CODE + 0x100, DATA] {
        let error = LimineError::Entry {
            address: VirtAddr::new(address),
        };
        assert_eq!(entry(address), Err(error));
    }
    let loaded = kernel(&tag(0));
    assert_eq!(
        loaded.requests().entry(&loaded.image, &loaded, 0x1000),
        Ok(VirtAddr::new(CODE + 0x1010))
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
        let mut modules = InternalModules::new();
        let requests = loaded.requests();
        let read = requests.internal_modules(&loaded.image, loaded, 0, &mut modules);
        read.map(|()| {
            let text = |m: &limine::InternalModule<'_>| {
                let flags = (m.required, m.compressed);
                (m.path.to_owned(), m.string.to_vec(), flags)
            };
            modules.iter().map(text).collect::<Vec<_>>()
        })
    };
    let expected = |path: &str, flags| (path.to_owned(), b"string".to_vec(), flags);
    let loaded = with_modules(&["one", "two/three"], 3);
    assert_eq!(
        read(&loaded),
        Ok(vec![
            expected("one", (true, true)),
            expected("two/three", (true, true))
        ])
    );
    for flags in 0..8 {
        let bits = (flags & 1 != 0, flags & 2 != 0);
        let read = read(&with_modules(&["x"], flags));
        assert_eq!(read, Ok(vec![expected("x", bits)]));
    }
    // The loader does not check a hash, so it must not ignore one.
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

/// Paths are relative to the directory of the kernel.
#[test]
fn paths_of_modules_are_resolved() {
    for (kernel, path, expected) in [
        ("/boot/kernel.elf", "x", "/boot/x"),
        ("/boot/kernel.elf", "./x", "/boot/x"),
        ("/boot/kernel.elf", "modules/x", "/boot/modules/x"),
        ("/boot/kernel.elf", "modules/./y/../x", "/boot/modules/x"),
        ("/boot/kernel.elf", "../boot/x", "/boot/x"),
        ("/boot/kernel.elf", "..\\x", "/x"),
        ("/boot/kernel.elf", "/boot/x", "/boot/x"),
        ("/boot/kernel.elf", "/x", "/x"),
        ("/boot/kernel.elf", "\\modules\\x", "/modules/x"),
        ("/boot/kernel.elf", "//boot///x", "/boot/x"),
        // What would lie above the root lies in it.
        ("/boot/kernel.elf", "../../../x", "/x"),
        ("/boot/kernel.elf", "/../x/..", "/"),
        ("/boot/kernel.elf", "/..", "/"),
        // A path without a name is a directory.
        ("/boot/kernel.elf", "", "/boot"),
        ("/boot/kernel.elf", ".", "/boot"),
        ("/boot/kernel.elf", "..", "/"),
        // No names.
        ("/boot/kernel.elf", ".x/...", "/boot/.x/..."),
        // A kernel in the root, by each way to write its path, and further down.
        ("/kernel.elf", "x", "/x"),
        ("kernel.elf", "modules/x", "/modules/x"),
        ("\\kernel.elf", "../x", "/x"),
        ("\\boot\\a\\kernel.elf", "x", "/boot/a/x"),
        ("boot\\a/kernel.elf", "../x", "/boot/x"),
        ("/boot/../dir/./kernel.elf", "x", "/dir/x"),
    ] {
        let mut room = vec![0xEE; kernel.len() + path.len() + 2];
        let found = resolve(kernel, path, &mut room);
        assert_eq!(found, (expected, true), "{kernel} {path}");
    }
}

proptest! {
    #![proptest_config(config(512))]

    /// As the standard library takes paths apart.
    #[test]
    fn any_path_is_resolved(kernel in "[a./]{0,12}", path in "[a./]{0,12}") {
        let mut room = vec![0xEE; kernel.len() + path.len() + 2];
        let (found, is_text) = resolve(&kernel, &path, &mut room);
        prop_assert!(is_text);
        let directory = kernel.rfind('/').map_or("", |slash| &kernel[..slash]);
        let whole = Path::new("/").join(directory.trim_start_matches('/')).join(&path);
        let mut names = Vec::new();
        for component in whole.components() {
            match component {
                Component::ParentDir => drop(names.pop()),
                Component::Normal(name) => names.push(name.to_str().unwrap()),
                _ => {}
            }
        }
        prop_assert_eq!(found, format!("/{}", names.join("/")));
    }

    /// Any words, many of them magic.
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
            let modules = &mut InternalModules::new();
            let _ = requests.internal_modules(&loaded.image, &loaded, 0, modules);
        }
        prop_assert_eq!(found != Ok(None), recognises(&words(data.iter().copied()), VirtAddr::new(DATA)));
    }
}
