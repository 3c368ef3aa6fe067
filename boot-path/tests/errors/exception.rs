//! What a fault handler has saved: some exceptions push an error code in front of the interrupted state.

use boot_path::errors::exception::{Exception, Saved};

const SAVED: Saved = Saved {
    cr3: 0,
    cr2: 0,
    general: [0; 15],
    stub: 0,
    frame: [0x10, 0x11, 0x12, 0x13, 0x14, 0x15],
};

#[test]
fn the_error_code_is_no_part_of_what_was_interrupted() {
    // Exceptions with a code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, and AMD's #VC and #SX.
    for vector in 0..32 {
        let has_code = [8, 10, 11, 12, 13, 14, 17, 21, 29, 30].contains(&vector);
        let (error_code, interrupted) = if has_code {
            (0x10, [0x11, 0x12, 0x13, 0x14, 0x15])
        } else {
            (0, [0x10, 0x11, 0x12, 0x13, 0x14])
        };
        assert_eq!(SAVED.exception(vector), Exception { vector, error_code });
        assert_eq!(SAVED.interrupted(vector), interrupted, "vector {vector}");
    }
}
