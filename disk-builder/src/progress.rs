//! What goes on while something takes time, told to whoever wants to show it. The library shows
//! nothing itself.

use std::rc::Rc;

/// Is told what goes on. One step ends before the next one begins.
pub trait Progress {
    /// A step begins. `step` says what is done, such as "writing disk.img"; `bytes`: how many it goes
    /// through, if that is known.
    fn begin(&self, step: &str, bytes: Option<u64>);

    /// The step has gone through so many bytes more.
    fn advance(&self, bytes: u64);

    /// The step has ended, well or not.
    fn end(&self);
}

/// Shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}

    fn advance(&self, _: u64) {}

    fn end(&self) {}
}

/// Nobody who is told.
pub fn silent() -> Rc<dyn Progress> {
    Rc::new(Silent)
}

/// A step, which ends when this is dropped: after an error, too.
pub(crate) struct Step<'p>(&'p dyn Progress);

impl<'p> Step<'p> {
    pub(crate) fn new(progress: &'p dyn Progress, step: &str, bytes: Option<u64>) -> Self {
        progress.begin(step, bytes);
        Self(progress)
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}
