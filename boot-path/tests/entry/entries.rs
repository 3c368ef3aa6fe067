//! Several entries: names, order, choice, and what `loader.conf` says.

use std::cell::Cell;
use std::cmp::Ordering;

use boot_path::entry::entries::{
    Entries, Item, LoaderConf, MAX_ENTRIES, MAX_NAMED, MAX_PATTERN, NoEntry, NoneBoots, Room,
    Timeout, Tries, Warning, is_entry, matches,
};
use boot_path::entry::entry_file::{self, EntryFileCause, EntryFileError, MAX_FILE};
use boot_path::errors::catalogue::{self, Report};
use boot_path::machine::Consoles;
use proptest::prelude::*;

/// The most comparisons for an entry: by halves of the list, with its equal, and with the default.
const MOST_COMPARISONS: usize = 8;

/// Paths and texts of entries.
type Files<'a> = &'a [(&'a str, &'a str)];

fn read(files: Files<'_>) -> (Entries<'static>, Vec<String>) {
    read_with(files, None)
}

/// The same with a pattern for the default.
fn read_with(files: Files<'_>, pattern: Option<&str>) -> (Entries<'static>, Vec<String>) {
    let mut entries = Entries::default();
    let mut warnings = Vec::new();
    for (path, text) in files {
        let added = entries.add(room(path, text), pattern);
        if let Some(error) = added.error
            && entries.skip()
        {
            warnings.push(Warning::skipped(path, &error).to_string());
        }
    }
    warnings.extend(entries.rest().map(|warning| warning.to_string()));
    (entries, warnings)
}

/// Memory that lives as long as the test.
fn room(path: &str, text: &str) -> Room<'static> {
    Room {
        bytes: [path, text].concat().into_bytes().leak(),
        path: path.len(),
        text: text.len(),
    }
}

fn paths<'e>(entries: &'e Entries<'_>) -> Vec<&'e str> {
    entries.items().map(|item| item.path()).collect()
}

/// The names in the order of the entries, which does not depend on the order in which they come.
#[track_caller]
fn assert_order(expected: &[(&str, &str)]) {
    let names: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    let mut turned = expected.to_vec();
    for _ in 0..expected.len() {
        turned.rotate_left(1);
        for files in [turned.clone(), turned.iter().rev().copied().collect()] {
            let (entries, warnings) = read(&files);
            assert_eq!(warnings, [""; 0]);
            assert_eq!(paths(&entries), names, "{files:?}");
        }
    }
}

#[test]
fn names_of_entries() {
    for name in [
        "a.conf",
        "A.CONF",
        "6a98-3.8.0-2.fc19.x86_64+3-1.conf",
        "ä.conf",
    ] {
        assert!(is_entry(name), "{name}");
    }
    for name in [
        "", ".conf", "._a.conf", "a.conf~", "conf", "a.con", "aconf", "äconf",
    ] {
        assert!(!is_entry(name), "{name}");
    }
}

#[test]
fn newest_first_within_a_sort_key() {
    assert_order(&[
        ("/x.conf", "linux /l\nsort-key a\nversion 9\nmachine-id 1"),
        ("/b.conf", "linux /l\nsort-key b"),
        (
            "/7.conf",
            "linux /l\nsort-key b\nmachine-id 1\nversion 6.10",
        ),
        ("/9.conf", "linux /l\nsort-key b\nmachine-id 1\nversion 6.9"),
        (
            "/8.conf",
            "linux /l\nsort-key b\nmachine-id 1\nversion 6.9~rc1",
        ),
        ("/6.conf", "linux /l\nsort-key b\nmachine-id 1"),
        (
            "/5.conf",
            "linux /l\nsort-key b\nmachine-id 1\nversion \nsort-key",
        ),
        ("/4.conf", "linux /l\nsort-key b\nmachine-id 2\nversion 7"),
        // Without a sort-key, only the name counts.
        ("/z-10.conf", "linux /l\nversion 1"),
        ("/z-9.conf", "linux /l\nversion 2\nmachine-id 0"),
        ("/Z-10.conf", "linux /l"),
    ]);
}

#[test]
fn bad_ones_come_last() {
    assert_order(&[
        ("/k+3-0.conf", "linux /l\nsort-key b"),
        ("/a.conf", "linux /l"),
        ("/a+2-1.conf", "linux /l"),
        ("/a+1.conf", "linux /l"),
        ("/a+1-1.conf", "linux /l"),
        ("/k+0-3.conf", "linux /l\nsort-key a"),
        ("/b+0.conf", "linux /l"),
        ("/b+0-2.conf", "linux /l"),
    ]);
}

#[test]
fn boot_counters() {
    let tries = |path| Item::new(path, b"linux /l").unwrap().unwrap().tries();
    let some = |left, done| Some(Tries { left, done });
    assert_eq!(tries("/e/a+3.conf"), some(3, 0));
    assert_eq!(tries("/e/a+3-1.conf"), some(3, 1));
    assert_eq!(tries("/e/a+00-03.CONF"), some(0, 3));
    assert_eq!(tries("/e/a+1+2-3.conf"), some(2, 3));
    assert_eq!(
        tries("/e/a+99999999999-4294967296.conf"),
        some(u32::MAX, u32::MAX)
    );
    for path in [
        "/e/a.conf",
        "/e/a+.conf",
        "/e/a+x.conf",
        "/e/a+3-.conf",
        "/e/a+-3.conf",
        "/e/a+3-1-1.conf",
        "/e/a+3.1.conf",
        "/e/a+3 .conf",
        "/e+3/a.conf",
    ] {
        assert_eq!(tries(path), None, "{path}");
    }
}

fn chosen(files: Files<'_>, pattern: Option<&str>) -> Result<(String, bool), NoEntry> {
    let (entries, _) = read_with(files, pattern);
    let choice = entries.choose(pattern)?;
    Ok((choice.item.name().to_owned(), choice.unmatched.is_none()))
}

#[test]
fn the_default() {
    let files = [
        ("/loader/entries/arch-1.conf", "linux /l"),
        ("/loader/entries/arch-2+0-3.conf", "linux /l"),
        ("/loader/entries/arch-10+3.conf", "linux /l"),
        ("/loader/entries/zeta.conf", "linux /l"),
    ];
    for (pattern, expected) in [
        (None, "zeta.conf"),
        (Some("zeta.conf"), "zeta.conf"),
        (Some("arch*"), "arch-10+3.conf"),
        (Some("ARCH-1"), "arch-1.conf"),
        (Some("arch-1.conf"), "arch-1.conf"),
        (Some("arch-10.conf"), "arch-10+3.conf"),
        (Some("arch-?.conf"), "arch-1.conf"),
        (Some("arch-[2-9]*"), "arch-2+0-3.conf"),
        (Some("*.conf"), "zeta.conf"),
    ] {
        assert_eq!(
            chosen(&files, pattern),
            Ok((expected.to_owned(), true)),
            "{pattern:?}"
        );
    }
    let longest = format!("[{}]rch-1", "a".repeat(MAX_PATTERN - 7));
    assert_eq!(longest.len(), MAX_PATTERN);
    let found = chosen(&files, Some(&longest));
    assert_eq!(found, Ok(("arch-1.conf".to_owned(), true)));
    let longer = longest.replace("[", "[a");
    for pattern in ["arch", "@saved", "arch-3*", "", "zeta.con", &longer] {
        let first = Ok(("zeta.conf".to_owned(), false));
        assert_eq!(chosen(&files, Some(pattern)), first, "{pattern:?}");
    }
}

#[test]
fn what_cannot_be_booted_is_named() {
    let files = [
        ("/loader/entries/a.conf", "title a\nmodule\n"),
        ("/loader/entries/b.conf", "title b\n"),
        ("/loader/entries/c.conf", "linux /l\narchitecture aa64\n"),
        ("/loader/entries/d.conf", "linux /l\n"),
    ];
    let (entries, warnings) = read(&files);
    assert_eq!(
        warnings,
        [
            "/loader/entries/a.conf is left out: line 2: module without a path",
            "/loader/entries/b.conf is left out: it names nothing to boot",
        ]
    );
    assert_eq!((entries.items().count(), entries.usable()), (1, 1));
    assert!(!entries.is_empty());

    let (entries, _) = read(&files[..3]);
    assert!(!entries.is_empty());
    let error = entries.choose(None).unwrap_err();
    assert_eq!((error.skipped, error.hidden), (2, 1));
    assert!(
        Report(&error)
            .to_string()
            .ends_with(": no boot entry can be used: 2 left out, 1 for other machines")
    );
    assert!(read(&[]).0.is_empty());
}

/// However many there are, and in whatever order they come: the first ones in the order are kept,
/// and so is the one that the pattern matches.
#[test]
fn the_newest_of_any_number() {
    let path = |n: usize| format!("/e/k-{n}.conf");
    for count in [MAX_ENTRIES, MAX_ENTRIES + 1, 3 * MAX_ENTRIES] {
        for step in [1, count - 1, 7] {
            let paths_of: Vec<_> = (0..count).map(|n| path(n * step % count)).collect();
            let files: Vec<_> = paths_of
                .iter()
                .map(|path| (path.as_str(), "linux /l"))
                .collect();
            let (entries, warnings) = read(&files);
            assert_eq!(warnings, [""; 0]);
            let expected: Vec<_> = (0..count).rev().take(MAX_ENTRIES).map(path).collect();
            assert_eq!(paths(&entries), expected);
            assert_eq!(entries.usable() as usize, count);
            for wanted in [0, count / 2, count - 1] {
                let pattern = format!("k-{wanted}");
                let (mut entries, _) = read_with(&files, Some(&pattern));
                let choice = entries.choose(Some(&pattern)).unwrap();
                assert_eq!(
                    (choice.item.path(), choice.unmatched),
                    (&*path(wanted), None)
                );
                entries.prefer(Some(&pattern));
                assert_eq!(entries.take_first().unwrap().path(), path(wanted));
            }
        }
    }
}

/// The newest one that a pattern matches is kept among many old ones that it matches as well.
#[test]
fn the_newest_that_a_pattern_matches() {
    let old: Vec<_> = (0..200)
        .map(|n| format!("/e/a-{}.conf", n * 67 % 200))
        .collect();
    let new: Vec<_> = (0..100).map(|n| format!("/e/b-{n}.conf")).collect();
    let paths_of = || old.iter().chain(&new);
    for files in [paths_of().collect::<Vec<_>>(), paths_of().rev().collect()] {
        let files: Vec<_> = files
            .iter()
            .map(|path| (path.as_str(), "linux /l"))
            .collect();
        let (mut entries, _) = read_with(&files, Some("a-*"));
        assert_eq!(entries.items().count(), MAX_ENTRIES + 1);
        entries.prefer(Some("a-*"));
        let first = [(); 2].map(|()| entries.take_first().unwrap().path());
        assert_eq!(first, ["/e/a-199.conf", "/e/b-99.conf"]);
    }
}

/// Memory is given back as soon as there are too many entries.
#[test]
fn memory_is_reused() {
    let mut entries = Entries::new();
    let mut spare: Vec<&'static mut [u8]> = Vec::new();
    let mut allocated = 0;
    for n in 0..3000 {
        let text = format!("/e/{n:04}.conflinux /{n}");
        let bytes = spare.pop().unwrap_or_else(|| {
            allocated += 1;
            vec![b'#'; 100].leak()
        });
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let room = Room {
            bytes,
            path: 12,
            text: text.len() - 12,
        };
        spare.extend(entries.add(room, Some("1000")).free);
    }
    assert_eq!(allocated, MAX_ENTRIES + 2);
    // Nobody has written to the memory of those that are kept.
    for (n, item) in (0..3000).rev().zip(entries.items().take(MAX_ENTRIES)) {
        assert_eq!(item.path(), format!("/e/{n:04}.conf"));
        assert_eq!(item.text.kernel(), Some(&*format!("/{n}")));
    }
    assert_eq!(entries.items().last().unwrap().text.kernel(), Some("/1000"));
}

/// Those that the pattern matches are tried first, then the others, each in their order.
#[test]
fn the_order_of_attempts() {
    let files = [
        ("/e/a-1.conf", "linux /l"),
        ("/e/b-1.conf", "linux /l"),
        ("/e/a-2.conf", "linux /l"),
        ("/e/c.conf", "linux /l"),
    ];
    for (pattern, expected) in [
        (
            None,
            ["/e/c.conf", "/e/b-1.conf", "/e/a-2.conf", "/e/a-1.conf"],
        ),
        (
            Some("a*"),
            ["/e/a-2.conf", "/e/a-1.conf", "/e/c.conf", "/e/b-1.conf"],
        ),
        (
            Some("b-1"),
            ["/e/b-1.conf", "/e/c.conf", "/e/a-2.conf", "/e/a-1.conf"],
        ),
        (
            Some("x"),
            ["/e/c.conf", "/e/b-1.conf", "/e/a-2.conf", "/e/a-1.conf"],
        ),
    ] {
        let (mut entries, _) = read_with(&files, pattern);
        entries.prefer(pattern);
        let order: Vec<_> = std::iter::from_fn(|| entries.take_first()).collect();
        assert!(
            order.iter().map(|item| item.path()).eq(expected),
            "{pattern:?}"
        );
        assert!(order.iter().all(|item| item.text.kernel() == Some("/l")));
    }
    let (mut entries, _) = read(&files);
    entries.pick("/e/none.conf");
    assert_eq!(entries.items().count(), 4);
    entries.pick("/e/b-1.conf");
    assert_eq!(paths(&entries), ["/e/b-1.conf"]);
}

/// A directory that is damaged may show a name twice; one of them is as good as the other.
#[test]
fn a_name_that_comes_twice() {
    let files = [("/e/a.conf", "linux /l"); 3];
    let (entries, _) = read(&files);
    assert_eq!(paths(&entries), ["/e/a.conf"]);
}

/// Of three thousand bad entries, the first ones are named.
#[test]
fn many_files() {
    let path = |n: usize| format!("/e/{n}.conf");
    let paths_of: Vec<_> = (0..3000).map(path).collect();
    let named = |n: usize| format!("{} is left out: line 1: module without a path", path(n));

    let bad: Vec<_> = paths_of
        .iter()
        .map(|path| (path.as_str(), "module"))
        .collect();
    let (entries, mut warnings) = read(&bad);
    let rest = warnings.pop().unwrap();
    assert_eq!(
        warnings,
        (0..MAX_NAMED as usize).map(named).collect::<Vec<_>>()
    );
    assert_eq!(rest, "/loader/entries: 2992 more are left out");
    assert_eq!(entries.choose(None).unwrap_err().skipped, 3000);
    assert_eq!(read(&bad[..8]).1.len(), 8);

    // One good entry among them.
    let mut some = bad.clone();
    some[2999].1 = "linux /l";
    assert_eq!(paths(&read(&some).0), ["/e/2999.conf"]);

    // Entries for other loaders are not worth a line.
    let others: Vec<_> = paths_of
        .iter()
        .map(|path| (path.as_str(), "efi /x"))
        .collect();
    let (entries, warnings) = read(&others);
    assert_eq!(warnings, [""; 0]);
    assert_eq!(entries.choose(None).unwrap_err().hidden, 3000);
    assert!(!entries.is_empty());
}

#[test]
fn none_boots() {
    let error = |facts| NoneBoots {
        first: &catalogue::ENTRY_NO_KERNEL,
        facts,
        tried: 3,
    };
    let report = Report(&error("/l")).to_string();
    assert!(report.starts_with("error 9A: "), "{report}");
    assert!(
        report.ends_with(": /l; none of 3 entries boots"),
        "{report}"
    );
    let report = Report(&error("")).to_string();
    assert!(report.ends_with(": none of 3 entries boots"), "{report}");
}

/// In whatever order they come, each entry is compared with few of the others.
#[test]
fn few_comparisons() {
    const COUNT: usize = 4 * MAX_ENTRIES;

    let paths_of: Vec<_> = (0..COUNT).map(|n| format!("/e/{n:03}.conf")).collect();
    for order in [
        (0..COUNT).collect::<Vec<_>>(),
        (0..COUNT).rev().collect(),
        (0..COUNT).map(|n| n * 37 % COUNT).collect(),
    ] {
        let mut entries = Entries::new();
        let mut comparisons = 0;
        for index in order {
            let mut compare = |one: &Item<'_>, other: &Item<'_>| {
                comparisons += 1;
                one.compare(other)
            };
            let room = room(&paths_of[index], "linux /l");
            let added = entries.add_by(room, Some("*"), &mut compare);
            assert_eq!(added.error, None);
        }
        assert!(comparisons <= COUNT * MOST_COMPARISONS, "{comparisons}");
        let found = entries.items().take(MAX_ENTRIES).map(|item| item.path());
        assert!(found.eq(paths_of.iter().rev().take(MAX_ENTRIES).map(String::as_str)));
    }
}

/// Lines that count how often they are taken.
fn counted<'a>(text: &'a str, taken: &'a Cell<usize>) -> impl Iterator<Item = &'a str> {
    text.lines().inspect(|_| taken.set(taken.get() + 1))
}

#[test]
fn a_line_is_taken_once() {
    let blank = "\n".repeat(MAX_FILE - 20);
    for text in [
        format!("{blank}linux /l\nversion 1\n"),
        format!("linux /l\nsort-key a\n{blank}"),
    ] {
        let taken = Cell::new(0);
        let entry = entry_file::read_lines(&text, counted(&text, &taken)).unwrap();
        assert_eq!(taken.get(), text.lines().count());
        // Later questions read no more lines.
        assert_eq!((entry.kernel(), entry.title()), (Some("/l"), None));
        assert!(!entry.is_for_others());
        let item = Item::new("/a.conf", text.as_bytes()).unwrap().unwrap();
        assert_eq!((item.compare(&item), item.text), (Ordering::Equal, entry));
        assert_eq!(taken.get(), text.lines().count());
    }
    let text = format!("{blank}timeout 1\ndefault a");
    let taken = Cell::new(0);
    let (conf, error) = LoaderConf::read_lines(counted(&text, &taken));
    assert_eq!((conf.default_entry(), error), (Some("a"), None));
    assert_eq!(conf.timeout(), Some(Timeout::Seconds(1)));
    assert_eq!((conf.console(), taken.get()), (None, text.lines().count()));
}

#[test]
fn loader_conf() {
    let parse = |text: &'static str| LoaderConf::parse(text.as_bytes());
    let (conf, error) = parse("# x\ntimeout 5\ndefault  arch-*\nconsole-mode max\neditor no\n");
    assert_eq!(error, None);
    assert_eq!(conf.default_entry(), Some("arch-*"));
    assert_eq!(conf.timeout(), Some(Timeout::Seconds(5)));
    assert_eq!(parse(""), (LoaderConf::default(), None));
    for (text, expected) in [
        ("timeout menu-force", Timeout::Forever),
        ("timeout menu-hidden", Timeout::Seconds(0)),
        ("timeout menu-disabled\r\n", Timeout::Seconds(0)),
        ("timeout 1\ntimeout 99999999999", Timeout::Seconds(u32::MAX)),
    ] {
        assert_eq!(parse(text).0.timeout(), Some(expected), "{text}");
    }
    let at = |serial, screen| Some(Consoles { serial, screen });
    for (text, expected) in [
        ("default a", None),
        ("console serial", at(true, false)),
        ("console screen\r\n", at(false, true)),
        ("console  none ", at(false, false)),
        ("console none\nconsole both", at(true, true)),
    ] {
        assert_eq!(parse(text).1, None, "{text}");
        assert_eq!(parse(text).0.console(), expected, "{text}");
    }
    for text in [
        "timeout 1\nconsole\n",
        "\nconsole Serial\n",
        "\nconsole serial screen",
    ] {
        let (conf, error) = parse(text);
        let cause = EntryFileCause::Console;
        assert_eq!(error, Some(EntryFileError { line: 2, cause }), "{text}");
        assert_eq!(conf.console(), None);
    }
    // The rest of the file counts.
    for text in [
        "default a\ntimeout soon\n",
        "default a\ntimeout\n",
        "default a\ntimeout -1",
    ] {
        let (conf, error) = parse(text);
        let cause = EntryFileCause::Timeout;
        assert_eq!(error, Some(EntryFileError { line: 2, cause }), "{text}");
        assert_eq!((conf.default_entry(), conf.timeout()), (Some("a"), None));
    }
    let (conf, error) = parse("default a\n\0");
    let cause = EntryFileCause::Nul;
    assert_eq!(error, Some(EntryFileError { line: 2, cause }));
    assert_eq!(conf, LoaderConf::default());
}

#[test]
fn patterns() {
    for (pattern, name) in [
        ("", ""),
        ("*", ""),
        ("**", "abc"),
        ("a*c", "abbbc"),
        ("a*c*", "abcbd"),
        ("*b*b*", "abab"),
        ("A?c", "aBC"),
        ("[a-c]x", "Bx"),
        ("[A-C]x", "bx"),
        ("[]x]", "]"),
        ("[a-]", "-"),
        ("[-a]", "-"),
        ("[a\\]b]", "]"),
        ("\\*", "*"),
        ("\\A", "a"),
        ("a]", "a]"),
        ("*.conf", "x.conf"),
    ] {
        assert!(matches(pattern, name, ""), "{pattern} {name}");
        for at in 0..=name.len() {
            assert!(
                matches(pattern, &name[..at], &name[at..]),
                "{pattern} {name}"
            );
        }
    }
    for (pattern, name) in [
        ("", "a"),
        ("a", ""),
        ("?", ""),
        ("a*c", "abb"),
        ("[", "["),
        ("[a", "a"),
        ("[]", "]"),
        ("[a-", "a"),
        ("[c-a]", "b"),
        ("[!a]", "b"),
        ("\\", "\\"),
        ("\\*", "a"),
        ("[ab]", "ab"),
    ] {
        assert!(!matches(pattern, name, ""), "{pattern} {name}");
    }
    // No combination of stars takes long.
    let pattern = "*a".repeat(100);
    assert!(!matches(&pattern, &"ab".repeat(99), ""));
}

/// The same by recursion.
fn naive(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| naive(rest, &name[taken..])),
        ([b'?', rest @ ..], [_, behind @ ..]) => naive(rest, behind),
        ([one, rest @ ..], [other, behind @ ..]) => {
            one.eq_ignore_ascii_case(other) && naive(rest, behind)
        }
        _ => false,
    }
}

fn entry() -> impl Strategy<Value = (String, String)> {
    let line = prop_oneof![
        "(sort-key|version|machine-id) [ab0-2.~-]{0,3}",
        "(linux|kernel|initrd|module|chain|title|protocol|efi|architecture) ?[a-z/]{0,4}",
        any::<String>()
    ];
    let name = "[a-b0-2+.-]{1,6}(\\+[0-2](-[0-2])?)?\\.conf";
    let lines = proptest::collection::vec(line, 0..6);
    (name, lines).prop_map(|(name, lines)| (name, format!("linux l\n{}", lines.join("\n"))))
}

/// A failure shows its smallest input; nothing is kept in a file.
fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn patterns_match_as_by_recursion(pattern in "[ab*?]{0,8}", name in "[abAB]{0,8}") {
        prop_assert_eq!(matches(&pattern, &name, ""), naive(pattern.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn any_pattern_is_survived(pattern in any::<String>(), name in any::<String>()) {
        let _ = matches(&pattern, &name, ".conf");
    }

    #[test]
    fn any_files_are_survived(
        files in proptest::collection::vec(entry(), 0..12),
        pattern in proptest::option::of("[ab*?0-2.]{0,5}"),
    ) {
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (mut entries, warnings) = read_with(&files, pattern.as_deref());
        prop_assert!(entries.items().count() + warnings.len() <= files.len());
        for item in entries.items() {
            prop_assert!(item.text.kernel().is_some() != item.text.chain().is_some());
            prop_assert_eq!(item.compare(&item), Ordering::Equal);
        }
        let items: Vec<_> = entries.items().collect();
        for pair in items.windows(2) {
            prop_assert_eq!(pair[0].compare(&pair[1]), pair[1].compare(&pair[0]).reverse());
            prop_assert!(pair[0].is_bad() <= pair[1].is_bad());
        }
        let choice = entries.choose(pattern.as_deref());
        prop_assert_eq!(choice.is_err(), items.is_empty());
        let first = choice.ok().map(|choice| choice.item.path().to_owned());
        entries.prefer(pattern.as_deref());
        prop_assert_eq!(entries.take_first().map(|item| item.path().to_owned()), first);
    }
}
