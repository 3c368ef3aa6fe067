//! A machine that is switched on: its serial line, its screen and its end.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use disk_builder::run::{EXIT_OKAY, Ending};
use tempfile::TempDir;

use super::picture::Picture;
use super::{COLUMNS, DRIVE, POLL, ROWS, TEXT_MEMORY, line, monitor, serial};

/// A machine that is switched on. It is switched off when it goes out of scope.
pub struct Running {
    child: Child,
    deadline: Instant,
    directory: TempDir,
    line: Option<UnixStream>,
}

impl Running {
    pub(super) fn start(
        mut command: Command,
        directory: TempDir,
        time_limit: Duration,
    ) -> Result<Self> {
        let log = File::create(directory.path().join("log"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        Ok(Self {
            child,
            deadline: Instant::now() + time_limit,
            directory,
            line: None,
        })
    }

    /// Types a line on the serial line of a machine with [`Machine::typing`].
    ///
    /// # Errors
    /// When QEMU does not take it.
    ///
    /// [`Machine::typing`]: super::Machine::typing
    pub fn type_line(&mut self, text: &str) -> Result<()> {
        if self.line.is_none() {
            let stream = UnixStream::connect(line(&self.directory)).context("no serial line")?;
            // The machine waits if nobody reads what it says. All of it is in the file as well.
            let mut output = stream.try_clone()?;
            thread::spawn(move || io::copy(&mut output, &mut io::sink()));
            self.line = Some(stream);
        }
        let mut stream = self.line.as_ref().context("no serial line")?;
        stream
            .write_all(format!("{text}\n").as_bytes())
            .context("nobody reads the serial line")
    }

    /// All output on the first serial line so far.
    pub fn serial(&self) -> String {
        let bytes = fs::read(serial(&self.directory)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `text` has come over the serial line, and returns all that came.
    ///
    /// # Errors
    /// When the machine ends or its time is up before that; the message holds what came instead.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        self.wait_for_one_of(&[text])
    }

    /// Waits until one of `texts` has come over the serial line, and returns all that came.
    ///
    /// # Errors
    /// As [`Running::wait_for`].
    pub fn wait_for_one_of(&mut self, texts: &[&str]) -> Result<String> {
        let there = |serial: &str| texts.iter().any(|text| serial.contains(text));
        self.wait_until(&format!("{texts:?}"), there)
    }

    /// Waits until the output on the serial line is enough, and returns it. `what`: what is missing
    /// otherwise.
    ///
    /// # Errors
    /// As [`Running::wait_for`].
    pub fn wait_until(&mut self, what: &str, enough: impl Fn(&str) -> bool) -> Result<String> {
        loop {
            let status = self.child.try_wait()?;
            let serial = self.serial();
            if enough(&serial) {
                return Ok(serial);
            }
            if let Some(status) = status {
                bail!("ended ({status}) without {what}\n{}", self.evidence());
            }
            self.sleep(|| format!("no {what}"))?;
        }
    }

    /// Waits until `is_it` accepts the output on the serial line, until the machine ends, or until
    /// it shows that there is nothing to boot. It is not an error if the time is up before that.
    /// Returns how the machine ended, if it did.
    ///
    /// # Errors
    /// When the emulator cannot be asked.
    pub fn watch_for(&mut self, is_it: impl Fn(&str) -> bool) -> Result<Option<Ending>> {
        let mut polls = 0_u32;
        loop {
            // The status is read first, because output precedes the end.
            let status = self.child.try_wait()?;
            if is_it(&self.serial()) {
                return Ok(None);
            }
            if let Some(status) = status {
                return Ok(Some(Ending::of(status)));
            }
            polls += 1;
            let ask = polls.is_multiple_of(200);
            let screen = if ask { self.screen() } else { Ok(Vec::new()) };
            let nothing = |line: &String| line == "No bootable device.";
            let over = screen.is_ok_and(|screen| screen.iter().any(nothing));
            if over || self.sleep(String::new).is_err() {
                return Ok(None);
            }
        }
    }

    /// Waits while `go_on` says so, or until the machine ends. It is not an error if the time is up
    /// before that. Returns how the machine ended, if it did.
    ///
    /// # Errors
    /// When the emulator cannot be asked.
    pub fn watch_while(&mut self, mut go_on: impl FnMut(&Self) -> bool) -> Result<Option<Ending>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(Ending::of(status)));
            }
            if !go_on(self) || self.sleep(String::new).is_err() {
                return Ok(None);
            }
        }
    }

    /// Waits until the last line of the screen is one of `lines` and has ended, and returns the
    /// screen. QEMU only.
    ///
    /// The line below it is blank then: while a screen scrolls, its last row still has its old
    /// text, and a row further up exists twice.
    ///
    /// # Errors
    /// When the machine ends or its time is up before that; the message holds what it shows
    /// instead.
    pub fn wait_for_line(&mut self, lines: &[&str]) -> Result<Vec<String>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) without {lines:?}\n{}", self.evidence());
            }
            // The monitor may not be there yet.
            let screen = self.screen().unwrap_or_default();
            let mut rows = screen.iter().rev();
            let blank = rows.next().is_some_and(String::is_empty);
            let last = rows.find(|row| !row.is_empty());
            if blank && last.is_some_and(|row| lines.contains(&row.as_str())) {
                return Ok(screen);
            }
            self.sleep(|| format!("no {lines:?} on the screen"))?;
        }
    }

    /// Waits until a line of the screen begins with `text`. QEMU only.
    ///
    /// # Errors
    /// When the machine ends or its time is up before that; the message holds what it shows
    /// instead.
    pub fn wait_for_screen(&mut self, text: &str) -> Result<()> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) without {text:?}\n{}", self.evidence());
            }
            // The monitor may not be there yet.
            let screen = self.screen().unwrap_or_default();
            if screen.iter().any(|row| row.starts_with(text)) {
                return Ok(());
            }
            self.sleep(|| format!("no {text:?} on the screen"))?;
        }
    }

    /// Sleeps a little, unless the time is up.
    fn sleep(&self, what: impl Fn() -> String) -> Result<()> {
        ensure!(
            Instant::now() < self.deadline,
            "{} in time\n{}",
            what(),
            self.evidence()
        );
        sleep(POLL);
        Ok(())
    }

    /// Waits until the machine ends by itself.
    ///
    /// # Errors
    /// When its time is up before that; the message holds what came over the serial line.
    pub fn wait(&mut self) -> Result<Ending> {
        self.wait_for_exit().map(Ending::of)
    }

    /// Waits until it ends, and returns all that came over the serial line.
    ///
    /// # Errors
    /// Those of [`wait`](Self::wait), and when the kernel has reported anything but success.
    pub fn okay(&mut self) -> Result<String> {
        let ending = self.wait()?;
        let transcript = self.serial();
        ensure!(
            ending == Ending::Guest(EXIT_OKAY),
            "{ending:?}\n{transcript}"
        );
        Ok(transcript)
    }

    fn wait_for_exit(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            self.sleep(|| "did not end".to_owned())?;
        }
    }

    /// What is on the screen in text mode: 25 lines, without the blanks at their ends. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn screen(&self) -> Result<Vec<String>> {
        let memory = self.text_memory()?;
        let line = |row: &[u8]| {
            let text: String = row
                .chunks_exact(2)
                .map(|cell| match cell[0] {
                    0x20..0x7F => cell[0].into(),
                    0xE6 => 'µ', // code page 437
                    _ => ' ',
                })
                .collect();
            text.trim_end().to_owned()
        };
        Ok(memory.chunks_exact(2 * COLUMNS).map(line).collect())
    }

    /// The text memory: a character and its attribute for each cell. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn text_memory(&self) -> Result<Vec<u8>> {
        self.memory(TEXT_MEMORY.into(), 2 * COLUMNS * ROWS)
    }

    /// So many bytes from a physical address on. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn memory(&self, start: u64, size: usize) -> Result<Vec<u8>> {
        let path = self.directory.path().join("memory");
        self.monitor(&format!(
            "pmemsave {start:#x} {size} \"{}\"",
            path.display()
        ))?;
        let memory = fs::read(&path)?;
        ensure!(memory.len() == size, "QEMU saved {} bytes", memory.len());
        Ok(memory)
    }

    /// Waits until the text memory begins with one of these rows of cells. Returns which one it
    /// was. QEMU only.
    ///
    /// # Errors
    /// As [`Running::wait_for_line`].
    pub fn wait_for_cells(&mut self, cells: &[&[u8]]) -> Result<usize> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("ended ({status}) without {cells:02x?}\n{}", self.evidence());
            }
            // The monitor may not be there yet.
            let memory = self.text_memory().unwrap_or_default();
            if let Some(found) = cells.iter().position(|cells| memory.starts_with(cells)) {
                return Ok(found);
            }
            self.sleep(|| format!("no {cells:02x?} in the text memory"))?;
        }
    }

    /// What is on the screen, in any mode. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn picture(&self) -> Result<Picture> {
        let path = self.directory.path().join("picture");
        self.monitor(&format!("screendump \"{}\"", path.display()))?;
        Picture::read(&fs::read(&path)?).context("QEMU has saved no picture")
    }

    /// Whether the cursor of VGA text is switched off (bit 5 of the CRT controller's register 0Ah).
    /// QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn cursor_is_hidden(&self) -> Result<bool> {
        self.monitor("o/b 0x3d4 0x0a")?;
        let answer = self.monitor("i/b 0x3d5")?;
        let start = answer
            .rsplit_once("= 0x")
            .and_then(|(_, digits)| u8::from_str_radix(digits.get(..2)?, 16).ok());
        let start = start.with_context(|| format!("QEMU says {answer:?}"))?;
        Ok(start & 1 << 5 != 0)
    }

    /// Presses and releases a key, by the name that QEMU has for it (`ret`, `a`). QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn press(&self, key: &str) -> Result<()> {
        self.monitor(&format!("sendkey {key}")).map(drop)
    }

    /// Pulls the drive that the machine was booted from, which must be on USB.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer, or there is no such device.
    pub fn pull_drive(&self) -> Result<()> {
        let answer = self.monitor(&format!("device_del {DRIVE}"))?;
        ensure!(!answer.contains("Error"), "{answer}");
        Ok(())
    }

    /// The first processor's registers, as QEMU prints them. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn registers(&self) -> Result<String> {
        self.monitor("info registers")
    }

    /// Whether QEMU has stopped the machine, as it does with `-no-shutdown` when the guest resets it
    /// or switches it off. QEMU only.
    ///
    /// # Errors
    /// When QEMU's monitor does not answer.
    pub fn is_paused(&self) -> Result<bool> {
        Ok(self.monitor("info status")?.contains("paused"))
    }

    /// What the emulator itself has printed.
    pub fn log(&self) -> String {
        let log = fs::read(self.directory.path().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Gives QEMU's monitor a command and waits until it is done.
    fn monitor(&self, command: &str) -> Result<String> {
        const PROMPT: &str = "(qemu) ";
        let mut stream = UnixStream::connect(monitor(&self.directory)).context("no monitor")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        // One prompt is in front of the answer, and one behind it.
        while answer.matches(PROMPT).count() < 2 {
            let length = stream
                .read(&mut buffer)
                .context("QEMU's monitor does not answer")?;
            ensure!(length > 0, "QEMU's monitor closed the connection");
            answer += &String::from_utf8_lossy(&buffer[..length]);
        }
        Ok(answer)
    }

    /// The evidence in the error message about a machine that did not do what it should.
    fn evidence(&self) -> String {
        let log = self.log();
        let screen = self.screen().unwrap_or_default().join("\n");
        format!(
            "--- serial line\n{}\n--- screen\n{}\n--- emulator\n{}",
            self.serial().trim_end(),
            screen.trim_end(),
            log.trim_end()
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This fails if the machine has ended by itself, and cannot be reported otherwise.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
