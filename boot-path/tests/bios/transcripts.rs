//! Transcripts of real machines and of emulators, played back through the code that asks the BIOS.
//!
//! Each `transcripts/NAME.txt` has a `NAME.out` beside it with the result, which
//! `BLESS=1 cargo test -p boot-path --test bios transcripts` writes. One more file tests one more
//! machine. A transcript also contains the lines that the loader printed on that machine, which
//! have to agree.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use boot_path::bios::firmware::{BUFFER_OFFSET, Bios, Registers};
use boot_path::bios::int10::text_mode;
use boot_path::bios::int15;
use boot_path::bios::time::{Clock, Moment, Waiting};
use boot_path::bios::transcript::{self, Bytes, Call, Garbled, Line, SHOWN};
use boot_path::disk::block_device::BlockDevice;
use boot_path::disk::int13::Drive;
use boot_path::errors::catalogue::Report;
use boot_path::memory::layout::BIOS_BUFFER;
use boot_path::memory::map::MemoryMap;
use boot_path::position::Lba;
use disk_layout::CD_BLOCK;
use proptest::prelude::*;

/// A BIOS that answers as another one has answered. Neither the order of questions matters, nor the
/// place of the loader's buffers, so that a transcript stays valid when the loader changes. A
/// question that was asked several times gets the answers in their order, and then the last one
/// again.
struct Replay {
    memory: RefCell<BTreeMap<u64, VecDeque<Bytes>>>,
    /// Each with a mark that says whether it was asked for.
    calls: Vec<(Call, bool)>,
    /// What the clock said each time.
    times: VecDeque<u64>,
    /// What the loader said of waiting.
    told: Vec<String>,
    buffer: Vec<u8>,
}

impl Replay {
    fn new(text: &str) -> Self {
        let mut memory = BTreeMap::<_, VecDeque<_>>::new();
        let (mut calls, mut times) = (Vec::new(), VecDeque::new());
        for (number, line) in text.lines().enumerate() {
            match Line::parse(line) {
                Some(Ok(Line::Begin(version))) => {
                    assert!(transcript::VERSIONS.contains(&version), "version {version}");
                }
                Some(Ok(Line::Time(milliseconds))) => times.push_back(milliseconds),
                Some(Ok(Line::Memory(address, bytes))) => {
                    memory.entry(address).or_default().push_back(bytes);
                }
                // A call that did not return is the last line: nothing can be asked behind it.
                Some(Ok(Line::Call(call))) if call.answer.is_none() => break,
                Some(Ok(Line::Call(call))) => calls.push((call, false)),
                Some(Err(Garbled)) => panic!("line {} is garbled", number + 1),
                None => {}
            }
        }
        Self {
            memory: RefCell::new(memory),
            calls,
            times,
            told: Vec::new(),
            buffer: vec![0; BIOS_BUFFER.size() as usize],
        }
    }

    fn first_unused_read(&self) -> Option<&Call> {
        let mut unused = self.calls.iter().filter(|(_, used)| !used);
        let is_read = |call: &Call| call.number == 0x13 && matches!(call.before.ah(), 0x02 | 0x42);
        unused.find(|(call, _)| is_read(call)).map(|(call, _)| call)
    }
}

/// The part of a question that distinguishes it from others.
fn question(number: u8, registers: &Registers, sent: &[u8]) -> Vec<u64> {
    let [ax, cx, dx] = [registers.eax, registers.ecx, registers.edx].map(|r| u64::from(r & 0xFFFF));
    let (ah, dl) = (ax >> 8, dx & 0xFF);
    let details = match (number, ah) {
        (0x13, 0x02) => vec![ax, cx, dx],
        (0x13, 0x42) => {
            let (lba, count) = packet(sent);
            vec![ah, dl, lba, count as u64]
        }
        (0x13, _) => vec![ah, dl],
        (0x15, 0xE8) => vec![ax, registers.ebx.into()],
        _ => vec![ax],
    };
    [vec![number.into()], details].concat()
}

/// LBA and number of sectors.
fn packet(bytes: &[u8]) -> (u64, usize) {
    let byte = |at| bytes.get(at).copied().unwrap_or(0);
    let lba = u64::from_le_bytes(std::array::from_fn(|i| byte(8 + i)));
    (lba, u16::from_le_bytes([byte(2), byte(3)]).into())
}

impl Bios for Replay {
    fn call(&mut self, number: u8, registers: &mut Registers) {
        let asked = question(number, registers, &self.buffer);
        let is_it = |call: &Call| question(call.number, &call.before, &call.sent) == asked;
        let calls = &self.calls;
        let unused = calls.iter().position(|(call, used)| !used && is_it(call));
        let index = unused.or_else(|| calls.iter().rposition(|(call, _)| is_it(call)));
        let Some(index) = index else {
            panic!("INT {number:02X}h was not asked this: {registers:X?}")
        };
        let (call, used) = &mut self.calls[index];
        *used = true;
        let (answer, bytes) = call.answer.as_ref().expect("only those were kept");
        *registers = *answer;
        if [call.before.esi, call.before.edi].contains(&BUFFER_OFFSET) {
            self.buffer.fill(0);
            self.buffer[..bytes.len()].copy_from_slice(bytes);
        }
    }

    fn read<T: zerocopy::FromBytes>(&self, address: u64) -> T {
        let mut bytes = vec![0; size_of::<T>()];
        if address == BIOS_BUFFER.start {
            bytes.copy_from_slice(&self.buffer[..size_of::<T>()]);
        } else {
            let mut memory = self.memory.borrow_mut();
            let answers = memory.get_mut(&address);
            let answers = answers.unwrap_or_else(|| panic!("{address:X}h was not read"));
            let answer = match answers.len() {
                1 => answers[0].clone(),
                _ => answers.pop_front().expect("there are several"),
            };
            bytes[..answer.len()].copy_from_slice(&answer);
        }
        T::read_from_bytes(&bytes).expect("it has this length")
    }

    fn put<T: zerocopy::IntoBytes + zerocopy::Immutable>(&mut self, value: &T) {
        self.buffer.fill(0);
        self.buffer[..size_of::<T>()].copy_from_slice(value.as_bytes());
    }

    fn write<T: zerocopy::IntoBytes + zerocopy::Immutable>(&mut self, address: u64, _: &T) {
        panic!("{address:X}h was not written to");
    }

    fn transferred(&self, length: usize) -> &[u8] {
        const { &[0; 1 << 16] }
            .get(..length)
            .expect("more than the buffer holds")
    }
}

impl Clock for Replay {
    fn now(&self) -> Moment {
        Moment::default()
    }

    /// A transcript of version 1 contains no times, so none passes.
    fn milliseconds_since(&mut self, _: Moment) -> u64 {
        self.times.pop_front().unwrap_or(0)
    }

    fn tell(&mut self, waiting: &Waiting) {
        self.told.push(waiting.to_string());
    }
}

/// If the loader's lines are in the transcript, this one has to be among them.
fn assert_said(text: &str, line: &str) {
    let printed = |start| text.lines().any(|line: &str| line.starts_with(start));
    let step = &line[..10];
    assert!(
        !printed(step) || printed(line),
        "the machine did not say {line:?}"
    );
}

/// The result of a transcript.
fn play_back(text: &str) -> String {
    let mut bios = Replay::new(text);
    let mut out = String::new();

    let screen = text_mode(&mut bios);
    writeln!(out, "screen: {}", if screen { "text" } else { "none" }).unwrap();
    let printed = text.lines().find(|line| line.starts_with(" 5 console"));
    assert!(screen || !printed.is_some_and(|line| line.contains("VGA")));

    let mut map = MemoryMap::new();
    match int15::discover(&mut bios, &mut map) {
        Ok(source) => {
            let usable = map.usable();
            let line = format!(" 6 memory   {} MiB usable, by {source}", usable >> 20);
            assert_said(text, &line);
            writeln!(out, "memory: by {source}").unwrap();
        }
        Err(error) => {
            writeln!(out, "{}", Report(&error)).unwrap();
            return out;
        }
    }
    for region in map.regions() {
        writeln!(
            out,
            "  {:012X} {:012X} {:?}",
            region.start.as_u64(),
            region.end.as_u64(),
            region.kind
        )
        .unwrap();
    }
    play_disk(text, bios, &mut out);
    out
}

/// The result of what a transcript says of the disk, if it says anything.
fn play_disk(text: &str, mut bios: Replay, out: &mut String) {
    let mut calls = bios.calls.iter().map(|(call, _)| call);
    let Some(first) = calls.find(|call| call.number == 0x13) else {
        return;
    };
    let number = first.before.edx as u8;
    let asked = first.before.ah() == 0x41;
    let geometry = bios
        .calls
        .iter()
        .rfind(|(call, _)| (call.number, call.before.ah()) == (0x13, 8));
    let geometry = geometry
        .and_then(|(call, _)| call.answer.clone())
        .map(|(r, _)| r);
    // What stage1 read by the extensions needs no questions, and what it was is in the loader's line.
    let is_disk = text
        .lines()
        .any(|line| line.starts_with(" 7 disk") && line.contains(", 512 bytes a sector"));
    let drive = match (asked, is_disk) {
        (true, _) => Drive::open(&mut bios, number),
        (false, true) => Drive::proved_disk(&mut bios, number),
        (false, false) => Drive::proved(&mut bios, number, CD_BLOCK),
    };
    let way = if drive.by_lba() { "LBA" } else { "CHS" };
    let (size, sectors) = (drive.sector_size(), drive.sector_count());
    let line = format!("drive {number:02X}h by {way}, {size} bytes a sector, ");
    assert_said(text, &format!(" 7 disk     {line}"));
    match sectors {
        u64::MAX => writeln!(out, "disk: {line}size unknown").unwrap(),
        _ => writeln!(out, "disk: {line}{sectors} sectors").unwrap(),
    }

    // Reads again what was read, with the same retries.
    let mut drive = drive;
    let mut reads = 0;
    while let Some(call) = drive.bios().first_unused_read() {
        let (lba, count) = match call.before.ah() {
            0x42 => packet(&call.sent),
            _ => chs(
                &call.before,
                geometry.as_ref().expect("tracks without a geometry"),
            ),
        };
        reads += 1;
        match drive.read(Lba::new(lba), count) {
            Ok(bytes) => assert!(!bytes.is_empty()),
            Err(error) => writeln!(out, "  {}", Report(&error)).unwrap(),
        }
    }
    let calls = drive.reads();
    writeln!(out, "  {reads} reads by {calls} calls").unwrap();
    for line in &bios.told {
        assert_said(text, line);
        writeln!(out, " {line}").unwrap();
    }
}

/// LBA and number of sectors that AH=02h asks for.
fn chs(registers: &Registers, geometry: &Registers) -> (u64, usize) {
    let heads = u64::from(geometry.edx >> 8 & 0xFF) + 1;
    let sectors_per_track = u64::from(geometry.ecx & 0x3F);
    let [sector, cylinder, ..] = registers.ecx.to_le_bytes().map(u64::from);
    let cylinder = cylinder | (sector & 0xC0) << 2;
    let head = u64::from(registers.edx >> 8 & 0xFF);
    let lba = (cylinder * heads + head) * sectors_per_track + (sector & 0x3F) - 1;
    (lba, (registers.eax & 0xFF) as usize)
}

fn transcripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let files = fs::read_dir(directory).expect("the directory is there");
    let paths = files.map(|file| file.expect("it can be listed").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_transcript_gives_what_it_gave() {
    let paths = transcripts();
    assert!(paths.len() >= 15);
    for path in paths {
        println!("{}", path.display());
        let out = play_back(&fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &out).unwrap();
        }
        let expected = fs::read_to_string(expected).unwrap_or_default();
        assert_eq!(out, expected, "see BLESS at the top of this file");
    }
}

/// The lines of the format, as a machine writes them.
fn write(line: &Line) -> String {
    let mut out = String::new();
    match line {
        Line::Begin(_) => transcript::begin(&mut out),
        Line::Time(milliseconds) => transcript::time(&mut out, *milliseconds),
        Line::Memory(address, bytes) => transcript::memory(&mut out, *address, bytes),
        Line::Call(call) => {
            let written = transcript::question(&mut out, call.number, &call.before, &call.sent);
            match &call.answer {
                Some((after, got)) => {
                    written.and(transcript::answer(&mut out, &call.before, after, got))
                }
                None => written,
            }
        }
    }
    .unwrap();
    out
}

#[test]
fn lines_look_as_documented() {
    assert_eq!(write(&Line::Begin(2)), "bios: transcript 2\n");
    assert_eq!(write(&Line::Time(5104)), "bios: time 5104 ms\n");
    assert_eq!(
        Line::parse("bios: transcript 2\r"),
        Some(Ok(Line::Begin(transcript::VERSION)))
    );
    let word = Line::Memory(0x413, [0x7F, 0x02, 0].into_iter().collect());
    assert_eq!(write(&word), "bios: memory 413h [7F02]\n");
    let before = Registers {
        edx: 0x80,
        esi: BUFFER_OFFSET,
        ..Registers::new(0x4800)
    };
    let after = Registers {
        eax: 0x1234_0000,
        es: 0xF000,
        eflags: 0x202,
        ..before
    };
    let mut call = Call {
        number: 0x13,
        before,
        sent: [0x1A, 0].into_iter().collect(),
        answer: None,
    };
    let half = "bios: INT 13h EAX=4800 EDX=0080 ESI=7E00 EFL=0001 [1A]";
    assert_eq!(write(&Line::Call(call.clone())), half);
    call.answer = Some((after, Bytes::new()));
    let rest = " -> EAX=12340000  ES=F000 EFL=0202 []\n";
    assert_eq!(write(&Line::Call(call)), format!("{half}{rest}"));
}

#[test]
fn comments_and_garbage() {
    for line in [
        "",
        "Bootpath 0.1.0",
        " bios: transcript 1",
        "bios:",
        "BIOS: INT 13h",
    ] {
        assert_eq!(Line::parse(line), None, "{line:?}");
    }
    for line in [
        "transcript",
        "transcript one",
        "time",
        "time 5",
        "time 5 s",
        "time -5 ms",
        "time 5 ms 6",
        "memory 413 [7F02]",
        "memory 413h",
        "memory 413h [7F0]",
        "memory 413h [7F02] [00]",
        "INT 13",
        "INT 113h",
        "INT 13h EAX",
        "INT 13h EAX=",
        "INT 13h RAX=0",
        "INT 13h EAX=123456789",
        "INT 13h DS=12345",
        "INT 13h [00 -> EAX=0",
        "INT 13h -> EAX=0 -> EAX=1",
        "INT 13h [00] EAX=0",
        "nothing at all",
    ] {
        let line = format!("{}{line}", transcript::PREFIX);
        assert_eq!(Line::parse(&line), Some(Err(Garbled)), "{line:?}");
    }
}

prop_compose! {
    fn registers()(general: [u32; 7], ds: u16, es: u16, eflags: u32, zeros: u16) -> Registers {
        let keep = |bit: usize| u32::from(zeros >> bit & 1);
        let [eax, ebx, ecx, edx, esi, edi, ebp] =
            std::array::from_fn(|i| general[i].wrapping_mul(keep(i)));
        Registers {
            eax, ebx, ecx, edx, esi, edi, ebp, eflags,
            ds: ds * keep(7) as u16,
            es: es * keep(8) as u16,
        }
    }
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..=SHOWN).prop_map(|mut bytes| {
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        bytes.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        number: u8,
        before in registers(),
        points: bool,
        sent in bytes(),
        answer in prop::option::of((registers(), bytes())),
        address: u64,
        milliseconds: u64,
    ) {
        let time = Line::Time(milliseconds);
        prop_assert_eq!(Line::parse(&write(&time)), Some(Ok(time)));

        let memory = Line::Memory(address, sent.clone());
        prop_assert_eq!(Line::parse(&write(&memory)), Some(Ok(memory)));

        let esi = if points { BUFFER_OFFSET } else { before.esi & 0xFFFF_0000 };
        let edi = before.edi & 0xFFFF_0000;
        let before = Registers { esi, edi, ..before };
        let mut call = Call { number, before, sent, answer };
        if !points {
            call.sent.clear();
            if let Some((_, bytes)) = &mut call.answer {
                bytes.clear();
            }
        }
        let line = Line::Call(call);
        prop_assert_eq!(Line::parse(&write(&line)), Some(Ok(line)));
    }

    #[test]
    fn any_text_is_a_line_or_not(text in "(bios: )?(INT |memory |transcript |time )?[ -~]*", any_text: String) {
        let _ = (Line::parse(&text), Line::parse(&any_text));
    }
}
