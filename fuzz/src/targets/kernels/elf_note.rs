//! What a kernel wishes for by its notes.

use boot_path::kernel::image::Wishes;
use boot_path::memory::address::VirtAddr;
use handoff::{
    FLAG_ALLOW_WRITABLE_CODE, FLAG_NO_FAULT_REPORTS, NOTE_FLAGS, NOTE_NAME, NOTE_PHYSICAL_MAP_BASE,
    NOTE_STACK_SIZE,
};

use crate::elf_fixture::note;
use crate::input::Input;
use crate::targets::show;

/// The input: the bytes of a PT_NOTE; or, when the first byte is odd, notes to make one of.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    if input.u8() & 1 == 0 {
        let mut wishes = Wishes::default();
        match wishes.parse_note(input.rest()) {
            Ok(()) => assert!(granted(&wishes), "{wishes:x?}"),
            Err(error) => {
                show(&error);
            }
        }
        return;
    }

    // Good and bad wishes, among notes of other programs.
    let mut segment = Vec::new();
    let mut expected = Some(Wishes::default());
    while !input.is_empty() && segment.len() < 4096 {
        let alignment = input.choose(&[4, 8]);
        segment.resize(segment.len().next_multiple_of(alignment), 0);
        let kind = input.choose(&[NOTE_STACK_SIZE, NOTE_PHYSICAL_MAP_BASE, NOTE_FLAGS, 0x77]);
        let value = match input.u8() & 3 {
            0 => input.u64(),
            1 => input.border(),
            2 => u64::from(input.u8()),
            _ => u64::from(input.u32()) << 30 | 0xFFFF << 48,
        };
        if input.u8() & 7 == 0 {
            segment.extend(note("GNU", kind, &value.to_le_bytes(), alignment));
            continue;
        }
        segment.extend(note(NOTE_NAME, kind, &value.to_le_bytes(), alignment));
        let mut asked = expected.unwrap_or_default();
        asked.own = true;
        match kind {
            NOTE_STACK_SIZE => asked.stack_size = value.div_ceil(4096).saturating_mul(4096),
            NOTE_PHYSICAL_MAP_BASE => asked.physical_map_base = VirtAddr::new(value),
            NOTE_FLAGS => asked.flags |= value,
            _ => {}
        }
        let too_small = kind == NOTE_STACK_SIZE && value < 4096;
        expected = expected
            .is_some_and(|_| granted(&asked) && !too_small)
            .then_some(asked);
    }
    let mut wishes = Wishes::default();
    let result = wishes.parse_note(&segment);
    assert_eq!(result.ok().map(|()| wishes), expected, "{segment:x?}");
}

/// Whether `docs/handoff.md` promises to grant these wishes.
fn granted(wishes: &Wishes) -> bool {
    let base = wishes.physical_map_base.as_u64();
    let top = base >> 47;
    (4096..=16 << 20).contains(&wishes.stack_size)
        && wishes.stack_size.is_multiple_of(4096)
        && base != 0
        && base.is_multiple_of(1 << 30)
        && (top == 0 || top == 0x1_FFFF)
        && wishes.flags & !(FLAG_ALLOW_WRITABLE_CODE | FLAG_NO_FAULT_REPORTS) == 0
}
