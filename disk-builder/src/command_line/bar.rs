//! Progress on a terminal.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use boot_path::errors::text::Shown;
use disk_builder::progress::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A step that is done sooner is not shown.
const SOON: Duration = Duration::from_secs(1);

/// A line at the bottom of the terminal, which goes when the step ends.
#[derive(Default)]
pub struct Bar(RefCell<Option<Running>>);

/// A step.
struct Running {
    since: Instant,
    bar: ProgressBar,
}

impl Progress for Bar {
    fn begin(&self, step: &str, bytes: Option<u64>) {
        self.end();
        let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::hidden());
        let template = match bytes {
            Some(_) => "{msg}: {bytes} of {total_bytes} [{wide_bar}] {percent}%, {eta} left",
            None => "{msg}: {bytes} {spinner}",
        };
        // The templates are right, and a plain line would do.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("#- ").tick_chars("|/-\\ "));
        }
        // It contains names of files, which a terminal has to show and not obey.
        bar.set_message(Shown::new(step).to_string());
        let since = Instant::now();
        self.0.replace(Some(Running { since, bar }));
    }

    fn advance(&self, bytes: u64) {
        let running = self.0.borrow();
        let Some(Running { since, bar }) = running.as_ref() else {
            return;
        };
        bar.inc(bytes);
        if bar.is_hidden() && since.elapsed() > SOON {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.tick();
        }
    }

    fn end(&self) {
        if let Some(running) = self.0.take() {
            running.bar.finish_and_clear();
        }
    }
}
