//! What a recorded image says of the BIOS: taken out of the log of a serial line.

use std::io::{BufRead, Write};

use anyhow::{Result, bail, ensure};
use boot_path::bios::transcript::{Line, VERSIONS};
use boot_path::errors::text::Shown;

/// What the loader prints last.
const LAST_LINE: &str = "12 handoff";

/// Copies the part of `log` that stage2 has written: from the first line of a transcript to the
/// handoff, or to the end if the machine did not get that far. If the machine was started several
/// times, copies the first start that got there, else the last one. It is written as soon as it is
/// complete; what follows is read and dropped.
///
/// # Errors
/// When there is no transcript, when one of its lines is garbled, and those of reading and writing.
pub fn extract(mut log: impl BufRead, out: &mut impl Write) -> Result<()> {
    let mut transcript = Transcript::default();
    let mut bytes = Vec::new();
    while log.read_until(b'\n', &mut bytes)? > 0 {
        // A line of a transcript is ASCII. All else is escaped, because a terminal may show it.
        let end = bytes
            .iter()
            .rposition(|byte| !matches!(byte, b'\r' | b'\n'));
        let line = &bytes[..end.map_or(0, |last| last + 1)];
        let complete = transcript.add(&Shown::new(line).to_string());
        bytes.clear();
        if complete {
            transcript.write(out)?;
            std::io::copy(&mut log, &mut std::io::sink())?;
            return Ok(());
        }
    }
    transcript.write(out)
}

#[derive(Default)]
struct Transcript {
    lines: Vec<String>,
    /// Lines of the log so far.
    number: usize,
    /// The first line that is not as it should be.
    problem: Option<String>,
    /// A call without an answer: the number of its line.
    unanswered: Option<usize>,
}

impl Transcript {
    /// Takes a line of the log. True: it is the last one.
    fn add(&mut self, line: &str) -> bool {
        self.number += 1;
        let parsed = Line::parse(line);
        if let Some(Ok(Line::Begin(_))) = parsed {
            self.lines.clear();
            (self.problem, self.unanswered) = (None, None);
        } else if self.lines.is_empty() {
            return false;
        }
        let problem = match &parsed {
            Some(Err(_)) => Some(format!("line {} is garbled: {line}", self.number)),
            Some(Ok(Line::Begin(version))) if !VERSIONS.contains(version) => {
                let (first, last) = (VERSIONS.start(), VERSIONS.end());
                Some(format!(
                    "this is version {version}, and not {first} to {last}"
                ))
            }
            Some(Ok(_)) => self
                .unanswered
                .map(|number| format!("line {number} has no answer and is not the last one")),
            None => None,
        };
        if self.problem.is_none() {
            self.problem = problem;
        }
        if let Some(Ok(Line::Call(call))) = &parsed
            && call.answer.is_none()
        {
            self.unanswered = Some(self.number);
        }
        self.lines.push(line.to_owned());
        line.starts_with(LAST_LINE)
    }

    fn write(&self, out: &mut impl Write) -> Result<()> {
        ensure!(
            !self.lines.is_empty(),
            "there is no transcript: the image has to be built with --record"
        );
        if let Some(problem) = &self.problem {
            bail!("{problem}");
        }
        for line in &self.lines {
            writeln!(out, "{line}")?;
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extracted(log: &str) -> Result<String> {
        let mut out = Vec::new();
        extract(log.as_bytes(), &mut out)?;
        Ok(String::from_utf8(out)?)
    }

    const BEGIN: &str = "bios: transcript 2\n";
    const CALL: &str = "bios: INT 16h EFL=0001 -> EAX=1C0D EFL=0202\n";

    #[test]
    fn from_the_first_line_to_the_handoff() {
        let loader = format!("{BEGIN}bios: memory 449h [03]\nBootpath\n{CALL}");
        let log = format!("SeaBIOS\r\n{loader}12 handoff  to 1h\nkernel\n{BEGIN}");
        let expected = format!("{loader}12 handoff  to 1h\n");
        assert_eq!(extracted(&log).unwrap(), expected);
        assert_eq!(extracted(&log.replace('\n', "\r\n")).unwrap(), expected);
        // Without a handoff, to the end.
        assert_eq!(extracted(&loader).unwrap(), loader);
    }

    #[test]
    fn the_boot_that_got_there_or_the_last_one() {
        let boot = format!("{BEGIN}{CALL}");
        let last = format!("{BEGIN}{CALL}error 7A\n");
        assert_eq!(extracted(&format!("{boot}reset\n{last}")).unwrap(), last);
        let last = format!("{last}12 handoff\n");
        let again = format!("{boot}reset\n{last}{boot}");
        assert_eq!(extracted(&again).unwrap(), last);
    }

    #[test]
    fn a_call_that_did_not_return_is_the_last_one() {
        let log = format!("{BEGIN}bios: INT 13h EAX=4200 EFL=0001");
        assert_eq!(extracted(&log).unwrap(), format!("{log}\n"));
        let error = extracted(&format!("{log}\n{CALL}")).unwrap_err();
        assert!(error.to_string().starts_with("line 2 has no answer"));
    }

    /// Other bytes on the line: a title, noise of the cable.
    #[test]
    fn a_terminal_may_be_shown_it() {
        let log = [BEGIN.as_bytes(), b"\x1B[2J\xFF title\r\n", CALL.as_bytes()].concat();
        let mut out = Vec::new();
        extract(log.as_slice(), &mut out).unwrap();
        let expected = format!("{BEGIN}\\x1B[2J\\xFF title\n{CALL}");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        // The same goes for error messages.
        let error = extracted(&format!("{BEGIN}bios: \x1B[2J\n")).unwrap_err();
        let expected = "line 2 is garbled: bios: \\x1B[2J";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_is_no_transcript_is_refused() {
        for (log, message) in [
            ("", "there is no transcript"),
            (CALL, "there is no transcript"),
            ("bios: transcript 3\n", "this is version 3, and not 1 to 2"),
            (
                "bios: transcript 1\nbios: INT 1",
                "line 2 is garbled: bios: INT 1",
            ),
        ] {
            let error = extracted(log).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
