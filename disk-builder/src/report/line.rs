//! What a run tells programs: a JSON object a line.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::json;
use crate::run::{Options, Outcome, Status};

/// One line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Line<'a> {
    /// The run begins.
    Started {
        version: &'static str,
        kind: &'static str,
        name: &'a str,
        file: String,
        settings: Option<String>,
        command_line: String,
        timeout: Option<u64>,
    },
    /// A line came over the serial line.
    Serial {
        seconds: f64,
        text: String,
        hex: Option<String>,
        complete: bool,
    },
    /// The run is over.
    Ended {
        name: &'a str,
        file: String,
        status: &'static str,
        code: u8,
        seconds: f64,
        message: String,
        value: Option<u8>,
        error: Option<String>,
    },
}

impl<'a> Line<'a> {
    /// The line for the beginning.
    pub fn started(
        name: &'a str,
        is_test: bool,
        options: &Options,
        settings: Option<&Path>,
    ) -> Self {
        let words = options.words.iter().map(|word| word.to_string_lossy());
        Self::Started {
            version: env!("CARGO_PKG_VERSION"),
            kind: if is_test { "test" } else { "run" },
            name,
            file: shown(&real(&options.file)),
            settings: settings.map(shown),
            command_line: words.collect::<Vec<_>>().join(" "),
            timeout: options.timeout.map(|timeout| timeout.as_secs()),
        }
    }

    /// The line for a line of the kernel. `complete`: it has an end.
    pub fn serial(seconds: f64, bytes: &[u8], complete: bool) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let is_lossy = text.as_bytes() != bytes;
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::Serial {
            seconds,
            text,
            hex: is_lossy.then(hex),
            complete,
        }
    }

    /// The line for the end. `outcome`, or why there is none.
    pub fn ended(
        name: &'a str,
        file: &Path,
        seconds: f64,
        outcome: Result<&Outcome, String>,
    ) -> Self {
        let status = outcome.as_ref().map_or(Status::NotRun, |it| it.status());
        let (value, error) = match &outcome {
            Ok(Outcome::Reported(value)) => (Some(*value), None),
            Ok(Outcome::LoaderError(error)) => (None, Some(error.code.clone())),
            _ => (None, None),
        };
        Self::Ended {
            name,
            file: shown(&real(file)),
            status: status.name(),
            code: status.code(),
            seconds,
            message: outcome.map_or_else(|why| why, ToString::to_string),
            value,
            error,
        }
    }

    /// As JSON, in one line.
    pub fn to_json(&self) -> String {
        // There are no maps in it, whose keys could be no strings.
        json::shown(&serde_json::to_string(self).unwrap_or_default())
    }
}

/// The whole path of a file that is there.
fn real(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_one_line_of_json() {
        let line = |bytes: &[u8]| Line::serial(0.5, bytes, true).to_json();
        assert_eq!(
            line(b"say \"hi\"\\"),
            r#"{"event":"serial","seconds":0.5,"text":"say \"hi\"\\","hex":null,"complete":true}"#
        );
        for bytes in [
            &b"\x1b[2J\x00\x7F\x0b"[..],
            "\u{9b}31m \u{202e} ä".as_bytes(),
            b"\xFF\xFE half \xC3",
            b"a\rb\nc",
        ] {
            let text = line(bytes);
            assert!(!text.contains(char::is_control), "{text:?}");
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let back = match value["hex"].as_str() {
                None => value["text"].as_str().unwrap().as_bytes().to_owned(),
                Some(hex) => (0..hex.len() / 2)
                    .map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap())
                    .collect(),
            };
            assert_eq!(back, bytes, "{text}");
        }
    }
}
