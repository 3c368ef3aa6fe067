//! Reading the settings out of a Cargo.toml, with the place of everything that is wrong.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, Kind, MODULE_KEYS, TEST, nearest};
use super::problem::Problem;
use super::{Choices, Settings};
use crate::image::Module;

type Value<'a> = Spanned<DeValue<'a>>;

/// A Cargo.toml.
pub struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl<'a> Reader<'a> {
    /// A file with this text.
    pub fn new(path: &'a Path, text: &'a str) -> Self {
        Self { path, text }
    }

    /// The settings, if the file has any.
    ///
    /// # Errors
    /// The first thing that is wrong with them, or with the file.
    pub fn settings(&self) -> Result<Option<Settings>, Problem> {
        let all = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().unwrap_or_default();
            self.problem(&at, error.message())
        })?;
        let package = all.get_ref().get("package");
        let metadata = package.and_then(|value| value.get_ref().as_table()?.get("metadata"));
        let Some(value) = metadata.and_then(|value| value.get_ref().as_table()?.get("bootpath"))
        else {
            return Ok(None);
        };
        let table = self.table("package.metadata.bootpath", value)?;
        let all = self.choices(table, &KEYS)?;
        let test = match table.get(TEST) {
            Some(value) => {
                let keys: Vec<_> = KEYS.into_iter().filter(|key| key.name != TEST).collect();
                self.choices(self.table(TEST, value)?, &keys)?
            }
            None => Choices::default(),
        };
        Ok(Some(Settings {
            manifest: Some(self.path.to_owned()),
            all,
            test,
        }))
    }

    fn problem(&self, at: &Range<usize>, message: impl Into<String>) -> Problem {
        Problem::new(self.path, self.text, at.clone(), message.into())
    }

    /// The problem that a value is none that its key takes.
    fn wrong(&self, name: &str, takes: &str, value: &Value<'_>) -> Problem {
        let what = match value.get_ref() {
            DeValue::Integer(number) => format!("{number}"),
            DeValue::Float(number) => format!("{number}"),
            DeValue::Boolean(value) => format!("{value}"),
            DeValue::Datetime(time) => format!("{time}"),
            DeValue::String(text) => format!("{text:?}"),
            DeValue::Array(_) => "an array".into(),
            DeValue::Table(_) => "a table".into(),
        };
        self.problem(&value.span(), format!("`{name}` takes {takes}, not {what}"))
    }

    fn table<'v>(&self, name: &str, value: &'v Value<'a>) -> Result<&'v DeTable<'a>, Problem> {
        let table = value.get_ref().as_table();
        table.ok_or_else(|| self.wrong(name, Kind::Table.takes(), value))
    }

    /// The first of the table's keys, as the file has them, must be one of these, and so must the
    /// others.
    fn check_names(&self, table: &DeTable<'a>, keys: &[Key]) -> Result<(), Problem> {
        let unknown = table.keys().filter(|name| {
            let name = name.get_ref().as_ref();
            keys.iter().all(|key| key.name != name)
        });
        let Some(name) = unknown.min_by_key(|name| name.span().start) else {
            return Ok(());
        };
        let hint = match nearest(name.get_ref(), keys) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                let names: Vec<_> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
                format!("there are {}", names.join(", "))
            }
        };
        let message = format!("unknown key `{}`; {hint}", name.get_ref());
        Err(self.problem(&name.span(), message))
    }

    fn choices(&self, table: &DeTable<'a>, keys: &[Key]) -> Result<Choices, Problem> {
        self.check_names(table, keys)?;
        let mut choices = Choices::default();
        for (name, value) in table {
            let name = name.get_ref().as_ref();
            match name {
                "cmdline" => choices.cmdline = self.text(name, value)?,
                "modules" => self.modules(value, &mut choices)?,
                "memory" => choices.memory = Some(self.size(name, value)?),
                "cpus" => choices.cpus = Some(self.number(name, Kind::Count, value)?),
                "cpu" => choices.cpu = Some(self.filled(name, value)?),
                "machine" => choices.machine = Some(self.filled(name, value)?),
                "cd" => choices.cd = Some(self.switch(name, value)?),
                "usb" => choices.usb = Some(self.switch(name, value)?),
                "qemu-args" => choices.qemu_args = self.texts(name, value)?,
                "timeout" => {
                    let seconds = self.number(name, Kind::Seconds, value)?;
                    choices.timeout = Some(Duration::from_secs(seconds.into()));
                }
                "display" => choices.display = Some(self.switch(name, value)?),
                // The table of tests: all other names were refused.
                _ => {}
            }
        }
        Ok(choices)
    }

    /// A text for a command line.
    fn text(&self, name: &str, value: &Value<'a>) -> Result<String, Problem> {
        let text = value.get_ref().as_str();
        let text = text.ok_or_else(|| self.wrong(name, Kind::Text.takes(), value))?;
        if text.contains(char::is_control) {
            let takes = "one line without control characters";
            return Err(self.wrong(name, takes, value));
        }
        Ok(text.to_owned())
    }

    /// A text that says something.
    fn filled(&self, name: &str, value: &Value<'a>) -> Result<String, Problem> {
        let text = self.text(name, value)?;
        match text.is_empty() {
            true => Err(self.wrong(name, "a string that is not empty", value)),
            false => Ok(text),
        }
    }

    fn size(&self, name: &str, value: &Value<'a>) -> Result<String, Problem> {
        let text = value.get_ref().as_str().filter(|text| is_size(text));
        let text = text.ok_or_else(|| self.wrong(name, Kind::Size.takes(), value))?;
        Ok(text.to_owned())
    }

    fn number(&self, name: &str, kind: Kind, value: &Value<'a>) -> Result<u32, Problem> {
        let number = value.get_ref().as_integer().and_then(|number| {
            let number = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
            u32::try_from(number).ok().filter(|&number| number > 0)
        });
        number.ok_or_else(|| self.wrong(name, kind.takes(), value))
    }

    fn switch(&self, name: &str, value: &Value<'a>) -> Result<bool, Problem> {
        let switch = value.get_ref().as_bool();
        switch.ok_or_else(|| self.wrong(name, Kind::Switch.takes(), value))
    }

    fn array<'v>(
        &self,
        name: &str,
        kind: Kind,
        value: &'v Value<'a>,
    ) -> Result<&'v [Value<'a>], Problem> {
        let array = value.get_ref().as_array();
        let array = array.ok_or_else(|| self.wrong(name, kind.takes(), value))?;
        Ok(array)
    }

    fn texts(&self, name: &str, value: &Value<'a>) -> Result<Vec<String>, Problem> {
        let array = self.array(name, Kind::Texts, value)?;
        array.iter().map(|value| self.text(name, value)).collect()
    }

    fn modules(&self, value: &Value<'a>, choices: &mut Choices) -> Result<(), Problem> {
        for value in self.array("modules", Kind::Modules, value)? {
            let (mut text, mut packed) = (String::new(), false);
            let file = match value.get_ref() {
                DeValue::String(_) => value,
                DeValue::Table(table) => {
                    self.check_names(table, &MODULE_KEYS)?;
                    if let Some(value) = table.get("text") {
                        text = self.text("text", value)?;
                    }
                    if let Some(value) = table.get("packed") {
                        packed = self.switch("packed", value)?;
                    }
                    let file = table.get("file");
                    file.ok_or_else(|| self.problem(&value.span(), "a module needs a `file`"))?
                }
                _ => return Err(self.wrong("modules", Kind::Modules.takes(), value)),
            };
            let file = self.file(file)?;
            if packed {
                choices.packed.push(file.clone());
            }
            choices.modules.push(Module { file, string: text });
        }
        Ok(())
    }

    /// A file that is there.
    fn file(&self, value: &Value<'a>) -> Result<PathBuf, Problem> {
        let name = self.filled("file", value)?;
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let file = folder.join(&name);
        match fs::metadata(&file) {
            Ok(data) if data.is_dir() => {
                let message = format!("the module {} is a directory", file.display());
                Err(self.problem(&value.span(), message))
            }
            Ok(_) => Ok(file),
            Err(error) => {
                let message = format!("the module {} cannot be opened: {error}", file.display());
                Err(self.problem(&value.span(), message))
            }
        }
    }
}

/// Whether QEMU takes this for an amount of memory that is not 0.
fn is_size(text: &str) -> bool {
    let number = text.strip_suffix(['K', 'M', 'G', 'T', 'k', 'm', 'g', 't']);
    let number = number.unwrap_or(text);
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_there = !whole.is_empty() && !part.is_empty();
    is_there && is_number(whole) && is_number(part) && number.contains(|c| matches!(c, '1'..='9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_qemu() {
        for text in ["512M", "2G", "1.5G", "300", "64m", "1T", "0.5g"] {
            assert!(is_size(text), "{text}");
        }
        for text in [
            "", "M", "0", "0M", "1.G", ".5G", "2 G", "2GB", "two", "-1M", "0x10M",
        ] {
            assert!(!is_size(text), "{text}");
        }
    }
}
