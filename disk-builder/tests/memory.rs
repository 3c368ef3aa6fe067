//! However large the files are, not much of them is in memory at a time.
#![cfg(target_os = "linux")]

mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use support::{KERNEL_VMA, Load, Workshop, elf, kernel};

/// The most that a run may take besides the program itself, in KiB.
const MOST: u64 = 64 << 10;

/// Runs the program, and polls its peak memory until it ends. The peak that `wait4` reports would
/// include that of this process.
#[track_caller]
fn disk_builder(workshop: &Workshop, arguments: &[&str]) -> Output {
    let child = Command::new(env!("CARGO_BIN_EXE_disk-builder"))
        .current_dir(workshop.path("."))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let running = thread::spawn(|| child.wait_with_output().unwrap());
    let mut peak = 0;
    while !running.is_finished() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let value = |name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        // The pages of the program's file belong to the peak, but can be read again at any time.
        if let (Some(all), Some(of_file)) = (value("VmHWM:"), value("RssFile:")) {
            peak = peak.max(all.saturating_sub(of_file));
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert!(peak > 0, "nothing is known of its memory");
    assert!(peak < MOST, "{peak} KiB: {arguments:?}");
    running.join().unwrap()
}

#[track_caller]
fn done(workshop: &Workshop, arguments: &[&str]) -> String {
    let output = disk_builder(workshop, arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {message}");
    String::from_utf8(output.stdout).unwrap()
}

const GIB: u64 = 1 << 30;

/// A file with a few bytes here and there and nothing in between.
fn sparse(workshop: &Workshop, name: &str, start: &[u8], length: u64) {
    let mut file = File::create(workshop.path(name)).unwrap();
    file.write_all(start).unwrap();
    file.set_len(length).unwrap();
    for place in [length / 3, length - 1] {
        file.seek(SeekFrom::Start(place)).unwrap();
        file.write_all(b"x").unwrap();
    }
}

/// What a file takes up on the host's disk.
fn taken(workshop: &Workshop, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(workshop.path(name)).unwrap().blocks() * 512
}

/// A kernel with a segment of so many bytes behind its headers, of which there are a few.
fn with_segment(size: u64) -> Vec<u8> {
    let code = Load(KERNEL_VMA, 5, &[0xF4; 4096], 0);
    let mut bytes = elf(KERNEL_VMA, &[code, Load(KERNEL_VMA + 0x1000, 6, &[1], 0)]);
    // Sizes in the second program header, in the file and in memory.
    let sizes = 64 + 56 + 32;
    bytes[sizes..][..8].copy_from_slice(&size.to_le_bytes());
    bytes[sizes + 8..][..8].copy_from_slice(&size.to_le_bytes());
    bytes
}

#[test]
fn large_files_are_not_held_in_memory() {
    const SEGMENT: u64 = 200 << 20;
    let workshop = Workshop::new();
    // There is more behind the segment, which is not loaded.
    sparse(&workshop, "large.elf", &with_segment(SEGMENT), 2 * SEGMENT);
    sparse(&workshop, "module", b"module", 3 * GIB);
    let image = [
        "build",
        "--stages=.",
        "--kernel=large.elf",
        "--module=module",
        "--output=disk.img",
    ];
    let table = done(&workshop, &image);
    assert!(
        table.contains("/boot/modules/module (3221225472 bytes, checksum good)"),
        "{table}"
    );
    // What is not in the files is not in the image, but for its FATs of 3 MiB each.
    assert!(taken(&workshop, "disk.img") < 12 << 20);
    let text = done(&workshop, &["inspect", "disk.img"]);
    assert!(text.ends_with("no problems found\n"), "{text}");
    let json = done(&workshop, &["inspect", "--json", "disk.img"]);
    assert!(json.contains("\"checksum\": \"good\""), "{json}");

    // A wrong bit far behind the start of each file is found.
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (path, code) in [("/boot/kernel.elf", "10Q"), ("/boot/modules/module", "10R")] {
        let files = parsed["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["path"] == path).unwrap();
        let start = file["extents"][0]["lba"].as_u64().unwrap() * 512;
        let at = SeekFrom::Start(start + (100 << 20) + 77);
        let image = workshop.path("disk.img");
        let mut image = File::options().write(true).open(image).unwrap();
        image.seek(at).unwrap();
        image.write_all(b"y").unwrap();
        let output = disk_builder(&workshop, &["inspect", "disk.img"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("error {code}: ")), "{text}");
        image.seek(at).unwrap();
        image.write_all(&[0]).unwrap();
    }
}

/// A file with no zeros to speak of, which cannot be packed.
fn dense(workshop: &Workshop, name: &str, start: &[u8], length: u64) {
    let mut file = BufWriter::new(File::create(workshop.path(name)).unwrap());
    file.write_all(start).unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..(length - start.len() as u64) / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes()).unwrap();
    }
    file.flush().unwrap();
}

#[test]
fn dense_files_are_not_held_in_memory() {
    const LENGTH: u64 = 300 << 20;
    let workshop = Workshop::new();
    workshop.file("kernel.elf", &kernel(1000));
    dense(&workshop, "module", b"module", LENGTH);
    let build = [
        "build",
        "--stages=.",
        "--kernel=kernel.elf",
        "--module=module",
        "--output=disk.img",
    ];
    let table = done(&workshop, &build);
    let length = fs::metadata(workshop.path("module")).unwrap().len();
    let module = format!("/boot/modules/module ({length} bytes, checksum good)");
    assert!(table.contains(&module), "{table}");
    let text = done(&workshop, &["inspect", "disk.img"]);
    assert!(text.ends_with("no problems found\n"), "{text}");

    // A wrong bit far behind the start is seen: what is summed is what was loaded.
    let path = workshop.path("disk.img");
    let mut image = File::options().read(true).write(true).open(path).unwrap();
    let at = SeekFrom::End(-(100 << 20));
    let mut byte = [0];
    image.seek(at).unwrap();
    image.read_exact(&mut byte).unwrap();
    image.seek(at).unwrap();
    image.write_all(&[byte[0] ^ 1]).unwrap();
    let output = disk_builder(&workshop, &["inspect", "disk.img"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("error 10R: "), "{text}");
}

#[test]
fn dense_files_that_are_unpacked_are_not_held_in_memory() {
    const LENGTH: u64 = 100 << 20;
    let workshop = Workshop::new();
    let headers = with_segment(LENGTH / 2);
    dense(&workshop, "dense.elf", &headers, LENGTH);
    dense(&workshop, "module", b"module", LENGTH);
    workshop.file(
        "module.gz",
        &pack(&fs::read(workshop.path("module")).unwrap()),
    );
    let build = [
        "build",
        "--stages=.",
        "--kernel=dense.elf",
        "--module=module.gz",
        "--output=disk.img",
    ];
    done(&workshop, &build);
    let text = done(&workshop, &["inspect", "disk.img"]);
    assert!(text.ends_with("no problems found\n"), "{text}");
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn what_a_gzip_file_says_of_its_length_is_not_believed() {
    let workshop = Workshop::new();
    let good = pack(&kernel(10_000));
    let mut file = good.clone();
    let length = file.len() - 4;
    file[length..].copy_from_slice(&i32::MAX.to_le_bytes());
    workshop.file("liar.gz", &file);
    workshop.file("kernel.elf", &kernel(1000));
    let build = ["build", "--stages=.", "--output=disk.img"];
    let expected = "error 8C: a compressed file cannot be unpacked";
    for more in [
        &["--kernel=liar.gz"][..],
        &["--kernel=kernel.elf", "--module=liar.gz"],
    ] {
        let output = disk_builder(&workshop, &[&build[..], more].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(expected), "{message}");
        let facts = "bytes instead of 2147483647";
        assert!(message.contains(facts), "{message}");

        done(&workshop, &[&build[..], more, &["--unchecked"]].concat());
        let output = disk_builder(&workshop, &["inspect", "disk.img"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(expected) && text.contains(facts), "{text}");
    }
}

#[test]
fn what_is_packed_small_is_not_held_in_memory() {
    const ZEROS: usize = 400 << 20;
    let workshop = Workshop::new();
    // A kernel with many zeros behind what is loaded.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&kernel(10_000)).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..ZEROS >> 20 {
        encoder.write_all(&zeros).unwrap();
    }
    let packed = encoder.finish().unwrap();
    assert!(packed.len() < 4 << 20);
    workshop.file("k.gz", &packed);
    let build = [
        "build",
        "--stages=.",
        "--kernel=k.gz",
        "--module=k.gz",
        "--output=disk.img",
    ];
    let table = done(&workshop, &build);
    let length = ZEROS + kernel(10_000).len();
    let unpacked = format!(", {length} unpacked, checksum good)");
    assert_eq!(table.matches(&unpacked).count(), 2, "{table}");
}
