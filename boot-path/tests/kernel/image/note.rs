//! What a kernel asks for in its note.

use boot_path::kernel::image::{KernelError, MAX_NOTE_BYTES, Wishes};
use boot_path::memory::address::VirtAddr;

use crate::elf_fixture::{ProgramHeader, note, words};

use super::{accept, executable, refuse, wish};

#[test]
fn wishes() {
    let mut all = note("GNU", 3, &[7; 20], 4);
    for (kind, value) in [(1, 0x1_2345), (3, 1), (2, 0xFFFF_C000_0000_0000), (99, 5)] {
        all.extend(note("Bootpath", kind, &u64::to_le_bytes(value), 4));
    }
    let expected = Wishes {
        stack_size: 0x1_3000,
        physical_map_base: VirtAddr::new(0xFFFF_C000_0000_0000),
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
            physical_map_base: VirtAddr::new(1 << 46),
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

    // A note with another name, and one without the zero byte at its end.
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
