//! A kernel for each way to end, and the exit status that it gets.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::KERNEL_VMA;
use disk_builder::run::{EXIT_OKAY, Status};

use crate::{
    Background, EXCEPTION, FOR_EVER, OFFER, PID_FILE, POWER_OFF, Place, RESET, Run, TRIPLE_FAULT,
    boot_sector, exit, kernel, kill, print, qemu,
};

#[test]
fn success_and_failure_are_what_the_kernel_says() {
    let place = Place::new();
    let code = [print("hello\r\n"), exit(EXIT_OKAY)].concat();
    place.file("good", &kernel(&code));
    let run = place.run(&["good"]);
    run.ended(Status::Success);
    assert!(run.serial.ends_with("hello\r\n"), "{}", run.serial);
    // cargo, which builds the loader, may have written to standard error.
    assert!(!run.errors.contains("disk-builder: "), "{}", run.errors);

    for value in [0x11, 0x01, 0x00] {
        place.file("bad", &kernel(&exit(value)));
        let expected = format!("the kernel reported failure: it wrote {value:X}h to port F4h");
        place.run(&["bad"]).ended(Status::Failure).said(&expected);
    }
}

#[test]
fn a_kernel_that_is_gone_is_no_success() {
    let place = Place::new();
    for (code, how) in [
        (TRIPLE_FAULT, "a triple fault reset the machine"),
        (RESET, "the machine was reset"),
        (POWER_OFF, "the machine was switched off"),
    ] {
        place.file("kernel", &kernel(code));
        let expected = format!("the kernel reported nothing: {how}");
        let run = place.run(&["kernel"]);
        run.ended(Status::Gone).said(&expected);
        assert!(run.serial.contains("12 handoff"), "{}", run.serial);
    }
    // If the user has asked for a log, it is left to them, and a triple fault cannot be told from a
    // reset.
    place.file("kernel", &kernel(TRIPLE_FAULT));
    let run = place.run(&["kernel", "--", "-d", "cpu_reset"]);
    run.ended(Status::Gone)
        .said("the kernel reported nothing: the machine was reset, perhaps by a triple fault");
    assert!(run.errors.contains("\nTriple fault\n"), "{}", run.errors);
}

#[test]
fn a_qemu_that_is_closed_or_killed_is_no_success() {
    let place = Place::new();
    place.file("kernel", &kernel(FOR_EVER));
    for (signal, how) in [
        ("-KILL", "QEMU was killed by signal 9"),
        ("-TERM", "QEMU was ended by a signal"),
    ] {
        let running = Background::start(&place, &[&["kernel"], &PID_FILE[..]].concat());
        assert!(kill(signal, qemu(&place)));
        let expected = format!("the kernel reported nothing: {how}");
        running.wait().ended(Status::Gone).said(&expected);
        place.is_clean();
    }
    // By a monitor of the user's own, which works beside the tool's own connection.
    let socket = place.directory.path().join("monitor");
    let monitor = format!("unix:{},server=on,wait=off", socket.display());
    let running = Background::start(&place, &["kernel", "--", "-monitor", &monitor]);
    let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
    stream.write_all(b"quit\n").unwrap();
    running
        .wait()
        .ended(Status::Gone)
        .said("the kernel reported nothing: QEMU was closed");
}

#[test]
fn a_loader_error_ends_the_run() {
    let place = Place::new();
    // A kernel's exception, which the loader's 64-bit code reports.
    place.file("kernel", &kernel(EXCEPTION));
    place.run(&["kernel"]).stopped_by("12A");
    // Steps 2 to 4, in real mode.
    place.run(&["--cpu=pentium3", "kernel"]).stopped_by("3B");
    // The steps behind.
    place.file("not-a-kernel", b"no ELF file");
    let build = ["--kernel=not-a-kernel", "--unchecked", "--output=disk.img"];
    place.build(&build);
    place.run(&["disk.img"]).stopped_by("10A");
}

#[test]
fn an_error_of_stage1_ends_the_run() {
    let place = Place::new();
    place.file("kernel", &kernel(&exit(EXIT_OKAY)));
    place.build(&["--kernel=kernel", "--cd", "--output=good.img"]);
    let good = fs::read(place.directory.path().join("good.img")).unwrap();
    place.run(&["good.img"]).ended(Status::Success);
    place.run(&["--cd", "good.img"]).ended(Status::Success);

    let program = disk_layout::cd::PROGRAM_BLOCK as usize * disk_layout::CD_BLOCK;
    let stage2 = usize::from(disk_layout::cd::STAGE2_BLOCK) * disk_layout::CD_BLOCK;
    for (offset, cd, code) in [
        (disk_layout::mbr::CHECKED.start + 40, false, "1D"),
        (program + disk_layout::cd::CHECKED.start + 40, true, "1D"),
        (stage2 + 600, false, "1B"),
        (stage2 + 600, true, "1B"),
    ] {
        let mut bad = good.clone();
        bad[offset] ^= 1;
        place.file("bad.img", &bad);
        let options = if cd {
            &["--cd", "bad.img"][..]
        } else {
            &["bad.img"]
        };
        place.run(options).stopped_by(code);
    }
    // A sector that cannot be read, on a disk that is booted first. The other one's stage2 is damaged,
    // so that it is not booted instead; what is reported is how the first one failed.
    let mut bad = good.clone();
    bad[stage2 + 600] ^= 1;
    place.file("bad.img", &bad);
    let dead = place.file("dead.img", &good);
    let drive = format!(
        "if=none,id=dead,driver=raw,file.driver=blkdebug,file.image.driver=file,\
         file.image.filename={},file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,\
         file.inject-error.0.sector={}",
        dead.display(),
        stage2 / 512 + 3
    );
    let device = "ide-hd,drive=dead,bus=ide.1,bootindex=0";
    let run = place.run(&["bad.img", "--", "-drive", &drive, "-device", device]);
    run.stopped_by("1A");
}

/// What a kernel prints is its own business.
#[test]
fn a_kernel_that_prints_the_words_of_an_error_is_not_taken_for_one() {
    let place = Place::new();
    let report = format!("\r\nerror 8A: the boot partition is damaged\r\n{OFFER}\r\n");
    let words = print(&report);
    place.file("kernel", &kernel(&[&words[..], &exit(EXIT_OKAY)].concat()));
    let run = place.run(&["kernel"]);
    run.ended(Status::Success);
    assert!(run.serial.contains(&report));

    // If the kernel then runs on, there is time enough to mistake this for an error.
    place.file("kernel", &kernel(&[&words[..], FOR_EVER].concat()));
    let output = place.command(&["run", "--timeout=3", "kernel"]).output();
    let run = Run::of(output.unwrap());
    run.ended(Status::TimeOut);
    assert!(run.serial.contains(&report));
}

#[test]
fn a_time_out_says_where_the_cpu_was() {
    let place = Place::new();
    place.file("kernel", &kernel(FOR_EVER));
    let start = Instant::now();
    let output = place.command(&["run", "--timeout=3", "kernel"]).output();
    let run = Run::of(output.unwrap());
    run.ended(Status::TimeOut).said(&format!(
        "time-out: no end within 3 s; the CPU was at {KERNEL_VMA:#x}"
    ));
    assert!(start.elapsed() >= Duration::from_secs(3));
    place.is_clean();
}

#[test]
fn without_a_machine_there_is_no_status_of_the_kernel() {
    let place = Place::new();
    place.file("disk.img", &boot_sector());
    let run = place.run(&["disk.img", "--", "-no-such-option"]);
    run.ended(Status::NoMachine)
        .said("QEMU did not start: it ended with status 1");
    assert!(run.errors.contains("invalid option"), "{}", run.errors);
    place
        .run(&["disk.img", "--", "-version"])
        .ended(Status::NoMachine);

    let empty = tempfile::tempdir().unwrap();
    let mut command = place.command(&["run", "disk.img"]);
    let run = Run::of(command.env("PATH", empty.path()).output().unwrap());
    run.ended(Status::NoMachine);
    assert!(run.errors.contains("is not installed"), "{}", run.errors);
}

/// The table is in the help, and in the chapter that users read.
#[test]
fn the_exit_statuses_are_documented() {
    let place = Place::new();
    let help = place.command(&["run", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let chapter = include_str!("../../../docs/handoff.md");
    for status in Status::ALL {
        let (code, meaning) = (status.code(), status.meaning());
        let line = format!("{code:>5}  {meaning}");
        assert!(help.lines().any(|found| found == line), "{line}\n{help}");
        let row = format!("| {code} | {meaning} |");
        assert!(chapter.lines().any(|found| found == row), "{row}");
    }
    let rows = chapter.lines().skip_while(|line| *line != "| status | |");
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    assert_eq!(rows.count(), Status::ALL.len());
}
