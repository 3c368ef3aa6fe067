//! What can be booted, and with which options.

use std::fs;
use std::io::Write as _;

use disk_builder::run::Status;

use crate::{FOR_EVER, Place, boot_sector, kernel};

#[test]
fn what_cannot_be_booted_is_refused_by_name() {
    let place = Place::new();
    place.file("notes.txt", b"buy milk\n");
    place.file("disk.img", &boot_sector());
    for (arguments, expected) in [
        (&["notes.txt"][..], "notes.txt is neither a kernel ("),
        (&["missing"], "cannot open missing: "),
        (
            &["/dev/null"],
            "/dev/null is a character device, not a file",
        ),
        (
            &["disk.img", "some", "words"],
            "disk.img is an image, which holds its kernel's command line: it cannot be given another \
             one (\"some words\")",
        ),
        (
            &["disk.img", "--", "-daemonize"],
            "-daemonize is not possible",
        ),
    ] {
        let run = place.run(arguments);
        run.ended(Status::NotRun);
        let start = format!("disk-builder: {expected}");
        assert!(run.errors.starts_with(&start), "{}", run.errors);
        assert_eq!(run.serial, "");
    }
    place.run(&["--nope", "disk.img"]).ended(Status::Usage);

    // A kernel that the loader would refuse, in the loader's words.
    let mut bad = kernel(FOR_EVER);
    bad[18] = 3; // a machine of 32 bits
    place.file("bad", &bad);
    let run = place.run(&["bad"]);
    run.ended(Status::NotRun);
    assert!(
        run.errors.contains("bad cannot be booted: error 10"),
        "{}",
        run.errors
    );
}

#[test]
fn words_are_the_command_line_and_options_are_the_machine() {
    let place = Place::new();
    let program = place.command(&["program", "kernel"]).output().unwrap();
    let demo = String::from_utf8(program.stdout).unwrap();
    let demo = demo.trim_end();
    let run = place.run(&[demo, "--nocapture", "exit", "--timeout=1"]);
    run.ended(Status::Success);
    let line = "command line: --nocapture exit --timeout=1\r\n";
    assert!(run.serial.contains(line), "{}", run.serial);

    // Compressed, from a stick, on another machine.
    let packed = fs::read(demo).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&packed).unwrap();
    place.file("kernel.gz", &encoder.finish().unwrap());
    let options = [
        "--usb",
        "--machine=pc",
        "--memory=64M",
        "--cpus=2",
        "--cpu=max",
    ];
    let run = place.run(&[&options[..], &["kernel.gz", "exit"]].concat());
    run.ended(Status::Success);
    assert!(run.serial.contains(" 63 MiB usable"), "{}", run.serial);
    // QEMU's own arguments have the last word.
    let run = place.run(&["--memory=64M", "kernel.gz", "exit", "--", "-m", "128"]);
    run.ended(Status::Success);
    assert!(run.serial.contains(" 127 MiB usable"), "{}", run.serial);

    // A CD that `build` made, as a CD and as a disk.
    place.build(&["--cd", "--cmdline=exit", "--output=cd.img"]);
    let run = place.run(&["--cd", "cd.img"]);
    run.ended(Status::Success);
    assert!(run.serial.contains("2048 bytes a sector"), "{}", run.serial);
    place
        .run(&["--cd", "--usb", "cd.img"])
        .ended(Status::Success);
    let run = place.run(&["--cd", "kernel.gz", "exit"]);
    run.ended(Status::Success);
    assert!(run.serial.contains("2048 bytes a sector"), "{}", run.serial);
}
