//! What a kernel asks for in its note.

use boot_path::kernel::image::{KernelError, Wishes};
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
        pvh: false,
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
            pvh: false,
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
}

#[test]
fn foreign_notes_of_any_size_and_number() {
    let own = note("Bootpath", 1, &words([0x4000]), 4);
    // At each place in the pieces in which notes are read, and on their borders.
    for before in (900..2200).step_by(4).chain([5000, 100_000]) {
        for behind in [0, 4, 3000] {
            let mut notes = vec![0xC7; before];
            notes.extend(&own);
            notes.resize(notes.len() + behind, 0xC7);
            let wishes = accept(&executable().with(ProgramHeader::note(notes))).1;
            assert_eq!((wishes.own, wishes.stack_size), (true, 0x4000), "{before}");
        }
    }
    let foreign = || ProgramHeader::note(note("Xen", 6, &[7; 4000], 4));
    let many = (0..40).fold(executable(), |elf, _| elf.with(foreign()));
    assert_eq!(accept(&many).1, Wishes::default());
    assert_eq!(accept(&many.with(wish(1, 0x4000))).1.stack_size, 0x4000);
}

#[test]
fn a_wish_at_the_end_of_a_long_note_is_cut_off() {
    for before in (900..2200).step_by(4) {
        let mut notes = vec![0; before];
        notes.extend(note("Bootpath", 1, &words([0x1000]), 4));
        notes.truncate(notes.len() - 4);
        let cut = executable().with(ProgramHeader::note(notes));
        refuse(&cut, "10N", KernelError::NoteLength { kind: 1, length: 8 });
    }
}

#[test]
fn notes_that_overlap() {
    let long = vec![0; 50_000];
    let mut same = ProgramHeader::note(long.clone());
    same.offset = Some(0x1000);
    same.file_size = Some(long.len() as u64);
    same.data.clear();
    let twice = executable().with(ProgramHeader::note(long)).with(same);
    refuse(&twice, "10F", KernelError::TooManyNotes { segment: 4 });
}
