//! Lists that get their room before the first value, and never grow.
//!
//! A `Vec` that may grow carries code for that, and the texts of its errors, into the loader.

use alloc::vec::Vec;

use arrayvec::ArrayVec;

/// An empty list with room for `count` values.
pub fn with_room<T>(count: usize) -> Vec<T> {
    let mut list = Vec::new();
    let _ = list.try_reserve_exact(count); // `put` notices when there is none
    list
}

/// Adds a value.
///
/// # Panics
/// When the list has no room for it.
pub fn put<T>(list: &mut Vec<T>, value: T) {
    assert!(list.len() < list.capacity(), "a list has no room");
    list.push(value);
}

/// Adds all these values.
///
/// # Panics
/// When the list has no room for them.
pub fn put_all<T>(list: &mut Vec<T>, values: impl Iterator<Item = T>) {
    values.for_each(|value| put(list, value));
}

/// Adds a value in front of the one with this index, or at the end.
///
/// # Panics
/// When the list has no room for it.
pub fn insert<T>(list: &mut Vec<T>, index: usize, value: T) {
    put(list, value);
    move_last(list, index);
}

/// As [`insert`], in a list of a fixed length; does nothing when that is full, or ends before the
/// index. The list's own methods for this carry the text of an error with numbers.
pub fn try_insert<T, const N: usize>(list: &mut ArrayVec<T, N>, index: usize, value: T) {
    if index <= list.len() && list.try_push(value).is_ok() {
        move_last(list, index);
    }
}

/// Moves the last value in front of the one with this index.
fn move_last<T>(list: &mut [T], index: usize) {
    if let Some(moved) = list.get_mut(index..) {
        moved.rotate_right(1);
    }
}
