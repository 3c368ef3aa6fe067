//! The command line, word by word.

use core::str::SplitWhitespace;

use crate::BootInfo;

impl BootInfo {
    /// The kernel's command line; may be empty.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) -> bool {
    /// boot.command_line().contains("quiet")
    /// # }
    /// ```
    #[must_use]
    pub fn command_line(&self) -> &'static str {
        self.command_line.as_str()
    }

    /// The words of the command line: what white space separates. Quotation marks mean nothing.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// for word in boot.words() {
    ///     match word.split_once('=') {
    ///         Some((key, value)) => { /* … */ }
    ///         None => { /* … */ }
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn words(&self) -> SplitWhitespace<'static> {
        self.command_line().split_whitespace()
    }

    /// Is this one of the words of the command line?
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let quiet = boot.has_word("quiet");
    /// # let _ = quiet;
    /// # }
    /// ```
    #[must_use]
    pub fn has_word(&self, word: &str) -> bool {
        self.words().any(|it| it == word)
    }

    /// The value of a word `key=value` of the command line; may be empty. The last such word counts,
    /// so that one can be overridden by another behind it.
    ///
    /// ```
    /// # fn kernel(boot: &handoff::BootInfo) {
    /// let log_level = boot.value_of("log").unwrap_or("info");
    /// let cpus: Option<u32> = boot.value_of("cpus").and_then(|number| number.parse().ok());
    /// # let _ = (log_level, cpus);
    /// # }
    /// ```
    #[must_use]
    pub fn value_of(&self, key: &str) -> Option<&'static str> {
        let value = |word: &'static str| word.strip_prefix(key)?.strip_prefix('=');
        self.words().rev().find_map(value)
    }
}
