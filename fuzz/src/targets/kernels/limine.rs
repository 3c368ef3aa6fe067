//! Kernels with requests of the Limine protocol: which requests are found among any bytes, and how
//! they are answered.

use std::collections::BTreeMap;

use boot_path::bios::vbe::{Field, Mode};
use boot_path::kernel::image::{KernelImage, PREFERRED_BASE};
use boot_path::kernel::relocate::LoadedKernel;
use boot_path::memory::address::VirtAddr;
use boot_path::ways_out::limine::{
    self, COUNT, FEATURES, Facts, FirmwarePages, Framebuffer, InternalModules, LastFacts,
    LimineError, MAX_REVISION, Requests, Writer, check_file, recognises, scan,
};

use super::loaded::Loaded;
use crate::elf_fixture::{ET_DYN, ET_EXEC, Elf, ProgramHeader, R, W, X, words};
use crate::input::Input;
use crate::targets::show;

const COMMON: [u64; 2] = [0xC7B1_DD30_DF4C_8B88, 0x0A82_E883_A194_F07B];
const TAG: [u64; 2] = [0xF956_2B2D_5C95_A6C8, 0x6A7B_3849_4453_6BDC];
const START: [u64; 4] = [
    0xF6B8_F4B3_9DE7_D1AE,
    0xFAB9_1A69_40FC_B9CF,
    0x785C_6ED0_15D3_E316,
    0x181E_920A_7852_B9D9,
];
const END: [u64; 2] = [0xADC0_E053_1BB1_0D03, 0x9572_709F_3176_4C62];
/// The input: a file; or, when the first byte is odd, what to make one of.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.u8() & 1 == 0 {
        let file = input.rest();
        match check_file(file) {
            Ok(Some((image, requests))) => {
                assert!(requests.revision <= MAX_REVISION);
                let start = image.virtual_start().wrapping_add(image.choose_slide());
                assert!(start >= PREFERRED_BASE);
                with(file, image);
            }
            Ok(None) => {}
            Err(error) => {
                show(&error);
            }
        }
        return;
    }
    let file = make(&mut input).build();
    let count = usize::from(u16::from_le_bytes([file[56], file[57]]));
    if let Ok(image) = KernelImage::parse(&file, &file[64..64 + 56 * count], file.len() as u64) {
        with(&file, image);
    }
    if let Err(error) = check_file(&file) {
        show(&error);
    }
}

/// A kernel with many magic words in two segments.
fn make(input: &mut Input<'_>) -> Elf {
    let kind = input.choose(&[ET_EXEC, ET_DYN]);
    let base = if kind == ET_DYN {
        0
    } else {
        PREFERRED_BASE.as_u64()
    };
    let (first, second) = (base + 0x1000, base + 0x2000 + u64::from(input.u8() & 15));
    let mut segments = [Vec::new(), Vec::new()];
    while !input.is_empty() && segments[0].len() + segments[1].len() < 400 {
        let how = input.u8();
        let segment = &mut segments[usize::from(how >> 7)];
        match how & 7 {
            0 => segment.extend(START),
            1 => segment.extend(END),
            2 => segment.extend([TAG[0], TAG[1], u64::from(input.u8() % 9)]),
            3 => segment.push(input.choose(&[COMMON[0], COMMON[1], TAG[0], START[0], END[0]])),
            4 => segment.push(second.wrapping_add(8 * u64::from(input.u8()))),
            _ => {
                let (_, name) = FEATURES[usize::from(input.u8()) % COUNT];
                segment.extend([COMMON[0], COMMON[1], name[0], name[1]]);
                segment.extend([u64::from(input.u8() & 3), 0]);
            }
        }
        if how & 0x40 != 0 {
            segment.push(u64::from(input.u8()));
        }
    }
    let load = |flags, start, segment: &Vec<u64>| {
        let bytes = words(segment.iter().copied());
        let size = bytes.len() as u64;
        ProgramHeader::load(flags, start, bytes, size + 64)
    };
    let code = ProgramHeader::load(R | X, base + 0x100, vec![0xF4; 16], 16);
    Elf::new(kind, base + 0x100)
        .with(code)
        .with(load(R, first, &segments[0]))
        .with(load(R | W, second, &segments[1]))
}

/// Scans a kernel, asks it everything, and answers.
fn with(file: &[u8], image: KernelImage) {
    let Some(mut loaded) = Loaded::new(&image, file) else {
        return;
    };
    if let Some(requests) = find(&loaded) {
        ask(&loaded, &requests);
        answer(&image, &mut loaded, &requests);
    }
}

/// Finds the requests by the scan, and checks the result by a slower one.
fn find(loaded: &Loaded<'_>) -> Option<Requests> {
    let image = loaded.image;
    let found = scan(image, loaded);
    let naive = naive(loaded);
    let recognised = image
        .segments()
        .iter()
        .enumerate()
        .any(|(index, s)| recognises(loaded.bytes(index), s.virtual_start));
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            show(&error);
            assert!(naive.is_err());
            return None;
        }
    };
    assert_eq!(found.is_some(), recognised);
    let (tag, requests) = naive.expect("it was accepted");
    let empty = found.is_none() && tag.is_none() && requests.is_empty();
    let same = found.is_some_and(|found| {
        let tags = found.revision == tag.unwrap_or(0);
        let asked = FEATURES
            .iter()
            .all(|(feature, name)| found.has(*feature) == requests.contains_key(name));
        tags && asked
    });
    assert!(empty || same, "{found:x?}");
    found
}

/// Asks for all that a request can have.
fn ask(loaded: &Loaded<'_>, requests: &Requests) {
    let image = loaded.image;
    let slide = image.choose_slide();
    let _ = requests.check(image);
    assert!(requests.stack_size(image, loaded) >= 65536);
    for five_levels in [false, true] {
        if let Ok(mode) = requests.paging_mode(image, loaded, five_levels) {
            assert!(mode <= u64::from(five_levels));
        }
    }
    if let Ok(entry) = requests.entry(image, loaded, slide) {
        let inside = |s: &boot_path::kernel::image::Segment| {
            entry.wrapping_before(slide).wrapping_sub(s.virtual_start) < s.memory_size
        };
        assert!(image.segments().iter().any(inside));
    }
    let mut modules = InternalModules::new();
    match requests.internal_modules(image, loaded, slide, &mut modules) {
        Ok(()) | Err(LimineError::Module { .. } | LimineError::TooManyModules { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }
}

/// Writes responses. Nothing else in the kernel changes.
fn answer(image: &KernelImage, loaded: &mut Loaded<'_>, requests: &Requests) {
    let firmware = FirmwarePages::default();
    let mode = Mode {
        number: 0x118,
        width: 1024,
        height: 768,
        pitch: 4096,
        address: 0xFD00_0000,
        bits_per_pixel: 32,
        colors: [Field::default(); 3],
    };
    let facts = Facts {
        version: "0",
        revision: requests.revision,
        command_line: VirtAddr::new(1),
        paging_mode: 0,
        processors: None,
        firmware: &firmware,
        executable: None,
        executable_address: Default::default(),
        modules: &[],
        optical: false,
        partition: 1,
        disk_signature: 2,
        rsdp: 3,
        smbios: [4, 5],
        date: Some(6),
        performance: None,
        tsc_frequency: None,
        entropy: &[],
    };
    let last = LastFacts {
        framebuffer: Some(Framebuffer {
            mode,
            modes: &[mode; 3],
            edid: Some(&[7; 128]),
        }),
        regions: &[],
    };
    let mut measure = Writer::default();
    limine::respond(requests, &facts, &last, &mut measure);
    let mut room = vec![0; measure.used];
    let mut writer = Writer::new(&mut room, VirtAddr::new(0x10_0000));
    let responses = limine::respond(requests, &facts, &last, &mut writer);
    assert_eq!(writer.used, measure.used);
    let before = loaded.memory.clone();
    requests.answer(image, loaded, &responses);
    let changed: usize = before
        .iter()
        .flatten()
        .zip(loaded.memory.iter().flatten())
        .filter(|(old, new)| old != new)
        .count();
    let answers = responses.iter().filter(|&&response| response != 0).count();
    assert!(changed <= 8 * (answers + 2), "{changed} bytes changed");
}

/// The protocol's words: the revision in the tag, and how often each request occurs.
type Found = (Option<u64>, BTreeMap<[u64; 2], usize>);

/// What [`scan`] should find, in another way: first the markers, then what lies between them.
fn naive(loaded: &Loaded<'_>) -> Result<Found, ()> {
    // All words, in order. Nothing follows the last word of a segment.
    let mut all: Vec<Vec<u64>> = Vec::new();
    for (index, segment) in loaded.image.segments().iter().enumerate() {
        let skip = (segment.virtual_start.as_u64().wrapping_neg() % 8) as usize;
        let bytes = loaded.bytes(index).get(skip..).unwrap_or_default();
        let words = bytes.chunks_exact(8);
        all.push(
            words
                .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
                .collect(),
        );
    }
    let places: Vec<(usize, usize)> = (0..all.len())
        .flat_map(|segment| (0..all[segment].len()).map(move |word| (segment, word)))
        .collect();
    let at =
        |&(segment, word): &(usize, usize), words: &[u64]| all[segment][word..].starts_with(words);
    let start = places.iter().rposition(|place| at(place, &START));
    let end = places.iter().position(|place| at(place, &END));
    if let (Some(start), Some(end)) = (start, end)
        && end < start
    {
        return Err(());
    }
    let range = start.unwrap_or(0)..end.unwrap_or(places.len());
    let (mut tag, mut requests) = (None, BTreeMap::new());
    for place in &places[range] {
        let rest = &all[place.0][place.1..];
        if at(place, &TAG) {
            let Some(&revision) = rest.get(2) else {
                return Err(());
            };
            if tag.replace(revision).is_some() {
                return Err(());
            }
        }
        let known = FEATURES
            .iter()
            .find(|(_, name)| at(place, &[COMMON[0], COMMON[1], name[0], name[1]]));
        if let Some((_, name)) = known {
            let count = requests.entry(*name).or_insert(0);
            *count += 1;
            if *count > 1 || rest.len() < 6 {
                return Err(());
            }
        }
    }
    Ok((tag, requests))
}
