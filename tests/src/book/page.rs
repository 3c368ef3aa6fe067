//! What a page tells its reader to do, and what it promises.
//!
//! The words behind the language of a fenced block are for this reader. A rendered page does not
//! show them:
//!
//! | fence | what it is |
//! | --- | --- |
//! | `sh` | commands that all succeed; the `text` blocks behind them promise what is printed |
//! | `sh fails` | the last of the commands fails |
//! | `sh endless` | the last one starts a machine that does not end by itself |
//! | `sh silent` | nothing is promised but that they succeed |
//! | `sh example` | not run: it needs what is not there |
//! | `text` | lines that were printed, in the notation of [`promise`](super::promise) |
//! | `text example` | no lines that a command prints |
//! | `diff` | a change of the sources, for the commands behind it |
//! | others | a source file, which is not looked at |

use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};

use super::edit::Edit;
use super::promise::Promise;

/// The parts of a page that can be carried out.
#[derive(Debug, Default)]
pub struct Page {
    /// Its path in the repository.
    pub name: String,
    /// What is to be done, in order.
    pub experiments: Vec<Experiment>,
    /// Blocks that are neither run nor compared.
    pub examples: Vec<Block>,
    /// Code within the text.
    pub spans: Vec<Block>,
}

/// Commands, changes before them, and their output.
#[derive(Debug)]
pub struct Experiment {
    /// Changes to the sources of the repository.
    pub edits: Vec<Edit>,
    /// For a shell.
    pub commands: Block,
    /// How the last command ends.
    pub ends: Ends,
    /// What is printed, in order.
    pub promises: Vec<Promise>,
}

/// How commands end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// All of them with status 0.
    Well,
    /// The last command with another status.
    Badly,
    /// The last command only when it is stopped.
    Never,
}

/// A piece of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The heading of second level above it.
    pub section: String,
    /// The number of its first line, from 1.
    pub line: usize,
    /// Its lines.
    pub text: String,
}

impl Page {
    /// Takes a page apart.
    ///
    /// # Errors
    /// Names the first block that does not say what it is, or is in the wrong place.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        Self::take_apart(name, text).map_err(|error| anyhow!("{name}:{error:#}"))
    }

    fn take_apart(name: &str, text: &str) -> Result<Self> {
        let mut reader = Reader {
            page: Self {
                name: name.to_owned(),
                ..Self::default()
            },
            text,
            section: String::new(),
            edits: Vec::new(),
            open: None,
        };
        let mut events = Parser::new(text).into_offset_iter();
        while let Some((event, place)) = events.next() {
            match event {
                Event::Start(Tag::Heading { level, .. }) if level <= HeadingLevel::H2 => {
                    reader.end_section()?;
                    reader.section = content(&mut events, TagEnd::Heading(level));
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    let text = content(&mut events, TagEnd::CodeBlock);
                    // The fence has a line of its own.
                    let block = reader.block(&place, 1, text);
                    reader.fenced(&info, block)?;
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                    let line = reader.block(&place, 0, String::new()).line;
                    bail!("{line}: a block without a fence does not say what it is");
                }
                Event::Code(code) => {
                    let span = reader.block(&place, 0, code.to_string());
                    reader.page.spans.push(span);
                }
                _ => {}
            }
        }
        reader.end_section()?;
        Ok(reader.page)
    }

    /// How many blocks of output are compared.
    pub fn promises(&self) -> usize {
        self.experiments.iter().map(|e| e.promises.len()).sum()
    }
}

/// The text up to an end mark.
fn content<'a>(
    events: &mut impl Iterator<Item = (Event<'a>, Range<usize>)>,
    end: TagEnd,
) -> String {
    let mut text = String::new();
    for (event, _) in events {
        match event {
            Event::End(tag) if tag == end => break,
            Event::Text(part) | Event::Code(part) => text += &part,
            _ => {}
        }
    }
    text
}

struct Reader<'a> {
    page: Page,
    text: &'a str,
    section: String,
    /// Changes whose commands have not come yet.
    edits: Vec<(usize, Edit)>,
    /// Where the commands are that may still get a promise, and whether they need one.
    open: Option<(usize, bool)>,
}

impl Reader<'_> {
    fn block(&self, place: &Range<usize>, offset: usize, text: String) -> Block {
        let before = self.text[..place.start].matches('\n').count();
        Block {
            section: self.section.clone(),
            line: before + 1 + offset,
            text,
        }
    }

    fn fenced(&mut self, info: &str, block: Block) -> Result<()> {
        let line = block.line;
        match info.split_whitespace().collect::<Vec<_>>()[..] {
            ["sh" | "text", "example"] => self.page.examples.push(block),
            ["sh"] => self.commands(block, Ends::Well, true)?,
            ["sh", "silent"] => self.commands(block, Ends::Well, false)?,
            ["sh", "fails"] => self.commands(block, Ends::Badly, true)?,
            ["sh", "endless"] => self.commands(block, Ends::Never, true)?,
            ["text"] => {
                let last = self.page.experiments.last_mut();
                let (Some((commands, wanted)), Some(last)) = (self.open, last) else {
                    bail!("{line}: no commands print this, and it is not marked as an example");
                };
                ensure!(
                    wanted,
                    "{line}: the commands of line {commands} are marked as silent"
                );
                let promise = Promise::read(line, &block.text);
                last.promises.push(promise.with_context(|| line)?);
            }
            ["diff"] => {
                self.end_commands()?;
                let edit = Edit::read(&block.text);
                self.edits.push((line, edit.with_context(|| line)?));
            }
            ["sh" | "text" | "diff", ..] => bail!("{line}: `{info}`: unknown"),
            [] => bail!("{line}: a block without a language"),
            _ => {} // a source file
        }
        Ok(())
    }

    fn commands(&mut self, commands: Block, ends: Ends, wanted: bool) -> Result<()> {
        self.end_commands()?;
        self.open = Some((commands.line, wanted));
        self.page.experiments.push(Experiment {
            edits: self.edits.drain(..).map(|(_, edit)| edit).collect(),
            commands,
            ends,
            promises: Vec::new(),
        });
        Ok(())
    }

    /// Closes the last commands: no promise for them can follow.
    fn end_commands(&mut self) -> Result<()> {
        if let (Some((line, true)), Some(last)) = (self.open.take(), self.page.experiments.last()) {
            ensure!(
                !last.promises.is_empty(),
                "{line}: commands without a promise, and not marked as silent"
            );
        }
        Ok(())
    }

    fn end_section(&mut self) -> Result<()> {
        self.end_commands()?;
        if let Some((line, _)) = self.edits.first() {
            bail!("{line}: a change without commands behind it");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        format!("{:#}", Page::read("page.md", text).unwrap_err())
    }

    #[test]
    fn commands_promises_and_changes_belong_together() -> Result<()> {
        let page = Page::read(
            "page.md",
            "# Page\n\n## What you should see\n\n```text example\nnot printed\n```\n\n\
             ```sh\necho one\n```\n\nwords and `code`\n\n```text\none\n```\n\n```text\ntwo\n```\n\n\
             ```rust\nfn main() {}\n```\n\n## Break it\n\n\
             ```diff\n--- a/file\n+++ b/file\n@@\n-old\n+new\n```\n\n```sh fails\nfalse\n```\n\n\
             ```text\nno\n```\n\n```sh silent\ntrue\n```\n\n```sh example\nreboot\n```\n",
        )?;
        let [see, broken, silent] = &page.experiments[..] else {
            panic!("{page:?}");
        };
        assert_eq!(see.commands.text, "echo one\n");
        assert_eq!(
            (see.commands.line, &*see.commands.section),
            (10, "What you should see")
        );
        assert_eq!(
            (see.edits.len(), see.promises.len(), see.ends),
            (0, 2, Ends::Well)
        );
        assert_eq!(broken.commands.section, "Break it");
        assert_eq!((broken.edits.len(), broken.ends), (1, Ends::Badly));
        assert_eq!((silent.edits.len(), silent.promises.len()), (0, 0));
        assert_eq!(page.promises(), 3);
        let examples: Vec<_> = page.examples.iter().map(|e| &*e.text).collect();
        assert_eq!(examples, ["not printed\n", "reboot\n"]);
        assert_eq!((page.spans[0].line, &*page.spans[0].text), (13, "code"));
        Ok(())
    }

    #[test]
    fn nothing_is_left_out_in_silence() {
        for (text, message) in [
            (
                "```sh\ntrue\n```\n",
                "page.md:2: commands without a promise",
            ),
            (
                "```sh\ntrue\n```\n\n```sh\ntrue\n```\n",
                "page.md:2: commands without",
            ),
            ("```text\none\n```\n", "page.md:2: no commands print this"),
            (
                "```sh silent\ntrue\n```\n\n```text\none\n```\n",
                "page.md:6: the commands of line 2",
            ),
            (
                "## A\n\n```sh silent\ntrue\n```\n\n## B\n\n```text\none\n```\n",
                "page.md:10: no commands print this",
            ),
            ("```\ntrue\n```\n", "page.md:2: a block without a language"),
            ("words\n\n    true\n", "page.md:3: a block without a fence"),
            ("```sh quiet\ntrue\n```\n", "page.md:2: `sh quiet`: unknown"),
            (
                "```text quiet\ntrue\n```\n",
                "page.md:2: `text quiet`: unknown",
            ),
            (
                "```sh silent fails\ntrue\n```\n",
                "page.md:2: `sh silent fails`: unknown",
            ),
            (
                "```diff\n--- a/f\n+++ b/f\n@@\n-a\n+b\n```\n",
                "page.md:2: a change without commands",
            ),
            ("```diff\n-a\n+b\n```\n", "page.md:2: "),
            ("```sh\ntrue\n```\n\n```text\n≈many\n```\n", "page.md:6: "),
        ] {
            let error = refused(text);
            assert!(error.starts_with(message), "{text:?}: {error}");
        }
    }
}
