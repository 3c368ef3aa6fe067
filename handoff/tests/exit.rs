//! Exit codes: `disk-builder run` tells each from the others.
#![cfg(target_arch = "x86_64")]

use handoff::{EXIT_FAILURE, EXIT_SUCCESS, ExitCode};

#[test]
fn codes_that_qemu_passes_on() {
    assert_eq!(
        (ExitCode::SUCCESS.value(), ExitCode::FAILURE.value()),
        (EXIT_SUCCESS, EXIT_FAILURE)
    );
    let mut statuses = vec![0x10 << 1 | 1];
    for value in (0..0x200).chain([u32::MAX, 1 << 31 | 3]) {
        let Some(code) = ExitCode::failure(value) else {
            continue;
        };
        assert_eq!(code.value(), value);
        assert!(!code.is_success());
        // What QEMU does with it. An exit status has 8 bits.
        statuses.push((value << 1 | 1) & 0xFF);
    }
    assert_eq!(statuses.len(), 127);
    assert!(
        statuses.iter().all(|status| *status > 1),
        "1 is QEMU's own failure"
    );
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses.len(), 127, "each is another one");
}

#[test]
fn a_result_is_a_code() {
    assert!(ExitCode::from(true).is_success());
    assert_eq!(ExitCode::from(false), ExitCode::FAILURE);
}
