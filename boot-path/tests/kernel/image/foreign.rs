//! Kernels for other loaders: they are called what they are, unless they have what this loader
//! knows.

use boot_path::files::file_bytes::FileBytes;
use boot_path::kernel::image::{Foreign, KernelError, check_file};
use boot_path::position::FileOffset;

use crate::elf_fixture::{ET_EXEC, Elf, ProgramHeader, R, X, note, with_sections, words};

use super::{accept, executable, refuse, refuse_bytes, wish};

const PROGBITS: u32 = 1;
const STRINGS: u32 = 3;
/// Where the core of a static BOOTBOOT kernel lies.
const BOOTBOOT_CORE: u64 = 0xFFFF_FFFF_FFE0_2000;

fn pvh(padding: usize) -> ProgramHeader {
    let mut notes = note("GNU", 3, &[7; 20], 4);
    notes.resize(notes.len() + padding, 0);
    notes.extend(note("Xen", 18, &words([0x100_0000]), 4));
    ProgramHeader::note(notes)
}

fn is(kind: Foreign) -> KernelError {
    KernelError::Foreign { kind }
}

fn with_own_note(elf: Elf) -> Elf {
    elf.with(wish(1, 0x4000))
}

#[test]
fn an_entry_for_pvh() {
    for padding in [0, 900, 960, 5000] {
        refuse(&executable().with(pvh(padding)), "10W", is(Foreign::Pvh));
    }
    // As in a vmlinux: an entry point that is physical, and a segment at address 0.
    let mut linux = executable();
    linux.entry = 0x100_0000;
    let code = ProgramHeader::load(R | X, 0, vec![7; 16], 16);
    let per_cpu = linux.clone().with(code);
    for elf in [linux, per_cpu] {
        refuse(&elf.clone().with(pvh(0)), "10W", is(Foreign::Pvh));
        assert_ne!(check_file(&elf.build()[..]).err(), Some(is(Foreign::Pvh)));
    }
    // It is no obstacle for a kernel that has more than that, whichever comes first.
    accept(&with_own_note(executable().with(pvh(0))));
    accept(&with_own_note(executable()).with(pvh(0)));
    // Other notes of that owner, and of that type.
    for other in [
        note("Xen", 6, &words([1]), 4),
        note("Xem", 18, &words([1]), 4),
    ] {
        accept(&executable().with(ProgramHeader::note(other)));
    }
}

#[test]
fn a_configuration_for_the_crate_bootloader() {
    let with = |elf: Elf, name| {
        with_sections(
            elf.build(),
            &[(".text", 1, &[]), (name, PROGBITS, &[7; 124])],
        )
    };
    let file = with(executable(), ".bootloader-config");
    refuse_bytes(&file, "10W", is(Foreign::Bootloader));
    check_file(&with(with_own_note(executable()), ".bootloader-config")[..]).unwrap();
    for name in [
        ".bootloader-confi",
        ".bootloader-config2",
        "bootloader-config",
    ] {
        check_file(&with(executable(), name)[..]).unwrap();
    }
    // Behind more sections than one piece of their headers has.
    let mut many = vec![(".text", PROGBITS, &[][..]); 100];
    many.push((".bootloader-config", PROGBITS, &[]));
    let file = with_sections(executable().build(), &many);
    refuse_bytes(&file, "10W", is(Foreign::Bootloader));
}

#[test]
fn symbols_of_bootboot() {
    let elf = |address| {
        let code = ProgramHeader::load(R | X, address, vec![0xF4; 16], 16);
        Elf::new(ET_EXEC, address).with(code)
    };
    let with =
        |elf: Elf, strings: &[u8]| with_sections(elf.build(), &[(".strtab", STRINGS, strings)]);
    for before in [0, 1000, 1010, 1015, 1020, 5000] {
        let mut strings = vec![b'x'; before];
        strings.extend(b"\0bootboot\0environment\0");
        let file = with(elf(BOOTBOOT_CORE), &strings);
        refuse_bytes(&file, "10W", is(Foreign::Bootboot));
        // Elsewhere, or with a note, it is somebody's variable.
        check_file(&with(executable(), &strings)[..]).unwrap();
        check_file(&with(with_own_note(elf(BOOTBOOT_CORE)), &strings)[..]).unwrap();
    }
    for strings in [&b"\0bootboots\0"[..], b"\0a_bootboot\0", b"\0bootboot", b""] {
        check_file(&with(elf(BOOTBOOT_CORE), strings)[..]).unwrap();
    }
}

/// A file, and how many bytes of it were copied.
struct Counted<'a>(&'a [u8], &'a mut usize);

impl FileBytes for Counted<'_> {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn window(&mut self, offset: FileOffset) -> &[u8] {
        self.0.get(offset.as_u64() as usize..).unwrap_or_default()
    }

    fn read_at(&mut self, offset: FileOffset, out: &mut [u8]) -> usize {
        let count = out.len().min(self.window(offset).len());
        out[..count].copy_from_slice(&self.window(offset)[..count]);
        *self.1 += count;
        count
    }
}

/// A thousand sections, each of which says that it has all strings of a large file: the search for a
/// symbol has an end.
#[test]
fn many_strings_take_bounded_time() {
    let code = ProgramHeader::load(R | X, BOOTBOOT_CORE, vec![0xF4; 16], 16);
    let elf = Elf::new(ET_EXEC, BOOTBOOT_CORE).with(code);
    let mut file = with_sections(elf.build(), &vec![(".strtab", STRINGS, &[][..]); 1000]);
    let size = file.len() as u64;
    for section in file.rchunks_exact_mut(64).take(1000) {
        section[4] = STRINGS as u8;
        section[24..40].copy_from_slice(words([0, size]).as_slice());
    }
    let mut copied = 0;
    check_file(Counted(&file, &mut copied)).unwrap();
    assert!((4 << 20..5 << 20).contains(&copied), "{copied} bytes");
}

/// Nonsense in the section headers is no reason to refuse a kernel.
#[test]
fn sections_that_make_no_sense() {
    let file = with_sections(
        executable().build(),
        &[(".bootloader-config", PROGBITS, &[7; 124])],
    );
    let at = file.len() - 2 * 64;
    for (place, bytes) in [
        (40, vec![0xFF; 8]),
        (58, vec![0; 2]),
        (58, vec![0xFF; 2]),
        (60, vec![0; 2]),
        (62, vec![0xFF; 2]),
        (at, vec![0xFF; 4]),
        (at + 64 + 24, vec![0xFF; 8]),
    ] {
        let mut file = file.clone();
        file[place..place + bytes.len()].copy_from_slice(&bytes);
        check_file(&file[..]).unwrap();
    }
}
