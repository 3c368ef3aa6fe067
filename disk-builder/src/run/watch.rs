//! Watching a machine from outside until it ends, or until the loader has stopped.
//!
//! The serial line does not show that the loader has stopped, because a kernel may print the same.
//! Memory does:
//! - stage2 leaves a [record](stage2::error_record) in its header when a report is complete;
//! - stage1 and the boot program of a CD have no room for a record. They halt in real mode: the
//!   address where the CPU halts, the program there and the letter of the error show it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use disk_layout::{CD_BLOCK, cd, mbr, stage2};

use super::qmp::{Heard, Message, Qmp};
use super::status::LoaderError;
use crate::signals::Running;

/// How often the machine's memory is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// How long to wait for the answer that says where the CPU was when time is up.
const LAST_ANSWER: Duration = Duration::from_millis(500);
/// How often QEMU is polled when it has closed the connection.
const PAUSE: Duration = Duration::from_millis(5);

/// How watching ended.
#[derive(Debug)]
pub enum End {
    /// QEMU ended.
    Qemu {
        /// Its exit status.
        status: ExitStatus,
        /// Whether the machine had started.
        started: bool,
        /// Why the machine was shut down, in QEMU's words; `None`: it said nothing.
        reason: Option<String>,
    },
    /// The loader has stopped. QEMU runs on.
    LoaderError(LoaderError),
    /// Time is up. QEMU runs on; its CPU was there, and did or did not wait for an interrupt.
    TimeOut(Option<(u64, bool)>),
}

/// What QEMU was asked, and has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Negotiation,
    Header,
    Registers,
    Program,
}

/// Watches a machine.
pub struct Watch<'a> {
    qemu: &'a Running,
    qmp: Qmp,
    /// The programs that may stop in real mode.
    programs: Programs,
    asked: Option<Question>,
    started: bool,
    reason: Option<String>,
    closed: bool,
    /// What the last look found.
    found: Option<LoaderError>,
    /// An error that was found twice: between two looks, QEMU has passed on all that it printed.
    confirmed: Option<LoaderError>,
}

impl<'a> Watch<'a> {
    /// Watches a QEMU that was just started.
    pub fn new(qemu: &'a Running, mut qmp: Qmp, programs: Programs) -> Self {
        qmp.negotiate();
        Self {
            qemu,
            qmp,
            programs,
            asked: Some(Question::Negotiation),
            started: false,
            reason: None,
            closed: false,
            found: None,
            confirmed: None,
        }
    }

    /// Watches until QEMU ends or `deadline` is reached. `loader_error`: whether a loader error is
    /// an end, too.
    ///
    /// # Errors
    /// When the system does not say whether QEMU has ended.
    pub fn until(&mut self, deadline: Option<Instant>, loader_error: bool) -> io::Result<End> {
        let mut next_look = Instant::now();
        loop {
            if let Some(status) = self.qemu.child().try_wait()? {
                self.hear_the_rest();
                return Ok(End::Qemu {
                    status,
                    started: self.started,
                    reason: self.reason.take(),
                });
            }
            if loader_error && let Some(error) = self.confirmed.take() {
                return Ok(End::LoaderError(error));
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Ok(End::TimeOut(self.place()));
            }
            if self.asked.is_none() && now >= next_look {
                self.ask(Question::Header);
                next_look = now + LOOK;
            }
            let until = deadline.map_or(now + LOOK, |deadline| deadline.min(now + LOOK));
            let until = match self.asked {
                None => until.min(next_look),
                Some(_) => until,
            };
            if let Some((question, answer)) = self.hear(until) {
                self.take(question, &answer);
            }
        }
    }

    /// Asks QEMU to end. It passes on what was printed, and gives the terminal back its settings. (A
    /// signal would do as well, but QEMU says that it got one.)
    pub fn quit(&mut self) {
        self.qmp.quit();
        let limit = Instant::now() + LAST_ANSWER;
        while let Ok(None) = self.qemu.child().try_wait()
            && Instant::now() < limit
        {
            thread::sleep(PAUSE);
        }
    }

    /// Waits for an answer, and notes events.
    fn hear(&mut self, until: Instant) -> Option<(Question, String)> {
        if self.closed {
            // It is ending.
            thread::sleep(PAUSE);
            return None;
        }
        match self.qmp.hear(until) {
            Heard::Message(Message::Answer(text)) => Some((self.asked.take()?, text)),
            Heard::Message(Message::Event(name, reason)) => {
                if name == "SHUTDOWN" {
                    self.reason = Some(reason);
                }
                None
            }
            Heard::Nothing => None,
            Heard::Closed => {
                self.closed = true;
                None
            }
        }
    }

    /// Hears what QEMU had said before it ended.
    fn hear_the_rest(&mut self) {
        let limit = Instant::now() + LAST_ANSWER;
        while !self.closed && Instant::now() < limit {
            if let Some((Question::Negotiation, _)) = self.hear(limit) {
                self.started = true;
            }
        }
    }

    fn ask(&mut self, question: Question) {
        let command = match question {
            Question::Negotiation => return,
            Question::Header => format!(
                "xp /{}xb {:#x}",
                size_of::<disk_layout::Stage2Header>(),
                stage2::LOAD_ADDRESS
            ),
            Question::Registers => "info registers".into(),
            Question::Program => format!(
                "xp /{}xb {:#x}",
                i32::from(-mbr::frame::LETTER) as usize + cd::CODE_END,
                i64::from(mbr::LOAD_ADDRESS) + i64::from(mbr::frame::LETTER)
            ),
        };
        self.qmp.command(&command);
        self.asked = Some(question);
    }

    fn take(&mut self, question: Question, answer: &str) {
        match question {
            // QEMU answers when the machine is complete and its arguments were accepted.
            Question::Negotiation => self.started = true,
            Question::Header => match stage2::error_record(&bytes(answer)) {
                Some(code) => self.found(Some(LoaderError {
                    code: code.to_owned(),
                    bios_status: None,
                })),
                None => self.ask(Question::Registers),
            },
            Question::Registers => match Registers::of(answer) {
                Some(registers) if self.programs.halts_at(&registers).is_some() => {
                    self.ask(Question::Program);
                }
                _ => self.found(None),
            },
            Question::Program => self.found(self.programs.error(&bytes(answer))),
        }
    }

    /// Takes the result of a look.
    fn found(&mut self, error: Option<LoaderError>) {
        if error.is_some() && error == self.found {
            self.confirmed.clone_from(&error);
        }
        self.found = error;
    }

    /// Where the CPU is.
    fn place(&mut self) -> Option<(u64, bool)> {
        let limit = Instant::now() + LAST_ANSWER;
        let mut wanted = false;
        while self.started && !self.closed && Instant::now() < limit {
            if self.asked.is_none() {
                self.ask(Question::Registers);
                wanted = true;
            }
            match self.hear(limit) {
                Some((Question::Registers, answer)) if wanted => {
                    let registers = Registers::of(&answer)?;
                    return Some((registers.address(), registers.halted));
                }
                Some(_) | None => {}
            }
        }
        None
    }
}

/// The bytes that `xp` shows: `00008000: 0x42 0x50`.
fn bytes(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .filter_map(|word| word.strip_prefix("0x"))
        .filter_map(|digits| u8::from_str_radix(digits, 16).ok())
        .collect()
}

/// What `info registers` says of the first CPU, as far as it is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Registers {
    instruction_pointer: u64,
    cs_base: u64,
    protected: bool,
    halted: bool,
}

impl Registers {
    fn of(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let behind = text.split(name).nth(1)?;
            behind.split(|c: char| !c.is_ascii_hexdigit()).next()
        };
        let number = |name: &str| u64::from_str_radix(value(name)?, 16).ok();
        // `CS =SELECTOR BASE LIMIT FLAGS`
        let cs = text.split("CS =").nth(1)?;
        Some(Self {
            instruction_pointer: number("RIP=").or_else(|| number("EIP="))?,
            cs_base: u64::from_str_radix(cs.split_whitespace().nth(1)?, 16).ok()?,
            protected: number("CR0=")? & 1 != 0,
            halted: number("HLT=")? == 1,
        })
    }

    /// The linear address of the next instruction.
    fn address(&self) -> u64 {
        self.cs_base.wrapping_add(self.instruction_pointer)
    }
}

/// `hlt`, and a short jump back to it.
const HALT: [u8; 3] = [0xF4, 0xEB, 0xFD];

/// What these programs print in front of an error's letter: the step's number ends it.
const MESSAGE: &[u8] = b"error 1";

/// The programs of step 1 that an image holds: what the BIOS loads to [`mbr::LOAD_ADDRESS`].
#[derive(Clone, Debug, Default)]
pub struct Programs {
    programs: Vec<Vec<u8>>,
}

impl Programs {
    /// Those of an image: what is in its first sector, and where a CD of `disk-builder` has one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(image: &mut File) -> io::Result<Self> {
        let mut programs = Vec::new();
        let places = [
            (0, mbr::CODE_END),
            (u64::from(cd::PROGRAM_BLOCK) * CD_BLOCK as u64, cd::CODE_END),
        ];
        for (offset, length) in places {
            let mut program = Vec::new();
            image.seek(SeekFrom::Start(offset))?;
            image
                .by_ref()
                .take(length as u64)
                .read_to_end(&mut program)?;
            programs.push(program);
        }
        Ok(Self::from_bytes(programs))
    }

    /// Keeps only programs that report an error and halt.
    fn from_bytes(mut programs: Vec<Vec<u8>>) -> Self {
        programs.retain(|program| {
            let has = |bytes: &[u8]| program.windows(bytes.len()).any(|part| part == bytes);
            has(&HALT) && has(MESSAGE)
        });
        Self { programs }
    }

    /// The program that may have halted the CPU: its halt loop is at this address.
    fn halts_at(&self, registers: &Registers) -> Option<&Vec<u8>> {
        if registers.protected || !registers.halted {
            return None;
        }
        // The address is the one behind HLT.
        let offset = registers
            .address()
            .checked_sub(u64::from(mbr::LOAD_ADDRESS) + 1)?;
        let offset = usize::try_from(offset).ok()?;
        self.programs.iter().find(|program| {
            let there = program.get(offset..);
            there.is_some_and(|bytes| bytes.starts_with(&HALT))
        })
    }

    /// The error that such a program has stopped with, by the memory from [`mbr::frame::LETTER`] on.
    fn error(&self, memory: &[u8]) -> Option<LoaderError> {
        let program = memory.get(usize::try_from(-mbr::frame::LETTER).ok()?..)?;
        // BIOSes may change the BPB area in memory.
        let is_there = |known: &Vec<u8>| {
            let code = known.get(mbr::BPB_AREA.end..);
            code.is_some_and(|code| {
                program
                    .get(mbr::BPB_AREA.end..)
                    .is_some_and(|there| there.starts_with(code))
            })
        };
        let (&letter, &status) = (memory.first()?, memory.get(1)?);
        let is_one = self.programs.iter().any(is_there) && letter.is_ascii_uppercase();
        is_one.then(|| LoaderError {
            code: format!("1{}", char::from(letter)),
            bios_status: Some(status),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL_MODE: &str = "\r\n\
        EAX=00000e44 EBX=00000007 ECX=00000000 EDX=000003f8\r\n\
        EIP=00007c99 EFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\
        ES =0000 00000000 0000ffff 00009300\r\n\
        CS =0000 00000000 0000ffff 00009b00\r\n\
        CR0=00000010 CR2=00000000 CR3=00000000 CR4=00000000\r\n";
    const LONG_MODE: &str = "\r\n\
        RAX=0000000000000000 RBX=0000000000000000 RCX=0000000000000000 RDX=0000000000000000\r\n\
        RIP=ffffffff8000123f RFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\r\n\
        CS =0008 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\r\n\
        CR0=80010033 CR2=0000000000000000 CR3=0000000000170000 CR4=000006a0\r\n";

    #[test]
    fn registers_are_read() {
        assert_eq!(
            Registers::of(REAL_MODE),
            Some(Registers {
                instruction_pointer: 0x7C99,
                cs_base: 0,
                protected: false,
                halted: true
            })
        );
        assert_eq!(
            Registers::of(LONG_MODE),
            Some(Registers {
                instruction_pointer: 0xFFFF_FFFF_8000_123F,
                cs_base: 0,
                protected: true,
                halted: false
            })
        );
        assert_eq!(Registers::of("unknown command: 'info registers'"), None);
    }

    #[test]
    fn a_record_is_a_code_behind_the_magic_number() {
        let header = |magic: &[u8; 4], record: &[u8; 4]| {
            let mut header = vec![0; size_of::<disk_layout::Stage2Header>()];
            header[..4].copy_from_slice(magic);
            header[stage2::ERROR_OFFSET..][..4].copy_from_slice(record);
            header
        };
        let record =
            |magic, record| stage2::error_record(&header(magic, record)).map(str::to_owned);
        assert_eq!(record(b"BPS2", b"8A: ").as_deref(), Some("8A"));
        assert_eq!(record(b"BPS2", b"12A:").as_deref(), Some("12A"));
        // There is no record, it is not complete, or the memory is something else's.
        for bad in [
            &[0; 4],
            b"12\0\0",
            b"12AA",
            b":::: ".first_chunk().unwrap(),
            b"\xFFA: ",
        ] {
            assert_eq!(record(b"BPS2", bad), None, "{bad:?}");
        }
        assert_eq!(record(b"BPS3", b"8A: "), None);
        assert_eq!(stage2::error_record(b"BPS2"), None);
    }

    #[test]
    fn bytes_are_read() {
        let text = "0000000000008000: 0x42 0x50 0x53 0x32\r\n0000000000008004: 0x00\r\n";
        assert_eq!(bytes(text), [0x42, 0x50, 0x53, 0x32, 0]);
        assert!(bytes("Cannot access memory\r\n").is_empty());
    }

    /// A program that ends in its halt loop, and the offset of that.
    fn program(message: &[u8]) -> (Vec<u8>, u64) {
        let mut program = vec![0x90; 0x98];
        program.extend_from_slice(&HALT);
        program.extend_from_slice(message);
        program.resize(mbr::CODE_END, 0);
        (program, 0x98)
    }

    #[test]
    fn a_halted_step_1_is_known_by_its_place_and_its_bytes() {
        let (program, halt) = program(b"\r\nerror 1");
        let programs = Programs::from_bytes(vec![program.clone()]);
        let at = |instruction_pointer, cs_base| Registers {
            instruction_pointer,
            cs_base,
            protected: false,
            halted: true,
        };
        let halted = at(0x7C00 + halt + 1, 0);
        assert!(programs.halts_at(&halted).is_some());
        assert!(programs.halts_at(&at(halt + 1, 0x7C00)).is_some());
        assert!(programs.halts_at(&at(0x7C00 + halt, 0)).is_none());
        assert!(programs.halts_at(&at(0, 0)).is_none());
        for other in [
            Registers {
                protected: true,
                ..halted
            },
            Registers {
                halted: false,
                ..halted
            },
        ] {
            assert!(programs.halts_at(&other).is_none());
        }

        let mut memory = vec![0; usize::try_from(-mbr::frame::LETTER).unwrap()];
        memory[0] = b'B';
        memory[1] = 0x0C;
        memory.extend_from_slice(&program);
        memory.resize(memory.len() + 1000, 0xFF);
        let error = LoaderError {
            code: "1B".into(),
            bios_status: Some(0x0C),
        };
        assert_eq!(programs.error(&memory), Some(error.clone()));
        // A BIOS may change the BPB area.
        let start = memory.len() - program.len() - 1000;
        memory[start + mbr::BPB_AREA.start] ^= 1;
        assert_eq!(programs.error(&memory), Some(error));
        memory[start + mbr::BPB_AREA.end] ^= 1;
        assert_eq!(programs.error(&memory), None);
        assert_eq!(programs.error(&[]), None);
    }

    #[test]
    fn other_boot_sectors_are_of_no_interest() {
        let (other, halt) = program(b"Missing operating system");
        let programs = Programs::from_bytes(vec![other, Vec::new()]);
        let halted = Registers {
            instruction_pointer: 0x7C00 + halt + 1,
            cs_base: 0,
            protected: false,
            halted: true,
        };
        assert!(programs.halts_at(&halted).is_none());
    }
}
