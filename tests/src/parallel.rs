//! Several machines at once, as many as there are cores.

use std::sync::Mutex;
use std::thread;

/// Does the same work on all items; the results come in the order of the items.
pub(crate) fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let next = Mutex::new(items.iter().enumerate());
    let results = Mutex::new(Vec::new());
    let take = || {
        loop {
            // The lock is only poisoned if another thread has panicked, which is reported there.
            let item = next.lock().ok().and_then(|mut items| items.next());
            let Some((index, item)) = item else { break };
            let result = work(item);
            if let Ok(mut results) = results.lock() {
                results.push((index, result));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(take);
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
