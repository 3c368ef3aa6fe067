//! QEMU's machine protocol: one object of JSON a line, over a socket that only this program and QEMU
//! have. (QEMU's manual, "QEMU Machine Protocol Specification".)
//!
//! The socket is a pair that was connected before QEMU started, and QEMU inherits one end. So there
//! is no name that could be too long, be there already, or be found by somebody else, and the user's
//! own `-monitor` and `-qmp` are left alone.

use std::ffi::OsString;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::{Value, json};

/// Name of the character device: nobody else's.
const ID: &str = "disk-builder-qmp";

/// This program's end.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    /// What came and is not a whole line yet.
    input: Vec<u8>,
}

/// What QEMU says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The answer to a command: its text, which is empty where there is nothing to say.
    Answer(String),
    /// Something happened: its name, and its reason where it has one.
    Event(String, String),
}

/// What came of waiting for a [`Message`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This.
    Message(Message),
    /// Nothing in time.
    Nothing,
    /// QEMU has closed its end, and will say nothing more.
    Closed,
}

impl Qmp {
    /// A connection for a QEMU that is not started yet: this program's end; QEMU's, which has to stay
    /// open until QEMU runs, and be closed then; and the arguments that tell QEMU of it.
    ///
    /// # Errors
    /// When the system has no sockets left.
    pub fn connect() -> io::Result<(Self, OwnedFd, Vec<OsString>)> {
        let (stream, theirs) = UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        fcntl_setfd(&theirs, FdFlags::empty())?;
        let arguments = vec![
            "-chardev".into(),
            format!("socket,id={ID},fd={}", theirs.as_raw_fd()).into(),
            "-mon".into(),
            format!("chardev={ID},mode=control").into(),
        ];
        let input = Vec::new();
        Ok((Self { stream, input }, theirs, arguments))
    }

    /// Begins: until then, QEMU takes no other command.
    pub fn negotiate(&mut self) {
        self.send(&json!({ "execute": "qmp_capabilities" }));
    }

    /// Gives a command of the human monitor. Its text is the next [`Message::Answer`].
    pub fn command(&mut self, command: &str) {
        self.send(&json!({
            "execute": "human-monitor-command",
            "arguments": { "command-line": command },
        }));
    }

    /// Asks QEMU to end.
    pub fn quit(&mut self) {
        self.send(&json!({ "execute": "quit" }));
    }

    /// Sending to a QEMU that has ended is not an error: [`hear`](Self::hear) reports the end.
    fn send(&mut self, command: &Value) {
        let _ = self.stream.write_all(format!("{command}\n").as_bytes());
    }

    /// Waits for the next message.
    pub fn hear(&mut self, until: Instant) -> Heard {
        loop {
            while let Some(line) = self.line() {
                if let Some(message) = Message::of(&line) {
                    return Heard::Message(message);
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            // Zero would be "for ever".
            let left = left.max(Duration::from_millis(1));
            let mut buffer = [0; 4096];
            let read = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(&mut buffer));
            match read {
                Ok(0) => return Heard::Closed,
                Ok(length) => self.input.extend_from_slice(&buffer[..length]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Heard::Nothing,
                    ErrorKind::Interrupted => {}
                    _ => return Heard::Closed,
                },
            }
        }
    }

    /// Takes a whole line.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.input.iter().position(|&byte| byte == b'\n')?;
        let rest = self.input.split_off(end + 1);
        Some(std::mem::replace(&mut self.input, rest))
    }
}

impl Message {
    /// `None`: the greeting, or what a newer QEMU says besides.
    fn of(line: &[u8]) -> Option<Self> {
        let message: Value = serde_json::from_slice(line).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if let Some(event) = message["event"].as_str() {
            return Some(Self::Event(event.into(), text(&message["data"]["reason"])));
        }
        let answer = message.get("return").map(text);
        // A command that fails has nothing to say.
        answer
            .or_else(|| message.get("error").map(|_| String::new()))
            .map(Self::Answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Qmp, UnixStream) {
        let (stream, qemu) = UnixStream::pair().unwrap();
        let input = Vec::new();
        (Qmp { stream, input }, qemu)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn messages_are_lines_however_they_arrive() {
        let (mut qmp, mut qemu) = pair();
        qemu.write_all(b"{\"QMP\": {\"version\": {}}}\r\n{\"return\"")
            .unwrap();
        assert_eq!(qmp.hear(soon()), Heard::Nothing);
        qemu.write_all(b": {}}\r\n{\"return\": \"text\\r\\n\"}\r\n{\"event\": \"RESUME\"}\r\n")
            .unwrap();
        qemu.write_all(b"{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n")
            .unwrap();
        qemu.write_all(b"{\"error\": {\"class\": \"GenericError\"}}\n")
            .unwrap();
        for expected in [
            Message::Answer(String::new()),
            Message::Answer("text\r\n".into()),
            Message::Event("RESUME".into(), String::new()),
            Message::Event("SHUTDOWN".into(), "guest-reset".into()),
            Message::Answer(String::new()),
        ] {
            assert_eq!(qmp.hear(soon()), Heard::Message(expected));
        }
        drop(qemu);
        assert_eq!(qmp.hear(soon()), Heard::Closed);
        qmp.command("quit");
    }
}
