//! `loader.conf` and the files in `/loader/entries`: what is left out, the order, and the choice.

use std::cmp::Ordering;

use boot_path::entry::entries::{
    Entries, Item, LoaderConf, MAX_ENTRIES, MAX_NAMED, MAX_PATTERN, Room, Warning, is_entry,
    matches,
};

use crate::targets::show;

/// The separator of files. The name of the next file and a line end follow it.
const SEPARATOR: u8 = 0x1C;

/// The input: `loader.conf`; then the entries, each with its name in the first line.
pub fn run(bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == SEPARATOR);
    let (conf, error) = LoaderConf::parse(parts.next().unwrap_or_default());
    if let Some(error) = error {
        assert!(!error.to_string().is_empty());
    }
    let files: Vec<(String, &[u8])> = parts
        .filter_map(|part| {
            let end = part.iter().position(|&byte| byte == b'\n')?;
            let name = str::from_utf8(&part[..end]).ok()?;
            is_entry(name).then(|| (format!("/loader/entries/{name}"), &part[end + 1..]))
        })
        .collect();

    let pattern = conf.default_entry();
    let rooms = files
        .iter()
        .map(|(path, text)| [path.as_bytes(), text].concat());
    let mut rooms: Vec<_> = rooms.collect();
    let mut entries = Entries::default();
    add_all(&mut entries, &files, &mut rooms, pattern);
    let items: Vec<_> = entries.items().collect();
    check_order(&items[..items.len().min(MAX_ENTRIES)]);

    let choice = match entries.choose(pattern) {
        Ok(choice) => choice,
        Err(error) => {
            assert!(items.is_empty());
            show(&error);
            return;
        }
    };
    // The same choice, made among all entries, kept or not.
    let mut good = good(&files);
    good.sort_by(Item::compare);
    let expected = pattern.and_then(|pattern| good.iter().find(|item| is_wanted(item, pattern)));
    assert_eq!(choice.item, *expected.unwrap_or(&good[0]));
    assert_eq!(choice.unmatched, pattern.filter(|_| expected.is_none()));
    // A chosen entry can be booted.
    let text = choice.item.text;
    assert!(text.kernel().is_some() != text.chain().is_some());
    assert!(!text.is_for_others());
    // It is tried first.
    let expected = choice.item.path().to_owned();
    entries.prefer(pattern);
    let first = entries.take_first().map(|item| item.path().to_owned());
    assert_eq!(first, Some(expected));
}

/// The entries that can be booted.
fn good<'a>(files: &'a [(String, &'a [u8])]) -> Vec<Item<'a>> {
    let items = files.iter();
    items
        .filter_map(|(path, text)| Item::new(path, text).ok().flatten())
        .collect()
}

/// Adds entries. However many there are, this takes few comparisons, and few lines report them.
fn add_all<'a>(
    entries: &mut Entries<'a>,
    files: &[(String, &[u8])],
    rooms: &'a mut [Vec<u8>],
    pattern: Option<&str>,
) {
    let (mut named, mut skipped) = (0, 0);
    let mut comparisons = 0;
    for ((path, text), bytes) in files.iter().zip(rooms) {
        let mut compare = |one: &Item<'_>, other: &Item<'_>| {
            comparisons += 1;
            one.compare(other)
        };
        let room = Room {
            bytes,
            path: path.len(),
            text: text.len(),
        };
        if let Some(error) = entries.add_by(room, pattern, &mut compare).error {
            skipped += 1;
            if entries.skip() {
                named += 1;
                let warning = Warning::skipped(path, &error).to_string();
                assert!(warning.starts_with(path.as_str()));
            }
        }
    }
    assert!(comparisons <= 8 * files.len());
    assert!(named <= MAX_NAMED);
    assert_eq!(entries.rest().is_some(), skipped > named);
    let mut good = good(files);
    good.sort_by(Item::compare);
    good.dedup_by(|one, other| one.compare(other).is_eq());
    let kept = entries.items().take(MAX_ENTRIES).map(|item| item.path());
    assert!(kept.eq(good.iter().take(MAX_ENTRIES).map(|item| item.path())));
    assert_eq!(entries.is_empty(), files.is_empty());
}

/// Whether a pattern means this entry.
fn is_wanted(item: &Item<'_>, pattern: &str) -> bool {
    let name = item.name();
    let stem = &name[..name.len() - ".conf".len()];
    let id = match item.tries() {
        Some(_) => &stem[..stem.rfind('+').expect("a counter")],
        None => stem,
    };
    pattern.len() <= MAX_PATTERN
        && (naive(pattern.as_bytes(), id.as_bytes())
            || naive(pattern.as_bytes(), format!("{id}.conf").as_bytes()))
}

/// Checks the order of all pairs, in both directions, and of neighbours.
fn check_order(items: &[Item<'_>]) {
    for (index, item) in items.iter().enumerate() {
        assert_eq!(item.compare(item), Ordering::Equal);
        for other in &items[index + 1..] {
            assert_eq!(item.compare(other), other.compare(item).reverse());
            assert!(item.is_bad() <= other.is_bad(), "a bad one in front");
        }
    }
    assert!(items.is_sorted_by(|one, another| one.compare(another).is_le()));
}

/// The same as [`matches`], for patterns that are not too hard. For the others, the result of
/// [`matches`].
fn naive(pattern: &[u8], name: &[u8]) -> bool {
    let by_loader = || {
        let (pattern, name) = (str::from_utf8(pattern), str::from_utf8(name));
        matches(pattern.expect("UTF-8"), name.expect("UTF-8"), "")
    };
    let stars = pattern.iter().filter(|&&byte| byte == b'*').count();
    if stars > 3 || name.len() > 60 || pattern.iter().any(|byte| b"[\\".contains(byte)) {
        return by_loader();
    }
    fn all(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], _) => name.is_empty(),
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| all(rest, &name[taken..])),
            ([b'?', rest @ ..], [_, behind @ ..]) => all(rest, behind),
            ([one, rest @ ..], [other, behind @ ..]) => {
                one.eq_ignore_ascii_case(other) && all(rest, behind)
            }
            _ => false,
        }
    }
    let expected = all(pattern, name);
    assert_eq!(by_loader(), expected);
    expected
}
